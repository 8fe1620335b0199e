"""Forward model of slopes before and after landslides, in the solar spectrum, with exact truth.

Slides start on steep slopes, more often where rain was heavy, run down the line of steepest descent of the terrain and
stop where it flattens or in water; they are narrow and long, widen on the way and end in a deposit. They lay bare soil
and rock. Beside them everything else that lays bare soil: harvests, clear-cuts on slopes, roads, quarries and building
sites, flood deposits, a burn scar, snow, clouds and shadows nobody masked, the season, another sun, slopes that were
bare before. Nothing here uses the processing it is meant to test.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray
from processors.simulation import imagery_landscape
from processors.simulation.imagery_landscape import Raster

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
"""Bands, in the order of wavelength."""
DECOY_KINDS = (
    "harvest",
    "clear-cut",
    "road",
    "quarry",
    "flood deposit",
    "burn scar",
    "snow",
    "cloud or shadow",
    "bare before",
)
"""Kinds of what is no landslide, by number from 1."""

_FRESH_SOIL = np.array([0.085, 0.120, 0.165, 0.235, 0.310, 0.265])
_RED_SOIL = np.array([0.060, 0.090, 0.165, 0.230, 0.300, 0.260])
_ROCK = np.array([0.130, 0.150, 0.170, 0.210, 0.250, 0.230])
_CUT = np.array([0.050, 0.075, 0.090, 0.190, 0.240, 0.170])
_STUBBLE = np.array([0.075, 0.105, 0.145, 0.230, 0.310, 0.230])
_CONCRETE = np.array([0.200, 0.225, 0.245, 0.270, 0.300, 0.280])
_GRAVEL = np.array([0.120, 0.150, 0.180, 0.210, 0.230, 0.200])
_CHAR = np.array([0.035, 0.042, 0.050, 0.085, 0.160, 0.185])
_SNOW = np.array([0.80, 0.80, 0.78, 0.70, 0.12, 0.08])
_CLOUD = np.array([0.45, 0.46, 0.47, 0.50, 0.40, 0.32])
_WATER = (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER)
_FINER = 4


@dataclass(frozen=True, kw_only=True)
class LandslideOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    slides : int
        Number of landslides [1].
    length : tuple of float
        Least and largest length along the ground plan [m].
    width : tuple of float
        Least and largest width [m].
    start_slope : tuple of float
        Slopes on which slides start [degree].
    rain : bool
        Let slides follow a field of rain.
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
    clear_cuts, roads, quarries : int
        Number of each [1].
    flood_deposits : float
        Width of gravel laid on the banks [m].
    burn : bool
        Burn a patch of forest.
    snow : bool
        Let snow lie on the highest ground after.
    clouds : float
        Share of clouds and shadows that are in no mask [1].
    bare : float
        Share of the forested slopes that were bare before [1].
    gain_error : float
        Standard deviation of the calibration of every band and date [1].
    noise : float
        Noise of the reflectance [1].
    """

    slides: int = 20
    length: tuple[float, float] = (60.0, 600.0)
    width: tuple[float, float] = (20.0, 80.0)
    start_slope: tuple[float, float] = (25.0, 50.0)
    rain: bool = True
    relief: float = 800.0
    urban_share: float = 0.02
    days: tuple[float, float] = (175.0, 215.0)
    sun_elevation: tuple[float, float] = (70.0, 64.0)
    sun_azimuth: tuple[float, float] = (115.0, 125.0)
    harvest: float = 0.15
    clear_cuts: int = 6
    roads: int = 3
    quarries: int = 4
    flood_deposits: float = 25.0
    burn: bool = True
    snow: bool = False
    clouds: float = 0.004
    bare: float = 0.01
    gain_error: float = 0.01
    noise: float = 0.004


class Slide(NamedTuple):
    """A landslide."""

    number: int
    """From 1; value in `slide_number`."""
    row: float
    """Row of its crown, 0.5 in the middle of the first pixel [pixel]."""
    column: float
    """Column, likewise [pixel]."""
    area: float
    """Area in plan, on land [m2]."""
    length: float
    """Length of its path in plan [m]."""
    width: float
    """Mean width [m]."""
    start_slope: float
    """Slope at its crown [degree]."""
    drop: float
    """Height between crown and toe [m]."""
    path: FloatArray
    """Row and column down the fall line (point, 2) [pixel]."""
    outline: shapely.Polygon
    """Outline: x east, y south of the upper left corner [m]."""


