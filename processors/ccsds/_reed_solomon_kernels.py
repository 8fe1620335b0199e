# mypy: disallow-untyped-decorators=False
"""Compiled loops of the Reed-Solomon codes.

Legend (CCSDS 131.0-B, section 4): alpha is a root of F(x) = x^8 + x^7 + x^2 + x + 1, gamma = alpha^11, and the
generator has the roots gamma^(128-E) .. gamma^(127+E); EXP and LOG count in powers of gamma. A position counts the
symbols of a full codeword from 0 (degree 254) to 254.

A register is the remainder of a division by the generator: 32 octets in four words, the highest degree in the highest
octet of the first word, in the representation the symbols are sent in (the change of basis is linear, so dividing
commutes with it). E=8 fills the first half and leaves zeros in the rest.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int16]

SYMBOLS = 255
REGISTER = 32
WORDS = 4
MAX_ERRORS = 16
FIELD_GENERATOR = 0x187
STRIDE = 8
"""Octets that are divided in one step."""

_OCTET = np.uint64(0xFF)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_ZERO = np.uint64(0)


def _field_tables() -> tuple[Octets, Integers]:
    """Tabulate powers of gamma and their logarithms; LOG[0] is never used."""
    alpha = [1]
    for _ in range(SYMBOLS - 1):
        doubled = alpha[-1] << 1
        alpha.append(doubled ^ FIELD_GENERATOR if doubled & 0x100 else doubled)
    exp = np.array([alpha[(11 * i) % SYMBOLS] for i in range(SYMBOLS)], dtype=np.uint8)
    log = np.zeros(256, dtype=np.int64)
    log[exp] = np.arange(SYMBOLS)
    return exp, log


EXP, LOG = _field_tables()


def _product_table() -> Octets:
    table: Octets = EXP[(LOG[:, None] + LOG[None, :]) % SYMBOLS]
    table[0, :] = 0
    table[:, 0] = 0
    return table


PRODUCT = _product_table()
INVERSE = np.where(np.arange(256) == 0, 0, EXP[-LOG % SYMBOLS]).astype(np.uint8)


def packed(octets: Octets) -> Words:
    """Words that hold the octets of the last axis, the first one in the highest octet."""
    return np.ascontiguousarray(octets).view(">u8").astype(np.uint64)


def generator(e: int) -> Octets:
    """Coefficients of the code generator, highest degree first, shape (2 e + 1,)."""
    g = np.ones(1, dtype=np.uint8)
    for root in range(128 - e, 128 + e):
        shifted = np.append(g, np.uint8(0))
        shifted[1:] ^= PRODUCT[EXP[root % SYMBOLS], g]
        g = shifted
    return g


def step_table(e: int, to_conventional: Octets, to_transmitted: Octets) -> Words:
    """Registers left by one octet and the zeros after it, shape (8 x 256, 4).

    Row 256 k + v is what the octet v contributes when it comes at place k of eight that are divided together.
    """
    rows = np.zeros((STRIDE, 256, REGISTER + 1), dtype=np.uint8)
    rows[-1, :, : 2 * e] = to_transmitted[PRODUCT[to_conventional[:, None], generator(e)[1:]]]
    for k in range(STRIDE - 2, -1, -1):
        # one more zero: the register moves up, and the octet it loses is fed back
        rows[k, :, :REGISTER] = rows[k + 1, :, 1:] ^ rows[-1, rows[k + 1, :, 0], :REGISTER]
    return packed(rows[:, :, :REGISTER]).reshape(STRIDE * 256, WORDS)


def syndrome_table(e: int, to_conventional: Octets) -> Words:
    """Contribution of every octet of a register to the 2 e syndromes, in packed words, shape (2 e, 256, 4)."""
    degrees = np.arange(2 * e - 1, -1, -1)
    roots = np.arange(128 - e, 128 + e)
    table = np.zeros((2 * e, 256, REGISTER), dtype=np.uint8)
    unit = EXP[degrees[:, None] * roots % SYMBOLS]
    table[:, :, : 2 * e] = PRODUCT[to_conventional[None, :, None], unit[:, None, :]]
    return packed(table)


def unit_table(e: int) -> Octets:
    """Syndromes of an error of value 1, shape (position, syndrome); the first is gamma^((128-e) degree)."""
    degrees = np.arange(SYMBOLS - 1, -1, -1)
    syndromes: Octets = EXP[degrees[:, None] * np.arange(128 - e, 128 + e) % SYMBOLS]
    return syndromes


def value_table() -> Words:
    """Values of the monomials c x^i at the inverse locators of all positions, shape (17, 256, 32): 8 in a word.

    The octets of the words are in the order of memory; a 256th one is zero.
    """
    degrees = np.arange(SYMBOLS - 1, -1, -1)
    points = EXP[-np.arange(MAX_ERRORS + 1)[:, None] * degrees % SYMBOLS]
    table = np.zeros((MAX_ERRORS + 1, 256, 256), dtype=np.uint8)
    table[:, :, :SYMBOLS] = PRODUCT[np.arange(256)[None, :, None], points[:, None, :]]
    return table.view(np.uint64)


@njit(cache=True)
def _remainder(octets: Octets, first: int, interleave: int, count: int, step: Words, register: Words) -> None:
    """Divide count octets of one codeword, eight at a time; its octets lie interleave apart."""
    w0 = w1 = w2 = w3 = _ZERO
    at = first
    for k in range(STRIDE - count % STRIDE, STRIDE):
        # what is missing to a full step are zeros before the message, which leave no trace
        entry = step[k * 256 + np.int64(octets[at])]
        w0 ^= entry[0]
        w1 ^= entry[1]
        w2 ^= entry[2]
        w3 ^= entry[3]
        at += interleave
    for _ in range(count // STRIDE):
        feedback = w0
        w0, w1, w2, w3 = w1, w2, w3, _ZERO
        for k in range(STRIDE):
            fed = (feedback >> np.uint64(56 - 8 * k)) & _OCTET
            entry = step[k * 256 + np.int64(np.uint64(octets[at]) ^ fed)]
            w0 ^= entry[0]
            w1 ^= entry[1]
            w2 ^= entry[2]
            w3 ^= entry[3]
            at += interleave
    register[0] = w0
    register[1] = w1
    register[2] = w2
    register[3] = w3


@njit(cache=True)
def encode_blocks(frames: Octets, blocks: Octets, interleave: int, parity: int, step: Words) -> None:
    """Append the interleaved check symbols to every frame."""
    count, length = frames.shape
    register = np.zeros(WORDS, dtype=np.uint64)
    for n in range(count):
        blocks[n, :length] = frames[n]
        for c in range(interleave):
            _remainder(frames[n], c, interleave, length // interleave, step, register)
            for k in range(parity):
                octet = (register[k // 8] >> np.uint64(56 - 8 * (k % 8))) & _OCTET
                blocks[n, length + k * interleave + c] = np.uint8(octet)


@njit(cache=True)
def difference(block: Octets, c: int, interleave: int, parity: int, step: Words, register: Words) -> None:
    """Check symbols of one codeword as received against those its message asks for: zero in a codeword."""
    length = block.size - parity * interleave
    _remainder(block, c, interleave, length // interleave, step, register)
    at = length + c
    for word in range(parity // 8):
        received = _ZERO
        for _ in range(8):
            received = (received << np.uint64(8)) | np.uint64(block[at])
            at += interleave
        register[word] ^= received


@njit(cache=True)
def _syndromes(register: Words, parity: int, table: Words, s: Octets) -> None:
    """Values at the roots of the generator of what the register holds."""
    s0 = s1 = s2 = s3 = _ZERO
    for k in range(parity):
        octet = (register[k // 8] >> np.uint64(56 - 8 * (k % 8))) & _OCTET
        entry = table[k, np.int64(octet)]
        s0 ^= entry[0]
        s1 ^= entry[1]
        s2 ^= entry[2]
        s3 ^= entry[3]
    for k in range(8):
        shift = np.uint64(56 - 8 * k)
        s[k] = np.uint8((s0 >> shift) & _OCTET)
        s[k + 8] = np.uint8((s1 >> shift) & _OCTET)
        s[k + 16] = np.uint8((s2 >> shift) & _OCTET)
        s[k + 24] = np.uint8((s3 >> shift) & _OCTET)


@njit(cache=True)
def _single_error(s: Octets, parity: int, unit: Octets, positions: Integers, values: Octets) -> bool:
    """Tell whether one wrong symbol explains every syndrome: then each is the one before times its locator."""
    if s[0] == 0 or s[1] == 0:
        return False
    locator = PRODUCT[s[1], INVERSE[s[0]]]
    for k in range(1, parity - 1):
        if PRODUCT[locator, s[k]] != s[k + 1]:
            return False
    positions[0] = SYMBOLS - 1 - LOG[locator]
    values[0] = PRODUCT[s[0], INVERSE[unit[positions[0], 0]]]
    return True


@njit(cache=True)
def _discrepancy(s: Octets, locator: Octets, length: int, n: int) -> int:
    d = np.int64(s[n])
    for i in range(1, length + 1):
        d ^= np.int64(PRODUCT[locator[i], s[n - i]])
    return int(d)


@njit(cache=True)
def _find_locator(s: Octets, parity: int, locator: Octets, before: Octets, kept: Octets) -> int:
    """Berlekamp-Massey: shortest register that generates the syndromes; returns its length."""
    locator[:] = 0
    before[:] = 0
    locator[0] = 1
    before[0] = 1
    length = 0
    span = 0  # degree that before can have
    shift = 1
    inverse = np.uint8(1)
    for n in range(parity):
        d = _discrepancy(s, locator, length, n)
        if d == 0:
            shift += 1
            continue
        scale = PRODUCT[d, inverse]
        grows = 2 * length <= n
        if grows:
            kept[: length + 1] = locator[: length + 1]
        for i in range(span + 1):
            locator[i + shift] ^= PRODUCT[scale, before[i]]
        if grows:
            before[: length + 1] = kept[: length + 1]
            span = length
            length = n + 1 - length
            inverse = INVERSE[d]
            shift = 0
        shift += 1
    return length


@njit(cache=True)
def _evaluate(coefficients: Octets, first: int, end: int, every: int, table: Words, at_positions: Words) -> None:
    """Add the values of a polynomial's terms at the inverse locators of all positions at once."""
    for i in range(first, end, every):
        row = table[i, np.int64(coefficients[i])]
        for w in range(32):
            at_positions[w] ^= row[w]


