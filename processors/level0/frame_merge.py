"""One sequence of frames per virtual channel out of the recordings of several stations and passes.

A recording's frames of one channel are stretches within which its counter makes sense. Stretches that share frames, or
whose counters do not contradict each other, are one epoch of the channel's counter; another epoch begins with a reset
on board. Within an epoch frames are ordered by their counter and held once.
"""

import itertools
import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import _kernels
from processors.level0 import completeness

ENTRY = np.dtype([("counter", "<i8"), ("fingerprint", "<u8"), ("corrected", "<i4")])
Entries = np.ndarray[tuple[int], np.dtype[np.void]]

SAMPLE = 1 << 14
"""Frames of a stretch that are compared with those of another."""
CONTRADICTIONS = 4
"""Fewer frames that differ under one counter are conflicts, not another epoch."""
BLOCK = 1 << 14
"""Frames of a stretch that are merged at a time."""
FREEZE = 16
"""Repeats of a counter in a recording, and one in so many frames, that make it the spacecraft's habit."""
STRAY_FRAMES = 2
STRAY_DISTANCE = 1 << 16
"""So few frames so far off, and not checked by anything, have a wrong counter."""
STEPS = 1 << 20
"""Steps of a counter that are looked at together."""
SMALL_MODULUS = 256
REORDERED = 8
"""With an 8-bit counter a frame this far back is out of order; further back, the others were lost."""


class Segment(NamedTuple):
    """Frames of one channel from one recording, in order of arrival, between resets of the counter.

    recording, partition : number of the recording, and of the reset within it [1];
    modulus : where the counter wraps [1];
    entries : unwrapped counter, fingerprint and corrected symbols of each, of dtype ENTRY, shape (frame,);
    frames : transfer frames, shape (frame, octet) [1].
    """

    recording: int
    partition: int
    modulus: int
    entries: Entries
    frames: ByteArray


class Member(NamedTuple):
    """A segment of an epoch, and what is added to its counter there [1]."""

    segment: Segment
    offset: int


class Block(NamedTuple):
    """Frames of an epoch in order, each once.

    frames : transfer frames, shape (frame, octet) [1];
    counter : unwrapped counter, beginning with the raw value of the epoch's first, shape (frame,) [1];
    continues : whether the frame before is held, shape (frame,);
    corrected : symbols corrected in each, shape (frame,) [1];
    conflicting : other contents under counters of the block, shape (frame, octet) [1].
    """

    frames: ByteArray
    counter: IntArray
    continues: BoolArray
    corrected: IntArray
    conflicting: ByteArray


@dataclass
class MergeAccount:
    """What merging found in one channel.

    Parameters
    ----------
    frames, duplicates, conflicts, frozen : int
        Frames accepted, held more than once with the same content, further contents under a counter that is taken, and
        frames accepted although they repeat the counter of the one before, for the spacecraft's counter freezes [1].
    strays : int
        Frames left out because nothing vouches for them and their counters lie far off [1].
    corrected, corrected_symbols : int
        Kept frames with corrected symbols, and those symbols [1].
    held : list of IntArray
        Intervals of the counter held, by epoch, each of shape (interval, 2) [1].
    """

    frames: int = 0
    duplicates: int = 0
    conflicts: int = 0
    frozen: int = 0
    strays: int = 0
    corrected: int = 0
    corrected_symbols: int = 0
    held: list[IntArray] = field(default_factory=list)


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


def merged(
    segments: list[Segment], *, account: MergeAccount, idle: bool = False, checked: bool = True
) -> Iterator[Block]:
    """Merge the segments of one channel.

    Parameters
    ----------
    segments : list of Segment
        Segments of all recordings; the result does not depend on the order of the recordings.
    account : MergeAccount
        Filled as the blocks are read.
    idle : bool
        Whether the channel is idle: its frames are only counted, and the n-th under a counter is not the first again.
    checked : bool
        Whether a code or checksum vouches for the frames; else a few whose counters lie far off are strays.

    Yields
    ------
    Block
        Frames in order; the first frame of an epoch continues nothing.
    """
    for members in _credible(epochs(segments), account, checked=checked):
        account.held.append(np.zeros((0, 2), dtype=np.int64))
        last: int | None = None
        freezes = np.array([_freezes(member.segment) for member in members])
        for rows in _blocks(members):
            if idle:
                _count_idle(rows, account)
                continue
            block = _block(members, rows, last, freezes, account)
            last = int(block.counter[-1])
            yield block
            for member in members:
                _release(member.segment.frames)
                _release(member.segment.entries)


