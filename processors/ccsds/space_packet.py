"""Space packets (CCSDS 133.0-B): headers, reassembly from packet zones, and the account of their counters."""

from dataclasses import dataclass
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
        out = np.empty(int(self.length.sum()), dtype=np.uint8)
        _kernels.gather(np.ascontiguousarray(self.octets), self.start, self.length, out)
        return out.tobytes()


class Reassembly(NamedTuple):
    """Packets found in packet zones.

    packets : the complete ones;
    breaks : interruptions met before each of them: frames lost, pointers that disagreed, impossible headers [1];
    partial : packets that began and never ended [1];
    malformed : headers and pointers that cannot be right [1];
    reached : octets up to the end of the last complete packet, or -1 where synchronisation was lost [1].
    """

    packets: PacketTable
    breaks: IntArray
    partial: int
    malformed: int
    reached: int


@dataclass
class ReaderAccount:
    """Where the octets of the packet zones went.

    Parameters
    ----------
    octets, packet_octets, dropped_octets : int
        Octets of zones read, of complete packets, and in no complete packet [1].
    partial, malformed : int
        Packets without their end, and impossible headers and pointers [1].
    pointers_checked, pointers_disagreed : int
        First header pointers compared with a packet that was open, and those that contradicted it [1].
    """

    octets: int = 0
    packet_octets: int = 0
    dropped_octets: int = 0
    partial: int = 0
    malformed: int = 0
    pointers_checked: int = 0
    pointers_disagreed: int = 0


class PacketReader:
    """Packets of a channel whose frames come in stretches; a packet never spans a lost frame.

    The first header pointer of every frame is checked against the packet that is still open (CCSDS 732.0-B
    4.1.4.2.2): where they disagree the open packet is dropped and reading resumes at the pointer. How the frames are
    cut into stretches changes nothing.

    Parameters
    ----------
    longest : int
        Longest packet that can be meant [1, octets].
    """

    def __init__(self, *, longest: int = LONGEST) -> None:
        self.account = ReaderAccount()
        self._longest = longest
        self._open = np.zeros(0, dtype=np.uint8)
        self._synchronized = False
        self._tally = np.zeros(6, dtype=np.int64)
        self._density = 0.0

    def feed(self, zones: ByteArray, *, pointers: IntArray, continues: BoolArray) -> Reassembly:
        """Packets that end in another stretch of frames.

        Parameters
        ----------
        zones : ByteArray
            Packet zones in order, shape (frame, octet) [1].
        pointers : IntArray
            First header pointers, shape (frame,) [1].
        continues : BoolArray
            False where the frame before was lost, shape (frame,).

        Returns
        -------
        Reassembly
            The packets, and what was dropped in this stretch.
        """
        octets = np.empty(self._open.size + zones.size, dtype=np.uint8)
        octets[: self._open.size] = self._open
        octets[self._open.size :].reshape(zones.shape)[:] = zones
        before = self._tally.copy()
        room = int(self._density * octets.size * 1.25) + 64
        for _ in range(
            2
        ):  # room for the most packets possible would dwarf the zones: guess, and count once more if short
            self._tally[:] = before
            start, length, breaks = (np.zeros(room, dtype=np.int64) for _ in range(3))
            room, position = _kernels.walk_packets(
                octets,
                self._open.size,
                self._synchronized,
                pointers.astype(np.int64),
                continues,
                zones.shape[1],
                self._longest,
                start,
                length,
                breaks,
                self._tally,
            )
            if room <= start.size:
                break
        start, length, breaks = start[:room], length[:room], breaks[:room]
        self._density = room / max(octets.size, 1)
        self._synchronized = position >= 0
        self._open = octets[position:].copy() if position >= 0 else octets[:0]
        found = self._tally - before
        self._count(zones.size, int(length.sum()), found)
        return Reassembly(_table(octets, start, length), breaks, int(found[0]), int(found[1]), position)

    @property
    def open_octets(self) -> int:
        """Octets held of the packet that is open."""
        return self._open.size

    @property
    def open_packet(self) -> PacketTable:
        """What is held of the packet that is open, as a table of at most one packet, cut where the octets end."""
        begun = np.zeros(int(self._open.size >= HEADER), dtype=np.int64)
        return _table(self._open, begun, begun + self._open.size)

    def finish(self) -> int:
        """End of the channel: what is open stays without its end.

        Returns
        -------
        int
            Packets that began and never ended, 0 or 1 [1].
        """
        return self._drop_open()

    def _drop_open(self) -> int:
        began = int(self._open.size > 0)
        self.account.partial += began
        self.account.dropped_octets += self._open.size
        self._open = self._open[:0]
        self._synchronized = False
        return began

    def _count(self, octets: int, packet_octets: int, found: IntArray) -> None:
        account = self.account
        account.octets += octets
        account.packet_octets += packet_octets
        account.partial += int(found[0])
        account.malformed += int(found[1])
        account.dropped_octets += int(found[2])
        account.pointers_checked += int(found[3])
        account.pointers_disagreed += int(found[4])


def reassemble(zones: ByteArray, *, pointers: IntArray, continues: BoolArray, longest: int = LONGEST) -> Reassembly:
    """Cut packet zones of consecutive frames into packets, all at once.

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
    reader = PacketReader(longest=longest)
    found = reader.feed(zones, pointers=pointers, continues=continues)
    return found._replace(partial=found.partial + reader.finish())


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


def table(octets: ByteArray, length: IntArray) -> PacketTable:
    """Table of packets stored back to back whose lengths are known.

    Parameters
    ----------
    octets : ByteArray
        The packets, shape (octet,) [1].
    length : IntArray
        Length of each, shape (packet,) [1].

    Returns
    -------
    PacketTable
        The table.
    """
    return _table(octets, np.cumsum(length) - length, length)


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
