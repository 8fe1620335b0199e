"""Exposure: shares are those of geometry whatever the pixels, and what nobody saw is never clear."""

import json
import time

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from infra import cli
from infra.surface import exposure as exposure_file
from infra.surface import operator_layers
from processors.imagery import gauge_readings
from processors.quality import BadInputError
from products import exposure, gauge_comparison, vector_exposure
from retrieval.surface import segment_hazard

CRS = "EPSG:32648"
WEST, NORTH, PIXEL = 600_000.0, 3_300_000.0, 10.0


def layer(shape=(100, 100), *, sure=1.0):
    """Flood west of the middle, no data in the southern tenth."""
    values = np.zeros(shape, dtype=np.uint8)
    values[:, : shape[1] // 2] = 2
    values[-shape[0] // 10 :] = 255
    geobox = GeoBox(shape, Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH), CRS)
    return exposure.hazard_of(values, np.full(shape, sure), classes=(2,), geobox=geobox)


def at(x, y):
    return WEST + x, NORTH - y


def one(shape, hazard=None, **parameters):
    chosen = exposure.ExposureParameters(**parameters)
    found = exposure.join([shape], CRS, hazard=hazard or layer(), parameters=chosen)
    return exposure.Exposure(*(column[0] for column in found))


@pytest.mark.parametrize("shift", [0.0, 1.7, 3.3, 4.9, 9.99])
def test_the_share_of_an_area_is_that_of_geometry_within_a_pixel(shift):
    found = one(shapely.box(*at(450 + shift, 230), *at(550 + shift, 213)))
    assert found.share == pytest.approx((50 - shift) / 100, abs=1e-6)
    assert (found.state, found.distance, found.assessed) == ("exposed", 0.0, 1.0)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, 1.5])
def test_the_share_of_a_line_is_that_of_its_length_inside(angle):
    x, y = 480.0, 400.0
    line = shapely.LineString([at(x, y), at(x + 200 * np.cos(angle), y + 200 * np.sin(angle))])
    inside = min(20.0 / (200 * np.cos(angle)), 1.0)
    assert one(line).share == pytest.approx(inside, abs=0.02)


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ((100, 100), "exposed"),
        ((499, 100), "exposed"),
        ((520, 100), "near"),
        ((590, 100), "near"),
        ((640, 100), "clear"),
        ((640, 950), "not_assessed"),
        ((100, 950), "not_assessed"),
        ((5000, 100), "not_assessed"),
        ((-1, 100), "not_assessed"),
    ],
)
def test_points_have_the_state_of_their_place(place, state):
    found = one(shapely.Point(at(*place)))
    assert found.state == state
    assert np.isnan(found.share) == (state == "not_assessed")


def test_half_seen_is_not_clear_but_half_seen_may_be_exposed():
    assert one(shapely.box(*at(700, 990), *at(710, 800))).state == "not_assessed"
    assert one(shapely.box(*at(400, 990), *at(410, 800))).state == "exposed"
    assert one(shapely.box(*at(900, 500), *at(1900, 400))).state == "not_assessed"


def test_doubt_lowers_the_share_and_widens_its_interval():
    shape = shapely.box(*at(100, 200), *at(200, 100))
    sure, doubtful = one(shape), one(shape, layer(sure=0.7))
    assert (sure.low, sure.share, sure.high) == pytest.approx((1, 1, 1))
    assert doubtful.share == pytest.approx(0.7)
    assert doubtful.low < 0.7 < doubtful.high


def test_other_reference_systems_give_the_same():
    shape = shapely.box(*at(450, 230), *at(550, 130))
    away = operator_layers.vector_file.carried(np.array([shape], dtype=object), CRS, "EPSG:4326")
    found = exposure.join(list(away), "EPSG:4326", hazard=layer())
    assert found.share[0] == pytest.approx(0.5, abs=1e-3)


def test_the_most_exposed_come_first_and_the_unknown_before_the_clear():
    places = [(640, 100), (640, 950), (560, 100), (510, 100), (100, 100)]
    found = exposure.join([shapely.Point(at(*place)) for place in places], CRS, hazard=layer())
    assert exposure.ranking(found).tolist() == [4, 3, 2, 1, 0]


def test_ten_thousand_assets_take_seconds():
    assets = 2_000
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 1000, (2, assets))
    shapes = [shapely.Point(at(*place)).buffer(15) for place in zip(x, y, strict=True)]
    started = time.perf_counter()
    exposure.join(shapes, CRS, hazard=layer())
    assert (time.perf_counter() - started) * 10_000 / assets < 20


