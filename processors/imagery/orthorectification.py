"""Images in perspective onto a map: frames of aircraft and UAVs over a surface model, satellite images by a model.

Every pixel of the grid takes its height from the surface, its image position from the camera, and one sample from the
image. Where the surface rises above the line between place and camera, the image shows something else: the pixel stays
empty and is marked.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyproj
from odc.geo.geobox import GeoBox

from processors.arrays import BoolArray, FloatArray
from processors.imagery import _orthorectification_kernels as _sampling
from processors.imagery import _terrain_kernels as _kernels
from processors.imagery import frame_camera, grid, qa, terrain
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]


class ImageModel(Protocol):
    """Camera model in geodetic coordinates, such as rational polynomials."""

    def project(self, longitude: FloatArray, latitude: FloatArray, height: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Row and column, 0 at the center of the first pixel, NaN beyond the model's range [1]."""


@dataclass(frozen=True)
class OrthorectificationParameters:
    """Orthorectification.

    Parameters
    ----------
    sampling : str
        "bilinear" or "cubic".
    hide : bool
        Whether places the camera does not see are searched for.
    margin : float
        Rise of the surface above the line of sight from which it hides, over its pixel size: noise of the surface model
        hides nothing [1].
    step : float
        Step of that search, over the pixel size of the surface [1].
    sight_length : float
        Distance along which the view of a satellite is followed [m].
    """

    sampling: Literal["bilinear", "cubic"] = "bilinear"
    hide: bool = True
    margin: float = 0.5
    step: float = 0.7
    sight_length: float = 20_000.0


class Orthorectified(NamedTuple):
    """Part of an image on a map.

    Attributes
    ----------
    values : Float32Array
        Image (band, y, x) in its own unit, NaN where unknown.
    bits : ndarray of uint16
        Quality bits (y, x): no data outside the image, over unknown heights and in hidden places; the latter are
        layover too.
    hidden : BoolArray
        Places the surface hides from the camera (y, x).
    void : BoolArray
        Places of unknown height (y, x).
    """

    values: Float32Array
    bits: npt.NDArray[np.uint16]
    hidden: BoolArray
    void: BoolArray


def frame(
    image: Float32Array,
    view: frame_camera.FrameView,
    *,
    surface: terrain.Terrain,
    target: GeoBox,
    parameters: OrthorectificationParameters | None = None,
) -> Orthorectified:
    """Orthorectify a frame.

    Parameters
    ----------
    image : Float32Array
        Image (band, row, column), any unit.
    view : frame_camera.FrameView
        Camera in its place, in the system of the target and with heights of the surface's datum.
    surface : terrain.Terrain
        Surface model, on a grid in the system of the target.
    target : GeoBox
        Grid, or a part of one: parts give what the whole gives.
    parameters : OrthorectificationParameters, optional
        The orthorectification.

    Returns
    -------
    Orthorectified
        Image on the grid.

    Raises
    ------
    BadInputError
        `camera_model_missing` where image and camera differ in size, `crs_mismatch` where surface and target do not
        share their system, `outside` where the surface ends before the target begins.
    """
    chosen = parameters or OrthorectificationParameters()
    if image.shape[1:] != (view.camera.rows, view.camera.columns):
        raise BadInputError(
            "camera_model_missing",
            f"the camera is of {view.camera.rows} x {view.camera.columns} pixels, the image of {image.shape[1:]}",
        )
    _check_system(surface, target)
    x, y = _map_coordinates(target)
    place = _Places.on(surface, x, y)
    row, column = view.image_from_world(x, y, place.height)
    eye = _eye(surface, view.exterior.position)
    blocked = _hidden(surface, place, eye, _inside(row, column, image), chosen)
    return _assembled(image, row, column, place, blocked, chosen)


def image_by_model(
    image: Float32Array,
    model: ImageModel,
    *,
    surface: terrain.Terrain,
    target: GeoBox,
    parameters: OrthorectificationParameters | None = None,
) -> Orthorectified:
    """Orthorectify an image whose model takes longitude, latitude and height above the ellipsoid.

    The direction of sight, which says what is hidden, is found from the model: the displacement on the map that undoes
    a change of height in the image.

    Parameters
    ----------
    image : Float32Array
        Image (band, row, column), any unit.
    model : ImageModel
        Camera model.
    surface : terrain.Terrain
        Ellipsoidal heights, on a grid in the system of the target.
    target : GeoBox
        Grid, or a part of one.
    parameters : OrthorectificationParameters, optional
        The orthorectification.

    Returns
    -------
    Orthorectified
        Image on the grid.

    Raises
    ------
    BadInputError
        `crs_mismatch` or `outside` as for `frame`.
    """
    chosen = parameters or OrthorectificationParameters()
    _check_system(surface, target)
    x, y = _map_coordinates(target)
    place = _Places.on(surface, x, y)
    longitude, latitude = terrain.transformed(target, x, y)
    row, column = model.project(longitude, latitude, place.height)
    blocked = np.zeros(x.shape, dtype=np.bool_)
    inside = _inside(row, column, image)
    if chosen.hide and inside.any():
        eye = _distant_eye(model, surface, chosen.sight_length)
        blocked = _hidden(surface, place, eye, inside, chosen, parallel=True)
    return _assembled(image, row, column, place, blocked, chosen)


