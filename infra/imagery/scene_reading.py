"""Scenes of other missions opened by what they contain, and read by window.

A scene may be a folder, ZIP or TAR archive (SAFE, Landsat, cloud-optimized copies with their STAC item, radar rasters
with terrain correction) or one file (HDF-EOS5 or NetCDF of MODIS and VIIRS, GeoTIFF in map or image geometry). Nothing
is read before it is asked for, and every layer is resampled once, from its own grid or geometry to the wanted one.
"""

import contextlib
import dataclasses
import json
import re
import tarfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import netCDF4
import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import rasterio.errors
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processors.geodesy import vertical_datum
from processors.imagery import (
    elevation_model,
    external_scene,
    gaofen,
    grid,
    landsat,
    modis_viirs,
    rational_polynomial,
    resampling,
    scene_layers,
    sentinel1,
    sentinel2,
)
from processors.imagery.qa import QaBit
from processors.quality import BadInputError

Float32Array: TypeAlias = npt.NDArray[np.float32]

CHANNELS = ("t4", "t11", "t12", "m13")
"""Thermal channels by the names fires are told with: near 4, 11 and 12 um, and one near 4 um that saturates late."""
_CELSIUS = ("c", "degc", "deg_c", "celsius", "°c")
_KELVIN = ("k", "kelvin", "")
_ICE_POINT = 273.15
_PARTIAL_SHARE = 1e-3
_CLOUDED_SHARE = 0.95
_ELEVATION_MARGIN = 64
_RPC_SUFFIXES = (".rpb", ".RPB", ".rpc", ".RPC", "_RPC.TXT", "_rpc.txt", "_RPC.txt")
_METADATA_FILE = re.compile(r"(MTD_MSIL\w+\.xml|_MTL\.(txt|json|xml)|manifest\.safe|\.json)$")
_RADAR_NAME = re.compile(r"_(VV|VH|HH|HV)(?:[_.].*)?\.tiff?$", re.IGNORECASE)
_RADAR_PRODUCT = re.compile(r"^(S1[A-D]_|OPERA_L2_RTC-S1)")


@dataclass(frozen=True)
class Stated:
    """What the caller states because the product cannot.

    Parameters
    ----------
    bands : Mapping, optional
        Band names and indices (from 1) of a plain GeoTIFF.
    time : np.datetime64, optional
        Acquisition time (UTC) of a plain GeoTIFF.
    scale, offset : float, optional
        Reflectance of one number and of the number 0 of a plain GeoTIFF [1].
    coefficient : str
        `sigma0` or `gamma0` of Sentinel-1 GRD.
    remove_noise : bool
        Whether thermal noise is taken out of Sentinel-1 GRD.
    radar_unit : str, optional
        `power`, `amplitude` or `decibel` of a terrain-corrected radar raster.
    calibration : gaofen.AbsoluteCalibration, optional
        Constants of a GF camera.
    utc_offset : float, optional
        Hours the time in GF metadata is ahead of universal time.
    elevation : elevation_model.ElevationModel, optional
        Terrain under an image in image geometry.
    """

    bands: Mapping[str, int] | None = None
    time: np.datetime64 | None = None
    scale: float | None = None
    offset: float | None = None
    coefficient: str = sentinel1.SIGMA0
    remove_noise: bool = True
    radar_unit: str | None = None
    calibration: gaofen.AbsoluteCalibration | None = None
    utc_offset: float | None = None
    elevation: elevation_model.ElevationModel | None = field(default=None, repr=False)


