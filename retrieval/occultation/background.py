"""Background bending angle from the MSIS atmosphere, scaled to the observation.

MSIS 2.1 (Emmert et al. 2022) gives number density and temperature; k1 k_B times the number density is the dry
refractivity. The forward Abel transform makes bending of it, and two parameters fit its logarithm to the observation
below the noise.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pymsis

from processors import constants
from processors.arrays import FloatArray
from processors.quality import BadInputError
from retrieval.occultation import abel

SPECIES = slice(1, 9)
TEMPERATURE = 10
FIT_ITERATIONS = 6
FARTHEST = 3.0
"""Standard deviations beyond which no observation draws the background [1]."""
HIGHEST_BOTTOM, LOWEST_TOP = 5_000.0, 40_000.0
GPS_EPOCH = np.datetime64("1980-01-06", "ns")


@dataclass(frozen=True)
class BackgroundParameters:
    """Solar and geomagnetic activity, and the layer of the fit.

    Attributes
    ----------
    f107, f107_average : float
        Solar radio flux of the previous day and its 81-day mean [1e-22 W m-2 Hz-1].
    ap : float
        Daily geomagnetic index [1].
    top : float
        Altitude to which the model is evaluated [m].
    spacing : float
        Spacing of the model levels [m].
    fit_bottom, fit_top : float
        Impact heights of the layer in which the model is scaled to the observation [m].
    model_error : float
        Relative standard deviation of the scaled model within that layer [1].
    offset_error, slope_error : float
        Standard deviations of the two parameters before the fit [1]: they hold where the observation is too noisy.
    """

    f107: float = 120.0
    f107_average: float = 120.0
    ap: float = 8.0
    top: float = 170_000.0
    spacing: float = 250.0
    fit_bottom: float = 40_000.0
    fit_top: float = 60_000.0
    model_error: float = 0.05
    offset_error: float = 0.5
    slope_error: float = 0.15


class ModelAtmosphere(NamedTuple):
    """Model profile above a point.

    Attributes
    ----------
    altitude : FloatArray
        Altitude above the geoid [m], increasing.
    refractivity : FloatArray
        Dry refractivity [1e-6].
    temperature : FloatArray
        Temperature [K].
    name : str
        What it is.
    """

    altitude: FloatArray
    refractivity: FloatArray
    temperature: FloatArray
    name: str = "MSIS 2.1"


class FittedBackground(NamedTuple):
    """Background bending scaled to the observation.

    Attributes
    ----------
    bending_angle : FloatArray
        Background bending angle [rad], shape (m,).
    offset : float
        Intercept of the fit of the logarithms [1], 0 where no fit was possible.
    slope : float
        Slope of the fit of the logarithms about the middle of the layer [1], 1 where no fit was possible.
    levels : int
        Levels used by the fit [1].
    """

    bending_angle: FloatArray
    offset: float
    slope: float
    levels: int


def model_atmosphere(
    latitude: float, longitude: float, *, time: float, parameters: BackgroundParameters
) -> ModelAtmosphere:
    """Evaluate MSIS 2.1 above a point.

    Parameters
    ----------
    latitude, longitude : float
        Geodetic coordinates [degree].
    time : float
        Time [s since 1980-01-06, GPS]; the seconds to UTC do not matter to the model.
    parameters : BackgroundParameters
        Activity indices and levels.

    Returns
    -------
    ModelAtmosphere
        Refractivity and temperature by altitude.
    """
    altitude = np.arange(0.0, parameters.top + parameters.spacing, parameters.spacing)
    date = GPS_EPOCH + np.timedelta64(int(time), "s")
    output = pymsis.calculate(
        np.array([date]),
        longitude,
        latitude,
        altitude / 1_000.0,
        f107s=[parameters.f107],
        f107as=[parameters.f107_average],
        aps=[[parameters.ap] * 7],
        version=2.1,
    ).reshape(altitude.size, -1)
    density = np.nansum(output[:, SPECIES].astype(np.float64), axis=1)
    refractivity = 1e6 * (1e-6 * constants.REFRACTIVITY_DRY) * constants.BOLTZMANN * density
    return ModelAtmosphere(altitude, refractivity, output[:, TEMPERATURE].astype(np.float64))


def from_table(altitude: FloatArray, refractivity: FloatArray, temperature: FloatArray) -> ModelAtmosphere:
    """Background of a table, such as a forecast's column, continued upward by its uppermost scale height.

    Parameters
    ----------
    altitude : FloatArray
        Altitude above the geoid [m], increasing, shape (k,).
    refractivity : FloatArray
        Refractivity [1e-6].
    temperature : FloatArray
        Temperature [K].

    Returns
    -------
    ModelAtmosphere
        On levels as close as the climatology's, from zero altitude.

    Raises
    ------
    BadInputError
        `background_unusable` where the table does not increase, is not positive or ends below 40 km.
    """
    usable = np.isfinite(altitude) & np.isfinite(refractivity) & np.isfinite(temperature)
    altitude, refractivity, temperature = (
        np.asarray(part, dtype=np.float64)[usable] for part in (altitude, refractivity, temperature)
    )
    ends = altitude.size >= 10 and altitude[0] <= HIGHEST_BOTTOM and altitude[-1] >= LOWEST_TOP
    if not ends or (np.diff(altitude) <= 0.0).any():
        raise BadInputError(
            "background_unusable",
            "the background has no altitudes that increase from below 5 km to 40 km or more",
        )
    if not ((refractivity > 0.0) & (temperature > 0.0)).all():
        raise BadInputError("background_unusable", "the background has refractivities or temperatures below zero")
    rule = BackgroundParameters()
    levels = np.arange(0.0, rule.top + rule.spacing, rule.spacing)
    logarithm = np.log(refractivity)
    top = slice(-5, None)
    low, high = (np.polyfit(altitude[part], logarithm[part], 1)[0] for part in (slice(None, 5), top))
    extended = np.interp(levels, altitude, logarithm)
    extended += np.minimum(levels - altitude[0], 0.0) * low + np.maximum(levels - altitude[-1], 0.0) * high
    return ModelAtmosphere(levels, np.exp(extended), np.interp(levels, altitude, temperature), "table")


def model_bending(model: ModelAtmosphere, *, impact_parameter: FloatArray, surface_radius: float) -> FloatArray:
    """Bending angle of the model on impact levels.

    Parameters
    ----------
    model : ModelAtmosphere
        Model profile.
    impact_parameter : FloatArray
        Levels [m], increasing, below the top of the model.
    surface_radius : float
        Radius of curvature plus undulation [m]: distance of zero altitude from the centre of curvature.

    Returns
    -------
    FloatArray
        Bending angle [rad].
    """
    return abel.bending_from_refractivity(
        model.refractivity, radius=surface_radius + model.altitude, levels=impact_parameter
    )


def fit(
    model: FloatArray,
    *,
    observed: FloatArray,
    impact_height: FloatArray,
    noise: float,
    parameters: BackgroundParameters,
) -> FittedBackground:
    """Scale the model to the observation by a straight line between the logarithms, by weighted least squares.

    Parameters
    ----------
    model : FloatArray
        Model bending angle [rad], shape (m,).
    observed : FloatArray
        Observed bending angle [rad], NaN where missing.
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m].
    noise : float
        Standard deviation of the observation at great height [rad]; weights are the squared signal-to-noise ratio.
    parameters : BackgroundParameters
        Layer of the fit.

    Returns
    -------
    FittedBackground
        Scaled background: ln b = ln m + offset + (slope - 1)(ln m - mean).
    """
    inside = (impact_height >= parameters.fit_bottom) & (impact_height <= parameters.fit_top) & np.isfinite(observed)
    if np.count_nonzero(inside) < 20:
        return FittedBackground(model, 0.0, 1.0, 0)
    log_model = np.log(model)
    middle = float(np.mean(log_model[inside]))
    about = log_model[inside] - middle
    parameter = np.zeros(2)
    prior = np.array([parameters.offset_error, parameters.slope_error])
    for _ in range(FIT_ITERATIONS):
        scaled = np.exp(log_model[inside] + parameter[0] + parameter[1] * about)
        # Levels of one Fresnel zone and one wave share their error: five count as one.
        weight = 1.0 / np.hypot(noise, parameters.model_error * scaled) / np.sqrt(5.0)
        jacobian = np.stack([scaled, scaled * about], axis=1) * weight[:, None]
        normal = jacobian.T @ jacobian + np.diag(prior**-2.0)
        misfit = jacobian.T @ ((observed[inside] - scaled) * weight) - parameter / prior**2
        parameter = np.clip(parameter + np.linalg.solve(normal, misfit), -FARTHEST * prior, FARTHEST * prior)
    held = np.clip(log_model, log_model[inside].min(), log_model[inside].max())
    fitted = log_model + parameter[0] + parameter[1] * (held - middle)
    return FittedBackground(
        np.exp(fitted), float(parameter[0]), float(1.0 + parameter[1]), int(np.count_nonzero(inside))
    )
