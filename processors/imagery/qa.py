"""Meaning of the per-pixel quality bits and source codes of every scene stack."""

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np


class QaBit(IntFlag):
    """Quality bits of one pixel and date (uint16); bit 9 extends the list of the other products."""

    NODATA = 1 << 0
    CLOUD = 1 << 1
    SHADOW = 1 << 2
    LAYOVER = 1 << 3
    RADAR_SHADOW = 1 << 4
    SATURATED = 1 << 5
    FILLED = 1 << 6
    EXTRAPOLATED = 1 << 7
    COREGISTRATION_FAILED = 1 << 8
    INSUFFICIENT = 1 << 9


class Source(IntEnum):
    """Where the value of one pixel and date comes from."""

    NONE = 0
    OBSERVED = 1
    TEMPORAL_INTERPOLATION = 2
    TEMPORAL_REGRESSION = 3
    EXTERNAL_REGRESSION = 4
    SPATIAL_NEIGHBORS = 5
    NEAREST_DATE = 6


def qa_attributes() -> dict[str, Any]:
    """CF attributes of a variable of quality bits.

    Returns
    -------
    dict
        `flag_masks` and `flag_meanings`, CF 1.11 section 3.5.
    """
    return {
        "long_name": "quality bits",
        "flag_masks": np.array([bit.value for bit in QaBit], dtype=np.uint16),
        "flag_meanings": " ".join(str(bit.name).lower() for bit in QaBit),
    }


def source_attributes() -> dict[str, Any]:
    """CF attributes of a variable of source codes.

    Returns
    -------
    dict
        `flag_values` and `flag_meanings`, CF 1.11 section 3.5.
    """
    return {
        "long_name": "origin of the reflectance",
        "flag_values": np.array([code.value for code in Source], dtype=np.uint8),
        "flag_meanings": " ".join(code.name.lower() for code in Source),
    }
