"""Forward model of a town before and after a disaster, as a very sharp camera and a radar see it, with exact truth.

Buildings with gabled or flat roofs on lots along streets, trees, cars. Damage takes tiles off a roof (possible), brings
a part of the house down with debris around it (major), or leaves a heap of rubble without a shadow (destroyed). Beside
it everything else that changes a picture: the sun and its shadows, the look angle that leans houses over their
footprints, the season, other cars, a shift. Radar is amplitude alone, many dates before and some after, pixels of ten
meters with the double bounce of the walls in them. Nothing here uses the processing it is meant to test.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage
from shapely import affinity

from processors.arrays import BoolArray, FloatArray
from processors.simulation import _imagery_simulation_kernels, imagery_landscape
from processors.simulation.imagery_landscape import Raster

BANDS = ("red", "green", "blue")
"""Bands of the camera."""
GRADES = ("none", "possible", "major", "destroyed")
"""Grades of damage, by number."""

_STREET = np.array([0.11, 0.11, 0.11])
_YARD = np.array([0.20, 0.17, 0.13])
_GRASS = np.array([[0.07, 0.11, 0.05], [0.15, 0.14, 0.08]])
_TREE = np.array([[0.035, 0.065, 0.025], [0.10, 0.08, 0.05]])
_FACADE = np.array([0.22, 0.21, 0.19])
_RUBBLE = np.array([0.23, 0.21, 0.19])
_ROOFS = np.array(
    [
        [0.30, 0.16, 0.11],
        [0.24, 0.13, 0.10],
        [0.26, 0.26, 0.26],
        [0.38, 0.38, 0.37],
        [0.14, 0.14, 0.15],
        [0.16, 0.24, 0.36],
    ]
)
_RADAR_PIXEL = 10.0
_SKY = 0.22
# Gamma nought of open ground, vv and vh, and of walls by their area in a pixel [1].
_GROUND_RADAR = np.array([0.08, 0.018])
_WALL_RADAR = np.array([0.9, 0.12])
# Change of the walls' return by grade: mean and standard deviation [dB].
_RADAR_CHANGE = np.array([[0.0, 0.0], [-0.3, 0.4], [-2.5, 1.5], [-5.0, 2.5]])


@dataclass(frozen=True, kw_only=True)
class DamageOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    grades : tuple of float
        Shares of the grades [1].
    clustered : bool
        Let damage gather in a part of the town.
    lot : float
        Distance of buildings along a street [m].
    height : tuple of float
        Least and largest height [m].
    sun_elevation, sun_azimuth : tuple of float
        Direction of the sun before and after [degree].
    view_zenith, view_azimuth : tuple of float
        Direction of the camera before and after [degree].
    brown : tuple of float
        Season of plants before and after, 0 green to 1 brown [1].
    trees, cars : float
        Number of trees and cars for every building [1].
    dust : float
        Reflectance of the haze and dust after [1].
    gain : tuple of float
        Exposure before and after [1].
    noise : float
        Noise of the reflectance [1].
    blur : float
        Standard deviation of the optics [pixel].
    shift : tuple of float
        Shift of the second image, down and right [pixel].
    footprint_error : float
        Standard deviation of the footprints' common displacement [m].
    radar_before, radar_after : int
        Number of radar dates [1].
    looks : float
        Number of looks [1].
    """

    grades: tuple[float, float, float, float] = (0.60, 0.14, 0.12, 0.14)
    clustered: bool = True
    lot: float = 22.0
    height: tuple[float, float] = (3.5, 14.0)
    sun_elevation: tuple[float, float] = (52.0, 46.0)
    sun_azimuth: tuple[float, float] = (140.0, 152.0)
    view_zenith: tuple[float, float] = (6.0, 14.0)
    view_azimuth: tuple[float, float] = (60.0, 250.0)
    brown: tuple[float, float] = (0.1, 0.3)
    trees: float = 1.5
    cars: float = 1.0
    dust: float = 0.01
    gain: tuple[float, float] = (1.0, 1.06)
    noise: float = 0.004
    blur: float = 0.5
    shift: tuple[float, float] = (0.4, -0.3)
    footprint_error: float = 0.5
    radar_before: int = 12
    radar_after: int = 3
    looks: float = 4.4


