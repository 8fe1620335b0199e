"""Encoder for ROPP I/O V1.1 netCDF (ROM SAF): header, bending angles (level 1b), refractivity and dry state (level 2a).

The variables are a table beside this module (`ropp_v1_1.yaml`). What a variable's valid range does not hold is
undefined in the file and reported; a level whose altitude it does not hold is left out.
"""

import functools
import io
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import scipy.io
import xarray as xr
import yaml

from processors.arrays import FloatArray
from products import occultation_exchange as exchange

TABLE = "ropp_v1_1.yaml"
RECORD = "dim_unlim"
EPOCH = np.datetime64("2000-01-01", "ns")
UNKNOWN = "UNKNOWN"
TYPES = {"S1": "c", "i4": "i4", "f4": "f4", "f8": "f8"}


def encode(profile: xr.Dataset) -> bytes:
    """Encode a profile as ROPP netCDF.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, checked against the table.

    Returns
    -------
    bytes
        A classic netCDF file, the same for the same profile.
    """
    return encoded(profile).content


def encoded(profile: xr.Dataset) -> exchange.Encoded:
    """Encode a profile as ROPP netCDF and report what it could not hold.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, checked against the table.

    Returns
    -------
    exchange.Encoded
        The file, and the number of values made undefined by variable; of `alt_refrac`, of levels left out.
    """
    rows = _table()["variables"]
    ranges = {name: tuple(row["valid_range"]) for name, row in rows.items() if "valid_range" in row}
    numbers, left_out = _on_held_levels(_numbers(profile))
    numbers, outside = exchange.within(numbers, ranges)
    content = _netcdf({**numbers, **_texts(profile)}, attributes=_attributes(profile))
    return exchange.Encoded(content, outside | left_out)


def _on_held_levels(numbers: Mapping[str, FloatArray]) -> tuple[dict[str, FloatArray], dict[str, int]]:
    """Level 2a on the altitudes within their range: an undefined altitude would leave a value nowhere."""
    rows, altitude = _table()["variables"], numbers["alt_refrac"]
    low, high = rows["alt_refrac"]["valid_range"]
    held = (altitude >= low) & (altitude <= high)
    kept = {name: value[held] if rows[name]["dims"] == ["dim_lev2a"] else value for name, value in numbers.items()}
    return kept, {} if held.all() else {"alt_refrac": int((~held).sum())}


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("products").joinpath(TABLE).read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def _texts(profile: xr.Dataset) -> dict[str, str]:
    """Identities: the occultation's is OC_YYYYMMDDhhmmss_receiver_transmitter_centre."""
    moment = re.sub("[-T:]", "", np.datetime_as_string(exchange.start_time(profile), unit="s"))
    transmitter = str(profile.attrs["transmitter"])
    centre = re.sub("[^A-Z0-9]", "", str(profile.attrs["institution"]).upper())[:4]
    receiver, satellite = exchange.receiver(profile).ropp, f"{transmitter[0]}{int(transmitter[1:]):03d}"
    return {
        "occ_id": f"OC_{moment}_{receiver}_{satellite}_{centre}",
        "gns_id": satellite,
        "leo_id": receiver,
        "stn_id": "",
    }


def _numbers(profile: xr.Dataset) -> dict[str, FloatArray]:
    """Values by name in the format, NaN where undefined."""
    bits = exchange.quality_bits(profile)
    values = {**_header(profile, bits), **_level1b(profile, bits), **_level2a(profile, bits)}
    return {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}


def _header(profile: xr.Dataset, bits: frozenset[int]) -> dict[str, Any]:
    start, reference = exchange.start_time(profile), exchange.reference_time(profile)
    moment, second = start.astype("datetime64[us]").item(), np.timedelta64(1, "s")
    nowhere = np.full(3, np.nan)
    return {
        # UTC without leap seconds, so that start_time and the calendar fields name one moment
        "start_time": (start - EPOCH) / second,
        "time": (reference - EPOCH) / second,
        "time_offset": (reference - start) / second,
        **{name: getattr(moment, name) for name in ("year", "month", "day", "hour", "minute", "second")},
        "msec": moment.microsecond // 1000,
        "pcd": sum(1 << (bit - 1) for bit in bits),
        "overall_qual": exchange.confidence(bits),
        "lat": profile["reference_latitude"],
        "lon": profile["reference_longitude"],
        "roc": profile["radius_of_curvature"],
        "r_coc": profile["center_of_curvature"],
        **{name: profile[name] for name in ("undulation", "azimuth")},
        **dict.fromkeys(("r_leo_ref", "v_leo_ref", "r_gns_ref", "v_gns_ref"), nowhere),
    }