class Scene:
    """An open scene.

    Parameters
    ----------
    metadata : scene_layers.SceneMetadata
        What it says about itself.
    layers : Mapping
        Its layers by name.
    path : Path
        Where it lies.
    open_files : contextlib.ExitStack
        Closed with the scene.
    """

    def __init__(
        self,
        metadata: scene_layers.SceneMetadata,
        layers: Mapping[str, "_Layer"],
        path: Path,
        open_files: contextlib.ExitStack,
    ) -> None:
        self.metadata, self.path = metadata, path
        self.time, self.sun_zenith, self.sun_azimuth = metadata.time, metadata.sun_zenith, metadata.sun_azimuth
        self.warnings = list(metadata.notes)
        self._layers, self._files = dict(layers), open_files
        self._quantities = {layer.name: layer.quantity for layer in metadata.layers}
        reflective = self._of(scene_layers.REFLECTANCE)
        self.bands = tuple(name for name in reflective if name != "pan") or reflective
        self.polarizations = self._of(scene_layers.BACKSCATTER)
        self.channels = self._of(scene_layers.TEMPERATURE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    @property
    def geobox(self) -> GeoBox:
        """Own grid of the finest band that is read by default (not that of a panchromatic band beside others).

        Returns
        -------
        GeoBox
            North-up grid.

        Raises
        ------
        BadInputError
            `grid_missing` where the scene is in image geometry and a grid must be stated.
        """
        names = self.bands or self.polarizations or self.channels
        grids = [box for name in names if (box := self._layers[name].geobox) is not None]
        if not grids:
            raise BadInputError("grid_missing", f"{self.path.name} is in image geometry: state the grid to read it on")
        return min(grids, key=grid.pixel_size)

    def read(
        self,
        bands: Sequence[str] | None = None,
        *,
        geobox: GeoBox | None = None,
        window: Window | None = None,
        method: str | None = None,
    ) -> Float32Array:
        """Values of layers on a grid.

        Parameters
        ----------
        bands : sequence of str, optional
            Layers; default all reflectance bands but a panchromatic one, of a radar scene all polarizations.
        geobox : GeoBox, optional
            The grid; default the scene's own.
        window : rasterio.windows.Window, optional
            Part of the grid in whole pixels, inside it; default all of it.
        method : str, optional
            Resampling; default averaging toward clearly coarser pixels, else bilinear.

        Returns
        -------
        Float32Array
            Values (band, y, x): reflectance [1], backscatter as power [1], temperature [K]; NaN for no data.

        Raises
        ------
        BadInputError
            `band_missing`, `truncated`, `grid_missing`, `elevation_missing`.
        """
        target = geobox or self.geobox
        block = resampling.whole(target) if window is None else _block(window)
        names = list(bands or self.bands or self.polarizations)
        out = np.empty((len(names), block.rows, block.columns), dtype=np.float32)
        for values, name in zip(out, names, strict=True):
            self.metadata.layer(name)
            values[...] = self._layers[name].on_grid(target, block, method=method)
        return out

    def classes(self, name: str, *, geobox: GeoBox | None = None) -> npt.NDArray[np.uint16]:
        """Codes of a class layer on a grid, each from the nearest pixel.

        Parameters
        ----------
        name : str
            `scl` or `qa_pixel`.
        geobox : GeoBox, optional
            The grid; default the scene's own.

        Returns
        -------
        array
            Codes (y, x), 0 outside the scene.
        """
        found = self.read([name], geobox=geobox, method="nearest")[0]
        return np.asarray(np.nan_to_num(found, nan=0.0).astype(np.uint16))

    def _of(self, quantity: str) -> tuple[str, ...]:
        names = (name for name, kind in self._quantities.items() if kind == quantity)
        return tuple(sorted(names, key=external_scene.band_order) if quantity == scene_layers.REFLECTANCE else names)


def open_scene(path: Path | str, *, stated: Stated | None = None) -> Scene:
    """Open a scene of any kind.

    Parameters
    ----------
    path : Path or str
        Folder, ZIP or TAR archive, or file.
    stated : Stated, optional
        What the product cannot say itself.

    Returns
    -------
    Scene
        Open; a context manager.

    Raises
    ------
    BadInputError
        `unreadable`, `scene_unknown`, and what the readers of the metadata refuse.
    """
    location = Path(path)
    said = stated or Stated()
    if not location.exists():
        raise BadInputError("unreadable", f"{location} is not there")
    with contextlib.ExitStack() as guard:
        files = contextlib.ExitStack()
        guard.push(files.__exit__)
        container = _container(location)
        metadata, layers = _opened(container, said, files)
        guard.pop_all()
    return Scene(metadata, layers, location, files)


def stack(
    scenes: Sequence[Scene], *, geobox: GeoBox | None = None, bands: Sequence[str] | None = None, area: str = ""
) -> xr.Dataset:
    """Scene stack of several scenes of one kind on one grid, in time order.

    Parameters
    ----------
    scenes : sequence of Scene
        Open scenes, in any order.
    geobox : GeoBox, optional
        The grid; default the first scene's own.
    bands : sequence of str, optional
        Layers; default those all scenes have.
    area : str
        Name of the area.

    Returns
    -------
    xr.Dataset
        See `external_scene`; attribute `warnings` says what was found odd.

    Raises
    ------
    BadInputError
        `duplicate_acquisition`, `levels_mixed`, `band_missing`, `outside_area`, `all_nodata`, `offset_implausible`.
    """
    if not scenes:
        raise BadInputError("band_missing", "no scene to stack")
    _check_together(scenes)
    ordered = sorted(scenes, key=lambda scene: scene.time)
    target = geobox or scenes[0].geobox
    names = list(bands or _shared(ordered))
    variable, axis, unit = _variable(ordered, names)
    radar = unit == "dB"
    notes = [f"{scene.path.name}: {text}" for scene in ordered for text in scene.warnings]
    layers: dict[np.datetime64, Float32Array] = {}
    for scene in ordered:
        found = _layers_of(scene, names, target, notes)
        # Tiles of one moment complete each other.
        earlier = layers.get(scene.time)
        layers[scene.time] = found if earlier is None else np.where(np.isnan(earlier), found, earlier)
    values = np.stack([sentinel1.decibel(found) if radar else found for found in layers.values()])
    times = np.array(list(layers), dtype="datetime64[ns]")
    attributes = {
        "area": area,
        "sensor": ", ".join(sorted({scene.metadata.sensor for scene in ordered})),
        "radiometric_level": ordered[0].metadata.level,
        "source": ", ".join(scene.metadata.identity for scene in ordered),
        "warnings": "; ".join(notes),
    }
    dataset = xr.Dataset(
        {variable: (("time", axis, "y", "x"), values, {"units": unit})},
        coords={"time": times, axis: names},
        attrs=attributes,
    )
    return grid.assign(dataset, target)


def open_elevation(
    path: Path | str,
    *,
    datum: vertical_datum.Datum | str | None = None,
    parameters: elevation_model.VoidParameters | None = None,
    around: GeoBox | None = None,
) -> elevation_model.ElevationModel:
    """Elevation model from a raster file.

    Parameters
    ----------
    path : Path or str
        The raster.
    datum : vertical_datum.Datum or str, optional
        Vertical datum where the file does not state it.
    parameters : elevation_model.VoidParameters, optional
        What counts as a void.
    around : GeoBox, optional
        Grid whose surroundings are wanted; default the whole raster, which must then fit in memory.

    Returns
    -------
    elevation_model.ElevationModel
        North-up, heights [m].

    Raises
    ------
    BadInputError
        `outside_area`, `vertical_datum_missing` and what else `elevation_model.model_from_array` refuses.
    """
    plain = scene_layers.Decoding(1.0, 0.0, ())
    with contextlib.ExitStack() as files:
        layer = _RasterLayer(scene_layers.Layer("elevation", "elevation", Path(path).name, plain), str(path), files)
        own, part = layer.placed, resampling.whole(layer.placed)
        if around is not None:
            needed = resampling.source_block(layer.place(around, resampling.whole(around)), layer.shape)
            if needed.rows == 0:
                raise BadInputError("outside_area", f"{path} does not reach the wanted grid")
            part = _widened(needed, layer.shape)
        return elevation_model.model_from_array(
            layer.numbers(part),
            geobox=resampling.part_of(own, part),
            nodata=layer.nodata,
            datum=datum,
            parameters=parameters,
        )


def _widened(part: resampling.Block, shape: tuple[int, int]) -> resampling.Block:
    """A block with surroundings wide enough to judge and bridge voids at its edge."""
    top, left = max(part.row - _ELEVATION_MARGIN, 0), max(part.column - _ELEVATION_MARGIN, 0)
    bottom = min(part.row + part.rows + _ELEVATION_MARGIN, shape[0])
    right = min(part.column + part.columns + _ELEVATION_MARGIN, shape[1])
    return resampling.Block(top, left, bottom - top, right - left)


class _Container:
    """Files of a product, in a folder or an archive."""

    def __init__(self, path: Path, main: str | None = None) -> None:
        self.path, self.main = path, main
        self._kind = "" if path.is_dir() else "zip" if zipfile.is_zipfile(path) else "tar"
        if self._kind == "zip":
            with zipfile.ZipFile(path) as archive:
                self.names = [name for name in archive.namelist() if not name.endswith("/")]
        elif self._kind == "tar":
            with tarfile.open(path) as bundle:
                self.names = [member.name for member in bundle if member.isfile()]
        elif main is not None and not _METADATA_FILE.search(main):
            self.names = [main]
        else:
            self.names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())

    def octets(self, name: str) -> bytes:
        if self._kind == "zip":
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        if self._kind == "tar":
            with tarfile.open(self.path) as bundle:
                stream = bundle.extractfile(name)
                return stream.read() if stream is not None else b""
        return (self.path / name).read_bytes()

    def location(self, name: str) -> str:
        return f"/vsi{self._kind}/{self.path.resolve()}/{name}" if self._kind else str(self.path / name)

    def matching(self, pattern: str) -> list[str]:
        return [name for name in self.names if re.search(pattern, name)]


