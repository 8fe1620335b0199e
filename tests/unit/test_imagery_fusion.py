"""Fusion of simulated strips, coarse scenes and series, against their truth."""

import json

import numpy as np
import pytest
import xarray as xr

from processors.imagery import fusion, grid, qa, strip_scene
from processors.quality import BadInputError
from processors.simulation import scene_series, scenes


def simulated(seed: int, *, lines: int, heading: float = 180.0, cloud_fraction: float = 0.12, lost_lines: float = 0.1):
    """A strip, its scene, a coarse scene three days earlier, and the truth on the scene's grid."""
    strip = scenes.simulate_strip(
        seed=seed, lines=lines, heading=heading, cloud_fraction=cloud_fraction, lost_lines=lost_lines
    )
    scene = strip_scene.scene_from_strip(strip.strip, source=f"strip-{seed}", area="chongqing")
    geobox = grid.geobox_of(scene)
    coarse = scenes.simulate_external_scene(
        strip.landscape,
        seed=seed + 100,
        time=strip.time - np.timedelta64(3, "D"),
        bounds=geobox.boundingbox.bbox,
        area="chongqing",
    )
    return scene, coarse, scenes.truth_on_grid(strip.landscape, geobox, time=strip.time)


@pytest.fixture(scope="module")
def strip_case():
    scene, coarse, truth = simulated(1, lines=80, heading=184.0)  # oblique, so that the footprint leaves corners
    fused = fusion.fuse([scene, coarse])
    return scene, coarse, truth, fused


def test_filled_strip_beats_the_global_mean_and_the_coarse_scene(strip_case):
    scene, coarse, truth, fused = strip_case
    values, source = fused["reflectance"].values[0], fused["source"].values[0]
    filled = source > qa.Source.OBSERVED
    assert filled.sum() > 25_000
    mean = np.nanmean(np.where(source == qa.Source.OBSERVED, values, np.nan), axis=(1, 2))
    copied = grid.match(coarse, grid.geobox_of(scene))["reflectance"].values[0]

    def rmse(estimate: np.ndarray) -> np.ndarray:
        return np.sqrt(np.nanmean((np.broadcast_to(estimate, truth.shape) - truth)[:, filled] ** 2, axis=1))

    error = rmse(values)
    assert (error < 0.5 * rmse(mean[:, None, None])).all()
    assert (error < rmse(copied)).all()


def test_uncertainty_of_the_filled_strip_covers_the_truth(strip_case):
    _, _, truth, fused = strip_case
    filled = fused["source"].values[0] > qa.Source.OBSERVED
    score = (np.abs(fused["reflectance"].values[0] - truth) / fused["reflectance_sigma"].values[0])[:, filled]
    assert 0.60 < (score < 1).mean() < 0.90
    assert 0.88 < (score < 2).mean() < 0.99


def test_nothing_lies_outside_the_footprint_and_all_is_filled_inside(strip_case):
    scene, _, _, fused = strip_case
    inside = scene["footprint"].values[0]
    values = fused["reflectance"].values[0]
    assert np.isfinite(values[:, inside]).all()
    assert np.isnan(values[:, ~inside]).all()
    assert (fused["qa"].values[0][~inside] & qa.QaBit.NODATA > 0).all()
    assert (fused["qa"].values[0][inside] & qa.QaBit.NODATA == 0).all()


def test_every_value_has_an_uncertainty_and_a_source(strip_case):
    fused = strip_case[3]
    present = np.isfinite(fused["reflectance"].values)
    assert np.array_equal(present, np.isfinite(fused["reflectance_sigma"].values))
    assert (fused["reflectance_sigma"].values[present] > 0).all()
    assert np.array_equal(present.all(axis=1), fused["source"].values > 0)
    assert np.array_equal(fused["observed"].values, fused["source"].values == qa.Source.OBSERVED)


def test_attributes_name_inputs_methods_and_scores(strip_case):
    fused = strip_case[3]
    assert fused.attrs["area"] == "chongqing"
    assert json.loads(fused.attrs["inputs"]) == ["simulated-external-101", "strip-1"]
    scores = json.loads(fused.attrs["holdout"])
    assert {score["chosen"] for score in scores} <= {"external_regression", "spatial_neighbors"}
    assert all(score["regression_rmse"] > 0 for score in scores)
    assert fused["qa"].attrs["flag_meanings"].split()[6] == "filled"
    assert fused["qa"].attrs["flag_masks"][6] == 64


