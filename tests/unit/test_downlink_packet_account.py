"""The account of packets: two expectations that must agree, and say so where they do not."""

import dataclasses
import json

import numpy as np
import pytest

from processors.ccsds import space_packet, time_code
from processors.level0 import housekeeping, layouts, packet_account, packet_merge
from processors.simulation import packets as encoder

START = 1.42e9
COUNTED = layouts.RO_CL_AFT
SECONDS = 60


def records(times, apid, *, partition=3):
    """Packets of an application process with the given times, before they are numbered."""
    header, blank = encoder._blank(apid, np.asarray(times, dtype=float))
    blank["clock_partition"] = partition
    return encoder._records(header, apid, blank)


def channel(vcid, packets, breaks=None):
    table = space_packet.packets_from_octets(np.frombuffer(b"".join(packets), dtype=np.uint8)).packets
    marks = np.zeros(len(packets), dtype=np.int64) if breaks is None else np.asarray(breaks)
    return packet_merge.ChannelPackets(vcid, table, marks)


def spacecraft(*, times=None, partition=3, before=0, first=0):
    """Housekeeping each second and carrier packets at the times given; `before` were produced earlier on."""
    times = np.arange(SECONDS) + 0.5 if times is None else np.asarray(times)
    carrier = records(START + times, COUNTED, partition=partition)
    clock = np.arange(SECONDS + 1.0)
    ticks, blank = encoder._blank(layouts.HK_FAST, START + clock)
    blank["clock_partition"] = partition
    column = layouts.COUNTED_APIDS.index(COUNTED)
    blank["packets_produced"][:, column] = before + np.searchsorted(times, clock)
    blank["packets_produced"][:, 0] = before + np.arange(clock.size)
    status = encoder._records(ticks, layouts.HK_FAST, blank)
    return (
        encoder.space_packets(status, first_sequence={layouts.HK_FAST: first}),
        encoder.space_packets(carrier, first_sequence={COUNTED: first}),
    )


def accounted(*channels):
    merged = packet_merge.merge(channels, packet_time="cuc")
    produced = housekeeping.produced_counters(merged.content(layouts.HK_FAST))
    return {row.apid: row for row in packet_account.account(merged, produced)}


def lossy(packets, lost, *, gap=True):
    """Packets without those lost, in a channel that shows an interruption there or does not."""
    kept = [n for n in range(len(packets)) if n not in lost]
    return channel(2, [packets[n] for n in kept], [sum(m < n for m in lost) if gap else 0 for n in kept])


def test_a_complete_record_agrees_with_what_was_produced():
    status, carrier = spacecraft()
    rows = accounted(channel(0, status), channel(2, carrier))
    row = rows[COUNTED]
    assert (row.count, row.missing, row.gaps, row.unexplained) == (SECONDS, 0, [], 0)
    assert row.expected_produced == row.held_in_bracket == SECONDS
    own = rows[layouts.HK_FAST]
    assert own.count == SECONDS + 1
    assert own.expected_produced == own.held_in_bracket == SECONDS
    assert own.unexplained == 0


def test_a_loss_in_a_frame_gap_is_missing_and_explained():
    status, carrier = spacecraft(first=16370)
    row = accounted(channel(0, status), lossy(carrier, {10, 11, 40}))[COUNTED]
    assert row.missing == 3
    assert row.gaps == [[3, 16380, 16381], [3, 16410, 16410]]
    assert row.unexplained == 0
    assert row.expected_produced - row.held_in_bracket == 3


def test_a_loss_without_a_frame_gap_is_unexplained():
    status, carrier = spacecraft()
    row = accounted(channel(0, status), lossy(carrier, {10, 11}, gap=False))[COUNTED]
    assert row.missing == row.unexplained == 2


def test_a_gap_in_either_channel_explains_what_neither_holds():
    status, carrier = spacecraft()
    quiet = lossy(carrier, {10, 11}, gap=False)._replace(vcid=1)
    row = accounted(channel(0, status), quiet, lossy(carrier, {8, 9, 10, 11}))[COUNTED]
    assert row.gaps == [[3, 10, 11]]
    assert row.unexplained == 0
    assert row.duplicates == SECONDS - 4


