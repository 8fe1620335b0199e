"""A raster read on another grid, window by window: the one place where the surface products bring rasters together.

Where the pixels of both coincide, on the same extent or another, numbers are read as they are.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.errors
from odc.geo.geobox import GeoBox
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling
from rasterio.windows import Window

from infra.imagery import raster_file
from processors.imagery import grid
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]


class Aligned:
    """A raster as seen on another grid.

    Parameters
    ----------
    raster : RasterFile
        The raster itself.
    view : object or None
        Warped view of it, None where the pixels coincide.
    corner : tuple of int
        Row and column of the raster where the other grid begins; only where the pixels coincide [pixel].
    """

    def __init__(self, raster: raster_file.RasterFile, view: Any, corner: tuple[int, int] = (0, 0)) -> None:
        self.raster, self._view, self._corner = raster, view, corner

    def read(self, window: Window, bands: Sequence[int]) -> Float32Array:
        """Values of a window of the other grid.

        Parameters
        ----------
        window : rasterio.windows.Window
            Whole pixels; may reach beyond the grid.
        bands : sequence of int
            Bands from 1.

        Returns
        -------
        Float32Array
            Values (band, y, x), NaN where there are none.

        Raises
        ------
        BadInputError
            `truncated` where the file cannot be read there.
        """
        if self._view is None:
            row, column = self._corner
            own = Window(window.col_off + column, window.row_off + row, window.width, window.height)
            return self.raster.read(own, bands)
        seen = Window(0, 0, self._view.width, self._view.height)
        values = np.full((len(bands), int(window.height), int(window.width)), np.nan, dtype=np.float32)
        if not rasterio.windows.intersect([seen, window]):
            return values
        part = window.intersection(seen)
        try:
            read = self._view.read(list(bands), window=part, masked=True).filled(np.nan)
        except rasterio.errors.RasterioError as error:
            path = self.raster.path
            raise BadInputError("truncated", f"{path}: cannot be read where the grid lies: {error}") from error
        row, column = int(part.row_off - window.row_off), int(part.col_off - window.col_off)
        values[:, row : row + int(part.height), column : column + int(part.width)] = read
        scales, offsets = self.raster.encoding.scales, self.raster.encoding.offsets
        for layer, band in zip(values, bands, strict=True):
            layer *= np.float32(scales[band - 1])
            layer += np.float32(offsets[band - 1])
        return values


@contextlib.contextmanager
def opened(
    path: Path, *, like: raster_file.RasterFile, reflectance: bool = False, classes: bool = False
) -> Iterator[Aligned]:
    """Open a raster to be read on another's grid.

    Parameters
    ----------
    path : Path
        The raster.
    like : RasterFile
        Raster whose grid counts.
    reflectance : bool
        Whether values are reflectance.
    classes : bool
        Whether values are classes: the nearest then counts, else they are interpolated.

    Yields
    ------
    Aligned
        The raster on that grid.

    Raises
    ------
    BadInputError
        `crs_missing` where one of them states no reference system and their shapes differ; what `open_raster` refuses.
    """
    with raster_file.open_raster(path, reflectance=reflectance) as raster:
        if like.geobox is None or raster.geobox is None:
            if raster.shape != like.shape:
                raise BadInputError(
                    "crs_missing",
                    f"{path.name} and {like.name} differ in size and at least one states no reference system",
                )
            yield Aligned(raster, None)
            return
        with seen(raster, like.geobox, nearest=classes) as aligned:
            yield aligned


@contextlib.contextmanager
def seen(raster: raster_file.RasterFile, target: GeoBox, *, nearest: bool = False) -> Iterator[Aligned]:
    """See an open raster on a grid.

    Parameters
    ----------
    raster : RasterFile
        Open raster with a reference system.
    target : GeoBox
        The grid, any reference system and pixel size.
    nearest : bool
        Whether the nearest pixel counts; else bilinear, the mean where pixels of the raster are much smaller.

    Yields
    ------
    Aligned
        The raster on that grid.
    """
    corner = _corner(raster, target)
    if corner is not None:
        yield Aligned(raster, None, corner)
        return
    options = {
        "crs": grid.system(target).to_wkt(),
        "transform": target.transform,
        "height": target.shape[0],
        "width": target.shape[1],
        "resampling": Resampling.nearest if nearest else Resampling.bilinear,
        "src_nodata": raster.encoding.nodata,
        # A raster that declares no such number has none beyond its edges either.
        "nodata": math.nan,
        "dtype": "float32",
    }
    with rasterio.open(raster.path) as source, WarpedVRT(source, **options) as view:
        yield Aligned(raster, view)


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
    with seen(raster, target, nearest=nearest) as aligned:
        values: Float32Array = aligned.read(Window(0, 0, target.shape[1], target.shape[0]), [band])[0]
    return values


def _corner(raster: raster_file.RasterFile, target: GeoBox) -> tuple[int, int] | None:
    """Row and column of the raster where a grid begins whose pixels are its own, else None."""
    own = raster.geobox
    if own is None or own.crs != target.crs:
        return None
    place = ~own.transform @ target.transform
    alike = abs(place.a - 1) + abs(place.e - 1) < 1e-9 and max(abs(place.b), abs(place.d)) < 1e-9
    row, column = round(place.f), round(place.c)
    near = max(abs(place.f - row), abs(place.c - column)) < 1e-3
    return (row, column) if alike and near else None
