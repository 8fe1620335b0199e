"""Normal gravity of WGS 84 and geopotential height."""

import numpy as np
import numpy.typing as npt

from processors import constants
from processors.arrays import FloatArray

GRAVITY_RATIO = (
    constants.EARTH_ROTATION_RATE**2 * constants.WGS84_SEMI_MAJOR**2 * constants.WGS84_SEMI_MINOR / constants.EARTH_GM
)
"""Ratio of centrifugal to gravitational acceleration at the equator, m [1]."""


def surface(latitude: npt.ArrayLike) -> FloatArray:
    """Normal gravity on the ellipsoid (Somigliana's closed formula).

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].

    Returns
    -------
    FloatArray
        Gravity [m s-2]. NIMA TR8350.2, equation 4-1.
    """
    sine_squared = np.sin(np.deg2rad(np.asarray(latitude, dtype=np.float64))) ** 2
    ratio = (
        constants.WGS84_SEMI_MINOR * constants.GRAVITY_POLE / (constants.WGS84_SEMI_MAJOR * constants.GRAVITY_EQUATOR)
        - 1.0
    )
    denominator = np.sqrt(1.0 - constants.WGS84_ECCENTRICITY_SQUARED * sine_squared)
    return np.asarray(constants.GRAVITY_EQUATOR * (1.0 + ratio * sine_squared) / denominator)


def effective_radius(latitude: npt.ArrayLike) -> FloatArray:
    """Radius of the sphere whose inverse-square law has the same vertical gradient of gravity at the surface.

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].

    Returns
    -------
    FloatArray
        Radius [m]; first-order term of NIMA TR8350.2, equation 4-3.
    """
    sine_squared = np.sin(np.deg2rad(np.asarray(latitude, dtype=np.float64))) ** 2
    flattening = constants.WGS84_FLATTENING
    return np.asarray(constants.WGS84_SEMI_MAJOR / (1.0 + flattening + GRAVITY_RATIO - 2.0 * flattening * sine_squared))


def at_altitude(latitude: npt.ArrayLike, altitude: npt.ArrayLike) -> FloatArray:
    """Normal gravity at an altitude.

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].
    altitude : array_like
        Altitude above the geoid [m].

    Returns
    -------
    FloatArray
        Gravity [m s-2].
    """
    reach = effective_radius(latitude)
    return np.asarray(surface(latitude) * (reach / (reach + np.asarray(altitude, dtype=np.float64))) ** 2)


def geopotential_height(latitude: npt.ArrayLike, altitude: npt.ArrayLike) -> FloatArray:
    """Geopotential height of an altitude.

    Parameters
    ----------
    latitude : array_like
        Geodetic latitude [degree].
    altitude : array_like
        Altitude above the geoid [m].

    Returns
    -------
    FloatArray
        Geopotential height [m] of 9.80665 m2 s-2 each: the exact integral of `at_altitude`.
    """
    reach, height = effective_radius(latitude), np.asarray(altitude, dtype=np.float64)
    return np.asarray(surface(latitude) / constants.STANDARD_GRAVITY * reach * height / (reach + height))
