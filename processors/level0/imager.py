"""Raw image strips from IM_LINE and IM_ANC packets."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from processors import quality
from processors.arrays import BoolArray, ByteArray, FloatArray, IntArray
from processors.ccsds import time_code
from processors.level0 import layouts

Records = np.ndarray[tuple[int], np.dtype[np.void]]
Counts = npt.NDArray[np.uint16]


class _Band(NamedTuple):
    counts: Counts
    valid: BoolArray
    gain: float
    integration_time: float
    tdi: int


def strip_from_packets(lines: Mapping[int, bytes], ancillary: bytes) -> xr.Dataset:
    """One strip of five bands, every line in its place.

    Lines that were lost stay in place with zero counts and `line_valid` false. Times, edges and focal-plane
    temperature of the lines between two ancillary packets are interpolated linearly.

    Parameters
    ----------
    lines : mapping of int to bytes
        Packets back to back by application process (IM_LINE); a band may be absent.
    ancillary : bytes
        IM_ANC packets back to back.

    Returns
    -------
    xr.Dataset
        `counts`(band, line, pixel) [1], `line_valid`(band, line) [1], `line_time`(line) [s, GPS],
        `edge_longitude` and `edge_latitude`(line, edge) [degree], `focal_plane_temperature`(line) [K]; coordinate
        `line` is the line number; attributes gain [1], integration_time [s] and tdi_stages per band, in the order of
        `band`, NaN (or -1) where no line of a band arrived.

    Raises
    ------
    BadInputError
        No line arrived, fewer than two ancillary packets did, or the packets contradict each other or the interface.
    """
    records = [layouts.records_from_packets(lines.get(apid, b""), apid=apid) for apid in layouts.IM_LINE]
    anchors = layouts.records_from_packets(ancillary, apid=layouts.IM_ANC)
    if not any(band.size for band in records):
        raise quality.BadInputError("no_packets", "no image line packet (IM_LINE) in the stream")
    numbers, first = np.unique(anchors["line"].astype(np.int64), return_index=True)
    if numbers.size < 2:
        raise quality.BadInputError("ancillary_missing", "fewer than two ancillary packets (IM_ANC) locate the strip")
    anchors = anchors[first]
    held = np.concatenate([numbers, *(band["line"].astype(np.int64) for band in records)])
    line = np.arange(held.min(), held.max() + 1)
    bands = [_band(band, line, name) for band, name in zip(records, layouts.BANDS, strict=True)]
    return xr.Dataset(
        {
            "counts": (("band", "line", "pixel"), np.stack([band.counts for band in bands])),
            "line_valid": (("band", "line"), np.stack([band.valid for band in bands])),
            **_located(anchors, numbers, line),
        },
        coords={"band": list(layouts.BANDS), "line": line},
        attrs={
            "gain": [band.gain for band in bands],
            "integration_time": [band.integration_time for band in bands],
            "tdi_stages": [band.tdi for band in bands],
            "calibration_state": sorted(set(anchors["calibration_state"].tolist())),
        },
    )


def _band(records: Records, line: IntArray, name: str) -> _Band:
    counts = np.zeros((line.size, layouts.PIXELS), dtype=np.uint16)
    valid = np.zeros(line.size, dtype=np.bool_)
    if records.size == 0:
        return _Band(counts, valid, np.nan, np.nan, -1)
    if np.any(records["compression"] != layouts.UNCOMPRESSED):
        raise quality.BadInputError("compression_unknown", f"band {name}: compressed lines are not supported yet")
    if np.any(records["pixel_count"] != layouts.PIXELS) or np.any(records["first_pixel"] != 0):
        raise quality.BadInputError("strip_inconsistent", f"band {name}: a line is not {layouts.PIXELS} pixels wide")
    place = records["line"].astype(np.int64) - line[0]
    counts[place] = counts_from_octets(records["pixels"])
    valid[place] = True
    gain = _constant(records, "gain", name)
    integration_time = _constant(records, "integration_time", name) * layouts.INTEGRATION_TIME_UNIT
    return _Band(counts, valid, gain, integration_time, int(_constant(records, "tdi", name)))


def _constant(records: Records, field: str, band: str) -> float:
    values = np.unique(records[field])
    if values.size > 1:
        raise quality.BadInputError("strip_inconsistent", f"band {band}: {field} changes within the strip")
    return float(values[0])


def counts_from_octets(octets: ByteArray) -> Counts:
    """Unpack 12-bit counts, two in three octets, the first in the higher bits.

    Parameters
    ----------
    octets : ByteArray
        Packed lines, shape (line, 3/2 pixel) [1].

    Returns
    -------
    ndarray of uint16
        Counts, shape (line, pixel) [1].
    """
    high, middle, low = np.moveaxis(octets.reshape(len(octets), -1, 3).astype(np.uint16), -1, 0)
    pairs = np.stack((high << 4 | middle >> 4, (middle & 0xF) << 8 | low), axis=-1)
    return pairs.reshape(len(octets), -1)


def octets_from_counts(counts: Counts) -> ByteArray:
    """Pack 12-bit counts: the inverse of `counts_from_octets`.

    Parameters
    ----------
    counts : ndarray of uint16
        Counts below 4096, shape (line, even number of pixels) [1].

    Returns
    -------
    ByteArray
        Packed lines, shape (line, 3/2 pixel) [1].

    Raises
    ------
    ValueError
        A count needs more than 12 bits.
    """
    if counts.size and int(counts.max()) > 0xFFF:
        raise ValueError("a count needs more than 12 bits")
    first, second = counts[:, 0::2], counts[:, 1::2]
    triples = np.stack((first >> 4, (first & 0xF) << 4 | second >> 8, second & 0xFF), axis=-1)
    return triples.astype(np.uint8).reshape(len(counts), -1)


def _located(anchors: Records, numbers: IntArray, line: IntArray) -> dict[str, tuple[object, ...]]:
    """Time, edges and temperature of every line."""
    ticks = anchors["line_time"].astype(np.int64)
    # differences of times keep their last bits, times themselves would not
    elapsed = _interpolated(line, numbers, time_code.seconds_from_ticks(ticks - ticks[0]))
    longitude = np.unwrap(anchors["edge_longitude"] * layouts.ANGLE_UNIT, axis=0, period=360.0)
    latitude = anchors["edge_latitude"] * layouts.ANGLE_UNIT
    temperature = anchors["focal_plane_temperature"] * layouts.TEMPERATURE_UNIT
    wrapped = (_interpolated(line, numbers, longitude) + 180.0) % 360.0 - 180.0
    return {
        "line_time": (
            "line",
            time_code.seconds_from_ticks(ticks[0]) + elapsed,
            {"units": "s", "long_name": "GPS time"},
        ),
        "edge_longitude": (("line", "edge"), wrapped, {"units": "degree"}),
        "edge_latitude": (("line", "edge"), _interpolated(line, numbers, latitude), {"units": "degree"}),
        "focal_plane_temperature": ("line", _interpolated(line, numbers, temperature), {"units": "K"}),
    }


def _interpolated(line: IntArray, numbers: IntArray, values: FloatArray) -> FloatArray:
    """Linear between the anchors, and on beyond the first and the last pair."""
    left = np.clip(np.searchsorted(numbers, line, side="right") - 1, 0, numbers.size - 2)
    share = (line - numbers[left]) / (numbers[left + 1] - numbers[left])
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values[left] + share * (values[left + 1] - values[left]))
