"""Rivers of known width: a center line and a width along it, drawn by the exact share of every pixel.

A point lies in the river where its distance from the center line is below half the width at its foot, so that the width
across the line is that asked for wherever feet are unique. Pixels that an outline may cross are counted on cells; the
others are full or empty. Meanders are sine-generated curves (Langbein and Leopold 1966, USGS Professional Paper 422-H).
Nothing here uses the processing it is meant to test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import affine
import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from scipy import ndimage, spatial

from processors.arrays import BoolArray, FloatArray
from processors.simulation import imagery_landscape
from processors.simulation.imagery_landscape import Raster

Octets = npt.NDArray[np.uint8]

CRS = "EPSG:32648"
CORNER = (640_000.0, 3_290_000.0)
"""Easting and northing of the upper left corner [m]."""
COURSES = ("straight", "meander", "arc")
"""Kinds of center line."""
NO_DATA = 255

_SPACING = 0.1
_COARSE = 12
_MIXED = 1.2


@dataclass(frozen=True, kw_only=True)
class RiverOptions:
    """What the river is like.

    Parameters
    ----------
    course : str
        "straight", "meander" or "arc" (arcs of circles to the left and right in turn).
    angle : float
        Direction of the axis, from the columns towards the rows [degree].
    width : float
        Mean width [m].
    width_variation : float
        Relative amplitude of the width along the river [1].
    width_wavelength : float
        Wavelength of that, in mean widths [1].
    bend : float
        Largest angle between a meander and the axis [degree].
    wavelength : float
        Length of a meander along the river, or of two arcs, in mean widths [1].
    offset : float
        Distance of the axis from the middle of the scene, to its right [pixel].
    islands : int
        Islands that split the channel [1].
    bridges : int
        Bridges that hide the water [1].
    bridge_width : float
        Their width [m].
    tributaries : int
        Smaller rivers that join [1].
    lake : bool
        Put a lake beside the river.
    blur : float
        Standard deviation of the blur of the probability [pixel].
    noise : float
        Standard deviation of the noise of the probability's log-odds [1].
    contrast : float
        Log-odds of a pixel full of water [1].
    wrong : float
        Share of pixels in the wrong class [1].
    clouds : int
        Blocks without data [1].
    cells : int
        Cells on a side of a pixel that an outline crosses [1].
    """

    course: str = "meander"
    angle: float = 30.0
    width: float = 150.0
    width_variation: float = 0.2
    width_wavelength: float = 9.0
    bend: float = 50.0
    wavelength: float = 12.0
    offset: float = 0.0
    islands: int = 0
    bridges: int = 0
    bridge_width: float = 25.0
    tributaries: int = 0
    lake: bool = False
    blur: float = 0.6
    noise: float = 0.0
    contrast: float = 5.0
    wrong: float = 0.0
    clouds: int = 0
    cells: int = 8


class Reach(NamedTuple):
    """A river along its center line, points a tenth of a pixel apart."""

    path: FloatArray
    """Row and column of the points, whole numbers in the middle of pixels (point, 2) [pixel]."""
    x: FloatArray
    """Easting (point) [m]."""
    y: FloatArray
    """Northing (point) [m]."""
    tangent: FloatArray
    """Direction of the river, from east towards north (point) [degree]."""
    width: FloatArray
    """From bank to bank across the line (point) [m]."""
    water_width: FloatArray
    """The same without islands (point) [m]."""
    measurable: BoolArray
    """Both banks in the scene, no bridge, confluence, or gap in the data between (point)."""


class Width(NamedTuple):
    """Truth at the points of center lines nearest to some places."""

    width: FloatArray
    """From bank to bank [m]."""
    water_width: FloatArray
    """Without islands [m]."""
    tangent: FloatArray
    """Direction of the river, from east towards north [degree]."""
    distance: FloatArray
    """Of the place from the center line [m]."""
    measurable: BoolArray
    """Both banks in the scene, no bridge, confluence, or gap in the data between."""
    reach: npt.NDArray[np.int64]
    """Index of the reach, 0 for the main river."""


class RiverScene(NamedTuple):
    """What a classification delivers, and the truth."""

    fraction: Raster
    """Share of water, bridges taken out (y, x) [1]."""
    mask: Octets
    """1 water, 0 land, 255 no data (y, x)."""
    probability: Raster
    """Probability of water, NaN without data (y, x) [1]."""
    nodata: BoolArray
    """Pixels without data (y, x)."""
    reaches: tuple[Reach, ...]
    """The main river and its tributaries."""
    grid: GeoBox
    """Where it lies."""
    pixel_size: float
    """Pixel size [m]."""
    area: float
    """Area of the main river in the scene by its width times its length, only where it is all in the scene [m2]."""
    options: RiverOptions
    """What was asked for."""

    def width_at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Width:
        """Truth at the nearest points of the center lines.

        Parameters
        ----------
        x, y : array_like
            Easting and northing [m].

        Returns
        -------
        Width
            One entry a place.
        """
        places = np.stack(np.broadcast_arrays(np.atleast_1d(x), np.atleast_1d(y)), axis=1).astype(np.float64)
        found = [spatial.cKDTree(np.stack([part.x, part.y], axis=1)).query(places) for part in self.reaches]
        best = np.argmin([distance for distance, _ in found], axis=0)
        columns = []
        for name in ("width", "water_width", "tangent", "measurable"):
            every = [getattr(part, name)[nearest] for part, (_, nearest) in zip(self.reaches, found, strict=True)]
            columns.append(np.choose(best, every))
        distances = np.choose(best, [distance for distance, _ in found])
        return Width(columns[0], columns[1], columns[2], distances, columns[3], best)


class _Band(NamedTuple):
    path: FloatArray
    forward: FloatArray
    half: FloatArray
    tree: Any


class _Ellipse(NamedTuple):
    middle: FloatArray
    along: FloatArray
    long: float
    short: float


class _Strip(NamedTuple):
    middle: FloatArray
    across: FloatArray
    half: float
    reach: float


class _Shapes(NamedTuple):
    bands: list[_Band]
    islands: list[_Ellipse]
    lakes: list[_Ellipse]
    bridges: list[_Strip]


def simulate_river_scene(
    seed: int, *, shape: tuple[int, int] = (400, 400), pixel_size: float = 10.0, **options: Any
) -> RiverScene:
    """Draw a river.

    Parameters
    ----------
    seed : int
        Seed of all randomness: phases, places, noise.
    shape : tuple of int
        Rows and columns.
    pixel_size : float
        Pixel size [m].
    **options : Any
        Of RiverOptions.

    Returns
    -------
    RiverScene
        The same for the same arguments.

    Raises
    ------
    ValueError
        An unknown course, fewer than 8 cells, or bends tighter than half the width.
    """
    asked = RiverOptions(**options)
    if asked.course not in COURSES or asked.cells < 8:
        raise ValueError(f"no river has course {asked.course!r} and {asked.cells} cells a pixel")
    rng = np.random.default_rng([seed, 51])
    river = _river(rng, shape, pixel_size, asked)
    shapes = _furnished(rng, river, shape, pixel_size, asked)
    fraction = _covered(shapes, shape, asked.cells)
    gaps = _gaps(rng, shape, asked.clouds)
    probability = _classified(rng, fraction, asked)
    mask = (probability >= 0.5) if asked.noise > 0.0 else (fraction >= 0.5)
    mask = mask ^ (rng.uniform(size=shape) < asked.wrong)
    probability = np.where(mask == (probability >= 0.5), probability, 1.0 - probability)
    reaches = tuple(_reach(shapes, index, gaps, pixel_size) for index in range(len(shapes.bands)))
    inside = ((river.path > -0.5) & (river.path < np.array(shape) - 0.5)).all(axis=1)
    return RiverScene(
        fraction=fraction,
        mask=np.where(gaps, np.uint8(NO_DATA), mask.astype(np.uint8)),
        probability=np.where(gaps, np.nan, probability).astype(np.float32),
        nodata=gaps,
        reaches=reaches,
        grid=GeoBox(shape, affine.Affine(pixel_size, 0.0, CORNER[0], 0.0, -pixel_size, CORNER[1]), CRS),
        pixel_size=pixel_size,
        area=float((2.0 * river.half * _SPACING)[inside].sum() * pixel_size**2),
        options=asked,
    )


def _river(rng: np.random.Generator, shape: tuple[int, int], pixel_size: float, asked: RiverOptions) -> _Band:
    width = asked.width / pixel_size
    # Sinuous lines reach less far than they are long.
    s = np.arange(0.0, 3.2 * math.hypot(*shape), _SPACING)
    phase = rng.uniform(0.0, 2.0 * math.pi)
    turn = 2.0 * math.pi * s / (asked.wavelength * width) + phase
    if asked.course == "straight":
        heading = np.zeros_like(s)
    elif asked.course == "meander":
        heading = math.radians(asked.bend) * np.sin(turn)
    else:
        # A triangle in heading is an arc of one curvature, then one of the other.
        heading = math.radians(asked.bend) * (2.0 / math.pi) * np.arcsin(np.sin(turn))
    half = 0.5 * width * (1.0 + asked.width_variation * np.sin(2.0 * math.pi * s / (asked.width_wavelength * width)))
    curvature = np.abs(np.gradient(heading, _SPACING))
    if (curvature * half > 0.95).any():
        raise ValueError("the bends are tighter than half the width: no width is defined there")
    heading = heading + math.radians(asked.angle)
    axis = np.array([math.sin(math.radians(asked.angle)), math.cos(math.radians(asked.angle))])
    path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1) * _SPACING, axis=0)
    middle = np.array([0.5 * (side - 1) for side in shape]) + asked.offset * np.array([axis[1], -axis[0]])
    aside = path @ np.array([axis[1], -axis[0]])
    path = path - path[len(path) // 2] + middle
    path -= (aside.mean() - aside[len(aside) // 2]) * np.array([axis[1], -axis[0]])
    # What is far from the scene has no part in it.
    beyond = 2.0 * float(half.max()) + 20.0
    near = np.flatnonzero(((path > -beyond) & (path < np.array(shape) + beyond)).all(axis=1))
    part = slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(None)
    return _band(path[part], heading[part], half[part])


def _band(path: FloatArray, heading: FloatArray, half: FloatArray) -> _Band:
    return _Band(path, np.stack([np.sin(heading), np.cos(heading)], axis=1), half, spatial.cKDTree(path[::_COARSE]))


def nearest_point(
    coarse: Any, path: FloatArray, points: FloatArray, step: int
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Nearest of the dense points of a smooth line, by way of every so many of them: many times faster than a tree.

    Parameters
    ----------
    coarse : scipy.spatial.cKDTree
        Tree of every `step`-th point.
    path : array
        Points of the line (point, 2) [pixel].
    points : array
        Places (place, 2) [pixel].
    step : int
        Points of the line to one of the tree [1].

    Returns
    -------
    tuple of array
        Distance [pixel] and index of the nearest point.
    """
    first = coarse.query(points)[1] * step
    best = first.copy()
    least = ((points - path[first]) ** 2).sum(axis=1)
    for offset in range(-step + 1, step):
        if offset == 0:
            continue
        candidate = np.clip(first + offset, 0, len(path) - 1)
        squared = ((points - path[candidate]) ** 2).sum(axis=1)
        nearer = squared < least
        best[nearer] = candidate[nearer]
        least = np.minimum(least, squared)
    return np.sqrt(least), best


