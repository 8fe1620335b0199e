"""Pages, polygons, figures by district and quality reports of packages: complete, alike at any size, honest of gaps."""

import dataclasses
import datetime as dt
import html.parser
import json
import re
import sqlite3
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import qa as qa_bits
from products import feature_table
from products.sectors import definition, outline, package, statistics

SHAPE = (90, 120)
GEOBOX = GeoBox(SHAPE, rasterio.Affine(10, 0, 600_000, 0, -10, 3_300_000), "EPSG:32648")
START = dt.datetime(2026, 7, 1, 22, 30, tzinfo=dt.UTC)
POND = (slice(20, 40), slice(30, 60))
SPECK = (slice(70, 71), slice(100, 102))
CLOUDED = (slice(0, 90), slice(0, 12))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoParameters:
    """Nothing to set."""

    threshold: float = 0.5


def declared(**changes) -> definition.ProductDefinition:
    """Flood product of two classes, of which the second is outlined."""
    product = definition.ProductDefinition(
        code="test-flood",
        sector="emergency",
        title_en="Flood & water",
        title_zh="洪水范围",
        description_en="Made for a test; not a <flood>.",
        description_zh="供测试使用,并非真实洪水。",
        kind="class",
        layers=(definition.ProductLayer(name="flood", title_en="Flood", title_zh="洪水"),),
        classes=(
            definition.ProductClass(value=0, name_en="Dry", name_zh="陆地", colour="#ece7dc"),
            definition.ProductClass(value=1, name_en="Flooded", name_zh="淹没", colour="#d7301f"),
        ),
        required_bands=(),
        minimum_dates=1,
        latency_target=dt.timedelta(minutes=30),
        validity="rapid",
        algorithm=declared,
        parameters=NoParameters(),
        outlined=(1,),
        least_outline=5,
    )
    return dataclasses.replace(product, **changes)


def boats() -> feature_table.FeatureTable:
    return feature_table.FeatureTable(
        name="boats",
        title_en="Boats",
        title_zh="船只",
        fields=(feature_table.FeatureField(name="length", title_en="L", title_zh="长度", kind="real", units="m"),),
        geometry=[shapely.Point(600_450, 3_299_700), shapely.Point(601_100, 3_299_200)],
        columns={"length": np.array([40.0, 60.0])},
        crs="EPSG:32648",
    )


def layers(*, empty: bool = False, features=()) -> definition.SectorLayers:
    """A pond of 600 pixels with a hole, a speck of two pixels, and cloud in the first columns."""
    classes = np.zeros(SHAPE, dtype=np.uint8)
    classes[POND] = classes[SPECK] = 1
    classes[30, 40] = 0
    classes[CLOUDED] = definition.CLASS_NODATA
    if empty:
        classes[:] = definition.CLASS_NODATA
    certain = np.where(classes == 1, 0.9, 0.8).astype(np.float32)
    certain[classes == definition.CLASS_NODATA] = np.nan
    return definition.SectorLayers(
        data=xr.Dataset({"flood": (("y", "x"), classes)}),
        uncertainty=xr.Dataset({"flood": (("y", "x"), certain)}),
        dates=np.array([0]),
        features=features,
        facts={"threshold_db": -16.25},
    )


def subject() -> package.Subject:
    qa = np.zeros(SHAPE, dtype=np.uint16)
    qa[CLOUDED] = int(qa_bits.QaBit.CLOUD)
    seen = qa == 0
    return package.Subject(
        area="CQ-Test",
        geobox=GEOBOX,
        qa=qa,
        clear_looks=seen.astype(np.uint16),
        evidence=statistics.Evidence(seen, np.zeros(SHAPE)),
        start=START,
        end=START,
        dates=1,
        bands=(),
        inputs=({"id": "scene-a"},),
        footprint=package.footprint(seen, GEOBOX),
    )


def zones() -> list[statistics.Zone]:
    west, east = (
        shapely.box(600_000, 3_299_100, 600_500, 3_300_000),
        shapely.box(600_500, 3_299_100, 601_200, 3_300_000),
    )
    far = shapely.box(700_000, 3_299_100, 701_000, 3_300_000)
    return [
        statistics.Zone(code=code, name_en=name_en, name_zh=name_zh, geometry=shape, crs="EPSG:32648")
        for code, name_en, name_zh, shape in (
            ("500101", "Wanzhou", "万州区", west),
            ("500102", "Fuling", "涪陵区", east),
            ("500103", "Yuzhong", "渝中区", far),
        )
    ]


