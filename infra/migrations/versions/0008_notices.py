"""Notices of what will change, test data of coming formats, and since when a webhook is suspended."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_STAYS = """CREATE TRIGGER notice_stays_{verb} BEFORE {verb} ON notice BEGIN
    SELECT RAISE(ABORT, 'a notice is never changed: a correction or cancellation follows it'); END"""
_STAYS_POSTGRESQL = (
    """CREATE FUNCTION notice_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       RAISE EXCEPTION 'a notice is never changed: a correction or cancellation follows it'; END $$""",
    "CREATE TRIGGER notice_stays BEFORE UPDATE OR DELETE ON notice FOR EACH ROW EXECUTE FUNCTION notice_stays()",
)


def upgrade() -> None:
    """Create the tables of notices and of test items."""
    _notices()
    op.create_table(
        "test_item",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["item.number"], name="test_item_of_item"),
        sa.PrimaryKeyConstraint("number"),
    )
    item = sa.table("item", sa.column("number"), sa.column("collection"))
    test_item = sa.table("test_item", sa.column("number"))
    already = sa.select(item.c.number).where(item.c.collection.endswith("-test"))
    op.get_bind().execute(sa.insert(test_item).from_select(["number"], already))
    op.add_column("webhook", sa.Column("suspended_at", sa.Text(), nullable=True))


def _notices() -> None:
    required = ("id", "event", "kind", "effective_at", "published_at", "title_zh", "title_en", "text_zh", "text_en")
    op.create_table(
        "notice",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in required),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("collections", sa.JSON(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("old_format", "new_format", "test_data", "urgent_reason", "reason")
        ),
        sa.CheckConstraint("event IN ('published', 'corrected', 'cancelled')", name="notice_event_known"),
        sa.CheckConstraint("kind IN ('format-change', 'interruption', 'general')", name="notice_kind_known"),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("id", "revision", name="notice_revision_once"),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(_STAYS.format(verb=verb))
    else:
        for statement in _STAYS_POSTGRESQL:
            op.execute(statement)
