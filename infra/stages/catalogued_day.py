"""Which published profiles make up which day: the catalogue against the ledger, as landed objects are against it.

A listing names the current profiles of one UTC day and stream by item, revision and hash, and those withdrawn. It is a
granule like any other: what arrives late, is superseded or withdrawn makes it another, and the day is due again. A day
is listed once it has settled, so that it is not made anew with every profile that comes in. Counts by state tell
whether a day may have changed: revisions are only added and states only move on, so no state of affairs comes twice.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from infra import archive, catalog_store, database, ledger
from infra.stages.workspace import NewGranule, Workspace
from products import netcdf, profile, profile_aggregate, stac

KIND = "occultation_day"
LAYOUT = "terralimb-occultation-day/1"
COLUMNS = ("item", "revision", "sha256")
MARKED = 2
"""Goes up where a listing says more than before: every day is then listed anew once."""
PROFILE_NAME = "profile.nc"
SETTLING = dt.timedelta(hours=3)
"""From the end of a day to its first listing: the time in which a profile should be there."""
LONGEST_RECORD = dt.timedelta(hours=1)
MEDIA_TYPE = "application/json"

Row = tuple[str, int, str]


@dataclasses.dataclass(frozen=True)
class Listing:
    """Profiles of one day and stream: (item, revision, SHA-256 of the file), in the order of identities.

    `withdrawn` are those that an edition must not hold any more, some of a neighbouring day among them. Of a day that
    `is_closed` no edition can be made any more, as files of its profiles are gone; it is taken back where it must be.
    """

    day: dt.date
    stream: str
    profiles: tuple[Row, ...]
    withdrawn: tuple[Row, ...] = ()
    is_closed: bool = False

    def to_json(self) -> bytes:
        """Listing as JSON; the same profiles give the same bytes."""
        content = {"layout": LAYOUT, "day": self.day.isoformat(), "stream": self.stream}
        named = {"profiles": self.profiles} | ({"withdrawn": self.withdrawn} if self.withdrawn else {})
        rows = {name: [dict(zip(COLUMNS, row, strict=True)) for row in found] for name, found in named.items()}
        return stac.encoded(content | rows | ({"closed": True} if self.is_closed else {}))


def from_json(body: bytes) -> Listing:
    """Listing from JSON."""
    content = json.loads(body)
    profiles, withdrawn = (
        tuple((str(row["item"]), int(row["revision"]), str(row["sha256"])) for row in content.get(name, ()))
        for name in ("profiles", "withdrawn")
    )
    day, closed = dt.date.fromisoformat(content["day"]), bool(content.get("closed", False))
    return Listing(day, str(content["stream"]), profiles, withdrawn, closed)


def register(workspace: Workspace, *, now: dt.datetime | None = None) -> int:
    """Enter the listings that changed into the ledger; returns how many were new."""
    settled = (now or dt.datetime.now(dt.UTC)) - SETTLING
    held = _held(workspace)
    found: list[ledger.Granule] = []
    for day, mark in _marks(workspace.catalog).items():
        known = held.get(day, [])
        if dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC) > settled:
            continue
        if known and all(granule.attributes["mark"] == mark for granule in known):
            continue
        found += _granules(workspace, day, mark, known)
    return workspace.ledger.register(found)


def _held(workspace: Workspace) -> Mapping[dt.date, list[ledger.Granule]]:
    held: dict[dt.date, list[ledger.Granule]] = defaultdict(list)
    for granule in workspace.ledger.granules([KIND]):
        held[dt.date.fromisoformat(granule.attributes["day"])].append(granule)
    return held


def _marks(catalog: catalog_store.CatalogStore) -> dict[dt.date, str]:
    """Day -> what changes whenever its profiles, or those whose record began the day before, do."""
    column = catalog_store.item_table.c
    day = sa.func.substr(column.start_time, 1, 10)
    statement = sa.select(day, column.state, sa.func.count()).where(
        column.state.in_(catalog_store.STATES), column.collection == profile.PRODUCT
    )
    counts: dict[dt.date, dict[str, int]] = defaultdict(dict)
    with database.reading(catalog.engine) as connection:
        for text, state, count in connection.execute(statement.group_by(day, column.state)):
            counts[dt.date.fromisoformat(text)][state] = int(count)
    one = dt.timedelta(days=1)
    days = sorted({*counts, *(each + one for each in counts)})
    marks = {each: [MARKED, counts.get(each - one, {}), counts.get(each, {})] for each in days}
    return {each: json.dumps(mark, sort_keys=True) for each, mark in marks.items()}


def _granules(workspace: Workspace, day: dt.date, mark: str, known: Sequence[ledger.Granule]) -> list[ledger.Granule]:
    """Listings of a day as granules, those that have lost their last profile among them."""
    streams: dict[str, list[catalog_store.CatalogItem]] = {granule.attributes["stream"]: [] for granule in known}
    revisions, buried = _revisions(workspace, day), _withdrawn_and_removed(workspace, day)
    for item in _latest_of(revisions, workspace, day):
        streams.setdefault(_stream_of(item), []).append(item)
    held = {granule.attributes["stream"]: granule for granule in known}
    found = []
    for stream, items in sorted(streams.items()):
        attributes = {"day": day.isoformat(), "stream": stream, "mark": mark}
        gone = _rows(item for item in revisions if _is_withdrawn(item, buried) and _stream_of(item) == stream)
        # Where retention has removed a profile's file the day cannot be made again: it stays as it was made.
        if not any(item.state == "expired" and not _is_withdrawn(item, buried) for item in items):
            current = (item for item in items if item.state == "published")
            found += workspace.write([_new_granule(Listing(day, stream, _rows(current), gone), attributes)])
        elif stream in held:
            found += _closed(workspace, held[stream], gone, attributes)
    return found


def _closed(
    workspace: Workspace, held: ledger.Granule, gone: tuple[Row, ...], attributes: dict[str, Any]
) -> list[ledger.Granule]:
    """Listing of a day that cannot be made again: the one it has, unless more of its profiles were withdrawn."""
    before = from_json(workspace.read(held))
    if set(gone) & set(before.profiles) <= set(before.withdrawn):
        return [dataclasses.replace(held, attributes=attributes)]
    listing = dataclasses.replace(before, withdrawn=gone, is_closed=True)
    return list(workspace.write([_new_granule(listing, attributes)]))


def _is_withdrawn(item: catalog_store.CatalogItem, buried: frozenset[tuple[str, int]]) -> bool:
    return item.state == "withdrawn" or (item.item_id, item.revision) in buried


def _stream_of(item: catalog_store.CatalogItem) -> str:
    return str(item.document["properties"].get("cqeo:stream", "final"))


def _rows(items: Iterable[catalog_store.CatalogItem]) -> tuple[Row, ...]:
    return tuple(sorted((item.item_id, item.revision, file_of(item).sha256) for item in items))


def _new_granule(listing: Listing, attributes: dict[str, Any]) -> NewGranule:
    name = profile_aggregate.identity(listing.day, stream=listing.stream)
    return NewGranule(KIND, name, archive.identity(name), listing.to_json(), ".json", MEDIA_TYPE, attributes)


def file_of(item: catalog_store.CatalogItem) -> catalog_store.AssetRecord:
    """NetCDF file of a profile's item."""
    return next(asset for asset in item.assets if asset.name == PROFILE_NAME)


