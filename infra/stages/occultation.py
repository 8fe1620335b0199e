"""Stages of the occultations: other centres' phases and our own packets to level 1B, level 1B to profiles."""

import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import xarray as xr

from infra import archive, granule_format
from infra.stages import auxiliary
from infra.stages.execution import PrerequisiteMissingError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import timescales
from processors.occultation import excess_phase, level1b
from processors.orbit import sp3
from products import netcdf, profile, profile_plot, schema
from retrieval.occultation import profile_retrieval


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
    navigation = workspace.ledger.granules(["navigation"], group=unit.group)
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
        np.datetime_as_string(instant, unit="s") + "+00:00" for instant in timescales.utc_from_gps([start, end])
    )
    holding = auxiliary.holding(workspace, kind="gnss-orbits", time=first)
    ending = {granule.id for granule in auxiliary.holding(workspace, kind="gnss-orbits", time=last)}
    chosen = next((granule for granule in holding if granule.id in ending), None)
    if chosen is None:
        raise PrerequisiteMissingError(f"no gnss-orbits that hold from {first} to {last} have arrived")
    return sp3.parse(workspace.read(chosen).decode())


def retrieve(unit: Unit, workspace: Workspace) -> UnitResult:
    """Profile of the atmosphere from one occultation, as CF NetCDF with its picture."""
    (granule,) = unit.granules
    made = _profile(_decoded(workspace.read(granule), granule.id), source_sha256=granule.sha256)
    picture = workspace.write_asset(profile_plot.render(made.dataset), ".png", "image/png")
    attributes = {**profile.catalogue_fields(made.dataset), "quality_flags": made.quality_flags, "picture": picture}
    product = NewGranule(
        kind="profile",
        id=archive.identity(made.occultation_id),
        group=unit.group,
        body=made.netcdf,
        suffix=".nc",
        media_type=granule_format.MEDIA_TYPE,
        attributes=attributes,
    )
    return UnitResult((product,), report={"quality_flags": made.quality_flags})


def profile_from_file(body: bytes, *, name: str) -> Profile:
    """Profile from a level-1 file of any known layout.

    Raises
    ------
    processors.quality.BadInputError
        The file cannot be read, or is not a level-1 file of a known layout.
    """
    return _profile(_level1b_from_bytes(body, name=name), source_sha256=hashlib.sha256(body).hexdigest())


def _profile(phases: xr.Dataset, *, source_sha256: str) -> Profile:
    retrieved = profile_retrieval.retrieve(phases, parameters=profile_retrieval.OccultationParameters())
    dataset = profile.complete(retrieved, source_sha256=source_sha256)
    schema.check(dataset)
    return Profile(
        occultation_id=dataset.attrs["occultation_id"],
        dataset=dataset,
        netcdf=netcdf.encode(dataset),
        quality_flags=profile.quality_flags(dataset),
    )
