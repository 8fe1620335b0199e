"""The completeness ledger: what was received, what a window of it came to, and what was asked for again.

Rows are facts and stay as they were written; which row counts today is a pointer beside them (`superseded_by`, empty in
the row that counts). States, gaps and what may be released are computed from them, never stored.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import sqlalchemy as sa

from infra import database
from processors import timescales
from processors.arrays import IntArray
from processors.ccsds import link as spacelink
from processors.level0 import completeness, completeness_state
from products import provenance

metadata = sa.MetaData()
COUNTS = sa.text("superseded_by IS NULL")


def _counting_index(name: str, *columns: str, unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, sqlite_where=COUNTS, postgresql_where=COUNTS)


reception_table = sa.Table(
    "reception",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("recording", sa.Text, nullable=False),
    sa.Column("sighting", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("account", sa.JSON, nullable=False),
    sa.Column("content_sha256", sa.Text, nullable=False),
    sa.Column("first_time", sa.Double),
    sa.Column("last_time", sa.Double),
    sa.Column("software", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Text, nullable=False),
    sa.Column("superseded_by", sa.Integer),
    sa.CheckConstraint("sighting IN ('counted', 'again')", name="reception_sighting_known"),
    _counting_index("reception_counted", "recording", unique=True),
    _counting_index("reception_by_time", "last_time", "recorded_at"),
    sa.Index("reception_of_recording", "recording", "sequence"),
    sqlite_autoincrement=True,
)

held_table = sa.Table(
    "held_counters",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("reception", sa.Integer, nullable=False),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("scid", sa.Integer, nullable=False),
    sa.Column("vcid", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("first_counter", sa.BigInteger, nullable=False),
    sa.Column("last_counter", sa.BigInteger, nullable=False),
    sa.Column("intervals", sa.JSON, nullable=False),
    sa.Column("last_time", sa.Double),
    sa.Column("superseded_by", sa.Integer),
    sa.ForeignKeyConstraint(["reception"], ["reception.sequence"], name="held_of_reception"),
    _counting_index("held_by_channel", "link", "scid", "vcid", "epoch", "last_counter"),
    _counting_index("held_by_time", "link", "scid", "last_time"),
    _counting_index("held_by_satellite", "scid", "last_time", "reception"),
    sa.Index("held_by_reception", "reception"),
    sa.Index("held_superseded", "superseded_by"),
)

window_table = sa.Table(
    "window_evaluation",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("scid", sa.Integer, nullable=False),
    sa.Column("window_id", sa.Text, nullable=False),
    sa.Column("start_time", sa.Double),
    sa.Column("stop_time", sa.Double),
    sa.Column("inputs_sha256", sa.Text, nullable=False),
    sa.Column("account", sa.JSON, nullable=False),
    sa.Column("recorder", sa.JSON(none_as_null=True)),
    sa.Column("software", sa.Text, nullable=False),
    sa.Column("first_recorded_at", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Text, nullable=False),
    sa.Column("superseded_by", sa.Integer),
    _counting_index("window_counted", "link", "scid", "window_id", unique=True),
    _counting_index("window_by_time", "stop_time", "first_recorded_at"),
    _counting_index("window_by_satellite", "scid", "stop_time"),
    _counting_index("window_by_link", "link", "scid", "start_time"),
    sa.Index(
        "window_with_recorder",
        "link",
        "scid",
        "sequence",
        sqlite_where=sa.text("superseded_by IS NULL AND recorder IS NOT NULL"),
        postgresql_where=sa.text("superseded_by IS NULL AND recorder IS NOT NULL"),
    ),
)

request_table = sa.Table(
    "retransmission",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("scid", sa.Integer, nullable=False),
    sa.Column("vcid", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("first_counter", sa.BigInteger, nullable=False),
    sa.Column("last_counter", sa.BigInteger, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("superseded_by", sa.Integer),
    sa.CheckConstraint(
        "event IN ('requested', 'satisfied', 'expired', 'lost_on_board', 'split')", name="retransmission_event_known"
    ),
    _counting_index("retransmission_latest", "request", unique=True),
    sa.Index("retransmission_history", "request", "sequence"),
    _counting_index("retransmission_by_channel", "link", "scid", "vcid", "epoch", "last_counter"),
    _counting_index("retransmission_by_event", "event", "link", "scid"),
)

plan_table = sa.Table(
    "retransmission_plan",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("reception", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

RequestState = Literal["requested", "satisfied", "expired", "lost_on_board", "split"]

Recorder = Mapping[tuple[int, int], int]
"""Oldest frame counter still on board [1] by spacecraft and virtual channel."""

# A row may be committed after one that was numbered later (PostgreSQL); so much of the past is looked at again.
LOOK_BACK = 128
# What a request in one of these states asked for is still missing.
MISSING = request_table.c.event.in_(("requested", "expired", "lost_on_board"))
# Rows read at once for one list of identifiers.
PAGE = 400


@dataclass(frozen=True, kw_only=True)
class Reception:
    """A recording that has been decoded.

    Parameters
    ----------
    recording : str
        SHA-256 of its content, in hex.
    key : str
        Key under which it landed.
    link, station : str
        Link and receiving station.
    size : int
        Length [octet].
    account : mapping
        The completeness account of this recording alone.
    held : mapping
        Intervals [first, last] of unwrapped frame counters by "scid/vcid/epoch" [1].
    first_time, last_time : float or None
        First and last on-board time [s, GPS]; None where the link carries none.
    software : str
        Version that made the account.
    recorded_at : str
        When the row was written, UTC; set by the ledger.
    sightings : int
        How often this content has come, whatever the key [1]; set by the ledger.
    """

    recording: str
    key: str
    link: str
    station: str
    size: int
    account: Mapping[str, Any]
    held: Mapping[str, Sequence[Sequence[int]]]
    first_time: float | None = None
    last_time: float | None = None
    software: str = field(default_factory=provenance.software_version)
    recorded_at: str = ""
    sightings: int = 1


@dataclass(frozen=True, kw_only=True)
class Window:
    """An evaluation of a window of on-board time, or of a pass of a link whose packets carry no time.

    Parameters
    ----------
    link : str
        Link.
    scid : int
        Spacecraft [1].
    window : str
        Name, such as 20211101t1000 or pass-<hash>.
    start, stop : float or None
        Its first instant and the first one after it [s, GPS]; None for a pass.
    inputs_sha256 : str
        Hash of what was evaluated.
    account : mapping
        What it came to: `virtual_channels`, `packets`, `packets_dropped`, `zone_bytes`, `unexplained`.
    recorder : mapping
        Oldest frame counter still on the spacecraft's recorder by virtual channel [1]; empty where it does not say.
    software : str
        Version that made the account.
    first_recorded_at, recorded_at : str
        When this window was evaluated first, and this time, UTC; set by the ledger.
    """

    link: str
    scid: int
    window: str
    start: float | None
    stop: float | None
    inputs_sha256: str
    account: Mapping[str, Any]
    recorder: Mapping[int, int] = field(default_factory=dict)
    software: str = field(default_factory=provenance.software_version)
    first_recorded_at: str = ""
    recorded_at: str = ""


class Channel(NamedTuple):
    """A virtual channel of a spacecraft on a link, between two resets of its counter [1]."""

    link: str
    scid: int
    vcid: int
    epoch: int


@dataclass(frozen=True)
class Request:
    """Frames asked for again, and what became of that.

    Parameters
    ----------
    channel : Channel
        Channel of the frames.
    first, last : int
        First and last unwrapped frame counter [1].
    state : str
        requested, satisfied, expired, lost_on_board, or split: requests for its parts have taken its place.
    at : str
        When that happened, UTC.
    since, expires_at : str
        When the frames were first asked for, and until when they are awaited, UTC.
    reason : str
        Why.
    """

    channel: Channel
    first: int
    last: int
    state: RequestState
    at: str
    since: str
    expires_at: str
    reason: str

    @property
    def id(self) -> str:
        """Identity: the same frames are the same request."""
        return f"{'/'.join(map(str, self.channel))}/{self.first}-{self.last}"

    @property
    def interval(self) -> IntArray:
        """The counters, shape (1, 2) [1]."""
        return np.array([[self.first, self.last]], dtype=np.int64)


@dataclass(frozen=True)
class Policy:
    """How long is waited for what.

    Parameters
    ----------
    patience : datetime.timedelta
        From the first evaluation of a window to its deadline.
    lifetime : datetime.timedelta
        From a request to its expiry.
    idle : collection of int
        Virtual channels whose frames hold nothing and are not asked for [1].
    without_recorder : collection of str
        Links that cannot be asked for anything: direct broadcast.
    """

    patience: dt.timedelta = dt.timedelta(hours=24)
    lifetime: dt.timedelta = dt.timedelta(hours=24)
    idle: Collection[int] = (spacelink.AOS_IDLE_CHANNEL,)
    without_recorder: Collection[str] = ()


@dataclass(frozen=True)
class Selection:
    """What a question is about; all of it where nothing is named.

    Parameters
    ----------
    since, until : datetime.datetime or None
        Interval of on-board time, or of receipt where a link carries none; aware; `until` is not part of it.
    scid : int or None
        Spacecraft [1].
    link : str or None
        Link.
    """

    since: dt.datetime | None = None
    until: dt.datetime | None = None
    scid: int | None = None
    link: str | None = None


class WindowState(NamedTuple):
    """A window and its state."""

    window: Window
    state: completeness_state.State


class CompletenessLedger:
    """Receptions, windows and requests in the database behind `engine`."""

    def __init__(self, engine: sa.Engine, policy: Policy | None = None) -> None:
        self._engine = engine
        self._policy = policy or Policy()

    # Facts

    def record_reception(self, reception: Reception) -> bool:
        """Enter a decoded recording.

        The same content decoded by the same software to the same account only adds a row that says it was seen again,
        under whatever key; any other account of it takes the place of the one before.

        Parameters
        ----------
        reception : Reception
            What was received.

        Returns
        -------
        bool
            Whether the ledger counts something new.
        """
        row = _reception_row(reception)
        with self._engine.begin() as connection:
            former = _current(connection, reception_table, recording=reception.recording)
            if former is not None and _same(former, row, ("content_sha256", "software")):
                again = {**row, "sighting": "again", "account": {}, "superseded_by": former["sequence"]}
                connection.execute(reception_table.insert(), [again])
                return False
            number = _replace(connection, reception_table, former, row)
            if former is not None:
                mine = held_table.c.reception == former["sequence"]
                connection.execute(held_table.update().where(mine).values(superseded_by=number))
            held = _held_rows(reception, number)
            if held:
                connection.execute(held_table.insert(), held)
        return True

    def record_window(self, window: Window) -> bool:
        """Enter the evaluation of a window.

        The same inputs with the same account add nothing; anything else takes the place of the evaluation before.

        Parameters
        ----------
        window : Window
            The evaluation.

        Returns
        -------
        bool
            Whether it is a new one.
        """
        row = _window_row(window)
        with self._engine.begin() as connection:
            former = _current(connection, window_table, link=window.link, scid=window.scid, window_id=window.window)
            if former is not None:
                if _same(former, row, ("inputs_sha256", "account", "recorder", "start_time", "stop_time")):
                    return False
                row["first_recorded_at"] = former["first_recorded_at"]
            _replace(connection, window_table, former, row)
        return True

    # Requests

    def plan_requests(self, now: dt.datetime) -> list[Request]:
        """Ask for the frames that are missing before the newest held, and settle what has come meanwhile.

        Frames that did not come in time are not asked for again. Where a part of a request has come, the rest is a
        request of its own with the expiry of the whole. Looking again at the same receptions adds nothing.

        Parameters
        ----------
        now : datetime.datetime
            Time of the request, aware.

        Returns
        -------
        list of Request
            The new requests, the rest of others among them.
        """
        with self._engine.begin() as connection:
            return self._plan(connection, _text(now))

    def expire(self, now: dt.datetime, recorder: Recorder | None = None) -> list[Request]:
        """End the requests that nothing can come of any more; what has come is settled first.

        Parameters
        ----------
        now : datetime.datetime
            Present time, aware.
        recorder : mapping, optional
            Oldest frame counter still on board by spacecraft and virtual channel [1]; what the newest windows say
            where left out. It speaks of the newest epoch of a channel only.

        Returns
        -------
        list of Request
            Those that are now lost on board or expired.
        """
        at = _text(now)
        with self._engine.begin() as connection:
            self._plan(connection, at)
            lost = _overwritten(connection, recorder, at)
            due = (request_table.c.event == "requested") & (request_table.c.expires_at <= at)
            reason = "not received before the request expired"
            expired = [_ended(request, "expired", at, reason) for request in _requests(connection, due)]
            for request in expired:
                _write(connection, request)
        return lost + expired

    def _plan(self, connection: sa.Connection, at: str) -> list[Request]:
        marker = connection.execute(
            sa.select(plan_table.c.reception).order_by(plan_table.c.sequence.desc()).limit(1)
        ).scalar()
        newest = connection.execute(sa.select(sa.func.max(reception_table.c.sequence))).scalar()
        made: list[Request] = []
        for channel, first in _touched(connection, (marker or 0) - LOOK_BACK).items():
            if channel.vcid in self._policy.idle or channel.link in self._policy.without_recorder:
                continue
            held = _held_from(connection, channel, first)
            made += _settled(connection, channel, first, held, at)
            made += self._requested(connection, channel, first, held, at)
        if newest is not None and newest != marker:
            connection.execute(plan_table.insert(), [{"reception": newest, "at": at}])
        return made

    def _requested(
        self, connection: sa.Connection, channel: Channel, first: int, held: IntArray, at: str
    ) -> list[Request]:
        gaps = completeness.gaps(held)
        if len(gaps) == 0:
            return []
        known = _requests(connection, _from_counter(channel, int(gaps[0, 0])), MISSING)
        asked = completeness.intervals_from_rows([(request.first, request.last) for request in known])
        expires = _text(dt.datetime.fromisoformat(at) + self._policy.lifetime)
        made = [
            Request(channel, low, high, "requested", at, at, expires, "missing between frames that are held")
            for low, high in completeness.difference(gaps, asked).tolist()
        ]
        for request in made:
            _write(connection, request)
        return made

    # Questions

    def receptions(self, selection: Selection | None = None) -> list[Reception]:
        """Recordings that count, in order of receipt.

        Parameters
        ----------
        selection : Selection, optional
            Which.

        Returns
        -------
        list of Reception
            The recordings.
        """
        chosen, table = selection or Selection(), reception_table
        query = sa.select(table).where(COUNTS)
        with database.reading(self._engine) as connection:
            rows = _selected(connection, query, table, chosen, ("first_time", "last_time", "recorded_at"))
            held = _held_of(connection, sorted(rows))
            seen = _sightings(connection, sorted({row["recording"] for row in rows.values()}))
        return [_reception(row, held.get(number, {}), seen) for number, row in sorted(rows.items())]

    def windows(self, selection: Selection | None = None) -> list[Window]:
        """Newest evaluation of each window, in order of time.

        Parameters
        ----------
        selection : Selection, optional
            Which.

        Returns
        -------
        list of Window
            The windows, those without times last.
        """
        chosen, table = selection or Selection(), window_table
        query = sa.select(table).where(COUNTS)
        if chosen.scid is not None:
            query = query.where(table.c.scid == chosen.scid)
        with database.reading(self._engine) as connection:
            rows = _selected(connection, query, table, chosen, ("start_time", "stop_time", "first_recorded_at"))
        windows = [_window(rows[number]) for number in sorted(rows)]
        return sorted(windows, key=lambda window: (window.start is None, window.start or 0.0, window.link, window.scid))

    def states(self, now: dt.datetime, selection: Selection | None = None) -> list[WindowState]:
        """Windows with their states.

        Parameters
        ----------
        now : datetime.datetime
            Present time, aware.
        selection : Selection, optional
            Which.

        Returns
        -------
        list of WindowState
            In the order of `windows`.
        """
        windows = self.windows(selection)
        sources = {(window.link, window.scid) for window in windows}
        pending: dict[tuple[str, int], list[Request]] = {}
        with database.reading(self._engine) as connection:
            newest = {source: _newest_time(connection, *source) for source in sources}
            for request in _requests(connection, request_table.c.event == "requested"):
                pending.setdefault((request.channel.link, request.channel.scid), []).append(request)
        found = []
        for window in windows:
            source = (window.link, window.scid)
            found.append(WindowState(window, self._state(window, now, newest[source], pending.get(source, []))))
        return found

    def _state(
        self, window: Window, now: dt.datetime, newest: float | None, requests: list[Request]
    ) -> completeness_state.State:
        deadline = dt.datetime.fromisoformat(window.first_recorded_at) + self._policy.patience
        before = [request for request in requests if dt.datetime.fromisoformat(request.since) <= deadline]
        awaited = completeness_state.requests_by_channel(
            (request.channel.vcid, request.channel.epoch, request.first, request.last) for request in before
        )
        return completeness_state.state(
            window.account,
            arriving=window.stop is not None and (newest is None or newest < window.stop),
            overdue=now >= deadline,
            pending=completeness_state.awaited(window.account, awaited),
        )

    def requests(self, selection: Selection | None = None, *, pending: bool = False) -> list[Request]:
        """Requests with what became of them, in order of their channels and counters.

        Parameters
        ----------
        selection : Selection, optional
            Which; the interval is that of the first request for the frames.
        pending : bool
            Only those still awaited.

        Returns
        -------
        list of Request
            The requests.
        """
        chosen, table = selection or Selection(), request_table
        conditions: list[sa.ColumnElement[bool]] = []
        if pending:
            conditions.append(table.c.event == "requested")
        if chosen.scid is not None:
            conditions.append(table.c.scid == chosen.scid)
        if chosen.link is not None:
            conditions.append(table.c.link == chosen.link)
        if chosen.since is not None and not pending:
            conditions.append(table.c.since >= _text(chosen.since))
        if chosen.until is not None and not pending:
            conditions.append(table.c.since < _text(chosen.until))
        with database.reading(self._engine) as connection:
            found = _requests(connection, *conditions)
        return sorted(found, key=lambda request: (request.channel, request.first))

    def history(self, request: str) -> list[RequestState]:
        """Events of one request, oldest first.

        Parameters
        ----------
        request : str
            Identity of the request.

        Returns
        -------
        list of str
            requested, satisfied, expired, lost_on_board or split.
        """
        query = sa.select(request_table.c.event).where(request_table.c.request == request)
        with database.reading(self._engine) as connection:
            return list(connection.execute(query.order_by(request_table.c.sequence)).scalars())


def held_of(receptions: Iterable[Reception], scid: int | None = None) -> dict[Channel, IntArray]:
    """Frame counters held over recordings.

    Parameters
    ----------
    receptions : iterable of Reception
        The recordings.
    scid : int, optional
        Only channels of this spacecraft [1].

    Returns
    -------
    dict
        Intervals of shape (interval, 2) [1] by channel.
    """
    gathered: dict[Channel, list[Sequence[int]]] = {}
    for reception in receptions:
        for name, intervals in reception.held.items():
            channel = _channel(reception.link, name)
            if scid is None or channel.scid == scid:
                gathered.setdefault(channel, []).extend(intervals)
    return {channel: completeness.intervals_from_rows(rows) for channel, rows in sorted(gathered.items())}


# Rows


def _text(instant: dt.datetime) -> str:
    """Instant of one fixed length, so that order of text is order of time."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} does not say its time zone")
    return instant.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def _now() -> str:
    return _text(dt.datetime.now(dt.UTC))


