"""Change of navigable channels between two dates, from maps of water or from widths measured before."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.errors
import shapely

from infra.imagery import raster_file
from infra.surface import river_width as river_file
from infra.surface import vector_file
from processors.imagery import grid
from processors.quality import BadInputError
from products import vector
from products.sectors import navigable_change, river_width
from retrieval.surface import river_width as width

LAYER = "cross_sections"
_COLUMNS = ("line", "distance_along_m", "width_m", "width_sigma_m", "flag")
_CHANCE = 0.0027
"""Share of normal errors beyond three standard deviations [1]."""


class _Date(NamedTuple):
    """Cross sections of a date."""

    lines: npt.NDArray[Any]
    """From bank to bank (object)."""
    columns: dict[str, npt.NDArray[Any]]
    crs: str
    pixel: float
    """Size of a pixel [m]."""
    water: npt.NDArray[np.float32] | None
    """Share of water (y, x), None where only widths are known."""
    transform: Any
    warnings: list[str]


def run(
    before: Path | str,
    after: Path | str,
    out: Path | str,
    *,
    bands: tuple[int | None, int | None] = (None, None),
    pixel: float | None = None,
    parameters: navigable_change.NavigableChangeParameters | None = None,
) -> dict[str, Any]:
    """Compare the rivers of two dates.

    Parameters
    ----------
    before, after : Path or str
        Each a map of water (0 and 1, or its probability or share) or the cross sections of `surface river-width`.
        Grids, pixel sizes and reference systems may differ.
    out : Path or str
        Vector file (.gpkg, .fgb, .geojson); only a GeoPackage also holds the cross sections that changed.
    bands : tuple, optional
        Band of either map; default the one named probability, else the first.
    pixel : float, optional
        Pixel size that widths were measured with where their file does not say so [m].
    parameters : NavigableChangeParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, sections compared and by kind of change, segments, warnings.

    Raises
    ------
    BadInputError
        `suffix_unknown`, `layer_missing`, `pixel_size_missing`, `crs_missing`; what the files lack.
    """
    target = Path(out)
    if target.suffix.lower() not in vector.DRIVERS:
        raise BadInputError("suffix_unknown", f"{target.name}: objects are written as {', '.join(vector.DRIVERS)}")
    chosen = parameters or navigable_change.NavigableChangeParameters()
    old = _opened(Path(before), bands[0], pixel, chosen)
    # Only the water of the later date is looked at again.
    old = old._replace(water=None)
    new = _opened(Path(after), bands[1], pixel, chosen)
    crs = _metric(new)
    size = max(old.pixel, new.pixel)
    sides = [_placed(date, crs, size) for date in (old, new)]
    left = _left(old, new)
    change = navigable_change.compare(sides[0][0], sides[1][0], pixel=size, parameters=chosen, left=left)
    tables = [
        navigable_change.segments(change, sides[0], sides[1], crs, parameters=chosen),
        navigable_change.table(change, sides[0][1], sides[1][1], crs),
    ]
    vector.write(tables if vector.DRIVERS[target.suffix.lower()] == "GPKG" else tables[:1], target)
    return _report(change, tables[0].columns["change"], size, [*old.warnings, *new.warnings], left)


def _report(
    change: navigable_change.WidthChange,
    segments: npt.NDArray[Any],
    pixel: float,
    warnings: list[str],
    left: npt.NDArray[np.float64] | None,
) -> dict[str, Any]:
    told = navigable_change.facts(change)
    if not told["compared"]:
        warnings.append("no cross section could be compared: the files share no river, or not the same ground")
    if left is None:
        warnings.append("the later file holds widths alone: a blocked river cannot be told from one not measured")
    return {
        "status": "ok" if told["compared"] else "flagged",
        "warnings": warnings,
        **told,
        "segments": len(segments),
        **{f"segments_{kind}": int((segments == kind).sum()) for kind in navigable_change.KINDS[1:]},
        "expected_by_chance": round(_CHANCE * told["compared"], 2),
        "least_change_m": round(pixel, 3),
    }


def _opened(
    path: Path, band: int | None, pixel: float | None, parameters: navigable_change.NavigableChangeParameters
) -> _Date:
    if path.suffix.lower() in vector.DRIVERS:
        return _read(path, pixel)
    with raster_file.open_raster(path) as opened:
        if opened.geobox is None:
            raise BadInputError("crs_missing", f"{opened.name} states no reference system: its pixels have no size")
        warnings = list(opened.warnings)
        water = river_file.share(opened, band, warnings)
        found = width.measure(water, pixel_size=river_width.pixel_sizes(opened.geobox), parameters=parameters.rules)
        table = river_width.tables(found, opened.transform, opened.crs.to_wkt())[0]
        lines = np.array(list(table.geometry), dtype=object)
        return _Date(lines, dict(table.columns), table.crs, found.pixel, water, opened.transform, warnings)


def _read(path: Path, pixel: float | None) -> _Date:
    layers = [name for name, _ in _layers(path)]
    read = vector_file.read(path, layer=LAYER if LAYER in layers else None)
    missing = [name for name in _COLUMNS if name not in read.columns]
    lines = bool((shapely.get_type_id(read.geometry) == shapely.GeometryType.LINESTRING).all())
    if missing or not lines:
        lacking = f"lacks {', '.join(missing)}" if missing else "holds other shapes than lines from bank to bank"
        raise BadInputError("layer_missing", f"{path.name} {lacking}: cross sections of river-width are wanted")
    stated = read.columns.get("pixel_m")
    sizes = np.zeros(0) if stated is None else np.asarray(stated, dtype=np.float64)
    known = sizes[np.isfinite(sizes) & (sizes > 0)]
    if pixel is None and not known.size and len(read.geometry):
        raise BadInputError("pixel_size_missing", f"{path.name} does not say which pixels its widths are from")
    size = pixel if pixel is not None else float(np.median(known)) if known.size else 0.0
    return _Date(read.geometry, dict(read.columns), read.crs, size, None, None, [])


def _layers(path: Path) -> list[tuple[str, str]]:
    try:
        return [tuple(row) for row in pyogrio.list_layers(path)]
    except pyogrio.errors.DataSourceError as error:
        raise BadInputError("unreadable", f"{path} is no readable vector file: {error}") from error


def _metric(date: _Date) -> str:
    """Reference system of a date if its unit is the meter, else the zone of UTC's longitude it lies in."""
    system = grid.coordinate_system(date.crs)
    if not system.is_geographic and system.axis_info and system.axis_info[0].unit_conversion_factor == 1.0:
        return date.crs
    shapes = vector_file.carried(date.lines, date.crs, "EPSG:4326")
    if not len(shapes):
        return "EPSG:3857"
    middle = shapely.total_bounds(shapes)
    longitude, latitude = (middle[0] + middle[2]) / 2, (middle[1] + middle[3]) / 2
    zone = int((longitude + 180.0) // 6.0) % 60 + 1
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def _placed(date: _Date, crs: str, pixel: float) -> tuple[width.CrossSections, list[Any]]:
    """Cross sections on a grid of square pixels that holds all dates, and as lines in its reference system."""
    lines = vector_file.carried(date.lines, date.crs, crs)
    ends = np.stack([_ends(lines, index) for index in (0, -1)]) if len(lines) else np.zeros((2, 0, 2))
    left, right = (np.stack([-side[:, 1], side[:, 0]], axis=1) / max(pixel, 1e-9) for side in ends)
    middle, way = (left + right) / 2, right - left
    # From the left to the right bank is a quarter turn from the way along the line.
    direction = (np.degrees(np.arctan2(way[:, 1], -way[:, 0])) - 90.0) % 360.0
    columns = date.columns
    wide = np.asarray(columns["width_m"], dtype=np.float64)
    whole = np.zeros(len(lines), dtype=np.int64)
    names = {name: number for number, name in enumerate(width.FLAGS)}
    sections = width.CrossSections(
        line=np.asarray(columns["line"], dtype=np.int64),
        row=middle[:, 0],
        column=middle[:, 1],
        left=left,
        right=right,
        distance=np.asarray(columns["distance_along_m"], dtype=np.float64),
        direction=direction,
        width=wide,
        sigma=np.asarray(columns["width_sigma_m"], dtype=np.float64),
        bank_width=wide,
        channels=whole,
        flag=np.array([names.get(str(flag), width.INCOMPLETE) for flag in columns["flag"]], dtype=np.int64),
    )
    return sections, list(lines)


def _ends(lines: npt.NDArray[Any], index: int) -> npt.NDArray[np.float64]:
    return np.asarray(shapely.get_coordinates(shapely.get_point(lines, index)))


def _left(old: _Date, new: _Date) -> npt.NDArray[np.float64] | None:
    """Water of the later date on the earlier cross sections [m]."""
    if new.water is None:
        return None
    lines = vector_file.carried(old.lines, old.crs, new.crs)
    inverse = ~new.transform
    ends = []
    for index in (0, -1):
        place = _ends(lines, index)
        column, row = inverse.a * place[:, 0] + inverse.c, inverse.e * place[:, 1] + inverse.f
        ends.append(np.stack([row - 0.5, column - 0.5], axis=1))
    sections, _ = _placed(old, old.crs, 1.0)
    return navigable_change.water_left(sections._replace(left=ends[0], right=ends[1]), new.water, pixel=new.pixel)
