"""Local curvature of the ellipsoid in a plane of given azimuth: the sphere radio occultation works on."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import FloatArray
from processors.geodesy import ellipsoid


class Curvature(NamedTuple):
    """Sphere that touches the ellipsoid.

    Attributes
    ----------
    radius : float
        Radius of curvature in the plane of the azimuth [m].
    center : FloatArray
        Earth-fixed centre of curvature [m], shape (3,).
    """

    radius: float
    center: FloatArray


def radius(latitude: npt.ArrayLike, azimuth: npt.ArrayLike) -> FloatArray:
    """Radius of curvature of the normal section (Euler's formula).

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].
    azimuth : array_like
        Azimuth of the section [degree].

    Returns
    -------
    FloatArray
        Radius [m]: 1/R = cos2(azimuth)/M + sin2(azimuth)/N.
    """
    angle = np.deg2rad(np.asarray(azimuth, dtype=np.float64))
    meridian, prime_vertical = ellipsoid.meridian_radius(latitude), ellipsoid.prime_vertical_radius(latitude)
    return np.asarray(1.0 / (np.cos(angle) ** 2 / meridian + np.sin(angle) ** 2 / prime_vertical))


def sphere(latitude: float, longitude: float, *, azimuth: float) -> Curvature:
    """Sphere that touches the ellipsoid at a point and follows it along an azimuth.

    Parameters
    ----------
    latitude, longitude : float
        Geodetic coordinates of the point [degree].
    azimuth : float
        Azimuth of the plane of propagation [degree].

    Returns
    -------
    Curvature
        Radius [m] and Earth-fixed centre [m]. Syndergaard (1998), section 4.
    """
    local_radius = float(radius(latitude, azimuth))
    up = ellipsoid.east_north_up(latitude, longitude)[2]
    return Curvature(local_radius, ellipsoid.to_ecef(latitude, longitude, 0.0) - local_radius * up)
