"""Half hours of on-board time: what is put together into one set of level-0 products, whichever passes it came with.

A window does not depend on when or in how many pieces its data arrived, so neither do its products. It reads a margin
on both sides, for packets that belong together across its edges.
"""

from typing import NamedTuple

import numpy as np

from processors import timescales
from processors.arrays import ByteArray, FloatArray, IntArray
from processors.ccsds import space_packet, time_code

LENGTH = 1800.0
"""Length of a window [s]."""
MARGIN = 180.0
"""What a window reads beyond its edges: an occultation lasts about two minutes [s]."""


class Window(NamedTuple):
    """A window: GPS time of its first instant, and of the first one after it [s]."""

    start: float
    stop: float

    @property
    def name(self) -> str:
        """Date, hour and minute of the start in GPS time, such as 20240515t0330."""
        instant = timescales.GPS_EPOCH + np.timedelta64(round(self.start), "s")
        return np.datetime_as_string(instant, unit="m").replace("-", "").replace(":", "").lower()


def window_of(number: int) -> Window:
    """Window of a number.

    Parameters
    ----------
    number : int
        Windows since the GPS epoch [1].

    Returns
    -------
    Window
        The window.
    """
    return Window(number * LENGTH, (number + 1) * LENGTH)


def window_named(name: str) -> Window:
    """Window of a name.

    Parameters
    ----------
    name : str
        Such as 20240515t0330.

    Returns
    -------
    Window
        The window.
    """
    date, _, clock = name.partition("t")
    instant = np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:8]}T{clock[:2]}:{clock[2:4]}")
    start = float((instant - timescales.GPS_EPOCH) / np.timedelta64(1, "s"))
    return Window(start, start + LENGTH)


def packet_time(packets: space_packet.PacketTable, *, code: str) -> FloatArray:
    """Time in the secondary header of each packet.

    Parameters
    ----------
    packets : PacketTable
        The packets.
    code : str
        `cuc`, `cds` or `none`, as in the description of a link.

    Returns
    -------
    FloatArray
        GPS time, NaN where the packet carries none, shape (packet,) [s].
    """
    time = np.full(packets.start.size, np.nan)
    if code == "none" or not time.size:
        return time
    width = 7 if code == "cuc" else 8
    flagged = (packets.octets[packets.start] >> 3) & 1 == 1
    holds = np.flatnonzero(flagged & (packets.length >= space_packet.HEADER + width))
    at = packets.start[holds, np.newaxis] + space_packet.HEADER + np.arange(width)
    time[holds] = _seconds(packets.octets[at], code)
    return time


def _seconds(octets: ByteArray, code: str) -> FloatArray:
    if code == "cuc":
        return time_code.seconds_from_ticks(time_code.ticks_from_cuc(octets))
    return np.asarray(timescales.gps_from_utc(time_code.utc_from_cds(octets).astype("datetime64[ns]")))


def continued(time: FloatArray, *, before: float = np.nan) -> FloatArray:
    """Times with those of the packets before, or else after, where a packet carries none.

    Parameters
    ----------
    time : FloatArray
        Times in the order of the packets, NaN where there is none, shape (packet,) [s].
    before : float
        Time of the packet before the first [s].

    Returns
    -------
    FloatArray
        Times, NaN only where there is none at all, shape (packet,) [s].
    """
    known = np.flatnonzero(np.isfinite(time))
    if known.size == 0:
        return np.full(time.size, before)
    last = np.searchsorted(known, np.arange(time.size), side="right") - 1
    filled = time[known[np.maximum(last, 0)]]
    return np.where((last < 0) & np.isfinite(before), before, filled)


def numbers(time: FloatArray) -> IntArray:
    """First and last window that reads a time; they differ near an edge.

    Parameters
    ----------
    time : FloatArray
        GPS time, shape (n,) [s].

    Returns
    -------
    IntArray
        Numbers, shape (n, 2) [1].
    """
    reach = np.array([-MARGIN, MARGIN])
    found: IntArray = np.floor((np.asarray(time)[:, np.newaxis] + reach) / LENGTH).astype(np.int64)
    return found
