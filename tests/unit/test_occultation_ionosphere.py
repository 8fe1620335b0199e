"""The ionosphere at common impact parameter: any pair of carriers, the second signal lost, and what is left."""

import dataclasses

import numpy as np
import pytest

from processors import constants
from retrieval.occultation import ionosphere

RADIUS = 6_370_000.0
LEVELS = RADIUS + np.arange(2_000.0, 90_000.0, 100.0)
HEIGHT = LEVELS - RADIUS
NEUTRAL = 0.02 * np.exp(-HEIGHT / 7_000.0)
RULE = ionosphere.IonosphereParameters()
FIRST_ORDER = dataclasses.replace(RULE, residual=0.0)
GPS = np.array([constants.GPS_L1, constants.GPS_L2])
PAIRS = {
    "GPS L1 L2": GPS,
    "GPS L1 L5": np.array([constants.GPS_L1, constants.GPS_L5]),
    "BeiDou B1C B2a": np.array([constants.GPS_L1, constants.GPS_L5]),
    "BeiDou B1I B3I": np.array([constants.BEIDOU_B1I, constants.BEIDOU_B3I]),
    "GLONASS": np.array([constants.GLONASS_L1, constants.GLONASS_L2]),
}


def corrected(
    first: np.ndarray,
    second: np.ndarray,
    *,
    frequency: np.ndarray = GPS,
    border: float = np.nan,
    rule: ionosphere.IonosphereParameters = FIRST_ORDER,
) -> ionosphere.IonosphereCorrection:
    return ionosphere.correct(
        first,
        difference=first - second,
        impact_parameter=LEVELS,
        radius=RADIUS,
        frequency=frequency,
        second_border=border,
        parameters=rule,
    )


def bent(electrons: np.ndarray | float, frequency: np.ndarray = GPS) -> list[np.ndarray]:
    """Bending of both signals: neutral, plus electrons over the square of the frequency."""
    return [NEUTRAL + electrons / carrier**2 for carrier in frequency]


@pytest.mark.parametrize("pair", PAIRS)
def test_electrons_are_removed_to_first_order_for_any_pair(pair: str) -> None:
    frequency = PAIRS[pair]
    # A difference that is a straight line over impact parameter passes the smoothing unchanged.
    electrons = 2e13 * (1.0 + HEIGHT / 100_000.0)
    found = corrected(*bent(electrons, frequency), frequency=frequency)
    one, two = frequency**2
    assert found.gain == pytest.approx(two / (one - two))
    above = HEIGHT > 3_000.0
    np.testing.assert_allclose(found.bending_angle[above], NEUTRAL[above], atol=1e-13)
    assert np.abs(bent(electrons, frequency)[0] - NEUTRAL).max() > 5e-6
    assert not found.extrapolated[above].any()


def test_the_residual_is_the_square_of_the_difference_and_scales_from_pair_to_pair() -> None:
    """With a_i = a + A/f^2 + B/f^4, B = c A^2, the first order leaves -B/(f1 f2)^2, and one c mends every pair."""
    # Healy and Culverwell (2015) give 14 rad-1 for GPS.
    assert ionosphere._kappa(GPS, RULE) == pytest.approx(14.0, rel=2e-3)
    electrons = 1e14
    for frequency in PAIRS.values():
        bending = [
            NEUTRAL + electrons / carrier**2 + RULE.residual * electrons**2 / carrier**4 for carrier in frequency
        ]
        plain = corrected(*bending, frequency=frequency).bending_angle - NEUTRAL
        mended = corrected(*bending, frequency=frequency, rule=RULE).bending_angle - NEUTRAL
        left = RULE.residual * electrons**2 / np.prod(frequency**2)
        np.testing.assert_allclose(plain, -left, rtol=1e-6)
        assert np.abs(mended).max() < 2e-3 * left


