"""Frames and satellite images in perspective, with a surface model, to map-projected files."""

import functools
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import rasterio.errors
import yaml
from odc.geo.geobox import GeoBox

from infra.imagery import height_file, raster_file, tiling
from processors.geodesy import vertical_datum
from processors.imagery import frame_camera, grid, orthorectification, qa, rational_polynomial, terrain
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]


class SurfaceFile(NamedTuple):
    """A surface model and the datum its heights are wanted in."""

    path: Path
    """Raster of heights."""
    datum: str | None
    """Vertical datum of the file; None where the file states it, or where it is the camera's."""
    ellipsoidal: bool
    """Whether heights above the ellipsoid are wanted; else they stay as they are."""


def run(
    image: Path,
    out: Path,
    *,
    view: frame_camera.FrameView | orthorectification.ImageModel,
    dem: Path,
    dem_datum: str | None = None,
    camera_datum: str | None = None,
    resolution: float | None = None,
    parameters: orthorectification.OrthorectificationParameters | None = None,
) -> dict[str, Any]:
    """Orthorectify one image onto an aligned grid in the system of the surface model.

    Parameters
    ----------
    image : Path
        The image; its own georeference, if any, is not used.
    out : Path
        Raster of the image's bands and data type; quality bits go beside it as `<name>_qa.tif`.
    view : FrameView or ImageModel
        Frame camera in its place, or a model of longitude, latitude and ellipsoidal height such as
        `RationalPolynomial`.
    dem : Path
        Surface model in a projected system, that of a frame camera's place; where it ends, the output has no data.
    dem_datum : str, optional
        Vertical datum of the surface model, where the file does not state it.
    camera_datum : str, optional
        Vertical datum of a frame camera's height; without it the height is taken to be of the surface's datum, with a
        warning.
    resolution : float, optional
        Pixel size [m]; without it the median ground distance of the image's pixels.
    parameters : OrthorectificationParameters, optional
        The orthorectification.

    Returns
    -------
    dict
        Report: `shape`, `resolution`, shares `covered`, `hidden`, `void`, and `warnings`.

    Raises
    ------
    BadInputError
        Causes of `orthorectification.frame`, `raster_file.open_raster` and `terrain.terrain_from_heights`;
        `vertical_datum_mismatch` where camera and surface state datums that differ.
    """
    notes: list[str] = []
    model = not isinstance(view, frame_camera.FrameView)
    if not model:
        notes += _agreement(dem, dem_datum, camera_datum)
    source = SurfaceFile(dem, dem_datum, ellipsoidal=model)
    surface = _surface(source)
    target = _target(view, surface, _shape(image), resolution)
    encoding, names, values = _image(image)
    crs, transform = grid.system(target).to_wkt(), target.transform
    parts = tiling.tiles(target.shape.yx)
    work = functools.partial(_tile, image=image, source=source, view=view, target=target, parameters=parameters)
    counts = np.zeros(3, dtype=np.int64)
    with (
        raster_file.RasterWriter(
            out,
            shape=target.shape.yx,
            crs=crs,
            transform=transform,
            encoding=encoding,
            descriptions=names,
            tags=_tags(image, dem),
        ) as writer,
        raster_file.RasterWriter(
            out.with_name(f"{out.stem}_qa.tif"),
            shape=target.shape.yx,
            encoding=raster_file.Encoding("uint16", (1.0,), (0.0,), 65535.0),
            descriptions=("quality bits",),
            categorical=True,
            crs=crs,
            transform=transform,
        ) as marks,
    ):

        def consume(tile: tiling.Tile, made: orthorectification.Orthorectified) -> None:
            writer.write(made.values, tile.core)
            marks.write(made.bits[None].astype(np.float32), tile.core)
            counts[:] += [int((made.bits == 0).sum()), int(made.hidden.sum()), int(made.void.sum())]

        tiling.run(work, parts, consume=consume)
    if counts[0] == 0:
        notes.append("nothing of the image falls on the surface model")
    total = float(np.prod(target.shape.yx))
    return {
        "image": str(image),
        "output": str(out),
        "shape": list(target.shape.yx),
        "bands": int(values.shape[0]),
        "resolution": float(target.transform.a),
        "covered": float(counts[0] / total),
        "hidden": float(counts[1] / total),
        "void": float(counts[2] / total),
        "warnings": notes,
    }


def _tile(
    tile: tiling.Tile,
    *,
    image: Path,
    source: SurfaceFile,
    view: frame_camera.FrameView | orthorectification.ImageModel,
    target: GeoBox,
    parameters: orthorectification.OrthorectificationParameters | None,
) -> orthorectification.Orthorectified:
    values = _image(image)[2]
    core, transform = tile.core, target.transform
    corner = transform @ (core.col_off, core.row_off)
    placed = rasterio.Affine(transform.a, 0.0, corner[0], 0.0, transform.e, corner[1])
    part = GeoBox((int(core.height), int(core.width)), placed, target.crs)
    surface = _surface(source)
    try:
        if isinstance(view, frame_camera.FrameView):
            return orthorectification.frame(values, view, surface=surface, target=part, parameters=parameters)
        return orthorectification.image_by_model(values, view, surface=surface, target=part, parameters=parameters)
    except BadInputError as error:
        if error.cause != "outside":
            raise
        return _empty(values.shape[0], part.shape.yx)


