"""Simulated pairs are displaced exactly as they say, and the radar sees the terrain as geometry demands."""

import math

import numpy as np
import pytest

from processors.simulation import imagery_landscape, imagery_pairs

SHAPE = (96, 96)
STILL = {"days": (200.0, 200.0), "suns": ((140.0, 50.0), (140.0, 50.0)), "noise": 0.0}


@pytest.mark.parametrize("shift", [(3, -5), (-2, 0)])
def test_a_shift_of_whole_pixels_moves_the_content_down_and_right(shift: tuple[int, int]) -> None:
    pair = imagery_pairs.simulate_pair(seed=1, shape=SHAPE, shift=shift, **STILL)
    moved = np.roll(pair.reference, shift, axis=(1, 2))
    inner = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(pair.target[inner], moved[inner], atol=1e-5)
    np.testing.assert_allclose(pair.displacement[:, 0, 0], shift)


def test_a_sub_pixel_shift_is_the_slope_of_the_cross_phase() -> None:
    shift = (0.37, -0.61)
    pair = imagery_pairs.simulate_pair(seed=2, shape=SHAPE, shift=shift, relief=100.0, **STILL)
    window = np.hanning(96)[:, None] * np.hanning(96)[None, :]
    reference, target = (np.fft.fft2(window * (image[3] - image[3].mean())) for image in (pair.reference, pair.target))
    wave = np.stack(np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(96), indexing="ij"))
    low = (np.hypot(*wave) < 0.2) & (np.hypot(*wave) > 0.0)
    cross = (target * np.conj(reference))[low]
    weight = np.sqrt(np.abs(cross))
    slope, *_ = np.linalg.lstsq((wave[:, low] * weight).T, np.angle(cross) * weight, rcond=None)
    np.testing.assert_allclose(-slope / (2.0 * np.pi), shift, atol=0.03)


def test_the_field_of_a_constant_shift_moves_like_the_phase() -> None:
    by_phase, by_field = (
        imagery_pairs.simulate_pair(seed=3, shape=SHAPE, shift=(1.4, -0.3), linear=linear, **STILL)
        for linear in (None, (0.0, 0.0, 0.0, 0.0))
    )
    np.testing.assert_allclose(by_field.target, by_phase.target, atol=2e-3)
    assert np.abs(by_field.target - by_field.reference).max() > 0.05


def test_an_affine_displacement_grows_from_the_middle() -> None:
    pair = imagery_pairs.simulate_pair(seed=4, shape=SHAPE, shift=(0.5, 0.0), linear=(0.0, 0.01, -0.02, 0.0), **STILL)
    row, column = np.indices(SHAPE) + 0.5 - 48.0
    np.testing.assert_allclose(pair.displacement[0], 0.5 + 0.01 * column, atol=1e-5)
    np.testing.assert_allclose(pair.displacement[1], -0.02 * row, atol=1e-5)


def test_parallax_moves_high_terrain_away_from_the_sensor_by_height_times_tangent() -> None:
    pair = imagery_pairs.simulate_pair(seed=5, shape=SHAPE, look_angle=20.0, look_azimuth=90.0, relief=200.0, **STILL)
    right = pair.displacement[1]
    np.testing.assert_allclose(pair.displacement[0], 0.0, atol=1e-5)
    np.testing.assert_allclose(
        right - right.mean(), (pair.dem - pair.dem.mean()) * math.tan(math.radians(20.0)) / 10.0, atol=1e-3
    )
    undone = np.empty(SHAPE)
    for row in range(96):
        undone[row] = np.interp(np.arange(96) + right[row], np.arange(96), pair.target[3, row])
    inner = (slice(8, -8), slice(16, -16))
    assert (
        np.abs(undone - pair.reference[3])[inner].mean()
        < 0.3 * np.abs(pair.target[3] - pair.reference[3])[inner].mean()
    )


def test_calibration_is_applied_to_the_target_alone() -> None:
    plain, changed = (
        imagery_pairs.simulate_pair(seed=6, shape=SHAPE, gain=gain, offset=offset, **STILL)
        for gain, offset in ((1.0, 0.0), (1.2, 0.03))
    )
    np.testing.assert_array_equal(plain.reference, changed.reference)
    np.testing.assert_allclose(changed.target, 1.2 * plain.target + 0.03, atol=1e-5)
    np.testing.assert_allclose(changed.aligned_target, changed.target, atol=1e-5)


