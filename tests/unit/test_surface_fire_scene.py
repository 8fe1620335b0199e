"""Forward model of fires: energy, sensor, sun, decoys, truth."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from infra.surface import scene_files
from processors.simulation import fire_scene, planck, swir_fire_scene

SMALL: dict[str, Any] = {"shape": (40, 40), "cloud_fraction": 0.0}


@pytest.fixture(scope="module")
def by_day() -> fire_scene.ThermalScene:
    return fire_scene.simulate_thermal_scene(5, fires=8, sources=3, **SMALL)


@pytest.fixture(scope="module")
def by_night() -> fire_scene.ThermalScene:
    return fire_scene.simulate_thermal_scene(5, fires=8, sources=3, sun_zenith=120.0, air_temperature=293.0, **SMALL)


@pytest.fixture(scope="module")
def at_two_micrometers() -> swir_fire_scene.SwirScene:
    return swir_fire_scene.simulate_swir_scene(2, shape=(200, 200), fires=5, sources=2, decoys=2)


@pytest.mark.parametrize("sweep", [0.0, 1.0 / 3.0, 1.0])
def test_every_cell_counts_the_same_over_all_pixels(sweep: float) -> None:
    weight = fire_scene.response(12, 4, sweep=sweep)

    np.testing.assert_allclose(weight.sum(axis=1), 1.0, atol=1e-9)
    # A cell is a quarter of a pixel.
    np.testing.assert_allclose(weight[:, 16:-16].sum(axis=0), 0.25, atol=1e-9)


def test_a_triangle_reaches_the_middles_of_the_neighbors() -> None:
    weight = fire_scene.response(9, 4, sweep=1.0)[4]

    reached = np.flatnonzero(weight > 0.0)
    assert reached.size == 8
    np.testing.assert_allclose(weight[reached], weight[reached][::-1])


def test_the_spread_keeps_the_power_of_all_fires(by_day: fire_scene.ThermalScene) -> None:
    assert by_day.power.sum() == pytest.approx(sum(spot.power for spot in by_day.fires), rel=1e-4)
    assert by_day.static_power.sum() == pytest.approx(sum(spot.power for spot in by_day.sources), rel=1e-4)
    # A fire spreads over neighbors: more pixels take its power in than hold it.
    assert (by_day.power > 0.0).sum() > 1.5 * by_day.fire.sum()


def test_fires_burn_where_the_truth_says(by_day: fire_scene.ThermalScene) -> None:
    for spot in by_day.fires:
        row, column = int(spot.row), int(spot.column)
        assert (
            by_day.power[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].max()
            > 0.2 * min(spot.power, 5.0) / 9
        )
        assert (spot.easting - fire_scene.CORNER[0]) / by_day.pixel_size == pytest.approx(spot.column)
        assert (fire_scene.CORNER[1] - spot.northing) / by_day.pixel_size == pytest.approx(spot.row)
    assert {spot.number for spot in by_day.fires}.isdisjoint(spot.number for spot in by_day.sources)
    assert all(spot.static for spot in by_day.sources)
    assert not any(spot.static for spot in by_day.fires)


def test_the_excess_radiance_of_fires_is_that_of_their_planck_mixture() -> None:
    # Without air the sum over pixels of the radiance above the ground is the area of the fire times its own.
    plain: dict[str, Any] = {
        "noise": 0.0,
        "transmission": (1.0, 1.0, 1.0),
        "sources": 0,
        "sun_zenith": 120.0,
        "sensor": "modis",
        "texture": 0.0,
    }
    scene = fire_scene.simulate_thermal_scene(9, fires=1, power=(30.0, 30.0), **plain, **SMALL)
    (spot,) = scene.fires
    seen = planck.band_radiance(scene.t4, "modis_21") - planck.band_radiance(scene.clear_t4, "modis_21")
    joules = float(seen.sum()) * scene.pixel_size**2

    # Two temperatures share the area and the power: their areas follow from both.
    share = np.linalg.solve(
        [[1.0, 1.0], [spot.flaming**4 - 288.0**4, spot.smouldering**4 - 288.0**4]],
        [spot.area, spot.power * 1e6 / planck.STEFAN_BOLTZMANN],
    )
    expected = share @ (planck.band_radiance([spot.flaming, spot.smouldering], "modis_21") - 0.4)
    assert joules == pytest.approx(expected, rel=0.01)


def test_power_follows_from_the_radiance_at_four_micrometers(by_night: fire_scene.ThermalScene) -> None:
    # Wooster et al. (2003): power is proportional to the radiance for 650 to 1300 K, within a fifth.
    excess = planck.band_radiance(by_night.t4_low, "viirs_m13") - planck.band_radiance(
        np.median(by_night.t4_low), "viirs_m13"
    )
    hot = ndimage.binary_dilation(by_night.power + by_night.static_power > 0.02, iterations=3)
    estimate = planck.STEFAN_BOLTZMANN / 2.88e-9 * excess[hot].sum() * by_night.pixel_size**2 * 1e-6 / 0.9

    assert estimate == pytest.approx(by_night.power.sum() + by_night.static_power.sum(), rel=0.3)


def test_the_hottest_pixels_saturate_and_fold() -> None:
    most = float(planck.band_radiance(367.0, "viirs_i4"))
    seen = fire_scene._limited(np.array([0.5 * most, 3.0 * most, 6.4 * most]), most, 6.0)

    np.testing.assert_allclose(seen, [0.5 * most, most, 0.4 * most])


def test_no_fire_channel_measures_beyond_its_range(by_day: fire_scene.ThermalScene) -> None:
    assert by_day.t4.max() <= 367.001
    assert by_day.t4_low.max() <= 634.001
    assert by_day.t4_low.max() > by_day.t11.max()


def test_noise_is_that_of_the_sensor() -> None:
    quiet, noisy = (
        fire_scene.simulate_thermal_scene(4, fires=0, sources=0, decoys=0, noise=n, **SMALL) for n in (0.0, 1.0)
    )
    warm = np.abs(quiet.t11 - 300.0) < 8.0

    assert np.std((noisy.t11 - quiet.t11)[warm]) == pytest.approx(0.40, rel=0.15)


def test_the_sun_warms_and_shines_by_day_alone(
    by_day: fire_scene.ThermalScene, by_night: fire_scene.ThermalScene
) -> None:
    assert np.isnan(by_night.red).all()
    assert np.isfinite(by_day.red).all()
    assert np.median(by_day.t4 - by_day.t11) > np.median(by_night.t4 - by_night.t11) + 4.0


def test_height_cools() -> None:
    scene = fire_scene.simulate_thermal_scene(6, fires=0, sources=0, decoys=0, urban_share=0.0, **SMALL)
    land = scene.water_share == 0.0

    slope = np.polyfit(scene.dem[land], scene.t11[land], 1)[0]
    assert -0.015 < slope < -0.003


def test_glint_is_largest_in_the_mirror_and_wider_in_the_wind() -> None:
    away = np.array([0.0, 5.0, 10.0, 25.0])
    calm, windy = (fire_scene.sea_glint(30.0, 30.0, away, wind_speed=wind) for wind in (1.0, 8.0))

    assert np.all(np.diff(calm) < 0.0)
    assert calm[0] > windy[0]
    assert calm[3] < windy[3]


def test_glint_angle_is_zero_in_the_mirror_direction() -> None:
    assert fire_scene.glint_angle(30.0, 140.0, 30.0, 320.0) == pytest.approx(0.0, abs=1e-4)
    assert fire_scene.glint_angle(30.0, 140.0, 30.0, 140.0) == pytest.approx(60.0)


def test_glint_makes_water_bright_in_all_solar_bands_without_warming_it() -> None:
    off, mirror = (
        fire_scene.simulate_thermal_scene(3, fires=0, sources=0, view_zenith=28.0, view_azimuth=azimuth, **SMALL)
        for azimuth in (205.0, 25.0)
    )
    water = mirror.water_share > 0.9

    assert water.sum() > 10
    assert np.median((mirror.t4 - off.t4)[water]) > 5.0
    assert abs(np.median((mirror.t11 - off.t11)[water])) < 0.5
    for band in ("red", "nir", "swir2"):
        assert np.median((getattr(mirror, band) - getattr(off, band))[water]) > 0.05
    assert mirror.glint_angle.max() < 6.0 < off.glint_angle.min()


def test_clouds_are_cold_and_hide_fires() -> None:
    scene = fire_scene.simulate_thermal_scene(8, shape=(60, 60), fires=30, cloud_fraction=0.5)

    assert np.median(scene.t11[scene.cloud_share > 0.9]) < np.median(scene.t11[scene.cloud_share == 0.0]) - 15.0
    hidden = [spot for spot in scene.fires if spot.transmission < 0.01]
    assert hidden
    for spot in hidden:
        assert scene.t4[int(spot.row), int(spot.column)] < 320.0


def test_decoys_are_warm_and_hold_no_fire(by_day: fire_scene.ThermalScene) -> None:
    assert {decoy.kind for decoy in by_day.decoys} == set(fire_scene.DECOY_KINDS) - {"ponds"}
    heat = [
        by_day.clear_t4[int(d.row), int(d.column)]
        for d in by_day.decoys
        if d.kind in ("sheet roofs", "hot sand") and d.side > 800
    ]
    assert max(heat) > np.percentile(by_day.clear_t4, 95)


def test_the_operators_table_is_near_the_sources_it_lists() -> None:
    scene = fire_scene.simulate_thermal_scene(5, fires=2, sources=6, listed_share=0.5, **SMALL)

    assert 0 < len(scene.listed) < 6
    for row in scene.listed:
        apart = [
            np.hypot(row.easting - s.easting, row.northing - s.northing) for s in scene.sources if s.kind == row.kind
        ]
        assert 0.0 < min(apart) < 1200.0


def test_a_seed_gives_one_scene_and_another_seed_another(by_day: fire_scene.ThermalScene) -> None:
    again = fire_scene.simulate_thermal_scene(5, fires=8, sources=3, **SMALL)

    np.testing.assert_array_equal(again.t4, by_day.t4)
    assert again.fires == by_day.fires
    assert fire_scene.simulate_thermal_scene(6, fires=8, sources=3, **SMALL).fires != by_day.fires


def test_impossible_thermal_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="no thermal sensor"):
        fire_scene.simulate_thermal_scene(1, sensor="eye")
    with pytest.raises(ValueError, match="no thermal scene"):
        fire_scene.simulate_thermal_scene(1, shape=(25, 40))


def test_scenes_lie_where_their_files_do() -> None:
    assert fire_scene.CORNER == scene_files.CORNER


def test_glow_grows_with_wavelength_and_temperature() -> None:
    near, short, long = (
        float(swir_fire_scene.apparent_reflectance(1000.0, band, sun_zenith=40.0)) for band in ("nir", "swir1", "swir2")
    )

    assert near < short < long
    assert float(swir_fire_scene.apparent_reflectance(1300.0, "swir2", sun_zenith=40.0)) > 3.0 * long


def test_the_truth_of_glow_is_what_the_fires_emit(at_two_micrometers: swir_fire_scene.SwirScene) -> None:
    scene = at_two_micrometers

    assert scene.power.sum() == pytest.approx(sum(spot.power for spot in scene.fires), rel=1e-4)
    assert not (scene.fire & scene.static).any()
    assert np.median(scene.glow[scene.fire]) > 0.3 > scene.glow[scene.truth == 0].mean()
    for spot in (*scene.fires, *scene.sources):
        assert (scene.truth == spot.number).sum() == spot.pixels


def test_fires_outshine_the_ground_at_two_micrometers_alone(at_two_micrometers: swir_fire_scene.SwirScene) -> None:
    scene = at_two_micrometers
    red, swir2 = (scene.reflectance[scene.bands.index(band)] for band in ("red", "swir2"))

    burning = scene.fire & (scene.glow > 0.5) & (scene.glow < 20.0)
    assert np.median(swir2[burning]) > 0.7
    assert np.median(red[burning]) < 0.4
    assert scene.reflectance.max() <= 1.21001


def test_hottest_cores_fold_at_two_micrometers() -> None:
    scene = swir_fire_scene.simulate_swir_scene(3, shape=(120, 120), fires=4, power=(200.0, 300.0), fold=6.0, decoys=0)
    core = scene.glow > 6.5 * 1.21
    swir1, swir2 = scene.reflectance[4], scene.reflectance[5]

    assert core.any()
    assert swir2[core].max() < 0.1
    assert swir1[core].min() > 0.8


def test_mirrors_and_glint_are_flat_over_the_bands(at_two_micrometers: swir_fire_scene.SwirScene) -> None:
    scene = at_two_micrometers
    glint = (scene.decoy == 1 + swir_fire_scene.DECOY_KINDS.index("glint on water")) & (scene.truth == 0)
    spread = np.ptp(scene.reflectance[3:, glint], axis=0) / scene.reflectance[3:, glint].mean(axis=0)

    assert glint.sum() > 50
    assert np.median(spread) < 0.3


def test_swir_scenes_repeat_and_impossible_ones_are_refused(at_two_micrometers: swir_fire_scene.SwirScene) -> None:
    again = swir_fire_scene.simulate_swir_scene(2, shape=(200, 200), fires=5, sources=2, decoys=2)

    np.testing.assert_array_equal(again.reflectance, at_two_micrometers.reflectance)
    with pytest.raises(ValueError, match="no fire scene"):
        swir_fire_scene.simulate_swir_scene(1, shape=(30, 30))


def test_a_swir_scene_without_fires_and_decoys_has_none() -> None:
    scene = swir_fire_scene.simulate_swir_scene(2, shape=(64, 64), fires=0, sources=0, decoys=0, glint=0.0)

    assert not scene.truth.any()
    assert not scene.decoy.any()
    assert scene.glow.max() == 0.0
