"""Live reception: what is acknowledged is on disk, and no interruption loses an octet or doubles one."""

import asyncio
import contextlib
import errno
import hashlib
import io
import json
import os
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rich.console
import yaml

from infra import archive, cli, ground_station, object_store, packet_files
from infra.cli import reception
from processors.ccsds import frame_sync, link
from processors.simulation import downlink as simulation
from processors.simulation import packets as encoder

LINK = Path(__file__).parents[2] / "infra/parameters/links/terralimb.yaml"
OURS = link.link_from_mapping(yaml.safe_load(LINK.read_text()))
NAME = ground_station.SessionName("tromso", "pass-1")
DATA = np.random.default_rng(7).bytes(300_000)


class Station:
    """A sender's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def total(self) -> int:
        """Next total of the receiver."""
        return int(struct.unpack(">Q", await asyncio.wait_for(self.reader.readexactly(8), 5))[0])

    async def name(self, session: str = "pass-1", station: str = "tromso") -> int:
        """Say which session this is; returns what the receiver holds of it."""
        self.writer.write(f"TLRECEIVE1 {session} {station}\n".encode())
        return await self.total()

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def reach(self, wanted: int) -> None:
        """Wait until so much is acknowledged."""
        while (told := await self.total()) < wanted:
            pass
        assert told == wanted

    async def finish(self) -> int | None:
        """End the stream in order; returns the last total."""
        self.writer.write_eof()
        answered = await asyncio.wait_for(self.reader.read(), 10)
        await self.leave()
        return struct.unpack(">Q", answered[-8:])[0] if answered else None

    async def leave(self, *, abruptly: bool = False) -> None:
        if abruptly:
            # Without lingering a close resets the connection, as the end of a machine or of its network does.
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Ground:
    """A receiver in a folder, as a station meets it."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.spool = ground_station.Spool(folder, link="terralimb")
        self.said: list[str] = []
        self.recorded: list[tuple[ground_station.Recording, bool]] = []
        self.receiver = ground_station.Receiver(
            self.spool,
            station="unnamed",
            announce=self.said.append,
            recorded=lambda recording, last: self.recorded.append((recording, last)),
            **options,  # type: ignore[arg-type]
        )

    async def connect(self) -> Station:
        return Station(*await asyncio.open_connection("127.0.0.1", self.port))

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, self.said
            await asyncio.sleep(0.005)

    async def __aenter__(self) -> "Ground":
        self.port = int((await self.receiver.listen("127.0.0.1", 0)).rpartition(":")[2])
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.receiver.close()
        self.spool.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_station.receiver, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(ground_station.receiver, "STOP_SECONDS", 0.2)


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[ground_station.Intake]:
    """Return a session's files in a folder of the test's own, held by no receiver yet."""
    spool = ground_station.Spool(tmp_path, link="terralimb")
    intake = ground_station.Intake(spool, NAME)
    yield intake
    intake.close()
    spool.close()


def recorded(folder: Path) -> bytes:
    """Octets of all recordings of the folder's one session, in the order they were sent."""
    documents = sorted(
        (json.loads(path.read_text()) for path in (folder / "recordings").glob("*.json")), key=lambda d: d["offset"]
    )
    contents = [(folder / "recordings" / document["file"]).read_bytes() for document in documents]
    ends = np.cumsum([0, *(len(content) for content in contents)])
    assert [document["offset"] for document in documents] == ends[:-1].tolist()
    assert [document["octets"] for document in documents] == [len(content) for content in contents]
    assert [document["sha256"] for document in documents] == [hashlib.sha256(c).hexdigest() for c in contents]
    return b"".join(contents)


def pieces(octets: bytes, seed: int) -> Iterator[bytes]:
    random = np.random.default_rng(seed)
    first = 0
    while first < len(octets):
        size = int(random.choice([1, 2, 3, 7, 1000, 1024, 30_000, 65_536]))
        yield octets[first : first + size]
        first += size


# Protocol


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"TLRECEIVE1 p", ("p", None)),
        (b"TLRECEIVE1 pass_1-A tromso", ("pass_1-A", "tromso")),
        (b"TLRECEIVE1 " + b"a" * 64 + b" " + b"b" * 64 + b"\r", ("a" * 64, "b" * 64)),
    ],
)
def test_a_session_header_names_session_and_station(line, header):
    assert ground_station.header_from_line(line) == header