class LandslideScene(NamedTuple):
    """What the sensors deliver, and the truth."""

    before: Raster
    """Reflectance before (band, y, x) [1]."""
    after: Raster
    """Reflectance after (band, y, x) [1]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    dem: Raster
    """Height before (y, x) [m]."""
    slope: Raster
    """Slope (y, x) [degree]."""
    rain: Raster
    """Rain of the event (y, x) [mm]."""
    water: BoolArray
    """Water before (y, x)."""
    land_cover: npt.NDArray[np.uint8]
    """Index into `imagery_landscape.CLASSES` (y, x)."""
    cropland: BoolArray
    """Fields (y, x)."""
    share: Raster
    """Share of landslides in the pixel (y, x) [1]."""
    slide: BoolArray
    """Half of the pixel and more (y, x)."""
    slide_number: npt.NDArray[np.uint16]
    """Number of the slide that holds most of the pixel, 0 where `share` is 0 (y, x)."""
    slides: tuple[Slide, ...]
    """The landslides."""
    decoy: npt.NDArray[np.uint8]
    """One more than the index into DECOY_KINDS, 0 for none (y, x)."""
    terrain_shadow: BoolArray
    """Not lit by the sun on one of the dates (y, x)."""
    pixel_size: float
    """Pixel size [m]."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


class _Canvas(NamedTuple):
    """Ground of both dates, changed in place."""

    land: imagery_landscape.Landscape
    slope: Raster
    water: BoolArray
    forest: BoolArray
    before: Raster
    after: Raster
    decoy: npt.NDArray[np.uint8]
    texture: Raster
    pixel_size: float


def simulate_landslide_scene(
    seed: int, *, shape: tuple[int, int] = (1000, 1000), pixel_size: float = 10.0, **options: Any
) -> LandslideScene:
    """Let slopes fail.

    Parameters
    ----------
    seed : int
        Seed of all randomness; the land does not depend on the slides.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    **options : Any
        Of LandslideOptions.

    Returns
    -------
    LandslideScene
        The same for the same arguments; fewer slides than asked for where slopes are too gentle.

    Raises
    ------
    ValueError
        Fewer than 64 pixels on a side.
    """
    if min(shape) < 64:
        raise ValueError(f"no landslide scene has shape {shape}")
    asked = LandslideOptions(**options)
    land = terrain(seed, shape=shape, pixel_size=pixel_size, relief=asked.relief, urban_share=asked.urban_share)
    rng = np.random.default_rng([seed, 63])
    canvas = _canvas(rng, land, pixel_size, asked)
    rain = _rain(rng, shape)
    _add_decoys(rng, canvas, asked)
    slides = _slides(rng, canvas, rain, asked)
    share, number = _expose(rng, canvas, slides)
    land_area = np.bincount(number.ravel(), weights=share.ravel(), minlength=len(slides) + 1) * pixel_size**2
    slides = tuple(slide._replace(area=float(land_area[slide.number])) for slide in slides)
    images, dark = [], np.zeros(shape, dtype=np.bool_)
    for date, ground in enumerate((canvas.before, canvas.after)):
        light = imagery_landscape.illuminate(
            land.dem,
            pixel_size=pixel_size,
            sun_azimuth=asked.sun_azimuth[date],
            sun_elevation=asked.sun_elevation[date],
        )
        dark |= light.shadow
        seen = imagery_landscape.lit(ground, light, bands=BANDS)
        if date == 1:
            _leave_clouds(rng, canvas, seen, asked)
        images.append(_measured(np.random.default_rng([seed, 64 + date]), seen, asked))
    decoy = np.where(share > 0.0, np.uint8(0), canvas.decoy)
    cropland = np.isin(land.class_map, (imagery_landscape.WINTER_CROP, imagery_landscape.SUMMER_CROP))
    parameters = {"seed": seed, "shape": shape, "pixel_size": pixel_size, **asdict(asked)}
    return LandslideScene(
        images[0],
        images[1],
        BANDS,
        land.dem,
        canvas.slope,
        rain,
        canvas.water,
        land.class_map,
        cropland,
        share,
        share >= 0.5,
        number,
        slides,
        decoy,
        dark,
        pixel_size,
        parameters,
    )


