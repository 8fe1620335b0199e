"""The day follows the catalogue: what is late, superseded or withdrawn makes another edition, nothing else does."""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from infra import catalog_store, database, ledger, object_store, publication, settings
from infra.stages import arrival, catalogued_day, chain, execution, occultation_day
from infra.stages.workspace import Workspace
from products import stac
from tests.unit.occultation_day_profiles import profile_file
from tests.unit.test_stage_execution import MemoryStore

DAY = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
NAME = "occultation-day-20260301"
STAGES = ("aggregate_profiles", "publish_aggregates")


class Store(MemoryStore):
    """What publication needs beside."""

    def exists(self, bucket: str, key: str) -> bool:
        return (bucket, key) in self.objects


@dataclass
class Desk:
    """One installation with profiles to publish."""

    here: Workspace

    def publish(
        self,
        number: int,
        *,
        seed: int | None = None,
        at: dt.datetime = DAY + dt.timedelta(hours=5),
        stream: str = "final",
    ) -> str:
        """Publish a profile; another seed is another revision."""
        content = profile_file(
            number if seed is None else seed, at=at, place=(20.0, 106.0), occultation_id=f"event-{number}"
        )
        fields = stac.ItemFields(
            product_code="occultation-profile",
            title="Profile",
            title_zh="廓线",
            geometry={"type": "Point", "coordinates": [106.0, 20.0]},
            bbox=(106.0, 20.0, 106.0, 20.0),
            start=at - dt.timedelta(seconds=50),
            end=at + dt.timedelta(seconds=50),
            quality_level="rapid",
            stream=stream,
        )
        return publication.publish_package(
            item_id=f"occultation-profile-{number}",
            collection="occultation-profile",
            sector="weather",
            fields=fields,
            assets={"profile.nc": publication.AssetContent(content, "application/x-netcdf", ("data",))},
            store=self.here.store,
            catalog=self.here.catalog,
            bucket="tl-profiles",
            key_prefix="p",
            catalogue_bucket="tl-catalogue",
        ).item_id

    def withdraw(self, number: int, revision: int | None = None) -> None:
        name = f"occultation-profile-{number}"
        self.here.catalog.withdraw(name, revision, reason="orbit was wrong", withdrawn_at=dt.datetime.now(dt.UTC))

    def states(self) -> list[str]:
        """States of the editions, the first of them first."""
        found = []
        while (item := self.here.catalog.item(NAME, len(found) + 1)) is not None:
            found.append(item.state)
        return found

    def work(self) -> dict[str, str]:
        """Do what is due; returns states by unit of the stage that aggregates."""
        states = {}
        for name in STAGES:
            stage = chain.stage(name)
            arrival.register(self.here, stage)
            outcomes = execution.run_units(stage, execution.due_units(stage, self.here.ledger), self.here)
            states |= {f"{name}/{one.unit}": one.state for one in outcomes}
            assert not [one.reason for one in outcomes if one.state not in {"done", "not_applicable"}]
        return states

    def edition(self, name: str = NAME) -> tuple[int, str, list[str]]:
        """Revision, state and occultations of the latest edition."""
        item = self.here.catalog.item(name)
        assert item is not None
        place = next(asset for asset in item.assets if asset.name == "profiles.nc")
        path = self.here.settings.home / "day.nc"
        path.write_bytes(self.here.store.read(place.bucket, place.key))
        with xr.open_dataset(path) as day:
            return item.revision, item.state, sorted(day["occultation_id"].to_numpy().tolist())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    # The map is drawn by a module with tests of its own, and takes most of the time.
    monkeypatch.setattr(occultation_day.occultation_map, "plot", lambda soundings: b"map of %d" % len(soundings))
    engine = database.engine(f"sqlite:///{tmp_path}/t.sqlite")
    for metadata in (ledger.metadata, catalog_store.metadata):
        metadata.create_all(engine)
    with engine.begin() as connection:
        catalog_store.create_spatial_index(connection)
    store: Any = Store()
    nothing: Any = None
    chosen = settings.Settings(home=tmp_path)
    return Desk(Workspace(chosen, store, ledger.Ledger(engine), catalog_store.CatalogStore(engine), nothing))


def test_a_day_is_made_once_and_again_only_when_a_profile_comes_late(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2)
    assert set(desk.work().values()) == {"done"}
    assert desk.edition() == (1, "published", ["event-1", "event-2"])
    assert desk.work() == {}
    desk.publish(3, at=DAY + dt.timedelta(days=1, hours=5))  # of another day
    assert list(desk.work()) == [f"{stage}/occultation-day-20260302" for stage in STAGES]
    desk.publish(4)
    desk.work()
    assert desk.edition() == (2, "published", ["event-1", "event-2", "event-4"])
    first = desk.here.catalog.item(NAME, 1)
    assert first is not None
    assert first.state == "superseded"


