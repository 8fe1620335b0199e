"""Rasters of any size brought onto a grid in one resampling, co-registration shift included, tile by tile."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from processors.imagery import grid, resampling
from processors.quality import BadInputError


def run(
    source: Path | str,
    out: Path | str,
    *,
    geobox: GeoBox,
    shift: tuple[float, float] = (0.0, 0.0),
    method: str | None = None,
    plain: bool = False,
) -> dict[str, Any]:
    """Reproject a raster.

    Parameters
    ----------
    source : Path or str
        The raster.
    out : Path or str
        The raster on the grid, stored in the numbers of the source.
    geobox : GeoBox
        The wanted grid.
    shift : tuple of float
        Displacement of the source's content to the right and down, as co-registration reports it [source pixel].
    method : str, optional
        `nearest`, `bilinear`, `cubic` or `average`; default averaging toward clearly coarser pixels, else bilinear.
    plain : bool
        Whether an uncompressed GeoTIFF without overviews is wanted instead of a cloud-optimized one.

    Returns
    -------
    dict
        The report: method, shift, grid, share of the grid with data, warnings.

    Raises
    ------
    BadInputError
        `crs_missing`, `outside_area` and what the raster is refused for.
    """
    path = Path(source)
    with raster_file.open_raster(path) as raster:
        if raster.geobox is None:
            raise BadInputError("crs_missing", f"{path.name} states no coordinate reference system")
        grid.check_place(raster.geobox)
        encoding, names, tags, warnings = raster.encoding, raster.descriptions, raster.tags, list(raster.warnings)
        chosen = method or resampling.method_for(_placement(raster, geobox, shift, _middle(geobox)).scale)
    count = 0
    rows, columns = geobox.shape
    function = functools.partial(_tile, path, geobox, shift, chosen)
    with raster_file.RasterWriter(
        Path(out),
        shape=(rows, columns),
        transform=geobox.transform,
        crs=grid.system(geobox).to_wkt(),
        encoding=encoding,
        descriptions=names,
        tags=tags,
        categorical=chosen == "nearest",
        plain=plain,
    ) as writer:

        def consume(tile: tiling.Tile, values: npt.NDArray[np.float32]) -> None:
            nonlocal count
            count += int(np.isfinite(values).any(axis=0).sum())
            writer.write(values, tile.core)

        tiling.run(function, tiling.tiles((rows, columns)), consume=consume)
        if count == 0:
            raise BadInputError("outside_area", f"{path.name} holds no data within the wanted grid")
    return {
        "source": path.name,
        "method": chosen,
        "shift_x": shift[0],
        "shift_y": shift[1],
        "crs": str(geobox.crs),
        "transform": list(geobox.transform)[:6],
        "shape": [rows, columns],
        "covered": count / (rows * columns),
        "warnings": warnings,
    }


def _tile(
    path: Path, geobox: GeoBox, shift: tuple[float, float], method: str, tile: tiling.Tile
) -> npt.NDArray[np.float32]:
    with raster_file.open_raster(path) as raster:
        core = tile.core
        block = resampling.Block(int(core.row_off), int(core.col_off), int(core.height), int(core.width))
        placement = _placement(raster, geobox, shift, block)
        part = resampling.source_block(placement, raster.shape)
        if part.rows == 0:
            return np.full((raster.count, block.rows, block.columns), np.nan, dtype=np.float32)
        values = raster.read(Window(part.column, part.row, part.columns, part.rows))
    return resampling.sample(values, placement, origin=(part.row, part.column), resampling=method)


def _placement(
    raster: raster_file.RasterFile, geobox: GeoBox, shift: tuple[float, float], block: resampling.Block
) -> resampling.Placement:
    locate = resampling.affine_locator(
        resampling.moved(raster.transform, shift), crs=raster.crs.to_wkt(), target_crs=grid.system(geobox).to_wkt()
    )
    return resampling.place(geobox, locate, block=block)


def _middle(geobox: GeoBox) -> resampling.Block:
    rows, columns = geobox.shape
    return resampling.Block(rows // 2, columns // 2, 1, 1)
