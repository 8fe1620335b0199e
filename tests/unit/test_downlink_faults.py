"""A pass of our own link with faults put in: what must come out, and how it is accounted for."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from processors.ccsds import checksum, frame_sync, link, randomizer, space_packet
from processors.level0 import downlink
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

LINKS = Path(__file__).parents[2] / "infra/parameters/links"
OURS = link.link_from_mapping(yaml.safe_load((LINKS / "terralimb.yaml").read_text()))
UNCHECKED = dataclasses.replace(OURS, packet_check="none")
CADU = 1024
SCID = 76


def packet_list(seed, count=120, longest=3000):
    """Packets of four application processes, valid packet error control included."""
    random = np.random.default_rng(seed)
    records = [
        encoder.PacketRecord(tick, 0x20 + int(random.integers(4)), random.bytes(int(random.integers(1, longest))))
        for tick in range(count)
    ]
    return encoder.space_packets(records)


def decoded_packets(result, vcid=2):
    return sorted(
        packet for channel, octets in result.packets.items() if channel.vcid == vcid for packet in split(octets)
    )


def split(octets):
    """Packets back to back, told apart by their length fields alone."""
    found, at = [], 0
    while at < len(octets):
        end = at + 7 + int.from_bytes(octets[at + 4 : at + 6], "big")
        found.append(octets[at:end])
        at = end
    return found


def apid(packet):
    return (packet[0] & 7) << 8 | packet[1]


def assert_conserved(result, size, spacelink):
    """Every octet, frame and octet of a packet zone went to exactly one place."""
    account = result.completeness
    octets, frames, zones = account["bytes"], account["frames"], account["zone_bytes"]
    assert octets["in"] == octets["frames"] + octets["junk"] + octets["tail"] == size
    failures = ("uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")
    assert frames["received"] == frames["accepted"] + sum(frames[name] for name in failures)
    assert frames["accepted"] == sum(row["frames"] for row in account["virtual_channels"])
    assert zones["in"] == zones["packets"] + zones["dropped"]
    if spacelink.frame is not None:
        assert zones["in"] == (frames["accepted"] - frames["idle"]) * spacelink.layout.zone_length
    assert min(*octets.values(), *frames.values(), *zones.values()) >= 0


def decode(*recordings, spacelink=OURS):
    result = downlink.decode(recordings, link=spacelink)
    assert_conserved(result, sum(map(len, recordings)), spacelink)
    return result


@pytest.fixture(scope="module")
def sent():
    return packet_list(1)


@pytest.fixture(scope="module")
def clean(sent):
    return simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID)


def channel_row(result, vcid):
    return next(row for row in result.completeness["virtual_channels"] if row["vcid"] == vcid)


def test_clean_pass_returns_every_packet_in_order(sent, clean):
    result = decode(clean.cadus)
    for channel, octets in result.packets.items():
        assert channel.scid == SCID
        assert octets == b"".join(packet for packet in sent if apid(packet) == channel.apid)
    assert decoded_packets(result) == sorted(sent)
    assert all(row["missing"] == 0 for row in result.completeness["packets"])
    assert result.completeness["frames"]["idle"] == channel_row(result, 63)["frames"] > 0
    idle_rows = [row for row in result.completeness["packets"] if row["idle"]]
    assert [row["apid"] for row in idle_rows] == [0x7FF]
    assert not any(channel.apid == 0x7FF for channel in result.packets)


def test_recording_that_starts_and_ends_mid_frame_counts_junk_and_tail(sent, clean):
    result = decode(clean.cadus[300:-200])
    assert result.completeness["bytes"]["junk"] == CADU - 300
    assert result.completeness["bytes"]["tail"] == CADU - 200
    assert result.completeness["frames"]["received"] == len(clean.cadus) // CADU - 2
    assert set(decoded_packets(result)) < set(sent)


@pytest.mark.parametrize("remainder", [1, 3, 4, 5, 1023])
def test_any_rest_of_a_frame_is_tail(clean, remainder):
    result = decode(clean.cadus[: 5 * CADU + remainder])
    assert result.completeness["frames"]["received"] == 5
    assert result.completeness["bytes"] == {
        "in": 5 * CADU + remainder,
        "frames": 5 * CADU,
        "junk": 0,
        "tail": remainder,
    }


@pytest.mark.parametrize("shift", range(1, 8))
def test_frames_are_found_at_every_bit_offset(sent, clean, shift):
    bits = np.unpackbits(np.frombuffer(clean.cadus, dtype=np.uint8))
    shifted = np.packbits(np.r_[np.ones(shift, dtype=np.uint8), bits]).tobytes()
    result = decode(shifted)
    assert decoded_packets(result) == sorted(sent)
    assert result.completeness["bytes"]["junk"] == 1


def test_inverted_polarity_is_restored_even_when_it_flips_mid_pass(sent, clean):
    octets = np.frombuffer(clean.cadus, dtype=np.uint8).copy()
    octets[20 * CADU :] ^= 0xFF
    assert decoded_packets(decode(octets.tobytes())) == sorted(sent)


@pytest.mark.parametrize("errors", [1, 2, 3, 6])
def test_marker_with_a_few_wrong_bits_keeps_its_frame_in_lock(sent, clean, errors):
    octets = np.frombuffer(clean.cadus, dtype=np.uint8).copy()
    wrong = np.packbits(np.arange(32) < errors)
    octets[10 * CADU : 10 * CADU + 4] ^= wrong
    assert decoded_packets(decode(octets.tobytes())) == sorted(sent)


@pytest.mark.parametrize(("destroyed", "kept"), [(3, True), (4, False)])
def test_fly_wheel_bridges_three_markers_and_no_more(sent, clean, destroyed, kept):
    octets = np.frombuffer(clean.cadus, dtype=np.uint8).copy().reshape(-1, CADU)
    octets[10 : 10 + destroyed, :4] = 0
    result = decode(octets.tobytes())
    assert (decoded_packets(result) == sorted(sent)) is kept
    assert result.completeness["bytes"]["junk"] == (0 if kept else destroyed * CADU)


@pytest.mark.parametrize(("errors", "kept"), [(6, True), (7, False)])
def test_last_marker_has_no_witness_and_must_be_near_enough_itself(clean, errors, kept):
    octets = np.frombuffer(clean.cadus, dtype=np.uint8).copy()
    octets[-CADU : -CADU + 4] ^= np.packbits(np.arange(32) < errors)
    result = decode(octets.tobytes())
    assert result.completeness["frames"]["received"] == len(clean.cadus) // CADU - (not kept)
    assert result.completeness["bytes"]["junk"] == (0 if kept else CADU)


def test_synchroniser_reports_the_state_of_every_marker(clean):
    octets = np.frombuffer(clean.cadus[: 6 * CADU], dtype=np.uint8).copy().reshape(6, CADU)
    octets[2, :4] ^= np.packbits(np.arange(32) < 3)
    octets[4] ^= 0xFF
    octets[4, 3] ^= 1
    found = frame_sync.synchronize(octets.reshape(-1), cadu_length=CADU)
    assert found.marker_errors.tolist() == [0, 0, 3, 0, 1, 0]
    assert found.inverted.tolist() == [False, False, False, False, True, False]
    assert found.start.tolist() == [8 * CADU * i for i in range(6)]
    assert not found.slip.any()


def test_first_frame_is_found_although_the_second_marker_is_destroyed(sent, clean):
    octets = np.frombuffer(clean.cadus, dtype=np.uint8).copy()
    octets[CADU : CADU + 4] = 0
    assert decoded_packets(decode(octets.tobytes())) == sorted(sent)


def test_idle_frames_with_a_frozen_counter_are_no_duplicates_of_one_another(clean):
    frames = np.frombuffer(clean.cadus, dtype=np.uint8).reshape(-1, CADU)
    plain = randomizer.randomize(frames[:, 4:])
    idle = frames[(plain[:, 1] & 0x3F) == 63][:1]
    recording = np.vstack((frames, *[idle] * 4)).tobytes()
    result = decode(recording)
    assert result.completeness["frames"]["duplicate"] == 0
    assert result.completeness["frames"]["idle"] == decode(clean.cadus).completeness["frames"]["idle"] + 4
    twice = decode(recording, recording)
    assert twice.completeness["frames"]["duplicate"] == len(recording) // CADU


def test_of_identical_frames_the_less_corrected_one_is_counted(sent, clean):
    wrong = {(2, i): (2, 0, 0, 0) for i in range(10)}
    worse = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, symbol_errors=wrong)
    result = decode(worse.cadus, clean.cadus)
    assert result.completeness["corrected_symbols"] == 0
    assert result == decode(clean.cadus, worse.cadus)


def test_first_marker_is_found_with_two_wrong_bits_and_not_with_three(sent, clean):
    octets = np.frombuffer(clean.cadus, dtype=np.uint8).copy()
    octets[0] ^= 0b11
    assert decoded_packets(decode(octets.tobytes())) == sorted(sent)
    octets[0] ^= 0b100
    assert decode(octets.tobytes()).completeness["bytes"]["junk"] == CADU


def test_marker_inside_packet_data_makes_no_extra_frame():
    marker = bytes.fromhex("1ACFFC1D")
    plain = dataclasses.replace(OURS, randomizer="none")
    sent = encoder.space_packets([encoder.PacketRecord(i, 0x20, marker * 300) for i in range(20)])
    recording = simulation.assemble_pass({2: sent}, link=plain, spacecraft=SCID).cadus
    assert recording.count(marker) > 2 * len(recording) // CADU
    result = decode(recording, spacelink=plain)
    assert result.completeness["frames"]["received"] == len(recording) // CADU
    assert decoded_packets(result) == sorted(sent)


@pytest.mark.parametrize("slip", [-2, -1, 1, 2])
def test_bit_slip_costs_at_most_its_own_frame(clean, sent, slip):
    bits = np.unpackbits(np.frombuffer(clean.cadus, dtype=np.uint8))
    at = 8 * (10 * CADU + 500)
    bits = np.r_[bits[:at], np.zeros(max(slip, 0), dtype=np.uint8), bits[at - min(slip, 0) :]]
    result = decode(np.packbits(bits).tobytes())
    assert result.completeness["frames"]["uncorrectable"] == 1
    assert result.completeness["frames"]["accepted"] == len(clean.cadus) // CADU - 1
    assert set(decoded_packets(result)) < set(sent)


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_frame_that_lost_octets_is_junk_and_the_next_one_is_kept(clean, cut):
    broken = clean.cadus[: 10 * CADU + 20] + clean.cadus[10 * CADU + 20 + cut :]
    result = decode(broken)
    assert result.completeness["frames"]["received"] == len(clean.cadus) // CADU - 1
    assert result.completeness["bytes"]["junk"] == CADU - cut


@pytest.mark.parametrize("extra", [1, 77, 5000])
def test_octets_between_frames_are_junk(clean, sent, extra):
    noise = np.random.default_rng(extra).bytes(extra)
    result = decode(clean.cadus[: 10 * CADU] + noise + clean.cadus[10 * CADU :])
    assert result.completeness["bytes"]["junk"] == extra
    assert decoded_packets(result) == sorted(sent)


def test_sixteen_wrong_symbols_in_each_codeword_are_corrected_and_counted(sent):
    wrong = {(2, 3): (16, 16, 16, 16), (2, 7): (1, 0, 0, 0)}
    recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, symbol_errors=wrong)
    result = decode(recording.cadus)
    assert decoded_packets(result) == sorted(sent)
    assert result.completeness["frames"]["corrected"] == 2
    assert result.completeness["corrected_symbols"] == 65


def test_seventeen_wrong_symbols_in_one_codeword_quarantine_the_whole_frame(sent):
    wrong = {(2, 3): (0, 17, 0, 0)}
    recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, symbol_errors=wrong)
    result = decode(recording.cadus)
    assert result.completeness["frames"]["uncorrectable"] == 1
    assert channel_row(result, 2)["gaps"] == [[3, 3]]
    assert decoded_packets(result) == sorted(recording.surviving[2]) != sorted(sent)


@pytest.mark.parametrize(
    "change",
    [
        {"randomizer": "none"},
        {"reed_solomon": link.ReedSolomon(4, "conventional")},
        {"reed_solomon": None, "frame": link.Frame("aos", 1020, fecf=True)},
    ],
    ids=["randomizer", "basis", "code"],
)
def test_wrong_coding_is_refused_with_a_reason(clean, change):
    with pytest.raises(
        downlink.LinkMismatchError,
        match=r"configuration suspect: not one of .* frames decodes; they do with randomizer: ccsds",
    ) as caught:
        downlink.decode([clean.cadus], link=dataclasses.replace(OURS, **change))
    assert caught.value.cause == "link_mismatch"


def test_zero_codewords_are_valid_code_and_yet_no_frames_of_ours():
    marker = bytes.fromhex("1ACFFC1D")
    zeros = marker + bytes(1020)
    result = decode(zeros * 6, spacelink=dataclasses.replace(OURS, randomizer="none"))
    assert result.completeness["frames"]["invalid"] == result.completeness["frames"]["received"] == 6
    assert result.packets == {}


def test_all_idle_pass_has_no_packets_and_no_error():
    recording = simulation.assemble_pass({}, link=OURS, spacecraft=SCID)
    result = decode(recording.cadus)
    assert result.packets == {}
    assert result.completeness["frames"]["idle"] == result.completeness["frames"]["accepted"] == 1


@pytest.mark.parametrize("octets", [bytes(20000), b"To whom it may concern: " * 500, b"\x1a\xcf\xfc\x1d" + bytes(50)])
def test_what_is_no_stream_of_frames_is_refused(octets):
    with pytest.raises(downlink.LinkMismatchError, match="no sync marker 1ACFFC1D every 1024 octets"):
        downlink.decode([octets], link=OURS)


@pytest.mark.parametrize("streams", [[], [b""]])
def test_nothing_at_all_is_refused(streams):
    with pytest.raises(downlink.EmptyStreamError, match="without a single octet") as caught:
        downlink.decode(streams, link=OURS)
    assert caught.value.cause == "empty_stream"


def test_text_is_no_stream_of_frames_or_packets_either():
    text = b"To whom it may concern: " * 500
    bare = link.link_from_mapping(
        {"name": "x", "stream": "frames", "frame": {"type": "aos", "length": 892, "fecf": True}}
    )
    with pytest.raises(downlink.LinkMismatchError, match="not one of"):
        downlink.decode([text], link=bare)
    with pytest.raises(downlink.LinkMismatchError, match="no frame of 892"):
        downlink.decode([text[:100]], link=bare)
    with pytest.raises(downlink.LinkMismatchError, match="begins with no packet"):
        downlink.decode([text], link=link.link_from_mapping({"name": "x", "stream": "packets"}))


def test_foreign_spacecraft_is_counted_and_left_out(clean):
    other = simulation.assemble_pass({2: packet_list(2, 20)}, link=OURS, spacecraft=157)
    result = decode(other.cadus + clean.cadus)
    assert result.completeness["frames"]["foreign"] == len(other.cadus) // CADU
    assert {channel.scid for channel in result.packets} == {SCID}


def test_single_lost_frame_costs_its_packets_and_one_gap(sent):
    recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, lost_frames=[(2, 20)])
    result = decode(recording.cadus)
    assert channel_row(result, 2)["missing"] == 1
    assert channel_row(result, 2)["gaps"] == [[20, 20]]
    assert decoded_packets(result) == sorted(recording.surviving[2])
    lost = len(sent) - len(recording.surviving[2])
    assert sum(row["missing"] for row in result.completeness["packets"]) == lost > 0
    assert result.completeness["packets_dropped"]["partial"] == 1


def test_after_a_loss_inside_a_long_packet_reading_waits_for_a_real_pointer():
    long = encoder.space_packets([encoder.PacketRecord(i, 0x20, bytes([i]) * 5000) for i in range(6)])
    recording = simulation.assemble_pass({2: long}, link=OURS, spacecraft=SCID, lost_frames=[(2, 8)])
    result = decode(recording.cadus)
    assert decoded_packets(result) == sorted(recording.surviving[2])
    assert len(recording.surviving[2]) == 5


def test_packet_header_split_at_every_octet_is_put_together():
    zone = OURS.layout.zone_length
    for held in range(1, 7):
        first = zone - held - (6 + 2)
        sent = encoder.space_packets(
            [encoder.PacketRecord(0, 0x20, bytes(first)), encoder.PacketRecord(1, 0x21, b"payload" * 30)]
        )
        recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID)
        result = decode(recording.cadus)
        assert decoded_packets(result) == sorted(sent), held
        # nothing may come of a header whose other half is lost
        half = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, lost_frames=[(2, 1)])
        assert decoded_packets(decode(half.cadus)) == sent[:1]


def test_idle_packet_too_short_for_its_zone_spills_to_another_frame():
    zone = OURS.layout.zone_length
    for room in range(1, 8):
        sent = encoder.space_packets([encoder.PacketRecord(0, 0x20, bytes(zone - room - 8))])
        recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID)
        assert recording.truth["frames"][0]["sent"] == (1 if room == 7 else 2)
        assert decoded_packets(decode(recording.cadus)) == sent


def zones_from(packets, zone=100):
    octets = np.frombuffer(b"".join(packets), dtype=np.uint8)
    return octets[: octets.size // zone * zone].reshape(-1, zone)


def reassembled(zones, pointers, continues=None):
    pointers = np.array(pointers)
    continues = np.arange(pointers.size) > 0 if continues is None else np.array(continues)
    return space_packet.reassemble(zones, pointers=pointers, continues=continues)


def made(length, number, fill=0):
    return space_packet.encode(bytes([fill]) * (length - 6), apid=0x20, sequence=number)


def test_pointer_that_disagrees_with_the_open_packet_drops_it_and_resumes_there():
    packets = [made(150, 0), made(50, 1), made(60, 2), made(40, 3)]
    zones = zones_from(packets)
    good = reassembled(zones, [0, 50, 0])
    assert good.packets.sequence.tolist() == [0, 1, 2, 3]
    wrong = reassembled(zones, [0, 2047, 0])
    assert wrong.packets.sequence.tolist() == [2, 3]
    assert wrong.malformed == 1


def test_pointer_beyond_the_zone_is_rejected_and_idle_only_is_skipped():
    packets = [made(100, 0), made(100, 1), made(100, 2)]
    zones = zones_from(packets)
    beyond = reassembled(zones, [0, 500, 0])
    assert beyond.packets.sequence.tolist() == [0, 2]
    assert beyond.malformed == 1
    skipped = reassembled(zones, [0, 2046, 0])
    assert skipped.packets.sequence.tolist() == [0, 2]
    assert skipped.malformed == 0


def test_corrupted_length_costs_one_packet_and_reading_resumes_at_the_next_pointer():
    packets = [made(90, 0), made(100, 1), made(100, 2), made(110, 3)]
    corrupted = bytearray(b"".join(packets))
    corrupted[94:96] = b"\xff\xff"
    zones = np.frombuffer(bytes(corrupted), dtype=np.uint8).reshape(-1, 100)
    found = reassembled(zones, [0, 90, 90, 2047])
    assert found.packets.sequence.tolist() == [0, 2, 3]
    assert found.malformed == 1
    bounded = space_packet.reassemble(
        zones, pointers=np.array([0, 90, 90, 2047]), continues=np.arange(4) > 0, longest=4096
    )
    assert bounded.packets.sequence.tolist() == [0, 2, 3]


def test_header_of_another_version_is_malformed():
    zones = zones_from([made(60, 0), b"\xe0" * 40, made(100, 1)])
    found = reassembled(zones, [0, 0])
    assert found.packets.sequence.tolist() == [0, 1]
    assert found.malformed == 1


@pytest.mark.parametrize("first", [2**24 - 7, 2**28 - 7])
def test_frame_counter_wraps_without_a_gap(sent, first):
    recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, first_counter={2: first})
    result = decode(recording.cadus)
    assert channel_row(result, 2)["missing"] == 0
    assert decoded_packets(result) == sorted(sent)
    lost = simulation.assemble_pass(
        {2: sent}, link=OURS, spacecraft=SCID, first_counter={2: first}, lost_frames=[(2, first + 9)]
    )
    assert channel_row(decode(lost.cadus), 2)["gaps"] == [[first + 9, first + 9]]


def test_packet_counter_wraps_without_a_gap():
    records = [encoder.PacketRecord(i, 0x20, bytes(40)) for i in range(20)]
    sent = encoder.space_packets(records, first_sequence={0x20: 16375})
    result = decode(simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID).cadus)
    assert decoded_packets(result) == sorted(sent)
    assert [row["missing"] for row in result.completeness["packets"] if not row["idle"]] == [0]


def test_same_recording_twice_changes_nothing_but_the_duplicates(clean):
    once, twice = decode(clean.cadus), decode(clean.cadus, clean.cadus)
    assert twice.packets == once.packets
    assert twice.completeness["frames"]["duplicate"] == once.completeness["frames"]["accepted"]
    assert twice.completeness["frames"]["accepted"] == once.completeness["frames"]["accepted"]
    assert twice.completeness["packets"] == once.completeness["packets"]


def test_two_stations_with_different_losses_make_one_complete_pass(sent):
    first = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, lost_frames=[(2, i) for i in range(0, 40)])
    second = simulation.assemble_pass(
        {2: sent}, link=OURS, spacecraft=SCID, lost_frames=[(2, i) for i in range(30, 70)]
    )
    result, swapped = decode(first.cadus, second.cadus), decode(second.cadus, first.cadus)
    assert result == swapped
    assert channel_row(result, 2)["gaps"] == [[30, 39]]
    both = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, lost_frames=[(2, i) for i in range(30, 40)])
    assert decoded_packets(result) == sorted(both.surviving[2])


def test_stations_are_merged_across_a_counter_wrap(sent):
    start = 2**28 - 20
    losses = [[(2, start + i) for i in range(0, 25)], [(2, start + i) for i in range(22, 30)]]
    recordings = [
        simulation.assemble_pass(
            {2: sent}, link=OURS, spacecraft=SCID, first_counter={2: start}, lost_frames=lost
        ).cadus
        for lost in losses
    ]
    assert channel_row(decode(*recordings), 2)["gaps"] == [[start + 22, start + 24]]
    assert decode(*recordings) == decode(*recordings[::-1])


def test_equal_counter_with_other_content_is_a_conflict_and_the_less_corrected_frame_wins(sent):
    good = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID)
    other = simulation.assemble_pass(
        {2: packet_list(3)}, link=OURS, spacecraft=SCID, symbol_errors={(2, i): (1, 0, 0, 0) for i in range(5)}
    )
    result = decode(good.cadus, other.cadus[: 5 * CADU])
    conflicts = result.completeness["frames"]["conflict"]
    assert conflicts > 0
    assert result == decode(other.cadus[: 5 * CADU], good.cadus)
    assert decoded_packets(result) == sorted(sent)


def test_packet_that_fails_its_checksum_is_dropped_and_counted(sent):
    broken = list(sent)
    broken[7] = broken[7][:-1] + bytes([broken[7][-1] ^ 1])
    recording = simulation.assemble_pass({2: broken}, link=OURS, spacecraft=SCID).cadus
    result = decode(recording)
    assert result.completeness["packets_dropped"]["check_failed"] == 1
    assert decoded_packets(result) == sorted(sent[:7] + sent[8:])
    assert decoded_packets(decode(recording, spacelink=UNCHECKED)) == sorted(broken)


def test_frame_error_control_quarantines_what_the_code_let_through(sent):
    uncoded = link.link_from_mapping(
        {
            "name": "u",
            "stream": "frames",
            "frame": {"type": "aos", "length": 300, "fecf": True, "ocf": True, "insert_zone": 5},
            "spacecraft": [SCID],
        }
    )
    recording = simulation.assemble_pass({2: sent}, link=uncoded, spacecraft=SCID, symbol_errors={(2, 4): (3,)})
    result = decode(recording.cadus, spacelink=uncoded)
    assert result.completeness["frames"]["check_failed"] == 1
    assert decoded_packets(result) == sorted(recording.surviving[2])


def test_bit_errors_are_all_corrected_where_the_truth_says_so(sent):
    recording = simulation.assemble_pass({2: sent}, link=OURS, spacecraft=SCID, bit_error_rate=4e-3, seed=4)
    result = decode(recording.cadus)
    damaged = sum(len(row["damaged"]) for row in recording.truth["frames"])
    assert result.completeness["frames"]["uncorrectable"] == damaged
    assert decoded_packets(result) == sorted(recording.surviving[2])
    assert result.completeness["corrected_symbols"] > 1000


def test_cut_copy_of_a_packet_file_ends_in_a_tail():
    sent = [made(100, i) for i in range(5)]
    bare = link.link_from_mapping(
        {"name": "p", "stream": "packets", "spacecraft": [9], "virtual_channels": {3: "packets"}}
    )
    result = decode(b"".join(sent)[:-30], spacelink=bare)
    assert result.completeness["bytes"] == {"in": 470, "frames": 400, "junk": 0, "tail": 70}
    assert result.completeness["packets_dropped"] == {"partial": 1, "malformed": 0, "check_failed": 0}
    assert result.packets == {downlink.PacketChannel(9, 3, 0x20): b"".join(sent[:4])}
    broken = decode(b"".join(sent[:2]) + b"\xff" * 50, b"".join(sent[2:]), spacelink=bare)
    assert broken.completeness["bytes"]["junk"] == 50
    assert broken.packets == {downlink.PacketChannel(9, 3, 0x20): b"".join(sent)}


def test_decode_is_deterministic_and_plain(clean):
    first, second = decode(clean.cadus), decode(memoryview(clean.cadus))
    assert first == second
    assert json.loads(json.dumps(first.completeness)) == first.completeness


def test_simulated_frames_carry_their_checksum():
    layout = link.Frame("aos", 300, fecf=True)
    uncoded = link.Link("u", "frames", layout, "none", None, (SCID,), {}, "none")
    recording = simulation.assemble_pass({2: packet_list(5, 5)}, link=uncoded, spacecraft=SCID).cadus
    frames = np.frombuffer(recording, dtype=np.uint8).reshape(-1, 300)
    assert np.all(checksum.frames_pass(frames))


def test_simulator_refuses_errors_that_nothing_would_notice():
    blind = link.Link("b", "frames", link.Frame("aos", 300), "none", None, (SCID,), {}, "none")
    with pytest.raises(ValueError, match="no truth"):
        simulation.assemble_pass({2: packet_list(6, 5)}, link=blind, spacecraft=SCID, bit_error_rate=0.001)
    with pytest.raises(ValueError, match="neither slips nor polarity"):
        simulation.assemble_pass(
            {2: packet_list(6, 5)}, link=blind, spacecraft=SCID, impairments=simulation.Impairments(bit_offset=3)
        )
