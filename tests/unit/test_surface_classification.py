"""Water, change and land cover: probabilities obey their laws and nothing is classified without data."""

import numpy as np
import pytest
import xarray as xr

from processors import quality
from processors.imagery import qa as qa_bits
from retrieval.surface import change, land_cover, observation, water

BANDS = ("blue", "green", "red", "nir", "swir1")
SPECTRA = {
    "water": (0.06, 0.07, 0.05, 0.03, 0.02),
    "bare_built": (0.12, 0.14, 0.17, 0.22, 0.27),
    "forest": (0.02, 0.04, 0.02, 0.38, 0.13),
}
VH = {"water": -25.0, "bare_built": -14.0, "forest": -14.5, "cropland": -17.5, "grass_shrub": -17.0}


def fused(spectra: np.ndarray, *, sigma: float = 0.005, backscatter: np.ndarray | None = None, qa=0) -> xr.Dataset:
    """Dataset of shape (time, band) or (time, band, pixel), pixels along x."""
    values = np.asarray(spectra, dtype=np.float32).reshape(len(spectra), len(BANDS), 1, -1)
    times = np.datetime64("2021-01-15", "ns") + np.arange(len(spectra)) * np.timedelta64(30, "D")
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full_like(values, sigma)),
            "qa": (("time", "y", "x"), np.full((len(spectra), 1, values.shape[3]), qa, dtype=np.uint16)),
        },
        coords={"time": times, "band": list(BANDS)},
    )
    if backscatter is not None:
        layers = np.asarray(backscatter, dtype=np.float32).reshape(len(spectra), 2, 1, -1)
        dataset["backscatter"] = (("time", "polarization", "y", "x"), layers)
        dataset = dataset.assign_coords(polarization=["vv", "vh"])
    return dataset


def probability_of_water(dataset: xr.Dataset) -> np.ndarray:
    return water.probability(dataset, parameters=water.WaterParameters()).values.ravel()


def test_clear_water_is_water_and_forest_and_roofs_are_not():
    spectra = np.array([SPECTRA["water"], SPECTRA["forest"], SPECTRA["bare_built"]]).T[None]
    wet, forest, roofs = probability_of_water(fused(spectra))
    assert wet > 0.95
    assert max(forest, roofs) < 0.05


def test_optical_probability_is_the_documented_logistic_where_reflectance_is_exact():
    blue, green, red, nir, swir = spectrum = (0.06, 0.10, 0.08, 0.09, 0.085)
    z = 14.0 * ((green - swir) / (green + swir) - 0.05) - 8.0 * ((nir - red) / (nir + red) - 0.15)
    found = probability_of_water(fused(np.array([spectrum]), sigma=0.0)).item()
    assert found == pytest.approx(1 / (1 + np.exp(-z)), rel=1e-5)
    assert blue == 0.06


def test_darker_radar_never_lowers_the_probability_of_water():
    spectrum = np.array([[0.06, 0.08, 0.08, 0.10, 0.085]])
    levels = np.linspace(-30, -2, 57)
    found = [probability_of_water(fused(spectrum, backscatter=np.array([[v, v - 7]]))).item() for v in levels]
    assert (np.diff(found) <= 1e-12).all()
    assert found[0] - found[-1] > 0.5


def test_uncertain_reflectance_moves_the_probability_toward_one_half():
    spectrum = np.array([SPECTRA["water"]])
    exact, vague = (probability_of_water(fused(spectrum, sigma=s)).item() for s in (0.0, 0.05))
    assert 0.5 < vague < exact


def test_radar_alone_starts_from_the_prior():
    nothing = np.full((1, 5), np.nan)
    midpoint = np.array([[-14.75, -21.5]])
    found = probability_of_water(fused(nothing, backscatter=midpoint, qa=int(qa_bits.QaBit.NODATA))).item()
    assert found == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("bit", [qa_bits.QaBit.LAYOVER, qa_bits.QaBit.RADAR_SHADOW])
def test_radar_in_layover_or_radar_shadow_is_no_evidence(bit):
    spectrum = np.array([SPECTRA["forest"]])
    dark = np.array([[-28.0, -35.0]])
    alone = probability_of_water(fused(spectrum)).item()
    assert probability_of_water(fused(spectrum, backscatter=dark, qa=int(bit))).item() == pytest.approx(alone)
    assert probability_of_water(fused(spectrum, backscatter=dark)).item() > alone


@pytest.mark.parametrize("backscatter", [None, np.full((1, 2), np.nan)])
def test_no_class_of_water_without_data(backscatter):
    dataset = fused(np.full((1, 5), np.nan), backscatter=backscatter)
    found = water.probability(dataset, parameters=water.WaterParameters())
    assert np.isnan(found.values).all()
    assert (water.classify(found, threshold=0.5).values == water.NO_DATA).all()


