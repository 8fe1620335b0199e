"""Exports for bulk users: stac-geoparquet by collection and month, and the static catalogue, in the catalogue bucket.

Both are copies that follow the catalogue: they are replaced, and only where their content changed. They hold every
published item, whatever its sector and districts, so who may read them is a matter of the bucket's credentials. What
is no longer published leaves both: in the static catalogue a document stays in its place that says so, and a month
that lost its last item is a file without rows.
"""

import dataclasses
import datetime as dt
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infra import catalog_store, object_store
from products import parquet_footer, stac, static_catalogue, streams

PARQUET, MIRROR = "export", "mirror"
_PARQUET_TYPE = "application/vnd.apache.parquet"

Months = Mapping[str, Mapping[str, list[dict[str, Any]]]]
Month = tuple[str, str]


class Mark(NamedTuple):
    """How far the catalogue had come at an export.

    Attributes
    ----------
    sequence : int
        Last position of the feed [1].
    at : datetime.datetime
        When; aware.
    """

    sequence: int
    at: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What was exported.

    Attributes
    ----------
    items : int
        Items of the months that were looked at [1].
    files : int
        Files of stac-geoparquet and of the static catalogue looked at [1].
    written : int
        Of these, how many had to be written [1].
    sequence : int
        Last position of the feed that is in the export [1].
    """

    items: int
    files: int
    written: int
    sequence: int


def export(
    catalog: catalog_store.CatalogStore,
    store: object_store.ObjectStore,
    *,
    catalogue_bucket: str,
    since: Mark | None = None,
) -> Export:
    """Bring both exports up to the catalogue.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    store : infra.object_store.ObjectStore
        Where they go.
    catalogue_bucket : str
        Bucket; keys are ``export/<collection>/<yyyy-mm>.parquet`` and ``mirror/...``.
    since : Mark or None
        How far the export before went: only months in which something was published, superseded, withdrawn or has
        expired since are looked at. None for all.

    Returns
    -------
    Export
        What was exported.
    """
    custody = catalog_store.Custody(catalog)
    # Before anything is read: what is announced meanwhile is looked at again by the next.
    sequence = custody.last_position()
    changed = None if since is None else custody.months_changed(after=since.sequence, since=since.at)
    if changed is not None and not any(_exported(collection) for collection, _ in changed):
        return Export(items=0, files=0, written=0, sequence=sequence)
    held = _held(store, catalogue_bucket, changed, custody.collections())
    looked_at = custody.months() | _months_held(held) if changed is None else changed
    months = by_month(catalog, looked_at)
    gone = {
        (collection, month): _gone(custody, collection, month, items)
        for collection, of_collection in months.items()
        for month, items in of_collection.items()
    }
    files = written = 0
    for key, body, media_type in (*_parquet(months, gone, held), *_mirror(custody, months, gone, held)):
        files += 1
        # The store's mark of an object written at once is its MD5; another mark costs a write, nothing else.
        if held.get(key) == hashlib.md5(body, usedforsecurity=False).hexdigest():
            continue
        store.put_replace(catalogue_bucket, key, body, media_type=media_type)
        written += 1
    count = sum(len(items) for held_months in months.values() for items in held_months.values())
    return Export(items=count, files=files, written=written, sequence=sequence)


def by_month(catalog: catalog_store.CatalogStore, looked_at: Iterable[Month] | None = None) -> Months:
    """Published items as the exports hold them.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    looked_at : Iterable of (str, str), or None
        Collections and months; None for all that hold items.

    Returns
    -------
    Mapping
        Items by month of their beginning (yyyy-mm, UTC) by collection; no test data.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    wanted = catalog_store.Custody(catalog).months() if looked_at is None else looked_at
    for collection, month in sorted(one for one in wanted if _exported(one[0])):
        items = [_item(one) for one in catalog.published(collection=collection, month=month)]
        found.setdefault(collection, {})[month] = items
    return found


def _item(one: catalog_store.CatalogItem) -> dict[str, Any]:
    return static_catalogue.item(one.item, {asset.name: f"s3://{asset.bucket}/{asset.key}" for asset in one.assets})


def _gone(
    custody: catalog_store.Custody, collection: str, month: str, items: Sequence[Mapping[str, Any]]
) -> list[catalog_store.CatalogItem]:
    current = {item["id"] for item in items}
    return [one for one in custody.gone(collection, month) if one.item_id not in current]


