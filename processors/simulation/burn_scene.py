"""Forward model of a burn scar before and after the fire, in the solar spectrum, with exact truth.

Severity is a field like the composite burn index (Key and Benson 2006), 0 to 3: patchy, with islands that did not burn.
Every pixel mixes what is green, scorched, charred and bare; the shares follow the severity and no index. Truth is the
difference of the normalized burn ratio of the same ground, day and light with and without the fire, free of noise;
its classes are those of Key and Benson. What the sensors deliver adds the days between the dates, harvests, the sun
on steep slopes, air, noise, clouds with shadows and a shift. Nothing here uses the processing it is meant to test.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import BoolArray
from processors.simulation import imagery_landscape
from processors.simulation.imagery_landscape import Raster

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
"""Bands, in the order of wavelength."""
CLASSES = ("regrowth", "unburned", "low", "moderate-low", "moderate-high", "high")
"""Classes of the difference of the normalized burn ratio, by number."""
THRESHOLDS = (-0.100, 0.100, 0.270, 0.440, 0.660)
"""Lower limits of the classes after the first (Key and Benson 2006, table LA-2, in units of one) [1]."""

_SCORCHED = np.array([0.045, 0.070, 0.105, 0.190, 0.230, 0.150])
_CHAR = np.array([0.032, 0.038, 0.045, 0.075, 0.140, 0.175])
_ASH = np.array([0.150, 0.165, 0.180, 0.210, 0.250, 0.240])
_BURNED_SOIL = np.array([0.060, 0.085, 0.120, 0.175, 0.270, 0.260])
_STUBBLE = np.array([0.075, 0.105, 0.145, 0.230, 0.310, 0.230])
_CLOUD = np.array([0.55, 0.56, 0.57, 0.59, 0.46, 0.37])
# Most severe a fire gets by class of the landscape: forest, crops and grass burn, water and streets do not.
_FUEL = np.array([3.0, 1.9, 1.6, 2.3, 0.4, 0.0, 0.0, 0.0, 0.0])
_CAMERA_BLUR = 0.4
_WATER = (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER)


@dataclass(frozen=True, kw_only=True)
class BurnOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    scars : int
        Number of fires [1].
    burned_share : float
        Share of the scene within their perimeters [1].
    severity : float
        Middle severity within the perimeter, 0 to 3 [1].
    patchiness : float
        Standard deviation of the severity [1].
    islands : float
        Share of islands that did not burn within the perimeter [1].
    relief : float
        Height between the lowest and the highest pixel [m].
    urban_share : float
        Share of the land in towns [1].
    days : tuple of float
        Day of the year before and after [d].
    sun_elevation, sun_azimuth : tuple of float
        Direction of the sun before and after [degree].
    harvest : float
        Share of fields harvested between the dates [1].
    dryness : float
        Loss of green cover of all plants between the dates, beyond the season [1].
    air_offset : tuple of float
        Reflectance the air adds in the blue before and after; it falls with the third power of wavelength [1].
    gain_error : float
        Standard deviation of the calibration of every band and date [1].
    noise : float
        Noise of the reflectance [1].
    cloud_fraction : float
        Share of clouds on either date [1].
    shift : tuple of float
        Shift of the second image, down and right [pixel].
    """

    scars: int = 2
    burned_share: float = 0.15
    severity: float = 1.7
    patchiness: float = 0.75
    islands: float = 0.12
    relief: float = 700.0
    urban_share: float = 0.04
    days: tuple[float, float] = (225.0, 245.0)
    sun_elevation: tuple[float, float] = (62.0, 55.0)
    sun_azimuth: tuple[float, float] = (130.0, 140.0)
    harvest: float = 0.10
    dryness: float = 0.05
    air_offset: tuple[float, float] = (0.004, 0.010)
    gain_error: float = 0.01
    noise: float = 0.003
    cloud_fraction: float = 0.05
    shift: tuple[float, float] = (0.0, 0.0)


