"""Current items in pgstac, kept by the database itself: whatever writes the catalogue, both change or neither does.

A trigger of the table of items enters what becomes current into ``pgstac.items`` and takes out what no longer is, in
the transaction that publishes, withdraws or expires; it stands to PostgreSQL as the R*Tree's triggers to SQLite. The
view `item_in_pgstac` is created when everything is entered: where it is, searches use it, and nothing has to be set.
"""

import contextlib
import importlib.metadata
import importlib.resources
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from infra import catalog_store

#: The view through which searches read pgstac.
VIEW = "item_in_pgstac"

#: How many items are entered in one transaction [1].
CHUNK = 1000

_EXTENSIONS = ("postgis", "btree_gist", "unaccent")

# Opened for all times at once: pgstac would else rebuild the checks of a partition, under a lock that no reader may
# hold, at every item newer than the newest.
_FUNCTIONS = (
    """CREATE OR REPLACE FUNCTION pgstac_open_collection(wanted text) RETURNS void
       LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgstac, public AS $$
       BEGIN
         IF NOT EXISTS (SELECT FROM pgstac.collections WHERE id = wanted) THEN
           PERFORM pgstac.create_collection(jsonb_build_object(
             'type', 'Collection', 'stac_version', '1.1.0', 'id', wanted, 'description', wanted, 'license', 'other',
             'links', '[]'::jsonb, 'extent', jsonb_build_object(
               'spatial', jsonb_build_object('bbox', '[[-180, -90, 180, 90]]'::jsonb),
               'temporal', jsonb_build_object('interval', '[[null, null]]'::jsonb))));
         END IF;
         IF NOT EXISTS (SELECT FROM pgstac.partition_stats WHERE collection = wanted)
            AND (SELECT partition_trunc IS NULL FROM pgstac.collections WHERE id = wanted) THEN
           PERFORM pgstac.check_partition(wanted, all_times.span, all_times.span)
           FROM (SELECT tstzrange('0001-01-01 00:00:00+00', '9999-12-31 23:59:59.999999+00', '[]') AS span) all_times;
         END IF;
       END $$""",
    # pgstac wants a footprint and a time of every item; the columns have them where the document does not.
    """CREATE OR REPLACE FUNCTION pgstac_document(given item) RETURNS jsonb
       LANGUAGE plpgsql STABLE SET search_path = pgstac, public AS $$
       DECLARE
         found jsonb := given.document::jsonb;
         told jsonb := coalesce(nullif(found->'properties', 'null'), '{}');
       BEGIN
         IF jsonb_typeof(found->'geometry') IS DISTINCT FROM 'object' THEN
           found := found || jsonb_build_object('geometry', ST_AsGeoJSON(CASE WHEN given.west <= given.east
             THEN ST_MakeEnvelope(given.west, given.south, given.east, given.north, 4326)
             ELSE ST_Collect(ST_MakeEnvelope(given.west, given.south, 180, given.north, 4326),
                             ST_MakeEnvelope(-180, given.south, given.east, given.north, 4326)) END)::jsonb);
         END IF;
         IF told->>'datetime' IS NULL AND (told->>'start_datetime' IS NULL OR told->>'end_datetime' IS NULL) THEN
           told := told || jsonb_build_object('datetime', given.start_time, 'start_datetime',
             least(given.start_time, given.end_time), 'end_datetime', greatest(given.start_time, given.end_time));
         END IF;
         RETURN found || jsonb_build_object(
           'type', 'Feature', 'id', given.id, 'collection', given.collection, 'properties', told);
       END $$""",
    """CREATE OR REPLACE FUNCTION item_to_pgstac() RETURNS trigger
       LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgstac, public AS $$
       BEGIN
         IF TG_OP <> 'INSERT' AND OLD.state = 'published' THEN
           DELETE FROM pgstac.items WHERE collection = OLD.collection AND id = OLD.id;
         END IF;
         IF TG_OP <> 'DELETE' AND NEW.state = 'published' THEN
           PERFORM pgstac_open_collection(NEW.collection);
           -- Not upsert_item, which looks through the whole partition for the one row it may replace.
           DELETE FROM pgstac.items WHERE collection = NEW.collection AND id = NEW.id;
           PERFORM pgstac.create_item(pgstac_document(NEW));
         END IF;
         RETURN NULL;
       END $$""",
    """CREATE OR REPLACE FUNCTION collection_to_pgstac() RETURNS trigger
       LANGUAGE plpgsql SECURITY DEFINER SET search_path = pgstac, public AS $$
       BEGIN
         PERFORM pgstac.upsert_collection(NEW.document::jsonb);
         PERFORM pgstac_open_collection(NEW.id);
         RETURN NULL;
       END $$""",
)
_TRIGGERS = (
    """CREATE OR REPLACE TRIGGER item_to_pgstac AFTER INSERT OR UPDATE OR DELETE ON item
       FOR EACH ROW EXECUTE FUNCTION item_to_pgstac()""",
    """CREATE OR REPLACE TRIGGER collection_to_pgstac AFTER INSERT OR UPDATE ON collection
       FOR EACH ROW EXECUTE FUNCTION collection_to_pgstac()""",
)
_VIEW = f"CREATE OR REPLACE VIEW {VIEW} AS SELECT id, collection, geometry, content FROM pgstac.items"  # noqa: S608
_DETACH = (
    f"DROP VIEW IF EXISTS {VIEW}",
    "DROP TRIGGER IF EXISTS item_to_pgstac ON item",
    "DROP TRIGGER IF EXISTS collection_to_pgstac ON collection",
    "DROP FUNCTION IF EXISTS item_to_pgstac, collection_to_pgstac, pgstac_open_collection",
    "DROP FUNCTION IF EXISTS pgstac_document(item)",
)

