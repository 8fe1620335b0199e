"""Simulated scenes as files hold what the simulators made, and say all that made it."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from infra.imagery import simulation
from processors.quality import BadInputError
from processors.simulation import imagery_clouds, imagery_sensor

SIZE = 64
EXPECTED = {
    "sensor": {"ms", "pan", "truth", "reduced_ms", "reduced_pan", "truth_reduced"},
    "pair": {"reference", "target", "dem", "truth_target", "truth_displacement", "truth_cloud"},
    "clouds": {"scene", "dem", "truth", "truth_class", "truth_mask", "truth_opacity", "truth_land_cover"},
    "change": {f"{name}_{index}" for name in ("fine", "coarse", "truth") for index in range(3)} | {"truth_change"},
    "radar": {"optical", "radar", "dem", "truth_radar", "truth_incidence", "truth_mask"},
}


@pytest.mark.parametrize("kind", sorted(EXPECTED))
def test_every_kind_writes_its_files_and_its_parameters(kind: str, tmp_path: Path) -> None:
    report = simulation.run(kind, tmp_path / "scene", 5, size=SIZE)
    assert {Path(name).stem for name in report["files"]} == EXPECTED[kind]
    assert json.loads((tmp_path / "scene" / "truth.json").read_text()) == report
    assert report["parameters"]["shape"] == [SIZE, SIZE]
    assert {"bands"} <= set(report["parameters"])
    for name in report["files"]:
        with rasterio.open(tmp_path / "scene" / name) as raster:
            assert raster.crs.to_epsg() == 32648
            assert raster.nodata is not None
            assert all(raster.descriptions)
            assert np.isfinite(raster.read(masked=True).astype(float)).all()


def test_reflectance_comes_back_to_half_a_number(tmp_path: Path) -> None:
    simulation.run(
        "clouds",
        tmp_path,
        3,
        size=SIZE,
        bands=("blue", "nir"),
        cloud_fraction=0.2,
        sun_elevation=45.0,
        sun_azimuth=150.0,
        day_of_year=180.0,
        cloud_kind="deck",
    )
    scene = imagery_clouds.simulate_clouds(
        seed=3,
        shape=(SIZE, SIZE),
        bands=("blue", "nir"),
        cloud_fraction=0.2,
        sun_elevation=45.0,
        sun_azimuth=150.0,
        day_of_year=180.0,
        kind="deck",
    )
    with rasterio.open(tmp_path / "scene.tif") as raster:
        assert raster.dtypes == ("int16", "int16")
        assert raster.descriptions == ("blue", "nir")
        stored = raster.read() * np.array(raster.scales)[:, None, None]
        assert raster.tags()["ACQUISITIONDATETIME"].startswith("2025-06-29")
    np.testing.assert_allclose(stored, scene.scene["reflectance"].values[0], atol=0.51e-4)
    with rasterio.open(tmp_path / "truth_class.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), scene.classification)


def test_the_sensor_keeps_its_counts_and_its_offset_grid(tmp_path: Path) -> None:
    given = {"grid_offset": (0.5, -0.25), "panchromatic": "visible", "day_of_year": 150.0}
    simulation.run("sensor", tmp_path, 4, size=SIZE, **given)
    sensor = imagery_sensor.simulate_sensor(seed=4, shape=(SIZE, SIZE), **given)
    with rasterio.open(tmp_path / "ms.tif") as ms, rasterio.open(tmp_path / "pan.tif") as pan:
        np.testing.assert_array_equal(ms.read(), sensor.ms_counts)
        np.testing.assert_array_equal(pan.read(1), sensor.pan_counts)
        assert (ms.transform.c - pan.transform.c, ms.transform.f - pan.transform.f) == (-0.25, -0.5)
        assert ms.scales[0] == pytest.approx(sensor.quantum)


def test_a_seed_draws_another_shift_and_an_unrelated_pair_has_none(tmp_path: Path) -> None:
    one, other = (simulation.run("pair", tmp_path / str(seed), seed, size=32) for seed in (1, 2))
    assert one["parameters"]["shift"] != other["parameters"]["shift"]
    assert one["facts"]["median_displacement"] == pytest.approx(one["parameters"]["shift"], abs=1e-6)
    unrelated = simulation.run("pair", tmp_path / "unrelated", 1, size=32, unrelated=True)
    assert unrelated["facts"] == {"related": False, "median_displacement": None}
    radar = simulation.run("radar", tmp_path / "radar", 1, size=32, unrelated=True)
    assert radar["facts"]["displacement"] == [None, None]


def test_what_cannot_be_simulated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no scene is") as refused:
        simulation.run("hologram", tmp_path, 1)
    assert refused.value.cause == "kind_unknown"
    for wrong in ({"size": 50}, {"size": 48, "colour": "pink"}):
        with pytest.raises(BadInputError, match="cannot be simulated") as refused:
            simulation.run("sensor", tmp_path, 1, **wrong)
        assert refused.value.cause == "parameter_invalid"
    assert not list(tmp_path.iterdir())
