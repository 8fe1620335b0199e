"""The background: what the fit takes from the observation, what it leaves alone, and which tables it refuses."""

import dataclasses

import numpy as np
import pytest

from processors import constants
from processors.quality import BadInputError
from retrieval.occultation import background

RULE = background.BackgroundParameters()
HEIGHT = np.arange(2_000.0, 100_000.0, 200.0)
MODEL = 0.02 * np.exp(-HEIGHT / 7_000.0)
INSIDE = np.abs(HEIGHT - 0.5 * (RULE.fit_bottom + RULE.fit_top)) <= 0.5 * (RULE.fit_top - RULE.fit_bottom)
MIDDLE = float(np.mean(np.log(MODEL[INSIDE])))


def scaled(offset: float, slope: float) -> np.ndarray:
    return np.asarray(np.exp(np.log(MODEL) + offset + (slope - 1.0) * (np.log(MODEL) - MIDDLE)))


def fitted(
    observed: np.ndarray, *, noise: float = 1e-9, rule: background.BackgroundParameters = RULE
) -> background.FittedBackground:
    return background.fit(MODEL, observed=observed, impact_height=HEIGHT, noise=noise, parameters=rule)


LOOSE = dataclasses.replace(RULE, offset_error=1e3, slope_error=1e3)


@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (0.15, 0.96), (-0.2, 1.07)])
def test_the_fit_finds_offset_and_slope_of_a_scaled_model(offset: float, slope: float) -> None:
    found = fitted(scaled(offset, slope), rule=LOOSE)
    assert found.offset == pytest.approx(offset, abs=1e-6)
    assert found.slope == pytest.approx(slope, abs=1e-6)
    assert found.levels == np.count_nonzero(INSIDE)
    np.testing.assert_allclose(found.bending_angle[INSIDE], scaled(offset, slope)[INSIDE], rtol=1e-6)


def test_errors_of_the_fit_are_those_of_its_weights() -> None:
    """Of white noise by level; the scatter follows from the weights of the least squares."""
    noise, generator = 4e-6, np.random.default_rng(7)
    errors = []
    for _ in range(300):
        found = fitted(scaled(0.1, 1.02) + noise * generator.standard_normal(HEIGHT.size), noise=noise, rule=LOOSE)
        errors.append((found.offset - 0.1, found.slope - 1.02))
    truth = scaled(0.1, 1.02)[INSIDE]
    jacobian = np.stack([truth, truth * (np.log(MODEL[INSIDE]) - MIDDLE)], axis=1)
    weight = 1.0 / (noise**2 + (RULE.model_error * truth) ** 2)
    inverse = np.linalg.inv(jacobian.T @ (weight[:, None] * jacobian))
    spread = inverse @ (jacobian.T @ ((weight**2 * noise**2)[:, None] * jacobian)) @ inverse
    np.testing.assert_allclose(np.std(errors, axis=0), np.sqrt(np.diag(spread)), rtol=0.15)
    assert np.abs(np.mean(errors, axis=0)).max() < 4.0 * np.sqrt(np.diag(spread) / 300).max() + 2e-3


def test_nothing_outside_the_layer_counts() -> None:
    observed = scaled(0.1, 1.03)
    plain = fitted(observed)
    spoilt = np.where(INSIDE, observed, 7.0 * observed)
    for other in (spoilt, np.where(INSIDE, observed, np.nan), np.where(INSIDE, observed, -1.0)):
        found = fitted(other)
        assert (found.offset, found.slope) == (plain.offset, plain.slope)
        np.testing.assert_array_equal(found.bending_angle, plain.bending_angle)


def test_beyond_the_layer_the_ratio_to_the_model_is_held() -> None:
    ratio = fitted(scaled(0.1, 1.05), rule=LOOSE).bending_angle / MODEL
    inside = np.flatnonzero(INSIDE)
    np.testing.assert_allclose(ratio[inside[-1] :], ratio[inside[-1]])
    np.testing.assert_allclose(ratio[: inside[0] + 1], ratio[inside[0]])
    assert ratio[INSIDE][0] > 1.02 * ratio[INSIDE][-1]


def test_where_noise_hides_the_layer_the_prior_holds() -> None:
    observed = scaled(0.5, 1.3)
    drowned = fitted(observed, noise=1.0)
    assert drowned.offset == pytest.approx(0.0, abs=1e-6)
    assert drowned.slope == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(drowned.bending_angle, MODEL, rtol=1e-5)


def test_between_the_prior_and_the_observation_the_fit_is_their_mean_by_information() -> None:
    """Of five levels one counts, so the information of the layer is a fifth of that of independent levels."""
    noise, offset = 1e-4, 0.01
    found = fitted(scaled(offset, 1.0), noise=noise)
    jacobian = np.stack([MODEL[INSIDE], MODEL[INSIDE] * (np.log(MODEL[INSIDE]) - MIDDLE)], axis=1)
    weight = 0.2 / (noise**2 + (RULE.model_error * MODEL[INSIDE]) ** 2)
    information = jacobian.T @ (weight[:, None] * jacobian)
    prior = np.diag([RULE.offset_error**-2.0, RULE.slope_error**-2.0])
    expected = np.linalg.solve(information + prior, information @ np.array([offset, 0.0]))
    np.testing.assert_allclose([found.offset, found.slope - 1.0], expected, rtol=0.02, atol=1e-6)
    assert 0.1 < found.offset / offset < 0.9


