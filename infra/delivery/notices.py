"""Notices of the installation: given, corrected, cancelled, and read by whom they concern.

They have a sequence of their own beside the outbox, for a row of the outbox is an event of one revision of one item
and is shown by the sector and districts of that item, counted against the store and joined to its record; a notice
has no item. Each revision is a row, so the table is its own outbox: a channel walks it with the positions of push.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import cursor, entitlement
from products import notice, streams

#: The most revisions of one answer, and read at once [1].
PAGE_LIMIT = 1000

_PURPOSE = "notices"

metadata = sa.MetaData()
notice_table = sa.Table(
    "notice",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("collections", sa.JSON, nullable=False),
    sa.Column("effective_at", sa.Text, nullable=False),
    sa.Column("published_at", sa.Text, nullable=False),
    sa.Column("title_zh", sa.Text, nullable=False),
    sa.Column("title_en", sa.Text, nullable=False),
    sa.Column("text_zh", sa.Text, nullable=False),
    sa.Column("text_en", sa.Text, nullable=False),
    sa.Column("old_format", sa.Text),
    sa.Column("new_format", sa.Text),
    sa.Column("test_data", sa.Text),
    sa.Column("urgent_reason", sa.Text),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("id", "revision", name="notice_revision_once"),
    sa.CheckConstraint("event IN ('published', 'corrected', 'cancelled')", name="notice_event_known"),
    sa.CheckConstraint("kind IN ('format-change', 'interruption', 'general')", name="notice_kind_known"),
    sqlite_autoincrement=True,
)


class UnknownNoticeError(LookupError):
    """There is no such notice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """What a new notice says; a correction takes what is None from the revision before.

    Attributes
    ----------
    kind : str or None
        One of `products.notice.KINDS`.
    subjects : tuple of str or None
        Products and collections it is about; empty for all.
    effective_at : datetime.datetime or None
        From when it holds; aware.
    title_zh, title_en, text_zh, text_en : str or None
        What it says.
    old_format, new_format, test_data, urgent_reason : str or None
        As in `products.notice.Notice`.
    """

    kind: notice.Kind | None = None
    subjects: tuple[str, ...] | None = None
    effective_at: dt.datetime | None = None
    title_zh: str | None = None
    title_en: str | None = None
    text_zh: str | None = None
    text_en: str | None = None
    old_format: str | None = None
    new_format: str | None = None
    test_data: str | None = None
    urgent_reason: str | None = None


@dataclasses.dataclass(frozen=True)
class ToldNotice:
    """A revision on its way over a channel.

    Attributes
    ----------
    sequence : int
        Its position [1].
    notice : products.notice.Notice
        The revision.
    address : callable
        Gives an address of the service by the parts of its path.
    """

    sequence: int
    notice: notice.Notice
    address: Callable[..., str]

    def payload_for(self, principal: entitlement.Principal) -> dict[str, Any] | None:
        """What somebody is told; None where it does not concern them."""
        shown = _shown(principal, self.notice)
        return None if shown is None else notice.message(shown, self.address)

    def by_sector(self) -> dict[str, dict[str, Any]]:
        """What whoever may know of one sector is told, by sector; under ``all`` what concerns everybody."""
        sectors = sorted(set(self.notice.collections.values())) or ["all"]
        shown = ((sector, notice.within(self.notice, sector.__eq__)) for sector in sectors)
        return {sector: notice.message(found, self.address) for sector, found in shown if found is not None}


