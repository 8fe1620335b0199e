"""One object the store cannot read holds up no comparison, no restore and no replay; a store that is away does."""

import contextlib
import dataclasses
import datetime as dt
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from infra import catalog_store, database, object_store, publication, signing
from infra.delivery import backup, care, fixity, notices, reconciliation, replay
from infra.demonstration import modelled_catalogue
from products import stac, streams
from tests.chain import open_water

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
FIELDS = dataclasses.replace(open_water.FIELDS, start=NOON)


class Shelf(object_store.ObjectStore):
    """A store in memory with objects its disk lost."""

    def __init__(self) -> None:
        super().__init__(endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret"))
        self.held: dict[tuple[str, str], bytes] = {}
        self.damaged: set[str] = set()
        self.away = False

    def _check_there(self) -> None:
        if self.away:
            raise object_store.StoreUnavailableError("nobody answers")

    def put_new(self, bucket: str, key: str, body: Any, **_: Any) -> object_store.StoredObject:
        return self.put_replace(bucket, key, body if isinstance(body, bytes) else body.read_bytes())

    def put_replace(self, bucket: str, key: str, body: bytes, **_: Any) -> object_store.StoredObject:
        self.damaged.discard(key)
        self.held[bucket, key] = body
        return self.head(bucket, key)

    @contextlib.contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        self._check_there()
        assert (start, length) == (0, None)
        if key in self.damaged:
            raise object_store.StoreUnavailableError(f"{bucket}/{key}: InternalError")
        self.head(bucket, key)
        yield io.BytesIO(self.held[bucket, key])

    def head(self, bucket: str, key: str) -> object_store.StoredObject:
        self._check_there()
        if (bucket, key) not in self.held:
            raise object_store.ObjectMissingError(f"{bucket}/{key}")
        return object_store.StoredObject(bucket, key, len(self.held[bucket, key]), modified=NOON)

    def list(self, bucket: str, prefix: str = "") -> Iterator[object_store.StoredObject]:
        self._check_there()
        for place in sorted(self.held):
            if place[0] == bucket and place[1].startswith(prefix):
                yield self.head(*place)

    def unfinished_uploads(self, _bucket: str) -> Iterator[object_store.UnfinishedUpload]:
        return iter(())


@dataclasses.dataclass
class Desk:
    home: Path
    shelf: Shelf

    @property
    def url(self) -> str:
        return f"sqlite:///{self.home / 't.sqlite'}"

    @property
    def stores(self) -> reconciliation.Stores:
        catalog = catalog_store.CatalogStore(database.engine(self.url))
        return reconciliation.Stores(catalog, self.shelf, ("p",), "c", functools.partial(signing.sign, self.home))

    @property
    def charge(self) -> care.Charge:
        return care.Charge(stores=self.stores, home=self.home, database_url=self.url)

    def publish(self, name: str) -> publication.Publication:
        return publication.publish_package(
            item_id=name,
            collection="open-water-extent",
            sector="transport",
            fields=FIELDS,
            assets={"data.tif": publication.AssetContent(name.encode(), "image/tiff", ("data",))},
            store=self.shelf,
            catalog=self.stores.catalog,
            bucket="p",
            key_prefix="open-water-extent/v1",
            catalogue_bucket="c",
            signer=self.stores.signer,
            clock=lambda: NOON,
        )

    def check(self) -> fixity.Fixity:
        return fixity.check(self.stores, fixity.objects(self.stores), trusted=signing.public_keys(self.home))

    def back_up(self) -> None:
        backup.back_up(self.url, store=self.shelf, catalogue_bucket="c", sign=self.charge.sign, now=NOON)

    def restore(self) -> replay.Replay:
        return backup.restore(
            self.home / "back.sqlite",
            store=self.shelf,
            catalogue_bucket="c",
            trusted=signing.public_keys(self.home),
            record=self.home / "audit",
            now=NOON,
        ).replayed


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path, Shelf())
    database.upgrade(made.url)
    signing.ensure(tmp_path)
    (tmp_path / "audit").mkdir(exist_ok=True)
    return made


def told(home: Path) -> list[tuple[str, str]]:
    document = json.loads((home / reconciliation.REPORT).read_text(encoding="utf-8"))
    return [(one["kind"], one["place"]) for one in document["differences"]]


@pytest.mark.parametrize("name", ["data.tif", "item.json", "MANIFEST.json", "MANIFEST.json.minisig"])
def test_an_object_that_cannot_be_read_is_told_of_and_all_others_are_read(desk: Desk, name: str) -> None:
    made = desk.publish("one")
    desk.publish("other")
    assert (desk.check().read, desk.check().differences) == (6, ())
    key = made.keys.get(name, f"{made.keys['MANIFEST.json']}.minisig")
    desk.shelf.damaged.add(key)
    found = desk.check()
    assert [(one.kind, one.place) for one in found.differences] == [("content_wrong", f"p/{key}")]
    assert "cannot be read: p/" in found.differences[0].detail
    assert found.read == (6 if name.endswith(".minisig") else 5)


def test_a_store_that_is_away_is_no_damage(desk: Desk) -> None:
    desk.publish("one")
    listed = fixity.objects(desk.stores)
    desk.shelf.away = True
    with pytest.raises(object_store.StoreUnavailableError, match="nobody answers"):
        fixity.check(desk.stores, listed, trusted=())


