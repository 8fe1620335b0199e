"""Active fires of a scene in a file: pixels are tested tile by tile, fires are put together from all tiles."""

import csv
import datetime
import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from rasterio.windows import Window
from scipy import ndimage

from infra.imagery import raster_file, tiling
from infra.surface import alignment, vector_file
from infra.surface import fire_list as list_file
from processors.imagery import solar_geometry
from processors.quality import BadInputError
from products import vector
from products.sectors import active_fire as product
from retrieval.surface import active_fire, fire_event, fire_power, static_source, swir_fire

BANDS = MappingProxyType(
    {
        "t4": ("K", "brightness temperature near 4 um, NaN without data"),
        "t11": ("K", "brightness temperature near 11 um"),
        "m13": ("K", "brightness temperature of a band near 4 um that saturates late, on the same grid"),
        "blue": ("1", "reflectance near 0.45 um"),
        "green": ("1", "reflectance near 0.55 um"),
        "red": ("1", "reflectance near 0.65 um"),
        "nir": ("1", "reflectance near 0.86 um"),
        "swir1": ("1", "reflectance near 1.6 um"),
        "swir2": ("1", "reflectance near 2.2 um"),
        "sun_zenith": ("degree", "zenith angle of the sun"),
        "glint_angle": ("degree", "angle between view and mirror direction of the sun"),
    }
)
"""Bands a scene may have: name, unit, meaning. Thermal scenes need t4 and t11, others nir, swir1 and swir2.

All lie on one grid and are told apart by name, not by number. Beside kelvins reflectance is between 0 and 1; alone it
follows the house rule for integers. The time (UTC) is that of one of `_TIME_TAGS` unless it is given.
"""
THERMAL = ("t4", "t11")
"""Bands near 4 and 11 um."""
OTHERS = tuple(name for name in BANDS if name not in THERMAL)
"""Other bands that may be named."""
FINE_SENSORS = ("oli", "msi")
"""Sensors of 10 to 30 m."""
PLAUSIBLE = (180.0, 600.0)
"""Brightness temperature of the earth and of fires that fill a pixel [K]."""
PLAUSIBLE_POWER = (180.0, 1000.0)
"""The same of a band that saturates late [K]."""
ENCODING = raster_file.Encoding("float32", (1.0,) * 3, (0.0,) * 3, 255.0)
MEANINGS = "no_fire fire static_source no_data"
DEFAULT_RADIUS = 1000.0
"""Radius of a static source that states none [m]."""
_IMPLAUSIBLE_SHARE = 0.01
_MESH = 33
_TIME_TAGS = ("time", "datetime", "acquisition_time", "TIFFTAG_DATETIME")

_Raster = npt.NDArray[np.float32]


class Geometry(NamedTuple):
    """Sun and view of a scene, as far as they are given."""

    time: datetime.datetime | None = None
    """Time of the scene (UTC)."""
    sun_zenith: float | None = None
    """Zenith angle of the sun [degree]."""
    glint_angle: float | None = None
    """Angle between the direction to the sensor and the mirror direction of the sun [degree]."""
    scan_angle: float | None = None
    """Angle from nadir at the satellite [degree], for rasters that are not mapped."""
    altitude: float = 830_000.0
    """Height of the satellite [m]."""


class _Job(NamedTuple):
    """What a tile needs."""

    scene: Path
    bands: Mapping[str, int]
    sensor: fire_power.FireSensor | None
    radiance: bool
    zenith: npt.NDArray[np.float64]
    glint: float | None
    water: Path | None
    cloud: Path | None
    binary_cloud: bool
    shape: tuple[int, int]
    area: float
    parameters: product.ActiveFireProductParameters


class _Part(NamedTuple):
    """What a tile gives."""

    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]
    cause: npt.NDArray[np.uint8]
    pixels: fire_event.FirePixels
    left_out: Mapping[str, int]


