"""Vegetation: fractional cover from a two-endmember mixture, and the vigour of crops over a season."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from retrieval.surface import observation


@dataclass(frozen=True, kw_only=True)
class CoverParameters:
    """Endmembers of the mixture: fixed and versioned, never taken from the image itself.

    Percentiles of each image would make two dates incomparable. Replace the values by local ones per season and
    land-cover class, and give them a new version.

    Parameters
    ----------
    version : str
        Name of this set of endmembers.
    soil_ndvi : float
        NDVI of bare soil [1].
    vegetation_ndvi : float
        NDVI of full cover [1].
    soil_ndvi_sigma : float
        Standard uncertainty of `soil_ndvi` [1].
    vegetation_ndvi_sigma : float
        Standard uncertainty of `vegetation_ndvi` [1].
    exponent : int
        1 for the linear mixture (Gutman and Ignatov 1998), 2 for the quadratic one (Carlson and Ripley 1997).
    """

    version: str = "surface-reflectance-1"
    soil_ndvi: float = 0.05
    vegetation_ndvi: float = 0.90
    soil_ndvi_sigma: float = 0.03
    vegetation_ndvi_sigma: float = 0.03
    exponent: Literal[1, 2] = 1


class SeasonVigour(NamedTuple):
    """What one season of NDVI says about a crop.

    Attributes
    ----------
    peak : Estimate
        Highest NDVI of the season [1].
    integral : Estimate
        Time integral of NDVI over the period of the series [d].
    anomaly : Estimate
        NDVI of the last date minus the time mean of the period [1].
    """

    peak: observation.Estimate
    integral: observation.Estimate
    anomaly: observation.Estimate


def fractional_cover(ndvi: observation.Estimate, *, parameters: CoverParameters) -> observation.Estimate:
    """Share of the ground covered by green vegetation.

    With u = (NDVI - s) / (v - s) the cover is u^k. The uncertainty contains the NDVI and both endmembers to first
    order, and for k = 2 also the second-order term 2 sigma_u^4, without which it would vanish over bare soil.

    Parameters
    ----------
    ndvi : Estimate
        NDVI [1].
    parameters : CoverParameters
        Endmembers.

    Returns
    -------
    Estimate
        Fractional vegetation cover between 0 and 1 [1].
    """
    span = parameters.vegetation_ndvi - parameters.soil_ndvi
    mixture = (ndvi.value - parameters.soil_ndvi) / span
    variance = (
        ndvi.sigma**2
        + ((1 - mixture) * parameters.soil_ndvi_sigma) ** 2
        + (mixture * parameters.vegetation_ndvi_sigma) ** 2
    ) / span**2
    share = mixture.clip(0.0, 1.0)
    if parameters.exponent == 1:
        return observation.Estimate(share, xr.ufuncs.sqrt(variance))
    return observation.Estimate(share**2, xr.ufuncs.sqrt(4 * share**2 * variance + 2 * variance**2))


def seasonal_maximum(series: observation.Estimate) -> observation.Estimate:
    """Highest value of each pixel over time (Holben 1986), with the uncertainty of the date it was taken from.

    Parameters
    ----------
    series : Estimate
        Values with a dimension ``time``.

    Returns
    -------
    Estimate
        Maximum, NaN where no date has a value.
    """
    return _at_extreme(series, series.value.fillna(-np.inf).argmax("time"))


def seasonal_minimum(series: observation.Estimate) -> observation.Estimate:
    """Lowest value of each pixel over time, with the uncertainty of the date it was taken from.

    Parameters
    ----------
    series : Estimate
        Values with a dimension ``time``.

    Returns
    -------
    Estimate
        Minimum, NaN where no date has a value.
    """
    return _at_extreme(series, series.value.fillna(np.inf).argmin("time"))


def season_vigour(ndvi: observation.Estimate, *, minimum_looks: int) -> SeasonVigour:
    """Peak, integral and latest anomaly of NDVI over one season.

    The integral is the trapezoid rule through the dates each pixel has; before its first and after its last date the
    value is held, so that all pixels integrate over the same period. Integral and mean are sums with known weights,
    which carry the uncertainty of independent dates.

    Parameters
    ----------
    ndvi : Estimate
        NDVI (time, y, x) [1], increasing in time.
    minimum_looks : int
        Dates a pixel needs; with fewer all three are NaN.

    Returns
    -------
    SeasonVigour
        Peak [1], integral [d] and anomaly [1].
    """
    days = _days(ndvi.value["time"].values)
    valid = ndvi.value.notnull()
    enough = valid.sum("time") >= minimum_looks
    weights = xr.DataArray(_trapezoid_weights(valid.values, days), dims=valid.dims, coords=valid.coords)
    period = float(days[-1] - days[0])
    last = xr.zeros_like(weights)
    last[{"time": -1}] = 1.0
    # The last date must exist for an anomaly of the last date: its absence is NaN, not an older date.
    has_last = enough & valid.isel(time=-1, drop=True)
    peak = seasonal_maximum(ndvi)
    integral = _weighted_sum(ndvi, weights)
    anomaly = _weighted_sum(ndvi, last - weights / period) if period > 0 else _weighted_sum(ndvi, 0 * last)
    return SeasonVigour(
        observation.Estimate(peak.value.where(enough), peak.sigma.where(enough)),
        observation.Estimate(integral.value.where(enough), integral.sigma.where(enough)),
        observation.Estimate(anomaly.value.where(has_last), anomaly.sigma.where(has_last)),
    )


def _at_extreme(series: observation.Estimate, position: xr.DataArray) -> observation.Estimate:
    return observation.Estimate(
        series.value.isel(time=position).drop_vars("time", errors="ignore"),
        series.sigma.isel(time=position).drop_vars("time", errors="ignore"),
    )


def _days(time: npt.NDArray[np.datetime64]) -> npt.NDArray[np.float64]:
    elapsed: npt.NDArray[np.float64] = (time - time[0]) / np.timedelta64(1, "D")
    return elapsed


def _trapezoid_weights(valid: npt.NDArray[np.bool_], days: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight of each date in the integral, zero where the pixel has no value [d]."""
    stamp = np.broadcast_to(days[:, None, None], valid.shape)
    before = np.maximum.accumulate(np.where(valid, stamp, -np.inf), axis=0)
    after = np.minimum.accumulate(np.where(valid, stamp, np.inf)[::-1], axis=0)[::-1]
    previous = np.concatenate([np.full_like(before[:1], -np.inf), before[:-1]])
    following = np.concatenate([after[1:], np.full_like(after[:1], np.inf)])
    left = np.where(np.isinf(previous), stamp - days[0], (stamp - previous) / 2)
    right = np.where(np.isinf(following), days[-1] - stamp, (following - stamp) / 2)
    return np.where(valid, left + right, 0.0)


def _weighted_sum(series: observation.Estimate, weights: xr.DataArray) -> observation.Estimate:
    return observation.Estimate(
        (series.value * weights).sum("time"), xr.ufuncs.sqrt(((series.sigma * weights) ** 2).sum("time"))
    )