def test_item_says_when_where_and_of_what_it_is(desk: Desk) -> None:
    desk.publish(1, at=DAY + dt.timedelta(hours=1))
    desk.publish(2, at=DAY + dt.timedelta(hours=9))
    desk.work()
    item = desk.here.catalog.item(NAME)
    assert item is not None
    assert (item.sector, item.collection) == ("weather", "occultation-day")
    assert (item.start, item.end) == (DAY + dt.timedelta(hours=1), DAY + dt.timedelta(hours=9))
    assert item.document["geometry"]["coordinates"] == [[106.0, 20.0], [106.0, 20.0]]
    place = {asset.name: asset for asset in item.assets}["sources.json"]
    listed = json.loads(desk.here.store.read(place.bucket, place.key))["profiles"]
    assert [(row["item"], row["revision"]) for row in listed] == [
        ("occultation-profile-1", 1),
        ("occultation-profile-2", 1),
    ]
    assert item.document["properties"]["cqeo:inputs"] == [{"id": f"{NAME}/sources.json", "sha256": place.sha256}]
    assert publication.verify_published(desk.here.store, desk.here.catalog, catalogue_bucket="tl-catalogue").ok


def test_a_superseded_profile_gives_way_to_its_successor(desk: Desk) -> None:
    desk.publish(1)
    desk.work()
    desk.publish(1, seed=100)
    desk.work()
    assert desk.edition() == (2, "published", ["event-1"])
    with xr.open_dataset(desk.here.settings.home / "day.nc") as day:
        assert day["source_revision"].to_numpy().tolist() == [2]
        assert str(day["transmitter"].to_numpy()[0]) == "G05"


def test_a_withdrawn_profile_takes_the_edition_that_holds_it_along(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2)
    desk.work()
    desk.withdraw(1)
    desk.work()
    assert desk.edition() == (2, "published", ["event-2"])
    first = desk.here.catalog.item(NAME, 1)
    assert first is not None
    assert first.state == "withdrawn"
    assert first.state_reason == "it holds withdrawn profiles: occultation-profile-1"


def test_a_withdrawn_profile_takes_superseded_editions_along_too(desk: Desk) -> None:
    desk.publish(2)
    desk.work()
    for number in (1, 3):
        desk.publish(number)
        desk.work()
    desk.withdraw(1)
    desk.work()
    assert desk.states() == ["superseded", "withdrawn", "withdrawn", "published"]
    assert desk.edition() == (4, "published", ["event-2", "event-3"])
    assert desk.work() == {}


def test_a_superseded_profile_withdrawn_later_takes_the_edition_that_holds_it_along_and_no_other(desk: Desk) -> None:
    desk.publish(1)
    desk.work()
    desk.publish(1, seed=100)
    desk.work()
    desk.withdraw(1, 1)
    assert desk.work() == {f"aggregate_profiles/{NAME}": "done"}
    assert desk.states() == ["withdrawn", "published"]
    assert desk.work() == {}


def test_a_record_across_midnight_takes_the_edition_of_its_day_along(desk: Desk) -> None:
    desk.publish(1, at=DAY + dt.timedelta(seconds=1))
    desk.publish(2)
    desk.work()
    desk.withdraw(1)
    desk.work()
    assert desk.states() == ["withdrawn", "published"]
    assert desk.here.catalog.item("occultation-day-20260228") is None


def test_a_day_whose_last_profile_is_withdrawn_is_withdrawn_and_says_so(desk: Desk) -> None:
    desk.publish(1)
    desk.work()
    desk.withdraw(1)
    assert desk.work() == {f"aggregate_profiles/{NAME}": "not_applicable"}
    reason = desk.here.ledger.latest_outcomes()["aggregate_profiles", NAME].reason
    assert reason == "no profile of 2026-03-01 is published in stream final"
    assert desk.edition()[1] == "withdrawn"
    assert desk.work() == {}


def test_a_day_without_profiles_gives_no_item(desk: Desk) -> None:
    assert desk.work() == {}
    desk.publish(1)
    desk.withdraw(1)
    assert desk.work() == {f"aggregate_profiles/{NAME}": "not_applicable"}
    assert desk.here.catalog.item(NAME) is None


def test_streams_have_days_of_their_own(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2, stream="nrt")
    desk.work()
    assert desk.edition() == (1, "published", ["event-1"])
    assert desk.edition(f"{NAME}-nrt") == (1, "published", ["event-2"])