class Building(NamedTuple):
    """A building."""

    number: int
    """From 1; value in `building_number`."""
    grade: int
    """Index into GRADES."""
    share: float
    """Share of the footprint whose roof is gone or broken [1]."""
    height: float
    """Height before [m]."""
    row: float
    """Row of its middle, 0.5 in the middle of the first pixel [pixel]."""
    column: float
    """Column, likewise [pixel]."""
    outline: shapely.Polygon
    """Footprint: x east, y south of the upper left corner [m]."""
    mapped: shapely.Polygon
    """The footprint a map holds, displaced by the map's error [m]."""


class DamageScene(NamedTuple):
    """What the sensors deliver, and the truth."""

    before: Raster
    """Reflectance before (band, y, x) [1]."""
    after: Raster
    """Reflectance after (band, y, x) [1]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    before_pan: Raster
    """Panchromatic image before (y, x) [1]."""
    after_pan: Raster
    """Panchromatic image after (y, x) [1]."""
    buildings: tuple[Building, ...]
    """The buildings."""
    building_number: npt.NDArray[np.uint16]
    """Number of the building on its footprint, 0 elsewhere (y, x)."""
    grade: npt.NDArray[np.uint8]
    """Grade on footprints, 255 elsewhere (y, x)."""
    debris: BoolArray
    """Debris on or off the footprints (y, x)."""
    height_before: Raster
    """Height of buildings and trees before (y, x) [m]."""
    height_after: Raster
    """Height after (y, x) [m]."""
    radar_before: Raster
    """Gamma nought, linear (date, polarization, y, x), in pixels of ten meters [1]."""
    radar_after: Raster
    """The same after [1]."""
    radar_change: Raster
    """True change of mean backscatter (polarization, y, x) [dB]."""
    radar_pixel_size: float
    """Pixel size of the radar [m]."""
    pixel_size: float
    """Pixel size of the camera [m]."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


class _House(NamedTuple):
    """A building in pixels."""

    outline: shapely.Polygon
    rows: slice
    columns: slice
    mask: BoolArray
    height: float
    roof: FloatArray
    """Reflectance (3, y, x) within the window."""
    grade: int


class _State(NamedTuple):
    """A town on a date; houses stand above `ground`."""

    ground: Raster
    """Reflectance at the ground (3, y, x)."""
    roofs: list[FloatArray]
    heights: list[Raster]
    """Height of every house (y, x) in its window [m]."""
    low: Raster
    """Height of everything that is no house [m]."""


