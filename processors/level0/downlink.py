"""Recordings of a downlink to space packets, with an account of every octet, frame and packet.

Frames of all recordings are kept on disk by channel, merged into one sequence and only then cut into packets: memory
holds a stretch of a recording and a block of a channel, however long they are.
"""

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from processors import quality
from processors.arrays import ByteArray, IntArray
from processors.ccsds import link as spacelink
from processors.ccsds import space_packet, transfer_frame
from processors.level0 import (
    completeness,
    frame_decoder,
    frame_epochs,
    frame_merge,
    frame_store,
    packet_account,
    packet_merge,
)

LinkMismatchError = frame_decoder.LinkMismatchError
STRETCH = 8 << 20
"""Octets of a recording that are decoded at a time."""
NO_PACKETS = "most frames contradict the packets read from them: no packets, or a wrong layout of the frame"
FRAME_COUNTS = (
    "received",
    "accepted",
    "uncorrectable",
    "check_failed",
    "foreign",
    "invalid",
    "duplicate",
    "conflict",
    "corrected",
    "idle",
)


class EmptyStreamError(quality.BadInputError):
    """A recording holds nothing."""

    def __init__(self, message: str) -> None:
        super().__init__("empty_stream", message)


class PacketChannel(NamedTuple):
    """Source of packets: spacecraft, virtual channel and application process [1]."""

    scid: int
    vcid: int
    apid: int


class Downlink(NamedTuple):
    """Result of a decode.

    packets : space packets of each source back to back, in order, idle packets left out;
    completeness : account of what arrived, plain values ready for JSON.
    """

    packets: dict[PacketChannel, bytes]
    completeness: dict[str, Any]


class Recording(NamedTuple):
    """One recording: what it is called in reports, and its octets in stretches of any size."""

    name: str
    stretches: Iterable[ByteArray]


class Sink(Protocol):
    """Where the products of a decode go, stretch by stretch."""

    def add_packets(self, channel: PacketChannel, content: bytes) -> None:
        """Take the next packets of a source, back to back."""

    def add_rejected(self, fate: str, content: bytes) -> None:
        """Take frames or packets that failed a check, as received, back to back; fate says which and why."""

    def add_channel(
        self, name: frame_store.ChannelName, segments: list[frame_epochs.Segment], link: spacelink.Link
    ) -> None:
        """Take the frames of a channel that carries packets, before they are merged."""

    def add_fragments(self, fragments: frame_decoder.Fragments) -> None:
        """Take the pieces of frames at the ends of a recording."""


class DiscardingSink:
    """Sink that keeps nothing; others keep what they are for."""

    def add_packets(self, channel: PacketChannel, content: bytes) -> None:
        """Take the next packets of a source."""

    def add_rejected(self, fate: str, content: bytes) -> None:
        """Take what failed a check."""

    def add_channel(
        self, name: frame_store.ChannelName, segments: list[frame_epochs.Segment], link: spacelink.Link
    ) -> None:
        """Take the frames of a channel that carries packets."""

    def add_fragments(self, fragments: frame_decoder.Fragments) -> None:
        """Take the pieces of frames at the ends of a recording."""


class MemorySink(DiscardingSink):
    """Sink that holds everything."""

    def __init__(self) -> None:
        self._packets: dict[PacketChannel, list[bytes]] = {}
        self._rejected: dict[str, list[bytes]] = {}

    def add_packets(self, channel: PacketChannel, content: bytes) -> None:
        """Take the next packets of a source."""
        self._packets.setdefault(channel, []).append(content)

    def add_rejected(self, fate: str, content: bytes) -> None:
        """Take what failed a check."""
        self._rejected.setdefault(fate, []).append(content)

    def packets(self) -> dict[PacketChannel, bytes]:
        """Packets by source, in the order of the sources."""
        return {channel: b"".join(parts) for channel, parts in sorted(self._packets.items())}

    def rejected(self) -> dict[str, bytes]:
        """Frames and packets that failed a check, by fate."""
        return {fate: b"".join(parts) for fate, parts in sorted(self._rejected.items())}


def decode(streams: Sequence[bytes | memoryview], *, link: spacelink.Link) -> Downlink:
    """Decode and merge recordings of one link that fit into memory.

    Parameters
    ----------
    streams : sequence of bytes
        One recording per station or pass; their order does not matter.
    link : Link
        Description of the link.

    Returns
    -------
    Downlink
        Packets and completeness.

    Raises
    ------
    EmptyStreamError
        Every recording is empty, or there is none.
    LinkMismatchError
        No recording can be of this link.
    """
    recordings = [Recording(f"recording {number}", stretches(stream)) for number, stream in enumerate(streams, start=1)]
    sink = MemorySink()
    account = decode_into(sink, recordings, link=link)
    return Downlink(sink.packets(), account)