def run(
    scene: Path | str,
    out: Path | str,
    *,
    bands: Mapping[str, int],
    sensor: str | None = None,
    wavelengths: Mapping[str, float] | None = None,
    geometry: Geometry | None = None,
    static: Path | str | None = None,
    history: Path | str | None = None,
    water: Path | str | None = None,
    cloud: Path | str | None = None,
    raster: Path | str | None = None,
    radiance: bool = False,
    transmission: float = 1.0,
    parameters: product.ActiveFireProductParameters | None = None,
) -> dict[str, Any]:
    """Find the fires of a scene.

    Parameters
    ----------
    scene : Path or str
        Raster of brightness temperature [K], or of reflectance at 10 to 30 m.
    out : Path or str
        Vector file of the fires (.gpkg, .fgb, .geojson), or raster of the classes (.tif).
    bands : Mapping
        Numbers of the bands: t4 and t11, with m13, red, nir, swir2, sun_zenith and glint_angle where there are; or
        swir2, swir1 and nir, with red, green and blue.
    sensor : str, optional
        ``viirs``, ``modis``, ``slstr``, ``mersi``, ``ahi``, ``oli`` or ``msi``; default by the size of the pixels.
    wavelengths : Mapping, optional
        Effective wavelengths of t4, t11 and m13 that are not those of the sensor [um].
    geometry : Geometry, optional
        Time, sun and view.
    static : Path or str, optional
        Known static sources: CSV with longitude, latitude and radius_m, or a vector file.
    history : Path or str, optional
        Earlier fires as a FIRMS list, in which static sources are looked for.
    water, cloud : Path or str, optional
        Mask of water (above 0.5 is water) and of cloud (`imagery cloud-mask`, or 1 for cloud).
    raster : Path or str, optional
        Raster of the classes to write beside a vector file.
    radiance : bool
        Whether the thermal bands hold radiance [W m-2 sr-1 um-1].
    transmission : float
        Transmission of the atmosphere near 4 um [1].
    parameters : ActiveFireProductParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, fires, static sources, power [MW], what was taken for something else or left out, warnings.

    Raises
    ------
    BadInputError
        `band_missing`, `unknown_sensor`, `temperature_implausible`, `sun_unknown`, `crs_missing`, `no_data`,
        `output_is_input`, `suffix_unknown`; what the files lack.
    """
    chosen, seen = parameters or product.ActiveFireProductParameters(), geometry or Geometry()
    targets = _targets(Path(out), None if raster is None else Path(raster))
    _check_free(targets, (scene, static, history, water, cloud))
    thermal = _thermal(bands)
    with raster_file.open_raster(Path(scene), reflectance=not thermal) as opened:
        warnings = list(opened.warnings)
        numbers = _numbers(opened, bands, thermal=thermal)
        if opened.geobox is None and "vector" in targets:
            raise BadInputError("crs_missing", f"{opened.name} states no reference system to place the fires in")
        name, about = _sensor(opened, sensor, wavelengths, thermal=thermal, warnings=warnings, chosen=chosen)
        if thermal:
            _check_temperature(opened, numbers, radiance=radiance)
        areas = _areas(opened, seen)
        time = _time(opened, seen)
        job = _Job(
            Path(scene), numbers, about, radiance, _zenith(opened, numbers, seen, time, thermal, warnings),
            seen.glint_angle, None if water is None else Path(water), None if cloud is None else Path(cloud),
            _is_binary(cloud), opened.shape, float(areas.mean()), chosen,
        )  # fmt: skip
        maps, pixels, causes, left_out = _tested(job)
        if not (maps[0] != active_fire.NO_DATA).any():
            raise BadInputError(
                "no_data", f"{opened.name} has no pixel that can be judged: no data or cloud everywhere"
            )
        events = _events(job, pixels, areas, transmission)
        sources = _sources(static, history)
        flagged = _static(opened, events, sources, chosen)
        classes = product.marked(maps[0], pixels, events, flagged)
        if "raster" in targets:
            _write_raster(targets["raster"], opened, classes, maps[1], maps[2], chosen)
        if "vector" in targets:
            _write_vector(targets["vector"], opened, events, flagged, job, time, name)
    _remark(warnings, job, thermal)
    report = {"status": "ok", "warnings": warnings, "sensor": name, **product.facts(events, flagged, causes)}
    return report | {
        "static_sources_known": len(sources.longitude),
        "no_data_share": round(float(np.mean(classes == active_fire.NO_DATA)), 6),
        "left_out": left_out,
    }