@pytest.mark.parametrize("rest", [b"", b" ", b"../etc", b"a b c", b"a  b", b"a.b", b"\xff", b"a" * 65])
def test_a_session_header_of_another_form_is_refused(rest):
    with pytest.raises(ground_station.HeaderError):
        ground_station.opening_from_octets(b"TLRECEIVE1 " + rest + b"\nx", ended=False)


def test_a_header_is_recognized_wherever_it_is_cut():
    whole = b"TLRECEIVE1 pass-1 tromso\n"
    for size in range(len(whole)):
        assert ground_station.opening_from_octets(whole[:size], ended=False) is None
    found = ground_station.opening_from_octets(whole + b"\n\x1a", ended=False)
    assert found == (("pass-1", "tromso"), b"\n\x1a")


@pytest.mark.parametrize("octets", [b"TLRECEIVE2 x\n", b"TLX", b"\x1a\xcf\xfc\x1d", b"tlreceive1 x\n"])
def test_what_does_not_begin_with_the_magic_is_a_stream(octets):
    assert ground_station.opening_from_octets(octets, ended=False) == (None, octets)


def test_a_stream_that_ends_within_the_magic_is_a_stream_and_one_that_ends_within_the_header_is_refused():
    assert ground_station.opening_from_octets(b"TLREC", ended=True) == (None, b"TLREC")
    with pytest.raises(ground_station.HeaderError):
        ground_station.opening_from_octets(b"TLRECEIVE1 pass", ended=True)
    with pytest.raises(ground_station.HeaderError):
        ground_station.opening_from_octets(b"TLRECEIVE1 " + b"a" * 200, ended=False)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:65535", ("::1", 65535)), ("ground.example:7", ("ground.example", 7))],
)
def test_an_address_is_a_host_and_a_port(text, address):
    assert ground_station.address_from_text(text) == address


@pytest.mark.parametrize(
    "text", ["", "5000", ":5000", "host:", "host:65536", "host:-1", "host:x", "::1:5", "a b:5", "[x]:5"]
)
def test_anything_else_is_no_address(text):
    with pytest.raises(ground_station.ReceptionError, match="HOST:PORT"):
        ground_station.address_from_text(text)


# Octets


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_is_recorded_octet_by_octet_however_it_is_cut(tmp_path, seed):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            assert await station.name() == 0
            for piece in pieces(DATA, seed):
                await station.send(piece)
                if seed:
                    await asyncio.sleep(0)
            assert await station.finish() == len(DATA)
            assert [(r.station, r.session, last) for r, last in ground.recorded] == [("tromso", "pass-1", True)]

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == [".lock"]


@pytest.mark.parametrize("octets", [DATA, b"TL", b"TLRECEIVE"])
def test_a_plain_stream_is_recorded_as_it_is(tmp_path, octets):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            await station.send(octets)
            assert await station.finish() == len(octets)
            assert ground.recorded[0][0].station == "unnamed"

    asyncio.run(scenario())
    assert recorded(tmp_path) == octets


