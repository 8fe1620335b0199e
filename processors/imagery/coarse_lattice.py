"""Where coarse pixels lie on a fine grid: averages onto them, interpolation from them, and their true size."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from processors.arrays import BoolArray, FloatArray

SMALLEST_RATIO = 1.5
"""Fine pixels per coarse pixel and axis below which an image does not count as coarse [1]."""
_EDGE = 1e-9
_FEWEST = 3
_SIZES = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64)
_STEPS = 4
_WIDTH = 0.55


class Lattice(NamedTuple):
    """Coarse pixels on a fine grid."""

    rows: int
    columns: int
    row_origin: float
    """Upper edge of the first coarse row [fine pixel]."""
    column_origin: float
    """Left edge of the first coarse column [fine pixel]."""
    row_step: float
    """Height of a coarse pixel [fine pixel]."""
    column_step: float
    """Width of a coarse pixel [fine pixel]."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns


class Block(NamedTuple):
    """A rectangle of fine pixels."""

    top: int
    left: int
    rows: int
    columns: int


def displaced(lattice: Lattice, rows: float, columns: float) -> Lattice:
    """The lattice moved by a part of its own pixels.

    Parameters
    ----------
    lattice : Lattice
        Coarse pixels.
    rows, columns : float
        Displacement [coarse pixel].

    Returns
    -------
    Lattice
        The same pixels elsewhere.
    """
    return lattice._replace(
        row_origin=lattice.row_origin + rows * lattice.row_step,
        column_origin=lattice.column_origin + columns * lattice.column_step,
    )


def overlaps(start: int, size: int, *, origin: float, step: float, cells: int) -> sparse.csr_array:
    """Overlap of coarse with fine pixels along one axis.

    Parameters
    ----------
    start, size : int
        First fine pixel and number of fine pixels [pixel].
    origin, step : float
        Edge of the first coarse pixel and size of a coarse pixel [fine pixel].
    cells : int
        Number of coarse pixels [1].

    Returns
    -------
    sparse.csr_array
        Length of the overlap (coarse, fine) [fine pixel].
    """
    left = np.arange(start, start + size, dtype=np.float64)
    first = np.floor((left - origin) / step + _EDGE).astype(np.int64)
    inside = np.clip(origin + (first + 1) * step - left, 0.0, 1.0)
    cell = np.concatenate([first, first + 1])
    pixel = np.tile(np.arange(size), 2)
    length = np.concatenate([inside, 1.0 - inside])
    kept = (cell >= 0) & (cell < cells) & (length > _EDGE)
    return sparse.csr_array((length[kept], (cell[kept], pixel[kept])), shape=(cells, size))


def interpolators(start: int, size: int, *, origin: float, step: float, cells: int) -> sparse.csr_array:
    """Linear interpolation from the centers of coarse to the centers of fine pixels along one axis.

    Parameters
    ----------
    start, size : int
        First fine pixel and number of fine pixels [pixel].
    origin, step : float
        Edge of the first coarse pixel and size of a coarse pixel [fine pixel].
    cells : int
        Number of coarse pixels [1].

    Returns
    -------
    sparse.csr_array
        Weights (fine, coarse) [1]; constant beyond the outer centers.
    """
    place = (np.arange(start, start + size) + 0.5 - origin) / step - 0.5
    place = np.clip(place, 0.0, cells - 1.0)
    first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    part = place - first
    pixel = np.tile(np.arange(size), 2)
    cell = np.minimum(np.concatenate([first, first + 1]), cells - 1)
    return sparse.csr_array((np.concatenate([1.0 - part, part]), (pixel, cell)), shape=(size, cells))


