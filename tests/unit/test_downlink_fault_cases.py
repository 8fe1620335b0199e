"""Faults a downlink is known to suffer, put in one at a time: the outcome of each, and where every octet of it went.

The numbers in the docstrings are those of the list of fault cases. Faults of single frames are also in
test_downlink_faults; what other spacecraft really sent is in the oracle tests.
"""

import copy
import dataclasses
import itertools

import numpy as np
import pytest

from processors.ccsds import link, randomizer, reed_solomon, space_packet
from processors.level0 import downlink, frame_merge, packet_merge
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

SCID = 76
MARKER = bytes.fromhex("1ACFFC1D")
AOS = link.Link(
    "aos", "cadu", link.Frame("aos", 223), "ccsds", link.ReedSolomon(interleave=1), (SCID,), {}, "crc16", "cuc"
)
DEEP = dataclasses.replace(AOS, name="deep", frame=link.Frame("aos", 892), reed_solomon=link.ReedSolomon(interleave=4))
CHECKED = dataclasses.replace(AOS, name="checked", frame=link.Frame("aos", 223, fecf=True, ocf=True))
TM = dataclasses.replace(AOS, name="tm", frame=link.Frame("tm", 223, fecf=True), virtual_channels={7: "idle"})
BARE = dataclasses.replace(TM, name="bare", stream="frames", randomizer="none", reed_solomon=None)
WEAK = dataclasses.replace(AOS, name="weak", frame=link.Frame("aos", 239), reed_solomon=link.ReedSolomon(1, e=8))
FAILURES = ("uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")
CHANNEL = 2


def assert_conserved(account, size, spacelink):
    """Every octet, every frame and every octet of a packet zone went to exactly one place.

    Zones are counted a second way as well: one zone for every accepted frame that is not idle.
    """
    octets, frames, zones = account["bytes"], account["frames"], account["zone_bytes"]
    assert octets["in"] == octets["frames"] + octets["junk"] + octets["tail"] == size
    assert frames["received"] == frames["accepted"] + sum(frames[name] for name in FAILURES)
    assert frames["accepted"] == sum(row["frames"] for row in account["virtual_channels"])
    assert zones["in"] == zones["packets"] + zones["dropped"]
    if spacelink.frame is not None and not account["suspect"]:
        read = (frames["accepted"] - frames["idle"]) * spacelink.layout.zone_length
        # what a frozen counter repeats to the octet is accepted, and need not be read again
        assert zones["in"] <= read if any(row["frozen"] for row in account["counters"]) else zones["in"] == read
    assert min(*octets.values(), *frames.values(), *zones.values()) >= 0


class Decoded:
    """Result of a decode whose account has been checked."""

    def __init__(self, spacelink, recordings, size):
        sink = downlink.MemorySink()
        self.account = downlink.decode_into(sink, recordings, link=spacelink)
        self.rejected = sink.rejected()
        self.by_source = sink.packets()
        assert_conserved(self.account, size, spacelink)

    @property
    def frames(self):
        return self.account["frames"]

    @property
    def synchronization(self):
        return self.account["synchronization"]

    def row(self, vcid=CHANNEL):
        return next(row for row in self.account["virtual_channels"] if row["vcid"] == vcid)

    def held(self, vcid=CHANNEL):
        """Intervals of the counter by epoch."""
        return next(row["held"] for row in self.account["counters"] if row["vcid"] == vcid)

    def packets(self, vcid=CHANNEL):
        """Packets of a channel by application process, each in order."""
        return {
            source.apid: split(octets) for source, octets in self.by_source.items() if source.vcid == vcid and octets
        }


def decode(*recordings, spacelink=AOS):
    named = [downlink.Recording(str(n), downlink.stretches(octets)) for n, octets in enumerate(recordings)]
    return Decoded(spacelink, named, sum(map(len, recordings)))


def split(octets):
    """Packets back to back, told apart by their length fields alone."""
    found, at = [], 0
    while at < len(octets):
        end = at + 7 + int.from_bytes(octets[at + 4 : at + 6], "big")
        found.append(octets[at:end])
        at = end
    return found


def packet_list(seed, count=60, longest=600):
    """Packets of three application processes, each different from every other."""
    random = np.random.default_rng(seed)
    records = [
        encoder.PacketRecord(tick, 0x20 + tick % 3, random.bytes(8 + int(random.integers(longest))))
        for tick in range(count)
    ]
    return encoder.space_packets(records)


def by_apid(packets):
    found = {}
    for packet in packets:
        found.setdefault((packet[0] & 7) << 8 | packet[1], []).append(packet)
    return found


def passed(packets, *, spacelink=AOS, spacecraft=SCID, **faults):
    return simulation.assemble_pass({CHANNEL: packets}, link=spacelink, spacecraft=spacecraft, **faults)


def impaired(packets, *, spacelink=AOS, **faults):
    return passed(packets, spacelink=spacelink, impairments=simulation.Impairments(**faults))


def tampered(recording, change, spacelink=AOS):
    """Recording in which frames were changed before they were coded: nothing the code could notice.

    `change` is given the frames of the channel with packets, in order, and may write to them.
    """
    rows = np.frombuffer(recording, dtype=np.uint8).reshape(-1, spacelink.cadu_length).copy()
    frames = randomizer.randomize(rows[:, 4:], spacelink.randomizer)[:, : spacelink.layout.length]
    channel = frames[:, 1] & 0x3F if spacelink.layout.type == "aos" else frames[:, 1] >> 1 & 7
    chosen = frames[channel == CHANNEL]
    change(chosen)
    frames[channel == CHANNEL] = chosen
    blocks = reed_solomon.encode(frames, code=spacelink.reed_solomon)
    rows[:, 4:] = randomizer.randomize(blocks, spacelink.randomizer)
    return rows.tobytes()


