"""Radiance of hot sources and the radiative power that follows from it.

Radiance and temperature are joined by Planck's law at the effective wavelength of a band. Between 600 and 1500 K the
radiance near 4 um goes nearly with the fourth power of temperature, L = a T^4, so that the power follows from one band
without knowing the temperature (Wooster, Zhukov and Oertel 2003, Remote Sens. Environ. 86, 83-107, equation 6),

    FRP = A sigma / a (L - L_background) / transmission.
"""

import math
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import FloatArray

STEFAN_BOLTZMANN = (
    2.0 * math.pi**5 * constants.BOLTZMANN**4 / (15.0 * constants.PLANCK**3 * constants.SPEED_OF_LIGHT**2)
)
"""Stefan-Boltzmann constant [W m-2 K-4], from the exact constants of the SI."""
FIRST_RADIATION = 2.0 * constants.PLANCK * constants.SPEED_OF_LIGHT**2 * 1e24
"""First radiation constant for spectral radiance [W m-2 sr-1 um4]."""
SECOND_RADIATION = constants.PLANCK * constants.SPEED_OF_LIGHT / constants.BOLTZMANN * 1e6
"""Second radiation constant [um K]."""
SUN_TEMPERATURE = 5770.0
"""Temperature of a black body as bright as the sun in the infrared [K]."""
SUN_SOLID_ANGLE = math.pi * (6.957e8 / 1.495_978_707e11) ** 2
"""Solid angle of the sun at one astronomical unit [sr]."""
FIT_TEMPERATURES = (600.0, 1500.0)
"""Temperatures of fires for which the power law is fitted [K]."""


class ThermalBand(NamedTuple):
    """A band that measures emitted radiance."""

    wavelength: float
    """Effective wavelength [um]."""
    saturation: float
    """Brightness temperature above which the band says no more [K]."""


class FireSensor(NamedTuple):
    """The bands of a sensor that see fires."""

    t4: ThermalBand
    """The band near 4 um that detects."""
    t11: ThermalBand
    """The band near 11 um."""
    power: ThermalBand | None
    """A band near 4 um that saturates later, for the power."""
    published_coefficient: float | None
    """Published coefficient a of the band the power is taken from [W m-2 sr-1 um-1 K-4]."""
    kilometer: bool
    """Whether the tests are those for pixels of about one kilometer."""


SENSORS = MappingProxyType(
    {
        # Schroeder et al. 2014; M13 after the VIIRS 750 m active fire theoretical basis.
        "viirs": FireSensor(
            ThermalBand(3.74, 367.0), ThermalBand(11.45, 380.0), ThermalBand(4.05, 634.0), 2.88e-9, kilometer=False
        ),
        # Giglio et al. 2003, 2016: band 21 saturates near 500 K, band 22 near 331 K.
        "modis": FireSensor(ThermalBand(3.96, 500.0), ThermalBand(11.03, 400.0), None, 3.0e-9, kilometer=True),
        "slstr": FireSensor(ThermalBand(3.74, 311.0), ThermalBand(10.85, 330.0), ThermalBand(3.74, 500.0), None, True),
        "mersi": FireSensor(ThermalBand(3.80, 350.0), ThermalBand(10.80, 330.0), ThermalBand(4.05, 380.0), None, True),
        "ahi": FireSensor(ThermalBand(3.88, 400.0), ThermalBand(11.24, 330.0), None, None, kilometer=True),
    }
)
"""Sensors by name."""


def radiance(temperature: FloatArray, *, wavelength: float) -> FloatArray:
    """Radiance of a black body.

    Parameters
    ----------
    temperature : FloatArray
        Temperature [K]; NaN stays.
    wavelength : float
        Wavelength [um].

    Returns
    -------
    FloatArray
        Spectral radiance [W m-2 sr-1 um-1].
    """
    exponent = SECOND_RADIATION / (wavelength * np.asarray(temperature, dtype=np.float64))
    emitted: FloatArray = FIRST_RADIATION / wavelength**5 / np.expm1(exponent)
    return emitted