class _Places(NamedTuple):
    """Pixels of the target on the grid of the surface."""

    row: FloatArray
    column: FloatArray
    height: FloatArray

    @classmethod
    def on(cls, surface: terrain.Terrain, x: FloatArray, y: FloatArray) -> "_Places":
        row, column = _surface_pixel(surface, x, y)
        rows, columns = surface.height.shape
        if not np.any((row > -0.5) & (row < rows - 0.5) & (column > -0.5) & (column < columns - 0.5)):
            raise BadInputError("outside", "the surface model does not reach the target grid")
        return cls(row, column, terrain.sampled(surface, row, column))


def _check_system(surface: terrain.Terrain, target: GeoBox) -> None:
    first, second = (pyproj.CRS(grid.system(box).to_wkt()).to_2d() for box in (surface.geobox, target))
    if not first.equals(second, ignore_axis_order=True):
        raise BadInputError("crs_mismatch", f"surface in {first.name}, target in {second.name}")


def _map_coordinates(target: GeoBox) -> tuple[FloatArray, FloatArray]:
    rows, columns = target.shape
    transform = target.transform
    x, y = np.meshgrid(
        transform.c + (np.arange(columns) + 0.5) * transform.a, transform.f + (np.arange(rows) + 0.5) * transform.e
    )
    return x, y


def _surface_pixel(surface: terrain.Terrain, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    transform = surface.geobox.transform
    return (y - transform.f) / transform.e - 0.5, (x - transform.c) / transform.a - 0.5


def _eye(surface: terrain.Terrain, position: FloatArray) -> FloatArray:
    row, column = _surface_pixel(surface, position[:1], position[1:2])
    return np.array([row[0], column[0], position[2]])


def _inside(row: FloatArray, column: FloatArray, image: Float32Array) -> BoolArray:
    rows, columns = image.shape[1:]
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (row >= -0.5) & (row <= rows - 0.5) & (column >= -0.5) & (column <= columns - 0.5), dtype=np.bool_
        )


def _hidden(
    surface: terrain.Terrain,
    place: _Places,
    eye: FloatArray,
    inside: BoolArray,
    parameters: OrthorectificationParameters,
    *,
    parallel: bool = False,
) -> BoolArray:
    """Places inside the image that do not see the eye, or do not see along its direction."""
    blocked = np.zeros(inside.shape, dtype=np.bool_)
    if not parameters.hide or not inside.any():
        return blocked
    found = np.zeros(int(inside.sum()), dtype=np.bool_)
    margin = parameters.margin * float(np.mean(np.abs([surface.geobox.transform.a, surface.geobox.transform.e])))
    top = float(np.nanmax(surface.height))
    rows, columns, heights = (np.ascontiguousarray(layer[inside]) for layer in place)
    _kernels.hidden(surface.height, rows, columns, heights, eye, parallel, top, margin, parameters.step, found)
    blocked[inside] = found
    return blocked


def _distant_eye(model: ImageModel, surface: terrain.Terrain, length: float) -> FloatArray:
    """Steps in row and column of the surface and height toward the camera, from the model at the surface's middle."""
    rows, columns = surface.height.shape
    box = surface.geobox
    x = np.array([box.transform.c + columns / 2 * box.transform.a])
    y = np.array([box.transform.f + rows / 2 * box.transform.e])
    level = np.array([float(np.nanmean(surface.height))])
    step = 10.0 * np.abs(box.transform.a), 10.0 * np.abs(box.transform.e), 100.0

    def image(dx: float, dy: float, dz: float) -> FloatArray:
        longitude, latitude = terrain.transformed(box, x + dx, y + dy)
        return np.stack(model.project(longitude, latitude, level + dz))[:, 0]

    here = image(0.0, 0.0, 0.0)
    by_x, by_y, by_z = (
        (image(*(step[k] if k == axis else 0.0 for k in range(3))) - here) / step[axis] for axis in range(3)
    )
    jacobian = np.stack([by_x, by_y], axis=1)
    if not np.isfinite(jacobian).all() or not np.isfinite(by_z).all() or abs(np.linalg.det(jacobian)) == 0.0:
        raise BadInputError("outside", "the camera model does not reach the surface model")
    # moving up by one meter and along by this leaves the image position as it is
    along = -np.linalg.solve(jacobian, by_z)
    return np.array([along[1] / box.transform.e * length, along[0] / box.transform.a * length, length])


