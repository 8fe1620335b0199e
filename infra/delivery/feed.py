"""The feed: every announcement an identity may see, from any position on, as JSON or Atom.

Announcements are never forgotten and always come in the order of the catalogue, so a client that keeps its last
position misses nothing, whatever happened to it or to the faster ways of telling.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import cursor, entitlement
from products import streams

#: The most announcements of one answer [1].
PAGE_LIMIT = 1000

_PURPOSE = "feed"
_ATOM = "http://www.w3.org/2005/Atom"
_WORDS = {"published": "published 发布", "superseded": "superseded 更新", "withdrawn": "withdrawn 撤回"}
_CHANGES = {"published": "", "corrected": "corrected 更正: ", "cancelled": "cancelled 取消: "}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeedRequest:
    """What part of the feed is wanted.

    Attributes
    ----------
    after : str or None
        Position of the last announcement seen; None or `cursor.BEGINNING` for the beginning.
    sector, product, adcode : str or None
        Only announcements of this sector, product, or district (code of GB/T 2260 and what lies within).
    stream : str
        What agencies work with, or test data: one of `products.streams.STREAMS`.
    limit : int
        The most to return, cut to `PAGE_LIMIT` [1].
    """

    after: str | None = None
    sector: str | None = None
    product: str | None = None
    adcode: str | None = None
    stream: streams.Stream = streams.OPERATIONAL
    limit: int = 100


@dataclasses.dataclass(frozen=True)
class FeedPage:
    """A part of the feed.

    Attributes
    ----------
    announcements : tuple of dict
        In feed order, each with its ``cursor``.
    cursor : str
        Position to go on from; that asked from where nothing is new.
    more : bool
        Whether there is more already.
    """

    announcements: tuple[dict[str, Any], ...]
    cursor: str
    more: bool


class Feed:
    """The feed of one catalogue.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    seal : CursorSeal
        What seals positions.
    """

    def __init__(self, catalog: catalog_store.CatalogStore, seal: cursor.CursorSeal) -> None:
        self.catalog = catalog
        self.seal = seal

    def read(self, principal: entitlement.Principal, request: FeedRequest, address: Callable[..., str]) -> FeedPage:
        """Read the feed from a position on.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        request : FeedRequest
            What part.
        address : callable
            Gives an address of the service by the parts of its path.

        Returns
        -------
        FeedPage
            Announcements and where to go on.

        Raises
        ------
        infra.delivery.cursor.CursorError
            The position was not given to this agency.
        """
        after = 0
        if request.after and request.after != cursor.BEGINNING:
            after = int(self.seal.unseal(request.after, agency=principal.agency, purpose=_PURPOSE))
        limit = max(1, min(request.limit, PAGE_LIMIT))
        rows = self._rows(principal, request, after=after, limit=limit + 1, newest_first=False)
        told = tuple(self._told(row, principal, address) for row in rows[:limit])
        position = told[-1]["cursor"] if told else self._position(after, principal)
        return FeedPage(told, position, len(rows) > limit)

    def newest(
        self, principal: entitlement.Principal, request: FeedRequest, address: Callable[..., str]
    ) -> tuple[dict[str, Any], ...]:
        """Read the newest announcements, newest first.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        request : FeedRequest
            What part; its position is not looked at.
        address : callable
            Gives an address of the service by the parts of its path.

        Returns
        -------
        tuple of dict
            Announcements.
        """
        limit = max(1, min(request.limit, PAGE_LIMIT))
        rows = self._rows(principal, request, after=0, limit=limit, newest_first=True)
        return tuple(self._told(row, principal, address) for row in rows)

    def _rows(
        self, principal: entitlement.Principal, request: FeedRequest, *, after: int, limit: int, newest_first: bool
    ) -> list[Any]:
        outbox, item = catalog_store.outbox_table.c, catalog_store.item_table.c
        same = sa.and_(outbox.item_id == item.id, outbox.revision == item.revision)
        conditions = [entitlement.condition(principal), outbox.sequence > after, *_conditions(request)]
        statement = sa.select(outbox.sequence, outbox.payload, item.collection)
        statement = statement.select_from(catalog_store.outbox_table.join(catalog_store.item_table, same))
        order = outbox.sequence.desc() if newest_first else outbox.sequence
        with database.reading(self.catalog.engine) as connection:
            return list(connection.execute(statement.where(*conditions).order_by(order).limit(limit)))

    def _told(self, row: Any, principal: entitlement.Principal, address: Callable[..., str]) -> dict[str, Any]:
        payload = json.loads(row.payload)
        item, revision = payload["id"], str(payload["revision"])
        payload["links"] = [
            {"rel": "item", "href": address("stac", "collections", row.collection, "items", item)},
            {"rel": "manifest", "href": address("download", item, revision, "MANIFEST.json")},
        ]
        return {"cursor": self._position(row.sequence, principal), **payload}

    def _position(self, sequence: int, principal: entitlement.Principal) -> str:
        return self.seal.seal(str(sequence).encode(), agency=principal.agency, purpose=_PURPOSE)


def _conditions(request: FeedRequest) -> list[Any]:
    item, district = catalog_store.item_table.c, catalog_store.district_table.c
    found: list[Any] = [catalog_store.stream_condition(request.stream)]
    if request.sector is not None:
        found.append(item.sector == request.sector)
    if request.product is not None:
        found.append(item["product"] == request.product)
    if request.adcode is not None:
        stem = entitlement.code_stem(request.adcode)
        within = district.code.startswith(stem, autoescape=True)
        found.append(item.district_set.in_(sa.select(district.district_set).where(within)))
    return found


def atom(announcements: tuple[Mapping[str, Any], ...], *, self_href: str, updated: dt.datetime) -> bytes:
    """Write announcements as an Atom feed (RFC 4287).

    Parameters
    ----------
    announcements : tuple of Mapping
        Newest first.
    self_href : str
        Address of this feed.
    updated : datetime.datetime
        Time of the newest, or of the question where there are none; aware.

    Returns
    -------
    bytes
        The document.
    """
    newest = announcements[0]["occurred_at"] if announcements else updated.isoformat()
    root = _atom_root("terralimb 产品 products", self_href=self_href, updated=newest)
    for told in announcements:
        entry = _add(root, "entry")
        _add(entry, "id", f"urn:terralimb:{told['id']}:{told['revision']}:{told['event']}")
        _add(entry, "title", f"{told['product']} {told['start'][:16]}Z {_WORDS[told['event']]}")
        _add(entry, "updated", told["occurred_at"])
        _add(entry, "category", term=told["sector"])
        for link in told["links"]:
            _add(entry, "link", rel="alternate" if link["rel"] == "item" else "related", href=link["href"])
        _add(entry, "summary", told.get("reason") or f"{told['id']} revision {told['revision']}")
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def notices_atom(told: Sequence[Mapping[str, Any]], *, self_href: str, updated: dt.datetime) -> bytes:
    """Write notices as an Atom feed (RFC 4287).

    Parameters
    ----------
    told : Sequence of Mapping
        Messages of `products.notice`, every revision, newest first.
    self_href : str
        Address of this feed.
    updated : datetime.datetime
        Time of the question, for a feed without a notice; aware.

    Returns
    -------
    bytes
        The document.
    """
    newest = told[0]["published_at"] if told else updated.isoformat()
    root = _atom_root("terralimb 通知 notices", self_href=self_href, updated=newest)
    for one in told:
        entry = _add(root, "entry")
        _add(entry, "id", f"urn:terralimb:notice:{one['id']}:{one['revision']}")
        _add(entry, "title", f"{_CHANGES[one['change']]}{one['title']['zh']} {one['title']['en']}")
        _add(entry, "updated", one["published_at"])
        _add(entry, "category", term=one["kind"])
        for link in one["links"]:
            _add(entry, "link", rel="alternate" if link["rel"] == "notice" else "related", href=link["href"])
        said = (one["effective_at"], one.get("reason"), one["text"]["zh"], one["text"]["en"])
        _add(entry, "summary", "\n".join(part for part in said if part))
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _atom_root(title: str, *, self_href: str, updated: str) -> ElementTree.Element:
    ElementTree.register_namespace("", _ATOM)
    root = ElementTree.Element(f"{{{_ATOM}}}feed")
    _add(root, "id", self_href)
    _add(root, "title", title)
    _add(root, "updated", updated)
    _add(_add(root, "author"), "name", "terralimb")
    _add(root, "link", rel="self", href=self_href)
    return root


def _add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}", attributes)
    child.text = text
    return child
