"""The change from one or two dates to another, fitted at the scale of the coarse images.

Everything is done on coarse pixels, few enough to be held at once: which mean of the fine images to start from, what
the coarse images say beyond it, how much of that the spectra explain, and how much of the rest is signal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray
from processors.imagery import coarse_change, coarse_lattice
from processors.imagery.coarse_lattice import Lattice

DISPLACEMENTS = ((-0.25, 0.0), (0.25, 0.0), (0.0, -0.25), (0.0, 0.25))
"""Displacements of the lattice that show what small shifts would do (rows, columns) [coarse pixel]."""

_FEWEST_CELLS = 36
_SHARPEST = 1e4
_UNLIKE = 0.3
_DESIGN_EFFECT = 4.0
_LEVEL_CAUTION = 2.0
_LEAST_BETWEEN = 1e-4


@dataclass(frozen=True)
class TransitionParameters:
    """Choices of the fit at coarse scale.

    Parameters
    ----------
    surface_waves : int
        Half waves of the smooth surface at most, per axis [1].
    gain_spread : float
        Spread of the logarithm of fine to coarse change known beforehand [1].
    weight_spread : float
        Spread of the weight of the second pair around the one of its date [1].
    band_spread : float
        Spread of the weight of the second pair between the bands at most [1].
    blurs : tuple of float
        Widths of the coarse point spread function tried [coarse pixel].
    smoothing : tuple of float
        Widths of the smoothers of the residual [coarse pixel].
    tail : float
        Degrees of freedom of the coarse residuals [1].
    """

    surface_waves: int = 4
    gain_spread: float = 0.15
    weight_spread: float = 0.2
    band_spread: float = 0.1
    blurs: tuple[float, ...] = (0.0, 0.35, 0.42, 0.5, 0.6, 0.75, 1.0)
    smoothing: tuple[float, ...] = (0.7, 1.8)
    tail: float = 4.0


class Averages(NamedTuple):
    """Means of the fine images and their features over the coarse pixels."""

    fine: FloatArray
    """Mean of every band (pair, band, coarse row, coarse column), NaN where not covered."""
    features: FloatArray
    """Mean features (feature, coarse row, coarse column)."""
    displaced: FloatArray
    """Means of the bands over displaced coarse pixels (displacement, pair, band, coarse row, coarse column)."""
    covered: BoolArray
    """Coarse pixels with enough usable fine pixels (coarse row, coarse column)."""


class Unexplained(NamedTuple):
    """Root mean square of the coarse change that is left, in the order of the parts of a prediction."""

    start: float
    """By the weighted mean of the images alone."""
    mean_change: float
    """With the mean change."""
    spectral_change: float
    """With the change by spectrum."""
    noise: float
    """By a perfect prediction."""


class BandModel(NamedTuple):
    """What one band's prediction is made of."""

    weights: FloatArray
    """Weight of every pair's fine image [1]."""
    weight_error: float
    """One-sigma error of the weight of the second pair [1]."""
    gain: float
    """Fine change per coarse change [1]."""
    gain_error: float
    """One-sigma error of its logarithm [1]."""
    level: float
    """Mean change."""
    effects: FloatArray
    """Change per feature."""
    covariance: FloatArray
    """Covariance of the effects."""
    scatter: float
    """Variance the effects leave beyond the noise, over the one they explain [1]."""
    field: FloatArray
    """Change that depends on place (coarse row, coarse column)."""
    field_variance: float
    """Mean square error of that change."""
    roughness: FloatArray
    """One-sigma size of that change at the scale of its neighbors (coarse row, coarse column)."""
    noise: float
    """One-sigma noise of the coarse change."""
    unexplained: Unexplained
    """What each part of the prediction leaves of the coarse change."""
    disagreement: float
    """One-sigma disagreement of fine and coarse images that may change between dates, apart from shifts and noise."""


class Transition(NamedTuple):
    """The change from some pairs to the target date."""

    center: FloatArray
    """Feature means over the coarse pixels (feature)."""
    bands: tuple[BandModel, ...]


