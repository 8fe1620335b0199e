"""Change between two dates from all bands at once: iteratively reweighted multivariate alteration detection (IR-MAD).

Canonical correlation finds the combinations of bands that agree best between the dates; their differences, the MAD
variates, do not depend on gain and offset of either date, so haze, sun and season that act on the whole scene alike
make no change. Pixels that look unchanged get more weight in the next turn (Nielsen 2007, The regularized iteratively
reweighted MAD method for change detection in multi- and hyperspectral data, IEEE TIP 16).

The sum of squared standardized variates follows a chi-square distribution where nothing changed. Real scenes have
heavier tails, so the distribution of the unchanged is fitted to the scene itself (the empirical null of Efron 2004),
on the cube root, which is close to normal (Wilson and Hilferty 1931); what exceeds it is the probability of change.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg, ndimage, stats

from processors.quality import BadInputError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

UNCHANGED, CHANGED, NO_DATA = 0, 1, 255


@dataclass(frozen=True, kw_only=True)
class ChangeParameters:
    """Choices of the detection.

    Parameters
    ----------
    iterations : int
        Largest number of turns [1].
    tolerance : float
        Largest change of a canonical correlation that ends the turns [1].
    ridge : float
        Added to the diagonal of the covariances, relative to their mean [1].
    minimum_pixels : int
        Pixels with data on both dates without which nothing is said [1].
    most_changed : float
        Share of the scene that may have changed for the rest to tell what unchanged looks like [1].
    smoothing : float
        Width of the neighborhood over which evidence is averaged, a Gaussian standard deviation [pixel].
    probability : float
        Least probability of class changed [1].
    minimum_mapping_unit : int
        Smallest group of changed pixels that is kept [1].
    bins : int
        Classes of the distribution that is fitted [1].
    """

    iterations: int = 30
    tolerance: float = 1e-3
    ridge: float = 1e-6
    minimum_pixels: int = 500
    most_changed: float = 0.5
    smoothing: float = 0.8
    probability: float = 0.5
    minimum_mapping_unit: int = 4
    bins: int = 256


class Alteration(NamedTuple):
    """How bands become MAD variates.

    Attributes
    ----------
    before_mean : FloatArray
        Mean of the bands of the first date (band).
    after_mean : FloatArray
        Mean of the bands of the second date (band).
    before_weights : FloatArray
        Combinations of the first date (band, variate).
    after_weights : FloatArray
        Combinations of the second date (band, variate).
    correlation : FloatArray
        Canonical correlations of the unchanged, increasing (variate) [1].
    iterations : int
        Turns it took [1].
    """

    before_mean: FloatArray
    after_mean: FloatArray
    before_weights: FloatArray
    after_weights: FloatArray
    correlation: FloatArray
    iterations: int


class Unchanged(NamedTuple):
    """What the unchanged pixels of a scene look like, and the probability of change by the size of a change.

    Attributes
    ----------
    center : float
        Most frequent cube root of the scaled chi-square [1].
    width : float
        Its standard deviation among the unchanged [1].
    share : float
        Share of the scene that is unchanged [1].
    edges : FloatArray
        Cube roots at which the log-odds are given (bins), increasing [1].
    log_odds : FloatArray
        Log-odds of change there (bins), not decreasing [1].
    """

    center: float
    width: float
    share: float
    edges: FloatArray
    log_odds: FloatArray


def fit(before: FloatArray, after: FloatArray, *, parameters: ChangeParameters | None = None) -> Alteration:
    """Combinations of bands whose differences tell change.

    Parameters
    ----------
    before : FloatArray
        Bands of the first date (pixel, band), finite, any unit [1].
    after : FloatArray
        Bands of the second date (pixel, band), finite, any unit [1].
    parameters : ChangeParameters, optional
        Choices.

    Returns
    -------
    Alteration
        The combinations.

    Raises
    ------
    BadInputError
        `too_few_pixels`; `band_constant` where a band of a date has one value only.
    """
    chosen = parameters or ChangeParameters()
    if before.shape != after.shape:
        raise ValueError(f"bands of shape {before.shape} and {after.shape}")
    if before.shape[0] < chosen.minimum_pixels:
        raise BadInputError(
            "too_few_pixels", f"{before.shape[0]} pixels have data on both dates, {chosen.minimum_pixels} are needed"
        )
    if (np.ptp(before, axis=0) == 0).any() or (np.ptp(after, axis=0) == 0).any():
        raise BadInputError("band_constant", "a band has the same value everywhere: it tells nothing of change")
    weights = np.ones(before.shape[0])
    found = _correlated(before, after, weights, chosen.ridge)
    for turn in range(1, chosen.iterations + 1):
        weights = stats.chi2.sf(chi_square(before, after, found), df=before.shape[1])
        last, found = found, _correlated(before, after, np.maximum(weights, 1e-9), chosen.ridge)
        found = found._replace(iterations=turn)
        if np.abs(found.correlation - last.correlation).max() < chosen.tolerance:
            break
    return found


def _correlated(before: FloatArray, after: FloatArray, weights: FloatArray, ridge: float) -> Alteration:
    """Weighted canonical correlation analysis."""
    share = weights / weights.sum()
    means = share @ before, share @ after
    first, second = before - means[0], after - means[1]
    own, other = (_regular((share[:, None] * part).T @ part, ridge) for part in (first, second))
    cross = (share[:, None] * first).T @ second
    squared, combinations = linalg.eigh(cross @ linalg.solve(other, cross.T, assume_a="pos"), own)
    correlation = np.sqrt(np.clip(squared, 1e-12, 1.0 - 1e-9))
    opposite = linalg.solve(other, cross.T @ combinations, assume_a="pos") / correlation
    # eigh normalizes to unit variance in the first date; the second has it by construction.
    return Alteration(means[0], means[1], combinations, opposite, correlation, 0)


def _regular(covariance: FloatArray, ridge: float) -> FloatArray:
    size = covariance.shape[0]
    regular: FloatArray = covariance + ridge * np.trace(covariance) / size * np.eye(size)
    return regular


def chi_square(before: FloatArray, after: FloatArray, alteration: Alteration) -> FloatArray:
    """Sum of the squared standardized MAD variates.

    Parameters
    ----------
    before : FloatArray
        Bands of the first date (pixel, band), any unit [1].
    after : FloatArray
        Bands of the second date (pixel, band), any unit [1].
    alteration : Alteration
        The combinations.

    Returns
    -------
    FloatArray
        Size of the change (pixel) [1], chi-square of as many degrees of freedom as bands where nothing changed.
    """
    variates = (before - alteration.before_mean) @ alteration.before_weights
    variates = variates - (after - alteration.after_mean) @ alteration.after_weights
    squares: FloatArray = (variates**2 / (2.0 * (1.0 - alteration.correlation))).sum(axis=1)
    return squares


def unchanged(sizes: FloatArray, *, bands: int, parameters: ChangeParameters | None = None) -> Unchanged:
    """Distribution of the unchanged pixels, and the log-odds of change beyond it.

    Parameters
    ----------
    sizes : FloatArray
        Chi-square of a sample of the scene (pixel) [1].
    bands : int
        Degrees of freedom [1].
    parameters : ChangeParameters, optional
        Choices.

    Returns
    -------
    Unchanged
        The distribution; a scene without change has a share near one and log-odds that stay below zero.
    """
    chosen = parameters or ChangeParameters()
    roots = cube_root(sizes, bands=bands)
    center, width = _null(roots, chosen)
    edges = np.linspace(max(center - 4 * width, 0.0), max(float(roots.max()), center + 4 * width), chosen.bins + 1)
    counts, _ = np.histogram(roots, bins=edges)
    middle = (edges[1:] + edges[:-1]) / 2
    density = ndimage.gaussian_filter1d(counts.astype(np.float64), 1.5) / (roots.size * np.diff(edges))
    null = stats.norm.pdf(middle, center, width)
    below = (roots < center).mean() * 2
    share = float(np.clip(below, 1.0 - chosen.most_changed, 1.0))
    floor = 0.5 / (roots.size * np.diff(edges))
    excess = np.maximum(density - share * null, floor * 0.1)
    log_odds = np.log(excess) - np.log(np.maximum(share * null, 1e-300))
    # A change can only speak the louder the larger it is, and below the most frequent size there is none.
    log_odds[middle <= center] = log_odds[middle <= center].min()
    rising = np.maximum.accumulate(np.clip(log_odds, -12.0, 12.0))
    return Unchanged(center, width, share, middle, rising)


def cube_root(sizes: FloatArray, *, bands: int) -> FloatArray:
    """Cube root of the chi-square over its degrees of freedom, close to normal (Wilson and Hilferty 1931).

    Parameters
    ----------
    sizes : FloatArray
        Chi-square, any shape [1].
    bands : int
        Degrees of freedom [1].

    Returns
    -------
    FloatArray
        Cube roots, same shape [1].
    """
    return np.cbrt(sizes / bands)


def _null(roots: FloatArray, parameters: ChangeParameters) -> tuple[float, float]:
    """Most frequent value and spread of the unchanged, from the side where no change can be."""
    top = np.quantile(roots, 0.995)
    counts, edges = np.histogram(roots[roots <= top], bins=parameters.bins)
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), parameters.bins / 40)
    center = float((edges[:-1] + np.diff(edges) / 2)[int(smooth.argmax())])
    left = roots[roots <= center]
    width = float(np.sqrt(np.mean((left - center) ** 2))) if left.size else 0.0
    return center, max(width, 1e-6)


class Change(NamedTuple):
    """Class and probability of change.

    Attributes
    ----------
    changed : numpy.ndarray
        0 unchanged, 1 changed, 255 without data (y, x), unsigned 8 bit.
    probability : Float32Array
        Probability of change (y, x) [1], NaN without data.
    """

    changed: npt.NDArray[np.uint8]
    probability: Float32Array


REACH = 24
"""Neighbors a tile needs on every side for the same result as the whole [pixel]."""


def classify(
    before: Float32Array,
    after: Float32Array,
    *,
    alteration: Alteration,
    null: Unchanged,
    parameters: ChangeParameters | None = None,
) -> Change:
    """Change of every pixel of an image or a tile of it.

    Groups below the mapping unit are dropped; a tile with `REACH` neighbors gives what the whole image gives.

    Parameters
    ----------
    before : Float32Array
        Bands of the first date (band, y, x), NaN without data.
    after : Float32Array
        Bands of the second date (band, y, x), NaN without data.
    alteration : Alteration
        Combinations of the bands.
    null : Unchanged
        What unchanged looks like.
    parameters : ChangeParameters, optional
        Choices.

    Returns
    -------
    Change
        Class and probability.
    """
    chosen = parameters or ChangeParameters()
    known = np.asarray(np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0))
    odds = np.zeros(known.shape)
    first, second = (np.moveaxis(part, 0, -1)[known].astype(np.float64) for part in (before, after))
    roots = cube_root(chi_square(first, second, alteration), bands=before.shape[0])
    odds[known] = np.interp(roots, null.edges, null.log_odds)
    probability = 1.0 / (1.0 + np.exp(-_neighborly(odds, known, chosen.smoothing)))
    changed = _large(known & (probability >= chosen.probability), chosen.minimum_mapping_unit)
    # What is too small to be mapped is not thereby sure to be unchanged: it keeps even odds at most.
    probability = np.where(changed, probability, np.minimum(probability, np.nextafter(chosen.probability, 0.0)))
    classes = np.where(known, changed.astype(np.uint8), np.uint8(NO_DATA))
    return Change(classes.astype(np.uint8), np.where(known, probability, np.nan).astype(np.float32))


def _neighborly(odds: FloatArray, known: npt.NDArray[np.bool_], width: float) -> FloatArray:
    """Evidence averaged with that of the neighbors that have some."""
    if width <= 0:
        return odds
    weight = ndimage.gaussian_filter(known.astype(np.float64), width, truncate=3.0, mode="constant")
    summed = ndimage.gaussian_filter(np.where(known, odds, 0.0), width, truncate=3.0, mode="constant")
    mean: FloatArray = np.divide(summed, weight, out=np.zeros_like(summed), where=weight > 0)
    return mean


def _large(changed: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    labels, count = ndimage.label(changed, structure=np.ones((3, 3)))
    if count == 0:
        return changed
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: npt.NDArray[np.bool_] = (sizes >= least)[labels]
    return kept
