"""What a search may ask about: names, kinds and where each is found in the catalogue."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext import compiler
from sqlalchemy.sql.expression import FunctionElement

from infra import catalog_store

Kind = Literal["text", "number", "boolean", "instant", "codes", "geometry", "array", "object"]

_GEOMETRY_SCHEMA = "https://geojson.org/schema/Geometry.json"


class UnknownPropertyError(ValueError):
    """There is no property of that name to ask about."""


class document_text(FunctionElement[Any]):  # noqa: N801  named as a function of the database
    """Text at a path of the item's document; NULL where there is none."""

    inherit_cache = True
    type = sa.Text()

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(*_paths(path))


class document_number(FunctionElement[Any]):  # noqa: N801
    """Number at a path of the item's document; NULL where there is none."""

    inherit_cache = True
    type = sa.Double()

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(*_paths(path))


class document_absent(FunctionElement[bool]):  # noqa: N801
    """Whether there is nothing at a path of the item's document, or null; never NULL itself."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(*_paths(path))


def _paths(path: Sequence[str]) -> tuple[sa.BindParameter[str], sa.BindParameter[str]]:
    """The path as SQLite and as PostgreSQL write it; as values, so that one statement serves every path."""
    return sa.literal("$" + "".join(f'."{key}"' for key in path)), sa.literal("{" + ",".join(path) + "}")


# A value of another type counts as none: the database would order texts after all numbers.


@compiler.compiles(document_text, "sqlite")
def _text_on_sqlite(element: document_text, compiled: Any, **options: Any) -> str:
    path, _ = (compiled.process(part, **options) for part in element.clauses)
    return f"(CASE json_type(item.document, {path}) WHEN 'text' THEN json_extract(item.document, {path}) END)"


@compiler.compiles(document_number, "sqlite")
def _number_on_sqlite(element: document_number, compiled: Any, **options: Any) -> str:
    path, _ = (compiled.process(part, **options) for part in element.clauses)
    found = f"json_extract(item.document, {path})"
    return f"(CASE WHEN json_type(item.document, {path}) IN ('integer', 'real') THEN {found} END)"


@compiler.compiles(document_text, "postgresql")
def _text_on_postgresql(element: document_text, compiled: Any, **options: Any) -> str:
    _, path = (compiled.process(part, **options) for part in element.clauses)
    place = f"item.document::jsonb #> ({path})::text[]"
    return f"(CASE WHEN jsonb_typeof({place}) = 'string' THEN item.document::jsonb #>> ({path})::text[] END)"


@compiler.compiles(document_number, "postgresql")
def _number_on_postgresql(element: document_number, compiled: Any, **options: Any) -> str:
    _, path = (compiled.process(part, **options) for part in element.clauses)
    found = f"(item.document::jsonb #>> ({path})::text[])::double precision"
    return f"(CASE WHEN jsonb_typeof(item.document::jsonb #> ({path})::text[]) = 'number' THEN {found} END)"


@compiler.compiles(document_absent, "sqlite")
def _absent_on_sqlite(element: document_absent, compiled: Any, **options: Any) -> str:
    path, _ = (compiled.process(part, **options) for part in element.clauses)
    return f"(coalesce(json_type(item.document, {path}), 'null') = 'null')"


@compiler.compiles(document_absent, "postgresql")
def _absent_on_postgresql(element: document_absent, compiled: Any, **options: Any) -> str:
    _, path = (compiled.process(part, **options) for part in element.clauses)
    return f"(coalesce(jsonb_typeof(item.document::jsonb #> ({path})::text[]), 'null') = 'null')"


class like(FunctionElement[bool]):  # noqa: N801
    """Whether a text fits a pattern of % and _, case told apart, which SQLite's own LIKE does not do."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], pattern: str) -> None:
        whole = whole_pattern(pattern)
        super().__init__(column, sa.literal(whole), sa.literal(_glob(whole)))


@compiler.compiles(like, "sqlite")
def _like_on_sqlite(element: like, compiled: Any, **options: Any) -> str:
    column, _, glob = (compiled.process(part, **options) for part in element.clauses)
    return f"({column} GLOB {glob})"


@compiler.compiles(like, "postgresql")
def _like_on_postgresql(element: like, compiled: Any, **options: Any) -> str:
    column, pattern, _ = (compiled.process(part, **options) for part in element.clauses)
    return f"({column} LIKE {pattern})"


