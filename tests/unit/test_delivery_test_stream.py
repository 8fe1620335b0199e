"""Test data of a coming format are there for whoever asks for them, and nobody else's answer changes by a byte."""

import dataclasses
import datetime as dt
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import catalog_store, database, object_store
from infra.delivery import entitlement, export, fair_share, fetching, identity, mqtt, push, webhook
from infra.demonstration import modelled_catalogue
from products import stac, streams, wis2_notification

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    from starlette import testclient

    from infra.delivery import gateway

NOW = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
ENTRIES = tuple(modelled_catalogue.entries(36, seed=5))
COMING = tuple(modelled_catalogue.entries(400, seed=6))
SECTORS = tuple(fields.sector for fields in modelled_catalogue.collections())
SERIAL = itertools.count()


def in_test_stream(entry: catalog_store.CatalogEntry, serial: int) -> catalog_store.CatalogEntry:
    """The same item as the publication of test data makes it, written out here by hand."""
    document = {**entry.document, "id": f"{entry.item_id}-{serial}-test", "collection": f"{entry.collection}-test"}
    document["properties"] = {**document["properties"], "cqeo:stream": "test"}
    # Newer than everything else: a pointer or a search that looked at it would lead to it.
    return dataclasses.replace(
        entry, item_id=document["id"], collection=document["collection"], document=document, start=NOW, end=NOW
    )


@dataclasses.dataclass
class Desk:
    catalog: catalog_store.CatalogStore
    client: testclient.TestClient
    engine: Any

    def key(self, sectors: list[str], districts: list[str] | None = None) -> str:
        return identity.create(
            self.engine, agency="a", sectors=sectors, districts=districts, scopes=("search", "download", "feed"),
            expires_at=NOW + dt.timedelta(days=1), now=NOW - dt.timedelta(days=1),
        )  # fmt: skip

    def get(self, path: str, key: str) -> Any:
        return self.client.get(path, headers={"Authorization": f"Bearer {key}"}, follow_redirects=False)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("streams")
    url = f"sqlite:///{home / 'terralimb.sqlite'}"
    database.upgrade(url)
    engine = database.engine(url)
    catalog = catalog_store.CatalogStore(engine)
    for fields in modelled_catalogue.collections():
        for stream in streams.STREAMS:
            catalog.put_collection(stac.build_collection(streams.collection_fields(fields, stream)))
    with catalog.writing() as connection:
        for entry in ENTRIES:
            catalog.publish(entry, published_at=NOW - dt.timedelta(hours=1), connection=connection)
    parts = gateway.Parts(
        catalog=catalog,
        store=object_store.ObjectStore(
            endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
        ),
        home=home,
        identities=identity.Identities(engine),
        limits=fair_share.Limits(rate=1e6, burst=1_000_000),
        clock=lambda: NOW,
    )
    with testclient.TestClient(gateway.application(parts), base_url="http://service.test") as client:
        yield Desk(catalog, client, engine)


OPERATIONAL = (
    "/stac/", "/stac/collections", "/stac/search?limit=100", "/stac/search?limit=7&sortby=-published",
    "/stac/search?bbox=105,28,110,32", "/stac/search?filter=cqeo:stream='test'",
    "/stac/search?datetime=2026-01-01T00:00:00Z/..", "/feed", "/feed?limit=5", "/feed.atom", "/notices",
    *(f"/latest/{name}" for name in ("flood-extent", "occultation-profile")),
    *(f"/stac/collections/{name}" for name in ("flood-extent", "occultation-profile")),
    "/stac/collections/flood-extent/items",
    f"/stac/collections/{ENTRIES[0].collection}/items/{ENTRIES[0].item_id}",
)  # fmt: skip


