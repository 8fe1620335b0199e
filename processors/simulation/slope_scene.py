"""Forward model of mountain slopes before and after rain that set them moving, in the solar spectrum, with exact truth.

A slide breaks off where the slope is steep and green, runs down the fall line of the heights, narrows on its way and
ends in a fan; it leaves soil and rock. Beside it happens everything that also bares ground: harvests on gentle slopes,
clear-cuts, roads along the contours, quarries, rivers that move, fire, clouds that a mask has missed, the season and
the sun. Nothing here uses the processing it is meant to test.
"""

import math
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
COVERS = ("conifers", "broadleaves", "grass", "field", "bare", "water")
"""Land covers, by number."""
CONIFERS, BROADLEAVES, GRASS, FIELD, BARE, WATER = range(6)
DECOYS = ("none", "harvest", "clear-cut", "road", "quarry", "river bed", "fire", "cloud", "cloud shadow")
"""What else changed, by number."""
HARVEST, CLEAR_CUT, ROAD, QUARRY, RIVER_BED, FIRE, CLOUD, CLOUD_SHADOW = range(1, 9)
START_SLOPE = (25.0, 50.0)
"""Slope where slides break off [degree]."""
FIELD_SLOPE = 12.0
"""Steepest slope of fields [degree]."""

_GREEN = np.array(
    [
        [0.020, 0.036, 0.022, 0.260, 0.120, 0.050],
        [0.025, 0.050, 0.028, 0.370, 0.170, 0.070],
        [0.038, 0.075, 0.048, 0.340, 0.220, 0.115],
        [0.030, 0.065, 0.034, 0.430, 0.190, 0.085],
        [0.095, 0.120, 0.150, 0.200, 0.260, 0.230],
        [0.050, 0.060, 0.045, 0.020, 0.010, 0.007],
    ]
)
_BROWN = np.array(
    [
        [0.035, 0.045, 0.050, 0.180, 0.160, 0.090],
        [0.045, 0.065, 0.075, 0.190, 0.200, 0.125],
        [0.070, 0.095, 0.120, 0.240, 0.320, 0.220],
        [0.070, 0.100, 0.135, 0.210, 0.290, 0.220],
        [0.095, 0.120, 0.150, 0.200, 0.260, 0.230],
        [0.050, 0.060, 0.045, 0.020, 0.010, 0.007],
    ]
)
# Least green cover out of season, and what the season takes at most.
_COVER = np.array([0.92, 0.95, 0.80, 0.80, 0.05, 0.0])
_SEASONAL = np.array([0.15, 1.0, 0.9, 0.8, 0.0, 0.0])
_EARTH = np.array([0.070, 0.100, 0.140, 0.215, 0.290, 0.240])
_ROCK = np.array([0.130, 0.155, 0.180, 0.225, 0.260, 0.235])
_SLASH = np.array([0.055, 0.080, 0.100, 0.220, 0.270, 0.190])
_GRAVEL = np.array([0.130, 0.155, 0.175, 0.215, 0.220, 0.190])
_CHAR = np.array([0.032, 0.038, 0.045, 0.085, 0.150, 0.170])
_CLOUD = np.array([0.50, 0.51, 0.52, 0.55, 0.45, 0.36])
_TEXTURE = 0.10
_STEP = 5.0
_FINE = 3
_BLUR = 0.45
_STOP_SLOPE = 9.0
_TRIES, _PLACES = 12, 60
_ROAD_MARGIN = 5


