"""Forward model of two views of one landscape, displaced against each other by a known field, with exact truth.

Two optical views, or an optical and a radar one. Constant shifts are made by the phase of the spectrum, fields of
displacement by splines of fifth order on a band-limited image sampled twice as fine as the pixel. Displacements are
those of the target's content relative to the reference, positive down and right. Nothing here uses the processing it is
meant to test.

The radar's answer is written down by land cover, green cover and geometry: a slope towards the radar squeezes ground
into less slant range (Small 2011, IEEE Trans. Geosci. Remote Sens. 49, 3081), speckle is multiplicative with a gamma
distribution of the number of looks (Oliver and Quegan 2004, section 4.3).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from scipy import fft, ndimage

from processors.arrays import BoolArray
from processors.simulation import (
    _imagery_simulation_kernels,
    imagery_clouds,
    imagery_landscape,
    imagery_sensor,
)
from processors.simulation.imagery_landscape import Raster

OPTICAL_BANDS = ("blue", "green", "red", "nir")
"""Bands of the optical views."""

POLARIZATIONS = ("vv", "vh")
"""Polarizations of the radar."""

NOISE_FLOOR = 10.0 ** (-2.4)
"""Noise-equivalent backscatter [1]."""

_FINER = 2
_GAIN = 0.3
_MARGIN = 16
_REACH_STEP = 32

# Gamma nought by class of bare ground, and what full green cover adds: vv, vh [dB]. Our round numbers for C band, of
# the kind in Ulaby and Dobson (1989), Handbook of Radar Scattering Statistics for Terrain: contrasts, not measurements.
_BARE = np.array(
    [
        [-9.0, -15.0],
        [-13.0, -21.5],
        [-12.5, -21.0],
        [-13.5, -22.0],
        [-12.5, -22.0],
        [-3.0, -10.0],
        [-17.0, -25.0],
        [-21.0, -28.0],
        [-20.0, -28.0],
    ]
)
_GREEN = np.array([[1.5, 2.0], [2.5, 4.5], [3.5, 5.5], [1.5, 2.5]] + [[0.0, 0.0]] * 5)
_SPREAD = np.array([0.5, 0.7, 0.7, 0.7, 1.0, 4.0, 1.0, 0.3, 0.3])


class SimulatedPair(NamedTuple):
    """Two optical views, and the truth behind them."""

    reference: Raster
    """Reference image (band, y, x) [1]."""
    target: Raster
    """Target image, displaced (band, y, x) [1]."""
    aligned_target: Raster
    """The target as it would be without displacement, clouds and noise (band, y, x) [1]."""
    displacement: Raster
    """Way of the target's content from each pixel of the reference, down and right (2, y, x) [pixel]."""
    reference_cloud: BoolArray
    """Cloud or its shadow in the reference (y, x)."""
    target_cloud: BoolArray
    """Cloud or its shadow in the target (y, x)."""
    dem: Raster
    """Heights on the reference's grid (y, x) [m]."""
    bands: tuple[str, ...]
    """Names of the bands."""
    grid: GeoBox
    """Grid both images claim."""
    related: bool
    """False where the target shows another place."""


class SimulatedRadarPair(NamedTuple):
    """An optical and a radar view, and the truth behind them."""

    optical: Raster
    """Reference image (band, y, x) [1]."""
    backscatter: Raster
    """Gamma nought in linear units with speckle, displaced (polarization, y, x) [1]."""
    mean_backscatter: Raster
    """The same without speckle (polarization, y, x) [1]."""
    displacement: tuple[float, float]
    """Way of the radar's content, down and right [pixel]."""
    layover: BoolArray
    """Pixels that share their slant range with others, in the radar image (y, x)."""
    radar_shadow: BoolArray
    """Pixels the radar does not see, in the radar image (y, x)."""
    local_incidence: Raster
    """Angle between the normal of the terrain and the radar, on the optical grid (y, x) [degree]."""
    dem: Raster
    """Heights on the optical grid (y, x) [m]."""
    bands: tuple[str, ...]
    """Names of the optical bands."""
    grid: GeoBox
    """Grid both images claim."""
    looks: float
    """Number of looks [1]."""


