"""Radar geometry: layover, shadow and angles of walls, roofs and planes are those of the drawing board."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from processors.imagery import radar_geometry

PIXEL = (10.0, 10.0)


def plane(rise: float, shape: tuple[int, int] = (40, 60)) -> npt.NDArray[np.float32]:
    """Plane that rises to the east."""
    row = (rise * 10.0 * np.arange(shape[1])).astype(np.float32)
    return np.asarray(np.broadcast_to(row, shape))


def hills(seed: int, size: int = 160, relief: float = 500.0) -> npt.NDArray[np.float32]:
    layer = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 8)
    return np.asarray(relief * (layer - layer.min()) / np.ptp(layer), dtype=np.float32)


@pytest.mark.parametrize("azimuth", [90.0, 270.0])
def test_a_wall_lies_over_what_is_before_it_and_shadows_what_is_behind(azimuth: float) -> None:
    height, angle = 200.0, 40.0
    heights = np.zeros((9, 120), dtype=np.float32)
    heights[:, 60] = height
    seen = radar_geometry.view(heights, pixel_size=PIXEL, incidence=angle, look_azimuth=azimuth)
    toward = -1 if azimuth == 90.0 else 1
    over = int(height / math.tan(math.radians(angle)) / 10)
    shaded = int(height * math.tan(math.radians(angle)) / 10)
    places = 60 + toward * np.arange(1, 50)
    assert (seen.layover[4, places] > 0).sum() == over
    assert (seen.layover[4, places[:over]] > 0).all()
    behind = 60 - toward * np.arange(1, 50)
    assert (seen.shadow[4, behind] > 0).sum() == shaded
    assert (seen.shadow[4, behind[:shaded]] > 0).all()
    assert seen.shadow[4, behind[0]] == radar_geometry.ACTIVE
    assert seen.shadow[4, behind[3]] == radar_geometry.PASSIVE
    assert not (seen.shadow[4, places] > 0).any()


@pytest.mark.parametrize(("rise", "expected"), [(0.9, 2), (0.8, 0), (-1.1, 0)])
def test_a_slope_steeper_than_the_incidence_is_active_layover(rise: float, expected: int) -> None:
    seen = radar_geometry.view(plane(rise), pixel_size=PIXEL, incidence=40.0, look_azimuth=90.0)
    assert (seen.layover[:, 5:-5] == expected).all()


@pytest.mark.parametrize(("rise", "expected"), [(-1.3, 2), (-1.1, 0)])
def test_a_slope_steeper_than_the_ray_is_active_shadow(rise: float, expected: int) -> None:
    seen = radar_geometry.view(plane(rise), pixel_size=PIXEL, incidence=40.0, look_azimuth=90.0)
    assert (seen.shadow[:, 5:-5] == expected).all()


def test_local_angles_of_a_plane_are_exact() -> None:
    rise, angle = 0.3, 35.0
    slope = math.degrees(math.atan(rise))
    facing = radar_geometry.view(plane(rise), pixel_size=PIXEL, incidence=angle, look_azimuth=90.0)
    np.testing.assert_allclose(facing.local_incidence, angle - slope, atol=1e-3)
    away = radar_geometry.view(plane(rise), pixel_size=PIXEL, incidence=angle, look_azimuth=270.0)
    np.testing.assert_allclose(away.local_incidence, angle + slope, atol=1e-3)
    across = radar_geometry.view(plane(rise), pixel_size=PIXEL, incidence=angle, look_azimuth=0.0)
    expected = math.degrees(math.acos(math.cos(math.radians(angle)) * math.cos(math.radians(slope))))
    np.testing.assert_allclose(across.local_incidence, expected, atol=1e-3)
    ratio = math.tan(math.radians(angle)) / math.tan(math.radians(angle - slope))
    np.testing.assert_allclose(facing.area_factor[np.isfinite(facing.area_factor)], ratio, rtol=1e-4)
    np.testing.assert_allclose(across.area_factor[np.isfinite(across.area_factor)], 1.0, rtol=1e-4)


def test_turning_the_scene_turns_the_result() -> None:
    heights = hills(1)
    east = radar_geometry.view(heights, pixel_size=PIXEL, incidence=30.0, look_azimuth=90.0)
    south = radar_geometry.view(
        np.ascontiguousarray(np.rot90(heights, -1)), pixel_size=PIXEL, incidence=30.0, look_azimuth=180.0
    )
    assert (east.layover > 0).mean() > 0.02
    np.testing.assert_array_equal(np.rot90(east.layover, -1), south.layover)
    np.testing.assert_array_equal(np.rot90(east.shadow, -1), south.shadow)


def test_layover_and_shadow_agree_with_sorting_of_slant_ranges() -> None:
    heights, angle = hills(2), math.radians(33.0)
    seen = radar_geometry.view(heights, pixel_size=PIXEL, incidence=33.0, look_azimuth=90.0)
    ground = 10.0 * np.arange(heights.shape[1])
    slant = ground * math.sin(angle) - heights.astype(np.float64) * math.cos(angle)
    before = np.maximum.accumulate(slant, axis=1)
    after = np.minimum.accumulate(slant[:, ::-1], axis=1)[:, ::-1]
    over = np.zeros(heights.shape, dtype=bool)
    over[:, 1:] |= before[:, :-1] >= slant[:, 1:]
    over[:, :-1] |= after[:, 1:] <= slant[:, :-1]
    height = heights + ground / math.tan(angle)
    hidden = np.zeros(heights.shape, dtype=bool)
    hidden[:, 1:] = np.maximum.accumulate(height, axis=1)[:, :-1] >= height[:, 1:]
    assert over.mean() > 0.02
    assert np.mean(over != (seen.layover > 0)) < 1e-3
    assert np.mean(hidden != (seen.shadow > 0)) < 1e-3


@pytest.mark.parametrize("azimuth", [77.0, 280.0])
def test_parts_with_their_halo_give_what_the_whole_gives(azimuth: float) -> None:
    heights = hills(3, relief=150.0)
    heights[70:73, 20:25] = np.nan
    bounds = (float(np.nanmin(heights)), float(np.nanmax(heights)))
    whole = radar_geometry.view(heights, pixel_size=PIXEL, incidence=33.0, look_azimuth=azimuth)
    reach = radar_geometry.halo(relief=bounds[1] - bounds[0], incidence=(33.0, 33.0), pixel_size=PIXEL)
    top, left = 60, 50
    part = radar_geometry.view(
        heights[top - reach : top + 30 + reach, left - reach : left + 40 + reach],
        pixel_size=PIXEL,
        incidence=33.0,
        look_azimuth=azimuth,
        bounds=bounds,
    )
    inner = (slice(reach, reach + 30), slice(reach, reach + 40))
    for name, layer in whole._asdict().items():
        np.testing.assert_array_equal(getattr(part, name)[inner], layer[top : top + 30, left : left + 40], name)


def test_an_angle_for_every_pixel_counts_where_it_stands() -> None:
    heights = plane(0.7)
    angles = np.full(heights.shape, 40.0, dtype=np.float32)
    angles[:20] = 30.0
    angles[30, 30] = np.nan
    seen = radar_geometry.view(heights, pixel_size=PIXEL, incidence=angles, look_azimuth=90.0)
    assert (seen.layover[:20, 5:-5] == 2).all()
    assert (seen.layover[20:, 5:-5] == 0).all()
    assert seen.uncertain[30, 30]


def test_unknown_ground_makes_doubt_and_is_not_invented() -> None:
    heights = np.zeros((9, 80), dtype=np.float32)
    heights[:, 60] = 100.0
    heights[:, 30:34] = np.nan
    seen = radar_geometry.view(heights, pixel_size=PIXEL, incidence=40.0, look_azimuth=90.0)
    assert seen.uncertain[4, 31]
    assert np.isnan(seen.area_factor[4, 31])
    assert seen.layover[4, 31] == 0
    assert seen.uncertain[4, 29]
    assert seen.uncertain[4, 34]
    assert seen.uncertain[4, 0]
    assert not seen.uncertain[4, 50]
    empty = radar_geometry.view(np.full((5, 5), np.nan), pixel_size=PIXEL, incidence=40.0, look_azimuth=90.0)
    assert empty.uncertain.all()
    assert not empty.layover.any()


def test_impossible_angles_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 90"):
        radar_geometry.view(plane(0.1), pixel_size=PIXEL, incidence=95.0, look_azimuth=90.0)
    with pytest.raises(ValueError, match="shape"):
        radar_geometry.view(
            plane(0.1), pixel_size=PIXEL, incidence=np.full((2, 2), 30, dtype=np.float32), look_azimuth=90.0
        )


def test_the_slope_of_a_single_row_is_flat_across() -> None:
    assert radar_geometry.slope(np.zeros((1, 4), dtype=np.float32), pixel_size=PIXEL).max() == 0
    np.testing.assert_allclose(radar_geometry.slope(plane(1.0), pixel_size=PIXEL), 45.0, atol=1e-4)
