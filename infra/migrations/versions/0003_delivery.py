"""Delivery: districts and footprints of items, documents of collections, the index a search walks."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables and fill the districts in from the items already there."""
    op.create_table(
        "item_district",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["item.number"], name="district_of_item"),
        sa.PrimaryKeyConstraint("number", "code"),
    )
    op.create_index("item_district_by_code", "item_district", ["code", "number"])
    op.create_table(
        "footprint",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("geometry", sa.Text(), nullable=False),
        *(sa.Column(edge, sa.Double(), nullable=False) for edge in ("west", "south", "east", "north")),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("sha256", name="footprint_once"),
    )
    op.add_column("item", sa.Column("footprint", sa.Integer(), nullable=True))
    op.create_table(
        "collection",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("item_current_by_time", "item", ["state", "start_time", "id", "sector"])
    _fill_in()


def _fill_in() -> None:
    columns = ("number", "document", "footprint", "west", "south", "east", "north")
    item = sa.table("item", *(sa.column(name) for name in columns))
    district = sa.table("item_district", sa.column("number"), sa.column("code"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(item)).all():
        document = json.loads(row.document)
        for code in sorted(set(document.get("properties", {}).get("cqeo:admin_codes") or ())):
            connection.execute(sa.insert(district).values(number=row.number, code=code))
        if document.get("geometry") is not None:
            footprint = _footprint(connection, document["geometry"], row)
            connection.execute(sa.update(item).where(item.c.number == row.number).values(footprint=footprint))


def _footprint(connection: sa.Connection, geometry: object, row: Any) -> int:
    columns = ("number", "sha256", "geometry", "west", "south", "east", "north")
    table = sa.table("footprint", *(sa.column(name) for name in columns))
    text = json.dumps(geometry, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    found = sa.select(table.c.number).where(table.c.sha256 == sha256)
    if connection.execute(found).first() is None:
        box = {edge: getattr(row, edge) for edge in ("west", "south", "east", "north")}
        connection.execute(sa.insert(table).values(sha256=sha256, geometry=text, **box))
    return int(connection.execute(found).scalar_one())
