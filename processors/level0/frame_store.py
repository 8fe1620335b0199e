"""Frames of a decode on disk, channel by channel, while it is not yet known in which order they belong."""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray, IntArray
from processors.ccsds import transfer_frame
from processors.level0 import frame_merge

LATE = 1024
"""A counter this far back is a frame out of order; further back another stretch begins."""
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
        self._recordings: dict[int, dict[ChannelName, _Writer]] = defaultdict(dict)

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
            modulus = int(headers.modulus[rows].max())
            writer = self._recordings[recording].get(name)
            if writer is None:
                stem = self._folder / f"{recording}-{name.scid}-{name.vcid}"
                writer = self._recordings[recording][name] = _Writer(stem, modulus)
            chosen = frames if rows.size == len(frames) else frames[rows]
            writer.append(chosen, headers.counter[rows], corrected[rows], modulus)

    def discard(self, recording: int) -> None:
        """Forget the frames of a recording.

        Parameters
        ----------
        recording : int
            Its number [1].
        """
        self._recordings.pop(recording, None)

    def channels(self) -> list[ChannelName]:
        """Channels with at least one frame, by spacecraft and number."""
        return sorted({name for writers in self._recordings.values() for name in writers})

    def segments(self, name: ChannelName) -> list[frame_merge.Segment]:
        """Stretches of a channel, by recording and order of arrival, read from disk as they are used."""
        found: list[frame_merge.Segment] = []
        for recording in sorted(self._recordings):
            writer = self._recordings[recording].get(name)
            if writer is not None:
                found += writer.segments(recording, self._frame_length)
        return found


class _Writer:
    """Frames of one channel of one recording, cut into stretches within which the counter makes sense."""

    def __init__(self, stem: Path, modulus: int) -> None:
        self._stem = stem
        self._modulus = modulus
        self._raw: int | None = None
        self._counter = 0
        self._partition = 0
        self._stretches: list[tuple[int, int]] = []  # first row and partition of each
        self._rows = 0

    def append(self, frames: ByteArray, raw: IntArray, corrected: IntArray, modulus: int) -> None:
        self._modulus = max(self._modulus, modulus)
        index = np.zeros(len(frames), dtype=frame_merge.ENTRY)
        index["counter"] = self._unwrapped(raw)
        index["fingerprint"] = frame_merge.fingerprints(frames)
        index["corrected"] = corrected
        with self._stem.with_suffix(".frames").open("ab") as file:
            file.write(np.ascontiguousarray(frames).data)
        with self._stem.with_suffix(".index").open("ab") as file:
            file.write(index.data)
        self._rows += len(frames)

    def _unwrapped(self, raw: IntArray) -> IntArray:
        """Counters continued from those before; a new stretch begins where they leap."""
        previous = np.r_[raw[0] if self._raw is None else self._raw, raw[:-1]]
        step = frame_merge.counter_steps(raw - previous, modulus=self._modulus)
        wide = self._modulus > 256
        reset = wide & (raw < RESTART) & ((step < -LATE) | (step > LEAP))
        opens = reset | (wide & ((step < -LATE) | (step > LEAP)))
        if self._raw is None:
            opens[0] = True
        step[opens] = 0
        starts = np.flatnonzero(opens)
        counter = self._counter + np.cumsum(step)
        for row, following in itertools.pairwise([*starts.tolist(), raw.size]):
            self._partition += int(reset[row])
            self._stretches.append((self._rows + row, self._partition))
            counter[row:following] += int(raw[row]) - counter[row]
        self._raw, self._counter = int(raw[-1]), int(counter[-1])
        return counter

    def segments(self, recording: int, frame_length: int) -> list[frame_merge.Segment]:
        frames = np.memmap(self._stem.with_suffix(".frames"), dtype=np.uint8, mode="r").reshape(-1, frame_length)
        index = np.memmap(self._stem.with_suffix(".index"), dtype=frame_merge.ENTRY, mode="r")
        ends = [first for first, _ in self._stretches[1:]] + [self._rows]
        return [
            frame_merge.Segment(recording, partition, self._modulus, index[first:end], frames[first:end])
            for (first, partition), end in zip(self._stretches, ends, strict=True)
        ]
