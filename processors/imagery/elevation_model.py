"""Elevation models: heights with a stated vertical datum, voids found and never taken for terrain."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray
from processors.geodesy import vertical_datum
from processors.imagery import grid, resampling
from processors.quality import BadInputError

Float32Array: TypeAlias = npt.NDArray[np.float32]

_LOWEST, _HIGHEST = -500.0, 9000.0
_UNDULATION_STEP = 32


@dataclass(frozen=True)
class VoidParameters:
    """What counts as a void of an elevation model.

    Parameters
    ----------
    fill_values : tuple of float
        Numbers products write for voids besides the declared one [m].
    plateau_pixels : int
        Pixels of one connected patch of exactly 0 m from which it is a suspected void [1].
    plateau_rise : float
        Median height around such a patch from which 0 m is no sea [m].
    fill_distance : float
        Farthest a void pixel may be from terrain to be bridged; farther ones stay voids [pixel].
    """

    fill_values: tuple[float, ...] = (-32768.0, -32767.0, -9999.0, -99999.0)
    plateau_pixels: int = 9
    plateau_rise: float = 10.0
    fill_distance: float = 8.0


class Terrain(NamedTuple):
    """Terrain on a grid."""

    height: Float32Array
    """Heights in the stated datum (y, x) [m], NaN in voids."""
    void: BoolArray
    """Where the source had no terrain (y, x), bridged or not."""
    datum: str
    """Name of the vertical datum."""


@dataclass(frozen=True)
class ElevationModel:
    """An elevation model in memory with its grid and vertical datum.

    Parameters
    ----------
    height : array
        Heights (y, x) [m], NaN in voids.
    geobox : GeoBox
        Its grid.
    datum : vertical_datum.Datum
        Datum of the heights.
    parameters : VoidParameters
        How far voids are bridged.
    """

    height: Float32Array
    geobox: GeoBox
    datum: vertical_datum.Datum
    parameters: VoidParameters = VoidParameters()

    @functools.cached_property
    def filled(self) -> Float32Array:
        """Heights with narrow voids bridged.

        Returns
        -------
        Float32Array
            Heights (y, x) [m], NaN where terrain is too far.
        """
        return bridged(self.height, self.parameters)

    def on_grid(self, geobox: GeoBox, *, datum: vertical_datum.Datum) -> Terrain:
        """Terrain on another grid and in another datum; narrow voids bridged from their edges, all of them marked.

        Parameters
        ----------
        geobox : GeoBox
            The wanted grid.
        datum : vertical_datum.Datum
            The wanted datum.

        Returns
        -------
        Terrain
            NaN and void outside the model.

        Raises
        ------
        BadInputError
            `outside_area` where the model does not reach the grid, `geoid_missing`.
        """
        locate = resampling.affine_locator(
            self.geobox.transform, crs=grid.system(self.geobox).to_wkt(), target_crs=grid.system(geobox).to_wkt()
        )
        placement = resampling.place(geobox, locate)
        part = resampling.source_block(placement, self.height.shape)
        rows, columns = slice(part.row, part.row + part.rows), slice(part.column, part.column + part.columns)
        layers = np.stack([layer[rows, columns] for layer in (self.height, self.filled)])
        method = resampling.method_for(placement.scale)
        raw, filled = resampling.sample(layers, placement, origin=(part.row, part.column), resampling=method)
        if not bool(np.isfinite(raw).any()):
            raise BadInputError("outside_area", "the elevation model has no terrain within the grid")
        change = undulation_on(geobox, self.datum) - undulation_on(geobox, datum)
        return Terrain((filled + change).astype(np.float32), np.isnan(raw), datum.name)


def model_from_array(
    numbers: npt.NDArray[np.generic],
    *,
    geobox: GeoBox,
    nodata: float | None,
    datum: vertical_datum.Datum | str | None,
    parameters: VoidParameters | None = None,
) -> ElevationModel:
    """Elevation model from the numbers of a raster.

    Parameters
    ----------
    numbers : array
        Heights (y, x) [m].
    geobox : GeoBox
        Its grid; where its system is compound or three-dimensional it states the datum.
    nodata : float, optional
        Declared number of voids [m].
    datum : vertical_datum.Datum or str, optional
        Datum stated by the caller; it must not contradict the system.
    parameters : VoidParameters, optional
        What counts as a void.

    Returns
    -------
    ElevationModel
        Heights with NaN in voids, plateaus of zero included.

    Raises
    ------
    BadInputError
        `vertical_datum_missing` where nobody states it, `vertical_datum_contradicted`, `elevation_implausible`,
        `all_nodata`.
    """
    limits = parameters or VoidParameters()
    height = without_voids(numbers, nodata=nodata, parameters=limits)
    if not bool(np.isfinite(height).any()):
        raise BadInputError("all_nodata", "the elevation model holds no height")
    low, high = float(np.nanmin(height)), float(np.nanmax(height))
    if low < _LOWEST or high > _HIGHEST:
        raise BadInputError("elevation_implausible", f"heights of {low:.0f} to {high:.0f} m are no terrain in meters")
    return ElevationModel(height, geobox, stated_datum(grid.system(geobox).to_wkt(), datum), limits)


def stated_datum(system: str, datum: vertical_datum.Datum | str | None) -> vertical_datum.Datum:
    """Vertical datum from the file's system and the caller's word.

    Parameters
    ----------
    system : str
        WKT of the file's reference system.
    datum : vertical_datum.Datum or str, optional
        What the caller states.

    Returns
    -------
    vertical_datum.Datum
        The datum.

    Raises
    ------
    BadInputError
        `vertical_datum_missing` or `vertical_datum_contradicted`.
    """
    found = vertical_datum.of_system(pyproj.CRS.from_wkt(system))
    said = vertical_datum.named(datum) if isinstance(datum, str) else datum
    if found is None and said is None:
        raise BadInputError(
            "vertical_datum_missing",
            "the elevation model does not say what its heights refer to; state it (ellipsoid, egm96, egm2008, EPSG:n)",
        )
    if found is not None and said is not None and found.name != said.name:
        raise BadInputError(
            "vertical_datum_contradicted", f"the file says {found.name}, the caller {said.name} for the heights"
        )
    return said or found or vertical_datum.Datum(vertical_datum.ELLIPSOID)


def without_voids(
    numbers: npt.NDArray[np.generic], *, nodata: float | None, parameters: VoidParameters
) -> Float32Array:
    """Heights with NaN where the model has a void.

    Parameters
    ----------
    numbers : array
        Heights as stored (y, x) [m].
    nodata : float, optional
        Declared number of voids [m].
    parameters : VoidParameters
        What counts as a void.

    Returns
    -------
    Float32Array
        Heights (y, x) [m].
    """
    height = np.asarray(numbers, dtype=np.float32).copy()
    marks = np.array([*parameters.fill_values, *([] if nodata is None else [nodata])], dtype=np.float32)
    height[np.isin(height, marks) | ~np.isfinite(height)] = np.nan
    height[zero_plateaus(height, parameters)] = np.nan
    return height


def zero_plateaus(height: Float32Array, parameters: VoidParameters) -> BoolArray:
    """Patches of exactly 0 m that lie in terrain well above the sea: voids written as zero.

    Parameters
    ----------
    height : Float32Array
        Heights (y, x) [m], NaN in known voids.
    parameters : VoidParameters
        Size of a patch and rise of its surroundings.

    Returns
    -------
    BoolArray
        Suspected voids (y, x).
    """
    labels, count = ndimage.label(height == 0.0)
    suspect = np.zeros(height.shape, dtype=bool)
    for number, part in enumerate(ndimage.find_objects(labels), 1) if count else ():
        patch = _grown(part, height.shape)
        own = labels[patch] == number
        if int(own.sum()) < parameters.plateau_pixels:
            continue
        rim = height[patch][ndimage.binary_dilation(own, iterations=2) & ~own]
        rim = rim[np.isfinite(rim)]
        if rim.size == 0 or float(np.median(np.abs(rim))) >= parameters.plateau_rise:
            suspect[patch] |= own
    return suspect


def bridged(height: Float32Array, parameters: VoidParameters) -> Float32Array:
    """Heights with narrow voids filled by the inverse-distance mean of the nearest terrain in eight directions.

    Parameters
    ----------
    height : Float32Array
        Heights (y, x) [m], NaN in voids.
    parameters : VoidParameters
        How far voids are bridged.

    Returns
    -------
    Float32Array
        Heights (y, x) [m], NaN where terrain is too far.
    """
    void = np.isnan(height)
    if not bool(void.any()) or bool(void.all()):
        return height
    near = np.asarray(ndimage.distance_transform_edt(void)) <= parameters.fill_distance
    rows, columns = np.nonzero(void & near)
    total, weight = np.zeros(rows.size), np.zeros(rows.size)
    for distance in range(1, round(3 * parameters.fill_distance) + 1):
        for row_step, column_step in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            y, x = rows + distance * row_step, columns + distance * column_step
            inside = (y >= 0) & (x >= 0) & (y < height.shape[0]) & (x < height.shape[1])
            value = np.full(rows.size, np.nan)
            value[inside] = height[y[inside], x[inside]]
            share = np.where(np.isfinite(value), (distance * np.hypot(row_step, column_step)) ** -2.0, 0.0)
            total += share * np.nan_to_num(value)
            weight += share
    filled = height.copy()
    known = weight > 0
    filled[rows[known], columns[known]] = total[known] / weight[known]
    return filled


def undulation_on(geobox: GeoBox, datum: vertical_datum.Datum) -> FloatArray:
    """Undulation of a datum on a grid; computed at every 32nd pixel and linear between (geoids are smooth).

    Parameters
    ----------
    geobox : GeoBox
        The grid.
    datum : vertical_datum.Datum
        The datum.

    Returns
    -------
    FloatArray
        Height of its zero surface above the ellipsoid (y, x) [m].
    """
    if datum.undulation is None and datum.name == vertical_datum.ELLIPSOID:
        return np.zeros(geobox.shape)
    nodes = [_nodes(size) for size in geobox.shape]
    x, y = resampling.centers(geobox, nodes[0][:, None], nodes[1][None, :])
    own = grid.horizontal(grid.system(geobox).to_wkt())
    transformer = pyproj.Transformer.from_crs(own, "EPSG:4326", always_xy=True)
    longitude, latitude = transformer.transform(x, y)
    found = vertical_datum.undulation(datum, np.asarray(latitude), np.asarray(longitude))
    along = np.stack([np.interp(np.arange(geobox.shape[1]), nodes[1], row) for row in found])
    return np.stack([np.interp(np.arange(geobox.shape[0]), nodes[0], column) for column in along.T], axis=1)


def geoid_from_array(undulations: npt.NDArray[np.generic], *, transform: Affine, name: str) -> vertical_datum.Datum:
    """Datum of a geoid whose undulations a geographic raster holds.

    Parameters
    ----------
    undulations : array
        Height of the geoid above the ellipsoid (y, x) [m], NaN where unknown.
    transform : Affine
        Pixel to longitude and latitude [degree].
    name : str
        Name of the geoid.

    Returns
    -------
    vertical_datum.Datum
        Bicubic between the pixel centers; NaN outside the raster.
    """
    values = np.asarray(undulations, dtype=np.float64)
    inverse = ~transform

    def undulation(latitude: FloatArray, longitude: FloatArray) -> FloatArray:
        column, row = inverse @ (np.asarray(longitude), np.asarray(latitude))
        places = np.stack([np.ravel(row - 0.5), np.ravel(column - 0.5)])
        edge = np.array(values.shape)[:, None] - 0.5
        found = ndimage.map_coordinates(values, places, order=3, mode="nearest")
        outside = (places < -0.5).any(axis=0) | (places > edge).any(axis=0)
        return np.asarray(np.where(outside, np.nan, found).reshape(np.shape(latitude)))

    return vertical_datum.Datum(name, undulation)


def _grown(part: Sequence[slice], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(s.start - 3, 0), min(s.stop + 3, n)) for s, n in zip(part, shape, strict=True))


def _nodes(size: int) -> FloatArray:
    return np.unique(np.append(np.arange(0, size, _UNDULATION_STEP), size - 1)).astype(np.float64)
