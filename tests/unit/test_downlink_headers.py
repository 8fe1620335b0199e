"""Headers of transfer frames: every field where the standards put it, and what their counters mean."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors.ccsds import frame_header_control, link, transfer_frame

AOS = link.Frame("aos", 64)
CONTROLLED = link.Frame("aos", 64, fhec=True, insert_zone=3)
TM = link.Frame("tm", 64)


def bits(*fields):
    """Octets of fields given as (value, width), most significant first: the standards' own way to state a header."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    assert len(text) % 8 == 0
    assert all(0 <= value < 1 << width for value, width in fields)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def frames(*headers, length=64):
    return np.array([list(header.ljust(length, b"\xee")) for header in headers], dtype=np.uint8)


def read(*headers, layout, **options):
    return transfer_frame.headers_from_frames(frames(*headers), layout=layout, **options)


def aos(*, version=1, scid=76, vcid=4, count=5, replay=0, usage=1, cycle=0, pointer=0, control=b"", insert=b""):
    header = bits((version, 2), (scid, 8), (vcid, 6), (count, 24), (replay, 1), (usage, 1), (0, 2), (cycle, 4))
    return header + control + insert + bits((0, 5), (pointer, 11))


def tm(*, version=0, scid=680, vcid=5, ocf=0, master=9, count=7, secondary=0, synchronous=0, pointer=0, after=b"\x00"):
    first = bits((version, 2), (scid, 10), (vcid, 3), (ocf, 1), (master, 8), (count, 8))
    return first + bits((secondary, 1), (synchronous, 1), (0, 1), (3, 2), (pointer, 11)) + after


@pytest.mark.parametrize(
    ("field", "given", "values"),
    [
        ("scid", "scid", (0, 1, 254, 255)),
        ("vcid", "vcid", (0, 1, 62, 63)),
        ("counter", "count", (0, 1, (1 << 24) - 2, (1 << 24) - 1)),
        ("pointer", "pointer", (0, 1, 2046, 2047)),
        ("replay", "replay", (0, 1)),
    ],
)
def test_an_aos_field_is_read_at_its_limits_and_leaves_the_others_alone(field, given, values):
    found = read(*(aos(**{given: value}) for value in values), layout=AOS)
    assert getattr(found, field).tolist() == list(values)
    usual = {"scid": 76, "vcid": 4, "counter": 5, "pointer": 0, "replay": False, "zone_start": 8, "modulus": 1 << 28}
    for other, value in usual.items():
        if other != field:
            assert_array_equal(getattr(found, other), value)
    assert found.valid.all()


def test_an_aos_count_has_28_bits_only_where_the_usage_flag_says_so():
    found = read(aos(count=3, cycle=15), aos(count=3, cycle=15, usage=0), layout=AOS)
    assert found.counter.tolist() == [15 << 24 | 3, 3]
    assert found.modulus.tolist() == [1 << 28, 1 << 24]


@pytest.mark.parametrize("version", [0, 2, 3])
def test_a_frame_of_another_version_is_no_aos_frame(version):
    assert not read(aos(version=version), layout=AOS).valid.any()


@pytest.mark.parametrize("ocf", [False, True])
def test_an_aos_frame_carries_the_control_field_its_link_describes(ocf):
    assert read(aos(), aos(), layout=link.Frame("aos", 64, ocf=ocf)).ocf.tolist() == [ocf, ocf]


@pytest.mark.parametrize("frame", [aos(vcid=63, cycle=9, replay=1), aos(scid=255, count=1 << 20)])
def test_headers_written_are_those_the_standard_draws(frame):
    found = read(frame, layout=AOS)
    written = transfer_frame.aos_headers(
        scid=int(found.scid[0]), vcid=int(found.vcid[0]), counter=found.counter, replay=bool(found.replay[0])
    )
    assert written.tobytes() == frame[:6]


def with_control(**fields):
    plain = np.frombuffer(aos(**fields)[:6], dtype=np.uint8)
    control = frame_header_control.encode(plain[np.newaxis]).tobytes()
    return aos(**fields, control=control, insert=b"\xaa\xbb\xcc")


def test_a_controlled_header_with_two_wrong_symbols_is_read_as_it_was_sent():
    sent = with_control(scid=200, vcid=33, count=77, cycle=2, pointer=1234)
    received = frames(sent, sent, sent)
    received[1, 0] ^= 0x50
    received[1, 5] ^= 0x0F
    received[2, 6] ^= 0xA1
    before = received.copy()
    found = transfer_frame.headers_from_frames(received, layout=CONTROLLED)
    assert found.valid.all()
    for field, value in {"scid": 200, "vcid": 33, "counter": 2 << 24 | 77, "pointer": 1234, "zone_start": 13}.items():
        assert_array_equal(getattr(found, field), value)
    assert_array_equal(received, before)
    one = received[1:2].copy()
    assert transfer_frame.headers_from_frames(one, layout=CONTROLLED).scid[0] == 200
    assert_array_equal(one, before[1:2])


def test_a_controlled_header_beyond_correction_is_invalid():
    damaged = frames(with_control(), with_control())
    damaged[1, [0, 1, 5]] ^= np.array([0x11, 0x22, 0x44], dtype=np.uint8)
    assert frame_header_control.correct(damaged[1:, :8]).corrected[0] == -1
    assert transfer_frame.headers_from_frames(damaged, layout=CONTROLLED).valid.tolist() == [True, False]


