"""Lost packets in simulated occultations: what is bridged, what it costs, and what is not made up."""

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from processors.occultation import excess_phase
from processors.orbit import sp3
from processors.quality import BadInputError
from processors.simulation import occultation as simulation
from retrieval.occultation import (
    bridging,
    geometric_optics,
    georeference,
    profile_retrieval,
    quality,
    resampling,
    truncation,
)

PARAMETERS = profile_retrieval.OccultationParameters()
RULES = bridging.BridgingParameters()
HEIGHT = np.arange(2_000.0, 100_000.0, 100.0)


class Event(NamedTuple):
    carrier: xr.Dataset
    receiver: xr.Dataset
    transmitters: sp3.Sp3Orbits
    truth: simulation.OccultationTruth
    level1b: xr.Dataset
    impact_height: np.ndarray
    complete: xr.Dataset


@pytest.fixture(scope="module")
def event() -> Event:
    made = simulation.simulate_occultations(start_gps=1.45e9, count=1, seed=22)
    observation = made.events[0]
    carrier = simulation.dataset_from_observation(observation)
    receiver, transmitters = simulation.dataset_from_receiver_orbit(made.receiver_orbit), sp3.parse(made.sp3)
    level = excess_phase.excess_phase_from_carrier(carrier, receiver=receiver, transmitters=transmitters)
    reference = georeference.locate(level)
    doppler = geometric_optics.excess_doppler(
        level["excess_phase"].to_numpy()[0], time=level["time"].to_numpy(), parameters=PARAMETERS.doppler
    )
    arc = georeference.arc_about_center(level, reference=reference)
    rays = geometric_optics.bending_angle_from_doppler(doppler, geometry=arc.geometry)
    return Event(
        carrier,
        receiver,
        transmitters,
        observation.truth,
        level,
        rays.impact_parameter - reference.radius,
        profile_retrieval.retrieve(level),
    )


def lost_samples(event: Event, *, height: float, seconds: float) -> np.ndarray:
    """Samples of so many seconds about an impact height."""
    time = event.level1b["time"].to_numpy()
    return np.asarray(np.abs(time - time[np.nanargmin(np.abs(event.impact_height - height))]) < 0.5 * seconds)


def retrieved_without(event: Event, *, height: float, seconds: float) -> xr.Dataset:
    """Profile of the event with that many seconds of packets lost."""
    kept = ~lost_samples(event, height=height, seconds=seconds)
    level = excess_phase.excess_phase_from_carrier(
        event.carrier.isel(time=kept), receiver=event.receiver, transmitters=event.transmitters
    )
    return profile_retrieval.retrieve(level)


def height_of(found: xr.Dataset) -> np.ndarray:
    return np.asarray(found["impact_parameter"] - found["radius_of_curvature"])


def complete_at(event: Event, found: xr.Dataset, name: str) -> np.ndarray:
    """A bending variable of the complete event on the levels of another profile."""
    return np.interp(height_of(found), height_of(event.complete), event.complete[name], left=np.nan)


def refractivity_error(event: Event, found: xr.Dataset) -> np.ndarray:
    expected = np.exp(np.interp(found["altitude"], event.truth.altitude, np.log(event.truth.refractivity)))
    return np.asarray(found["refractivity"] / expected - 1.0)


@pytest.fixture(scope="module", params=[50e3, 30e3, 20e3, 12e3], ids=lambda height: f"{height / 1e3:.0f} km")
def bridged(event: Event, request: pytest.FixtureRequest) -> tuple[float, xr.Dataset]:
    return request.param, retrieved_without(event, height=request.param, seconds=1.0)


def in_gap(found: xr.Dataset) -> np.ndarray:
    """Levels between observed ones that were not observed."""
    hidden = np.zeros(found.sizes["impact"], dtype=bool)
    for gap in bridging.gaps(found["bending_angle"].to_numpy()):
        hidden[slice(*gap)] = True
    return hidden


def test_a_lost_second_costs_no_depth_and_is_flagged(event: Event, bridged: tuple[float, xr.Dataset]) -> None:
    _, found = bridged
    assert int(event.complete["quality_flag"]) == quality.QualityFlag.GOOD
    assert int(found["quality_flag"]) == quality.QualityFlag.DATA_GAPS
    assert int(found["truncation_reason"]) == int(event.complete["truncation_reason"])
    assert float(found["lowest_altitude"]) == pytest.approx(float(event.complete["lowest_altitude"]), abs=20.0)