def test_a_connection_that_says_nothing_leaves_nothing(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            assert await (await ground.connect()).finish() is None
            station = await ground.connect()
            assert await station.name() == 0
            assert await station.finish() is None
            assert not ground.recorded

    asyncio.run(scenario())
    assert not list((tmp_path / "recordings").iterdir())


def test_a_sender_that_reads_no_acknowledgment_still_delivers_everything(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path, acknowledge_plain=False) as ground:
            station = await ground.connect()
            await station.send(DATA)
            assert await station.finish() is None

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA


def test_a_broken_header_is_refused_and_costs_others_nothing(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            good, bad = await ground.connect(), await ground.connect()
            await good.name()
            await bad.send(b"TLRECEIVE1 ../../etc/passwd\n" + DATA)
            with contextlib.suppress(ConnectionError):
                assert await bad.reader.read() == b""
            await bad.leave()
            await good.send(DATA)
            assert await good.finish() == len(DATA)
            assert any("refused" in text for text in ground.said)

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA


# Safety


class Disk:
    """What the disk was asked, in order; totals told to senders are compared with what was safe by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.safe = self.told = self.syncs = 0
        self.folder_synced = False
        self._folder = folder
        real_fsync, real_fdatasync = os.fsync, os.fdatasync
        real_acknowledgment = ground_station.acknowledgment

        def fdatasync(descriptor: int) -> None:
            before = os.fstat(descriptor).st_size
            real_fdatasync(descriptor)
            self.safe, self.syncs = before, self.syncs + 1

        def fsync(descriptor: int) -> None:
            real_fsync(descriptor)
            parts = list((folder / "spool").glob("*.part"))
            self.folder_synced |= bool(parts) and os.path.samestat(os.fstat(descriptor), (folder / "spool").stat())

        def acknowledgment(total: int) -> bytes:
            assert total <= self.safe
            assert total == 0 or self.folder_synced
            self.told = total
            return real_acknowledgment(total)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(ground_station.protocol, "acknowledgment", acknowledgment)


def test_an_acknowledged_total_never_exceeds_what_the_disk_has_confirmed(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, tmp_path)

    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            await station.name()
            sent = 0
            for piece in pieces(DATA, 1):
                await station.send(piece)
                sent += len(piece)
                if len(piece) > 1000:
                    await station.reach(sent)
            assert await station.finish() in {None, len(DATA)}

    asyncio.run(scenario())
    assert disk.told == len(DATA)
    assert disk.syncs > 3


def test_a_resumed_total_is_on_disk_before_it_is_told(tmp_path, monkeypatch, intake):
    """A killed receiver may leave octets in the cache only: they count once they are synchronised."""
    intake.append(DATA[:1000])
    with (tmp_path / "spool" / f"{NAME}.part").open("ab") as part:
        part.write(DATA[1000:1500])
    intake._spool.close()
    intake.close()
    disk = Disk(monkeypatch, tmp_path)

    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            assert await station.name() == 1500
            await station.send(DATA[1500:])
            assert await station.finish() == len(DATA)

    asyncio.run(scenario())
    assert disk.safe == len(DATA)
    assert recorded(tmp_path) == DATA


def test_a_slow_disk_holds_its_sender_up_and_memory_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(ground_station.protocol, "HIGH_WATER", 1 << 16)
    held: list[int] = []
    received, synced = ground_station.Channel.data_received, os.fdatasync

    def data_received(self: ground_station.Channel, data: bytes) -> None:
        received(self, data)
        held.append(len(self._arrived))

    monkeypatch.setattr(ground_station.Channel, "data_received", data_received)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (time.sleep(0.01), synced(descriptor))[1])
    stream = DATA * 20

    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            await station.name()
            await station.send(stream)
            assert await station.finish() == len(stream)

    asyncio.run(scenario())
    assert recorded(tmp_path) == stream
    assert max(held) < (1 << 16) + (1 << 18)


# Interruptions


@pytest.mark.parametrize("cut", [1, 1024 + 500, 100_001])
def test_a_sender_cut_off_in_mid_frame_goes_on_where_it_was(tmp_path, cut):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            await station.name()
            await station.send(DATA[:cut])
            await station.reach(cut)
            await station.leave(abruptly=True)
            await ground.until(lambda: ground.receiver.sessions[NAME].channel is None)
            assert not ground.recorded
            station = await ground.connect()
            assert await station.name() == cut
            await station.send(DATA[cut:])
            assert await station.finish() == len(DATA)

    asyncio.run(scenario())
    assert len(list((tmp_path / "recordings").glob("*.cadu"))) == 1
    assert recorded(tmp_path) == DATA


def test_a_receiver_told_to_end_acknowledges_what_it_has_and_its_successor_goes_on(tmp_path):
    async def first() -> int:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            await station.name()
            await station.send(DATA[:70_000])
            await ground.receiver.close()
            last = await asyncio.wait_for(station.reader.read(), 5)
            await station.leave()
            assert not ground.recorded
            return int(struct.unpack(">Q", last[-8:])[0])

    async def second(told: int) -> None:
        async with Ground(tmp_path) as ground:
            station = await ground.connect()
            assert await station.name() == told
            await station.send(DATA[told:])
            assert await station.finish() == len(DATA)

    told = asyncio.run(first())
    assert told == 70_000
    assert (tmp_path / "spool" / f"{NAME}.part").read_bytes() == DATA[:told]
    asyncio.run(second(told))
    assert recorded(tmp_path) == DATA


def test_a_session_left_by_an_earlier_receiver_is_finished_when_nobody_comes_back(tmp_path, intake):
    intake.append(DATA)
    intake._spool.close()
    intake.close()

    async def scenario() -> None:
        async with Ground(tmp_path, idle_seconds=0.1) as ground:
            assert not ground.recorded
            await ground.until(lambda: ground.recorded)
            assert not ground.receiver.sessions

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA


def test_silence_finishes_a_recording_and_the_connection_goes_on_in_the_next(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path, idle_seconds=0.1) as ground:
            station = await ground.connect()
            await station.name()
            await station.send(DATA[:5000])
            await ground.until(lambda: ground.recorded)
            await station.send(DATA[5000:])
            assert await station.finish() == len(DATA)
            assert len(ground.recorded) > 1
            assert (ground.recorded[0][0].offset, ground.recorded[0][0].octets) == (0, 5000)

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA


def test_a_finished_session_that_is_taken_up_again_goes_on_in_another_recording(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            for end in (4096, 100_000, len(DATA)):
                station = await ground.connect()
                held = await station.name()
                await station.send(DATA[held:end])
                assert await station.finish() == end

    asyncio.run(scenario())
    assert len(list((tmp_path / "recordings").glob("*.cadu"))) == 3
    assert recorded(tmp_path) == DATA


def test_segments_have_the_size_asked_for_and_the_totals_go_on(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path, segment_octets=65_536) as ground:
            station = await ground.connect()
            await station.name()
            await station.send(DATA)
            assert await station.finish() == len(DATA)
            assert [r.octets for r, _ in ground.recorded] == [65_536] * 4 + [len(DATA) - 4 * 65_536]
            assert [last for _, last in ground.recorded] == [False] * 4 + [True]

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA


def test_a_newer_connection_takes_a_session_over_from_one_that_hangs(tmp_path):
    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            hanging = await ground.connect()
            await hanging.name()
            await hanging.send(DATA[:3000])
            await hanging.reach(3000)
            station = await ground.connect()
            assert await station.name() == 3000
            await hanging.send(b"octets of a sender that was replaced")
            await station.send(DATA[3000:])
            assert await station.finish() == len(DATA)
            await hanging.leave()

    asyncio.run(scenario())
    assert recorded(tmp_path) == DATA


def test_octets_of_a_replaced_connection_that_still_wait_for_the_disk_do_not_follow_the_newer_ones(tmp_path):
    stream = DATA[:40_000]

    async def scenario() -> None:
        async with Ground(tmp_path, segment_octets=2000) as ground:
            hanging = await ground.connect()
            await hanging.name()
            await hanging.send(stream[:36_000])
            await ground.until(lambda: ground.recorded)
            station = await ground.connect()
            held = await station.name()
            assert held < 36_000
            await station.send(stream[held:])
            assert await station.finish() == len(stream)
            await hanging.leave()

    asyncio.run(scenario())
    assert recorded(tmp_path) == stream


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(12))
def test_whatever_step_of_finishing_a_kill_hits_the_session_is_recorded_once(tmp_path, monkeypatch, intake, step):
    intake.append(DATA)
    left = step

    def deadly(work: Callable[..., object]) -> Callable[..., object]:
        def attempt(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return work(*arguments, **options)

        return attempt

    with monkeypatch.context() as dying:
        for owner, name in ((os, "fsync"), (os, "close"), (Path, "rename"), (Path, "replace"), (Path, "unlink")):
            dying.setattr(owner, name, deadly(getattr(owner, name)))
        with contextlib.suppress(KilledError):
            intake.finish()
    intake._spool.close()

    spool = ground_station.Spool(tmp_path, link="terralimb")
    for name in spool.recover():
        ground_station.Intake(spool, name).finish()
    resumed = ground_station.Intake(spool, NAME)
    resumed.open()
    assert resumed.total == len(DATA)
    assert recorded(tmp_path) == DATA
    assert [recording.octets for recording in spool.recordings()] == [len(DATA)]
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == [".lock"]
    spool.close()


# Disk full


class FullDisk:
    """A disk that has room for so many octets of one session; the write that fails is a partial one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, part: Path, room: int) -> None:
        self.room = room
        real = os.write

        def write(descriptor: int, octets: bytes) -> int:
            if not part.exists() or not os.path.samestat(os.fstat(descriptor), part.stat()):
                return real(descriptor, octets)
            left = self.room - os.fstat(descriptor).st_size
            if left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, octets[:left])

        monkeypatch.setattr(os, "write", write)


