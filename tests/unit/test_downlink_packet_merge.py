"""Packets of several channels and passes become one sequence that is true."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from processors.ccsds import space_packet, time_code
from processors.level0 import packet_merge

START = 1.42e9
APID = 0x050
DAY = 86400.0


def packet(number, *, time, partition=7, apid=APID, payload=b"", flags=3):
    """One packet of our own link; the counter given is the one before it wraps."""
    header = time_code.cuc_from_seconds(np.array([time])).tobytes() + bytes([0, partition % 256, 1])
    return space_packet.encode(header + payload + b"body", apid=apid, sequence=number, flags=flags)


def foreign_packet(number, *, time, apid=APID, payload=b"", flags=3):
    """One packet with a day segmented time, or none."""
    header = b""
    if time is not None:
        since = np.datetime64("2025-01-05T00:00:00", "us") - time_code.CDS_EPOCH
        micro = int(since.astype(np.int64)) + round(time * 1e6)
        header = (
            (micro // 86_400_000_000).to_bytes(2, "big")
            + (micro // 1000 % 86_400_000).to_bytes(4, "big")
            + (micro % 1000).to_bytes(2, "big")
        )
    return space_packet.encode(
        header + payload + b"body", apid=apid, sequence=number, flags=flags, secondary_header=time is not None
    )


def channel(vcid, packets, breaks=None):
    octets = np.frombuffer(b"".join(packets), dtype=np.uint8)
    length = np.array([len(p) for p in packets], dtype=np.int64)
    start = np.cumsum(length) - length
    head = np.stack([octets[start + i].astype(np.int64) for i in range(4)]) if packets else np.zeros((4, 0), int)
    table = space_packet.PacketTable(
        octets, start, length, (head[0] & 7) << 8 | head[1], (head[2] & 0x3F) << 8 | head[3]
    )
    return packet_merge.ChannelPackets(vcid, table, np.zeros(len(packets), int) if breaks is None else np.array(breaks))


def steady(numbers, *, period=1.0, make=packet, **others):
    return [make(n, time=START + n * period, **others) for n in numbers]


def contents(merged, apid=APID):
    return [merged.content(apid, np.arange(held) == i) for held in [merged.packets[apid].row.size] for i in range(held)]


def vcids(sources):
    return [{vcid for vcid in range(64) if int(bits) >> vcid & 1} for bits in sources]


def assert_conserved(merged, channels):
    """Every packet that came in is kept, or a copy of one kept."""
    given_packets = Counter(
        bytes(c.packets.octets[a : a + n])
        for c in channels
        for a, n in zip(c.packets.start, c.packets.length, strict=True)
    )
    kept = Counter(p for apid in merged.packets for p in contents(merged, apid))
    assert set(kept) == {p for p in given_packets if (p[0] & 7) << 8 | p[1] != space_packet.IDLE_APID}
    duplicates = sum(held.duplicates for held in merged.packets.values())
    assert sum(given_packets.values()) == sum(kept.values()) + duplicates + merged.idle


def test_packets_come_back_in_order_across_the_wrap_of_the_counter():
    sent = steady(range(16300, 16500))
    merged = packet_merge.merge([channel(4, sent)], packet_time="cuc")
    held = merged.packets[APID]
    assert contents(merged) == sent
    assert_array_equal(held.counter, np.arange(16300, 16500))
    assert_array_equal(held.partition, 7)
    assert_array_equal(held.time, START + np.arange(16300, 16500))
    assert not held.conflict.any()
    assert held.duplicates == 0


def test_application_processes_are_merged_apart_and_idle_packets_left_out():
    mixed = [p for n in range(5) for p in (packet(n, time=n, apid=1), packet(n, time=n, apid=2), space_packet.idle(20))]
    merged = packet_merge.merge([channel(0, mixed)], packet_time="cuc")
    assert list(merged.packets) == [1, 2]
    assert merged.idle == 5
    assert_conserved(merged, [channel(0, mixed)])


@pytest.mark.parametrize("lost", [1, 9000, 16383, 16384, 16385, 2 * 16384, 40000])
@pytest.mark.parametrize("make", [packet, foreign_packet])
def test_a_loss_of_any_size_is_found_where_packets_are_steady(lost, make):
    numbers = [*range(100, 200), *range(200 + lost, 300 + lost)]
    sent = steady(numbers, period=1 / 30, make=make)
    breaks = [0] * 100 + [1] * 100
    merged = packet_merge.merge([channel(4, sent, breaks)], packet_time="cuc" if make is packet else "cds")
    held = merged.packets[APID]
    assert_array_equal(held.counter, numbers)
    assert np.flatnonzero(held.broken).tolist() == [100]
    assert_array_equal(held.epoch, 0)


def test_an_instrument_that_was_off_has_lost_nothing():
    """Off for as long as it would take to produce exactly 16384 packets: the unbroken channel says none was made."""
    times = np.r_[np.arange(100) / 30, 100 / 30 + 16384 / 30 + np.arange(100) / 30]
    sent = [packet(n, time=START + t) for n, t in enumerate(times)]
    held = packet_merge.merge([channel(4, sent)], packet_time="cuc").packets[APID]
    assert_array_equal(held.counter, np.arange(200))
    held = packet_merge.merge([channel(4, sent, [0] * 100 + [1] * 100)], packet_time="cuc").packets[APID]
    assert held.counter[-1] == 199 + 16384


def test_a_loss_beyond_half_a_turn_is_found_by_time_order_where_packets_are_not_steady():
    random = np.random.default_rng(5)
    times = np.cumsum(random.exponential(0.5, size=12000))
    kept = np.r_[0:1000, 11000:12000]
    sent = [packet(int(n), time=START + times[n]) for n in kept]
    held = packet_merge.merge([channel(2, sent, np.repeat([0, 1], 1000))], packet_time="cuc").packets[APID]
    assert_array_equal(held.counter, kept)


def test_without_time_the_order_of_reception_unwraps():
    numbers = np.r_[16000:16380, 16385:16500, 30000:30010]
    sent = [foreign_packet(int(n), time=None, payload=bytes([n % 251])) for n in numbers]
    breaks = np.repeat([0, 1, 2], [380, 115, 10])
    merged = packet_merge.merge([channel(0, sent, breaks)])
    assert_array_equal(merged.packets[APID].counter, numbers)
    assert np.isnan(merged.packets[APID].time).all()


def test_without_time_packets_out_of_order_are_sorted_and_a_reset_opens_a_partition():
    numbers = [5, 6, 9, 10, 7, 8, 11, 0, 1, 2]
    sent = [foreign_packet(n, time=None, payload=bytes([i])) for i, n in enumerate(numbers)]
    held = packet_merge.merge([channel(0, sent)]).packets[APID]
    assert held.counter.tolist() == [5, 6, 7, 8, 9, 10, 11, 0, 1, 2]
    assert held.partition.tolist() == [0] * 7 + [1] * 3


def test_without_time_channels_are_brought_to_the_same_turn():
    every = [foreign_packet(n, time=None, payload=n.to_bytes(4, "big")) for n in range(20000)]
    whole, late = channel(0, every[:17000]), channel(1, every[16900:])
    merged = packet_merge.merge([whole, late])
    assert_array_equal(merged.packets[APID].counter, np.arange(20000))
    assert merged.packets[APID].duplicates == 100
    assert contents(merged)[::1999] == every[::1999]


def test_real_time_and_playback_give_one_copy_that_names_both():
    sent = steady(range(50))
    channels = [channel(0, sent[:30]), channel(1, sent[20:])]
    merged = packet_merge.merge(channels, packet_time="cuc")
    held = merged.packets[APID]
    assert contents(merged) == sent
    assert vcids(held.sources) == [{0}] * 20 + [{0, 1}] * 10 + [{1}] * 20
    assert held.duplicates == 10
    assert not held.conflict.any()
    assert_conserved(merged, channels)


def test_a_playback_repeated_in_its_channel_is_counted_once():
    sent = steady(range(100))
    channels = [channel(1, [*sent[:60], *sent[20:50], *sent[60:]])]
    merged = packet_merge.merge(channels, packet_time="cuc")
    assert contents(merged) == sent
    assert merged.packets[APID].duplicates == 30
    assert_conserved(merged, channels)


def test_packets_of_one_counter_that_differ_are_both_kept_and_marked():
    sent = steady(range(20))
    other = packet(8, time=START + 8, payload=b"other")
    channels = [channel(0, sent), channel(1, [*sent[:8], other, *sent[9:], other])]
    merged = packet_merge.merge(channels, packet_time="cuc")
    held = merged.packets[APID]
    assert held.counter.tolist() == [*range(9), 8, *range(9, 20)]
    assert np.flatnonzero(held.conflict).tolist() == [8, 9]
    assert vcids(held.sources[8:10]) == [{0}, {1}]
    assert held.copies.tolist() == [2] * 8 + [1, 2] + [2] * 11
    assert contents(packet_merge.merge(channels[::-1], packet_time="cuc")) == contents(merged)
    assert held.duplicates == 20
    assert_conserved(merged, channels)


def test_a_frozen_counter_loses_no_packet():
    sent = [packet(3, time=START + n, payload=bytes([n])) for n in range(30)]
    merged = packet_merge.merge([channel(0, sent)], packet_time="cuc")
    assert contents(merged) == sent
    assert merged.packets[APID].conflict.all()


@pytest.mark.parametrize(("make", "code"), [(packet, "cuc"), (foreign_packet, "cds")])
def test_packets_out_of_order_within_a_channel_are_sorted(make, code):
    sent = steady(range(16300, 16500), make=make)
    played = [*sent[100:150], *sent[:40], *sent[150:], *sent[40:100]]
    merged = packet_merge.merge([channel(1, played, np.repeat([0, 1, 2, 3], [50, 40, 50, 60]))], packet_time=code)
    assert contents(merged) == sent
    assert_array_equal(merged.packets[APID].counter, np.arange(16300, 16500))


def jumped(shift, *, declared, make=packet):
    """Sixty packets; the clock is off by a shift from the twentieth on and right again from the fortieth."""
    times = START * (make is packet) + np.arange(60.0)
    times[20:40] = times[20:40] + shift if shift is not None else np.arange(20.0)
    partitions = np.repeat([255, 256, 257], 20) if declared else np.full(60, 255)
    if make is packet:
        return [packet(n, time=times[n], partition=int(partitions[n])) for n in range(60)]
    return [make(n, time=times[n]) for n in range(60)]


@pytest.mark.parametrize("shift", [-1.0, -30.0, DAY, None])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_jump_of_the_clock_loses_nothing_and_reorders_nothing(shift, parts):
    sent = jumped(shift, declared=True)
    channels = [channel(0, sent), channel(1, sent[5:55])][:parts]
    merged = packet_merge.merge(channels, packet_time="cuc")
    assert contents(merged) == sent
    assert_array_equal(merged.packets[APID].partition, np.repeat([255, 256, 257], 20))
    assert merged.packets[APID].duplicates == 50 * (parts - 1)
    assert_conserved(merged, channels)


@pytest.mark.parametrize("shift", [-1.0, -30.0, DAY, None])
def test_a_jump_the_spacecraft_does_not_declare_reorders_nothing_either(shift):
    sent = jumped(shift, declared=False)
    merged = packet_merge.merge([channel(0, sent)], packet_time="cuc")
    assert contents(merged) == sent
    assert_array_equal(merged.packets[APID].partition, 255)


@pytest.mark.parametrize(("shift", "expected"), [(-5.0, [0, 1]), (DAY, [0, 1, 2]), (-200 * DAY, [0, 1])])
def test_without_a_partition_octet_a_jump_of_the_clock_opens_a_partition(shift, expected):
    sent = jumped(shift, declared=False, make=foreign_packet)
    channels = [channel(0, sent), channel(6, [*sent[3:25], *sent[33:50]], np.repeat([0, 1], [22, 17]))]
    merged = packet_merge.merge(channels, packet_time="cds")
    held = merged.packets[APID]
    assert contents(merged) == sent
    assert_array_equal(held.partition[:40], np.repeat([0, 1], 20))
    assert set(held.partition.tolist()) >= set(expected)
    assert held.duplicates == 39
    assert_conserved(merged, channels)


@pytest.mark.parametrize("declared", [True, False])
def test_a_reset_of_the_counter_is_a_new_partition_and_not_a_loss(declared):
    numbers = [*range(5000, 5100), *range(100)]
    times = START + np.r_[np.arange(100), 130 + np.arange(100)]
    partitions = np.repeat([3, 4 if declared else 3], 100)
    sent = [packet(n, time=t, partition=int(p)) for n, t, p in zip(numbers, times, partitions, strict=True)]
    held = packet_merge.merge([channel(0, sent)], packet_time="cuc").packets[APID]
    assert held.counter.tolist() == numbers
    assert_array_equal(held.partition, partitions)
    assert_array_equal(held.stretch, np.repeat([0, 1], 100))
    assert not held.conflict.any()


@pytest.mark.parametrize("jitter", [0.0, 0.9])
def test_a_counter_that_runs_faster_than_its_packets_was_reset(jitter):
    """From 16000 to 0 the short way around is 384 packets, which two seconds cannot hold."""
    numbers = [*range(15900, 16001), *range(100)]
    times = np.r_[np.arange(101), 102 + np.arange(100)] + jitter * np.random.default_rng(3).random(201)
    sent = [foreign_packet(n, time=float(t)) for n, t in zip(numbers, times, strict=True)]
    held = packet_merge.merge([channel(0, sent, np.repeat([0, 1], [101, 100]))], packet_time="cds").packets[APID]
    assert held.counter.tolist() == numbers
    assert_array_equal(held.partition, np.repeat([0, 1], [101, 100]))


@pytest.mark.parametrize("first", [3000, 16000])
def test_a_burst_lost_is_a_loss_and_no_reset(first):
    times = np.r_[np.arange(0.0, 1000.0, 10.0), 1000.0 + np.arange(800) / 100, 1010.0 + np.arange(0.0, 500.0, 10.0)]
    kept = [n for n in range(times.size) if not 150 <= n < 880]
    sent = [packet(first + n, time=START + times[n]) for n in kept]
    held = packet_merge.merge([channel(3, sent, [int(n > 150) for n in kept])], packet_time="cuc").packets[APID]
    assert_array_equal(held.counter, first + np.array(kept))
    assert_array_equal(held.epoch, 0)


def test_a_channel_that_missed_a_partition_altogether_is_brought_in_line():
    sent = jumped(DAY, declared=False, make=foreign_packet)
    whole = channel(0, [p for n, p in enumerate(sent) if n != 45], np.repeat([0, 1], [45, 14]))
    poor = channel(6, [*sent[3:18], *sent[42:55]], np.repeat([0, 1], [15, 13]))
    merged = packet_merge.merge([whole, poor], packet_time="cds")
    assert contents(merged) == sent
    assert_array_equal(merged.packets[APID].partition, np.repeat([0, 1, 2], 20))
    assert vcids(merged.packets[APID].sources[45:46]) == [{6}]


def test_counters_begin_with_the_raw_value_of_the_least():
    sent = [packet(n, time=START + max(n - 16384, 0)) for n in (16384, 16383, 16385, 16386)]
    held = packet_merge.merge([channel(0, sent)], packet_time="cuc").packets[APID]
    assert held.counter.tolist() == [16383, 16384, 16385, 16386]


def test_partitions_follow_one_another_across_the_wrap_of_their_octet():
    assert packet_merge.unwrapped_partitions(np.array([1, 254, 0, 255, 254])).tolist() == [257, 254, 256, 255, 254]
    assert packet_merge.unwrapped_partitions(np.array([4, 3, 4])).tolist() == [4, 3, 4]
    assert packet_merge.unwrapped_partitions(np.array([200, 201])).tolist() == [200, 201]


def test_a_gap_one_channel_was_interrupted_in_is_known_as_such():
    """Two packets are lost in a frame gap of the only channel, two more without any, two where playback has a gap."""
    sent = steady(range(60))
    real_time = [n for n in range(60) if n not in (10, 11, 20, 21) and n < 40]
    playback = [n for n in range(30, 60) if n not in (50, 51)]
    first = channel(0, [sent[n] for n in real_time], [int(n > 11) for n in real_time])
    second = channel(1, [sent[n] for n in playback], [int(n > 51) for n in playback])
    held = packet_merge.merge([first, second], packet_time="cuc").packets[APID]
    after_gap = np.flatnonzero(np.diff(held.counter) > 1) + 1
    assert held.counter[after_gap].tolist() == [12, 22, 52]
    assert held.broken[after_gap].tolist() == [True, False, True]
    assert held.ends_broken.tolist() == [[False, False]]


def test_an_interruption_after_the_last_packet_is_seen_on_packets_of_others():
    mixed = [*steady(range(10)), *steady(range(10), apid=1)]
    merged = packet_merge.merge([channel(0, mixed, np.repeat([2, 3], 10))], packet_time="cuc")
    assert merged.packets[APID].ends_broken.tolist() == [[False, True]]
    assert merged.packets[1].ends_broken.tolist() == [[True, False]]


def units(lost, *, make=packet, sizes=(4, 1, 3, 4)):
    """Segmented units of some packets each, of which only the first carries a time, and those not lost."""
    sent = []
    for unit, size in enumerate(sizes):
        for i in range(size):
            flags = 3 if size == 1 else 1 if i == 0 else 2 if i == size - 1 else 0
            time = START + unit if make is packet else (float(unit) if i == 0 else None)
            sent.append(make(len(sent), time=time, flags=flags, payload=bytes([i])))
    return [p for n, p in enumerate(sent) if n not in lost], [sum(m < n for m in lost) for n in range(len(sent))]


@pytest.mark.parametrize(
    ("lost", "masks"),
    [
        ((), [0, 0, 0, 0]),
        ((0,), [packet_merge.FIRST_MISSING, 0, 0, 0]),
        ((1, 2), [packet_merge.MIDDLE_MISSING, 0, 0, 0]),
        ((3,), [packet_merge.LAST_MISSING, 0, 0, 0]),
        ((4,), [0, 0, 0]),
        ((5, 6), [0, 0, packet_merge.FIRST_MISSING, 0]),
        ((0, 2, 3), [packet_merge.FIRST_MISSING | packet_merge.LAST_MISSING, 0, 0, 0]),
        ((7, 8, 11), [0, 0, packet_merge.MIDDLE_MISSING | packet_merge.LAST_MISSING]),
    ],
)
@pytest.mark.parametrize(("make", "code"), [(packet, "cuc"), (foreign_packet, "cds")])
def test_a_unit_that_lacks_a_segment_is_known_by_what_it_lacks(lost, masks, make, code):
    kept, _ = units(lost, make=make)
    merged = packet_merge.merge([channel(0, kept), channel(1, kept[1:])], packet_time=code)
    found = packet_merge.groups(merged, APID)
    assert found.mask.tolist() == masks
    assert found.incomplete == sum(mask != 0 for mask in masks)
    assert contents(merged) == kept


def test_a_unit_held_twice_with_a_difference_is_still_one_unit():
    kept, _ = units(())
    other = packet(1, time=START, flags=0, payload=b"\xff")
    merged = packet_merge.merge([channel(0, kept), channel(1, [kept[0], other])], packet_time="cuc")
    assert packet_merge.groups(merged, APID).mask.tolist() == [0, 0, 0, 0]


def test_a_counter_reset_within_a_unit_ends_it():
    sent = [packet(9, time=START, partition=1, flags=1), packet(10, time=START + 60, partition=2, flags=2)]
    found = packet_merge.groups(packet_merge.merge([channel(0, sent)], packet_time="cuc"), APID)
    assert found.mask.tolist() == [packet_merge.LAST_MISSING, packet_merge.FIRST_MISSING]


def test_nothing_merges_to_nothing():
    assert packet_merge.merge([]).packets == {}
    empty = packet_merge.merge([channel(0, [])], packet_time="cuc")
    assert empty.packets == {}
    assert empty.content(APID) == b""


@st.composite
def splits(draw):
    """A sequence in partitions, which channel lost what, and where a channel plays out of order."""
    count = draw(st.integers(12, 80))
    first = draw(st.integers(0, 16383))
    octet = draw(st.integers(0, 255))
    resets = draw(st.sets(st.integers(1, count - 1), max_size=2))
    fate = draw(st.lists(st.sampled_from([(), (0,), (1,), (0, 1), (0, 1)]), min_size=count, max_size=count))
    shift = draw(st.sampled_from([0.0, -1.0, -7.5, DAY]))
    turned = draw(st.booleans())
    return count, first, octet, sorted(resets), fate, shift, turned


@given(splits())
def test_any_split_into_two_channels_with_losses_gives_each_packet_once_in_order(case):
    count, first, octet, resets, fate, shift, turned = case
    ordinal = np.searchsorted(resets, np.arange(count), side="right")
    time = START + np.arange(count) + shift * ordinal
    sent = [
        packet(first + n, time=time[n], partition=octet + int(ordinal[n]), payload=n.to_bytes(2, "big"))
        for n in range(count)
    ]
    channels = []
    for number in (0, 1):
        rows = [n for n in range(count) if number in fate[n]]
        breaks = [int(sum(number not in fate[m] for m in range(n))) for n in rows]
        if turned and number:
            rows, breaks = rows[len(rows) // 2 :] + rows[: len(rows) // 2], list(range(len(rows)))
        channels.append(channel(number, [sent[n] for n in rows], breaks))
    merged = packet_merge.merge(channels, packet_time="cuc")
    again = packet_merge.merge(channels[::-1], packet_time="cuc")
    kept = [n for n in range(count) if fate[n]]
    if not kept:
        assert merged.packets == {}
        return
    held = merged.packets[APID]
    assert contents(merged) == [sent[n] for n in kept] == contents(again)
    assert vcids(held.sources) == [set(fate[n]) for n in kept]
    assert held.duplicates == sum(len(fate[n]) == 2 for n in kept)
    changes = np.diff(ordinal[kept]) != 0
    assert_array_equal(np.diff(held.stretch), changes)
    assert_array_equal(np.diff(held.counter)[~changes], np.diff(kept)[~changes])
    for ours, theirs in zip(held[3:], again.packets[APID][3:], strict=True):
        assert_array_equal(ours, theirs)
    assert_conserved(merged, channels)