def test_what_was_compared_is_reported_though_the_store_goes_away_while_it_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = desk.publish("one")
    desk.shelf.damaged.add(made.keys["data.tif"])
    monkeypatch.setattr(fixity, "share", lambda stores, **_: fixity.objects(stores))
    with pytest.raises(care.CareError, match="1 places"):
        care.run("reconcile", desk.charge, now=NOON)
    damaged = ("content_wrong", f"p/{made.keys['data.tif']}")
    assert told(desk.home) == [damaged]
    del desk.shelf.held["p", made.keys["item.json"]]

    def gone(*_: Any, **__: Any) -> fixity.Fixity:
        raise object_store.StoreUnavailableError("nobody answers")

    monkeypatch.setattr(fixity, "check", gone)
    with pytest.raises(object_store.StoreUnavailableError):
        care.run("reconcile", desk.charge, now=NOON)
    # What was known to be damaged goes on being told.
    assert told(desk.home) == [("missing_object", f"p/{made.keys['item.json']}"), damaged]


def test_a_pointer_that_cannot_be_read_is_wrong_and_written_anew(desk: Desk) -> None:
    desk.publish("one")
    desk.shelf.damaged.add(publication.latest_key("open-water-extent", "one"))
    found = reconciliation.reconcile(desk.stores, now=NOON)
    assert [one.kind for one in found.differences] == ["pointer_wrong"]
    assert reconciliation.reconcile(desk.stores, now=NOON, repair=True).differences == ()


def test_a_restore_lists_what_it_cannot_read_and_enters_the_rest(desk: Desk) -> None:
    desk.back_up()
    _, other, _ = (desk.publish(name) for name in ("one", "other", "third"))
    desk.shelf.damaged |= {publication.feed_key(1), other.keys["MANIFEST.json"]}
    done = desk.restore()
    assert (done.published, done.publish_again, done.unknown) == (1, ("other r1",), (publication.feed_key(1),))


def test_a_replay_raises_when_the_store_is_away_rather_than_call_all_of_it_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.back_up()
    desk.publish("one")
    listed = replay._feed(desk.shelf, "c")
    monkeypatch.setattr(replay, "_feed", lambda *_: listed)
    into = desk.home / "empty.sqlite"
    database.upgrade(f"sqlite:///{into}")
    behind = catalog_store.CatalogStore(database.engine(f"sqlite:///{into}"))
    desk.shelf.away = True
    with pytest.raises(object_store.StoreUnavailableError, match="nobody answers"):
        replay.told_beyond(behind, desk.shelf, "c")


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_nothing_is_restored_beside_what_sqlite_kept_of_another_database(desk: Desk, suffix: str) -> None:
    desk.back_up()
    left = desk.home / f"back.sqlite{suffix}"
    left.write_bytes(b"of another database")
    with pytest.raises(backup.BackupError, match=f"back.sqlite{suffix} .* move it away"):
        desk.restore()
    assert left.read_bytes() == b"of another database"
    assert not (desk.home / "back.sqlite").exists()


def test_what_is_published_while_stores_are_compared_is_not_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.publish("one")
    desk.shelf.put_new("c", "feed/about.json", b"[]")
    # Under a position that is known, and of another stream than what was announced there.
    desk.shelf.put_new("c", "feed-test/" + publication.feed_key(1).removeprefix("feed/"), b"{}")
    before = reconciliation._delivered

    def delivered(catalog: catalog_store.CatalogStore) -> Iterator[catalog_store.Announcement]:
        found = list(before(catalog))
        desk.publish("meanwhile")
        return iter(found)

    monkeypatch.setattr(reconciliation, "_delivered", delivered)
    _, _, differences = reconciliation._feed(desk.stores)
    places = ["c/feed-test/" + publication.feed_key(1).removeprefix("feed/"), "c/feed/about.json"]
    assert [(one.kind, one.place) for one in differences] == [("feed_unknown", place) for place in places]


def test_announcements_and_notices_leap_once_over_what_somebody_may_have_seen(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    for fields in modelled_catalogue.collections():
        catalog.put_collection(stac.build_collection(streams.collection_fields(fields, "operational")))
    shelf, (entry, other, third) = Shelf(), modelled_catalogue.entries(3, seed=3)
    desk = notices.Notices(catalog)
    draft = notices.Draft(
        kind="general", effective_at=NOON, title_zh="通知", title_en="Notice", text_zh="通知", text_en="Notice"
    )
    catalog.publish(entry, published_at=NOON)
    shelf.put_new("c", publication.feed_key(7), b"{}")
    desk.add(draft, now=NOON)
    for _ in range(2):
        replay.replay(catalog, store=shelf, catalogue_bucket="c", record=tmp_path, trusted=(), now=NOON)
    for one in (other, third):
        catalog.publish(one, published_at=NOON)
        desk.add(draft, now=NOON)
    assert [one.sequence for one in catalog.announcements()] == [1, 7 + replay.LEAP + 1, 7 + replay.LEAP + 2]
    sequences = [one.sequence for one in notices.outgoing(catalog.engine, after=0, address=str, limit=9)]
    assert sequences == [1, 1 + replay.LEAP + 1, 1 + replay.LEAP + 2]
