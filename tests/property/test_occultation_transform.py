"""Laws of the transform and its windows that hold for any field, window and level."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.occultation import _kernels, resampling, shadow, statistical_optimization, uncertainty, wave_optics

SPACING = 2.0
COUNT = 1_200
X = SPACING * np.arange(COUNT)
seeds = st.integers(0, 2**32 - 1)


def slope(
    field: np.ndarray, levels: np.ndarray, half: float, c: float, *, lag: int = 5, longest: float = 5.0
) -> tuple[np.ndarray, ...]:
    same = np.ones_like(levels)
    return _kernels.local_phase_rate(
        field, np.abs(field) ** 2, 0.0, SPACING, levels, half * same, c * same, longest * same, lag
    )


def random_field(seed: int) -> np.ndarray:
    """A smooth field of any phase and amplitude."""
    generator = np.random.default_rng(seed)
    phase = np.interp(X, np.linspace(0.0, X[-1], 12), generator.normal(0.0, 3.0, 12))
    amplitude = np.interp(X, np.linspace(0.0, X[-1], 9), generator.uniform(0.2, 1.5, 9))
    return np.asarray(amplitude * np.exp(1j * phase))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    seeds, st.floats(-3.1, 3.1), st.floats(0.1, 10.0), st.floats(60.0, 600.0), st.sampled_from([0.0, wave_optics.CUBIC])
)
def test_neither_constant_phase_nor_gain_moves_a_slope(
    seed: int, constant: float, gain: float, half: float, c: float
) -> None:
    levels = np.linspace(700.0, 1_700.0, 7)
    field = random_field(seed)
    rate, centre, coherence, power = slope(field, levels, half, c)
    turned = slope(gain * np.exp(1j * constant) * field, levels, half, c)
    np.testing.assert_allclose(turned[0], rate, atol=1e-12)
    np.testing.assert_allclose(turned[1], centre, rtol=1e-12)
    np.testing.assert_allclose(turned[2], coherence, rtol=1e-9)
    np.testing.assert_allclose(turned[3], gain**2 * power, rtol=1e-9)
    assert (coherence <= 1.0 + 1e-12).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seeds, st.floats(-0.5, 0.5), st.floats(60.0, 230.0), st.sampled_from([0.0, wave_optics.CUBIC]))
def test_a_tilt_adds_to_every_slope(seed: int, tilt: float, half: float, c: float) -> None:
    levels = np.linspace(700.0, 1_700.0, 7)
    field = random_field(seed)
    tilted = field * np.exp(1j * tilt * np.arange(COUNT))
    # Values one by one turn by exactly the tilt. Means of two weaken with the whole turn within them, differently where
    # the slope of the field differs, so a tilt shifts the weights within the window a little.
    for longest, exact in ((SPACING, 1e-9), (2.0 * SPACING, 1e-2)):
        there, here = (slope(part, levels, half, c, longest=longest)[0] for part in (tilted, field))
        np.testing.assert_allclose(np.angle(np.exp(1j * (there - here - tilt))), 0.0, atol=exact)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seeds, st.floats(60.0, 600.0), st.sampled_from([0.0, wave_optics.CUBIC]))
def test_a_mirrored_field_has_mirrored_slopes(seed: int, half: float, c: float) -> None:
    levels = np.linspace(700.0, 1_700.0, 7)
    field = random_field(seed)
    there = slope(field, levels, half, c, lag=1)
    back = slope(field[::-1], X[-1] - levels[::-1], half, c, lag=1)
    np.testing.assert_allclose(-back[0][::-1], there[0], atol=1e-9)
    np.testing.assert_allclose(X[-1] - back[1][::-1], there[1], rtol=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds, st.integers(-100, 100))
def test_interpolation_is_linear_keeps_samples_and_follows_a_shift(seed: int, shift: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = (generator.standard_normal(300) + 1j * generator.standard_normal(300) for _ in range(2))
    at = generator.uniform(110.0, 190.0, 50)
    found = _kernels.band_limited(one + 2j * other, at, 8)
    parts = _kernels.band_limited(one, at, 8) + 2j * _kernels.band_limited(other, at, 8)
    np.testing.assert_allclose(found, parts, atol=1e-12)
    np.testing.assert_allclose(
        _kernels.band_limited(np.roll(one, shift), at + shift, 8), _kernels.band_limited(one, at, 8), atol=1e-9
    )
    np.testing.assert_array_equal(_kernels.band_limited(one, np.arange(300.0), 8), one)
    np.testing.assert_allclose(_kernels.band_limited(np.ones(300, np.complex128), at, 8), 1.0, rtol=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seeds, st.floats(0.1, 3.0), st.integers(0, 150))
def test_the_border_follows_a_shift_and_one_at_full_contrast_any_scale_below_the_cap(
    seed: int, scale: float, shift: int
) -> None:
    generator = np.random.default_rng(seed)
    levels = 6.37e6 + 50.0 * np.arange(200)
    amplitude = np.where(np.arange(200) >= 40, 0.5, 0.02) + 0.05 * generator.uniform(0.0, 1.0, 200)
    at = shadow.border(amplitude, impact_parameter=levels, thickness=(20_000.0,))
    assert at == levels[40]
    assert shadow.border(scale * amplitude, impact_parameter=levels, thickness=(20_000.0,)) == at
    assert shadow.border(amplitude, impact_parameter=levels + shift, thickness=(20_000.0,)) == at + shift


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.floats(500.0, 10_000.0))
def test_a_merge_lies_between_its_parts_in_variance_and_its_weight_in_zero_to_one(seed: int, length: float) -> None:
    generator = np.random.default_rng(seed)
    levels = 6.37e6 + np.arange(20_000.0, 80_000.0, 1_000.0)
    background = 0.02 * np.exp(-(levels - 6.37e6) / 7_000.0)
    error = uncertainty.correlated(background * generator.uniform(0.01, 1.0, levels.size), at=levels, length=length)
    observed = background * generator.uniform(0.8, 1.2, levels.size)
    observed[generator.uniform(size=levels.size) < 0.2] = np.nan
    found = statistical_optimization.optimize(
        observed,
        background=background,
        covariance=error,
        impact_parameter=levels,
        radius=6.37e6,
        parameters=statistical_optimization.OptimizationParameters(),
    )
    assert np.isfinite(found.bending_angle).all()
    assert ((found.weight >= 0.0) & (found.weight <= 1.0)).all()
    whole = np.diag(found.prior + found.gain @ error @ found.gain.T)
    prior = (0.2 * background[found.merged]) ** 2
    assert (whole <= prior * (1.0 + 1e-9)).all()
    seen = np.isfinite(observed)[found.merged]
    assert (whole[seen] <= np.diag(error)[found.merged][seen] * (1.0 + 1e-9)).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(60, 4_000), st.sampled_from([10.0, 20.0, 25.0, 50.0, 100.0]), st.floats(0.0, 0.99))
def test_an_even_clock_is_freed_of_rounding_whatever_its_rate_and_beginning(
    count: int, rate: float, begin: float
) -> None:
    exact = np.arange(count) / rate
    found = resampling.even_time(1.4e9 + begin + exact)
    error = found - exact
    assert np.std(error - error.mean()) < 3e-8
    assert np.abs(found - ((1.4e9 + begin + exact) - (1.4e9 + begin))).max() < resampling.TIME_RESOLUTION + 1.3e-7
    assert (np.diff(found) > 0.0).all()
