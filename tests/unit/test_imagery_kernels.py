"""Laws of the compiled loops of the imagery on arrays so small that they hold as well uncompiled."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from processors.imagery import (
    _cloud_kernels,
    _orthorectification_kernels,
    _resampling_kernels,
    _sharpening_kernels,
    _spatiotemporal_kernels,
    _terrain_kernels,
)
from processors.simulation import _imagery_simulation_kernels

ROWS, COLUMNS = 12, 15


def plane(rows=ROWS, columns=COLUMNS, *, down=2.0, across=-3.0, level=50.0):
    y, x = np.mgrid[:rows, :columns]
    return (level + down * y + across * x).astype(np.float32)


def noise(*shape, seed):
    return np.random.default_rng(seed).uniform(1.0, 2.0, shape).astype(np.float32)


# Clouds and their shadows


def cloud():
    """A cloud of four pixels, its pixels as the matching wants them, and two candidates of its height."""
    label = np.zeros((ROWS, COLUMNS), dtype=np.int32)
    label[2:4, 8:10] = 1
    i, j = (part.astype(np.int64) for part in np.nonzero(label))
    shift = np.array([[10.0, 0.4, -0.6], [30.0, 0.4, -0.6]])
    return label, i, j, np.array([0, i.size]), shift


def matched(shadow, z):
    _, i, j, start, shift = cloud()
    return _cloud_kernels.match(i, j, start, shadow.astype(np.float32), np.ones(shadow.shape, dtype=bool), z, shift)


def test_a_cloud_is_matched_where_its_shadow_was_projected():
    label, _, _, _, shift = cloud()
    flat = np.zeros((1, 1), dtype=np.float32)
    shadow, _ = _cloud_kernels.project(label, np.array([-1, 0]), flat, shift)
    assert_array_equal(np.argwhere(shadow), np.add(np.argwhere(label), [4, -6]))
    darkness, seen = matched(shadow, flat)
    assert (darkness[0, 0], seen[0, 0]) == (4.0, 4)
    assert (darkness[0, 1], seen[0, 1]) == (0.0, 0)  # the higher cloud would shade ground beyond the scene


def test_a_shadow_on_raised_ground_is_that_of_a_lower_cloud():
    label, _, _, _, shift = cloud()
    lower = shift - [[5.0, 0.0, 0.0]]
    flat, raised = np.zeros((1, 1), dtype=np.float32), np.full((ROWS, COLUMNS), 5.0, dtype=np.float32)
    on_raised, beyond = _cloud_kernels.project(label, np.array([-1, 0]), raised, shift)
    on_flat, beyond_flat = _cloud_kernels.project(label, np.array([-1, 0]), flat, lower)
    assert on_flat.any()
    assert_array_equal(on_raised, on_flat)
    assert_array_equal(beyond, beyond_flat)
    assert matched(on_flat, raised)[0][0, 0] == 4.0


def test_ground_whose_cloud_would_stand_outside_is_told():
    label, _, _, _, shift = cloud()
    _, outside = _cloud_kernels.project(label, np.array([-1, -1]), np.zeros((1, 1), dtype=np.float32), shift[:1])
    y, x = np.mgrid[:ROWS, :COLUMNS]
    assert_array_equal(outside, (y < 4) | (x >= COLUMNS - 6))


SHADOWS = {
    "mask": lambda z, down, across, rise: _cloud_kernels.cast_shadow(z, down, across, rise, 50),
    "simulator": _imagery_simulation_kernels.cast_shadow,
}


@pytest.mark.parametrize("way", ["row", "column"])
@pytest.mark.parametrize("caster", SHADOWS)
def test_a_wall_shades_as_far_as_it_is_high(caster, way):
    """Height 35 m, sun at 45 degrees, pixels of 10 m; more columns than a block of the simulator's search."""
    z = np.zeros((5, 40), dtype=np.float32)
    z[:, 25] = 35.0
    expected = np.zeros(z.shape, dtype=bool)
    expected[:, 22:25] = True
    if way == "row":
        assert_array_equal(SHADOWS[caster](np.ascontiguousarray(z.T), 1.0, 0.0, 10.0), expected.T)
    else:
        assert_array_equal(SHADOWS[caster](z, 0.0, 1.0, 10.0), expected)


# Terrain and lines of sight


