"""Reconciliation: what the database says, what the store holds and what the feed tells, and every difference."""

import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infra import catalog_store, database, object_store, pgstac_index, publication, settings, signing
from infra.delivery import replay

#: An object no revision names counts as left behind when it is older than this; before, it may be one in the making.
ORPHAN_AGE = dt.timedelta(days=7)

#: Name of the newest report in the home.
REPORT = "reconciliation.json"

_PAGE = 1000


class Difference(NamedTuple):
    """One place where they differ.

    Attributes
    ----------
    kind : str
        missing_object, size_wrong, signature_missing, orphan_object, unfinished_upload, feed_missing, feed_unknown,
        pointer_wrong (of an item), latest_wrong (pointer of a collection) or collection_missing; where the catalogue
        is in pgstac also index_missing, index_stale or index_wrong; content_wrong of what `infra.delivery.fixity` read.
    place : str
        Bucket and key; of the index, collection and item.
    detail : str
        What it is about.
    """

    kind: str
    place: str
    detail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """Counts and differences.

    Attributes
    ----------
    at : str
        When, RFC 3339 UTC.
    database : int
        Objects the database says are there, and announcements delivered [1].
    store : int
        Of these objects, how many the store holds with the right length [1].
    feed : int
        Of the announcements delivered, how many the feed holds [1].
    announcements : int
        Announcements delivered [1].
    differences : tuple of Difference
        Every difference.
    repaired : tuple of Difference
        What was put right now; they are not among the differences.
    """

    at: str
    database: int
    store: int
    feed: int
    announcements: int
    differences: tuple[Difference, ...]
    repaired: tuple[Difference, ...] = ()


class Stores(NamedTuple):
    """What is compared.

    Attributes
    ----------
    catalog : infra.catalog_store.CatalogStore
        The database.
    store : infra.object_store.ObjectStore
        The store.
    product_buckets : Sequence[str]
        Buckets of products and profiles.
    catalogue_bucket : str
        Bucket of collections, pointers and feed.
    signer : callable or None
        Signs manifests; None where they are not signed, and nothing is said of signatures then.
    """

    catalog: catalog_store.CatalogStore
    store: object_store.ObjectStore
    product_buckets: Sequence[str]
    catalogue_bucket: str
    signer: publication.Signer | None = None


def stores_of(
    chosen: settings.Settings, *, catalog: catalog_store.CatalogStore, store: object_store.ObjectStore
) -> Stores:
    """What is compared in an installation.

    Parameters
    ----------
    chosen : infra.settings.Settings
        Its settings.
    catalog : infra.catalog_store.CatalogStore
        Its catalogue.
    store : infra.object_store.ObjectStore
        Its store.

    Returns
    -------
    Stores
        With its buckets.
    """
    return Stores(
        catalog=catalog,
        store=store,
        product_buckets=(chosen.bucket("products"), chosen.bucket("profiles")),
        catalogue_bucket=chosen.bucket("catalogue"),
        signer=signing.signer(chosen.home),
    )


def reconcile(stores: Stores, *, now: dt.datetime, repair: bool = False) -> Reconciliation:
    """Compare database, store and feed; put right what can be derived, and never delete an object.

    A pointer is never turned back to an item that an announcement in the feed says was withdrawn, and of which the
    database does not know that: it was brought back from before and has to be told first (`infra.delivery.replay`).

    Parameters
    ----------
    stores : Stores
        What is compared.
    now : datetime.datetime
        Time; aware.
    repair : bool
        Whether to deliver announcements and pointers anew, sign what lost its signature, enter collections from the
        store and give up uploads nobody will complete.

    Returns
    -------
    Reconciliation
        Counts and differences that are left.
    """
    first = _compared(stores, now)
    if not repair:
        return first
    _repair(stores, first.differences, now)
    again = _compared(stores, now)
    left = set(again.differences)
    return dataclasses.replace(again, repaired=tuple(found for found in first.differences if found not in left))