def terrain(
    seed: int, *, shape: tuple[int, int], pixel_size: float, relief: float, urban_share: float = 0.02
) -> imagery_landscape.Landscape:
    """Steep mountains with spurs and gullies between parallel valleys, and what grows there.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    relief : float
        Height of the ridges over the valleys [m].
    urban_share : float
        Share of the land in towns [1].

    Returns
    -------
    Landscape
        The landscape; spurs and gullies rise with the height over the valley floor.
    """
    land = imagery_landscape.lay_out(
        seed=seed,
        shape=shape,
        pixel_size=pixel_size,
        relief=relief,
        urban_fraction=urban_share,
        feature_size=max(130.0, 4.0 * pixel_size),
    )
    rng = np.random.default_rng([seed, 61])
    spurs = imagery_landscape.fractal_field(rng, shape, exponent=4.2, longest=900.0 / pixel_size)
    gullies = imagery_landscape.fractal_field(rng, shape, exponent=4.0, longest=260.0 / pixel_size)
    height = (land.dem - land.dem.min()) / max(float(np.ptp(land.dem)), 1e-6)
    part = np.clip(4.0 * height, 0.0, 1.0)
    dem = land.dem + part * (32.0 * spurs + 6.0 * np.abs(gullies))
    return land._replace(dem=dem.astype(np.float32))


def fall_line(
    dem: Raster, start: tuple[float, float], *, pixel_size: float, length: float, least_slope: float = 8.0
) -> FloatArray:
    """Line of steepest descent on smooth terrain, in steps of half a pixel.

    Parameters
    ----------
    dem : array
        Heights (y, x) [m].
    start : tuple of float
        Row and column, 0 in the middle of the first pixel [pixel].
    pixel_size : float
        Pixel size [m].
    length : float
        Length at which it ends [m].
    least_slope : float
        Slope on which it ends [degree].

    Returns
    -------
    array
        Row and column of its points, every one lower than the one before (point, 2) [pixel].
    """
    points, limit = [np.array(start, dtype=np.float64)], math.tan(math.radians(least_slope))
    height = _bilinear(dem, points[0])
    for _ in range(int(2.0 * length / pixel_size)):
        slope = _downhill(dem, points[-1]) / pixel_size
        steep = float(np.hypot(*slope))
        if steep < limit:
            break
        following = points[-1] + 0.5 * slope / steep
        if (following < 2.0).any() or (following > np.array(dem.shape) - 4.0).any():
            break
        lower = _bilinear(dem, following)
        if lower >= height:
            break
        points.append(following)
        height = lower
    return np.array(points)


def _bilinear(dem: Raster, point: FloatArray) -> float:
    row, column = int(point[0]), int(point[1])
    down, right = point[0] - row, point[1] - column
    corner = dem[row : row + 2, column : column + 2].astype(np.float64)
    return float(np.array([1.0 - down, down]) @ corner @ np.array([1.0 - right, right]))


def _downhill(dem: Raster, point: FloatArray) -> FloatArray:
    """Downhill gradient over two pixels [m pixel-1]."""
    step = np.array([1.0, 0.0])
    down = _bilinear(dem, point - step) - _bilinear(dem, point + step)
    right = _bilinear(dem, point - step[::-1]) - _bilinear(dem, point + step[::-1])
    return 0.5 * np.array([down, right])


def _canvas(
    rng: np.random.Generator, land: imagery_landscape.Landscape, pixel_size: float, asked: LandslideOptions
) -> _Canvas:
    before, after = (
        imagery_landscape.reflectance(land, bands=BANDS, day_of_year=day).astype(np.float32) for day in asked.days
    )
    shape = land.dem.shape
    return _Canvas(
        land,
        imagery_landscape.slope_degrees(land.dem, pixel_size=pixel_size),
        np.isin(land.class_map, _WATER),
        land.class_map == imagery_landscape.FOREST,
        before,
        after,
        np.zeros(shape, dtype=np.uint8),
        (1.0 + 0.08 * imagery_landscape.fractal_field(rng, shape, exponent=1.2, longest=12.0)).astype(np.float32),
        pixel_size,
    )


def _rain(rng: np.random.Generator, shape: tuple[int, int]) -> Raster:
    """Rain of the event: cells of a storm [mm]."""
    field = imagery_landscape.fractal_field(rng, shape, exponent=4.5, longest=0.6 * max(shape))
    return np.asarray(80.0 + 120.0 / (1.0 + np.exp(-1.5 * field)), dtype=np.float32)


