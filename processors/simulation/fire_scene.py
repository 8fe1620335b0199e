"""Forward model of fires as thermal imagers see them, in pixels of 375 m or 1 km, with exact truth.

Land of its own temperature by cover, height and sun; fires far smaller than a pixel that flame and smoulder; the
sensor's response, swept along the scan, that spreads a fire over its neighbors; noise, saturation and folding of
the hottest pixels. Beside them what is taken for fires: sun glint on rivers and ponds, sheet roofs, hot sand, solar
farms, industry that burns all year, edges of clouds, coasts. Nothing here uses the processing it is meant to test.

Scenes stand in for a small part of a swath, resampled to a grid: pixels do not grow with the scan angle and do not
overlap more than the response says. Emissivities, heating by the sun and sizes are our round numbers, of the kind that
the ECOSTRESS library holds (Meerdink et al. 2019): contrasts, not measurements.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from processors.arrays import BoolArray, FloatArray
from processors.simulation import imagery_landscape, planck
from processors.simulation.imagery_landscape import Raster

CORNER = (640_000.0, 3_290_000.0)
"""Easting and northing of the upper left corner, EPSG:32648 [m]."""
FIRE_KINDS = ("forest fire", "field burning")
"""Kinds of fires."""
SOURCE_KINDS = ("steel works", "cement kiln", "gas flare", "chemical plant")
"""Kinds of static sources."""
DECOY_KINDS = ("sheet roofs", "hot sand", "bare soil", "solar farm", "bright roof glint", "ponds")
"""Kinds of what is no fire."""

# Emissivity at 4 and 11 um by material of the landscape, with full green cover and with none.
_EMISSIVITY_GREEN = np.array(
    [
        [0.970, 0.985],
        [0.965, 0.983],
        [0.965, 0.983],
        [0.955, 0.980],
        [0.870, 0.965],
        [0.860, 0.930],
        [0.930, 0.955],
        [0.976, 0.990],
        [0.972, 0.988],
        [0.880, 0.940],
        [0.850, 0.920],
    ]
)
_EMISSIVITY_BARE = np.concatenate(
    [np.array([[0.93, 0.975], [0.89, 0.97], [0.89, 0.97], [0.90, 0.97]]), _EMISSIVITY_GREEN[4:]]
)
# Warming over the air by a sun in the zenith, with full green cover and with none; cooling in the night [K].
_WARMING_GREEN = np.array([2.0, 5.0, 5.0, 6.0, 20.0, 19.0, 16.0, -4.0, -3.0, 20.0, 22.0])
_WARMING_BARE = np.array([8.0, 17.0, 17.0, 14.0, 20.0, 19.0, 16.0, -4.0, -3.0, 20.0, 22.0])
_NIGHT = np.array([-1.0, -3.0, -3.0, -4.0, -4.5, 0.5, 2.5, 3.0, 3.0, 1.0, -1.0])
_WATER = (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER)

# Decoys: side [m], warming over the air by a sun in the zenith [K], emissivity at 4 and 11 um, red, nir, 2 um.
_DECOYS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, ...]]] = {
    "sheet roofs": ((250.0, 1200.0), (25.0, 42.0), (0.80, 0.88, 0.34, 0.38, 0.36)),
    "hot sand": ((400.0, 2500.0), (22.0, 35.0), (0.72, 0.95, 0.30, 0.36, 0.42)),
    "bare soil": ((500.0, 3000.0), (20.0, 33.0), (0.86, 0.965, 0.18, 0.24, 0.28)),
    "solar farm": ((400.0, 2500.0), (22.0, 34.0), (0.90, 0.93, 0.05, 0.09, 0.07)),
}
# Static sources: temperature [K], power [MW].
_SOURCES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "steel works": ((900.0, 1500.0), (3.0, 60.0)),
    "cement kiln": ((550.0, 900.0), (1.0, 8.0)),
    "gas flare": ((1500.0, 1900.0), (1.0, 30.0)),
    "chemical plant": ((700.0, 1300.0), (0.5, 10.0)),
}

_ALTITUDE = 830e3
_LAPSE = 6.5e-3
_FRONT_DEPTH = 8.0
_MARGIN = 3
_REFERENCE = 300.0
_COLDEST = 208.0
_WATER_INDEX = 1.33


class Sensor(NamedTuple):
    """Thermal bands of a sensor."""

    bands: tuple[str, str, str]
    """Bands of `planck` for `t4`, `t11` and `t4_low`."""
    pixel_size: float
    """Pixel size [m]."""
    coarse: int
    """Pixels on a side of one of `t4_low` [1]."""
    noise: tuple[float, float, float]
    """Noise-equivalent temperature at 300 K [K]."""
    saturation: tuple[float, float, float]
    """Hottest temperature that is measured [K]."""
    sweep: float
    """Way a detector is swept along the scan while it collects [pixel]."""
    fold: float
    """Radiance, over that of saturation, from which `t4` folds [1]; infinite where it never does."""


SENSORS = {
    "viirs": Sensor(
        ("viirs_i4", "viirs_i5", "viirs_m13"),
        375.0,
        2,
        (0.40, 0.40, 0.10),
        (367.0, 380.0, 634.0),
        1.0 / 3.0,
        6.0,
    ),
    "modis": Sensor(
        ("modis_21", "modis_31", "modis_21"),
        1000.0,
        1,
        (0.15, 0.05, 0.15),
        (500.0, 400.0, 500.0),
        1.0,
        math.inf,
    ),
}
"""Sensors by name; the noise is that of the working instruments rather than of their specification."""


@dataclass(frozen=True, kw_only=True)
class ThermalOptions:
    """What makes a scene easy or hard.

    Parameters
    ----------
    sun_zenith, sun_azimuth : float
        Direction of the sun; a zenith angle of 90 and more is night [degree].
    view_zenith, view_azimuth : float
        Direction of the sensor as seen from the middle of the scene [degree].
    air_temperature : float
        Air over the lowest ground [K].
    relief : float
        Height between the lowest and the highest pixel [m].
    urban_share : float
        Share of the land in towns [1].
    fires : int
        Number of fires [1].
    power : tuple of float
        Least and largest power of a fire [MW]; their logarithm is even.
    sources : int
        Number of static sources [1].
    listed_share : float
        Share of them in the operator's table [1].
    list_error : float
        Standard deviation of their positions in the table, either way [m].
    decoys : int
        Number of decoys of every kind [1].
    ponds : float
        Share of the land in ponds smaller than a pixel [1].
    wind_speed : float
        Wind over water, which widens the glint [m s-1].
    cloud_fraction : float
        Share of clouds [1].
    transmission : tuple of float
        Transmission of the air, straight up, at 4, 11 um and for the reflected bands [1].
    texture : float
        Standard deviation of the temperature within a field [K].
    noise : float
        Factor on the noise of the sensor [1].
    cells : int
        Cells on a side of a pixel [1].
    """

    sun_zenith: float = 28.0
    sun_azimuth: float = 205.0
    view_zenith: float = 15.0
    view_azimuth: float = 100.0
    air_temperature: float = 303.0
    relief: float = 1200.0
    urban_share: float = 0.05
    fires: int = 25
    power: tuple[float, float] = (3.0, 1500.0)
    sources: int = 8
    listed_share: float = 1.0
    list_error: float = 200.0
    decoys: int = 3
    ponds: float = 0.01
    wind_speed: float = 3.0
    cloud_fraction: float = 0.15
    transmission: tuple[float, float, float] = (0.90, 0.85, 0.90)
    texture: float = 1.5
    noise: float = 1.0
    cells: int = 4


class Hotspot(NamedTuple):
    """A fire, or a source that burns all year."""

    number: int
    """From 1, fires first."""
    kind: str
    """Of FIRE_KINDS or SOURCE_KINDS."""
    static: bool
    """Burns all year: no fire."""
    row: float
    """Row of its middle, 0.5 in the middle of the first pixel [pixel]."""
    column: float
    """Column, likewise [pixel]."""
    power: float
    """Radiative power above that of the ground it replaces [MW]."""
    area: float
    """Area that burns [m2]."""
    flaming: float
    """Temperature of the flames [K]."""
    smouldering: float
    """Temperature of what smoulders [K]."""
    extent: float
    """Largest distance of burning cells from the middle [pixel]."""
    transmission: float
    """Share of its radiation at 4 um that clouds let pass [1]."""
    easting: float
    """Map coordinate [m]."""
    northing: float
    """Map coordinate [m]."""


class Decoy(NamedTuple):
    """What is no fire."""

    kind: str
    """Of DECOY_KINDS."""
    row: float
    """Row of its middle [pixel]."""
    column: float
    """Column [pixel]."""
    side: float
    """Length of its longer side [m]."""


class ListedSource(NamedTuple):
    """Row of the operator's table of static sources: what they know, with its error."""

    name: str
    """Name."""
    kind: str
    """Of SOURCE_KINDS."""
    easting: float
    """Map coordinate [m]."""
    northing: float
    """Map coordinate [m]."""
    radius: float
    """How far the plant reaches [m]."""


