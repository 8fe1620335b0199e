"""The completeness ledger: receptions, counters held, windows and retransmission requests."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

COUNTS = "superseded_by IS NULL"


def upgrade() -> None:
    """Create the tables of the completeness ledger."""
    _receptions()
    _held_counters()
    _windows()
    _requests()


def _counting_index(name: str, table: str, columns: list[str], *, unique: bool = False, where: str = COUNTS) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _receptions() -> None:
    op.create_table(
        "reception",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("recording", sa.Text(), nullable=False),
        sa.Column("sighting", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.JSON(), nullable=False),
        sa.Column("content_sha256", sa.Text(), nullable=False),
        sa.Column("first_time", sa.Double(), nullable=True),
        sa.Column("last_time", sa.Double(), nullable=True),
        sa.Column("software", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("superseded_by", sa.Integer(), nullable=True),
        sa.CheckConstraint("sighting IN ('counted', 'again')", name="reception_sighting_known"),
        sa.PrimaryKeyConstraint("sequence"),
        sqlite_autoincrement=True,
    )
    _counting_index("reception_counted", "reception", ["recording"], unique=True)
    _counting_index("reception_by_time", "reception", ["last_time", "recorded_at"])
    op.create_index("reception_of_recording", "reception", ["recording", "sequence"], unique=False)


def _held_counters() -> None:
    op.create_table(
        "held_counters",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("reception", sa.Integer(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("scid", sa.Integer(), nullable=False),
        sa.Column("vcid", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("first_counter", sa.BigInteger(), nullable=False),
        sa.Column("last_counter", sa.BigInteger(), nullable=False),
        sa.Column("intervals", sa.JSON(), nullable=False),
        sa.Column("last_time", sa.Double(), nullable=True),
        sa.Column("superseded_by", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["reception"], ["reception.sequence"], name="held_of_reception"),
        sa.PrimaryKeyConstraint("sequence"),
    )
    _counting_index("held_by_channel", "held_counters", ["link", "scid", "vcid", "epoch", "last_counter"])
    _counting_index("held_by_time", "held_counters", ["link", "scid", "last_time"])
    _counting_index("held_by_satellite", "held_counters", ["scid", "last_time", "reception"])
    op.create_index("held_by_reception", "held_counters", ["reception"], unique=False)
    op.create_index("held_superseded", "held_counters", ["superseded_by"], unique=False)


def _windows() -> None:
    op.create_table(
        "window_evaluation",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("scid", sa.Integer(), nullable=False),
        sa.Column("window_id", sa.Text(), nullable=False),
        sa.Column("start_time", sa.Double(), nullable=True),
        sa.Column("stop_time", sa.Double(), nullable=True),
        sa.Column("inputs_sha256", sa.Text(), nullable=False),
        sa.Column("account", sa.JSON(), nullable=False),
        sa.Column("recorder", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("software", sa.Text(), nullable=False),
        sa.Column("first_recorded_at", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("superseded_by", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("sequence"),
    )
    _counting_index("window_counted", "window_evaluation", ["link", "scid", "window_id"], unique=True)
    _counting_index("window_by_time", "window_evaluation", ["stop_time", "first_recorded_at"])
    _counting_index("window_by_satellite", "window_evaluation", ["scid", "stop_time"])
    _counting_index("window_by_link", "window_evaluation", ["link", "scid", "start_time"])
    _counting_index(
        "window_with_recorder",
        "window_evaluation",
        ["link", "scid", "sequence"],
        where=f"{COUNTS} AND recorder IS NOT NULL",
    )


def _requests() -> None:
    op.create_table(
        "retransmission",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("scid", sa.Integer(), nullable=False),
        sa.Column("vcid", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("first_counter", sa.BigInteger(), nullable=False),
        sa.Column("last_counter", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("superseded_by", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "event IN ('requested', 'satisfied', 'expired', 'lost_on_board', 'split')",
            name="retransmission_event_known",
        ),
        sa.PrimaryKeyConstraint("sequence"),
    )
    _counting_index("retransmission_latest", "retransmission", ["request"], unique=True)
    op.create_index("retransmission_history", "retransmission", ["request", "sequence"], unique=False)
    _counting_index("retransmission_by_channel", "retransmission", ["link", "scid", "vcid", "epoch", "last_counter"])
    _counting_index("retransmission_by_event", "retransmission", ["event", "link", "scid"])
    op.create_table(
        "retransmission_plan",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("reception", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
