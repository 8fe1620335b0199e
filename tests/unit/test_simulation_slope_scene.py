"""The simulated slopes obey what they claim: slides follow the fall line, decoys lie where decoys lie."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from processors.simulation import slope_scene

SHAPE = (260, 260)
SEED = 5


@pytest.fixture(scope="module")
def scene() -> slope_scene.SlopeScene:
    return slope_scene.simulate_slope_scene(SEED, shape=SHAPE, slides=6, clear_cuts=3, quarries=3, roads=3, clouds=2)


def slope_of(dem: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray(np.degrees(np.arctan(np.hypot(*np.gradient(dem.astype(float), 10.0)))))


def test_every_slide_descends_all_its_way_from_a_steep_green_head(scene: slope_scene.SlopeScene) -> None:
    slope = slope_of(scene.dem)
    for slide in scene.slides:
        heights = ndimage.map_coordinates(scene.dem.astype(float), slide.path.T, order=1)
        assert (np.diff(heights) < 0.3).all()
        run = np.hypot(*np.diff(slide.path, axis=0).T).sum() * 10.0
        steepest = np.tan(np.radians(ndimage.map_coordinates(slope, slide.path.T, order=1))).mean() * run
        assert heights[0] - heights[-1] > 0.8 * steepest
        row, column = np.round(slide.path[0]).astype(int)
        assert 25.0 <= slope[row, column] <= 50.0
        assert scene.land_cover[row, column] in (slope_scene.CONIFERS, slope_scene.BROADLEAVES, slope_scene.GRASS)


def test_a_plane_slides_straight_down() -> None:
    rows, columns = np.indices((80, 80))
    path = slope_scene.fall_line((500.0 - 3.0 * rows - 4.0 * columns).astype(np.float32), (10, 10), 300, pixel_size=10)
    assert np.allclose(path[-1] - path[0], [18.0, 24.0], atol=1e-3)
    assert len(slope_scene.fall_line(np.zeros((80, 80), dtype=np.float32), (10.0, 10.0), 300.0, pixel_size=10.0)) == 1
    assert len(slope_scene.fall_line((500.0 - 5.0 * rows).astype(np.float32), (70, 40), 300, pixel_size=10)) < 30


def test_slides_have_the_number_size_and_area_asked_for(scene: slope_scene.SlopeScene) -> None:
    assert len(scene.slides) == 6
    assert int(scene.labels.max()) == 6
    for number, slide in enumerate(scene.slides, start=1):
        assert 20.0 <= slide.width <= 80.0
        assert 55.0 <= slide.length <= 600.0
        # A strip with a mean width of eight tenths, and a round end.
        expected = 0.77 * slide.width * slide.length + 0.3 * slide.width**2
        assert slide.area == pytest.approx(expected, rel=0.35)
        assert (scene.labels == number).sum() * 100.0 == pytest.approx(slide.area, rel=0.35)
        assert 0.0 <= slide.seen <= 1.0
    assert scene.share.sum() * 100.0 == pytest.approx(sum(slide.area for slide in scene.slides), rel=1e-4)


def test_a_slide_bares_green_ground(scene: slope_scene.SlopeScene) -> None:
    red, nir = (slope_scene.BANDS.index(name) for name in ("red", "nir"))
    with np.errstate(invalid="ignore"):
        index = [(date[nir] - date[red]) / (date[nir] + date[red]) for date in (scene.before, scene.after)]
    core = ndimage.binary_erosion(scene.share > 0.9) & ~scene.terrain_shadow
    assert np.nanmedian(index[0][core]) > 0.65
    assert np.nanmedian(index[1][core]) < 0.4
    untouched = (scene.share == 0.0) & (scene.decoys == 0) & (scene.land_cover != slope_scene.WATER)
    assert abs(np.nanmedian((index[1] - index[0])[untouched])) < 0.1


def test_decoys_lie_on_the_slopes_where_such_things_lie(scene: slope_scene.SlopeScene) -> None:
    slope = slope_of(scene.dem)
    present = set(np.unique(scene.decoys).tolist())
    assert {slope_scene.HARVEST, slope_scene.CLEAR_CUT, slope_scene.ROAD, slope_scene.QUARRY} <= present
    assert {slope_scene.RIVER_BED, slope_scene.FIRE, slope_scene.CLOUD, slope_scene.CLOUD_SHADOW} <= present
    assert slope[scene.decoys == slope_scene.HARVEST].max() <= slope_scene.FIELD_SLOPE + 0.1
    assert slope[scene.decoys == slope_scene.RIVER_BED].max() < 10.1
    cut = slope[scene.decoys == slope_scene.CLEAR_CUT]
    assert cut.min() > 9.9
    assert cut.max() < 35.1
    assert slope[scene.decoys == slope_scene.QUARRY].max() < 30.1
    on_ground = (scene.decoys > 0) & (scene.decoys < slope_scene.CLOUD)
    assert not (on_ground & (scene.share > 0.0)).any()


def test_a_road_keeps_its_height() -> None:
    quiet: dict[str, Any] = {
        "harvest": 0.0,
        "clear_cuts": 0,
        "quarries": 0,
        "fires": 0,
        "river_beds": 0,
        "clouds": 0,
        "masked": 0.0,
    }
    scene = slope_scene.simulate_slope_scene(SEED, shape=SHAPE, slides=0, roads=1, **quiet)
    road = scene.decoys == slope_scene.ROAD
    assert road.sum() > 30
    long = np.ptp(np.argwhere(road), axis=0).max() * 10.0
    assert np.ptp(scene.dem[road]) < 0.25 * long
    assert set(np.unique(scene.decoys).tolist()) == {0, slope_scene.ROAD}
    assert not np.isnan(scene.before).any()
    assert not scene.labels.any()


def test_the_same_seed_gives_the_same_scene_and_events_leave_the_land_alone() -> None:
    options: dict[str, Any] = {"shape": (200, 200), "slides": 2, "fires": 0}
    first = slope_scene.simulate_slope_scene(SEED, **options)
    again = slope_scene.simulate_slope_scene(SEED, **options)
    assert np.array_equal(first.after, again.after, equal_nan=True)
    assert np.array_equal(first.labels, again.labels)
    other = slope_scene.simulate_slope_scene(SEED, **{**options, "slides": 0})
    assert np.array_equal(first.dem, other.dem)
    assert np.array_equal(first.before, other.before, equal_nan=True)
    assert not np.array_equal(first.dem, slope_scene.simulate_slope_scene(SEED + 1, **options).dem)


def test_a_coarse_height_model_is_delivered_in_place() -> None:
    scene = slope_scene.simulate_slope_scene(
        SEED, shape=(160, 160), slides=0, height_pixel=30.0, height_error=0.0, shift=(0.0, 0.0)
    )
    inner = (slice(10, -10), slice(10, -10))
    wrong = (scene.elevation - scene.dem)[inner]
    assert abs(float(wrong.mean())) < 1.0
    assert 0.0 < float(wrong.std()) < 6.0
    down, right = np.gradient(scene.dem.astype(float))
    # Heights displaced by a pixel would differ along the slope.
    assert abs(float((wrong * down[inner]).sum() / (down[inner] ** 2).sum())) < 0.1
    assert abs(float((wrong * right[inner]).sum() / (right[inner] ** 2).sum())) < 0.1


@pytest.mark.parametrize("options", [{"shape": (40, 200)}, {"steepness": 3.0}, {"slides": 90}])
def test_what_cannot_slide_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="slope"):
        slope_scene.simulate_slope_scene(SEED, **{"shape": (100, 100), **options})