def write_report(home: Path, found: Reconciliation) -> Path:
    """Keep the newest report where the state of the service is told from.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    found : Reconciliation
        The report.

    Returns
    -------
    Path
        The file.
    """
    path = home / REPORT
    document = dataclasses.asdict(found) | {
        "differences": [one._asdict() for one in found.differences],
        "repaired": [one._asdict() for one in found.repaired],
    }
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.rename(path)
    return path


def last_counts(home: Path) -> dict[str, Any] | str:
    """Counts of the newest report, for the state of the service.

    Parameters
    ----------
    home : Path
        Folder of the installation.

    Returns
    -------
    dict or str
        When, the three counts and the number of differences; ``not measured`` where there is no report.
    """
    try:
        document = json.loads((home / REPORT).read_text(encoding="utf-8"))
        counts = {name: document[name] for name in ("at", "database", "store", "feed", "announcements")}
        return counts | {"differences": len(document["differences"])}
    except (OSError, ValueError, KeyError):
        return "not measured"


def _compared(stores: Stores, now: dt.datetime) -> Reconciliation:
    differences: list[Difference] = []
    # The store is listed first: what is published meanwhile is then named and not listed, so it is looked up itself.
    held = {
        (found.bucket, found.key): found for bucket in stores.product_buckets for found in stores.store.list(bucket)
    }
    named: set[tuple[str, str]] = set()
    wanted: dict[tuple[str, str], catalog_store.NamedObject] = {}
    for one in catalog_store.Custody(stores.catalog).objects():
        place = (one.bucket, one.key)
        named.add(place)
        if one.name == "manifest":
            named.add((one.bucket, f"{one.key}{publication.SIGNATURE_SUFFIX}"))
        if one.state in {"published", "superseded"} and wanted.get(place, one).size in {None, one.size}:
            wanted[place] = one
    faults = [fault for one in wanted.values() for fault in _object_fault(one, held, stores.store)]
    differences += faults
    differences += _unsigned(stores, held, wanted.values())
    differences += _orphans(held, named, now)
    differences += [
        Difference("unfinished_upload", f"{one.bucket}/{one.key}", f"begun {one.begun.isoformat()}, {one.upload_id}")
        for one in _unfinished(stores, now)
    ]
    counted, announced, told = _feed(stores)
    differences += told
    differences += _pointers(stores)
    differences += _collections(stores)
    differences += _index(stores.catalog)
    return Reconciliation(
        at=now.astimezone(dt.UTC).isoformat(),
        database=len(wanted),
        store=len(wanted) - len(faults),
        feed=counted,
        announcements=announced,
        differences=tuple(differences),
    )


def _object_fault(
    one: catalog_store.NamedObject,
    held: dict[tuple[str, str], object_store.StoredObject],
    store: object_store.ObjectStore,
) -> Iterator[Difference]:
    place, detail = f"{one.bucket}/{one.key}", f"{one.name} of {one.item_id} r{one.revision}"
    found = held.get((one.bucket, one.key))
    if found is None:
        try:
            found = store.head(one.bucket, one.key)
        except object_store.ObjectMissingError:
            yield Difference("missing_object", place, detail)
            return
    if one.size is not None and found.size != one.size:
        yield Difference("size_wrong", place, f"{detail}: {found.size} octets, not {one.size}")


def _unsigned(
    stores: Stores,
    held: dict[tuple[str, str], object_store.StoredObject],
    wanted: Iterable[catalog_store.NamedObject],
) -> Iterator[Difference]:
    for one in wanted if stores.signer is not None else ():
        key = f"{one.key}{publication.SIGNATURE_SUFFIX}"
        if one.name == "manifest" and (one.bucket, key) not in held and not stores.store.exists(one.bucket, key):
            yield Difference("signature_missing", f"{one.bucket}/{key}", f"{one.item_id} r{one.revision}")


