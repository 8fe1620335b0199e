"""Catalogue store: which revision of which item is current, where it lies, and what still has to be announced.

One publication is one transaction: the old revision becomes superseded, the new one published, and the outbox gets
the announcements of both. A partial unique index holds that an item never has two published revisions. SQLite is
the embedded default, PostgreSQL the larger one; everything that differs between them is in the section "Dialects".
Instants are stored as RFC 3339 UTC text of one fixed length, so that text order is time order.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from infra import database
from products import notification, stac, streams

metadata = sa.MetaData()

#: States of a revision. The indices of the table of items begin with the state: a question about all names them all.
STATES = ("staged", "verified", "published", "superseded", "withdrawn", "expired")

# Footprints repeat: the same district or tile day after day. Each stands once, so that a question about place is put
# to some dozens of them and not to every item. An item without geometry has a footprint of its box alone.
footprint_table = sa.Table(
    "footprint",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("west", sa.Double, nullable=False),
    sa.Column("south", sa.Double, nullable=False),
    sa.Column("east", sa.Double, nullable=False),
    sa.Column("north", sa.Double, nullable=False),
    # Last, for a long outline lies on pages of its own, which a look at the box need not read.
    sa.Column("geometry", sa.Text, nullable=False),
    sa.UniqueConstraint("sha256", name="footprint_once"),
)

_NO_GEOMETRY = sa.text("geometry = 'null'")
sa.Index(
    "footprint_without_geometry",
    footprint_table.c.number,
    sqlite_where=_NO_GEOMETRY,
    postgresql_where=_NO_GEOMETRY,
)

# Districts repeat as well, and what is asked of districts is asked of each combination once; none is one of them.
district_set_table = sa.Table(
    "district_set",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("codes", sa.Text, nullable=False),
    sa.UniqueConstraint("codes", name="district_set_once"),
)
district_table = sa.Table(
    "district",
    metadata,
    sa.Column(
        "district_set", sa.Integer, sa.ForeignKey("district_set.number", name="district_of_set"), primary_key=True
    ),
    sa.Column("code", sa.Text, primary_key=True),
)

item_table = sa.Table(
    "item",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("sector", sa.Text, nullable=False),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("state_reason", sa.Text),
    sa.Column("start_time", sa.Text, nullable=False),
    sa.Column("end_time", sa.Text, nullable=False),
    sa.Column("west", sa.Double, nullable=False),
    sa.Column("south", sa.Double, nullable=False),
    sa.Column("east", sa.Double, nullable=False),
    sa.Column("north", sa.Double, nullable=False),
    sa.Column("footprint", sa.Integer),
    sa.Column("district_set", sa.Integer),
    # How long the content lasts [s]: what began earlier than the longest before a time asked for need not be looked at.
    sa.Column("lasts", sa.BigInteger, nullable=False, server_default="0"),
    # Asked for so often that the document is not opened for them.
    sa.Column("quality_level", sa.Text),
    sa.Column("stream", sa.Text),
    sa.Column("clear_fraction", sa.Double),
    sa.Column("content_sha256", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.Text, nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("item_key", sa.Text, nullable=False),
    sa.Column("manifest_key", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("published_at", sa.Text, nullable=False),
    sa.UniqueConstraint("id", "revision", name="item_id_revision"),
    sa.CheckConstraint("revision >= 1", name="item_revision_from_one"),
    sa.CheckConstraint(f"state IN {STATES}", name="item_state_known"),
    sqlite_autoincrement=True,
)
sa.Index(
    "item_current",
    item_table.c.id,
    unique=True,
    sqlite_where=sa.text("state = 'published'"),
    postgresql_where=sa.text("state = 'published'"),
)
# A search is counted and ordered from an index alone: items with their documents lie one on a page.
_SEARCHED = ("end_time", "sector", "footprint", "district_set", "quality_level", "stream", "clear_fraction")
for _first in ("start_time", "collection", "footprint", "district_set"):
    _columns = dict.fromkeys(("state", _first, "start_time", "id", "collection", *_SEARCHED))
    sa.Index(f"item_current_by_{_first}", *(item_table.c[name] for name in _columns))
sa.Index("item_lasting", item_table.c.lasts)
sa.Index("item_lasting_by_collection", item_table.c.collection, item_table.c.lasts)

asset_table = sa.Table(
    "asset",
    metadata,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["item_id", "revision"], ["item.id", "item.revision"], name="asset_of_item"),
)

# Test data of a coming format. Numbers of their own table keep "no test data" a condition that the indexes of what
# agencies work with answer alone.
test_item_table = sa.Table(
    "test_item",
    metadata,
    sa.Column("number", sa.Integer, sa.ForeignKey("item.number", name="test_item_of_item"), primary_key=True),
)

collection_table = sa.Table(
    "collection",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("sector", sa.Text, nullable=False),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

outbox_table = sa.Table(
    "outbox",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("delivered_at", sa.Text),
    sa.UniqueConstraint("event", "item_id", "revision", name="outbox_event_once"),
    sa.CheckConstraint("event IN ('published', 'superseded', 'withdrawn')", name="outbox_event_known"),
    sqlite_autoincrement=True,
)
sa.Index(
    "outbox_undelivered",
    outbox_table.c.sequence,
    sqlite_where=sa.text("delivered_at IS NULL"),
    postgresql_where=sa.text("delivered_at IS NULL"),
)

# What is left of a revision whose files were removed when their time was over.
tombstone_table = sa.Table(
    "tombstone",
    metadata,
    sa.Column("number", sa.Integer, sa.ForeignKey("item.number", name="tombstone_of_item"), primary_key=True),
    sa.Column("was_state", sa.Text, nullable=False),
    sa.Column("plan_sha256", sa.Text, nullable=False),
    sa.Column("expired_at", sa.Text, nullable=False),
    sa.Column("removed_at", sa.Text),
)

# Items of which nothing may be removed, whatever their time.
legal_hold_table = sa.Table(
    "legal_hold",
    metadata,
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("placed_at", sa.Text, nullable=False),
)

#: The most a search returns at once [1].
PAGE_LIMIT = 10_000

_MONTH = sa.func.substr(item_table.c.start_time, 1, 7)
_WHOLE_EARTH = (-180.0, -90.0, 180.0, 90.0)

#: How many items are read at once on a walk through all of them [1].
WALK_PAGE = 1000

TimeBound = dt.datetime | str | None
TimeRange = tuple[TimeBound, TimeBound]


class CatalogError(Exception):
    """The catalogue could not do what was asked."""


class UnknownItemError(CatalogError):
    """There is no such item, or it has no published revision."""


class ContentWithdrawnError(CatalogError):
    """Exactly this content was withdrawn; publishing it again would undo that silently."""


class AnnouncementMissingError(CatalogError):
    """There is no such announcement."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssetRecord:
    """Where one asset lies and what it must be.

    Attributes
    ----------
    name : str
        Name in the item.
    bucket, key : str
        Where the object is.
    sha256 : str
        Hash of its content, in hex.
    size : int
        Length [octet].
    """

    name: str
    bucket: str
    key: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A verified revision to be published.

    Attributes
    ----------
    item_id : str
        Identity, without a version.
    collection, sector, product : str
        Collection, sector and product code.
    start, end : datetime.datetime
        First and last instant of the content; aware.
    bbox : tuple of 4 float
        West, south, east, north [degree]; west > east crosses the antimeridian.
    content_sha256 : str
        Hash over the names and hashes of everything the revision holds, in hex.
    manifest_sha256 : str
        Hash of the manifest, in hex.
    bucket : str
        Bucket of item and manifest.
    item_key, manifest_key : str
        Their keys.
    document : Mapping[str, Any]
        The STAC item as stored beside the assets.
    assets : tuple of AssetRecord
        Every asset.
    """

    item_id: str
    collection: str
    sector: str
    product: str
    start: dt.datetime
    end: dt.datetime
    bbox: tuple[float, float, float, float]
    content_sha256: str
    manifest_sha256: str
    bucket: str
    item_key: str
    manifest_key: str
    document: Mapping[str, Any]
    assets: tuple[AssetRecord, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogItem(CatalogEntry):
    """A revision as the catalogue holds it.

    Attributes
    ----------
    revision : int
        Revision, from 1 [1].
    state : str
        staged, verified, published, superseded, withdrawn or expired.
    state_reason : str or None
        Why it was withdrawn or expired.
    published_at : datetime.datetime
        When it was published, UTC.
    """

    revision: int
    state: str
    state_reason: str | None
    published_at: dt.datetime

    @property
    def item(self) -> dict[str, Any]:
        """The STAC item as users see it: the stored document with revision, state and time of publication.

        Returns
        -------
        dict
            The item, ready for JSON.
        """
        return stac.with_publication(
            self.document, revision=self.revision, state=self.state, published_at=self.published_at
        )


@dataclasses.dataclass(frozen=True)
class PublishedRevision:
    """Outcome of one publication.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        The current revision [1].
    created : bool
        False where the current revision had this content already.
    """

    item_id: str
    revision: int
    created: bool


@dataclasses.dataclass(frozen=True)
class Announcement:
    """One row of the outbox.

    Attributes
    ----------
    sequence : int
        Position in the feed, growing [1].
    event : str
        published, superseded or withdrawn.
    item_id : str
        Identity of the item.
    revision : int
        Its revision [1].
    payload : Mapping[str, Any]
        What consumers are told.
    created_at : datetime.datetime
        When the event became true.
    delivered_at : datetime.datetime or None
        When it was delivered; None where that is outstanding.
    """

    sequence: int
    event: str
    item_id: str
    revision: int
    payload: Mapping[str, Any]
    created_at: dt.datetime
    delivered_at: dt.datetime | None


@dataclasses.dataclass(frozen=True)
class CatalogCounts:
    """How much the catalogue holds.

    Attributes
    ----------
    states : Mapping[str, int]
        Revisions by state [1].
    sectors : Mapping[str, int]
        Published items by sector, without test data [1].
    products : Mapping[str, int]
        Published items by product code, without test data [1].
    announcements : int
        Announcements ever made [1].
    undelivered : int
        Announcements outstanding [1].
    """

    states: Mapping[str, int]
    sectors: Mapping[str, int]
    products: Mapping[str, int]
    announcements: int
    undelivered: int


# Instants and JSON


def text_from_instant(instant: dt.datetime) -> str:
    """Text of an instant as the tables hold it: UTC, of one length, so that text order is time order.

    Parameters
    ----------
    instant : datetime.datetime
        Aware instant.

    Returns
    -------
    str
        RFC 3339 with microseconds.

    Raises
    ------
    CatalogError
        It states no time zone, or in UTC it lies outside the years 1 to 9999.
    """
    if instant.tzinfo is None:
        raise CatalogError(f"{instant.isoformat()} states no time zone")
    try:
        utc = instant.astimezone(dt.UTC)
    except OverflowError:
        raise CatalogError(f"{instant.isoformat()} lies outside the years 1 to 9999 in UTC") from None
    # isoformat pads every year to four digits, which the C library's %Y does not: text has to order like time.
    return f"{utc.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _instant_from_text(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _bound(value: dt.datetime | str, *, last: bool) -> dt.datetime:
    """Instant of one end of a range; a date alone means its first or last instant, a missing zone UTC."""
    if isinstance(value, dt.datetime):
        return value
    try:
        instant = dt.datetime.fromisoformat(value)
    except ValueError:
        raise CatalogError(f"{value!r} is not an ISO 8601 date or instant") from None
    if len(value) == len("2021-09-01") and last:
        instant += dt.timedelta(days=1, microseconds=-1)
    return instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)


def json_text(document: Any) -> str:
    """Text of a document as the tables hold it.

    Parameters
    ----------
    document : Any
        The document.

    Returns
    -------
    str
        JSON without spaces, keys sorted.
    """
    return json.dumps(document, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))


# Dialects

_box_table = sa.table(
    "footprint_box", sa.column("number"), sa.column("west"), sa.column("east"), sa.column("south"), sa.column("north")
)

# The R*Tree rounds its boxes outward to 32-bit floats, so it finds a superset that the exact columns then narrow.
# A box across the antimeridian (west > east) is entered as all longitudes, for the same reason.
_SPATIAL_INDEX_SQLITE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS footprint_box USING rtree(number, west, east, south, north)",
    """CREATE TRIGGER IF NOT EXISTS footprint_box_insert AFTER INSERT ON footprint BEGIN
         INSERT INTO footprint_box (number, west, east, south, north)
         VALUES (new.number, CASE WHEN new.west > new.east THEN -180 ELSE new.west END,
                 CASE WHEN new.west > new.east THEN 180 ELSE new.east END, new.south, new.north); END""",
    """CREATE TRIGGER IF NOT EXISTS footprint_box_delete AFTER DELETE ON footprint BEGIN
         DELETE FROM footprint_box WHERE number = old.number; END""",
    """INSERT INTO footprint_box (number, west, east, south, north)
       SELECT number, CASE WHEN west > east THEN -180 ELSE west END, CASE WHEN west > east THEN 180 ELSE east END,
              south, north FROM footprint WHERE number NOT IN (SELECT number FROM footprint_box)""",
)

# Its rounding outward fails where a 32-bit float underflows to zero, so a question is widened by more [degree].
_INDEX_MARGIN = 1e-6

_ADVISORY_LOCK_POSTGRESQL = 0x7465_7272


def create_spatial_index(connection: sa.Connection) -> None:
    """Create what finds boxes fast: the R*Tree and its triggers on SQLite, nothing further on PostgreSQL.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection in a transaction, after the tables were created; safe to repeat.
    """
    if connection.dialect.name == "sqlite":
        for statement in _SPATIAL_INDEX_SQLITE:
            connection.exec_driver_sql(statement)


def _take_turn(connection: sa.Connection) -> None:
    """Let one writer at a time in, before anything is read, so that revisions and feed order follow commit order."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK_POSTGRESQL)))
    else:
        # A write that touches no row takes SQLite's write lock, whatever way the transaction was begun.
        connection.execute(sa.update(outbox_table).where(sa.false()).values(event=outbox_table.c.event))


