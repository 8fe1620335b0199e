"""Migrations build just the schema the code declares, and running them again changes nothing."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from infra import catalog_store, completeness_ledger, database, ledger
from infra.delivery import identity, notices, push, store_access

TARGET = [ledger.metadata, catalog_store.metadata, completeness_ledger.metadata, identity.metadata]
TARGET += [push.metadata, notices.metadata, store_access.metadata]


def upgrade_to(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, revision)


def differences(url: str) -> list[object]:
    with database.engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": TARGET, "include_object": _ours})
        return list(compare_metadata(context, TARGET))


def _ours(_object: object, name: str, kind: str, _reflected: bool, _compared: object) -> bool:
    # The R*Tree keeps its nodes in tables of its own.
    return not (kind == "table" and name.startswith("footprint_box")) and name != "alembic_version"


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


def test_a_ledger_of_the_first_version_gains_the_completeness_ledger_and_keeps_its_rows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/terralimb.sqlite"
    upgrade_to(url, "0001")
    assert not sa.inspect(database.engine(url)).has_table("reception")
    ledger.Ledger(database.engine(url)).register([ledger.Granule("k", "x", "1", "g", "b", "key", 1)])
    database.upgrade(url)
    assert [granule.id for granule in ledger.Ledger(database.engine(url)).granules(["k"])] == ["x"]
    assert differences(url) == []
    received = completeness_ledger.Reception(
        recording="a", key="k", link="l", station="s", size=1, account={}, held={"1/0/0": [[1, 2]]}
    )
    assert completeness_ledger.CompletenessLedger(database.engine(url)).record_reception(received)


def test_an_index_the_completeness_ledger_lacks_is_noticed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/terralimb.sqlite"
    database.upgrade(url)
    with database.engine(url).begin() as connection:
        connection.execute(sa.text("DROP INDEX held_by_channel"))
    assert differences(url) != []
