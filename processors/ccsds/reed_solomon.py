"""Reed-Solomon codes (255,223) and (255,239) of CCSDS 131.0-B, section 4: encoding and correction of code blocks."""

import functools
from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray
from processors.ccsds import _reed_solomon_kernels as _kernels
from processors.ccsds import link
from processors.ccsds import randomizer as randomization

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


class _Tables(NamedTuple):
    """What the kernels look up for one code."""

    step: _kernels.Words
    syndromes: _kernels.Words
    values_at: _kernels.Words
    unit: ByteArray


@functools.cache
def _values_at() -> _kernels.Words:
    return _kernels.value_table()


@functools.cache
def _step(e: int, basis: str) -> _kernels.Words:
    return _kernels.step_table(e, *_tables(basis))


@functools.cache
def _code_tables(e: int, basis: str) -> _Tables:
    syndromes = _kernels.syndrome_table(e, _tables(basis)[0])
    return _Tables(_step(e, basis), syndromes, _values_at(), _kernels.unit_table(e))


@functools.cache
def _offsets(code: link.ReedSolomon, sequence: bytes) -> _kernels.Words:
    """Differences between the check symbols of the randomizer sequence and its own, as if it were a code block."""
    block = np.frombuffer(sequence, dtype=np.uint8).copy()
    offsets = np.zeros((code.interleave, _kernels.WORDS), dtype=np.uint64)
    for c, register in enumerate(offsets):
        _kernels.difference(block, c, code.interleave, 2 * code.e, _step(code.e, code.basis), register)
    return offsets


def _checked(octets: ByteArray, length: int) -> ByteArray:
    """Contiguous, writable octets as the kernels are compiled for, copied only where they are not."""
    if octets.ndim != 2 or octets.shape[1] != length:
        raise ValueError(f"octets of shape {octets.shape} where rows of {length} are coded")
    return np.require(octets, dtype=np.uint8, requirements=["C", "W"])


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
        Code blocks, shape (frame, octet + 2 E interleave) [1].

    Raises
    ------
    ValueError
        The frames have another length than the code.
    """
    frames = _checked(frames, code.data_length)
    blocks = np.empty((len(frames), code.data_length + code.parity_length), dtype=np.uint8)
    _kernels.encode_blocks(frames, blocks, code.interleave, 2 * code.e, _step(code.e, code.basis))
    return blocks


def correct(blocks: ByteArray, *, code: link.ReedSolomon, randomizer: str = "none") -> Correction:
    """Undo the randomisation and correct up to E wrong symbols in every codeword.

    A codeword without errors is recognised by its check symbols, which are those its message asks for. In the others
    a single error is read off the ratio of the syndromes; more go through Berlekamp-Massey, a search for roots at all
    positions at once and Forney's formula, and count as corrected only where they leave no syndrome. An error in the
    virtual fill is none that can have happened, so the codeword is not corrected. Of a frame with a codeword beyond
    correction the octets are returned as received.

    Parameters
    ----------
    blocks : ByteArray
        Code blocks without marker, shape (block, octet) [1].
    code : ReedSolomon
        The code.
    randomizer : str
        Sequence the blocks are still randomised with: `ccsds`, `ccsds17` or `none`.

    Returns
    -------
    Correction
        Frames and what was corrected.

    Raises
    ------
    ValueError
        The blocks have another length than the code, or there is no such randomizer.
    """
    blocks = _checked(blocks, code.data_length + code.parity_length)
    sequence = randomization.sequence(blocks.shape[1], randomizer)
    frames = np.empty((len(blocks), code.data_length), dtype=np.uint8)
    corrected = np.empty((len(blocks), code.interleave), dtype=np.int16)
    _kernels.correct_blocks(
        blocks,
        frames,
        corrected,
        sequence,
        _offsets(code, sequence.tobytes()),
        code.virtual_fill,
        2 * code.e,
        _tables(code.basis)[1],
        *_code_tables(code.e, code.basis),
    )
    return Correction(frames, corrected)