class ThermalScene(NamedTuple):
    """What the sensor delivers, and the truth."""

    t4: Raster
    """Brightness temperature at 4 um of the fine channel, which saturates (y, x) [K]."""
    t11: Raster
    """Brightness temperature at 11 um (y, x) [K]."""
    t4_low: Raster
    """Brightness temperature at 4 um of the channel made for fires, repeated on the fine pixels (y, x) [K]."""
    red: Raster
    """Reflectance, not a number by night (y, x) [1]."""
    nir: Raster
    """Reflectance (y, x) [1]."""
    swir2: Raster
    """Reflectance (y, x) [1]."""
    sun_zenith: Raster
    """Angle (y, x) [degree]."""
    sun_azimuth: Raster
    """Angle (y, x) [degree]."""
    view_zenith: Raster
    """Angle (y, x) [degree]."""
    view_azimuth: Raster
    """Angle from the ground to the sensor (y, x) [degree]."""
    glint_angle: Raster
    """Angle between the view and the mirrored sun (y, x) [degree]."""
    dem: Raster
    """Height (y, x) [m]."""
    water_share: Raster
    """Share of water in the pixel's square (y, x) [1]."""
    water: BoolArray
    """A map's water: half of the pixel and more; small ponds are not in it (y, x)."""
    cloud_share: Raster
    """Share of the radiation at 11 um that clouds take (y, x) [1]."""
    cloud: BoolArray
    """Where it is a fifth and more (y, x)."""
    power: Raster
    """Power of fires, without static sources, that the pixel's response takes in (y, x) [MW]."""
    static_power: Raster
    """The same of static sources (y, x) [MW]."""
    fire: BoolArray
    """A fire burns within the pixel's square (y, x)."""
    fires: tuple[Hotspot, ...]
    """The fires."""
    sources: tuple[Hotspot, ...]
    """The static sources."""
    decoys: tuple[Decoy, ...]
    """What is neither."""
    listed: tuple[ListedSource, ...]
    """The operator's table of static sources."""
    clear_t4: Raster
    """Brightness temperature at 4 um without fires, noise and saturation (y, x) [K]."""
    pixel_size: float
    """Pixel size [m]."""
    sensor: str
    """Of SENSORS."""
    transmission: Raster
    """Transmission of the air at 4 um along the view (y, x) [1]."""
    parameters: Mapping[str, Any]
    """Everything that was asked for."""