def totals(values: npt.NDArray[Any], block: Block, lattice: Lattice) -> FloatArray:
    """Sums of the fine pixels of a block over the coarse pixels, by overlapping area.

    Parameters
    ----------
    values : ndarray
        Layers (layer, row, column) of the block.
    block : Block
        Place of the block.
    lattice : Lattice
        Coarse pixels.

    Returns
    -------
    FloatArray
        Sums (layer, coarse row, coarse column) [unit of the values x fine pixel].
    """
    down = overlaps(block.top, block.rows, origin=lattice.row_origin, step=lattice.row_step, cells=lattice.rows)
    across = overlaps(
        block.left, block.columns, origin=lattice.column_origin, step=lattice.column_step, cells=lattice.columns
    ).T.tocsr()
    return np.stack([(down @ layer.astype(np.float64)) @ across for layer in values])


def interpolated(field: FloatArray, block: Block, lattice: Lattice) -> FloatArray:
    """Bilinear interpolation of coarse layers at the fine pixels of a block.

    Parameters
    ----------
    field : FloatArray
        Layers (layer, coarse row, coarse column), any unit.
    block : Block
        Place of the block.
    lattice : Lattice
        Coarse pixels.

    Returns
    -------
    FloatArray
        Layers (layer, row, column).
    """
    down = interpolators(block.top, block.rows, origin=lattice.row_origin, step=lattice.row_step, cells=lattice.rows)
    across = interpolators(
        block.left, block.columns, origin=lattice.column_origin, step=lattice.column_step, cells=lattice.columns
    ).T.tocsr()
    return np.stack([(down @ layer) @ across for layer in field])


def nearest(mask: BoolArray, block: Block, lattice: Lattice) -> BoolArray:
    """Value of the coarse pixel in which the center of every fine pixel of a block lies.

    Parameters
    ----------
    mask : BoolArray
        Coarse pixels (coarse row, coarse column).
    block : Block
        Place of the block.
    lattice : Lattice
        Coarse pixels.

    Returns
    -------
    BoolArray
        Fine pixels (row, column), False outside the coarse image.
    """
    row = np.floor((np.arange(block.top, block.top + block.rows) + 0.5 - lattice.row_origin) / lattice.row_step)
    column = (np.arange(block.left, block.left + block.columns) + 0.5 - lattice.column_origin) / lattice.column_step
    rows, columns = row.astype(np.int64), np.floor(column).astype(np.int64)
    inside = ((rows >= 0) & (rows < lattice.rows))[:, None] & ((columns >= 0) & (columns < lattice.columns))
    return np.asarray(inside & mask[np.clip(rows, 0, lattice.rows - 1)][:, np.clip(columns, 0, lattice.columns - 1)])


def prepared(field: FloatArray) -> FloatArray:
    """Node values whose bilinear interpolation has the means of a field over the coarse pixels.

    Parameters
    ----------
    field : FloatArray
        Means (layer, coarse row, coarse column), any unit.

    Returns
    -------
    FloatArray
        Node values of the same shape.
    """
    nodes = field.copy()
    for _ in range(_STEPS):
        nodes += field - _bilinear_means(nodes)
    return nodes


def smoothed(field: FloatArray, valid: BoolArray, *, width: float) -> FloatArray:
    """Gaussian mean over the valid coarse pixels.

    Parameters
    ----------
    field : FloatArray
        Layers (..., coarse row, coarse column), any unit.
    valid : BoolArray
        Pixels that count (coarse row, coarse column).
    width : float
        Standard deviation [coarse pixel].

    Returns
    -------
    FloatArray
        Smoothed layers, defined wherever a valid pixel is within reach, else zero.
    """
    widths = (0.0,) * (field.ndim - 2) + (width, width)
    weight = weight_of(valid, width=width)
    total = ndimage.gaussian_filter(np.where(valid, field, 0.0), widths, mode="constant")
    return np.asarray(
        np.divide(total, weight, out=np.zeros_like(total), where=np.broadcast_to(weight, total.shape) > 1e-6)
    )


def weight_of(valid: BoolArray, *, width: float) -> FloatArray:
    """Part of a Gaussian neighborhood that is valid.

    Parameters
    ----------
    valid : BoolArray
        Pixels that count (row, column).
    width : float
        Standard deviation [pixel].

    Returns
    -------
    FloatArray
        Share (row, column) [1].
    """
    return np.asarray(ndimage.gaussian_filter(valid.astype(np.float64), width, mode="constant"))


