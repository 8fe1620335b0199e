"""Whether values fall into two classes: two Gaussians of one feature, and how far they stand apart."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_BINS = 96
_ROUNDS = 60
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class BimodalityParameters:
    """When two classes are believed.

    Parameters
    ----------
    ashman : float
        Least separation D, Ashman, Bird and Zepf 1994, equation 4 [1].
    bhattacharyya : float
        Least Bhattacharyya distance [1].
    minority : float
        Least share of the smaller class [1].
    contrast : float
        Least distance of the means, in the unit of the values.
    pixels : int
        Least number of values [1].
    narrowest : float
        Least standard deviation of a class, in the unit of the values.
    """

    ashman: float = 2.0
    bhattacharyya: float = 0.5
    minority: float = 0.1
    contrast: float = 3.0
    pixels: int = 500
    narrowest: float = 0.3


class Split(NamedTuple):
    """Two classes of one feature, the lower first.

    Attributes
    ----------
    lower, upper : tuple of float
        Mean and standard deviation of each class.
    share : float
        Share of the lower class [1].
    threshold : float
        Value at which the classes are equally probable.
    ashman : float
        Separation D [1].
    bhattacharyya : float
        Bhattacharyya distance [1].
    """

    lower: tuple[float, float]
    upper: tuple[float, float]
    share: float
    threshold: float
    ashman: float
    bhattacharyya: float


def split(values: npt.NDArray[np.floating], *, parameters: BimodalityParameters) -> Split | None:
    """Two Gaussians by expectation and maximization on the histogram.

    Parameters
    ----------
    values : array
        Values of any shape, NaN left out.
    parameters : BimodalityParameters
        Least number of values and least width.

    Returns
    -------
    Split or None
        None where there are too few values or all are the same.
    """
    known = np.asarray(values, dtype=np.float64)[np.isfinite(values)]
    if known.size < parameters.pixels:
        return None
    low, high = np.percentile(known, [0.1, 99.9])
    if high - low < parameters.narrowest:
        return None
    counts, edges = np.histogram(known.clip(low, high), bins=_BINS)
    centers = 0.5 * (edges[1:] + edges[:-1])
    weight = counts / counts.sum()
    level = _otsu(weight, centers)
    mean = np.array([_mean(weight, centers, centers <= level), _mean(weight, centers, centers > level)])
    spread = np.full(2, max((mean[1] - mean[0]) / 3.0, parameters.narrowest))
    share = np.array([weight[centers <= level].sum(), weight[centers > level].sum()])
    for _ in range(_ROUNDS):
        joint = share[:, None] * _gauss(centers, mean, spread)
        part = weight * joint / np.maximum(joint.sum(axis=0), _TINY)
        share = np.maximum(part.sum(axis=1), _TINY)
        mean = part @ centers / share
        spread = np.sqrt((part * (centers - mean[:, None]) ** 2).sum(axis=1) / share).clip(parameters.narrowest)
    order = np.argsort(mean)
    return _told(mean[order], spread[order], share[order])


def believable(found: Split, *, parameters: BimodalityParameters) -> bool:
    """Whether two classes are there.

    Parameters
    ----------
    found : Split
        Two Gaussians.
    parameters : BimodalityParameters
        Limits.

    Returns
    -------
    bool
        True where separation, distance, smaller share and contrast all reach their limits.
    """
    return bool(
        found.ashman > parameters.ashman
        and found.bhattacharyya > parameters.bhattacharyya
        and min(found.share, 1.0 - found.share) >= parameters.minority
        and found.upper[0] - found.lower[0] >= parameters.contrast
    )


def _mean(weight: npt.NDArray[np.float64], centers: npt.NDArray[np.float64], part: npt.NDArray[np.bool_]) -> float:
    return float((weight[part] * centers[part]).sum() / max(weight[part].sum(), _TINY))


def _otsu(weight: npt.NDArray[np.float64], centers: npt.NDArray[np.float64]) -> float:
    """Level with the greatest variance between classes, Otsu 1979, equation 18."""
    below = np.cumsum(weight)
    moment = np.cumsum(weight * centers)
    between = (moment[-1] * below - moment) ** 2 / np.maximum(below * (1.0 - below), _TINY)
    return float(centers[int(np.argmax(between[:-1]))])


def _gauss(
    values: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    apart = (values[None, :] - mean[:, None]) / spread[:, None]
    return np.asarray(np.exp(-0.5 * apart**2) / (np.sqrt(2.0 * np.pi) * spread[:, None]))


def _told(mean: npt.NDArray[np.float64], spread: npt.NDArray[np.float64], share: npt.NDArray[np.float64]) -> Split:
    variance = spread**2
    apart = mean[1] - mean[0]
    ashman = np.sqrt(2.0) * apart / np.sqrt(variance.sum())
    distance = 0.25 * apart**2 / variance.sum() + 0.5 * np.log(variance.sum() / (2.0 * spread.prod()))
    levels = np.linspace(mean[0], mean[1], 512)
    joint = share[:, None] * _gauss(levels, mean, spread)
    threshold = levels[int(np.argmax(joint[1] >= joint[0]))]
    lower, upper = ((float(m), float(s)) for m, s in zip(mean, spread, strict=True))
    return Split(lower, upper, float(share[0] / share.sum()), float(threshold), float(ashman), float(distance))
