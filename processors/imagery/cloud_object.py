"""Which bright white objects are clouds and which are roofs: size, edges, texture, and whether a shadow follows.

A roof is small, has sharp edges and casts no shadow where the clouds of the scene cast theirs. Each property gives
evidence, in natural logarithms of odds; their sum decides.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray

_Layer: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int32]

_INNER = 49
"""Pixels from which the inside of an object, not its edge, makes its roughness."""

_LIKE_RANGE, _LIKE_HEIGHT, _LIKE_BLUR = 12, 0.1, 1.5
"""Range of the evidence, step of the logarithm of the height, and how many steps apart objects are alike."""
_LIKE_DOUBT, _LIKE_SURE = 3.0, 1.0
"""Objects alike that say half of what many would, and evidence that needs no other."""

EIGHT = np.ones((3, 3), dtype=bool)
"""Neighbors that belong together."""


@dataclass(frozen=True)
class ObjectParameters:
    """How properties of an object speak for cloud.

    Parameters
    ----------
    roof_area : float
        Area that roofs rarely exceed [m2].
    roof_pixels : float
        Pixels that roofs rarely exceed [1].
    size_weight : float
        Evidence of a tenfold area [1].
    beyond_roofs : float
        Factor of that evidence for bold objects larger than roofs [1].
    height : float
        White light above clear ground that bright ground rarely has [1].
    height_weight : float
        Evidence of one unit of it [1].
    apart : int
        Distance from such pixels at which fainter ones are objects of their own [pixel].
    sharp : float
        Jump across the edge, relative to the height of the object, as probable for roof as for cloud [1].
    sharp_weight : float
        Evidence of a jump by the whole height of the object [1].
    rough : float
        Standard deviation within three pixels, relative to the mean, as probable for ground as for cloud [1].
    rough_weight : float
        Evidence of one unit of it [1].
    pixels : int
        Fewest pixels of an object [1].
    """

    roof_area: float = 20_000.0
    size_weight: float = 2.0
    beyond_roofs: float = 2.5
    roof_pixels: float = 60.0
    height: float = 0.2
    height_weight: float = 50.0
    apart: int = 4
    sharp: float = 0.8
    sharp_weight: float = 8.0
    rough: float = 0.15
    rough_weight: float = 20.0
    pixels: int = 2


class Objects(NamedTuple):
    """Connected bright pixels."""

    labels: Labels
    """Object of every pixel, 0 for none (y, x)."""
    pixels: FloatArray
    """Pixels of every object; entry 0 is the rest of the scene [1]."""
    evidence: FloatArray
    """For cloud, from size, edges and texture; entry 0 is the rest of the scene [1]."""
    height: FloatArray
    """White light above clear ground, root mean square [1]."""


def roughness(excess: _Layer) -> _Layer:
    """Standard deviation from pixel to pixel: slopes do not count.

    Parameters
    ----------
    excess : array
        White light above clear ground, finite (y, x) [1].

    Returns
    -------
    array
        Standard deviation within five pixels of the departure from the mean of three (y, x) [1].
    """
    departure = excess - ndimage.uniform_filter(excess, 3)
    variance = np.maximum(ndimage.uniform_filter(departure**2, 5), 0.0) * np.float32(9.0 / 8.0)
    return np.asarray(np.sqrt(variance), dtype=np.float32)


def seek(
    excess: _Layer, bright: BoolArray, smooth: BoolArray, rough: _Layer, *, area: float, parameters: ObjectParameters
) -> Objects:
    """Objects among the bright pixels with the evidence of their shape.

    Smooth pixels make objects of their own, so that a cloud does not merge with the rough bright ground beside it;
    bright pixels without any smooth one among them make further objects.

    Parameters
    ----------
    excess : array
        White light above clear ground, finite (y, x) [1].
    bright : array
        Pixels that may be cloud (y, x).
    smooth : array
        Those of them that are brighter than their roughness explains (y, x).
    rough : array
        Standard deviation from pixel to pixel (y, x) [1].
    area : float
        Area of a pixel [m2].
    parameters : ObjectParameters
        Weights of the evidence.

    Returns
    -------
    Objects
        Labels, sizes and evidence.
    """
    labels, count = _labels(excess, bright, smooth, parameters)
    kept = labels > 0
    pixels = np.bincount(labels.ravel(), minlength=count + 1).astype(np.float64)
    number = np.maximum(pixels, 1.0)
    owner, above = labels[kept], np.maximum(excess[kept], 0.0).astype(np.float64)
    height = np.maximum(np.sqrt(np.bincount(owner, above**2, minlength=count + 1) / number), 1e-3)
    coarse = np.sqrt(np.bincount(owner, rough[kept].astype(np.float64) ** 2, minlength=count + 1) / number) / height
    size = parameters.size_weight * np.log10(number / max(parameters.roof_area / area, parameters.roof_pixels))
    size = np.where((size > 0.0) & (height >= parameters.height), parameters.beyond_roofs * size, size)
    bold = parameters.height_weight * (height - parameters.height)
    sharp = parameters.sharp_weight * (
        parameters.sharp - _jump(excess, labels, height, apart=parameters.apart, bold=parameters.height)
    )
    odd = np.where(pixels >= _INNER, parameters.rough_weight * (parameters.rough - coarse), 0.0)
    evidence = (
        np.clip(size, -3.0, 4.0)
        + np.clip(bold, -6.0, 1.0)
        + np.clip(np.nan_to_num(sharp), -3.0, 3.0)
        + np.clip(odd, -4.0, 1.0)
    )
    evidence[(pixels < parameters.pixels) | (np.arange(count + 1) == 0)] = -np.inf
    return Objects(labels, pixels, evidence, height)


def _labels(excess: _Layer, bright: BoolArray, smooth: BoolArray, parameters: ObjectParameters) -> tuple[Labels, int]:
    """Bold smooth pixels, what is bright beyond their edges, and bright pixels without any smooth one."""
    bold = smooth & (excess >= parameters.height)
    rest = bright & ~ndimage.binary_dilation(bold, structure=EIGHT, iterations=parameters.apart)
    everything, number = ndimage.label(rest, structure=EIGHT)
    has_core = np.bincount(everything[smooth], minlength=number + 1) > 0
    has_core[0] = True
    faint = (rest & smooth) | ~has_core[everything]
    first, count = ndimage.label(bold, structure=EIGHT)
    second, more = ndimage.label(faint, structure=EIGHT)
    return np.where(second > 0, second + count, first).astype(np.int32), count + more


def strengthened(objects: Objects, vouched: _Layer) -> Objects:
    """Add evidence of other kinds, averaged over every object.

    Parameters
    ----------
    objects : Objects
        Objects with the evidence of their shape.
    vouched : array
        Evidence by pixel (y, x) [1].

    Returns
    -------
    Objects
        The same with more evidence.
    """
    total = np.bincount(objects.labels.ravel(), vouched.ravel().astype(np.float64), minlength=objects.pixels.size)
    return objects._replace(evidence=objects.evidence + total / np.maximum(objects.pixels, 1.0))


def likened(objects: Objects, told: FloatArray) -> Objects:
    """Add to objects of which the shadow tells little what it tells of those like them.

    The shadow of a cloud may lie beyond the scene or below another cloud; the clouds of one scene resemble each other.

    Parameters
    ----------
    objects : Objects
        Objects with the evidence of their shape.
    told : array
        Evidence of the shadow of every object, 0 where there is no telling [1].

    Returns
    -------
    Objects
        The same with more evidence.
    """
    shape = np.clip(objects.evidence, -_LIKE_RANGE, _LIKE_RANGE) + _LIKE_RANGE
    tall = np.clip(np.log(np.maximum(objects.height, 1e-3)) - np.log(1e-2), 0.0, 5.0) / _LIKE_HEIGHT
    place = tuple(np.rint(layer).astype(np.int64) for layer in (shape, tall))
    known = told != 0.0
    sides = (2 * _LIKE_RANGE + 1, int(5.0 / _LIKE_HEIGHT) + 1)
    total, number = np.zeros(sides), np.zeros(sides)
    np.add.at(total, tuple(side[known] for side in place), told[known])
    np.add.at(number, tuple(side[known] for side in place), 1.0)
    density = 2.0 * np.pi * _LIKE_BLUR**2
    total, number = (density * ndimage.gaussian_filter(layer, _LIKE_BLUR, mode="constant") for layer in (total, number))
    alike = (total / (number + _LIKE_DOUBT))[place]
    return objects._replace(evidence=objects.evidence + np.maximum(1.0 - np.abs(told) / _LIKE_SURE, 0.0) * alike)


def top(excess: _Layer, labels: Labels, count: int, *, reach: int) -> _Layer:
    """White light of the brightest parts of the object at or near every pixel.

    Parameters
    ----------
    excess : array
        White light above clear ground (y, x) [1].
    labels : array
        Object of every pixel, 0 for none (y, x).
    count : int
        Number of objects and one.
    reach : int
        Distance to which an object counts [pixel].

    Returns
    -------
    array
        Mean of the squares over the mean of the object, of the brightest object within reach (y, x) [1].
    """
    kept = labels > 0
    owner, above = labels[kept], np.maximum(excess[kept], 0.0).astype(np.float64)
    first = np.bincount(owner, above, minlength=count)
    second = np.bincount(owner, above**2, minlength=count)
    heights = np.where(first > 0, second / np.maximum(first, 1e-9), 0.0).astype(np.float32)
    return np.asarray(ndimage.maximum_filter(heights[labels], 2 * reach + 1), dtype=np.float32)


def _jump(excess: _Layer, labels: Labels, height: FloatArray, *, apart: int, bold: float) -> FloatArray:
    """Steepest jump within three pixels near the edge of every object relative to its height, on average; else NaN."""
    kept = labels > 0
    edge = kept & ~ndimage.binary_erosion(kept, structure=EIGHT, border_value=1)
    above = np.maximum(excess, 0.0)
    span = ndimage.maximum_filter(above, 3) - ndimage.minimum_filter(above, 3)
    steepest = ndimage.maximum_filter(span, 5)
    near = ndimage.binary_dilation(kept & (height[labels] >= bold), structure=EIGHT, iterations=2 * apart)
    own = edge & ((height[labels] >= bold) | ~near)
    total = np.bincount(labels[own], steepest[own], minlength=height.size)
    number = np.bincount(labels[own], minlength=height.size)
    return np.asarray(np.where(number > 3, total / np.maximum(number, 1) / height, np.nan))