def _empty(bands: int, shape: tuple[int, int]) -> orthorectification.Orthorectified:
    """A tile the surface model does not reach."""
    return orthorectification.Orthorectified(
        np.full((bands, *shape), np.nan, dtype=np.float32),
        np.full(shape, int(qa.QaBit.NODATA), dtype=np.uint16),
        np.zeros(shape, dtype=np.bool_),
        np.ones(shape, dtype=np.bool_),
    )


def _image(path: Path) -> tuple[raster_file.Encoding, tuple[str, ...], Float32Array]:
    """Encoding, band names and values of an image, whatever its georeference; one copy a process."""
    return _image_of(path, _changed(path))


def _changed(path: Path) -> int:
    """When a file was changed: what is kept of it is kept no longer than that."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise BadInputError("unreadable", f"{path} is no readable raster: {error}") from error


@functools.lru_cache(maxsize=2)
def _image_of(path: Path, _changed_at: int) -> tuple[raster_file.Encoding, tuple[str, ...], Float32Array]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as dataset:
                numbers = dataset.read()
                encoding = raster_file.Encoding(
                    dataset.dtypes[0], tuple(dataset.scales), tuple(dataset.offsets), dataset.nodata
                )
                names = tuple(text or f"band {number}" for number, text in enumerate(dataset.descriptions, 1))
        except rasterio.errors.RasterioError as error:
            raise BadInputError("unreadable", f"{path} is no readable raster: {error}") from error
    scale, offset = (np.asarray(values, dtype=np.float32)[:, None, None] for values in encoding[1:3])
    values = (numbers * scale + offset).astype(np.float32)
    if encoding.nodata is not None:
        values[numbers == encoding.nodata] = np.nan
    return encoding, names, values


def _shape(path: Path) -> tuple[int, int]:
    values = _image(path)[2]
    return int(values.shape[1]), int(values.shape[2])


def _surface(source: SurfaceFile) -> terrain.Terrain:
    """Surface model; one copy a process."""
    return _surface_of(source, _changed(source.path))


@functools.lru_cache(maxsize=2)
def _surface_of(source: SurfaceFile, _changed_at: int) -> terrain.Terrain:
    with raster_file.open_raster(source.path) as raster:
        if raster.geobox is None or not pyproj.CRS(grid.system(raster.geobox).to_wkt()).to_2d().is_projected:
            raise BadInputError("crs_missing", f"{source.path}: a surface model in a projected system is needed")
        heights, geobox = height_file.plausible(raster.read(bands=[1])[0])[0], raster.geobox
    if not np.isfinite(heights).any():
        raise BadInputError("dem_missing", f"{source.path} holds no height")
    if source.ellipsoidal:
        return terrain.terrain_from_heights(heights, geobox, datum=source.datum)
    return terrain.Terrain(heights, geobox)


def _agreement(dem: Path, dem_datum: str | None, camera_datum: str | None) -> list[str]:
    """Refuse datums that differ; say what was taken for granted."""
    stated = None if dem_datum is None else vertical_datum.named(dem_datum)
    if stated is None:
        with raster_file.open_raster(dem) as raster:
            stated = None if raster.crs is None else vertical_datum.of_system(pyproj.CRS(raster.crs.to_wkt()))
    if camera_datum is None:
        name = "the surface model's" if stated is None else stated.name
        return [f"the camera's height states no vertical datum and is taken to be of {name}"]
    camera = vertical_datum.named(camera_datum)
    if stated is None:
        raise BadInputError("vertical_datum_missing", f"{dem} does not state the vertical datum of its heights")
    if stated.name != camera.name:
        raise BadInputError(
            "vertical_datum_mismatch", f"{dem} has heights of {stated.name}, the camera's is of {camera.name}"
        )
    return []


def _target(
    view: frame_camera.FrameView | orthorectification.ImageModel,
    surface: terrain.Terrain,
    shape: tuple[int, int],
    resolution: float | None,
) -> GeoBox:
    if isinstance(view, frame_camera.FrameView):
        size = resolution or _ground_distance(view, surface)
        return orthorectification.footprint(view, surface, resolution=size)
    return orthorectification.model_footprint(view, surface, shape=shape, resolution=resolution)


def _ground_distance(view: frame_camera.FrameView, surface: terrain.Terrain) -> float:
    """Ground distance of the pixels in the middle of the image, to two digits."""
    above = float(view.exterior.position[2] - np.nanmedian(surface.height))
    if above <= 0:
        raise BadInputError("outside", "the camera is not above the surface model")
    middle = np.array([view.camera.rows / 2.0]), np.array([view.camera.columns / 2.0])
    slant = above / max(-float(view.direction(*middle)[0, 2]), 0.1)
    distance = slant / (view.camera.focal[0] * max(view.camera.rows, view.camera.columns))
    digits = 1 - math.floor(math.log10(distance))
    return round(distance, digits)


def _tags(image: Path, dem: Path) -> Mapping[str, str]:
    return {"source": image.name, "surface_model": dem.name}


def view_of(
    image: Path,
    *,
    dem: Path,
    reconstruction: Path | None = None,
    interior: Path | None = None,
    exterior: Path | None = None,
    rpc: Path | None = None,
    axes: str = "map",
) -> "frame_camera.FrameView | orthorectification.ImageModel":
    """Camera of an image from the files that come with it, or from its own tags.

    Parameters
    ----------
    image : Path
        The image.
    dem : Path
        Surface model, in whose system a frame camera stands.
    reconstruction, interior, exterior : Path, optional
        See `frame_view`.
    rpc : Path, optional
        Rational polynomial coefficients, where the image's tags hold none.
    axes : str
        See `frame_view`.

    Returns
    -------
    FrameView or ImageModel
        What `run` is told.

    Raises
    ------
    BadInputError
        `camera_model_missing`, `crs_missing`.
    """
    if rpc is not None:
        return rational_polynomial.model_from_text(_text(rpc), name=rpc.name)
    if reconstruction is None and interior is None and exterior is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(image) as dataset:
                tags = dataset.tags(ns="RPC")
        if not tags:
            raise BadInputError(
                "camera_model_missing",
                f"{image.name} holds no RPC: give --rpc, --reconstruction, or --interior and --exterior",
            )
        return rational_polynomial.model_from_tags(tags, name=image.name)
    with raster_file.open_raster(dem) as heights:
        if heights.geobox is None:
            raise BadInputError("crs_missing", f"{dem.name} states no coordinate reference system")
        crs = grid.system(heights.geobox).to_wkt()
    return frame_view(
        image.name,
        crs=crs,
        reconstruction=reconstruction,
        axes=axes,
        interior=interior,
        exterior=exterior,
        size=_shape(image),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError("unreadable", f"{path} is no readable text: {error}") from error


def _loaded(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise BadInputError("unreadable", f"{path} is no readable JSON: {error}") from error


def frame_view(
    name: str,
    *,
    crs: str,
    reconstruction: Path | None = None,
    axes: str = "map",
    interior: Path | None = None,
    exterior: Path | None = None,
    size: tuple[int, int] | None = None,
) -> frame_camera.FrameView:
    """Camera of one frame from the files that come with it.

    Parameters
    ----------
    name : str
        Name of the image, with or without extension.
    crs : str
        Projected system of the surface model.
    reconstruction : Path, optional
        OpenSfM `reconstruction.json`.
    axes : str
        "map" for OpenDroneMap's, "topocentric" for OpenSfM's own.
    interior : Path, optional
        YAML of cameras by name with `im_size` (columns, rows), `focal_len`, `sensor_size` and optionally `cx`, `cy`,
        `k1`, `k2`, `k3`, `p1`, `p2`.
    exterior : Path, optional
        Table of name, x, y, z, omega, phi, kappa.
    size : tuple of int, optional
        Rows and columns of a resized image.

    Returns
    -------
    FrameView
        The camera in its place.

    Raises
    ------
    BadInputError
        `camera_model_missing`.
    """
    stem = Path(name).stem if Path(name).suffix else name
    if reconstruction is not None:
        loaded = _loaded(reconstruction)
        views: dict[str, frame_camera.FrameView] = {}
        for part in loaded if isinstance(loaded, list) else [loaded]:
            views |= frame_camera.views_from_reconstruction(
                part, crs=crs, axes="topocentric" if axes == "topocentric" else "map", size=size
            )
        if stem not in views:
            raise BadInputError("camera_model_missing", f"{reconstruction} has no shot {stem}")
        return views[stem]
    if interior is None or exterior is None:
        raise BadInputError(
            "camera_model_missing", "a frame needs a reconstruction, or interior and exterior orientation"
        )
    places = frame_camera.exteriors_from_table(_text(exterior))
    if stem not in places:
        raise BadInputError("camera_model_missing", f"{exterior} has no orientation of {stem}")
    return frame_camera.FrameView(_camera(interior, size), places[stem])


def _camera(path: Path, size: tuple[int, int] | None) -> frame_camera.FrameCamera:
    try:
        loaded = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise BadInputError("unreadable", f"{path} is no readable YAML: {error}") from error
    try:
        (about,) = loaded.values()
        columns, rows = (int(number) for number in about["im_size"])
        rows, columns = size or (rows, columns)
        width, height = (float(number) for number in about["sensor_size"])
        longer = max(rows, columns)
        focal = (
            float(about["focal_len"]) * columns / width / longer,
            float(about["focal_len"]) * rows / height / longer,
        )
        term = {name: float(about.get(name, 0.0)) for name in ("cx", "cy", "k1", "k2", "k3", "p1", "p2")}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInputError("camera_model_missing", f"{path}: no readable interior orientation: {error}") from error
    return frame_camera.FrameCamera(
        rows,
        columns,
        focal,
        (term["cx"], term["cy"]),
        (term["k1"], term["k2"], term["k3"]),
        (term["p1"], term["p2"]),
    )
