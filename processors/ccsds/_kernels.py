"""Compiled loops of the space link: markers, checksums, packet headers."""

import numpy as np
import numpy.typing as npt
from numba import njit

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]


def _crc_tables() -> Integers:
    """CRC-16-CCITT (0x1021, most significant bit first) of one octet with 0 to 7 octets of zeros after it."""
    tables = np.zeros((8, 256), dtype=np.int64)
    for octet in range(256):
        crc = octet << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
        tables[0, octet] = crc
    for follow in range(1, 8):
        before = tables[follow - 1]
        tables[follow] = ((before << 8) & 0xFFFF) ^ tables[0, before >> 8]
    return tables


CRC_TABLES = _crc_tables()


@njit(cache=True)
def _octet(octets: Octets, index: int) -> int:
    """One octet as a signed integer: unsigned ones turn to float in compiled mixed arithmetic."""
    return int(np.int64(octets[index]))


@njit(cache=True)
def crc16_residues(octets: Octets, starts: Integers, lengths: Integers, residues: Integers) -> None:
    """CRC-16 (0x1021, all ones) over each slice; zero where the slice ends in its own checksum."""
    T = CRC_TABLES
    for n in range(starts.size):
        crc = 0xFFFF
        i = starts[n]
        end = i + lengths[n]
        while i + 8 <= end:  # eight octets at once: the checksum is linear
            crc = (
                T[7, _octet(octets, i) ^ (crc >> 8)]
                ^ T[6, _octet(octets, i + 1) ^ (crc & 0xFF)]
                ^ T[5, octets[i + 2]]
                ^ T[4, octets[i + 3]]
                ^ T[3, octets[i + 4]]
                ^ T[2, octets[i + 5]]
                ^ T[1, octets[i + 6]]
                ^ T[0, octets[i + 7]]
            )
            i += 8
        while i < end:
            crc = ((crc << 8) & 0xFFFF) ^ T[0, (crc >> 8) ^ _octet(octets, i)]
            i += 1
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
def search(stream: Octets, begin: int, end: int, marker: int, cadu_bits: int, tolerance: int) -> int:
    """First bit position in [begin, end) that holds a confirmed marker, or -1."""
    window = 0
    first = begin >> 3
    for i in range(first, min(stream.size + 4, (end >> 3) + 6)):
        # the window holds the five octets that end at i
        window = ((window << 8) & 0xFFFFFFFFFF) | (_octet(stream, i) if i < stream.size else 0)
        if i < first + 4:
            continue
        for shift in range(8):
            errors = _ones(((window >> (8 - shift)) & 0xFFFFFFFF) ^ marker)
            if tolerance < errors < 32 - tolerance:
                continue
            bit = 8 * (i - 4) + shift
            if begin <= bit < end and _confirmed(stream, bit, marker, cadu_bits, tolerance):
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
    begin: int,
    locked: bool,
    final: bool,
    marker: int,
    cadu_bits: int,
    search_tolerance: int,
    lock_tolerance: int,
    slip_window: int,
    flywheel: int,
    starts: Integers,
    follows: Integers,
    distances: Integers,
) -> tuple[int, int, bool]:
    """Begin of every frame that can be decided upon, and of the one that follows it (-1: lock was lost).

    Reading begins at a bit with or without lock. Returns the number of frames, and where reading goes on once there is
    more of the stream: a frame begins there (lock), or the search does. In a final stretch everything is decided, and
    the position is that of an incomplete last frame, or the end.
    """
    total = 8 * stream.size
    count = 0
    bit = begin
    # what decides on a frame lies this far ahead: the markers of the fly-wheel, or those that confirm a find
    horizon = total if final else total - max(flywheel + 2, 3) * cadu_bits - 64
    while True:
        if not locked:
            bit = max(bit, 0)
            found = search(stream, bit, horizon, marker, cadu_bits, search_tolerance)
            if found < 0:
                return count, max(bit, horizon), False
            bit = found
            locked = True
        if bit + cadu_bits > total or bit >= horizon:
            return count, bit, True
        starts[count] = bit
        distances[count] = _distance(stream, bit, marker)
        count += 1
        expected = bit + cadu_bits
        if expected + 32 > total:
            follows[count - 1] = expected
            return count, expected, True
        following = _next_on_grid(
            stream, expected, marker, cadu_bits, lock_tolerance, search_tolerance, slip_window, flywheel
        )
        follows[count - 1] = following
        if following < 0:
            following = search(stream, bit + 32, min(expected, total), marker, cadu_bits, search_tolerance)
            if following >= 0:
                count -= 1  # the next frame begins inside this one: it lost octets and is no frame
            else:
                following = expected
                locked = False
        bit = following


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
    octets: Octets,
    prefix: int,
    synchronized: bool,
    pointers: Integers,
    continues: npt.NDArray[np.bool_],
    zone_length: int,
    longest: int,
    starts: Integers,
    lengths: Integers,
    breaks: Integers,
    tally: Integers,
) -> tuple[int, int]:
    """Space packets in packet zones laid back to back (CCSDS 732.0 4.1.4.2.2, CCSDS 133.0 4.1).

    A packet is a slice of the octets because zones of consecutive frames touch; before the first zone lie prefix octets
    of a packet that is still open. continues[k] is false where the frame before k was lost. tally counts 0 packets
    without their end, 1 impossible headers and pointers, 2 octets in no packet, 3 pointers checked against an open
    packet, 4 those that disagreed, 5 interruptions so far; breaks holds the latter for every packet.
    Returns the number of packets, stored as far as there is room, and where the open packet begins (-1: not
    synchronised).
    """
    count = 0
    position = 0 if synchronized else -1
    accounted = 0
    for k in range(pointers.size):
        base = prefix + k * zone_length
        end = base + zone_length
        pointer = pointers[k]
        if not continues[k]:
            tally[5] += 1
            if 0 <= position < base:
                tally[0] += 1
            position = -1
        first = base + pointer if pointer < zone_length else -1
        if first < 0 and pointer < 2046:
            tally[1] += 1
            tally[5] += 1
        if position >= 0:
            # where the pointer must point: past the packet that is still open
            expected = position
            readable = True
            if position < base:
                readable = position + 6 <= end
                if readable:
                    expected = position + 7 + 256 * _octet(octets, position + 4) + _octet(octets, position + 5)
            agrees = (not readable and pointer == 2047) or (
                readable and (expected == first if expected < end else pointer == 2047)
            )
            tally[3] += 1
            if not agrees:
                idle_follows = position == base and pointer == 2046
                if not idle_follows:
                    tally[4] += 1
                    tally[5] += 1
                    if first >= 0 or pointer >= 2046:
                        tally[1] += 1
                position = -1
        if position < 0:
            position = first
            reached = position if position >= 0 else end
            tally[2] += reached - accounted
            accounted = reached
        while position >= 0 and position + 6 <= end:
            length = 7 + 256 * _octet(octets, position + 4) + _octet(octets, position + 5)
            if _octet(octets, position) >> 5 != 0 or length > longest:
                tally[1] += 1
                tally[5] += 1
                position = -1
                tally[2] += end - accounted
                accounted = end
            elif position + length <= end:
                if count < starts.size:
                    starts[count] = position
                    lengths[count] = length
                    breaks[count] = tally[5]
                count += 1
                position += length
                accounted = position
            else:
                break
    return count, position


