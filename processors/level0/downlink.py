"""Recordings of a downlink to space packets, with an account of every octet, frame and packet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from processors import quality
from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import checksum, frame_sync, randomizer, reed_solomon, space_packet, transfer_frame
from processors.ccsds import link as spacelink
from processors.level0 import completeness, frame_merge

SUSPICIOUS_FRAMES = 4
"""With this many frames and not one that decodes, the description of the link is to blame, not the reception."""


class EmptyStreamError(quality.BadInputError):
    """A recording holds nothing."""

    def __init__(self, message: str) -> None:
        super().__init__("empty_stream", message)


class LinkMismatchError(quality.BadInputError):
    """A recording is not of the link it is said to be of."""

    def __init__(self, message: str) -> None:
        super().__init__("link_mismatch", message)


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


@dataclass
class _Account:
    """Running counts of frames and octets."""

    octets: dict[str, int]
    frames: dict[str, int]
    corrected_symbols: int = 0

    @classmethod
    def empty(cls) -> "_Account":
        octets = dict.fromkeys(("in", "frames", "junk", "tail"), 0)
        frames = dict.fromkeys(
            (
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
            ),
            0,
        )
        return cls(octets, frames)


class _Drops(NamedTuple):
    partial: int = 0
    malformed: int = 0
    check_failed: int = 0


class _ChannelPackets(NamedTuple):
    scid: int
    vcid: int
    packets: space_packet.PacketTable
    drops: _Drops


def decode(streams: Sequence[bytes | memoryview], *, link: spacelink.Link) -> Downlink:
    """Decode and merge recordings of one link.

    Parameters
    ----------
    streams : sequence of bytes
        One recording per station; their order does not matter.
    link : Link
        Description of the link.

    Returns
    -------
    Downlink
        Packets and completeness.

    Raises
    ------
    EmptyStreamError
        A recording is empty, or there is none.
    LinkMismatchError
        A recording cannot be of this link.
    """
    recordings = [np.frombuffer(stream, dtype=np.uint8) for stream in streams]
    if not recordings or any(recording.size == 0 for recording in recordings):
        raise EmptyStreamError(f"link {link.name}: a recording without a single octet")
    account = _Account.empty()
    account.octets["in"] = sum(recording.size for recording in recordings)
    if link.stream == "packets":
        return _decode_packets(recordings, link, account)
    decoded = [_decode_frames(recording, number, link, account) for number, recording in enumerate(recordings)]
    merged = frame_merge.concatenate(decoded)
    channels = frame_merge.channels(merged, link=link)
    _count_merged(channels, merged, link, account)
    demultiplexed = [
        _demultiplex(channel, merged.frames, merged.headers.pointer, link)
        for channel in channels
        if link.role(channel.vcid) == "packets"
    ]
    return _downlink(link, account, channels, demultiplexed)


def _decode_frames(
    recording: ByteArray, station: int, link: spacelink.Link, account: _Account
) -> frame_merge.DecodedFrames:
    """Frames of one recording that pass every check; the others are counted by their first failure."""
    blocks, broken = _blocks(recording, link, account)
    frames, corrected = _corrected(blocks, link)
    headers = transfer_frame.headers_from_frames(frames, layout=link.layout)
    foreign = ~np.isin(headers.scid, link.spacecraft) if link.spacecraft else np.zeros(len(frames), dtype=np.bool_)
    failures = {
        "uncorrectable": corrected < 0,
        "check_failed": ~checksum.frames_pass(frames) if link.layout.fecf else np.zeros(len(frames), dtype=np.bool_),
        "invalid": ~headers.valid | broken,
        "foreign": foreign,
    }
    good = _count_failures(failures, account)
    _refuse_mismatch(frames, failures, link)
    return frame_merge.DecodedFrames(
        frames=frames[good],
        headers=headers.selected(good),
        corrected=corrected[good],
        station=np.full(int(np.sum(good)), station),
    )


def _blocks(recording: ByteArray, link: spacelink.Link, account: _Account) -> tuple[ByteArray, BoolArray]:
    """Code blocks of a recording, and which of them are known to be broken where no coding will tell."""
    if link.stream == "frames":
        count = recording.size // link.block_length
        account.octets["frames"] += count * link.block_length
        account.octets["tail"] += recording.size - count * link.block_length
        blocks = recording[: count * link.block_length].reshape(count, link.block_length)
        if count == 0:
            raise LinkMismatchError(f"link {link.name}: {recording.size} octets hold no frame of {link.block_length}")
        return blocks, np.zeros(count, dtype=np.bool_)
    found = frame_sync.synchronize(recording, cadu_length=link.cadu_length)
    if len(found.blocks) == 0:
        raise LinkMismatchError(
            f"link {link.name}: no sync marker {frame_sync.MARKER:08X} every {link.cadu_length} octets "
            f"in a recording of {recording.size} octets"
        )
    account.octets["frames"] += found.frame_octets
    account.octets["junk"] += found.junk_octets
    account.octets["tail"] += found.tail_octets
    return found.blocks, (found.slip != 0) & (link.reed_solomon is None)


def _corrected(blocks: ByteArray, link: spacelink.Link) -> tuple[ByteArray, IntArray]:
    """Frames without randomisation and parity, and the symbols corrected in each, -1 where there is no correction."""
    plain = randomizer.randomize(blocks) if link.randomizer == "ccsds" else blocks
    if link.reed_solomon is None:
        return plain, np.zeros(len(plain), dtype=np.int64)
    correction = reed_solomon.correct(plain, code=link.reed_solomon)
    total = correction.corrected.sum(axis=1, dtype=np.int64)
    return correction.frames, np.where(np.any(correction.corrected < 0, axis=1), -1, total)


def _count_failures(failures: dict[str, BoolArray], account: _Account) -> BoolArray:
    """Count every frame once, under the first check it fails; return the frames that fail none."""
    good = np.ones_like(failures["invalid"])
    account.frames["received"] += good.size
    for name, failed in failures.items():
        account.frames[name] += int(np.sum(failed & good))
        good &= ~failed
    return good


def _refuse_mismatch(frames: ByteArray, failures: dict[str, BoolArray], link: spacelink.Link) -> None:
    """Refuse a recording no frame of which makes sense.

    Headers count as well: the randomizer sequence is itself a codeword, so a wrong randomizer passes the code.
    Frames of zeros are no evidence of a wrong description but of a transmitter without data.
    """
    senseless = failures["uncorrectable"] | failures["check_failed"] | failures["invalid"]
    blank = ~failures["uncorrectable"] & ~np.any(frames, axis=1)
    if senseless.size >= SUSPICIOUS_FRAMES and np.all(senseless) and not np.all(blank):
        raise LinkMismatchError(
            f"link {link.name}: not one of {senseless.size} frames decodes; "
            "check frame type and length, randomizer, Reed-Solomon interleave and basis, fecf and ocf"
        )


def _count_merged(
    channels: list[frame_merge.Channel], merged: frame_merge.DecodedFrames, link: spacelink.Link, account: _Account
) -> None:
    for channel in channels:
        corrected = merged.corrected[channel.rows]
        account.frames["accepted"] += channel.rows.size
        account.frames["duplicate"] += channel.duplicates
        account.frames["conflict"] += channel.conflicts
        account.frames["corrected"] += int(np.sum(corrected > 0))
        account.frames["idle"] += channel.rows.size if link.role(channel.vcid) == "idle" else 0
        account.corrected_symbols += int(np.sum(corrected))


def _demultiplex(
    channel: frame_merge.Channel, frames: ByteArray, pointers: IntArray, link: spacelink.Link
) -> _ChannelPackets:
    found = space_packet.reassemble(
        frames[channel.rows, link.layout.zone],
        pointers=pointers[channel.rows],
        continues=np.r_[False, np.diff(channel.counter) == 1],
    )
    return _checked(channel.scid, channel.vcid, found, link)


def _checked(scid: int, vcid: int, found: space_packet.Reassembly, link: spacelink.Link) -> _ChannelPackets:
    """Drop the packets that fail their packet error control, where the link has one."""
    packets, failed = found.packets, 0
    if link.packet_check == "crc16":
        passed = space_packet.checked(packets)
        packets, failed = packets.selected(passed), int(np.sum(~passed))
    return _ChannelPackets(scid, vcid, packets, _Drops(found.partial, found.malformed, failed))


def _decode_packets(recordings: list[ByteArray], link: spacelink.Link, account: _Account) -> Downlink:
    """Packets that some other system has demultiplexed; recordings follow one another."""
    scid = link.spacecraft[0] if link.spacecraft else 0
    vcid = min(link.virtual_channels, default=0)
    found = []
    for recording in recordings:
        packets = space_packet.packets_from_octets(recording)
        if packets.packets.start.size == 0:
            raise LinkMismatchError(f"link {link.name}: a recording of {recording.size} octets begins with no packet")
        held = int(packets.packets.length.sum())
        account.octets["frames"] += held
        account.octets["junk" if packets.reached < 0 else "tail"] += recording.size - held
        found.append(_checked(scid, vcid, packets, link))
    return _downlink(link, account, [], [_joined(found)])


def _joined(found: list[_ChannelPackets]) -> _ChannelPackets:
    """Packets of several recordings as one sequence."""
    offsets = np.cumsum([0, *(part.packets.octets.size for part in found)])
    tables = [part.packets for part in found]
    packets = space_packet.PacketTable(
        octets=np.concatenate([table.octets for table in tables]),
        start=np.concatenate([table.start + offset for table, offset in zip(tables, offsets[:-1], strict=True)]),
        length=np.concatenate([table.length for table in tables]),
        apid=np.concatenate([table.apid for table in tables]),
        sequence=np.concatenate([table.sequence for table in tables]),
    )
    drops = _Drops(*(sum(column) for column in zip(*(part.drops for part in found), strict=True)))
    return _ChannelPackets(found[0].scid, found[0].vcid, packets, drops)


def _downlink(
    link: spacelink.Link,
    account: _Account,
    channels: list[frame_merge.Channel],
    demultiplexed: list[_ChannelPackets],
) -> Downlink:
    packets: dict[PacketChannel, bytes] = {}
    rows: list[dict[str, Any]] = []
    for part in demultiplexed:
        for apid in np.unique(part.packets.apid).tolist():
            table = part.packets.selected(part.packets.apid == apid)
            if apid != space_packet.IDLE_APID:
                packets[PacketChannel(part.scid, part.vcid, apid)] = table.content()
            rows.append(_packet_row(part, apid, table))
    drops = [part.drops for part in demultiplexed]
    return Downlink(
        packets,
        {
            "link": link.name,
            "bytes": account.octets,
            "frames": account.frames,
            "corrected_symbols": account.corrected_symbols,
            "virtual_channels": [_channel_row(channel) for channel in channels],
            "packets": rows,
            "packets_dropped": {name: sum(getattr(drop, name) for drop in drops) for name in _Drops._fields},
        },
    )


def _packet_row(part: _ChannelPackets, apid: int, table: space_packet.PacketTable) -> dict[str, Any]:
    idle = apid == space_packet.IDLE_APID
    return {
        "scid": part.scid,
        "vcid": part.vcid,
        "apid": apid,
        "count": table.start.size,
        "missing": 0 if idle else space_packet.missing_between(table.sequence),
        "idle": idle,
    }


def _channel_row(channel: frame_merge.Channel) -> dict[str, Any]:
    gaps = completeness.gaps(completeness.intervals_from_counters(channel.counter))
    return {
        "scid": channel.scid,
        "vcid": channel.vcid,
        "frames": channel.rows.size,
        "missing": completeness.size(gaps),
        "gaps": gaps.tolist(),
    }
