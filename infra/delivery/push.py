"""Announcements pushed: every channel walks the outbox at its own pace and remembers how far it came.

A channel is one broker or one webhook. Its position moves after the other side has acknowledged, so an announcement
may arrive twice and never not at all. A channel that fails waits longer and longer and holds up no other: each has a
thread, a position and a back-off of its own. The feed and the pointers in the store do not depend on any of this.
"""

import dataclasses
import datetime as dt
import logging
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import entitlement, notices
from products import streams

_LOG = logging.getLogger(__name__)

#: Announcements read at once [1].
PAGE = 100
#: First and longest wait after failures [s].
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
_DOUBLINGS = 16
_REASON_LIMIT = 300
_NOTICES = "notices-"

metadata = sa.MetaData()
position_table = sa.Table(
    "push_position",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failing_since", sa.Text),
    sa.Column("reason", sa.Text),
)
set_aside_table = sa.Table(
    "push_set_aside",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("since", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
webhook_table = sa.Table(
    "webhook",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("agency", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("sectors", sa.JSON, nullable=False),
    sa.Column("districts", sa.JSON(none_as_null=True)),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("suspended_reason", sa.Text),
    sa.Column("suspended_at", sa.Text),
    sa.Column("created_at", sa.Text, nullable=False),
)


class ChannelError(Exception):
    """The other side did not take it; the text is for the operator and holds no secret."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """One announcement on its way.

    Attributes
    ----------
    sequence : int
        Position in the outbox [1].
    payload : Mapping[str, Any]
        The announcement, its links as the agencies reach them.
    item : infra.catalog_store.CatalogItem
        The revision it is about.
    """

    sequence: int
    payload: Mapping[str, Any]
    item: catalog_store.CatalogItem

    @property
    def districts(self) -> tuple[str, ...]:
        """Districts the item concerns.

        Returns
        -------
        tuple of str
            Codes of GB/T 2260; empty for a product of no district.
        """
        return tuple(self.item.document.get("properties", {}).get("cqeo:admin_codes") or ())

    @property
    def stream(self) -> streams.Stream:
        """Stream the item is in.

        Returns
        -------
        str
            One of `products.streams.STREAMS`.
        """
        return streams.of_collection(self.item.collection)

    def payload_for(self, principal: entitlement.Principal) -> Mapping[str, Any] | None:
        """What somebody is told of what agencies work with.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Whom.

        Returns
        -------
        Mapping or None
            The announcement; None for test data, and for what they may not see.
        """
        permitted = entitlement.permits(principal, sector=self.item.sector, admin_codes=self.districts)
        return self.payload if permitted and self.stream == streams.OPERATIONAL else None


class Outgoing(Protocol):
    """What goes over a channel: an announcement or a notice."""

    @property
    def sequence(self) -> int:
        """Its position."""

    def payload_for(self, principal: entitlement.Principal) -> Mapping[str, Any] | None:
        """What somebody is told; None where they are not."""


class Channel(Protocol):
    """One other side."""

    @property
    def name(self) -> str:
        """Name under which the position is kept."""

    def deliver(self, told: Sequence[Any]) -> Iterator[int]:
        """Deliver in order; yields the sequence up to which everything is acknowledged, raises `ChannelError`."""

    def close(self) -> None:
        """Let go of the other side."""


@runtime_checkable
class Retrying(Protocol):
    """A channel that sets aside what is wrong in itself, and tries it again when there is nothing else to deliver."""

    def catch_up(self) -> None:
        """Try at most one again, which may take minutes; raises `ChannelError`."""


class NoticeChannel:
    """A channel over which notices go; its position is one in the notices.

    Parameters
    ----------
    inner : Channel
        The other side, for notices only.
    """

    def __init__(self, inner: Channel) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """Name under which the position is kept."""
        return notice_channel(self._inner.name)

    def outgoing(self, catalog: catalog_store.CatalogStore, *, after: int, public_url: str) -> Sequence[Outgoing]:
        """Read the next notices."""

        def reached(*parts: str) -> str:
            return address(public_url, *parts)

        return notices.outgoing(catalog.engine, after=after, address=reached, limit=PAGE)

    def deliver(self, told: Sequence[Any]) -> Iterator[int]:
        """Deliver in order, as the other side does."""
        return self._inner.deliver(told)

    def close(self) -> None:
        """Let go of the other side."""
        self._inner.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
    """How far a channel came.

    Attributes
    ----------
    channel : str
        Its name.
    sequence : int
        Everything up to here is acknowledged [1].
    failures : int
        Failures since the last success [1].
    failing_since : datetime.datetime or None
        When the first of them was.
    reason : str or None
        What the last of them was.
    """

    channel: str
    sequence: int = 0
    failures: int = 0
    failing_since: dt.datetime | None = None
    reason: str | None = None


class Positions:
    """Positions of all channels, in the database.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def read(self, channel: str) -> Position:
        """Position of a channel; the beginning for one not seen before.

        Parameters
        ----------
        channel : str
            Its name.

        Returns
        -------
        Position
            How far it came.
        """
        return next((found for found in self.all() if found.channel == channel), Position(channel=channel))

    def all(self) -> tuple[Position, ...]:
        """Positions of every channel that ever tried.

        Returns
        -------
        tuple of Position
            By name.
        """
        with database.reading(self.engine) as connection:
            rows = connection.execute(sa.select(position_table).order_by(position_table.c.channel)).all()
        return tuple(
            Position(
                channel=row.channel,
                sequence=row.sequence,
                failures=row.failures,
                failing_since=None if row.failing_since is None else dt.datetime.fromisoformat(row.failing_since),
                reason=row.reason,
            )
            for row in rows
        )

    def begin(self, channel: str, sequence: int) -> bool:
        """Give a channel its first position; one that has a position keeps it.

        Parameters
        ----------
        channel : str
            Name.
        sequence : int
            It is told what comes after this [1].

        Returns
        -------
        bool
            Whether it is a new one.
        """
        if any(found.channel == channel for found in self.all()):
            return False
        self._write(Position(channel=channel, sequence=sequence))
        return True

    def advance(self, channel: str, sequence: int) -> None:
        """Record success up to a position; never goes back.

        Parameters
        ----------
        channel : str
            Name.
        sequence : int
            Everything up to here is acknowledged [1].
        """
        known = self.read(channel)
        self._write(Position(channel=channel, sequence=max(sequence, known.sequence)))

    def fail(self, channel: str, reason: str, *, now: dt.datetime) -> Position:
        """Record a failure; the position stays.

        Parameters
        ----------
        channel : str
            Name.
        reason : str
            What happened.
        now : datetime.datetime
            When; aware.

        Returns
        -------
        Position
            With this failure counted.
        """
        known = self.read(channel)
        failed = dataclasses.replace(
            known, failures=known.failures + 1, failing_since=known.failing_since or now, reason=reason[:_REASON_LIMIT]
        )
        self._write(failed)
        return failed

    def forgive(self, channel: str) -> None:
        """Forget the failures of a channel that is not tried any more; its position stays.

        Parameters
        ----------
        channel : str
            Name.
        """
        known = self.read(channel)
        if known.failures:
            self._write(Position(channel=channel, sequence=known.sequence))

    def _write(self, position: Position) -> None:
        row = dataclasses.asdict(position)
        if position.failing_since is not None:
            row["failing_since"] = catalog_store.text_from_instant(position.failing_since)
        with self.engine.begin() as connection:
            column = position_table.c.channel
            changed = connection.execute(
                sa.update(position_table).where(column == position.channel).values(row)
            ).rowcount
            if not changed:
                connection.execute(sa.insert(position_table), [row])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aside:
    """A revision that a channel set aside: its own content is wrong, and what comes after it is not to wait.

    Attributes
    ----------
    channel : str
        Name of the channel.
    item_id : str
        Identity.
    revision : int
        Revision [1].
    since : datetime.datetime
        When it was set aside first.
    reason : str
        What is wrong with it.
    """

    channel: str
    item_id: str
    revision: int
    since: dt.datetime
    reason: str


class SetAside:
    """What the channels set aside, in the database, until it went well or is to go no longer.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def all(self) -> tuple[Aside, ...]:
        """Everything that is set aside.

        Returns
        -------
        tuple of Aside
            By channel, oldest first.
        """
        return self._read(sa.select(set_aside_table))

    def of(self, channel: str) -> tuple[Aside, ...]:
        """What one channel set aside.

        Parameters
        ----------
        channel : str
            Name of the channel.

        Returns
        -------
        tuple of Aside
            Oldest first.
        """
        return self._read(sa.select(set_aside_table).where(set_aside_table.c.channel == channel))

    def put(self, channel: str, item_id: str, revision: int, *, reason: str, now: dt.datetime) -> None:
        """Set a revision aside; one that was before keeps its time.

        Parameters
        ----------
        channel : str
            Name of the channel.
        item_id : str
            Identity.
        revision : int
            Revision [1].
        reason : str
            What is wrong with it.
        now : datetime.datetime
            Time; aware.
        """
        key = {"channel": channel, "item_id": item_id, "revision": revision}
        said, where = reason[:_REASON_LIMIT], self._where(channel, item_id, revision)
        with self.engine.begin() as connection:
            if not connection.execute(sa.update(set_aside_table).where(*where).values(reason=said)).rowcount:
                row = {**key, "since": catalog_store.text_from_instant(now), "reason": said}
                connection.execute(sa.insert(set_aside_table), [row])

    def settle(self, aside: Aside) -> None:
        """Enter that a revision is not set aside any more.

        Parameters
        ----------
        aside : Aside
            Which.
        """
        where = self._where(aside.channel, aside.item_id, aside.revision)
        with self.engine.begin() as connection:
            connection.execute(sa.delete(set_aside_table).where(*where))

    def _read(self, statement: sa.Select[Any]) -> tuple[Aside, ...]:
        column = set_aside_table.c
        order = (column.channel, column.since, column.item_id, column.revision)
        with database.reading(self.engine) as connection:
            rows = connection.execute(statement.order_by(*order)).mappings().all()
        return tuple(Aside(**{**row, "since": dt.datetime.fromisoformat(row["since"])}) for row in rows)

    @staticmethod
    def _where(channel: str, item_id: str, revision: int) -> tuple[sa.ColumnElement[bool], ...]:
        column = set_aside_table.c
        return column.channel == channel, column.item_id == item_id, column.revision == revision


def outgoing(catalog: catalog_store.CatalogStore, *, after: int, public_url: str) -> tuple[Told, ...]:
    """Read the next announcements with the revisions they are about.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    after : int
        Position [1].
    public_url : str
        Address of the service as agencies reach it; empty gives links from its root.

    Returns
    -------
    tuple of Told
        In outbox order.
    """
    rows = catalog.announcements(after=after, limit=PAGE)
    if not rows:
        return ()
    column = catalog_store.item_table.c
    wanted = sa.select(catalog_store.item_table).where(column.id.in_(sorted({row.item_id for row in rows})))
    with database.reading(catalog.engine) as connection:
        items = {(item.item_id, item.revision): item for item in catalog.items_of(connection, wanted)}
    told = []
    for row in rows:
        item = items[row.item_id, row.revision]
        told.append(Told(sequence=row.sequence, payload=_reachable(row.payload, public_url), item=item))
    return tuple(told)


def present(engine: sa.Engine, channel: str, *, now: dt.datetime) -> int:
    """Position of the present: a new channel that begins there is not told what is past.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    channel : str
        Its name.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    int
        The newest announcement; for a channel of notices, before the first that is still to be heeded [1].
    """
    if channel.startswith(_NOTICES):
        return notices.start(engine, now=now)
    newest = sa.select(sa.func.coalesce(sa.func.max(catalog_store.outbox_table.c.sequence), 0))
    with database.reading(engine) as connection:
        return int(connection.execute(newest).scalar_one())


def notice_channel(channel: str) -> str:
    """Name of the channel of notices to the same other side.

    Parameters
    ----------
    channel : str
        Name of the channel of announcements.

    Returns
    -------
    str
        The name.
    """
    return f"{_NOTICES}{channel}"


def side_of(channel: str) -> str:
    """Name of the channel of announcements to the same other side.

    Parameters
    ----------
    channel : str
        Name of either channel.

    Returns
    -------
    str
        The name.
    """
    return channel.removeprefix(_NOTICES)


def address(public_url: str, *parts: str) -> str:
    """Address within the service.

    Parameters
    ----------
    public_url : str
        Its root.
    *parts : str
        Parts of the path.

    Returns
    -------
    str
        The address.
    """
    return "/".join((public_url.rstrip("/"), *(urllib.parse.quote(part, safe="") for part in parts)))


def _reachable(payload: Mapping[str, Any], public_url: str) -> dict[str, Any]:
    item, revision = payload["id"], str(payload["revision"])
    links = [
        {"rel": "item", "href": address(public_url, "stac", "collections", payload["collection"], "items", item)},
        {"rel": "manifest", "href": address(public_url, "download", item, revision, "MANIFEST.json")},
    ]
    return {**payload, "links": links}


def wait_after(failures: int) -> float:
    """How long to wait after failures in a row.

    Parameters
    ----------
    failures : int
        How many [1].

    Returns
    -------
    float
        Seconds: doubling, bounded.
    """
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pusher:
    """Walks the outbox for channels.

    Attributes
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    public_url : str
        Address of the service as agencies reach it.
    on_failure : callable
        Told the position after each failure, to suspend who is not worth trying.
    clock : callable
        Tells the time.
    """

    catalog: catalog_store.CatalogStore
    public_url: str = ""
    on_failure: Callable[[Position], None] = lambda _position: None
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    @property
    def positions(self) -> Positions:
        """Positions of all channels.

        Returns
        -------
        Positions
            In the catalogue's database.
        """
        return Positions(self.catalog.engine)

    def push(self, channel: Channel) -> Position:
        """Deliver what is outstanding for one channel, until the end or the first failure.

        Parameters
        ----------
        channel : Channel
            The other side.

        Returns
        -------
        Position
            How far it came; failures are in it and not raised.
        """
        while told := self._next(channel):
            try:
                for sequence in channel.deliver(told):
                    self.positions.advance(channel.name, sequence)
            except Exception as error:  # noqa: BLE001  whatever a channel does, the others go on
                known = isinstance(error, ChannelError)
                if not known:
                    _LOG.exception("channel %s", channel.name)
                reason = str(error) if known else f"{type(error).__name__}: see the log"
                failed = self.positions.fail(channel.name, reason, now=self.clock())
                self.on_failure(failed)
                return failed
        return self.positions.read(channel.name)

    def catch_up(self, channel: Channel) -> None:
        """Have a channel try one of what it set aside again; a failure is in the log, and tried again later.

        Parameters
        ----------
        channel : Channel
            The other side; it was told everything else.
        """
        try:
            if isinstance(channel, Retrying):
                channel.catch_up()
        except ChannelError as error:
            _LOG.warning("channel %s: %s", channel.name, error)
        except Exception:  # noqa: BLE001  what is set aside holds up nothing
            _LOG.exception("channel %s", channel.name)

    def _next(self, channel: Channel) -> Sequence[Outgoing]:
        after = self.positions.read(channel.name).sequence
        if isinstance(channel, NoticeChannel):
            return channel.outgoing(self.catalog, after=after, public_url=self.public_url)
        return outgoing(self.catalog, after=after, public_url=self.public_url)

    def run(self, channels: Callable[[], Mapping[str, Channel]], stop: threading.Event, *, poll: float = 1.0) -> None:
        """Push on all channels until told to stop; channels may come and go.

        Parameters
        ----------
        channels : callable
            Gives the channels there are now by name; asked again and again, it gives the same object for the same.
        stop : threading.Event
            Ends it.
        poll : float
            Pause between looks [s].
        """
        running: dict[str, tuple[threading.Thread, threading.Event]] = {}
        while not stop.is_set():
            wanted = channels()
            for name in [name for name in running if name not in wanted or not running[name][0].is_alive()]:
                running.pop(name)[1].set()
            for name in wanted.keys() - running.keys():
                own = threading.Event()
                thread = threading.Thread(target=self._keep, args=(wanted[name], own, poll), name=f"push {name}")
                running[name] = (thread, own)
                thread.start()
            stop.wait(poll)
        for _thread, own in running.values():
            own.set()
        for thread, _own in running.values():
            thread.join()

    def _keep(self, channel: Channel, stop: threading.Event, poll: float) -> None:
        failures = 0
        try:
            while not stop.is_set():
                try:
                    failures = self.push(channel).failures
                    if not failures and not stop.is_set():
                        self.catch_up(channel)
                except Exception:  # noqa: BLE001  the database may be away for a while
                    failures += 1
                    _LOG.exception("channel %s", channel.name)
                stop.wait(wait_after(failures) if failures else poll)
        finally:
            channel.close()


def report(catalog: catalog_store.CatalogStore, *, now: dt.datetime) -> dict[str, dict[str, Any]]:
    """State of every channel, for /health.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    dict
        By channel: position, how much is outstanding, age of the oldest of it [s], failures, seconds of failing,
        reason, and what is set aside.
    """
    told: dict[str, dict[str, Any]] = {}
    aside: dict[str, list[dict[str, Any]]] = {}
    for one in SetAside(catalog.engine).all():
        about = {"item": one.item_id, "revision": one.revision, "since": one.since.isoformat(), "reason": one.reason}
        aside.setdefault(one.channel, []).append(about)
    for position in Positions(catalog.engine).all():
        left, oldest = _outstanding(catalog.engine, position)
        since = position.failing_since
        told[position.channel] = {
            "position": position.sequence,
            "outstanding": left,
            "lag_seconds": None if oldest is None else round((now - oldest).total_seconds(), 1),
            "failures": position.failures,
            "failing_seconds": None if since is None else round((now - since).total_seconds(), 1),
            "reason": position.reason,
            "set_aside": aside.get(position.channel, []),
        }
    return told


def _outstanding(engine: sa.Engine, position: Position) -> tuple[int, dt.datetime | None]:
    """How much a channel was not told yet, and since when the oldest of it is true."""
    if position.channel.startswith(_NOTICES):
        sequence, at = notices.notice_table.c.sequence, notices.notice_table.c.published_at
    else:
        sequence, at = catalog_store.outbox_table.c.sequence, catalog_store.outbox_table.c.created_at
    with database.reading(engine) as connection:
        left, oldest = connection.execute(
            sa.select(sa.func.count(), sa.func.min(at)).where(sequence > position.sequence)
        ).one()
    return int(left), None if oldest is None else dt.datetime.fromisoformat(oldest)