def test_objects_reach_by_geometry_and_call_nothing_clear_without_coverage():
    hazards = [shapely.box(*at(0, 500), *at(500, 0)), shapely.box(*at(400, 500), *at(500, 0))]
    shapes = [
        shapely.box(*at(300, 200), *at(700, 100)),
        shapely.Point(at(550, 100)),
        shapely.Point(at(900, 100)),
        shapely.LineString([at(450, 100), at(550, 100)]),
    ]
    told = {"hazards": hazards, "hazard_crs": CRS, "probability": np.array([0.5, np.nan])}
    blind = vector_exposure.join(shapes, CRS, **told)
    assert list(blind.state) == ["exposed", "near", "not_assessed", "exposed"]
    assert blind.share[0] == pytest.approx((100 * 0.5 + 100) / 400, abs=1e-3)
    assert blind.share[3] == pytest.approx(0.5, abs=1e-3)
    assert blind.distance[1] == pytest.approx(50, rel=1e-3)
    seen = vector_exposure.join(shapes, CRS, coverage=shapely.box(*at(0, 1000), *at(1000, 0)), **told)
    assert list(seen.state) == ["exposed", "near", "clear", "exposed"]
    assert not len(vector_exposure.join([], CRS, **told).state)


def test_a_landslide_counts_where_it_is_steep_and_more_where_it_rained():
    score = np.array([[0.5, 0.5, np.nan, 1.0]], dtype=np.float32)
    steep, flat = np.full((1, 4), 40.0), np.full((1, 4), 5.0)
    np.testing.assert_allclose(segment_hazard.score(score), score)
    np.testing.assert_allclose(segment_hazard.score(score, slope=steep), score)
    np.testing.assert_allclose(segment_hazard.score(score, slope=flat), [[0, 0, np.nan, 0]])
    wet = segment_hazard.score(score, slope=steep, rain=np.array([[0.0, 200.0, 200.0, np.nan]]))
    np.testing.assert_allclose(wet, [[0.5, 0.75, np.nan, 1.0]])


def write(path, shapes, crs=CRS, **columns):
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(shapes, dtype=object)),
        field_data=[np.array(values) for values in columns.values()],
        fields=list(columns),
        geometry_type="Unknown",
        crs=crs,
    )
    return path


@pytest.fixture
def hazard(tmp_path):
    made = layer()
    path = tmp_path / "flood.tif"
    profile = {"driver": "GTiff", "width": 100, "height": 100, "count": 2, "dtype": "float32", "nodata": 255}
    values = np.where(np.isnan(made.probability), 255, 2.0 * made.reached)
    with rasterio.open(path, "w", crs=CRS, transform=made.geobox.transform, **profile) as raster:
        raster.write(np.stack([values, np.where(values == 255, 255, made.reached * 0.9)]).astype(np.float32))
        raster.descriptions = ("flood", "probability_of_flood")
    return path


def test_the_command_ranks_and_counts_whatever_it_is_given(tmp_path, hazard):
    assets = write(
        tmp_path / "assets.gpkg",
        [shapely.Point(at(100, 100)), shapely.Point(at(900, 100)), shapely.Point(at(9000, 0))],
        id=["a", "b", "c"],
        kind=["dam", "kiosk", "settlement"],
        population=[0, 5, 7],
    )
    roads = write(tmp_path / "roads.gpkg", [shapely.LineString([at(510, 100), at(510, 300)])], id=[7])
    out = tmp_path / "e.gpkg"
    words = ["surface", "exposure", "--hazard", hazard, "--assets", assets, "--segments", roads, "--out", out, "--json"]
    words += ["--classes", "2", "--buffer", "30"]
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    states = {name: told["exposed_assets"][name] for name in ("exposed", "clear", "not_assessed", "other_kinds")}
    assert states == {"exposed": 1, "clear": 1, "not_assessed": 1, "other_kinds": 1}
    assert (told["status"], told["exposed_segments"]["exposed"]) == ("flagged", 1)
    _, _, _, fields = pyogrio.raw.read(out, layer="exposed_segments")
    about = pyogrio.raw.read(out, layer="exposed_assets", columns=["asset_id", "probability"])
    assert list(about[3][0]) == ["a", "c", "b"]
    assert about[3][1][0] == pytest.approx(0.9)
    assert "7" in {str(column[0]) for column in fields}