def test_nothing_in_a_gap_is_called_observed(bridged: tuple[float, xr.Dataset]) -> None:
    height, found = bridged
    gap = in_gap(found)
    at = height_of(found)[gap]
    assert at[0] < height < at[-1]
    assert np.all(np.diff(at) < (101.0 if height < 35e3 else 201.0))
    for name in ("bending_angle", "bending_angle_l1", "bending_angle_l2", "bending_angle_uncertainty"):
        assert np.isnan(found[name].to_numpy()[gap]).all()
    assert not found["observation_weight"].to_numpy()[gap].any()
    assert (found["bending_angle_optimized"].to_numpy()[gap] > 0.0).all()


def test_the_gap_is_as_wide_as_the_rays_sank_meanwhile(event: Event, bridged: tuple[float, xr.Dataset]) -> None:
    height, found = bridged
    margin = PARAMETERS.doppler.edge
    swept = event.impact_height[lost_samples(event, height=height, seconds=1.0 + 2.0 * margin)]
    width = float(np.sum(np.gradient(height_of(found))[in_gap(found)]))
    assert width == pytest.approx(np.ptp(swept), abs=250.0 if height < 35e3 else 500.0)


def test_bending_outside_a_gap_is_that_of_the_complete_event(event: Event, bridged: tuple[float, xr.Dataset]) -> None:
    height, found = bridged
    observed = found["bending_angle"].to_numpy()
    change = observed - complete_at(event, found, "bending_angle")
    allowed = complete_at(event, found, "bending_angle_uncertainty")
    assert np.nanmax(np.abs(change / allowed)) < 3.0
    distant = np.abs(height_of(found) - height) > 15e3
    # The noise is measured on what is left of the record, and the resolution follows the noise.
    assert np.nanmax(np.abs(change / observed)[distant & (height_of(found) < 60e3)]) < 1e-3


def test_refractivity_survives_a_gap(event: Event, bridged: tuple[float, xr.Dataset]) -> None:
    _, found = bridged
    layer = ((found["altitude"] > 10e3) & (found["altitude"] < 30e3)).to_numpy()
    assert abs(refractivity_error(event, found)[layer].mean()) < 1e-3
    sharp = np.diff(np.log(found["bending_angle_optimized"]))[height_of(found)[1:] < 55e3]
    assert np.abs(sharp).max() < 0.1


