"""Where the lines of a pushbroom imager look: orbit, attitude and camera against terrain.

Camera axes: x along the flight, z along the optical axis toward the ground, y completes the right-handed set; pixels
count up with y. Body axes are the camera's before its boresight rotation. Heights are above the WGS 84 ellipsoid. Light
time and refraction are left out: aberration by the velocity of the satellite moves a nadir view of 500 km by 13 m, a
twentieth of a pixel, and refraction by less than 2 m.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import interpolate
from scipy.spatial import transform as rotations

from processors import constants
from processors.arrays import BoolArray, FloatArray
from processors.geodesy import ellipsoid
from processors.imagery import geolocation, terrain
from processors.quality import BadInputError

FAR = -1e6
"""Line and pixel of places the imager did not look at [1]."""

_ITERATIONS = 8


@dataclass(frozen=True)
class LineCamera:
    """Interior orientation of a line camera and its mounting.

    Parameters
    ----------
    focal_length : float
        Focal length [m].
    pixel_pitch : float
        Distance of the detectors [m].
    pixels : int
        Detectors.
    principal_pixel : float
        Position of the optical axis, 0 at the center of the first detector [1].
    boresight : tuple of float
        Rotation of the camera against the body about its x, y and z axis, in this order [rad].
    """

    focal_length: float
    pixel_pitch: float
    pixels: int = 2048
    principal_pixel: float = 1023.5
    boresight: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class GapParameters:
    """Gaps of orbit and attitude that are bridged.

    Parameters
    ----------
    longest_orbit : float
        Longest gap of the orbit, bridged by a cubic through position and velocity [s].
    longest_attitude : float
        Longest gap of the attitude, bridged by the great circle between quaternions [s].
    norm_tolerance : float
        Deviation of a quaternion's norm from one beyond which it is no rotation [1].
    """

    longest_orbit: float = 10.0
    longest_attitude: float = 2.5
    norm_tolerance: float = 1e-3


class Orbit(NamedTuple):
    """Positions of the satellite.

    Attributes
    ----------
    time : FloatArray
        GPS time, ascending (n,) [s].
    position, velocity : FloatArray
        Earth-fixed (n, 3) [m], [m s-1].
    """

    time: FloatArray
    position: FloatArray
    velocity: FloatArray


class Attitude(NamedTuple):
    """Attitude of the satellite's body.

    Attributes
    ----------
    time : FloatArray
        GPS time, ascending (n,) [s].
    quaternion : FloatArray
        Rotation from body axes to Earth-fixed axes, scalar part first (n, 4) [1]; NaN where unknown.
    """

    time: FloatArray
    quaternion: FloatArray


class Pointing(NamedTuple):
    """Exterior orientation of every line.

    Attributes
    ----------
    origin : FloatArray
        Earth-fixed position of the camera (line, 3) [m].
    axes : FloatArray
        Camera axes as columns, Earth-fixed (line, 3, 3) [1].
    known : BoolArray
        False where orbit or attitude have a gap too long to bridge, or end (line,).
    camera : LineCamera
        The camera.
    """

    origin: FloatArray
    axes: FloatArray
    known: BoolArray
    camera: LineCamera


class ViewAngles(NamedTuple):
    """Direction from places to the imager.

    Attributes
    ----------
    zenith : FloatArray
        Angle from the normal of the ellipsoid (place,) [degree].
    azimuth : FloatArray
        Clockwise from north (place,) [degree].
    """

    zenith: FloatArray
    azimuth: FloatArray


class Ground(NamedTuple):
    """Places the pixels look at.

    Attributes
    ----------
    longitude, latitude : FloatArray
        Geodetic position (line, pixel) [degree], NaN where unknown.
    height : FloatArray
        Height above the ellipsoid (line, pixel) [m].
    code : ndarray of uint8
        Outcome as in `terrain` (line, pixel).
    """

    longitude: FloatArray
    latitude: FloatArray
    height: FloatArray
    code: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def pointing_of_lines(
    line_time: FloatArray,
    *,
    orbit: Orbit,
    attitude: Attitude,
    camera: LineCamera,
    parameters: GapParameters | None = None,
) -> Pointing:
    """Exterior orientation of the lines of a strip.

    Parameters
    ----------
    line_time : FloatArray
        GPS time of the lines (line,) [s].
    orbit : Orbit
        Positions around that time.
    attitude : Attitude
        Attitude around that time.
    camera : LineCamera
        The camera.
    parameters : GapParameters, optional
        What gaps are bridged.

    Returns
    -------
    Pointing
        Position and axes of every line.

    Raises
    ------
    BadInputError
        `attitude_invalid` where quaternions are no rotations or out of order, `geolocation_missing` where no line is
        covered by orbit and attitude.
    """
    chosen = parameters or GapParameters()
    usable = np.isfinite(attitude.quaternion).all(axis=1)
    time, quaternion = attitude.time[usable], attitude.quaternion[usable]
    norm = np.linalg.norm(quaternion, axis=1)
    if np.any(np.abs(norm - 1.0) > chosen.norm_tolerance):
        raise BadInputError("attitude_invalid", "attitude quaternions are not of norm one")
    for name, epochs in (("attitude", time), ("orbit", orbit.time)):
        if np.any(np.diff(epochs) <= 0):
            raise BadInputError("attitude_invalid", f"times of the {name} do not ascend")
        if epochs.size < 2:
            raise BadInputError("geolocation_missing", f"fewer than two samples of the {name}")
    known = _covered(line_time, time, chosen.longest_attitude)
    known &= _covered(line_time, orbit.time, chosen.longest_orbit)
    if not known.any():
        raise BadInputError("geolocation_missing", "orbit and attitude cover no line of the strip")
    origin = interpolate.CubicHermiteSpline(orbit.time, orbit.position, orbit.velocity)(line_time)
    turns = rotations.Slerp(time, rotations.Rotation.from_quat(np.roll(quaternion, -1, axis=1)))
    body = turns(np.clip(line_time, time[0], time[-1]))
    mounting = rotations.Rotation.from_euler("xyz", camera.boresight)
    return Pointing(np.asarray(origin), (body * mounting).as_matrix(), known, camera)


def _covered(wanted: FloatArray, epochs: FloatArray, longest: float) -> BoolArray:
    """Times that lie between epochs at most the longest gap apart."""
    after = np.searchsorted(epochs, wanted, side="left")
    inside = (wanted >= epochs[0]) & (wanted <= epochs[-1])
    after = np.clip(after, 1, epochs.size - 1)
    bridged = (epochs[after] - epochs[after - 1] <= longest) | (epochs[after] == wanted)
    return np.asarray(inside & bridged, dtype=np.bool_)


def orbital_attitude(orbit: Orbit, *, roll: FloatArray, pitch: FloatArray, yaw: FloatArray) -> Attitude:
    """Attitude of a satellite that is turned from its orbital axes by small angles.

    Orbital axes: z to the center of the Earth, y against the orbital angular momentum, x completes them. The
    rotation is about x, then y, then z of the body.

    Parameters
    ----------
    orbit : Orbit
        Positions, one for every attitude.
    roll, pitch, yaw : FloatArray
        Angles (n,) [rad].

    Returns
    -------
    Attitude
        Attitude at the times of the orbit.
    """
    rate = np.array([0.0, 0.0, constants.EARTH_ROTATION_RATE])
    velocity = orbit.velocity + np.cross(rate, orbit.position)
    down = -orbit.position / np.linalg.norm(orbit.position, axis=1, keepdims=True)
    across = np.cross(down, velocity)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack([np.cross(across, down), across, down], axis=-1)
    turned = rotations.Rotation.from_matrix(axes) * rotations.Rotation.from_euler(
        "xyz", np.stack([roll, pitch, yaw], axis=-1)
    )
    return Attitude(orbit.time, np.roll(turned.as_quat(), 1, axis=1))


def ground(pointing: Pointing, surface: terrain.Terrain, *, lines: slice = slice(None)) -> Ground:
    """Places the pixels of lines look at: the first meeting of their lines of sight with the terrain.

    Parameters
    ----------
    pointing : Pointing
        Exterior orientation.
    surface : terrain.Terrain
        The terrain.
    lines : slice
        Lines wanted.

    Returns
    -------
    Ground
        Position, height and outcome of every pixel; pixels of lines without orientation are unknown.
    """
    camera = pointing.camera
    across = (np.arange(camera.pixels) - camera.principal_pixel) * camera.pixel_pitch
    view = np.stack([np.zeros(camera.pixels), across, np.full(camera.pixels, camera.focal_length)], axis=-1)
    direction = np.einsum("lij,pj->lpi", pointing.axes[lines], view)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    direction[~pointing.known[lines]] = np.nan
    origin = pointing.origin[lines][:, None, :]
    high, low = float(np.nanmax(surface.height)) + 1.0, float(np.nanmin(surface.height)) - 1.0
    ends = [_at_height(origin, direction, level) for level in (high, low)]
    met = terrain.meet(surface, (*ends[0], high), (*ends[1], low))
    share = met.share.reshape(direction.shape[:2])
    turn = (ends[1][0] - ends[0][0] + 180.0) % 360.0 - 180.0
    longitude = (ends[0][0] + share * turn + 180.0) % 360.0 - 180.0
    latitude = ends[0][1] + share * (ends[1][1] - ends[0][1])
    return Ground(longitude, latitude, high + share * (low - high), met.code.reshape(share.shape))


def _at_height(origin: FloatArray, direction: FloatArray, height: float) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude where rays come down to a height, NaN where they miss the Earth."""
    axes = np.array([constants.WGS84_SEMI_MAJOR, constants.WGS84_SEMI_MAJOR, constants.WGS84_SEMI_MINOR]) + height
    start, way = np.broadcast_arrays(origin / axes, direction / axes)
    a, b, c = (way**2).sum(-1), (start * way).sum(-1), (start**2).sum(-1) - 1.0
    with np.errstate(invalid="ignore"):
        distance = (-b - np.sqrt(b**2 - a * c)) / a
    place = ellipsoid.from_ecef(origin + distance[..., None] * direction)
    return place.longitude, place.latitude


