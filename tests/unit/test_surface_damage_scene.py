"""Forward model of damaged buildings: grades, roofs, shadows, debris, radar."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from processors.simulation import damage_scene

SHAPE = (320, 320)
STILL: dict[str, Any] = {
    "sun_elevation": (50.0, 50.0),
    "sun_azimuth": (140.0, 140.0),
    "view_zenith": (0.0, 0.0),
    "brown": (0.2, 0.2),
    "cars": 0.0,
    "dust": 0.0,
    "gain": (1.0, 1.0),
    "noise": 0.0,
    "shift": (0.0, 0.0),
    "footprint_error": 0.0,
}


@pytest.fixture(scope="module")
def scene() -> damage_scene.DamageScene:
    return damage_scene.simulate_damage_scene(1, shape=SHAPE, grades=(0.4, 0.2, 0.2, 0.2), **STILL)


def _roughness(image: np.ndarray, inside: np.ndarray) -> float:
    fine = image - ndimage.uniform_filter(image, 5)
    return float(fine[inside].std())


def test_grades_have_the_shares_asked_for(scene: damage_scene.DamageScene) -> None:
    count = np.bincount([house.grade for house in scene.buildings], minlength=4) / len(scene.buildings)

    np.testing.assert_allclose(count, [0.4, 0.2, 0.2, 0.2], atol=0.06)


def test_the_broken_share_of_the_roof_grows_with_the_grade(scene: damage_scene.DamageScene) -> None:
    limits = ((0.0, 0.0), (0.04, 0.25), (0.28, 0.68), (1.0, 1.0))

    for house in scene.buildings:
        lower, upper = limits[house.grade]
        assert lower <= house.share <= upper


def test_maps_and_outlines_agree(scene: damage_scene.DamageScene) -> None:
    for house in scene.buildings:
        inside = scene.building_number == house.number
        assert inside.sum() * scene.pixel_size**2 == pytest.approx(house.outline.area, rel=0.08)
        assert np.all(scene.grade[inside] == house.grade)
        assert house.mapped.equals(house.outline)
    assert np.all((scene.grade == 255) == (scene.building_number == 0))


def test_what_is_undamaged_does_not_change_where_nothing_else_does(scene: damage_scene.DamageScene) -> None:
    whole = np.isin(scene.building_number, [house.number for house in scene.buildings if house.grade == 0])
    untouched = ndimage.binary_erosion(whole, iterations=4)
    away = ~ndimage.binary_dilation(scene.debris | (scene.grade == 2) | (scene.grade == 3), iterations=50)

    assert (untouched & away).any()
    assert np.abs(scene.after - scene.before)[:, untouched & away].max() < 1e-5


def test_collapse_takes_height_and_shadow(scene: damage_scene.DamageScene) -> None:
    for house in scene.buildings:
        inside = scene.building_number == house.number
        left = scene.height_after[inside].mean() / scene.height_before[inside].mean()
        if house.grade == 3:
            assert left < 0.35
        else:
            assert left == pytest.approx(1.0) if house.grade < 2 else 0.3 < left < 0.95
    shade = [(image.mean(axis=0) < 0.05).sum() for image in (scene.before, scene.after)]
    assert shade[1] < shade[0]


def test_rubble_is_rough(scene: damage_scene.DamageScene) -> None:
    destroyed, whole = (scene.grade == 3), (scene.grade == 0)

    assert _roughness(scene.after_pan, destroyed) > 1.5 * _roughness(scene.before_pan, destroyed)
    assert _roughness(scene.after_pan, whole) == pytest.approx(_roughness(scene.before_pan, whole), rel=0.2)


def test_debris_lies_around_what_fell(scene: damage_scene.DamageScene) -> None:
    fallen = (scene.grade == 3) | (scene.grade == 2) | (scene.grade == 1)
    distance = ndimage.distance_transform_edt(~fallen) * scene.pixel_size

    assert scene.debris[scene.grade == 3].all()
    assert not scene.debris[scene.grade == 0].mean() > 0.05
    assert 1.0 < distance[scene.debris].max() < 25.0


def test_houses_lean_away_from_the_camera() -> None:
    upright, leaning = (
        damage_scene.simulate_damage_scene(
            1,
            shape=SHAPE,
            **{**STILL, "view_zenith": (0.0, angle), "view_azimuth": (0.0, 90.0)},
            grades=(1.0, 0.0, 0.0, 0.0),
            height=(12.0, 12.0),
            trees=0.0,
        )
        for angle in (0.0, 20.0)
    )
    # Seen from the east, roofs move west by 12 m x tan 20 degree.
    pixels = round(12.0 * np.tan(np.radians(20.0)) / upright.pixel_size)
    roof = ndimage.binary_erosion(upright.building_number > 0, iterations=3)
    roof[:, : pixels + 1] = False
    rows, columns = np.nonzero(roof)
    off = np.abs(leaning.after[:, rows, columns - pixels] - upright.after[:, rows, columns]).mean(axis=0)
    assert np.median(off) < 0.01 < np.abs(leaning.after - upright.after)[:, roof].mean()


def test_shift_sun_season_and_footprints_change_as_asked(scene: damage_scene.DamageScene) -> None:
    changed = damage_scene.simulate_damage_scene(1, shape=SHAPE, grades=(1.0, 0.0, 0.0, 0.0))
    slip = {
        (round(h.mapped.centroid.x - h.outline.centroid.x, 6), round(h.mapped.centroid.y - h.outline.centroid.y, 6))
        for h in changed.buildings
    }

    assert len(slip) == 1
    assert slip != {(0.0, 0.0)}
    assert np.abs(changed.after - changed.before).mean() > 0.01
    assert not changed.debris.any()


def test_radar_walls_fade_by_grade_and_dates_before_agree() -> None:
    scene = damage_scene.simulate_damage_scene(
        1, shape=(800, 800), grades=(0.5, 0.0, 0.0, 0.5), radar_before=20, radar_after=20
    )
    per_radar = round(scene.radar_pixel_size / scene.pixel_size)
    share = (scene.grade == 3).reshape(40, per_radar, 40, per_radar).mean(axis=(1, 3))
    whole = (scene.grade == 0).reshape(40, per_radar, 40, per_radar).mean(axis=(1, 3))
    measured = 10.0 * np.log10(scene.radar_after[:, 0].mean(axis=0) / scene.radar_before[:, 0].mean(axis=0))

    assert scene.radar_before.shape == (20, 2, 40, 40)
    assert np.median(scene.radar_change[0][share > 0.4]) < -1.5
    assert np.abs(scene.radar_change[0][(share == 0.0) & (whole > 0.4)]).max() < 1e-4
    assert np.std(measured - scene.radar_change[0]) < 1.6
    # Speckle of 4.4 looks: 2.2 dB in one date.
    spread = np.std(10.0 * np.log10(scene.radar_before[:, 0]), axis=0)
    assert np.median(spread) == pytest.approx(2.2, abs=0.35)


def test_damage_scenes_repeat_and_impossible_ones_are_refused(scene: damage_scene.DamageScene) -> None:
    again = damage_scene.simulate_damage_scene(1, shape=SHAPE, grades=(0.4, 0.2, 0.2, 0.2), **STILL)

    np.testing.assert_array_equal(again.after, scene.after)
    np.testing.assert_array_equal(again.radar_after, scene.radar_after)
    for wrong in ({"shape": (330, 320)}, {"shape": (40, 40)}, {"pixel_size": 0.7}):
        with pytest.raises(ValueError, match="no damage scene"):
            damage_scene.simulate_damage_scene(1, **wrong)
    with pytest.raises(ValueError, match="do not add up"):
        damage_scene.simulate_damage_scene(1, grades=(0.5, 0.1, 0.1, 0.1))


def test_damage_need_not_gather() -> None:
    scene = damage_scene.simulate_damage_scene(1, shape=(160, 160), clustered=False, trees=0.0)

    assert {house.grade for house in scene.buildings} >= {0, 3}
