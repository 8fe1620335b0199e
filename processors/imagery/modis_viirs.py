"""MODIS and VIIRS gridded surface reflectance: sinusoidal grid and scale by the file's own metadata.

HDF-EOS states the grid in the text `StructMetadata.0` (HDF-EOS5 Interface User Guide, section 8): edges of the grid,
projection (GCTP 16, sinusoidal on a sphere) and size. A scale factor above 1 is the divisor MODIS collection files
state (10000 for ten thousandths), never a multiplier.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from processors.imagery import scene_layers
from processors.quality import BadInputError

_BANDS = {
    "SurfReflect_I1": "red",
    "SurfReflect_I2": "nir",
    "SurfReflect_I3": "swir1",
    "SurfReflect_M3": "blue",
    "SurfReflect_M4": "green",
    "SurfReflect_M5": "red_m5",
    "SurfReflect_M7": "nir_m7",
    "SurfReflect_M10": "swir1_m10",
    "SurfReflect_M11": "swir2",
    "sur_refl_b01": "red",
    "sur_refl_b02": "nir",
    "sur_refl_b03": "blue",
    "sur_refl_b04": "green",
    "sur_refl_b05": "nir1240",
    "sur_refl_b06": "swir1",
    "sur_refl_b07": "swir2",
}
_FIELD = re.compile(r"^(SurfReflect_[IM]\d+|sur_refl_b\d\d)(?:_1)?$")
_DAY = re.compile(r"\.A(\d{4})(\d{3})\.")
_HDF4 = b"\x0e\x03\x13\x01"
_SPHERE = 6371007.181


class GridField(NamedTuple):
    """A field of a gridded file."""

    path: str
    """Path of the variable within the file."""
    grid: str
    """Grid it lies on."""
    attributes: Mapping[str, Any]
    """Its attributes."""


def refuse_hdf4(start: bytes, *, name: str) -> None:
    """Refuse an HDF4 file with the way out.

    Parameters
    ----------
    start : bytes
        First bytes of the file.
    name : str
        The file.

    Raises
    ------
    BadInputError
        `format_unsupported`.
    """
    if start.startswith(_HDF4):
        raise BadInputError(
            "format_unsupported",
            f"{name} is HDF4, for which there is no reader here; convert every band to GeoTIFF with a GDAL that has"
            f" HDF4 (gdal_translate HDF4_EOS:EOS_GRID:...:sur_refl_b01_1 band.tif, without -unscale; where gdalinfo"
            f" then shows a scale above 1, set its inverse) or order HDF-EOS5, NetCDF or GeoTIFF from the archive",
        )


def grids_from_structure(text: str) -> dict[str, GeoBox]:
    """Grids of an HDF-EOS file.

    Parameters
    ----------
    text : str
        `StructMetadata.0`.

    Returns
    -------
    dict
        Grid name to grid.

    Raises
    ------
    BadInputError
        `crs_missing` where a grid is not sinusoidal, `metadata_missing`.
    """
    found = {}
    for part in re.split(r"\bGROUP\s*=\s*GRID_\d+", text)[1:]:
        body = re.split(r"END_GROUP\s*=\s*GRID_\d+", part)[0]
        name = _entry(body, "GridName").strip('"')
        shape = int(_entry(body, "YDim")), int(_entry(body, "XDim"))
        left, top = _pair(_entry(body, "UpperLeftPointMtrs"))
        right, bottom = _pair(_entry(body, "LowerRightMtrs"))
        if "SNSOID" not in _entry(body, "Projection"):
            raise BadInputError("crs_missing", f"grid {name} is not sinusoidal")
        radius = float(_entry(body, "ProjParams").strip("()").split(",")[0]) or _SPHERE
        transform = Affine((right - left) / shape[1], 0.0, left, 0.0, (bottom - top) / shape[0], top)
        found[name] = GeoBox(shape, transform, sinusoidal(radius))
    if not found:
        raise BadInputError("metadata_missing", "StructMetadata.0 describes no grid")
    return found


def sinusoidal(radius: float = _SPHERE) -> str:
    """Sinusoidal system of the MODIS and VIIRS grids.

    Parameters
    ----------
    radius : float
        Radius of the sphere [m].

    Returns
    -------
    str
        Its definition.
    """
    return f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={radius:.12g} +units=m +no_defs"


def metadata_from_fields(
    fields: Sequence[GridField], *, name: str, attributes: Mapping[str, Any]
) -> scene_layers.SceneMetadata:
    """What a file of gridded surface reflectance says about itself.

    Parameters
    ----------
    fields : sequence of GridField
        Its fields.
    name : str
        File name.
    attributes : Mapping
        Attributes of the file.

    Returns
    -------
    scene_layers.SceneMetadata
        The reflectance fields; where two measure the same band the finer one carries its plain name.

    Raises
    ------
    BadInputError
        `band_missing`, `scale_missing`, `nodata_missing`, `time_missing`.
    """
    layers = []
    for field in fields:
        match = _FIELD.match(field.path.rpartition("/")[2])
        if match is not None and match[1] in _BANDS:
            decoding = _decoding(field)
            layers.append(scene_layers.Layer(_BANDS[match[1]], scene_layers.REFLECTANCE, field.path, decoding))
    if not layers:
        raise BadInputError("band_missing", f"{name} holds no surface reflectance")
    product = name.split(".")[0]
    return scene_layers.SceneMetadata(
        identity=".".join(name.split(".")[:3]),
        sensor="viirs" if product.startswith(("VNP", "VJ")) else "modis",
        level="surface_reflectance",
        time=_time(name, attributes),
        layers=tuple(layers),
        notes=("the time is the day's; observation times vary within the grid",),
    )


def _decoding(field: GridField) -> scene_layers.Decoding:
    given = {key.lower(): value for key, value in field.attributes.items()}
    if "scale_factor" not in given:
        raise BadInputError("scale_missing", f"{field.path} states no scale_factor")
    if "_fillvalue" not in given:
        raise BadInputError("nodata_missing", f"{field.path} states no _FillValue")
    scale = _scalar(given["scale_factor"], f"scale_factor of {field.path}")
    offset = _scalar(given.get("add_offset", given.get("offset", 0.0)), f"add_offset of {field.path}")
    if scale <= 0.0 or scale == 1.0:
        raise BadInputError("scale_missing", f"{field.path} states the scale factor {scale:g}")
    if scale > 1.0:
        scale, offset = 1.0 / scale, -offset / scale
    limits = given.get("valid_range")
    valid = None if limits is None else _limits(limits)
    return scene_layers.Decoding(scale, offset, (_scalar(given["_fillvalue"], "_FillValue"),), valid=valid)


def _scalar(value: Any, what: str) -> float:
    return scene_layers.number(np.ravel(np.asarray(value))[0], what=what)


def _limits(value: Any) -> tuple[float, float] | None:
    numbers = np.ravel(np.asarray(value))
    return (float(numbers[0]), float(numbers[1])) if numbers.size == 2 and numbers.dtype.kind in "iuf" else None


def _time(name: str, attributes: Mapping[str, Any]) -> np.datetime64:
    day = attributes.get("RangeBeginningDate")
    if day is not None:
        clock = str(attributes.get("RangeBeginningTime", "00:00:00"))[:18]
        return scene_layers.moment(f"{day}T{clock}", what="RangeBeginningDate")
    match = _DAY.search(name)
    if match is None or not 1 <= int(match[2]) <= 366:
        raise BadInputError("time_missing", f"neither the attributes nor the name of {name} state its day")
    date = dt.date(int(match[1]), 1, 1) + dt.timedelta(days=int(match[2]) - 1)
    return np.datetime64(date.isoformat(), "ns")


def _entry(body: str, key: str) -> str:
    match = re.search(rf"^\s*{key}\s*=\s*(.+?)\s*$", body, re.MULTILINE)
    if match is None:
        raise BadInputError("metadata_missing", f"StructMetadata.0 does not state {key}")
    return match[1]


def _pair(text: str) -> tuple[float, float]:
    numbers = [float(part) for part in text.strip("()").split(",")]
    return numbers[0], numbers[1]