def _container(path: Path) -> _Container:
    if path.is_dir() or zipfile.is_zipfile(path) or tarfile.is_tarfile(path):
        return _Container(path)
    return _Container(path.parent, path.name)


Opened: TypeAlias = tuple[scene_layers.SceneMetadata, dict[str, "_Layer"]]


def _opened(container: _Container, stated: Stated, files: contextlib.ExitStack) -> Opened:
    main = container.main
    if main is None or _METADATA_FILE.search(main):
        if container.matching(r"(^|/)MTD_MSIL(1C|2A)\.xml$"):
            return _sentinel2_safe(container, files)
        if container.matching(r"(^|/)annotation/s1[^/]*\.xml$"):
            return _sentinel1_safe(container, stated, files)
        if container.matching(r"_MTL\.(txt|json|xml)$"):
            return _landsat(container, files)
        if container.matching(r"\.json$"):
            return _stac_copies(container, files)
    if main is not None:
        return _single(container, main, stated, files)
    radar = [name for name in container.names if _is_radar_raster(name)]
    if radar:
        return _radar_rasters(container, radar, stated, files)
    raise BadInputError("scene_unknown", f"{container.path.name} holds no product this system knows")


def _sentinel2_safe(container: _Container, files: contextlib.ExitStack) -> Opened:
    product = scene_layers.only(container.matching(r"(^|/)MTD_MSIL(1C|2A)\.xml$"), what="product metadata")
    tile = scene_layers.only(container.matching(r"(^|/)MTD_TL\.xml$"), what="MTD_TL.xml")
    metadata = sentinel2.metadata_from_xml(container.octets(product), container.octets(tile), names=container.names)
    return metadata, _rasters(metadata, container, files, check=sentinel2.check_offset)


def _stac_copies(container: _Container, files: contextlib.ExitStack) -> Opened:
    for name in container.matching(r"\.json$") if container.main is None else [container.main]:
        item = _item(container.octets(name), name)
        if item is None:
            continue
        known = {PurePosixPath(other).name: other for other in container.names}
        assets = item.get("assets", {}).items()
        found = {key: known.get(PurePosixPath(str(asset.get("href", ""))).name) for key, asset in assets}
        locations = {key: location for key, location in found.items() if location is not None}
        metadata = sentinel2.metadata_from_item(item, locations=locations)
        return metadata, _rasters(metadata, container, files, check=sentinel2.check_offset)
    raise BadInputError("scene_unknown", f"{container.path.name} holds no STAC item")


