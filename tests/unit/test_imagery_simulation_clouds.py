"""Simulated clouds hide, shade and shine as their optical thickness and the sun say."""

import math

import numpy as np
import pytest

from processors.imagery import grid
from processors.simulation import imagery_clouds, imagery_landscape

SHAPE = (120, 120)
SIX = ("blue", "green", "red", "nir", "swir1", "swir2")


def disk(height: float, *, thickness: float = 3.0, radius: float = 6.0, center: tuple[int, int] = (60, 60)):
    row, column = np.mgrid[0:120, 0:120]
    inside = np.hypot(row - center[0], column - center[1]) < radius
    layer = np.where(inside, thickness, 0.0).astype(np.float32)
    return imagery_clouds.CloudLayer(np.array([height], dtype=np.float32), layer[None], False)


@pytest.mark.parametrize("kind", imagery_clouds.KINDS)
@pytest.mark.parametrize("fraction", [0.0, 0.07, 0.5, 1.0])
def test_the_share_of_cloud_is_the_one_asked_for(kind: str, fraction: float) -> None:
    scene = imagery_clouds.simulate_clouds(seed=1, shape=SHAPE, cloud_fraction=fraction, kind=kind)
    assert scene.cloud.mean() == pytest.approx(fraction, abs=2e-3)


@pytest.mark.parametrize(("azimuth", "elevation"), [(90.0, 50.0), (140.0, 35.0), (215.0, 60.0), (330.0, 45.0)])
def test_a_shadow_lies_height_times_cotangent_of_the_elevation_away_from_the_sun(
    azimuth: float, elevation: float
) -> None:
    dem = np.full(SHAPE, 250.0, dtype=np.float32)
    light = imagery_clouds.sun_transmission(
        [disk(600.0)], dem, pixel_size=20.0, sun_azimuth=azimuth, sun_elevation=elevation
    )
    crossed = -np.log(light) / (-np.log(light)).sum()
    row, column = ((crossed * place).sum() for place in np.mgrid[0:120, 0:120])
    way = (600.0 - 250.0) / math.tan(math.radians(elevation)) / 20.0
    assert row - 60.0 == pytest.approx(way * math.cos(math.radians(azimuth)), abs=1e-3)
    assert column - 60.0 == pytest.approx(-way * math.sin(math.radians(azimuth)), abs=1e-3)


def test_a_shadow_on_a_plateau_is_nearer_to_its_cloud_than_one_in_the_valley() -> None:
    found = []
    for ground in (0.0, 300.0):
        dem = np.full(SHAPE, ground, dtype=np.float32)
        light = imagery_clouds.sun_transmission(
            [disk(500.0)], dem, pixel_size=20.0, sun_azimuth=270.0, sun_elevation=45.0
        )
        found.append(np.nonzero(light < 0.5)[1].mean() - 60.0)
    assert found == pytest.approx([25.0, 10.0], abs=0.1)


def test_transmission_is_the_exponential_of_the_slant_thickness() -> None:
    sheet = imagery_clouds.CloudLayer(
        np.array([500.0, 700.0], dtype=np.float32), np.full((2, 40, 40), 0.3, dtype=np.float32), False
    )
    dem = np.zeros((40, 40), dtype=np.float32)
    dem[:, 20:] = 600.0
    light = imagery_clouds.sun_transmission([sheet], dem, pixel_size=10.0, sun_azimuth=120.0, sun_elevation=30.0)
    np.testing.assert_allclose(light[:, :20], math.exp(-0.6 / 0.5), rtol=1e-5)
    np.testing.assert_allclose(light[:, 20:], math.exp(-0.3 / 0.5), rtol=1e-5)
    np.testing.assert_allclose(imagery_clouds.nadir_thickness([sheet], dem)[:, :20], 0.6, rtol=1e-6)


