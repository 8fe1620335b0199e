"""The catalogue: one current revision, announcements with it or not at all, and a search that finds what is there.

The same contract runs on SQLite and, in the chain tests, on PostgreSQL without and with pgstac.
"""

import datetime as dt
import threading
from concurrent import futures
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra import catalog_store, database

NOON = dt.datetime(2021, 9, 1, 12, tzinfo=dt.UTC)
CHONGQING = (105.3, 28.2, 110.2, 32.2)


def entry(
    item_id: str = "land-cover-cq-20210901t000000z",
    *,
    content: str = "a",
    bbox: tuple[float, float, float, float] = CHONGQING,
    start: dt.datetime = NOON,
    end: dt.datetime | None = None,
    sector: str = "natural-resources",
    product: str = "land-cover",
    assets: int = 2,
) -> catalog_store.CatalogEntry:
    sha256 = content * 64
    records = tuple(
        catalog_store.AssetRecord(name=f"asset{n}", bucket="tl-products", key=f"{content}/{n}", sha256=sha256, size=n)
        for n in range(assets)
    )
    return catalog_store.CatalogEntry(
        item_id=item_id,
        collection=product,
        sector=sector,
        product=product,
        start=start,
        end=end or start,
        bbox=bbox,
        content_sha256=sha256,
        manifest_sha256=sha256,
        bucket="tl-products",
        item_key=f"{content}/item.json",
        manifest_key=f"{content}/MANIFEST.json",
        document={"id": item_id, "properties": {"title": "土地覆盖"}, "stac_extensions": []},
        assets=records,
    )


def at(minutes: int) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def events(catalog: catalog_store.CatalogStore) -> list[tuple[str, str, int]]:
    return [(row.event, row.item_id, row.revision) for row in catalog.announcements(limit=1000)]


def test_a_first_publication_is_revision_one_with_everything_kept(catalog: catalog_store.CatalogStore) -> None:
    given = entry(end=at(5))
    assert catalog.publish(given, published_at=at(60)) == catalog_store.PublishedRevision(given.item_id, 1, True)
    kept = catalog.item(given.item_id)
    assert kept is not None
    for field in catalog_store.CatalogEntry.__dataclass_fields__:
        assert getattr(kept, field) == getattr(given, field), field
    assert (kept.revision, kept.state, kept.published_at) == (1, "published", at(60))
    assert events(catalog) == [("published", given.item_id, 1)]


def test_the_same_content_again_changes_nothing(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry(), published_at=at(0))
    before = (catalog.counts(), catalog.item(entry().item_id), events(catalog))
    assert catalog.publish(entry(), published_at=at(9)).created is False
    assert (catalog.counts(), catalog.item(entry().item_id), events(catalog)) == before


def test_other_content_supersedes_and_both_are_announced_in_order(catalog: catalog_store.CatalogStore) -> None:
    name = entry().item_id
    catalog.publish(entry(content="a"), published_at=at(0))
    assert catalog.publish(entry(content="b"), published_at=at(1)).revision == 2
    assert catalog.publish(entry(content="a"), published_at=at(2)).revision == 3  # back again is a revision too
    states = [getattr(catalog.item(name, revision), "state", None) for revision in (1, 2, 3, 4)]
    assert states == ["superseded", "superseded", "published", None]
    assert events(catalog) == [
        ("published", name, 1),
        ("superseded", name, 1),
        ("published", name, 2),
        ("superseded", name, 2),
        ("published", name, 3),
    ]
    superseded = catalog.announcements(after=1, limit=1)[0]
    assert superseded.payload["successor"] == 2
    assert [row.sequence for row in catalog.announcements(limit=10)] == sorted(
        row.sequence for row in catalog.announcements(limit=10)
    )


def test_a_withdrawn_item_leaves_search_keeps_its_reason_and_its_content_stays_refused(
    catalog: catalog_store.CatalogStore,
) -> None:
    name = entry().item_id
    catalog.publish(entry(content="a"), published_at=at(0))
    assert catalog.withdraw(name, reason="wrong datum", withdrawn_at=at(1)).revision == 1
    assert catalog.search() == ()
    assert catalog.search(include_superseded=True) == ()
    kept = catalog.item(name)
    assert kept is not None
    assert (kept.state, kept.state_reason) == ("withdrawn", "wrong datum")
    with pytest.raises(catalog_store.UnknownItemError):
        catalog.withdraw(name, reason="again", withdrawn_at=at(2))
    assert catalog.publish(entry(content="b"), published_at=at(3)).revision == 2
    with pytest.raises(catalog_store.ContentWithdrawnError, match="wrong datum"):
        catalog.publish(entry(content="a"), published_at=at(4))
    assert events(catalog) == [("published", name, 1), ("withdrawn", name, 1), ("published", name, 2)]