def footprints_near(connection: sa.Connection, bounds: Sequence[float]) -> Any:
    """Condition that a footprint's box may touch a box, by the spatial index; true of all where there is none.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection, for its dialect.
    bounds : Sequence[float]
        West, south, east, north, west <= east [degree].

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `footprint_table`; it holds for some more than asked for.
    """
    west, _, east, _ = bounds
    return _inside_index(connection, ((west, east),), bounds)


def footprints_without_geometry(connection: sa.Connection) -> list[int]:
    """Numbers of footprints that are boxes alone: no relation of their geometry to another is true or false.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Where to look.

    Returns
    -------
    list of int
        Mostly none [1].
    """
    return list(connection.execute(sa.select(footprint_table.c.number).where(_NO_GEOMETRY)).scalars())


def _inside_index(connection: sa.Connection, spans: Sequence[tuple[float, float]], bbox: Sequence[float]) -> Any:
    if connection.dialect.name != "sqlite":
        return sa.true()
    box, south, north, margin = _box_table.c, bbox[1], bbox[3], _INDEX_MARGIN
    overlaps = (sa.and_(box.west <= east + margin, box.east >= west - margin) for west, east in spans)
    found = sa.select(box.number).where(sa.or_(*overlaps), box.south <= north + margin, box.north >= south - margin)
    return footprint_table.c.number.in_(found)