def test_noise_is_independent_in_both_views() -> None:
    pair = imagery_pairs.simulate_pair(seed=7, shape=SHAPE, **{**STILL, "noise": 0.01})
    difference = pair.target - pair.reference
    assert difference.std() == pytest.approx(0.01 * math.sqrt(2.0), rel=0.02)


def test_the_season_changes_the_land_between_two_dates() -> None:
    pair = imagery_pairs.simulate_pair(seed=8, shape=SHAPE, relief=20.0, **{**STILL, "days": (100.0, 205.0)})
    assert np.abs(pair.aligned_target[3] - pair.reference[3]).mean() > 0.02


def test_clouds_are_independent_in_both_views_and_near_their_share() -> None:
    pair = imagery_pairs.simulate_pair(seed=9, shape=SHAPE, cloud_fraction=0.3)
    for mask in (pair.reference_cloud, pair.target_cloud):
        assert 0.29 < mask.mean() < 0.75
    assert (pair.reference_cloud != pair.target_cloud).mean() > 0.1
    assert pair.reference[0][pair.reference_cloud].max() > 0.5


def test_an_unrelated_pair_shows_two_places_and_knows_no_displacement() -> None:
    pair = imagery_pairs.simulate_pair(seed=10, shape=SHAPE, unrelated=True, **STILL)
    assert not pair.related
    assert np.isnan(pair.displacement).all()
    assert abs(np.corrcoef(pair.reference[3].ravel(), pair.target[3].ravel())[0, 1]) < 0.5


@pytest.mark.parametrize("looks", [1.0, 4.0, 16.0])
def test_speckle_has_mean_one_and_the_number_of_looks_asked_for(looks: float) -> None:
    factors = imagery_pairs.speckle(np.random.default_rng(1), (300, 300), looks=looks)
    assert factors.mean() == pytest.approx(1.0, abs=4.0 / (300.0 * math.sqrt(looks)))
    assert factors.mean() ** 2 / factors.var() == pytest.approx(looks, rel=0.04)


def ridge(slope: float) -> np.ndarray:
    """A straight ridge from north to south with flanks of a slope [degree], 60 pixels of 10 m wide."""
    column = np.arange(200, dtype=np.float32)
    height = np.clip(30.0 - np.abs(column - 100.0), 0.0, None) * 10.0 * math.tan(math.radians(slope))
    return np.tile(height.astype(np.float32), (12, 1))


@pytest.mark.parametrize(("slope", "expected"), [(30.0, False), (36.0, False), (40.0, True), (50.0, True)])
def test_a_slope_towards_the_radar_lies_over_when_it_is_steeper_than_the_incidence(
    slope: float, expected: bool
) -> None:
    seen = imagery_pairs.radar_geometry(ridge(slope), pixel_size=10.0, incidence_angle=38.0, look_azimuth=90.0)
    assert seen.layover[:, 75:98].all() == expected
    assert seen.layover.any() == expected


def test_terrain_before_and_behind_a_layover_slope_shares_its_slant_range() -> None:
    seen = imagery_pairs.radar_geometry(ridge(50.0), pixel_size=10.0, incidence_angle=38.0, look_azimuth=90.0)
    top = 30.0 * math.tan(math.radians(50.0))
    # The foot at column 70 has the slant range of a point behind the crest; the crest that of a point before the foot.
    before = 100.0 - top / math.tan(math.radians(38.0))
    assert seen.layover[6, math.ceil(before) + 2 : 98].all()
    assert not seen.layover[6, : math.floor(before) - 2].any()


@pytest.mark.parametrize(("slope", "expected"), [(45.0, False), (50.0, False), (55.0, True), (65.0, True)])
def test_a_slope_away_from_the_radar_is_hidden_when_it_is_steeper_than_the_ray(slope: float, expected: bool) -> None:
    seen = imagery_pairs.radar_geometry(ridge(slope), pixel_size=10.0, incidence_angle=38.0, look_azimuth=90.0)
    assert seen.shadow[:, 103:128].all() == expected
    if expected:
        end = 100.0 + 30.0 * math.tan(math.radians(slope)) * math.tan(math.radians(38.0))
        assert not seen.shadow[6, math.ceil(end) + 1 :].any()


