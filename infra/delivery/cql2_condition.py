"""A CQL2 filter as a condition of the database (OGC 21-065r2): basic, advanced comparison, spatial, temporal.

The library reads and checks the expression; here its JSON form is walked once. A filter names properties of
`infra.delivery.queryable` only, so that nobody can ask about what is not shown.
"""

import datetime as dt
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import cql2
import shapely
import sqlalchemy as sa
from shapely import geometry as shapely_geometry

from infra import catalog_store, pgstac_index
from infra.delivery import filter_limit, pgstac_search, queryable

#: The most codes a list of codes is compared with [1].
CODES_LIMIT = 256

#: The most values of IN [1].
VALUES_LIMIT = 10_000

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SPATIAL: Mapping[str, Callable[[Any, Any], Any]] = {
    "s_intersects": shapely.intersects,
    "s_disjoint": shapely.disjoint,
    "s_within": shapely.within,
    "s_contains": shapely.contains,
    "s_equals": shapely.equals,
    "s_touches": shapely.touches,
    "s_crosses": shapely.crosses,
    "s_overlaps": shapely.overlaps,
}
_FOLDED = "casei"
_EQUALITY = frozenset({"=", "<>"})
_PYTHON_KINDS: Mapping[str, tuple[type, ...]] = {"text": (str,), "number": (int, float), "boolean": (bool,)}

_GEOMETRY_TYPES = (
    "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"
)  # fmt: skip

Language = Literal["cql2-text", "cql2-json"]


class FilterError(ValueError):
    """The filter is not CQL2, or asks for something that cannot be answered."""


def parsed(expression: str | Mapping[str, Any], language: Language) -> Any:
    """Read a filter.

    Parameters
    ----------
    expression : str or Mapping[str, Any]
        The filter; JSON as text or as an object.
    language : str
        How it is written.

    Returns
    -------
    dict or bool
        Its CQL2 JSON.

    Raises
    ------
    FilterError
        It is not CQL2, too long or nested too deeply.
    """
    try:
        if language == "cql2-text" and isinstance(expression, str):
            filter_limit.check_text(expression)
            found = cql2.parse_text(expression).to_json()
        else:
            tree = _flat_between(_tree(expression))
            found = cql2.Expr(tree).to_json()
        filter_limit.check_tree(found)
    except filter_limit.FilterTooLargeError as error:
        raise FilterError(str(error)) from None
    except Exception as error:  # noqa: BLE001  the library raises plain exceptions
        raise FilterError(f"the filter is not valid {language}: {_first_line(str(error))}") from None
    return found


def _tree(expression: str | Mapping[str, Any]) -> Any:
    tree = expression
    if isinstance(expression, str):
        if len(expression) > filter_limit.LENGTH_LIMIT:
            raise FilterError(f"the filter is longer than {filter_limit.LENGTH_LIMIT} octets")
        tree = json.loads(expression)
    filter_limit.check_tree(tree)
    return tree


def condition(tree: Any, connection: sa.Connection) -> sa.ColumnElement[bool]:
    """Translate a filter.

    Parameters
    ----------
    tree : dict or bool
        CQL2 JSON, as `parsed` gives it.
    connection : sqlalchemy.Connection
        Where footprints are looked up; geometry is decided before the search, by footprint.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `infra.catalog_store.item_table`.

    Raises
    ------
    FilterError
        An operator, or a comparison of kinds, that cannot be answered.
    """
    if isinstance(tree, bool):
        return sa.true() if tree else sa.false()
    if not isinstance(tree, dict) or "op" not in tree:
        raise FilterError(f"{_shown(tree)} is neither true nor false")
    operation, arguments = tree["op"], _arguments(tree)
    if operation in {"and", "or"}:
        parts = [condition(part, connection) for part in arguments]
        return sa.and_(sa.true(), *parts) if operation == "and" else sa.or_(sa.false(), *parts)
    if operation == "not":
        return sa.not_(condition(arguments[0], connection))
    found: sa.ColumnElement[bool] = _predicate(operation, arguments, connection)
    return found


