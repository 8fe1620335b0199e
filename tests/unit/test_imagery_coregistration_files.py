"""Co-registration from file to file: georeferencing honored, numbers kept, refusal stated."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from infra.imagery import coregistration, raster_file
from processors.quality import BadInputError
from processors.simulation import imagery_pairs

UTM = "EPSG:32648"
ORIGIN = Affine(10, 0, 500_000, 0, -10, 3_300_000)
SHIFT = (0.7, -1.4)


@pytest.fixture(scope="module")
def pair() -> imagery_pairs.SimulatedPair:
    return imagery_pairs.simulate_pair(seed=11, shape=(160, 160), shift=SHIFT[::-1])


def written(path, values, transform=ORIGIN, crs=UTM, *, names=None, scale=1e-4, nodata=65535):
    numbers = np.where(np.isnan(values), nodata, np.round(np.clip(values, 0, None) / scale)).astype(np.uint16)
    profile = {"driver": "GTiff", "dtype": "uint16", "nodata": nodata, "transform": transform, "crs": crs}
    count, rows, columns = values.shape
    with rasterio.open(path, "w", count=count, height=rows, width=columns, **profile) as dataset:
        dataset.write(numbers)
        dataset.scales = (scale,) * count
        for number, name in enumerate(names or (), 1):
            dataset.set_band_description(number, name)
    return path


def stored(path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return (
        written(folder / "reference.tif", pair.reference, names=pair.bands),
        written(folder / "target.tif", pair.target, names=pair.bands),
    )


@pytest.fixture(scope="module")
def corrected(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "corrected.tif"
    return coregistration.run(*files, out), out


def test_report_is_json_and_states_the_shift_in_target_pixels(corrected):
    report = json.loads(json.dumps(corrected[0], allow_nan=False))
    assert report["status"] == "ok"
    assert (report["shift_x"], report["shift_y"]) == pytest.approx(SHIFT, abs=0.03)
    assert report["rmse"] < 0.2
    assert report["ce90"] < 0.3
    assert report["qa_bits"] == 0
    kept = [point for point in report["tie_points"] if point["kept"]]
    assert len(kept) == report["n_tie_points"] >= 25
    assert np.median([point["dx"] for point in kept]) == pytest.approx(report["shift_x"], abs=0.05)


def test_corrected_target_lies_on_the_reference_in_its_own_numbers(corrected, files, pair):
    with rasterio.open(corrected[1]) as dataset, rasterio.open(files[1]) as target:
        assert dataset.transform == target.transform
        assert dataset.dtypes == target.dtypes
        assert dataset.scales == target.scales
        assert dataset.nodata == target.nodata
        assert dataset.descriptions == target.descriptions
        values = np.where(dataset.read() == dataset.nodata, np.nan, dataset.read() * 1e-4)
    ideal, inner = imagery_pairs.simulate_pair(seed=11, shape=(160, 160)).target, np.s_[:, 5:-5, 5:-5]
    error = np.sqrt(np.nanmean((values - ideal)[inner] ** 2, axis=(1, 2)))
    before = np.sqrt(np.mean((pair.target - ideal)[inner] ** 2, axis=(1, 2)))
    assert (error < 0.4 * before).all()


def test_second_pass_finds_nothing_left(corrected, files, tmp_path):
    report = coregistration.run(files[0], corrected[1], tmp_path / "again.tif")
    assert (report["shift_x"], report["shift_y"]) == pytest.approx((0, 0), abs=0.03)


def test_corrected_transform_does_what_the_correction_does(corrected):
    report = corrected[0]
    a, _, c, _, e, f = report["corrected_transform"]
    assert (a, e) == (10, -10)
    assert c == pytest.approx(500_000 - 10 * report["displacement"][0][2])
    assert f == pytest.approx(3_300_000 + 10 * report["displacement"][1][2])


@pytest.mark.parametrize(("right", "down"), [(3.0, -2.0), (0.4, 5.3)])
def test_georeferencing_of_both_rasters_is_honored(right, down, pair, files, tmp_path):
    """A target that claims to lie further right than it does shows its content displaced to the right by as much."""
    elsewhere = written(tmp_path / "t.tif", pair.target, ORIGIN @ Affine.translation(right, down), names=pair.bands)
    report = coregistration.run(files[0], elsewhere, tmp_path / "o.tif")
    assert report["status"] == "ok"
    assert (report["shift_x"], report["shift_y"]) == pytest.approx((SHIFT[0] + right, SHIFT[1] + down), abs=0.04)


def test_part_of_a_scene_lies_where_its_georeferencing_says(pair, files, tmp_path):
    """Cut from the middle and georeferenced rightly, a part is displaced no more than the whole."""
    part = written(
        tmp_path / "t.tif", pair.target[:, 20:150, 30:150], ORIGIN @ Affine.translation(30, 20), names=pair.bands
    )
    report = coregistration.run(files[0], part, tmp_path / "o.tif")
    assert report["status"] == "ok"
    assert (report["shift_x"], report["shift_y"]) == pytest.approx(SHIFT, abs=0.04)


def test_reference_of_another_system_and_pixel_size_is_brought_to_the_target(pair, files, tmp_path):
    transform, shape = Affine(0.00012, 0, 104.9995, 0, -0.0001, 29.8295), (190, 160)
    geographic = np.full((4, *shape), np.nan, dtype=np.float32)
    reproject(
        pair.reference,
        geographic,
        src_transform=ORIGIN,
        src_crs=UTM,
        dst_transform=transform,
        dst_crs="EPSG:4326",
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.cubic,
    )
    assert np.isfinite(geographic).mean() > 0.5
    reference = written(tmp_path / "r.tif", geographic, transform, "EPSG:4326", names=pair.bands)
    report = coregistration.run(reference, files[1], tmp_path / "o.tif", bands=(4, 4))
    assert report["status"] == "ok"
    assert (report["shift_x"], report["shift_y"]) == pytest.approx(SHIFT, abs=0.08)


def test_coarser_and_finer_references_find_the_same_shift(tmp_path):
    fine = imagery_pairs.simulate_pair(seed=12, shape=(240, 240), shift=(2.4, -1.2), pixel_size=5.0)
    half = Affine(5, 0, 500_000, 0, -5, 3_300_000)
    mean = [view.reshape(4, 120, 2, 120, 2).mean(axis=(2, 4)) for view in (fine.reference, fine.target)]
    small = [written(tmp_path / f"s{k}.tif", view, names=fine.bands) for k, view in enumerate(mean)]
    large = [written(tmp_path / f"l{k}.tif", view, half) for k, view in enumerate((fine.reference, fine.target))]
    finer = coregistration.run(large[0], small[1], tmp_path / "o.tif", bands=(4, 4))
    coarser = coregistration.run(small[0], large[1], tmp_path / "p.tif", bands=(4, 4))
    assert (finer["shift_x"], finer["shift_y"]) == pytest.approx((-0.6, 1.2), abs=0.05)
    assert (coarser["shift_x"], coarser["shift_y"]) == pytest.approx((-1.2, 2.4), abs=0.12)


def test_wrong_place_is_refused_and_the_target_left_unchanged(files, tmp_path):
    other = imagery_pairs.simulate_pair(seed=77, shape=(160, 160))
    target = written(tmp_path / "t.tif", other.target, names=other.bands)
    report = coregistration.run(files[0], target, tmp_path / "o.tif")
    assert report["status"] == "refused"
    assert report["reason"]
    assert report["shift_x"] is None
    assert report["qa_bits"] == 256
    np.testing.assert_array_equal(stored(tmp_path / "o.tif"), stored(target))
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert dataset.tags()["COREGISTRATION"] == "refused"


def test_missing_data_do_not_bleed(pair, files, tmp_path):
    holed = pair.target.copy()
    holed[:, 60:90, 60:90] = np.nan
    target = written(tmp_path / "t.tif", holed, names=pair.bands)
    coregistration.run(files[0], target, tmp_path / "o.tif")
    numbers = stored(tmp_path / "o.tif")[:, 5:-5, 5:-5]
    whole = numbers[numbers != 65535]
    assert whole.max() <= np.round(1.15e4 * np.nanmax(pair.target))
    assert (numbers == 65535).sum() == pytest.approx(4 * 900, rel=0.1)


def test_bands_are_paired_by_name_then_by_position(files, pair, tmp_path):
    with raster_file.open_raster(files[0]) as reference:
        swapped = written(tmp_path / "t.tif", pair.target[::-1], names=pair.bands[::-1])
        with raster_file.open_raster(swapped) as target:
            pairs = coregistration._candidate_pairs(reference, target)
        assert (3, 2) in pairs
        assert all(one + other == 5 for one, other in pairs)
        bare = written(tmp_path / "b.tif", pair.target)
        with raster_file.open_raster(bare) as target:
            assert coregistration._candidate_pairs(reference, target) == [(k, k) for k in (1, 2, 3, 4)]
        single = written(tmp_path / "p.tif", pair.target[3:])
        with raster_file.open_raster(single) as target:
            assert coregistration._candidate_pairs(reference, target) == [(k, 1) for k in (1, 2, 3, 4)]


def test_similar_band_is_chosen_for_a_single_band_target(files, pair, tmp_path):
    target = written(tmp_path / "t.tif", pair.target[3:])
    report = coregistration.run(files[0], target, tmp_path / "o.tif")
    assert report["status"] == "ok"
    assert report["bands"] == {"reference": 4, "target": 1}


def test_unknown_band_is_refused(files, tmp_path):
    with pytest.raises(BadInputError, match="no band 9"):
        coregistration.run(*files, tmp_path / "o.tif", bands=(1, 9))


def test_rasters_without_system_share_their_plane(pair, tmp_path):
    reference = written(tmp_path / "r.tif", pair.reference[3:], crs=None)
    target = written(tmp_path / "t.tif", pair.target[3:], crs=None)
    report = coregistration.run(reference, target, tmp_path / "o.tif")
    assert (report["shift_x"], report["shift_y"]) == pytest.approx(SHIFT, abs=0.05)
    assert len(report["warnings"]) == 2


def test_one_raster_without_system_is_refused(files, pair, tmp_path):
    target = written(tmp_path / "t.tif", pair.target, crs=None)
    with pytest.raises(BadInputError) as caught:
        coregistration.run(files[0], target, tmp_path / "o.tif")
    assert caught.value.cause == "crs_missing"
    assert not (tmp_path / "o.tif").exists()


def test_places_far_apart_are_refused(files, pair, tmp_path):
    far = written(tmp_path / "t.tif", pair.target, Affine(20, 0, 900_000, 0, -20, 3_300_000), names=pair.bands)
    report = coregistration.run(files[0], far, tmp_path / "o.tif")
    assert report["status"] == "refused"
    assert "in common" in report["reason"]


def test_tiny_target_is_refused(files, pair, tmp_path):
    target = written(tmp_path / "t.tif", pair.target[:, :20, :20], names=pair.bands)
    assert coregistration.run(files[0], target, tmp_path / "o.tif")["status"] == "refused"


def test_relation_to_elevation_is_reported_with_a_dem_on_another_grid(tmp_path):
    tilted = imagery_pairs.simulate_pair(seed=8, shape=(180, 180), relief=400.0, look_angle=6.0)
    names = tilted.bands
    reference = written(tmp_path / "r.tif", tilted.reference, names=names)
    target = written(tmp_path / "t.tif", tilted.target, names=names)
    coarse = ndimage.uniform_filter(tilted.dem, 3)[1::3, 1::3]
    dem = written(tmp_path / "d.tif", coarse[None], Affine(30, 0, 500_000, 0, -30, 3_300_000), scale=0.1)
    report = coregistration.run(reference, target, tmp_path / "o.tif", dem=dem, bands=(4, 4))
    assert report["terrain"]["significant"]
    assert any("elevation" in text for text in report["warnings"])


def test_open_rasters_give_the_same_estimate(files, corrected):
    with raster_file.open_raster(files[0]) as reference, raster_file.open_raster(files[1]) as target:
        result = coregistration.estimate(reference, target)
    assert result.shift_x == corrected[0]["shift_x"]
