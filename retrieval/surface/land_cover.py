"""Land cover by documented rules: Gaussian scores of a few features, made probabilities.

Each class expects a value and a spread of each feature. The uncertainty of the feature is added to the spread, so a
noisy or filled pixel yields flat probabilities rather than a confident mistake. The features are correlated; the sum
of their scores is therefore tempered before it becomes a probability. The numbers are first values set by hand, with
one season of a temperate farming landscape in view; they are not validated and no substitute for training on local
reference samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import xarray as xr

from retrieval.surface import observation, spectral_index, vegetation

CLASSES = ("water", "bare_built", "cropland", "grass_shrub", "forest")
CLASS_VALUES: Mapping[str, int] = MappingProxyType({name: position + 1 for position, name in enumerate(CLASSES)})
NO_DATA = 255

Rules = Mapping[str, Mapping[str, tuple[float, float]]]


def _rules(table: Mapping[str, tuple[tuple[float, float], ...]]) -> Rules:
    return MappingProxyType(
        {feature: MappingProxyType(dict(zip(CLASSES, row, strict=True))) for feature, row in table.items()}
    )


# Feature: (expected value, spread) of water, bare or built, cropland, grass or shrub, forest; [1], backscatter [dB].
SEASON_RULES = _rules(
    {
        "ndvi_peak": ((-0.05, 0.25), (0.35, 0.14), (0.84, 0.10), (0.76, 0.12), (0.87, 0.06)),
        "ndvi_amplitude": ((0.20, 0.15), (0.18, 0.12), (0.62, 0.16), (0.30, 0.12), (0.25, 0.11)),
        "ndvi_mean": ((-0.10, 0.25), (0.20, 0.12), (0.45, 0.14), (0.60, 0.14), (0.74, 0.09)),
        "water_index_mean": ((0.45, 0.25), (-0.28, 0.14), (-0.42, 0.10), (-0.48, 0.10), (-0.53, 0.09)),
        "vh_mean": ((-25.5, 3.5), (-14.0, 4.0), (-17.5, 2.5), (-17.0, 2.5), (-14.5, 2.0)),
    }
)
SINGLE_DATE_RULES = _rules(
    {
        "ndvi_peak": ((-0.10, 0.25), (0.20, 0.13), (0.50, 0.22), (0.55, 0.15), (0.80, 0.09)),
        "water_index_mean": ((0.45, 0.25), (-0.25, 0.15), (-0.40, 0.11), (-0.45, 0.10), (-0.50, 0.10)),
        "built_up_mean": ((-0.20, 0.35), (0.08, 0.12), (-0.08, 0.16), (-0.15, 0.13), (-0.32, 0.11)),
        "vh_mean": ((-25.5, 3.5), (-14.0, 4.0), (-17.5, 2.5), (-17.0, 2.5), (-14.5, 2.0)),
    }
)


@dataclass(frozen=True, kw_only=True)
class LandCoverParameters:
    """Rules of the classification.

    Parameters
    ----------
    season_rules : Mapping
        Expected value and spread per feature and class where there is a season of dates.
    single_date_rules : Mapping
        The same where there are few dates.
    season_dates : int
        Dates from which a series counts as a season [1].
    amplitude_looks : int
        Usable dates a pixel needs for its amplitude to be a feature [1].
    tempering : float
        Factor on the summed scores, below one because the features are correlated [1].
    """

    season_rules: Rules = field(default_factory=lambda: SEASON_RULES)
    single_date_rules: Rules = field(default_factory=lambda: SINGLE_DATE_RULES)
    season_dates: int = 4
    amplitude_looks: int = 3
    tempering: float = 0.6


class LandCover(NamedTuple):
    """Class of each pixel and how probable each class is.

    Attributes
    ----------
    land_cover : xr.DataArray
        Value of `CLASS_VALUES` (y, x), 255 without data [1].
    probability : xr.DataArray
        Probability of every class (class, y, x) [1], NaN without data.
    """

    land_cover: xr.DataArray
    probability: xr.DataArray


def classify(fused: xr.Dataset, *, parameters: LandCoverParameters) -> LandCover:
    """Land cover of the period of a fused dataset.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of one or several dates.
    parameters : LandCoverParameters
        Rules.

    Returns
    -------
    LandCover
        Class and probabilities [1].
    """
    season = fused.sizes["time"] >= parameters.season_dates
    rules = parameters.season_rules if season else parameters.single_date_rules
    features = season_features(fused, amplitude_looks=parameters.amplitude_looks)
    scores = class_scores(features, rules=rules)
    probability = _softmax(parameters.tempering * scores).where(features["ndvi_peak"].value.notnull())
    return LandCover(_most_probable(probability), probability)


def season_features(fused: xr.Dataset, *, amplitude_looks: int) -> dict[str, observation.Estimate]:
    """Features of the rules with their uncertainty.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    amplitude_looks : int
        Usable dates a pixel needs for an amplitude [1].

    Returns
    -------
    dict of Estimate
        Feature by name (y, x), indices [1], backscatter [dB].
    """
    reflectance = observation.reflectance(fused)
    ndvi = spectral_index.estimate(reflectance, index="ndvi")
    peak = vegetation.seasonal_maximum(ndvi)
    features = {
        "ndvi_peak": peak,
        "ndvi_amplitude": _amplitude(ndvi, peak, looks=amplitude_looks),
        "ndvi_mean": _time_mean(ndvi),
        "water_index_mean": _time_mean(spectral_index.water_index(reflectance)),
    }
    if "swir1" in fused["band"].values:
        features["built_up_mean"] = _time_mean(spectral_index.estimate(reflectance, index="ndbi"))
    if "backscatter" in fused and "vh" in fused["polarization"].values:
        usable = fused["backscatter"].sel(polarization="vh", drop=True).where(observation.radar_usable(fused))
        mean = usable.mean("time").astype(np.float64)
        features["vh_mean"] = observation.Estimate(mean, xr.zeros_like(mean))
    return features


def class_scores(features: Mapping[str, observation.Estimate], *, rules: Rules) -> xr.DataArray:
    """Log-likelihood of every class, over the features that a pixel has.

    Parameters
    ----------
    features : Mapping
        Feature by name (y, x), indices [1], backscatter [dB].
    rules : Mapping
        Expected value and spread per feature and class.

    Returns
    -------
    xr.DataArray
        Log-likelihood (class, y, x) [1].
    """
    nothing = xr.zeros_like(features["ndvi_peak"].value)
    per_class = [
        sum((_log_likelihood(features[name], *row[label]) for name, row in rules.items() if name in features), nothing)
        for label in CLASSES
    ]
    stacked = xr.concat(per_class, dim="class", coords="minimal", compat="override")
    return stacked.assign_coords({"class": list(CLASSES)})


def _log_likelihood(feature: observation.Estimate, expected: float, spread: float) -> xr.DataArray:
    variance = spread**2 + feature.sigma**2
    score: xr.DataArray = -0.5 * ((feature.value - expected) ** 2 / variance + xr.ufuncs.log(variance))
    return score.fillna(0.0)


def _amplitude(ndvi: observation.Estimate, peak: observation.Estimate, *, looks: int) -> observation.Estimate:
    trough = vegetation.seasonal_minimum(ndvi)
    enough = ndvi.value.notnull().sum("time") >= looks
    sigma: xr.DataArray = xr.ufuncs.sqrt(peak.sigma**2 + trough.sigma**2)
    return observation.Estimate((peak.value - trough.value).where(enough), sigma.where(enough))


def _time_mean(series: observation.Estimate) -> observation.Estimate:
    looks = series.value.notnull().sum("time")
    known = looks > 0
    sigma: xr.DataArray = xr.ufuncs.sqrt((series.sigma**2).sum("time")) / looks.where(known)
    return observation.Estimate(series.value.mean("time"), sigma)


def _softmax(scores: xr.DataArray) -> xr.DataArray:
    likelihood: xr.DataArray = xr.ufuncs.exp(scores - scores.max("class"))
    return likelihood / likelihood.sum("class")


def _most_probable(probability: xr.DataArray) -> xr.DataArray:
    known = probability.notnull().all("class")
    value = probability.fillna(-1.0).argmax("class") + 1
    return value.where(known, NO_DATA).astype(np.uint8)
