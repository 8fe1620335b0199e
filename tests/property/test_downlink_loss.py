"""Whatever is lost, nothing comes out that did not go in."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.ccsds import link
from processors.level0 import downlink
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

SPACECRAFT = 76
# without packet checks: the frame counters alone must keep the halves of two packets apart
LINK = link.Link(
    "loss", "cadu", link.Frame("aos", 223), "ccsds", link.ReedSolomon(interleave=1), (SPACECRAFT,), {}, "none"
)

TM = dataclasses.replace(LINK, frame=link.Frame("tm", 223), virtual_channels={7: "idle"})
FAILURES = ("uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")


def decode(octets, spacelink=LINK):
    """Decode, and check that every octet, frame and octet of a packet zone went to exactly one place."""
    result = downlink.decode([octets], link=spacelink)
    counts, frames, zones = (result.completeness[name] for name in ("bytes", "frames", "zone_bytes"))
    assert counts["in"] == len(octets) == counts["frames"] + counts["junk"] + counts["tail"]
    assert frames["received"] == frames["accepted"] + sum(frames[name] for name in FAILURES)
    assert zones["in"] == zones["packets"] + zones["dropped"]
    if not result.completeness["suspect"]:
        assert zones["in"] == (frames["accepted"] - frames["idle"]) * spacelink.layout.zone_length
    assert min(*counts.values(), *frames.values(), *zones.values()) >= 0
    return result


def split(octets):
    """Packets back to back, told apart by their length fields alone."""
    found, at = [], 0
    while at < len(octets):
        end = at + 7 + int.from_bytes(octets[at + 4 : at + 6], "big")
        found.append(octets[at:end])
        at = end
    return found


def made(lengths):
    records = [
        encoder.PacketRecord(tick, 0x20 + tick % 3, (tick.to_bytes(2, "big") * length)[: length + 1])
        for tick, length in enumerate(lengths)
    ]
    return encoder.space_packets(records)


lengths = st.lists(st.integers(1, 900), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lengths, lengths, st.floats(0.0, 0.9), st.integers(0, 2**24), st.integers(0, 2**32 - 1))
def test_random_frame_loss_yields_the_untouched_packets_and_no_others(first, second, loss, counter, seed):
    sent = {2: made(first), 4: made(second)}
    recording = simulation.assemble_pass(
        sent, link=LINK, spacecraft=SPACECRAFT, frame_loss=loss, first_counter={2: counter}, seed=seed
    )
    if not recording.cadus:
        return
    result = decode(recording.cadus)
    for vcid, surviving in recording.surviving.items():
        found = [p for channel, octets in result.packets.items() if channel.vcid == vcid for p in split(octets)]
        assert sorted(found) == sorted(surviving)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(lengths, st.floats(0.0, 0.5), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_random_loss_of_frames_with_a_short_counter_yields_no_others_either(sizes, loss, counter, seed):
    recording = simulation.assemble_pass(
        {2: made(sizes)}, link=TM, spacecraft=SPACECRAFT, frame_loss=loss, first_counter={2: counter}, seed=seed
    )
    if not recording.cadus:
        return
    result = decode(recording.cadus, TM)
    found = [packet for octets in result.packets.values() for packet in split(octets)]
    assert sorted(found) == sorted(recording.surviving[2])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    lengths, st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=300)), max_size=3), st.integers(0, 2**32 - 1)
)
def test_noise_between_octets_never_makes_a_packet_and_every_octet_is_accounted_for(sizes, noise, seed):
    sent = made(sizes)
    octets = simulation.assemble_pass({2: sent}, link=LINK, spacecraft=SPACECRAFT, frame_loss=0.1, seed=seed).cadus
    for at, junk in noise:
        cut = at % (len(octets) + 1)
        octets = octets[:cut] + junk + octets[cut:]
    try:
        result = decode(octets)
    except (downlink.EmptyStreamError, downlink.LinkMismatchError):
        return
    for channel_octets in result.packets.values():
        assert set(split(channel_octets)) <= set(sent)
