"""The catalogue in pgstac: the answers of SQLite to any question, and every current item there, and no other."""

import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shapely import geometry

from infra import catalog_store, database, object_store, pgstac_index
from infra.delivery import cql2_condition, entitlement, item_search, queryable, reconciliation
from infra.demonstration import modelled_catalogue
from products import stac
from tests import conftest

pytestmark = pytest.mark.chain

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
ENTRIES = tuple(modelled_catalogue.entries(60, seed=5))
SECTORS = ("ecology", "emergency", "weather")
CODES = ("500103", "500104", "500229", "510100")


@pytest.fixture
def plain(databases: conftest.Databases) -> Iterator[catalog_store.CatalogStore]:
    """A catalogue in a PostgreSQL that has PostGIS, not put to pgstac yet, with items in every state."""
    with databases.empty("pgstac") as url:
        database.upgrade(url)
        catalog = catalog_store.CatalogStore(database.engine(url))
        for fields in modelled_catalogue.collections():
            catalog.put_collection(stac.build_collection(fields))
        with catalog.writing() as connection:
            for entry in ENTRIES:
                catalog.publish(entry, published_at=NOON, connection=connection)
            catalog.publish(other(ENTRIES[0]), published_at=NOON, connection=connection)
            catalog.withdraw(ENTRIES[1].item_id, reason="wrong", withdrawn_at=NOON, connection=connection)
        yield catalog
        catalog.engine.dispose()


@pytest.fixture
def indexed(databases: conftest.Databases) -> Iterator[catalog_store.CatalogStore]:
    """An empty catalogue in pgstac."""
    with databases.catalogue("pgstac") as catalog:
        yield catalog


def other(entry: catalog_store.CatalogEntry, content: str = "f") -> catalog_store.CatalogEntry:
    """The same item with other content, and a title that tells so."""
    document = json.loads(json.dumps(entry.document))
    document["properties"]["title"] = f"content {content}"
    return dataclasses.replace(entry, content_sha256=content * 64, document=document)


def rows(catalog: catalog_store.CatalogStore) -> dict[str, str]:
    """Title by identity, as pgstac has it."""
    with catalog.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT id, content->'properties'->>'title' FROM pgstac.items").all()
    return {row[0]: row[1] for row in found}


def differences(catalog: catalog_store.CatalogStore) -> list[tuple[str, str]]:
    with catalog.engine.connect() as connection:
        return [(one.kind, one.item_id) for one in pgstac_index.differences(connection)]


# The same answers


def boxes(low: int = -20, high: int = 20) -> st.SearchStrategy[tuple[float, float, float, float]]:
    """Boxes on a coarse lattice, so that edges meet often."""
    edge = st.integers(low, high).map(lambda number: number / 2)
    pair = st.tuples(edge, edge).map(sorted).filter(lambda ends: ends[0] < ends[1])
    return st.tuples(pair, pair).map(lambda both: (both[0][0], both[1][0], both[0][1], both[1][1]))


shapes = st.one_of(
    boxes().map(lambda box: geometry.box(*box)),
    st.tuples(boxes(-20, -1), boxes(0, 20)).map(lambda two: shapely.union_all([geometry.box(*box) for box in two])),
    boxes().map(lambda box: geometry.Point(box[:2])),
    boxes().map(lambda box: geometry.LineString([box[:2], box[2:]])),
    boxes().map(lambda box: geometry.Polygon([box[:2], (box[2], box[1]), box[2:]])),
)
words = st.text("abAB%_\\[*?'\"土 ", max_size=4)
numbers = st.integers(-3, 3) | st.floats(-3, 3).filter(lambda number: number == 0 or abs(number) > 1e-3)
instants = st.integers(0, 6).map(lambda hours: NOON + dt.timedelta(hours=hours))
values = st.one_of(words, numbers, st.booleans(), st.none(), st.lists(words, max_size=1))


