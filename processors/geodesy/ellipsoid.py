"""The WGS 84 ellipsoid: geodetic and Earth-centred Earth-fixed coordinates, local axes, tangent points."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors import constants
from processors.arrays import FloatArray


class Geodetic(NamedTuple):
    """Geodetic coordinates.

    Attributes
    ----------
    latitude : FloatArray
        Geodetic latitude [degree], positive north.
    longitude : FloatArray
        Longitude [degree], -180 to 180, positive east.
    height : FloatArray
        Height above the ellipsoid [m].
    """

    latitude: FloatArray
    longitude: FloatArray
    height: FloatArray


def prime_vertical_radius(latitude: npt.ArrayLike) -> FloatArray:
    """Radius of curvature of the prime vertical.

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].

    Returns
    -------
    FloatArray
        Radius [m]. NIMA TR8350.2, equation 4-15.
    """
    sine = np.sin(np.deg2rad(np.asarray(latitude, dtype=np.float64)))
    return np.asarray(constants.WGS84_SEMI_MAJOR / np.sqrt(1.0 - constants.WGS84_ECCENTRICITY_SQUARED * sine**2))


def meridian_radius(latitude: npt.ArrayLike) -> FloatArray:
    """Radius of curvature of the meridian.

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].

    Returns
    -------
    FloatArray
        Radius [m].
    """
    normal = prime_vertical_radius(latitude)
    return np.asarray(
        normal**3 * (1.0 - constants.WGS84_ECCENTRICITY_SQUARED) / constants.WGS84_SEMI_MAJOR**2, dtype=np.float64
    )


def to_ecef(latitude: npt.ArrayLike, longitude: npt.ArrayLike, height: npt.ArrayLike) -> FloatArray:
    """Earth-centred Earth-fixed position of geodetic coordinates.

    Parameters
    ----------
    latitude, longitude : array_like
        Geodetic latitude and longitude [degree].
    height : array_like
        Height above the ellipsoid [m].

    Returns
    -------
    FloatArray
        Position [m], shape (..., 3). NIMA TR8350.2, equation 4-14.
    """
    up = east_north_up(latitude, longitude)[..., 2, :]
    normal = prime_vertical_radius(latitude)
    above = np.asarray(height, dtype=np.float64)
    shrink = 1.0 - constants.WGS84_ECCENTRICITY_SQUARED
    radial = np.stack(np.broadcast_arrays(normal + above, normal + above, normal * shrink + above), axis=-1)
    return np.asarray(radial * up, dtype=np.float64)


def from_ecef(position: FloatArray, *, iterations: int = 4) -> Geodetic:
    """Geodetic coordinates of an Earth-fixed position.

    Bowring's fixed point on the reduced latitude, which converges below a nanometre in a few rounds between the
    centre's evolute and the navigation satellites.

    Parameters
    ----------
    position : FloatArray
        Earth-centred Earth-fixed position [m], shape (..., 3).
    iterations : int
        Rounds of the fixed point [1].

    Returns
    -------
    Geodetic
        Latitude and longitude [degree] and height [m], shape (...).
    """
    x, y, z = np.moveaxis(np.asarray(position, dtype=np.float64), -1, 0)
    axis_distance = np.hypot(x, y)
    major, minor = constants.WGS84_SEMI_MAJOR, constants.WGS84_SEMI_MINOR
    first = constants.WGS84_ECCENTRICITY_SQUARED
    second = first / (1.0 - first)
    reduced = np.arctan2(z * major, axis_distance * minor)
    for _ in range(iterations):
        latitude = np.arctan2(
            z + second * minor * np.sin(reduced) ** 3, axis_distance - first * major * np.cos(reduced) ** 3
        )
        reduced = np.arctan2(minor * np.sin(latitude), major * np.cos(latitude))
    foot_axis, foot_z = major * np.cos(reduced), minor * np.sin(reduced)
    height = (axis_distance - foot_axis) * np.cos(latitude) + (z - foot_z) * np.sin(latitude)
    return Geodetic(np.rad2deg(latitude), np.rad2deg(np.arctan2(y, x)), height)


def east_north_up(latitude: npt.ArrayLike, longitude: npt.ArrayLike) -> FloatArray:
    """Local axes in Earth-fixed components.

    Parameters
    ----------
    latitude, longitude : array_like
        Geodetic latitude and longitude [degree].

    Returns
    -------
    FloatArray
        Unit vectors east, north, up as rows [1], shape (..., 3, 3).
    """
    phi, lam = np.broadcast_arrays(
        np.deg2rad(np.asarray(latitude, dtype=np.float64)), np.deg2rad(np.asarray(longitude, dtype=np.float64))
    )
    zero = np.zeros_like(phi)
    east = np.stack([-np.sin(lam), np.cos(lam), zero], axis=-1)
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)], axis=-1)
    up = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    return np.stack([east, north, up], axis=-2)


def tangent_point(start: FloatArray, end: FloatArray) -> FloatArray:
    """Point of the straight line through two positions that is tangent to an ellipsoid concentric with WGS 84.

    Stretching the polar axis turns the ellipsoid into a sphere, where the tangent point is the foot of the
    perpendicular; the stretch keeps lines straight. Exact where the line touches the ellipsoid itself.

    Parameters
    ----------
    start, end : FloatArray
        Earth-fixed positions [m], shape (..., 3).

    Returns
    -------
    FloatArray
        Earth-fixed tangent point [m], shape (..., 3).
    """
    stretch = np.array([1.0, 1.0, constants.WGS84_SEMI_MAJOR / constants.WGS84_SEMI_MINOR])
    origin, direction = start * stretch, (end - start) * stretch
    along = -np.sum(origin * direction, axis=-1) / np.sum(direction**2, axis=-1)
    return np.asarray((origin + along[..., None] * direction) / stretch, dtype=np.float64)


def azimuth(latitude: npt.ArrayLike, longitude: npt.ArrayLike, direction: FloatArray) -> FloatArray:
    """Azimuth of a direction, clockwise from true north.

    Parameters
    ----------
    latitude, longitude : array_like
        Geodetic latitude and longitude [degree].
    direction : FloatArray
        Earth-fixed vector of any length [1], shape (..., 3).

    Returns
    -------
    FloatArray
        Azimuth [degree], 0 to 360.
    """
    local = np.einsum("...ij,...j->...i", east_north_up(latitude, longitude), direction)
    return np.asarray(np.rad2deg(np.arctan2(local[..., 0], local[..., 1])) % 360.0, dtype=np.float64)
