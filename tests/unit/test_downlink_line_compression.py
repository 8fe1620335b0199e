"""Lossless coding of image lines, judged by the reference implementation that ecCodes brings along."""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors import quality
from processors.ccsds import space_packet
from processors.level0 import imager, layouts, line_compression
from processors.simulation import packets as encoder

PREPROCESS = 8
LINES = 12
START = 1_400_000_000.0


class Stream(ctypes.Structure):
    """`struct aec_stream` of libaec.h."""

    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_size_t),
        ("total_in", ctypes.c_size_t),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_size_t),
        ("total_out", ctypes.c_size_t),
        ("bits_per_sample", ctypes.c_uint),
        ("block_size", ctypes.c_uint),
        ("rsi", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("state", ctypes.c_void_p),
    )


@pytest.fixture(scope="module")
def judge():
    """Encoder or decoder of libaec, which shares nothing with ours."""
    found = importlib.util.find_spec("eccodeslib")
    assert found is not None
    library = ctypes.CDLL(str(Path(found.submodule_search_locations[0]) / "lib64" / "libaec.so"))

    def run(name, octets, room):
        source, result = np.ascontiguousarray(octets), np.zeros(room, dtype=np.uint8)
        about = Stream(source.ctypes.data, source.nbytes, 0, result.ctypes.data, room, 0, 12, 16, 128, PREPROCESS)
        assert getattr(library, name)(ctypes.byref(about)) == 0
        return result[: about.total_out].copy()

    return run


def some_lines(rng):
    """Lines that take every code option: noise, ramps, walks, zeros, lone spikes, full scale."""
    yield np.zeros(2048, dtype=np.uint16)
    yield np.full(2048, 4095, dtype=np.uint16)
    yield rng.integers(0, 4096, 2048).astype(np.uint16)
    for spread in (0.05, 0.3, 1.0, 4.0, 20.0, 90.0, 400.0):
        yield np.clip(1000 + np.cumsum(rng.normal(0, spread, 2048)), 0, 4095).astype(np.uint16)
        yield np.clip(3900 + rng.normal(0, spread, 2048), 0, 4095).astype(np.uint16)
    for share in (0.0005, 0.002, 0.01, 0.05):
        yield np.where(rng.random(2048) < share, rng.integers(0, 4096, 2048), 0).astype(np.uint16)
    for step in (16 * 60, 16 * 61, 16 * 64, 16 * 67, 16 * 127):
        yield np.where(np.arange(2048) < step, 7, 9).astype(np.uint16)


def decoded(*streams, pixels=2048):
    stop = np.cumsum([part.size for part in streams])
    start = stop - [part.size for part in streams]
    return line_compression.counts_from_octets(np.concatenate(streams), start=start, stop=stop, pixels=pixels)


@pytest.mark.parametrize("seed", [1, 2])
def test_streams_of_the_reference_encoder_give_back_their_counts(judge, seed):
    lines = list(some_lines(np.random.default_rng(seed)))
    result = decoded(*(judge("aec_buffer_encode", line, 8192) for line in lines))
    assert_array_equal(result.status, line_compression.DECODED)
    assert_array_equal(result.counts, np.stack(lines))


@pytest.mark.parametrize("seed", [3, 4])
def test_our_streams_are_understood_by_the_reference_decoder_and_by_our_own(judge, seed):
    lines = list(some_lines(np.random.default_rng(seed)))
    streams = [line_compression.octets_from_counts(line) for line in lines]
    for line, octets in zip(lines, streams, strict=True):
        assert_array_equal(judge("aec_buffer_decode", octets, 4096).view("<u2"), line)
    assert_array_equal(decoded(*streams).counts, np.stack(lines))


def test_our_streams_are_as_short_as_those_of_the_reference_encoder(judge):
    for line in some_lines(np.random.default_rng(5)):
        assert line_compression.octets_from_counts(line).size <= judge("aec_buffer_encode", line, 8192).size