def stretches(stream: bytes | memoryview) -> Iterator[ByteArray]:
    """Octets in memory as the stretches a decode takes.

    Parameters
    ----------
    stream : bytes
        The octets.

    Yields
    ------
    ByteArray
        Consecutive stretches, shape (octet,) [1].
    """
    octets = np.frombuffer(stream, dtype=np.uint8)
    for first in range(0, octets.size, STRETCH):
        yield octets[first : first + STRETCH]


def decode_into(
    sink: Sink, recordings: Sequence[Recording], *, link: spacelink.Link, folder: Path | None = None
) -> dict[str, Any]:
    """Decode and merge recordings of any size.

    A recording that cannot be decoded costs the others nothing: it is named with its reason under `failed`.

    Parameters
    ----------
    sink : Sink
        Takes packets and what was rejected.
    recordings : sequence of Recording
        One per station or pass; their order does not matter.
    link : Link
        Description of the link.
    folder : Path, optional
        Where the frames are kept meanwhile: about the size of the recordings; the system's folder for temporary files
        where left out.

    Returns
    -------
    dict
        The account of what arrived, plain values ready for JSON.

    Raises
    ------
    BadInputError
        No recording can be decoded; the reason is that of the first.
    """
    if not recordings:
        raise EmptyStreamError(f"link {link.name}: no recording, and so without a single octet")
    account = _Account(link)
    if link.stream == "packets":
        _decode_packets(recordings, link, account, sink)
        return account.document()
    with tempfile.TemporaryDirectory(prefix="frames-", dir=folder) as place:
        store = frame_store.FrameStore(Path(place), frame_length=link.layout.length)
        _decode_frames(recordings, link, account, store, sink)
        for name in store.channels():
            segments = store.segments(name)
            if link.role(name.vcid) == "packets":
                sink.add_channel(name, segments, link)
            _read_channel(name, segments, link, account, sink)
    return account.document()


@dataclass
class _Account:
    """Running counts of octets, frames and packets."""

    link: spacelink.Link
    octets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("in", "frames", "junk", "tail"), 0))
    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FRAME_COUNTS, 0))
    corrected_symbols: int = 0
    drops: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("partial", "malformed", "check_failed"), 0))
    synchronization: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("slips", "inversions", "losses"), 0))
    zones: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("in", "packets", "dropped"), 0))
    channels: list[dict[str, Any]] = field(default_factory=list)
    counters: list[dict[str, Any]] = field(default_factory=list)
    packets: list[dict[str, Any]] = field(default_factory=list)
    suspect: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def add_recording(self, decoder: frame_decoder.FrameDecoder) -> None:
        """Count the octets and rejected frames of a recording."""
        found = decoder.synchronization
        self.octets["in"] += found.octets
        self.octets["frames"] += found.frame_octets
        self.octets["junk"] += found.junk_octets
        self.octets["tail"] += found.tail_octets
        for name in self.synchronization:
            self.synchronization[name] += getattr(found, name)
        for name, count in decoder.counts.items():
            self.frames[name] += count

    def add_channel(self, name: frame_store.ChannelName, merge: frame_merge.MergeAccount, *, idle: bool) -> None:
        """Count the merged frames of a channel."""
        self.frames["accepted"] += merge.frames
        self.frames["duplicate"] += merge.duplicates
        self.frames["conflict"] += merge.conflicts
        self.frames["invalid"] += merge.strays
        self.frames["corrected"] += merge.corrected
        self.frames["idle"] += merge.frames if idle else 0
        self.corrected_symbols += merge.corrected_symbols
        gaps = [completeness.gaps(held) for held in merge.held]
        self.channels.append(
            {
                "scid": name.scid,
                "vcid": name.vcid,
                "frames": merge.frames,
                "missing": sum(completeness.size(some) for some in gaps),
                "gaps": [gap for some in gaps for gap in some.tolist()],
            }
        )
        held = [intervals.tolist() for intervals in merge.held]
        self.counters.append({"scid": name.scid, "vcid": name.vcid, "held": held, "frozen": merge.frozen})

    def add_zones(self, reader: space_packet.ReaderAccount, *, trusted: bool) -> None:
        """Count the octets of packet zones."""
        self.zones["in"] += reader.octets
        self.zones["packets"] += reader.packet_octets if trusted else 0
        self.zones["dropped"] += reader.dropped_octets + (0 if trusted else reader.packet_octets)
        self.drops["partial"] += reader.partial
        self.drops["malformed"] += reader.malformed

    def document(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "link": self.link.name,
            "bytes": self.octets,
            "frames": self.frames,
            "corrected_symbols": self.corrected_symbols,
            "virtual_channels": self.channels,
            "packets": self.packets,
            "packets_dropped": self.drops,
            "synchronization": self.synchronization,
            "zone_bytes": self.zones,
            "counters": self.counters,
            "suspect": self.suspect,
            "failed": self.failed,
        }