def averages(sums: FloatArray, *, shape: tuple[int, int], lattice: Lattice, minimum_coverage: float) -> Averages:
    """Means over the coarse pixels from the sums of all blocks.

    Parameters
    ----------
    sums : FloatArray
        Sum of what `totals` gave, any unit.
    shape : tuple of int
        Number of pairs and bands [1].
    lattice : Lattice
        Coarse pixels.
    minimum_coverage : float
        Part of a coarse pixel that must be covered [1].

    Returns
    -------
    Averages
        Means of bands and features.
    """
    count = shape[0] * shape[1]
    plain, moved = np.split(sums, [len(sums) - len(DISPLACEMENTS) * (count + 1)])
    area = plain[-1]
    covered = area >= minimum_coverage * lattice.row_step * lattice.column_step
    mean = _divided(plain)
    displaced = np.stack([_divided(part).reshape(*shape, *area.shape) for part in np.split(moved, len(DISPLACEMENTS))])
    fine = mean[:count].reshape(*shape, *area.shape)
    displaced = np.where(np.isfinite(displaced), displaced, fine)
    return Averages(fine, mean[count:], displaced, np.asarray(covered))


def _divided(sums: FloatArray) -> FloatArray:
    """Means from sums and, as the last layer, the area."""
    return np.asarray(np.divide(sums[:-1], sums[-1], out=np.full_like(sums[:-1], np.nan), where=sums[-1] > 0))


def fit(
    mean: Averages,
    coarse: FloatArray,
    target: FloatArray,
    *,
    pairs: Sequence[int],
    parameters: TransitionParameters,
    date_weight: float | None = None,
) -> Transition:
    """Find the change from the fine images to the target date.

    Parameters
    ----------
    mean : Averages
        Fine images and features at coarse scale.
    coarse : FloatArray
        Coarse images (pair, band, coarse row, coarse column) of the pairs, NaN where missing, any unit.
    target : FloatArray
        Coarse image (band, coarse row, coarse column) of the target date, any unit.
    pairs : sequence of int
        Pairs to start from, the ones the features were made of.
    parameters : TransitionParameters
        Choices of the method.
    date_weight : float, optional
        Weight of the second pair in an interpolation in time [1].

    Returns
    -------
    Transition
        Weights and change of every band.
    """
    used = list(pairs)
    mean = _blurred(mean, coarse, used, parameters)
    mean = mean._replace(fine=mean.fine[used], displaced=mean.displaced[:, used])
    bands = range(target.shape[0])
    found = [_gain(mean.fine[:, n], coarse[used, n], mean.covered, parameters.gain_spread) for n in bands]
    gains = np.array([gain for gain, _ in found])
    scaled, wanted = coarse[used] * gains[:, None, None], target * gains[:, None, None]
    scaled = _completed(mean, scaled)
    weights, errors = _weights(mean, scaled, wanted, date_weight, parameters)
    center = np.array([layer[mean.covered].mean() if mean.covered.any() else 0.0 for layer in mean.features])
    centered = mean.features - center[:, None, None]
    models = [
        _fit_band(
            centered,
            _Band(mean.fine[:, n], mean.displaced[:, :, n], scaled[:, n], wanted[n], weights[:, n], mean.covered),
            len(used) * target.shape[0],
            parameters,
        )
        for n in bands
    ]
    known = [
        model._replace(gain=gain, gain_error=error, weight_error=float(doubt))
        for model, (gain, error), doubt in zip(models, found, errors, strict=True)
    ]
    return Transition(center, tuple(known))


def _completed(mean: Averages, coarse: FloatArray) -> FloatArray:
    """Gaps of one coarse image from the other one and the change of the fine images."""
    if len(coarse) == 1:
        return coarse
    filled = coarse.copy()
    change = np.where(mean.covered, mean.fine[1] - mean.fine[0], np.nan)
    filled[0] = np.where(np.isfinite(coarse[0]), coarse[0], coarse[1] - change)
    filled[1] = np.where(np.isfinite(coarse[1]), coarse[1], coarse[0] + change)
    return filled


class _Band(NamedTuple):
    """One band at coarse scale."""

    fine: FloatArray
    displaced: FloatArray
    coarse: FloatArray
    """Coarse images in fine units (pair, coarse row, coarse column)."""
    target: FloatArray
    """Coarse target in fine units (coarse row, coarse column)."""
    weights: FloatArray
    covered: BoolArray


