"""Headers of AOS (CCSDS 732.0-B) and TM (CCSDS 132.0-B) transfer frames, and their counters."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import frame_header_control, link

NO_PACKET_STARTS = 2047
IDLE_ONLY = 2046
SHORT_MODULUS = 256
LATE_FRAMES = 8
"""Frames of a short counter that may come late; a step further back is the longer loss forward."""

_TM_SECONDARY_HEADER = 6


class FrameHeaders(NamedTuple):
    """Header fields of many frames, each of shape (frame,).

    valid : the header can be that of a frame of this type: version number, header error control, secondary header;
    scid, vcid : spacecraft and virtual channel [1];
    counter : virtual channel frame count [1];
    modulus : where the counter wraps [1];
    pointer : first header pointer, IDLE_ONLY also where the synchronisation flag says that there are no packets [1];
    zone_start : first octet of the packet zone [1];
    ocf : the frame carries an operational control field;
    replay : the frame is played back from the recorder.
    """

    valid: BoolArray
    scid: IntArray
    vcid: IntArray
    counter: IntArray
    modulus: IntArray
    pointer: IntArray
    zone_start: IntArray
    ocf: BoolArray
    replay: BoolArray

    def selected(self, keep: BoolArray | IntArray) -> "FrameHeaders":
        """Headers of the frames for which keep is true."""
        kept = {name: field[keep] for name, field in self._asdict().items()}
        return FrameHeaders(**kept)


def headers_from_frames(frames: ByteArray, *, layout: link.Frame) -> FrameHeaders:
    """Read the headers.

    Parameters
    ----------
    frames : ByteArray
        Transfer frames, shape (frame, octet) [1].
    layout : Frame
        Their layout.

    Returns
    -------
    FrameHeaders
        The fields.
    """
    # the headers alone, one field after the other in memory: frames are far apart
    octets = frames[:, : layout.zone.start + 1].T.copy()
    return _aos_headers(octets, layout) if layout.type == "aos" else _tm_headers(octets, layout)


def _aos_headers(octets: ByteArray, layout: link.Frame) -> FrameHeaders:
    """CCSDS 732.0-B 4.1.2 and 4.1.4.2.2; with the usage flag set the cycle field extends the count to 28 bits."""
    sound = np.ones(octets.shape[1], dtype=np.bool_)
    if layout.fhec:
        correction = frame_header_control.correct(np.ascontiguousarray(octets[: layout.header_length].T))
        sound = correction.corrected >= 0
        octets[: layout.header_length] = correction.headers.T
    word = _word(octets, 0)
    signalling = octets[5]
    extended = signalling & 0x40 != 0
    count = octets[2].astype(np.int32) << 16 | _word(octets, 3)
    cycle = (signalling & 0xF).astype(np.int32) << 24
    return FrameHeaders(
        valid=(word >> 14 == 1) & sound,
        scid=_wide(word >> 6 & 0xFF),
        vcid=_wide(word & 0x3F),
        counter=_wide(np.where(extended, cycle | count, count)),
        modulus=np.where(extended, 1 << 28, 1 << 24),
        pointer=_wide(_word(octets, layout.data_field) & 0x7FF),
        zone_start=np.full(word.size, layout.zone.start),
        ocf=np.full(word.size, layout.ocf),
        replay=signalling & 0x80 != 0,
    )


def _tm_headers(octets: ByteArray, layout: link.Frame) -> FrameHeaders:
    """CCSDS 132.0-B 4.1.2 and 4.1.3; asynchronous data (synchronisation flag) are no packets, whatever the pointer."""
    word, status = _word(octets, 0), _word(octets, 4)
    extended = status >> 15 == 1
    asynchronous = status >> 14 & 1 == 1
    secondary = octets[_TM_SECONDARY_HEADER]
    # 4.1.3.2.3: the field holds the length of the whole secondary header less one
    length = layout.secondary_header or (secondary & 0x3F).astype(np.int64) + 1
    zone_start = _TM_SECONDARY_HEADER + np.where(extended, length, 0)
    known = (zone_start < layout.zone.stop) & (bool(layout.secondary_header) | (secondary >> 6 == 0))
    return FrameHeaders(
        valid=(word >> 14 == 0) & (~extended | known),
        scid=_wide(word >> 4 & 0x3FF),
        vcid=_wide(word >> 1 & 0x7),
        counter=_wide(octets[3]),
        modulus=np.full(word.size, SHORT_MODULUS),
        pointer=_wide(np.where(asynchronous, IDLE_ONLY, status & 0x7FF)),
        zone_start=zone_start,
        ocf=word & 1 == 1,
        replay=np.zeros(word.size, dtype=np.bool_),
    )


def _word(octets: ByteArray, first: int) -> npt.NDArray[np.int32]:
    word: npt.NDArray[np.int32] = octets[first].astype(np.int32) << 8 | octets[first + 1]
    return word


def _wide(values: npt.NDArray[np.integer]) -> IntArray:
    return values.astype(np.int64)


def unwrap(counter: IntArray, *, modulus: int, start: int | None = None) -> IntArray:
    """Continue a wrapping counter.

    Every step is taken as the shorter way round. Only for the short counter of TM frames a step goes back by at most a
    few frames and forward otherwise: there a receiver loses half a turn more often than frames come as late as that.

    Parameters
    ----------
    counter : IntArray
        Counter values in order of arrival, shape (frame,) [1].
    modulus : int
        Where the counter wraps [1].
    start : int or None
        Unwrapped value near which the first one lies; its raw value where None [1].

    Returns
    -------
    IntArray
        Unwrapped counter, shape (frame,) [1].
    """
    if counter.size == 0:
        return counter.astype(np.int64)
    first = int(counter[0])
    if start is not None:
        first = start + int(_step(np.array(first - start), modulus))
    steps = _step(np.diff(counter), modulus)
    return first + np.concatenate(([0], np.cumsum(steps)))


def _step(difference: IntArray, modulus: int) -> IntArray:
    furthest_back = LATE_FRAMES if modulus <= SHORT_MODULUS else modulus // 2
    return (difference + furthest_back) % modulus - furthest_back


def aos_headers(*, scid: int, vcid: int, counter: IntArray, replay: bool = False) -> ByteArray:
    """Primary headers of AOS frames with a 28-bit count (CCSDS 732.0-B 4.1.2), without header error control.

    Parameters
    ----------
    scid, vcid : int
        Spacecraft and virtual channel [1].
    counter : IntArray
        Unwrapped virtual channel frame count, shape (frame,) [1].
    replay : bool
        Whether the frames are played back from the recorder.

    Returns
    -------
    ByteArray
        Headers, shape (frame, 6) [1].
    """
    word = 1 << 14 | scid << 6 | vcid
    signalling = replay << 7 | 0x40 | counter >> 24 & 0xF
    return _columns(counter.size, word >> 8, word, counter >> 16, counter >> 8, counter, signalling)


def tm_headers(
    *,
    scid: int,
    vcid: int,
    master_counter: IntArray,
    counter: IntArray,
    pointer: IntArray,
    ocf: bool = False,
    secondary_header: bool = False,
) -> ByteArray:
    """Primary headers of TM frames that carry packets (CCSDS 132.0-B 4.1.2).

    Parameters
    ----------
    scid, vcid : int
        Spacecraft and virtual channel [1].
    master_counter, counter : IntArray
        Unwrapped master and virtual channel frame counts, shape (frame,) [1].
    pointer : IntArray
        First header pointer, shape (frame,) [1].
    ocf : bool
        Whether the frames carry an operational control field.
    secondary_header : bool
        Whether a secondary header follows.

    Returns
    -------
    ByteArray
        Headers, shape (frame, 6) [1].
    """
    word = scid << 4 | vcid << 1 | int(ocf)
    status = secondary_header << 15 | 0b11 << 11 | pointer
    return _columns(counter.size, word >> 8, word, master_counter, counter, status >> 8, status)


def _columns(count: int, *columns: IntArray | int) -> ByteArray:
    octets = np.empty((count, len(columns)), dtype=np.uint8)
    for i, column in enumerate(columns):
        octets[:, i] = column & 0xFF
    return octets
