"""Lines of sight, terrain and back, against rays followed by other means."""

import numpy as np
import pyproj
import pytest
from odc.geo.geobox import GeoBox
from rasterio import Affine
from scipy import optimize

from processors.geodesy import ellipsoid
from processors.imagery import geolocation, line_of_sight, terrain
from processors.quality import BadInputError

CAMERA = line_of_sight.LineCamera(
    focal_length=0.02, pixel_pitch=1e-5, pixels=256, principal_pixel=-600.0, boresight=(2e-3, -1e-3, 5e-4)
)
"""The outer eighth of a swath: 20 to 25 degree off nadir."""
LINES = 120
PERIOD = 1.0 / 30.0
TO_EARTH = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
TO_GEODETIC = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)


def an_orbit():
    """A circle of 500 km height, retrograde, at 30 degree north, seen from the turning Earth."""
    time = np.arange(-20.0, 21.0)
    radius, rate, inclination = 6_878_000.0, 1.1068e-3, np.radians(97.4)
    angle = np.pi - np.radians(29.8) + rate * time

    def inertial(t):
        along = np.array([np.cos(t), np.sin(t) * np.cos(inclination), np.sin(t) * np.sin(inclination)])
        return radius * along

    def fixed(t):
        turn = np.radians(132.5) + 7.292115e-5 * t
        x, y, z = inertial(np.pi - np.radians(29.8) + rate * t)
        return np.array([np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x, z])

    assert angle.size == time.size
    position = np.stack([fixed(t) for t in time])
    velocity = np.stack([(fixed(t + 0.5) - fixed(t - 0.5)) for t in time])
    return line_of_sight.Orbit(time, position, velocity)


def jittering(orbit):
    time = orbit.time
    return line_of_sight.orbital_attitude(
        orbit, roll=2e-4 * np.sin(time / 3.0), pitch=3e-4 * np.cos(time / 5.0), yaw=1e-3 * np.sin(time / 7.0)
    )


@pytest.fixture(scope="module")
def pointing():
    orbit = an_orbit()
    return line_of_sight.pointing_of_lines(
        (np.arange(LINES) - LINES / 2) * PERIOD, orbit=orbit, attitude=jittering(orbit), camera=CAMERA
    )


def relief(longitude, latitude):
    """Ridges of 1400 m, five kilometers apart and more."""
    x, y = longitude * 96_000.0, latitude * 111_000.0
    return 900.0 + 700.0 * np.sin(x / 2600.0) * np.cos(y / 3100.0)


@pytest.fixture(scope="module")
def surface(pointing):
    flat = over(pointing, lambda longitude, latitude: 0.0 * longitude)
    return flat._replace(height=relief(*terrain.positions(flat.geobox)).astype(np.float32))


def over(pointing, height):
    """A grid of 0.0005 degree around what the pointing sees."""
    look = [TO_GEODETIC.transform(*ray(pointing, line, pixel)(0.0)) for line in (0, LINES - 1) for pixel in (0, 255)]
    west, south = (np.floor(min(place[k] for place in look) * 10 - 1) / 10 for k in (0, 1))
    east, north = (np.ceil(max(place[k] for place in look) * 10 + 1) / 10 for k in (0, 1))
    shape = round((north - south) / 5e-4), round((east - west) / 5e-4)
    geobox = GeoBox(shape, Affine(5e-4, 0, west, 0, -5e-4, north), "EPSG:4326")
    return terrain.Terrain(height(*terrain.positions(geobox)).astype(np.float32), geobox)


def ray(pointing, line, pixel):
    """Point of a ray on the ellipsoid's surface for an excess distance of 0, found by bisection on the height."""
    camera = pointing.camera
    view = np.array([0.0, (pixel - camera.principal_pixel) * camera.pixel_pitch, camera.focal_length])
    direction = pointing.axes[line] @ view
    direction /= np.linalg.norm(direction)
    origin = pointing.origin[line]
    on = optimize.brentq(lambda t: TO_GEODETIC.transform(*(origin + t * direction))[2], 3e5, 8e5, xtol=1e-3)
    return lambda back: origin + (on - back) * direction


def met(pointing, line, pixel):
    """Longitude, latitude and height of the first meeting with the relief, by small steps and Brent's method."""
    point = ray(pointing, line, pixel)

    def above(back):
        longitude, latitude, height = TO_GEODETIC.transform(*point(back))
        return height - relief(longitude, latitude)

    steps = np.arange(2200.0, -1.0, -20.0)
    places = TO_GEODETIC.transform(*np.stack([point(back) for back in steps]).T)
    heights = places[2] - relief(places[0], places[1])
    first = int(np.flatnonzero(heights <= 0)[0])
    back = optimize.brentq(above, steps[first], steps[first - 1], xtol=1e-4)
    return TO_GEODETIC.transform(*point(back))