def _paint(
    canvas: _Canvas,
    where: BoolArray,
    look: FloatArray,
    kind: str,
    *,
    strength: float = 1.0,
    both: bool = False,
) -> None:
    """Give ground another reflectance after, or on both dates."""
    tint = look[:, None].astype(np.float32) * canvas.texture[where]
    for image in (canvas.before, canvas.after) if both else (canvas.after,):
        image[:, where] += np.float32(strength) * (tint - image[:, where])
    canvas.decoy[where] = 1 + DECOY_KINDS.index(kind)


def _add_decoys(rng: np.random.Generator, canvas: _Canvas, asked: LandslideOptions) -> None:
    """What lays soil bare without a landslide."""
    _harvest(rng, canvas, asked)
    _cut_forest(rng, canvas, asked)
    for _ in range(asked.roads):
        _build_road(rng, canvas)
    for _ in range(asked.quarries):
        place = _somewhere(rng, ~canvas.water & (canvas.slope < 30.0))
        look = _ROCK if rng.random() < 0.5 else _CONCRETE
        _paint(canvas, _blob(rng, canvas, place, rng.uniform(30.0, 120.0)) & ~canvas.water, look, "quarry")
    if asked.flood_deposits > 0.0:
        edge = ndimage.distance_transform_edt(~canvas.water) * canvas.pixel_size
        patchy = imagery_landscape.fractal_field(rng, canvas.slope.shape, exponent=3.0, longest=40.0)
        _paint(
            canvas,
            (edge > 0.0) & (edge <= asked.flood_deposits * (1.0 + patchy)),
            _GRAVEL,
            "flood deposit",
            strength=0.8,
        )
    if asked.burn:
        place = _somewhere(rng, canvas.forest)
        burned = _blob(rng, canvas, place, rng.uniform(200.0, 450.0)) & canvas.forest
        _paint(canvas, burned, _CHAR, "burn scar", strength=0.75)
    if asked.snow:
        high = canvas.land.dem > np.quantile(canvas.land.dem, 0.99)
        _paint(canvas, high & ~canvas.water, _SNOW, "snow", strength=0.9)
    bare = imagery_landscape.fractal_field(rng, canvas.slope.shape, exponent=2.8, longest=30.0)
    steep = canvas.forest & (canvas.slope > 25.0)
    if asked.bare > 0.0 and steep.any():
        cliffs = steep & (bare > np.quantile(bare[steep], 1.0 - asked.bare))
        _paint(canvas, cliffs, _ROCK, "bare before", both=True, strength=0.8)


def _harvest(rng: np.random.Generator, canvas: _Canvas, asked: LandslideOptions) -> None:
    """Whole fields, ploughed or in stubble."""
    fields = np.isin(canvas.land.class_map, (imagery_landscape.WINTER_CROP, imagery_landscape.SUMMER_CROP))
    count = int(canvas.land.patch.max()) + 1
    drawn = rng.random(count)[canvas.land.patch]
    _paint(canvas, fields & (drawn < 0.5 * asked.harvest), _STUBBLE, "harvest", strength=0.85)
    ploughed = fields & (drawn > 1.0 - 0.5 * asked.harvest)
    _paint(canvas, ploughed, _RED_SOIL, "harvest", strength=0.9)


def _cut_forest(rng: np.random.Generator, canvas: _Canvas, asked: LandslideOptions) -> None:
    """Rectangles that lie across the slope or anyhow, slash left on the ground."""
    rows, columns = np.ogrid[: canvas.slope.shape[0], : canvas.slope.shape[1]]
    for _ in range(asked.clear_cuts):
        row, column = _somewhere(rng, canvas.forest & (canvas.slope < 35.0))
        angle = rng.uniform(0.0, math.pi)
        one = (columns - column) * math.cos(angle) + (rows - row) * math.sin(angle)
        two = (rows - row) * math.cos(angle) - (columns - column) * math.sin(angle)
        half = rng.uniform(40.0, 150.0, 2) / canvas.pixel_size
        _paint(
            canvas, (np.abs(one) <= half[0]) & (np.abs(two) <= half[1]) & canvas.forest, _CUT, "clear-cut", strength=0.9
        )