@pytest.mark.parametrize(
    ("bits", "usable", "clear"),
    [
        (qa_bits.QaBit(0), True, True),
        (qa_bits.QaBit.CLOUD, False, False),
        (qa_bits.QaBit.SHADOW, False, False),
        (qa_bits.QaBit.CLOUD | qa_bits.QaBit.FILLED, True, False),
        (qa_bits.QaBit.CLOUD | qa_bits.QaBit.FILLED | qa_bits.QaBit.INSUFFICIENT, False, False),
        (qa_bits.QaBit.INSUFFICIENT, True, True),
        (qa_bits.QaBit.SATURATED, False, False),
        (qa_bits.QaBit.COREGISTRATION_FAILED, False, False),
        (qa_bits.QaBit.LAYOVER, True, True),
        (qa_bits.QaBit.EXTRAPOLATED | qa_bits.QaBit.FILLED, True, False),
    ],
)
def test_quality_bits_decide_what_may_be_used(bits, usable, clear):
    dataset = fused(np.array([SPECTRA["forest"]]), qa=int(bits))
    assert bool(observation.optical_usable(dataset).item()) is usable
    assert bool(observation.clear(dataset).item()) is clear
    assert bool(np.isfinite(observation.reflectance(dataset).value.values).all()) is usable


def test_a_dataset_without_uncertainty_is_refused():
    with pytest.raises(quality.BadInputError, match="reflectance_sigma") as caught:
        observation.reflectance(fused(np.array([SPECTRA["water"]])).drop_vars("reflectance_sigma"))
    assert caught.value.cause == "variable_missing"


def test_a_date_without_usable_pixels_never_counts():
    usable = xr.DataArray(np.array([[[1, 1]], [[0, 0]], [[1, 0]]], dtype=bool), dims=("time", "y", "x"))
    assert observation.dates_with_share(usable, minimum_share=0.0).tolist() == [0, 2]
    assert observation.dates_with_share(usable, minimum_share=0.6).tolist() == [0]


def test_usual_water_is_never_certain_and_needs_dates():
    series = xr.DataArray(np.array([[1.0, np.nan], [1.0, np.nan], [1.0, 0.9]])[:, None, :], dims=("time", "y", "x"))
    found = change.water_frequency(series, minimum_dates=2).values.ravel()
    assert found[0] == pytest.approx(3.5 / 4)
    assert np.isnan(found[1])


@pytest.mark.parametrize(
    ("now", "usually", "expected"),
    [
        (0.02, 0.05, change.STABLE_DRY),
        (0.97, 0.9, change.STABLE_WATER),
        (0.97, 0.1, change.NEW_WATER),
        (0.05, 0.9, change.RECEDED_WATER),
        (np.nan, 0.9, change.NO_DATA),
        (0.9, np.nan, change.NO_DATA),
    ],
)
def test_anomaly_is_water_now_against_water_usually(now, usually, expected):
    found = change.surface_water_anomaly(
        xr.DataArray([[now]], dims=("y", "x")), usual=xr.DataArray([[usually]], dims=("y", "x"))
    )
    assert found.anomaly.item() == expected
    assert np.isnan(found.probability.item()) == (expected == change.NO_DATA)


def season_of(label: str) -> np.ndarray:
    """Twelve spectra of a class, from the NDVI course it is known for."""
    course = {
        "cropland": [0.2, 0.2, 0.3, 0.45, 0.65, 0.82, 0.85, 0.6, 0.3, 0.22, 0.2, 0.2],
        "grass_shrub": [0.5, 0.5, 0.55, 0.65, 0.72, 0.78, 0.76, 0.7, 0.65, 0.6, 0.55, 0.5],
    }
    if label in SPECTRA:
        return np.tile(SPECTRA[label], (12, 1))
    rows = []
    for ndvi in course[label]:
        nir = 0.2 + 0.25 * ndvi
        red = nir * (1 - ndvi) / (1 + ndvi)
        rows.append((0.6 * red, 0.075 + 0.01 * ndvi, red, nir, 0.24 - 0.04 * ndvi))
    return np.array(rows)


@pytest.mark.parametrize("label", land_cover.CLASSES)
def test_each_class_is_found_from_its_own_season(label):
    radar = np.tile([VH[label] + 7, VH[label]], (12, 1))
    found = land_cover.classify(fused(season_of(label), backscatter=radar), parameters=land_cover.LandCoverParameters())
    assert found.land_cover.item() == land_cover.CLASS_VALUES[label]


@pytest.mark.parametrize("label", sorted(SPECTRA))
def test_a_single_date_tells_water_built_up_and_forest(label):
    found = land_cover.classify(fused(np.array([SPECTRA[label]])), parameters=land_cover.LandCoverParameters())
    assert found.land_cover.item() == land_cover.CLASS_VALUES[label]


def test_class_probabilities_add_to_one():
    spectra = np.random.default_rng(5).uniform(0.02, 0.5, size=(12, 5, 30))
    found = land_cover.classify(fused(spectra), parameters=land_cover.LandCoverParameters())
    np.testing.assert_allclose(found.probability.sum("class"), 1.0, rtol=1e-12)


def test_noise_flattens_the_class_probabilities():
    sharp, noisy = (
        land_cover.classify(fused(season_of("cropland"), sigma=s), parameters=land_cover.LandCoverParameters())
        for s in (0.002, 0.08)
    )
    assert noisy.probability.max().item() < sharp.probability.max().item() - 0.1


def test_no_land_cover_without_data():
    spectra = np.concatenate([season_of("forest")[:, :, None], np.full((12, 5, 1), np.nan)], axis=2)
    radar = np.full((12, 2, 2), -15.0)
    found = land_cover.classify(fused(spectra, backscatter=radar), parameters=land_cover.LandCoverParameters())
    assert found.land_cover.values.ravel().tolist() == [land_cover.CLASS_VALUES["forest"], land_cover.NO_DATA]
    assert np.isnan(found.probability.isel(x=1)).all()
