"""Forward model of burn scars: severity, spectra, truth, what else changes."""

from typing import Any

import numpy as np
import pytest

from processors.simulation import burn_scene, imagery_landscape

SHAPE = (120, 120)
QUIET: dict[str, Any] = {
    "noise": 0.0,
    "gain_error": 0.0,
    "cloud_fraction": 0.0,
    "air_offset": (0.0, 0.0),
    "dryness": 0.0,
    "harvest": 0.0,
}
SAME_SUN: dict[str, Any] = {"days": (225.0, 225.0), "sun_elevation": (60.0, 60.0), "sun_azimuth": (135.0, 135.0)}


def _ratio(image: np.ndarray) -> np.ndarray:
    near, short = image[burn_scene.BANDS.index("nir")], image[burn_scene.BANDS.index("swir2")]
    return np.asarray((near - short) / (near + short))


@pytest.fixture(scope="module")
def scene() -> burn_scene.BurnScene:
    return burn_scene.simulate_burn_scene(4, shape=SHAPE)


def test_the_burn_ratio_of_forest_falls_steadily_with_severity() -> None:
    severity = np.linspace(0.0, 3.0, 61)[None]
    forest = np.repeat(np.array([0.025, 0.045, 0.025, 0.330, 0.150, 0.060])[:, None, None], 61, axis=2)

    after = burn_scene.burned_reflectance(forest, severity, 0.1 * np.ones_like(severity))
    assert np.all(np.diff(_ratio(after)) < 0.0)
    assert np.all(np.diff(after[3]) < 0.0)
    np.testing.assert_allclose(after[:, :, 0], forest[:, :, 0])
    assert _ratio(forest)[0, 0] - _ratio(after)[0, -1] > 0.66


def test_shares_of_what_covers_the_ground_add_up_and_none_is_negative() -> None:
    severity = np.linspace(0.0, 3.0, 301)[None]
    black = burn_scene.burned_reflectance(np.zeros((6, 1, 301)), severity, np.zeros_like(severity))
    white = burn_scene.burned_reflectance(np.ones((6, 1, 301)), severity, np.zeros_like(severity))

    assert black.min() >= 0.0
    assert (white - black).min() >= -1e-12
    assert white.max() <= 1.0 + 1e-12


def test_without_anything_else_the_images_hold_the_truth() -> None:
    scene = burn_scene.simulate_burn_scene(4, shape=SHAPE, relief=1.0, **QUIET, **SAME_SUN)
    difference = _ratio(scene.before) - _ratio(scene.after)
    land = ~scene.water & ~scene.terrain_shadow

    np.testing.assert_allclose(difference[land], scene.dnbr[land], atol=0.02)
    assert np.abs(scene.dnbr[~scene.perimeter & land]).max() < 0.2
    assert np.median(np.abs(scene.dnbr[~scene.perimeter & land])) < 1e-6


def test_classes_are_those_of_the_noise_free_difference(scene: burn_scene.BurnScene) -> None:
    land = ~scene.water
    limits = (-np.inf, *burn_scene.THRESHOLDS, np.inf)

    assert set(np.unique(scene.classes[scene.water])) <= {255}
    for number in range(len(burn_scene.CLASSES)):
        inside = scene.dnbr[land & (scene.classes == number)]
        assert np.all((inside >= limits[number]) & (inside < limits[number + 1]))
    assert len(np.unique(scene.classes[land])) >= 5


def test_fire_stays_on_land_within_its_perimeter_and_leaves_islands(scene: burn_scene.BurnScene) -> None:
    assert not (scene.burned & scene.water).any()
    assert not (scene.burned & ~scene.perimeter).any()
    assert 0.05 < (scene.perimeter & ~scene.burned).sum() / scene.perimeter.sum() < 0.4
    assert scene.severity.min() >= 0.0
    assert 2.0 < scene.severity.max() <= 3.0


def test_the_land_does_not_depend_on_the_fire(scene: burn_scene.BurnScene) -> None:
    other = burn_scene.simulate_burn_scene(4, shape=SHAPE, burned_share=0.3, severity=2.5)

    np.testing.assert_array_equal(other.dem, scene.dem)
    np.testing.assert_array_equal(other.land_cover, scene.land_cover)
    assert other.burned.sum() > 1.5 * scene.burned.sum()
    assert other.dnbr[other.burned].mean() > scene.dnbr[scene.burned].mean()


def test_harvested_fields_look_burned_and_are_not(scene: burn_scene.BurnScene) -> None:
    scene = burn_scene.simulate_burn_scene(4, shape=SHAPE, harvest=0.4, cloud_fraction=0.0)
    fields = scene.harvested & (scene.land_cover == imagery_landscape.SUMMER_CROP)
    difference = _ratio(scene.before) - _ratio(scene.after)

    assert fields.sum() > 20
    assert np.median(difference[fields]) > 0.2
    assert np.all(scene.severity[scene.harvested] == 0.0)
    assert np.median(np.abs(scene.dnbr[scene.harvested])) < 0.01


def test_clouds_are_bright_and_in_their_mask() -> None:
    clear, cloudy = (
        burn_scene.simulate_burn_scene(4, shape=SHAPE, cloud_fraction=share, noise=0.0, gain_error=0.0)
        for share in (0.0, 0.2)
    )

    assert not clear.cloud_before.any()
    assert 0.2 < cloudy.cloud_before.mean() < 0.7
    outside = ~cloudy.cloud_before
    outside[:2], outside[-2:] = False, False
    assert np.abs(cloudy.before - clear.before)[:, outside].max() < 0.06
    assert cloudy.before[0][cloudy.cloud_before].max() > 0.3


def test_a_shift_moves_the_second_image_alone() -> None:
    still, moved = (
        burn_scene.simulate_burn_scene(4, shape=SHAPE, shift=shift, cloud_fraction=0.05)
        for shift in ((0.0, 0.0), (2.0, 0.0))
    )

    np.testing.assert_array_equal(moved.before, still.before)
    np.testing.assert_array_equal(moved.dnbr, still.dnbr)
    np.testing.assert_allclose(moved.after[:, 10:-10], still.after[:, 8:-12], atol=1e-5)


def test_a_scene_may_hold_no_fire() -> None:
    scene = burn_scene.simulate_burn_scene(4, shape=SHAPE, scars=0)

    assert not scene.burned.any()
    assert set(np.unique(scene.classes)) <= {1, 255}


def test_burn_scenes_repeat_and_impossible_ones_are_refused(scene: burn_scene.BurnScene) -> None:
    np.testing.assert_array_equal(burn_scene.simulate_burn_scene(4, shape=SHAPE).after, scene.after)
    assert not np.array_equal(burn_scene.simulate_burn_scene(5, shape=SHAPE).after, scene.after)
    with pytest.raises(ValueError, match="no burn scene"):
        burn_scene.simulate_burn_scene(1, shape=(10, 10))
    with pytest.raises(ValueError, match="no burn scene"):
        burn_scene.simulate_burn_scene(1, burned_share=0.95)