def simulate_damage_scene(
    seed: int, *, shape: tuple[int, int] = (800, 800), pixel_size: float = 0.5, **options: Any
) -> DamageScene:
    """Damage a town.

    Parameters
    ----------
    seed : int
        Seed of all randomness; the town does not depend on the damage.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size of the camera, a tenth of ten meters or another whole part of them [m].
    **options : Any
        Of DamageOptions.

    Returns
    -------
    DamageScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        The scene is smaller than 60 m or no whole number of radar pixels, or shares do not add up to one.
    """
    asked = DamageOptions(**options)
    per_radar = round(_RADAR_PIXEL / pixel_size)
    whole = math.isclose(per_radar * pixel_size, _RADAR_PIXEL) and shape[0] % per_radar == 0 == shape[1] % per_radar
    if min(shape) * pixel_size < 60.0 or not whole:
        raise ValueError(f"no damage scene has shape {shape} in pixels of {pixel_size} m")
    if not math.isclose(sum(asked.grades), 1.0, abs_tol=1e-6):
        raise ValueError(f"the shares of grades {asked.grades} do not add up to one")
    rng = np.random.default_rng([seed, 71])
    outlines = _lay_out(rng, shape, pixel_size, asked)
    houses = _houses(rng, outlines, shape, pixel_size, asked)
    town = _town(rng, houses, shape, pixel_size, asked)
    after, debris, shares = _damaged(np.random.default_rng([seed, 73]), town, houses, shape, pixel_size)
    images, heights = [], []
    for date, state in enumerate((town, after)):
        drawn = np.random.default_rng([seed, 74 + date])
        images.append(_picture(drawn, state, houses, date, pixel_size, asked))
        heights.append(_stacked(state, houses))
    images[1] = np.stack([ndimage.shift(layer, asked.shift, order=3, mode="nearest") for layer in images[1]])
    number, grade = _maps(houses, shape)
    radar = _radar(np.random.default_rng([seed, 76]), houses, shape, pixel_size, asked)
    slip = asked.footprint_error * np.random.default_rng([seed, 77]).standard_normal(2)
    return DamageScene(
        images[0],
        images[1],
        BANDS,
        images[0].mean(axis=0),
        images[1].mean(axis=0),
        tuple(
            _building(n, house, share, pixel_size, slip)
            for n, (house, share) in enumerate(zip(houses, shares, strict=True), 1)
        ),
        number,
        grade,
        debris,
        heights[0],
        heights[1],
        *radar,
        _RADAR_PIXEL,
        pixel_size,
        {"seed": seed, "shape": shape, "pixel_size": pixel_size, **asdict(asked)},
    )


def _building(number: int, house: _House, share: float, pixel_size: float, slip: FloatArray) -> Building:
    middle = house.outline.centroid
    mapped = affinity.translate(house.outline, float(slip[0]), float(slip[1]))
    return Building(
        number, house.grade, share, house.height, middle.y / pixel_size, middle.x / pixel_size, house.outline, mapped
    )


def _lay_out(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size: float, asked: DamageOptions
) -> list[shapely.Polygon]:
    """Footprints in rows along parallel streets, some of them with a wing."""
    high, wide = shape[0] * pixel_size, shape[1] * pixel_size
    angle, reach = rng.uniform(0.0, 90.0), 0.75 * math.hypot(high, wide)
    inside = shapely.box(3.0, 3.0, wide - 3.0, high - 3.0)
    outlines = []
    for line in np.arange(-reach, reach, 1.25 * asked.lot):
        along = -reach + rng.uniform(0.0, asked.lot)
        while along < reach:
            length, depth = rng.uniform(0.40, 0.72, 2) * asked.lot
            along += asked.lot * rng.uniform(0.9, 1.3)
            if rng.random() < 0.12:
                continue
            house = shapely.box(-length / 2, -depth / 2, length / 2, depth / 2)
            if rng.random() < 0.25:
                wing = shapely.box(0.0, 0.0, 0.5 * length, 0.75 * depth)
                house = shapely.union(house, wing)
            house = affinity.translate(affinity.rotate(house, rng.normal(0.0, 2.0)), along, line)
            house = affinity.translate(affinity.rotate(house, angle, origin=(0, 0)), wide / 2, high / 2)
            if inside.contains(house):
                outlines.append(house)
    return outlines


def _houses(
    rng: np.random.Generator,
    outlines: list[shapely.Polygon],
    shape: tuple[int, int],
    pixel_size: float,
    asked: DamageOptions,
) -> list[_House]:
    """Roofs, heights and grades."""
    grades = _grades(rng, outlines, shape, pixel_size, asked)
    houses = []
    for outline, grade in zip(outlines, grades, strict=True):
        west, north, east, south = np.array(outline.bounds) / pixel_size
        rows, columns = slice(int(north), int(south) + 1), slice(int(west), int(east) + 1)
        x = np.asarray((np.arange(columns.start, columns.stop) + 0.5) * pixel_size, dtype=np.float64)
        y = np.asarray((np.arange(rows.start, rows.stop) + 0.5) * pixel_size, dtype=np.float64)
        mask = np.asarray(shapely.contains_xy(outline, x[None, :], y[:, None]))
        roof = _roof(rng, outline, mask, x, y)
        height = float(np.exp(rng.uniform(math.log(asked.height[0]), math.log(asked.height[1]))))
        houses.append(_House(outline, rows, columns, mask, height, roof, int(grade)))
    return houses


