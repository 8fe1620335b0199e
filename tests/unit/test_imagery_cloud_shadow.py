"""Cloud mask on scenes of the simulator, whose truth is exact, and on scenes made for one law each."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from processors.imagery import cloud_mask, cloud_object, cloud_shadow, cloud_spectrum, terrain_shading
from processors.quality import BadInputError
from processors.simulation import imagery_clouds, imagery_landscape

FOUR = ("blue", "green", "red", "nir")
SIX = (*FOUR, "swir1", "swir2")
SUN = terrain_shading.Sun(150.0, 55.0)
STEPS = (-20.0, 20.0)


def balanced(truth: np.ndarray, found: np.ndarray) -> float:
    return 0.5 * float(found[truth].mean() + (~found[~truth]).mean())


def simulated(seed: int, bands: tuple[str, ...] = FOUR, **choices: object) -> imagery_clouds.SimulatedClouds:
    given = {"shape": (260, 260), "pixel_size": 20.0, "relief": 60.0, "cloud_fraction": 0.25, "thin_fraction": 0.0}
    sun = {"sun_azimuth": SUN.azimuth, "sun_elevation": SUN.elevation}
    return imagery_clouds.simulate_clouds(seed=seed, bands=bands, **{**given, **sun, **choices})


def bands_of(scene: imagery_clouds.SimulatedClouds) -> dict[str, np.ndarray]:
    names = [str(name) for name in scene.scene["band"].values]
    return dict(zip(names, scene.scene["reflectance"].values[0], strict=True))


def masked(scene: imagery_clouds.SimulatedClouds, *, sun: bool = True, dem: bool = False, **choices: object):
    view = cloud_mask.View(STEPS, SUN if sun else None, scene.dem if dem else None)
    return cloud_mask.detect(bands_of(scene), view=view, **choices)


def scores(scene: imagery_clouds.SimulatedClouds, found: cloud_mask.Detection) -> tuple[float, float]:
    cloud = np.isin(found.classes, (cloud_mask.THIN_CLOUD, cloud_mask.CLOUD))
    return balanced(scene.cloud, cloud), balanced(scene.shadow, found.classes == cloud_mask.SHADOW)


CONDITIONS = {
    "flat, four bands, surface": (FOUR, {}, False),
    "flat, six bands, top of atmosphere": (SIX, {"top_of_atmosphere": True}, False),
    "steep": (FOUR, {"relief": 1200.0, "top_of_atmosphere": True}, True),
    "roofs and a turbid river": (FOUR, {"urban_fraction": 0.3, "river": "turbid"}, False),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_clouds_and_shadows_of_simulated_scenes_are_found(condition):
    bands, choices, dem = CONDITIONS[condition]
    results = []
    for seed in (21, 22):
        scene = simulated(seed, bands, **choices)
        results.append(scores(scene, masked(scene, dem=dem)))
    cloud, shadow = np.mean(results, axis=0)
    assert cloud >= 0.95
    assert shadow >= 0.85


def test_clear_scene_with_roofs_and_turbid_river_has_no_cloud():
    scene = simulated(31, cloud_fraction=0.0, urban_fraction=0.25)
    found = masked(scene)
    cloud = np.isin(found.classes, (cloud_mask.THIN_CLOUD, cloud_mask.CLOUD))
    river = np.isin(scene.class_map, (imagery_landscape.CLEAR_WATER, imagery_landscape.TURBID_WATER))
    assert cloud.mean() < 0.01
    assert cloud[river].mean() < 0.02
    assert (found.classes == cloud_mask.SHADOW)[river].mean() < 0.02


def test_shade_of_terrain_is_no_shadow_of_clouds_once_heights_are_known():
    scene = simulated(23, relief=1500.0)
    shade = scene.terrain_shadow & ~scene.cloud & ~scene.shadow
    assert shade.sum() > 500
    with_heights = masked(scene, dem=True).classes == cloud_mask.SHADOW
    without = masked(scene).classes == cloud_mask.SHADOW
    assert with_heights[shade].mean() < 0.15
    assert with_heights[shade].mean() < 0.5 * without[shade].mean()


def test_height_of_the_clouds_is_found():
    scene = simulated(22)
    found = masked(scene)
    truth = scene.layers[0].heights - scene.dem.mean()
    assert found.match.candidate >= 0
    height = found.match.shifts[found.match.candidate, 0]
    assert truth.min() - 150.0 < height < truth.max() + 150.0


def test_shadows_are_found_without_the_sun_by_their_common_direction():
    scene = simulated(22)
    found = masked(scene, sun=False)
    assert scores(scene, found)[1] > 0.8
    _, down, across = found.match.shifts[found.match.candidate]
    angle = np.degrees(np.arctan2(across * STEPS[1], down * STEPS[0]))
    away = (angle - (SUN.azimuth - 180.0) + 180.0) % 360.0 - 180.0
    assert abs(away) < 12.0


def test_flipped_rows_turn_the_shadows_with_them():
    scene = simulated(22)
    upright = masked(scene)
    flipped = {name: layer[::-1] for name, layer in bands_of(scene).items()}
    turned = cloud_mask.detect(flipped, view=cloud_mask.View((20.0, 20.0), SUN))
    assert (turned.classes[::-1] == upright.classes).mean() > 0.99


def test_scene_wholly_under_cloud_is_cloud_and_says_that_nothing_clear_was_seen():
    scene = simulated(24, cloud_fraction=1.0)
    found = masked(scene)
    assert np.isin(found.classes, (cloud_mask.THIN_CLOUD, cloud_mask.CLOUD)).mean() > 0.95
    assert cloud_mask.detect(
        {name: np.full((40, 40), 0.5, np.float32) for name in FOUR}, view=cloud_mask.View(STEPS)
    ).line.veiled


def ground(rng: np.random.Generator, side: int = 160) -> dict[str, np.ndarray]:
    noise = 1.0 + 0.05 * rng.standard_normal((side, side))
    levels = {"blue": 0.04, "green": 0.07, "red": 0.05, "nir": 0.35}
    return {name: (level * noise).astype(np.float32) for name, level in levels.items()}


def block(bands: dict[str, np.ndarray], row: int, column: int, side: int, value: float) -> None:
    for layer in bands.values():
        layer[row : row + side, column : column + side] = value


def test_small_bright_object_is_cloud_with_a_shadow_at_the_common_height_and_a_roof_without():
    """Two clouds fix the height; of two equal small squares the one whose shadow falls there is a cloud."""
    bands = ground(np.random.default_rng(5))
    for row, column, side in ((30, 30, 24), (110, 40, 20), (70, 110, 5)):
        block(bands, row, column, side, 0.5)
        for layer in bands.values():
            layer[row - 18 : row - 18 + side, column : column + side] *= np.float32(0.45)
    block(bands, 120, 120, 5, 0.5)
    for row, column, side in ((30, 30, 24), (110, 40, 20)):
        block(bands, row, column, side, 0.5)
    view = cloud_mask.View(STEPS, terrain_shading.Sun(180.0, 45.0))
    seen = {name: ndimage.gaussian_filter(layer, 0.7) for name, layer in bands.items()}
    classes = cloud_mask.detect(seen, view=view).classes
    assert classes[72, 112] == cloud_mask.CLOUD
    assert classes[122, 122] == cloud_mask.CLEAR


def test_soft_thin_veil_is_thin_cloud_with_a_probability():
    bands = ground(np.random.default_rng(6))
    row, column = np.indices((160, 160))
    opacity = 0.3 * np.clip(1.2 - np.hypot(row - 80, column - 80) / 50.0, 0.0, 1.0)
    veiled = {name: (layer * (1 - opacity) + 0.6 * opacity).astype(np.float32) for name, layer in bands.items()}
    found = cloud_mask.detect(veiled, view=cloud_mask.View(STEPS))
    assert found.classes[80, 80] == cloud_mask.THIN_CLOUD
    assert found.probability[80, 80] > 0.6
    assert found.probability[5, 5] < 0.2


def test_learned_detector_is_heard_where_it_knows():
    """A toy detector that is sure of cloud on the left and knows nothing on the right."""
    bands = ground(np.random.default_rng(7))
    for layer in bands.values():
        layer += np.float32(0.10)
    darker = {name: layer - np.float32(0.055) for name, layer in bands.items()}

    def toy(layers: dict[str, np.ndarray]) -> np.ndarray:
        answer = np.full(layers["blue"].shape, np.nan, dtype=np.float32)
        answer[:, :60] = 1.0
        return answer

    alone = cloud_mask.detect(darker, view=cloud_mask.View(STEPS)).probability
    heard = cloud_mask.detect(darker, view=cloud_mask.View(STEPS), detector=toy).probability
    assert heard[:, :60].mean() > alone[:, :60].mean() + 0.1
    np.testing.assert_allclose(heard[:, 70:], alone[:, 70:], atol=0.05)


def test_missing_band_is_refused_by_its_name():
    bands = ground(np.random.default_rng(8))
    del bands["red"]
    with pytest.raises(BadInputError, match="red") as refusal:
        cloud_mask.detect(bands, view=cloud_mask.View(STEPS))
    assert refusal.value.cause == "band_missing"


def test_refined_mask_depends_on_the_nearest_pixels_only():
    scene = simulated(22)
    found = masked(scene)
    whole, _ = cloud_mask.refine(bands_of(scene), found)
    part = slice(60, 180)
    cut = found._replace(**{name: getattr(found, name)[part] for name in ("classes", "probability", "faint", "shadow")})
    window, _ = cloud_mask.refine({name: layer[part] for name, layer in bands_of(scene).items()}, cut)
    assert np.array_equal(window[2:-2], whole[62:178])
    same = np.isin(whole, (1, 2)) == np.isin(found.classes, (1, 2))
    assert same.mean() > 0.98


def test_dark_scene_without_a_match_is_split_only_into_modes_that_lie_apart():
    """Half the ground in the shadow of clouds outside, told by darkness alone; the same land in the sun has none."""
    rng = np.random.default_rng(9)
    sunlit, shaded = ground(rng), ground(rng)
    for bands in (sunlit, shaded):
        block(bands, 0, 0, 70, 0.6)
    for layer in shaded.values():
        layer[80:, 60:] *= np.float32(0.4)
    view = cloud_mask.View(STEPS, terrain_shading.Sun(180.0, 80.0))
    found = cloud_mask.detect(shaded, view=view).classes == cloud_mask.SHADOW
    assert found[90:150, 70:150].mean() > 0.9
    assert (cloud_mask.detect(sunlit, view=view).classes == cloud_mask.SHADOW).mean() < 0.02


def test_clear_line_of_too_few_pixels_is_the_usual_one():
    empty = {name: np.full((4, 4), np.nan, dtype=np.float32) for name in FOUR}
    assert cloud_spectrum.clear_line(empty) == cloud_spectrum.USUAL
    small = {name: layer[:4, :4] for name, layer in ground(np.random.default_rng(1)).items()}
    assert cloud_spectrum.clear_line(small).slope == cloud_spectrum.USUAL.slope


def test_heights_to_try_are_fewer_than_allowed_and_rise():
    parameters = dataclasses.replace(cloud_shadow.ShadowParameters(), heights=20)
    shifts = cloud_shadow.candidates(SUN, (-10.0, 10.0), (2000, 2000), parameters=parameters)
    assert shifts.shape[0] <= 20
    assert (np.diff(shifts[:, 0]) > 0).all()


def test_empty_sky_has_no_shadow():
    bands = ground(np.random.default_rng(2))
    found = cloud_mask.detect(bands, view=cloud_mask.View(STEPS, SUN))
    assert found.match.candidate == -1
    assert not found.shadow.any()
    objects = cloud_object.Objects(np.zeros((4, 4), np.int32), np.array([16.0]), np.array([-np.inf]), np.ones(1))
    assert cloud_object.top(np.ones((4, 4), np.float32), objects.labels, 1, reach=1).max() == 0.0


def sprinkled(rng: np.random.Generator, *, shaded: bool) -> dict[str, np.ndarray]:
    """Ground with dark fields, and four small clouds, with their shadows 18 pixels to the north or without."""
    bands = {name: np.tile(layer, (2, 2)) for name, layer in ground(rng).items()}
    for row, column in rng.integers(10, 290, (40, 2)):
        for layer in bands.values():
            layer[row : row + 25, column : column + 25] *= np.float32(0.8)
    for row, column in ((60, 50), (90, 230), (180, 120), (260, 200)):
        if shaded:
            for layer in bands.values():
                layer[row - 18 : row - 8, column : column + 10] *= np.float32(0.45)
        block(bands, row, column, 10, 0.5)
    return {name: ndimage.gaussian_filter(layer, 0.7) for name, layer in bands.items()}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_clouds_among_dark_fields_find_their_shadows_and_nothing_else_does(seed):
    """The agreement of four small shadows exceeds what turned suns find; without shadows it does not."""
    view = cloud_mask.View(STEPS, terrain_shading.Sun(180.0, 45.0))
    seen = cloud_mask.detect(sprinkled(np.random.default_rng(seed), shaded=True), view=view)
    assert seen.match.shifts[seen.match.candidate, 0] == pytest.approx(360.0, abs=40.0)
    assert (seen.classes[165:169, 122:128] == cloud_mask.SHADOW).mean() > 0.9
    without = cloud_mask.detect(sprinkled(np.random.default_rng(seed), shaded=False), view=view)
    assert without.match.candidate == -1
    assert not (without.classes == cloud_mask.SHADOW).any()


def test_object_without_view_of_its_shadow_is_judged_like_those_that_resemble_it():
    count = 9
    height = np.array([0.0, *[0.5] * 4, *[0.25] * 4])
    objects = cloud_object.Objects(np.zeros((2, 2), np.int32), np.full(count, 9.0), np.full(count, -1.0), height)
    told = np.array([0.0, 4.0, 4.0, 4.0, 0.0, -4.0, -4.0, -4.0, 0.0])
    added = cloud_object.likened(objects, told).evidence - objects.evidence
    assert added[4] > 0.8
    assert added[8] < -0.8
    assert not added[told != 0.0].any()