@njit(cache=True)
def _roots(even: Words, odd: Words, fill: int, length: int, positions: Integers) -> bool:
    """Positions where the sum of both, which replaces even, vanishes.

    Tells whether there are as many as the locator is long, none of them in the fill.
    """
    found = 0
    octets = even.view(np.uint8)
    for w in range(32):
        even[w] ^= odd[w]
        word = even[w]
        # the highest bit of each octet of this sum is clear only where the octet is zero
        if ((((word & _LOW_BITS) + _LOW_BITS) | word) & ~_LOW_BITS) == ~_LOW_BITS:
            continue
        for p in range(8 * w, 8 * w + 8):
            if octets[p] == 0:
                if found == length or p < fill:
                    return False
                positions[found] = p
                found += 1
    return found == length


@njit(cache=True)
def _evaluator(s: Octets, locator: Octets, length: int, evaluator: Octets) -> None:
    """Product of syndromes and locator as far as Forney's formula needs it."""
    for i in range(length):
        total = np.int64(0)
        for k in range(i + 1):
            total ^= np.int64(PRODUCT[locator[k], s[i - k]])
        evaluator[i] = np.uint8(total)


@njit(cache=True)
def _explains(s: Octets, parity: int, unit: Octets, count: int, positions: Integers, values: Octets) -> bool:
    """Tell whether the errors found leave no syndrome: what is written back is a codeword, whatever led there."""
    for e in range(count):
        row = PRODUCT[values[e]]
        errors = unit[positions[e]]
        for k in range(parity):
            s[k] ^= row[errors[k]]
    rest = np.uint8(0)
    for k in range(parity):
        rest |= s[k]
    return bool(rest == 0)


