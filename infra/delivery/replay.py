"""Replay: what the feed and the record of access tell that a database brought back from a backup does not know.

A backup is older than what happened after it. Withdrawals and publications made since stand in the feed, under their
own positions; keys taken back since stand in the record of access. They are entered again before the database is used,
else what was withdrawn would be served and whoever was shut out let in.

Somebody may have seen positions that neither the database nor the feed knows, of notices and of what stood in the
outbox only. Both sequences leap over them, else whoever asks from there would never hear of what takes them next.

Objects of the feed are not signed. A withdrawal is taken from them as it stands, for it can only take something away;
a publication is entered only where the manifest it names is signed and vouches for every file.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from infra import catalog_store, database, object_store, publication, signing
from infra.delivery import audit, identity, notices, store_access
from products import minisign, notification

FOLDERS = ("feed/", "feed-test/")

#: How far behind the last position known the next announcement and the next notice stand [1].
LEAP = 1000

_POSITION = re.compile(r"[0-9]{1,18}")
_REASON_LIMIT = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """What was entered again, and what could not be.

    Attributes
    ----------
    withdrawn, published : int
        Revisions withdrawn, and published, after the backup and entered again now [1].
    keys_revoked, store_credentials_revoked : int
        API keys, and store credentials, taken back after the backup and taken back again now [1].
    publish_again : tuple of str
        Publications of the feed that could not be entered, as ``item r<revision>``: they must be published again.
    unknown : tuple of str
        Keys of all other objects of the feed the database still does not know.
    record : str or None
        Why the record of access could not be read to its end; None where it was.
    """

    withdrawn: int = 0
    published: int = 0
    keys_revoked: int = 0
    store_credentials_revoked: int = 0
    publish_again: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    record: str | None = None


def replay(
    catalog: catalog_store.CatalogStore,
    *,
    store: object_store.ObjectStore,
    catalogue_bucket: str,
    record: Path,
    trusted: Sequence[signing.PublicKey],
    now: dt.datetime,
) -> Replay:
    """Enter what was told after the backup; doing it again changes nothing as long as nothing else was announced.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue brought back, with the newest schema; nothing else may be writing it.
    store : infra.object_store.ObjectStore
        Where feed and products are.
    catalogue_bucket : str
        Bucket of the feed.
    record : Path
        Folder of the record of access.
    trusted : Sequence of infra.signing.PublicKey
        Keys that may have signed manifests.
    now : datetime.datetime
        Time; aware.

    Returns
    -------
    Replay
        What was entered, and what could not be.

    Raises
    ------
    infra.object_store.ObjectStoreError
        The store as a whole does not answer.
    """
    told = told_beyond(catalog, store, catalogue_bucket)
    # From the last position known and not from where the sequence stands: leaping again leads to the same place.
    last = max(last_position(store, catalogue_bucket), catalog_store.Custody(catalog).last_position())
    catalog.never_reuse_positions(last + LEAP)
    notices.Notices(catalog).leap(LEAP)
    entered = _entered(catalog, [one for one in told.values() if one is not None], store, trusted, now)
    known = _positions(catalog)
    left = {key: one for key, one in told.items() if one is None or one.sequence not in known}
    lost = {key: f"{one.item_id} r{one.revision}" for key, one in left.items() if one and one.event == "published"}
    keys, fault = _revoked_keys(catalog.engine, record)
    return Replay(
        withdrawn=entered.count("withdrawn"),
        published=entered.count("published"),
        keys_revoked=keys["key_revoke"],
        store_credentials_revoked=keys["store_credentials_revoke"],
        publish_again=tuple(lost.values()),
        unknown=tuple(key for key in left if key not in lost),
        record=fault,
    )


def last_position(store: object_store.ObjectStore, catalogue_bucket: str) -> int:
    """Last position the feed ever had.

    Parameters
    ----------
    store : infra.object_store.ObjectStore
        Where the feed is.
    catalogue_bucket : str
        Its bucket.

    Returns
    -------
    int
        Position; 0 where the feed is empty [1].
    """
    return max((_position(key) or 0 for key in _feed(store, catalogue_bucket)), default=0)


def told_beyond(
    catalog: catalog_store.CatalogStore, store: object_store.ObjectStore, catalogue_bucket: str
) -> dict[str, catalog_store.Announcement | None]:
    """What the feed tells that the database does not know.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The database.
    store : infra.object_store.ObjectStore
        Where the feed is.
    catalogue_bucket : str
        Its bucket.

    Returns
    -------
    dict
        Announcement by key in the order of positions, as delivered when it occurred; None where the object is none, or
        cannot be read.

    Raises
    ------
    infra.object_store.ObjectStoreError
        The store as a whole does not answer.
    """
    # The feed first: what is announced meanwhile is then known and not listed.
    keys = sorted(_feed(store, catalogue_bucket), key=lambda key: (_position(key) or 0, key))
    known = _positions(catalog)
    return {
        key: _read(store, catalogue_bucket, key)
        for key in keys
        if (place := _position(key)) is None or place not in known
    }


def _feed(store: object_store.ObjectStore, bucket: str) -> list[str]:
    return [found.key for folder in FOLDERS for found in store.list(bucket, folder)]


def _position(key: str) -> int | None:
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if _POSITION.fullmatch(name) else None


def _positions(catalog: catalog_store.CatalogStore) -> frozenset[int]:
    with database.reading(catalog.engine) as connection:
        return frozenset(connection.execute(sa.select(catalog_store.outbox_table.c.sequence)).scalars())


def _read(store: object_store.ObjectStore, bucket: str, key: str) -> catalog_store.Announcement | None:
    try:
        return _told(store.read(bucket, key), key)
    except object_store.ObjectStoreError:
        if not store.answers(bucket):
            raise
        return None


def _told(body: bytes, key: str) -> catalog_store.Announcement | None:
    """Announcement of an object of the feed; None where it is not one, or is another's than its key says."""
    try:
        payload = json.loads(body)
        sequence = payload.pop("sequence")
        occurred = dt.datetime.fromisoformat(payload["occurred_at"])
        found = catalog_store.Announcement(
            sequence, payload["event"], payload["id"], payload["revision"], payload, occurred, occurred
        )
        sound = _is_sound(payload) and publication.announcement_key(found) == key
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if sound and occurred.tzinfo is not None else None


