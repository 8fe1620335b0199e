"""The life of what is published: withdrawn, expired, reconciled, backed up and exported, on the real store."""

import dataclasses
import datetime as dt
import functools
import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pystac
import pytest

from infra import catalog_store, database, deletion_plan, object_store, publication, signing
from infra.delivery import (
    audit,
    backup,
    download,
    entitlement,
    export,
    fixity,
    identity,
    item_search,
    reconciliation,
    replay,
    retention,
    retention_rules,
    store_access,
    withdrawal,
)
from products import stac
from tests.chain import open_water

pytestmark = pytest.mark.chain

NOON = open_water.NOON
OCTOBER = NOON + dt.timedelta(days=40)
LATER = NOON + dt.timedelta(days=100)
NAME = open_water.NAME
FIELDS = open_water.FIELDS
AGENCY = entitlement.Principal(
    agency="cq-water",
    key_id="k1",
    sectors=frozenset({"transport"}),
    districts=None,
    scopes=frozenset({"search", "download", "feed"}),
)


@dataclasses.dataclass
class Desk:
    store: object_store.ObjectStore
    home: Path
    bucket: str
    file: str = "terralimb.sqlite"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.home / self.file}"

    @property
    def catalog(self) -> catalog_store.CatalogStore:
        return catalog_store.CatalogStore(database.engine(self.url))

    @property
    def cat(self) -> str:
        return f"{self.bucket}-cat"

    @property
    def sign(self) -> publication.Signer:
        return functools.partial(signing.sign, self.home)

    @property
    def stores(self) -> reconciliation.Stores:
        return reconciliation.Stores(self.catalog, self.store, (self.bucket,), self.cat, signer=self.sign)

    def publish(
        self, body: bytes, *, item_id: str = NAME, at: dt.datetime = NOON, fields: stac.ItemFields = FIELDS
    ) -> publication.Publication:
        return publication.publish_package(
            item_id=item_id,
            collection="open-water-extent",
            sector="transport",
            fields=fields,
            assets={"data.tif": publication.AssetContent(body, "image/tiff", ("data",))},
            store=self.store,
            catalog=self.catalog,
            bucket=self.bucket,
            key_prefix="open-water-extent/v1",
            catalogue_bucket=self.cat,
            signer=self.sign,
            clock=lambda: at,
        )

    def collection(self) -> dict:
        fields = stac.CollectionFields(
            collection_id="open-water-extent",
            product_code="open-water-extent",
            title="Open water extent",
            title_zh="开阔水面范围",
            description="Water",
            description_zh="水",
            sector="transport",
        )
        return publication.publish_collection(fields, store=self.store, catalogue_bucket=self.cat)

    def plan(self, now: dt.datetime = LATER) -> retention.SignedPlan:
        rules = retention_rules.read(retention_rules.SHIPPED)
        return retention.plan(self.catalog, rules, now=now, sign=self.sign)

    def execute(self, body: bytes, signature: bytes, now: dt.datetime = LATER) -> retention.Execution:
        return retention.execute(
            body, signature, home=self.home, store=self.store, catalog=self.catalog, catalogue_bucket=self.cat, now=now
        )

    def link(self, revision: int, now: dt.datetime = NOON) -> download.Link:
        search, record = item_search.ItemSearch(self.catalog), audit.AuditLog(self.home / "audit")
        return download.Downloads(search, self.store, record).link(
            AGENCY, item_id=NAME, revision=revision, name="data.tif", now=now, request_id="r1", client="127.0.0.1"
        )

    def withdraw(self, reason: str = "wrong datum", revision: int | None = None) -> dict:
        return withdrawal.withdraw(
            NAME,
            revision,
            reason=reason,
            home=self.home,
            store=self.store,
            catalog=self.catalog,
            catalogue_bucket=self.cat,
            now=NOON,
        )[1]

    def restore(self, name: str = "restored.sqlite", **given: Any) -> tuple["Desk", backup.Restoration]:
        """Bring the newest backup back under another name, with what happened since."""
        done = backup.restore(
            self.home / name,
            store=self.store,
            catalogue_bucket=self.cat,
            record=self.home / "audit",
            now=NOON,
            **{"trusted": signing.public_keys(self.home), **given},
        )
        return Desk(self.store, self.home, self.bucket, name), done

    def staging(self) -> object_store.ObjectStore:
        """The same store to somebody who may delete, as a disk that fails does."""
        return object_store.ObjectStore(
            endpoint=self.store.endpoint,
            credentials=self.store._connection["credentials"],  # type: ignore[arg-type]
            staging_buckets={self.bucket, self.cat},
        )

    def back_up(self) -> dict:
        return backup.back_up(self.url, store=self.store, catalogue_bucket=self.cat, sign=self.sign, now=NOON)

    def pointer(self, item_id: str | None = None) -> dict:
        folder = "open-water-extent"
        key = publication.collection_latest_key(folder) if item_id is None else publication.latest_key(folder, item_id)
        return json.loads(self.store.read(self.cat, key))

    def differences(self, now: dt.datetime | None = None) -> list[str]:
        found = reconciliation.reconcile(self.stores, now=now or dt.datetime.now(dt.UTC))
        return sorted(one.kind for one in found.differences)