@settings(max_examples=4, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(COMING), min_size=1, max_size=6),
    sectors=st.lists(st.sampled_from(SECTORS), min_size=1, unique=True),
    districts=st.none() | st.just(["500112", "500101"]),
)
def test_no_answer_to_whoever_does_not_ask_for_test_data_changes_by_a_byte(
    desk: Desk, chosen: list[catalog_store.CatalogEntry], sectors: list[str], districts: list[str] | None
) -> None:
    key = desk.key(sectors, districts)

    def answers() -> dict[str, Any]:
        asked = {path: desk.get(path, key) for path in OPERATIONAL}
        return {path: (one.status_code, one.headers.get("location"), one.content) for path, one in asked.items()}

    def counted() -> Any:
        counts = desk.catalog.counts()
        return counts.sectors, counts.products, desk.catalog.search(limit=1), export.by_month(desk.catalog)

    before, before_counts = answers(), counted()
    assert before["/stac/search?limit=100"][0] == 200
    for entry in chosen:
        desk.catalog.publish(in_test_stream(entry, next(SERIAL)), published_at=NOW)
    assert answers() == before
    assert counted() == before_counts


def test_whoever_names_the_collection_or_the_stream_finds_test_data_and_no_one_elses(desk: Desk) -> None:
    entry = in_test_stream(next(one for one in COMING if one.sector == "emergency"), next(SERIAL))
    desk.catalog.publish(entry, published_at=NOW)
    mine, foreign = desk.key(["emergency"]), desk.key(["weather"])
    name = entry.collection

    def identities(path: str, key: str) -> set[str]:
        return {feature["id"] for feature in desk.get(path, key).json()["features"]}

    assert entry.item_id in identities(f"/stac/search?collections={name}&limit=100", mine)
    assert identities(f"/stac/search?collections={name}&limit=100", foreign) == set()
    assert entry.item_id in identities(f"/stac/collections/{name}/items?limit=100", mine)
    assert desk.get(f"/stac/collections/{name}/items/{entry.item_id}", mine).status_code == 200
    assert desk.get(f"/stac/collections/{name}", mine).json()["cqeo:stream"] == "test"
    assert desk.get(f"/stac/collections/{name}", foreign).status_code == 404
    listed = {one["id"] for one in desk.get("/stac/collections?stream=test", mine).json()["collections"]}
    assert listed == {"flood-extent-test"}
    told = desk.get("/feed?stream=test&limit=1000", mine).json()["announcements"]
    assert entry.item_id in {one["id"] for one in told}
    assert {one["stream"] for one in told} == {"test"}
    others = desk.get("/feed?stream=test&limit=1000", foreign).json()["announcements"]
    assert {one["sector"] for one in others} <= {"weather"}
    assert entry.item_id in desk.get("/feed.atom?stream=test&limit=1000", mine).text
    assert desk.get("/feed?stream=other", mine).status_code == 400
    assert desk.get(f"/latest/{name}", mine).headers["location"].endswith(entry.item_id)


def test_test_data_are_found_by_their_identity_for_a_download_by_whoever_may_see_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = in_test_stream(next(one for one in COMING if one.sector == "emergency"), next(SERIAL))
    desk.catalog.publish(entry, published_at=NOW)

    def found_with(key: str) -> fetching.RemoteItem:
        with fetching.ServiceSource("http://service.test", key) as source:
            monkeypatch.setattr(source._client, "get", lambda url: desk.get(url, key))
            return source.find(entry.item_id)

    item = found_with(desk.key(["emergency"]))
    assert (item.item_id, item.revision) == (entry.item_id, 1)
    assert item.checksums == {asset.name: asset.sha256 for asset in entry.assets}
    with pytest.raises(fetching.FetchError, match="no such item for this key"):
        found_with(desk.key(["weather"]))


def told_of(desk: Desk, item_id: str) -> push.Told:
    after, found = 0, None
    while part := push.outgoing(desk.catalog, after=after, public_url="https://s.example"):
        found = next((one for one in part if one.item.item_id == item_id), found)
        after = part[-1].sequence
    assert found is not None
    return found


