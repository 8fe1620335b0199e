"""What was held of every application process, what is missing, and whether it is known why.

Two expectations that know nothing of each other: the sequence counters of the packets held, and the counters of packets
produced that the spacecraft sends in its housekeeping.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from processors.arrays import BoolArray, IntArray
from processors.ccsds import space_packet
from processors.level0 import packet_merge


@dataclass(frozen=True)
class ApidAccount:
    """Account of one application process; plain values, so that `dataclasses.asdict` is ready for JSON.

    Parameters
    ----------
    apid : int
        Application process [1].
    count : int
        Packets held, copies not counted [1].
    missing : int
        Counters without a packet between the first and the last of each clock partition [1].
    gaps : list of list of int
        Those counters as [partition, first, last] [1].
    unexplained : int
        Packets missing, by either expectation, where no channel was interrupted [1].
    duplicates : int
        Copies left out [1].
    conflicts : int
        Packets that differ from another one of their counter [1].
    incomplete_units : int
        Segmented units that lack a packet [1].
    expected_produced : int or None
        Packets the spacecraft says it produced between the first and the last housekeeping packet of each partition
        [1]; None where it does not say.
    held_in_bracket : int or None
        Packets held of that time [1].
    """

    apid: int
    count: int
    missing: int
    gaps: list[list[int]]
    unexplained: int
    duplicates: int
    conflicts: int
    incomplete_units: int
    expected_produced: int | None
    held_in_bracket: int | None


class _Bracket(NamedTuple):
    """Two housekeeping packets of a partition and what was produced from the one to the other."""

    octet: int
    begin: float
    end: float
    produced: dict[int, int]


class _Balance(NamedTuple):
    expected: int
    held: int
    unexplained: int


def account(
    merged: packet_merge.MergedPackets,
    produced: xr.Dataset | None = None,
    *,
    within: tuple[float, float] | None = None,
) -> list[ApidAccount]:
    """Account of every application process that was held or should have been.

    Packets on both sides of a window make its account exact: a gap belongs to the window of the packet after it, and
    the counters of packets produced are read from the first housekeeping packet of the window to the first one after
    it, so that windows in succession leave nothing out and count nothing twice.

    Parameters
    ----------
    merged : MergedPackets
        Result of a merge.
    produced : xr.Dataset, optional
        `housekeeping.produced_counters` of the merged housekeeping packets; links of others have none.
    within : tuple of float, optional
        Begin and end of the window the account is for [s, GPS], the end outside; without it everything counts.

    Returns
    -------
    list of ApidAccount
        By application process, ascending.
    """
    window = within or (-np.inf, np.inf)
    brackets = _brackets(produced, window) if produced is not None else []
    silent = {
        apid for bracket in brackets for apid, count in bracket.produced.items() if count and apid not in merged.packets
    }
    rows = [_account(merged, apid, brackets, window) for apid in merged.packets]
    rows += [_nothing_held(apid, brackets) for apid in silent]
    return sorted((row for row in rows if row.count or row.missing or row.expected_produced), key=lambda row: row.apid)


def _account(
    merged: packet_merge.MergedPackets, apid: int, brackets: list[_Bracket], window: tuple[float, float]
) -> ApidAccount:
    held = merged.packets[apid]
    mine = _in_window(held, window)
    every = _lost_before(held)
    lost = np.where(mine, every, 0)
    at = np.flatnonzero(lost)
    gaps = np.stack((held.partition[at], held.counter[at] - lost[at], held.counter[at] - 1), axis=1)
    balances = [_balance(held, every, bracket) for bracket in brackets if apid in bracket.produced]
    units = packet_merge.groups(merged, apid)
    return ApidAccount(
        apid=apid,
        count=int(np.count_nonzero(mine)),
        missing=int(lost.sum()),
        gaps=gaps.tolist(),
        unexplained=int(lost[~held.broken].sum()) + sum(balance.unexplained for balance in balances),
        duplicates=int(np.sum(held.copies[mine] - 1)),
        conflicts=int(np.count_nonzero(held.conflict & mine)),
        incomplete_units=int(np.count_nonzero(units.mask[mine[units.first]])),
        expected_produced=sum(balance.expected for balance in balances) if balances else None,
        held_in_bracket=sum(balance.held for balance in balances) if balances else None,
    )


def _in_window(held: packet_merge.ApidPackets, window: tuple[float, float]) -> BoolArray:
    """Tell which packets are of a window; a packet without time is where the one before it with a time is."""
    timed = np.isfinite(held.time)
    if not timed.any():
        return np.ones(timed.size, dtype=np.bool_)
    index = np.arange(timed.size)
    before = np.maximum.accumulate(np.where(timed, index, -1))
    time = held.time[np.where(before >= 0, before, np.argmax(timed))]
    return np.asarray((time >= window[0]) & (time < window[1]))


def _nothing_held(apid: int, brackets: list[_Bracket]) -> ApidAccount:
    expected = sum(bracket.produced.get(apid, 0) for bracket in brackets)
    return ApidAccount(apid, 0, 0, [], expected, 0, 0, 0, expected, 0)


def _lost_before(held: packet_merge.ApidPackets) -> IntArray:
    """Counters missing between each packet and the one before it in its stretch."""
    inside = np.diff(held.stretch) == 0
    return np.concatenate(([0], np.where(inside, np.maximum(np.diff(held.counter) - 1, 0), 0)))


def _brackets(produced: xr.Dataset, window: tuple[float, float]) -> list[_Bracket]:
    """Ends of what each partition says it produced in a window, where its counters and its clock run forward."""
    time = produced["time"].to_numpy()
    octets = produced["clock_partition"].to_numpy()
    counters = produced["packets_produced"].to_numpy()
    apids = produced["apid"].to_numpy().tolist()
    brackets = []
    for octet in np.unique(octets).tolist():
        rows = np.flatnonzero((octets == octet) & (time >= window[0]))
        rows = rows[: np.count_nonzero(time[rows] < window[1]) + 1]
        forward = np.all(np.diff(time[rows]) >= 0) and np.all(np.diff(counters[rows], axis=0) >= 0)
        if rows.size > 1 and forward:
            difference = counters[rows[-1]] - counters[rows[0]]
            spent = dict(zip(apids, difference.tolist(), strict=True))
            brackets.append(_Bracket(octet, float(time[rows[0]]), float(time[rows[-1]]), spent))
    return brackets


def _balance(held: packet_merge.ApidPackets, lost: IntArray, bracket: _Bracket) -> _Balance:
    """Compare what the spacecraft produced within a bracket with what was held and what its counters miss.

    A gap across an end of the bracket may lie in it in part. What remains was lost where the counters cannot see it:
    before the first or after the last packet held, or a whole turn of the counter.
    """
    expected = bracket.produced[held.apid]
    mine = held.partition % packet_merge.PARTITIONS == bracket.octet
    # a housekeeping packet counts what was produced before it, so the later end is open
    inside = mine & (held.time >= bracket.begin) & (held.time < bracket.end)
    once = np.r_[True, (np.diff(held.counter) != 0) | (np.diff(held.stretch) != 0)]
    count = int(np.count_nonzero(inside & once))
    reaches = np.r_[False, held.time[:-1] < bracket.end] & (held.time >= bracket.begin) & mine
    remaining = expected - count - int(lost[reaches].sum())
    if remaining <= 0 or _explained(held, mine, remaining, bracket):
        return _Balance(expected, count, 0)
    return _Balance(expected, count, remaining)


def _explained(held: packet_merge.ApidPackets, mine: BoolArray, remaining: int, bracket: _Bracket) -> bool:
    """Whether a channel was interrupted where packets that the counters do not miss can have been lost."""
    if not mine.any():
        return False
    stretches, time = held.stretch[mine], held.time[mine]
    before = bool(held.ends_broken[stretches[0], 0]) and time[0] >= bracket.begin
    after = bool(held.ends_broken[stretches[-1], 1]) and time[-1] < bracket.end
    turns = remaining % space_packet.SEQUENCE_MODULUS == 0 and bool(np.any(held.broken[mine]))
    return bool(before or after or turns)
