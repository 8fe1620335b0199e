"""Profiles as files, drawn at random within the limits of the table: the aggregate must not care what they hold."""

import datetime as dt
from typing import Any

import numpy as np
import xarray as xr

from products import netcdf, profile, schema

DAY = dt.date(2026, 3, 1)
LEFT_OUT = {"pressure", "temperature", "specific_humidity"}


def profile_file(
    seed: int,
    *,
    at: dt.datetime | None = None,
    levels: tuple[int, int] = (9, 7),
    place: tuple[float, float] | None = None,
    without: tuple[str, ...] = (),
    **attributes: Any,
) -> bytes:
    """File of one profile with `levels` of impact parameter and height."""
    random = np.random.default_rng(seed)
    moment = at or dt.datetime(2026, 3, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=float(random.uniform(0, 86399)))
    sizes = {"impact": levels[0], "height": levels[1], "xyz": 3, "sounding": 4}
    given = {"reference_time": (moment - dt.datetime(2000, 1, 1, tzinfo=dt.UTC)).total_seconds()}
    if place is not None:
        given |= {"reference_latitude": place[0], "reference_longitude": place[1]}
    variables = {}
    for name, row in schema.table(profile.PRODUCT).items():
        if name in without or name in LEFT_OUT:
            continue
        values = _values(row, random, tuple(sizes[dim] for dim in row.dims))
        values = np.sort(values) if row.content == "coordinate" and values.ndim else values
        if name in given:
            values = np.array(given[name])
        variables[name] = xr.Variable(row.dims, values.astype(row.dtype), row.attributes())
    variables["height"] = variables["height"].copy(data=variables["altitude"].to_numpy())
    dataset = xr.Dataset(variables)
    dataset = dataset.set_coords([name for name in profile.COORDINATES if name in dataset])
    dataset.attrs = _attributes(seed, moment) | attributes
    return netcdf.encode(schema.check(dataset, product=profile.PRODUCT))


def _values(row: schema.PublishedVariable, random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    low, high = max(row.lowest, -1e7), min(row.highest, 1e7)
    if np.dtype(row.dtype).kind == "i":
        return random.integers(int(low), int(high) + 1, shape)
    values = random.uniform(low, high, shape)
    return (
        np.where(random.random(shape) < 0.2, np.nan, values) if row.missing and row.content != "coordinate" else values
    )


def _attributes(seed: int, moment: dt.datetime) -> dict[str, Any]:
    receiver = f"fy-3{'defg'[seed % 4]}"
    about = profile.Publication()
    return {
        "Conventions": profile.CONVENTIONS,
        "id": f"g{seed % 32 + 1:02d}-{receiver}-{seed}",
        "occultation_id": f"G{seed % 32 + 1:02d}-{receiver}-{seed}",
        "transmitter": f"G{seed % 32 + 1:02d}",
        "receiver": receiver,
        "platform": receiver,
        "mission": "fy-3",
        "title": f"Radio occultation profile {seed}",
        "summary": "a profile",
        "keywords": "radio occultation, atmosphere",
        "instrument": "GNSS radio occultation receiver",
        **{name: getattr(about, name) for name in ("institution", "naming_authority", "acknowledgement", "license")},
        **{f"creator_{name}": about.institution for name in ("name", "institution")},
        **{f"publisher_{name}": about.institution for name in ("name", "institution")},
        "creator_type": "institution",
        "publisher_type": "institution",
        "project": "terralimb",
        "program": "terralimb",
        "product_version": about.product_version,
        "processing_level": "Level 2",
        "standard_name_vocabulary": "CF Standard Name Table v93",
        "references": "docs",
        "time_coverage_start": (moment - dt.timedelta(seconds=50)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "time_coverage_end": (moment + dt.timedelta(seconds=50)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "processing_parameters_sha256": "ab" * 32,
        "receiver_orbit_residual": 0.01 * seed,
        "background_fit_layer": [40e3, 60e3],
        "findings": "cycle slips repaired" if seed % 2 else "none",
        "processing_inputs": f"level1b-{seed} sha256:{seed:064x}",
    }
