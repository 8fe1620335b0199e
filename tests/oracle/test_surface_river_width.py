"""River width against analytic rivers of an author who knows no algorithm."""

import numpy as np
import pytest

from processors.simulation import river_scene
from retrieval.surface import river_width

pytestmark = pytest.mark.oracle

SEED = 7400
RIVERS = (
    {"width": 55.0, "angle": 75.0},
    {"width": 120.0, "bridges": 2, "shape": (420, 420)},
    {"width": 220.0, "islands": 2, "shape": (500, 500)},
    {"width": 150.0, "tributaries": 1, "course": "arc", "angle": 110.0, "shape": (420, 420)},
    {"width": 90.0, "course": "arc", "angle": 20.0},
    {"width": 75.0, "angle": 140.0, "bridges": 1},
)


@pytest.fixture(scope="module")
def scenes():
    return [river_scene.simulate_river_scene(SEED + number, **options) for number, options in enumerate(RIVERS)]


def errors(scene: river_scene.RiverScene, water: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Errors [pixel], errors over sigma, and share of the measurable sections that were measured."""
    size = scene.pixel_size
    found = river_width.measure(
        water.astype(np.float32), pixel_size=(size, size), parameters=river_width.RiverWidthParameters()
    ).sections
    place = scene.grid.transform
    truth = scene.width_at(place.a * (found.column + 0.5) + place.c, place.e * (found.row + 0.5) + place.f)
    measured = np.isfinite(found.width)
    assert measured[~truth.measurable].sum() <= 0.02 * len(measured)
    both = measured & truth.measurable
    error = (found.width - truth.water_width)[both]
    return error / size, error / found.sigma[both], both.sum() / truth.measurable.sum()


@pytest.mark.parametrize("kind", ["share", "mask", "probability"])
def test_width_is_unbiased_and_its_sigma_honest(scenes, kind):
    waters = {
        "share": [scene.fraction for scene in scenes],
        "mask": [np.where(scene.mask == 255, np.nan, scene.mask) for scene in scenes],
        "probability": [scene.probability for scene in scenes],
    }[kind]
    judged = [errors(scene, water) for scene, water in zip(scenes, waters, strict=True)]
    for error, _, share in judged:
        assert abs(error.mean()) <= 0.1
        assert np.sqrt(np.mean(error**2)) <= 0.3
        assert share >= 0.85
    scores = np.abs(np.concatenate([score for _, score, _ in judged]))
    assert 0.60 <= np.mean(scores < 1) <= 0.75
    assert 0.90 <= np.mean(scores < 2) <= 0.98
    assert np.mean(scores < 0.5) < 0.6