def _targets(out: Path, raster: Path | None) -> dict[str, Path]:
    suffix = out.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return {"raster": out}
    if suffix not in vector.DRIVERS:
        raise BadInputError("suffix_unknown", f"{out.name}: fires are written as .tif, {', '.join(vector.DRIVERS)}")
    return {"vector": out} | ({} if raster is None else {"raster": raster})


def _check_free(targets: Mapping[str, Path], inputs: Iterable[Path | str | None]) -> None:
    """Refuse a result that is an input or its mask, or two results in one file."""
    taken = [Path(path) for path in inputs if path is not None]
    own = {place.resolve() for path in taken for place in (path, path.with_name(f"{path.stem}_mask.tif"))}
    for path in targets.values():
        if path.resolve() in own:
            raise BadInputError("output_is_input", f"{path} is an input: choose another name for the result")
    if len({path.resolve() for path in targets.values()}) < len(targets):
        raise BadInputError("output_is_input", f"{targets['raster']} would be both results: choose another name")


def _thermal(bands: Mapping[str, int]) -> bool:
    unknown = sorted(set(bands) - set(THERMAL) - set(OTHERS))
    if unknown:
        raise BadInputError(
            "band_missing", f"no band is called {', '.join(unknown)}; known: {', '.join((*THERMAL, *OTHERS))}"
        )
    if set(THERMAL) <= set(bands):
        return True
    if set(product.SWIR_BANDS) <= set(bands) and not set(THERMAL) & set(bands):
        return False
    raise BadInputError(
        "band_missing", "fires need the bands t4 and t11, or nir, swir1 and swir2 of a sensor of 10 to 30 m"
    )


def _numbers(opened: raster_file.RasterFile, bands: Mapping[str, int], *, thermal: bool) -> dict[str, int]:
    beyond = [f"{name} (band {number})" for name, number in bands.items() if not 1 <= number <= opened.count]
    if beyond:
        raise BadInputError("band_missing", f"{opened.name} with {opened.count} bands has no {', '.join(beyond)}")
    if thermal:
        for name in ("red", "nir", "swir2"):
            # Numbers of 0 to 10000 beside kelvins would pass for suns.
            if name in bands and float(np.nanmedian(opened.sample([bands[name]], size=128))) > 2.0:
                raise BadInputError("scale_missing", f"{opened.name}: band {name} holds no reflectance between 0 and 1")
    return dict(bands)


def _sensor(
    opened: raster_file.RasterFile,
    sensor: str | None,
    wavelengths: Mapping[str, float] | None,
    *,
    thermal: bool,
    warnings: list[str],
    chosen: product.ActiveFireProductParameters,
) -> tuple[str, fire_power.FireSensor | None]:
    known = tuple(fire_power.SENSORS) if thermal else FINE_SENSORS
    name = (sensor or "").lower()
    if name and name not in known:
        raise BadInputError("unknown_sensor", f"with these bands the sensor is one of {', '.join(known)}, not {sensor}")
    if not thermal:
        return name or "swir", None
    if not name:
        size = math.sqrt(abs(opened.transform.a * opened.transform.e)) * _unit(opened)
        name = "modis" if size >= chosen.coarse_pixel else "viirs"
        warnings.append(f"the sensor is not stated: pixels of {size:.0f} m are tested as those of {name.upper()}")
    about = fire_power.SENSORS[name]
    for band, wavelength in (wavelengths or {}).items():
        field = {"t4": "t4", "t11": "t11", "m13": "power"}[band]
        held = getattr(about, field) or fire_power.ThermalBand(wavelength, 1000.0)
        changed: dict[str, Any] = {field: held._replace(wavelength=wavelength), "published_coefficient": None}
        about = about._replace(**changed)
    return name, about


def _unit(opened: raster_file.RasterFile) -> float:
    """Meters of a map unit."""
    if opened.crs is None:
        return 1.0
    return 111_320.0 if opened.crs.is_geographic else float(opened.crs.linear_units_factor[1])


def _check_temperature(opened: raster_file.RasterFile, numbers: Mapping[str, int], *, radiance: bool) -> None:
    if radiance:
        return
    for name in ("t4", "t11"):
        values = opened.sample([numbers[name]])
        known = values[np.isfinite(values) & (values != 0.0)]
        odd = float(np.mean((known < PLAUSIBLE[0]) | (known > PLAUSIBLE[1]))) if known.size else 0.0
        if odd > _IMPLAUSIBLE_SHARE:
            low, high = np.percentile(known, [1, 99])
            raise BadInputError(
                "temperature_implausible",
                f"{opened.name}: band {name} holds {low:.4g} to {high:.4g}, no brightness temperature in kelvin "
                f"between {PLAUSIBLE[0]:.0f} and {PLAUSIBLE[1]:.0f}; state --radiance if it is radiance in "
                "W m-2 sr-1 um-1",
            )