def test_test_data_go_to_topics_of_their_own_and_to_no_webhook_nor_to_the_world(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weather = next(one for one in COMING if one.sector == "weather")
    entry = in_test_stream(weather, next(SERIAL))
    desk.catalog.publish(entry, published_at=NOW)
    told = told_of(desk, entry.item_id)
    assert mqtt.for_agencies(retain_latest=True)(told) == ()
    messages = mqtt.for_agencies(retain_latest=True, stream=streams.TEST)
    assert messages(told_of(desk, next(one for one in ENTRIES if one.sector == "weather").item_id)) == ()
    topics = [topic for topic, _payload, _retained in messages(told)]
    assert topics == [f"cq-test/{branch}/weather/occultation-profile/all" for branch in ("products", "latest")]
    assert mqtt.for_wis2(wis2_notification.Origin(), public_url="https://s.example")(told) == ()
    posted: list[str] = []
    monkeypatch.setattr(webhook.WebhookChannel, "_post", lambda _self, payload: posted.append(payload["id"]))
    hook = webhook.Webhook(
        id="0" * 12, agency="a", url="https://h.example", sectors=SECTORS, districts=None, active=True,
        suspended_reason=None, created_at="",
    )  # fmt: skip
    plain = next(one for one in ENTRIES if one.sector == "weather")
    channel = webhook.WebhookChannel(hook, tmp_path)
    assert list(channel.deliver([told_of(desk, plain.item_id), told]))[-1] == told.sequence
    channel.close()
    assert posted == [plain.item_id]


def test_test_data_never_take_the_place_of_an_item_agencies_work_with(desk: Desk) -> None:
    wrong = dataclasses.replace(in_test_stream(ENTRIES[0], 0), item_id=ENTRIES[0].item_id, content_sha256="f" * 64)
    with pytest.raises(catalog_store.CatalogError, match="identity of their own"):
        desk.catalog.publish(wrong, published_at=NOW)
    found = desk.catalog.item(ENTRIES[0].item_id)
    assert found is not None
    assert (found.revision, found.state) == (1, "published")


FIELDS = stac.ItemFields(
    product_code="flood-extent",
    title="Flood extent",
    title_zh="洪水范围",
    geometry={"type": "Point", "coordinates": [106.5, 29.5]},
    bbox=(106.0, 29.0, 107.0, 30.0),
    start=NOW,
    quality_level="rapid",
)


@pytest.mark.parametrize(
    ("stream", "item_id", "collection", "good"),
    [
        ("test", "a-test", "flood-extent-test", True),
        ("final", "a", "flood-extent", True),
        ("test", "a-test", "flood-extent", False),
        ("test", "a", "flood-extent-test", False),
        ("nrt", "a-test", "flood-extent-test", False),
    ],
)
def test_an_item_says_it_is_test_data_exactly_where_its_collection_does(
    stream: str, item_id: str, collection: str, *, good: bool
) -> None:
    fields = dataclasses.replace(FIELDS, stream=stream)
    file = stac.AssetFields(href="./a", media_type="image/tiff", roles=("data",), size=1, sha256="0" * 64)
    given: dict[str, Any] = {"sector": "emergency", "assets": {"a": file}, "collection_href": "c.json"}
    if good:
        stac.validate_item(stac.build_item(fields, item_id=item_id, collection=collection, **given))
    else:
        with pytest.raises(stac.StacError, match="test data"):
            stac.build_item(fields, item_id=item_id, collection=collection, **given)


def test_a_collection_of_test_data_says_so_in_both_languages_and_is_valid() -> None:
    fields = streams.collection_fields(next(modelled_catalogue.collections()), streams.TEST)
    document = stac.build_collection(fields)
    stac.validate_collection(document)
    assert (document["id"], document["cqeo:stream"]) == ("land-cover-test", "test")
    assert "test data" in document["title"]
    assert "测试" in document["cqeo:title_zh"]


def test_the_rule_of_identities_and_the_rule_of_permission_both_hold_for_test_data(desk: Desk) -> None:
    condition = catalog_store.stream_condition(streams.TEST)
    with database.reading(desk.engine) as connection:
        statement = catalog_store.item_table.select().where(condition)
        found = desk.catalog.items_of(connection, statement)
    assert found
    assert all(one.collection.endswith("-test") and one.item_id.endswith("-test") for one in found)
    principal = entitlement.Principal(
        agency="a", sectors=frozenset({"ecology"}), districts=None, scopes=frozenset(), key_id="k"
    )
    for one in found:
        told = push.Told(sequence=1, payload={}, item=one)
        assert told.payload_for(principal) is None
