"""Mailboxes of agencies in the object store, what lies in them, and the credentials that read them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the tables of mailboxes, of their contents and of store credentials, of which no secret is kept."""
    op.create_table(
        "mailbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("sectors", sa.JSON(), nullable=False),
        sa.Column("districts", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "mailbox_item",
        sa.Column("mailbox", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mailbox", "item_id", "revision"),
        sa.ForeignKeyConstraint(["mailbox"], ["mailbox.id"], name="item_of_mailbox"),
        sa.CheckConstraint("state IN ('filling', 'held', 'removed')", name="mailbox_item_state_known"),
    )
    op.create_table(
        "store_credential",
        sa.Column("access_key", sa.Text(), nullable=False),
        sa.Column("mailbox", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("access_key"),
        sa.ForeignKeyConstraint(["mailbox"], ["mailbox.id"], name="credential_of_mailbox"),
    )