@njit(cache=True)
def _solve(
    s: Octets, parity: int, fill: int, table: Words, unit: Octets, scratch: Words, positions: Integers, values: Octets
) -> int:
    """Positions and values of the errors; returns their number, or -1 where no correctable pattern explains them."""
    if _single_error(s, parity, unit, positions, values):
        return 1 if positions[0] >= fill else -1
    polynomials = scratch[96:].view(np.uint8)
    locator = polynomials[:64]
    evaluator = polynomials[64:128]
    length = _find_locator(s, parity, locator, polynomials[64:128], polynomials[128:192])
    if length > parity // 2:
        return -1
    even = scratch[:32]
    odd = scratch[32:64]
    omega = scratch[64:96]
    even.view(np.uint8)[:] = 1  # the constant term; the 256th octet stays 1, so it is never a root
    odd[:] = 0
    omega[:] = 0
    _evaluate(locator, 2, length + 1, 2, table, even)
    _evaluate(locator, 1, length + 1, 2, table, odd)
    if not _roots(even, odd, fill, length, positions):
        return -1
    _evaluator(s, locator, length, evaluator)
    _evaluate(evaluator, 0, length, 1, table, omega)
    numerators = omega.view(np.uint8)
    derivatives = odd.view(np.uint8)  # X^-1 L'(X^-1): the odd terms, as the field has characteristic 2
    for e in range(length):
        p = positions[e]
        # Forney: Y = X^(1 - first root) W(X^-1) / L'(X^-1)
        quotient = PRODUCT[numerators[p], INVERSE[derivatives[p]]]
        values[e] = PRODUCT[quotient, INVERSE[unit[p, 0]]]
        if values[e] == 0:
            return -1
    return length if _explains(s, parity, unit, length, positions, values) else -1