def _assembled(
    image: Float32Array,
    row: FloatArray,
    column: FloatArray,
    place: _Places,
    blocked: BoolArray,
    parameters: OrthorectificationParameters,
) -> Orthorectified:
    values = np.empty((image.shape[0], row.size), dtype=np.float32)
    sample = _sampling.cubic if parameters.sampling == "cubic" else _sampling.bilinear
    sample(np.ascontiguousarray(image, dtype=np.float32), row.ravel(), column.ravel(), values)
    values[:, blocked.ravel()] = np.nan
    void = np.isnan(place.height)
    shaped = values.reshape(image.shape[0], *row.shape)
    bits = np.where(np.isnan(shaped).any(axis=0), np.uint16(qa.QaBit.NODATA), np.uint16(0))
    bits |= np.where(blocked, np.uint16(qa.QaBit.LAYOVER), np.uint16(0))
    return Orthorectified(shaped, bits, blocked, void)


def footprint(view: frame_camera.FrameView, surface: terrain.Terrain, *, resolution: float) -> GeoBox:
    """Smallest aligned grid that covers what a frame shows of a surface.

    Parameters
    ----------
    view : frame_camera.FrameView
        Camera in its place.
    surface : terrain.Terrain
        Surface model in the system of the camera.
    resolution : float
        Pixel size of the grid [m].

    Returns
    -------
    GeoBox
        Grid with edges at multiples of the resolution, within the surface.

    Raises
    ------
    BadInputError
        `outside` where the frame does not show the surface.
    """
    known = np.isfinite(surface.height)
    x, y = _map_coordinates(surface.geobox)
    row, column = view.image_from_world(x, y, np.where(known, surface.height, np.nan))
    rows, columns = view.camera.rows, view.camera.columns
    seen = _inside(row, column, np.empty((0, rows, columns), dtype=np.float32))
    if not seen.any():
        raise BadInputError("outside", "the frame does not show the surface model")
    half = np.abs([surface.geobox.transform.a, surface.geobox.transform.e]) / 2.0
    bounds = (
        x[seen].min() - half[0],
        y[seen].min() - half[1],
        x[seen].max() + half[0],
        y[seen].max() + half[1],
    )
    return grid.covering(bounds, crs=str(surface.geobox.crs), resolution=resolution)


def model_footprint(
    model: ImageModel, surface: terrain.Terrain, *, shape: tuple[int, int], resolution: float | None = None
) -> GeoBox:
    """Smallest aligned grid that covers what an image shows of a surface.

    Parameters
    ----------
    model : ImageModel
        Camera model.
    surface : terrain.Terrain
        Ellipsoidal heights on a projected grid.
    shape : tuple of int
        Rows and columns of the image.
    resolution : float, optional
        Pixel size of the grid [m]; without it the ground distance of the image's pixels, to a tenth of a meter.

    Returns
    -------
    GeoBox
        Grid with edges at multiples of the resolution, within the surface.

    Raises
    ------
    BadInputError
        `outside` where the image does not show the surface.
    """
    x, y = _map_coordinates(surface.geobox)
    row, column = model.project(*terrain.positions(surface.geobox), np.asarray(surface.height, dtype=np.float64))
    seen = _inside(row, column, np.empty((0, *shape), dtype=np.float32))
    if seen.sum() < 4:
        raise BadInputError("outside", "the image does not show the surface model")
    if resolution is None:
        area = np.abs(surface.geobox.transform.a * surface.geobox.transform.e)
        turned = np.gradient(row, axis=1), np.gradient(row, axis=0), np.gradient(column, axis=1)
        pixels = np.abs(turned[0] * np.gradient(column, axis=0) - turned[1] * turned[2])
        resolution = max(round(float(np.sqrt(area / np.nanmedian(pixels[seen]))), 1), 0.1)
    half = np.abs([surface.geobox.transform.a, surface.geobox.transform.e]) / 2.0
    bounds = x[seen].min() - half[0], y[seen].min() - half[1], x[seen].max() + half[0], y[seen].max() + half[1]
    return grid.covering(bounds, crs=str(surface.geobox.crs), resolution=resolution)
