"""However a recording is mangled, no packet comes out that was not sent, and every octet and frame is accounted for.

Reed-Solomon with 16 correctable symbols takes a mangled block for another codeword once in 10^13 times: on such links
anything goes. A checksum of 16 bits passes one of 65536 mangled frames, but every one with up to three wrong bits or a
burst of up to 16 is noticed (the distance of the code is 4 at these lengths). So links that have nothing else are given
such errors, and few of those that shift what follows: all examples together leave less than 0.01 undetected errors to
be expected, and they are always the same examples.
"""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.ccsds import link
from processors.level0 import downlink
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

SPACECRAFT = 76
CODED = link.Link(
    "coded", "cadu", link.Frame("aos", 223), "ccsds", link.ReedSolomon(interleave=1), (SPACECRAFT,), {}, "none"
)
CODED_TM = dataclasses.replace(CODED, name="coded tm", frame=link.Frame("tm", 223), virtual_channels={7: "idle"})
CHECKED_TM = dataclasses.replace(CODED_TM, name="checked tm", frame=link.Frame("tm", 223, fecf=True), reed_solomon=None)
FRAMES_TM = dataclasses.replace(CHECKED_TM, name="frames", stream="frames", randomizer="none")
PACKETS = link.Link("packets", "packets", None, "none", None, (SPACECRAFT,), {}, "crc16")
CHANNEL = 2
FAILURES = ("uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")
REFUSED = (downlink.EmptyStreamError, downlink.LinkMismatchError)

seeded = settings(max_examples=60, deadline=None, derandomize=True)
places = st.integers(0, 2**31)
lengths = st.lists(st.integers(1, 700), min_size=8, max_size=40)
firsts = st.sampled_from([0, 5, 1000, 2**24 - 9, 2**28 - 9])


def flip(bits, place, size, seed):
    """A burst of wrong bits, of any length."""
    at = place % bits.size
    wrong = bits.copy()
    wrong[at : at + size] ^= np.random.default_rng(seed).integers(0, 2, wrong[at : at + size].size, dtype=np.uint8)
    return wrong


def scatter(bits, place, size, seed):
    """Bits that are wrong here and there."""
    wrong = bits.copy()
    wrong[np.random.default_rng(seed).integers(0, bits.size, size=size)] ^= 1
    return wrong


def delete(bits, place, size, seed):
    at = place % bits.size
    return np.r_[bits[:at], bits[at + size :]]


def insert(bits, place, size, seed):
    at = place % bits.size
    return np.r_[bits[:at], np.random.default_rng(seed).integers(0, 2, size, dtype=np.uint8), bits[at:]]


def duplicate(bits, place, size, seed):
    """A piece that comes again, right away or later."""
    at = place % bits.size
    later = at + seed % bits.size
    return np.r_[bits[:later], bits[at : at + size], bits[later:]]


def swap(bits, place, size, seed):
    """Two neighboring pieces in the wrong order."""
    at = place % bits.size
    return np.r_[bits[:at], bits[at + size : at + 2 * size], bits[at : at + size], bits[at + 2 * size :]]


def truncate(bits, place, size, seed):
    """The begin or the end is missing."""
    return bits[size:] if seed % 2 else bits[: max(bits.size - size, 0)]


KINDS = (flip, scatter, delete, insert, duplicate, swap, truncate)
# single bits, octets, whole frames of the links here, and what is none of them
sizes = st.one_of(
    st.integers(1, 40),
    st.integers(1, 60).map(lambda n: 8 * n),
    st.integers(1, 9).map(lambda n: 8 * 259 * n),
    st.integers(1, 20000),
)
mutations = st.lists(st.tuples(st.sampled_from(KINDS), places, sizes, st.integers(0, 2**31)), min_size=1, max_size=5)


def mangled(octets, changes):
    bits = np.unpackbits(np.frombuffer(octets, dtype=np.uint8))
    for kind, place, size, seed in changes:
        if bits.size:
            bits = kind(bits, place, size, seed)
    return np.packbits(bits).tobytes()


