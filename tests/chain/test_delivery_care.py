"""Test data, notices and the daily care on the real store and by the commands people type."""

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer import testing

from infra import catalog_store, cli, database, object_store, publication, settings, signing
from infra.delivery import audit, backup, care, fixity, health, reconciliation, replay
from infra.demonstration import modelled_catalogue
from infra.embedded import object_store_server
from infra.stages import package_document, scheduling, workspace
from products import stac, streams

pytestmark = pytest.mark.chain

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

    def listed(self, prefix: str = "") -> set[str]:
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
        return {key: store.read(cat, key) for key in desk.listed()}

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
    assert "export/occultation-profile/2026-07.parquet" in desk.listed("export/")
    assert not [key for key in (*desk.listed("export/"), *desk.listed("mirror/")) if "-test" in key]


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


def test_what_the_daily_share_found_damaged_is_told_every_day_until_it_is_whole(desk: Desk) -> None:
    made = desk.publish("operational", b"old format")
    store = desk.stores.store

    def reconciled(now: dt.datetime) -> bool:
        try:
            care.run("reconcile", desk.charge, now=now)
        except care.CareError:
            return False
        return True

    def days_told() -> list[int]:
        """Days of a round on which reconciling told of damage."""
        return [day for day in range(30) if not reconciled(NOW + dt.timedelta(days=day))]

    assert days_told() == []
    store.put_replace(desk.bucket, made.keys["data.nc"], b"bad format", media_type="application/x-netcdf")
    told = days_told()
    assert told == list(range(told[0], 30))
    assert fixity.known_wrong(desk.home) == {f"{desk.bucket}/{made.keys['data.nc']}"}
    store.put_replace(desk.bucket, made.keys["data.nc"], b"old format", media_type="application/x-netcdf")
    assert reconciled(NOW)


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
        record=desk.home / "audit",
        now=NOW,
    )
    restored = catalog_store.CatalogStore(database.engine(f"sqlite:///{into}"))
    restored.publish(next(modelled_catalogue.entries(1, seed=1)), published_at=NOW)
    assert [(one.sequence, one.payload.get("stream")) for one in restored.announcements()] == [
        (1, None), (2, "test"), (2 + replay.LEAP + 1, None),
    ]  # fmt: skip


# By hand


@pytest.fixture
def command(
    server: object_store_server.RunningServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., testing.Result]]:
    """Commands of a home of the test's own, with buckets of its own in the store that runs."""
    given = {
        "HOME": tmp_path,
        "S3_ENDPOINT_URL": server.endpoint_url,
        "S3_CREDENTIALS_FILE": server.credentials_file,
        "BUCKET_PREFIX": f"{bucket}-",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"TERRALIMB_{name}", str(value))
    settings.current.cache_clear()
    workspace.current.cache_clear()
    yield lambda *words: testing.CliRunner().invoke(cli.app, [str(word) for word in words])
    settings.current.cache_clear()
    workspace.current.cache_clear()


def shown(made: testing.Result) -> Any:
    assert made.exit_code == 0, (made.output, made.exception)
    return json.loads(made.stdout)


def a_package(here: workspace.Workspace) -> package_document.PackageDocument:
    """A profile as a stage hands it over: its file in the archive, its document in the ledger."""
    file = here.write_asset(b"profile", "nc", "application/x-netcdf")
    document = package_document.PackageDocument(
        item_id="profile-a",
        collection="occultation-profile",
        sector="weather",
        bucket="profiles",
        fields=FIELDS,
        files={
            "data.nc": package_document.PackagedFile(
                file["key"], file["sha256"], file["media_type"], ("data",), "Profile", "廓线"
            )
        },
    )
    granule = workspace.NewGranule("profile", "profile-a", "g", document.to_json(), "json", "application/json")
    here.ledger.register(here.write([granule]))
    return document


def test_a_package_is_published_as_test_data_told_of_and_cared_for_by_hand(
    command: Callable[..., testing.Result], tmp_path: Path
) -> None:
    assert shown(command("catalogue", "care", "--json"))["export"]["items"] == 0
    here = workspace.current()
    a_package(here)
    publish = ("catalogue", "publish", "profile-a", "--json")
    assert shown(command(*publish))["collection"] == "occultation-profile"
    made = shown(command(*publish, "--stream", "test"))
    assert made == {"id": "profile-a-test", "collection": "occultation-profile-test", "revision": 1, "new": True}
    assert command("catalogue", "publish", "profile-b").exit_code == 1
    assert command(*publish, "--stream", "other").exit_code == 2
    change = (
        "catalogue", "notice", "add", "--kind", "format-change", "--subject", "occultation-profile", "--from", "1",
        "--to", "2", "--title-zh", "变更", "--title-en", "Change", "--text-zh", "变更", "--text-en", "Change", "--json",
    )  # fmt: skip
    late, early = (f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=days):%Y-%m-%dT%H:%MZ}" for days in (13, 15))
    trial = ("--test-data", "occultation-profile-test")
    refused = command(*change, "--effective", late, *trial)
    assert (refused.exit_code, "14 days ahead" in str(refused.exception)) == (1, True)
    assert shown(command(*change, "--effective", late, "--urgent", "it fails"))["urgent_reason"] == "it fails"
    told = shown(command(*change, "--effective", early, *trial))
    assert told["links"][1] == {"rel": "test-data", "href": "/stac/collections/occultation-profile-test"}
    corrected = command(
        "catalogue", "notice", "add", "--corrects", told["id"], "--reason", "typo", "--text-en", "Two", "--json"
    )
    assert (shown(corrected)["change"], shown(corrected)["text"]["en"]) == ("corrected", "Two")
    cancelled = shown(command("catalogue", "notice", "cancel", told["id"], "--reason", "not yet", "--json"))
    assert (cancelled["change"], cancelled["revision"]) == ("cancelled", 3)
    listed = shown(command("catalogue", "notice", "list", "--json"))["notices"]
    assert [(one["id"][-4:], one["change"]) for one in listed] == [("0002", "cancelled"), ("0001", "published")]
    assert command("catalogue", "notice", "list").exit_code == 0
    assert scheduling.care("reconcile")["database"] == 6


