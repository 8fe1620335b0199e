"""Cyclic redundancy check of CCSDS frames (732.0-B 4.1.6) and packets: CRC-16, x^16 + x^12 + x^5 + 1, all ones."""

import numpy as np

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import _kernels


def crc16(octets: bytes) -> int:
    """Checksum of one message.

    Parameters
    ----------
    octets : bytes
        Message without checksum.

    Returns
    -------
    int
        Checksum [1].
    """
    residues = np.zeros(1, dtype=np.int64)
    bounds = np.array([0, len(octets)], dtype=np.int64)
    _kernels.crc16_residues(np.frombuffer(octets, dtype=np.uint8), bounds[:1], bounds[1:], residues)
    return int(residues[0])


def passes(octets: ByteArray, *, starts: IntArray, lengths: IntArray) -> BoolArray:
    """Tell which slices end in their own checksum.

    Parameters
    ----------
    octets : ByteArray
        All octets [1].
    starts, lengths : IntArray
        First octet and length of every slice, checksum included, shape (slice,) [1].

    Returns
    -------
    BoolArray
        True where the checksum agrees, shape (slice,).
    """
    residues = np.zeros(starts.size, dtype=np.int64)
    _kernels.crc16_residues(octets, starts.astype(np.int64), lengths.astype(np.int64), residues)
    return np.equal(residues, 0)


def frames_pass(frames: ByteArray) -> BoolArray:
    """Tell which frames end in their own checksum.

    Parameters
    ----------
    frames : ByteArray
        Frames, shape (frame, octet) [1].

    Returns
    -------
    BoolArray
        True where the checksum agrees, shape (frame,).
    """
    count, length = frames.shape
    starts = np.arange(count, dtype=np.int64) * length
    return passes(np.ascontiguousarray(frames).reshape(-1), starts=starts, lengths=np.full(count, length))
