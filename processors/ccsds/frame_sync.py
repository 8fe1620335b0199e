"""Finding frames in a stream of bits by their attached sync marker (CCSDS 131.0-B, section 9)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import _kernels

MARKER = 0x1ACFFC1D
MARKER_LENGTH = 4


@dataclass(frozen=True)
class SyncParameters:
    """How patient the synchroniser is.

    Parameters
    ----------
    search_errors : int
        Wrong marker bits tolerated while there is no lock [1, bits].
    lock_errors : int
        Wrong marker bits tolerated where a marker is expected [1, bits].
    slip_window : int
        Bits a marker may come early or late without loss of lock [1, bits].
    flywheel : int
        Markers that may be missed in a row, provided one follows in its place [1].
    """

    search_errors: int = 2
    lock_errors: int = 6
    slip_window: int = 2
    flywheel: int = 3


class Synchronization(NamedTuple):
    """Frames found in a stream and where every bit of it went.

    blocks : octets after each marker, aligned and with polarity restored, shape (frame, octet) [1];
    start : first bit of each marker, shape (frame,) [1, bits];
    marker_errors : wrong bits of each marker, shape (frame,) [1, bits];
    inverted : whether the frame came with inverted polarity, shape (frame,);
    slip : bits inserted (positive) or lost before the next marker, shape (frame,) [1, bits];
    frame_octets, junk_octets, tail_octets : octets in frames, in none, and in the incomplete last frame [1].
    """

    blocks: ByteArray
    start: IntArray
    marker_errors: IntArray
    inverted: BoolArray
    slip: IntArray
    frame_octets: int
    junk_octets: int
    tail_octets: int


def synchronize(
    stream: ByteArray, *, cadu_length: int, parameters: SyncParameters = SyncParameters()
) -> Synchronization:
    """Find every frame of a recording, at any bit offset and in either polarity.

    Without lock a marker counts when another confirms it one or two frames on. In lock a frame is accepted where its
    marker is near enough, slipped by a few bits, or missed but followed by one in its place. A frame inside which the
    next one begins has lost octets: it is no frame and counts as junk.

    Parameters
    ----------
    stream : ByteArray
        Recording, shape (octet,) [1].
    cadu_length : int
        Octets from one marker to the next [1].
    parameters : SyncParameters
        Tolerances.

    Returns
    -------
    Synchronization
        The frames; octets in frames, junk and tail add up to the octets of the recording.
    """
    cadu_bits = 8 * cadu_length
    room = 8 * stream.size // (cadu_bits - parameters.slip_window) + 1
    start = np.zeros(room, dtype=np.int64)
    distance = np.zeros(room, dtype=np.int64)
    count, tail = _kernels.lock(
        stream,
        MARKER,
        cadu_bits,
        parameters.search_errors,
        parameters.lock_errors,
        parameters.slip_window,
        parameters.flywheel,
        start,
        distance,
    )
    start, distance = start[:count], distance[:count]
    inverted = (distance < 0) & (-distance - 1 <= parameters.lock_errors)
    blocks = np.empty((count, cadu_length - MARKER_LENGTH), dtype=np.uint8)
    _kernels.extract(stream, start + 8 * MARKER_LENGTH, inverted, blocks)
    excess = np.diff(start, append=start[-1:] + cadu_bits) - cadu_bits
    frame_octets = int(np.sum(cadu_bits + np.minimum(excess, 0))) // 8
    tail_octets = 0 if tail < 0 else (8 * stream.size - tail) // 8
    return Synchronization(
        blocks=blocks,
        start=start,
        marker_errors=np.where(inverted, -distance - 1, np.where(distance < 0, 33 + distance, distance)),
        inverted=inverted,
        slip=np.where(np.abs(excess) <= parameters.slip_window, excess, 0),
        frame_octets=frame_octets,
        junk_octets=stream.size - frame_octets - tail_octets,
        tail_octets=tail_octets,
    )
