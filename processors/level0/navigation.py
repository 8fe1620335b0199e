"""On-board position, velocity and clock from GN_PVT packets."""

import numpy as np
import xarray as xr

from processors import quality
from processors.ccsds import time_code
from processors.level0 import layouts


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
        `clock_bias`(time) [s], `clock_drift`(time) [1], one sample per time in ascending order.

    Raises
    ------
    BadInputError
        There is no such packet.
    """
    records = layouts.records_from_packets(stream, apid=layouts.GN_PVT)
    if records.size == 0:
        raise quality.BadInputError("no_packets", "no navigation packet (GN_PVT) in the stream")
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
        attrs={"frame": "ECEF"},
    )
