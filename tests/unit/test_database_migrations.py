"""Migrations build just the schema the code declares, and running them again changes nothing."""

from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from infra import catalog_store, database, ledger

TARGET = [ledger.metadata, catalog_store.metadata]


def differences(url: str) -> list[object]:
    with database.engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": TARGET, "include_object": _ours})
        return list(compare_metadata(context, TARGET))


def _ours(_object: object, name: str, kind: str, _reflected: bool, _compared: object) -> bool:
    # The R*Tree keeps its nodes in tables of its own.
    return not (kind == "table" and name.startswith("item_box")) and name != "alembic_version"


def test_migrations_build_the_declared_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a/terralimb.sqlite"
    database.upgrade(url)
    assert differences(url) == []


def test_upgrading_again_keeps_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/terralimb.sqlite"
    database.upgrade(url)
    ledger.Ledger(database.engine(url)).register([ledger.Granule("k", "x", "1", "g", "b", "key", 1)])
    database.upgrade(url)
    assert [granule.id for granule in ledger.Ledger(database.engine(url)).granules(["k"])] == ["x"]


def test_a_missing_index_is_noticed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/terralimb.sqlite"
    database.upgrade(url)
    with database.engine(url).begin() as connection:
        connection.execute(sa.text("DROP INDEX granule_current"))
    assert differences(url) != []
