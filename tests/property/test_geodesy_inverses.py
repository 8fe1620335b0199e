"""Transformations and their inverses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.geodesy import ellipsoid, frames, geoid

latitudes = st.floats(-90.0, 90.0)
longitudes = st.floats(-179.999, 179.999)


@given(latitudes, longitudes, st.floats(-10_000.0, 3e7))
@settings(deadline=None)
def test_geodetic_coordinates_survive_a_round_trip(latitude: float, longitude: float, height: float) -> None:
    position = ellipsoid.to_ecef(latitude, longitude, height)
    again = ellipsoid.from_ecef(position)
    np.testing.assert_allclose(ellipsoid.to_ecef(*again), position, atol=1e-6)
    np.testing.assert_allclose(again.height, height, atol=1e-6)


@given(st.lists(st.floats(-3e7, 3e7), min_size=6, max_size=6), st.floats(-1e4, 1e4))
@settings(deadline=None)
def test_frames_are_inverse_to_each_other(values: list[float], since: float) -> None:
    state = frames.State(np.array([values[:3]]), np.array([values[3:]]) * 1e-4)
    time = np.array([since])
    there = frames.inertial_from_earth_fixed(state, time=time, epoch=0.0)
    back = frames.earth_fixed_from_inertial(there, time=time, epoch=0.0)
    np.testing.assert_allclose(back.position, state.position, atol=1e-7)
    np.testing.assert_allclose(back.velocity, state.velocity, atol=1e-7)


@given(st.floats(-1e7, 1e7), st.floats(0.1, 100.0))
@settings(deadline=None)
def test_inertial_velocity_is_the_rate_of_inertial_position(height: float, since: float) -> None:
    place = np.array([[2.0e7, 3.0e6, height]])
    rest = frames.State(np.repeat(place, 2, axis=0), np.zeros((2, 3)))
    moved = frames.inertial_from_earth_fixed(rest, time=np.array([since - 0.5, since + 0.5]), epoch=0.0)
    rate = moved.position[1] - moved.position[0]
    np.testing.assert_allclose(rate, moved.velocity.mean(axis=0), atol=1e-3)


@given(latitudes, longitudes)
@settings(deadline=None)
def test_geoid_stays_within_its_extremes(latitude: float, longitude: float) -> None:
    assert -108.0 < float(geoid.undulation(latitude, longitude)) < 87.0