class Notices:
    """The notices of one catalogue.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue, for its database and collections.
    """

    def __init__(self, catalog: catalog_store.CatalogStore) -> None:
        self.catalog = catalog

    def add(self, draft: Draft, *, now: dt.datetime) -> notice.Notice:
        """Publish a notice.

        Parameters
        ----------
        draft : Draft
            What it says.
        now : datetime.datetime
            Time; aware.

        Returns
        -------
        products.notice.Notice
            As published.

        Raises
        ------
        products.notice.NoticeError
            It says too little, comes too late, or is about what is not there.
        """
        if draft.kind is None or draft.effective_at is None:
            raise notice.NoticeError("a notice has a kind and a time from which it holds")
        with self.catalog.writing() as connection:
            made = notice.Notice(
                id=_next_id(connection, now),
                revision=1,
                change="published",
                kind=draft.kind,
                collections=self._collections(connection, draft.subjects or ()),
                effective_at=draft.effective_at,
                published_at=now,
                title_zh=draft.title_zh or "",
                title_en=draft.title_en or "",
                text_zh=draft.text_zh or "",
                text_en=draft.text_en or "",
                old_format=draft.old_format,
                new_format=draft.new_format,
                test_data=draft.test_data,
                urgent_reason=draft.urgent_reason,
            )
            self._enter(connection, made, before=None)
        return made

    def correct(self, notice_id: str, draft: Draft, *, reason: str, now: dt.datetime) -> notice.Notice:
        """Let a corrected revision follow a notice.

        Parameters
        ----------
        notice_id : str
            Identity.
        draft : Draft
            What it says now; None stays as it was.
        reason : str
            Why.
        now : datetime.datetime
            Time; aware.

        Returns
        -------
        products.notice.Notice
            The new revision.

        Raises
        ------
        UnknownNoticeError
            There is no such notice.
        products.notice.NoticeError
            It was cancelled, or says too little now.
        """
        given = {name: value for name, value in dataclasses.asdict(draft).items() if value is not None}
        subjects = given.pop("subjects", None)
        with self.catalog.writing() as connection:
            before = _latest(connection, notice_id)
            if subjects is not None:
                given["collections"] = self._collections(connection, subjects)
            made = _following(before, "corrected", reason=reason, now=now, **given)
            self._enter(connection, made, before=before)
        return made

    def cancel(self, notice_id: str, *, reason: str, now: dt.datetime) -> notice.Notice:
        """Let a cancellation follow a notice.

        Parameters
        ----------
        notice_id : str
            Identity.
        reason : str
            Why.
        now : datetime.datetime
            Time; aware.

        Returns
        -------
        products.notice.Notice
            The new revision.

        Raises
        ------
        UnknownNoticeError
            There is no such notice.
        products.notice.NoticeError
            It was cancelled before.
        """
        with self.catalog.writing() as connection:
            before = _latest(connection, notice_id)
            made = _following(before, "cancelled", reason=reason, now=now)
            self._enter(connection, made, before=before)
        return made

    def current(self) -> tuple[notice.Notice, ...]:
        """Read the latest revision of every notice.

        Returns
        -------
        tuple of products.notice.Notice
            The latest to take effect first.
        """
        found = {one.id: one for _, one in _rows(self.catalog.engine, after=0, limit=None)}
        return tuple(sorted(found.values(), key=lambda one: (one.effective_at, one.id), reverse=True))

    def shown(self, principal: entitlement.Principal) -> tuple[notice.Notice, ...]:
        """Latest revisions of the notices that concern an identity.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.

        Returns
        -------
        tuple of products.notice.Notice
            The latest to take effect first.
        """
        found = (_shown(principal, one) for one in self.current())
        return tuple(one for one in found if one is not None)

    def newest(self, principal: entitlement.Principal, *, limit: int = 100) -> tuple[notice.Notice, ...]:
        """Newest revisions that concern an identity.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        limit : int
            The most to return [1].

        Returns
        -------
        tuple of products.notice.Notice
            The newest first.
        """
        found = (_shown(principal, one) for _, one in reversed(_rows(self.catalog.engine, after=0, limit=None)))
        return tuple(one for one in found if one is not None)[:limit]

    def revisions(self, principal: entitlement.Principal, notice_id: str) -> tuple[notice.Notice, ...]:
        """Every revision of a notice that concerns an identity.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        notice_id : str
            Identity.

        Returns
        -------
        tuple of products.notice.Notice
            In order; empty where there is no such notice, or none for this identity.
        """
        found = (_shown(principal, one) for _, one in _rows(self.catalog.engine, after=0, limit=None, only=notice_id))
        return tuple(one for one in found if one is not None)

    def read(
        self, principal: entitlement.Principal, seal: cursor.CursorSeal, after: str | None, *, limit: int = 100
    ) -> tuple[list[tuple[str, notice.Notice]], str, bool]:
        """Read revisions from a position on.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        seal : infra.delivery.cursor.CursorSeal
            What seals positions.
        after : str or None
            Position of the last revision seen; None for the beginning.
        limit : int
            The most to return, cut to `PAGE_LIMIT` [1].

        Returns
        -------
        tuple of list, str and bool
            Revisions in order with their positions, the position to go on from, and whether there is more already.

        Raises
        ------
        infra.delivery.cursor.CursorError
            The position was not given to this agency.
        """
        at = (
            0
            if not after or after == cursor.BEGINNING
            else int(seal.unseal(after, agency=principal.agency, purpose=_PURPOSE))
        )
        limit = max(1, min(limit, PAGE_LIMIT))
        rows = _rows(self.catalog.engine, after=at, limit=None)
        mine = [(sequence, shown) for sequence, one in rows if (shown := _shown(principal, one)) is not None]

        def sealed(sequence: int) -> str:
            return seal.seal(str(sequence).encode(), agency=principal.agency, purpose=_PURPOSE)

        told = [(sealed(sequence), one) for sequence, one in mine[:limit]]
        return told, told[-1][0] if told else sealed(at), len(mine) > limit

    def leap(self, margin: int) -> None:
        """Number new revisions from a margin behind the last known one on; leaping again changes nothing.

        Parameters
        ----------
        margin : int
            How many revisions somebody may have seen that the database does not know [1].
        """
        with self.catalog.writing() as connection:
            newest = connection.execute(sa.select(sa.func.max(notice_table.c.sequence))).scalar_one_or_none() or 0
            database.advance_sequence(connection, notice_table, newest + margin)

    def _collections(self, connection: sa.Connection, subjects: Sequence[str]) -> dict[str, str]:
        """Sector by collection of what was named: collections by their identity, or products by their code."""
        table = catalog_store.collection_table.c
        rows = connection.execute(sa.select(table.id, table["product"], table.sector)).all()
        known = [row for row in rows if streams.of_collection(row.id) == streams.OPERATIONAL]
        found: dict[str, str] = {}
        for subject in subjects:
            named = {row.id: row.sector for row in known if subject in (row.id, row.product)}
            if not named:
                listed = ", ".join(sorted(row.id for row in known)) or "none yet"
                raise notice.NoticeError(f"there is no product or collection {subject!r:.80}; there are: {listed}")
            found |= named
        return found

    def _enter(self, connection: sa.Connection, made: notice.Notice, *, before: notice.Notice | None) -> None:
        notice.check(made, before=before)
        if made.test_data is not None and "://" not in made.test_data:
            self._check_test_data(connection, made.test_data)
        row = dataclasses.asdict(made)
        row["event"] = row.pop("change")
        for name in ("effective_at", "published_at"):
            row[name] = catalog_store.text_from_instant(row[name])
        connection.execute(sa.insert(notice_table), [row])

    @staticmethod
    def _check_test_data(connection: sa.Connection, collection: str) -> None:
        table = catalog_store.collection_table.c
        known = connection.execute(sa.select(table.id).where(table.id == collection)).first() is not None
        if not known or streams.of_collection(collection) != streams.TEST:
            raise notice.NoticeError(
                f"{collection!r:.80} is no collection of test data: publish some with "
                "`terralimb catalogue publish --stream test`, or give an address"
            )


