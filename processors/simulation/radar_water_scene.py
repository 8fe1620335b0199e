"""Forward model of a valley under water as a radar and an optical sensor see it, with exact truth below the pixel.

A river that meanders through plains and gorges, tributaries, lakes, ponds, a reservoir behind its dam. Heights are the
level of the nearest water, blended between channels, plus a height above it: a bed, a bank, an uneven plain, hills
with cliffs. The flood raises the level; what lies below it and is connected with the river is under water, counted on
cells finer than the pixel. Backscatter by class, texture and speckle are multiplicative gamma variates (Oliver and
Quegan 2004, section 4.3); the geometry is that of parallel rays (Small 2011; Ulander 1996). Nothing here uses the
processing it is meant to test.

Backscatter and reflectance of the classes are our round numbers for C band and for clear air, of the kind in Ulaby and
Dobson (1989), Handbook of Radar Scattering Statistics for Terrain: contrasts, not measurements.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial, special

from processors.arrays import BoolArray
from processors.simulation import _radar_scene_kernels, imagery_landscape, river_scene
from processors.simulation.imagery_landscape import Raster

Classes = npt.NDArray[np.uint8]

CLASSES = ("forest", "crop", "paddy", "bare", "grass", "urban", "street", "runway", "sand", "rock", "water", "bridge")
"""Names of the land cover, by number."""
FOREST, CROP, PADDY, BARE, GRASS, URBAN, STREET, RUNWAY, SAND, ROCK, WATER, BRIDGE = range(12)
BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
"""Optical bands, in the order of wavelength."""
WATERS = ("normal", "none", "all")
"""A valley, the same without any water, water from edge to edge."""

# Gamma nought at 38 degree with full green cover, and the change to bare or leafless ground: vv, vh [dB]; change with
# the soaking of the soil [dB]; shape of the texture [1]; spread between fields [dB].
_GREEN = np.array(
    [
        [-7.5, -13.0],
        [-9.5, -16.0],
        [-10.0, -17.0],
        [-13.0, -21.0],
        [-11.5, -18.5],
        [-2.0, -9.0],
        [-15.0, -22.0],
        [-20.0, -27.0],
        [-17.5, -26.0],
        [-9.0, -16.5],
        [-20.0, -28.0],
        [-2.0, -10.0],
    ]
)
_LEAFLESS = np.zeros((12, 2))
_LEAFLESS[:5] = [[-1.0, -1.5], [-3.0, -4.5], [-3.0, -5.0], [0.0, 0.0], [-1.5, -2.5]]
_SOAKED = np.array([0.3, 1.5, 1.0, 3.0, 1.5, 0.0, 0.0, 0.0, 1.5, 0.3, 0.0, 0.0])
_TEXTURE = np.array([25.0, 20.0, 25.0, 25.0, 25.0, 1.8, 12.0, 50.0, 30.0, 8.0, 1e4, 6.0])
_SPREAD = np.array([0.3, 1.0, 0.8, 1.2, 0.8, 1.5, 0.5, 0.3, 0.6, 0.6, 0.0, 0.3])
_FLOODED_CANOPY = np.array([3.5, 1.5])
_REFERENCE_ANGLE = 38.0
# Fall of gamma nought with the angle of incidence [dB degree-1]: volume scatterers, water.
_ANGLE_SLOPE = np.array([0.05] * 10 + [0.32, 0.0])
# Water: gamma nought at 1 m/s and rise with the logarithm of the wind, vv and vh [dB].
_CALM = np.array([-25.0, -29.5])
_WIND = np.array([13.0, 6.0])

_REFLECTANCE = np.array(
    [
        [0.025, 0.045, 0.025, 0.310, 0.140, 0.060],
        [0.032, 0.068, 0.038, 0.420, 0.200, 0.090],
        [0.035, 0.065, 0.045, 0.330, 0.150, 0.070],
        [0.080, 0.110, 0.145, 0.220, 0.290, 0.240],
        [0.045, 0.075, 0.055, 0.350, 0.230, 0.130],
        [0.150, 0.165, 0.175, 0.210, 0.230, 0.210],
        [0.080, 0.088, 0.095, 0.110, 0.125, 0.120],
        [0.100, 0.110, 0.120, 0.135, 0.150, 0.145],
        [0.160, 0.200, 0.235, 0.280, 0.320, 0.270],
        [0.110, 0.125, 0.140, 0.190, 0.230, 0.200],
        [0.060, 0.085, 0.080, 0.040, 0.012, 0.008],
        [0.200, 0.210, 0.220, 0.240, 0.250, 0.230],
    ],
    dtype=np.float32,
)
_TURBID = np.array([0.085, 0.125, 0.150, 0.120, 0.025, 0.014], dtype=np.float32)
_CLOUD = np.array([0.56, 0.57, 0.58, 0.60, 0.45, 0.36], dtype=np.float32)

_MARGIN = 40
_COARSE = 6
_FAR = np.float32(1e4)
_LARGEST_RESERVOIR = 0.05
_LONGEST_DAM = 40.0
_SMALLEST = 1e-4
_SWAMP_RISE = 0.5


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    relief : float
        Height of the hills over the valley [m].
    cliff : float
        Height of the cliffs in the hills [m].
    river_width : float
        Width of the river, which varies by a third [m].
    flood_plain : float
        Width of the back swamps on either side of the channels, low and even ground behind the banks as lowland rivers
        have them: a flood fills them to the foot of the hills. With 0 the ground rises from the bank on, and a flood is
        a strip of a few pixels with islands in it, the hard case [m].
    tributaries : int
        Number of tributaries [1].
    lakes, ponds : int
        Number of lakes and of ponds of a few pixels [1].
    reservoir : bool
        Dam the first tributary.
    urban_share : float
        Share of the level ground in towns [1].
    runway : bool
        Lay a runway on level ground.
    bridges : int
        Bridges over the river [1].
    ships : int
        Ships on the river [1].
    incidence_angle, look_azimuth : float
        Angle of incidence on level ground, and azimuth into which the radar looks [degree].
    flattened : bool
        Divide by the area terrain shows (gamma nought of Small 2011), rather than by that of level ground.
    looks : float
        Number of looks, the shape of the speckle [1].
    speckle_correlation : float
        Standard deviation of the filter that makes neighbors alike [pixel].
    noise_floor : float
        Noise-equivalent backscatter [dB].
    noise_removed : bool
        Subtract the mean of the noise, as providers do; what becomes negative is clipped.
    calibration_offset : float
        Error of the calibration of all dates [dB].
    wind_speed : float
        Wind on the date of the flood [m s-1].
    gusts : float
        Standard deviation of the water's backscatter by gusts and shelter [dB].
    soil_moisture : float
        Soaking of the soil on that date, 0 to 1 [1].
    green_cover : float
        Green cover of fields, 0 to 1 [1].
    flooded_paddy : bool
        Paddies stand under water with shoots: dark, no water in the truth but marked as hidden.
    canopy_share : float
        Share of the flooded ground that keeps plants above the water [1].
    cloud_fraction : float
        Share of clouds in the optical image [1].
    optical_noise : float
        Noise of the reflectance [1].
    dem_error : float
        Standard deviation of the correlated error of the heights handed over [m].
    reference_errors : bool
        Give the reference water the faults real ones have, among them a lake nobody noted.
    subpixels : int
        Cells on a side of a pixel on which water is counted [1].
    """

    relief: float = 400.0
    cliff: float = 50.0
    river_width: float = 300.0
    flood_plain: float = 0.0
    tributaries: int = 3
    lakes: int = 2
    ponds: int = 8
    reservoir: bool = True
    urban_share: float = 0.08
    runway: bool = True
    bridges: int = 1
    ships: int = 6
    incidence_angle: float = 38.0
    look_azimuth: float = 100.0
    flattened: bool = True
    looks: float = 4.9
    speckle_correlation: float = 0.45
    noise_floor: float = -25.0
    noise_removed: bool = False
    calibration_offset: float = 0.0
    wind_speed: float = 2.5
    gusts: float = 1.0
    soil_moisture: float = 0.6
    green_cover: float = 0.7
    flooded_paddy: bool = False
    canopy_share: float = 0.05
    cloud_fraction: float = 0.0
    optical_noise: float = 0.004
    dem_error: float = 1.0
    reference_errors: bool = True
    subpixels: int = 4


