"""Pansharpening: better than the textbook, true to position, honest about its errors, the same in any block."""

import itertools

import numpy as np
import pytest
from affine import Affine

from processors.imagery import _sharpening_kernels as kernels
from processors.imagery import (
    pansharpening,
    sharpening_blur,
    sharpening_grid,
    sharpening_planes,
    sharpening_quality,
    sharpening_trial,
)
from processors.imagery.pansharpening import PansharpeningParameters
from processors.imagery.sharpening_grid import Box, Geometry, Span
from processors.quality import BadInputError
from tests.unit import imagery_sharpening_references as references
from tests.unit.imagery_sharpening_references import Sensor, cubic_matrix, gaussian_matrix, sensor_of

TEXTBOOK = ("gsa", "cbd", "hpm")
SENSORS = (
    {"seed": 11, "ratio": 4, "panchromatic": "visible", "shape": (288, 288)},
    {"seed": 12, "ratio": 2, "panchromatic": "visible", "shape": (200, 200), "grid_offset": (0.5, 0.25)},
    {"seed": 13, "ratio": 3, "panchromatic": "visible", "shape": (225, 225), "bands": ("green", "red", "nir")},
)


@pytest.fixture(scope="module", params=range(len(SENSORS)), ids=["ratio 4", "ratio 2 displaced", "ratio 3"])
def sensor(request):
    return sensor_of(**SENSORS[request.param])


@pytest.fixture(scope="module")
def chosen(sensor):
    """The sensor sharpened as it comes."""
    return sharpened(sensor.ms, sensor.pan, sensor.geometry)


@pytest.fixture(scope="module")
def small_chosen(small):
    """The small scene sharpened as it comes."""
    return sharpened(*small)


@pytest.fixture(scope="module")
def small():
    """A textured scene without meaning: 40 x 44 multispectral pixels of three bands."""
    return textured(seed=3, ms_shape=(40, 44), ratio=2.0, offset=(0.0, 0.0))


def textured(*, seed, ms_shape, ratio, offset, bands=3):
    rng = np.random.default_rng(seed)
    geometry = Geometry((ratio, ratio), offset, ms_shape, (round(ms_shape[0] * ratio), round(ms_shape[1] * ratio)))
    steps = np.kron(rng.uniform(50, 150, (12, 12)), np.ones((16, 16)))[: geometry.pan_shape[0], : geometry.pan_shape[1]]
    pan = steps + 5.0 * rng.standard_normal(geometry.pan_shape)
    rows, columns = (gaussian_matrix(geometry.pan_shape[k], ms_shape[k], ratio, offset[k], 0.5 * ratio) for k in (0, 1))
    low = rows @ pan @ columns.T
    ms = np.stack([(k + 1.0) * low + 40.0 * k + 2.0 * rng.standard_normal(ms_shape) for k in range(bands)])
    return ms.astype(np.float32), pan.astype(np.float32), geometry


def judged(sensor: Sensor, image):
    seen = np.isfinite(image).all(axis=0) & np.isfinite(sensor.truth).all(axis=0)
    first, second = image[:, seen][:, None], sensor.truth[:, seen][:, None]
    return (
        sharpening_quality.ergas(first, second, ratio=sensor.geometry.mean_ratio),
        sharpening_quality.spectral_angle(first, second),
    )


def sharpened(ms, pan, geometry, **options):
    plan = pansharpening.choose(ms, pan, geometry=geometry, parameters=PansharpeningParameters(**options))
    return pansharpening.sharpen(ms, pan, plan=plan), plan


def test_error_and_angle_keep_the_bars_on_a_sensor_not_made_here(sensor, chosen):
    made, plan = chosen
    error, angle = judged(sensor, made.values)
    known = {name: judged(sensor, image) for name, image in references.textbook(sensor).items()}
    assert error <= min(known[name][0] for name in TEXTBOOK)
    assert error <= 0.85 * known["brovey"][0]
    assert angle <= 1.03 * known["interpolation"][1]
    assert {score.method for score in plan.scores} == {*pansharpening.METHODS, "chosen"}


def test_standard_deviation_covers_the_truth(sensor, chosen):
    made, plan = chosen
    seen = np.isfinite(made.values).all(axis=0)
    ratio = (np.abs(made.values - sensor.truth) / made.sigma)[:, seen]
    assert 0.60 <= plan.coverage[0] <= 0.75
    assert 0.90 <= plan.coverage[1] <= 0.98
    assert 0.60 <= np.mean(ratio < 1.0) <= 0.85
    assert 0.90 <= np.mean(ratio < 2.0) <= 0.985


