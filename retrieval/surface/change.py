"""Change of surface water: the latest date against what is usual."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

STABLE_DRY = 0
STABLE_WATER = 1
NEW_WATER = 2
RECEDED_WATER = 3
NO_DATA = 255


@dataclass(frozen=True, kw_only=True)
class WaterAnomalyParameters:
    """How much history makes a reference.

    Parameters
    ----------
    minimum_reference_dates : int
        Dates a pixel needs besides the one compared [1].
    """

    minimum_reference_dates: int = 2


class WaterAnomaly(NamedTuple):
    """Class and probability of a change of surface water.

    Attributes
    ----------
    anomaly : xr.DataArray
        0 dry as usual, 1 water as usual, 2 new water, 3 receded water, 255 without data [1].
    probability : xr.DataArray
        Probability of the class given [1], NaN without data.
    """

    anomaly: xr.DataArray
    probability: xr.DataArray


def water_frequency(water_probability: xr.DataArray, *, minimum_dates: int) -> xr.DataArray:
    """Usual probability of water: the mean of a Beta posterior with the prior of Jeffreys.

    With n dates of probability p the estimate is (sum p + 1/2) / (n + 1), which never reaches the certainty that a
    few dates cannot give.

    Parameters
    ----------
    water_probability : xr.DataArray
        Probability of water with a dimension ``time`` [1].
    minimum_dates : int
        Dates a pixel needs [1].

    Returns
    -------
    xr.DataArray
        Frequency of water (y, x) [1], NaN with too few dates.
    """
    dates = water_probability.notnull().sum("time")
    frequency = (water_probability.sum("time") + 0.5) / (dates + 1.0)
    return frequency.where(dates >= minimum_dates)


def surface_water_anomaly(current: xr.DataArray, *, usual: xr.DataArray) -> WaterAnomaly:
    """Most probable of the four combinations of water now and water usually.

    The two are taken as independent, so that the four probabilities add to one.

    Parameters
    ----------
    current : xr.DataArray
        Probability of water on the date compared (y, x) [1].
    usual : xr.DataArray
        Usual probability of water (y, x) [1].

    Returns
    -------
    WaterAnomaly
        Class and probability (y, x) [1].
    """
    likelihood = xr.concat(
        [
            (1 - current) * (1 - usual),
            current * usual,
            current * (1 - usual),
            (1 - current) * usual,
        ],
        dim="anomaly",
    )
    known = current.notnull() & usual.notnull()
    best = likelihood.fillna(-1.0).argmax("anomaly").where(known, NO_DATA).astype(np.uint8)
    return WaterAnomaly(best, likelihood.max("anomaly").where(known))