def _is_sound(payload: Mapping[str, Any]) -> bool:
    """Whether its parts are what an announcement's are; the rest is compared with manifest and item."""
    texts = [payload[name] for name in ("event", "id", "collection", "sector", "product", "start", "end")]
    texts += [payload["sha256"][name] for name in ("content", "manifest")]
    reason = payload.get("reason", "")
    return (
        payload["layout"] == notification.LAYOUT
        and payload["event"] in notification.EVENTS
        and all(isinstance(text, str) and text for text in (*texts, reason or "none"))
        and type(payload["revision"]) is int
        and len(reason) <= _REASON_LIMIT
        and (payload["event"] == "withdrawn") == bool(reason)
    )


def _entered(
    catalog: catalog_store.CatalogStore,
    told: Sequence[catalog_store.Announcement],
    store: object_store.ObjectStore,
    trusted: Sequence[signing.PublicKey],
    now: dt.datetime,
) -> list[str]:
    """Enter announcements in the order of the feed; the event of each that could be."""
    entered = []
    # A revision is superseded by a publication: the two are entered together, or neither.
    superseding = {(one.item_id, one.payload.get("successor")): one for one in told if one.event == "superseded"}
    for one in (dataclasses.replace(found, delivered_at=now) for found in told):
        if one.event == "withdrawn" and catalog.withdraw_again(one):
            entered.append("withdrawn")
        elif one.event == "published":
            entry = _entry(one, store, trusted)
            before = superseding.get((one.item_id, one.revision))
            before = None if before is None else dataclasses.replace(before, delivered_at=now)
            if entry is not None and catalog.publish_again(entry, one, before):
                entered.append("published")
    return entered


