"""Test data, notices and the daily care on the real store and by the commands people type."""

import dataclasses
import datetime as dt
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import catalog_store, database, object_store, publication, signing
from infra.delivery import audit, backup, care, health, reconciliation
from infra.demonstration import modelled_catalogue
from products import stac, streams

pytestmark = pytest.mark.chain

COMMAND = Path(sys.executable).with_name("terralimb")
NOW = dt.datetime(2026, 8, 1, 0, 20, tzinfo=dt.UTC)
END = dt.datetime(2026, 7, 30, 12, tzinfo=dt.UTC)
FIELDS = stac.ItemFields(
    product_code="occultation-profile",
    title="Profile",
    title_zh="廓线",
    geometry={"type": "Point", "coordinates": [106.5, 29.5]},
    bbox=(106.0, 29.0, 107.0, 30.0),
    start=END,
    quality_level="rapid",
    stream="nrt",
)


@dataclasses.dataclass
class Desk:
    home: Path
    bucket: str
    stores: reconciliation.Stores
    charge: care.Charge

    def publish(self, stream: streams.Stream, body: bytes) -> publication.Publication:
        signing.ensure(self.home)
        fields = stac.CollectionFields(
            collection_id="occultation-profile", product_code="occultation-profile", sector="weather", title="Profile",
            title_zh="廓线", description="Profile", description_zh="廓线",
        )  # fmt: skip
        written = publication.publish_collection(
            streams.collection_fields(fields, stream),
            store=self.stores.store,
            catalogue_bucket=self.stores.catalogue_bucket,
        )
        self.stores.catalog.put_collection(written)
        return publication.publish_package(
            item_id="profile-a",
            collection="occultation-profile",
            sector="weather",
            fields=FIELDS,
            assets={"data.nc": publication.AssetContent(body, "application/x-netcdf", ("data",))},
            store=self.stores.store,
            catalog=self.stores.catalog,
            bucket=self.bucket,
            key_prefix="occultation-profile/v1",
            catalogue_bucket=self.stores.catalogue_bucket,
            stream=stream,
            signer=functools.partial(signing.sign, self.home),
            clock=lambda: END + dt.timedelta(minutes=50),
        )

    def keys(self, prefix: str = "") -> set[str]:
        return {found.key for found in self.stores.store.list(self.stores.catalogue_bucket, prefix)}


@pytest.fixture
def desk(store: object_store.ObjectStore, bucket: str, tmp_path: Path) -> Desk:
    store.create_bucket(f"{bucket}-cat")
    url = f"sqlite:///{tmp_path / 'terralimb.sqlite'}"
    database.upgrade(url)
    stores = reconciliation.Stores(catalog_store.CatalogStore(database.engine(url)), store, (bucket,), f"{bucket}-cat")
    return Desk(tmp_path, bucket, stores, care.Charge(stores=stores, home=tmp_path, database_url=url))


def test_test_data_go_the_same_way_into_places_of_their_own_and_leave_every_other_object_as_it_was(desk: Desk) -> None:
    desk.publish("operational", b"old format")
    store, cat = desk.stores.store, desk.stores.catalogue_bucket

    def contents() -> dict[str, bytes]:
        return {key: store.read(cat, key) for key in desk.keys()}

    before = contents()
    made = desk.publish("test", b"coming format")
    assert (made.item_id, made.revision) == ("profile-a-test", 1)
    assert {key.split("/")[0] for key in made.keys.values()} == {"test"}
    after = contents()
    assert {key: after[key] for key in before} == before
    assert set(after) - set(before) == {
        "collections/occultation-profile-test.json",
        "feed-test/000000000002.json",
        "latest/occultation-profile-test.json",
        "latest/occultation-profile-test/profile-a-test.json",
    }
    assert json.loads(after["feed-test/000000000002.json"])["stream"] == "test"
    assert publication.verify_published(store, desk.stores.catalog, catalogue_bucket=cat).failures == ()
    assert desk.publish("test", b"coming format").created is False


