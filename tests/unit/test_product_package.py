"""Packages of sector products: complete, repeatable, honest about what is missing."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import rio_cogeo
import shapely
import xarray as xr
import yaml
from odc.geo.geobox import GeoBox
from rasterio import io as raster_io

from processors import quality
from processors.imagery import grid
from processors.imagery import qa as qa_bits
from products.sectors import definition, package, registry, statistics
from retrieval.surface import change, land_cover, water

REPOSITORY = Path(__file__).resolve().parents[2]
BANDS = ("blue", "green", "red", "nir", "swir1")
WATER = (0.06, 0.07, 0.05, 0.03, 0.02)
FIELD = (0.03, 0.07, 0.035, 0.43, 0.19)
SOIL = (0.09, 0.11, 0.13, 0.19, 0.27)
ROWS, COLUMNS = 24, 36
FROM_REFLECTANCE = (
    "land-cover",
    "crop-vigour",
    "vegetation-greenness",
    "vegetation-cover",
    "open-water-extent",
    "surface-water-anomaly",
)
"""Products that a series of reflectance alone gives."""
GEOBOX = GeoBox((ROWS, COLUMNS), rasterio.Affine(30, 0, 600_000, 0, -30, 3_270_000), "EPSG:32648")


def fused(*, dates: int = 5) -> xr.Dataset:
    """River in columns 0-9, fields elsewhere that ripen; the last date floods columns 10-13; row 0 has no data."""
    rng = np.random.default_rng(12)
    values = np.empty((dates, len(BANDS), ROWS, COLUMNS), dtype=np.float32)
    for date in range(dates):
        ripeness = np.sin(np.pi * date / (dates - 1)) if dates > 1 else 1.0
        field = np.array(SOIL) + ripeness * (np.array(FIELD) - np.array(SOIL))
        edge = 14 if date == dates - 1 and dates > 1 else 10
        values[date] = np.where(np.arange(COLUMNS) < edge, np.array(WATER)[:, None, None], field[:, None, None])
    values += rng.normal(0, 0.003, values.shape).astype(np.float32)
    values[:, :, 0] = np.nan
    qa = np.zeros((dates, ROWS, COLUMNS), dtype=np.uint16)
    qa[:, 0] = int(qa_bits.QaBit.NODATA)
    qa[:, 20, 30:] = int(qa_bits.QaBit.CLOUD | qa_bits.QaBit.FILLED)
    dims = ("time", "band", "y", "x")
    dataset = xr.Dataset(
        {
            "reflectance": (dims, values),
            "reflectance_sigma": (dims, np.full_like(values, 0.004)),
            "qa": (("time", "y", "x"), qa),
        },
        coords={
            "time": np.datetime64("2026-03-01T03:20:00", "ns") + np.arange(dates) * np.timedelta64(30, "D"),
            "band": list(BANDS),
        },
        attrs={"area": "CQ-Test", "inputs": ["scene-b", "scene-a"]},
    )
    return grid.assign(dataset, GEOBOX)


def products(*, dates: int = 5) -> dict[str, package.ProductPackage]:
    dataset = fused(dates=dates)
    return {code: package.build(dataset, definition=registry.definition_of(code)) for code in FROM_REFLECTANCE}


@pytest.fixture(scope="module")
def built() -> dict[str, package.ProductPackage]:
    return products()


def read(content: bytes) -> tuple[np.ndarray, dict]:
    with raster_io.MemoryFile(content) as file, file.open() as raster:
        return raster.read(), {"nodata": raster.nodata, "descriptions": raster.descriptions, "scales": raster.scales}


def test_every_sector_has_a_product_and_every_declaration_is_complete():
    declared = registry.definitions()
    assert {d.sector for d in declared} == {
        "natural-resources",
        "rural-revitalization",
        "ecology",
        "transport",
        "emergency",
    }
    assert len({d.code for d in declared}) == len(declared)
    for d in declared:
        chinese = (d.title_zh, d.description_zh, *(c.name_zh for c in d.classes))
        assert all(any("\u4e00" <= character <= "\u9fff" for character in text) for text in chinese)
        assert (d.kind == "class") == bool(d.classes)
        assert len({c.value for c in d.classes}) == len(d.classes)
        assert all(0 <= c.value < definition.CLASS_NODATA for c in d.classes)


def test_a_declaration_is_described_in_plain_json():
    row = definition.describe(registry.definition_of("surface-water-anomaly"))
    assert json.loads(json.dumps(row)) == row
    assert (row["latency_target"], row["latency_target_seconds"]) == ("30 min", 1800)
    assert definition.describe(registry.definition_of("land-cover"))["latency_target"] == "24 h"


def test_an_unknown_product_is_named_with_those_there_are():
    with pytest.raises(KeyError, match=r"no product flood; there are land-cover"):
        registry.definition_of("flood")


def test_classes_of_the_definitions_are_those_of_the_algorithms():
    def values(code: str) -> set[int]:
        return {item.value for item in registry.definition_of(code).classes}

    assert values("land-cover") == set(land_cover.CLASS_VALUES.values())
    assert values("open-water-extent") == {water.DRY, water.WATER}
    assert values("surface-water-anomaly") == {
        change.STABLE_DRY,
        change.STABLE_WATER,
        change.NEW_WATER,
        change.RECEDED_WATER,
    }
    assert definition.CLASS_NODATA == water.NO_DATA == change.NO_DATA == land_cover.NO_DATA


def test_packages_are_complete(built):
    for code, product in built.items():
        wanted = {
            "data.tif",
            "uncertainty.tif",
            "qa.tif",
            "quicklook.png",
            "statistics.json",
            "statistics.csv",
            "prov.json",
            "quality.json",
            "brief_zh.html",
            "brief_en.html",
        }
        if product.definition.kind == "class":
            wanted |= {"data.tif.aux.xml"}
        assert set(product.assets) == wanted
        assert product.item_id.startswith(f"{code}-cq-test-2026")
        assert all(asset.content and asset.title_zh and asset.roles for asset in product.assets.values())


def test_rasters_are_valid_cloud_optimized_geotiffs(built, tmp_path):
    for product in built.values():
        for name in ("data.tif", "uncertainty.tif", "qa.tif"):
            path = tmp_path / name
            path.write_bytes(product.assets[name].content)
            assert rio_cogeo.cog_validate(str(path), strict=True, quiet=True) == (True, [], [])


def test_equal_input_gives_equal_packages(built):
    for code, product in products().items():
        for name, asset in product.assets.items():
            assert asset.content == built[code].assets[name].content, (code, name)
        assert product.properties == built[code].properties


def test_the_orientation_of_the_rows_does_not_matter(built):
    upside_down = fused().isel(y=slice(None, None, -1))
    product = package.build(upside_down, definition=registry.definition_of("land-cover"))
    assert product.assets["data.tif"].content == built["land-cover"].assets["data.tif"].content
    assert product.proj_transform == built["land-cover"].proj_transform


def test_the_scene_is_recognized(built):
    cover = read(built["land-cover"].assets["data.tif"].content)[0][0]
    assert (cover[1:, :9] == land_cover.CLASS_VALUES["water"]).all()
    assert (cover[1:, 15:] == land_cover.CLASS_VALUES["cropland"]).mean() > 0.9
    extent = read(built["open-water-extent"].assets["data.tif"].content)[0][0]
    assert (extent[1:, :14] == water.WATER).all()
    assert (extent[1:, 14:] == water.DRY).all()
    anomaly = read(built["surface-water-anomaly"].assets["data.tif"].content)[0][0]
    assert (anomaly[1:, :10] == change.STABLE_WATER).all()
    assert (anomaly[1:, 10:14] == change.NEW_WATER).all()
    assert (anomaly[1:, 14:] == change.STABLE_DRY).all()


def test_nothing_is_stated_where_nothing_was_seen(built):
    for product in built.values():
        values, tags = read(product.assets["data.tif"].content)
        blank = np.isnan(values[:, 0]) if product.definition.kind == "value" else values[:, 0] == tags["nodata"]
        assert blank.all()
        bits = read(product.assets["qa.tif"].content)[0]
        assert (bits[0, 0] & int(qa_bits.QaBit.NODATA) != 0).all()
        assert (bits[1, 0] == 0).all()


def test_filled_pixels_are_flagged_and_never_count_as_clear_looks(built):
    for product in built.values():
        bits, looks = read(product.assets["qa.tif"].content)[0]
        filled = int(qa_bits.QaBit.CLOUD | qa_bits.QaBit.FILLED)
        assert (bits[20, 30:] & filled == filled).all()
        assert (looks[20, 30:] == 0).all()
        assert (bits[10, 20:30] & filled == 0).all()


def test_probability_is_stored_in_percent_with_its_scale(built):
    values, tags = read(built["open-water-extent"].assets["uncertainty.tif"].content)
    assert tags["scales"] == (0.01,)
    assert tags["nodata"] == 255
    known = values[0] != 255
    assert (values[0][known] >= 50).all()
    assert values[0][known].max() <= 100


def test_pixels_outside_the_subject_are_not_counted_as_missing(built):
    whole = built["crop-vigour"].statistics["area"]
    assert whole["outside_share"] == pytest.approx(10 / COLUMNS * (ROWS - 1) / ROWS, abs=0.12)
    assert whole["excluded_share"] == pytest.approx(1 / ROWS, rel=1e-3)
    assert built["crop-vigour"].quality["level"] == "nominal"


def test_areas_of_classes_add_to_the_area_with_a_product(built):
    for code in ("land-cover", "open-water-extent", "surface-water-anomaly"):
        whole = built[code].statistics["area"]
        assert sum(item["area_m2"] for item in whole["classes"]) == pytest.approx(whole["product_area_m2"])
        assert sum(item["share"] for item in whole["classes"]) == pytest.approx(1.0)
        assert whole["product_area_m2"] == pytest.approx(whole["area_m2"] * (1 - whole["excluded_share"]))
        assert all(i["share_95"][0] <= i["share"] <= i["share_95"][1] for i in whole["classes"])


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32648", (250.0, 300_000.0, 3_350_000.0)),
        ("EPSG:4545", (250.0, 430_000.0, 3_300_000.0)),
        ("EPSG:4326", (0.01, 105.2, 31.5)),
    ],
)
def test_areas_of_cells_are_true_ground_areas(crs, transform):
    size, left, top = transform
    geobox = GeoBox((180, 220), rasterio.Affine(size, 0, left, 0, -size, top), crs)
    outline = shapely.segmentize(shapely.box(left, top - 180 * size, left + 220 * size, top), size)
    to_degrees = pyproj.Transformer.from_crs(crs, pyproj.CRS(crs).geodetic_crs, always_xy=True)
    x, y = to_degrees.transform(*outline.exterior.coords.xy)
    expected = abs(pyproj.CRS(crs).get_geod().polygon_area_perimeter(x, y)[0])
    found = statistics.cell_areas(geobox)
    assert found.shape == (180, 220)
    assert found.sum() == pytest.approx(expected, rel=2e-6)


def district(code: str, west: float, east: float) -> statistics.Zone:
    to_degrees = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4490", always_xy=True)
    x0, x1 = (600_000 + 30 * COLUMNS * share for share in (west, east))
    ring = shapely.segmentize(shapely.box(x0, 3_270_000 - 30 * ROWS - 500, x1, 3_270_500), 20)
    return statistics.Zone(
        code=code,
        name_en=f"District {code}",
        name_zh=f"区{code}",
        geometry=shapely.transform(ring, to_degrees.transform, interleaved=False),
    )


def test_districts_that_share_the_area_share_its_figures():
    zones = [district("500101", -0.1, 0.4321), district("500102", 0.4321, 1.1), district("500103", 3.0, 4.0)]
    product = package.build(fused(), definition=registry.definition_of("land-cover"), zones=zones)
    whole, parts = product.statistics["area"], product.statistics["districts"]
    assert [part["code"] for part in parts] == ["500101", "500102"]
    assert product.statistics["districts_outside"] == ["500103"]
    assert sum(part["area_m2"] for part in parts) == pytest.approx(whole["area_m2"], rel=1e-5)
    assert parts[0]["area_m2"] == pytest.approx(0.4321 * whole["area_m2"], rel=1e-3)
    for position, item in enumerate(whole["classes"]):
        total = sum(part["classes"][position]["area_m2"] for part in parts)
        assert total == pytest.approx(item["area_m2"], rel=1e-5, abs=1e-3)
    assert parts[0]["classes"][0]["share"] > parts[1]["classes"][0]["share"]


def test_an_outline_in_a_datum_without_known_shift_is_refused():
    outline = shapely.box(106.0, 29.0, 106.2, 29.6)
    xian = statistics.Zone(code="500101", name_en="a", name_zh="甲", geometry=outline, crs="EPSG:4610")
    with pytest.raises(quality.BadInputError, match="500101 is in Xian 1980") as caught:
        package.build(fused(), definition=registry.definition_of("land-cover"), zones=[xian])
    assert caught.value.cause == "outline_datum"


def test_interval_of_a_mean_lies_between_independent_and_common_errors():
    dataset = fused()
    product = package.build(dataset, definition=registry.definition_of("vegetation-cover"))
    layer = product.statistics["area"]["layers"][0]
    half = (layer["mean_95"][1] - layer["mean_95"][0]) / 2
    sigma = read(product.assets["uncertainty.tif"].content)[0][0]
    mean_sigma = np.nanmean(sigma)
    count = np.isfinite(sigma).sum()
    assert 1.96 * mean_sigma / np.sqrt(count) < half < 1.96 * mean_sigma
    assert half == pytest.approx(1.96 * np.sqrt(0.25) * mean_sigma, rel=0.02)
    assert layer["mean"] == pytest.approx(np.nanmean(read(product.assets["data.tif"].content)[0]), rel=1e-5)


def test_the_table_repeats_the_figures_and_opens_in_a_spreadsheet(built):
    content = built["land-cover"].assets["statistics.csv"].content
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    whole = built["land-cover"].statistics["area"]
    assert [row["item_zh"] for row in rows] == ["水体", "裸地与建设用地", "耕地", "草地与灌丛", "林地"]
    for row, item in zip(rows, whole["classes"], strict=True):
        assert float(row["item_area_m2"]) == pytest.approx(item["area_m2"], rel=1e-8)


def test_the_footprint_is_the_seen_area_in_degrees(built):
    product = built["land-cover"]
    west, south, east, north = product.bbox
    outline = shapely.geometry.shape(product.geometry)
    assert outline.is_valid
    assert outline.exterior.is_ccw
    assert outline.bounds == product.bbox
    area = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(outline)[0])
    assert area == pytest.approx(product.statistics["area"]["area_m2"] * (ROWS - 1) / ROWS, rel=1e-4)
    assert 105 < west < east < 108
    assert 29 < south < north < 30
    assert product.proj_code == "EPSG:32648"
    assert product.proj_shape == (ROWS, COLUMNS)
    assert product.proj_transform == (30.0, 0.0, 600_000.0, 0.0, -30.0, 3_270_000.0)


def test_times_are_those_of_the_dates_used(built):
    season, single = built["land-cover"], built["open-water-extent"]
    assert season.start_datetime.isoformat() == "2026-03-01T03:20:00+00:00"
    assert season.datetime == season.end_datetime == single.start_datetime == single.datetime
    assert season.item_id.endswith("-20260629t032000z")


def test_a_season_product_is_not_made_from_a_single_date():
    single = fused(dates=1)
    with pytest.raises(definition.NotApplicableError, match="3 dates") as caught:
        package.build(single, definition=registry.definition_of("crop-vigour"))
    assert caught.value.cause == "too_few_dates"


def test_an_anomaly_needs_a_reference():
    single = fused(dates=1)
    anomaly = registry.definition_of("surface-water-anomaly")
    with pytest.raises(definition.NotApplicableError, match="reference") as caught:
        package.build(single, definition=anomaly)
    assert caught.value.cause == "too_few_dates"
    usual = np.zeros((ROWS, COLUMNS))
    usual[:, :5] = 0.95
    single["reference_water"] = (("y", "x"), usual)
    found = read(package.build(single, definition=anomaly).assets["data.tif"].content)[0][0]
    assert (found[1:, :5] == change.STABLE_WATER).all()
    assert (found[1:, 5:10] == change.NEW_WATER).all()


def test_single_date_products_are_made_from_a_single_date():
    for code in ("land-cover", "vegetation-cover", "vegetation-greenness", "open-water-extent"):
        product = package.build(fused(dates=1), definition=registry.definition_of(code))
        assert product.start_datetime == product.end_datetime


@pytest.mark.parametrize("code", FROM_REFLECTANCE)
def test_a_wholly_clouded_input_gives_no_product(code):
    clouded = fused()
    clouded["qa"] = clouded["qa"] | np.uint16(qa_bits.QaBit.CLOUD)
    clouded["qa"] = clouded["qa"] & ~np.uint16(qa_bits.QaBit.FILLED)
    with pytest.raises(definition.NotApplicableError) as caught:
        package.build(clouded, definition=registry.definition_of(code))
    assert caught.value.cause == "no_usable_pixel"


def test_a_missing_band_is_a_reason_and_not_a_guess():
    with pytest.raises(definition.NotApplicableError, match="needs the band nir") as caught:
        package.build(fused().sel(band=["blue", "green", "red"]), definition=registry.definition_of("land-cover"))
    assert caught.value.cause == "band_missing"


def test_an_input_without_area_or_reference_system_is_refused():
    cover = registry.definition_of("vegetation-cover")
    for broken, cause in (
        (fused().assign_attrs(area=""), "area_missing"),
        (fused().drop_vars("spatial_ref"), "crs_missing"),
        (fused().drop_vars("reflectance_sigma"), "variable_missing"),
    ):
        with pytest.raises(quality.BadInputError) as caught:
            package.build(broken, definition=cover)
        assert caught.value.cause == cause


def test_much_missing_or_filled_lowers_the_quality_with_a_reason():
    dataset = fused()
    dataset["qa"][:, 5:, :] = int(qa_bits.QaBit.CLOUD | qa_bits.QaBit.FILLED)
    product = package.build(dataset, definition=registry.definition_of("vegetation-cover"))
    assert product.quality["level"] == "poor"
    assert product.quality["reasons"] == ["many_pixels_filled"]
    dataset = fused()
    dataset["reflectance"][:, :, 14:, :] = np.nan
    product = package.build(dataset, definition=registry.definition_of("vegetation-cover"))
    assert (product.quality["level"], product.quality["reasons"]) == ("reduced", ["much_of_the_area_excluded"])


def test_provenance_names_inputs_and_parameters(built):
    product = built["land-cover"]
    record = json.loads(product.assets["prov.json"].content)
    assert set(record["entity"]) == {f"tl:item/{product.item_id}", "tl:input/scene-a", "tl:input/scene-b"}
    activity = record["activity"][f"tl:run/{product.item_id}"]
    assert activity["tl:parameters_sha256"] == product.properties["parameters_sha256"]
    assert activity["tl:parameters"]["tempering"] == product.definition.parameters.tempering


@pytest.mark.parametrize("stated", [["b", "a"], '["b", "a"]', '[{"id": "b", "sha256": "0"}, "a"]'])
def test_inputs_are_read_from_lists_and_from_json(stated):
    assert [entry["id"] for entry in package.inputs_of(fused().assign_attrs(inputs=stated))] == ["a", "b"]


def test_properties_and_statistics_are_plain_json(built):
    for product in built.values():
        for content in (product.properties, product.quality, product.geometry):
            assert json.loads(json.dumps(content, allow_nan=False)) is not None
        assert json.loads(product.assets["statistics.json"].content)["product"] == product.definition.code


def test_the_table_of_districts_has_all_38_with_their_codes():
    table = yaml.safe_load((REPOSITORY / "infra/parameters/districts.yaml").read_text(encoding="utf-8"))
    rows = table["districts"]
    kinds = [row["name_zh"][-1] for row in rows]
    assert (len(rows), kinds.count("区"), sum(row["name_zh"].endswith("自治县") for row in rows)) == (38, 26, 4)
    assert [row["code"] for row in rows] == sorted({row["code"] for row in rows})
    assert all(row["code"].startswith("500") and len(row["code"]) == 6 for row in rows)
    assert all((row["code"][3] == "1") == (row["name_zh"][-1] == "区") for row in rows)
