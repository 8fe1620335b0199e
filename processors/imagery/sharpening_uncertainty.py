"""The standard deviation of sharpened bands, calibrated on the errors of the trial.

The variance is a sum of what can cause an error: the detail of the panchromatic image, the detail injected, how far the
gain strays from that of the whole scene (the spread of the methods), the detail of the band itself, and how much the
sharpened band, seen coarsely, differs from the given one.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize

from processors.arrays import BoolArray, FloatArray
from processors.imagery import _sharpening_kernels as kernels
from processors.imagery import sharpening_grid, sharpening_planes, sharpening_trial
from processors.imagery.sharpening_planes import SIGMA_PARTS, Coarse, Recipe
from processors.imagery.sharpening_trial import Parts

Plane = npt.NDArray[np.float32]


def calibrated(
    trial: Sequence[Parts],
    images: Sequence[Plane],
    below: Recipe,
    *,
    full: Sequence[Coarse],
    above: Recipe,
    exponent: float,
    scale_change: float,
) -> tuple[Plane, tuple[float, float]]:
    """Coefficients of the variance from the errors of a trial, and the coverage they give there.

    What a cause adds on average is carried over to the full scale by how much less detail the panchromatic image has
    there, not by the cause itself, whose level depends on the scale in its own way.

    Parameters
    ----------
    trial : Sequence[Parts]
        Degraded samples.
    images : Sequence[array]
        Predicted bands of each (band, y, x), NaN where not usable.
    below : Recipe
        Numbers used in the trial.
    full : Sequence[Coarse]
        Planes of the samples at the full scale.
    above : Recipe
        Numbers used at the full scale.
    exponent : float
        How the variance of the error follows that of the panchromatic detail [1].
    scale_change : float
        Standard deviation at the full scale over that of the trial, the detail being the same [1].

    Returns
    -------
    tuple
        Coefficients (band, cause), and the parts of the trial's truth inside one and two standard deviations [1].
    """
    causes, errors = [], []
    for parts, image in zip(trial, images, strict=True):
        causes.append(_fine_causes(parts, below))
        errors.append((image - parts.truth)[:, parts.usable].astype(np.float64))
    cause, error = np.concatenate(causes, axis=2), np.concatenate(errors, axis=1)
    means = [_mean_causes([parts.coarse for parts in trial], below), _mean_causes(full, above)]
    theta = np.zeros((below.bands, SIGMA_PARTS), dtype=np.float32)
    inside = np.zeros(2)
    for band in range(below.bands):
        model = _variance_model(cause[band], error[band])
        ratio = np.abs(error[band]) / np.sqrt(model @ cause[band] + sharpening_trial.TINY)
        inside += np.mean(ratio <= 1.0), np.mean(ratio <= 2.0)
        carried = _carried(model, means[0][band], means[1][band], exponent)
        theta[band] = carried * scale_change**2
    return theta, (float(inside[0] / below.bands), float(inside[1] / below.bands))


def _carried(model: FloatArray, low: FloatArray, high: FloatArray, exponent: float) -> FloatArray:
    """Coefficients for the full scale; what rested on a cause that is not there any more is spread evenly."""
    tiny = sharpening_trial.TINY
    change = (max(high[1], tiny) / max(low[1], tiny)) ** exponent
    there = high > tiny
    result = np.where(there, model * low * change / np.where(there, high, 1.0), 0.0)
    result[0] += float(np.sum((model * low)[~there])) * change
    return result


def _mean_causes(planes: Sequence[Coarse], recipe: Recipe) -> FloatArray:
    """Mean of each cause over the pixels that are there (band, cause)."""
    halo = sharpening_grid.HALO
    result = np.zeros((recipe.bands, SIGMA_PARTS))
    count = 0
    for coarse in planes:
        inner = (slice(halo, -halo), slice(halo, -halo))
        missing: BoolArray = np.any(coarse.missing, axis=0)
        seen = ~missing[inner]
        count += int(np.count_nonzero(seen))
        for band, causes in enumerate(_causes(coarse, recipe)):
            result[band] += [float(np.sum(cause[inner][seen], dtype=np.float64)) for cause in causes]
    return result / max(count, 1)


def _causes(coarse: Coarse, recipe: Recipe) -> list[list[Plane]]:
    """Causes of the variance of each band, in the order of `_sharpening_kernels.deviation`."""
    mixed = sharpening_planes.mix(coarse, recipe, sigma=False)
    v = coarse.variance
    result = []
    for band in range(recipe.bands):
        gain = mixed.gain[band]
        active, residual = sharpening_planes.sigma_parts(coarse, band, mixed.additive[band], gain)
        spread = gain - np.float32(recipe.prior[band])
        result.append([np.ones_like(v), v, gain**2 * v, spread**2 * v, active, residual])
    return result


def _fine_causes(parts: Parts, recipe: Recipe) -> FloatArray:
    """The same at the pixels of a trial that count (band, cause, pixel)."""
    halo = sharpening_grid.HALO
    rows, columns = (
        sharpening_grid.interpolation(
            parts.geometry,
            axis,
            parts.geometry.whole_pan[axis],
            sharpening_grid.Span(-halo, parts.geometry.ms_shape[axis] + halo),
        )
        for axis in (0, 1)
    )
    result = np.empty((recipe.bands, SIGMA_PARTS, np.count_nonzero(parts.usable)))
    for band, causes in enumerate(_causes(parts.coarse, recipe)):
        for index, plane in enumerate(causes):
            fine = kernels.upsample(plane, rows.start, rows.linear, columns.start, columns.linear)
            result[band, index] = fine[parts.usable]
    return result


def _variance_model(causes: FloatArray, errors: FloatArray, *, rounds: int = 5, most: int = 40000) -> FloatArray:
    """Variance as a sum of its causes, none negative, scaled so that one and two deviations hold what they should."""
    step = max(1, errors.size // most)
    cause, square = causes[:, ::step], errors[::step] ** 2
    scale = np.maximum(cause.mean(axis=1), sharpening_trial.TINY)
    unit = cause / scale[:, None]
    floor = 1e-3 * max(float(square.mean()), sharpening_trial.TINY)
    estimate = np.full(square.size, max(float(square.mean()), floor))
    theta = np.zeros(scale.size)
    for _ in range(rounds):
        matrix = (unit / estimate).T
        root: FloatArray = np.linalg.qr(np.column_stack([matrix, square / estimate])).R
        theta, _ = optimize.nnls(root[:, :-1], root[:, -1])
        estimate = np.maximum(theta @ unit, floor)
    theta[0] += floor / scale[0]
    ratio = np.abs(errors[::step]) / np.sqrt(theta @ unit)
    one, two = np.quantile(ratio, [0.6827, 0.9545])
    factor = math.sqrt(max(one * two / 2.0, 1e-6))
    result: FloatArray = theta / scale * factor**2
    return result
