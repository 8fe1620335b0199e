"""Ledger and catalogue."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SPATIAL_INDEX_SQLITE = (
    "CREATE VIRTUAL TABLE item_box USING rtree(number, west, east, south, north)",
    """CREATE TRIGGER item_box_insert AFTER INSERT ON item BEGIN
         INSERT INTO item_box (number, west, east, south, north)
         VALUES (new.number, CASE WHEN new.west > new.east THEN -180 ELSE new.west END,
                 CASE WHEN new.west > new.east THEN 180 ELSE new.east END, new.south, new.north); END""",
    """CREATE TRIGGER item_box_delete AFTER DELETE ON item BEGIN
         DELETE FROM item_box WHERE number = old.number; END""",
)


def upgrade() -> None:
    """Create the tables of ledger and catalogue."""
    _ledger()
    _catalogue()
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for statement in _SPATIAL_INDEX_SQLITE:
            connection.exec_driver_sql(statement)


def _ledger() -> None:
    op.create_table(
        "granule",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("kind", "id", "sha256"),
    )
    op.create_index(
        "granule_current",
        "granule",
        ["kind", "id"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )
    op.create_index("granule_group", "granule", ["kind", "group_id"], unique=False)
    op.create_table(
        "outcome",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("inputs_sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("outcome_latest", "outcome", ["stage", "unit", "sequence"], unique=False)


def _catalogue() -> None:
    op.create_table(
        "item",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("start_time", sa.Text(), nullable=False),
        sa.Column("end_time", sa.Text(), nullable=False),
        sa.Column("west", sa.Double(), nullable=False),
        sa.Column("south", sa.Double(), nullable=False),
        sa.Column("east", sa.Double(), nullable=False),
        sa.Column("north", sa.Double(), nullable=False),
        sa.Column("content_sha256", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("item_key", sa.Text(), nullable=False),
        sa.Column("manifest_key", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("published_at", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('staged', 'verified', 'published', 'superseded', 'withdrawn')", name="item_state_known"
        ),
        sa.CheckConstraint("revision >= 1", name="item_revision_from_one"),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id", "revision", name="item_id_revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("item_by_collection", "item", ["collection", "start_time"], unique=False)
    op.create_index("item_by_product", "item", ["product", "start_time"], unique=False)
    op.create_index("item_by_sector", "item", ["sector", "start_time"], unique=False)
    op.create_index("item_by_time", "item", ["start_time"], unique=False)
    op.create_index(
        "item_current",
        "item",
        ["id"],
        unique=True,
        sqlite_where=sa.text("state = 'published'"),
        postgresql_where=sa.text("state = 'published'"),
    )
    op.create_table(
        "outbox",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.Text(), nullable=True),
        sa.CheckConstraint("event IN ('published', 'superseded', 'withdrawn')", name="outbox_event_known"),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("event", "item_id", "revision", name="outbox_event_once"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "outbox_undelivered",
        "outbox",
        ["sequence"],
        unique=False,
        sqlite_where=sa.text("delivered_at IS NULL"),
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "asset",
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["item_id", "revision"], ["item.id", "item.revision"], name="asset_of_item"),
        sa.PrimaryKeyConstraint("item_id", "revision", "name"),
    )
    #