def _grades(
    rng: np.random.Generator,
    outlines: list[shapely.Polygon],
    shape: tuple[int, int],
    pixel_size: float,
    asked: DamageOptions,
) -> npt.NDArray[np.int64]:
    """Grades whose shares are as asked, gathered where a smooth field is high."""
    field = imagery_landscape.fractal_field(rng, shape, exponent=4.0, longest=0.6 * max(shape))
    middles = np.array([[house.centroid.y, house.centroid.x] for house in outlines]).reshape(-1, 2) / pixel_size
    rows, columns = middles.astype(np.int64).T
    score = (1.5 * field[rows, columns] if asked.clustered else 0.0) + rng.standard_normal(len(outlines))
    rank = (np.argsort(np.argsort(score)) + 0.5) / max(len(outlines), 1)
    return np.searchsorted(np.cumsum(asked.grades)[:-1], rank, side="right")


def _roof(
    rng: np.random.Generator, outline: shapely.Polygon, mask: BoolArray, x: FloatArray, y: FloatArray
) -> FloatArray:
    """Gabled or flat, rows of tiles, a few things on it (3, y, x)."""
    color = _ROOFS[rng.integers(len(_ROOFS))] * rng.uniform(0.8, 1.2)
    corners = np.array(outline.minimum_rotated_rectangle.exterior.coords)
    edge = corners[1] - corners[0]
    other = corners[2] - corners[1]
    ridge = edge if np.hypot(*edge) >= np.hypot(*other) else other
    unit = ridge / np.hypot(*ridge)
    across = (x[None, :] - outline.centroid.x) * unit[1] - (y[:, None] - outline.centroid.y) * unit[0]
    shade = np.ones(mask.shape)
    if rng.random() < 0.65:
        shade = np.where(across > 0.0, 1.12, 0.86) + 0.03 * np.sin(2.0 * math.pi * across / 0.9)
    shade = shade + 0.03 * rng.standard_normal(mask.shape)
    roof = color[:, None, None] * shade
    for _ in range(rng.integers(0, 4)):
        row, column = rng.integers(mask.shape[0]), rng.integers(mask.shape[1])
        roof[:, row : row + 3, column : column + 3] = rng.uniform(0.08, 0.45)
    return np.asarray(roof)


