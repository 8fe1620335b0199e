"""Vectors and rasters the operator supplies: districts, assets, road and bridge segments, usual water of a month."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
import yaml
from odc.geo.geobox import GeoBox

from infra.imagery import raster_file
from infra.surface import alignment, vector_file
from processors.quality import BadInputError
from products.sectors import statistics

NAMES = Path(__file__).resolve().parents[1] / "parameters" / "districts.yaml"
ASSET_KINDS = ("dam", "tunnel", "unstable_rock", "hazard_source", "settlement", "road", "bridge", "other")
MONTHS = 12
# Counties that became districts in 2016: outlines of before still carry the code of the county.
SUCCESSORS = {"500228": "500155", "500232": "500156"}
_CODE_FIELDS = ("adcode", "code", "gb_code", "xzqdm")
_SIX_DIGITS = re.compile(r"^\d{6}$")


class Assets(NamedTuple):
    """Things that a hazard may reach."""

    identity: npt.NDArray[Any]
    """Identity (asset)."""
    kind: npt.NDArray[Any]
    """One of `ASSET_KINDS` (asset)."""
    name: npt.NDArray[Any]
    """Name (asset), None where there is none."""
    name_zh: npt.NDArray[Any]
    """Chinese name (asset), None where there is none."""
    population: npt.NDArray[np.float64]
    """People living there (asset) [1], NaN where unknown."""
    geometry: npt.NDArray[Any]
    """Points, lines or polygons (asset)."""
    crs: str
    """Reference system."""
    other_kinds: int
    """Assets of a kind unknown here, kept as `other` [1]."""


@lru_cache(maxsize=1)
def names() -> Mapping[str, tuple[str, str]]:
    """Chinese and English name of every district by its code of GB/T 2260."""
    loaded = yaml.safe_load(NAMES.read_text(encoding="utf-8"))
    return {entry["code"]: (entry["name_zh"], entry["name_en"]) for entry in loaded["districts"]}


@lru_cache(maxsize=8)
def _districts(path: Path, _changed: int) -> tuple[statistics.Zone, ...]:
    found = vector_file.read(path)
    codes = _codes(found, path)
    zones = []
    for code, shape, row in zip(codes, found.geometry, range(len(codes)), strict=True):
        area = _areal(shape)
        if area is None:
            raise BadInputError("geometry_missing", f"{path.name}: district {code} has no area")
        name_zh, name_en = names().get(SUCCESSORS.get(code, code), ("", ""))
        zones.append(
            statistics.Zone(
                code=code,
                name_en=name_en or str(_text(found, "name_en", row) or code),
                name_zh=name_zh or str(_text(found, "name_zh", row) or _text(found, "name", row) or code),
                geometry=area,
                crs=found.crs,
            )
        )
    return tuple(zones)


def districts(path: Path) -> list[statistics.Zone]:
    """Districts with their outlines.

    Parameters
    ----------
    path : Path
        Vector file whose objects carry a code (`adcode` or `code`).

    Returns
    -------
    list of Zone
        One per district, outlines that crossed themselves mended.

    Raises
    ------
    BadInputError
        `schema` without codes or with one twice, `geometry_missing`; what `vector_file.read` refuses.
    """
    return list(_districts(path, path.stat().st_mtime_ns if path.exists() else 0))


def _codes(found: vector_file.Vectors, path: Path) -> list[str]:
    """Code of every district: by its field, by an `id` of six digits, or by its Chinese name."""
    if not len(found.geometry):
        raise BadInputError("schema", f"{path.name} holds no district")
    column = next((found.columns[name] for name in _CODE_FIELDS if name in found.columns), None)
    codes = [_code(value) for value in column] if column is not None else _codes_otherwise(found)
    for row, code in enumerate(codes, 1):
        if not code:
            raise BadInputError(
                "schema", f"{path.name}: object {row} carries no code (field {' or '.join(_CODE_FIELDS[:2])})"
            )
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice:
        raise BadInputError("schema", f"{path.name}: district {', '.join(twice)} stands there more than once")
    return codes


def _codes_otherwise(found: vector_file.Vectors) -> list[str]:
    by_name = {name_zh: code for code, (name_zh, _) in names().items()}
    blank = [None] * len(found.geometry)
    identities, titles = found.columns.get("id", blank), found.columns.get("name", blank)
    return [
        code if _SIX_DIGITS.match(code := _code(identity)) else by_name.get(str(title), "")
        for identity, title in zip(identities, titles, strict=True)
    ]


def _code(value: Any) -> str:
    """A code as text, whether it was stored as text or as a number."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return str(int(value)) if np.isfinite(value) else ""
    return str(value or "").strip()


