"""Recordings become one true sequence, whatever they lost, repeat, share, or hold of noise.

Frames are built here octet by octet and packets are known before they are sent: what is expected is what was sent.
"""

import binascii
import contextlib
import dataclasses
import hashlib
import io
import itertools
import resource
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from infra import completeness_ledger, database, ledger, settings
from infra.stages import downlink as downlink_stage
from infra.stages import execution, level0, links
from infra.stages import workspace as stage_workspace
from processors.ccsds import link, randomizer, reed_solomon, space_packet, time_code
from processors.level0 import data_window, downlink, frame_decoder, frame_merge, window_frames

LENGTH = 128
AOS = link.Link("aos", "frames", link.Frame("aos", LENGTH, fecf=True), "none", None, (), {}, "none")
BARE = dataclasses.replace(AOS, name="bare", frame=link.Frame("aos", LENGTH))
TM = dataclasses.replace(AOS, name="tm", frame=link.Frame("tm", LENGTH, fecf=True))
CONTROLLED = dataclasses.replace(TM, name="controlled", frame=link.Frame("tm", LENGTH, fecf=True, ocf=True))
TIMED = dataclasses.replace(AOS, name="timed", packet_time="cuc")
CODED = link.Link(
    "coded", "cadu", link.Frame("aos", 223), "ccsds", link.ReedSolomon(interleave=1), (), {}, "none", "none"
)
PACKETS = link.Link("packets", "packets", None, "none", None, (), {}, "none", "none")
MARKER = bytes.fromhex("1ACFFC1D")
CONTINUED = 0x7FF
"""First header pointer of a frame in which no packet begins."""
FAILURES = ("uncorrectable", "check_failed", "foreign", "invalid", "duplicate", "conflict")
SIZE = 100
START = 800_000 * data_window.LENGTH
"""GPS time at which a window begins [s]."""


def packet_list(count, *, seed=0, size=SIZE, apid=5):
    """Packets of one application process, each different from every other."""
    body = np.random.default_rng(seed).integers(0, 256, (count, size - 6), dtype=np.uint8)
    return [
        space_packet.encode(row.tobytes(), apid=apid, sequence=n, secondary_header=False) for n, row in enumerate(body)
    ]