class _Surface(NamedTuple):
    """Ground in cells."""

    dem: Raster
    material: npt.NDArray[np.uint8]
    temperature: FloatArray
    emissivity: FloatArray
    """At 4 and 11 um (2, y, x)."""
    reflectance: FloatArray
    """Red, near infrared, 2 um (3, y, x)."""
    water: FloatArray
    """Share of water in the cell (y, x)."""
    mirror: FloatArray
    """Bidirectional reflectance factor of mirrors that are no water (y, x)."""


class _Geometry(NamedTuple):
    sun_zenith: float
    view_zenith: FloatArray
    """By column of cells [degree]."""
    glint: FloatArray
    """By column of cells [degree]."""
    day: bool


class _Clouds(NamedTuple):
    opacity4: FloatArray
    opacity11: FloatArray
    temperature: FloatArray
    reflectance4: FloatArray
    brightness: FloatArray


class _Burning(NamedTuple):
    """Share of the cell that burns at a temperature, one entry a cell and component."""

    number: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    share: FloatArray
    temperature: FloatArray


def simulate_thermal_scene(
    seed: int, *, shape: tuple[int, int] = (200, 200), sensor: str = "viirs", **options: Any
) -> ThermalScene:
    """Look at fires and at what is taken for them.

    Parameters
    ----------
    seed : int
        Seed of all randomness; the land does not depend on the options of fires and decoys.
    shape : tuple of int
        Rows and columns.
    sensor : str
        Of SENSORS.
    **options : Any
        Of ThermalOptions.

    Returns
    -------
    ThermalScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        Fewer than 24 pixels on a side, odd sides where the sensor has coarser pixels, an unknown sensor.
    """
    if sensor not in SENSORS:
        raise ValueError(f"no thermal sensor is {sensor!r}: {', '.join(SENSORS)}")
    device = SENSORS[sensor]
    if min(shape) < 24 or shape[0] % device.coarse or shape[1] % device.coarse:
        raise ValueError(f"no thermal scene has shape {shape}")
    asked = ThermalOptions(**options)
    geometry = _geometry(shape, device.pixel_size, asked)
    ground = _surface(seed, shape, device.pixel_size, asked, geometry)
    clouds = _clouds(seed, ground.dem.shape, asked, device.pixel_size)
    rng = np.random.default_rng([seed, 42])
    decoys = _place_decoys(rng, ground, device.pixel_size, asked, geometry)
    burning, spots = _ignite(rng, ground, clouds, device.pixel_size, asked)
    layers = _measured(rng, ground, clouds, burning, geometry, device, asked, shape)
    return _finished(layers, ground, clouds, burning, geometry, spots, decoys, rng, asked, sensor, shape, seed)


def response(pixels: int, cells: int, *, sweep: float = 0.0, blur: float = 0.2) -> FloatArray:
    """Weights of cells in pixels along one axis; every cell away from the ends counts the same over all pixels.

    Parameters
    ----------
    pixels : int
        Number of pixels [1].
    cells : int
        Cells in a pixel [1].
    sweep : float
        Way a detector of one pixel is swept while it collects [pixel]: 1 makes a triangle that reaches the middles of
        the neighbors, as MODIS has, less a trapezoid, as samples of a third of a pixel do that VIIRS adds up.
    blur : float
        Standard deviation of the blur by the optics, where nothing is swept [pixel].

    Returns
    -------
    array
        Weights (pixel, cell), a row adds up to one; the axis of cells has three more pixels on either side [1].
    """
    middle = (np.arange(pixels) + _MARGIN + 0.5) * cells
    distance = (np.arange((pixels + 2 * _MARGIN) * cells) + 0.5 - middle[:, None]) / cells
    if sweep > 0.0:
        weight = np.clip((0.5 * (1.0 + sweep) - np.abs(distance)) / sweep, 0.0, 1.0)
    else:
        scale = math.sqrt(2.0) * blur
        weight = 0.5 * (special.erf((distance + 0.5) / scale) - special.erf((distance - 0.5) / scale))
    return np.asarray(weight / cells)