@pytest.mark.parametrize(
    ("field", "given", "values"),
    [
        ("scid", "scid", (0, 1, 1022, 1023)),
        ("vcid", "vcid", (0, 1, 6, 7)),
        ("ocf", "ocf", (0, 1)),
        ("counter", "count", (0, 1, 254, 255)),
        ("pointer", "pointer", (0, 1, 2046, 2047)),
    ],
)
def test_a_tm_field_is_read_at_its_limits_and_leaves_the_others_alone(field, given, values):
    found = read(*(tm(**{given: value}) for value in values), layout=TM)
    assert getattr(found, field).tolist() == list(values)
    usual = {"scid": 680, "vcid": 5, "ocf": False, "counter": 7, "pointer": 0, "zone_start": 6, "modulus": 256}
    for other, value in usual.items():
        if other != field:
            assert_array_equal(getattr(found, other), value)
    assert found.valid.all()
    assert not found.replay.any()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_frame_of_another_version_is_no_tm_frame(version):
    assert not read(tm(version=version), layout=TM).valid.any()


@pytest.mark.parametrize("total", [2, 3, 9, 57])
def test_packets_of_a_tm_frame_begin_after_its_secondary_header(total):
    # CCSDS 132.0-B 4.1.3.2.3: the field is the length of the whole secondary header less one
    found = read(tm(secondary=1, after=bytes([total - 1])), tm(after=b"\x3f"), layout=TM)
    assert found.valid.all()
    assert found.zone_start.tolist() == [6 + total, 6]


def test_a_secondary_header_as_long_as_the_frame_or_of_another_version_is_invalid():
    whole, foreign = tm(secondary=1, after=bytes([57])), tm(secondary=1, after=bytes([0x40 | 3]))
    assert read(whole, foreign, tm(after=b"\xff"), layout=TM).valid.tolist() == [False, False, True]


def test_a_secondary_header_of_stated_length_overrules_the_frame():
    found = read(tm(secondary=1, after=b"\x00"), tm(), layout=dataclasses.replace(TM, secondary_header=8))
    assert found.zone_start.tolist() == [14, 6]
    assert found.valid.all()


def test_asynchronous_data_are_no_packets_whatever_the_pointer_says():
    found = read(tm(synchronous=1, pointer=5), tm(pointer=5), layout=TM)
    assert found.pointer.tolist() == [transfer_frame.IDLE_ONLY, 5]
    assert found.valid.all()


def test_tm_headers_written_are_those_the_standard_draws():
    written = transfer_frame.tm_headers(
        scid=1000,
        vcid=6,
        master_counter=np.array([256, 257]),
        counter=np.array([511, 512]),
        pointer=np.array([0, 2047]),
        ocf=True,
        secondary_header=True,
    )
    fields = {"scid": 1000, "vcid": 6, "ocf": 1, "secondary": 1, "after": b""}
    assert written[0].tobytes() == tm(master=0, count=255, pointer=0, **fields)
    assert written[1].tobytes() == tm(master=1, count=0, pointer=2047, **fields)


def test_selection_keeps_every_field_of_the_chosen_frames():
    found = read(aos(), aos(vcid=9, replay=1, pointer=3), aos(count=8), layout=AOS)
    chosen = found.selected(np.array([False, True, False]))
    assert chosen == type(found)(*(field[1:2] for field in found))


def test_no_frames_have_no_headers():
    for layout in (AOS, CONTROLLED, TM):
        found = transfer_frame.headers_from_frames(np.zeros((0, 64), dtype=np.uint8), layout=layout)
        assert all(field.shape == (0,) for field in found)


@pytest.mark.parametrize("modulus", [256, 1 << 24, 1 << 28])
@pytest.mark.parametrize("gap", [1, 2, 100])
def test_a_counter_runs_on_over_its_wrap(modulus, gap):
    true = 3 * modulus - 250 + gap * np.arange(12)
    assert_array_equal(transfer_frame.unwrap(true % modulus, modulus=modulus, start=int(true[0])), true)


@pytest.mark.parametrize(("step", "taken"), [(-9, 247), (-8, -8), (-1, -1), (0, 0), (1, 1), (128, 128), (247, 247)])
def test_a_short_counter_goes_back_by_a_few_frames_only(step, taken):
    second = (40 + step) % 256
    assert transfer_frame.unwrap(np.array([40, second]), modulus=256).tolist() == [40, 40 + taken]
    assert transfer_frame.unwrap(np.array([second]), modulus=256, start=40).tolist() == [40 + taken]


@pytest.mark.parametrize(("step", "taken"), [(-9, -9), (-(1 << 23), -(1 << 23)), ((1 << 23) - 1, (1 << 23) - 1)])
def test_a_long_counter_takes_the_shorter_way(step, taken):
    second = (40 + step) % (1 << 24)
    assert transfer_frame.unwrap(np.array([40, second]), modulus=1 << 24).tolist() == [40, 40 + taken]


def test_an_unwrapped_counter_begins_with_its_raw_value_and_nothing_stays_nothing():
    assert transfer_frame.unwrap(np.array([250, 251]), modulus=256).tolist() == [250, 251]
    assert transfer_frame.unwrap(np.zeros(0, dtype=np.int64), modulus=256).size == 0