def _furnished(
    rng: np.random.Generator, river: _Band, shape: tuple[int, int], pixel_size: float, asked: RiverOptions
) -> _Shapes:
    """Put islands, bridges, tributaries and a lake where they do not touch each other, along the river in the scene."""
    border = 0.06 * min(shape) + river.half.max()
    inside = np.flatnonzero(((river.path > border) & (river.path < np.array(shape) - 1 - border)).all(axis=1))
    shapes = _Shapes([river], [], [], [])
    wanted = ["island"] * asked.islands + ["bridge"] * asked.bridges + ["tributary"] * asked.tributaries
    if inside.size < 100 * max(len(wanted), 1):
        if wanted or asked.lake:
            raise ValueError("the scene holds too little of the river for what is wanted along it")
        return shapes
    for number, kind in enumerate(rng.permutation(wanted)):
        place = int(inside[int(inside.size * (number + rng.uniform(0.35, 0.65)) / len(wanted))])
        room = 0.5 * inside.size * _SPACING / len(wanted)
        if kind == "island":
            shapes.islands.append(_island(rng, river, place, room))
        elif kind == "bridge":
            shapes.bridges.append(_bridge(rng, river, place, 0.5 * asked.bridge_width / pixel_size))
        else:
            shapes.bands.append(_tributary(rng, river, place, shape))
    if asked.lake:
        shapes.lakes.append(_lake(rng, shapes, shape))
    return shapes


