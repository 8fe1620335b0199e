"""Sunlight on slopes of known angle and shadows of ridges of known height."""

import numpy as np
import pytest

from processors.imagery import terrain_shading
from processors.quality import BadInputError


def test_incidence_on_a_plane_follows_the_angle_between_its_normal_and_the_sun():
    row, _ = np.indices((20, 20))
    slope, steps = np.tan(np.radians(30.0)), (-10.0, 10.0)
    facing_south = (row * steps[0] * slope).astype(np.float32)
    south = terrain_shading.Sun(180.0, 40.0)
    lit = terrain_shading.shade(facing_south, south, steps=steps)
    np.testing.assert_allclose(lit.incidence[5:-5, 5:-5], np.cos(np.radians(50.0 - 30.0)), atol=1e-3)
    north = terrain_shading.shade(facing_south, terrain_shading.Sun(0.0, 40.0), steps=steps)
    np.testing.assert_allclose(north.incidence[5:-5, 5:-5], np.cos(np.radians(80.0)), atol=1e-3)


def test_flat_ground_has_the_sine_of_the_elevation_and_no_shadow():
    flat = terrain_shading.shade(np.zeros((5, 6), np.float32), terrain_shading.Sun(33.0, 25.0), steps=(-10.0, 10.0))
    np.testing.assert_allclose(flat.incidence, np.sin(np.radians(25.0)), rtol=1e-6)
    assert not flat.cast.any()


@pytest.mark.parametrize(("azimuth", "axis", "sign"), [(90.0, 1, -1), (270.0, 1, 1), (180.0, 0, -1), (0.0, 0, 1)])
def test_wall_casts_a_shadow_of_its_height_over_the_tangent_away_from_the_sun(azimuth, axis, sign):
    """A wall of 95 m under a sun at 45 degrees: nine whole pixels of 10 m."""
    heights = np.zeros((61, 61), np.float32)
    heights[(slice(None), 30) if axis else (30, slice(None))] = 95.0
    cast = terrain_shading.shade(heights, terrain_shading.Sun(azimuth, 45.0), steps=(-10.0, 10.0)).cast
    line = cast[20] if axis else cast[:, 20]
    assert np.flatnonzero(line).tolist() == sorted(30 + sign * step for step in range(1, 10))


def test_voids_block_nothing_and_count_as_flat():
    heights = np.zeros((20, 20), np.float32)
    heights[5:8, 5:8] = np.nan
    shading = terrain_shading.shade(heights, terrain_shading.Sun(120.0, 30.0), steps=(-10.0, 10.0))
    np.testing.assert_allclose(shading.incidence, 0.5, atol=1e-6)
    assert not shading.cast.any()


def test_height_model_without_heights_is_refused():
    with pytest.raises(BadInputError) as refusal:
        terrain_shading.shade(np.full((3, 3), np.nan, np.float32), terrain_shading.Sun(1.0, 30.0), steps=(-1.0, 1.0))
    assert refusal.value.cause == "dem_empty"


@pytest.mark.parametrize(
    ("azimuth", "elevation"), [(400.0, 30.0), (90.0, 0.0), (90.0, -5.0), (90.0, 91.0), (np.nan, 3.0)]
)
def test_impossible_sun_is_refused(azimuth, elevation):
    with pytest.raises(BadInputError) as refusal:
        terrain_shading.checked(terrain_shading.Sun(azimuth, elevation))
    assert refusal.value.cause == "sun_angle"
