"""Encoder for the AWS registry of GNSS radio occultation data: `refractivityRetrieval`, version 1.1 (level 2a).

Missing numbers are netCDF's default fill values, without an attribute, as the description of the format has it.
"""

import functools
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
import yaml

from processors import constants, timescales
from processors.arrays import FloatArray
from products import occultation_exchange as exchange

TABLE = "aws_v1_1.yaml"
VERSION = "1.1"
FILE_TYPE = "GNSS-RO-in-AWS-Open-Data-refractivityRetrieval"
UNDETERMINED = -128


def encode(profile: xr.Dataset) -> bytes:
    """Encode a profile as `refractivityRetrieval`.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, checked against the table.

    Returns
    -------
    bytes
        A netCDF-4 file, the same for the same profile. The registry holds no flagged soundings: leaving them out is the
        caller's choice.
    """
    values = _values(profile)
    fields = {name: _variable(values[name], row) for name, row in _rows().items()}
    return _netcdf4(xr.Dataset(fields, attrs=_attributes(profile)))


def encoded(profile: xr.Dataset) -> exchange.Encoded:
    """Encode a profile; its numbers are floating, so nothing is ever outside.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, checked against the table.

    Returns
    -------
    exchange.Encoded
        The file, and an empty report.
    """
    return exchange.Encoded(encode(profile), {})


@functools.cache
def _rows() -> dict[str, dict[str, Any]]:
    text = resources.files("products").joinpath(TABLE).read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = yaml.safe_load(text)["variables"]
    return rows


def _values(profile: xr.Dataset) -> dict[str, FloatArray]:
    """Values by name in the format, SI, NaN where missing."""
    frequencies = [profile.attrs.get(f"{order}_signal_frequency", np.nan) for order in ("first", "second")]
    raw = [profile[name].to_numpy() for name in ("bending_angle_l1", "bending_angle_l2")]
    values = {
        "refTime": timescales.gps_from_utc(exchange.reference_time(profile)),
        "refLongitude": profile["reference_longitude"],
        "refLatitude": profile["reference_latitude"],
        "equatorialRadius": constants.WGS84_SEMI_MAJOR,
        "polarRadius": constants.WGS84_SEMI_MINOR,
        "setting": profile["setting"],
        "undulation": profile["undulation"],
        "centerOfCurvature": profile["center_of_curvature"],
        "radiusOfCurvature": profile["radius_of_curvature"],
        "impactParameter": profile["impact_parameter"],
        "carrierFrequency": frequencies,
        "rawBendingAngle": np.stack(raw, axis=-1),
        "bendingAngle": profile["bending_angle"],
        "optimizedBendingAngle": profile["bending_angle_optimized"],
        **{name: profile[name] for name in ("altitude", "longitude", "latitude", "refractivity")},
        # the product has the direction of the reference ray only
        "orientation": np.full(profile.sizes["height"], np.nan),
        "geopotential": profile["geopotential_height"] * constants.STANDARD_GRAVITY,
        "dryPressure": profile["dry_pressure"],
        "superRefractionAltitude": exchange.super_refraction_altitude(profile),
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}


def _variable(values: FloatArray, row: dict[str, Any]) -> xr.Variable:
    dtype = np.dtype(row["dtype"])
    fill = UNDETERMINED if dtype.kind == "i" else netCDF4.default_fillvals[row["dtype"]]
    stored = np.where(np.isfinite(values), values, fill).astype(dtype)
    attributes = {name: text for name, text in row.items() if name not in {"dtype", "dims"}}
    encoding = {"_FillValue": np.array(UNDETERMINED, dtype) if dtype.kind == "i" else None}
    return xr.Variable(row["dims"], stored, attributes, encoding)


def _attributes(profile: xr.Dataset) -> dict[str, Any]:
    """Global attributes of table 2b; time is that of the reference point, UTC."""
    moment = exchange.reference_time(profile).astype("datetime64[us]").item()
    receiver, attributes = exchange.receiver(profile), profile.attrs
    return {
        "file_type": FILE_TYPE,
        "AWSversion": VERSION,
        **{name: np.int32(getattr(moment, name)) for name in ("year", "month", "day", "hour", "minute")},
        "second": np.float32(moment.second + 1e-6 * moment.microsecond),
        "doy": np.int32(moment.timetuple().tm_yday),
        "mission": receiver.mission,
        "leo": receiver.leo,
        "occGnss": str(attributes["transmitter"]),
        "processing_center": str(attributes["institution"]),
        "processing_center_version": str(attributes["processing_software"]),
        "processing_center_path": f"{attributes['id']}.nc",
        "data_use_license": str(attributes["license"]),
        **_methods(profile),
        "references": str(attributes["references"]),
    }


def _methods(profile: xr.Dataset) -> dict[str, str]:
    """What was published of the methods, or which other centre used its own."""
    centre = exchange.given_by(profile)
    # only another centre's merge has no stated weight
    theirs = centre is not None and bool(profile["observation_weight"].isnull().any())
    return {
        "optimization_references": f"as given by {centre}" if theirs else "Sokolovskiy and Hunt 1996",
        "ionospheric_references": f"as given by {centre}" if centre else "Vorob'ev and Krasil'nikova 1994",
    }


def _netcdf4(dataset: xr.Dataset) -> bytes:
    """Bytes of a file; written to disk because the library leaves unset memory in files it makes in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.nc"
        dataset.to_netcdf(path, engine="netcdf4", format="NETCDF4")
        return path.read_bytes()