def _credible(found: list[list[Member]], account: MergeAccount, *, checked: bool) -> list[list[Member]]:
    """Epochs without the strays: a frame nothing vouches for, whose counter lies far from all others, is junk."""
    if checked:
        return found
    kept = []
    for members in found:
        others = [[other for other in members if other is not member] for member in members]
        stray = [
            bool(rest) and len(member.segment.entries) <= STRAY_FRAMES and _distance([member], rest) > STRAY_DISTANCE
            for member, rest in zip(members, others, strict=True)
        ]
        account.strays += sum(len(m.segment.entries) for m, out in zip(members, stray, strict=True) if out)
        kept.append(_from_first([member for member, out in zip(members, stray, strict=True) if not out]))
    return kept


def epochs(segments: list[Segment]) -> list[list[Member]]:
    """Segments whose counters belong together, in the order in which the counter was reset.

    Parameters
    ----------
    segments : list of Segment
        Segments of one channel.

    Returns
    -------
    list of list of Member
        Epochs; their counters begin with the raw value of their first frame.
    """
    ranked = sorted(
        segments, key=lambda s: (-len(s.entries), int(s.entries["counter"][0]), int(s.entries["fingerprint"][0]))
    )
    found: list[list[Member]] = []
    for segment in ranked:
        _join_shared(segment, found)
    while (pair := _nearest_pair(found)) is not None:
        first, second, offset = pair
        found[first] += _shifted(found[second], offset)
        del found[second]
    return sorted((_from_first(members) for members in found), key=_rank)


def _shifted(members: list[Member], offset: int) -> list[Member]:
    return [Member(member.segment, member.offset + offset) for member in members]


def _join_shared(segment: Segment, found: list[list[Member]]) -> None:
    """Add a segment to the groups it shares frames with, which become one."""
    shared = [
        (members, offset)
        for members in found
        if (offset := _shared_offset(segment, members)) is not None
        and not _contradict([Member(segment, offset)], members)
    ]
    if not shared:
        found.append([Member(segment, 0)])
        return
    home, offset = shared[0]
    home.append(Member(segment, offset))
    for members, other in shared[1:]:
        home += _shifted(members, offset - other)
        found[:] = [kept for kept in found if kept is not members]


def _nearest_pair(found: list[list[Member]]) -> tuple[int, int, int] | None:
    """Two groups whose counters lie nearest among those that do not contradict each other, and the offset between."""
    candidates = []
    for first, second in itertools.combinations(range(len(found)), 2):
        offset = _aligned_offset(found[first], found[second])
        if offset is not None and not _contradict(_shifted(found[second], offset), found[first]):
            candidates.append((_distance(found[first], _shifted(found[second], offset)), first, second, offset))
    return min(candidates)[1:] if candidates else None


def _shared_offset(segment: Segment, members: list[Member]) -> int | None:
    """What must be added to the segment's counter where it holds frames an epoch holds too, by majority."""
    prints, counters = _sampled(segment)
    for member in members:
        theirs, their_counters = _sampled(member.segment)
        _, mine, other = np.intersect1d(prints, theirs, assume_unique=True, return_indices=True)
        if mine.size:
            offsets, votes = np.unique(their_counters[other] + member.offset - counters[mine], return_counts=True)
            return int(offsets[np.argmax(votes)])
    return None