def _areas(opened: raster_file.RasterFile, seen: Geometry) -> npt.NDArray[np.float64]:
    """Ground area of the pixels of every row [m2]."""
    if opened.geobox is not None:
        return product.pixel_areas(opened.geobox)
    size = math.sqrt(abs(opened.transform.a * opened.transform.e))
    area = size**2
    if seen.scan_angle is not None:
        area = fire_power.scanned_area(size, scan_angle=seen.scan_angle, altitude=seen.altitude)
    return np.full(opened.shape[0], area)


def _time(opened: raster_file.RasterFile, seen: Geometry) -> np.datetime64:
    """Time of the scene as given, else as its tags state it, else none."""
    stated: datetime.datetime | None = seen.time
    if stated is None:
        for tag in _TIME_TAGS:
            text = opened.tags.get(tag, "")
            stated = _parsed(text) if text else None
            if stated is not None:
                break
    if stated is None:
        return np.datetime64("NaT", "ms")
    if stated.tzinfo is not None:
        stated = stated.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(stated, "ms")


def _parsed(text: str) -> datetime.datetime | None:
    """A time as ISO 8601 or as TIFF tags write it, with colons in the date."""
    word = text.strip()
    if word[4:5] == ":":
        word = word.replace(":", "-", 2)
    try:
        return datetime.datetime.fromisoformat(word)
    except ValueError:
        return None


def _zenith(
    opened: raster_file.RasterFile,
    numbers: Mapping[str, int],
    seen: Geometry,
    time: np.datetime64,
    thermal: bool,
    warnings: list[str],
) -> npt.NDArray[np.float64]:
    """Zenith angle of the sun on a coarse mesh over the scene [degree]; its mean where a band of the scene gives it."""
    if seen.sun_zenith is not None:
        return np.full((2, 2), seen.sun_zenith)
    if "sun_zenith" in numbers:
        return np.full((2, 2), float(np.nanmean(opened.sample([numbers["sun_zenith"]]))))
    if opened.geobox is not None and not np.isnat(time):
        rows, columns = (np.linspace(0.0, side - 1.0, _MESH) for side in opened.shape)
        row, column = np.meshgrid(rows, columns, indexing="ij")
        longitude, latitude = product.places(opened.geobox, row, column)
        return solar_geometry.sun_position(time, longitude, latitude).zenith
    if thermal:
        raise BadInputError(
            "sun_unknown",
            f"{opened.name}: whether it is day or night is not known; give --time or --sun-zenith",
        )
    warnings.append("neither time nor sun is given: fires are tested as by day, and no power is given")
    return np.full((2, 2), np.nan)


def _is_binary(cloud: Path | str | None) -> bool:
    """Whether a mask knows but 0 and 1; in masks of `imagery cloud-mask` 1 is thin cloud, through which fires shine."""
    if cloud is None:
        return False
    with raster_file.open_raster(Path(cloud)) as mask:
        values = mask.sample([1])
    known = values[np.isfinite(values) & (values != 255.0)]
    return bool(known.size == 0 or known.max() <= 1.0)


def _tested(
    job: _Job,
) -> tuple[tuple[npt.NDArray[np.uint8], ...], fire_event.FirePixels, dict[str, int], dict[str, int]]:
    """Class, confidence and cause of every pixel, pixels of fires, causes and what was left out."""
    maps = tuple(np.zeros(job.shape, dtype=np.uint8) for _ in range(3))
    parts: list[fire_event.FirePixels] = []
    left_out: dict[str, int] = {}

    def take(tile: tiling.Tile, part: _Part) -> None:
        row, column = int(tile.core.row_off), int(tile.core.col_off)
        window = slice(row, row + int(tile.core.height)), slice(column, column + int(tile.core.width))
        for layer, values in zip(maps, (part.classes, part.confidence, part.cause), strict=True):
            layer[window] = values
        parts.append(part.pixels)
        for name, number in part.left_out.items():
            left_out[name] = left_out.get(name, 0) + number

    halo = swir_fire.HALO if job.sensor is None else active_fire.HALO
    tiling.run(functools.partial(_tile, job), tiling.tiles(job.shape, halo=halo), consume=take)
    names = swir_fire.CAUSES if job.sensor is None else active_fire.CAUSES
    causes = product.counted(maps[2], names)
    return maps, product.joined(parts), causes, {name: number for name, number in left_out.items() if number}


