"""Error covariances against the scatter of many realisations through the real steps."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import scipy.signal
from scipy import sparse
from scipy.special import k0e

from processors import constants
from retrieval.occultation import (
    abel,
    bridging,
    dry_atmosphere,
    geometric_optics,
    ionosphere,
    neutral_profile,
    resampling,
    signal_bending,
    statistical_optimization,
    uncertainty,
    wave_optics,
)
from retrieval.occultation.background import FittedBackground
from retrieval.occultation.occultation_parameters import OccultationParameters

RADIUS = 6_370_000.0
WAVENUMBER = 2.0 * np.pi * constants.GPS_L1 / constants.SPEED_OF_LIGHT
WAVES = wave_optics.WaveOpticsParameters()
RULE = uncertainty.UncertaintyParameters()
LEVELS = RADIUS + np.arange(5_000.0, 15_001.0, 100.0)
DENSITIES = (4e-5, 8e-5)
REALISATIONS = 200


class Arc(NamedTuple):
    time: np.ndarray
    geometry: geometric_optics.RayGeometry
    along: wave_optics.Frame


def circular_arc() -> Arc:
    """Circular orbits, the straight line sinking from 90 km."""
    time = np.arange(0.0, 45.0, 0.02)
    states = []
    start = np.arccos((RADIUS + 90e3) / 7.17e6) + np.arccos((RADIUS + 90e3) / 26.56e6)
    for distance, turn, first in ((7.17e6, 1.04e-3, start), (26.56e6, -1.3e-4, 0.0)):
        angle = first + turn * time
        states.append(distance * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1))
        states.append(distance * turn * np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=1))
    geometry = geometric_optics.ray_geometry(
        states[0], receiver_velocity=states[1], transmitter_position=states[2], transmitter_velocity=states[3]
    )
    along = wave_optics.frame(geometry, time=time, radius=RADIUS, parameters=WAVES)
    return Arc(time, geometry, along)


ARC = circular_arc()


def noise_field(density: float, generator: np.random.Generator) -> wave_optics.ImpactField:
    """Field of the reference rays with phase noise of a density over impact parameter, one value a sample of 50 Hz."""
    spacing, finer, start = 2.5, 16, RADIUS + 3_000.0
    samples = np.sqrt(density / (finer * spacing)) * generator.standard_normal(350)
    phase = WAVENUMBER * scipy.signal.resample(samples, finer * samples.size)
    impact = start + spacing * np.arange(phase.size)
    along = wave_optics.cut(ARC.along, top=RADIUS + 80e3)
    reference = np.interp(-impact, -along.reference, along.stretched) - along.stretched[0]
    return wave_optics.ImpactField(start, spacing, np.exp(1j * phase), WAVENUMBER, reference, RADIUS)


def bending_of(field: wave_optics.ImpactField, signal: signal_bending.SignalBending, width: np.ndarray) -> np.ndarray:
    along = wave_optics.cut(ARC.along, top=RADIUS + 80e3)
    return wave_optics.bending_angle(
        field, along=along, levels=LEVELS, half_width=width, cubic=signal.cubic, parameters=WAVES
    ).bending_angle


def signal_of(density: float, width: np.ndarray, **changed: object) -> signal_bending.SignalBending:
    """A signal of wave optics alone, whose kernel misses no structure."""
    flat = np.full_like(LEVELS, 1e-2)
    made = signal_bending.SignalBending(
        bending_angle=flat,
        coarser=flat,
        geometric=flat,
        wave_weight=np.ones_like(LEVELS),
        cubic=LEVELS > RADIUS + 10_000.0,
        wave_width=width,
        geometric_width=np.full_like(LEVELS, 2_000.0),
        amplitude=np.ones_like(LEVELS),
        spectral_width=np.zeros_like(LEVELS),
        noise_density=density,
        scatter=0.05,
        border=float(LEVELS[0]),
        field=None,
        samples=geometric_optics.BendingAngle(LEVELS, flat),
        gaps=np.zeros((0, 2)),
    )
    return made._replace(**changed)  # type: ignore[arg-type]


NARROW = np.where(LEVELS > RADIUS + 10_000.0, 500.0, 250.0)
FIRST, SECOND = signal_of(DENSITIES[0], NARROW), signal_of(DENSITIES[1], 1.4 * NARROW)


def corrected(first: np.ndarray, difference: np.ndarray) -> ionosphere.IonosphereCorrection:
    return ionosphere.correct(
        first,
        difference=difference,
        impact_parameter=LEVELS,
        radius=RADIUS,
        frequency=np.array([constants.GPS_L1, constants.GPS_L2]),
        second_border=np.nan,
        parameters=ionosphere.IonosphereParameters(residual=0.0),
    )


LAYER = (8e3, 12e3)
CORRECTION = corrected(FIRST.bending_angle, np.zeros_like(LEVELS))


def covariance(
    *, noise: float = 0.0, layer: tuple[float, float] = (200e3, 210e3), **changed: object
) -> uncertainty.BendingCovariance:
    given = {"first": FIRST, "second": SECOND, "correction": CORRECTION} | changed
    return uncertainty.bending_covariance(
        given["first"],  # type: ignore[arg-type]
        second=given["second"],  # type: ignore[arg-type]
        correction=given["correction"],  # type: ignore[arg-type]
        levels=LEVELS,
        radius=RADIUS,
        sinking_rate=np.full_like(LEVELS, 2_000.0),
        noise=noise,
        noise_layer=layer,
        parameters=RULE,
    )


@pytest.fixture(scope="module")
def errors() -> np.ndarray:
    """Errors of the corrected bending by the real steps, shape (realisations, levels)."""
    generator, found = np.random.default_rng(20), []
    for _ in range(REALISATIONS):
        one, two = (noise_field(density, generator) for density in DENSITIES)
        first, matched = (bending_of(one, FIRST, width) for width in (FIRST.wave_width, SECOND.wave_width))
        second = bending_of(two, SECOND, SECOND.wave_width)
        found.append(first + CORRECTION.gain * (CORRECTION.smoother @ (matched - second)))
    made = np.array(found)
    return np.asarray(made - made.mean(axis=0))


def test_the_stated_deviation_is_the_scatter_of_realisations(errors: np.ndarray) -> None:
    stated = np.sqrt(np.diag(covariance().random))
    ratio = errors.std(axis=0) / stated
    assert ratio.mean() == pytest.approx(1.0, abs=0.06)
    inner = slice(10, -10)
    assert np.abs(ratio[inner] - 1.0).max() < 0.3


def test_the_stated_correlations_are_those_of_realisations(errors: np.ndarray) -> None:
    stated = covariance().random
    scale = 1.0 / np.sqrt(np.diag(stated))
    found = np.corrcoef(errors.T)
    difference = stated * np.outer(scale, scale) - found
    assert float(np.sqrt(np.mean(difference**2))) < 0.12
    one = uncertainty.averaging_kernel(FIRST, levels=LEVELS, nodes=nodes(), parameters=RULE).matrix
    own = one @ one.T
    low = 20
    beyond = int(np.argmin(np.abs(LEVELS - LEVELS[low] - 300.0)))
    assert own[low, beyond] < -0.1 * own[low, low]
    assert own[low, low + 8] == 0.0


def test_the_noise_of_both_signals_goes_through_the_correction_as_one_linear_operator() -> None:
    kernels = [
        uncertainty.averaging_kernel(signal, levels=LEVELS, nodes=nodes(), parameters=RULE).matrix
        for signal in (FIRST, FIRST._replace(wave_width=SECOND.wave_width), SECOND)
    ]
    smoother = CORRECTION.gain * CORRECTION.smoother.toarray()
    by_first, by_second = kernels[0] + smoother @ kernels[1], smoother @ kernels[2]
    expected = by_first @ by_first.T + by_second @ by_second.T
    np.testing.assert_allclose(covariance().random, expected, rtol=1e-9, atol=1e-9 * expected.max())


def nodes() -> np.ndarray:
    return signal_bending.kernel_nodes(LEVELS, NARROW)


@pytest.mark.parametrize("cubic", [False, True])
def test_the_averaging_kernel_has_the_variance_of_a_least_squares_slope(cubic: bool) -> None:
    signal = FIRST._replace(cubic=np.full_like(FIRST.cubic, cubic))
    kernel = uncertainty.averaging_kernel(signal, levels=LEVELS, nodes=nodes(), parameters=RULE)
    variance = np.sum(kernel.matrix**2, axis=1)
    expected = (signal_bending.CUBIC_NOISE if cubic else signal_bending.LINEAR_NOISE) * DENSITIES[0] / NARROW**3
    np.testing.assert_allclose(variance, expected, rtol=1e-9)
    # Noise grows as the field weakens, within bounds.
    weakest, strongest = RULE.amplitudes
    for amplitude, counted in ((0.5, 0.5), (1.05, 1.05), (0.5 * weakest, weakest), (2.0 * strongest, strongest)):
        other = signal._replace(amplitude=np.full_like(LEVELS, amplitude))
        scaled = uncertainty.averaging_kernel(other, levels=LEVELS, nodes=nodes(), parameters=RULE)
        np.testing.assert_allclose(scaled.matrix, kernel.matrix / counted)


def test_geometric_optics_scatters_as_its_kernel_says() -> None:
    sigma, generator = 2e-3, np.random.default_rng(9)
    doppler = geometric_optics.DopplerFilter(window=1.0)
    levels = RADIUS + np.arange(30_000.0, 60_000.0, 500.0)
    sinking = np.interp(-levels, -ARC.along.reference, np.abs(np.gradient(ARC.along.reference, ARC.time)))
    density = sigma**2 * 0.02 * float(sinking.mean())
    width = 0.5 * doppler.window * sinking
    shape = {name: np.zeros_like(levels) for name in ("bending_angle", "coarser", "geometric", "wave_weight")}
    signal = FIRST._replace(
        **shape,
        cubic=np.ones(levels.size, dtype=bool),
        wave_width=np.full_like(levels, np.nan),
        geometric_width=width,
        amplitude=np.full_like(levels, np.nan),
        noise_density=density,
    )
    kernel = uncertainty.averaging_kernel(
        signal, levels=levels, nodes=signal_bending.kernel_nodes(levels, width), parameters=RULE
    )
    # The phase of the reference atmosphere, so that rays sink as they do there.
    rate = ARC.along.rate - ARC.geometry.distance_rate
    quiet = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * 0.02)])
    found = []
    for _ in range(REALISATIONS):
        noisy = quiet + sigma * generator.standard_normal(quiet.size)
        slope = geometric_optics.excess_doppler(noisy, time=ARC.time, parameters=doppler)
        ray = geometric_optics.bending_angle_from_doppler(slope, geometry=ARC.geometry)
        found.append(
            resampling.onto_levels(ray.bending_angle, at=ray.impact_parameter, levels=levels, half_width=150.0).value
        )
    ratio = np.std(found, axis=0) / np.sqrt(np.sum(kernel.matrix**2, axis=1))
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)


def test_covariances_are_symmetric_and_never_negative() -> None:
    rough = FIRST._replace(coarser=FIRST.bending_angle * (1.0 + 1e-2 * np.sin(LEVELS / 90.0)))
    for made in (covariance(), covariance(first=rough, noise=1e-5, layer=LAYER)):
        for part in (made.random, made.systematic):
            np.testing.assert_allclose(part, part.T, rtol=1e-12)
            assert np.linalg.eigvalsh(part).min() > -1e-10 * np.trace(part)
            assert np.trace(part) > 0.0


def test_what_the_kernel_misses_is_told_from_a_window_twice_as_wide_and_split_at_the_spacing_of_the_levels() -> None:
    plain, missed = covariance(), 3e-4
    rough = FIRST._replace(coarser=FIRST.bending_angle + missed * np.where(np.arange(LEVELS.size) % 2, 1.0, -1.0))
    made = covariance(first=rough)
    inner = slice(15, -15)
    added = np.diag(made.random) - np.diag(plain.random)
    whole = (added + made.between)[inner]
    np.testing.assert_allclose(whole, (RULE.structure_factor * missed) ** 2, rtol=5e-3)
    assert (made.between[inner] > 0.0).all()
    # The wider the kernel, the less of what it misses is finer than the levels.
    assert (made.between / (added + made.between))[20] > 1.5 * (made.between / (added + made.between))[80]


def test_where_there_is_wave_optics_the_difference_of_geometric_optics_is_no_structure() -> None:
    low = LEVELS < RADIUS + 12_000.0
    mixed = FIRST._replace(
        wave_weight=np.where(low, 1.0, 0.3), field=noise_field(DENSITIES[0], np.random.default_rng(6))
    )
    told = 3e-4 * np.where(np.arange(LEVELS.size) % 2, 1.0, -1.0)
    found, same, none = (
        covariance(first=mixed._replace(coarser=mixed.bending_angle + difference)).random
        for difference in (told, np.where(low, told, 1e-2), np.zeros_like(told))
    )
    np.testing.assert_array_equal(found, same)
    assert (np.diag(found - none)[15:60] > 0.5 * (RULE.structure_factor * 3e-4) ** 2).all()
    # Alone, it is all there is to tell it from.
    alone = FIRST._replace(wave_weight=np.zeros_like(LEVELS))
    coarse, fine = (covariance(first=alone._replace(coarser=alone.bending_angle + part)).random for part in (told, 0.0))
    assert (np.diag(coarse - fine) > 0.0).all()


def test_a_difference_that_noise_explains_is_no_structure() -> None:
    explained = 0.9 * np.sqrt(0.875 * signal_bending.LINEAR_NOISE * DENSITIES[0] / NARROW**3)
    explained = explained * (LEVELS < RADIUS + 9_000.0)
    made = covariance(first=FIRST._replace(coarser=FIRST.bending_angle + explained))
    np.testing.assert_allclose(made.random[:20, :20], covariance().random[:20, :20], rtol=1e-9)
    np.testing.assert_array_equal(made.between[:20], 0.0)


def test_nor_does_noise_pass_for_structure_where_it_happens_to_be_large() -> None:
    generator = np.random.default_rng(12)
    nodes = signal_bending.kernel_nodes(LEVELS, NARROW)
    narrow, wide = (
        uncertainty.averaging_kernel(
            FIRST._replace(wave_width=factor * NARROW), levels=LEVELS, nodes=nodes, parameters=RULE
        ).matrix
        for factor in (1.0, 2.0)
    )
    own, plain, added = np.einsum("ij,ij->i", narrow, narrow), np.diag(covariance().random), []
    for _ in range(20):
        strayed = (wide - narrow) @ generator.standard_normal(nodes.size)
        made = covariance(first=FIRST._replace(coarser=FIRST.bending_angle + strayed))
        added.append((np.diag(made.random) + made.between - plain) / own)
    assert np.mean(added) < 0.04


def test_scatter_aloft_beyond_the_phase_noise_is_a_correlated_error_of_its_own() -> None:
    quiet = covariance()
    inside = (LEVELS - RADIUS >= 8e3) & (LEVELS - RADIUS <= 12e3)
    predicted = float(np.mean(np.diag(quiet.random)[inside]))
    loud = covariance(noise=3.0 * np.sqrt(predicted), layer=LAYER)
    # Nine times the variance is seen: of the eight beyond the noise the observation bears its share, in deviation.
    beyond = RULE.excess_share**2 * 8.0 * predicted
    assert loud.excess == pytest.approx(np.sqrt(beyond))
    moved = loud.random - quiet.random
    np.testing.assert_allclose(np.diag(moved), beyond, rtol=1e-9)
    far = 40 + round(RULE.excess_length / 100.0)
    assert moved[40, far] == pytest.approx(beyond / np.e, rel=1e-6)
    assert quiet.excess == 0.0
    small = covariance(noise=0.1 * np.sqrt(predicted), layer=LAYER)
    np.testing.assert_allclose(small.random, 2.0 * 0.01 * quiet.random, rtol=1e-9)


def test_phases_without_measured_noise_still_get_a_covariance() -> None:
    silent = covariance(
        first=FIRST._replace(noise_density=0.0), second=SECOND._replace(noise_density=0.0), noise=2e-6, layer=LAYER
    )
    np.testing.assert_allclose(np.diag(silent.random), (RULE.excess_share * 2e-6) ** 2)


def test_noise_that_was_not_observed_is_assumed() -> None:
    assumed = covariance(noise=2e-6)
    np.testing.assert_allclose(np.diag(assumed.random) - np.diag(covariance().random), 4e-12, rtol=1e-6)
    assert assumed.excess == 2e-6


def test_levels_that_were_not_observed_have_no_covariance() -> None:
    holes = CORRECTION.bending_angle.copy()
    holes[30:40] = np.nan
    made = covariance(correction=CORRECTION._replace(bending_angle=holes))
    for part in (made.random, made.systematic):
        assert np.isfinite(part).all()
        np.testing.assert_array_equal(part[30:40], 0.0)
        np.testing.assert_array_equal(part[:, 30:40], 0.0)


def test_the_correlation_length_of_an_exponential_correlation_is_its_length() -> None:
    at = np.cumsum(np.random.default_rng(1).uniform(20.0, 100.0, 500))
    for length in (700.0, 3_000.0):
        made = uncertainty.correlated(np.linspace(1.0, 2.0, at.size), at=at, length=length)
        found = uncertainty.correlation_length(made, at=at, parameters=RULE)
        np.testing.assert_allclose(found, length, rtol=0.02)
    certain = uncertainty.correlated(np.zeros(5), at=np.arange(5.0), length=2.0)
    np.testing.assert_array_equal(certain, 0.0)
    nothing = uncertainty.correlation_length(np.zeros((5, 5)), at=np.arange(5.0), parameters=RULE)
    assert np.isnan(nothing).all()
    assert np.isnan(uncertainty.correlation_length(np.ones((5, 5)), at=np.arange(5.0), parameters=RULE)).all()


class Column(NamedTuple):
    """An exponential atmosphere with a bending covariance."""

    levels: np.ndarray
    bending: np.ndarray
    operator: np.ndarray
    refractivity: np.ndarray
    altitude: np.ndarray
    dry: dry_atmosphere.DryAtmosphere
    random: np.ndarray
    systematic: np.ndarray


@pytest.fixture(scope="module")
def column() -> Column:
    levels = RADIUS + np.arange(4_000.0, 60_000.0, 250.0)
    log_index = 3e-4 * np.exp(-(levels - RADIUS) / 7_000.0)
    bending = 2.0 * levels * log_index / 7_000.0 * k0e(levels / 7_000.0)
    operator = abel.operator(levels, scale=7_000.0)
    refractive = abel.refractive_profile(operator @ bending, impact_parameter=levels)
    altitude = refractive.radius - RADIUS
    dry = dry_atmosphere.dry_atmosphere(
        refractive.refractivity, altitude=altitude, latitude=30.0, top_temperature=240.0
    )
    random = uncertainty.correlated(np.hypot(0.004 * bending, 2e-7), at=levels, length=500.0)
    systematic = uncertainty.correlated(0.002 * bending, at=levels, length=10_000.0)
    return Column(levels, bending, operator, refractive.refractivity, altitude, dry, random, systematic)


def propagated(
    column: Column, random: np.ndarray, systematic: np.ndarray, rule: uncertainty.UncertaintyParameters = RULE
) -> uncertainty.ProfileUncertainty:
    return uncertainty.propagate(
        random,
        systematic=systematic,
        operator=column.operator,
        refractivity=column.refractivity,
        altitude=column.altitude,
        latitude=30.0,
        dry_pressure=column.dry.pressure,
        dry_temperature=column.dry.temperature,
        parameters=rule,
    )


def test_propagated_errors_are_those_of_realisations_through_abel_and_hydrostatic_integration(column: Column) -> None:
    stated = propagated(column, column.random, column.systematic)
    root = np.linalg.cholesky(column.random + column.systematic)
    generator, squares = np.random.default_rng(4), np.zeros((3, column.levels.size))
    count = 1_500
    for _ in range(count):
        bending = column.bending + root @ generator.standard_normal(column.levels.size)
        refractivity = 1e6 * np.expm1(column.operator @ bending)
        top = float(column.dry.temperature[-1]) + RULE.top_temperature * generator.standard_normal()
        dry = dry_atmosphere.dry_atmosphere(refractivity, altitude=column.altitude, latitude=30.0, top_temperature=top)
        squares[0] += (refractivity - column.refractivity) ** 2
        squares[1] += (dry.pressure - column.dry.pressure) ** 2
        squares[2] += (dry.temperature - column.dry.temperature) ** 2
    deviations = (stated.refractivity, stated.dry_pressure, stated.dry_temperature)
    low = column.altitude < 45_000.0
    for mean_square, deviation in zip(squares / count, deviations, strict=True):
        ratio = (mean_square / deviation**2)[low]
        assert ratio.mean() == pytest.approx(1.0, abs=0.05)
        assert np.abs(ratio - 1.0).max() < 0.2


def test_random_and_systematic_parts_add_in_squares_and_keep_to_themselves(column: Column) -> None:
    certain = dataclasses.replace(RULE, top_temperature=0.0)
    both = propagated(column, column.random, column.systematic, certain)
    np.testing.assert_allclose(
        both.refractivity, np.hypot(both.refractivity_random, both.refractivity_systematic), rtol=1e-12
    )
    nothing = np.zeros_like(column.random)
    random = propagated(column, column.random, nothing, certain)
    systematic = propagated(column, nothing, column.systematic, certain)
    np.testing.assert_array_equal(random.refractivity_systematic, 0.0)
    np.testing.assert_allclose(random.refractivity, both.refractivity_random, rtol=1e-5)
    np.testing.assert_allclose(systematic.refractivity, both.refractivity_systematic, rtol=1e-5)
    for name in ("dry_pressure", "dry_temperature"):
        parts = np.hypot(getattr(random, name), getattr(systematic, name))
        np.testing.assert_allclose(getattr(both, name)[:-1], parts[:-1], rtol=2e-3)
    inner = slice(20, 100)
    assert (systematic.refractivity_length[inner] > 2.0 * random.refractivity_length[inner]).all()


def test_the_temperature_at_the_top_is_as_uncertain_as_it_was_taken_to_be_and_less_below(column: Column) -> None:
    nothing = np.zeros_like(column.random)
    found = propagated(column, nothing, nothing).dry_temperature
    assert found[-1] == pytest.approx(RULE.top_temperature, rel=1e-3)
    fading = column.refractivity[-1] / column.refractivity
    np.testing.assert_allclose(found, RULE.top_temperature * fading, rtol=1e-3)


def test_running_sums_are_the_pressure_operator(column: Column) -> None:
    covariance_of_n = uncertainty.correlated(0.01 * column.refractivity, at=column.altitude, length=2_000.0)
    operator = dry_atmosphere.pressure_operator(column.altitude, latitude=30.0, top_temperature=240.0)
    found = dry_atmosphere.pressure_covariances(
        covariance_of_n, altitude=column.altitude, latitude=30.0, top_temperature=240.0
    )
    np.testing.assert_allclose(found.own, operator @ covariance_of_n @ operator.T, rtol=1e-9)
    np.testing.assert_allclose(found.with_refractivity, operator @ covariance_of_n, rtol=1e-9)
    np.testing.assert_allclose(operator @ column.refractivity, column.dry.pressure, rtol=1e-3)


def levels_of_merge() -> tuple[np.ndarray, np.ndarray]:
    levels = RADIUS + np.arange(10_000.0, 90_000.0, 1_000.0)
    return levels, 0.02 * np.exp(-(levels - RADIUS) / 7_000.0)


PARAMETERS = OccultationParameters()


def merge(
    observed: np.ndarray, background: np.ndarray, covariance_of_o: np.ndarray, levels: np.ndarray, length: float = 6e3
) -> statistical_optimization.OptimizedBending:
    rule = statistical_optimization.OptimizationParameters(background_length=length)
    return statistical_optimization.optimize(
        observed,
        background=background,
        covariance=covariance_of_o,
        impact_parameter=levels,
        radius=RADIUS,
        parameters=rule,
    )


def test_with_diagonal_covariances_the_merge_is_the_scalar_mean_by_inverse_variance() -> None:
    levels, background = levels_of_merge()
    noise = 2e-6
    observed = 1.05 * background
    found = merge(observed, background, noise**2 * np.eye(levels.size), levels, length=1.0)
    high = levels - RADIUS >= 30_000.0
    variance = (0.2 * background) ** 2
    weight = variance / (variance + noise**2)
    expected = weight * observed + (1.0 - weight) * background
    np.testing.assert_allclose(found.bending_angle[high], expected[high], rtol=1e-12)
    np.testing.assert_allclose(found.weight[high], weight[high], rtol=1e-12)
    np.testing.assert_allclose(np.diag(found.prior), ((1.0 - weight) ** 2 * variance)[high], rtol=1e-9)
    np.testing.assert_array_equal(found.bending_angle[~high], observed[~high])
    np.testing.assert_array_equal(found.weight[~high], 1.0)
    np.testing.assert_array_equal(found.merged, high)


def test_an_exact_observation_has_weight_one_and_a_missing_one_none() -> None:
    levels, background = levels_of_merge()
    observed = background * (1.0 + 0.1 * np.sin(levels / 3_000.0))
    exact = merge(observed, background, np.zeros((levels.size, levels.size)), levels)
    np.testing.assert_allclose(exact.weight, 1.0, rtol=1e-9)
    np.testing.assert_allclose(exact.bending_angle, observed, rtol=1e-9)
    missing = merge(np.full_like(observed, np.nan), background, np.zeros((levels.size, levels.size)), levels)
    np.testing.assert_array_equal(missing.weight, 0.0)
    np.testing.assert_array_equal(missing.bending_angle, background)
    noisy = merge(observed, background, 1e6 * np.eye(levels.size), levels)
    assert noisy.weight[levels - RADIUS >= 30e3].max() < 1e-9


def test_gaps_of_the_merge_are_filled_by_what_is_beside_them() -> None:
    levels, background = levels_of_merge()
    observed = 1.1 * background
    hole = slice(30, 34)
    observed[hole] = np.nan
    found = merge(observed, background, 1e-16 * np.eye(levels.size), levels)
    ratio = found.bending_angle / background
    assert np.isfinite(ratio).all()
    assert (ratio[hole] > 1.05).all()
    assert (ratio[hole] < 1.1 + 1e-6).all()
    assert (found.weight[hole] < 1.0).all()
    alone = merge(np.where(np.arange(levels.size) == 5, np.nan, 1.1 * background), background, np.eye(80), levels)
    assert alone.weight[5] == 0.0
    assert alone.bending_angle[5] == background[5]


def test_what_the_background_leaves_is_the_propagated_prior() -> None:
    levels, background = levels_of_merge()
    observed = 1.02 * background
    observed[40] = np.nan
    error = uncertainty.correlated(np.hypot(0.05 * background, 1e-6), at=levels, length=1_000.0)
    found = merge(observed, background, error, levels)
    rows = np.flatnonzero(found.merged)
    prior = statistical_optimization.background_covariance(
        background[rows], impact_parameter=levels[rows], parameters=statistical_optimization.OptimizationParameters()
    )
    used = np.isfinite(observed[rows])
    gain = found.gain[:, rows[used]]
    left = np.eye(rows.size) - gain @ np.eye(rows.size)[used]
    np.testing.assert_allclose(found.prior, left @ prior @ left.T, rtol=1e-9, atol=1e-20)
    # With the optimal gain both parts together are the textbook's (I - W H) B.
    whole = found.prior + gain @ error[np.ix_(rows[used], rows[used])] @ gain.T
    np.testing.assert_allclose(whole, left @ prior, rtol=1e-6, atol=1e-18)
    assert (np.diag(whole) <= np.diag(prior) * (1.0 + 1e-9)).all()
    np.testing.assert_array_equal(found.gain[:, rows[~used]], 0.0)


def test_the_gain_is_the_derivative_of_the_merged_bending() -> None:
    levels, background = levels_of_merge()
    error = uncertainty.correlated(np.hypot(0.05 * background, 1e-6), at=levels, length=1_000.0)
    plain = merge(background, background, error, levels)
    for index in (25, 50, 70):
        moved = background.copy()
        moved[index] += 1e-6
        change = (merge(moved, background, error, levels).bending_angle - plain.bending_angle) / 1e-6
        np.testing.assert_allclose(change[plain.merged], plain.gain[:, index], atol=1e-9)


def bridged(
    observed: np.ndarray, merged: np.ndarray, background: np.ndarray, height: np.ndarray
) -> bridging.BridgedBending:
    return bridging.bridge(
        merged,
        observed=observed,
        background=background,
        impact_height=height,
        below=30_000.0,
        parameters=bridging.BridgingParameters(),
    )


def test_the_operator_of_a_bridge_is_its_derivative() -> None:
    height = np.arange(5_000.0, 40_000.0, 250.0)
    background = 0.02 * np.exp(-height / 7_000.0)
    observed = background * (1.0 + 0.1 * np.sin(height / 2_000.0))
    observed[20:26] = observed[60:64] = np.nan
    merged = np.where(np.isfinite(observed), observed, background)
    plain = bridged(observed, merged, background, height)
    assert plain.levels.tolist() == [*range(20, 26), *range(60, 64)]
    for index in (19, 26, 59, 64, 30):
        step = 1e-6 * merged[index]
        moved, seen = merged.copy(), observed.copy()
        moved[index] += step
        seen[index] += step
        change = (bridged(seen, moved, background, height).bending_angle - plain.bending_angle)[plain.levels] / step
        np.testing.assert_allclose(change, plain.operator[:, index], atol=1e-5)


def test_the_covariance_of_the_merged_bending_is_the_linear_image_of_its_parts() -> None:
    levels, background = levels_of_merge()
    observed = background.copy()
    observed[5:7] = np.nan
    observed[75:] = np.nan
    present = np.isfinite(observed)
    mask = np.outer(present, present)
    random = np.where(mask, uncertainty.correlated(np.hypot(0.02 * background, 1e-6), at=levels, length=800.0), 0.0)
    systematic = np.where(mask, uncertainty.correlated(0.01 * background, at=levels, length=9_000.0), 0.0)
    optimized = merge(observed, background, random + systematic, levels)
    bridge = bridged(observed, optimized.bending_angle, background, levels - RADIUS)
    found = neutral_profile.merged_covariance(
        uncertainty.BendingCovariance(random, systematic, np.zeros(levels.size), 0.0),
        optimized=optimized,
        bridged=bridge,
        fitted=FittedBackground(background, 0.0, 1.0, 100),
        levels=levels,
        parameters=PARAMETERS,
    )
    image = np.eye(levels.size)
    image[optimized.merged] = optimized.gain
    image[bridge.levels] = bridge.operator @ image
    np.testing.assert_allclose(found.random, image @ random @ image.T, atol=1e-22)
    by_background = np.zeros_like(systematic)
    rows = np.flatnonzero(optimized.merged)
    by_background[np.ix_(rows, rows)] = optimized.prior
    by_bridge = uncertainty.correlated(bridge.error, at=levels, length=PARAMETERS.gaps.error_length)
    np.testing.assert_allclose(found.systematic, image @ systematic @ image.T + by_background + by_bridge, atol=1e-22)
    assert np.linalg.eigvalsh(found.random + found.systematic).min() > -1e-12 * np.trace(found.systematic)


def test_below_the_observation_stands_the_error_of_the_background() -> None:
    levels, background = levels_of_merge()
    observed = np.where(levels - RADIUS < 13_000.0, np.nan, background)
    nothing = np.zeros((levels.size, levels.size))
    present = np.isfinite(observed)
    random = np.where(np.outer(present, present), np.diag((0.01 * background) ** 2), 0.0)
    optimized = merge(observed, background, random, levels)
    found = neutral_profile.merged_covariance(
        uncertainty.BendingCovariance(random, nothing, np.zeros(levels.size), 0.0),
        optimized=optimized,
        bridged=bridged(observed, optimized.bending_angle, background, levels - RADIUS),
        fitted=FittedBackground(background, 0.0, 1.0, 100),
        levels=levels,
        parameters=PARAMETERS,
    )
    np.testing.assert_allclose(np.sqrt(np.diag(found.systematic))[:3], 0.2 * background[:3])
    assert found.systematic[0, 1] == pytest.approx(0.04 * background[0] * background[1] * np.exp(-1.0 / 6.0))


def test_the_smoother_is_a_matrix_of_means() -> None:
    assert sparse.issparse(CORRECTION.smoother)
    np.testing.assert_allclose(CORRECTION.smoother @ np.ones_like(LEVELS), 1.0, rtol=1e-12)
