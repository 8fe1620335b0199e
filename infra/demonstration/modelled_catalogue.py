"""A catalogue of any size without a store behind it: items as the chain publishes them, to try search and feed on."""

import datetime as dt
import functools
import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

from infra import catalog_store
from products import stac

_FIRST_DAY = dt.datetime(2024, 1, 1, 3, 30, tzinfo=dt.UTC)
_DAYS = 730
_FIRST_PUBLISHED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_BATCH = 1000
_WEST, _EAST, _SOUTH, _NORTH = 105.3, 109.5, 28.3, 31.8
_PRODUCTS = (
    ("land-cover", "natural-resources", "Land cover", "土地覆盖"),
    ("vegetation-condition", "rural-revitalization", "Vegetation condition", "植被状况"),
    ("water-extent", "ecology", "Water extent", "水体范围"),
    ("river-width", "transport", "River width", "河道宽度"),
    ("flood-extent", "emergency", "Flood extent", "洪水范围"),
    ("occultation-profile", "weather", "Occultation profile", "掩星廓线"),
)
_DISTRICTS = tuple(f"5001{number:02d}" for number in range(1, 20)) + tuple(f"5002{number}" for number in range(29, 44))
_LEVELS = ("candidate", "rapid", "verified")
_FILES = {"data": "image/tiff", "metadata": "application/json"}
_PROFILE = "occultation-profile"

# Products and levels of quality come round together after as many items.
_KINDS = len(_PRODUCTS) * len(_LEVELS)


def collections() -> Iterator[stac.CollectionFields]:
    """Collections of the modelled items.

    Yields
    ------
    products.stac.CollectionFields
        One for every product.
    """
    for code, sector, title, title_zh in _PRODUCTS:
        yield stac.CollectionFields(
            collection_id=code,
            product_code=code,
            title=title,
            title_zh=title_zh,
            description=f"{title}, modelled",
            description_zh=f"{title_zh}，模拟",
            sector=sector,
        )


def fill(catalog: catalog_store.CatalogStore, count: int, *, seed: int, begin: dt.datetime = _FIRST_PUBLISHED) -> None:
    """Publish modelled items in a catalogue, one a second of its time.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    count : int
        How many [1].
    seed : int
        Seed of what varies.
    begin : datetime.datetime
        When the first was published.
    """
    for fields in collections():
        catalog.put_collection(stac.build_collection(fields))
    left = enumerate(entries(count, seed=seed))
    while batch := tuple(itertools.islice(left, _BATCH)):
        with catalog.writing() as connection:
            for number, entry in batch:
                at = begin + dt.timedelta(seconds=number)
                catalog.publish(entry, published_at=at, connection=connection)


def entries(count: int, *, seed: int) -> Iterator[catalog_store.CatalogEntry]:
    """Items over two years, every product and district in turn; a part of them of several districts or of none.

    Parameters
    ----------
    count : int
        How many [1].
    seed : int
        Seed of what varies.

    Yields
    ------
    infra.catalog_store.CatalogEntry
        Valid STAC items with two assets; identities are different from each other.
    """
    chance = random.Random(seed)  # noqa: S311  a model, no secret
    for number in range(count):
        yield _entry(number, chance)


def _entry(number: int, chance: random.Random) -> catalog_store.CatalogEntry:
    code, sector, *_ = _PRODUCTS[number % len(_PRODUCTS)]
    at = number // len(_PRODUCTS) % len(_DISTRICTS)
    start = _FIRST_DAY + dt.timedelta(days=chance.randrange(_DAYS), seconds=chance.randrange(86_400))
    codes = () if sector == "weather" else _DISTRICTS[at : at + (2 if number % 11 == 0 else 1)]
    box = _box(at) if codes else _point(chance)
    item_id = f"{code}-{_DISTRICTS[at]}-{start:%Y%m%dt%H%M%Sz}-{number:06d}"
    sha256 = hashlib.sha256(item_id.encode()).hexdigest()
    fields = _fields(number, codes=codes, box=box, start=start, clear=None if code == _PROFILE else chance.random())
    document = _built_like(_template(number % _KINDS), fields, item_id=item_id, size=1000 + number, sha256=sha256)
    folder = f"{code}/v1/{item_id}/{sha256[:8]}"
    return catalog_store.CatalogEntry(
        item_id=item_id,
        collection=code,
        sector=sector,
        product=code,
        start=start,
        end=start,
        bbox=box,
        content_sha256=sha256,
        manifest_sha256=sha256,
        bucket="tl-products",
        item_key=f"{folder}/item.json",
        manifest_key=f"{folder}/MANIFEST.json",
        document=document,
        assets=tuple(
            catalog_store.AssetRecord(
                name=name, bucket="tl-products", key=f"{folder}/{name}", sha256=sha256, size=1000 + number
            )
            for name in _FILES
        ),
    )