def _level1b(profile: xr.Dataset, bits: frozenset[int]) -> dict[str, Any]:
    """Bending angles: both signals, corrected, optimised; all on the product's impact parameters."""
    impact, known_at = profile["impact_parameter"].to_numpy(), exchange.impact_of_levels(profile)
    missing, trust = np.full(impact.shape, np.nan), exchange.confidence(bits)
    angles = {
        "L1_": profile["bending_angle_l1"].to_numpy(),
        "L2_": profile["bending_angle_l2"].to_numpy(),
        "": profile["bending_angle"].to_numpy(),
    }
    return {
        "lat_tp": exchange.at(impact, known_at, profile["latitude"].to_numpy()),
        "lon_tp": exchange.at(impact, known_at, profile["longitude"].to_numpy(), period=360.0),
        **dict.fromkeys(("impact", "impact_L1", "impact_L2", "impact_opt"), impact),
        **{f"bangle_{kind}".rstrip("_"): angle for kind, angle in angles.items()},
        **{f"bangle_{kind}qual": np.where(np.isfinite(angle), trust, np.nan) for kind, angle in angles.items()},
        "bangle_opt": profile["bending_angle_optimized"],
        "bangle_sigma": profile["bending_angle_uncertainty"],
        "bangle_opt_qual": exchange.merged_confidence(profile, bits),
        **dict.fromkeys(("azimuth_tp", "bangle_L1_sigma", "bangle_L2_sigma", "bangle_opt_sigma"), missing),
    }


def _level2a(profile: xr.Dataset, bits: frozenset[int]) -> dict[str, Any]:
    return {
        "alt_refrac": profile["altitude"],
        "geop_refrac": profile["geopotential_height"],
        "refrac": profile["refractivity"],
        "refrac_sigma": profile["refractivity_uncertainty"],
        "refrac_qual": exchange.refractivity_confidence(profile, bits),
        "dry_temp": profile["dry_temperature"],
        "dry_temp_sigma": profile["dry_temperature_uncertainty"],
        "dry_temp_qual": np.full(profile.sizes["height"], np.nan),
    }


def _netcdf(values: Mapping[str, FloatArray | str], *, attributes: Mapping[str, Any]) -> bytes:
    """A classic file with one record."""
    table, buffer = _table(), io.BytesIO()
    file = scipy.io.netcdf_file(buffer, "w", version=1)
    sizes = table["characters"] | {"xyz": 3, "dim_lev1b": len(values["impact"]), "dim_lev2a": len(values["refrac"])}
    for name, size in {RECORD: None, **sizes}.items():
        file.createDimension(name, size)
    for name, row in table["variables"].items():
        variable = file.createVariable(name, TYPES[row["dtype"]], (RECORD, *row["dims"]))
        variable[0] = _stored(values[name], row, table)
        _describe(variable, row)
    for name, value in attributes.items():
        setattr(file, name, value)
    file.flush()
    content = buffer.getvalue()
    file.close()
    return content


def _stored(value: FloatArray | str, row: Mapping[str, Any], table: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Numbers with the undefined value for NaN, text padded with zeros."""
    if isinstance(value, str):
        (dimension,) = row["dims"]
        return np.frombuffer(value.encode("ascii").ljust(table["characters"][dimension], b"\0"), dtype="S1")
    return np.where(np.isfinite(value), value, table["undefined"]).astype(row["dtype"])


def _describe(variable: Any, row: Mapping[str, Any]) -> None:
    """Attributes of a variable, its range in its own type."""
    for name, value in row.items():
        if name not in {"dtype", "dims"}:
            setattr(variable, name, np.array(value, dtype=row["dtype"]) if isinstance(value, list) else value)


def _attributes(profile: xr.Dataset) -> dict[str, Any]:
    """Global attributes; the date of processing is left open so that a file depends on its profile only."""
    attributes = profile.attrs
    return {
        "title": "ROPP Radio Occultation data",
        "institution": str(attributes["institution"]),
        "Conventions": "CF-1.0",
        "format_version": "ROPP I/O V1.1",
        "processing_centre": str(attributes["institution"]),
        "processing_software": str(attributes["processing_software"]),
        "processing_date": UNKNOWN,
        "pod_method": UNKNOWN,
        "phase_method": UNKNOWN,
        "bangle_method": str(attributes.get("bending_method", UNKNOWN)),
        "refrac_method": "Abel transform (LIN)",
        "meteo_method": UNKNOWN,
        "thin_method": "NONE",
        "software_version": str(attributes["product_version"]),
        "_FillValue": _table()["undefined"],
    }