@pytest.fixture
def desk(store: object_store.ObjectStore, bucket: str, tmp_path: Path) -> Desk:
    store.create_bucket(f"{bucket}-cat")
    made = Desk(store, tmp_path, bucket)
    database.upgrade(made.url)
    signing.ensure(tmp_path)
    return made


def test_who_was_given_a_link_is_listed_and_the_feed_tells_of_the_withdrawal(desk: Desk) -> None:
    desk.publish(b"first")
    desk.link(1)
    desk.link(1, now=NOON + dt.timedelta(minutes=1))
    told = desk.withdraw()
    listed = desk.home / "withdrawals" / f"{NAME}-r1.json"
    assert json.loads(listed.read_text()) == told
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    (recipient,) = told["recipients"]
    assert (recipient["agency"], recipient["key_id"], recipient["links"]) == ("cq-water", "k1", 2)
    assert recipient["open_until"] > NOON.isoformat()
    assert json.loads(desk.store.read(desk.cat, publication.feed_key(2)))["event"] == "withdrawn"
    with pytest.raises(download.ItemWithdrawnError, match="wrong datum"):
        desk.link(1)
    assert desk.withdraw("another reason")["reason"] == "wrong datum"
    with pytest.raises(ValueError, match="one line"):
        desk.withdraw("two\nlines")


def test_a_superseded_revision_is_taken_back_by_its_number(desk: Desk) -> None:
    desk.publish(b"first")
    desk.link(1)
    desk.publish(b"second")
    desk.link(2)
    for _ in range(2):
        told = desk.withdraw("wrong datum", 1)
    assert (told["revision"], [one["links"] for one in told["recipients"]]) == (1, [1])
    with pytest.raises(download.ItemWithdrawnError, match="wrong datum"):
        desk.link(1)
    assert desk.link(2).url
    pointer = json.loads(desk.store.read(desk.cat, publication.latest_key("open-water-extent", NAME)))
    assert (pointer["revision"], pointer["status"]) == (2, "published")
    assert desk.differences() == []
    with pytest.raises(catalog_store.UnknownItemError, match="revision 7"):
        desk.withdraw("wrong datum", 7)


def test_who_had_a_link_to_the_same_content_under_another_number_is_told_as_well(desk: Desk) -> None:
    for body in (b"first", b"second", b"first"):
        desk.publish(body)
    desk.link(1)
    told = desk.withdraw("wrong datum")
    assert (told["revision"], told["recipients"]) == (3, [])
    other = json.loads((desk.home / "withdrawals" / f"{NAME}-r1.json").read_text())
    assert (other["revision"], [one["links"] for one in other["recipients"]]) == (1, [1])
    for revision in (1, 3):
        with pytest.raises(download.ItemWithdrawnError, match="wrong datum"):
            desk.link(revision)
    assert desk.link(2).url


def test_a_superseded_revision_goes_by_its_plan_and_leaves_a_tombstone(desk: Desk) -> None:
    first, second = desk.publish(b"first"), desk.publish(b"second")
    assert desk.plan(NOON + dt.timedelta(days=89)).plan.revisions == ()
    made = desk.plan()
    assert [(one.item_id, one.revision, len(one.objects)) for one in made.plan.revisions] == [(NAME, 1, 2)]
    assert desk.store.exists(desk.bucket, first.keys["data.tif"])
    done = desk.execute(made.body, made.signature)
    assert (done.expired, done.deleted, done.kept) == (1, 2, ())
    assert not desk.store.exists(desk.bucket, first.keys["data.tif"])
    assert desk.store.exists(desk.bucket, first.keys["MANIFEST.json"])
    assert desk.store.read(desk.bucket, second.keys["data.tif"]) == b"second"
    kept = desk.catalog.item(NAME, 1)
    assert kept is not None
    assert (kept.state, kept.assets[0].size, kept.published_at) == ("expired", 5, NOON)
    with pytest.raises(download.ItemWithdrawnError, match="kept 90 days"):
        desk.link(1)
    assert desk.differences() == []
    assert desk.plan().plan.revisions == ()
    assert desk.execute(made.body, made.signature).deleted == 0


