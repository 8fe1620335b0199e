"""The common grid: where a scene lies, which grid to work on, and how to bring a scene onto another grid."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pyproj
import rasterio.warp
import xarray as xr
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio.enums import Resampling

from processors import constants
from processors.quality import BadInputError

ALIGNMENT_TOLERANCE = 1e-6
"""Largest offset of pixel edges from the multiples of the pixel size [pixel]."""

_METER_PER_DEGREE = constants.WGS84_SEMI_MAJOR * math.pi / 180.0
_PLACE_TOLERANCE = 15.0
_OBFUSCATED = ("gcj", "bd-09", "bd09", "mars coordinates")


def coordinate_system(text: str) -> pyproj.CRS:
    """Coordinate reference system from its description.

    Parameters
    ----------
    text : str
        WKT, PROJ string or authority code.

    Returns
    -------
    pyproj.CRS
        Geographic or projected system.

    Raises
    ------
    BadInputError
        `crs_missing` where the text is empty, unreadable, local, or an obfuscated system (GCJ-02, BD-09).
    """
    if any(name in text.lower() for name in _OBFUSCATED):
        raise BadInputError("crs_missing", "obfuscated coordinates (GCJ-02, BD-09) are not a usable reference system")
    try:
        crs = pyproj.CRS.from_user_input(text)
    except CRSError as error:
        raise BadInputError("crs_missing", f"no readable coordinate reference system: {error}") from error
    if not (crs.is_geographic or crs.is_projected):
        raise BadInputError("crs_missing", f"coordinate reference system {crs.name!r} is not tied to the earth")
    return crs


def system(geobox: GeoBox) -> CRS:
    """Coordinate reference system of a grid.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    CRS
        The system.

    Raises
    ------
    BadInputError
        `crs_missing` where the grid has none.
    """
    if geobox.crs is None:
        raise BadInputError("crs_missing", "the grid has no coordinate reference system")
    return geobox.crs


def geobox_of(scene: xr.Dataset) -> GeoBox:
    """Grid of a scene from its pixel centers and CF grid mapping.

    Parameters
    ----------
    scene : xr.Dataset
        Holds coordinates `y`, `x` (regularly spaced pixel centers) and a grid mapping with WKT.

    Returns
    -------
    GeoBox
        Shape, affine transform and coordinate reference system.

    Raises
    ------
    BadInputError
        `crs_missing` without a grid mapping, `grid_irregular` where the spacing varies.
    """
    crs = coordinate_system(_grid_mapping_text(scene))
    (y, height), (x, width) = (_axis(scene, name) for name in ("y", "x"))
    transform = rasterio.Affine(width, 0.0, x[0] - width / 2, 0.0, height, y[0] - height / 2)
    return GeoBox((y.size, x.size), transform, crs.to_wkt() if crs.to_epsg() is None else f"EPSG:{crs.to_epsg()}")


def assign(dataset: xr.Dataset, geobox: GeoBox) -> xr.Dataset:
    """Give a dataset the coordinates and the CF grid mapping of a grid.

    Parameters
    ----------
    dataset : xr.Dataset
        Spatial variables end in dimensions (y, x) of the grid's shape.
    geobox : GeoBox
        The grid.

    Returns
    -------
    xr.Dataset
        The dataset with `y`, `x` [CRS unit] and `spatial_ref`; every spatial variable names its grid mapping.
    """
    rows, columns = geobox.shape
    transform = geobox.transform
    y = transform.f + (np.arange(rows) + 0.5) * transform.e
    x = transform.c + (np.arange(columns) + 0.5) * transform.a
    located = dataset.assign_coords(
        y=("y", y, _axis_attributes(geobox, "y")),
        x=("x", x, _axis_attributes(geobox, "x")),
        spatial_ref=((), np.int32(system(geobox).epsg or 0), _grid_mapping_attributes(geobox)),
    )
    for variable in located.data_vars.values():
        if {"y", "x"} <= set(variable.dims):
            variable.encoding.pop("grid_mapping", None)
            variable.attrs["grid_mapping"] = "spatial_ref"
    return located


def alignment_offset(geobox: GeoBox) -> float:
    """Offset of the pixel edges from the multiples of the pixel size.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    float
        Larger of the two offsets, 0 to 0.5 [pixel].
    """
    transform = geobox.transform
    steps = (transform.c / transform.a, transform.f / transform.e)
    return max(abs(step - round(step)) for step in steps)


def snapped(geobox: GeoBox) -> GeoBox:
    """Smallest grid over the same area whose pixel edges are multiples of the pixel size.

    Parameters
    ----------
    geobox : GeoBox
        A north-up grid.

    Returns
    -------
    GeoBox
        Aligned to 1e-6 pixel; the same grid where it already was.
    """
    if alignment_offset(geobox) <= ALIGNMENT_TOLERANCE:
        return geobox
    return covering(geobox.boundingbox.bbox, crs=str(geobox.crs), resolution=abs(float(geobox.transform.a)))


def covering(bounds: Sequence[float], *, crs: str, resolution: float) -> GeoBox:
    """Smallest aligned grid that covers a bounding box.

    Parameters
    ----------
    bounds : Sequence of float
        Left, bottom, right, top [CRS unit].
    crs : str
        Coordinate reference system of the grid.
    resolution : float
        Pixel size [CRS unit].

    Returns
    -------
    GeoBox
        North-up grid with edges at multiples of the resolution.
    """
    slack = ALIGNMENT_TOLERANCE
    left, bottom = (math.floor(edge / resolution + slack) for edge in bounds[:2])
    right, top = (math.ceil(edge / resolution - slack) for edge in bounds[2:])
    transform = rasterio.Affine(resolution, 0.0, left * resolution, 0.0, -resolution, top * resolution)
    return GeoBox((top - bottom, right - left), transform, crs)


def working_grid(scene: xr.Dataset) -> GeoBox:
    """Grid on which the scenes of an area meet: the scene's own UTM grid, snapped to its pixel size.

    Parameters
    ----------
    scene : xr.Dataset
        The scene that decides, usually the finest.

    Returns
    -------
    GeoBox
        Projected grid aligned to 1e-6 pixel.
    """
    own = geobox_of(scene)
    if system(own).projected:
        return snapped(own)
    bounds = own.boundingbox
    crs = f"EPSG:{utm_zone((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2)}"
    projected = rasterio.warp.transform_bounds(system(own).to_wkt(), crs, *bounds.bbox)
    return covering(projected, crs=crs, resolution=round(pixel_size(own), 3))


def geographic_bounds(geobox: GeoBox) -> tuple[float, float, float, float]:
    """Smallest box in WGS 84 that holds a grid.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    tuple of float
        West, south, east, north [degree].
    """
    bounds = rasterio.warp.transform_bounds(system(geobox).to_wkt(), "EPSG:4326", *geobox.boundingbox.bbox)
    west, south, east, north = (float(edge) for edge in bounds)
    return west, south, east, north


def within(geobox: GeoBox, box: Sequence[float]) -> GeoBox:
    """Part of a grid that a box in degrees covers, whole pixels.

    Parameters
    ----------
    geobox : GeoBox
        North-up grid.
    box : sequence of float
        West, south, east, north in WGS 84 [degree].

    Returns
    -------
    GeoBox
        Part of the same grid; at least one pixel where they touch.

    Raises
    ------
    BadInputError
        `outside_area` where they do not overlap.
    """
    left, bottom, right, top = rasterio.warp.transform_bounds("EPSG:4326", system(geobox).to_wkt(), *box)
    inverse, (rows, columns) = ~geobox.transform, geobox.shape
    first, last = inverse @ (left, top), inverse @ (right, bottom)
    west, north = max(math.floor(first[0]), 0), max(math.floor(first[1]), 0)
    east, south = min(math.ceil(last[0]), columns), min(math.ceil(last[1]), rows)
    if west >= east or north >= south:
        raise BadInputError("outside_area", "the box lies outside the grid")
    return part(geobox, slice(north, south), slice(west, east))


def part(geobox: GeoBox, rows: slice, columns: slice) -> GeoBox:
    """Rows and columns of a grid.

    Parameters
    ----------
    geobox : GeoBox
        Grid.
    rows, columns : slice
        Start and stop of each [pixel].

    Returns
    -------
    GeoBox
        The part, its pixels those of the grid.
    """
    affine = geobox.transform
    corner = affine @ (columns.start, rows.start)
    moved = rasterio.Affine(affine.a, affine.b, corner[0], affine.d, affine.e, corner[1])
    return GeoBox((rows.stop - rows.start, columns.stop - columns.start), moved, geobox.crs)


def horizontal(text: str) -> pyproj.CRS:
    """Horizontal part of a coordinate reference system.

    Parameters
    ----------
    text : str
        WKT, PROJ string or authority code; compound and three-dimensional systems too.

    Returns
    -------
    pyproj.CRS
        Two-dimensional system: positions are never mixed up with heights.
    """
    crs = pyproj.CRS.from_user_input(text)
    return (crs.sub_crs_list[0] if crs.is_compound else crs).to_2d()


def check_place(geobox: GeoBox) -> None:
    """Refuse a grid that cannot be where its system says: axes swapped, or coordinates of another system.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Raises
    ------
    BadInputError
        `axes_swapped`.
    """
    bounds = geobox.boundingbox
    x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    if system(geobox).geographic:
        if max(abs(bounds.bottom), abs(bounds.top)) > 90.0 + _PLACE_TOLERANCE or not -360.0 <= x <= 540.0:
            raise BadInputError("axes_swapped", f"latitude {y:g}, longitude {x:g}: longitude and latitude are swapped")
        return
    crs = horizontal(system(geobox).to_wkt())
    if crs.area_of_use is None:
        return
    longitude, latitude = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    west, south, east, north = crs.area_of_use.bounds
    east += 360.0 * (east < west)
    beyond = max(south - latitude, latitude - north, 0.0)
    aside = min(max(west - turned, turned - east, 0.0) for turned in (longitude, longitude + 360.0, longitude - 360.0))
    if not (math.isfinite(longitude) and max(beyond, aside) <= _PLACE_TOLERANCE):
        raise BadInputError(
            "axes_swapped",
            f"x {x:.0f}, y {y:.0f} lie far outside the area of {crs.name}: axes are swapped or the system is another",
        )


def utm_zone(longitude: float, latitude: float) -> int:
    """EPSG code of the UTM zone of a place (WGS 84).

    Parameters
    ----------
    longitude, latitude : float
        Geodetic position [degree].

    Returns
    -------
    int
        326xx in the north, 327xx in the south.
    """
    zone = int((longitude + 180.0) % 360.0 // 6.0) + 1
    return (32600 if latitude >= 0 else 32700) + zone


def match(scene: xr.Dataset, geobox: GeoBox) -> xr.Dataset:
    """Bring a scene onto a grid with one resampling per layer.

    Float layers are resampled bilinearly (averaged where the target is coarser), integer and boolean layers take the
    nearest pixel; cells outside the scene are NaN, 0 or False.

    Parameters
    ----------
    scene : xr.Dataset
        A scene stack on any grid.
    geobox : GeoBox
        The target grid.

    Returns
    -------
    xr.Dataset
        The scene on the target grid; the same values where the grids are equal.

    Raises
    ------
    BadInputError
        `crs_missing` where the scene cannot be located.
    """
    own = geobox_of(scene)
    if same(own, geobox):
        return assign(scene, geobox)
    variables = {
        name: _resampled(array, own, geobox) if {"y", "x"} <= set(array.dims) else array
        for name, array in scene.data_vars.items()
    }
    coordinates = {name: array for name, array in scene.coords.items() if not {"y", "x"} & set(array.dims)}
    located = xr.Dataset(variables, coords=_without(coordinates, "spatial_ref"), attrs=scene.attrs)
    return assign(located, geobox)


def same(first: GeoBox, second: GeoBox) -> bool:
    """Whether two grids have equal pixels to 1e-6 pixel.

    Parameters
    ----------
    first, second : GeoBox
        The grids.

    Returns
    -------
    bool
        True where shape, system and all corners agree.
    """
    if first.shape != second.shape or first.crs != second.crs:
        return False
    size = abs(float(first.transform.a))
    pairs = zip(first.transform[:6], second.transform[:6], strict=True)
    return all(abs(a - b) <= ALIGNMENT_TOLERANCE * size for a, b in pairs)


def _without(mapping: dict[Hashable, Any], *names: str) -> dict[Hashable, Any]:
    return {key: value for key, value in mapping.items() if key not in names}


def _resampled(array: xr.DataArray, own: GeoBox, target: GeoBox) -> xr.DataArray:
    ordered = array.transpose(..., "y", "x")
    layers = ordered.values.reshape(-1, *own.shape)
    resampled = np.stack([_resampled_layer(layer, own, target) for layer in layers])
    shape = ordered.shape[:-2] + tuple(target.shape)
    return xr.DataArray(resampled.reshape(shape), dims=ordered.dims, attrs=array.attrs)


def _resampled_layer(layer: np.ndarray[Any, Any], own: GeoBox, target: GeoBox) -> np.ndarray[Any, Any]:
    continuous = np.issubdtype(layer.dtype, np.floating)
    source = layer if layer.dtype != bool else layer.astype(np.uint8)
    out = np.full(target.shape, np.nan if continuous else 0, dtype=source.dtype)
    rasterio.warp.reproject(
        source,
        out,
        src_transform=own.transform,
        src_crs=system(own).to_wkt(),
        dst_transform=target.transform,
        dst_crs=system(target).to_wkt(),
        src_nodata=np.nan if continuous else None,
        dst_nodata=np.nan if continuous else None,
        init_dest_nodata=continuous,
        resampling=_method(own, target) if continuous else Resampling.nearest,
    )
    return out.astype(layer.dtype)


def _method(own: GeoBox, target: GeoBox) -> Resampling:
    """Average going to clearly coarser pixels, else aliasing; bilinear otherwise."""
    return Resampling.average if pixel_size(target) > 1.5 * pixel_size(own) else Resampling.bilinear


def pixel_size(geobox: GeoBox) -> float:
    """Size of a pixel on the ground.

    Parameters
    ----------
    geobox : GeoBox
        Projected or geographic grid.

    Returns
    -------
    float
        Height of a pixel [m]; degrees count along the equator.
    """
    size = abs(float(geobox.transform.e))
    return size * _METER_PER_DEGREE if system(geobox).geographic else size


def _axis(scene: xr.Dataset, name: str) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    if name not in scene.coords or scene.sizes[name] < 2:
        raise BadInputError("grid_irregular", f"the scene has no axis {name!r} of two or more pixel centers")
    centers = scene[name].values.astype(np.float64)
    step = (centers[-1] - centers[0]) / (centers.size - 1)
    if step == 0 or np.abs(np.diff(centers) - step).max() > 1e-3 * abs(step):
        raise BadInputError("grid_irregular", f"the pixel centers along {name!r} are not regularly spaced")
    return centers, float(step)


def _grid_mapping_text(scene: xr.Dataset) -> str:
    named = {str(array.attrs.get("grid_mapping", array.encoding.get("grid_mapping"))) for array in scene.values()}
    for name in (*sorted(named), "spatial_ref", "crs"):
        if name in scene.variables:
            attributes = scene[name].attrs
            text = attributes.get("crs_wkt") or attributes.get("spatial_ref")
            if text:
                return str(text)
    raise BadInputError("crs_missing", "the scene names no coordinate reference system (CF grid mapping with crs_wkt)")


def _grid_mapping_attributes(geobox: GeoBox) -> dict[str, Any]:
    crs = pyproj.CRS.from_wkt(system(geobox).to_wkt())
    transform = geobox.transform
    geo_transform = (transform.c, transform.a, 0.0, transform.f, 0.0, transform.e)
    wkt = crs.to_wkt()
    return {
        **{key: value for key, value in crs.to_cf().items() if key != "crs_wkt"},
        "crs_wkt": wkt,
        "spatial_ref": wkt,
        "GeoTransform": " ".join(f"{value:.17g}" for value in geo_transform),
    }


def _axis_attributes(geobox: GeoBox, name: str) -> dict[str, Any]:
    if system(geobox).geographic:
        standard, unit = {"y": ("latitude", "degrees_north"), "x": ("longitude", "degrees_east")}[name]
        return {"standard_name": standard, "units": unit}
    return {"standard_name": f"projection_{name}_coordinate", "units": "m"}