def made(sizes, first=0):
    """Packets of three application processes, each different from every other."""
    records = [
        encoder.PacketRecord(tick, 0x20 + tick % 3, (tick.to_bytes(2, "big") * size)[: size + 1])
        for tick, size in enumerate(sizes)
    ]
    return encoder.space_packets(records, first_sequence=dict.fromkeys((0x20, 0x21, 0x22), first))


def recorded(packets, spacelink, first=0):
    return simulation.assemble_pass(
        {CHANNEL: packets}, link=spacelink, spacecraft=SPACECRAFT, first_counter={CHANNEL: first}
    ).cadus


def split(octets):
    """Packets back to back, told apart by their length fields alone."""
    found, at = [], 0
    while at < len(octets):
        end = at + 7 + int.from_bytes(octets[at + 4 : at + 6], "big")
        found.append(octets[at:end])
        at = end
    return found


def assert_conserved(account, recordings, spacelink):
    octets, frames, zones = account["bytes"], account["frames"], account["zone_bytes"]
    # what cannot be decoded is named, not counted
    refused = {int(row["recording"].split()[-1]) - 1 for row in account["failed"]}
    assert octets["in"] == sum(len(octets) for n, octets in enumerate(recordings) if n not in refused)
    assert octets["in"] == octets["frames"] + octets["junk"] + octets["tail"]
    assert frames["received"] == frames["accepted"] + sum(frames[name] for name in FAILURES)
    assert zones["in"] == zones["packets"] + zones["dropped"]
    if spacelink.frame is not None and not account["suspect"]:
        assert zones["in"] == (frames["accepted"] - frames["idle"]) * spacelink.layout.zone_length
    assert min(*octets.values(), *frames.values(), *zones.values()) >= 0


def received(recordings, spacelink):
    """Packets by application process; empty where the recordings are refused."""
    try:
        result = downlink.decode(recordings, link=spacelink)
    except REFUSED:
        return {}
    assert_conserved(result.completeness, recordings, spacelink)
    return {channel.apid: split(octets) for channel, octets in result.packets.items()}


def assert_sent(found, sent):
    for packets in found.values():
        assert set(packets) <= set(sent)


def assert_in_order(found, sent):
    """Packets of an application process come in the order in which they were sent, each once."""
    place = {packet: number for number, packet in enumerate(sent)}
    for packets in found.values():
        numbers = [place[packet] for packet in packets]
        assert numbers == sorted(set(numbers))


@seeded
@given(lengths, mutations, firsts)
def test_a_mangled_coded_recording_holds_nothing_but_what_was_sent_in_order(sizes, changes, first):
    sent = made(sizes)
    found = received([mangled(recorded(sent, CODED, first), changes)], CODED)
    assert_sent(found, sent)
    assert_in_order(found, sent)


@seeded
@given(lengths, mutations)
def test_a_mangled_recording_of_packets_with_checksums_holds_nothing_else_either(sizes, changes):
    checked = dataclasses.replace(CODED, packet_check="crc16")
    sent = made(sizes)
    found = received([mangled(recorded(sent, checked), changes)], checked)
    assert_sent(found, sent)
    assert_in_order(found, sent)


@seeded
@given(lengths, mutations)
def test_a_mangled_recording_of_frames_with_a_short_counter_holds_nothing_but_what_was_sent(sizes, changes):
    """A piece that comes again is not told from another turn of an 8-bit counter: the order is not asked for."""
    sent = made(sizes)
    assert_sent(received([mangled(recorded(sent, CODED_TM), changes)], CODED_TM), sent)


@seeded
@given(lengths, st.lists(mutations, min_size=2, max_size=3), firsts)
def test_differently_mangled_copies_together_hold_all_that_each_holds_and_nothing_else(sizes, copies, first):
    sent = made(sizes)
    clean = recorded(sent, CODED, first)
    recordings = [mangled(clean, changes) for changes in copies]
    together = received(recordings, CODED)
    assert_sent(together, sent)
    assert_in_order(together, sent)
    for recording in recordings:
        for apid, packets in received([recording], CODED).items():
            assert set(packets) <= set(together[apid])


