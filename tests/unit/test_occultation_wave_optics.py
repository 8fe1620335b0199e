"""The transform to impact parameter, against rays of a closed-form atmosphere and laws of polynomial slopes."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import k0e

from processors import constants
from processors.simulation import occultation as simulation
from retrieval.occultation import _kernels, geometric_optics, resampling, signal_bending, wave_optics

RADIUS = 6_370_000.0
RULE = wave_optics.WaveOpticsParameters()
WAVENUMBER = 2.0 * np.pi * constants.GPS_L1 / constants.SPEED_OF_LIGHT
LEVELS = RADIUS + np.arange(4_000.0, 25_000.0, 100.0)
CUBIC = LEVELS > RADIUS + 10_000.0


class Record(NamedTuple):
    """Rays of one event about the centre of the layers; amplitude 1 in vacuum."""

    time: np.ndarray
    geometry: geometric_optics.RayGeometry
    excess_phase: np.ndarray
    amplitude: np.ndarray
    impact: np.ndarray


def closed_form(impact: np.ndarray, surface: float = 300e-6, scale: float = 7_000.0) -> np.ndarray:
    """Bending of ln n = surface exp(-(x - R)/H): a Bessel function."""
    return 2.0 * impact * surface * np.exp(-(impact - RADIUS) / scale) / scale * k0e(impact / scale)


def exponential_table(surface: float = 300e-6) -> simulation.BendingTable:
    levels = RADIUS + np.concatenate([np.arange(1_500.0, 60e3, 50.0), np.arange(60e3, 200e3, 500.0)])
    bending = CubicSpline(levels, closed_form(levels, surface))
    whole = bending.antiderivative()
    return simulation.BendingTable(levels, bending, CubicSpline(levels, whole(levels[-1]) - whole(levels)))


def orbits(rate: float, radial: tuple[float, float]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Times, and position and velocity of receiver and transmitter, from a straight line at 75 km downward."""
    time = np.arange(0.0, 45.0, 1.0 / rate)
    top, states = RADIUS + 75e3, []
    start = np.arccos(top / 7.17e6) + np.arccos(top / 26.56e6)
    for distance, outward, turn, first in ((7.17e6, radial[0], 1.04e-3, start), (26.56e6, radial[1], -1.3e-4, 0.0)):
        radius, angle = distance + outward * time, first + turn * time
        up = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
        along = np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=1)
        states += [radius[:, None] * up, outward * up + (turn * radius)[:, None] * along]
    return time, states


def rays(table: simulation.BendingTable, *, rate: float = 50.0, radial: tuple[float, float] = (0.0, 0.0)) -> Record:
    """One ray a moment, as long as there is one; amplitude by defocusing."""
    time, (receiver, receiver_velocity, transmitter, transmitter_velocity) = orbits(rate, radial)
    ray = simulation.trace(receiver, transmitter=transmitter, table=table)
    seen = np.isfinite(ray.path)
    geometry = geometric_optics.ray_geometry(
        receiver[seen],
        receiver_velocity=receiver_velocity[seen],
        transmitter_position=transmitter[seen],
        transmitter_velocity=transmitter_velocity[seen],
    )
    impact = ray.impact_parameter[seen]
    near, far = (
        np.sqrt(part[seen] ** 2 - impact**2) for part in (np.linalg.norm(s, axis=1) for s in (receiver, transmitter))
    )
    sinking_in_vacuum = near * far / (near + far) * np.gradient(geometry.separation, time[seen])
    amplitude = np.sqrt(-np.gradient(impact, time[seen]) / sinking_in_vacuum)
    return Record(time[seen], geometry, ray.path[seen] - geometry.distance, amplitude, impact)