def _build_road(rng: np.random.Generator, canvas: _Canvas) -> None:
    """A new road along a contour, one or two pixels wide, with its cut slope."""
    place = _somewhere(rng, canvas.slope > 12.0)
    smooth = ndimage.gaussian_filter(canvas.land.dem, 3.0)
    level = smooth[place]
    steep = np.maximum(np.tan(np.radians(canvas.slope)), 0.12) * canvas.pixel_size
    line = np.abs(smooth - level) < 0.7 * steep
    row, column = place
    reach = int(rng.uniform(600.0, 1800.0) / canvas.pixel_size)
    near = np.zeros_like(line)
    near[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach] = True
    pieces, _ = ndimage.label(line & near & (canvas.slope < 45.0), structure=np.ones((3, 3)))
    if pieces[place] > 0:
        _paint(canvas, (pieces == pieces[place]) & ~canvas.water, 0.5 * (_FRESH_SOIL + _CONCRETE), "road", strength=0.8)


def _blob(rng: np.random.Generator, canvas: _Canvas, place: tuple[int, int], radius: float) -> BoolArray:
    """A ragged disk around a place."""
    rows, columns = np.ogrid[: canvas.slope.shape[0], : canvas.slope.shape[1]]
    distance = np.hypot(rows - place[0], columns - place[1]) * canvas.pixel_size
    ragged = 1.0 + 2.0 * (canvas.texture - 1.0) + 0.2 * math.sin(rng.uniform(0.0, 6.0))
    return np.asarray(distance <= radius * ragged)


def _somewhere(rng: np.random.Generator, allowed: BoolArray) -> tuple[int, int]:
    """An allowed pixel, any where none is."""
    choice = np.flatnonzero(allowed)
    flat = int(rng.choice(choice)) if choice.size else int(rng.integers(allowed.size))
    row, column = np.unravel_index(flat, allowed.shape)
    return int(row), int(column)


def _slides(rng: np.random.Generator, canvas: _Canvas, rain: Raster, asked: LandslideOptions) -> tuple[Slide, ...]:
    """Slides apart from each other, on slopes that carry plants and no decoy."""
    smooth = ndimage.gaussian_filter(canvas.land.dem, 1.5).astype(np.float32)
    slope = imagery_landscape.slope_degrees(smooth, pixel_size=canvas.pixel_size)
    plants = np.isin(canvas.land.class_map, (imagery_landscape.FOREST, imagery_landscape.GRASS))
    allowed = (slope >= asked.start_slope[0]) & (slope <= asked.start_slope[1]) & plants & (canvas.decoy == 0)
    allowed[:8], allowed[-8:], allowed[:, :8], allowed[:, -8:] = False, False, False, False
    weight = np.where(rain > np.median(rain), 1.0, 0.2) if asked.rain else np.ones_like(rain)
    slides: list[Slide] = []
    for _ in range(40 * asked.slides):
        if len(slides) >= asked.slides or not allowed.any():
            break
        place = _somewhere(rng, allowed)
        if rng.random() > weight[place]:
            continue
        slide = _slide(rng, smooth, slope, place, canvas.pixel_size, asked, len(slides) + 1)
        if slide is None or any(slide.outline.intersects(other.outline) for other in slides):
            continue
        slides.append(slide)
        reach = int(60.0 / canvas.pixel_size) + 4
        for row, column in slide.path.astype(np.int64)[::4]:
            allowed[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach] = False
    return tuple(slides)


def _slide(
    rng: np.random.Generator,
    dem: Raster,
    slope: Raster,
    place: tuple[int, int],
    pixel_size: float,
    asked: LandslideOptions,
    number: int,
) -> Slide | None:
    """A slide from its crown down, nothing where the fall line is shorter than a slide."""
    length = float(np.exp(rng.uniform(math.log(asked.length[0]), math.log(asked.length[1]))))
    path = fall_line(dem, place, pixel_size=pixel_size, length=length)
    walked = 0.5 * pixel_size * (len(path) - 1)
    if walked < asked.length[0]:
        return None
    width = float(np.clip(walked / rng.uniform(2.5, 9.0), *asked.width))
    part = np.linspace(0.0, 1.0, len(path))
    wobble = np.convolve(rng.standard_normal(len(path) + 8), np.ones(9) / 9.0, mode="valid")
    # Narrow at the crown, a neck, a deposit that widens.
    shape = 0.55 + 0.5 * np.sin(math.pi * np.minimum(2.0 * part, 1.0) * 0.5) + 0.35 * np.maximum(part - 0.6, 0.0) / 0.4
    half = 0.5 * width * shape * np.clip(1.0 + 0.35 * wobble, 0.6, 1.4) / shape.mean()
    x, y = (path[:, 1] + 0.5) * pixel_size, (path[:, 0] + 0.5) * pixel_size
    outline = shapely.union_all(shapely.buffer(shapely.points(x, y), half, quad_segs=6))
    return Slide(
        number,
        float(path[0, 0] + 0.5),
        float(path[0, 1] + 0.5),
        float(outline.area),
        walked,
        float(2.0 * half.mean()),
        float(slope[place]),
        _bilinear(dem, path[0]) - _bilinear(dem, path[-1]),
        path + 0.5,
        outline,
    )