def _entry(
    told: catalog_store.Announcement, store: object_store.ObjectStore, trusted: Sequence[signing.PublicKey]
) -> catalog_store.CatalogEntry | None:
    """Revision a publication announced, from the objects of the store; None where they are not all as published."""
    try:
        bucket, manifest_key = _place(told.payload)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    try:
        manifest = store.read(bucket, manifest_key)
        signature = store.read(bucket, f"{manifest_key}{publication.SIGNATURE_SUFFIX}")
        said = f"{told.item_id} {told.payload['sha256']['content']}"
        if signing.verify(trusted, manifest, signature) != said:
            return None
        return _vouched(told, bucket, manifest_key, manifest, store)
    except object_store.StoreUnavailableError:
        if not store.answers(bucket):
            raise
        return None
    except (object_store.ObjectStoreError, minisign.SignatureError, ValueError, KeyError, TypeError):
        return None


def _place(payload: Mapping[str, Any]) -> tuple[str, str]:
    href = {link["rel"]: link["href"] for link in payload["links"]}["manifest"]
    bucket, _, key = href.removeprefix("s3://").partition("/")
    return bucket, key


def _vouched(
    told: catalog_store.Announcement,
    bucket: str,
    manifest_key: str,
    manifest: bytes,
    store: object_store.ObjectStore,
) -> catalog_store.CatalogEntry | None:
    """Revision with everything its signed manifest vouches for; None where something is missing or other."""
    payload, folder = told.payload, manifest_key.rpartition("/")[0]
    files = json.loads(manifest)["files"]
    content = publication.content_hash({name: file["sha256"] for name, file in files.items()})
    body = store.read(bucket, f"{folder}/{publication.ITEM_NAME}")
    document = json.loads(body)
    properties = document["properties"]
    same = (
        (hashlib.sha256(manifest).hexdigest(), content) == (payload["sha256"]["manifest"], payload["sha256"]["content"])
        and hashlib.sha256(body).hexdigest() == files[publication.ITEM_NAME]["sha256"]
        and [document["id"], document["collection"]] == [told.item_id, payload["collection"]]
        and [properties["cqeo:sector"], properties["cqeo:product_code"]] == [payload["sector"], payload["product"]]
    )
    assets = tuple(
        catalog_store.AssetRecord(
            name=name, bucket=bucket, key=f"{folder}/{name}", sha256=file["sha256"], size=file["size"]
        )
        for name, file in sorted(files.items())
        if name != publication.ITEM_NAME
    )
    if not same or not all(store.head(one.bucket, one.key).size == one.size for one in assets):
        return None
    return catalog_store.CatalogEntry(
        item_id=told.item_id,
        collection=payload["collection"],
        sector=payload["sector"],
        product=payload["product"],
        start=_instant(properties.get("start_datetime") or properties["datetime"]),
        end=_instant(properties.get("end_datetime") or properties["datetime"]),
        bbox=tuple(document["bbox"]),
        content_sha256=payload["sha256"]["content"],
        manifest_sha256=payload["sha256"]["manifest"],
        bucket=bucket,
        item_key=f"{folder}/{publication.ITEM_NAME}",
        manifest_key=manifest_key,
        document=document,
        assets=assets,
    )


def _instant(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _revoked_keys(engine: sa.Engine, record: Path) -> tuple[dict[str, int], str | None]:
    """Take back what the record says was taken back; how many of each kind, and why the record could not be read."""
    counted = {"key_revoke": 0, "store_credentials_revoke": 0}
    if not record.is_dir():
        return counted, f"there is no record of access in {record}"
    try:
        for event, name, at in _revocations(record):
            revoke = identity.revoke if event == "key_revoke" else store_access.revoke
            counted[event] += revoke(engine, name, now=at)
    except audit.AuditError as error:
        return counted, str(error)
    return counted, None


def _revocations(record: Path) -> Iterator[tuple[str, str, dt.datetime]]:
    # What was taken back is never given again, so that how old the backup is does not matter.
    for line in audit.lines(record, containing=b"_revoke"):
        entry = line.entry
        if entry.event in ("key_revoke", "store_credentials_revoke") and entry.decision == "allowed" and entry.key_id:
            yield entry.event, entry.key_id, dt.datetime.fromisoformat(line.at)
