"""Laws of randomizer, Reed-Solomon codes, frame header control, checksum and time codes."""

import functools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from processors.ccsds import checksum, frame_header_control, link, randomizer, reed_solomon, time_code

CODE = link.ReedSolomon(interleave=4)


def multiply(a, b, field=0x187, top=0x80):
    """Russian-peasant product modulo x^8 + x^7 + x^2 + x + 1: shares nothing with the kernel's logarithms."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (field if a & top else 0)
        b >>= 1
    return product


@functools.cache
def power(a, n):
    return 1 if n == 0 else multiply(power(a, n - 1), a)


def is_codeword(symbols, e):
    """Evaluate a word in the conventional basis at every root of the generator, by Horner's rule."""
    for j in range(128 - e, 128 + e):
        root, value = power(2, 11 * j % 255), 0
        for symbol in symbols:
            value = multiply(value, root) ^ symbol
        if value:
            return False
    return True


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


def test_long_randomizer_begins_as_the_blue_book_prints_it_and_repeats_after_131071_bits():
    # CCSDS 131.0-B-5, note to 10.4.3
    assert randomizer.sequence(5, "ccsds17").tobytes() == bytes.fromhex("1C71B91BA9")
    bits = np.unpackbits(randomizer.sequence(40_000, "ccsds17"))
    assert_array_equal(bits[131_071:], bits[:-131_071])
    assert_array_equal(bits[17:], bits[:-17] ^ bits[14:-3])
    assert bits[:131_071].sum() == 65_536  # every state but zero once: one more one than zeros


def test_randomizing_twice_with_any_sequence_changes_nothing_and_an_unknown_one_is_refused():
    blocks = random_frames(1)
    assert_array_equal(randomizer.randomize(blocks, "none"), blocks)
    assert np.count_nonzero(randomizer.randomize(blocks, "ccsds17") != randomizer.randomize(blocks)) > blocks.size / 2
    assert_array_equal(randomizer.randomize(randomizer.randomize(blocks, "ccsds17"), "ccsds17"), blocks)
    with pytest.raises(ValueError, match="known are none, ccsds, ccsds17"):
        randomizer.randomize(blocks, "ccsds18")


def test_dual_basis_is_the_trace_of_the_symbol_times_powers_of_alpha_117():
    def trace(value):
        return functools.reduce(lambda total, i: total ^ power(value, 2**i), range(8), 0)

    beta = [power(power(2, 117), i) for i in range(8)]
    expected = [sum(trace(multiply(u, beta[i])) << (7 - i) for i in range(8)) for u in range(256)]
    assert reed_solomon.dual_from_conventional().tolist() == expected
    assert_array_equal(reed_solomon.conventional_from_dual()[reed_solomon.dual_from_conventional()], np.arange(256))


@pytest.mark.parametrize(
    ("e", "basis", "parity"),
    [
        (16, "dual", "02DD3A85516A45E4791B58D7FE96EFE03F8C48800992818037F327634C7340AC"),
        (16, "conventional", "A67EDA07978D2C801C6925711F8F657F9BEE2F2A871283D91232E98E1E1A3A29"),
        (8, "conventional", "A1772E0CEE233C36A979D53EDC3DB20F"),
    ],
)
def test_check_symbols_are_those_of_libfec(e, basis, parity):
    # encode_rs_ccsds, encode_rs_8 and encode_rs_char(8, 0x187, 120, 11, 16) of libfec for the octets 7 i + 1
    code = link.ReedSolomon(interleave=1, basis=basis, e=e)
    message = ((np.arange(code.data_length) * 7 + 1) % 256).astype(np.uint8)
    block = reed_solomon.encode(message[None], code=code)[0]
    assert block.tobytes() == message.tobytes() + bytes.fromhex(parity)


@pytest.mark.parametrize("e", [8, 16])
@pytest.mark.parametrize("basis", ["dual", "conventional"])
@pytest.mark.parametrize("fill", [0, 1, 30])
def test_encoded_codewords_vanish_at_the_roots_of_the_blue_book_generator(e, basis, fill):
    code = link.ReedSolomon(interleave=2, basis=basis, virtual_fill=fill, e=e)
    block = reed_solomon.encode(random_frames(2, 1, code), code=code)[0]
    symbols = reed_solomon.conventional_from_dual()[block] if basis == "dual" else block
    for codeword in range(2):
        word = symbols[codeword::2].tolist()
        assert is_codeword(word, e)
        word[100] ^= 1
        assert not is_codeword(word, e)


