"""The modelled pass: what it sends is what the standards draw, and its truth is true."""

import binascii
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from infra.cli import downlink as command
from processors.ccsds import link, reed_solomon, transfer_frame
from processors.level0 import downlink, layouts
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

LINKS = Path(__file__).parents[2] / "infra/parameters/links"
OURS = link.link_from_mapping(yaml.safe_load((LINKS / "terralimb.yaml").read_text()))
MARKER = bytes.fromhex("1acffc1d")
SCID = 76


def a_link(kind="aos", *, e=16, interleave=4, randomizer="ccsds", **frame):
    code = link.ReedSolomon(interleave, e=e)
    layout = link.Frame(kind, code.data_length, **frame)
    return link.Link("sim", "cadu", layout, randomizer, code, (SCID,), {}, "crc16")


VARIANTS = {
    "aos": a_link(),
    "aos, long randomizer": a_link(randomizer="ccsds17"),
    "aos, no randomizer": a_link(randomizer="none"),
    "aos, short code": a_link(e=8, interleave=5),
    "aos, every field": a_link(fecf=True, ocf=True, insert_zone=7, fhec=True),
    "tm": a_link("tm"),
    "tm, every field": a_link("tm", interleave=5, fecf=True, ocf=True),
}


def packet_list(seed, count=60, longest=2500):
    random = np.random.default_rng(seed)
    records = [
        encoder.PacketRecord(tick, 0x20 + int(random.integers(3)), random.bytes(int(random.integers(1, longest))))
        for tick in range(count)
    ]
    return encoder.space_packets(records)


def frames_of(recording, spacelink):
    """Transfer frames of a clean recording, by the decoder."""
    cadus = np.frombuffer(recording, dtype=np.uint8).reshape(-1, spacelink.cadu_length)
    assert all(row.tobytes() == MARKER for row in cadus[:, :4])
    found = reed_solomon.correct(cadus[:, 4:], code=spacelink.reed_solomon, randomizer=spacelink.randomizer)
    return found.frames, found.corrected


def header(frame, kind):
    """Channel, counters and pointer of one frame, read from the bits of the standard's drawing."""
    text = "".join(f"{octet:08b}" for octet in frame[:8])
    if kind == "aos":
        return int(text[10:16], 2), None, int(text[44:48] + text[16:40], 2)
    return int(text[12:15], 2), int(text[16:24], 2), int(text[24:32], 2)


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def variant(request):
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def sent():
    return {2: packet_list(2), 4: packet_list(4, count=90), 6: packet_list(6, count=2, longest=40)}


def test_a_clean_pass_carries_every_packet_where_its_pointers_say(variant, sent):
    layout = variant.layout
    recording = simulation.assemble_pass(sent, link=variant, spacecraft=SCID)
    frames, corrected = frames_of(recording.cadus, variant)
    assert not corrected.any()
    zone = slice(layout.zone.start, layout.zone.stop)
    for vcid, packets in sent.items():
        rows = [row for row in frames if header(row, layout.type)[0] == vcid]
        assert [header(row, layout.type)[2] for row in rows] == [
            n % 256 if layout.type == "tm" else n for n in range(len(rows))
        ]
        carried = b"".join(row[zone].tobytes() for row in rows)
        assert carried.startswith(b"".join(packets))
        starts = np.cumsum([0, *map(len, packets)])
        for number, row in enumerate(rows):
            at = layout.data_field if layout.type == "aos" else 4
            pointer = int.from_bytes(row[at : at + 2].tobytes(), "big") & 0x7FF
            inside = starts[(starts >= number * layout.zone_length) & (starts < (number + 1) * layout.zone_length)]
            assert pointer == (inside[0] - number * layout.zone_length if inside.size else 2047)