def test_negative_observations_do_not_break_the_fit() -> None:
    noise = 5e-5
    observed = MODEL + noise * np.random.default_rng(3).standard_normal(MODEL.size)
    assert (observed[INSIDE] < 0.0).any()
    found = fitted(observed, noise=noise)
    assert np.isfinite(found.bending_angle).all()
    assert abs(found.offset) < 3.0 * RULE.offset_error


def test_too_few_levels_leave_the_model_as_it_is() -> None:
    observed = np.where(np.cumsum(INSIDE) < 20, scaled(0.3, 1.0), np.nan)
    assert np.isfinite(observed[INSIDE]).sum() == 19
    found = fitted(observed)
    assert (found.offset, found.slope, found.levels) == (0.0, 1.0, 0)
    np.testing.assert_array_equal(found.bending_angle, MODEL)


def table(top: float = 50_000.0, bottom: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    altitude = np.arange(bottom, top + 1.0, 500.0)
    return altitude, 300.0 * np.exp(-altitude / 7_200.0), 280.0 - 1e-3 * altitude


def test_a_table_is_continued_by_the_scale_heights_of_its_ends() -> None:
    made = background.from_table(*table(bottom=1_000.0))
    assert made.altitude[0] == 0.0
    assert made.altitude[-1] >= RULE.top
    np.testing.assert_allclose(made.refractivity, 300.0 * np.exp(-made.altitude / 7_200.0), rtol=1e-9)
    assert (made.temperature[made.altitude > 50_000.0] == table()[2][-1]).all()
    assert made.name == "table"


def test_missing_rows_of_a_table_are_left_out() -> None:
    altitude, refractivity, temperature = table()
    refractivity[10], temperature[20], altitude[30] = np.nan, np.nan, np.nan
    made = background.from_table(altitude, refractivity, temperature)
    np.testing.assert_allclose(made.refractivity, 300.0 * np.exp(-made.altitude / 7_200.0), rtol=1e-9)


BAD = {
    "too low": lambda z, n, t: (z[z < 39_000.0], n[z < 39_000.0], t[z < 39_000.0]),
    "too short": lambda z, n, t: (z[::15], n[::15], t[::15]),
    "downward": lambda z, n, t: (z[::-1], n[::-1], t[::-1]),
    "repeated": lambda z, n, t: (np.where(z == 5_000.0, 4_500.0, z), n, t),
    "zero refractivity": lambda z, n, t: (z, np.where(z == 50_000.0, 0.0, n), t),
    "negative temperature": lambda z, n, t: (z, n, np.where(z == 0.0, -3.0, t)),
    "empty": lambda z, n, t: (z, n * np.nan, t),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_table_that_is_no_atmosphere_is_refused_with_its_cause(fault: str) -> None:
    with pytest.raises(BadInputError) as refused:
        background.from_table(*BAD[fault](*table()))
    assert refused.value.cause == "background_unusable"


def test_bending_of_an_exponential_model_is_its_closed_form_at_the_surface_it_stands_on() -> None:
    altitude = np.arange(0.0, 170_000.0, 250.0)
    model = background.ModelAtmosphere(altitude, 250.0 * np.exp(-altitude / 7_000.0), np.full_like(altitude, 250.0))
    for surface in (6_360_000.0, 6_380_000.0):
        levels = surface + np.arange(20_000.0, 60_000.0, 1_000.0)
        # Thin air, whose refractional radius hardly differs from its radius: less than 2 % here.
        thin = 250e-6 * np.sqrt(2.0 * np.pi * levels / 7_000.0) * np.exp(-(levels - surface) / 7_000.0)
        found = background.model_bending(model, impact_parameter=levels, surface_radius=surface)
        np.testing.assert_allclose(found, thin, rtol=2e-2)


def climatology(**changed: float) -> background.ModelAtmosphere:
    rule = dataclasses.replace(RULE, spacing=2_000.0, **changed)
    return background.model_atmosphere(30.0, 105.0, time=1.3e9, parameters=rule)


def test_the_activity_of_sun_and_field_moves_the_thermosphere_and_not_the_air_below() -> None:
    quiet = climatology()
    low, high = quiet.altitude < 60_000.0, quiet.altitude > 140_000.0
    for changed in ({"f107": 200.0}, {"f107_average": 200.0}, {"ap": 100.0}):
        active = climatology(**changed)
        np.testing.assert_allclose(active.refractivity[low], quiet.refractivity[low], rtol=2e-2)
        assert np.abs(active.temperature[high] / quiet.temperature[high] - 1.0).max() > 2e-2


def test_the_climatology_is_an_ideal_gas_in_hydrostatic_balance() -> None:
    air = background.model_atmosphere(30.0, 105.0, time=1.3e9, parameters=RULE)
    pressure = air.refractivity * air.temperature / constants.REFRACTIVITY_DRY
    assert 0.95e5 < pressure[0] < 1.05e5
    inside = slice(0, 280)
    weight = (
        -np.gradient(np.log(pressure), air.altitude)[inside] * constants.GAS_CONSTANT_DRY_AIR * air.temperature[inside]
    )
    gravity = 9.80 * (1.0 + air.altitude[inside] / 6.37e6) ** -2
    np.testing.assert_allclose(weight[2:], gravity[2:], rtol=2e-2)
