"""Lines of our own imager as level 0 delivers them: what is required of a strip, and what is repaired."""

from typing import Any

import numpy as np
import xarray as xr

from processors.arrays import FloatArray
from processors.level0 import layouts
from processors.quality import BadInputError

BANDS = layouts.BANDS
"""Bands in the order of their application process identifiers 0x050 to 0x054."""

FULL_SCALE = 4095
"""Largest count of a 12-bit sample [1]."""


def checked(strip: xr.Dataset) -> xr.Dataset:
    """Check a level 0 strip against its contract and complete its ancillary data.

    Edge positions and line times that no ancillary packet delivered are interpolated linearly over the lines.

    Parameters
    ----------
    strip : xr.Dataset
        `counts` (band, line, pixel), `line_valid` (band, line), `line_time` (line) GPS time [s], `edge_longitude` and
        `edge_latitude` (line, edge) of the centers of the first and the last pixel [degree]; attributes `gain` [1] and
        `integration_time` [s], one value or one per band.

    Returns
    -------
    xr.Dataset
        The strip with band names as coordinate and no gap in its geometry.

    Raises
    ------
    BadInputError
        `band_missing`, `truncated` (a variable is absent or there are fewer than two lines), `counts_out_of_range`,
        `geolocation_missing` or `all_nodata`.
    """
    required = {"counts", "line_valid", "line_time", "edge_longitude", "edge_latitude"}
    absent = sorted(required - set(strip.variables))
    if absent:
        raise BadInputError("truncated", f"the strip lacks {', '.join(absent)}")
    if strip.sizes["line"] < 2:
        raise BadInputError("truncated", "a strip of fewer than two lines cannot be located")
    _check_bands(strip)
    _check_counts(strip)
    complete = strip.assign_coords(band=list(BANDS))
    for name in ("line_time", "edge_longitude", "edge_latitude"):
        array = strip[name].transpose("line", ...)
        complete[name] = (array.dims, _continued(array.values.astype(np.float64)))
    return complete


def per_band(strip: xr.Dataset, name: str) -> FloatArray:
    """Value of a strip attribute for every band.

    Parameters
    ----------
    strip : xr.Dataset
        A level 0 strip.
    name : str
        `gain` [1] or `integration_time` [s].

    Returns
    -------
    FloatArray
        One value per band, in the unit of the attribute; NaN where no line of the band arrived.

    Raises
    ------
    BadInputError
        `calibration_missing` where the attribute is absent, not positive or of another length.
    """
    values = np.asarray(strip.attrs.get(name, np.nan), dtype=np.float64)
    if values.size not in (1, len(BANDS)):
        raise BadInputError("calibration_missing", f"the strip states no usable {name}")
    arrived = strip["line_valid"].any("line").values
    spread = np.where(arrived, np.broadcast_to(values.ravel(), (len(BANDS),)), np.nan)
    if not np.all(spread[arrived] > 0):
        raise BadInputError("calibration_missing", f"the strip states no usable {name}")
    return spread


def valid_counts(strip: xr.Dataset) -> xr.DataArray:
    """Counts with lost lines as NaN.

    Parameters
    ----------
    strip : xr.Dataset
        A checked strip.

    Returns
    -------
    xr.DataArray
        Counts (band, line, pixel), float32 [1].
    """
    return strip["counts"].astype(np.float32).where(strip["line_valid"]).transpose("band", "line", "pixel")


def _check_bands(strip: xr.Dataset) -> None:
    names = tuple(str(name) for name in strip["band"].values) if "band" in strip.coords else BANDS
    if strip.sizes["band"] != len(BANDS) or names != BANDS:
        raise BadInputError("band_missing", f"the strip holds the bands {names}, not {BANDS}")


def _check_counts(strip: xr.Dataset) -> None:
    if int(strip["counts"].max()) > FULL_SCALE:
        raise BadInputError("counts_out_of_range", f"counts above {FULL_SCALE} in a 12-bit strip")
    if not bool(strip["line_valid"].any()):
        raise BadInputError("all_nodata", "every line of the strip was lost")


def _continued(values: np.ndarray[Any, np.dtype[np.float64]]) -> FloatArray:
    """Linear interpolation over the lines of every column."""
    columns = values.reshape(values.shape[0], -1)
    lines = np.arange(values.shape[0])
    known = np.isfinite(columns).all(axis=1)
    if known.sum() < 2:
        raise BadInputError("geolocation_missing", "fewer than two lines of the strip have time and edge positions")
    filled = [_line_through(lines, lines[known], column[known]) for column in columns.T]
    return np.stack(filled, axis=1).reshape(values.shape)


def _line_through(wanted: Any, known: Any, values: FloatArray) -> FloatArray:
    """Interpolation that continues with the end slopes instead of repeating the end values."""
    result = np.interp(wanted, known, values)
    early, late = wanted < known[0], wanted > known[-1]
    first, last = np.diff(values[:2]) / np.diff(known[:2]), np.diff(values[-2:]) / np.diff(known[-2:])
    result[early] = values[0] + first * (wanted[early] - known[0])
    result[late] = values[-1] + last * (wanted[late] - known[-1])
    return np.asarray(result, dtype=np.float64)
