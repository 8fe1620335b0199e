"""A pass as the ground receives it: packets to coded frames, with faults put in and their truth kept."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from processors.arrays import BoolArray, ByteArray, IntArray
from processors.ccsds import (
    _kernels,
    frame_header_control,
    frame_sync,
    randomizer,
    reed_solomon,
    space_packet,
    time_code,
    transfer_frame,
)
from processors.ccsds import link as spacelink
from processors.level0 import layouts

IDLE_CHANNEL = {"aos": spacelink.AOS_IDLE_CHANNEL, "tm": 7}
"""Channel of the frames without packets. TM has none of its own: the last one serves."""
CONTROL_WORD = (0x01, 0x00, 0x00, 0x00)
"""Operational control field of every frame: a link control word that reports nothing."""
STRETCH = 4096
"""Frames that are coded at once."""

_MARKER = np.frombuffer(frame_sync.MARKER.to_bytes(frame_sync.MARKER_LENGTH, "big"), dtype=np.uint8)


@dataclass(frozen=True)
class Impairments:
    """Rarer faults of transmitter and receiver. Frames are named as (virtual channel, number), see `assemble_pass`.

    Parameters
    ----------
    slips : mapping of tuple of int to int
        Bits that enter (positive) or go missing (negative) in the middle of a frame [1].
    inversions : collection of tuple of int
        Frames with whose first bit the polarity turns over.
    bit_offset : int
        Bits of noise before the first frame [1].
    counter_resets : mapping of tuple of int to int
        Counter that is sent from a frame on, instead of its number [1].
    frozen_counters : collection of int
        Virtual channels that send the counter of their first frame with every one.
    """

    slips: Mapping[tuple[int, int], int] = field(default_factory=dict)
    inversions: Collection[tuple[int, int]] = ()
    bit_offset: int = 0
    counter_resets: Mapping[tuple[int, int], int] = field(default_factory=dict)
    frozen_counters: Collection[int] = ()

    @property
    def of_receiver(self) -> bool:
        """Whether there are faults that only a stream of bits can have."""
        return bool(self.slips or self.inversions or self.bit_offset)


class SimulatedPass(NamedTuple):
    """A recording and what is true of it.

    cadus : the recording;
    truth : plain values: frames sent, lost and damaged beyond repair by their numbers, packets sent and surviving;
    surviving : by virtual channel, the packets no octet of which was in a lost or damaged frame.
    """

    cadus: bytes
    truth: dict[str, Any]
    surviving: dict[int, list[bytes]]


class _Transmitter(NamedTuple):
    """What all frames have in common."""

    link: spacelink.Link
    spacecraft: int
    secondary_header: int

    @property
    def zone(self) -> slice:
        zone = self.link.layout.zone
        return slice(zone.start + self.secondary_header, zone.stop)

    @property
    def zone_length(self) -> int:
        return int(self.zone.stop - self.zone.start)


class _Channel(NamedTuple):
    """Packet zones of one virtual channel, and where its packets lie in them."""

    vcid: int
    number: IntArray
    counter: IntArray
    zones: ByteArray
    pointers: IntArray
    packets: Sequence[bytes]
    first_frame: IntArray
    last_frame: IntArray


class _Multiplex(NamedTuple):
    """Order of transmission: of every frame its channel and its place in there, shape (frame,) [1]."""

    channels: list[_Channel]
    channel: IntArray
    place: IntArray

    def rows(self, names: Iterable[tuple[int, int]]) -> IntArray:
        """Rows of named frames.

        Raises
        ------
        ValueError
            There is no such frame.
        """
        begin = np.cumsum([0, *(channel.number.size for channel in self.channels)])
        row = np.empty(self.channel.size, dtype=np.int64)
        row[begin[self.channel] + self.place] = np.arange(self.channel.size)
        first = {c.vcid: (int(b), c.number) for b, c in zip(begin[:-1], self.channels, strict=True)}
        found = []
        for vcid, number in names:
            start, numbers = first.get(vcid, (0, np.zeros(0, dtype=np.int64)))
            index = number - int(numbers[0]) if numbers.size else -1
            if not 0 <= index < numbers.size:
                raise ValueError(f"the pass has no frame {number} of virtual channel {vcid}")
            found.append(row[start + index])
        return np.array(found, dtype=np.int64)


def assemble_pass(
    packets: Mapping[int, Sequence[bytes]],
    *,
    link: spacelink.Link,
    spacecraft: int,
    lost_frames: Iterable[tuple[int, int]] = (),
    frame_loss: float = 0.0,
    symbol_errors: Mapping[tuple[int, int], Sequence[int]] | None = None,
    bit_error_rate: float = 0.0,
    impairments: Impairments | None = None,
    first_counter: Mapping[int, int] | None = None,
    idle_interval: int = 16,
    secondary_header: int = 0,
    seed: int = 0,
) -> SimulatedPass:
    """Multiplex packets into transfer frames, code them, and let the channel do its worst.

    A frame is named by its virtual channel and its number, which runs on from the first counter; unless a fault of the
    counter is asked for, the counter in the frame is that number.

    Parameters
    ----------
    packets : mapping of int to sequence of bytes
        Space packets by virtual channel.
    link : Link
        The link, with frames.
    spacecraft : int
        Spacecraft identifier [1].
    lost_frames : iterable of tuple of int
        Frames that never arrive.
    frame_loss : float
        Probability that any other frame is lost as well [1].
    symbol_errors : mapping of tuple of int to sequence of int, optional
        Wrong symbols in each codeword of a frame [1].
    bit_error_rate : float
        Probability of a wrong bit [1]; the truth does not consider markers lost to it, so keep it below 0.01.
    impairments : Impairments, optional
        Rarer faults. Slips and a bit offset take eight octets of memory for every bit.
    first_counter : mapping of int to int, optional
        Number of the first frame of a channel, where it is not 0 [1].
    idle_interval : int
        Frames between two idle frames [1].
    secondary_header : int
        Octets of the secondary header of every TM frame, 2 to 64, or 0 for none [1].
    seed : int
        Seed of every random choice [1].

    Returns
    -------
    SimulatedPass
        The recording and its truth.

    Raises
    ------
    ValueError
        The link cannot carry what is asked for, a named frame is not in the pass, or errors are asked for that the
        link could not notice.
    """
    faults = impairments or Impairments()
    _require_truth(link, faults, bool(symbol_errors or bit_error_rate))
    transmitter = _transmitter(link, spacecraft, secondary_header)
    random = np.random.default_rng(seed)
    multiplex = _multiplexed(packets, transmitter, first_counter or {}, idle_interval, faults)
    sendable = _transmitted(multiplex, transmitter)
    wrong = _symbol_errors(multiplex, symbol_errors or {}, sendable.shape[1], link, random)
    lost = _lost(multiplex, set(lost_frames), frame_loss, random)
    damaged = _spoil(sendable, [wrong, _bit_errors(sendable.size, bit_error_rate, random)], link)
    damaged[multiplex.rows(faults.slips)] = True
    recording = _received(sendable, lost, multiplex, faults, random)
    return _with_truth(recording, multiplex, lost, damaged)


def _require_truth(link: spacelink.Link, faults: Impairments, errors: bool) -> None:
    if faults.of_receiver and link.stream != "cadu":
        raise ValueError("frames without markers have neither slips nor polarity nor bit offset")
    if link.reed_solomon is None and not link.layout.fecf and (errors or faults.slips):
        raise ValueError("without coding or error control nothing tells a damaged frame: no truth can be stated")


def _transmitter(link: spacelink.Link, spacecraft: int, secondary_header: int) -> _Transmitter:
    if secondary_header and (link.layout.type != "tm" or not 2 <= secondary_header <= 64):
        raise ValueError("only TM frames have a secondary header, of 2 to 64 octets")
    return _Transmitter(link, spacecraft, secondary_header)


def _multiplexed(
    packets: Mapping[int, Sequence[bytes]],
    transmitter: _Transmitter,
    first: Mapping[int, int],
    idle_interval: int,
    faults: Impairments,
) -> _Multiplex:
    """Spread every channel evenly over the pass, idle frames in between."""
    idle = IDLE_CHANNEL[transmitter.link.layout.type]
    if idle in packets:
        raise ValueError(f"virtual channel {idle} carries the idle frames")
    channels = [_channel(vcid, packets[vcid], transmitter, first.get(vcid, 0), faults) for vcid in sorted(packets)]
    channels = [channel for channel in channels if channel.number.size]
    sent = sum(channel.number.size for channel in channels)
    count = max(-(-sent // idle_interval), 1)
    channels.append(_idle_channel(idle, transmitter, count, first.get(idle, 0), faults))
    sizes = [channel.number.size for channel in channels]
    order = np.argsort(np.concatenate([(np.arange(size) + 0.5) / size for size in sizes]), kind="stable")
    place = np.concatenate([np.arange(size) for size in sizes])
    return _Multiplex(channels, np.repeat(np.arange(len(sizes)), sizes)[order], place[order])


def _channel(
    vcid: int, packets: Sequence[bytes], transmitter: _Transmitter, first: int, faults: Impairments
) -> _Channel:
    """Multiplex the packets of one channel (CCSDS 732.0-B 4.1.4.2.2); the last frame is filled with idle packets."""
    zone = transmitter.zone_length
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
    number = first + np.arange(count)
    counter = _sent_counter(vcid, number, faults)
    zones = octets.reshape(count, zone)
    return _Channel(vcid, number, counter, zones, pointers, packets, (ends - lengths) // zone, (ends - 1) // zone)


def _fill(room: int, zone: int) -> list[bytes]:
    """Idle packets that fill the room left in a zone: a room too small for one spills over to another zone."""
    shortest = space_packet.HEADER + 1
    if room == 0:
        return []
    return [space_packet.idle(room if room >= shortest else room + zone)]


def _idle_channel(vcid: int, transmitter: _Transmitter, count: int, first: int, faults: Impairments) -> _Channel:
    # one zone for all: broadcasting takes no memory
    zones = np.broadcast_to(randomizer.sequence(transmitter.zone_length), (count, transmitter.zone_length))
    number = first + np.arange(count)
    pointers = np.full(count, transfer_frame.IDLE_ONLY)
    nothing = np.zeros(0, dtype=np.int64)
    return _Channel(vcid, number, _sent_counter(vcid, number, faults), zones, pointers, [], nothing, nothing)


def _sent_counter(vcid: int, number: IntArray, faults: Impairments) -> IntArray:
    counter = number.copy()
    for (channel, begin), value in sorted(faults.counter_resets.items()):
        if channel == vcid:
            counter = np.where(number >= begin, value + number - begin, counter)
    if vcid in faults.frozen_counters:
        counter[:] = counter[:1]
    return counter


def _transmitted(multiplex: _Multiplex, transmitter: _Transmitter) -> ByteArray:
    """All frames as they leave the transmitter, shape (frame, octet)."""
    link = transmitter.link
    width = link.cadu_length if link.stream == "cadu" else link.block_length
    sendable = np.empty((multiplex.channel.size, width), dtype=np.uint8)
    for begin in range(0, len(sendable), STRETCH):
        rows = slice(begin, min(begin + STRETCH, len(sendable)))
        frames = np.empty((rows.stop - rows.start, link.layout.length), dtype=np.uint8)
        for index, channel in enumerate(multiplex.channels):
            chosen = np.flatnonzero(multiplex.channel[rows] == index)
            place = multiplex.place[rows][chosen]
            frames[chosen] = _framed(
                channel.zones[place],
                channel.vcid,
                counter=channel.counter[place],
                master_counter=begin + chosen,
                pointers=channel.pointers[place],
                transmitter=transmitter,
            )
        _code(frames, sendable[rows], link)
    return sendable


def _framed(
    zones: ByteArray,
    vcid: int,
    *,
    counter: IntArray,
    master_counter: IntArray,
    pointers: IntArray,
    transmitter: _Transmitter,
) -> ByteArray:
    """Transfer frames without their error control."""
    layout = transmitter.link.layout
    frames = np.zeros((len(zones), layout.length), dtype=np.uint8)
    frames[:, transmitter.zone] = zones
    if layout.ocf:
        frames[:, layout.zone.stop : layout.zone.stop + len(CONTROL_WORD)] = CONTROL_WORD
    if layout.type == "aos":
        frames[:, :6] = transfer_frame.aos_headers(scid=transmitter.spacecraft, vcid=vcid, counter=counter)
        if layout.fhec:
            frames[:, 6:8] = frame_header_control.encode(frames[:, :6])
        frames[:, layout.header_length : layout.data_field] = randomizer.sequence(layout.insert_zone)
        frames[:, layout.data_field] = pointers >> 8
        frames[:, layout.data_field + 1] = pointers & 0xFF
        return frames
    frames[:, :6] = transfer_frame.tm_headers(
        scid=transmitter.spacecraft,
        vcid=vcid,
        master_counter=master_counter,
        counter=counter,
        pointer=pointers,
        ocf=layout.ocf,
        secondary_header=transmitter.secondary_header > 0,
    )
    if transmitter.secondary_header:
        frames[:, 6] = transmitter.secondary_header - 1
        frames[:, 7 : transmitter.zone.start] = randomizer.sequence(transmitter.secondary_header - 1)
    return frames


def _code(frames: ByteArray, sendable: ByteArray, link: spacelink.Link) -> None:
    """Add error control, check symbols, randomisation and marker."""
    if link.layout.fecf:
        frames[:, -2:] = _checksums(frames[:, :-2])
    blocks = frames if link.reed_solomon is None else reed_solomon.encode(frames, code=link.reed_solomon)
    begin = sendable.shape[1] - blocks.shape[1]
    sendable[:, :begin] = _MARKER[:begin]
    sequence = randomizer.sequence(blocks.shape[1], link.randomizer)
    np.bitwise_xor(blocks, sequence, out=sendable[:, begin:])


def _checksums(rows: ByteArray) -> ByteArray:
    """CRC-16 of every row, shape (row, 2)."""
    octets = np.ascontiguousarray(rows).reshape(-1)
    count, length = rows.shape
    checks = np.zeros(count, dtype=np.int64)
    _kernels.crc16_residues(octets, np.arange(count) * length, np.full(count, length), checks)
    return np.stack((checks >> 8, checks & 0xFF), axis=1).astype(np.uint8)


class _Errors(NamedTuple):
    """Octets of the recording before loss, and the bits that are wrong in them."""

    position: IntArray
    bits: ByteArray


def _symbol_errors(
    multiplex: _Multiplex,
    wanted: Mapping[tuple[int, int], Sequence[int]],
    width: int,
    link: spacelink.Link,
    random: np.random.Generator,
) -> _Errors:
    interleave = 1 if link.reed_solomon is None else link.reed_solomon.interleave
    symbols = link.block_length // interleave
    position, bits = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint8)]
    for row, (_, counts) in zip(multiplex.rows(sorted(wanted)), sorted(wanted.items()), strict=True):
        for codeword, count in enumerate(counts):
            at = random.choice(symbols, size=count, replace=False) * interleave + codeword
            position.append(row * width + width - link.block_length + at)
            bits.append(random.integers(1, 256, size=count, dtype=np.uint8))
    return _Errors(np.concatenate(position), np.concatenate(bits))


def _bit_errors(octets: int, rate: float, random: np.random.Generator) -> _Errors:
    wrong = random.integers(0, 8 * octets, size=random.binomial(8 * octets, rate))
    return _Errors(wrong >> 3, (1 << (wrong & 7)).astype(np.uint8))


def _spoil(sendable: ByteArray, errors: Sequence[_Errors], link: spacelink.Link) -> BoolArray:
    """Put the errors in, and tell which frames hold more wrong symbols than the code corrects."""
    octets = sendable.reshape(-1)
    position = np.concatenate([part.position for part in errors])
    touched = np.unique(position)
    before = octets[touched]
    np.bitwise_xor.at(octets, position, np.concatenate([part.bits for part in errors]))
    row, octet = np.divmod(touched[octets[touched] != before], sendable.shape[1])
    symbol = octet - (sendable.shape[1] - link.block_length)
    code = link.reed_solomon
    interleave, limit = (1, 0) if code is None else (code.interleave, code.e)
    codeword = row * interleave + symbol % interleave
    wrong = np.bincount(codeword[symbol >= 0], minlength=len(sendable) * interleave)
    damaged: BoolArray = np.any(wrong.reshape(-1, interleave) > limit, axis=1)
    return damaged


def _lost(
    multiplex: _Multiplex, chosen: set[tuple[int, int]], frame_loss: float, random: np.random.Generator
) -> BoolArray:
    lost = random.random(multiplex.channel.size) < frame_loss
    sent = {c.vcid: range(int(c.number[0]), int(c.number[-1]) + 1) for c in multiplex.channels}
    lost[multiplex.rows(name for name in chosen if name[1] in sent.get(name[0], range(0)))] = True
    return lost


def _received(
    sendable: ByteArray, lost: BoolArray, multiplex: _Multiplex, faults: Impairments, random: np.random.Generator
) -> bytes:
    """Octets that the receiver records."""
    if faults.inversions:
        turns = np.zeros(len(sendable), dtype=np.int64)
        turns[multiplex.rows(faults.inversions)] = 1
        sendable[np.cumsum(turns) % 2 == 1] ^= 0xFF
    if not faults.slips and not faults.bit_offset:
        edges = np.flatnonzero(np.diff(~lost, prepend=False, append=False)).reshape(-1, 2)
        return b"".join(sendable[begin:end].data for begin, end in edges.tolist())
    slips = np.zeros(len(sendable), dtype=np.int64)
    slips[multiplex.rows(faults.slips)] = list(faults.slips.values())
    pieces = [random.integers(0, 2, size=faults.bit_offset, dtype=np.uint8)]
    for frame, slip in zip(sendable[~lost], slips[~lost].tolist(), strict=True):
        bits = np.unpackbits(frame)
        middle = bits.size // 2
        entering = random.integers(0, 2, size=max(slip, 0), dtype=np.uint8)
        pieces += [bits[:middle], entering, bits[middle + max(-slip, 0) :]]
    return np.packbits(np.concatenate(pieces)).tobytes()


def _with_truth(recording: bytes, multiplex: _Multiplex, lost: BoolArray, damaged: BoolArray) -> SimulatedPass:
    frames, packets, surviving = [], [], {}
    for index, channel in enumerate(multiplex.channels):
        # the rows of a channel are in the order of its frames
        rows = multiplex.channel == index
        gone, spoiled = lost[rows], damaged[rows] & ~lost[rows]
        frames.append(
            {
                "vcid": channel.vcid,
                "sent": channel.number.size,
                "first": int(channel.number[0]),
                "lost": channel.number[gone].tolist(),
                "damaged": channel.number[spoiled].tolist(),
            }
        )
        if index == len(multiplex.channels) - 1:
            continue  # the idle channel carries no packets
        surviving[channel.vcid] = _surviving(channel, gone | spoiled)
        left = _by_apid(surviving[channel.vcid])
        packets += [
            {"vcid": channel.vcid, "apid": apid, "sent": sent, "surviving": left.get(apid, 0)}
            for apid, sent in sorted(_by_apid(channel.packets).items())
        ]
    return SimulatedPass(recording, {"frames": frames, "packets": packets}, surviving)


def _surviving(channel: _Channel, gone: BoolArray) -> list[bytes]:
    before = np.r_[0, np.cumsum(gone)]
    touched = before[channel.last_frame + 1] - before[channel.first_frame]
    return [packet for packet, hits in zip(channel.packets, touched.tolist(), strict=True) if hits == 0]


def _by_apid(packets: Sequence[bytes]) -> dict[int, int]:
    return Counter((packet[0] & 0x7) << 8 | packet[1] for packet in packets)


class _Stream(NamedTuple):
    """Endless packets of one length: application processes take turns."""

    vcid: int
    apids: tuple[int, ...]
    frames: int

    @property
    def layout(self) -> np.dtype[np.void]:
        return layouts.LAYOUTS[self.apids[0]]


_STREAMS = (
    _Stream(layouts.OCCULTATION_CHANNEL, (layouts.RO_CL_AFT,), 4),
    _Stream(layouts.IMAGER_CHANNEL, layouts.IM_LINE, 11),
)
BULK_CYCLE = 1 + sum(stream.frames for stream in _STREAMS)
"""Frames after which the mixture of channels of a bulk pass repeats, one idle frame among them."""
_BULK_START = 1_400_000_000
_PACKETS_PER_SECOND = 128


def bulk_pass(
    *, link: spacelink.Link, spacecraft: int, frames: int, bit_error_rate: float = 0.0, seed: int = 0
) -> Iterator[ByteArray]:
    """Frames without number, a stretch at a time: occultation and image packets whose counters and checksums are right.

    Channel 2 carries RO_CL packets, channel 4 IM_LINE packets of five bands, 63 (or 7 of TM) idle frames, in a mixture
    that repeats. Samples and pixels are noise. What must come out is in `bulk_truth`.

    Parameters
    ----------
    link : Link
        The link, with frames.
    spacecraft : int
        Spacecraft identifier [1].
    frames : int
        Frames wanted, rounded up to whole repetitions [1].
    bit_error_rate : float
        Probability of a wrong bit [1]; keep it so low that the code corrects all.
    seed : int
        Seed of noise and errors [1].

    Yields
    ------
    ByteArray
        Frames as sent, shape (frame, octet) [1].
    """
    transmitter = _Transmitter(link, spacecraft, 0)
    random = np.random.default_rng(seed)
    bodies = [np.frombuffer(random.bytes(stream.layout.itemsize), dtype=stream.layout) for stream in _STREAMS]
    cycles = -(-frames // BULK_CYCLE)
    per_stretch = max(STRETCH // BULK_CYCLE, 1)
    width = link.cadu_length if link.stream == "cadu" else link.block_length
    for begin in range(0, cycles, per_stretch):
        cycle = np.arange(begin, min(begin + per_stretch, cycles))
        mixed = np.empty((cycle.size, BULK_CYCLE, link.layout.length), dtype=np.uint8)
        at = 0
        for stream, body in zip(_STREAMS, bodies, strict=True):
            mixed[:, at : at + stream.frames] = _bulk_frames(stream, cycle, at, body, transmitter)
            at += stream.frames
        mixed[:, at:] = _bulk_idle(cycle, transmitter)
        sendable = np.empty((cycle.size * BULK_CYCLE, width), dtype=np.uint8)
        _code(mixed.reshape(-1, link.layout.length), sendable, link)
        if bit_error_rate:
            _spoil(sendable, [_bit_errors(sendable.size, bit_error_rate, random)], link)
        yield sendable


def bulk_truth(*, link: spacelink.Link, frames: int) -> dict[str, Any]:
    """What a bulk pass holds.

    Parameters
    ----------
    link : Link
        The link.
    frames : int
        Frames asked for [1].

    Returns
    -------
    dict
        Plain values: `frames` by virtual channel, counted from 0, and `packets` that are complete by application
        process.
    """
    cycles = -(-frames // BULK_CYCLE)
    by_channel = {stream.vcid: cycles * stream.frames for stream in _STREAMS}
    packets = {}
    for stream in _STREAMS:
        complete = by_channel[stream.vcid] * link.layout.zone_length // stream.layout.itemsize
        share, rest = divmod(complete, len(stream.apids))
        packets.update({apid: share + (turn < rest) for turn, apid in enumerate(stream.apids)})
    return {"frames": {**by_channel, IDLE_CHANNEL[link.layout.type]: cycles}, "packets": packets}


def _bulk_frames(
    stream: _Stream, cycle: IntArray, offset: int, body: np.ndarray[Any, np.dtype[np.void]], transmitter: _Transmitter
) -> ByteArray:
    """Frames of some cycles, shape (cycle, frame, octet)."""
    zone, length = transmitter.zone_length, stream.layout.itemsize
    counter = np.arange(cycle[0] * stream.frames, (cycle[-1] + 1) * stream.frames)
    begin, end = int(counter[0]) * zone, (int(counter[-1]) + 1) * zone
    octets = _bulk_packets(stream, begin // length, -(-end // length), body)[begin % length :][: end - begin]
    pointers = -counter * zone % length
    turn = np.arange(stream.frames) + offset
    frames = _framed(
        octets.reshape(-1, zone),
        stream.vcid,
        counter=counter,
        master_counter=(cycle[:, np.newaxis] * BULK_CYCLE + turn).reshape(-1),
        pointers=np.where(pointers < zone, pointers, transfer_frame.NO_PACKET_STARTS),
        transmitter=transmitter,
    )
    return frames.reshape(cycle.size, stream.frames, -1)


def _bulk_packets(stream: _Stream, first: int, stop: int, body: np.ndarray[Any, np.dtype[np.void]]) -> ByteArray:
    """Packets first to stop of a stream, back to back."""
    number = np.arange(first, stop)
    records = np.repeat(body, number.size)
    turn, count = number % len(stream.apids), number // len(stream.apids)
    identity = 1 << 11 | np.array(stream.apids)[turn]
    sequence = space_packet.UNSEGMENTED << 14 | count % space_packet.SEQUENCE_MODULUS
    words = (identity, sequence, np.full(number.size, stream.layout.itemsize - space_packet.HEADER - 1))
    records["primary_header"] = np.stack([word >> shift & 0xFF for word in words for shift in (8, 0)], axis=1)
    ticks = _BULK_START * time_code.CUC_FRACTION + count * (time_code.CUC_FRACTION // _PACKETS_PER_SECOND)
    records["time"] = time_code.octets_from_integers(ticks, width=7)
    for name, value in (("time_quality", 0), ("clock_partition", 0), ("icd_version", layouts.ICD_VERSION)):
        records[name] = value
    if "line" in (stream.layout.names or ()):
        records["line"], records["band"], records["compression"] = count, turn + 1, layouts.UNCOMPRESSED
    octets = records.view(np.uint8).reshape(number.size, -1)
    octets[:, -2:] = _checksums(octets[:, :-2])
    return octets.reshape(-1)


def _bulk_idle(cycle: IntArray, transmitter: _Transmitter) -> ByteArray:
    frames = _framed(
        np.broadcast_to(randomizer.sequence(transmitter.zone_length), (cycle.size, transmitter.zone_length)),
        IDLE_CHANNEL[transmitter.link.layout.type],
        counter=cycle,
        master_counter=(cycle + 1) * BULK_CYCLE - 1,
        pointers=np.full(cycle.size, transfer_frame.IDLE_ONLY),
        transmitter=transmitter,
    )
    return frames[:, np.newaxis]
