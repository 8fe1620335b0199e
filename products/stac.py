"""STAC 1.1 items and collections: built from the values of a product package, validated without any network.

The stored item says nothing that changes after its making: revision, state and time of publication belong to the
catalogue and are merged when the item is served (`with_publication`). Addresses of assets are relative to the item.

Core schemas come from pystac, extension schemas from ``products/schemas``. An extension that is not there cannot be
declared, and no address is ever fetched.

References: STAC specification 1.1.0; extensions file 2.1.0, projection 2.0.0, raster 1.1.0, classification 2.0.0,
processing 1.0.0, version 1.2.0, timestamps 1.1.0; multihash code 0x12 (SHA-256), length 0x20.
"""

import dataclasses
import datetime as dt
import functools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import pystac

# jsonschema compiles a grammar of addresses as it is imported, more than a second that every command and every task
# would pay: it is imported where a document is first validated.
if TYPE_CHECKING:
    import jsonschema
    import referencing

CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.0.0/schema.json"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
TIMESTAMPS = "https://stac-extensions.github.io/timestamps/v1.1.0/schema.json"
VERSIONING = "https://stac-extensions.github.io/version/v1.2.0/schema.json"
CQEO = "https://terralimb.example/schemas/cqeo/v1.0.0/schema.json"

_EXTENSION_FILES: Mapping[str, str] = {
    CLASSIFICATION: "classification/v2.0.0/schema.json",
    FILE: "file/v2.1.0/schema.json",
    PROCESSING: "processing/v1.0.0/schema.json",
    PROJECTION: "projection/v2.0.0/schema.json",
    RASTER: "raster/v1.1.0/schema.json",
    TIMESTAMPS: "timestamps/v1.1.0/schema.json",
    VERSIONING: "version/v1.2.0/schema.json",
    CQEO: "cqeo/v1.0.0/schema.json",
}
_REFERENCED_FILES: Mapping[str, str] = {
    "https://proj.org/schemas/v0.7/projjson.schema.json": "projjson/v0.7/projjson.schema.json",
}
#: Version of STAC that items and collections state.
VERSION = "1.1.0"

#: How the identities of the collections and items of test data end.
TEST_SUFFIX = "-test"

_CORE_URL = "https://schemas.stacspec.org/v1.1.0/{0}-spec/json-schema/{0}.json"
_IDENTITY = re.compile(r"[a-z0-9][a-z0-9_-]*")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_DEGREE_TOLERANCE = 1e-6


class StacError(Exception):
    """An item or collection breaks a rule; the message names where and why."""


