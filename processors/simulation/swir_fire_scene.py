"""Forward model of fires as imagers of 10 to 30 m see them by their glow at 2 um, with exact truth.

Apparent reflectance is what such sensors deliver: radiance over that of a white plane under the sun, so a fire of a
hundredth of a pixel outshines the ground at 2 um, less at 1.6 um, hardly in the near infrared. Fire fronts with ash
behind and smoke over them; furnaces that burn all year; sheet roofs, painted roofs, sun glint on water and metal.
Saturation, and the fold of hottest cores at 2 um. Nothing here uses the processing it is meant to test.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray
from processors.simulation import fire_scene, imagery_landscape, planck
from processors.simulation.imagery_landscape import Raster

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
"""Bands, in the order of wavelength."""
DECOY_KINDS = ("sheet roof", "painted roof", "mirror", "glint on water", "bright soil")
"""Kinds of what is no fire."""

_CHAR = np.array([0.035, 0.040, 0.045, 0.075, 0.130, 0.160])
_SMOKE = np.array([0.24, 0.23, 0.22, 0.20, 0.11, 0.07])
_SMOKE_DEPTH = np.array([1.6, 1.3, 1.0, 0.6, 0.18, 0.07])
# Decoys: side [m] and reflectance of the bands.
_LOOKS: dict[str, tuple[tuple[float, float], tuple[float, ...]]] = {
    "sheet roof": ((30.0, 200.0), (0.42, 0.46, 0.50, 0.55, 0.62, 0.58)),
    "painted roof": ((30.0, 200.0), (0.10, 0.11, 0.20, 0.26, 0.42, 0.46)),
    "mirror": ((10.0, 50.0), (1.25, 1.25, 1.28, 1.30, 1.30, 1.28)),
    "bright soil": ((80.0, 500.0), (0.16, 0.22, 0.28, 0.34, 0.45, 0.42)),
}
_FURNACE = ((900.0, 1700.0), (0.5, 40.0))
_CAMERA_BLUR = 0.45


@dataclass(frozen=True, kw_only=True)
class SwirOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    sun_elevation, sun_azimuth : float
        Direction of the sun [degree].
    day_of_year : float
        Day of the year, for the vegetation [d].
    relief : float
        Height between the lowest and the highest pixel [m].
    urban_share : float
        Share of the land in towns [1].
    fires : int
        Number of fires [1].
    power : tuple of float
        Least and largest power of a fire [MW]; their logarithm is even.
    sources : int
        Number of furnaces that burn all year [1].
    listed_share : float
        Share of them in the operator's table [1].
    list_error : float
        Standard deviation of their positions in the table, either way [m].
    decoys : int
        Number of decoys of every kind [1].
    glint : float
        Reflectance that sun glint adds to the first decoys' waters; it is flat over the bands [1].
    smoke : float
        Factor on the thickness of smoke [1].
    saturation : float
        Largest apparent reflectance [1].
    fold : float
        Apparent reflectance at 2 um, over that of saturation, from which it folds to nearly nothing [1].
    noise : float
        Noise of the reflectance [1].
    cells : int
        Cells on a side of a pixel [1].
    """

    sun_elevation: float = 48.0
    sun_azimuth: float = 145.0
    day_of_year: float = 290.0
    relief: float = 500.0
    urban_share: float = 0.10
    fires: int = 10
    power: tuple[float, float] = (0.5, 300.0)
    sources: int = 3
    listed_share: float = 1.0
    list_error: float = 60.0
    decoys: int = 5
    glint: float = 0.35
    smoke: float = 1.0
    saturation: float = 1.21
    fold: float = 25.0
    noise: float = 0.003
    cells: int = 2


