"""Stages of the occultations: other centres' phases and our own packets to level 1B, level 1B to profiles."""

import datetime as dt
import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import threadpoolctl
import xarray as xr

from infra import archive, granule_format
from infra.stages import auxiliary, package_document
from infra.stages.execution import PrerequisiteMissingError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import timescales
from processors.occultation import excess_phase, recognition
from processors.orbit import sp3
from processors.quality import BadInputError
from products import netcdf, profile, profile_plot, stac
from retrieval.occultation import background, occultation_parameters, profile_retrieval, quality

COLLECTION = "occultation-profile"


class Profile(NamedTuple):
    """A retrieved profile as it is published."""

    occultation_id: str
    dataset: xr.Dataset
    netcdf: bytes
    quality_flags: list[str]
    steps: dict[str, float]


def ingest_phase(unit: Unit, workspace: Workspace) -> UnitResult:
    """Read a landed file of another centre, excess phases or bending angles, by its content."""
    (landed,) = unit.granules
    dataset = _read(workspace.read(landed), name=PurePosixPath(landed.key).name)
    group = archive.identity("phase", archive.short(landed.sha256))
    return UnitResult((_level1b_granule(dataset, group),), report={"occultation": dataset.attrs["occultation_id"]})


def _read(body: bytes, *, name: str) -> xr.Dataset:
    # Times are read as the numbers they are: some centres' unit texts are not what xarray parses.
    raw = granule_format.decode(body, name=name, decode_times=False)
    return recognition.read(raw)


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
    dataset = _decoded(workspace.read(granule), granule.id)
    made = _profile(dataset, inputs={granule.id: granule.sha256})
    document = package_document.PackageDocument(
        item_id=archive.identity(COLLECTION, made.occultation_id),
        collection=COLLECTION,
        sector="weather",
        bucket="profiles",
        fields=_fields(made, granule.id, granule.sha256),
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


def _fields(made: Profile, source: str, sha256: str) -> stac.ItemFields:
    attributes = made.dataset.attrs
    start, end = (dt.datetime.fromisoformat(str(attributes[f"time_coverage_{side}"])) for side in ("start", "end"))
    west, south, east, north = (
        float(attributes[f"geospatial_{name}"]) for name in ("lon_min", "lat_min", "lon_max", "lat_max")
    )
    return stac.ItemFields(
        product_code=COLLECTION,
        title=attributes["title"],
        title_zh=attributes["title_zh"],
        description=attributes["summary"],
        keywords=("radio occultation", "GNSS", "大气廓线"),
        geometry=_geometry(made.dataset),
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


def _geometry(dataset: xr.Dataset) -> dict[str, object]:
    """Tangent points as GeoJSON, cut where they cross the date line (RFC 7946, 3.1.9)."""
    north, east = profile.track(dataset)
    kept = np.arange(0, north.size, max(1, north.size // 20))
    turns = np.floor((east[kept] + 180.0) / 360.0)
    points = [[float(x - 360.0 * turn), float(y)] for x, y, turn in zip(east[kept], north[kept], turns, strict=True)]
    parts = [list(part) for part in np.split(np.arange(kept.size), np.flatnonzero(np.diff(turns)) + 1)]
    lines = [[points[index] for index in part] for part in parts if len(part) > 1]
    if not lines:
        return {"type": "Point", "coordinates": points[0]}
    if len(lines) == 1:
        return {"type": "LineString", "coordinates": lines[0]}
    return {"type": "MultiLineString", "coordinates": lines}


def profile_from_file(body: bytes, *, name: str, background: bytes | None = None) -> Profile:
    """Profile from a level-1 file of any known layout.

    Parameters
    ----------
    body : bytes
        The file.
    name : str
        What to call it in errors and in the provenance.
    background : bytes, optional
        NetCDF of a background atmosphere in place of the climatology: `altitude` [m], `refractivity` [1e-6] and
        `temperature` [K] on one dimension.

    Raises
    ------
    processors.quality.BadInputError
        The file cannot be read, or is not a level-1 file of a known layout.
    """
    inputs = {name: hashlib.sha256(body).hexdigest()}
    model = None
    if background is not None:
        model = _background(background)
        inputs["background"] = hashlib.sha256(background).hexdigest()
    return _profile(_read(body, name=name), inputs=inputs, model=model)


def _background(body: bytes) -> background.ModelAtmosphere:
    dataset = granule_format.decode(body, name="the background", decode_times=False)
    missing = [name for name in ("altitude", "refractivity", "temperature") if name not in dataset.variables]
    if missing:
        raise BadInputError("background_unusable", f"the background lacks {', '.join(missing)}")
    return background.from_table(*(dataset[name].to_numpy() for name in ("altitude", "refractivity", "temperature")))


def _profile(
    dataset: xr.Dataset, *, inputs: dict[str, str], model: background.ModelAtmosphere | None = None
) -> Profile:
    parameters = occultation_parameters.OccultationParameters()
    clock = profile_retrieval.StepClock()
    chain = (
        profile_retrieval.retrieve_from_bending if dataset.attrs.get("level") == "2a" else profile_retrieval.retrieve
    )
    # One thread: the last bits of a product must not depend on the machine, and batches fill the cores by processes.
    with threadpoolctl.threadpool_limits(1):
        retrieved = chain(dataset, parameters=parameters, model=model, mark=clock)
    made = profile.profile_from_retrieval(retrieved, parameters=parameters, inputs=inputs)
    encoded = netcdf.encode(made)
    clock("encoding")
    return Profile(
        occultation_id=str(retrieved.attrs["occultation_id"]),
        dataset=made,
        netcdf=encoded,
        quality_flags=_flag_names(made),
        steps=clock.seconds,
    )


def _flag_names(dataset: xr.Dataset) -> list[str]:
    value = int(dataset["quality_flag"])
    return [str(flag.name).lower() for flag in quality.FLAGS if value & flag]