def _held(
    store: object_store.ObjectStore, bucket: str, changed: Iterable[Month] | None, collections: Iterable[str]
) -> dict[str, str]:
    """The store's marks of what the exports hold, of all or of what a change of these months concerns."""
    if changed is None:
        prefixes = {f"{PARQUET}/", f"{MIRROR}/"}
    else:
        prefixes = {f"{MIRROR}/catalog.json"} | {f"{MIRROR}/{name}/collection.json" for name in collections}
        prefixes |= {f"{PARQUET}/{collection}/{month}.parquet" for collection, month in changed}
        prefixes |= {f"{MIRROR}/{collection}/{month}/" for collection, month in changed}
    return {
        found.key: (found.etag or "").strip('"') for prefix in sorted(prefixes) for found in store.list(bucket, prefix)
    }


def _months_held(held: Iterable[str]) -> frozenset[Month]:
    parts = [key.split("/") for key in held]
    mirrored = {(part[1], part[2]) for part in parts if part[0] == MIRROR and len(part) == 4}
    exported = {(part[1], part[2].removesuffix(".parquet")) for part in parts if part[0] == PARQUET and len(part) == 3}
    return frozenset(mirrored | exported)


def _exported(collection: str) -> bool:
    return streams.of_collection(collection) == streams.OPERATIONAL


def parquet(items: list[dict[str, Any]]) -> bytes:
    """Write items as stac-geoparquet.

    Parameters
    ----------
    items : list of dict
        STAC items, at least one: the format has no form of none.

    Returns
    -------
    bytes
        The file.
    """
    import rustac

    with tempfile.TemporaryDirectory(prefix="parquet-") as folder:
        path = Path(folder) / "items.parquet"
        rustac.write_sync(str(path), items)
        return path.read_bytes()


def _parquet(
    months: Months, gone: Mapping[Month, Sequence[catalog_store.CatalogItem]], held: Mapping[str, str]
) -> Iterator[tuple[str, bytes, str]]:
    for collection in sorted(months):
        for month, items in sorted(months[collection].items()):
            key = f"{PARQUET}/{collection}/{month}.parquet"
            if items:
                yield key, parquet(items), _PARQUET_TYPE
            elif key in held and gone[collection, month]:
                # Its last item was withdrawn or expired: what it held must not go on being read, nor the folder break.
                left = parquet([_item(one) for one in gone[collection, month]])
                yield key, parquet_footer.without_rows(left), _PARQUET_TYPE


def _mirror(
    custody: catalog_store.Custody,
    months: Months,
    gone: Mapping[Month, Sequence[catalog_store.CatalogItem]],
    held: Mapping[str, str],
) -> Iterator[tuple[str, bytes, str]]:
    collections = {name: document for name, document in custody.collections().items() if _exported(name)}
    for path, document in static_catalogue.documents(collections, _kept(custody, collections, months, held)):
        yield f"{MIRROR}/{path}", stac.encoded(document), "application/json"
    for collection in sorted(set(months) & set(collections)):
        for month, items in sorted(months[collection].items()):
            for item in items:
                yield f"{MIRROR}/{collection}/{month}/{item['id']}.json", stac.encoded(item), "application/geo+json"
            for one in gone[collection, month]:
                key = f"{MIRROR}/{collection}/{month}/{one.item_id}.json"
                if key in held:
                    said = static_catalogue.tombstone(one.item, one.state_reason)
                    yield key, stac.encoded(said), "application/geo+json"


def _kept(
    custody: catalog_store.Custody, collections: Iterable[str], months: Months, held: Mapping[str, str]
) -> dict[str, dict[str, list[dict[str, Any]] | None]]:
    """Months of the static catalogue: those with items, and of those looked at the empty ones it has a document of."""
    kept: dict[str, dict[str, list[dict[str, Any]] | None]] = {name: {} for name in collections}
    for collection, month in custody.months():
        if collection in kept:
            kept[collection][month] = None
    for collection in set(months) & set(kept):
        for month, items in months[collection].items():
            if items or f"{MIRROR}/{collection}/{month}/catalog.json" in held:
                kept[collection][month] = items
    return kept