def _unfinished(stores: Stores, now: dt.datetime) -> Iterator[object_store.UnfinishedUpload]:
    """Uploads so old that no process is at work on them any more."""
    for bucket in (*stores.product_buckets, stores.catalogue_bucket):
        yield from (one for one in stores.store.unfinished_uploads(bucket) if now - one.begun > ORPHAN_AGE)


def _orphans(
    held: dict[tuple[str, str], object_store.StoredObject], named: set[tuple[str, str]], now: dt.datetime
) -> Iterator[Difference]:
    for place, found in held.items():
        if place not in named and found.modified is not None and now - found.modified > ORPHAN_AGE:
            yield Difference("orphan_object", "/".join(place), f"{found.size} octets that no revision names")


def _announced(catalog: catalog_store.CatalogStore) -> Iterator[catalog_store.Announcement]:
    after = 0
    while page := catalog.announcements(after=after, limit=_PAGE):
        yield from page
        after = page[-1].sequence


def _delivered(catalog: catalog_store.CatalogStore) -> Iterator[catalog_store.Announcement]:
    return (one for one in _announced(catalog) if one.delivered_at is not None)


def _feed(stores: Stores) -> tuple[int, int, list[Difference]]:
    bucket = stores.catalogue_bucket
    delivered = {publication.announcement_key(one): one for one in _delivered(stores.catalog)}
    held = {found.key for folder in ("feed/", "feed-test/") for found in stores.store.list(bucket, folder)}
    found = [
        Difference("feed_missing", f"{bucket}/{key}", f"{one.event} {one.item_id} r{one.revision}")
        for key, one in delivered.items()
        if key not in held
    ]
    unknown = held - set(delivered)
    if unknown:
        # What is being delivered is known, and so is what was announced after the database was read.
        unknown -= {publication.announcement_key(one) for one in _announced(stores.catalog)}
    beyond = replay.told_beyond(stores.catalog, stores.store, bucket) if unknown else {}
    for key in sorted(unknown):
        one = beyond.get(key)
        said = "" if one is None else f": {one.event} {one.item_id} r{one.revision}"
        found.append(Difference("feed_unknown", f"{bucket}/{key}", f"the database has no such announcement{said}"))
    return len(held & set(delivered)), len(delivered), found


def _pointers(stores: Stores) -> Iterator[Difference]:
    outstanding = list(stores.catalog.undelivered())
    waiting = {one.item_id for one in outstanding}
    unsettled = {str(one.payload["collection"]) for one in outstanding}
    collections: set[str] = set()
    for item_id in catalog_store.Custody(stores.catalog).latest_identities():
        item = stores.catalog.item(item_id)
        if item is None:
            continue
        collections.add(item.collection)
        key = publication.latest_key(item.collection, item_id)
        if item_id not in waiting and not _points(stores, key, publication.pointer(item)):
            yield Difference("pointer_wrong", f"{stores.catalogue_bucket}/{key}", item_id)
    for collection in sorted(collections - unsettled):
        key = publication.collection_latest_key(collection)
        if not _points(stores, key, publication.newest_pointer(collection, stores.catalog)):
            yield Difference("latest_wrong", f"{stores.catalogue_bucket}/{key}", collection)


def _points(stores: Stores, key: str, expected: bytes) -> bool:
    try:
        return stores.store.read(stores.catalogue_bucket, key) == expected
    except object_store.ObjectStoreError:
        if not stores.store.answers(stores.catalogue_bucket):
            raise
        return False


def _collections(stores: Stores) -> Iterator[Difference]:
    known = catalog_store.Custody(stores.catalog).collections()
    for found in stores.store.list(stores.catalogue_bucket, "collections/"):
        name = found.key.removeprefix("collections/").removesuffix(".json")
        if name not in known:
            yield Difference("collection_missing", f"{found.bucket}/{found.key}", name)


