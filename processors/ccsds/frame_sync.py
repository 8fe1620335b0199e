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
    """Frames found in a stretch of a stream.

    blocks : octets after each marker, aligned and with polarity restored, shape (frame, octet) [1];
    start : first bit of each marker in the stream, shape (frame,) [1, bits];
    marker_errors : wrong bits of each marker, shape (frame,) [1, bits];
    inverted : whether the frame came with inverted polarity, shape (frame,);
    slip : bits inserted (positive) or lost before the next marker, shape (frame,) [1, bits].
    """

    blocks: ByteArray
    start: IntArray
    marker_errors: IntArray
    inverted: BoolArray
    slip: IntArray


class Recovered(NamedTuple):
    """Frames of a whole recording: the fields of a Synchronization, and its account."""

    blocks: ByteArray
    start: IntArray
    marker_errors: IntArray
    inverted: BoolArray
    slip: IntArray
    account: "SyncAccount"


@dataclass
class SyncAccount:
    """Where the octets of a stream went, and what the receiver went through.

    Parameters
    ----------
    octets, frame_octets, junk_octets, tail_octets : int
        Octets received, in frames, in none, and in the incomplete last frame [1].
    slips, inversions, losses : int
        Slips, changes of polarity and losses of lock [1].
    """

    octets: int = 0
    frame_octets: int = 0
    junk_octets: int = 0
    tail_octets: int = 0
    slips: int = 0
    inversions: int = 0
    losses: int = 0