def _tile(job: _Job, tile: tiling.Tile) -> _Part:
    with raster_file.open_raster(job.scene, reflectance=job.sensor is None) as scene:
        read = scene.read(tile.padded, list(job.bands.values()))
        water = _mask(job.water, scene, tile)
        cloud = _mask(job.cloud, scene, tile)
    layer: dict[str, _Raster] = dict(zip(job.bands, read, strict=True))
    wet = None if water is None else (water > 0.5) & (water != 255.0)
    hidden = None if cloud is None else _hidden(cloud, binary=job.binary_cloud)
    zenith = layer.get("sun_zenith", _interpolated(job, tile))
    offset = int(tile.core.row_off), int(tile.core.col_off)
    if job.sensor is None:
        return _swir_tile(job, tile, layer, wet, hidden, offset)
    left_out = _clean(job, layer, tile.inner)
    shape = read.shape[1:]
    glint = layer.get("glint_angle")
    if glint is None and job.glint is not None:
        glint = np.full(shape, job.glint, dtype=np.float32)
    measured = active_fire.ThermalScene(
        layer["t4"],
        layer["t11"],
        zenith,
        layer.get("m13"),
        layer.get("red"),
        layer.get("nir"),
        layer.get("swir2"),
        glint_angle=glint,
        water=wet,
        cloud=hidden,
    )
    found = active_fire.detect(measured, sensor=job.sensor, pixel_area=job.area, parameters=job.parameters.thermal)
    pixels = product.thermal_pixels(found, measured, window=tile.inner, offset=offset)
    if hidden is not None:
        left_out["cloud"] = int(hidden[tile.inner].sum())
    inner = tile.inner
    return _Part(found.classes[inner], found.confidence[inner], found.cause[inner], pixels, left_out)


def _swir_tile(
    job: _Job,
    tile: tiling.Tile,
    layer: Mapping[str, _Raster],
    water: npt.NDArray[np.bool_] | None,
    cloud: npt.NDArray[np.bool_] | None,
    offset: tuple[int, int],
) -> _Part:
    measured = swir_fire.ReflectanceScene(
        layer["nir"],
        layer["swir1"],
        layer["swir2"],
        layer.get("red"),
        layer.get("blue"),
        layer.get("green"),
        water=water,
        cloud=cloud,
    )
    sun = float(np.mean(job.zenith))
    found = swir_fire.detect(measured, pixel_area=job.area, sun_zenith=sun, parameters=job.parameters.swir)
    pixels = product.swir_pixels(found, window=tile.inner, offset=offset)
    left_out = {} if cloud is None else {"cloud": int(cloud[tile.inner].sum())}
    inner = tile.inner
    return _Part(found.classes[inner], found.confidence[inner], found.cause[inner], pixels, left_out)


def _mask(path: Path | None, scene: raster_file.RasterFile, tile: tiling.Tile) -> _Raster | None:
    if path is None:
        return None
    with alignment.opened(path, like=scene, classes=True) as mask:
        values: _Raster = mask.read(tile.padded, [1])[0]
    return values


def _hidden(cloud: _Raster, *, binary: bool) -> npt.NDArray[np.bool_]:
    """Cloud, and where the mask knows nothing."""
    unknown = ~np.isfinite(cloud) | (cloud == 255.0)
    hidden: npt.NDArray[np.bool_] = unknown | (cloud > 0.5 if binary else cloud == 2.0)
    return hidden