def _sampled(segment: Segment) -> tuple[npt.NDArray[np.uint64], IntArray]:
    """Fingerprints that occur once, thinned out by their own value so that two segments choose the same ones."""
    prints = np.asarray(segment.entries["fingerprint"])
    counters = np.asarray(segment.entries["counter"])
    thinning = max(int(np.ceil(np.log2(max(prints.size, 1) / SAMPLE))), 0)
    # the thinner of two samples is a subset of the other only where they share the mask: go by powers of 16
    mask = np.uint64((1 << (4 * -(-thinning // 4))) - 1)
    chosen = (prints & mask) == 0
    unique, first, count = np.unique(prints[chosen], return_index=True, return_counts=True)
    return unique[count == 1], counters[chosen][first[count == 1]]


def _range(member: Member) -> tuple[int, int]:
    counter = member.segment.entries["counter"]
    return int(counter.min()) + member.offset, int(counter.max()) + member.offset


def _bounds(members: list[Member]) -> tuple[int, int]:
    ranges = [_range(member) for member in members]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _aligned_offset(first: list[Member], second: list[Member]) -> int | None:
    """Multiple of the modulus that brings the second group nearest to the first, with which it shares no frame.

    An 8-bit counter says too little for that, unless one group goes on just where the other ends.
    """
    modulus = max(member.segment.modulus for member in first)
    (low, high), (second_low, second_high) = _bounds(first), _bounds(second)
    if modulus > SMALL_MODULUS:
        return round((low + high - second_low - second_high) / 2 / modulus) * modulus
    if (second_low - high - 1) % modulus == 0:
        return high + 1 - second_low
    if (low - second_high - 1) % modulus == 0:
        return low - 1 - second_high
    return None


def _distance(first: list[Member], second: list[Member]) -> int:
    """Counters between the nearest members of two groups, 0 where they overlap."""
    return min(
        max(low - other_high, other_low - high, 0)
        for low, high in map(_range, first)
        for other_low, other_high in map(_range, second)
    )


def _contradict(first: list[Member], second: list[Member]) -> bool:
    """Tell whether a reset lies between two groups, or clean frames mostly differ under the same counter."""
    return any(_is_reset(mine, other) or _differ(mine, other) for mine in first for other in second)


def _is_reset(first: Member, second: Member) -> bool:
    one, other = first.segment, second.segment
    return one.recording == other.recording and one.partition != other.partition


def _differ(first: Member, second: Member) -> bool:
    (low, high), (other_low, other_high) = _range(first), _range(second)
    if low > other_high or other_low > high:
        return False
    thin = first.segment.entries[:: max(len(first.segment.entries) // SAMPLE, 1)]
    entries = second.segment.entries
    _, here, there = np.intersect1d(
        thin["counter"] + first.offset, entries["counter"] + second.offset, return_indices=True
    )
    mine, theirs = thin[here], entries[there]
    # what was corrected may have been corrected wrongly: only clean frames tell
    clean = (mine["corrected"] == 0) & (theirs["corrected"] == 0)
    differ = int(np.sum((mine["fingerprint"] != theirs["fingerprint"]) & clean))
    return differ >= CONTRADICTIONS and 2 * differ > int(np.sum(clean))


def _from_first(members: list[Member]) -> list[Member]:
    """Offsets such that the epoch's counter begins with a raw value."""
    modulus = max(member.segment.modulus for member in members)
    lowest, _ = _bounds(members)
    return _shifted(members, lowest % modulus - lowest)


def _rank(members: list[Member]) -> tuple[int, int, int]:
    """Epochs follow one another as resets do in the recordings that saw them."""
    partition = max(member.segment.partition for member in members)
    return partition, _bounds(members)[0], min(int(member.segment.entries["fingerprint"][0]) for member in members)


class _Rows(NamedTuple):
    """Frames of a block before they are ordered: counter, fingerprint, corrected symbols, member, row of the member."""

    counter: IntArray
    fingerprint: npt.NDArray[np.uint64]
    corrected: IntArray
    member: IntArray
    row: IntArray

    def taken(self, order: IntArray) -> "_Rows":
        """Rows in another order, or some of them."""
        return _Rows(
            self.counter[order], self.fingerprint[order], self.corrected[order], self.member[order], self.row[order]
        )


def _blocks(members: list[Member]) -> Iterator[_Rows]:
    """Rows of all members in stretches of the counter, none of which divides the frames of one counter."""
    orders = [_order(member.segment) for member in members]
    counters = [
        (member.segment.entries["counter"] if order is None else member.segment.entries["counter"][order])
        for member, order in zip(members, orders, strict=True)
    ]
    cursor = [0] * len(members)
    while any(at < counter.size for at, counter in zip(cursor, counters, strict=True)):
        limit = min(
            int(counter[min(at + BLOCK, counter.size) - 1]) + member.offset
            for at, counter, member in zip(cursor, counters, members, strict=True)
            if at < counter.size
        )
        parts = []
        for number, (member, order) in enumerate(zip(members, orders, strict=True)):
            end = int(np.searchsorted(counters[number], limit - member.offset, side="right"))
            rows = np.arange(cursor[number], end) if order is None else order[cursor[number] : end]
            parts.append(_rows(member, number, rows))
            cursor[number] = max(end, cursor[number])
        yield _Rows(
            counter=np.concatenate([part.counter for part in parts]),
            fingerprint=np.concatenate([part.fingerprint for part in parts]),
            corrected=np.concatenate([part.corrected for part in parts]),
            member=np.concatenate([part.member for part in parts]),
            row=np.concatenate([part.row for part in parts]),
        )


def _order(segment: Segment) -> IntArray | None:
    """Order of the rows by counter where they did not arrive in it."""
    if all(bool(np.all(steps >= 0)) for steps in _steps(segment)):
        return None
    return np.argsort(segment.entries["counter"], kind="stable")


def _consecutive(rows: IntArray) -> bool:
    """Tell whether rows can be read in one piece."""
    return rows.size > 0 and rows[-1] - rows[0] == rows.size - 1 and bool(np.all(np.diff(rows) == 1))


def _rows(member: Member, number: int, rows: IntArray) -> _Rows:
    contiguous = _consecutive(rows)
    index = member.segment.entries[rows[0] : rows[-1] + 1] if contiguous else member.segment.entries[rows]
    return _Rows(
        counter=index["counter"] + member.offset,
        fingerprint=np.array(index["fingerprint"]),
        corrected=index["corrected"].astype(np.int64),
        member=np.full(rows.size, number),
        row=rows,
    )


def _count_idle(rows: _Rows, account: MergeAccount) -> None:
    """Idle frames of a frozen counter are no duplicates of one another; those of another station may be."""
    pairs, times = np.unique(np.stack((rows.counter, rows.member)), axis=1, return_counts=True)
    counter, where = np.unique(pairs[0], return_inverse=True)
    kept = np.zeros(counter.size, dtype=np.int64)
    np.maximum.at(kept, where, times)
    account.frames += int(kept.sum())
    account.duplicates += rows.counter.size - int(kept.sum())
    best = rows.taken(np.lexsort((rows.corrected, rows.counter)))
    first = best.corrected[np.flatnonzero(np.diff(best.counter, prepend=best.counter[0] - 1))]
    account.corrected += int(np.count_nonzero(first))
    account.corrected_symbols += int(first.sum())
    account.held[-1] = completeness.union(account.held[-1], completeness.intervals_from_counters(counter))


def _block(members: list[Member], rows: _Rows, last: int | None, freezes: BoolArray, account: MergeAccount) -> Block:
    ordered = rows.taken(np.argsort(rows.counter, kind="stable"))
    kept, conflicting = _chosen(ordered, account, freezes)
    chosen = ordered.taken(kept)
    step = np.diff(chosen.counter, prepend=chosen.counter[0] if last is None else last)
    continues = (step == 1) | (step == 0)
    if last is None:
        continues[0] = False
    account.frames += kept.size
    account.frozen += int(np.sum(step[1:] == 0))
    account.corrected += int(np.count_nonzero(chosen.corrected))
    account.corrected_symbols += int(chosen.corrected.sum())
    account.held[-1] = completeness.union(account.held[-1], completeness.intervals_from_counters(chosen.counter))
    return Block(
        frames=_gathered(members, chosen),
        counter=chosen.counter,
        continues=continues,
        corrected=chosen.corrected,
        conflicting=_gathered(members, ordered.taken(conflicting)),
    )


def _freezes(segment: Segment) -> bool:
    """Tell whether the spacecraft repeats its counter: its frames then repeat themselves, nobody sent them twice."""
    repeats = sum(int(np.count_nonzero(steps == 0)) for steps in _steps(segment))
    return repeats >= FREEZE and FREEZE * repeats >= len(segment.entries)


def _steps(segment: Segment) -> Iterator[IntArray]:
    """Steps of the counter, stretch by stretch: a segment may be longer than memory."""
    for first in range(0, len(segment.entries) - 1, STEPS):
        yield np.diff(segment.entries["counter"][first : first + STEPS + 1])
        _release(segment.entries)


def _release(stored: npt.NDArray[Any]) -> None:
    """Give back the memory that holds what has been read of a file; it is read again where it is needed again."""
    mapped = getattr(stored, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def _chosen(rows: _Rows, account: MergeAccount, freezes: BoolArray) -> tuple[IntArray, IntArray]:
    """Rows to keep, in order, and those in conflict with them; the rows are ordered by counter."""
    opens = np.flatnonzero(np.diff(rows.counter, prepend=rows.counter[0] - 1))
    size = np.diff(opens, append=rows.counter.size)
    if opens.size == rows.counter.size:
        return opens, opens[:0]
    group = np.repeat(np.arange(opens.size), size)
    plain = np.ones(opens.size, dtype=np.bool_)
    plain[group[rows.fingerprint != rows.fingerprint[opens[group]]]] = False
    least = np.lexsort((rows.corrected, group))[opens]  # of identical frames the least corrected
    keep = [least[plain]]
    repeated = _repeated(rows, group, freezes)[plain] if freezes.any() else np.zeros(1, dtype=np.int64)
    account.frames += int(repeated.sum())
    account.frozen += int(repeated.sum())
    account.duplicates += int(np.sum(size[plain] - 1)) - int(repeated.sum())
    conflicting: list[int] = []
    for number in np.flatnonzero(~plain).tolist():
        some, others, again = _contents(rows, np.arange(opens[number], opens[number] + size[number]), freezes)
        keep.append(np.array(some))
        conflicting += others
        account.frames += again
        account.frozen += again
        account.duplicates += int(size[number]) - len(some) - len(others) - again
        account.conflicts += len(others)
    kept = np.concatenate(keep)
    return kept[np.argsort(rows.counter[kept], kind="stable")], np.array(conflicting, dtype=np.int64)


def _repeated(rows: _Rows, group: IntArray, freezes: BoolArray) -> IntArray:
    """Frames of each group beyond the first that one recording of a freezing counter holds."""
    times = np.zeros((int(group[-1]) + 1, freezes.size), dtype=np.int64)
    np.add.at(times, (group, rows.member), 1)
    repeats: IntArray = np.maximum(times * freezes - 1, 0).max(axis=1)
    return repeats


def _contents(rows: _Rows, group: IntArray, freezes: BoolArray) -> tuple[list[int], list[int], int]:
    """Frames that differ under one counter: those to keep, those in conflict, and how many a freezing counter repeats.

    A recording that shows several contents under one counter comes from a spacecraft whose counter is frozen: all are
    kept, in its order. Otherwise recordings contradict each other: the least corrected is kept.
    """
    best: dict[int, int] = {}
    seen: dict[int, Counter[int]] = {}
    for row in group.tolist():
        content = int(rows.fingerprint[row])
        if content not in best or rows.corrected[row] < rows.corrected[best[content]]:
            best[content] = row
        seen.setdefault(int(rows.member[row]), Counter())[content] += 1
    frozen = [contents for member, contents in seen.items() if freezes[member]]
    again = sum(max(max(contents[content] for contents in frozen) - 1, 0) for content in best) if frozen else 0
    longest = max((list(contents) for contents in seen.values()), key=lambda contents: (len(contents), contents))
    if len(longest) > 1:
        rest = sorted(set(best) - set(longest))
        return [best[content] for content in [*longest, *rest]], [], again
    ranked = sorted(best, key=lambda content: (int(rows.corrected[best[content]]), content))
    return [best[ranked[0]]], [best[content] for content in ranked[1:]], again


def _gathered(members: list[Member], rows: _Rows) -> ByteArray:
    """Frames of the rows; those of one recording in order are copied in one piece."""
    length = members[0].segment.frames.shape[1]
    frames = np.empty((rows.row.size, length), dtype=np.uint8)
    for number in np.unique(rows.member).tolist():
        at = np.flatnonzero(rows.member == number)
        wanted = rows.row[at]
        source = members[number].segment.frames
        if at.size == rows.row.size and _consecutive(wanted):
            piece: ByteArray = source[wanted[0] : wanted[-1] + 1]
            return piece
        frames[at] = source[wanted]
    return frames