# Conditions of a search


def stream_condition(wanted: streams.Stream) -> sa.ColumnElement[bool]:
    """Condition that an item is of a stream: the one place where test data are kept out of what agencies work with.

    Parameters
    ----------
    wanted : str
        One of `products.streams.STREAMS`.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `item_table`.
    """
    is_test = item_table.c.number.in_(sa.select(test_item_table.c.number))
    return is_test if wanted == streams.TEST else ~is_test


def found_in(collections: Sequence[str]) -> sa.ColumnElement[bool]:
    """Condition of where a search looks: in the collections it names, else in all but those of test data.

    Parameters
    ----------
    collections : Sequence[str]
        Collections named; empty where none was.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `item_table`.
    """
    return item_table.c.collection.in_(collections) if collections else stream_condition(streams.OPERATIONAL)


def _longitude_spans(bbox: Sequence[float]) -> tuple[tuple[float, float], ...]:
    west, _, east, _ = bbox
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))


def _span_condition(west: float, east: float) -> Any:
    column = footprint_table.c
    plain = sa.and_(column.west <= column.east, column.west <= east, column.east >= west)
    across = sa.and_(column.west > column.east, sa.or_(column.west <= east, column.east >= west))
    return sa.or_(plain, across)


def box_condition(connection: sa.Connection, bbox: Sequence[float]) -> Any:
    """Condition that an item's box touches a box, by the spatial index where there is one.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection, for its dialect.
    bbox : Sequence[float]
        West, south, east, north [degree]; west > east crosses the antimeridian.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `item_table`.

    Raises
    ------
    CatalogError
        That is no box.
    """
    _check_box(bbox)
    if tuple(bbox) == _WHOLE_EARTH:
        return sa.true()
    spans = _longitude_spans(bbox)
    east_west = sa.or_(*(_span_condition(west, east) for west, east in spans))
    column = footprint_table.c
    touching = sa.select(column.number).where(
        _inside_index(connection, spans, bbox), east_west, column.south <= bbox[3], column.north >= bbox[1]
    )
    return item_table.c.footprint.in_(touching)


def time_conditions(
    connection: sa.Connection, datetime_range: TimeRange, *, collections: Sequence[str] = ()
) -> Iterator[Any]:
    """Conditions that some of a current item's content lies within a range, ends included.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Where to look how long items last.
    datetime_range : tuple of 2 (datetime.datetime, str or None)
        First and last instant; None for open.
    collections : Sequence[str]
        Collections that are searched; empty for all.

    Yields
    ------
    sqlalchemy.ColumnElement
        Conditions on `item_table`.

    Raises
    ------
    CatalogError
        An end is no instant.
    """
    since, until = datetime_range
    if since is not None:
        begin = text_from_instant(_bound(since, last=False))
        yield item_table.c.end_time >= begin
        yield item_table.c.start_time >= _earlier(begin, _longest(connection, collections))
    if until is not None:
        yield item_table.c.start_time <= text_from_instant(_bound(until, last=True))


def _longest(connection: sa.Connection, collections: Sequence[str]) -> int:
    """How long an item lasts at most [s]; this bounds what a search has to look at, and nothing else."""
    column = item_table.c
    greatest = sa.select(sa.func.max(column.lasts))
    if not collections:
        return int(connection.execute(greatest).scalar() or 0)
    each = (connection.execute(greatest.where(column.collection == name)).scalar() for name in set(collections))
    return max(int(found or 0) for found in each)


def _earlier(text: str, seconds: int) -> str:
    try:
        return text_from_instant(_instant_from_text(text) - dt.timedelta(seconds=seconds))
    except OverflowError:
        return text_from_instant(dt.datetime.min.replace(tzinfo=dt.UTC))


def _check_box(bbox: Sequence[float]) -> None:
    if len(bbox) != 4:
        raise CatalogError(f"a box is west, south, east, north, not {list(bbox)}")
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise CatalogError(f"the box {list(bbox)} is not within -180..180, -90..90 with south <= north")


# Rows


def _entry_row(entry: CatalogEntry, *, revision: int, published_at: str) -> dict[str, Any]:
    west, south, east, north = entry.bbox
    return {
        "id": entry.item_id,
        "revision": revision,
        "collection": entry.collection,
        "sector": entry.sector,
        "product": entry.product,
        "state": "published",
        "start_time": text_from_instant(entry.start),
        "end_time": text_from_instant(entry.end),
        "lasts": math.ceil((entry.end - entry.start).total_seconds()),
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "content_sha256": entry.content_sha256,
        "manifest_sha256": entry.manifest_sha256,
        "bucket": entry.bucket,
        "item_key": entry.item_key,
        "manifest_key": entry.manifest_key,
        "document": json_text(entry.document),
        "published_at": published_at,
        **_searched(entry.document.get("properties", {})),
    }


