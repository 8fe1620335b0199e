"""Announcements say what happened to which revision, and nothing that cannot be."""

import json

import pytest

from products import notification

SUBJECT = notification.Subject(
    item_id="land-cover-cq-20210901t000000z",
    revision=2,
    collection="land-cover",
    sector="natural-resources",
    product="land-cover",
    content_sha256="c" * 64,
    manifest_sha256="m" * 64,
    start="2021-09-01T00:00:00.000000Z",
    end="2021-09-02T00:00:00.000000Z",
    bbox=(105, 28, 110, 32),
    links={"manifest": "s3://b/MANIFEST.json", "item": "s3://b/item.json"},
)
WHEN = "2021-09-03T00:00:00.000000Z"


def test_a_consumer_finds_identity_place_time_hashes_and_links() -> None:
    message = notification.announcement(SUBJECT, event="published", occurred_at=WHEN)
    assert json.loads(json.dumps(message)) == {
        "layout": "terralimb-announcement/1",
        "event": "published",
        "id": "land-cover-cq-20210901t000000z",
        "revision": 2,
        "collection": "land-cover",
        "sector": "natural-resources",
        "product": "land-cover",
        "occurred_at": WHEN,
        "start": "2021-09-01T00:00:00.000000Z",
        "end": "2021-09-02T00:00:00.000000Z",
        "bbox": [105.0, 28.0, 110.0, 32.0],
        "sha256": {"content": "c" * 64, "manifest": "m" * 64},
        "links": [{"rel": "item", "href": "s3://b/item.json"}, {"rel": "manifest", "href": "s3://b/MANIFEST.json"}],
    }


def test_successor_and_reason_come_with_their_events() -> None:
    assert notification.announcement(SUBJECT, event="superseded", occurred_at=WHEN, successor=3)["successor"] == 3
    assert notification.announcement(SUBJECT, event="withdrawn", occurred_at=WHEN, reason="why")["reason"] == "why"
    older = notification.announcement(SUBJECT, event="withdrawn", occurred_at=WHEN, reason="why", successor=3)
    assert (older["reason"], older["successor"]) == ("why", 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "deleted"},
        {"event": "superseded"},
        {"event": "withdrawn"},
        {"event": "withdrawn", "reason": ""},
        {"event": "published", "successor": 3},
        {"event": "published", "reason": "why"},
        {"event": "withdrawn", "successor": 3},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(notification.AnnouncementError, match="land-cover-cq"):
        notification.announcement(SUBJECT, occurred_at=WHEN, **wrong)
