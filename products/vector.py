"""Vector files of feature tables: GeoPackage as the master, FlatGeobuf for the web, GeoJSON in WGS 84.

The GeoPackage holds all tables as layers in their own reference system, with Chinese aliases of the fields by the
schema extension (OGC 12-128r18, Annex F.9). The others hold one table each. The bytes depend on the tables alone.
"""

import contextlib
import dataclasses
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyogrio
import pyproj
import shapely

from products import feature_table

Driver = Literal["GPKG", "FlatGeobuf", "GeoJSON"]

DRIVERS: Mapping[str, Driver] = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON"}
DEGREE_DIGITS = 7
_UTC = 100
"""OGR's number for universal time."""
_NO_TIME = "1970-01-01T00:00:00.000Z"
_DTYPES = {"integer": "int64", "real": "float64", "flag": "bool", "time": "datetime64[ms]", "text": "object"}
_SCHEMA = (
    "CREATE TABLE gpkg_data_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT, "
    "description TEXT, mime_type TEXT, constraint_name TEXT, CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name), "
    "CONSTRAINT gdc_tn UNIQUE (table_name, name))"
)


def encode(tables: Sequence[feature_table.FeatureTable], *, driver: Driver) -> bytes:
    """Bytes of a vector file.

    Parameters
    ----------
    tables : sequence of FeatureTable
        Tables of different names; the file of a format other than GeoPackage holds one.
    driver : str
        ``GPKG``, ``FlatGeobuf`` or ``GeoJSON``.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    ValueError
        No table, or several where the format holds one.
    """
    suffix = next(suffix for suffix, name in DRIVERS.items() if name == driver)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"objects{suffix}"
        _write(tables, path, driver)
        return path.read_bytes()


def write(tables: Sequence[feature_table.FeatureTable], path: Path) -> None:
    """Write a vector file; its suffix decides the format, and it takes its name when it is whole.

    Parameters
    ----------
    tables : sequence of FeatureTable
        Tables of different names; the file of a format other than GeoPackage holds one.
    path : Path
        Name ending in .gpkg, .fgb or .geojson.

    Raises
    ------
    ValueError
        Another suffix; no table, or several where the format holds one.
    """
    driver = DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise ValueError(f"{path.name}: vectors are written as {', '.join(DRIVERS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.writing{path.suffix.lower()}")
    try:
        _write(tables, part, driver)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(tables: Sequence[feature_table.FeatureTable], path: Path, driver: Driver) -> None:
    names = [table.name for table in tables]
    if not tables or len(set(names)) < len(names):
        raise ValueError(f"a vector file needs tables of different names, not {names}")
    if driver != "GPKG" and len(tables) > 1:
        raise ValueError(f"{driver} holds one table, not {names}")
    path.unlink(missing_ok=True)
    with _no_time():
        for number, table in enumerate(tables):
            _append(_geographic(table) if driver == "GeoJSON" else table, path, driver, first=number == 0)
    if driver == "GPKG":
        _name_fields(tables, path)


@contextlib.contextmanager
def _no_time() -> Iterator[None]:
    """Have GDAL write a fixed time where it would write the present one, else no two files were equal."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _NO_TIME})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


def _append(table: feature_table.FeatureTable, path: Path, driver: Driver, *, first: bool) -> None:
    values = [_stored(table.columns[field.name], field.kind) for field in table.fields]
    kind, several = _geometry_type(table)
    options = {
        "GPKG": {"DESCRIPTION": table.title_zh, "IDENTIFIER": f"{table.title_en} ({table.name})"},
        "FlatGeobuf": {"TITLE": table.title_en, "DESCRIPTION": table.title_zh},
        "GeoJSON": {"RFC7946": "YES", "COORDINATE_PRECISION": str(DEGREE_DIGITS)},
    }[driver]
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.asarray(table.geometry, dtype=object)),
        field_data=[stored for stored, _ in values],
        field_mask=[mask for _, mask in values],
        fields=[field.name for field in table.fields],
        geometry_type=kind,
        promote_to_multi=several,
        crs=table.crs,
        driver=driver,
        layer=table.name,
        layer_options=options,
        append=not first,
        gdal_tz_offsets={
            field.name: np.full(len(table), _UTC, dtype=np.uint8) for field in table.fields if field.kind == "time"
        },
    )


def _stored(column: npt.NDArray[Any], kind: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Values as OGR takes them, and which of them are missing."""
    values = np.asarray(column)
    if kind == "time":
        times = values.astype("datetime64[ms]")
        return times, np.isnat(times)
    if kind == "text":
        return np.array([None if value is None else str(value) for value in values], dtype=object), None
    return values.astype(_DTYPES[kind]), None


def _geometry_type(table: feature_table.FeatureTable) -> tuple[str, bool]:
    """OGR's name of the geometry type, and whether single ones are to be made multiple."""
    kinds = {shape.geom_type for shape in table.geometry}
    if len(kinds) <= 1:
        return next(iter(kinds), table.geometry_type or "Unknown"), False
    families = {kind.removeprefix("Multi") for kind in kinds}
    return (f"Multi{families.pop()}", True) if len(families) == 1 else ("Unknown", False)


def _geographic(table: feature_table.FeatureTable) -> feature_table.FeatureTable:
    """Table in WGS 84, rings turned as RFC 7946 wants them."""
    carry = pyproj.Transformer.from_crs(table.crs, "EPSG:4326", always_xy=True)
    moved = shapely.transform(np.asarray(table.geometry, dtype=object), carry.transform, interleaved=False)
    turned = list(shapely.orient_polygons(moved, exterior_cw=False))
    return dataclasses.replace(table, geometry=turned, crs="EPSG:4326")


def _name_fields(tables: Sequence[feature_table.FeatureTable], path: Path) -> None:
    """Chinese name of every field, which programs show in place of the column's."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(_SCHEMA)
        database.execute(
            "INSERT INTO gpkg_extensions VALUES ('gpkg_data_columns', NULL, 'gpkg_schema', ?, 'read-write')",
            ["http://www.geopackage.org/spec121/#extension_schema"],
        )
        for table in tables:
            for field in table.fields:
                # Aliases of a table must differ, and two fields of one title are told apart by their columns.
                titles = [other.title_zh for other in table.fields]
                alone = titles.count(field.title_zh) == 1
                alias = field.title_zh if alone else f"{field.title_zh} ({field.name})"
                alias = f"{alias} [{field.units}]" if field.units else alias
                row = (table.name, field.name, alias, field.title_zh, field.title_en)
                database.execute("INSERT INTO gpkg_data_columns VALUES (?, ?, ?, ?, ?, NULL, NULL)", row)
