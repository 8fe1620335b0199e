"""Frames of a decode on disk, channel by channel, while it is not yet known in which order they belong."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import ByteArray, IntArray
from processors.ccsds import transfer_frame
from processors.level0 import frame_epochs

LATE = 1024
"""A counter this far back is a frame out of order; further back another stretch begins."""
SHUFFLED = 64
"""A counter that falls further back than this, and before the first of its stretch, was reset."""
RESTART = 4096
"""A counter that leaps to less than this was reset on board."""
LEAP = 1 << 16
"""A step further ahead than this opens another stretch; one that ends near zero is no loss but a reset."""


class ChannelName(NamedTuple):
    """Spacecraft and virtual channel [1]."""

    scid: int
    vcid: int


class FrameStore:
    """Frames by virtual channel, in a folder; memory holds none of them.

    Parameters
    ----------
    folder : Path
        An empty folder of the caller's.
    frame_length : int
        Octets of a transfer frame [1].
    """

    def __init__(self, folder: Path, *, frame_length: int) -> None:
        self._folder = folder
        self._frame_length = frame_length
        self._channels: dict[ChannelName, _Channel] = {}
        self._discarded: set[int] = set()

    def append(
        self, frames: ByteArray, *, headers: transfer_frame.FrameHeaders, corrected: IntArray, recording: int
    ) -> None:
        """Add frames in their order of arrival.

        Parameters
        ----------
        frames : ByteArray
            Transfer frames, shape (frame, octet) [1].
        headers : FrameHeaders
            Their header fields.
        corrected : IntArray
            Symbols corrected in each, shape (frame,) [1].
        recording : int
            Number of the recording they are of [1].
        """
        identity = headers.scid << 6 | headers.vcid
        for key in np.unique(identity).tolist():
            rows = np.flatnonzero(identity == key)
            name = ChannelName(key >> 6, key & 0x3F)
            if name not in self._channels:
                self._channels[name] = _Channel(self._folder / f"{name.scid}-{name.vcid}")
            chosen = frames if rows.size == len(frames) else frames[rows]
            self._channels[name].append(chosen, headers.selected(rows), corrected[rows], recording)

    def discard(self, recording: int) -> None:
        """Forget the frames of a recording.

        Parameters
        ----------
        recording : int
            Its number [1].
        """
        self._discarded.add(recording)

    def channels(self) -> list[ChannelName]:
        """Channels with at least one frame, by spacecraft and number."""
        return sorted(name for name, channel in self._channels.items() if channel.recordings() - self._discarded)

    def segments(self, name: ChannelName) -> list[frame_epochs.Segment]:
        """Stretches of a channel, by recording and order of arrival, read from disk as they are used."""
        found = self._channels[name].segments(self._frame_length)
        return [segment for segment in found if segment.recording not in self._discarded]


class _Stretch(NamedTuple):
    """Rows within which the counter makes sense.

    recording, partition : recording, and resets before it there [1];
    axis : stretches of an axis count on from one another [1];
    first, end : rows of the channel's files [1].
    """

    recording: int
    partition: int
    axis: int
    first: int
    end: int


@dataclass
class _Counting:
    """Where the counter of one recording stands.

    raw, counter, partition, axis : of the last frame;
    rows, first : frames of the stretch it is in, and the counter of its first;
    resets, axes : numbers given out so far;
    before : the stretch before that one: last raw value and partition;
    recent : fingerprints of the last counters.
    """

    modulus: int
    raw: int = 0
    counter: int = 0
    partition: int = 0
    axis: int = -1
    rows: int = 0
    first: int = 0
    resets: int = 0
    axes: int = 0
    before: tuple[int, int] | None = None
    recent: dict[int, int] = field(default_factory=dict)

    def opened(self, raw: IntArray, prints: npt.NDArray[np.uint64]) -> tuple[IntArray, IntArray]:
        """Steps from frame to frame, and the rows at which another stretch begins; the first of all is one.

        A reset shows by a counter that leaps to nearly zero, or falls back before the stretch began or to one that is
        taken by another frame.
        """
        previous = np.concatenate(([raw[0] if self.axis < 0 else self.raw], raw[:-1]))
        step = frame_epochs.counter_steps(raw - previous, modulus=self.modulus)
        wide = self.modulus > frame_epochs.SMALL_MODULUS
        opens = wide & ((step < -LATE) | (step > LEAP))
        if wide:
            counter = self.counter + np.cumsum(step)
            for row in np.flatnonzero((step < 0) & ~opens).tolist():
                begins = self.first if self.axis >= 0 else int(counter[0])
                restarts = step[row] < -SHUFFLED and counter[row] < begins
                opens[row] = restarts or self._taken(counter, prints, row)
        if self.axis < 0:
            opens[0] = True
        return step, np.flatnonzero(opens)

    def _taken(self, counter: IntArray, prints: npt.NDArray[np.uint64], row: int) -> bool:
        """Tell whether the counter of a frame that falls back belongs to another frame already."""
        begin = max(row - 2 * LATE, 0)
        same = np.flatnonzero(counter[begin:row] == counter[row])
        held = int(prints[begin + same[-1]]) if same.size else self.recent.get(int(counter[row]))
        return held is not None and held != int(prints[row])

    def open(self, raw: int, step: int) -> None:
        """Begin another stretch at a raw value."""
        before, self.before = self.before, (self.raw, self.partition)
        returns = before is not None and self.rows <= frame_epochs.STRAY_FRAMES
        if returns and before is not None and 0 < (raw - before[0]) % self.modulus <= LATE:
            self.partition = before[1]  # the stretch that ends here was a stray
        elif (
            self.axis >= 0 and raw < RESTART and self.modulus > frame_epochs.SMALL_MODULUS and (step < 0 or step > LEAP)
        ):
            self.resets += 1
            self.partition = self.resets
        self.axis, self.axes, self.rows, self.first = self.axes, self.axes + 1, 0, raw
        self.recent.clear()


class _Channel:
    """Frames of one channel of all recordings, one after the other, cut into stretches."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self._rows = 0
        self._stretches: list[_Stretch] = []
        self._counting: dict[int, _Counting] = {}

    def recordings(self) -> set[int]:
        """Recordings with frames of the channel."""
        return set(self._counting)

    def append(
        self, frames: ByteArray, headers: transfer_frame.FrameHeaders, corrected: IntArray, recording: int
    ) -> None:
        entries = np.zeros(len(frames), dtype=frame_epochs.ENTRY)
        entries["fingerprint"] = frame_epochs.fingerprints(frames)
        entries["corrected"] = corrected
        counting = self._counting.setdefault(recording, _Counting(int(headers.modulus.max())))
        counting.modulus = max(counting.modulus, int(headers.modulus.max()))
        entries["counter"] = self._counted(recording, counting, headers.counter, entries["fingerprint"])
        with self._stem.with_suffix(".frames").open("ab") as file:
            file.write(np.ascontiguousarray(frames).data)
        with self._stem.with_suffix(".index").open("ab") as file:
            file.write(entries.data)
        self._rows += len(frames)

    def _counted(self, recording: int, counting: _Counting, raw: IntArray, prints: npt.NDArray[np.uint64]) -> IntArray:
        """Counters continued from those before, and the stretches they are of."""
        step, starts = counting.opened(raw, prints)
        counter = np.zeros_like(raw)
        bounds = sorted({0, *starts.tolist(), raw.size})
        for first, end in itertools.pairwise(bounds):
            if first in starts:
                counting.open(int(raw[first]), int(step[first]))
                counter[first:end] = raw[first] + np.cumsum(step[first:end]) - step[first]
            else:
                counter[first:end] = counting.counter + np.cumsum(step[first:end])
            counting.raw, counting.counter = int(raw[end - 1]), int(counter[end - 1])
            counting.rows += end - first
            tail = slice(max(first, end - LATE), end)
            counting.recent.update(zip(counter[tail].tolist(), prints[tail].tolist(), strict=True))
            self._add(_Stretch(recording, counting.partition, counting.axis, self._rows + first, self._rows + end))
        for old in list(counting.recent)[: -2 * LATE]:
            del counting.recent[old]
        return counter

    def _add(self, stretch: _Stretch) -> None:
        """Add rows, to the last stretch where they go on with it."""
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last[:3] == stretch[:3] and last.end == stretch.first:
            self._stretches[-1] = last._replace(end=stretch.end)
        else:
            self._stretches.append(stretch)

    def segments(self, frame_length: int) -> list[frame_epochs.Segment]:
        frames = np.memmap(self._stem.with_suffix(".frames"), dtype=np.uint8, mode="r").reshape(-1, frame_length)
        entries = np.memmap(self._stem.with_suffix(".index"), dtype=frame_epochs.ENTRY, mode="r")
        return [
            frame_epochs.Segment(
                recording=stretch.recording,
                partition=stretch.partition,
                axis=(stretch.axis,),
                modulus=self._counting[stretch.recording].modulus,
                entries=entries[stretch.first : stretch.end],
                frames=frames[stretch.first : stretch.end],
            )
            for stretch in self._stretches
        ]
