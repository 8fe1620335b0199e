"""Statistics of a coarse change: which part follows from features, which part of the rest is signal and not noise."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

from processors.arrays import BoolArray, FloatArray, IntArray
from processors.imagery import coarse_lattice

_CAUTION = 3.0
_EVIDENCE_PER_GROUP = 3.0
_FEWEST_ROBUST = 30
_ITERATIONS = 60
_LEAST_EFFECTS = 4.0
_NEGLIGIBLE = 1e-3
_NOISE_WORTH = 4.0
_ROBUST_EVERY = 10
_SMALLEST = 1e-8
_TRIM = 0.99
_VAGUE = 1e6


class Relation(NamedTuple):
    """A linear relation with a random effect per feature."""

    coefficients: FloatArray
    """Effect of every feature."""
    covariance: FloatArray
    """Covariance of the effects."""
    deviation: float
    """Standard deviation of what the features leave."""


class Residual(NamedTuple):
    """A noisy layer with the noise taken out as far as it is known."""

    values: FloatArray
    """Estimate (row, column)."""
    variance: float
    """Estimated mean square error of the estimate."""


def relation(
    features: FloatArray, change: FloatArray, *, group: IntArray, optional: tuple[int, ...], noise: float, tail: float
) -> Relation:
    """Effects of features on a change, each group of features with a variance found by evidence.

    The variances of the groups maximize the marginal likelihood (MacKay 1992, fixed-point form); group 0 is not shrunk.
    All choices of the optional groups are averaged by their evidence, against which every group is at a disadvantage
    (Hoeting et al. 1999). Outliers count less, as under a Student distribution, where there are enough observations.

    Parameters
    ----------
    features : FloatArray
        Features (observation, feature) [1].
    change : FloatArray
        Observed change (observation), any unit.
    group : IntArray
        Group of every feature from 0, 0 for the constant.
    optional : tuple of int
        Groups that must prove themselves.
    noise : float
        One-sigma noise of the change known beforehand, worth four observations, any unit.
    tail : float
        Degrees of freedom of the Student distribution [1].

    Returns
    -------
    Relation
        Posterior mean and covariance of the effects over all choices.
    """
    always = set(np.unique(group).tolist()) - set(optional)
    trials, evidence = [], []
    for number in range(1 << len(optional)):
        chosen = {name for place, name in enumerate(optional) if number >> place & 1}
        kept = np.isin(group, sorted(always | chosen))
        trial, own = _fitted(features[:, kept], change, group[kept], noise, tail)
        trials.append(_embedded(trial, kept))
        evidence.append(own - _EVIDENCE_PER_GROUP * len(chosen))
    return _averaged(trials, np.array(evidence))


def _averaged(trials: Sequence[Relation], evidence: FloatArray) -> Relation:
    """Mean of relations by their probability; its covariance holds their differences too."""
    share = np.exp(evidence - evidence.max())
    share = np.where(share < _NEGLIGIBLE * share.sum(), 0.0, share)
    share /= share.sum()
    effects = np.stack([trial.coefficients for trial in trials])
    mean = share @ effects
    apart = effects - mean
    covariance = np.tensordot(share, np.stack([trial.covariance for trial in trials]), axes=1)
    deviation = math.sqrt(float(share @ np.square([trial.deviation for trial in trials])))
    return Relation(mean, covariance + (apart * share[:, None]).T @ apart, deviation)


def _embedded(part: Relation, kept: BoolArray) -> Relation:
    effects = np.zeros(kept.size)
    effects[kept] = part.coefficients
    covariance = np.zeros((kept.size, kept.size))
    covariance[np.ix_(kept, kept)] = part.covariance
    return Relation(effects, covariance, part.deviation)


def _fitted(
    features: FloatArray, change: FloatArray, group: IntArray, noise: float, tail: float
) -> tuple[Relation, float]:
    """Effects for given groups and the logarithm of their evidence without outlier weights."""
    scale = np.sqrt(float(np.square(change).mean()) + noise**2) or 1.0
    y = change / scale
    spread = max(float(y.var()), (noise / scale) ** 2, _SMALLEST)
    members = [np.flatnonzero(group == number) for number in np.unique(group) if number > 0]
    variance = np.where(group == 0, _VAGUE, spread)
    weight, left = np.ones(y.size), spread
    gram, cross = features.T @ features, features.T @ y
    for step in range(_ITERATIONS):
        covariance = linalg.inv(gram / left + np.diag(1.0 / variance), check_finite=False)
        effects = covariance @ cross / left
        residual = y - features @ effects
        known = 1.0 - np.diag(covariance) / variance
        for own in members:
            size = float(np.square(effects[own]).sum()) / max(float(known[own].sum()), _SMALLEST)
            variance[own] = max(size, _SMALLEST * spread)
        degrees = max(y.size - float(known.sum()), 0.0)
        left = (float((weight * residual**2).sum()) + _NOISE_WORTH * (noise / scale) ** 2) / (degrees + _NOISE_WORTH)
        left = max(left, _SMALLEST * spread)
        if y.size > _FEWEST_ROBUST and step % _ROBUST_EVERY == _ROBUST_EVERY - 1:
            weight = (tail + 1.0) / (tail + residual**2 / left)
            weighted = features * weight[:, None]
            gram, cross = weighted.T @ features, weighted.T @ y
    _, sign_log = np.linalg.slogdet(covariance)
    evidence = 0.5 * sign_log - 0.5 * float(np.log(variance).sum() + np.square(effects) @ (1.0 / variance))
    robust = y.size > _FEWEST_ROBUST
    evidence -= float(_misfit(residual**2 / left, tail if robust else np.inf).sum()) + 0.5 * y.size * np.log(left)
    evidence -= 0.5 * _NOISE_WORTH * (np.log(left) + (noise / scale) ** 2 / left)
    return Relation(effects * scale, covariance * scale**2, float(np.sqrt(left) * scale)), float(evidence)


def _misfit(squares: FloatArray, tail: float) -> FloatArray:
    """Negative logarithm of the Student or, without a tail, the normal density, less a constant."""
    if np.isinf(tail):
        return 0.5 * squares
    return np.asarray(0.5 * (tail + 1.0) * np.log1p(squares / tail))


def shrunken(
    residual: FloatArray, valid: BoolArray, *, noise: float, widths: tuple[float, ...], threshold: float = 3.0
) -> Residual:
    """Estimate of a layer from its noisy observation: a mixture of linear and thresholding estimators.

    The weights, none negative, minimize Stein's unbiased estimate of the risk for white noise of known size (Stein
    1981, Blu and Luisier 2007); pure noise gives nearly zero, a layer without noise is kept.

    Parameters
    ----------
    residual : FloatArray
        Observed layer (row, column), any unit.
    valid : BoolArray
        Pixels that were observed (row, column).
    noise : float
        One-sigma noise, any unit.
    widths : tuple of float
        Standard deviations of the Gaussian smoothers [pixel].
    threshold : float
        Where the threshold lies [noise].

    Returns
    -------
    Residual
        Estimate, smooth where nothing was observed, and its mean square error.
    """
    count = int(valid.sum())
    observed = residual[valid]
    power = float(observed @ observed) / max(count, 1)
    if count < 2 or power == 0.0:
        return Residual(np.zeros_like(residual), power)
    noise = noise * math.sqrt(1.0 + _CAUTION * math.sqrt(2.0 / count))
    members = [np.where(valid, residual, 0.0)]
    traces = [float(count)]
    for width in widths:
        members.append(coarse_lattice.smoothed(residual[None], valid, width=width)[0])
        traces.append(_smoother_trace(valid, width))
    if noise > 0.0:
        kept, slope = _thresholded(observed, threshold * noise)
        layer = np.zeros_like(residual)
        layer[valid] = kept
        members.append(layer)
        traces.append(float(slope.sum()))
    design = np.stack([layer[valid] for layer in members])
    gram = design @ design.T + 1e-6 * power * count * np.eye(len(members))
    gain = design @ observed - noise**2 * np.array(traces)
    weights = _nonnegative(gram, gain)
    estimate = np.tensordot(weights, np.stack(members), axes=1)
    mean_square = float(np.square(estimate[valid] - observed).mean())
    risk = mean_square + noise**2 * (2.0 * float(weights @ np.array(traces)) / count - 1.0)
    return Residual(estimate, float(np.clip(risk, min(_LEAST_EFFECTS * noise**2 / count, power), power)))


def white_noise(layer: FloatArray, valid: BoolArray) -> float:
    """Standard deviation of the part of a layer that its neighbors do not share.

    Parameters
    ----------
    layer : FloatArray
        Values (row, column), any unit.
    valid : BoolArray
        Pixels that count (row, column).

    Returns
    -------
    float
        From second differences, which see no plane, without the largest; from the spread where there are too few.
    """
    differences = np.concatenate([_second_differences(layer, valid), _second_differences(layer.T, valid.T)])
    if differences.size >= 12:
        return _trimmed_deviation(differences) / math.sqrt(1.5)
    values = layer[valid]
    return float(values.std(ddof=1)) if values.size > 1 else 0.0


def _trimmed_deviation(values: FloatArray) -> float:
    """Standard deviation of a zero-mean sample without its few largest members."""
    squares = np.square(values)
    return float(np.sqrt(squares[squares <= np.quantile(squares, _TRIM)].mean()))


def _second_differences(layer: FloatArray, valid: BoolArray) -> FloatArray:
    """Values minus the mean of the two neighbors in a column; 1.5 times the variance of white noise."""
    usable = valid[1:-1] & valid[:-2] & valid[2:]
    return np.asarray((layer[1:-1] - 0.5 * (layer[:-2] + layer[2:]))[usable])


def _smoother_trace(valid: BoolArray, width: float) -> float:
    """Sum of the weights every valid pixel has in its own smoothed value."""
    impulse = np.zeros((41, 41))
    impulse[20, 20] = 1.0
    own = coarse_lattice.smoothed(impulse[None], np.ones((41, 41), dtype=bool), width=width)[0, 20, 20]
    reach = coarse_lattice.weight_of(valid, width=width)
    return float((own / np.maximum(reach[valid], own)).sum())


def _thresholded(values: FloatArray, limit: float) -> tuple[FloatArray, FloatArray]:
    """Large values kept, small ones removed, smoothly; and the derivative."""
    part = (values / limit) ** 4
    damp = np.exp(-part)
    return values * (1.0 - damp), 1.0 - damp + 4.0 * part * damp


def _nonnegative(gram: FloatArray, gain: FloatArray) -> FloatArray:
    """Minimum of w' G w - 2 w' g over weights that are not negative."""
    root = linalg.cholesky(gram, lower=True)
    weights, _ = optimize.nnls(root.T, linalg.solve_triangular(root, gain, lower=True))
    return np.asarray(weights)
