"""Folders of dated rasters: recognized, filled, composited, or refused with a reason."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine
from scipy import ndimage

from infra.imagery import compositing, dated_scene, gap_filling, tiling
from processors.imagery import compositing as pure_compositing
from processors.imagery import external_scene, grid, qa
from processors.quality import BadInputError

CRS = "EPSG:32648"
PLACE = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 3_200_000.0)
NAMES = ("blue", "green", "red", "nir")
DAYS = ("20240115", "20240214", "20240315", "20240414", "20240514")
SIZE = 48


def write(path: Path, values: np.ndarray, names=NAMES, *, dtype="uint16", nodata=0, crs=CRS, transform=PLACE, **more):
    numbers = np.where(np.isfinite(values), values, nodata if nodata is not None else 0)
    numbers = np.rint(numbers) if np.dtype(dtype).kind in "iu" else numbers
    layout = {"height": values.shape[1], "width": values.shape[2], "count": values.shape[0]}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=dtype, nodata=nodata, crs=crs, transform=transform, **layout
    ) as file:
        file.write(numbers.astype(dtype))
        file.update_tags(**more.get("tags", {}))
        for number, name in enumerate(names or (), 1):
            file.set_band_description(number, name)
        if "scale" in more:
            file.scales = [more["scale"]] * values.shape[0]
            file.offsets = [more.get("offset", 0.0)] * values.shape[0]
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def crops(seed: int, *, dates: int = 5, size: int = SIZE) -> np.ndarray:
    """Reflectance of fields with a course of their own (date, band, y, x)."""
    rng = np.random.default_rng(seed)
    field = np.kron(rng.integers(0, 3, (size // 8, size // 8)), np.ones((8, 8), dtype=int))
    course = rng.uniform(0.05, 0.5, (3, dates, 4))
    return course[field].transpose(2, 3, 0, 1) + rng.normal(0.0, 0.002, (dates, 4, size, size))


def blob() -> np.ndarray:
    hidden = np.zeros((SIZE, SIZE), dtype=bool)
    hidden[12:36, 8:40] = True
    return hidden


def series(folder: Path, values: np.ndarray, *, hidden: np.ndarray | None = None) -> Path:
    """One GeoTIFF a date; the third is hidden by its mask."""
    folder.mkdir(exist_ok=True)
    for day, image in zip(DAYS, values, strict=True):
        write(folder / f"scene_{day}.tif", image * 1e4)
    if hidden is not None:
        write(folder / f"scene_{DAYS[2]}_mask.tif", hidden[None] * 2.0, ("class",), dtype="uint8", nodata=255)
    return folder


def refused(cause: str, function, *arguments, **more) -> str:
    with pytest.raises(BadInputError) as caught:
        function(*arguments, **more)
    assert caught.value.cause == cause
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B02", "blue"), ("S2-L2A-B08", "nir"), ("b8a", "nir08"), ("B11_20m", "swir1"), ("Red", "red"),
        ("B4", "red"), ("swir22", "swir2"), ("SR_nir", "nir"), ("soil moisture", "soil moisture"), ("lst", "lst"),
    ],
)  # fmt: skip
def test_band_names_of_missions_are_ours(text, name):
    assert dated_scene.band_name(text) == name


@pytest.mark.parametrize(
    ("stem", "tags", "day"),
    [
        ("S2_20240315T031539_N0510", {}, "2024-03-15"),
        ("x_2024-03-15", {}, "2024-03-15"),
        ("MOD09.A2024075.h27", {}, "2024-03-15"),
        ("month_2024-03", {}, "2024-03-01"),
        ("LC08_20240315_20240401", {}, "2024-03-15"),
        ("tile_99999999_20240315", {}, "2024-03-15"),
        ("a", {"TIFFTAG_DATETIME": "2024:03:15 03:15:39"}, "2024-03-15"),
        ("a", {"ACQUISITIONDATETIME": "2024-03-15T03:15:39Z"}, "2024-03-15"),
        ("a", {"ACQUISITIONDATETIME": "2024-03-16T01:15:39+08:00"}, "2024-03-15"),
        ("b_20240101", {"ACQUISITIONDATETIME": "2024-03-15T03:15:39.123456Z"}, "2024-03-15"),
        ("20240315", {"TIFFTAG_DATETIME": "2025:12:01 00:00:00"}, "2024-03-15"),
        ("plain", {}, None),
        ("scene_1234567", {}, None),
    ],
)
def test_date_comes_from_the_acquisition_tag_the_name_or_the_tag_of_the_file(tmp_path, stem, tags, day):
    path = write(tmp_path / f"{stem}.tif", np.full((1, 4, 4), 0.2), ("red",), dtype="float32", tags=tags)
    scene = dated_scene.recognize(path)
    assert (None if scene.moment is None else str(scene.moment)[:10]) == day
    disputed = any("name was believed" in note for note in scene.warnings)
    assert disputed == (tags.get("TIFFTAG_DATETIME", "").startswith("2025"))


def test_radar_intensities_are_told_from_decibels(tmp_path):
    power = np.full((2, 8, 8), 0.1)
    linear = dated_scene.recognize(write(tmp_path / "a_20240101.tif", power, ("VV", "VH"), dtype="float32"))
    decibel = write(tmp_path / "b_20240101.tif", power - 12.0, ("S1-SIGMA0-VV", "S1-SIGMA0-VH"), dtype="float32")
    frame = dated_scene.frame([linear], finest=True)
    (tile,) = tiling.tiles((8, 8))
    np.testing.assert_allclose(dated_scene.read(linear, frame, tile), -10.0, atol=1e-5)
    np.testing.assert_allclose(dated_scene.read(dated_scene.recognize(decibel), frame, tile), -11.9, atol=1e-5)
    assert dated_scene.recognize(decibel).bands == ("vv", "vh")
    counts = write(tmp_path / "c_20240101.tif", power * 1e4, ("vv", "vh"))
    assert "neither" in refused("unit_missing", dated_scene.recognize, counts)


def test_sun_elevation_is_read_from_its_tag_or_from_the_zenith_angle(tmp_path):
    image = np.full((1, 4, 4), 0.2)
    told = [
        dated_scene.recognize(
            write(tmp_path / f"{number}.tif", image, ("red",), dtype="float32", tags=tags)
        ).sun_elevation
        for number, tags in enumerate([{"SUN_ELEVATION": "41.5"}, {"sun_zenith": "30"}, {"SUN_ELEVATION": "high"}])
    ]
    assert told[:2] == [41.5, 60.0]
    assert np.isnan(told[2])


def test_masked_pixels_are_filled_and_the_others_stay_as_they_were(tmp_path):
    truth, hidden = crops(1), blob()
    source = series(tmp_path / "in", truth, hidden=hidden)
    report = gap_filling.run(source, tmp_path / "out")
    with rasterio.open(tmp_path / "out" / f"scene_{DAYS[2]}.tif") as file:
        numbers, names = file.read(), file.descriptions
        assert file.dtypes[0] == "uint16"
        assert file.crs.to_epsg() == 32648
        assert file.transform == PLACE
        assert file.tags()["ACQUISITIONDATETIME"].startswith("2024-03-15")
    assert names == (*NAMES, *(f"{name}_sigma" for name in NAMES))
    given = read(source / f"scene_{DAYS[2]}.tif")
    assert np.array_equal(numbers[:4, ~hidden], given[:, ~hidden])
    error = np.sqrt(np.mean((numbers[:4, hidden] * 1e-4 - truth[2][:, hidden]) ** 2))
    line = np.sqrt(np.mean(((truth[1] + truth[3]) / 2 - truth[2])[:, hidden] ** 2))
    assert error < 0.25 * line
    bits, codes, days = read(tmp_path / "out" / f"scene_{DAYS[2]}_qa.tif")
    assert ((bits & qa.QaBit.FILLED > 0) == hidden).all()
    assert (codes[hidden] == qa.Source.TEMPORAL_REGRESSION).all()
    assert (days == np.where(hidden, 30, 0)).all()
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["dates"][2]["filled"] == hidden.sum()
    assert written["dates"][2]["method"] == {"observed": SIZE**2 - hidden.sum(), "temporal_regression": hidden.sum()}
    assert written["dates"][2]["holdout"][0]["ndvi_regression_rmse"] > 0
    assert [date["date"] for date in report["dates"]] == [f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in DAYS]
    assert any("x 10000" in note for note in report["warnings"])


def test_order_and_naming_of_the_files_do_not_change_the_result(tmp_path):
    truth, hidden = crops(2), blob()
    gap_filling.run(series(tmp_path / "a", truth, hidden=hidden), tmp_path / "out_a")
    (tmp_path / "b").mkdir()
    for letter, day, image in zip("ecadb", DAYS, truth, strict=True):
        write(
            tmp_path / "b" / f"{letter}.tif",
            image * 1e4,
            tags={"ACQUISITIONDATETIME": f"{day[:4]}-{day[4:6]}-{day[6:]}"},
        )
    write(tmp_path / "b" / "a_mask.tif", hidden[None] * 3.0, ("class",), dtype="uint8", nodata=255)
    gap_filling.run(tmp_path / "b", tmp_path / "out_b")
    first, second = (read(tmp_path / place) for place in (f"out_a/scene_{DAYS[2]}.tif", "out_b/a.tif"))
    assert np.array_equal(first, second)


def test_date_without_any_data_and_scale_is_filled_in_the_scale_of_the_others(tmp_path):
    truth = crops(3)
    lost = truth.copy()
    lost[2] = np.nan
    report = gap_filling.run(series(tmp_path / "in", lost), tmp_path / "out")
    found = read(tmp_path / "out" / f"scene_{DAYS[2]}.tif")[:4] * 1e-4
    np.testing.assert_allclose(found, (truth[1] + truth[3]) / 2, atol=2e-4)
    assert report["status"] == "flagged"
    assert any(DAYS[2] in note and "hardly" in note for note in report["warnings"])


def test_radar_and_terrain_beside_the_scenes_help_to_fill(tmp_path):
    """The gap of the only two dates is filled from radar, which alone knows the field pattern of the date."""
    rng = np.random.default_rng(4)
    driver = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2)
    driver /= driver.std()
    image = (0.3 + 0.06 * driver + np.zeros((4, 1, 1))) + rng.normal(0.0, 0.002, (4, SIZE, SIZE))
    errors = []
    for folder, radar in (("with", True), ("without", False)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "s_20240101.tif", image[:, ::-1] * 1e4)
        write(tmp_path / folder / "s_20240201.tif", np.where(blob(), np.nan, image) * 1e4)
        write(
            tmp_path / folder / "dem.tif",
            300.0 + 50 * rng.standard_normal((1, SIZE, SIZE)),
            ("height",),
            dtype="float32",
        )
        if radar:
            for day, scene in (("20240103", driver[::-1]), ("20240203", driver)):
                power = 10 ** (np.stack([-10 + 2 * scene, -17 + scene]) / 10)
                write(tmp_path / folder / f"s1_{day}.tif", power, ("VV", "VH"), dtype="float32", nodata=np.nan)
        report = gap_filling.run(tmp_path / folder, tmp_path / f"{folder}_out")
        found = read(tmp_path / f"{folder}_out" / "s_20240201.tif")[:4] * 1e-4
        errors.append(np.sqrt(np.mean((found - image)[:, blob()] ** 2)))
    assert not (tmp_path / "with_out" / "s1_20240103.tif").exists()
    assert report["radar_dates"] == 0
    assert errors[0] < 0.5 * errors[1]


def test_scenes_of_one_day_complete_each_other_with_a_warning(tmp_path):
    truth = crops(5)
    source = series(tmp_path / "in", truth)
    left, right = truth[2].copy(), truth[2].copy()
    left[..., SIZE // 2 :] = np.nan
    right[..., : SIZE // 2] = np.nan
    write(source / f"scene_{DAYS[2]}.tif", left * 1e4)
    write(source / f"second_{DAYS[2]}.tif", right * 1e4)
    report = gap_filling.run(source, tmp_path / "out")
    assert any("of one day" in note for note in report["warnings"])
    np.testing.assert_allclose(read(tmp_path / "out" / f"scene_{DAYS[2]}.tif")[:4] * 1e-4, truth[2], atol=6e-5)
    assert not (tmp_path / "out" / f"second_{DAYS[2]}.tif").exists()


def test_scene_that_lacks_a_band_gets_it_predicted_with_a_warning(tmp_path):
    truth = crops(6)
    source = series(tmp_path / "in", truth)
    write(source / f"scene_{DAYS[2]}.tif", truth[2, :3] * 1e4, NAMES[:3])
    report = gap_filling.run(source, tmp_path / "out")
    assert any("lacks nir" in note for note in report["warnings"])
    with rasterio.open(tmp_path / "out" / f"scene_{DAYS[2]}.tif") as file:
        assert file.descriptions[:4] == NAMES
        np.testing.assert_allclose(file.read(4) * 1e-4, (truth[1, 3] + truth[3, 3]) / 2, atol=2e-4)


def test_coarser_scenes_are_brought_to_the_finest_grid(tmp_path):
    truth = crops(7)
    source = series(tmp_path / "in", truth)
    coarse = truth[1].reshape(4, SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
    write(source / f"scene_{DAYS[1]}.tif", coarse * 1e4, transform=PLACE @ Affine.scale(2.0))
    gap_filling.run(source, tmp_path / "out")
    found = read(tmp_path / "out" / f"scene_{DAYS[1]}.tif")[:4]
    assert found.shape == (4, SIZE, SIZE)
    inner = (slice(None), slice(3, 5), slice(3, 5))
    np.testing.assert_allclose(found[inner] * 1e-4, truth[1][inner], atol=0.01)


def test_series_of_any_unit_is_filled_in_its_unit(tmp_path):
    """Temperatures: no reflectance, no names we know, negative values among them."""
    truth = 300.0 * crops(8)[:, :1] - 20.0
    (tmp_path / "in").mkdir()
    for index, (day, image) in enumerate(zip(DAYS, truth, strict=True)):
        seen = np.where(blob(), np.nan, image) if index == 2 else image
        write(tmp_path / "in" / f"t_{day}.tif", seen, ("surface temperature",), dtype="float32", nodata=-9999.0)
    report = gap_filling.run(tmp_path / "in", tmp_path / "out")
    found, sigma = read(tmp_path / "out" / f"t_{DAYS[2]}.tif")
    error = (found - truth[2, 0])[blob()]
    assert np.sqrt(np.mean(error**2)) < 3.0
    assert 0.5 < (np.abs(error) < sigma[blob()]).mean() < 0.95
    assert report["bands"] == ["surface temperature"]
    assert 0.1 < report["dates"][2]["holdout"][0]["regression_rmse"] < 10.0


def test_scale_offset_and_type_of_the_input_are_kept(tmp_path):
    truth, hidden = crops(9), blob()
    (tmp_path / "in").mkdir()
    for day, image in zip(DAYS, truth, strict=True):
        numbers = np.where(hidden, np.nan, (image + 0.1) / 1e-4) if day == DAYS[2] else (image + 0.1) / 1e-4
        write(tmp_path / "in" / f"s_{day}.tif", numbers, dtype="int16", nodata=-1, scale=1e-4, offset=-0.1)
    gap_filling.run(tmp_path / "in", tmp_path / "out")
    with rasterio.open(tmp_path / "out" / f"s_{DAYS[2]}.tif") as file:
        assert (file.dtypes[0], file.nodata) == ("int16", -1)
        assert file.offsets == (-0.1,) * 4 + (0.0,) * 4
        values = file.read(4) * file.scales[3] + file.offsets[3]
    assert np.abs(values - truth[2, 3])[hidden].mean() < 0.02


def test_large_scenes_are_filled_tile_by_tile(tmp_path, monkeypatch):
    truth, hidden = crops(10), blob()
    source = series(tmp_path / "in", truth, hidden=hidden)
    monkeypatch.setattr(gap_filling, "_WHOLE", 32)
    monkeypatch.setattr(gap_filling, "TILE", 32)
    report = gap_filling.run(source, tmp_path / "out")
    found = read(tmp_path / "out" / f"scene_{DAYS[2]}.tif")[:4] * 1e-4
    assert report["dates"][2]["filled"] == hidden.sum()
    assert np.sqrt(np.mean((found - truth[2]) ** 2)) < 0.02
    np.testing.assert_allclose(found[:, ~hidden], truth[2][:, ~hidden], atol=6e-5)


def test_scene_stack_in_one_file_gives_one_raster_a_date(tmp_path):
    truth = crops(11)
    values = truth.copy()
    values[2][:, blob()] = np.nan
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values.astype(np.float32), {"units": "1"})},
        coords={
            "time": np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in DAYS], dtype="datetime64[ns]"),
            "band": list(NAMES),
        },
    )
    scene = grid.assign(scene, grid.covering((0, 0, 480, 480), crs=CRS, resolution=10))
    (tmp_path / "in").mkdir()
    external_scene.pack(scene).to_netcdf(tmp_path / "in" / "stack.nc", engine="netcdf4")
    gap_filling.run(tmp_path / "in", tmp_path / "out")
    with rasterio.open(tmp_path / "out" / f"stack_{DAYS[2]}.tif") as file:
        assert file.descriptions == (*NAMES, *(f"{name}_sigma" for name in NAMES))
        found = file.read()[:4] * file.scales[0]
    assert np.sqrt(np.mean((found - truth[2]) ** 2)) < 0.02
    assert len(list((tmp_path / "out").glob("*_qa.tif"))) == 5


def test_folders_that_cannot_be_interpreted_are_refused_with_a_sentence(tmp_path):
    image = crops(12)[0] * 1e4
    out = tmp_path / "out"

    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    assert "no folder" in refused("no_scene", gap_filling.run, tmp_path / "absent", out)
    empty = folder("empty")
    (empty / "note.txt").write_text("nothing")
    assert "neither" in refused("no_scene", gap_filling.run, empty, out)
    undated = folder("undated")
    write(undated / "a.tif", image)
    assert "date" in refused("time_missing", gap_filling.run, undated, out)
    nameless = folder("nameless")
    write(nameless / "a_20240101.tif", image, None)
    assert "name its bands" in refused("band_missing", gap_filling.run, nameless, out)
    twice = folder("twice")
    write(twice / "a_20240101.tif", image, ("red", "B04", "nir", "blue"))
    assert "twice" in refused("band_missing", gap_filling.run, twice, out)
    single = series(tmp_path / "single", crops(12))
    for day in DAYS[1:]:
        (single / f"scene_{day}.tif").unlink()
    assert "one optical date" in refused("too_few_dates", gap_filling.run, single, out)
    apart = series(tmp_path / "apart", crops(12))
    write(apart / f"scene_{DAYS[1]}.tif", image, transform=Affine.translation(90_000.0, 0.0) @ PLACE)
    assert DAYS[1] in refused("area_mismatch", gap_filling.run, apart, out)
    radar = folder("radar")
    write(radar / "r_20240101.tif", image[:2] * 0 - 12.0, ("vv", "vh"), dtype="float32", nodata=None)
    assert "radar only" in refused("band_missing", gap_filling.run, radar, out)
    unlike = series(tmp_path / "unlike", crops(12))
    write(unlike / f"scene_{DAYS[1]}.tif", image, crs=None)
    assert "some do not" in refused("grid_mismatch", gap_filling.run, unlike, out)
    kinds = series(tmp_path / "kinds", crops(12))
    write(kinds / f"scene_{DAYS[1]}.tif", image[:1], ("lst",))
    assert "none we know" in refused("band_missing", gap_filling.run, kinds, out)
    blank = series(tmp_path / "blank", np.full((5, 4, 16, 16), np.nan))
    assert "no date" in refused("all_nodata", gap_filling.run, blank, out)
    assert "another folder" in refused("mixed_input", gap_filling.run, single, single)
    assert not list(out.glob("*.tif"))


def test_two_stacks_or_a_broken_one_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.nc", "b.nc"):
        (tmp_path / "in" / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    assert "more than one" in refused("mixed_input", gap_filling.run, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "b.nc").unlink()
    assert "NetCDF" in refused("unreadable", gap_filling.run, tmp_path / "in", tmp_path / "out")


def test_what_does_not_belong_to_the_series_is_named(tmp_path):
    source = series(tmp_path / "in", crops(13))
    (source / "readme.md").write_text("hello")
    write(source / "other_mask.tif", np.zeros((1, 4, 4)), ("class",), dtype="uint8", nodata=255)
    warnings = gap_filling.run(source, tmp_path / "out")["warnings"]
    assert any("readme.md" in note for note in warnings)
    assert any("other_mask.tif masks no scene" in note for note in warnings)


def test_rasters_without_reference_system_are_filled_with_a_warning(tmp_path):
    (tmp_path / "in").mkdir()
    truth = crops(14)
    for day, image in zip(DAYS, truth, strict=True):
        seen = np.where(blob(), np.nan, image) if day == DAYS[2] else image
        write(tmp_path / "in" / f"s_{day}.tif", seen * 1e4, crs=None)
    report = gap_filling.run(tmp_path / "in", tmp_path / "out")
    assert any("no coordinate reference system" in note for note in report["warnings"])
    assert np.abs(read(tmp_path / "out" / f"s_{DAYS[2]}.tif")[:4] * 1e-4 - truth[2]).mean() < 0.02


def looks(folder: Path, *, count: int = 5, seed: int = 20) -> tuple[list[Path], np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = crops(seed, dates=1)[0]
    paths = []
    for index in range(count):
        image = truth + rng.normal(0.0, 0.01, truth.shape)
        image[:, 8 * index : 8 * index + 8, 6:20] = 0.9
        paths.append(write(folder / f"look_2024{index + 1:02d}15.tif", image * 1e4))
        mask = np.zeros((1, SIZE, SIZE))
        mask[0, 8 * index : 8 * index + 8, 6:20] = 2
        write(folder / f"look_2024{index + 1:02d}15_mask.tif", mask, ("class",), dtype="uint8", nodata=255)
    return paths, truth


def test_composite_is_clear_told_by_pixel_and_stored_as_the_looks_are(tmp_path):
    paths, truth = looks(tmp_path)
    report = compositing.run(paths, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.descriptions == (*NAMES, *(f"{name}_sigma" for name in NAMES))
        assert file.dtypes[0] == "uint16"
        numbers = file.read() * 1e-4
    assert np.sqrt(np.mean((numbers[:4] - truth) ** 2)) < 0.008
    covered = (np.abs(numbers[:4] - truth) < numbers[4:]).mean()
    assert 0.60 < covered < 0.85
    count, look, day, bits, method = read(tmp_path / "out_qa.tif")
    hidden = np.zeros((SIZE, SIZE), dtype=bool)
    hidden[:40, 6:20] = True
    assert np.array_equal(count, np.where(hidden, 4, 5))
    assert np.array_equal(method, np.where(hidden, pure_compositing.Method.MEDOID, pure_compositing.Method.GEOMEDIAN))
    days = np.array([np.datetime64(f"2024-{month:02d}-15", "D").astype(int) for month in range(1, 6)])
    assert np.array_equal(day, days[look])
    assert (bits == 0).all()
    with rasterio.open(tmp_path / "out_mad.tif") as file:
        assert file.descriptions == pure_compositing.DEVIATIONS
        assert 0.01 < np.median(file.read(1)) < 0.03
    assert sum(one["pixels_taken"] for one in report["looks"]) == SIZE**2
    assert report["pixels_by_method"]["geomedian"] == (~hidden).sum()


def test_pixels_without_enough_looks_are_flagged_and_reported(tmp_path):
    paths, _ = looks(tmp_path, count=2)
    report = compositing.run(paths, tmp_path / "out.tif")
    bits = read(tmp_path / "out_qa.tif")[3]
    assert (bits & qa.QaBit.INSUFFICIENT > 0).all()
    assert report["status"] == "flagged"
    assert any("100.0% of the pixels have fewer than 3 clear looks" in note for note in report["warnings"])


@pytest.mark.parametrize("method", ["auto", "best"])
def test_composite_does_not_depend_on_the_tiles(tmp_path, monkeypatch, method):
    paths, _ = looks(tmp_path)
    compositing.run(paths, tmp_path / "whole.tif", method=method)
    monkeypatch.setattr(compositing, "_tile_size", lambda plan: 17)
    compositing.run(paths, tmp_path / "parts.tif", method=method)
    for suffix in ("", "_qa", "_mad"):
        first, second = (read(tmp_path / f"{name}{suffix}.tif") for name in ("whole", "parts"))
        assert np.array_equal(first, second, equal_nan=True)


def test_scene_on_another_grid_is_matched_by_one_resampling_and_one_outside_left_aside(tmp_path):
    paths, truth = looks(tmp_path)
    coarse = truth.reshape(4, SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
    wide = write(tmp_path / "wide_20240701.tif", coarse * 1e4, transform=PLACE @ Affine.scale(2.0))
    far = write(tmp_path / "far_20240801.tif", coarse * 1e4, transform=Affine.translation(90_000.0, 0.0) @ PLACE)
    report = compositing.run([wide, *paths, far], tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.shape == (SIZE, SIZE)
        assert file.transform == PLACE
    assert len(report["looks"]) == 6
    assert any("far_20240801.tif lies outside" in note for note in report["warnings"])
    assert read(tmp_path / "out_qa.tif")[0].max() == 6


def test_target_date_decides_the_best_pixel(tmp_path):
    image = crops(30, dates=1)[0] * 1e4
    paths = [write(tmp_path / f"s_2024{month:02d}01.tif", image + month) for month in (1, 4, 7)]
    compositing.run(paths, tmp_path / "out.tif", method="best", target_date="2024-07-03")
    assert (read(tmp_path / "out_qa.tif")[1] == 2).all()
    assert "YYYY-MM-DD" in refused(
        "time_missing", compositing.run, paths, tmp_path / "out.tif", target_date="midsummer"
    )


def test_undated_and_nameless_scenes_are_composited_with_a_warning(tmp_path):
    image = crops(31, dates=1)[0] * 1e4
    paths = [write(tmp_path / f"{letter}.tif", image + number, None) for number, letter in enumerate("abc")]
    report = compositing.run(paths, tmp_path / "out.tif")
    assert any("do not name their bands" in note for note in report["warnings"])
    assert any("no date" in note for note in report["warnings"])
    assert (read(tmp_path / "out_qa.tif")[2] == 65535).all()
    assert np.array_equal(read(tmp_path / "out.tif")[:4], read(paths[1]))


def test_one_scene_named_twice_counts_once(tmp_path):
    paths, _ = looks(tmp_path, count=3)
    report = compositing.run([*paths, paths[0]], tmp_path / "out.tif")
    assert len(report["looks"]) == 3
    assert any("more than once" in note for note in report["warnings"])


def test_radar_intensities_are_composited_in_their_own_unit(tmp_path):
    rng = np.random.default_rng(32)
    paths = [
        write(
            tmp_path / f"r_2024010{day}.tif",
            rng.gamma(20, 0.01, (2, 16, 16)),
            ("VV", "VH"),
            dtype="float32",
            nodata=np.nan,
        )
        for day in range(1, 8)
    ]
    compositing.run(paths, tmp_path / "out.tif")
    found = read(tmp_path / "out.tif")
    assert found[:2].mean() == pytest.approx(0.2, rel=0.1)
    assert 0.0 < found[2:].mean() < 0.05


def test_scenes_that_do_not_fit_together_are_refused(tmp_path):
    image = crops(33, dates=1)[0] * 1e4
    first = write(tmp_path / "a_20240101.tif", image)
    out = tmp_path / "out.tif"
    assert "no scene" in refused("no_scene", compositing.run, [], out)
    assert "mean" in refused("method_unknown", compositing.run, [first], out, method="mean")
    assert "another name" in refused("mixed_input", compositing.run, [first], first)
    radar = write(tmp_path / "r_20240101.tif", image[:2] * 0 - 12.0, ("vv", "vh"), dtype="float32", nodata=None)
    assert "do not mix" in refused("mixed_input", compositing.run, [first, radar], out)
    other = write(tmp_path / "b_20240201.tif", image[:1], ("swir1",))
    assert "in common" in refused("band_missing", compositing.run, [first, other], out)
    nameless = [write(tmp_path / f"n{bands}_20240301.tif", image[:bands], None) for bands in (2, 3)]
    assert "same number" in refused("band_missing", compositing.run, nameless, out)
    blank = write(tmp_path / "z_20240401.tif", np.full((4, 16, 16), np.nan))
    assert "no scene shows" in refused("all_nodata", compositing.run, [blank], out)
    fewer = write(tmp_path / "c_20240501.tif", image[:3], NAMES[:3])
    assert any("nir" in note for note in compositing.run([first, fewer], out)["warnings"])
    out.unlink()
    plain = write(tmp_path / "p_20240501.tif", image[:, :20], crs=None)
    lost = write(tmp_path / "q_20240601.tif", image, crs=None)
    assert "different grids" in refused("grid_mismatch", compositing.run, [plain, lost], out)
    assert not out.exists()


def test_mask_that_declares_zero_no_data_means_clear(tmp_path):
    truth = crops(34, dates=1)[0] * 1e4
    path = write(tmp_path / "s_20240101.tif", truth)
    classes = np.zeros((1, SIZE, SIZE))
    classes[0, :10], classes[0, 10:20], classes[0, 20:30] = 1, 255, 4
    write(tmp_path / "s_20240101_mask.tif", classes, ("class",), dtype="uint8", nodata=0)
    compositing.run([path], tmp_path / "out.tif")
    count = read(tmp_path / "out_qa.tif")[0]
    assert (count[:20] == 0).all()
    assert (count[20:] == 1).all()
