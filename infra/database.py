"""One relational database for ledger and catalogue: SQLite embedded, PostgreSQL by setting."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from infra import private_files

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 30_000

_ADVANCE_POSTGRESQL = """
    SELECT setval(found.name, greatest(CAST(:last AS bigint), coalesce(pg_sequence_last_value(found.name), 0)))
    FROM (SELECT pg_get_serial_sequence(:table, 'sequence')::regclass AS name) found"""


@lru_cache(maxsize=4)
def engine(url: str) -> sa.Engine:
    """Engine for `url`; SQLite runs in WAL mode, fully synchronous, with foreign keys on."""
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    # One connection a checkout: SQLite connections are cheap and must not cross a fork.
    return _for_sqlite(url, sa.NullPool)


def pooled_engine(url: str) -> sa.Engine:
    """Engine for `url` that keeps its connections open, for a process that answers many questions and never forks."""
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    return _for_sqlite(url, sa.QueuePool)


def _for_sqlite(url: str, pool: type[sa.Pool]) -> sa.Engine:
    created = sa.create_engine(url, poolclass=pool)
    event.listen(created, "connect", _configure_sqlite)
    event.listen(created, "begin", _begin_immediately)
    return created


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are opened by _begin_immediately, not by the driver
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediately(connection: sa.Connection) -> None:
    # A deferred transaction that later wants to write fails at once when another writer was faster; taking the
    # write lock at the start waits for it instead.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def reading(bind: sa.Engine) -> Iterator[sa.Connection]:
    """Connection for queries: a snapshot that never waits for a writer."""
    with bind.connect().execution_options(sqlite_begin="DEFERRED") as connection:
        yield connection


def advance_sequence(connection: sa.Connection, table: sa.Table, last: int) -> None:
    """Number new rows of a table with an own sequence from behind `last` on; what is further already stays."""
    given = {"table": table.name, "last": last}
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(_ADVANCE_POSTGRESQL), given)
        return
    known = connection.execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = :table"), given)
    if known.first() is None:
        connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, 0)"), given)
    connection.execute(sa.text("UPDATE sqlite_sequence SET seq = max(seq, :last) WHERE name = :table"), given)


def upgrade(url: str) -> None:
    """Bring the schema to the newest version; does nothing where it is there already."""
    from alembic import command
    from alembic.config import Config

    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        # Before SQLite makes it for everybody to read; what it puts beside it follows the mode of the file.
        path = Path(parsed.database)
        private_files.make_folder(path.parent)
        private_files.make_file(path)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "head")
