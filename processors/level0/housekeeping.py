"""What the spacecraft says of its own data, from HK_FAST and HK_SLOW packets: what it produced, what it still holds."""

import numpy as np
import xarray as xr

from processors.ccsds import time_code
from processors.level0 import layouts


def produced_counters(stream: bytes) -> xr.Dataset:
    """Counters of packets and frames produced on board, each packet not counting itself.

    Parameters
    ----------
    stream : bytes
        Space packets back to back; those of other application processes are left alone.

    Returns
    -------
    xr.Dataset
        `packets_produced`(time, apid) [1], `frames_produced`(time, vcid) [1], `clock_partition`(time) [1] on `time`
        [s, GPS], in order of arrival; empty where the stream holds no such packet.
    """
    records = layouts.records_from_packets(stream, apid=layouts.HK_FAST)
    time = time_code.seconds_from_ticks(time_code.ticks_from_cuc(records["time"]))
    return xr.Dataset(
        {
            "packets_produced": (("time", "apid"), records["packets_produced"].astype(np.int64), {"units": "1"}),
            "frames_produced": (("time", "vcid"), records["frames_produced"].astype(np.int64), {"units": "1"}),
            "clock_partition": ("time", records["clock_partition"].astype(np.int64), {"units": "1"}),
        },
        coords={
            "time": ("time", time, {"units": "s", "long_name": "GPS time"}),
            "apid": list(layouts.COUNTED_APIDS),
            "vcid": list(layouts.COUNTED_CHANNELS),
        },
    )


def oldest_recorded(stream: bytes) -> dict[int, int]:
    """Oldest frame that the on-board recorder still holds of each virtual channel; older ones can never be played back.

    Parameters
    ----------
    stream : bytes
        Space packets back to back, in order; those of other application processes are left alone.

    Returns
    -------
    dict of int to int
        Virtual channel frame count (28 bits) by virtual channel, as the last packet says, without the channels of which
        the recorder holds nothing; empty where the stream holds no such packet [1].
    """
    records = layouts.records_from_packets(stream, apid=layouts.HK_SLOW)
    if records.size == 0:
        return {}
    oldest = records["recorder"]["oldest"][-1].astype(np.int64).tolist()
    return {
        vcid: frame for vcid, frame in zip(layouts.COUNTED_CHANNELS, oldest, strict=True) if frame != layouts.NO_FRAME
    }
