"""Which stretches of a channel's frames are of one counter, and where they lie on it.

A recording's frames of one channel are segments within which its counter makes sense. Segments that share frames, or
whose counters do not contradict each other, are one epoch of the channel's counter; another epoch begins with a reset
on board. What is decided does not depend on the order of the recordings.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import _kernels

ENTRY = np.dtype([("counter", "<i8"), ("fingerprint", "<u8"), ("corrected", "<i8")])
Entries = np.ndarray[tuple[int], np.dtype[np.void]]

SAMPLE = 1 << 14
"""Of segments longer than this some frames stand for all when they are compared."""
PAIRS = 2000
"""With more segments only neighbors are compared by their counters."""
LOSSY_RUN = 3
"""So many shared frames in a row that lie elsewhere show that one recording lost a whole turn of its counter."""
STRAY_FRAMES = 2
STRAY_DISTANCE = 1 << 16
"""So few frames so far off, and not checked by anything, have a wrong counter."""
ESTABLISHED = 100
"""Beside so many frames of a channel, a stray is no epoch of its own."""
SMALL_MODULUS = 256
REORDERED = 8
"""With an 8-bit counter a frame this far back is out of order; further back, the others were lost."""


class Segment(NamedTuple):
    """Frames of one channel from one recording, in order of arrival, between leaps of the counter.

    recording, partition : number of the recording, and of the reset within it [1];
    axis : segments of a recording with the same axis count on from one another;
    modulus : where the counter wraps [1];
    entries : unwrapped counter, fingerprint and corrected symbols of each, of dtype ENTRY, shape (frame,);
    frames : transfer frames, shape (frame, octet) [1].
    """

    recording: int
    partition: int
    axis: tuple[int, ...]
    modulus: int
    entries: Entries
    frames: ByteArray


class Member(NamedTuple):
    """A segment of an epoch, and what is added to its counter there [1]."""

    segment: Segment
    offset: int


def counter_steps(difference: IntArray, *, modulus: int) -> IntArray:
    """Steps of a wrapping counter from differences of its raw values.

    The shorter way round; an 8-bit counter is taken forward unless that is a few frames back, for a receiver loses two
    hundred frames more often than frames come a hundred late.

    Parameters
    ----------
    difference : IntArray
        Differences of raw values, shape (n,) [1].
    modulus : int
        Where the counter wraps [1].

    Returns
    -------
    IntArray
        Steps, shape (n,) [1].
    """
    back = REORDERED if modulus <= SMALL_MODULUS else modulus // 2
    return (difference + back) % modulus - back


def fingerprints(frames: ByteArray) -> npt.NDArray[np.uint64]:
    """64-bit fingerprint of each frame.

    Parameters
    ----------
    frames : ByteArray
        Frames, shape (frame, octet) [1].

    Returns
    -------
    ndarray of uint64
        Fingerprints, shape (frame,) [1].
    """
    rows = np.ascontiguousarray(frames)
    count, length = rows.shape
    whole = length // 8 * 8
    prints = np.zeros(count, dtype=np.uint64)
    words = rows[:, :whole].copy().view("<u8") if whole != length else rows.view("<u8")
    _kernels.fingerprints(words.reshape(count, whole // 8), rows[:, whole:], prints)
    return prints


def epochs(segments: list[Segment], *, checked: bool = True) -> tuple[list[list[Member]], int]:
    """Segments whose counters belong together, in the order in which the counter was reset.

    Parameters
    ----------
    segments : list of Segment
        Segments of one channel.
    checked : bool
        Whether a code or checksum vouches for the frames; else a few whose counters lie far off are strays.

    Returns
    -------
    tuple of list of list of Member and int
        Epochs, whose counters begin with the raw value of their first frame, and the number of strays left out.
    """
    narrow = max(segment.modulus for segment in segments) <= SMALL_MODULUS
    forest = _Forest(_ranked(_cut(segments) if narrow else segments), narrow=narrow)
    forest.join_axes()
    forest.join_shared()
    if narrow:
        forest.join_adjacent()
    else:
        forest.join_nearest()
    found, strays = [], 0
    groups = forest.groups()
    judged = not checked and not narrow
    established = max(sum(len(member.segment.entries) for member in members) for members in groups) >= ESTABLISHED
    for members in groups:
        kept = _credible(members) if judged else members
        if judged and established and sum(len(member.segment.entries) for member in kept) <= STRAY_FRAMES:
            strays += sum(len(member.segment.entries) for member in members)
            continue
        strays += sum(len(member.segment.entries) for member in members) - sum(len(m.segment.entries) for m in kept)
        found.append(_from_first(kept))
    return sorted(found, key=_rank), strays


def _ranked(segments: list[Segment]) -> list[Segment]:
    """An order that does not depend on that of the recordings: the longest first."""
    return sorted(segments, key=lambda s: (-len(s.entries), int(s.entries["counter"][0]), *_ends(s)))


def _ends(segment: Segment) -> tuple[int, int]:
    """Fingerprints of the first and the last frame: what tells segments apart."""
    return int(segment.entries["fingerprint"][0]), int(segment.entries["fingerprint"][-1])


class _Match(NamedTuple):
    """Frames that two segments share: the segments and their rows, each of shape (match,) or a number."""

    first: int
    second: int
    first_row: IntArray
    second_row: IntArray


def _matches(segments: list[Segment]) -> Iterator[_Match]:
    """Shared frames of every two segments; a frame that a segment holds twice tells nothing."""
    prints, rows, owners = _sampled(segments)
    order = np.lexsort((owners, prints))
    prints, rows, owners = prints[order], rows[order], owners[order]
    same = np.flatnonzero(prints[1:] == prints[:-1])
    pairs = owners[same] * len(segments) + owners[same + 1]
    for pair in np.unique(pairs).tolist():
        at = same[pairs == pair]
        by_row = np.argsort(rows[at], kind="stable")
        first, second = divmod(pair, len(segments))
        yield _Match(first, second, rows[at][by_row], rows[at + 1][by_row])


def _sampled(segments: list[Segment]) -> tuple[npt.NDArray[np.uint64], IntArray, IntArray]:
    """Fingerprint, row and segment of the frames that are compared: all of short segments, and some of long ones.

    Those of the long ones are chosen by their fingerprint, so that two segments choose the same frames.
    """
    total = sum(len(segment.entries) for segment in segments)
    bits = max(int(np.ceil(np.log2(max(total, 1) / (len(segments) * SAMPLE)))), 0)
    short = [np.asarray(s.entries["fingerprint"]) for s in segments if len(s.entries) <= SAMPLE]
    wanted = np.unique(np.concatenate(short)) if short and bits else np.zeros(0, dtype=np.uint64)
    prints, rows, owners = [], [], []
    for number, segment in enumerate(segments):
        mine = np.asarray(segment.entries["fingerprint"])
        if bits and len(mine) > SAMPLE:
            chosen = np.flatnonzero((mine & np.uint64((1 << bits) - 1) == 0) | np.isin(mine, wanted))
        else:
            chosen = np.arange(mine.size)
        _, first, count = np.unique(mine[chosen], return_index=True, return_counts=True)
        once = chosen[first[count == 1]]
        prints.append(mine[once])
        rows.append(once)
        owners.append(np.full(once.size, number))
    return np.concatenate(prints), np.concatenate(rows), np.concatenate(owners)


def _cut(segments: list[Segment]) -> list[Segment]:
    """Cut segments of an 8-bit counter where they lost whole turns of it without knowing.

    Another recording that holds the frames shows it: from there on the frames they share lie a multiple of 256 off.
    """
    parts = list(segments)
    while (place := _lossy(parts)) is not None:
        number, row = place
        whole = parts[number]
        parts[number] = whole._replace(entries=whole.entries[:row], frames=whole.frames[:row])
        parts.append(whole._replace(entries=whole.entries[row:], frames=whole.frames[row:], axis=(*whole.axis, row)))
    return parts


def _lossy(segments: list[Segment]) -> tuple[int, int] | None:
    for match in _matches(segments):
        first, second = segments[match.first], segments[match.second]
        offset = second.entries["counter"][match.second_row] - first.entries["counter"][match.first_row]
        for before, after in itertools.pairwise(_runs(offset)):
            ends = slice(before[1] - 1, after[0] + 1, max(after[0] + 1 - before[1], 1))
            mine, theirs = match.first_row[ends], match.second_row[ends]
            if theirs[-1] <= theirs[0]:
                continue
            # the recording that has fewer frames in between is the one that lost them
            number, rows = (
                (match.first, mine) if mine[-1] - mine[0] <= theirs[-1] - theirs[0] else (match.second, theirs)
            )
            counter = segments[number].entries["counter"][rows[0] : rows[-1] + 1]
            return number, int(rows[0] + 1 + np.argmax(np.diff(counter)))
    return None


def _runs(offset: IntArray) -> list[tuple[int, int]]:
    """First and end of every stretch of equal offsets that is long enough to mean something, neighbors different."""
    bounds = [0, *(np.flatnonzero(np.diff(offset)) + 1).tolist(), offset.size]
    runs: list[tuple[int, int]] = []
    for first, end in itertools.pairwise(bounds):
        if end - first < LOSSY_RUN:
            continue
        if runs and offset[runs[-1][0]] == offset[first]:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs


class _Forest:
    """Groups of segments that are joined step by step; each segment has an offset within its group."""

    def __init__(self, segments: list[Segment], *, narrow: bool) -> None:
        self._segments = segments
        self._narrow = narrow
        self._group = list(range(len(segments)))
        self._members = {number: [number] for number in self._group}
        self._offset = np.zeros(len(segments), dtype=np.int64)
        counters = [segment.entries["counter"] for segment in segments]
        self._low = np.array([counter.min() for counter in counters])
        self._high = np.array([counter.max() for counter in counters])
        self._compared: dict[tuple[int, int, int], tuple[int, int]] = {}

    def groups(self) -> list[list[Member]]:
        """Members of every group."""
        return [
            [Member(self._segments[number], int(self._offset[number])) for number in members]
            for members in self._members.values()
        ]

    def join_axes(self) -> None:
        """Join the segments that count on from one another."""
        known: dict[tuple[int, tuple[int, ...]], int] = {}
        for number, segment in enumerate(self._segments):
            other = known.setdefault((segment.recording, segment.axis), number)
            self._join(other, number, 0)

    def join_shared(self) -> None:
        """Join segments that share frames, by the offset most of these agree on, the surest first."""
        found = []
        for match in _matches(self._segments):
            first, second = (self._segments[number].entries["counter"] for number in match[:2])
            offsets, votes = np.unique(first[match.first_row] - second[match.second_row], return_counts=True)
            found.append((-int(votes.max()), match.first, match.second, int(offsets[np.argmax(votes)])))
        for _, one, other, offset in sorted(found):
            between = int(self._offset[one] + offset - self._offset[other])
            if self._group[one] != self._group[other] and not self._differ(one, other, between):
                self._join(one, other, between)

    def join_adjacent(self) -> None:
        """Join groups of an 8-bit counter where one goes on just where the other ends."""
        while (pair := self._adjacent()) is not None:
            self._join(*pair)

    def _adjacent(self) -> tuple[int, int, int] | None:
        for one, other in itertools.permutations(list(self._members), 2):
            between = int(self._bounds(one)[1]) + 1 - int(self._bounds(other)[0])
            if between % SMALL_MODULUS == 0 and not self._apart(one, other, between):
                return one, other, between
        return None

    def join_nearest(self) -> None:
        """Join groups that do not contradict each other, the nearest first."""
        self._align()
        for one, other in self._by_distance():
            if len(self._members) == 1:
                return
            if self._group[one] != self._group[other] and not self._apart(one, other, 0):
                self._join(one, other, 0)

    def _align(self) -> None:
        """Bring all groups as near to the first as multiples of the modulus can."""
        modulus = max(segment.modulus for segment in self._segments)
        anchor = sum(self._bounds(self._group[0]))
        for group, members in self._members.items():
            self._offset[members] += round((anchor - sum(self._bounds(group))) / 2 / modulus) * modulus

    def _by_distance(self) -> Iterator[tuple[int, int]]:
        low, high = self._low + self._offset, self._high + self._offset
        if low.size <= PAIRS:
            one, other = np.triu_indices(low.size, 1)
        else:
            order = np.argsort(low, kind="stable")
            one, other = order[:-1], order[1:]
        distance = np.maximum(np.maximum(low[one] - high[other], low[other] - high[one]), 0)
        for at in np.argsort(distance, kind="stable").tolist():
            yield int(one[at]), int(other[at])

    def _bounds(self, group: int) -> tuple[int, int]:
        members = self._members[group]
        return (
            int((self._low[members] + self._offset[members]).min()),
            int((self._high[members] + self._offset[members]).max()),
        )

    def _join(self, one: int, other: int, between: int) -> None:
        """Add the group of the other segment to that of the one, its counters moved by an offset."""
        home, guest = self._group[one], self._group[other]
        if home == guest:
            return
        moved = self._members.pop(guest)
        self._offset[moved] += between
        self._members[home] += moved
        for number in moved:
            self._group[number] = home

    def _apart(self, one: int, other: int, between: int) -> bool:
        """Tell whether a reset lies between two groups, or their frames differ."""
        seen: dict[int, int] = {}
        for number in (*self._members[self._group[one]], *self._members[self._group[other]]):
            segment = self._segments[number]
            if seen.setdefault(segment.recording, segment.partition) != segment.partition:
                return True
        return self._differ(one, other, between)

    def _differ(self, one: int, other: int, between: int) -> bool:
        """Tell whether clean frames of two groups differ under the same counter.

        What was corrected may have been corrected wrongly: only clean frames tell. With a wide counter one station may
        still have a frame wrong where most agree; with a narrow one the same number comes round too often for that.
        """
        mine, theirs = self._members[self._group[one]], self._members[self._group[other]]
        low, high = self._low + self._offset, self._high + self._offset
        agree = differ = 0
        for number in mine:
            near = (low[theirs] + between <= high[number]) & (high[theirs] + between >= low[number])
            for guest in np.asarray(theirs)[near].tolist():
                found = self._compare(number, guest, int(self._offset[guest] + between - self._offset[number]))
                agree, differ = agree + found[0], differ + found[1]
        return differ > (0 if self._narrow else agree)

    def _compare(self, one: int, other: int, between: int) -> tuple[int, int]:
        """Clean frames under equal counters that agree and that differ."""
        key = (one, other, between)
        if key not in self._compared:
            mine, theirs = self._segments[one].entries, self._segments[other].entries
            thin = mine[:: max(len(mine) // SAMPLE, 1)]
            _, here, there = np.intersect1d(thin["counter"], theirs["counter"] + between, return_indices=True)
            clean = (thin["corrected"][here] == 0) & (theirs["corrected"][there] == 0)
            same: BoolArray = thin["fingerprint"][here] == theirs["fingerprint"][there]
            self._compared[key] = int(np.sum(same & clean)), int(np.sum(~same & clean))
        return self._compared[key]


def _range(member: Member) -> tuple[int, int]:
    counter = member.segment.entries["counter"]
    return int(counter.min()) + member.offset, int(counter.max()) + member.offset


def _credible(members: list[Member]) -> list[Member]:
    """Members without the strays: a frame nothing vouches for, whose counter lies far from the others, is junk."""
    long = [_range(member) for member in members if len(member.segment.entries) > STRAY_FRAMES]
    if not long:
        return members
    low, high = min(first for first, _ in long), max(last for _, last in long)

    def credible(member: Member) -> bool:
        first, last = _range(member)
        return len(member.segment.entries) > STRAY_FRAMES or max(low - last, first - high) <= STRAY_DISTANCE

    return [member for member in members if credible(member)]


def _from_first(members: list[Member]) -> list[Member]:
    """Offsets such that the epoch's counter begins with a raw value."""
    modulus = max(member.segment.modulus for member in members)
    lowest = min(_range(member)[0] for member in members)
    return [Member(member.segment, member.offset + lowest % modulus - lowest) for member in members]


def _rank(members: list[Member]) -> tuple[int, int, int, int]:
    """Epochs follow one another as resets do in the recordings that saw them."""
    partition = max(member.segment.partition for member in members)
    lowest = min(_range(member)[0] for member in members)
    return partition, lowest, *min(_ends(member.segment) for member in members)