def _fields(
    number: int,
    *,
    codes: tuple[str, ...],
    box: tuple[float, float, float, float],
    start: dt.datetime,
    clear: float | None,
) -> stac.ItemFields:
    code, sector, title, title_zh = _PRODUCTS[number % len(_PRODUCTS)]
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return stac.ItemFields(
        product_code=code,
        title=title,
        title_zh=title_zh,
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=box,
        start=start,
        quality_level=_LEVELS[number % len(_LEVELS)],
        stream="nrt" if sector == "weather" else "final",
        clear_fraction=None if clear is None else round(clear, 3),
        admin_codes=codes,
    )


def _built(fields: stac.ItemFields, *, item_id: str, size: int, sha256: str) -> dict[str, Any]:
    """The item as publication builds it."""
    sector = next(sector for code, sector, *_ in _PRODUCTS if code == fields.product_code)
    return stac.build_item(
        fields,
        item_id=item_id,
        collection=fields.product_code,
        sector=sector,
        assets={
            name: stac.AssetFields(href=f"./{name}", media_type=media_type, roles=(name,), size=size, sha256=sha256)
            for name, media_type in _FILES.items()
        },
        collection_href=f"s3://tl-catalogue/collections/{fields.product_code}.json",
    )


@functools.cache
def _template(kind: int) -> str:
    """An item of each kind as publication builds it, as text; a hundred thousand of them would take minutes."""
    clear = None if _PRODUCTS[kind % len(_PRODUCTS)][0] == _PROFILE else 0.5
    fields = _fields(kind, codes=("500101",), box=_box(0), start=_FIRST_DAY, clear=clear)
    return json.dumps(_built(fields, item_id="template", size=0, sha256="0" * 64))


def _built_like(template: str, fields: stac.ItemFields, *, item_id: str, size: int, sha256: str) -> dict[str, Any]:
    """What `_built` gives, by a template that differs in place, time, districts and files."""
    document: dict[str, Any] = json.loads(template)
    properties = document["properties"]
    document |= {"id": item_id, "geometry": fields.geometry, "bbox": list(fields.bbox)}
    properties["datetime"] = fields.start.isoformat().replace("+00:00", "Z")
    if fields.clear_fraction is not None:
        properties["cqeo:clear_fraction"] = fields.clear_fraction
    properties["cqeo:admin_codes"] = list(fields.admin_codes)
    if not fields.admin_codes:
        del properties["cqeo:admin_codes"]
    for asset in document["assets"].values():
        asset |= {"file:size": size, "file:checksum": stac.multihash(sha256)}
    return document


def _box(district: int) -> tuple[float, float, float, float]:
    """One of a field of equal boxes, so that every district has a place of its own."""
    columns = 7
    width, height = (_EAST - _WEST) / columns, (_NORTH - _SOUTH) / columns
    west, south = _WEST + district % columns * width, _SOUTH + district // columns * height
    return round(west, 6), round(south, 6), round(west + width, 6), round(south + height, 6)


def _point(chance: random.Random) -> tuple[float, float, float, float]:
    west, south = round(chance.uniform(-180, 179), 4), round(chance.uniform(-80, 80), 4)
    return west, south, round(west + 0.01, 4), round(south + 0.01, 4)
