"""The grid a command is asked for: another raster's, or a system and a pixel size."""

import math
from pathlib import Path

import rasterio.warp
from odc.geo.geobox import GeoBox

from infra.imagery import raster_file
from processors.imagery import grid
from processors.quality import BadInputError

LARGEST = 1 << 19
"""Rows or columns beyond which a grid is a mistake in the pixel size [pixel]."""


def wanted(
    source: Path, *, crs: str | None = None, resolution: float | None = None, like: Path | None = None
) -> GeoBox:
    """Grid for the result of a command.

    Parameters
    ----------
    source : Path
        Raster that shall be brought onto it.
    crs : str, optional
        System; default the source's own.
    resolution : float, optional
        Pixel size [unit of the system]; default the source's where the system is its own.
    like : Path, optional
        Raster whose grid decides, instead of system and pixel size.

    Returns
    -------
    GeoBox
        The raster's grid, or the smallest one over the source whose pixel edges are multiples of the pixel size.

    Raises
    ------
    BadInputError
        `crs_missing`, and what a raster is refused for.
    ValueError
        A system that is none, another system without a pixel size, or a pixel size that does not fit the raster.
    """
    if like is not None:
        return of(like)
    return around(of(source), crs=crs, resolution=resolution)


def of(path: Path) -> GeoBox:
    """Grid of a raster.

    Parameters
    ----------
    path : Path
        The raster.

    Returns
    -------
    GeoBox
        Its grid.

    Raises
    ------
    BadInputError
        `crs_missing`, and what a raster is refused for.
    """
    with raster_file.open_raster(path) as raster:
        if raster.geobox is None:
            raise BadInputError("crs_missing", f"{path} states no coordinate reference system")
        return raster.geobox


def around(own: GeoBox, *, crs: str | None = None, resolution: float | None = None) -> GeoBox:
    """Smallest grid over another whose pixel edges are multiples of the pixel size.

    Parameters
    ----------
    own : GeoBox
        Grid to be covered.
    crs : str, optional
        System; default the grid's own.
    resolution : float, optional
        Pixel size [unit of the system]; default the grid's where the system is its own.

    Returns
    -------
    GeoBox
        The aligned grid.

    Raises
    ------
    ValueError
        A system that is none, another system without a pixel size, or a pixel size that does not fit the grid.
    BadInputError
        `crs_mismatch` where the grid does not lie where the wanted system is defined.
    """
    system = grid.system(own).to_wkt()
    try:
        target = grid.coordinate_system(crs or system)
    except BadInputError as error:
        raise ValueError(f"--crs {crs}: {error}") from error
    same = target == grid.coordinate_system(system)
    if resolution is None and not same:
        raise ValueError("a pixel size is needed with another reference system: give --resolution")
    size = abs(float(own.transform.a)) if resolution is None else resolution
    if not 0 < size < math.inf:
        raise ValueError(f"a pixel size of {size} is none")
    bounds = own.boundingbox.bbox
    if not same:
        bounds = rasterio.warp.transform_bounds(system, target.to_wkt(), *bounds)
    _check(bounds, size, target.name)
    return grid.covering(bounds, crs=crs or system, resolution=size)


def _check(bounds: tuple[float, float, float, float], size: float, system: str) -> None:
    """Refuse a place where the system is not defined, and a pixel size in the wrong unit."""
    if not all(math.isfinite(edge) for edge in bounds):
        raise BadInputError("crs_mismatch", f"the raster does not lie where {system} is defined: its system is wrong")
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    if max(width, height) > LARGEST * size:
        raise ValueError(
            f"pixels of {size:g} would make {width / size:.3g} x {height / size:.3g} of them: see --resolution"
        )
    if size > 2.0 * max(width, height):
        raise ValueError(f"a pixel of {size:g} is larger than the raster, {width:.3g} x {height:.3g}: see --resolution")
