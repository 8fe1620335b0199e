"""Dry pressure and dry temperature: what the refractivity would mean without water vapour.

p(z) = p_top + Int N g / (k1 R_d) dz and T = k1 p / N, hydrostatic, with gravity by latitude and altitude (Kursinski et
al. 1997).
"""

from typing import Any, NamedTuple

import numpy as np

from processors import constants
from processors.arrays import AnyFloat, FloatArray
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
    own : AnyFloat
        With itself [1], in Pa2.
    with_refractivity : AnyFloat
        With the refractivity, which counts by column [Pa].
    """

    own: AnyFloat
    with_refractivity: AnyFloat


def pressure_covariances(
    covariance: AnyFloat, *, altitude: FloatArray, latitude: float, top_temperature: float
) -> PressureCovariances:
    """Covariances of the dry pressure from that of the refractivity, C_p = A C A^T, by running sums.

    Parameters
    ----------
    covariance : AnyFloat
        Covariance of the refractivity [1], in N-units squared, shape (m, m), in single or double precision.
    altitude : FloatArray
        Altitude above the geoid [m], increasing.
    latitude : float
        Geodetic latitude [degree].
    top_temperature : float
        Temperature at the uppermost level [K].

    Returns
    -------
    PressureCovariances
        A C A^T and A C, with the operator of `pressure_operator`, in the precision of the input.
    """
    weight = gravity.at_altitude(latitude, altitude) / (constants.REFRACTIVITY_DRY * constants.GAS_CONSTANT_DRY_AIR)
    half = 0.5 * np.diff(altitude)
    below, above = (np.asarray((half * part)[:, None], dtype=covariance.dtype) for part in (weight[:-1], weight[1:]))
    top = top_temperature / constants.REFRACTIVITY_DRY

    def integrated(values: Any) -> Any:
        steps = np.empty_like(values)
        steps[-1] = top * values[-1]
        steps[:-1] = below * values[:-1]
        steps[:-1] += above * values[1:]
        return np.cumsum(steps[::-1], axis=0)[::-1]

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