def test_a_lost_tail_is_known_from_what_was_produced():
    status, carrier = spacecraft()
    row = accounted(channel(0, status), lossy(carrier, set(range(50, SECONDS)), gap=False))[COUNTED]
    assert row.missing == 0
    assert (row.expected_produced, row.held_in_bracket) == (SECONDS, 50)
    assert row.unexplained == 10


def test_a_lost_head_is_known_from_what_was_produced():
    status, carrier = spacecraft(before=1000)
    row = accounted(channel(0, status), lossy(carrier, set(range(5)), gap=False))[COUNTED]
    assert (row.missing, row.unexplained) == (0, 5)


def test_a_tail_lost_in_a_frame_gap_is_explained_by_what_came_after_it():
    status, carrier = spacecraft()
    position = encoder.space_packets(records(START + np.array([70.0, 71.0]), layouts.GN_PVT))
    mixed = channel(2, [*carrier[:50], *position], [0] * 50 + [1, 1])
    row = accounted(channel(0, status), mixed)[COUNTED]
    assert (row.expected_produced, row.held_in_bracket, row.unexplained) == (SECONDS, 50, 0)


def test_a_frame_gap_elsewhere_explains_no_lost_tail():
    status, carrier = spacecraft()
    row = accounted(channel(0, status), lossy(carrier, {7, *range(50, SECONDS)}))[COUNTED]
    assert (row.missing, row.unexplained) == (1, 10)


def test_an_application_process_of_which_nothing_came_is_accounted_for():
    status, _ = spacecraft()
    row = accounted(channel(0, status))[COUNTED]
    assert (row.count, row.expected_produced, row.held_in_bracket, row.unexplained) == (0, SECONDS, 0, SECONDS)


@pytest.mark.parametrize(("gap", "unexplained"), [(True, 0), (False, 16384)])
def test_a_whole_turn_lost_is_known_from_what_was_produced_where_packets_are_not_steady(gap, unexplained):
    random = np.random.default_rng(2)
    times = np.sort(random.uniform(0.0, SECONDS, size=16384 + 200))
    status, carrier = spacecraft(times=times)
    kept = [*range(100), *range(100 + 16384, 200 + 16384)]
    breaks = np.repeat([0, int(gap)], 100)
    row = accounted(channel(0, status), channel(2, [carrier[n] for n in kept], breaks))[COUNTED]
    assert (row.count, row.missing) == (200, 0)
    assert (row.expected_produced, row.held_in_bracket) == (16384 + 200, 200)
    assert row.unexplained == unexplained


def test_lost_housekeeping_narrows_the_bracket_and_accuses_nobody():
    status, carrier = spacecraft()
    status = lossy(status, {*range(12), 30, 31, *range(55, SECONDS + 1)})._replace(vcid=0)
    rows = accounted(status, lossy(carrier, {3, 58}))
    row = rows[COUNTED]
    assert row.expected_produced == row.held_in_bracket == 42
    assert (row.missing, row.unexplained) == (2, 0)
    assert rows[layouts.HK_FAST].missing == 2


def test_a_gap_across_the_whole_bracket_is_not_counted_twice():
    status, carrier = spacecraft()
    row = accounted(channel(0, status[20:40]), lossy(carrier, set(range(10, 50))))[COUNTED]
    assert (row.expected_produced, row.held_in_bracket) == (19, 0)
    assert (row.missing, row.unexplained) == (40, 0)


def test_partitions_are_bracketed_apart():
    """The clock is set back by 20 s and every counter begins again."""
    first = spacecraft()
    second = spacecraft(partition=4, times=np.arange(40) + 20.5)
    rows = accounted(channel(0, [*first[0], *second[0]]), lossy([*first[1], *second[1]], {5, 70}))
    row = rows[COUNTED]
    assert row.gaps == [[3, 5, 5], [4, 10, 10]]
    assert (row.expected_produced, row.held_in_bracket, row.unexplained) == (100, 98, 0)
    assert rows[layouts.HK_FAST].expected_produced == 2 * SECONDS


def test_conflicts_and_copies_do_not_count_as_produced():
    status, carrier = spacecraft()
    changed = bytearray(carrier[20])
    changed[40] ^= 1
    row = accounted(channel(0, status), channel(1, [*carrier[:20], bytes(changed)]), channel(2, carrier))[COUNTED]
    assert (row.count, row.conflicts, row.duplicates) == (SECONDS + 1, 2, 20)
    assert row.expected_produced == row.held_in_bracket == SECONDS