@pytest.mark.parametrize("pixels", [16, 48, 1040, 2064, 4096])
def test_lines_of_any_whole_number_of_blocks_return(pixels):
    line = np.random.default_rng(pixels).integers(0, 3, pixels).astype(np.uint16)
    line[pixels // 2 :] = 4095
    assert_array_equal(decoded(line_compression.octets_from_counts(line), pixels=pixels).counts[0], line)


def test_a_broken_stream_is_noticed_and_costs_its_own_line_only():
    rng = np.random.default_rng(6)
    line = np.clip(1000 + np.cumsum(rng.normal(0, 6, 2048)), 0, 4095).astype(np.uint16)
    octets = line_compression.octets_from_counts(line)
    result = decoded(octets, octets[:-5], np.r_[octets, np.uint8(0)], octets, octets[:0])
    assert_array_equal(
        result.status,
        [
            line_compression.DECODED,
            line_compression.TRUNCATED,
            line_compression.TRAILING,
            line_compression.DECODED,
            line_compression.TRUNCATED,
        ],
    )
    assert_array_equal(result.counts[[0, 3]], np.stack([line, line]))
    assert not result.counts[[1, 2, 4]].any()


def test_counts_beyond_their_range_and_runs_beyond_their_segment_are_impossible():
    # identifier 1 (k = 0), reference 0, then an error of 4096
    too_far = np.packbits(np.r_[[0, 0, 0, 1], np.zeros(12 + 4096), 1, np.ones(14)].astype(np.uint8))
    # identifier 0, zero block, reference 0, a run of 66 blocks
    too_long = np.packbits(np.r_[np.zeros(5 + 12 + 66), 1].astype(np.uint8))
    # identifier 0, second extension, reference 0, and a pair that denies the zero in place of the reference
    not_zero = np.packbits(np.r_[[0, 0, 0, 0, 1], np.zeros(12), [0, 1], np.ones(7)].astype(np.uint8))
    result = decoded(too_far, too_long, not_zero)
    assert_array_equal(result.status, line_compression.IMPOSSIBLE)


def test_random_octets_are_hardly_ever_a_line():
    rng = np.random.default_rng(7)
    result = decoded(*(rng.integers(0, 256, 1500).astype(np.uint8) for _ in range(400)))
    assert not (result.status == line_compression.DECODED).any()


def test_calls_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match="12 bits"):
        line_compression.octets_from_counts(np.full(16, 4096, dtype=np.uint16))
    with pytest.raises(ValueError, match="multiple"):
        line_compression.octets_from_counts(np.zeros(15, dtype=np.uint16))
    with pytest.raises(ValueError, match="multiple"):
        decoded(np.zeros(4, dtype=np.uint8), pixels=15)
    with pytest.raises(ValueError, match="outside"):
        line_compression.counts_from_octets(np.zeros(3, np.uint8), start=np.array([0]), stop=np.array([4]))


def strip_packets(*, compress, counts):
    time = START + np.arange(LINES) / 30.0
    edges = np.tile([106.0, 107.0], (LINES, 1)), np.tile([30.0, 29.9], (LINES, 1))
    images = encoder.line_records(
        counts, line_time=time, gain=[1.0] * 5, integration_time=[2e-3] * 5, compress=compress
    )
    anchors = encoder.ancillary_records(time, edge_longitude=edges[0], edge_latitude=edges[1])
    lines = {apid: encoder.space_packets([r for r in images if r.apid == apid]) for apid in layouts.IM_LINE}
    return lines, b"".join(encoder.space_packets(anchors))


def smooth_counts(seed):
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 6, (5, LINES, 2048)), axis=-1)
    counts = np.clip(1500 + walk, 0, 4095).astype(np.uint16)
    counts[1, 3] = rng.integers(0, 4096, 2048)  # does not become shorter, so it is sent as it is
    return counts


def test_a_strip_of_compressed_lines_is_the_strip_of_plain_ones():
    counts = smooth_counts(8)
    strips = []
    for compress in (False, True):
        lines, anchors = strip_packets(compress=compress, counts=counts)
        strips.append(imager.strip_from_packets({apid: b"".join(part) for apid, part in lines.items()}, anchors))
    assert strips[0].identical(strips[1])
    assert strips[1].attrs["complete"] == 1
    assert len(lines[0x051][3]) == layouts.LINE.itemsize
    assert len(lines[0x051][4]) < 0.7 * layouts.LINE.itemsize


@pytest.mark.parametrize("fault", ["cut", "width", "method"])
def test_a_corrupted_compressed_line_stays_as_lost_and_is_counted(fault):
    counts = smooth_counts(9)
    lines, anchors = strip_packets(compress=True, counts=counts)
    packet = bytearray(lines[0x052][5])
    if fault == "cut":
        del packet[-9:-2]
        packet[4:6] = (len(packet) - space_packet.HEADER - 1).to_bytes(2, "big")
    elif fault == "width":
        packet[34:36] = (1024).to_bytes(2, "big")
    else:
        packet[21] = 2
    lines[0x052][5] = bytes(packet)
    strip = imager.strip_from_packets({apid: b"".join(part) for apid, part in lines.items()}, anchors)
    assert strip.attrs["undecodable_lines"] == 1
    held = np.ones((5, LINES), dtype=bool)
    held[2, 5] = False
    assert_array_equal(strip["line_valid"], held)
    assert_array_equal(strip["counts"], np.where(held[..., np.newaxis], counts, 0))


def test_compressed_lines_of_another_interface_are_refused():
    lines, anchors = strip_packets(compress=True, counts=smooth_counts(10))
    packet = bytearray(lines[0x053][0])
    packet[15] = 2
    with pytest.raises(quality.BadInputError, match="interface version"):
        imager.strip_from_packets({0x053: bytes(packet)}, anchors)
