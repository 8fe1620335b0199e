"""Frame header error control of AOS frames: a shortened Reed-Solomon (10,6) code (CCSDS 732.0-B, 4.1.2.6).

Six symbols of four bits are protected: spacecraft and virtual channel identifiers with the version (octets 0 and 1),
then the signaling field (octet 5). The frame counter between them is not. Four check symbols follow in octets 6 and 7.
"""

import functools
from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray, IntArray

PROTECTED = (0, 1, 5)
"""Octets of the header that hold the message."""
CONTROL = (6, 7)
"""Octets of the header that hold the check symbols."""

_FIELD_GENERATOR = 0b10011  # F(x) = x^4 + x + 1
_ROOTS = range(6, 10)
_CHECK_BITS = 16
_CODEWORD = (*PROTECTED, *CONTROL)


class HeaderCorrection(NamedTuple):
    """Frame headers after correction.

    headers : headers, those beyond correction as received, shape (frame, octet) [1];
    corrected : wrong symbols of four bits found in each, -1 where it cannot be corrected, shape (frame,) [1].
    """

    headers: ByteArray
    corrected: np.ndarray[tuple[int, ...], np.dtype[np.int16]]


def _product(a: int, b: int) -> int:
    """Product in GF(16)."""
    product = 0
    for bit in range(4):
        product ^= (a << bit) * (b >> bit & 1)
    for bit in (6, 5, 4):
        product ^= (_FIELD_GENERATOR << bit - 4) * (product >> bit & 1)
    return product


def _generator() -> list[int]:
    """Coefficients of (x - a^6) ... (x - a^9), highest degree first."""
    g = [1]
    for exponent in _ROOTS:
        root = functools.reduce(_product, [2] * exponent)
        g = [a ^ _product(root, b) for a, b in zip([*g, 0], [0, *g], strict=True)]
    return g


def _check(symbols: list[int]) -> int:
    """Check symbols of a message as 16 bits, by division."""
    generator = _generator()[1:]
    register = [0, 0, 0, 0]
    for symbol in symbols:
        feedback = symbol ^ register[0]
        register = [a ^ _product(feedback, c) for a, c in zip([*register[1:], 0], generator, strict=True)]
    return functools.reduce(lambda bits, symbol: bits << 4 | symbol, register)


@functools.cache
def _symbol_differences() -> IntArray:
    """Difference of check symbols that an error in one symbol makes, shape (symbol, error value)."""
    table = np.zeros((10, 16), dtype=np.int64)
    for place in range(6):
        for value in range(16):
            table[place, value] = _check([value if other == place else 0 for other in range(6)])
    for place in range(4):
        table[6 + place] = np.arange(16) << (12 - 4 * place)
    return table


@functools.cache
def _octet_checks() -> IntArray:
    """Check symbols every value of a protected octet asks for, shape (protected octet, value)."""
    octets = np.arange(256)
    symbols = _symbol_differences()
    return np.stack([symbols[2 * i, octets >> 4] ^ symbols[2 * i + 1, octets & 15] for i in range(len(PROTECTED))])


class _Patterns(NamedTuple):
    """Error pattern of up to two symbols behind each difference: octets of the codeword, and how many symbols."""

    octets: ByteArray
    symbols: np.ndarray[tuple[int, ...], np.dtype[np.int16]]


@functools.cache
def _patterns() -> _Patterns:
    differences = _symbol_differences()
    octets = np.zeros((1 << _CHECK_BITS, len(_CODEWORD)), dtype=np.uint8)
    symbols = np.full(1 << _CHECK_BITS, -1, dtype=np.int16)
    symbols[0] = 0
    values = np.arange(1, 16)
    for first in range(10):
        single = differences[first, values]
        octets[single, first // 2] = _in_octet(values, first)
        symbols[single] = 1
        for second in range(first):
            pair = single[:, None] ^ differences[second, values]
            octets[pair, first // 2] ^= _in_octet(values, first)[:, None]
            octets[pair, second // 2] ^= _in_octet(values, second)
            symbols[pair] = 2
    return _Patterns(octets, symbols)


def _in_octet(values: IntArray, place: int) -> ByteArray:
    return (values << 4 * (1 - place % 2)).astype(np.uint8)


def _checks(headers: ByteArray) -> IntArray:
    protected = headers[:, PROTECTED].astype(np.int64)
    checks: IntArray = np.bitwise_xor.reduce(_octet_checks()[np.arange(len(PROTECTED)), protected], axis=1)
    return checks


def encode(headers: ByteArray) -> ByteArray:
    """Check symbols of frame headers.

    Parameters
    ----------
    headers : ByteArray
        Primary headers, of which the first six octets are read, shape (frame, octet) [1].

    Returns
    -------
    ByteArray
        Frame header error control fields, shape (frame, 2) [1].
    """
    checks = _checks(headers)
    return np.stack((checks >> 8, checks & 0xFF), axis=1).astype(np.uint8)


def correct(headers: ByteArray) -> HeaderCorrection:
    """Correct up to two wrong symbols of four bits in each header.

    Parameters
    ----------
    headers : ByteArray
        Primary headers with their error control field, shape (frame, 8) [1].

    Returns
    -------
    HeaderCorrection
        Headers and what was corrected.
    """
    differences = _checks(headers) ^ (headers[:, 6].astype(np.int64) << 8) ^ headers[:, 7]
    patterns = _patterns()
    repaired = headers.copy()
    repaired[:, _CODEWORD] ^= patterns.octets[differences]
    return HeaderCorrection(repaired, patterns.symbols[differences])
