"""CCSDS time codes (301.0-B): unsegmented (CUC) and day segmented (CDS)."""

import numpy as np
import numpy.typing as npt

from processors.arrays import ByteArray, FloatArray, IntArray

CUC_FRACTION = 1 << 24
CDS_EPOCH = np.datetime64("1958-01-01T00:00:00", "us")


def integers_from_octets(octets: ByteArray, *, signed: bool = False) -> IntArray:
    """Integers of any width up to eight octets, most significant octet first.

    Parameters
    ----------
    octets : ByteArray
        Octets, the last dimension running over one integer [1].
    signed : bool
        Whether they are two's complement.

    Returns
    -------
    IntArray
        Integers, shape without the last dimension [1].
    """
    value = np.zeros(octets.shape[:-1], dtype=np.int64)
    for i in range(octets.shape[-1]):
        value = value << 8 | octets[..., i]
    spare = 64 - 8 * octets.shape[-1]
    return value << spare >> spare if signed else value


def octets_from_integers(values: IntArray, *, width: int) -> ByteArray:
    """Inverse of `integers_from_octets`, two's complement where a value is negative.

    Parameters
    ----------
    values : IntArray
        Integers [1].
    width : int
        Octets of each [1].

    Returns
    -------
    ByteArray
        Octets, shape (..., width) [1].

    Raises
    ------
    OverflowError
        A value fits neither the signed nor the unsigned range.
    """
    values = np.asarray(values, dtype=np.int64)
    if width < 8 and values.size and (values.min() < -(1 << (8 * width - 1)) or values.max() >= 1 << (8 * width)):
        raise OverflowError(f"a value does not fit {width} octets")
    shifts = 8 * np.arange(width - 1, -1, -1)
    return (values[..., np.newaxis] >> shifts & 0xFF).astype(np.uint8)


def ticks_from_cuc(octets: ByteArray) -> IntArray:
    """Time of a P-field-less CUC of four octets of seconds and three of fraction (CCSDS 301.0-B 3.2).

    Parameters
    ----------
    octets : ByteArray
        Codes, shape (..., 7) [1].

    Returns
    -------
    IntArray
        Time since the epoch of the clock in units of 2^-24 s [1].
    """
    return integers_from_octets(octets)


def cuc_from_seconds(seconds: FloatArray) -> ByteArray:
    """Code of a time, rounded to 2^-24 s.

    Parameters
    ----------
    seconds : FloatArray
        Time since the epoch of the clock [s].

    Returns
    -------
    ByteArray
        Codes, shape (..., 7) [1].
    """
    return octets_from_integers(ticks_from_seconds(seconds), width=7)


def ticks_from_seconds(seconds: FloatArray) -> IntArray:
    """Time in units of 2^-24 s; the scaling is a power of two and loses nothing.

    Parameters
    ----------
    seconds : FloatArray
        Time [s].

    Returns
    -------
    IntArray
        Time in units of 2^-24 s [1].
    """
    return np.rint(np.asarray(seconds, dtype=np.float64) * CUC_FRACTION).astype(np.int64)


def seconds_from_ticks(ticks: IntArray) -> FloatArray:
    """Time in seconds of a time in units of 2^-24 s.

    Parameters
    ----------
    ticks : IntArray
        Time in units of 2^-24 s [1].

    Returns
    -------
    FloatArray
        Time [s].
    """
    return np.asarray(ticks, dtype=np.float64) / CUC_FRACTION


def utc_from_cds(octets: ByteArray) -> npt.NDArray[np.datetime64]:
    """UTC of a CDS of two octets of days, four of milliseconds and two of microseconds (CCSDS 301.0-B 3.3).

    Parameters
    ----------
    octets : ByteArray
        Codes, shape (..., 8) [1].

    Returns
    -------
    ndarray of datetime64[us]
        UTC.
    """
    days = integers_from_octets(octets[..., :2])
    milliseconds = integers_from_octets(octets[..., 2:6])
    microseconds = integers_from_octets(octets[..., 6:8])
    elapsed = (days * 86_400_000 + milliseconds) * 1000 + microseconds
    return CDS_EPOCH + elapsed.astype("timedelta64[us]")