def one_of(connection: sa.Connection, column: sa.ColumnElement[Any], numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    """Membership in a list of whole numbers of any length: it travels as one value, as statements take only so many.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection, for its dialect.
    column : sqlalchemy.ColumnElement
        What should be one of them.
    numbers : Sequence[int]
        The list [1].

    Returns
    -------
    sqlalchemy.ColumnElement
        The condition.
    """
    listed = sa.literal("[" + ",".join(str(number) for number in numbers) + "]")
    if connection.dialect.name == "sqlite":
        return column.in_(sa.select(sa.func.json_each(listed).table_valued("value").c.value))
    each = sa.func.jsonb_array_elements_text(sa.cast(listed, postgresql.JSONB)).table_valued("value")
    return column.in_(sa.select(sa.cast(each.c.value, sa.Integer)))


def whole_pattern(pattern: str) -> str:
    """Pattern without a backslash at its end that escapes nothing, which PostgreSQL answers with an error.

    Parameters
    ----------
    pattern : str
        Pattern of LIKE.

    Returns
    -------
    str
        Pattern every database can read.
    """
    ending = len(pattern) - len(pattern.rstrip("\\"))
    return pattern[:-1] if ending % 2 else pattern


def _glob(pattern: str) -> str:
    """Write a pattern of LIKE as one of GLOB; what GLOB would read as its own signs goes into brackets."""
    found, escaped = [], False
    for character in pattern:
        if character == "\\" and not escaped:
            escaped = True
            continue
        wild = {"%": "*", "_": "?"}.get(character) if not escaped else None
        found.append(wild or (f"[{character}]" if character in "*?[" else character))
        escaped = False
    return "".join(found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queryable:
    """One property a search may ask about.

    Attributes
    ----------
    title : str
        What it is.
    kind : str
        What it can be compared with.
    column : sqlalchemy.ColumnElement or None
        Where its value is found; None for codes and geometry, which have tables of their own, and for what has no
        single value.
    choices : tuple of str
        Values it can have, where they are few.
    path : tuple of str
        Where it lies in the item's document; empty where it has a column or a table.
    """

    title: str
    kind: Kind
    column: sa.ColumnElement[Any] | None = None
    choices: tuple[str, ...] = ()
    path: tuple[str, ...] = ()

    @property
    def absent(self) -> sa.ColumnElement[bool] | None:
        """Condition that an item has no such property.

        Returns
        -------
        sqlalchemy.ColumnElement or None
            The condition; None for codes and geometry.
        """
        if self.path:
            return document_absent(self.path)
        return None if self.column is None else self.column.is_(None)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of its values.

        Returns
        -------
        dict
            The schema.
        """
        match self.kind:
            case "geometry":
                return {"title": self.title, "$ref": _GEOMETRY_SCHEMA}
            case "codes":
                return {"title": self.title, "type": "array", "items": {"type": "string"}}
            case "instant":
                return {"title": self.title, "type": "string", "format": "date-time"}
            case "number" | "boolean":
                return {"title": self.title, "type": self.kind}
            case "array" | "object":
                return {"title": self.title, "type": self.kind, "description": "Only whether it is there can be asked"}
            case _:
                listed = {"enum": list(self.choices)} if self.choices else {}
                return {"title": self.title, "type": "string"} | listed


_item = catalog_store.item_table.c


def _in_document(title: str, *path: str, kind: Kind = "text", choices: tuple[str, ...] = ()) -> Queryable:
    """A property that is asked for too seldom to have a column of its own."""
    whole = ("properties", *path)
    columns: Mapping[str, Callable[[Sequence[str]], sa.ColumnElement[Any]]] = {
        "text": document_text,
        "number": document_number,
        "instant": _document_instant,
    }
    column = columns[kind](whole) if kind in columns else None
    return Queryable(title=title, kind=kind, column=column, choices=choices, path=whole)


def _document_instant(path: Sequence[str]) -> sa.ColumnElement[Any]:
    """Instant of a document, which is UTC with microseconds or without, as the tables hold it."""
    bare = sa.func.replace(document_text(path), "Z", "", type_=sa.Text())
    return sa.func.substr(bare.concat(".000000"), 1, 26, type_=sa.Text()).concat("Z")


#: Every property a search may ask about, by its name in an item. The three times of the content are known of every
#: item, whichever of them its document writes; version, deprecated and status stand in no document (`products.stac`).
QUERYABLES: Mapping[str, Queryable] = {
    "id": Queryable(title="Identity", kind="text", column=_item.id),
    "collection": Queryable(title="Collection", kind="text", column=_item.collection),
    "geometry": Queryable(title="Footprint", kind="geometry"),
    "datetime": Queryable(title="Time of the content, its start", kind="instant", column=_item.start_time),
    "start_datetime": Queryable(title="Start of the content", kind="instant", column=_item.start_time),
    "end_datetime": Queryable(title="End of the content", kind="instant", column=_item.end_time),
    "published": Queryable(title="Time of publication", kind="instant", column=_item.published_at),
    "expires": _in_document("Time from which it should not be used", "expires", kind="instant"),
    "version": Queryable(title="Revision", kind="text", column=sa.cast(_item.revision, sa.Text)),
    "deprecated": Queryable(
        title="Whether it is no longer current",
        kind="boolean",
        column=sa.case((_item.state == "published", sa.false()), else_=sa.true()),
    ),
    "title": _in_document("Title", "title"),
    "description": _in_document("Description", "description"),
    "keywords": _in_document("Keywords", "keywords", kind="array"),
    "license": _in_document("License", "license"),
    "platform": _in_document("Platform that measured", "platform"),
    # Clients of other catalogues ask for these two before they look at the queryables, and are told that nothing has
    # them rather than that they erred.
    "mission": _in_document("Mission that measured", "mission"),
    "eo:cloud_cover": _in_document("Cloud cover [%]; see cqeo:clear_fraction", "eo:cloud_cover", kind="number"),
    "gsd": _in_document("Distance between samples on the ground [m]", "gsd", kind="number"),
    "cqeo:title_zh": _in_document("Chinese title", "cqeo:title_zh"),
    "cqeo:description_zh": _in_document("Chinese description", "cqeo:description_zh"),
    "cqeo:status": Queryable(
        title="State in the catalogue", kind="text", column=_item.state, choices=catalog_store.STATES
    ),
    "cqeo:sector": Queryable(title="Sector the product serves", kind="text", column=_item.sector),
    "cqeo:product_code": Queryable(title="Product code", kind="text", column=_item["product"]),
    "cqeo:stream": Queryable(
        title="Near real time, final, or test data of a coming format",
        kind="text",
        column=_item.stream,
        choices=("nrt", "final", "test"),
    ),
    "cqeo:quality": _in_document("Standing of the product and why", "cqeo:quality", kind="object"),
    "cqeo:quality.level": Queryable(
        title="Standing of the product",
        kind="text",
        column=_item.quality_level,
        choices=("candidate", "rapid", "verified"),
    ),
    "cqeo:quality.reasons": _in_document("Why it stands so", "cqeo:quality", "reasons", kind="array"),
    "cqeo:clear_fraction": Queryable(
        title="Share of the area seen without cloud or shadow",
        kind="number",
        column=_item.clear_fraction,
    ),
    "cqeo:admin_codes": Queryable(title="Districts, codes of GB/T 2260", kind="codes"),
    "cqeo:uncertainty": _in_document("How the uncertainty is stated", "cqeo:uncertainty", kind="object"),
    "cqeo:uncertainty.kind": _in_document(
        "Kind of uncertainty",
        "cqeo:uncertainty",
        "kind",
        choices=("standard_deviation", "class_probability", "interval_95"),
    ),
    "cqeo:uncertainty.asset": _in_document("Asset that holds the uncertainty", "cqeo:uncertainty", "asset"),
    "cqeo:uncertainty.value": _in_document(
        "Typical value of the uncertainty", "cqeo:uncertainty", "value", kind="number"
    ),
    "cqeo:uncertainty.unit": _in_document("Unit of the uncertainty", "cqeo:uncertainty", "unit"),
    "cqeo:inputs": _in_document("What it was made of", "cqeo:inputs", kind="array"),
    "processing:lineage": _in_document("How it was made", "processing:lineage"),
    "processing:level": _in_document("Level of processing", "processing:level"),
    "processing:facility": _in_document("Facility that made it", "processing:facility"),
    "processing:software": _in_document("Software that made it", "processing:software", kind="object"),
    "processing:software.terralimb": _in_document("Version of terralimb", "processing:software", "terralimb"),
    "proj:code": _in_document("Code of the projection", "proj:code"),
    "proj:shape": _in_document("Rows and columns of the grid", "proj:shape", kind="array"),
    "proj:transform": _in_document("Transformation of the grid", "proj:transform", kind="array"),
}


def queryable(name: str) -> Queryable:
    """Look a property up.

    Parameters
    ----------
    name : str
        Its name, with or without ``properties.`` in front.

    Returns
    -------
    Queryable
        The property.

    Raises
    ------
    UnknownPropertyError
        There is none of that name.
    """
    found = QUERYABLES.get(name.removeprefix("properties."))
    if found is None:
        raise UnknownPropertyError(
            f"{name!r:.80} is no property a search may name; /stac/queryables lists those it may"
        )
    return found
