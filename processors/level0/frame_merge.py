"""One sequence of frames per virtual channel out of the recordings of several stations and passes.

Within an epoch of the channel's counter frames are ordered by it and held once.
"""

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.level0 import completeness, frame_epochs

BLOCK = 1 << 14
"""Frames of a stretch that are merged at a time."""
FREEZE = 16
"""Repeats of a counter in a recording, and one in so many frames, that make it the spacecraft's habit."""
STEPS = 1 << 20
"""Steps of a counter that are looked at together."""


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


def merged(
    segments: list[frame_epochs.Segment], *, account: MergeAccount, idle: bool = False, checked: bool = True
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
    found, account.strays = frame_epochs.epochs(segments, checked=checked)
    for members in found:
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


def _blocks(members: list[frame_epochs.Member]) -> Iterator[_Rows]:
    """Rows of all members in stretches of the counter, none of which divides the frames of one counter."""
    orders = [_order(member.segment) for member in members]
    counters = [
        (member.segment.entries["counter"] if order is None else member.segment.entries["counter"][order])
        for member, order in zip(members, orders, strict=True)
    ]
    cursor = [0] * len(members)
    waiting = sorted(range(len(members)), key=lambda number: int(counters[number][0]) + members[number].offset)
    active: list[int] = []
    while active or waiting:
        if not active:
            active.append(waiting.pop(0))
        limit = min(_reach(counters[number], cursor[number]) + members[number].offset for number in active)
        while waiting and int(counters[waiting[0]][0]) + members[waiting[0]].offset <= limit:
            active.append(waiting.pop(0))
            limit = min(limit, _reach(counters[active[-1]], 0) + members[active[-1]].offset)
        parts = []
        for number in sorted(active):
            end = _end(counters[number], cursor[number], limit - members[number].offset)
            order = orders[number]
            rows = np.arange(cursor[number], end) if order is None else order[cursor[number] : end]
            parts.append(_rows(members[number], number, rows))
            cursor[number] = end
        active = [number for number in active if cursor[number] < counters[number].size]
        yield _Rows(
            counter=np.concatenate([part.counter for part in parts]),
            fingerprint=np.concatenate([part.fingerprint for part in parts]),
            corrected=np.concatenate([part.corrected for part in parts]),
            member=np.concatenate([part.member for part in parts]),
            row=np.concatenate([part.row for part in parts]),
        )


def _reach(counter: IntArray, first: int) -> int:
    """Counter that a block from a row on may reach."""
    return int(counter[min(first + BLOCK, counter.size) - 1])


def _end(counter: IntArray, first: int, limit: int) -> int:
    """End of the rows from first on whose counters reach the limit at most; the search sees little of a long file."""
    reach = first + BLOCK
    while reach < counter.size and counter[reach] <= limit:
        reach += BLOCK
    return first + int(np.searchsorted(counter[first : reach + 1], limit, side="right"))


def _order(segment: frame_epochs.Segment) -> IntArray | None:
    """Order of the rows by counter where they did not arrive in it."""
    if all(bool(np.all(steps >= 0)) for steps in _steps(segment)):
        return None
    return np.argsort(segment.entries["counter"], kind="stable")


def _consecutive(rows: IntArray) -> bool:
    """Tell whether rows can be read in one piece."""
    return rows.size > 0 and rows[-1] - rows[0] == rows.size - 1 and bool(np.all(np.diff(rows) == 1))


def _rows(member: frame_epochs.Member, number: int, rows: IntArray) -> _Rows:
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


def _block(
    members: list[frame_epochs.Member], rows: _Rows, last: int | None, freezes: BoolArray, account: MergeAccount
) -> Block:
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


def _freezes(segment: frame_epochs.Segment) -> bool:
    """Tell whether the spacecraft repeats its counter: its frames then repeat themselves, nobody sent them twice."""
    repeats = sum(int(np.count_nonzero(steps == 0)) for steps in _steps(segment))
    return repeats >= FREEZE and FREEZE * repeats >= len(segment.entries)


def _steps(segment: frame_epochs.Segment) -> Iterator[IntArray]:
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


def _gathered(members: list[frame_epochs.Member], rows: _Rows) -> ByteArray:
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
