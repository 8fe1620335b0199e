"""The simulated sensor has the transfer function, the grid and the noise it claims."""

import numpy as np
import pytest
from scipy import fft

from processors.simulation import imagery_clouds, imagery_sensor

SHAPE = (96, 96)


def wave(shape: tuple[int, int], *, period: float, axis: int, phase: float = 0.0) -> np.ndarray:
    place = np.indices(shape)[axis]
    return np.cos(2.0 * np.pi * (place + 0.5) / period + phase).astype(np.float32)


@pytest.mark.parametrize("pixel", [2, 3, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("gain", [0.12, 0.3])
def test_a_wave_at_the_nyquist_frequency_keeps_the_gain_of_its_contrast(pixel: int, axis: int, gain: float) -> None:
    shape = (24 * pixel, 24 * pixel)
    fine = wave(shape, period=2.0 * pixel, axis=axis, phase=-np.pi / 2.0)
    seen = imagery_sensor.observe(fine, pixel=pixel, gain=gain, origin=(0.0, 0.0), shape=(24, 24))
    np.testing.assert_allclose(np.abs(seen), gain, atol=2e-5)


def test_a_wave_below_nyquist_keeps_the_product_of_detector_and_optics() -> None:
    seen = imagery_sensor.observe(
        wave((80, 80), period=16.0, axis=1), pixel=4, gain=0.25, origin=(0.0, 0.0), shape=(20, 20)
    )
    expected = np.sinc(0.25) * (0.25 * np.pi / 2.0) ** 0.25
    assert np.ptp(seen) / 2.0 == pytest.approx(expected * np.cos(np.pi / 4.0), rel=1e-4)


def test_even_light_passes_unchanged() -> None:
    fine = np.full((48, 60), 0.37, dtype=np.float32)
    seen = imagery_sensor.observe(fine, pixel=4, gain=0.2, origin=(1.3, -0.7), shape=(10, 12))
    np.testing.assert_allclose(seen, 0.37, rtol=1e-5)


def test_a_displaced_origin_moves_the_phase_of_a_wave_by_its_way() -> None:
    fine = wave((64, 64), period=32.0, axis=0)
    still = imagery_sensor.observe(fine, pixel=2, gain=0.3, origin=(0.0, 0.0), shape=(32, 32))
    amplitude = np.sinc(1 / 16) * (0.3 * np.pi / 2) ** (1 / 64)
    for origin in (0.5, 1.7, -3.2):
        seen = imagery_sensor.observe(fine, pixel=2, gain=0.3, origin=(origin, 0.0), shape=(32, 32))
        centers = origin + 2.0 * np.arange(32) + 1.0
        np.testing.assert_allclose(seen[:, 5], amplitude * np.cos(2 * np.pi * centers / 32.0), atol=1e-5)
    assert np.abs(still).max() <= amplitude + 1e-6


def test_the_phase_moves_whole_pixels_exactly_and_half_pixels_twice() -> None:
    fine = np.random.default_rng(1).random((30, 41)).astype(np.float32)
    spectrum = fft.rfft2(fine)
    moved = imagery_sensor.displaced(spectrum, fine.shape, down=3.0, right=-5.0)
    np.testing.assert_allclose(moved, np.roll(fine, (-3, 5), axis=(0, 1)), atol=1e-5)
    smooth = imagery_sensor.displaced(
        spectrum * imagery_sensor.transfer(fine.shape, pixel=2.0, gain=0.1), fine.shape, down=0.0, right=0.0
    )
    half = imagery_sensor.displaced(fft.rfft2(smooth), fine.shape, down=0.0, right=0.5)
    whole = imagery_sensor.displaced(fft.rfft2(half), fine.shape, down=0.0, right=0.5)
    np.testing.assert_allclose(whole, np.roll(smooth, -1, axis=1), atol=2e-3)


@pytest.mark.parametrize("gain", [0.0, -0.1, 0.7])
def test_a_gain_no_detector_has_is_refused(gain: float) -> None:
    with pytest.raises(ValueError, match="Nyquist"):
        imagery_sensor.transfer((8, 8), pixel=2.0, gain=gain)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_the_images_have_the_sizes_and_the_grids_of_their_pixels(ratio: int) -> None:
    side = 16 * ratio**2 // 2
    sensor = imagery_sensor.simulate_sensor(seed=1, shape=(side, 2 * side), ratio=ratio, grid_offset=(0.5, -0.25))
    assert sensor.pan.shape == (side, 2 * side)
    assert sensor.truth.shape == (4, side, 2 * side)
    assert sensor.ms.shape == (4, side // ratio, 2 * side // ratio)
    assert sensor.reduced_pan.shape == sensor.ms.shape[1:]
    assert sensor.reduced_ms.shape == (4, side // ratio**2, 2 * side // ratio**2)
    left, top = imagery_clouds.CORNER
    assert sensor.ms_grid.transform[:6] == pytest.approx((ratio, 0.0, left - 0.25, 0.0, -ratio, top - 0.5))
    reduced = ratio + 1
    assert sensor.reduced_ms_grid.transform[:6] == pytest.approx(
        (ratio**2, 0.0, left - 0.25 * reduced, 0.0, -(ratio**2), top - 0.5 * reduced)
    )


def test_an_offset_grid_sees_what_lies_under_it() -> None:
    offsets = ((0.0, 0.0), (4.0, 0.0), (0.0, 8.0))
    still, down, right = (
        imagery_sensor.simulate_sensor(seed=2, shape=SHAPE, grid_offset=offset, ms_snr=np.inf) for offset in offsets
    )
    np.testing.assert_allclose(down.ms_ideal[:, :-1], still.ms_ideal[:, 1:], atol=1e-5)
    np.testing.assert_allclose(right.ms_ideal[:, :, :-2], still.ms_ideal[:, :, 2:], atol=1e-5)
    np.testing.assert_array_equal(down.truth, still.truth)


def test_fine_truth_and_coarse_image_show_the_same_light() -> None:
    sensor = imagery_sensor.simulate_sensor(seed=3, shape=SHAPE)
    boxes = sensor.truth.reshape(4, 24, 4, 24, 4).mean(axis=(2, 4))
    for band in range(4):
        assert np.corrcoef(boxes[band].ravel(), sensor.ms_ideal[band].ravel())[0, 1] > 0.93
        assert boxes[band].mean() == pytest.approx(sensor.ms_ideal[band].mean(), rel=0.03)
        assert sensor.truth[band].std() > 1.1 * sensor.ms_ideal[band].std()


def test_a_panchromatic_band_of_red_alone_is_the_red_band() -> None:
    sensor = imagery_sensor.simulate_sensor(
        seed=4, shape=SHAPE, panchromatic={"red": 2.0}, ms_gain=(0.3,) * 4, pan_gain=0.3, pan_snr=np.inf, ms_snr=np.inf
    )
    assert sensor.pan_weights == {"red": 1.0}
    np.testing.assert_allclose(sensor.pan, sensor.truth[2], atol=0.51 * sensor.quantum)
    np.testing.assert_allclose(sensor.reduced_pan, sensor.ms_ideal[2], atol=1e-6)


def test_a_panchromatic_band_blind_to_the_infrared_correlates_weakly_with_it() -> None:
    sensor = imagery_sensor.simulate_sensor(seed=5, shape=SHAPE, panchromatic="visible")
    assert sum(sensor.pan_weights.values()) == pytest.approx(1.0)
    r = [np.corrcoef(sensor.truth[band].ravel(), sensor.pan.ravel())[0, 1] for band in (1, 2, 3)]
    assert min(r[:2]) > 0.9
    assert abs(r[2]) < 0.6


def test_noise_is_the_mean_over_the_signal_to_noise_ratio() -> None:
    sensor = imagery_sensor.simulate_sensor(seed=6, shape=(256, 256), ms_snr=40.0, quantum=1e-5)
    noise = (sensor.ms - sensor.ms_ideal).std(axis=(1, 2))
    np.testing.assert_allclose(noise, sensor.ms_ideal.mean(axis=(1, 2)) / 40.0, rtol=0.06)


def test_counts_are_nearest_numbers_and_never_no_data() -> None:
    values = np.array([-0.1, 0.0, 0.12344, 0.12346, 9.0], dtype=np.float32)
    np.testing.assert_array_equal(
        imagery_sensor.counts_from_reflectance(values, quantum=1e-4), [1, 1, 1234, 1235, 65535]
    )


def test_the_same_seed_gives_the_same_sensor_and_another_one_does_not() -> None:
    one, same, other = (imagery_sensor.simulate_sensor(seed=seed, shape=(48, 48)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.ms_counts, same.ms_counts)
    assert one.ms_gain == same.ms_gain != other.ms_gain
    assert (one.pan_counts != other.pan_counts).mean() > 0.9


def test_a_shape_that_the_ratio_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="ratio"):
        imagery_sensor.simulate_sensor(seed=1, shape=(40, 48))
