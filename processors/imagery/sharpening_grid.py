"""Where the multispectral pixels lie in the panchromatic grid, to the fraction of a pixel, for grids of any ratio.

Positions follow from both affine transforms. Every weight is computed from the pixel's number in the whole raster, so
that a block of a scene is treated exactly like the scene.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from affine import Affine

from processors.arrays import FloatArray, IntArray
from processors.quality import BadInputError

Plane = npt.NDArray[np.float32]

REACH = 3.5
"""Half width of the point spread function that is used, in its standard deviations [1]."""
SKEW = 1e-6
"""Rotation or shear of a grid that counts as none, relative to its pixel size [1]."""
SMALLEST_RATIO, LARGEST_RATIO = 1.2, 16.0
"""Multispectral pixel sizes that are sharpened, in panchromatic pixels [1]."""
SUPPORT = 10
"""Distance from which a multispectral pixel can still influence a sharpened one [multispectral pixel]."""
HALO = 2 * SUPPORT + 2
"""Surroundings a block needs: the support, and as much from which missing pixels are filled [multispectral pixel]."""


class Span(NamedTuple):
    """Rows or columns of a raster from the first on to before the last."""

    start: int
    """First index; negative where it lies before the raster."""
    stop: int
    """Index after the last."""


class Box(NamedTuple):
    """Part of a raster, which may reach beyond it."""

    rows: Span
    """Rows."""
    columns: Span
    """Columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


class Geometry(NamedTuple):
    """Position of the multispectral grid in the panchromatic one; pairs are rows, then columns."""

    ratio: tuple[float, float]
    """Size of a multispectral pixel [panchromatic pixel]."""
    offset: tuple[float, float]
    """Outer corner of the multispectral raster from the corner of the panchromatic one [panchromatic pixel]."""
    ms_shape: tuple[int, int]
    """Rows and columns of the multispectral raster."""
    pan_shape: tuple[int, int]
    """Rows and columns of the panchromatic raster."""

    @property
    def mean_ratio(self) -> float:
        """Geometric mean of both ratios [1]."""
        return math.sqrt(self.ratio[0] * self.ratio[1])

    @property
    def whole_pan(self) -> Box:
        """The panchromatic raster."""
        return Box(Span(0, self.pan_shape[0]), Span(0, self.pan_shape[1]))

    @property
    def whole_ms(self) -> Box:
        """The multispectral raster."""
        return Box(Span(0, self.ms_shape[0]), Span(0, self.ms_shape[1]))


class Needed(NamedTuple):
    """What has to be read to sharpen a part of a scene; both may reach beyond the rasters."""

    ms: Box
    """Multispectral part."""
    pan: Box
    """Panchromatic part."""


class Taps(NamedTuple):
    """Indices and weights of one axis."""

    start: IntArray
    """First index of each output pixel, within the block."""
    weights: Plane
    """Weights [1]."""


def geometry_from_transforms(
    ms_transform: Affine, ms_shape: tuple[int, int], pan_transform: Affine, pan_shape: tuple[int, int]
) -> Geometry:
    """Position of the multispectral grid in the panchromatic grid.

    Parameters
    ----------
    ms_transform : Affine
        Map coordinates of the multispectral pixel corners.
    ms_shape : tuple
        Rows and columns of the multispectral raster.
    pan_transform : Affine
        Map coordinates of the panchromatic pixel corners, in the same reference system.
    pan_shape : tuple
        Rows and columns of the panchromatic raster.

    Returns
    -------
    Geometry
        Ratio and offset.

    Raises
    ------
    BadInputError
        `grid_rotated` where the grids are rotated, sheared or mirrored against each other, `resolution_mismatch` where
        the panchromatic pixel is not the smaller one by a usable ratio, `no_overlap` where they do not meet.
    """
    for name, transform in (("multispectral", ms_transform), ("panchromatic", pan_transform)):
        if transform.determinant == 0.0:
            raise BadInputError("grid_rotated", f"the {name} grid has a pixel size of zero")
    relative = ~pan_transform @ ms_transform
    if max(abs(relative.b), abs(relative.d)) > SKEW * max(abs(relative.a), abs(relative.e)) * 10.0:
        raise BadInputError("grid_rotated", "the multispectral grid is rotated or sheared against the panchromatic one")
    if relative.a <= 0.0 or relative.e <= 0.0:
        raise BadInputError("grid_rotated", "the multispectral grid is mirrored against the panchromatic one")
    geometry = Geometry(
        (relative.e, relative.a), (relative.f, relative.c), (ms_shape[0], ms_shape[1]), (pan_shape[0], pan_shape[1])
    )
    _require_usable(geometry)
    return geometry