def _index(catalog: catalog_store.CatalogStore) -> list[Difference]:
    detail = {
        "index_missing": "it is current and pgstac does not have it",
        "index_stale": "pgstac has it and it is not current",
        "index_wrong": "pgstac has other properties or another footprint",
    }
    with database.reading(catalog.engine) as connection:
        if not pgstac_index.answers(connection):
            return []
        found = list(pgstac_index.differences(connection))
    return [Difference(one.kind, f"pgstac/{one.collection}/{one.item_id}", detail[one.kind]) for one in found]


def _repair(stores: Stores, differences: Sequence[Difference], now: dt.datetime) -> None:
    for upload in list(_unfinished(stores, now)):
        stores.store.give_up(upload)
    _sign(stores, differences)
    lost = {one.place for one in differences if one.kind == "feed_missing"}
    for told in _delivered(stores.catalog) if lost else ():
        if f"{stores.catalogue_bucket}/{publication.announcement_key(told)}" in lost:
            publication.write_feed(told, store=stores.store, catalogue_bucket=stores.catalogue_bucket)
    if any(one.kind.startswith("index_") for one in differences):
        pgstac_index.refill(stores.catalog)
    suspect = _withdrawn_unknown(stores) if any(one.kind == "feed_unknown" for one in differences) else frozenset()
    for one in differences:
        if one.kind == "pointer_wrong" and one.detail not in suspect:
            publication.refresh_pointer(
                one.detail, store=stores.store, catalog=stores.catalog, catalogue_bucket=stores.catalogue_bucket
            )
        elif one.kind == "latest_wrong" and _newest(stores, one.detail) not in suspect:
            publication.refresh_latest(
                one.detail, store=stores.store, catalog=stores.catalog, catalogue_bucket=stores.catalogue_bucket
            )
        elif one.kind == "collection_missing":
            key = one.place.partition("/")[2]
            stores.catalog.put_collection(json.loads(stores.store.read(stores.catalogue_bucket, key)))
    # What is outstanding moves the pointers of its items and collections: it waits while one of them is in doubt.
    if not suspect:
        publication.deliver_outbox(store=stores.store, catalog=stores.catalog, catalogue_bucket=stores.catalogue_bucket)


def _withdrawn_unknown(stores: Stores) -> frozenset[str]:
    """Items of which the feed tells a withdrawal that the database does not know."""
    told = replay.told_beyond(stores.catalog, stores.store, stores.catalogue_bucket).values()
    taken_back = [one for one in told if one is not None and one.event == "withdrawn"]
    return frozenset(one.item_id for one in taken_back if _stands(one, stores.catalog))


def _stands(told: catalog_store.Announcement, catalog: catalog_store.CatalogStore) -> bool:
    """Whether a withdrawal says something the database contradicts: it may also have been made again since."""
    found = catalog.item(told.item_id, told.revision)
    if found is None:
        return True
    live = found.state in {"published", "superseded"}
    return live and found.content_sha256 == told.payload["sha256"]["content"]


def _newest(stores: Stores, collection: str) -> str | None:
    found = stores.catalog.search(collection=collection, limit=1)
    return found[0].item_id if found else None


def _sign(stores: Stores, differences: Sequence[Difference]) -> None:
    """Sign anew what lost its signature; a manifest that is not what was published stays unsigned and reported."""
    lost = {one.place for one in differences if one.kind == "signature_missing"}
    if not lost or stores.signer is None:
        return
    for one in catalog_store.Custody(stores.catalog).objects():
        if one.name != "manifest" or f"{one.bucket}/{one.key}{publication.SIGNATURE_SUFFIX}" not in lost:
            continue
        item = stores.catalog.item(one.item_id, one.revision)
        if item is not None:
            with contextlib.suppress(publication.VerificationError, object_store.ObjectMissingError):
                publication.sign_manifest(item, store=stores.store, signer=stores.signer)
