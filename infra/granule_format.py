"""Files between the stages: labelled arrays as NetCDF, always from and to bytes."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr

from processors import quality

MEDIA_TYPE = "application/x-netcdf"
_HDF5 = b"\x89HDF"
_CLASSIC = b"CDF"


def encode(dataset: xr.Dataset) -> bytes:
    """NetCDF-4 bytes of a dataset; the same dataset gives the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "granule.nc"
        dataset.to_netcdf(path, engine="netcdf4", format="NETCDF4")
        return path.read_bytes()


def decode(body: bytes, *, name: str, **options: Any) -> xr.Dataset:
    """Dataset of a NetCDF file, loaded.

    Parameters
    ----------
    body : bytes
        The file.
    name : str
        What to call it in an error.
    **options
        Passed to `xarray.open_dataset`.

    Raises
    ------
    processors.quality.BadInputError
        Empty, not NetCDF, or cut short (`empty`, `unreadable`).
    """
    if not body:
        raise quality.BadInputError("empty", f"{name} is empty")
    if not is_netcdf(body):
        raise quality.BadInputError("unreadable", f"{name} is not a NetCDF file: it begins with {body[:8]!r}")
    try:
        with _opened(body) as source:
            store = xr.backends.NetCDF4DataStore(source)  # type: ignore[no-untyped-call]
            return xr.open_dataset(store, **options).load()
    except (OSError, RuntimeError, IndexError, ValueError, UnicodeDecodeError) as error:
        detail = f" ({error})" if not isinstance(error, OSError) else ""
        raise quality.BadInputError(
            "unreadable", f"{name} is damaged or cut short: no NetCDF reader opens it{detail}"
        ) from error


@contextlib.contextmanager
def _opened(body: bytes) -> Iterator[netCDF4.Dataset]:
    source = netCDF4.Dataset("granule", mode="r", memory=body)
    try:
        yield source
    finally:
        source.close()


def is_netcdf(body: bytes) -> bool:
    """Whether bytes begin like a NetCDF file."""
    return body.startswith((_HDF5, _CLASSIC))