def test_below_the_loss_of_the_second_signal_the_difference_is_carried_and_its_error_grows() -> None:
    first, second = bent(2e13)
    second = np.where(HEIGHT > 15_000.0, second, np.nan)
    found = corrected(first, second)
    np.testing.assert_allclose(found.bending_angle, NEUTRAL, atol=1e-12)
    lowest = 15_100.0 + RULE.guard
    assert found.second_bottom - RADIUS == pytest.approx(lowest, abs=1.0)
    np.testing.assert_array_equal(found.extrapolated, lowest > HEIGHT + 1.0)
    carried = found.systematic[found.extrapolated]
    assert (np.diff(carried) < 0.0).all()
    distance = (lowest - HEIGHT)[found.extrapolated]
    expected = found.gain * RULE.extrapolation_rate * distance * np.abs(found.difference[found.extrapolated])
    np.testing.assert_allclose(carried, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.systematic[~found.extrapolated], 0.0)


def test_the_border_of_the_second_signal_counts_with_its_guard() -> None:
    first, second = bent(2e13)
    found = corrected(first, second + np.where(HEIGHT < 12_000.0, 3e-4, 0.0), border=RADIUS + 12_000.0)
    assert found.second_bottom - RADIUS == pytest.approx(12_000.0 + RULE.guard, abs=100.0)
    np.testing.assert_allclose(found.bending_angle, NEUTRAL, atol=1e-12)


def test_a_second_signal_too_wild_for_the_bending_is_given_up_from_there_down() -> None:
    first, second = bent(2e13)
    wild = np.where(HEIGHT < 9_000.0, 2e-3, 0.0) * np.random.default_rng(5).standard_normal(HEIGHT.size)
    found = corrected(first, second + wild)
    assert 8_500.0 < found.second_bottom - RADIUS < 11_500.0
    np.testing.assert_allclose(found.bending_angle, NEUTRAL, atol=1e-6)


def test_without_a_second_signal_there_is_no_corrected_bending() -> None:
    first = bent(2e13)[0]
    for present in (0, 4):
        second = np.where(np.arange(LEVELS.size) < present, first, np.nan)
        found = corrected(first, second)
        assert np.isnan(found.bending_angle).all()
        assert np.isnan(found.second_bottom)
        assert found.extrapolated.all()
        assert found.smoother.nnz == 0


def test_a_noisier_second_signal_is_smoothed_wider() -> None:
    """Noise of the difference asks for width, waves of the electrons that both signals share for little of it."""
    generator = np.random.default_rng(12)
    waves = 2e13 * (1.0 + 0.3 * np.sin(2.0 * np.pi * HEIGHT / 5_000.0))
    first, second = bent(waves)
    noise = generator.standard_normal(HEIGHT.size)
    widths = [corrected(first, second + size * noise).half_width for size in (1e-9, 2e-6, 5e-5)]
    assert widths[0] == RULE.half_widths[0]
    assert widths[0] < widths[1] < widths[2]
    assert widths[2] >= 3_000.0


def test_smoothing_lets_through_the_noise_of_the_difference_less_the_wider_it_is() -> None:
    """A straight line under a parabola of half width h has the variance 3/5 d/h of white noise of spacing d."""
    first, second = bent(2e13)
    found = corrected(first, second)
    rows = found.smoother[slice(200, 600)]
    variance = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    np.testing.assert_allclose(variance, 0.6 * 100.0 / found.half_width, rtol=0.02)
    np.testing.assert_allclose(rows @ HEIGHT, HEIGHT[200:600], rtol=1e-9)


def test_levels_without_the_first_signal_stay_missing_and_uncounted() -> None:
    first, second = bent(2e13)
    first = np.where(HEIGHT > 4_000.0, first, np.nan)
    found = corrected(first, np.where(HEIGHT > 15_000.0, second, np.nan))
    np.testing.assert_array_equal(np.isnan(found.bending_angle), HEIGHT <= 4_000.0)
    assert not found.extrapolated[HEIGHT <= 4_000.0].any()


def test_the_error_of_what_is_carried_starts_at_the_lowest_level_that_was_used() -> None:
    """A gap of the second signal right above its bottom: what lies in it is carried from the gap's upper end."""
    first, second = bent(2e13)
    second = np.where((HEIGHT > 15_000.0) & (HEIGHT < 15_500.0) | (HEIGHT > 18_000.0), second, np.nan)
    found = corrected(first, second)
    assert found.second_bottom - RADIUS == pytest.approx(18_100.0, abs=1.0)
    carried = found.systematic[found.extrapolated]
    assert (np.diff(carried) < 0.0).all()
