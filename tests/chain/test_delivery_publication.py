"""A package becomes visible whole or not at all, whatever step the world ends at."""

import dataclasses
import datetime as dt
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import pytest

from infra import catalog_store, database, object_store, publication
from infra.embedded import object_store_server
from products import stac
from tests.chain import open_water

pytestmark = pytest.mark.chain

NOON = open_water.NOON
NAME = open_water.NAME
FIELDS = open_water.FIELDS
ASSETS = {
    "data.tif": publication.AssetContent(b"data of the first edition", "image/tiff", ("data",), title="Data"),
    "statistics.json": publication.AssetContent(b"{}", "application/json", ("metadata",)),
}
OTHER = {**ASSETS, "data.tif": dataclasses.replace(ASSETS["data.tif"], body=b"data of the second edition")}

STEPS = [
    "assembled",
    "asset data.tif",
    "asset statistics.json",
    "verified",
    "item.json",
    "MANIFEST.json",
    "inside transaction",
    "transaction",
    "pointer",
    "feed",
    "marked",
]


PUBLISH_AND_DIE = """
import importlib.util, os, pathlib, sys
from infra.embedded import object_store_server
file, home, folder, bucket, step, name = sys.argv[1:]
spec = importlib.util.spec_from_file_location("publication_test", file)
test = sys.modules["publication_test"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
store = object_store_server.running(pathlib.Path(home)).connect()
desk = test.Desk(store, test.open_catalogue(pathlib.Path(folder)), bucket)
desk.publish(item_id=name, on_step=lambda done: os.kill(os.getpid(), 9) if done == step else None)
"""


class Interrupted(BaseException):
    """The world ends here."""


@dataclasses.dataclass
class Desk:
    """Everything a publication needs, with clocks that tick a minute a look."""

    store: object_store.ObjectStore
    catalog: catalog_store.CatalogStore
    bucket: str

    def __post_init__(self) -> None:
        self.ticks = itertools.count()

    @property
    def catalogue_bucket(self) -> str:
        return f"{self.bucket}-cat"

    def clock(self) -> dt.datetime:
        return NOON + dt.timedelta(minutes=next(self.ticks))

    def publish(self, assets: dict = ASSETS, **changed: object) -> publication.Publication:
        arguments = {
            "item_id": NAME,
            "collection": "open-water-extent",
            "sector": "transport",
            "fields": FIELDS,
            "key_prefix": "open-water-extent/v1/2021/09/01",
        }
        return publication.publish_package(
            **(arguments | changed),
            assets=assets,
            store=self.store,
            catalog=self.catalog,
            bucket=self.bucket,
            catalogue_bucket=self.catalogue_bucket,
            clock=self.clock,
        )

    def deliver(self) -> int:
        return publication.deliver_outbox(
            store=self.store, catalog=self.catalog, catalogue_bucket=self.catalogue_bucket, clock=self.clock
        )

    def verify(self) -> publication.VerificationReport:
        return publication.verify_published(self.store, self.catalog, catalogue_bucket=self.catalogue_bucket)

    def keys(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.store.list(self.bucket, prefix)]

    def catalogue(self, prefix: str) -> dict[str, dict]:
        listed = self.store.list(self.catalogue_bucket, prefix)
        return {entry.key: json.loads(self.store.read(self.catalogue_bucket, entry.key)) for entry in listed}


@pytest.fixture
def desk(store: object_store.ObjectStore, bucket: str, tmp_path: Path) -> Desk:
    store.create_bucket(f"{bucket}-cat")
    return Desk(store, open_catalogue(tmp_path), bucket)


def open_catalogue(folder: Path) -> catalog_store.CatalogStore:
    engine = database.engine(f"sqlite:///{folder / 'catalogue.sqlite'}")
    with engine.begin() as connection:
        catalog_store.metadata.create_all(connection)
        catalog_store.create_spatial_index(connection)
    return catalog_store.CatalogStore(engine)


def stop_at(step: str, turn: int = 1) -> Callable[[str], None]:
    passed = itertools.count(1)

    def hook(done: str) -> None:
        if done == step and next(passed) == turn:
            raise Interrupted

    return hook


def assert_consistent(desk: Desk) -> None:
    """Whatever is visible is whole, current once, and announced or about to be."""
    report = publication.verify_published(desk.store, desk.catalog)
    assert report.ok, report.failures
    for item in desk.catalog.search(include_superseded=True):
        for asset in item.assets:
            assert desk.store.digest(asset.bucket, asset.key).sha256 == asset.sha256
    announced = {(row.event, row.revision) for row in desk.catalog.announcements(limit=1000)}
    states = {item.revision: item.state for item in desk.catalog.search(include_superseded=True)}
    assert list(states.values()).count("published") <= 1
    assert announced == {("published", revision) for revision in states} | {
        ("superseded", revision) for revision, state in states.items() if state == "superseded"
    }