def _decode_frames(
    recordings: Sequence[Recording],
    link: spacelink.Link,
    account: _Account,
    store: frame_store.FrameStore,
    sink: Sink,
) -> None:
    decoders: dict[int, frame_decoder.FrameDecoder] = {}
    first_error: quality.BadInputError | None = None
    for number, recording in enumerate(recordings):
        decoder = frame_decoder.FrameDecoder(link)
        try:
            _decode_recording(recording, number, decoder, store, sink)
        except quality.BadInputError as error:
            store.discard(number)
            first_error = first_error or error
            account.failed.append({"recording": recording.name, "reason": str(error)})
            continue
        decoders[number] = decoder
        account.add_recording(decoder)
    if not decoders and first_error is not None:
        raise first_error
    _splice(decoders, link, account, store)


def _decode_recording(
    recording: Recording, number: int, decoder: frame_decoder.FrameDecoder, store: frame_store.FrameStore, sink: Sink
) -> None:
    for stretch in recording.stretches:
        _keep(decoder.feed(stretch), number, store, sink)
    if decoder.synchronization.octets == 0:
        raise EmptyStreamError(f"{recording.name}: a recording without a single octet")
    _keep(decoder.finish(), number, store, sink)
    sink.add_fragments(decoder.fragments)


def _keep(decoded: frame_decoder.DecodedFrames, number: int, store: frame_store.FrameStore, sink: Sink) -> None:
    for fate, frames in decoded.rejected.items():
        sink.add_rejected(f"{fate}.frames", frames.tobytes())
    store.append(decoded.frames, headers=decoded.headers, corrected=decoded.corrected, recording=number)


def store_frames(
    store: frame_store.FrameStore, frames: ByteArray, corrected: IntArray, recording: int, link: spacelink.Link
) -> None:
    """Keep frames that have passed every check before.

    Parameters
    ----------
    store : FrameStore
        Where they are kept.
    frames : ByteArray
        Transfer frames, shape (frame, octet) [1].
    corrected : IntArray
        Symbols corrected in each, shape (frame,) [1].
    recording : int
        Number of the recording they are of [1].
    link : Link
        The link.
    """
    headers = transfer_frame.headers_from_frames(frames, layout=link.layout)
    store.append(frames, headers=headers, corrected=corrected, recording=recording)


def _splice(
    decoders: dict[int, frame_decoder.FrameDecoder],
    link: spacelink.Link,
    account: _Account,
    store: frame_store.FrameStore,
) -> None:
    """Put frames together that lie half at the end of one recording and half at the begin of another.

    A pass that arrives in pieces is cut anywhere. Two halves make a frame where their lengths add up to one and the
    code, the check or, without either, the header agrees.
    """
    used: set[int] = set()
    for first, second in itertools.permutations(decoders, 2):
        spliced = frame_decoder.splice(decoders[first].fragments, decoders[second].fragments, link)
        if spliced is None:
            continue
        store.append(spliced.frames, headers=spliced.headers, corrected=spliced.corrected, recording=first)
        account.frames["received"] += 1
        # of a piece that came twice the other copy is left over: its octets stay where they were counted
        if first in used or -second - 1 in used:
            continue
        used |= {first, -second - 1}
        tail, head = decoders[first].synchronization.tail_octets, decoders[second].fragments.head_bits // 8
        account.octets["frames"] += tail + head
        account.octets["tail"] -= tail
        account.octets["junk"] -= head