def _fit_band(centered: FloatArray, band: _Band, values: int, parameters: TransitionParameters) -> BandModel:
    change = band.target - np.tensordot(band.weights, band.coarse, axes=1)
    valid = np.isfinite(change)
    nuisance = _displacements(band.fine, band.displaced, band.covered)
    noise = _noise(band, change, valid, nuisance)
    waves = _waves(change.shape, parameters.surface_waves)
    explained = np.where(band.covered, np.nan_to_num(centered), 0.0)
    size = len(centered)
    group = np.array([0] + [1] * values + [2] * (size - values) + [3] * len(waves) + [4] * len(nuisance))
    fitted = valid & band.covered
    rows = fitted if fitted.sum() >= 3 else valid
    layers = np.concatenate([explained, waves, nuisance])
    layers = np.concatenate([np.ones((1, *change.shape)), layers - layers[:, rows].mean(axis=1)[:, None, None]])
    if rows.sum() < _FEWEST_CELLS:
        layers[group > 2] = 0.0
    relation = coarse_change.relation(
        layers[:, rows].T, change[rows], group=group, optional=(1, 2), noise=noise.white, tail=parameters.tail
    )
    effects = relation.coefficients.copy()
    effects[group == 3] = 0.0
    left = np.where(valid, change - np.tensordot(effects, layers, axes=1), 0.0)
    rest = coarse_change.shrunken(left, valid, noise=noise.white, widths=parameters.smoothing)
    field = rest.values - rest.values[valid].mean()
    trust = _signal_share(field[valid], noise.structured)
    spectral = np.isin(group, (1, 2))
    explained = np.tensordot(effects[spectral], layers[spectral], axes=1)[rows]
    return BandModel(
        band.weights,
        0.0,
        1.0,
        0.0,
        _shrunken_level(
            float(relation.coefficients[0] + rest.values[valid].mean()),
            noise.white * math.sqrt(_LEVEL_CAUTION / rows.sum()),
        ),
        relation.coefficients[spectral],
        relation.covariance[np.ix_(spectral, spectral)],
        _scatter(explained, left[rows], noise.white),
        trust * field,
        rest.variance + (1.0 - trust) * float(np.square(field[valid]).mean()),
        _roughness(trust * field, valid),
        noise.white,
        Unexplained(
            _rms(change[rows]), float(change[rows].std()), float((change[rows] - explained).std()), noise.white
        ),
        noise.single,
    )


def _rms(values: FloatArray) -> float:
    return math.sqrt(float(np.square(values).mean()))


def _scatter(explained: FloatArray, left: FloatArray, noise: float) -> float:
    """Variance left beyond the noise and its own uncertainty over the explained one, at most one."""
    if left.size < _FEWEST_CELLS:
        return 1.0
    rest = max(float(left.var()) - noise**2, 0.0) + noise**2 * math.sqrt(8.0 / left.size)
    return min(rest / max(float(explained.var()), np.finfo(float).tiny), 1.0)


def _signal_share(field: FloatArray, noise: float) -> float:
    """Part of the variance of a field that noise of known size does not account for."""
    power = float(np.square(field).mean())
    return max(0.0, 1.0 - noise**2 / power) if power > 0.0 else 0.0


def _roughness(field: FloatArray, valid: BoolArray) -> FloatArray:
    """Local size of what a smooth version of a field does not have: where edges within coarse pixels are likely."""
    everywhere = np.ones_like(valid)
    rough = field - coarse_lattice.smoothed(field, everywhere, width=1.5)
    return np.sqrt(coarse_lattice.smoothed(rough**2, everywhere, width=0.7))


def _shrunken_level(level: float, error: float) -> float:
    """A mean change less what its own error may feign (James and Stein 1961, positive part)."""
    return level * max(0.0, 1.0 - (error / level) ** 2) if level else 0.0


def _displacements(fine: FloatArray, displaced: FloatArray, covered: BoolArray) -> FloatArray:
    """What small shifts of the coarse images or another point spread function would do: gradients and curvature."""
    up, down, left, right = displaced
    layers = np.concatenate([down - up, right - left, up + down + left + right - 4.0 * fine])
    layers = np.where(covered, np.nan_to_num(layers), 0.0)
    size = np.sqrt(np.square(layers).mean(axis=(1, 2), keepdims=True))
    return np.asarray(layers / np.maximum(size, np.finfo(float).tiny))


class _Noise(NamedTuple):
    """One-sigma noise of a coarse change."""

    white: float
    structured: float
    """Part that neighbors share."""
    single: float
    """Shared part in the disagreement of fine and coarse images of one date as far as it differs from date to date,
    all of it where few pixels tell."""