def glint_angle(
    sun_zenith: npt.ArrayLike, sun_azimuth: npt.ArrayLike, view_zenith: npt.ArrayLike, view_azimuth: npt.ArrayLike
) -> FloatArray:
    """Angle between the view and the sun mirrored by level water.

    Parameters
    ----------
    sun_zenith, sun_azimuth, view_zenith, view_azimuth : array-like
        Directions from the ground [degree].

    Returns
    -------
    array
        Angle [degree].
    """
    sun, view = np.radians(sun_zenith), np.radians(view_zenith)
    turn = np.radians(np.asarray(view_azimuth) - np.asarray(sun_azimuth))
    cosine = np.cos(sun) * np.cos(view) - np.sin(sun) * np.sin(view) * np.cos(turn)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def sea_glint(
    sun_zenith: npt.ArrayLike, view_zenith: npt.ArrayLike, glint: npt.ArrayLike, *, wind_speed: float
) -> FloatArray:
    """Reflectance factor of rough water in the mirror direction (Cox and Munk 1954, slopes alike in all directions).

    Parameters
    ----------
    sun_zenith, view_zenith : array-like
        Angles from the vertical [degree].
    glint : array-like
        Angle between the view and the mirrored sun [degree].
    wind_speed : float
        Wind [m s-1].

    Returns
    -------
    array
        Reflectance factor [1].
    """
    sun, view = np.radians(sun_zenith), np.radians(view_zenith)
    # The sun, the view and the facet's normal: angle of incidence and tilt of the facet.
    twice = 2.0 * np.cos(sun) * np.cos(view) - np.cos(np.radians(glint))
    incidence = 0.5 * np.arccos(np.clip(twice, -1.0, 1.0))
    tilt = np.clip((np.cos(sun) + np.cos(view)) / (2.0 * np.cos(incidence)), 1e-6, 1.0)
    variance = 0.003 + 0.00512 * wind_speed
    density = np.exp(-(tilt**-2.0 - 1.0) / variance) / (math.pi * variance)
    return np.asarray(
        math.pi * _fresnel(incidence) * density / (4.0 * np.cos(sun) * np.maximum(np.cos(view), 0.05) * tilt**4)
    )


def _fresnel(incidence: npt.ArrayLike) -> FloatArray:
    """Reflectance of smooth water for unpolarized light."""
    angle = np.minimum(np.asarray(incidence, dtype=np.float64), 1.55)
    into = np.arcsin(np.sin(angle) / _WATER_INDEX)
    across = (np.cos(angle) - _WATER_INDEX * np.cos(into)) / (np.cos(angle) + _WATER_INDEX * np.cos(into))
    along = (_WATER_INDEX * np.cos(angle) - np.cos(into)) / (_WATER_INDEX * np.cos(angle) + np.cos(into))
    return np.asarray(0.5 * (across**2 + along**2))


def _geometry(shape: tuple[int, int], pixel_size: float, asked: ThermalOptions) -> _Geometry:
    """Angles by column of cells: the scene lies along the scan, the sensor over its middle line."""
    count = (shape[1] + 2 * _MARGIN) * asked.cells
    along = (np.arange(count) + 0.5 - 0.5 * count) * pixel_size / asked.cells
    # Columns run east: those on the sensor's side look up more steeply.
    away = math.tan(math.radians(asked.view_zenith)) * _ALTITUDE - along * math.sin(math.radians(asked.view_azimuth))
    view = np.degrees(np.arctan(np.abs(away) / _ALTITUDE))
    azimuth = np.where(away >= 0.0, asked.view_azimuth, asked.view_azimuth + 180.0)
    glint = glint_angle(asked.sun_zenith, asked.sun_azimuth, view, azimuth)
    return _Geometry(asked.sun_zenith, view, glint, asked.sun_zenith < 90.0)


def _surface(
    seed: int, shape: tuple[int, int], pixel_size: float, asked: ThermalOptions, geometry: _Geometry
) -> _Surface:
    """Temperature, emissivity and reflectance of every cell before fires and decoys."""
    cell = pixel_size / asked.cells
    size = ((shape[0] + 2 * _MARGIN) * asked.cells, (shape[1] + 2 * _MARGIN) * asked.cells)
    land = imagery_landscape.lay_out(
        seed=seed,
        shape=size,
        pixel_size=cell,
        relief=asked.relief,
        urban_fraction=asked.urban_share,
        feature_size=max(6.0 * cell, 500.0),
    )
    green = imagery_landscape.green_cover(land, day_of_year=225.0).astype(np.float64)
    rng = np.random.default_rng([seed, 41])
    water = np.isin(land.material, _WATER).astype(np.float64)
    ponds = rng.random(size) < asked.ponds * (imagery_landscape.slope_degrees(land.dem, pixel_size=cell) < 8.0)
    water = np.where(ponds & (water == 0.0), rng.uniform(0.2, 1.0, size), water)
    temperature = _temperature(rng, land, green, asked, geometry)
    temperature += water * np.isin(land.material, _WATER, invert=True) * (asked.air_temperature - 2.0 - temperature)
    bare, covered = _EMISSIVITY_BARE[land.material], _EMISSIVITY_GREEN[land.material]
    emissivity = np.moveaxis(bare + green[..., None] * (covered - bare), -1, 0)
    seen = imagery_landscape.reflectance(land, bands=("red", "nir", "swir2"), day_of_year=225.0).astype(np.float64)
    dark = np.array([0.06, 0.03, 0.005])[:, None, None]
    seen += ponds * water * (dark - seen)
    return _Surface(land.dem, land.material, temperature, emissivity, seen, water, np.zeros(size))