def test_height_between_posts_is_bilinear_and_unknown_beside_unknown_posts():
    heights = plane()
    assert _terrain_kernels.height_at(heights, 3.25, 4.5) == pytest.approx(50 + 2 * 3.25 - 3 * 4.5)
    assert _terrain_kernels.height_at(heights, ROWS - 0.4, 4.0) == np.inf
    heights[3, 5] = np.nan
    assert np.isnan(_terrain_kernels.height_at(heights, 3.25, 4.5))
    assert _terrain_kernels.height_at(heights, 3.0, 4.0) == pytest.approx(44.0)


def test_lines_of_sight_meet_a_slope_where_geometry_says():
    heights = plane()
    start = np.array(
        [[2.0, 4.0, 150.0], [2.0, 4.0, 150.0], [np.nan, 4.0, 150.0], [40.0, 40.0, 150.0], [0.0, 0.0, 150.0]]
    )
    end = np.array([[8.0, 4.0, 0.0], [8.0, 4.0, 90.0], [8.0, 4.0, 0.0], [40.0, 42.0, 0.0], [0.0, 14.0, 0.0]])
    heights[0, 3] = np.nan
    s, code = np.zeros(5), np.zeros(5, dtype=np.uint8)
    _terrain_kernels.meet_all(heights, start, end, 0.5, s, code)
    kernels = _terrain_kernels
    assert_array_equal(code, [kernels.MET, kernels.NOT_MET, kernels.OUTSIDE, kernels.OUTSIDE, kernels.VOID])
    # 150 - 150 s = 50 + 2 (2 + 6 s) - 3 * 4
    assert s[0] == pytest.approx(108.0 / 162.0, abs=1e-5)
    assert np.isnan(s[1:]).all()


@pytest.mark.parametrize("parallel", [True, False])
def test_a_wall_hides_what_lies_lower_behind_it(parallel):
    heights = np.zeros((3, 20), dtype=np.float32)
    heights[:, 10] = 35.0
    column = np.arange(20.0)
    row, height = np.ones(20), np.zeros(20)
    height[10] = 35.0
    # at 45 degrees, or an eye so far away that its directions hardly differ
    eye = np.array([0.0, 1000.0, 10_000.0]) if parallel else np.array([1.0, 1e6, 1e7])
    result = np.zeros(20, dtype=bool)
    _terrain_kernels.hidden(heights, row, column, height, eye, parallel, 35.0, 0.5, 0.25, result)
    assert_array_equal(np.flatnonzero(result), [7, 8, 9])


# Samples of images


@pytest.mark.parametrize("order", ["bilinear", "cubic"])
def test_samples_of_a_slope_are_the_slope_and_none_beyond_the_image(order):
    image = np.stack([plane(), 2 * plane()])
    row, column = np.array([3.25, 7.5, 4.0, -0.6, 3.0]), np.array([4.5, 6.25, 5.0, 3.0, COLUMNS + 1.0])
    result = np.zeros((2, 5), dtype=np.float32)
    getattr(_orthorectification_kernels, order)(image, row, column, result)
    expected = 50 + 2 * row - 3 * column
    assert_allclose(result[:, :3], [expected[:3], 2 * expected[:3]], rtol=1e-6)
    assert np.isnan(result[:, 3:]).all()


def nodes(shift_row, shift_column):
    """Source positions at every fourth pixel of a grid shifted against the source."""
    y, x = np.mgrid[:5, :6] * 4.0
    return y + shift_row, x + shift_column


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_shifted_grid_samples_a_slope_at_its_places(order):
    row, column = nodes(0.25, -0.375)
    out = np.zeros((1, ROWS, COLUMNS), dtype=np.float32)
    _resampling_kernels.sample(plane()[None], row, column, 4, 0, 0, 0, 0, order, out)
    expected = plane() if order == 0 else plane(level=50 + 2 * 0.25 + 3 * 0.375)
    assert_allclose(out[0, 2:-3, 2:-3], expected[2:-3, 2:-3], rtol=1e-6)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("order", [0, 1, 3])
