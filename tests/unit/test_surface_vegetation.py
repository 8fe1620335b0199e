"""Vegetation: the mixture at its endmembers, exact integrals, uncertainties against simulation."""

import numpy as np
import pytest
import xarray as xr

from retrieval.surface import observation, vegetation

TIMES = np.array(["2021-03-01", "2021-04-10", "2021-05-01", "2021-07-15", "2021-09-01"], dtype="datetime64[ns]")
DAYS = (TIMES - TIMES[0]) / np.timedelta64(1, "D")


def estimate(value, sigma=0.01) -> observation.Estimate:
    value = xr.DataArray(np.atleast_1d(np.asarray(value, dtype=float)), dims="pixel")
    return observation.Estimate(value, xr.zeros_like(value) + sigma)


def series(values: np.ndarray, sigma: float = 0.02) -> observation.Estimate:
    value = xr.DataArray(values[:, None, :], dims=("time", "y", "x"), coords={"time": TIMES})
    return observation.Estimate(value, (xr.zeros_like(value) + sigma).where(value.notnull()))


@pytest.mark.parametrize("exponent", [1, 2])
def test_cover_is_zero_at_soil_and_one_at_full_vegetation(exponent):
    parameters = vegetation.CoverParameters(exponent=exponent)
    ndvi = estimate([parameters.soil_ndvi, parameters.vegetation_ndvi, -0.4, 0.99])
    np.testing.assert_allclose(vegetation.fractional_cover(ndvi, parameters=parameters).value, [0, 1, 0, 1], atol=1e-12)


@pytest.mark.parametrize(("exponent", "level"), [(1, 0.3), (1, 0.7), (2, 0.4), (2, 0.7)])
def test_sigma_of_cover_agrees_with_simulation(exponent, level):
    parameters = vegetation.CoverParameters(exponent=exponent)
    rng = np.random.default_rng(11)
    ndvi, soil, full = (
        rng.normal(mean, sigma, 60_000)
        for mean, sigma in (
            (level, 0.03),
            (parameters.soil_ndvi, parameters.soil_ndvi_sigma),
            (parameters.vegetation_ndvi, parameters.vegetation_ndvi_sigma),
        )
    )
    simulated = (((ndvi - soil) / (full - soil)) ** exponent).std()
    found = vegetation.fractional_cover(estimate(level, 0.03), parameters=parameters).sigma.item()
    assert found == pytest.approx(simulated, rel=0.05)


def test_quadratic_cover_of_bare_soil_is_not_certain():
    parameters = vegetation.CoverParameters(exponent=2)
    found = vegetation.fractional_cover(estimate(parameters.soil_ndvi, 0.03), parameters=parameters)
    assert found.sigma.item() > 0.001


def test_maximum_carries_the_uncertainty_of_its_own_date():
    values = series(np.array([[0.2], [0.9], [0.5], [np.nan], [0.1]]))
    sigma = values.sigma.copy()
    sigma[1] = 0.07
    found = vegetation.seasonal_maximum(observation.Estimate(values.value, sigma))
    assert (found.value.item(), found.sigma.item()) == (0.9, 0.07)
    assert vegetation.seasonal_minimum(values).value.item() == 0.1


def test_a_pixel_without_any_date_has_no_extreme():
    values = series(np.full((5, 1), np.nan))
    assert np.isnan(vegetation.seasonal_maximum(values).value.item())
    assert np.isnan(vegetation.seasonal_minimum(values).value.item())


def test_integral_of_a_straight_course_is_exact():
    slope, start = 0.002, 0.2
    found = vegetation.season_vigour(series((start + slope * DAYS)[:, None]), minimum_looks=3)
    period = DAYS[-1]
    assert found.integral.value.item() == pytest.approx(start * period + slope * period**2 / 2, rel=1e-12)
    assert found.anomaly.value.item() == pytest.approx(slope * period / 2, rel=1e-12)


@pytest.mark.parametrize("missing", [[0], [4], [1, 2], [0, 4]])
def test_integral_of_a_constant_covers_the_whole_period_whatever_is_missing(missing):
    values = np.full((5, 1), 0.6)
    values[missing] = np.nan
    found = vegetation.season_vigour(series(values), minimum_looks=3)
    assert found.integral.value.item() == pytest.approx(0.6 * DAYS[-1], rel=1e-12)


def test_sigma_of_integral_and_anomaly_agree_with_simulation():
    truth = np.array([0.3, 0.5, np.nan, 0.8, 0.4])[:, None]
    noisy = truth + 0.02 * np.random.default_rng(3).normal(size=(5, 20_000))
    cloud = vegetation.season_vigour(series(noisy), minimum_looks=3)
    found = vegetation.season_vigour(series(truth), minimum_looks=3)
    assert found.integral.sigma.item() == pytest.approx(cloud.integral.value.values.std(), rel=0.03)
    assert found.anomaly.sigma.item() == pytest.approx(cloud.anomaly.value.values.std(), rel=0.03)


def test_too_few_looks_give_no_vigour():
    values = np.array([[0.3], [np.nan], [np.nan], [np.nan], [0.5]])
    found = vegetation.season_vigour(series(values), minimum_looks=3)
    assert all(np.isnan(part.value.item()) for part in found)


def test_without_the_last_date_there_is_no_anomaly_of_the_last_date():
    values = np.array([[0.3], [0.4], [0.5], [0.6], [np.nan]])
    found = vegetation.season_vigour(series(values), minimum_looks=3)
    assert np.isnan(found.anomaly.value.item())
    assert np.isnan(found.anomaly.sigma.item())
    assert np.isfinite(found.integral.value.item())
