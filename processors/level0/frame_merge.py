"""One sequence of frames per virtual channel out of the recordings of several stations."""

from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray, IntArray
from processors.ccsds import link as spacelink
from processors.ccsds import transfer_frame


class DecodedFrames(NamedTuple):
    """Frames that passed every check, each field of shape (frame,) unless said otherwise.

    frames : transfer frames, shape (frame, octet) [1];
    headers : their header fields;
    corrected : symbols corrected [1];
    station : recording each came from [1].
    """

    frames: ByteArray
    headers: transfer_frame.FrameHeaders
    corrected: IntArray
    station: IntArray


class Channel(NamedTuple):
    """Unique frames of one virtual channel in the order of their counter.

    scid, vcid : the channel [1];
    rows : rows of the decoded frames, shape (frame,) [1];
    counter : unwrapped counters, beginning with the raw value of the first, shape (frame,) [1];
    duplicates : frames held more than once with the same content [1];
    conflicts : further contents held under a counter that is taken; one frame of each [1].
    """

    scid: int
    vcid: int
    rows: IntArray
    counter: IntArray
    duplicates: int
    conflicts: int


def concatenate(parts: list[DecodedFrames]) -> DecodedFrames:
    """Frames of several recordings one after the other.

    Parameters
    ----------
    parts : list of DecodedFrames
        At least one.

    Returns
    -------
    DecodedFrames
        All of them.
    """
    columns = zip(*(part.headers for part in parts), strict=True)
    return DecodedFrames(
        frames=np.concatenate([part.frames for part in parts]),
        headers=transfer_frame.FrameHeaders(*(np.concatenate(column) for column in columns)),
        corrected=np.concatenate([part.corrected for part in parts]),
        station=np.concatenate([part.station for part in parts]),
    )


def channels(decoded: DecodedFrames, *, link: spacelink.Link) -> list[Channel]:
    """Merge the recordings channel by channel.

    Parameters
    ----------
    decoded : DecodedFrames
        Frames of all recordings, each recording in its order of arrival.
    link : Link
        The link.

    Returns
    -------
    list of Channel
        Channels by spacecraft and number; the result does not depend on the order of the recordings.
    """
    identity = decoded.headers.scid << 6 | decoded.headers.vcid
    return [
        _channel(decoded, np.flatnonzero(identity == key), idle=link.role(int(key) & 0x3F) == "idle")
        for key in np.unique(identity)
    ]


def _channel(decoded: DecodedFrames, rows: IntArray, *, idle: bool) -> Channel:
    counter = _unwrapped(decoded, rows)
    station, corrected = decoded.station[rows], decoded.corrected[rows]
    # some spacecraft freeze the counter of idle frames: the n-th of a station can only repeat the n-th of another
    occurrence = _occurrence(counter, station) if idle else np.zeros_like(counter)
    order = np.lexsort((station, corrected, occurrence, counter))
    rows, counter, occurrence = rows[order], counter[order], occurrence[order]
    opens = np.r_[True, (np.diff(counter) != 0) | (np.diff(occurrence) != 0)]
    kept, group = rows[opens], np.cumsum(opens) - 1
    differs = np.any(decoded.frames[rows] != decoded.frames[kept[group]], axis=1)
    conflicts = 0
    for number in np.unique(group[differs]):
        contents = _distinct(decoded, rows[group == number])
        kept[number] = contents[0]
        conflicts += len(contents) - 1
    return Channel(
        scid=int(decoded.headers.scid[rows[0]]),
        vcid=int(decoded.headers.vcid[rows[0]]),
        rows=kept,
        counter=counter[opens],
        duplicates=rows.size - kept.size - conflicts,
        conflicts=conflicts,
    )


def _distinct(decoded: DecodedFrames, rows: IntArray) -> list[int]:
    """One row per content, the preferred first: least corrected, then smallest, whatever station it is from."""
    ranked = sorted((int(decoded.corrected[row]), decoded.frames[row].tobytes(), row) for row in rows.tolist())
    seen: dict[bytes, int] = {}
    for _, content, row in ranked:
        seen.setdefault(content, row)
    return list(seen.values())


def _unwrapped(decoded: DecodedFrames, rows: IntArray) -> IntArray:
    """Counter of the rows, continued across wraps, the stations aligned to one another."""
    raw, station = decoded.headers.counter[rows], decoded.station[rows]
    modulus = int(decoded.headers.modulus[rows].max())
    counter = np.zeros_like(raw)
    start = int(raw[0])
    for number in np.unique(station):
        of_station = station == number
        counter[of_station] = transfer_frame.unwrap(raw[of_station], modulus=modulus, start=start)
    lowest = int(counter.min())
    return counter - lowest + lowest % modulus


def _occurrence(counter: IntArray, station: IntArray) -> IntArray:
    """How often the station showed the same counter before."""
    order = np.lexsort((counter, station))
    opens = np.r_[True, (np.diff(counter[order]) != 0) | (np.diff(station[order]) != 0)]
    place = np.arange(counter.size)
    occurrence = np.zeros_like(counter)
    occurrence[order] = place - np.maximum.accumulate(np.where(opens, place, 0))
    return occurrence