def test_without_clouds_and_noise_the_sensor_sees_the_clear_truth() -> None:
    scene = imagery_clouds.simulate_clouds(seed=2, shape=SHAPE, cloud_fraction=0.0, thin_fraction=0.0, noise=0.0)
    np.testing.assert_allclose(scene.scene["reflectance"].values[0], scene.reflectance, atol=1e-6)
    assert not (scene.cloud | scene.thin | scene.shadow).any()
    assert set(np.unique(scene.classification)) <= {imagery_clouds.CLEAR, imagery_clouds.WATER}


def test_noise_has_the_deviation_asked_for() -> None:
    quiet, loud = (imagery_clouds.simulate_clouds(seed=2, shape=SHAPE, noise=noise) for noise in (0.0, 0.01))
    difference = (loud.scene["reflectance"] - quiet.scene["reflectance"]).values
    assert difference.std() == pytest.approx(0.01, rel=0.02)


def test_deep_shadow_on_level_ground_keeps_the_diffuse_share() -> None:
    scene = imagery_clouds.simulate_clouds(
        seed=3, shape=SHAPE, relief=0.0, kind="deck", cloud_fraction=0.4, thin_fraction=0.0, noise=0.0, bands=SIX
    )
    deep = (scene.transmission < 0.01) & (scene.opacity < 1e-4)
    inner = deep & np.roll(deep, 1, 0) & np.roll(deep, -1, 0) & np.roll(deep, 1, 1) & np.roll(deep, -1, 1)
    assert inner.sum() > 50
    for index, band in enumerate(SIX):
        ratio = (scene.scene["reflectance"].values[0, index] / scene.reflectance[index])[inner]
        assert np.median(ratio) == pytest.approx(imagery_landscape.DIFFUSE_SHARE[band], rel=0.12)


def test_thick_cloud_is_white_to_the_near_infrared_and_darker_beyond() -> None:
    scene = imagery_clouds.simulate_clouds(seed=4, shape=SHAPE, bands=SIX, cloud_fraction=0.6)
    thick = scene.opacity > 0.95
    blue, green, red, nir, swir1, swir2 = scene.scene["reflectance"].values[0][:, thick].mean(axis=1)
    assert max(blue, green, red, nir) / min(blue, green, red, nir) < 1.1
    assert blue > 0.5
    assert blue > swir1 + 0.1 > swir2 + 0.15


def test_cirrus_by_itself_is_thin_cloud_and_darker_in_the_short_wave_infrared() -> None:
    scene = imagery_clouds.simulate_clouds(
        seed=5, shape=SHAPE, bands=SIX, cloud_fraction=0.0, thin_fraction=0.6, noise=0.0, relief=0.0
    )
    assert 0.2 < scene.thin.mean() < 0.6
    assert scene.opacity.max() < imagery_clouds.CLOUD_OPACITY
    assert scene.layers[-1].ice
    water = scene.thin & (scene.class_map >= imagery_landscape.CLEAR_WATER)
    added = (scene.scene["reflectance"].values[0] - scene.reflectance)[:, water].mean(axis=1)
    assert added[0] > 1.5 * added[5] > 0.0


def test_clear_air_brightens_dark_water_most_in_the_blue() -> None:
    below, above = (
        imagery_clouds.simulate_clouds(seed=6, shape=SHAPE, cloud_fraction=0.0, top_of_atmosphere=toa)
        for toa in (False, True)
    )
    water = below.class_map == imagery_landscape.CLEAR_WATER
    added = (above.reflectance - below.reflectance)[:, water].mean(axis=1)
    assert added[0] > added[1] > added[2] > added[3] > 0.0
    assert above.scene.attrs["radiometric_level"] == "top_of_atmosphere_reflectance"


def test_haze_lowers_contrast_more_in_the_blue_than_in_the_infrared() -> None:
    clear, hazy = (
        imagery_clouds.simulate_clouds(
            seed=7, shape=SHAPE, cloud_fraction=0.0, thin_fraction=0.0, haze=haze, noise=0.0, bands=SIX
        )
        for haze in (0.0, 0.4)
    )
    slopes = [
        np.polyfit(
            clear.scene["reflectance"].values[0, band].ravel(), hazy.scene["reflectance"].values[0, band].ravel(), 1
        )[0]
        for band in (0, 5)
    ]
    assert slopes[0] < slopes[1] < 1.0