def _island(rng: np.random.Generator, river: _Band, place: int, room: float) -> _Ellipse:
    half = float(river.half[place])
    forward = river.forward[place]
    normal = np.array([-forward[1], forward[0]])
    middle = river.path[place] + rng.uniform(-0.25, 0.25) * half * normal
    long = min(rng.uniform(0.7, 1.6) * half, 0.6 * room)
    return _Ellipse(middle, forward, long, min(rng.uniform(0.25, 0.42) * half, long))


def _bridge(rng: np.random.Generator, river: _Band, place: int, half: float) -> _Strip:
    skew = rng.uniform(-0.35, 0.35)
    forward = river.forward[place]
    across = np.array([-forward[1], forward[0]]) * math.cos(skew) + forward * math.sin(skew)
    return _Strip(river.path[place], across, half, 1.6 * float(river.half[place]) + 4.0)


def _tributary(rng: np.random.Generator, river: _Band, place: int, shape: tuple[int, int]) -> _Band:
    forward = river.forward[place]
    side = -1.0 if rng.uniform() < 0.5 else 1.0
    heading = math.atan2(forward[0], forward[1]) + side * rng.uniform(1.1, 1.7)
    s = np.arange(0.0, 0.5 * max(shape), _SPACING)
    mean = float(river.half.mean())
    wave = 14.0 * mean
    angles = heading + 0.35 * np.sin(2.0 * math.pi * s / wave)
    path = river.path[place] + np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=1) * _SPACING, axis=0)
    return _band(path, angles, np.full(s.size, mean * rng.uniform(0.3, 0.6)))