def _areal(shape: Any) -> Any:
    """The part of a geometry that has area; None without."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts) if parts else None


def _text(found: vector_file.Vectors, name: str, row: int) -> Any:
    return found.columns[name][row] if name in found.columns else None


def assets(path: Path, *, kind: str | None = None) -> Assets:
    """Assets with their kind and name.

    Parameters
    ----------
    path : Path
        Vector file; fields `id`, `kind`, `name`, `name_zh`, `population` where there are.
    kind : str, optional
        Kind of all objects of a file that does not say, such as `road`.

    Returns
    -------
    Assets
        What it holds.

    Raises
    ------
    BadInputError
        `schema` where one identity stands there twice, `geometry_missing` for an empty one; what `vector_file.read`
        refuses.
    """
    found = vector_file.read(path)
    count = len(found.geometry)
    empty = [row for row, shape in enumerate(found.geometry, 1) if shape.is_empty]
    if empty:
        raise BadInputError("geometry_missing", f"{path.name}: object {empty[0]} is empty")
    told_identity = [_code(value) for value in found.columns.get("id", np.arange(1, count + 1))]
    nameless = [row for row, text in enumerate(told_identity, 1) if not text]
    if nameless:
        raise BadInputError("schema", f"{path.name}: object {nameless[0]} has an empty id")
    identity = np.array(told_identity, dtype=object)
    values, counts = np.unique(identity.astype(str), return_counts=True) if count else (identity, np.zeros(0, int))
    if (counts > 1).any():
        raise BadInputError("schema", f"{path.name}: the identity {values[counts > 1][0]} stands there twice")
    told = [str(value or "").strip().lower() for value in found.columns.get("kind", [kind or "other"] * count)]
    kinds = np.array([word if word in ASSET_KINDS else "other" for word in told], dtype=object)
    population = np.array([_number(value) for value in found.columns.get("population", [None] * count)])
    return Assets(
        identity=identity,
        kind=kinds,
        name=_words(found.columns.get("name"), count),
        name_zh=_words(found.columns.get("name_zh"), count),
        population=population.astype(np.float64),
        geometry=found.geometry,
        crs=found.crs,
        other_kinds=int(sum(word not in ASSET_KINDS for word in told)),
    )


def together(parts: Sequence[Assets]) -> Assets:
    """Assets of several files as one, in WGS 84.

    Parameters
    ----------
    parts : sequence of Assets
        At least one.

    Returns
    -------
    Assets
        All of them, in the order given.
    """
    if len(parts) == 1:
        return parts[0]
    return Assets(
        identity=np.concatenate([part.identity for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
        name=np.concatenate([part.name for part in parts]),
        name_zh=np.concatenate([part.name_zh for part in parts]),
        population=np.concatenate([part.population for part in parts]),
        geometry=np.concatenate([vector_file.carried(part.geometry, part.crs, "EPSG:4326") for part in parts]),
        crs="EPSG:4326",
        other_kinds=sum(part.other_kinds for part in parts),
    )


def _words(column: npt.NDArray[Any] | None, count: int) -> npt.NDArray[Any]:
    values = [None] * count if column is None else column
    return np.array([None if value is None else str(value) for value in values], dtype=object)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def reference_water(path: Path, *, month: int, geobox: GeoBox) -> npt.NDArray[np.float32] | None:
    """Usual probability of water of a month on a grid.

    Parameters
    ----------
    path : Path
        Raster of twelve bands, January to December, or of one band with the month in its tag `MONTH`; probability
        from 0 to 1, or percent.
    month : int
        Month wanted, 1 to 12.
    geobox : GeoBox
        Grid wanted.

    Returns
    -------
    numpy.ndarray or None
        Probability (y, x) [1], NaN where unknown; None where the file is of another month.

    Raises
    ------
    BadInputError
        `month_missing` where the file does not say of which month it is; `value_implausible`.
    """
    with raster_file.open_raster(path) as raster:
        band = reference_band(raster, month=month)
        if band is None:
            return None
        values = alignment.warped(raster, band, geobox)
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    if largest > 100 or (np.isfinite(values).any() and float(np.nanmin(values)) < 0):
        raise BadInputError("value_implausible", f"{path.name}: water is from 0 to 1 or in percent, not {largest:g}")
    return (values / 100 if largest > 1 else values).astype(np.float32)


def reference_band(raster: raster_file.RasterFile, *, month: int) -> int | None:
    """Band of a month, None where the raster is of another.

    Parameters
    ----------
    raster : RasterFile
        Reference water.
    month : int
        Month wanted, 1 to 12.

    Returns
    -------
    int or None
        Number of the band from 1.

    Raises
    ------
    BadInputError
        `month_missing`.
    """
    if raster.count == MONTHS:
        return month
    told = {key.upper(): value for key, value in raster.tags.items()}.get("MONTH", "")
    if raster.count != 1 or not told.isdecimal() or not 1 <= int(told) <= MONTHS:
        raise BadInputError(
            "month_missing",
            f"{raster.name}: usual water is of a month: twelve bands, or one with the tag MONTH from 1 to 12",
        )
    return 1 if int(told) == month else None


def district_boxes(path: Path) -> dict[str, list[float]]:
    """West, south, east, north of every district by its code [degree]."""
    boxes = {}
    for zone in districts(path):
        shape = vector_file.carried(np.array([zone.geometry], dtype=object), zone.crs, "EPSG:4326")[0]
        boxes[zone.code] = [round(edge, 6) for edge in shape.bounds]
    return boxes
