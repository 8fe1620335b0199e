"""Thermal radiation in the bands of simulated sensors: Planck's law averaged by own integration, and its inverse.

Band responses are trapezoids between the published edges, not the measured curves: they decide which wavelengths weigh
how much, and forward model and inverse share them. Radiance is spectral: per micrometer of the band.
"""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import integrate

from processors.arrays import AnyFloat, FloatArray

STEFAN_BOLTZMANN = 5.670374419e-8
"""Constant of Stefan and Boltzmann (CODATA 2018) [W m-2 K-4]."""
SUN_TEMPERATURE = 5772.0
"""Effective temperature of the sun (IAU 2015, resolution B3) [K]."""
SUN_SOLID_ANGLE = 6.794e-5
"""Solid angle of the sun's disk at one astronomical unit [sr]."""

# First and second radiation constant for spectral radiance (CODATA 2018) [W um4 m-2 sr-1], [um K].
_FIRST = 1.191042972e8
_SECOND = 14387.76877
_COLDEST, _HOTTEST, _NODES = 120.0, 4000.0, 6000


class Band(NamedTuple):
    """A band of a sensor."""

    lower: float
    """Lower edge, at half response [um]."""
    upper: float
    """Upper edge, at half response [um]."""


BANDS = {
    "viirs_i4": Band(3.550, 3.930),
    "viirs_i5": Band(10.500, 12.400),
    "viirs_m13": Band(3.973, 4.128),
    "modis_21": Band(3.929, 3.989),
    "modis_31": Band(10.780, 11.280),
    "red": Band(0.600, 0.680),
    "nir": Band(0.845, 0.885),
    "swir1": Band(1.567, 1.651),
    "swir2": Band(2.107, 2.294),
    "modis_7": Band(2.105, 2.155),
}
"""Bands by name."""


def spectral_radiance(wavelength: npt.ArrayLike, temperature: npt.ArrayLike) -> FloatArray:
    """Planck's law.

    Parameters
    ----------
    wavelength : array-like
        Wavelength [um].
    temperature : array-like
        Temperature, above 0 [K].

    Returns
    -------
    array
        Radiance of a black body [W m-2 sr-1 um-1].
    """
    length, heat = np.asarray(wavelength, dtype=np.float64), np.asarray(temperature, dtype=np.float64)
    return np.asarray(_FIRST / length**5 / np.expm1(np.minimum(_SECOND / (length * heat), 700.0)))


def band_radiance(temperature: npt.ArrayLike, band: str) -> FloatArray:
    """Radiance of a black body, averaged over a band.

    Parameters
    ----------
    temperature : array-like
        Temperature between 120 and 4000 [K].
    band : str
        Of BANDS.

    Returns
    -------
    array
        Radiance [W m-2 sr-1 um-1].
    """
    inverse, logarithm = _table(band)
    return np.asarray(np.exp(np.interp(1.0 / np.asarray(temperature, dtype=np.float64), inverse, logarithm)))


def brightness_temperature(radiance: npt.ArrayLike, band: str) -> FloatArray:
    """Temperature of the black body with this radiance: inverse of `band_radiance`.

    Parameters
    ----------
    radiance : array-like
        Radiance; what is colder than 120 K or below zero counts as 120 K [W m-2 sr-1 um-1].
    band : str
        Of BANDS.

    Returns
    -------
    array
        Temperature [K].
    """
    inverse, logarithm = _table(band)
    seen = np.maximum(np.asarray(radiance, dtype=np.float64), np.exp(logarithm[-1]))
    return np.asarray(1.0 / np.interp(-np.log(seen), -logarithm, inverse))


def radiance_step(temperature: float, band: str) -> float:
    """Change of radiance with temperature: turns a noise-equivalent temperature into a radiance.

    Parameters
    ----------
    temperature : float
        Temperature [K].
    band : str
        Of BANDS.

    Returns
    -------
    float
        Derivative [W m-2 sr-1 um-1 K-1].
    """
    above, below = band_radiance([temperature + 0.5, temperature - 0.5], band)
    return float(above - below)


def sun_irradiance(band: str) -> float:
    """Irradiance of the sun on a plane facing it above the air: the disk as a black body.

    Real sunlight differs by up to a tenth: less below 1 um where lines absorb, more near 1.6 um where the sun is
    seen deepest.

    Parameters
    ----------
    band : str
        Of BANDS.

    Returns
    -------
    float
        Irradiance [W m-2 um-1].
    """
    return float(SUN_SOLID_ANGLE * _averaged(BANDS[band], np.array([SUN_TEMPERATURE]))[0])


@functools.cache
def _table(band: str) -> tuple[FloatArray, FloatArray]:
    """Inverse temperature, rising, and the logarithm of the radiance: nearly a straight line."""
    inverse = np.linspace(1.0 / _HOTTEST, 1.0 / _COLDEST, _NODES)
    return inverse, np.log(_averaged(BANDS[band], 1.0 / inverse))


def _averaged(band: Band, temperature: AnyFloat) -> FloatArray:
    """Mean of Planck's law over a trapezoid whose flanks take a tenth of the width."""
    flank = 0.05 * (band.upper - band.lower)
    length = np.linspace(band.lower - flank, band.upper + flank, 201)
    corners = [band.lower - flank, band.lower + flank, band.upper - flank, band.upper + flank]
    weight = np.interp(length, corners, [0.0, 1.0, 1.0, 0.0])
    weight /= integrate.simpson(weight, x=length)
    return np.asarray(
        integrate.simpson(spectral_radiance(length[:, None], temperature) * weight[:, None], x=length, axis=0)
    )
