"""Whatever is lost, nothing comes out that did not go in."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.ccsds import link, space_packet
from processors.level0 import downlink
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

SPACECRAFT = 76
# without packet checks: the frame counters alone must keep the halves of two packets apart
LINK = link.Link(
    "loss", "cadu", link.Frame("aos", 223), "ccsds", link.ReedSolomon(interleave=1), (SPACECRAFT,), {}, "none"
)


def split(octets):
    table = space_packet.packets_from_octets(np.frombuffer(octets, dtype=np.uint8)).packets
    return [octets[s : s + n] for s, n in zip(table.start.tolist(), table.length.tolist(), strict=True)]


def made(lengths):
    records = [
        encoder.PacketRecord(tick, 0x20 + tick % 3, (tick.to_bytes(2, "big") * length)[: length + 1])
        for tick, length in enumerate(lengths)
    ]
    return encoder.space_packets(records)


lengths = st.lists(st.integers(1, 900), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(lengths, lengths, st.floats(0.0, 0.9), st.integers(0, 2**24), st.integers(0, 2**32 - 1))
def test_random_frame_loss_yields_the_untouched_packets_and_no_others(first, second, loss, counter, seed):
    sent = {2: made(first), 4: made(second)}
    recording = simulation.assemble_pass(
        sent, link=LINK, spacecraft=SPACECRAFT, frame_loss=loss, first_counter={2: counter}, seed=seed
    )
    if not recording.cadus:
        return
    result = downlink.decode([recording.cadus], link=LINK)
    for vcid, surviving in recording.surviving.items():
        found = [p for channel, octets in result.packets.items() if channel.vcid == vcid for p in split(octets)]
        assert sorted(found) == sorted(surviving)


@settings(max_examples=40, deadline=None)
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
        result = downlink.decode([octets], link=LINK)
    except (downlink.EmptyStreamError, downlink.LinkMismatchError):
        return
    counts = result.completeness["bytes"]
    assert counts["in"] == len(octets) == counts["frames"] + counts["junk"] + counts["tail"]
    assert min(counts.values()) >= 0
    for channel_octets in result.packets.values():
        assert set(split(channel_octets)) <= set(sent)
