"""Active fires of 10 to 30 m from reflectance near 0.86, 1.6 and 2.2 um.

After Schroeder et al. 2016 (Remote Sens. Environ. 185, 210-220): a fire shines near 2.2 um and hardly at 0.86 um, so
rho7 / rho5 tells it from ground; candidates must exceed their surroundings of 61 x 61 pixels; the core of a strong
fire wraps around or saturates and is told by 1.6 um. Roofs and bare ground are as bright at 1.6 um as at 2.2 um, sun
glint is as bright at all wavelengths, and so is smoke that hides the ground.

The radiative power is an estimate within a factor. Two bands give the temperature of what flames and the area it fills,

    dL7 / dL6 = B(2.2, T) / B(1.6, T),   FRP = A sigma T^4 dL / B(T),

but most flames saturate the band near 2.2 um, and then the one near 1.6 um tells the power, ten times over between
800 and 1300 K. What is usual of flames is therefore held against what the pixels at and beside the fire say: those that
nothing saturates by the ratio of their bands, as far as the ground beneath is known, those that the longer band
saturates by being no hotter than both together allow. The spread of the power over the temperatures that remain is its
sigma. Where both bands are saturated, it is a lower limit. What only smoulders hardly shines at 2 um and is left out.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, ByteArray, FloatArray
from retrieval.surface import _active_fire_kernels, active_fire, fire_power

CAUSES = {20: "fire_unambiguous", 21: "fire_contextual", 22: "fire_core"}
"""What was decided about a pixel."""
HALO = 31
"""Pixels around a block that its result depends on [pixel]."""

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SwirFireParameters:
    """Thresholds of Schroeder et al. 2016, and of the estimate of power.

    Parameters
    ----------
    certain : tuple of float
        Least rho7 / rho5, rho7 - rho5 and rho7 of an unambiguous fire [1].
    candidate : tuple of float
        Least rho7 / rho5 and rho7 - rho5 of a candidate [1].
    spreads : float
        Standard deviations a candidate must exceed the background by [1].
    margins : tuple of float
        Least excess of rho7 / rho5 and of rho7 over the background [1].
    least_swir_ratio : float
        Least rho7 / rho6 of a candidate [1].
    core : tuple of float
        Least rho6, largest rho1, least rho5, largest rho7 of an oversaturated core [1].
    half : int
        Half width of the background window [pixel].
    least_count : int
        Usable background pixels needed [1].
    night_swir : float
        Least reflectance near 2.2 um of a fire by night [1].
    night_zenith : float
        Zenith angle of the sun from which it is night [degree].
    wavelengths : tuple of float
        Effective wavelengths of the bands near 1.6 and 2.2 um [um].
    irradiance : tuple of float
        Irradiance of the sun in these bands, which near 1.6 um is that of a hotter body than the sun's mean: published
        for the bands 11 and 12 of MSI [W m-2 um-1].
    saturation : float
        Reflectance near 2.2 um from which the band is taken as saturated [1].
    usual_temperature : float
        Usual temperature of flames [K].
    temperature_doubt : float
        Standard deviation of the temperature of flames [K].
    temperatures : tuple of float
        Coldest and hottest temperature looked for [K].
    glow : float
        Excess near 2.2 um from which a pixel beside a fire tells its temperature [1].
    glow_reach : int
        Distance of such pixels [pixel].
    ground_doubt : float
        Standard deviation of the ground beneath a fire, ash or plants, in either band [1].
    most_doubt : float
        Largest relative standard deviation that is stated [1].
    spread : float
        Relative standard deviation of the power for fires that are not of one temperature [1].
    """

    certain: tuple[float, float, float] = (2.5, 0.3, 0.5)
    candidate: tuple[float, float] = (1.8, 0.17)
    spreads: float = 3.0
    margins: tuple[float, float] = (0.8, 0.08)
    least_swir_ratio: float = 1.6
    core: tuple[float, float, float, float] = (0.8, 0.2, 0.4, 0.1)
    half: int = 30
    least_count: int = 100
    night_swir: float = 0.1
    night_zenith: float = 88.0
    wavelengths: tuple[float, float] = (1.61, 2.2)
    irradiance: tuple[float, float] = (245.6, 85.2)
    saturation: float = 1.2
    usual_temperature: float = 1000.0
    temperature_doubt: float = 150.0
    temperatures: tuple[float, float] = (600.0, 1500.0)
    glow: float = 0.25
    glow_reach: int = 4
    ground_doubt: float = 0.05
    most_doubt: float = 2.0
    spread: float = 0.3


class ReflectanceScene(NamedTuple):
    """What is measured, reflectance (y, x) [1] throughout."""

    nir: Float32Array
    """Near 0.86 um [1]."""
    swir1: Float32Array
    """Near 1.6 um [1]."""
    swir2: Float32Array
    """Near 2.2 um [1]."""
    red: Float32Array | None = None
    """Near 0.65 um [1]."""
    blue: Float32Array | None = None
    """Near 0.45 um [1]."""
    green: Float32Array | None = None
    """Near 0.55 um [1]."""
    water: BoolArray | None = None
    """Where there is water (y, x)."""
    cloud: BoolArray | None = None
    """Where there is cloud (y, x)."""


class SwirFireField(NamedTuple):
    """What a scene shows, (y, x) throughout."""

    classes: ByteArray
    """0 no fire, 1 fire, 255 no data or not to be judged [1]."""
    confidence: ByteArray
    """1 low, 2 nominal, 3 high, 0 where there is no fire [1]."""
    cause: ByteArray
    """Key of `CAUSES`, 0 where nothing burns [1]."""
    power: Float32Array
    """Radiative power of the pixel [MW], NaN where there is no fire."""
    power_sigma: Float32Array
    """Its standard deviation for doubt of ground and temperature [MW]."""
    saturated: BoolArray
    """Fires whose power is a lower limit."""


def detect(
    scene: ReflectanceScene,
    *,
    pixel_area: float,
    sun_zenith: float,
    parameters: SwirFireParameters | None = None,
) -> SwirFireField:
    """Find the pixels that burn.

    Parameters
    ----------
    scene : ReflectanceScene
        Reflectance [1], at the top of the atmosphere or the surface.
    pixel_area : float
        Ground area of a pixel [m2].
    sun_zenith : float
        Zenith angle of the sun [degree].
    parameters : SwirFireParameters, optional
        Thresholds.

    Returns
    -------
    SwirFireField
        Classes, confidence and power. A block padded with `HALO` pixels gives what the whole scene gives.
    """
    chosen = parameters or SwirFireParameters()
    known = np.isfinite(scene.nir) & np.isfinite(scene.swir1) & np.isfinite(scene.swir2)
    cloud = np.zeros(known.shape, dtype=bool) if scene.cloud is None else scene.cloud
    night = sun_zenith >= chosen.night_zenith
    certain, core = (_night(scene, chosen), np.zeros_like(known)) if night else _certain(scene, chosen)
    water = _water(scene) if scene.water is None else scene.water
    contextual = np.zeros_like(known)
    poor = np.zeros_like(known)
    if not night:
        burning = certain | core
        contextual, poor = _contextual(scene, known & ~burning & ~cloud & ~water, burning, chosen)
    cause = np.select([certain, core, contextual], [20, 22, 21], default=0).astype(np.uint8)
    # Fire shines through smoke, which cloud masks take for cloud; beneath true cloud nothing would shine.
    cause[~known | (cloud & (cause == 21))] = 0
    burning = cause > 0
    classes = np.where(known & ~cloud & ~poor, active_fire.NO_FIRE, active_fire.NO_DATA).astype(np.uint8)
    classes[burning] = active_fire.FIRE
    degrees = [active_fire.HIGH, active_fire.NOMINAL]
    confidence = np.select([certain & burning, burning], degrees, default=0).astype(np.uint8)
    confidence[burning & (water | cloud)] = active_fire.LOW
    power, sigma, saturated = _power(scene, burning, pixel_area, sun_zenith, chosen)
    return SwirFireField(classes, confidence, cause, power, sigma, saturated & burning)


def _ratio(scene: ReflectanceScene) -> Float32Array:
    ratio: Float32Array = (scene.swir2 / np.maximum(scene.nir, np.float32(1e-3))).astype(np.float32, copy=False)
    return ratio


def _certain(scene: ReflectanceScene, chosen: SwirFireParameters) -> tuple[BoolArray, BoolArray]:
    ratio, apart, swir = chosen.certain
    with np.errstate(invalid="ignore"):
        certain = (_ratio(scene) > ratio) & (scene.swir2 - scene.nir > apart) & (scene.swir2 > swir)
        # What the sun heats or lights is as bright at 1.6 um.
        certain &= (scene.swir2 > chosen.least_swir_ratio * scene.swir1) | (scene.swir1 > chosen.core[0])
        bright, dark, lit, folded = chosen.core
        core = (scene.swir1 > bright) & ((scene.nir > lit) | (scene.swir2 < folded))
        visible = scene.blue if scene.blue is not None else scene.red
        core &= visible < dark if visible is not None else np.zeros_like(core)
        # Vegetation and soil are never brighter near 1.6 um than this many times near 0.86 um.
        core &= (scene.swir1 > chosen.least_swir_ratio * scene.nir) | (scene.swir2 < folded)
    return certain, core


def _night(scene: ReflectanceScene, chosen: SwirFireParameters) -> BoolArray:
    with np.errstate(invalid="ignore"):
        return (scene.swir2 > chosen.night_swir) & (scene.swir2 > chosen.least_swir_ratio * scene.swir1)


def _water(scene: ReflectanceScene) -> BoolArray:
    """Water by falling reflectance (Schroeder et al. 2016, equations 8 and 9)."""
    if scene.red is None or scene.blue is None or scene.green is None:
        return np.zeros(scene.nir.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        falling = (scene.red > scene.nir) & (scene.nir > scene.swir1) & (scene.swir1 > scene.swir2)
        dark = scene.blue - scene.swir2 < 0.2
        hue = (scene.green > scene.blue) | ((scene.blue > scene.green) & (scene.green > scene.red))
        return falling & dark & hue


def _contextual(
    scene: ReflectanceScene, usable: BoolArray, burning: BoolArray, chosen: SwirFireParameters
) -> tuple[BoolArray, BoolArray]:
    ratio = _ratio(scene)
    with np.errstate(invalid="ignore"):
        candidate = (ratio > chosen.candidate[0]) & (scene.swir2 - scene.nir > chosen.candidate[1]) & ~burning
        candidate &= scene.swir2 > chosen.least_swir_ratio * scene.swir1
    points = np.argwhere(candidate)
    table = _active_fire_kernels.swir_backgrounds(
        points, ratio, scene.swir2, usable & ~candidate, chosen.half, chosen.least_count
    )
    at = tuple(points.T)
    with np.errstate(invalid="ignore"):
        found = ratio[at] > table[:, 1] + np.maximum(chosen.spreads * table[:, 2], chosen.margins[0])
        found &= scene.swir2[at] > table[:, 3] + np.maximum(chosen.spreads * table[:, 4], chosen.margins[1])
    contextual, poor = np.zeros_like(candidate), np.zeros_like(candidate)
    contextual[at] = found
    poor[at] = ~np.isfinite(table[:, 1])
    return contextual, poor


def _power(
    scene: ReflectanceScene, burning: BoolArray, area: float, sun_zenith: float, chosen: SwirFireParameters
) -> tuple[Float32Array, Float32Array, BoolArray]:
    """Power of every fire pixel, its standard deviation, and where it is a lower limit."""
    cosine = max(math.cos(math.radians(sun_zenith)), math.cos(math.radians(chosen.night_zenith)))
    white = np.array(chosen.irradiance) * cosine / math.pi
    points = np.argwhere(burning)
    usable = ~burning & np.isfinite(scene.swir1) & np.isfinite(scene.swir2)
    table = _active_fire_kernels.swir_backgrounds(
        points, scene.swir1, scene.swir2, usable, chosen.half, chosen.least_count
    )
    ground = np.where(np.isfinite(table[:, [1, 3]]), table[:, [1, 3]], 0.0)
    own = np.stack([scene.swir1[burning], scene.swir2[burning]], axis=1).astype(np.float64)
    above = np.maximum(own - ground, 0.0)
    with np.errstate(invalid="ignore"):
        full = own >= chosen.saturation
        # What folds at 2 um is saturated too.
        full[:, 1] |= (own[:, 0] > chosen.core[0]) & (own[:, 1] < own[:, 0])
    glow = _active_fire_kernels.swir_glow(
        points, scene.swir1, scene.swir2, ground, chosen.saturation, chosen.glow, chosen.glow_reach
    )
    weight = _temperatures(glow, ground, white, chosen)
    # The longer band says more of what is cool, as long as it is not saturated.
    band = np.where(full[:, 1], 0, 1)
    light = above[np.arange(len(points)), band] * white[band]
    logarithm, doubt = _log_power(light, band, weight, chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        doubt = np.hypot(doubt, chosen.ground_doubt * white[band] / light)
    power, sigma = (np.full(burning.shape, np.nan, dtype=np.float32) for _ in range(2))
    # Where nothing measures it, the power is at least what the hottest flames in reason would have.
    power[burning] = 1e-6 * area * np.exp(np.where(full[:, 0], logarithm - doubt, logarithm))
    sigma[burning] = power[burning] * np.minimum(doubt, chosen.most_doubt)
    saturated = np.zeros(burning.shape, dtype=bool)
    saturated[burning] = full[:, 0]
    return power, sigma, saturated


def _temperatures(glow: FloatArray, ground: FloatArray, white: FloatArray, chosen: SwirFireParameters) -> FloatArray:
    """Weight of every temperature at every fire pixel (pixel, temperature), adding up to one [1]."""
    trial = np.linspace(*chosen.temperatures, 91)
    one, two = (fire_power.radiance(trial, wavelength=wavelength) for wavelength in chosen.wavelengths)
    # Reflectance near 1.6 um per reflectance near 2.2 um that flames add.
    curve = (one / white[0]) / (two / white[1])
    product, square, total, least = glow.T[:, :, None]
    cost = np.broadcast_to(
        ((trial - chosen.usual_temperature) / chosen.temperature_doubt) ** 2, (len(glow), len(trial))
    )
    seen = square > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (product / square - curve) / (chosen.ground_doubt * total / square)
        beyond = (curve * (chosen.saturation - ground[:, 1:]) - least) / chosen.ground_doubt
    cost = cost + np.where(seen, apart**2, 0.0) + np.where(np.isfinite(least), np.maximum(beyond, 0.0) ** 2, 0.0)
    weight = np.exp(-0.5 * (cost - cost.min(axis=1, keepdims=True)))
    normal: FloatArray = weight / weight.sum(axis=1, keepdims=True)
    return normal


def _log_power(
    light: FloatArray, band: npt.NDArray[np.intp], weight: FloatArray, chosen: SwirFireParameters
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the logarithm of the power of radiance in a band [W m-2]."""
    trial = np.linspace(*chosen.temperatures, 91)
    emitted = np.stack([fire_power.radiance(trial, wavelength=wavelength) for wavelength in chosen.wavelengths])[band]
    with np.errstate(divide="ignore"):
        share = np.minimum(light[:, None] / emitted, 1.0)
        logarithm = np.log(fire_power.STEFAN_BOLTZMANN * share * trial**4)
    mean = np.sum(weight * logarithm, axis=1)
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.sum(weight * (logarithm - mean[:, None]) ** 2, axis=1))
    return mean, spread