def _read_channel(
    name: frame_store.ChannelName,
    segments: list[frame_epochs.Segment],
    link: spacelink.Link,
    account: _Account,
    sink: Sink,
) -> None:
    """Merge the frames of a channel and cut them into packets."""
    idle = link.role(name.vcid) == "idle"
    merge = frame_merge.MergeAccount()
    reader = ChannelReader(link)
    counts = _PacketCounts(name)
    for block in frame_merge.merged(segments, account=merge, idle=idle, checked=link.checks_frames):
        if len(block.conflicting):
            sink.add_rejected("conflict.frames", block.conflicting.tobytes())
        for run in reader.feed(block):
            counts.add(run.found.packets, link, sink)
    for run in reader.finish():
        counts.add(run.found.packets, link, sink)
    account.add_channel(name, merge, idle=idle)
    account.add_zones(reader.account, trusted=not reader.suspect)
    if reader.suspect:
        account.suspect.append({"scid": name.scid, "vcid": name.vcid, "reason": NO_PACKETS})
    account.drops["check_failed"] += counts.check_failed
    account.packets += counts.rows()


class ChannelReader:
    """Packets of a channel, once enough of its frames have shown that they hold any.

    Parameters
    ----------
    link : Link
        The link.
    """

    def __init__(self, link: spacelink.Link) -> None:
        self.suspect = False
        """Whether the frames hold something else than packets; known once finished."""
        self._link = link
        self._reader = space_packet.PacketReader()
        self._frames = 0
        self._held: list[Run] = []

    @property
    def account(self) -> space_packet.ReaderAccount:
        """Where the octets of the packet zones went."""
        return self._reader.account

    def feed(self, block: frame_merge.Block) -> list["Run"]:
        """Packets that are known to be packets with another block of merged frames.

        Parameters
        ----------
        block : Block
            Merged frames of the channel.

        Returns
        -------
        list of Run
            Packets in order.
        """
        judged = self._frames >= frame_decoder.ZONE_SAMPLE
        if judged and self.suspect:
            return []
        self._frames += len(block.frames)
        self._held += read_block(block, self._reader, self._link)
        if self._frames < frame_decoder.ZONE_SAMPLE:
            return []
        if not judged:
            self.suspect = holds_no_packets(self.account, self._frames)
        return self._taken()

    def finish(self) -> list["Run"]:
        """Packets left at the end of the channel.

        Returns
        -------
        list of Run
            Packets in order.
        """
        if self._frames < frame_decoder.ZONE_SAMPLE:
            self.suspect = holds_no_packets(self.account, self._frames)
        self._reader.finish()
        return self._taken()

    def _taken(self) -> list["Run"]:
        held, self._held = ([] if self.suspect else self._held), []
        return held


def holds_no_packets(reader: space_packet.ReaderAccount, frames: int) -> bool:
    """Tell whether the frames of a channel hold something else than packets, or packets in another place.

    Parameters
    ----------
    reader : ReaderAccount
        What reading them as packets came to.
    frames : int
        Frames read [1].

    Returns
    -------
    bool
        True where most frames contradict the packets read from them: none of these can be trusted.
    """
    return frames >= frame_decoder.ENOUGH_FRAMES and 2 * reader.malformed > frames


class Run(NamedTuple):
    """Frames of a block whose packet zone begins at the same octet: the first, their number, and the packets."""

    first: int
    frames: int
    found: space_packet.Reassembly


def read_block(block: frame_merge.Block, reader: space_packet.PacketReader, link: spacelink.Link) -> Iterator[Run]:
    """Packets that end in a block of merged frames.

    Parameters
    ----------
    block : Block
        Merged frames of one channel.
    reader : PacketReader
        Reader of the channel.
    link : Link
        The link.

    Yields
    ------
    Run
        Packets in order; only a secondary header that changes makes more than one run of a block.
    """
    headers = transfer_frame.headers_from_frames(block.frames, layout=link.layout)
    bounds = np.flatnonzero(np.diff(headers.zone_start, prepend=-1, append=-1))
    for first, end in itertools.pairwise(bounds.tolist()):
        zones = block.frames[first:end, int(headers.zone_start[first]) : link.layout.zone.stop]
        found = reader.feed(zones, pointers=headers.pointer[first:end], continues=block.continues[first:end])
        yield Run(first, end - first, found)


