"""WIS2 messages say which file, of what hash, is new, changed or gone, and an invalid one is never made."""

import base64
import copy
import hashlib
from typing import Any

import pytest

from products import wis2_notification

ORIGIN = wis2_notification.Origin()
FILE = wis2_notification.DataFile(
    href="https://s.example/download/p/1/p.nc",
    media_type="application/x-netcdf",
    size=26_400,
    digest=hashlib.sha512(b"x").hexdigest(),
)


def announced(**changed: Any) -> dict[str, Any]:
    return {
        "event": "published",
        "id": "p",
        "revision": 1,
        "collection": "profiles",
        "sector": "weather",
        "product": "occultation-profile",
        "occurred_at": "2025-09-01T12:00:00.000000Z",
        "start": "2025-09-01T11:00:00.000000Z",
        "end": "2025-09-01T11:00:00.000000Z",
        "bbox": [106.0, 29.0, 106.0, 29.0],
        **changed,
    }


def made(**changed: Any) -> dict[str, Any]:
    found = wis2_notification.message(announced(**changed), origin=ORIGIN, file=FILE)
    assert found is not None
    return found


def test_a_new_file_has_place_time_hash_length_and_identities() -> None:
    message = made()
    assert message["properties"] == {
        "pubtime": "2025-09-01T12:00:00.000000Z",
        "data_id": "cn-terralimb-test/occultation-profile/p",
        "metadata_id": "urn:wmo:md:cn-terralimb-test:profiles",
        "datetime": "2025-09-01T11:00:00.000000Z",
        "integrity": {"method": "sha512", "value": base64.b64encode(hashlib.sha512(b"x").digest()).decode()},
    }
    assert message["links"] == [
        {"href": FILE.href, "rel": "canonical", "type": "application/x-netcdf", "length": 26_400}
    ]
    assert message["geometry"] == {"type": "Point", "coordinates": [106.0, 29.0]}


def test_a_repetition_has_the_same_id_and_another_event_another() -> None:
    ids = [made(event=event, revision=n)["id"] for event, n in (("published", 1), ("published", 2), ("withdrawn", 2))]
    assert made()["id"] == ids[0]
    assert len(set(ids)) == 3


def test_changes_and_deletions_are_told_by_relation_under_the_same_data_id() -> None:
    first, second, gone = made(), made(revision=2), made(event="withdrawn", revision=2)
    relations = [message["links"][0]["rel"] for message in (first, second, gone)]
    assert relations == [wis2_notification.CANONICAL, wis2_notification.UPDATE, wis2_notification.DELETION]
    assert len({message["properties"]["data_id"] for message in (first, second, gone)}) == 1
    assert "integrity" not in gone["properties"]
    for event in ("superseded", "withdrawn"):
        gave_way = announced(event=event, successor=2)
        assert wis2_notification.message(gave_way, origin=ORIGIN, file=FILE) is None


def test_an_interval_and_an_area_are_told_and_one_across_the_date_line_has_no_geometry() -> None:
    message = made(end="2025-09-01T11:02:00.000000Z", bbox=[106.0, 29.0, 107.0, 30.0])
    assert {"start_datetime", "end_datetime"} < set(message["properties"])
    assert message["geometry"]["coordinates"][0][2] == [107.0, 30.0]
    assert made(bbox=[179.0, 0.0, -179.0, 1.0])["geometry"] is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "7"),
        (("conformsTo",), []),
        (("type",), "Collection"),
        (("geometry", "coordinates"), [200.0, 0.0]),
        (("properties", "pubtime"), "2025-09-01 12:00"),
        (("properties", "metadata_id"), "profiles"),
        (("properties", "data_id"), "p"),
        (("properties", "start_datetime"), "2025-09-01T11:00:00Z"),
        (("properties", "integrity", "method"), "md5"),
        (("properties", "integrity", "value"), "ab"),
        (("links",), []),
        (("links", 0, "href"), "s3://bucket/p.nc"),
        (("links", 0, "rel"), "item"),
        (("links", 0, "length"), 0),
    ],
)
def test_a_planted_fault_is_seen(path: tuple[Any, ...], value: object) -> None:
    message = copy.deepcopy(made())
    place: Any = message
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(wis2_notification.Wis2NotificationError):
        wis2_notification.validate(message)


@pytest.mark.parametrize("missing", ["id", "conformsTo", "type", "geometry", "properties", "links"])
def test_nothing_required_may_be_missing(missing: str) -> None:
    message = made()
    del message[missing]
    with pytest.raises(wis2_notification.Wis2NotificationError, match=missing):
        wis2_notification.validate(message)


@pytest.mark.parametrize(("method", "digest"), [("sha512", "00" * 32), ("sha256", "zz")])
def test_a_hash_that_is_not_of_its_kind_is_refused(method: Any, digest: str) -> None:
    file = wis2_notification.DataFile(href=FILE.href, media_type="a/b", method=method, digest=digest)
    with pytest.raises(wis2_notification.Wis2NotificationError, match="hash"):
        wis2_notification.message(announced(), origin=ORIGIN, file=file)


@pytest.mark.parametrize("wrong", [{"centre_id": "Terralimb"}, {"policy": "secret"}, {"subtopic": ("a/#",)}])
def test_a_topic_of_levels_that_are_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(wis2_notification.Wis2NotificationError):
        wis2_notification.topic(wis2_notification.Origin(**wrong))