def apart(first, second):
    return np.linalg.norm(np.array(TO_EARTH.transform(*first)) - np.array(TO_EARTH.transform(*second)))


def test_lines_of_sight_meet_the_relief_where_rays_followed_step_by_step_do(pointing, surface):
    found = line_of_sight.ground(pointing, surface)
    assert (found.code == terrain.MET).all()
    misses = [
        apart((found.longitude[at], found.latitude[at], found.height[at]), met(pointing, *at))
        for at in [(0, 0), (17, 60), (40, 255), (77, 128), (101, 3), (LINES - 1, 200)]
    ]
    assert max(misses) < 12.5  # a twentieth of a pixel of 250 m


def test_places_on_the_relief_return_to_their_pixel(pointing, surface):
    found = line_of_sight.ground(pointing, surface)
    places = ellipsoid.to_ecef(found.latitude, found.longitude, found.height)
    position = line_of_sight.locate(places.reshape(-1, 3), pointing)
    line, pixel = np.mgrid[:LINES, : CAMERA.pixels]
    assert np.abs(position.line.reshape(line.shape) - line).max() < 0.02
    assert np.abs(position.pixel.reshape(line.shape) - pixel).max() < 0.02


def test_terrain_parallax_is_taken_off_which_edge_positions_leave(pointing, surface):
    """At 20 to 25 degree off nadir 1400 m of relief move the image by 600 m, more than two pixels."""
    found = line_of_sight.ground(pointing, surface)
    level = over(pointing, lambda longitude, latitude: 0.0 * longitude)
    sea = line_of_sight.ground(pointing, level)
    edges = [layer[:, [0, -1]] for layer in (sea.longitude, sea.latitude)]
    vectors = geolocation.unit_vectors(found.longitude.ravel(), found.latitude.ravel())
    by_edges = geolocation.locate(vectors, edge_longitude=edges[0], edge_latitude=edges[1], pixels=CAMERA.pixels)
    pixel = np.tile(np.arange(CAMERA.pixels), LINES)
    assert np.abs(by_edges.pixel - pixel).max() > 1.5
    places = ellipsoid.to_ecef(found.latitude, found.longitude, found.height)
    ours = line_of_sight.locate(places.reshape(-1, 3), pointing)
    assert np.abs(ours.pixel - pixel).max() < 0.02


def test_nadir_view_looks_along_the_axis_of_the_orbit():
    orbit = an_orbit()
    still = np.zeros(orbit.time.size)
    attitude = line_of_sight.orbital_attitude(orbit, roll=still, pitch=still, yaw=still)
    camera = line_of_sight.LineCamera(0.02, 1e-5, pixels=3, principal_pixel=1.0)
    found = line_of_sight.pointing_of_lines(np.array([0.0]), orbit=orbit, attitude=attitude, camera=camera)
    at = orbit.position[20]
    np.testing.assert_allclose(found.axes[0][:, 2], -at / np.linalg.norm(at), atol=1e-9)
    assert found.axes[0][:, 0] @ orbit.velocity[20] > 0.99 * np.linalg.norm(orbit.velocity[20])
    assert np.linalg.det(found.axes[0]) == pytest.approx(1.0)


def test_gaps_of_the_attitude_that_are_too_long_leave_their_lines_unknown(surface):
    orbit = an_orbit()
    attitude = jittering(orbit)
    quaternion = attitude.quaternion.copy()
    quaternion[[18, 19, 20]] = np.nan  # -2 to 0 s: the neighbors are four seconds apart
    quaternion[22] = np.nan
    time = (np.arange(LINES) - LINES / 2) * PERIOD
    made = line_of_sight.pointing_of_lines(
        time, orbit=orbit, attitude=attitude._replace(quaternion=quaternion), camera=CAMERA
    )
    np.testing.assert_array_equal(made.known, time > 1.0 - 1e-9)
    found = line_of_sight.ground(made, surface)
    assert np.isnan(found.longitude[~made.known]).all()
    assert np.isfinite(found.longitude[made.known]).all()
    whole = line_of_sight.pointing_of_lines(time, orbit=orbit, attitude=attitude, camera=CAMERA)
    seen = line_of_sight.ground(whole, surface)
    places = ellipsoid.to_ecef(seen.latitude, seen.longitude, seen.height)[:, 100]
    position = line_of_sight.locate(places, made)
    assert (position.line[: np.flatnonzero(made.known)[0] - 1] == line_of_sight.FAR).all()
    assert position.line[-5] == pytest.approx(LINES - 5, abs=0.5)


