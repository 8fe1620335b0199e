"""Speckle filter and radar statistics against analytic scenes."""

import numpy as np
import pytest
import xarray as xr

from processors.imagery import grid, radar_features
from processors.quality import BadInputError

LOOKS = 4.4


def speckled(mean: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (mean * rng.gamma(LOOKS, 1 / LOOKS, mean.shape)).astype(np.float32)


def series_of(vv: np.ndarray, vh: np.ndarray, *, resolution: float = 10.0) -> xr.Dataset:
    """Scene stack of linear intensities (time, y, x)."""
    dates, rows, columns = vv.shape
    decibel = 10 * np.log10(np.stack([vv, vh], axis=1))
    stack = xr.Dataset(
        {"backscatter": (("time", "polarization", "y", "x"), decibel.astype(np.float32))},
        coords={
            "time": np.datetime64("2024-01-01", "ns") + np.arange(dates) * np.timedelta64(12, "D"),
            "polarization": ["vv", "vh"],
        },
    )
    bounds = (0, 0, resolution * columns, resolution * rows)
    return grid.assign(stack, grid.covering(bounds, crs="EPSG:32648", resolution=resolution))


def told(features: xr.DataArray, name: str) -> np.ndarray:
    return features.sel(feature=name).values


def test_filter_keeps_the_mean_and_lowers_the_speckle_of_plain_ground():
    image = speckled(np.full((128, 128), 0.2), 1)
    found = radar_features.despeckled(image, looks=LOOKS)
    assert found.mean() == pytest.approx(image.mean(), rel=0.01)
    assert found.std() < 0.35 * image.std()


def test_filter_keeps_an_edge_that_a_box_of_the_same_size_smears():
    mean = np.full((128, 128), 0.05)
    mean[:, 64:] = 0.6
    found = radar_features.despeckled(speckled(mean, 2), looks=LOOKS)
    box = np.stack([np.roll(speckled(mean, 2), shift, axis=1) for shift in range(-3, 4)]).mean(axis=0)
    near = (slice(8, -8), slice(61, 64))
    assert np.abs(found[near] - 0.05).mean() < 0.4 * np.abs(box[near] - 0.05).mean()


def test_filter_leaves_what_has_no_speckle_and_lone_bright_points():
    plain = np.full((20, 20), 0.3, dtype=np.float32)
    np.testing.assert_allclose(radar_features.despeckled(plain, looks=LOOKS), plain, rtol=1e-6)
    plain[10, 10] = 300.0
    assert radar_features.despeckled(plain, looks=LOOKS)[10, 10] > 200.0


def test_filter_neither_spreads_nor_fills_gaps():
    image = speckled(np.full((40, 40), 0.2), 3)
    image[10:15, 10:15] = np.nan
    found = radar_features.despeckled(image, looks=LOOKS)
    assert np.array_equal(np.isnan(found), np.isnan(image))


def test_filter_of_a_block_with_its_halo_is_that_of_the_whole():
    image = speckled(np.full((60, 60), 0.2), 4)
    halo = radar_features.HALO
    part = radar_features.despeckled(image[20 - halo : 40 + halo, 10 - halo : 40 + halo], looks=LOOKS)
    whole = radar_features.despeckled(image, looks=LOOKS)
    assert np.array_equal(part[halo:-halo, halo:-halo], whole[20:40, 10:40])


def test_number_of_looks_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        radar_features.despeckled(np.ones((3, 3), dtype=np.float32), looks=0.0)


def test_statistics_of_a_series_without_speckle_are_those_of_its_course():
    course = np.array([0.1, 0.2, 0.3, 0.4, 0.5])[:, None, None] * np.ones((1, 12, 12))
    found = radar_features.features(series_of(course, 0.25 * course))
    assert told(found, "radar_looks").min() == 5
    np.testing.assert_allclose(told(found, "vv_mean"), 10 * np.log10(0.3), atol=1e-3)
    np.testing.assert_allclose(told(found, "vh_p50"), 10 * np.log10(0.075), atol=1e-3)
    np.testing.assert_allclose(told(found, "vv_p90"), 10 * np.log10(0.46), atol=1e-3)
    np.testing.assert_allclose(told(found, "vv_variation"), np.sqrt(0.02) / 0.3, rtol=1e-3)
    np.testing.assert_allclose(told(found, "ratio_mean"), 10 * np.log10(4.0), atol=1e-3)
    np.testing.assert_allclose(told(found, "rvi_mean"), 4 * 0.25 / 1.25, rtol=1e-3)
    np.testing.assert_allclose(told(found, "rvi_variation"), 0.0, atol=1e-3)


def test_date_that_misses_one_polarization_does_not_count():
    course = np.full((3, 12, 12), 0.2)
    stack = series_of(course, 0.2 * course)
    stack["backscatter"][1, 1, :4] = np.nan
    stack["backscatter"][:, 0, :, :2] = np.nan
    found = radar_features.features(stack)
    looks = told(found, "radar_looks")
    assert (looks[:4, 2:] == 2).all()
    assert (looks[4:, 2:] == 3).all()
    assert (looks[:, :2] == 0).all()
    assert np.isnan(told(found, "vv_mean")[:, :2]).all()
    assert np.isfinite(told(found, "vv_p10")[:, 2:]).all()


def test_single_polarization_is_refused():
    course = np.full((2, 4, 4), 0.2)
    with pytest.raises(BadInputError, match="vv and vh") as caught:
        radar_features.features(series_of(course, course).sel(polarization=["vv"]))
    assert caught.value.cause == "band_missing"
    with pytest.raises(BadInputError, match="vv and vh"):
        radar_features.features(series_of(course, course).drop_vars("backscatter"))


def optical(shape: tuple[int, int], *, left: float = 0.0) -> xr.Dataset:
    rows, columns = shape
    values = np.broadcast_to(np.array([0.06, 0.1, 0.4])[:, None, None], (3, rows, columns)).astype(np.float32)
    scene = xr.Dataset({"reflectance": (("band", "y", "x"), values)}, coords={"band": ["green", "red", "nir"]})
    bounds = (left, 0, left + 10 * columns, 10 * rows)
    return grid.assign(scene, grid.covering(bounds, crs="EPSG:32648", resolution=10))


def test_optical_and_radar_features_stand_on_the_optical_grid():
    course = np.full((3, 12, 12), 0.2)
    found = radar_features.fused(optical((24, 24)), series_of(course, 0.25 * course, resolution=20.0))
    assert grid.same(grid.geobox_of(found), grid.geobox_of(optical((24, 24))))
    np.testing.assert_allclose(told(found["features"], "ndvi"), 0.6, rtol=1e-5)
    names = set(found["feature"].values.tolist())
    assert {"green", "red", "nir", "vv_mean", "rvi_p90"} <= names
    assert "nbr" not in names
    assert bool(found["complete"].values[4:-4, 4:-4].all())
    np.testing.assert_allclose(told(found["features"], "vv_mean")[4:-4, 4:-4], 10 * np.log10(0.2), atol=1e-3)


def test_sensors_that_see_different_places_are_refused():
    course = np.full((2, 12, 12), 0.2)
    with pytest.raises(BadInputError, match="both") as caught:
        radar_features.fused(optical((12, 12), left=50_000.0), series_of(course, course))
    assert caught.value.cause == "area_mismatch"