class WaterScene(NamedTuple):
    """What the sensors deliver, and the truth."""

    vv: Raster
    """Gamma nought, linear, on the date of the flood (y, x) [1]."""
    vh: Raster
    """The same, cross-polarized (y, x) [1]."""
    vv_before: list[Raster]
    """Earlier dates, the earliest first (y, x) [1]."""
    vh_before: list[Raster]
    """The same, cross-polarized (y, x) [1]."""
    dem: Raster
    """Heights as a data set states them: with errors, water level on water (y, x) [m]."""
    reference_water: Raster
    """Probability of water in this month by a data set with its faults (y, x) [1]."""
    reflectance: Raster
    """Surface reflectance within a day of the flood, clouds in it (band, y, x) [1]."""
    water_before: BoolArray
    """At least half of the pixel is open water before the flood (y, x)."""
    water_after: BoolArray
    """The same on the date of the flood (y, x)."""
    fraction_before: Raster
    """Share of open water in the pixel before the flood (y, x) [1]."""
    fraction_after: Raster
    """The same on the date of the flood (y, x) [1]."""
    hidden_water: BoolArray
    """Under water on the date of the flood but below plants or between houses; not in `water_after` (y, x)."""
    layover: BoolArray
    """Shares its slant range with other ground (y, x)."""
    radar_shadow: BoolArray
    """Hidden from the radar (y, x)."""
    cloud: BoolArray
    """Cloud or its shadow in the optical image (y, x)."""
    terrain_shadow: BoolArray
    """Not lit by the sun (y, x)."""
    land_cover: Classes
    """Index into CLASSES before the flood (y, x)."""
    terrain: Raster
    """True heights of the ground, beds included (y, x) [m]."""
    water_level: Raster
    """Level of the flood where `fraction_after` is above zero, NaN elsewhere (y, x) [m]."""
    mean_backscatter: Raster
    """Gamma nought of the date of the flood without speckle and noise (2, y, x) [1]."""
    bands: tuple[str, ...]
    """Names of the optical bands."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


class _Channel(NamedTuple):
    """A water course from its mouth upwards."""

    path: npt.NDArray[np.float64]
    """Row and column (point, 2) [pixel]."""
    width: npt.NDArray[np.float64]
    """Width [pixel]."""
    level: npt.NDArray[np.float64]
    """Level of the water [m]."""
    plain: npt.NDArray[np.float64]
    """Level ground on either side [pixel]."""
    rise: npt.NDArray[np.float64]
    """Rise of the level by a flood of one meter, in the river's [1]."""


class _Ground(NamedTuple):
    """Heights and levels on the grid with its margin."""

    z: Raster
    height: Raster
    """Above the blended level of the channels [m]."""
    level: Raster
    rise: Raster
    lake: Raster
    """Above the level of the nearest lake or reservoir [m], far above away from them."""
    unnoted: Raster
    """The same for the lake missing in references."""
    edge: Raster
    """Distance from the nearest channel's bank [pixel]."""
    channels: list[_Channel]


class _Waters(NamedTuple):
    before: Raster
    after: Raster


class _View(NamedTuple):
    """What the geometry does."""

    layover: BoolArray
    shadow: BoolArray
    gain: Raster
    away: tuple[float, float]


