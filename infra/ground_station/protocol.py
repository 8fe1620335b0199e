"""What goes over the line of a live reception: a session's header, its octets, the totals that acknowledge them."""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

MAGIC = b"TLRECEIVE1 "
LONGEST_HEADER = 160
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
HIGH_WATER = 4 << 20
"""Octets of a connection that may wait for the disk before its sender is held up."""
DRAIN_SECONDS = 5.0


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
        self.peer = address(transport.get_extra_info("peername"))
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


def address(name: Any) -> str:
    """Address of a socket as people write it."""
    if not isinstance(name, tuple):
        return "?"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
