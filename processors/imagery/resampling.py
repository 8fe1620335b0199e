"""One resampling from a raster to a grid: co-registration shift and reprojection composed.

Where a grid's pixels lie in the source is computed exactly at every n-th pixel of the whole grid and linearly between
(better than 0.01 pixel), so that a block gives the same values whatever the blocks are. The shift of the
co-registration enters the source's affine transform: values are interpolated once, never twice.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox

from processors.arrays import FloatArray
from processors.imagery import _resampling_kernels, grid

Float32Array: TypeAlias = npt.NDArray[np.float32]
Locator: TypeAlias = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""From map coordinates to source row and column, pixel centers at 0, 1, ...; not finite where there is no position."""

METHODS = ("nearest", "bilinear", "cubic", "average")
_ORDERS = {"nearest": 0, "bilinear": 1, "cubic": 3}
_LARGEST_STEP = 64
# A chord of 5 km departs from the curve of a map projection by about 0.5 m.
_STEP_LENGTH = 5_000.0
_REACH = 3
_PROBES = 5
_DECIMALS = 7


class Block(NamedTuple):
    """A part of a grid."""

    row: int
    """First row [pixel]."""
    column: int
    """First column [pixel]."""
    rows: int
    """Height [pixel]."""
    columns: int
    """Width [pixel]."""


class Placement(NamedTuple):
    """Where the pixels of a block lie in a source raster."""

    rows: FloatArray
    """Source row at the nodes (node row, node column) [pixel]."""
    columns: FloatArray
    """Source column at the nodes (node row, node column) [pixel]."""
    step: int
    """Distance of the nodes [target pixel]."""
    offset: tuple[int, int]
    """First row and column of the block from the first node [target pixel]."""
    shape: tuple[int, int]
    """Rows and columns of the block [pixel]."""
    scale: float
    """Size of a target pixel in source pixels, the larger of both directions, the same for all blocks of a grid."""


def whole(geobox: GeoBox) -> Block:
    """The block of a whole grid.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    Block
        All its pixels.
    """
    return Block(0, 0, *geobox.shape)


def part_of(geobox: GeoBox, block: Block) -> GeoBox:
    """The grid of a block.

    Parameters
    ----------
    geobox : GeoBox
        The whole grid.
    block : Block
        The part.

    Returns
    -------
    GeoBox
        The same pixels.
    """
    transform = geobox.transform @ Affine.translation(block.column, block.row)
    return GeoBox((block.rows, block.columns), transform, grid.system(geobox))


def moved(transform: Affine, shift: tuple[float, float]) -> Affine:
    """Affine transform of a raster whose content was found displaced.

    Parameters
    ----------
    transform : Affine
        Pixel to map as the file states it.
    shift : tuple of float
        Displacement of the content to the right and down, as co-registration reports it [pixel].

    Returns
    -------
    Affine
        Pixel to map of the content.
    """
    return transform @ Affine.translation(-shift[0], -shift[1])