@dataclass(frozen=True, kw_only=True)
class SlopeOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    slides : int
        Number of slides [1].
    width, length : tuple of float
        Least and largest width and length of slides, drawn evenly in the logarithm [m].
    steepness : float
        Middle slope of the mountainsides [degree].
    bare_share : float
        Share of the steepest slopes that were bare before [1].
    season : tuple of float
        Part of the green cover that the season takes on either date, 0 to 1 [1].
    sun_elevation, sun_azimuth : tuple of float
        Direction of the sun before and after [degree].
    harvest : float
        Share of fields harvested or ploughed between the dates [1].
    clear_cuts, roads, quarries, fires, river_beds, clouds : int
        Numbers of the other changes; clouds are those that no mask has found, with their shadows [1].
    masked : float
        Share of either date under clouds that were found: NaN [1].
    air_offset : tuple of float
        Reflectance the air adds in the blue before and after; it falls with the third power of wavelength [1].
    gain_error : float
        Standard deviation of the calibration of every band and date [1].
    noise : float
        Noise of the reflectance [1].
    shift : tuple of float
        Shift of the second image, down and right [pixel].
    height_pixel : float
        Pixel size of the heights as delivered, brought to the grid of the image [m].
    height_error : float
        Standard deviation of the delivered heights [m].
    """

    slides: int = 8
    width: tuple[float, float] = (20.0, 80.0)
    length: tuple[float, float] = (60.0, 600.0)
    steepness: float = 31.0
    bare_share: float = 0.25
    season: tuple[float, float] = (0.05, 0.15)
    sun_elevation: tuple[float, float] = (60.0, 52.0)
    sun_azimuth: tuple[float, float] = (135.0, 150.0)
    harvest: float = 0.3
    clear_cuts: int = 6
    roads: int = 4
    quarries: int = 3
    fires: int = 1
    river_beds: int = 3
    clouds: int = 4
    masked: float = 0.05
    air_offset: tuple[float, float] = (0.005, 0.012)
    gain_error: float = 0.02
    noise: float = 0.004
    shift: tuple[float, float] = (0.3, -0.2)
    height_pixel: float = 10.0
    height_error: float = 0.5


class Slide(NamedTuple):
    """One slide."""

    path: npt.NDArray[np.float64]
    """Points of its middle line from the head down (point, 2): row, column [pixel]."""
    width: float
    """Largest width of scar and track [m]."""
    length: float
    """Length along the ground plan [m]."""
    area: float
    """Ground laid bare [m2]."""
    seen: float
    """Share that neither image hides under a mask or in terrain shadow [1]."""


class SlopeScene(NamedTuple):
    """What the sensors deliver, and the truth."""

    before: Raster
    """Reflectance before, NaN under clouds that were found (band, y, x) [1]."""
    after: Raster
    """Reflectance after (band, y, x) [1]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    elevation: Raster
    """Heights as delivered (y, x) [m]."""
    dem: Raster
    """Heights of the scene itself (y, x) [m]."""
    labels: npt.NDArray[np.int32]
    """Number of the slide from 1 where it covers half of the pixel (y, x), 0 elsewhere."""
    share: Raster
    """Share of the pixel that slid (y, x) [1]."""
    slides: tuple[Slide, ...]
    """The slides, in the order of their numbers."""
    decoys: npt.NDArray[np.uint8]
    """Index into DECOYS (y, x)."""
    land_cover: npt.NDArray[np.uint8]
    """Index into COVERS, before (y, x)."""
    terrain_shadow: BoolArray
    """Not lit by the sun on one of the dates (y, x)."""
    pixel_size: float
    """Pixel size [m]."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


class _Ground(NamedTuple):
    dem: Raster
    slope: Raster
    fall: tuple[Raster, Raster]
    cover: npt.NDArray[np.uint8]
    parcel: npt.NDArray[np.int32]
    pixel_size: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.dem.shape[0], self.dem.shape[1]


def simulate_slope_scene(
    seed: int, *, shape: tuple[int, int] = (1000, 1000), pixel_size: float = 10.0, **options: Any
) -> SlopeScene:
    """Let slopes slide.

    Parameters
    ----------
    seed : int
        Seed of all randomness; the land does not depend on what happens on it.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    **options : Any
        Of SlopeOptions.

    Returns
    -------
    SlopeScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        Fewer than 64 pixels on a side, or no slope that could slide.
    """
    asked = SlopeOptions(**options)
    if min(shape) < 64:
        raise ValueError(f"no slopes fit into {shape} pixels")
    ground = _ground(seed, shape, pixel_size, asked)
    rng = np.random.default_rng([seed, 72])
    labels, share, slides = _slides(rng, ground, asked)
    before = _reflectance(seed, ground, asked.season[0])
    later = _reflectance(seed, ground, asked.season[1])
    later, decoys = _decoys(np.random.default_rng([seed, 73]), ground, later, share > 0.0, asked)
    later = _bared(np.random.default_rng([seed, 74]), later, share, labels)
    images, shadow = [], np.zeros(shape, dtype=np.bool_)
    weather = np.random.default_rng([seed, 75])
    for date, flat in enumerate((before, later)):
        light = imagery_landscape.illuminate(
            ground.dem,
            pixel_size=pixel_size,
            sun_azimuth=asked.sun_azimuth[date],
            sun_elevation=asked.sun_elevation[date],
        )
        shadow |= light.shadow
        image = imagery_landscape.lit(flat.astype(np.float32), light, bands=BANDS)
        if date:
            image = _clouded(weather, image, decoys, pixel_size, asked)
        images.append(_measured(weather, image, date, asked))
    hidden = np.isnan(images[0][0]) | np.isnan(images[1][0]) | shadow
    return SlopeScene(
        images[0],
        images[1],
        BANDS,
        _delivered(np.random.default_rng([seed, 76]), ground, asked),
        ground.dem,
        labels,
        share,
        tuple(_visible(slide, labels == number, hidden) for number, slide in enumerate(slides, start=1)),
        decoys,
        ground.cover,
        shadow,
        pixel_size,
        {"seed": seed, "shape": shape, "pixel_size": pixel_size, **asdict(asked)},
    )


def _ground(seed: int, shape: tuple[int, int], pixel_size: float, asked: SlopeOptions) -> _Ground:
    """Folded fractal mountains with gullies, flat valley floors, and what grows on them."""
    rng = np.random.default_rng([seed, 71])
    large, small = 5000.0 / pixel_size, 900.0 / pixel_size
    fold = np.abs(imagery_landscape.fractal_field(rng, shape, exponent=4.6, longest=large))
    gullies = np.abs(imagery_landscape.fractal_field(rng, shape, exponent=4.4, longest=small))
    floor = 0.22
    above = np.maximum(fold - floor, 0.0)
    profile = above + 0.07 * gullies * np.tanh(4.0 * above) + 0.02 * np.minimum(fold, floor)
    profile = ndimage.gaussian_filter(profile, 15.0 / pixel_size)
    tangent = np.hypot(*np.gradient(profile, pixel_size))
    scale = math.tan(math.radians(asked.steepness)) / float(np.median(tangent[above > 0.0]))
    dem = (200.0 + scale * (profile - profile.min())).astype(np.float32)
    down, right = np.gradient(dem, pixel_size)
    slope = np.degrees(np.arctan(np.hypot(down, right))).astype(np.float32)
    cover, parcel = _cover(rng, fold, dem, slope, pixel_size, asked)
    return _Ground(dem, slope, (-down, -right), cover, parcel, pixel_size)


def _cover(
    rng: np.random.Generator, fold: Raster, dem: Raster, slope: Raster, pixel_size: float, asked: SlopeOptions
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    shape = dem.shape
    patches = [imagery_landscape.fractal_field(rng, shape, exponent=3.2, longest=800.0 / pixel_size) for _ in range(3)]
    high = (dem - np.median(dem)) / (np.std(dem) + 1.0)
    cover = np.where(patches[0] + 0.8 * high > 0.3, CONIFERS, BROADLEAVES).astype(np.uint8)
    cover[patches[1] + 0.3 * high > 0.9] = GRASS
    steep = (slope > 38.0) & (slope + 8.0 * patches[2] > 40.0)
    if steep.any():
        cover[steep & (patches[2] > np.quantile(patches[2][steep], 1.0 - asked.bare_share))] = BARE
    gentle = ndimage.gaussian_filter(slope, 2.0) < FIELD_SLOPE
    cover[gentle & (slope < FIELD_SLOPE) & (patches[2] < 0.8)] = FIELD
    cover[fold < 0.025] = WATER
    angle, side = rng.uniform(0.0, math.pi), 120.0 / pixel_size
    row, column = np.indices(shape, dtype=np.float32)
    along = (row * math.cos(angle) + column * math.sin(angle)) / side
    across = (column * math.cos(angle) - row * math.sin(angle)) / (0.6 * side)
    one, two = np.floor(along + 0.2 * patches[0]), np.floor(across + 0.2 * patches[1])
    parcel = ((one - one.min()) * (np.ptp(two) + 1.0) + two - two.min()).astype(np.int32)
    return cover, parcel


def _reflectance(seed: int, ground: _Ground, season: float) -> npt.NDArray[np.float64]:
    """Plants of both dates stand on the same ground; the season takes more from one than from the other."""
    rng = np.random.default_rng([seed, 77])
    shape = ground.shape
    density = imagery_landscape.fractal_field(rng, shape, exponent=2.2, longest=40.0)
    early = imagery_landscape.fractal_field(rng, shape, exponent=3.2, longest=120.0)
    parcel = rng.normal(0.0, 0.18, int(ground.parcel.max()) + 1)[ground.parcel]
    loss = season * _SEASONAL[ground.cover] * np.clip(1.0 + 0.25 * early, 0.0, 1.5)
    field = ground.cover == FIELD
    green = np.clip(_COVER[ground.cover] + 0.05 * density + field * (parcel - 0.1), 0.0, 1.0) * np.clip(
        1.0 - loss, 0, 1
    )
    green[ground.cover == WATER] = 1.0
    bright = 1.0 + _TEXTURE * density + 0.3 * field * parcel
    flat = _BROWN.T[:, ground.cover] + green * (_GREEN - _BROWN).T[:, ground.cover]
    return np.asarray(flat * np.clip(bright, 0.5, 1.6))


def _slides(
    rng: np.random.Generator, ground: _Ground, asked: SlopeOptions
) -> tuple[npt.NDArray[np.int32], Raster, list[Slide]]:
    """Slides that do not touch each other."""
    shape = ground.shape
    labels, share = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    green = np.isin(ground.cover, (CONIFERS, BROADLEAVES, GRASS))
    starts = np.flatnonzero(green & (ground.slope >= START_SLOPE[0] + 2.0) & (ground.slope <= START_SLOPE[1]))
    slides: list[Slide] = []
    if asked.slides and not starts.size:
        raise ValueError("no slope here could slide")
    tried = 0
    while len(slides) < asked.slides and tried < _TRIES:
        # A size is given up for another only after many places: else short slides would prevail.
        width, length = (math.exp(rng.uniform(*np.log(span))) for span in (asked.width, asked.length))
        width = min(width, 0.5 * length)
        tried += 1
        for start in rng.choice(starts, _PLACES):
            place = np.unravel_index(int(start), shape)
            path = fall_line(ground.dem, (float(place[0]), float(place[1])), length, pixel_size=ground.pixel_size)
            covered = None
            if (len(path) - 1) * _STEP >= 0.95 * length:
                covered = _covered(path, _widths(len(path), width), shape, ground.pixel_size)
            if covered is None or not _may_slide(green[covered[1]], share[covered[1]], covered[0]):
                continue
            share[covered[1]] = covered[0]
            labels[covered[1]][covered[0] >= 0.5] = len(slides) + 1
            area = float(covered[0].sum()) * ground.pixel_size**2
            slides.append(Slide(path, width, _STEP * (len(path) - 1), area, 1.0))
            tried = 0
            break
    if len(slides) < asked.slides:
        raise ValueError(f"only {len(slides)} of {asked.slides} slides fit onto these slopes")
    return labels, share, slides


def _may_slide(green: BoolArray, taken: Raster, covered: Raster) -> bool:
    """Whether nine tenths of it are green and nothing has slid there before."""
    return bool(not taken.any() and green[covered > 0.5].mean() > 0.9)


def fall_line(dem: Raster, start: tuple[float, float], length: float, *, pixel_size: float) -> npt.NDArray[np.float64]:
    """Way of steepest descent, step by step.

    Parameters
    ----------
    dem : array
        Heights (y, x) [m].
    start : tuple of float
        Row and column [pixel].
    length : float
        Length wanted [m].
    pixel_size : float
        Pixel size [m].

    Returns
    -------
    array
        Points (point, 2): row, column [pixel]; fewer than wanted where the slope ends or the scene does.
    """
    points, here = [start], start
    heading = (0.0, 0.0)
    gentle = math.tan(math.radians(_STOP_SLOPE))
    for _ in range(round(length / _STEP)):
        row, column = round(here[0]), round(here[1])
        if not (1 <= row < dem.shape[0] - 1 and 1 <= column < dem.shape[1] - 1):
            break
        down = float(dem[row - 1, column] - dem[row + 1, column]) / (2.0 * pixel_size)
        right = float(dem[row, column - 1] - dem[row, column + 1]) / (2.0 * pixel_size)
        steep = math.hypot(down, right)
        if steep < gentle:
            break
        # Moving mass keeps part of its heading: no zigzag between the cells of a gully.
        heading = (0.5 * heading[0] + 0.5 * down / steep, 0.5 * heading[1] + 0.5 * right / steep)
        norm = max(math.hypot(*heading), 1e-6)
        if norm < 0.2:
            break
        here = (here[0] + heading[0] / norm * _STEP / pixel_size, here[1] + heading[1] / norm * _STEP / pixel_size)
        points.append(here)
    return np.array(points)


def _widths(points: int, width: float) -> npt.NDArray[np.float64]:
    """Round head, widest early, a track that narrows, a fan at the end."""
    along = np.linspace(0.0, 1.0, points)
    return width * np.interp(along, [0.0, 0.12, 0.3, 0.7, 0.85, 0.95, 1.0], [0.6, 1.0, 0.95, 0.6, 0.75, 0.95, 0.6])


def _covered(
    path: npt.NDArray[np.float64], widths: npt.NDArray[np.float64], shape: tuple[int, int], pixel_size: float
) -> tuple[Raster, tuple[slice, slice]] | None:
    """Share of pixels under discs along a path, and the window it fills; None beyond the scene."""
    margin = int(widths.max() / 2.0 / pixel_size) + 2
    low, high = np.floor(path.min(axis=0)).astype(int) - margin, np.ceil(path.max(axis=0)).astype(int) + margin + 1
    if (low < 0).any() or (high > np.array(shape)).any():
        return None
    fine = np.zeros(tuple((high - low) * _FINE), dtype=np.bool_)
    for point, width in zip(path, widths, strict=True):
        center, radius = (point - low + 0.5) * _FINE - 0.5, width / 2.0 / pixel_size * _FINE
        top, left = (np.floor(center - radius).astype(int)).clip(0)
        bottom, end = np.ceil(center + radius).astype(int) + 1
        row, column = np.ogrid[top:bottom, left:end]
        fine[top:bottom, left:end] |= (row - center[0]) ** 2 + (column - center[1]) ** 2 <= radius**2
    rows, columns = (int(side) for side in high - low)
    share = fine.reshape(rows, _FINE, columns, _FINE).mean(axis=(1, 3)).astype(np.float32)
    return share, (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))


def _bared(
    rng: np.random.Generator, flat: npt.NDArray[np.float64], share: Raster, labels: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Soil and rock in the scar, with plants and trunks left in it; every slide has its own stone and moisture."""
    near = labels.copy()
    edge = (share > 0.0) & (labels == 0)
    if labels.any():
        index = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        near[edge] = labels[tuple(index)][edge]
    count = int(labels.max()) + 1
    stone, wet, bare = (rng.uniform(low, high, count)[near] for low, high in ((0, 0.8), (0.7, 1.2), (0.75, 1.0)))
    rough = imagery_landscape.fractal_field(rng, share.shape, exponent=2.0, longest=20.0)
    soil = _EARTH[:, None, None] + stone * (_ROCK - _EARTH)[:, None, None]
    soil = soil * wet * np.clip(1.0 + 0.12 * rough, 0.5, 1.6)
    part = share * np.clip(bare + 0.06 * rough, 0.0, 1.0)
    return np.asarray(flat + part * (soil - flat))