def outgoing(engine: sa.Engine, *, after: int, address: Callable[..., str], limit: int) -> tuple[ToldNotice, ...]:
    """Read the next revisions to be pushed.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    after : int
        Position [1].
    address : callable
        Gives an address of the service by the parts of its path.
    limit : int
        The most to return [1].

    Returns
    -------
    tuple of ToldNotice
        In order.
    """
    rows = _rows(engine, after=after, limit=limit)
    return tuple(ToldNotice(sequence, one, address) for sequence, one in rows)


def start(engine: sa.Engine, *, now: dt.datetime) -> int:
    """Position at which a new channel begins: before the first revision of what is still to be heeded.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    int
        The position [1].
    """
    rows = _rows(engine, after=0, limit=None)
    latest = {one.id: one for _, one in rows}
    ahead = [sequence for sequence, one in rows if notice.coming(latest[one.id], now)]
    return (ahead[0] - 1) if ahead else max((sequence for sequence, _ in rows), default=0)


def links(found: Iterable[notice.Notice], collection: str, address: Callable[..., str]) -> list[dict[str, str]]:
    """Links from a collection to what is coming for it.

    Parameters
    ----------
    found : iterable of products.notice.Notice
        Notices still to be heeded.
    collection : str
        Identity of the collection.
    address : callable
        Gives an address of the service by the parts of its path.

    Returns
    -------
    list of dict
        Links of relation ``notice``.
    """
    return [
        {
            "rel": "notice",
            "type": "application/json",
            "href": address("notices", one.id),
            "title": f"{one.title_zh} {one.title_en}",
        }
        for one in found
        if collection in one.collections
    ]


def _shown(principal: entitlement.Principal, one: notice.Notice) -> notice.Notice | None:
    return notice.within(one, lambda sector: entitlement.permits_collection(principal, sector=sector))


def _rows(
    engine: sa.Engine, *, after: int, limit: int | None, only: str | None = None
) -> list[tuple[int, notice.Notice]]:
    column = notice_table.c
    statement = sa.select(notice_table).where(column.sequence > after).order_by(column.sequence)
    if only is not None:
        statement = statement.where(column.id == only)
    with database.reading(engine) as connection:
        rows = connection.execute(statement.limit(limit)).mappings().all()
    return [(row["sequence"], _from_row(row)) for row in rows]


def _from_row(row: Mapping[Any, Any]) -> notice.Notice:
    given = {name: value for name, value in row.items() if name not in {"sequence", "event"}}
    for name in ("effective_at", "published_at"):
        given[name] = dt.datetime.fromisoformat(given[name])
    return notice.Notice(change=row["event"], **given)


def _latest(connection: sa.Connection, notice_id: str) -> notice.Notice:
    column = notice_table.c
    statement = sa.select(notice_table).where(column.id == notice_id).order_by(column.revision.desc()).limit(1)
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise UnknownNoticeError(f"there is no notice {notice_id!r:.80}: see `terralimb catalogue notice list`")
    return _from_row(row)


def _following(
    before: notice.Notice, change: notice.Change, *, reason: str, now: dt.datetime, **given: Any
) -> notice.Notice:
    return dataclasses.replace(
        before, revision=before.revision + 1, change=change, reason=reason, published_at=now, **given
    )


def _next_id(connection: sa.Connection, now: dt.datetime) -> str:
    year = f"{now.astimezone(dt.UTC):%Y}-"
    statement = sa.select(sa.func.count()).where(notice_table.c.id.startswith(year), notice_table.c.revision == 1)
    return f"{year}{connection.execute(statement).scalar_one() + 1:04d}"