def geometry_condition(geometry: Any, connection: sa.Connection, relation: str = "s_intersects") -> Any:
    """Condition that the footprint of an item has a relation to a geometry.

    Parameters
    ----------
    geometry : Mapping[str, Any]
        GeoJSON geometry or ``{"bbox": [...]}``.
    connection : sqlalchemy.Connection
        Where footprints are looked up.
    relation : str
        Spatial operator of CQL2, read with the footprint on its left.

    Returns
    -------
    sqlalchemy.ColumnElement
        Condition on `infra.catalog_store.item_table`.

    Raises
    ------
    FilterError
        It is no geometry.
    """
    asked = _geometry(geometry)
    if pgstac_index.answers(connection):
        related = pgstac_search.footprint_condition(asked, relation)
    else:
        related = _footprint_condition(asked, connection, relation)
    unknown = catalog_store.footprints_without_geometry(connection)
    if not unknown:
        return related
    # Written so that "not" of it finds no item without a geometry either.
    without = queryable.one_of(connection, catalog_store.item_table.c.footprint, unknown)
    return sa.or_(sa.and_(related, ~without), sa.and_(without, sa.null()))


def _footprint_condition(asked: Any, connection: sa.Connection, relation: str) -> Any:
    footprint = catalog_store.footprint_table.c
    statement = sa.select(footprint.number, footprint.geometry).where(footprint.geometry != "null")
    if relation != "s_disjoint":
        # Boxes across the antimeridian (west > east) are left for the exact test.
        west, south, east, north = asked.bounds
        beside = sa.and_(footprint.west <= footprint.east, sa.or_(footprint.west > east, footprint.east < west))
        near = catalog_store.footprints_near(connection, asked.bounds)
        statement = statement.where(near, ~beside, footprint.south <= north, footprint.north >= south)
    rows = connection.execute(statement).all()
    shapes = shapely.from_geojson([row.geometry for row in rows])
    shapely.prepare(asked)
    hits = _SPATIAL[relation](shapes, asked)
    numbers = [row.number for row, hit in zip(rows, hits, strict=True) if hit]
    return queryable.one_of(connection, catalog_store.item_table.c.footprint, numbers)


def instant_text(value: Any) -> str:
    """Instant of a filter as the tables hold it.

    Parameters
    ----------
    value : str or Mapping[str, str]
        RFC 3339 instant or date, or CQL2's ``timestamp`` or ``date`` of one.

    Returns
    -------
    str
        UTC text that orders like time.

    Raises
    ------
    FilterError
        It is no instant.
    """
    text = value.get("timestamp", value.get("date")) if isinstance(value, Mapping) else value
    try:
        instant = dt.datetime.fromisoformat(text)
        aware = instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
        return catalog_store.text_from_instant(aware)
    except (TypeError, ValueError, OverflowError, catalog_store.CatalogError):
        raise FilterError(f"{_shown(value)} is not an instant of RFC 3339") from None


# Predicates


def _arguments(tree: Mapping[str, Any]) -> Sequence[Any]:
    """Arguments of an operator; the library reads any number of them."""
    operation, arguments = tree["op"], tree.get("args")
    wanted = {"and": None, "or": None, "not": 1, "isNull": 1, "between": 3, _FOLDED: 1}.get(operation, 2)
    if not isinstance(arguments, list) or (len(arguments) != wanted if wanted is not None else not arguments):
        raise FilterError(f"{_shown(tree)} has not the arguments of its operator")
    return arguments


def _predicate(operation: str, arguments: Sequence[Any], connection: sa.Connection) -> Any:
    if operation in _COMPARISONS:
        return _comparison(operation, arguments)
    if operation in _SPATIAL:
        return _spatial(operation, arguments, connection)
    if operation.startswith("t_"):
        return _temporal(operation, arguments)
    if operation.startswith("a_"):
        return _codes(operation, arguments)
    match operation:
        case "isNull":
            return _missing(arguments[0], connection)
        case "like":
            return _like(arguments)
        case "between":
            low, high = arguments[1:]
            return sa.and_(_comparison(">=", [arguments[0], low]), _comparison("<=", [arguments[0], high]))
        case "in":
            return _listed(*arguments)
    raise FilterError(f"the operator {operation!r:.40} is not offered")


def _listed(subject: Any, values: Any) -> Any:
    """Whether a property is one of a list."""
    if not isinstance(values, list) or any(_is_property(value) for value in values):
        raise FilterError("in compares a property with a list of values")
    if len(values) > VALUES_LIMIT:
        raise FilterError(f"in takes at most {VALUES_LIMIT} values")
    name = _bare(subject)
    if name is subject:
        return _column(name).in_([_literal(name, value) for value in values])
    return _folded(name).in_([_folded_literal(name, value) for value in values])


def _missing(argument: Any, connection: sa.Connection) -> Any:
    """Whether an item has no such property, or null there; none of the codes is no codes."""
    found, item = _queryable(argument), catalog_store.item_table.c
    if found.kind == "codes":
        combination = catalog_store.district_set_table.c
        none = item.district_set.in_(sa.select(combination.number).where(combination.codes == ""))
        return sa.or_(item.district_set.is_(None), none)
    if found.kind == "geometry":
        unknown = catalog_store.footprints_without_geometry(connection)
        return queryable.one_of(connection, item.footprint, unknown) if unknown else sa.false()
    return found.absent