def locate(places: FloatArray, pointing: Pointing) -> geolocation.StripPosition:
    """Strip position of places on the ground, the inverse of `ground`; terrain in the way is not looked at.

    Parameters
    ----------
    places : FloatArray
        Earth-fixed positions (place, 3) [m], NaN where unknown.
    pointing : Pointing
        Exterior orientation.

    Returns
    -------
    geolocation.StripPosition
        Fractional line and pixel; `FAR` for places that are unknown or fall into a gap of the orientation.
    """
    camera = pointing.camera
    count = pointing.origin.shape[0]
    line = np.full(places.shape[0], (count - 1) / 2.0)
    for _ in range(_ITERATIONS):
        lower = np.clip(np.floor(np.nan_to_num(line)), 0, count - 2).astype(np.int64)
        here, there = (_in_camera(places, pointing, lower + step) for step in (0, 1))
        ahead = here[:, 0] / here[:, 2], there[:, 0] / there[:, 2]
        # a line is where the place lies in the plane of the detectors; between lines that angle is linear
        line = lower + ahead[0] / (ahead[0] - ahead[1])
        line = np.clip(line, -count, 2.0 * count)
    part = (line - lower)[:, None]
    view = (1.0 - part) * here + part * there
    pixel = camera.principal_pixel + view[:, 1] / view[:, 2] * camera.focal_length / camera.pixel_pitch
    known = pointing.known[lower] & pointing.known[lower + 1] & np.isfinite(line + pixel) & (view[:, 2] > 0)
    return geolocation.StripPosition(np.where(known, line, FAR), np.where(known, pixel, FAR))