def brightness_temperature(spectral: FloatArray, *, wavelength: float) -> FloatArray:
    """Temperature of the black body of a radiance.

    Parameters
    ----------
    spectral : FloatArray
        Spectral radiance [W m-2 sr-1 um-1].
    wavelength : float
        Wavelength [um].

    Returns
    -------
    FloatArray
        Temperature [K], NaN where the radiance is not positive.
    """
    positive = np.where(np.asarray(spectral, dtype=np.float64) > 0.0, spectral, np.nan)
    temperature: FloatArray = SECOND_RADIATION / (wavelength * np.log1p(FIRST_RADIATION / (wavelength**5 * positive)))
    return temperature


def solar_irradiance(wavelength: float) -> float:
    """Irradiance of the sun at one astronomical unit, as of a black body.

    Parameters
    ----------
    wavelength : float
        Wavelength [um].

    Returns
    -------
    float
        Spectral irradiance [W m-2 um-1].
    """
    return SUN_SOLID_ANGLE * float(radiance(np.array(SUN_TEMPERATURE), wavelength=wavelength))


def power_coefficient(wavelength: float, *, temperatures: tuple[float, float] = FIT_TEMPERATURES) -> float:
    """Coefficient a of L = a T^4: the mean of L / T^4 over the temperatures of fires.

    Parameters
    ----------
    wavelength : float
        Effective wavelength of the band [um].
    temperatures : tuple of float
        Coldest and hottest fire [K].

    Returns
    -------
    float
        Coefficient [W m-2 sr-1 um-1 K-4].
    """
    fires = np.linspace(*temperatures, 181)
    return float(np.mean(radiance(fires, wavelength=wavelength) / fires**4))


def power_spread(wavelength: float, *, temperatures: tuple[float, float] = FIT_TEMPERATURES) -> float:
    """Relative standard deviation of the power for not knowing the temperature of the fire.

    Parameters
    ----------
    wavelength : float
        Effective wavelength of the band [um].
    temperatures : tuple of float
        Coldest and hottest fire [K].

    Returns
    -------
    float
        Standard deviation of a / (L / T^4) [1].
    """
    fires = np.linspace(*temperatures, 181)
    ratio = radiance(fires, wavelength=wavelength) / fires**4
    return float(np.std(ratio / ratio.mean()))


def megawatts_per_radiance(area: float, *, coefficient: float, transmission: float = 1.0) -> float:
    """Radiative power of a radiance above the background.

    Parameters
    ----------
    area : float
        Ground area of the pixel [m2].
    coefficient : float
        Coefficient a [W m-2 sr-1 um-1 K-4].
    transmission : float
        Transmission of the atmosphere in the band [1].

    Returns
    -------
    float
        Factor [MW W-1 m2 sr um].
    """
    return 1e-6 * area * STEFAN_BOLTZMANN / (coefficient * transmission)


def scanned_area(nadir_size: float, *, scan_angle: float, altitude: float) -> float:
    """Ground area of a pixel off nadir (Ichoku and Kaufman 2005, IEEE TGRS 43, equations 1 and 2).

    Parameters
    ----------
    nadir_size : float
        Size of a pixel at nadir [m].
    scan_angle : float
        Angle from nadir at the satellite [degree].
    altitude : float
        Height of the satellite [m].

    Returns
    -------
    float
        Area [m2].

    Raises
    ------
    ValueError
        Where the line of sight misses the earth.
    """
    earth = constants.WGS84_SEMI_MAJOR
    distance = earth + altitude
    sine, cosine = math.sin(math.radians(scan_angle)), math.cos(math.radians(scan_angle))
    square = (earth / distance) ** 2 - sine**2
    if square <= 0.0:
        raise ValueError(f"at {scan_angle} degrees the line of sight misses the earth")
    step = nadir_size / altitude
    along_scan = earth * step * (cosine / math.sqrt(square) - 1.0)
    along_track = distance * step * (cosine - math.sqrt(square))
    return along_scan * along_track