@seeded
@given(lengths, st.lists(mutations, min_size=2, max_size=2), st.randoms(use_true_random=False))
def test_the_order_of_mangled_recordings_changes_nothing(sizes, copies, random):
    clean = recorded(made(sizes), CODED)
    recordings = [mangled(clean, changes) for changes in copies] + [clean]
    shuffled = random.sample(recordings, k=3)
    first, second = downlink.decode(recordings, link=CODED), downlink.decode(shuffled, link=CODED)
    assert first.packets == second.packets
    for section in ("bytes", "frames", "virtual_channels", "packets", "zone_bytes"):
        assert first.completeness[section] == second.completeness[section]


# errors that a checksum of 16 bits is bound to notice
few_bits = st.lists(st.tuples(places, st.integers(1, 2**16 - 1)), max_size=25)
# and how whole blocks of a stream come: missing, twice, or in another order
handling = st.lists(st.tuples(st.sampled_from(["lost", "twice", "exchanged"]), places, st.integers(1, 9)), max_size=3)


def spoiled(octets, length, errors, changes):
    """Blocks of a stream, each with one burst at most, some of them missing, repeated or exchanged."""
    rows = np.frombuffer(octets, dtype=np.uint8).reshape(-1, length).copy()
    for place, burst in {place % len(rows): (place, burst) for place, burst in errors}.values():
        row = rows[place % len(rows)]
        at = place // len(rows) % (length - 2)
        row[at : at + 3] ^= np.frombuffer((burst << place % 8).to_bytes(3, "big"), dtype=np.uint8)
    order = np.arange(len(rows))
    for kind, place, count in changes:
        at = place % max(order.size, 1)
        piece, rest = order[at : at + count], order[at + count :]
        if kind == "lost":
            order = np.r_[order[:at], rest]
        elif kind == "twice":
            order = np.r_[order[: at + count], piece, rest]
        else:
            order = np.r_[order[:at], rest[:count], piece, rest[count:]]
    return rows[order].tobytes()


@seeded
@given(lengths, few_bits, handling, st.integers(0, 222))
def test_a_spoiled_stream_of_checked_frames_holds_nothing_but_what_was_sent(sizes, errors, changes, cut):
    sent = made(sizes)
    octets = spoiled(recorded(sent, FRAMES_TM), 223, errors, changes)
    assert_sent(received([octets[: len(octets) - cut]], FRAMES_TM), sent)


@seeded
@given(lengths, few_bits, handling, st.tuples(st.sampled_from([delete, insert]), places, st.integers(1, 90), places))
def test_a_spoiled_recording_without_code_holds_nothing_but_what_was_sent(sizes, errors, changes, slip):
    sent = made(sizes)
    octets = spoiled(recorded(sent, CHECKED_TM), CHECKED_TM.cadu_length, errors, changes)
    assert_sent(received([mangled(octets, [slip])], CHECKED_TM), sent)


@seeded
@given(lengths, few_bits, places, st.integers(0, 50))
def test_a_spoiled_file_of_packets_holds_nothing_but_what_was_sent_in_order(sizes, errors, place, cut):
    sent = made(sizes, first=16380)
    octets = bytearray(b"".join(sent))
    # errors lie in packets of their own, behind the headers: a wrong length misleads all that follows
    begins = np.cumsum([0, *map(len, sent)])
    for number, burst in {
        place % len(sent): burst for place, burst in errors if len(sent[place % len(sent)]) > 9
    }.items():
        at = int(begins[number]) + 6 + place % (len(sent[number]) - 8)
        octets[at : at + 2] = (int.from_bytes(octets[at : at + 2], "big") ^ burst).to_bytes(2, "big")
    found = received([bytes(octets[: len(octets) - cut])], PACKETS)
    assert_sent(found, sent)
    assert_in_order(found, sent)


@seeded
@given(lengths, places, st.integers(1, 2**8 - 1))
def test_a_wrong_header_in_a_file_of_packets_costs_what_follows_and_invents_nothing(sizes, place, wrong):
    sent = made(sizes)
    number = place % len(sent)
    octets = bytearray(b"".join(sent))
    octets[len(b"".join(sent[:number])) + place // len(sent) % 6] ^= wrong
    found = received([bytes(octets)], PACKETS)
    assert_sent(found, sent)
    for packets in found.values():
        assert sent[number] not in packets