def test_elevation_of_the_coarse_scene_is_carried_over(strip_case):
    _, coarse, _, fused = strip_case
    assert float(fused["elevation"].mean()) == pytest.approx(float(coarse["elevation"].mean()), abs=10.0)


def test_result_is_on_an_aligned_grid(strip_case):
    assert grid.alignment_offset(grid.geobox_of(strip_case[3])) <= grid.ALIGNMENT_TOLERANCE


def test_order_of_the_scenes_does_not_matter():
    """Two rivals of the same moment: whichever leads must not depend on the order of arrival."""
    whole, coarse, _ = simulated(2, lines=12)
    scene = whole.isel(x=slice(600, 1100))
    rival = scene.assign(reflectance=scene["reflectance"] + 0.01).assign_attrs(source="rival")
    later = scene.assign_coords(time=scene["time"] + np.timedelta64(5, "D"))
    first, second = (fusion.fuse(order) for order in ([scene, rival, coarse, later], [later, coarse, rival, scene]))
    assert first.identical(second)
    for name in first.variables:
        assert first[name].values.tobytes() == second[name].values.tobytes(), name


def test_wholly_clouded_strip_is_flagged_and_not_invented():
    scene, coarse, _ = simulated(3, lines=12)
    values = scene["reflectance"].values
    values[:] = np.where(np.isfinite(values), np.array([0.65, 0.65, 0.64, 0.66, 0.55])[None, :, None, None], np.nan)
    fused = fusion.fuse([scene, coarse])
    inside = scene["footprint"].values[0]
    assert np.isnan(fused["reflectance"]).all()
    bits = fused["qa"].values[0][inside]
    assert (bits & qa.QaBit.INSUFFICIENT > 0).all()
    assert (bits & qa.QaBit.NODATA > 0).all()
    assert (bits & qa.QaBit.CLOUD > 0).mean() > 0.9
    assert len(json.loads(fused.attrs["insufficient_dates"])) == 1


def test_scenes_of_one_moment_complete_each_other():
    scene, _, truth = simulated(4, lines=24, cloud_fraction=0.0, lost_lines=0.0)
    middle = scene.sizes["x"] // 2
    west, east = (scene.copy(deep=True) for _ in range(2))
    west["reflectance"][..., middle:] = np.nan
    east["reflectance"][..., :middle] = np.nan
    fused = fusion.fuse([west, east])
    assert fused.sizes["time"] == 1
    seen = np.isfinite(scene["reflectance"].values[0]).all(axis=0)
    assert fused["observed"].values[0][seen].mean() > 0.97
    assert np.nanmedian(np.abs(fused["reflectance"].values[0] - truth)) < 0.002


def test_scenes_on_other_grids_are_matched():
    scene, coarse, _ = simulated(5, lines=12, cloud_fraction=0.0)
    geographic = grid.match(
        coarse,
        grid.GeoBox((60, 560), grid.rasterio.Affine(0.01, 0, 103.8, 0, -0.01, 29.9), "EPSG:4326"),
    )
    fused = fusion.fuse([scene, geographic])
    assert grid.same(grid.geobox_of(fused), grid.geobox_of(scene))
    assert "external_regression" in fused.attrs["holdout"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda scenes: [], "no_scene"),
        (lambda scenes: [scenes[0], scenes[1].assign_attrs(area="wanzhou")], "area_mismatch"),
        (lambda scenes: [scenes[0].drop_vars("spatial_ref"), scenes[1]], "crs_missing"),
        (lambda scenes: [scenes[0].isel(band=slice(0, 2)), scenes[1]], "band_missing"),
    ],
)
def test_scenes_that_cannot_be_fused_are_refused(strip_case, change, cause):
    with pytest.raises(BadInputError) as refusal:
        fusion.fuse(change([strip_case[0], strip_case[1]]))
    assert refusal.value.cause == cause


def test_fused_dataset_survives_netcdf(strip_case, tmp_path):
    fused = strip_case[3].isel(y=slice(100, 140), x=slice(900, 960))
    path = tmp_path / "fused.nc"
    fused.to_netcdf(path)
    with xr.open_dataset(path) as read:
        assert grid.same(grid.geobox_of(read), grid.geobox_of(fused))
        np.testing.assert_array_equal(read["reflectance"], fused["reflectance"])
        np.testing.assert_array_equal(read["qa"], fused["qa"])


