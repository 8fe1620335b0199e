"""Raw image strips from IM_LINE and IM_ANC packets."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from processors import quality
from processors.arrays import BoolArray, ByteArray, FloatArray, IntArray
from processors.ccsds import space_packet, time_code
from processors.level0 import layouts, line_compression, navigation, packet_merge

Records = np.ndarray[tuple[int], np.dtype[np.void]]
Counts = npt.NDArray[np.uint16]

LINE_GAP = 300
"""Lines between which a strip ends [1]."""
DESCRIPTION = layouts.LINE.itemsize - 2 - layouts.PIXELS * 12 // 8
"""Octets of a line packet before its pixels [1]."""
TIME_GAP = 10.0
"""Time without a line at which a strip ends [s]."""
COMPRESSION_FLAG = 21
"""Place of the compression flag in a line packet, from its first octet [1]."""


class StripPackets(NamedTuple):
    """Packets of one strip.

    lines : IM_LINE packets back to back by application process;
    ancillary : IM_ANC packets back to back.
    """

    lines: dict[int, bytes]
    ancillary: bytes


class _Band(NamedTuple):
    counts: Counts
    valid: BoolArray
    gain: float
    integration_time: float
    tdi: int
    undecodable: int


class _Places(NamedTuple):
    """Where and when the lines of packets are, and which packets they are; each of shape (packet,)."""

    partition: IntArray
    time: FloatArray
    line: IntArray
    apid: IntArray
    row: IntArray


def strip_from_packets(
    lines: Mapping[int, bytes], ancillary: bytes, *, uncorrelated: Collection[int] = ()
) -> xr.Dataset:
    """One strip of five bands, every line in its place.

    Compressed lines are decompressed (`line_compression`). Lines that were lost stay in place with zero counts and
    `line_valid` false, and so do compressed lines that cannot be decoded, which are counted. Times, edges and
    focal-plane temperature of the lines between two ancillary packets are interpolated linearly.

    Parameters
    ----------
    lines : mapping of int to bytes
        Packets back to back by application process (IM_LINE); a band may be absent.
    ancillary : bytes
        IM_ANC packets back to back.
    uncorrelated : collection of int
        Clock partitions that are not GPS time, as `navigation.uncorrelated_partitions` returns them [1].

    Returns
    -------
    xr.Dataset
        `counts`(band, line, pixel) [1], `line_valid`(band, line) [1], `line_time`(line) [s, GPS],
        `edge_longitude` and `edge_latitude`(line, edge) [degree], `focal_plane_temperature`(line) [K]; coordinate
        `line` is the line number; attributes gain [1], integration_time [s] and tdi_stages per band, in the order of
        `band`, NaN (or -1) where no line of a band arrived; undecodable_lines counts the lines that arrived
        compressed and could not be decoded, complete is 1 where every line of every band is valid, and
        time_correlated 0 where the clock was set within the strip, free running or not GPS time.

    Raises
    ------
    BadInputError
        No line arrived, fewer than two ancillary packets did, or the packets contradict each other or the interface.
    """
    records = [_line_records(lines.get(apid, b""), apid) for apid in layouts.IM_LINE]
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
    valid = np.stack([band.valid for band in bands])
    correlated = [navigation.time_correlated(part, uncorrelated=uncorrelated) for part in (*records, anchors)]
    return xr.Dataset(
        {
            "counts": (("band", "line", "pixel"), np.stack([band.counts for band in bands])),
            "line_valid": (("band", "line"), valid),
            **_located(anchors, numbers, line),
        },
        coords={"band": list(layouts.BANDS), "line": line},
        attrs={
            "gain": [band.gain for band in bands],
            "integration_time": [band.integration_time for band in bands],
            "tdi_stages": [band.tdi for band in bands],
            "calibration_state": sorted(set(anchors["calibration_state"].tolist())),
            "undecodable_lines": sum(band.undecodable for band in bands),
            "complete": int(valid.all()),
            "time_correlated": int(all(correlated) and _partitions(records, anchors) == 1),
        },
    )


def strips_from_packets(
    lines: Mapping[int, bytes], ancillary: bytes, *, uncorrelated: Collection[int] = ()
) -> list[xr.Dataset]:
    """Strips of a while, each as `strip_from_packets` returns it.

    Parameters
    ----------
    lines : mapping of int to bytes
        Packets back to back by application process (IM_LINE); a band may be absent.
    ancillary : bytes
        IM_ANC packets back to back.
    uncorrelated : collection of int
        Clock partitions that are not GPS time, as `navigation.uncorrelated_partitions` returns them [1].

    Returns
    -------
    list of xr.Dataset
        Strips in order; attribute refused_strips says why others of the same while could not be made.

    Raises
    ------
    BadInputError
        Not one strip can be made.
    """
    strips, refused = [], []
    for part in split(lines, ancillary):
        try:
            strips.append(strip_from_packets(part.lines, part.ancillary, uncorrelated=uncorrelated))
        except quality.BadInputError as error:
            refused.append(error)
    if not strips:
        raise refused[0] if refused else quality.BadInputError("no_packets", "no image line packet (IM_LINE)")
    return [strip.assign_attrs(refused_strips="; ".join(str(error) for error in refused)) for strip in strips]


def split(lines: Mapping[int, bytes], ancillary: bytes) -> list[StripPackets]:
    """Cut the packets of a while into contiguous strips.

    A strip ends with its clock partition, at a gap of more than 300 lines, or after 10 s without a line.

    Parameters
    ----------
    lines : mapping of int to bytes
        Packets back to back by application process (IM_LINE).
    ancillary : bytes
        IM_ANC packets back to back.

    Returns
    -------
    list of StripPackets
        Packets of each strip, in order; an ancillary packet belongs to the strip nearest in time, if within 10 s of it,
        and to none otherwise.
    """
    tables = {apid: _table(stream, apid) for apid, stream in [*lines.items(), (layouts.IM_ANC, ancillary)] if stream}
    places = _places(tables)
    order = np.lexsort((places.line, places.time, places.partition))
    image = order[places.apid[order] != layouts.IM_ANC]
    if image.size == 0:
        return []
    breaks = np.diff(places.partition[image]) != 0
    breaks |= (np.abs(np.diff(places.line[image])) > LINE_GAP) | (np.diff(places.time[image]) > TIME_GAP)
    strip = np.full(places.row.size, -1)
    strip[image] = np.r_[0, np.cumsum(breaks)]
    first, last = image[np.r_[True, breaks]], image[np.r_[breaks, True]]
    anchors = places.apid == layouts.IM_ANC
    strip[anchors] = _nearest_strip(places, anchors, first, last)
    return [_strip_packets(tables, places, strip == number) for number in range(first.size)]


def _table(stream: bytes, apid: int) -> space_packet.PacketTable:
    found = space_packet.packets_from_octets(np.frombuffer(stream, dtype=np.uint8))
    if stream and (found.partial or found.malformed):
        raise quality.BadInputError("packets_broken", "the packet stream does not consist of whole packets")
    packets = found.packets.selected(found.packets.apid == apid)
    if np.any(packets.length < DESCRIPTION):
        raise quality.BadInputError("packet_length", f"packets of APID {apid:#05x} are too short to be of the imager")
    return packets


def _places(tables: Mapping[int, space_packet.PacketTable]) -> _Places:
    """Read what line and ancillary packets have in common: secondary header and line number come first in both."""
    common = np.dtype([("primary_header", "u1", 6), ("time", "u1", 7), ("quality", "u1"), ("partition", "u1")])
    heads = np.concatenate(
        [table.octets[table.start[:, np.newaxis] + np.arange(20)] for table in tables.values()] or [np.zeros((0, 20))]
    ).astype(np.uint8)
    header = np.ascontiguousarray(heads[:, : common.itemsize]).reshape(-1).view(common)
    sizes = [table.start.size for table in tables.values()]
    return _Places(
        partition=packet_merge.unwrapped_partitions(header["partition"].astype(np.int64)),
        time=time_code.seconds_from_ticks(time_code.ticks_from_cuc(header["time"])),
        line=time_code.integers_from_octets(heads[:, 16:20]),
        apid=np.repeat(np.array(list(tables), dtype=np.int64), sizes),
        row=np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, dtype=np.int64)]),
    )


def _nearest_strip(places: _Places, anchors: BoolArray, first: IntArray, last: IntArray) -> IntArray:
    """Strip each ancillary packet belongs to, -1 for none; first and last are the packets at the ends of the strips."""
    time, partition = places.time[anchors, np.newaxis], places.partition[anchors, np.newaxis]
    away = np.maximum(np.maximum(places.time[first] - time, time - places.time[last]), 0.0)
    away = np.where(partition == places.partition[first], away, np.inf)
    nearest = np.argmin(away, axis=1)
    return np.where(np.min(away, axis=1) <= TIME_GAP, nearest, -1)


def _strip_packets(tables: Mapping[int, space_packet.PacketTable], places: _Places, wanted: BoolArray) -> StripPackets:
    parts = {}
    for apid, table in tables.items():
        rows = places.row[wanted & (places.apid == apid)]
        keep = np.zeros(table.start.size, dtype=np.bool_)
        keep[rows] = True
        parts[apid] = table.selected(keep).content()
    ancillary = parts.pop(layouts.IM_ANC, b"")
    return StripPackets({apid: stream for apid, stream in parts.items() if stream}, ancillary)


def _partitions(records: list[Records], anchors: Records) -> int:
    """Clock partitions the packets are of."""
    return np.unique(np.concatenate([part["clock_partition"] for part in (*records, anchors)])).size


def _line_records(stream: bytes, apid: int) -> Records:
    """Line packets, the compressed ones as if they had come uncompressed; those that cannot be decoded stay marked."""
    packets = _table(stream, apid)
    described = packets.octets[packets.start[:, np.newaxis] + np.arange(DESCRIPTION)]
    compressed = described[:, COMPRESSION_FLAG] != layouts.UNCOMPRESSED
    whole = layouts.records_from_packets(packets.selected(~compressed).content(), apid=apid)
    return np.concatenate((whole, _decompressed(packets.selected(compressed), described[compressed])))


def _decompressed(packets: space_packet.PacketTable, described: ByteArray) -> Records:
    blank = np.zeros((described.shape[0], layouts.LINE.itemsize), dtype=np.uint8)
    blank[:, :DESCRIPTION] = described
    records: Records = blank.reshape(-1).view(layouts.LINE)
    if np.any(records["icd_version"] != layouts.ICD_VERSION):
        raise quality.BadInputError("icd_version", f"line packets are not of interface version {layouts.ICD_VERSION}")
    first = packets.start + DESCRIPTION
    lines = line_compression.counts_from_octets(
        packets.octets, start=first, stop=np.maximum(packets.start + packets.length - 2, first)
    )
    usable = (lines.status == line_compression.DECODED) & (records["compression"] == layouts.COMPRESSED)
    usable &= (records["pixel_count"] == layouts.PIXELS) & (records["first_pixel"] == 0)
    records["pixels"] = octets_from_counts(lines.counts)
    records["compression"][usable] = layouts.UNCOMPRESSED
    return records


def _band(records: Records, line: IntArray, name: str) -> _Band:
    counts = np.zeros((line.size, layouts.PIXELS), dtype=np.uint16)
    valid = np.zeros(line.size, dtype=np.bool_)
    if records.size == 0:
        return _Band(counts, valid, np.nan, np.nan, -1, 0)
    plain = records[records["compression"] == layouts.UNCOMPRESSED]
    if np.any(plain["pixel_count"] != layouts.PIXELS) or np.any(plain["first_pixel"] != 0):
        raise quality.BadInputError("strip_inconsistent", f"band {name}: a line is not {layouts.PIXELS} pixels wide")
    place = plain["line"].astype(np.int64) - line[0]
    counts[place] = counts_from_octets(plain["pixels"])
    valid[place] = True
    gain = _constant(records, "gain", name)
    integration_time = _constant(records, "integration_time", name) * layouts.INTEGRATION_TIME_UNIT
    tdi = int(_constant(records, "tdi", name))
    return _Band(counts, valid, gain, integration_time, tdi, records.size - plain.size)


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
    high, middle, low = np.moveaxis(octets.reshape(len(octets), octets.shape[1] // 3, 3).astype(np.uint16), -1, 0)
    pairs = np.stack((high << 4 | middle >> 4, (middle & 0xF) << 8 | low), axis=-1)
    return pairs.reshape(len(octets), octets.shape[1] // 3 * 2)


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
    return triples.astype(np.uint8).reshape(len(counts), counts.shape[1] // 2 * 3)


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