def transformed(
    record: Record, *, phase: np.ndarray | None = None
) -> tuple[wave_optics.ImpactField, wave_optics.Frame]:
    along = wave_optics.frame(record.geometry, time=record.time, radius=RADIUS, parameters=RULE)
    along = wave_optics.cut(along, top=RADIUS + RULE.top + RULE.margin)
    sinking = slice(None) if record.geometry.separation[-1] > record.geometry.separation[0] else slice(None, None, -1)
    field = wave_optics.transform(
        (record.excess_phase if phase is None else phase)[sinking][-along.time.size :],
        amplitude=record.amplitude[sinking][-along.time.size :],
        frequency_wavenumber=WAVENUMBER,
        along=along,
        radius=RADIUS,
        parameters=RULE,
    )
    return field, along


def bending(record: Record, *, levels: np.ndarray = LEVELS, phase: np.ndarray | None = None) -> wave_optics.WaveBending:
    field, along = transformed(record, phase=phase)
    cubic = levels > RADIUS + 10_000.0
    return wave_optics.bending_angle(
        field, along=along, levels=levels, half_width=np.where(cubic, 400.0, 200.0), cubic=cubic, parameters=RULE
    )


@pytest.fixture(scope="module")
def record() -> Record:
    return rays(exponential_table())


@pytest.mark.parametrize(("rate", "radial"), [(50.0, (0.0, 0.0)), (100.0, (0.0, 0.0)), (50.0, (60.0, -150.0))])
def test_bending_meets_the_closed_form_at_any_rate_and_on_any_orbit(rate: float, radial: tuple[float, float]) -> None:
    found = bending(rays(exponential_table(), rate=rate, radial=radial))
    inner, ends = slice(1, -1), [0, -1]
    np.testing.assert_allclose(found.bending_angle[inner], closed_form(LEVELS)[inner], rtol=5e-5)
    # Windows stand on the grid of the field. Between levels that is interpolated away; at either end the bending is
    # held over a part of a step of 2.4 m, in which it changes by that over the scale height, 7 km.
    np.testing.assert_allclose(found.bending_angle[ends], closed_form(LEVELS)[ends], rtol=5e-5 + 1.2 / 7_000.0)
    np.testing.assert_allclose(found.amplitude, 1.0, atol=0.02)


def test_a_rising_occultation_is_a_setting_one_backward(record: Record) -> None:
    backward = Record(
        record.time[-1] - record.time[::-1],
        geometric_optics.RayGeometry(
            *(
                -part[::-1] if name in {"distance_rate"} or name.endswith(("radial", "along")) else part[::-1]
                for name, part in record.geometry._asdict().items()
            )
        ),
        *(part[::-1] for part in record[2:]),
    )
    one, other = bending(record), bending(backward)
    np.testing.assert_allclose(other.bending_angle, one.bending_angle, rtol=1e-7)
    np.testing.assert_allclose(other.amplitude, one.amplitude, rtol=1e-7)
    np.testing.assert_allclose(other.spectral_width, one.spectral_width, rtol=1e-3)


def test_a_constant_of_the_phase_changes_nothing(record: Record) -> None:
    moved = bending(record, phase=record.excess_phase + 12_345.678)
    np.testing.assert_allclose(moved.bending_angle, bending(record).bending_angle, rtol=1e-7)


def test_missing_samples_cost_no_accuracy_away_from_them(record: Record) -> None:
    phase = record.excess_phase.copy()
    hole = slice(900, 905)
    phase[hole] = np.nan
    found = bending(record, phase=phase).bending_angle / closed_form(LEVELS) - 1.0
    missing = record.impact[hole]
    away = np.abs(LEVELS - 0.5 * (missing.min() + missing.max())) > 2_500.0 + 0.5 * np.ptp(missing)
    assert away.sum() > 100
    assert np.abs(found[away]).max() < 1e-3


