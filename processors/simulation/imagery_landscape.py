"""Forward model of a landscape in the solar spectrum: terrain, land cover, season, sun and shadow, with exact truth.

Parallel ridges and valleys, a river in the valley, a lake, forest, rectangular fields, a town of bright roofs and dark
streets. Nothing here uses the processing it is meant to test.

Endmembers are our round numbers, of the kind that the ECOSTRESS library (Meerdink et al. 2019, Remote Sens. Environ.
230, 111196) and USGS splib07 (Kokaly et al. 2017, USGS Data Series 1035) hold, not averages of named spectra: they
decide how far apart the classes lie, not how a method works. Turbid river water is that of a flood, 140 FNU by its red
and 260 FNU by its near infrared (Dogliotti et al. 2015). The share of the sky is our estimate for clear air, too.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from processors.arrays import BoolArray
from processors.simulation import _imagery_simulation_kernels

Raster: TypeAlias = npt.NDArray[np.float32]
Classes: TypeAlias = npt.NDArray[np.uint8]

BANDS = ("blue", "green", "red", "rededge", "nir", "swir1", "swir2")
"""Bands of the landscape, in the order of wavelength."""

CLASSES = (
    "forest",
    "winter crop",
    "summer crop",
    "grass",
    "soil",
    "roof",
    "street",
    "clear water",
    "turbid water",
)
"""Names of the classes of the class map, by their number."""

FOREST, WINTER_CROP, SUMMER_CROP, GRASS, SOIL, ROOF, STREET, CLEAR_WATER, TURBID_WATER = range(9)

RIVERS = {"turbid": TURBID_WATER, "clear": CLEAR_WATER}
"""Kinds of river."""

# Materials: the classes, then two more roofs; the first table is full green cover, the second none.
_TILE_ROOF, _BLUE_ROOF = 9, 10
_COVERED = np.array(
    [
        [0.025, 0.045, 0.025, 0.090, 0.330, 0.150, 0.060],
        [0.030, 0.070, 0.035, 0.120, 0.450, 0.200, 0.090],
        [0.028, 0.062, 0.030, 0.110, 0.410, 0.170, 0.075],
        [0.040, 0.075, 0.050, 0.120, 0.360, 0.230, 0.120],
        [0.070, 0.100, 0.140, 0.170, 0.220, 0.290, 0.240],
        [0.320, 0.350, 0.370, 0.380, 0.400, 0.400, 0.360],
        [0.070, 0.080, 0.090, 0.095, 0.100, 0.110, 0.100],
        [0.035, 0.030, 0.015, 0.010, 0.006, 0.003, 0.002],
        [0.070, 0.110, 0.130, 0.110, 0.060, 0.012, 0.008],
        [0.090, 0.120, 0.220, 0.250, 0.280, 0.310, 0.280],
        [0.300, 0.240, 0.180, 0.190, 0.220, 0.260, 0.240],
    ],
    dtype=np.float32,
)
_BARE = np.concatenate(
    [
        np.array(
            [
                [0.045, 0.065, 0.070, 0.110, 0.180, 0.190, 0.120],
                [0.070, 0.100, 0.135, 0.170, 0.230, 0.300, 0.230],
                [0.065, 0.092, 0.120, 0.150, 0.200, 0.260, 0.210],
                [0.070, 0.100, 0.120, 0.160, 0.250, 0.320, 0.220],
            ],
            dtype=np.float32,
        ),
        _COVERED[4:],
    ]
)
_TEXTURE = np.array([0.10, 0.06, 0.06, 0.07, 0.10, 0.05, 0.06, 0.03, 0.04, 0.06, 0.05], dtype=np.float32)
_PATCH_SPREAD = np.array([0.02, 0.08, 0.08, 0.06, 0.15, 0.28, 0.05, 0.0, 0.0, 0.15, 0.15], dtype=np.float32)
_ROUGH = np.array([0.12, 0.06, 0.06, 0.08, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=np.float32)

# Season of green cover: least and largest cover, middle day of greening and of senescence, their widths [d].
_SEASON = {
    FOREST: (0.55, 0.95, 85.0, 320.0, 14.0, 16.0),
    WINTER_CROP: (0.08, 0.90, 35.0, 128.0, 12.0, 5.0),
    SUMMER_CROP: (0.08, 0.92, 160.0, 248.0, 10.0, 6.0),
    GRASS: (0.20, 0.80, 90.0, 300.0, 16.0, 18.0),
}

DIFFUSE_SHARE = dict(zip(BANDS, (0.24, 0.17, 0.13, 0.11, 0.09, 0.05, 0.04), strict=True))
"""Share of the sky in the irradiance of level ground under a clear sky, by band [1]."""

FEATURE_PIXELS = 12.0
"""Width of a field where no feature size is given [pixel]."""


class Landscape(NamedTuple):
    """What lies where, whatever the day and the sun."""

    pixel_size: float
    """Pixel size [m]."""
    dem: Raster
    """Height of the terrain (y, x) [m]."""
    class_map: Classes
    """Index into CLASSES (y, x)."""
    material: Classes
    """Row of the table of endmembers (y, x)."""
    patch: npt.NDArray[np.int32]
    """Number of the field or block (y, x); forest, grass and water keep the number of the field they replace."""
    brightness: Raster
    """Relative brightness (y, x) [1]."""
    vigor: Raster
    """Factor of green cover (y, x) [1]."""
    season_shift: Raster
    """Days by which a field is late (y, x) [d]."""


class Illumination(NamedTuple):
    """How the sun lights the terrain."""

    direct: Raster
    """Direct irradiance relative to that of level ground, zero in shadow (y, x) [1]."""
    sky_view: Raster
    """Share of the sky above the slope (y, x) [1]."""
    cos_incidence: Raster
    """Cosine of the angle between the normal and the sun, negative where the slope faces away (y, x) [1]."""
    shadow: BoolArray
    """Self or cast shadow of the terrain (y, x)."""


class SimulatedLandscape(NamedTuple):
    """A landscape on a day, under a sun."""

    reflectance: Raster
    """What a sensor above would call surface reflectance: not corrected for terrain (band, y, x) [1]."""
    flat_reflectance: Raster
    """Reflectance of the material itself (band, y, x) [1]."""
    dem: Raster
    """Height (y, x) [m]."""
    class_map: Classes
    """Index into CLASSES (y, x)."""
    cos_i: Raster
    """Cosine of the incidence angle (y, x) [1]."""
    terrain_shadow: BoolArray
    """Self or cast shadow of the terrain (y, x)."""
    landscape: Landscape
    """What does not depend on day and sun."""


def simulate_landscape(
    *,
    seed: int,
    shape: tuple[int, int] = (400, 400),
    pixel_size: float = 10.0,
    bands: Sequence[str] = BANDS,
    sun_azimuth: float = 140.0,
    sun_elevation: float = 50.0,
    day_of_year: float = 200.0,
    relief: float = 400.0,
    river: str = "turbid",
    urban_fraction: float = 0.12,
    feature_size: float | None = None,
) -> SimulatedLandscape:
    """Lay out a landscape and light it.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    bands : sequence of str
        Bands wanted, of BANDS.
    sun_azimuth : float
        Azimuth of the sun, clockwise from north [degree].
    sun_elevation : float
        Elevation of the sun [degree].
    day_of_year : float
        Day of the year [d].
    relief : float
        Height between the lowest and the highest pixel [m].
    river : str
        "turbid", "clear" or "none".
    urban_fraction : float
        Share of land in towns [1].
    feature_size : float, optional
        Width of a field [m]; by default FEATURE_PIXELS pixels.

    Returns
    -------
    SimulatedLandscape
        The same for the same arguments.
    """
    landscape = lay_out(
        seed=seed,
        shape=shape,
        pixel_size=pixel_size,
        relief=relief,
        river=river,
        urban_fraction=urban_fraction,
        feature_size=feature_size,
    )
    flat = reflectance(landscape, bands=bands, day_of_year=day_of_year)
    light = illuminate(landscape.dem, pixel_size=pixel_size, sun_azimuth=sun_azimuth, sun_elevation=sun_elevation)
    return SimulatedLandscape(
        lit(flat, light, bands=bands),
        flat,
        landscape.dem,
        landscape.class_map,
        light.cos_incidence,
        light.shadow,
        landscape,
    )


def lay_out(
    *,
    seed: int,
    shape: tuple[int, int],
    pixel_size: float,
    relief: float = 400.0,
    river: str = "turbid",
    urban_fraction: float = 0.12,
    feature_size: float | None = None,
) -> Landscape:
    """Terrain and land cover.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    relief : float
        Height between the lowest and the highest pixel [m].
    river : str
        "turbid", "clear" or "none".
    urban_fraction : float
        Share of land in towns [1].
    feature_size : float, optional
        Width of a field [m]; by default FEATURE_PIXELS pixels.

    Returns
    -------
    Landscape
        The same for the same arguments.

    Raises
    ------
    ValueError
        An unknown kind of river, or fewer than two pixels on a side.
    """
    if river not in (*RIVERS, "none"):
        raise ValueError(f"no river is {river!r}")
    if min(shape) < 2:
        raise ValueError(f"a landscape of {shape} pixels has no slope")
    size = (FEATURE_PIXELS * pixel_size if feature_size is None else feature_size) / pixel_size
    rng = np.random.default_rng([seed, 11])
    dem, water = _terrain(rng, shape, pixel_size=pixel_size, relief=relief, river=river, size=size)
    material, patch = _cover(rng, dem, water, pixel_size=pixel_size, urban_fraction=urban_fraction, size=size)
    count = int(patch.max()) + 1
    fine = fractal_field(rng, shape, exponent=1.4, longest=1.5 * size)
    vegetation = fractal_field(rng, shape, exponent=1.8, longest=2.0 * size)
    spread = _PATCH_SPREAD[material] * rng.normal(size=count).astype(np.float32)[patch]
    class_map = np.where(material > TURBID_WATER, ROOF, material).astype(np.uint8)
    return Landscape(
        pixel_size,
        dem,
        class_map,
        material,
        patch,
        np.exp(_TEXTURE[material] * fine + spread),
        1.0 + 0.08 * rng.normal(size=count).astype(np.float32)[patch] + _ROUGH[material] * vegetation,
        (8.0 * rng.normal(size=count)).astype(np.float32)[patch],
    )


def reflectance(landscape: Landscape, *, bands: Sequence[str] = BANDS, day_of_year: float = 200.0) -> Raster:
    """Reflectance of the ground under even light.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    bands : sequence of str
        Bands wanted, of BANDS.
    day_of_year : float
        Day of the year [d].

    Returns
    -------
    array
        Reflectance (band, y, x) [1].
    """
    green = green_cover(landscape, day_of_year=day_of_year)
    layers = []
    for band in bands:
        column = BANDS.index(band)
        bare = _BARE[:, column][landscape.material]
        mixed = bare + green * (_COVERED[:, column][landscape.material] - bare)
        layers.append(np.clip(mixed * landscape.brightness, 0.001, 0.95))
    return np.stack(layers).astype(np.float32)


def green_cover(landscape: Landscape, *, day_of_year: float) -> Raster:
    """Share of ground under green leaves: a double logistic of the day by class, late or early by field.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    day_of_year : float
        Day of the year [d].

    Returns
    -------
    array
        Green cover (y, x), zero without vegetation [1].
    """
    green = np.zeros(landscape.dem.shape, dtype=np.float32)
    for number, (least, most, rise, fall, rising, falling) in _SEASON.items():
        inside = landscape.class_map == number
        middle = 0.5 * (rise + fall)
        late = landscape.season_shift[inside] if number != FOREST else np.float32(0.0)
        day = (day_of_year - late - middle + 182.5) % 365.0 - 182.5 + middle
        season = _logistic((day - rise) / rising) - _logistic((day - fall) / falling)
        green[inside] = np.clip((least + (most - least) * season) * landscape.vigor[inside], 0.0, 1.0)
    return green


def illuminate(dem: Raster, *, pixel_size: float, sun_azimuth: float, sun_elevation: float) -> Illumination:
    """Light on terrain: cosine of incidence, self shadow, and shadow cast along rays to the sun.

    Parameters
    ----------
    dem : array
        Heights (y, x), rows running south [m].
    pixel_size : float
        Pixel size [m].
    sun_azimuth : float
        Azimuth of the sun, clockwise from north [degree].
    sun_elevation : float
        Elevation of the sun, above 0 [degree].

    Returns
    -------
    Illumination
        Level ground in the open has direct 1 and sky_view 1.

    Raises
    ------
    ValueError
        The sun is not above the horizon.
    """
    if not 0.0 < sun_elevation <= 90.0:
        raise ValueError(f"a sun {sun_elevation} degree high lights nothing")
    azimuth, elevation = math.radians(sun_azimuth), math.radians(sun_elevation)
    south, east = np.gradient(dem, pixel_size)
    vertical = 1.0 / np.sqrt(1.0 + south**2 + east**2)
    towards = math.cos(elevation) * (south * math.cos(azimuth) - east * math.sin(azimuth))
    cos_incidence = ((math.sin(elevation) + towards) * vertical).astype(np.float32)
    climb = pixel_size * math.tan(elevation)
    heights = np.ascontiguousarray(dem, dtype=np.float32)
    cast = _imagery_simulation_kernels.cast_shadow(heights, -math.cos(azimuth), math.sin(azimuth), climb)
    shadow = cast | (cos_incidence <= 0.0)
    direct = np.where(shadow, np.float32(0.0), cos_incidence / np.float32(math.sin(elevation)))
    return Illumination(direct, (0.5 + 0.5 * vertical).astype(np.float32), cos_incidence, shadow)


def lit(flat: Raster, light: Illumination, *, bands: Sequence[str], transmission: Raster | float = 1.0) -> Raster:
    """Reflectance as seen under terrain light: direct and diffuse irradiance relative to level ground in the open.

    Parameters
    ----------
    flat : array
        Reflectance of the ground (band, y, x) [1].
    light : Illumination
        Light on the terrain.
    bands : sequence of str
        Names of the bands.
    transmission : array or float
        Transmission of the direct beam by clouds (y, x) [1].

    Returns
    -------
    array
        Apparent reflectance (band, y, x) [1].
    """
    beam = light.direct * transmission
    seen = np.empty_like(flat)
    for layer, ground, band in zip(seen, flat, bands, strict=True):
        share = np.float32(DIFFUSE_SHARE[band])
        layer[:] = ground * ((np.float32(1.0) - share) * beam + share * light.sky_view)
    return seen


def fractal_field(rng: np.random.Generator, shape: tuple[int, int], *, exponent: float, longest: float) -> Raster:
    """Random field with a power-law spectrum, zero mean and unit variance, repeating at its edges.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    shape : tuple of int
        Rows and columns.
    exponent : float
        Fall of the power with wave number [1].
    longest : float
        Wavelength beyond which the power stays level [pixel].

    Returns
    -------
    array
        The field (y, x) [1].
    """
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    rows, columns = fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])
    power = (rows[:, None] ** 2 + columns[None, :] ** 2 + longest**-2.0) ** (-0.5 * exponent)
    power[0, 0] = 0.0
    field = fft.irfft2(white * np.sqrt(power).astype(np.float32), s=shape)
    return np.asarray(field / field.std(), dtype=np.float32)


def _logistic(argument: npt.ArrayLike) -> Raster:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(argument, -50.0, 50.0))), dtype=np.float32)


def _smooth_step(argument: npt.ArrayLike) -> Raster:
    inside = np.clip(np.asarray(argument, dtype=np.float32), 0.0, 1.0)
    return np.asarray(inside * inside * (3.0 - 2.0 * inside), dtype=np.float32)


def _axes(shape: tuple[int, int], angle: float) -> tuple[Raster, Raster]:
    """Coordinates across and along a direction [pixel]."""
    row, column = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return column * cos + row * sin, row * cos - column * sin


def _terrain(
    rng: np.random.Generator, shape: tuple[int, int], *, pixel_size: float, relief: float, river: str, size: float
) -> tuple[Raster, Classes]:
    """Heights, and the class of water (zero for land)."""
    extent = float(max(shape))
    # Ridges stand apart far enough that their flanks stay near 30 degree, as folded limestone does.
    spacing = float(np.clip(4.0 * relief / pixel_size, extent / 2.5, 1.2 * extent))
    across, _ = _axes(shape, math.radians(rng.uniform(15.0, 50.0)))
    warp = fractal_field(rng, shape, exponent=5.0, longest=0.6 * extent)
    phase = across / spacing + 0.25 * min(0.4, 0.3 * extent / spacing) * warp + np.float32(rng.uniform())
    ridge = (0.5 - 0.5 * np.cos(2.0 * math.pi * phase)) ** 1.3
    rough = fractal_field(rng, shape, exponent=4.4, longest=0.3 * extent)
    profile = ridge * (1.0 + 0.20 * rough) + 0.02 * fractal_field(rng, shape, exponent=4.5, longest=0.5 * extent)
    water = np.zeros(shape, dtype=np.uint8)
    floor = np.abs(phase - np.round(phase)) * spacing
    low = float(profile.min())
    if river in RIVERS:
        number = np.round(phase).astype(np.int64)
        other = CLEAR_WATER if river == "turbid" else TURBID_WATER
        wet = floor < 0.5 * size
        water[wet] = np.where(number[wet] % 2 == 0, RIVERS[river], other)
        if not (water == RIVERS[river]).any():
            water[wet] = RIVERS[river]
        profile = low + (profile - low) * _smooth_step((floor - 0.5 * size) / (1.5 * size))
    profile = _with_lake(rng, profile, water, size=size)
    span = float(np.ptp(profile))
    return np.asarray(200.0 + relief * (profile - profile.min()) / max(span, 1e-6), dtype=np.float32), water


def _with_lake(rng: np.random.Generator, profile: Raster, water: Classes, *, size: float) -> Raster:
    """Put a lake on the lowest of some places, in both arrays."""
    rows, columns = profile.shape
    places = np.stack([rng.integers(rows // 8, rows - rows // 8, 24), rng.integers(columns // 8, columns, 24)])
    heights = np.where(water[places[0], places[1]] > 0, np.inf, profile[places[0], places[1]])
    row, column = places[:, int(np.argmin(heights))]
    wobble = fractal_field(rng, profile.shape, exponent=4.0, longest=4.0 * size)
    distance = np.hypot(np.arange(rows)[:, None] - row, np.arange(columns)[None, :] - column) / (1.6 * size)
    distance = distance * (1.0 + 0.15 * wobble)
    lake = (distance < 1.0) & (water == 0)
    water[lake] = CLEAR_WATER
    level = profile[row, column]
    shore = _smooth_step((distance - 1.0) / 0.8)
    return np.asarray(np.where(water == TURBID_WATER, profile, level + (profile - level) * shore), dtype=np.float32)


def _lattice(
    rng: np.random.Generator, shape: tuple[int, int], *, width: float, length: float, angle: float
) -> tuple[npt.NDArray[np.int32], Raster]:
    """Rectangles: their numbers, and the distance to the nearest edge [pixel]."""
    across, along = _axes(shape, angle)
    across, along = across - across.min(), along - along.min()
    edges = np.cumsum(width * rng.uniform(0.6, 1.5, int(across.max() / (0.6 * width)) + 2)).astype(np.float32)
    strip = np.searchsorted(edges, across.ravel(), side="right").reshape(shape)
    start = np.concatenate([[0.0], edges]).astype(np.float32)
    lengths = (length * rng.uniform(0.6, 1.6, edges.size + 1)).astype(np.float32)
    place = along / lengths[strip] + rng.uniform(size=edges.size + 1).astype(np.float32)[strip]
    cell = np.floor(place)
    inside = np.minimum(across - start[strip], np.append(edges, np.float32(1e9))[strip] - across)
    margin = np.minimum(place - cell, cell + 1.0 - place) * lengths[strip]
    per_strip = int(along.max() / (0.6 * length)) + 4
    return (strip * per_strip + cell).astype(np.int32), np.minimum(inside, margin).astype(np.float32)


def _cover(
    rng: np.random.Generator, dem: Raster, water: Classes, *, pixel_size: float, urban_fraction: float, size: float
) -> tuple[Classes, npt.NDArray[np.int32]]:
    """Materials and numbers of patches."""
    shape = dem.shape
    south, east = np.gradient(dem, pixel_size)
    slope = np.degrees(np.arctan(np.hypot(south, east)))
    angles = rng.uniform(0.0, math.pi / 2, 3)
    one, _ = _lattice(rng, shape, width=size, length=1.7 * size, angle=angles[0])
    two, _ = _lattice(rng, shape, width=0.8 * size, length=1.3 * size, angle=angles[1])
    region = fractal_field(rng, shape, exponent=4.0, longest=20.0 * size)
    patch = np.where(region > 0.0, one, two + int(one.max()) + 1)
    kinds = rng.choice([WINTER_CROP, SUMMER_CROP, SOIL, GRASS], size=int(patch.max()) + 1, p=[0.38, 0.36, 0.12, 0.14])
    material = kinds[patch].astype(np.uint8)
    woods = fractal_field(rng, shape, exponent=3.0, longest=10.0 * size)
    material[slope + 6.0 * woods > 20.0] = FOREST
    material[woods > 1.1] = FOREST
    place = fractal_field(rng, shape, exponent=4.0, longest=12.0 * size) - 0.08 * slope
    town = place >= np.quantile(place, 1.0 - urban_fraction) if urban_fraction > 0.0 else np.zeros(shape, np.bool_)
    patch = _build(rng, material, patch, town, size=size, angle=angles[2])
    across, _ = _axes(shape, angles[2] + 0.4)
    winding = across + 2.0 * size * fractal_field(rng, shape, exponent=5.0, longest=20.0 * size)
    material[np.abs(winding - np.median(winding)) < max(0.07 * size, 0.7)] = STREET
    material[water > 0] = water[water > 0]
    return material, patch.astype(np.int32)


def _build(
    rng: np.random.Generator,
    material: Classes,
    patch: npt.NDArray[np.int32],
    town: BoolArray,
    *,
    size: float,
    angle: float,
) -> npt.NDArray[np.int32]:
    """Fill towns with roofs, parks and streets, in `material`; gives the numbers of patches."""
    block, edge = _lattice(rng, material.shape, width=0.45 * size, length=0.7 * size, angle=angle)
    roofs = rng.choice(
        [ROOF, _TILE_ROOF, _BLUE_ROOF, GRASS, FOREST], size=int(block.max()) + 1, p=[0.44, 0.2, 0.1, 0.16, 0.1]
    )
    material[town] = np.where(edge < 0.09 * size, STREET, roofs[block])[town]
    return np.where(town, block + int(patch.max()) + 1, patch)


def slope_degrees(dem: Raster, *, pixel_size: float) -> Raster:
    """Slope of the terrain.

    Parameters
    ----------
    dem : array
        Heights (y, x) [m].
    pixel_size : float
        Pixel size [m].

    Returns
    -------
    array
        Slope (y, x) [degree].
    """
    south, east = np.gradient(dem, pixel_size)
    return np.asarray(np.degrees(np.arctan(np.hypot(south, east))), dtype=np.float32)


def box_average(fine: Raster, factor: int) -> Raster:
    """Mean over squares of pixels.

    Parameters
    ----------
    fine : array
        Values (..., y, x), both sides a multiple of the factor.
    factor : int
        Pixels on a side of a square [1].

    Returns
    -------
    array
        Means (..., y / factor, x / factor).
    """
    *rest, rows, columns = fine.shape
    squares = fine.reshape(*rest, rows // factor, factor, columns // factor, factor)
    return np.asarray(squares.mean(axis=(-3, -1)), dtype=np.float32)


def soften(values: Raster, *, sigma: float) -> Raster:
    """Blur each layer by a Gaussian, as optics do.

    Parameters
    ----------
    values : array
        Values (band, y, x).
    sigma : float
        Standard deviation [pixel].

    Returns
    -------
    array
        Blurred values (band, y, x).
    """
    return np.stack([ndimage.gaussian_filter(layer, sigma, mode="nearest") for layer in values])
