"""Live reception: octets of a downlink over TCP, safe on disk before they are acknowledged, then decoded as files are.

A sender opens a connection and streams. After every write that has reached the disk the receiver answers with the
total of octets it holds of the session. A sender that names its session first is told that total and goes on from
there, whoever of the two was restarted. docs/reception.md is the protocol's description.

On disk a session is `spool/<station>.<session>.part` while it grows, with what is known of it in the `.json` beside it,
and one or several recordings `recordings/<UTC>-<station>.<session>.cadu`, each with a `.json`, once it is finished. The
order of the writes makes each step repeatable: whatever moment the process is killed at, the files say where to go on.
"""

import asyncio
import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import mmap
import os
import re
import secrets
import shutil
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import yaml

from infra import archive, object_store, packet_files
from processors import quality
from processors.ccsds import frame_sync
from processors.ccsds import link as spacelink

MAGIC = b"TLRECEIVE1 "
LONGEST_HEADER = 160
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
HIGH_WATER = 4 << 20
"""Octets of a connection that may wait for the disk before its sender is held up."""
IDLE_SECONDS = 30.0
POLL_SECONDS = 0.25
STOP_SECONDS = 1.0
"""How long octets already under way are still taken in when the receiver is asked to end."""
DRAIN_SECONDS = 5.0
RETRY_SECONDS = 30.0
DECODED = "decoded.json"

Announce = Callable[[str], None]
Result = TypeVar("Result")


class ReceptionError(Exception):
    """The receiver cannot work as it was asked to."""


class HeaderError(Exception):
    """A sender's session header breaks the protocol."""


class Header(NamedTuple):
    """What a sender says of itself: its session, and its station where that is not the receiver's default."""

    session: str
    station: str | None


class SessionName(NamedTuple):
    """A session of a station; two stations may give theirs the same name."""

    station: str
    session: str

    def __str__(self) -> str:
        return f"{self.station}.{self.session}"


# Protocol


def header_from_line(line: bytes) -> Header:
    """Read a session header, `TLRECEIVE1 SESSION[ STATION]`, without its line feed.

    Raises
    ------
    HeaderError
        It is of another form.
    """
    words = line.decode("ascii", "replace").removesuffix("\r").split(" ")[1:]
    if len(words) not in (1, 2) or not all(NAME.fullmatch(word) for word in words):
        raise HeaderError(
            "the session header is not 'TLRECEIVE1 SESSION[ STATION]' with names of 1 to 64 letters, digits, - and _"
        )
    return Header(words[0], words[1] if len(words) == 2 else None)


def opening_from_octets(octets: bytes, *, ended: bool) -> tuple[Header | None, bytes] | None:
    """Tell a session header from a plain stream: (header, octets after it), or None while that is open.

    Raises
    ------
    HeaderError
        What begins like a header is none.
    """
    if not octets.startswith(MAGIC):
        return None if MAGIC.startswith(octets) and not ended else (None, octets)
    line, feed, _ = octets[: LONGEST_HEADER + 1].partition(b"\n")
    if feed:
        return header_from_line(line), octets[len(line) + 1 :]
    if ended or len(octets) > LONGEST_HEADER:
        raise HeaderError(f"the session header does not end within {LONGEST_HEADER} octets")
    return None


def acknowledgment(total: int) -> bytes:
    """Octets that tell a sender how much of its session is safe."""
    return struct.pack(">Q", total)


