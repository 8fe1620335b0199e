"""Spatio-temporal fusion of files: grids, units, dates and refusals."""

import functools
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.errors
import rasterio.warp
from affine import Affine

from infra.imagery import raster_file, spatiotemporal
from processors.imagery import qa
from processors.quality import BadInputError
from processors.simulation import imagery_change

RATIO = 12
SIZE = 144
UTM = "EPSG:32648"
TRANSFORM = Affine(30.0, 0.0, 500_000.0, 0.0, -30.0, 3_200_000.0)
COARSE = TRANSFORM @ Affine.scale(RATIO)


@functools.cache
def series():
    return imagery_change.simulate_change(seed=0, shape=(SIZE, SIZE), ratio=RATIO, bands=("red", "nir"))


def write(path, values, transform=TRANSFORM, crs=UTM, dtype="float32", nodata=None, scale=None, tags=None):
    """A GeoTIFF; with a scale, values are stored as numbers of the type."""
    stored = values if scale is None else np.round(values / scale)
    profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        dataset = rasterio.open(path, "w", driver="GTiff", transform=transform, crs=crs, nodata=nodata, **profile)
    with dataset:
        dataset.write(stored.astype(dtype))
        dataset.update_tags(**(tags or {}))
        if scale is not None:
            dataset.scales = (scale,) * len(values)
        for number in range(len(values)):
            dataset.set_band_description(number + 1, ("red", "nir")[number])
    return path


def write_pairs(folder, dates=(0,), goal=1, **arguments):
    """Fine files, coarse files on their own grid, and the coarse target."""
    scene = series()
    fine = [write(folder / f"f{date}.tif", scene.fine[date], **arguments) for date in dates]
    coarse = [write(folder / f"c{date}.tif", scene.coarse[date], COARSE) for date in dates]
    return fine, coarse, write(folder / f"c{goal}_target.tif", scene.coarse[goal], COARSE)


def rmse(path, truth):
    with rasterio.open(path) as dataset:
        values = dataset.read(masked=True).astype(float).filled(np.nan) * dataset.scales[0]
    return float(np.sqrt(np.nanmean(np.square(values[: len(truth)] - truth))))


def test_fused_file_holds_bands_then_sigma_and_a_second_one_their_origin(tmp_path):
    out = tmp_path / "sub" / "fused.tif"
    report = spatiotemporal.run(*write_pairs(tmp_path, (0, 2)), out)
    with rasterio.open(out) as dataset, rasterio.open(tmp_path / "sub" / "fused_qa.tif") as quality:
        assert dataset.descriptions == ("red", "nir", "red_sigma", "nir_sigma")
        assert dataset.transform == quality.transform == TRANSFORM
        assert dataset.crs == quality.crs == UTM
        assert (dataset.read()[2:] > 0).all()
        assert quality.descriptions == ("qa", "source", "pair")
        bits, source, pair = quality.read()
    assert (bits == qa.QaBit.FILLED).all()
    assert (source == qa.Source.TEMPORAL_REGRESSION).all()
    assert set(np.unique(pair)) <= {1, 2}
    assert report["source_share"] == {"temporal_regression": 1.0}
    assert [trial["predicted_pair"] for trial in report["leave_one_out"]] == [2, 1]
    assert rmse(out, series().truth[1]) < 0.5 * rmse(tmp_path / "f0.tif", series().truth[1])


def test_numbers_are_stored_as_the_fine_image_stores_them(tmp_path):
    fine, coarse, target = write_pairs(tmp_path, dtype="int16", scale=1e-4, nodata=-9999)
    spatiotemporal.run(fine, coarse, target, tmp_path / "int.tif")
    plain = write_pairs(tmp_path)
    spatiotemporal.run(*plain, tmp_path / "float.tif")
    with rasterio.open(tmp_path / "int.tif") as integers, rasterio.open(tmp_path / "float.tif") as floats:
        assert integers.dtypes[0] == "int16"
        assert integers.scales == (1e-4,) * 4
        assert integers.nodata == -9999
        difference = np.abs(1e-4 * integers.read() - floats.read())
    assert np.median(difference) < 2e-3
    assert rmse(tmp_path / "int.tif", series().truth[1]) < 1.1 * rmse(tmp_path / "float.tif", series().truth[1])


