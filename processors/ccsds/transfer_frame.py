"""Headers of AOS (CCSDS 732.0-B) and TM (CCSDS 132.0-B) transfer frames, and their counters."""

from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import link

NO_PACKET_STARTS = 2047
IDLE_ONLY = 2046


class FrameHeaders(NamedTuple):
    """Header fields of many frames, each of shape (frame,).

    valid : the version number is that of the frame type;
    scid, vcid : spacecraft and virtual channel [1];
    counter : virtual channel frame count [1];
    modulus : where the counter wraps [1];
    pointer : first header pointer [1].
    """

    valid: BoolArray
    scid: IntArray
    vcid: IntArray
    counter: IntArray
    modulus: IntArray
    pointer: IntArray

    def selected(self, keep: BoolArray) -> "FrameHeaders":
        """Headers of the frames for which keep is true."""
        return FrameHeaders(self.valid[keep], *(field[keep] for field in self[1:]))


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
    octets = frames[:, : layout.zone.start].astype(np.int64)
    return _aos_headers(octets, layout) if layout.type == "aos" else _tm_headers(octets)


def _aos_headers(octets: IntArray, layout: link.Frame) -> FrameHeaders:
    """CCSDS 732.0-B 4.1.2 and 4.1.4.2.2; with the usage flag set the cycle field extends the count to 28 bits."""
    word = octets[:, 0] << 8 | octets[:, 1]
    count = octets[:, 2] << 16 | octets[:, 3] << 8 | octets[:, 4]
    extended = (octets[:, 5] >> 6) & 1 == 1
    return FrameHeaders(
        valid=word >> 14 == 1,
        scid=(word >> 6) & 0xFF,
        vcid=word & 0x3F,
        counter=np.where(extended, (octets[:, 5] & 0xF) << 24 | count, count),
        modulus=np.where(extended, 1 << 28, 1 << 24),
        pointer=(octets[:, layout.data_field] & 0x07) << 8 | octets[:, layout.data_field + 1],
    )


def _tm_headers(octets: IntArray) -> FrameHeaders:
    """CCSDS 132.0-B 4.1.2; a secondary header is not supported yet and makes the frame invalid."""
    word = octets[:, 0] << 8 | octets[:, 1]
    status = octets[:, 4] << 8 | octets[:, 5]
    return FrameHeaders(
        valid=(word >> 14 == 0) & (status >> 15 == 0),
        scid=(word >> 4) & 0x3FF,
        vcid=(word >> 1) & 0x7,
        counter=octets[:, 3],
        modulus=np.full(len(octets), 256),
        pointer=status & 0x7FF,
    )


def unwrap(counter: IntArray, *, modulus: int, start: int | None = None) -> IntArray:
    """Continue a wrapping counter, taking every step as the shorter way round.

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
        first = start + int(_shorter_way(np.array(first - start), modulus))
    steps = _shorter_way(np.diff(counter), modulus)
    return first + np.concatenate(([0], np.cumsum(steps)))


def _shorter_way(step: IntArray, modulus: int) -> IntArray:
    return (step + modulus // 2) % modulus - modulus // 2


def aos_header(*, scid: int, vcid: int, counter: int) -> bytes:
    """Primary header of an AOS frame with a 28-bit count (CCSDS 732.0-B 4.1.2).

    Parameters
    ----------
    scid, vcid : int
        Spacecraft and virtual channel [1].
    counter : int
        Unwrapped virtual channel frame count [1].

    Returns
    -------
    bytes
        Six octets.
    """
    word = 1 << 14 | scid << 6 | vcid
    signalling = 0x40 | (counter >> 24) & 0xF
    return word.to_bytes(2, "big") + (counter & 0xFFFFFF).to_bytes(3, "big") + bytes([signalling])