class Channel(asyncio.Protocol):
    """One connection: what arrived and waits, back pressure, acknowledgments that never wait for the sender."""

    def __init__(self, serve: Callable[["Channel"], Awaitable[None]]) -> None:
        self.ended: str | None = None
        """Why nothing more comes: closed (in order), lost, replaced; None while more may come."""
        self.told = -1
        """Newest total handed to the network."""
        self.peer = "?"
        self.task: asyncio.Future[None] | None = None
        self._serve = serve
        self._arrived = bytearray()
        self._news = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self.peer = _address(transport.get_extra_info("peername"))
        # A sender that vanished without a word is noticed sooner or later.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.task = asyncio.ensure_future(self._serve(self))

    def data_received(self, data: bytes) -> None:
        """Keep what arrived; hold the sender up where the disk does not keep pace."""
        self._arrived += data
        if len(self._arrived) >= HIGH_WATER and self._transport is not None:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """Note the orderly end of the stream; keep the way back open for acknowledgments."""
        self.end("closed")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone; what had arrived stays readable."""
        self._transport = None
        self.end("lost")

    def end(self, reason: str) -> None:
        """Expect nothing more."""
        self.ended = self.ended or reason
        self._news.set()

    async def read(self, seconds: float) -> bytes:
        """Everything that arrived; nothing where nothing came for so long, or the stream has ended."""
        if not self._arrived and self.ended is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        octets, self._arrived = bytes(self._arrived), bytearray()
        self._news.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return octets

    def acknowledge(self, total: int) -> None:
        """Tell the sender a new total, unless it has not even taken the last one: totals supersede each other."""
        transport = self._transport
        if transport is None or transport.is_closing() or total == self.told:
            return
        if transport.get_write_buffer_size() == 0:
            transport.write(acknowledgment(total))
            self.told = total

    async def tell(self, total: int) -> None:
        """Hand over a last total, unless the sender takes none for too long."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._unsent(total) and time.monotonic() < deadline:
            self.acknowledge(total)
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Close the connection; what was handed over still goes out."""
        if self._transport is not None:
            self._transport.close()

    def _unsent(self, total: int) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_closing() and self.told != total


# Disk


@dataclass(frozen=True)
class Recording:
    """A finished stretch of a session: the fields of the JSON beside it.

    `offset` is the number of octets of the session before it; `landed` the key in the landing bucket, once it is there.
    """

    file: str
    station: str
    session: str
    link: str
    started: str
    finished: str
    offset: int
    octets: int
    sha256: str
    landed: str | None = None


class Spool:
    """Folder of a receiver: sessions that grow and recordings that are finished; one receiver at a time.

    Parameters
    ----------
    folder : Path
        The folder; made where it is not there.
    link : str
        Name of the link all of it is of.

    Raises
    ------
    ReceptionError
        Another receiver uses the folder, or it holds recordings of another link.
    """

    def __init__(self, folder: Path, *, link: str) -> None:
        self.folder = folder
        self.link = link
        self.growing = folder / "spool"
        self.finished = folder / "recordings"
        for made in (self.growing, self.finished):
            made.mkdir(parents=True, exist_ok=True)
        self._lock = (self.growing / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ReceptionError(f"{folder} is in use by another receiver: stop that one, or choose another") from None
        try:
            self._check_link()
        except ReceptionError:
            self.close()
            raise

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.close()

    def _check_link(self) -> None:
        documents = [*self.finished.glob("*.json"), *self.growing.glob("*.json")]
        others = {_document(path)["link"] for path in documents} - {self.link}
        if others:
            raise ReceptionError(
                f"{self.folder} holds recordings of link {', '.join(sorted(others))}, not of {self.link}: "
                "choose another folder"
            )

    def recover(self) -> list[SessionName]:
        """Clean up after a receiver that was killed; returns the sessions that were growing."""
        leftovers = [*self.growing.glob(".*.partial"), *self.finished.glob(".*.partial")]
        documents = [path for path in self.growing.glob("*.json") if not path.with_suffix(".part").exists()]
        for path in (*leftovers, *documents):
            path.unlink()
        for path in self.folder.glob(".decoding-*"):
            shutil.rmtree(path, ignore_errors=True)
        names = (path.stem.partition(".") for path in sorted(self.growing.glob("*.part")))
        return [SessionName(station, session) for station, dot, session in names if dot]

    def recordings(self) -> list[Recording]:
        """Finished recordings whose octets are here, in the order of their files."""
        found = [Recording(**_document(path)) for path in sorted(self.finished.glob("*.json"))]
        return [recording for recording in found if self.path(recording).exists()]

    def path(self, recording: Recording) -> Path:
        """File that holds the octets of a recording."""
        return self.finished / recording.file

    def held(self, name: SessionName) -> int:
        """Octets in finished recordings of a session, those that have moved on to the store included [1]."""
        found = [Recording(**_document(path)) for path in self.finished.glob(f"*-{name}*.json")]
        return sum(
            recording.octets
            for recording in found
            if (recording.station, recording.session) == name
            and (recording.landed is not None or self.path(recording).exists())
        )

    def write(self, recording: Recording) -> None:
        """Write what is known of a recording beside it."""
        content = json.dumps(asdict(recording), indent=2) + "\n"
        packet_files.write_durably((self.finished / recording.file).with_suffix(".json"), content.encode())

    def decoded(self) -> set[str]:
        """Files the packets and the account in this folder were made from."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            return set(_document(self.folder / DECODED)["recordings"])
        return set()

    def mark_decoded(self, files: Sequence[str]) -> None:
        """Note what the packets and the account in this folder were made from."""
        content = json.dumps({"recordings": sorted(files)}, indent=2) + "\n"
        packet_files.write_durably(self.folder / DECODED, content.encode())


