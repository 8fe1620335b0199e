"""Ten simulated occultations from level-1B file to profile: every layer mean within its limit, errors as announced."""

import dataclasses

import numpy as np
import pytest

from tests.benchmarks import occultation_ensemble

pytestmark = pytest.mark.chain
SEED = 11
CHI_SQUARE = (0.6, 1.4)
"""Wider than for a hundred events: the errors of neighbouring levels are correlated."""


@pytest.fixture(scope="module")
def ensemble() -> occultation_ensemble.Ensemble:
    return occultation_ensemble.run(occultation_ensemble.balanced_cases(seed=SEED), workers=2)


def test_the_events_are_of_all_climates_directions_and_systems(ensemble: occultation_ensemble.Ensemble) -> None:
    kinds = {(event.climate, event.setting) for event in ensemble.events}
    kinds_of_system = {(event.climate, event.system) for event in ensemble.events}
    assert len(ensemble.events) == len(kinds) == len(kinds_of_system) == 10
    assert any(event.duct_top > 0.0 for event in ensemble.events)


def test_the_mean_difference_of_every_layer_is_within_its_limit(ensemble: occultation_ensemble.Ensemble) -> None:
    assert {event.occultation_id: event.beyond() for event in ensemble.events if event.beyond()} == {}


@pytest.mark.parametrize("quantity", occultation_ensemble.CHI_SQUARE_QUANTITIES)
def test_errors_are_as_large_as_their_uncertainty(ensemble: occultation_ensemble.Ensemble, quantity: str) -> None:
    assert CHI_SQUARE[0] <= ensemble.pooled_chi_square(quantity) <= CHI_SQUARE[1]


def test_every_profile_reaches_the_surface_or_the_duct(ensemble: occultation_ensemble.Ensemble) -> None:
    assert [event.lowest_altitude - event.duct_top for event in ensemble.events if not event.reaches()] == []


def test_refractivity_scatters_by_less_than_three_per_mille(ensemble: occultation_ensemble.Ensemble) -> None:
    assert ensemble.scatter().max() <= occultation_ensemble.SCATTER


def test_an_event_that_was_refused_or_has_an_empty_layer_is_beyond_the_bars(
    ensemble: occultation_ensemble.Ensemble,
) -> None:
    event = ensemble.events[0]
    empty = dataclasses.replace(event, means=(float("nan"), *event.means[1:]))
    lost = dataclasses.replace(event, refusal="no_data", lowest_altitude=float("inf"))
    assert len(empty.beyond()) == 1
    assert len(lost.beyond()) == len(occultation_ensemble.BARS)
    assert not lost.reaches()


def test_half_the_uncertainty_is_four_times_the_chi_square_and_is_complained_of(
    ensemble: occultation_ensemble.Ensemble,
) -> None:
    halved = occultation_ensemble.Ensemble(
        [
            dataclasses.replace(event, squares={name: 4.0 * value for name, value in event.squares.items()})
            for event in ensemble.events
        ]
    )
    for quantity in occultation_ensemble.CHI_SQUARE_QUANTITIES:
        assert np.allclose(halved.chi_square(quantity), 4.0 * ensemble.chi_square(quantity))
        assert sum(quantity.replace("_", " ") in text for text in halved.complaints()) == 9
