"""One signal on levels: the shadow border, the noise of the phase, the windows it asks for, and both optics blended."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from processors import constants
from processors.occultation import excess_phase
from processors.orbit import sp3
from processors.simulation import occultation as simulation
from retrieval.occultation import georeference, observation, shadow, signal_bending, truncation
from retrieval.occultation.occultation_parameters import OccultationParameters

PARAMETERS = OccultationParameters()
BLEND = PARAMETERS.blend
LEVELS = 6_371_000.0 + np.arange(1_000.0, 30_000.0, 50.0)


class Event(NamedTuple):
    level1b: xr.Dataset
    truth: simulation.OccultationTruth
    reference: georeference.Reference
    levels: np.ndarray
    of: signal_bending.Rays


@pytest.fixture(scope="module")
def event() -> Event:
    """A noise-free occultation without electrons."""
    # At 64 Hz the moments the simulator samples are exact in seconds since 1980, and no rounding passes for noise.
    quiet = simulation.OccultationSimulation(noise=0.0, candidates=1, ionosphere=None, rate=64.0)
    made = simulation.simulate_occultations(start_gps=1.45e9, count=1, seed=2, parameters=quiet)
    level1b = excess_phase.excess_phase_from_carrier(
        simulation.dataset_from_observation(made.events[0]),
        receiver=simulation.dataset_from_receiver_orbit(made.receiver_orbit),
        transmitters=sp3.parse(made.sp3),
    )
    return whole(level1b, made.events[0].truth)


def whole(level1b: xr.Dataset, truth: simulation.OccultationTruth) -> Event:
    reference = georeference.locate(level1b)
    levels = observation.levels(reference.radius, parameters=PARAMETERS.levels)
    of = signal_bending.rays(level1b, reference=reference, levels=levels, waves=PARAMETERS.waves, blend=BLEND)
    return Event(level1b, truth, reference, levels, of)


def found(
    event: Event, *, phase: np.ndarray | None = None, signal: int = 0, longer: float = 1.0
) -> signal_bending.SignalBending:
    level1b = event.level1b
    if phase is not None:
        level1b = level1b.assign(excess_phase=(level1b["excess_phase"].dims, phase))
    return signal_bending.bending(
        level1b,
        signal,
        usable=np.ones(level1b.sizes["time"], dtype=bool),
        of=event.of,
        levels=event.levels,
        doppler=dataclasses.replace(PARAMETERS.doppler, window=longer * PARAMETERS.doppler.window),
    )


def height(event: Event) -> np.ndarray:
    return event.levels - event.of.radius


@pytest.mark.parametrize("step", [1_500.0, 4_000.0, 8_500.0])
@pytest.mark.parametrize("scatter", [0.0, 0.25])
def test_the_border_is_where_the_amplitude_steps_whatever_the_height_and_the_noise(step: float, scatter: float) -> None:
    border = LEVELS[0] + step
    noise = scatter * np.abs(np.random.default_rng(int(step)).standard_normal(LEVELS.size))
    amplitude = np.where(border <= LEVELS, 1.0, 0.05) + noise
    at = shadow.border(amplitude, impact_parameter=LEVELS, thickness=(10_000.0,))
    assert at == pytest.approx(border, abs=1.0 if scatter == 0.0 else 150.0)


def test_without_a_shadow_the_border_is_the_lowest_known_level() -> None:
    amplitude = 1.0 + 0.05 * np.random.default_rng(1).standard_normal(LEVELS.size)
    amplitude[:4] = np.nan
    assert shadow.border(amplitude, impact_parameter=LEVELS, thickness=(10_000.0,)) == LEVELS[4]
    falling = 1.3 - np.where(LEVELS[0] + 3_000.0 <= LEVELS, 1.0, 0.3)
    assert shadow.border(falling, impact_parameter=LEVELS, thickness=(10_000.0,)) == LEVELS[0]


def test_a_dark_layer_lets_the_border_be_sought_in_the_next() -> None:
    amplitude = np.where(LEVELS[0] + 12_000.0 <= LEVELS, 1.0, 0.05)
    at = shadow.border(amplitude, impact_parameter=LEVELS, thickness=(8_000.0, 25_000.0))
    assert at == pytest.approx(LEVELS[0] + 12_000.0, abs=1.0)


def test_a_record_that_begins_low_has_its_transition_lower(event: Event) -> None:
    low = event.of.heights < 40_000.0
    short = whole(event.level1b.isel(time=np.flatnonzero(low)), event.truth)
    assert short.of.blend.top < BLEND.top - 10_000.0
    assert short.of.blend.top - short.of.blend.bottom == pytest.approx(BLEND.top - BLEND.bottom)
    assert event.of.blend == BLEND
    one, other = found(short), found(event)
    at = height(event)
    inside = (at > 6_000.0) & (at < short.of.blend.bottom - 8_000.0)
    np.testing.assert_allclose(one.bending_angle[inside], other.bending_angle[inside], rtol=5e-3)


def test_a_step_above_the_layer_is_not_sought_and_of_few_amplitudes_nothing_is_known() -> None:
    amplitude = np.where(LEVELS[0] + 12_000.0 <= LEVELS, 1.0, 0.05)
    assert shadow.border(amplitude, impact_parameter=LEVELS, thickness=(10_000.0,)) == LEVELS[0]
    amplitude[7:] = np.nan
    assert np.isnan(shadow.border(amplitude, impact_parameter=LEVELS, thickness=(10_000.0,)))


def test_a_bright_level_does_not_hide_the_step() -> None:
    amplitude = np.where(LEVELS[0] + 3_000.0 <= LEVELS, 1.0, 0.05)
    amplitude[150] = 500.0
    at = shadow.border(amplitude, impact_parameter=LEVELS, thickness=(10_000.0,))
    assert at == pytest.approx(LEVELS[0] + 3_000.0, abs=1.0)


def test_a_stronger_fall_above_does_not_hide_a_rise() -> None:
    amplitude = np.where(LEVELS - LEVELS[0] < 1_000.0, 0.0, np.where(LEVELS - LEVELS[0] < 4_000.0, 1.0, 0.2))
    at = shadow.border(amplitude, impact_parameter=LEVELS, thickness=(10_000.0,))
    assert at == pytest.approx(LEVELS[0] + 1_000.0, abs=1.0)


def test_both_optics_meet_the_truth_of_a_noise_free_event(event: Event) -> None:
    signal = found(event)
    truth = np.exp(
        np.interp(event.levels, event.truth.impact_parameter, np.log(event.truth.bending_angle), right=np.nan)
    )
    error, at = signal.bending_angle / truth - 1.0, height(event)
    for low, high, limit in ((6e3, 15e3, 1e-4), (15e3, 25e3, 5e-4), (55e3, 65e3, 2e-3)):
        assert np.abs(error[(at > low) & (at < high)]).max() < limit


def test_the_error_that_is_left_is_that_of_the_phase_noise_that_is_measured(event: Event) -> None:
    signal, at = found(event), height(event)
    truth = np.interp(event.levels, event.truth.impact_parameter, event.truth.bending_angle)
    layer = (at > 15e3) & (at < 45e3)
    stated = np.sqrt(signal_bending.CUBIC_NOISE * signal.noise_density / signal.wave_width**3)
    ratio = (signal.bending_angle - truth)[layer] / stated[layer]
    assert 0.7 < float(np.sqrt(np.mean(ratio**2))) < 1.4


def test_wave_optics_gives_way_to_geometric_optics_between_its_bounds(event: Event) -> None:
    signal, at = found(event), height(event)
    np.testing.assert_array_equal(signal.wave_weight[at <= BLEND.bottom], 1.0)
    np.testing.assert_array_equal(signal.wave_weight[at >= BLEND.top], 0.0)
    assert signal.wave_weight[np.argmin(np.abs(at - 50_000.0))] == pytest.approx(0.5, abs=1e-9)
    assert (np.diff(signal.wave_weight) <= 0.0).all()
    np.testing.assert_array_equal(signal.bending_angle[at >= BLEND.top], signal.geometric[at >= BLEND.top])
    assert np.isnan(signal.amplitude[at >= BLEND.top]).all()
    lit = (at > 3_000.0) & (at < 40_000.0)
    np.testing.assert_allclose(signal.amplitude[lit], 1.0, atol=0.1)


def test_the_lowest_ray_of_the_record_is_the_shadow_border(event: Event) -> None:
    lowest = float(np.nanmin(found(event).samples.impact_parameter))
    assert found(event).border == pytest.approx(lowest, abs=200.0)


def test_phase_noise_is_measured_as_planted(event: Event) -> None:
    sigma, generator = 3e-3, np.random.default_rng(17)
    phase = event.level1b["excess_phase"].to_numpy()
    noisy = found(event, phase=phase + sigma * generator.standard_normal(phase.shape))
    rate = float(np.median(event.of.sinking_rate[-event.of.sinking_rate.size // 4 :]))
    step = float(np.median(np.diff(event.of.time)))
    assert noisy.noise_density == pytest.approx(sigma**2 * step * rate, rel=0.15)
    assert found(event).noise_density < 1e-4 * noisy.noise_density
    wavenumber = 2.0 * np.pi * float(event.level1b["carrier_frequency"][0]) / constants.SPEED_OF_LIGHT
    assert noisy.scatter == pytest.approx(wavenumber * sigma, rel=0.15)


def test_wider_windows_are_asked_for_by_more_noise_and_hold_it_at_its_target(event: Event) -> None:
    noise = signal_bending.PhaseNoise(3e-4, 3e-4, 2e-3)
    width = signal_bending._half_widths(noise, 0, levels=event.levels, of=event.of)
    at = height(event)
    cubic = at > BLEND.cubic_bottom
    bounds = np.where(cubic, 2.0, 1.0)
    assert (width >= bounds * BLEND.narrowest).all()
    assert (width <= bounds * BLEND.widest).all()
    free = (width > bounds * BLEND.narrowest * 1.001) & (width < bounds * BLEND.widest * 0.999)
    assert np.count_nonzero(free & cubic) > 50
    variance = np.where(cubic, signal_bending.CUBIC_NOISE, signal_bending.LINEAR_NOISE)
    deviation = np.sqrt(variance * noise.short / width**3)
    heights, targets = np.array(BLEND.noise_targets).T
    usual = 300e-6 * np.sqrt(2.0 * np.pi * event.levels / 7_300.0) * np.exp(-at / 7_300.0)
    aim = np.exp(np.interp(at, heights, np.log(targets)))
    np.testing.assert_allclose((deviation / usual)[free], aim[free], rtol=1e-6)
    louder = signal_bending._half_widths(noise._replace(long=3e-3), 0, levels=event.levels, of=event.of)
    np.testing.assert_array_equal(louder[at < BLEND.short_top], width[at < BLEND.short_top])
    assert (louder[at > BLEND.long_bottom] >= width[at > BLEND.long_bottom]).all()
    between = (at > 22_000.0) & (at < 24_000.0)
    assert (louder[between] > 1.05 * width[between]).all()


def test_phases_too_broken_to_scatter_are_given_the_usual_noise(event: Event) -> None:
    phase = event.level1b["excess_phase"].to_numpy().copy()
    phase[:, ::10] = np.nan
    rate = float(np.median(event.of.sinking_rate[-event.of.sinking_rate.size // 4 :]))
    assert found(event, phase=phase).noise_density == pytest.approx(BLEND.noise_default * rate)


def test_too_slow_a_record_is_left_to_geometric_optics(event: Event) -> None:
    slow = whole(event.level1b.isel(time=slice(None, None, 5)), event.truth)
    assert slow.of.along is None
    signal = found(slow)
    assert signal.field is None
    assert np.isnan(signal.border)
    np.testing.assert_array_equal(signal.bending_angle, signal.geometric)
    np.testing.assert_array_equal(signal.wave_weight, 0.0)
    wider = signal_bending.at_width(signal, of=slow.of, levels=slow.levels, width=np.full_like(slow.levels, 900.0))
    np.testing.assert_array_equal(wider, signal.bending_angle)


def test_windows_twice_as_wide_are_those_of_the_coarser_bending(event: Event) -> None:
    signal = found(event)
    again = signal_bending.at_width(signal, of=event.of, levels=event.levels, width=signal.wave_width)
    np.testing.assert_array_equal(again, signal.bending_angle)
    # The part of geometric optics in it holds a window twice as long, too.
    longer = signal._replace(geometric=found(event, longer=2.0).geometric)
    wider = signal_bending.at_width(longer, of=event.of, levels=event.levels, width=2.0 * signal.wave_width)
    np.testing.assert_array_equal(wider, signal.coarser)
    alone = signal.wave_weight == 0.0
    assert alone.any()
    np.testing.assert_array_equal(signal.coarser[alone], longer.geometric[alone])
    assert (signal.coarser != signal.bending_angle)[alone & np.isfinite(signal.geometric)].any()
    assert np.nanmax(np.abs(signal.coarser / signal.bending_angle - 1.0)[height(event) < 40e3]) > 1e-5


def test_amplitude_is_relative_to_the_unobstructed_signal(event: Event) -> None:
    kept = {"phase": event.level1b["excess_phase"].to_numpy()[0], "wavenumber": 33.0, "of": event.of}
    snr = np.where(event.of.heights > 0.0, 700.0, 350.0)
    amplitude = signal_bending._amplitude(snr, **kept)  # type: ignore[arg-type]
    np.testing.assert_array_equal(amplitude, np.where(event.of.heights > 0.0, 1.0, 0.5))
    low = np.where(event.of.heights < 30_000.0, snr, np.nan)
    np.testing.assert_array_equal(signal_bending._amplitude(low, **kept)[event.of.heights < 0.0], 0.5)  # type: ignore[arg-type]


def test_without_signal_strength_the_scatter_of_the_phase_tells_the_signal_from_noise(event: Event) -> None:
    """A phase of variance v leaves exp(-v / 2) of the amplitude of a mean."""
    wavenumber, sigma = 33.0, 0.02
    noise = sigma * np.random.default_rng(4).standard_normal(event.of.heights.size)
    kept = {"wavenumber": wavenumber, "of": event.of}
    for silent in (np.full_like(noise, np.nan), np.zeros_like(noise)):
        clean = signal_bending._amplitude(silent, phase=np.linspace(0.0, 900.0, noise.size), **kept)  # type: ignore[arg-type]
        np.testing.assert_allclose(clean, 1.0, atol=1e-6)
        noisy = signal_bending._amplitude(silent, phase=noise, **kept)  # type: ignore[arg-type]
        assert float(np.mean(noisy)) == pytest.approx(np.exp(-0.5 * (wavenumber * sigma) ** 2), rel=0.06)
        lost = signal_bending._amplitude(silent, phase=30.0 * noise, **kept)  # type: ignore[arg-type]
        assert lost.max() < 1e-3


def test_nodes_stand_closer_than_a_window_can_tell_and_reach_beyond_both_ends() -> None:
    widths = np.linspace(100.0, 800.0, LEVELS.size)
    nodes = signal_bending.kernel_nodes(LEVELS, widths)
    assert (np.diff(nodes) > 0.0).all()
    assert nodes[0] <= LEVELS[0] - widths[0]
    assert nodes[-1] >= LEVELS[-1] + widths[-1]
    inner = (nodes[:-1] > LEVELS[0]) & (nodes[1:] < LEVELS[-1] - 200.0)
    apart = np.diff(nodes)[inner] / np.interp(nodes[:-1][inner], LEVELS, widths)
    assert apart.max() < 0.27
    assert np.ptp(apart) < 0.1 * apart.mean()


def test_one_sample_is_a_record_that_misses_everything() -> None:
    assert observation._missing_fraction(np.zeros(1), time=np.zeros(1)) == 1.0
    phase = np.zeros(101)
    phase[::4] = np.nan
    assert observation._missing_fraction(phase, time=np.arange(101) / 50.0) == pytest.approx(26 / 101)


@pytest.mark.parametrize(
    ("border", "cut", "lost", "strong", "reason"),
    [
        (20, False, True, False, truncation.TruncationReason.SHADOW_BORDER),
        (20, False, False, False, truncation.TruncationReason.SHADOW_BORDER),
        (20, False, True, True, truncation.TruncationReason.SHADOW_BORDER),
        (20, False, False, True, truncation.TruncationReason.RECORD_END),
        (0, True, True, False, truncation.TruncationReason.DATA_GAP),
        (0, True, False, True, truncation.TruncationReason.DATA_GAP),
        (0, False, True, False, truncation.TruncationReason.SIGNAL_LOST),
        (0, False, False, False, truncation.TruncationReason.RECORD_END),
    ],
)
def test_the_reason_of_the_end_is_the_border_the_gap_the_loss_or_the_record(
    event: Event, border: int, cut: bool, lost: bool, strong: bool, reason: truncation.TruncationReason
) -> None:
    levels = event.levels
    lit = found(event)._replace(border=levels[border])
    corrected = np.where(levels < levels[20], np.nan, 1e-3)
    told = {"levels": levels, "bottom": 20, "cut": cut, "lost": lost, "strong": strong}
    assert observation._reason(lit, corrected=corrected, **told) is reason
    above = observation._reason(lit, corrected=np.full_like(levels, 1e-3), **told)
    assert above is truncation.TruncationReason.DATA_GAP
    nothing = observation._reason(lit, corrected=np.full_like(levels, np.nan), **told)
    assert nothing is truncation.TruncationReason.NOTHING_RETRIEVED


def test_a_record_ends_strong_if_its_lowest_second_stands_above_the_shadow_either_way_it_runs() -> None:
    time = np.arange(0.0, 60.0, 0.02)
    heights = 80e3 - 3e3 * time
    fading = np.where(time < 50.0, 700.0, 7.0)
    for direction in (slice(None), slice(None, None, -1)):
        kept = {"heights": heights[direction], "time": time}
        assert not observation._strong_at_end(fading[direction], **kept)
        assert observation._strong_at_end(np.where(time < 50.0, 700.0, 80.0)[direction], **kept)
        assert observation._strong_at_end(np.where(time < 50.0, 700.0, np.nan)[direction], **kept)
    assert not observation._strong_at_end(np.full_like(time, np.nan), heights=heights, time=time)