_ENTER = """
    SELECT count(pgstac_open_collection(c.collection))
    FROM (SELECT DISTINCT collection FROM item WHERE number = ANY(:numbers) ORDER BY 1) c"""
_UPSERT = """
    SELECT pgstac.upsert_items(coalesce(jsonb_agg(pgstac_document(item)), '[]'))
    FROM item WHERE number = ANY(:numbers)"""
_STALE = """
    DELETE FROM pgstac.items p USING (SELECT DISTINCT collection FROM item) ours
    WHERE p.collection = ours.collection AND NOT EXISTS (
      SELECT FROM item i WHERE i.id = p.id AND i.collection = p.collection AND i.state = 'published')"""

# What a search reads is compared: properties and footprint.
_COMPARED = """
    SELECT coalesce(i.id, p.id) AS id, coalesce(i.collection, p.collection) AS collection,
           i.id IS NOT NULL AS is_current, p.id IS NOT NULL AS is_entered
    FROM (SELECT item.id, item.collection, pgstac_document(item) AS document FROM item WHERE state = 'published') i
    FULL JOIN (SELECT items.* FROM pgstac.items WHERE collection IN (SELECT DISTINCT collection FROM item)) p
      ON p.id = i.id AND p.collection = i.collection
    WHERE i.id IS NULL OR p.id IS NULL OR p.content->'properties' IS DISTINCT FROM i.document->'properties'
       OR NOT p.geometry ~= pgstac.stac_geom(i.document)
    ORDER BY 1, 2"""


class PgstacError(Exception):
    """The schema pgstac cannot be installed or filled here."""


class IndexDifference(NamedTuple):
    """One item that pgstac holds otherwise than the catalogue.

    Attributes
    ----------
    kind : str
        index_missing, index_stale or index_wrong.
    item_id, collection : str
        Which.
    """

    kind: str
    item_id: str
    collection: str


