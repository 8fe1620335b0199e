"""Search: what is searched stands in columns and indices of its own; place and districts are told by combination."""

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SEARCHED = ("end_time", "sector", "footprint", "district_set", "quality_level", "stream", "clear_fraction")
_EDGES = ("west", "south", "east", "north")
_PAGE = 1000

_SPATIAL_INDEX_SQLITE = (
    "DROP TRIGGER IF EXISTS item_box_insert",
    "DROP TRIGGER IF EXISTS item_box_delete",
    "DROP TABLE IF EXISTS item_box",
    "CREATE VIRTUAL TABLE footprint_box USING rtree(number, west, east, south, north)",
    """CREATE TRIGGER footprint_box_insert AFTER INSERT ON footprint BEGIN
         INSERT INTO footprint_box (number, west, east, south, north)
         VALUES (new.number, CASE WHEN new.west > new.east THEN -180 ELSE new.west END,
                 CASE WHEN new.west > new.east THEN 180 ELSE new.east END, new.south, new.north); END""",
    """CREATE TRIGGER footprint_box_delete AFTER DELETE ON footprint BEGIN
         DELETE FROM footprint_box WHERE number = old.number; END""",
)


def upgrade() -> None:
    """Make columns, tables and indices, and fill them from the documents of the items."""
    for name in ("by_sector", "by_product", "by_collection", "by_time", "current_by_time"):
        op.drop_index(f"item_{name}", "item")
    op.drop_index("item_district_by_code", "item_district")
    op.drop_table("item_district")
    op.drop_table("footprint")
    _create_tables()
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for statement in _SPATIAL_INDEX_SQLITE:
            connection.exec_driver_sql(statement)
    _fill_in(connection)
    for first in ("start_time", "collection", "footprint", "district_set"):
        columns = dict.fromkeys(("state", first, "start_time", "id", "collection", *_SEARCHED))
        op.create_index(f"item_current_by_{first}", "item", list(columns))
    op.create_index("item_lasting", "item", ["lasts"])
    op.create_index("item_lasting_by_collection", "item", ["collection", "lasts"])


def _create_tables() -> None:
    op.create_table(
        "footprint",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        *(sa.Column(edge, sa.Double(), nullable=False) for edge in _EDGES),
        sa.Column("geometry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("sha256", name="footprint_once"),
    )
    without = sa.text("geometry = 'null'")
    op.create_index(
        "footprint_without_geometry", "footprint", ["number"], sqlite_where=without, postgresql_where=without
    )
    op.create_table(
        "district_set",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("codes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("codes", name="district_set_once"),
    )
    op.create_table(
        "district",
        sa.Column("district_set", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["district_set"], ["district_set.number"], name="district_of_set"),
        sa.PrimaryKeyConstraint("district_set", "code"),
    )
    op.add_column("item", sa.Column("district_set", sa.Integer(), nullable=True))
    op.add_column("item", sa.Column("lasts", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("item", sa.Column("quality_level", sa.Text(), nullable=True))
    op.add_column("item", sa.Column("stream", sa.Text(), nullable=True))
    op.add_column("item", sa.Column("clear_fraction", sa.Double(), nullable=True))


def _fill_in(connection: sa.Connection) -> None:
    changed = ("footprint", "district_set", "lasts", "quality_level", "stream", "clear_fraction")
    item = sa.table("item", sa.column("number"), *(sa.column(name) for name in changed))
    footprints, sets = _Numbers("footprint", "sha256"), _Numbers("district_set", "codes")
    for row in _rows(connection):
        document = json.loads(row.document)
        properties = document.get("properties", {})
        codes = sorted(set(properties.get("cqeo:admin_codes") or ()))
        values = {
            "footprint": footprints.number(connection, *_footprint(document, row)),
            "district_set": sets.number(connection, " ".join(codes), {}, codes),
            "lasts": _seconds(row),
            **_searched(properties),
        }
        connection.execute(sa.update(item).where(item.c.number == row.number).values(**values))


def _rows(connection: sa.Connection) -> Iterator[Any]:
    columns = ("number", "document", "start_time", "end_time", *_EDGES)
    item = sa.table("item", *(sa.column(name) for name in columns))
    last = 0
    while True:
        page = connection.execute(
            sa.select(item).where(item.c.number > last).order_by(item.c.number).limit(_PAGE)
        ).all()
        if not page:
            return
        yield from page
        last = page[-1].number


class _Numbers:
    """Numbers of rows that stand once, entered when first met."""

    def __init__(self, table: str, unique: str) -> None:
        self.table, self.unique = table, unique
        self.known: dict[str, int] = {}

    def number(self, connection: sa.Connection, key: str, rest: dict[str, Any], codes: list[str] | None = None) -> int:
        if key not in self.known:
            row = {self.unique: key, **rest}
            table = sa.table(self.table, sa.column("number"), *(sa.column(name) for name in row))
            connection.execute(sa.insert(table), [row])
            found = sa.select(table.c.number).where(table.c[self.unique] == key)
            self.known[key] = int(connection.execute(found).scalar_one())
            if codes:
                district = sa.table("district", sa.column("district_set"), sa.column("code"))
                connection.execute(
                    sa.insert(district), [{"district_set": self.known[key], "code": code} for code in codes]
                )
        return self.known[key]


def _footprint(document: dict[str, Any], row: Any) -> tuple[str, dict[str, Any]]:
    box = [float(getattr(row, edge)) for edge in _EDGES]
    geometry = document.get("geometry")
    text = json.dumps(geometry, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    sha256 = hashlib.sha256(f"{box}{text}".encode()).hexdigest()
    return sha256, {**dict(zip(_EDGES, box, strict=True)), "geometry": text}


def _seconds(row: Any) -> int:
    lasts = dt.datetime.fromisoformat(row.end_time) - dt.datetime.fromisoformat(row.start_time)
    return math.ceil(lasts.total_seconds())


def _searched(properties: dict[str, Any]) -> dict[str, Any]:
    level = (properties.get("cqeo:quality") or {}).get("level")
    stream, clear = properties.get("cqeo:stream"), properties.get("cqeo:clear_fraction")
    return {
        "quality_level": level if isinstance(level, str) else None,
        "stream": stream if isinstance(stream, str) else None,
        "clear_fraction": clear if isinstance(clear, (int, float)) and not isinstance(clear, bool) else None,
    }
