"""Pseudo-randomisation of code blocks (CCSDS 131.0-B, section 10)."""

import functools

import numpy as np

from processors.arrays import ByteArray

PERIOD = 255
"""Length of the sequence, in bits and so also in octets."""


@functools.cache
def _period() -> ByteArray:
    """One period of h(x) = x^8 + x^7 + x^5 + x^3 + 1 from the all-ones state, as octets."""
    bits = [1] * 8
    while len(bits) < 8 * PERIOD:
        bits.append(bits[-8] ^ bits[-5] ^ bits[-3] ^ bits[-1])
    sequence = np.packbits(np.array(bits, dtype=np.uint8))
    sequence.flags.writeable = False
    return sequence


def sequence(length: int) -> ByteArray:
    """Pseudo-random octets that start with every code block.

    Parameters
    ----------
    length : int
        Octets wanted [1].

    Returns
    -------
    ByteArray
        Octets, shape (length,) [1].
    """
    return np.resize(_period(), length)


def randomize(blocks: ByteArray) -> ByteArray:
    """Apply or remove the sequence: the operation is its own inverse.

    Parameters
    ----------
    blocks : ByteArray
        Code blocks without marker, shape (block, octet) [1].

    Returns
    -------
    ByteArray
        Code blocks, same shape [1].
    """
    return blocks ^ sequence(blocks.shape[-1])
