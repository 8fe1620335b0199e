# mypy: disallow-untyped-decorators=False
"""Compiled loops of the lossless coding of image lines (CCSDS 121.0-B-3).

Legend (section 3 and 4 of the standard): n bits of a sample, J samples of a block, r blocks of a reference sample
interval, x a sample, delta its mapped prediction error, theta the smaller distance of the prediction to the ends of the
range, k the bits split off, FS a fundamental sequence (zeros, closed by a one). Bits are read from and written to the
top of a 64-bit word.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Octets = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.uint16]
Integers = npt.NDArray[np.int64]

DECODED = 0
TRUNCATED = 1
TRAILING = 2
IMPOSSIBLE = 3

SEGMENT = 64
"""Blocks of a segment: runs of zero blocks end there."""
REST_OF_SEGMENT = 4
"""Zeros of the fundamental sequence that says that all blocks to the end of the segment are zero blocks."""
LONGEST = 1 << 24

LEADING = np.array([8 - int(value).bit_length() for value in range(256)], dtype=np.int64)
"""Leading zeros of an octet."""
_WORD = np.uint64(64)


def _identifier_bits(n: int) -> int:
    """Width of the option identifier (table 5-1 of the standard, basic set)."""
    return 3 if n <= 8 else 4 if n <= 16 else 5


_id_bits = njit(cache=True, nogil=True)(_identifier_bits)


@njit(cache=True, nogil=True)
def _refilled(octets: Octets, stop: int, at: int, word: np.uint64, held: int) -> tuple[int, np.uint64, int]:
    """Fill the word to at least 57 bits; beyond the end of the stream with zeros."""
    while held <= 56:
        if at < stop:
            word |= np.uint64(octets[at]) << np.uint64(56 - held)
        at += 1
        held += 8
    return at, word, held


@njit(cache=True, nogil=True)
def _sequence(octets: Octets, stop: int, at: int, word: np.uint64, held: int) -> tuple[int, int, np.uint64, int]:
    """Zeros before the next one; more than LONGEST where the stream ends first."""
    count = 0
    while True:
        at, word, held = _refilled(octets, stop, at, word, held)
        top = int(LEADING[word >> np.uint64(56)])
        if top < 8:
            word <<= np.uint64(top + 1)
            return count + top, at, word, held - top - 1
        word <<= np.uint64(8)
        held -= 8
        count += 8
        if at - held // 8 > stop:
            return LONGEST, at, word, held


@njit(cache=True, nogil=True)
def _bits(
    octets: Octets, stop: int, at: int, word: np.uint64, held: int, width: int
) -> tuple[int, int, np.uint64, int]:
    """Next bits as a number."""
    if width == 0:
        return 0, at, word, held
    at, word, held = _refilled(octets, stop, at, word, held)
    value = int(np.int64(word >> np.uint64(64 - width)))
    return value, at, word << np.uint64(width), held - width


@njit(cache=True, nogil=True)
def _block(
    delta: Integers, octets: Octets, stop: int, at: int, word: np.uint64, held: int, n: int, reference: bool
) -> tuple[int, int, np.uint64, int]:
    """Read one block into delta; a reference sample stays in delta[0]. Returns zero blocks announced, or 0."""
    J = delta.size
    width = _id_bits(n)
    first = 1 if reference else 0
    option, at, word, held = _bits(octets, stop, at, word, held, width)
    second = 0
    if option == 0:
        second, at, word, held = _bits(octets, stop, at, word, held, 1)
    if option == (1 << width) - 1:
        for i in range(J):
            delta[i], at, word, held = _bits(octets, stop, at, word, held, n)
        return 0, at, word, held
    if reference:
        delta[0], at, word, held = _bits(octets, stop, at, word, held, n)
    if option > 0:
        k = option - 1
        for i in range(first, J):
            high, at, word, held = _sequence(octets, stop, at, word, held)
            delta[i] = high << k
        for i in range(first, J):
            low, at, word, held = _bits(octets, stop, at, word, held, k)
            delta[i] += low
        return 0, at, word, held
    if second == 0:
        zeros, at, word, held = _sequence(octets, stop, at, word, held)
        for i in range(first, J):
            delta[i] = 0
        return zeros + 1, at, word, held
    for i in range(0, J, 2):
        gamma, at, word, held = _sequence(octets, stop, at, word, held)
        gamma = min(gamma, LONGEST)
        beta = np.int64((np.sqrt(8.0 * gamma + 1.0) - 1.0) / 2.0)
        last = gamma - beta * (beta + 1) // 2
        if i >= first:
            delta[i] = beta - last
        elif beta != last:  # the place of the reference sample holds a zero
            delta[i] = -1
        delta[i + 1] = last
    return 0, at, word, held


@njit(cache=True, nogil=True)
def _unmapped(d: int, theta: int, upward: bool) -> int:
    if d > 2 * theta:
        return d - theta if upward else theta - d
    return -(d + 1) // 2 if d & 1 else d // 2


@njit(cache=True, nogil=True)
def _restored(x: Samples, start: int, delta: Integers, n: int, reference: bool) -> bool:
    """Undo the mapping of a block (equation 4-2 of the standard); False where an error cannot be."""
    largest = (1 << n) - 1
    first = 0
    if reference:
        if delta[0] < 0 or delta[0] > largest:
            return False
        x[start] = delta[0]
        first = 1
    for i in range(first, delta.size):
        before = int(np.int64(x[start + i - 1]))
        theta = min(before, largest - before)
        d = int(delta[i])
        if d < 0 or d > largest:
            return False
        x[start + i] = before + _unmapped(d, theta, theta == before)
    return True


@njit(cache=True, nogil=True)
def decode(octets: Octets, start: int, stop: int, x: Samples, n: int, J: int, r: int) -> int:
    """Decode the coded data set octets[start:stop] into x, whose size is a multiple of J.

    Parameters
    ----------
    octets : array
        Octets that hold the stream.
    start, stop : int
        First octet of the stream, and the one after its last.
    x : array
        Samples, filled in place.
    n, J, r : int
        Bits of a sample, samples of a block, blocks of a reference sample interval.

    Returns
    -------
    int
        DECODED, TRUNCATED, TRAILING (octets or set bits are left over) or IMPOSSIBLE (no encoder writes this).
    """
    delta = np.zeros(J, dtype=np.int64)
    blocks = x.size // J
    at, word, held = start, np.uint64(0), 0
    b = 0
    while b < blocks:
        within = b % r
        zeros, at, word, held = _block(delta, octets, stop, at, word, held, n, within == 0)
        if at - held // 8 > stop:
            return TRUNCATED
        room = min(r - within, blocks - b)
        run = 1
        if zeros > 0:
            to_segment_end = min(room, SEGMENT - within % SEGMENT)
            run = to_segment_end if zeros == REST_OF_SEGMENT + 1 else zeros if zeros <= REST_OF_SEGMENT else zeros - 1
            if run > to_segment_end:
                return IMPOSSIBLE
        if not _restored(x, b * J, delta, n, within == 0):
            return IMPOSSIBLE
        for i in range((b + 1) * J, (b + run) * J):
            x[i] = x[i - 1]
        b += run
    at, word, held = _refilled(octets, stop, at, word, held)
    if (stop - at) * 8 + held >= 8 or word != 0:
        return TRAILING
    return DECODED


@njit(cache=True, nogil=True)
def decode_lines(
    octets: Octets, start: Integers, stop: Integers, x: Samples, status: Integers, n: int, J: int, r: int
) -> None:
    """Decode one coded data set per line; a line that cannot be decoded is zero.

    Parameters
    ----------
    octets : array
        Octets that hold the streams.
    start, stop : array
        First octet of every stream, and the one after its last (line).
    x : array
        Samples (line, pixel), filled in place.
    status : array
        Outcome of every line, filled in place.
    n, J, r : int
        Bits of a sample, samples of a block, blocks of a reference sample interval.
    """
    for line in range(start.size):
        status[line] = decode(octets, start[line], stop[line], x[line], n, J, r)
        if status[line] != DECODED:
            x[line] = 0


@njit(cache=True, nogil=True)
def _put(octets: Octets, position: int, value: int, width: int) -> int:
    """Write bits at a bit position of octets that are zero there."""
    for i in range(width - 1, -1, -1):
        if (value >> i) & 1:
            octets[position >> 3] |= np.uint8(128 >> (position & 7))
        position += 1
    return position


@njit(cache=True, nogil=True)
def _put_sequence(octets: Octets, position: int, zeros: int) -> int:
    return _put(octets, position + zeros, 1, 1)


@njit(cache=True, nogil=True)
def _mapped(x: Samples, delta: Integers, n: int, J: int, r: int) -> None:
    """Mapped prediction errors (equation 4-1 of the standard); reference samples leave a zero in their place."""
    largest = (1 << n) - 1
    for i in range(x.size):
        if i % (J * r) == 0:
            delta[i] = 0
            continue
        before = np.int64(x[i - 1])
        theta = min(before, largest - before)
        d = np.int64(x[i]) - before
        if abs(d) > theta:
            delta[i] = theta + abs(d)
        else:
            delta[i] = 2 * d if d >= 0 else -2 * d - 1


@njit(cache=True, nogil=True)
def _choice(delta: Integers, n: int, first: int) -> int:
    """Cheapest option: -1 second extension, k, or n where nothing saves."""
    J = delta.size
    best, option = n * (J - first), n
    for k in range(min(n, (1 << _id_bits(n)) - 2)):
        cost = (J - first) * (k + 1)
        for i in range(first, J):
            cost += delta[i] >> k
        if cost < best:
            best, option = cost, k
    cost = 1
    for i in range(0, J, 2):
        pair = delta[i] + delta[i + 1]
        cost += pair * (pair + 1) // 2 + delta[i + 1] + 1
    return -1 if cost < best else option


@njit(cache=True, nogil=True)
def _zero_run(delta: Integers, b: int, blocks: int, J: int, r: int) -> int:
    """Zero blocks from b on that one announcement can hold."""
    end = min(b + SEGMENT - b % r % SEGMENT, b + r - b % r, blocks)
    run = 0
    while b + run < end:
        for i in range((b + run) * J, (b + run + 1) * J):
            if delta[i] != 0:
                return run
        run += 1
    return run


@njit(cache=True, nogil=True)
def encode(x: Samples, octets: Octets, n: int, J: int, r: int) -> int:
    """Encode samples, whose number is a multiple of J, into octets that are zero.

    Parameters
    ----------
    x : array
        Samples.
    octets : array
        Room for the stream, at least two octets per sample and 16 more.
    n, J, r : int
        Bits of a sample, samples of a block, blocks of a reference sample interval.

    Returns
    -------
    int
        Octets used.
    """
    delta = np.zeros(x.size, dtype=np.int64)
    _mapped(x, delta, n, J, r)
    width = _id_bits(n)
    blocks = x.size // J
    position = 0
    b = 0
    while b < blocks:
        first = 1 if b % r == 0 else 0
        block = delta[b * J : (b + 1) * J]
        run = _zero_run(delta, b, blocks, J, r)
        if run > 0:
            position = _put(octets, position, 0, width + 1)
            if first:
                position = _put(octets, position, x[b * J], n)
            to_segment_end = min(SEGMENT - b % r % SEGMENT, r - b % r, blocks - b)
            zeros = run if run > REST_OF_SEGMENT else run - 1
            if run > REST_OF_SEGMENT and run == to_segment_end:
                zeros = REST_OF_SEGMENT
            position = _put_sequence(octets, position, zeros)
            b += run
            continue
        option = _choice(block, n, first)
        if option == n:
            position = _put(octets, position, (1 << width) - 1, width)
        elif option < 0:
            position = _put(octets, position, 1, width + 1)
        else:
            position = _put(octets, position, option + 1, width)
        if first:
            position = _put(octets, position, x[b * J], n)
        if option == n:
            for i in range(first, J):
                position = _put(octets, position, block[i], n)
        elif option < 0:
            for i in range(0, J, 2):
                pair = block[i] + block[i + 1]
                position = _put_sequence(octets, position, pair * (pair + 1) // 2 + block[i + 1])
        else:
            for i in range(first, J):
                position = _put_sequence(octets, position, block[i] >> option)
            for i in range(first, J):
                position = _put(octets, position, block[i] & ((1 << option) - 1), option)
        b += 1
    return (position + 7) >> 3