def simulate_water_scene(
    seed: int,
    *,
    shape: tuple[int, int] = (400, 400),
    pixel_size: float = 10.0,
    flood_stage: float = 3.0,
    dates_before: int = 4,
    water: str = "normal",
    **options: Any,
) -> WaterScene:
    """Flood a valley and look at it.

    Parameters
    ----------
    seed : int
        Seed of all randomness; the land does not depend on the flood.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    flood_stage : float
        Rise of the river; 0 is no flood [m].
    dates_before : int
        Number of earlier radar images [1].
    water : str
        "normal", "none" or "all".
    **options : Any
        Of SceneOptions.

    Returns
    -------
    WaterScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        Fewer than 32 pixels on a side, a negative stage, an unknown kind of water.
    """
    if min(shape) < 32 or flood_stage < 0.0 or water not in WATERS:
        raise ValueError(f"no valley has shape {shape}, a flood of {flood_stage} m and {water!r} water")
    asked = SceneOptions(**options)
    ground = _lay_out(seed, shape, pixel_size, asked, water)
    waters = _fill(ground, flood_stage, asked.subpixels, water)
    cover, patch = _cover(seed, ground, waters, pixel_size, asked, water)
    bridge = cover == BRIDGE
    rng = np.random.default_rng([seed, 21])
    hidden = _hidden(seed, cover, waters, asked)
    open_before = np.where(bridge, np.float32(0.0), waters.before)
    open_after = np.where(bridge | hidden, np.float32(0.0), waters.after)
    view = _view(ground.z, pixel_size, asked)
    scenes = []
    for number in range(dates_before + 1):
        last = number == dates_before
        date = _date(seed, number, asked, last=last)
        share = open_after if last else open_before
        bright = _brightness(seed, ground, cover, patch, date, share, hidden if last else None, asked)
        mean = _seen(bright, ground.z, view, pixel_size, asked)
        scenes.append((mean, _measured(np.random.default_rng([seed, 30 + number]), mean, asked)))
    optical, cloud, dark = _optical(seed, ground, cover, patch, open_after, flood_stage, pixel_size, asked)
    dem = _stated_heights(rng, ground, waters.before, pixel_size, asked)
    reference = _reference(rng, ground, waters.before, asked)
    level = _water_level(ground, open_after, flood_stage)
    cut = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
    measured = [image[cut] for _, image in scenes]
    return WaterScene(
        vv=measured[-1][0],
        vh=measured[-1][1],
        vv_before=[image[0] for image in measured[:-1]],
        vh_before=[image[1] for image in measured[:-1]],
        dem=dem[cut],
        reference_water=reference[cut],
        reflectance=optical[cut],
        water_before=(open_before >= 0.5)[cut],
        water_after=(open_after >= 0.5)[cut],
        fraction_before=open_before[cut],
        fraction_after=open_after[cut],
        hidden_water=hidden[cut],
        layover=view.layover[cut],
        radar_shadow=view.shadow[cut],
        cloud=cloud[cut],
        terrain_shadow=dark[cut],
        land_cover=np.where(open_before >= 0.5, np.uint8(WATER), cover)[cut],
        terrain=ground.z[cut],
        water_level=level[cut],
        mean_backscatter=scenes[-1][0][cut],
        bands=BANDS,
        parameters={
            "seed": seed,
            "shape": shape,
            "pixel_size": pixel_size,
            "flood_stage": flood_stage,
            "dates_before": dates_before,
            "water": water,
            **vars(asked),
        },
    )


def gamma_speckle(rng: np.random.Generator, shape: tuple[int, int], *, looks: float, correlation: float) -> Raster:
    """Speckle of an intensity image whose neighbors are alike: gamma distributed, mean 1 and variance 1 / looks.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    shape : tuple of int
        Rows and columns.
    looks : float
        Number of looks [1].
    correlation : float
        Standard deviation of the filter that makes neighbors alike; 0 for independent ones [pixel].

    Returns
    -------
    array
        Factors (y, x) [1].
    """
    if correlation <= 0.0:
        return np.asarray(rng.standard_gamma(looks, shape, dtype=np.float32) / np.float32(looks))
    normal = rng.standard_normal(shape, dtype=np.float32)
    reach = max(int(4.0 * correlation + 0.5), 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / correlation) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    for axis in range(2):
        normal = ndimage.correlate1d(normal, kernel, axis=axis, mode="wrap")
    # The marginal distribution stays exactly gamma: normal variates go through both distribution functions.
    nodes = np.linspace(-5.5, 5.5, 2048)
    quantiles = special.gammaincinv(looks, special.ndtr(nodes)) / looks
    return np.asarray(np.interp(normal, nodes, quantiles), dtype=np.float32)


def _lay_out(seed: int, shape: tuple[int, int], pixel_size: float, asked: SceneOptions, water: str) -> _Ground:
    """Heights of the land with its margin."""
    rng = np.random.default_rng([seed, 1])
    wide = (shape[0] + 2 * _MARGIN, shape[1] + 2 * _MARGIN)
    channels = _channels(rng, wide, pixel_size, asked)
    if water == "all":
        sea = np.full(wide, -5.0, dtype=np.float32)
        flat, far = np.zeros(wide, np.float32), np.full(wide, _FAR)
        return _Ground(sea, sea, flat, flat + 1.0, far, far, flat, channels)
    level, rise, bed, edge, plain = _blended(wide, channels)
    swamp = asked.flood_plain / pixel_size
    hills = _hills(rng, wide, edge - np.maximum(plain, np.float32(swamp)), pixel_size, asked)
    rough = imagery_landscape.fractal_field(rng, wide, exponent=3.2, longest=40.0)
    away = np.maximum(edge, 0.0)
    bank = 1.4 + 0.5 * imagery_landscape.fractal_field(rng, wide, exponent=4.0, longest=60.0)
    plains = (
        np.clip(bank, 0.4, 3.0) * (1.0 - np.exp(-away / 1.2))
        + 0.9 * rough * (1.0 - np.exp(-away / 4.0))
        + 0.0045 * pixel_size * np.minimum(away, 100.0)
    )
    if swamp > 0.0:
        low = 0.5 * (1.0 - np.exp(-away / 1.2)) + 0.3 * rough * (1.0 - np.exp(-away / 4.0)) + _SWAMP_RISE * away / swamp
        inside = np.clip((swamp - away) / 8.0, 0.0, 1.0)
        plains = inside * np.minimum(low, plains) + (1.0 - inside) * plains
    height = np.where(edge < 0.0, bed, np.maximum(plains, 0.15) + hills).astype(np.float32)
    z = (level + height).astype(np.float32)
    ground = _Ground(z, height, level, rise, np.full(wide, _FAR), np.full(wide, _FAR), edge, channels)
    ground = _with_lakes(rng, ground, asked)
    if asked.reservoir and len(channels) > 1:
        ground = _with_reservoir(ground, channels[1])
    return ground