@st.composite
def items(draw: st.DrawFn, number: int) -> catalog_store.CatalogEntry:
    start, end = sorted((draw(instants), draw(instants)))
    shape = draw(st.none() | shapes)
    box = draw(boxes()) if shape is None else shape.bounds
    sector = draw(st.sampled_from(SECTORS))
    told = draw(
        st.fixed_dictionaries(
            {}, optional={"title": words, "cqeo:clear_fraction": values, "gsd": values, "platform": values}
        )
    )
    codes = draw(st.lists(st.sampled_from(CODES), max_size=2, unique=True))
    return dataclasses.replace(
        ENTRIES[0],
        item_id=f"i{number}",
        collection=draw(st.sampled_from(("one", "two"))),
        sector=sector,
        start=start,
        end=end,
        bbox=draw(st.just(box) | st.just((box[2], box[1], box[0], box[3]))),
        document={
            "id": f"i{number}",
            "geometry": None if shape is None else geometry.mapping(shape),
            "properties": {**told, "cqeo:admin_codes": codes},
        },
        assets=(),
    )


def _operation(name: str, *arguments: Any) -> dict[str, Any]:
    return {"op": name, "args": list(arguments)}


def _named(name: str) -> dict[str, str]:
    return {"property": name}


names = st.sampled_from(
    (
        "title",
        "gsd",
        "platform",
        "cqeo:uncertainty.kind",
        "cqeo:clear_fraction",
        "id",
        "cqeo:sector",
        "keywords",
        "nope",
    )
)
predicates = st.one_of(
    st.builds(_operation, st.sampled_from(("=", "<>", "<", "<=", ">", ">=")), names.map(_named), words | numbers),
    st.builds(_operation, st.just("like"), names.map(_named), words),
    st.builds(_operation, st.just("isNull"), (names | st.just("cqeo:admin_codes") | st.just("geometry")).map(_named)),
    st.builds(_operation, st.sampled_from(("=", "<>")), st.just(_named("deprecated")), st.booleans()),
    st.builds(_operation, st.just("in"), names.map(_named), st.lists(words, min_size=1, max_size=2)),
    st.builds(_operation, st.just("between"), names.map(_named), numbers, numbers),
    st.builds(
        _operation,
        st.sampled_from(sorted(cql2_condition._SPATIAL)),
        st.just(_named("geometry")),
        shapes.map(geometry.mapping),
    ),
    st.builds(
        _operation,
        st.sampled_from(("a_contains", "a_overlaps", "a_containedBy", "a_equals")),
        st.just(_named("cqeo:admin_codes")),
        st.lists(st.sampled_from(CODES), min_size=1, max_size=2),
    ),
    st.builds(
        _operation,
        st.sampled_from(("t_after", "t_before", "t_intersects", "t_disjoint", "t_equals")),
        st.just(_named("datetime")),
        instants.map(lambda instant: {"timestamp": instant.isoformat()}),
    ),
)
filters = st.recursive(
    predicates,
    lambda inner: (
        st.builds(_operation, st.just("not"), inner)
        | st.builds(_operation, st.sampled_from(("and", "or")), inner, inner)
    ),
    max_leaves=4,
)
sorts = st.lists(
    st.tuples(
        st.sampled_from(("datetime", "id", "title", "gsd", "platform", "cqeo:clear_fraction", "version", "nope")),
        st.sampled_from(("asc", "desc")),
    ),
    max_size=2,
    unique_by=lambda pair: pair[0],
).map(tuple)
questions = st.builds(
    item_search.SearchRequest,
    collections=st.sampled_from(((), ("one",), ("one", "none"))),
    ids=st.just(()) | st.lists(st.sampled_from(("i0", "i1", "i2", "i9")), min_size=1, max_size=3).map(tuple),
    bbox=st.none() | boxes(),
    intersects=st.none() | shapes.map(geometry.mapping),
    datetime_range=st.none() | st.tuples(instants, st.none() | instants),
    filter_tree=st.just(True) | filters,
    sort=sorts,
    limit=st.sampled_from((1, 3, 100)),
)
identities = st.builds(
    entitlement.Principal,
    agency=st.just("agency"),
    sectors=st.frozensets(st.sampled_from(SECTORS), max_size=3),
    districts=st.none() | st.frozensets(st.sampled_from((*CODES, "500100", "500000")), min_size=1, max_size=2),
    scopes=st.just(frozenset()),
    key_id=st.just("k"),
)


