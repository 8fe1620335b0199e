"""The common grid: alignment, position and refusal."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import grid
from processors.quality import BadInputError

UTM = "EPSG:32648"


def ramp(geobox: GeoBox) -> xr.Dataset:
    """A scene whose two layers hold the map coordinates of their pixel centers."""
    rows, columns = geobox.shape
    x = geobox.transform.c + (np.arange(columns) + 0.5) * geobox.transform.a
    y = geobox.transform.f + (np.arange(rows) + 0.5) * geobox.transform.e
    layers = np.stack(np.broadcast_arrays(x[None, :], y[:, None])).astype(np.float64)
    return grid.assign(xr.Dataset({"position": (("layer", "y", "x"), layers)}), geobox)


def scene_without_crs() -> xr.Dataset:
    return ramp(grid.covering((0, 0, 100, 100), crs=UTM, resolution=10)).drop_vars("spatial_ref")


@pytest.mark.parametrize("resolution", [10.0, 20.0, 60.0, 250.0])
def test_covering_grid_has_edges_at_multiples_of_the_pixel_size(resolution):
    bounds = (500_003.7, 3_200_011.2, 507_777.7, 3_207_771.3)
    geobox = grid.covering(bounds, crs=UTM, resolution=resolution)
    assert grid.alignment_offset(geobox) <= grid.ALIGNMENT_TOLERANCE
    left, bottom, right, top = geobox.boundingbox.bbox
    assert left <= bounds[0] < left + resolution
    assert top - resolution < bounds[3] <= top
    assert bottom <= bounds[1]
    assert right >= bounds[2]


def test_covering_does_not_grow_where_the_bounds_are_aligned():
    assert grid.covering((1000, 2000, 1100, 2050), crs=UTM, resolution=10).shape == (5, 10)


def test_half_pixel_offset_is_seen_and_snapped():
    shifted = GeoBox((10, 12), rasterio.Affine(10, 0, 500_005.0, 0, -10, 3_200_000.0), UTM)
    assert grid.alignment_offset(shifted) == pytest.approx(0.5)
    snapped = grid.snapped(shifted)
    assert grid.alignment_offset(snapped) <= grid.ALIGNMENT_TOLERANCE
    assert snapped.shape == (10, 13)


def test_grid_survives_coordinates_and_grid_mapping():
    geobox = grid.covering((500_000, 3_200_000, 500_300, 3_200_200), crs=UTM, resolution=10)
    assert grid.same(grid.geobox_of(ramp(geobox)), geobox)


def test_match_keeps_positions_to_a_thousandth_of_a_pixel():
    """A half-pixel or anchor error would move the ramp by 5 m."""
    fine = grid.covering((500_000, 3_200_000, 501_000, 3_201_000), crs=UTM, resolution=10)
    target = grid.covering((500_200, 3_200_200, 500_800, 3_200_800), crs=UTM, resolution=20)
    moved = GeoBox((40, 40), rasterio.Affine(10, 0, 500_203.0, 0, -10, 3_200_797.0), UTM)
    for geobox in (target, moved):
        matched = grid.match(ramp(fine), geobox)["position"].values
        np.testing.assert_allclose(matched, ramp(geobox)["position"].values, atol=0.02)


def test_match_onto_the_same_grid_changes_no_value():
    scene = ramp(grid.covering((0, 0, 100, 100), crs=UTM, resolution=10))
    assert np.array_equal(grid.match(scene, grid.geobox_of(scene))["position"], scene["position"])


def test_cells_outside_the_scene_are_nan_or_false():
    scene = ramp(grid.covering((500_000, 3_200_000, 500_100, 3_200_100), crs=UTM, resolution=10))
    scene["seen"] = (("y", "x"), np.ones((10, 10), dtype=bool))
    wide = grid.covering((499_900, 3_199_900, 500_200, 3_200_200), crs=UTM, resolution=10)
    matched = grid.match(scene, wide)
    assert np.isfinite(matched["position"]).sum() == 200
    assert matched["seen"].dtype == bool
    assert int(matched["seen"].sum()) == 100


def test_match_between_systems_lands_on_the_right_place():
    import pyproj

    fine = grid.covering((500_000, 3_200_000, 520_000, 3_220_000), crs=UTM, resolution=100)
    to_degrees = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    west, south = to_degrees.transform(503_000, 3_203_000)
    degrees = GeoBox((50, 50), rasterio.Affine(0.001, 0, west, 0, -0.001, south + 0.05), "EPSG:4326")
    matched = grid.match(ramp(fine), degrees)["position"].values
    column, row = np.meshgrid(np.arange(50) + 0.5, np.arange(50) + 0.5)
    x, y = to_degrees.transform(west + column * 0.001, south + 0.05 - row * 0.001, direction="INVERSE")
    np.testing.assert_allclose(matched, np.stack([x, y]), atol=15.0)  # GDAL's 1/8 pixel transformer tolerance


def test_working_grid_of_degrees_is_the_utm_zone_of_the_middle():
    degrees = GeoBox((40, 60), rasterio.Affine(0.001, 0, 106.5, 0, -0.001, 29.6), "EPSG:4326")
    working = grid.working_grid(ramp(degrees))
    assert working.crs.epsg == 32648
    assert grid.alignment_offset(working) <= grid.ALIGNMENT_TOLERANCE


@pytest.mark.parametrize(
    ("longitude", "latitude", "zone"), [(106.5, 29.5, 32648), (3.0, 50.0, 32631), (-179.9, -1, 32701)]
)
def test_utm_zone_counts_from_the_date_line(longitude, latitude, zone):
    assert grid.utm_zone(longitude, latitude) == zone


@pytest.mark.parametrize("text", ["", "GCJ-02", "BD-09", "not a system", 'LOCAL_CS["site grid",UNIT["metre",1]]'])
def test_systems_that_do_not_locate_are_refused(text):
    with pytest.raises(BadInputError) as refusal:
        grid.coordinate_system(text)
    assert refusal.value.cause == "crs_missing"


def test_scene_without_grid_mapping_is_refused():
    with pytest.raises(BadInputError) as refusal:
        grid.geobox_of(scene_without_crs())
    assert refusal.value.cause == "crs_missing"


def test_scene_with_irregular_axis_is_refused():
    scene = ramp(grid.covering((0, 0, 100, 100), crs=UTM, resolution=10))
    x = scene["x"].values.copy()
    x[4] += 1.0
    with pytest.raises(BadInputError) as refusal:
        grid.geobox_of(scene.assign_coords(x=x))
    assert refusal.value.cause == "grid_irregular"
