"""Stages of the downlink: recordings to frames, frames of all recordings to the packets of each virtual channel.

Whatever pieces, copies and stations a pass comes in, frames are gathered by half hours of on-board time before a packet
is read from them; so the products depend on what was received, not on how.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from infra import archive, completeness_ledger
from infra import ledger as facts
from infra.stages import links
from infra.stages.execution import NotApplicableError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from processors.arrays import ByteArray, FloatArray, IntArray
from processors.ccsds import link as spacelink
from processors.ccsds import space_packet
from processors.level0 import data_window, downlink, frame_decoder, frame_store, window_frames

MEDIA_TYPE = "application/x-npy"
PACKET_RECORD = np.dtype([("length", "<u4"), ("breaks", "<u4"), ("time", "<f8")])


def decode_recording(unit: Unit, workspace: Workspace) -> UnitResult:
    """Decode one landed recording to frames by virtual channel and window, and enter it into the completeness ledger.

    A recording is known by its content: the same under another key gives the same granules.
    """
    (landed,) = unit.granules
    station, name = _station_and_link(landed.key)
    link = spacelink.link_from_mapping(links.definition(name))
    recording = archive.short(landed.sha256)
    if link.stream == "packets":
        made, account = _decoded_packets(workspace, landed, link, recording)
        held: dict[str, Any] = {}
        times = window_frames.ChannelTimes(np.nan, np.nan)
    else:
        made, account, held, times = _decoded_frames(workspace, landed, link, recording)
        _require_frames(account, name)
    workspace.completeness.record_reception(
        completeness_ledger.Reception(
            recording=landed.sha256,
            key=landed.key,
            link=name,
            station=station,
            size=landed.size,
            account=account,
            held=held,
            first_time=_known(times.first),
            last_time=_known(times.last),
        )
    )
    return UnitResult(tuple(made), report=_report(account), partial="; ".join(_cut(account)) or None)


def _known(time: float) -> float | None:
    return float(time) if np.isfinite(time) else None


def _station_and_link(key: str) -> tuple[str, str]:
    parts = archive.landing_parts(key)
    if len(parts) != 2 or parts[1] not in links.names():
        raise quality.BadInputError(
            "unknown_link",
            f"{key} does not say its link: land it as downlink/<station>/<link>/<file>, "
            f"link one of {', '.join(sorted(links.names()))}",
        )
    return parts[0], parts[1]


def _require_frames(account: dict[str, Any], name: str) -> None:
    frames = account["frames"]
    if frames["received"] and not frames["accepted"]:
        found = ", ".join(f"{count} {kind}" for kind, count in frames.items() if count and kind != "received")
        raise quality.BadInputError("link_mismatch", f"no frame of the recording is of link {name}: {found}")


def _cut(account: dict[str, Any]) -> list[str]:
    octets = account["bytes"]
    left = {name: octets[name] for name in ("junk", "tail") if octets[name]}
    if not left:
        return []
    named = " and ".join(f"{count} octets of {name}" for name, count in left.items())
    return [f"used as far as it goes: {named} are no whole frame (a recording cut in mid-frame, or noise around it)"]


def _report(account: dict[str, Any]) -> dict[str, Any]:
    frames, channels = account["frames"], account["virtual_channels"]
    return {
        "frames": frames["accepted"],
        "missing_frames": sum(row["missing"] for row in channels),
        "packets": sum(row["count"] for row in account["packets"]),
        "missing_packets": sum(row["missing"] for row in account["packets"]),
        "rejected_frames": sum(frames[name] for name in ("uncorrectable", "check_failed", "invalid")),
        "foreign_frames": frames["foreign"],
    }


class _WindowedSink(downlink.DiscardingSink):
    """Hands the frames of a decode on by window, and keeps what was rejected."""

    def __init__(self, folder: Path) -> None:
        self.files: list[window_frames.WindowFrames] = []
        self.rejected: dict[str, Path] = {}
        self.fragments: list[frame_decoder.Fragments] = []
        self._folder = folder
        self._times: list[window_frames.ChannelTimes] = []

    @property
    def times(self) -> window_frames.ChannelTimes:
        """First and last on-board time of the recording."""
        known = [time for times in self._times for time in times if np.isfinite(time)]
        return window_frames.ChannelTimes(min(known, default=np.nan), max(known, default=np.nan))

    @property
    def windows(self) -> list[int]:
        """Windows the recording has packets of."""
        return sorted({file.window for file in self.files if file.window is not None})

    def add_rejected(self, fate: str, content: bytes) -> None:
        """Keep what failed a check."""
        path = self.rejected.setdefault(fate, self._folder / fate)
        with path.open("ab") as file:
            file.write(content)

    def add_channel(self, name: frame_store.ChannelName, segments: list[Any], link: spacelink.Link) -> None:
        """Write the frames of a channel by window."""
        files, times = window_frames.by_window(name, segments, link=link, folder=self._folder)
        self.files += files
        self._times.append(times)

    def add_fragments(self, fragments: frame_decoder.Fragments) -> None:
        """Keep the pieces of frames at the ends of the recording."""
        self.fragments.append(fragments)


def _decoded_frames(
    workspace: Workspace, landed: facts.Granule, link: spacelink.Link, recording: str
) -> tuple[list[NewGranule], dict[str, Any], dict[str, Any], window_frames.ChannelTimes]:
    sink = _WindowedSink(workspace.scratch_folder("frames"))
    stretches = window_frames.stretches_of(workspace.stretches(landed))
    account = downlink.decode_into(
        sink,
        [downlink.Recording(landed.key, stretches)],
        link=link,
        folder=workspace.scratch_folder("store"),
    )
    files = [placed for file in sink.files for placed in _placed(file, sink.windows, link)]
    made = [_frames_granule(file, link, recording) for file in files]
    made += [_rejected_granule(fate, path, recording) for fate, path in sorted(sink.rejected.items())]
    if link.packet_time != "none" and sink.fragments:
        made += list(_fragment_granules(sink.fragments[0], sink.windows, link, recording))
    held = {
        f"{row['scid']}/{row['vcid']}/{epoch}": intervals
        for row in account["counters"]
        for epoch, intervals in enumerate(row["held"])
    }
    return made, account, held, sink.times


def _placed(
    file: window_frames.WindowFrames, windows: list[int], link: spacelink.Link
) -> list[window_frames.WindowFrames]:
    """Frames of a channel without a whole packet, in every window of the recording: another may hold the rest of it."""
    longest = -(-space_packet.LONGEST // link.layout.zone_length) + 1
    if file.window is not None or not windows or file.frames > 2 * longest:
        return [file]
    return [file._replace(window=number) for number in windows]


def _frames_granule(file: window_frames.WindowFrames, link: spacelink.Link, recording: str) -> NewGranule:
    window = _window_name(file.window, recording)
    group = archive.identity(link.name, str(file.scid), str(file.vcid), window)
    attributes = {"link": link.name, "scid": file.scid, "vcid": file.vcid, "window": window, "frames": file.frames}
    return NewGranule("frames", archive.identity(group, recording), group, file.path, ".npy", MEDIA_TYPE, attributes)


def _window_name(number: int | None, recording: str) -> str:
    return f"pass-{recording}" if number is None else data_window.window_of(number).name


def _rejected_granule(fate: str, path: Path, recording: str) -> NewGranule:
    """Frames that failed a check are kept as they came: nobody reads them but a person who wonders why."""
    identity = archive.identity("rejected", recording, fate)
    return NewGranule("rejected_frames", identity, identity, path, ".bin", "application/octet-stream", {"fate": fate})


def _fragment_granules(
    fragments: frame_decoder.Fragments, windows: list[int], link: spacelink.Link, recording: str
) -> Iterator[NewGranule]:
    """Pieces of a frame, where the other piece may come with another recording that shares a window with this one.

    Nothing tells the time of a piece, and channels lie hours apart where some of them are played back.
    """
    ends = {
        "head": (fragments.head, {"bits": fragments.head_bits}),
        "tail": (fragments.tail, {"bit": fragments.tail_bit}),
    }
    for end, (octets, bits) in ends.items():
        for number in windows if octets.size else ():
            window = data_window.window_of(number).name
            group = archive.identity(link.name, "fragments", window)
            attributes = {"link": link.name, "end": end, "window": window, **bits}
            yield NewGranule(
                "fragment",
                archive.identity(group, recording, end),
                group,
                octets.tobytes(),
                ".bin",
                "application/octet-stream",
                attributes,
            )


def splice_frames(unit: Unit, workspace: Workspace) -> UnitResult:
    """Put frames together that lie half at the end of one recording and half at the begin of another."""
    link = spacelink.link_from_mapping(links.definition(str(unit.granules[0].attributes["link"])))
    octets = {granule.id: np.frombuffer(workspace.read(granule), dtype=np.uint8) for granule in unit.granules}
    nothing = np.zeros(0, dtype=np.uint8)
    heads = [
        frame_decoder.Fragments(octets[granule.id], granule.attributes["bits"], nothing, 0)
        for granule in unit.granules
        if granule.attributes["end"] == "head"
    ]
    tails = [
        (granule, frame_decoder.Fragments(nothing, 0, octets[granule.id], granule.attributes["bit"]))
        for granule in unit.granules
        if granule.attributes["end"] == "tail"
    ]
    made = []
    for granule, tail in tails:
        for head in heads:
            spliced = frame_decoder.splice(tail, head, link)
            if spliced is not None:
                made.append(_spliced_granule(spliced, granule, link, workspace))
                _record_spliced(spliced, granule, link, workspace)
    if not made:
        raise NotApplicableError("no two pieces make a frame")
    return UnitResult(tuple(made), report={"frames": len(made)})


def _spliced_granule(
    spliced: frame_decoder.DecodedFrames, tail: facts.Granule, link: spacelink.Link, workspace: Workspace
) -> NewGranule:
    scid, vcid = int(spliced.headers.scid[0]), int(spliced.headers.vcid[0])
    records = np.zeros(1, dtype=window_frames.record_type(link.layout.length))
    records["corrected"], records["frame"] = spliced.corrected, spliced.frames
    path = workspace.scratch_folder("spliced") / f"{tail.id}-{vcid}-{int(spliced.headers.counter[0])}.npy"
    np.save(path, records)
    window = str(tail.attributes["window"])
    group = archive.identity(link.name, str(scid), str(vcid), window)
    attributes = {"link": link.name, "scid": scid, "vcid": vcid, "window": window, "frames": 1}
    return NewGranule("frames", archive.identity(group, path.stem), group, path, ".npy", MEDIA_TYPE, attributes)


def _record_spliced(
    spliced: frame_decoder.DecodedFrames, tail: facts.Granule, link: spacelink.Link, workspace: Workspace
) -> None:
    """Enter the frame into the completeness ledger; its octets are counted with the recordings it came from."""
    scid, vcid, counter = (
        int(field[0]) for field in (spliced.headers.scid, spliced.headers.vcid, spliced.headers.counter)
    )
    workspace.completeness.record_reception(
        completeness_ledger.Reception(
            recording=hashlib.sha256(spliced.frames.tobytes()).hexdigest(),
            key=tail.group,
            link=link.name,
            station="spliced",
            size=0,
            account={
                "bytes": dict.fromkeys(("in", "frames", "junk", "tail"), 0),
                "frames": dict.fromkeys(downlink.FRAME_COUNTS, 0),
            },
            held={f"{scid}/{vcid}/0": [[counter, counter]]},
            first_time=None,
            last_time=None,
        )
    )


def _decoded_packets(
    workspace: Workspace, landed: facts.Granule, link: spacelink.Link, recording: str
) -> tuple[list[NewGranule], dict[str, Any]]:
    """Packets that another system has demultiplexed, by window."""
    octets = b"".join(workspace.stretches(landed))
    account = downlink.decode([octets], link=link).completeness
    packets = space_packet.packets_from_octets(np.frombuffer(octets, dtype=np.uint8)).packets
    if link.packet_check == "crc16":
        packets = packets.selected(space_packet.checked(packets))
    packets = packets.selected(packets.apid != space_packet.IDLE_APID)
    time = data_window.continued(data_window.packet_time(packets, code=link.packet_time))
    made = []
    for number, rows in _rows_by_window(time):
        table, window = packets.selected(rows), _window_name(number, recording)
        breaks = np.zeros_like(table.length)
        name = downlink.packet_channel(link)
        made.append(_packets_granule(table, breaks, time[rows], link, *name, window, source=recording))
    return made, account


def _rows_by_window(time: Any) -> Iterator[tuple[int | None, Any]]:
    if not np.isfinite(time).any():
        yield None, np.ones(time.size, dtype=np.bool_)
        return
    numbers = data_window.numbers(time)
    for number in np.unique(numbers).tolist():
        yield number, (numbers == number).any(axis=1)


def reassemble_packets(unit: Unit, workspace: Workspace) -> UnitResult:
    """Merge the frames of one virtual channel of all recordings of a window and cut them into packets."""
    about = unit.granules[0].attributes
    link = spacelink.link_from_mapping(links.definition(str(about["link"])))
    window = None if str(about["window"]).startswith("pass-") else data_window.window_named(str(about["window"]))
    recordings = [workspace.fetch(granule) for granule in unit.granules]
    found = window_frames.packets_of_window(
        recordings, window=window, link=link, folder=workspace.scratch_folder("store")
    )
    if found.packets.start.size == 0:
        raise NotApplicableError("no packet of this window is whole in the frames received")
    made = _packets_granule(
        found.packets, found.breaks, found.time, link, int(about["scid"]), int(about["vcid"]), str(about["window"])
    )
    zones = {**found.zones, "check_failed": found.check_failed}
    held = [intervals.tolist() for intervals in found.held]
    made = dataclasses.replace(
        made, attributes={**made.attributes, "zones": zones, "held": held, "conflicts": found.conflicts}
    )
    return UnitResult((made,), report={"packets": found.packets.start.size, **zones})


def _packets_granule(
    packets: space_packet.PacketTable,
    breaks: Any,
    time: Any,
    link: spacelink.Link,
    scid: int,
    vcid: int,
    window: str,
    *,
    source: str = "",
) -> NewGranule:
    """Packets of one channel: their number; length, breaks and time of each; and the packets back to back."""
    index = np.zeros(packets.start.size, dtype=PACKET_RECORD)
    index["length"], index["breaks"], index["time"] = packets.length, breaks, time
    body = np.int64(index.size).tobytes() + index.tobytes() + packets.content()
    group = archive.identity(link.name, str(scid), window)
    attributes = {"link": link.name, "scid": scid, "vcid": vcid, "window": window, "packets": index.size}
    identity = archive.identity(group, str(vcid), source)
    return NewGranule("channel_packets", identity, group, body, ".bin", "application/octet-stream", attributes)


class GranulePackets(NamedTuple):
    """Packets of a channel as they were stored: the table, breaks before each [1] and time of each [s]."""

    packets: space_packet.PacketTable
    breaks: IntArray
    time: FloatArray


def packets_from_granule(body: bytes) -> GranulePackets:
    """Packets of a channel as `reassemble_packets` wrote them."""
    count = int(np.frombuffer(body, dtype=np.int64, count=1)[0])
    index = np.frombuffer(body, dtype=PACKET_RECORD, count=count, offset=8)
    octets: ByteArray = np.frombuffer(body, dtype=np.uint8, offset=8 + index.nbytes)
    table = space_packet.table(octets, index["length"].astype(np.int64))
    return GranulePackets(table, index["breaks"].astype(np.int64), index["time"].astype(np.float64))
