"""Space packets (CCSDS 133.0-B): headers, reassembly from packet zones, and the account of their counters."""

from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import _kernels, checksum

HEADER = 6
IDLE_APID = 0x7FF
LONGEST = 65542
SEQUENCE_MODULUS = 1 << 14
UNSEGMENTED = 3


class PacketTable(NamedTuple):
    """Packets as slices of octets, in order; each field of shape (packet,) unless said otherwise.

    octets : what the slices refer to, shape (octet,) [1];
    start, length : the slice, header included [1];
    apid, sequence : from the header [1].
    """

    octets: ByteArray
    start: IntArray
    length: IntArray
    apid: IntArray
    sequence: IntArray

    def selected(self, keep: BoolArray) -> "PacketTable":
        """Table of the packets for which keep is true."""
        return PacketTable(self.octets, *(column[keep] for column in self[1:]))

    def content(self) -> bytes:
        """Packets back to back."""
        view = np.ascontiguousarray(self.octets).data
        ends = (self.start + self.length).tolist()
        return b"".join([view[first:end] for first, end in zip(self.start.tolist(), ends, strict=True)])


class Reassembly(NamedTuple):
    """Packets found in packet zones.

    packets : the complete ones;
    partial : packets that began and never ended [1];
    malformed : headers and pointers that cannot be right [1];
    reached : octets up to the end of the last complete packet, or -1 where synchronisation was lost [1].
    """

    packets: PacketTable
    partial: int
    malformed: int
    reached: int


def reassemble(zones: ByteArray, *, pointers: IntArray, continues: BoolArray, longest: int = LONGEST) -> Reassembly:
    """Cut packet zones of consecutive frames into packets; a packet never spans a lost frame.

    The first header pointer of every frame is checked against the packet that is still open (CCSDS 732.0-B
    4.1.4.2.2): where they disagree the open packet is dropped and reading resumes at the pointer.

    Parameters
    ----------
    zones : ByteArray
        Packet zones in order, shape (frame, octet) [1].
    pointers : IntArray
        First header pointers, shape (frame,) [1].
    continues : BoolArray
        False where the frame before was lost, shape (frame,).
    longest : int
        Longest packet that can be meant [1, octets].

    Returns
    -------
    Reassembly
        The packets and what was dropped.
    """
    octets = np.ascontiguousarray(zones).reshape(-1)
    dropped = np.zeros(2, dtype=np.int64)
    start = length = np.zeros(0, dtype=np.int64)
    reached = -1
    for _ in range(2):  # the first walk only counts: room for the most packets possible would dwarf the zones
        dropped[:] = 0
        count, reached = _kernels.walk_packets(
            octets, pointers.astype(np.int64), continues, zones.shape[1], longest, start, length, dropped
        )
        if count == start.size:
            break
        start, length = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    return Reassembly(_table(octets, start, length), int(dropped[0]), int(dropped[1]), reached)


def packets_from_octets(octets: ByteArray) -> Reassembly:
    """Cut packets stored back to back.

    Parameters
    ----------
    octets : ByteArray
        The packets, shape (octet,) [1].

    Returns
    -------
    Reassembly
        The packets up to the first header that cannot be right, and what was dropped.
    """
    return reassemble(octets.reshape(1, -1), pointers=np.zeros(1, dtype=np.int64), continues=np.ones(1, dtype=np.bool_))


def _table(octets: ByteArray, start: IntArray, length: IntArray) -> PacketTable:
    apid = (octets[start].astype(np.int64) & 0x7) << 8 | octets[start + 1]
    sequence = (octets[start + 2].astype(np.int64) & 0x3F) << 8 | octets[start + 3]
    return PacketTable(octets, start, length, apid, sequence)


def checked(packets: PacketTable) -> BoolArray:
    """Tell which packets pass their packet error control; idle packets carry none and pass.

    Parameters
    ----------
    packets : PacketTable
        The packets.

    Returns
    -------
    BoolArray
        True where the packet may be used, shape (packet,).
    """
    agrees = checksum.passes(packets.octets, starts=packets.start, lengths=packets.length)
    return agrees | np.equal(packets.apid, IDLE_APID)


def missing_between(sequence: IntArray) -> int:
    """Packets missing between the first and the last, by their 14-bit counter (CCSDS 133.0-B 4.1.3.4).

    A repeated counter is no loss; a loss of a whole multiple of 16384 packets cannot be seen here.

    Parameters
    ----------
    sequence : IntArray
        Counters of one APID in order, shape (packet,) [1].

    Returns
    -------
    int
        Missing packets [1].
    """
    steps = np.diff(sequence) % SEQUENCE_MODULUS
    return int(np.sum(steps[steps > 0] - 1))


def encode(data: bytes, *, apid: int, sequence: int, secondary_header: bool = True, flags: int = UNSEGMENTED) -> bytes:
    """Prefix the primary header of a telemetry packet (CCSDS 133.0-B 4.1.3).

    Parameters
    ----------
    data : bytes
        Packet data field, at least one octet.
    apid : int
        Application process identifier [1].
    sequence : int
        Unwrapped sequence count [1].
    secondary_header : bool
        Whether the data begin with a secondary header.
    flags : int
        Sequence flags [1].

    Returns
    -------
    bytes
        The packet.

    Raises
    ------
    ValueError
        The data field is empty or longer than 65536 octets.
    """
    if not 1 <= len(data) <= LONGEST - HEADER:
        raise ValueError(f"a packet data field has 1 to 65536 octets, not {len(data)}")
    first = int(secondary_header) << 11 | apid
    second = flags << 14 | sequence % SEQUENCE_MODULUS
    return b"".join(word.to_bytes(2, "big") for word in (first, second, len(data) - 1)) + data


def idle(length: int) -> bytes:
    """Idle packet of a given length.

    Parameters
    ----------
    length : int
        Octets, at least seven [1].

    Returns
    -------
    bytes
        The packet.
    """
    return encode(b"\x55" * (length - HEADER), apid=IDLE_APID, sequence=0, secondary_header=False)