def test_timeliness_by_hand(command: Callable[..., testing.Result], tmp_path: Path) -> None:
    database.upgrade(settings.current().resolved_database_url())
    catalog = catalog_store.CatalogStore(database.engine(settings.current().resolved_database_url()))
    entry = next(one for one in modelled_catalogue.entries(9, seed=1) if one.sector == "weather")
    catalog.publish(dataclasses.replace(entry, end=END, start=END), published_at=END + dt.timedelta(minutes=200))
    picture, span = tmp_path / "t.png", ("--since", "2026-07-01", "--until", "2026-07-31")
    told = shown(command("catalogue", "timeliness", *span, "--png", picture, "--json"))
    assert (told["profiles"], told["rows"][0]["minutes"]["p50"], told["rows"][0]["within_target"]) == (1, 200.0, 0.0)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "0.0 % within 180 min" in command("catalogue", "timeliness", *span).stdout
    assert command("catalogue", "timeliness", "--since", "yesterday").exit_code == 2
    assert command("catalogue", "timeliness", "--since", "2026-07-02", "--until", "2026-07-01").exit_code == 2
    assert command("catalogue", "timeliness", "--until", "2020-01-01", "--since", "2020-01-01").exit_code == 0


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        (("catalogue", "notice", "add"), "--urgent"),
        (("catalogue", "publish"), "--stream"),
        (("catalogue", "care"), "Exit status"),
        (("catalogue", "timeliness"), "--png"),
        (("push", "run"), "--from-beginning"),
    ],
)
def test_every_command_explains_itself(words: tuple[str, ...], taught: str) -> None:
    assert (
        taught in testing.CliRunner(env={"COLUMNS": "140", "TERM": "dumb"}).invoke(cli.app, [*words, "--help"]).stdout
    )


def test_damage_is_found_and_a_withdrawal_outlives_a_restore_by_the_commands_people_type(
    command: Callable[..., testing.Result], tmp_path: Path
) -> None:
    assert command("catalogue", "care", "--json").exit_code == 0
    here = workspace.current()
    a_package(here)
    assert command("catalogue", "publish", "profile-a", "--json").exit_code == 0
    assert shown(command("catalogue", "reconcile", "--deep", "--json"))["read"] == 3
    limits = ("--agency", "cq-water", "--sector", "weather", "--all-districts")
    key_id = json.loads(command("access", "create-key", *limits, "--json").stdout)["key_id"]
    made = shown(command("catalogue", "backup", "--json"))
    assert command("catalogue", "withdraw", "profile-a", "--reason", "wrong clock").exit_code == 0
    assert command("access", "revoke-key", key_id).exit_code == 0
    restored = command("catalogue", "restore", "--into", tmp_path / "back.sqlite", "--at", made["at"], "--json")
    assert "webhooks" in restored.stderr
    assert "terralimb.sqlite-wal" in restored.stderr.splitlines()[-1]
    told = shown(restored)
    assert told["at"] == made["at"]
    replayed = told["replayed"]
    assert (replayed["withdrawn"], replayed["keys_revoked"], replayed["unknown"]) == (1, 1, [])
    for path in tmp_path.glob("terralimb.sqlite-*"):
        path.unlink()
    (tmp_path / "back.sqlite").rename(tmp_path / "terralimb.sqlite")
    found = catalog_store.CatalogStore(database.engine(f"sqlite:///{tmp_path / 'terralimb.sqlite'}")).item("profile-a")
    assert found is not None
    assert (found.state, found.state_reason) == ("withdrawn", "wrong clock")
    again = command("catalogue", "replay")
    assert (again.exit_code, "0 withdrawals" in again.stdout) == (0, True)
    repaired = shown(command("catalogue", "reconcile", "--repair", "--json"))
    assert (repaired["differences"], repaired["read"]) == ([], 0)


def test_reading_all_by_hand_tells_of_damage_and_the_next_look_without_reading_all_still_does(
    command: Callable[..., testing.Result],
) -> None:
    assert command("catalogue", "care", "--json").exit_code == 0
    here = workspace.current()
    a_package(here)
    assert command("catalogue", "publish", "profile-a", "--json").exit_code == 0
    item = here.catalog.item("profile-a")
    assert item is not None
    (asset,) = item.assets
    here.store.put_replace(asset.bucket, asset.key, b"prophile"[:7], media_type="application/x-netcdf")
    assert command("catalogue", "reconcile").exit_code == 0
    for words in (("--deep",), ()):
        found = command("catalogue", "reconcile", *words)
        assert (found.exit_code, f"content_wrong  {asset.bucket}/{asset.key}" in found.stdout) == (1, True)
