"""Illumination of slopes taken off, as canopy, soil or by an exponent.

SCS+C (Soenen et al. 2005) is for trees, which stand upright on the slope; C (Teillet et al. 1982) for ground that lies
on it; Minnaert with slope (Smith et al. 1980) has an exponent instead of the light of the sky. All are fitted to the
scene itself, band by band and stratum by stratum, on slopes steep enough to say something. C is not b / m of the
regression of reflectance on the cosine of incidence, which is exact for C alone and overcorrects with SCS+C on steep
slopes, but the value that leaves the corrected reflectance without dependence. The fit is applied pixel by pixel, so
blocks of a scene give what the whole gives once the fit is there. Slopes need one pixel of elevation around.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, FloatArray, IntArray
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]

_LARGEST = 50.0
"""C at which next to nothing is corrected [1]."""


@dataclass(frozen=True)
class TopographyParameters:
    """Topographic correction.

    Parameters
    ----------
    method : str
        "scs+c", "c" or "minnaert".
    minimum_cosine : float
        Cosine of the incidence angle below which a slope is left out: what light it has comes from the sky [1].
    minimum_slope : float
        Slope from which pixels enter the fit [degree].
    minimum_pixels : int
        Pixels that a fit needs [1].
    minimum_significance : float
        Slope of the fit over its standard error from which illumination matters at all [1].
    """

    method: Literal["scs+c", "c", "minnaert"] = "scs+c"
    minimum_cosine: float = 0.2
    minimum_slope: float = 5.0
    minimum_pixels: int = 200
    minimum_significance: float = 4.0


class Illumination(NamedTuple):
    """How the sun meets the ground.

    Attributes
    ----------
    cosine : Float32Array
        Cosine of the angle between the sun and the normal of the slope (y, x) [1].
    slope_cosine : Float32Array
        Cosine of the slope (y, x) [1].
    sun_cosine : Float32Array
        Cosine of the sun zenith angle (y, x) [1].
    """

    cosine: Float32Array
    slope_cosine: Float32Array
    sun_cosine: Float32Array


class Fit(NamedTuple):
    """Constants of one band and stratum.

    Attributes
    ----------
    constant : float
        C of SCS+C and C, or k of Minnaert [1]; NaN where illumination does not matter or cannot be known.
    sigma : float
        Standard uncertainty of that [1].
    pixels : int
        Pixels of the fit [1].
    """

    constant: float
    sigma: float
    pixels: int


class CorrectedSlopes(NamedTuple):
    """Reflectance as if the ground were level.

    Attributes
    ----------
    reflectance : Float32Array
        Reflectance (band, y, x) [1]; NaN where the slope is left out or its elevation unknown.
    sigma : Float32Array
        Standard uncertainty (band, y, x) [1].
    excluded : BoolArray
        Slopes in grazing light or turned away from the sun (y, x).
    """

    reflectance: Float32Array
    sigma: Float32Array
    excluded: BoolArray


def illumination(
    elevation: FloatArray, *, resolution: tuple[float, float], sun_zenith: FloatArray, sun_azimuth: FloatArray
) -> Illumination:
    """Incidence of the sun on the slopes of a terrain (Horn 1981).

    Parameters
    ----------
    elevation : FloatArray
        Elevation on a north-up grid of a projected system (y, x) [m], NaN where unknown.
    resolution : tuple of float
        Size of a pixel east and north, both positive [m].
    sun_zenith, sun_azimuth : FloatArray
        Angles of the sun, azimuth clockwise from grid north, (y, x) or one value [degree].

    Returns
    -------
    Illumination
        Cosines; NaN beside unknown elevations. The outermost pixels repeat their neighbors' elevation.

    Raises
    ------
    BadInputError
        `dem_missing` where no elevation is known at all.
    """
    if not np.isfinite(elevation).any():
        raise BadInputError("dem_missing", "the elevation of the terrain is unknown everywhere")
    east, north = _gradient(np.asarray(elevation, dtype=np.float64), resolution)
    zenith, azimuth = np.radians(sun_zenith), np.radians(sun_azimuth)
    slope_cosine = 1.0 / np.sqrt(1.0 + east**2 + north**2)
    toward = east * np.sin(azimuth) + north * np.cos(azimuth)
    cosine = slope_cosine * (np.cos(zenith) - np.sin(zenith) * toward)
    sun = np.broadcast_to(np.cos(zenith), cosine.shape)
    return Illumination(*(layer.astype(np.float32) for layer in (cosine, slope_cosine, sun)))


def _gradient(elevation: FloatArray, resolution: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Rise per meter toward east and north over three by three pixels."""
    padded = np.pad(elevation, 1, mode="reflect", reflect_type="odd")
    rows, columns = elevation.shape

    def at(row: int, column: int) -> FloatArray:
        return np.asarray(padded[1 + row : 1 + row + rows, 1 + column : 1 + column + columns])

    east = sum(weight * (at(row, 1) - at(row, -1)) for row, weight in ((-1, 1.0), (0, 2.0), (1, 1.0)))
    north = sum(weight * (at(-1, column) - at(1, column)) for column, weight in ((-1, 1.0), (0, 2.0), (1, 1.0)))
    return np.asarray(east / (8.0 * resolution[0])), np.asarray(north / (8.0 * resolution[1]))