def _lake(rng: np.random.Generator, shapes: _Shapes, shape: tuple[int, int]) -> _Ellipse:
    """An ellipse in the widest room the rivers leave."""
    places = rng.uniform(0.1, 0.9, (200, 2)) * np.array(shape)
    away = np.min([_band_margin(band, places) for band in shapes.bands], axis=0)
    room = np.minimum(away, np.minimum(places, np.array(shape) - places).min(axis=1))
    best = int(np.argmax(room))
    long = min(0.7 * float(room[best]), 0.12 * min(shape))
    turn = rng.uniform(0.0, math.pi)
    return _Ellipse(places[best], np.array([math.sin(turn), math.cos(turn)]), long, long * rng.uniform(0.5, 0.9))


def _band_margin(band: _Band, points: FloatArray) -> FloatArray:
    """Distance outside the banks, negative inside [pixel]."""
    distance, nearest = nearest_point(band.tree, band.path, points, _COARSE)
    offset = points - band.path[nearest]
    # The foot lies between points of the line.
    slip = np.clip((offset * band.forward[nearest]).sum(axis=1), -_SPACING, _SPACING)
    ends = (nearest == 0) | (nearest == len(band.path) - 1)
    exact = np.sqrt(np.maximum(distance**2 - np.where(ends, 0.0, slip**2), 0.0))
    slope = np.gradient(band.half, _SPACING)[nearest]
    return np.asarray(exact - band.half[nearest] - slope * slip)