class Intake:
    """Octets of one session on disk. Its methods block and are called by one thread at a time.

    Parameters
    ----------
    spool : Spool
        Where it is kept.
    name : SessionName
        Whose octets.
    """

    def __init__(self, spool: Spool, name: SessionName) -> None:
        self.offset = 0
        """Octets of the session in finished recordings."""
        self.size = 0
        """Octets of the growing file that are on disk."""
        self._spool = spool
        self._name = name
        self._part = spool.growing / f"{name}.part"
        self._known = spool.growing / f"{name}.json"
        self._descriptor: int | None = None

    @property
    def total(self) -> int:
        """Octets of the session that are safe."""
        return self.offset + self.size

    def open(self) -> None:
        """Find out what is there, and make sure that it is on disk.

        Raises
        ------
        OSError
            The disk does not take it.
        """
        if self._descriptor is not None:
            return
        if not self._part.exists():
            self.offset, self.size = self._spool.held(self._name), 0
            return
        self.offset = int(_document(self._known)["offset"])
        descriptor = os.open(self._part, os.O_WRONLY | os.O_APPEND)
        try:
            # A killed receiver may have written octets it could not make safe any more.
            os.fdatasync(descriptor)
            _sync_folder(self._spool.growing)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self.size = descriptor, os.fstat(descriptor).st_size

    def append(self, octets: bytes | memoryview) -> None:
        """Add octets; they are on disk when this returns.

        Raises
        ------
        OSError
            The disk does not take them; the session is as it was before.
        """
        descriptor = self._begun()
        self._cut_back(descriptor)
        try:
            left = memoryview(octets)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fdatasync(descriptor)
        except OSError:
            # After a failed write to the device the cache tells nothing: what is not known to be safe goes.
            with contextlib.suppress(OSError):
                self._cut_back(descriptor)
            raise
        self.size += len(octets)

    def finish(self) -> Recording | None:
        """Turn the growing file into a recording; None where it holds nothing.

        Raises
        ------
        OSError
            The disk does not take it; asking again goes on from there.
        """
        self.open()
        if self._descriptor is None:
            return None
        self._cut_back(self._descriptor)
        if self.size == 0:
            self.close()
            self._part.unlink()
            self._known.unlink()
            return None
        recording = self._described()
        self._spool.write(recording)
        self._part.rename(self._spool.path(recording))
        self.close()
        self.offset, self.size = self.total, 0
        for folder in (self._spool.finished, self._spool.growing):
            _sync_folder(folder)
        self._known.unlink()
        return recording

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begun(self) -> int:
        if self._descriptor is None:
            known = {"link": self._spool.link, "started": _utc_now(), "offset": self.offset}
            packet_files.write_durably(self._known, (json.dumps(known) + "\n").encode())
            descriptor = os.open(self._part, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            self._descriptor = descriptor
            try:
                _sync_folder(self._spool.growing)
            except OSError:
                self.close()
                raise
        return self._descriptor

    def _cut_back(self, descriptor: int) -> None:
        """Remove octets that were written and never became safe, before others take their place."""
        if os.fstat(descriptor).st_size != self.size:
            os.ftruncate(descriptor, self.size)

    def _described(self) -> Recording:
        known = _document(self._known)
        with self._part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        compact = re.sub(r"[-:]|\.\d+", "", known["started"]).replace("+0000", "Z")
        place = f"-from-{self.offset}" if self.offset else ""
        return Recording(
            file=f"{compact}-{self._name}{place}.cadu",
            station=self._name.station,
            session=self._name.session,
            link=self._spool.link,
            started=known["started"],
            finished=_utc_now(),
            offset=self.offset,
            octets=self.size,
            sha256=sha256,
        )


class MarkerCount:
    """Count of attached sync markers that begin with an octet, in either polarity: a cheap sign of life."""

    def __init__(self) -> None:
        self.count = 0
        upright = frame_sync.MARKER.to_bytes(frame_sync.MARKER_LENGTH, "big")
        self._markers = (upright, bytes(octet ^ 0xFF for octet in upright))
        self._last = b""

    def add(self, octets: bytes | memoryview) -> None:
        """Look through the next octets."""
        stream = self._last + bytes(octets)
        self.count += sum(stream.count(marker) for marker in self._markers)
        self._last = stream[len(stream) - frame_sync.MARKER_LENGTH + 1 :] if len(stream) > 3 else stream


# Server


@dataclass
class Session:
    """A session the receiver knows of at this moment."""

    name: SessionName
    intake: Intake
    resumable: bool = True
    channel: Channel | None = None
    markers: MarkerCount = field(default_factory=MarkerCount)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    touched: float = field(default_factory=time.monotonic)
    """When something last happened, on the clock that never jumps [s]."""
    trouble: str | None = None
    """Why the disk took no more, until the sender comes back."""
    received: int = 0
    """Octets this receiver has taken in itself, since `began` [1]."""
    began: float = field(default_factory=time.monotonic)


class Receiver:
    """Server that takes streams in, session by session.

    Parameters
    ----------
    spool : Spool
        Where they go.
    station : str
        Station of senders that do not name theirs.
    announce : callable
        Told in a sentence what happens.
    recorded : callable
        Told each finished recording, and whether it ends its session or is a segment of it.
    idle_seconds : float
        Silence after which a session is finished [s].
    segment_octets : int or None
        Size at which a recording is finished and the session goes on in another [1, octets].
    acknowledge_plain : bool
        Whether plain streams are acknowledged; senders that never read are better off without.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        station: str,
        announce: Announce,
        recorded: Callable[[Recording, bool], None],
        idle_seconds: float = IDLE_SECONDS,
        segment_octets: int | None = None,
        acknowledge_plain: bool = True,
    ) -> None:
        self.sessions: dict[SessionName, Session] = {}
        self._spool = spool
        self._station = station
        self._announce = announce
        self._recorded = recorded
        self._idle_seconds = idle_seconds
        self._segment = segment_octets
        self._acknowledge_plain = acknowledge_plain
        self._channels: set[Channel] = set()
        self._stopping = False
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(max_workers=32, thread_name_prefix="reception")

    async def listen(self, host: str, port: int) -> str:
        """Take up what an earlier receiver left and accept connections; returns the actual address.

        Raises
        ------
        OSError
            The address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Channel(self._serve), host, port, start_serving=False)
        for name in self._spool.recover():
            self._session(name)
        await self._server.start_serving()
        self._sweeping = asyncio.create_task(self._sweep())
        return _address(self._server.sockets[0].getsockname())

    async def close(self) -> None:
        """Take in what is under way, acknowledge it and end; sessions stay resumable."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        tasks = [channel.task for channel in self._channels if channel.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        if self._sweeping is not None:
            # Not cancelled: the thread that finishes a session would go on without its lock.
            await self._sweeping
        for session in self.sessions.values():
            async with session.lock:
                session.intake.close()
        self._disk.shutdown()

    def _session(self, name: SessionName, *, resumable: bool = True) -> Session:
        if name not in self.sessions:
            self.sessions[name] = Session(name, Intake(self._spool, name), resumable)
        return self.sessions[name]

    async def _on_disk(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    async def _serve(self, channel: Channel) -> None:
        self._channels.add(channel)
        try:
            opening = await self._opening(channel)
            if opening is not None:
                await self._serve_session(channel, *opening)
        except HeaderError as error:
            self._announce(f"{channel.peer}: {error}; refused")
        except Exception as error:  # noqa: BLE001  one connection's surprise is not the others' end
            self._announce(f"{channel.peer}: {type(error).__name__}: {error}; connection closed")
        finally:
            self._channels.discard(channel)
            channel.close()

    async def _opening(self, channel: Channel) -> tuple[Header | None, bytes] | None:
        seen = b""
        silent_since = time.monotonic()
        while True:
            octets = await channel.read(POLL_SECONDS)
            if octets:
                seen, silent_since = seen + octets, time.monotonic()
            silent = time.monotonic() - silent_since > self._idle_seconds
            ended = channel.ended is not None or self._stopping or (silent and bool(seen))
            if ended and not seen:
                return None
            opening = opening_from_octets(seen, ended=ended)
            if opening is not None:
                return opening

    async def _serve_session(self, channel: Channel, header: Header | None, octets: bytes) -> None:
        given = header or Header(f"plain-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", None)
        session = self._session(
            SessionName(given.station or self._station, given.session), resumable=header is not None
        )
        previous, session.channel = session.channel, channel
        if previous is not None:
            previous.end("replaced")
        try:
            await self._receive(session, channel, octets)
        except OSError as error:
            session.trouble = error.strerror or str(error)
            self._announce(
                f"{session.name}: the disk takes no more ({session.trouble}): {session.intake.total} octets are safe "
                "and acknowledged, connection closed; the sender can go on from there when there is room"
            )
        finally:
            await self._leave(session, channel)

    def _acknowledges(self, session: Session) -> bool:
        return session.resumable or self._acknowledge_plain

    async def _receive(self, session: Session, channel: Channel, octets: bytes) -> None:
        """Take in a stream until it ends, another connection takes its place, or the receiver ends."""
        async with session.lock:
            await self._on_disk(session.intake.open)
        session.trouble, session.touched = None, time.monotonic()
        self._announce(f"{session.name}: connected from {channel.peer}, {session.intake.total} octets held")
        if session.resumable and session.channel is channel:
            channel.acknowledge(session.intake.total)
        stop_at = float("inf")
        while True:
            if octets:
                await self._keep(session, channel, octets)
            if self._acknowledges(session) and session.intake.total:
                channel.acknowledge(session.intake.total)
            if self._stopping:
                stop_at = min(stop_at, time.monotonic() + STOP_SECONDS)
            octets = await channel.read(POLL_SECONDS if not self._stopping else POLL_SECONDS / 5)
            finished = channel.ended is not None or self._stopping
            if session.channel is not channel or time.monotonic() > stop_at or (finished and not octets):
                return

    async def _keep(self, session: Session, channel: Channel, octets: bytes) -> None:
        left = memoryview(octets)
        while left:
            async with session.lock:
                # Checked while nobody else writes: the connection that took over was told a total without these.
                if session.channel is not channel:
                    return
                room = len(left) if self._segment is None else max(self._segment - session.intake.size, 0)
                await self._on_disk(session.intake.append, left[:room])
                await self._on_disk(session.markers.add, left[:room])
                session.received += len(left[:room])
                session.touched = time.monotonic()
                if self._segment is not None and session.intake.size >= self._segment:
                    await self._finish(session, last=False)
            left = left[room:]

    async def _leave(self, session: Session, channel: Channel) -> None:
        """Tell the last total; finish what is complete or can never go on."""
        total = session.intake.total
        if total and session.channel is channel and self._acknowledges(session):
            await channel.tell(total)
        if session.channel is not channel:
            return
        session.channel, session.touched = None, time.monotonic()
        complete = channel.ended == "closed" or not session.resumable
        if complete and not self._stopping and session.trouble is None:
            await self._finish_when_possible(session)

    async def _finish_when_possible(self, session: Session) -> None:
        async with session.lock:
            session.touched = time.monotonic()
            try:
                await self._finish(session, last=True)
            except (OSError, ValueError, KeyError) as error:
                self._announce(f"{session.name}: cannot be finished yet: {error}; tried again later")
                return
            if session.channel is None:
                self.sessions.pop(session.name, None)

    async def _finish(self, session: Session, *, last: bool) -> None:
        recording = await self._on_disk(session.intake.finish)
        if recording is not None:
            self._announce(f"{session.name}: finished {recording.file}, {recording.octets} octets")
            self._recorded(recording, last)

    async def _sweep(self) -> None:
        """Finish sessions that have been silent for too long."""
        while not self._stopping:
            await asyncio.sleep(min(POLL_SECONDS, self._idle_seconds / 4))
            for session in list(self.sessions.values()):
                silent = time.monotonic() - session.touched > self._idle_seconds
                if silent and not session.lock.locked():
                    await self._finish_when_possible(session)


# What becomes of recordings


class Landing(Protocol):
    """Way into the installation's store."""

    def __call__(self, recording: Recording, path: Path) -> str:
        """Land a recording, prove it, and return its key."""


