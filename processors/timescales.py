"""GPS time inside, UTC at the edges.

GPS time is counted in seconds since 1980-01-06T00:00:00 UTC, without leap seconds. A float64 holds it to 0.3 us this
century.
"""

import numpy as np
import numpy.typing as npt

from processors.arrays import FloatArray, IntArray

Instants = npt.NDArray[np.datetime64]

GPS_EPOCH = np.datetime64("1980-01-06T00:00:00", "ns")
SECONDS_PER_WEEK = 604_800
NANOSECONDS = 1_000_000_000

# IERS Bulletin C: first UTC day on which GPS - UTC is one second more than before
_LEAP_DAYS = np.array(
    [
        "1981-07-01",
        "1982-07-01",
        "1983-07-01",
        "1985-07-01",
        "1988-01-01",
        "1990-01-01",
        "1991-01-01",
        "1992-07-01",
        "1993-07-01",
        "1994-07-01",
        "1996-01-01",
        "1997-07-01",
        "1999-01-01",
        "2006-01-01",
        "2009-01-01",
        "2012-07-01",
        "2015-07-01",
        "2017-01-01",
    ],
    dtype="datetime64[ns]",
)
_LEAP_COUNT = np.arange(1, _LEAP_DAYS.size + 1)
# the leap second itself is the second before the day begins, so the new count holds from the day on
_LEAP_GPS = (_LEAP_DAYS - GPS_EPOCH).astype(np.int64) // NANOSECONDS + _LEAP_COUNT


def leap_seconds(gps: FloatArray | float) -> IntArray:
    """GPS minus UTC.

    Parameters
    ----------
    gps : FloatArray or float
        GPS time [s].

    Returns
    -------
    IntArray
        Whole seconds GPS is ahead of UTC [s].
    """
    return np.searchsorted(_LEAP_GPS, np.asarray(gps, dtype=np.float64), side="right").astype(np.int64)


def utc_from_gps(gps: FloatArray | float) -> Instants:
    """UTC of a GPS time; a leap second, which has no label of its own here, reads as the second after it.

    Parameters
    ----------
    gps : FloatArray or float
        GPS time [s].

    Returns
    -------
    ndarray of datetime64[ns]
        UTC, same shape.
    """
    seconds = np.asarray(gps, dtype=np.float64)
    whole = np.floor(seconds)
    fraction = np.rint((seconds - whole) * NANOSECONDS).astype(np.int64)
    elapsed = (whole.astype(np.int64) - leap_seconds(seconds)) * NANOSECONDS + fraction
    return GPS_EPOCH + elapsed.astype("timedelta64[ns]")


def gps_from_utc(utc: Instants | np.datetime64) -> FloatArray:
    """GPS time of a UTC instant.

    Parameters
    ----------
    utc : ndarray of datetime64
        UTC.

    Returns
    -------
    FloatArray
        GPS time [s], same shape.
    """
    instants = np.asarray(utc).astype("datetime64[ns]")
    elapsed = (instants - GPS_EPOCH).astype(np.int64)
    leaps = np.searchsorted(_LEAP_DAYS, instants, side="right")
    return np.asarray(elapsed // NANOSECONDS + leaps + (elapsed % NANOSECONDS) / NANOSECONDS, dtype=np.float64)


def week_from_gps(gps: float) -> tuple[int, float]:
    """GPS week, counted without rollover, and the seconds into it.

    Parameters
    ----------
    gps : float
        GPS time [s].

    Returns
    -------
    week : int
        Week [1].
    seconds : float
        Time of week [s].
    """
    week = int(gps // SECONDS_PER_WEEK)
    return week, gps - week * SECONDS_PER_WEEK
