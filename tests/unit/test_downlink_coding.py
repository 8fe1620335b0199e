"""Laws of randomiser, Reed-Solomon code, checksum and time codes."""

import functools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors.ccsds import checksum, link, randomizer, reed_solomon, time_code

CODE = link.ReedSolomon(interleave=4)


def multiply(a, b):
    """Russian-peasant product modulo x^8 + x^7 + x^2 + x + 1: shares nothing with the kernel's logarithms."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x187 if a & 0x80 else 0)
        b >>= 1
    return product


@functools.cache
def power(a, n):
    return 1 if n == 0 else multiply(power(a, n - 1), a)


def random_frames(seed, count=3, code=CODE):
    return np.random.default_rng(seed).integers(0, 256, size=(count, code.data_length), dtype=np.uint8)


def with_errors(blocks, *, count, interleave, seed):
    """The same number of wrong symbols in every codeword of every block."""
    random = np.random.default_rng(seed)
    broken = blocks.copy()
    for row in broken:
        for codeword in range(interleave):
            at = random.choice(len(row) // interleave, size=count, replace=False) * interleave + codeword
            row[at] ^= random.integers(1, 256, size=count, dtype=np.uint8)
    return broken


def test_randomizer_begins_as_the_blue_book_prints_it_and_repeats_after_255_bits():
    assert randomizer.sequence(5).tobytes() == bytes.fromhex("FF480EC09A")
    bits = np.unpackbits(randomizer.sequence(1020))
    assert_array_equal(bits[255:], bits[:-255])
    blocks = random_frames(1)
    assert_array_equal(randomizer.randomize(randomizer.randomize(blocks)), blocks)


def test_dual_basis_is_the_trace_of_the_symbol_times_powers_of_alpha_117():
    def trace(value):
        return functools.reduce(lambda total, i: total ^ power(value, 2**i), range(8), 0)

    beta = [power(power(2, 117), i) for i in range(8)]
    expected = [sum(trace(multiply(u, beta[i])) << (7 - i) for i in range(8)) for u in range(256)]
    assert reed_solomon.dual_from_conventional().tolist() == expected
    assert_array_equal(reed_solomon.conventional_from_dual()[reed_solomon.dual_from_conventional()], np.arange(256))


def test_encoded_codeword_vanishes_at_the_32_roots_of_the_blue_book_generator():
    code = link.ReedSolomon(interleave=1, basis="conventional")
    word = reed_solomon.encode(random_frames(2, 1, code), code=code)[0].tolist()
    for j in range(112, 144):
        root, value = power(2, 11 * j % 255), 0
        for symbol in word:
            value = multiply(value, root) ^ symbol
        assert value == 0


@pytest.mark.parametrize("interleave", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("basis", ["dual", "conventional"])
def test_up_to_sixteen_wrong_symbols_per_codeword_are_corrected_exactly(interleave, basis):
    code = link.ReedSolomon(interleave=interleave, basis=basis)
    frames = random_frames(interleave, 4, code)
    blocks = reed_solomon.encode(frames, code=code)
    for errors in (0, 1, 2, 15, 16):
        correction = reed_solomon.correct(
            with_errors(blocks, count=errors, interleave=interleave, seed=errors), code=code
        )
        assert_array_equal(correction.frames, frames)
        assert np.all(correction.corrected == errors)


def test_errors_in_parity_alone_are_corrected_and_counted():
    frames = random_frames(5)
    blocks = reed_solomon.encode(frames, code=CODE)
    blocks[:, -1] ^= 0xFF
    correction = reed_solomon.correct(blocks, code=CODE)
    assert_array_equal(correction.frames, frames)
    assert correction.corrected.tolist() == [[0, 0, 0, 1]] * 3


@pytest.mark.parametrize("errors", [17, 18, 24, 60, 200])
def test_more_than_sixteen_wrong_symbols_are_detected(errors):
    blocks = reed_solomon.encode(random_frames(6, 20), code=CODE)
    correction = reed_solomon.correct(with_errors(blocks, count=errors, interleave=4, seed=errors), code=CODE)
    assert np.all(correction.corrected == -1)


def test_virtual_fill_shortens_the_code_without_weakening_it():
    code = link.ReedSolomon(interleave=2, virtual_fill=100)
    frames = random_frames(7, 5, code)
    blocks = reed_solomon.encode(frames, code=code)
    padded = np.hstack((np.zeros((5, 200), dtype=np.uint8), frames))
    assert_array_equal(reed_solomon.encode(padded, code=link.ReedSolomon(interleave=2))[:, 200:], blocks)
    correction = reed_solomon.correct(with_errors(blocks, count=16, interleave=2, seed=1), code=code)
    assert_array_equal(correction.frames, frames)


def test_basis_and_interleave_must_agree_with_the_encoder():
    blocks = reed_solomon.encode(random_frames(8), code=CODE)
    other_basis = reed_solomon.correct(blocks, code=link.ReedSolomon(interleave=4, basis="conventional"))
    assert np.all(other_basis.corrected == -1)


def test_checksum_is_crc_16_ccitt_false():
    assert checksum.crc16(b"123456789") == 0x29B1
    frames = np.random.default_rng(9).integers(0, 256, size=(4, 100), dtype=np.uint8)
    for frame in frames:
        frame[-2:] = divmod(checksum.crc16(frame[:-2].tobytes()), 256)
    frames[2, 50] ^= 1
    assert checksum.frames_pass(frames).tolist() == [True, True, False, True]


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8])
def test_integers_of_every_width_survive_at_their_limits(width):
    top = 2 ** (8 * width - 1)
    values = np.array([-top, -1, 0, 1, top - 1])
    octets = time_code.octets_from_integers(values, width=width)
    assert octets.shape == (5, width)
    assert_array_equal(time_code.integers_from_octets(octets, signed=True), values)
    assert octets[1].tolist() == [255] * width


def test_integers_one_beyond_the_limit_are_refused():
    with pytest.raises(OverflowError, match="5 octets"):
        time_code.octets_from_integers(np.array([-(2**39) - 1]), width=5)
    with pytest.raises(OverflowError, match="5 octets"):
        time_code.octets_from_integers(np.array([2**40]), width=5)


def test_cuc_holds_every_float64_gps_time_of_the_decade_exactly():
    seconds = 1.4e9 + np.random.default_rng(10).random(1000) * 3e8
    octets = time_code.cuc_from_seconds(seconds)
    assert_array_equal(time_code.seconds_from_ticks(time_code.ticks_from_cuc(octets)), seconds)
    assert octets[0, :4].tolist() == list(int(seconds[0]).to_bytes(4, "big"))


def test_cds_counts_days_from_1958():
    octets = np.frombuffer(
        (23109).to_bytes(2, "big") + (86_399_999).to_bytes(4, "big") + (137).to_bytes(2, "big"), "u1"
    )
    assert time_code.utc_from_cds(octets) == np.datetime64("2021-04-09T23:59:59.999137")