class Decoding(Protocol):
    """Way from recordings to packets."""

    def __call__(self, paths: Sequence[Path]) -> Awaitable[dict[str, Any]]:
        """Decode recordings together and return the account."""


class Aftercare:
    """What happens to finished recordings: landed and decoded, also those an earlier receiver left.

    Parameters
    ----------
    spool : Spool
        Where they are.
    announce : callable
        Told in a sentence what happens.
    land : Landing or None
        How they are landed.
    decode : Decoding or None
        How they are decoded; without it a recording is removed once it has landed.
    """

    def __init__(self, spool: Spool, *, announce: Announce, land: Landing | None, decode: Decoding | None) -> None:
        self.troubles: dict[str, str] = {}
        """Files that could not be landed or decoded at the last attempt, and why."""
        self._spool = spool
        self._announce = announce
        self._land = land
        self._decode = decode
        self._news = asyncio.Event()
        self._refused: set[str] | None = None
        self._settling = asyncio.Lock()

    def notice(self) -> None:
        """Look again soon: there is a new recording."""
        self._news.set()

    async def run(self) -> None:
        """Care for recordings for ever; what failed to land is tried again from time to time."""
        while True:
            self._news.clear()
            try:
                await self.settle()
            except Exception as error:  # noqa: BLE001  whatever one attempt met, reception goes on and the next may succeed
                self._announce(f"{self._spool.folder}: {type(error).__name__}: {error}; tried again later")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._news.wait()

    async def settle(self) -> None:
        """Land and decode what is due."""
        async with self._settling:
            await self._settle()

    async def _settle(self) -> None:
        for recording in self._spool.recordings():
            if self._land is not None and recording.landed is None:
                await asyncio.to_thread(self._try_to_land, recording)
            elif recording.landed is not None and self._decode is None:
                self._spool.path(recording).unlink()
        if self._decode is not None:
            await self._decode_all(self._decode)

    def _try_to_land(self, recording: Recording) -> None:
        path = self._spool.path(recording)
        try:
            key = self._land(recording, path) if self._land is not None else ""
        except (OSError, object_store.ObjectStoreError, ReceptionError) as error:
            self.troubles[recording.file] = str(error)
            self._announce(f"{recording.file}: not landed: {error}; tried again later")
            return
        self._spool.write(replace(recording, landed=key))
        self.troubles.pop(recording.file, None)
        self._announce(f"{recording.file}: landed as {key}")
        if self._decode is None:
            path.unlink()

    async def _decode_all(self, decode: Decoding) -> None:
        files = {recording.file for recording in self._spool.recordings()}
        if files == self._refused or files <= self._spool.decoded():
            return
        try:
            account = await decode([self._spool.finished / file for file in sorted(files)])
        except ReceptionError as error:
            self._refused = files
            self.troubles |= dict.fromkeys(files, str(error))
            self._announce(f"not decoded: {error}; tried again with the next recording")
            return
        self._refused = None
        self._spool.mark_decoded(sorted(files))
        failed = {Path(row["recording"]).name: row["reason"] for row in account.get("failed", [])}
        for file in files:
            self.troubles.pop(file, None)
        self.troubles |= failed
        self._announce_decoded(account, len(files), failed)

    def _announce_decoded(self, account: dict[str, Any], count: int, failed: dict[str, str]) -> None:
        frames, packets = (
            account["frames"]["accepted"],
            sum(row["count"] for row in account["packets"] if not row["idle"]),
        )
        missing = sum(row["missing"] for row in account["virtual_channels"])
        self._announce(f"decoded {count} recordings: {frames} frames, {missing} missing, {packets} packets")
        for reason in failed.values():
            self._announce(f"not decoded: {reason}")


