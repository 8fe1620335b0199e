"""What was announced before is entered again under its own position, on every kind of database."""

import dataclasses
import datetime as dt

from infra import catalog_store
from infra.demonstration import modelled_catalogue

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(hours=1)
FIRST, OTHER = modelled_catalogue.entries(2, seed=3)
SECOND = dataclasses.replace(FIRST, content_sha256="2" * 64, manifest_sha256="3" * 64)


def told(event: str, sequence: int, entry: catalog_store.CatalogEntry, revision: int) -> catalog_store.Announcement:
    hashes = {"content": entry.content_sha256, "manifest": entry.manifest_sha256}
    payload = {"event": event, "sha256": hashes, "reason": "wrong datum", "collection": entry.collection}
    return catalog_store.Announcement(sequence, event, entry.item_id, revision, payload, LATER, LATER)


def test_a_withdrawal_is_entered_once_and_only_for_the_content_it_names(catalog: catalog_store.CatalogStore) -> None:
    catalog.publish(FIRST, published_at=NOON)
    assert not catalog.withdraw_again(told("withdrawn", 7, SECOND, 1))
    assert not catalog.withdraw_again(told("withdrawn", 7, FIRST, 2))
    assert not catalog.withdraw_again(told("withdrawn", 1, FIRST, 1))  # the position is another's
    assert catalog.withdraw_again(told("withdrawn", 7, FIRST, 1))
    assert not catalog.withdraw_again(told("withdrawn", 8, FIRST, 1))
    found = catalog.item(FIRST.item_id)
    assert found is not None
    assert (found.state, found.state_reason) == ("withdrawn", "wrong datum")
    assert [(one.sequence, one.created_at) for one in catalog.announcements()] == [(1, NOON), (7, LATER)]
    assert [one.sequence for one in catalog.undelivered()] == [1]


def test_a_publication_takes_the_place_of_the_one_before_together_with_its_superseding(
    catalog: catalog_store.CatalogStore,
) -> None:
    catalog.publish(FIRST, published_at=NOON)
    again, before = told("published", 6, SECOND, 2), told("superseded", 5, FIRST, 1)
    assert not catalog.publish_again(SECOND, again, None)
    assert not catalog.publish_again(SECOND, dataclasses.replace(again, revision=3), before)
    assert not catalog.publish_again(SECOND, again, dataclasses.replace(before, sequence=1))
    assert catalog.counts().states == {"published": 1}
    assert catalog.publish_again(SECOND, again, before)
    assert catalog.counts().states == {"published": 1, "superseded": 1}
    found = catalog.item(FIRST.item_id)
    assert found is not None
    assert (found.revision, found.published_at, found.content_sha256) == (2, LATER, "2" * 64)
    assert [one.sequence for one in catalog.announcements()] == [1, 5, 6]


def test_what_is_announced_next_stands_behind_the_last_position_of_the_feed(
    catalog: catalog_store.CatalogStore,
) -> None:
    catalog.never_reuse_positions(0)
    catalog.publish(FIRST, published_at=NOON)
    catalog.never_reuse_positions(9)
    catalog.never_reuse_positions(4)
    catalog.publish(OTHER, published_at=NOON)
    assert [one.sequence for one in catalog.announcements()] == [1, 10]


def test_the_months_to_export_again_are_those_of_what_was_announced_or_has_expired(
    catalog: catalog_store.CatalogStore,
) -> None:
    custody = catalog_store.Custody(catalog)
    entries = [dataclasses.replace(FIRST, start=start, end=start) for start in (NOON, NOON + dt.timedelta(days=31))]
    july, august = ((FIRST.collection, month) for month in ("2026-07", "2026-08"))
    assert custody.last_position() == 0
    catalog.publish(entries[0], published_at=NOON)
    first = custody.last_position()
    catalog.publish(dataclasses.replace(entries[1], content_sha256="2" * 64), published_at=NOON)
    assert custody.months() == {august}
    assert custody.months_changed(after=first, since=LATER) == {july, august}
    assert custody.months_changed(after=custody.last_position(), since=LATER) == frozenset()
    assert [one.revision for one in custody.gone(*july)] == [1]
    assert custody.gone(*august) == ()
    assert [one.revision for one in catalog.published(collection=FIRST.collection, month="2026-08")] == [2]
    assert list(catalog.published(collection=FIRST.collection, month="2026-07")) == []
    custody.expire(FIRST.item_id, 1, state="superseded", reason="its time", plan_sha256="0" * 64, at=LATER)
    assert custody.months_changed(after=custody.last_position(), since=LATER) == {july}