def _item(octets: bytes, name: str) -> dict[str, Any] | None:
    try:
        item = json.loads(octets)
    except ValueError as error:
        raise BadInputError("metadata_unreadable", f"{name} is no readable JSON: {error}") from error
    return item if isinstance(item, dict) and item.get("type") == "Feature" and "stac_version" in item else None


def _landsat(container: _Container, files: contextlib.ExitStack) -> Opened:
    names = sorted(container.matching(r"_MTL\.(txt|json|xml)$"), key=lambda name: name[-4:] != ".txt")
    if len({name.rpartition("_MTL.")[0] for name in names}) > 1:
        raise BadInputError("metadata_ambiguous", f"{container.path.name} holds several scenes: {', '.join(names)}")
    metadata = landsat.metadata_from_mtl(container.octets(names[0]), names=container.names)
    return metadata, _rasters(metadata, container, files)


def _sentinel1_safe(container: _Container, stated: Stated, files: contextlib.ExitStack) -> Opened:
    product = container.path.name
    if container.path.is_file():
        product = container.names[0].split("/")[0]
    annotations = _by_polarization(container, r"(^|/)annotation/s1[^/]*\.xml$")
    measurements = _by_polarization(container, r"(^|/)measurement/[^/]*\.tiff?$")
    calibrations = _by_polarization(container, r"(^|/)annotation/calibration/calibration-[^/]*\.xml$")
    noises = _by_polarization(container, r"(^|/)annotation/calibration/noise-[^/]*\.xml$")
    lost = sorted(annotations.keys() - measurements.keys() | annotations.keys() - calibrations.keys())
    if lost or (stated.remove_noise and annotations.keys() - noises.keys()):
        raise BadInputError(
            "calibration_missing", f"{product} lacks measurement, calibration or noise of {lost or 'it'}"
        )
    octets = {key: container.octets(name) for key, name in annotations.items()}
    metadata = sentinel1.metadata_from_annotation(
        octets, locations=measurements, coefficient=stated.coefficient, name=product
    )
    layers: dict[str, _Layer] = {}
    for layer in metadata.layers:
        key = layer.name
        noise = container.octets(noises[key]) if stated.remove_noise else None
        calibration = sentinel1.calibration_from_xml(
            container.octets(calibrations[key]), noise, coefficient=stated.coefficient, name=product
        )
        located = sentinel1.geolocation_from_xml(octets[key], name=product)
        layers[key] = _GroundRangeLayer(layer, container.location(layer.location), files, calibration, located)
    return metadata, layers


