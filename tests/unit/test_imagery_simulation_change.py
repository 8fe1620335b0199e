"""Simulated series: coarse light is fine light, change happens where and when it is said to."""

import math

import numpy as np
import pytest
from scipy import ndimage

from processors.simulation import imagery_change, imagery_landscape

QUIET = {"gain_spread": 0.0, "bias_spread": 0.0, "fine_noise": 0.0, "coarse_noise": 0.0}
SHAPE = (96, 96)


@pytest.mark.parametrize("ratio", [8, 16, 30])
def test_a_coarse_image_keeps_the_energy_of_the_fine_one(ratio: int) -> None:
    fine = np.random.default_rng(1).random((2, 6 * ratio, 5 * ratio)).astype(np.float32)
    coarse = imagery_change.coarsened(fine, ratio=ratio, margin=0)
    assert coarse.shape == (2, 6, 5)
    constant = imagery_change.coarsened(np.full_like(fine, 0.3), ratio=ratio, margin=0)
    np.testing.assert_allclose(constant, 0.3, rtol=1e-5)
    spread = np.zeros_like(fine)
    spread[:, 2 * ratio : 3 * ratio, 2 * ratio : 3 * ratio] = 1.0
    seen = imagery_change.coarsened(spread, ratio=ratio, margin=0, gain=0.35)
    assert seen[0].sum() == pytest.approx(1.0, abs=0.02)
    assert seen[0].argmax() == 2 * 5 + 2


def test_a_misregistration_of_one_coarse_pixel_moves_the_image_by_one() -> None:
    still, moved = (
        imagery_change.simulate_change(seed=1, shape=SHAPE, misregistration=way, **QUIET)
        for way in ((0.0, 0.0), (16.0, 0.0))
    )
    np.testing.assert_allclose(moved.coarse[:, :, 1:], still.coarse[:, :, :-1], atol=1e-5)
    np.testing.assert_array_equal(moved.truth, still.truth)
    assert moved.coarse_grid == still.coarse_grid


def test_the_coarse_sensor_has_its_own_calibration() -> None:
    ideal = imagery_change.simulate_change(seed=2, shape=SHAPE, **QUIET)
    real = imagery_change.simulate_change(seed=2, shape=SHAPE, **{**QUIET, "gain_spread": 0.05, "bias_spread": 0.01})
    gain, bias = (np.array(part)[:, None, None] for part in (real.coarse_gain, real.coarse_bias))
    np.testing.assert_allclose(real.coarse, ideal.coarse * gain + bias, atol=1e-5)
    assert np.abs(np.array(real.coarse_gain) - 1.0).max() > 0.01


def test_coarse_pixels_are_near_the_mean_of_the_fine_ones_below_them() -> None:
    series = imagery_change.simulate_change(seed=3, shape=SHAPE, **QUIET)
    boxes = series.truth.reshape(3, 6, 6, 16, 6, 16).mean(axis=(3, 5))
    assert np.corrcoef(boxes.ravel(), series.coarse.ravel())[0, 1] > 0.97
    fine, coarse = series.fine_grid.transform, series.coarse_grid.transform
    assert (coarse.a, coarse.c, coarse.f) == (16 * fine.a, fine.c, fine.f)


def test_land_changes_where_the_truth_says_and_from_that_date_on() -> None:
    quiet, real = (
        imagery_change.simulate_change(seed=4, shape=SHAPE, change_fraction=share, change_before=2, **QUIET)
        for share in (0.0, 0.15)
    )
    assert not quiet.change.any()
    assert not real.change[:2].any()
    assert 0.04 < (real.change[2] > 0).mean() < 0.3
    np.testing.assert_array_equal(real.truth[:2], quiet.truth[:2])
    # The blur carries light over a few pixels, also from beyond the edge.
    far = ndimage.distance_transform_edt(np.pad(real.change[2] == 0, 1))[1:-1, 1:-1] > 4
    np.testing.assert_allclose(real.truth[2][:, far], quiet.truth[2][:, far], atol=1e-6)
    touched = np.abs(real.truth[2] - quiet.truth[2]).max(axis=0)[real.change[2] > 0]
    assert np.median(touched) > 0.03


def test_a_flood_is_dark_in_the_infrared_and_a_roof_bright_in_the_blue() -> None:
    series = imagery_change.simulate_change(seed=5, shape=SHAPE, change_fraction=0.3, relief=0.0, **QUIET)
    flood, roofs = (series.change[1] == kind for kind in (imagery_change.FLOOD, imagery_change.CONSTRUCTION))
    nir, swir = series.truth[1, 3], series.truth[1, 4]
    assert np.median(swir[flood]) < 0.05 < np.median(nir[flood]) + 0.02
    assert np.median(series.truth[1, 0][roofs]) > 0.15
    assert not (flood & (series.class_map >= imagery_landscape.CLEAR_WATER)).any()


def test_without_a_date_patches_change_at_different_dates_and_stay_changed() -> None:
    series = imagery_change.simulate_change(
        seed=6, shape=SHAPE, days=(60.0, 90.0, 120.0, 150.0), change_fraction=0.3, change_before=None
    )
    shares = (series.change > 0).mean(axis=(1, 2))
    assert shares[0] == 0.0 < shares[1] < shares[3]
    assert ((series.change[2] > 0) >= (series.change[1] > 0)).all()


def test_noise_of_both_sensors_is_the_one_asked_for() -> None:
    series = imagery_change.simulate_change(seed=7, shape=SHAPE, **{**QUIET, "fine_noise": 0.01})
    assert (series.fine - series.truth).std() == pytest.approx(0.01, rel=0.02)
    loud = imagery_change.simulate_change(seed=7, shape=SHAPE, **{**QUIET, "coarse_noise": 0.01})
    assert (loud.coarse - series.coarse).std() == pytest.approx(0.01, rel=0.1)


def test_the_sun_stands_where_the_declination_puts_it() -> None:
    azimuth, elevation = imagery_change.sun_position(81.0)
    latitude, hour = math.radians(29.5), math.radians(22.5)
    assert elevation == pytest.approx(math.degrees(math.asin(math.cos(latitude) * math.cos(hour))), abs=0.1)
    assert 90.0 < azimuth < 180.0
    assert imagery_change.sun_position(172.0)[1] > elevation > imagery_change.sun_position(355.0)[1]


def test_the_same_seed_gives_the_same_series() -> None:
    one, same, other = (imagery_change.simulate_change(seed=seed, shape=(48, 48)) for seed in (8, 8, 9))
    np.testing.assert_array_equal(one.coarse, same.coarse)
    assert np.abs(one.truth - other.truth).mean() > 0.01


def test_shapes_and_days_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="ratio"):
        imagery_change.simulate_change(seed=1, shape=(50, 48))
    with pytest.raises(ValueError, match="rise"):
        imagery_change.simulate_change(seed=1, shape=(48, 48), days=(10.0, 10.0))
