"""A search put to pgstac, where the catalogue has it: geometry by PostGIS and its index, properties from its JSON.

The words are those of every search. What a filter means is said once, in `cql2_condition` and `queryable`, and who may
see what once, in `entitlement`; here the same condition reads its properties and footprints from pgstac's rows, joined
to the catalogue's. pgstac's own translation of CQL2 is not used: it answers some questions otherwise, and counts only
where it is told to.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import shapely
import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import FunctionElement

from infra import catalog_store, pgstac_index
from infra.delivery import queryable

_view = sa.table(
    pgstac_index.VIEW,
    sa.column("id", sa.Text()),
    sa.column("collection", sa.Text()),
    sa.column("geometry"),
    sa.column("content"),
)

_SPATIAL: Mapping[str, str] = {
    "s_intersects": "ST_Intersects",
    "s_disjoint": "ST_Disjoint",
    "s_within": "ST_Within",
    "s_contains": "ST_Contains",
    "s_equals": "ST_Equals",
    "s_touches": "ST_Touches",
    "s_crosses": "ST_Crosses",
    "s_overlaps": "ST_Overlaps",
}
_WGS84 = 4326

SortKeys = Sequence[tuple[sa.ColumnElement[Any], bool]]


class entered_text(FunctionElement[Any]):  # noqa: N801  named as a function of the database
    """Text at a path of the item in pgstac; NULL where there is none."""

    inherit_cache = True
    type = sa.Text()


class entered_number(FunctionElement[Any]):  # noqa: N801
    """Number at a path of the item in pgstac; NULL where there is none."""

    inherit_cache = True
    type = sa.Double()


@compiler.compiles(entered_text)
def _entered_text(element: entered_text, compiled: Any, **options: Any) -> str:
    content, path = (compiled.process(part, **options) for part in element.clauses)
    place = f"({path})::text[]"
    return f"(CASE WHEN jsonb_typeof({content} #> {place}) = 'string' THEN {content} #>> {place} END)"


@compiler.compiles(entered_number)
def _entered_number(element: entered_number, compiled: Any, **options: Any) -> str:
    content, path = (compiled.process(part, **options) for part in element.clauses)
    place = f"({path})::text[]"
    found = f"({content} #>> {place})::double precision"
    return f"(CASE WHEN jsonb_typeof({content} #> {place}) = 'number' THEN {found} END)"


class entered_absent(FunctionElement[bool]):  # noqa: N801
    """Whether there is nothing at a path of the item in pgstac, or null."""

    inherit_cache = True
    type = sa.Boolean()


@compiler.compiles(entered_absent)
def _entered_absent(element: entered_absent, compiled: Any, **options: Any) -> str:
    content, path = (compiled.process(part, **options) for part in element.clauses)
    return f"(coalesce(jsonb_typeof({content} #> ({path})::text[]), 'null') = 'null')"


_ENTERED: Mapping[type, type[FunctionElement[Any]]] = {
    queryable.document_text: entered_text,
    queryable.document_number: entered_number,
    queryable.document_absent: entered_absent,
}


def footprint_condition(asked: Any, relation: str) -> sa.ColumnElement[bool]:
    """Condition that the footprint of an item has a relation to a geometry.

    Parameters
    ----------
    asked : shapely.Geometry
        The geometry.
    relation : str
        Spatial operator of CQL2, read with the footprint on its left.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on pgstac's rows, which hold the box of an item that has no geometry.
    """
    binary = sa.bindparam(None, shapely.to_wkb(asked, output_dimension=2), sa.LargeBinary(), unique=True)
    geometry = sa.func.ST_GeomFromWKB(binary, _WGS84)
    return sa.Function(_SPATIAL[relation], _view.c.geometry, geometry, type_=sa.Boolean())


def placed(
    connection: sa.Connection, wanted: sa.ColumnElement[bool], keys: SortKeys
) -> tuple[sa.ColumnElement[bool], SortKeys]:
    """Let condition and order of a search read from pgstac, where the catalogue has it.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection to the catalogue.
    wanted : sqlalchemy.ColumnElement
        Condition on `infra.catalog_store.item_table`.
    keys : Sequence of (sqlalchemy.ColumnElement, bool)
        Expressions to order by, each with whether it descends.

    Returns
    -------
    tuple
        Condition and order; joined to pgstac only where they ask for what it holds.
    """
    if not pgstac_index.answers(connection):
        return wanted, keys
    moved = _moved(wanted)
    order = [(_moved(expression), descending) for expression, descending in keys]
    if not any(_reads_view(expression) for expression in (moved, *(key for key, _ in order))):
        return wanted, keys
    item = catalog_store.item_table.c
    return sa.and_(_view.c.id == item.id, _view.c.collection == item.collection, moved), order


def _moved(expression: Any) -> Any:
    def replace(element: Any, **_options: Any) -> Any:
        entered = _ENTERED.get(type(element))
        if entered is not None:
            _, path = element.clauses
            return entered(_view.c.content, path)
        return None

    return visitors.replacement_traverse(expression, {}, replace)


def _reads_view(expression: Any) -> bool:
    return any(element is _view for element in visitors.iterate(expression)) or any(
        isinstance(element, sa.ColumnClause) and element.table is _view for element in visitors.iterate(expression)
    )
