"""Pansharpening of files: grids honored or refused, numbers stored as they came, the choice told."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine

from infra.imagery import pansharpening, raster_file, report, tiling
from processors.imagery import pansharpening as sharpening
from processors.quality import BadInputError
from tests.unit import imagery_sharpening_references as references

MS_GRID = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 3_200_000.0)
PAN_GRID = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 3_200_000.0)
UTM = "EPSG:32648"


@pytest.fixture(scope="module")
def sensor():
    return references.sensor_of(seed=31, ratio=2, shape=(128, 120), panchromatic="visible")


def write(path, values, transform, *, crs=UTM, scale=None, nodata=None, names=()):
    stack = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path, "w", driver="GTiff", count=stack.shape[0], height=stack.shape[1], width=stack.shape[2],
        dtype=stack.dtype, crs=crs, transform=transform, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(stack)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        if scale:
            file.scales, file.offsets = (scale[0],) * stack.shape[0], (scale[1],) * stack.shape[0]
    return path


@pytest.fixture
def pair(tmp_path, sensor):
    """Counts of a sensor as files."""
    ms = write(tmp_path / "ms.tif", (sensor.ms * 1e4).astype(np.uint16), MS_GRID, names=("blue", "green", "red", "nir"))
    pan = write(tmp_path / "pan.tif", (sensor.pan * 1e4).astype(np.uint16), PAN_GRID)
    return ms, pan


def test_result_lies_on_the_panchromatic_grid_and_is_near_the_truth(pair, sensor, tmp_path):
    made = pansharpening.run(*pair, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.transform == PAN_GRID
        assert file.dtypes == ("uint16",) * 8
        assert file.descriptions == (
            "blue", "green", "red", "nir", "blue_sigma", "green_sigma", "red_sigma", "nir_sigma",
        )  # fmt: skip
        values = file.read().astype(np.float64)
    error = values[:4] / 1e4 - sensor.truth
    assert np.sqrt(np.mean(error**2)) < 0.03
    assert 0.55 < np.mean(np.abs(error) <= values[4:] / 1e4) < 0.9
    assert made["status"] == "ok"
    assert made["no_data_fraction"] == 0.0
    assert made["clipped"] < 0.005 * 4 * sensor.pan.size
    assert len(made["warnings"]) == (made["clipped"] > 0)
    json.dumps(report.plain(made), allow_nan=False)


def test_report_tells_choice_scores_and_quality(pair, tmp_path):
    made = pansharpening.run(*pair, tmp_path / "out.tif")
    assert set(made["methods"]) == {"blue", "green", "red", "nir"}
    assert {score["method"] for score in made["reduced_scale"]} == {*sharpening.METHODS, "chosen"}
    assert made["geometry"]["ratio"] == [2.0, 2.0]
    assert made["modulation_transfer"]["from"] == "data"
    assert 0.0 < made["full_scale"]["hqnr"] <= 1.0
    assert 0.6 <= made["coverage"]["one_sigma"] <= 0.75


def test_scale_offset_and_gaps_of_the_bands_are_kept(sensor, tmp_path):
    counts = (sensor.ms * 2e4 + 1000.0).astype(np.int16)
    counts[:, 10:13, 20:24] = -9999
    ms = write(tmp_path / "ms.tif", counts, MS_GRID, scale=(5e-5, -0.05), nodata=-9999)
    pan = write(tmp_path / "pan.tif", sensor.pan, PAN_GRID)
    made = pansharpening.run(ms, pan, tmp_path / "out.tif", plain=True)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.scales == (5e-5,) * 8
        assert file.offsets == (-0.05,) * 4 + (0.0,) * 4
        assert file.nodata == -9999
        assert (file.read()[:, 20:26, 40:48] == -9999).all()
    with raster_file.open_raster(tmp_path / "out.tif") as file:
        values = file.read()
    seen = np.isfinite(values[0])
    assert np.count_nonzero(~seen) == 48
    assert np.sqrt(np.mean((values[:4] - sensor.truth)[:, seen] ** 2)) < 0.03
    assert made["no_data_fraction"] == pytest.approx(48 / seen.size)
    assert any("no data" in text for text in made["warnings"])


def test_tiles_do_not_show(pair, tmp_path, monkeypatch):
    whole = pansharpening.run(*pair, tmp_path / "whole.tif", plain=True)
    plan_source = tiling.tiles
    monkeypatch.setattr(tiling, "tiles", lambda shape, **options: plan_source(shape, **{**options, "size": 48}))
    tiled = pansharpening.run(*pair, tmp_path / "tiled.tif", plain=True)
    with rasterio.open(tmp_path / "whole.tif") as first, rasterio.open(tmp_path / "tiled.tif") as second:
        assert np.array_equal(first.read(), second.read())
    assert whole == tiled


def test_large_scenes_are_judged_by_parts(pair, tmp_path, monkeypatch):
    whole = pansharpening.run(*pair, tmp_path / "whole.tif")
    monkeypatch.setattr(pansharpening, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(pansharpening, "SAMPLE_SIZE", 32)
    parts = pansharpening.run(*pair, tmp_path / "parts.tif")
    first, second = (next(s for s in made["reduced_scale"] if s["method"] == "chosen") for made in (whole, parts))
    assert second["ergas"] == pytest.approx(first["ergas"], rel=0.5)


@pytest.mark.parametrize("seen", [slice(0, 8), slice(0, 0)])
def test_parts_are_looked_for_where_there_are_data(sensor, tmp_path, monkeypatch, seen):
    monkeypatch.setattr(pansharpening, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(pansharpening, "SAMPLE_SIZE", 8)
    bands = np.full_like(sensor.ms, np.nan)
    bands[:, 1:9, seen] = sensor.ms[:, 1:9, seen]
    ms, pan = write(tmp_path / "ms.tif", bands, MS_GRID), write(tmp_path / "pan.tif", sensor.pan, PAN_GRID)
    if seen.stop == 0:
        with pytest.raises(BadInputError) as caught:
            pansharpening.run(ms, pan, tmp_path / "out.tif")
        assert caught.value.cause == "no_data"
        assert not (tmp_path / "out.tif").exists()
        return
    made = pansharpening.run(ms, pan, tmp_path / "out.tif")
    assert made["no_data_fraction"] > 0.9


def test_a_plan_made_before_is_used_for_the_same_grids_only(pair, tmp_path):
    with raster_file.open_raster(pair[0]) as ms, raster_file.open_raster(pair[1]) as pan:
        plan = pansharpening.chosen(ms, pan)
    fresh = pansharpening.run(*pair, tmp_path / "fresh.tif", plain=True)
    again = pansharpening.run(*pair, tmp_path / "again.tif", plain=True, plan=plan)
    assert again["full_scale"] is None
    assert again["methods"] == fresh["methods"]
    with rasterio.open(tmp_path / "fresh.tif") as first, rasterio.open(tmp_path / "again.tif") as second:
        assert np.array_equal(first.read(), second.read())
    with rasterio.open(pair[1], "r+") as file:
        file.transform = PAN_GRID @ Affine.translation(0.5, 0.0)
    with pytest.raises(ValueError, match="other grids"):
        pansharpening.run(*pair, tmp_path / "again.tif", plan=plan)


def test_sigma_can_be_left_out(pair, tmp_path):
    pansharpening.run(*pair, tmp_path / "out.tif", sigma=False)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.count == 4


def test_bands_of_one_name_are_told_apart(sensor, tmp_path):
    ms = write(tmp_path / "ms.tif", sensor.ms, MS_GRID, names=("nir", "nir", "red", "green"))
    pan = write(tmp_path / "pan.tif", sensor.pan, PAN_GRID)
    made = pansharpening.run(ms, pan, tmp_path / "out.tif", method="mtf_glp_cbd")
    assert set(made["methods"]) == {"nir_1", "nir_2", "red", "green"}


def test_numbers_that_do_not_fit_are_counted(sensor, tmp_path):
    bright = np.clip(sensor.ms / np.quantile(sensor.ms, 0.6, axis=(1, 2), keepdims=True) * 254.0, 1, 254)
    ms = write(tmp_path / "ms.tif", bright.astype(np.uint8), MS_GRID)
    pan = write(tmp_path / "pan.tif", sensor.pan, PAN_GRID)
    made = pansharpening.run(ms, pan, tmp_path / "out.tif")
    assert made["clipped"] > 0
    assert made["status"] == "flagged"


def test_without_reference_system_the_transforms_decide(sensor, tmp_path):
    ms = write(tmp_path / "ms.tif", sensor.ms, MS_GRID @ Affine.translation(0.25, 0.0), crs=None)
    pan = write(tmp_path / "pan.tif", sensor.pan, PAN_GRID, crs=None)
    made = pansharpening.run(ms, pan, tmp_path / "out.tif")
    assert made["geometry"]["offset_pan_pixels"] == pytest.approx([0.0, 0.5])
    assert sum("no coordinate reference system" in text for text in made["warnings"]) == 2


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_any_georeferencing_the_sizes_decide(sensor, tmp_path):
    ms = write(tmp_path / "ms.tif", sensor.ms, Affine.identity(), crs=None)
    pan = write(tmp_path / "pan.tif", sensor.pan, Affine.identity(), crs=None)
    made = pansharpening.run(ms, pan, tmp_path / "out.tif")
    assert made["geometry"]["ratio"] == [2.0, 2.0]
    assert any("neither raster is georeferenced" in text for text in made["warnings"])


def test_same_system_in_other_words_is_accepted(sensor, tmp_path):
    ms = write(tmp_path / "ms.tif", sensor.ms, MS_GRID)
    words = "+proj=utm +zone=48 +datum=WGS84 +units=m +no_defs"
    pan = write(tmp_path / "pan.tif", sensor.pan, PAN_GRID, crs=words)
    assert pansharpening.run(ms, pan, tmp_path / "out.tif")["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"crs": "EPSG:32649"}, "crs_mismatch"),
        ({"transform": Affine.translation(9000.0, 0.0) @ PAN_GRID}, "no_overlap"),
        ({"transform": MS_GRID}, "resolution_mismatch"),
        ({"transform": PAN_GRID @ Affine.rotation(10.0)}, "grid_irregular"),
        ({"bands": 2}, "band_count"),
    ],
)
def test_pairs_that_do_not_belong_together_are_refused(sensor, tmp_path, change, cause):
    ms = write(tmp_path / "ms.tif", sensor.ms, MS_GRID)
    values = np.repeat(sensor.pan[None], change.get("bands", 1), axis=0)
    pan = write(tmp_path / "pan.tif", values, change.get("transform", PAN_GRID), crs=change.get("crs", UTM))
    with pytest.raises(BadInputError) as caught:
        pansharpening.run(ms, pan, tmp_path / "out.tif")
    assert caught.value.cause == cause
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(
    ("options", "cause"), [({"sensor": "nosuch"}, "unknown_sensor"), ({"method": "nosuch"}, "unknown_method")]
)
def test_unknown_names_are_refused(pair, tmp_path, options, cause):
    with pytest.raises(BadInputError) as caught:
        pansharpening.run(*pair, tmp_path / "out.tif", **options)
    assert caught.value.cause == cause


def test_known_sensor_sets_the_transfer_function(pair, tmp_path):
    made = pansharpening.run(*pair, tmp_path / "out.tif", sensor="QuickBird")
    assert made["modulation_transfer"] == {"at_nyquist": [0.34, 0.32, 0.30, 0.22], "from": "sensor"}