def answer(catalog: catalog_store.CatalogStore, who: entitlement.Principal, asked: item_search.SearchRequest) -> Any:
    """Identities in order and the number told, page by page, or what was refused and how."""
    search, found, token = item_search.ItemSearch(catalog), [], None
    try:
        for _ in range(20):
            page = search.search(who, dataclasses.replace(asked, token=token))
            token = page.token
            found.append(([item.item_id for item in page.items], page.matched))
            if token is None:
                return found
    except (cql2_condition.FilterError, queryable.UnknownPropertyError, item_search.SearchError) as error:
        return type(error), str(error)
    raise AssertionError("the pages do not end")


@pytest.fixture(scope="module")
def pair(databases: conftest.Databases) -> Iterator[tuple[catalog_store.CatalogStore, catalog_store.CatalogStore]]:
    with databases.catalogue("sqlite") as embedded, databases.catalogue("pgstac") as larger:
        yield embedded, larger


def _fill(catalog: catalog_store.CatalogStore, entries: list[catalog_store.CatalogEntry]) -> None:
    with catalog.writing() as connection:
        for table in reversed(catalog_store.metadata.sorted_tables):
            connection.execute(table.delete())
        for entry in entries:
            catalog.publish(entry, published_at=NOON, connection=connection)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_pgstac_answers_every_question_as_sqlite_does(
    pair: tuple[catalog_store.CatalogStore, catalog_store.CatalogStore], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 6))
    entries = [data.draw(items(number)) for number in range(count)]
    for catalog in pair:
        _fill(catalog, entries)
    assert sorted(rows(pair[1])) == [entry.item_id for entry in entries]
    for asked in data.draw(st.lists(questions, min_size=4, max_size=8)):
        who = data.draw(identities)
        embedded, larger = (answer(catalog, who, asked) for catalog in pair)
        assert larger == embedded


def test_a_search_for_footprints_and_properties_is_put_to_pgstac(indexed: catalog_store.CatalogStore) -> None:
    with indexed.writing() as connection:
        for entry in ENTRIES:
            indexed.publish(entry, published_at=NOON, connection=connection)
        # What pgstac holds is changed behind its back: only a search that reads it there notices.
        connection.exec_driver_sql(
            """UPDATE pgstac.items SET geometry = ST_MakeEnvelope(0, 0, 1, 1, 4326),
               content = jsonb_set(content, '{properties,title}', '"another"')"""
        )
    who = entitlement.Principal(
        agency="a",
        sectors=frozenset(fields.sector for fields in modelled_catalogue.collections()),
        districts=None,
        scopes=frozenset(),
        key_id="k",
    )
    search = item_search.ItemSearch(indexed)
    for text in ("s_intersects(geometry, BBOX(0, 0, 1, 1))", "title = 'another'"):
        asked = item_search.SearchRequest(filter_tree=cql2_condition.parsed(text, "cql2-text"))
        assert search.search(who, asked).matched == len(ENTRIES)
    nowhere = dataclasses.replace(who, sectors=frozenset())
    assert search.search(nowhere, asked).matched == 0


# What pgstac holds


def test_pgstac_holds_what_is_current_and_nothing_else_through_every_change(
    indexed: catalog_store.CatalogStore,
) -> None:
    entry = ENTRIES[0]
    indexed.publish(entry, published_at=NOON)
    assert list(rows(indexed)) == [entry.item_id]
    indexed.publish(other(entry, "e"), published_at=NOON)
    assert rows(indexed) == {entry.item_id: "content e"}
    # A superseded revision that expires takes nothing with it; the current one does.
    custody = catalog_store.Custody(indexed)
    assert custody.expire(entry.item_id, 1, state="superseded", reason="over", plan_sha256="0" * 64, at=NOON)
    assert rows(indexed) == {entry.item_id: "content e"}
    assert custody.expire(entry.item_id, 2, state="published", reason="over", plan_sha256="0" * 64, at=NOON)
    assert rows(indexed) == {}
    indexed.publish(other(entry, "d"), published_at=NOON)
    assert rows(indexed) == {entry.item_id: "content d"}
    indexed.withdraw(entry.item_id, reason="wrong", withdrawn_at=NOON)
    assert rows(indexed) == {}
    assert differences(indexed) == []


