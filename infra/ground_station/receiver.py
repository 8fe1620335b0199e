"""Connections of a live reception: octets from the line to the disk, totals back."""

import asyncio
import datetime as dt
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from infra.ground_station import protocol, spool

IDLE_SECONDS = 30.0
POLL_SECONDS = 0.25
STOP_SECONDS = 1.0
"""How long octets already under way are still taken in when the receiver is asked to end."""
Announce = Callable[[str], None]
Result = TypeVar("Result")


@dataclass
class Session:
    """A session the receiver knows of at this moment."""

    name: protocol.SessionName
    intake: spool.Intake
    resumable: bool = True
    channel: protocol.Channel | None = None
    markers: spool.MarkerCount = field(default_factory=spool.MarkerCount)
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
    spool : spool.Spool
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
        spool: spool.Spool,
        *,
        station: str,
        announce: Announce,
        recorded: Callable[[spool.Recording, bool], None],
        idle_seconds: float = IDLE_SECONDS,
        segment_octets: int | None = None,
        acknowledge_plain: bool = True,
    ) -> None:
        self.sessions: dict[protocol.SessionName, Session] = {}
        self._spool = spool
        self._station = station
        self._announce = announce
        self._recorded = recorded
        self._idle_seconds = idle_seconds
        self._segment = segment_octets
        self._acknowledge_plain = acknowledge_plain
        self._channels: set[protocol.Channel] = set()
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
        self._server = await loop.create_server(lambda: protocol.Channel(self._serve), host, port, start_serving=False)
        for name in self._spool.recover():
            self._session(name)
        await self._server.start_serving()
        self._sweeping = asyncio.create_task(self._sweep())
        return protocol.address(self._server.sockets[0].getsockname())

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

    def _session(self, name: protocol.SessionName, *, resumable: bool = True) -> Session:
        if name not in self.sessions:
            self.sessions[name] = Session(name, spool.Intake(self._spool, name), resumable)
        return self.sessions[name]

    async def _on_disk(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    async def _serve(self, channel: protocol.Channel) -> None:
        self._channels.add(channel)
        try:
            opening = await self._opening(channel)
            if opening is not None:
                await self._serve_session(channel, *opening)
        except protocol.HeaderError as error:
            self._announce(f"{channel.peer}: {error}; refused")
        except Exception as error:  # noqa: BLE001  one connection's surprise is not the others' end
            self._announce(f"{channel.peer}: {type(error).__name__}: {error}; connection closed")
        finally:
            self._channels.discard(channel)
            channel.close()

    async def _opening(self, channel: protocol.Channel) -> tuple[protocol.Header | None, bytes] | None:
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
            opening = protocol.opening_from_octets(seen, ended=ended)
            if opening is not None:
                return opening

    async def _serve_session(self, channel: protocol.Channel, header: protocol.Header | None, octets: bytes) -> None:
        given = header or protocol.Header(
            f"plain-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", None
        )
        session = self._session(
            protocol.SessionName(given.station or self._station, given.session), resumable=header is not None
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

    async def _receive(self, session: Session, channel: protocol.Channel, octets: bytes) -> None:
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

    async def _keep(self, session: Session, channel: protocol.Channel, octets: bytes) -> None:
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

    async def _leave(self, session: Session, channel: protocol.Channel) -> None:
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


def address_from_text(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; IPv6 addresses stand in brackets.

    Raises
    ------
    protocol.ReceptionError
        It is of another form.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or not _host(plain, bracketed):
        raise protocol.ReceptionError(
            f"{text!r} is no address to listen on: expected HOST:PORT, such as 127.0.0.1:5000"
        )
    return plain, int(port)


def _host(text: str, bracketed: bool) -> bool:
    return re.fullmatch(r"[0-9A-Fa-f:.]+" if bracketed else r"[A-Za-z0-9._-]+", text) is not None