def test_coverage_of_the_trial_weighs_one_deviation_against_two(chosen):
    """Errors have heavier tails than a Gaussian: if one deviation holds too much, two hold too little."""
    one, two = chosen[1].coverage
    assert 0.683 <= one <= 0.74
    assert 0.925 <= two <= 0.956


def test_a_method_is_judged_on_pixels_it_has_not_learned_from():
    """Nothing can be learned from noise; learned by heart, it would seem 6 % better."""
    rng = np.random.default_rng(1)
    geometry = Geometry((2.0, 2.0), (0.0, 0.0), (24, 24), (48, 48))
    ms = rng.uniform(90, 110, (6, 24, 24)).astype(np.float32)
    pan = rng.uniform(90, 110, (48, 48)).astype(np.float32)
    free = PansharpeningParameters(ridge=1e-6, ridge_pixels=0.0)
    plan = pansharpening.choose(ms, pan, geometry=geometry, parameters=free)
    error = {score.method: score.ergas for score in plan.scores}
    assert error["regression"] > 0.97 * error["interpolation"]


def test_ignoring_the_offset_of_the_grids_costs_accuracy():
    sensor = sensor_of(**SENSORS[1])
    right, _ = sharpened(sensor.ms, sensor.pan, sensor.geometry)
    wrong, _ = sharpened(sensor.ms, sensor.pan, sensor.geometry._replace(offset=(0.0, 0.0)))
    assert judged(sensor, right.values)[0] < 0.8 * judged(sensor, wrong.values)[0]


@pytest.mark.parametrize("ratio", [2.0, 1.0000483 / 0.49999, 2.5, 4.0])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.25, -0.5)])
def test_interpolated_ramp_stays_where_the_transforms_put_it(ratio, offset):
    ms_shape = (30, 33)
    geometry = Geometry((ratio, ratio), offset, ms_shape, (int(30 * ratio), int(33 * ratio)))
    rows, columns = (offset[k] + (np.arange(ms_shape[k]) + 0.5) * ratio for k in (0, 1))
    ms = (3.0 * rows[:, None] - 2.0 * columns[None, :])[None].astype(np.float32)
    pan = np.random.default_rng(1).uniform(1, 2, geometry.pan_shape).astype(np.float32)
    made, _ = sharpened(ms, pan, geometry, method="interpolation")
    y, x = (np.arange(n) + 0.5 for n in geometry.pan_shape)
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(made.values[0][inner], (3.0 * y[:, None] - 2.0 * x[None, :])[inner], atol=0.01)


@pytest.mark.parametrize("size", [23, 64])
@pytest.mark.parametrize("method", ["", "mtf_glp_hpm"])
def test_blocks_give_the_same_bits_as_the_whole(size, method):
    ms, pan, geometry = textured(seed=5, ms_shape=(52, 60), ratio=2.3, offset=(0.3, -4.6))
    ms[:, 20:23, 30:35] = np.nan
    pan[60:64, 10:13] = np.nan
    whole, plan = sharpened(ms, pan, geometry, method=method)
    for row, column in itertools.product(*(range(0, n, size) for n in geometry.pan_shape)):
        rows = Span(row, min(row + size, geometry.pan_shape[0]))
        columns = Span(column, min(column + size, geometry.pan_shape[1]))
        core = Box(rows, columns)
        need = pansharpening.needed(core, plan=plan)
        block = pansharpening.sharpen(
            sharpening_grid.placed(ms, geometry.whole_ms, need.ms),
            sharpening_grid.placed(pan, geometry.whole_pan, need.pan),
            plan=plan,
            core=core,
            ms_at=need.ms,
            pan_at=need.pan,
        )
        expected = whole.both[:, rows.start : rows.stop, columns.start : columns.stop]
        assert np.array_equal(block.both, expected, equal_nan=True)


def test_missing_pixels_are_missing_and_leave_no_fringe():
    ms, pan, geometry = textured(seed=6, ms_shape=(40, 40), ratio=2.0, offset=(0.0, 0.0))
    _, plan = sharpened(ms, pan, geometry)
    flat, even = np.full_like(ms, 500.0), np.full_like(pan, 120.0)
    flat[:, 10:14, 20:24] = np.nan
    even[50:53, 30:33] = np.nan
    made = pansharpening.sharpen(flat, even, plan=plan)
    gone = np.zeros(pan.shape, dtype=bool)
    gone[20:28, 40:48] = gone[50:53, 30:33] = True
    for band in made.values:
        assert np.array_equal(np.isnan(band), gone)
        assert np.ptp(band[~gone]) < 1e-3
    assert np.array_equal(np.isnan(made.sigma[0]), gone)