def test_a_superseded_revision_is_withdrawn_by_its_number_and_its_successor_stays(
    catalog: catalog_store.CatalogStore,
) -> None:
    name = entry().item_id
    for day, content in enumerate("ab"):
        catalog.publish(entry(content=content), published_at=at(day))
    assert catalog.withdraw(name, 1, reason="wrong datum", withdrawn_at=at(2)).revision == 1
    first, current = catalog.item(name, 1), catalog.item(name)
    assert first is not None
    assert current is not None
    assert (first.state, first.state_reason, current.revision, current.state) == (
        "withdrawn", "wrong datum", 2, "published",
    )  # fmt: skip
    assert [item.revision for item in catalog.search(include_superseded=True)] == [2]
    told = catalog.announcements(after=3)[0].payload
    assert (told["event"], told["revision"], told["reason"], told["successor"]) == ("withdrawn", 1, "wrong datum", 2)
    for revision in (1, 3):
        with pytest.raises(catalog_store.UnknownItemError, match=f"revision {revision}, current or superseded"):
            catalog.withdraw(name, revision, reason="again", withdrawn_at=at(3))
    with pytest.raises(catalog_store.ContentWithdrawnError, match="wrong datum"):
        catalog.publish(entry(content="a"), published_at=at(4))


def test_revisions_with_the_content_of_a_withdrawn_one_are_withdrawn_with_it(
    catalog: catalog_store.CatalogStore,
) -> None:
    name = entry().item_id
    for day, content in enumerate("aba"):
        catalog.publish(entry(content=content), published_at=at(day))
    catalog.withdraw(name, 1, reason="wrong datum", withdrawn_at=at(3))
    assert [getattr(catalog.item(name, number), "state", None) for number in (1, 2, 3)] == [
        "withdrawn", "superseded", "withdrawn",
    ]  # fmt: skip
    told = [one.payload for one in catalog.announcements(after=5)]
    assert [(one["event"], one["revision"], one.get("successor")) for one in told] == [
        ("withdrawn", 1, 2), ("withdrawn", 3, None),
    ]  # fmt: skip
    assert catalog.search(include_superseded=True)[0].revision == 2