def _town(
    rng: np.random.Generator, houses: list[_House], shape: tuple[int, int], pixel_size: float, asked: DamageOptions
) -> _State:
    """Yards, streets and grass between the houses; trees are added by date."""
    taken = np.zeros(shape, dtype=np.bool_)
    for house in houses:
        taken[house.rows, house.columns] |= house.mask
    distance = ndimage.distance_transform_edt(~taken) * pixel_size
    green = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=40.0 / pixel_size)
    fine = imagery_landscape.fractal_field(rng, shape, exponent=1.5, longest=8.0 / pixel_size)
    street = distance > 0.26 * asked.lot
    ground = np.where(street, _STREET[:, None, None], _YARD[:, None, None])
    # Negative marks grass, whose color is that of the date.
    grass = (green > 0.0) & ~street
    ground = np.where(grass, -1.0, ground * (1.0 + 0.06 * fine))
    heights = [np.where(house.mask, house.height, 0.0).astype(np.float32) for house in houses]
    trees = np.zeros(shape, dtype=np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    open_ground = np.flatnonzero((distance > 2.0) & ~street)
    for _ in range(int(asked.trees * len(houses)) if open_ground.size else 0):
        row, column = np.unravel_index(int(rng.choice(open_ground)), shape)
        radius, top = rng.uniform(1.2, 3.5) / pixel_size, rng.uniform(3.0, 8.0)
        reach = int(radius) + 1
        window = (slice(max(row - reach, 0), row + reach + 1), slice(max(column - reach, 0), column + reach + 1))
        apart = np.hypot(rows[window[0]] - row, columns[:, window[1]] - column) / radius
        crown = np.where((apart < 1.0) & ~taken[window], top * (1.0 - 0.6 * apart**2), 0.0)
        trees[window] = np.maximum(trees[window], crown)
    return _State(ground.astype(np.float32), [house.roof for house in houses], heights, trees)


def _damaged(
    rng: np.random.Generator, town: _State, houses: list[_House], shape: tuple[int, int], pixel_size: float
) -> tuple[_State, BoolArray, list[float]]:
    """The town after; where debris lies, and the broken share of every roof."""
    rubble = _rubble(rng, shape)
    ground, low, debris = town.ground.copy(), town.low.copy(), np.zeros(shape, dtype=np.bool_)
    patchy = imagery_landscape.fractal_field(rng, shape, exponent=2.2, longest=5.0 / pixel_size)
    roofs, heights, shares = [], [], []
    for house, roof, height in zip(houses, town.roofs, town.heights, strict=True):
        window = (house.rows, house.columns)
        broken = _broken(rng, house, patchy[window])
        share = float(broken.sum() / max(house.mask.sum(), 1))
        roofs.append(np.where(broken, _laid_open(rng, house, rubble[(slice(None), *window)]), roof))
        heights.append(_fallen(rng, house, height, broken))
        shares.append(share)
        debris[window] |= broken & (house.grade >= 2)
        _scatter(rng, house, share, ground, low, debris, rubble, patchy, pixel_size)
    return _State(ground, roofs, heights, low), debris, shares


def _rubble(rng: np.random.Generator, shape: tuple[int, int]) -> Raster:
    """Reflectance of rubble: pieces of walls, roofs and shadows between them (3, y, x)."""
    coarse = imagery_landscape.fractal_field(rng, shape, exponent=1.6, longest=6.0)
    fine = rng.standard_normal(shape, dtype=np.float32)
    tone = np.exp(0.28 * coarse + 0.16 * fine)
    tint = 1.0 + 0.06 * np.stack([coarse, 0.0 * coarse, -coarse])
    return np.asarray(_RUBBLE[:, None, None] * tone * tint, dtype=np.float32)


def _broken(rng: np.random.Generator, house: _House, patchy: Raster) -> BoolArray:
    """Where the roof is gone (y, x): patches, a side, all of it."""
    if house.grade == 0:
        return np.zeros_like(house.mask)
    if house.grade == 3:
        return house.mask.copy()
    if house.grade == 1:
        return house.mask & (patchy >= np.quantile(patchy[house.mask], 1.0 - rng.uniform(0.06, 0.22)))
    rows, columns = np.ogrid[: house.mask.shape[0], : house.mask.shape[1]]
    angle = rng.uniform(0.0, 2.0 * math.pi)
    side = rows * math.sin(angle) + columns * math.cos(angle) + 2.0 * patchy
    return np.asarray(house.mask & (side >= np.quantile(side[house.mask], 1.0 - rng.uniform(0.30, 0.65))))


def _laid_open(rng: np.random.Generator, house: _House, rubble: Raster) -> Raster:
    """What shows where the roof is gone: battens and dark rooms, or rubble."""
    if house.grade > 1:
        return rubble
    dark = np.array([0.16, 0.13, 0.10]) * rng.uniform(0.5, 1.4)
    return np.asarray(0.6 * dark[:, None, None] + 0.4 * rubble, dtype=np.float32)


def _fallen(rng: np.random.Generator, house: _House, height: Raster, broken: BoolArray) -> Raster:
    """Height of the house after (y, x) [m]."""
    if house.grade < 2:
        return height
    left = rng.uniform(0.08, 0.25) if house.grade == 3 else rng.uniform(0.15, 0.45)
    rough = left * house.height * rng.uniform(0.3, 1.7, height.shape)
    return np.where(broken, rough, height).astype(np.float32)


def _scatter(
    rng: np.random.Generator,
    house: _House,
    share: float,
    ground: Raster,
    low: Raster,
    debris: BoolArray,
    rubble: Raster,
    patchy: Raster,
    pixel_size: float,
) -> None:
    """Debris on the ground around a house, in place: it reaches farther from higher and worse broken ones."""
    if house.grade == 0:
        return
    reach = (0.5, 2.0, 4.0)[house.grade - 1] * math.sqrt(house.height / 6.0) * rng.uniform(0.7, 1.3) / pixel_size
    margin = math.ceil(2.0 * reach)
    window = tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip((house.rows, house.columns), debris.shape, strict=True)
    )
    inside = np.zeros(tuple(part.stop - part.start for part in window), dtype=np.bool_)
    top, left = house.rows.start - window[0].start, house.columns.start - window[1].start
    inside[top : top + house.mask.shape[0], left : left + house.mask.shape[1]] = house.mask
    distance = ndimage.distance_transform_edt(~inside)
    lies = ~inside & (distance < reach * (0.6 + 0.5 * share) * np.clip(1.0 + 0.6 * patchy[window], 0.1, 2.0))
    debris[window] |= lies
    ground[(slice(None), *window)] = np.where(lies, rubble[(slice(None), *window)], ground[(slice(None), *window)])
    low[window] = np.where(lies, np.maximum(low[window], 0.4 * rng.random(lies.shape)), low[window])