def _comparison(operation: str, arguments: Sequence[Any]) -> Any:
    left, right = arguments
    if not _is_property(left):
        left, right, operation = right, left, _MIRRORED[operation]
    if not _is_property(left):
        raise FilterError("one side of a comparison must be a property")
    name = _bare(left)
    kind, folded = _kind(name), name is not left
    if kind == "boolean" and operation not in _EQUALITY:
        raise FilterError(f"{_name(name)} is true or false and is compared with = and <> only")
    column = _folded(name) if folded else _column(name)
    if not _is_property(right):
        return _COMPARISONS[operation](column, _folded_literal(name, right) if folded else _literal(name, right))
    other = _bare(right)
    if _kind(other) != kind:
        raise FilterError(f"{_name(name)} and {_name(other)} are of different kinds")
    return _COMPARISONS[operation](column, _folded(other) if folded else _column(other))


def _like(arguments: Sequence[Any]) -> Any:
    subject, pattern = arguments
    name, text = _bare(subject), _bare(pattern)
    if _kind(name) != "text" or not isinstance(text, str):
        raise FilterError("like compares a text property with a pattern")
    if name is not subject:
        return _folded(name).like(queryable.whole_pattern(text.lower()), escape="\\")
    return queryable.like(_column(name), text)


def _spatial(operation: str, arguments: Sequence[Any], connection: sa.Connection) -> Any:
    left, right = arguments
    if not _is_property(left):
        swapped = {"s_within": "s_contains", "s_contains": "s_within"}
        left, right, operation = right, left, swapped.get(operation, operation)
    if not _is_property(left) or _kind(left) != "geometry" or _is_property(right):
        raise FilterError(f"{operation} compares the property geometry with a geometry")
    return geometry_condition(right, connection, operation)


def _temporal(operation: str, arguments: Sequence[Any]) -> Any:
    """Temporal operators; an item lasts from its start to its end."""
    left, right = arguments
    if not _is_property(left) or _kind(left) != "instant":
        raise FilterError(f"{operation} compares an instant of the item, on its left, with a time")
    item = catalog_store.item_table.c
    asked = _queryable(left)
    whole = asked is queryable.QUERYABLES["datetime"]
    start, end = (item.start_time, item.end_time) if whole else (_column(left), _column(left))
    found = _related(operation, start, end, _interval(right))
    # An interval open at both ends would be met by what has no time as well.
    return sa.case((start.is_not(None), found)) if asked.path else found


def _related(operation: str, start: Any, end: Any, interval: tuple[str | None, str | None]) -> Any:
    low, high = interval
    before = sa.true() if high is None else start <= high
    after = sa.true() if low is None else end >= low
    match operation:
        case "t_intersects":
            return sa.and_(before, after)
        case "t_disjoint":
            return sa.not_(sa.and_(before, after))
        case "t_after":
            return sa.false() if high is None else start > high
        case "t_before":
            return sa.false() if low is None else end < low
        case "t_during":
            return sa.and_(sa.true() if low is None else start > low, sa.true() if high is None else end < high)
        case "t_equals":
            return sa.and_(sa.false() if low is None else start == low, sa.false() if high is None else end == high)
    raise FilterError(f"the operator {operation!r:.40} is not offered")


def _codes(operation: str, arguments: Sequence[Any]) -> Any:
    left, right = arguments
    if not _is_property(left) or _kind(left) != "codes" or not isinstance(right, list):
        raise FilterError(f"{operation} compares a list of codes, on its left, with a list")
    of_item, district = catalog_store.item_table.c.district_set, catalog_store.district_table.c
    wanted = sorted({str(code) for code in right})
    if len(wanted) > CODES_LIMIT:
        raise FilterError(f"a list of codes holds at most {CODES_LIMIT}")
    holding = sa.select(district.district_set)
    has = {code: of_item.in_(holding.where(district.code == code)) for code in wanted}
    other = of_item.in_(holding.where(district.code.not_in(wanted)))
    match operation:
        case "a_contains":
            return sa.and_(sa.true(), *has.values())
        case "a_overlaps":
            return sa.or_(sa.false(), *has.values())
        case "a_containedBy":
            return sa.not_(other)
        case "a_equals":
            return sa.and_(sa.not_(other), *has.values())
    raise FilterError(f"the operator {operation!r:.40} is not offered")


