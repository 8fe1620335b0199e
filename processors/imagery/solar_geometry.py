"""Where the sun stands, to 0.01 degree between 1950 and 2050."""

from typing import NamedTuple

import numpy as np

from processors.arrays import FloatArray

_J2000 = np.datetime64("2000-01-01T12:00:00", "ns")


class SunPosition(NamedTuple):
    """Direction and distance of the sun."""

    zenith: FloatArray
    """Zenith angle without refraction [degree]."""
    azimuth: FloatArray
    """Azimuth clockwise from north [degree]."""
    distance: float
    """Distance from the earth [au]."""


def sun_position(time: np.datetime64, longitude: FloatArray, latitude: FloatArray) -> SunPosition:
    """Position of the sun by the low-precision formulas of the Astronomical Almanac (section C).

    Parameters
    ----------
    time : np.datetime64
        Time (UTC, taken as UT1).
    longitude, latitude : FloatArray
        Geodetic position [degree].

    Returns
    -------
    SunPosition
        Angles in the shape of the position [degree] and the distance [au].
    """
    days = float((time.astype("datetime64[ns]") - _J2000) / np.timedelta64(1, "D"))
    anomaly = np.radians(357.528 + 0.9856003 * days)
    mean_longitude = 280.460 + 0.9856474 * days
    ecliptic = np.radians(mean_longitude + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2.0 * anomaly))
    obliquity = np.radians(23.439 - 4e-7 * days)
    ascension = np.arctan2(np.cos(obliquity) * np.sin(ecliptic), np.cos(ecliptic))
    declination = np.arcsin(np.sin(obliquity) * np.sin(ecliptic))
    sidereal = np.radians((18.697374558 + 24.06570982441908 * days) * 15.0 % 360.0)
    hour = sidereal + np.radians(longitude) - ascension
    zenith, azimuth = _horizontal(hour, declination, np.radians(latitude))
    distance = 1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2.0 * anomaly)
    return SunPosition(zenith, azimuth, float(distance))


def _horizontal(hour: FloatArray, declination: float, latitude: FloatArray) -> tuple[FloatArray, FloatArray]:
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour)
    zenith = np.degrees(np.arccos(np.clip(up, -1.0, 1.0)))
    return zenith, np.degrees(np.arctan2(east, north)) % 360.0