def test_when_the_newest_item_expires_the_pointer_of_its_collection_no_longer_names_it(desk: Desk) -> None:
    desk.publish(b"first")
    short = {"name": "short", "current_days": 1, "superseded_days": 1, "withdrawn_days": 1}
    (desk.home / "rules.yaml").write_text(
        json.dumps({"version": "1", "plan_valid_days": 7, "classes": [], "default": short})
    )
    made = retention.plan(desk.catalog, retention_rules.read(desk.home / "rules.yaml"), now=LATER, sign=desk.sign)
    assert desk.execute(made.body, made.signature).expired == 1
    latest = json.loads(desk.store.read(desk.cat, publication.collection_latest_key("open-water-extent")))
    assert latest == {"collection": "open-water-extent", "id": None, "status": "empty"}


def test_a_withdrawal_killed_after_its_transaction_is_recorded_by_the_next_and_once_only(desk: Desk) -> None:
    desk.publish(b"first")
    desk.catalog.withdraw(NAME, reason="wrong datum", withdrawn_at=NOON)
    for _ in range(2):
        desk.withdraw()
    recorded = [line.entry for line in audit.lines(desk.home / "audit") if line.entry.event == "withdraw"]
    assert [(entry.item_id, entry.revision) for entry in recorded] == [(NAME, 1)]


def test_a_plan_that_is_forged_expired_or_for_something_else_deletes_nothing(desk: Desk) -> None:
    first = desk.publish(b"first")
    desk.publish(b"second")
    made = desk.plan()
    other = desk.sign(made.body, "backup 1")
    faults = [
        (made.body.replace(b'"revision": 1', b'"revision": 2'), made.signature, LATER),
        (made.body, other, LATER),
        (made.body, made.signature, LATER + dt.timedelta(days=7)),
        (made.body, made.signature, LATER - dt.timedelta(seconds=1)),
    ]
    for body, signature, now in faults:
        with pytest.raises(deletion_plan.PlanError):
            desk.execute(body, signature, now)
    warrant = deletion_plan.Warrant(made.body, made.signature, signing.public_keys(desk.home))
    with pytest.raises(object_store.DeletionRefusedError, match="no plan"):
        desk.store.delete_planned(desk.bucket, first.keys["MANIFEST.json"], warrant=warrant, now=LATER)
    with pytest.raises(object_store.DeletionRefusedError):
        desk.store.delete(desk.bucket, first.keys["data.tif"])
    desk.store.put_replace(desk.bucket, first.keys["data.tif"], b"other", media_type="image/tiff")
    with pytest.raises(object_store.DeletionRefusedError, match="not the one"):
        desk.store.delete_planned(desk.bucket, first.keys["data.tif"], warrant=warrant, now=LATER)


def test_what_the_catalogue_no_longer_agrees_to_stays(desk: Desk) -> None:
    first = desk.publish(b"first")
    desk.publish(b"second")
    made = desk.plan()
    # The first content comes back as revision 3 under the very keys the plan lists.
    third = desk.publish(b"first", at=LATER)
    assert third.keys == first.keys
    done = desk.execute(made.body, made.signature)
    assert (done.expired, done.deleted, len(done.kept)) == (1, 0, 2)
    assert publication.verify_published(desk.store, desk.catalog, catalogue_bucket=desk.cat).ok


def test_nothing_of_a_held_item_goes_even_when_the_hold_is_younger_than_the_plan(desk: Desk) -> None:
    first = desk.publish(b"first")
    desk.publish(b"second")
    made = desk.plan()
    custody = catalog_store.Custody(desk.catalog)
    assert custody.hold(NAME, reason="inquiry", placed_at=LATER)
    assert desk.execute(made.body, made.signature).expired == 0
    assert desk.store.exists(desk.bucket, first.keys["data.tif"])
    assert (desk.plan().plan.revisions, desk.plan().plan.held) == ((), (NAME,))
    assert custody.release(NAME)
    assert desk.execute(made.body, made.signature).deleted == 2


def test_killed_between_tombstone_and_deletion_the_next_plan_goes_on(desk: Desk) -> None:
    first = desk.publish(b"first")
    desk.publish(b"second")
    (listed,) = desk.plan().plan.revisions
    catalog_store.Custody(desk.catalog).expire(
        NAME, 1, state="superseded", reason=listed.reason, plan_sha256="0" * 64, at=LATER
    )
    again = desk.plan()
    assert [one.state for one in again.plan.revisions] == ["expired"]
    assert desk.execute(again.body, again.signature).deleted == 2
    assert not desk.store.exists(desk.bucket, first.keys["data.tif"])


