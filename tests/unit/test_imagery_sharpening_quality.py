"""Quality of sharpened images: known values, invariances and missing pixels."""

import math

import numpy as np
import pytest

from processors.imagery import sharpening_quality as quality


@pytest.fixture
def image():
    return np.random.default_rng(1).uniform(10, 20, (5, 70, 66))


def test_ergas_of_a_uniform_relative_error_is_that_error_over_the_ratio():
    reference = np.full((3, 8, 8), 50.0)
    assert quality.ergas(reference * 1.1, reference, ratio=4.0) == pytest.approx(100.0 / 4.0 * 0.1)


def test_spectral_angle_ignores_brightness_and_measures_angles():
    reference = np.stack([np.full((4, 4), 3.0), np.zeros((4, 4))])
    turned = np.stack([np.full((4, 4), 1.0), np.full((4, 4), 1.0)])
    assert quality.spectral_angle(7.0 * turned, reference) == pytest.approx(45.0)
    assert quality.spectral_angle(reference * 0.2, reference) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8])
def test_hypercomplex_quality_of_the_same_image_is_one(image, bands):
    stack = np.concatenate([image, image[:3] ** 1.1])[:bands]
    assert quality.hypercomplex_quality(stack, stack) == pytest.approx(1.0)


def test_hypercomplex_quality_of_one_band_is_the_magnitude_of_q(image):
    other = image[:1] + np.random.default_rng(2).normal(0, 2, image[:1].shape)
    assert quality.hypercomplex_quality(other, image[:1]) == pytest.approx(
        quality.universal_quality(other[0], image[0]), rel=1e-6
    )


def test_hypercomplex_quality_sees_swapped_bands(image):
    correlated = image[0] + 0.3 * image
    assert quality.hypercomplex_quality(correlated[[1, 0, 2, 3]], correlated[:4]) < 0.999


def test_units_multiply_like_quaternions():
    signs = quality.hypercomplex_signs(4)
    assert signs[1, 1] == signs[2, 2] == signs[3, 3] == -1
    assert signs[1, 2] == 1
    assert signs[2, 1] == -1
    assert signs[2, 3] == 1
    assert signs[3, 1] == 1


@pytest.mark.parametrize("dimensions", [1, 2, 4, 8])
def test_magnitudes_multiply_up_to_octonions(dimensions):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, dimensions))
    signs = quality.hypercomplex_signs(dimensions)
    product = np.zeros(dimensions)
    for i in range(dimensions):
        for j in range(dimensions):
            product[i ^ j] += signs[i, j] * a[i] * b[j]
    assert np.linalg.norm(product) == pytest.approx(np.linalg.norm(a) * np.linalg.norm(b))


def test_universal_quality_is_signed_and_bounded():
    plane = np.random.default_rng(4).uniform(1, 2, (64, 64))
    assert quality.universal_quality(plane, plane) == pytest.approx(1.0)
    assert quality.universal_quality(3.0 - plane, plane) < -0.9
    assert quality.universal_quality(np.zeros((8, 8)), np.zeros((8, 8))) == 1.0


def test_missing_pixels_count_nowhere(image):
    other = image * 1.05
    holed = other.copy()
    holed[:, 5:9, 7:11] = np.nan
    spoiled = other.copy()
    spoiled[:, 5:9, 7:11] = 1e6
    assert quality.ergas(holed, image, ratio=2.0) == pytest.approx(2.5, rel=0.05)
    assert quality.ergas(spoiled, image, ratio=2.0) > 100.0
    assert quality.spectral_angle(holed, image) == pytest.approx(0.0, abs=1e-5)
    assert quality.hypercomplex_quality(holed, image) == pytest.approx(
        quality.hypercomplex_quality(other, image), abs=1e-3
    )


def test_nothing_seen_is_no_number(image):
    gone = np.full_like(image, np.nan)
    assert math.isnan(quality.ergas(gone, image, ratio=2.0))
    assert math.isnan(quality.spectral_angle(gone, image))
    assert math.isnan(quality.hypercomplex_quality(gone, image))
    assert math.isnan(quality.universal_quality(gone[0], image[0]))


def test_images_of_different_shapes_break_the_contract(image):
    with pytest.raises(ValueError, match="same"):
        quality.ergas(image[:, 1:], image, ratio=2.0)


def test_consistent_images_have_no_distortion(image):
    made = quality.distortion(image, image[0], ms=image, low=image[0], sharpened_low=image)
    assert made.spectral == made.spatial == 0.0
    assert made.qnr == 1.0
    assert made.hqnr == pytest.approx(1.0)
    one = quality.distortion(image[:1], image[0], ms=image[:1], low=image[0], sharpened_low=0.5 * image[:1])
    assert one.spectral == 0.0
    assert one.hqnr < 0.9