class Synchronizer:
    """Frames of a stream that comes in pieces, at any bit offset and in either polarity.

    Without lock a marker counts when another confirms it one or two frames on. In lock a frame is accepted where its
    marker is near enough, slipped by a few bits, or missed but followed by one in its place. A frame inside which the
    next one begins has lost octets: it is no frame and counts as junk. How the stream is cut into pieces changes
    nothing; memory holds a piece and a few frames.

    Parameters
    ----------
    cadu_length : int
        Octets from one marker to the next [1].
    parameters : SyncParameters
        Tolerances.
    """

    def __init__(self, *, cadu_length: int, parameters: SyncParameters = SyncParameters()) -> None:
        self.account = SyncAccount()
        self.head = np.zeros(0, dtype=np.uint8)
        """Octets before the first frame where they can be the end of one: fewer than a frame, from the very begin."""
        self.head_bits = 0
        """Bits of the head that lie before the first marker."""
        self.tail = np.zeros(0, dtype=np.uint8)
        """Octets of the incomplete last frame, from the one its marker begins in; known once finished."""
        self.tail_bit = 0
        """Bit of the tail's first octet at which the marker begins."""
        self._cadu_bits = 8 * cadu_length
        self._parameters = parameters
        self._held = np.zeros(0, dtype=np.uint8)
        self._discarded = 0
        self._bit = 0
        self._locked = False
        self._frame_bits = 0
        self._inverted = False
        self._found = False

    def feed(self, octets: ByteArray) -> Synchronization:
        """Frames that can be decided upon with another stretch of the stream.

        Parameters
        ----------
        octets : ByteArray
            The next stretch, shape (octet,) [1].

        Returns
        -------
        Synchronization
            Frames, in order.
        """
        self.account.octets += octets.size
        self._held = np.concatenate((self._held, octets)) if self._held.size else np.ascontiguousarray(octets)
        found = self._frames(final=False)
        self._discard()
        return found

    def finish(self) -> Synchronization:
        """Frames left at the end of the stream; the account is complete afterwards.

        Returns
        -------
        Synchronization
            Frames, in order.
        """
        found = self._frames(final=True)
        first = self._bit >> 3
        if self._locked:
            self.tail, self.tail_bit = self._held[first:], self._bit & 7
        account = self.account
        account.frame_octets = self._frame_bits // 8
        account.tail_octets = (8 * self._held.size - self._bit) // 8 if self._locked else 0
        account.junk_octets = account.octets - account.frame_octets - account.tail_octets
        return found

    def _frames(self, *, final: bool) -> Synchronization:
        stream, cadu_bits, tolerance = self._held, self._cadu_bits, self._parameters
        room = max(8 * stream.size - self._bit, 0) // (cadu_bits - tolerance.slip_window) + 2
        start, follows, distance = (np.zeros(room, dtype=np.int64) for _ in range(3))
        count, self._bit, self._locked = _kernels.lock(
            stream,
            self._bit,
            self._locked,
            final,
            MARKER,
            cadu_bits,
            tolerance.search_errors,
            tolerance.lock_errors,
            tolerance.slip_window,
            tolerance.flywheel,
            start,
            follows,
            distance,
        )
        start, follows, distance = start[:count], follows[:count], distance[:count]
        inverted = self._polarity(distance)
        blocks = np.empty((count, cadu_bits // 8 - MARKER_LENGTH), dtype=np.uint8)
        _kernels.extract(stream, start + 8 * MARKER_LENGTH, inverted, blocks)
        slip = np.where(follows < 0, 0, follows - start - cadu_bits)
        self._count(start, slip, inverted, follows)
        return Synchronization(
            blocks=blocks,
            start=start + 8 * self._discarded,
            marker_errors=np.where(
                inverted == (distance < 0), np.where(inverted, -distance - 1, distance), _opposite(distance)
            ),
            inverted=inverted,
            slip=slip,
        )

    def _polarity(self, distance: IntArray) -> BoolArray:
        """Polarity of each frame; one whose marker tells nothing has that of the frame before."""
        errors = np.where(distance < 0, -distance - 1, distance)
        telling = np.flatnonzero(errors <= self._parameters.lock_errors)
        last = np.searchsorted(telling, np.arange(distance.size), side="right") - 1
        inverted = np.full(distance.size, self._inverted)
        known = last >= 0
        inverted[known] = distance[telling[last[known]]] < 0
        return inverted

    def _count(self, start: IntArray, slip: IntArray, inverted: BoolArray, follows: IntArray) -> None:
        if start.size == 0:
            return
        if not self._found:
            self._found = True
            self.head_bits = int(start[0]) + 8 * self._discarded
            if self.head_bits < self._cadu_bits:
                self.head = self._held[: (self.head_bits + 7) >> 3].copy()
        self._frame_bits += int(np.sum(self._cadu_bits + np.minimum(slip, 0)))
        self.account.slips += int(np.count_nonzero(slip))
        self.account.inversions += int(np.count_nonzero(np.diff(inverted, prepend=self._inverted)))
        self.account.losses += int(np.count_nonzero(follows < 0))
        self._inverted = bool(inverted[-1])

    def _discard(self) -> None:
        """Forget the octets before the position reading goes on from; keep the first, they may end another's frame."""
        keep = not self._found and 8 * self._discarded + self._bit < self._cadu_bits
        done = 0 if keep else self._bit >> 3
        self._held = self._held[done:].copy()
        self._bit -= 8 * done
        self._discarded += done


def _opposite(distance: IntArray) -> IntArray:
    """Wrong bits of a marker against the polarity it is not nearer to."""
    return np.where(distance < 0, 33 + distance, 32 - distance)


def synchronize(stream: ByteArray, *, cadu_length: int, parameters: SyncParameters = SyncParameters()) -> Recovered:
    """Find every frame of a whole recording.

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
    Recovered
        The frames and the account.
    """
    synchronizer = Synchronizer(cadu_length=cadu_length, parameters=parameters)
    parts = (synchronizer.feed(stream), synchronizer.finish())
    return Recovered(
        blocks=np.concatenate([part.blocks for part in parts]),
        start=np.concatenate([part.start for part in parts]),
        marker_errors=np.concatenate([part.marker_errors for part in parts]),
        inverted=np.concatenate([part.inverted for part in parts]),
        slip=np.concatenate([part.slip for part in parts]),
        account=synchronizer.account,
    )
