"""Announcements: what consumers are told when a product is published, superseded or withdrawn.

An announcement is a pure function of the catalogue's facts. Delivery is at least once: consumers recognize a
repetition by (event, id, revision) and check what they fetch against the hashes given here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

#: What can happen to a revision, as announced.
EVENTS = ("published", "superseded", "withdrawn")

#: Version of the announcement's layout.
LAYOUT = "terralimb-announcement/1"


class AnnouncementError(ValueError):
    """An announcement would say something that cannot be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """The revision an announcement is about.

    Attributes
    ----------
    item_id : str
        Identity of the item, without a version.
    revision : int
        Revision of the item, from 1 [1].
    collection, sector, product : str
        Collection, sector and product code.
    content_sha256 : str
        Hash over the names and hashes of everything the revision holds, in hex.
    manifest_sha256 : str
        Hash of its manifest, in hex.
    start, end : str
        First and last instant of the content, RFC 3339 UTC.
    bbox : Sequence[float]
        West, south, east, north [degree].
    links : Mapping[str, str]
        Address by relation: ``item``, ``manifest``.
    stream : str or None
        ``test`` for test data of a coming format, which the announcement then says.
    """

    item_id: str
    revision: int
    collection: str
    sector: str
    product: str
    content_sha256: str
    manifest_sha256: str
    start: str
    end: str
    bbox: Sequence[float]
    links: Mapping[str, str]
    stream: str | None = None


def announcement(
    subject: Subject, *, event: str, occurred_at: str, successor: int | None = None, reason: str | None = None
) -> dict[str, Any]:
    """Build the announcement of one event.

    Parameters
    ----------
    subject : Subject
        The revision it happened to.
    event : str
        One of `EVENTS`.
    occurred_at : str
        When the event became true in the catalogue, RFC 3339 UTC.
    successor : int or None
        The revision that took its place; goes with ``superseded``, and with ``withdrawn`` of a revision that was
        superseded before [1].
    reason : str or None
        Why it was withdrawn; goes with ``withdrawn`` and only with it.

    Returns
    -------
    dict
        The announcement, ready for JSON.

    Raises
    ------
    AnnouncementError
        The event is unknown, or successor or reason do not fit it.
    """
    if event not in EVENTS:
        raise AnnouncementError(f"{subject.item_id}: event {event!r} is none of {', '.join(EVENTS)}")
    if event != "withdrawn" and (event == "superseded") != (successor is not None):
        raise AnnouncementError(f"{subject.item_id}: a successor goes with 'superseded', and never with {event!r}")
    if (event == "withdrawn") != bool(reason):
        raise AnnouncementError(f"{subject.item_id}: a reason goes with 'withdrawn' and only with it")
    message = {
        "layout": LAYOUT,
        "event": event,
        "id": subject.item_id,
        "revision": subject.revision,
        "collection": subject.collection,
        "sector": subject.sector,
        "product": subject.product,
        "occurred_at": occurred_at,
        "start": subject.start,
        "end": subject.end,
        "bbox": [float(value) for value in subject.bbox],
        "sha256": {"content": subject.content_sha256, "manifest": subject.manifest_sha256},
        "links": [{"rel": relation, "href": subject.links[relation]} for relation in sorted(subject.links)],
    }
    optional = {"successor": successor, "reason": reason, "stream": subject.stream}
    return message | {name: value for name, value in optional.items() if value is not None}
