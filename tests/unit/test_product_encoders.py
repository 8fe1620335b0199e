"""Rasters, pictures, identifiers and provenance of sector products, judged by outside readers."""

import json
import warnings
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rio_cogeo
import xarray as xr
from fontTools import fontBuilder
from fontTools.pens import ttGlyphPen
from matplotlib import font_manager, image
from odc.geo.geobox import GeoBox
from rasterio import io as raster_io

from processors import quality
from processors.imagery import grid
from products import cog, filenames, provenance, quicklook

CATEGORIES = (
    cog.RasterCategory(value=0, name_en="Dry", name_zh="陆地", colour="#ece7dc"),
    cog.RasterCategory(value=1, name_en="Water <& ice>", name_zh="水体", colour="#2b7bba"),
)
CLASS_LAYER = cog.RasterLayer(variable="water", description="water", units="1", nodata=255.0, categories=CATEGORIES)
VALUE_LAYERS = [
    cog.RasterLayer(variable="a", description="first", units="d", nodata=float("nan")),
    cog.RasterLayer(variable="b", description="second", units="1", nodata=float("nan"), tags={"TITLE_ZH": "第二"}),
]


def raster(shape=(700, 1100), *, crs="EPSG:32648", size=250.0, origin=(500_000.0, 3_300_000.0)) -> xr.Dataset:
    rng = np.random.default_rng(4)
    transform = rasterio.Affine(size, 0, origin[0], 0, -size, origin[1])
    water = (rng.random(shape) < 0.3).astype(np.uint8)
    water[:40] = 255
    smooth = np.add.outer(np.linspace(0, 1, shape[0]), np.linspace(0, 2, shape[1])).astype(np.float32)
    smooth[:40] = np.nan
    variables = {"water": (("y", "x"), water), "a": (("y", "x"), smooth), "b": (("y", "x"), smooth + 1)}
    return grid.assign(xr.Dataset(variables), GeoBox(shape, transform, crs))


def validate(content: bytes, folder: Path) -> None:
    path = folder / "file.tif"
    path.write_bytes(content)
    valid, errors, warned = rio_cogeo.cog_validate(str(path), strict=True, quiet=True)
    assert (valid, errors, warned) == (True, [], [])


@pytest.mark.parametrize("shape", [(40, 60), (700, 1100)])
@pytest.mark.parametrize("layers", [[CLASS_LAYER], VALUE_LAYERS])
def test_files_are_valid_cloud_optimized_geotiffs(tmp_path, shape, layers):
    validate(cog.encode(raster(shape), layers=layers, tags={"PRODUCT": "x"}), tmp_path)


def test_equal_input_gives_equal_bytes():
    first, second = (cog.encode(raster(), layers=VALUE_LAYERS, tags={"PRODUCT": "x"}) for _ in range(2))
    assert first == second


def test_values_place_and_metadata_survive():
    dataset = raster()
    with (
        raster_io.MemoryFile(cog.encode(dataset, layers=VALUE_LAYERS, tags={"PRODUCT": "x"})) as file,
        file.open() as found,
    ):
        np.testing.assert_array_equal(found.read(1), dataset["a"].values)
        assert found.descriptions == ("first", "second")
        assert found.units == ("d", "1")
        assert np.isnan(found.nodata)
        assert found.crs.to_epsg() == 32648
        assert found.transform == grid.geobox_of(dataset).transform
        assert found.tags()["PRODUCT"] == "x"
        assert found.tags(2)["TITLE_ZH"] == "第二"
        assert found.profile["compress"] == "zstd"
        assert found.block_shapes[0] == (512, 512)


def test_scale_is_stored_with_integers():
    layer = cog.RasterLayer(variable="water", description="p", units="1", nodata=255.0, scale=0.01, offset=0.5)
    with raster_io.MemoryFile(cog.encode(raster(), layers=[layer], tags={})) as file, file.open() as found:
        assert (found.scales, found.offsets) == ((0.01,), (0.5,))


def test_classes_carry_colours_and_names():
    with raster_io.MemoryFile(cog.encode(raster(), layers=[CLASS_LAYER], tags={})) as file, file.open() as found:
        assert found.colormap(1)[1] == (0x2B, 0x7B, 0xBA, 255)
        assert found.nodata == 255
        assert json.loads(found.tags(1)["CLASSES"])[1]["zh"] == "水体"