def radar_view(series: xr.Dataset, *, day: str, level: float) -> xr.Dataset:
    shape = (1, 2, series.sizes["y"], series.sizes["x"])
    view = xr.Dataset(
        {"backscatter": (("time", "polarization", "y", "x"), np.full(shape, level, dtype=np.float32), {"units": "dB"})},
        coords={"time": [np.datetime64(day, "ns")], "polarization": ["vv", "vh"]},
        attrs={"source": f"radar-{day}", "sensor": "c-sar", "area": "yuzhong"},
    )
    return grid.assign(view, grid.geobox_of(series))


def test_a_radar_view_joins_the_optical_dates_near_in_time():
    landscape = scenes.simulate_landscape(seed=2)
    geobox = grid.covering((642_000.0, 3_261_000.0, 643_500.0, 3_262_500.0), crs=scenes.CRS, resolution=50.0)
    times = [np.datetime64("2024-05-01"), np.datetime64("2024-07-01")]
    optical = scene_series.simulate_series(landscape, seed=1, geobox=geobox, times=times).stack
    bare = optical.drop_vars(["backscatter", "polarization"]).assign_attrs(area="yuzhong")
    views = [radar_view(bare, day="2024-05-04", level=-9.0), radar_view(bare, day="2024-09-01", level=-5.0)]
    fused = fusion.fuse([*views, bare])
    assert float(fused["backscatter"].isel(time=0).mean()) == pytest.approx(-9.0, abs=1e-3)
    assert bool(np.isnan(fused["backscatter"].isel(time=1)).all())
    assert "c-sar" in fused.attrs["sensor"]


def test_radar_alone_is_no_optical_scene():
    landscape = scenes.simulate_landscape(seed=2)
    geobox = grid.covering((642_000.0, 3_261_000.0, 643_500.0, 3_262_500.0), crs=scenes.CRS, resolution=50.0)
    optical = scene_series.simulate_series(landscape, seed=1, geobox=geobox, times=[np.datetime64("2024-05-01")]).stack
    with pytest.raises(BadInputError) as caught:
        fusion.fuse([radar_view(optical, day="2024-05-04", level=-9.0)])
    assert caught.value.cause == "no_scene"


def small_scene(*, day: str, source: str, seed: int, **layers: np.ndarray) -> xr.Dataset:
    """A scene of 40 by 50 pixels with further layers (y, x)."""
    shape = (1, 4, 40, 50)
    values = np.random.default_rng(seed).uniform(0.05, 0.4, shape).astype(np.float32)
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values)}
        | {name: (("time", "y", "x"), layer[None]) for name, layer in layers.items()},
        coords={"time": [np.datetime64(day, "ns")], "band": ["blue", "green", "red", "nir"]},
        attrs={"source": source, "sensor": "test", "area": "yuzhong"},
    )
    geobox = grid.covering((642_000.0, 3_261_000.0, 643_500.0, 3_262_200.0), crs=scenes.CRS, resolution=30.0)
    return grid.assign(scene, geobox)


def test_footprint_and_flags_of_scenes_of_one_moment_are_joined_and_others_get_what_says_nothing():
    west = np.zeros((40, 50), dtype=bool)
    west[:, :30] = True
    marked = np.zeros((40, 50), dtype=np.uint16)
    marked[5, 5] = qa.QaBit.LAYOVER
    first = small_scene(day="2024-05-01", source="a", seed=1, footprint=west, qa=marked)
    second = small_scene(day="2024-05-01", source="b", seed=1, footprint=~west, qa=np.zeros_like(marked))
    first["reflectance"].values[..., 30:] = np.nan
    second["reflectance"].values[..., :30] = np.nan
    second["reflectance"].values[..., 10:14, 35:40] = np.nan
    whole = small_scene(day="2024-06-01", source="c", seed=2)
    whole["reflectance"].values[..., 20:24, 10:14] = np.nan
    fused = fusion.fuse([first, second, whole])
    assert fused.sizes["time"] == 2
    assert (fused["qa"].values & qa.QaBit.NODATA == 0).all()
    displaced = fused["qa"].values & qa.QaBit.LAYOVER > 0
    assert np.argwhere(displaced).tolist() == [[0, 5, 5]]


def test_scenes_without_a_common_band_are_refused():
    first = small_scene(day="2024-05-01", source="a", seed=1)
    second = small_scene(day="2024-06-01", source="b", seed=2)
    second = second.assign_coords(band=["swir1", "swir2", "coastal", "red_edge1"])
    with pytest.raises(BadInputError) as caught:
        fusion.fuse([first, second])
    assert caught.value.cause == "band_missing"