def test_panchromatic_pixels_beyond_the_bands_have_no_data():
    ms, pan, geometry = textured(seed=7, ms_shape=(40, 40), ratio=2.0, offset=(0.0, 0.0))
    wide = np.pad(pan, ((0, 6), (4, 0)), mode="edge")
    shifted = geometry._replace(offset=(0.0, 4.0), pan_shape=wide.shape)
    made, _ = sharpened(ms, wide, shifted)
    assert np.isnan(made.values[:, -6:]).all()
    assert np.isnan(made.values[:, :, :4]).all()
    assert np.isfinite(made.values[:, :-6, 4:]).all()


def test_values_below_zero_keep_their_sign(small):
    ms, pan, geometry = small
    made, plan = sharpened(ms, pan, geometry, method="mtf_glp_cbd")
    lower, _ = sharpened(ms - 400.0, pan, geometry, method="mtf_glp_cbd")
    assert (lower.values < 0.0).any()
    np.testing.assert_allclose(lower.values + 400.0, made.values, atol=0.02)
    assert plan.methods == ("mtf_glp_cbd",) * 3


@pytest.mark.parametrize(("ms_unit", "pan_unit"), [(1e-4, 1.0), (20.0, 1e-3)])
def test_units_do_not_matter(small, small_chosen, ms_unit, pan_unit):
    ms, pan, geometry = small
    made, plan = small_chosen
    other, same = sharpened(ms * np.float32(ms_unit), pan * np.float32(pan_unit), geometry)
    assert same.methods == plan.methods
    np.testing.assert_allclose(other.values / ms_unit, made.values, rtol=2e-3, atol=0.05)
    np.testing.assert_allclose(other.sigma / ms_unit, made.sigma, rtol=0.05, atol=0.05)


def test_standard_deviation_can_be_left_out(small, small_chosen):
    ms, pan, _ = small
    made, plan = small_chosen
    bare = pansharpening.sharpen(ms, pan, plan=plan, sigma=False)
    assert bare.sigma.shape[0] == 0
    assert np.array_equal(bare.values, made.values)


def test_estimated_blur_is_that_of_the_simulated_bands():
    rng = np.random.default_rng(9)
    fine = np.kron(rng.uniform(50, 150, (64, 64)), np.ones((5, 5)))
    for gain in (0.2, 0.35):
        width = 4.0 * np.sqrt(-2.0 * np.log(gain)) / np.pi
        low = gaussian_matrix(320, 80, 4.0, 0.0, width)
        ms = (low @ fine @ low.T)[None]
        geometry = Geometry((4.0, 4.0), (0.0, 0.0), (80, 80), (320, 320))
        sample = sharpening_trial.Sample(ms.astype(np.float32), fine.astype(np.float32), geometry)
        blur = sharpening_blur.estimated([sample], sensor="", default_gain=0.3, minimum_correlation=0.05)
        assert blur.source == "data"
        assert blur.gains[0] == pytest.approx(gain, abs=0.03)


def test_gain_and_width_are_each_other_s_inverse():
    assert sharpening_blur.gain_from_width(sharpening_blur.width_from_gain(0.27)) == pytest.approx(0.27)
    frequencies = np.fft.fftfreq(4001)
    width = sharpening_blur.width_from_gain(0.3)
    x = np.arange(-2000, 2001) / 10.0
    spread = np.exp(-0.5 * (x / width) ** 2)
    half = np.sum(spread * np.cos(np.pi * x)) / np.sum(spread)
    assert frequencies.size == x.size
    assert half == pytest.approx(0.3, abs=1e-6)


def test_unrelated_images_fall_back_on_the_default_blur_and_inject_next_to_nothing():
    rng = np.random.default_rng(10)
    geometry = Geometry((2.0, 2.0), (0.0, 0.0), (60, 60), (120, 120))
    ms = rng.uniform(90, 110, (3, 60, 60)).astype(np.float32)
    pan = rng.uniform(90, 110, (120, 120)).astype(np.float32)
    made, plan = sharpened(ms, pan, geometry)
    flat, _ = sharpened(ms, pan, geometry, method="interpolation")
    assert plan.gains_from == "default"
    assert plan.gains == (0.3, 0.3, 0.3)
    assert any("hardly resemble" in text for text in plan.warnings)
    assert np.corrcoef((made.values - flat.values)[0].ravel(), pan.ravel())[0, 1] < 0.4