def geometry_from_shapes(ms_shape: tuple[int, int], pan_shape: tuple[int, int]) -> Geometry:
    """Position of the multispectral grid where both rasters cover the same ground.

    Parameters
    ----------
    ms_shape, pan_shape : tuple
        Rows and columns.

    Returns
    -------
    Geometry
        Ratio of the sizes, no offset.

    Raises
    ------
    BadInputError
        `resolution_mismatch` where the sizes allow no common ratio.
    """
    ratio = (pan_shape[0] / ms_shape[0], pan_shape[1] / ms_shape[1])
    if abs(math.log(ratio[0] / ratio[1])) > 2.0 / min(ms_shape):
        raise BadInputError("resolution_mismatch", f"sizes {ms_shape} and {pan_shape} have no common ratio")
    geometry = Geometry(ratio, (0.0, 0.0), (ms_shape[0], ms_shape[1]), (pan_shape[0], pan_shape[1]))
    _require_usable(geometry)
    return geometry


def _require_usable(geometry: Geometry) -> None:
    if not all(SMALLEST_RATIO <= ratio <= LARGEST_RATIO for ratio in geometry.ratio):
        text = f"{geometry.ratio[0]:.4g} x {geometry.ratio[1]:.4g}"
        raise BadInputError("resolution_mismatch", f"a multispectral pixel is {text} panchromatic pixels large")
    for axis in (0, 1):
        start = geometry.offset[axis]
        stop = start + geometry.ms_shape[axis] * geometry.ratio[axis]
        if min(stop, geometry.pan_shape[axis]) - max(start, 0.0) < geometry.ratio[axis]:
            raise BadInputError("no_overlap", "the multispectral and the panchromatic raster do not overlap")