@pytest.fixture(scope="module")
def flood() -> package.ProductPackage:
    return package.assemble(layers(features=(boats(),)), subject(), definition=declared(), zones=zones())


@pytest.fixture(scope="module")
def nothing() -> package.ProductPackage:
    return package.assemble(layers(empty=True), subject(), definition=declared(), zones=zones())


class Page(html.parser.HTMLParser):
    """Tags, links and words of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(content.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data if not self.open or self.open[-1] != "style" else ""


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_needs_nothing_but_itself(flood, language):
    content = flood.assets[f"brief_{language}.html"].content
    page = Page(content)
    assert page.open == []
    assert "script" not in page.tags
    assert [link[:22] for link in page.links] == ["data:image/png;base64,"]
    assert not re.search(rb"url\(|@import|https?://", content)
    assert b"size: A4" in content


def test_a_page_states_what_when_how_sure_and_where_unknown(flood):
    chinese, english = (Page(flood.assets[f"brief_{language}.html"].content).words for language in ("zh", "en"))
    for words in (chinese, english):
        assert "2026-07-01 22:30" in words
        assert "2026-07-02 06:30" in words
        assert "500101" in words
        assert "500103" not in words
        assert flood.item_id in words
        assert "审图号" in words
    for wanted in (
        "洪水范围",
        "快速",
        "未经人工检查",
        "万州区",
        "云覆盖: 10.0 %",
        "船只",
        "北京时间",
        "淹没",
        "95% 区间",
    ):
        assert wanted in chinese
    for wanted in ("Flood & water", "Rapid", "Wanzhou", "under cloud: 10.0 %", "Boats", "Flooded: 1 (0.02 ha)"):
        assert wanted in english
    assert "not a <flood>" in english
    assert "built-in" not in english
    assert flood.assets["brief_en.html"].content.count(b'<td class="n">76.0 %</td><td class="n">24.0 %</td>') == 1


@pytest.mark.parametrize(("validity", "word"), [("candidate", "疑似"), ("rapid", "快速"), ("verified", "核实")])
def test_the_validity_of_a_product_is_in_its_words(validity, word):
    built = package.assemble(layers(), subject(), definition=declared(validity=validity))
    assert word in Page(built.assets["brief_zh.html"].content).words


def test_nothing_seen_is_a_package_that_says_so(nothing):
    assert nothing.quality["level"] == "insufficient"
    assert "no_usable_pixel" in nothing.quality["reasons"]
    whole = nothing.statistics["area"]
    assert (whole["product_area_m2"], whole["excluded_share"]) == (0.0, 1.0)
    assert [item["share"] for item in whole["classes"]] == [None, None]
    assert all(zone["excluded_share"] == 1.0 for zone in nothing.statistics["districts"])
    assert "数据不足" in Page(nothing.assets["brief_zh.html"].content).words
    assert "Insufficient data" in Page(nothing.assets["brief_en.html"].content).words
    with rasterio.MemoryFile(nothing.assets["data.tif"].content) as file, file.open() as raster:
        assert (raster.read(1) == definition.CLASS_NODATA).all()
    assert json.loads(nothing.assets["extent.geojson"].content)["features"] == []
    report = json.loads(nothing.assets["quality.json"].content)
    assert report["quality"]["level"] == "insufficient"
    assert report["quality"]["mean_uncertainty"] == {"flood": None}


def test_the_quality_report_says_why_and_by_what_thresholds(flood):
    report = json.loads(flood.assets["quality.json"].content)
    assert report["reasons_without_value"] == {"cloud": pytest.approx(0.1), "other": 0.0}
    assert report["facts"] == {"threshold_db": -16.25}
    assert report["parameters"] == {"threshold": 0.5}
    assert report["parameters_sha256"] == flood.properties["parameters_sha256"]
    assert report["not_outlined"] == {"1": {"areas": 1, "area_m2": pytest.approx(200, rel=2e-3)}}
    assert [zone["code"] for zone in report["districts"]] == ["500101", "500102"]


def test_outlines_are_valid_and_as_large_as_their_pixels(flood, tmp_path: Path):
    (tmp_path / "objects.gpkg").write_bytes(flood.assets["objects.gpkg"].content)
    about, _, shapes, columns = pyogrio.raw.read(tmp_path / "objects.gpkg", layer="extent")
    held = dict(zip(about["fields"], columns, strict=True))
    pond = shapely.from_wkb(shapes)[0]
    assert len(shapes) == 1
    assert pond.is_valid
    assert pond.area == pytest.approx(599 * 100)
    assert len(pond.interiors) == 1
    assert held["area_m2"][0] == pytest.approx(59_900, rel=2e-3)
    assert held["probability"][0] == pytest.approx(0.9, abs=1e-6)
    assert held["class_zh"][0] == "淹没"
    names = {name for name, _ in pyogrio.list_layers(tmp_path / "objects.gpkg")}
    assert names == {"boats", "extent"}
    assert {"boats.fgb", "boats.geojson", "extent.fgb", "extent.geojson"} <= set(flood.assets)
    database = sqlite3.connect(tmp_path / "objects.gpkg")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_areas_that_touch_at_corners_are_one_valid_object():
    checker = np.zeros(SHAPE, dtype=np.uint8)
    checker[40:60, 40:60] = np.indices((20, 20)).sum(axis=0) % 2
    found = definition.SectorLayers(
        data=xr.Dataset({"flood": (("y", "x"), checker)}),
        uncertainty=xr.Dataset({"flood": (("y", "x"), np.ones(SHAPE))}),
        dates=np.array([0]),
    )
    (extent,) = outline.outlines(found, definition=declared(), geobox=GEOBOX).tables
    assert len(extent) == 1
    assert extent.geometry[0].is_valid
    assert extent.geometry[0].area == pytest.approx(checker.sum() * 100)


def test_the_largest_areas_are_kept_and_the_others_counted(monkeypatch):
    monkeypatch.setattr(outline, "MOST", 2)
    many = np.zeros(SHAPE, dtype=np.uint8)
    for number in range(6):
        many[10 * number : 10 * number + 3, 20 : 25 + number] = 1
    found = layers()._replace(data=xr.Dataset({"flood": (("y", "x"), many)}))
    outlines = outline.outlines(found, definition=declared(), geobox=GEOBOX)
    assert [shape.area for shape in outlines.tables[0].geometry] == [3000.0, 2700.0]
    assert outlines.left_out["1"]["areas"] == 4
    assert outlines.left_out["1"]["area_m2"] == pytest.approx(3 * (5 + 6 + 7 + 8) * 100, rel=2e-3)


@pytest.mark.parametrize("strip", [7, 1000])
def test_figures_do_not_depend_on_how_the_raster_is_cut(monkeypatch, strip):
    def figures() -> dict:
        return statistics.summarize(
            layers(features=(boats(),)),
            definition=declared(),
            evidence=subject().evidence,
            geobox=GEOBOX,
            zones=zones(),
        )

    usual = figures()
    monkeypatch.setattr(statistics, "STRIP", strip)
    cut = figures()
    for one, other in zip([usual["area"], *usual["districts"]], [cut["area"], *cut["districts"]], strict=True):
        assert one["area_m2"] == pytest.approx(other["area_m2"], rel=1e-7)
        assert one["clear_share"] == pytest.approx(other["clear_share"], rel=1e-7)
        for item, same in zip(one["classes"], other["classes"], strict=True):
            assert item["area_m2"] == pytest.approx(same["area_m2"], rel=1e-7)
            assert item["share_95"] == pytest.approx(same["share_95"], rel=1e-6)


def test_districts_add_up_to_the_area_and_count_their_own_objects(flood):
    found = flood.statistics
    assert [zone["code"] for zone in found["districts"]] == ["500101", "500102"]
    assert found["districts_outside"] == ["500103"]
    total = sum(zone["area_m2"] for zone in found["districts"])
    assert total == pytest.approx(found["area"]["area_m2"], rel=1e-6)
    flooded = sum(zone["classes"][1]["area_m2"] for zone in found["districts"])
    assert flooded == pytest.approx(found["area"]["classes"][1]["area_m2"], rel=1e-6)
    assert [zone["objects"] for zone in found["districts"]] == [{"boats": 1}, {"boats": 1}]
    assert found["area"]["objects"] == {"boats": 2}


def test_equal_layers_give_equal_packages(flood):
    again = package.assemble(layers(features=(boats(),)), subject(), definition=declared(), zones=zones())
    assert {name: asset.content for name, asset in again.assets.items()} == {
        name: asset.content for name, asset in flood.assets.items()
    }


def test_the_version_of_the_parameters_stands_in_provenance_and_report(flood):
    versioned = package.assemble(layers(), subject(), definition=declared(parameters_version="2026-07 reservoir"))
    (entity,) = (
        entity
        for name, entity in json.loads(versioned.assets["prov.json"].content)["entity"].items()
        if name.startswith("tl:item/")
    )
    assert entity["parameters_version"] == "2026-07 reservoir"
    assert json.loads(versioned.assets["quality.json"].content)["parameters_version"] == "2026-07 reservoir"
    assert b"parameters_version" not in flood.assets["prov.json"].content


def many() -> list[statistics.Zone]:
    """Twelve strips of districts from west to east, the pond in the fourth to the sixth."""
    return [
        statistics.Zone(
            code=f"5001{number:02d}",
            name_en=f"District {number}",
            name_zh=f"第{number}区",
            geometry=shapely.box(600_000 + 100 * number, 3_299_100, 600_100 + 100 * number, 3_300_000),
            crs="EPSG:32648",
        )
        for number in range(12)
    ]


def test_the_districts_most_concerned_come_first_and_the_print_says_how_many_it_left_out():
    built = package.assemble(layers(features=(boats(),)), subject(), definition=declared(), zones=many())
    content = built.assets["brief_en.html"].content.decode()
    order = re.findall(r"<td>(5001\d\d)</td>", content)
    assert len(order) == 12
    assert set(order[:3]) == {"500103", "500104", "500105"}
    # A boat, but no flood.
    assert order[3] == "500110"
    assert content.count('<tr class="more">') == 4
    assert "the 8 districts most concerned; statistics.csv holds all 12" in content
    few = package.assemble(layers(), subject(), definition=declared(), zones=zones())
    assert "most concerned" not in Page(few.assets["brief_en.html"].content).words


def test_a_page_names_a_few_inputs_and_counts_the_others():
    many_inputs = dataclasses.replace(subject(), inputs=tuple({"id": f"scene-{number}"} for number in range(9)))
    built = package.assemble(layers(), many_inputs, definition=declared())
    words = Page(built.assets["brief_en.html"].content).words
    assert "scene-0, scene-1, scene-2 and 6 more (see prov.json)" in words
    assert "scene-3" not in words


def test_without_a_pixel_the_figures_are_no_zeros(nothing):
    content = nothing.assets["brief_en.html"].content
    assert b"0 ha (-)" not in content
    assert content.count(b'<td class="n">-</td><td class="n">-</td>') == 2


def listed() -> package.ProductPackage:
    product = declared(kind="objects", layers=(), classes=(), outlined=())
    found = definition.SectorLayers(
        data=xr.Dataset(), uncertainty=xr.Dataset(), dates=np.array([0]), features=(boats(),), facts={"found": 2}
    )
    return package.assemble(found, subject(), definition=product, zones=zones())


def test_a_product_of_objects_has_no_raster_and_all_the_rest():
    built = listed()
    assert not [name for name in built.assets if name.endswith(".tif")]
    assert {"objects.gpkg", "boats.geojson", "quicklook.png", "statistics.csv", "brief_zh.html", "prov.json"} <= set(
        built.assets
    )
    assert built.statistics["area"]["objects"] == {"boats": 2}
    assert [zone["objects"] for zone in built.statistics["districts"]] == [{"boats": 1}, {"boats": 1}]
    assert built.quality["excluded_share"] == pytest.approx(0.1, rel=1e-4)
    assert built.properties["uncertainty"] == "per_object"
    rows = built.assets["statistics.csv"].content.decode("utf-8-sig").splitlines()
    assert sum("boats" in row for row in rows) == 3
    words = Page(built.assets["brief_zh.html"].content).words
    assert "船只" in words
    assert "2 个要素" in words


def test_objects_of_a_scene_nobody_could_see_are_insufficient_data():
    blind = dataclasses.replace(subject(), evidence=statistics.Evidence(np.zeros(SHAPE), np.zeros(SHAPE)))
    found = definition.SectorLayers(data=xr.Dataset(), uncertainty=xr.Dataset(), dates=np.array([0]))
    product = declared(kind="objects", layers=(), classes=(), outlined=())
    built = package.assemble(found, blind, definition=product)
    assert built.quality["level"] == "insufficient"
    assert "Insufficient data" in Page(built.assets["brief_en.html"].content).words


def test_objects_of_a_class_are_drawn_in_its_colour():
    table = boats()
    told = feature_table.FeatureField(name="class_value", title_en="Class", title_zh="类", kind="integer")
    fields = (*table.fields, told)
    values = {**table.columns, "class_value": np.array([1, 255])}
    classed = dataclasses.replace(table, fields=fields, columns=values)
    (drawn,) = package._overlays(classed, declared(), "#000000")
    assert (drawn.colour, drawn.label_en, len(drawn.geometry)) == ("#d7301f", "Flooded", 1)
    (plain,) = package._overlays(table, declared(), "#123456")
    assert (plain.colour, len(plain.geometry)) == ("#123456", 2)
