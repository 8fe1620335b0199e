"""A catalogue of an earlier version, full of items, comes through every later migration with each row kept."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from infra import catalog_store, database
from infra.demonstration import modelled_catalogue
from tests import conftest

pytestmark = pytest.mark.chain

STATES = ("published", "superseded", "withdrawn", "staged", "verified")
ENTRIES = tuple(modelled_catalogue.entries(40, seed=2))


def upgrade_to(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, revision)


def filled(connection: sa.Connection) -> None:
    """Rows as the second version wrote them, put in by the tables as they were then."""
    tables = sa.MetaData()
    tables.reflect(connection, only=["item", "asset", "outbox"])
    for number, entry in enumerate(ENTRIES, start=1):
        row = catalog_store._entry_row(entry, revision=1, published_at="2026-01-01T00:00:00.000000Z")
        row |= {
            "number": number,
            "state": STATES[number % len(STATES)],
            "state_reason": "" if number % 5 == 2 else None,
        }
        then = tables.tables["item"]
        connection.execute(then.insert(), {name: value for name, value in row.items() if name in then.c})
        connection.execute(tables.tables["asset"].insert(), catalog_store._asset_rows(entry, 1))
        told = {"event": "published", "item_id": entry.item_id, "revision": 1, "payload": "{}", "created_at": "2026"}
        connection.execute(tables.tables["outbox"].insert(), told)


def content(connection: sa.Connection, columns: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(
            (tuple(row) for row in connection.execute(sa.select(*map(sa.column, names)).select_from(sa.table(table)))),
            key=repr,
        )
        for table, names in columns.items()
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "pgstac"])
def test_every_row_of_a_full_catalogue_comes_through_the_later_migrations(
    databases: conftest.Databases, kind: str
) -> None:
    with databases.empty(kind) as url:
        upgrade_to(url, "0002")
        engine = database.engine(url)
        with engine.begin() as connection:
            filled(connection)
            seen = sa.inspect(connection)
            columns = {
                name: [column["name"] for column in seen.get_columns(name)] for name in ("item", "asset", "outbox")
            }
            before = content(connection, columns)
        assert [len(rows) for rows in before.values()] == [40, 80, 40]
        database.upgrade(url)
        with engine.connect() as connection:
            assert content(connection, columns) == before
        _judge_what_was_derived(engine)
        _judge_what_is_possible_now(catalog_store.CatalogStore(engine))
        engine.dispose()


def _judge_what_was_derived(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        item, district, footprint = (
            catalog_store.item_table.c,
            catalog_store.district_table.c,
            catalog_store.footprint_table.c,
        )
        of_item = district.district_set == item.district_set
        codes = connection.execute(sa.select(item.id, district.code).where(of_item)).all()
        expected = {(e.item_id, c) for e in ENTRIES for c in e.document["properties"].get("cqeo:admin_codes", ())}
        assert {tuple(row) for row in codes} == expected
        searched = connection.execute(
            sa.select(item.id, item.lasts, item.quality_level, item.stream, item.clear_fraction)
        )
        told = {e.item_id: e.document["properties"] for e in ENTRIES}
        assert {tuple(row) for row in searched} == {
            (name, 0, said["cqeo:quality"]["level"], said["cqeo:stream"], said.get("cqeo:clear_fraction"))
            for name, said in told.items()
        }
        shapes = connection.execute(sa.select(item.id, footprint.geometry).where(item.footprint == footprint.number))
        assert {row.id: json.loads(row.geometry) for row in shapes} == {
            entry.item_id: json.loads(json.dumps(entry.document["geometry"])) for entry in ENTRIES
        }


def _judge_what_is_possible_now(catalog: catalog_store.CatalogStore) -> None:
    """States of before are still held to be the only ones, the new one is let in, and numbers go on where they were."""
    (current, *_) = catalog.published()
    gone = {"state": "published", "reason": "over", "plan_sha256": "0" * 64, "at": current.published_at}
    assert catalog_store.Custody(catalog).expire(current.item_id, 1, **gone)
    table = catalog_store.item_table
    with pytest.raises(sa.exc.IntegrityError), catalog.engine.begin() as connection:
        connection.execute(sa.update(table).values(state="lost"))
    fresh = next(iter(modelled_catalogue.entries(1, seed=99)))
    if catalog.engine.dialect.name == "postgresql":
        with catalog.engine.begin() as connection:  # the rows above were put in with numbers of their own
            connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('item', 'number'), 40)")
    catalog.publish(fresh, published_at=current.published_at)
    assert catalog.search(bbox=fresh.bbox, limit=100) != ()
    found = {item.item_id for item in catalog.search(bbox=(-180.0, -90.0, 180.0, 90.0), limit=100)}
    assert found == {e.item_id for n, e in enumerate(ENTRIES, start=1) if n % 5 == 0} - {current.item_id} | {
        fresh.item_id
    }