def test_collections_are_those_of_the_catalogue(indexed: catalog_store.CatalogStore) -> None:
    documents = [stac.build_collection(fields) for fields in modelled_catalogue.collections()]
    indexed.publish(ENTRIES[0], published_at=NOON)  # before its collection is known
    for document in documents:
        indexed.put_collection(document)
    with indexed.engine.connect() as connection:
        held = connection.exec_driver_sql("SELECT content FROM pgstac.collections ORDER BY id").scalars().all()
    assert held == sorted(documents, key=lambda document: document["id"])
    changed = {**documents[0], "description": "another"}
    indexed.put_collection(changed)
    with indexed.engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL search_path TO pgstac, public")
        found = connection.execute(sa.text("SELECT pgstac.get_collection(:id)"), {"id": changed["id"]}).scalar_one()
        assert connection.exec_driver_sql("SELECT pgstac.search('{}')").scalar_one()["numberReturned"] == 1
    assert found["description"] == "another"
    assert differences(indexed) == []


KILLED = """
import datetime as dt, json, os, sys
from infra import catalog_store, database
from infra.demonstration import modelled_catalogue
catalog = catalog_store.CatalogStore(database.engine(sys.argv[1]))
entry, fresh = list(modelled_catalogue.entries(60, seed=5))[:2]
document = json.loads(json.dumps(entry.document)); document["properties"]["title"] = "content f"
import dataclasses
entry = dataclasses.replace(entry, content_sha256="f" * 64, document=document)
now = dt.datetime.now(dt.UTC)
with catalog.writing() as connection:
    catalog.publish(entry, published_at=now, connection=connection)
    catalog.publish(fresh, published_at=now, connection=connection)
    if sys.argv[2] == "before":
        os.kill(os.getpid(), 9)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("when", "titles"), [("before", 1), ("after", 2)])
def test_a_publisher_killed_before_or_after_its_commit_leaves_both_or_neither(
    indexed: catalog_store.CatalogStore, when: str, titles: int
) -> None:
    indexed.publish(ENTRIES[0], published_at=NOON)
    url = indexed.engine.url.render_as_string(hide_password=False)
    killed = subprocess.run([sys.executable, "-c", KILLED, url, when], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with indexed.writing():
        pass  # the server has noticed the end of that transaction
    assert len(rows(indexed)) == titles
    assert (rows(indexed)[ENTRIES[0].item_id] == "content f") == (when == "after")
    assert indexed.counts().states.get("published") == titles
    assert differences(indexed) == []


# Into pgstac and out of it


def test_an_existing_catalogue_is_entered_and_entering_it_again_changes_nothing(
    plain: catalog_store.CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgstac_index, "CHUNK", 25)
    told: list[tuple[int, int]] = []
    assert pgstac_index.install(plain, progress=lambda done, total: told.append((done, total))) == "0.10.0"
    assert told == [(25, 59), (50, 59), (59, 59)]
    current = {item.item_id for item in plain.published()}
    assert set(rows(plain)) == current
    assert rows(plain)[ENTRIES[0].item_id] == "content f"
    with plain.engine.connect() as connection:
        query = "SELECT xmin::text, id FROM pgstac.items ORDER BY id"
        before = connection.exec_driver_sql(query).all()
    pgstac_index.install(plain)
    with plain.engine.connect() as connection:
        assert connection.exec_driver_sql(query).all() == before
    assert differences(plain) == []


def test_searches_wait_for_the_last_item_and_an_interrupted_installation_is_completed(
    plain: catalog_store.CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgstac_index, "CHUNK", 25)

    def interrupt(done: int, _total: int) -> None:
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pgstac_index.install(plain, progress=interrupt)
    with plain.engine.connect() as connection:
        assert not pgstac_index.answers(connection)
    plain.publish(other(ENTRIES[2]), published_at=NOON)  # kept already
    plain.withdraw(ENTRIES[3].item_id, reason="wrong", withdrawn_at=NOON)
    pgstac_index.install(plain)
    with plain.engine.connect() as connection:
        assert pgstac_index.answers(connection)
    assert rows(plain)[ENTRIES[2].item_id] == "content f"
    assert differences(plain) == []
    assert len(rows(plain)) == 58


def test_a_catalogue_taken_out_of_pgstac_leaves_nothing_there_and_is_searched_as_before(
    plain: catalog_store.CatalogStore,
) -> None:
    pgstac_index.install(plain)
    pgstac_index.detach(plain)
    assert rows(plain) == {}
    plain.publish(other(ENTRIES[2]), published_at=NOON)
    assert rows(plain) == {}
    assert len(plain.search()) == 59
    pgstac_index.install(plain)
    assert len(rows(plain)) == 59


def test_reconciliation_finds_and_repairs_what_pgstac_holds_otherwise(
    indexed: catalog_store.CatalogStore, store: object_store.ObjectStore, bucket: str
) -> None:
    with indexed.writing() as connection:
        for entry in ENTRIES[:5]:
            indexed.publish(entry, published_at=NOON, connection=connection)
    store.create_bucket(f"{bucket}-cat")
    stores = reconciliation.Stores(indexed, store, (bucket,), f"{bucket}-cat")

    def found(repair: bool = False) -> list[tuple[str, str]]:
        left = reconciliation.reconcile(stores, now=NOON, repair=repair).differences
        return sorted((one.kind, one.place.rpartition("/")[2]) for one in left if one.kind.startswith("index_"))

    assert found() == []
    names = [entry.item_id for entry in ENTRIES[:5]]
    with indexed.engine.begin() as connection:
        run = connection.exec_driver_sql
        run("DELETE FROM pgstac.items WHERE id = %s", (names[0],))
        run(
            "UPDATE pgstac.items SET content = jsonb_set(content, '{properties,title}', '1') WHERE id = %s", (names[1],)
        )
        run("UPDATE pgstac.items SET geometry = ST_MakeEnvelope(0, 0, 1, 1, 4326) WHERE id = %s", (names[2],))
        run("ALTER TABLE item DISABLE TRIGGER item_to_pgstac")
        run("UPDATE item SET state = 'withdrawn' WHERE id = %s", (names[3],))
        run("ALTER TABLE item ENABLE TRIGGER item_to_pgstac")
    planted = sorted(zip(("index_missing", "index_wrong", "index_wrong", "index_stale"), names, strict=False))
    assert found() == planted
    assert found(repair=True) == []
    assert differences(indexed) == []


# Commands


def terralimb(*words: str, home: Path, url: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TERRALIMB_HOME": str(home), "TERRALIMB_DATABASE_URL": url}
    command = [str(Path(sys.executable).with_name("terralimb")), "catalogue", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_commands_put_a_catalogue_to_pgstac_and_back(plain: catalog_store.CatalogStore, tmp_path: Path) -> None:
    url = plain.engine.url.render_as_string(hide_password=False)
    refused = terralimb("remove-pgstac", home=tmp_path, url=url)
    assert (refused.returncode, refused.stdout) == (2, "")
    made = terralimb("install-pgstac", "--json", home=tmp_path, url=url)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout) == {"pgstac": "0.10.0", "items": 59}
    assert len(rows(plain)) == 59
    assert terralimb("remove-pgstac", home=tmp_path, url=url).returncode == 0
    assert rows(plain) == {}


def test_a_database_without_postgis_is_refused_in_a_sentence(postgresql: str, tmp_path: Path) -> None:
    for url, said in ((f"sqlite:///{tmp_path / 'x.sqlite'}", "needs PostgreSQL"), (postgresql, "has no postgis")):
        with pytest.raises(pgstac_index.PgstacError, match=said):
            pgstac_index.install_schema(database.engine(url))


def test_an_older_pgstac_is_migrated_in_place(databases: conftest.Databases) -> None:
    with databases.empty("pgstac") as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            pgstac_index._run_file(connection, "pgstac.0.9.10.sql")
            assert pgstac_index._installed_version(connection) == "0.9.10"
        assert pgstac_index.install_schema(engine) == "0.10.0"
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT pgstac.get_version()").scalar_one() == "0.10.0"
        unknown = "INSERT INTO pgstac.migrations (version, datetime) VALUES ('9.9.9', now() + interval '1 day')"
        with engine.begin() as connection:
            connection.exec_driver_sql(unknown)
        with pytest.raises(pgstac_index.PgstacError, match=r"9\.9\.9 is there"):
            pgstac_index.install_schema(engine)