@dataclass
class _PacketCounts:
    """Packets of one channel by application process."""

    name: frame_store.ChannelName
    check_failed: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    def add(self, packets: space_packet.PacketTable, link: spacelink.Link, sink: Sink) -> None:
        """Check, count and hand on packets."""
        if link.packet_check == "crc16":
            packets = self._checked(packets, sink)
        present = np.flatnonzero(np.bincount(packets.apid, minlength=1)).tolist()
        for apid in present:
            table = packets if len(present) == 1 else packets.selected(packets.apid == apid)
            self.counts[apid] = self.counts.get(apid, 0) + table.start.size
            if apid == space_packet.IDLE_APID:
                continue
            sequence = np.r_[self.last.get(apid, table.sequence[0]), table.sequence]
            self.missing[apid] = self.missing.get(apid, 0) + space_packet.missing_between(sequence)
            self.last[apid] = int(table.sequence[-1])
            sink.add_packets(PacketChannel(*self.name, apid), table.content())

    def _checked(self, packets: space_packet.PacketTable, sink: Sink) -> space_packet.PacketTable:
        passed = space_packet.checked(packets)
        if passed.all():
            return packets
        self.check_failed += int(np.sum(~passed))
        sink.add_rejected("check_failed.packets", packets.selected(~passed).content())
        return packets.selected(passed)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each application process."""
        return [
            {
                "scid": self.name.scid,
                "vcid": self.name.vcid,
                "apid": apid,
                "count": count,
                "missing": self.missing.get(apid, 0),
                "idle": apid == space_packet.IDLE_APID,
            }
            for apid, count in sorted(self.counts.items())
        ]


def packet_channel(link: spacelink.Link) -> frame_store.ChannelName:
    """Channel that packets demultiplexed by another system are filed under.

    Parameters
    ----------
    link : Link
        A link of packets.

    Returns
    -------
    ChannelName
        The first spacecraft and virtual channel of the description, 0 where it names none.
    """
    return frame_store.ChannelName(link.spacecraft[0] if link.spacecraft else 0, min(link.virtual_channels, default=0))


def _decode_packets(recordings: Sequence[Recording], link: spacelink.Link, account: _Account, sink: Sink) -> None:
    """Packets that some other system has demultiplexed: one recording as it is, several merged."""
    counts = _PacketCounts(packet_channel(link))
    merging = len(recordings) > 1
    apart = MemorySink()
    tables: list[space_packet.PacketTable] = []
    first_error: quality.BadInputError | None = None
    for recording in recordings:
        try:
            if merging:
                apart = MemorySink()
            _read_packets(recording, link, account, counts, apart if merging else sink)
        except quality.BadInputError as error:
            first_error = first_error or error
            account.failed.append({"recording": recording.name, "reason": str(error)})
            continue
        tables += [_table(content) for content in apart.packets().values()]
    if first_error is not None and len(account.failed) == len(recordings):
        raise first_error
    account.drops["check_failed"] += counts.check_failed
    rows = counts.rows()
    account.packets += _merged_rows(tables, rows, link, sink) if merging else rows


def _table(content: bytes) -> space_packet.PacketTable:
    return space_packet.packets_from_octets(np.frombuffer(content, dtype=np.uint8)).packets


def _merged_rows(
    tables: list[space_packet.PacketTable], rows: list[dict[str, Any]], link: spacelink.Link, sink: Sink
) -> list[dict[str, Any]]:
    """Packets of several recordings in one sequence; idle ones are only counted."""
    name = packet_channel(link)
    channels = [
        packet_merge.ChannelPackets(number % spacelink.VIRTUAL_CHANNELS["aos"], table, np.zeros_like(table.start))
        for number, table in enumerate(tables)
    ]
    merged = packet_merge.merge(channels, packet_time=link.packet_time)
    found = [row for row in rows if row["idle"]]
    for held in packet_account.account(merged):
        sink.add_packets(PacketChannel(*name, held.apid), merged.content(held.apid))
        row = {"scid": name.scid, "vcid": name.vcid, "apid": held.apid, "count": held.count, "missing": held.missing}
        found.append({**row, "idle": False})
    return sorted(found, key=lambda row: int(row["apid"]))


def _read_packets(
    recording: Recording, link: spacelink.Link, account: _Account, counts: _PacketCounts, sink: Sink
) -> None:
    """Read one recording up to the first header that cannot be right: nothing tells where the next one would be."""
    held = np.zeros(0, dtype=np.uint8)
    received = used = 0
    synchronized = True
    for stretch in recording.stretches:
        received += stretch.size
        if not synchronized:
            continue
        found = space_packet.packets_from_octets(np.concatenate((held, stretch)))
        account.drops["malformed"] += found.malformed
        counts.add(found.packets, link, sink)
        done = int(found.packets.length.sum())
        used += done
        held = np.concatenate((held, stretch))[done:]
        synchronized = found.reached >= 0
    if received == 0:
        raise EmptyStreamError(f"{recording.name}: a recording without a single octet")
    if used == 0:
        raise LinkMismatchError(
            f"link {link.name}: configuration suspect: {recording.name} of {received} octets begins with no packet"
        )
    account.drops["partial"] += int(synchronized and held.size > 0)
    account.octets["in"] += received
    account.octets["frames"] += used
    account.octets["tail" if synchronized else "junk"] += received - used