def test_without_housekeeping_the_spacecraft_says_nothing():
    _, carrier = spacecraft()
    (row,) = packet_account.account(packet_merge.merge([channel(2, carrier)], packet_time="cuc"))
    assert row.expected_produced is None
    assert row.held_in_bracket is None
    row = accounted(channel(2, carrier))[COUNTED]
    assert row.expected_produced is None


def test_windows_in_succession_count_everything_once():
    status, carrier = spacecraft()
    twice = channel(3, carrier[10:30])
    merged = packet_merge.merge(
        [channel(0, status), lossy(carrier, {5, 18, 19, 20, 41}), twice._replace(breaks=np.arange(20))],
        packet_time="cuc",
    )
    produced = housekeeping.produced_counters(merged.content(layouts.HK_FAST))
    windows = [
        (START - 40.0, START),
        (START, START + 20.3),
        (START + 20.3, START + 40.0),
        (START + 40.0, START + 100.0),
    ]
    parts = [packet_account.account(merged, produced, within=window) for window in windows]
    assert parts[0] == []
    rows = [next(row for row in part if row.apid == COUNTED) for part in parts[1:]]
    (whole,) = (row for row in packet_account.account(merged, produced) if row.apid == COUNTED)
    assert [row.missing for row in rows] == [1, 0, 1]
    assert [row.expected_produced for row in rows] == [21, 19, 20]
    assert [row.held_in_bracket for row in rows] == [20, 19, 19]
    for field in ("count", "missing", "unexplained", "duplicates", "expected_produced", "held_in_bracket"):
        assert sum(getattr(row, field) for row in rows) == getattr(whole, field)
    assert [gap for row in rows for gap in row.gaps] == whole.gaps


def test_a_gap_that_ends_in_the_next_window_accuses_nobody_in_this_one():
    status, carrier = spacecraft()
    merged = packet_merge.merge([channel(0, status), lossy(carrier, {19})], packet_time="cuc")
    produced = housekeeping.produced_counters(merged.content(layouts.HK_FAST))
    rows = packet_account.account(merged, produced, within=(START, START + 19.3))
    (row,) = (row for row in rows if row.apid == COUNTED)
    assert (row.expected_produced, row.held_in_bracket) == (20, 19)
    assert (row.count, row.missing, row.unexplained) == (19, 0, 0)


def test_packets_without_time_are_of_the_window_of_the_one_before_or_of_any():
    parts = [
        space_packet.encode(bytes([n]), apid=9, sequence=n, secondary_header=False, flags=f)
        for n, f in enumerate([1, 0, 2, 3])
    ]
    merged = packet_merge.merge([channel(6, parts)], packet_time="cuc")
    (row,) = packet_account.account(merged, within=(0.0, 1.0))
    assert row.count == 4
    early = time_code.cuc_from_seconds(np.array([0.5])).tobytes() + bytes([0, 0, 1])
    timed = space_packet.encode(early + b"body", apid=9, sequence=4)
    merged = packet_merge.merge([channel(6, [*parts, timed])], packet_time="cuc")
    assert packet_account.account(merged, within=(1.0, 2.0)) == []


def test_incomplete_units_are_counted():
    parts = [
        space_packet.encode(bytes([n]), apid=9, sequence=n, secondary_header=False, flags=f)
        for n, f in enumerate([1, 0, 2, 1, 2, 3])
    ]
    merged = packet_merge.merge([channel(6, [*parts[:2], *parts[3:]])])
    (row,) = packet_account.account(merged)
    assert (row.incomplete_units, row.missing, row.unexplained) == (1, 1, 1)


def test_an_account_is_ready_for_json():
    status, carrier = spacecraft()
    rows = accounted(channel(0, status), lossy(carrier, {10}))
    plain = [dataclasses.asdict(row) for row in rows.values()]
    assert json.loads(json.dumps(plain)) == plain
    assert list(plain[0]) == [
        "apid",
        "count",
        "missing",
        "gaps",
        "unexplained",
        "duplicates",
        "conflicts",
        "incomplete_units",
        "expected_produced",
        "held_in_bracket",
    ]
