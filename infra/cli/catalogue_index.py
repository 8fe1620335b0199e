"""Commands that put a catalogue on PostgreSQL to pgstac, and back."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import Progress

from infra import settings

if TYPE_CHECKING:
    from infra import catalog_store

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


def install_pgstac(as_json: bool = AS_JSON) -> None:
    """Install pgstac beside the catalogue, or bring it up to date, and enter every current item.

    Wants PostgreSQL with PostGIS and, the first time, a user who may create extensions and roles. Publications go on
    meanwhile; searches use pgstac from when all is entered. Run again at any time, it puts right what differs.
    """
    from infra import pgstac_index

    with _catalog() as catalog, Progress(console=Console(stderr=True), transient=True) as shown:
        line = shown.add_task("entering items", total=None)
        try:
            version = pgstac_index.install(
                catalog, progress=lambda done, total: shown.update(line, completed=done, total=total)
            )
        except pgstac_index.PgstacError as error:
            raise typer.BadParameter(str(error)) from error
        entered = catalog.counts().states.get("published", 0)
    if as_json:
        sys.stdout.write(json.dumps({"pgstac": version, "items": entered}) + "\n")
        return
    sys.stdout.write(f"pgstac {version} holds {entered} current items, and searches use it\n")


def remove_pgstac() -> None:
    """Let the catalogue do without pgstac again; its schema stays, without this catalogue's items."""
    from infra import database, pgstac_index

    with _catalog() as catalog:
        with database.reading(catalog.engine) as connection:
            held = pgstac_index.attached(connection)
        if not held:
            raise typer.BadParameter("this catalogue is not in pgstac")
        pgstac_index.detach(catalog)
    sys.stdout.write("the catalogue is not in pgstac any more\n")


@contextlib.contextmanager
def _catalog() -> "Iterator[catalog_store.CatalogStore]":
    from infra import catalog_store, database

    url = settings.current().resolved_database_url()
    database.upgrade(url)
    yield catalog_store.CatalogStore(database.engine(url))
