"""Ellipsoid, frames, curvature, gravity and geoid against closed values and their own laws."""

import hashlib
from importlib import resources

import numpy as np
import pytest
import scipy.constants

from processors import constants
from processors.geodesy import curvature, ellipsoid, frames, geoid, gravity


def test_constants_agree_with_codata() -> None:
    assert scipy.constants.c == constants.SPEED_OF_LIGHT
    assert scipy.constants.k == constants.BOLTZMANN
    assert pytest.approx(scipy.constants.R, rel=1e-12) == constants.MOLAR_GAS
    plasma = scipy.constants.e**2 / (8.0 * np.pi**2 * scipy.constants.epsilon_0 * scipy.constants.m_e)
    assert pytest.approx(plasma, rel=1e-5) == constants.IONOSPHERIC_REFRACTION


def test_positions_of_equator_and_pole() -> None:
    np.testing.assert_allclose(ellipsoid.to_ecef(0.0, 90.0, 10.0), [0.0, 6_378_147.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(ellipsoid.to_ecef(90.0, 0.0, 0.0), [0.0, 0.0, 6_356_752.314_245], atol=1e-5)


def test_position_agrees_with_proj() -> None:
    pyproj = pytest.importorskip("pyproj")
    transformer = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    expected = transformer.transform(106.55, 29.56, 244.0)
    np.testing.assert_allclose(ellipsoid.to_ecef(29.56, 106.55, 244.0), expected, atol=1e-6)


def test_curvature_is_meridian_to_the_north_and_prime_vertical_to_the_east() -> None:
    assert curvature.radius(40.0, 0.0) == pytest.approx(float(ellipsoid.meridian_radius(40.0)))
    assert curvature.radius(40.0, 90.0) == pytest.approx(float(ellipsoid.prime_vertical_radius(40.0)))
    assert curvature.radius(90.0, 33.0) == pytest.approx(6_399_593.6258, abs=1e-3)


def test_sphere_touches_the_ellipsoid_and_follows_it_along_the_azimuth() -> None:
    sphere = curvature.sphere(29.5, 106.5, azimuth=30.0)
    touch = ellipsoid.to_ecef(29.5, 106.5, 0.0)
    east, north, _ = ellipsoid.east_north_up(29.5, 106.5)
    along = np.sin(np.deg2rad(30.0)) * east + np.cos(np.deg2rad(30.0)) * north
    assert np.linalg.norm(touch - sphere.center) == pytest.approx(sphere.radius, abs=1e-6)
    for distance in (-50_000.0, 50_000.0):
        angle = distance / sphere.radius
        on_sphere = sphere.center + np.cos(angle) * (touch - sphere.center) + np.sin(angle) * sphere.radius * along
        assert abs(float(ellipsoid.from_ecef(on_sphere).height)) < 1.0


def test_tangent_point_lies_on_the_line_and_on_the_ellipsoid_it_touches() -> None:
    touch = ellipsoid.to_ecef(-35.0, 129.0, 0.0)
    east, north, _ = ellipsoid.east_north_up(-35.0, 129.0)
    line = 0.6 * east + 0.8 * north
    found = ellipsoid.tangent_point(touch - 2e7 * line, touch + 3e6 * line)
    np.testing.assert_allclose(found, touch, atol=1e-3)
    assert ellipsoid.azimuth(-35.0, 129.0, line) == pytest.approx(np.rad2deg(np.arctan2(0.6, 0.8)))


def test_normal_gravity_at_45_degrees_and_its_integral() -> None:
    assert gravity.surface(0.0) == pytest.approx(9.780_325_335_9)
    assert gravity.surface(90.0) == pytest.approx(9.832_184_937_8, rel=1e-9)
    assert gravity.surface(45.0) == pytest.approx(9.806_197_769, rel=1e-8)
    altitude = np.linspace(0.0, 60_000.0, 6_001)
    summed = np.trapezoid(gravity.at_altitude(30.0, altitude), altitude) / constants.STANDARD_GRAVITY
    assert gravity.geopotential_height(30.0, 60_000.0) == pytest.approx(summed, rel=1e-8)


def test_undulation_at_chongqing_and_the_poles() -> None:
    assert geoid.undulation(29.56, 106.55) == pytest.approx(-38.7, abs=0.15)
    assert geoid.undulation(90.0, 12.0) == pytest.approx(13.61, abs=0.01)
    assert geoid.undulation(-90.0, -170.0) == pytest.approx(-29.53, abs=0.01)


def test_undulation_is_continuous_across_the_date_line() -> None:
    west, east = geoid.undulation(10.0, -179.999_999), geoid.undulation(10.0, 179.999_999)
    assert west == pytest.approx(float(east), abs=1e-3)


def test_extremes_of_the_geoid_are_those_of_egm96() -> None:
    assert geoid.grid().min() == pytest.approx(-106.99, abs=0.01)
    assert geoid.grid().max() == pytest.approx(85.39, abs=0.01)


def test_a_damaged_grid_is_refused() -> None:
    packed = resources.files("processors.geodesy").joinpath(geoid.GRID_FILE).read_bytes()
    assert hashlib.sha256(packed).hexdigest() == geoid.GRID_SHA256
    damaged = packed[:1000] + bytes([packed[1000] ^ 1]) + packed[1001:]
    with pytest.raises(RuntimeError, match="damaged"):
        geoid._unpacked(damaged, sha256=geoid.GRID_SHA256)


def test_a_point_fixed_to_the_earth_moves_east_in_the_inertial_frame() -> None:
    ground = frames.State(np.array([[6_378_137.0, 0.0, 0.0]]), np.zeros((1, 3)))
    moved = frames.inertial_from_earth_fixed(ground, time=np.array([86_164.0905 / 4.0]), epoch=0.0)
    np.testing.assert_allclose(moved.position, [[0.0, 6_378_137.0, 0.0]], atol=1.0)
    np.testing.assert_allclose(np.linalg.norm(moved.velocity), 465.101, atol=1e-2)
