"""Exports for bulk users: stac-geoparquet by collection and month, and the static catalogue, in the catalogue bucket.

Both are copies that follow the catalogue: they are replaced, and only where their content changed. They hold every
published item, whatever its sector and districts, so who may read them is a matter of the bucket's credentials.
"""

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra import catalog_store, object_store
from products import stac, static_catalogue, streams

PARQUET, MIRROR = "export", "mirror"
_PARQUET_TYPE = "application/vnd.apache.parquet"

Months = Mapping[str, Mapping[str, list[dict[str, Any]]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What was exported.

    Attributes
    ----------
    items : int
        Items [1].
    files : int
        Files of stac-geoparquet and of the static catalogue [1].
    written : int
        Of these, how many had to be written [1].
    """

    items: int
    files: int
    written: int


def export(catalog: catalog_store.CatalogStore, store: object_store.ObjectStore, *, catalogue_bucket: str) -> Export:
    """Bring both exports up to the catalogue.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    store : infra.object_store.ObjectStore
        Where they go.
    catalogue_bucket : str
        Bucket; keys are ``export/<collection>/<yyyy-mm>.parquet`` and ``mirror/...``.

    Returns
    -------
    Export
        What was exported.
    """
    months = by_month(catalog)
    known = catalog_store.Custody(catalog).collections()
    collections = {name: document for name, document in known.items() if _exported(name)}
    held = {
        found.key: (found.etag or "").strip('"')
        for prefix in (PARQUET, MIRROR)
        for found in store.list(catalogue_bucket, f"{prefix}/")
    }
    files = written = 0
    for key, body, media_type in (*_parquet(months, held), *_mirror(months, collections, held)):
        files += 1
        # The store's mark of an object written at once is its MD5; another mark costs a write, nothing else.
        if held.get(key) == hashlib.md5(body, usedforsecurity=False).hexdigest():
            continue
        store.put_replace(catalogue_bucket, key, body, media_type=media_type)
        written += 1
    count = sum(len(items) for held_months in months.values() for items in held_months.values())
    return Export(items=count, files=files, written=written)


def by_month(catalog: catalog_store.CatalogStore) -> Months:
    """Published items as the exports hold them.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.

    Returns
    -------
    Mapping
        Items by month of their beginning (yyyy-mm, UTC) by collection; no test data.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for one in (item for item in catalog.published() if _exported(item.collection)):
        hrefs = {asset.name: f"s3://{asset.bucket}/{asset.key}" for asset in one.assets}
        month = found.setdefault(one.collection, {}).setdefault(f"{one.start:%Y-%m}", [])
        month.append(static_catalogue.item(one.item, hrefs))
    return found


def _exported(collection: str) -> bool:
    return streams.of_collection(collection) == streams.OPERATIONAL


def parquet(items: list[dict[str, Any]]) -> bytes:
    """Write items as stac-geoparquet.

    Parameters
    ----------
    items : list of dict
        STAC items; empty for a file that says there is none.

    Returns
    -------
    bytes
        The file; empty where there are no items, for the format has no form of none.
    """
    if not items:
        return b""
    import rustac

    with tempfile.TemporaryDirectory(prefix="parquet-") as folder:
        path = Path(folder) / "items.parquet"
        rustac.write_sync(str(path), items)
        return path.read_bytes()


def _parquet(months: Months, held: Mapping[str, str]) -> Iterator[tuple[str, bytes, str]]:
    made = set()
    for collection in sorted(months):
        for month in sorted(months[collection]):
            key = f"{PARQUET}/{collection}/{month}.parquet"
            made.add(key)
            yield key, parquet(months[collection][month]), _PARQUET_TYPE
    for key in sorted(set(held) - made):
        # A month whose last item was withdrawn or expired: what it held must not go on being read.
        if key.startswith(f"{PARQUET}/"):
            yield key, b"", _PARQUET_TYPE


def _mirror(
    months: Months, collections: Mapping[str, Mapping[str, Any]], held: Mapping[str, str]
) -> Iterator[tuple[str, bytes, str]]:
    kept = {name: dict(months.get(name, {})) for name in collections}
    for key in held:
        parts = key.split("/")
        if len(parts) == 4 and parts[0] == MIRROR and parts[3] == "catalog.json" and parts[1] in kept:
            kept[parts[1]].setdefault(parts[2], [])
    for path, document in static_catalogue.documents(collections, kept):
        yield f"{MIRROR}/{path}", stac.encoded(document), "application/json"
    for collection in sorted(kept):
        for month, items in sorted(kept[collection].items()):
            for item in items:
                key = f"{MIRROR}/{collection}/{month}/{item['id']}.json"
                yield key, stac.encoded(item), "application/geo+json"