class BurnScene(NamedTuple):
    """What the sensors deliver, and the truth."""

    before: Raster
    """Reflectance before (band, y, x) [1]."""
    after: Raster
    """Reflectance after (band, y, x) [1]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    cloud_before: BoolArray
    """Cloud or its shadow before (y, x)."""
    cloud_after: BoolArray
    """Cloud or its shadow after (y, x)."""
    water: BoolArray
    """Water (y, x)."""
    terrain_shadow: BoolArray
    """Not lit by the sun on one of the dates (y, x)."""
    severity: Raster
    """Severity, 0 to 3, 0 outside (y, x) [1]."""
    perimeter: BoolArray
    """Within the perimeter of a fire, islands included (y, x)."""
    burned: BoolArray
    """Severity above nothing (y, x)."""
    dnbr: Raster
    """Difference of the normalized burn ratio by the fire alone, without noise (y, x) [1]."""
    classes: npt.NDArray[np.uint8]
    """Index into CLASSES of that difference, 255 on water (y, x)."""
    harvested: BoolArray
    """Fields harvested between the dates: no burn (y, x)."""
    land_cover: npt.NDArray[np.uint8]
    """Index into `imagery_landscape.CLASSES` (y, x)."""
    dem: Raster
    """Height (y, x) [m]."""
    pixel_size: float
    """Pixel size [m]."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


def simulate_burn_scene(
    seed: int, *, shape: tuple[int, int] = (400, 400), pixel_size: float = 20.0, **options: Any
) -> BurnScene:
    """Burn a landscape.

    Parameters
    ----------
    seed : int
        Seed of all randomness; the land does not depend on the fire.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    **options : Any
        Of BurnOptions.

    Returns
    -------
    BurnScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        Fewer than 32 pixels on a side, a burnt share outside 0 to 0.9.
    """
    asked = BurnOptions(**options)
    if min(shape) < 32 or not 0.0 <= asked.burned_share <= 0.9:
        raise ValueError(f"no burn scene has shape {shape} and a burnt share of {asked.burned_share}")
    land = imagery_landscape.lay_out(
        seed=seed,
        shape=shape,
        pixel_size=pixel_size,
        relief=asked.relief,
        urban_fraction=asked.urban_share,
        feature_size=max(150.0, 4.0 * pixel_size),
    )
    water = np.isin(land.class_map, _WATER)
    severity, perimeter = _severity(seed, land, pixel_size, asked)
    rng = np.random.default_rng([seed, 52])
    soot = rng.random(shape, dtype=np.float32) * 0.2
    harvested = _harvested(rng, land, perimeter, asked)
    flat = [imagery_landscape.reflectance(land, bands=BANDS, day_of_year=day).astype(np.float64) for day in asked.days]
    dnbr = _burn_ratio(flat[0]) - _burn_ratio(burned_reflectance(flat[0], severity, soot))
    later = _later(flat[1], harvested, asked.dryness, land)
    later = burned_reflectance(later, severity, soot)
    images, clouds, shadow = [], [], np.zeros(shape, dtype=np.bool_)
    for date, ground in enumerate((flat[0], later)):
        image, dark = _lit(land, ground, date, pixel_size, asked)
        image, cloud = _clouded(rng, image, asked)
        shadow |= dark
        images.append(_measured(rng, image, date, asked))
        clouds.append(cloud)
    images[1], clouds[1] = _shifted(images[1], clouds[1], asked.shift)
    classes = np.searchsorted(THRESHOLDS, dnbr, side="right").astype(np.uint8)
    return BurnScene(
        images[0],
        images[1],
        BANDS,
        clouds[0],
        clouds[1],
        water,
        shadow,
        severity,
        perimeter,
        severity > 0.0,
        dnbr,
        np.where(water, np.uint8(255), classes),
        harvested,
        land.class_map,
        land.dem,
        pixel_size,
        {"seed": seed, "shape": shape, "pixel_size": pixel_size, **asdict(asked)},
    )


