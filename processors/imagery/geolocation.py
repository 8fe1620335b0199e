"""Where the pixels of a strip lie, and which strip position a place on the ground has.

Every line is the great circle (of the unit vectors normal to the ellipsoid) between the centers of its first and last
pixel, divided evenly; between lines, edges and line planes are interpolated linearly.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
from odc.geo.geobox import GeoBox

from processors.arrays import BoolArray, FloatArray
from processors.imagery import grid

Float32Array = npt.NDArray[np.float32]

_NODE_STEP = 8
_ITERATIONS = 4


class StripPosition(NamedTuple):
    """Fractional position in a strip."""

    line: FloatArray
    """Line, 0 at the center of the first one [1]."""
    pixel: FloatArray
    """Pixel, 0 at the center of the first one [1]."""


class Resampled(NamedTuple):
    """Strip layers on a grid."""

    values: Float32Array
    """Layers (band, y, x), NaN outside the strip and where a line was lost."""
    inside: BoolArray
    """Where the strip looked, lost lines included (y, x)."""


def unit_vectors(longitude: FloatArray, latitude: FloatArray) -> FloatArray:
    """Unit vectors normal to the ellipsoid.

    Parameters
    ----------
    longitude, latitude : FloatArray
        Geodetic position [degree].

    Returns
    -------
    FloatArray
        Vectors, last dimension x, y, z [1].
    """
    east, north = np.radians(longitude), np.radians(latitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def positions(edge_longitude: FloatArray, edge_latitude: FloatArray, *, pixels: int) -> tuple[FloatArray, FloatArray]:
    """Position of every pixel of a strip.

    Parameters
    ----------
    edge_longitude, edge_latitude : FloatArray
        Centers of the first and last pixel (line, 2) [degree].
    pixels : int
        Pixels of a line [1].

    Returns
    -------
    tuple of FloatArray
        Longitude and latitude (line, pixel) [degree].
    """
    edges = unit_vectors(edge_longitude, edge_latitude)
    first, last = edges[:, 0], edges[:, 1]
    angle = np.arccos(np.clip((first * last).sum(axis=1), -1.0, 1.0))[:, None]
    part = np.linspace(0.0, 1.0, pixels)[None]
    weights = np.sin((1.0 - part) * angle) / np.sin(angle), np.sin(part * angle) / np.sin(angle)
    vector = weights[0][..., None] * first[:, None] + weights[1][..., None] * last[:, None]
    longitude = np.degrees(np.arctan2(vector[..., 1], vector[..., 0]))
    return longitude, np.degrees(np.arctan2(vector[..., 2], np.hypot(vector[..., 0], vector[..., 1])))


def locate(vectors: FloatArray, *, edge_longitude: FloatArray, edge_latitude: FloatArray, pixels: int) -> StripPosition:
    """Strip position of places on the ground, the inverse of `positions`.

    Parameters
    ----------
    vectors : FloatArray
        Unit vectors of the places (place, 3) [1].
    edge_longitude, edge_latitude : FloatArray
        Centers of the first and last pixel (line, 2) [degree].
    pixels : int
        Pixels of a line [1].

    Returns
    -------
    StripPosition
        Fractional line and pixel (place); outside the strip they lie beyond its ends.
    """
    edges = unit_vectors(edge_longitude, edge_latitude)
    normals = np.cross(edges[:, 0], edges[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    line = _line_of(vectors, normals)
    lower = np.clip(np.floor(line), 0, edges.shape[0] - 2).astype(np.int64)
    part = (line - lower)[:, None]
    first, last = ((1.0 - part) * edges[lower, side] + part * edges[lower + 1, side] for side in (0, 1))
    normal = (1.0 - part) * normals[lower] + part * normals[lower + 1]
    return StripPosition(line, _angle(first, vectors, normal) / _angle(first, last, normal) * (pixels - 1))


def strip_grid(edge_longitude: FloatArray, edge_latitude: FloatArray, *, crs: str | None, resolution: float) -> GeoBox:
    """Smallest aligned grid that covers a strip.

    Parameters
    ----------
    edge_longitude, edge_latitude : FloatArray
        Centers of the first and last pixel (line, 2) [degree].
    crs : str, optional
        Projected system; else the UTM zone of the middle of the strip.
    resolution : float
        Pixel size [m].

    Returns
    -------
    GeoBox
        Grid with edges at multiples of the resolution.
    """
    longitude, latitude = positions(edge_longitude, edge_latitude, pixels=65)
    middle = longitude.shape[0] // 2
    system = crs or f"EPSG:{grid.utm_zone(float(longitude[middle, 32]), float(latitude[middle, 32]))}"
    x, y = pyproj.Transformer.from_crs("EPSG:4326", system, always_xy=True).transform(longitude, latitude)
    half = resolution / 2
    bounds = (x.min() - half, y.min() - half, x.max() + half, y.max() + half)
    return grid.covering(bounds, crs=system, resolution=resolution)


def grid_vectors(geobox: GeoBox) -> FloatArray:
    """Unit vectors of the pixel centers of a projected grid.

    Every eighth pixel is transformed exactly, those between linearly: 0.1 m at 250 m pixels.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    FloatArray
        Unit vectors (y, x, 3) [1].
    """
    rows, columns = (np.minimum(np.arange(0, size + _NODE_STEP, _NODE_STEP), size - 1) for size in geobox.shape)
    rows, columns = np.unique(rows), np.unique(columns)
    transform = geobox.transform
    x, y = np.meshgrid(transform.c + (columns + 0.5) * transform.a, transform.f + (rows + 0.5) * transform.e)
    to_geodetic = pyproj.Transformer.from_crs(grid.system(geobox).to_wkt(), "EPSG:4326", always_xy=True)
    nodes = unit_vectors(*to_geodetic.transform(x, y))
    along_y = _between(rows, geobox.shape[0])
    along_x = _between(columns, geobox.shape[1])
    return np.stack([along_y @ nodes[..., axis] @ along_x.T for axis in range(3)], axis=-1)


def resample(
    layers: Float32Array, position: StripPosition, *, shape: tuple[int, int], nearest: bool = False
) -> Resampled:
    """Bring strip layers to the places whose strip positions are given.

    Bilinear weights are renormalized over the observed corners; a value needs half of the weight to be observed.

    Parameters
    ----------
    layers : Float32Array
        Layers (band, line, pixel), NaN where lost, any unit.
    position : StripPosition
        Strip positions of the grid pixels in row order.
    shape : tuple of int
        Shape of the grid.
    nearest : bool
        Take the nearest strip pixel instead.

    Returns
    -------
    Resampled
        Layers on the grid and where the strip looked.
    """
    lines, pixels = layers.shape[1:]
    inside = (np.abs(position.line - (lines - 1) / 2) <= lines / 2) & (
        np.abs(position.pixel - (pixels - 1) / 2) <= pixels / 2
    )
    line, pixel = np.clip(position.line[inside], 0, lines - 1), np.clip(position.pixel[inside], 0, pixels - 1)
    values = np.full((layers.shape[0], inside.size), np.nan, dtype=np.float32)
    sampled = _nearest if nearest else _bilinear
    for band, layer in enumerate(layers):
        values[band, inside] = sampled(layer, line, pixel)
    return Resampled(values.reshape(-1, *shape), inside.reshape(shape))


def _nearest(layer: Float32Array, line: FloatArray, pixel: FloatArray) -> Float32Array:
    return np.asarray(layer[np.rint(line).astype(np.int64), np.rint(pixel).astype(np.int64)])


def _bilinear(layer: Float32Array, line: FloatArray, pixel: FloatArray) -> Float32Array:
    top = np.clip(np.floor(line), 0, max(layer.shape[0] - 2, 0)).astype(np.int64)
    left = np.clip(np.floor(pixel), 0, max(layer.shape[1] - 2, 0)).astype(np.int64)
    down, right = (line - top).astype(np.float32), (pixel - left).astype(np.float32)
    total, weight = np.zeros_like(down), np.zeros_like(down)
    corners = (
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    )
    for row, column, share in corners:
        value = layer[top + row, left + column]
        known = np.isfinite(value)
        total += np.where(known, share * value, 0)
        weight += np.where(known, share, 0)
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight >= 0.5)


def _line_of(vectors: FloatArray, normals: FloatArray) -> FloatArray:
    """Line whose plane holds the place: the zero of a piecewise linear function of the line number."""
    count = normals.shape[0]
    ends = vectors @ normals[0], vectors @ normals[-1]
    line = (count - 1) * ends[0] / (ends[0] - ends[1])
    for _ in range(_ITERATIONS):
        lower = np.clip(np.floor(line), 0, count - 2).astype(np.int64)
        here = np.einsum("pi,pi->p", vectors, normals[lower])
        there = np.einsum("pi,pi->p", vectors, normals[lower + 1])
        line = lower + here / (here - there)
    return np.asarray(line, dtype=np.float64)


def _angle(first: FloatArray, second: FloatArray, normal: FloatArray) -> FloatArray:
    sine = np.einsum("pi,pi->p", np.cross(first, second), normal)
    return np.asarray(np.arctan2(sine, np.einsum("pi,pi->p", first, second)), dtype=np.float64)


def _between(nodes: FloatArray, size: int) -> FloatArray:
    """Matrix of the linear interpolation from nodes to every index."""
    index = np.arange(size)
    lower = np.clip(np.searchsorted(nodes, index, side="right") - 1, 0, max(nodes.size - 2, 0))
    upper = np.minimum(lower + 1, nodes.size - 1)
    span = np.maximum(nodes[upper] - nodes[lower], 1)
    part = (index - nodes[lower]) / span
    matrix = np.zeros((size, nodes.size))
    matrix[index, lower] = 1.0 - part
    matrix[index, upper] += part
    return matrix