def _channels(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size: float, asked: SceneOptions
) -> list[_Channel]:
    extent = math.hypot(*shape)
    path = _winding(rng, length=1.5 * extent, bend=0.07 * extent, wave=0.45 * extent)
    turn = rng.uniform(0.0, math.pi)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = 0.5 * np.array(shape) + rng.uniform(-0.12, 0.12, 2) * np.array(shape)
    path = path @ rotation.T + middle
    count = len(path)
    along = np.arange(count) * 0.25 * pixel_size
    # In a small scene a river of that width would leave no land.
    mean = min(asked.river_width / pixel_size, 0.09 * (min(shape) - 2 * _MARGIN))
    width = mean * np.exp(np.clip(0.3 * _noise(rng, count, 400), -0.6, 0.45))
    plain = np.clip(0.09 * extent * np.exp(0.9 * _noise(rng, count, 400)) - 12.0, 1.5, None)
    base = float(rng.uniform(160.0, 220.0))
    river = _Channel(
        path,
        np.asarray(width, dtype=np.float64),
        np.asarray(base + 3e-4 * along, dtype=np.float64),
        plain,
        np.ones(count),
    )
    channels = [river]
    inside = np.flatnonzero(
        (path[:, 0] > _MARGIN)
        & (path[:, 1] > _MARGIN)
        & (path[:, 0] < shape[0] - _MARGIN)
        & (path[:, 1] < shape[1] - _MARGIN)
    )
    for number in range(asked.tributaries if inside.size else 0):
        place = int(inside[int(inside.size * (number + rng.uniform(0.3, 0.7)) / asked.tributaries)])
        channels.append(_tributary(rng, river, place, 1 if number % 2 else -1, extent, pixel_size))
    return channels


def _tributary(
    rng: np.random.Generator, river: _Channel, place: int, side: int, extent: float, pixel_size: float
) -> _Channel:
    path = _winding(rng, length=extent, bend=0.025 * extent, wave=0.16 * extent)
    path -= path[0]
    forward = river.path[min(place + 40, len(river.path) - 1)] - river.path[max(place - 40, 0)]
    heading = math.atan2(forward[1], forward[0]) + side * rng.uniform(1.0, 1.6)
    rotation = np.array([[math.cos(heading), -math.sin(heading)], [math.sin(heading), math.cos(heading)]])
    path = path @ rotation.T + river.path[place]
    count = len(path)
    along = np.arange(count) * 0.25 * pixel_size
    mouth = rng.uniform(30.0, 150.0) / pixel_size
    width = np.clip(mouth * np.exp(0.15 * _noise(rng, count, 200)) * (1.0 - 0.5 * np.arange(count) / count), 2.5, None)
    level = float(river.level[place]) + np.maximum(along - 60.0, 0.0) * float(rng.uniform(0.004, 0.012))
    plain = np.clip(0.02 * extent * np.exp(0.7 * _noise(rng, count, 300)) - 3.0, 0.5, None)
    return _Channel(path, width, level, plain, np.full(count, rng.uniform(0.3, 0.6)))


def _winding(rng: np.random.Generator, *, length: float, bend: float, wave: float) -> npt.NDArray[np.float64]:
    """A winding line along the first axis, points a quarter of a pixel apart."""
    s = np.arange(-0.5 * length, 0.5 * length, 0.25)
    aside = np.zeros_like(s)
    for factor in (1.0, 2.3, 4.1):
        aside += (
            bend
            / factor**1.3
            * rng.uniform(0.5, 1.2)
            * np.sin(2.0 * math.pi * factor * s / wave / rng.uniform(0.8, 1.25) + rng.uniform(0.0, 6.3))
        )
    return np.stack([s, aside], axis=1)


def _noise(rng: np.random.Generator, count: int, smooth: float) -> npt.NDArray[np.float64]:
    """Smooth noise of unit variance along a line."""
    line = ndimage.gaussian_filter1d(rng.standard_normal(count), smooth, mode="wrap")
    return np.asarray(line / line.std())


def _blended(shape: tuple[int, int], channels: Sequence[_Channel]) -> tuple[Raster, Raster, Raster, Raster, Raster]:
    """Level, rise, bed, distance from the nearest bank and width of the plain, blended between channels."""
    rows, columns = np.indices(shape)
    points = np.stack([rows.ravel(), columns.ravel()], axis=1).astype(np.float64)
    total, level, rise, plain = (np.zeros(points.shape[0]) for _ in range(4))
    edge = np.full(points.shape[0], np.inf)
    bed = np.full(points.shape[0], np.inf)
    found = [
        river_scene.nearest_point(spatial.cKDTree(channel.path[::_COARSE]), channel.path, points, _COARSE)
        for channel in channels
    ]
    river = channels[0].level[found[0][1]]
    for channel, (distance, nearest) in zip(channels, found, strict=True):
        half = 0.5 * channel.width[nearest]
        away = distance - half
        weight = (np.maximum(away, 0.0) + 0.3) ** -4.0
        total += weight
        level += weight * channel.level[nearest]
        # Backwater: near its mouth a tributary stands as high as the river.
        back = np.clip(1.0 - (channel.level[nearest] - river) / 3.0, 0.0, 1.0)
        rise += weight * np.maximum(channel.rise[nearest], back)
        plain += weight * channel.plain[nearest]
        deep = np.minimum(0.25 * half + 0.6, 9.0)
        bed = np.minimum(bed, np.where(away < 0.0, -deep * (1.0 - (distance / half) ** 2), np.inf))
        edge = np.minimum(edge, away)
    parts = (level / total, rise / total, np.minimum(bed, 0.0), edge, plain / total)
    made = tuple(part.reshape(shape).astype(np.float32) for part in parts)
    return made[0], made[1], made[2], made[3], made[4]