def test_fine_digital_numbers_and_coarse_reflectance_meet(tmp_path):
    scene = series()
    numbers = write(tmp_path / "numbers.tif", 1e4 * scene.fine[0])
    _, coarse, target = write_pairs(tmp_path)
    report = spatiotemporal.run([numbers], coarse, target, tmp_path / "out.tif")
    assert sum("times 10000" in note for note in report["warnings"]) == 2
    assert rmse(tmp_path / "out.tif", 1e4 * scene.truth[1]) < 1e4 * 0.8 * rmse(tmp_path / "f0.tif", scene.truth[1])


def test_coarse_images_on_the_fine_grid_give_the_same(tmp_path):
    scene = series()
    own = write_pairs(tmp_path)
    spatiotemporal.run(*own, tmp_path / "own.tif")
    copied = [np.repeat(np.repeat(image, RATIO, axis=1), RATIO, axis=2) for image in scene.coarse[:2]]
    paths = [write(tmp_path / f"copied{number}.tif", image) for number, image in enumerate(copied)]
    report = spatiotemporal.run(own[0], paths[:1], paths[1], tmp_path / "copied.tif")
    assert report["coarse_pixel"] == [RATIO, RATIO]
    with rasterio.open(tmp_path / "own.tif") as one, rasterio.open(tmp_path / "copied.tif") as other:
        assert one.read() == pytest.approx(other.read(), abs=1e-5)


def test_tiles_do_not_show(tmp_path, monkeypatch):
    inputs = write_pairs(tmp_path, (0, 2))
    spatiotemporal.run(*inputs, tmp_path / "whole.tif")
    monkeypatch.setattr(spatiotemporal, "_TILE", 50)
    spatiotemporal.run(*inputs, tmp_path / "parts.tif")
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "parts.tif") as cut:
        assert cut.read() == pytest.approx(whole.read(), abs=2e-6)


def test_coarse_image_of_another_place_and_pixel_is_resampled(tmp_path):
    """The image of the pair is shifted by half a pixel against the target."""
    fine, _, target = write_pairs(tmp_path)
    scene = series()
    shifted = scene.coarse[0][:, :-1, :-1] * 0.25 + scene.coarse[0][:, 1:, 1:] * 0.25
    shifted += scene.coarse[0][:, :-1, 1:] * 0.25 + scene.coarse[0][:, 1:, :-1] * 0.25
    moved = write(tmp_path / "moved.tif", shifted, COARSE @ Affine.translation(0.5, 0.5))
    report = spatiotemporal.run(fine, [moved], target, tmp_path / "out.tif")
    assert any("resampled" in note for note in report["warnings"])
    assert rmse(tmp_path / "out.tif", scene.truth[1]) < 0.9 * rmse(fine[0], scene.truth[1])


def test_coarse_images_in_another_reference_system_are_resampled(tmp_path):
    fine, coarse, target = write_pairs(tmp_path)
    bounds = rasterio.warp.transform_bounds(
        UTM, "EPSG:4326", 500_000, 3_200_000 - 30 * SIZE, 500_000 + 30 * SIZE, 3_200_000
    )
    transform = Affine(0.0032, 0.0, bounds[0] - 0.004, 0.0, -0.0032, bounds[3] + 0.004)
    other = []
    for path in (coarse[0], target):
        with rasterio.open(path) as dataset:
            values = np.full((2, 16, 18), np.nan, np.float32)
            rasterio.warp.reproject(
                dataset.read(), values, src_transform=dataset.transform, src_crs=UTM, dst_transform=transform,
                dst_crs="EPSG:4326", src_nodata=0.0, dst_nodata=np.nan, resampling=rasterio.warp.Resampling.bilinear,
            )  # fmt: skip
        other.append(write(tmp_path / f"geographic_{path.name}", values, transform, "EPSG:4326", nodata=np.nan))
    report = spatiotemporal.run(fine, other[:1], other[1], tmp_path / "out.tif")
    assert any("reference system" in note for note in report["warnings"])
    assert rmse(tmp_path / "out.tif", series().truth[1]) < 0.9 * rmse(fine[0], series().truth[1])


def test_files_without_position_are_laid_over_each_other(tmp_path):
    scene = series()
    fine = write(tmp_path / "f.tif", scene.fine[0], crs=None)
    coarse = [write(tmp_path / f"c{date}.tif", scene.coarse[date], Affine.identity(), crs=None) for date in (0, 1)]
    report = spatiotemporal.run([fine], coarse[:1], coarse[1], tmp_path / "out.tif")
    assert any("same area" in note for note in report["warnings"])
    assert report["coarse_pixel"] == [RATIO, RATIO]
    plain = write(tmp_path / "p.tif", scene.fine[0], Affine.identity(), crs=None)
    spatiotemporal.run([plain], coarse[:1], coarse[1], tmp_path / "plain.tif")
    with raster_file.open_raster(tmp_path / "out.tif") as one, raster_file.open_raster(tmp_path / "plain.tif") as other:
        assert np.array_equal(one.read(), other.read())