def test_the_stated_uncertainty_grows_in_a_gap_and_covers_the_error(
    event: Event, bridged: tuple[float, xr.Dataset]
) -> None:
    height, found = bridged
    gap = in_gap(found)
    relative = (found["refractivity_uncertainty"] / found["refractivity"]).to_numpy()
    before = (event.complete["refractivity_uncertainty"] / event.complete["refractivity"]).to_numpy()
    before = np.interp(height_of(found), height_of(event.complete), before)
    middle = int(np.flatnonzero(gap)[gap.sum() // 4])
    assert relative[middle] > (1.0 if height > 40e3 else 4.0) * before[middle]
    assert relative[middle] < 1.2 * before[middle] + 0.035
    below = height_of(found) < height + 5e3
    assert np.abs(refractivity_error(event, found) / relative)[below & (found["altitude"].to_numpy() > 5e3)].max() < 3.0


def test_missing_samples_and_missing_values_give_the_same_profile(event: Event) -> None:
    blank = event.level1b.copy(deep=True)
    lost = lost_samples(event, height=12e3, seconds=1.5)
    blank["excess_phase"][:, lost] = np.nan
    blank["snr"][:, lost] = np.nan
    found = profile_retrieval.retrieve(blank)
    absent = profile_retrieval.retrieve(event.level1b.isel(time=~lost))
    # The orbit across the lost samples is known to a millimetre, as is the phase put there for the transform.
    np.testing.assert_allclose(found["bending_angle"], absent["bending_angle"], rtol=1e-3)
    np.testing.assert_allclose(found["refractivity"], absent["refractivity"], rtol=5e-4)


def test_a_gap_of_the_second_signal_alone_leaves_the_corrected_bending(event: Event) -> None:
    single = event.level1b.copy(deep=True)
    single["excess_phase"][1, lost_samples(event, height=25e3, seconds=1.5)] = np.nan
    found = profile_retrieval.retrieve(single)
    near = np.abs(height_of(found) - 25e3) < 1e3
    assert np.isnan(found["bending_angle_l2"].to_numpy()[near]).all()
    expected = complete_at(event, found, "bending_angle")
    layer = (height_of(found) > 15e3) & (height_of(found) < 35e3)
    np.testing.assert_allclose(found["bending_angle"].to_numpy()[layer], expected[layer], rtol=4e-3)


def test_ten_lost_seconds_end_the_profile_with_their_reason(event: Event) -> None:
    found = retrieved_without(event, height=12e3, seconds=10.0)
    assert int(found["truncation_reason"]) == truncation.TruncationReason.DATA_GAP
    raised = quality.QualityFlag(int(found["quality_flag"]))
    assert raised == quality.QualityFlag.DATA_GAPS | quality.QualityFlag.SHALLOW
    assert 14e3 < float(found["lowest_altitude"]) < 20e3


def test_of_an_event_cut_in_two_the_stretch_through_the_core_is_kept(event: Event) -> None:
    found = retrieved_without(event, height=30e3, seconds=10.0)
    raised = quality.QualityFlag(int(found["quality_flag"]))
    assert raised == quality.QualityFlag.DATA_GAPS | quality.QualityFlag.LOW_TOP
    assert float(found["lowest_altitude"]) < 1e3
    low = height_of(found) < 18e3
    np.testing.assert_allclose(
        found["bending_angle"].to_numpy()[low], complete_at(event, found, "bending_angle")[low], rtol=5e-3
    )
    relative = (found["refractivity_uncertainty"] / found["refractivity"]).to_numpy()
    error = refractivity_error(event, found)
    layer = ((found["altitude"] > 10e3) & (found["altitude"] < 30e3)).to_numpy()
    assert np.abs(error[layer]).max() > 0.02
    assert np.abs(error / relative)[layer].max() < 3.0


def test_a_gap_that_leaves_too_little_below_is_the_reason_of_the_end(event: Event) -> None:
    heights = georeference.straight_line_heights(event.level1b)
    order = np.argsort(heights)
    lost = np.isin(np.arange(heights.size), order[60:110])
    found = profile_retrieval.retrieve(event.level1b.isel(time=~lost))
    assert int(found["truncation_reason"]) == truncation.TruncationReason.DATA_GAP
    assert quality.QualityFlag.DATA_GAPS in quality.QualityFlag(int(found["quality_flag"]))


def test_the_phase_beyond_a_gap_does_not_reach_the_doppler_before_it() -> None:
    time = np.delete(1e9 + np.arange(1_000) / 50.0, slice(500, 550))
    phase = np.sin(time - time[0])
    jumped = phase + np.where(np.arange(time.size) < 500, 0.0, 1e3)
    one, two = (
        geometric_optics.excess_doppler(series, time=time, parameters=PARAMETERS.doppler) for series in (phase, jumped)
    )
    np.testing.assert_allclose(one, two, atol=1e-8)
    missing = np.flatnonzero(np.isnan(one))
    beside = round(50.0 * PARAMETERS.doppler.edge)
    np.testing.assert_array_equal(missing, np.arange(500 - beside, 500 + beside))


def merged(ratio: np.ndarray, hidden: np.ndarray) -> tuple[bridging.BridgedBending, np.ndarray]:
    """Bridge of a bending with a known ratio to the background, with some of it hidden."""
    background = 0.02 * np.exp(-HEIGHT / 7_000.0)
    bending = np.where(hidden, background, ratio * background)
    found = bridging.bridge(
        bending,
        observed=np.where(hidden, np.nan, bending),
        background=background,
        impact_height=HEIGHT,
        below=np.inf,
        parameters=RULES,
    )
    return found, background


def test_a_bridge_is_exact_where_the_ratio_is_exponential() -> None:
    ratio = np.exp(0.1 - HEIGHT / 200e3)
    hidden = (HEIGHT > 20e3) & (HEIGHT < 23e3)
    found, background = merged(ratio, hidden)
    np.testing.assert_allclose(found.bending_angle, ratio * background, rtol=1e-12)
    np.testing.assert_array_equal(found.bridged, hidden)
    np.testing.assert_allclose(found.error[hidden] / found.bending_angle[hidden], 1.5e-5 * 3_000.0, rtol=1e-9)
    assert not found.error[~hidden].any()


@pytest.mark.parametrize(
    ("middle", "widest"), [(6e3, 3_000.0), (10e3, 3_000.0), (20_050.0, 5_500.0), (30e3, 8_000.0), (60e3, 8_000.0)]
)
def test_gaps_are_bridged_up_to_their_limit_and_not_beyond(middle: float, widest: float) -> None:
    for width, is_bridged in ((widest, True), (widest + 200.0, False)):
        hidden = np.abs(HEIGHT - middle) < 0.5 * width - 1.0
        found, background = merged(np.full(HEIGHT.shape, 1.1), hidden)
        assert found.bridged.any() == is_bridged
        np.testing.assert_allclose(found.bending_angle, 1.1 * background, rtol=1e-9)
        stretches = bridging.stretches(np.where(hidden, np.nan, background), impact_height=HEIGHT, parameters=RULES)
        assert len(stretches) == (1 if is_bridged else 2)


def test_what_is_missing_at_the_ends_is_no_gap() -> None:
    observed = np.array([np.nan, np.nan, 1.0, np.nan, 1.0, 1.0, np.nan])
    assert bridging.gaps(observed) == [(3, 4)]
    assert bridging.gaps(np.full(5, np.nan)) == []
    assert bridging.stretches(np.full(5, np.nan), impact_height=np.arange(5.0), parameters=RULES) == []
    assert bridging.most_informative([], impact_height=HEIGHT, parameters=RULES) is None


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [(20e3, 40e3, 2e3), (9e3, 18e3, 18e3), (35e3, 60e3, 2e3), (12e3, 28e3, 2e3), (9e3, 31e3, 2e3), (7e3, 31e3, 31e3)],
)
def test_most_of_the_core_layer_decides_which_stretch_is_kept(low: float, high: float, kept: float) -> None:
    observed = np.where(np.abs(HEIGHT - 0.5 * (low + high) + 1.0) < 0.5 * (high - low), np.nan, 1.0)
    found = bridging.stretches(observed, impact_height=HEIGHT, parameters=RULES)
    stretch = bridging.most_informative(found, impact_height=HEIGHT, parameters=RULES)
    assert stretch is not None
    assert HEIGHT[stretch.start] == kept


def test_a_gap_hides_the_top_of_crossing_rays() -> None:
    gaps = np.array([[4_000.0, 5_000.0], [20_000.0, 22_000.0]])
    assert geometric_optics.beyond_gap(4_500.0, gaps=gaps) == 6_000.0
    assert geometric_optics.beyond_gap(3_900.0, gaps=gaps) == 3_900.0
    assert np.isnan(geometric_optics.beyond_gap(np.nan, gaps=gaps))
    np.testing.assert_array_equal(
        resampling.inside_gaps(np.array([4_000.0, 4_001.0, 21_000.0, 22_000.0]), gaps=gaps), [False, True, True, False]
    )


def test_unrecorded_signal_strength_is_no_loss_of_signal_but_its_end_is() -> None:
    heights = np.linspace(100_000.0, -100_000.0, 4_001)
    snr = np.full(heights.size, 800.0)
    snr[(heights > -20_000.0) & (heights < -10_000.0)] = np.nan
    rules = {"heights": heights, "time": np.arange(heights.size) / 50.0, "fraction": 0.05}
    assert not truncation.above_loss(snr, **rules, parameters=PARAMETERS.signal_loss).lost
    snr[heights < -60_000.0] = np.nan
    found = truncation.above_loss(snr, **rules, parameters=PARAMETERS.signal_loss)
    assert found.lost
    assert heights[found.usable].min() == pytest.approx(-60_000.0, abs=2_000.0)


@pytest.mark.parametrize("count", [0, 1, 50, 499])
def test_an_event_of_too_few_samples_is_refused_as_truncated(event: Event, count: int) -> None:
    remnant = event.carrier.isel(time=slice(0, count))
    with pytest.raises(BadInputError, match=f"only {count} samples") as refused:
        excess_phase.excess_phase_from_carrier(remnant, receiver=event.receiver, transmitters=event.transmitters)
    assert refused.value.cause == "truncated"
    assert str(event.carrier.attrs["transmitter"]) in str(refused.value)