def _searched(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the document that stand in columns of their own; one of another type counts as none."""
    level = (properties.get("cqeo:quality") or {}).get("level")
    stream, clear = properties.get("cqeo:stream"), properties.get("cqeo:clear_fraction")
    return {
        "quality_level": level if isinstance(level, str) else None,
        "stream": stream if isinstance(stream, str) else None,
        "clear_fraction": clear if isinstance(clear, (int, float)) and not isinstance(clear, bool) else None,
    }


def _asset_rows(entry: CatalogEntry, revision: int) -> list[dict[str, Any]]:
    key = {"item_id": entry.item_id, "revision": revision}
    return [key | dataclasses.asdict(asset) for asset in entry.assets]


def _item_from_row(row: Mapping[str, Any], assets: Sequence[AssetRecord]) -> CatalogItem:
    return CatalogItem(
        item_id=row["id"],
        revision=row["revision"],
        collection=row["collection"],
        sector=row["sector"],
        product=row["product"],
        state=row["state"],
        state_reason=row["state_reason"],
        start=_instant_from_text(row["start_time"]),
        end=_instant_from_text(row["end_time"]),
        bbox=(row["west"], row["south"], row["east"], row["north"]),
        content_sha256=row["content_sha256"],
        manifest_sha256=row["manifest_sha256"],
        bucket=row["bucket"],
        item_key=row["item_key"],
        manifest_key=row["manifest_key"],
        document=json.loads(row["document"]),
        assets=tuple(assets),
        published_at=_instant_from_text(row["published_at"]),
    )


def _announcement_from_row(row: Mapping[str, Any]) -> Announcement:
    delivered = row["delivered_at"]
    return Announcement(
        sequence=row["sequence"],
        event=row["event"],
        item_id=row["item_id"],
        revision=row["revision"],
        payload=json.loads(row["payload"]),
        created_at=_instant_from_text(row["created_at"]),
        delivered_at=None if delivered is None else _instant_from_text(delivered),
    )


def _subject(row: Mapping[str, Any]) -> notification.Subject:
    links = {"item": row["item_key"], "manifest": row["manifest_key"]}
    return notification.Subject(
        item_id=row["id"],
        revision=row["revision"],
        collection=row["collection"],
        sector=row["sector"],
        product=row["product"],
        content_sha256=row["content_sha256"],
        manifest_sha256=row["manifest_sha256"],
        start=row["start_time"],
        end=row["end_time"],
        bbox=(row["west"], row["south"], row["east"], row["north"]),
        links={relation: f"s3://{row['bucket']}/{key}" for relation, key in links.items()},
        stream=streams.TEST if streams.of_collection(row["collection"]) == streams.TEST else None,
    )


class CatalogStore:
    """The catalogue behind one database engine.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        SQLite or PostgreSQL, as `infra.database.engine` makes it; the tables of `metadata` and
        `create_spatial_index` must be there.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    # Writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that holds the writer's turn from its first statement on.

        Yields
        ------
        sqlalchemy.Connection
            Connection for `publish`, `withdraw` and writes of the caller that must stand or fall with them.
        """
        with self.engine.begin() as connection:
            _take_turn(connection)
            yield connection

    @contextlib.contextmanager
    def _turn(self, connection: sa.Connection | None) -> Iterator[sa.Connection]:
        if connection is None:
            with self.writing() as own:
                yield own
        else:
            _take_turn(connection)
            yield connection

    def publish(
        self, entry: CatalogEntry, *, published_at: dt.datetime, connection: sa.Connection | None = None
    ) -> PublishedRevision:
        """Make a verified revision the current one, in one transaction with its announcements.

        Parameters
        ----------
        entry : CatalogEntry
            The revision; every asset must be stored and verified.
        published_at : datetime.datetime
            Instant of publication; aware.
        connection : sqlalchemy.Connection or None
            Transaction to join (see `writing`); None for one of its own.

        Returns
        -------
        PublishedRevision
            The current revision; ``created`` is False where it had this content already.

        Raises
        ------
        ContentWithdrawnError
            A revision with exactly this content was withdrawn.
        CatalogError
            The item is of another stream: test data never supersede what agencies work with.
        """
        _check_box(entry.bbox)
        with self._turn(connection) as turn:
            latest = _row_of(turn, entry.item_id)
            if latest is None:
                return self._insert(turn, entry, revision=1, published_at=published_at)
            _refuse_other_stream(latest, entry)
            _refuse_withdrawn(turn, entry)
            if latest["content_sha256"] == entry.content_sha256 and latest["state"] != "expired":
                return PublishedRevision(entry.item_id, latest["revision"], created=False)
            revision = latest["revision"] + 1
            if latest["state"] == "published":
                self._move(turn, latest, state="superseded", at=published_at, successor=revision)
            return self._insert(turn, entry, revision=revision, published_at=published_at)

    def withdraw(
        self,
        item_id: str,
        revision: int | None = None,
        *,
        reason: str,
        withdrawn_at: dt.datetime,
        connection: sa.Connection | None = None,
    ) -> PublishedRevision:
        """Take a revision of an item back and announce why; its record stays.

        Other revisions of the item with exactly this content are taken back with it: they are the same product.

        Parameters
        ----------
        item_id : str
            Identity of the item.
        revision : int or None
            Which, the current one or one that was superseded; None for the current one [1].
        reason : str
            Why, for its users to read.
        withdrawn_at : datetime.datetime
            Instant of withdrawal; aware.
        connection : sqlalchemy.Connection or None
            Transaction to join; None for one of its own.

        Returns
        -------
        PublishedRevision
            The revision that was withdrawn.

        Raises
        ------
        UnknownItemError
            The item has no such revision, or none that could be withdrawn.
        """
        with self._turn(connection) as turn:
            row = _row_of(turn, item_id, revision)
            if row is None or row["state"] not in ("published", "superseded"):
                which = "published revision" if revision is None else f"revision {revision}, current or superseded,"
                raise UnknownItemError(f"{item_id} has no {which} to withdraw")
            for twin in _live_with_content(turn, item_id, row["content_sha256"]):
                successor = twin["revision"] + 1 if twin["state"] == "superseded" else None
                self._move(turn, twin, state="withdrawn", at=withdrawn_at, reason=reason, successor=successor)
        return PublishedRevision(item_id, row["revision"], created=False)

    def withdraw_again(self, told: Announcement) -> bool:
        """Enter a withdrawal that was announced before and that this catalogue does not know any more.

        Parameters
        ----------
        told : Announcement
            As it stands in the feed, event ``withdrawn``.

        Returns
        -------
        bool
            False where the catalogue has no such revision with this content to withdraw; nothing was entered.
        """
        with self.writing() as turn:
            row = _row_of(turn, told.item_id, told.revision)
            if row is None or row["state"] not in ("published", "superseded") or _other_content(row, told):
                return False
            if _is_announced(turn, told):
                return False
            _announce_again(turn, told)
            change = sa.update(item_table).where(item_table.c.number == row["number"])
            turn.execute(change.values(state="withdrawn", state_reason=str(told.payload["reason"])))
        return True

    def publish_again(self, entry: CatalogEntry, told: Announcement, superseding: Announcement | None) -> bool:
        """Enter a publication that was announced before and that this catalogue does not know any more.

        Parameters
        ----------
        entry : CatalogEntry
            The revision; every asset must be stored and verified.
        told : Announcement
            As it stands in the feed, event ``published``.
        superseding : Announcement or None
            The announcement that the revision before was superseded by it; None where there is none.

        Returns
        -------
        bool
            False where the catalogue is not in the state this publication followed; nothing was entered.
        """
        with self.writing() as turn:
            latest = _row_of(turn, entry.item_id)
            if told.revision != 1 + (0 if latest is None else latest["revision"]):
                return False
            if latest is not None and (latest["state"] == "published") != (superseding is not None):
                return False
            both = [one for one in (superseding, told) if one is not None]
            if any(_is_announced(turn, one) for one in both):
                return False
            for one in both:
                _announce_again(turn, one)
            if latest is not None and superseding is not None:
                change = sa.update(item_table).where(item_table.c.number == latest["number"])
                turn.execute(change.values(state="superseded"))
            self._enter(turn, entry, revision=told.revision, published_at=told.created_at)
        return True

    def never_reuse_positions(self, last: int) -> None:
        """Announce from behind a position on: what was announced there before keeps its place in the feed.

        Parameters
        ----------
        last : int
            Last position the feed ever had; 0 for none [1].
        """
        if last < 1:
            return
        with self.writing() as connection:
            database.advance_sequence(connection, outbox_table, last)

    def put_collection(self, document: Mapping[str, Any]) -> None:
        """Enter or replace the document of a collection.

        Parameters
        ----------
        document : Mapping[str, Any]
            A valid STAC collection with its sector and product code.
        """
        row = {
            "id": document["id"],
            "sector": document["cqeo:sector"],
            "product": document["cqeo:product_code"],
            "document": json_text(document),
        }
        with self.writing() as connection:
            column = collection_table.c
            known = connection.execute(sa.select(column.document).where(column.id == row["id"])).scalar_one_or_none()
            if known is None:
                connection.execute(sa.insert(collection_table), [row])
            elif known != row["document"]:
                connection.execute(sa.update(collection_table).where(column.id == row["id"]).values(row))

    def mark_delivered(self, sequence: int, *, delivered_at: dt.datetime) -> bool:
        """Record that an announcement was delivered.

        Parameters
        ----------
        sequence : int
            Its position in the feed [1].
        delivered_at : datetime.datetime
            Instant of delivery; aware.

        Returns
        -------
        bool
            False where it was recorded before; the first record stands.

        Raises
        ------
        AnnouncementMissingError
            There is no such announcement.
        """
        row = outbox_table.c
        with self.engine.begin() as connection:
            statement = sa.update(outbox_table).where(row.sequence == sequence, row.delivered_at.is_(None))
            changed = connection.execute(statement.values(delivered_at=text_from_instant(delivered_at))).rowcount
            known = connection.execute(sa.select(row.sequence).where(row.sequence == sequence)).first()
        if known is None:
            raise AnnouncementMissingError(f"there is no announcement {sequence}")
        return changed == 1

    # Reading

    def search(
        self,
        *,
        sector: str | None = None,
        product: str | None = None,
        collection: str | None = None,
        bbox: Sequence[float] | None = None,
        datetime_range: TimeRange | None = None,
        limit: int = 100,
        include_superseded: bool = False,
    ) -> tuple[CatalogItem, ...]:
        """Find items, newest content first.

        Parameters
        ----------
        sector, product, collection : str or None
            Exact values; None for any, but for test data, which are found by naming their collection only.
        bbox : Sequence[float] or None
            West, south, east, north that the item must touch [degree]; west > east crosses the antimeridian.
        datetime_range : tuple of 2 (datetime.datetime, str or None), or None
            Aware instants, or ISO 8601 text, between which some of the content lies, ends included; None for open.
        limit : int
            The most to return, 1 to `PAGE_LIMIT` [1].
        include_superseded : bool
            Whether superseded revisions are found too; withdrawn ones never are.

        Returns
        -------
        tuple of CatalogItem
            Ordered by start (newest first), identity and revision.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            raise CatalogError(f"limit must be 1 to {PAGE_LIMIT}, not {limit}")
        column = item_table.c
        wanted = {"sector": sector, "product": product}
        conditions = [column[name] == value for name, value in wanted.items() if value is not None]
        conditions.append(found_in(() if collection is None else (collection,)))
        conditions.append(column.state.in_(("published", "superseded") if include_superseded else ("published",)))
        with database.reading(self.engine) as connection:
            within = (collection,) if collection is not None else ()
            conditions.extend(time_conditions(connection, datetime_range or (None, None), collections=within))
            if bbox is not None:
                _check_box(bbox)
                conditions.append(box_condition(connection, bbox))
            order = (column.start_time.desc(), column.id, column.revision.desc())
            statement = sa.select(item_table).where(*conditions).order_by(*order).limit(limit)
            return self.items_of(connection, statement)

    def item(self, item_id: str, revision: int | None = None) -> CatalogItem | None:
        """Look one item up.

        Parameters
        ----------
        item_id : str
            Identity.
        revision : int or None
            Which revision; None for the latest, whose state may be withdrawn [1].

        Returns
        -------
        CatalogItem or None
            The revision; None where there is none.
        """
        column = item_table.c
        statement = sa.select(item_table).where(column.id == item_id).order_by(column.revision.desc()).limit(1)
        if revision is not None:
            statement = statement.where(column.revision == revision)
        with database.reading(self.engine) as connection:
            return next(iter(self.items_of(connection, statement)), None)

    def published(self, *, collection: str | None = None, month: str | None = None) -> Iterator[CatalogItem]:
        """Walk through every published item in the order of identities.

        Parameters
        ----------
        collection : str or None
            Collection it belongs to; None for any.
        month : str or None
            Month its content begins in, yyyy-mm, UTC; None for any.

        Yields
        ------
        CatalogItem
            The current revision of each item.
        """
        column, last = item_table.c, ""
        wanted = _begun_in(collection, month)
        while True:
            statement = sa.select(item_table).where(column.state == "published", column.id > last, *wanted)
            with database.reading(self.engine) as connection:
                page = self.items_of(connection, statement.order_by(column.id).limit(WALK_PAGE))
            yield from page
            if not page:
                return
            last = page[-1].item_id

    def announcements(self, *, after: int = 0, limit: int = 100) -> tuple[Announcement, ...]:
        """Read the feed from a position on.

        Parameters
        ----------
        after : int
            The last position already seen [1].
        limit : int
            The most to return [1].

        Returns
        -------
        tuple of Announcement
            In feed order.
        """
        return self._announcements(outbox_table.c.sequence > after, limit)

    def undelivered(self, *, limit: int = 1000) -> tuple[Announcement, ...]:
        """Read what still has to be delivered.

        Parameters
        ----------
        limit : int
            The most to return [1].

        Returns
        -------
        tuple of Announcement
            In feed order.
        """
        return self._announcements(outbox_table.c.delivered_at.is_(None), limit)

    def counts(self) -> CatalogCounts:
        """Count revisions, items and announcements.

        Returns
        -------
        CatalogCounts
            The counts.
        """
        column = item_table.c
        current = (column.state == "published", stream_condition(streams.OPERATIONAL))
        with database.reading(self.engine) as connection:
            total, delivered = connection.execute(
                sa.select(sa.func.count(), sa.func.count(outbox_table.c.delivered_at)).select_from(outbox_table)
            ).one()
            return CatalogCounts(
                states=_tally(connection, column.state),
                sectors=_tally(connection, column.sector, *current),
                products=_tally(connection, column.product, *current),
                announcements=total,
                undelivered=total - delivered,
            )

    # Parts

    @staticmethod
    def _insert(
        connection: sa.Connection, entry: CatalogEntry, *, revision: int, published_at: dt.datetime
    ) -> PublishedRevision:
        row = CatalogStore._enter(connection, entry, revision=revision, published_at=published_at)
        _announce(connection, row, event="published", at=published_at)
        return PublishedRevision(entry.item_id, revision, created=True)

    @staticmethod
    def _enter(
        connection: sa.Connection, entry: CatalogEntry, *, revision: int, published_at: dt.datetime
    ) -> dict[str, Any]:
        row = _entry_row(entry, revision=revision, published_at=text_from_instant(published_at))
        row["footprint"] = _footprint(connection, entry)
        row["district_set"] = _district_set(connection, entry)
        inserted = connection.execute(sa.insert(item_table).returning(item_table.c.number), row).scalar_one()
        if streams.of_collection(entry.collection) == streams.TEST:
            connection.execute(sa.insert(test_item_table), [{"number": inserted}])
        if entry.assets:
            connection.execute(sa.insert(asset_table), _asset_rows(entry, revision))
        return row

    @staticmethod
    def _move(
        connection: sa.Connection,
        row: Mapping[str, Any],
        *,
        state: str,
        at: dt.datetime,
        successor: int | None = None,
        reason: str | None = None,
    ) -> None:
        change = sa.update(item_table).where(item_table.c.number == row["number"])
        connection.execute(change.values(state=state, state_reason=reason))
        _announce(connection, row, event=state, at=at, successor=successor, reason=reason)

    @staticmethod
    def items_of(connection: sa.Connection, statement: sa.Select[Any]) -> tuple[CatalogItem, ...]:
        """Items a statement selects, with their assets.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Where to read.
        statement : sqlalchemy.Select
            Selection of whole rows of `item_table`.

        Returns
        -------
        tuple of CatalogItem
            In the order of the statement.
        """
        rows = [dict(row) for row in connection.execute(statement).mappings()]
        return CatalogStore.items_from_rows(connection, rows)

    @staticmethod
    def items_from_rows(
        connection: sa.Connection, rows: Sequence[Mapping[str, Any]], *, with_assets: bool = True
    ) -> tuple[CatalogItem, ...]:
        """Items of rows already read.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Where to read the assets.
        rows : Sequence[Mapping[str, Any]]
            Whole rows of `item_table`.
        with_assets : bool
            Whether to read where the assets lie; without, ``assets`` is empty and only the document tells of them.

        Returns
        -------
        tuple of CatalogItem
            In the order of the rows.
        """
        assets = _assets_of(connection, [(row["id"], row["revision"]) for row in rows]) if with_assets else {}
        return tuple(_item_from_row(row, assets.get((row["id"], row["revision"]), ())) for row in rows)

    @staticmethod
    def items_numbered(connection: sa.Connection, numbers: Sequence[int]) -> tuple[CatalogItem, ...]:
        """Items by their numbers in the table, without their assets.

        Parameters
        ----------
        connection : sqlalchemy.Connection
            Where to read.
        numbers : Sequence[int]
            Numbers of rows that are there [1].

        Returns
        -------
        tuple of CatalogItem
            In the order of the numbers.
        """
        rows = connection.execute(sa.select(item_table).where(item_table.c.number.in_(numbers))).mappings()
        found = {row["number"]: dict(row) for row in rows}
        return CatalogStore.items_from_rows(connection, [found[number] for number in numbers], with_assets=False)

    def _announcements(self, condition: sa.ColumnElement[bool], limit: int) -> tuple[Announcement, ...]:
        statement = sa.select(outbox_table).where(condition).order_by(outbox_table.c.sequence).limit(limit)
        with database.reading(self.engine) as connection:
            return tuple(_announcement_from_row(dict(row)) for row in connection.execute(statement).mappings())


def _begun_in(collection: str | None, month: str | None) -> list[sa.ColumnElement[bool]]:
    column = item_table.c
    conditions = [] if collection is None else [column.collection == collection]
    if month is None:
        return conditions
    # Between two whole instants, which every collation orders alike.
    first = dt.datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    following = (first + dt.timedelta(days=31)).replace(day=1)
    begun = (column.start_time >= text_from_instant(first), column.start_time < text_from_instant(following))
    return [*conditions, *begun]


def _row_of(connection: sa.Connection, item_id: str, revision: int | None = None) -> dict[str, Any] | None:
    """Row of a revision, of the latest where none is given."""
    column = item_table.c
    statement = sa.select(item_table).where(column.id == item_id).order_by(column.revision.desc()).limit(1)
    if revision is not None:
        statement = statement.where(column.revision == revision)
    row = connection.execute(statement).mappings().first()
    return None if row is None else dict(row)


def _live_with_content(connection: sa.Connection, item_id: str, content_sha256: str) -> list[dict[str, Any]]:
    """Rows of the current and superseded revisions with a content, oldest first."""
    column = item_table.c
    live = (
        column.id == item_id,
        column.content_sha256 == content_sha256,
        column.state.in_(("published", "superseded")),
    )
    statement = sa.select(item_table).where(*live).order_by(column.revision)
    return [dict(row) for row in connection.execute(statement).mappings()]


def _footprint(connection: sa.Connection, entry: CatalogEntry) -> int:
    """Number of the item's footprint, entered now where it is a new one."""
    geometry = json_text(entry.document.get("geometry"))
    west, south, east, north = (float(edge) for edge in entry.bbox)
    sha256 = hashlib.sha256(f"{[west, south, east, north]}{geometry}".encode()).hexdigest()
    column = footprint_table.c
    known = connection.execute(sa.select(column.number).where(column.sha256 == sha256)).scalar_one_or_none()
    if known is not None:
        return int(known)
    row = {"sha256": sha256, "geometry": geometry, "west": west, "south": south, "east": east, "north": north}
    return int(connection.execute(sa.insert(footprint_table).returning(column.number), row).scalar_one())


def _district_set(connection: sa.Connection, entry: CatalogEntry) -> int:
    """Number of the combination of the item's districts, entered now where it is a new one."""
    codes = sorted(set(entry.document.get("properties", {}).get("cqeo:admin_codes") or ()))
    column, text = district_set_table.c, " ".join(codes)
    known = connection.execute(sa.select(column.number).where(column.codes == text)).scalar_one_or_none()
    if known is not None:
        return int(known)
    number = int(
        connection.execute(sa.insert(district_set_table).returning(column.number), {"codes": text}).scalar_one()
    )
    if codes:
        connection.execute(sa.insert(district_table), [{"district_set": number, "code": code} for code in codes])
    return number


def _refuse_other_stream(latest: Mapping[str, Any], entry: CatalogEntry) -> None:
    if streams.of_collection(latest["collection"]) != streams.of_collection(entry.collection):
        raise CatalogError(f"{entry.item_id} stands in {latest['collection']}: test data need an identity of their own")


def _refuse_withdrawn(connection: sa.Connection, entry: CatalogEntry) -> None:
    column, tombstone = item_table.c, tombstone_table.c
    buried = sa.exists().where(tombstone.number == column.number, tombstone.was_state == "withdrawn")
    taken_back = sa.or_(column.state == "withdrawn", buried)
    same = (column.id == entry.item_id, column.content_sha256 == entry.content_sha256, taken_back)
    row = connection.execute(sa.select(column.revision, column.state_reason).where(*same)).first()
    if row is not None:
        raise ContentWithdrawnError(
            f"{entry.item_id}: exactly this content was withdrawn as revision {row.revision}: {row.state_reason}"
        )


def _announce(
    connection: sa.Connection,
    row: Mapping[str, Any],
    *,
    event: str,
    at: dt.datetime,
    successor: int | None = None,
    reason: str | None = None,
) -> None:
    instant = text_from_instant(at)
    payload = notification.announcement(
        _subject(row), event=event, occurred_at=instant, successor=successor, reason=reason
    )
    connection.execute(
        sa.insert(outbox_table),
        [
            {
                "event": event,
                "item_id": row["id"],
                "revision": row["revision"],
                "payload": json_text(payload),
                "created_at": instant,
            }
        ],
    )


def _other_content(row: Mapping[str, Any], told: Announcement) -> bool:
    return bool(told.payload["sha256"] != {"content": row["content_sha256"], "manifest": row["manifest_sha256"]})


def _is_announced(connection: sa.Connection, told: Announcement) -> bool:
    """Whether its position or its event is taken."""
    column = outbox_table.c
    same = sa.and_(column.event == told.event, column.item_id == told.item_id, column.revision == told.revision)
    taken = sa.select(column.sequence).where(sa.or_(column.sequence == told.sequence, same))
    return connection.execute(taken).first() is not None


def _announce_again(connection: sa.Connection, told: Announcement) -> None:
    """Enter an announcement under the position it had."""
    row = {
        "sequence": told.sequence,
        "event": told.event,
        "item_id": told.item_id,
        "revision": told.revision,
        "payload": json_text(told.payload),
        "created_at": text_from_instant(told.created_at),
        "delivered_at": None if told.delivered_at is None else text_from_instant(told.delivered_at),
    }
    connection.execute(sa.insert(outbox_table), [row])


def _tally(connection: sa.Connection, column: sa.ColumnElement[str], *conditions: Any) -> dict[str, int]:
    statement = sa.select(column, sa.func.count()).where(*conditions).group_by(column).order_by(column)
    return {str(row[0]): int(row[1]) for row in connection.execute(statement)}


def _assets_of(
    connection: sa.Connection, revisions: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], list[AssetRecord]]:
    found: dict[tuple[str, int], list[AssetRecord]] = {revision: [] for revision in revisions}
    column = asset_table.c
    for start in range(0, len(revisions), 400):
        # By identity alone, for SQLite walks through the whole table to find pairs.
        identities = {item_id for item_id, _ in revisions[start : start + 400]}
        statement = sa.select(asset_table).where(column.item_id.in_(identities))
        for row in connection.execute(statement.order_by(column.item_id, column.revision, column.name)):
            if (row.item_id, row.revision) in found:
                record = AssetRecord(name=row.name, bucket=row.bucket, key=row.key, sha256=row.sha256, size=row.size)
                found[row.item_id, row.revision].append(record)
    return found