def test_two_rays_that_arrive_at_one_moment_are_both_found() -> None:
    """Bending that falls by a fifth below 9 km: rays of either side meet for a second, and each keeps its bending."""
    border, weaker = RADIUS + 9_000.0, 240e-6
    upper, lower = rays(exponential_table()), rays(exponential_table(weaker))
    count = min(upper.time.size, lower.time.size)
    over, under = upper.impact[:count] > border, lower.impact[:count] < border
    together = over & under
    assert np.count_nonzero(together) > 50
    ahead = (lower.excess_phase[:count] - upper.excess_phase[:count]) * WAVENUMBER
    field = upper.amplitude[:count] * over + lower.amplitude[:count] * under * np.exp(1j * ahead)
    mixed = Record(
        upper.time[:count],
        geometric_optics.RayGeometry(*(part[:count] for part in upper.geometry)),
        upper.excess_phase[:count] + np.unwrap(np.angle(field)) / WAVENUMBER,
        np.abs(field),
        upper.impact[:count],
    )
    met = np.concatenate([upper.impact[:count][together], lower.impact[:count][together]])
    levels = np.arange(met.min() + 100.0, met.max() - 100.0, 100.0)
    levels = levels[np.abs(levels - border) > 250.0]
    assert np.count_nonzero(levels < border) > 5 < np.count_nonzero(levels > border)
    found = bending(mixed, levels=levels).bending_angle
    assert np.abs(found / two_valued(levels, border, weaker) - 1.0).max() < 1e-2
    doppler = geometric_optics.excess_doppler(
        mixed.excess_phase, time=mixed.time, parameters=geometric_optics.DopplerFilter()
    )
    single = geometric_optics.bending_angle_from_doppler(doppler, geometry=mixed.geometry)
    error = single.bending_angle / two_valued(single.impact_parameter, border, weaker) - 1.0
    assert np.abs(error[together]).max() > 5e-2


def two_valued(impact: np.ndarray, border: float, weaker: float) -> np.ndarray:
    """Bending of one atmosphere above and of another below a border."""
    return np.where(impact > border, closed_form(impact), closed_form(impact, weaker))


def test_the_spectrum_of_one_ray_is_narrow_and_that_of_noise_wide(record: Record) -> None:
    field, along = transformed(record)
    kept = {"along": along, "levels": LEVELS, "half_width": np.full_like(LEVELS, 400.0), "cubic": CUBIC}
    clean = wave_optics.bending_angle(field, parameters=RULE, **kept)
    # Phases of a random walk with standard deviation w k l over a lag l have a Gaussian's coherence exp(-(w k l)^2/2).
    width, generator = 1.0e-3, np.random.default_rng(3)
    steps = width * WAVENUMBER * np.sqrt(RULE.lag * field.spacing) * generator.standard_normal(field.field.size)
    noisy = wave_optics.bending_angle(
        field._replace(field=field.field * np.exp(1j * np.cumsum(steps))), parameters=RULE, **kept
    )
    assert clean.spectral_width.max() < 3e-5
    assert float(np.sqrt(np.mean(noisy.spectral_width**2))) == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize("half", [200.0, 500.0])
@pytest.mark.parametrize(
    ("c", "longest", "variance"),
    [
        (0.0, 5.0, signal_bending.LINEAR_NOISE),
        (wave_optics.CUBIC, 2.0, signal_bending.DOPPLER_NOISE),
        (wave_optics.CUBIC, 1e4, signal_bending.CUBIC_NOISE),
    ],
)
def test_white_phase_noise_gives_the_variance_of_a_least_squares_slope(
    c: float, longest: float, variance: float, half: float
) -> None:
    spacing, sigma = 2.0, 0.02
    phase = np.random.default_rng(8).normal(0.0, sigma, 400_000)
    levels = np.arange(2.0 * half, spacing * phase.size - 2.0 * half, 2.0 * half)
    rate = slope(np.exp(1j * phase), spacing=spacing, levels=levels, half=half, c=c, longest=longest)
    assert levels.size > 790
    expected = np.sqrt(variance * sigma**2 * spacing / half**3)
    assert float(np.std(rate)) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize(
    ("c", "longest", "variance", "within", "on_average"),
    [
        (0.0, 2.0, signal_bending.LINEAR_NOISE, 0.015, 0.01),
        (wave_optics.CUBIC, 2.0, signal_bending.DOPPLER_NOISE, 0.015, 0.01),
        (wave_optics.CUBIC, 1e4, signal_bending.CUBIC_NOISE, 0.07, 0.05),
    ],
)
def test_the_constants_of_the_noise_are_the_squared_responses_of_a_window_to_its_values(
    c: float, longest: float, variance: float, within: float, on_average: float
) -> None:
    # How many whole means a window holds, and how much of it is left over, goes with its width, 8.3 to 9.1 in the cubic
    # one: its constant stands for all of them, and for windows whose means the turn of the phase keeps shorter.
    spacing, turned, ratios = 2.0, 1e-6, []
    for half in (200.0, 240.0, 310.0, 400.0, 500.0):
        count = round(4.0 * half / spacing)
        fields = np.exp(1j * turned * np.eye(count))
        kept = {"spacing": spacing, "levels": np.array([0.5 * count * spacing]), "half": half, "c": c}
        response = [slope(field, longest=longest, **kept)[0] / turned for field in fields]
        ratios.append(np.sum(np.square(response)) * half**3 / spacing / variance)
    np.testing.assert_allclose(ratios, 1.0, atol=within)
    assert float(np.mean(ratios)) == pytest.approx(1.0, abs=on_average)


