"""The steps from Doppler to temperature, each against a closed form or a law."""

import numpy as np
import pytest
from scipy.special import k0e

from processors import constants
from processors.geodesy import gravity
from processors.simulation import atmosphere
from processors.simulation import occultation as simulation
from retrieval.occultation import (
    abel,
    background,
    dry_atmosphere,
    geometric_optics,
    ionosphere,
    quality,
    resampling,
    statistical_optimization,
    truncation,
    uncertainty,
)

RADIUS = 6_370_000.0
LEVELS = RADIUS + np.arange(2_000.0, 120_000.0, 100.0)


def exponential_pair(scale: float = 7_000.0, surface: float = 3e-4) -> tuple[np.ndarray, np.ndarray]:
    """Profile ln n = surface exp(-(x - R)/H) on the levels and its bending angle (a Bessel function)."""
    log_index = surface * np.exp(-(LEVELS - RADIUS) / scale)
    return log_index, 2.0 * LEVELS * log_index / scale * k0e(LEVELS / scale)


def test_abel_inverts_the_closed_form_of_an_exponential_atmosphere() -> None:
    log_index, bending = exponential_pair()
    found = abel.refractivity_from_bending(bending, impact_parameter=LEVELS)
    below = LEVELS < RADIUS + 80_000.0
    np.testing.assert_allclose(found.refractivity[below], 1e6 * np.expm1(log_index)[below], rtol=1e-4)


def test_forward_abel_meets_the_closed_form_of_an_exponential_atmosphere() -> None:
    log_index, bending = exponential_pair()
    radius = LEVELS * np.exp(-log_index)
    found = abel.bending_from_refractivity(1e6 * np.expm1(log_index), radius=radius, levels=LEVELS)
    below = LEVELS < RADIUS + 80_000.0
    np.testing.assert_allclose(found[below], bending[below], rtol=1e-4)


def test_without_its_tail_the_abel_integral_is_short() -> None:
    log_index, bending = exponential_pair()
    cut = LEVELS < RADIUS + 60_000.0
    bare = abel._kernels.abel_weights(LEVELS[cut]) @ bending[cut] / np.pi
    whole = abel.operator(LEVELS[cut], scale=7_000.0) @ bending[cut]
    high = int(np.argmin(np.abs(LEVELS - RADIUS - 50_000.0)))
    assert bare[high] < 0.97 * log_index[high]
    np.testing.assert_allclose(whole[high], log_index[high], rtol=2e-3)


def test_quadrature_of_the_simulator_and_forward_abel_agree() -> None:
    profile = atmosphere.MoistAtmosphere()
    altitude = np.arange(0.0, 150_000.0, 50.0)
    refractivity = profile.refractivity(altitude)
    levels = RADIUS + np.arange(4_000.0, 70_000.0, 1_000.0)
    expected = simulation.bending_by_quadrature(levels, profile=profile, surface_radius=RADIUS)
    found = abel.bending_from_refractivity(refractivity, radius=RADIUS + altitude, levels=levels)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_closed_form_gradients_are_the_derivatives_of_their_profiles() -> None:
    altitude = np.linspace(500.0, 100_000.0, 400)
    layer = atmosphere.ChapmanLayer()
    for profile in (atmosphere.ExponentialAtmosphere(), atmosphere.MoistAtmosphere()):
        change = (profile.refractivity(altitude + 1.0) - profile.refractivity(altitude - 1.0)) / 2.0
        np.testing.assert_allclose(profile.gradient(altitude), change, rtol=1e-5)
    change = (layer.index_excess(altitude * 5.0 + 1.0, 1.5e9) - layer.index_excess(altitude * 5.0 - 1.0, 1.5e9)) / 2.0
    np.testing.assert_allclose(layer.index_gradient(altitude * 5.0, 1.5e9), change, rtol=1e-3, atol=1e-18)


def test_noise_in_the_doppler_filter_leaves_a_cubic_exact_and_gaps_unfilled() -> None:
    time = 1e9 + np.arange(500) / 50.0
    since = time - time[0]
    phase = 3.0 + 2.0 * since - 0.3 * since**2 + 0.01 * since**3
    phase[200:220] = np.nan
    phase[[50, 51, 300]] = np.nan
    rule = geometric_optics.DopplerFilter(window=1.0, edge=0.0)
    rate = geometric_optics.excess_doppler(phase, time=time, parameters=rule)
    present = np.isfinite(phase)
    assert np.isnan(rate[~present]).all()
    np.testing.assert_allclose(rate[present], (2.0 - 0.6 * since + 0.03 * since**2)[present], atol=1e-5)


