"""Retention: items whose files were removed when their time was over, what is left of them, and holds against it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_EARLIER = "state IN ('staged', 'verified', 'published', 'superseded', 'withdrawn')"
_WIDENED = "state IN ('staged', 'verified', 'published', 'superseded', 'withdrawn', 'expired')"


def upgrade() -> None:
    """Let an item be expired, and create the tables of tombstones and holds."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _widen_in_place(connection)
    else:
        op.drop_constraint("item_state_known", "item", type_="check")
        op.create_check_constraint("item_state_known", "item", _WIDENED)
    op.create_table(
        "tombstone",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("was_state", sa.Text(), nullable=False),
        sa.Column("plan_sha256", sa.Text(), nullable=False),
        sa.Column("expired_at", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["number"], ["item.number"], name="tombstone_of_item"),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "legal_hold",
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("item_id"),
    )


def _widen_in_place(connection: sa.Connection) -> None:
    # SQLite's documentation of ALTER TABLE advises to change the text of the constraint alone where no stored row
    # changes: making the table anew would drop the triggers of the spatial index and touch every row.
    run = connection.exec_driver_sql
    version = int(run("PRAGMA schema_version").scalar_one())
    run("PRAGMA writable_schema=ON")
    changed = connection.execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :earlier, :widened) "
            "WHERE type = 'table' AND name = 'item' AND instr(sql, :earlier) > 0"
        ),
        {"earlier": _EARLIER, "widened": _WIDENED},
    ).rowcount
    run(f"PRAGMA schema_version={version + 1}")
    run("PRAGMA writable_schema=OFF")
    if changed != 1:
        raise RuntimeError("the table of items has another constraint of its states than revision 0001 made")
    found = run("PRAGMA quick_check").scalar_one()
    if found != "ok":
        raise RuntimeError(f"the database is damaged: {found}")