def test_missing_pixels_neither_spread_nor_shrink(order):
    source = np.full((1, ROWS, COLUMNS), 7.0, dtype=np.float32)
    source[0, 5, 6:8] = np.nan
    row, column = nodes(0.25, -0.375)
    out = np.zeros_like(source)
    _resampling_kernels.sample(source, row, column, 4, 0, 0, 0, 0, order, out)
    assert_array_equal(out, source)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_positions_that_do_not_exist_are_no_data(order):
    row, column = nodes(0.0, 0.0)
    row[2] = np.nan
    out = np.zeros((1, ROWS, COLUMNS), dtype=np.float32)
    _resampling_kernels.sample(plane()[None], row, column, 4, 0, 0, 0, 0, order, out)
    assert np.isfinite(out[0, 1:4, 1:-2]).all()
    assert np.isnan(out[0, 5:]).all()


def test_average_of_a_slope_is_its_middle_and_half_of_it_must_be_seen():
    y, x = np.mgrid[:4, :4] * 8.0 + 1.5  # four source pixels under each target pixel, nodes at every second of them
    out = np.zeros((1, 2, 3), dtype=np.float32)
    source = plane()[None]
    source[0, 4:7, 4:8] = np.nan
    _resampling_kernels.average(source, y, x, 2, 0, 0, 0, 0, 4, out)
    middle = 50 + 2 * (np.arange(2)[:, None] * 4 + 1.5) - 3 * (np.arange(3)[None] * 4 + 1.5)
    assert np.isnan(out[0, 1, 1])
    middle[1, 1] = np.nan
    assert_allclose(out[0], middle, rtol=1e-6)


# Pansharpening


def taps(size, *, keys):
    """Coarse pixel before each fine one of half its size, and weights of linear or cubic convolution (tap, fine)."""
    place = np.arange(size) / 2 + 2.25
    before = np.floor(place).astype(np.int64)
    t = place - before
    if keys:
        d = np.stack([1 + t, t, 1 - t, 2 - t])
        near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
        return place, before, np.where(d <= 1, near, far).astype(np.float32)
    return place, before, np.stack([1 - t, t]).astype(np.float32)


FINE = (7, 9)
COARSE = (9, 10)


def upsampled(m, *, keys):
    _, row, row_weight = taps(FINE[0], keys=keys)
    _, column, column_weight = taps(FINE[1], keys=keys)
    return _sharpening_kernels.upsample(m, row, row_weight, column, column_weight)


def injected(p, low, a, g, s):
    _, row, row_cubic = taps(FINE[0], keys=True)
    _, column, column_cubic = taps(FINE[1], keys=True)
    row_linear, column_linear = taps(FINE[0], keys=False)[2], taps(FINE[1], keys=False)[2]
    result = np.zeros((a.shape[0] + s.shape[0], *FINE), dtype=np.float32)
    _sharpening_kernels.inject(p, low, a, g, s, row, row_cubic, row_linear, column, column_cubic, column_linear, result)
    return result


@pytest.mark.parametrize("keys", [False, True])
def test_interpolation_keeps_a_slope(keys):
    y, x = taps(FINE[0], keys=keys)[0][:, None], taps(FINE[1], keys=keys)[0][None]
    assert_allclose(upsampled(plane(*COARSE), keys=keys), 50 + 2 * y - 3 * x, rtol=1e-6)


def test_without_detail_the_bands_are_interpolated_and_with_it_take_their_gain_of_it():
    low, a, s = noise(*COARSE, seed=1), noise(2, *COARSE, seed=2), noise(2, *COARSE, seed=3)
    gain = np.stack([np.full(COARSE, 0.5), np.full(COARSE, 2.0)]).astype(np.float32)
    smooth = upsampled(low, keys=True)
    plain = injected(smooth, low, a, gain, s)
    assert_allclose(plain[:2], [upsampled(band, keys=True) for band in a], rtol=1e-6)
    assert_allclose(plain[2:], [upsampled(band, keys=False) for band in s], rtol=1e-6)
    sharp = injected(smooth + np.float32(0.25), low, a, gain, s[:0])
    assert sharp.shape[0] == 2
    assert_allclose(sharp - plain[:2], np.broadcast_to([[[0.125]], [[0.5]]], sharp.shape), atol=1e-6)