def test_frames_carry_what_their_layout_asks_for(variant, sent):
    layout = variant.layout
    frames, _ = frames_of(simulation.assemble_pass(sent, link=variant, spacecraft=SCID).cadus, variant)
    if layout.fecf:
        for row in frames:
            assert binascii.crc_hqx(row.tobytes(), 0xFFFF) == 0
    if layout.type == "tm":
        assert [header(row, "tm")[1] for row in frames] == [n % 256 for n in range(len(frames))]
        assert set(frames[:, 1] & 1) == {int(layout.ocf)}
    if layout.fhec:
        assert transfer_frame.headers_from_frames(frames, layout=layout).valid.all()
        assert_array_equal(np.unique(frames[:, 8:15], axis=0).shape[0], 1)


@pytest.mark.parametrize("octets", [2, 12, 64])
def test_packets_of_tm_frames_begin_after_the_secondary_header(sent, octets):
    spacelink = VARIANTS["tm, every field"]
    recording = simulation.assemble_pass(sent, link=spacelink, spacecraft=SCID, secondary_header=octets)
    frames, _ = frames_of(recording.cadus, spacelink)
    rows = [row for row in frames if header(row, "tm")[0] == 4]
    assert all(row[4] & 0x80 and row[6] == octets - 1 for row in frames)
    carried = b"".join(row[6 + octets : spacelink.layout.zone.stop].tobytes() for row in rows)
    assert carried.startswith(b"".join(sent[4]))


def packets_of(result):
    return {(row["vcid"], row["apid"]): row["count"] for row in result.completeness["packets"] if not row["idle"]}


def surviving(truth):
    return {(row["vcid"], row["apid"]): row["surviving"] for row in truth["packets"] if row["surviving"]}


def test_the_truth_of_a_bad_pass_is_what_a_receiver_finds(variant, sent):
    rate = 2e-3 if variant.reed_solomon.e == 16 else 1e-3
    recording = simulation.assemble_pass(
        sent,
        link=variant,
        spacecraft=SCID,
        frame_loss=0.05,
        bit_error_rate=rate,
        secondary_header=9 if variant == VARIANTS["tm, every field"] else 0,
        seed=3,
    )
    result = downlink.decode([recording.cadus], link=variant)
    assert result.completeness["corrected_symbols"] > 0
    for row in recording.truth["frames"]:
        found = next(r for r in result.completeness["virtual_channels"] if r["vcid"] == row["vcid"])
        assert found["frames"] == row["sent"] - len(row["lost"]) - len(row["damaged"])
    assert packets_of(result) == surviving(recording.truth)
    assert sum(surviving(recording.truth).values()) == sum(map(len, recording.surviving.values()))


def test_a_frame_is_damaged_from_one_wrong_symbol_more_than_the_code_corrects(sent):
    for e, spacelink in ((16, VARIANTS["aos"]), (8, VARIANTS["aos, short code"])):
        words = spacelink.reed_solomon.interleave
        wrong = {(4, 10): (e,) * words, (4, 11): (0,) * (words - 1) + (e + 1,)}
        recording = simulation.assemble_pass(sent, link=spacelink, spacecraft=SCID, symbol_errors=wrong)
        fates = {row["vcid"]: row["damaged"] for row in recording.truth["frames"]}
        assert fates == {2: [], 4: [11], 6: [], 63: []}
        corrected = frames_of(recording.cadus, spacelink)[1]
        assert sorted(corrected.sum(axis=1))[-1] == e * words
        assert np.sum(np.any(corrected < 0, axis=1)) == 1


def test_a_packet_survives_only_if_all_its_frames_do(sent):
    recording = simulation.assemble_pass(sent, link=OURS, spacecraft=SCID, lost_frames=[(4, 7)])
    ends = np.cumsum([len(packet) for packet in sent[4]])
    begins = ends - [len(packet) for packet in sent[4]]
    hit = (begins < 8 * 884) & (ends > 7 * 884)
    assert 0 < hit.sum() < 5
    assert recording.surviving[4] == [p for p, gone in zip(sent[4], hit, strict=True) if not gone]
    assert recording.surviving[2] == sent[2]


def faulty(sent, **faults):
    return simulation.assemble_pass(
        {2: sent[2]}, link=OURS, spacecraft=SCID, impairments=simulation.Impairments(**faults)
    )


def bits_of(recording):
    return np.unpackbits(np.frombuffer(recording, dtype=np.uint8))


