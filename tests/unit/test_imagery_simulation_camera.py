"""Simulated cameras obey the collinearity equations and see the first terrain on each ray."""

import math

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from rasterio import Affine
from scipy import ndimage

from processors.simulation import imagery_camera

FRAME = {"shape": (60, 80), "map_shape": (120, 120)}
BOX = GeoBox((50, 60), Affine(2.0, 0.0, 1000.0, 0.0, -2.0, 5000.0), "EPSG:32648")


def exterior(*numbers: float) -> imagery_camera.Exterior:
    return imagery_camera.Exterior(*(np.array(float(number)) for number in numbers))


@pytest.mark.parametrize(
    ("angles", "axis", "expected"),
    [
        ((90, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 90, 0), (0, 0, 1), (1, 0, 0)),
        ((0, 0, 90), (1, 0, 0), (0, 1, 0)),
        ((90, 0, 90), (1, 0, 0), (0, 0, 1)),
        ((90, 90, 0), (0, 0, 1), (1, 0, 0)),
    ],
)
def test_the_angles_turn_the_axes_right_handed_and_in_their_order(
    angles: tuple[float, ...], axis: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    turn = imagery_camera.rotation(exterior(0, 0, 0, *angles))
    np.testing.assert_allclose(turn @ np.array(axis), expected, atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)


def test_a_camera_that_looks_straight_down_has_north_up_and_pixels_of_height_over_focal_length() -> None:
    camera = imagery_camera.Interior(100.0, 10.0, 15.0)
    row, column = np.indices((21, 31), dtype=np.float64)
    place = exterior(1060.0, 4950.0, 300.0, 0, 0, 0)
    dem = np.full((50, 60), 100.0, dtype=np.float32)
    ground = imagery_camera.meet_terrain(dem, BOX, place, imagery_camera.rays(camera, place, row, column))
    np.testing.assert_allclose(ground[0], 1060.0 + 2.0 * (column - 15.0), atol=1e-6)
    np.testing.assert_allclose(ground[1], 4950.0 - 2.0 * (row - 10.0), atol=1e-6)
    np.testing.assert_allclose(ground[2], 100.0, atol=1e-6)


def test_every_ground_point_projects_back_to_its_pixel() -> None:
    view = imagery_camera.simulate_frame(seed=1, relief=80.0, angles=(4.0, -3.0, 130.0), offset=(0.0, 0.0), **FRAME)
    seen = imagery_camera.project(view.interior, view.exterior, view.ground)
    there = ~np.isnan(view.ground[0])
    assert there.mean() > 0.8
    np.testing.assert_allclose(seen[:, there], np.indices((60, 80))[:, there], atol=1e-6)


def test_ground_points_lie_on_the_terrain_and_show_its_reflectance() -> None:
    view = imagery_camera.simulate_frame(seed=2, noise=0.0, relief=50.0, **FRAME)
    affine = view.grid.transform
    place = np.stack([(view.ground[1] - affine.f) / affine.e - 0.5, (view.ground[0] - affine.c) / affine.a - 0.5])
    there = ~np.isnan(view.ground[0])
    height = ndimage.map_coordinates(view.dem.astype(np.float64), place[:, there], order=1)
    np.testing.assert_allclose(view.ground[2][there], height, atol=1e-3)
    red = ndimage.map_coordinates(view.orthoimage[2], place[:, there], order=3, mode="nearest")
    np.testing.assert_allclose(view.image[2][there], red, atol=1e-5)


def test_a_slanted_ray_meets_the_near_side_of_a_wall_and_what_is_behind_stays_hidden() -> None:
    dem = np.zeros((50, 60), dtype=np.float32)
    dem[:, 30:32] = 40.0
    place = exterior(1011.0, 4950.0, 100.0, 0.0, 0.0, 0.0)
    away = np.array([[[dx, 0.0, -1.0] for dx in (0.3, 0.6, 0.85)]])
    ground = imagery_camera.meet_terrain(dem, BOX, place, away)
    assert ground[2, 0, 0] == pytest.approx(0.0, abs=1e-6)
    assert ground[2, 0, 1] > 10.0
    assert 1059.0 < ground[0, 0, 1] < 1061.0 + 4.0
    assert ground[2, 0, 2] == pytest.approx(40.0, abs=1e-3)


def test_rays_that_leave_the_terrain_or_rise_meet_nothing() -> None:
    place = exterior(1060.0, 4950.0, 300.0, 0, 0, 0)
    away = np.array([[[10.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    ground = imagery_camera.meet_terrain(np.zeros((50, 60), dtype=np.float32), BOX, place, away)
    np.testing.assert_array_equal(np.isnan(ground[0, 0]), [True, True, False])


def test_points_behind_the_camera_have_no_image() -> None:
    place = exterior(0, 0, 100, 0, 0, 0)
    points = np.array([[0.0, 0.0], [0.0, 0.0], [50.0, 150.0]])
    seen = imagery_camera.project(imagery_camera.Interior(100.0, 5.0, 7.0), place, points)
    np.testing.assert_allclose(seen[:, 0], [5.0, 7.0])
    assert np.isnan(seen[:, 1]).all()


def test_visible_map_pixels_are_those_the_image_shows() -> None:
    view = imagery_camera.simulate_frame(seed=3, relief=120.0, flying_height=250.0, angles=(20.0, 10.0, 0.0), **FRAME)
    affine = view.grid.transform
    row, column = np.indices(view.dem.shape)
    points = np.stack([affine.c + (column + 0.5) * affine.a, affine.f + (row + 0.5) * affine.e, view.dem])
    seen = imagery_camera.project(view.interior, view.exterior, points)
    inside = (seen[0] > 0) & (seen[0] < 59) & (seen[1] > 0) & (seen[1] < 79)
    assert (view.visible & inside).sum() > 1000
    hidden = inside & ~view.visible
    # Where visible, the ground the image shows at that place is the map pixel; where hidden it is something else.
    shown = [ndimage.map_coordinates(part, seen[:, view.visible & inside], order=1) for part in view.ground[:2]]
    away = np.hypot(shown[0] - points[0][view.visible & inside], shown[1] - points[1][view.visible & inside])
    assert np.nanmedian(away) < 0.1
    if hidden.any():
        other = [ndimage.map_coordinates(part, seen[:, hidden], order=0) for part in view.ground[:2]]
        assert np.nanmedian(np.hypot(other[0] - points[0][hidden], other[1] - points[1][hidden])) > 0.75


def test_a_line_camera_looks_from_each_line_along_its_own_attitude() -> None:
    view = imagery_camera.simulate_line_scan(seed=4, shape=(60, 60), map_shape=(120, 120), wobble=0.5)
    assert view.exterior.east.shape == (60,)
    center = np.stack([view.exterior.east, view.exterior.north, view.exterior.height])
    column = np.broadcast_to(np.arange(60.0), (60, 60))
    directions = np.moveaxis(imagery_camera.rays(view.interior, view.exterior, np.zeros((60, 60)), column), -1, 0)
    away = view.ground - center[:, :, None]
    there = ~np.isnan(away[0])
    assert there.mean() > 0.9
    sine = np.linalg.norm(np.cross(away, directions, axis=0), axis=0) / (
        np.linalg.norm(away, axis=0) * np.linalg.norm(directions, axis=0)
    )
    assert sine[there].max() < 1e-6
    assert view.visible.any()


def test_a_rolled_line_camera_flies_left_of_what_it_sees_and_forward() -> None:
    view = imagery_camera.simulate_line_scan(
        seed=5,
        shape=(40, 40),
        map_shape=(120, 120),
        heading=0.0,
        roll=10.0,
        wobble=0.0,
        relief=0.0,
        flying_height=500.0,
    )
    way = 500.0 * math.tan(math.radians(10.0))
    middle = view.ground[:, 20, :].mean(axis=1)
    assert middle[0] - view.exterior.east[20] == pytest.approx(way, abs=2.0)
    assert middle[1] == pytest.approx(view.exterior.north[20], abs=1e-6)
    assert (np.diff(view.ground[1, :, 20]) > 0.0).all()
    assert (np.diff(view.ground[0, 20]) > 0.0).all()


def test_the_same_seed_gives_the_same_view() -> None:
    one, same, other = (imagery_camera.simulate_frame(seed=seed, **FRAME) for seed in (6, 6, 7))
    np.testing.assert_array_equal(one.image, same.image)
    assert np.nanmean(np.abs(one.image - other.image)) > 0.005