HALF_WIDTHS = (100.0, 300.0, 600.0, 1_200.0)
FLAT = {"at": 2.4 * np.arange(4_000), "levels": np.array([4_000.0, 4_800.0])}


@pytest.mark.parametrize("half", HALF_WIDTHS)
def test_a_steady_slope_and_power_are_the_same_in_every_window(half: float) -> None:
    turn = 33.0 * 1.5e-3
    field = 0.7 * np.exp(1j * turn * FLAT["at"])
    found = slope(field, spacing=2.4, levels=FLAT["levels"], half=half, c=0.0)
    np.testing.assert_allclose(found, turn, rtol=1e-9)
    for c in (0.0, wave_optics.CUBIC):
        same = np.ones(2)
        told = windowed(field, spacing=2.4, levels=FLAT["levels"], half=half * same, c=c * same, lag=12)
        np.testing.assert_allclose(told[0] / 2.4, turn, rtol=1e-9)
        np.testing.assert_allclose(told[2], 1.0, rtol=1e-9)
        np.testing.assert_allclose(told[3], 0.49, rtol=1e-9)


def test_bending_far_from_the_reference_is_found_in_every_window() -> None:
    """Moist air bends 10 mrad more than the reference: its phase turns by 0.33 rad a metre."""
    turn = 33.0 * 1e-2
    for half in (100.0, 800.0):
        found = slope(np.exp(1j * turn * FLAT["at"]), spacing=2.4, levels=FLAT["levels"], half=half, c=0.0)
        np.testing.assert_allclose(found, turn, rtol=1e-6)


def test_the_spectral_width_does_not_depend_on_the_window() -> None:
    spacing, lag, planted = 2.4, 12, 1e-3 * 33.0
    steps = planted * np.sqrt(lag) * spacing * np.random.default_rng(1).standard_normal(100_000)
    field = np.exp(1j * np.cumsum(steps))
    levels = np.arange(2_000.0, 236_000.0, 2_000.0)
    for half in (300.0, 1_200.0):
        same = np.full_like(levels, half)
        told = windowed(
            field, spacing=spacing, levels=levels, half=same, c=np.full_like(levels, 2.3), lag=lag, longest=40.0
        )
        width = np.sqrt(-2.0 * np.log(told[2])) / (lag * spacing)
        assert float(np.mean(width)) == pytest.approx(planted, rel=0.15)


def slope(
    field: np.ndarray, *, spacing: float, levels: np.ndarray, half: float, c: float, longest: float = 5.0
) -> np.ndarray:
    """Slope of the phase by the kernel [rad m-1]; the field begins at zero."""
    same = np.ones_like(levels)
    return (
        windowed(field, spacing=spacing, levels=levels, half=half * same, c=c * same, lag=1, longest=longest)[0]
        / spacing
    )


