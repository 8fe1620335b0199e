"""Fixtures every kind of test may use."""

import contextlib
import dataclasses
import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

if TYPE_CHECKING:
    from infra import catalog_store

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Folder of real data beside the repository; its absence fails in CI and skips elsewhere."""

    def folder(name: str) -> Path:
        path = REPOSITORY.parent / "shared" / "data" / name
        if not path.exists():
            message = f"real data folder ../shared/data/{name} is not there"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return folder


#: Every kind of database the catalogue stands on, for what holds on all of them.
CATALOGUE_DATABASES = ["sqlite", *(pytest.param(kind, marks=pytest.mark.chain) for kind in ("postgresql", "pgstac"))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "catalogue_database" in metafunc.fixturenames:
        metafunc.parametrize("catalogue_database", CATALOGUE_DATABASES, scope="session")


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a plain PostgreSQL, the one the demo runs."""
    from infra.embedded import metadata_database

    with warnings.catch_warnings():
        # The server is left running on purpose; its handle warns when it goes out of scope.
        warnings.simplefilter("ignore", ResourceWarning)
        server, url = metadata_database.start(tmp_path_factory.mktemp("database-home"))
    yield url
    server.stop()


@pytest.fixture(scope="session")
def postgis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a PostgreSQL with PostGIS, of the system's packages."""
    from tests import postgis_server

    if postgis_server.binaries() is None:
        pytest.skip("no PostgreSQL with PostGIS on this machine: Debian has it as postgresql-15-postgis-3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        server, url = postgis_server.start(tmp_path_factory.mktemp("postgis"))
    yield url
    server.stop()


@dataclasses.dataclass
class Databases:
    """New databases of every kind the catalogue stands on: sqlite, postgresql, or pgstac."""

    request: pytest.FixtureRequest
    home: Path
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))
    prepared: dict[str, str] = dataclasses.field(default_factory=dict)

    @contextlib.contextmanager
    def empty(self, kind: str, template: str = "template0") -> Iterator[str]:
        """Address of a database with nothing in it; it is gone afterwards."""
        name = f"catalogue_{next(self.numbers)}"
        if kind == "sqlite":
            yield f"sqlite:///{self.home / name}.sqlite"
            return
        server = self.request.getfixturevalue("postgresql" if kind == "postgresql" else "postgis")
        _run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
        yield _beside(server, name)
        _run(server, f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def catalogue(self, kind: str) -> "Iterator[catalog_store.CatalogStore]":
        """An empty catalogue of the newest schema; one of kind pgstac has been put to that."""
        from infra import catalog_store, database

        with self.empty(kind, "template0" if kind == "sqlite" else self._template(kind)) as url:
            if kind == "sqlite":
                database.upgrade(url)
            catalog = catalog_store.CatalogStore(database.engine(url))
            try:
                yield catalog
            finally:
                catalog.engine.dispose()

    def _template(self, kind: str) -> str:
        """Database made once, of which the others are copies."""
        from infra import catalog_store, database, pgstac_index

        if kind not in self.prepared:
            server, name = self.request.getfixturevalue("postgresql" if kind == "postgresql" else "postgis"), "prepared"
            _run(server, f"CREATE DATABASE {name} TEMPLATE template0")
            url = _beside(server, name)
            database.upgrade(url)
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            if kind == "pgstac":
                pgstac_index.install(catalog_store.CatalogStore(engine))
            database.engine(url).dispose()
            self.prepared[kind] = name
        return self.prepared[kind]


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """New databases of every kind."""
    return Databases(request, tmp_path_factory.mktemp("databases"))


@pytest.fixture
def catalog(databases: Databases, catalogue_database: str) -> "Iterator[catalog_store.CatalogStore]":
    """An empty catalogue on every kind of database; whatever is done to it, pgstac holds just what is current."""
    from infra import pgstac_index

    with databases.catalogue(catalogue_database) as found:
        yield found
        if catalogue_database == "pgstac":
            with found.engine.connect() as connection:
                assert pgstac_index.answers(connection)
                assert list(pgstac_index.differences(connection)) == []


def _beside(server: str, name: str) -> str:
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _run(server: str, statement: str) -> None:
    engine = sa.create_engine(server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
