"""Dry pressure and dry temperature: what the refractivity would mean without water vapour.

p(z) = p_top + Int N g / (k1 R_d) dz and T = k1 p / N, hydrostatic, with gravity by latitude and altitude (Kursinski et
al. 1997).
"""

from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import gravity


class DryAtmosphere(NamedTuple):
    """Dry profile.

    Attributes
    ----------
    pressure : FloatArray
        Dry pressure [Pa].
    temperature : FloatArray
        Dry temperature [K].
    """

    pressure: FloatArray
    temperature: FloatArray


def dry_atmosphere(
    refractivity: FloatArray, *, altitude: FloatArray, latitude: float, top_temperature: float
) -> DryAtmosphere:
    """Integrate the hydrostatic equation downward.

    Parameters
    ----------
    refractivity : FloatArray
        Refractivity [1e-6], shape (m,).
    altitude : FloatArray
        Altitude above the geoid [m], increasing.
    latitude : float
        Geodetic latitude [degree].
    top_temperature : float
        Temperature at the uppermost level [K]; its error fades by 1/e in each scale height below.

    Returns
    -------
    DryAtmosphere
        Dry pressure, and dry temperature that is NaN where noise makes the refractivity negative.
    """
    top_pressure = refractivity[-1] * top_temperature / constants.REFRACTIVITY_DRY
    weight = refractivity * gravity.at_altitude(latitude, altitude)
    steps = _exponential_steps(weight, altitude=altitude) / (
        constants.REFRACTIVITY_DRY * constants.GAS_CONSTANT_DRY_AIR
    )
    pressure = top_pressure + np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    usable = np.where(refractivity > 0.0, refractivity, np.nan)
    return DryAtmosphere(pressure, constants.REFRACTIVITY_DRY * pressure / usable)


def _exponential_steps(weight: FloatArray, *, altitude: FloatArray) -> FloatArray:
    """Integrals between levels of a quantity that falls exponentially between them, or linearly where not positive."""
    lower, upper, depth = weight[:-1], weight[1:], np.diff(altitude)
    positive = (lower > 0.0) & (upper > 0.0)
    ratio = np.log(np.where(positive, lower, 1.0) / np.where(positive, upper, 1.0))
    linear = np.abs(ratio) < 1e-6
    return np.where(linear, 0.5 * (lower + upper), (lower - upper) / np.where(linear, 1.0, ratio)) * depth


class PressureCovariances(NamedTuple):
    """Covariances of the dry pressure, shape (m, m).

    Attributes
    ----------
    own : FloatArray
        With itself [1], in Pa2.
    with_refractivity : FloatArray
        With the refractivity, which counts by column [Pa].
    """

    own: FloatArray
    with_refractivity: FloatArray


def pressure_covariances(
    covariance: FloatArray, *, altitude: FloatArray, latitude: float, top_temperature: float
) -> PressureCovariances:
    """Covariances of the dry pressure from that of the refractivity, C_p = A C A^T, by running sums.

    Parameters
    ----------
    covariance : FloatArray
        Covariance of the refractivity [1], in N-units squared, shape (m, m).
    altitude : FloatArray
        Altitude above the geoid [m], increasing.
    latitude : float
        Geodetic latitude [degree].
    top_temperature : float
        Temperature at the uppermost level [K].

    Returns
    -------
    PressureCovariances
        A C A^T and A C, with the operator of `pressure_operator`.
    """
    weight = gravity.at_altitude(latitude, altitude) / (constants.REFRACTIVITY_DRY * constants.GAS_CONSTANT_DRY_AIR)
    half_depth = 0.5 * np.diff(altitude)[:, None]

    def integrated(values: FloatArray) -> FloatArray:
        weighted = weight[:, None] * values
        steps = half_depth * (weighted[1:] + weighted[:-1])
        total = np.zeros_like(values)
        total[:-1] = np.cumsum(steps[::-1], axis=0)[::-1]
        return np.asarray(total + top_temperature / constants.REFRACTIVITY_DRY * values[-1])

    crossed = integrated(covariance)
    return PressureCovariances(integrated(np.ascontiguousarray(crossed.T)), crossed)


def pressure_operator(altitude: FloatArray, *, latitude: float, top_temperature: float) -> FloatArray:
    """Linear operator from refractivity to dry pressure (trapezoids), for error propagation.

    Parameters
    ----------
    altitude : FloatArray
        Altitude above the geoid [m], increasing, shape (m,).
    latitude : float
        Geodetic latitude [degree].
    top_temperature : float
        Temperature at the uppermost level [K].

    Returns
    -------
    FloatArray
        Operator [Pa], shape (m, m): p = A N, the pressure at the top included.
    """
    depth = np.diff(altitude) / 2.0
    weights = np.zeros((altitude.size, altitude.size))
    rows, columns = np.triu_indices(altitude.size - 1)
    weights[rows, columns] += depth[columns]
    weights[rows, columns + 1] += depth[columns]
    scale = gravity.at_altitude(latitude, altitude) / (constants.REFRACTIVITY_DRY * constants.GAS_CONSTANT_DRY_AIR)
    operator = np.asarray(weights * scale)
    operator[:, -1] += top_temperature / constants.REFRACTIVITY_DRY
    return operator