def windowed(
    field: np.ndarray,
    *,
    spacing: float,
    levels: np.ndarray,
    half: np.ndarray,
    c: np.ndarray,
    lag: int,
    longest: float = 5.0,
) -> tuple[np.ndarray, ...]:
    """What the kernel tells of a field that begins at zero; 19 mrad of bending turn the phase of L1 by half in 5 m."""
    mean = np.full_like(levels, longest)
    return _kernels.local_phase_rate(field, np.abs(field) ** 2, 0.0, spacing, levels, half, c, mean, lag)


@pytest.mark.parametrize(
    ("c", "moved", "values"), [(0.0, 0.6, 1), (0.0, 0.6, 5), (wave_optics.CUBIC, 0.0, 1), (wave_optics.CUBIC, 0.0, 5)]
)
def test_a_quadratic_phase_keeps_its_slope_and_a_cubic_one_only_in_the_cubic_window(
    c: float, moved: float, values: int
) -> None:
    # Means of s values are by nature a little less than exact: they weaken as the slope changes across the window.
    # A window with a straight line is of single values here, whatever is allowed.
    exact = 1e-9 if c == 0.0 or values == 1 else 1e-7
    spacing, half, cubic = 1.0, 110.0, 1e-8
    x = spacing * np.arange(2_001) - 1_000.0
    level = {"spacing": spacing, "levels": np.array([1_000.0]), "half": half, "c": c, "longest": values * spacing}
    quadratic = 0.3 + 2e-2 * x + 3e-5 * x**2
    assert slope(np.exp(1j * quadratic), **level)[0] == pytest.approx(2e-2, rel=exact)
    expected = 2e-2 + moved * cubic * half**2
    assert slope(np.exp(1j * (quadratic + cubic * x**3)), **level)[0] == pytest.approx(expected, abs=2e-8)


def test_missing_power_and_levels_beyond_the_field_give_no_slope() -> None:
    levels = np.array([-50.0, 500.0, 5_000.0])
    found = slope(np.zeros(1_000, np.complex128), spacing=1.0, levels=levels, half=100.0, c=0.0)
    assert np.isnan(found).all()
    assert np.isfinite(
        slope(np.ones(1_000, np.complex128), spacing=1.0, levels=levels, half=100.0, c=0.0)
    ).tolist() == [
        False,
        True,
        False,
    ]


def test_a_band_limited_tone_is_found_between_its_samples() -> None:
    index = np.arange(400)
    at = np.random.default_rng(4).uniform(20.0, 380.0, 500)
    for cycles in (-0.25, 0.0, 0.1, 0.25):
        found = _kernels.band_limited(np.exp(2j * np.pi * cycles * index), at, RULE.taps)
        np.testing.assert_allclose(found, np.exp(2j * np.pi * cycles * at), atol=2e-3)
    whole = _kernels.band_limited(np.exp(0.3j * index), np.array([7.0, 399.0]), RULE.taps)
    np.testing.assert_array_equal(whole, np.exp(0.3j * np.array([7, 399])))


@pytest.mark.parametrize("rate", [50.0, 100.0, 64.0])
def test_rounding_of_gps_seconds_is_taken_from_an_even_clock(rate: float) -> None:
    exact = np.arange(6_000) / rate
    rounded = (1.3e9 + 0.007) + exact
    assert np.abs(np.diff(rounded) - 1.0 / rate).max() > (3e-8 if rate != 64.0 else -1.0)
    assert np.abs(resampling.even_time(rounded) - exact - (resampling.even_time(rounded) - exact).mean()).max() < 3e-8


def test_a_jittered_clock_and_short_records_are_left_alone() -> None:
    generator = np.random.default_rng(2)
    jittered = 1.3e9 + np.arange(1_000) / 50.0 + generator.uniform(-5e-3, 5e-3, 1_000)
    moved = np.abs(resampling.even_time(jittered) - (jittered - jittered[0]))
    assert moved.max() <= resampling.TIME_RESOLUTION
    assert np.count_nonzero(moved) < 20
    short = 1.3e9 + np.arange(resampling.EVEN_SAMPLES - 1) / 50.0
    np.testing.assert_array_equal(resampling.even_time(short), short - short[0])