def test_a_full_disk_ends_its_connection_keeps_what_is_safe_and_costs_others_nothing(tmp_path, monkeypatch):
    disk = FullDisk(monkeypatch, tmp_path / "spool" / f"{NAME}.part", room=100_000)

    async def scenario() -> None:
        async with Ground(tmp_path) as ground:
            other, station = await ground.connect(), await ground.connect()
            await other.name(station="svalbard")
            await station.name()
            await station.send(DATA[:60_000])
            await station.reach(60_000)
            await station.send(DATA[60_000:])
            with contextlib.suppress(ConnectionError):
                while answered := await station.reader.read(8):
                    assert struct.unpack(">Q", answered)[0] <= 100_000
            await station.leave()
            assert any("No space left on device" in text for text in ground.said)
            await other.send(DATA)
            assert await other.finish() == len(DATA)
            disk.room = 1 << 30
            station = await ground.connect()
            held = await station.name()
            assert 60_000 <= held <= 100_000
            await station.send(DATA[held:])
            assert await station.finish() == len(DATA)
            assert sorted(r.station for r, _ in ground.recorded) == ["svalbard", "tromso"]
            for recording, _ in ground.recorded:
                assert ground.spool.path(recording).read_bytes() == DATA

    asyncio.run(scenario())


def test_a_failed_synchronization_is_not_trusted_later(tmp_path, monkeypatch, intake):
    """After an error of the device the next synchronisation succeeds without having written anything."""
    intake.append(DATA[:1000])

    def failing(*arguments: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", failing)
        broken.setattr(os, "ftruncate", failing)
        with pytest.raises(OSError, match="Input/output"):
            intake.append(b"never safe")
    assert intake.total == 1000
    intake.append(DATA[1000:])
    assert intake.finish() is not None
    assert recorded(tmp_path) == DATA


# Folder


def test_one_receiver_at_a_time_uses_a_folder(tmp_path):
    first = ground_station.Spool(tmp_path, link="terralimb")
    with pytest.raises(ground_station.ReceptionError, match="in use"):
        ground_station.Spool(tmp_path, link="terralimb")
    first.close()
    ground_station.Spool(tmp_path, link="terralimb").close()


def test_recordings_of_two_links_do_not_share_a_folder(tmp_path):
    spool = ground_station.Spool(tmp_path, link="terralimb")
    intake = ground_station.Intake(spool, NAME)
    intake.append(DATA)
    intake.finish()
    spool.close()
    with pytest.raises(ground_station.ReceptionError, match="of link terralimb, not of suomi-npp"):
        ground_station.Spool(tmp_path, link="suomi-npp")


def test_markers_are_counted_in_both_polarities_and_across_pieces():
    marker = frame_sync.MARKER.to_bytes(4, "big")
    stream = b"".join(bytes(20) + (marker if i % 3 else bytes(o ^ 0xFF for o in marker)) for i in range(30))
    count = ground_station.MarkerCount()
    for piece in pieces(stream, 3):
        for part in (piece[:2], piece[2:]):
            count.add(part)
    assert count.count == 30


# What becomes of recordings


async def received(folder: Path, sent: dict[str, bytes]) -> AsyncIterator[None]:
    """Receive one session of every station at the same time."""
    async with Ground(folder) as ground:
        stations = {name: await ground.connect() for name in sent}
        for name, station in stations.items():
            await station.name(station=name)

        async def stream(name: str) -> None:
            for piece in pieces(sent[name], len(name)):
                await stations[name].send(piece)
                await asyncio.sleep(0)
            assert await stations[name].finish() == len(sent[name])

        await asyncio.gather(*map(stream, sent))
        yield


def receive(folder: Path, sent: dict[str, bytes]) -> None:
    async def scenario() -> None:
        async for _ in received(folder, sent):
            pass

    asyncio.run(scenario())


def aftercare(
    folder: Path, *, land: object = None, decode: object = None
) -> tuple[ground_station.Aftercare, ground_station.Spool, list[str]]:
    spool, said = ground_station.Spool(folder, link="terralimb"), []
    care = ground_station.Aftercare(spool, announce=said.append, land=land, decode=decode)  # type: ignore[arg-type]
    return care, spool, said


def decoding(folder: Path, seen: list[list[str]]) -> Callable[..., Awaitable[object]]:
    async def decode(paths: list[Path]) -> object:
        seen.append([path.name for path in paths])
        return packet_files.decode(paths, link=OURS, out=folder)

    return decode


def packets_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("packets/*/*/*.bin"))}


