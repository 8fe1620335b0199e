"""A hundred simulated occultations against every bar of the retrieval (`make soak`)."""

import pytest

from processors.simulation import wave_occultation
from tests.benchmarks import occultation_ensemble

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
EVENTS = 100


@pytest.fixture(scope="module")
def ensemble() -> occultation_ensemble.Ensemble:
    found = occultation_ensemble.run(wave_occultation.cases(EVENTS, seed=5), workers=2)
    print("\n".join(occultation_ensemble.table(found)))  # noqa: T201  shown where a test fails
    return found


def test_every_simulated_event_gives_a_profile(ensemble: occultation_ensemble.Ensemble) -> None:
    assert [event.refusal for event in ensemble.events if event.refusal] == []


def test_at_most_two_in_a_hundred_layer_means_leave_their_limit(ensemble: occultation_ensemble.Ensemble) -> None:
    beyond = [text for event in ensemble.events for text in event.beyond()]
    assert len(beyond) <= 0.02 * EVENTS * len(occultation_ensemble.BARS), beyond


def test_refractivity_scatters_by_less_than_three_per_mille(ensemble: occultation_ensemble.Ensemble) -> None:
    assert ensemble.scatter().max() <= 0.3


@pytest.mark.parametrize("quantity", ["bending_angle", "refractivity"])
def test_errors_are_as_large_as_their_uncertainty_in_every_layer(
    ensemble: occultation_ensemble.Ensemble, quantity: str
) -> None:
    assert [f"{value:.2f}" for value in ensemble.chi_square(quantity) if not 0.8 <= value <= 1.2] == []


def test_nine_of_ten_profiles_reach_the_surface_or_the_duct(ensemble: occultation_ensemble.Ensemble) -> None:
    assert ensemble.reaching() >= 0.9