def fit(
    reflectance: Float32Array,
    light: Illumination,
    *,
    usable: BoolArray,
    strata: IntArray | None = None,
    parameters: TopographyParameters | None = None,
) -> list[dict[int, Fit]]:
    """Constants of every band and stratum.

    Parameters
    ----------
    reflectance : Float32Array
        Reflectance (band, y, x) [1].
    light : Illumination
        Illumination of the same pixels.
    usable : BoolArray
        Pixels without cloud, shadow or water (y, x).
    strata : IntArray, optional
        Kind of ground (y, x), such as classes of a vegetation index; without it all ground is of kind 0.
    parameters : TopographyParameters, optional
        The correction.

    Returns
    -------
    list of dict
        For every band the fit of every stratum.
    """
    chosen = parameters or TopographyParameters()
    kinds = np.zeros(usable.shape, dtype=np.int64) if strata is None else strata
    steep = light.slope_cosine < np.cos(np.radians(chosen.minimum_slope))
    known = usable & steep & (light.cosine >= chosen.minimum_cosine)
    return [
        {int(kind): _fitted(layer, light, known & (kinds == kind), chosen) for kind in np.unique(kinds)}
        for layer in reflectance
    ]


def _fitted(layer: Float32Array, light: Illumination, where: BoolArray, parameters: TopographyParameters) -> Fit:
    where = where & np.isfinite(layer) & (layer > 0)
    count = int(where.sum())
    if count < parameters.minimum_pixels:
        return Fit(np.nan, np.nan, count)
    incidence, value = light.cosine[where].astype(np.float64), layer[where].astype(np.float64)
    if parameters.method == "minnaert":
        slope = light.slope_cosine[where].astype(np.float64)
        incidence, value = np.log(incidence * slope), np.log(value * slope)
    gain, error = _regression(incidence, value)
    if not gain > parameters.minimum_significance * error:
        return Fit(np.nan, np.nan, count)
    if parameters.method == "minnaert":
        return Fit(gain, error, count)
    level = light.sun_cosine[where].astype(np.float64)
    if parameters.method == "scs+c":
        level = level * light.slope_cosine[where]
    constant = _independent(value, incidence, level)
    return Fit(constant, float(value.mean() / gain * error / gain), count)


def _independent(value: FloatArray, incidence: FloatArray, level: FloatArray) -> float:
    """C at which corrected reflectance and cosine of incidence have no covariance."""
    around = incidence - incidence.mean()

    def covariance(constant: float) -> float:
        return float((around * value * (level + constant) / (incidence + constant)).sum())

    low, high = 0.0, _LARGEST
    if covariance(low) >= 0:
        return low
    if covariance(high) <= 0:
        return high
    while high - low > 1e-4 * (0.1 + low):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if covariance(middle) > 0 else (middle, high)
    return 0.5 * (low + high)


