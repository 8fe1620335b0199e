"""Rasters on another grid: coinciding pixels as they are, nothing invented beyond the edges."""

import math

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from infra.imagery import raster_file
from infra.surface import alignment
from processors.quality import BadInputError

VALUES = np.arange(1, 401, dtype=np.float32).reshape(20, 20)
PLACE = Affine(10, 0, 600_000, 0, -10, 3_300_000)


@pytest.fixture
def written(tmp_path):
    def write(name, values=VALUES, *, place=PLACE, crs="EPSG:32648", nodata=None, masked=False):
        profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                tmp_path / name, "w", **profile, dtype=values.dtype, crs=crs, transform=place, nodata=nodata
            ) as file,
        ):
            file.write(values, 1)
            if masked:
                seen = np.full(values.shape, 255, dtype=np.uint8)
                seen[:5] = 0
                file.write_mask(seen)
        return tmp_path / name

    return write


def on(path, like, window=None, **options):
    with raster_file.open_raster(like) as grid, alignment.opened(path, like=grid, **options) as seen:
        return seen.read(window or Window(0, 0, grid.shape[1], grid.shape[0]), [1])[0]


@pytest.mark.parametrize("how", [{}, {"nodata": 50.0}, {"nodata": math.nan}, {"masked": True}])
@pytest.mark.parametrize("classes", [False, True])
def test_beyond_its_edges_a_raster_has_no_values_whatever_it_declares(written, how, classes):
    coarse = written("like.tif", np.zeros((20, 20), np.float32), place=Affine(20, 0, 599_900, 0, -20, 3_300_100))
    seen = on(written("r.tif", **how), coarse, classes=classes)
    known = np.isfinite(seen)
    assert known[8:15, 5:15].all()
    assert known.sum() <= 100
    assert not known[:5].any()
    assert not known[:, 15:].any()
    assert np.nanmin(seen) >= 1
    if "masked" in how:
        assert not known[:7].any()


def test_octets_without_a_number_for_no_data_are_not_zero_beyond_their_edges(written):
    coarse = written("like.tif", np.zeros((20, 20), np.float32), place=Affine(20, 0, 599_900, 0, -20, 3_300_100))
    seen = on(written("r.tif", (VALUES > 200).astype(np.uint8)), coarse, classes=True)
    assert set(np.unique(seen[np.isfinite(seen)])) == {0.0, 1.0}
    assert np.isfinite(seen).sum() == 100


def test_pixels_that_coincide_are_read_as_they_are_on_any_extent(written):
    like = written("like.tif", np.zeros((12, 9), np.float32), place=PLACE @ Affine.translation(-3, 15))
    seen = on(written("r.tif"), like)
    np.testing.assert_array_equal(seen[:5, 3:9], VALUES[15:20, :6])
    assert np.isnan(seen[5:]).all()
    assert np.isnan(seen[:, :3]).all()


def test_pixels_a_little_larger_do_not_drift(written):
    ramp = np.tile(np.arange(2000, dtype=np.float32), (4, 1))
    place = Affine(10.004, 0, 600_000, 0, -10.004, 3_300_000)
    seen = on(written("r.tif", ramp, place=place), written("like.tif", ramp * 0))
    assert seen[2, 1900] == pytest.approx(1900.5 / 1.0004 - 0.5, abs=0.01)


def test_windows_give_what_the_whole_gives(written):
    like = written("like.tif", np.zeros((30, 30), np.float32), place=Affine(7, 0, 599_980, 0, -7, 3_300_020))
    path = written("r.tif")
    whole = on(path, like)
    part = on(path, like, Window(-4, 10, 20, 25))
    np.testing.assert_array_equal(part[:20, 4:], whole[10:30, :16])
    assert np.isnan(part[:, :4]).all()
    assert np.isnan(part[20:]).all()


def test_a_band_on_a_grid_is_the_same_as_through_a_raster(written):
    like = written("like.tif", np.zeros((30, 30), np.float32), place=Affine(7, 0, 599_980, 0, -7, 3_300_020))
    path = written("r.tif")
    grid = GeoBox((30, 30), Affine(7, 0, 599_980, 0, -7, 3_300_020), "EPSG:32648")
    with raster_file.open_raster(path) as raster:
        np.testing.assert_array_equal(alignment.warped(raster, 1, grid), on(path, like))


def test_rasters_far_apart_share_nothing(written):
    far = written("like.tif", np.zeros((20, 20), np.float32), place=Affine(7, 0, 700_000, 0, -7, 3_300_000))
    assert np.isnan(on(written("r.tif"), far)).all()
    assert np.isnan(on(written("r.tif"), far, Window(500, 500, 4, 4))).all()


def test_without_a_reference_system_only_equal_shapes_lie_over_each_other(written):
    path = written("r.tif")
    same = written("same.tif", np.zeros((20, 20), np.float32), crs=None)
    np.testing.assert_array_equal(on(path, same), VALUES)
    with pytest.raises(BadInputError) as refused:
        on(path, written("other.tif", np.zeros((20, 21), np.float32), crs=None))
    assert refused.value.cause == "crs_missing"


def test_a_file_cut_short_is_refused(written):
    like = written("like.tif", np.zeros((30, 30), np.float32), place=Affine(7, 0, 599_980, 0, -7, 3_300_020))
    path = written("r.tif", np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 300)
    with pytest.raises(BadInputError):
        on(path, like)