def _clean(job: _Job, layer: dict[str, _Raster], inner: tuple[slice, slice]) -> dict[str, int]:
    """Temperatures in kelvin, what cannot be one left out; pixels left out, by band."""
    left_out: dict[str, int] = {}
    sensor = job.sensor
    bands = {} if sensor is None else {"t4": sensor.t4, "t11": sensor.t11, "m13": sensor.power}
    for name, band in bands.items():
        if name not in layer or band is None:
            continue
        values = layer[name]
        if job.radiance:
            values = fire_power.brightness_temperature(values.astype(np.float64), wavelength=band.wavelength).astype(
                np.float32
            )
        low, high = PLAUSIBLE_POWER if name == "m13" else PLAUSIBLE
        with np.errstate(invalid="ignore"):
            odd = (values < low) | (values > high)
        left_out[f"{name}_implausible"] = int(odd[inner].sum())
        layer[name] = np.where(odd, np.float32(np.nan), values)
    return left_out


def _interpolated(job: _Job, tile: tiling.Tile) -> _Raster:
    """Zenith angle of the sun at the pixels of a tile, from the mesh over the whole scene."""
    window = tile.padded
    places = []
    for start, length, side, nodes in (
        (window.row_off, window.height, job.shape[0], job.zenith.shape[0]),
        (window.col_off, window.width, job.shape[1], job.zenith.shape[1]),
    ):
        at = np.clip(np.arange(int(length)) + int(start), 0, side - 1)
        places.append(at * ((nodes - 1) / max(side - 1, 1)))
    mesh = np.meshgrid(*places, indexing="ij")
    zenith: _Raster = ndimage.map_coordinates(job.zenith, mesh, order=1, mode="nearest").astype(np.float32)
    return zenith


def _events(
    job: _Job, pixels: fire_event.FirePixels, areas: npt.NDArray[np.float64], transmission: float
) -> fire_event.FireEvents:
    if job.sensor is None:
        events = product.swir_events(pixels, parameters=job.parameters)
    else:
        scale = product.power_scale(job.sensor, area=job.area, transmission=transmission)
        events = fire_event.assemble(pixels, scale=scale, parameters=job.parameters.events)
    return product.with_areas(events, areas, job.area)