@njit(cache=True)
def _derandomize(block: Octets, sequence: Octets, frame: Octets) -> None:
    for i in range(frame.size):
        frame[i] = block[i] ^ sequence[i]


@njit(cache=True)
def correct_blocks(
    blocks: Octets,
    frames: Octets,
    corrected: Counts,
    sequence: Octets,
    offsets: Words,
    fill: int,
    parity: int,
    to_transmitted: Octets,
    step: Words,
    syndromes: Words,
    values_at: Words,
    unit: Octets,
) -> None:
    """Derandomised and corrected frames; corrected[n, c] counts wrong symbols, -1 where a codeword has too many.

    Offsets are the differences the randomizer sequence itself has, shape (codeword, 4): by linearity they take it out
    of those of the received octets. A frame with a codeword beyond correction is left as it was received.
    """
    interleave = offsets.shape[0]
    register = np.zeros(WORDS, dtype=np.uint64)
    scratch = np.zeros(128, dtype=np.uint64)
    s = np.zeros(REGISTER, dtype=np.uint8)
    positions = np.zeros(MAX_ERRORS, dtype=np.int64)
    values = np.zeros(MAX_ERRORS, dtype=np.uint8)
    for n in range(blocks.shape[0]):
        frame = frames[n]
        _derandomize(blocks[n], sequence, frame)
        failed = False
        for c in range(interleave):
            corrected[n, c] = 0
            difference(blocks[n], c, interleave, parity, step, register)
            register ^= offsets[c]
            if (register[0] | register[1] | register[2] | register[3]) == 0:
                continue
            _syndromes(register, parity, syndromes, s)
            errors = _solve(s, parity, fill, values_at, unit, scratch, positions, values)
            corrected[n, c] = errors
            failed |= errors < 0
            for e in range(errors):
                at = (positions[e] - fill) * interleave + c
                if at < frame.size:
                    # the basis change is linear, so the error can be added in the transmitted representation
                    frame[at] ^= to_transmitted[values[e]]
        if failed:
            _derandomize(blocks[n], sequence, frame)
