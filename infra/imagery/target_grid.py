"""The grid a command is asked for: another raster's, or a system and a pixel size."""

from pathlib import Path

import rasterio.warp
from odc.geo.geobox import GeoBox

from infra.imagery import raster_file
from processors.imagery import grid
from processors.quality import BadInputError


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
        Another system without a pixel size, or a pixel size that is not positive.
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
        Another system without a pixel size, or a pixel size that is not positive.
    """
    system = grid.system(own).to_wkt()
    target = grid.coordinate_system(crs or system)
    same = target == grid.coordinate_system(system)
    if resolution is None and not same:
        raise ValueError("a pixel size is needed with another reference system: give --resolution")
    size = abs(float(own.transform.a)) if resolution is None else resolution
    if not size > 0:
        raise ValueError(f"a pixel size of {size} is none")
    bounds = own.boundingbox.bbox
    if not same:
        bounds = rasterio.warp.transform_bounds(system, target.to_wkt(), *bounds)
    return grid.covering(bounds, crs=crs or system, resolution=size)
