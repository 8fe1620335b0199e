"""Spectral indices: values against an outside implementation, uncertainties against simulation."""

import numpy as np
import pytest
import spyndex
import xarray as xr

from processors import quality
from retrieval.surface import observation, spectral_index

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
LETTERS = dict(zip(BANDS, ("B", "G", "R", "N", "S1", "S2"), strict=True))
OUTSIDE = {
    "ndvi": "NDVI",
    "ndwi": "NDWI",
    "mndwi": "MNDWI",
    "ndmi": "NDMI",
    "ndbi": "NDBI",
    "nbr": "NBR",
    "evi": "EVI",
    "evi2": "EVI2",
    "savi": "SAVI",
    "bsi": "BI",
}
CONSTANTS = {"EVI": {"g": 2.5, "C1": 6.0, "C2": 7.5, "L": 1.0}, "EVI2": {"g": 2.5, "L": 1.0}, "SAVI": {"L": 0.5}}


def reflectance(values: np.ndarray, sigma: float | np.ndarray = 0.0, bands=BANDS) -> observation.Estimate:
    value = xr.DataArray(values, dims=("band", "pixel"), coords={"band": list(bands)})
    return observation.Estimate(value, xr.zeros_like(value) + sigma)


@pytest.fixture
def spectra() -> np.ndarray:
    return np.random.default_rng(20240501).uniform(0.01, 0.6, size=(len(BANDS), 400))


def test_every_index_is_checked_against_the_outside_implementation():
    assert set(OUTSIDE) == set(spectral_index.INDICES)


@pytest.mark.parametrize("index", sorted(OUTSIDE))
def test_index_agrees_with_spyndex(index: str, spectra: np.ndarray):
    name = OUTSIDE[index]
    inputs = {LETTERS[band]: spectra[position] for position, band in enumerate(BANDS)}
    expected = spyndex.computeIndex(name, {**inputs, **CONSTANTS.get(name, {})})
    definition = spectral_index.INDICES[index]
    denominator = sum(c * spectra[BANDS.index(b)] for b, c in definition.denominator.items())
    computed = spectral_index.estimate(reflectance(spectra), index=index).value.values
    within = (denominator + definition.denominator_offset > 0) & (np.abs(expected) <= definition.bounds[1])
    assert within.sum() > 100
    np.testing.assert_allclose(computed[within], expected[within], rtol=1e-12, atol=1e-14)


def test_sigma_of_ndvi_is_the_textbook_formula():
    red, nir, sigma_red, sigma_nir = 0.05, 0.4, 0.004, 0.012
    sigma = xr.DataArray([[sigma_red], [sigma_nir]], dims=("band", "pixel"), coords={"band": ["red", "nir"]})
    value = xr.DataArray([[red], [nir]], dims=("band", "pixel"), coords={"band": ["red", "nir"]})
    found = spectral_index.estimate(observation.Estimate(value, sigma), index="ndvi").sigma.item()
    expected = 2 / (nir + red) ** 2 * np.hypot(red * sigma_nir, nir * sigma_red)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("index", sorted(OUTSIDE))
def test_sigma_agrees_with_simulation(index: str):
    truth = np.array([0.06, 0.09, 0.08, 0.35, 0.22, 0.14])
    sigma = np.array([0.002, 0.002, 0.002, 0.006, 0.005, 0.004])
    noise = np.random.default_rng(7).normal(size=(len(BANDS), 40_000))
    cloud = spectral_index.estimate(reflectance(truth[:, None] + sigma[:, None] * noise), index=index).value.values
    found = spectral_index.estimate(reflectance(truth[:, None], sigma[:, None]), index=index).sigma.item()
    assert found == pytest.approx(cloud.std(), rel=0.03)


def test_common_gain_error_cancels_in_a_normalized_difference_only():
    surface = reflectance(np.array([[0.05], [0.08], [0.06], [0.4], [0.2], [0.1]]))
    gain = 0.03
    assert spectral_index.estimate(surface, index="ndvi", common_gain_sigma=gain).sigma.item() < 1e-12
    found = spectral_index.estimate(surface, index="evi", common_gain_sigma=gain).sigma.item()
    step = 1e-6
    scaled = reflectance(surface.value.values * (1 + step))
    slope = (
        spectral_index.estimate(scaled, index="evi").value - spectral_index.estimate(surface, index="evi").value
    ).item() / step
    assert found == pytest.approx(gain * abs(slope), rel=1e-4)


def test_missing_reflectance_gives_no_index():
    values = np.array([[0.05, np.nan], [0.4, 0.4]])
    found = spectral_index.estimate(reflectance(values, 0.01, ("red", "nir")), index="ndvi")
    assert np.isnan(found.value.values).tolist() == [False, True]
    assert np.isnan(found.sigma.values).tolist() == [False, True]


def test_a_denominator_that_is_not_positive_gives_no_index():
    values = np.array([[-0.02, 0.05], [0.01, 0.4]])
    found = spectral_index.estimate(reflectance(values, 0.01, ("red", "nir")), index="ndvi").value.values
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


def test_noise_below_zero_reflectance_stays_within_the_bounds():
    found = spectral_index.estimate(reflectance(np.array([[0.02], [-0.003]]), 0.01, ("red", "nir")), index="ndvi")
    assert found.value.item() == -1.0


def test_an_absent_band_is_refused_by_name():
    with pytest.raises(quality.BadInputError, match="nbr needs the band swir2") as caught:
        spectral_index.estimate(reflectance(np.ones((2, 1)), 0.0, ("red", "nir")), index="nbr")
    assert caught.value.cause == "band_missing"


def test_water_index_without_short_wave_infrared_uses_near_infrared():
    surface = reflectance(np.array([[0.09], [0.03]]), 0.0, ("green", "nir"))
    assert spectral_index.water_index(surface).value.item() == pytest.approx(0.5)