def modelled(lost: range, seed: int = 1) -> simulation.SimulatedPass:
    random = np.random.default_rng(seed)
    records = [encoder.PacketRecord(t, 0x20 + t % 3, random.bytes(int(random.integers(1, 3000)))) for t in range(120)]
    packets = {2: encoder.space_packets(records)}
    return simulation.assemble_pass(packets, link=OURS, spacecraft=76, lost_frames=[(2, n) for n in lost])


def test_two_stations_that_lost_different_frames_give_the_whole_pass(tmp_path):
    whole = modelled(range(0))
    receive(tmp_path / "live", {"tromso": modelled(range(20, 40)).cadus, "svalbard": modelled(range(60, 90)).cadus})
    seen: list[list[str]] = []
    care, spool, _ = aftercare(tmp_path / "live", decode=decoding(tmp_path / "live", seen))
    asyncio.run(care.settle())
    spool.close()
    (tmp_path / "pass.cadu").write_bytes(whole.cadus)
    packet_files.decode([tmp_path / "pass.cadu"], link=OURS, out=tmp_path / "file")
    assert packets_in(tmp_path / "live") == packets_in(tmp_path / "file") != {}
    account = json.loads((tmp_path / "live/completeness.json").read_text())
    assert sum(row["missing"] for row in account["virtual_channels"]) == 0
    assert account["frames"]["duplicate"] > 0