def answers(connection: sa.Connection) -> bool:
    """Tell whether searches can use pgstac: it is there, kept by the triggers and complete.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection to the catalogue.

    Returns
    -------
    bool
        False on SQLite and on a plain PostgreSQL.
    """
    if connection.dialect.name != "postgresql":
        return False
    return connection.execute(sa.text("SELECT to_regclass(:view) IS NOT NULL"), {"view": VIEW}).scalar_one() is True


def attached(connection: sa.Connection) -> bool:
    """Tell whether the database keeps pgstac, complete or not.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection to the catalogue.

    Returns
    -------
    bool
        False on SQLite and on a plain PostgreSQL.
    """
    if connection.dialect.name != "postgresql":
        return False
    return connection.execute(sa.text("SELECT to_regproc('item_to_pgstac') IS NOT NULL")).scalar_one() is True


def install(catalog: catalog_store.CatalogStore, *, progress: Callable[[int, int], None] = lambda _d, _a: None) -> str:
    """Install the schema pgstac or bring it up to date, enter every current item, and let searches use it.

    Publications go on meanwhile; run again after an interruption, it completes what is missing.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue, of the newest schema, on PostgreSQL.
    progress : Callable[[int, int], None]
        Told how many items are entered, of how many [1].

    Returns
    -------
    str
        Version of pgstac that is there now.

    Raises
    ------
    PgstacError
        The database is none for it, or does not allow it.
    """
    version = install_schema(catalog.engine)
    with catalog.writing() as connection:
        attach(connection)
    refill(catalog, progress=progress)
    with catalog.writing() as connection:
        connection.exec_driver_sql(_VIEW)
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return version


def install_schema(engine: sa.Engine) -> str:
    """Install the schema pgstac in the version the package brings, or migrate it to that, in one transaction.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        The database.

    Returns
    -------
    str
        Version that is there now.

    Raises
    ------
    PgstacError
        The package or PostGIS is not installed, the database refuses, or an unknown version is there.
    """
    if engine.dialect.name != "postgresql":
        raise PgstacError("pgstac needs PostgreSQL: set TERRALIMB_DATABASE_URL to a database of one with PostGIS")
    carried = _carried_version()
    # A connection of its own, closed after: the files set role and search path of their session.
    own = sa.create_engine(engine.url, poolclass=sa.NullPool)
    try:
        with own.begin() as connection:
            _check_extensions(connection)
            for name in _migrations(_installed_version(connection), carried):
                _run_file(connection, name)
    except sa.exc.DBAPIError as error:
        said = str(error.orig).strip().partition("\n")[0]
        raise PgstacError(f"the database refuses to install pgstac: {said}; ask its administrator") from error
    finally:
        own.dispose()
    return carried


def attach(connection: sa.Connection) -> None:
    """Let the database keep pgstac from now on; what was published before is entered by `refill`.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection in a transaction; safe to repeat.
    """
    for statement in (*_FUNCTIONS, *_TRIGGERS):
        connection.exec_driver_sql(statement)


def detach(catalog: catalog_store.CatalogStore) -> None:
    """Let searches do without pgstac again and keep it no more; its schema stays, without this catalogue's items.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    """
    with catalog.writing() as connection:
        for statement in _DETACH:
            connection.exec_driver_sql(statement)
        connection.execute(
            sa.text("DELETE FROM pgstac.items WHERE collection IN (SELECT DISTINCT collection FROM item)")
        )


def refill(catalog: catalog_store.CatalogStore, *, progress: Callable[[int, int], None] = lambda _d, _a: None) -> int:
    """Enter every collection and current item that pgstac lacks or holds otherwise, and take out what is not current.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue, with the triggers of `attach`.
    progress : Callable[[int, int], None]
        Told how many items are entered, of how many [1].

    Returns
    -------
    int
        Current items gone through [1].
    """
    column, last, done = catalog_store.item_table.c, 0, 0
    with catalog.writing() as connection:
        connection.exec_driver_sql("UPDATE collection SET document = document")
        connection.exec_driver_sql(_STALE)
        total = connection.execute(
            sa.select(sa.func.count()).select_from(catalog_store.item_table).where(column.state == "published")
        ).scalar_one()
    while True:
        with catalog.writing() as connection:
            wanted = sa.select(column.number).where(column.state == "published", column.number > last)
            numbers = list(connection.execute(wanted.order_by(column.number).limit(CHUNK)).scalars())
            if not numbers:
                return done
            connection.execute(sa.text(_ENTER), {"numbers": numbers})
            connection.execute(sa.text(_UPSERT), {"numbers": numbers})
        last, done = numbers[-1], done + len(numbers)
        progress(done, int(total))