def corrected(difference: np.ndarray, first: np.ndarray) -> ionosphere.IonosphereCorrection:
    return ionosphere.correct(
        first,
        difference=difference,
        impact_parameter=LEVELS,
        radius=RADIUS,
        frequency=np.array([constants.GPS_L1, constants.GPS_L2]),
        second_border=np.nan,
        parameters=ionosphere.IonosphereParameters(residual=0.0),
    )


def test_first_order_ionosphere_is_removed_and_carried_below_the_loss_of_the_second_signal() -> None:
    neutral = exponential_pair()[1]
    electrons = 2e13
    first, second = (neutral + electrons / carrier**2 for carrier in (constants.GPS_L1, constants.GPS_L2))
    found = corrected(np.where(LEVELS > RADIUS + 15_000.0, first - second, np.nan), first)
    np.testing.assert_allclose(found.bending_angle, neutral, atol=1e-12)
    assert found.extrapolated[:100].all()
    assert not found.extrapolated[200:].any()
    assert (np.diff(found.systematic[:130]) < 0.0).all()


def test_without_a_second_signal_no_bending_is_called_corrected() -> None:
    first = exponential_pair()[1]
    assert np.isnan(corrected(np.full_like(first, np.nan), first).bending_angle).all()


def test_resampling_keeps_a_line_and_leaves_holes() -> None:
    generator = np.random.default_rng(5)
    at = generator.permutation(np.concatenate([np.linspace(0.0, 4_000.0, 200), np.linspace(8_000.0, 10_000.0, 100)]))
    found = resampling.onto_levels(2.0 + 3e-3 * at, at=at, levels=np.arange(0.0, 10_001.0, 500.0), half_width=150.0)
    near = np.r_[0:8, 17:21]
    np.testing.assert_allclose(found.value[near], 2.0 + 1.5 * near, rtol=1e-12)
    np.testing.assert_allclose(found.scatter[near], 0.0, atol=1e-9)
    assert np.isnan(found.value[12])


def test_scatter_is_the_standard_deviation_of_the_samples() -> None:
    generator = np.random.default_rng(6)
    at = np.linspace(0.0, 1_000.0, 20_001)
    found = resampling.onto_levels(
        generator.normal(0.0, 0.2, at.size), at=at, levels=np.array([500.0]), half_width=400.0
    )
    assert found.scatter[0] == pytest.approx(0.2, rel=0.03)


def test_optimization_takes_the_observation_below_and_the_background_above() -> None:
    model = exponential_pair()[1]
    observed = 1.1 * model
    observed[-200:] = np.nan
    height = LEVELS - RADIUS
    rules = statistical_optimization.OptimizationParameters(background_length=1.0)
    found = statistical_optimization.optimize(
        observed,
        background=model,
        covariance=np.eye(model.size) * 4e-12,
        impact_parameter=LEVELS,
        radius=RADIUS,
        parameters=rules,
    )
    low, high = height < 30_000.0, height > 85_000.0
    np.testing.assert_array_equal(found.weight[low], 1.0)
    np.testing.assert_allclose(found.bending_angle[low], observed[low])
    np.testing.assert_allclose(found.bending_angle[high], model[high], rtol=2e-3)
    assert (np.diff(found.weight) <= 1e-12).all()
    half = int(np.argmin(np.abs(found.weight - 0.5)))
    assert rules.background_error * model[half] == pytest.approx(2e-6, rel=0.05)


def test_background_fit_recovers_a_scaled_model() -> None:
    model = exponential_pair()[1]
    height = LEVELS - RADIUS
    middle = np.log(model[np.argmin(np.abs(height - 45_000.0))])
    observed = model * np.exp(0.05 + 0.02 * (np.log(model) - middle))
    fitted = background.fit(
        model,
        observed=observed,
        impact_height=height,
        noise=1e-7,
        parameters=background.BackgroundParameters(),
    )
    layer = (height > 41_000.0) & (height < 59_000.0)
    np.testing.assert_allclose(fitted.bending_angle[layer], observed[layer], rtol=3e-4)
    assert fitted.slope == pytest.approx(1.02, abs=3e-4)


def test_background_without_observation_is_the_model() -> None:
    model = exponential_pair()[1]
    fitted = background.fit(
        model,
        observed=np.full_like(model, np.nan),
        impact_height=LEVELS - RADIUS,
        noise=1e-6,
        parameters=background.BackgroundParameters(),
    )
    assert fitted.levels == 0
    np.testing.assert_array_equal(fitted.bending_angle, model)