@pytest.mark.parametrize(
    ("names", "weight"),
    [
        (("a_20200401.tif", "a_20200411.tif", "m_20200404.tif"), 0.3),
        (("a_2020092.tif", "a_2020102.tif", "m_2020095.tif"), 0.3),
        (("a_2020-04-01.tif", "a_20200411T1.tif", "m_20200505.tif"), 1.0),
        (("a_20200401.tif", "a.tif", "m_20200404.tif"), None),
        (("a_20209999.tif", "a_2020999.tif", "m_2020095.tif"), None),
    ],
)
def test_dates_in_names_give_the_weight_in_time(tmp_path, names, weight):
    paths = [write(tmp_path / name, np.zeros((1, 2, 2))) for name in names]
    found, notes = spatiotemporal._date_weight(tuple(paths[:2]), tuple(paths[:2]), paths[2])
    assert found == weight
    assert len(notes) == (weight in (None, 1.0))


def test_date_in_the_tags_counts_more_than_the_one_in_the_name(tmp_path):
    path = write(tmp_path / "x_20200101.tif", np.zeros((1, 2, 2)), tags={"ACQUISITION_DATE": "2021-03-04"})
    assert spatiotemporal._date(path).isoformat() == "2021-03-04"


def test_doubtful_inputs_are_named(tmp_path):
    _, coarse, _ = write_pairs(tmp_path)
    other = write(tmp_path / "other.tif", series().fine[0][:, ::-1, ::-1])
    report = spatiotemporal.run([other], coarse, coarse[0], tmp_path / "out.tif")
    assert any("hardly resembles" in note for note in report["warnings"])
    assert any("image of a pair" in note for note in report["warnings"])


def refused(cause, *arguments):
    with pytest.raises(BadInputError) as caught:
        spatiotemporal.run(*arguments)
    assert caught.value.cause == cause
    assert not arguments[3].exists()


def test_inputs_that_do_not_belong_together_are_refused(tmp_path):
    scene, out = series(), tmp_path / "out.tif"
    fine, coarse, target = write_pairs(tmp_path, (0, 2))
    away = TRANSFORM @ Affine.translation(10_000, 0)
    refused("too_many_pairs", fine, coarse[:1], target, out)
    refused("too_many_pairs", [], [], target, out)
    refused("band_mismatch", fine, coarse, write(tmp_path / "one.tif", scene.coarse[1][:1], COARSE), out)
    refused("duplicate_date", fine[:1] * 2, coarse, target, out)
    refused("grid_mismatch", [fine[0], write(tmp_path / "a.tif", scene.fine[2], away)], coarse, target, out)
    refused("grid_mismatch", [fine[0], write(tmp_path / "b.tif", scene.fine[2], crs="EPSG:32649")], coarse, target, out)
    refused(
        "outside_area",
        fine[:1],
        coarse[:1],
        write(tmp_path / "c.tif", scene.coarse[1], away @ Affine.scale(RATIO)),
        out,
    )
    refused("unit_mismatch", fine[:1], coarse[:1], write(tmp_path / "d.tif", 300 * scene.coarse[1], COARSE), out)
    refused(
        "coarse_finer",
        fine[:1],
        fine[:1],
        write(tmp_path / "e.tif", scene.fine[1], TRANSFORM @ Affine.translation(0.4, 0)),
        out,
    )
    refused("all_missing", fine[:1], coarse[:1], write(tmp_path / "g.tif", np.full((2, 12, 12), np.nan), COARSE), out)
    strange = write(tmp_path / "h.tif", scene.coarse[1][:, :7], Affine.identity(), crs=None)
    refused("crs_missing", fine[:1], coarse[:1], strange, out)


def test_two_pairs_of_one_day_are_refused(tmp_path):
    scene = series()
    fine = [write(tmp_path / f"f{n}_20200401.tif", scene.fine[n]) for n in (0, 2)]
    coarse = [write(tmp_path / f"c{n}.tif", scene.coarse[n], COARSE) for n in (0, 2, 1)]
    refused("duplicate_date", fine, coarse[:2], coarse[2], tmp_path / "out.tif")