def _picture(
    rng: np.random.Generator, state: _State, houses: list[_House], date: int, pixel_size: float, asked: DamageOptions
) -> Raster:
    """The town under its sun, as the camera sees it."""
    ground = _dressed(rng, state, date, pixel_size, asked)
    surface = _stacked(state, houses)
    azimuth, elevation = math.radians(asked.sun_azimuth[date]), math.radians(asked.sun_elevation[date])
    climb = pixel_size * math.tan(elevation)
    shade = _imagery_simulation_kernels.cast_shadow(surface, -math.cos(azimuth), math.sin(azimuth), climb)
    light = np.where(shade, _SKY, 1.0).astype(np.float32)
    image = ground * light
    # Houses lean away from the camera by their height.
    lean = math.tan(math.radians(asked.view_zenith[date])) / pixel_size
    away = math.radians(asked.view_azimuth[date])
    step = (lean * math.cos(away), -lean * math.sin(away))
    sunny = 0.55 + 0.45 * math.cos(away - azimuth)
    for house, roof, height in zip(houses, state.roofs, state.heights, strict=True):
        _raise(image, house, roof * light[house.rows, house.columns], height, step, _FACADE * (0.3 + 0.5 * sunny))
    image = asked.gain[date] * image + (asked.dust if date else 0.0)
    soft = imagery_landscape.soften(image.astype(np.float32), sigma=asked.blur)
    return np.asarray(soft + asked.noise * rng.standard_normal(soft.shape), dtype=np.float32)


def _dressed(rng: np.random.Generator, state: _State, date: int, pixel_size: float, asked: DamageOptions) -> Raster:
    """Ground with the grass and the trees of the season and the cars of the day."""
    brown = asked.brown[date]
    grass = _GRASS[0] + brown * (_GRASS[1] - _GRASS[0])
    crown = _TREE[0] + brown * (_TREE[1] - _TREE[0])
    shape = state.low.shape
    mottled = 1.0 + 0.10 * rng.standard_normal(shape)
    ground = np.where(state.ground < 0.0, grass[:, None, None] * mottled, state.ground)
    ground = np.where(state.low > 1.0, crown[:, None, None] * mottled * 1.2, ground)
    street = np.flatnonzero(np.all(np.abs(state.ground - _STREET[:, None, None]) < 0.04, axis=0))
    for _ in range(int(asked.cars * len(state.roofs)) if street.size else 0):
        row, column = np.unravel_index(int(rng.choice(street)), shape)
        long, short = round(4.4 / pixel_size), max(round(1.8 / pixel_size), 1)
        high, wide = (long, short) if rng.random() < 0.5 else (short, long)
        square = ground[:, row : row + high, column : column + wide]
        free = state.ground[:, row : row + high, column : column + wide] > 0.0
        square[:] = np.where(free, rng.choice([0.05, 0.12, 0.35, 0.55]) * np.ones(3)[:, None, None], square)
    return ground.astype(np.float32)


