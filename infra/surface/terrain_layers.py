"""Static terrain layers of a place: made once from a height model, read onto any grid by every chain that needs them.

A terrain file is a cloud-optimized GeoTIFF of named float32 bands, NaN without data: `elevation` [m], `slope` [degree],
`hand` [m], and for a radar geometry `local_incidence` [degree], `layover` and `radar_shadow` (0 or 1).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from infra.imagery import raster_file
from infra.surface import alignment
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
            name: alignment.warped(raster, band, target, nearest=name in MASKS)
            for name, band in bands.items()
            if name in wanted
        }


def _windowed(geobox: GeoBox, window: Window) -> GeoBox:
    shape = (int(window.height), int(window.width))
    return GeoBox(shape, geobox.transform @ Affine.translation(window.col_off, window.row_off), geobox.crs)
