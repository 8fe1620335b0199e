"""NetCDF encoder: the same dataset always gives the same bytes."""

import io
from typing import Any

import numpy as np
import xarray as xr


def encode(dataset: xr.Dataset) -> bytes:
    """Encode a product dataset as NetCDF-3 with 64-bit offsets.

    The classic format holds a profile in half the size of NetCDF-4 and has no time stamps or free space, so its bytes
    are a pure function of the dataset. Missing floats are NaN, declared as `_FillValue`; integers have no missing
    values.

    Parameters
    ----------
    dataset : xr.Dataset
        Product dataset, checked against the table.

    Returns
    -------
    bytes
        The whole file.

    Raises
    ------
    TypeError
        Where a variable is of a type the classic format cannot hold (64-bit integers, booleans, text).
    """
    for name, variable in dataset.variables.items():
        if variable.dtype not in {np.dtype(kind) for kind in ("f4", "f8", "i1", "i2", "i4")}:
            raise TypeError(f"{name} is of type {variable.dtype}, which the classic NetCDF format cannot hold")
    encoding: dict[str, dict[str, Any]] = {
        str(name): {"_FillValue": np.array(np.nan, variable.dtype) if _may_be_missing(variable) else None}
        for name, variable in dataset.variables.items()
    }
    return bytes(dataset.to_netcdf(format="NETCDF3_64BIT", engine="scipy", encoding=encoding))


def _may_be_missing(variable: xr.Variable) -> bool:
    """Floats that are no coordinates may be missing."""
    return bool(variable.dtype.kind == "f") and variable.attrs.get("coverage_content_type") != "coordinate"


def decode(content: bytes) -> xr.Dataset:
    """Read a file written by `encode`.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    xr.Dataset
        The product dataset, in memory; times stay numbers.
    """
    with xr.open_dataset(io.BytesIO(content), engine="scipy", decode_times=False) as opened:
        return opened.load()