def _noise(band: _Band, change: FloatArray, valid: BoolArray, nuisance: FloatArray) -> _Noise:
    """Noise of the coarse change: disagreement of coarse and fine images, at most the white part of the change.

    Half of what neighbors share in the disagreement of one date is taken to be the same at every date.
    """
    usable = band.covered & np.isfinite(band.coarse).all(axis=0)
    errors = band.coarse - band.fine
    parts = np.array([_disagreement(error, usable, nuisance) for error in errors])
    white, shared = parts.mean(axis=0)
    structured = 0.5 * shared
    if len(errors) > 1:
        between = 0.5 * np.array(_disagreement(errors[1] - errors[0], usable, nuisance))
        white, structured = min(white, between[0]), between[1]
        shared = min(shared, structured)
    images = 1.0 + float(np.square(band.weights).sum())
    cap = coarse_change.white_noise(np.where(valid, change, 0.0), valid)
    told_apart = usable.sum() >= _FEWEST_CELLS
    single = math.sqrt((shared if told_apart else shared + white) + _offset(errors, usable, band.weights))
    return _Noise(float(min(np.sqrt(white * images), cap)), float(np.sqrt(structured * images)), single)


def _offset(errors: FloatArray, usable: BoolArray, weights: FloatArray) -> float:
    """Variance of a change of the mean disagreement, known from two dates."""
    if len(errors) < 2 or not usable.any():
        return 0.0
    mean = errors[:, usable].mean(axis=1)
    return 0.5 * float(mean[1] - mean[0]) ** 2 * (1.0 + float(np.square(weights).sum()))


def _disagreement(error: FloatArray, usable: BoolArray, nuisance: FloatArray) -> tuple[float, float]:
    """Variance of the white and of the shared part of an error image after small shifts are allowed for."""
    if usable.sum() < 2:
        return 0.0, 0.0
    if usable.sum() >= _FEWEST_CELLS:
        design = np.concatenate([np.ones((1, *error.shape)), nuisance])
        effects, *_ = np.linalg.lstsq(design[:, usable].T, error[usable], rcond=None)
        error = error - np.tensordot(effects, design, axes=1)
    white = coarse_change.white_noise(np.where(usable, error, 0.0), usable) ** 2
    return white, max(float(error[usable].var()) - white, 0.0)


def _gain(fine: FloatArray, coarse: FloatArray, covered: BoolArray, spread: float) -> tuple[float, float]:
    """Ratio of fine to coarse change from the spatial contrast, as far as the images agree; error of its logarithm."""
    logarithms, precisions = [0.0], [1.0 / spread**2]
    images = list(zip(fine, coarse, strict=True))
    if len(images) > 1:
        images.append((fine[1] - fine[0], coarse[1] - coarse[0]))
    for first, second in images:
        usable = covered & np.isfinite(second)
        x, y = second[usable], first[usable]
        if x.size < _FEWEST_CELLS or x.std() == 0 or y.std() == 0:
            continue
        likeness = float(np.corrcoef(x, y)[0, 1])
        if likeness < _UNLIKE:
            continue
        variance = (1.0 - likeness**2) / (x.size / 8.0) + np.log(likeness) ** 2
        logarithms.append(float(np.log(y.std() / x.std())))
        precisions.append(1.0 / (variance + spread**2 / 100.0) / len(images))
    gain = float(np.exp(np.clip(np.average(logarithms, weights=precisions), -0.7, 0.7)))
    return gain, 1.0 / math.sqrt(sum(precisions))


def _weights(
    mean: Averages,
    coarse: FloatArray,
    target: FloatArray,
    date_weight: float | None,
    parameters: TransitionParameters,
) -> tuple[FloatArray, FloatArray]:
    """Weight of every pair's fine image in every band (pair, band) and the error of the second's (band).

    How far the coarse target has gone from the first to the second fine image, seen at coarse scale: the fine images
    stand for the coarse ones of their dates, as their averages have less noise. Time is common to the bands: their
    weights differ only as far as their disagreement shows (random effects, DerSimonian and Laird 1986).
    """
    bands = target.shape[0]
    if len(coarse) == 1:
        return np.ones((1, bands)), np.zeros(bands)
    own = [_passage(mean, coarse[:, band], target[band], band, parameters) for band in range(bands)]
    raw, precision = np.array([item[0] for item in own]), np.minimum([item[1] for item in own], _SHARPEST)
    prior = 0.5 if date_weight is None else date_weight
    known = 1.0 / parameters.weight_spread**2
    apart = min(_between(raw, precision), parameters.band_spread**2)
    tie = 1.0 / apart
    share = precision / (1.0 + precision * apart)
    pooled = (float(share @ raw) + known * prior) / (float(share.sum()) + known)
    second = np.clip((precision * raw + tie * pooled) / (precision + tie), 0.0, 1.0)
    common = (tie / (precision + tie)) ** 2 / (float(share.sum()) + known)
    return np.stack([1.0 - second, second]), np.sqrt(1.0 / (precision + tie) + common)


