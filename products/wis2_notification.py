"""WIS2 notification messages: our announcements in the form the WMO Information System 2.0 exchanges.

After the WIS2 Notification Message (conformance class core 1). A message is a pure function of the announcement, so
a repetition has the same id and brokers drop it. A revision that was superseded gives no message of its own: that of
its successor, with the same data_id, says "update".
"""

import base64
import binascii
import dataclasses
import functools
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import jsonschema  # a second and more to import: only where a message is first validated

CONFORMANCE = "http://wis.wmo.int/spec/wnm/1/conf/core"
CANONICAL = "canonical"
UPDATE = "http://def.wmo.int/def/rel/wnm/-/update"
DELETION = "http://def.wmo.int/def/rel/wnm/-/deletion"

#: Stands where no centre was registered with WMO; messages under it are for tests and nothing else.
UNREGISTERED_CENTRE = "cn-terralimb-test"

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://terralimb.example/wis2-notification")
_CENTRE = re.compile(r"[a-z]{2,}-[a-z0-9][a-z0-9-]*")
_LEVEL = re.compile(r"[a-z0-9][a-z0-9-]*")
_LENGTHS = {"sha256": 32, "sha512": 64}


class Wis2NotificationError(ValueError):
    """There is no valid message for this announcement."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Who sends, and under which topic.

    Attributes
    ----------
    centre_id : str
        Centre as registered with WMO; the default is no registered one.
    policy : str
        core (free of any condition, also of keys) or recommended.
    subtopic : tuple of str
        Levels after the discipline weather; ``experimental`` is for what no agreed topic exists.
    metadata_id : str or None
        Identity of the discovery metadata record; made from centre and collection where None.
    """

    centre_id: str = UNREGISTERED_CENTRE
    policy: Literal["core", "recommended"] = "recommended"
    subtopic: tuple[str, ...] = ("experimental", "radio-occultation")
    metadata_id: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFile:
    """The file a message leads to.

    Attributes
    ----------
    href : str
        Address, http or https.
    media_type : str
        Content type.
    size : int or None
        Length [octet].
    method : str
        Kind of the hash: sha256 or sha512.
    digest : str or None
        The hash in hex; None where it is not known.
    """

    href: str
    media_type: str
    size: int | None = None
    method: Literal["sha256", "sha512"] = "sha512"
    digest: str | None = None


def topic(origin: Origin) -> str:
    """Topic under which messages are published.

    Parameters
    ----------
    origin : Origin
        Who sends.

    Returns
    -------
    str
        Topic of channel ``origin``, version a.

    Raises
    ------
    Wis2NotificationError
        A level is not one.
    """
    if not _CENTRE.fullmatch(origin.centre_id):
        raise Wis2NotificationError(f"{origin.centre_id!r} is no centre id: top-level domain, hyphen, name")
    if origin.policy not in ("core", "recommended"):
        raise Wis2NotificationError(f"{origin.policy!r} is no data policy: core or recommended")
    for level in origin.subtopic:
        if not _LEVEL.fullmatch(level):
            raise Wis2NotificationError(f"{level!r} cannot be a level of a topic: a-z, 0-9 and hyphen")
    return "/".join(("origin/a/wis2", origin.centre_id, "data", origin.policy, "weather", *origin.subtopic))


def message(announcement: Mapping[str, Any], *, origin: Origin, file: DataFile) -> dict[str, Any] | None:
    """Build and validate the message of an announcement.

    Parameters
    ----------
    announcement : Mapping[str, Any]
        As `products.notification.announcement` gives it.
    origin : Origin
        Who sends.
    file : DataFile
        The file it is about; of a withdrawn revision, where it was.

    Returns
    -------
    dict or None
        The message; None for a revision that gave way to another: it has the data_id of its successor, whose message
        says "update", and "deletion" would be taken for the successor's.

    Raises
    ------
    Wis2NotificationError
        The message would not be valid.
    """
    event, item, revision = announcement["event"], announcement["id"], announcement["revision"]
    if announcement.get("successor") is not None:
        return None
    topic(origin)
    link: dict[str, Any] = {"href": file.href, "rel": _relation(event, revision), "type": file.media_type}
    properties: dict[str, Any] = {
        "pubtime": announcement["occurred_at"],
        "data_id": f"{origin.centre_id}/{announcement['product']}/{item}",
        "metadata_id": origin.metadata_id or f"urn:wmo:md:{origin.centre_id}:{announcement['collection']}",
        **_times(announcement),
    }
    if event != "withdrawn":
        link |= {} if file.size is None else {"length": file.size}
        properties |= {} if file.digest is None else {"integrity": _integrity(file.method, file.digest)}
    document = {
        "id": str(uuid.uuid5(_SPACE, f"{origin.centre_id}/{event}/{item}/{revision}")),
        "conformsTo": [CONFORMANCE],
        "type": "Feature",
        "geometry": _geometry(announcement["bbox"]),
        "properties": properties,
        "links": [link],
    }
    validate(document)
    return document


def validate(document: Mapping[str, Any]) -> None:
    """Check a message against our schema.

    Parameters
    ----------
    document : Mapping[str, Any]
        The message.

    Raises
    ------
    Wis2NotificationError
        The first breach.
    """
    import jsonschema

    breach = jsonschema.exceptions.best_match(_validator().iter_errors(document))
    if breach is not None:
        raise Wis2NotificationError(f"WIS2 message: {breach.json_path}: {breach.message[:200]}")


@functools.lru_cache(maxsize=1)
def _validator() -> "jsonschema.Draft202012Validator":
    import jsonschema

    path = resources.files("products").joinpath("schemas", "wis2-notification", "v1.0.0", "schema.json")
    return jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


def _relation(event: str, revision: int) -> str:
    if event == "withdrawn":
        return DELETION
    return CANONICAL if revision == 1 else UPDATE


def _times(announcement: Mapping[str, Any]) -> dict[str, str]:
    if announcement["start"] == announcement["end"]:
        return {"datetime": announcement["start"]}
    return {"start_datetime": announcement["start"], "end_datetime": announcement["end"]}


def _integrity(method: str, digest: str) -> dict[str, str]:
    try:
        octets = binascii.unhexlify(digest)
    except ValueError as error:
        raise Wis2NotificationError(f"{digest[:20]!r} is no hash in hex") from error
    if len(octets) != _LENGTHS[method]:
        raise Wis2NotificationError(f"a hash of {len(octets)} octets is not of {method}")
    return {"method": method, "value": base64.b64encode(octets).decode()}


def _geometry(bbox: Sequence[float]) -> dict[str, Any] | None:
    west, south, east, north = bbox
    if west > east:
        return None  # the form has no way to say "across the date line", and a polygon around the world is wrong
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
