"""Cloud-optimized GeoTIFF from a dataset: one data type per file, no data always declared.

The GDAL driver COG writes the file (blocks of 512, Zstandard level 1, the predictor of the data type). Overviews of
continuous layers are averages; those of classes are the most frequent class, for an average of class numbers means
nothing. Class names go into the band's metadata and, for programs that read GDAL's category names, into a sidecar.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax import saxutils

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio import io as raster_io

from processors.imagery import grid


@dataclass(frozen=True, kw_only=True)
class RasterCategory:
    """One class of a layer.

    Parameters
    ----------
    value : int
        Number in the raster.
    name_en : str
        English name.
    name_zh : str
        Chinese name.
    colour : str
        Colour as ``#rrggbb``.
    """

    value: int
    name_en: str
    name_zh: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class RasterLayer:
    """One band of a file.

    Parameters
    ----------
    variable : str
        Variable of the dataset.
    description : str
        Band description.
    units : str
        Unit of the scaled value.
    nodata : float
        Value of pixels without data.
    scale : float
        Factor from the stored number to the value [1].
    offset : float
        Constant added after scaling, in the unit of the layer.
    categories : tuple of RasterCategory
        Classes; empty for a continuous layer.
    tags : Mapping
        Further band metadata.
    """

    variable: str
    description: str
    units: str
    nodata: float
    scale: float = 1.0
    offset: float = 0.0
    categories: tuple[RasterCategory, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CogParameters:
    """Layout of the file.

    Parameters
    ----------
    block_size : int
        Edge of a tile [pixel].
    compression : str
        ``ZSTD``, or ``DEFLATE`` for browsers.
    level : int
        Effort of the compression [1].
    """

    block_size: int = 512
    compression: str = "ZSTD"
    level: int = 1


def encode(
    dataset: xr.Dataset,
    *,
    layers: Sequence[RasterLayer],
    tags: Mapping[str, str],
    resampling: str | None = None,
    parameters: CogParameters | None = None,
) -> bytes:
    """Bytes of a cloud-optimized GeoTIFF; equal input gives equal bytes.

    Parameters
    ----------
    dataset : xr.Dataset
        Variables (y, x) with a grid mapping; NaN becomes the layer's nodata.
    layers : sequence of RasterLayer
        Bands in order, all of one data type and one nodata.
    tags : Mapping
        Metadata of the file.
    resampling : str, optional
        Overviews; default MODE with categories, else AVERAGE.
    parameters : CogParameters, optional
        Layout.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    ValueError
        Where the layers differ in data type or nodata.
    processors.quality.BadInputError
        Where the dataset has no coordinate reference system or no regular grid.
    """
    bands = [_stored(dataset[layer.variable], layer) for layer in layers]
    dtype, nodata = _common(bands, layers)
    geobox = grid.geobox_of(dataset)
    profile = {
        "driver": "GTiff",
        "height": geobox.shape.y,
        "width": geobox.shape.x,
        "count": len(bands),
        "dtype": dtype.name,
        "crs": rasterio.CRS.from_user_input(str(geobox.crs)),
        "transform": geobox.transform,
        "nodata": nodata,
    }
    with raster_io.MemoryFile() as source, raster_io.MemoryFile() as target:
        with source.open(**profile) as raster:
            raster.update_tags(**tags)
            raster.scales = tuple(layer.scale for layer in layers)
            raster.offsets = tuple(layer.offset for layer in layers)
            for number, (band, layer) in enumerate(zip(bands, layers, strict=True), start=1):
                _write_band(raster, number, band, layer)
        options = creation_options(
            dtype,
            categorical=any(layer.categories for layer in layers),
            resampling=resampling,
            parameters=parameters,
        )
        rasterio.shutil.copy(source.name, target.name, driver="COG", **options)
        return bytes(target.read())


def category_sidecar(layers: Sequence[RasterLayer]) -> bytes:
    """Auxiliary file with the category names of class layers (GDAL persistent auxiliary metadata).

    Parameters
    ----------
    layers : sequence of RasterLayer
        Bands in order.

    Returns
    -------
    bytes
        XML to be stored as ``<file>.aux.xml`` beside the raster.
    """
    bands = "".join(
        f'<PAMRasterBand band="{number}"><CategoryNames>{_category_names(layer)}</CategoryNames></PAMRasterBand>'
        for number, layer in enumerate(layers, start=1)
        if layer.categories
    )
    return f"<PAMDataset>{bands}</PAMDataset>\n".encode()


def _category_names(layer: RasterLayer) -> str:
    names = {category.value: f"{category.name_en} {category.name_zh}" for category in layer.categories}
    return "".join(f"<Category>{saxutils.escape(names.get(value, ''))}</Category>" for value in range(max(names) + 1))


def _stored(array: xr.DataArray, layer: RasterLayer) -> npt.NDArray[Any]:
    values = array.transpose("y", "x").values
    if values.dtype.kind != "f":
        return np.ascontiguousarray(values)
    if np.isnan(layer.nodata):
        return np.ascontiguousarray(values, dtype=np.float32)
    return np.where(np.isnan(values), np.float32(layer.nodata), values).astype(np.float32)


def _common(bands: Sequence[npt.NDArray[Any]], layers: Sequence[RasterLayer]) -> tuple[np.dtype[Any], float]:
    kinds = sorted({band.dtype.name for band in bands})
    marks = {repr(float(layer.nodata)) for layer in layers}
    if len(kinds) != 1 or len(marks) != 1:
        raise ValueError(f"layers of one file need one data type and one nodata, not {kinds} and {sorted(marks)}")
    return bands[0].dtype, layers[0].nodata


def _write_band(raster: Any, number: int, band: npt.NDArray[Any], layer: RasterLayer) -> None:
    raster.write(band, number)
    raster.set_band_description(number, layer.description)
    raster.set_band_unit(number, layer.units)
    if layer.categories:
        raster.write_colormap(number, {item.value: _rgba(item.colour) for item in layer.categories})
        raster.update_tags(number, CLASSES=_classes_tag(layer.categories))
    raster.update_tags(number, **layer.tags)


def _classes_tag(categories: Sequence[RasterCategory]) -> str:
    rows = [{"value": item.value, "en": item.name_en, "zh": item.name_zh, "colour": item.colour} for item in categories]
    return json.dumps(rows, ensure_ascii=False, sort_keys=True)


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue, 255


def creation_options(
    dtype: np.dtype[Any],
    *,
    categorical: bool,
    resampling: str | None = None,
    parameters: CogParameters | None = None,
) -> dict[str, str]:
    """Creation options of the driver COG for layers of one data type.

    Parameters
    ----------
    dtype : np.dtype
        Data type of the layers.
    categorical : bool
        Whether the layers are classes.
    resampling : str, optional
        Overviews; default MODE of classes, else AVERAGE.
    parameters : CogParameters, optional
        Layout.

    Returns
    -------
    dict
        Names and values of the options.
    """
    layout = parameters or CogParameters()
    return {
        "BLOCKSIZE": str(layout.block_size),
        "COMPRESS": layout.compression,
        "LEVEL": str(layout.level),
        "PREDICTOR": "FLOATING_POINT" if dtype.kind == "f" else "STANDARD",
        "OVERVIEWS": "IGNORE_EXISTING",
        "OVERVIEW_RESAMPLING": resampling or ("MODE" if categorical else "AVERAGE"),
        "BIGTIFF": "IF_SAFER",
    }
