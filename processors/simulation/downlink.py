"""A pass as the ground receives it: packets to coded frames, with faults put in and their truth kept."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import checksum, frame_sync, randomizer, reed_solomon, space_packet, transfer_frame
from processors.ccsds import link as spacelink

CORRECTABLE = 16


class SimulatedPass(NamedTuple):
    """A recording and what is true of it.

    cadus : the recording;
    truth : plain values: frames sent, lost and damaged beyond repair, packets sent and surviving;
    surviving : by virtual channel, the packets no octet of which was in a lost or damaged frame.
    """

    cadus: bytes
    truth: dict[str, Any]
    surviving: dict[int, list[bytes]]


class _Channel(NamedTuple):
    """Frames of one virtual channel and where its packets lie in their zones."""

    vcid: int
    counter: IntArray
    frames: ByteArray
    packets: Sequence[bytes]
    first_frame: IntArray
    last_frame: IntArray


def assemble_pass(
    packets: Mapping[int, Sequence[bytes]],
    *,
    link: spacelink.Link,
    spacecraft: int,
    lost_frames: Iterable[tuple[int, int]] = (),
    frame_loss: float = 0.0,
    symbol_errors: Mapping[tuple[int, int], Sequence[int]] | None = None,
    bit_error_rate: float = 0.0,
    first_counter: Mapping[int, int] | None = None,
    idle_interval: int = 16,
    seed: int = 0,
) -> SimulatedPass:
    """Multiplex packets into AOS frames, code them, and let the channel do its worst.

    Parameters
    ----------
    packets : mapping of int to sequence of bytes
        Space packets by virtual channel.
    link : Link
        The link; frame type AOS.
    spacecraft : int
        Spacecraft identifier [1].
    lost_frames : iterable of tuple of int
        Frames that never arrive, as (virtual channel, counter).
    frame_loss : float
        Probability that any other frame is lost as well [1].
    symbol_errors : mapping of tuple of int to sequence of int, optional
        Wrong symbols in each codeword of a frame, by (virtual channel, counter) [1].
    bit_error_rate : float
        Probability of a wrong bit [1]; the truth does not consider markers lost to it, so keep it below 0.01.
    first_counter : mapping of int to int, optional
        Counter of the first frame of a channel, where it is not 0 [1].
    idle_interval : int
        Frames between two idle frames [1].
    seed : int
        Seed of every random choice [1].

    Returns
    -------
    SimulatedPass
        The recording and its truth.

    Raises
    ------
    ValueError
        The link is not of AOS frames, or errors are asked for that the link could not notice.
    """
    layout = link.layout
    if layout.type != "aos":
        raise ValueError("only AOS frames are simulated")
    if link.reed_solomon is None and not layout.fecf and (symbol_errors or bit_error_rate):
        raise ValueError("without coding or error control nothing tells a damaged frame: no truth can be stated")
    first = first_counter or {}
    random = np.random.default_rng(seed)
    channels = [_channel(vcid, packets[vcid], link, spacecraft, first.get(vcid, 0)) for vcid in sorted(packets)]
    channels = [channel for channel in channels if channel.counter.size]
    sent = sum(channel.counter.size for channel in channels)
    channels.append(_idle_channel(link, spacecraft, max(-(-sent // idle_interval), 1), first.get(63, 0)))
    order = _interleaved(channels)
    frames = np.concatenate([channel.frames for channel in channels])[order]
    names = [(channel.vcid, counter) for channel in channels for counter in channel.counter.tolist()]
    names = [names[i] for i in order.tolist()]
    clean = _coded(frames, link)
    blocks = _with_symbol_errors(clean, names, symbol_errors or {}, link, random)
    lost = _lost(names, lost_frames, frame_loss, random)
    sendable = _with_bit_errors(_with_markers(blocks, link), bit_error_rate, random)
    damaged = _damaged(sendable[:, -clean.shape[1] :] ^ clean, link)
    fate = {
        name: ("lost" if gone else "damaged")
        for name, gone, bad in zip(names, lost, damaged, strict=True)
        if gone | bad
    }
    surviving = {channel.vcid: _surviving(channel, fate) for channel in channels if channel.vcid != 63}
    return SimulatedPass(sendable[~lost].tobytes(), _truth(channels, fate, surviving), surviving)


def _channel(vcid: int, packets: Sequence[bytes], link: spacelink.Link, spacecraft: int, first: int) -> _Channel:
    """Multiplex the packets of one channel (CCSDS 732.0-B 4.1.4.2.2); the last frame is filled with idle packets."""
    zone = link.layout.zone_length
    lengths = np.array([len(packet) for packet in packets], dtype=np.int64)
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    fill = _fill(-total % zone, zone)
    octets = np.frombuffer(b"".join([*packets, *fill]), dtype=np.uint8)
    starts = np.r_[ends - lengths, total + np.cumsum([0, *(len(packet) for packet in fill)])[:-1]].astype(np.int64)
    count = octets.size // zone
    base = np.arange(count) * zone
    following = np.r_[starts, octets.size + zone][np.searchsorted(starts, base)]
    pointers = np.where(following < base + zone, following - base, transfer_frame.NO_PACKET_STARTS)
    counter = first + np.arange(count)
    frames = _framed(octets.reshape(count, zone), vcid, counter, pointers, link, spacecraft)
    return _Channel(vcid, counter, frames, packets, (ends - lengths) // zone, (ends - 1) // zone)


def _fill(room: int, zone: int) -> list[bytes]:
    """Idle packets that fill the room left in a zone: a room too small for one spills over to another zone."""
    shortest = space_packet.HEADER + 1
    if room == 0:
        return []
    return [space_packet.idle(room if room >= shortest else room + zone)]


def _idle_channel(link: spacelink.Link, spacecraft: int, count: int, first: int) -> _Channel:
    zone = np.tile(randomizer.sequence(link.layout.zone_length), (count, 1))
    counter = first + np.arange(count)
    pointers = np.full(count, transfer_frame.IDLE_ONLY)
    frames = _framed(zone, spacelink.AOS_IDLE_CHANNEL, counter, pointers, link, spacecraft)
    nothing = np.zeros(0, dtype=np.int64)
    return _Channel(spacelink.AOS_IDLE_CHANNEL, counter, frames, [], nothing, nothing)


def _framed(
    zones: ByteArray, vcid: int, counter: IntArray, pointers: IntArray, link: spacelink.Link, spacecraft: int
) -> ByteArray:
    layout = link.layout
    frames = np.zeros((len(zones), layout.length), dtype=np.uint8)
    frames[:, layout.zone] = zones
    frames[:, layout.data_field] = pointers >> 8
    frames[:, layout.data_field + 1] = pointers & 0xFF
    for row, number in enumerate(counter.tolist()):
        header = transfer_frame.aos_header(scid=spacecraft, vcid=vcid, counter=number)
        frames[row, : len(header)] = np.frombuffer(header, dtype=np.uint8)
        if layout.fecf:
            check = checksum.crc16(frames[row, :-2].tobytes())
            frames[row, -2:] = divmod(check, 256)
    return frames


def _interleaved(channels: list[_Channel]) -> IntArray:
    """Order of transmission: every channel spread evenly over the pass."""
    place = np.concatenate([(np.arange(channel.counter.size) + 0.5) / channel.counter.size for channel in channels])
    return np.argsort(place, kind="stable")


def _coded(frames: ByteArray, link: spacelink.Link) -> ByteArray:
    blocks = frames if link.reed_solomon is None else reed_solomon.encode(frames, code=link.reed_solomon)
    return randomizer.randomize(blocks) if link.randomizer == "ccsds" else blocks


def _with_symbol_errors(
    clean: ByteArray,
    names: list[tuple[int, int]],
    wanted: Mapping[tuple[int, int], Sequence[int]],
    link: spacelink.Link,
    random: np.random.Generator,
) -> ByteArray:
    blocks = clean.copy()
    interleave = 1 if link.reed_solomon is None else link.reed_solomon.interleave
    symbols = clean.shape[1] // interleave
    for name, counts in sorted(wanted.items()):
        row = names.index(name)
        for codeword, count in enumerate(counts):
            at = random.choice(symbols, size=count, replace=False) * interleave + codeword
            blocks[row, at] ^= random.integers(1, 256, size=count, dtype=np.uint8)
    return blocks


def _lost(
    names: list[tuple[int, int]], lost_frames: Iterable[tuple[int, int]], frame_loss: float, random: np.random.Generator
) -> BoolArray:
    chosen = set(lost_frames)
    listed = np.array([name in chosen for name in names], dtype=np.bool_)
    return listed | (random.random(len(names)) < frame_loss)


def _with_markers(blocks: ByteArray, link: spacelink.Link) -> ByteArray:
    if link.stream != "cadu":
        return blocks
    marker = np.frombuffer(frame_sync.MARKER.to_bytes(frame_sync.MARKER_LENGTH, "big"), dtype=np.uint8)
    return np.hstack((np.tile(marker, (len(blocks), 1)), blocks))


def _with_bit_errors(sendable: ByteArray, rate: float, random: np.random.Generator) -> ByteArray:
    octets = sendable.copy().reshape(-1)
    wrong = random.integers(0, 8 * octets.size, size=random.binomial(8 * octets.size, rate))
    np.bitwise_xor.at(octets, wrong >> 3, (1 << (wrong & 7)).astype(np.uint8))
    return octets.reshape(sendable.shape)


def _damaged(errors: ByteArray, link: spacelink.Link) -> BoolArray:
    """Tell which frames hold more wrong symbols than the code corrects."""
    interleave, limit = (1, 0) if link.reed_solomon is None else (link.reed_solomon.interleave, CORRECTABLE)
    by_codeword = np.count_nonzero(errors.reshape(len(errors), -1, interleave), axis=1)
    damaged: BoolArray = np.any(by_codeword > limit, axis=1)
    return damaged


def _surviving(channel: _Channel, fate: Mapping[tuple[int, int], str]) -> list[bytes]:
    gone = np.array([(channel.vcid, counter) in fate for counter in channel.counter.tolist()], dtype=np.int64)
    before = np.r_[0, np.cumsum(gone)]
    touched = before[channel.last_frame + 1] - before[channel.first_frame]
    return [packet for packet, hits in zip(channel.packets, touched.tolist(), strict=True) if hits == 0]


def _truth(
    channels: list[_Channel], fate: Mapping[tuple[int, int], str], surviving: Mapping[int, list[bytes]]
) -> dict[str, Any]:
    frames = [
        {
            "vcid": channel.vcid,
            "sent": channel.counter.size,
            "first": int(channel.counter[0]),
            "lost": sorted(counter for (vcid, counter), why in fate.items() if vcid == channel.vcid and why == "lost"),
            "damaged": sorted(
                counter for (vcid, counter), why in fate.items() if vcid == channel.vcid and why == "damaged"
            ),
        }
        for channel in channels
    ]
    packets = [
        {"vcid": channel.vcid, "apid": apid, "sent": sent, "surviving": _by_apid(surviving[channel.vcid]).get(apid, 0)}
        for channel in channels
        if channel.vcid in surviving
        for apid, sent in sorted(_by_apid(channel.packets).items())
    ]
    return {"frames": frames, "packets": packets}


def _by_apid(packets: Sequence[bytes]) -> dict[int, int]:
    return Counter((packet[0] & 0x7) << 8 | packet[1] for packet in packets)