def test_the_care_of_a_sound_installation_goes_well_and_health_tells_of_it(desk: Desk) -> None:
    desk.publish("operational", b"old format")
    desk.publish("test", b"coming format")
    audit.AuditLog(desk.home / "audit").record(audit.Entry(event="feed", decision="allowed"), now=NOW)
    found = care.run_all(desk.charge, now=NOW)
    assert [step for step, outcome in found.items() if isinstance(outcome, Exception)] == []
    told = health.report(desk.stores.catalog, home=desk.home, now=NOW)
    assert told["status"] == "ok"
    assert (told["reconciliation"]["differences"], told["reconciliation"]["announcements"]) == (0, 2)
    assert told["reconciliation"]["database"] == told["reconciliation"]["store"] == 6
    assert told["backup"]["revisions"] == 2
    assert told["audit_seal"]["lines"] == 1
    body = desk.stores.store.read(desk.stores.catalogue_bucket, "timeliness/2026-07-30.json")
    assert [(row["profiles"], row["minutes"]["p50"]) for row in json.loads(body)["rows"]] == [(1, 50.0)]
    assert "export/occultation-profile/2026-07.parquet" in desk.keys("export/")
    assert not [key for key in (*desk.keys("export/"), *desk.keys("mirror/")) if "-test" in key]


def test_an_object_that_is_gone_makes_reconciling_fail_and_nothing_else(desk: Desk) -> None:
    made = desk.publish("operational", b"old format")
    # Deleting is refused outside staging by design, so the loss is one of the catalogue's record instead.
    with desk.stores.catalog.engine.begin() as connection:
        changed = catalog_store.asset_table.update().values(key=f"{made.keys['data.nc']}.gone")
        connection.execute(changed)
    found = care.run_all(desk.charge, now=NOW)
    assert [step for step, outcome in found.items() if isinstance(outcome, Exception)] == ["reconcile"]
    told = health.report(desk.stores.catalog, home=desk.home, now=NOW)
    assert (told["status"], told["reconciliation"]["differences"]) == ("degraded", 1)


def test_a_restored_catalogue_never_takes_a_position_of_either_feed_again(desk: Desk) -> None:
    desk.publish("operational", b"old format")
    assert not isinstance(care.run_all(desk.charge, now=NOW)["backup"], Exception)
    desk.publish("test", b"coming format")
    into = desk.home / "restored.sqlite"
    backup.restore(
        into,
        store=desk.stores.store,
        catalogue_bucket=desk.stores.catalogue_bucket,
        trusted=signing.public_keys(desk.home),
    )
    restored = catalog_store.CatalogStore(database.engine(f"sqlite:///{into}"))
    restored.publish(next(modelled_catalogue.entries(1, seed=1)), published_at=NOW)
    assert [one.sequence for one in restored.announcements()] == [1, 3]


# By hand


def terralimb(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "140", "TERRALIMB_HOME": str(home), "HOME": str(home)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    return subprocess.run([str(COMMAND), *words], env=environment, capture_output=True, text=True, check=False)


def shown(made: subprocess.CompletedProcess[str]) -> Any:
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def test_notices_and_timeliness_by_hand(desk: Desk) -> None:
    desk.publish("operational", b"old format")
    desk.publish("test", b"coming format")
    words = [
        "catalogue", "notice", "add", "--kind", "format-change", "--subject", "occultation-profile", "--from", "1",
        "--to", "2", "--title-zh", "变更", "--title-en", "Change", "--text-zh", "变更", "--text-en", "Change", "--json",
    ]  # fmt: skip
    late = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=13):%Y-%m-%dT%H:%MZ}"
    refused = terralimb(desk.home, *words, "--effective", late, "--test-data", "occultation-profile-test")
    assert (refused.returncode, "14 days ahead" in refused.stderr) == (1, True)
    made = shown(terralimb(desk.home, *words, "--effective", late, "--urgent", "the receiver fails"))
    assert (made["urgent_reason"], made["revision"]) == ("the receiver fails", 1)
    cancelled = shown(terralimb(desk.home, "catalogue", "notice", "cancel", made["id"], "--reason", "mended", "--json"))
    assert (cancelled["change"], cancelled["revision"]) == ("cancelled", 2)
    listed = shown(terralimb(desk.home, "catalogue", "notice", "list", "--json"))["notices"]
    assert [(one["id"], one["change"]) for one in listed] == [(made["id"], "cancelled")]
    picture = desk.home / "t.png"
    span = ("--since", "2026-07-01", "--until", "2026-07-31")
    told = shown(terralimb(desk.home, "catalogue", "timeliness", *span, "--png", str(picture), "--json"))
    assert (told["profiles"], told["rows"][0]["minutes"]["p50"]) == (1, 50.0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert terralimb(desk.home, "catalogue", "timeliness", "--since", "yesterday").returncode == 2
    helped = terralimb(desk.home, "catalogue", "notice", "add", "--help").stdout
    assert "--urgent" in helped
    assert "Example" in helped
