"""Forward model of a series of dates by a fine and a coarse sensor, with exact truth.

Season by class and field, sun by date, and land that changes in patches between dates: harvest, flood, construction.
The coarse image is the fine truth through the transfer function of a coarse detector, then another calibration and
noise. Nothing here uses the processing it is meant to test.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from scipy import ndimage

from processors.arrays import BoolArray
from processors.simulation import imagery_clouds, imagery_landscape, imagery_sensor
from processors.simulation.imagery_landscape import Classes, Raster

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
"""Bands of both sensors."""

NONE, HARVEST, FLOOD, CONSTRUCTION = range(4)
"""Numbers of the kinds of change."""

_LATITUDE = 29.5
_MARGIN = 2
_COARSE_GAIN = 0.35
_SITES = 5


class SimulatedChange(NamedTuple):
    """A series of fine and coarse images, and the truth behind them."""

    fine: Raster
    """Fine images with noise (time, band, y, x) [1]."""
    truth: Raster
    """Fine images without noise (time, band, y, x) [1]."""
    coarse: Raster
    """Coarse images (time, band, Y, X) [1]."""
    change: Classes
    """Kind of change before each date, since the first: 0 none, 1 harvest, 2 flood, 3 construction (time, y, x)."""
    class_map: Classes
    """Land cover at first: index into imagery_landscape.CLASSES (y, x)."""
    days: tuple[float, ...]
    """Day of the year of the dates [d]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    ratio: int
    """Coarse pixel over fine pixel [1]."""
    coarse_gain: tuple[float, ...]
    """Calibration of the coarse sensor over that of the fine, by band [1]."""
    coarse_bias: tuple[float, ...]
    """Reflectance the coarse sensor adds, by band [1]."""
    misregistration: tuple[float, float]
    """Way of the coarse content relative to its stated grid, down and right [fine pixel]."""
    fine_grid: GeoBox
    """Where the fine images lie."""
    coarse_grid: GeoBox
    """Where the coarse images say they lie."""