def test_withdrawn_content_stays_refused_after_its_files_are_gone_and_expired_content_may_return(desk: Desk) -> None:
    desk.publish(b"first")
    desk.publish(b"second")
    desk.withdraw()
    made = desk.plan()
    assert desk.execute(made.body, made.signature).expired == 2
    with pytest.raises(catalog_store.ContentWithdrawnError, match="wrong datum"):
        desk.publish(b"second", at=LATER)
    assert desk.publish(b"first", at=LATER).revision == 3


def test_a_publication_whose_objects_were_removed_before_its_transaction_is_not_visible(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = desk.publish(b"first")
    desk.publish(b"second")
    made = desk.plan()
    write = publication._write_signature

    def late(*given: object) -> None:
        write(*given)  # type: ignore[arg-type]
        desk.execute(made.body, made.signature)

    monkeypatch.setattr(publication, "_write_signature", late)
    with pytest.raises(publication.VerificationError, match="removed meanwhile"):
        desk.publish(b"first", at=LATER)
    monkeypatch.undo()
    assert desk.publish(b"first", at=LATER).revision == 3
    assert desk.store.read(desk.bucket, first.keys["data.tif"]) == b"first"


def test_every_kind_of_difference_is_found_and_repair_deletes_nothing(desk: Desk) -> None:
    desk.collection()
    done = desk.publish(b"first")
    desk.publish(b"other", item_id="second-item")
    assert desk.differences() == ["collection_missing"]
    desk.store.put_new(desk.bucket, "lost/data.tif", b"lost", media_type="image/tiff")
    for key in (
        publication.latest_key("open-water-extent", NAME),
        publication.collection_latest_key("open-water-extent"),
    ):
        desk.store.put_replace(desk.cat, key, b"{}", media_type="text/plain")
    staging = desk.staging()
    staging.delete(desk.cat, publication.feed_key(1))
    staging.delete(desk.bucket, done.keys["data.tif"])
    signature = f"{done.keys['MANIFEST.json']}{publication.SIGNATURE_SUFFIX}"
    staging.delete(desk.bucket, signature)
    desk.store._client.create_multipart_upload(Bucket=desk.bucket, Key="killed/data.tif")
    desk.store.put_new(desk.cat, publication.feed_key(99), b"{}", media_type="text/plain")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=8)
    repairable = [
        "collection_missing", "feed_missing", "latest_wrong", "pointer_wrong", "signature_missing", "unfinished_upload",
    ]  # fmt: skip
    assert desk.differences(soon) == sorted([*repairable, "feed_unknown", "missing_object", "orphan_object"])
    assert not {"orphan_object", "unfinished_upload"} & set(desk.differences())
    before = {found.key for bucket in (desk.bucket, desk.cat) for found in desk.store.list(bucket)}
    report = reconciliation.reconcile(desk.stores, now=soon, repair=True)
    assert sorted(one.kind for one in report.repaired) == repairable
    assert sorted(one.kind for one in report.differences) == ["feed_unknown", "missing_object", "orphan_object"]
    assert before <= {found.key for bucket in (desk.bucket, desk.cat) for found in desk.store.list(bucket)}
    assert (report.database, report.store, report.feed, report.announcements) == (6, 5, 2, 2)
    signed = desk.store.read(desk.bucket, signature)
    manifest = desk.store.read(desk.bucket, done.keys["MANIFEST.json"])
    assert signing.verify(signing.public_keys(desk.home), manifest, signed) == f"{NAME} {done.content_sha256}"
    assert list(desk.store.unfinished_uploads(desk.bucket)) == []
    assert reconciliation.last_counts(desk.home) == "not measured"
    reconciliation.write_report(desk.home, report)
    assert reconciliation.last_counts(desk.home)["differences"] == 3


