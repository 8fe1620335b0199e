"""Burn severity of scars of known severity, on scenes made by code that knows nothing of the classification."""

import numpy as np
import pytest

from processors.simulation import burn_scene
from retrieval.surface import burn_severity

pytestmark = pytest.mark.oracle

# Images of the same days of two years, as severity is mapped (Key and Benson 2006): plants are as far on both.
SAME_DAYS = {"days": (235.0, 235.0)}
KINDS = {
    "fields harvested": SAME_DAYS,
    "nothing harvested": {**SAME_DAYS, "harvest": 0.0},
    "steep under a low sun": {**SAME_DAYS, "harvest": 0.0, "relief": 1200.0, "sun_elevation": (50.0, 38.0)},
}
LATER = {"days": (225.0, 245.0)}
HARD = {
    "weeks apart, fields harvested": LATER,
    "weeks apart, steep under a low sun": {**LATER, "relief": 1200.0, "sun_elevation": (50.0, 38.0)},
    "a quarter of a pixel of displacement": {**SAME_DAYS, "harvest": 0.0, "shift": (0.25, 0.25)},
}


def found_in(scene):
    """Severity by all bands a sensor of land has."""
    bands = {name: (scene.before[number], scene.after[number]) for number, name in enumerate(scene.bands)}
    pair = burn_severity.BurnPair(
        bands["nir"][0],
        bands["swir2"][0],
        bands["nir"][1],
        bands["swir2"][1],
        scene.cloud_before | scene.cloud_after | scene.water | scene.terrain_shadow,
        *(layer for name in burn_severity.HELPFUL for layer in bands[name]),
    )
    return burn_severity.classify(pair, season=burn_severity.season(pair))


def confusion(scene):
    """Pixels by true and by found class, of those that can be judged."""
    found = found_in(scene)
    judged = (found.classes != burn_severity.NO_DATA) & (scene.classes != 255)
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


@pytest.mark.parametrize("kind", HARD)
def test_classes_agree_over_the_whole_scene_though_fields_ripen_and_dates_are_displaced(kind):
    scenes = [burn_scene.simulate_burn_scene(seed, **HARD[kind]) for seed in (9001, 9002)]
    assert kappa(sum(confusion(scene) for scene in scenes)) >= 0.85


def test_a_light_fire_without_char_is_not_lost_among_ripening_fields():
    mild = {**LATER, "burned_share": 0.05, "severity": 0.7, "patchiness": 0.3, "scars": 1}
    table = sum(confusion(burn_scene.simulate_burn_scene(seed, **mild)) for seed in (9001, 9002))
    assert table[2:, 2:].sum() >= 0.7 * table[2:].sum()
    assert kappa(table) >= 0.7


def test_where_nothing_burnt_next_to_nothing_is_called_burnt():
    scene = burn_scene.simulate_burn_scene(9001, **LATER, scars=0)
    found = found_in(scene)
    known = found.classes != burn_severity.NO_DATA
    burnt = known & (found.classes >= burn_severity.LOW)
    assert burnt.sum() <= 0.006 * known.sum()
    # What ripened and was harvested is counted, not hidden.
    assert found.other_change.sum() >= 0.05 * known.sum()