# Arguments


def _bare(argument: Any) -> Any:
    folded = isinstance(argument, dict) and argument.get("op") == _FOLDED
    return _arguments(argument)[0] if folded else argument


def _is_property(argument: Any) -> bool:
    bare = _bare(argument)
    return isinstance(bare, dict) and "property" in bare


def _name(argument: Any) -> str:
    if not _is_property(argument):
        raise FilterError(f"{_shown(argument)} stands where a property is wanted")
    return str(argument["property"])


def _queryable(argument: Any) -> queryable.Queryable:
    return queryable.queryable(_name(argument))


def _kind(argument: Any) -> str:
    return _queryable(argument).kind


def _column(argument: Any) -> Any:
    found = _queryable(argument)
    if found.kind in {"array", "object"}:
        raise FilterError(f"{_name(argument)} is an {found.kind}, of which only IS NULL can be asked")
    if found.column is None:
        raise FilterError(f"{_name(argument)} is compared with the operators of its own kind")
    return found.column


def _folded(argument: Any) -> Any:
    if _kind(argument) != "text":
        raise FilterError(f"{_FOLDED} folds a text, which {_name(argument)} is not")
    return sa.func.lower(_column(argument))


def _folded_literal(name: Any, value: Any) -> str:
    return str(_literal(name, _bare(value))).casefold()


def _literal(name: Any, value: Any) -> Any:
    kind = _kind(name)
    if kind == "instant":
        return instant_text(value)
    # Python counts true and false among the numbers.
    if not isinstance(value, _PYTHON_KINDS.get(kind, ())) or isinstance(value, bool) != (kind == "boolean"):
        raise FilterError(f"{_name(name)} is a {kind} and cannot be compared with {_shown(value)}")
    return value


def _interval(value: Any) -> tuple[str | None, str | None]:
    if isinstance(value, dict) and "interval" in value:
        ends = value["interval"]
        if not isinstance(ends, list) or len(ends) != 2:
            raise FilterError(f"{_shown(value)} is no interval, which has two ends")
        low, high = (None if end == ".." else end for end in ends)
        return (None if low is None else instant_text(low)), (None if high is None else instant_text(high))
    if isinstance(value, dict) and "date" in value:
        start = dt.datetime.fromisoformat(instant_text(value))
        last = dt.datetime.combine(start, dt.time.max, dt.UTC)
        return catalog_store.text_from_instant(start), catalog_store.text_from_instant(last)
    instant = instant_text(value)
    return instant, instant


def _geometry(value: Any) -> Any:
    if isinstance(value, Mapping) and "bbox" in value and "type" not in value:
        found = _box(value["bbox"])
    else:
        found = _shape(value)
    if found.is_empty or not found.is_valid:
        raise FilterError(f"{_shown(value)} is empty or crosses itself")
    return found


def _box(bbox: Any) -> Any:
    try:
        edges = [float(edge) for edge in bbox]
        west, south, east, north = edges if len(edges) == 4 else (edges[0], edges[1], edges[3], edges[4])
        if west <= east:
            return shapely_geometry.box(west, south, east, north)
        # Across the antimeridian, as the boxes of items.
        sides = ((west, 180.0), (-180.0, east))
        return shapely_geometry.MultiPolygon([shapely_geometry.box(low, south, high, north) for low, high in sides])
    except (shapely.errors.ShapelyError, ValueError, TypeError, LookupError, OverflowError):
        raise FilterError(f"{_shown(bbox)} is no box of four or six numbers") from None


def _shape(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind not in _GEOMETRY_TYPES:
        raise FilterError(f"{_shown(value)} is no GeoJSON geometry: its type is none of {', '.join(_GEOMETRY_TYPES)}")
    try:
        return shapely_geometry.shape(value)
    except (shapely.errors.ShapelyError, ValueError, TypeError, LookupError, AttributeError, OverflowError):
        part = "geometries" if kind == "GeometryCollection" else "coordinates"
        raise FilterError(f"{_shown(value)} is no GeoJSON geometry: its {part} are not those of a {kind}") from None


def _flat_between(tree: Any) -> Any:
    """Accept ``between`` with its bounds in a list, as the drafts of CQL2 had it and clients still write it."""
    if isinstance(tree, list):
        return [_flat_between(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    found = {name: _flat_between(part) for name, part in tree.items()}
    given = found.get("args")
    if found.get("op") == "between" and isinstance(given, list) and len(given) == 2 and isinstance(given[1], list):
        found["args"] = [given[0], *given[1]]
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]
