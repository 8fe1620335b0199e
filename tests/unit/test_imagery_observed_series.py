"""Series as observed: nothing filled, what was not seen is flagged, and what could not be told is said."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import cloud_mask, grid, observed_series, qa
from processors.quality import BadInputError

GEOBOX = GeoBox((40, 50), rasterio.Affine(30, 0, 600_000, 0, -30, 3_270_000), "EPSG:32648")
GROUND = {"blue": 0.04, "green": 0.07, "red": 0.05, "nir": 0.30, "swir1": 0.18}
BRIGHT = (slice(10, 25), slice(15, 35))
GAP = (slice(0, 4), slice(None))
TIMES = np.array(["2026-07-01T03:20", "2026-07-15T03:20"], dtype="datetime64[ns]")


def optical(*bands: str, seed: int = 4, **attributes: str) -> xr.Dataset:
    """Green land; on the second date a bright cloud and four rows whose first band is missing."""
    rng = np.random.default_rng(seed)
    names = bands or tuple(GROUND)
    level = np.array([GROUND[name] for name in names], dtype=np.float32)[None, :, None, None]
    values = level + rng.normal(0, 0.004, (2, len(names), *GEOBOX.shape)).astype(np.float32)
    values[(1, slice(None), *BRIGHT)] = 0.75
    values[(1, 0, *GAP)] = np.nan
    stack = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values)},
        coords={"time": TIMES, "band": list(names)},
        attrs={"sensor": "S2A", **attributes},
    )
    return grid.assign(stack, GEOBOX)


def radar() -> xr.Dataset:
    values = np.full((2, 2, *GEOBOX.shape), -12.0, dtype=np.float32)
    values[(0, 1, *GAP)] = np.nan
    dims = ("time", "polarization", "y", "x")
    stack = xr.Dataset({"backscatter": (dims, values)}, coords={"time": TIMES, "polarization": ["vv", "vh"]})
    return grid.assign(stack, GEOBOX)


def observed(stack: xr.Dataset, **options) -> xr.Dataset:
    return observed_series.observed(stack, geobox=GEOBOX, area="Yubei", **options)


def has(series: xr.Dataset, bit: qa.QaBit) -> np.ndarray:
    return (series["qa"].values & np.uint16(bit)) != 0


def test_nothing_observed_is_changed_and_nothing_missing_is_filled():
    stack = optical()
    series = observed(stack)
    np.testing.assert_array_equal(series["reflectance"].values, stack["reflectance"].values)
    np.testing.assert_array_equal(np.isnan(series["reflectance_sigma"]), np.isnan(stack["reflectance"]))
    assert not has(series, qa.QaBit.FILLED).any()
    assert series["qa"].dtype == np.uint16
    assert series.attrs["area"] == "Yubei"
    assert grid.geobox_of(series) == GEOBOX


def test_a_pixel_without_one_of_its_bands_is_no_data():
    wanted = np.zeros((2, *GEOBOX.shape), dtype=bool)
    wanted[(1, *GAP)] = True
    np.testing.assert_array_equal(has(observed(optical()), qa.QaBit.NODATA), wanted)
    wanted = wanted[::-1]
    np.testing.assert_array_equal(has(observed(radar()), qa.QaBit.NODATA), wanted)


def test_clouds_and_shadows_are_those_of_the_cloud_mask():
    stack = optical()
    series = observed(stack)
    classes = cloud_mask.classify(stack)["cloud_class"].values
    np.testing.assert_array_equal(
        has(series, qa.QaBit.CLOUD), np.isin(classes, (cloud_mask.THIN_CLOUD, cloud_mask.CLOUD))
    )
    np.testing.assert_array_equal(has(series, qa.QaBit.SHADOW), classes == cloud_mask.SHADOW)
    assert has(series, qa.QaBit.CLOUD)[(1, *BRIGHT)].mean() > 0.9
    assert "warnings" not in series.attrs


def test_the_uncertainty_grows_with_the_reflectance_from_a_floor():
    parameters = observed_series.ObservedParameters(relative_sigma=0.1, absolute_sigma=0.02)
    series = observed(optical(), parameters=parameters)
    wanted = 0.02 + 0.1 * np.abs(series["reflectance"].values)
    np.testing.assert_allclose(series["reflectance_sigma"].values, wanted, rtol=1e-6)
    assert series["reflectance_sigma"].dtype == np.float32


def test_a_scene_whose_clouds_cannot_be_told_says_so_beside_what_was_said():
    series = observed(optical("green", "nir", warnings="odd offset"))
    assert series.attrs["warnings"].startswith("odd offset; clouds were not told")
    assert observed(optical("green", "nir")).attrs["warnings"].startswith("clouds were not told")
    assert not has(series, qa.QaBit.CLOUD).any()
    assert has(series, qa.QaBit.NODATA)[(1, *GAP)].all()


def test_radar_alone_claims_no_reflectance():
    stack = radar()
    series = observed(stack)
    assert np.isnan(series["reflectance"]).all()
    assert np.isnan(series["reflectance_sigma"]).all()
    assert series["reflectance"].dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(series["backscatter"].values, stack["backscatter"].values)
    assert series["qa"].dtype == np.uint16


def test_a_stack_of_neither_is_refused():
    with pytest.raises(BadInputError) as caught:
        observed(optical().rename(reflectance="temperature"))
    assert caught.value.cause == "no_scene"
