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
from retrieval.occultation import abel

SPECIES = slice(1, 9)
TEMPERATURE = 10
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
    """

    f107: float = 120.0
    f107_average: float = 120.0
    ap: float = 8.0
    top: float = 150_000.0
    spacing: float = 200.0
    fit_bottom: float = 35_000.0
    fit_top: float = 60_000.0


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
    """

    altitude: FloatArray
    refractivity: FloatArray
    temperature: FloatArray


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
    """Scale the model to the observation by a straight line between the logarithms.

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
    inside = (impact_height >= parameters.fit_bottom) & (impact_height <= parameters.fit_top)
    inside &= np.isfinite(observed) & (np.nan_to_num(observed) > 3.0 * noise)
    if np.count_nonzero(inside) < 20:
        return FittedBackground(model, 0.0, 1.0, 0)
    log_model = np.log(model)
    weight = model[inside] / np.hypot(noise, 0.02 * model[inside])
    middle = float(np.average(log_model[inside], weights=weight**2))
    slope, offset = np.polyfit(log_model[inside] - middle, np.log(observed[inside]) - log_model[inside], 1, w=weight)
    below = np.maximum(log_model, log_model[inside].min())
    fitted = log_model + offset + slope * (np.minimum(below, log_model[inside].max()) - middle)
    return FittedBackground(np.exp(fitted), float(offset), float(1.0 + slope), int(np.count_nonzero(inside)))
