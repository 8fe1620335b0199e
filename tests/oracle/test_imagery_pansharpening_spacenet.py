"""Pansharpening of the public WorldView scene, its own bands the truth at the reduced scale (Wald's protocol)."""

import numpy as np
import pytest
import rasterio

from processors.imagery import pansharpening, sharpening_grid, sharpening_quality
from tests.unit import imagery_sharpening_references as references

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def scene(shared_data):
    folder = shared_data("imagery") / "spacenet"
    with rasterio.open(folder / "ms1.tif") as ms, rasterio.open(folder / "pan1.tif") as pan:
        geometry = sharpening_grid.geometry_from_transforms(ms.transform, ms.shape, pan.transform, pan.shape)
        return ms.read().astype(np.float32), pan.read(1).astype(np.float32), geometry._replace(ratio=(2.0, 2.0))


@pytest.mark.parametrize(("ms_gain", "pan_gain"), [(0.3, 0.15), (0.3, 0.3), (0.25, 0.5), (0.35, 0.2)])
def test_error_and_angle_keep_the_bars(scene, ms_gain, pan_gain):
    sensor = references.degraded(*scene, ms_gain=ms_gain, pan_gain=pan_gain)
    plan = pansharpening.choose(sensor.ms, sensor.pan, geometry=sensor.geometry)
    made = pansharpening.sharpen(sensor.ms, sensor.pan, plan=plan).values
    known = references.textbook(sensor)
    error = {name: sharpening_quality.ergas(image, sensor.truth, ratio=2.0) for name, image in known.items()}
    ours = sharpening_quality.ergas(made, sensor.truth, ratio=2.0)
    assert ours <= min(error[name] for name in ("gsa", "cbd", "hpm"))
    assert ours <= 0.85 * error["brovey"]
    angle = sharpening_quality.spectral_angle(made, sensor.truth)
    assert angle <= 1.03 * sharpening_quality.spectral_angle(known["interpolation"], sensor.truth)


def test_scene_as_given_tells_that_its_pixels_are_repeated(scene):
    ms, pan, geometry = scene
    plan = pansharpening.choose(ms, pan, geometry=geometry)
    assert any("repeat their pixels 2 x 2" in text for text in plan.warnings)