def test_published_transfer_functions_are_used_by_band_where_the_bands_are_as_many(small):
    ms, pan, geometry = small
    _, plan = sharpened(np.concatenate([ms, ms[:1]]), pan, geometry, sensor="quickbird")
    assert plan.gains == (0.34, 0.32, 0.30, 0.22)
    assert plan.gains_from == "sensor"
    _, three = sharpened(ms, pan, geometry, sensor="quickbird")
    assert three.gains == pytest.approx((0.295,) * 3)


def test_scene_too_small_to_judge_by_takes_the_known_method_and_says_so():
    ms, pan, geometry = textured(seed=12, ms_shape=(5, 6), ratio=4.0, offset=(0.0, 0.0))
    made, plan = sharpened(ms, pan, geometry)
    assert plan.methods == ("mtf_glp_cbd",) * 3
    assert "too few pixels" in plan.warnings[0]
    assert np.isfinite(made.both).all()
    assert (made.sigma > 0.0).any()


def test_scene_with_hardly_a_common_pixel_is_not_judged():
    ms, pan, geometry = textured(seed=13, ms_shape=(30, 30), ratio=2.0, offset=(0.0, 0.0))
    ms[:, :, 4:] = np.nan
    ms[:, 8:] = np.nan
    _, plan = sharpened(ms, pan, geometry)
    assert "too few pixels" in plan.warnings[0]


def test_scene_whose_only_pixel_no_degraded_one_sees_is_not_judged():
    ms, pan, geometry = textured(seed=16, ms_shape=(31, 31), ratio=4.0, offset=(0.0, 0.0))
    only = np.full_like(ms, np.nan)
    only[:, 30, 30] = ms[:, 30, 30]
    made, plan = sharpened(only, pan, geometry)
    assert "too few pixels" in plan.warnings[0]
    assert np.count_nonzero(np.isfinite(made.values[0])) == 16


def test_no_common_pixel_is_refused():
    ms, pan, geometry = textured(seed=14, ms_shape=(30, 30), ratio=2.0, offset=(0.0, 0.0))
    ms[:, :, :15] = np.nan
    pan[:, 20:] = np.nan
    with pytest.raises(BadInputError) as caught:
        pansharpening.choose(ms, pan, geometry=geometry)
    assert caught.value.cause == "no_data"


def test_detail_is_held_back_where_it_would_turn_the_spectra():
    """The panchromatic image belongs to another scene at the fine scale only: no strength keeps the angle."""
    rng = np.random.default_rng(15)
    ms, pan, geometry = textured(seed=15, ms_shape=(60, 60), ratio=2.0, offset=(0.0, 0.0))
    ms = np.abs(rng.standard_normal(ms.shape)).astype(np.float32) * 30.0 + 1.0
    strict = PansharpeningParameters(angle_tolerance=-0.9)
    plan = pansharpening.choose(ms, pan, geometry=geometry, parameters=strict)
    made = pansharpening.sharpen(ms, pan, plan=plan)
    flat, _ = sharpened(ms, pan, geometry, method="interpolation")
    assert plan.strength == 0.0
    assert np.array_equal(made.values, flat.values)
    assert any("of the detail is injected" in text for text in plan.warnings)


def test_repeated_pixels_are_noticed(small, small_chosen):
    ms, pan, geometry = small
    coarse = np.repeat(np.repeat(ms[:, ::2, ::2], 2, axis=1), 2, axis=2)
    _, plan = sharpened(coarse, pan, geometry)
    assert any("repeat their pixels 2 x 2" in text for text in plan.warnings)
    assert small_chosen[1].warnings == ()


def test_quality_without_reference_is_best_for_consistent_images(small, small_chosen):
    ms, pan, geometry = small
    made, plan = small_chosen
    good = pansharpening.distortion(made.values, pan, ms, plan=plan, geometry=geometry)
    bad = pansharpening.distortion(made.values[:, ::-1].copy(), pan, ms, plan=plan, geometry=geometry)
    assert 0.6 < good.hqnr <= 1.0
    assert bad.hqnr < 0.5 * good.hqnr