def test_gdal_reads_the_category_names_of_the_sidecar(tmp_path):
    (tmp_path / "data.tif").write_bytes(cog.encode(raster((40, 60)), layers=[CLASS_LAYER], tags={}))
    (tmp_path / "data.tif.aux.xml").write_bytes(cog.category_sidecar([CLASS_LAYER]))
    rasterio.shutil.copy(tmp_path / "data.tif", tmp_path / "seen.vrt", driver="VRT")
    seen = (tmp_path / "seen.vrt").read_text(encoding="utf-8")
    assert "<Category>Dry 陆地</Category>" in seen
    assert "Water &lt;&amp; ice&gt; 水体" in seen


def overview(content: bytes) -> np.ndarray:
    with raster_io.MemoryFile(content) as file, file.open(overview_level=0) as found:
        return found.read(1)


def test_overviews_average_values_and_never_invent_classes():
    dataset = raster()
    values = overview(cog.encode(dataset, layers=VALUE_LAYERS, tags={}))
    expected = dataset["a"].values[40:, :].reshape(330, 2, 550, 2).mean((1, 3))
    np.testing.assert_allclose(values[20:], expected, rtol=1e-5)
    striped = dataset.copy(deep=True)
    striped["water"].values[:] = np.where(np.arange(1100) % 4 == 3, 4, 0).astype(np.uint8)
    assert set(np.unique(overview(cog.encode(striped, layers=[CLASS_LAYER], tags={})))) <= {0, 4}


def test_mixed_data_types_are_refused():
    with pytest.raises(ValueError, match="one data type"):
        cog.encode(raster((20, 20)), layers=[CLASS_LAYER, VALUE_LAYERS[0]], tags={})


def test_a_dataset_without_reference_system_is_refused():
    bare = raster((20, 20)).drop_vars("spatial_ref")
    with pytest.raises(quality.BadInputError) as caught:
        cog.encode(bare, layers=[CLASS_LAYER], tags={})
    assert caught.value.cause == "crs_missing"


LEGEND = [
    quicklook.LegendEntry(value=item.value, colour=item.colour, label_en=item.name_en, label_zh=item.name_zh)
    for item in CATEGORIES
]
BAR = quicklook.ColourBar(
    colour_map="YlGn", minimum=0, maximum=3, label_en="Vegetation cover", label_zh="植被覆盖度", units="d"
)
TEXT = quicklook.MapText(title_en="Open water", title_zh="开阔水面", date="2026-05-01 UTC", source="demo | 来源")


def pixels(content: bytes, folder: Path) -> np.ndarray:
    path = folder / "picture.png"
    path.write_bytes(content)
    return image.imread(path)


@pytest.mark.parametrize("shape", [(60, 60), (30, 400), (300, 60)])
@pytest.mark.parametrize(("name", "legend"), [("water", LEGEND), ("a", BAR)])
def test_pictures_are_repeatable_and_show_the_colours_of_the_map(tmp_path, shape, name, legend):
    layer = raster(shape)[name].copy()
    layer[10:] = 1
    first, second = (quicklook.render(layer, legend=legend, text=TEXT) for _ in range(2))
    assert first == second
    picture = (pixels(first, tmp_path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    wanted = [0x2B, 0x7B, 0xBA] if name == "water" else None
    if wanted:
        assert (picture == wanted).all(axis=1).mean() > 0.02


def test_a_geographic_grid_is_drawn_too():
    layer = raster((80, 120), crs="EPSG:4326", size=0.002, origin=(106.4, 29.7))["a"]
    assert quicklook.render(layer, legend=BAR, text=TEXT).startswith(b"\x89PNG")


def test_no_wall_clock_or_software_version_is_in_the_picture():
    content = quicklook.render(raster((60, 60))["water"], legend=LEGEND, text=TEXT)
    assert b"tEXt" not in content
    assert b"tIME" not in content


@pytest.mark.parametrize(
    ("extent", "expected"), [(1000.0, 200.0), (2000.0, 500.0), (4000.0, 1000.0), (512_000.0, 100_000.0)]
)
def test_scale_bar_is_round_and_at_most_a_quarter(extent, expected):
    assert quicklook.scale_bar_length(extent) == pytest.approx(expected)


@pytest.fixture
def chinese_family(tmp_path, monkeypatch):
    """A font made on the spot that has the characters of the test and one of the accepted family names."""
    wanted = sorted(
        {c for label in (TEXT.title_zh, TEXT.source, BAR.label_zh, "陆地水体无数值") for c in label if ord(c) > 127}
    )
    pen = ttGlyphPen.TTGlyphPen(None)
    for point, start in (((80, 0), True), ((80, 800), False), ((900, 800), False), ((900, 0), False)):
        (pen.moveTo if start else pen.lineTo)(point)
    pen.closePath()
    block = pen.glyph()
    names = [".notdef", *(f"uni{ord(c):04X}" for c in wanted)]
    builder = fontBuilder.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"uni{ord(c):04X}" for c in wanted})
    builder.setupGlyf(dict.fromkeys(names, block))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 80)))
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": "WenQuanYi Micro Hei", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "blocks.ttf"
    builder.save(path)
    manager = font_manager.fontManager
    latin_only = [entry for entry in manager.ttflist if entry.name not in quicklook.CHINESE_FONTS]
    monkeypatch.setattr(manager, "ttflist", list(latin_only))
    manager.addfont(path)
    quicklook.chinese_font.cache_clear()
    yield manager, latin_only
    manager._findfont_cached.cache_clear()
    quicklook.chinese_font.cache_clear()


