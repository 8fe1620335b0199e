"""What other people's spacecraft really sent, and what is known to be in it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import space_packet_parser
import yaml
from numpy.testing import assert_array_equal

from processors.ccsds import frame_sync, link, randomizer, reed_solomon, space_packet, time_code, transfer_frame
from processors.level0 import downlink

LINKS = Path(__file__).parents[2] / "infra/parameters/links"

pytestmark = pytest.mark.oracle


def shipped(name):
    return link.link_from_mapping(yaml.safe_load((LINKS / f"{name}.yaml").read_text()))


def counts(result):
    return {(row["vcid"], row["apid"]): row["count"] for row in result.completeness["packets"] if row["count"]}


def channel(result, vcid):
    return next(row for row in result.completeness["virtual_channels"] if row["vcid"] == vcid)


@pytest.fixture(scope="module")
def snpp(shared_data):
    return (shared_data("downlink/snpp") / "snpp_synchronized_cadus.dat").read_bytes()


def test_suomi_npp_pass(snpp):
    result = downlink.decode([snpp], link=shipped("suomi-npp"))
    assert result.completeness["bytes"] == {"in": 66560, "frames": 66560, "junk": 0, "tail": 0}
    assert result.completeness["frames"]["received"] == result.completeness["frames"]["accepted"] == 65
    assert result.completeness["frames"]["corrected"] == result.completeness["corrected_symbols"] == 0
    assert result.completeness["virtual_channels"] == [
        {"scid": 157, "vcid": 16, "frames": 65, "missing": 1, "gaps": [[9842882, 9842882]]}
    ]
    assert counts(result) == {(16, 803): 11, (16, 802): 1}
    assert set(result.packets) == {(157, 16, 803), (157, 16, 802)}
    assert result.completeness["packets_dropped"]["malformed"] == 0


def test_suomi_npp_counters_span_what_is_known(snpp):
    blocks = frame_sync.synchronize(np.frombuffer(snpp, dtype=np.uint8), cadu_length=1024).blocks
    correction = reed_solomon.correct(randomizer.randomize(blocks), code=link.ReedSolomon(interleave=4))
    assert correction.corrected.shape == (65, 4)
    assert not correction.corrected.any()
    counters = [int.from_bytes(frame[2:5].tobytes(), "big") for frame in correction.frames]
    assert (counters[0], counters[-1]) == (9842876, 9842941)


def test_our_encoder_reproduces_the_check_symbols_suomi_npp_sent(snpp):
    blocks = randomizer.randomize(np.frombuffer(snpp, dtype=np.uint8).reshape(-1, 1024)[:, 4:])
    assert_array_equal(reed_solomon.encode(blocks[:, :892], code=link.ReedSolomon(interleave=4)), blocks)


@pytest.mark.parametrize("errors", [1, 8, 16])
def test_real_frames_are_repaired_to_the_bit(snpp, errors):
    cadus = np.frombuffer(snpp, dtype=np.uint8).reshape(-1, 1024)
    random = np.random.default_rng(errors)
    broken = cadus.copy()
    for row in broken:
        for codeword in range(4):
            at = 4 + 4 * random.choice(255, size=errors, replace=False) + codeword
            row[at] ^= random.integers(1, 256, size=errors, dtype=np.uint8)
    clean = downlink.decode([snpp], link=shipped("suomi-npp"))
    repaired = downlink.decode([broken.tobytes()], link=shipped("suomi-npp"))
    assert repaired.packets == clean.packets
    assert repaired.completeness["frames"]["corrected"] == 65
    assert repaired.completeness["corrected_symbols"] == 65 * 4 * errors


def test_real_frames_with_seventeen_errors_give_no_packet(snpp):
    cadus = np.frombuffer(snpp, dtype=np.uint8).reshape(-1, 1024).copy()
    cadus[10:20, 4 : 4 + 4 * 17 : 4] ^= 0x5A
    result = downlink.decode([cadus.tobytes()], link=shipped("suomi-npp"))
    assert result.completeness["frames"]["uncorrectable"] == 10
    assert channel(result, 16)["missing"] == 11


def test_suomi_npp_with_two_channels(shared_data):
    octets = (shared_data("downlink/snpp") / "snpp_7cadus_2vcids.dat").read_bytes()
    result = downlink.decode([octets], link=shipped("suomi-npp"))
    assert result.completeness["virtual_channels"] == [
        {"scid": 157, "vcid": 6, "frames": 4, "missing": 0, "gaps": []},
        {"scid": 157, "vcid": 16, "frames": 3, "missing": 0, "gaps": []},
    ]
    assert counts(result) == {(6, 1341): 1}


@pytest.mark.parametrize(
    ("randomizer_name", "interleave", "basis"), [("none", 4, "dual"), ("ccsds", 4, "conventional")]
)
def test_wrong_description_of_a_real_link_is_refused(snpp, randomizer_name, interleave, basis):
    mapping = yaml.safe_load((LINKS / "suomi-npp.yaml").read_text())
    mapping["coding"] = {
        "randomizer": randomizer_name,
        "reed_solomon": {"e": 16, "interleave": interleave, "basis": basis},
    }
    with pytest.raises(downlink.LinkMismatchError, match="not one of 65 frames decodes"):
        downlink.decode([snpp], link=link.link_from_mapping(mapping))


@pytest.fixture(scope="module")
def jpss(shared_data):
    return shared_data("downlink/jpss1")


def test_jpss_1_packets(jpss):
    octets = (jpss / "J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1").read_bytes()
    result = downlink.decode([octets], link=shipped("jpss-1"))
    assert result.packets == {(159, 0, 11): octets}
    assert result.completeness["packets"] == [
        {"scid": 159, "vcid": 0, "apid": 11, "count": 7200, "missing": 0, "idle": False}
    ]
    assert not any(result.completeness["frames"].values())
    table = space_packet.packets_from_octets(np.frombuffer(octets, dtype=np.uint8)).packets
    assert (int(table.sequence[0]), int(table.sequence[-1])) == (2606, 9805)
    assert set(table.length.tolist()) == {71}


def test_jpss_1_time_and_position_agree_with_the_xtce_decoder(jpss):
    path = jpss / "J01_G011_LZ_2021-04-09T00-00-00Z_V01.DAT1"
    octets = np.fromfile(path, dtype=np.uint8).reshape(-1, 71)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        definition = space_packet_parser.load_xtce(jpss / "jpss1_geolocation_xtce_v1.xml")
        with path.open("rb") as stream:
            raw = space_packet_parser.ccsds_generator(stream)
            oracle = [definition.parse_bytes(next(raw)) for _ in range(200)]
    first = oracle[0]
    assert (first["DOY"], first["MSEC"], first["USEC"]) == (23109, 7, 137)
    assert tuple(first[f"ADGPSPOS{axis}"] for axis in "XYZ") == (6389695.5, 2786021.5, 1825377.375)
    position = np.ascontiguousarray(octets[:200, 23:35]).view(">f4")
    assert_array_equal(position, [[packet[f"ADGPSPOS{axis}"] for axis in "XYZ"] for packet in oracle])
    time = time_code.utc_from_cds(octets[:, 6:14])
    assert time[0] == np.datetime64("2021-04-09T00:00:00.007137")
    for row, packet in enumerate(oracle):
        elapsed = (int(packet["DOY"]) * 86_400_000 + int(packet["MSEC"])) * 1000 + int(packet["USEC"])
        assert time[row] == np.datetime64("1958-01-01", "us") + np.timedelta64(elapsed, "us")
    assert np.all(np.diff(time) > np.timedelta64(0, "us"))


def test_change_5_frames_of_two_stations_complete_each_other(shared_data):
    folder = shared_data("downlink/change5")
    recordings = [(folder / f"ce5_frames_{i}.u8").read_bytes() for i in (0, 2)]
    change5 = link.link_from_mapping(
        {"name": "change-5", "stream": "frames", "frame": {"type": "aos", "length": 220}, "spacecraft": [91]}
    )
    alone = [channel(downlink.decode([octets], link=change5), 1)["missing"] for octets in recordings]
    merged = downlink.decode(recordings, link=change5)
    assert alone == [996, 4211]
    assert channel(merged, 1)["missing"] == 75
    assert merged.completeness["frames"]["accepted"] == 6044
    assert merged.completeness["frames"]["duplicate"] == 967
    assert merged.completeness["frames"]["conflict"] == 0
    assert merged == downlink.decode(recordings[::-1], link=change5)


def test_change_5_frames_hold_no_packets_and_none_are_invented(shared_data):
    folder = shared_data("downlink/change5")
    change5 = link.link_from_mapping(
        {"name": "change-5", "stream": "frames", "frame": {"type": "aos", "length": 220}, "spacecraft": [91]}
    )
    for recordings in ([0], [2], [0, 2]):
        result = downlink.decode([(folder / f"ce5_frames_{i}.u8").read_bytes() for i in recordings], link=change5)
        assert result.packets == {}
        assert result.completeness["packets"] == []
        suspect = {(row["scid"], row["vcid"]) for row in result.completeness["suspect"]}
        assert suspect == {(row["scid"], row["vcid"]) for row in result.completeness["virtual_channels"]}
        assert_conserved(result.completeness)


def assert_conserved(account):
    octets, frames, zones = account["bytes"], account["frames"], account["zone_bytes"]
    assert octets["in"] == octets["frames"] + octets["junk"] + octets["tail"]
    failures = ("uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")
    assert frames["received"] == frames["accepted"] + sum(frames[name] for name in failures)
    assert zones["in"] == zones["packets"] + zones["dropped"]


MARS_2020 = {
    "name": "m",
    "stream": "frames",
    "frame": {"type": "aos", "length": 1115, "fecf": True},
    "spacecraft": [168],
}


@pytest.fixture(scope="module")
def mars_2020(shared_data):
    return (shared_data("downlink/mars2020") / "mars2020_frames.u8").read_bytes()


def test_mars_2020_frames_that_fail_their_check_are_quarantined(mars_2020):
    sink = downlink.MemorySink()
    recording = downlink.Recording("mars", downlink.stretches(mars_2020))
    spacelink = link.link_from_mapping(MARS_2020)
    account = downlink.decode_into(sink, [recording], link=spacelink)
    frames = account["frames"]
    assert (frames["received"], frames["accepted"], frames["check_failed"]) == (950, 946, 4)
    assert_conserved(account)
    quarantined = np.frombuffer(sink.rejected()["check_failed.frames"], dtype=np.uint8).reshape(4, 1115)
    (row,) = account["virtual_channels"]
    assert (len(row["gaps"]), row["missing"]) == (6, 17)
    missing = {counter for first, last in row["gaps"] for counter in range(first, last + 1)}
    # of the 17 some did arrive, though damaged; another damaged one came after the last good one
    damaged = set(transfer_frame.headers_from_frames(quarantined, layout=spacelink.layout).counter.tolist())
    assert len(missing & damaged) == 3
    assert len(missing - damaged) == 14
    idle = sum(row["count"] for row in account["packets"] if row["idle"])
    assert (sum(row["count"] for row in account["packets"]), idle) == (813, 741)


def test_mars_2020_packets_published_are_found_where_damaged_frames_are_read_as_well(mars_2020):
    frames = np.frombuffer(mars_2020, dtype=np.uint8).reshape(950, 1115)
    layout = link.link_from_mapping(MARS_2020).layout
    headers = transfer_frame.headers_from_frames(frames, layout=layout)
    found = space_packet.reassemble(
        frames[:, layout.zone], pointers=headers.pointer, continues=np.diff(headers.counter, prepend=-9) == 1
    )
    assert (found.packets.start.size, int(np.sum(found.packets.apid == space_packet.IDLE_APID))) == (817, 745)
    assert int(np.sum(np.diff(headers.counter) - 1)) == 14


def euclid(*, ocf):
    frame = {"type": "tm", "length": 1113, "ocf": ocf}
    return link.link_from_mapping({"name": "e", "stream": "frames", "frame": frame, "spacecraft": [680]})


def test_euclid_with_the_wrong_control_field_is_refused(shared_data):
    octets = (shared_data("downlink/euclid") / "euclid_2023-07-02_lowrate_frames.u8").read_bytes()
    with pytest.raises(
        downlink.LinkMismatchError, match=r"configuration suspect: .* carry an operational control field"
    ):
        downlink.decode([octets], link=euclid(ocf=False))


def test_escapade_frames_of_a_counter_that_freezes_are_all_kept(shared_data):
    octets = (shared_data("downlink/escapade") / "escapade_gold_frames_2025_11_14_16_49.u8").read_bytes()
    mapping = {"name": "g", "stream": "frames", "frame": {"type": "tm", "length": 1113}}
    result = downlink.decode([octets], link=link.link_from_mapping(mapping))
    frames = result.completeness["frames"]
    assert (frames["received"], frames["accepted"], frames["duplicate"], frames["conflict"]) == (590, 590, 0, 0)
    raw = np.frombuffer(octets, dtype=np.uint8).reshape(590, 1113)
    assert np.all(raw[:, 4] >> 7 == 1)  # a secondary header in every frame
    repeats = int(np.count_nonzero(np.diff(raw[:, 3].astype(int)) == 0))
    assert [row["frozen"] for row in result.completeness["counters"]] == [repeats]
    assert repeats > 100
    assert_conserved(result.completeness)


def test_euclid_tm_frames(shared_data):
    octets = (shared_data("downlink/euclid") / "euclid_2023-07-02_lowrate_frames.u8").read_bytes()
    result = downlink.decode([octets], link=euclid(ocf=True))
    assert {row["vcid"]: row["frames"] for row in result.completeness["virtual_channels"]} == {0: 810, 7: 500, 4: 19}
    assert channel(result, 0)["gaps"] == [[157, 159], [165, 168]]
    assert sum(count for (vcid, _), count in counts(result).items() if vcid == 0) == 1958
    assert result.completeness["packets_dropped"]["malformed"] == 0


def test_emm_frames(shared_data):
    octets = (shared_data("downlink/emm") / "emm_frames.u8").read_bytes()
    mapping = {"name": "h", "stream": "frames", "frame": {"type": "aos", "length": 223, "fecf": True}}
    result = downlink.decode([octets], link=link.link_from_mapping(mapping))
    assert {row["vcid"]: row["frames"] for row in result.completeness["virtual_channels"]} == {0: 534, 62: 19}
    assert not any(row["missing"] for row in result.completeness["virtual_channels"])
    assert result.completeness["frames"]["received"] == result.completeness["frames"]["accepted"] == 553


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ctim/ccsds_2021_155_14_39_51", {41: 1147, 1: 104, 32: 104, 42: 72, 47: 63, 20: 6, 39: 1, 34: 1, 33: 1}),
        (
            "cygnss/CYGNSS_F7_L0_2022_086_10_15_V01_F__first101pkts.tlm",
            {393: 40, 394: 39, 1313: 9, 392: 4, 384: 4, 386: 4, 391: 1},
        ),
    ],
)
def test_packet_files_of_other_missions(shared_data, path, expected):
    octets = (shared_data("downlink") / path).read_bytes()
    result = downlink.decode([octets], link=link.link_from_mapping({"name": "p", "stream": "packets"}))
    assert {apid: count for (_, apid), count in counts(result).items()} == expected
    assert sum(len(packets) for packets in result.packets.values()) == len(octets)