def _ellipse_margin(ellipse: _Ellipse, points: FloatArray) -> FloatArray:
    """Of the sign of the outside, and no steeper than the distance [pixel]."""
    offset = points - ellipse.middle
    u = offset @ ellipse.along
    v = offset @ np.array([-ellipse.along[1], ellipse.along[0]])
    return np.asarray((np.hypot(u / ellipse.long, v / ellipse.short) - 1.0) * ellipse.short)


def _strip_margin(strip: _Strip, points: FloatArray) -> FloatArray:
    offset = points - strip.middle
    along = np.abs(offset @ strip.across) - strip.reach
    across = np.abs(offset @ np.array([-strip.across[1], strip.across[0]])) - strip.half
    return np.asarray(np.maximum(along, across))


def _margin(shapes: _Shapes, points: FloatArray) -> FloatArray:
    """Distance-like measure of being outside the water, negative in it [pixel]."""
    margin = np.min([_band_margin(band, points) for band in shapes.bands], axis=0)
    for lake in shapes.lakes:
        margin = np.minimum(margin, _ellipse_margin(lake, points))
    for island in shapes.islands:
        margin = np.maximum(margin, -_ellipse_margin(island, points))
    for bridge in shapes.bridges:
        margin = np.maximum(margin, -_strip_margin(bridge, points))
    return np.asarray(margin)


def _covered(shapes: _Shapes, shape: tuple[int, int], cells: int) -> Raster:
    """Share of water: pixels an outline may cross are counted on cells."""
    rows, columns = np.indices(shape)
    middles = np.stack([rows.ravel(), columns.ravel()], axis=1).astype(np.float64)
    margin = _margin(shapes, middles)
    share = (margin < 0.0).astype(np.float32)
    # The measure of a flat island is flatter than the distance: what is thin is counted everywhere around.
    mixed = np.abs(margin) < _MIXED
    for strip in shapes.bridges:
        mixed |= np.abs(_strip_margin(strip, middles)) < _MIXED + strip.half
    for ellipse in (*shapes.islands, *shapes.lakes):
        mixed |= np.abs(_ellipse_margin(ellipse, middles)) < _MIXED
    steps = (np.arange(cells) + 0.5) / cells - 0.5
    inner = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(1, -1, 2)
    points = (middles[mixed][:, None, :] + inner).reshape(-1, 2)
    # A cell the outline crosses counts by its distance from it: exact where the outline runs along rows or columns.
    wet = np.clip(0.5 - cells * _margin(shapes, points), 0.0, 1.0).reshape(-1, cells * cells)
    share[mixed] = wet.mean(axis=1)
    return np.asarray(share.reshape(shape))


def _gaps(rng: np.random.Generator, shape: tuple[int, int], count: int) -> BoolArray:
    gaps = np.zeros(shape, dtype=np.bool_)
    for _ in range(count):
        height, width = (int(rng.uniform(0.05, 0.16) * side) for side in shape)
        row, column = (int(rng.integers(0, side - part)) for side, part in zip(shape, (height, width), strict=True))
        gaps[row : row + height, column : column + width] = True
    return gaps


def _classified(rng: np.random.Generator, fraction: Raster, asked: RiverOptions) -> Raster:
    """Probability as a classification of a blurred image gives it."""
    soft = ndimage.gaussian_filter(fraction, asked.blur, mode="nearest") if asked.blur > 0.0 else fraction
    odds = asked.contrast * (2.0 * soft - 1.0)
    if asked.noise > 0.0:
        odds = odds + asked.noise * imagery_landscape.soften(
            rng.standard_normal((1, *fraction.shape), dtype=np.float32), sigma=0.5
        )[0] / np.float32(0.56)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float32)