class RadarGeometry(NamedTuple):
    """How a side-looking radar sees terrain."""

    layover: BoolArray
    """Shares its slant range with other terrain (y, x)."""
    shadow: BoolArray
    """Hidden behind other terrain (y, x)."""
    local_incidence: Raster
    """Angle between the normal and the radar (y, x) [degree]."""
    gain: Raster
    """Backscatter of a slope over that of level ground of the same gamma nought (y, x) [1]."""


def simulate_pair(
    *,
    seed: int,
    shape: tuple[int, int] = (400, 400),
    pixel_size: float = 10.0,
    bands: Sequence[str] = OPTICAL_BANDS,
    shift: tuple[float, float] = (0.0, 0.0),
    linear: tuple[float, float, float, float] | None = None,
    look_angle: float = 0.0,
    look_azimuth: float = 100.0,
    days: tuple[float, float] = (200.0, 216.0),
    suns: tuple[tuple[float, float], tuple[float, float]] = ((140.0, 50.0), (146.0, 48.0)),
    gain: float = 1.0,
    offset: float = 0.0,
    noise: float = 0.003,
    cloud_fraction: float = 0.0,
    relief: float = 300.0,
    unrelated: bool = False,
) -> SimulatedPair:
    """View a landscape twice.

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
    shift : tuple of float
        Way of the target's content, down and right [pixel].
    linear : tuple of float, optional
        Rows of the matrix added to the shift: times (row, column) from the middle of the image [1].
    look_angle : float
        Angle of the target's view from the vertical, which moves high terrain away from that sensor [degree].
    look_azimuth : float
        Azimuth into which that sensor looks, clockwise from north [degree].
    days : tuple of float
        Days of the year of reference and target [d].
    suns : tuple of tuples
        Azimuth and elevation of the sun of reference and target [degree].
    gain : float
        Calibration of the target over that of the reference [1].
    offset : float
        Reflectance added to the target [1].
    noise : float
        Standard deviation of the noise, independent in both [1].
    cloud_fraction : float
        Share of clouds, independent in both [1].
    relief : float
        Height between the lowest and the highest pixel [m].
    unrelated : bool
        Show another place in the target.

    Returns
    -------
    SimulatedPair
        The same for the same arguments.
    """
    moves = _Moves(shift, linear, look_angle, look_azimuth)
    ground = _ground(seed, shape, pixel_size, relief, moves)
    other = ground if not unrelated else _ground(seed + 7_919, shape, pixel_size, relief, moves)
    bands = tuple(bands)
    rng = np.random.default_rng([seed, 41])
    first = _image(ground, _light(ground, bands, days[0], suns[0]))
    later = np.float32(gain) * _light(other, bands, days[1], suns[1]) + np.float32(offset)
    aligned = _image(other, later)
    field = _displacement_field(other, moves)
    second = _image(other, later, shift=shift) if moves.constant else _warped(other, later, field)
    views = []
    for image, place, sun, part in ((first, ground, suns[0], 0), (second, other, suns[1], 1)):
        covered = _covered(image, place, sun, bands, cloud_fraction, seed=2 * seed + part, rng=rng)
        grain = np.float32(noise) * rng.standard_normal(image.shape, dtype=np.float32)
        views.append((covered.reflectance + grain, covered.cloud | covered.shadow))
    known = np.float32(np.nan) if unrelated else np.float32(1.0)
    return SimulatedPair(
        views[0][0],
        views[1][0],
        aligned,
        known * _at_pixels(ground, field),
        views[0][1],
        views[1][1],
        _at_pixels(ground, ground.landscape.dem),
        bands,
        imagery_clouds.grid_box(shape, pixel_size),
        not unrelated,
    )