def _touching(day: dt.date) -> sa.ColumnElement[bool]:
    """Condition that the record of a profile touches a day, whatever its state."""
    column = catalog_store.item_table.c
    begin = dt.datetime.combine(day, dt.time(), dt.UTC)
    end = begin + dt.timedelta(days=1)
    return sa.and_(
        column.state.in_(catalog_store.STATES),
        column.collection == profile.PRODUCT,
        column.start_time >= catalog_store.text_from_instant(begin - LONGEST_RECORD),
        column.start_time < catalog_store.text_from_instant(end),
        column.end_time >= catalog_store.text_from_instant(begin),
    )


def _revisions(workspace: Workspace, day: dt.date) -> Sequence[catalog_store.CatalogItem]:
    """Every revision of every profile whose record touches a day."""
    column = catalog_store.item_table.c
    statement = sa.select(catalog_store.item_table).where(_touching(day)).order_by(column.id, column.revision)
    with database.reading(workspace.catalog.engine) as connection:
        return workspace.catalog.items_of(connection, statement)


def _withdrawn_and_removed(workspace: Workspace, day: dt.date) -> frozenset[tuple[str, int]]:
    """Profiles of a day whose files are gone and that were withdrawn before: item and revision."""
    item, stone = catalog_store.item_table, catalog_store.tombstone_table
    joined = item.join(stone, stone.c.number == item.c.number)
    statement = sa.select(item.c.id, item.c.revision).select_from(joined)
    with database.reading(workspace.catalog.engine) as connection:
        rows = connection.execute(statement.where(_touching(day), stone.c.was_state == "withdrawn")).all()
    return frozenset((str(row[0]), int(row[1])) for row in rows)


def _latest_of(
    revisions: Sequence[catalog_store.CatalogItem], workspace: Workspace, day: dt.date
) -> list[catalog_store.CatalogItem]:
    """Latest revision of every profile whose reference time lies on a day."""
    latest = {item.item_id: item for item in revisions}
    return [item for item in latest.values() if _day_of(item, workspace) == day]


def _day_of(item: catalog_store.CatalogItem, workspace: Workspace) -> dt.date:
    """Day of an item's reference time, which only a record across midnight needs its file for."""
    begin, end = (moment.astimezone(dt.UTC).date() for moment in (item.start, item.end))
    if begin == end or item.state != "published":
        return begin
    return profile_aggregate.day_of(netcdf.decode(read(item, workspace)))


def read(item: catalog_store.CatalogItem, workspace: Workspace) -> bytes:
    """File of a profile's item, checked against the hash the catalogue holds.

    Raises
    ------
    ValueError
        The object is not the content that was published.
    """
    asset = file_of(item)
    body = workspace.store.read(asset.bucket, asset.key)
    if hashlib.sha256(body).hexdigest() != asset.sha256:
        raise ValueError(f"{asset.bucket}/{asset.key} is not the content that was published")
    return body