def simulate_change(
    *,
    seed: int,
    shape: tuple[int, int] = (240, 240),
    ratio: int = 16,
    pixel_size: float = 30.0,
    bands: Sequence[str] = BANDS,
    days: Sequence[float] = (96.0, 144.0, 192.0),
    change_fraction: float = 0.06,
    change_before: int | None = 1,
    gain_spread: float = 0.04,
    bias_spread: float = 0.004,
    fine_noise: float = 0.002,
    coarse_noise: float = 0.002,
    misregistration: tuple[float, float] = (0.0, 0.0),
    relief: float = 200.0,
    urban_fraction: float = 0.10,
    feature_size: float | None = None,
) -> SimulatedChange:
    """View a landscape on some dates with a fine and a coarse sensor.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns of the fine images, multiples of the ratio.
    ratio : int
        Coarse pixel over fine pixel.
    pixel_size : float
        Fine pixel size [m].
    bands : sequence of str
        Bands, of imagery_landscape.BANDS.
    days : sequence of float
        Days of the year of the dates, rising [d].
    change_fraction : float
        Share of the land that changes in patches, by each kind a third [1].
    change_before : int, optional
        Position of the date before which all patches change [1]; without it, a patch before any date but the first.
    gain_spread, bias_spread : float
        Standard deviation of the coarse sensor's gain about 1 and of its bias by band [1].
    fine_noise, coarse_noise : float
        Standard deviation of the noise [1].
    misregistration : tuple of float
        Way of the coarse content relative to its stated grid, down and right [fine pixel].
    relief : float
        Height between the lowest and the highest pixel [m].
    urban_fraction : float
        Share of land in towns [1].
    feature_size : float, optional
        Width of a field [m].

    Returns
    -------
    SimulatedChange
        The same for the same arguments.

    Raises
    ------
    ValueError
        A shape that does not divide by the ratio, or days that do not rise.
    """
    if any(side % ratio for side in shape):
        raise ValueError(f"{shape} does not divide by the ratio {ratio}")
    if any(late <= early for early, late in itertools.pairwise(days)):
        raise ValueError("the days do not rise")
    bands = tuple(bands)
    rng = np.random.default_rng([seed, 51])
    margin = _MARGIN * ratio
    landscape = imagery_landscape.lay_out(
        seed=seed,
        shape=(shape[0] + 2 * margin, shape[1] + 2 * margin),
        pixel_size=pixel_size,
        relief=relief,
        urban_fraction=urban_fraction,
        feature_size=feature_size,
    )
    changes = _changes(rng, landscape, change_fraction, len(days), change_before)
    wide = np.stack([_seen(changed(landscape, kinds), bands, day) for kinds, day in zip(changes, days, strict=True)])
    gains = rng.normal(1.0, gain_spread, len(bands)).astype(np.float32)
    biases = rng.normal(0.0, bias_spread, len(bands)).astype(np.float32)
    ideal = np.stack([coarsened(image, ratio=ratio, margin=margin, displacement=misregistration) for image in wide])
    coarse = ideal * gains[:, None, None] + biases[:, None, None]
    coarse += np.float32(coarse_noise) * rng.standard_normal(coarse.shape, dtype=np.float32)
    inner = (..., slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    truth = np.ascontiguousarray(wide[inner])
    fine = truth + np.float32(fine_noise) * rng.standard_normal(truth.shape, dtype=np.float32)
    fine_grid = imagery_clouds.grid_box(shape, pixel_size)
    return SimulatedChange(
        fine,
        truth,
        coarse,
        np.ascontiguousarray(changes[inner]),
        np.ascontiguousarray(landscape.class_map[inner]),
        tuple(days),
        bands,
        ratio,
        tuple(gains.tolist()),
        tuple(biases.tolist()),
        misregistration,
        fine_grid,
        imagery_sensor.coarser_grid(fine_grid, ratio),
    )


def coarsened(
    image: Raster,
    *,
    ratio: int,
    margin: int,
    displacement: tuple[float, float] = (0.0, 0.0),
    gain: float = _COARSE_GAIN,
) -> Raster:
    """What a coarse sensor sees of a fine image, away from its margins.

    Parameters
    ----------
    image : array
        Fine image with margins (band, y, x).
    ratio : int
        Coarse pixel over fine pixel.
    margin : int
        Width of the margins [fine pixel].
    displacement : tuple of float
        Way of the content in the coarse image, down and right [fine pixel].
    gain : float
        Gain of the coarse sensor at its Nyquist frequency [1].

    Returns
    -------
    array
        Coarse image (band, (y - 2 margin) / ratio, (x - 2 margin) / ratio).
    """
    rows, columns = ((side - 2 * margin) // ratio for side in image.shape[1:])
    origin = (margin - displacement[0], margin - displacement[1])
    return np.stack(
        [imagery_sensor.observe(layer, pixel=ratio, gain=gain, origin=origin, shape=(rows, columns)) for layer in image]
    )


def changed(landscape: imagery_landscape.Landscape, kinds: Classes) -> imagery_landscape.Landscape:
    """A landscape after its patches have changed.

    Parameters
    ----------
    landscape : Landscape
        The landscape before.
    kinds : array
        Kind of change (y, x): 0 none, 1 harvest to bare soil, 2 flood to turbid water, 3 construction to roofs.

    Returns
    -------
    Landscape
        The landscape after.
    """
    become = np.array(
        [0, imagery_landscape.SOIL, imagery_landscape.TURBID_WATER, imagery_landscape.ROOF], dtype=np.uint8
    )[kinds]
    touched = kinds != NONE
    return landscape._replace(
        class_map=np.where(touched, become, landscape.class_map),
        material=np.where(touched, become, landscape.material),
        brightness=np.where(kinds == FLOOD, np.float32(1.0), landscape.brightness),
    )


def sun_position(day_of_year: float) -> tuple[float, float]:
    """Sun at half past ten local solar time near Chongqing, by the declination alone (Cooper 1969).

    Parameters
    ----------
    day_of_year : float
        Day of the year [d].

    Returns
    -------
    tuple of float
        Azimuth clockwise from north and elevation [degree].
    """
    declination = math.radians(23.45) * math.sin(2.0 * math.pi * (284.0 + day_of_year) / 365.0)
    latitude, hour = math.radians(_LATITUDE), math.radians(-22.5)
    up = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(declination) * math.cos(hour)
    east = -math.cos(declination) * math.sin(hour)
    north = math.cos(latitude) * math.sin(declination) - math.sin(latitude) * math.cos(declination) * math.cos(hour)
    return math.degrees(math.atan2(east, north)) % 360.0, math.degrees(math.asin(up))


def _seen(landscape: imagery_landscape.Landscape, bands: tuple[str, ...], day: float) -> Raster:
    """Fine image without noise."""
    azimuth, elevation = sun_position(day)
    light = imagery_landscape.illuminate(
        landscape.dem, pixel_size=landscape.pixel_size, sun_azimuth=azimuth, sun_elevation=elevation
    )
    flat = imagery_landscape.reflectance(landscape, bands=bands, day_of_year=day)
    return imagery_landscape.soften(imagery_landscape.lit(flat, light, bands=bands), sigma=0.5)


def _changes(
    rng: np.random.Generator,
    landscape: imagery_landscape.Landscape,
    fraction: float,
    dates: int,
    before: int | None,
) -> Classes:
    """Kind of change of every pixel at every date (time, y, x), growing only."""
    kinds = np.zeros(landscape.dem.shape, dtype=np.uint8)
    start = np.full(landscape.dem.shape, dates)
    for kind, area in ((HARVEST, _harvest), (CONSTRUCTION, _construction), (FLOOD, _flood)):
        for part in area(rng, landscape, fraction / 3.0):
            kinds[part] = kind
            start[part] = rng.integers(1, dates) if before is None else before
    return np.where(np.arange(dates)[:, None, None] >= start, kinds, NONE).astype(np.uint8)


def _harvest(rng: np.random.Generator, landscape: imagery_landscape.Landscape, fraction: float) -> list[BoolArray]:
    """Whole fields of crops, field by field."""
    crops = np.isin(landscape.class_map, (imagery_landscape.WINTER_CROP, imagery_landscape.SUMMER_CROP))
    numbers, counts = np.unique(landscape.patch[crops], return_counts=True)
    order = rng.permutation(numbers.size)
    enough = np.cumsum(counts[order]) <= fraction * crops.size
    return [crops & (landscape.patch == number) for number in numbers[order][enough]]


def _construction(rng: np.random.Generator, landscape: imagery_landscape.Landscape, fraction: float) -> list[BoolArray]:
    """Rectangles on dry land, a few."""
    dry = ~np.isin(landscape.class_map, (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER))
    side = max(int(math.sqrt(fraction * dry.size / _SITES)), 1) if fraction > 0.0 else 0
    sites = []
    for _ in range(_SITES):
        row, column = (int(rng.integers(0, max(length - side, 1))) for length in dry.shape)
        site = np.zeros(dry.shape, dtype=np.bool_)
        site[row : row + side, column : column + side] = True
        sites.append(site & dry)
    return sites


def _flood(rng: np.random.Generator, landscape: imagery_landscape.Landscape, fraction: float) -> list[BoolArray]:
    """Land next to water, the nearest and lowest first."""
    water = np.isin(landscape.class_map, (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER))
    distance = ndimage.distance_transform_edt(~water) if water.any() else np.ones(water.shape)
    rough = imagery_landscape.fractal_field(rng, water.shape, exponent=4.0, longest=0.4 * min(water.shape))
    depth = distance * np.exp(0.7 * rough)
    depth[water] = np.inf
    return [depth <= np.quantile(depth, fraction)] if fraction > 0.0 else []
