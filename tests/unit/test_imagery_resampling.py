"""One resampling from a raster to a grid: position, composition with a shift, and independence of the blocks."""

import numpy as np
import pyproj
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from processors.imagery import grid, resampling

UTM, NEXT_UTM = "EPSG:32648", "EPSG:32649"
SOURCE = Affine(10, 0, 500_000, 0, -10, 3_220_000)


def ramp(shape: tuple[int, int] = (400, 500)) -> np.ndarray:
    """Two layers that hold the distance from the upper left corner of their pixel centers [m]."""
    x, y = (np.arange(shape[1]) + 0.5) * 10.0, (np.arange(shape[0]) + 0.5) * 10.0
    return np.stack(np.broadcast_arrays(x[None], y[:, None])).astype(np.float32)


def expected(geobox: GeoBox, crs: str = UTM) -> np.ndarray:
    rows, columns = (np.arange(size, dtype=float) for size in geobox.shape)
    x, y = resampling.centers(geobox, rows[:, None], columns[None, :])
    x, y = pyproj.Transformer.from_crs(grid.system(geobox).to_wkt(), crs, always_xy=True).transform(x, y)
    return np.stack([x - 500_000, 3_220_000 - y])


def inner_grid(crs: str = UTM, resolution: float = 10.0) -> GeoBox:
    corners = np.array([500_600.0, 504_000.0]), np.array([3_217_000.0, 3_219_300.0])
    x, y = pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform(*corners)
    return grid.covering((x[0], y[0], x[1], y[1]), crs=crs, resolution=resolution)


@pytest.mark.parametrize("crs", [UTM, NEXT_UTM])
@pytest.mark.parametrize("method", ["bilinear", "cubic"])
def test_values_come_from_the_right_place_to_a_thousandth_of_a_pixel(crs, method):
    geobox = inner_grid(crs)
    found = resampling.composed(ramp(), transform=SOURCE, crs=UTM, geobox=geobox, resampling=method)
    np.testing.assert_allclose(found, expected(geobox), atol=0.01)


def test_nearest_is_within_half_a_pixel_and_average_within_one():
    geobox = inner_grid(NEXT_UTM)
    nearest = resampling.composed(ramp(), transform=SOURCE, crs=UTM, geobox=geobox, resampling="nearest")
    assert np.abs(nearest - expected(geobox)).max() <= 5.01
    coarse = inner_grid(NEXT_UTM, 70.0)
    mean = resampling.composed(ramp(), transform=SOURCE, crs=UTM, geobox=coarse, resampling="average")
    assert np.abs(mean - expected(coarse)).max() <= 2.5


def test_average_of_nested_pixels_is_their_mean():
    values = np.random.default_rng(3).normal(size=(1, 30, 30)).astype(np.float32)
    coarse = GeoBox((10, 10), Affine(30, 0, 500_000, 0, -30, 3_220_000), UTM)
    found = resampling.composed(values, transform=SOURCE, crs=UTM, geobox=coarse, resampling="average")
    np.testing.assert_allclose(found[0], values[0].reshape(10, 3, 10, 3).mean(axis=(1, 3)), atol=1e-5)


@pytest.mark.parametrize("shift", [(0.3, -0.45), (2.0, 1.0), (-1.7, 0.1)])
def test_shift_and_reprojection_are_one_resampling(shift):
    """Content displaced right and down by the shift comes back to its place in one interpolation."""
    geobox = inner_grid(NEXT_UTM)
    displaced = ramp() - np.array([10.0 * shift[0], 10.0 * shift[1]], dtype=np.float32)[:, None, None]
    found = resampling.composed(displaced, transform=SOURCE, crs=UTM, geobox=geobox, shift=shift)
    np.testing.assert_allclose(found, expected(geobox), atol=0.01)


def test_whole_pixel_shift_on_the_own_grid_changes_no_value():
    values = np.random.default_rng(4).normal(size=(1, 40, 50)).astype(np.float32)
    own = GeoBox((40, 50), SOURCE, UTM)
    found = resampling.composed(values, transform=SOURCE, crs=UTM, geobox=own, shift=(3.0, 2.0))
    np.testing.assert_array_equal(found[:, :38, :47], values[:, 2:, 3:])
    assert np.isnan(found[:, 38:]).all()


@pytest.mark.parametrize("method", resampling.METHODS)
def test_blocks_give_the_bits_of_the_whole(method):
    values = np.random.default_rng(5).normal(size=(1, 400, 500)).astype(np.float32)
    values[0, 50:60, 40:80] = np.nan
    geobox = inner_grid(NEXT_UTM, 23.0)
    locate = resampling.affine_locator(SOURCE, crs=UTM, target_crs=NEXT_UTM)
    whole = resampling.sample(values, resampling.place(geobox, locate), resampling=method)
    rows, columns = geobox.shape
    for row, column, height, width in ((0, 0, 37, 61), (37, 61, rows - 37, columns - 61), (13, 100, 1, 7)):
        placement = resampling.place(geobox, locate, block=resampling.Block(row, column, height, width))
        part = resampling.source_block(placement, values.shape[1:])
        cut = values[:, part.row : part.row + part.rows, part.column : part.column + part.columns]
        found = resampling.sample(cut, placement, origin=(part.row, part.column), resampling=method)
        np.testing.assert_array_equal(found, whole[:, row : row + height, column : column + width])


