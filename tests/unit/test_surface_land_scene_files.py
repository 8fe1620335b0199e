"""Scenes of fires, burn scars, landslides and damage as files."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio

from infra.surface import land_scene_files, simulation
from processors.quality import BadInputError


def _read(path: Path) -> tuple[np.ndarray, dict[str, int], rasterio.Affine]:
    with rasterio.open(path) as raster:
        names = {name: number for number, name in enumerate(raster.descriptions)}
        return raster.read(), names, raster.transform


def test_fires_come_with_temperatures_tables_and_truth(tmp_path: Path) -> None:
    report = simulation.run("fire", tmp_path, 3, size=96, sensor="viirs", sun_zenith=30.0, fires=4)
    thermal, names, transform = _read(tmp_path / "thermal.tif")
    truth, layers, _ = _read(tmp_path / "truth_thermal.tif")
    fires = pyogrio.raw.read(tmp_path / "truth_thermal_fires.gpkg")

    assert thermal.shape == (9, 48, 48)
    assert 250.0 < np.median(thermal[names["t11"]]) < 330.0
    stated = dict(zip(fires[0]["fields"], fires[3], strict=True))
    assert truth[layers["fire_power"]].sum() == pytest.approx(
        stated["power"][~stated["static"].astype(bool)].sum(), rel=1e-3
    )
    assert report["facts"]["thermal"]["parameters"]["sun_zenith"] == 30.0
    assert json.loads((tmp_path / "truth.json").read_text())["kind"] == "fire"
    first = report["facts"]["thermal"]["fires"][0]
    column, row = ~transform @ (first["easting"], first["northing"])
    assert (column, row) == pytest.approx((first["column"], first["row"]))


def test_static_sources_are_listed_in_degrees(tmp_path: Path) -> None:
    simulation.run("fire", tmp_path, 3, size=96, sensor="modis", sun_zenith=120.0, fires=1, sources=2, list_error=0.0)
    rows = (tmp_path / "thermal_static.csv").read_text().splitlines()
    spots = [
        spot
        for spot in json.loads((tmp_path / "truth.json").read_text())["facts"]["thermal"]["fires"]
        if spot["static"]
    ]
    thermal, names, _ = _read(tmp_path / "thermal.tif")

    assert "red" not in names
    assert np.isfinite(thermal).all()
    assert rows[0] == "longitude,latitude,radius_m"
    turn = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32648", always_xy=True)
    for row, spot in zip(rows[1:], spots, strict=True):
        longitude, latitude, _ = map(float, row.split(","))
        east, north = turn.transform(longitude, latitude)
        assert (east, north) == pytest.approx((spot["easting"], spot["northing"]), abs=0.5)


def test_a_burn_scar_comes_with_its_masks(tmp_path: Path) -> None:
    simulation.run("burn", tmp_path, 4, size=96, cloud_fraction=0.1)
    after, names, _ = _read(tmp_path / "after.tif")
    mask, _, _ = _read(tmp_path / "mask_after.tif")
    classes, _, _ = _read(tmp_path / "truth_class.tif")

    assert list(names) == ["blue", "green", "red", "nir", "swir1", "swir2"]
    assert after.dtype == np.int16
    assert set(np.unique(mask)) == {0, 2}
    assert set(np.unique(classes)) <= {0, 1, 2, 3, 4, 5, 255}


def test_landslides_lie_where_their_outlines_do(tmp_path: Path) -> None:
    simulation.run("landslide", tmp_path, 2, size=240, slides=4, relief=500.0)
    truth, names, transform = _read(tmp_path / "truth.tif")
    meta, _, shapes, _ = pyogrio.raw.read(tmp_path / "truth_landslides.gpkg")

    assert meta["crs"].endswith("32648")
    assert len(shapes) == len(np.unique(truth[names["number"]])) - 1
    bounds = pyogrio.read_bounds(tmp_path / "truth_landslides.gpkg")[1]
    rows, columns = np.nonzero(truth[names["number"]] == 1)
    left, top = transform @ (columns.min(), rows.min())
    assert left == pytest.approx(bounds[0, 0], abs=10.1)
    assert top == pytest.approx(bounds[3, 0], abs=10.1)


def test_damage_comes_with_footprints_that_do_not_tell(tmp_path: Path) -> None:
    report = simulation.run("damage", tmp_path, 1, size=240, radar_before=2, radar_after=1)
    told, asked = (pyogrio.read_info(tmp_path / f"{name}.gpkg") for name in ("truth_footprints", "footprints"))
    radar, _, _ = _read(tmp_path / "radar_before_01.tif")

    assert "grade" in told["fields"]
    assert "grade" not in asked["fields"]
    assert told["features"] == asked["features"] > 5
    assert radar.shape == (2, 12, 12)
    assert radar.max() < 20.0
    assert {"radar_after_01.tif", "before.tif", "after.tif"} <= set(report["files"])


def test_a_scene_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no damage scene"):
        simulation.run("damage", tmp_path, 1, size=245)


@pytest.mark.parametrize("draw", ["drawn_fires", "drawn_burn", "drawn_landslides", "drawn_damage"])
def test_options_are_drawn_by_the_seed(draw: str) -> None:
    one, again, other = (getattr(land_scene_files, draw)(np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert one == again != other
