"""A second raster read on the grid of a first, window by window; the same grid is read as it is."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling
from rasterio.windows import Window

from infra.imagery import raster_file
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]
_SAME = 1e-3


class Aligned:
    """A raster as seen on another's grid.

    Parameters
    ----------
    raster : RasterFile
        The raster itself.
    view : object or None
        Warped view of it, None where the grids agree.
    """

    def __init__(self, raster: raster_file.RasterFile, view: Any) -> None:
        self.raster, self._view = raster, view

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
        """
        if self._view is None:
            return self.raster.read(window, bands)
        seen = rasterio.windows.Window(0, 0, self._view.width, self._view.height)
        values = np.full((len(bands), int(window.height), int(window.width)), np.nan, dtype=np.float32)
        if not rasterio.windows.intersect([seen, window]):
            return values
        part = window.intersection(seen)
        read = self._view.read(list(bands), window=part, masked=True).astype(np.float32).filled(np.nan)
        row, column = int(part.row_off - window.row_off), int(part.col_off - window.col_off)
        values[:, row : row + int(part.height), column : column + int(part.width)] = read
        scales, offsets = self.raster.encoding.scales, self.raster.encoding.offsets
        for layer, band in zip(values, bands, strict=True):
            layer *= scales[band - 1]
            layer += offsets[band - 1]
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
        if like.crs is None or raster.crs is None:
            if raster.shape != like.shape:
                raise BadInputError(
                    "crs_missing",
                    f"{path.name} and {like.name} differ in size and at least one states no reference system",
                )
            yield Aligned(raster, None)
            return
        if _same_grid(raster, like):
            yield Aligned(raster, None)
            return
        options = {
            "crs": like.crs,
            "transform": like.transform,
            "height": like.shape[0],
            "width": like.shape[1],
            "resampling": Resampling.nearest if classes else Resampling.bilinear,
            "src_nodata": raster.encoding.nodata,
        }
        with rasterio.open(path) as source, WarpedVRT(source, **options) as view:
            yield Aligned(raster, view)


def _same_grid(first: raster_file.RasterFile, second: raster_file.RasterFile) -> bool:
    apart = max(abs(a - b) for a, b in zip(tuple(first.transform)[:6], tuple(second.transform)[:6], strict=True))
    return bool(first.crs == second.crs and first.shape == second.shape and apart < _SAME * abs(second.transform.a))
