"""Scenes of other missions to scene stacks, recognized by content.

A *scene stack* is an `xarray.Dataset` on one grid: `reflectance` (time, band, y, x) [1] with NaN for no data,
optional `backscatter` (time, polarization, y, x) [dB], `elevation` (y, x) [m] and `slope` (y, x) [degree], coordinates
`time` (UTC), `band`, `polarization`, pixel centers `y` and `x`, the grid mapping `spatial_ref`, attributes `source`,
`area` and `sensor`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import grid
from processors.quality import BadInputError

BANDS = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir1", "swir2")
"""Band names in the order of wavelength."""

POLARIZATIONS = ("vv", "vh")
"""Polarization names in their order."""

_SENTINEL2 = {
    "S2-L2A-B02": "blue",
    "S2-L2A-B03": "green",
    "S2-L2A-B04": "red",
    "S2-L2A-B05": "rededge1",
    "S2-L2A-B06": "rededge2",
    "S2-L2A-B07": "rededge3",
    "S2-L2A-B08": "nir",
    "S2-L2A-B8A": "nir08",
    "S2-L2A-B11": "swir1",
    "S2-L2A-B12": "swir2",
}
_SENTINEL1 = {"S1-SIGMA0-VV": "vv", "S1-SIGMA0-VH": "vh"}

# The WorldCereal exchange format states these by its variable names, not in attributes.
_WORLDCEREAL_SCALE = 1e-4
_WORLDCEREAL_NODATA = 65535
_WORLDCEREAL_DECIBEL_OFFSET = -83.0

PACKED_SCALE = 1e-4
"""Reflectance of one digital number of a packed scene [1]."""

PACKED_NODATA = -32768
"""Digital number of no data in a packed scene."""


def scene_from_dataset(dataset: xr.Dataset, *, source: str) -> xr.Dataset:
    """Read a NetCDF scene by its content.

    Understands the WorldCereal exchange stack (openEO; Sentinel-2 level 2A as reflectance x 10000, Sentinel-1 sigma
    nought as 20 log10(DN) - 83 dB, 65535 for no data) and our own CF scene (`pack`).

    Parameters
    ----------
    dataset : xr.Dataset
        Decoded by xarray or raw.
    source : str
        Identity of the input, kept as attribute.

    Returns
    -------
    xr.Dataset
        Scene stack in time order.

    Raises
    ------
    BadInputError
        `crs_missing`, `band_missing`, `scale_missing`, `time_missing`, `all_nodata`, `truncated`,
        `duplicate_acquisition`.
    """
    try:
        scene = _worldcereal(dataset) if _is_worldcereal(dataset) else _own(dataset)
    except (OSError, RuntimeError) as error:
        raise BadInputError("truncated", f"{source}: the file ends before its arrays do: {error}") from error
    return _finished(scene, source=source)


def scene_from_raster(
    dataset: rasterio.DatasetReader,
    *,
    bands: Mapping[str, int],
    source: str,
    time: np.datetime64 | None = None,
    default_scale: float | None = None,
) -> xr.Dataset:
    """Read an open raster whose scale, offset and no-data value its metadata state.

    Parameters
    ----------
    dataset : rasterio.DatasetReader
        Open raster; floating-point values are reflectance, integers need a scale.
    bands : Mapping[str, int]
        Band name to raster index (from 1).
    source : str
        Identity of the input, kept as attribute.
    time : np.datetime64, optional
        Acquisition time (UTC); else the tag TIFFTAG_DATETIME or ACQUISITIONDATETIME decides.
    default_scale : float, optional
        Reflectance of one digital number [1] where the file does not state it.

    Returns
    -------
    xr.Dataset
        Scene stack of one time.

    Raises
    ------
    BadInputError
        `crs_missing`, `axes_swapped`, `grid_irregular` (rotated), `band_missing`, `scale_missing`, `scale_implausible`,
        `nodata_missing`, `time_missing`, `all_nodata`, `truncated`.
    """
    geobox = _raster_grid(dataset)
    absent = {name: index for name, index in bands.items() if index not in dataset.indexes}
    if absent or not bands:
        raise BadInputError("band_missing", f"{source}: the raster has {dataset.count} bands, not {absent or 'none'}")
    names = sorted(bands, key=band_order)
    turned = _turned(dataset)
    layers = [_raster_layer(dataset, bands[name], source=source, default_scale=default_scale)[turned] for name in names]
    moment = time if time is not None else raster_time(dataset, source=source)
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), np.stack(layers)[None])},
        coords={"time": [moment.astype("datetime64[ns]")], "band": names},
        attrs=_identity(dataset.tags()),
    )
    return _finished(grid.assign(scene, geobox), source=source)


def pack(scene: xr.Dataset) -> xr.Dataset:
    """Scene stack as a CF dataset of small integers with scale and no-data attributes, ready to be written.

    Parameters
    ----------
    scene : xr.Dataset
        Scene stack.

    Returns
    -------
    xr.Dataset
        Raw (not decoded) dataset that `scene_from_dataset` reads back to within half a digital number.
    """
    packed = scene.copy()
    scales = {"reflectance": PACKED_SCALE, "backscatter": 1e-2}
    for name in scales.keys() & set(scene.data_vars):
        packed[name] = _packed(scene[name], scales[name], unit={"reflectance": "1", "backscatter": "dB"}[name])
    packed["time"].encoding = {"units": "seconds since 1970-01-01", "dtype": "int64", "calendar": "standard"}
    packed.attrs["Conventions"] = "CF-1.11"
    return packed


def band_order(name: str) -> tuple[int, str]:
    """Sort key that puts band names in the order of wavelength.

    Parameters
    ----------
    name : str
        Band name.

    Returns
    -------
    tuple
        Position among the known names (unknown names last) and the name.
    """
    return (BANDS.index(name) if name in BANDS else len(BANDS), name)


def raster_time(dataset: rasterio.DatasetReader, *, source: str) -> np.datetime64:
    """Acquisition time from the tags of a raster.

    Parameters
    ----------
    dataset : rasterio.DatasetReader
        Open raster.
    source : str
        Identity of the input, for messages.

    Returns
    -------
    np.datetime64
        Time (UTC) by ACQUISITIONDATETIME or TIFFTAG_DATETIME.

    Raises
    ------
    BadInputError
        `time_missing`.
    """
    tags = {key.upper(): value for key, value in {**dataset.tags(), **dataset.tags(ns="IMAGERY")}.items()}
    text = tags.get("ACQUISITIONDATETIME") or tags.get("TIFFTAG_DATETIME")
    if not text:
        raise BadInputError("time_missing", f"{source}: neither a tag nor the caller states the acquisition time")
    day, _, clock = text.strip().removesuffix("Z").replace("T", " ").partition(" ")
    return np.datetime64(f"{day.replace(':', '-')}T{clock or '00:00:00'}", "ns")


def _is_worldcereal(dataset: xr.Dataset) -> bool:
    return any(name in dataset for name in (*_SENTINEL2, *_SENTINEL1))


def _worldcereal(dataset: xr.Dataset) -> xr.Dataset:
    names = {key: name for key, name in _SENTINEL2.items() if key in dataset}
    if not {"red", "nir"} <= set(names.values()):
        raise BadInputError("band_missing", f"the stack holds no red and near infrared, only {sorted(names.values())}")
    geobox = grid.geobox_of(dataset)
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), _stacked(dataset, names, _WORLDCEREAL_SCALE))},
        coords={"time": _times(dataset, "t"), "band": list(names.values())},
        attrs={"area": "", "sensor": "sentinel-2 msi", "radiometric_level": "surface_reflectance"},
    )
    radar = {key: name for key, name in _SENTINEL1.items() if key in dataset}
    if radar:
        decibel = _decibel(_stacked(dataset, radar, 1.0))
        scene["backscatter"] = (("time", "polarization", "y", "x"), decibel, {"units": "dB"})
        scene = scene.assign_coords(polarization=list(radar.values()))
        scene.attrs["sensor"] += ", sentinel-1 c-sar"
    for name in ("elevation", "slope"):
        if name in dataset:
            scene[name] = (("y", "x"), _static(dataset[name]))
    return grid.assign(scene, geobox)


def _stacked(dataset: xr.Dataset, names: Mapping[str, str], scale: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    layers = [_unsigned(dataset[key].transpose("t", "y", "x")) for key in names]
    numbers = np.stack(layers, axis=1)
    return np.where(numbers == _WORLDCEREAL_NODATA, np.nan, numbers * np.float64(scale)).astype(np.float32)


def _unsigned(array: xr.DataArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Digital numbers whether or not xarray has honored the attribute `_Unsigned`."""
    values = array.values
    if values.dtype == np.int16:
        values = values.view(np.uint16)
    return np.nan_to_num(values.astype(np.float64), nan=_WORLDCEREAL_NODATA)