def test_a_bit_offset_moves_the_whole_stream(sent):
    clean = bits_of(faulty(sent).cadus)
    for offset in (1, 5, 13):
        shifted = bits_of(faulty(sent, bit_offset=offset).cadus)
        assert_array_equal(shifted[offset:][: clean.size], clean)


@pytest.mark.parametrize("slip", [-2, -1, 1, 2])
def test_a_slip_spoils_its_frame_and_moves_all_that_follow(sent, slip):
    clean = faulty(sent)
    recording = faulty(sent, slips={(2, 30): slip})
    frames, _ = frames_of(clean.cadus, OURS)
    row = next(i for i, f in enumerate(frames) if header(f, "aos")[0] == 2 and header(f, "aos")[2] == 30)
    whole, slipped, begin = bits_of(clean.cadus), bits_of(recording.cadus), 8192 * row
    assert_array_equal(slipped[: begin + 4096], whole[: begin + 4096])
    assert_array_equal(slipped[begin + 8192 + slip :][: whole.size - begin - 8192], whole[begin + 8192 :])
    assert recording.truth["frames"][0]["damaged"] == [30]
    assert packets_of(downlink.decode([recording.cadus], link=OURS)) == surviving(recording.truth)


def test_polarity_turns_over_with_each_inversion(sent):
    clean = np.frombuffer(faulty(sent).cadus, dtype=np.uint8).reshape(-1, 1024)
    recording = faulty(sent, inversions=[(2, 10), (2, 20)])
    difference = np.frombuffer(recording.cadus, dtype=np.uint8).reshape(-1, 1024) ^ clean
    assert set(np.unique(difference)) == {0, 255}
    turned = np.flatnonzero(difference[:, 0])
    frames, _ = frames_of(clean.tobytes(), OURS)
    inverted = {header(frames[i], "aos")[2] for i in turned if header(frames[i], "aos")[0] == 2}
    assert inverted == set(range(10, 20))
    assert_array_equal(turned, np.arange(turned[0], turned[-1] + 1))
    assert recording.truth == faulty(sent).truth


def counters(recording, vcid=2):
    return [h[2] for h in (header(frame, "aos") for frame in frames_of(recording.cadus, OURS)[0]) if h[0] == vcid]


def test_counters_are_reset_and_frozen_as_asked(sent):
    plain = counters(faulty(sent))
    count = len(plain)
    assert plain == list(range(count))
    assert counters(faulty(sent, counter_resets={(2, 20): 0, (2, 30): 500})) == [
        *range(20),
        *range(10),
        *range(500, 500 + count - 30),
    ]
    frozen = faulty(sent, frozen_counters=[2])
    assert set(counters(frozen)) == {0}
    assert len(counters(frozen, vcid=63)) == len(set(counters(frozen, vcid=63))) > 1


def test_what_the_link_cannot_carry_is_refused(sent):
    def refused(match, spacelink=OURS, packets=sent, **asked):
        with pytest.raises(ValueError, match=match):
            simulation.assemble_pass(packets, link=spacelink, spacecraft=SCID, **asked)

    frames = link.Link("f", "frames", link.Frame("aos", 300, fecf=True), "none", None, (SCID,), {}, "none")
    for fault in ({"slips": {(2, 1): 1}}, {"inversions": [(2, 1)]}, {"bit_offset": 1}):
        refused("without markers", frames, impairments=simulation.Impairments(**fault))
    blind = link.Link("b", "cadu", link.Frame("aos", 300), "none", None, (SCID,), {}, "none")
    refused("no truth", blind, bit_error_rate=1e-4)
    refused("no truth", blind, impairments=simulation.Impairments(slips={(2, 1): 1}))
    refused("secondary header", secondary_header=8)
    refused("secondary header", VARIANTS["tm"], secondary_header=65)
    refused("idle frames", packets={63: sent[2]})
    refused("no frame 9999 of virtual channel 2", symbol_errors={(2, 9999): (1,)})
    refused("no frame 1 of virtual channel 9", impairments=simulation.Impairments(slips={(9, 1): 1}))


