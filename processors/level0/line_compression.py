"""Lossless coding of image lines: CCSDS 121.0-B-3 with the parameters of docs/packets.md.

Counts of 12 bits, unit-delay predictor, blocks of 16 samples, one reference sample per line of 2048 pixels, basic set
of code options, zero bits to the next octet.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import ByteArray, IntArray
from processors.level0 import _rice_kernels as _kernels
from processors.level0 import layouts

Counts = npt.NDArray[np.uint16]

BITS = 12
"""Bits of a count [1]."""

DECODED = _kernels.DECODED
"""The line is whole."""
TRUNCATED = _kernels.TRUNCATED
"""The stream ends before the line does."""
TRAILING = _kernels.TRAILING
"""Octets or set bits are left over after the line."""
IMPOSSIBLE = _kernels.IMPOSSIBLE
"""A count would leave its range, or a run of zero blocks its segment."""


class DecodedLines(NamedTuple):
    """Counts of compressed lines.

    Attributes
    ----------
    counts : ndarray of uint16
        Counts, zero where the line could not be decoded, shape (line, pixel) [1].
    status : IntArray
        DECODED, TRUNCATED, TRAILING or IMPOSSIBLE, shape (line,) [1].
    """

    counts: Counts
    status: IntArray


def counts_from_octets(
    octets: ByteArray, *, start: IntArray, stop: IntArray, pixels: int = layouts.PIXELS
) -> DecodedLines:
    """Decode compressed lines (CCSDS 121.0-B-3); what cannot be decoded costs its own line only.

    Parameters
    ----------
    octets : ByteArray
        Octets that hold the streams, shape (octet,) [1].
    start, stop : IntArray
        First octet of the stream of every line, and the one after its last, shape (line,) [1].
    pixels : int
        Counts of a line, a multiple of 16 [1].

    Returns
    -------
    DecodedLines
        Counts and outcome.

    Raises
    ------
    ValueError
        The pixels are no multiple of the block, or a stream lies outside the octets.
    """
    if pixels % layouts.COMPRESSION_BLOCK:
        raise ValueError(f"a line has a multiple of {layouts.COMPRESSION_BLOCK} pixels, not {pixels}")
    if start.size and (start.min() < 0 or stop.max() > octets.size or np.any(stop < start)):
        raise ValueError("a stream lies outside the octets")
    counts = np.zeros((start.size, pixels), dtype=np.uint16)
    status = np.zeros(start.size, dtype=np.int64)
    coding = (BITS, layouts.COMPRESSION_BLOCK, layouts.COMPRESSION_REFERENCE_INTERVAL)
    # a cast makes octets of a frozen buffer writable in type, so that one compiled version serves all callers
    _kernels.decode_lines(
        np.array(octets, dtype=np.uint8), start.astype(np.int64), stop.astype(np.int64), counts, status, *coding
    )
    return DecodedLines(counts, status)


def octets_from_counts(counts: Counts) -> ByteArray:
    """Compress one line: the inverse of `counts_from_octets`.

    Parameters
    ----------
    counts : ndarray of uint16
        Counts below 4096, a multiple of 16 of them, shape (pixel,) [1].

    Returns
    -------
    ByteArray
        The coded data set, padded with zero bits to whole octets [1].

    Raises
    ------
    ValueError
        A count needs more than 12 bits, or their number is no multiple of the block.
    """
    if counts.size % layouts.COMPRESSION_BLOCK:
        raise ValueError(f"a line has a multiple of {layouts.COMPRESSION_BLOCK} pixels, not {counts.size}")
    if counts.size and int(counts.max()) >> BITS:
        raise ValueError("a count needs more than 12 bits")
    room = np.zeros(2 * counts.size + 16, dtype=np.uint8)
    coding = (BITS, layouts.COMPRESSION_BLOCK, layouts.COMPRESSION_REFERENCE_INTERVAL)
    used = _kernels.encode(np.array(counts, dtype=np.uint16), room, *coding)
    return room[:used]