def test_a_plane_seen_coarsely_has_the_moments_of_what_lies_under_each_pixel():
    fine = noise(8, 12, seed=4)
    start = np.arange(4) * 2
    weights = np.full((4, 2), 0.5, dtype=np.float32)
    wide = np.full((6, 2), 0.5, dtype=np.float32)
    mean, variance = _sharpening_kernels.reduce(fine, 1.5, start, weights, np.arange(6) * 2, wide, True)
    blocks = fine.reshape(4, 2, 6, 2)
    assert_allclose(mean, blocks.mean(axis=(1, 3)), rtol=1e-6)
    assert_allclose(variance, blocks.var(axis=(1, 3)), atol=1e-6)
    fine[0, 0] = np.nan
    fine[2:4, 2:4] = np.nan
    partial, spread = _sharpening_kernels.reduce(fine, 1.5, start, weights, np.arange(6) * 2, wide, False)
    assert partial[0, 0] == pytest.approx(float(np.nanmean(fine[:2, :2])))
    assert np.isnan(partial[1, 1])
    assert np.isnan(spread[1, 1])
    untouched = np.ones((4, 6), dtype=bool)
    untouched[0, 0] = untouched[1, 1] = False
    assert_array_equal(partial[untouched], mean[untouched])
    assert_array_equal(spread[untouched], variance[untouched])


@pytest.mark.parametrize("step", [1, 2])
def test_smoothing_keeps_a_slope_inside_and_repeats_the_outermost_pixel(step):
    smooth = _sharpening_kernels.smooth(plane(), step)
    inside = (slice(step, -step), slice(step, -step))
    assert_allclose(smooth[inside], plane()[inside], rtol=1e-6)
    assert smooth[0, 0] == pytest.approx(50 + 0.25 * step * (2 - 3))
    single = np.full((1, 1), 3.0, dtype=np.float32)
    assert_array_equal(_sharpening_kernels.smooth(single, step), single)


def test_gaps_fill_ring_by_ring_and_the_rest_is_told():
    whole = np.full((3, 9), 5.0, dtype=np.float32)
    _sharpening_kernels.fill(whole, 2, -1.0)
    assert (whole == 5.0).all()
    gappy = whole.copy()
    gappy[:, 2:] = np.nan
    _sharpening_kernels.fill(gappy, 3, -1.0)
    assert_array_equal(gappy, np.where(np.arange(9) < 5, 5.0, -1.0) * np.ones((3, 1)))


def test_combinations_products_and_squares_are_those_of_whole_arrays():
    planes = noise(3, 4, 5, seed=5)
    coefficients = np.array([[1.0, 0.0, -2.0], [0.5, 0.25, 1.0]], dtype=np.float32)
    constants = np.array([3.0, -1.0], dtype=np.float32)
    expected = np.einsum("bk,kyx->byx", coefficients, planes) + constants[:, None, None]
    kernels = _sharpening_kernels
    assert_allclose(kernels.combine(planes, coefficients, constants), expected, rtol=1e-6)
    factors = np.array([3.0, 1.0, -2.0], dtype=np.float32)
    assert_allclose(kernels.affine(planes[0], planes[2], factors), expected[0], rtol=1e-6)
    assert_allclose(kernels.product(planes[0], planes[1]), planes[0] * planes[1], rtol=1e-6)
    difference = planes[0] - planes[1]
    assert_array_equal(kernels.activity(planes[0], planes[1]), kernels.product(difference, difference))


def test_regression_finds_a_proportion_whatever_the_prior_and_the_prior_where_nothing_varies():
    low, zero = noise(4, 5, seed=6), np.zeros((4, 5), dtype=np.float32)
    square = low * low + np.float32(1.0)
    gain = _sharpening_kernels.regression_gain(3 * square, 3 * low, low, square, 3.0, 0.7, 9.0)
    assert_allclose(gain, 3.0, rtol=1e-5)
    assert_allclose(_sharpening_kernels.regression_gain(zero, zero, zero, zero, 1.5, 0.7, 9.0), 1.5)
    assert_allclose(_sharpening_kernels.regression_gain(zero, zero, zero, zero, -1.5, 0.7, 1.0), -1.0)


def test_modulation_is_the_ratio_within_its_limits():
    ratio = _sharpening_kernels.modulation_gain(
        np.array([[2.0, 1.0, -1.0, 9.0]], dtype=np.float32),
        np.array([[4.0, 0.0, 1.0, 1.0]], dtype=np.float32),
        0.5,
        4.0,
    )
    assert_array_equal(ratio, [[0.5, 2.0, 0.0, 4.0]])