def cut(octets, begin=0, end=None):
    """Bits of a recording, packed from the first one on."""
    return np.packbits(np.unpackbits(np.frombuffer(octets, dtype=np.uint8))[begin:end]).tobytes()


def cut_into(octets, sizes):
    """A recording as it may be read: stretches of the sizes given, the last of which repeat."""
    stream = np.frombuffer(octets, dtype=np.uint8)
    at = 0
    for size in itertools.chain(sizes, itertools.repeat(sizes[-1])):
        if at >= stream.size:
            return
        yield stream[at : at + size]
        at += size


SENT = packet_list(1)
EXPECTED = by_apid(SENT)
CLEAN = passed(SENT).cadus
COUNT = len(CLEAN) // AOS.cadu_length
CADU = AOS.cadu_length


# what the account is worth


@pytest.mark.parametrize(
    ("section", "name"),
    [
        *itertools.product(["bytes"], ["in", "frames", "junk", "tail"]),
        *itertools.product(["frames"], ["received", "accepted", "uncorrectable", "duplicate", "conflict"]),
        *itertools.product(["zone_bytes"], ["in", "packets", "dropped"]),
    ],
)
@pytest.mark.parametrize("by", [-1, 1])
def test_an_account_that_is_wrong_by_one_anywhere_is_noticed(section, name, by):
    """45."""
    account = copy.deepcopy(decode(CLEAN[100:-100]).account)
    assert_conserved(account, len(CLEAN) - 200, AOS)
    account[section][name] += by
    with pytest.raises(AssertionError):
        assert_conserved(account, len(CLEAN) - 200, AOS)


# synchronisation