def _gps(instant: dt.datetime) -> float:
    return float(timescales.gps_from_utc(np.datetime64(instant.astimezone(dt.UTC).replace(tzinfo=None), "ns")))


def _plain(content: Any) -> Any:
    """Content as it comes back from a JSON column."""
    return json.loads(json.dumps(content))


def _channel(link: str, name: str) -> Channel:
    scid, vcid, epoch = map(int, name.split("/"))
    return Channel(link, scid, vcid, epoch)


def _reception_row(reception: Reception) -> dict[str, Any]:
    held = {name: completeness.intervals_from_rows(rows).tolist() for name, rows in reception.held.items()}
    said = [reception.link, reception.account, held, reception.first_time, reception.last_time]
    names = ("recording", "key", "link", "station", "size", "first_time", "last_time", "software")
    return {
        **{name: getattr(reception, name) for name in names},
        "sighting": "counted",
        "account": _plain(reception.account),
        "content_sha256": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
        "recorded_at": _now(),
        "superseded_by": None,
    }


def _held_rows(reception: Reception, number: int) -> list[dict[str, Any]]:
    rows = []
    for name, given in reception.held.items():
        intervals = completeness.intervals_from_rows(given).tolist()
        if intervals:
            about = _channel(reception.link, name)._asdict()
            reach = {"first_counter": intervals[0][0], "last_counter": intervals[-1][1]}
            rows.append(
                {**about, **reach, "reception": number, "intervals": intervals, "last_time": reception.last_time}
            )
    return rows