def test_model_refractivity_is_that_of_air_at_the_ground() -> None:
    model = background.model_atmosphere(29.5, 106.5, time=1.45e9, parameters=background.BackgroundParameters())
    assert model.refractivity[0] == pytest.approx(77.6 * 1013.0 / model.temperature[0], rel=0.03)
    assert (np.diff(np.log(model.refractivity)) < 0.0).all()


def test_dry_temperature_of_an_isothermal_hydrostatic_atmosphere_is_constant() -> None:
    altitude = np.arange(0.0, 110_000.0, 100.0)
    height = gravity.geopotential_height(29.5, altitude)
    pressure = 101_325.0 * np.exp(-constants.STANDARD_GRAVITY * height / (constants.GAS_CONSTANT_DRY_AIR * 250.0))
    found = dry_atmosphere.dry_atmosphere(
        constants.REFRACTIVITY_DRY * pressure / 250.0, altitude=altitude, latitude=29.5, top_temperature=250.0
    )
    np.testing.assert_allclose(found.temperature, 250.0, atol=0.01)
    np.testing.assert_allclose(found.pressure, pressure, rtol=5e-5)


def test_an_error_of_the_top_temperature_fades_within_scale_heights() -> None:
    altitude = np.arange(0.0, 110_000.0, 100.0)
    refractivity = 300.0 * np.exp(-altitude / 7_000.0)
    warm, cold = (
        dry_atmosphere.dry_atmosphere(refractivity, altitude=altitude, latitude=0.0, top_temperature=top).temperature
        for top in (320.0, 280.0)
    )
    below = int(np.argmin(np.abs(altitude - 74_900.0)))
    assert (warm - cold)[below] == pytest.approx(40.0 * np.exp(-5.0), rel=0.05)


def test_propagated_deviations_are_those_of_repeated_noise() -> None:
    generator = np.random.default_rng(8)
    levels = RADIUS + np.arange(5_000.0, 90_000.0, 500.0)
    bending = 0.02 * np.exp(-(levels - RADIUS) / 7_000.0)
    deviation = 1e-6 + 0.005 * bending
    covariance = uncertainty.correlated(deviation, at=levels, length=1_500.0)
    operator = abel.operator(levels, scale=7_000.0)
    profile = abel.refractive_profile(operator @ bending, impact_parameter=levels)
    altitude = profile.radius - RADIUS

    def temperature(refractivity: np.ndarray) -> np.ndarray:
        return dry_atmosphere.dry_atmosphere(
            refractivity, altitude=altitude, latitude=30.0, top_temperature=250.0
        ).temperature

    dry = dry_atmosphere.dry_atmosphere(profile.refractivity, altitude=altitude, latitude=30.0, top_temperature=250.0)
    found = uncertainty.propagate(
        0.3 * covariance,
        systematic=0.7 * covariance,
        operator=operator,
        refractivity=profile.refractivity,
        altitude=altitude,
        latitude=30.0,
        dry_pressure=dry.pressure,
        dry_temperature=dry.temperature,
        parameters=uncertainty.UncertaintyParameters(),
    )
    drawn = bending + generator.multivariate_normal(np.zeros(levels.size), covariance, size=1_500, method="cholesky")
    refractivity = 1e6 * np.expm1(drawn @ operator.T)
    below = altitude < 45_000.0
    np.testing.assert_allclose(refractivity.std(axis=0)[below], found.refractivity[below], rtol=0.1)
    spread = np.std([temperature(row) for row in refractivity], axis=0)
    np.testing.assert_allclose(spread[below], found.dry_temperature[below], rtol=0.12)


def test_crossing_rays_are_found_where_the_impact_parameter_turns_back() -> None:
    heights = np.linspace(60_000.0, -60_000.0, 600)
    impact = RADIUS + np.linspace(60_000.0, 2_000.0, 600)
    bending = geometric_optics.BendingAngle(impact, np.zeros(600))
    rules = {"tolerance": 150.0, "ceiling": RADIUS + 15_000.0}
    assert np.isnan(geometric_optics.multipath_top(bending, heights=heights, **rules))
    folded = impact.copy()
    folded[560:570] += 1_000.0
    top = geometric_optics.multipath_top(geometric_optics.BendingAngle(folded, np.zeros(600)), heights=heights, **rules)
    assert top == pytest.approx(folded[560])


def evidence(**changed: object) -> quality.Evidence:
    """A faultless profile with some of it changed."""
    altitude = np.arange(1_000.0, 60_000.0, 100.0)
    good = quality.Evidence(
        noise=1e-6,
        bias=0.0,
        top=90_000.0,
        lowest_altitude=1_000.0,
        second_signal_bottom=8_000.0,
        fitted_levels=100,
        missing=0.0,
        gapped=False,
        strength_known=True,
        altitude=altitude,
        refractivity=300.0 * np.exp(-altitude / 7_000.0),
        dry_temperature=np.full_like(altitude, 250.0),
    )
    return good._replace(**changed)  # type: ignore[arg-type]