def test_the_radar_looking_the_other_way_sees_the_mirror_image() -> None:
    east = imagery_pairs.radar_geometry(ridge(60.0), pixel_size=10.0, incidence_angle=38.0, look_azimuth=90.0)
    west = imagery_pairs.radar_geometry(ridge(60.0)[:, ::-1], pixel_size=10.0, incidence_angle=38.0, look_azimuth=270.0)
    np.testing.assert_array_equal(west.layover[:, ::-1], east.layover)
    np.testing.assert_array_equal(west.shadow[:, ::-1], east.shadow)


def test_slopes_towards_the_radar_are_brighter_and_level_ground_keeps_its_gamma() -> None:
    seen = imagery_pairs.radar_geometry(ridge(20.0), pixel_size=10.0, incidence_angle=38.0, look_azimuth=90.0)
    toward, away, level = seen.gain[6, 85], seen.gain[6, 115], seen.gain[6, 10]
    assert level == pytest.approx(1.0, rel=1e-5)
    # tan(theta) / tan(theta - slope) for a facet that faces the radar (Small 2011).
    assert toward == pytest.approx(math.tan(math.radians(38.0)) / math.tan(math.radians(18.0)), rel=1e-3)
    assert away == pytest.approx(math.tan(math.radians(38.0)) / math.tan(math.radians(58.0)), rel=1e-3)
    assert seen.local_incidence[6, 85] == pytest.approx(18.0, abs=0.01)


def test_the_radar_pair_is_speckled_shifted_and_masked() -> None:
    settings = {"shape": SHAPE, "relief": 600.0, "looks": 9.0}
    still, moved = (
        imagery_pairs.simulate_radar_pair(seed=11, shift=shift, **settings) for shift in ((0.0, 0.0), (4.0, -3.0))
    )
    inner = (slice(10, -10), slice(10, -10))
    np.testing.assert_allclose(
        moved.mean_backscatter[0][inner],
        np.roll(still.mean_backscatter[0], (4, -3), axis=(0, 1))[inner],
        rtol=1e-2,
        atol=1e-4,
    )
    np.testing.assert_array_equal(moved.layover[inner], np.roll(still.layover, (4, -3), axis=(0, 1))[inner])
    factors = still.backscatter / still.mean_backscatter
    assert factors.mean() ** 2 / factors.var() == pytest.approx(9.0, rel=0.1)
    assert still.mean_backscatter.min() >= imagery_pairs.NOISE_FLOOR
    assert still.layover.any()
    assert moved.displacement == (4.0, -3.0)


def test_water_is_dark_and_roofs_are_bright_to_the_radar() -> None:
    landscape = imagery_landscape.lay_out(seed=12, shape=SHAPE, pixel_size=10.0, relief=0.0)
    level = imagery_pairs.radar_geometry(landscape.dem, pixel_size=10.0, incidence_angle=38.0, look_azimuth=80.0)
    rng = np.random.default_rng(1)
    seen = imagery_pairs.mean_backscatter(landscape, level, rng=rng, day_of_year=200.0, flattened=True)
    water = landscape.class_map >= imagery_landscape.CLEAR_WATER
    roof = landscape.class_map == imagery_landscape.ROOF
    assert seen[0][roof].mean() > 10.0 * seen[0][water].mean()
    assert (seen[0] > seen[1]).mean() > 0.95


def test_an_unrelated_radar_pair_knows_no_displacement() -> None:
    pair = imagery_pairs.simulate_radar_pair(
        seed=13, shape=(48, 48), unrelated=True, cloud_fraction=0.2, flattened=True
    )
    assert np.isnan(pair.displacement).all()
    assert (pair.optical[0] > 0.5).mean() > 0.02


def test_the_same_seed_gives_the_same_pair() -> None:
    one, same = (imagery_pairs.simulate_pair(seed=14, shape=(48, 48), cloud_fraction=0.2) for _ in range(2))
    np.testing.assert_array_equal(one.target, same.target)
