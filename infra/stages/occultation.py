"""Stages of the occultations: other centres' phases and our own packets to level 1B, level 1B to profiles."""

import datetime as dt
import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import xarray as xr

from infra import archive, granule_format
from infra.stages import auxiliary, package_document
from infra.stages.execution import PrerequisiteMissingError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import timescales
from processors.occultation import excess_phase, level1b
from processors.orbit import sp3
from processors.quality import BadInputError
from products import netcdf, profile, profile_plot, stac
from retrieval.occultation import profile_retrieval, quality

COLLECTION = "occultation-profile"


class Profile(NamedTuple):
    """A retrieved profile as it is published."""

    occultation_id: str
    dataset: xr.Dataset
    netcdf: bytes
    quality_flags: list[str]


def ingest_phase(unit: Unit, workspace: Workspace) -> UnitResult:
    """Read a landed excess-phase file of another centre, by its content."""
    (landed,) = unit.granules
    dataset = _level1b_from_bytes(workspace.read(landed), name=PurePosixPath(landed.key).name)
    group = archive.identity("phase", archive.short(landed.sha256))
    return UnitResult((_level1b_granule(dataset, group),), report={"occultation": dataset.attrs["occultation_id"]})


def _level1b_from_bytes(body: bytes, *, name: str) -> xr.Dataset:
    # Times are read as the numbers they are: some centres' unit texts are not what xarray parses.
    raw = granule_format.decode(body, name=name, decode_times=False)
    return level1b.level1b_from_dataset(raw)


def _level1b_granule(dataset: xr.Dataset, group: str) -> NewGranule:
    identity = archive.identity(dataset.attrs["occultation_id"])
    return NewGranule("level1b", identity, group, granule_format.encode(dataset), ".nc", granule_format.MEDIA_TYPE)


def calibrate(unit: Unit, workspace: Workspace) -> UnitResult:
    """Excess phase of one of our own events, with the receiver's orbit of its pass and the GNSS orbits that hold."""
    (granule,) = unit.granules
    event = _decoded(workspace.read(granule), granule.id)
    if event.sizes["time"] < 2:
        raise BadInputError("truncated", f"of {granule.id} only the table entry or a single sample arrived")
    navigation = [orbit for orbit in unit.context if orbit.attributes["scid"] == granule.attributes["scid"]]
    if not navigation:
        raise PrerequisiteMissingError(f"pass {unit.group} holds no navigation packets, so its receiver has no orbit")
    receiver = _decoded(workspace.read(navigation[0]), navigation[0].id)
    orbits = _orbits(workspace, float(event["time"][0]), float(event["time"][-1]))
    dataset = excess_phase.excess_phase_from_carrier(event, receiver=receiver, transmitters=orbits)
    return UnitResult((_level1b_granule(dataset, unit.group),), report={"occultation": dataset.attrs["occultation_id"]})


def _decoded(body: bytes, name: str) -> xr.Dataset:
    return granule_format.decode(body, name=name, decode_times=False)


def _orbits(workspace: Workspace, start: float, end: float) -> sp3.Sp3Orbits:
    first, last = (
        np.datetime_as_string(instant, unit="s") + "+00:00"
        for instant in timescales.utc_from_gps(np.array([start, end]))
    )
    holding = auxiliary.holding(workspace, kind="gnss-orbits", time=first)
    ending = {granule.id for granule in auxiliary.holding(workspace, kind="gnss-orbits", time=last)}
    chosen = next((granule for granule in holding if granule.id in ending), None)
    if chosen is None:
        raise PrerequisiteMissingError(f"no gnss-orbits that hold from {first} to {last} have arrived")
    return sp3.parse(workspace.read(chosen).decode())