def _reception(row: sa.RowMapping, held: Mapping[str, Any], seen: Mapping[str, int]) -> Reception:
    names = ("recording", "key", "link", "station", "size", "account", "first_time", "last_time", "software")
    about = {name: row[name] for name in (*names, "recorded_at")}
    return Reception(**about, held=held, sightings=seen.get(row["recording"], 1))


def _window_row(window: Window) -> dict[str, Any]:
    now = _now()
    return {
        "link": window.link,
        "scid": window.scid,
        "window_id": window.window,
        "start_time": window.start,
        "stop_time": window.stop,
        "inputs_sha256": window.inputs_sha256,
        "account": _plain(window.account),
        "recorder": {str(vcid): int(oldest) for vcid, oldest in window.recorder.items()} or None,
        "software": window.software,
        "first_recorded_at": now,
        "recorded_at": now,
        "superseded_by": None,
    }


def _window(row: sa.RowMapping) -> Window:
    names = ("link", "scid", "inputs_sha256", "account", "software", "first_recorded_at", "recorded_at")
    return Window(
        **{name: row[name] for name in names},
        window=row["window_id"],
        start=row["start_time"],
        stop=row["stop_time"],
        recorder={int(vcid): oldest for vcid, oldest in (row["recorder"] or {}).items()},
    )