def test_chinese_is_drawn_where_a_font_has_every_character(chinese_family):
    manager, latin_only = chinese_family
    layer = raster((60, 60))["water"]
    both = quicklook.render(layer, legend=LEGEND, text=TEXT)
    assert quicklook.chinese_font("水体") == "WenQuanYi Micro Hei"
    manager.ttflist = latin_only
    quicklook.chinese_font.cache_clear()
    assert quicklook.chinese_font("水体") is None
    assert quicklook.render(layer, legend=LEGEND, text=TEXT) != both


def test_a_font_lacking_one_character_is_not_used(chinese_family):
    assert quicklook.chinese_font("水体龘") is None


def test_without_a_chinese_font_there_is_no_warning_of_missing_glyphs(chinese_family):
    manager, latin_only = chinese_family
    manager.ttflist = latin_only
    quicklook.chinese_font.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quicklook.render(raster((60, 60))["a"], legend=BAR, text=TEXT)


def test_item_identity_is_lowercase_and_in_utc():
    noon = datetime(2026, 5, 1, 12, 30, 5, tzinfo=timezone(timedelta(hours=8)))
    assert filenames.item_id("land-cover", area="CQ_Main", time=noon) == "land-cover-cq_main-20260501t043005z"


@pytest.mark.parametrize("area", ["", "重庆", "a b", "../x", "-x"])
def test_codes_that_break_identifiers_are_refused(area):
    with pytest.raises(quality.BadInputError) as caught:
        filenames.item_id("land-cover", area=area, time=datetime(2026, 5, 1, tzinfo=UTC))
    assert caught.value.cause == "identifier_invalid"


def test_a_time_without_zone_is_refused():
    with pytest.raises(quality.BadInputError) as caught:
        filenames.item_id("land-cover", area="a", time=datetime(2026, 5, 1))  # noqa: DTZ001
    assert caught.value.cause == "time_zone_missing"


def test_parameters_hash_follows_the_values_and_not_the_order():
    first, same, other = {"a": 1.0, "b": (1, 2)}, {"b": [1, 2], "a": 1.0}, {"a": 1.5, "b": (1, 2)}
    assert provenance.parameters_hash(first) == provenance.parameters_hash(same)
    assert provenance.parameters_hash(first) != provenance.parameters_hash(other)


def test_json_has_no_infinities_and_hides_the_last_bits_of_sums():
    assert json.loads(provenance.canonical_json({"a": np.float64("nan"), "b": 0.1 + 0.2, "c": np.int64(3)})) == {
        "a": None,
        "b": 0.3,
        "c": 3,
    }


def test_what_has_no_json_form_is_refused():
    with pytest.raises(TypeError, match="object has no JSON form"):
        provenance.canonical_json({"a": object()})


def test_provenance_links_product_inputs_parameters_and_software():
    content = provenance.document(
        "x-1", activity="f", inputs=[{"id": "b"}, {"id": "a"}], parameters={"k": 1}, attributes={"product": "x"}
    )
    record = json.loads(content)
    derived = {edge["prov:usedEntity"] for edge in record["wasDerivedFrom"].values()}
    assert derived == {"tl:input/a", "tl:input/b"} <= set(record["entity"])
    assert record["activity"]["tl:run/x-1"]["tl:parameters_sha256"] == provenance.parameters_hash({"k": 1})
    assert record["wasGeneratedBy"]["_:generated"]["prov:entity"] in record["entity"]