def test_damage_that_keeps_the_length_is_found_by_reading(desk: Desk) -> None:
    done = desk.publish(b"first")
    desk.publish(b"second")
    keys = signing.public_keys(desk.home)
    check = functools.partial(fixity.check, desk.stores, trusted=keys)
    # Of each revision asset, item and manifest; the first is superseded and still served.
    sound = check(fixity.objects(desk.stores))
    assert (sound.read, sound.unread, sound.differences) == (6, 0, ())
    assert sound.size > len(b"first") + len(b"second")
    told: list[int] = []
    check(fixity.objects(desk.stores), advance=told.append)
    assert sum(told) == len(b"first") + len(b"second")
    damaged = {
        "data.tif": lambda body: body.replace(b"first", b"fjrst"),
        "item.json": lambda body: body.replace(b"Open water", b"Open watar"),
    }
    for name, damage in damaged.items():
        body = desk.store.read(desk.bucket, done.keys[name])
        assert damage(body) != body
        desk.store.put_replace(desk.bucket, done.keys[name], damage(body), media_type="image/tiff")
    assert desk.differences() == []
    found = check(fixity.objects(desk.stores)).differences
    assert {(one.kind, one.place) for one in found} == {
        ("content_wrong", f"{desk.bucket}/{done.keys[name]}") for name in damaged
    }
    assert check(fixity.at(desk.stores, {found[0].place})).differences == found[:1]
    assert fixity.at(desk.stores, frozenset()) == []


def test_a_manifest_or_its_signature_that_is_other_is_found_by_reading(desk: Desk) -> None:
    first, other = desk.publish(b"first"), desk.publish(b"other", item_id="other-item")
    manifest = other.keys["MANIFEST.json"]
    signature = f"{first.keys['MANIFEST.json']}{publication.SIGNATURE_SUFFIX}"
    forged = desk.sign(desk.store.read(desk.bucket, first.keys["MANIFEST.json"]), f"other-item {first.content_sha256}")
    desk.store.put_replace(desk.bucket, signature, forged, media_type="text/plain")
    desk.store.put_replace(desk.bucket, manifest, b"{}", media_type="application/json")
    check = functools.partial(fixity.check, desk.stores, fixity.objects(desk.stores))
    keys = signing.public_keys(desk.home)
    found = {one.place: one.detail for one in check(trusted=keys).differences}
    assert set(found) == {f"{desk.bucket}/{signature}", f"{desk.bucket}/{manifest}"}
    assert "is for 'other-item" in found[f"{desk.bucket}/{signature}"]
    # By a key nobody knows nothing holds; by one that was revoked nothing is judged.
    assert any("not known" in one.detail for one in check(trusted=()).differences)
    signing.revoke(desk.home, keys[0].id, reason="stolen")
    revoked = check(trusted=signing.public_keys(desk.home)).differences
    assert [one.place for one in revoked] == [f"{desk.bucket}/{manifest}"]


def test_within_a_round_of_daily_shares_every_object_is_read(desk: Desk) -> None:
    for number in range(20):
        desk.publish(b"x%d" % number, item_id=f"item-{number}")
    days = [NOON + dt.timedelta(days=number) for number in range(fixity.ROUND_DAYS)]
    shares = [fixity.share(desk.stores, now=now) for now in days]
    keys = [one.key for share in shares for one in share]
    assert sorted(keys) == sorted(one.key for one in fixity.objects(desk.stores))
    assert max(len(share) for share in shares) < 12
    due, (first, *_) = next((day, share) for day, share in zip(days, shares, strict=True) if share)
    again = fixity.share(desk.stores, now=due + dt.timedelta(days=1), also={f"{desk.bucket}/{first.key}"})
    assert again[0] == first
    stopped = fixity.check(desk.stores, fixity.objects(desk.stores), trusted=(), seconds=-1.0)
    assert (stopped.read, stopped.unread) == (0, 60)


def test_a_manifest_that_is_not_what_was_published_is_never_signed(desk: Desk) -> None:
    done = desk.publish(b"first")
    staging = desk.staging()
    key = done.keys["MANIFEST.json"]
    for name in (key, f"{key}{publication.SIGNATURE_SUFFIX}"):
        staging.delete(desk.bucket, name)
    desk.store.put_new(desk.bucket, key, b"{}", media_type="application/json")
    report = reconciliation.reconcile(desk.stores, now=NOON, repair=True)
    assert "signature_missing" in [one.kind for one in report.differences]
    assert not desk.store.exists(desk.bucket, f"{key}{publication.SIGNATURE_SUFFIX}")