def test_a_sign_of_quaternions_that_jumps_changes_nothing(pointing):
    orbit = an_orbit()
    attitude = jittering(orbit)
    turned = attitude.quaternion * np.where(np.arange(orbit.time.size) % 2, 1.0, -1.0)[:, None]
    made = line_of_sight.pointing_of_lines(
        (np.arange(LINES) - LINES / 2) * PERIOD,
        orbit=orbit,
        attitude=attitude._replace(quaternion=turned),
        camera=CAMERA,
    )
    np.testing.assert_allclose(made.axes, pointing.axes, atol=1e-12)


def test_blocks_of_lines_give_what_the_whole_gives(pointing, surface):
    whole = line_of_sight.ground(pointing, surface)
    parts = [line_of_sight.ground(pointing, surface, lines=part) for part in (slice(0, 50), slice(50, None))]
    np.testing.assert_array_equal(whole.longitude, np.concatenate([part.longitude for part in parts]))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda o, a: (o, a._replace(quaternion=a.quaternion * 1.1)), "attitude_invalid"),
        (lambda o, a: (o, a._replace(time=a.time[::-1])), "attitude_invalid"),
        (lambda o, a: (o._replace(time=o.time * 0), a), "attitude_invalid"),
        (lambda o, a: (o, a._replace(quaternion=a.quaternion * np.nan)), "geolocation_missing"),
        (lambda o, a: (o._replace(time=o.time + 500.0), a), "geolocation_missing"),
    ],
)
def test_orientation_that_cannot_be_right_is_refused(change, cause):
    orbit = an_orbit()
    changed, attitude = change(orbit, jittering(orbit))
    with pytest.raises(BadInputError) as refusal:
        line_of_sight.pointing_of_lines(np.zeros(3), orbit=changed, attitude=attitude, camera=CAMERA)
    assert refusal.value.cause == cause


def test_voids_and_the_end_of_the_terrain_are_told_apart(pointing, surface):
    height = surface.height.copy()
    found = line_of_sight.ground(pointing, surface)
    rows, columns = terrain.pixel_of(surface.geobox, found.longitude, found.latitude)
    height[int(rows[60, 100]) - 3 : int(rows[60, 100]) + 4, int(columns[60, 100]) - 3 : int(columns[60, 100]) + 4] = (
        np.nan
    )
    holed = line_of_sight.ground(pointing, surface._replace(height=height))
    assert holed.code[60, 100] == terrain.VOID
    assert np.isnan(holed.height[60, 100])
    assert (holed.code == terrain.MET).mean() > 0.95
    half = columns[0].mean()
    cut = GeoBox((surface.height.shape[0], int(half)), surface.geobox.transform, "EPSG:4326")
    narrow = line_of_sight.ground(pointing, terrain.Terrain(np.ascontiguousarray(surface.height[:, : int(half)]), cut))
    assert 0.2 < (narrow.code == terrain.OUTSIDE).mean() < 0.8


def test_heights_above_the_geoid_become_ellipsoidal_and_unknown_datums_are_refused():
    geobox = GeoBox((4, 4), Affine(0.01, 0, 106.5, 0, -0.01, 29.6), "EPSG:4326")
    values = np.full((4, 4), 338.7)
    made = terrain.terrain_from_heights(values, geobox, datum="egm96")
    np.testing.assert_allclose(made.height, 300.0, atol=0.5)
    same = terrain.terrain_from_heights(values, geobox, datum="ellipsoid")
    np.testing.assert_allclose(same.height, 338.7, rtol=1e-6)
    for datum, heights, cause in ((None, values, "vertical_datum_missing"), ("egm96", values * np.nan, "dem_missing")):
        with pytest.raises(BadInputError) as refusal:
            terrain.terrain_from_heights(heights, geobox, datum=datum)
        assert refusal.value.cause == cause


def test_sampled_heights_are_bilinear_and_end_half_a_pixel_outside():
    y, x = np.mgrid[:5, :6]
    geobox = GeoBox((5, 6), Affine(10, 0, 0, 0, -10, 50), "EPSG:32648")
    made = terrain.Terrain((3.0 * y + 2.0 * x).astype(np.float32), geobox)
    at = np.array([1.25, 4.0, -0.4, 4.6, 2.0]), np.array([2.5, 5.0, 0.0, 1.0, np.nan])
    np.testing.assert_allclose(terrain.sampled(made, *at), [8.75, 22.0, 0.0, np.nan, np.nan])