def test_whole_and_grouped_joins_agree(tmp_path, hazard, monkeypatch):
    rng = np.random.default_rng(3)
    places = rng.uniform(-100, 1100, (200, 2))
    roads = write(tmp_path / "r.gpkg", [shapely.LineString([at(*p), at(*(p + 90))]) for p in places], id=np.arange(200))
    tables = []
    for block in (7, 1024):
        monkeypatch.setattr(exposure_file, "_BLOCK", block)
        exposure_file.run(hazard, tmp_path / f"{block}.gpkg", segments=roads, classes=(2,))
        tables.append(pyogrio.raw.read(tmp_path / f"{block}.gpkg")[3])
    for first, second in zip(*tables, strict=True):
        np.testing.assert_array_equal(first, second)


def test_slope_and_objects_go_through_the_files(tmp_path, hazard):
    roads = write(tmp_path / "roads.gpkg", [shapely.LineString([at(100, 100), at(200, 100)])], id=[7])
    drawn = write(tmp_path / "h.gpkg", [shapely.box(*at(0, 500), *at(150, 0))], probability=[0.8])
    with rasterio.open(hazard) as source:
        profile = {**source.profile, "count": 1, "nodata": None}
    with rasterio.open(tmp_path / "slope.tif", "w", **profile) as raster:
        raster.write(np.full((1, 100, 100), 17.5, dtype=np.float32))
    for given, slope, share in ((hazard, tmp_path / "slope.tif", 0.45), (drawn, None, 0.4)):
        exposure_file.run(given, tmp_path / "o.gpkg", segments=roads, classes=(2,), slope=slope)
        held = pyogrio.raw.read(tmp_path / "o.gpkg", columns=["exposed_share"])
        assert held[3][0][0] == pytest.approx(share, abs=5e-3)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"out": "o.txt"}, "suffix_unknown"),
        ({"segments": None}, "assets_missing"),
        ({"probability_band": 9}, "band_missing"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, hazard, change, cause):
    roads = write(tmp_path / "roads.gpkg", [shapely.Point(at(1, 1))], id=[7])
    told = {"out": "o.gpkg", "segments": roads, **change}
    with pytest.raises(BadInputError) as caught:
        exposure_file.run(hazard, tmp_path / told.pop("out"), **told)
    assert caught.value.cause == cause


BOW = shapely.Polygon([(106, 29), (107, 30), (107, 29), (106, 30)])


def test_districts_are_mended_and_named(tmp_path):
    file = write(tmp_path / "d.geojson", [BOW], "EPSG:4326", adcode=[500112], name=["某区"])
    (zone,) = operator_layers.districts(file)
    assert (zone.code, zone.name_zh) == ("500112", "渝北区")
    assert zone.geometry.is_valid
    assert zone.geometry.area == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shapes", "columns", "cause", "said"),
    [
        ([BOW, BOW], {"adcode": ["500112", "500112"]}, "schema", "500112"),
        ([BOW, BOW], {"adcode": ["500112", ""]}, "schema", "object 2"),
        ([BOW], {"label": ["x"]}, "schema", "adcode"),
        ([shapely.Point(106, 29)], {"adcode": ["500112"]}, "geometry_missing", "500112"),
    ],
)
def test_districts_nobody_can_name_are_refused(tmp_path, shapes, columns, cause, said):
    file = write(tmp_path / "d.gpkg", shapes, "EPSG:4326", **columns)
    with pytest.raises(BadInputError, match=said) as caught:
        operator_layers.districts(file)
    assert caught.value.cause == cause


@pytest.mark.parametrize("identity", [["a", "a"], ["a", ""], ["a", None]])
def test_assets_without_or_with_one_identity_are_refused(tmp_path, identity):
    column = np.array(identity, dtype=object)
    file = write(tmp_path / "a.gpkg", [shapely.Point(106, 29), shapely.Point(107, 29)], "EPSG:4326", id=column)
    with pytest.raises(BadInputError) as caught:
        operator_layers.assets(file)
    assert caught.value.cause == "schema"


HEADER = "station,latitude,longitude,time,level_m,datum,warning_level_m\n"