def test_a_package_is_published_with_everything_in_its_place(desk: Desk) -> None:
    done = desk.publish()
    assert (done.item_id, done.revision, done.created) == (NAME, 1, True)
    folder = f"open-water-extent/v1/2021/09/01/{NAME}/{done.content_sha256[:8]}"
    assert done.keys == {
        name: f"{folder}/{name}" for name in ("data.tif", "statistics.json", "item.json", "MANIFEST.json")
    }
    assert desk.keys() == sorted(done.keys.values())
    assert desk.store.head(desk.bucket, done.keys["data.tif"]).media_type == "image/tiff"
    manifest = json.loads(desk.store.read(desk.bucket, done.keys["MANIFEST.json"]))
    assert manifest["content_sha256"] == done.content_sha256
    lines = []
    for name, entry in sorted(manifest["files"].items()):
        body = desk.store.read(desk.bucket, done.keys[name])
        assert entry == {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
        lines.append(f"{entry['sha256']}  {name}\n")
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == done.content_sha256
    found = desk.catalog.search(sector="transport", bbox=(106.5, 29.5, 106.6, 29.6))
    assert [item.item_id for item in found] == [NAME]
    stac.validate_item(found[0].item)
    assert desk.verify() == publication.VerificationReport(1, 2, 27, 0, ())


def test_the_pointer_and_the_feed_tell_consumers(desk: Desk) -> None:
    first, second = desk.publish(), desk.publish(OTHER)
    pointers = desk.catalogue("latest/open-water-extent/")
    assert list(pointers) == [f"latest/open-water-extent/{NAME}.json"]
    (pointer,) = pointers.values()
    assert (pointer["revision"], pointer["status"]) == (2, "published")
    assert pointer["item"] == f"s3://{desk.bucket}/{second.keys['item.json']}"
    feed = desk.catalogue("feed/")
    assert list(feed) == [f"feed/{number:012d}.json" for number in (1, 2, 3)]
    assert [(entry["event"], entry["revision"]) for entry in feed.values()] == [
        ("published", 1),
        ("superseded", 1),
        ("published", 2),
    ]
    assert feed["feed/000000000001.json"]["sha256"]["content"] == first.content_sha256
    desk.catalog.withdraw(NAME, reason="wrong datum", withdrawn_at=desk.clock())
    assert desk.deliver() == 1
    (pointer,) = desk.catalogue("latest/open-water-extent/").values()
    assert (pointer["status"], pointer["reason"]) == ("withdrawn", "wrong datum")


def test_the_pointer_of_a_collection_names_its_newest_current_item_whatever_came_last(desk: Desk) -> None:
    desk.publish()
    (newest,) = [desk.catalogue("latest/")[key] for key in desk.catalogue("latest/") if key.count("/") == 1]
    assert (newest["id"], newest["revision"]) == (NAME, 1)
    desk.catalog.withdraw(NAME, reason="wrong datum", withdrawn_at=desk.clock())
    desk.deliver()
    assert desk.catalogue("latest/")["latest/open-water-extent.json"]["status"] == "empty"


def test_publishing_again_changes_no_object_and_no_row(desk: Desk) -> None:
    first = desk.publish()
    before = (desk.keys(), desk.catalogue(""), desk.catalog.counts())
    again = desk.publish()
    assert again == dataclasses.replace(first, created=False)
    assert (desk.keys(), desk.catalogue(""), desk.catalog.counts()) == before


def test_other_metadata_of_the_same_files_is_a_revision_with_its_own_keys(desk: Desk) -> None:
    first = desk.publish()
    second = desk.publish(fields=dataclasses.replace(FIELDS, clear_fraction=0.5))
    assert (second.revision, second.created) == (2, True)
    assert not set(first.keys.values()) & set(second.keys.values())
    assert desk.publish().revision == 3
    assert desk.verify().ok


def test_published_objects_do_not_depend_on_when_or_on_the_revision(desk: Desk, tmp_path: Path) -> None:
    desk.publish(OTHER)
    second = desk.publish()
    bodies = {name: desk.store.read(desk.bucket, key) for name, key in second.keys.items()}
    (tmp_path / "again").mkdir()
    fresh = Desk(desk.store, open_catalogue(tmp_path / "again"), desk.bucket)
    fresh.ticks = itertools.count(100_000)
    first = fresh.publish(key_prefix="elsewhere", deliver=False)
    assert (first.revision, second.revision) == (1, 2)
    assert {name: desk.store.read(desk.bucket, key) for name, key in first.keys.items()} == bodies


@pytest.mark.parametrize("step", STEPS)
def test_interrupted_at_any_step_nothing_is_half_visible_and_a_repetition_completes_it(desk: Desk, step: str) -> None:
    desk.publish()
    with pytest.raises(Interrupted):
        desk.publish(OTHER, on_step=stop_at(step))
    assert_consistent(desk)
    committed = STEPS.index(step) >= STEPS.index("transaction")
    current = desk.catalog.item(NAME)
    assert current is not None
    assert current.revision == (2 if committed else 1)
    done = desk.publish(OTHER)
    assert (done.revision, done.created) == (2, not committed)
    assert_consistent(desk)
    assert desk.verify() == publication.VerificationReport(1, 2, 28, 0, ())
    feed = desk.catalogue("feed/")
    assert [(entry["event"], entry["revision"]) for entry in feed.values()] == [
        ("published", 1),
        ("superseded", 1),
        ("published", 2),
    ]


@pytest.mark.parametrize("step", ["pointer", "feed", "marked"])
def test_a_delivery_interrupted_between_two_announcements_is_finished_by_the_next(desk: Desk, step: str) -> None:
    desk.publish(deliver=False)
    desk.publish(OTHER, deliver=False)
    assert desk.catalogue("") == {}
    with pytest.raises(Interrupted):
        publication.deliver_outbox(
            store=desk.store,
            catalog=desk.catalog,
            catalogue_bucket=desk.catalogue_bucket,
            on_step=stop_at(step, turn=2),
        )
    assert desk.catalog.counts().undelivered > 0
    desk.deliver()
    assert desk.catalog.counts().undelivered == 0
    assert len(desk.catalogue("feed/")) == 3
    assert desk.verify().ok


def test_a_process_killed_while_publishing_leaves_nothing_half_visible(
    desk: Desk, server: object_store_server.RunningServer, tmp_path: Path
) -> None:
    for step in ("asset data.tif", "inside transaction", "transaction", "pointer"):
        name = f"killed-{step.replace(' ', '-').replace('.', '-')}"
        arguments = (__file__, str(server.home), str(tmp_path), desk.bucket, step, name)
        killed = subprocess.run([sys.executable, "-c", PUBLISH_AND_DIE, *arguments], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        report = publication.verify_published(desk.store, desk.catalog)
        assert report.ok, report.failures
        assert (desk.catalog.item(name) is not None) == (step in {"transaction", "pointer"})
        assert desk.publish(item_id=name).revision == 1
        assert desk.verify().ok


def test_publishers_of_different_editions_at_once_make_a_chain_of_revisions(desk: Desk) -> None:
    barrier = threading.Barrier(4)

    def publish(number: int) -> int:
        barrier.wait()
        edition = {"data.tif": dataclasses.replace(ASSETS["data.tif"], body=f"edition {number}".encode())}
        return desk.publish(edition).revision

    with futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(publish, range(4))) == [1, 2, 3, 4]
    assert desk.catalog.counts().states == {"published": 1, "superseded": 3}
    desk.deliver()
    assert_consistent(desk)
    assert desk.verify().ok
    (pointer,) = desk.catalogue("latest/open-water-extent/").values()
    assert pointer["revision"] == 4
    assert len(desk.catalogue("feed/")) == 7


def test_publishers_of_the_same_edition_at_once_make_one_revision(desk: Desk) -> None:
    with futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: desk.publish(), range(4)))
    assert sorted(each.created for each in done) == [False, False, False, True]
    assert {each.revision for each in done} == {1}
    assert desk.verify() == publication.VerificationReport(1, 2, 27, 0, ())