def affine_locator(transform: Affine, *, crs: str, target_crs: str) -> Locator:
    """Locator of a raster with an affine transform, rotated or not.

    Parameters
    ----------
    transform : Affine
        Pixel to map of the source.
    crs, target_crs : str
        Systems of the source and of the coordinates that will be asked for.

    Returns
    -------
    Locator
        From target map coordinates to source pixels.
    """
    inverse = ~transform
    transformer = _transformer(target_crs, crs)

    def locate(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        own_x, own_y = (x, y) if transformer is None else transformer.transform(x, y)
        # Places the projection does not reach come back infinite.
        with np.errstate(invalid="ignore"):
            column, row = inverse @ (own_x, own_y)
        return row - 0.5, column - 0.5

    return locate


@lru_cache(maxsize=32)
def _transformer(source: str, target: str) -> pyproj.Transformer | None:
    """Transformer between two systems, None where they are one; making it costs more than a tile's use of it."""
    first, second = grid.horizontal(source), grid.horizontal(target)
    return None if first == second else pyproj.Transformer.from_crs(first, second, always_xy=True)


def centers(geobox: GeoBox, rows: FloatArray, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Map coordinates of pixel centers.

    Parameters
    ----------
    geobox : GeoBox
        The grid.
    rows, columns : FloatArray
        Pixels, 0 at the center of the first one, broadcast together [pixel].

    Returns
    -------
    tuple of FloatArray
        x and y [CRS unit].
    """
    row, column = np.broadcast_arrays(rows + 0.5, columns + 0.5)
    a, b, c, d, e, f = geobox.transform[:6]
    return a * column + b * row + c, d * column + e * row + f


def place(geobox: GeoBox, locate: Locator, *, block: Block | None = None) -> Placement:
    """Find where the pixels of a grid lie in a source.

    Parameters
    ----------
    geobox : GeoBox
        The target grid.
    locate : Locator
        From its map coordinates to the source.
    block : Block, optional
        Part of the grid; default all of it.

    Returns
    -------
    Placement
        Positions at the nodes around the block.
    """
    part = block or whole(geobox)
    step = int(np.clip(_STEP_LENGTH / grid.pixel_size(geobox), 1, _LARGEST_STEP))
    first = part.row // step, part.column // step
    last = (part.row + max(part.rows, 1) - 1) // step + 1, (part.column + max(part.columns, 1) - 1) // step + 1
    node_rows = np.arange(first[0], last[0] + 1, dtype=np.float64)[:, None] * step
    node_columns = np.arange(first[1], last[1] + 1, dtype=np.float64)[None, :] * step
    # Rounded far below any error of a map projection, so that grids that agree give back the very values.
    rows, columns = (np.round(found, _DECIMALS) for found in locate(*centers(geobox, node_rows, node_columns)))
    offset = part.row - first[0] * step, part.column - first[1] * step
    shape = part.rows, part.columns
    return Placement(
        np.ascontiguousarray(rows), np.ascontiguousarray(columns), step, offset, shape, pixel_scale(geobox, locate)
    )


def pixel_scale(geobox: GeoBox, locate: Locator) -> float:
    """Size of a grid's pixels in source pixels.

    Parameters
    ----------
    geobox : GeoBox
        The target grid.
    locate : Locator
        From its map coordinates to the source.

    Returns
    -------
    float
        The larger of both directions, median of 25 places of the grid; 1 where none lies in the source.
    """
    rows, columns = (np.linspace(0.0, size - 1.0, _PROBES) for size in geobox.shape)
    rows, columns = rows[:, None], columns[None, :]
    around = [locate(*centers(geobox, rows + down, columns + right)) for down, right in ((0, 0), (1, 0), (0, 1))]
    lengths = [np.hypot(other[0] - around[0][0], other[1] - around[0][1]) for other in around[1:]]
    found = [float(np.median(length[np.isfinite(length)])) for length in lengths if bool(np.isfinite(length).any())]
    return max(found, default=1.0)


def place_exactly(rows: FloatArray, columns: FloatArray, *, scale: float) -> Placement:
    """Placement of pixels whose source positions are all known, as where terrain height decides them.

    Parameters
    ----------
    rows, columns : FloatArray
        Source positions (y, x), pixel centers at 0, 1, ... [pixel].
    scale : float
        Size of a target pixel in source pixels [1].

    Returns
    -------
    Placement
        The same positions.
    """
    height, width = rows.shape
    padded = [np.pad(np.asarray(values, dtype=np.float64), ((0, 1), (0, 1)), mode="edge") for values in (rows, columns)]
    return Placement(padded[0], padded[1], 1, (0, 0), (height, width), scale)


def source_block(placement: Placement, shape: tuple[int, int]) -> Block:
    """Part of a source that a placement needs.

    Parameters
    ----------
    placement : Placement
        Where the wanted pixels lie.
    shape : tuple of int
        Rows and columns of the source [pixel].

    Returns
    -------
    Block
        Whole source pixels inside the source; without rows or columns where nothing is needed.
    """
    seen = np.isfinite(placement.rows) & np.isfinite(placement.columns)
    if not bool(seen.any()):
        return Block(0, 0, 0, 0)
    reach = _REACH + math.ceil(placement.scale)
    limits = []
    for values, size in ((placement.rows[seen], shape[0]), (placement.columns[seen], shape[1])):
        low = int(np.clip(math.floor(float(values.min())) - reach, 0, size))
        high = int(np.clip(math.ceil(float(values.max())) + reach + 1, low, size))
        limits.append((low, high - low))
    (row, rows), (column, columns) = limits
    return Block(row, column, rows, columns) if rows and columns else Block(0, 0, 0, 0)


def sample(
    values: npt.NDArray[Any],
    placement: Placement,
    *,
    origin: tuple[int, int] = (0, 0),
    resampling: str = "bilinear",
) -> Float32Array:
    """Source values at the pixels of a placement.

    Parameters
    ----------
    values : array
        Source values (band, y, x), NaN for no data.
    placement : Placement
        Where the wanted pixels lie.
    origin : tuple of int
        Source row and column of the first value [pixel].
    resampling : str
        `nearest`, `bilinear`, `cubic` or `average` (mean over the target pixel, against aliasing).

    Returns
    -------
    Float32Array
        Values (band, y, x); NaN outside the source, where the nearest source pixel is missing and, averaging, where
        more than half of the pixel is missing.
    """
    if resampling not in METHODS:
        raise ValueError(f"unknown resampling {resampling!r}, not one of {', '.join(METHODS)}")
    source = np.ascontiguousarray(values, dtype=np.float32)
    out = np.empty((source.shape[0], *placement.shape), dtype=np.float32)
    nodes = (placement.rows, placement.columns, placement.step, *placement.offset)
    if resampling == "average":
        _resampling_kernels.average(source, *nodes, *origin, _subdivision(placement.scale), out)
    else:
        _resampling_kernels.sample(source, *nodes, *origin, _ORDERS[resampling], out)
    return out


def composed(
    values: npt.NDArray[Any],
    *,
    transform: Affine,
    crs: str,
    geobox: GeoBox,
    shift: tuple[float, float] = (0.0, 0.0),
    resampling: str = "bilinear",
) -> Float32Array:
    """Bring a raster onto a grid in one resampling, its co-registration shift included.

    Parameters
    ----------
    values : array
        Source values (band, y, x), NaN for no data.
    transform : Affine
        Pixel to map of the source.
    crs : str
        System of the source.
    geobox : GeoBox
        The target grid.
    shift : tuple of float
        Displacement of the source's content to the right and down, as co-registration reports it [source pixel].
    resampling : str
        See `sample`.

    Returns
    -------
    Float32Array
        Values (band, y, x) on the grid, NaN outside the source.
    """
    locate = affine_locator(moved(transform, shift), crs=crs, target_crs=grid.system(geobox).to_wkt())
    return sample(values, place(geobox, locate), resampling=resampling)


def method_for(scale: float) -> str:
    """Resampling that neither aliases nor blurs.

    Parameters
    ----------
    scale : float
        Size of a target pixel in source pixels [1].

    Returns
    -------
    str
        `average` going to clearly coarser pixels, `bilinear` otherwise.
    """
    return "average" if scale > 1.5 else "bilinear"


def _subdivision(scale: float) -> int:
    """Samples along a pixel's edge: one per source pixel where they nest, else two."""
    nearest = round(scale)
    return max(nearest, 1) if abs(scale - nearest) < 1e-3 else 2 * math.ceil(scale)
