"""On-board position, velocity and clock from GN_PVT packets."""

from collections.abc import Collection

import numpy as np
import xarray as xr

from processors import quality
from processors.ccsds import time_code
from processors.level0 import layouts

Records = np.ndarray[tuple[int], np.dtype[np.void]]

CLOCK_TOLERANCE = 0.5
"""A clock this far from the navigation fix is not set to GPS time [s]."""
FREE_RUN = 2
"""Source of the time quality octet from which on the clock follows nothing [1]."""
FULL_FIX = 0


def uncorrelated_partitions(stream: bytes) -> tuple[int, ...]:
    """Clock partitions whose time is not GPS time, told by the navigation fixes within them.

    Parameters
    ----------
    stream : bytes
        Space packets back to back; those of other application processes are left alone.

    Returns
    -------
    tuple of int
        Octets of the partitions whose clock is off from the fixes by more than half a second in the median [1].
    """
    return _uncorrelated(layouts.records_from_packets(stream, apid=layouts.GN_PVT))


def _uncorrelated(records: Records) -> tuple[int, ...]:
    fixed = records[records["fix_quality"] == FULL_FIX]
    off = np.abs(time_code.ticks_from_cuc(fixed["time"]) - fixed["fix_time"].astype(np.int64))
    away = time_code.seconds_from_ticks(off)
    octets = fixed["clock_partition"]
    return tuple(o for o in np.unique(octets).tolist() if np.median(away[octets == o]) > CLOCK_TOLERANCE)


def time_correlated(records: Records, *, uncorrelated: Collection[int]) -> int:
    """Tell whether the times of records of one unit are GPS time.

    Parameters
    ----------
    records : structured ndarray
        Packets of a unit, shape (packet,) [1].
    uncorrelated : collection of int
        Partitions known not to be GPS time, as `uncorrelated_partitions` returns them [1].

    Returns
    -------
    int
        1, or 0 where a packet is of such a partition or of a free-running clock, or the clock was set in between [1].
    """
    partitions = np.unique(records["clock_partition"]).tolist()
    free = np.any(records["time_quality"] >> 6 >= FREE_RUN)
    return int(len(partitions) <= 1 and not free and not set(partitions) & set(uncorrelated))


def ephemeris_from_packets(stream: bytes) -> xr.Dataset:
    """Receiver orbit and clock.

    Parameters
    ----------
    stream : bytes
        Space packets back to back; those of other application processes are left alone.

    Returns
    -------
    xr.Dataset
        `time` [s, GPS], `position`(time, xyz) [m, Earth-fixed], `velocity`(time, xyz) [m s-1, Earth-fixed],
        `clock_bias`(time) [s], `clock_drift`(time) [1], one sample per time in ascending order; attribute
        time_correlated is 0 where the clock was free running or not GPS time. The times are those of the fixes: a jump
        of the clock does not move them.

    Raises
    ------
    BadInputError
        There is no such packet.
    """
    records = layouts.records_from_packets(stream, apid=layouts.GN_PVT)
    if records.size == 0:
        raise quality.BadInputError("no_packets", "no navigation packet (GN_PVT) in the stream")
    correlated = time_correlated(records, uncorrelated=_uncorrelated(records))
    ticks, first = np.unique(records["fix_time"].astype(np.int64), return_index=True)
    records = records[first]
    return xr.Dataset(
        {
            "position": (("time", "xyz"), records["position"] * layouts.POSITION_UNIT, {"units": "m"}),
            "velocity": (("time", "xyz"), records["velocity"] * layouts.VELOCITY_UNIT, {"units": "m s-1"}),
            "clock_bias": ("time", records["clock_bias"] * layouts.CLOCK_BIAS_UNIT, {"units": "s"}),
            "clock_drift": ("time", records["clock_drift"] * layouts.CLOCK_DRIFT_UNIT, {"units": "1"}),
        },
        coords={
            "time": ("time", time_code.seconds_from_ticks(ticks), {"units": "s", "long_name": "GPS time"}),
            "xyz": ["x", "y", "z"],
        },
        attrs={"frame": "ECEF", "time_correlated": correlated},
    )