@pytest.mark.parametrize("options", [{"sensor": "nosuch"}, {"method": "nosuch"}])
def test_unknown_names_break_the_contract(small, options):
    ms, pan, geometry = small
    with pytest.raises(ValueError, match="nosuch"):
        sharpened(ms, pan, geometry, **options)


def test_arrays_that_do_not_fit_break_the_contract(small, small_chosen):
    ms, pan, geometry = small
    _, plan = small_chosen
    with pytest.raises(ValueError, match="pan has shape"):
        pansharpening.choose(ms, pan[1:], geometry=geometry)
    with pytest.raises(ValueError, match="ms has shape"):
        pansharpening.sharpen(ms[:, 1:], pan, plan=plan)
    with pytest.raises(ValueError, match="3 bands, not 2"):
        pansharpening.sharpen(ms[:2], pan, plan=plan)


MS_GRID = Affine(2.0, 0.0, 1000.0, 0.0, -2.0, 5000.0)
PAN_GRID = Affine(0.5, 0.0, 1000.25, 0.0, -0.5, 5000.5)


def test_geometry_follows_from_both_transforms():
    geometry = sharpening_grid.geometry_from_transforms(MS_GRID, (50, 60), PAN_GRID, (201, 240))
    assert geometry.ratio == pytest.approx((4.0, 4.0))
    assert geometry.offset == pytest.approx((1.0, -0.5))
    assert geometry.mean_ratio == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("ms_grid", "pan_grid", "cause"),
    [
        (MS_GRID @ Affine.rotation(1.0), PAN_GRID, "grid_rotated"),
        (MS_GRID @ Affine.scale(1.0, -1.0), PAN_GRID, "grid_rotated"),
        (MS_GRID @ Affine.scale(0.0, 1.0), PAN_GRID, "grid_rotated"),
        (MS_GRID, MS_GRID, "resolution_mismatch"),
        (PAN_GRID, MS_GRID, "resolution_mismatch"),
        (MS_GRID @ Affine.scale(10.0), PAN_GRID, "resolution_mismatch"),
        (Affine.translation(5000.0, 0.0) @ MS_GRID, PAN_GRID, "no_overlap"),
        (Affine.translation(0.0, 5000.0) @ MS_GRID, PAN_GRID, "no_overlap"),
    ],
)
def test_grids_that_do_not_belong_together_are_refused(ms_grid, pan_grid, cause):
    with pytest.raises(BadInputError) as caught:
        sharpening_grid.geometry_from_transforms(ms_grid, (50, 60), pan_grid, (200, 240))
    assert caught.value.cause == cause


def test_both_rotated_alike_is_no_rotation():
    turned = Affine.rotation(20.0)
    geometry = sharpening_grid.geometry_from_transforms(turned @ MS_GRID, (50, 60), turned @ PAN_GRID, (200, 240))
    assert geometry.ratio == pytest.approx((4.0, 4.0))


def test_sizes_decide_without_georeferencing():
    geometry = sharpening_grid.geometry_from_shapes((75, 80), (301, 320))
    assert geometry.ratio == pytest.approx((301 / 75, 4.0))
    with pytest.raises(BadInputError) as caught:
        sharpening_grid.geometry_from_shapes((75, 80), (150, 320))
    assert caught.value.cause == "resolution_mismatch"


def test_common_part_is_what_lies_in_both():
    geometry = Geometry((2.0, 2.0), (-7.0, 10.0), (50, 60), (80, 100))
    assert sharpening_grid.common(geometry) == Box(Span(4, 43), Span(0, 45))


def test_reduction_is_the_gaussian_mean_of_the_pixels_that_are_there():
    rng = np.random.default_rng(21)
    fine = rng.uniform(0, 1, (36, 44)).astype(np.float32)
    geometry = Geometry((3.0, 4.0), (0.5, 0.0), (11, 11), (36, 44))
    blur = (1.5, 2.0)
    rows = gaussian_matrix(36, 11, 3.0, 0.5, 1.5)
    columns = gaussian_matrix(44, 11, 4.0, 0.0, 2.0)
    mean, variance = sharpening_planes.reduced_whole(fine, geometry, blur=blur, center=0.4)
    np.testing.assert_allclose(mean, rows @ fine @ columns.T, atol=2e-3)
    np.testing.assert_allclose(variance, rows @ fine**2 @ columns.T - (rows @ fine @ columns.T) ** 2, atol=2e-3)
    fine[10:14] = np.nan
    holed, _ = sharpening_planes.reduced_whole(fine, geometry, blur=blur, center=0.4)
    there = np.isfinite(fine[:, 0]).astype(float)
    weighted = rows @ np.nan_to_num(fine) @ columns.T / (rows @ there)[:, None]
    np.testing.assert_allclose(holed, weighted, atol=5e-3)


