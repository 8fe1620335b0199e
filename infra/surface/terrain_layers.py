"""Static terrain layers of a place: made once from a height model, read onto any grid by every chain that needs them.

A terrain file is a cloud-optimized GeoTIFF of named float32 bands, NaN without data: `elevation` [m], `slope` [degree],
`hand` [m], and for a radar geometry `local_incidence` [degree], `layover` and `radar_shadow` (0 or 1).
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from infra.imagery import raster_file
from processors.imagery import grid
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]

NAMES = ("elevation", "slope", "hand", "local_incidence", "layover", "radar_shadow")
"""Bands a terrain file may hold."""
MASKS = ("layover", "radar_shadow")
"""Bands of 0 and 1."""


def read(
    path: Path | str, geobox: GeoBox, *, window: Window | None = None, names: Sequence[str] | None = None
) -> dict[str, Float32Array]:
    """Layers of a terrain file on another grid.

    Parameters
    ----------
    path : Path or str
        Terrain file, as `terralimb surface terrain` writes it.
    geobox : GeoBox
        Grid wanted, any reference system and pixel size.
    window : rasterio.windows.Window, optional
        Part of that grid, whole pixels, may reach beyond it; default everything.
    names : sequence of str, optional
        Layers wanted; default all the file has. One it does not have is left out of the result.

    Returns
    -------
    dict
        Layer (y, x) by name, NaN where unknown: bilinear, masks by the nearest pixel.

    Raises
    ------
    BadInputError
        `terrain_layers_missing` where the file names none of the layers, `crs_missing`, what `open_raster` refuses.
    """
    wanted = tuple(names or NAMES)
    target = geobox if window is None else _windowed(geobox, window)
    with raster_file.open_raster(path) as raster:
        bands = {name: raster.descriptions.index(name) + 1 for name in NAMES if name in raster.descriptions}
        if not bands:
            raise BadInputError("terrain_layers_missing", f"{raster.name} has no band named {', '.join(NAMES[:3])}")
        if raster.geobox is None:
            raise BadInputError("crs_missing", f"{raster.name} states no coordinate reference system")
        return {
            name: warped(raster, band, target, nearest=name in MASKS) for name, band in bands.items() if name in wanted
        }


def warped(raster: raster_file.RasterFile, band: int, target: GeoBox, *, nearest: bool = False) -> Float32Array:
    """Values of a band on another grid.

    Parameters
    ----------
    raster : RasterFile
        Open raster with a reference system.
    band : int
        Band from 1.
    target : GeoBox
        The grid.
    nearest : bool
        Whether the nearest pixel counts; else bilinear, the mean where pixels of the raster are much smaller.

    Returns
    -------
    Float32Array
        Values (y, x), NaN where there are none.

    Raises
    ------
    BadInputError
        `truncated` where the file cannot be read there.
    """
    offset = _offset(raster, target)
    if offset is not None:
        values: Float32Array = raster.read(Window(offset[1], offset[0], target.shape[1], target.shape[0]), [band])[0]
        return values
    crs = grid.system(target).to_wkt()
    scale, shift = raster.encoding.scales[band - 1], raster.encoding.offsets[band - 1]
    with rasterio.open(raster.path) as source, _readable(raster.path):
        options = {
            "crs": crs,
            "transform": target.transform,
            "height": target.shape[0],
            "width": target.shape[1],
            "resampling": Resampling.nearest if nearest else Resampling.bilinear,
            "src_nodata": raster.encoding.nodata,
            "nodata": math.nan,
            "dtype": "float32",
        }
        with WarpedVRT(source, **options) as view:
            numbers = view.read(band)
    return np.asarray(numbers * np.float32(scale) + np.float32(shift), dtype=np.float32)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except rasterio.errors.RasterioError as error:
        raise BadInputError("truncated", f"{path}: cannot be read where the grid lies: {error}") from error


def _windowed(geobox: GeoBox, window: Window) -> GeoBox:
    shape = (int(window.height), int(window.width))
    return GeoBox(shape, geobox.transform @ Affine.translation(window.col_off, window.row_off), geobox.crs)


def _offset(raster: raster_file.RasterFile, target: GeoBox) -> tuple[int, int] | None:
    """Row and column of the grid within the raster where both have the same pixels, else None."""
    own = raster.geobox
    if own is None or own.crs != target.crs:
        return None
    place = ~own.transform @ target.transform
    alike = abs(place.a - 1) + abs(place.e - 1) < 1e-9 and max(abs(place.b), abs(place.d)) < 1e-9
    row, column = round(place.f), round(place.c)
    near = max(abs(place.f - row), abs(place.c - column)) < 1e-3
    return (row, column) if alike and near else None
