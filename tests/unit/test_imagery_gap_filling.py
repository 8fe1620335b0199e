"""Interpolation in time, regression and the uncertainty that goes with them."""

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from processors.imagery import gap_filling, grid, qa, regression, temporal_interpolation

DAYS = np.array([0.0, 30.0, 60.0, 90.0, 120.0])


def stack_of(values: np.ndarray, *, radar: np.ndarray | None = None) -> xr.Dataset:
    """Scene stack with a date every 30 days."""
    dates, bands, rows, columns = values.shape
    names = ["blue", "green", "red", "nir", "swir1"][:bands]
    times = np.datetime64("2024-01-01", "ns") + np.arange(dates) * np.timedelta64(30, "D")
    stack = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values.astype(np.float32))},
        coords={"time": times, "band": names},
    )
    if radar is not None:
        stack["backscatter"] = (("time", "polarization", "y", "x"), radar.astype(np.float32))
        stack = stack.assign_coords(polarization=["vv", "vh"][: radar.shape[1]])
    return grid.assign(stack, grid.covering((0, 0, 10 * columns, 10 * rows), crs="EPSG:32648", resolution=10))


def mask_of(hidden: np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.where(hidden, 2, 0).astype(np.uint8), dims=("time", "y", "x"))


def crops(seed: int, *, dates: int = 5, size: int = 64, noise: float = 0.005) -> np.ndarray:
    """Fields of three crops, each with its own course over the dates, that linear interpolation cannot follow."""
    rng = np.random.default_rng(seed)
    field = ndimage.zoom(rng.integers(0, 3, (size // 8, size // 8)), 8, order=0)
    course = rng.uniform(0.05, 0.5, (3, dates, 5))
    values = course[field].transpose(2, 3, 0, 1)
    return values + rng.normal(0.0, noise, values.shape)


def test_linear_course_is_interpolated_exactly():
    values = (0.1 + 0.002 * DAYS)[:, None, None] * np.ones((1, 2, 7))
    observed = np.ones((5, 7), dtype=bool)
    observed[2, 3] = False
    found = temporal_interpolation.interpolate(values, observed, DAYS, target=60.0)
    np.testing.assert_allclose(found, 0.22)


def test_outside_the_series_the_nearest_date_is_copied():
    values = np.arange(5.0)[:, None, None] * np.ones((1, 1, 2))
    observed = np.array([[False, False], [True, False], [True, False], [False, False], [False, False]])
    assert temporal_interpolation.interpolate(values, observed, DAYS, target=120.0)[0, 0] == 2.0
    assert temporal_interpolation.interpolate(values, observed, DAYS, target=0.0)[0, 0] == 1.0
    assert np.isnan(temporal_interpolation.interpolate(values, observed, DAYS, target=0.0)[0, 1])


def test_bridge_uncertainty_of_a_random_walk_covers_68_percent():
    rng = np.random.default_rng(5)
    days = 10.0 * np.arange(30)
    values = np.cumsum(rng.normal(0.0, 0.01, (30, 2, 400)), axis=0)
    observed = np.ones((30, 400), dtype=bool)
    observed[14:17] = False
    sigma = temporal_interpolation.bridge_sigma(values, observed, days, before=130.0, after=170.0, target=150.0)
    found = temporal_interpolation.interpolate(values, observed, days, target=150.0)
    covered = (np.abs(found - values[15]) < sigma).mean()
    assert covered == pytest.approx(0.68, abs=0.06)


def test_bridge_uncertainty_grows_with_the_gap():
    rng = np.random.default_rng(6)
    days = 10.0 * np.arange(20)
    values = np.cumsum(rng.normal(0.0, 0.01, (20, 1, 300)), axis=0)
    seen = np.ones((20, 300), dtype=bool)
    narrow = temporal_interpolation.bridge_sigma(values, seen, days, before=90.0, after=110.0, target=100.0)
    wide = temporal_interpolation.bridge_sigma(values, seen, days, before=50.0, after=150.0, target=100.0)
    copied = temporal_interpolation.bridge_sigma(values, seen, days, before=50.0, after=None, target=100.0)
    assert narrow.mean() < wide.mean() < copied.mean()


def test_regression_learns_a_bent_relation_and_does_not_leave_its_range():
    rng = np.random.default_rng(7)
    features = rng.uniform(-1.0, 1.0, (2000, 3))
    targets = np.stack([features[:, 0] ** 2, features[:, 1] * features[:, 2]], axis=1)
    parameters = regression.RegressionParameters(components=3, radial_penalty=1e-5)
    model = regression.fit(features, targets, column_weights=np.ones(3), parameters=parameters)
    fresh = rng.uniform(-1.0, 1.0, (500, 3))
    truth = np.stack([fresh[:, 0] ** 2, fresh[:, 1] * fresh[:, 2]], axis=1)
    assert np.sqrt(np.mean((regression.predict(model, fresh) - truth) ** 2)) < 0.03
    far = np.full((1, 3), 50.0)
    assert np.abs(regression.predict(model, far)).max() < 3.0
    assert regression.outside(model, far, margin=0.1)[0] > 0
    assert regression.outside(model, fresh[:1] * 0.1, margin=0.1)[0] == 0


def test_regression_without_features_is_the_mean():
    targets = np.arange(10.0)[:, None]
    parameters = regression.RegressionParameters()
    model = regression.fit(np.empty((10, 0)), targets, column_weights=np.empty(0), parameters=parameters)
    assert regression.predict(model, np.empty((2, 0))) == pytest.approx(4.5)


def test_robust_sigma_of_normal_errors_is_their_deviation():
    errors = np.random.default_rng(8).normal(0.0, [0.01, 0.2], (40_000, 2))
    np.testing.assert_allclose(gap_filling.robust_sigma(errors), [0.01, 0.2], rtol=0.02)


def test_sigma_follows_the_distance_to_observed_pixels():
    rng = np.random.default_rng(9)
    distance = np.repeat([1.0, 10.0], 2000)
    errors = rng.normal(0.0, 1.0, (4000, 1)) * np.where(distance < 5, 0.01, 0.05)[:, None]
    sigma = gap_filling.sigma_by_distance(errors, distance, at=np.array([1.0, 10.0, 100.0]))
    np.testing.assert_allclose(sigma[:2, 0], [0.01, 0.05], rtol=0.1)
    assert 0.01 < sigma[2, 0] < 0.06


def test_fields_are_filled_better_than_by_interpolation_and_by_copy():
    truth = crops(10)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, 20:44, 10:50] = True
    filled = gap_filling.fill(stack_of(truth), mask_of(hidden))
    values = filled.stack["reflectance"].values.transpose(1, 0, 2, 3)
    error = np.sqrt(np.mean((values[:, hidden] - truth.transpose(1, 0, 2, 3)[:, hidden]) ** 2))
    line = np.sqrt(np.mean((((truth[1] + truth[3]) / 2 - truth[2])[:, hidden[2]]) ** 2))
    copy = np.sqrt(np.mean(((truth[1] - truth[2])[:, hidden[2]]) ** 2))
    assert error < 0.25 * min(line, copy)
    assert {holdout.chosen for holdout in filled.holdouts} == {"temporal_regression"}


def patterned(seed: int, *, size: int, dates: int = 5) -> np.ndarray:
    """Masks over two fifths of every date but the first and the last."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((dates, size, size)), (0, 6, 6))
    hidden = field < np.quantile(field, 0.4)
    hidden[[0, dates - 1]] = False
    return hidden


def covered(stack: xr.Dataset, truth: np.ndarray, hidden: np.ndarray) -> tuple[float, float]:
    score = np.abs(stack["reflectance"].values - truth) / stack["reflectance_sigma"].values
    score = score.transpose(1, 0, 2, 3)[:, hidden]
    return float((score < 1).mean()), float((score < 2).mean())


def textured(seed: int, *, dates: int = 5, size: int = 96) -> np.ndarray:
    """Fields as in `crops` whose pixels differ by what no other date tells."""
    rng = np.random.default_rng(seed)
    own = ndimage.gaussian_filter(rng.standard_normal((dates, 5, size, size)), (0, 0, 2, 2))
    return crops(seed, dates=dates, size=size, noise=0.0) + 0.02 * own / own.std()


def test_uncertainty_covers_two_thirds_and_nineteen_twentieths():
    truth = textured(11)
    hidden = patterned(12, size=96)
    one, two = covered(gap_filling.fill(stack_of(truth), mask_of(hidden)).stack, truth, hidden)
    assert 0.60 < one < 0.75
    assert 0.90 < two < 0.98


def test_uncertainty_is_of_the_truth_and_not_of_another_noisy_look():
    """The hold-out compares with noisy observations; what they add is no error of the filled value."""
    truth = textured(21)
    hidden = patterned(22, size=96)
    noisy = truth + np.random.default_rng(23).normal(0.0, 0.01, truth.shape)
    one, two = covered(gap_filling.fill(stack_of(noisy), mask_of(hidden)).stack, truth, hidden)
    assert 0.60 < one < 0.78
    assert 0.90 < two < 0.985


def test_stated_coregistration_error_widens_the_uncertainty_by_error_times_slope():
    truth = crops(24)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, 20:44, 20:44] = True
    plain = stack_of(truth)
    sigma = [
        gap_filling.fill(stack, mask_of(hidden)).stack["reflectance_sigma"].values[2][:, hidden[2]].astype(np.float64)
        for stack in (plain, plain.assign_attrs(coregistration_rmse=0.4))
    ]
    added = np.sqrt(sigma[1] ** 2 - sigma[0] ** 2)
    seen = np.where(hidden[2], np.nan, truth[2])
    squares = np.concatenate([np.gradient(seen, axis=axis) ** 2 for axis in (1, 2)], axis=1)
    np.testing.assert_allclose(added.mean(axis=1), 0.4 * np.sqrt(np.nanmean(squares, axis=(1, 2))), rtol=0.01)


def test_offset_tells_the_days_to_the_nearest_observation_of_each_pixel():
    truth = crops(25)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[1:3, 10:30, 10:40] = True
    offset = gap_filling.fill(stack_of(truth), mask_of(hidden)).offset
    assert (offset[1][hidden[1]] == -30).all()
    assert (offset[2][hidden[2]] == 30).all()
    assert (offset[~hidden] == 0).all()


def test_negative_observations_are_kept_and_positive_series_stay_positive():
    """Signed surface reflectance over water is data, clipping it would bias every mean."""
    truth = crops(26)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, 20:44, 20:44] = True
    dark = truth.copy()
    dark[:, 0] -= 0.3
    stack = gap_filling.fill(stack_of(dark), mask_of(hidden)).stack
    kept = ~hidden
    assert np.array_equal(stack["reflectance"].values[:, 0][kept], dark[:, 0][kept].astype(np.float32))
    assert float(stack["reflectance"].values[:, 1:].min()) >= 0.0
    assert float(stack["reflectance"].values[2, 0][hidden[2]].min()) < -0.05


def test_errors_of_the_vegetation_index_are_reported_where_red_and_nir_are_known():
    truth = crops(27)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, 20:44, 20:44] = True
    full = gap_filling.fill(stack_of(truth), mask_of(hidden)).holdouts
    assert all(0 < one.ndvi_regression_rmse < one.ndvi_interpolation_rmse for one in full)
    bare = gap_filling.fill(stack_of(truth[:, :3]), mask_of(hidden)).holdouts
    assert all(np.isnan(one.ndvi_regression_rmse) for one in bare)


def test_interpolation_is_kept_where_nothing_beats_it():
    """Noise around a straight course has nothing to be learned from neighbors or other dates."""
    rng = np.random.default_rng(13)
    level = rng.uniform(0.1, 0.4, (1, 5, 64, 64))
    truth = level + np.arange(5)[:, None, None, None] * 0.01
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, 16:48, 16:48] = True
    filled = gap_filling.fill(stack_of(truth), mask_of(hidden))
    assert {holdout.chosen for holdout in filled.holdouts} == {"temporal_interpolation"}
    assert np.abs(filled.stack["reflectance"].values - truth).max() < 1e-5


def test_observed_values_pass_unchanged_and_unflagged():
    truth = crops(14)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, :20] = True
    stack = gap_filling.fill(stack_of(truth), mask_of(hidden)).stack
    seen = ~hidden
    assert np.array_equal(
        stack["reflectance"].values.transpose(1, 0, 2, 3)[:, seen],
        truth.astype(np.float32).transpose(1, 0, 2, 3)[:, seen],
    )
    assert (stack["qa"].values[seen] == 0).all()
    assert (stack["source"].values[seen] == qa.Source.OBSERVED).all()
    assert (stack["qa"].values[hidden] & qa.QaBit.FILLED > 0).all()
    assert (stack["qa"].values[hidden] & qa.QaBit.CLOUD > 0).all()


def test_hidden_values_do_not_leak_into_the_result():
    truth = crops(15)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2, 10:40, 10:40] = True
    spoiled = truth.copy()
    spoiled[2][:, 10:40, 10:40] = 0.9
    results = [gap_filling.fill(stack_of(values), mask_of(hidden)).stack for values in (truth, spoiled)]
    assert results[0].identical(results[1])


def test_date_without_observation_is_interpolated_and_flagged_insufficient():
    truth = crops(16)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[2] = True
    stack = gap_filling.fill(stack_of(truth), mask_of(hidden)).stack
    np.testing.assert_allclose(stack["reflectance"].values[2], (truth[1] + truth[3]) / 2, atol=1e-5)
    assert (stack["qa"].values[2] & qa.QaBit.INSUFFICIENT > 0).all()
    assert (stack["source"].values[2] == qa.Source.TEMPORAL_INTERPOLATION).all()
    assert (stack["reflectance_sigma"].values[2] > stack["reflectance_sigma"].values[1]).mean() > 0.9


def test_last_date_is_copied_and_flagged_extrapolated():
    truth = crops(17)
    hidden = np.zeros((5, 64, 64), dtype=bool)
    hidden[4] = True
    stack = gap_filling.fill(stack_of(truth), mask_of(hidden)).stack
    np.testing.assert_allclose(stack["reflectance"].values[4], truth[3], atol=1e-6)
    assert (stack["qa"].values[4] & qa.QaBit.EXTRAPOLATED > 0).all()
    assert (stack["source"].values[4] == qa.Source.NEAREST_DATE).all()


def test_single_covered_date_stays_empty():
    stack = gap_filling.fill(stack_of(crops(18, dates=1)), mask_of(np.ones((1, 64, 64), dtype=bool))).stack
    assert np.isnan(stack["reflectance"]).all()
    assert np.isnan(stack["reflectance_sigma"]).all()
    wanted = qa.QaBit.NODATA | qa.QaBit.CLOUD | qa.QaBit.INSUFFICIENT
    assert (stack["qa"].values == wanted).all()
    assert (stack["source"].values == qa.Source.NONE).all()


def test_radar_alone_fills_a_single_date():
    rng = np.random.default_rng(19)
    driver = ndimage.gaussian_filter(rng.standard_normal((80, 80)), 3)
    driver = driver / driver.std()
    truth = (0.2 + 0.05 * driver + np.zeros((1, 4, 1, 1))).astype(np.float64) + rng.normal(0, 0.003, (1, 4, 80, 80))
    radar = np.stack([-10 + 2 * driver, -17 + driver])[None]
    hidden = np.zeros((1, 80, 80), dtype=bool)
    hidden[0, 20:60, 20:60] = True
    stack = gap_filling.fill(stack_of(truth, radar=radar), mask_of(hidden)).stack
    error = (stack["reflectance"].values - truth)[0][:, hidden[0]]
    assert np.sqrt(np.mean(error**2)) < 0.3 * truth[0][:, hidden[0]].std()


def test_lost_band_is_predicted_from_the_bands_that_survived():
    rng = np.random.default_rng(20)
    base = rng.uniform(0.1, 0.4, (1, 1, 64, 64))
    truth = base * np.array([0.5, 0.8, 1.0, 1.6, 1.2])[None, :, None, None] + rng.normal(0, 0.002, (1, 5, 64, 64))
    seen = truth.copy()
    seen[0, 2, 30:33] = np.nan
    stack = gap_filling.fill(stack_of(seen), mask_of(np.zeros((1, 64, 64), dtype=bool))).stack
    error = (stack["reflectance"].values - truth)[0, 2, 30:33]
    assert np.sqrt(np.mean(error**2)) < 0.1 * truth[0, 2].std()
    assert np.array_equal(stack["reflectance"].values[0, 3, 30:33], truth[0, 3, 30:33].astype(np.float32))
    assert (stack["qa"].values[0, 30:33] & qa.QaBit.FILLED > 0).all()


def test_pixels_seen_at_far_dates_only_do_not_train_the_regression():
    """Half of every date hidden at random: some pixels are seen at none of the dates that serve as features."""
    rng = np.random.default_rng(3)
    values = rng.uniform(0.02, 0.5, (5, 3, 24, 24))
    hidden = rng.random((5, 24, 24)) < 0.6
    result = gap_filling.fill(stack_of(values), mask_of(hidden)).stack
    filled = hidden & ~hidden.all(axis=0)
    assert (result["source"].values[filled] > qa.Source.OBSERVED).all()
    assert np.isfinite(np.moveaxis(result["reflectance_sigma"].values, 1, -1)[filled]).all()
