"""Super-refraction: which gradients count, where the layer ends, and what lies below it."""

import numpy as np
import pytest

from retrieval.occultation import super_refraction

ALTITUDE = np.arange(0.0, 20_000.0, 50.0)
RULE = super_refraction.SuperRefractionParameters()


def with_layer(gradient: float, *, bottom: float = 1_500.0, thickness: float = 200.0) -> np.ndarray:
    """Refractivity that falls by 30 per kilometre, and within the layer by `gradient` per kilometre."""
    inside = (ALTITUDE[:-1] >= bottom) & (ALTITUDE[:-1] < bottom + thickness)
    slope = np.where(inside, gradient, -30.0) / 1_000.0
    return np.concatenate([[900.0], 900.0 + np.cumsum(slope * np.diff(ALTITUDE))])


def test_a_layer_steeper_than_the_critical_gradient_is_found_with_its_top() -> None:
    found = super_refraction.find(with_layer(-200.0), altitude=ALTITUDE, parameters=RULE)
    assert found.top == 1_700.0
    np.testing.assert_array_equal(found.biased, ALTITUDE < 1_700.0)


LIMIT = 1_000.0 * RULE.gradient


@pytest.mark.parametrize(("gradient", "is_found"), [(-60.0, False), (LIMIT + 1.0, False), (LIMIT - 1.0, True)])
def test_the_threshold_parts_steep_layers_from_gentle_ones(gradient: float, is_found: bool) -> None:
    found = super_refraction.find(with_layer(gradient), altitude=ALTITUDE, parameters=RULE)
    assert np.isfinite(found.top) == is_found
    assert found.biased.any() == is_found
    # No layer of the critical gradient of 157 per kilometre is missed, no usual one of 40 is found.
    assert -157.0 < LIMIT < -40.0


def test_above_the_ceiling_noise_is_no_duct() -> None:
    high = super_refraction.find(with_layer(-500.0, bottom=6_000.0), altitude=ALTITUDE, parameters=RULE)
    assert np.isnan(high.top)
    assert not high.biased.any()
    last = super_refraction.find(
        with_layer(-500.0, bottom=5_900.0, thickness=100.0), altitude=ALTITUDE, parameters=RULE
    )
    assert last.top == 6_000.0


def test_of_two_layers_the_higher_one_counts() -> None:
    both = with_layer(-200.0) + with_layer(-180.0, bottom=3_000.0) - with_layer(-30.0)
    assert super_refraction.find(both, altitude=ALTITUDE, parameters=RULE).top == 3_200.0


def test_missing_refractivity_is_no_duct() -> None:
    refractivity = with_layer(-30.0)
    refractivity[:10] = np.nan
    found = super_refraction.find(refractivity, altitude=ALTITUDE, parameters=RULE)
    assert np.isnan(found.top)
