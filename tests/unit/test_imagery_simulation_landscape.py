"""The simulated landscape obeys the laws of light on terrain."""

import math

import numpy as np
import pytest
from scipy import ndimage

from processors.simulation import imagery_landscape

SHAPE = (96, 96)


def test_the_same_seed_lays_out_the_same_landscape_and_another_one_does_not() -> None:
    one, same, other = (imagery_landscape.simulate_landscape(seed=seed, shape=SHAPE) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.reflectance, same.reflectance)
    assert np.corrcoef(one.dem.ravel(), other.dem.ravel())[0, 1] < 0.98
    assert np.mean(one.class_map != other.class_map) > 0.2


@pytest.mark.parametrize("relief", [0.0, 400.0, 1500.0])
def test_relief_is_the_height_between_lowest_and_highest_pixel(relief: float) -> None:
    landscape = imagery_landscape.lay_out(seed=1, shape=SHAPE, pixel_size=10.0, relief=relief)
    assert np.ptp(landscape.dem) == pytest.approx(relief, abs=1e-3)


def test_level_ground_in_the_open_shows_its_own_reflectance() -> None:
    scene = imagery_landscape.simulate_landscape(seed=2, shape=SHAPE, relief=0.0, sun_elevation=35.0)
    np.testing.assert_allclose(scene.reflectance, scene.flat_reflectance, rtol=1e-5)
    assert not scene.terrain_shadow.any()
    np.testing.assert_allclose(scene.cos_i, math.sin(math.radians(35.0)), rtol=1e-6)


@pytest.mark.parametrize("azimuth", [0.0, 90.0, 140.0, 225.0])
def test_a_ramp_has_the_incidence_of_its_plane(azimuth: float) -> None:
    row, column = np.mgrid[0:40, 0:40].astype(np.float32)
    dem = (3.0 * column - 2.0 * row).astype(np.float32)
    light = imagery_landscape.illuminate(dem, pixel_size=10.0, sun_azimuth=azimuth, sun_elevation=60.0)
    normal = np.array([-0.3, -0.2, 1.0])  # east, north (rows run south), up
    direction, height = math.radians(azimuth), math.radians(60.0)
    sun = np.array([math.cos(height) * math.sin(direction), math.cos(height) * math.cos(direction), math.sin(height)])
    np.testing.assert_allclose(light.cos_incidence, normal @ sun / np.linalg.norm(normal), rtol=1e-5)


@pytest.mark.parametrize(("azimuth", "step"), [(90.0, (0, -1)), (180.0, (-1, 0)), (270.0, (0, 1)), (0.0, (1, 0))])
def test_a_tower_casts_a_shadow_of_its_height_times_the_cotangent_away_from_the_sun(
    azimuth: float, step: tuple[int, int]
) -> None:
    dem = np.zeros((61, 61), dtype=np.float32)
    dem[30, 30] = 100.0
    light = imagery_landscape.illuminate(dem, pixel_size=10.0, sun_azimuth=azimuth, sun_elevation=30.0)
    along = [light.shadow[30 + k * step[0], 30 + k * step[1]] for k in range(2, 28)]
    assert sum(along) == pytest.approx(100.0 / math.tan(math.radians(30.0)) / 10.0 - 2, abs=1.0)
    toward = [light.shadow[30 - k * step[0], 30 - k * step[1]] for k in range(2, 28)]
    assert not any(toward)


def test_shadow_is_that_of_every_step_along_the_ray() -> None:
    dem = imagery_landscape.lay_out(seed=3, shape=(40, 53), pixel_size=10.0, relief=250.0).dem
    azimuth, climb = math.radians(200.0), 10.0 * math.tan(math.radians(30.0))
    light = imagery_landscape.illuminate(dem, pixel_size=10.0, sun_azimuth=200.0, sun_elevation=30.0)
    rows, columns = np.indices(dem.shape)
    shaded = light.cos_incidence <= 0.0
    for step in range(1, 60):
        place = np.stack([rows - step * math.cos(azimuth), columns + step * math.sin(azimuth)])
        terrain = ndimage.map_coordinates(dem.astype(np.float64), place, order=1, cval=-1.0, mode="constant")
        shaded |= terrain > dem + 1e-3 + step * climb
    assert 0.05 < shaded.mean() < 0.9
    assert (shaded != light.shadow).mean() < 1e-3


def test_ground_in_shadow_keeps_the_light_of_the_sky_alone() -> None:
    scene = imagery_landscape.simulate_landscape(seed=3, shape=SHAPE, relief=900.0, sun_elevation=25.0)
    light = imagery_landscape.illuminate(scene.dem, pixel_size=10.0, sun_azimuth=140.0, sun_elevation=25.0)
    shadow = scene.terrain_shadow
    assert 0.02 < shadow.mean() < 0.9
    for index, band in enumerate(imagery_landscape.BANDS):
        sky = imagery_landscape.DIFFUSE_SHARE[band] * light.sky_view[shadow]
        np.testing.assert_allclose(
            scene.reflectance[index][shadow], scene.flat_reflectance[index][shadow] * sky, rtol=1e-5
        )