def test_missing_pixels_neither_grow_nor_shrink():
    values = np.ones((1, 20, 20), dtype=np.float32)
    values[0, 5:8, 5:8] = np.nan
    own = GeoBox((20, 20), SOURCE, UTM)
    found = resampling.composed(values, transform=SOURCE, crs=UTM, geobox=own, shift=(0.4, 0.4))
    assert np.isnan(found[0, 5:8, 5:8]).all()
    assert np.isnan(found).sum() == 9
    assert float(np.nanmax(np.abs(found - 1.0))) < 1e-6


def test_average_keeps_a_pixel_half_of_which_is_seen():
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    values[0, :, 0] = np.nan
    values[0, 2, 1] = np.nan
    coarse = GeoBox((2, 2), Affine(20, 0, 500_000, 0, -20, 3_220_000), UTM)
    found = resampling.composed(values, transform=SOURCE, crs=UTM, geobox=coarse, resampling="average")[0]
    assert found[0, 0] == pytest.approx((1 + 5) / 2)
    assert np.isnan(found[1, 0])


def test_flipped_source_is_not_mirrored():
    south_up = Affine(10, 0, 500_000, 0, 10, 3_216_000)
    geobox = inner_grid()
    found = resampling.composed(ramp()[:, ::-1], transform=south_up, crs=UTM, geobox=geobox)
    np.testing.assert_allclose(found, expected(geobox), atol=0.01)


def test_rotated_source_lands_on_its_place():
    turned = SOURCE @ Affine.rotation(30)
    geobox = grid.covering((502_000, 3_217_500, 502_300, 3_217_900), crs=UTM, resolution=10)
    found = resampling.composed(ramp(), transform=turned, crs=UTM, geobox=geobox)
    x, y = expected(geobox)[0] + 500_000, 3_220_000 - expected(geobox)[1]
    column, row = ~turned @ (x, y)
    np.testing.assert_allclose(found, np.stack([column, row]) * 10.0, atol=0.01)


def test_outside_the_source_is_no_data_and_needs_none_of_it():
    away = grid.covering((700_000, 3_217_000, 700_500, 3_217_500), crs=UTM, resolution=10)
    locate = resampling.affine_locator(SOURCE, crs=UTM, target_crs=UTM)
    assert resampling.source_block(resampling.place(away, locate), (400, 500)).rows == 0
    assert np.isnan(resampling.composed(ramp(), transform=SOURCE, crs=UTM, geobox=away)).all()


def test_grid_of_the_whole_world_finds_the_source_where_it_is():
    """Most of the world has no position in a UTM zone; that is no data, not an error."""
    world = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    values = np.ones((1, 120, 120), dtype=np.float32)
    wide = Affine(2_000, 0, 400_000, 0, -2_000, 3_340_000)
    found = resampling.composed(values, transform=wide, crs=UTM, geobox=world, resampling="nearest")[0]
    rows, columns = np.nonzero(np.isfinite(found))
    longitude, latitude = columns - 179.5, 89.5 - rows
    x, y = pyproj.Transformer.from_crs(4326, UTM, always_xy=True).transform(longitude, latitude)
    assert rows.size == 4
    assert ((x > 400_000) & (x < 640_000) & (y > 3_100_000) & (y < 3_340_000)).all()


@pytest.mark.parametrize("method", resampling.METHODS)
def test_positions_that_do_not_exist_are_no_data(method):
    rows = np.full((3, 4), np.nan)
    placement = resampling.place_exactly(rows, rows, scale=1.0)
    assert resampling.source_block(placement, (10, 10)) == resampling.Block(0, 0, 0, 0)
    assert np.isnan(resampling.sample(np.ones((1, 10, 10)), placement, resampling=method)).all()


def test_coarser_grids_are_averaged_and_unknown_methods_refused():
    assert [resampling.method_for(scale) for scale in (0.5, 1.0, 1.4, 2.0)] == ["bilinear"] * 3 + ["average"]
    with pytest.raises(ValueError, match="unknown resampling"):
        resampling.sample(np.ones((1, 2, 2)), resampling.place_exactly(*np.zeros((2, 2, 2)), scale=1.0), resampling="x")


def test_scale_of_a_grid_that_misses_the_source_is_one():
    geobox = inner_grid()
    assert resampling.pixel_scale(geobox, lambda x, y: (x * np.nan, y * np.nan)) == 1.0
    locate = resampling.affine_locator(SOURCE, crs=UTM, target_crs=UTM)
    assert resampling.pixel_scale(inner_grid(resolution=60.0), locate) == pytest.approx(6.0)