# What an item is built from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Projection:
    """Grid of a raster.

    Attributes
    ----------
    code : str
        Reference system such as ``EPSG:32648``.
    shape : tuple of int
        Rows, columns [1].
    transform : tuple of float
        First six numbers of the affine transform, row by row, in units of the reference system.
    """

    code: str
    shape: tuple[int, int]
    transform: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassValue:
    """One class of a raster.

    Attributes
    ----------
    value : int
        Number in the raster [1].
    name : str
        Short name of letters, digits, hyphen and underscore.
    title : str
        Title for people; several languages may be joined.
    color : str or None
        Hexadecimal colour without the number sign.
    nodata : bool
        Whether the number means that nothing is known.
    """

    value: int
    name: str
    title: str
    color: str | None = None
    nodata: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Band:
    """One band of a raster.

    Attributes
    ----------
    name : str
        Name of the band.
    description : str or None
        What it holds.
    data_type : str
        Type of its numbers as STAC names it, such as ``float32``.
    unit : str or None
        Unit.
    nodata : float or None
        Number that means nothing is known; not-a-number is allowed.
    scale, offset : float or None
        value = number * scale + offset.
    spatial_resolution : float or None
        Size of a pixel [m].
    classes : tuple of ClassValue
        Classes, where the numbers are classes.
    """

    name: str
    data_type: str
    description: str | None = None
    unit: str | None = None
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None
    spatial_resolution: float | None = None
    classes: tuple[ClassValue, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssetFields:
    """One file of an item.

    Attributes
    ----------
    href : str
        Address, relative to the item.
    media_type : str
        Content type.
    roles : tuple of str
        Roles such as ``data``, ``thumbnail``, ``metadata``.
    size : int
        Length [octet].
    sha256 : str
        Hash of the content, in hex.
    title, title_zh : str or None
        English and Chinese title.
    projection : Projection or None
        Grid, where it is a raster.
    bands : tuple of Band
        Bands, where it is a raster.
    """

    href: str
    media_type: str
    roles: tuple[str, ...]
    size: int
    sha256: str
    title: str | None = None
    title_zh: str | None = None
    projection: Projection | None = None
    bands: tuple[Band, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemFields:
    """What an item says of its product; nothing of it may depend on when or where the item was made.

    Attributes
    ----------
    product_code : str
        Product code.
    title, title_zh : str
        English and Chinese title.
    geometry : Mapping[str, Any]
        GeoJSON footprint, longitude and latitude [degree].
    bbox : tuple of 4 float
        West, south, east, north [degree]; west > east crosses the antimeridian.
    start : datetime.datetime
        First instant, or the only one; aware.
    end : datetime.datetime or None
        Last instant; None where there is one instant only.
    quality_level : str
        candidate, rapid or verified.
    quality_reasons : tuple of str
        Why it stands so.
    stream : str
        nrt or final; test for test data of a coming format.
    description, description_zh : str or None
        What it shows and what it is not.
    keywords : tuple of str
        Keywords, English and Chinese.
    clear_fraction : float or None
        Share of the area seen without cloud or shadow [1].
    uncertainty : Mapping[str, Any] or None
        ``kind`` and optionally ``asset``, ``value``, ``unit``.
    admin_codes : tuple of str
        Divisions it covers, codes of GB/T 2260.
    inputs : tuple of Mapping
        What it was made of: ``id`` and, where known, ``sha256``.
    lineage, level, facility : str or None
        How it was made, its processing level and by whom.
    software : Mapping[str, str]
        Versions by name of software.
    projection : Projection or None
        Grid common to all rasters.
    expires : datetime.datetime or None
        Until when it is valid; aware.
    license : str
        SPDX identifier or ``other``.
    extra : Mapping[str, Any]
        Further properties of the STAC core, such as ``gsd`` or ``platform``.
    """

    product_code: str
    title: str
    title_zh: str
    geometry: Mapping[str, Any]
    bbox: tuple[float, float, float, float]
    start: dt.datetime
    end: dt.datetime | None = None
    quality_level: str
    quality_reasons: tuple[str, ...] = ()
    stream: str = "final"
    description: str | None = None
    description_zh: str | None = None
    keywords: tuple[str, ...] = ()
    clear_fraction: float | None = None
    uncertainty: Mapping[str, Any] | None = None
    admin_codes: tuple[str, ...] = ()
    inputs: tuple[Mapping[str, Any], ...] = ()
    lineage: str | None = None
    level: str | None = None
    facility: str | None = None
    software: Mapping[str, str] = dataclasses.field(default_factory=dict)
    projection: Projection | None = None
    expires: dt.datetime | None = None
    license: str = "other"
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectionFields:
    """What a collection says: one for each product code.

    Attributes
    ----------
    collection_id : str
        Identity.
    product_code, sector : str
        Product code and sector.
    title, title_zh : str
        English and Chinese title.
    description, description_zh : str
        What its items show and what they are not.
    bbox : tuple of 4 float
        West, south, east, north of all items [degree].
    interval : tuple of 2 (datetime.datetime or None)
        First and last instant of all items; None for open.
    keywords : tuple of str
        Keywords, English and Chinese.
    license : str
        SPDX identifier or ``other``.
    provider : str
        Name of the organization that makes the products.
    """

    collection_id: str
    product_code: str
    sector: str
    title: str
    title_zh: str
    description: str
    description_zh: str
    bbox: tuple[float, float, float, float] = (-180.0, -90.0, 180.0, 90.0)
    interval: tuple[dt.datetime | None, dt.datetime | None] = (None, None)
    keywords: tuple[str, ...] = ()
    license: str = "other"
    provider: str = "terralimb"


# Building


def build_item(
    fields: ItemFields,
    *,
    item_id: str,
    collection: str,
    sector: str,
    assets: Mapping[str, AssetFields],
    collection_href: str,
) -> dict[str, Any]:
    """Build the item of one product package.

    Parameters
    ----------
    fields : ItemFields
        What the item says.
    item_id : str
        Identity of ``a-z 0-9 _ -``, without a version.
    collection : str
        Identity of its collection.
    sector : str
        Sector it serves.
    assets : Mapping[str, AssetFields]
        Its files by name.
    collection_href : str
        Address of the collection's document.

    Returns
    -------
    dict
        The item, ready for JSON; not yet validated.

    Raises
    ------
    StacError
        The identity has other characters, an instant has no zone, or the footprint leaves the box.
    """
    _check_identity(item_id)
    _check_stream(fields.stream, item_id, collection)
    _check_footprint(fields.geometry, fields.bbox, item_id)
    first, last = _utc(fields.start, item_id), _utc(fields.end or fields.start, item_id)
    if last < first:
        raise StacError(f"{item_id}: the content ends {last.isoformat()} before it starts {first.isoformat()}")
    item = pystac.Item(
        id=item_id,
        geometry=_plain(fields.geometry),
        bbox=[float(value) for value in fields.bbox],
        datetime=first if first == last else None,
        start_datetime=None if first == last else first,
        end_datetime=None if first == last else last,
        properties=_properties(fields, sector=sector, item_id=item_id),
        stac_extensions=_extensions(fields, assets.values()),
        collection=collection,
        assets={name: _asset(assets[name]) for name in sorted(assets)},
    )
    item.add_link(pystac.Link("collection", collection_href, media_type="application/json"))
    return dict(item.to_dict(include_self_link=False, transform_hrefs=False))


def build_collection(fields: CollectionFields) -> dict[str, Any]:
    """Build the document of a collection.

    Parameters
    ----------
    fields : CollectionFields
        What the collection says.

    Returns
    -------
    dict
        The collection, ready for JSON; not yet validated.

    Raises
    ------
    StacError
        The identity has other characters, or an instant has no zone.
    """
    _check_identity(fields.collection_id)
    interval = [None if end is None else _utc(end, fields.collection_id) for end in fields.interval]
    collection = pystac.Collection(
        id=fields.collection_id,
        title=fields.title,
        description=fields.description,
        extent=pystac.Extent(pystac.SpatialExtent([list(fields.bbox)]), pystac.TemporalExtent([interval])),
        keywords=list(fields.keywords) or None,
        license=fields.license,
        providers=[pystac.Provider(fields.provider, roles=[pystac.ProviderRole.PROCESSOR, pystac.ProviderRole.HOST])],
        stac_extensions=[CQEO],
        extra_fields={
            "cqeo:title_zh": fields.title_zh,
            "cqeo:description_zh": fields.description_zh,
            "cqeo:sector": fields.sector,
            "cqeo:product_code": fields.product_code,
            **({"cqeo:stream": "test"} if holds_test_data(fields.collection_id) else {}),
        },
    )
    return dict(collection.to_dict(include_self_link=False, transform_hrefs=False))


def with_publication(
    document: Mapping[str, Any], *, revision: int, state: str, published_at: dt.datetime
) -> dict[str, Any]:
    """Merge what the catalogue knows into a stored item.

    Parameters
    ----------
    document : Mapping[str, Any]
        The item as stored; left as it is.
    revision : int
        Revision, from 1 [1].
    state : str
        State in the catalogue.
    published_at : datetime.datetime
        When it was published; aware.

    Returns
    -------
    dict
        The item as users see it; what is not merged is shared with the document and must not be changed in place.
    """
    served = dict(document)
    served["properties"] = dict(document["properties"]) | {
        "version": str(revision),
        "deprecated": state != "published",
        "published": _rfc3339(_utc(published_at, str(document["id"]))),
        "cqeo:status": state,
    }
    served["stac_extensions"] = sorted({*served["stac_extensions"], VERSIONING, TIMESTAMPS})
    return served


def encoded(document: Mapping[str, Any]) -> bytes:
    """Bytes of a JSON document that depend on its content only.

    Parameters
    ----------
    document : Mapping[str, Any]
        Item, collection, manifest or announcement.

    Returns
    -------
    bytes
        UTF-8 with sorted keys and a final line feed; every number in full.

    Raises
    ------
    StacError
        A number is not finite or a value has no JSON form.
    """
    try:
        text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StacError(f"{document.get('id', 'document')}: {error}") from error
    return (text + "\n").encode()


def holds_test_data(collection: str) -> bool:
    """Tell whether a collection holds test data of a coming format: the one rule, by its identity.

    Parameters
    ----------
    collection : str
        Identity of the collection.

    Returns
    -------
    bool
        Whether it does.
    """
    return collection.endswith(TEST_SUFFIX)


def multihash(sha256: str) -> str:
    """SHA-256 as multihash: code 0x12, length 0x20, digest.

    Parameters
    ----------
    sha256 : str
        Hash in hex.

    Returns
    -------
    str
        Multihash in hex.
    """
    return f"1220{sha256}"


# Validating


def validate_item(item: Mapping[str, Any]) -> None:
    """Check an item against the core and every extension it declares, without any network.

    Parameters
    ----------
    item : Mapping[str, Any]
        The item, as stored or as served.

    Raises
    ------
    StacError
        The first breach, with its path and reason, or an extension whose schema is not at hand.
    """
    _validate(item, "item")


def validate_collection(collection: Mapping[str, Any]) -> None:
    """Check a collection against the core and every extension it declares, without any network.

    Parameters
    ----------
    collection : Mapping[str, Any]
        The collection.

    Raises
    ------
    StacError
        The first breach, with its path and reason, or an extension whose schema is not at hand.
    """
    _validate(collection, "collection")


def schema(url: str) -> dict[str, Any]:
    """Read one of the vendored schemas.

    Parameters
    ----------
    url : str
        Address of the extension.

    Returns
    -------
    dict
        The schema.

    Raises
    ------
    StacError
        There is no schema of this address here.
    """
    name = {**_EXTENSION_FILES, **_REFERENCED_FILES}.get(url)
    if name is None:
        raise StacError(f"the schema {url} is not among those in products/schemas, and nothing is fetched")
    content = resources.files("products").joinpath("schemas").joinpath(*name.split("/")).read_text(encoding="utf-8")
    return dict(json.loads(content))


def _validate(document: Mapping[str, Any], kind: str) -> None:
    import jsonschema
    import referencing.exceptions

    name = f"{kind} {document.get('id', '(no id)')}"
    for url in (_CORE_URL.format(kind), *_declared(document, name)):
        try:
            breach = jsonschema.exceptions.best_match(_validator(url).iter_errors(document))
        except referencing.exceptions.Unresolvable as error:
            raise StacError(f"{name}: {url} refers to {error.ref}, which is not among the schemas at hand") from error
        if breach is not None:
            cause = _deepest(breach)
            raise StacError(f"{name}: {cause.json_path}: {_shortened(cause.message)} (schema {url})")


def _declared(document: Mapping[str, Any], name: str) -> Iterator[str]:
    declared = document.get("stac_extensions", [])
    for url in declared if isinstance(declared, list) else []:
        if url not in _EXTENSION_FILES:
            raise StacError(f"{name}: $.stac_extensions: the schema {url} is not at hand, and nothing is fetched")
        yield url
    fields = {key.partition(":")[0] for key in document.get("properties", {}) if ":" in key}
    if "cqeo" in fields and CQEO not in declared:
        raise StacError(f"{name}: $.stac_extensions: fields cqeo:* are used but {CQEO} is not declared")


def _deepest(breach: "jsonschema.ValidationError") -> "jsonschema.ValidationError":
    """Follow alternatives down to the breach that lies deepest: that alternative was the one meant."""
    while breach.context:
        breach = max(breach.context, key=lambda inner: len(inner.absolute_path))
    return breach


def _shortened(message: str, limit: int = 300) -> str:
    return message if len(message) <= limit else f"{message[: limit // 2]} ... {message[-limit // 2 :]}"


@functools.cache
def _validator(url: str) -> "jsonschema.Draft7Validator":
    import jsonschema

    registry = _registry()
    return jsonschema.Draft7Validator(registry.contents(url), registry=registry, format_checker=_format_checker())


@functools.cache
def _registry() -> "referencing.Registry[Any]":
    """Every schema at hand; asked for any other address it refuses, for it has nothing to fetch with."""
    import jsonschema
    import referencing
    from pystac.validation import local_validator

    contents = dict(local_validator.get_local_schema_cache())
    contents.update((url, schema(url)) for url in (*_EXTENSION_FILES, *_REFERENCED_FILES))
    contents["http://json-schema.org/draft-07/schema"] = dict(jsonschema.Draft7Validator.META_SCHEMA)
    known = [(url, referencing.Resource.from_contents(content)) for url, content in contents.items()]
    empty: referencing.Registry[Any] = referencing.Registry()
    return empty.with_resources(known).crawl()


@functools.cache
def _format_checker() -> "jsonschema.FormatChecker":
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())
    checker.checkers = {"date-time": (_is_rfc3339, ())}
    return checker


def _is_rfc3339(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if not _RFC3339.fullmatch(value):
        return False
    try:
        dt.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


# Parts of an item


def _check_identity(identity: str) -> None:
    if not _IDENTITY.fullmatch(identity):
        raise StacError(f"{identity!r} is no identity: only a-z, 0-9, _ and -, starting with a letter or digit")


def _check_stream(stream: str, item_id: str, collection: str) -> None:
    told = {stream == "test", holds_test_data(collection)}
    if len(told) > 1 or (told == {True} and not item_id.endswith(TEST_SUFFIX)):
        raise StacError(
            f"{item_id}: test data, and nothing else, stands in a collection whose identity ends in {TEST_SUFFIX}, "
            "and so does the identity of the item"
        )


def _utc(instant: dt.datetime, name: str) -> dt.datetime:
    if instant.tzinfo is None:
        raise StacError(f"{name}: the instant {instant.isoformat()} states no time zone")
    return instant.astimezone(dt.UTC)


def _rfc3339(instant: dt.datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    """Lists and dictionaries only, so that equal content compares equal after a trip through JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value


def _positions(coordinates: Any) -> Iterator[Sequence[float]]:
    if coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
        return
    for inner in coordinates:
        yield from _positions(inner)


def _check_footprint(geometry: Mapping[str, Any], bbox: Sequence[float], name: str) -> None:
    west, south, east, north = bbox
    for longitude, latitude, *_ in _positions(geometry.get("coordinates", ())):
        eastward = (longitude - west) % 360.0
        inside = min(eastward, 360.0 - eastward) <= _DEGREE_TOLERANCE or (
            eastward <= (_width(west, east) + _DEGREE_TOLERANCE)
        )
        if not (inside and south - _DEGREE_TOLERANCE <= latitude <= north + _DEGREE_TOLERANCE):
            raise StacError(f"{name}: the footprint's point {longitude}, {latitude} lies outside the box {list(bbox)}")


def _width(west: float, east: float) -> float:
    return east - west if west <= east else east - west + 360.0


def _properties(fields: ItemFields, *, sector: str, item_id: str) -> dict[str, Any]:
    properties = {
        "title": fields.title,
        "description": fields.description,
        "keywords": list(fields.keywords) or None,
        "license": fields.license,
        "expires": None if fields.expires is None else _rfc3339(_utc(fields.expires, item_id)),
        "cqeo:title_zh": fields.title_zh,
        "cqeo:description_zh": fields.description_zh,
        "cqeo:sector": sector,
        "cqeo:product_code": fields.product_code,
        "cqeo:quality": {"level": fields.quality_level, "reasons": list(fields.quality_reasons)},
        "cqeo:stream": fields.stream,
        "cqeo:clear_fraction": fields.clear_fraction,
        "cqeo:uncertainty": _plain(fields.uncertainty) if fields.uncertainty else None,
        "cqeo:admin_codes": list(fields.admin_codes) or None,
        "cqeo:inputs": _plain(fields.inputs) or None,
        **_processing(fields),
        **_projection(fields.projection),
        **_plain(fields.extra),
    }
    return {name: value for name, value in properties.items() if value is not None}


def _processing(fields: ItemFields) -> dict[str, Any]:
    return {
        "processing:lineage": fields.lineage,
        "processing:level": fields.level,
        "processing:facility": fields.facility,
        "processing:software": dict(fields.software) or None,
    }


def _projection(projection: Projection | None) -> dict[str, Any]:
    if projection is None:
        return {}
    return {
        "proj:code": projection.code,
        "proj:shape": list(projection.shape),
        "proj:transform": list(projection.transform),
    }


def _extensions(fields: ItemFields, assets: Iterable[AssetFields]) -> list[str]:
    """Declare what is used, and nothing else."""
    files = tuple(assets)
    bands = [band for asset in files for band in asset.bands]
    used = {
        CQEO: True,
        FILE: True,
        TIMESTAMPS: fields.expires is not None,
        PROCESSING: any(value is not None for value in _processing(fields).values()),
        PROJECTION: fields.projection is not None or any(asset.projection for asset in files),
        RASTER: any(_needs_raster(asset) for asset in files),
        CLASSIFICATION: any(band.classes for band in bands),
    }
    return sorted(url for url, needed in used.items() if needed)


def _asset(asset: AssetFields) -> pystac.Asset:
    extra = {
        "file:size": asset.size,
        "file:checksum": multihash(asset.sha256),
        "cqeo:title_zh": asset.title_zh,
        "bands": [_core_band(band) for band in asset.bands] or None,
        "raster:bands": [_raster_band(band) for band in asset.bands] if _needs_raster(asset) else None,
        **_projection(asset.projection),
    }
    return pystac.Asset(
        href=asset.href,
        title=asset.title,
        media_type=asset.media_type,
        roles=list(asset.roles),
        extra_fields={name: value for name, value in extra.items() if value is not None},
    )


def _needs_raster(asset: AssetFields) -> bool:
    """Tell whether a band has what the core's bands cannot say."""
    return any(
        band.classes or any(value is not None for value in (band.scale, band.offset, band.spatial_resolution))
        for band in asset.bands
    )


def _core_band(band: Band) -> dict[str, Any]:
    values = {
        "name": band.name,
        "description": band.description,
        "data_type": band.data_type,
        "nodata": _nodata(band.nodata),
        "unit": band.unit,
    }
    return {name: value for name, value in values.items() if value is not None}


def _raster_band(band: Band) -> dict[str, Any]:
    values = {
        "data_type": band.data_type,
        "nodata": _nodata(band.nodata),
        "unit": band.unit,
        "scale": band.scale,
        "offset": band.offset,
        "spatial_resolution": band.spatial_resolution,
        "classification:classes": [_class(value) for value in band.classes] or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _nodata(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _class(value: ClassValue) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": value.value, "name": value.name, "title": value.title}
    if value.color is not None:
        entry["color_hint"] = value.color.lstrip("#").upper()
    return entry | ({"nodata": True} if value.nodata else {})