def reduced(geometry: Geometry, shift: tuple[int, int] = (0, 0)) -> Geometry:
    """The same relation one scale lower: the multispectral grid as the fine one.

    Parameters
    ----------
    geometry : Geometry
        Relation of the inputs.
    shift : tuple
        Where the degraded grid begins, down and right of where it would [multispectral pixel].

    Returns
    -------
    Geometry
        Relation of the degraded inputs: same ratio and fraction of the offset.

    Raises
    ------
    BadInputError
        `too_small` where fewer than three degraded pixels are left.
    """
    offset = tuple(geometry.offset[k] % geometry.ratio[k] + shift[k] for k in (0, 1))
    shape = tuple(int((geometry.ms_shape[k] - offset[k] + 1e-6) // geometry.ratio[k]) for k in (0, 1))
    if min(shape) < 3:
        raise BadInputError("too_small", f"{geometry.ms_shape} multispectral pixels are too few to judge a method by")
    return Geometry(geometry.ratio, (offset[0], offset[1]), (shape[0], shape[1]), geometry.ms_shape)


def window(geometry: Geometry, ms: Box, pan: Box) -> Geometry:
    """Relation of two windows read from the rasters, as rasters of their own.

    Parameters
    ----------
    geometry : Geometry
        Relation of the whole rasters.
    ms, pan : Box
        The windows.

    Returns
    -------
    Geometry
        Relation of the windows.
    """
    offset = [geometry.offset[k] + ms[k].start * geometry.ratio[k] - pan[k].start for k in (0, 1)]
    return Geometry(geometry.ratio, (offset[0], offset[1]), ms.shape, pan.shape)


def common(geometry: Geometry) -> Box:
    """Multispectral pixels that lie within the panchromatic raster.

    Parameters
    ----------
    geometry : Geometry
        Relation of the rasters.

    Returns
    -------
    Box
        The pixels, at least one along each axis.
    """
    spans = []
    for k in (0, 1):
        start = max(0, math.ceil(-geometry.offset[k] / geometry.ratio[k] - 1e-6))
        stop = math.floor((geometry.pan_shape[k] - geometry.offset[k]) / geometry.ratio[k] + 1e-6)
        stop = min(stop, geometry.ms_shape[k])
        start = min(start, geometry.ms_shape[k] - 1)
        spans.append(Span(start, max(stop, start + 1)))
    return Box(spans[0], spans[1])


def under(geometry: Geometry, ms: Box) -> Box:
    """Panchromatic pixels under a multispectral part, within the raster.

    Parameters
    ----------
    geometry : Geometry
        Relation of the rasters.
    ms : Box
        Multispectral part.

    Returns
    -------
    Box
        The panchromatic part.
    """
    spans = []
    for k in (0, 1):
        start = math.floor(geometry.offset[k] + ms[k].start * geometry.ratio[k])
        stop = math.ceil(geometry.offset[k] + ms[k].stop * geometry.ratio[k])
        spans.append(Span(max(start, 0), min(stop, geometry.pan_shape[k])))
    return Box(spans[0], spans[1])


def _coarse_position(geometry: Geometry, axis: int, fine: Span) -> FloatArray:
    """Multispectral position of the centers of fine pixels, 0 at the center of the first multispectral pixel."""
    index = np.arange(fine.start, fine.stop, dtype=np.float64)
    return (index + 0.5 - geometry.offset[axis]) / geometry.ratio[axis] - 0.5


def needed(geometry: Geometry, core: Box, blur: tuple[float, float]) -> Needed:
    """What has to be read to sharpen a part of the panchromatic raster.

    Parameters
    ----------
    geometry : Geometry
        Relation of the rasters.
    core : Box
        Panchromatic part to sharpen.
    blur : tuple
        Standard deviation of the point spread function along rows and columns [panchromatic pixel].

    Returns
    -------
    Needed
        Windows of both rasters.
    """
    ms, pan = [], []
    for axis in (0, 1):
        position = _coarse_position(geometry, axis, core[axis])
        span = Span(math.floor(position[0]) - HALO, math.floor(position[-1]) + 2 + HALO)
        ms.append(span)
        first, last = (_first_tap(geometry, axis, Span(k, k + 1), blur[axis])[0] for k in (span.start, span.stop - 1))
        pan.append(Span(min(int(first), core[axis].start), max(int(last) + _taps(blur[axis]), core[axis].stop)))
    return Needed(Box(ms[0], ms[1]), Box(pan[0], pan[1]))


def _taps(blur: float) -> int:
    return 2 * math.ceil(REACH * blur) + 2


def _center(geometry: Geometry, axis: int, coarse: Span) -> FloatArray:
    """Fine position of the centers of coarse pixels."""
    index = np.arange(coarse.start, coarse.stop, dtype=np.float64)
    return geometry.offset[axis] + (index + 0.5) * geometry.ratio[axis] - 0.5


def _first_tap(geometry: Geometry, axis: int, coarse: Span, blur: float) -> IntArray:
    return np.floor(_center(geometry, axis, coarse)).astype(np.int64) - _taps(blur) // 2 + 1


def reduction(geometry: Geometry, axis: int, coarse: Span, fine: Span, blur: float) -> Taps:
    """Weights of a Gaussian point spread function centered on each coarse pixel.

    Parameters
    ----------
    geometry : Geometry
        Relation of the rasters.
    axis : int
        0 for rows, 1 for columns.
    coarse : Span
        Coarse pixels.
    fine : Span
        Fine pixels at hand; taps must lie inside.
    blur : float
        Standard deviation [fine pixel].

    Returns
    -------
    Taps
        Start within `fine`, weights (coarse, tap) with a sum of 1.
    """
    first = _first_tap(geometry, axis, coarse, blur)
    index = first[:, None] + np.arange(_taps(blur))
    weights = np.exp(-0.5 * ((index - _center(geometry, axis, coarse)[:, None]) / blur) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return Taps(first - fine.start, weights.astype(np.float32))


class Interpolation(NamedTuple):
    """Interpolation along one axis, from coarse to fine."""

    start: IntArray
    """Coarse index before each fine pixel, within the block."""
    cubic: Plane
    """Weights of four taps, from one before `start` on (tap, fine) [1]."""
    linear: Plane
    """Weights of two taps, from `start` on (tap, fine) [1]."""
    nearest: IntArray
    """Coarse index each fine pixel lies in, within the block."""


def interpolation(geometry: Geometry, axis: int, fine: Span, coarse: Span) -> Interpolation:
    """Weights of cubic convolution (Keys 1981, a = -1/2) and of linear interpolation at the true positions.

    Parameters
    ----------
    geometry : Geometry
        Relation of the rasters.
    axis : int
        0 for rows, 1 for columns.
    fine : Span
        Fine pixels wanted.
    coarse : Span
        Coarse pixels at hand.

    Returns
    -------
    Interpolation
        Indices and weights.
    """
    position = _coarse_position(geometry, axis, fine)
    start = np.floor(position).astype(np.int64)
    t = position - start
    cubic = np.stack(
        [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ]
    )
    linear = np.stack([1.0 - t, t])
    nearest = np.floor(position + 0.5).astype(np.int64)
    first = coarse.start
    return Interpolation(start - first, cubic.astype(np.float32), linear.astype(np.float32), nearest - first)


def placed(block: npt.NDArray[np.float32], at: Box, wanted: Box) -> npt.NDArray[np.float32]:
    """Part of a block, with NaN where the block does not reach.

    Parameters
    ----------
    block : array
        Values (..., y, x) of a part of a raster.
    at : Box
        The part.
    wanted : Box
        The part wanted.

    Returns
    -------
    array
        Values (..., y, x) of the wanted part.
    """
    if at == wanted:
        return np.ascontiguousarray(block, dtype=np.float32)
    result = np.full((*block.shape[:-2], *wanted.shape), np.nan, dtype=np.float32)
    source, target = [], []
    for have, want in zip(at, wanted, strict=True):
        start, stop = max(have.start, want.start), min(have.stop, want.stop)
        source.append(slice(start - have.start, max(stop, start) - have.start))
        target.append(slice(start - want.start, max(stop, start) - want.start))
    result[..., target[0], target[1]] = block[..., source[0], source[1]]
    return result


def checked(block: npt.NDArray[np.float32], box: Box, name: str, dimensions: int) -> None:
    """Refuse a block whose shape is not that of its place.

    Parameters
    ----------
    block : array
        Values.
    box : Box
        Place of the block.
    name : str
        Name of the argument.
    dimensions : int
        Dimensions the block must have [1].

    Raises
    ------
    ValueError
        Shapes differ.
    """
    if block.ndim != dimensions or block.shape[-2:] != box.shape:
        raise ValueError(f"{name} has shape {block.shape}, its place has {box.shape}")


def centered(total: int, parts: Sequence[float], size: int) -> list[Span]:
    """Spans of a size around relative positions, inside an axis.

    Parameters
    ----------
    total : int
        Length of the axis [pixel].
    parts : Sequence[float]
        Positions of the centers, 0 to 1 [1].
    size : int
        Length of a span [pixel].

    Returns
    -------
    list of Span
        The spans.
    """
    length = min(size, total)
    starts = [min(max(round(part * total - length / 2), 0), total - length) for part in parts]
    return [Span(start, start + length) for start in starts]