def _by_polarization(container: _Container, pattern: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in container.matching(pattern):
        match = re.search(r"-(vv|vh|hh|hv)-", PurePosixPath(name).name.lower())
        if match is not None:
            found[match[1]] = name
    return found


def _is_radar_raster(name: str) -> bool:
    stem = PurePosixPath(name).name
    return _RADAR_NAME.search(stem) is not None and _RADAR_PRODUCT.match(stem) is not None


def _radar_rasters(container: _Container, names: Sequence[str], stated: Stated, files: contextlib.ExitStack) -> Opened:
    conventions: dict[str, sentinel1.RasterConvention] = {}
    layers: dict[str, _Layer] = {}
    plain = scene_layers.Decoding(1.0, 0.0, ())
    described = []
    for name in sorted(names, reverse=True):
        probe = scene_layers.Layer("probe", scene_layers.BACKSCATTER, name, plain)
        opened = _TerrainCorrectedLayer(probe, container.location(name), files)
        found = sentinel1.convention(name, opened.tags, unit=stated.radar_unit)
        if found.polarization in conventions:
            raise BadInputError("duplicate_acquisition", f"{container.path.name} holds two of {found.polarization}")
        opened.convention = found
        conventions[found.polarization], layers[found.polarization] = found, opened
        described.append(scene_layers.Layer(found.polarization, scene_layers.BACKSCATTER, name, plain))
    kinds = {(found.coefficient, found.time) for found in conventions.values()}
    if len(kinds) > 1:
        raise BadInputError("levels_mixed", f"{container.path.name}: polarizations of different kind or time")
    first = next(iter(conventions.values()))
    identity = _RADAR_NAME.sub("", PurePosixPath(names[0]).name)
    metadata = scene_layers.SceneMetadata(
        identity, f"sentinel-{first.platform[1:].lower()} c-sar", first.coefficient, first.time, tuple(described)
    )
    return metadata, layers


def _single(container: _Container, name: str, stated: Stated, files: contextlib.ExitStack) -> Opened:
    location = container.path / name
    with location.open("rb") as stream:
        start = stream.read(8)
    modis_viirs.refuse_hdf4(start, name=name)
    if start.startswith((b"\x89HDF", b"CDF")):
        return _fields(location, files)
    if _is_radar_raster(name):
        return _radar_rasters(container, [name], stated, files)
    dataset = _dataset(str(location), files)
    about = location.with_suffix(".xml")
    if dataset.crs is None and about.exists():
        return _image_geometry(location, about, dataset, stated, files)
    return _plain(location, dataset, stated, files)


def _image_geometry(
    location: Path, about: Path, dataset: rasterio.DatasetReader, stated: Stated, files: contextlib.ExitStack
) -> Opened:
    camera = _Camera(_camera_model(location, dataset), stated.elevation, location.name)
    metadata = gaofen.metadata_from_xml(
        about.read_bytes(),
        location=location.name,
        count=dataset.count,
        calibration=stated.calibration,
        utc_offset=stated.utc_offset,
    )
    layers: dict[str, _Layer] = {
        layer.name: _CameraLayer(layer, str(location), files, camera) for layer in metadata.layers
    }
    return metadata, layers


def _camera_model(location: Path, dataset: rasterio.DatasetReader) -> rational_polynomial.RationalPolynomial:
    for suffix in _RPC_SUFFIXES:
        beside = location.with_name(location.stem + suffix)
        if beside.exists():
            text = beside.read_text(encoding="ascii", errors="replace")
            return rational_polynomial.model_from_text(text, name=beside.name)
    tags = dataset.tags(ns="RPC")
    if not tags:
        raise BadInputError("camera_model_missing", f"{location.name} is in image geometry without a camera model")
    return rational_polynomial.model_from_tags(tags, name=location.name)


def _plain(location: Path, dataset: rasterio.DatasetReader, stated: Stated, files: contextlib.ExitStack) -> Opened:
    if not stated.bands:
        described = _described(dataset)
        if set(described) <= set(external_scene.POLARIZATIONS) and described:
            return _described_radar(location, dataset, described, stated, files)
        stated = dataclasses.replace(stated, bands=described)
    if not stated.bands:
        raise BadInputError(
            "band_missing",
            f"{location.name} is a plain raster whose bands carry no known names: state which band is which",
        )
    lost = sorted(name for name, index in stated.bands.items() if index not in dataset.indexes)
    if lost:
        raise BadInputError("band_missing", f"{location.name} has {dataset.count} bands, not {', '.join(lost)}")
    layers = [_plain_layer(name, location, dataset, index, stated) for name, index in stated.bands.items()]
    tags = dataset.tags()
    metadata = scene_layers.SceneMetadata(
        identity=location.name,
        sensor=tags.get("SENSOR", tags.get("sensor", "unknown")),
        level=tags.get("LEVEL", tags.get("radiometric_level", "reflectance")),
        time=stated.time if stated.time is not None else external_scene.raster_time(dataset, source=location.name),
        layers=tuple(layers),
    )
    return metadata, {layer.name: _RasterLayer(layer, str(location), files) for layer in layers}


def _plain_layer(
    name: str, location: Path, dataset: rasterio.DatasetReader, index: int, stated: Stated
) -> scene_layers.Layer:
    if name in CHANNELS:
        decoding = _thermal_decoding(dataset, index, f"{location.name}: {name}")
        return scene_layers.Layer(name, scene_layers.TEMPERATURE, location.name, decoding, index)
    decoding = _plain_decoding(dataset, index, stated, location.name)
    return scene_layers.Layer(name, scene_layers.REFLECTANCE, location.name, decoding, index)


def _thermal_decoding(dataset: rasterio.DatasetReader, index: int, name: str) -> scene_layers.Decoding:
    """From numbers to kelvins; a unit that is not stated is kelvin, for nothing else is stored without saying so."""
    unit = (dataset.units[index - 1] or dataset.tags(index).get("UNITS", "")).strip().lower()
    if unit not in (*_KELVIN, *_CELSIUS):
        raise BadInputError("unit_unknown", f"{name} is in {unit}: brightness temperature is in K or degC")
    nodata = dataset.nodatavals[index - 1]
    offset = dataset.offsets[index - 1] + (_ICE_POINT if unit in _CELSIUS else 0.0)
    return scene_layers.Decoding(dataset.scales[index - 1], offset, () if nodata is None else (nodata,))


def _described(dataset: rasterio.DatasetReader) -> dict[str, int]:
    """Numbers of the bands whose description is the name of one."""
    known = {*external_scene.BANDS, *external_scene.POLARIZATIONS, *CHANNELS}
    told = {(text or "").strip().lower(): number for number, text in enumerate(dataset.descriptions, 1)}
    return {name: number for name, number in told.items() if name in known}


def _described_radar(
    location: Path,
    dataset: rasterio.DatasetReader,
    bands: Mapping[str, int],
    stated: Stated,
    files: contextlib.ExitStack,
) -> Opened:
    """Backscatter whose unit, kind and time stand in the tags."""
    tags, plain = dataset.tags(), scene_layers.Decoding(1.0, 0.0, ())
    time = stated.time if stated.time is not None else external_scene.raster_time(dataset, source=location.name)
    sensor = tags.get("SENSOR", tags.get("sensor", "unknown radar"))
    level = tags.get("LEVEL", tags.get("radiometric_level", stated.coefficient))
    layers: dict[str, _Layer] = {}
    for name, number in bands.items():
        layer = scene_layers.Layer(name, scene_layers.BACKSCATTER, location.name, plain, number)
        opened = _TerrainCorrectedLayer(layer, str(location), files)
        opened.convention = sentinel1.tagged_convention(
            location.name,
            {**tags, **opened.tags},
            polarization=name,
            coefficient=level,
            time=time,
            unit=stated.radar_unit,
        )
        layers[name] = opened
    described = tuple(layer.layer for layer in layers.values())
    return scene_layers.SceneMetadata(location.name, sensor, level, time, described), layers


def _plain_decoding(dataset: rasterio.DatasetReader, index: int, stated: Stated, name: str) -> scene_layers.Decoding:
    scale, offset = dataset.scales[index - 1], dataset.offsets[index - 1]
    nodata = dataset.nodatavals[index - 1]
    if np.dtype(dataset.dtypes[index - 1]).kind in "iu":
        if (scale, offset) == (1.0, 0.0):
            if stated.scale is None:
                raise BadInputError("scale_missing", f"{name}: integers without scale and offset")
            scale, offset = stated.scale, stated.offset or 0.0
        if scale > 1.0:  # GDAL copies the divisor of MODIS files as if it were a factor
            raise BadInputError("scale_implausible", f"{name}: no reflectance has the scale {scale:g}")
        if nodata is None:
            raise BadInputError("nodata_missing", f"{name}: integers without a no-data value")
    return scene_layers.Decoding(scale, offset, () if nodata is None else (nodata,))


def _fields(location: Path, files: contextlib.ExitStack) -> Opened:
    try:
        dataset = netCDF4.Dataset(location)
    except OSError as error:
        raise BadInputError("unreadable", f"{location.name} cannot be read: {error}") from error
    files.callback(dataset.close)
    dataset.set_auto_maskandscale(False)
    variables = dict(_variables(dataset))
    structure = next((v for path, v in variables.items() if path.endswith("StructMetadata.0")), None)
    if structure is None:
        raise BadInputError("crs_missing", f"{location.name} holds no StructMetadata.0 that places its grids")
    grids = modis_viirs.grids_from_structure(_text(structure))
    fields = [
        modis_viirs.GridField(path, _grid_of(path, grids, location.name), {k: v.getncattr(k) for k in v.ncattrs()})
        for path, v in variables.items()
        if len(v.shape) == 2 and "Data Fields" in path
    ]
    attributes = {key: dataset.getncattr(key) for key in dataset.ncattrs()}
    metadata = modis_viirs.metadata_from_fields(fields, name=location.name, attributes=attributes)
    placed = {found.path: grids[found.grid] for found in fields}
    layers: dict[str, _Layer] = {
        layer.name: _FieldLayer(layer, variables[layer.location], placed[layer.location]) for layer in metadata.layers
    }
    return metadata, layers


def _variables(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = [(f"{prefix}/{name}", variable) for name, variable in group.variables.items()]
    for name, inner in group.groups.items():
        found += _variables(inner, f"{prefix}/{name}")
    return found


def _text(variable: Any) -> str:
    value = variable[...]
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return array.tobytes().decode("ascii", errors="replace") if array.dtype.kind == "S" else str(array[()])


def _grid_of(path: str, grids: Mapping[str, GeoBox], name: str) -> str:
    for part in path.split("/"):
        if part in grids:
            return part
    raise BadInputError("metadata_missing", f"{name}: the grid of {path} is not described")


class _Layer:
    """A layer that can be brought onto a grid."""

    def __init__(self, layer: scene_layers.Layer, shape: tuple[int, int], geobox: GeoBox | None) -> None:
        self.layer, self.shape, self.geobox = layer, shape, geobox

    def on_grid(self, target: GeoBox, block: resampling.Block, *, method: str | None) -> Float32Array:
        placement = self.place(target, block)
        part = resampling.source_block(placement, self.shape)
        if part.rows == 0:
            return np.full((block.rows, block.columns), np.nan, dtype=np.float32)
        values = self.values(part)
        how = method or resampling.method_for(placement.scale)
        layers = resampling.sample(values[None], placement, origin=(part.row, part.column), resampling=how)
        return np.asarray(layers[0])

    def place(self, target: GeoBox, block: resampling.Block) -> resampling.Placement:
        own, wanted = grid.system(self.placed).to_wkt(), grid.system(target).to_wkt()
        locate = resampling.affine_locator(self.placed.transform, crs=own, target_crs=wanted)
        return resampling.place(target, locate, block=block)

    @property
    def placed(self) -> GeoBox:
        """Own grid of a layer in map geometry."""
        if self.geobox is None:
            raise ValueError(f"{self.layer.name} is in image geometry")
        return self.geobox

    def values(self, part: resampling.Block) -> Float32Array:
        raise NotImplementedError


class _RasterLayer(_Layer):
    """A band of a raster file in map geometry; rows that run north are turned."""

    def __init__(
        self,
        layer: scene_layers.Layer,
        location: str,
        files: contextlib.ExitStack,
        *,
        check: Any = None,
        mapped: bool = True,
    ) -> None:
        self._dataset = _dataset(location, files)
        self._name, self._check = PurePosixPath(location).name, check
        geobox, self._flips = _north_up(self._dataset, self._name) if mapped else (None, (slice(None), slice(None)))
        if mapped and geobox is None:
            raise BadInputError("crs_missing", f"{self._name} states no coordinate reference system")
        if layer.number not in self._dataset.indexes:
            raise BadInputError("band_missing", f"{self._name} has {self._dataset.count} bands, not {layer.number}")
        super().__init__(layer, self._dataset.shape, geobox)
        self.tags = {**self._dataset.tags(), **self._dataset.tags(layer.number)}
        self.nodata = self._dataset.nodatavals[layer.number - 1]

    def values(self, part: resampling.Block) -> Float32Array:
        decoding = self.layer.decoding
        declared = () if self.nodata is None else (float(self.nodata),)
        known = decoding._replace(nodata=tuple({*decoding.nodata, *declared}))
        values = known.values(self.numbers(part))
        if self._check is not None and self.layer.quantity == scene_layers.REFLECTANCE:
            self._check(values, identity=self._name)
        return values

    def numbers(self, part: resampling.Block) -> npt.NDArray[Any]:
        """Stored numbers of a part counted in the north-up grid."""
        row = self.shape[0] - part.row - part.rows if self._flips[0].step == -1 else part.row
        column = self.shape[1] - part.column - part.columns if self._flips[1].step == -1 else part.column
        try:
            found = self._dataset.read(self.layer.number, window=Window(column, row, part.columns, part.rows))
        except rasterio.errors.RasterioError as error:
            raise BadInputError("truncated", f"{self._name} cannot be read to its end: {error}") from error
        return np.asarray(found[self._flips])


class _TerrainCorrectedLayer(_RasterLayer):
    """Backscatter of a terrain-corrected raster as power."""

    convention: sentinel1.RasterConvention

    def values(self, part: resampling.Block) -> Float32Array:
        values = super().values(part)
        return self.convention.power(values)


class _GroundRangeLayer(_RasterLayer):
    """A polarization of a GRD product, calibrated, placed by its geolocation grid."""

    def __init__(
        self,
        layer: scene_layers.Layer,
        location: str,
        files: contextlib.ExitStack,
        calibration: sentinel1.Calibration,
        located: sentinel1.GeolocationGrid,
    ) -> None:
        super().__init__(layer, location, files, mapped=False)
        self._calibration, self._located = calibration, located

    def place(self, target: GeoBox, block: resampling.Block) -> resampling.Placement:
        to_degrees = _to_degrees(target)

        def locate(x: Any, y: Any) -> Any:
            return self._located.locate(*to_degrees.transform(x, y))

        return resampling.place(target, locate, block=block)

    def values(self, part: resampling.Block) -> Float32Array:
        return self._calibration.power(self.numbers(part), row=part.row, column=part.column)


class _Camera:
    """Camera model and terrain of an image; its bands share the placement on a grid.

    Parameters
    ----------
    model : rational_polynomial.RationalPolynomial
        The camera model.
    elevation : elevation_model.ElevationModel, optional
        Terrain under the image.
    name : str
        The image, for messages.
    """

    def __init__(
        self,
        model: rational_polynomial.RationalPolynomial,
        elevation: elevation_model.ElevationModel | None,
        name: str,
    ) -> None:
        self._model, self._elevation, self._name = model, elevation, name
        self._last: tuple[GeoBox, resampling.Block, resampling.Placement] | None = None

    def place(self, target: GeoBox, block: resampling.Block) -> resampling.Placement:
        if self._elevation is None:
            raise BadInputError("elevation_missing", f"{self._name} is in image geometry: state an elevation model")
        if self._last is None or self._last[1] != block or self._last[0] != target:
            self._last = target, block, self._placed(target, block, self._elevation)
        return self._last[2]

    def _placed(
        self, target: GeoBox, block: resampling.Block, elevation: elevation_model.ElevationModel
    ) -> resampling.Placement:
        part = resampling.part_of(target, block)
        terrain = elevation.on_grid(part, datum=vertical_datum.Datum(vertical_datum.ELLIPSOID))
        rows, columns = np.arange(block.rows, dtype=np.float64), np.arange(block.columns, dtype=np.float64)
        to_degrees, middle = _to_degrees(target), self._model.offset[4]
        longitude, latitude = to_degrees.transform(*resampling.centers(part, rows[:, None], columns[None, :]))
        scale = resampling.pixel_scale(target, lambda x, y: self._model.project(*to_degrees.transform(x, y), middle))
        height = terrain.height.astype(np.float64)
        return resampling.place_exactly(*self._model.project(longitude, latitude, height), scale=scale)


class _CameraLayer(_RasterLayer):
    """A band of an image with a camera model, placed on the terrain."""

    def __init__(
        self,
        layer: scene_layers.Layer,
        location: str,
        files: contextlib.ExitStack,
        camera: "_Camera",
    ) -> None:
        super().__init__(layer, location, files, mapped=False)
        self._camera = camera

    def place(self, target: GeoBox, block: resampling.Block) -> resampling.Placement:
        return self._camera.place(target, block)


class _FieldLayer(_Layer):
    """A two-dimensional variable of a file of gridded fields."""

    def __init__(self, layer: scene_layers.Layer, variable: Any, geobox: GeoBox) -> None:
        if tuple(variable.shape) != tuple(geobox.shape):
            raise BadInputError("grid_irregular", f"{layer.location} has another size than its grid")
        super().__init__(layer, tuple(variable.shape), geobox)
        self._variable = variable

    def values(self, part: resampling.Block) -> Float32Array:
        rows = slice(part.row, part.row + part.rows)
        try:
            numbers = np.asarray(self._variable[rows, part.column : part.column + part.columns])
        except (OSError, RuntimeError) as error:
            raise BadInputError("truncated", f"{self.layer.location} cannot be read: {error}") from error
        return self.layer.decoding.values(numbers)


def _rasters(
    metadata: scene_layers.SceneMetadata, container: _Container, files: contextlib.ExitStack, *, check: Any = None
) -> dict[str, _Layer]:
    return {
        layer.name: _RasterLayer(layer, container.location(layer.location), files, check=check)
        for layer in metadata.layers
    }


def _dataset(location: str, files: contextlib.ExitStack) -> rasterio.DatasetReader:
    try:
        # Rasters in image geometry are opened on purpose.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            dataset = rasterio.open(location)
    except rasterio.errors.RasterioIOError as error:
        raise BadInputError("unreadable", f"{location} is no readable raster: {error}") from error
    files.callback(dataset.close)
    return dataset


class _Turned(NamedTuple):
    geobox: GeoBox | None
    flips: tuple[slice, slice]


def _north_up(dataset: rasterio.DatasetReader, name: str) -> _Turned:
    """North-up grid of a raster and the slices that turn its rows and columns that way."""
    straight = slice(None)
    if dataset.crs is None:
        return _Turned(None, (straight, straight))
    transform = dataset.transform
    if transform.b or transform.d:
        raise BadInputError("grid_irregular", f"{name}: the raster is rotated against its axes")
    crs = grid.coordinate_system(dataset.crs.to_wkt())
    flips = [straight, straight]
    rows, columns = dataset.shape
    if transform.e > 0:
        transform = transform @ Affine(1, 0, 0, 0, -1, rows)
        flips[0] = slice(None, None, -1)
    if transform.a < 0:
        transform = transform @ Affine(-1, 0, columns, 0, 1, 0)
        flips[1] = slice(None, None, -1)
    geobox = GeoBox(dataset.shape, transform, f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt())
    grid.check_place(geobox)
    return _Turned(geobox, (flips[0], flips[1]))


def _to_degrees(target: GeoBox) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(grid.horizontal(grid.system(target).to_wkt()), "EPSG:4326", always_xy=True)


def _block(window: Window) -> resampling.Block:
    return resampling.Block(int(window.row_off), int(window.col_off), int(window.height), int(window.width))


def _check_together(scenes: Sequence[Scene]) -> None:
    seen: dict[str, str] = {}
    for scene in scenes:
        identity = scene.metadata.identity
        if identity in seen:
            raise BadInputError(
                "duplicate_acquisition", f"{scene.path.name} and {seen[identity]} are the same acquisition {identity}"
            )
        seen[identity] = scene.path.name
    levels = {scene.metadata.level for scene in scenes}
    if len(levels) > 1:
        raise BadInputError("levels_mixed", f"scenes of different radiometric level: {', '.join(sorted(levels))}")


def _variable(scenes: Sequence[Scene], names: Sequence[str]) -> tuple[str, str, str]:
    """Name, band dimension and unit of what the layers hold."""
    kinds = {scene.metadata.layer(name).quantity for scene in scenes for name in names}
    known = {
        scene_layers.REFLECTANCE: ("reflectance", "band", "1"),
        scene_layers.TEMPERATURE: ("temperature", "band", "K"),
        scene_layers.BACKSCATTER: ("backscatter", "polarization", "dB"),
    }
    found = known.get("+".join(sorted(kinds)))
    if found is None:
        raise BadInputError("levels_mixed", f"layers of {', '.join(sorted(kinds))} do not make one variable")
    return found


def _shared(scenes: Sequence[Scene]) -> list[str]:
    sets = [set(scene.bands or scene.polarizations) for scene in scenes]
    shared = set.intersection(*sets)
    if not shared:
        raise BadInputError("band_missing", "the scenes have no band in common")
    return [name for name in (scenes[0].bands or scenes[0].polarizations) if name in shared]


def _layers_of(scene: Scene, names: Sequence[str], target: GeoBox, notes: list[str]) -> Float32Array:
    values = scene.read(names, geobox=target)
    seen = np.isfinite(values)
    if not bool(seen.any()):
        cause, text = (
            ("all_nodata", "holds no data in") if _overlaps(scene, target) else ("outside_area", "lies outside")
        )
        raise BadInputError(cause, f"{scene.path.name} {text} the area")
    clouded = _stated_cloud_share(scene, target)
    if clouded > _CLOUDED_SHARE:
        notes.append(f"{scene.path.name}: by its own mask {100 * clouded:.0f} % of the area is cloud or shadow")
    partial = float((seen.any(axis=0) & ~seen.all(axis=0)).mean())
    if partial > _PARTIAL_SHARE:
        notes.append(
            f"{scene.path.name}: {100 * partial:.1f} % of the pixels lack some bands only (no-data number over dark"
            " water, saturation or detector edges); they are no data there, not zero"
        )
    return values


def _stated_cloud_share(scene: Scene, target: GeoBox) -> float:
    """Share of the observed area that the product's own mask calls cloud or shadow; 0 where it has no mask."""
    readers = {"scl": sentinel2.qa_bits, "qa_pixel": landsat.qa_bits}
    for layer in scene.metadata.layers:
        if layer.name in readers:
            bits = readers[layer.name](scene.classes(layer.name, geobox=target))
            seen = (bits & QaBit.NODATA) == 0
            return float(((bits[seen] & (QaBit.CLOUD | QaBit.SHADOW)) != 0).mean()) if seen.any() else 0.0
    return 0.0


def _overlaps(scene: Scene, target: GeoBox) -> bool:
    try:
        own = grid.geographic_bounds(scene.geobox)
    except BadInputError:
        return False
    other = grid.geographic_bounds(target)
    return own[0] < other[2] and other[0] < own[2] and own[1] < other[3] and other[1] < own[3]
