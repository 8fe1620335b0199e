"""Ships against forward-modelled radar scenes of an author who knows no algorithm."""

import numpy as np
import pytest

from processors.simulation import ship_scene
from retrieval.surface import ship

pytestmark = pytest.mark.oracle


def judged(scene: ship_scene.ShipScene) -> tuple[int, int, int, float, list[float]]:
    """Found and all searchable ships from 40 m, free objects that are none, area [km2], length errors over sigma."""
    found = ship.detect(
        {"vv": scene.vv.astype(np.float32), "vh": scene.vh.astype(np.float32)},
        scene.water,
        pixel_size=(10.0, 10.0),
        parameters=ship.ShipParameters(),
    )
    ships = found.ships
    real = np.zeros(len(ships.row), dtype=bool)
    hits, wanted, scores = 0, 0, []
    for truth in scene.ships:
        away = np.hypot(ships.row - truth.image_row, ships.column - truth.image_column) * 10.0
        near = away < max(60.0, 0.6 * truth.length)
        real |= near
        if truth.searchable and not truth.moored and truth.length >= 40.0:
            wanted += 1
            hits += bool(near.any())
            if near.any():
                best = int(np.argmin(away))
                scores.append(float((ships.length[best] - truth.length) / ships.length_sigma[best]))
    for row, column in scene.buoys:
        real |= np.hypot(ships.row - row, ships.column - column) * 10.0 < 40.0
    return hits, wanted, int((~real & (ships.setting == ship.UNDER_WAY)).sum()), found.searched_area, scores


def test_ships_of_forty_meters_are_found_with_few_false_alarms():
    scenes = [ship_scene.simulate_ship_scene(seed, shape=(600, 600)) for seed in (60, 61, 62)]
    scenes += [ship_scene.simulate_ship_scene(seed, shape=(700, 700), water="open") for seed in (63, 64)]
    parts = [judged(scene) for scene in scenes]
    hits, wanted, false, area = (sum(part[position] for part in parts) for position in range(4))
    assert wanted >= 30
    assert area > 80
    assert hits >= 0.9 * wanted
    assert false <= max(1.0, area / 100.0)
    scores = np.abs([score for part in parts for score in part[4]])
    assert np.mean(scores < 1) >= 0.5
    assert np.mean(scores < 2) >= 0.85


def test_islets_of_lakes_and_bridges_of_narrow_rivers_are_no_ships():
    scenes = [ship_scene.simulate_ship_scene(seed, shape=(600, 600), water="lake") for seed in range(301, 307)]
    narrow = {"river_width": 90.0, "moored_rows": 0, "shortest": 40.0, "longest": 110.0, "moving": False}
    scenes += [ship_scene.simulate_ship_scene(seed, shape=(500, 500), **narrow) for seed in range(311, 315)]
    hits, wanted, false, area = (sum(parts) for parts in zip(*(judged(scene)[:4] for scene in scenes), strict=True))
    assert wanted >= 50
    assert area > 95
    assert hits >= 0.9 * wanted
    assert false <= 1
