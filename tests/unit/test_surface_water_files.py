"""Water and flood from files: grids, units and bands as they come, and what was left out is said."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from infra.cli import surface
from infra.surface import flood, terrain_source, water, water_scene
from processors.quality import BadInputError
from tests.unit import test_surface_radar_water as scenes

ORIGIN = (600_000.0, 3_300_000.0)


def written(path, layers, *, pixel=10.0, crs="EPSG:32648", names=None, dtype="float32", **tags):
    values = np.asarray(layers)
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": dtype,
        "crs": crs,
        "transform": Affine(pixel, 0.0, ORIGIN[0], 0.0, -pixel, ORIGIN[1]),
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values.astype(dtype))
        dataset.update_tags(**tags)
        for number, name in enumerate(names or (), 1):
            dataset.set_band_description(number, name)
    return path


def decibels(power):
    return np.stack([10.0 * np.log10(power[name]) for name in ("vv", "vh")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("water")


@pytest.fixture(scope="module")
def usual():
    return scenes.lake(share=0.08)


@pytest.fixture(scope="module")
def risen():
    return scenes.lake(share=0.3)


@pytest.fixture(scope="module")
def after(folder, risen):
    return written(folder / "after.tif", decibels(scenes.power(risen, seed=2)), names=("vv", "vh"))


@pytest.fixture(scope="module")
def before(folder, usual):
    return written(folder / "before.tif", decibels(scenes.power(usual, seed=1)), names=("vv", "vh"))


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.transform, dataset.nodata


def test_the_unit_changes_nothing(folder, after, risen):
    linear = written(folder / "linear.tif", 10.0 ** (read(after)[0] / 10.0), names=("vv", "vh"))
    first = water.run(folder / "a.tif", sar=after)
    second = water.run(folder / "b.tif", sar=linear, sar_unit="linear")
    (one, _, nodata), (other, _, _) = read(folder / "a.tif"), read(folder / "b.tif")
    assert (one[0] == other[0]).mean() > 0.9999
    assert scenes.overlap(one[0] == 1, risen) > 0.93
    assert nodata == 255
    assert any("taken as decibels" in text for text in first["warnings"])
    assert second["water_share"] == pytest.approx(first["water_share"], abs=1e-3)
    assert json.dumps(first)


def test_a_unit_that_cannot_be_known_is_refused(folder, after):
    linear = written(folder / "unknown.tif", 10.0 ** (read(after)[0] / 10.0))
    with pytest.raises(BadInputError) as refusal:
        water.run(folder / "no.tif", sar=linear)
    assert refusal.value.cause == "unit_missing"
    with pytest.raises(BadInputError):
        water.run(folder / "no.tif", sar=linear, sar_unit="amplitude")
    stated = written(folder / "stated.tif", 10.0 ** (read(after)[0] / 10.0), units="linear")
    assert water.run(folder / "yes.tif", sar=stated)["status"] == "ok"
    told = written(folder / "told.tif", read(after)[0], units="dB")
    assert water.run(folder / "yes.tif", sar=told)["status"] == "ok"


def test_reflectance_of_another_grid_and_scale_helps(folder, after, risen):
    seen = scenes.reflectance(risen)
    coarse = np.stack([layer.reshape(128, 2, 128, 2).mean(axis=(1, 3)) for layer in seen.values()]) * 10_000
    optical = written(folder / "o.tif", coarse, pixel=20.0, names=tuple(seen), dtype="uint16")
    mask = np.zeros((1, 128, 128))
    mask[0, :, :32] = 2
    masked = written(folder / "m.tif", mask, pixel=20.0)
    report = water.run(folder / "both.tif", sar=after, optical=optical, optical_mask=masked)
    assert report["sources"] == ["radar", "optical"]
    assert scenes.overlap(read(folder / "both.tif")[0][0] == 1, risen) > 0.94
    alone = water.run(folder / "alone.tif", optical=optical, optical_mask=masked)
    assert alone["no_data_share"] == pytest.approx(0.25, abs=0.01)
    floating = written(folder / "float.tif", coarse, pixel=20.0)
    numbers = {name: number for number, name in enumerate(seen, 1)}
    scaled = water.run(folder / "scaled.tif", optical=floating, optical_bands=numbers)
    assert any("x 10000" in text for text in scaled["warnings"])


@pytest.mark.parametrize(
    ("radar", "seen", "kept", "word"),
    [
        ("2025-07-15T22:30:00+00:00", "2025:07:16 03:30:00", True, ""),
        ("2025-07-15T22:30:00Z", "2025-07-18T03:30:00", False, "left out"),
        ("2025-07-15T22:30:00", "2025-07-17", True, ""),
        ("2025-07-15T22:30:00", "soon", True, "states no time"),
        ("", "2025-07-15", True, "states no time"),
    ],
)
def test_reflectance_of_another_day_is_left_out_of_a_flood(folder, after, risen, radar, seen, kept, word):
    bands = scenes.reflectance(risen)
    optical = written(folder / "day.tif", list(bands.values()), names=tuple(bands), ACQUISITIONDATETIME=seen)
    dated = written(folder / "dated.tif", read(after)[0], names=("vv", "vh"), ACQUISITIONDATETIME=radar)
    warnings: list[str] = []
    assert water_scene.timely(optical, dated, warnings=warnings) == (optical if kept else None)
    assert [word in text for text in warnings] == ([True] if word else [])
    if word == "left out":
        mapped = flood.run(dated, folder / "late.tif", optical=optical)
        assert any(word in text for text in mapped["warnings"])
        assert water.run(folder / "late.tif", sar=dated, optical=optical)["sources"] == ["radar"]


def test_a_window_gives_its_part_of_the_grid(folder, after):
    left, top = ORIGIN
    bounds = (left + 500.0, top - 1500.0, left + 1500.0, top - 700.0)
    water.run(folder / "part.tif", sar=after, window=bounds)
    layers, transform, _ = read(folder / "part.tif")
    assert layers.shape == (2, 80, 100)
    assert (transform.c, transform.f) == (left + 500.0, top - 700.0)
    with pytest.raises(BadInputError) as refusal:
        water.run(folder / "out.tif", sar=after, window=(0.0, 0.0, 10.0, 10.0))
    assert refusal.value.cause == "outside_area"


def test_flood_is_what_the_earlier_pass_did_not_have(folder, after, before, usual, risen):
    report = flood.run(after, folder / "f.tif", before=[before])
    layers, _, _ = read(folder / "f.tif")
    assert scenes.overlap(np.isin(layers[0], (2, 3)), risen & ~usual) > 0.9
    assert report["status"] == "ok"
    assert report["flood_km2"] == pytest.approx((risen & ~usual).sum() * 1e-4, rel=0.1)
    several = flood.run(after, folder / "f3.tif", before=[before, before, before])
    assert several["flood_share"] == pytest.approx(report["flood_share"], abs=1e-6)


def test_percent_of_usual_water_is_a_reference_and_nothing_is_flagged(folder, after, usual, risen):
    reference = written(folder / "r.tif", usual[None] * 100.0)
    report = flood.run(after, folder / "fr.tif", reference_water=reference, reference_same_month=False)
    assert any("another month" in text for text in report["warnings"])
    assert scenes.overlap(read(folder / "fr.tif")[0][0] == 2, risen & ~usual) > 0.88
    nothing = flood.run(after, folder / "fn.tif")
    assert nothing["status"] == "flagged"
    assert nothing["flood_share"] == 0.0


def test_few_looks_are_said(folder, risen):
    single = written(folder / "single.tif", decibels(scenes.power(risen, looks=1.0)), names=("vv", "vh"))
    report = water.run(folder / "s.tif", sar=single)
    assert report["status"] == "flagged"
    assert any("looks" in text for text in report["warnings"])
    assert flood.run(single, folder / "sf.tif", before=[single])["status"] == "flagged"


def test_heights_keep_water_off_the_hillside(folder, after):
    columns = np.mgrid[:256, :256][1]
    heights = 200.0 + 3.0 * np.abs(columns - 128)[None]
    dem = written(folder / "dem.tif", heights)
    report = water.run(folder / "d.tif", sar=after, dem=dem)
    assert report["too_steep_and_high_share"] > 0.5
    look = terrain_source.Look(35.0, 90.0)
    excluded = flood.run(after, folder / "df.tif", dem=dem, look=look)
    assert excluded["excluded_share"] > 0.5


def test_terrain_is_asked_for_in_one_way(folder, after):
    for given in ({"terrain": after, "dem": after}, {"look": terrain_source.Look(30.0, 90.0)}):
        with pytest.raises(BadInputError):
            water.run(folder / "t.tif", sar=after, **given)
    bare = written(folder / "bare.tif", read(after)[0], crs=None)
    with pytest.raises(BadInputError) as refusal:
        water.run(folder / "t.tif", sar=bare, dem=after)
    assert refusal.value.cause == "crs_missing"
    assert water.run(folder / "t.tif", sar=bare)["status"] == "ok"


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({}, "no_scene"),
        ({"sar_bands": {"vv": 3}}, "band_missing"),
        ({"sar_bands": {"xx": 1}}, "band_missing"),
    ],
)
def test_what_is_missing_is_named(folder, after, given, cause):
    with pytest.raises(BadInputError) as refusal:
        water.run(folder / "x.tif", sar=after if given else None, **given)
    assert refusal.value.cause == cause


def test_no_usable_value_is_refused(folder, after):
    empty = written(folder / "empty.tif", np.full((2, 64, 64), np.nan), names=("vv", "vh"))
    many = written(folder / "many.tif", np.full((3, 64, 64), -10.0))
    seen = written(folder / "unnamed.tif", np.full((3, 64, 64), 0.1))
    for given in ({"sar": empty}, {"sar": many}, {"optical": seen}, {"optical": empty, "optical_bands": {"green": 1}}):
        with pytest.raises(BadInputError):
            water.run(folder / "x.tif", **given)
    with pytest.raises(BadInputError):
        flood.run(None, folder / "x.tif", before=[after])
    one = written(folder / "one.tif", read(after)[0][:1])
    with pytest.raises(BadInputError) as refusal:
        flood.run(after, folder / "x.tif", before=[one], sar_bands=None)
    assert refusal.value.cause == "band_missing"


def test_hh_and_a_hole_in_an_optical_scene(folder, after):
    named = written(folder / "hh.tif", read(after)[0], names=("hh", "hv"))
    assert water.run(folder / "h.tif", sar=named)["thresholds_db"].keys() == {"copolar", "crosspolar"}
    nothing = written(folder / "black.tif", np.zeros((3, 64, 64)), names=("green", "nir", "swir1"))
    with pytest.raises(BadInputError) as refusal:
        water.run(folder / "x.tif", optical=nothing)
    assert refusal.value.cause == "no_data"
    with pytest.raises(BadInputError):
        flood.run(None, folder / "x.tif", optical=nothing)


def test_numbers_that_are_no_backscatter_are_no_data():
    levels = np.array([-9999.0, -20.0, np.nan, np.inf], dtype=np.float32)
    np.testing.assert_allclose(water_scene.linear(levels, unit="db"), [np.nan, 0.01, np.nan, np.nan], rtol=1e-5)
    powers = np.array([0.0, -0.001, 0.05, np.nan], dtype=np.float32)
    found = water_scene.linear(powers, unit="linear")
    np.testing.assert_allclose(found, [np.nan, 1e-6, 0.05, np.nan])


def test_large_scenes_are_judged_on_parts_that_hold_both(folder):
    level = np.full((1, 1200, 1100), -9.0, dtype=np.float32)
    level[0, 600:700, 300:420] = -20.0
    path = written(folder / "large.tif", level)
    radar = water_scene.radar_of(path, bands={"vv": 1}, unit="db", warnings=[])
    with water_scene.leading_raster(path, None) as leading:
        sources = water_scene.placed(leading, radar=radar, optical=None, terrain=None, reference=None, bounds=None)
    even, mixed = water_scene.sample_windows(sources)
    assert len(even) == 25
    assert all(window.col_off <= 420 and window.col_off + window.width >= 300 for window in mixed)
    assert mixed
    without = sources._replace(radar=None)
    assert water_scene.sample_windows(without)[1] == []


def test_the_commands_write_maps_and_reports(folder, after, before):
    runner = CliRunner()
    made = runner.invoke(
        surface.app,
        [
            "water",
            "--sar",
            str(after),
            "--sar-bands",
            "vv=1,vh=2",
            "--sar-unit",
            "db",
            "--out",
            str(folder / "c.tif"),
            "--json",
        ],
    )
    assert made.exit_code == 0, made.output
    flooded = runner.invoke(
        surface.app,
        [
            "flood",
            "--before",
            str(before),
            "--after",
            str(after),
            "--out",
            str(folder / "cf.tif"),
            "--report",
            str(folder / "cf.json"),
        ],
    )
    assert flooded.exit_code == 0, flooded.output
    assert json.loads((folder / "cf.json").read_text())["before_dates"] == 1
    for wrong in (["--sar-unit", "volt"], ["--incidence", "30"]):
        refused = runner.invoke(surface.app, ["water", "--sar", str(after), "--out", str(folder / "w.tif"), *wrong])
        assert refused.exit_code != 0