# Custody: how long what is published is kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptRevision:
    """A revision that holds files, with what decides how long.

    Attributes
    ----------
    item : CatalogItem
        The revision.
    since : datetime.datetime or None
        When its state became true; None where no announcement tells.
    """

    item: CatalogItem
    since: dt.datetime | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hold:
    """A hold: nothing of the item may be removed.

    Attributes
    ----------
    item_id : str
        Identity.
    reason : str
        Why.
    placed_at : datetime.datetime
        Since when.
    """

    item_id: str
    reason: str
    placed_at: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedObject:
    """An object the catalogue names, and the revision it does so for.

    Attributes
    ----------
    item_id : str
        Identity.
    revision : int
        Revision [1].
    state : str
        State of the revision.
    name : str
        Asset, ``item`` or ``manifest``.
    bucket, key : str
        Where the object is.
    size : int or None
        Length [octet]; None where the catalogue does not hold it, of items and manifests.
    sha256 : str
        Hash of the content, in hex; of an item that of the manifest, which lists it.
    """

    item_id: str
    revision: int
    state: str
    name: str
    bucket: str
    key: str
    size: int | None
    sha256: str


class Custody:
    """How long a catalogue's revisions are kept, what holds them, and what is left of those that were not.

    Parameters
    ----------
    catalog : CatalogStore
        The catalogue.
    """

    def __init__(self, catalog: CatalogStore) -> None:
        self.catalog = catalog

    def hold(self, item_id: str, *, reason: str, placed_at: dt.datetime) -> bool:
        """Let nothing of an item be removed.

        Parameters
        ----------
        item_id : str
            Identity.
        reason : str
            Why.
        placed_at : datetime.datetime
            Since when; aware.

        Returns
        -------
        bool
            False where it was held before; the first reason stands.

        Raises
        ------
        UnknownItemError
            There is no such item.
        """
        with self.catalog.writing() as connection:
            if connection.execute(sa.select(item_table.c.id).where(item_table.c.id == item_id)).first() is None:
                raise UnknownItemError(f"there is no item {item_id} to hold")
            if item_id in self._held(connection):
                return False
            row = {"item_id": item_id, "reason": reason, "placed_at": text_from_instant(placed_at)}
            connection.execute(sa.insert(legal_hold_table), [row])
        return True

    def release(self, item_id: str) -> bool:
        """End the hold of an item.

        Parameters
        ----------
        item_id : str
            Identity.

        Returns
        -------
        bool
            False where it was not held.
        """
        with self.catalog.writing() as connection:
            statement = sa.delete(legal_hold_table).where(legal_hold_table.c.item_id == item_id)
            return connection.execute(statement).rowcount == 1

    def holds(self) -> tuple[Hold, ...]:
        """Read every hold.

        Returns
        -------
        tuple of Hold
            In the order of identities.
        """
        with database.reading(self.catalog.engine) as connection:
            rows = connection.execute(sa.select(legal_hold_table).order_by(legal_hold_table.c.item_id)).all()
        return tuple(
            Hold(item_id=row.item_id, reason=row.reason, placed_at=_instant_from_text(row.placed_at)) for row in rows
        )

    def kept(self) -> Iterator[KeptRevision]:
        """Walk through every revision that holds files and is under no hold; also those that should hold none any more.

        Yields
        ------
        KeptRevision
            In the order of the catalogue's numbers.
        """
        item, held, stone = item_table.c, legal_hold_table.c, tombstone_table.c
        unfinished = sa.exists().where(stone.number == item.number, stone.removed_at.is_(None))
        wanted = sa.and_(
            sa.or_(item.state.in_(("published", "superseded", "withdrawn")), unfinished),
            ~sa.exists().where(held.item_id == item.id),
        )
        last = 0
        while True:
            statement = sa.select(item_table).where(wanted, item.number > last).order_by(item.number).limit(WALK_PAGE)
            with database.reading(self.catalog.engine) as connection:
                rows = [dict(row) for row in connection.execute(statement).mappings()]
                items = self.catalog.items_from_rows(connection, rows)
                since = {row["number"]: self._since(connection, row) for row in rows}
            for row, found in zip(rows, items, strict=True):
                yield KeptRevision(item=found, since=since[row["number"]])
            if not rows:
                return
            last = rows[-1]["number"]

    def expire(
        self, item_id: str, revision: int, *, state: str, reason: str, plan_sha256: str, at: dt.datetime
    ) -> bool:
        """Turn a revision into a tombstone: hashes, sizes and times stay; its files may go from now on.

        Parameters
        ----------
        item_id : str
            Identity.
        revision : int
            Revision [1].
        state : str
            State it must still have.
        reason : str
            Why, for its users to read.
        plan_sha256 : str
            Hash of the plan that lists it, in hex.
        at : datetime.datetime
            When; aware.

        Returns
        -------
        bool
            Whether it is a tombstone now: False where it has another state by now, or is held.
        """
        with self.catalog.writing() as connection:
            row = _row_of(connection, item_id, revision)
            if row is None or item_id in self._held(connection):
                return False
            if row["state"] == "expired":
                return True
            if row["state"] != state:
                return False
            said = f"{row['state_reason']}; {reason}" if row["state_reason"] else reason
            change = sa.update(item_table).where(item_table.c.number == row["number"])
            connection.execute(change.values(state="expired", state_reason=said))
            stone = {
                "number": row["number"],
                "was_state": state,
                "plan_sha256": plan_sha256,
                "expired_at": text_from_instant(at),
            }
            connection.execute(sa.insert(tombstone_table), [stone])
        return True

    @contextlib.contextmanager
    def removing(self, item_id: str, revision: int, *, at: dt.datetime) -> Iterator[frozenset[tuple[str, str]] | None]:
        """Hold the writer's turn while a tombstone's files are removed, so that no publication comes to name them.

        Parameters
        ----------
        item_id : str
            Identity.
        revision : int
            Revision [1].
        at : datetime.datetime
            When; aware.

        Yields
        ------
        frozenset of (str, str), or None
            Buckets and keys that no other revision names and may go; None where the revision is no tombstone or is
            held. What is left when the block ends without an error counts as removed.
        """
        with self.catalog.writing() as connection:
            row = _row_of(connection, item_id, revision)
            if row is None or row["state"] != "expired" or item_id in self._held(connection):
                yield None
                return
            yield self._unshared(connection, row)
            stone = sa.update(tombstone_table).where(tombstone_table.c.number == row["number"])
            connection.execute(stone.values(removed_at=text_from_instant(at)))

    def objects(self) -> Iterator[NamedObject]:
        """Walk through every object a revision names, whatever its state.

        Yields
        ------
        NamedObject
            Assets first, then items and manifests.
        """
        item, asset = item_table.c, asset_table.c
        joined = asset_table.join(item_table, sa.and_(asset.item_id == item.id, asset.revision == item.revision))
        columns = (
            asset.item_id,
            asset.revision,
            item.state,
            asset.name,
            asset.bucket,
            asset.key,
            asset.size,
            asset.sha256,
        )
        own = (item.id, item.revision, item.state, item.bucket, item.item_key, item.manifest_key, item.manifest_sha256)
        with database.reading(self.catalog.engine) as connection:
            for row in connection.execute(sa.select(*columns).select_from(joined)):
                item_id, revision, state, name, bucket, key, size, sha256 = row
                yield NamedObject(
                    item_id=item_id, revision=revision, state=state, name=name, bucket=bucket, key=key, size=size,
                    sha256=sha256,
                )  # fmt: skip
            for found in connection.execute(sa.select(*own)):
                item_id, revision, state, bucket, item_key, manifest_key, sha256 = found
                for name, key in (("item", item_key), ("manifest", manifest_key)):
                    yield NamedObject(
                        item_id=item_id, revision=revision, state=state, name=name, bucket=bucket, key=key, size=None,
                        sha256=sha256,
                    )  # fmt: skip

    def latest_identities(self) -> Iterator[str]:
        """Walk through the identities of all items, whatever their state.

        Yields
        ------
        str
            Identities in their order.
        """
        with database.reading(self.catalog.engine) as connection:
            yield from connection.execute(sa.select(item_table.c.id).distinct().order_by(item_table.c.id)).scalars()

    def months(self) -> frozenset[tuple[str, str]]:
        """Tell which months hold published items.

        Returns
        -------
        frozenset of (str, str)
            Collection, and month the content begins in, yyyy-mm, UTC.
        """
        item = item_table.c
        wanted = sa.select(item.collection, _MONTH).where(item.state == "published").distinct()
        with database.reading(self.catalog.engine) as connection:
            return frozenset((str(row[0]), str(row[1])) for row in connection.execute(wanted))

    def months_changed(self, *, after: int, since: dt.datetime) -> frozenset[tuple[str, str]]:
        """Tell in which months something was published, superseded or withdrawn after a position, or has expired.

        Parameters
        ----------
        after : int
            Position in the feed [1].
        since : datetime.datetime
            From when on revisions count that expired, which is not announced; aware.

        Returns
        -------
        frozenset of (str, str)
            Collection, and month the content begins in, yyyy-mm, UTC.
        """
        item, told, stone = item_table.c, outbox_table.c, tombstone_table.c
        announced = sa.and_(told.item_id == item.id, told.revision == item.revision)
        moved = sa.select(item.collection, _MONTH).select_from(outbox_table.join(item_table, announced))
        expired = sa.select(item.collection, _MONTH).select_from(
            tombstone_table.join(item_table, stone.number == item.number)
        )
        wanted = (
            moved.where(told.sequence > after).distinct(),
            expired.where(stone.expired_at >= text_from_instant(since)).distinct(),
        )
        with database.reading(self.catalog.engine) as connection:
            return frozenset((str(row[0]), str(row[1])) for one in wanted for row in connection.execute(one))

    def last_position(self) -> int:
        """Position of the last announcement, delivered or not.

        Returns
        -------
        int
            Position; 0 where nothing was announced [1].
        """
        with database.reading(self.catalog.engine) as connection:
            return int(connection.execute(sa.select(sa.func.max(outbox_table.c.sequence))).scalar() or 0)

    def gone(self, collection: str, month: str) -> tuple[CatalogItem, ...]:
        """Revisions of a month that are not current any more.

        Parameters
        ----------
        collection : str
            Collection.
        month : str
            Month the content begins in, yyyy-mm, UTC.

        Returns
        -------
        tuple of CatalogItem
            Of each item the latest of them, in the order of identities; its state is superseded, withdrawn or expired.
        """
        column = item_table.c
        # The states are named one by one, for the index begins with them.
        wanted = (column.state.in_(("superseded", "withdrawn", "expired")), *_begun_in(collection, month))
        statement = sa.select(item_table).where(*wanted).order_by(column.id, column.revision)
        with database.reading(self.catalog.engine) as connection:
            latest = {row["id"]: dict(row) for row in connection.execute(statement).mappings()}
            return self.catalog.items_from_rows(connection, list(latest.values()))

    def collections(self) -> dict[str, dict[str, Any]]:
        """Read the documents of all collections.

        Returns
        -------
        dict
            Document by identity.
        """
        with database.reading(self.catalog.engine) as connection:
            rows = connection.execute(sa.select(collection_table.c.id, collection_table.c.document)).all()
        return {row.id: json.loads(row.document) for row in sorted(rows)}

    @staticmethod
    def _held(connection: sa.Connection) -> frozenset[str]:
        return frozenset(connection.execute(sa.select(legal_hold_table.c.item_id)).scalars())

    @staticmethod
    def _since(connection: sa.Connection, row: Mapping[str, Any]) -> dt.datetime | None:
        told = outbox_table.c
        same = (told.item_id == row["id"], told.revision == row["revision"], told.event == row["state"])
        text = connection.execute(sa.select(told.created_at).where(*same)).scalar_one_or_none()
        return None if text is None else _instant_from_text(text)

    @staticmethod
    def _unshared(connection: sa.Connection, row: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
        """Files of this revision that none with files names too: the same content may have come back."""
        column, asset = item_table.c, asset_table.c
        others = sa.and_(column.id == row["id"], column.state != "expired")
        joined = asset_table.join(item_table, sa.and_(asset.item_id == column.id, asset.revision == column.revision))
        shared = {
            tuple(found)
            for found in connection.execute(sa.select(asset.bucket, asset.key).select_from(joined).where(others))
        }
        shared |= {
            tuple(found) for found in connection.execute(sa.select(column.bucket, column.item_key).where(others))
        }
        own = sa.select(asset.bucket, asset.key).where(asset.item_id == row["id"], asset.revision == row["revision"])
        mine = {tuple(found) for found in connection.execute(own)} | {(row["bucket"], row["item_key"])}
        return frozenset((str(bucket), str(key)) for bucket, key in mine - shared)