def _stacked(state: _State, houses: list[_House]) -> Raster:
    """Height of everything (y, x) [m]."""
    surface = state.low.copy()
    for house, height in zip(houses, state.heights, strict=True):
        part = surface[house.rows, house.columns]
        part[:] = np.where(house.mask, height, part)
    return surface


def _raise(
    image: Raster,
    house: _House,
    roof: FloatArray,
    height: Raster,
    step: tuple[float, float],
    facade: FloatArray,
) -> None:
    """Draw walls and roof where the camera sees them, from the ground upwards, in place."""
    rows, columns = np.nonzero(house.mask)
    tops = height[house.mask]
    pixels = max(abs(step[0]), abs(step[1])) * float(tops.max(initial=0.0))
    count = max(1, math.ceil(1.5 * pixels))
    for number in range(count + 1):
        part = number / count
        lift = part * tops
        down = np.round(rows + house.rows.start + lift * step[0]).astype(np.int64)
        right = np.round(columns + house.columns.start + lift * step[1]).astype(np.int64)
        fits = (down >= 0) & (right >= 0) & (down < image.shape[1]) & (right < image.shape[2])
        color = roof[:, house.mask] if number == count else np.broadcast_to(facade[:, None], (3, rows.size))
        image[:, down[fits], right[fits]] = color[:, fits]


def _maps(houses: list[_House], shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    number, grade = np.zeros(shape, dtype=np.uint16), np.full(shape, 255, dtype=np.uint8)
    for position, house in enumerate(houses, start=1):
        number[house.rows, house.columns][house.mask] = position
        grade[house.rows, house.columns][house.mask] = house.grade
    return number, grade


def _radar(
    rng: np.random.Generator, houses: list[_House], shape: tuple[int, int], pixel_size: float, asked: DamageOptions
) -> tuple[Raster, Raster, Raster]:
    """Amplitude of all dates, and the true change (polarization, y, x) [dB]."""
    per_radar = round(_RADAR_PIXEL / pixel_size)
    walls = np.zeros((2, *shape), dtype=np.float32)
    for house in houses:
        # Walls that face the radar return far more than others.
        strength = house.height / 6.0 * np.exp(0.6 * rng.standard_normal())
        mean, spread = _RADAR_CHANGE[house.grade]
        change = 10.0 ** (0.1 * (mean + spread * rng.standard_normal()))
        part = walls[:, house.rows, house.columns]
        part += (house.mask * strength * np.array([1.0, change])[:, None, None]).astype(np.float32)
    walls = imagery_landscape.box_average(walls, per_radar)
    ground = _GROUND_RADAR[:, None, None] * np.exp(0.35 * rng.standard_normal(walls.shape[1:]))
    before, after = (ground + _WALL_RADAR[:, None, None] * layer for layer in walls)
    dates = []
    for mean, count in ((before, asked.radar_before), (after, asked.radar_after)):
        moisture = np.exp(0.15 * rng.standard_normal((count, 1, 1, 1)))
        level = np.exp(0.04 * rng.standard_normal((count, 1, 1, 1)))
        seen = level * (mean - ground + ground * moisture)
        dates.append((seen * rng.gamma(asked.looks, 1.0 / asked.looks, seen.shape)).astype(np.float32))
    return dates[0], dates[1], (10.0 * np.log10(after / before)).astype(np.float32)