@pytest.mark.parametrize("name", ["aos", "aos, every field", "tm, every field"])
def test_a_bulk_pass_holds_what_its_truth_says(name, monkeypatch):
    spacelink = VARIANTS[name]
    monkeypatch.setattr(simulation, "STRETCH", 5 * simulation.BULK_CYCLE)
    stretches = list(simulation.bulk_pass(link=spacelink, spacecraft=SCID, frames=420, bit_error_rate=1e-4, seed=2))
    assert len(stretches) > 3
    result = downlink.decode([b"".join(stretch.tobytes() for stretch in stretches)], link=spacelink)
    truth = simulation.bulk_truth(link=spacelink, frames=420)
    assert sum(truth["frames"].values()) == 432
    rows = result.completeness["virtual_channels"]
    assert {row["vcid"]: row["frames"] for row in rows} == truth["frames"]
    assert not any(row["missing"] for row in rows)
    found = [row for row in result.completeness["packets"] if not row["idle"]]
    assert {row["apid"]: row["count"] for row in found} == truth["packets"]
    assert not any(row["missing"] for row in found)
    for channel, octets in result.packets.items():
        records = layouts.records_from_packets(octets, apid=channel.apid)
        assert_array_equal(layouts.sequence_count(records), np.arange(records.size))
        assert all(binascii.crc_hqx(record.tobytes(), 0xFFFF) == 0 for record in records)
        if channel.apid in layouts.IM_LINE:
            assert_array_equal(records["line"], np.arange(records.size))