def _hills(
    rng: np.random.Generator, shape: tuple[int, int], beyond: Raster, pixel_size: float, asked: SceneOptions
) -> Raster:
    """Height of what rises beyond the plains."""
    extent = float(max(shape))
    side = float(np.clip(1.6 * asked.relief / pixel_size, 12.0, 0.35 * extent))
    climb = np.clip(beyond / side, 0.0, 1.0)
    climb = climb * climb * (3.0 - 2.0 * climb)
    broad = imagery_landscape.fractal_field(rng, shape, exponent=4.3, longest=0.35 * extent)
    fine = imagery_landscape.fractal_field(rng, shape, exponent=4.2, longest=0.12 * extent)
    step = imagery_landscape.fractal_field(rng, shape, exponent=4.6, longest=0.3 * extent)
    cliff = asked.cliff / (1.0 + np.exp(-np.clip(step / 0.06, -40.0, 40.0)))
    body = asked.relief * np.clip(0.5 + 0.2 * broad + 0.03 * fine, 0.06, None)
    return np.asarray(climb * body + np.clip(beyond / 4.0, 0.0, 1.0) * cliff, dtype=np.float32)


def _with_lakes(rng: np.random.Generator, ground: _Ground, asked: SceneOptions) -> _Ground:
    """Dig lakes and ponds away from the channels."""
    z, lake, unnoted = ground.z.copy(), ground.lake.copy(), ground.unnoted.copy()
    places: Raster = np.indices(z.shape, dtype=np.float32)
    wobble = imagery_landscape.fractal_field(rng, z.shape, exponent=3.6, longest=40.0)
    south, east = np.gradient(ndimage.gaussian_filter(z, 3.0))
    slope = np.asarray(np.hypot(south, east), dtype=np.float32)
    for number in range(asked.lakes + asked.ponds):
        radius = rng.uniform(0.03, 0.06) * min(z.shape) if number < asked.lakes else rng.uniform(2.0, 5.0)
        place = _level_place(rng, slope, ground.edge, 2.0 * radius)
        stretch, turn = rng.uniform(1.0, 2.0), rng.uniform(0.0, math.pi)
        reach = int(5.0 * radius) + 4
        part = tuple(
            slice(max(centre - reach, 0), min(centre + reach, size))
            for centre, size in zip(place, z.shape, strict=True)
        )
        down, right = places[0][part] - place[0], places[1][part] - place[1]
        u = (down * math.cos(turn) + right * math.sin(turn)) / stretch
        v = -down * math.sin(turn) + right * math.cos(turn)
        away = np.hypot(u, v) / radius * (1.0 + 0.12 * wobble[part])
        level = float(z[place]) if number < asked.lakes else float(z[place]) - 0.3
        blend = np.clip((away - 1.15) / 0.6, 0.0, 1.0)
        bowl = level + np.where(
            away < 1.0, -min(0.2 * radius, 4.0) * (1.0 - away**2), np.minimum((away - 1.0) * radius * 0.5, 1.2)
        )
        z[part] = np.where(ground.edge[part] < 2.0, z[part], bowl + (z[part] - bowl) * blend)
        near = np.where((away < 1.15) & (ground.edge[part] >= 2.0), z[part] - level, _FAR)
        target = unnoted if number == 0 and asked.reference_errors else lake
        target[part] = np.minimum(target[part], near)
    return ground._replace(z=z, height=z - ground.level, lake=lake, unnoted=unnoted)


