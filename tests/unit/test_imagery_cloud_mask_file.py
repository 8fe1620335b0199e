"""Cloud mask from file to file: encoding, refusals, warnings, and tiles that do not show."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from infra.imagery import cloud_mask
from processors.quality import BadInputError
from processors.simulation import imagery_clouds


def from_origin(left: float, top: float, width: float, height: float) -> Affine:
    return Affine(width, 0.0, left, 0.0, -height, top)


BANDS = {"blue": 1, "green": 2, "red": 3, "nir": 4}
ORIGIN = from_origin(600_000.0, 3_300_000.0, 20.0, 20.0)


@pytest.fixture(scope="module")
def simulated() -> imagery_clouds.SimulatedClouds:
    return imagery_clouds.simulate_clouds(
        seed=21,
        shape=(240, 260),
        pixel_size=20.0,
        relief=60.0,
        cloud_fraction=0.3,
        sun_azimuth=150.0,
        sun_elevation=55.0,
    )


def written(path: Path, values: np.ndarray, **profile: object) -> Path:
    given = {"crs": "EPSG:32648", "transform": ORIGIN, "dtype": values.dtype.name}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        **{**given, **profile},
    ) as raster:
        raster.write(values)
    return path


def numbers(simulated: imagery_clouds.SimulatedClouds) -> np.ndarray:
    return np.clip(np.rint(simulated.scene["reflectance"].values[0] * 1e4), 1, 65_534).astype(np.uint16)


@pytest.fixture
def scene(tmp_path, simulated) -> Path:
    return written(tmp_path / "scene.tif", numbers(simulated))


def balanced(truth: np.ndarray, found: np.ndarray) -> float:
    return 0.5 * float(found[truth].mean() + (~found[~truth]).mean())


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(path) as mask:
        assert mask.count == 2
        assert mask.nodata == 255
        assert mask.scales == (1.0, 1.0)
        return mask.read(1), mask.read(2)


def test_mask_of_a_file_holds_classes_and_a_probability_from_zero_to_one(tmp_path, scene, simulated):
    dem = written(tmp_path / "dem.tif", simulated.dem[None])
    report = cloud_mask.run(scene, tmp_path / "m.tif", bands=BANDS, sun_azimuth=150.0, sun_elevation=55.0, dem=dem)
    classes, probability = read(tmp_path / "m.tif")
    assert set(np.unique(classes)) <= {0, 1, 2, 3, 4, 5, 255}
    assert 0.0 <= probability.min() <= probability.max() <= 1.0
    clear_cut = ~simulated.thin
    assert balanced(simulated.cloud[clear_cut], np.isin(classes, (1, 2))[clear_cut]) > 0.95
    assert balanced(simulated.shadow, classes == 3) > 0.85
    assert report["status"] == "ok"
    assert report["shadows"]["matched"]
    assert report["shares"]["cloud"] == pytest.approx((classes == 2).mean(), abs=1e-6)


def test_scene_judged_on_a_coarse_grid_keeps_its_edges_and_shows_no_tiles(tmp_path, scene, simulated, monkeypatch):
    sun = {"sun_azimuth": 150.0, "sun_elevation": 55.0}
    report = cloud_mask.run(scene, tmp_path / "one.tif", bands=BANDS, largest=100, **sun)
    whole = cloud_mask.tiling.tiles
    monkeypatch.setattr(cloud_mask.tiling, "tiles", lambda shape, halo: whole(shape, size=64, halo=halo))
    cloud_mask.run(scene, tmp_path / "many.tif", bands=BANDS, largest=100, **sun)
    one, many = read(tmp_path / "one.tif"), read(tmp_path / "many.tif")
    assert report["judged_every"] == 3
    assert np.array_equal(one[0], many[0])
    np.testing.assert_allclose(one[1], many[1], atol=1e-6)
    clear_cut = ~simulated.thin
    assert balanced(simulated.cloud[clear_cut], np.isin(one[0], (1, 2))[clear_cut]) > 0.93
    assert balanced(simulated.shadow, one[0] == 3) > 0.8


def test_height_model_on_another_grid_is_brought_to_that_of_the_scene(tmp_path, scene, simulated):
    sun = {"sun_azimuth": 150.0, "sun_elevation": 55.0}
    same = written(tmp_path / "dem.tif", simulated.dem[None])
    wide = np.pad(simulated.dem, 8, mode="edge")[None]
    shifted = written(
        tmp_path / "wide.tif", wide, transform=from_origin(600_000.0 - 160, 3_300_000.0 + 160, 20.0, 20.0)
    )
    cloud_mask.run(scene, tmp_path / "a.tif", bands=BANDS, dem=same, **sun)
    cloud_mask.run(scene, tmp_path / "b.tif", bands=BANDS, dem=shifted, **sun)
    assert (read(tmp_path / "a.tif")[0] == read(tmp_path / "b.tif")[0]).mean() > 0.999


def test_voids_of_the_height_model_are_named_and_an_empty_one_is_refused(tmp_path, scene, simulated):
    sun = {"sun_azimuth": 150.0, "sun_elevation": 55.0}
    holes = simulated.dem[None].copy()
    holes[:, :20, :20] = np.nan
    report = cloud_mask.run(scene, tmp_path / "m.tif", bands=BANDS, dem=written(tmp_path / "h.tif", holes), **sun)
    assert any("no height on" in text for text in report["warnings"])
    nothing = written(tmp_path / "n.tif", np.full_like(holes, np.nan))
    with pytest.raises(BadInputError) as refusal:
        cloud_mask.run(scene, tmp_path / "m.tif", bands=BANDS, dem=nothing, **sun)
    assert refusal.value.cause == "dem_empty"
    lost = written(tmp_path / "l.tif", holes[:, :50], crs=None)
    with pytest.raises(BadInputError) as refusal:
        cloud_mask.run(scene, tmp_path / "m.tif", bands=BANDS, dem=lost, **sun)
    assert refusal.value.cause == "crs_missing"


def test_scene_in_degrees_has_its_pixels_in_meters(tmp_path, simulated):
    degrees = from_origin(106.0, 30.0, 20.0 / (111_320.0 * np.cos(np.radians(30.0))), 20.0 / 111_320.0)
    path = written(tmp_path / "deg.tif", numbers(simulated), crs="EPSG:4326", transform=degrees)
    report = cloud_mask.run(path, tmp_path / "m.tif", bands=BANDS, sun_azimuth=150.0, sun_elevation=55.0)
    truth = simulated.layers[0].heights - simulated.dem.mean()
    assert truth.min() - 200 < report["shadows"]["cloud_height_m"] < truth.max() + 200


@pytest.mark.parametrize(
    ("choice", "cause", "named"),
    [
        ({"bands": {"blue": 1, "green": 2, "red": 3}}, "band_missing", "nir"),
        ({"bands": {**BANDS, "nir": 9}}, "band_missing", "band 9"),
        ({"bands": {**BANDS, "cirrus": 1}}, "band_missing", "cirrus"),
        ({"bands": {**BANDS, "nir": 1}}, "band_missing", "one band"),
        ({"bands": BANDS, "sun_azimuth": 120.0}, "sun_angle", "belong together"),
        ({"bands": BANDS, "sun_azimuth": 120.0, "sun_elevation": -3.0}, "sun_angle", "-3"),
    ],
)
def test_missing_or_impossible_choices_are_refused_by_name(tmp_path, scene, choice, cause, named):
    with pytest.raises(BadInputError, match=named) as refusal:
        cloud_mask.run(scene, tmp_path / "m.tif", **choice)
    assert refusal.value.cause == cause
    assert not (tmp_path / "m.tif").exists()


def test_scene_without_a_value_is_refused(tmp_path):
    path = written(tmp_path / "empty.tif", np.zeros((4, 40, 40), np.uint16), nodata=0)
    with pytest.raises(BadInputError) as refusal:
        cloud_mask.run(path, tmp_path / "m.tif", bands=BANDS)
    assert refusal.value.cause == "no_data"


def dark_lake(simulated: imagery_clouds.SimulatedClouds) -> np.ndarray:
    values = numbers(simulated)
    clear = ~simulated.cloud & ~simulated.shadow
    row, column = np.argwhere(clear[40:-40, 40:-40])[0] + 40
    values[:, row : row + 24, column : column + 24] = np.array([300, 250, 100, 0])[:, None, None]
    values[:, row + 8 : row + 12, column + 8 : column + 12] = 0
    return values


def test_zero_over_dark_water_is_water_unless_the_file_calls_it_no_data(tmp_path, simulated):
    values = dark_lake(simulated)
    zeros = (values == 0).all(axis=0)
    plain = cloud_mask.run(written(tmp_path / "a.tif", values), tmp_path / "ma.tif", bands=BANDS)
    assert plain["shares"]["no_data"] == 0.0
    declared = cloud_mask.run(written(tmp_path / "b.tif", values, nodata=0), tmp_path / "mb.tif", bands=BANDS)
    assert any("dark water may have been taken for no data" in text for text in declared["warnings"])
    classes = read(tmp_path / "mb.tif")[0]
    assert (classes == 255).sum() == zeros.sum()


def test_scene_full_of_zeros_that_are_not_declared_is_remarked(tmp_path, simulated):
    values = numbers(simulated)
    values[:, :30] = 0
    report = cloud_mask.run(written(tmp_path / "a.tif", values), tmp_path / "m.tif", bands=BANDS)
    assert any("declares no no-data value" in text for text in report["warnings"])


def test_wholly_clouded_scene_is_flagged(tmp_path):
    values = np.full((4, 60, 60), 6000, np.uint16)
    values += np.arange(60, dtype=np.uint16)
    report = cloud_mask.run(written(tmp_path / "a.tif", values), tmp_path / "m.tif", bands=BANDS)
    assert report["status"] == "flagged"
    assert report["shares"]["cloud"] > 0.99
    assert any("no clear ground" in text for text in report["warnings"])
    assert any("sun is not given" in text for text in report["warnings"])
