"""One true sequence of packets per application process out of several virtual channels.

A packet is known by (clock partition, unwrapped sequence count, content). The 14-bit counter is unwrapped with the help
of time where packets carry it, never replaced by it: packets are ordered by partition and counter, so a jump of the
on-board clock reorders nothing. Nothing is dropped: a packet is kept, is a copy of one that is, or is a conflict and
kept as well.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors import timescales
from processors.arrays import BoolArray, FloatArray, IntArray
from processors.ccsds import space_packet, time_code
from processors.level0 import frame_epochs

MODULUS = space_packet.SEQUENCE_MODULUS
SECONDARY_HEADER = 0x08
CUC_OCTETS = 7
CDS_OCTETS = 8
PARTITION_OCTET = 14
"""Octet of our packets that holds the clock partition (docs/packets.md)."""
PARTITIONS = 256

BACKWARD = 0.5
"""A clock that falls back further than this was set [s]."""
BACKWARD_WITHIN = 60.0
"""The same within a partition the spacecraft declares: there it only guards against a spacecraft that does not [s]."""
FORWARD = 6 * 3600.0
"""A clock that leaps ahead further than this was set [s]."""
JITTER = 2.0
"""Packets of one application process may be out of order by this much [s]."""
REORDERED = 2048
"""Without time, a packet this far back is out of order; further back, the others were lost [1]."""
SMALL_STEP = 512
"""Steps of the counter that may tell its rate [1]."""
REGULAR = 0.9
"""Share of steps that must agree before a rate is believed [1]."""
RATE_TOLERANCE = 0.005
"""Part of the packets expected by a rate that may be wrong [1]."""
FEWEST_STEPS = 8
UNKNOWN_RATE = 1e9
"""Nothing is too fast where no rate is known [s-1]."""

SourceSet = npt.NDArray[np.uint64]

FIRST_MISSING = 1
MIDDLE_MISSING = 2
LAST_MISSING = 4


class ChannelPackets(NamedTuple):
    """Packets of one virtual channel in order of reception.

    vcid : virtual channel [1];
    packets : the packets;
    breaks : interruptions of the channel met before each packet, shape (packet,) [1].
    """

    vcid: int
    packets: space_packet.PacketTable
    breaks: IntArray


class ApidPackets(NamedTuple):
    """Packets of one application process in order, each once; fields of shape (packet,) unless said otherwise.

    apid : application process [1];
    channel, row : where the packet lies: channel of the merge and row of its table [1];
    partition : clock partition: the unwrapped octet of the packets, or a count from 0 where they have none [1];
    epoch : count from 0 of resets and clock jumps within a partition that the spacecraft did not declare [1];
    counter : sequence count, unwrapped within partition and epoch, beginning with a raw value [1];
    time : time of the secondary header [s, GPS], NaN where there is none;
    sources : bit set of the virtual channels that brought the packet [1];
    copies : copies received of each, itself included [1];
    conflict : whether another packet of the same counter differs;
    broken : whether a channel was interrupted between the packet before and this one;
    ends_broken : whether a channel was interrupted before the first and after the last packet of each (partition,
    epoch), shape (stretch, 2).
    """

    apid: int
    channel: IntArray
    row: IntArray
    partition: IntArray
    epoch: IntArray
    counter: IntArray
    time: FloatArray
    sources: SourceSet
    copies: IntArray
    conflict: BoolArray
    broken: BoolArray
    ends_broken: BoolArray

    @property
    def duplicates(self) -> int:
        """Further copies, which are left out [1]."""
        return int(np.sum(self.copies - 1))

    @property
    def stretch(self) -> IntArray:
        """Number of the (partition, epoch) of each packet, counted from 0 in order [1]."""
        if self.row.size == 0:
            return self.row
        changes = (np.diff(self.partition) != 0) | (np.diff(self.epoch) != 0)
        return np.concatenate(([0], np.cumsum(changes)))


class MergedPackets(NamedTuple):
    """Result of a merge.

    channels : the channels by number;
    packets : packets by application process, ascending;
    idle : idle packets, which are left out [1].
    """

    channels: tuple[ChannelPackets, ...]
    packets: dict[int, ApidPackets]
    idle: int

    def content(self, apid: int, keep: BoolArray | None = None) -> bytes:
        """Packets of an application process back to back; of all of them, or of those for which keep is true."""
        if apid not in self.packets:
            return b""
        held = self.packets[apid]
        wanted = np.ones(held.row.size, dtype=np.bool_) if keep is None else keep
        channel, row = held.channel[wanted], held.row[wanted]
        views = [np.ascontiguousarray(source.packets.octets).data for source in self.channels]
        first, end = np.zeros_like(row), np.zeros_like(row)
        for number, source in enumerate(self.channels):
            mine = channel == number
            first[mine] = source.packets.start[row[mine]]
            end[mine] = first[mine] + source.packets.length[row[mine]]
        return b"".join(
            [views[at][a:b] for at, a, b in zip(channel.tolist(), first.tolist(), end.tolist(), strict=True)]
        )

    def sequence_flags(self, apid: int) -> IntArray:
        """Sequence flags of the packets of an application process, shape (packet,) [1]."""
        held = self.packets[apid]
        flags = np.zeros_like(held.row)
        for number, source in enumerate(self.channels):
            mine = held.channel == number
            flags[mine] = source.packets.octets[source.packets.start[held.row[mine]] + 2] >> 6
        return flags


class Groups(NamedTuple):
    """Units of a segmented application process, in order; fields of shape (unit,).

    first, last : rows of the first and the last packet held [1];
    mask : what is missing: bits FIRST_MISSING, MIDDLE_MISSING, LAST_MISSING; 0 for a complete unit [1].
    """

    first: IntArray
    last: IntArray
    mask: IntArray

    @property
    def incomplete(self) -> int:
        """Units that lack a packet [1]."""
        return int(np.count_nonzero(self.mask))


class _Pool(NamedTuple):
    """All packets of one application process, by channel and in order of reception within it."""

    channel: IntArray
    row: IntArray
    sequence: IntArray
    breaks: IntArray
    time: FloatArray
    octet: IntArray

    def selected(self, rows: IntArray | BoolArray) -> "_Pool":
        return _Pool(
            channel=self.channel[rows],
            row=self.row[rows],
            sequence=self.sequence[rows],
            breaks=self.breaks[rows],
            time=self.time[rows],
            octet=self.octet[rows],
        )


class _Rate(NamedTuple):
    """Packets per second [s-1]; excess: how many times that many a gap may hold."""

    value: float
    regular: bool

    @property
    def excess(self) -> float:
        return 1.1 if self.regular else 10.0


def merge(channels: Sequence[ChannelPackets], *, packet_time: str = "none") -> MergedPackets:
    """Merge the packets of the virtual channels of one spacecraft.

    Counters are unwrapped (CCSDS 133.0-B 4.1.3.4) with time and the nominal rate of the packets, so that even a loss of
    exactly 16384 packets is found where an application process has a steady rate. Without time the order of reception
    decides.

    Parameters
    ----------
    channels : sequence of ChannelPackets
        Channels in any order, each in order of reception.
    packet_time : str
        Time code after the primary header: `cuc` (our own secondary header, with a clock partition), `cds` or `none`.

    Returns
    -------
    MergedPackets
        One sequence per application process.
    """
    ordered = tuple(sorted(channels, key=lambda channel: channel.vcid))
    if not any(channel.packets.start.size for channel in ordered):
        return MergedPackets(ordered, {}, 0)
    pool = _pooled(ordered, packet_time)
    apid = np.concatenate([channel.packets.apid for channel in ordered])
    order = np.argsort(apid, kind="stable")
    found, begin = np.unique(apid[order], return_index=True)
    parts = dict(zip(found.tolist(), np.split(order, begin[1:]), strict=True))
    idle = parts.pop(space_packet.IDLE_APID, order[:0]).size
    return MergedPackets(
        ordered, {number: _merged_apid(number, pool.selected(rows), ordered) for number, rows in parts.items()}, idle
    )


def groups(merged: MergedPackets, apid: int) -> Groups:
    """Units of packets that the sequence flags tie together (CCSDS 133.0-B 4.1.3.4.2).

    A packet held twice with different content counts once. Where packets are missing between two that continue a unit
    they are taken for its own.

    Parameters
    ----------
    merged : MergedPackets
        Result of a merge.
    apid : int
        Application process [1].

    Returns
    -------
    Groups
        The units; an unsegmented packet is a complete one.
    """
    held = merged.packets[apid]
    flags = merged.sequence_flags(apid)
    stretch, counter = held.stretch, held.counter
    once = np.flatnonzero(np.r_[True, (np.diff(counter) != 0) | (np.diff(stretch) != 0)][: flags.size])
    flags, counter, stretch = flags[once], counter[once], stretch[once]
    if flags.size == 0:
        return Groups(once, once, once)
    begins, ends = (flags & 1) == 1, (flags & 2) == 2
    opens = np.r_[True, begins[1:] | ends[:-1] | (np.diff(stretch) != 0)]
    first = np.flatnonzero(opens)
    last = np.r_[first[1:], flags.size] - 1
    whole = counter[last] - counter[first] == last - first
    mask = ~begins[first] * FIRST_MISSING + ~whole * MIDDLE_MISSING + ~ends[last] * LAST_MISSING
    return Groups(once[first], once[last], mask.astype(np.int64))


def unwrapped_partitions(octets: IntArray) -> IntArray:
    """Clock partitions in ascending order from an octet that wraps.

    Parameters
    ----------
    octets : IntArray
        Partition octets, together less than a turn, shape (packet,) [1].

    Returns
    -------
    IntArray
        Octets, plus 256 beyond the wrap, shape (packet,) [1].
    """
    present = np.unique(octets)
    if present.size == 0:
        return octets.astype(np.int64)
    spaces = np.diff(np.r_[present, present[0] + PARTITIONS])
    # the partitions of a while lie together on the circle: they begin after the widest space
    first = present[(int(np.argmax(spaces)) + 1) % present.size]
    return np.asarray(octets.astype(np.int64) + PARTITIONS * (octets < first))


def _pooled(channels: tuple[ChannelPackets, ...], packet_time: str) -> _Pool:
    counts = [channel.packets.start.size for channel in channels]
    clocks = [_clock(channel.packets, packet_time) for channel in channels]
    return _Pool(
        channel=np.repeat(np.arange(len(channels)), counts),
        row=np.concatenate([np.arange(count) for count in counts]),
        sequence=np.concatenate([channel.packets.sequence for channel in channels]).astype(np.int64),
        breaks=np.concatenate([channel.breaks for channel in channels]).astype(np.int64),
        time=np.concatenate([time for time, _ in clocks]),
        octet=np.concatenate([octet for _, octet in clocks]),
    )


def _clock(packets: space_packet.PacketTable, packet_time: str) -> tuple[FloatArray, IntArray]:
    """GPS time [s], NaN where there is none, and partition octet, -1 where there is none."""
    time = np.full(packets.start.size, np.nan)
    octet = np.full(packets.start.size, -1, dtype=np.int64)
    needed = {"cuc": PARTITION_OCTET + 1, "cds": space_packet.HEADER + CDS_OCTETS}.get(packet_time)
    if needed is None:
        return time, octet
    flagged = (packets.octets[packets.start] & SECONDARY_HEADER) != 0
    rows = np.flatnonzero(flagged & (packets.length >= needed))
    begin = packets.start[rows] + space_packet.HEADER
    if packet_time == "cuc":
        code = packets.octets[begin[:, np.newaxis] + np.arange(CUC_OCTETS)]
        time[rows] = time_code.seconds_from_ticks(time_code.ticks_from_cuc(code))
        octet[rows] = packets.octets[packets.start[rows] + PARTITION_OCTET]
    else:
        code = packets.octets[begin[:, np.newaxis] + np.arange(CDS_OCTETS)]
        time[rows] = timescales.gps_from_utc(time_code.utc_from_cds(code))
    return time, octet


def _merged_apid(apid: int, pool: _Pool, channels: tuple[ChannelPackets, ...]) -> ApidPackets:
    rate = _rate(pool)
    declared = bool(np.any(pool.octet >= 0))
    partition = unwrapped_partitions(_spread(pool.octet, pool.channel)) if declared else np.zeros_like(pool.row)
    epoch, counter = np.zeros_like(pool.row), np.zeros_like(pool.row)
    for number in np.unique(partition):
        rows = np.flatnonzero(partition == number)
        epoch[rows] = _epochs(pool.selected(rows), rate, BACKWARD_WITHIN if declared else BACKWARD)
        for stretch in np.unique(epoch[rows]):
            within = rows[epoch[rows] == stretch]
            counter[within] = _unwrapped(pool.selected(within), rate, channels)
    if not declared:
        partition, epoch = epoch, partition
    return _deduplicated(apid, pool, partition, epoch, counter, channels)


def _spread(octet: IntArray, channel: IntArray) -> IntArray:
    """Partition octets where every packet has one: that of the packet before in its channel, else the one after."""
    index = np.arange(octet.size)
    known = octet >= 0
    before = np.maximum.accumulate(np.where(known, index, -1))
    after = np.minimum.accumulate(np.where(known, index, octet.size)[::-1])[::-1]
    inside = np.where(before >= 0, channel[np.maximum(before, 0)] == channel, np.zeros_like(known))
    reached = np.minimum(after, octet.size - 1)
    chosen = np.where(inside, before, np.where(known[reached], reached, before))
    return octet[chosen]


def _signed(steps: IntArray) -> IntArray:
    """Steps of a counter as the shortest way around."""
    return np.asarray((steps + MODULUS // 2) % MODULUS - MODULUS // 2)


def _rate(pool: _Pool) -> _Rate:
    """Nominal rate of the packets, from steps without an interruption."""
    timed = pool.selected(np.isfinite(pool.time))
    step, interval = _signed(np.diff(timed.sequence)), np.diff(timed.time)
    usable = (step > 0) & (step <= SMALL_STEP) & (interval > 0) & (interval < FORWARD)
    usable &= (np.diff(timed.channel) == 0) & (np.diff(timed.breaks) == 0)
    step, interval = step[usable], interval[usable]
    if step.size == 0:
        return _Rate(UNKNOWN_RATE, False)
    period = np.median(interval / step)
    steady = np.abs(interval - period * step) <= 0.2 * period * step
    if step.size >= FEWEST_STEPS and np.mean(steady) >= REGULAR:
        return _Rate(float(step[steady].sum() / interval[steady].sum()), True)
    return _Rate(float(step.sum() / interval.sum()), False)


def _epochs(pool: _Pool, rate: _Rate, backward: float) -> IntArray:
    """Number the resets and clock jumps met before each packet, the same for a packet whatever channel brought it."""
    timed = np.isfinite(pool.time)
    opens = np.zeros(pool.row.size, dtype=np.bool_)
    if timed.any():
        opens[timed] = _breaks_of_clock(pool.selected(timed), rate, backward)
    else:
        opens[1:] = _resets_in_order(pool)
    begins = np.r_[True, np.diff(pool.channel) != 0]
    opens &= ~begins
    total = np.cumsum(opens)
    sizes = np.diff(np.r_[np.flatnonzero(begins), pool.row.size])
    epoch: IntArray = total - np.repeat(total[begins], sizes)
    if np.count_nonzero(begins) == 1 or epoch.max() == 0 or not timed.any():
        return epoch
    return _reconciled(pool, epoch)


def _breaks_of_clock(pool: _Pool, rate: _Rate, backward: float) -> BoolArray:
    """Tell before which packets of a channel the clock was set or the counter began anew."""
    step, interval = _signed(np.diff(pool.sequence)), np.diff(pool.time)
    lossless = np.diff(pool.breaks) == 0
    fell, leapt = interval < -backward, interval > FORWARD
    agrees = np.zeros_like(lossless)
    if rate.regular:
        expected = rate.value * interval
        off = np.abs((expected - step + MODULUS / 2) % MODULUS - MODULUS / 2)
        agrees = off <= np.maximum(2.0, RATE_TOLERANCE * np.abs(expected))
    # a recorder that plays out of order takes counter and clock back together
    replayed = (agrees | (step <= 0) | ((step > 64) & ~lossless)) & (interval > -FORWARD)
    jumped = (fell & ~replayed) | (leapt & ~(agrees & ~lossless))
    possible = rate.excess * rate.value * np.maximum(interval, 0.0)
    reset = (step < 0) & (interval > (BACKWARD if rate.regular else JITTER)) & ~leapt
    reset &= lossless | (step + MODULUS > possible)
    raced = (step > 1.5 * possible + 64) & (interval >= 0)
    if not rate.regular:
        # bursts may outrun any mean rate, but only a counter begun anew has counted no further than since then
        raced &= pool.sequence[1:] <= possible + 64
    return np.concatenate(([False], jumped | reset | raced))


def _resets_in_order(pool: _Pool) -> BoolArray:
    """Tell where a counter without time begins anew: at zero, with nothing lost, and not by wrapping."""
    before, after = pool.sequence[:-1], pool.sequence[1:]
    return np.asarray((after == 0) & (before != 0) & (before != MODULUS - 1) & (np.diff(pool.breaks) == 0))


def _reconciled(pool: _Pool, epoch: IntArray) -> IntArray:
    """Give every channel the epochs of the one that saw most of them.

    Packets another channel holds as well are known by counter and time; those between them belong with them.
    """
    sizes = np.bincount(pool.channel)
    seen = np.array([epoch[pool.channel == c].max(initial=-1) for c in range(sizes.size)])
    reference = int(np.lexsort((np.arange(sizes.size), -sizes, -seen))[0])
    mine = pool.channel == reference
    key = np.empty(pool.row.size, dtype=[("time", "f8"), ("sequence", "i8")])
    key["time"], key["sequence"] = np.nan_to_num(pool.time, nan=-1.0), pool.sequence
    _, identity = np.unique(key, return_inverse=True)
    known = np.full(int(identity.max()) + 1, -1, dtype=np.int64)
    usable = mine & np.isfinite(pool.time)
    known[identity[usable]] = epoch[usable]
    matched = np.where(np.isfinite(pool.time), known[identity], -1)
    spread = _by_neighbor(matched, pool.channel, epoch)
    nearest = _nearest_epoch(pool, epoch, mine)
    return np.where(mine, epoch, np.where(spread >= 0, spread, nearest))


def _by_neighbor(matched: IntArray, channel: IntArray, epoch: IntArray) -> IntArray:
    """Epoch of the matched packet before, else after, within the same stretch of a channel; -1 where there is none."""
    stretch = np.r_[0, np.cumsum((np.diff(channel) != 0) | (np.diff(epoch) != 0))]
    index = np.arange(matched.size)
    before = np.maximum.accumulate(np.where(matched >= 0, index, -1))
    after = np.minimum.accumulate(np.where(matched >= 0, index, matched.size)[::-1])[::-1]
    result = np.full_like(matched, -1)
    for at, reached in ((np.minimum(after, matched.size - 1), after < matched.size), (before, before >= 0)):
        good = reached & (stretch[at] == stretch)
        result[good] = matched[at[good]]
    return result


def _nearest_epoch(pool: _Pool, epoch: IntArray, reference: BoolArray) -> IntArray:
    """Epoch of the reference channel whose times are the closest."""
    numbers = np.unique(epoch[reference])
    away = np.full((numbers.size, pool.row.size), np.inf)
    for place, number in enumerate(numbers):
        times = pool.time[reference & (epoch == number) & np.isfinite(pool.time)]
        if times.size:
            outside = np.maximum(times.min() - pool.time, pool.time - times.max())
            away[place] = np.where(np.isfinite(outside), np.maximum(outside, 0.0), np.inf)
    return np.asarray(numbers[np.argmin(away, axis=0)])


def _unwrapped(pool: _Pool, rate: _Rate, channels: tuple[ChannelPackets, ...]) -> IntArray:
    """Unwrap the counters of one stretch; the least keeps its raw value."""
    timed = np.isfinite(pool.time)
    counter = np.zeros_like(pool.sequence)
    if timed.any():
        counter[timed] = _unwrapped_by_time(pool.selected(timed), rate)
        counter[~timed] = _attached(pool, counter, timed)
    else:
        counter = _unwrapped_in_order(pool, channels)
    return np.asarray(counter - counter.min() // MODULUS * MODULUS)


def _unwrapped_by_time(pool: _Pool, rate: _Rate) -> IntArray:
    """Unwrap along time, all channels together: what one lost another may hold."""
    order = np.lexsort((pool.row, pool.channel, pool.time))
    rows = pool.selected(order)
    step, interval = _signed(np.diff(rows.sequence)), np.diff(rows.time)
    turns = np.where((step < 0) & (interval > JITTER), 1, 0)
    if rate.regular:
        expected = rate.value * interval
        whole = np.rint((expected - step) / MODULUS).astype(np.int64)
        off = np.abs(expected - step - MODULUS * whole)
        steady = (off <= np.maximum(2.0, RATE_TOLERANCE * expected)) & (whole > 0)
        turns = np.where(steady, whole, turns)
    turns[_uninterrupted(rows)] = 0
    counter = np.empty_like(rows.sequence)
    counter[order] = rows.sequence[0] + np.r_[0, np.cumsum(step + MODULUS * turns)]
    return counter


def _uninterrupted(rows: _Pool) -> BoolArray:
    """Tell between which packets in time order a channel shows that nothing was lost."""
    index = np.arange(rows.row.size)
    found = np.zeros(index.size - 1, dtype=np.bool_)
    for channel in np.unique(rows.channel):
        mine = rows.channel == channel
        before = np.maximum.accumulate(np.where(mine, index, -1))[:-1]
        after = np.minimum.accumulate(np.where(mine, index, index.size)[::-1])[::-1][1:]
        both = np.flatnonzero((before >= 0) & (after < index.size))
        found[both] |= rows.breaks[before[both]] == rows.breaks[after[both]]
    return found


def _attached(pool: _Pool, counter: IntArray, timed: BoolArray) -> IntArray:
    """Counters of packets without time (later segments of a unit): counted on from the one before in their channel."""
    index = np.arange(pool.row.size)
    before = np.maximum.accumulate(np.where(timed, index, -1))
    after = np.minimum.accumulate(np.where(timed, index, index.size)[::-1])[::-1]
    usable = (before >= 0) & (pool.channel[np.maximum(before, 0)] == pool.channel)
    anchor = np.where(usable | (after == index.size), before, np.minimum(after, index.size - 1))
    steps = _signed(pool.sequence - pool.sequence[anchor])
    return np.asarray((counter[anchor] + steps)[~timed])


def _unwrapped_in_order(pool: _Pool, channels: tuple[ChannelPackets, ...]) -> IntArray:
    """Unwrap along the order of reception, and bring the channels to the turn of the fullest."""
    counter = np.zeros_like(pool.sequence)
    present, sizes = np.unique(pool.channel, return_counts=True)
    for channel in present:
        mine = np.flatnonzero(pool.channel == channel)
        steps = np.diff(pool.sequence[mine]) % MODULUS
        steps = np.where(steps >= MODULUS - REORDERED, steps - MODULUS, steps)
        counter[mine] = pool.sequence[mine[0]] + np.r_[0, np.cumsum(steps)]
    if present.size == 1:
        return counter
    prints = _prints(pool, np.arange(pool.row.size), channels)
    reference = pool.channel == present[int(np.argmax(sizes))]
    for channel in present:
        mine = pool.channel == channel
        if not np.any(mine & reference):
            counter[mine] += _turns(counter, pool.sequence, prints, mine=mine, reference=reference) * MODULUS
    return counter


def _turns(counter: IntArray, sequence: IntArray, prints: SourceSet, *, mine: BoolArray, reference: BoolArray) -> int:
    """Turns of the counter a channel lies behind the reference, by the packets they share, else by where it begins."""
    _, ours, theirs = np.intersect1d(prints[mine], prints[reference], return_indices=True)
    same = sequence[mine][ours] == sequence[reference][theirs]
    apart = counter[reference][theirs[same]] - counter[mine][ours[same]]
    if apart.size == 0:
        apart = counter[reference][:1] - counter[mine][:1]
    return int(np.rint(np.median(apart) / MODULUS))


def _prints(pool: _Pool, rows: IntArray, channels: tuple[ChannelPackets, ...]) -> SourceSet:
    """Fingerprint of the content of some packets."""
    prints = np.zeros(rows.size, dtype=np.uint64)
    for number, channel in enumerate(channels):
        places = np.flatnonzero(pool.channel[rows] == number)
        table = channel.packets
        lengths = table.length[pool.row[rows[places]]]
        for length in np.unique(lengths).tolist():
            same = places[lengths == length]
            windows = np.lib.stride_tricks.sliding_window_view(np.ascontiguousarray(table.octets), length)
            prints[same] = frame_epochs.fingerprints(windows[table.start[pool.row[rows[same]]]])
    return prints


def _deduplicated(
    apid: int,
    pool: _Pool,
    partition: IntArray,
    epoch: IntArray,
    counter: IntArray,
    channels: tuple[ChannelPackets, ...],
) -> ApidPackets:
    """Keep one copy of each packet, and every content of each counter."""
    order = np.lexsort((pool.row, pool.channel, counter, epoch, partition))
    same = (np.diff(counter[order]) == 0) & (np.diff(epoch[order]) == 0) & (np.diff(partition[order]) == 0)
    opens = np.r_[True, ~same]
    key = np.cumsum(opens) - 1
    shared = ~opens | np.r_[same, False]
    content = np.zeros(order.size, dtype=np.uint64)
    content[shared] = _prints(pool, order[shared], channels)
    # stable: within a content the first channel and the first reception stay in front
    grouped = np.lexsort((content, key))
    first = np.flatnonzero(np.r_[True, (np.diff(key[grouped]) != 0) | (content[grouped][1:] != content[grouped][:-1])])
    bits = np.left_shift(np.uint64(1), np.array([c.vcid for c in channels], dtype=np.uint64))[pool.channel]
    sources = np.bitwise_or.reduceat(bits[order][grouped], first)
    place = np.argsort(grouped[first])
    kept = grouped[first][place]
    rows = order[kept]
    conflict = np.bincount(key[kept])[key[kept]] > 1
    broken, ends = _interruptions(pool, order, key, _stretches(partition[order], epoch[order]), channels)
    return ApidPackets(
        apid=apid,
        channel=pool.channel[rows],
        row=pool.row[rows],
        partition=partition[rows],
        epoch=epoch[rows],
        counter=counter[rows],
        time=pool.time[rows],
        sources=sources[place],
        copies=np.diff(np.r_[first, grouped.size])[place],
        conflict=conflict,
        broken=broken[key[kept]],
        ends_broken=ends,
    )


def _stretches(partition: IntArray, epoch: IntArray) -> IntArray:
    return np.concatenate(([0], np.cumsum((np.diff(partition) != 0) | (np.diff(epoch) != 0))))


def _interruptions(
    pool: _Pool, order: IntArray, key: IntArray, stretch: IntArray, channels: tuple[ChannelPackets, ...]
) -> tuple[BoolArray, BoolArray]:
    """Tell before which keys, and at which ends of the stretches, a channel that brought some of it was interrupted."""
    keys, begin = np.unique(key, return_index=True)
    of_key = stretch[begin]
    broken = np.zeros(keys.size, dtype=np.bool_)
    ends = np.zeros((int(of_key[-1]) + 1, 2), dtype=np.bool_)
    for number, channel in enumerate(channels):
        mine = pool.channel[order] == number
        if not mine.any():
            continue
        held, breaks = key[mine], pool.breaks[order][mine]
        padded = np.r_[channel.breaks[0], breaks, channel.breaks[-1]]
        before = padded[np.searchsorted(held, keys[1:] - 1, side="right")]
        after = padded[np.searchsorted(held, keys[1:], side="left") + 1]
        present = np.isin(of_key, stretch[mine])
        broken[1:] |= (before != after) & present[1:] & (np.diff(of_key) == 0)
        at = np.searchsorted(of_key, np.arange(len(ends)), side="left")
        low = np.searchsorted(held, at, side="left")
        high = np.searchsorted(held, np.r_[at[1:], keys.size] - 1, side="right")
        ends[:, 0] |= (padded[low] != padded[np.minimum(low + 1, padded.size - 1)]) & present[at]
        ends[:, 1] |= (padded[high] != padded[np.minimum(high + 1, padded.size - 1)]) & present[at]
    return broken, ends