def _level_place(rng: np.random.Generator, slope: Raster, edge: Raster, room: float) -> tuple[int, int]:
    """The most level of some places with room around."""
    rows = rng.integers(_MARGIN // 2, slope.shape[0] - _MARGIN // 2, 60)
    columns = rng.integers(_MARGIN // 2, slope.shape[1] - _MARGIN // 2, 60)
    cost = slope[rows, columns] + np.where(edge[rows, columns] < room + 3.0, np.float32(1e3), np.float32(0.0))
    best = int(np.argmin(cost))
    return int(rows[best]), int(columns[best])


def _with_reservoir(ground: _Ground, stream: _Channel) -> _Ground:
    """Dam a tributary; the highest level that does not leak, or none."""
    inside = np.flatnonzero(
        ((stream.path > 8) & (stream.path < np.array(ground.z.shape) - 8)).all(axis=1)
        & (stream.level > ground.channels[0].level.min() + 8.0)
    )
    if inside.size < 200:
        return ground
    for share in (0.15, 0.3, 0.45, 0.6):
        dammed = _dammed(ground, stream, int(inside[int(share * inside.size)]))
        if dammed is not None:
            return dammed
    return ground


def _dammed(ground: _Ground, stream: _Channel, place: int) -> _Ground | None:
    """The reservoir behind a dam at a point of a stream, if one holds water there."""
    ahead = stream.path[min(place + 20, len(stream.path) - 1)] - stream.path[max(place - 20, 0)]
    ahead /= np.hypot(ahead[0], ahead[1])
    rows, columns = np.indices(ground.z.shape, dtype=np.float32)
    along = (rows - stream.path[place, 0]) * ahead[0] + (columns - stream.path[place, 1]) * ahead[1]
    across = -(rows - stream.path[place, 0]) * ahead[1] + (columns - stream.path[place, 1]) * ahead[0]
    row, column = (round(float(part)) for part in stream.path[min(place + 24, len(stream.path) - 1)])
    wall = (np.abs(along) < 2.0) & (np.abs(across) < _LONGEST_DAM)
    for head in (16.0, 11.0, 7.0, 4.0):
        level = float(stream.level[place]) + head
        z = np.where(wall, np.maximum(ground.z, np.float32(level + 4.0)), ground.z)
        label, _ = ndimage.label(z < level)
        pool = label == label[row, column]
        kept = label[row, column] and not (pool & (along < 0.0)).any()
        if kept and pool.mean() < _LARGEST_RESERVOIR:
            near = ndimage.binary_dilation(pool, iterations=2) & (along > 0.0)
            lake = np.where(near, np.minimum(ground.lake, z - np.float32(level)), ground.lake)
            return ground._replace(z=z, height=z - ground.level, lake=lake)
    return None


def _fill(ground: _Ground, stage: float, cells: int, water: str) -> _Waters:
    """Share of every pixel under water before and after, by connection on fine cells."""
    shape = ground.z.shape
    if water != "normal":
        share = np.full(shape, 1.0 if water == "all" else 0.0, dtype=np.float32)
        return _Waters(share, share)
    height, rise = _finer(ground.height, cells), _finer(ground.rise, cells)
    seeds = np.concatenate([channel.path for channel in ground.channels])
    seeds = np.floor((seeds + 0.5) * cells).astype(np.int64)
    keep = ((seeds >= 0) & (seeds < np.array(height.shape))).all(axis=1)
    seeds = seeds[keep]
    still = _finer(np.minimum(np.minimum(ground.lake, ground.unnoted), 50.0), cells) < 0.0
    shares = []
    for rising in (0.0, stage):
        label, count = ndimage.label(height < rising * rise)
        fed = np.zeros(count + 1, dtype=np.bool_)
        fed[label[seeds[:, 0], seeds[:, 1]]] = True
        fed[0] = False
        shares.append(imagery_landscape.box_average((fed[label] | still).astype(np.float32), cells))
    return _Waters(*shares)


def _water_level(ground: _Ground, share: Raster, stage: float) -> Raster:
    """Level of the water where there is any; a lake that the flood does not drown keeps its own."""
    still = np.minimum(ground.lake, ground.unnoted)
    flood = ground.level + np.float32(stage) * ground.rise
    level = np.where(still < 0.0, np.maximum(ground.z - still, np.where(ground.z < flood, flood, -np.inf)), flood)
    return np.where(share > 0.0, level, np.float32(np.nan)).astype(np.float32)


def _finer(field: Raster, cells: int) -> Raster:
    """Values at the middle of cells, linear between the middles of pixels."""
    finer = field
    for axis in range(2):
        size = field.shape[axis]
        place = np.clip((np.arange(size * cells) + 0.5) / cells - 0.5, 0.0, size - 1.0)
        first = np.minimum(place.astype(np.int64), size - 2)
        part = (place - first).astype(np.float32)
        low, high = np.take(finer, first, axis=axis), np.take(finer, first + 1, axis=axis)
        finer = low + (high - low) * (part[:, None] if axis == 0 else part[None, :])
    return np.asarray(finer, dtype=np.float32)


def _cover(
    seed: int, ground: _Ground, waters: _Waters, pixel_size: float, asked: SceneOptions, water: str
) -> tuple[Classes, npt.NDArray[np.int64]]:
    """Land cover and numbers of fields."""
    rng = np.random.default_rng([seed, 2])
    shape = ground.z.shape
    slope = np.degrees(np.arctan(np.hypot(*np.gradient(ground.z, pixel_size))))
    count = int(shape[0] * shape[1] / 110)
    centers = rng.uniform(0.0, 1.0, (count, 2)) * np.array(shape)
    rows, columns = np.indices(shape)
    points = np.stack([rows.ravel(), columns.ravel()], axis=1)
    patch = spatial.cKDTree(centers).query(points)[1].reshape(shape)
    kinds = rng.choice([CROP, PADDY, BARE, GRASS, FOREST], size=count, p=[0.46, 0.16, 0.14, 0.16, 0.08])
    cover = kinds[patch].astype(np.uint8)
    woods = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=80.0)
    cover[(slope + 6.0 * woods > 15.0) | (woods > 1.3)] = FOREST
    cover[(slope > 46.0) & (woods < 0.8)] = ROCK
    flat = (slope < 8.0) & (ground.edge > 3.0)
    towns = imagery_landscape.fractal_field(rng, shape, exponent=4.0, longest=90.0)
    if asked.urban_share > 0.0 and flat.any():
        town = flat & (towns > np.quantile(towns[flat], 1.0 - asked.urban_share))
        cover[town] = np.where((rows % 9 == 0) | (columns % 11 == 0), STREET, URBAN)[town]
    across = columns + 9.0 * imagery_landscape.fractal_field(rng, shape, exponent=5.0, longest=120.0)
    cover[(np.abs(across - np.median(across) - rng.uniform(-80, 80)) < 0.7) & (slope < 25.0)] = STREET
    if asked.runway and flat.any():
        _lay_runway(rng, cover, slope, ground.edge)
    bars = imagery_landscape.fractal_field(rng, shape, exponent=3.5, longest=50.0)
    cover[(ground.edge > -1.0) & (ground.edge < 7.0) & (ground.height < 2.0) & (bars > 0.9)] = SAND
    if water == "normal":
        _cross_river(rng, cover, ground, asked)
    return cover, patch


def _lay_runway(rng: np.random.Generator, cover: Classes, slope: Raster, edge: Raster) -> None:
    place = _level_place(rng, ndimage.uniform_filter(slope, 41), edge, 20.0)
    rows, columns = np.indices(cover.shape, dtype=np.float32)
    turn = rng.uniform(0.0, math.pi)
    down, right = rows - place[0], columns - place[1]
    along = np.abs(down * math.cos(turn) + right * math.sin(turn))
    across = np.abs(-down * math.sin(turn) + right * math.cos(turn))
    cover[(along < 75.0) & (across < 9.0) & (edge > 2.0) & (slope < 12.0)] = GRASS
    cover[(along < 70.0) & (across < 2.8) & (edge > 2.0) & (slope < 12.0)] = RUNWAY


def _cross_river(rng: np.random.Generator, cover: Classes, ground: _Ground, asked: SceneOptions) -> None:
    """Bridges and ships, bright on the water."""
    river = ground.channels[0]
    inside = np.flatnonzero(((river.path > _MARGIN) & (river.path < np.array(cover.shape) - _MARGIN)).all(axis=1))
    if inside.size < 8:
        return
    for number in range(asked.bridges + asked.ships):
        place = int(rng.choice(inside[4:-4]))
        ahead = river.path[place + 4] - river.path[place - 4]
        ahead /= np.hypot(*ahead)
        aside, middle = np.array([-ahead[1], ahead[0]]), river.path[place]
        half = 0.5 * river.width[place]
        if number < asked.bridges:
            reach = np.arange(-half - 6.0, half + 6.0, 0.4)
            line = np.concatenate([middle + aside * reach[:, None], middle + aside * reach[:, None] + 0.6 * ahead])
        else:
            length = rng.uniform(1.0, 9.0)
            line = middle + aside * rng.uniform(-0.7, 0.7) * half + ahead * np.arange(0.0, length, 0.4)[:, None]
        cells = np.rint(line).astype(np.int64)
        cells = cells[((cells >= 0) & (cells < np.array(cover.shape))).all(axis=1)]
        cover[cells[:, 0], cells[:, 1]] = BRIDGE


def _hidden(seed: int, cover: Classes, waters: _Waters, asked: SceneOptions) -> BoolArray:
    """Flooded ground with plants or houses above the water."""
    rng = np.random.default_rng([seed, 3])
    flooded = (waters.after >= 0.5) & (waters.before < 0.5)
    clumps = imagery_landscape.fractal_field(rng, cover.shape, exponent=2.5, longest=25.0)
    standing = clumps > special.ndtri(1.0 - min(max(asked.canopy_share, 1e-9), 1.0 - 1e-9))
    above = np.isin(cover, (FOREST, URBAN)) | (standing & np.isin(cover, (CROP, PADDY, GRASS)))
    hidden = flooded & above
    return np.asarray(hidden | (cover == PADDY) & (waters.after < 0.5)) if asked.flooded_paddy else hidden


class _Date(NamedTuple):
    wind: float
    moisture: float
    green: float


def _date(seed: int, number: int, asked: SceneOptions, *, last: bool) -> _Date:
    """State of wind and soil: that asked for on the last date, other on those before."""
    if last:
        return _Date(asked.wind_speed, asked.soil_moisture, asked.green_cover)
    rng = np.random.default_rng([seed, 4, number])
    return _Date(float(rng.uniform(1.2, 5.0)), float(rng.uniform(0.0, 0.7)), asked.green_cover)


def _brightness(
    seed: int,
    ground: _Ground,
    cover: Classes,
    patch: npt.NDArray[np.int64],
    date: _Date,
    share: Raster,
    hidden: BoolArray | None,
    asked: SceneOptions,
) -> Raster:
    """Gamma nought of level ground with texture (2, y, x) [1]."""
    rng = np.random.default_rng([seed, 5])
    fields = rng.standard_normal(int(patch.max()) + 1)[patch] * _SPREAD[cover]
    shape_of = _TEXTURE.copy()
    texture = rng.standard_gamma(shape_of[cover]).astype(np.float32) / shape_of[cover].astype(np.float32)
    gust = imagery_landscape.fractal_field(
        np.random.default_rng([seed, 6, round(1e3 * date.wind)]), cover.shape, exponent=3.0, longest=60.0
    )
    tilt = asked.incidence_angle - _REFERENCE_ANGLE
    made = np.empty((2, *cover.shape), dtype=np.float32)
    for index in range(2):
        table = _GREEN[:, index] + (1.0 - date.green) * _LEAFLESS[:, index] + date.moisture * _SOAKED
        table = table - _ANGLE_SLOPE * tilt
        land = table[cover] + fields
        if hidden is not None:
            stands = np.where(cover == PADDY, -4.0 if asked.flooded_paddy else 1.5, _FLOODED_CANOPY[index])
            land = land + hidden * stands
        bare = _CALM[index] + _WIND[index] * math.log10(max(date.wind, 1.0)) - _ANGLE_SLOPE[WATER] * tilt
        calm = 10.0 ** (0.1 * (bare + asked.gusts * (1.0 - 0.5 * index) * gust))
        made[index] = share * calm + (1.0 - share) * 10.0 ** (0.1 * land) * texture
    return made


def _view(z: Raster, pixel_size: float, asked: SceneOptions) -> _View:
    """Layover, shadow, and the area slopes show."""
    angle, azimuth = math.radians(asked.incidence_angle), math.radians(asked.look_azimuth)
    away = (-math.cos(azimuth), math.sin(azimuth))
    tangent = math.tan(angle)
    layover, shadow = _radar_scene_kernels.scan_range(np.ascontiguousarray(z), *away, pixel_size, tangent)
    south, east = np.gradient(z, pixel_size)
    rise = south * away[0] + east * away[1]
    shown = np.clip(1.0 + rise * tangent, 0.0, None) / np.maximum(1.0 - rise / tangent, 0.08)
    return _View(layover, shadow, np.clip(shown, 0.0, 12.0).astype(np.float32), away)


def _seen(bright: Raster, z: Raster, view: _View, pixel_size: float, asked: SceneOptions) -> Raster:
    """Mean gamma nought as geocoded: what shares a slant range is mixed, shadow is dark."""
    angle = math.radians(asked.incidence_angle)
    mixed, area = _radar_scene_kernels.fold_range(
        np.ascontiguousarray(z), bright, view.layover, view.shadow, *view.away, pixel_size, angle
    )
    own = bright if asked.flattened else bright * view.gain
    folded = mixed if asked.flattened else mixed * np.minimum(area, np.float32(30.0))
    seen = np.where(view.layover, folded, np.where(view.shadow, np.float32(0.0), own))
    return np.asarray(seen * np.float32(10.0 ** (0.1 * asked.calibration_offset)), dtype=np.float32)


def _measured(rng: np.random.Generator, mean: Raster, asked: SceneOptions) -> Raster:
    """Speckle on signal and noise alike."""
    noise = np.float32(10.0 ** (0.1 * asked.noise_floor))
    layers = []
    for layer in mean:
        factor = gamma_speckle(
            rng, (layer.shape[0], layer.shape[1]), looks=asked.looks, correlation=asked.speckle_correlation
        )
        heard = (layer + noise) * factor - (noise if asked.noise_removed else np.float32(0.0))
        layers.append(np.maximum(heard, np.float32(_SMALLEST)))
    return np.stack(layers).astype(np.float32)


def _optical(
    seed: int,
    ground: _Ground,
    cover: Classes,
    patch: npt.NDArray[np.int64],
    share: Raster,
    stage: float,
    pixel_size: float,
    asked: SceneOptions,
) -> tuple[Raster, BoolArray, BoolArray]:
    """Reflectance, cloud with its shadow, ground without sun."""
    rng = np.random.default_rng([seed, 7])
    shade = np.exp(0.08 * imagery_landscape.fractal_field(rng, cover.shape, exponent=1.6, longest=20.0))
    shade = shade * np.exp(0.10 * rng.standard_normal(int(patch.max()) + 1)[patch]).astype(np.float32)
    muddy = np.clip(0.5 + 0.3 * imagery_landscape.fractal_field(rng, cover.shape, exponent=4.0, longest=80.0), 0.0, 1.0)
    muddy = np.clip(muddy * min(stage / 3.0 + 0.3, 1.0) + 0.3 * (stage > 0), 0.0, 1.0)
    light = imagery_landscape.illuminate(ground.z, pixel_size=pixel_size, sun_azimuth=140.0, sun_elevation=50.0)
    veil, shadow = _clouds(rng, cover.shape, asked.cloud_fraction)
    layers = []
    bare = _REFLECTANCE[BARE]
    for index, band in enumerate(BANDS):
        table = _REFLECTANCE[:, index].copy()
        table[[CROP, PADDY]] = asked.green_cover * table[[CROP, PADDY]] + (1.0 - asked.green_cover) * bare[index]
        wet = _REFLECTANCE[WATER, index] + muddy * (_TURBID[index] - _REFLECTANCE[WATER, index])
        flat = share * wet + (1.0 - share) * table[cover] * shade
        sky = imagery_landscape.DIFFUSE_SHARE[band]
        lit = flat * ((1.0 - sky) * light.direct * (1.0 - 0.6 * shadow) + sky * light.sky_view)
        seen = lit * (1.0 - veil) + _CLOUD[index] * veil
        layers.append(seen + asked.optical_noise * rng.standard_normal(cover.shape, dtype=np.float32))
    return np.stack(layers).astype(np.float32), (veil > 0.1) | (shadow > 0.1), light.shadow


def _clouds(rng: np.random.Generator, shape: tuple[int, int], fraction: float) -> tuple[Raster, Raster]:
    """Opacity of clouds, and of their shadows, which lie to the north-west."""
    if fraction <= 0.0:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    field = imagery_landscape.fractal_field(rng, shape, exponent=3.4, longest=110.0)
    veil = np.clip((field - np.quantile(field, 1.0 - fraction)) / 0.25, 0.0, 0.97).astype(np.float32)
    return veil, np.asarray(ndimage.shift(veil, (-12.0, -10.0), order=1, mode="nearest"), dtype=np.float32)


def _stated_heights(
    rng: np.random.Generator, ground: _Ground, before: Raster, pixel_size: float, asked: SceneOptions
) -> Raster:
    """Heights with correlated errors, flat where water stood when they were taken."""
    error = imagery_landscape.fractal_field(rng, ground.z.shape, exponent=2.0, longest=12.0)
    still = np.minimum(ground.lake, ground.unnoted)
    level = np.where(still < 50.0, ground.z - still, ground.level)
    surface = np.where(before > 0.5, np.maximum(level, ground.z), ground.z + asked.dem_error * error)
    return np.asarray(surface, dtype=np.float32)


def _reference(rng: np.random.Generator, ground: _Ground, before: Raster, asked: SceneOptions) -> Raster:
    """Probability of water by a coarser data set."""
    if not asked.reference_errors:
        return before
    noted = np.where(ground.unnoted < 1.0, np.float32(0.0), before)
    coarse = ndimage.uniform_filter(noted, 3)
    # Coarse data lose what is narrower than their pixel.
    lost = np.clip((ndimage.maximum_filter(coarse, 5) - 0.45) / 0.4, 0.0, 1.0)
    seasonal = np.exp(-np.clip(ground.height, 0.0, None) / 0.8) * (ground.edge < 15.0) * (ground.edge > 0.0)
    chance = 0.97 * coarse * lost + 0.35 * seasonal * (1.0 - coarse)
    row, column = rng.uniform(-0.7, 0.7, 2)
    moved = ndimage.shift(chance, (row, column), order=1, mode="nearest")
    return np.asarray(np.clip(moved + 0.02 * rng.standard_normal(before.shape), 0.0, 1.0), dtype=np.float32)