def land_in(store: object_store.ObjectStore, bucket: str) -> Landing:
    """Way into a landing bucket: put under a key that names station, link and content, then read back and compare."""

    def land(recording: Recording, path: Path) -> str:
        folder = archive.landing_key("landed_downlink", recording.station, recording.link, recording.file)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # Only hashed there: a mapped file does for the octets, however large.
            key = archive.landing_version(folder, cast(bytes, content))
        store.put_new(bucket, key, path, media_type="application/octet-stream")
        found = store.digest(bucket, key)
        if (found.size, found.sha256) != (recording.octets, recording.sha256):
            raise ReceptionError(f"{bucket}/{key} came back with other octets than were received")
        return key

    return land


# Decoding in a process of its own: it takes nothing from the reception, whatever it needs


def link_from_file(path: Path) -> spacelink.Link:
    """Link a LINK.yaml describes.

    Raises
    ------
    ReceptionError
        It is no link definition.
    """
    try:
        loaded = yaml.safe_load(path.read_text())
        return spacelink.link_from_mapping(loaded)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, quality.BadInputError) as error:
        reason = " ".join(str(error).split())
        raise ReceptionError(f"{path} is not a link definition: {reason}") from error


def decode_with(link_file: Path, out: Path) -> Decoding:
    """Way from recordings to `out/packets` and `out/completeness.json`, as `downlink decode` makes them."""

    async def decode(paths: Sequence[Path]) -> dict[str, Any]:
        request = {"link": str(link_file.resolve()), "out": str(out.resolve()), "paths": [str(p) for p in paths]}
        child = await asyncio.create_subprocess_exec(
            # It must not outlive a receiver that was killed, whose successor decodes into the same folder.
            *("setpriv", "--pdeathsig", "KILL", sys.executable, "-c"),
            "from infra import ground_station; ground_station.decode_requested()",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            answer, complaint = await child.communicate(json.dumps(request).encode())
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
            raise
        if child.returncode != 0:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise ReceptionError(last or f"the decoder ended with status {child.returncode}")
        account: dict[str, Any] = json.loads(answer)
        return account

    return decode


def decode_requested() -> None:
    """Decode what the request on standard input names; the account goes to standard output."""
    os.nice(5)
    request = json.load(sys.stdin)
    try:
        link = link_from_file(Path(request["link"]))
        account = packet_files.decode([Path(path) for path in request["paths"]], link=link, out=Path(request["out"]))
    except (quality.BadInputError, ReceptionError, OSError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        sys.exit(1)
    json.dump(account, sys.stdout)


# Small things


def address_from_text(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; IPv6 addresses stand in brackets.

    Raises
    ------
    ReceptionError
        It is of another form.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or not _host(plain, bracketed):
        raise ReceptionError(f"{text!r} is no address to listen on: expected HOST:PORT, such as 127.0.0.1:5000")
    return plain, int(port)


def _host(text: str, bracketed: bool) -> bool:
    return re.fullmatch(r"[0-9A-Fa-f:.]+" if bracketed else r"[A-Za-z0-9._-]+", text) is not None


def _address(name: Any) -> str:
    if not isinstance(name, tuple):
        return "?"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def _utc_now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