@njit(cache=True)
def gather(octets: Octets, starts: Integers, lengths: Integers, out: Octets) -> None:
    """Copy slices one after the other."""
    at = 0
    for n in range(starts.size):
        first = starts[n]
        length = lengths[n]
        out[at : at + length] = octets[first : first + length]
        at += length


@njit(cache=True)
def _mixed(state: np.uint64, multiplier: np.uint64) -> np.uint64:
    """Spread the lower half over the whole word, without overflow."""
    return np.uint64((state >> np.uint64(32)) ^ ((state & np.uint64(0xFFFFFFFF)) * multiplier))


@njit(cache=True)
def fingerprints(words: Words, tails: Octets, prints: Words) -> None:
    """64-bit fingerprint of each row, given as words and the octets left over; different rows hardly ever share one."""
    first = np.uint64(0x9E3779B1)
    second = np.uint64(0x85EBCA77)
    for n in range(words.shape[0]):
        a = first
        b = second
        for i in range(words.shape[1]):
            a = _mixed(a ^ words[n, i], first)
            b = _mixed(b ^ a, second)
        for i in range(tails.shape[1]):
            a = _mixed(a ^ np.uint64(tails[n, i]), first)
            b = _mixed(b ^ a, second)
        prints[n] = _mixed(_mixed(a ^ (b >> np.uint64(32)) ^ (b << np.uint64(32)), second), first)