def test_the_masks_follow_their_thresholds_and_the_classes_follow_the_masks() -> None:
    scene = imagery_clouds.simulate_clouds(seed=8, shape=SHAPE, cloud_fraction=0.3, relief=800.0)
    np.testing.assert_array_equal(scene.cloud, scene.opacity >= imagery_clouds.CLOUD_OPACITY)
    np.testing.assert_array_equal(
        scene.shadow, (scene.transmission < imagery_clouds.SHADOW_TRANSMISSION) & ~scene.cloud
    )
    np.testing.assert_array_equal(scene.classification == imagery_clouds.CLOUD, scene.cloud)
    np.testing.assert_array_equal(scene.classification == imagery_clouds.SHADOW, scene.shadow)
    assert not (scene.thin & scene.cloud).any()


def test_the_scene_is_a_stack_on_its_grid_with_its_sun() -> None:
    moment = np.datetime64("2026-03-04T05:06:07", "ns")
    scene = imagery_clouds.simulate_clouds(
        seed=9, shape=(50, 60), pixel_size=20.0, sun_azimuth=150.0, sun_elevation=40.0, time=moment
    )
    stack = scene.scene
    assert stack["reflectance"].dims == ("time", "band", "y", "x")
    assert stack["elevation"].dims == stack["slope"].dims == ("y", "x")
    assert float(stack["sun_zenith"][0]) == 50.0
    assert float(stack["sun_azimuth"][0]) == 150.0
    assert stack["time"].values[0] == moment
    assert grid.geobox_of(stack) == imagery_clouds.grid_box((50, 60), 20.0)
    assert grid.alignment_offset(grid.geobox_of(stack)) < 1e-6


def test_the_same_seed_gives_the_same_clouds_and_another_one_does_not() -> None:
    one, same, other = (imagery_clouds.simulate_clouds(seed=seed, shape=SHAPE) for seed in (10, 10, 11))
    np.testing.assert_array_equal(one.scene["reflectance"].values, same.scene["reflectance"].values)
    assert np.mean(one.cloud != other.cloud) > 0.1


def test_another_date_of_the_same_land_has_other_clouds_over_the_same_ground() -> None:
    first = imagery_clouds.simulate_clouds(seed=12, shape=SHAPE, noise=0.0)
    second = imagery_clouds.simulate_clouds(seed=13, landscape=first.landscape, noise=0.0)
    np.testing.assert_array_equal(first.class_map, second.class_map)
    np.testing.assert_allclose(first.reflectance, second.reflectance, atol=1e-6)
    assert (first.cloud != second.cloud).any()


def test_a_cover_of_clouds_leaves_an_image_alone_where_there_are_none() -> None:
    dem = np.zeros(SHAPE, dtype=np.float32)
    image = np.full((2, *SHAPE), 0.2, dtype=np.float32)
    covered = imagery_clouds.cover(
        image,
        [disk(400.0, thickness=6.0)],
        dem,
        bands=("red", "nir"),
        pixel_size=20.0,
        sun_azimuth=90.0,
        sun_elevation=45.0,
        rng=np.random.default_rng(1),
    )
    assert covered.cloud[60, 60]
    assert covered.shadow[60, 40]
    assert covered.reflectance[0, 60, 60] > 0.6
    assert covered.reflectance[1, 60, 40] == pytest.approx(0.2 * imagery_landscape.DIFFUSE_SHARE["nir"], rel=0.02)
    np.testing.assert_allclose(covered.reflectance[:, 100:, :], 0.2, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"cloud_fraction": 1.2}, {"thin_fraction": -0.1}, {"kind": "anvil"}])
def test_clouds_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cloud"):
        imagery_clouds.simulate_clouds(seed=1, shape=(20, 20), **wrong)
