"""Open surface water: probability from reflectance, backscatter or both.

Optical evidence is a logistic of a water index and NDVI; radar evidence is the log-likelihood ratio of two Gaussians
of equal width per polarization (water is dark because it reflects away from the sensor). Log-odds of independent
evidence add. Radar values describe ground-range sigma0 or gamma0 on slopes where layover and shadow are flagged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import xarray as xr

from retrieval.surface import observation, spectral_index

DRY = 0
WATER = 1
NO_DATA = 255


@dataclass(frozen=True, kw_only=True)
class BackscatterContrast:
    """Backscatter of water and land in one polarization.

    Parameters
    ----------
    water_db : float
        Mean over open water [dB].
    land_db : float
        Mean over land [dB].
    sigma_db : float
        Standard deviation of either, speckle included [dB].
    """

    water_db: float
    land_db: float
    sigma_db: float


@dataclass(frozen=True, kw_only=True)
class WaterParameters:
    """Coefficients of the water probability.

    Parameters
    ----------
    water_index_slope : float
        Log-odds per unit of the water index [1].
    water_index_midpoint : float
        Water index without evidence either way [1].
    ndvi_slope : float
        Log-odds per unit of NDVI, subtracted [1].
    ndvi_midpoint : float
        NDVI without evidence either way [1].
    backscatter : Mapping
        Contrast per polarization.
    backscatter_limit : float
        Largest log-odds one polarization may add or remove [1].
    prior : float
        Probability of water where there is radar alone [1].
    threshold : float
        Least probability of class water [1].
    """

    water_index_slope: float = 14.0
    water_index_midpoint: float = 0.05
    ndvi_slope: float = 8.0
    ndvi_midpoint: float = 0.15
    backscatter: Mapping[str, BackscatterContrast] = field(
        default_factory=lambda: MappingProxyType(
            {
                "vv": BackscatterContrast(water_db=-19.0, land_db=-10.5, sigma_db=3.0),
                "vh": BackscatterContrast(water_db=-26.0, land_db=-17.0, sigma_db=3.2),
            }
        )
    )
    backscatter_limit: float = 4.0
    prior: float = 0.05
    threshold: float = 0.5


def probability(fused: xr.Dataset, *, parameters: WaterParameters) -> xr.DataArray:
    """Probability of open water on every date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    parameters : WaterParameters
        Coefficients.

    Returns
    -------
    xr.DataArray
        Probability (time, y, x) [1], NaN where neither sensor has a usable value.
    """
    optical = optical_log_odds(observation.reflectance(fused), parameters=parameters)
    if "backscatter" not in fused:
        return _logistic(optical)
    usable = observation.radar_usable(fused)
    radar = radar_log_odds(fused["backscatter"].where(usable), parameters=parameters)
    prior = np.log(parameters.prior / (1 - parameters.prior))
    return _logistic(optical.fillna(prior).where(optical.notnull() | radar.notnull()) + radar.fillna(0.0))


def optical_log_odds(reflectance: observation.Estimate, *, parameters: WaterParameters) -> xr.DataArray:
    """Log-odds of water from reflectance, drawn toward zero by its uncertainty.

    The mean of a logistic over a Gaussian argument of width s is close to the logistic of z / sqrt(1 + pi s^2 / 8)
    (MacKay 1992, The evidence framework applied to classification networks).

    Parameters
    ----------
    reflectance : Estimate
        Reflectance with a dimension ``band`` [1].
    parameters : WaterParameters
        Coefficients.

    Returns
    -------
    xr.DataArray
        Log-odds [1], NaN where a band is missing.
    """
    index = spectral_index.water_index(reflectance)
    ndvi = spectral_index.estimate(reflectance, index="ndvi")
    log_odds = parameters.water_index_slope * (index.value - parameters.water_index_midpoint)
    log_odds = log_odds - parameters.ndvi_slope * (ndvi.value - parameters.ndvi_midpoint)
    variance = (parameters.water_index_slope * index.sigma) ** 2 + (parameters.ndvi_slope * ndvi.sigma) ** 2
    softened: xr.DataArray = log_odds / xr.ufuncs.sqrt(1 + np.pi * variance / 8)
    return softened


def radar_log_odds(backscatter: xr.DataArray, *, parameters: WaterParameters) -> xr.DataArray:
    """Log-likelihood ratio of water against land from backscatter.

    Parameters
    ----------
    backscatter : xr.DataArray
        Backscatter with a dimension ``polarization`` [dB].
    parameters : WaterParameters
        Contrast per polarization; polarizations without one are left out.

    Returns
    -------
    xr.DataArray
        Log-likelihood ratio [1], NaN where no polarization has a value.
    """
    ratios = [
        _log_likelihood_ratio(backscatter.sel(polarization=name, drop=True), contrast).clip(
            -parameters.backscatter_limit, parameters.backscatter_limit
        )
        for name, contrast in parameters.backscatter.items()
        if name in backscatter["polarization"].values
    ]
    if not ratios:
        return xr.full_like(backscatter.isel(polarization=0, drop=True), np.nan)
    stacked = xr.concat(ratios, dim="polarization", coords="minimal", compat="override")
    return stacked.sum("polarization", min_count=1)


def classify(water_probability: xr.DataArray, *, threshold: float) -> xr.DataArray:
    """Class of each pixel: 0 dry, 1 water, 255 without data.

    Parameters
    ----------
    water_probability : xr.DataArray
        Probability of water [1], NaN without data.
    threshold : float
        Least probability of class water [1].

    Returns
    -------
    xr.DataArray
        Class, unsigned 8 bit [1].
    """
    wet = DRY + (WATER - DRY) * (water_probability >= threshold)
    return wet.where(water_probability.notnull(), NO_DATA).astype(np.uint8)


def _log_likelihood_ratio(backscatter: xr.DataArray, contrast: BackscatterContrast) -> xr.DataArray:
    slope = (contrast.land_db - contrast.water_db) / contrast.sigma_db**2
    return slope * ((contrast.land_db + contrast.water_db) / 2 - backscatter.astype(np.float64))


def _logistic(log_odds: xr.DataArray) -> xr.DataArray:
    probability_of_water: xr.DataArray = 0.5 * (1.0 + xr.ufuncs.tanh(0.5 * log_odds))
    return probability_of_water
