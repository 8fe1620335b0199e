"""Search of the catalogue for one identity: filter, order, pages, count.

Pages follow the order of the search itself and not a number of items skipped, so that what is published between two
pages neither repeats an item nor hides one. A count holds until the catalogue changes and is kept that long.
"""

import base64
import binascii
import collections
import dataclasses
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import cql2_condition, entitlement, pgstac_search, queryable
from products import streams

#: The most items of one page [1].
PAGE_LIMIT = 1000

Direction = Literal["asc", "desc"]

_COUNTS_KEPT = 512
_FEW = 2000
_LOWEST_NUMBER = -1.0e308


class SearchError(ValueError):
    """The search asks for something that cannot be answered."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What is looked for.

    Attributes
    ----------
    collections : tuple of str
        Collections; empty for all but those of test data.
    ids : tuple of str
        Identities; empty for all.
    bbox : tuple of 4 float or None
        West, south, east, north that the item's box must touch [degree].
    intersects : Mapping[str, Any] or None
        GeoJSON geometry that the item's footprint must meet.
    datetime_range : tuple of 2 (datetime.datetime or None), or None
        Instants between which some of the content lies; None at an end for open.
    filter_tree : dict or bool
        CQL2 JSON, as `infra.delivery.cql2_condition.parsed` gives it; True for none.
    sort : tuple of (str, str)
        Property and direction, the first first; empty for newest first.
    limit : int
        The most of one page, cut to `PAGE_LIMIT` [1].
    token : str or None
        Where the page before ended.
    """

    collections: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    bbox: tuple[float, float, float, float] | None = None
    intersects: Mapping[str, Any] | None = None
    datetime_range: catalog_store.TimeRange | None = None
    filter_tree: Any = True
    sort: tuple[tuple[str, Direction], ...] = ()
    limit: int = 10
    token: str | None = None


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of a search.

    Attributes
    ----------
    items : tuple of CatalogItem
        In the order asked for.
    matched : int
        How many there are in all pages [1].
    token : str or None
        Where the next page begins; None on the last.
    """

    items: tuple[catalog_store.CatalogItem, ...]
    matched: int
    token: str | None


class ItemSearch:
    """Searches in one catalogue; safe to share between threads.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    """

    def __init__(self, catalog: catalog_store.CatalogStore) -> None:
        self.catalog = catalog
        self._counts: collections.OrderedDict[tuple[tuple[int, ...], str], int] = collections.OrderedDict()
        self._lock = threading.Lock()

    def search(self, principal: entitlement.Principal, request: SearchRequest) -> Page:
        """Find what an identity may see.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        request : SearchRequest
            What for.

        Returns
        -------
        Page
            One page, and how many there are in all.

        Raises
        ------
        SearchError
            The token belongs to another search, or a property cannot be sorted by.
        infra.delivery.cql2_condition.FilterError
            The filter cannot be answered.
        infra.delivery.queryable.UnknownPropertyError
            There is no such property.
        infra.catalog_store.CatalogError
            The box or the range is none.
        """
        keys = _sort_keys(request.sort)
        limit = min(request.limit, PAGE_LIMIT)
        with database.reading(self.catalog.engine) as connection:
            wanted = sa.and_(entitlement.condition(principal), *_conditions(request, connection))
            wanted, keys = pgstac_search.placed(connection, wanted, keys)
            matched = self._count(connection, wanted, principal, request)
            number = catalog_store.item_table.c.number
            # Where few match, they are found as they were counted and sorted then: by walking through time the
            # database would look at all the others first. A sort key wrapped up is one no index offers.
            few = matched <= _FEW
            sorted_by = [(sa.func.coalesce(key, key) if few else key, descending) for key, descending in keys]
            order = [key.desc() if descending else key.asc() for key, descending in sorted_by]
            # Which items stand on the page is told by an index; only then are their documents read.
            statement = sa.select(*(expression for expression, _ in keys), number).where(
                wanted, _after(keys, request.token)
            )
            rows = connection.execute(statement.order_by(*order, number.desc()).limit(limit + 1)).all()
            items = self.catalog.items_numbered(connection, [row[-1] for row in rows[:limit]])
        token = _token(rows[limit - 1]) if len(rows) > limit else None
        return Page(items, matched, token)

    def item(
        self, principal: entitlement.Principal, item_id: str, revision: int | None = None
    ) -> catalog_store.CatalogItem | None:
        """Look one item up, whatever its state, for whoever may see it.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        item_id : str
            Identity.
        revision : int or None
            Which revision; None for the latest [1].

        Returns
        -------
        CatalogItem or None
            None where there is none, or none for this identity: the two look the same.
        """
        column = catalog_store.item_table.c
        statement = sa.select(catalog_store.item_table).where(entitlement.condition(principal), column.id == item_id)
        if revision is not None:
            statement = statement.where(column.revision == revision)
        with database.reading(self.catalog.engine) as connection:
            found = self.catalog.items_of(connection, statement.order_by(column.revision.desc()).limit(1))
        return next(iter(found), None)

    def collections(
        self, principal: entitlement.Principal, wanted: streams.Stream = streams.OPERATIONAL
    ) -> list[dict[str, Any]]:
        """Documents of the collections of an identity's sectors, with the extent of what it sees in each.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        wanted : str
            What agencies work with, or test data: one of `products.streams.STREAMS`.

        Returns
        -------
        list of dict
            STAC collections, by identity.
        """
        table, item = catalog_store.collection_table.c, catalog_store.item_table.c
        seen = sa.and_(
            entitlement.condition(principal), item.state == "published", catalog_store.stream_condition(wanted)
        )
        edges = (sa.func.min(item.west), sa.func.min(item.south), sa.func.max(item.east), sa.func.max(item.north))
        times = (sa.func.min(item.start_time), sa.func.max(item.end_time))
        extents = sa.select(item.collection, *edges, *times).where(seen).group_by(item.collection)
        listed = sa.select(table.document).where(table.sector.in_(sorted(principal.sectors))).order_by(table.id)
        with database.reading(self.catalog.engine) as connection:
            extent = {row[0]: (list(row[1:5]), list(row[5:7])) for row in connection.execute(extents)}
            documents = [json.loads(text) for text in connection.execute(listed).scalars()]
        return [
            _with_extent(document, extent.get(document["id"]))
            for document in documents
            if streams.of_collection(document["id"]) == wanted
        ]

    def _count(
        self,
        connection: sa.Connection,
        wanted: sa.ColumnElement[bool],
        principal: entitlement.Principal,
        request: SearchRequest,
    ) -> int:
        # Whatever changes what is current is announced, but for the removal of what is too old.
        announced = sa.select(sa.func.max(catalog_store.outbox_table.c.sequence)).scalar_subquery()
        removed = sa.select(sa.func.count()).select_from(catalog_store.tombstone_table).scalar_subquery()
        change = tuple(int(number or 0) for number in connection.execute(sa.select(announced, removed)).one())
        asked = dataclasses.replace(request, sort=(), limit=0, token=None)
        seen = (sorted(principal.sectors), principal.districts and sorted(principal.districts))
        key = (change, hashlib.sha256(f"{seen}{asked}".encode()).hexdigest())
        with self._lock:
            if key in self._counts:
                self._counts.move_to_end(key)
                return self._counts[key]
        statement = sa.select(sa.func.count()).select_from(catalog_store.item_table).where(wanted)
        count = int(connection.execute(statement).scalar_one())
        with self._lock:
            self._counts[key] = count
            while len(self._counts) > _COUNTS_KEPT:
                self._counts.popitem(last=False)
        return count


# Conditions


def _conditions(request: SearchRequest, connection: sa.Connection) -> list[Any]:
    column = catalog_store.item_table.c
    found: list[Any] = [column.state == "published", catalog_store.found_in(request.collections)]
    if request.ids:
        found.append(column.id.in_(request.ids))
    if request.datetime_range is not None:
        found.extend(catalog_store.time_conditions(connection, request.datetime_range, collections=request.collections))
    if request.bbox is not None:
        found.append(catalog_store.box_condition(connection, request.bbox))
    if request.intersects is not None:
        found.append(cql2_condition.geometry_condition(request.intersects, connection))
    if request.filter_tree is not True:
        found.append(cql2_condition.condition(request.filter_tree, connection))
    return found


# Order and pages


def _sort_keys(sort: Sequence[tuple[str, Direction]]) -> pgstac_search.SortKeys:
    """Expressions to order by, each with whether it descends; a missing value counts as the least."""
    found = []
    for name, direction in sort or (("datetime", "desc"), ("id", "asc")):
        asked = queryable.queryable(name)
        if asked.column is None or asked.kind == "boolean":
            raise SearchError(f"{name} cannot be sorted by")
        always_there = isinstance(asked.column, sa.Column) and not asked.column.nullable
        lowest = _LOWEST_NUMBER if asked.kind == "number" else ""
        found.append((asked.column if always_there else sa.func.coalesce(asked.column, lowest), direction == "desc"))
    return found


def _after(keys: Sequence[tuple[sa.ColumnElement[Any], bool]], token: str | None) -> sa.ColumnElement[bool]:
    if token is None:
        return sa.true()
    values = _token_values(token, len(keys))
    reached = [*keys, (catalog_store.item_table.c.number, True)]
    options: list[Any] = []
    equal: list[Any] = []
    for (expression, descending), value in zip(reached, values, strict=True):
        beyond = expression < value if descending else expression > value
        options.append(sa.and_(*equal, beyond))
        equal.append(expression == value)
    return sa.or_(*options)


def _token(row: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(row)).encode()).decode().rstrip("=")


def _token_values(token: str, keys: int) -> list[Any]:
    try:
        values: Any = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise SearchError("the token is none of this catalogue") from None
    fits = isinstance(values, list) and len(values) == keys + 1 and isinstance(values[-1], int)
    if not fits or not all(isinstance(value, (str, int, float)) for value in values) or abs(values[-1]) >= 2**63:
        raise SearchError("the token belongs to a search with another order")
    return list(values)


def _with_extent(document: dict[str, Any], extent: tuple[list[float], list[str]] | None) -> dict[str, Any]:
    if extent is not None:
        box, times = extent
        document["extent"] = {"spatial": {"bbox": [box]}, "temporal": {"interval": [times]}}
    return document
