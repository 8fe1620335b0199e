"""One image from many looks: geometric median, medoid or best pixel, with spread, provenance and uncertainty.

Five looks and more give the geometric median (Roberts et al. 2017), which keeps the relation of the bands and stands
less than half of its looks spoiled; three and four give the medoid (Flood 2013), a look that was really seen; fewer
give the best look by date, distance to clouds, sun and haze (Griffiths et al. 2013). Too few looks are flagged as
insufficient, none leave no data: both are results, not errors.

Every pixel stands for itself but for the distance to the nearest unseen pixel: a block needs a halo of
`CompositingParameters.cloud_reach` pixels to give the same result whatever the split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import FloatArray
from processors.imagery import _compositing_kernels as kernels
from processors.imagery import qa

SingleArray: TypeAlias = npt.NDArray[np.float32]


class Method(IntEnum):
    """How the value of a pixel was made."""

    NONE = 0
    GEOMEDIAN = kernels.GEOMEDIAN
    MEDOID = kernels.MEDOID
    BEST = kernels.BEST


METHODS = {"auto": 0, "geomedian": kernels.GEOMEDIAN, "medoid": kernels.MEDOID, "best": kernels.BEST}
"""Names of the methods; `auto` takes what the number of looks allows."""

DEVIATIONS = ("euclidean_mad", "spectral_mad", "bray_curtis_mad")
"""Names of the deviations in their order."""


@dataclass(frozen=True)
class CompositingParameters:
    """Choices of the compositing.

    Parameters
    ----------
    geomedian_looks : int
        Looks from which the geometric median is taken [1].
    medoid_looks : int
        Looks from which the medoid is taken [1].
    sufficient_looks : int
        Looks below which a pixel is flagged as insufficient [1].
    tolerance : float
        Step of the geometric median at which its iteration ends [1].
    iterations : int
        Steps of the geometric median at most [1].
    cloud_reach : int
        Distance to unseen pixels beyond which a look counts as undisturbed [pixel].
    date_scale : float
        Standard deviation of the score around the target date [d].
    haze_level : float
        Haze (blue minus half of red) at which the score has fallen to one half [1].
    haze_width : float
        Change of haze over which it falls [1].
    elevation_scale : float
        Sun elevation at which the score has reached one half [degree].
    date_weight, cloud_weight, haze_weight, elevation_weight : float
        Weights of the terms of the score [1].
    noise_sigma : float
        Noise of a look [1].
    repeatability_sigma : float
        Relative calibration differences from look to look [1].
    change_sigma : float
        Spread of looks to be expected before any is seen [1].
    change_looks : float
        Looks that this expectation counts for [1].
    """

    geomedian_looks: int = 5
    medoid_looks: int = 3
    sufficient_looks: int = 3
    tolerance: float = 1e-5
    iterations: int = 50
    cloud_reach: int = 32
    date_scale: float = 45.0
    haze_level: float = 0.06
    haze_width: float = 0.015
    elevation_scale: float = 30.0
    date_weight: float = 1.0
    cloud_weight: float = 1.0
    haze_weight: float = 0.5
    elevation_weight: float = 0.5
    noise_sigma: float = 0.002
    repeatability_sigma: float = 0.01
    change_sigma: float = 0.02
    change_looks: float = 2.0


class Composite(NamedTuple):
    """A composite and what it rests on."""

    values: SingleArray
    """Value (band, y, x) [1], NaN where nothing was seen."""
    sigma: SingleArray
    """One-sigma uncertainty of the value as the level of the looks (band, y, x) [1]."""
    observations: npt.NDArray[np.uint16]
    """Looks that saw the pixel in all bands (y, x) [1]."""
    source: npt.NDArray[np.int16]
    """Index of the look that was taken or lies nearest to the value, -1 where there is none (y, x)."""
    method: npt.NDArray[np.uint8]
    """`Method` (y, x)."""
    deviations: SingleArray
    """Median Euclidean [1], cosine [1] and Bray-Curtis [1] distance of the looks (`DEVIATIONS`, y, x)."""
    qa: npt.NDArray[np.uint16]
    """Quality bits (y, x)."""


def composite(
    looks: SingleArray,
    *,
    days: FloatArray,
    bands: Sequence[str] = (),
    method: str = "auto",
    target_day: float | None = None,
    sun_elevation: FloatArray | None = None,
    parameters: CompositingParameters | None = None,
) -> Composite:
    """Make one image from many looks.

    Parameters
    ----------
    looks : SingleArray
        Values (look, band, y, x) [1], NaN where hidden or missing; a look counts where all its bands are seen.
    days : FloatArray
        Date of every look (look) [d].
    bands : Sequence[str]
        Names of the bands; `blue` and `red` give the haze term.
    method : str
        A name of `METHODS`.
    target_day : float, optional
        Date the best pixel should be near to [d]; default the middle of the looks.
    sun_elevation : FloatArray, optional
        Elevation of the sun in every look (look) [degree]; a look without one (NaN) has no such term.
    parameters : CompositingParameters, optional
        Choices of the method.

    Returns
    -------
    Composite
        Values with uncertainty, provenance and flags.

    Raises
    ------
    ValueError
        An unknown method, or shapes that do not fit.
    """
    chosen = parameters or CompositingParameters()
    if method not in METHODS or looks.ndim != 4 or np.shape(days) != looks.shape[:1]:
        raise ValueError(f"method {method!r}, looks {looks.shape}, days {np.shape(days)}")
    dates, count, rows, columns = looks.shape
    scores = np.zeros((dates, rows, columns), dtype=np.float32)
    if _scores_decide(looks, method, chosen):
        scores = _scores(looks, np.asarray(days, dtype=np.float64), bands, target_day, sun_elevation, chosen)
    pixels = rows * columns
    values, spread = (np.empty((count, pixels), dtype=np.float32) for _ in range(2))
    deviations = np.empty((len(DEVIATIONS), pixels), dtype=np.float32)
    observations, source = (np.empty(pixels, dtype=np.int16) for _ in range(2))
    methods = np.empty(pixels, dtype=np.uint8)
    kernels.compose(
        np.ascontiguousarray(looks, dtype=np.float32).reshape(dates, count, pixels),
        scores.reshape(dates, pixels),
        METHODS[method],
        (chosen.geomedian_looks, chosen.medoid_looks),
        (chosen.tolerance, chosen.iterations),
        values,
        spread,
        deviations,
        observations,
        source,
        methods,
    )
    flat = (rows, columns)
    return Composite(
        values.reshape(count, *flat),
        _sigma(values, spread, observations, methods, chosen).reshape(count, *flat),
        observations.astype(np.uint16).reshape(flat),
        source.reshape(flat),
        methods.reshape(flat),
        deviations.reshape(-1, *flat),
        _flags(observations, chosen).reshape(flat),
    )


def _flags(observations: npt.NDArray[np.int16], parameters: CompositingParameters) -> npt.NDArray[np.uint16]:
    none = np.where(observations == 0, np.uint16(qa.QaBit.NODATA), np.uint16(0))
    few = np.where(observations < parameters.sufficient_looks, np.uint16(qa.QaBit.INSUFFICIENT), np.uint16(0))
    return np.asarray(none | few, dtype=np.uint16)


def _scores_decide(looks: SingleArray, method: str, parameters: CompositingParameters) -> bool:
    """Whether any pixel has a choice among looks that is made by their scores."""
    if method != "auto":
        return method == "best"
    count = np.isfinite(looks).all(axis=1).sum(axis=0)
    return bool(((count >= 2) & (count < min(parameters.medoid_looks, parameters.geomedian_looks))).any())


def _scores(
    looks: SingleArray,
    days: FloatArray,
    bands: Sequence[str],
    target_day: float | None,
    sun_elevation: FloatArray | None,
    parameters: CompositingParameters,
) -> SingleArray:
    """Suitability of every look as the best pixel (look, y, x), after Griffiths et al. (2013)."""
    target = (days.min() + days.max()) / 2.0 if target_day is None else target_day
    whole = parameters.date_weight * np.exp(-0.5 * ((days - target) / parameters.date_scale) ** 2)
    if sun_elevation is not None:
        height = np.maximum(np.asarray(sun_elevation, dtype=np.float64), 0.0)
        term = height / (height + parameters.elevation_scale)
        known = np.isfinite(height).all()  # a term that only some looks have would judge the metadata, not the look
        whole = whole + (parameters.elevation_weight * term if known else 0.0)
    seen: npt.NDArray[np.bool_] = np.asarray(np.isfinite(looks).all(axis=1))
    scores = np.empty(seen.shape, dtype=np.float32)
    for look, clear in enumerate(seen):
        scores[look] = whole[look] + parameters.cloud_weight * _undisturbed(clear, parameters.cloud_reach)
    if {"blue", "red"} <= set(bands):
        haze = looks[:, list(bands).index("blue")] - 0.5 * looks[:, list(bands).index("red")]
        steep = np.clip((haze - parameters.haze_level) / parameters.haze_width, -30.0, 30.0)
        scores += np.nan_to_num(parameters.haze_weight / (1.0 + np.exp(steep)))
    return np.asarray(scores, dtype=np.float32)


def _undisturbed(clear: npt.NDArray[np.bool_], reach: int) -> SingleArray:
    """Closeness to full score with the distance to the nearest unseen pixel, 0 beside it and 1 beyond the reach."""
    if clear.all():
        return np.ones(clear.shape, dtype=np.float32)
    distance = np.minimum(ndimage.distance_transform_edt(clear), reach) / reach
    return np.asarray(distance, dtype=np.float32)


_MAD_TO_SIGMA = 1.4826
_MEDIAN_VARIANCE = (np.pi / 2.0, 4.0 / np.pi)
"""Variance of the geometric median of normal looks times their number, over theirs: of one band, of two or more."""


def _sigma(
    values: SingleArray,
    spread: SingleArray,
    observations: npt.NDArray[np.int16],
    methods: npt.NDArray[np.uint8],
    parameters: CompositingParameters,
) -> SingleArray:
    """Spread of the looks, over the root of their number where they are averaged, and the radiometric part.

    The spread is drawn to the expected one where looks are few (a scaled inverse chi-squared prior); the variance of
    a median of n normal looks is pi / (2 n) of theirs, of a geometric median 4 / (pi n) in two dimensions and less in
    more (bands that go together count as one or two). Calibration differences average out with the looks as well.
    """
    n = np.maximum(observations.astype(np.float64), 1.0)
    # A median absolute deviation of few looks is low: the factor of Croux and Rousseeuw (1992) for ten looks and more,
    # which is 9 % below theirs for three and four, where the center is a look itself and not a median.
    small = n / np.maximum(n - 0.8, 0.2)
    robust = (_MAD_TO_SIGMA * small * spread.astype(np.float64)) ** 2
    weight = parameters.change_looks
    # Many agreeing looks leave nothing of the expectation.
    variance = (weight * parameters.change_sigma**2 / n + (n - 1.0) * robust) / (weight / n + n - 1.0)
    averaged = np.where(methods == Method.GEOMEDIAN, _MEDIAN_VARIANCE[min(values.shape[0], 2) - 1] / n, 1.0)
    single = parameters.noise_sigma**2 + (parameters.repeatability_sigma * values.astype(np.float64)) ** 2
    floor = np.where(methods == Method.GEOMEDIAN, single / n, single)
    return np.asarray(np.sqrt(np.maximum(variance * averaged, floor)), dtype=np.float32)


def layer_attributes() -> dict[str, Any]:
    """Meaning of the codes of the method layer.

    Returns
    -------
    dict
        `flag_values` and `flag_meanings`, CF 1.11 section 3.5.
    """
    return {
        "flag_values": np.array([code.value for code in Method], dtype=np.uint8),
        "flag_meanings": " ".join(code.name.lower() for code in Method),
    }