def simulate_radar_pair(
    *,
    seed: int,
    shape: tuple[int, int] = (400, 400),
    pixel_size: float = 10.0,
    bands: Sequence[str] = OPTICAL_BANDS,
    shift: tuple[float, float] = (0.0, 0.0),
    incidence_angle: float = 38.0,
    look_azimuth: float = 80.0,
    looks: float = 4.0,
    flattened: bool = False,
    days: tuple[float, float] = (200.0, 203.0),
    sun: tuple[float, float] = (140.0, 50.0),
    noise: float = 0.003,
    cloud_fraction: float = 0.0,
    relief: float = 300.0,
    unrelated: bool = False,
) -> SimulatedRadarPair:
    """View a landscape with an optical sensor and a radar, both on the map.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    bands : sequence of str
        Optical bands, of imagery_landscape.BANDS.
    shift : tuple of float
        Way of the radar's content, down and right [pixel].
    incidence_angle : float
        Angle of the radar beam from the vertical [degree].
    look_azimuth : float
        Azimuth into which the radar looks, clockwise from north [degree].
    looks : float
        Number of independent looks in a pixel [1].
    flattened : bool
        Corrected for the area that slopes show to the radar, as radiometric terrain correction does.
    days : tuple of float
        Days of the year of the optical and the radar view [d].
    sun : tuple of float
        Azimuth and elevation of the sun [degree].
    noise : float
        Standard deviation of the optical noise [1].
    cloud_fraction : float
        Share of clouds in the optical view [1].
    relief : float
        Height between the lowest and the highest pixel [m].
    unrelated : bool
        Show another place to the radar; its displacement is not a number.

    Returns
    -------
    SimulatedRadarPair
        The same for the same arguments.
    """
    moves = _Moves(shift, None, 0.0, 0.0)
    ground = _ground(seed, shape, pixel_size, relief, moves)
    other = ground if not unrelated else _ground(seed + 7_919, shape, pixel_size, relief, moves)
    bands = tuple(bands)
    rng = np.random.default_rng([seed, 43])
    image = _image(ground, _light(ground, bands, days[0], sun))
    covered = _covered(image, ground, sun, bands, cloud_fraction, seed=2 * seed, rng=rng)
    geometry = radar_geometry(
        other.landscape.dem,
        pixel_size=other.landscape.pixel_size,
        incidence_angle=incidence_angle,
        look_azimuth=look_azimuth,
    )
    backscatter = mean_backscatter(other.landscape, geometry, rng=rng, day_of_year=days[1], flattened=flattened)
    mean = np.clip(_image(other, backscatter, shift=shift), NOISE_FLOOR, None)
    masks = _image(other, np.stack([geometry.layover, geometry.shadow]).astype(np.float32), shift=shift) > 0.5
    return SimulatedRadarPair(
        covered.reflectance + np.float32(noise) * rng.standard_normal(image.shape, dtype=np.float32),
        mean * speckle(rng, mean.shape, looks=looks),
        mean,
        (math.nan, math.nan) if unrelated else shift,
        masks[0],
        masks[1],
        _at_pixels(other, geometry.local_incidence),
        _at_pixels(ground, ground.landscape.dem),
        bands,
        imagery_clouds.grid_box(shape, pixel_size),
        looks,
    )


def radar_geometry(dem: Raster, *, pixel_size: float, incidence_angle: float, look_azimuth: float) -> RadarGeometry:
    """Layover, shadow and local incidence along rays across the terrain.

    A point lies over another where its slant range is not beyond that of one nearer in plan, or not before that of one
    farther; it is in shadow where nearer terrain stands above its ray. Both are rays cast over the terrain.

    Parameters
    ----------
    dem : array
        Heights (y, x), rows running south [m].
    pixel_size : float
        Pixel size [m].
    incidence_angle : float
        Angle of the beam from the vertical [degree].
    look_azimuth : float
        Azimuth into which the radar looks, clockwise from north [degree].

    Returns
    -------
    RadarGeometry
        On the grid of the heights.
    """
    heights = np.ascontiguousarray(dem, dtype=np.float32)
    angle, azimuth = math.radians(incidence_angle), math.radians(look_azimuth)
    away = (-math.cos(azimuth), math.sin(azimuth))
    near = (-away[0], -away[1])
    cast = _imagery_simulation_kernels.cast_shadow
    steep = pixel_size * math.tan(angle)
    layover = cast(heights, *away, steep) | cast(-heights, *near, steep)
    light = imagery_landscape.illuminate(
        heights, pixel_size=pixel_size, sun_azimuth=look_azimuth + 180.0, sun_elevation=90.0 - incidence_angle
    )
    south, east = np.gradient(heights, pixel_size)
    rise = south * away[0] + east * away[1]
    upright = np.sqrt(1.0 + south**2 + east**2)
    shown = np.clip(light.cos_incidence, 0.0, None) * upright / math.cos(angle)
    squeezed = np.abs(math.sin(angle) - rise * math.cos(angle)) / math.sin(angle)
    gain = np.where(light.shadow, 0.0, np.clip(shown / np.maximum(squeezed, 0.05), 0.0, 12.0))
    return RadarGeometry(
        layover,
        light.shadow,
        np.degrees(np.arccos(np.clip(light.cos_incidence, -1.0, 1.0))).astype(np.float32),
        gain.astype(np.float32),
    )