def _temperature(
    rng: np.random.Generator,
    land: imagery_landscape.Landscape,
    green: FloatArray,
    asked: ThermalOptions,
    geometry: _Geometry,
) -> FloatArray:
    """Temperature of the ground [K]."""
    height = land.dem - land.dem.min()
    shape = height.shape
    weather = 1.5 * imagery_landscape.fractal_field(rng, shape, exponent=4.0, longest=0.5 * max(shape))
    fine = asked.texture * imagery_landscape.fractal_field(rng, shape, exponent=1.6, longest=30.0)
    still = np.isin(land.material, _WATER)
    fine = np.where(still, 0.1 * fine, fine)
    if not geometry.day:
        # Cold air gathers in the valleys: half of the lapse is lost.
        warming = _NIGHT[land.material]
        return np.asarray(
            asked.air_temperature - np.where(still, 0.2, 0.5) * _LAPSE * height + warming + weather + 0.7 * fine
        )
    light = imagery_landscape.illuminate(
        land.dem,
        pixel_size=land.pixel_size,
        sun_azimuth=asked.sun_azimuth,
        sun_elevation=90.0 - min(asked.sun_zenith, 89.0),
    )
    power = math.cos(math.radians(asked.sun_zenith)) * np.clip(0.25 + 0.75 * light.direct, 0.0, 1.5)
    power = np.where(still, 1.0, power)
    bare, covered = _WARMING_BARE[land.material], _WARMING_GREEN[land.material]
    warming = (bare + green * (covered - bare)) * power
    return np.asarray(asked.air_temperature - np.where(still, 0.3, 1.0) * _LAPSE * height + warming + weather + fine)


def _clouds(seed: int, shape: tuple[int, int], asked: ThermalOptions, pixel_size: float) -> _Clouds:
    """Opacity, temperature and brightness of clouds by cell: fields of cumulus and one deck, thin at their edges."""
    rng = np.random.default_rng([seed, 43])
    cell = pixel_size / asked.cells
    small = imagery_landscape.fractal_field(rng, shape, exponent=2.9, longest=6e3 / cell)
    deck = imagery_landscape.fractal_field(rng, shape, exponent=3.6, longest=40e3 / cell)
    density = 0.55 * small + deck
    thickness = np.zeros(shape)
    if asked.cloud_fraction > 0.0:
        least = float(np.quantile(density, 1.0 - asked.cloud_fraction))
        thickness = 6.0 * np.maximum(density - least, 0.0)
    depth = thickness / (1.0 + thickness)
    cold = 284.0 - 10.0 * depth - 40.0 * np.clip(deck - 0.8, 0.0, 1.5) * depth
    temperature = np.minimum(cold, asked.air_temperature - 6.0)
    ice = np.clip((268.0 - temperature) / 20.0, 0.0, 1.0)
    return _Clouds(
        -np.expm1(-0.8 * thickness),
        -np.expm1(-thickness),
        temperature,
        (0.11 - 0.09 * ice) * -np.expm1(-2.0 * thickness),
        0.75 * -np.expm1(-1.2 * thickness),
    )


def _place_decoys(
    rng: np.random.Generator, ground: _Surface, pixel_size: float, asked: ThermalOptions, geometry: _Geometry
) -> tuple[Decoy, ...]:
    """Change the ground of rectangles in place; mirrors of sheet metal come last."""
    cell, placed = pixel_size / asked.cells, []
    noon = math.cos(math.radians(min(asked.sun_zenith, 90.0)))
    for kind, (sides, warming, looks) in _DECOYS.items():
        for _ in range(asked.decoys):
            side = np.exp(rng.uniform(math.log(sides[0]), math.log(sides[1]), 2))
            place = _free_place(rng, ground, _MARGIN * asked.cells)
            inside = _rectangle(rng, ground.dem.shape, place, side / cell)
            inside &= ground.water == 0.0
            drawn = rng.uniform(*warming)
            speckle = rng.normal(0.0, 2.0, int(inside.sum()))
            heat = drawn * noon if geometry.day else rng.uniform(-4.0, 2.0)
            height = ground.dem[inside] - ground.dem.min()
            ground.temperature[inside] = asked.air_temperature - _LAPSE * height + heat + speckle
            ground.emissivity[:, inside] = np.array(looks[:2])[:, None]
            ground.reflectance[:, inside] = np.array(looks[2:])[:, None] * rng.uniform(0.85, 1.15)
            placed.append(_decoy(kind, place, float(side.max()), asked.cells))
    for _ in range(3 * asked.decoys):
        place = _free_place(rng, ground, _MARGIN * asked.cells)
        # A tilted sheet of some tens of meters mirrors the sun into the view, whatever the glint angle of water.
        ground.mirror[place] = rng.uniform(15.0, 90.0) ** 2 / cell**2 * rng.uniform(1.0, 8.0)
        placed.append(_decoy("bright roof glint", place, cell, asked.cells))
    return tuple(placed)


def _decoy(kind: str, place: tuple[int, int], side: float, cells: int) -> Decoy:
    return Decoy(kind, (place[0] + 0.5) / cells - _MARGIN, (place[1] + 0.5) / cells - _MARGIN, side)


