"""Scintillation index and electron content, against intensities and columns in closed form."""

import dataclasses

import numpy as np
import pytest

from processors import constants
from retrieval.occultation import scintillation

RULE = scintillation.ScintillationParameters()
RATE = 50.0
TIME = 1.3e9 + np.arange(1_500) / RATE
HEIGHTS = np.linspace(110_000.0, 50_001.0, TIME.size)
STRENGTH = 800.0


def index_of(snr: np.ndarray, *, heights: np.ndarray = HEIGHTS, time: np.ndarray = TIME) -> float:
    return scintillation.amplitude_index(snr, heights=heights, time=time, parameters=RULE)


@pytest.mark.parametrize("depth", [0.05, 0.3, 0.9])
def test_a_sinusoidal_intensity_has_its_depth_over_the_root_of_two(depth: float) -> None:
    # Whole periods in a window of ten seconds; the thermal share of 800 V is 8.8e-3 of the squared index.
    intensity = STRENGTH**2 * 100.0 * (1.0 + depth * np.cos(2.0 * np.pi * 0.5 * (TIME - TIME[0])))
    assert index_of(np.sqrt(intensity)) == pytest.approx(depth / np.sqrt(2.0), rel=3e-3)


def test_thermal_noise_alone_is_no_scintillation_and_does_not_add_to_it() -> None:
    generator, found = np.random.default_rng(11), []
    for depth in (0.0, 0.4):
        amplitude = STRENGTH * np.sqrt(1.0 + depth * np.cos(2.0 * np.pi * 0.5 * (TIME - TIME[0])))
        found.append(
            np.mean([index_of(amplitude + np.sqrt(RATE) * generator.standard_normal(TIME.size)) for _ in range(30)])
        )
    uncorrected = 2.0 * np.sqrt(RATE) / STRENGTH
    assert found[0] < 0.45 * uncorrected
    assert found[1] == pytest.approx(0.4 / np.sqrt(2.0), rel=0.02)


def test_the_largest_window_is_given_and_a_burst_counts_once() -> None:
    depth = np.where((TIME - TIME[0] > 10.0) & (TIME - TIME[0] < 20.0), 0.5, 0.0)
    intensity = (STRENGTH * 10.0) ** 2 * (1.0 + depth * np.cos(2.0 * np.pi * (TIME - TIME[0])))
    assert index_of(np.sqrt(intensity)) == pytest.approx(0.5 / np.sqrt(2.0), rel=2e-2)


def test_the_air_below_and_missing_samples_do_not_count() -> None:
    snr = np.full(TIME.size, STRENGTH)
    heights = np.linspace(110_000.0, 0.0, TIME.size)
    low = heights < RULE.bottom
    falling = np.where(low, snr * np.linspace(1.0, 0.1, TIME.size), snr)
    assert index_of(falling, heights=heights) == 0.0
    falling[5:9], falling[20] = np.nan, 0.0
    assert index_of(falling, heights=heights) == 0.0


def test_a_layer_shorter_than_a_window_gives_nothing() -> None:
    few = slice(0, 499)
    assert np.isnan(index_of(np.full(499, STRENGTH), heights=HEIGHTS[few], time=TIME[few]))
    whole = slice(0, 500)
    assert index_of(np.full(500, STRENGTH), heights=HEIGHTS[whole], time=TIME[whole]) == 0.0


PAIRS = [(constants.GPS_L1, constants.GPS_L2), (constants.BEIDOU_B1I, constants.BEIDOU_B3I)]


@pytest.mark.parametrize("pair", PAIRS)
def test_a_known_column_of_electrons_is_found_whatever_the_air_and_the_ambiguity(pair: tuple[float, float]) -> None:
    frequency = np.array(pair)
    column = 3e17 + 1e15 * (TIME - TIME[0])
    air = 20.0 * np.exp(-(HEIGHTS - 50e3) / 7e3)
    phase = air - constants.IONOSPHERIC_REFRACTION * column / frequency[:, None] ** 2 + np.array([[123.0], [-45.6]])
    phase[1, 100:140] = np.nan
    found = scintillation.electron_content(phase, frequency=frequency, heights=HEIGHTS, time=TIME, parameters=RULE)
    np.testing.assert_allclose(found.content, 1e15 * (found.time - found.time[0]), atol=1e10)
    assert found.content[0] == 0.0
    assert found.time.size == 30
    assert found.time[0] == pytest.approx(TIME[0] + 0.49, abs=1e-3)
    np.testing.assert_allclose(found.height, np.interp(found.time, TIME, HEIGHTS), atol=1.0)


def test_only_samples_above_the_air_with_both_phases_count() -> None:
    phase = np.zeros((2, TIME.size))
    phase[1, :700] = np.nan
    rule = dataclasses.replace(RULE, bottom=60_000.0)
    found = scintillation.electron_content(
        phase, frequency=np.array(PAIRS[0]), heights=HEIGHTS, time=TIME, parameters=rule
    )
    assert found.time[0] > TIME[700]
    assert found.height.min() > 60_000.0
    nothing = scintillation.electron_content(
        phase * np.nan, frequency=np.array(PAIRS[0]), heights=HEIGHTS, time=TIME, parameters=rule
    )
    assert [part.size for part in nothing] == [0, 0, 0]
