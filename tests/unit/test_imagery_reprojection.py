"""Raster files onto a grid: one resampling, tile by tile, stored as they came."""

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from infra.imagery import reprojection, tiling
from processors.imagery import grid, resampling
from processors.quality import BadInputError
from tests.unit import imagery_products as products


def ramp_file(path, *, shape=(300, 320), displaced=(0.0, 0.0)):
    """A raster whose bands hold the distance from its corner [10 m], stored as integers of 1/100."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    layers = np.stack([columns + 0.5 - displaced[0], rows + 0.5 - displaced[1]])
    path = products.write_raster(path, np.round(layers * 100).astype(np.int32), nodata=-999_999)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.01, 0.01), (0.0, 0.0)
        dataset.set_band_description(1, "east")
        dataset.set_band_description(2, "south")
    return path


def target() -> GeoBox:
    x, y = pyproj.Transformer.from_crs(32648, 32649, always_xy=True).transform(
        [600_300, 602_800], [3_297_500, 3_299_600]
    )
    return grid.covering((x[0], y[0], x[1], y[1]), crs="EPSG:32649", resolution=10)


def expected(geobox: GeoBox) -> np.ndarray:
    rows, columns = (np.arange(size, dtype=float) for size in geobox.shape)
    x, y = resampling.centers(geobox, rows[:, None], columns[None, :])
    x, y = pyproj.Transformer.from_crs(32649, 32648, always_xy=True).transform(x, y)
    return np.stack([(x - products.CORNER[0]) / 10, (products.CORNER[1] - y) / 10])


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -1.3)])
def test_shift_and_reprojection_put_content_where_it_belongs(tmp_path, shift):
    source = ramp_file(tmp_path / "a.tif", displaced=shift)
    report = reprojection.run(source, tmp_path / "b.tif", geobox=target(), shift=shift)
    with rasterio.open(tmp_path / "b.tif") as out:
        numbers = out.read()
        assert (out.dtypes[0], out.scales[0], out.nodata) == ("int32", 0.01, -999_999)
        assert out.descriptions == ("east", "south")
        assert grid.same(GeoBox(out.shape, out.transform, str(out.crs)), target())
    seen = numbers[0] != -999_999
    assert np.abs(numbers * 0.01 - expected(target()))[:, seen].max() < 0.015
    assert report["covered"] == pytest.approx(seen.mean())
    assert (report["method"], report["shift_x"], report["shift_y"]) == ("bilinear", *shift)


def test_tiles_do_not_show(tmp_path, monkeypatch):
    source = ramp_file(tmp_path / "a.tif")
    reprojection.run(source, tmp_path / "whole.tif", geobox=target(), method="cubic", plain=True)
    small = tiling.tiles
    monkeypatch.setattr(tiling, "tiles", lambda shape: small(shape, size=48))
    reprojection.run(source, tmp_path / "tiled.tif", geobox=target(), method="cubic", plain=True)
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "tiled.tif") as tiled:
        np.testing.assert_array_equal(whole.read(), tiled.read())


def test_coarser_target_is_averaged(tmp_path):
    source = ramp_file(tmp_path / "a.tif")
    coarse = GeoBox((30, 32), Affine(100, 0, products.CORNER[0], 0, -100, products.CORNER[1]), "EPSG:32648")
    assert reprojection.run(source, tmp_path / "b.tif", geobox=coarse)["method"] == "average"
    with rasterio.open(tmp_path / "b.tif") as out:
        np.testing.assert_allclose(out.read(1)[0] * 0.01, np.arange(32) * 10 + 5.0, atol=0.011)


def test_file_without_system_or_outside_the_area_is_refused_and_leaves_nothing(tmp_path):
    bare = products.write_raster(tmp_path / "bare.tif", np.ones((4, 4), np.float32), placed=False)
    with pytest.raises(BadInputError) as refusal:
        reprojection.run(bare, tmp_path / "b.tif", geobox=target())
    assert refusal.value.cause == "crs_missing"
    away = grid.covering((200_000, 3_000_000, 200_500, 3_000_500), crs="EPSG:32649", resolution=10)
    with pytest.raises(BadInputError) as refusal:
        reprojection.run(ramp_file(tmp_path / "a.tif"), tmp_path / "b.tif", geobox=away)
    assert refusal.value.cause == "outside_area"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "bare.tif"]