def test_the_drill_publish_back_up_destroy_restore_reconcile_search(desk: Desk) -> None:
    desk.publish(b"first")
    desk.publish(b"second")
    desk.publish(b"third", item_id="other-item")
    found = desk.catalog.search(bbox=(106.5, 29.5, 106.6, 29.6), include_superseded=True)
    made = desk.back_up()
    for path in desk.home.glob("terralimb.sqlite*"):
        path.unlink()
    left = desk.home / ".restored.sqlite.part-wal"  # of a restore that was killed
    left.write_bytes(b"of another database")
    back, done = desk.restore()
    assert done.manifest == made
    assert not left.exists()
    assert (desk.home / "restored.sqlite").stat().st_mode & 0o077 == 0
    assert back.differences() == []
    assert back.catalog.search(bbox=(106.5, 29.5, 106.6, 29.6), include_superseded=True) == found
    with pytest.raises(backup.BackupError, match="never overwrites"):
        desk.restore()
    with pytest.raises(backup.BackupError, match="signed"):
        desk.restore("x", trusted=())
    copy = f"backup/{made['at']}/terralimb.sqlite"
    desk.store.put_replace(desk.cat, copy, b"damaged", media_type="text/plain")
    with pytest.raises(backup.BackupError, match="vouches"):
        desk.restore("x")
    assert not [path.name for path in desk.home.iterdir() if path.name.startswith(".x") or path.name.startswith("x")]


def test_what_was_withdrawn_or_taken_back_after_the_backup_stays_so_when_it_is_restored(desk: Desk) -> None:
    now = dt.datetime.now(dt.UTC)
    engine, record = database.engine(desk.url), audit.AuditLog(desk.home / "audit")
    desk.publish(b"first")
    desk.publish(b"other", item_id="other-item")
    limits = {"agency": "cq-water", "sectors": ["transport"], "districts": None}
    names = [
        identity.create(engine, scopes=("feed",), expires_at=now + dt.timedelta(days=9), **limits).split("_")[1]
        for _ in range(2)
    ]
    until, box = now + dt.timedelta(days=9), store_access.mailbox_of(**limits)
    credentials = store_access.create(engine, box, expires_at=until, now=now).access_key
    desk.back_up()
    desk.withdraw()
    identity.revoke(engine, names[0])
    record.record(audit.Entry(event="key_revoke", decision="allowed", key_id=names[0]))
    record.record(audit.Entry(event="key_revoke", decision="refused", key_id=names[1]))
    record.record(audit.Entry(event="store_credentials_revoke", decision="allowed", key_id=credentials))
    withdrawn = desk.catalog.item(NAME)
    told = [(one.sequence, one.event, one.payload, one.created_at) for one in desk.catalog.announcements()]
    back, done = desk.restore()
    assert done.replayed == replay.Replay(withdrawn=1, keys_revoked=1, store_credentials_revoked=1)
    assert back.catalog.item(NAME) == withdrawn
    assert [(one.sequence, one.event, one.payload, one.created_at) for one in back.catalog.announcements()] == told
    assert back.catalog.undelivered() == ()
    states = {key.key_id: key.revoked_at is not None for key in identity.listing(database.engine(back.url))}
    assert states == {names[0]: True, names[1]: False}
    assert [one.state(now) for one in store_access.listing(database.engine(back.url))] == ["revoked"]
    assert back.differences() == []
    reconciliation.reconcile(back.stores, now=now, repair=True)
    assert (desk.pointer(NAME)["status"], desk.pointer()["id"]) == ("withdrawn", "other-item")
    with pytest.raises(catalog_store.ContentWithdrawnError, match="wrong datum"):
        back.publish(b"first")


def test_what_was_published_after_the_backup_is_entered_again_under_its_own_positions(desk: Desk) -> None:
    desk.publish(b"first")
    desk.back_up()
    desk.publish(b"second", at=NOON + dt.timedelta(hours=1))
    desk.publish(b"new", item_id="new-item")
    desk.withdraw("wrong clock", 1)
    desk.withdraw("wrong datum", 2)
    desk.publish(b"third", at=NOON + dt.timedelta(hours=2))
    back, done = desk.restore()
    assert done.replayed == replay.Replay(withdrawn=2, published=3)
    assert back.differences() == []
    for name, revision in ((NAME, 1), (NAME, 2), (NAME, 3), ("new-item", 1)):
        assert back.catalog.item(name, revision) == desk.catalog.item(name, revision)
    told, before = back.catalog.announcements(), desk.catalog.announcements()
    assert [(one.sequence, one.event, one.payload) for one in told] == [
        (one.sequence, one.event, one.payload) for one in before
    ]
    assert publication.verify_published(desk.store, back.catalog, catalogue_bucket=desk.cat).ok
    back.publish(b"newest", item_id="newest-item")
    assert back.catalog.announcements()[-1].sequence == before[-1].sequence + replay.LEAP + 1


