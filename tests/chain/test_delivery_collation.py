"""A database that orders text as a language does gives the same months and the same items as one that does not."""

import collections
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from infra import catalog_store, database
from infra.demonstration import modelled_catalogue

pytestmark = pytest.mark.chain


@pytest.fixture
def linguistic(postgis: str) -> Iterator[catalog_store.CatalogStore]:
    admin = sa.create_engine(postgis, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            sa.text("CREATE DATABASE linguistic TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
        )
    url = sa.make_url(postgis).set(database="linguistic").render_as_string(hide_password=False)
    database.upgrade(url)
    catalog = catalog_store.CatalogStore(database.engine(url))
    yield catalog
    catalog.engine.dispose()
    with admin.connect() as connection:
        connection.execute(sa.text("DROP DATABASE linguistic WITH (FORCE)"))


def test_every_month_holds_its_items(linguistic: catalog_store.CatalogStore) -> None:
    with linguistic.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT '2026-07-~' < '2026-07-15'")).scalar(), "this is no such database"
    modelled_catalogue.fill(linguistic, 200, seed=5)
    expected = collections.Counter(
        (entry.collection, f"{entry.start:%Y-%m}") for entry in modelled_catalogue.entries(200, seed=5)
    )
    assert linguistic.engine.dialect.name == "postgresql"
    assert catalog_store.Custody(linguistic).months() == frozenset(expected)
    for (collection, month), count in expected.items():
        assert len(list(linguistic.published(collection=collection, month=month))) == count
