"""A GeoTIFF that says what its bands are needs nobody to say it; what it does not say is asked for, never guessed."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from infra.imagery import scene_reading
from processors.quality import BadInputError
from tests.unit import imagery_products

TIME = {"ACQUISITIONDATETIME": "2026-07-15T10:20:00Z"}
UNIT = {"BACKSCATTER_UNIT": "dB", "LEVEL": "gamma0"}
POWER = np.array([0.05, 0.01], dtype=np.float32)[:, None, None] * np.ones((2, 12, 18), dtype=np.float32)


def raster(folder: Path, descriptions: tuple[str, ...], values: np.ndarray, tags: dict[str, str]) -> Path:
    path = imagery_products.write_raster(folder / "told.tif", values, nodata=float("nan"))
    with rasterio.open(path, "r+") as file:
        file.descriptions = descriptions
        file.update_tags(**tags)
    return path


def refused(path: Path, **stated) -> str:
    with pytest.raises(BadInputError) as caught:
        scene_reading.open_scene(path, stated=scene_reading.Stated(**stated))
    return caught.value.cause


@pytest.mark.parametrize(
    ("unit", "numbers"), [("dB", 10 * np.log10(POWER)), ("power", POWER), ("amplitude", np.sqrt(POWER))]
)
def test_backscatter_is_read_as_power_whatever_unit_its_tag_states(tmp_path: Path, unit, numbers):
    tags = {**TIME, **UNIT, "BACKSCATTER_UNIT": unit, "SENSOR": "S1A"}
    with scene_reading.open_scene(raster(tmp_path, ("VV", " vh "), numbers, tags)) as scene:
        assert (scene.bands, scene.polarizations) == ((), ("vv", "vh"))
        assert (scene.metadata.sensor, scene.metadata.level) == ("S1A", "gamma0")
        assert scene.time == np.datetime64("2026-07-15T10:20:00")
        np.testing.assert_allclose(scene.read(), POWER, rtol=1e-5)
        stack = scene_reading.stack([scene])
    np.testing.assert_allclose(stack["backscatter"].values[0], 10 * np.log10(POWER), atol=1e-4)


def test_bands_are_found_by_their_names_in_whatever_order(tmp_path: Path):
    path = raster(tmp_path, ("vh", "other"), POWER, {**TIME, **UNIT, "BACKSCATTER_UNIT": "power"})
    with scene_reading.open_scene(path) as scene:
        assert scene.polarizations == ("vh",)
        np.testing.assert_allclose(scene.read(), POWER[:1])


def test_backscatter_without_unit_or_time_or_of_an_unknown_kind_is_refused(tmp_path: Path):
    assert refused(raster(tmp_path, ("vv", "vh"), POWER, {**TIME, "LEVEL": "gamma0"})) == "unit_missing"
    assert refused(raster(tmp_path, ("vv", "vh"), POWER, UNIT)) == "time_missing"
    assert refused(raster(tmp_path, ("vv", "vh"), POWER, {**TIME, **UNIT, "LEVEL": "beta0"})) == "level_unknown"
    contradicted = raster(tmp_path, ("vv", "vh"), POWER, {**TIME, **UNIT})
    assert refused(contradicted, radar_unit="power") == "unit_contradicted"


def test_what_the_caller_states_completes_the_tags(tmp_path: Path):
    path = raster(tmp_path, ("vv", "vh"), POWER, {})
    stated = scene_reading.Stated(radar_unit="power", time=np.datetime64("2026-07-16T00:00:00"))
    with scene_reading.open_scene(path, stated=stated) as scene:
        assert scene.metadata.level == "sigma0"
        assert scene.time == np.datetime64("2026-07-16T00:00:00")
        np.testing.assert_allclose(scene.read(), POWER)


def test_reflectance_is_read_by_the_names_of_its_bands(tmp_path: Path):
    path = raster(tmp_path, ("nir", "red"), POWER, {**TIME, "SENSOR": "X", "LEVEL": "surface_reflectance"})
    with scene_reading.open_scene(path) as scene:
        assert scene.bands == ("red", "nir")
        assert (scene.metadata.sensor, scene.metadata.level) == ("X", "surface_reflectance")
        np.testing.assert_allclose(scene.read(["nir", "red"]), POWER)


@pytest.mark.parametrize("descriptions", [("", ""), ("layer 1", "layer 2")])
def test_a_raster_without_known_names_asks_which_band_is_which(tmp_path: Path, descriptions):
    assert refused(raster(tmp_path, descriptions, POWER, TIME)) == "band_missing"