def _current(connection: sa.Connection, table: sa.Table, **key: Any) -> sa.RowMapping | None:
    same = [table.c[name] == value for name, value in key.items()]
    return connection.execute(sa.select(table).where(COUNTS, *same)).mappings().first()


def _same(former: sa.RowMapping, row: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(former[name] == row[name] for name in names)


def _replace(connection: sa.Connection, table: sa.Table, former: sa.RowMapping | None, row: Mapping[str, Any]) -> int:
    """Add a row that counts from now on; the one before keeps everything but that."""
    if former is None:
        return _inserted(connection, table, row)
    mine = table.c.sequence == former["sequence"]
    # The database allows one counting row only: the old one steps back before the new one has a number.
    connection.execute(table.update().where(mine).values(superseded_by=former["sequence"]))
    number = _inserted(connection, table, row)
    connection.execute(table.update().where(mine).values(superseded_by=number))
    return number


def _inserted(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> int:
    made = connection.execute(table.insert().values(**row)).inserted_primary_key
    if made is None:  # pragma: no cover  every table here numbers its rows
        raise RuntimeError(f"{table.name} did not number its row")
    return int(made[0])


# Requests


def _write(connection: sa.Connection, request: Request) -> None:
    former = _current(connection, request_table, request=request.id)
    row = {
        **request.channel._asdict(),
        "request": request.id,
        "first_counter": request.first,
        "last_counter": request.last,
        "event": request.state,
        "superseded_by": None,
        **{name: getattr(request, name) for name in ("at", "since", "expires_at", "reason")},
    }
    _replace(connection, request_table, former, row)


def _requests(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> list[Request]:
    query = sa.select(request_table).where(COUNTS, *conditions).order_by(request_table.c.sequence)
    return [
        Request(
            Channel(row["link"], row["scid"], row["vcid"], row["epoch"]),
            row["first_counter"],
            row["last_counter"],
            row["event"],
            *(row[name] for name in ("at", "since", "expires_at", "reason")),
        )
        for row in connection.execute(query).mappings()
    ]


def _of_channel(table: sa.Table, channel: Channel) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == value for name, value in channel._asdict().items()))


def _from_counter(channel: Channel, first: int) -> sa.ColumnElement[bool]:
    return _of_channel(request_table, channel) & (request_table.c.last_counter >= first)


def _ended(request: Request, state: RequestState, at: str, reason: str) -> Request:
    return replace(request, state=state, at=at, reason=reason)


def _touched(connection: sa.Connection, marker: int) -> dict[Channel, int]:
    """Channels in which something came or went after a reception, and the first counter that may have."""
    table = held_table
    names = (table.c.link, table.c.scid, table.c.vcid, table.c.epoch)
    found: dict[Channel, int] = {}
    for condition in (table.c.reception > marker, table.c.superseded_by > marker):
        query = sa.select(*names, sa.func.min(table.c.first_counter)).where(condition).group_by(*names)
        for *name, first in connection.execute(query):
            channel = Channel(*name)
            found[channel] = min(first, found.get(channel, first))
    return dict(sorted(found.items()))


def _held_from(connection: sa.Connection, channel: Channel, first: int) -> IntArray:
    """Counters held from the last one before `first` on."""
    table = held_table
    mine: list[sa.ColumnExpressionArgument[bool]] = [COUNTS, _of_channel(table, channel)]
    before = sa.select(sa.func.max(table.c.last_counter)).where(*mine, table.c.last_counter < first)
    anchor = connection.execute(before).scalar()
    rows = [] if anchor is None else [[anchor, anchor]]
    later = sa.select(table.c.intervals).where(*mine, table.c.last_counter >= first)
    for intervals in connection.execute(later).scalars():
        rows += intervals
    held = completeness.intervals_from_rows(rows)
    if anchor is None:
        return held
    # Below the anchor rows that are not read here may hold what these lack.
    return completeness.intersection(held, np.array([[anchor, held[-1, 1]]], dtype=np.int64))


def _settled(connection: sa.Connection, channel: Channel, first: int, held: IntArray, at: str) -> list[Request]:
    """Settle what has come; what of it has not goes on as requests of their own."""
    made = []
    for request in _requests(connection, _from_counter(channel, first), MISSING):
        rest = completeness.difference(request.interval, held)
        if completeness.size(rest) == completeness.size(request.interval):
            continue
        if len(rest) == 0:
            _write(connection, _ended(request, "satisfied", at, "received"))
            continue
        come = completeness.difference(request.interval, rest)
        _write(connection, _ended(request, "split", at, "received in part"))
        _parts(connection, request, come, "satisfied", at, "received")
        made += _parts(connection, request, rest, request.state, at, request.reason)
    return [request for request in made if request.state == "requested"]


def _parts(
    connection: sa.Connection, request: Request, intervals: IntArray, state: RequestState, at: str, reason: str
) -> list[Request]:
    """Write requests for parts of another, which keep its age and expiry."""
    made = [
        replace(request, first=low, last=high, state=state, at=at, reason=reason) for low, high in intervals.tolist()
    ]
    for part in made:
        _write(connection, part)
    return made


def _overwritten(connection: sa.Connection, recorder: Recorder | None, at: str) -> list[Request]:
    """End the requests, or those parts of them, whose frames are no longer on board."""
    waiting = _requests(connection, request_table.c.event == "requested")
    oldest = {channel: _oldest(connection, channel, recorder) for channel in {request.channel for request in waiting}}
    ended = []
    for request in waiting:
        pointer = oldest[request.channel]
        if pointer is not None and request.first < pointer:
            ended += _cut(connection, request, pointer, at)
    return ended


def _cut(connection: sa.Connection, request: Request, oldest: int, at: str) -> list[Request]:
    reason = f"the recorder's oldest frame is {oldest}"
    if request.last < oldest:
        ended = _ended(request, "lost_on_board", at, reason)
        _write(connection, ended)
        return [ended]
    _write(connection, _ended(request, "split", at, "a part is no longer on board"))
    _parts(connection, request, np.array([[oldest, request.last]]), "requested", at, request.reason)
    return _parts(connection, request, np.array([[request.first, oldest - 1]]), "lost_on_board", at, reason)


def _oldest(connection: sa.Connection, channel: Channel, recorder: Recorder | None) -> int | None:
    """Oldest counter on board, as far as it speaks of the channel's epoch."""
    if channel.epoch != _newest_epoch(connection, channel):
        return None
    if recorder is not None:
        return recorder.get((channel.scid, channel.vcid))
    table = window_table
    query = sa.select(table.c.recorder).where(
        COUNTS, sa.text("recorder IS NOT NULL"), table.c.link == channel.link, table.c.scid == channel.scid
    )
    said = connection.execute(query.order_by(table.c.sequence.desc()).limit(1)).scalar()
    return None if said is None else said.get(str(channel.vcid))


def _newest_epoch(connection: sa.Connection, channel: Channel) -> int | None:
    same = [held_table.c[name] == getattr(channel, name) for name in ("link", "scid", "vcid")]
    return connection.execute(sa.select(sa.func.max(held_table.c.epoch)).where(COUNTS, *same)).scalar()


# Selections


def _selected(
    connection: sa.Connection, query: sa.Select[Any], table: sa.Table, chosen: Selection, columns: tuple[str, str, str]
) -> dict[int, sa.RowMapping]:
    """Rows by number that touch an interval of on-board time, or of receipt where they carry none."""
    if chosen.link is not None:
        query = query.where(table.c.link == chosen.link)
    first, last, told = (table.c[name] for name in columns)
    timed, others = query.where(last.is_not(None)), query.where(last.is_(None))
    if table is reception_table:
        timed = timed.where(_holding(chosen.scid, timed=True, since=chosen.since))
        others = others.where(_holding(chosen.scid, timed=False, since=None))
    if chosen.since is not None:
        timed, others = timed.where(last >= _gps(chosen.since)), others.where(told >= _text(chosen.since))
    if chosen.until is not None:
        timed, others = timed.where(first < _gps(chosen.until)), others.where(told < _text(chosen.until))
    return {row["sequence"]: row for part in (timed, others) for row in connection.execute(part).mappings()}


def _holding(scid: int | None, *, timed: bool, since: dt.datetime | None) -> sa.ColumnElement[bool]:
    """Condition for receptions that hold frames of a spacecraft, and look at no older ones than are asked for."""
    if scid is None:
        return sa.true()
    table = held_table
    times = table.c.last_time.is_not(None) if timed else table.c.last_time.is_(None)
    theirs = sa.select(table.c.reception).where(COUNTS, table.c.scid == scid, times)
    if timed and since is not None:
        theirs = theirs.where(table.c.last_time >= _gps(since))
    return reception_table.c.sequence.in_(theirs)


def _held_of(connection: sa.Connection, numbers: list[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(numbers), PAGE):
        query = sa.select(held_table).where(held_table.c.reception.in_(numbers[start : start + PAGE]))
        for row in connection.execute(query).mappings():
            found.setdefault(row["reception"], {})[f"{row['scid']}/{row['vcid']}/{row['epoch']}"] = row["intervals"]
    return found


def _sightings(connection: sa.Connection, recordings: list[str]) -> dict[str, int]:
    """How often each content came: its sightings, and not the accounts made of it anew."""
    table, found = reception_table, {}
    again = sa.func.count().filter(table.c.sighting == "again")
    query = sa.select(table.c.recording, again).group_by(table.c.recording)
    for start in range(0, len(recordings), PAGE):
        page = query.where(table.c.recording.in_(recordings[start : start + PAGE]))
        found.update({recording: 1 + int(count) for recording, count in connection.execute(page)})
    return found


def _newest_time(connection: sa.Connection, link: str, scid: int) -> float | None:
    """Newest on-board time of a spacecraft that has been received: of a frame, or the start of a window [s, GPS]."""
    found = []
    for table, time in ((held_table, held_table.c.last_time), (window_table, window_table.c.start_time)):
        mine = (table.c.link == link, table.c.scid == scid, time.is_not(None))
        found.append(connection.execute(sa.select(sa.func.max(time)).where(COUNTS, *mine)).scalar())
    return max((float(time) for time in found if time is not None), default=None)
