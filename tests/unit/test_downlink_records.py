"""Packets of our own instruments: arrays in, the same arrays out."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from processors import constants, quality
from processors.ccsds import link, space_packet
from processors.level0 import downlink, housekeeping, imager, layouts, navigation, occultation
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

START = 1.42e9 + 0.123456
LINKS = Path(__file__).parents[2] / "infra/parameters/links"
DOCUMENT = Path(__file__).parents[2] / "docs/packets.md"


class Event(NamedTuple):
    time: np.ndarray
    carrier_phase: np.ndarray
    snr: np.ndarray
    carrier_frequency: np.ndarray
    transmitter: str = "G05"
    setting: bool = True
    event_id: int = 7


def an_event(*, seed=1, samples=3010, frequency=(constants.GPS_L1, constants.GPS_L2), **changes):
    """A minute of carrier phase that sweeps hundreds of kilometres, with millimetre structure."""
    random = np.random.default_rng(seed)
    elapsed = np.arange(samples) * 0.02
    phase = 2.6e7 + 6500.0 * elapsed - 30.0 * elapsed**2 + 1e-3 * np.cumsum(random.normal(size=(2, samples)), axis=1)
    snr = np.abs(700.0 * np.exp(-elapsed / 20.0) * (1.0 + 0.2 * random.normal(size=(2, samples))))
    time = (round(START * 1e6) + np.arange(samples) * 20000) / 1e6
    return Event(time, phase, snr, np.array(frequency), **changes)


def stream(records):
    return b"".join(encoder.space_packets(records))


def events(records):
    return occultation.events_from_packets(stream(records))


@pytest.mark.parametrize(
    ("layout", "octets"),
    [
        (0x010, 256),
        (0x011, 1024),
        (0x013, 48),
        (0x022, 80),
        (0x032, 1866),
        (0x033, 1866),
        (0x030, 950),
        (0x031, 950),
        (0x034, 64),
        (0x050, 3110),
        (0x054, 3110),
        (0x055, 128),
    ],
)
def test_packets_have_the_lengths_of_the_interface(layout, octets):
    assert layouts.LAYOUTS[layout].itemsize == octets


def test_document_states_the_offsets_that_are_flown():
    names = {
        "HK_FAST": 0x010,
        "HK_SLOW": 0x011,
        "TCO": 0x013,
        "GN_PVT": 0x022,
        "RO_CL": 0x030,
        "RO_OL": 0x032,
        "RO_EVT": 0x034,
        "IM_LINE": 0x050,
        "IM_ANC": 0x055,
    }
    sections = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    common = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", sections[0], flags=re.MULTILINE)
    assert len(sections) == 1 + len(names)
    for section in sections[1:]:
        layout = layouts.LAYOUTS[names[section.split()[0]]]
        rows = common + re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", section, flags=re.MULTILINE)
        assert [(int(at), int(size), name) for at, size, name in rows] == [
            (layout.fields[name][1], layout.fields[name][0].itemsize, name) for name in layout.names
        ]
        assert f"{layout.itemsize} octets" in section.splitlines()[0]


def test_carrier_phase_comes_back_to_a_fifth_of_a_millimetre_and_time_exactly():
    event = an_event()
    (decoded,) = events(encoder.event_records(event))
    assert_array_equal(decoded["time"], event.time)
    assert np.max(np.abs(decoded["carrier_phase"].values - event.carrier_phase)) < 2e-4
    assert np.max(np.abs(decoded["snr"].values - event.snr)) < 0.03
    assert_array_equal(decoded["carrier_frequency"], event.carrier_frequency)
    assert decoded["carrier_phase"].dims == decoded["snr"].dims == ("signal", "time")
    assert {name: decoded.attrs[name] for name in ("event_id", "transmitter", "setting", "signals", "antenna")} == {
        "event_id": 7,
        "transmitter": "G05",
        "setting": 1,
        "signals": ["L1", "L2"],
        "antenna": "aft",
    }
    assert decoded.attrs["missing_packets"] == 0
    assert decoded.attrs["received_packets"] == decoded.attrs["produced_packets"] == 61


def test_carrier_phase_grows_with_distance_and_adds_what_i_and_q_hold():
    ticks, records = encoder._blank(layouts.RO_CL_FORE, np.array([START]))
    records["system"], records["prn"], records["signal"] = b"E", 11, [1, 5]
    records["sample_count"], records["sample_period"], records["snr_scale"] = 4, 2000, 4096
    records["reference_phase"] = [[1000, 2000]]
    samples = records["samples"]
    samples["nco_phase"][0, 1, 0] = [0, 0, 0, 4, 0]
    samples["in_phase"][0, :4, 0], samples["quadrature"][0, :4, 0] = [3, 0, -3, 0], [4, 100, 0, -100]
    (decoded,) = events(encoder._records(ticks, layouts.RO_CL_FORE, records))
    wavelength = constants.SPEED_OF_LIGHT / constants.GPS_L1
    cycles = 1000 + np.array([np.arctan2(4, 3) / (2 * np.pi), 1 + 0.25, 0.5, -0.25])
    assert_allclose(decoded["carrier_phase"][0], cycles * wavelength, rtol=0, atol=1e-9)
    assert_allclose(decoded["snr"][0], [5.0, 100.0, 3.0, 100.0])
    assert np.all(np.isnan(decoded["carrier_phase"][1]))
    assert decoded.attrs["transmitter"] == "E11"
    assert decoded.attrs["setting"] == 0


def test_samples_without_a_measurement_stay_without_one():
    event = an_event(samples=100)
    event.carrier_phase[1, 30:] = np.nan
    (decoded,) = events(encoder.event_records(event))
    assert np.isfinite(decoded["carrier_phase"][0]).all()
    assert_array_equal(np.isnan(decoded["carrier_phase"][1]), np.arange(100) >= 30)
    assert np.all(decoded["snr"][1, 30:] == 0)


@pytest.mark.parametrize("with_table", [True, False])
def test_lost_seconds_are_absent_and_counted(with_table):
    event = an_event(samples=500)
    records = [r for r in encoder.event_records(event) if with_table or r.apid != layouts.RO_EVT]
    packets = encoder.space_packets(records)
    del packets[3:5]
    (decoded,) = occultation.events_from_packets(b"".join(packets))
    kept = np.r_[np.arange(150), np.arange(250, 500)]
    assert_array_equal(decoded["time"], event.time[kept])
    assert_allclose(decoded["carrier_phase"], event.carrier_phase[:, kept], rtol=0, atol=2e-4)
    assert decoded.attrs["missing_packets"] == 2


def test_packets_lost_at_the_end_are_known_from_the_event_table():
    packets = encoder.space_packets(encoder.event_records(an_event(samples=500)))
    table = packets[-1]
    (decoded,) = occultation.events_from_packets(b"".join([*packets[:6], table]))
    assert decoded.attrs["missing_packets"] == 4
    (empty,) = occultation.events_from_packets(table)
    assert empty.sizes == {"signal": 2, "time": 0}
    assert empty.attrs["missing_packets"] == 10
    assert empty.attrs["transmitter"] == "G05"


def test_events_at_the_same_time_stay_apart():
    setting = an_event(samples=300)
    rising = an_event(
        seed=2, samples=300, event_id=8, setting=False, transmitter="E24", frequency=(1575.42e6, 1176.45e6)
    )
    both = [an_event(seed=3, samples=300, event_id=9, transmitter="R02"), rising, setting]
    decoded = events([record for event in both for record in encoder.event_records(event)])
    assert [d.attrs["event_id"] for d in decoded] == [7, 8, 9]
    assert_allclose(decoded[1]["carrier_phase"], rising.carrier_phase, rtol=0, atol=2e-4)
    assert decoded[1].attrs["signals"] == ["L1", "L5"]
    assert [d.attrs["antenna"] for d in decoded] == ["aft", "fore", "aft"]


def test_contradicting_descriptions_of_an_event_are_refused():
    first, second = an_event(samples=100), an_event(samples=100, transmitter="G06")
    later = second._replace(time=second.time + 10.0)
    with pytest.raises(quality.BadInputError, match="different links") as caught:
        events(encoder.event_records(first) + encoder.event_records(later))
    assert caught.value.cause == "event_inconsistent"
    with pytest.raises(quality.BadInputError, match="both antennas"):
        events(encoder.event_records(first) + encoder.event_records(later._replace(setting=False)))


def test_encoder_refuses_uneven_samples_and_unknown_carriers():
    event = an_event(samples=100)
    uneven = event._replace(time=np.r_[event.time[:50], event.time[50:] + 0.004])
    with pytest.raises(ValueError, match="evenly"):
        encoder.event_records(uneven)
    with pytest.raises(ValueError, match="whole microsecond"):
        encoder.event_records(event._replace(time=event.time + 5e-7))
    with pytest.raises(ValueError, match="no signal"):
        encoder.event_records(event._replace(carrier_frequency=np.array([1575.42e6, 1.6e9])))


def test_no_packets_make_no_events():
    assert occultation.events_from_packets(b"") == []


def orbit(count=30):
    angle = np.arange(count) * 1e-3
    position = 7.17e6 * np.stack((np.cos(angle), np.sin(angle), 0.3 * np.cos(angle)), axis=1)
    velocity = 7.5e3 * np.stack((-np.sin(angle), np.cos(angle), -0.3 * np.sin(angle)), axis=1)
    return START + np.arange(count), position, velocity


def test_orbit_and_clock_come_back_within_the_resolution_promised():
    time, position, velocity = orbit()
    bias = 1e-6 * np.sin(time / 10.0)
    records = encoder.navigation_records(
        time, position=position, velocity=velocity, clock_bias=bias, clock_drift=np.full(30, -2e-10)
    )
    decoded = navigation.ephemeris_from_packets(stream(records))
    assert_array_equal(decoded["time"], time)
    assert np.max(np.abs(decoded["position"].values - position)) <= 1e-3 / 2
    assert np.max(np.abs(decoded["velocity"].values - velocity)) <= 1e-5 / 2
    assert np.max(np.abs(decoded["clock_bias"].values - bias)) <= 1e-12
    assert_allclose(decoded["clock_drift"], -2e-10, atol=1e-14)


def test_orbit_is_sorted_and_each_time_is_kept_once():
    time, position, velocity = orbit(5)
    packets = encoder.space_packets(encoder.navigation_records(time, position=position, velocity=velocity))
    decoded = navigation.ephemeris_from_packets(b"".join([*packets[2:], *packets[:3]]))
    assert_array_equal(decoded["time"], time)


def test_orbit_without_packets_is_refused():
    with pytest.raises(quality.BadInputError, match="GN_PVT") as caught:
        navigation.ephemeris_from_packets(b"")
    assert caught.value.cause == "no_packets"


def a_strip(lines=95, seed=4):
    counts = np.random.default_rng(seed).integers(0, 4096, size=(5, lines, 2048), dtype=np.uint16)
    number = np.arange(lines)
    time = START + number / 30.0
    longitude = np.stack((103.9 - 0.0005 * number, 109.1 - 0.0005 * number), axis=1)
    latitude = np.stack((29.7 - 0.002 * number, 29.3 - 0.002 * number), axis=1)
    return counts, time, longitude, latitude


def strip_packets(lines=95, first_line=1000):
    counts, time, longitude, latitude = a_strip(lines)
    images = encoder.line_records(
        counts,
        line_time=time,
        gain=[1.0, 1.0, 2.0, 0.5, 4.0],
        integration_time=[0.01, 0.011, 0.012, 0.013, 0.02],
        first_line=first_line,
        tdi_stages=8,
    )
    anchors = encoder.ancillary_records(time, edge_longitude=longitude, edge_latitude=latitude, first_line=first_line)
    by_apid = {apid: stream([r for r in images if r.apid == apid]) for apid in layouts.IM_LINE}
    return by_apid, stream(anchors)


def test_strip_comes_back_count_for_count():
    counts, time, longitude, latitude = a_strip()
    decoded = imager.strip_from_packets(*strip_packets())
    assert decoded["counts"].dtype == np.uint16
    assert_array_equal(decoded["counts"], counts)
    assert decoded["line_valid"].values.all()
    assert decoded["band"].values.tolist() == ["blue", "green", "red", "nir", "swir1"]
    assert decoded["line"].values.tolist() == list(range(1000, 1095))
    assert_allclose(decoded["line_time"], time, rtol=0, atol=5e-7)
    assert_allclose(decoded["edge_longitude"], longitude, rtol=0, atol=1e-7)
    assert_allclose(decoded["edge_latitude"], latitude, rtol=0, atol=1e-7)
    assert_allclose(decoded["focal_plane_temperature"], 293.15)
    assert decoded.attrs["gain"] == [1.0, 1.0, 2.0, 0.5, 4.0]
    assert_allclose(decoded.attrs["integration_time"], [0.01, 0.011, 0.012, 0.013, 0.02], rtol=1e-12)
    assert decoded.attrs["tdi_stages"] == [8] * 5


def test_lost_lines_and_a_lost_band_stay_in_place_as_invalid():
    counts = a_strip()[0]
    lines, anchors = strip_packets()
    packets = [lines[0x051][i : i + 3110] for i in range(0, len(lines[0x051]), 3110)]
    lines[0x051] = b"".join(packets[5:40] + packets[42:-3])
    del lines[0x054]
    decoded = imager.strip_from_packets(lines, anchors)
    number = np.arange(95)
    held = (number >= 5) & (number < 92) & (number != 40) & (number != 41)
    assert_array_equal(decoded["line_valid"].sel(band="green"), held)
    assert_array_equal(decoded["counts"].sel(band="green")[held], counts[1][held])
    assert not decoded["line_valid"].sel(band="swir1").any()
    assert np.isnan(decoded.attrs["gain"][4])


def test_strip_is_located_although_ancillary_packets_are_lost():
    longitude = a_strip()[2]
    lines, anchors = strip_packets()
    decoded = imager.strip_from_packets(lines, anchors[128:256] + anchors[384:])
    assert_allclose(decoded["edge_longitude"], longitude, rtol=0, atol=1e-6)


def test_strip_across_the_date_line_is_located_in_between():
    time = START + np.arange(31) / 30.0
    longitude = np.stack((np.linspace(179.9, 180.1, 31), np.linspace(-179.0, -178.8, 31)), axis=1)
    longitude = (longitude + 180.0) % 360.0 - 180.0
    anchors = encoder.ancillary_records(time, edge_longitude=longitude, edge_latitude=np.zeros((31, 2)))
    lines = encoder.line_records(
        np.zeros((5, 31, 2048), dtype=np.uint16), line_time=time, gain=[1.0] * 5, integration_time=[0.01] * 5
    )
    packets = {0x050: stream([r for r in lines if r.apid == 0x050])}
    decoded = imager.strip_from_packets(packets, stream(anchors))
    assert_allclose(decoded["edge_longitude"], longitude, rtol=0, atol=1e-6)


def test_strip_without_lines_or_location_is_refused():
    lines, anchors = strip_packets(lines=40)
    with pytest.raises(quality.BadInputError, match="IM_LINE"):
        imager.strip_from_packets({}, anchors)
    with pytest.raises(quality.BadInputError, match="IM_ANC"):
        imager.strip_from_packets(lines, anchors[:128])


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("pixel_count", 1024, "strip_inconsistent"),
        ("gain", 3.0, "strip_inconsistent"),
        ("tdi", 9, "strip_inconsistent"),
    ],
)
def test_line_that_differs_from_its_strip_is_refused(field, value, cause):
    lines, anchors = strip_packets(lines=40)
    records = np.frombuffer(lines[0x052], dtype=layouts.LINE).copy()
    records[field][7] = value
    with pytest.raises(quality.BadInputError, match="band red") as caught:
        imager.strip_from_packets({**lines, 0x052: records.tobytes()}, anchors)
    assert caught.value.cause == cause


@pytest.mark.parametrize("length", [3110, 1200])
def test_compressed_lines_are_counted_and_are_no_pixel_values(length):
    counts = a_strip(lines=40)[0]
    lines, anchors = strip_packets(lines=40)
    packets = [bytearray(lines[0x052][i : i + 3110]) for i in range(0, len(lines[0x052]), 3110)]
    for number in (0, 7, 39):
        packets[number][21] = 1
        packets[number][4:6] = (length - 7).to_bytes(2, "big")
        del packets[number][length:]
    decoded = imager.strip_from_packets({**lines, 0x052: b"".join(packets)}, anchors)
    held = ~np.isin(np.arange(40), (0, 7, 39))
    assert decoded.attrs["undecodable_lines"] == 3
    assert decoded.attrs["complete"] == 0
    assert decoded.attrs["gain"][2] == 2.0
    assert_array_equal(decoded["line_valid"].sel(band="red"), held)
    assert_array_equal(decoded["counts"].sel(band="red"), np.where(held[:, np.newaxis], counts[2], 0))
    assert decoded["line_valid"].sel(band="blue").all()


def test_a_band_of_compressed_lines_only_leaves_the_others():
    lines, anchors = strip_packets(lines=40)
    records = np.frombuffer(lines[0x050], dtype=layouts.LINE).copy()
    records["compression"] = 1
    decoded = imager.strip_from_packets({**lines, 0x050: records.tobytes()}, anchors)
    assert decoded.attrs["undecodable_lines"] == 40
    assert not decoded["line_valid"].sel(band="blue").any()
    assert decoded["line_valid"].sel(band="green").all()


def test_a_line_of_another_length_that_says_it_is_not_compressed_is_refused():
    lines, anchors = strip_packets(lines=40)
    short = bytearray(lines[0x050][:1200])
    short[4:6] = (1200 - 7).to_bytes(2, "big")
    with pytest.raises(quality.BadInputError, match="octets, not 3110"):
        imager.strip_from_packets({**lines, 0x050: bytes(short) + lines[0x050][3110:]}, anchors)
    with pytest.raises(quality.BadInputError, match="too short"):
        imager.strip_from_packets({**lines, 0x050: bytes(short[:4]) + b"\x00\x04" + bytes(5)}, anchors)


def test_a_strip_is_complete_only_with_every_line_of_every_band():
    lines, anchors = strip_packets(lines=40)
    decoded = imager.strip_from_packets(lines, anchors)
    assert (decoded.attrs["complete"], decoded.attrs["undecodable_lines"]) == (1, 0)
    assert imager.strip_from_packets({**lines, 0x053: lines[0x053][:-3110]}, anchors).attrs["complete"] == 0


def imaged(first_line, start, *, lines=40, partition=0):
    """Packets of a strip of its own, of a clock partition of its own."""
    counts, time, longitude, latitude = a_strip(lines, seed=first_line)
    time = time - START + start
    images = encoder.line_records(
        counts, line_time=time, gain=[1.0] * 5, integration_time=[0.01] * 5, first_line=first_line
    )
    anchors = encoder.ancillary_records(time, edge_longitude=longitude, edge_latitude=latitude, first_line=first_line)
    by_apid = {apid: stream([r for r in images if r.apid == apid]) for apid in layouts.IM_LINE}
    by_apid[layouts.IM_ANC] = stream(anchors)
    return {apid: set_octet(packets, apid, 14, partition) for apid, packets in by_apid.items()}


def set_octet(packets, apid, at, value):
    records = np.frombuffer(packets, dtype=np.uint8).copy().reshape(-1, layouts.LAYOUTS[apid].itemsize)
    records[:, at] = value
    return records.tobytes()


def strips(*parts):
    lines = {apid: b"".join(part.get(apid, b"") for part in parts) for apid in layouts.IM_LINE}
    return imager.strips_from_packets(lines, b"".join(part[layouts.IM_ANC] for part in parts))


@pytest.mark.parametrize(
    ("first_line", "later", "partition", "expected"),
    [
        (40, 40 / 30, 0, [80]),
        (339, 9.0, 0, [379]),
        (340, 9.0, 0, [40, 40]),
        (40, 11.5, 0, [40, 40]),
        (0, 11.5, 0, [40, 40]),
        (40, 0.4, 1, [40, 40]),
        (40, -86400.0, 1, [40, 40]),
    ],
)
def test_strips_end_at_a_gap_of_lines_or_time_and_with_the_clock_partition(first_line, later, partition, expected):
    first, second = imaged(0, START), imaged(first_line, START + later, partition=partition)
    found = strips(first, second)
    assert [strip.sizes["line"] for strip in found] == expected
    assert sum(int(strip["line_valid"].sum()) for strip in found) == 5 * 80
    assert int(found[-1]["line"][-1]) == first_line + 39
    assert_array_equal(found[-1]["counts"][:, -40:], a_strip(40, seed=first_line)[0])
    assert [strip.attrs["refused_strips"] for strip in found] == [""] * len(found)


def test_a_strip_that_cannot_be_located_costs_no_other():
    first, second = imaged(0, START), imaged(1000, START + 60.0)
    second[layouts.IM_ANC] = b""
    (found,) = strips(first, second)
    assert found.sizes["line"] == 40
    assert "IM_ANC" in found.attrs["refused_strips"]
    with pytest.raises(quality.BadInputError, match="IM_ANC"):
        strips(second)
    with pytest.raises(quality.BadInputError, match="IM_LINE"):
        imager.strips_from_packets({}, first[layouts.IM_ANC])


def test_ancillary_packets_far_from_any_line_belong_to_no_strip():
    first, off = imaged(0, START), imaged(5000, START + 300.0)
    (found,) = strips(first, {layouts.IM_ANC: off[layouts.IM_ANC]})
    assert found.sizes["line"] == 40
    assert found.attrs["complete"] == 1


def clocked(records, *, shift=0.0, partition=0, quality_octet=0):
    """Packets whose secondary header says another time and partition; what the instrument measured is untouched."""
    moved = []
    for record in records:
        ticks = record.ticks + round(shift * (1 << 24))
        header = ticks.to_bytes(7, "big") + bytes([quality_octet, partition])
        moved.append(record._replace(ticks=ticks, data=header + record.data[9:]))
    return moved


@pytest.mark.parametrize("shift", [-1.0, 86400.0, -START + 10.0])
def test_a_clock_jump_within_an_event_drops_no_sample_and_is_flagged(shift):
    event = an_event(samples=1000)
    records = encoder.event_records(event)
    packets = encoder.space_packets(records[:10]) + encoder.space_packets(
        clocked(records[10:], shift=shift, partition=1)
    )
    (decoded,) = occultation.events_from_packets(b"".join(packets))
    assert np.max(np.abs(decoded["carrier_phase"].values - event.carrier_phase)) < 2e-4
    assert_allclose(decoded["time"], event.time + shift * (np.arange(1000) >= 500), rtol=0, atol=1e-6)
    assert decoded.attrs["time_correlated"] == 0
    assert (decoded.attrs["missing_packets"], decoded.attrs["complete"]) == (0, 1)


def test_a_lost_second_next_to_a_clock_jump_is_still_counted_without_the_table_entry():
    records = [r for r in encoder.event_records(an_event(samples=1000)) if r.apid != layouts.RO_EVT]
    packets = encoder.space_packets([*records[:4], *records[5:10]])
    packets += encoder.space_packets(clocked(records[10:], shift=-7.0, partition=1))
    (decoded,) = occultation.events_from_packets(b"".join(packets))
    assert (decoded.attrs["received_packets"], decoded.attrs["missing_packets"]) == (19, 1)
    assert decoded.attrs["complete"] == 0


def test_an_event_is_complete_only_if_its_table_entry_says_so():
    packets = encoder.space_packets(encoder.event_records(an_event(samples=500)))
    for kept, complete in [(packets, 1), (packets[:-1], 0), (packets[1:], 0), (packets[-1:], 0)]:
        (decoded,) = occultation.events_from_packets(b"".join(kept))
        assert decoded.attrs["complete"] == complete


@pytest.mark.parametrize(("octet", "correlated"), [(0x00, 1), (0x7F, 1), (0x80, 0), (0xBF, 0)])
def test_records_of_a_free_running_clock_are_flagged(octet, correlated):
    event = clocked(encoder.event_records(an_event(samples=100)), quality_octet=octet)
    assert events(event)[0].attrs["time_correlated"] == correlated
    time, position, velocity = orbit(5)
    fixes = clocked(encoder.navigation_records(time, position=position, velocity=velocity), quality_octet=octet)
    assert navigation.ephemeris_from_packets(stream(fixes)).attrs["time_correlated"] == correlated
    lines, anchors = strip_packets(lines=40)
    strip = imager.strip_from_packets({0x051: set_octet(lines[0x051], 0x051, 13, octet)}, anchors)
    assert strip.attrs["time_correlated"] == correlated


def test_a_partition_whose_clock_is_off_from_the_fixes_is_known_and_flags_what_it_holds():
    time, position, velocity = orbit(40)
    fixes = encoder.navigation_records(time, position=position, velocity=velocity)
    packets = stream(fixes[:20]) + stream(clocked(fixes[20:30], shift=-1.0, partition=1))
    packets += stream(clocked(fixes[30:], shift=0.1, partition=2))
    assert navigation.uncorrelated_partitions(packets) == (1,)
    assert navigation.uncorrelated_partitions(b"") == ()
    decoded = navigation.ephemeris_from_packets(packets)
    assert_array_equal(decoded["time"], time)
    assert decoded.attrs["time_correlated"] == 0
    for partition, correlated in [(0, 1), (1, 0), (2, 1)]:
        event = stream(clocked(encoder.event_records(an_event(samples=100)), partition=partition))
        (sounded,) = occultation.events_from_packets(event, uncorrelated=(1,))
        assert sounded.attrs["time_correlated"] == correlated
        part = imaged(0, START, partition=partition)
        strip = imager.strip_from_packets(part, part[layouts.IM_ANC], uncorrelated=(1,))
        assert strip.attrs["time_correlated"] == correlated


def test_signal_outside_the_interface_is_refused():
    packets = b"".join(encoder.space_packets(encoder.event_records(an_event(samples=50)))[:1])
    records = np.frombuffer(packets, dtype=layouts.CARRIER).copy()
    records["signal"] = [1, 99]
    with pytest.raises(quality.BadInputError, match="signal 99") as caught:
        occultation.events_from_packets(records.tobytes())
    assert caught.value.cause == "signal_unknown"


def test_counts_are_packed_first_pixel_high():
    assert imager.octets_from_counts(np.array([[0xABC, 0x123]], dtype=np.uint16)).tobytes() == b"\xab\xc1\x23"
    with pytest.raises(ValueError, match="12 bits"):
        imager.octets_from_counts(np.array([[4096, 0]], dtype=np.uint16))


def test_housekeeping_counts_what_was_produced_before_it():
    time, position, velocity = orbit(20)
    event = an_event(samples=500)
    sent = encoder.telemetry(
        housekeeping_time=START + 0.5 + np.arange(20.0),
        navigation=encoder.navigation_records(time, position=position, velocity=velocity),
        events=[event],
    )
    assert sorted(sent) == [0, 2, 6]
    counters = housekeeping.produced_counters(b"".join(sent[0]))
    produced = counters["packets_produced"]
    assert_array_equal(produced.sel(apid=layouts.GN_PVT), np.arange(1, 21))
    assert_array_equal(produced.sel(apid=layouts.RO_CL_AFT), np.minimum(np.arange(1, 21), 10))
    assert_array_equal(produced.sel(apid=layouts.HK_FAST), np.arange(20))
    assert_array_equal(counters["frames_produced"].sel(vcid=0), np.arange(20) * 256 // 884)
    octets = np.minimum(np.arange(1, 21), 10) * 950 + np.arange(1, 21) * 80
    assert_array_equal(counters["frames_produced"].sel(vcid=2), octets // 884)


def test_the_oldest_frame_recorded_is_what_the_last_packet_says():
    ticks, records = encoder._blank(layouts.HK_SLOW, START + np.array([0.0, 10.0]))
    records["recorder"]["oldest"] = [[9] * 8, [10, 11, 12, 13, 14, 15, layouts.NO_FRAME, 0]]
    records["recorder"]["newest"] = 500
    packets = stream(encoder._records(ticks, layouts.HK_SLOW, records))
    assert housekeeping.oldest_recorded(packets) == {0: 10, 1: 11, 2: 12, 3: 13, 4: 14, 5: 15, 63: 0}
    assert housekeeping.oldest_recorded(b"") == {}


def test_an_event_begins_when_its_table_entry_says_whatever_was_lost():
    event = an_event(samples=500)
    packets = encoder.space_packets(encoder.event_records(event))
    for kept, start in [(packets, 0), (packets[3:], 0), (packets[-1:], 0), (packets[3:-1], 150)]:
        (decoded,) = occultation.events_from_packets(b"".join(kept))
        assert occultation.start_time(decoded) == pytest.approx(event.time[start], abs=1e-6)


def received(result, *apids):
    return b"".join(octets for channel, octets in result.packets.items() if channel.apid in apids)


def test_satellite_to_instrument_records_through_a_noisy_pass_with_losses():
    ours = link.link_from_mapping(yaml.safe_load((LINKS / "terralimb.yaml").read_text()))
    time, position, velocity = orbit(20)
    counts, line_time, longitude, latitude = a_strip()
    event = an_event(samples=800)
    images = encoder.line_records(counts, line_time=line_time, gain=[1.0] * 5, integration_time=[0.01] * 5)
    sent = encoder.telemetry(
        housekeeping_time=START + 0.5 + np.arange(21.0),
        navigation=encoder.navigation_records(time, position=position, velocity=velocity),
        events=[event],
        imagery=images + encoder.ancillary_records(line_time, edge_longitude=longitude, edge_latitude=latitude),
        zone_length=ours.layout.zone_length,
    )
    recording = simulation.assemble_pass(
        sent, link=ours, spacecraft=76, lost_frames=[(2, 5), (4, 300)], bit_error_rate=2e-4, seed=1
    )
    result = downlink.decode([recording.cadus], link=ours)
    assert result.completeness["corrected_symbols"] > 0
    assert {(row["vcid"], row["missing"]) for row in result.completeness["virtual_channels"]} == {
        (0, 0),
        (2, 1),
        (4, 1),
        (6, 0),
        (63, 0),
    }

    (decoded,) = occultation.events_from_packets(
        received(result, layouts.RO_CL_FORE, layouts.RO_CL_AFT, layouts.RO_EVT)
    )
    assert decoded.attrs["missing_packets"] == 16 - decoded.attrs["received_packets"] > 0
    present = np.isin(event.time, decoded["time"])
    assert present.sum() == decoded.sizes["time"] < 800
    assert np.max(np.abs(decoded["carrier_phase"].values - event.carrier_phase[:, present])) < 2e-4

    strip = imager.strip_from_packets(
        {apid: received(result, apid) for apid in layouts.IM_LINE}, received(result, layouts.IM_ANC)
    )
    valid = strip["line_valid"].values
    assert 1 <= (~valid).sum() <= 2
    assert_array_equal(strip["counts"].values[valid], counts[valid])

    produced = housekeeping.produced_counters(received(result, layouts.HK_FAST))["packets_produced"].isel(time=-1)
    surviving = {(row["vcid"], row["apid"]): row["surviving"] for row in recording.truth["packets"]}
    for row in result.completeness["packets"]:
        if not row["idle"]:
            assert row["count"] == surviving[row["vcid"], row["apid"]]
        if row["apid"] in layouts.IM_LINE:
            assert int(produced.sel(apid=row["apid"])) == 95 == row["count"] + row["missing"]


def test_finished_packets_are_ordered_numbered_and_checked():
    records = [encoder.PacketRecord(tick, apid, b"x" * 12) for tick, apid in [(3, 1), (1, 1), (2, 2), (1, 0)]]
    octets = b"".join(encoder.space_packets(records, first_sequence={1: 16383}))
    table = space_packet.packets_from_octets(np.frombuffer(octets, dtype=np.uint8)).packets
    assert table.apid.tolist() == [0, 1, 2, 1]
    assert table.sequence.tolist() == [0, 16383, 0, 0]
    assert space_packet.checked(table).all()


def test_packets_of_another_interface_are_refused():
    time, position, velocity = orbit(3)
    records = encoder.navigation_records(time, position=position, velocity=velocity)
    longer = [record._replace(data=record.data + b"\x00") for record in records]
    with pytest.raises(quality.BadInputError, match=r"have \[81\] octets, not 80"):
        navigation.ephemeris_from_packets(stream(longer))
    newer = [record._replace(data=record.data[:9] + b"\x02" + record.data[10:]) for record in records]
    with pytest.raises(quality.BadInputError, match="version 1"):
        navigation.ephemeris_from_packets(stream(newer))
    with pytest.raises(quality.BadInputError, match="whole packets"):
        navigation.ephemeris_from_packets(stream(records)[:-1])