class OvertakenStore:
    """A store whose first pointer is written late: meanwhile another publisher has finished the next edition."""

    def __init__(self, desk: Desk) -> None:
        self.inner, self.overtake = desk.store, iter([lambda: desk.publish(OTHER)])

    def __getattr__(self, attribute: str) -> object:
        return getattr(self.inner, attribute)

    def put_replace(self, *place: str, **content: str) -> object_store.StoredObject:
        for publish in self.overtake:
            publish()
        return self.inner.put_replace(*place, **content)


def test_a_pointer_written_late_does_not_turn_back(desk: Desk) -> None:
    slow = dataclasses.replace(desk, store=OvertakenStore(desk))  # type: ignore[arg-type]
    slow.publish()
    (pointer,) = desk.catalogue("latest/open-water-extent/").values()
    assert pointer["revision"] == 2
    assert desk.verify().ok


class LyingStore:
    """A store that gives back something else than was written to one key."""

    def __init__(self, inner: object_store.ObjectStore, name: str) -> None:
        self.inner, self.name = inner, name

    def __getattr__(self, attribute: str) -> object:
        return getattr(self.inner, attribute)

    def digest(self, bucket: str, key: str) -> object_store.ContentDigest:
        found = self.inner.digest(bucket, key)
        return dataclasses.replace(found, sha256="0" * 64) if key.endswith(self.name) else found


