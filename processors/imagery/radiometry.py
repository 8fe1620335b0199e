"""Counts of our own imager to radiance and to reflectance at the top of the atmosphere."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from processors.arrays import FloatArray
from processors.imagery import line_packet


@dataclass(frozen=True)
class RadiometricCalibration:
    """Linear calibration of the five bands, versioned: blue, green, red, nir, swir1.

    The default is the design value of the instrument; solar irradiances are those that products of Sentinel-2A state of
    bands 2, 3, 4, 8 and 11, whose center and width ours have.

    Parameters
    ----------
    version : str
        Identity of the set, for provenance.
    dark : tuple of float
        Count without light [1].
    responsivity : tuple of float
        Counts per radiance and integration time at gain 1 [W-1 m2 sr um s-1].
    solar_irradiance : tuple of float
        Band-averaged solar irradiance at 1 au [W m-2 um-1].
    maximum_sun_zenith : float
        Sun zenith angle beyond which there is no reflectance [degree].
    """

    version: str = "design-1"
    dark: tuple[float, ...] = (62.0, 60.0, 61.0, 64.0, 118.0)
    responsivity: tuple[float, ...] = (2900.0, 3120.0, 3760.0, 5450.0, 23100.0)
    solar_irradiance: tuple[float, ...] = (1960.0, 1823.0, 1512.0, 1042.0, 246.0)
    maximum_sun_zenith: float = 80.0


def radiance_from_counts(
    counts: xr.DataArray, calibration: RadiometricCalibration, *, gain: FloatArray, integration_time: FloatArray
) -> xr.DataArray:
    """Spectral radiance L = (C - dark) / (responsivity gain integration_time).

    Parameters
    ----------
    counts : xr.DataArray
        Counts with a dimension `band` in the order of the calibration [1].
    calibration : RadiometricCalibration
        The calibration.
    gain : FloatArray
        Electronic gain of every band [1].
    integration_time : FloatArray
        Integration time of every band [s].

    Returns
    -------
    xr.DataArray
        Radiance in the shape of the counts [W m-2 sr-1 um-1]; negative values of noise are kept.
    """
    dark = _by_band(counts, np.asarray(calibration.dark))
    slope = _by_band(counts, np.asarray(calibration.responsivity) * gain * integration_time)
    radiance = ((counts - dark) / slope).astype(np.float32)
    return radiance.assign_attrs(units="W m-2 sr-1 um-1", long_name="spectral radiance")


def reflectance_from_radiance(
    radiance: xr.DataArray, calibration: RadiometricCalibration, *, sun_zenith: xr.DataArray, sun_distance: float
) -> xr.DataArray:
    """Reflectance at the top of the atmosphere, pi L d**2 / (E cos(zenith)).

    Parameters
    ----------
    radiance : xr.DataArray
        Spectral radiance with a dimension `band` [W m-2 sr-1 um-1].
    calibration : RadiometricCalibration
        Solar irradiance of the bands.
    sun_zenith : xr.DataArray
        Sun zenith angle over the other dimensions [degree].
    sun_distance : float
        Distance of the sun [au].

    Returns
    -------
    xr.DataArray
        Reflectance [1], NaN where the sun is too low.
    """
    cosine = np.cos(np.radians(sun_zenith.where(sun_zenith <= calibration.maximum_sun_zenith)))
    irradiance = _by_band(radiance, np.asarray(calibration.solar_irradiance))
    reflectance = (np.pi * sun_distance**2 * radiance / (irradiance * cosine)).astype(np.float32)
    return reflectance.transpose(*radiance.dims).assign_attrs(units="1", long_name="reflectance")


def saturated(strip: xr.Dataset) -> xr.DataArray:
    """Where any band of a pixel has reached the full scale.

    Parameters
    ----------
    strip : xr.Dataset
        A checked strip.

    Returns
    -------
    xr.DataArray
        Boolean (line, pixel) [1].
    """
    return ((strip["counts"] >= line_packet.FULL_SCALE) & strip["line_valid"]).any("band")


def _by_band(array: xr.DataArray, values: FloatArray) -> xr.DataArray:
    return xr.DataArray(values.astype(np.float32), dims="band", coords={"band": array["band"]})