def test_upsampling_is_cubic_convolution():
    rng = np.random.default_rng(22)
    coarse = rng.uniform(0, 1, (30, 32)).astype(np.float32)
    geometry = Geometry((2.5, 2.0), (0.25, 0.0), (30, 32), (75, 64))
    rows, columns = (sharpening_grid.interpolation(geometry, k, Span(20, 40), Span(0, coarse.shape[k])) for k in (0, 1))
    made = kernels.upsample(coarse, rows.start, rows.cubic, columns.start, columns.cubic)
    expected = cubic_matrix(75, 30, 2.5, 0.25)[20:40] @ coarse @ cubic_matrix(64, 32, 2.0, 0.0)[20:40].T
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_filling_grows_from_the_rim_inwards():
    plane = np.full((9, 9), 2.0, dtype=np.float32)
    plane[2:7, 2:7] = np.nan
    kernels.fill(plane, 2, 7.0)
    assert plane[4, 4] == 7.0
    assert np.count_nonzero(plane == 2.0) == 80


def test_smoothing_repeats_the_rim_also_on_planes_smaller_than_its_step():
    assert np.array_equal(kernels.smooth(np.full((1, 1), 3.0, dtype=np.float32), 2), [[3.0]])
    ramp = np.arange(12, dtype=np.float32)[None, :] * np.ones((5, 1), dtype=np.float32)
    made = kernels.smooth(ramp, 2)
    np.testing.assert_allclose(made[:, 2:-2], ramp[:, 2:-2])
    np.testing.assert_allclose(made[:, 0], 0.5)


def test_noise_is_found_under_texture():
    rng = np.random.default_rng(23)
    base = np.kron(rng.uniform(50, 150, (10, 10)), np.ones((20, 20)))
    ms = np.stack([base + 4.0 * rng.standard_normal(base.shape), 2.0 * base + 1.0 * rng.standard_normal(base.shape)])
    levels = sharpening_trial.noise_levels([ms.astype(np.float32)], [base.astype(np.float32)])
    assert levels == pytest.approx([4.0, 1.0], rel=0.3)
    assert sharpening_trial.pan_noise_level([ms[0].astype(np.float32)]) == pytest.approx(4.0, rel=0.3)
    tiny = ms[:, :6, :6].astype(np.float32)
    assert np.array_equal(sharpening_trial.noise_levels([tiny], [tiny[0]]), [0.0, 0.0])
    assert sharpening_trial.pan_noise_level([tiny[0]]) == 0.0


def test_textbook_recipes_are_the_textbook():
    """GSA, CBD and HPM from the recipe against plain matrices, far from the rim."""
    sensor = sensor_of(**SENSORS[0])
    gain = 0.3
    blur = sharpening_blur.Blur((gain,) * sensor.ms.shape[0], "sensor")
    low, _ = sharpening_blur.seen_coarsely(sensor.pan, sensor.geometry, blur.width)
    relation = sharpening_trial.relation_of([sensor.ms], [low])
    expected = references.textbook(sensor, gain=gain)
    inner = (slice(None), slice(30, -30), slice(30, -30))
    for name, mine in (("gsa", "gsa"), ("cbd", "mtf_glp_cbd"), ("interpolation", "interpolation")):
        recipe = sharpening_trial.recipe_of(
            relation,
            sharpening_blur.along_axes(sensor.geometry, blur.width),
            sharpening_trial.textbook(relation)[mine],
        )
        plan = pansharpening.Plan(recipe, sensor.geometry, blur.gains, "sensor", (mine,), 1.0)
        made = pansharpening.sharpen(sensor.ms, sensor.pan, plan=plan, sigma=False)
        difference = np.abs(made.values - expected[name])[inner].mean() / expected[name].std()
        assert difference < 0.01


def test_degraded_inputs_of_the_references_have_the_ratio_asked_for():
    ms, pan, geometry = textured(seed=30, ms_shape=(40, 40), ratio=2.0, offset=(0.0, 0.0))
    lower = references.degraded(ms, pan, geometry)
    assert lower.ms.shape == (3, 20, 20)
    assert lower.pan.shape == (40, 40)
    assert lower.truth is ms