GOOD = evidence()
FOLDED = GOOD.altitude.copy()
FOLDED[10:12] = FOLDED[11], FOLDED[10]


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"noise": 1.01e-5}, quality.QualityFlag.HIGH_NOISE),
        ({"noise": np.nan}, quality.QualityFlag.HIGH_NOISE),
        ({"bias": -5.1e-6}, quality.QualityFlag.BENDING_BIAS),
        ({"top": 59_900.0}, quality.QualityFlag.LOW_TOP),
        ({"lowest_altitude": 6_001.0}, quality.QualityFlag.SHALLOW),
        ({"lowest_altitude": np.nan}, quality.QualityFlag.SHALLOW),
        ({"second_signal_bottom": 20_001.0}, quality.QualityFlag.SECOND_SIGNAL_LOST_HIGH),
        ({"second_signal_bottom": np.nan}, quality.QualityFlag.NO_SECOND_SIGNAL),
        ({"fitted_levels": 0}, quality.QualityFlag.BACKGROUND_UNFITTED),
        ({"missing": 0.021}, quality.QualityFlag.DATA_GAPS),
        ({"gapped": True}, quality.QualityFlag.DATA_GAPS),
        ({"strength_known": False}, quality.QualityFlag.SIGNAL_STRENGTH_MISSING),
        ({"dry_temperature": np.full_like(GOOD.altitude, 149.0)}, quality.QualityFlag.TEMPERATURE_IMPLAUSIBLE),
        ({"dry_temperature": np.full_like(GOOD.altitude, np.nan)}, quality.QualityFlag.TEMPERATURE_IMPLAUSIBLE),
        ({"refractivity": -GOOD.refractivity}, quality.QualityFlag.REFRACTIVITY_IMPLAUSIBLE),
        ({"super_refractive": True}, quality.QualityFlag.SUPER_REFRACTION),
        ({"waves": False}, quality.QualityFlag.GEOMETRIC_OPTICS_ONLY),
        ({"findings": frozenset({"time_sorted", "velocities_fitted"})}, quality.QualityFlag.TIME_TAGS_REPAIRED),
        ({"findings": frozenset({"cycle_slips_repaired"})}, quality.QualityFlag.CYCLE_SLIPS_REPAIRED),
    ],
)
def test_each_flag_is_raised_by_its_own_fault_alone(changed: dict[str, object], flag: quality.QualityFlag) -> None:
    raised = quality.flags(evidence(**changed), thresholds=quality.QualityThresholds())
    assert raised == flag


def test_a_faultless_profile_and_the_limits_themselves_raise_nothing() -> None:
    thresholds = quality.QualityThresholds()
    assert quality.flags(GOOD, thresholds=thresholds) == quality.QualityFlag.GOOD
    at_limit = evidence(noise=1e-5, bias=5e-6, top=60_000.0, lowest_altitude=6_000.0, second_signal_bottom=20_000.0)
    assert quality.flags(at_limit, thresholds=thresholds) == quality.QualityFlag.GOOD


def test_levels_that_fold_are_implausible() -> None:
    raised = quality.flags(evidence(altitude=FOLDED), thresholds=quality.QualityThresholds())
    assert quality.QualityFlag.REFRACTIVITY_IMPLAUSIBLE in raised


@pytest.mark.parametrize("direction", [1, -1])
def test_the_record_ends_at_the_first_lasting_loss_of_signal(direction: int) -> None:
    heights = np.linspace(100_000.0, -100_000.0, 4_001)[::direction]
    time = np.arange(heights.size) / 50.0
    snr = np.where(heights > -30_000.0, 800.0, 10.0)
    snr[np.argmin(np.abs(heights - 20_000.0))] = 0.0
    found = truncation.above_loss(
        snr, heights=heights, time=time, fraction=0.05, parameters=truncation.TruncationParameters()
    )
    assert found.lost
    assert heights[found.usable].min() == pytest.approx(-30_000.0, abs=2_000.0)


def test_a_record_without_signal_strength_is_not_cut() -> None:
    heights = np.linspace(100_000.0, -100_000.0, 1_001)
    found = truncation.above_loss(
        np.full(1_001, np.nan),
        heights=heights,
        time=np.arange(1_001) / 50.0,
        fraction=0.05,
        parameters=truncation.TruncationParameters(),
    )
    assert found.usable.all()
    assert not found.lost
