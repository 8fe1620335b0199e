"""Stage of the daily aggregate: the published profiles of one UTC day and stream in one file, with a map."""

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

import xarray as xr

from infra import archive, catalog_store, granule_format
from infra.delivery import withdrawal
from infra.stages import catalogued_day, package_document
from infra.stages.execution import NotApplicableError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from products import occultation_map, profile_aggregate, sounding, stac

COLLECTION = profile_aggregate.PRODUCT
KIND = "profile_aggregate"
SECTOR = "weather"
DATA_NAME = "profiles.nc"
SOURCES_NAME = "sources.json"
POINTS_TOLD = 200
"""Number of profiles up to which the item names their places one by one; beyond, it gives the box."""
EMPTIED = "no profile of the day is published any more"


def aggregate(unit: Unit, workspace: Workspace) -> UnitResult:
    """Put the profiles of a listing together, packed for publication; editions with a withdrawn one are taken back."""
    (granule,) = unit.granules
    listing = catalogued_day.from_json(workspace.read(granule))
    name = profile_aggregate.identity(listing.day, stream=listing.stream)
    _take_back(name, listing, workspace)
    if not listing.profiles:
        raise NotApplicableError(f"no profile of {listing.day} is published in stream {listing.stream}")
    if listing.is_closed:
        raise NotApplicableError(f"files of profiles of {listing.day} were removed when their time was over")
    day = profile_aggregate.aggregate(_sources(listing, workspace), stream=listing.stream)
    soundings = _soundings(day)
    # What was withdrawn is nothing of the edition's: it must not make another one.
    sources = dataclasses.replace(listing, withdrawn=()).to_json()
    document = package_document.PackageDocument(
        item_id=name,
        collection=COLLECTION,
        sector=SECTOR,
        bucket="profiles",
        fields=_fields(day, granule.id, hashlib.sha256(sources).hexdigest(), soundings),
        files=_files(workspace, profile_aggregate.encode(day), occultation_map.plot(soundings), sources),
    )
    package = NewGranule(KIND, archive.identity(name), unit.group, document.to_json(), ".json", "application/json")
    return UnitResult((package,), report={"profiles": len(listing.profiles), "day": listing.day.isoformat()})


def _sources(listing: catalogued_day.Listing, workspace: Workspace) -> list[profile_aggregate.Source]:
    found = []
    for name, revision, _ in listing.profiles:
        item = workspace.catalog.item(name, revision)
        if item is None:
            raise ValueError(f"the catalogue no longer holds revision {revision} of {name}")
        found.append(profile_aggregate.Source(catalogued_day.read(item, workspace), name, revision))
    return found


def _take_back(name: str, listing: catalogued_day.Listing, workspace: Workspace) -> None:
    """Withdraw every edition that holds what was withdrawn, the latest first, so that its users hear why."""
    latest = workspace.catalog.item(name)
    for revision in range(latest.revision if latest else 0, 0, -1):
        edition = workspace.catalog.item(name, revision)
        reason = None if edition is None else _why(edition, listing, workspace)
        if reason is None:
            continue
        withdrawal.withdraw(
            name,
            revision,
            reason=reason,
            home=workspace.settings.home,
            store=workspace.store,
            catalog=workspace.catalog,
            catalogue_bucket=workspace.settings.bucket("catalogue"),
            now=dt.datetime.now(dt.UTC),
        )


def _why(edition: catalog_store.CatalogItem, listing: catalogued_day.Listing, workspace: Workspace) -> str | None:
    """Why an edition is to be withdrawn; None where it is not."""
    if edition.state == "withdrawn" and not withdrawal.is_listed(
        workspace.settings.home, edition.item_id, edition.revision
    ):
        return edition.state_reason  # what was interrupted is completed
    if edition.state not in {"published", "superseded"}:
        return None
    gone = sorted(name for name, *_ in _held(edition, workspace) & set(listing.withdrawn))
    if gone:
        return f"it holds withdrawn profiles: {gone[0]}{', ...' if gone[1:] else ''}"
    return EMPTIED if edition.state == "published" and not listing.profiles else None


def _held(edition: catalog_store.CatalogItem, workspace: Workspace) -> set[catalogued_day.Row]:
    """Profiles an edition holds."""
    place = next(asset for asset in edition.assets if asset.name == SOURCES_NAME)
    return set(catalogued_day.from_json(workspace.store.read(place.bucket, place.key)).profiles)


def _soundings(day: xr.Dataset) -> list[sounding.Sounding]:
    names = day["occultation_id"].to_numpy()
    return [
        sounding.sounding_from_profile(profile_aggregate.profile_at(day, index).assign_attrs(id=str(name)))
        for index, name in enumerate(names)
    ]


def _files(
    workspace: Workspace, encoded: bytes, drawn: bytes, sources: bytes
) -> dict[str, package_document.PackagedFile]:
    json_type = catalogued_day.MEDIA_TYPE
    return {
        DATA_NAME: _file(workspace, encoded, ".nc", granule_format.MEDIA_TYPE, "data", "Profiles", "廓线"),
        "map.png": _file(workspace, drawn, ".png", "image/png", "thumbnail", "Map", "分布图"),
        SOURCES_NAME: _file(workspace, sources, ".json", json_type, "metadata", "Profiles it holds", "所含廓线清单"),
    }


def _file(
    workspace: Workspace, body: bytes, suffix: str, media_type: str, role: str, title: str, title_zh: str
) -> package_document.PackagedFile:
    written = workspace.write_asset(body, suffix, media_type)
    return package_document.PackagedFile(
        key=written["key"],
        sha256=written["sha256"],
        media_type=media_type,
        roles=(role,),
        title=title,
        title_zh=title_zh,
    )


def _fields(day: xr.Dataset, source: str, sha256: str, soundings: Sequence[sounding.Sounding]) -> stac.ItemFields:
    attributes = day.attrs
    start, end = (dt.datetime.fromisoformat(str(attributes[f"time_coverage_{side}"])) for side in ("start", "end"))
    return stac.ItemFields(
        product_code=COLLECTION,
        title=attributes["title"],
        title_zh=attributes["title_zh"],
        description=attributes["summary"],
        description_zh=attributes["summary_zh"],
        keywords=("radio occultation", "GNSS", "daily aggregate", "大气廓线", "逐日合集"),
        geometry=_geometry(day),
        bbox=profile_aggregate.box(day),
        start=start,
        end=end,
        quality_level="rapid",
        quality_reasons=tuple(sorted({flag for one in soundings for flag in one.quality_flags})),
        stream=attributes["stream"],
        uncertainty={"kind": "standard_deviation", "asset": DATA_NAME},
        inputs=({"id": f"{source}/{SOURCES_NAME}", "sha256": sha256},),
        lineage=f"{day.sizes['profile']} profiles by item, revision and SHA-256 in {SOURCES_NAME}",
        level="L2",
        software={"terralimb": str(attributes.get("product_version", ""))},
        extra={"platform": attributes["platform"]},
    )


def _geometry(day: xr.Dataset) -> dict[str, Any]:
    """Places of the profiles, or the box around them where they are many: an item must stay light to search."""
    if day.sizes["profile"] <= POINTS_TOLD:
        return profile_aggregate.places(day)
    west, south, east, north = profile_aggregate.box(day)
    spans = ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))
    rings = [[[[a, south], [b, south], [b, north], [a, north], [a, south]]] for a, b in spans]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}