@pytest.mark.parametrize("bit", [1, 7, 13, 40, 8 * 100 + 3, 8 * CADU - 1])
def test_a_recording_that_starts_at_any_bit_of_a_frame_begins_with_the_next_frame(bit):
    """1."""
    result = decode(cut(CLEAN, bit))
    assert result.frames["received"] == COUNT - 1
    assert result.account["bytes"]["junk"] in ((8 * CADU - bit) // 8, (8 * CADU - bit) // 8 + 1)
    surviving = passed(SENT, lost_frames=[(CHANNEL, 0)]).surviving[CHANNEL]
    assert result.packets() == by_apid(surviving)


@pytest.mark.parametrize("errors", [1, 2, 3, 6])
def test_markers_with_a_few_wrong_bits_cost_nothing(errors):
    """2: in lock, which the first two markers give."""
    rows = np.frombuffer(CLEAN, dtype=np.uint8).reshape(COUNT, CADU).copy()
    random = np.random.default_rng(errors)
    for row in rows[2:]:
        row[:4] ^= np.packbits(random.permutation(np.arange(32) < errors))
    result = decode(rows.tobytes())
    assert result.packets() == EXPECTED
    assert result.synchronization["losses"] == 0


@pytest.mark.parametrize(("markers", "losses"), [(3, 0), (4, 1), (9, 1)])
def test_a_fourth_marker_missed_in_a_row_loses_the_lock_which_the_next_good_one_restores(markers, losses):
    """2."""
    rows = np.frombuffer(CLEAN, dtype=np.uint8).reshape(COUNT, CADU).copy()
    rows[20 : 20 + markers, :4] ^= np.packbits(np.arange(32) % 4 == 0)  # eight wrong bits
    result = decode(rows.tobytes())
    assert result.synchronization["losses"] == losses
    assert result.frames["received"] == COUNT - markers * losses
    assert result.account["bytes"]["junk"] == markers * CADU * losses


@pytest.mark.parametrize("shift", [0, 1, 4, 7])
@pytest.mark.parametrize("flip", [0, 0xFF])
def test_a_marker_inside_a_frame_makes_no_extra_frame(shift, flip):
    """3: in lock, and in the rest of a frame with which the recording begins."""
    plain = dataclasses.replace(AOS, randomizer="none")
    marker = np.packbits(np.r_[np.zeros(shift, dtype=np.uint8), np.unpackbits(np.frombuffer(MARKER, dtype=np.uint8))])
    data = np.random.default_rng(shift).bytes(40) + (marker ^ flip).tobytes()
    sent = encoder.space_packets([encoder.PacketRecord(n, 0x20, data * (1 + n % 3)) for n in range(40)])
    recording = passed(sent, spacelink=plain).cadus
    result = decode(recording, spacelink=plain)
    assert result.frames["received"] == len(recording) // CADU
    assert result.packets() == by_apid(sent)
    late = decode(recording[5:], spacelink=plain)
    assert late.frames["received"] == late.frames["accepted"] == len(recording) // CADU - 1


@pytest.mark.parametrize("slip", [-2, -1, 1, 2])
def test_a_bit_slip_costs_its_own_frame_at_most_and_is_counted(slip):
    """4."""
    recording = impaired(SENT, slips={(CHANNEL, 20): slip})
    result = decode(recording.cadus)
    assert result.synchronization["slips"] == 1
    assert result.frames["uncorrectable"] == 1
    assert result.packets() == by_apid(recording.surviving[CHANNEL])


@pytest.mark.parametrize("slip", [-2, -1, 1, 2])
def test_a_bit_slip_near_the_end_of_a_frame_is_corrected(slip):
    """4: the symbols behind it are fewer than the code corrects."""
    bits = np.unpackbits(np.frombuffer(CLEAN, dtype=np.uint8))
    at = 8 * (21 * CADU - 14)
    slipped = np.r_[bits[:at], np.zeros(max(slip, 0), dtype=np.uint8), bits[at - min(slip, 0) :]]
    result = decode(np.packbits(slipped).tobytes())
    assert result.synchronization["slips"] == result.frames["corrected"] == 1
    assert result.packets() == EXPECTED


@pytest.mark.parametrize("bits", [-700, -50, -9, -8, -3, 3, 8, 9, 50, 700])
def test_more_bits_lost_or_inserted_than_a_slip_cost_one_frame_and_the_next_is_found(bits):
    """4."""
    stream = np.unpackbits(np.frombuffer(CLEAN, dtype=np.uint8))
    at = 8 * (20 * CADU + 50)
    entering = np.random.default_rng(3).integers(0, 2, size=max(bits, 0), dtype=np.uint8)
    result = decode(np.packbits(np.r_[stream[:at], entering, stream[at - min(bits, 0) :]]).tobytes())
    assert result.frames["accepted"] == COUNT - 1
    assert result.row()["missing"] == 1


@pytest.mark.parametrize("spacelink", [AOS, TM], ids=["aos", "tm"])
def test_polarity_that_turns_over_twice_costs_nothing_and_is_counted(spacelink):
    """5."""
    recording = impaired(SENT, spacelink=spacelink, inversions=[(CHANNEL, 10), (CHANNEL, 40)])
    result = decode(recording.cadus, spacelink=spacelink)
    assert result.packets() == EXPECTED
    assert result.synchronization["inversions"] == 2


def test_polarity_that_turns_over_inside_a_frame_costs_that_frame():
    """5."""
    bits = np.unpackbits(np.frombuffer(CLEAN, dtype=np.uint8))
    bits[8 * 30 * CADU + 999 :] ^= 1
    result = decode(np.packbits(bits).tobytes())
    assert (result.frames["uncorrectable"], result.frames["accepted"]) == (1, COUNT - 1)
    assert result.synchronization["inversions"] == 1


# coding


@pytest.mark.parametrize(("spacelink", "e"), [(DEEP, 16), (WEAK, 8)], ids=["e16", "e8"])
def test_as_many_wrong_symbols_as_the_code_corrects_are_corrected_and_counted(spacelink, e):
    """6."""
    codewords = spacelink.reed_solomon.interleave
    recording = passed(SENT, spacelink=spacelink, symbol_errors={(CHANNEL, n): (e,) * codewords for n in range(10)})
    result = decode(recording.cadus, spacelink=spacelink)
    assert result.packets() == EXPECTED
    assert result.account["corrected_symbols"] == 10 * e * codewords
    assert (result.frames["corrected"], result.frames["uncorrectable"]) == (10, 0)


@pytest.mark.parametrize("codeword", range(4))
@pytest.mark.parametrize("errors", [17, 40])
def test_one_codeword_beyond_repair_quarantines_the_whole_frame(codeword, errors):
    """7: not a packet of it is used, its octets are kept."""
    wrong = tuple(errors if n == codeword else 0 for n in range(4))
    recording = passed(SENT, spacelink=DEEP, symbol_errors={(CHANNEL, 7): wrong}, seed=errors)
    result = decode(recording.cadus, spacelink=DEEP)
    assert result.frames["uncorrectable"] == 1
    assert result.row()["gaps"] == [[7, 7]]
    assert result.packets() == by_apid(recording.surviving[CHANNEL])
    assert len(result.rejected["uncorrectable.frames"]) == DEEP.layout.length


def test_a_frame_that_the_code_passes_and_its_check_does_not_is_quarantined():
    """8."""

    def change(frames):
        frames[12, 100] ^= 0x01

    recording = tampered(passed(SENT, spacelink=CHECKED).cadus, change, CHECKED)
    result = decode(recording, spacelink=CHECKED)
    assert (result.frames["check_failed"], result.frames["uncorrectable"]) == (1, 0)
    assert result.row()["gaps"] == [[12, 12]]
    surviving = passed(SENT, spacelink=CHECKED, lost_frames=[(CHANNEL, 12)]).surviving[CHANNEL]
    assert result.packets() == by_apid(surviving)
    assert len(result.rejected["check_failed.frames"]) == CHECKED.layout.length


# wrong descriptions

LONG = packet_list(9, 400)
TRAILERS = list(itertools.product([False, True], repeat=2))


def assert_refused_early(recording, spacelink):
    """The refusal comes long before the end of the recording is read."""
    octets = np.frombuffer(recording, dtype=np.uint8)
    read = 0

    def stretches():
        nonlocal read
        for first in range(0, 40 * octets.size, 1 << 14):
            stretch = octets[first % octets.size :][: 1 << 14]
            read += stretch.size
            yield stretch

    sink = downlink.MemorySink()
    with pytest.raises(downlink.LinkMismatchError, match="configuration suspect") as caught:
        downlink.decode_into(sink, [downlink.Recording("long", stretches())], link=spacelink)
    assert caught.value.cause == "link_mismatch"
    assert sink.packets() == {}
    assert read <= 300 * spacelink.cadu_length + (2 << 14) < 20 * octets.size


@pytest.mark.parametrize(("sent", "said"), list(itertools.permutations(link.RANDOMIZERS, 2)))
def test_a_wrong_randomizer_is_refused_early(sent, said):
    """9."""
    recording = passed(LONG, spacelink=dataclasses.replace(AOS, randomizer=sent)).cadus
    assert_refused_early(recording, dataclasses.replace(AOS, randomizer=said))


@pytest.mark.parametrize(
    "said",
    [
        {"reed_solomon": link.ReedSolomon(4, "conventional")},
        {"reed_solomon": link.ReedSolomon(5, virtual_fill=51), "frame": link.Frame("aos", 860)},
        {"reed_solomon": None, "frame": link.Frame("aos", 1020, fecf=True)},
        {"frame": link.Frame("tm", 892)},
    ],
    ids=["basis", "interleave", "code", "type"],
)
def test_a_wrong_code_is_refused_early(said):
    """9."""
    assert_refused_early(passed(LONG, spacelink=DEEP).cadus, dataclasses.replace(DEEP, **said))


@pytest.mark.parametrize("kind", ["aos", "tm"])
@pytest.mark.parametrize(("sent", "said"), list(itertools.permutations(TRAILERS, 2)))
def test_a_wrong_trailer_is_refused_early(kind, sent, said):
    """9: operational control field and frame error control said to be there or not."""
    sending, reading = (
        dataclasses.replace(AOS, frame=link.Frame(kind, 223, ocf=ocf, fecf=fecf)) for ocf, fecf in (sent, said)
    )
    assert_refused_early(passed(LONG, spacelink=sending).cadus, reading)


@pytest.mark.parametrize(
    "said",
    [
        {"frame": link.Frame("aos", 892, insert_zone=8)},
        {"frame": link.Frame("aos", 956), "reed_solomon": link.ReedSolomon(4, e=8)},
    ],
    ids=["insert zone", "strength"],
)
def test_what_only_the_packets_can_tell_yields_no_packet_and_is_said(said):
    """9: the code has nothing against it; every codeword of the stronger code is one of the weaker."""
    result = decode(passed(LONG, spacelink=DEEP).cadus, spacelink=dataclasses.replace(DEEP, **said))
    assert result.by_source == {}
    assert [row["vcid"] for row in result.account["suspect"]] == [CHANNEL]


def test_a_pass_too_noisy_to_decode_is_no_wrong_description():
    """9: bad markers tell bad reception from a wrong description."""
    recording = passed(LONG, bit_error_rate=0.03, seed=1).cadus
    result = decode(recording)
    assert result.frames["uncorrectable"] == result.frames["received"] > 0
    assert result.by_source == {}


# frames that hold nothing, or nothing of ours


@pytest.mark.parametrize(
    "spacelink", [BARE, dataclasses.replace(BARE, frame=link.Frame("aos", 223))], ids=["tm", "aos"]
)
def test_frames_of_zeros_are_rejected_and_harm_no_others(spacelink):
    """10."""
    zeros = bytes(223 * 100)
    result = decode(zeros, spacelink=spacelink)
    assert result.by_source == {}
    assert result.frames["accepted"] == 0
    between = passed(SENT, spacelink=spacelink).cadus
    cut_at = 223 * 20
    mixed = decode(zeros + between[:cut_at] + zeros + between[cut_at:], spacelink=spacelink)
    assert mixed.packets() == EXPECTED
    assert mixed.frames["received"] - mixed.frames["accepted"] == 200


def test_zeros_without_a_marker_are_no_recording_of_the_link():
    """10."""
    with pytest.raises(downlink.LinkMismatchError, match="no sync marker"):
        downlink.decode([bytes(1 << 20)], link=AOS)


@pytest.mark.parametrize("spacelink", [AOS, TM, BARE], ids=["aos", "tm", "bare"])
def test_a_pass_of_idle_frames_holds_no_packet(spacelink):
    """10."""
    recording = simulation.assemble_pass({}, link=spacelink, spacecraft=SCID).cadus
    result = decode(recording * 50, spacelink=spacelink)
    assert result.by_source == {}
    assert result.frames["idle"] == result.frames["accepted"] == 50
    assert result.row(63 if spacelink is AOS else 7)["missing"] == 0


def test_a_neighbor_satellite_is_quarantined_and_counted():
    """11."""
    other = passed(packet_list(2, 20), spacecraft=157).cadus
    mixed = b"".join(
        part for k in range(COUNT) for part in (CLEAN[k * CADU : (k + 1) * CADU], other[k * CADU : (k + 1) * CADU])
    )
    result = decode(mixed)
    foreign = len(other) // CADU
    assert result.frames["foreign"] == foreign
    assert len(result.rejected["foreign.frames"]) == foreign * AOS.layout.length
    assert {source.scid for source in result.by_source} == {SCID}
    assert result.packets() == EXPECTED


def test_channels_and_processes_nobody_announced_are_kept_and_reported():
    """12."""
    unknown = encoder.space_packets([encoder.PacketRecord(n, 0x5AA, bytes([n]) * 50) for n in range(20)])
    announced = dataclasses.replace(AOS, virtual_channels={CHANNEL: "packets", 63: "idle"})
    recording = simulation.assemble_pass({CHANNEL: SENT, 33: unknown}, link=AOS, spacecraft=SCID).cadus
    result = decode(recording, spacelink=announced)
    assert result.packets() == EXPECTED
    assert result.packets(33) == {0x5AA: unknown}
    assert {(row["vcid"], row["apid"]): row["count"] for row in result.account["packets"]}[33, 0x5AA] == 20


# packets in frames


@pytest.mark.parametrize("spacelink", [AOS, CHECKED, TM, BARE], ids=["aos", "checked", "tm", "bare"])
@pytest.mark.parametrize("lost", [12, 17, 40])
def test_one_lost_frame_costs_the_packets_it_held_and_makes_one_gap(spacelink, lost):
    """13."""
    recording = passed(SENT, spacelink=spacelink, lost_frames=[(CHANNEL, lost)])
    result = decode(recording.cadus, spacelink=spacelink)
    assert result.row()["gaps"] == [[lost, lost]]
    assert result.packets() == by_apid(recording.surviving[CHANNEL])
    missing = sum(row["missing"] for row in result.account["packets"])
    assert missing == len(SENT) - len(recording.surviving[CHANNEL]) > 0


def test_after_a_loss_nothing_is_read_before_a_packet_begins():
    """14: frames without the begin of a packet follow the lost one."""
    sent = encoder.space_packets([encoder.PacketRecord(n, 0x20, bytes([n]) * 2000) for n in range(6)])
    recording = passed(sent, lost_frames=[(CHANNEL, 12)])
    result = decode(recording.cadus)
    assert result.packets() == by_apid(recording.surviving[CHANNEL]) == {0x20: [*sent[:1], *sent[2:]]}
    assert result.account["packets_dropped"]["partial"] == 1


@pytest.fixture(scope="module")
def plain():
    """Packets of equal length in a pass: the third begins in frame 1 at octet 83 of the zone."""
    sent = encoder.space_packets([encoder.PacketRecord(n, 0x20, bytes([n]) * 141) for n in range(20)])
    assert {len(packet) for packet in sent} == {149}
    assert AOS.layout.zone_length == 215
    return sent, passed(sent).cadus


@pytest.mark.parametrize("pointer", [82, 84, 0, 214])
def test_a_pointer_that_contradicts_the_open_packet_costs_that_packet(plain, pointer):
    """15: reading resumes at the pointer, and where that is wrong at the next frame's."""
    sent, recording = plain

    def change(frames):
        frames[1, 6:8] = divmod(pointer, 256)

    result = decode(tampered(recording, change))
    found = result.packets()[0x20]
    assert found == [packet for packet in sent if packet in found]
    assert found[0] == sent[0]
    assert found[-17:] == sent[3:]
    assert sent[1] not in found
    assert sum(result.account["packets_dropped"].values()) > 0


@pytest.mark.parametrize(
    ("pointer", "malformed"), [(215, True), (1000, True), (2045, True), (2046, False), (2047, True)]
)
def test_a_pointer_beyond_the_zone_or_to_nothing_costs_what_the_frame_held(plain, pointer, malformed):
    """16: 2046 says that the frame is idle."""
    sent, recording = plain

    def change(frames):
        frames[1, 6:8] = divmod(pointer, 256)

    result = decode(tampered(recording, change))
    assert result.packets() == {0x20: [sent[0], *sent[3:]]}
    assert result.frames["accepted"] == result.frames["received"]
    assert result.account["packets_dropped"]["malformed"] >= malformed


@pytest.mark.parametrize("spacelink", [AOS, CHECKED, TM, BARE], ids=["aos", "checked", "tm", "bare"])
@pytest.mark.parametrize("held", range(1, 7))
def test_a_header_split_between_frames_changes_nothing(spacelink, held):
    """17: the first frame ends after `held` octets of a header."""
    first = spacelink.layout.zone_length - held - 8
    sent = encoder.space_packets(
        [encoder.PacketRecord(0, 0x20, bytes(first)), *(encoder.PacketRecord(n, 0x21, b"body" * 70) for n in (1, 2, 3))]
    )
    result = decode(passed(sent, spacelink=spacelink).cadus, spacelink=spacelink)
    assert result.packets() == by_apid(sent)


def test_a_length_field_of_all_ones_costs_one_packet(plain):
    """18: reading resumes at the next pointer; the packet asked for 65542 octets."""
    sent, recording = plain

    def change(frames):
        frames[1, 8 + 83 + 4 : 8 + 83 + 6] = 0xFF

    result = decode(tampered(recording, change))
    assert result.packets() == {0x20: sent[:2] + sent[3:]}
    assert result.account["packets_dropped"]["malformed"] == 1


# counters


def without_cycle(recording, spacelink=AOS):
    """The same frames from a spacecraft that does not extend its 24-bit counter."""

    def change(frames):
        frames[:, 5] = 0

    return tampered(recording, change, spacelink)


def test_a_frame_counter_of_24_bits_wraps_without_a_gap():
    """19."""
    first = 2**24 - 30
    whole = without_cycle(passed(SENT, first_counter={CHANNEL: first}).cadus)
    result = decode(whole)
    assert result.row()["gaps"] == []
    assert result.held() == [[[first, first + result.row()["frames"] - 1]]]
    assert result.packets() == EXPECTED
    lossy = [
        passed(SENT, first_counter={CHANNEL: first}, lost_frames=[(CHANNEL, first + n) for n in lost])
        for lost in (range(20, 33), range(31, 60))
    ]
    merged = decode(*(without_cycle(recording.cadus) for recording in lossy))
    assert merged.row()["gaps"] == [[first + 31, first + 32]]


def test_a_frame_counter_of_28_bits_wraps_without_a_gap():
    """19."""
    first = 2**28 - 30
    result = decode(passed(SENT, first_counter={CHANNEL: first}, lost_frames=[(CHANNEL, first + 30)]).cadus)
    assert result.row()["gaps"] == [[2**28, 2**28]]


@pytest.mark.parametrize("spacelink", [TM, BARE], ids=["tm", "bare"])
@pytest.mark.parametrize("lost", [[], [256], [255, 256, 257], list(range(200, 440))])
def test_a_frame_counter_of_8_bits_wraps_without_a_gap(spacelink, lost):
    """19: many turns of it, and losses at and beyond a turn's half."""
    recording = passed(LONG, spacelink=spacelink, lost_frames=[(CHANNEL, n) for n in lost])
    result = decode(recording.cadus, spacelink=spacelink)
    assert recording.truth["frames"][0]["sent"] > 2 * 256
    assert result.row()["gaps"] == ([[lost[0], lost[-1]]] if lost else [])
    assert result.packets() == by_apid(recording.surviving[CHANNEL])


def test_a_packet_counter_wraps_without_a_gap():
    """20."""
    records = [encoder.PacketRecord(n, 0x20, bytes([n]) * 40) for n in range(20)]
    sent = encoder.space_packets(records, first_sequence={0x20: 16375})
    result = decode(passed(sent).cadus)
    assert result.packets() == {0x20: sent}
    assert [row["missing"] for row in result.account["packets"] if not row["idle"]] == [0]


def test_a_loss_of_exactly_one_turn_of_the_packet_counter_is_found_by_time():
    """20: neither counter shows it, the frames in between are simply not there."""
    second = 1 << 24
    records = [
        encoder.PacketRecord((1_400_000_000 + n) * second, 0x20, (1_400_000_000 + n).to_bytes(4, "big") + bytes(20))
        for n in (*range(30), *range(30 + 16384, 60 + 16384))
    ]
    sent = encoder.space_packets(records)
    first, rest = (passed(part, first_counter={CHANNEL: at}).cadus for part, at in ((sent[:30], 0), (sent[30:], 9)))
    result = decode(first + rest)
    assert sum(row["missing"] for row in result.account["packets"]) == 0
    table = space_packet.packets_from_octets(np.frombuffer(b"".join(result.packets()[0x20]), dtype=np.uint8)).packets
    held = packet_merge.merge(
        [packet_merge.ChannelPackets(CHANNEL, table, (np.arange(60) >= 30).astype(np.int64))], packet_time="cuc"
    ).packets[0x20]
    assert np.diff(held.counter).tolist() == [1] * 29 + [16385] + [1] * 29


RESETS = [(120, 5000, 0), (120, 5000, 3), (200, 2**27, 0), (200, 2**24 + 5, 17)]


@pytest.mark.parametrize(("at", "first", "restart"), RESETS)
def test_a_counter_that_restarts_on_board_opens_an_epoch_and_loses_nothing(at, first, restart):
    """21."""
    sent = packet_list(4, 200)
    recording = passed(
        sent,
        first_counter={CHANNEL: first},
        impairments=simulation.Impairments(counter_resets={(CHANNEL, first + at): restart}),
    )
    result = decode(recording.cadus)
    frames = recording.truth["frames"][0]["sent"]
    assert result.row() == {"scid": SCID, "vcid": CHANNEL, "frames": frames, "missing": 0, "gaps": []}
    assert result.held() == [[[first, first + at - 1]], [[restart, restart + frames - at - 1]]]
    found = result.packets()
    # one packet lies across the restart: whether the frames belong together is not known
    assert len(sent) - 1 <= sum(map(len, found.values())) <= len(sent)
    for apid, packets in by_apid(sent).items():
        assert found[apid] == [packet for packet in packets if packet in found[apid]]


def test_two_stations_that_both_saw_a_restart_agree_on_the_epochs():
    """21, 24, 27: also where one came late enough to see the frames after it only."""
    sent = packet_list(5, 200)
    faults = simulation.Impairments(counter_resets={(CHANNEL, 7150): 0})
    recordings = [
        passed(sent, first_counter={CHANNEL: 7000}, impairments=faults, lost_frames=[(CHANNEL, n) for n in lost]).cadus
        for lost in (range(7010, 7020), range(7200, 7230), range(7000, 7170))
    ]
    frames = passed(sent).truth["frames"][0]["sent"]
    results = [decode(*order) for order in itertools.permutations(recordings)]
    assert results[0].held() == [[[7000, 7149]], [[0, frames - 151]]]
    for result in results[1:]:
        assert result.by_source == results[0].by_source
        assert result.account == results[0].account


@pytest.mark.parametrize("spacelink", [AOS, TM, BARE], ids=["aos", "tm", "bare"])
def test_a_frozen_frame_counter_makes_no_false_duplicates_and_is_reported(spacelink):
    """22."""
    recording = impaired(SENT, spacelink=spacelink, frozen_counters=[CHANNEL])
    result = decode(recording.cadus, spacelink=spacelink)
    frames = recording.truth["frames"][0]["sent"]
    assert (result.frames["duplicate"], result.frames["conflict"]) == (0, 0)
    assert result.row()["frames"] == frames
    assert result.packets() == EXPECTED
    frozen = next(row["frozen"] for row in result.account["counters"] if row["vcid"] == CHANNEL)
    assert frozen == frames - 1
    again = decode(recording.cadus, recording.cadus, spacelink=spacelink)
    assert again.packets() == EXPECTED
    assert again.frames["accepted"] == again.frames["duplicate"] == result.frames["accepted"]


def test_frames_a_frozen_counter_repeats_to_the_octet_are_no_duplicates_but_those_of_another_station_are():
    """22: idle frames on a channel with packets."""

    def change(frames):
        frames[-40:] = frames[-1]
        frames[-40:, 6:8] = divmod(2046, 256)

    recording = tampered(impaired(SENT, frozen_counters=[CHANNEL]).cadus, change)
    once, twice = decode(recording), decode(recording, recording)
    assert (once.frames["accepted"], once.frames["duplicate"]) == (COUNT, 0)
    assert (twice.frames["accepted"], twice.frames["duplicate"]) == (COUNT, COUNT)
    assert once.packets() == twice.packets()
    first = np.cumsum([len(packet) for packet in SENT]) <= (COUNT - 6 - 40) * AOS.layout.zone_length
    assert once.packets() == by_apid([packet for packet, held in zip(SENT, first, strict=True) if held])


# several recordings


@pytest.mark.parametrize("spacelink", [AOS, TM, BARE], ids=["aos", "tm", "bare"])
@pytest.mark.parametrize("times", [2, 3])
def test_a_recording_delivered_again_changes_the_duplicates_only(spacelink, times):
    """23."""
    recording = passed(SENT, spacelink=spacelink, lost_frames=[(CHANNEL, 30)]).cadus
    once, again = decode(recording, spacelink=spacelink), decode(*[recording] * times, spacelink=spacelink)
    assert again.by_source == once.by_source
    assert again.frames["accepted"] == once.frames["accepted"]
    assert again.frames["duplicate"] == (times - 1) * once.frames["accepted"]
    for section in ("virtual_channels", "counters", "packets", "packets_dropped", "zone_bytes"):
        assert again.account[section] == once.account[section]


@pytest.mark.parametrize("seed", range(3))
def test_stations_with_different_losses_are_united_in_any_order(seed):
    """24, 27."""
    random = np.random.default_rng(seed)
    frames = passed(SENT).truth["frames"][0]["sent"]
    losses = [set(random.choice(frames, size=frames // 2, replace=False).tolist()) for _ in range(3)]
    recordings = [passed(SENT, lost_frames=[(CHANNEL, n) for n in lost]).cadus for lost in losses]
    lost = set.intersection(*losses)
    surviving = passed(SENT, lost_frames=[(CHANNEL, n) for n in lost]).surviving[CHANNEL]
    results = [decode(*order) for order in itertools.permutations(recordings)]
    assert results[0].packets() == by_apid(surviving)
    held = set(range(frames)) - lost
    assert results[0].row()["missing"] == len([n for n in lost if min(held) < n < max(held)])
    for result in results[1:]:
        assert result.by_source == results[0].by_source
        assert result.account == results[0].account


@pytest.mark.parametrize("spacelink", [AOS, TM, BARE], ids=["aos", "tm", "bare"])
@pytest.mark.parametrize(
    ("piece", "by"),
    [((20, 24), [20, 21, 22, 23] * 2), ((20, 24), [22, 23, 20, 21]), ((0, 3), [0, 1, 0, 1, 2]), ((40, 42), [41, 40])],
)
def test_frames_that_come_again_or_out_of_order_are_put_in_order(spacelink, piece, by):
    """27: within one recording."""
    rows = np.frombuffer(passed(SENT, spacelink=spacelink).cadus, dtype=np.uint8)
    rows = rows.reshape(-1, 223 if spacelink is BARE else CADU)
    mixed = rows[np.r_[: piece[0], by, piece[1] : len(rows)]].tobytes()
    result = decode(mixed, spacelink=spacelink)
    assert result.packets() == EXPECTED
    assert result.row()["gaps"] == []


def test_passes_that_follow_one_another_are_one_sequence_in_any_order():
    """27."""
    frames = len(CLEAN) // CADU
    bounds = [0, frames // 4, frames // 2, frames]
    passes = [CLEAN[a * CADU : b * CADU] for a, b in itertools.pairwise(bounds)]
    for order in itertools.permutations(passes):
        result = decode(*order)
        assert result.packets() == EXPECTED
        assert result.row()["gaps"] == []


def test_frames_that_differ_under_one_counter_are_both_kept_and_the_less_corrected_one_is_used():
    """25."""

    def change(frames):
        frames[9, 50] ^= 0x55

    repaired = passed(SENT, symbol_errors={(CHANNEL, 9): (3,)}).cadus
    other = tampered(CLEAN, change)
    row = frame_of(CLEAN, 9)
    for order in itertools.permutations((repaired, other)):
        result = decode(*order)
        assert result.frames["conflict"] == 1
        # the changed frame came without an error, the true one had three
        assert result.rejected["conflict.frames"] == row
    result = decode(
        CLEAN, passed(packet_list(6), symbol_errors={(CHANNEL, n): (1,) for n in range(3)}).cadus[: 3 * CADU]
    )
    assert result.frames["conflict"] == 3
    assert result.packets() == EXPECTED


def frame_of(recording, number):
    """Frame of the channel with packets by its number, as sent."""
    rows = np.frombuffer(recording, dtype=np.uint8).reshape(-1, CADU)
    frames = randomizer.randomize(rows[:, 4:], AOS.randomizer)[:, :223]
    return frames[(frames[:, 1] & 0x3F) == CHANNEL][number].tobytes()


@pytest.mark.parametrize("end", [-1, -5, -CADU - 3, -(len(CLEAN) // 2) - 11])
def test_a_copy_cut_short_counts_its_tail_and_is_completed_by_the_whole_one(end):
    """28."""
    short = decode(CLEAN[:end])
    assert short.account["bytes"]["tail"] == (len(CLEAN) + end) % CADU
    assert short.account["bytes"]["junk"] == 0
    whole = decode(CLEAN)
    for recordings in ((CLEAN[:end], CLEAN), (CLEAN, CLEAN[:end])):
        completed = decode(*recordings)
        assert completed.by_source == whole.by_source
        assert completed.row() == whole.row()
        assert completed.frames["accepted"] == COUNT


def test_a_packet_that_fails_its_check_is_quarantined_and_its_neighbors_are_not():
    """34."""
    broken = list(SENT)
    broken[7] = broken[7][:-1] + bytes([broken[7][-1] ^ 1])
    result = decode(passed(broken).cadus)
    assert result.packets() == by_apid(SENT[:7] + SENT[8:])
    assert result.rejected["check_failed.packets"] == broken[7]
    assert result.account["packets_dropped"]["check_failed"] == 1


# how a recording comes


@pytest.fixture(scope="module")
def noisy():
    """A recording with errors, slips, turns of polarity, noise and losses, and begun within a frame."""
    faults = simulation.Impairments(
        slips={(CHANNEL, 15): 1, (CHANNEL, 44): -2}, inversions=[(CHANNEL, 30)], bit_offset=3
    )
    octets = passed(SENT, bit_error_rate=2e-3, impairments=faults, frame_loss=0.05, seed=5).cadus
    noise = np.random.default_rng(6).bytes(700)
    return octets[77:9000] + noise + octets[9000:-13]


@pytest.mark.parametrize("seed", range(12))
def test_how_a_recording_is_cut_into_stretches_changes_nothing(noisy, seed):
    random = np.random.default_rng(seed)
    sizes = (2 ** random.uniform(0, 13, size=200)).astype(int).tolist()
    whole = decode(noisy)
    recording = downlink.Recording("0", cut_into(noisy, sizes))
    result = Decoded(AOS, [recording], len(noisy))
    assert result.account == whole.account
    assert result.by_source == whole.by_source
    assert result.rejected == whole.rejected
    assert whole.frames["uncorrectable"] > 0
    assert whole.synchronization["slips"] >= 1


def test_a_recording_that_comes_octet_by_octet_gives_the_same(noisy):
    part = noisy[:2500]
    whole = decode(part)
    result = Decoded(AOS, [downlink.Recording("0", cut_into(part, [1]))], len(part))
    assert result.account == whole.account
    assert result.by_source == whole.by_source


@pytest.mark.parametrize("block", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("spacelink", [AOS, TM, BARE], ids=["aos", "tm", "bare"])
def test_how_many_frames_are_merged_at_a_time_changes_nothing(monkeypatch, spacelink, block):
    """Losses, repeats and frames of two stations lie at the ends of blocks as well."""
    short = encoder.space_packets([encoder.PacketRecord(n, 0x20, bytes([n]) * 61) for n in range(200)])
    recordings = [
        passed(short, spacelink=spacelink, lost_frames=[(CHANNEL, n) for n in lost]).cadus
        for lost in ([4, 5, 11, 20, 30, 31, 32, 49, 50], [5, 6, 12, 20, 28, 31, 33, 49, 51])
    ]
    if spacelink is AOS:  # a counter of 8 bits that goes back that far counts another turn
        recordings[1] += recordings[1]
    whole = decode(*recordings, spacelink=spacelink)
    monkeypatch.setattr(frame_merge, "BLOCK", block)
    result = decode(*recordings, spacelink=spacelink)
    assert result.account == whole.account
    assert result.by_source == whole.by_source
    both = passed(short, spacelink=spacelink, lost_frames=[(CHANNEL, n) for n in (5, 20, 31, 49)])
    assert whole.packets() == by_apid(both.surviving[CHANNEL])


PIECES = [1, 2, 3, 4, 5, 9, 100, 222, 255, 256, 257, 258]


@pytest.mark.parametrize("offset", PIECES)
@pytest.mark.parametrize("shift", [0, 3])
def test_a_frame_that_lies_half_in_each_of_two_pieces_is_put_together(offset, shift):
    """28: a recording cut at any octet, of the marker too."""
    octets = impaired(SENT, bit_offset=shift).cadus
    at = 40 * CADU + offset
    whole = decode(octets)
    for pieces in itertools.permutations((octets[:at], octets[at:])):
        result = decode(*pieces)
        assert result.by_source == whole.by_source
        assert result.frames["accepted"] == COUNT
        assert result.row() == whole.row()
    assert whole.packets() == EXPECTED


@pytest.mark.parametrize("cuts", [(7000, 16000), (10 * CADU, 50 * CADU + 3), (30 * CADU + 1, 33 * CADU - 1)])
def test_three_pieces_in_any_order_make_the_whole(cuts):
    """27, 28."""
    octets = impaired(SENT, bit_offset=5).cadus
    pieces = [octets[a:b] for a, b in itertools.pairwise((0, *cuts, len(octets)))]
    for order in itertools.permutations(pieces):
        result = decode(*order)
        assert result.packets() == EXPECTED
        assert result.row()["gaps"] == []


def test_pieces_of_which_one_comes_twice_are_counted_once():
    """23, 28."""
    first, rest = CLEAN[: 40 * CADU + 100], CLEAN[40 * CADU + 100 :]
    for recordings in ((first, first, rest), (first, rest, rest), (first, rest, first, rest), (first, rest, CLEAN)):
        result = decode(*recordings)
        assert result.packets() == EXPECTED
        assert result.frames["accepted"] == COUNT


def test_pieces_of_a_stream_of_frames_are_put_together():
    """28: no marker tells where the second piece's frames begin."""
    octets = passed(SENT, spacelink=BARE).cadus
    at = 223 * 40 + 60
    first = decode(octets[:at], spacelink=BARE)
    assert first.account["bytes"]["tail"] == 60
    result = decode(octets[:at], octets, spacelink=BARE)
    assert result.packets() == EXPECTED


@pytest.mark.parametrize("fecf", [True, False])
@pytest.mark.parametrize("offset", [40, 60, 150])
def test_ends_of_unrelated_passes_are_not_put_together(fecf, offset):
    """Their lengths add up to a frame; a header alone does not tell that it is none."""
    frame = link.Frame("aos", 223, fecf=fecf)
    blind = dataclasses.replace(AOS, frame=frame, reed_solomon=None, packet_check="none")
    sent, other = packet_list(7, 300, longest=40), packet_list(8, 300, longest=40)
    first = passed(sent, spacelink=blind).cadus[: 40 * 227 + offset]
    second = passed(other, spacelink=blind, first_counter={CHANNEL: 5000}).cadus[10 * 227 + offset :]
    result = decode(first, second, spacelink=blind)
    found = {packet for packets in result.packets().values() for packet in packets}
    assert found <= {*sent, *other}
    assert result.frames["received"] == len(first) // 227 + len(second) // 227