def test_a_publication_that_is_not_signed_or_has_lost_a_file_is_not_entered_again_and_said_so(desk: Desk) -> None:
    desk.publish(b"first")
    desk.back_up()
    desk.publish(b"second")
    lost = desk.publish(b"lost", item_id="lost-item")
    forged = desk.publish(b"forged", item_id="forged-item")
    staging = desk.staging()
    staging.delete(desk.bucket, lost.keys["data.tif"])
    key = f"{forged.keys['MANIFEST.json']}{publication.SIGNATURE_SUFFIX}"
    other = desk.sign(desk.store.read(desk.bucket, forged.keys["MANIFEST.json"]), f"{NAME} {forged.content_sha256}")
    desk.store.put_replace(desk.bucket, key, other, media_type="text/plain")
    desk.store.put_new(desk.cat, publication.feed_key(99), b"{}", media_type="text/plain")
    desk.store.put_new(desk.cat, "feed/about.json", b"[]", media_type="text/plain")
    back, done = desk.restore()
    assert (done.replayed.published, done.replayed.publish_again) == (1, ("lost-item r1", "forged-item r1"))
    assert done.replayed.unknown == ("feed/about.json", publication.feed_key(99))
    assert (back.catalog.item("lost-item"), back.catalog.item("forged-item")) == (None, None)
    back.publish(b"lost", item_id="lost-item")
    assert back.catalog.announcements()[-1].sequence == 99 + replay.LEAP + 1


def test_where_the_successor_is_lost_the_revision_before_stays_current(desk: Desk) -> None:
    desk.publish(b"first")
    desk.back_up()
    lost = desk.publish(b"second")
    desk.staging().delete(desk.bucket, lost.keys["data.tif"])
    back, done = desk.restore()
    assert done.replayed.publish_again == (f"{NAME} r2",)
    assert done.replayed.unknown == (publication.feed_key(2),)
    found = back.catalog.item(NAME)
    assert found is not None
    assert (found.revision, found.state) == (1, "published")


def test_repair_turns_no_pointer_back_to_what_the_feed_says_was_withdrawn(desk: Desk) -> None:
    desk.publish(b"first")
    desk.publish(b"other", item_id="other-item")
    with sqlite3.connect(desk.home / "terralimb.sqlite") as connection:
        connection.execute("VACUUM INTO ?", (str(desk.home / "copied.sqlite"),))
    connection.close()
    for name in (NAME, "other-item"):
        desk.catalog.withdraw(name, reason="wrong datum", withdrawn_at=NOON)
    publication.deliver_outbox(store=desk.store, catalog=desk.catalog, catalogue_bucket=desk.cat)
    # Put in place by hand, past `restore`: the database has never heard of the withdrawals.
    back = Desk(desk.store, desk.home, desk.bucket, "copied.sqlite")
    report = reconciliation.reconcile(back.stores, now=NOON, repair=True)
    assert (desk.pointer(NAME)["status"], desk.pointer("other-item")["status"]) == ("withdrawn", "withdrawn")
    assert desk.pointer()["status"] == "empty"
    assert {one.kind for one in report.differences} == {"feed_unknown", "pointer_wrong", "latest_wrong"}
    assert any(f"withdrawn {NAME} r1" in one.detail for one in report.differences)
    done = replay.replay(
        back.catalog, store=desk.store, catalogue_bucket=desk.cat, record=desk.home / "audit", trusted=(), now=NOON
    )
    assert (done.withdrawn, done.unknown) == (2, ())
    assert done.record is not None
    assert back.differences() == []


def test_after_a_restore_no_position_of_the_feed_is_used_twice(desk: Desk) -> None:
    desk.publish(b"first")
    desk.back_up()
    lost = desk.publish(b"lost", item_id="lost-item")
    desk.staging().delete(desk.bucket, lost.keys["item.json"])
    back, _ = desk.restore()
    assert back.differences() == ["feed_unknown", "latest_wrong"]  # what is lost was the newest
    back.publish(b"new", item_id="new-item")
    assert [one.sequence for one in back.catalog.announcements()] == [1, 2 + replay.LEAP + 1]


