"""Forward model of a cloudy scene: clouds at their heights, the shadows the sun casts with them, with exact truth.

A cloud is a stack of levels of optical thickness. The sensor looks straight down through all of them; the sun shines
through them along its own ray, from each pixel of the terrain. Optical thickness here is the effective one, after what
is scattered forward is counted as transmitted (delta scaling: Joseph et al. 1976, J. Atmos. Sci. 33, 2452), so that
transmission is exp(-t) for the look down and exp(-t / sin(elevation)) for the beam. Nothing here uses the processing
it is meant to test.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio import Affine

from processors.arrays import BoolArray
from processors.imagery import grid
from processors.simulation import _imagery_simulation_kernels, imagery_landscape
from processors.simulation.imagery_landscape import Classes, Raster

CRS = "EPSG:32648"
"""System in which scenes are laid out."""

CORNER = (600_000.0, 3_280_000.0)
"""Easting and northing of the upper left corner, near Chongqing [m]."""

CLOUD_OPACITY = 0.2
"""A pixel is cloud from this opacity on [1]."""

THIN_OPACITY = 0.05
"""A pixel that is not cloud is thin cloud from this opacity on [1]."""

SHADOW_TRANSMISSION = 0.5
"""A pixel that is not cloud is in shadow where clouds let less than this share of the beam through [1]."""

CLEAR, THIN_CLOUD, CLOUD, SHADOW, WATER = 0, 1, 2, 3, 5
"""Numbers of the classification."""

KINDS = ("cumulus", "deck", "mixed")
"""Kinds of cloud."""

# Thick cloud by band: droplets keep white to 1 um and absorb beyond, ice more so (Wiscombe and Warren 1980).
_DROPLETS = dict(zip(imagery_landscape.BANDS, (0.72, 0.71, 0.70, 0.70, 0.69, 0.48, 0.36), strict=True))
_ICE = dict(zip(imagery_landscape.BANDS, (0.66, 0.66, 0.65, 0.65, 0.64, 0.33, 0.24), strict=True))

# Clear air at sea level, sun at zenith: reflectance of the path, and optical thickness that dims the ground.
_PATH = dict(zip(imagery_landscape.BANDS, (0.062, 0.034, 0.018, 0.014, 0.007, 0.001, 0.0005), strict=True))
_AIR = dict(zip(imagery_landscape.BANDS, (0.085, 0.075, 0.045, 0.035, 0.025, 0.02, 0.02), strict=True))
# Haze follows wavelength with an Angstrom exponent of 1.3, relative to blue.
_HAZE = dict(zip(imagery_landscape.BANDS, (1.0, 0.84, 0.67, 0.61, 0.49, 0.21, 0.14), strict=True))
_HAZE_REFLECTANCE = 0.35


class CloudLayer(NamedTuple):
    """Clouds of one kind."""

    heights: Raster
    """Height of the levels (level) [m]."""
    thickness: Raster
    """Effective optical thickness (level, y, x), repeating, its first pixel over that of the scene [1]."""
    ice: bool
    """Ice, else droplets."""


class CloudCover(NamedTuple):
    """An image with clouds, and the truth of these."""

    reflectance: Raster
    """Image (band, y, x) [1]."""
    opacity: Raster
    """Share of the ground the clouds hide (y, x) [1]."""
    cloud: BoolArray
    """Opacity of CLOUD_OPACITY or more (y, x)."""
    shadow: BoolArray
    """Transmission below SHADOW_TRANSMISSION and not cloud (y, x)."""


class SimulatedClouds(NamedTuple):
    """A cloudy scene, and the truth behind it."""

    scene: xr.Dataset
    """Scene stack of one date with `reflectance`, `elevation`, `slope`, and `sun_zenith`, `sun_azimuth` by time."""
    reflectance: Raster
    """What the sensor would see without clouds, haze and noise, through the same air (band, y, x) [1]."""
    opacity: Raster
    """Share of the ground the clouds hide from the sensor (y, x) [1]."""
    transmission: Raster
    """Share of the direct beam that clouds let through to the ground (y, x) [1]."""
    cloud: BoolArray
    """Opacity of CLOUD_OPACITY or more (y, x)."""
    thin: BoolArray
    """Opacity from THIN_OPACITY to CLOUD_OPACITY (y, x)."""
    shadow: BoolArray
    """Transmission below SHADOW_TRANSMISSION and not cloud (y, x)."""
    terrain_shadow: BoolArray
    """Self or cast shadow of the terrain (y, x)."""
    classification: Classes
    """0 clear, 1 thin cloud, 2 cloud, 3 shadow of a cloud, 5 water, the cloud first (y, x)."""
    class_map: Classes
    """Land cover: index into imagery_landscape.CLASSES (y, x)."""
    dem: Raster
    """Height (y, x) [m]."""
    cos_i: Raster
    """Cosine of the incidence angle (y, x) [1]."""
    layers: tuple[CloudLayer, ...]
    """The clouds."""
    landscape: imagery_landscape.Landscape
    """The land below."""


def simulate_clouds(
    *,
    seed: int,
    shape: tuple[int, int] = (400, 400),
    pixel_size: float = 10.0,
    bands: Sequence[str] = ("blue", "green", "red", "nir"),
    sun_azimuth: float = 140.0,
    sun_elevation: float = 50.0,
    cloud_fraction: float = 0.3,
    kind: str = "mixed",
    thin_fraction: float = 0.15,
    haze: float = 0.0,
    relief: float = 400.0,
    river: str = "turbid",
    urban_fraction: float = 0.12,
    feature_size: float | None = None,
    day_of_year: float = 200.0,
    top_of_atmosphere: bool = False,
    noise: float = 0.002,
    time: np.datetime64 | None = None,
    landscape: imagery_landscape.Landscape | None = None,
) -> SimulatedClouds:
    """View a landscape through clouds.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    bands : sequence of str
        Bands, of imagery_landscape.BANDS.
    sun_azimuth : float
        Azimuth of the sun, clockwise from north [degree].
    sun_elevation : float
        Elevation of the sun [degree].
    cloud_fraction : float
        Share of pixels that are cloud, 0 to 1 [1].
    kind : str
        "cumulus", "deck" or "mixed".
    thin_fraction : float
        Share of the scene under thin cirrus (opacity up to 0.2, so that it is no cloud by itself) [1].
    haze : float
        Mean effective optical thickness of haze at blue [1].
    relief : float
        Height between the lowest and the highest pixel [m].
    river : str
        "turbid", "clear" or "none".
    urban_fraction : float
        Share of land in towns [1].
    feature_size : float, optional
        Width of a field [m].
    day_of_year : float
        Day of the year [d].
    top_of_atmosphere : bool
        Add the scattering of clear air; else only cloud and haze stand above the ground.
    noise : float
        Standard deviation of the sensor's noise [1].
    time : np.datetime64, optional
        Acquisition time (UTC); by default 03:30 on the day of 2025.
    landscape : Landscape, optional
        Land to view, instead of a new one; its shape and pixel size count.

    Returns
    -------
    SimulatedClouds
        The same for the same arguments.

    Raises
    ------
    ValueError
        A fraction outside 0 to 1, or an unknown kind.
    """
    if landscape is None:
        landscape = imagery_landscape.lay_out(
            seed=seed,
            shape=shape,
            pixel_size=pixel_size,
            relief=relief,
            river=river,
            urban_fraction=urban_fraction,
            feature_size=feature_size,
        )
    layers = simulate_layers(
        landscape.dem,
        seed=seed,
        pixel_size=landscape.pixel_size,
        cloud_fraction=cloud_fraction,
        kind=kind,
        thin_fraction=thin_fraction,
        sun_elevation=sun_elevation,
    )
    sun = _Sun(sun_azimuth, sun_elevation)
    rng = np.random.default_rng([seed, 23])
    air = _Air(top_of_atmosphere, _haze(rng, landscape.dem.shape, haze))
    seen = _view(landscape, layers, sun, air, bands=tuple(bands), day_of_year=day_of_year, rng=rng)
    noisy = seen.cloudy + np.float32(noise) * rng.standard_normal(seen.cloudy.shape, dtype=np.float32)
    moment = time if time is not None else _moment(day_of_year)
    scene = _scene(noisy, landscape, sun, bands=tuple(bands), time=moment, seed=seed, toa=top_of_atmosphere)
    return _with_truth(scene, seen, landscape, layers)


def simulate_layers(
    dem: Raster,
    *,
    seed: int,
    pixel_size: float,
    cloud_fraction: float = 0.3,
    kind: str = "mixed",
    thin_fraction: float = 0.15,
    sun_elevation: float = 50.0,
) -> tuple[CloudLayer, ...]:
    """Put clouds above terrain so that an exact share of the pixels is cloud.

    Parameters
    ----------
    dem : array
        Heights of the terrain (y, x) [m].
    seed : int
        Seed of all randomness.
    pixel_size : float
        Pixel size [m].
    cloud_fraction : float
        Share of pixels with an opacity of CLOUD_OPACITY or more [1].
    kind : str
        "cumulus", "deck" or "mixed".
    thin_fraction : float
        Share of the scene under thin cirrus [1].
    sun_elevation : float
        Elevation of the sun, which decides how far beyond the scene clouds matter [degree].

    Returns
    -------
    tuple of CloudLayer
        Low clouds, then cirrus where wanted.

    Raises
    ------
    ValueError
        A fraction outside 0 to 1, or an unknown kind.
    """
    if not (0.0 <= cloud_fraction <= 1.0 and 0.0 <= thin_fraction <= 1.0):
        raise ValueError("fractions of cloud are between 0 and 1")
    if kind not in KINDS:
        raise ValueError(f"no cloud is {kind!r}")
    rng = np.random.default_rng([seed, 21])
    # Low enough for most shadows to fall inside the scene with the cloud that casts them.
    highest = min(1800.0, 0.35 * pixel_size * max(dem.shape) * math.tan(math.radians(sun_elevation)))
    clearance = rng.uniform(0.22, 1.0) * highest
    base = float(dem.max()) + clearance
    reach = (base + 1500.0 - float(dem.min())) / math.tan(math.radians(sun_elevation)) / pixel_size
    padded = tuple(side + int(min(reach, float(side))) for side in dem.shape)
    window = (slice(0, dem.shape[0]), slice(0, dem.shape[1]))
    cirrus = _cirrus(rng, (padded[0], padded[1]), window, thin_fraction)
    density = _density(rng, (padded[0], padded[1]), kind)
    threshold = _threshold(density[window], cirrus[window], cloud_fraction)
    low = _thickness(density, threshold)
    if cloud_fraction == 0.0:
        low = np.zeros_like(low)
    depth = clearance * (rng.uniform(0.1, 0.25) if kind == "deck" else rng.uniform(0.25, 0.7))
    layers = (_stacked(low, base=base, depth=depth),)
    if thin_fraction == 0.0:
        return layers
    height = np.array([rng.uniform(7000.0, 11000.0)], dtype=np.float32)
    return (*layers, CloudLayer(height, cirrus[None], True))


def nadir_thickness(layers: Sequence[CloudLayer], dem: Raster) -> Raster:
    """Effective optical thickness seen from straight above.

    Parameters
    ----------
    layers : sequence of CloudLayer
        The clouds.
    dem : array
        Heights of the terrain (y, x) [m].

    Returns
    -------
    array
        Sum over all levels above the terrain (y, x) [1].
    """
    return _along(layers, dem, 0.0, 0.0)


def sun_transmission(
    layers: Sequence[CloudLayer], dem: Raster, *, pixel_size: float, sun_azimuth: float, sun_elevation: float
) -> Raster:
    """Share of the direct beam that reaches the ground, along the ray from each pixel of the terrain to the sun.

    Parameters
    ----------
    layers : sequence of CloudLayer
        The clouds.
    dem : array
        Heights of the terrain (y, x) [m].
    pixel_size : float
        Pixel size [m].
    sun_azimuth : float
        Azimuth of the sun, clockwise from north [degree].
    sun_elevation : float
        Elevation of the sun [degree].

    Returns
    -------
    array
        exp(-t / sin(elevation)), with t summed over the levels where the ray crosses them (y, x) [1].
    """
    azimuth, elevation = math.radians(sun_azimuth), math.radians(sun_elevation)
    reach = 1.0 / math.tan(elevation) / pixel_size
    crossed = _along(layers, dem, -math.cos(azimuth) * reach, math.sin(azimuth) * reach)
    return np.asarray(np.exp(-crossed / math.sin(elevation)), dtype=np.float32)


def cover(
    seen: Raster,
    layers: Sequence[CloudLayer],
    dem: Raster,
    *,
    bands: Sequence[str],
    pixel_size: float,
    sun_azimuth: float,
    sun_elevation: float,
    rng: np.random.Generator,
) -> CloudCover:
    """Lay clouds and their shadows over an image.

    Parameters
    ----------
    seen : array
        Cloud-free image (band, y, x) [1].
    layers : sequence of CloudLayer
        The clouds.
    dem : array
        Heights of the terrain (y, x) [m].
    bands : sequence of str
        Names of the bands.
    pixel_size : float
        Pixel size [m].
    sun_azimuth : float
        Azimuth of the sun, clockwise from north [degree].
    sun_elevation : float
        Elevation of the sun [degree].
    rng : np.random.Generator
        Source of the texture of clouds.

    Returns
    -------
    CloudCover
        The image with clouds, and their truth.
    """
    transmission = sun_transmission(
        layers, dem, pixel_size=pixel_size, sun_azimuth=sun_azimuth, sun_elevation=sun_elevation
    )
    thickness = nadir_thickness(layers, dem)
    glow = _glow(rng, thickness, _Sun(sun_azimuth, sun_elevation))
    opacity = np.asarray(1.0 - np.exp(-thickness), dtype=np.float32)
    image = np.empty_like(seen)
    for layer, ground, band in zip(image, seen, bands, strict=True):
        share = imagery_landscape.DIFFUSE_SHARE[band]
        layer[:] = ground * ((1.0 - share) * transmission + share) * (1.0 - opacity) + _DROPLETS[band] * glow * opacity
    cloud = opacity >= CLOUD_OPACITY
    return CloudCover(image, opacity, cloud, (transmission < SHADOW_TRANSMISSION) & ~cloud)


def grid_box(shape: tuple[int, int], pixel_size: float) -> GeoBox:
    """Grid of a simulated scene.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].

    Returns
    -------
    GeoBox
        North up, its upper left corner at CORNER.
    """
    return GeoBox(shape, Affine(pixel_size, 0.0, CORNER[0], 0.0, -pixel_size, CORNER[1]), CRS)


class _Sun(NamedTuple):
    azimuth: float
    elevation: float


class _Air(NamedTuple):
    molecules: bool
    haze: Raster


class _View(NamedTuple):
    clear: Raster
    cloudy: Raster
    opacity: Raster
    transmission: Raster
    light: imagery_landscape.Illumination


def _along(layers: Sequence[CloudLayer], dem: Raster, reach_row: float, reach_column: float) -> Raster:
    total = np.zeros(dem.shape, dtype=np.float32)
    for layer in layers:
        total += _imagery_simulation_kernels.slant_thickness(
            layer.thickness, layer.heights, dem, reach_row, reach_column
        )
    return total


def _density(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> Raster:
    """What a threshold turns into clouds: lumps of a size, on a slowly varying field."""
    side = float(min(shape))
    lump = rng.uniform(6.0, 0.12 * side + 7.0)
    wide = imagery_landscape.fractal_field(rng, shape, exponent=5.0, longest=0.8 * side)
    lumps = imagery_landscape.fractal_field(rng, shape, exponent=5.0, longest=2.5 * lump)
    share = {"cumulus": 0.75, "deck": 0.25, "mixed": 0.5}[kind]
    edges = imagery_landscape.fractal_field(rng, shape, exponent=3.6, longest=lump)
    return np.asarray(math.sqrt(1.0 - share) * wide + math.sqrt(share) * lumps + 0.12 * edges, dtype=np.float32)


def _thickness(density: Raster, threshold: float) -> Raster:
    """Effective optical thickness: from nothing at the soft edge to opaque."""
    return np.asarray(4.5 * np.clip((density - threshold) / 1.3, 0.0, 1.2) ** 1.4, dtype=np.float32)


def _threshold(density: Raster, cirrus: Raster, fraction: float) -> float:
    """Threshold at which a share of the pixels is cloud, by bisection of a falling function."""
    low, high = float(density.min()) - 2.0, float(density.max()) + 1.0
    wanted = -math.log(1.0 - CLOUD_OPACITY)
    for _ in range(30):
        middle = 0.5 * (low + high)
        share = np.mean(_thickness(density, middle) + cirrus >= wanted)
        low, high = (middle, high) if share >= fraction else (low, middle)
    return low


def _cirrus(rng: np.random.Generator, shape: tuple[int, int], window: tuple[slice, slice], fraction: float) -> Raster:
    """Streaks of thin ice cloud that stay just below the mark of cloud."""
    streaks = imagery_landscape.fractal_field(rng, shape, exponent=4.2, longest=0.5 * min(shape))
    if fraction == 0.0:
        return np.zeros_like(streaks)
    start = np.quantile(streaks[window], 1.0 - fraction)
    return np.asarray(0.22 * np.clip((streaks - start) / 1.5, 0.0, 1.0), dtype=np.float32)


def _stacked(thickness: Raster, *, base: float, depth: float, levels: int = 4) -> CloudLayer:
    """Levels of a column: thicker columns reach higher."""
    top = np.sqrt(np.clip(thickness / 5.0, 0.0, 1.0)) * levels
    filled = np.stack([np.clip(top - k, 0.0, 1.0) for k in range(levels)])
    filled[0] = np.maximum(filled[0], 1e-6)
    shares = filled / filled.sum(axis=0)
    heights = base + depth * (np.arange(levels) + 0.5) / levels
    return CloudLayer(heights.astype(np.float32), np.ascontiguousarray(shares * thickness, dtype=np.float32), False)


def _haze(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Raster:
    field = imagery_landscape.fractal_field(rng, shape, exponent=4.0, longest=0.7 * min(shape))
    return np.asarray(mean * np.clip(1.0 + 0.5 * field, 0.0, None), dtype=np.float32)


def _view(
    landscape: imagery_landscape.Landscape,
    layers: Sequence[CloudLayer],
    sun: _Sun,
    air: _Air,
    *,
    bands: tuple[str, ...],
    day_of_year: float,
    rng: np.random.Generator,
) -> _View:
    """Ground, light, shadow, haze, cloud, in the order in which the light meets them."""
    dem, pixel_size = landscape.dem, landscape.pixel_size
    flat = imagery_landscape.reflectance(landscape, bands=bands, day_of_year=day_of_year)
    geometry = {"pixel_size": pixel_size, "sun_azimuth": sun.azimuth, "sun_elevation": sun.elevation}
    light = imagery_landscape.illuminate(dem, **geometry)
    transmission = sun_transmission(layers, dem, **geometry)
    clear = imagery_landscape.soften(imagery_landscape.lit(flat, light, bands=bands), sigma=0.5)
    shaded = imagery_landscape.lit(flat, light, bands=bands, transmission=transmission)
    cloudy = imagery_landscape.soften(shaded, sigma=0.5)
    thickness = nadir_thickness(layers, dem)
    ice = nadir_thickness([layer for layer in layers if layer.ice], dem)
    glow = _glow(rng, thickness, sun)
    mass = 1.0 / math.sin(math.radians(sun.elevation))
    opacity = np.asarray(1.0 - np.exp(-thickness), dtype=np.float32)
    for index, band in enumerate(bands):
        clear[index] = _through_air(clear[index], band, air.molecules, mass)
        below = _through_air(cloudy[index], band, air.molecules, mass)
        veil = np.exp(-np.float32(_HAZE[band]) * air.haze)
        below = below * veil + np.float32(_HAZE_REFLECTANCE) * (1.0 - veil)
        white = _DROPLETS[band] + (_ICE[band] - _DROPLETS[band]) * ice / np.maximum(thickness, 1e-6)
        # Half of the air lies below the clouds and is hidden by them.
        above = _through_air(np.asarray(white * glow, dtype=np.float32), band, air.molecules, mass, share=0.5)
        cloudy[index] = below * (1.0 - opacity) + above * opacity
    return _View(clear, cloudy.astype(np.float32), opacity, transmission, light)


def _through_air(ground: Raster, band: str, molecules: bool, mass: float, share: float = 1.0) -> Raster:
    """Reflectance at the top of a share of the atmosphere."""
    if not molecules:
        return ground
    dimmed = np.float32(math.exp(-share * _AIR[band] * (1.0 + mass)))
    return ground * dimmed + np.float32(share * _PATH[band] * mass)


def _glow(rng: np.random.Generator, thickness: Raster, sun: _Sun) -> Raster:
    """Relative brightness of cloud: thick is brighter, the side towards the sun more so."""
    south, east = np.gradient(thickness)
    azimuth = math.radians(sun.azimuth)
    away = south * math.cos(azimuth) - east * math.sin(azimuth)
    lumps = imagery_landscape.fractal_field(rng, thickness.shape, exponent=3.4, longest=24.0)
    return np.asarray(
        0.86 + 0.22 * (1.0 - np.exp(-0.4 * thickness)) + 0.12 * np.tanh(1.5 * away) + 0.03 * lumps, dtype=np.float32
    )


def _moment(day_of_year: float) -> np.datetime64:
    start = np.datetime64("2025-01-01T03:30:00", "ns")
    return start + np.timedelta64(round((day_of_year - 1.0) * 86400), "s")


def _scene(
    reflectance: npt.NDArray[np.float32],
    landscape: imagery_landscape.Landscape,
    sun: _Sun,
    *,
    bands: tuple[str, ...],
    time: np.datetime64,
    seed: int,
    toa: bool,
) -> xr.Dataset:
    """The house's scene stack of one date."""
    dem, pixel_size = landscape.dem, landscape.pixel_size
    slope = imagery_landscape.slope_degrees(dem, pixel_size=pixel_size)
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), reflectance[None], {"units": "1"}),
            "elevation": (("y", "x"), dem, {"units": "m"}),
            "slope": (("y", "x"), slope, {"units": "degree"}),
        },
        coords={
            "time": np.array([time], dtype="datetime64[ns]"),
            "band": list(bands),
            "sun_zenith": ("time", [90.0 - sun.elevation], {"units": "degree"}),
            "sun_azimuth": ("time", [sun.azimuth], {"units": "degree"}),
        },
        attrs={
            "source": f"simulated-clouds-{seed}",
            "area": "",
            "sensor": "simulated optical mission",
            "radiometric_level": "top_of_atmosphere_reflectance" if toa else "surface_reflectance",
        },
    )
    return grid.assign(dataset, grid_box((dem.shape[0], dem.shape[1]), pixel_size))


def _with_truth(
    scene: xr.Dataset,
    seen: _View,
    landscape: imagery_landscape.Landscape,
    layers: tuple[CloudLayer, ...],
) -> SimulatedClouds:
    cloud = seen.opacity >= CLOUD_OPACITY
    thin = (seen.opacity >= THIN_OPACITY) & ~cloud
    shadow = (seen.transmission < SHADOW_TRANSMISSION) & ~cloud
    water = np.isin(landscape.class_map, (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER))
    classification = np.select([cloud, shadow, thin, water], [CLOUD, SHADOW, THIN_CLOUD, WATER], CLEAR)
    return SimulatedClouds(
        scene,
        seen.clear,
        seen.opacity,
        seen.transmission,
        cloud,
        thin,
        shadow,
        seen.light.shadow,
        classification.astype(np.uint8),
        landscape.class_map,
        landscape.dem,
        seen.light.cos_incidence,
        layers,
        landscape,
    )
