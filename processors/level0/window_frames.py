"""Frames of one recording by the windows of on-board time whose packets they carry."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from processors.arrays import ByteArray, FloatArray, IntArray
from processors.ccsds import link as spacelink
from processors.ccsds import space_packet
from processors.level0 import data_window, downlink, frame_epochs, frame_merge, frame_store

OPEN_FILES = 64
"""Files of frames that are written at a time."""
MOST_WINDOWS = 500
"""A recording whose packets tell more than ten days of half hours does not know the time."""

Records = np.ndarray[tuple[int], np.dtype[np.void]]


class WindowFrames(NamedTuple):
    """Frames of one channel of one recording that a window needs.

    scid, vcid : the channel [1];
    window : number of the window, None where packets carry no time [1];
    path : file of the frames, a NumPy array of `record_type`;
    frames : their number [1].
    """

    scid: int
    vcid: int
    window: int | None
    path: Path
    frames: int


class ChannelTimes(NamedTuple):
    """On-board time of a channel in one recording: first and last, NaN where packets carry none [s]."""

    first: float
    last: float


def record_type(frame_length: int) -> np.dtype[np.void]:
    """Layout of a file of frames: corrected symbols and octets of each.

    Parameters
    ----------
    frame_length : int
        Octets of a transfer frame [1].

    Returns
    -------
    dtype
        The layout.
    """
    return np.dtype([("corrected", "<u2"), ("frame", "u1", (frame_length,))])


def by_window(
    name: frame_store.ChannelName, segments: list[frame_epochs.Segment], *, link: spacelink.Link, folder: Path
) -> tuple[list[WindowFrames], ChannelTimes]:
    """Write the frames of a channel to one file for each window.

    A frame belongs to every window that reads a packet in it; one in which nothing tells the time, to those of its
    neighbours.

    Parameters
    ----------
    name : ChannelName
        The channel.
    segments : list of Segment
        Its frames in the recording.
    link : Link
        The link.
    folder : Path
        Where the files go.

    Returns
    -------
    tuple of list of WindowFrames and ChannelTimes
        The files by window, and the times found.
    """
    pairs, total, times = _pairs(segments, link)
    windows = _windows(pairs, total)
    files = [
        WindowFrames(name.scid, name.vcid, number, folder / f"{name.scid}-{name.vcid}-{number}.npy", rows.size)
        for number, rows in windows.items()
    ]
    written = list(zip(files, windows.values(), strict=True))
    for first in range(0, len(written), OPEN_FILES):
        _write(written[first : first + OPEN_FILES], segments, link)
    return files, times


def _windows(pairs: IntArray, total: int) -> dict[int | None, IntArray]:
    """Frames of each window; all of them in none where no packet tells the time, or their times are no times."""
    if pairs.size == 0 or np.unique(pairs[:, 1]).size > MOST_WINDOWS:
        return {None: np.arange(total)}
    filled = _filled(pairs, total)
    return {int(number): filled[filled[:, 1] == number, 0] for number in np.unique(filled[:, 1])}


def _write(
    files: list[tuple[WindowFrames, IntArray]], segments: list[frame_epochs.Segment], link: spacelink.Link
) -> None:
    layout = record_type(link.layout.length)
    targets = [
        (np.lib.format.open_memmap(file.path, mode="w+", dtype=layout, shape=(rows.size,)), rows)
        for file, rows in files
    ]
    at = 0
    for block in _merged(segments, link):
        for target, rows in targets:
            first, end = np.searchsorted(rows, [at, at + len(block.frames)])
            target["corrected"][first:end] = np.minimum(block.corrected, 0xFFFF)[rows[first:end] - at]
            target["frame"][first:end] = block.frames[rows[first:end] - at]
        at += len(block.frames)
    for target, _ in targets:
        target.flush()


def _merged(segments: list[frame_epochs.Segment], link: spacelink.Link) -> Iterator[frame_merge.Block]:
    return frame_merge.merged(segments, account=frame_merge.MergeAccount(), checked=link.checks_frames)


def _pairs(segments: list[frame_epochs.Segment], link: spacelink.Link) -> tuple[IntArray, int, ChannelTimes]:
    """Rows (frame, window) of all packets, the number of frames, and the times found."""
    found = [np.zeros((0, 2), dtype=np.int64)]
    reader = space_packet.PacketReader()
    first = last = latest = np.nan
    at = 0
    for block in _merged(segments, link):
        open_octets = reader.open_octets
        for run in downlink.read_block(block, reader, link):
            packets = run.found.packets
            zone = (packets.octets.size - open_octets) // run.frames
            if link.packet_check == "crc16":
                packets = packets.selected(space_packet.checked(packets))
            time = data_window.packet_time(packets, code=link.packet_time)
            if np.isfinite(time).any():
                first, last = np.nanmin([first, np.nanmin(time)]), np.nanmax([last, np.nanmax(time)])
            begin = packets.start - open_octets
            span = np.stack((begin, begin + packets.length - 1), axis=1) // zone + at + run.first
            filled = data_window.continued(time, before=latest)
            latest = filled[-1] if filled.size else latest
            found.append(_spread(span, filled))
            open_octets = reader.open_octets
        at += len(block.frames)
    if at:
        # the rest of the packet that is open may come with another recording: its header tells where to
        time = data_window.packet_time(reader.open_packet, code=link.packet_time)
        span = np.array([[at - 1 - max(open_octets - 1, 0) // zone, at - 1]] * time.size, dtype=np.int64).reshape(-1, 2)
        found.append(_spread(span, time))
    return np.concatenate(found), at, ChannelTimes(float(first), float(last))


def _spread(span: IntArray, time: FloatArray) -> IntArray:
    """Rows (frame, window), each once, from the first and last frame and the time of packets."""
    known = np.isfinite(time)
    span, windows = np.maximum(span[known], 0), data_window.numbers(time[known])
    count = span[:, 1] - span[:, 0] + 1
    frame = np.repeat(span[:, 0] - np.cumsum(count) + count, count) + np.arange(count.sum())
    both = [np.stack((frame, np.repeat(windows[:, side], count)), axis=1) for side in (0, 1)]
    return np.unique(np.concatenate(both), axis=0) if frame.size else np.zeros((0, 2), dtype=np.int64)


def _filled(pairs: IntArray, total: int) -> IntArray:
    """Pairs of all frames: those without a window take those of the frames before and after.

    What comes before the first time known may still end a packet of an earlier window.
    """
    pairs = np.unique(pairs, axis=0)
    frames, begin, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    lacking = np.setdiff1d(np.arange(total), frames, assume_unique=True)
    place = np.searchsorted(frames, lacking)
    before, after = np.maximum(place - 1, 0), np.minimum(place, frames.size - 1)
    rows = [pairs]
    for neighbor in (before, after):
        repeated = np.repeat(lacking, count[neighbor])
        offset = np.arange(repeated.size) - np.repeat(np.cumsum(count[neighbor]) - count[neighbor], count[neighbor])
        rows.append(np.stack((repeated, pairs[np.repeat(begin[neighbor], count[neighbor]) + offset, 1]), axis=1))
    leading = lacking[lacking < frames[0]]
    rows.append(np.stack((leading, np.full(leading.size, pairs[begin[0], 1] - 1)), axis=1))
    return np.unique(np.concatenate(rows), axis=0)


class WindowPackets(NamedTuple):
    """Packets of one channel that a window reads, in order.

    packets : the packets;
    time : on-board time, that of the packet before where one carries none, shape (packet,) [s];
    breaks : interruptions met before each, shape (packet,) [1];
    zones : octets of packet zones read, in packets and in none;
    held : intervals of the frame counter held, by epoch, each of shape (interval, 2) [1];
    conflicts : frames whose counter another frame has taken [1];
    check_failed : packets that failed their packet error control [1].
    """

    packets: space_packet.PacketTable
    time: FloatArray
    breaks: IntArray
    zones: dict[str, int]
    held: list[IntArray]
    conflicts: int
    check_failed: int


def packets_of_window(
    recordings: list[Path], *, window: data_window.Window | None, link: spacelink.Link, folder: Path
) -> WindowPackets:
    """Merge what several recordings hold of one channel and cut it into packets.

    Parameters
    ----------
    recordings : list of Path
        Frames of each recording as `by_window` wrote them.
    window : Window or None
        The window: packets outside it and its margins are left out. None keeps all.
    link : Link
        The link.
    folder : Path
        Where the frames are kept meanwhile.

    Returns
    -------
    WindowPackets
        Packets in order.
    """
    merge, reader = frame_merge.MergeAccount(), downlink.ChannelReader(link)
    runs: list[downlink.Run] = []
    segments = _stored(recordings, link, folder)
    for block in frame_merge.merged(segments, account=merge, checked=link.checks_frames):
        runs += [_compact(run) for run in reader.feed(block)]
    runs += reader.finish()
    return _selected(runs, merge, reader.account, window, link)


def _stored(recordings: list[Path], link: spacelink.Link, folder: Path) -> list[frame_epochs.Segment]:
    store = frame_store.FrameStore(folder, frame_length=link.layout.length)
    for number, path in enumerate(recordings):
        records: Records = np.load(path, mmap_mode="r")
        for first in range(0, len(records), frame_merge.BLOCK):
            part = records[first : first + frame_merge.BLOCK]
            downlink.store_frames(store, part["frame"], part["corrected"].astype(np.int64), number, link)
        path.unlink()
    return [segment for name in store.channels() for segment in store.segments(name)]


def _compact(run: downlink.Run) -> downlink.Run:
    """Packets of a run without the idle ones and without the frames around them."""
    packets, breaks = run.found.packets, run.found.breaks
    wanted = packets.apid != space_packet.IDLE_APID
    kept = packets.selected(wanted)
    table = space_packet.table(np.frombuffer(kept.content(), dtype=np.uint8), kept.length)
    return run._replace(found=run.found._replace(packets=table, breaks=breaks[wanted]))


def _selected(
    runs: list[downlink.Run],
    merge: frame_merge.MergeAccount,
    reader: space_packet.ReaderAccount,
    window: data_window.Window | None,
    link: spacelink.Link,
) -> WindowPackets:
    nothing = np.zeros(0, dtype=np.int64)
    octets = b"".join(run.found.packets.content() for run in runs)
    length = np.concatenate([nothing, *(run.found.packets.length for run in runs)])
    breaks = np.concatenate([nothing, *(run.found.breaks for run in runs)])
    packets = space_packet.table(np.frombuffer(octets, dtype=np.uint8), length)
    passed = space_packet.checked(packets) if link.packet_check == "crc16" else np.ones(length.size, dtype=np.bool_)
    # a packet that fails its check is an interruption to those that follow
    breaks = breaks + np.cumsum(~passed)
    time = np.full(length.size, np.nan)
    time[passed] = data_window.packet_time(packets.selected(passed), code=link.packet_time)
    time = data_window.continued(time)
    keep = passed & (packets.apid != space_packet.IDLE_APID)
    if window is not None:
        keep &= (time >= window.start - data_window.MARGIN) & (time < window.stop + data_window.MARGIN)
    return WindowPackets(
        packets=packets.selected(keep),
        time=time[keep],
        breaks=breaks[keep],
        zones={"in": reader.octets, "packets": reader.packet_octets, "dropped": reader.dropped_octets},
        held=merge.held,
        conflicts=merge.conflicts,
        check_failed=int(np.sum(~passed)),
    )


def stretches_of(octets: Iterator[bytes]) -> Iterator[ByteArray]:
    """Octets read from somewhere as the stretches a decode takes.

    Parameters
    ----------
    octets : iterator of bytes
        The octets, in pieces.

    Yields
    ------
    ByteArray
        The pieces, shape (octet,) [1].
    """
    for piece in octets:
        yield np.frombuffer(piece, dtype=np.uint8)
