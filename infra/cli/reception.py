"""The command of live reception: a TCP port that takes CADUs in, and what a person sees of it."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra import settings

if TYPE_CHECKING:
    from infra import ground_station, object_store

LINE_SECONDS = 5.0
"""Time between two plain lines about a session [s]."""
TABLE_SECONDS = 0.5


def receive(
    listen: str = typer.Option(..., "--listen", help="HOST:PORT to take streams in; port 0 chooses a free one."),
    link: Path = typer.Option(..., "--link", help="LINK.yaml: what the streams are."),
    out: Path | None = typer.Option(
        None, "--out", file_okay=False, help="Folder for spool/, recordings/, packets/ and completeness.json."
    ),
    station: str = typer.Option("station", "--station", help="Station of senders that do not name theirs."),
    land: bool = typer.Option(False, "--land", help="Put recordings into the landing bucket, for the chain."),
    segment_mib: int = typer.Option(
        0, "--segment-mib", min=0, help="Size [MiB] at which a session goes on in another recording; 0: never."
    ),
    idle_seconds: float = typer.Option(30.0, "--idle-seconds", min=0.1, help="Silence that ends a session [s]."),
    acknowledge_plain: bool = typer.Option(
        True, "--acknowledge-plain/--no-acknowledge-plain", help="Acknowledge streams without a session header."
    ),
    once: bool = typer.Option(False, "--once", help="End when the first finished session has been decoded."),
) -> None:
    """Receive CADUs live over TCP: safe on disk, acknowledged, decoded as files are.

    A sender streams; after each write that reached the disk it is told the octets held so far, as 8 octets,
    big-endian. A sender that first says 'TLRECEIVE1 SESSION' and a line feed goes on where it was after any
    interruption (docs/reception.md).

    All recordings of the folder are merged into packets/ and completeness.json whenever one is finished. With --land
    and without --out they go to the landing bucket only and are removed here once the store's copy was checked.
    """
    from infra import ground_station

    try:
        host, port = ground_station.address_from_text(listen)
        definition = ground_station.link_from_file(link)
        _check_names(station, definition.name, land=land)
    except ground_station.ReceptionError as error:
        _refuse(str(error))
    folder = (out or settings.current().home / "reception" / definition.name).resolve()
    spool = ground_station.Spool(folder, link=definition.name)
    try:
        board = Board(Console(soft_wrap=True))
        care = ground_station.Aftercare(
            spool,
            announce=board.announce,
            land=_landing() if land else None,
            decode=None if land and out is None else ground_station.decode_with(link, folder),
        )
        reception = _Reception(spool, care, board, once=once)
        status = asyncio.run(
            reception.run(
                host,
                port,
                station=station,
                idle_seconds=idle_seconds,
                segment_octets=segment_mib << 20 or None,
                acknowledge_plain=acknowledge_plain,
            )
        )
    finally:
        spool.close()
    raise typer.Exit(status)


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"terralimb: {reason}\n")
    raise typer.Exit(2)


def _check_names(station: str, link: str, *, land: bool) -> None:
    from infra import ground_station
    from infra.stages import links

    if not ground_station.NAME.fullmatch(station):
        raise ground_station.ReceptionError(f"--station {station!r}: expected 1 to 64 letters, digits, - and _")
    if land and link not in links.names():
        known = ", ".join(sorted(links.names()))
        raise ground_station.ReceptionError(f"--land: the installation does not know link {link!r}, only {known}")


def _landing() -> "ground_station.Landing":
    """Way into the landing bucket; the store is looked for at each attempt, it may come later than we do."""
    from infra import ground_station

    def land(recording: "ground_station.Recording", path: Path) -> str:
        bucket = settings.current().bucket("landing")
        with contextlib.closing(_store()) as store:
            return ground_station.land_in(store, bucket)(recording, path)

    return land


def _store() -> "object_store.ObjectStore":
    from infra import ground_station, object_store
    from infra.embedded import object_store_server

    chosen = settings.current()
    if chosen.s3_endpoint_url is not None:
        return object_store.from_settings(chosen)
    server = object_store_server.running(chosen.home)
    if server is None:
        raise ground_station.ReceptionError(f"no object store runs in {chosen.home}: start 'terralimb up'")
    return server.connect()


@dataclass
class _Reception:
    """One run of the command."""

    spool: "ground_station.Spool"
    care: "ground_station.Aftercare"
    board: "Board"
    once: bool
    _first: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _recording: "ground_station.Recording | None" = None

    async def run(
        self,
        host: str,
        port: int,
        *,
        station: str,
        idle_seconds: float,
        segment_octets: int | None,
        acknowledge_plain: bool,
    ) -> int:
        """Receive until told to end; returns the exit status."""
        from infra import ground_station

        receiver = ground_station.Receiver(
            self.spool,
            station=station,
            announce=self.board.announce,
            recorded=self._recorded,
            idle_seconds=idle_seconds,
            segment_octets=segment_octets,
            acknowledge_plain=acknowledge_plain,
        )
        try:
            address = await receiver.listen(host, port)
        except OSError as error:
            reason = (error.strerror or str(error)).partition(": ")[2] or error.strerror or str(error)
            raise ground_station.ReceptionError(f"cannot listen on {host}:{port}: {reason}") from error
        self._end_in_order()
        self.board.announce(f"listening on {address}")
        self.board.announce(f"link {self.spool.link}, into {self.spool.folder}")
        caring = asyncio.create_task(self.care.run())
        with self.board.showing():
            showing = asyncio.create_task(self.board.run(receiver.sessions))
            await self._until_the_end()
            await receiver.close()
            showing.cancel()
        status = await self._status()
        caring.cancel()
        return status

    def _recorded(self, recording: "ground_station.Recording", last: bool) -> None:
        self.care.notice()
        if last and self._recording is None:
            self._recording = recording
            self._first.set()

    def _end_in_order(self) -> None:
        loop = asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            # A second signal ends at once: nothing acknowledged can be lost by it.
            loop.remove_signal_handler(number)
            self._stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)

    async def _until_the_end(self) -> None:
        waiting = [asyncio.create_task(self._stop.wait())]
        if self.once:
            waiting.append(asyncio.create_task(self._first.wait()))
        _, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _status(self) -> int:
        if self._stop.is_set() or self._recording is None:
            self.board.announce("ended; sessions that were not finished can be resumed")
            return 0
        settling = asyncio.create_task(self.care.settle())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([settling, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not settling.done():
            self.board.announce("ended; what is recorded is decoded at the next start")
            return 0
        settling.result()
        return 1 if self._recording.file in self.care.troubles else 0


class Board:
    """What a person sees: a live table on a terminal, plain lines elsewhere.

    Parameters
    ----------
    console : Console
        Where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._shown: dict[str, int] = {}
        self._rates: dict[str, _Rate] = {}

    def announce(self, text: str) -> None:
        """Say one thing that happened; a reader that went away does not end the reception."""
        with contextlib.suppress(OSError, SystemExit):
            self._console.print(text, highlight=False, markup=False)

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Show the table while the block runs, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    async def run(self, sessions: "dict[ground_station.SessionName, ground_station.Session]") -> None:
        """Keep telling how the sessions stand."""
        while True:
            await asyncio.sleep(LINE_SECONDS if self._live is None else TABLE_SECONDS)
            states = list(sessions.values())
            if self._live is not None:
                self._live.update(self._table(states), refresh=True)
            else:
                self._lines(states)

    def _lines(self, sessions: "list[ground_station.Session]") -> None:
        for session in sessions:
            name, total = str(session.name), session.intake.total
            rate = self._rate(session)
            if self._shown.get(name) != total:
                self._shown[name] = total
                self.announce(
                    f"{name}: {total} octets safe, {_told(session)} acknowledged, {rate:.1f} Mbit/s, "
                    f"{session.markers.count} markers"
                )

    def _table(self, sessions: "list[ground_station.Session]") -> Table:
        table = Table(show_edge=False)
        for column in ("station", "session", "octets safe", "acknowledged", "Mbit/s", "markers", "state"):
            left = column in {"station", "session", "state"}
            table.add_column(column, justify="left" if left else "right", overflow="fold")
        for session in sessions:
            total = session.intake.total
            rate = self._rate(session)
            state = session.trouble or ("connected" if session.channel is not None else "waiting for its sender")
            numbers = (str(total), _told(session), f"{rate:.1f}", str(session.markers.count))
            table.add_row(session.name.station, session.name.session, *numbers, state)
        return table

    def _rate(self, session: "ground_station.Session") -> float:
        # A name that is taken up again later is another session, whose count begins anew.
        rate = self._rates.get(str(session.name))
        if rate is None or rate.began != session.began:
            rate = self._rates[str(session.name)] = _Rate(session.began, session.began)
        return rate.update(session.received)


def _told(session: "ground_station.Session") -> str:
    return str(session.channel.told) if session.channel is not None and session.channel.told >= 0 else "-"


@dataclass
class _Rate:
    """Rate of a growing number of octets between two looks [Mbit s-1]."""

    began: float
    at: float
    received: int = 0

    def update(self, received: int) -> float:
        now = time.monotonic()
        rate = 8e-6 * (received - self.received) / max(now - self.at, 1e-3)
        self.received, self.at = received, now
        return rate