def mean_backscatter(
    landscape: imagery_landscape.Landscape,
    geometry: RadarGeometry,
    *,
    rng: np.random.Generator,
    day_of_year: float,
    flattened: bool = False,
) -> Raster:
    """Gamma nought without speckle.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    geometry : RadarGeometry
        How the radar sees it.
    rng : np.random.Generator
        Source of the differences between patches of a class.
    day_of_year : float
        Day of the year [d].
    flattened : bool
        Leave out the area that slopes show to the radar.

    Returns
    -------
    array
        Linear gamma nought (polarization, y, x), the noise floor in radar shadow [1].
    """
    green = imagery_landscape.green_cover(landscape, day_of_year=day_of_year)
    patches = rng.normal(size=int(landscape.patch.max()) + 1)[landscape.patch]
    spread = _SPREAD[landscape.class_map] * patches
    layers = [
        _BARE[:, index][landscape.class_map] + _GREEN[:, index][landscape.class_map] * green + spread
        for index in range(len(POLARIZATIONS))
    ]
    linear = 10.0 ** (0.1 * np.stack(layers))
    seen = np.where(geometry.shadow, 0.0, linear if flattened else linear * geometry.gain)
    return np.asarray(seen + NOISE_FLOOR, dtype=np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, ...], *, looks: float) -> Raster:
    """Multiplicative speckle of an intensity image: gamma distributed with mean 1 and variance 1 / looks.

    Parameters
    ----------
    rng : np.random.Generator
        Source of randomness.
    shape : tuple of int
        Shape of the image.
    looks : float
        Number of looks [1].

    Returns
    -------
    array
        Factors [1].
    """
    return np.asarray(rng.standard_gamma(looks, shape, dtype=np.float32) / np.float32(looks), dtype=np.float32)


class _Moves(NamedTuple):
    """What displaces the target."""

    shift: tuple[float, float]
    linear: tuple[float, float, float, float] | None
    look_angle: float
    look_azimuth: float

    @property
    def constant(self) -> bool:
        return self.linear is None and self.look_angle == 0.0


class _Ground(NamedTuple):
    """A landscape finer than the pixel and wider than the image."""

    landscape: imagery_landscape.Landscape
    shape: tuple[int, int]
    corner: tuple[int, int]


