"""Pseudo-randomisation of code blocks (CCSDS 131.0-B-5, section 10)."""

import functools
from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray

PERIOD = 255
"""Length of the short sequence, in bits and so also in octets."""
LONG_PERIOD = 131_071
"""Length of the long sequence, in bits and so also in octets."""


class _Generator(NamedTuple):
    """Shift register: bit n is the sum of the bits n - lag, after those it starts with."""

    start: str
    lags: tuple[int, ...]
    period: int


_GENERATORS = {
    # h(x) = x^8 + x^7 + x^5 + x^3 + 1, for older links
    "ccsds": _Generator("11111111", (8, 5, 3, 1), PERIOD),
    # h(x) = x^17 + x^14 + 1; the standard writes the start as 11000111000111000, whose last bit leaves first
    "ccsds17": _Generator("11000111000111000"[::-1], (17, 3), LONG_PERIOD),
}


@functools.cache
def _period(name: str) -> ByteArray:
    """As many octets as the sequence has bits: both lengths are odd, so the octets repeat after as many."""
    generator = _GENERATORS[name]
    bits = [int(bit) for bit in generator.start]
    while len(bits) < generator.period:
        bits.append(sum(bits[-lag] for lag in generator.lags) & 1)
    octets = np.packbits(np.tile(np.array(bits, dtype=np.uint8), 8))
    octets.flags.writeable = False
    return octets


def sequence(length: int, name: str = "ccsds") -> ByteArray:
    """Pseudo-random octets that start with every code block.

    CCSDS 131.0-B-5, 10.4.1 and 10.4.2.

    Parameters
    ----------
    length : int
        Octets wanted [1].
    name : str
        `ccsds` for the sequence of 255 bits, `ccsds17` for the one of 131071, `none` for zeros.

    Returns
    -------
    ByteArray
        Octets, shape (length,) [1].

    Raises
    ------
    ValueError
        There is no sequence of that name.
    """
    if name == "none":
        return np.zeros(length, dtype=np.uint8)
    if name not in _GENERATORS:
        raise ValueError(f"no randomizer {name!r}; known are none, {', '.join(_GENERATORS)}")
    return np.resize(_period(name), length)


def randomize(blocks: ByteArray, name: str = "ccsds") -> ByteArray:
    """Apply or remove the sequence: the operation is its own inverse.

    Parameters
    ----------
    blocks : ByteArray
        Code blocks without marker, shape (block, octet) [1].
    name : str
        The sequence, as above.

    Returns
    -------
    ByteArray
        Code blocks, same shape [1].

    Raises
    ------
    ValueError
        There is no sequence of that name.
    """
    return blocks ^ sequence(blocks.shape[-1], name)