def blocks(shape: tuple[int, int], size: int) -> list[Block]:
    """Blocks that cover an image, row by row.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    size : int
        Side of a block [pixel].

    Returns
    -------
    list of Block
        Every pixel in exactly one.
    """
    return [
        Block(top, left, min(size, shape[0] - top), min(size, shape[1] - left))
        for top in range(0, shape[0], size)
        for left in range(0, shape[1], size)
    ]


def true_lattice(image: npt.NDArray[Any], fine: npt.NDArray[Any], *, shape: tuple[int, int]) -> Lattice:
    """Coarse pixels of an image that was brought onto the fine grid.

    Copied pixels show in the places of their edges. Interpolated ones are recognized by the width of the mean that
    makes the fine image of the same date most like the coarse one; at least three fit into the image.

    Parameters
    ----------
    image : ndarray
        Upper left part of the coarse image (band, row, column), NaN where missing.
    fine : ndarray
        The same part of the fine image of the same date.
    shape : tuple of int
        Rows and columns of the whole image.

    Returns
    -------
    Lattice
        Lattice over the whole image.
    """
    rows, columns = _copied(image), _copied(image.swapaxes(1, 2))
    if rows is None or columns is None:
        size = _interpolated_size(image, fine)
        counts = [max(round(length / size), 1) for length in shape]
        return Lattice(counts[0], counts[1], 0.0, 0.0, shape[0] / counts[0], shape[1] / counts[1])
    (height, top), (width, left) = rows, columns
    counts = [-((place - length) // size) for place, length, size in ((top, shape[0], height), (left, shape[1], width))]
    return Lattice(counts[0], counts[1], float(top), float(left), float(height), float(width))


def _copied(image: npt.NDArray[Any]) -> tuple[int, int] | None:
    """Size of copied pixels and edge of the first one along the rows; None where they are not copied."""
    change = np.nan_to_num(np.abs(np.diff(image.astype(np.float64), axis=1)))
    limit = 1e-7 * float(np.nanmax(np.abs(image), initial=1e-30))
    edges = np.flatnonzero((change > limit).any(axis=(0, 2))) + 1
    if edges.size < 2 or edges.size > 0.67 * change.shape[1]:
        return None
    size = int(np.gcd.reduce(np.diff(edges)))
    phase = int(edges[0]) % size
    return (size, phase - size if phase else 0) if size > 1 else None


def _interpolated_size(image: npt.NDArray[Any], fine: npt.NDArray[Any]) -> int:
    largest = max(min(image.shape[1:]) // _FEWEST, 1)
    sizes = [size for size in _SIZES if size <= largest] or [largest]
    return sizes[int(np.argmax([_likeness(image, fine, size) for size in sizes]))]


def _likeness(image: npt.NDArray[Any], fine: npt.NDArray[Any], size: int) -> float:
    """Mean correlation of the bands of an image with those of another averaged to a pixel size."""
    valid = np.isfinite(image).all(axis=0) & np.isfinite(fine).all(axis=0)
    if valid.sum() < _FEWEST**2:
        return 0.0
    mean = smoothed(fine.astype(np.float64), valid, width=_WIDTH * size)[:, valid]
    pairs = zip(mean - mean.mean(axis=1, keepdims=True), image[:, valid], strict=True)
    return float(np.mean([_correlation(first, second - second.mean()) for first, second in pairs]))


def _correlation(first: FloatArray, second: FloatArray) -> float:
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / size if size > 0 else 0.0


def _bilinear_means(nodes: FloatArray) -> FloatArray:
    """Means of a bilinear interpolation: one eighth of either neighbor along each axis."""
    for axis in (1, 2):
        nodes = ndimage.correlate1d(nodes, np.array([0.125, 0.75, 0.125]), axis=axis, mode="nearest")
    return nodes