def test_recordings_are_decoded_once_and_again_when_there_is_another(tmp_path):
    cadus = modelled(range(0)).cadus
    seen: list[list[str]] = []
    for part in (cadus[: len(cadus) // 2 + 300], cadus[len(cadus) // 2 + 300 :]):
        receive(tmp_path, {f"station{len(seen)}": part})
        for _ in range(2):
            care, spool, _ = aftercare(tmp_path, decode=decoding(tmp_path, seen))
            asyncio.run(care.settle())
            spool.close()
    assert [len(files) for files in seen] == [1, 2]
    account = json.loads((tmp_path / "completeness.json").read_text())
    assert account["bytes"] == {"in": len(cadus), "frames": len(cadus), "junk": 0, "tail": 0}


def test_recordings_that_cannot_be_decoded_are_kept_and_reported_once(tmp_path):
    receive(tmp_path, {"tromso": DATA})
    seen: list[list[str]] = []

    async def decode(paths: list[Path]) -> object:
        seen.append([path.name for path in paths])
        raise ground_station.ReceptionError("configuration suspect")

    care, spool, said = aftercare(tmp_path, decode=decode)
    for _ in range(3):
        asyncio.run(care.settle())
    assert len(seen) == 1
    assert care.troubles == {seen[0][0]: "configuration suspect"}
    assert [text for text in said if "configuration suspect" in text]
    assert [spool.path(recording).read_bytes() for recording in spool.recordings()] == [DATA]
    spool.close()


class Store:
    """Store of one bucket that can fail, or keep something else than it was given."""

    def __init__(self, *, failing: bool = False, damaging: bool = False) -> None:
        self.failing, self.damaging = failing, damaging
        self.objects: dict[str, bytes] = {}

    def put_new(self, bucket: str, key: str, body: Path, *, media_type: str) -> None:
        if self.failing:
            raise object_store.StoreUnavailableError("the store sleeps")
        self.objects[key] = body.read_bytes()[: -1 if self.damaging else None]

    def digest(self, bucket: str, key: str) -> object_store.ContentDigest:
        return object_store.digest_of(self.objects[key])


def test_a_recording_is_removed_only_after_the_store_has_proved_to_hold_it(tmp_path):
    receive(tmp_path, {"tromso": DATA})
    store = Store(failing=True)
    care, spool, _ = aftercare(tmp_path, land=ground_station.land_in(store, "tl-landing"))  # type: ignore[arg-type]
    (recording,) = spool.recordings()
    asyncio.run(care.settle())
    assert "the store sleeps" in care.troubles[recording.file]
    store.failing, store.damaging = False, True
    asyncio.run(care.settle())
    assert "other octets" in care.troubles[recording.file]
    assert spool.path(recording).read_bytes() == DATA
    store.damaging = False
    asyncio.run(care.settle())
    (key,) = store.objects
    assert archive.landed_kind(key) == "landed_downlink"
    assert archive.landing_parts(key) == ["tromso", "terralimb"]
    assert archive.landing_name(key) == recording.file
    assert archive.landing_mark(key) == hashlib.sha256(DATA).hexdigest()[:12]
    assert store.objects[key] == DATA
    assert not spool.path(recording).exists()
    assert not care.troubles
    assert spool.held(ground_station.SessionName("tromso", "pass-1")) == len(DATA)
    spool.close()


def test_a_recording_that_is_landed_and_decoded_stays(tmp_path):
    receive(tmp_path, {"tromso": modelled(range(0)).cadus})
    store = Store()
    land = ground_station.land_in(store, "tl-landing")  # type: ignore[arg-type]
    care, spool, _ = aftercare(tmp_path, land=land, decode=decoding(tmp_path, []))
    asyncio.run(care.settle())
    (recording,) = spool.recordings()
    assert recording.landed in store.objects
    assert packets_in(tmp_path)
    spool.close()


# Command


def board(*, terminal: bool) -> tuple[reception.Board, io.StringIO]:
    out = io.StringIO()
    return reception.Board(rich.console.Console(file=out, force_terminal=terminal, width=120)), out


@pytest.mark.parametrize("terminal", [False, True])
def test_a_person_sees_how_every_session_stands(intake, monkeypatch, terminal):
    monkeypatch.setattr(reception, "LINE_SECONDS", 0.01)
    monkeypatch.setattr(reception, "TABLE_SECONDS", 0.01)
    intake.append(DATA[:12_345])
    session = ground_station.Session(NAME, intake, trouble="No space left on device")
    session.markers.add(frame_sync.MARKER.to_bytes(4, "big") * 678)
    shown, out = board(terminal=terminal)

    async def scenario() -> None:
        with shown.showing(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await shown.run({NAME: session})

    asyncio.run(scenario())
    for word in ("tromso", "pass-1", "12345", "678", *(["No space left on device"] if terminal else [])):
        assert word in out.getvalue()
    # Plain lines are for what moved.
    assert terminal or out.getvalue().count("12345") == 1


@pytest.mark.parametrize("error", [BrokenPipeError(), SystemExit(1)])
def test_a_reader_of_the_output_that_went_away_does_not_end_the_reception(error):
    class Gone(rich.console.Console):
        attempts = 0

        def print(self, *objects: object, **options: object) -> None:
            Gone.attempts += 1
            raise error

    shown = reception.Board(Gone(file=io.StringIO()))
    shown.announce("first")
    shown.announce("second")
    assert Gone.attempts == 2


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["terralimb", "downlink", "receive", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("text", ["name: [", "name: x\nstream: smoke\n", "- 1\n", ""])
def test_a_wrong_link_file_is_wrong_usage_in_one_sentence(tmp_path, monkeypatch, capsys, text):
    path = tmp_path / "link.yaml"
    path.write_text(text)
    assert command(monkeypatch, "--listen", "127.0.0.1:0", "--link", path, "--out", tmp_path / "out") == 2
    complaint = capsys.readouterr().err
    assert str(path) in complaint
    assert len(complaint.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--listen", "nowhere"], ["--listen", "127.0.0.1:0", "--station", "a/b"]])
def test_an_address_or_station_that_cannot_be_meant_is_wrong_usage(tmp_path, monkeypatch, capsys, options):
    assert command(monkeypatch, *options, "--link", LINK, "--out", tmp_path) == 2
    assert options[-1] in capsys.readouterr().err


def test_a_port_in_use_is_a_failure_in_one_sentence(tmp_path, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert command(monkeypatch, "--listen", address, "--link", LINK, "--out", tmp_path) == 1
    complaint = capsys.readouterr().err
    assert address in complaint
    assert "in use" in complaint
    assert len(complaint.splitlines()) == 1