def _decibel(numbers: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    positive = np.where(numbers > 0, numbers, np.nan)
    return (20.0 * np.log10(positive) + _WORLDCEREAL_DECIBEL_OFFSET).astype(np.float32)


def _static(array: xr.DataArray) -> np.ndarray[Any, np.dtype[np.float32]]:
    numbers = _unsigned(array.isel(t=0) if "t" in array.dims else array)
    return np.where(numbers == _WORLDCEREAL_NODATA, np.nan, numbers).astype(np.float32)


def _own(dataset: xr.Dataset) -> xr.Dataset:
    if "reflectance" not in dataset or "band" not in dataset.coords:
        raise BadInputError(
            "band_missing", f"no variable reflectance with named bands among {sorted(str(name) for name in dataset)}"
        )
    geobox = grid.geobox_of(dataset)
    scene = dataset.copy()
    for name in {"reflectance", "backscatter"} & set(dataset.data_vars):
        scene[name] = _unpacked(dataset[name])
    scene = scene.assign_coords(time=_times(dataset, "time"), band=[str(name) for name in dataset["band"].values])
    for name in ("elevation", "slope"):
        if name in scene:
            scene[name] = scene[name].astype(np.float32)
    return grid.assign(scene, geobox)


def _unpacked(array: xr.DataArray) -> xr.DataArray:
    attributes = {**array.encoding, **array.attrs}
    kept = {"units": attributes["units"]} if "units" in attributes else {}
    if np.issubdtype(array.dtype, np.floating):
        if not kept:
            raise BadInputError("scale_missing", f"{array.name}: floating-point values without units")
        return array.astype(np.float32).assign_attrs(kept)
    missing = {"scale_factor", "_FillValue"} - attributes.keys()
    if missing:
        raise BadInputError("scale_missing", f"{array.name}: integers without {sorted(missing)}")
    numbers = array.values
    values = numbers * float(attributes["scale_factor"]) + float(attributes.get("add_offset", 0.0))
    values = np.where(numbers == attributes["_FillValue"], np.nan, values).astype(np.float32)
    return xr.DataArray(values, dims=array.dims, attrs=kept)


def _packed(array: xr.DataArray, scale: float, *, unit: str) -> xr.DataArray:
    numbers = np.clip(np.rint(array.values.astype(np.float64) / scale), -32767, 32767)
    filled = np.where(np.isfinite(numbers), numbers, PACKED_NODATA).astype(np.int16)
    attributes = {
        "units": unit,
        "scale_factor": scale,
        "add_offset": 0.0,
        "_FillValue": np.int16(PACKED_NODATA),
        "grid_mapping": "spatial_ref",
    }
    return xr.DataArray(filled, dims=array.dims, attrs=attributes)


def _times(dataset: xr.Dataset, name: str) -> np.ndarray[Any, Any]:
    if name not in dataset.coords or not np.issubdtype(dataset[name].dtype, np.datetime64):
        raise BadInputError("time_missing", f"the scene has no decoded time axis {name!r}")
    return np.asarray(dataset[name].values, dtype="datetime64[ns]")


def _finished(scene: xr.Dataset, *, source: str) -> xr.Dataset:
    if not bool(np.isfinite(scene["reflectance"]).any()):
        raise BadInputError("all_nodata", f"{source}: no pixel holds a reflectance")
    scene["reflectance"].attrs.update(units="1", long_name="reflectance")
    times = scene["time"].values
    if np.unique(times).size < times.size:
        raise BadInputError("duplicate_acquisition", f"{source}: two layers of the same acquisition time")
    order = sorted((str(name) for name in scene["band"].values), key=band_order)
    attributes = {"area": "", "sensor": "unknown", **scene.attrs, "source": source}
    return scene.sel(band=order).sortby("time").assign_attrs(attributes)


def _raster_grid(dataset: rasterio.DatasetReader) -> GeoBox:
    if dataset.crs is None:
        raise BadInputError("crs_missing", f"{dataset.name}: the raster states no coordinate reference system")
    crs = grid.coordinate_system(dataset.crs.to_wkt())
    transform = dataset.transform
    if transform.b or transform.d:
        raise BadInputError("grid_irregular", f"{dataset.name}: the raster is rotated against its axes")
    if transform.e > 0:
        transform = transform @ rasterio.Affine(1, 0, 0, 0, -1, dataset.shape[0])
    if transform.a < 0:
        transform = transform @ rasterio.Affine(-1, 0, dataset.shape[1], 0, 1, 0)
    geobox = GeoBox(dataset.shape, transform, f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt())
    grid.check_place(geobox)
    return geobox


def _turned(dataset: rasterio.DatasetReader) -> tuple[slice, slice]:
    """Slices that turn rows running north and columns running west."""
    transform = dataset.transform
    return slice(None, None, -1 if transform.e > 0 else None), slice(None, None, -1 if transform.a < 0 else None)


def _raster_layer(
    dataset: rasterio.DatasetReader, index: int, *, source: str, default_scale: float | None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        numbers = dataset.read(index)
    except rasterio.errors.RasterioError as error:
        raise BadInputError("truncated", f"{source}: band {index} cannot be read: {error}") from error
    scale, offset = dataset.scales[index - 1], dataset.offsets[index - 1]
    nodata = dataset.nodatavals[index - 1]
    if np.issubdtype(numbers.dtype, np.integer):
        scale = _integer_scale(scale, default_scale, source=source)
        if nodata is None:
            raise BadInputError("nodata_missing", f"{source}: integers without a no-data value")
    values = numbers.astype(np.float64) * scale + offset
    return np.where(numbers == nodata, np.nan, values).astype(np.float32)


def _integer_scale(scale: float, default: float | None, *, source: str) -> float:
    if scale > 1.0:  # GDAL copies the divisor of MODIS files as if it were a factor
        raise BadInputError("scale_implausible", f"{source}: no reflectance has the scale {scale:g}")
    if scale != 1.0:
        return scale
    if default is None:
        raise BadInputError("scale_missing", f"{source}: integers without scale and offset")
    return default


def _identity(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: tags[name] for name in ("area", "sensor") if name in tags}
