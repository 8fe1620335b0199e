"""Spectral indices with propagated uncertainty.

Every index here is a ratio of two linear forms of reflectance,

    f = g (a . x) / (b . x + c),

so one expression gives all values and one exact gradient gives all uncertainties,

    df/dx_i = (g a_i - f b_i) / (b . x + c).

For the normalized difference of near infrared N and red R this is the familiar
sigma = 2 / (N + R)^2 sqrt(R^2 sigma_N^2 + N^2 sigma_R^2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import xarray as xr

from processors import quality
from retrieval.surface import observation


@dataclass(frozen=True, kw_only=True)
class SpectralIndex:
    """Coefficients of one index.

    Parameters
    ----------
    source : str
        Publication of the formula.
    numerator : Mapping
        Coefficient per band, a.
    denominator : Mapping
        Coefficient per band, b.
    denominator_offset : float
        Constant c [1].
    gain : float
        Factor g [1].
    bounds : tuple of float
        Range the index can take for reflectance between 0 and 1 [1]; noise around zero reflectance can carry the
        ratio beyond it and is set to the bound.
    """

    source: str
    numerator: Mapping[str, float]
    denominator: Mapping[str, float] = field(default_factory=dict)
    denominator_offset: float = 0.0
    gain: float = 1.0
    bounds: tuple[float, float] = (-1.0, 1.0)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands in use, sorted.

        Returns
        -------
        tuple of str
            Band names.
        """
        return tuple(sorted({*self.numerator, *self.denominator}))


def _normalized_difference(first: str, second: str, source: str) -> SpectralIndex:
    return SpectralIndex(source=source, numerator={first: 1.0, second: -1.0}, denominator={first: 1.0, second: 1.0})


INDICES: Mapping[str, SpectralIndex] = MappingProxyType(
    {
        "ndvi": _normalized_difference("nir", "red", "Rouse et al. 1974"),
        "ndwi": _normalized_difference("green", "nir", "McFeeters 1996"),
        "mndwi": _normalized_difference("green", "swir1", "Xu 2006"),
        "ndmi": _normalized_difference("nir", "swir1", "Wilson and Sader 2002"),
        "ndbi": _normalized_difference("swir1", "nir", "Zha et al. 2003"),
        "nbr": _normalized_difference("nir", "swir2", "Key and Benson 2006"),
        "evi": SpectralIndex(
            source="Huete et al. 2002",
            numerator={"nir": 1.0, "red": -1.0},
            denominator={"nir": 1.0, "red": 6.0, "blue": -7.5},
            denominator_offset=1.0,
            gain=2.5,
        ),
        "evi2": SpectralIndex(
            source="Jiang et al. 2008",
            numerator={"nir": 1.0, "red": -1.0},
            denominator={"nir": 1.0, "red": 2.4},
            denominator_offset=1.0,
            gain=2.5,
            bounds=(-1.0, 1.25),
        ),
        "savi": SpectralIndex(
            source="Huete 1988, soil factor 0.5",
            numerator={"nir": 1.0, "red": -1.0},
            denominator={"nir": 1.0, "red": 1.0},
            denominator_offset=0.5,
            gain=1.5,
        ),
        "bsi": SpectralIndex(
            source="Rikimaru et al. 2002",
            numerator={"swir1": 1.0, "red": 1.0, "nir": -1.0, "blue": -1.0},
            denominator={"swir1": 1.0, "red": 1.0, "nir": 1.0, "blue": 1.0},
        ),
    }
)


def estimate(reflectance: observation.Estimate, *, index: str, common_gain_sigma: float = 0.0) -> observation.Estimate:
    """Value of a spectral index with its first-order uncertainty.

    Errors of the bands are taken as independent, apart from one relative gain error shared by all bands, which
    cancels in a normalized difference and not in the others.

    Parameters
    ----------
    reflectance : Estimate
        Reflectance with a dimension ``band`` [1].
    index : str
        Key of `INDICES`.
    common_gain_sigma : float
        Relative calibration uncertainty common to all bands [1].

    Returns
    -------
    Estimate
        Index [1] without the dimension ``band``; NaN where a band is missing or the denominator is not positive.

    Raises
    ------
    processors.quality.BadInputError
        Where the dataset lacks a band of the index (cause ``band_missing``).
    """
    definition = INDICES[index]
    bands = _bands(reflectance.value, definition, index)
    sigmas = _bands(reflectance.sigma, definition, index)
    denominator = _linear_form(bands, definition.denominator) + definition.denominator_offset
    numerator = definition.gain * _linear_form(bands, definition.numerator)
    value = numerator / denominator.where(denominator > 0)
    gradient = {
        band: (definition.gain * definition.numerator.get(band, 0.0) - value * definition.denominator.get(band, 0.0))
        / denominator
        for band in definition.bands
    }
    independent = sum(((gradient[band] * sigmas[band]) ** 2 for band in definition.bands), xr.zeros_like(value))
    common = common_gain_sigma * sum((gradient[band] * bands[band] for band in definition.bands), xr.zeros_like(value))
    sigma: xr.DataArray = xr.ufuncs.sqrt(independent + common**2)
    return observation.Estimate(value.clip(*definition.bounds), sigma)


def water_index(reflectance: observation.Estimate) -> observation.Estimate:
    """Modified water index, or the one without short-wave infrared where that band is absent.

    Parameters
    ----------
    reflectance : Estimate
        Reflectance with a dimension ``band`` [1].

    Returns
    -------
    Estimate
        MNDWI or NDWI [1].
    """
    has_swir = "swir1" in reflectance.value["band"].values
    return estimate(reflectance, index="mndwi" if has_swir else "ndwi")


def _bands(reflectance: xr.DataArray, definition: SpectralIndex, index: str) -> dict[str, xr.DataArray]:
    missing = [band for band in definition.bands if band not in reflectance["band"].values]
    if missing:
        raise quality.BadInputError("band_missing", f"index {index} needs the band {', '.join(missing)}")
    return {band: reflectance.sel(band=band, drop=True).astype(np.float64) for band in definition.bands}


def _linear_form(bands: Mapping[str, xr.DataArray], coefficients: Mapping[str, float]) -> xr.DataArray:
    zero = xr.zeros_like(next(iter(bands.values())))
    return sum((coefficient * bands[band] for band, coefficient in coefficients.items()), zero)