def test_a_bulk_pass_counts_on_over_every_wrap():
    stream = simulation._STREAMS[0]
    body = np.zeros(1, dtype=stream.layout)
    octets = simulation._bulk_packets(stream, 16382, 16387, body)
    records = octets.view(stream.layout)
    assert layouts.sequence_count(records).tolist() == [16382, 16383, 0, 1, 2]
    ticks = [int.from_bytes(record["time"].tobytes(), "big") for record in records]
    assert set(np.diff(ticks)) == {2**24 // 128}


def test_slow_housekeeping_points_to_the_frames_that_were_recorded():
    records = [encoder.PacketRecord(tick << 24, layouts.GN_PVT, bytes(72)) for tick in range(100)]
    time = np.array([0.0, 30.5, 99.5])
    made = encoder.slow_housekeeping_records(
        time,
        channels={2: records},
        zone_length=800,
        capacity=4,
        first_counter={2: (1 << 28) - 2},
        played_back={2: (1 << 28) - 1},
    )
    found = layouts.records_from_packets(b"".join(encoder.space_packets(made)), apid=layouts.HK_SLOW)["recorder"]
    column = layouts.COUNTED_CHANNELS.index(2)
    # ten packets of 80 octets fill a frame: 0, 3 and 10 frames so far, counted on from two before the wrap
    assert found["newest"][:, column].tolist() == [layouts.NO_FRAME, 0, 7]
    assert found["oldest"][:, column].tolist() == [layouts.NO_FRAME, (1 << 28) - 2, 4]
    assert found["played_back"][:, column].tolist() == [layouts.NO_FRAME, (1 << 28) - 1, (1 << 28) - 1]
    own = layouts.COUNTED_CHANNELS.index(0)
    assert found["newest"][:, own].tolist() == [layouts.NO_FRAME, 0, 1]
    assert found["played_back"][:, own].tolist() == [layouts.NO_FRAME] * 3


def test_both_kinds_of_housekeeping_count_each_other():
    sent = encoder.telemetry(
        housekeeping_time=np.arange(40.0), slow_housekeeping_time=np.arange(0.0, 40.0, 10.0), zone_length=512
    )
    stream = b"".join(sent[0])
    fast = layouts.records_from_packets(stream, apid=layouts.HK_FAST)
    slow = layouts.records_from_packets(stream, apid=layouts.HK_SLOW)
    produced = fast["packets_produced"][:, layouts.COUNTED_APIDS.index(layouts.HK_SLOW)]
    assert_array_equal(produced, -(-np.arange(40) // 10))
    octets = np.arange(40) * 256 + produced * 1024
    assert_array_equal(fast["frames_produced"][:, 0], octets // 512)
    newest = (np.arange(4) * 10 * 256 + np.arange(4) * 1024) // 512 - 1
    assert_array_equal(slow["recorder"]["newest"][1:, 0], newest[1:])


def test_packets_of_another_clock_partition_say_so_and_count_anew():
    first, second = (
        encoder.telemetry(housekeeping_time=np.arange(5.0) + 10 * partition, clock_partition=partition)[0]
        for partition in (0, 3)
    )
    records = layouts.records_from_packets(b"".join(first + second), apid=layouts.HK_FAST)
    assert records["clock_partition"].tolist() == [0] * 5 + [3] * 5
    assert layouts.sequence_count(records).tolist() == [*range(5), *range(5)]
    assert all(binascii.crc_hqx(packet, 0xFFFF) == 0 for packet in first + second)
    recording = simulation.assemble_pass({0: first + second}, link=OURS, spacecraft=SCID)
    assert packets_of(downlink.decode([recording.cadus], link=OURS)) == {(0, layouts.HK_FAST): 10}


def test_the_command_writes_recordings_of_which_its_truth_is_true(tmp_path):
    asked = ["simulate", "--out", str(tmp_path), "--minutes", "0.1", "--stations", "2", "--drop", "0.1"]
    (tmp_path / "pass.cadu").write_bytes(b"of an earlier run")
    made = CliRunner().invoke(command.app, [*asked, "--spacecraft", "80", "--ber", "1e-4", "--seed", "5"])
    assert made.exit_code == 0, made.output
    recordings = sorted(tmp_path.glob("*.cadu"))
    assert [path.name for path in recordings] == ["station-1.cadu", "station-2.cadu"]
    truth = json.loads((tmp_path / "truth.json").read_text())
    spacelink = link.link_from_mapping(yaml.safe_load((tmp_path / "link.yaml").read_text()))
    together = downlink.decode([path.read_bytes() for path in recordings], link=spacelink)
    assert packets_of(together) == surviving(truth)
    alone = downlink.decode([recordings[1].read_bytes()], link=spacelink)
    assert packets_of(alone) == surviving(truth["stations"]["station-2"])
    assert sum(packets_of(alone).values()) < sum(packets_of(together).values())
    assert {row["scid"] for row in together.completeness["virtual_channels"]} == {80}
    assert set(layouts.IM_LINE) | {layouts.HK_FAST, layouts.HK_SLOW, layouts.GN_PVT, layouts.RO_EVT} <= {
        row["apid"] for row in truth["packets"]
    }
    assert len((tmp_path / "gnss.sp3").read_text()) > 1000


def test_the_command_refuses_a_spacecraft_that_is_not_ours(tmp_path):
    made = CliRunner().invoke(command.app, ["simulate", "--out", str(tmp_path / "x"), "--spacecraft", "75"])
    assert made.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_frames_without_coding_are_sent_as_they_are(sent):
    layout = link.Frame("aos", 300, fecf=True)
    uncoded = link.Link("u", "frames", layout, "none", None, (SCID,), {}, "crc16")
    recording = simulation.assemble_pass({2: sent[2]}, link=uncoded, spacecraft=SCID, frame_loss=0.1, seed=1)
    rows = np.frombuffer(recording.cadus, dtype=np.uint8).reshape(-1, 300)
    assert all(binascii.crc_hqx(row.tobytes(), 0xFFFF) == 0 for row in rows)
    row = next(row for row in recording.truth["frames"] if row["vcid"] == 2)
    numbers = [header(frame, "aos")[2] for frame in rows if header(frame, "aos")[0] == 2]
    assert row["lost"]
    assert numbers == sorted(set(range(row["sent"])) - set(row["lost"]))


def test_the_same_seed_makes_the_same_pass(sent):
    asked = {"link": OURS, "spacecraft": SCID, "frame_loss": 0.1, "bit_error_rate": 1e-3}
    first, again, other = (simulation.assemble_pass(sent, **asked, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.truth != other.truth