def _free_place(
    rng: np.random.Generator, ground: _Surface, border: int, taken: BoolArray | None = None
) -> tuple[int, int]:
    """A cell on land away from the border and from what is taken; the last one drawn where none is free."""
    rows, columns = ground.dem.shape
    for _ in range(400):
        row, column = int(rng.integers(border, rows - border)), int(rng.integers(border, columns - border))
        if ground.water[row, column] == 0.0 and (taken is None or not taken[row, column]):
            break
    return row, column


def _rectangle(rng: np.random.Generator, shape: tuple[int, int], place: tuple[int, int], side: FloatArray) -> BoolArray:
    """Cells of a turned rectangle, at least one."""
    row, column = np.arange(shape[0])[:, None] - place[0], np.arange(shape[1])[None, :] - place[1]
    angle = rng.uniform(0.0, math.pi)
    one = np.abs(column * math.cos(angle) + row * math.sin(angle)) <= 0.5 * side[0]
    two = np.abs(row * math.cos(angle) - column * math.sin(angle)) <= 0.5 * side[1]
    inside = one & two
    inside[place] = True
    return np.asarray(inside, dtype=np.bool_)


def _ignite(
    rng: np.random.Generator, ground: _Surface, clouds: _Clouds, pixel_size: float, asked: ThermalOptions
) -> tuple[_Burning, tuple[Hotspot, ...]]:
    """Set fires and static sources on cells, apart from each other by four pixels and more."""
    taken = np.zeros(ground.dem.shape, dtype=np.bool_)
    inside = np.zeros(ground.dem.shape, dtype=np.bool_)
    border = (_MARGIN + 1) * asked.cells
    inside[border:-border, border:-border] = True
    parts: list[_Burning] = []
    spots: list[Hotspot] = []
    for number in range(1, asked.fires + asked.sources + 1):
        static = number > asked.fires
        place = _free_place(rng, ground, (_MARGIN + 3) * asked.cells, taken)
        kind = str(rng.choice(SOURCE_KINDS if static else FIRE_KINDS))
        flaming, smouldering, ratio, power = _fuel(rng, kind, asked)
        heat = ground.temperature[place]
        net = flaming**4 + ratio * smouldering**4 - (1.0 + ratio) * heat**4
        area = power * 1e6 / (planck.STEFAN_BOLTZMANN * net)
        cell = pixel_size / asked.cells
        count = max(1, math.ceil((1.0 + ratio) * area / min(_FRONT_DEPTH * cell, 0.5 * cell**2))) if not static else 1
        cells = _front(rng, (ground.water == 0.0) & inside & ~taken, place, count)
        share = np.full(len(cells), min(area / cell**2 / len(cells), 0.8 / (1.0 + ratio)))
        rows, columns = cells.T
        parts.append(_Burning(np.full(len(cells), number), rows, columns, share, np.full(len(cells), flaming)))
        parts.append(
            _Burning(np.full(len(cells), number), rows, columns, ratio * share, np.full(len(cells), smouldering))
        )
        exact = (
            planck.STEFAN_BOLTZMANN
            * cell**2
            * np.sum(
                share * (flaming**4 + ratio * smouldering**4 - (1.0 + ratio) * ground.temperature[rows, columns] ** 4)
            )
        )
        middle = (cells.mean(axis=0) + 0.5) / asked.cells
        extent = float(np.hypot(*((cells + 0.5) / asked.cells - middle).T).max())
        position = middle - _MARGIN
        passing = float(np.mean(1.0 - clouds.opacity4[rows, columns]))
        spots.append(
            Hotspot(
                number,
                kind,
                static,
                float(position[0]),
                float(position[1]),
                float(exact) * 1e-6,
                float((1.0 + ratio) * share.sum() * cell**2),
                flaming,
                smouldering,
                extent,
                passing,
                CORNER[0] + float(position[1]) * pixel_size,
                CORNER[1] - float(position[0]) * pixel_size,
            )
        )
        _take(taken, cells, 5 * asked.cells)
    return _joined(parts), tuple(spots)


def _fuel(rng: np.random.Generator, kind: str, asked: ThermalOptions) -> tuple[float, float, float, float]:
    """Temperatures of flames and embers [K], area of embers over that of flames [1], power [MW]."""
    if kind in SOURCE_KINDS:
        heat, power = _SOURCES[kind]
        flaming = rng.uniform(*heat)
        return (
            float(flaming),
            float(0.8 * flaming),
            0.2,
            float(np.exp(rng.uniform(math.log(power[0]), math.log(power[1])))),
        )
    flaming, smouldering = rng.uniform(800.0, 1300.0), rng.uniform(600.0, 750.0)
    ratio = rng.uniform(0.2, 3.0) if kind == "forest fire" else rng.uniform(0.0, 0.8)
    least, most = asked.power
    most = most if kind == "forest fire" else max(min(most, 80.0), least)
    return float(flaming), float(smouldering), float(ratio), float(np.exp(rng.uniform(math.log(least), math.log(most))))


def _front(
    rng: np.random.Generator, open_ground: BoolArray, place: tuple[int, int], count: int
) -> npt.NDArray[np.int64]:
    """Cells of a front: a line that bends, over open ground (cell, 2)."""
    heading, row, column = rng.uniform(0.0, 2.0 * math.pi), float(place[0]), float(place[1])
    cells = {place: None}
    for _ in range(4 * count):
        heading += rng.normal(0.0, 0.25)
        row, column = row + math.sin(heading), column + math.cos(heading)
        cell = (round(row), round(column))
        if len(cells) >= count or not open_ground[cell]:
            break
        cells[cell] = None
    return np.array(list(cells), dtype=np.int64)