def test_exports_hold_what_is_published_and_open_offline(desk: Desk, tmp_path: Path) -> None:
    rustac = pytest.importorskip("rustac")
    desk.catalog.put_collection(desk.collection())
    desk.publish(b"first")
    desk.publish(b"second", item_id="second-item")
    run = functools.partial(export.export, desk.catalog, desk.store, catalogue_bucket=desk.cat)
    assert (run().items, run().written) == (2, 0)
    folder = tmp_path / "copy"
    for found in desk.store.list(desk.cat, "mirror/"):
        path = folder / found.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(desk.store.read(desk.cat, found.key))
    opened = pystac.Catalog.from_file(str(folder / "mirror" / "catalog.json"))
    assert sorted(one.id for one in opened.get_items(recursive=True)) == [NAME, "second-item"]
    for one in opened.get_items(recursive=True):
        stac.validate_item(one.to_dict(transform_hrefs=False))
        assert one.assets["data.tif"].href.startswith(f"s3://{desk.bucket}/")
        assert one.get_collection().id == "open-water-extent"  # type: ignore[union-attr]
    key = "export/open-water-extent/2021-09.parquet"
    (tmp_path / "items.parquet").write_bytes(desk.store.read(desk.cat, key))
    read = rustac.read_sync(str(tmp_path / "items.parquet"))["features"]
    assert sorted(one["id"] for one in read) == [NAME, "second-item"]


def test_what_is_gone_leaves_the_exports_and_a_document_in_its_place_says_so(desk: Desk, tmp_path: Path) -> None:
    rustac = pytest.importorskip("rustac")
    desk.catalog.put_collection(desk.collection())
    desk.publish(b"first")
    run = functools.partial(export.export, desk.catalog, desk.store, catalogue_bucket=desk.cat)
    mark = export.Mark(run().sequence, NOON)
    assert (mark.sequence, run(since=mark).files) == (1, 0)
    full = "export/open-water-extent/2021-09.parquet"
    before = desk.store.read(desk.cat, full)
    desk.publish(b"other month", item_id="october", fields=dataclasses.replace(FIELDS, start=OCTOBER))
    desk.withdraw()
    done = run(since=mark)
    # Both months' files and documents, the item, the tombstone, the collection, the root.
    assert (done.items, done.files, done.written, done.sequence) == (1, 8, 7, 3)
    assert run(since=export.Mark(done.sequence, NOON)).files == 0
    assert run().written == 0
    gone = json.loads(desk.store.read(desk.cat, f"mirror/open-water-extent/2021-09/{NAME}.json"))
    stac.validate_item(gone)
    told = gone["properties"]
    assert (told["deprecated"], told["status"], told["reason"]) == (True, "withdrawn", "wrong datum")
    assert (gone["assets"], gone["bbox"]) == ({}, [106.0, 29.0, 107.0, 30.0])
    month = json.loads(desk.store.read(desk.cat, "mirror/open-water-extent/2021-09/catalog.json"))
    assert not [link for link in month["links"] if link["rel"] == "item"]
    collection = json.loads(desk.store.read(desk.cat, "mirror/open-water-extent/collection.json"))
    assert [link["href"] for link in collection["links"] if link["rel"] == "child"] == ["./2021-10/catalog.json"]
    emptied = desk.store.read(desk.cat, full)
    assert len(emptied) < len(before)
    (tmp_path / "emptied.parquet").write_bytes(emptied)
    assert rustac.read_sync(str(tmp_path / "emptied.parquet"))["features"] == []


def test_an_item_that_is_superseded_in_another_month_or_expires_is_gone_from_its_own(desk: Desk) -> None:
    desk.catalog.put_collection(desk.collection())
    desk.publish(b"first")
    desk.publish(b"other", item_id="other-item")
    run = functools.partial(export.export, desk.catalog, desk.store, catalogue_bucket=desk.cat)
    mark = export.Mark(run().sequence, NOON)

    def status(item_id: str, month: str) -> str:
        found = json.loads(desk.store.read(desk.cat, f"mirror/open-water-extent/{month}/{item_id}.json"))
        return str(found["properties"].get("status", found["properties"].get("cqeo:status")))

    desk.publish(b"second", fields=dataclasses.replace(FIELDS, start=OCTOBER))
    mark = export.Mark(run(since=mark).sequence, NOON)
    assert (status(NAME, "2021-09"), status(NAME, "2021-10")) == ("superseded", "published")
    custody = catalog_store.Custody(desk.catalog)
    custody.expire("other-item", 1, state="published", reason="kept 9 days", plan_sha256="0" * 64, at=LATER)
    assert run(since=mark._replace(at=LATER + dt.timedelta(seconds=1))).files == 0
    run(since=mark._replace(at=LATER))
    assert status("other-item", "2021-09") == "expired"


def test_migrations_let_an_item_expire_and_keep_the_triggers_of_the_spatial_index(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    database.upgrade(url)
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        (text,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'item'").fetchone()
        assert "'withdrawn', 'expired'" in text
        of_items = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'footprint'"
        triggers = connection.execute(of_items).fetchone()
        assert triggers == (2,)
    connection.close()