def _expose(
    rng: np.random.Generator, canvas: _Canvas, slides: tuple[Slide, ...]
) -> tuple[Raster, npt.NDArray[np.uint16]]:
    """Lay soil and rock bare by the share of every pixel; gives that share and the slides' numbers."""
    share = np.zeros(canvas.slope.shape, dtype=np.float32)
    number = np.zeros(canvas.slope.shape, dtype=np.uint16)
    for slide in slides:
        window, part = _coverage(slide.outline, canvas)
        part = np.where(canvas.water[window], np.float32(0.0), part)
        more = part > share[window]
        number[window][more] = slide.number
        share[window][more] = part[more]
        look = _FRESH_SOIL + rng.uniform(0.0, 1.0) * (_RED_SOIL - _FRESH_SOIL)
        look = (look + rng.uniform(0.0, 0.6) * (_ROCK - look)) * rng.uniform(0.75, 1.2)
        # Debris and trees that went along hide a part of the soil.
        left = rng.uniform(0.0, 0.25)
        texture = 1.0 + 2.0 * (canvas.texture[window] - 1.0)
        ground = canvas.after[(slice(None), *window)]
        ground += part * (1.0 - left) * (look[:, None, None].astype(np.float32) * texture - ground)
    return share, number


def _coverage(outline: shapely.Polygon, canvas: _Canvas) -> tuple[tuple[slice, slice], Raster]:
    """Share of every pixel of a window within an outline, counted on cells."""
    west, north, east, south = np.array(outline.bounds) / canvas.pixel_size
    rows = slice(max(int(north), 0), min(int(south) + 1, canvas.slope.shape[0]))
    columns = slice(max(int(west), 0), min(int(east) + 1, canvas.slope.shape[1]))
    step = canvas.pixel_size / _FINER
    x = columns.start * canvas.pixel_size + step * (np.arange((columns.stop - columns.start) * _FINER) + 0.5)
    y = rows.start * canvas.pixel_size + step * (np.arange((rows.stop - rows.start) * _FINER) + 0.5)
    shapely.prepare(outline)
    inside = shapely.contains_xy(outline, x[None, :], y[:, None])
    return (rows, columns), imagery_landscape.box_average(inside.astype(np.float32), _FINER)


def _leave_clouds(rng: np.random.Generator, canvas: _Canvas, seen: Raster, asked: LandslideOptions) -> None:
    """Small clouds and shadows that no mask holds."""
    if asked.clouds <= 0.0:
        return
    shape = canvas.slope.shape
    field = imagery_landscape.fractal_field(rng, shape, exponent=3.2, longest=0.1 * max(shape))
    depth = 3.0 * np.maximum(field - np.quantile(field, 1.0 - asked.clouds), 0.0)
    opacity = -np.expm1(-depth).astype(np.float32)
    dark = np.roll(opacity, (-14, 22), axis=(0, 1))
    seen *= 1.0 - 0.7 * dark
    seen += opacity * (_CLOUD[:, None, None].astype(np.float32) - seen)
    canvas.decoy[(opacity > 0.02) | (dark > 0.05)] = 1 + DECOY_KINDS.index("cloud or shadow")


def _measured(rng: np.random.Generator, seen: Raster, asked: LandslideOptions) -> Raster:
    """Optics, calibration and noise."""
    gain = (1.0 + asked.gain_error * rng.standard_normal(len(BANDS))).astype(np.float32)
    soft = imagery_landscape.soften(seen, sigma=0.4)
    noise = np.float32(asked.noise) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(gain[:, None, None] * soft + noise, dtype=np.float32)