def _regression(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and its standard error."""
    around = x - x.mean()
    spread = float((around**2).sum())
    if spread <= 1e-12 * x.size:
        return 0.0, np.inf
    slope = float((around * y).sum()) / spread
    residual = y - y.mean() - slope * around
    return slope, float(np.sqrt((residual**2).sum() / max(x.size - 2, 1) / spread))


def apply(
    reflectance: Float32Array,
    sigma: Float32Array,
    light: Illumination,
    fits: list[dict[int, Fit]],
    *,
    strata: IntArray | None = None,
    parameters: TopographyParameters | None = None,
) -> CorrectedSlopes:
    """Take the illumination off.

    Parameters
    ----------
    reflectance, sigma : Float32Array
        Reflectance and standard uncertainty (band, y, x) [1].
    light : Illumination
        Illumination of the same pixels.
    fits : list of dict
        What `fit` returned; strata without a fit keep their reflectance.
    strata : IntArray, optional
        Kind of ground (y, x).
    parameters : TopographyParameters, optional
        The correction.

    Returns
    -------
    CorrectedSlopes
        Reflectance, uncertainty and what was left out.
    """
    chosen = parameters or TopographyParameters()
    kinds = np.zeros(light.cosine.shape, dtype=np.int64) if strata is None else strata
    excluded = np.asarray(light.cosine < chosen.minimum_cosine, dtype=np.bool_)
    lit = np.where(excluded, np.float32(np.nan), light.cosine)
    values, deviations = np.empty_like(reflectance), np.empty_like(sigma)
    factor = {"scs+c": _scs_factor, "c": _c_factor, "minnaert": _minnaert_factor}[chosen.method]
    for number, constants in enumerate(fits):
        constant, error = _spread(kinds, constants)
        gain, change = factor(lit, light, constant)
        flat = np.where(np.isfinite(lit), np.float32(1.0), np.float32(np.nan))
        gain = np.where(np.isfinite(constant), gain, flat)
        values[number] = reflectance[number] * gain
        by_fit = np.where(np.isfinite(constant), reflectance[number] * change * error, 0.0)
        deviations[number] = np.hypot(sigma[number] * gain, by_fit)
    return CorrectedSlopes(values, deviations, excluded)


def _spread(kinds: IntArray, constants: dict[int, Fit]) -> tuple[FloatArray, FloatArray]:
    """Constant and its uncertainty of every pixel."""
    constant, error = np.full(kinds.shape, np.nan), np.full(kinds.shape, np.nan)
    for kind, found in constants.items():
        constant[kinds == kind], error[kinds == kind] = found.constant, found.sigma
    return constant, error


def _scs_factor(lit: Float32Array, light: Illumination, constant: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(cos alpha cos theta + C) / (cos i + C) and its derivative (Soenen et al. 2005, equation 7)."""
    return _ratio(light.slope_cosine * light.sun_cosine, lit, constant)


def _c_factor(lit: Float32Array, light: Illumination, constant: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(cos theta + C) / (cos i + C) and its derivative (Teillet et al. 1982)."""
    return _ratio(light.sun_cosine, lit, constant)


def _ratio(level: Float32Array, lit: Float32Array, constant: FloatArray) -> tuple[FloatArray, FloatArray]:
    return (level + constant) / (lit + constant), (lit - level) / (lit + constant) ** 2


def _minnaert_factor(lit: Float32Array, light: Illumination, constant: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Factor cos alpha (cos theta / (cos i cos alpha))**k and its derivative (Smith et al. 1980)."""
    ratio = light.sun_cosine / (lit * light.slope_cosine)
    gain = light.slope_cosine * ratio**constant
    return gain, gain * np.log(ratio)


def dependence(reflectance: Float32Array, light: Illumination, where: BoolArray) -> float:
    """Correlation of reflectance with the cosine of incidence, the measure of what is left to correct.

    Parameters
    ----------
    reflectance : Float32Array
        Reflectance of one band (y, x) [1].
    light : Illumination
        Illumination of the same pixels.
    where : BoolArray
        Pixels to look at (y, x).

    Returns
    -------
    float
        Correlation, NaN where fewer than three pixels or none of them differ [1].
    """
    known = where & np.isfinite(reflectance) & np.isfinite(light.cosine)
    if known.sum() < 3 or np.ptp(reflectance[known]) == 0 or np.ptp(light.cosine[known]) == 0:
        return float("nan")
    return float(np.corrcoef(reflectance[known], light.cosine[known])[0, 1])
