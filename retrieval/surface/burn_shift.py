"""Displacement between two dates of a burn ratio, below a pixel, and its removal.

A quarter of a pixel makes edges of fields and forests look burnt. The displacement d is that which best explains the
difference of the two ratios by their common gradient (Lucas and Kanade 1981), R_after - R_before = -d . grad R, block
by block; the median of the blocks counts, and their scatter says whether it is known. A ratio is used because the sun's
angle on slopes, which would look like a displacement, cancels in it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ShiftParameters:
    """When a displacement is believed.

    Parameters
    ----------
    smoothing : float
        Standard deviation of the smoothing before gradients are taken [pixel].
    background : float
        Standard deviation of what is taken out as change over larger areas [pixel].
    block : int
        Edge of a block [pixel].
    least_share : float
        Share of usable pixels a block needs [1].
    least_blocks : int
        Blocks needed [1].
    least_likeness : float
        Least correlation of the two dates in a block [1].
    least_gradient : float
        Least root mean square of the gradient of a block across its weaker direction [1/pixel].
    cut : float
        Residuals beyond which a pixel does not count, in standard deviations [1].
    steps : int
        How often the later date is moved and measured again [1].
    largest : float
        Largest displacement believed [pixel].
    least : float
        Smallest displacement worth moving for [pixel].
    certainty : float
        Standard errors a displacement must exceed [1].
    """

    smoothing: float = 1.0
    background: float = 6.0
    block: int = 64
    least_share: float = 0.4
    least_blocks: int = 4
    least_likeness: float = 0.6
    least_gradient: float = 2e-3
    cut: float = 2.5
    steps: int = 4
    largest: float = 2.0
    least: float = 0.05
    certainty: float = 4.0


class Shift(NamedTuple):
    """Displacement of the later date."""

    down: float
    """Content of the later date lies by so much further down [pixel]."""
    right: float
    """Content of the later date lies by so much further right [pixel]."""
    sigma: float
    """Standard error, NaN where it is not known [pixel]."""
    applied: bool
    """Whether it is certain and large enough to be taken out."""


NONE = Shift(0.0, 0.0, float("nan"), False)
"""No displacement known."""


def halo(parameters: ShiftParameters) -> int:
    """Pixels around a block that a moved layer depends on.

    Parameters
    ----------
    parameters : ShiftParameters
        Choices.

    Returns
    -------
    int
        Halo [pixel].
    """
    return int(np.ceil(parameters.largest)) + 2


def found(before: FloatArray, after: FloatArray, known: BoolArray, *, parameters: ShiftParameters) -> Shift:
    """Measure the displacement of one burn ratio against another.

    Parameters
    ----------
    before, after : FloatArray
        Normalized burn ratios (y, x) [1].
    known : BoolArray
        Usable pixels (y, x).
    parameters : ShiftParameters
        Choices.

    Returns
    -------
    Shift
        Not applied where it is uncertain, small, or larger than believed.
    """
    down = right = 0.0
    sigma = float("nan")
    reference = _detail(before, known, parameters)
    inner = ndimage.binary_erosion(known, iterations=int(2 * parameters.smoothing) + 1)
    for _ in range(parameters.steps):
        layer = np.where(known, after, np.nan).astype(np.float32)
        trial = moved(layer, Shift(down, right, 0.0, True)) if (down, right) != (0.0, 0.0) else layer
        seen = inner & np.isfinite(trial)
        steps = _blocks(reference, _detail(trial.astype(np.float64), np.isfinite(trial), parameters), seen, parameters)
        if len(steps) < parameters.least_blocks:
            return NONE
        middle = np.median(steps, axis=0)
        scatter = 1.4826 * np.median(np.abs(steps - middle), axis=0)
        sigma = float(np.max(1.2533 * scatter) / np.sqrt(len(steps)))
        down, right = down + float(middle[0]), right + float(middle[1])
        if np.hypot(down, right) > parameters.largest:
            return NONE
    length = float(np.hypot(down, right))
    return Shift(down, right, sigma, length >= max(parameters.least, parameters.certainty * sigma))


def moved(layer: Float32Array, shift: Shift) -> Float32Array:
    """Bring a layer of the later date to where the earlier one is, by cubic convolution (Keys 1981).

    Parameters
    ----------
    layer : Float32Array
        Values (y, x), NaN without data.
    shift : Shift
        Displacement.

    Returns
    -------
    Float32Array
        Values (y, x); NaN where less than half of the weight has data.
    """
    return _through(layer, [[shift.down], [shift.right]])


def softened(layer: Float32Array, shift: Shift) -> Float32Array:
    """Make a layer as soft as moving makes the other date, without moving it: half of it forth, half back.

    Parameters
    ----------
    layer : Float32Array
        Values (y, x), NaN without data.
    shift : Shift
        Displacement of the other date.

    Returns
    -------
    Float32Array
        Values (y, x); NaN where less than half of the weight has data.
    """
    # Whole pixels cost no sharpness.
    parts = (shift.down - round(shift.down), shift.right - round(shift.right))
    return _through(layer, [[part, -part] for part in parts])


def _through(layer: Float32Array, distances: list[list[float]]) -> Float32Array:
    """Mean over the distances of an axis, axis by axis, of the layer convolved."""
    valid = np.isfinite(layer).astype(np.float64)
    values = np.where(valid > 0.0, layer, 0.0).astype(np.float64)
    for axis, several in enumerate(distances):
        values, valid = (
            np.mean([_convolved(part, distance, axis) for distance in several], axis=0) for part in (values, valid)
        )
    result: Float32Array = np.where(valid > 0.5, values / np.where(valid > 0.5, valid, 1.0), np.nan).astype(np.float32)
    return result


def moved_mask(mask: BoolArray, shift: Shift) -> BoolArray:
    """Bring a mask along, to whole pixels.

    Parameters
    ----------
    mask : BoolArray
        Pixels left out (y, x).
    shift : Shift
        Displacement.

    Returns
    -------
    BoolArray
        The mask where the earlier date has it (y, x).
    """
    whole = (-round(shift.down), -round(shift.right))
    return np.asarray(ndimage.shift(mask.astype(np.uint8), whole, order=0, mode="constant", cval=0) > 0)


def _convolved(layer: FloatArray, distance: float, axis: int) -> FloatArray:
    """Value at i + distance of every i; beyond the edge counts as nothing."""
    whole = int(np.floor(distance))
    part = distance - whole
    radius = abs(whole) + 2
    weights = np.zeros(2 * radius + 1)
    near, far = np.array([part, 1.0 - part]), np.array([1.0 + part, 2.0 - part])
    inner = 1.5 * near**3 - 2.5 * near**2 + 1.0
    outer = -0.5 * far**3 + 2.5 * far**2 - 4.0 * far + 2.0
    first = radius + whole
    weights[[first - 1, first, first + 1, first + 2]] = [outer[0], inner[0], inner[1], outer[1]]
    result: FloatArray = ndimage.correlate1d(layer, weights, axis=axis, mode="constant")
    return result


def _detail(ratio: FloatArray, known: BoolArray, parameters: ShiftParameters) -> FloatArray:
    """Ratio smoothed, less its surroundings."""
    filled = np.where(known, ratio, 0.0)
    smooth = []
    for sigma in (parameters.smoothing, parameters.background):
        share = ndimage.gaussian_filter(known.astype(np.float64), sigma)
        smooth.append(ndimage.gaussian_filter(filled, sigma) / np.maximum(share, 1e-3))
    return np.asarray(smooth[0] - smooth[1])


def _blocks(before: FloatArray, after: FloatArray, known: BoolArray, parameters: ShiftParameters) -> FloatArray:
    """Displacement of every block that can tell one (block, 2) [pixel]."""
    difference = after - before
    down, right = (np.asarray(np.gradient(0.5 * (before + after), axis=axis)) for axis in (0, 1))
    size, results = parameters.block, []
    for top in range(0, known.shape[0], size):
        for left in range(0, known.shape[1], size):
            part = slice(top, top + size), slice(left, left + size)
            inside = known[part]
            if inside.sum() < parameters.least_share * size**2:
                continue
            # Fields that ripened have edges the earlier date does not have: they say nothing of a displacement.
            if _likeness(before[part][inside], after[part][inside]) < parameters.least_likeness:
                continue
            gradient = np.stack([down[part][inside], right[part][inside]], axis=1)
            step = _solved(gradient, difference[part][inside], parameters)
            if step is not None:
                results.append(step)
    return np.array(results).reshape(-1, 2)


def _likeness(before: FloatArray, after: FloatArray) -> float:
    """Correlation of what both dates show."""
    one, two = before - before.mean(), after - after.mean()
    return float(one @ two / max(float(np.sqrt((one @ one) * (two @ two))), 1e-12))


def _solved(gradient: FloatArray, difference: FloatArray, parameters: ShiftParameters) -> FloatArray | None:
    """Least squares without the pixels that changed otherwise."""
    kept = np.ones(difference.size, dtype=bool)
    step: FloatArray = np.zeros(2)
    for _ in range(3):
        normal = gradient[kept].T @ gradient[kept] / max(int(kept.sum()), 1)
        if np.linalg.eigvalsh(normal)[0] < parameters.least_gradient**2:
            return None
        middle = float(np.median(difference[kept] + gradient[kept] @ step))
        pull = gradient[kept].T @ (difference[kept] - middle) / int(kept.sum())
        step = np.asarray(-np.linalg.solve(normal, pull), dtype=np.float64)
        residual = np.abs(difference + gradient @ step - middle)
        spread = 1.4826 * float(np.median(residual))
        kept = residual <= parameters.cut * max(spread, 1e-6)
    return step
