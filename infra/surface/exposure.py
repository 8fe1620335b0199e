"""Exposure of assets and segments in files to a hazard in a file: a class raster with its probability, or objects."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.windows import Window

from infra.imagery import raster_file
from infra.surface import alignment, operator_layers, vector_file
from processors.imagery import grid
from processors.quality import BadInputError
from products import exposure, vector, vector_exposure
from retrieval.surface import segment_hazard

VECTORS = (".gpkg", ".fgb", ".geojson", ".json")
CLASSES = (1,)
_BLOCK = 1024
_TITLES = {
    "exposed_assets": ("Assets and the hazard", "设施受影响情况"),
    "exposed_segments": ("Road and bridge segments and the hazard", "路段桥梁受影响情况"),
}


class Reading(NamedTuple):
    """Which parts of a hazard raster are read, and how."""

    classes: tuple[int, ...]
    """Classes that are the hazard."""
    band: int
    """Band of the classes, from 1."""
    probability_band: int
    """Band of the probability, from 1; of the class given, or of the hazard."""
    slope: Path | None
    """Steepness [degree]."""
    rain: Path | None
    """Rain [mm]."""


def run(
    hazard: Path | str,
    out: Path | str,
    *,
    assets: Path | str | None = None,
    segments: Path | str | None = None,
    classes: Sequence[int] = CLASSES,
    band: int = 1,
    probability_band: int = 2,
    buffer: float = 0.0,
    near: float = 100.0,
    slope: Path | None = None,
    rain: Path | None = None,
) -> dict[str, Any]:
    """Assets and segments a hazard reaches, the most exposed first.

    Parameters
    ----------
    hazard : Path or str
        Raster of classes with their probability, or a vector file of objects.
    out : Path or str
        Vector file to write, its format by its suffix.
    assets, segments : Path or str, optional
        Vector files of the operator; at least one.
    classes : sequence of int
        Classes of the raster that are the hazard.
    band, probability_band : int
        Bands of the raster, from 1.
    buffer : float
        Distance to either side of a segment that counts as the segment [m].
    near : float
        Distance from the hazard within which something is near [m].
    slope, rain : Path, optional
        Rasters of steepness [degree] and of rain [mm] by which the probability of a landslide is weighed.

    Returns
    -------
    dict
        Report: `status`, counts by state and kind, what was mended or left, warnings.

    Raises
    ------
    BadInputError
        `suffix_unknown`, `assets_missing`, `band_missing`; what the files lack.
    """
    target = Path(out)
    if target.suffix.lower() not in vector.DRIVERS:
        raise BadInputError("suffix_unknown", f"{target.name}: exposure is written as {', '.join(vector.DRIVERS)}")
    supplied = [("exposed_assets", assets, None, 0.0), ("exposed_segments", segments, "road", buffer)]
    held = [
        (name, operator_layers.assets(Path(path), kind=kind), width) for name, path, kind, width in supplied if path
    ]
    if not held:
        raise BadInputError("assets_missing", "neither assets nor segments were given")
    reading = Reading(tuple(classes), band, probability_band, slope, rain)
    parameters = exposure.ExposureParameters(near=near)
    tables, report = [], _blank()
    for name, items, width in held:
        shapes = widened(items.geometry, items.crs, width) if width > 0 else items.geometry
        found = _joined(Path(hazard), shapes, items.crs, reading, parameters, report)
        named = exposure.Named(items.identity, items.kind, items.name, items.name_zh)
        tables.append(
            exposure.table(found, named, list(items.geometry), crs=items.crs, name=name, titles=_TITLES[name])
        )
        _count(report, name, items, found)
    vector.write(tables, target)
    report["status"] = "flagged" if report["warnings"] else "ok"
    return report


def _blank() -> dict[str, Any]:
    return {"status": "ok", "warnings": []}


def _count(report: dict[str, Any], name: str, items: operator_layers.Assets, found: exposure.Exposure) -> None:
    states = Counter(str(word) for word in found.state)
    report[name] = {
        "objects": len(found.state),
        "other_kinds": items.other_kinds,
        **{state: states.get(state, 0) for state in exposure.STATES_ZH},
        "exposed_by_kind": dict(Counter(str(kind) for kind in items.kind[found.state == exposure.EXPOSED])),
        "exposed_population": float(np.nansum(items.population[found.state == exposure.EXPOSED])),
    }
    if states.get(exposure.NOT_ASSESSED):
        report["warnings"].append(
            f"{states[exposure.NOT_ASSESSED]} of {len(found.state)} objects of {name} were not assessed: "
            "the hazard has no data there"
        )


def widened(shapes: npt.NDArray[Any], crs: str, width: float) -> npt.NDArray[Any]:
    """Shapes with what lies within a distance, measured on the ground.

    Parameters
    ----------
    shapes : numpy.ndarray
        Geometries (object).
    crs : str
        Their reference system.
    width : float
        Distance to either side [m].

    Returns
    -------
    numpy.ndarray
        Polygons in the same system (object).
    """
    if not len(shapes):
        return shapes
    places = shapely.centroid(vector_file.carried(shapes, crs, "EPSG:4326"))
    zones = np.array([grid.utm_zone(place.x, place.y) for place in places])
    wide = np.empty(len(shapes), dtype=object)
    for zone in np.unique(zones):
        mine = zones == zone
        moved = vector_file.carried(shapes[mine], crs, f"EPSG:{zone}")
        wide[mine] = vector_file.carried(shapely.buffer(moved, width), f"EPSG:{zone}", crs)
    return wide


def _joined(
    path: Path,
    shapes: npt.NDArray[Any],
    crs: str,
    reading: Reading,
    parameters: exposure.ExposureParameters,
    report: dict[str, Any],
) -> exposure.Exposure:
    if path.suffix.lower() in VECTORS:
        return _from_objects(path, shapes, crs, parameters)
    with raster_file.open_raster(path) as raster:
        return _from_raster(raster, shapes, crs, reading, parameters, report)


def _from_objects(
    path: Path, shapes: npt.NDArray[Any], crs: str, parameters: exposure.ExposureParameters
) -> exposure.Exposure:
    drawn = vector_file.read(path)
    told = drawn.columns.get("probability")
    sure = None if told is None else np.array([np.nan if value is None else float(value) for value in told])
    return vector_exposure.join(
        list(shapes), crs, hazards=list(drawn.geometry), hazard_crs=drawn.crs, probability=sure, parameters=parameters
    )


def _from_raster(
    raster: raster_file.RasterFile,
    shapes: npt.NDArray[Any],
    crs: str,
    reading: Reading,
    parameters: exposure.ExposureParameters,
    report: dict[str, Any],
) -> exposure.Exposure:
    if raster.geobox is None:
        raise BadInputError("crs_missing", f"{raster.name} has no place: nothing can be joined with it")
    if max(reading.band, reading.probability_band) > raster.count:
        raise BadInputError("band_missing", f"{raster.name} has {raster.count} bands, not {reading.probability_band}")
    report["warnings"] += [text for text in raster.warnings if text not in report["warnings"]]
    moved = vector_file.carried(shapes, crs, str(raster.geobox.crs))
    columns: list[npt.NDArray[Any]] = [np.full(len(shapes), exposure.NOT_ASSESSED, dtype=object)]
    columns += [np.full(len(shapes), np.nan) for _ in exposure.Exposure._fields[1:-1]]
    columns.append(np.zeros(len(shapes)))
    for members, window in _groups(moved, raster, parameters.near):
        layer = _hazard(raster, window, reading)
        part = exposure.join(list(moved[members]), str(raster.geobox.crs), hazard=layer, parameters=parameters)
        for column, values in zip(columns, part, strict=True):
            column[members] = values
    return exposure.Exposure(*columns)


def _groups(
    shapes: npt.NDArray[Any], raster: raster_file.RasterFile, near: float
) -> Iterator[tuple[npt.NDArray[np.int64], Window]]:
    """Neighboring shapes with the window that holds them and their surroundings; shapes outside are in none."""
    if raster.geobox is None:
        raise ValueError("a raster without place has no windows")
    affine, halo = raster.transform, int(np.ceil(near / grid.pixel_size(raster.geobox))) + 2
    bounds = shapely.bounds(shapes)
    columns = (bounds[:, [0, 2]] - affine.c) / affine.a
    rows = (bounds[:, [3, 1]] - affine.f) / affine.e
    edges = np.stack([rows[:, 0], rows[:, 1], columns[:, 0], columns[:, 1]], axis=1)
    height, width = raster.shape
    inside = np.isfinite(edges).all(axis=1)
    inside &= (edges[:, 1] >= 0) & (edges[:, 3] >= 0) & (edges[:, 0] < height) & (edges[:, 2] < width)
    buckets = defaultdict(list)
    for member in np.flatnonzero(inside):
        buckets[int(edges[member, 0] // _BLOCK), int(edges[member, 2] // _BLOCK)].append(member)
    for _, members in sorted(buckets.items()):
        own = edges[members]
        top, left = (max(int(np.floor(own[:, side].min())) - halo, 0) for side in (0, 2))
        bottom = min(int(np.ceil(own[:, 1].max())) + halo, height)
        right = min(int(np.ceil(own[:, 3].max())) + halo, width)
        yield np.array(members, dtype=np.int64), Window(left, top, right - left, bottom - top)


def _hazard(raster: raster_file.RasterFile, window: Window, reading: Reading) -> exposure.Hazard:
    if raster.geobox is None:
        raise ValueError("a raster without place is no hazard")
    values, told = raster.read(window, [reading.band, reading.probability_band])
    rows = slice(int(window.row_off), int(window.row_off + window.height))
    columns = slice(int(window.col_off), int(window.col_off + window.width))
    geobox = grid.part(raster.geobox, rows, columns)
    classes = np.where(np.isfinite(values), values, 255).astype(np.uint8)
    # A probability of the hazard itself is low where the class is another; one of the class given is not.
    own = _of_hazard(raster, reading)
    certain = np.where(np.isin(classes, reading.classes), told, 1 - told) if own else told
    layer = exposure.hazard_of(classes, certain, classes=reading.classes, geobox=geobox)
    if reading.slope is None and reading.rain is None:
        return layer
    slope, rain = (_warped(path, geobox) for path in (reading.slope, reading.rain))
    return layer._replace(probability=segment_hazard.score(layer.probability, slope=slope, rain=rain))


def _of_hazard(raster: raster_file.RasterFile, reading: Reading) -> bool:
    """Whether the probability is of the hazard, as of water, flood, fire or landslides; else of the class given."""
    told = raster.descriptions[reading.probability_band - 1].lower().replace(" ", "_")
    fire = raster.descriptions[reading.band - 1].lower() == "active_fire"
    return fire or told.endswith("score") or (told.startswith("probability_of") and "class" not in told)


def _warped(path: Path | None, geobox: Any) -> npt.NDArray[Any] | None:
    if path is None:
        return None
    with raster_file.open_raster(path) as raster:
        if raster.crs is None:
            raise BadInputError("crs_missing", f"{raster.name} has no place: it cannot be brought onto the hazard")
        return alignment.warped(raster, 1, geobox)