def zones_of(packets, length):
    """Packet zones filled up with an idle packet, and the first header pointer of each."""
    spare = -sum(map(len, packets)) % length
    if spare:
        packets = [*packets, space_packet.idle(spare if spare > 6 else spare + length)]
    start = np.cumsum([0, *map(len, packets)])
    pointers = np.full(int(start[-1]) // length, CONTINUED)
    for at in start[-2::-1].tolist():
        pointers[at // length] = at % length
    return np.frombuffer(b"".join(packets), dtype=np.uint8).reshape(-1, length), pointers


def framed(packets, *, spacelink=AOS, counter=0, vcid=0):
    """Frames of spacecraft 1 with packets; the counter is that of the first, or an array of each."""
    zones, pointers = zones_of(packets, spacelink.layout.zone_length)
    counters = counter + np.arange(len(zones)) if np.ndim(counter) == 0 else counter[: len(zones)]
    return sealed(zones, pointers, counters, spacelink, vcid)


def sealed(zones, pointers, counters, spacelink, vcid=0):
    layout = spacelink.layout
    frames = np.zeros((len(zones), layout.length), dtype=np.uint8)
    frames[:, layout.zone] = zones
    if layout.type == "tm":
        frames[:, 0], frames[:, 1] = 0, 1 << 4 | vcid << 1 | layout.ocf
        frames[:, 2] = frames[:, 3] = counters & 0xFF
        frames[:, 4], frames[:, 5] = 0x18 | pointers >> 8, pointers & 0xFF
    else:
        frames[:, 0], frames[:, 1] = 0x40, 0x40 | vcid
        frames[:, 2], frames[:, 3], frames[:, 4] = counters >> 16 & 0xFF, counters >> 8 & 0xFF, counters & 0xFF
        frames[:, 5] = 0x40 | counters >> 24 & 0xF
        frames[:, 6], frames[:, 7] = pointers >> 8, pointers & 0xFF
    if layout.fecf:
        for row in frames:
            row[-2:] = np.frombuffer(binascii.crc_hqx(row[:-2].tobytes(), 0xFFFF).to_bytes(2, "big"), dtype=np.uint8)
    return frames


def cadus(frames, spacelink=CODED):
    blocks = randomizer.randomize(reed_solomon.encode(frames, code=spacelink.reed_solomon), spacelink.randomizer)
    markers = np.tile(np.frombuffer(MARKER, dtype=np.uint8), (len(blocks), 1))
    return np.concatenate((markers, blocks), axis=1)


def decode(*recordings, spacelink=AOS):
    """Result of a decode in which every frame went to exactly one place, and the same in any order of recordings."""
    found = downlink.decode([recording.tobytes() for recording in recordings], link=spacelink)
    if len(recordings) > 1:
        assert downlink.decode([recording.tobytes() for recording in recordings[::-1]], link=spacelink) == found
    octets, frames = found.completeness["bytes"], found.completeness["frames"]
    assert octets["in"] == octets["frames"] + octets["junk"] + octets["tail"] == sum(r.size for r in recordings)
    assert frames["received"] == frames["accepted"] + sum(frames[name] for name in FAILURES)
    return found


def split(octets):
    """Packets back to back, told apart by their length fields alone."""
    found, at = [], 0
    while at < len(octets):
        end = at + 7 + int.from_bytes(octets[at + 4 : at + 6], "big")
        found.append(bytes(octets[at:end]))
        at = end
    return found


def received(found):
    return split(b"".join(found.packets.values()))


def counted(found, *names):
    return tuple(found.completeness["frames"][name] for name in names)


def missing(found):
    return sum(row["missing"] for row in found.completeness["virtual_channels"])


def without(frames, *losses):
    """Frames that are left, and which they are."""
    held = np.ones(len(frames), dtype=bool)
    for first, end in losses:
        held[first:end] = False
    return frames[held], held


def complete(packets, held, spacelink):
    """Packets all of whose frames are held."""
    zone, end = spacelink.layout.zone_length, np.cumsum([len(packet) for packet in packets])
    return [
        packet
        for packet, last in zip(packets, end.tolist(), strict=True)
        if held[(last - len(packet)) // zone : (last - 1) // zone + 1].all()
    ]


# Counters


@pytest.mark.parametrize("lost", [247, 248, 256, 300, 512])
@pytest.mark.parametrize("first", [40, 700])
def test_whatever_an_8_bit_counter_lost_in_one_recording_costs_the_complete_one_nothing(first, lost):
    sent = packet_list(1700)
    frames = framed(sent, spacelink=TM, counter=17)
    faded, _ = without(frames, (first, first + lost))
    found = decode(faded, frames, spacelink=TM)
    assert received(found) == sent
    assert counted(found, "accepted", "duplicate", "conflict") == (len(frames), len(faded), 0)
    assert missing(found) == 0


@pytest.mark.parametrize("lost", [1, 127, 128, 200, 246])
def test_a_loss_of_almost_a_turn_of_an_8_bit_counter_is_a_loss_of_as_many_frames(lost):
    sent = packet_list(800)
    faded, held = without(framed(sent, spacelink=TM), (300, 300 + lost))
    found = decode(faded, spacelink=TM)
    assert received(found) == complete(sent, held, TM)
    assert (missing(found), *counted(found, "accepted")) == (lost, len(faded))


@pytest.mark.parametrize(
    ("some", "others"),
    [
        ([(400, 700)], [(0, 100)]),
        ([(500, 800), (1100, 1400)], [(200, 450)]),
        ([(300, 600)], [(700, 956), (1200, 1203)]),
        ([(200, 500), (550, 900)], [(1000, 1400)]),
        ([(300, 600)], [(800, 1300)]),
    ],
)
def test_two_faded_recordings_of_an_8_bit_counter_give_the_union_and_nothing_twice(some, others):
    sent = packet_list(1800)
    frames = framed(sent, spacelink=TM)
    one, mine = without(frames, *some)
    other, theirs = without(frames, *others)
    found = decode(one, other, spacelink=TM)
    assert received(found) == complete(sent, mine | theirs, TM)
    assert counted(found, "accepted", "duplicate", "conflict") == (np.sum(mine | theirs), np.sum(mine & theirs), 0)
    assert missing(found) == np.sum(~(mine | theirs))


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (0, 300),
        (0, 900),
        (0, 1023),
        (0, 1024),
        (0, 1025),
        (1000, 900),
        (5000, 300),
        (4, 300),
        (316, 584),
    ],
)
@pytest.mark.parametrize("stations", [1, 2])
def test_a_counter_that_is_reset_within_a_recording_loses_no_packet(first, count, stations):
    before, after = packet_list(1300, seed=1), packet_list(900, seed=2)
    zones, pointers = zones_of(before, AOS.layout.zone_length)
    held = np.arange(len(zones)) < count
    ended = sealed(zones[held], pointers[held], first + np.arange(count), AOS)
    whole = np.concatenate((ended, framed(after)))
    found = decode(whole, *[np.delete(whole, slice(50, 60), axis=0)] * (stations - 1))
    assert received(found) == complete(before, held, AOS) + after
    assert counted(found, "accepted", "conflict") == (len(whole), 0)
    assert missing(found) == 0


@pytest.mark.parametrize("turns", [2, 3])
def test_passes_after_resets_with_few_frames_under_the_same_counters_are_all_kept(turns):
    passes = [packet_list(3, seed=seed) for seed in range(turns)]
    found = decode(*(framed(sent) for sent in passes))
    assert counted(found, "accepted", "duplicate", "conflict") == (3 * turns, 0, 0)
    assert sorted(received(found)) == sorted(itertools.chain(*passes))


@pytest.mark.parametrize("offset", [0, 23, 60, 200])
def test_tm_passes_that_share_their_idle_frames_keep_all_their_packets(offset):
    length = TM.layout.zone_length
    idle = space_packet.idle(length)
    passes = [
        [packet_list(60, seed=seed, size=length)[n] if n % 5 == 0 else idle for n in range(60)] for seed in (1, 2)
    ]
    found = decode(
        framed(passes[0], spacelink=TM, counter=10), framed(passes[1], spacelink=TM, counter=10 + offset), spacelink=TM
    )
    sent = [packet for packet in itertools.chain(*passes) if packet != idle]
    assert len(sent) == 24
    assert sorted(received(found)) == sorted(sent)
    assert counted(found, "conflict") == (0,)


# Pieces and copies


@pytest.mark.parametrize(("spacelink", "shared"), [(BARE, 0), (TM, 3)], ids=["bare", "tm"])
def test_one_pass_cut_in_150_recordings_is_merged_to_the_whole(spacelink, shared):
    sent = packet_list(900)
    frames = framed(sent, spacelink=spacelink, counter=5000)
    pieces = [frames[max(rows[0] - shared, 0) : rows[-1] + 1] for rows in np.array_split(np.arange(len(frames)), 150)]
    order = np.random.default_rng(0).permutation(150)
    found = downlink.decode([pieces[n].tobytes() for n in order], link=spacelink)
    assert received(found) == sent
    assert counted(found, "accepted", "conflict", "invalid") == (len(frames), 0, 0)
    assert counted(found, "duplicate") == (sum(map(len, pieces)) - len(frames),)
    assert missing(found) == 0


def test_a_short_piece_that_a_long_tm_recording_holds_is_a_duplicate():
    small = dataclasses.replace(TM, frame=link.Frame("tm", 24, fecf=True))
    sent = packet_list(13_600, size=40)
    frames = framed(sent, spacelink=small)
    assert len(frames) > 2 * 16384
    for first, count in ((20_000, 6), *((1000 * n, 1) for n in (1, 2, 3, 5, 8, 13, 21))):
        pieces = [frames.tobytes(), frames[first : first + count].tobytes()]
        found = downlink.decode(pieces, link=small)
        assert counted(found, "accepted", "duplicate", "conflict") == (len(frames), count, 0)
        assert b"".join(found.packets.values()) == b"".join(sent)


@pytest.mark.parametrize("counter", [0, 100_000])
@pytest.mark.parametrize("count", [300, 1600])
def test_frames_that_come_twice_in_a_recording_are_duplicates_wherever_they_count_from(counter, count):
    sent = packet_list(count)
    frames = framed(sent, counter=counter)
    twice = np.concatenate((frames, frames))
    for recordings in ([twice], [frames, frames], [twice, frames]):
        found = decode(*recordings)
        assert received(found) == sent
        assert counted(found, "accepted", "conflict") == (len(frames), 0)
        assert counted(found, "duplicate") == (sum(map(len, recordings)) - len(frames),)
        assert missing(found) == 0


@contextlib.contextmanager
def few_files(spare):
    """Let no more files be open than there are, and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_recordings_by_the_hundred_need_few_open_files(tmp_path):
    sent = packet_list(600)
    frames = framed(sent, counter=70_000)
    recordings = np.array_split(frames, 100)
    paths = [stored(recording, tmp_path / f"{n}.npy") for n, recording in enumerate(recordings)]
    with few_files(24):
        found = downlink.decode([recording.tobytes() for recording in recordings], link=AOS)
        window = window_frames.packets_of_window(paths, window=None, link=AOS, folder=made(tmp_path / "store"))
    assert received(found) == sent
    assert split(window.packets.content()) == sent
    assert counted(found, "accepted") == (len(frames),)


def stored(frames, path):
    records = np.zeros(len(frames), dtype=window_frames.record_type(frames.shape[1]))
    records["frame"] = frames
    np.save(path, records)
    return path


def made(folder):
    folder.mkdir()
    return folder


# Noise


@pytest.mark.parametrize(
    ("counter", "count"), [(100, 0), (100, 1), (100, 40), (100, 160), (1_000_000, 1), (1_000_000, 20), (1_000_000, 80)]
)
def test_junk_in_an_uncoded_link_costs_no_packet_and_makes_no_frames_missing(counter, count):
    sent = packet_list(1200)
    frames = framed(sent, spacelink=BARE, counter=counter)
    random = np.random.default_rng(count)
    junk = frames[:count].copy()
    far = random.integers(1 << 22, 1 << 28, count)
    junk[:, 2:5] = np.stack((far >> 16 & 0xFF, far >> 8 & 0xFF, far & 0xFF), axis=1)
    junk[:, 5] = 0x40 | far >> 24
    places = np.linspace(10, len(frames) - 10, count).astype(int)
    found = decode(np.insert(frames, places, junk, axis=0), spacelink=BARE)
    assert received(found) == sent
    assert counted(found, "accepted", "invalid", "conflict") == (len(frames), count, 0)
    assert missing(found) == 0


@pytest.mark.parametrize("spacelink", [AOS, BARE], ids=["aos", "bare"])
@pytest.mark.parametrize("bad", [4, 6, 40])
def test_a_few_frames_with_impossible_pointers_do_not_silence_the_channel(spacelink, bad):
    sent = packet_list(1200)
    frames = framed(sent, spacelink=spacelink, counter=100)
    zones = np.random.default_rng(0).integers(0, 256, (bad, spacelink.layout.zone_length), dtype=np.uint8)
    wrong = sealed(zones, np.full(bad, 1800), 50 + np.arange(bad), spacelink)
    for recordings in ([wrong, frames], [np.concatenate((wrong, frames))]):
        found = decode(*recordings, spacelink=spacelink)
        assert found.completeness["suspect"] == []
        assert received(found) == sent


def fed(frames, spacelink, size):
    """Frames accepted, or the reason of the refusal, of a recording that comes in stretches."""
    decoder = frame_decoder.FrameDecoder(spacelink)
    octets = frames.reshape(-1)
    try:
        parts = [decoder.feed(octets[at : at + size]).frames for at in range(0, octets.size, size)]
        parts.append(decoder.finish().frames)
    except frame_decoder.LinkMismatchError as error:
        return str(error)
    return np.concatenate(parts)


STRETCHES = (1 << 30, 70 * LENGTH, 7 * LENGTH, 5 * LENGTH, 1000)


def test_a_tm_pass_that_ends_with_frames_without_control_field_is_accepted_however_it_is_cut():
    sent = packet_list(400)
    frames = framed(sent, spacelink=CONTROLLED)
    idle = framed([space_packet.idle(TM.layout.zone_length)] * 5, spacelink=TM, vcid=7)
    for whole in (np.concatenate((frames, idle)), np.concatenate((frames[:100], idle, frames[100:]))):
        for size in STRETCHES:
            assert_array_equal(fed(whole, CONTROLLED, size), whole)
    assert received(decode(np.concatenate((frames, idle)), spacelink=CONTROLLED)) == sent
    opposite = framed(sent, spacelink=TM)
    refusals = {fed(opposite, CONTROLLED, size) for size in STRETCHES}
    assert len(refusals) == 1
    assert "operational control field" in refusals.pop()


@pytest.mark.parametrize(("bad", "accepted"), [(3, True), (70, True), (255, True), (256, False), (400, False)])
def test_what_bad_frames_in_front_do_does_not_depend_on_how_a_recording_is_cut(bad, accepted):
    frames = framed(packet_list(200), spacelink=TM)
    noise = np.random.default_rng(0).integers(0, 256, (bad, LENGTH), dtype=np.uint8)
    for size in STRETCHES:
        found = fed(np.concatenate((noise, frames)), TM, size)
        if accepted:
            assert_array_equal(found, frames)
        else:
            assert "not one of 256 frames decodes" in found


def test_a_long_recording_that_cannot_be_decoded_leaves_no_more_in_memory_than_a_short_one():
    random = np.random.default_rng(0)
    zones = random.integers(0, 256, (100, CODED.layout.zone_length), dtype=np.uint8)
    sent = sealed(zones, np.full(100, CONTINUED), np.arange(100), CODED)
    bits = np.unpackbits(cadus(sent).reshape(-1))
    noisy = np.packbits(bits ^ (random.random(bits.size) < 0.04))
    decoder = frame_decoder.FrameDecoder(CODED)
    for _ in range(20):
        decoder.feed(noisy)
    assert decoder.counts["received"] > 1900
    assert decoder.counts["uncorrectable"] > 0.99 * decoder.counts["received"]
    assert sum(map(len, decoder._evidence.sample)) == frame_decoder.SAMPLE_FRAMES
    assert sum(map(len, decoder._zone_frames)) <= frame_decoder.ZONE_SAMPLE


# Polarity


@pytest.mark.parametrize("inversion", [0x00, 0xFF])
def test_frames_on_the_fly_wheel_have_the_polarity_of_those_before(inversion):
    sent = packet_list(200)
    frames = framed(sent, spacelink=CODED)
    stream = cadus(frames)
    stream[20, :4] = [0x55, 0x33, 0x0F, 0x99]
    stream[40, :4], stream[60, :4] = 0x00, 0xFF
    found = decode(stream ^ np.uint8(inversion), spacelink=CODED)
    assert received(found) == sent
    assert counted(found, "accepted", "uncorrectable") == (len(frames), 0)
    assert found.completeness["synchronization"] == {"slips": 0, "inversions": int(inversion != 0), "losses": 0}


@pytest.mark.parametrize("inversion", [0x00, 0xFF])
@pytest.mark.parametrize("shift", [2, 100, 250])
def test_two_pieces_of_a_pass_of_either_polarity_make_the_frame_that_is_cut(inversion, shift):
    sent = packet_list(200)
    frames = framed(sent, spacelink=CODED)
    stream = cadus(frames).reshape(-1)
    cut = 30 * CODED.cadu_length + shift
    pieces = [part ^ np.uint8(inversion) for part in np.split(stream, [cut])]
    found = decode(*pieces, spacelink=CODED)
    assert received(found) == sent
    assert counted(found, "accepted", "duplicate", "uncorrectable") == (len(frames), 0, 0)
    assert found.completeness["bytes"] == {"in": stream.size, "frames": stream.size, "junk": 0, "tail": 0}


# Time


def timed_packet(number, time, *, flags, size=SIZE):
    """Packet of one application process with a time in its secondary header, or without either."""
    header = b"" if time is None else time_code.cuc_from_seconds(np.array([time])).tobytes() + bytes([0, 0, 1])
    body = np.random.default_rng(number).integers(0, 256, size - 6 - len(header), dtype=np.uint8).tobytes()
    return space_packet.encode(header + body, apid=5, sequence=number, flags=flags, secondary_header=time is not None)


def units(times, parts=3):
    """Units of packets of which only the first tells the time: the packets, and the time of the unit of each."""
    packets, known = [], []
    for time, part in itertools.product(times, range(parts)):
        flags = 1 if part == 0 else 2 if part == parts - 1 else 0
        packets.append(timed_packet(len(packets), time if part == 0 else None, flags=flags))
        known.append(time)
    return packets, np.array(known)


class Windowed(downlink.DiscardingSink):
    """Frames of a recording by window."""

    def __init__(self, folder):
        self.files = {}
        self.folder = folder

    def add_channel(self, name, segments, link):
        files, self.times = window_frames.by_window(name, segments, link=link, folder=self.folder)
        self.files |= {file.window: file for file in files}


def windowed(frames, spacelink, folder):
    sink = Windowed(made(folder))
    downlink.decode_into(sink, [downlink.Recording("pass", iter([frames.reshape(-1)]))], link=spacelink, folder=folder)
    return sink


def read(recordings, number, spacelink, folder):
    """Packets of a window from what recordings hold of it."""
    paths = [recording.files[number].path for recording in recordings if number in recording.files]
    window = None if number is None else data_window.window_of(number)
    return window_frames.packets_of_window(paths, window=window, link=spacelink, folder=made(folder))


def assert_read(found, packets, known, number):
    """A window holds the packets whose unit lies in it or its margins, under the time of the unit."""
    window = data_window.window_of(number)
    reach = (known >= window.start - data_window.MARGIN) & (known < window.stop + data_window.MARGIN)
    assert split(found.packets.content()) == [packets[n] for n in np.flatnonzero(reach)]
    assert_array_equal(found.time, known[reach])


@pytest.mark.parametrize("block", [1 << 14, 16])
def test_packets_without_time_keep_that_of_the_packet_before_across_blocks_and_windows(block, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_merge, "BLOCK", block)
    packets, known = units(START + np.arange(-600.0, 4000.0, 25.0))
    pass_ = windowed(framed(packets, spacelink=TIMED), TIMED, tmp_path / "pass")
    first = int(START // data_window.LENGTH)
    assert sorted(pass_.files) == [first - 1, first, first + 1, first + 2]
    for number in pass_.files:
        assert_read(read([pass_], number, TIMED, tmp_path / str(number)), packets, known, number)


@pytest.mark.parametrize("block", [1 << 14, 16])
def test_a_long_unit_stays_in_the_window_of_its_first_packet_though_the_next_comes_hours_later(
    block, tmp_path, monkeypatch
):
    monkeypatch.setattr(frame_merge, "BLOCK", block)
    packets, known = units([START + 300.0, START + 4 * 3600.0], parts=150)
    pass_ = windowed(framed(packets, spacelink=TIMED), TIMED, tmp_path / "pass")
    first = int(START // data_window.LENGTH)
    for number in (first, first + 8):
        assert_read(read([pass_], number, TIMED, tmp_path / str(number)), packets, known, number)


def test_packets_without_time_keep_it_where_the_packet_zone_changes_from_frame_to_frame(tmp_path):
    spacelink = dataclasses.replace(TM, packet_time="cuc")
    packets, known = units(START + np.arange(300.0, 400.0))
    frames = with_secondary_headers(packets, spacelink)
    pass_ = windowed(frames, spacelink, tmp_path / "pass")
    (number,) = pass_.files
    found = read([pass_], number, spacelink, tmp_path / "store")
    assert len(split(found.packets.content())) == len(packets)
    assert_read(found, packets, known, number)


def with_secondary_headers(packets, spacelink, width=4):
    """TM frames of which every other one has a secondary header."""
    layout = spacelink.layout
    octets = b"".join([*packets, space_packet.idle(2 * layout.zone_length)])
    start = np.cumsum([0, *map(len, packets)])
    rows, at = [], 0
    while at < start[-1]:
        header = width if len(rows) % 2 else 0
        room = layout.zone_length - header
        inside = start[(start >= at) & (start < at + room)]
        pointer = int(inside[0]) - at if inside.size else CONTINUED
        zone = bytes([width - 1] * bool(header) + [0] * (header - 1)) + octets[at : at + room]
        rows.append((zone, pointer | bool(header) << 15))
        at += room
    zones = np.frombuffer(b"".join(zone for zone, _ in rows), dtype=np.uint8).reshape(-1, layout.zone_length)
    return sealed(zones, np.array([status for _, status in rows]), np.arange(len(rows)), spacelink)


@pytest.mark.parametrize("count", [100, 700, 1500])
def test_packets_whose_times_are_garbage_make_a_bounded_number_of_files(count, tmp_path):
    spacelink = dataclasses.replace(AOS, packet_time="cds")
    body = np.random.default_rng(0).integers(0, 256, (count, SIZE - 6), dtype=np.uint8)
    sent = [space_packet.encode(row.tobytes(), apid=9, sequence=n) for n, row in enumerate(body)]
    frames = framed(sent, spacelink=spacelink)
    files = windowed(frames, spacelink, tmp_path / "pass").files
    assert len(files) <= 500
    if count > 500:
        (file,) = files.values()
        assert (file.window, file.frames) == (None, len(frames))
        assert_array_equal(np.load(file.path)["frame"], frames)


@pytest.mark.parametrize(
    ("time", "before", "expected"),
    [
        ([np.nan, np.nan, 5.0, np.nan], 3.0, [3.0, 3.0, 5.0, 5.0]),
        ([np.nan, np.nan, 5.0, np.nan, 4.0], np.nan, [5.0, 5.0, 5.0, 5.0, 4.0]),
        ([1.0, np.nan, 2.0], 3.0, [1.0, 1.0, 2.0]),
        ([np.nan, np.nan], 3.0, [3.0, 3.0]),
        ([np.nan, np.nan], np.nan, [np.nan, np.nan]),
        ([], 3.0, []),
    ],
)
def test_a_packet_without_time_has_that_of_the_one_before_and_only_the_first_that_of_the_one_after(
    time, before, expected
):
    assert_array_equal(data_window.continued(np.array(time), before=before), np.array(expected))


# Packets demultiplexed elsewhere


def account_of_packets(recordings, spacelink):
    found = downlink.decode([b"".join(recording) for recording in recordings], link=spacelink)
    rows = {row["apid"]: (row["count"], row["missing"]) for row in found.completeness["packets"]}
    return [split(content) for content in found.packets.values()], rows, found.completeness


@pytest.mark.parametrize("code", ["none", "cuc"])
@pytest.mark.parametrize("lost", [(), (40, 41, 42)])
def test_recordings_of_packets_are_merged_whatever_their_order(code, lost):
    spacelink = dataclasses.replace(PACKETS, packet_time=code)
    sent = [timed_packet(n, START + n if code == "cuc" else None, flags=3) for n in range(100)]
    kept = [packet for n, packet in enumerate(sent) if n not in lost]
    parts = [kept[:60], kept[30:], kept[45:50]]
    for order in itertools.permutations(parts):
        packets, rows, completeness = account_of_packets(order, spacelink)
        assert packets == [kept]
        assert rows == {5: (len(kept), len(lost))}
        assert completeness["bytes"]["in"] == sum(len(packet) for part in parts for packet in part)
    assert account_of_packets([kept], spacelink)[:2] == ([kept], {5: (len(kept), len(lost))})


# Stages


class Objects:
    """A store that holds what it was given."""

    def __init__(self):
        self.bodies = {}

    @contextlib.contextmanager
    def open(self, _bucket, key):
        yield io.BytesIO(self.bodies[key])

    def read(self, _bucket, key):
        return self.bodies[key]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Workspace of an installation that receives one link, of packets most of which carry no time."""
    frame = {"type": "aos", "length": LENGTH, "fecf": True, "ocf": False}
    mapping = {"name": "units", "stream": "frames", "frame": frame, "packet_time": "cuc"}
    monkeypatch.setattr(links, "names", lambda: frozenset({"units"}))
    monkeypatch.setattr(links, "definition", lambda _name: mapping)
    engine = database.engine(f"sqlite:///{tmp_path}/ledger.sqlite")
    completeness_ledger.metadata.create_all(engine)
    book = completeness_ledger.CompletenessLedger(engine)
    return stage_workspace.Workspace(settings.Settings(home=tmp_path), Objects(), None, None, book)


def granule(here, kind, name, body, *, group="", attributes=None):
    key = name if kind == "landed_downlink" else f"{kind}/{name}"
    here.store.bodies[key] = body
    sha256 = hashlib.sha256(body).hexdigest()
    return ledger.Granule(kind, name, sha256, group, "tl-archive", key, len(body), attributes or {})


def results(here, stage, granules):
    """What a stage makes of granules, as granules."""
    group = granules[0].group
    scratch = here.settings.home / hashlib.sha256(f"{stage}{group}{granules[0].id}".encode()).hexdigest()
    unit = execution.Unit("stage", group, group, tuple(granules))
    found = []
    for result in stage(unit, dataclasses.replace(here, scratch=scratch)).granules:
        body = result.body if isinstance(result.body, bytes) else result.body.read_bytes()
        found.append(granule(here, result.kind, result.id, body, group=result.group, attributes=result.attributes))
    return found


def by_group(granules, kind):
    chosen = sorted((one for one in granules if one.kind == kind), key=lambda one: one.group)
    return [list(members) for _, members in itertools.groupby(chosen, key=lambda one: one.group)]


@pytest.mark.parametrize("parts", [1, 3])
def test_windows_store_every_packet_once_though_most_carry_no_time(parts, here):
    packets, known = units(START + np.arange(-300.0, 300.0, 15.0))
    frames, found, kept = framed(packets, spacelink=TIMED), [], {}
    for number, piece in enumerate(np.array_split(frames, parts)):
        landed = granule(here, "landed_downlink", f"downlink/kashi/units/{number}", piece.tobytes())
        found += results(here, downlink_stage.decode_recording, [landed])
    tables = [
        table
        for group in by_group(found, "frames")
        for table in results(here, downlink_stage.reassemble_packets, group)
    ]
    for group in by_group(tables, "channel_packets"):
        for result in results(here, level0.assemble, group):
            if result.kind == "packets":
                kept[group[0].attributes["window"]] = split(here.store.bodies[result.key])
    first = int(START // data_window.LENGTH)
    for number, inside in ((first - 1, known < START), (first, known >= START)):
        assert kept[data_window.window_of(number).name] == [packets[n] for n in np.flatnonzero(inside)]
    assert len(kept) == 2