def _ground(seed: int, shape: tuple[int, int], pixel_size: float, relief: float, moves: _Moves) -> _Ground:
    """Lay out a landscape with a margin for what moves into the image."""
    reach = math.hypot(*moves.shift) + relief * math.tan(math.radians(moves.look_angle)) / pixel_size
    if moves.linear is not None:
        reach += max(abs(part) for part in moves.linear) * max(shape)
    # In steps, so that the land does not depend on a small displacement.
    margin = _MARGIN + _REACH_STEP * max(math.ceil(reach / _REACH_STEP), 1)
    sides = [fft.next_fast_len(_FINER * (side + 2 * margin), real=True) for side in shape]
    landscape = imagery_landscape.lay_out(
        seed=seed,
        shape=(sides[0], sides[1]),
        pixel_size=pixel_size / _FINER,
        relief=relief,
        feature_size=imagery_landscape.FEATURE_PIXELS * pixel_size,
    )
    corner = [(total - _FINER * side) // 2 for total, side in zip(sides, shape, strict=True)]
    return _Ground(landscape, shape, (corner[0], corner[1]))


def _light(ground: _Ground, bands: tuple[str, ...], day: float, sun: tuple[float, float]) -> Raster:
    flat = imagery_landscape.reflectance(ground.landscape, bands=bands, day_of_year=day)
    light = imagery_landscape.illuminate(
        ground.landscape.dem, pixel_size=ground.landscape.pixel_size, sun_azimuth=sun[0], sun_elevation=sun[1]
    )
    return imagery_landscape.lit(flat, light, bands=bands)


def _image(ground: _Ground, fine: Raster, *, shift: tuple[float, float] = (0.0, 0.0)) -> Raster:
    """Images of layers, their content shifted."""
    origin = (ground.corner[0] - _FINER * shift[0], ground.corner[1] - _FINER * shift[1])
    return np.stack(
        [imagery_sensor.observe(layer, pixel=_FINER, gain=_GAIN, origin=origin, shape=ground.shape) for layer in fine]
    )


def _at_pixels(ground: _Ground, fine: Raster) -> Raster:
    """Mean over the pixels of the image of something smooth."""
    first, left = ground.corner
    rows, columns = (_FINER * side for side in ground.shape)
    return imagery_landscape.box_average(fine[..., first : first + rows, left : left + columns], _FINER)


def _displacement_field(ground: _Ground, moves: _Moves) -> Raster:
    """Way of the content, down and right, at every fine pixel of the ground (2, y, x) [pixel]."""
    dem = ground.landscape.dem
    row, column = (
        (np.arange(total) + 0.5 - first) / _FINER - 0.5 * side
        for total, first, side in zip(dem.shape, ground.corner, ground.shape, strict=True)
    )
    azimuth = math.radians(moves.look_azimuth)
    size = _FINER * ground.landscape.pixel_size
    lean = (dem - dem.mean()) * np.float32(math.tan(math.radians(moves.look_angle)) / size)
    matrix = np.array(moves.linear if moves.linear is not None else (0.0,) * 4).reshape(2, 2)
    toward = (-math.cos(azimuth), math.sin(azimuth))
    parts = [
        moves.shift[axis] + matrix[axis, 0] * row[:, None] + matrix[axis, 1] * column[None, :] + toward[axis] * lean
        for axis in range(2)
    ]
    return np.stack(parts).astype(np.float32)


def _warped(ground: _Ground, fine: Raster, field: Raster) -> Raster:
    """Images of layers displaced by a field: each pixel shows the ground that the field moves there."""
    rows, columns = (
        first + _FINER * (np.arange(side) + 0.5) - 0.5 for first, side in zip(ground.corner, ground.shape, strict=True)
    )
    seen = np.stack(np.broadcast_arrays(rows[:, None], columns[None, :])).astype(np.float64)
    place = seen.copy()
    for _ in range(12):
        way = np.stack([ndimage.map_coordinates(part, place, order=1, mode="nearest") for part in field])
        place = seen - _FINER * way
    response = imagery_sensor.transfer((fine.shape[1], fine.shape[2]), pixel=_FINER, gain=_GAIN)
    blurred = (fft.irfft2(fft.rfft2(layer) * response, s=layer.shape) for layer in fine)
    sampled = [ndimage.map_coordinates(layer, place, order=5, mode="nearest") for layer in blurred]
    return np.stack(sampled).astype(np.float32)


def _covered(
    image: Raster,
    ground: _Ground,
    sun: tuple[float, float],
    bands: tuple[str, ...],
    fraction: float,
    *,
    seed: int,
    rng: np.random.Generator,
) -> imagery_clouds.CloudCover:
    """Clouds over an image, or none."""
    none = np.zeros(ground.shape, dtype=np.bool_)
    if fraction == 0.0:
        return imagery_clouds.CloudCover(image, none.astype(np.float32), none, none)
    dem = _at_pixels(ground, ground.landscape.dem)
    size = _FINER * ground.landscape.pixel_size
    layers = imagery_clouds.simulate_layers(
        dem, seed=seed, pixel_size=size, cloud_fraction=fraction, thin_fraction=0.0, sun_elevation=sun[1]
    )
    return imagery_clouds.cover(
        image, layers, dem, bands=bands, pixel_size=size, sun_azimuth=sun[0], sun_elevation=sun[1], rng=rng
    )
