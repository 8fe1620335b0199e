"""Standard deviations: estimated for the bending angle by level, propagated through the linear steps after it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import FloatArray
from retrieval.occultation import dry_atmosphere


@dataclass(frozen=True)
class UncertaintyParameters:
    """Correlation lengths of the errors.

    Attributes
    ----------
    observation_length : float
        Correlation length of the observed bending [m], from the window of the Doppler filter.
    background_length : float
        Correlation length of the background [m], Gobiet and Kirchengast (2004).
    background_error : float
        Relative standard deviation of the background [1].
    relative_floor : float
        Smallest relative standard deviation of the observation [1].
    multipath_surface, multipath_aloft : float
        Relative standard deviation of geometric optics below crossing rays, at zero impact height and at
        `multipath_depth` and above [1]: the errors ECMWF assigns to bending angles.
    multipath_depth : float
        Impact height at which the second value is reached [m].
    multipath_tolerance : float
        Rise of the impact parameter against the motion that counts as crossing rays [m].
    multipath_ceiling : float
        Impact height above which rays do not cross [m].
    """

    observation_length: float = 1_000.0
    background_length: float = 6_000.0
    background_error: float = 0.15
    relative_floor: float = 0.001
    multipath_surface: float = 0.20
    multipath_aloft: float = 0.0125
    multipath_depth: float = 10_000.0
    multipath_tolerance: float = 150.0
    multipath_ceiling: float = 15_000.0


class ProfileUncertainty(NamedTuple):
    """Standard deviations of the derived profiles.

    Attributes
    ----------
    refractivity : FloatArray
        Of the refractivity [1e-6].
    dry_temperature : FloatArray
        Of the dry temperature [K].
    """

    refractivity: FloatArray
    dry_temperature: FloatArray


def bending_uncertainty(
    bending_angle: FloatArray,
    *,
    scatter: FloatArray,
    noise: float,
    impact_height: FloatArray,
    multipath_top: float,
    parameters: UncertaintyParameters,
) -> FloatArray:
    """Standard deviation of the corrected bending angle by level.

    Parameters
    ----------
    bending_angle : FloatArray
        Corrected bending angle [rad], shape (m,).
    scatter : FloatArray
        Standard deviation of the samples about the local line [rad]: multipath and scintillation.
    noise : float
        Standard deviation at great height [rad]: receiver, clocks and residual ionosphere.
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m].
    multipath_top : float
        Impact height below which rays cross [m], NaN where none do.
    parameters : UncertaintyParameters
        Floor and the error of geometric optics among crossing rays.

    Returns
    -------
    FloatArray
        Root of the summed squares [rad], NaN where nothing was observed.
    """
    descent = np.clip(impact_height / parameters.multipath_depth, 0.0, 1.0)
    multipath = parameters.multipath_surface + descent * (parameters.multipath_aloft - parameters.multipath_surface)
    relative = np.where(impact_height <= multipath_top, multipath, parameters.relative_floor)
    return np.asarray(np.sqrt(noise**2 + np.nan_to_num(scatter) ** 2 + (relative * np.abs(bending_angle)) ** 2))


def correlated(deviation: FloatArray, *, at: FloatArray, length: float) -> FloatArray:
    """Covariance with exponential correlation.

    Parameters
    ----------
    deviation : FloatArray
        Standard deviations [1], shape (m,).
    at : FloatArray
        Positions of the levels [m].
    length : float
        Correlation length [m].

    Returns
    -------
    FloatArray
        Covariance [1], shape (m, m).
    """
    return np.asarray(np.outer(deviation, deviation) * np.exp(-np.abs(at[:, None] - at) / length))


def optimized_covariance(
    observation_error: FloatArray,
    *,
    background: FloatArray,
    weight: FloatArray,
    impact_parameter: FloatArray,
    parameters: UncertaintyParameters,
) -> FloatArray:
    """Covariance of the optimised bending angle.

    Parameters
    ----------
    observation_error : FloatArray
        Standard deviation of the observation [rad], NaN where nothing was observed.
    background : FloatArray
        Background bending angle [rad].
    weight : FloatArray
        Weight of the observation [1].
    impact_parameter : FloatArray
        Levels [m].
    parameters : UncertaintyParameters
        Correlation lengths and background error.

    Returns
    -------
    FloatArray
        W O W + (1 - W) B (1 - W) [1], shape (m, m), in rad2.
    """
    observed = correlated(
        weight * np.nan_to_num(observation_error), at=impact_parameter, length=parameters.observation_length
    )
    prior = correlated(
        (1.0 - weight) * parameters.background_error * background,
        at=impact_parameter,
        length=parameters.background_length,
    )
    return observed + prior


def propagate(
    covariance: FloatArray,
    *,
    operator: FloatArray,
    refractivity: FloatArray,
    altitude: FloatArray,
    latitude: float,
    dry_pressure: FloatArray,
    dry_temperature: FloatArray,
) -> ProfileUncertainty:
    """Carry the covariance of the bending angle to refractivity and dry temperature.

    Parameters
    ----------
    covariance : FloatArray
        Covariance of the optimised bending angle [1], shape (m, m), in rad2.
    operator : FloatArray
        Inverse Abel operator, ln n = K y [1].
    refractivity : FloatArray
        Refractivity [1e-6].
    altitude : FloatArray
        Altitude [m].
    latitude : float
        Geodetic latitude [degree].
    dry_pressure : FloatArray
        Dry pressure [Pa].
    dry_temperature : FloatArray
        Dry temperature [K].

    Returns
    -------
    ProfileUncertainty
        C_N = K C K^T; dT/T = dp/p - dN/N with p = A N.
    """
    to_refractivity = 1e6 * operator
    half = to_refractivity @ covariance
    refractivity_variance = np.einsum("ij,ij->i", half, to_refractivity)
    to_temperature = (
        dry_atmosphere.pressure_operator(altitude, latitude=latitude, top_temperature=float(dry_temperature[-1]))
        / dry_pressure[:, None]
    )
    to_temperature[np.diag_indices_from(to_temperature)] -= 1.0 / refractivity
    chain = to_temperature @ to_refractivity
    temperature_variance = np.einsum("ij,ij->i", chain @ covariance, chain) * dry_temperature**2
    return ProfileUncertainty(
        np.sqrt(np.maximum(refractivity_variance, 0.0)), np.sqrt(np.maximum(temperature_variance, 0.0))
    )