@pytest.mark.parametrize("e", [8, 16])
@pytest.mark.parametrize("interleave", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(("basis", "fill"), [("dual", 0), ("conventional", 0), ("dual", 7), ("conventional", 60)])
def test_up_to_e_wrong_symbols_per_codeword_are_corrected_exactly(e, interleave, basis, fill):
    code = link.ReedSolomon(interleave=interleave, basis=basis, virtual_fill=fill, e=e)
    frames = random_frames(interleave, 4, code)
    blocks = reed_solomon.encode(frames, code=code)
    for errors in (0, 1, 2, 3, e - 1, e):
        correction = reed_solomon.correct(
            with_errors(blocks, count=errors, interleave=interleave, seed=errors), code=code
        )
        assert_array_equal(correction.frames, frames)
        assert np.all(correction.corrected == errors)


def test_every_single_wrong_symbol_is_found_whatever_its_place_and_value():
    code = link.ReedSolomon(interleave=1)
    block = reed_solomon.encode(random_frames(3, 1, code), code=code)
    broken = np.repeat(block, 255, axis=0)
    broken[np.arange(255), np.arange(255)] ^= np.arange(1, 256, dtype=np.uint8)
    correction = reed_solomon.correct(broken, code=code)
    assert np.all(correction.corrected == 1)
    assert np.all(correction.frames == block[:, :223])


def test_codewords_of_one_frame_are_corrected_and_counted_each_for_itself():
    frames = random_frames(4)
    blocks = reed_solomon.encode(frames, code=CODE)
    for codeword, count in enumerate((0, 1, 7, 16)):
        blocks[:, codeword : codeword + 4 * 5 * count : 20] ^= 0x5A
    correction = reed_solomon.correct(blocks, code=CODE)
    assert correction.corrected.tolist() == [[0, 1, 7, 16]] * 3
    assert_array_equal(correction.frames, frames)


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


def test_a_frame_with_one_codeword_beyond_correction_is_returned_as_received():
    blocks = reed_solomon.encode(random_frames(6, 2), code=CODE)
    blocks[0, 0:80:4] ^= 0x11
    blocks[:, 1:13:4] ^= 0x22
    received = randomizer.randomize(blocks)
    correction = reed_solomon.correct(received, code=CODE, randomizer="ccsds")
    assert correction.corrected.tolist() == [[-1, 3, 0, 0], [0, 3, 0, 0]]
    assert_array_equal(correction.frames[0], blocks[0, : CODE.data_length])
    assert_array_equal(correction.frames[1], random_frames(6, 2)[1])


@pytest.mark.parametrize("e", [8, 16])
def test_whatever_is_called_corrected_is_a_codeword_at_the_distance_reported(e):
    code = link.ReedSolomon(interleave=1, basis="conventional", virtual_fill=20, e=e)
    received = np.concatenate(
        [
            with_errors(reed_solomon.encode(random_frames(n, 10, code), code=code), count=n, interleave=1, seed=n)
            for n in range(e - 2, e + 4)
        ]
    )
    correction = reed_solomon.correct(received, code=code)
    counts = correction.corrected[:, 0]
    assert np.all(counts[:30] == np.repeat([e - 2, e - 1, e], 10))
    assert_array_equal(correction.frames[counts < 0], received[counts < 0, : code.data_length])
    again = reed_solomon.encode(correction.frames[counts >= 0], code=code)
    assert all(is_codeword(word, e) for word in again[::10].tolist())
    assert_array_equal(np.count_nonzero(again != received[counts >= 0], axis=1), counts[counts >= 0])


@functools.cache
def word_of_seventeen_symbols():
    """Codeword of least weight, E=8: its 17 symbols are the 16 check symbols and one of the message."""
    code = link.ReedSolomon(interleave=1, basis="conventional", e=8)
    message = np.zeros((1, 239), dtype=np.uint8)
    message[0, 100] = 1
    return reed_solomon.encode(message, code=code)[0]


def test_beyond_half_its_distance_the_code_itself_decides_for_the_nearer_codeword():
    # nine of the seventeen symbols of a codeword look like eight errors in that codeword, and to no decoder otherwise
    nonzero = np.flatnonzero(word_of_seventeen_symbols())
    assert nonzero.size == 17
    received = word_of_seventeen_symbols().copy()
    received[nonzero[:8]] = 0
    code = link.ReedSolomon(interleave=1, basis="conventional", e=8)
    correction = reed_solomon.correct(received[None], code=code)
    assert correction.corrected.tolist() == [[8]]
    assert_array_equal(correction.frames[0], word_of_seventeen_symbols()[:239])


def test_a_pattern_of_nine_symbols_is_refused_though_it_would_explain_every_syndrome_of_the_shorter_code():
    # one word in millions: Berlekamp-Massey ends with a locator of nine roots, and eight is the limit
    block = np.zeros((1, 255), dtype=np.uint8)
    block[0, -16:] = np.frombuffer(bytes.fromhex("544CF083E6D4DBCB996E5F3758EC22E1"), dtype=np.uint8)
    correction = reed_solomon.correct(block, code=link.ReedSolomon(interleave=1, basis="conventional", e=8))
    assert correction.corrected.tolist() == [[-1]]
    assert not np.any(correction.frames)


def test_virtual_fill_shortens_the_code_without_weakening_it():
    code = link.ReedSolomon(interleave=2, virtual_fill=100)
    frames = random_frames(7, 5, code)
    blocks = reed_solomon.encode(frames, code=code)
    padded = np.hstack((np.zeros((5, 200), dtype=np.uint8), frames))
    assert_array_equal(reed_solomon.encode(padded, code=link.ReedSolomon(interleave=2))[:, 200:], blocks)
    correction = reed_solomon.correct(with_errors(blocks, count=16, interleave=2, seed=1), code=code)
    assert_array_equal(correction.frames, frames)


@pytest.mark.parametrize("errors", [1, 2, 5, 16])
def test_an_error_located_in_the_virtual_fill_makes_the_codeword_uncorrectable(errors):
    full = link.ReedSolomon(interleave=1)
    short = link.ReedSolomon(interleave=1, virtual_fill=40)
    frames = random_frames(8, 10, full)
    frames[:, :40] = 0
    frames[:, 39] = 1
    blocks = reed_solomon.encode(frames, code=full)[:, 40:]
    blocks[:, 50 : 50 + errors - 1] ^= 0x77
    correction = reed_solomon.correct(blocks, code=short)
    assert np.all(correction.corrected == -1)
    assert_array_equal(correction.frames, blocks[:, :183])


def test_basis_and_interleave_must_agree_with_the_encoder():
    blocks = reed_solomon.encode(random_frames(8), code=CODE)
    other_basis = reed_solomon.correct(blocks, code=link.ReedSolomon(interleave=4, basis="conventional"))
    assert np.all(other_basis.corrected == -1)
    other_interleave = reed_solomon.correct(blocks[:, :1020:2], code=link.ReedSolomon(interleave=2))
    assert np.all(other_interleave.corrected == 0)  # every second octet of four codewords: two whole ones
    assert np.all(reed_solomon.correct(blocks[:, :510], code=link.ReedSolomon(interleave=2)).corrected == -1)


@pytest.mark.parametrize("name", ["none", "ccsds", "ccsds17"])
@pytest.mark.parametrize("e", [8, 16])
def test_derandomizing_and_correcting_at_once_is_derandomizing_and_then_correcting(name, e):
    code = link.ReedSolomon(interleave=3, virtual_fill=11, e=e)
    blocks = reed_solomon.encode(random_frames(9, 6, code), code=code)
    for errors in (0, 1, e, e + 3):
        broken = with_errors(blocks, count=errors, interleave=3, seed=errors)
        apart = reed_solomon.correct(broken, code=code)
        at_once = reed_solomon.correct(randomizer.randomize(broken, name), code=code, randomizer=name)
        assert_array_equal(at_once.frames, apart.frames)
        assert_array_equal(at_once.corrected, apart.corrected)
        assert np.all(apart.corrected == (errors if errors <= e else -1))


def test_received_octets_are_left_alone_wherever_they_lie_in_memory():
    blocks = reed_solomon.encode(random_frames(10), code=CODE)
    broken = with_errors(blocks, count=3, interleave=4, seed=1)
    cadus = np.hstack((np.zeros((3, 4), dtype=np.uint8), broken))
    cadus.flags.writeable = False
    correction = reed_solomon.correct(cadus[:, 4:], code=CODE)
    assert_array_equal(correction.frames, blocks[:, : CODE.data_length])
    assert_array_equal(cadus[:, 4:], broken)
    assert reed_solomon.correct(blocks[:0], code=CODE).frames.shape == (0, CODE.data_length)


def test_rows_of_another_length_than_the_code_are_refused():
    with pytest.raises(ValueError, match="rows of 1020"):
        reed_solomon.correct(np.zeros((2, 1019), dtype=np.uint8), code=CODE)
    with pytest.raises(ValueError, match="rows of 892"):
        reed_solomon.encode(np.zeros((2, 893), dtype=np.uint8), code=CODE)


HEADERS = np.random.default_rng(11).integers(0, 256, size=(5, 8), dtype=np.uint8)


def header_symbols(headers):
    """Ten symbols of four bits: octets 0, 1, 5, 6 and 7, high half first."""
    octets = headers[:, [0, 1, 5, 6, 7]]
    return np.stack((octets >> 4, octets & 15), axis=2).reshape(len(headers), 10)


def with_header_errors(header, errors):
    """Headers with wrong symbols: errors are arrays of places and of values, shape (header, symbol)."""
    places, values = errors
    wrong = np.zeros((len(places), 10), dtype=np.uint8)
    np.put_along_axis(wrong, places, values.astype(np.uint8), axis=1)
    broken = np.repeat(header[None], len(places), axis=0)
    broken[:, [0, 1, 5, 6, 7]] ^= wrong[:, ::2] << 4 | wrong[:, 1::2]
    return broken


def controlled_headers():
    return np.hstack((HEADERS[:, :6], frame_header_control.encode(HEADERS[:, :6])))


def test_frame_header_control_is_that_of_yamcs():
    # vectors of its tests, an implementation of its own of CCSDS 732.0-B 4.1.2.6
    headers = np.array([[0x12, 0x34, 1, 2, 3, 0x56], [0x36, 0x9C, 0, 0, 0, 0xFA]], dtype=np.uint8)
    assert frame_header_control.encode(headers).tobytes() == bytes.fromhex("94DC457C")


def test_frame_header_codeword_vanishes_at_alpha_6_to_9_of_gf_16():
    def times(a, b):
        return multiply(a, b, field=0x13, top=8)

    for word in header_symbols(controlled_headers()).tolist():
        for j in range(6, 10):
            root = functools.reduce(times, [2] * j)
            assert functools.reduce(lambda value, symbol, root=root: times(value, root) ^ symbol, word, 0) == 0


def test_frame_counter_is_no_part_of_the_header_control():
    headers = controlled_headers()
    headers[:, 2:5] ^= 0xFF
    correction = frame_header_control.correct(headers)
    assert correction.corrected.tolist() == [0] * 5
    assert_array_equal(correction.headers, headers)


def test_one_and_two_wrong_symbols_of_a_frame_header_are_always_corrected():
    header = controlled_headers()[0]
    grid = np.indices((10, 10, 15, 15)).reshape(4, -1).T
    grid = grid[grid[:, 0] < grid[:, 1]]
    for symbols, cases in ((2, grid), (1, grid[(grid[:, 1] == 9) & (grid[:, 3] == 0)])):
        broken = with_header_errors(header, (cases[:, :symbols], cases[:, 2 : 2 + symbols] + 1))
        correction = frame_header_control.correct(broken)
        assert np.all(correction.corrected == symbols)
        assert np.all(correction.headers == header)
    assert len(grid) == 45 * 225


def test_three_wrong_symbols_of_a_frame_header_never_pass_for_none():
    random = np.random.default_rng(12)
    header = controlled_headers()[1]
    places = np.argsort(random.random((5000, 10)), axis=1)[:, :3]
    broken = with_header_errors(header, (places, random.integers(1, 16, size=(5000, 3))))
    correction = frame_header_control.correct(broken)
    beyond = correction.corrected < 0
    # of the 405000 patterns of three, those are near a codeword that share three symbols with one of weight 5
    assert abs(np.mean(~beyond) - 3780 * 10 / 405_000) < 0.015
    assert_array_equal(correction.headers[beyond], broken[beyond])
    repaired = correction.headers[~beyond]
    assert_array_equal(frame_header_control.encode(repaired), repaired[:, 6:8])
    assert np.all(correction.corrected[~beyond] == 2)
    changed = np.count_nonzero(header_symbols(repaired) != header_symbols(broken[~beyond]), axis=1)
    assert np.all(changed == 2)


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