def test_a_sun_at_the_horizon_is_refused() -> None:
    with pytest.raises(ValueError, match="lights nothing"):
        imagery_landscape.illuminate(np.zeros((4, 4), np.float32), pixel_size=1.0, sun_azimuth=0.0, sun_elevation=0.0)


def test_crops_follow_the_season_and_water_does_not() -> None:
    landscape = imagery_landscape.lay_out(seed=6, shape=SHAPE, pixel_size=10.0, relief=0.0)
    winter, spring, summer = (
        imagery_landscape.reflectance(landscape, bands=("red", "nir"), day_of_year=day) for day in (10, 85, 205)
    )
    rice = landscape.class_map == imagery_landscape.SUMMER_CROP
    wheat = landscape.class_map == imagery_landscape.WINTER_CROP
    water = landscape.class_map >= imagery_landscape.CLEAR_WATER
    assert summer[1][rice].mean() > 1.5 * winter[1][rice].mean()
    assert summer[0][rice].mean() < 0.6 * winter[0][rice].mean()
    assert spring[1][wheat].mean() > 1.3 * summer[1][wheat].mean()
    np.testing.assert_array_equal(summer[:, water], winter[:, water])


def test_a_year_later_the_land_looks_the_same() -> None:
    landscape = imagery_landscape.lay_out(seed=6, shape=SHAPE, pixel_size=10.0)
    now, later = (imagery_landscape.green_cover(landscape, day_of_year=day) for day in (60.0, 425.0))
    np.testing.assert_allclose(later, now, atol=1e-5)


def test_the_river_lies_level_at_the_lowest_height() -> None:
    landscape = imagery_landscape.lay_out(seed=7, shape=SHAPE, pixel_size=10.0, relief=300.0)
    river = landscape.class_map == imagery_landscape.TURBID_WATER
    assert river.any()
    assert np.ptp(landscape.dem[river]) < 1.0
    assert landscape.dem[river].max() < np.quantile(landscape.dem, 0.4)


def test_turbid_water_is_red_and_clear_water_is_dark() -> None:
    bands = ("blue", "green", "red", "nir", "swir1")
    landscape = imagery_landscape.lay_out(seed=7, shape=SHAPE, pixel_size=10.0)
    seen = imagery_landscape.reflectance(landscape, bands=bands)
    turbid = seen[:, landscape.class_map == imagery_landscape.TURBID_WATER].mean(axis=1)
    clear = seen[:, landscape.class_map == imagery_landscape.CLEAR_WATER].mean(axis=1)
    assert turbid[2] > turbid[0] > clear[0]
    assert turbid[4] < 0.03
    assert clear.max() < 0.05


@pytest.mark.parametrize("river", ["clear", "none"])
def test_the_kind_of_river_is_the_one_asked_for(river: str) -> None:
    landscape = imagery_landscape.lay_out(seed=8, shape=SHAPE, pixel_size=10.0, river=river, relief=3000.0)
    assert (landscape.class_map == imagery_landscape.CLEAR_WATER).any()
    assert not (landscape.class_map == imagery_landscape.TURBID_WATER).any()


def test_what_no_landscape_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no river"):
        imagery_landscape.lay_out(seed=1, shape=SHAPE, pixel_size=10.0, river="frozen")
    with pytest.raises(ValueError, match="no slope"):
        imagery_landscape.lay_out(seed=1, shape=(1, 9), pixel_size=10.0)


def test_towns_take_their_share_of_roofs_and_streets() -> None:
    def built(fraction: float) -> float:
        landscape = imagery_landscape.lay_out(
            seed=9, shape=(200, 200), pixel_size=10.0, urban_fraction=fraction, river="none"
        )
        return float((landscape.class_map == imagery_landscape.ROOF).mean())

    assert built(0.0) == 0.0
    assert 0.10 < built(0.4) < 0.30


def test_texture_has_the_spectrum_asked_for() -> None:
    rng = np.random.default_rng(1)
    field = imagery_landscape.fractal_field(rng, (256, 256), exponent=3.0, longest=1e4)
    assert field.mean() == pytest.approx(0.0, abs=1e-4)
    assert field.std() == pytest.approx(1.0, rel=1e-4)
    power = np.abs(np.fft.rfft2(field)) ** 2
    wave = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :])
    inside = (wave > 0.02) & (wave < 0.4)
    slope = np.polyfit(np.log(wave[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-3.0, abs=0.05)


def test_averages_and_blur_keep_the_mean() -> None:
    fine = np.random.default_rng(2).random((3, 24, 36)).astype(np.float32)
    assert imagery_landscape.box_average(fine, 6).shape == (3, 4, 6)
    np.testing.assert_allclose(
        imagery_landscape.box_average(fine, 6).mean(axis=(1, 2)), fine.mean(axis=(1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(imagery_landscape.soften(np.ones_like(fine), sigma=2.0), 1.0, rtol=1e-6)


def test_slope_of_a_ramp_is_its_angle() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32) * 10.0, (20, 1))
    np.testing.assert_allclose(imagery_landscape.slope_degrees(ramp, pixel_size=10.0), 45.0, rtol=1e-6)