def differences(connection: sa.Connection) -> Iterator[IndexDifference]:
    """Compare pgstac with the current items.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection to a catalogue that `answers`.

    Yields
    ------
    IndexDifference
        By identity.
    """
    for row in connection.execute(sa.text(_COMPARED)):
        kind = "index_wrong" if row.is_current and row.is_entered else "index_stale"
        yield IndexDifference(kind if row.is_entered else "index_missing", row.id, row.collection)


# The SQL the package carries


def _carried_version() -> str:
    try:
        return importlib.metadata.version("pypgstac")
    except importlib.metadata.PackageNotFoundError:
        raise PgstacError("pypgstac is not installed: install terralimb with its extra pgstac") from None


def _folder() -> Any:
    # Found beside the package and not by importing it: nothing of its loader is wanted here.
    files = importlib.metadata.files("pypgstac") or ()
    first = next(path for path in files if path.parent.name == "migrations" and path.suffix == ".sql")
    return Path(str(first.locate())).parent


def _check_extensions(connection: sa.Connection) -> None:
    held = set(connection.execute(sa.text("SELECT name FROM pg_available_extensions")).scalars())
    missing = [name for name in _EXTENSIONS if name not in held]
    if missing:
        raise PgstacError(
            f"this PostgreSQL has no {' and no '.join(missing)}: install them (Debian: postgresql-15-postgis-3)"
        )


def _installed_version(connection: sa.Connection) -> str | None:
    if connection.execute(sa.text("SELECT to_regclass('pgstac.migrations') IS NULL")).scalar_one():
        return None
    newest = "SELECT version FROM pgstac.migrations ORDER BY datetime DESC, version DESC LIMIT 1"
    found: str | None = connection.execute(sa.text(newest)).scalar_one_or_none()
    return found


def _migrations(installed: str | None, wanted: str) -> list[str]:
    """Files that lead from one version to another; the shortest way where there are several."""
    if installed == wanted:
        return []
    if installed is None:
        return [f"pgstac.{wanted}.sql"]
    names = [path.name for path in _folder().glob("pgstac.*-*.sql")]
    steps = {tuple(name.removeprefix("pgstac.").removesuffix(".sql").split("-", 1)): name for name in names}
    ways: dict[str, list[str]] = {installed: []}
    reached = [installed]
    while reached and wanted not in ways:
        at = reached.pop(0)
        for (start, end), name in steps.items():
            if start == at and end not in ways:
                ways[end] = [*ways[at], name]
                reached.append(end)
    if wanted not in ways:
        raise PgstacError(f"pgstac {installed} is there, and no way leads from it to {wanted}")
    return ways[wanted]


def _run_file(connection: sa.Connection, name: str) -> None:
    text = (_folder() / name).read_text(encoding="utf-8")
    # Some files bring a transaction of their own; here it is the caller's.
    bare, opened = re.subn(r"\A\s*BEGIN\s*;", "", text, flags=re.IGNORECASE)
    if opened:
        text = re.sub(r"COMMIT\s*;\s*\Z", "", bare, flags=re.IGNORECASE)
    # Straight to the driver: the text has per cent signs and colons of its own.
    with contextlib.closing(connection.connection.cursor()) as cursor:
        cursor.execute(text)
        cursor.execute("RESET ROLE; RESET search_path")
