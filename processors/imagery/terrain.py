"""Terrain as a grid of ellipsoidal heights that lines of sight can meet."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
from odc.geo.geobox import GeoBox

from processors.arrays import BoolArray, FloatArray
from processors.geodesy import vertical_datum
from processors.imagery import _terrain_kernels as _kernels
from processors.imagery import grid
from processors.quality import BadInputError

MET = _kernels.MET
"""The line meets the terrain."""
OUTSIDE = _kernels.OUTSIDE
"""The line passes beside the grid."""
VOID = _kernels.VOID
"""The line passes over unknown terrain before it meets any."""
NOT_MET = _kernels.NOT_MET
"""The line ends above the terrain."""


class Terrain(NamedTuple):
    """Heights on a grid.

    Attributes
    ----------
    height : ndarray of float32
        Heights above the WGS 84 ellipsoid (y, x) [m], NaN where unknown.
    geobox : GeoBox
        North-up grid of pixel centers, geographic or projected.
    """

    height: npt.NDArray[np.float32]
    geobox: GeoBox


class Met(NamedTuple):
    """Where lines of sight meet the terrain.

    Attributes
    ----------
    share : FloatArray
        Part of the way from start to end (line,) [1]; NaN where the terrain is not met.
    code : ndarray of uint8
        MET, OUTSIDE, VOID or NOT_MET (line,).
    """

    share: FloatArray
    code: npt.NDArray[np.uint8]


def terrain_from_heights(values: npt.NDArray[np.floating], geobox: GeoBox, *, datum: str | None) -> Terrain:
    """Terrain from a digital elevation model.

    Parameters
    ----------
    values : ndarray
        Heights (y, x) [m], NaN where unknown.
    geobox : GeoBox
        Grid of the heights.
    datum : str, optional
        Vertical datum, as `vertical_datum.named` takes it; without it the one the grid's system states.

    Returns
    -------
    Terrain
        The same grid, heights above the ellipsoid.

    Raises
    ------
    BadInputError
        `vertical_datum_missing` where neither says it, `geoid_missing` where its geoid is not at hand, `dem_missing`
        where no height is known.
    """
    if not np.isfinite(values).any():
        raise BadInputError("dem_missing", "the digital elevation model holds no height")
    crs = pyproj.CRS(grid.system(geobox).to_wkt())
    source = vertical_datum.of_system(crs) if datum is None else vertical_datum.named(datum)
    if source is None:
        raise BadInputError(
            "vertical_datum_missing", "neither file nor caller states the vertical datum of the heights"
        )
    ellipsoid = vertical_datum.named(vertical_datum.ELLIPSOID)
    if source.name == ellipsoid.name:
        return Terrain(np.asarray(values, dtype=np.float32), geobox)
    longitude, latitude = positions(geobox)
    heights = vertical_datum.heights(values, latitude, longitude, source=source, target=ellipsoid)
    return Terrain(heights.astype(np.float32), geobox)


def positions(geobox: GeoBox) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude of the pixel centers of a grid.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    tuple of FloatArray
        Longitude and latitude (y, x) [degree].
    """
    rows, columns = geobox.shape
    transform = geobox.transform
    x, y = np.meshgrid(
        transform.c + (np.arange(columns) + 0.5) * transform.a, transform.f + (np.arange(rows) + 0.5) * transform.e
    )
    return transformed(geobox, x, y)


def transformed(geobox: GeoBox, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude of map coordinates.

    Parameters
    ----------
    geobox : GeoBox
        Grid in whose system the coordinates are.
    x, y : FloatArray
        Map coordinates, any unit.

    Returns
    -------
    tuple of FloatArray
        Longitude and latitude [degree].
    """
    longitude, latitude = _transformer(geobox, "INVERSE").transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


def pixel_of(geobox: GeoBox, longitude: FloatArray, latitude: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fractional position on a grid, 0 at the center of the first pixel.

    Parameters
    ----------
    geobox : GeoBox
        A north-up grid.
    longitude, latitude : FloatArray
        Geodetic position [degree].

    Returns
    -------
    tuple of FloatArray
        Row and column [1].
    """
    x, y = _transformer(geobox, "FORWARD").transform(longitude, latitude)
    transform = geobox.transform
    return (np.asarray(y) - transform.f) / transform.e - 0.5, (np.asarray(x) - transform.c) / transform.a - 0.5


def _transformer(geobox: GeoBox, direction: str) -> pyproj.Transformer:
    crs = pyproj.CRS(grid.system(geobox).to_wkt()).to_2d()
    source, target = ("EPSG:4326", crs) if direction == "FORWARD" else (crs, "EPSG:4326")
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def meet(
    terrain: Terrain, start: tuple[FloatArray, FloatArray, float], end: tuple[FloatArray, FloatArray, float]
) -> Met:
    """First meeting of lines with the terrain.

    A line is straight in map coordinates and height, which it is to a few centimeters over the relief of a scene.

    Parameters
    ----------
    terrain : Terrain
        The terrain.
    start, end : tuple
        Longitude, latitude (line,) [degree] and height [m] of the upper and the lower ends.

    Returns
    -------
    Met
        Share of the way and outcome.
    """
    ends = []
    for longitude, latitude, height in (start, end):
        row, column = pixel_of(terrain.geobox, longitude, latitude)
        ends.append(np.stack([row, column, np.full(row.shape, height)], axis=-1).reshape(-1, 3))
    share = np.empty(ends[0].shape[0])
    code = np.empty(share.size, dtype=np.uint8)
    _kernels.meet_all(terrain.height, ends[0], ends[1], 0.5, share, code)
    return Met(share, code)


def sampled(terrain: Terrain, row: FloatArray, column: FloatArray) -> FloatArray:
    """Bilinear height at fractional positions of the grid.

    Parameters
    ----------
    terrain : Terrain
        The terrain.
    row, column : FloatArray
        Position, 0 at the center of the first pixel [1].

    Returns
    -------
    FloatArray
        Height [m], NaN outside and beside unknown heights.
    """
    heights, (rows, columns) = terrain.height, terrain.height.shape
    with np.errstate(invalid="ignore"):
        inside: BoolArray = (row >= -0.5) & (row <= rows - 0.5) & (column >= -0.5) & (column <= columns - 0.5)
    r, c = (np.clip(np.where(inside, v, 0.0), 0.0, n - 1.0) for v, n in ((row, rows), (column, columns)))
    top, left = (np.minimum(v.astype(np.int64), max(n - 2, 0)) for v, n in ((r, rows), (c, columns)))
    down, right = r - top, c - left
    total = np.zeros(r.shape)
    for i, j, share in (
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    ):
        corner = heights[np.minimum(top + i, rows - 1), np.minimum(left + j, columns - 1)]
        total += np.where(share == 0.0, 0.0, share * corner)
    return np.where(inside, total, np.nan)
