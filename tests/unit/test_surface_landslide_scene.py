"""Forward model of landslides: fall line, outlines, what they lay bare, what else changes."""

import numpy as np
import pytest
from scipy import ndimage

from processors.simulation import landslide_scene

SHAPE = (240, 240)


@pytest.fixture(scope="module")
def scene() -> landslide_scene.LandslideScene:
    return landslide_scene.simulate_landslide_scene(2, shape=SHAPE, slides=6, relief=500.0, snow=True)


def _greenness(image: np.ndarray) -> np.ndarray:
    return np.asarray((image[3] - image[2]) / (image[3] + image[2]))


def _height(dem: np.ndarray, path: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.map_coordinates(dem, path.T, order=1))


def test_the_fall_line_of_a_plane_is_its_dip() -> None:
    rows, columns = np.mgrid[0:80, 0:80]
    dem = (500.0 - 6.0 * rows - 3.0 * columns).astype(np.float32)

    path = landslide_scene.fall_line(dem, (20.0, 20.0), pixel_size=10.0, length=200.0)
    steps = np.diff(path, axis=0)
    np.testing.assert_allclose(np.hypot(*steps.T), 0.5, atol=1e-6)
    np.testing.assert_allclose(steps[:, 0] / steps[:, 1], 2.0, atol=1e-4)
    assert len(path) == 41


def test_the_fall_line_ends_where_it_flattens() -> None:
    rows = np.repeat(np.arange(100.0)[:, None], 60, axis=1)
    dem = np.where(rows < 50, 600.0 - 6.0 * rows, 300.0 - 0.5 * (rows - 50)).astype(np.float32)

    path = landslide_scene.fall_line(dem, (20.0, 30.0), pixel_size=10.0, length=5000.0, least_slope=8.0)
    assert 49.0 < path[-1, 0] < 52.0


def test_the_fall_line_of_a_pit_ends_in_it() -> None:
    rows, columns = np.mgrid[0:60, 0:60]
    dem = (5.0 * np.hypot(rows - 30, columns - 30)).astype(np.float32)

    path = landslide_scene.fall_line(dem, (12.0, 15.0), pixel_size=10.0, length=5000.0)
    assert np.hypot(*(path[-1] - 30.0)) < 1.5


def test_slides_start_on_steep_slopes_and_run_downhill(scene: landslide_scene.LandslideScene) -> None:
    smooth = ndimage.gaussian_filter(scene.dem, 1.5)

    assert len(scene.slides) == 6
    for slide in scene.slides:
        assert 25.0 <= slide.start_slope <= 50.0
        assert 60.0 <= slide.length <= 600.0
        assert slide.drop > 0.0
        assert np.all(np.diff(_height(smooth, slide.path - 0.5)) < 1e-3)


def test_outlines_shares_and_areas_agree(scene: landslide_scene.LandslideScene) -> None:
    for slide in scene.slides:
        covered = scene.share[scene.slide_number == slide.number].sum() * scene.pixel_size**2
        assert covered == pytest.approx(slide.area)
        # What fell into water is no longer there to be seen.
        wet = scene.water[scene.slide_number == slide.number].any() or slide.area < 0.9 * slide.outline.area
        assert slide.area <= 1.02 * slide.outline.area
        assert wet or slide.area == pytest.approx(slide.outline.area, rel=0.05)
        assert slide.area < 1.9 * slide.length * slide.width
        # Elongated along the path.
        assert slide.length > 1.5 * slide.width
    np.testing.assert_array_equal(scene.slide, scene.share >= 0.5)
    assert np.all((scene.share > 0.0) == (scene.slide_number > 0))


def test_slides_lay_soil_bare(scene: landslide_scene.LandslideScene) -> None:
    change = _greenness(scene.after) - _greenness(scene.before)
    lit = scene.slide & ~scene.terrain_shadow & (scene.decoy == 0)
    quiet = (scene.share == 0.0) & (scene.decoy == 0) & (scene.land_cover == 0) & ~scene.terrain_shadow

    assert np.median(change[lit]) < -0.25
    assert abs(np.median(change[quiet])) < 0.08


def test_slides_do_not_overlap_and_stay_out_of_water(scene: landslide_scene.LandslideScene) -> None:
    for place, slide in enumerate(scene.slides):
        for other in scene.slides[place + 1 :]:
            assert not slide.outline.intersects(other.outline)
    assert not (scene.share[scene.water] > 0.0).any()


def test_decoys_are_there_and_no_slides(scene: landslide_scene.LandslideScene) -> None:
    kinds = {landslide_scene.DECOY_KINDS[number - 1] for number in np.unique(scene.decoy) if number}

    assert kinds >= {"harvest", "clear-cut", "quarry", "flood deposit", "burn scar", "snow", "cloud or shadow"}
    assert not (scene.decoy[scene.share > 0.0] > 0).any()


def test_ground_that_was_bare_before_does_not_change() -> None:
    scene = landslide_scene.simulate_landslide_scene(
        2, shape=SHAPE, slides=0, relief=500.0, bare=0.05, clouds=0.0, noise=0.0
    )
    bare = (scene.decoy == 1 + landslide_scene.DECOY_KINDS.index("bare before")) & ~scene.terrain_shadow
    change = _greenness(scene.after) - _greenness(scene.before)

    assert bare.sum() > 50
    assert abs(np.median(change[bare])) < 0.03
    assert np.median(_greenness(scene.before)[bare]) < 0.4


def test_new_roads_follow_contours() -> None:
    for seed in range(2, 8):
        scene = landslide_scene.simulate_landslide_scene(
            seed, shape=SHAPE, slides=0, relief=500.0, roads=1, quarries=0, clear_cuts=0, clouds=0.0
        )
        road = scene.decoy == 1 + landslide_scene.DECOY_KINDS.index("road")
        if road.sum() > 40:
            assert np.ptp(scene.dem[road]) < 0.2 * np.ptp(scene.dem)
            return
    pytest.fail("no road was built")


def test_slides_follow_the_rain() -> None:
    scene = landslide_scene.simulate_landslide_scene(3, shape=(400, 400), slides=30, relief=600.0)
    crowns = [scene.rain[int(slide.row), int(slide.column)] for slide in scene.slides]

    assert np.mean(crowns > np.median(scene.rain)) > 0.6


def test_the_land_does_not_depend_on_the_slides(scene: landslide_scene.LandslideScene) -> None:
    other = landslide_scene.simulate_landslide_scene(2, shape=SHAPE, slides=0, relief=500.0, snow=True)

    np.testing.assert_array_equal(other.dem, scene.dem)
    np.testing.assert_array_equal(other.before, scene.before)
    assert not other.share.any()


def test_gentle_land_has_fewer_slides_than_asked_for() -> None:
    scene = landslide_scene.simulate_landslide_scene(
        2, shape=(100, 100), relief=20.0, slides=5, burn=False, flood_deposits=0.0, bare=0.0
    )

    assert len(scene.slides) < 5


def test_landslide_scenes_repeat_and_impossible_ones_are_refused(scene: landslide_scene.LandslideScene) -> None:
    again = landslide_scene.simulate_landslide_scene(2, shape=SHAPE, slides=6, relief=500.0, snow=True)

    np.testing.assert_array_equal(again.after, scene.after)
    with pytest.raises(ValueError, match="no landslide scene"):
        landslide_scene.simulate_landslide_scene(1, shape=(20, 200))