def _between(values: FloatArray, precision: FloatArray) -> float:
    """Variance of what some values are estimates of, beyond their errors."""
    total = float(precision.sum())
    room = total - float(np.square(precision).sum()) / total if total > 0.0 else 0.0
    if room <= 1e-9 * total:
        return _LEAST_BETWEEN
    nominal = _DESIGN_EFFECT * float(precision @ np.square(values - float(precision @ values) / total))
    return max((nominal - (len(values) - 1)) / (_DESIGN_EFFECT * room), _LEAST_BETWEEN)


def _passage(
    mean: Averages, coarse: FloatArray, target: FloatArray, band: int, parameters: TransitionParameters
) -> tuple[float, float]:
    """Part of the way from the first to the second image that the target has gone, and its precision."""
    usable = mean.covered & np.isfinite(coarse).all(axis=0) & np.isfinite(target)
    count = int(usable.sum())
    if count < 2:
        return 0.5, 0.0
    whole = (mean.fine[1, band] - mean.fine[0, band])[usable]
    part = (target - coarse[0])[usable]
    design = whole[:, None]
    if count >= _FEWEST_CELLS:
        moved = _displacements(mean.fine[:, band], mean.displaced[:, :, band], mean.covered)[:, usable].T
        design = np.concatenate([design, moved - moved.mean(axis=0)], axis=1)
    seen = np.stack([part, (coarse[1] - coarse[0])[usable]], axis=1)
    effects, *_ = np.linalg.lstsq(design, seen, rcond=None)
    left = _DESIGN_EFFECT * float(np.square(part - design @ effects[:, 0]).mean())
    size = float(np.square(whole).sum())
    precision = size / max(left, size / _SHARPEST, np.finfo(float).tiny)
    certain = precision / (precision + 1.0 / parameters.gain_spread**2)
    scale = 1.0 + certain * float(np.clip(effects[0, 1] - 1.0, -0.5, 1.0))
    return float(effects[0, 0]) / scale, precision


def _blurred(mean: Averages, coarse: FloatArray, used: list[int], parameters: TransitionParameters) -> Averages:
    """Means seen through the coarse point spread function that makes fine and coarse images most alike."""
    best, chosen = -np.inf, mean
    if mean.covered.sum() < _FEWEST_CELLS:
        return mean
    for width in parameters.blurs:
        trial = _with_blur(mean, width)
        likeness = _likeness(trial, coarse, used)
        if likeness > best + 1e-4:
            best, chosen = likeness, trial
    return chosen


def _with_blur(mean: Averages, width: float) -> Averages:
    if width == 0.0:
        return mean
    shape = mean.fine.shape
    fine, displaced = (
        coarse_lattice.smoothed(layers.reshape(-1, *shape[2:]), mean.covered, width=width).reshape(layers.shape)
        for layers in (mean.fine, mean.displaced)
    )
    return Averages(fine, coarse_lattice.smoothed(mean.features, mean.covered, width=width), displaced, mean.covered)


def _likeness(mean: Averages, coarse: FloatArray, used: list[int]) -> float:
    scores = []
    for pair in used:
        for first, second in zip(mean.fine[pair], coarse[pair], strict=True):
            usable = mean.covered & np.isfinite(second)
            x, y = first[usable], second[usable]
            if x.size > 2 and x.std() > 0 and y.std() > 0:
                scores.append(float(np.corrcoef(x, y)[0, 1]))
    return float(np.mean(scores)) if scores else 0.0


def _waves(shape: tuple[int, int], most: int) -> FloatArray:
    """Cosines along both axes, the smooth surface."""
    rows, columns = shape
    down, across = ((np.arange(size) + 0.5) / size for size in shape)
    orders = [
        (i, j) for i in range(min(most, rows // 3) + 1) for j in range(min(most, columns // 3) + 1) if 0 < i + j <= most
    ]
    layers = [np.cos(np.pi * i * down)[:, None] * np.cos(np.pi * j * across) / (i + j) for i, j in orders]
    return np.array(layers).reshape(len(layers), rows, columns)
