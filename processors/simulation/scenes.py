"""Forward model of a landscape as our imager and a coarser mission see it, with exact truth.

The landscape is a function of position and day: patches of cropland, forest and town and a meandering river on
EPSG:32648. Nothing here uses the processing it is meant to test: strip geometry, solar position and the inverse of the
calibration are written out again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyproj
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import spatial

from processors import timescales
from processors.arrays import BoolArray, FloatArray, IntArray
from processors.imagery import grid, line_packet, radiometry

CRS = "EPSG:32648"
"""System in which landscapes are laid out."""

PIXELS = 2048
PIXEL_SIZE = 250.0
INTEGRATION_TIME = 2e-3
LINE_PERIOD = 1.0 / 30.0

CROPLAND, FOREST, URBAN, WATER = range(4)

_EARTH_RADIUS = 6_371_000.0
_PATCH_SIZE = 2500.0
_RIVER_WIDTH = 1100.0
_CLOUD_BASE = 1800.0

# blue, green, red, nir, swir1
_SOIL = np.array([0.080, 0.110, 0.140, 0.220, 0.300])
_CROP = np.array([0.035, 0.070, 0.040, 0.420, 0.200])
_FOREST = np.array([0.030, 0.050, 0.030, 0.320, 0.150])
_URBAN = np.array([0.120, 0.130, 0.140, 0.190, 0.220])
_WATER = np.array([0.060, 0.070, 0.050, 0.030, 0.015])
_PATH = np.array([0.035, 0.020, 0.012, 0.005, 0.001])
_CLOUD = np.array([0.650, 0.650, 0.640, 0.660, 0.550])


class Waves(NamedTuple):
    """A smooth random field: the sum of plane waves, zero mean and unit variance."""

    wavenumber: FloatArray
    """Wave vectors (wave, 2) [rad m-1]."""
    phase: FloatArray
    """Phases (wave) [rad]."""


class Landscape(NamedTuple):
    """What lies where."""

    seeds: FloatArray
    """Centers of the patches (patch, 2) [m]."""
    cover: IntArray
    """Class of every patch: 0 cropland, 1 forest, 2 town."""
    greenup: FloatArray
    """Day of year at which cropland turns green (patch) [d]."""
    vigor: FloatArray
    """Largest green cover of the season (patch) [1]."""
    brightness: FloatArray
    """Relative brightness (patch) [1]."""
    texture: Waves
    """Brightness within patches."""
    river: FloatArray
    """Amplitude [m], wavelength [m], phase [rad], mean northing [m]."""
    relief: Waves
    """Shape of the terrain."""


class SimulatedStrip(NamedTuple):
    """A strip as level 0 delivers it, and the truth behind it."""

    strip: xr.Dataset
    """`counts`, `line_valid`, `line_time`, `edge_longitude`, `edge_latitude`; attributes `gain`, `integration_time`."""
    reflectance: FloatArray
    """Reflectance at the top of the atmosphere without clouds (band, line, pixel) [1]."""
    cloud: BoolArray
    """Cloud of more than 5 % opacity (line, pixel)."""
    shadow: BoolArray
    """Shadow of such a cloud (line, pixel)."""
    longitude: FloatArray
    """Pixel centers (line, pixel) [degree]."""
    latitude: FloatArray
    """Pixel centers (line, pixel) [degree]."""
    landscape: Landscape
    """The landscape, for other views of it."""
    time: np.datetime64
    """Middle of the strip (UTC)."""


def simulate_landscape(*, seed: int, center: tuple[float, float] = (106.5, 29.5)) -> Landscape:
    """Lay out a landscape of 700 km by 400 km.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    center : tuple of float
        Longitude and latitude of the middle [degree].

    Returns
    -------
    Landscape
        Deterministic function of the arguments.
    """
    rng = np.random.default_rng([seed, 1])
    middle = np.array(_projected(*center))
    lattice = [np.arange(-half, half, _PATCH_SIZE) for half in (350e3, 200e3)]
    seeds = np.stack(np.meshgrid(*lattice), axis=-1).reshape(-1, 2) + middle
    seeds = seeds + rng.uniform(-0.5, 0.5, seeds.shape) * _PATCH_SIZE
    count = seeds.shape[0]
    region = _field(_waves(rng, shortest=15e3, longest=120e3), seeds) + rng.normal(0.0, 0.5, count)
    return Landscape(
        seeds,
        np.select([region > 1.5, region < 0.0], [URBAN, FOREST], CROPLAND).astype(np.int64),
        rng.normal(95.0, 20.0, size=(count,)),
        rng.uniform(0.5, 0.95, size=(count,)),
        rng.normal(1.0, 0.08, size=(count,)),
        _waves(rng, shortest=1500.0, longest=6000.0),
        np.array([12e3, 90e3, rng.uniform(0.0, 2.0 * np.pi), middle[1]]),
        _waves(rng, shortest=10e3, longest=80e3),
    )


def reflectance_at(landscape: Landscape, x: FloatArray, y: FloatArray, *, day_of_year: float) -> FloatArray:
    """Cloud-free reflectance at the top of the atmosphere in the imager's bands.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    x, y : FloatArray
        Position in EPSG:32648 [m].
    day_of_year : float
        Day of the year, 1 on 1 January [d].

    Returns
    -------
    FloatArray
        Reflectance (band, *shape of the position) [1].
    """
    points = np.column_stack([np.ravel(x), np.ravel(y)])
    patch = spatial.cKDTree(landscape.seeds).query(points)[1]
    cover = np.where(_in_river(landscape, points), WATER, landscape.cover[patch])
    green = _season(day_of_year - landscape.greenup[patch]) * landscape.vigor[patch]
    spectra = np.array([_SOIL, _FOREST, _URBAN, _WATER])[cover]
    field = cover == CROPLAND
    spectra[field] += green[field, None] * (_CROP - _SOIL)
    grain = landscape.brightness[patch] * (1.0 + 0.04 * _field(landscape.texture, points))
    spectra *= np.where(cover == WATER, 1.0, np.clip(grain, 0.6, 1.4))[:, None]
    return np.asarray((spectra + _PATH).T.reshape(-1, *np.shape(x)))


def truth_on_grid(landscape: Landscape, geobox: GeoBox, *, time: np.datetime64, samples: int = 1) -> FloatArray:
    """Cloud-free reflectance on a grid in EPSG:32648.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    geobox : GeoBox
        The grid.
    time : np.datetime64
        Time (UTC).
    samples : int
        Points averaged along either side of a pixel [1].

    Returns
    -------
    FloatArray
        Reflectance (band, y, x) [1].
    """
    rows, columns = geobox.shape
    transform = geobox.transform
    inner = (np.arange(samples) + 0.5) / samples
    x = transform.c + (np.arange(columns)[:, None] + inner).ravel() * transform.a
    y = transform.f + (np.arange(rows)[:, None] + inner).ravel() * transform.e
    values = reflectance_at(landscape, *np.meshgrid(x, y), day_of_year=_day_of_year(time))
    return np.asarray(values.reshape(-1, rows, samples, columns, samples).mean(axis=(2, 4)))


def simulate_external_scene(
    landscape: Landscape,
    *,
    seed: int,
    time: np.datetime64,
    bounds: Sequence[float],
    resolution: float = 1000.0,
    area: str = "",
) -> xr.Dataset:
    """A coarser scene of another mission, with slightly different radiometry.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    seed : int
        Seed of noise and radiometry.
    time : np.datetime64
        Time (UTC).
    bounds : Sequence of float
        Left, bottom, right, top in EPSG:32648 [m].
    resolution : float
        Pixel size [m].
    area : str
        Area id.

    Returns
    -------
    xr.Dataset
        Scene stack of one time with `reflectance` and `elevation`.
    """
    rng = np.random.default_rng([seed, 2])
    geobox = grid.covering(bounds, crs=CRS, resolution=resolution)
    truth = truth_on_grid(landscape, geobox, time=time, samples=4)
    gain, offset = rng.normal(1.0, 0.03, (5, 1, 1)), rng.normal(0.0, 0.004, (5, 1, 1))
    values = truth * gain + offset + rng.normal(0.0, 0.003, truth.shape)
    scene = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values.astype(np.float32)[None], {"units": "1"}),
            "elevation": (("y", "x"), _elevation(landscape, geobox).astype(np.float32), {"units": "m"}),
        },
        coords={"time": [time.astype("datetime64[ns]")], "band": list(line_packet.BANDS)},
        attrs={"source": f"simulated-external-{seed}", "area": area, "sensor": "simulated coarse imager"},
    )
    return grid.assign(scene, geobox)


def simulate_strip(
    *,
    seed: int,
    lines: int = 160,
    center: tuple[float, float] = (106.5, 29.5),
    time: np.datetime64 = np.datetime64("2024-05-15T03:20:00"),  # noqa: B008 (immutable)
    heading: float = 190.0,
    cloud_fraction: float = 0.12,
    lost_lines: float = 0.0,
    calibration: radiometry.RadiometricCalibration | None = None,
) -> SimulatedStrip:
    """A strip of our imager over a landscape.

    Parameters
    ----------
    seed : int
        Seed of landscape, clouds, noise and losses.
    lines : int
        Number of lines [1].
    center : tuple of float
        Longitude and latitude of the middle [degree].
    time : np.datetime64
        Time of the middle (UTC).
    heading : float
        Flight direction clockwise from north [degree].
    cloud_fraction : float
        Cloudy part of the strip [1].
    lost_lines : float
        Part of the lines of every band that is lost, alone or in runs [1].
    calibration : radiometry.RadiometricCalibration, optional
        Calibration that the counts shall obey.

    Returns
    -------
    SimulatedStrip
        Strip and truth.
    """
    rng = np.random.default_rng([seed, 3])
    chosen = calibration or radiometry.RadiometricCalibration()
    landscape = simulate_landscape(seed=seed, center=center)
    longitude, latitude = _pixel_positions(lines, center, heading)
    x, y = _projected(longitude, latitude)
    truth = reflectance_at(landscape, x, y, day_of_year=_day_of_year(time))
    zenith, azimuth, irradiance_factor = _sun(time, longitude, latitude)
    opacity, shade = _clouds(rng, x, y, fraction=cloud_fraction, zenith=zenith, azimuth=azimuth)
    seen = truth * (1.0 - 0.6 * shade) * (1.0 - opacity) + _CLOUD[:, None, None] * opacity
    cosine = np.cos(np.radians(zenith))
    counts = _counts(seen, rng, calibration=chosen, illumination=cosine * irradiance_factor)
    valid = _surviving(rng, lines, lost_lines)
    strip = _level0(counts, valid, longitude, latitude, time)
    cloudy = opacity > 0.05
    return SimulatedStrip(
        strip, truth, cloudy, (shade > 0.05) & ~cloudy, longitude, latitude, landscape, time.astype("datetime64[ns]")
    )


def _level0(
    counts: IntArray, valid: BoolArray, longitude: FloatArray, latitude: FloatArray, time: np.datetime64
) -> xr.Dataset:
    lines = valid.shape[1]
    line_time = float(timescales.gps_from_utc(time)) + (np.arange(lines) - (lines - 1) / 2) * LINE_PERIOD
    return xr.Dataset(
        {
            "counts": (("band", "line", "pixel"), np.where(valid[..., None], counts, 0).astype(np.uint16)),
            "line_valid": (("band", "line"), valid),
            "line_time": ("line", line_time, {"units": "s"}),
            "edge_longitude": (("line", "edge"), longitude[:, [0, -1]], {"units": "degree"}),
            "edge_latitude": (("line", "edge"), latitude[:, [0, -1]], {"units": "degree"}),
        },
        coords={"band": list(line_packet.BANDS)},
        attrs={"gain": [1.0] * 5, "integration_time": [INTEGRATION_TIME] * 5},
    )


def _counts(
    reflectance: FloatArray,
    rng: np.random.Generator,
    *,
    calibration: radiometry.RadiometricCalibration,
    illumination: FloatArray,
) -> IntArray:
    irradiance, responsivity, dark = (
        np.asarray(values)[:, None, None]
        for values in (calibration.solar_irradiance, calibration.responsivity, calibration.dark)
    )
    radiance = reflectance * irradiance * illumination / np.pi
    signal = dark + radiance * responsivity * INTEGRATION_TIME
    noisy = signal + rng.normal(0.0, 2.0, signal.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, line_packet.FULL_SCALE), dtype=np.int64)


def _surviving(rng: np.random.Generator, lines: int, lost: float) -> BoolArray:
    """Half of the losses single lines of one band, half runs of eight lines of all bands."""
    valid = np.ones((5, lines), dtype=bool)
    for band in range(5):
        valid[band, rng.choice(lines, size=round(lost * lines / 2), replace=False)] = False
    for start in rng.choice(lines, size=round(lost * lines / 16), replace=False):
        valid[:, start : start + 8] = False
    return valid


def _pixel_positions(lines: int, center: tuple[float, float], heading: float) -> tuple[FloatArray, FloatArray]:
    """Pixel centers along great circles across the track; attitude jitter moves whole lines along the track."""
    longitude, latitude, direction = np.radians([*center, heading])
    up = np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    along = np.cos(direction) * np.cross(up, east) + np.sin(direction) * east
    left = np.cross(up, along)
    number = np.arange(lines) - (lines - 1) / 2
    angle = (number + 0.25 * np.sin(2.0 * np.pi * number / 97.0)) * PIXEL_SIZE / _EARTH_RADIUS
    track = np.cos(angle)[:, None] * up + np.sin(angle)[:, None] * along
    offset = ((PIXELS - 1) / 2 - np.arange(PIXELS)) * PIXEL_SIZE / _EARTH_RADIUS
    place = np.cos(offset)[None, :, None] * track[:, None] + np.sin(offset)[None, :, None] * left
    return np.degrees(np.arctan2(place[..., 1], place[..., 0])), np.degrees(np.arcsin(np.clip(place[..., 2], -1, 1)))


def _projected(longitude: FloatArray | float, latitude: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    x, y = pyproj.Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(longitude, latitude)
    return np.asarray(x), np.asarray(y)


def _sun(time: np.datetime64, longitude: FloatArray, latitude: FloatArray) -> tuple[FloatArray, float, float]:
    """Zenith angles, azimuth of the middle [degree] and (1 au / distance)**2, Spencer (1971)."""
    turn = 2.0 * np.pi * (_day_of_year(time) - 1.0) / 365.0
    waves = np.array(
        [1.0, np.cos(turn), np.sin(turn), np.cos(2 * turn), np.sin(2 * turn), np.cos(3 * turn), np.sin(3 * turn)]
    )
    declination = waves @ [0.006918, -0.399912, 0.070257, -0.006758, 0.000907, -0.002697, 0.00148]
    equation = 229.18 * waves[:5] @ [0.000075, 0.001868, -0.032077, -0.014615, -0.040849]
    factor = waves[:5] @ [1.00011, 0.034221, 0.00128, 0.000719, 0.000077]
    minutes = (time - time.astype("datetime64[D]")) / np.timedelta64(1, "m")
    hour = np.radians((minutes + equation) / 4.0 - 180.0 + longitude)
    north = np.radians(latitude)
    cosine = np.sin(north) * np.sin(declination) + np.cos(north) * np.cos(declination) * np.cos(hour)
    toward_east = -np.cos(declination) * np.sin(hour)
    toward_north = np.cos(north) * np.sin(declination) - np.sin(north) * np.cos(declination) * np.cos(hour)
    middle = tuple(size // 2 for size in longitude.shape)
    azimuth = float(np.degrees(np.arctan2(toward_east[middle], toward_north[middle])))
    return np.degrees(np.arccos(cosine)), azimuth, float(factor)


def _clouds(
    rng: np.random.Generator, x: FloatArray, y: FloatArray, *, fraction: float, zenith: FloatArray, azimuth: float
) -> tuple[FloatArray, FloatArray]:
    """Opacity of the cloud over every pixel and of the cloud between it and the sun."""
    waves = _waves(rng, shortest=6e3, longest=60e3)
    if fraction <= 0:
        return np.zeros(x.shape), np.zeros(x.shape)
    points = np.column_stack([x.ravel(), y.ravel()])
    thickness = _field(waves, points)
    threshold = float(np.quantile(thickness, max(1.0 - fraction, 0.0))) if fraction < 1 else -np.inf
    reach = _CLOUD_BASE * np.tan(np.radians(zenith.ravel()))[:, None]
    toward_sun = np.array([np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))])
    shading = _field(waves, points + reach * toward_sun)
    over, between = (np.clip((field - threshold) / 0.25, 0.0, 0.95) for field in (thickness, shading))
    return over.reshape(x.shape), between.reshape(x.shape)


def _waves(rng: np.random.Generator, *, shortest: float, longest: float, count: int = 24) -> Waves:
    length = np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
    direction = rng.uniform(0.0, 2.0 * np.pi, count)
    vector = np.stack([np.cos(direction), np.sin(direction)], axis=1) * (2.0 * np.pi / length)[:, None]
    return Waves(vector, rng.uniform(0.0, 2.0 * np.pi, count))


def _field(waves: Waves, points: FloatArray) -> FloatArray:
    total = np.zeros(points.shape[0])
    for vector, phase in zip(waves.wavenumber, waves.phase, strict=True):
        total += np.cos(points @ vector + phase)
    return np.asarray(total * np.sqrt(2.0 / waves.phase.size))


def _in_river(landscape: Landscape, points: FloatArray) -> BoolArray:
    amplitude, wavelength, phase, northing = landscape.river
    turn = 2.0 * np.pi * points[:, 0] / wavelength + phase
    bed = northing + amplitude * np.sin(turn)
    slope = amplitude * 2.0 * np.pi / wavelength * np.cos(turn)
    return np.asarray(np.abs(points[:, 1] - bed) / np.hypot(1.0, slope) < _RIVER_WIDTH / 2)


def _season(days: FloatArray) -> FloatArray:
    """Green cover between greening and harvest, a double logistic."""
    return 1.0 / (1.0 + np.exp(-days / 10.0)) - 1.0 / (1.0 + np.exp(-(days - 110.0) / 8.0))


def _elevation(landscape: Landscape, geobox: GeoBox) -> FloatArray:
    transform = geobox.transform
    x = transform.c + (np.arange(geobox.shape[1]) + 0.5) * transform.a
    y = transform.f + (np.arange(geobox.shape[0]) + 0.5) * transform.e
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return 450.0 + 150.0 * _field(landscape.relief, points).reshape(geobox.shape)


def _day_of_year(time: np.datetime64) -> float:
    return float((time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")) + 1.0