def view_angles(places: FloatArray, pointing: Pointing, line: FloatArray) -> ViewAngles:
    """Direction in which the imager stands, as seen from the ground.

    Parameters
    ----------
    places : FloatArray
        Earth-fixed positions (place, 3) [m].
    pointing : Pointing
        Exterior orientation.
    line : FloatArray
        Line that shows each place (place,), as `locate` returns it [1].

    Returns
    -------
    ViewAngles
        Angles, NaN where the place is not seen.
    """
    count = pointing.origin.shape[0]
    lower = np.clip(np.floor(line), 0, count - 2).astype(np.int64)
    part = np.clip(line - lower, 0.0, 1.0)[:, None]
    eye = (1.0 - part) * pointing.origin[lower] + part * pointing.origin[lower + 1]
    place = ellipsoid.from_ecef(places)
    local = np.einsum("pij,pj->pi", ellipsoid.east_north_up(place.latitude, place.longitude), eye - places)
    zenith = np.degrees(np.arctan2(np.hypot(local[:, 0], local[:, 1]), local[:, 2]))
    azimuth = np.degrees(np.arctan2(local[:, 0], local[:, 1])) % 360.0
    seen = line > FAR
    return ViewAngles(np.where(seen, zenith, np.nan), np.where(seen, azimuth, np.nan))


def _in_camera(places: FloatArray, pointing: Pointing, line: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    away = places - pointing.origin[line]
    return np.asarray(np.einsum("pij,pi->pj", pointing.axes[line], away))
