"""Where strip pixels lie, against the simulator's own geometry."""

import numpy as np
import pyproj
import pytest

from processors.imagery import geolocation, grid, qa, strip_scene
from processors.simulation import scenes

PIXELS = scenes.PIXELS


@pytest.fixture(scope="module")
def simulated() -> scenes.SimulatedStrip:
    return scenes.simulate_strip(seed=4, lines=60, cloud_fraction=0.0, lost_lines=0.2)


@pytest.fixture(scope="module")
def scene(simulated):
    return strip_scene.scene_from_strip(simulated.strip, source="test", area="chongqing")


def edges(simulated: scenes.SimulatedStrip) -> dict[str, np.ndarray]:
    return {name: simulated.strip[name].values for name in ("edge_longitude", "edge_latitude")}


def test_positions_agree_with_the_simulator_to_a_meter(simulated):
    longitude, latitude = geolocation.positions(**edges(simulated), pixels=PIXELS)
    north = np.abs(latitude - simulated.latitude).max() * 111_000.0
    east = np.abs(longitude - simulated.longitude).max() * 111_000.0
    assert max(north, east) < 1.0


def test_every_pixel_is_found_where_it_lies(simulated):
    """A half-pixel error, or edges taken for outer borders, would show as 0.5."""
    vectors = geolocation.unit_vectors(simulated.longitude, simulated.latitude)
    found = geolocation.locate(vectors.reshape(-1, 3), **edges(simulated), pixels=PIXELS)
    line, pixel = np.indices(simulated.longitude.shape)
    np.testing.assert_allclose(found.line, line.ravel(), atol=0.01)
    np.testing.assert_allclose(found.pixel, pixel.ravel(), atol=0.01)


def test_grid_vectors_between_nodes_are_right_to_a_meter():
    geobox = grid.covering((400_000, 3_210_000, 480_000, 3_230_000), crs="EPSG:32648", resolution=250)
    rows, columns = geobox.shape
    x = 400_000 + (np.arange(columns) + 0.5) * 250
    y = 3_230_000 - (np.arange(rows) + 0.5) * 250
    to_degrees = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4326", always_xy=True)
    exact = geolocation.unit_vectors(*to_degrees.transform(*np.meshgrid(x, y)))
    assert np.linalg.norm(geolocation.grid_vectors(geobox) - exact, axis=-1).max() * 6.4e6 < 1.0


def test_strip_scene_lies_on_an_aligned_utm_grid(scene):
    geobox = grid.geobox_of(scene)
    assert geobox.crs.epsg == 32648
    assert geobox.transform.a == 250.0
    assert grid.alignment_offset(geobox) <= grid.ALIGNMENT_TOLERANCE


def test_footprint_has_the_area_of_the_strip(scene):
    assert int(scene["footprint"].sum()) == pytest.approx(60 * PIXELS, rel=0.01)


def test_reflectance_equals_the_truth_of_the_landscape(simulated, scene):
    geobox = grid.geobox_of(scene)
    truth = scenes.truth_on_grid(simulated.landscape, geobox, time=simulated.time)
    error = scene["reflectance"].values[0] - truth
    assert np.nanmedian(np.abs(error), axis=(1, 2)).max() < 0.0015
    assert np.abs(np.nanmedian(error, axis=(1, 2))).max() < 0.0005


def test_shift_of_the_truth_by_one_pixel_is_clearly_worse(simulated, scene):
    truth = scenes.truth_on_grid(simulated.landscape, grid.geobox_of(scene), time=simulated.time)
    values = scene["reflectance"].values[0]
    here = np.nanmean((values - truth) ** 2)
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        moved = np.roll(truth, shift, axis=(1, 2))
        assert np.nanmean((values - moved) ** 2) > 1.3 * here


def test_lost_lines_stay_empty_inside_the_footprint(simulated, scene):
    lost = 1.0 - float(simulated.strip["line_valid"].mean())
    inside = scene["footprint"].values[0]
    empty = np.isnan(scene["reflectance"].values[0][:, inside]).mean()
    assert empty == pytest.approx(lost, abs=0.02)
    assert np.isnan(scene["reflectance"].values[0][:, ~inside]).all()
    outside = scene["qa"].values[0][~inside]
    assert (outside == int(qa.QaBit.NODATA)).all()


def test_time_of_the_scene_is_utc(simulated, scene):
    assert abs(scene["time"].values[0] - simulated.time) < np.timedelta64(1, "s")


def test_resampling_needs_half_of_the_weight():
    layer = np.array([[[1.0, 2.0], [np.nan, np.nan]]], dtype=np.float32)
    position = geolocation.StripPosition(np.array([0.0, 0.4, 0.6]), np.array([0.5, 0.5, 0.5]))
    values = geolocation.resample(layer, position, shape=(1, 3)).values.ravel()
    np.testing.assert_allclose(values, [1.5, 1.5, np.nan])