class SwirSpot(NamedTuple):
    """A fire, or a furnace that burns all year."""

    number: int
    """From 1, fires first; index of `truth`."""
    static: bool
    """Burns all year: no fire."""
    row: float
    """Row of its middle, 0.5 in the middle of the first pixel [pixel]."""
    column: float
    """Column, likewise [pixel]."""
    power: float
    """Radiative power above that of the ground it replaces [MW]."""
    flaming: float
    """Temperature of the flames [K]."""
    pixels: int
    """Pixels within whose square it burns [1]."""
    easting: float
    """Map coordinate [m]."""
    northing: float
    """Map coordinate [m]."""


class SwirScene(NamedTuple):
    """What the sensor delivers, and the truth."""

    reflectance: Raster
    """Apparent reflectance (band, y, x) [1]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    sun_zenith: float
    """Angle of the sun from the vertical [degree]."""
    truth: npt.NDArray[np.uint16]
    """Number of the fire or furnace that burns within the pixel's square, 0 for none (y, x)."""
    fire: BoolArray
    """A fire burns there (y, x)."""
    static: BoolArray
    """A furnace does (y, x)."""
    power: Raster
    """Power of fires within the pixel's square (y, x) [MW]."""
    glow: Raster
    """Apparent reflectance at 2 um that fires and furnaces add, before saturation (y, x) [1]."""
    decoy: npt.NDArray[np.uint8]
    """One more than the index into DECOY_KINDS, 0 for none (y, x)."""
    water: BoolArray
    """Water (y, x)."""
    fires: tuple[SwirSpot, ...]
    """The fires."""
    sources: tuple[SwirSpot, ...]
    """The furnaces."""
    listed: tuple[tuple[float, float], ...]
    """Easting and northing of furnaces in the operator's table [m]."""
    dem: Raster
    """Height (y, x) [m]."""
    pixel_size: float
    """Pixel size [m]."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


class _Fire(NamedTuple):
    cells: npt.NDArray[np.int64]
    share: float
    flaming: float
    smouldering: float
    ratio: float
    watts: float
    """Power of a cell [W]."""
    heading: float


class _Canvas(NamedTuple):
    """Ground in cells, changed in place."""

    seen: FloatArray
    decoy: npt.NDArray[np.uint8]
    water: BoolArray
    land: imagery_landscape.Landscape


def simulate_swir_scene(
    seed: int, *, shape: tuple[int, int] = (400, 400), pixel_size: float = 20.0, **options: Any
) -> SwirScene:
    """Look at fires by day at 2 um.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    **options : Any
        Of SwirOptions.

    Returns
    -------
    SwirScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        Fewer than 48 pixels on a side.
    """
    if min(shape) < 48:
        raise ValueError(f"no fire scene has shape {shape}")
    asked = SwirOptions(**options)
    rng = np.random.default_rng([seed, 44])
    canvas = _ground(seed, shape, pixel_size, asked)
    _add_decoys(rng, canvas, pixel_size / asked.cells, asked)
    burning = _burning(rng, canvas, pixel_size / asked.cells, asked)
    smoke = _burn(rng, canvas, burning, pixel_size / asked.cells, asked)
    return _finished(rng, canvas, burning, smoke, shape, pixel_size, asked, seed)


def apparent_reflectance(temperature: npt.ArrayLike, band: str, *, sun_zenith: float) -> FloatArray:
    """Reflectance a black body seems to have under the sun.

    Parameters
    ----------
    temperature : array-like
        Temperature [K].
    band : str
        Of `planck.BANDS`.
    sun_zenith : float
        Angle of the sun from the vertical [degree].

    Returns
    -------
    array
        Apparent reflectance [1].
    """
    white = planck.sun_irradiance(band) * math.cos(math.radians(sun_zenith)) / math.pi
    return np.asarray(planck.band_radiance(temperature, band) / white)


def _ground(seed: int, shape: tuple[int, int], pixel_size: float, asked: SwirOptions) -> _Canvas:
    """Land under the sun, in cells."""
    size, cell = (shape[0] * asked.cells, shape[1] * asked.cells), pixel_size / asked.cells
    land = imagery_landscape.lay_out(
        seed=seed,
        shape=size,
        pixel_size=cell,
        relief=asked.relief,
        urban_fraction=asked.urban_share,
        feature_size=max(140.0, 5.0 * cell),
    )
    flat = imagery_landscape.reflectance(land, bands=BANDS, day_of_year=asked.day_of_year)
    light = imagery_landscape.illuminate(
        land.dem, pixel_size=cell, sun_azimuth=asked.sun_azimuth, sun_elevation=asked.sun_elevation
    )
    seen = imagery_landscape.lit(flat, light, bands=BANDS).astype(np.float64)
    water = np.isin(land.class_map, (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER))
    return _Canvas(seen, np.zeros(size, dtype=np.uint8), water, land)


def _add_decoys(rng: np.random.Generator, canvas: _Canvas, cell: float, asked: SwirOptions) -> None:
    """Roofs, mirrors and bright soil on land; glint on half of the water."""
    shape = canvas.water.shape
    for kind, (sides, looks) in _LOOKS.items():
        for _ in range(asked.decoys):
            row, column = rng.integers(20, shape[0] - 20), rng.integers(20, shape[1] - 20)
            high, wide = np.maximum(np.exp(rng.uniform(math.log(sides[0]), math.log(sides[1]), 2)) / cell, 1.0).astype(
                np.int64
            )
            square = (slice(row, row + high), slice(column, column + wide))
            inside = ~canvas.water[square]
            texture = 1.0 + 0.05 * rng.standard_normal(int(inside.sum()))
            gain = rng.uniform(0.8, 1.2)
            canvas.seen[(slice(None), *square)][:, inside] = np.array(looks)[:, None] * texture * gain
            canvas.decoy[square][inside] = 1 + DECOY_KINDS.index(kind)
    if asked.decoys and asked.glint > 0.0:
        ripple = imagery_landscape.fractal_field(rng, shape, exponent=2.0, longest=30.0)
        shine = canvas.water & (ripple > 0.0)
        canvas.seen[:, shine] += asked.glint * np.exp(0.5 * ripple[shine])
        canvas.decoy[shine] = 1 + DECOY_KINDS.index("glint on water")


def _burning(rng: np.random.Generator, canvas: _Canvas, cell: float, asked: SwirOptions) -> list[_Fire]:
    """Fires where plants grow, furnaces in towns or on level land, apart from each other."""
    free = ~canvas.water & (canvas.decoy == 0)
    free[:24], free[-24:], free[:, :24], free[:, -24:] = False, False, False, False
    plants = np.isin(
        canvas.land.class_map,
        (
            imagery_landscape.FOREST,
            imagery_landscape.WINTER_CROP,
            imagery_landscape.SUMMER_CROP,
            imagery_landscape.GRASS,
        ),
    )
    fires = []
    for number in range(asked.fires + asked.sources):
        static = number >= asked.fires
        choice = np.flatnonzero(free & ~plants) if static else np.flatnonzero(free & plants)
        if choice.size == 0:
            choice = np.flatnonzero(free)
        place = np.unravel_index(int(rng.choice(choice)), free.shape)
        fire = _fire(rng, (int(place[0]), int(place[1])), free, cell, asked, static=static)
        fires.append(fire)
        for row, column in fire.cells:
            free[max(row - 24, 0) : row + 25, max(column - 24, 0) : column + 25] = False
    return fires


def _fire(
    rng: np.random.Generator, place: tuple[int, int], free: BoolArray, cell: float, asked: SwirOptions, *, static: bool
) -> _Fire:
    """A front that bends, or a furnace of one cell."""
    heat, limits = _FURNACE if static else ((800.0, 1300.0), asked.power)
    flaming = float(rng.uniform(*heat))
    smouldering, ratio = float(rng.uniform(600.0, 750.0)), 0.0 if static else float(rng.uniform(0.2, 3.0))
    power = float(np.exp(rng.uniform(math.log(limits[0]), math.log(limits[1]))))
    # The ground it replaces has 300 K.
    flux = planck.STEFAN_BOLTZMANN * (flaming**4 + ratio * smouldering**4 - (1.0 + ratio) * 300.0**4)
    area = power * 1e6 / flux
    depth = rng.uniform(1.0, 6.0)
    count = 1 if static else max(1, math.ceil((1.0 + ratio) * area / (min(depth, 0.6 * cell) * cell)))
    heading = float(rng.uniform(0.0, 2.0 * math.pi))
    turn, row, column = heading, float(place[0]), float(place[1])
    cells = {place: None}
    for _ in range(3 * count):
        turn += rng.normal(0.0, 0.15)
        row, column = row + math.sin(turn), column + math.cos(turn)
        if len(cells) >= count or not free[round(row), round(column)]:
            break
        cells[(round(row), round(column))] = None
    share = min(area / cell**2 / len(cells), 0.8 / (1.0 + ratio))
    return _Fire(np.array(list(cells)), share, flaming, smouldering, ratio, share * cell**2 * flux, heading)


def _burn(rng: np.random.Generator, canvas: _Canvas, fires: list[_Fire], cell: float, asked: SwirOptions) -> Raster:
    """Ash behind the fronts, in place; gives the thickness of smoke."""
    shape = canvas.water.shape
    smoke = np.zeros(shape, dtype=np.float32)
    wind = rng.uniform(0.0, 2.0 * math.pi)
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    wobble = imagery_landscape.fractal_field(rng, shape, exponent=3.0, longest=30.0)
    for number, fire in enumerate(fires):
        if number >= asked.fires:
            continue
        line = np.ones(shape, dtype=np.bool_)
        line[fire.cells[:, 0], fire.cells[:, 1]] = False
        distance, (near_row, near_column) = ndimage.distance_transform_edt(line, return_indices=True)
        # The side to the right of the way the front was drawn has burnt.
        side = (rows - near_row) * math.cos(fire.heading) - (columns - near_column) * math.sin(fire.heading)
        reach = 80.0 / cell * (1.0 + 0.3 * wobble)
        ash = (distance < reach) & (side >= 0.0) & ~canvas.water
        canvas.seen[:, ash] += 0.85 * (_CHAR[:, None] - canvas.seen[:, ash])
        middle = fire.cells.mean(axis=0)
        along = (rows - middle[0]) * math.sin(wind) + (columns - middle[1]) * math.cos(wind)
        across = (rows - middle[0]) * math.cos(wind) - (columns - middle[1]) * math.sin(wind)
        width = 40.0 / cell + 0.25 * len(fire.cells) + 0.18 * np.maximum(along, 0.0)
        plume = np.exp(-0.5 * (across / width) ** 2 - np.maximum(along, 0.0) / (2500.0 / cell))
        plume *= -np.expm1(-np.maximum(along, 0.0) / (0.5 * width))
        strength = min(1.5, 0.25 * math.log1p(fire.watts * len(fire.cells) * 1e-6))
        smoke += (strength * plume * np.clip(1.0 + 0.5 * wobble, 0.0, 2.0)).astype(np.float32)
    return asked.smoke * smoke


def _finished(
    rng: np.random.Generator,
    canvas: _Canvas,
    fires: list[_Fire],
    smoke: Raster,
    shape: tuple[int, int],
    pixel_size: float,
    asked: SwirOptions,
    seed: int,
) -> SwirScene:
    """Smoke, glow, optics, noise, saturation, and the truth."""
    zenith = 90.0 - asked.sun_elevation
    image = np.empty((len(BANDS), *shape), dtype=np.float32)
    glow = np.zeros(shape, dtype=np.float32)
    for place, band in enumerate(BANDS):
        through = np.exp(-_SMOKE_DEPTH[place] * smoke)
        seen = canvas.seen[place] * through + _SMOKE[place] * (1.0 - through)
        added = _glow(fires, seen.shape, band, zenith) * np.exp(-0.5 * _SMOKE_DEPTH[place] * smoke)
        blur = _CAMERA_BLUR * asked.cells
        pixels = imagery_landscape.box_average(
            ndimage.gaussian_filter((seen + added).astype(np.float32), blur), asked.cells
        )
        if band == "swir2":
            glow = imagery_landscape.box_average(ndimage.gaussian_filter(added.astype(np.float32), blur), asked.cells)
        noise = (
            asked.noise * rng.standard_normal(shape, dtype=np.float32) * np.sqrt(1.0 + 3.0 * np.clip(pixels, 0.0, 1.0))
        )
        image[place] = np.minimum(pixels + noise, asked.saturation)
        if band == "swir2":
            folded = pixels > asked.fold * asked.saturation
            image[place][folded] = np.float32(0.02) + np.mod(pixels[folded], np.float32(0.05))
    truth, power = np.zeros(shape, dtype=np.uint16), np.zeros(shape, dtype=np.float32)
    spots = []
    for number, fire in enumerate(fires, start=1):
        rows, columns = fire.cells.T // asked.cells
        truth[rows, columns] = number
        if number <= asked.fires:
            np.add.at(power, (rows, columns), np.float32(fire.watts * 1e-6))
        spots.append(_spot(fire, number, number > asked.fires, pixel_size, asked))
    decoy = canvas.decoy[asked.cells // 2 :: asked.cells, asked.cells // 2 :: asked.cells]
    water = imagery_landscape.box_average(canvas.water.astype(np.float32), asked.cells) >= 0.5
    sources = tuple(spot for spot in spots if spot.static)
    return SwirScene(
        image,
        BANDS,
        zenith,
        truth,
        (truth > 0) & (truth <= asked.fires),
        truth > asked.fires,
        power,
        glow,
        decoy,
        water,
        tuple(spot for spot in spots if not spot.static),
        sources,
        _listed(rng, sources, asked),
        imagery_landscape.box_average(canvas.land.dem, asked.cells),
        pixel_size,
        {"seed": seed, "shape": shape, "pixel_size": pixel_size, **asdict(asked)},
    )


def _glow(fires: list[_Fire], shape: tuple[int, ...], band: str, zenith: float) -> FloatArray:
    """Apparent reflectance of flames and embers by cell."""
    added = np.zeros(shape)
    for fire in fires:
        flames, embers = apparent_reflectance([fire.flaming, fire.smouldering], _band(band), sun_zenith=zenith)
        np.add.at(added, tuple(fire.cells.T), fire.share * (flames + fire.ratio * embers))
    return added


def _band(band: str) -> str:
    """Band of `planck` for a band of the imager."""
    return band if band in planck.BANDS else "red"


def _spot(fire: _Fire, number: int, static: bool, pixel_size: float, asked: SwirOptions) -> SwirSpot:
    row, column = (fire.cells.mean(axis=0) + 0.5) / asked.cells
    return SwirSpot(
        number,
        static,
        float(row),
        float(column),
        fire.watts * len(fire.cells) * 1e-6,
        fire.flaming,
        len(np.unique(fire.cells // asked.cells, axis=0)),
        fire_scene.CORNER[0] + float(column) * pixel_size,
        fire_scene.CORNER[1] - float(row) * pixel_size,
    )


def _listed(
    rng: np.random.Generator, sources: tuple[SwirSpot, ...], asked: SwirOptions
) -> tuple[tuple[float, float], ...]:
    """Positions of the furnaces the operator knows, with their error."""
    rows = []
    for spot in sources:
        east, north = asked.list_error * rng.standard_normal(2)
        if rng.random() < asked.listed_share:
            rows.append((spot.easting + float(east), spot.northing + float(north)))
    return tuple(rows)