def burned_reflectance(ground: npt.ArrayLike, severity: npt.ArrayLike, soot: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Reflectance of ground after a fire.

    What is green falls steadily with severity, brown leaves come first and are consumed later, char and bare soil grow.

    Parameters
    ----------
    ground : array-like
        Reflectance without the fire (band, y, x) [1].
    severity : array-like
        Severity, 0 to 3 (y, x) [1].
    soot : array-like
        Share of white ash in the char (y, x) [1].

    Returns
    -------
    array
        Reflectance (band, y, x) [1].
    """
    before, part = np.asarray(ground, dtype=np.float64), np.clip(np.asarray(severity, dtype=np.float64) / 3.0, 0.0, 1.0)
    left = (1.0 - part) ** 1.3
    brown = 1.6 * part * (1.0 - part) ** 1.5
    open_soil = 0.30 * part**2
    black = 1.0 - left - brown - open_soil
    ash = np.asarray(soot, dtype=np.float64)
    char = _CHAR[:, None, None] + ash * (_ASH - _CHAR)[:, None, None]
    return np.asarray(
        left * before + brown * _SCORCHED[:, None, None] + open_soil * _BURNED_SOIL[:, None, None] + black * char
    )


def _burn_ratio(reflectance: npt.NDArray[np.float64]) -> Raster:
    """Normalized burn ratio as the optics see the ground."""
    near, short = (_optics(reflectance[BANDS.index(band)].astype(np.float32)) for band in ("nir", "swir2"))
    return (near - short) / (near + short)


def _optics(layer: Raster) -> Raster:
    """Blur of the camera."""
    return np.asarray(ndimage.gaussian_filter(layer, _CAMERA_BLUR, mode="nearest"), dtype=np.float32)


def _severity(
    seed: int, land: imagery_landscape.Landscape, pixel_size: float, asked: BurnOptions
) -> tuple[Raster, BoolArray]:
    """Severity, and the perimeters: level sets around places on land, ragged, that run uphill."""
    rng = np.random.default_rng([seed, 51])
    shape = land.dem.shape
    nothing = np.zeros(shape, dtype=np.float32)
    if asked.scars < 1 or asked.burned_share == 0.0:
        return nothing, np.zeros(shape, dtype=np.bool_)
    ragged = imagery_landscape.fractal_field(rng, shape, exponent=2.8, longest=0.3 * max(shape))
    fuel = _FUEL[land.class_map].astype(np.float32)
    forest = ndimage.gaussian_filter((land.class_map == imagery_landscape.FOREST).astype(np.float32), 4.0)
    near = np.full(shape, np.inf, dtype=np.float32)
    candidates = np.flatnonzero(forest >= np.quantile(forest, 0.8))
    for _ in range(asked.scars):
        row, column = np.unravel_index(int(rng.choice(candidates)), shape)
        stretch, angle = rng.uniform(1.0, 2.2), rng.uniform(0.0, np.pi)
        down, right = np.arange(shape[0])[:, None] - row, np.arange(shape[1])[None, :] - column
        one, two = down * np.cos(angle) + right * np.sin(angle), right * np.cos(angle) - down * np.sin(angle)
        near = np.minimum(near, np.hypot(one / stretch, two * stretch).astype(np.float32))
    score = near / max(shape) + 0.05 * ragged - 0.10 * forest
    score[np.isin(land.class_map, _WATER)] = np.inf
    limit = np.quantile(score, asked.burned_share)
    perimeter = ndimage.binary_opening(score <= limit, iterations=1)
    depth = ndimage.distance_transform_edt(perimeter).astype(np.float32) * pixel_size
    patches = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=0.12 * max(shape))
    cover = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=0.06 * max(shape))
    slope = imagery_landscape.slope_degrees(land.dem, pixel_size=pixel_size)
    raw = asked.severity + asked.patchiness * patches + 0.02 * (np.minimum(slope, 45.0) - 20.0)
    severity = np.clip(raw, 0.15, 3.0) * np.clip(0.3 + depth / 120.0, 0.0, 1.0)
    severity = np.minimum(severity, fuel)
    islands = perimeter & (cover <= np.quantile(cover[perimeter], asked.islands)) if perimeter.any() else perimeter
    severity[~perimeter | islands] = 0.0
    return severity.astype(np.float32), perimeter


def _harvested(
    rng: np.random.Generator, land: imagery_landscape.Landscape, perimeter: BoolArray, asked: BurnOptions
) -> BoolArray:
    """Whole fields outside the fires."""
    fields = np.isin(land.class_map, (imagery_landscape.SUMMER_CROP, imagery_landscape.WINTER_CROP))
    chosen = rng.random(int(land.patch.max()) + 1) < asked.harvest
    return np.asarray(fields & chosen[land.patch] & ~perimeter)


def _later(
    ground: npt.NDArray[np.float64], harvested: BoolArray, dryness: float, land: imagery_landscape.Landscape
) -> npt.NDArray[np.float64]:
    """The ground on the second date without the fire: drier plants, harvested fields."""
    plants = np.isin(land.class_map, range(4))
    later = ground + dryness * plants * (_STUBBLE[:, None, None] - ground)
    return np.where(harvested, 0.15 * later + 0.85 * _STUBBLE[:, None, None] * land.brightness, later)


def _lit(
    land: imagery_landscape.Landscape,
    ground: npt.NDArray[np.float64],
    date: int,
    pixel_size: float,
    asked: BurnOptions,
) -> tuple[Raster, BoolArray]:
    light = imagery_landscape.illuminate(
        land.dem,
        pixel_size=pixel_size,
        sun_azimuth=asked.sun_azimuth[date],
        sun_elevation=asked.sun_elevation[date],
    )
    return imagery_landscape.lit(ground.astype(np.float32), light, bands=BANDS), light.shadow


def _clouded(rng: np.random.Generator, image: Raster, asked: BurnOptions) -> tuple[Raster, BoolArray]:
    """Clouds with soft edges and the shadows they throw, and the mask of both."""
    shape = image.shape[1:]
    field = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=0.2 * max(shape))
    if asked.cloud_fraction <= 0.0:
        return image, np.zeros(shape, dtype=np.bool_)
    depth = 4.0 * np.maximum(field - np.quantile(field, 1.0 - asked.cloud_fraction), 0.0)
    opacity = -np.expm1(-depth)
    away = (int(rng.integers(-25, -8)), int(rng.integers(-25, 25)))
    dark = np.roll(opacity, away, axis=(0, 1))
    seen = image * (1.0 - 0.7 * dark) * (1.0 - opacity) + _CLOUD[:, None, None] * opacity
    return seen.astype(np.float32), ndimage.binary_dilation((opacity > 0.02) | (dark > 0.05))


def _measured(rng: np.random.Generator, image: Raster, date: int, asked: BurnOptions) -> Raster:
    """Air left in, calibration, optics and noise."""
    length = np.array([0.49, 0.56, 0.665, 0.842, 1.61, 2.19])
    air = asked.air_offset[date] * (length[0] / length) ** 3
    gain = 1.0 + asked.gain_error * rng.standard_normal(len(BANDS))
    soft = np.stack([_optics(layer) for layer in image])
    noise = asked.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(gain[:, None, None] * soft + air[:, None, None] + noise, dtype=np.float32)


def _shifted(image: Raster, cloud: BoolArray, shift: tuple[float, float]) -> tuple[Raster, BoolArray]:
    if shift == (0.0, 0.0):
        return image, cloud
    moved = np.stack([ndimage.shift(layer, shift, order=3, mode="nearest") for layer in image])
    mask = ndimage.shift(cloud.astype(np.float32), shift, order=1, mode="nearest") > 0.05
    return moved, mask
