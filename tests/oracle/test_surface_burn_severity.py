"""Burn severity of scars of known severity, on scenes made by code that knows nothing of the classification."""

import numpy as np
import pytest

from processors.simulation import burn_scene, imagery_landscape
from retrieval.surface import burn_severity

pytestmark = pytest.mark.oracle

# Images of the same days of two years, as severity is mapped (Key and Benson 2006): plants are as far on both.
SAME_DAYS = {"days": (235.0, 235.0)}
KINDS = {
    "fields harvested": SAME_DAYS,
    "nothing harvested": {**SAME_DAYS, "harvest": 0.0},
    "steep under a low sun": {**SAME_DAYS, "harvest": 0.0, "relief": 1200.0, "sun_elevation": (50.0, 38.0)},
}
FOREST = imagery_landscape.FOREST
LATER = {"days": (225.0, 245.0), "harvest": 0.0}


def confusion(scene, *, inside=False):
    """Pixels by true and by found class, of those that can be judged."""
    nir, swir, red = (scene.bands.index(band) for band in ("nir", "swir2", "red"))
    pair = burn_severity.BurnPair(
        scene.before[nir],
        scene.before[swir],
        scene.after[nir],
        scene.after[swir],
        scene.cloud_before | scene.cloud_after | scene.water | scene.terrain_shadow,
        scene.before[red],
        scene.after[red],
    )
    found = burn_severity.classify(pair, season=burn_severity.season(pair))
    judged = (found.classes != burn_severity.NO_DATA) & (scene.classes != 255)
    if inside:
        judged &= scene.perimeter & (scene.land_cover == FOREST)
    true, given = scene.classes[judged].astype(np.int64), found.classes[judged].astype(np.int64) - 1
    return np.bincount(6 * true + given, minlength=36).reshape(6, 6)


def kappa(table):
    """Agreement beyond chance (Cohen 1960)."""
    total = table.sum()
    chance = float(table.sum(axis=0) @ table.sum(axis=1)) / total**2
    return (np.trace(table) / total - chance) / (1.0 - chance)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_agree_with_the_truth_of_an_independent_scene(kind):
    scenes = [burn_scene.simulate_burn_scene(seed, **KINDS[kind]) for seed in (9001, 9002)]
    table = sum(confusion(scene) for scene in scenes)
    assert np.count_nonzero(table.sum(axis=1)[1:]) == 5
    assert kappa(table) >= 0.85


def test_the_season_is_taken_out_of_burnt_forest_though_the_crops_of_the_scene_ripen():
    scenes = [burn_scene.simulate_burn_scene(seed, **LATER) for seed in (9001, 9002)]
    # Weeks apart, season and fire mix in one pixel: the bar of 0.85 holds for the same days of two years.
    assert kappa(sum(confusion(scene, inside=True) for scene in scenes)) >= 0.8