def test_a_record_across_midnight_belongs_to_the_day_of_its_reference_time(desk: Desk) -> None:
    desk.publish(1, at=DAY - dt.timedelta(seconds=1))
    desk.publish(2, at=DAY + dt.timedelta(seconds=1))
    desk.work()
    assert desk.edition("occultation-day-20260228")[2] == ["event-1"]
    assert desk.edition()[2] == ["event-2"]


def test_a_day_is_listed_three_hours_after_its_end(desk: Desk) -> None:
    desk.publish(1)
    settled = DAY + dt.timedelta(days=1) + catalogued_day.SETTLING
    assert catalogued_day.register(desk.here, now=settled - dt.timedelta(seconds=1)) == 0
    assert catalogued_day.register(desk.here, now=settled) == 1
    assert catalogued_day.register(desk.here, now=settled) == 0


def test_a_day_stays_as_it_was_made_when_the_time_of_its_profiles_is_over(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2)
    desk.work()
    table = catalog_store.item_table
    with desk.here.catalog.writing() as connection:
        connection.execute(table.update().where(table.c.id == "occultation-profile-1").values(state="expired"))
    assert desk.work() == {}
    assert desk.edition() == (1, "published", ["event-1", "event-2"])


def expire(desk: Desk, number: int, state: str) -> None:
    custody = catalog_store.Custody(desk.here.catalog)
    name = f"occultation-profile-{number}"
    at = dt.datetime.now(dt.UTC)
    assert custody.expire(name, 1, state=state, reason="kept 90 days", plan_sha256="0" * 64, at=at)


def test_a_day_that_cannot_be_made_again_is_taken_back_where_one_of_its_profiles_is_withdrawn(desk: Desk) -> None:
    for number in (1, 2):
        desk.publish(number)
    desk.work()
    expire(desk, 1, "published")
    assert desk.work() == {}
    desk.withdraw(2)
    assert desk.work() == {f"aggregate_profiles/{NAME}": "not_applicable"}
    assert desk.states() == ["withdrawn"]
    reason = desk.here.ledger.latest_outcomes()["aggregate_profiles", NAME].reason
    assert reason == "files of profiles of 2026-03-01 were removed when their time was over"
    assert desk.work() == {}


def test_a_withdrawn_profile_whose_files_were_removed_closes_no_day(desk: Desk) -> None:
    for number in (1, 2):
        desk.publish(number)
    desk.work()
    desk.withdraw(1)
    desk.work()
    expire(desk, 1, "withdrawn")
    desk.work()
    desk.publish(3)
    desk.work()
    assert desk.edition() == (3, "published", ["event-2", "event-3"])
    assert desk.states() == ["withdrawn", "superseded", "published"]


def test_a_withdrawal_that_was_killed_is_completed(desk: Desk) -> None:
    for number in (1, 2):
        desk.publish(number)
    desk.work()
    desk.withdraw(1)
    # Killed right after its transaction: nobody is listed, nothing recorded.
    desk.here.catalog.withdraw(NAME, reason="it holds withdrawn profiles", withdrawn_at=dt.datetime.now(dt.UTC))
    desk.work()
    listed = json.loads((desk.here.settings.home / "withdrawals" / f"{NAME}-r1.json").read_text())
    assert listed["reason"] == "it holds withdrawn profiles"
    assert desk.states() == ["withdrawn", "published"]


def test_days_listed_before_withdrawals_were_named_are_listed_anew_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.publish(1)
    desk.work()
    desk.publish(2)
    desk.work()
    desk.withdraw(1)
    desk.publish(3)
    with monkeypatch.context() as before:
        before.setattr(catalogued_day, "MARKED", 1)
        before.setattr(catalogued_day, "_is_withdrawn", lambda *_: False)
        desk.work()
    assert desk.states() == ["superseded", "superseded", "published"]
    desk.work()
    assert desk.states() == ["withdrawn", "withdrawn", "published"]
    assert desk.work() == {}


def test_a_file_that_is_not_what_was_published_is_never_put_into_a_day(desk: Desk) -> None:
    name = desk.publish(1)
    item = desk.here.catalog.item(name)
    assert item is not None
    place = catalogued_day.file_of(item)
    other = profile_file(8, at=DAY + dt.timedelta(hours=5))
    desk.here.store.put_replace(place.bucket, place.key, other, media_type="application/x-netcdf")
    arrival.register(desk.here, chain.stage("aggregate_profiles"))
    units = execution.due_units(chain.stage("aggregate_profiles"), desk.here.ledger)
    with pytest.raises(execution.StageFailedError, match="is not the content that was published"):
        execution.run_units(chain.stage("aggregate_profiles"), units, desk.here)
    assert desk.here.catalog.item(NAME) is None
    assert object_store.digest_of(other).sha256 != place.sha256