def test_a_transaction_that_fails_leaves_no_trace(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry(content="a"), published_at=at(0))
    before = (catalog.counts(), catalog.item(entry().item_id))

    def publish_and_fail() -> None:
        with catalog.writing() as connection:
            catalog.publish(entry(content="b"), published_at=at(1), connection=connection)
            catalog.publish(entry("another"), published_at=at(1), connection=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        publish_and_fail()
    assert (catalog.counts(), catalog.item(entry().item_id)) == before
    assert catalog.item("another") is None


def test_the_database_itself_refuses_two_current_revisions(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry(content="a"), published_at=at(0))
    catalog.publish(entry(content="b"), published_at=at(1))
    revive = sa.update(catalog_store.item_table).where(catalog_store.item_table.c.revision == 1)
    with pytest.raises(sa.exc.IntegrityError), catalog.engine.begin() as connection:
        connection.execute(revive.values(state="published"))
    unknown = sa.update(catalog_store.item_table).values(state="lost")
    with pytest.raises(sa.exc.IntegrityError), catalog.engine.begin() as connection:
        connection.execute(unknown)


def test_writers_at_the_same_time_take_turns(catalog: catalog_store.CatalogStore) -> None:
    barrier = threading.Barrier(6)

    def write(number: int) -> int:
        barrier.wait()
        return catalog.publish(entry(content="012345"[number]), published_at=at(number)).revision

    with futures.ThreadPoolExecutor(6) as pool:
        revisions = sorted(pool.map(write, range(6)))
    assert revisions == [1, 2, 3, 4, 5, 6]
    assert catalog.counts().states == {"published": 1, "superseded": 5}
    assert len(events(catalog)) == 11


def test_delivery_is_recorded_once(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry("one"), published_at=at(0))
    catalog.publish(entry("two"), published_at=at(1))
    first, second = catalog.undelivered()
    assert catalog.mark_delivered(first.sequence, delivered_at=at(2)) is True
    assert catalog.mark_delivered(first.sequence, delivered_at=at(3)) is False
    assert catalog.undelivered() == (second,)
    assert catalog.announcements(limit=1)[0].delivered_at == at(2)
    with pytest.raises(catalog_store.AnnouncementMissingError):
        catalog.mark_delivered(999, delivered_at=at(4))


def test_search_combines_sector_product_place_and_time(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry("a", start=at(0)), published_at=NOON)
    catalog.publish(
        entry("b", start=at(10), end=at(20), sector="ecology", product="vegetation-cover"), published_at=NOON
    )
    catalog.publish(entry("c", start=at(30), bbox=(10.0, 50.0, 11.0, 51.0)), published_at=NOON)

    def found(**wanted: object) -> list[str]:
        return [item.item_id for item in catalog.search(**wanted)]  # type: ignore[arg-type]

    assert found() == ["c", "b", "a"]
    assert found(limit=2) == ["c", "b"]
    assert found(sector="ecology") == ["b"]
    assert found(product="land-cover") == ["c", "a"]
    assert found(bbox=(106.0, 29.0, 107.0, 30.0)) == ["b", "a"]
    assert found(bbox=(106.0, 29.0, 107.0, 30.0), product="land-cover") == ["a"]
    assert found(bbox=(-60.0, -30.0, -50.0, -20.0)) == []
    assert found(datetime_range=(at(15), at(25))) == ["b"]  # it overlaps, though it starts earlier
    assert found(datetime_range=(at(20), at(30))) == ["c", "b"]  # both ends included
    assert found(datetime_range=(at(21), at(29))) == []
    assert found(datetime_range=(None, at(0))) == ["a"]
    assert found(datetime_range=("2021-09-01", "2021-09-01")) == ["c", "b", "a"]  # a date is its whole day
    assert found(datetime_range=("2021-09-01T20:10:00+08:00", None)) == ["c", "b"]  # 12:10 UTC
    assert found(sector="'; DROP TABLE item; --") == []
    assert found() == ["c", "b", "a"]


def test_search_across_the_antimeridian(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry("fiji", bbox=(177.0, -19.0, -179.0, -16.0)), published_at=NOON)
    catalog.publish(entry("samoa", bbox=(-173.0, -15.0, -171.0, -13.0)), published_at=NOON)
    catalog.publish(entry("cq"), published_at=NOON)

    def found(*bbox: float) -> set[str]:
        return {item.item_id for item in catalog.search(bbox=bbox)}

    assert found(-180.0, -20.0, -179.5, -10.0) == {"fiji"}
    assert found(178.0, -20.0, 179.0, -10.0) == {"fiji"}
    assert found(170.0, -20.0, -170.0, -10.0) == {"fiji", "samoa"}
    assert found(-175.0, -20.0, -170.0, -10.0) == {"samoa"}
    assert found(-178.0, -20.0, 176.0, 60.0) == {"samoa", "cq"}


def test_a_box_ends_where_it_says_not_where_the_index_rounds_it_to(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry("a", bbox=(106.1, 29.1, 106.2, 29.2)), published_at=NOON)
    assert [item.item_id for item in catalog.search(bbox=(106.2, 29.2, 107.0, 30.0))] == ["a"]  # it touches
    assert catalog.search(bbox=(106.2 + 1e-9, 29.0, 107.0, 30.0)) == ()
    assert catalog.search(bbox=(105.0, 29.0, 106.1 - 1e-9, 30.0)) == ()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"bbox": (1.0, 2.0, 3.0)}, "west, south, east, north"),
        ({"bbox": (0.0, 10.0, 1.0, 9.0)}, "south <= north"),
        ({"bbox": (0.0, 10.0, 181.0, 11.0)}, "-180"),
        ({"bbox": (0.0, float("nan"), 1.0, 11.0)}, "-90"),
        ({"datetime_range": ("yesterday", None)}, "yesterday"),
        ({"datetime_range": ("0001-01-01T00:00:00+12:00", None)}, "outside the years 1 to 9999"),
        ({"datetime_range": (None, "9999-12-31T23:59:59-12:00")}, "outside the years 1 to 9999"),
        ({"datetime_range": (dt.datetime(2021, 1, 1), None)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_a_wrong_question_is_refused(catalog: catalog_store.CatalogStore, wanted: dict, message: str) -> None:
    with pytest.raises(catalog_store.CatalogError, match=message):
        catalog.search(**wanted)


def test_superseded_revisions_are_found_on_demand_only(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry(content="a"), published_at=at(0))
    catalog.publish(entry(content="b"), published_at=at(1))
    assert [item.revision for item in catalog.search()] == [2]
    assert [item.revision for item in catalog.search(include_superseded=True, bbox=CHONGQING)] == [2, 1]


def test_the_served_item_carries_what_the_catalogue_knows(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(entry(content="a"), published_at=at(0))
    catalog.publish(entry(content="b"), published_at=at(1))
    old, new = (catalog.item(entry().item_id, revision) for revision in (1, 2))
    assert old is not None
    assert new is not None
    assert old.item["properties"] == {
        "title": "土地覆盖",
        "version": "1",
        "deprecated": True,
        "published": "2021-09-01T12:00:00Z",
        "cqeo:status": "superseded",
    }
    assert new.item["properties"]["deprecated"] is False
    assert "version" not in new.document["properties"]


def test_counts(catalog: catalog_store.CatalogStore) -> None:
    assert catalog.counts() == catalog_store.CatalogCounts({}, {}, {}, 0, 0)
    catalog.publish(entry("a", content="a"), published_at=at(0))
    catalog.publish(entry("a", content="b"), published_at=at(1))
    catalog.publish(entry("b", sector="ecology", product="vegetation-cover", assets=0), published_at=at(2))
    catalog.mark_delivered(catalog.undelivered()[0].sequence, delivered_at=at(3))
    assert catalog.counts() == catalog_store.CatalogCounts(
        states={"published": 2, "superseded": 1},
        sectors={"ecology": 1, "natural-resources": 1},
        products={"land-cover": 1, "vegetation-cover": 1},
        announcements=4,
        undelivered=3,
    )


def test_every_published_item_is_walked_through_once(
    catalog: catalog_store.CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"item-{number:03d}" for number in range(12)]
    for name in reversed(names):
        catalog.publish(entry(name), published_at=at(0))
    catalog.withdraw("item-005", reason="test", withdrawn_at=at(1))
    monkeypatch.setattr(catalog_store, "WALK_PAGE", 5)
    assert [item.item_id for item in catalog.published()] == [name for name in names if name != "item-005"]


def test_sqlite_searches_places_by_the_spatial_index_and_is_durable(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'plan.sqlite'}")
    with engine.begin() as connection:
        catalog_store.metadata.create_all(connection)
        catalog_store.create_spatial_index(connection)
        catalog_store.create_spatial_index(connection)  # safe to repeat
    catalog = catalog_store.CatalogStore(engine)
    plans: list[str] = []

    def explain(conn: sa.Connection, cursor: object, statement: str, parameters: tuple, *_: object) -> None:
        if statement.startswith("SELECT item."):
            rows = conn.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    sa.event.listen(engine, "before_cursor_execute", explain)
    catalog.search(bbox=CHONGQING)
    assert any("VIRTUAL TABLE INDEX" in plan for plan in plans), plans
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_items_from_before_the_spatial_index_are_entered(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'late.sqlite'}")
    with engine.begin() as connection:
        catalog_store.metadata.create_all(connection)
    catalog = catalog_store.CatalogStore(engine)
    catalog.publish(entry("early"), published_at=NOON)
    with engine.begin() as connection:
        catalog_store.create_spatial_index(connection)
    assert [item.item_id for item in catalog.search(bbox=CHONGQING)] == ["early"]


def test_on_sqlite_reading_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    engine = database.engine(f"sqlite:///{tmp_path / 'readers.sqlite'}")
    with engine.begin() as connection:
        catalog_store.metadata.create_all(connection)
        catalog_store.create_spatial_index(connection)
    catalog = catalog_store.CatalogStore(engine)
    catalog.publish(entry(), published_at=NOON)
    with catalog.writing(), futures.ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(catalog.search).result(timeout=5)) == 1
        assert pool.submit(catalog.counts).result(timeout=5).announcements == 1


def test_the_text_of_instants_orders_like_time_in_every_year() -> None:
    years = (1, 9, 10, 99, 800, 999, 1000, 2021, 9999)
    texts = [catalog_store.text_from_instant(dt.datetime(year, 3, 1, tzinfo=dt.UTC)) for year in years]
    assert texts == sorted(texts)
    assert texts[4] == "0800-03-01T00:00:00.000000Z"
    assert [dt.datetime.fromisoformat(text).year for text in texts] == list(years)
