"""Stacks of scenes, and bad input: refused or flagged, never a silently wrong product."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from rasterio.windows import Window

from infra.imagery import scene_reading
from processors.geodesy import vertical_datum
from processors.imagery import external_scene, grid
from processors.quality import BadInputError
from tests.unit import imagery_products as products

TIME = np.datetime64("2024-05-15T03:20:00")
OBFUSCATED = (
    'GEOGCS["GCJ-02",DATUM["GCJ-02",SPHEROID["K",6378245,298.3]],PRIMEM["G",0],UNIT["degree",0.0174532925199433]]'
)


def refused(call) -> str:
    with pytest.raises(BadInputError) as refusal:
        call()
    return refusal.value.cause


def surface(seed: int = 1) -> np.ndarray:
    """Reflectance times 10000 of a smooth surface."""
    rng = np.random.default_rng(seed)
    return (1500 + 300 * rng.random((12, 18))).round().astype(np.uint16)


def plain(
    folder, name: str = "plain.tif", numbers: np.ndarray | None = None, *, time=TIME, **options
) -> scene_reading.Scene:
    values = np.stack([surface(1), surface(2)]) if numbers is None else numbers
    path = products.write_raster(folder / name, values, **{"nodata": 0, **options})
    stated = scene_reading.Stated(bands={"red": 1, "nir": 2}, time=time, scale=1e-4)
    return scene_reading.open_scene(path, stated=stated)


def test_mixed_offsets_of_one_stack_are_harmonized(tmp_path):
    """The same surface from before and after the change of the processing: equal reflectance."""
    old = products.sentinel2_safe(tmp_path, {"B04_10m": surface()}, baseline="03.01", offsets={}, day="20211215")
    new = products.sentinel2_safe(tmp_path, {"B04_10m": (surface() + 1000).astype(np.uint16)}, day="20240515")
    with scene_reading.open_scene(new) as second, scene_reading.open_scene(old) as first:
        stacked = scene_reading.stack([second, first])
    values = stacked["reflectance"].values
    np.testing.assert_allclose(values[0], values[1], atol=1e-7)
    assert stacked.attrs["radiometric_level"] == "surface_reflectance"


def test_dates_out_of_order_are_put_in_order_with_their_values(tmp_path):
    late = plain(tmp_path, "late.tif", np.stack([surface(3)] * 2), time=np.datetime64("2024-06-01"))
    early = plain(tmp_path, "early.tif", np.stack([surface(4)] * 2), time=np.datetime64("2024-04-01"))
    with late, early:
        stacked = scene_reading.stack([late, early])
    assert (np.diff(stacked["time"].values.astype(np.int64)) > 0).all()
    np.testing.assert_allclose(stacked["reflectance"].values[0, 0], surface(4) * 1e-4, atol=1e-7)
    assert list(stacked["band"].values) == ["red", "nir"]
    assert grid.same(grid.geobox_of(stacked), late.geobox)


def test_duplicate_acquisition_is_refused_even_from_another_processing(tmp_path):
    first = products.sentinel2_safe(tmp_path / "a", {"B04_10m": surface()}, baseline="05.00")
    second = products.sentinel2_safe(tmp_path / "b", {"B04_10m": surface()}, baseline="05.11")
    with scene_reading.open_scene(first) as one, scene_reading.open_scene(second) as two:
        assert refused(lambda: scene_reading.stack([one, two])) == "duplicate_acquisition"


def test_tiles_of_one_moment_complete_each_other(tmp_path):
    west, east = surface(5), surface(6)
    with plain(tmp_path, "west.tif", np.stack([west] * 2)) as one:
        moved = Affine(10, 0, products.CORNER[0] + 180, 0, -10, products.CORNER[1])
        with plain(tmp_path, "east.tif", np.stack([east] * 2), transform=moved) as two:
            both = GeoBox((12, 36), one.geobox.transform, "EPSG:32648")
            stacked = scene_reading.stack([one, two], geobox=both)
    assert stacked.sizes["time"] == 1
    np.testing.assert_allclose(stacked["reflectance"].values[0, 0], np.hstack([west, east]) * 1e-4, atol=1e-6)


def test_levels_are_not_mixed(tmp_path):
    one = products.sentinel2_safe(tmp_path / "a", {"B04_10m": surface()})
    two = products.sentinel2_safe(tmp_path / "b", {"B04": surface()}, level="1C", day="20240520")
    with scene_reading.open_scene(one) as first, scene_reading.open_scene(two) as second:
        assert refused(lambda: scene_reading.stack([first, second])) == "levels_mixed"


def test_missing_band_is_refused_where_asked_for_and_left_out_where_not(tmp_path):
    one = products.sentinel2_safe(tmp_path / "a", {"B04_10m": surface(), "B08_10m": surface()})
    two = products.sentinel2_safe(tmp_path / "b", {"B04_10m": surface(), "B03_10m": surface()}, day="20240520")
    with scene_reading.open_scene(one) as first, scene_reading.open_scene(two) as second:
        assert refused(lambda: scene_reading.stack([first, second], bands=["red", "nir"])) == "band_missing"
        assert list(scene_reading.stack([first, second])["band"].values) == ["red"]
    three = products.sentinel2_safe(tmp_path / "c", {"B12_20m": surface()}, day="20240525")
    with scene_reading.open_scene(one) as first, scene_reading.open_scene(three) as second:
        assert refused(lambda: scene_reading.stack([first, second])) == "band_missing"
    assert refused(lambda: scene_reading.stack([])) == "band_missing"


def test_scene_its_own_mask_calls_clouded_is_flagged(tmp_path):
    clouded, clear = np.full((6, 9), 9, np.uint8), np.full((6, 9), 4, np.uint8)
    for name, mask, day, expected in (("a", clouded, "20240515", True), ("b", clear, "20240520", False)):
        safe = products.sentinel2_safe(tmp_path / name, {"B04_10m": surface()}, scl=mask, day=day)
        with scene_reading.open_scene(safe) as scene:
            assert ("100 % of the area is cloud" in scene_reading.stack([scene]).attrs["warnings"]) == expected


def test_scene_outside_the_area_is_refused(tmp_path):
    away = grid.covering((500_000, 3_200_000, 500_100, 3_200_100), crs="EPSG:32648", resolution=10)
    with plain(tmp_path) as scene:
        assert refused(lambda: scene_reading.stack([scene], geobox=away)) == "outside_area"


def test_scene_of_no_data_only_is_refused(tmp_path):
    with plain(tmp_path, numbers=np.zeros((2, 12, 18), np.uint16)) as scene:
        assert refused(lambda: scene_reading.stack([scene])) == "all_nodata"


def test_no_data_zero_over_dark_water_is_flagged_and_never_zero_reflectance(tmp_path):
    numbers = np.stack([surface(1), surface(2)])
    numbers[1, 3:9, 3:9] = 0
    numbers[:, 0, 0] = 0
    with plain(tmp_path, numbers=numbers) as scene:
        stacked = scene_reading.stack([scene])
    values = stacked["reflectance"].values[0]
    assert np.isnan(values[1, 3:9, 3:9]).all()
    assert np.isfinite(values[0, 3:9, 3:9]).all()
    assert "lack some bands only" in stacked.attrs["warnings"]
    with plain(tmp_path, "clean.tif") as scene:
        assert scene_reading.stack([scene]).attrs["warnings"] == ""


FLIPS = {
    "south_up": (slice(None), slice(None, None, -1), slice(None)),
    "east_left": (slice(None), slice(None), slice(None, None, -1)),
}


def flipped(numbers: np.ndarray, kind: str) -> tuple[np.ndarray, Affine]:
    height, width = numbers.shape[-2:]
    if kind == "south_up":
        return numbers[FLIPS[kind]], Affine(10, 0, products.CORNER[0], 0, 10, products.CORNER[1] - 10 * height)
    return numbers[FLIPS[kind]], Affine(-10, 0, products.CORNER[0] + 10 * width, 0, -10, products.CORNER[1])


@pytest.mark.parametrize("kind", ["south_up", "east_left"])
def test_flipped_raster_is_turned_never_mirrored(tmp_path, kind):
    upright = np.random.default_rng(8).integers(1, 9000, (2, 90, 110)).astype(np.uint16)
    turned, transform = flipped(upright, kind)
    with plain(tmp_path, "a.tif", upright) as first, plain(tmp_path, "b.tif", turned, transform=transform) as second:
        assert grid.same(first.geobox, second.geobox)
        np.testing.assert_array_equal(first.read(), second.read())
        window = Window(12, 3, 27, 35)
        np.testing.assert_array_equal(second.read(window=window), first.read()[:, 3:38, 12:39])
        other = grid.covering((600_012, 3_299_893, 600_150, 3_299_981), crs="EPSG:32648", resolution=7)
        np.testing.assert_array_equal(first.read(geobox=other), second.read(geobox=other))


@pytest.mark.parametrize("kind", ["south_up", "east_left"])
def test_flipped_raster_is_turned_in_memory_too(kind):
    upright = np.stack([surface(1), surface(2)])
    turned, transform = flipped(upright, kind)
    with MemoryFile() as memory:
        size = {"count": 2, "height": 12, "width": 18, "dtype": "uint16"}
        with memory.open(driver="GTiff", crs="EPSG:32648", transform=transform, nodata=0, **size) as out:
            out.write(turned)
        with memory.open() as dataset:
            scene = external_scene.scene_from_raster(
                dataset, bands={"red": 1, "nir": 2}, source="t", time=TIME, default_scale=1e-4
            )
    np.testing.assert_allclose(scene["reflectance"].values[0], upright * 1e-4, atol=1e-7)
    assert float(scene["y"][0]) > float(scene["y"][-1])


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"transform": Affine(10, 0, 600_000, 0, -10, 3_300_000) @ Affine.rotation(20)}, "grid_irregular"),
        ({"crs": None}, "crs_missing"),
        ({"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 29.5, 0, -1e-4, 106.5)}, "axes_swapped"),
        ({"transform": Affine(10, 0, 3_300_000, 0, -10, 600_000)}, "axes_swapped"),
        (
            {
                "crs": OBFUSCATED,
                "transform": Affine(1e-4, 0, 106.5, 0, -1e-4, 29.5),
            },
            "crs_missing",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_raster_that_cannot_be_placed_is_refused(tmp_path, options, cause):
    assert refused(lambda: plain(tmp_path, **options)) == cause


@pytest.mark.parametrize(
    ("crs", "bounds"),
    [
        ("EPSG:32648", (600_000, 3_290_000, 610_000, 3_300_000)),
        ("EPSG:4490", (106.4, 29.4, 106.6, 29.6)),
        ("EPSG:4545", (400_000, 3_200_000, 410_000, 3_210_000)),
        ("EPSG:3857", (11_850_000, 3_400_000, 11_860_000, 3_410_000)),
        ("+proj=sinu +R=6371007.181 +units=m", (10_007_000, 3_320_000, 10_017_000, 3_330_000)),
        ("EPSG:32701", (180_000, 8_000_000, 190_000, 8_010_000)),
    ],
)
def test_grids_where_their_systems_are_used_are_accepted(crs, bounds):
    grid.check_place(grid.covering(bounds, crs=crs, resolution=0.001 if "4490" in crs else 100.0))


def test_truncated_band_is_refused(tmp_path):
    values = np.random.default_rng(2).integers(1, 9000, (2, 600, 600)).astype(np.uint16)
    path = products.write_raster(tmp_path / "whole.tif", values, nodata=0)
    cut = tmp_path / "cut.tif"
    rasterio.shutil.copy(path, cut, driver="COG")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    stated = scene_reading.Stated(bands={"red": 1, "nir": 2}, time=TIME, scale=1e-4)
    with scene_reading.open_scene(cut, stated=stated) as scene:
        assert refused(scene.read) == "truncated"


def test_unknown_absent_and_unreadable_paths_are_refused(tmp_path):
    assert refused(lambda: scene_reading.open_scene(tmp_path / "absent")) == "unreadable"
    assert refused(lambda: scene_reading.open_scene(tmp_path)) == "scene_unknown"
    (tmp_path / "note.tif").write_text("no raster")
    assert refused(lambda: scene_reading.open_scene(tmp_path / "note.tif")) == "unreadable"
    (tmp_path / "item.json").write_text("[1]")
    assert refused(lambda: scene_reading.open_scene(tmp_path / "item.json")) == "scene_unknown"
    (tmp_path / "item.json").write_text("{")
    assert refused(lambda: scene_reading.open_scene(tmp_path / "item.json")) == "metadata_unreadable"


def test_half_a_safe_or_two_granules_are_refused(tmp_path):
    safe = products.sentinel2_safe(tmp_path, {"B04_10m": surface()})
    tile = next(safe.rglob("MTD_TL.xml"))
    other = safe / "GRANULE" / "second"
    other.mkdir()
    (other / "MTD_TL.xml").write_bytes(tile.read_bytes())
    assert refused(lambda: scene_reading.open_scene(safe)) == "metadata_ambiguous"
    (other / "MTD_TL.xml").unlink()
    tile.unlink()
    assert refused(lambda: scene_reading.open_scene(safe)) == "metadata_missing"


def test_elevation_file_needs_its_datum_and_is_turned_north_up(tmp_path):
    heights = np.arange(12 * 18, dtype=np.float32).reshape(12, 18) + 300.0
    heights[2, 2] = -9999.0
    path = products.write_raster(tmp_path / "dem.tif", heights, nodata=-9999.0)
    assert refused(lambda: scene_reading.open_elevation(path)) == "vertical_datum_missing"
    model = scene_reading.open_elevation(path, datum="egm96")
    assert np.isnan(model.height[2, 2])
    turned, transform = flipped(heights[None], "south_up")
    other = products.write_raster(tmp_path / "turned.tif", turned, nodata=-9999.0, transform=transform)
    np.testing.assert_array_equal(scene_reading.open_elevation(other, datum="egm96").height, model.height)


def test_elevation_around_an_area_is_the_same_as_from_the_whole_raster(tmp_path):
    rows, columns = np.mgrid[:300, :320]
    heights = (300 + rows + 0.5 * columns + 20 * np.sin(columns / 9.0)).astype(np.float32)
    heights[150:153, 160:163] = -32768
    path = products.write_raster(tmp_path / "dem.tif", heights, resolution=30.0)
    area = grid.covering((604_500, 3_295_200, 605_100, 3_295_800), crs="EPSG:32648", resolution=10)
    part = scene_reading.open_elevation(path, datum="egm96", around=area)
    assert part.height.size < heights.size / 2
    ellipsoid = vertical_datum.named("ellipsoid")
    whole = scene_reading.open_elevation(path, datum="egm96").on_grid(area, datum=ellipsoid)
    found = part.on_grid(area, datum=ellipsoid)
    np.testing.assert_array_equal(found.void, whole.void)
    assert found.void.any()
    np.testing.assert_allclose(found.height, whole.height, atol=1e-3)
    away = grid.covering((700_000, 3_295_200, 700_600, 3_295_800), crs="EPSG:32648", resolution=10)
    assert refused(lambda: scene_reading.open_elevation(path, datum="egm96", around=away)) == "outside_area"


def test_elevation_without_system_is_refused(tmp_path):
    path = products.write_raster(tmp_path / "dem.tif", np.ones((3, 3), np.float32), placed=False)
    assert refused(lambda: scene_reading.open_elevation(path, datum="egm96")) == "crs_missing"


def test_window_of_the_own_grid_is_read_without_resampling(tmp_path):
    with plain(tmp_path) as scene:
        whole = scene.read()
        np.testing.assert_array_equal(whole[0], (surface(1).astype(np.float64) * 1e-4).astype(np.float32))
        np.testing.assert_array_equal(scene.read(["nir"], window=Window(4, 5, 6, 3)), whole[1:, 5:8, 4:10])
        assert refused(lambda: scene.read(["swir1"])) == "band_missing"
