"""Compiled loops of the space link: markers, Reed-Solomon, checksums, packet headers.

Legend (CCSDS 131.0-B, section 4): alpha is a root of F(x) = x^8 + x^7 + x^2 + x + 1, gamma = alpha^11. EXP and LOG
count in powers of gamma, so the code reads as a plain Reed-Solomon code with first root gamma^112.
S syndromes, L error locator, W error evaluator, B previous locator.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
SyndromeTable = npt.NDArray[np.uint64]

PARITY = 32
FIRST_ROOT = 112
MAX_ERRORS = 16


def _field_tables() -> tuple[Integers, Integers]:
    """Tabulate powers of gamma = alpha^11 and their logarithms; LOG[0] is never read."""
    alpha = [1]
    for _ in range(254):
        doubled = alpha[-1] << 1
        alpha.append(doubled ^ 0x187 if doubled & 0x100 else doubled)
    exp = np.array([alpha[(11 * i) % 255] for i in range(510)], dtype=np.int64)
    log = np.zeros(256, dtype=np.int64)
    log[exp[:255]] = np.arange(255)
    return exp, log


EXP, LOG = _field_tables()


def _generator() -> Integers:
    """Coefficients of g(x) = product over j = 112..143 of (x - gamma^j), highest degree first."""
    g = [1]
    for j in range(FIRST_ROOT, FIRST_ROOT + PARITY):
        root = int(LOG[EXP[j]])
        product = [*g, 0]
        for i, c in enumerate(g):
            if c:
                product[i + 1] ^= int(EXP[(int(LOG[c]) + root) % 255])
        g = product
    return np.array(g, dtype=np.int64)


GENERATOR = _generator()


def _crc_table() -> Integers:
    """One octet of CRC-16-CCITT, polynomial 0x1021, most significant bit first."""
    table = np.zeros(256, dtype=np.int64)
    for octet in range(256):
        crc = octet << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
        table[octet] = crc
    return table


CRC_TABLE = _crc_table()


@njit(cache=True)
def _octet(octets: Octets, index: int) -> int:
    """One octet as a signed integer: unsigned ones turn to float in compiled mixed arithmetic."""
    return int(np.int64(octets[index]))


@njit(cache=True)
def multiply(a: int, b: int) -> int:
    """Product in GF(2^8)."""
    if a == 0 or b == 0:
        return 0
    return int(EXP[LOG[a] + LOG[b]])


@njit(cache=True)
def syndrome_table(to_conventional: Octets) -> SyndromeTable:
    """Contribution of every octet value at every position to the 32 syndromes, packed in four 64-bit words."""
    table = np.zeros((255, 256, 4), dtype=np.uint64)
    for position in range(255):
        degree = 254 - position
        for octet in range(1, 256):
            log = LOG[to_conventional[octet]]
            for k in range(PARITY):
                s = EXP[(log + (FIRST_ROOT + k) * degree) % 255]
                table[position, octet, k // 8] |= np.uint64(s) << np.uint64(8 * (k % 8))
    return table


@njit(cache=True)
def encode_codeword(message: Octets, parity: Octets) -> None:
    """Divide message (conventional basis, highest degree first) by the generator; the remainder goes to parity."""
    parity[:] = 0
    for i in range(message.size):
        feedback = message[i] ^ parity[0]
        for k in range(PARITY - 1):
            parity[k] = parity[k + 1] ^ multiply(feedback, GENERATOR[k + 1])
        parity[PARITY - 1] = multiply(feedback, GENERATOR[PARITY])


@njit(cache=True)
def encode_blocks(
    frames: Octets, blocks: Octets, interleave: int, to_conventional: Octets, to_transmitted: Octets
) -> None:
    """Append the interleaved parity of every frame; virtual fill is leading zeros and costs nothing."""
    count, length = frames.shape
    parity = np.zeros(PARITY, dtype=np.uint8)
    message = np.zeros(length // interleave, dtype=np.uint8)
    for n in range(count):
        blocks[n, :length] = frames[n]
        for c in range(interleave):
            for i in range(message.size):
                message[i] = to_conventional[frames[n, i * interleave + c]]
            encode_codeword(message, parity)
            for k in range(PARITY):
                blocks[n, length + k * interleave + c] = to_transmitted[parity[k]]


@njit(cache=True)
def _locator(S: Integers, L: Integers) -> int:
    """Berlekamp-Massey: shortest register that generates the syndromes; returns its length."""
    B = np.zeros(PARITY + 1, dtype=np.int64)
    T = np.zeros(PARITY + 1, dtype=np.int64)
    L[:] = 0
    L[0] = 1
    B[0] = 1
    length = 0
    shift = 1
    b = 1
    for n in range(PARITY):
        d = S[n]
        for i in range(1, length + 1):
            d ^= multiply(L[i], S[n - i])
        if d == 0:
            shift += 1
            continue
        T[:] = L
        log_scale = (LOG[d] - LOG[b]) % 255
        for i in range(PARITY + 1 - shift):
            if B[i] != 0:
                L[i + shift] ^= EXP[(LOG[B[i]] + log_scale) % 255]
        if 2 * length <= n:
            length = n + 1 - length
            B[:] = T
            b = d
            shift = 1
        else:
            shift += 1
    return length


@njit(cache=True)
def _value(polynomial: Integers, degree: int, log_x: int) -> int:
    """Value of a polynomial at gamma^log_x."""
    value = 0
    for i in range(degree + 1):
        if polynomial[i] != 0:
            value ^= EXP[(LOG[polynomial[i]] + i * log_x) % 255]
    return value


@njit(cache=True)
def _magnitude(S: Integers, L: Integers, length: int, degree: int) -> int:
    """Forney: error value at the symbol of the given degree; 0 where the locator has a double root."""
    inverse = (255 - degree) % 255
    numerator = 0
    for i in range(length):
        w = 0
        for k in range(i + 1):
            w ^= multiply(L[k], S[i - k])
        if w != 0:
            numerator ^= EXP[(LOG[w] + i * inverse) % 255]
    derivative = 0
    for i in range(1, length + 1, 2):
        if L[i] != 0:
            derivative ^= EXP[(LOG[L[i]] + (i - 1) * inverse) % 255]
    if derivative == 0 or numerator == 0:
        return 0
    # X^(1 - first root) * W(1/X) / L'(1/X)
    return int(EXP[(LOG[numerator] - LOG[derivative] + (1 - FIRST_ROOT) * degree) % 255])


@njit(cache=True)
def _solve(S: Integers, fill: int, positions: Integers, values: Integers) -> int:
    """Positions and values of at most 16 errors; returns their number, or -1 where there is no such solution."""
    L = np.zeros(PARITY + 1, dtype=np.int64)
    length = _locator(S, L)
    if length > MAX_ERRORS:
        return -1
    found = 0
    for degree in range(255 - fill):
        if _value(L, length, (255 - degree) % 255) == 0:
            if found == length:
                return -1
            positions[found] = 254 - degree
            values[found] = _magnitude(S, L, length, degree)
            if values[found] == 0:
                return -1
            found += 1
    return found if found == length else -1


@njit(cache=True)
def _unpack(words: Words, S: Integers) -> bool:
    """Return whether any of the 32 packed syndromes is not zero, after writing them to S."""
    for k in range(PARITY):
        S[k] = np.int64((words[k // 8] >> np.uint64(8 * (k % 8))) & np.uint64(0xFF))
    return bool((words[0] | words[1] | words[2] | words[3]) != 0)


@njit(cache=True)
def _syndromes(block: Octets, c: int, interleave: int, fill: int, table: SyndromeTable, words: Words) -> None:
    words[:] = 0
    row = fill
    for i in range(c, block.size, interleave):
        entry = table[row, block[i]]
        words[0] ^= entry[0]
        words[1] ^= entry[1]
        words[2] ^= entry[2]
        words[3] ^= entry[3]
        row += 1


@njit(cache=True)
def correct_blocks(
    blocks: Octets,
    interleave: int,
    fill: int,
    table: SyndromeTable,
    to_transmitted: Octets,
    corrected: npt.NDArray[np.int16],
) -> None:
    """Correct every codeword in place; corrected[n, c] counts its wrong symbols, -1 where it cannot be corrected."""
    words = np.zeros(4, dtype=np.uint64)
    S = np.zeros(PARITY, dtype=np.int64)
    positions = np.zeros(MAX_ERRORS, dtype=np.int64)
    values = np.zeros(MAX_ERRORS, dtype=np.int64)
    for n in range(blocks.shape[0]):
        for c in range(interleave):
            corrected[n, c] = 0
            _syndromes(blocks[n], c, interleave, fill, table, words)
            if not _unpack(words, S):
                continue
            errors = _solve(S, fill, positions, values)
            corrected[n, c] = errors
            for e in range(max(errors, 0)):
                # the basis change is linear, so the error can be added in the transmitted representation
                blocks[n, (positions[e] - fill) * interleave + c] ^= to_transmitted[values[e]]
            if errors > 0:
                _syndromes(blocks[n], c, interleave, fill, table, words)
                if _unpack(words, S):
                    corrected[n, c] = -1


@njit(cache=True)
def crc16_residues(octets: Octets, starts: Integers, lengths: Integers, residues: Integers) -> None:
    """CRC-16 (0x1021, all ones) over each slice; zero where the slice ends in its own checksum."""
    for n in range(starts.size):
        crc = 0xFFFF
        for i in range(starts[n], starts[n] + lengths[n]):
            crc = ((crc << 8) & 0xFFFF) ^ CRC_TABLE[(crc >> 8) ^ octets[i]]
        residues[n] = crc


@njit(cache=True)
def _bits32(stream: Octets, bit: int) -> int:
    """Return the 32 bits that start at a bit position; the caller holds bit + 32 inside the stream."""
    first = bit >> 3
    shift = bit & 7
    word = 0
    for i in range(4):
        word = (word << 8) | _octet(stream, first + i)
    if shift:
        word = ((word << shift) | (_octet(stream, first + 4) >> (8 - shift))) & 0xFFFFFFFF
    return word


@njit(cache=True)
def _ones(word: int) -> int:
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    return ((word * 0x01010101) & 0xFFFFFFFF) >> 24


@njit(cache=True)
def _distance(stream: Octets, bit: int, marker: int) -> int:
    """Hamming distance to the marker, negative minus one where the inverted marker is nearer; 99 outside the stream."""
    if bit < 0 or bit + 32 > 8 * stream.size:
        return 99
    errors = _ones(_bits32(stream, bit) ^ marker)
    return errors if errors <= 16 else -(32 - errors) - 1


@njit(cache=True)
def _errors(distance: int) -> int:
    return distance if distance >= 0 else -distance - 1


@njit(cache=True)
def _near(stream: Octets, bit: int, marker: int, tolerance: int) -> bool:
    return _errors(_distance(stream, bit, marker)) <= tolerance


@njit(cache=True)
def _confirmed(stream: Octets, bit: int, marker: int, cadu_bits: int, tolerance: int) -> bool:
    """Tell whether a marker found at bit has company one or two frames on, or is exact where the stream ends before."""
    total = 8 * stream.size
    if bit + 32 > total:
        return False
    if _near(stream, bit + cadu_bits, marker, tolerance) or _near(stream, bit + 2 * cadu_bits, marker, tolerance):
        return True
    return bit + cadu_bits + 32 > total and _near(stream, bit, marker, 0)


@njit(cache=True)
def search(stream: Octets, begin: int, marker: int, cadu_bits: int, tolerance: int) -> int:
    """First bit position from begin that holds a confirmed marker, or -1."""
    window = 0
    first = begin >> 3
    for i in range(first, stream.size + 4):
        # the window holds the five octets that end at i
        window = ((window << 8) & 0xFFFFFFFFFF) | (_octet(stream, i) if i < stream.size else 0)
        if i < first + 4:
            continue
        for shift in range(8):
            errors = _ones(((window >> (8 - shift)) & 0xFFFFFFFF) ^ marker)
            if tolerance < errors < 32 - tolerance:
                continue
            bit = 8 * (i - 4) + shift
            if bit >= begin and _confirmed(stream, bit, marker, cadu_bits, tolerance):
                return bit
    return -1


@njit(cache=True)
def _next_on_grid(
    stream: Octets,
    bit: int,
    marker: int,
    cadu_bits: int,
    lock_tolerance: int,
    search_tolerance: int,
    slip_window: int,
    flywheel: int,
) -> int:
    """Where the frame expected at bit begins: with a slip of a few bits, unchanged on the fly-wheel, or -1."""
    if _near(stream, bit, marker, lock_tolerance):
        return bit
    for slip in range(1, slip_window + 1):
        if _near(stream, bit + slip, marker, search_tolerance):
            return bit + slip
        if _near(stream, bit - slip, marker, search_tolerance):
            return bit - slip
    for ahead in range(1, flywheel + 1):
        if _near(stream, bit + ahead * cadu_bits, marker, lock_tolerance):
            return bit
    return -1


@njit(cache=True)
def lock(
    stream: Octets,
    marker: int,
    cadu_bits: int,
    search_tolerance: int,
    lock_tolerance: int,
    slip_window: int,
    flywheel: int,
    starts: Integers,
    distances: Integers,
) -> tuple[int, int]:
    """Begin of every frame in the stream; returns their number and where an incomplete last frame begins (or -1)."""
    total = 8 * stream.size
    count = 0
    bit = search(stream, 0, marker, cadu_bits, search_tolerance)
    while bit >= 0:
        if bit + cadu_bits > total:
            return count, bit
        starts[count] = bit
        distances[count] = _distance(stream, bit, marker)
        count += 1
        expected = bit + cadu_bits
        if expected + 32 > total:
            return count, expected
        following = _next_on_grid(
            stream, expected, marker, cadu_bits, lock_tolerance, search_tolerance, slip_window, flywheel
        )
        if following < 0:
            following = search(stream, bit + 32, marker, cadu_bits, search_tolerance)
            if 0 <= following < expected:
                count -= 1  # the next frame begins inside this one: it lost octets and is no frame
        bit = following
    return count, -1


@njit(cache=True)
def extract(stream: Octets, starts: Integers, inverted: npt.NDArray[np.bool_], frames: Octets) -> None:
    """Copy frames out of a bit stream, realigned to octets and with their polarity restored."""
    for n in range(starts.size):
        first = starts[n] >> 3
        shift = starts[n] & 7
        flip = 0xFF if inverted[n] else 0
        for i in range(frames.shape[1]):
            octet = _octet(stream, first + i)
            if shift:
                octet = ((octet << shift) | (_octet(stream, first + i + 1) >> (8 - shift))) & 0xFF
            frames[n, i] = octet ^ flip


@njit(cache=True)
def walk_packets(
    zones: Octets,
    pointers: Integers,
    continues: npt.NDArray[np.bool_],
    zone_length: int,
    longest: int,
    starts: Integers,
    lengths: Integers,
    dropped: Integers,
) -> tuple[int, int]:
    """Space packets in packet zones laid back to back (CCSDS 732.0 4.1.4.2.2, CCSDS 133.0 4.1).

    A packet is a slice of the zones because zones of consecutive frames touch. continues[k] is false where the frame
    before k was lost. dropped[0] counts packets without their end, dropped[1] impossible headers and pointers.
    Returns the number of packets, stored as far as there is room, and the position reached (-1: not synchronised).
    """
    count = 0
    position = -1
    for k in range(pointers.size):
        base = k * zone_length
        end = base + zone_length
        pointer = pointers[k]
        if not continues[k]:
            if 0 <= position < base:
                dropped[0] += 1
            position = -1
        first = base + pointer if pointer < zone_length else -1
        if first < 0 and pointer < 2046:
            dropped[1] += 1
        if position >= 0:
            # where the pointer must point: past the packet that is still open
            expected = position
            readable = True
            if position < base:
                readable = position + 6 <= end
                if readable:
                    expected = position + 7 + 256 * _octet(zones, position + 4) + _octet(zones, position + 5)
            agrees = (not readable and pointer == 2047) or (
                readable and (expected == first if expected < end else pointer == 2047)
            )
            if not agrees:
                idle_follows = position == base and pointer == 2046
                if not idle_follows and (first >= 0 or pointer >= 2046):
                    dropped[1] += 1
                position = -1
        if position < 0:
            position = first
        while position >= 0 and position + 6 <= end:
            length = 7 + 256 * _octet(zones, position + 4) + _octet(zones, position + 5)
            if zones[position] >> 5 != 0 or length > longest:
                dropped[1] += 1
                position = -1
            elif position + length <= end:
                if count < starts.size:
                    starts[count] = position
                    lengths[count] = length
                count += 1
                position += length
            else:
                break
    if 0 <= position < pointers.size * zone_length:
        dropped[0] += 1
    return count, position
