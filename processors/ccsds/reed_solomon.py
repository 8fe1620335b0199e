"""Reed-Solomon (255,223) code of CCSDS 131.0-B, section 4: encoding and correction of code blocks."""

import functools
from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray
from processors.ccsds import _kernels, link

# CCSDS 131.0-B, annex on the Berlekamp representation: the row of u7 first, each with z0 as its highest bit
_DUAL_ROWS = (0x8D, 0xEF, 0xEC, 0x86, 0xFA, 0x99, 0xAF, 0x7B)


class Correction(NamedTuple):
    """Code blocks after correction.

    frames : transfer frames without parity, shape (block, octet) [1];
    corrected : wrong symbols found in each codeword, -1 where it cannot be corrected, shape (block, codeword) [1].
    """

    frames: ByteArray
    corrected: np.ndarray[tuple[int, ...], np.dtype[np.int16]]


def _identity() -> ByteArray:
    return np.arange(256, dtype=np.uint8)


@functools.cache
def dual_from_conventional() -> ByteArray:
    """Dual-basis representation of each field element (CCSDS 131.0-B, annex on the Berlekamp representation).

    Returns
    -------
    ByteArray
        Table, shape (256,) [1].
    """
    table = np.zeros(256, dtype=np.uint8)
    for bit, row in enumerate(_DUAL_ROWS):
        table[(_identity() >> (7 - bit)) & 1 == 1] ^= np.uint8(row)
    return table


@functools.cache
def conventional_from_dual() -> ByteArray:
    """Conventional representation of each dual-basis symbol: the inverse of the table above.

    Returns
    -------
    ByteArray
        Table, shape (256,) [1].
    """
    table = np.zeros(256, dtype=np.uint8)
    table[dual_from_conventional()] = _identity()
    return table


def _tables(basis: str) -> tuple[ByteArray, ByteArray]:
    if basis == "dual":
        return conventional_from_dual(), dual_from_conventional()
    return _identity(), _identity()


@functools.cache
def _syndrome_table(basis: str) -> _kernels.SyndromeTable:
    return _kernels.syndrome_table(_tables(basis)[0])


def encode(frames: ByteArray, *, code: link.ReedSolomon) -> ByteArray:
    """Append the check symbols.

    Parameters
    ----------
    frames : ByteArray
        Transfer frames, shape (frame, octet) [1].
    code : ReedSolomon
        The code.

    Returns
    -------
    ByteArray
        Code blocks, shape (frame, octet + 32 interleave) [1].
    """
    blocks = np.empty((len(frames), code.data_length + code.parity_length), dtype=np.uint8)
    _kernels.encode_blocks(np.ascontiguousarray(frames), blocks, code.interleave, *_tables(code.basis))
    return blocks


def correct(blocks: ByteArray, *, code: link.ReedSolomon) -> Correction:
    """Correct up to 16 wrong symbols in every codeword.

    Clean codewords are recognised by their syndromes alone; the others go through Berlekamp-Massey, Chien and Forney,
    and count as corrected only where the syndromes then vanish.

    Parameters
    ----------
    blocks : ByteArray
        Code blocks without marker, derandomised, shape (block, octet) [1].
    code : ReedSolomon
        The code.

    Returns
    -------
    Correction
        Frames and what was corrected.
    """
    repaired = np.array(blocks, order="C")
    corrected = np.zeros((len(blocks), code.interleave), dtype=np.int16)
    table = _syndrome_table(code.basis)
    _kernels.correct_blocks(repaired, code.interleave, code.virtual_fill, table, _tables(code.basis)[1], corrected)
    return Correction(repaired[:, : code.data_length], corrected)
