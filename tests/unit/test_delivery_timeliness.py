"""Timeliness counts from the end of the observation to the first publication."""

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest

from infra import catalog_store, database, publication
from infra.delivery import timeliness
from infra.demonstration import modelled_catalogue

DAY = dt.date(2024, 5, 3)
END = dt.datetime(2024, 5, 3, 10, tzinfo=dt.UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> catalog_store.CatalogStore:
    engine = database.engine(f"sqlite:///{tmp_path / 'c.db'}")
    catalog_store.metadata.create_all(engine)
    with engine.begin() as connection:
        catalog_store.create_spatial_index(connection)
    return catalog_store.CatalogStore(engine)


class Shelf:
    """Keeps what is put, as the object store does."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put_replace(self, _bucket: str, key: str, body: bytes, *, media_type: str) -> None:
        assert media_type == "application/json"
        self.held[key] = body


def profiles(count: int) -> list[catalog_store.CatalogEntry]:
    found = [one for one in modelled_catalogue.entries(6 * count, seed=1) if one.sector == "weather"]
    return [dataclasses.replace(one, start=END - dt.timedelta(minutes=2 + at), end=END) for at, one in enumerate(found)]


def test_delay_is_from_the_end_of_the_observation_to_the_first_publication(catalog: catalog_store.CatalogStore) -> None:
    (entry,) = profiles(1)
    catalog.publish(entry, published_at=END + dt.timedelta(minutes=90))
    changed = dataclasses.replace(entry, content_sha256="f" * 64)
    catalog.publish(changed, published_at=END + dt.timedelta(days=9))
    assert [one.minutes for one in timeliness.delays(catalog, day=DAY)] == [pytest.approx(90.0)]
    assert timeliness.delays(catalog, day=DAY + dt.timedelta(days=1)) == []


def test_share_within_the_target_counts_the_late_ones_out(catalog: catalog_store.CatalogStore) -> None:
    for entry, minutes in zip(profiles(4), (10, 60, 180, 181), strict=True):
        catalog.publish(entry, published_at=END + dt.timedelta(minutes=minutes))
    (row,) = timeliness.summary(timeliness.delays(catalog, day=DAY))
    assert (row["profiles"], row["within_target"]) == (4, 0.75)
    assert row["minutes"]["p50"] == pytest.approx(120.0)


def test_latest_pointer_names_the_newest_content_whatever_was_announced_last(
    catalog: catalog_store.CatalogStore,
) -> None:
    newest, *_, oldest = profiles(3)
    shelf = Shelf()

    def pointed() -> str | None:
        publication.refresh_latest("occultation-profile", store=shelf, catalog=catalog, catalogue_bucket="c")  # type: ignore[arg-type]

        found: str | None = json.loads(shelf.held["latest/occultation-profile.json"])["id"]
        return found

    catalog.publish(newest, published_at=END)
    catalog.publish(oldest, published_at=END + dt.timedelta(hours=1))
    assert pointed() == newest.item_id
    catalog.withdraw(newest.item_id, reason="a fault", withdrawn_at=END + dt.timedelta(hours=2))
    assert pointed() == oldest.item_id
    catalog.withdraw(oldest.item_id, reason="a fault", withdrawn_at=END + dt.timedelta(hours=3))
    assert pointed() is None


def test_rows_are_by_day_satellite_and_stream() -> None:
    said = [timeliness.Delay("2024-05-03", "a", stream, 5.0) for stream in ("nrt", "final", "nrt")]
    assert [(row["stream"], row["profiles"]) for row in timeliness.summary(said)] == [("final", 1), ("nrt", 2)]