def test_a_sharpened_band_that_gives_the_band_back_is_consistent():
    a, g, low, smooth = (noise(4, 5, seed=seed) for seed in (7, 8, 9, 10))
    band = a + g * (low - smooth)
    assert_allclose(_sharpening_kernels.inconsistency(a, a, g, low, smooth, band), 0.0, atol=1e-12)
    off = _sharpening_kernels.inconsistency(a, a, g, low, smooth, band + np.float32(0.5))
    assert_allclose(off, 0.25, rtol=1e-5)


def test_deviation_adds_the_variances_of_its_causes():
    v, g, active, residual = (noise(4, 5, seed=seed) for seed in (11, 12, 13, 14))
    theta = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], dtype=np.float32)
    causes = np.stack([np.ones_like(v), v, g * g * v, (g - 0.5) ** 2 * v, active, residual])
    found = _sharpening_kernels.deviation(v, g, 0.5, active, residual, theta)
    assert_allclose(found**2, np.einsum("k,kyx->yx", theta, causes), rtol=1e-5)


def test_what_either_input_misses_is_taken_out_of_bands_and_deviations():
    result = np.ones((4, 4, 6), dtype=np.float32)
    p = np.ones((4, 6), dtype=np.float32)
    p[0, 0] = np.nan
    missing = np.zeros((2, 2, 3), dtype=bool)
    missing[1, 1, 2] = True
    _sharpening_kernels.mask(result, p, missing, np.arange(4) // 2, np.arange(6) // 2)
    expected = np.zeros((4, 4, 6), dtype=bool)
    expected[:, 0, 0] = True
    expected[1::2, 2:, 4:] = True
    assert_array_equal(np.isnan(result), expected)


# Fusion in time


def test_memberships_share_out_every_pixel_and_nearness_decides():
    centers = np.array([[0.0, 0.0], [2.0, 0.0]], dtype=np.float32)
    pixels = np.array([[1.0, 5.0], [0.2, 0.0], [1e4, 0.0], [np.nan, 0.0]], dtype=np.float32)
    shares = _spatiotemporal_kernels.memberships(pixels, centers, 0.5)
    assert_allclose(shares[:3].sum(axis=1), 1.0, rtol=1e-6)
    assert_allclose(shares[0], 0.5)
    assert shares[1, 0] > 0.99
    assert shares[2, 1] == 1.0  # so far from all classes that their weights alone would vanish
    assert np.isnan(shares[3]).all()


def test_combinations_of_features_are_those_of_the_product_and_the_same_in_any_block():
    features, weights = noise(3, 1100, seed=16), np.array([[1.0, 0.0, -2.0], [0.5, 0.25, 1.0]], dtype=np.float32)
    sums = _spatiotemporal_kernels.combinations(features, weights)
    assert_allclose(sums, weights @ features, rtol=1e-5)
    part = _spatiotemporal_kernels.combinations(np.ascontiguousarray(features[:, 1000:1050]), weights)
    assert_array_equal(part, sums[:, 1000:1050])


# Simulated scenes


def test_rays_from_above_meet_a_slope_where_geometry_says_and_miss_what_is_not_below():
    z = plane(level=100.0)
    origin = np.array([[5.0, 2.0, 300.0], [5.0, 2.0, 300.0], [5.0, 50.0, 300.0]])
    way = np.array([[0.0, 3.0, -200.0], [0.0, 0.0, 1.0], [0.0, 0.0, -200.0]])
    found = _imagery_simulation_kernels.first_ground(z, origin, way)
    # 300 - 200 s = 100 + 10 - 3 (2 + 3 s)
    s = 196.0 / 191.0
    assert_allclose(found[0], [5.0, 2.0 + 3.0 * s, 300.0 - 200.0 * s], atol=1e-3)
    assert np.isnan(found[1:]).all()


def test_a_slant_look_through_a_cloud_shifts_it_and_levels_below_the_ground_do_not_count():
    t = noise(2, 6, 8, seed=15)
    heights = np.array([20.0, 40.0], dtype=np.float32)
    z = np.full((6, 8), 30.0, dtype=np.float32)
    straight = _imagery_simulation_kernels.slant_thickness(t, heights, z, 0.0, 0.0)
    assert_allclose(straight, t[1], rtol=1e-6)
    slant = _imagery_simulation_kernels.slant_thickness(t, heights, z, 0.2, -0.3)
    assert_allclose(slant, np.roll(t[1], (-2, 3), axis=(0, 1)), rtol=1e-5)
