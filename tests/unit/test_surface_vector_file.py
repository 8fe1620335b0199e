"""Vector files: equal tables give equal bytes, readable by others, with Chinese names and UTC."""

import contextlib
import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

from infra.surface import vector_file
from processors.quality import BadInputError
from products import feature_table, vector

FIELDS = (
    feature_table.FeatureField(name="number", title_en="Number", title_zh="编号", kind="integer"),
    feature_table.FeatureField(name="power", title_en="Power", title_zh="功率", kind="real", units="MW"),
    feature_table.FeatureField(name="seen", title_en="Seen", title_zh="时间", kind="time"),
    feature_table.FeatureField(name="label", title_en="Label", title_zh="名称", kind="text"),
    feature_table.FeatureField(name="static", title_en="Static", title_zh="固定", kind="flag"),
)


def fires(count: int, *, name: str = "fires", crs: str = "EPSG:4490") -> feature_table.FeatureTable:
    numbers = np.arange(count)
    times = np.datetime64("2026-07-01T06:00:00", "s") + numbers.astype("timedelta64[h]")
    times[numbers == 1] = np.datetime64("NaT")
    return feature_table.FeatureTable(
        name=name,
        title_en="Fires",
        title_zh="火点",
        fields=FIELDS,
        geometry=[shapely.Point(106.5 + 0.01 * number, 29.5) for number in numbers],
        columns={
            "number": numbers,
            "power": np.where(numbers == 1, np.nan, 1.5 * numbers),
            "seen": times,
            "label": np.array([None if number == 1 else "江北" for number in numbers], dtype=object),
            "static": numbers % 2 == 0,
        },
        crs=crs,
    )


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
@pytest.mark.parametrize("kind", ["Point", "MultiPolygon"])
def test_a_table_without_objects_keeps_the_type_of_its_geometry(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    vector.write([dataclasses.replace(fires(0), geometry_type=kind)], path)
    held = vector_file.read(path)
    assert (held.geometry_type, len(held.geometry)) == (kind, 0)
    vector.write([fires(0)], path)
    assert vector_file.read(path).geometry_type == "Unknown"
    vector.write([dataclasses.replace(fires(3), geometry_type="Polygon")], path)
    assert vector_file.read(path).geometry_type == "Point"


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson"])
@pytest.mark.parametrize("count", [0, 3])
def test_equal_tables_give_equal_bytes_and_come_back(tmp_path: Path, suffix: str, count: int) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    vector.write([fires(count)], first)
    vector.write([fires(count)], second)
    assert first.read_bytes() == second.read_bytes() == vector.encode([fires(count)], driver=vector.DRIVERS[suffix])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    if count == 0 and suffix == ".geojson":
        assert json.loads(first.read_text())["features"] == []
        return
    about, _, shapes, columns = pyogrio.raw.read(first)
    assert list(about["fields"]) == [field.name for field in FIELDS]
    # FlatGeobuf orders its objects by place.
    order = np.argsort(columns[0])
    held = {name: column[order] for name, column in zip(about["fields"], columns, strict=True)}
    assert held["number"].tolist() == list(range(count))
    if count:
        assert np.isnan(held["power"][1])
        assert held["power"][2] == 3.0
        assert held["label"].tolist() == ["江北", None, "江北"]
        assert np.isnat(held["seen"][1])
        assert shapely.from_wkb(shapes[order])[2].equals_exact(shapely.Point(106.52, 29.5), 1e-7)


def test_times_are_marked_universal(tmp_path: Path) -> None:
    vector.write([fires(2)], tmp_path / "a.geojson")
    seen = [row["properties"]["seen"] for row in json.loads((tmp_path / "a.geojson").read_text())["features"]]
    assert seen == ["2026-07-01T06:00:00Z", None]


def test_a_geopackage_holds_layers_with_chinese_names(tmp_path: Path) -> None:
    vector.write([fires(3), fires(0, name="static_sources")], tmp_path / "a.gpkg")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        layers = dict(database.execute("SELECT table_name, description FROM gpkg_contents").fetchall())
        aliases = dict(
            database.execute("SELECT column_name, name FROM gpkg_data_columns WHERE table_name = 'fires'").fetchall()
        )
        extensions = [row[0] for row in database.execute("SELECT extension_name FROM gpkg_extensions")]
    assert layers == {"fires": "火点", "static_sources": "火点"}
    assert aliases["power"] == "功率 [MW]"
    assert aliases["number"] == "编号"
    assert "gpkg_schema" in extensions


def test_geojson_is_in_wgs84_with_rings_turned_left() -> None:
    clockwise = shapely.Polygon(
        [(500_000, 3_300_000), (500_000, 3_301_000), (501_000, 3_301_000), (501_000, 3_300_000)]
    )
    area = feature_table.FeatureTable(
        name="area", title_en="Area", title_zh="区域", fields=(), geometry=[clockwise], columns={}, crs="EPSG:32648"
    )
    told = json.loads(vector.encode([area], driver="GeoJSON"))
    ring = shapely.LinearRing(told["features"][0]["geometry"]["coordinates"][0])
    assert ring.is_ccw
    west, south, east, north = ring.bounds
    assert 104.9 < west < east < 105.1
    assert 29.8 < south < north < 29.9


def test_single_and_multiple_parts_go_into_one_layer(tmp_path: Path) -> None:
    square = shapely.box(0, 0, 1, 1)
    table = feature_table.FeatureTable(
        name="parts",
        title_en="Parts",
        title_zh="部分",
        fields=(),
        geometry=[square, shapely.MultiPolygon([square, shapely.box(2, 2, 3, 3)])],
        columns={},
        crs="EPSG:32648",
    )
    vector.write([table], tmp_path / "a.gpkg")
    assert pyogrio.list_layers(tmp_path / "a.gpkg").tolist() == [["parts", "MultiPolygon"]]


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    two = [fires(1), fires(1, name="others")]
    with pytest.raises(ValueError, match="one table"):
        vector.write(two, tmp_path / "a.fgb")
    with pytest.raises(ValueError, match="different names"):
        vector.write([fires(1), fires(1)], tmp_path / "a.gpkg")
    with pytest.raises(ValueError, match="written as"):
        vector.write([fires(1)], tmp_path / "a.shp")
    assert list(tmp_path.iterdir()) == []


def test_columns_must_match_the_objects() -> None:
    with pytest.raises(ValueError, match="1 objects"):
        feature_table.FeatureTable(
            name="a",
            title_en="A",
            title_zh="甲",
            fields=FIELDS[:1],
            geometry=[shapely.Point(0, 0)],
            columns={"number": np.arange(2)},
            crs="EPSG:4326",
        )
    with pytest.raises(ValueError, match="fields"):
        feature_table.FeatureTable(
            name="a", title_en="A", title_zh="甲", fields=FIELDS[:1], geometry=[], columns={}, crs="EPSG:4326"
        )


def test_vectors_of_the_operator_are_mended_or_refused_by_name(tmp_path: Path) -> None:
    bow = shapely.Polygon([(106, 29), (107, 30), (107, 29), (106, 30)])
    table = feature_table.FeatureTable(
        name="areas", title_en="A", title_zh="甲", fields=(), geometry=[bow], columns={}, crs="EPSG:4326"
    )
    vector.write([table], tmp_path / "areas.gpkg")
    found = vector_file.read(tmp_path / "areas.gpkg")
    assert found.repaired == 1
    assert shapely.is_valid(found.geometry).all()
    moved = vector_file.carried(found.geometry, found.crs, "EPSG:32648")
    assert 596_000 < moved[0].bounds[0] < 598_000
    (tmp_path / "broken.gpkg").write_text("nothing")
    with pytest.raises(BadInputError, match=r"broken\.gpkg"):
        vector_file.read(tmp_path / "broken.gpkg")
    text = '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": null}]}'
    (tmp_path / "empty.geojson").write_text(text)
    with pytest.raises(BadInputError, match="without geometry"):
        vector_file.read(tmp_path / "empty.geojson")