def retrieve(unit: Unit, workspace: Workspace) -> UnitResult:
    """Profile of the atmosphere from one occultation: CF NetCDF and its picture, packed for publication."""
    (granule,) = unit.granules
    level1b_dataset = _decoded(workspace.read(granule), granule.id)
    made = _profile(level1b_dataset, inputs={granule.id: granule.sha256})
    document = package_document.PackageDocument(
        item_id=archive.identity(COLLECTION, made.occultation_id),
        collection=COLLECTION,
        sector="weather",
        bucket="profiles",
        fields=_fields(made, level1b_dataset, granule.id, granule.sha256),
        files={
            "profile.nc": _file(workspace, made.netcdf, ".nc", granule_format.MEDIA_TYPE, ("data",), "Profile", "廓线"),
            "quicklook.png": _file(
                workspace, profile_plot.plot(made.dataset), ".png", "image/png", ("thumbnail",), "Quicklook", "快视图"
            ),
        },
    )
    package = NewGranule(
        kind="profile",
        id=archive.identity(made.occultation_id),
        group=unit.group,
        body=document.to_json(),
        suffix=".json",
        media_type="application/json",
        attributes={"quality_flags": made.quality_flags},
    )
    return UnitResult((package,), report={"quality_flags": made.quality_flags})


def _file(
    workspace: Workspace, body: bytes, suffix: str, media_type: str, roles: tuple[str, ...], title: str, title_zh: str
) -> package_document.PackagedFile:
    written = workspace.write_asset(body, suffix, media_type)
    return package_document.PackagedFile(
        key=written["key"],
        sha256=written["sha256"],
        media_type=media_type,
        roles=roles,
        title=title,
        title_zh=title_zh,
    )


def _fields(made: Profile, level1b_dataset: xr.Dataset, source: str, sha256: str) -> stac.ItemFields:
    attributes = made.dataset.attrs
    start, end = (
        timescales.utc_from_gps(float(level1b_dataset["time"][index]))
        .astype("datetime64[us]")
        .item()
        .replace(tzinfo=dt.UTC)
        for index in (0, -1)
    )
    west, south, east, north = (
        float(attributes[f"geospatial_{name}"]) for name in ("lon_min", "lat_min", "lon_max", "lat_max")
    )
    latitude, longitude = (made.dataset[name].to_numpy() for name in ("latitude", "longitude"))
    known = np.flatnonzero(np.isfinite(latitude) & np.isfinite(longitude))
    track = [[float(longitude[index]), float(latitude[index])] for index in known[:: max(1, known.size // 20)]]
    return stac.ItemFields(
        product_code=COLLECTION,
        title=attributes["title"],
        title_zh=attributes["title_zh"],
        description=attributes["summary"],
        keywords=("radio occultation", "GNSS", "大气廓线"),
        geometry={"type": "LineString", "coordinates": track},
        bbox=(west, south, east, north),
        start=start,
        end=end,
        quality_level="rapid",
        quality_reasons=tuple(made.quality_flags),
        uncertainty={"kind": "standard_deviation", "asset": "profile.nc"},
        inputs=({"id": source, "sha256": sha256},),
        level="L2",
        software={"terralimb": attributes["product_version"]},
        extra={"platform": str(attributes.get("platform", ""))},
    )


def profile_from_file(body: bytes, *, name: str) -> Profile:
    """Profile from a level-1 file of any known layout.

    Raises
    ------
    processors.quality.BadInputError
        The file cannot be read, or is not a level-1 file of a known layout.
    """
    return _profile(_level1b_from_bytes(body, name=name), inputs={name: hashlib.sha256(body).hexdigest()})


def _profile(level1b_dataset: xr.Dataset, *, inputs: dict[str, str]) -> Profile:
    parameters = profile_retrieval.OccultationParameters()
    retrieved = profile_retrieval.retrieve(level1b_dataset, parameters=parameters)
    dataset = profile.profile_from_retrieval(retrieved, parameters=parameters, inputs=inputs)
    return Profile(
        occultation_id=str(retrieved.attrs["occultation_id"]),
        dataset=dataset,
        netcdf=netcdf.encode(dataset),
        quality_flags=_flag_names(dataset),
    )


def _flag_names(dataset: xr.Dataset) -> list[str]:
    value = int(dataset["quality_flag"])
    return [str(flag.name).lower() for flag in quality.FLAGS if value & flag]