@pytest.mark.parametrize("name", ["data.tif", "item.json", "MANIFEST.json"])
def test_what_does_not_come_back_as_written_never_becomes_visible(desk: Desk, name: str) -> None:
    liar = dataclasses.replace(desk, store=LyingStore(desk.store, name))  # type: ignore[arg-type]
    with pytest.raises(publication.VerificationError, match=name):
        liar.publish()
    assert desk.catalog.item(NAME) is None
    assert desk.publish().created


def test_an_invalid_item_writes_nothing(desk: Desk) -> None:
    with pytest.raises(stac.StacError, match="cqeo:sector"):
        desk.publish(sector="astronomy")
    with pytest.raises(publication.PublicationError, match="without assets"):
        desk.publish({})
    for name in ("a/b", "item.json", "MANIFEST.json", "..", ""):
        with pytest.raises(publication.PublicationError, match="cannot be the name"):
            desk.publish({name: ASSETS["data.tif"]})
    assert desk.keys() == []


def test_content_that_was_withdrawn_stays_withdrawn(desk: Desk) -> None:
    desk.publish()
    desk.catalog.withdraw(NAME, reason="wrong datum", withdrawn_at=desk.clock())
    with pytest.raises(catalog_store.ContentWithdrawnError, match="wrong datum"):
        desk.publish()
    assert desk.catalog.search() == ()


def faults(desk: Desk, key: str) -> Iterator[tuple[str, bytes | None]]:
    body = desk.store.read(desk.bucket, key)
    yield "is missing", None
    yield "octets, not" if not key.endswith("MANIFEST.json") else "not the manifest", body + b" "
    flipped = bytes([body[0] ^ 1]) + body[1:]
    yield "SHA-256" if not key.endswith("MANIFEST.json") else "not the manifest", flipped


@pytest.mark.parametrize("name", ["data.tif", "statistics.json", "item.json", "MANIFEST.json"])
def test_verification_catches_every_planted_fault(desk: Desk, name: str) -> None:
    key = desk.publish().keys[name]
    good = desk.store.read(desk.bucket, key)
    for reason, body in faults(desk, key):
        if body is None:
            desk.store._client.delete_object(Bucket=desk.bucket, Key=key)
        else:
            desk.store.put_replace(desk.bucket, key, body, media_type="image/tiff")
        report = desk.verify()
        assert [(failure.item_id, failure.name) for failure in report.failures] == [(NAME, name)]
        assert reason in report.failures[0].reason
    desk.store.put_replace(desk.bucket, key, good, media_type="image/tiff")
    assert desk.verify().ok


def test_verification_catches_a_stale_pointer_and_a_tampered_record(desk: Desk) -> None:
    desk.publish()
    desk.publish(OTHER, deliver=False)
    report = desk.verify()
    assert [failure.name for failure in report.failures] == ["latest"]
    assert report.undelivered == 2
    desk.deliver()
    with desk.catalog.engine.begin() as connection:
        connection.execute(catalog_store.asset_table.update().values(sha256="0" * 64))
    found = [failure.reason for failure in desk.verify().failures]
    assert len(found) == 4  # of both assets the object and the item's declaration contradict the record
    with desk.catalog.engine.begin() as connection:
        connection.execute(catalog_store.asset_table.delete())
    assert any("different assets" in failure.reason for failure in desk.verify().failures)


def test_a_large_asset_goes_from_its_file(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "large.tif"
    file.write_bytes(os.urandom(1024) * (17 * 1024))
    done = desk.publish({"data.tif": dataclasses.replace(ASSETS["data.tif"], body=file)})
    assert desk.store.head(desk.bucket, done.keys["data.tif"]).size == 17 * 1024 * 1024
    assert desk.verify().ok


def test_a_collection_is_written_valid_or_not_at_all(desk: Desk) -> None:
    fields = stac.CollectionFields(
        collection_id="open-water-extent",
        product_code="open-water-extent",
        sector="transport",
        title="Open water extent",
        title_zh="开阔水面范围",
        description="d",
        description_zh="描述",
    )
    written = publication.publish_collection(fields, store=desk.store, catalogue_bucket=desk.catalogue_bucket)
    wrong = dataclasses.replace(fields, sector="astronomy")
    with pytest.raises(stac.StacError):
        publication.publish_collection(wrong, store=desk.store, catalogue_bucket=desk.catalogue_bucket)
    assert desk.catalogue("collections/") == {"collections/open-water-extent.json": written}
    desk.publish()
    item = desk.catalog.item(NAME)
    assert item is not None
    (link,) = [link for link in item.document["links"] if link["rel"] == "collection"]
    assert link["href"] == f"s3://{desk.catalogue_bucket}/collections/open-water-extent.json"