def _take(taken: BoolArray, cells: npt.NDArray[np.int64], reach: int) -> None:
    """Mark the squares around cells."""
    for row, column in cells:
        taken[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True


def _joined(parts: list[_Burning]) -> _Burning:
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return _Burning(nothing, nothing, nothing, np.zeros(0), np.zeros(0))
    return _Burning(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _radiance(
    ground: _Surface,
    clouds: _Clouds,
    burning: _Burning,
    geometry: _Geometry,
    asked: ThermalOptions,
    band: str,
    long: bool,
) -> FloatArray:
    """Radiance of the cells above the air [W m-2 sr-1 um-1]."""
    emissivity = ground.emissivity[int(long)]
    own = emissivity * planck.band_radiance(ground.temperature, band)
    slant = np.cos(np.radians(geometry.view_zenith))
    through = asked.transmission[1 if long else 0] ** (1.0 / slant)
    sun = np.zeros_like(own)
    if geometry.day:
        height = math.cos(math.radians(geometry.sun_zenith))
        down = planck.sun_irradiance(band) * height * asked.transmission[1 if long else 0] ** (1.0 / max(height, 0.1))
        sun = np.full_like(own, down / math.pi)
        own = own + sun * (1.0 - emissivity + ground.water * _glitter(geometry, asked) + ground.mirror)
    burnt = np.zeros_like(own)
    np.add.at(
        burnt,
        (burning.row, burning.column),
        burning.share * (planck.band_radiance(burning.temperature, band) - own[burning.row, burning.column]),
    )
    air = planck.band_radiance(asked.air_temperature - 12.0, band)
    below = through * (own + burnt) + (1.0 - through) * air
    opacity = clouds.opacity11 if long else clouds.opacity4
    bright = sun * clouds.reflectance4 * (0.3 if long else 1.0)
    return np.asarray((1.0 - opacity) * below + opacity * planck.band_radiance(clouds.temperature, band) + bright)


def _glitter(geometry: _Geometry, asked: ThermalOptions) -> FloatArray:
    """Reflectance factor of water by column."""
    return sea_glint(geometry.sun_zenith, geometry.view_zenith, geometry.glint, wind_speed=asked.wind_speed)


class _Layers(NamedTuple):
    t4: Raster
    t11: Raster
    t4_low: Raster
    reflected: Raster
    clear: Raster


def _measured(
    rng: np.random.Generator,
    ground: _Surface,
    clouds: _Clouds,
    burning: _Burning,
    geometry: _Geometry,
    device: Sensor,
    asked: ThermalOptions,
    shape: tuple[int, int],
) -> _Layers:
    """What the sensor makes of it."""
    layers = []
    for place, (band, level, most) in enumerate(zip(device.bands, device.noise, device.saturation, strict=True)):
        factor = device.coarse if place == 2 else 1
        cells = _radiance(ground, clouds, burning, geometry, asked, band, place == 1)
        seen = _sampled(cells, shape, asked, device.sweep, factor)
        seen += asked.noise * level * planck.radiance_step(_REFERENCE, band) * rng.standard_normal(seen.shape)
        seen = _limited(seen, float(planck.band_radiance(most, band)), device.fold if place == 0 else math.inf)
        heat = np.maximum(planck.brightness_temperature(seen, band), _COLDEST).astype(np.float32)
        layers.append(np.repeat(np.repeat(heat, factor, axis=0), factor, axis=1))
    cold = _radiance(ground, clouds, _joined([]), geometry, asked, device.bands[0], False)
    clear = planck.brightness_temperature(_sampled(cold, shape, asked, device.sweep), device.bands[0])
    reflected = _reflected(rng, ground, clouds, burning, geometry, asked, shape, device.sweep)
    return _Layers(layers[0], layers[1], layers[2], reflected, clear.astype(np.float32))


def _sampled(
    cells: FloatArray, shape: tuple[int, int], asked: ThermalOptions, sweep: float, factor: int = 1
) -> FloatArray:
    """Mean of the cells by the response of pixels, or of coarser ones: rows are the track, columns the scan."""
    down = _coarse_response(shape[0], asked.cells, factor, 0.0)
    across = _coarse_response(shape[1], asked.cells, factor, sweep)
    return np.asarray(down @ cells @ across.T)


def _coarse_response(count: int, per_pixel: int, factor: int, sweep: float) -> FloatArray:
    """Response of pixels of a whole number of fine ones, over the same cells."""
    wide = response(count // factor, per_pixel * factor, sweep=sweep)
    spare = _MARGIN * per_pixel * (factor - 1)
    return wide[:, spare : wide.shape[1] - spare]


def _limited(radiance: FloatArray, most: float, fold: float) -> FloatArray:
    """Saturation, and the fold: counts beyond the converter start again from below."""
    limited = np.minimum(radiance, most)
    over = radiance > fold * most
    limited[over] = np.mod(radiance[over], most)
    return limited


def _reflected(
    rng: np.random.Generator,
    ground: _Surface,
    clouds: _Clouds,
    burning: _Burning,
    geometry: _Geometry,
    asked: ThermalOptions,
    shape: tuple[int, int],
    sweep: float,
) -> Raster:
    """Reflectance in red, near infrared and at 2 um; fires shine in the last."""
    if not geometry.day:
        return np.full((3, *shape), np.nan, dtype=np.float32)
    glitter = ground.water * _glitter(geometry, asked) + ground.mirror
    height = math.cos(math.radians(geometry.sun_zenith))
    layers = []
    for place, seen in enumerate(ground.reflectance):
        below = seen + glitter
        if place == 2:
            glow = (
                math.pi * planck.band_radiance(burning.temperature, "swir2") / planck.sun_irradiance("swir2") / height
            )
            np.add.at(below, (burning.row, burning.column), burning.share * glow)
        ice = 0.75 if place == 2 else 1.0
        mixed = below * (1.0 - clouds.brightness / 0.8) + ice * clouds.brightness
        values = _sampled(mixed, shape, asked, sweep) + asked.noise * 0.002 * rng.standard_normal(shape)
        layers.append(np.clip(values, 0.0, 1.4))
    return np.asarray(layers, dtype=np.float32)


def _finished(
    layers: _Layers,
    ground: _Surface,
    clouds: _Clouds,
    burning: _Burning,
    geometry: _Geometry,
    spots: tuple[Hotspot, ...],
    decoys: tuple[Decoy, ...],
    rng: np.random.Generator,
    asked: ThermalOptions,
    sensor: str,
    shape: tuple[int, int],
    seed: int,
) -> ThermalScene:
    """Put the pieces together."""
    device, cells = SENSORS[sensor], asked.cells
    inner = slice(_MARGIN * cells, -_MARGIN * cells)
    fires, static = (
        _power(burning, ground, device, asked, shape, [s.number for s in spots if s.static == kind])
        for kind in (False, True)
    )
    box = np.zeros(ground.dem.shape, dtype=np.float32)
    first = burning.number <= asked.fires
    box[burning.row[first], burning.column[first]] = 1.0
    cover = imagery_landscape.box_average(clouds.opacity11[inner, inner].astype(np.float32), cells)
    wet = imagery_landscape.box_average(ground.water[inner, inner].astype(np.float32), cells)
    map_water = imagery_landscape.box_average(np.isin(ground.material, _WATER)[inner, inner].astype(np.float32), cells)
    view, glint = geometry.view_zenith[inner][cells // 2 :: cells], geometry.glint[inner][cells // 2 :: cells]
    away = glint_angle(asked.sun_zenith, asked.sun_azimuth, view, asked.view_azimuth)
    azimuth = np.where(np.isclose(away, glint), asked.view_azimuth, asked.view_azimuth + 180.0) % 360.0
    sources = tuple(spot for spot in spots if spot.static)
    return ThermalScene(
        layers.t4,
        layers.t11,
        layers.t4_low,
        layers.reflected[0],
        layers.reflected[1],
        layers.reflected[2],
        _spread(asked.sun_zenith, shape),
        _spread(asked.sun_azimuth, shape),
        _spread(view, shape),
        _spread(azimuth, shape),
        _spread(glint, shape),
        imagery_landscape.box_average(ground.dem[inner, inner], cells),
        wet,
        map_water >= 0.5,
        cover,
        cover >= 0.2,
        fires,
        static,
        imagery_landscape.box_average(box[inner, inner], cells) > 0.0,
        tuple(spot for spot in spots if not spot.static),
        sources,
        decoys,
        _table(rng, sources, asked),
        layers.clear,
        device.pixel_size,
        sensor,
        _spread(asked.transmission[0] ** (1.0 / np.cos(np.radians(view))), shape),
        {"seed": seed, "shape": shape, "sensor": sensor, **asdict(asked)},
    )


def _spread(values: npt.ArrayLike, shape: tuple[int, int]) -> Raster:
    return np.broadcast_to(np.asarray(values, dtype=np.float32), shape).copy()


def _power(
    burning: _Burning,
    ground: _Surface,
    device: Sensor,
    asked: ThermalOptions,
    shape: tuple[int, int],
    numbers: list[int],
) -> Raster:
    """Power that the response of every pixel takes in [MW]."""
    chosen = np.isin(burning.number, numbers)
    row, column = burning.row[chosen], burning.column[chosen]
    watts = np.zeros(ground.dem.shape)
    excess = burning.temperature[chosen] ** 4 - ground.temperature[row, column] ** 4
    np.add.at(watts, (row, column), planck.STEFAN_BOLTZMANN * burning.share[chosen] * excess)
    return (_sampled(watts, shape, asked, device.sweep) * device.pixel_size**2 * 1e-6).astype(np.float32)


def _table(rng: np.random.Generator, sources: tuple[Hotspot, ...], asked: ThermalOptions) -> tuple[ListedSource, ...]:
    """What the operator knows of the static sources."""
    rows = []
    for spot in sources:
        error = asked.list_error * rng.standard_normal(2)
        if rng.random() < asked.listed_share:
            rows.append(
                ListedSource(
                    f"plant {spot.number - asked.fires}",
                    spot.kind,
                    spot.easting + float(error[0]),
                    spot.northing + float(error[1]),
                    float(rng.choice([500.0, 800.0, 1000.0])),
                )
            )
    return tuple(rows)