def test_gauges_are_compared_only_in_one_datum_at_one_time_and_place():
    hazard_layer = layer((300, 300))
    ground = np.fromfunction(lambda row, column: column - 150 + 20.0, (300, 300)).astype(np.float32)
    lon, lat = operator_layers.vector_file.carried(
        np.array([shapely.Point(at(1500, 1000))], dtype=object), CRS, "EPSG:4326"
    )[0].coords[0]
    rows = [
        f"A,{lat},{lon},2026-07-15T08:00:00+08:00,20.5,national_1985,20",
        f"B,{lat},{lon},2026-07-15T08:00:00+08:00,40.5,national_1985,",
        f"C,{lat},{lon},2026-07-15T08:00:00+08:00,20.5,wusong,",
        f"D,{lat},{lon},2026-07-14T08:00:00+08:00,20.5,national_1985,",
        "E,10,10,2026-07-15T08:00:00+08:00,20.5,national_1985,",
        f"F,{lat},{lon},2026-07-15T08:00:00+08:00,20.5,,",
        f"G,{lat},{lon},2026-07-15T08:00:00,20.5,wusong,",
    ]
    readings = gauge_readings.parse(HEADER + "\n".join(rows), name="g.csv")
    assert dict(readings.bad) == {"datum_unknown": 1, "time_invalid": 1}
    made = gauge_comparison.table(
        readings,
        water=hazard_layer.reached,
        elevation=ground,
        geobox=hazard_layer.geobox,
        elevation_datum="national_1985",
        time=np.datetime64("2026-07-15T02:00:00"),
    )
    assert list(made.columns["verdict"]) == ["agrees", "differs", "other datum", "other time", "outside"]
    assert made.columns["above_warning"].tolist() == [True, False, False, False, False]
    assert made.columns["difference_m"][0] == pytest.approx(-0.5)


GOOD = "A,29.5,106.5,2026-07-15T08:00:00+08:00,20.5,wusong,"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("A,", ",", "station_missing"),
        ("29.5", "91", "value_implausible"),
        ("20.5", "high", "value_implausible"),
        ("20.5", "nan", "value_implausible"),
        ("+08:00", "", "time_invalid"),
        ("2026-07-15", "yesterday", "time_invalid"),
        ("wusong", "mean sea", "datum_unknown"),
    ],
)
def test_a_bad_reading_is_counted_and_a_table_of_only_such_is_refused(old, new, reason):
    readings = gauge_readings.parse(f"{HEADER}{GOOD}\n{GOOD.replace(old, new, 1)}\n", name="g.csv")
    assert dict(readings.bad) == {reason: 1}
    assert len(readings.station) == 1
    with pytest.raises(BadInputError, match=r"g\.csv"):
        gauge_readings.parse(f"{HEADER}{GOOD.replace(old, new, 1)}\n", name="g.csv")


def test_gauges_without_the_column_of_the_datum_are_refused():
    with pytest.raises(BadInputError, match="datum"):
        gauge_readings.parse(HEADER.replace("datum,", "") + GOOD, name="g.csv")


def usual(path, bands, value, **tags):
    profile = {"driver": "GTiff", "width": 100, "height": 100, "count": bands, "dtype": "float32", "crs": CRS}
    with rasterio.open(path, "w", transform=layer().geobox.transform, **profile) as raster:
        raster.write(np.stack([np.full((100, 100), value * (band + 1), np.float32) for band in range(bands)]))
        raster.update_tags(**tags)
    return path


def test_usual_water_is_of_its_month_or_refused(tmp_path):
    geobox = layer().geobox
    year = usual(tmp_path / "year.tif", 12, 1.5)
    assert operator_layers.reference_water(year, month=8, geobox=geobox).max() == pytest.approx(0.12)
    august = usual(tmp_path / "august.tif", 1, 0.4, MONTH="8")
    assert operator_layers.reference_water(august, month=8, geobox=geobox).min() == pytest.approx(0.4)
    assert operator_layers.reference_water(august, month=7, geobox=geobox) is None
    for file, cause in (
        (usual(tmp_path / "none.tif", 1, 0.4), "month_missing"),
        (usual(tmp_path / "odd.tif", 1, 0.4, MONTH="13"), "month_missing"),
        (usual(tmp_path / "counts.tif", 1, 400.0, MONTH="8"), "value_implausible"),
    ):
        with pytest.raises(BadInputError) as caught:
            operator_layers.reference_water(file, month=8, geobox=geobox)
        assert caught.value.cause == cause


def test_boxes_of_districts_are_in_degrees(tmp_path):
    shape = operator_layers.vector_file.carried(np.array([BOW], dtype=object), "EPSG:4326", "EPSG:3857")[0]
    file = write(tmp_path / "d.gpkg", [shape], "EPSG:3857", adcode=["500112"])
    assert operator_layers.district_boxes(file)["500112"] == pytest.approx([106, 29, 107, 30], abs=1e-5)