def _sources(static: Path | str | None, history: Path | str | None) -> static_source.StaticSources:
    found = [static_source.NONE]
    if static is not None:
        found.append(read_static(Path(static)))
    if history is not None:
        earlier = list_file.read(Path(history)).fires
        found.append(static_source.persistent(earlier.longitude, earlier.latitude, time=earlier.time))
    return static_source.StaticSources(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def read_static(path: Path) -> static_source.StaticSources:
    """Static sources of an operator's table.

    Parameters
    ----------
    path : Path
        CSV with the columns longitude (or lon), latitude (or lat) and radius_m (or radius); or a vector file, whose
        points may have a field radius_m and whose outlines count to their farthest corner.

    Returns
    -------
    StaticSources
        The places.

    Raises
    ------
    BadInputError
        `columns_missing`, `static_invalid` naming the line; what the file lacks.
    """
    if path.suffix.lower() != ".csv":
        return _static_vectors(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = [{(name or "").strip().lower(): value for name, value in row.items()} for row in csv.DictReader(stream)]
    places = [_static_row(path, number, row) for number, row in enumerate(rows, 2)]
    table = np.array(places, dtype=np.float64).reshape(len(places), 3)
    return static_source.StaticSources(table[:, 0], table[:, 1], table[:, 2])


def _static_row(path: Path, line: int, row: Mapping[str, Any]) -> tuple[float, float, float]:
    texts = [
        next((row[name] for name in names if row.get(name)), None)
        for names in (("longitude", "lon", "x"), ("latitude", "lat", "y"), ("radius_m", "radius"))
    ]
    if texts[0] is None or texts[1] is None:
        raise BadInputError(
            "columns_missing", f"{path.name}, line {line}: a static source needs longitude and latitude"
        )
    try:
        longitude, latitude, radius = (float(DEFAULT_RADIUS if text is None else text) for text in texts)
    except ValueError as error:
        raise BadInputError("static_invalid", f"{path.name}, line {line}: {error}") from error
    if not (abs(longitude) <= 180.0 and abs(latitude) <= 90.0 and 0.0 <= radius < math.inf):
        raise BadInputError(
            "static_invalid", f"{path.name}, line {line}: {longitude}, {latitude}, {radius} is no place"
        )
    return longitude, latitude, radius


def _static_vectors(path: Path) -> static_source.StaticSources:
    read = vector_file.read(path)
    shapes = vector_file.carried(read.geometry, read.crs, "EPSG:4326")
    centers = shapely.centroid(shapes)
    stated = next((read.columns[name] for name in ("radius_m", "radius") if name in read.columns), None)
    geod = pyproj.Geod(ellps="WGS84")
    radius = []
    for number, shape in enumerate(shapes):
        corners = shapely.get_coordinates(shape)
        center = centers[number]
        here = np.full(len(corners), center.x), np.full(len(corners), center.y)
        apart = geod.inv(here[0], here[1], corners[:, 0], corners[:, 1])[2].max()
        given = None if stated is None else float(stated[number])
        radius.append(
            float(apart) + (given if given is not None and given >= 0.0 else (0.0 if apart else DEFAULT_RADIUS))
        )
    return static_source.StaticSources(shapely.get_x(centers), shapely.get_y(centers), np.array(radius))


def _static(
    opened: raster_file.RasterFile,
    events: fire_event.FireEvents,
    sources: static_source.StaticSources,
    chosen: product.ActiveFireProductParameters,
) -> npt.NDArray[np.bool_]:
    if not len(sources.longitude):
        return np.zeros(len(events.row), dtype=bool)
    if opened.geobox is None:
        raise BadInputError("crs_missing", f"{opened.name} states no reference system to place static sources in")
    size = math.sqrt(abs(opened.transform.a * opened.transform.e)) * _unit(opened)
    return product.static_events(events, geobox=opened.geobox, sources=sources, margin=chosen.static_margin * size)


def _write_raster(
    path: Path,
    opened: raster_file.RasterFile,
    classes: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.uint8],
    cause: npt.NDArray[np.uint8],
    chosen: product.ActiveFireProductParameters,
) -> None:
    writer = raster_file.RasterWriter(
        path,
        shape=opened.shape,
        transform=opened.transform,
        crs=opened.crs,
        encoding=ENCODING,
        descriptions=("active_fire", "probability", "confidence"),
        tags={"flag_values": "0 1 2 255", "flag_meanings": MEANINGS},
        categorical=True,
    )
    with writer:
        for tile in tiling.tiles(opened.shape):
            row, column = int(tile.core.row_off), int(tile.core.col_off)
            window = slice(row, row + int(tile.core.height)), slice(column, column + int(tile.core.width))
            part = classes[window]
            given = product.probability(part, confidence[window], cause[window], parameters=chosen)
            layers = np.stack([part, given, confidence[window]]).astype(np.float32)
            layers[:, part == active_fire.NO_DATA] = np.nan
            writer.write(layers, tile.core)


def _write_vector(
    path: Path,
    opened: raster_file.RasterFile,
    events: fire_event.FireEvents,
    static: npt.NDArray[np.bool_],
    job: _Job,
    time: np.datetime64,
    name: str,
) -> None:
    def day(row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        return np.array([_zenith_at(job, int(i), int(j)) for i, j in zip(row, column, strict=True)]) < limit

    limit = job.parameters.thermal.day_zenith
    if opened.geobox is None:
        raise ValueError("fires without a place")
    setting = product.Setting(opened.geobox, time, name, day)
    vector.write([product.table(events, setting=setting, static=static)], path)


def _zenith_at(job: _Job, row: int, column: int) -> float:
    pixel = Window(column, row, 1, 1)
    if "sun_zenith" in job.bands:
        with raster_file.open_raster(job.scene) as scene:
            return float(scene.read(pixel, [job.bands["sun_zenith"]])[0, 0, 0])
    return float(_interpolated(job, tiling.Tile(pixel, pixel))[0, 0])


def _remark(warnings: list[str], job: _Job, thermal: bool) -> None:
    if not thermal:
        warnings.append(
            "power from reflectance near 1.6 and 2.2 um is an estimate within a factor of two, and a lower limit "
            "where frp_lower_limit says so"
        )
        return
    if not {"red", "nir"} & set(job.bands) and bool((job.zenith < job.parameters.thermal.day_zenith).any()):
        warnings.append("no reflectance is given by day: glint and bright roofs are told by temperature alone")
    if "m13" not in job.bands and job.sensor is not None and job.sensor.t4.saturation < 450.0:
        warnings.append("without a band that saturates late the power of strong fires is only a lower limit")