def _reach(shapes: _Shapes, index: int, gaps: BoolArray, pixel_size: float) -> Reach:
    """Truth along a center line."""
    band = shapes.bands[index]
    normal = np.stack([-band.forward[:, 1], band.forward[:, 0]], axis=1)
    taken = sum((_chord(island, band, normal) for island in shapes.islands), np.zeros(len(band.path)))
    sound = _unbroken(shapes, index, gaps, normal)
    return Reach(
        path=band.path,
        x=CORNER[0] + (band.path[:, 1] + 0.5) * pixel_size,
        y=CORNER[1] - (band.path[:, 0] + 0.5) * pixel_size,
        tangent=np.degrees(np.arctan2(-band.forward[:, 0], band.forward[:, 1])),
        width=2.0 * band.half * pixel_size,
        water_width=(2.0 * band.half - taken) * pixel_size,
        measurable=sound,
    )


def _chord(island: _Ellipse, band: _Band, normal: FloatArray) -> FloatArray:
    """Length of the cross section that lies in an island [pixel]."""
    side = np.array([-island.along[1], island.along[0]])
    offset = band.path - island.middle
    scale = np.array([island.long, island.short])
    start = np.stack([offset @ island.along, offset @ side], axis=1) / scale
    way = np.stack([normal @ island.along, normal @ side], axis=1) / scale
    a, b, c = (way**2).sum(axis=1), (start * way).sum(axis=1), (start**2).sum(axis=1) - 1.0
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    low = np.clip((-b - root) / a, -band.half, band.half)
    high = np.clip((-b + root) / a, -band.half, band.half)
    return np.asarray(np.where(b * b > a * c, high - low, 0.0))


def _unbroken(shapes: _Shapes, index: int, gaps: BoolArray, normal: FloatArray) -> BoolArray:
    """Cross sections that lie in the scene between two banks of land, with data, and clear of bridges and mouths."""
    band = shapes.bands[index]
    sound = np.ones(len(band.path), dtype=np.bool_)
    last = np.array(gaps.shape) - 1
    for place in np.linspace(-1.0, 1.0, 9):
        points = band.path + normal * (place * (band.half + 1.5))[:, None]
        sound &= ((points >= 0.0) & (points <= last)).all(axis=1)
        cells = np.clip(np.rint(points), 0, last).astype(np.int64)
        sound &= ~gaps[cells[:, 0], cells[:, 1]]
        for bridge in shapes.bridges:
            sound &= _strip_margin(bridge, points) > 1.5
    for number, other in enumerate(shapes.bands):
        if number == index:
            continue
        for side in (-1.0, 1.0):
            points = band.path + normal * (side * (band.half + 1.5))[:, None]
            sound &= _band_margin(other, points) > 1.5
        sound &= (_band_margin(other, band.path) > 1.5) if number < index else True
    return sound


def describe(reaches: Sequence[Reach], *, spacing: float) -> list[dict[str, Any]]:
    """Truth at points a given way apart along center lines.

    Parameters
    ----------
    reaches : sequence of Reach
        Center lines.
    spacing : float
        Way between points [pixel].

    Returns
    -------
    list of dict
        reach, x, y, tangent, width, water_width, measurable.
    """
    step = max(round(spacing / _SPACING), 1)
    return [
        {
            "reach": number,
            "x": float(reach.x[k]),
            "y": float(reach.y[k]),
            "tangent": float(reach.tangent[k]),
            "width": float(reach.width[k]),
            "water_width": float(reach.water_width[k]),
            "measurable": bool(reach.measurable[k]),
        }
        for number, reach in enumerate(reaches)
        for k in range(0, len(reach.x), step)
    ]