def _decoys(
    rng: np.random.Generator, ground: _Ground, flat: npt.NDArray[np.float64], slid: BoolArray, asked: SlopeOptions
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Everything else that bares ground, off the slides."""
    kinds = np.zeros(ground.shape, dtype=np.uint8)
    free = ~ndimage.binary_dilation(slid, iterations=3)
    chosen = rng.random(int(ground.parcel.max()) + 1) < asked.harvest
    parts = [
        (HARVEST, (ground.cover == FIELD) & chosen[ground.parcel], _EARTH, 0.9),
        (FIRE, _fires(rng, ground, asked.fires), _CHAR, 0.75),
        (CLEAR_CUT, _blocks(rng, ground, asked.clear_cuts, (10.0, 35.0), (140.0, 380.0)), _SLASH, 0.9),
        (QUARRY, _blocks(rng, ground, asked.quarries, (4.0, 30.0), (90.0, 220.0)), _ROCK, 0.97),
        (RIVER_BED, _river_beds(rng, ground, asked.river_beds), _GRAVEL, 0.9),
        (ROAD, _roads(rng, ground, asked.roads), _EARTH, 0.85),
    ]
    rough = imagery_landscape.fractal_field(rng, ground.shape, exponent=2.0, longest=30.0)
    for kind, where, spectrum, part in parts:
        share = np.asarray(where, dtype=np.float64) * free
        level = rng.uniform(0.85, 1.15)
        there = share > 0.0
        new = spectrum[:, None] * level * np.clip(1.0 + 0.10 * rough[there], 0.5, 1.6)
        flat[:, there] += part * share[there] * (new - flat[:, there])
        kinds[share > 0.3] = kind
    return flat, kinds


def _forest(ground: _Ground) -> BoolArray:
    return np.asarray((ground.cover == CONIFERS) | (ground.cover == BROADLEAVES))


def _fires(rng: np.random.Generator, ground: _Ground, count: int) -> BoolArray:
    """Ragged patches of half a square kilometer or less."""
    burnt = np.zeros(ground.shape, dtype=np.bool_)
    ragged = imagery_landscape.fractal_field(rng, ground.shape, exponent=2.8, longest=60.0)
    for row, column in _places(rng, _forest(ground), count):
        radius = rng.uniform(150.0, 400.0) / ground.pixel_size
        down, right = np.ogrid[: ground.shape[0], : ground.shape[1]]
        burnt |= np.hypot(down - row, right - column) + 0.3 * radius * ragged < radius
    return np.asarray(burnt & (ground.cover != WATER))


def _blocks(
    rng: np.random.Generator, ground: _Ground, count: int, slopes: tuple[float, float], sides: tuple[float, float]
) -> BoolArray:
    """Rectangles in the forest, turned any way, on slopes within limits."""
    made = np.zeros(ground.shape, dtype=np.bool_)
    within = (ground.slope >= slopes[0]) & (ground.slope <= slopes[1])
    fits = ndimage.uniform_filter(within.astype(np.float32), 2 * round(0.4 * sides[0] / ground.pixel_size) + 1) > 0.9
    down, right = np.ogrid[: ground.shape[0], : ground.shape[1]]
    for row, column in _places(rng, fits & _forest(ground), count):
        angle = rng.uniform(0.0, math.pi)
        high, wide = (rng.uniform(*sides) / 2.0 / ground.pixel_size for _ in range(2))
        along = (down - row) * math.cos(angle) + (right - column) * math.sin(angle)
        across = (right - column) * math.cos(angle) - (down - row) * math.sin(angle)
        made |= (np.abs(along) <= high) & (np.abs(across) <= wide)
    return np.asarray(made & within & (ground.cover != WATER))


def _river_beds(rng: np.random.Generator, ground: _Ground, count: int) -> BoolArray:
    """Banks along a kilometer of river that became gravel."""
    banks = ndimage.binary_dilation(ground.cover == WATER, iterations=4) & (ground.cover != WATER)
    near = np.zeros(ground.shape, dtype=np.bool_)
    down, right = np.ogrid[: ground.shape[0], : ground.shape[1]]
    for row, column in _places(rng, banks, count):
        near |= np.hypot(down - row, right - column) < 400.0 / ground.pixel_size
    return np.asarray(near & banks & (ground.slope < 10.0))


def _roads(rng: np.random.Generator, ground: _Ground, count: int) -> Raster:
    """Share of pixels under new roads that keep their height."""
    share = np.zeros(ground.shape, dtype=np.float32)
    steep = (ground.slope > 12.0) & (ground.slope < 38.0) & _forest(ground)
    for row, column in _places(rng, steep, count):
        path = _contour(ground, (float(row), float(column)), rng.uniform(500.0, 1800.0))
        covered = _covered(path, np.full(len(path), rng.uniform(7.0, 14.0)), ground.shape, ground.pixel_size)
        if covered is not None:
            share[covered[1]] = np.maximum(share[covered[1]], covered[0])
    return share


def _contour(ground: _Ground, start: tuple[float, float], length: float) -> npt.NDArray[np.float64]:
    points, here, heading = [start], start, (0.0, 0.0)
    for _ in range(round(length / _STEP)):
        row, column = round(here[0]), round(here[1])
        if min(row, column, ground.shape[0] - 1 - row, ground.shape[1] - 1 - column) < _ROAD_MARGIN:
            break
        down, right = float(ground.fall[0][row, column]), float(ground.fall[1][row, column])
        norm = max(math.hypot(down, right), 1e-6)
        turned = (0.7 * heading[0] + 0.3 * right / norm, 0.7 * heading[1] - 0.3 * down / norm)
        size = max(math.hypot(*turned), 1e-6)
        heading = (turned[0] / size, turned[1] / size)
        here = (here[0] + heading[0] * _STEP / ground.pixel_size, here[1] + heading[1] * _STEP / ground.pixel_size)
        points.append(here)
    return np.array(points)


def _places(rng: np.random.Generator, where: BoolArray, count: int) -> list[tuple[int, int]]:
    spots = np.flatnonzero(where)
    if not spots.size or count < 1:
        return []
    drawn = [np.unravel_index(int(spot), where.shape) for spot in rng.choice(spots, count)]
    return [(int(row), int(column)) for row, column in drawn]


def _clouded(
    rng: np.random.Generator,
    image: Raster,
    decoys: npt.NDArray[np.uint8],
    pixel_size: float,
    asked: SlopeOptions,
) -> Raster:
    """Small clouds that no mask has found, and the shadows they throw; `decoys` is marked."""
    shape = decoys.shape
    down, right = np.ogrid[: shape[0], : shape[1]]
    ragged = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=15.0)
    azimuth = math.radians(asked.sun_azimuth[1])
    for row, column in _places(rng, np.ones(shape, dtype=np.bool_), asked.clouds):
        radius, away = rng.uniform(50.0, 150.0) / pixel_size, rng.uniform(400.0, 1200.0) / pixel_size
        away /= math.tan(math.radians(asked.sun_elevation[1]))
        thick = rng.uniform(0.3, 0.9)
        below = (row + away * math.cos(azimuth), column - away * math.sin(azimuth))
        spots = [
            np.clip(1.5 - np.hypot(down - r, right - c) / radius + 0.3 * ragged, 0, 1)
            for r, c in (below, (row, column))
        ]
        dimmed = image * (1.0 - 0.6 * thick * spots[0])
        image = np.asarray(dimmed + thick * spots[1] * (_CLOUD[:, None, None] - dimmed), dtype=np.float32)
        decoys[spots[0] > 0.3] = CLOUD_SHADOW
        decoys[spots[1] > 0.3] = CLOUD
    return image


def _measured(rng: np.random.Generator, image: Raster, date: int, asked: SlopeOptions) -> Raster:
    """Optics, shift, air, calibration, noise, and gaps where clouds were found."""
    wavelength = np.array([0.49, 0.56, 0.665, 0.842, 1.61, 2.19])
    air = asked.air_offset[date] * (wavelength[0] / wavelength) ** 3
    gain = 1.0 + asked.gain_error * rng.normal(size=len(BANDS))
    out = np.empty(image.shape, dtype=np.float32)
    for number, layer in enumerate(image):
        seen = ndimage.gaussian_filter(layer.astype(np.float32), _BLUR, mode="nearest")
        if date and any(asked.shift):
            seen = ndimage.shift(seen, asked.shift, order=1, mode="nearest")
        noise = rng.standard_normal(seen.shape, dtype=np.float32) * np.float32(asked.noise)
        out[number] = seen * np.float32(gain[number]) + np.float32(air[number]) + noise
    if asked.masked > 0.0:
        field = imagery_landscape.fractal_field(rng, image.shape[1:], exponent=3.2, longest=120.0)
        out[:, field > np.quantile(field, 1.0 - asked.masked)] = np.nan
    return out


def _delivered(rng: np.random.Generator, ground: _Ground, asked: SlopeOptions) -> Raster:
    """Heights as a coarser model holds them, brought to the grid of the image."""
    ratio = asked.height_pixel / ground.pixel_size
    heights = ground.dem.astype(np.float64)
    if ratio > 1.0:
        coarse = ndimage.uniform_filter(heights, round(ratio))[round(ratio) // 2 :: round(ratio), :][
            :, round(ratio) // 2 :: round(ratio)
        ]
        coarse = coarse + asked.height_error * rng.normal(size=coarse.shape)
        step = round(ratio)
        at = [(np.arange(side) - step // 2) / step for side in heights.shape]
        heights = ndimage.map_coordinates(coarse, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
    else:
        # Errors of a height model are smooth over a few pixels.
        rough = ndimage.gaussian_filter(rng.normal(size=heights.shape), 2.0)
        heights = heights + asked.height_error * rough / max(float(rough.std()), 1e-9)
    return np.asarray(heights, dtype=np.float32)


def _visible(slide: Slide, where: BoolArray, hidden: BoolArray) -> Slide:
    return slide._replace(seen=1.0 - float(hidden[where].mean()) if where.any() else 0.0)
