"""Another centre's bending angle in, the atmosphere it came from out."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.special import k0e

from processors import constants
from processors.geodesy import curvature, ellipsoid
from processors.occultation import bending_profile
from retrieval.occultation import background, bending_entry, profile_retrieval, quality
from retrieval.occultation.occultation_parameters import OccultationParameters

RADIUS, UNDULATION, SCALE = 6_370_000.0, -25.0, 7_000.0
PARAMETERS = OccultationParameters()


def log_index(impact: np.ndarray) -> np.ndarray:
    return np.asarray(3e-4 * np.exp(-(impact - RADIUS) / SCALE))


def closed_form(impact: np.ndarray) -> np.ndarray:
    return np.asarray(2.0 * impact * log_index(impact) / SCALE * k0e(impact / SCALE))


def model(factor: float = 1.0) -> background.ModelAtmosphere:
    """The same atmosphere by altitude, or one of another density."""
    x = RADIUS + np.arange(0.0, 175_000.0, 100.0)
    altitude = x * np.exp(-log_index(x)) - RADIUS - UNDULATION
    even = np.arange(0.0, 170_000.0, 100.0)
    refractivity = np.exp(np.interp(even, altitude, np.log(1e6 * np.expm1(log_index(x)))))
    return background.ModelAtmosphere(even, factor * refractivity, np.full_like(even, 238.9), "exponential")


def profile(*, merged_top: float = 60_000.0, top: float = 80_000.0, **changed: Any) -> xr.Dataset:
    """A profile as a centre gives it: 100 m levels, merged bending up to a height, or none."""
    impact = RADIUS + np.arange(3_000.0, top, 100.0)
    bending = closed_form(impact)
    values = {
        "impact_parameter": impact,
        "bending_angle": bending,
        "bending_angle_l1": bending - 2e-6,
        "bending_angle_l2": bending - 2e-6 * (constants.GPS_L1 / constants.GPS_L2) ** 2,
        "bending_angle_optimized": np.where(impact - RADIUS <= merged_top, bending, np.nan),
        "latitude": np.linspace(30.0, 31.0, impact.size),
        "longitude": (179.5 + np.linspace(0.0, 1.0, impact.size) + 180.0) % 360.0 - 180.0,
    }
    attributes = {
        "occultation_id": "G02-E001-1300000000",
        "transmitter": "G02",
        "receiver": "E001",
        "mission": "test",
        "setting": 1,
        "reference_time": 1.3e9,
        "reference_latitude": 30.0,
        "reference_longitude": 179.5,
        "azimuth": -60.0,
        "radius_of_curvature": RADIUS,
        "undulation": UNDULATION,
        "center_of_curvature": np.array([1_000.0, 2_000.0, 30_000.0]),
        "carrier_frequency": np.array([constants.GPS_L1, constants.GPS_L2]),
        "processing_center": "test",
        "source_id": "test",
        "findings": "",
    }
    values |= {key: changed[key] for key in changed if key in values}
    attributes |= {key: changed[key] for key in changed if key in attributes}
    return bending_profile.assemble(values, attributes=attributes)


def retrieved(given: xr.Dataset, air: background.ModelAtmosphere | None = None) -> xr.Dataset:
    return profile_retrieval.retrieve_from_bending(given, model=air or model())


def relative_error(found: xr.Dataset, top: float, bottom: float = 0.0) -> np.ndarray:
    """Refractivity against the closed form at the levels below a height."""
    impact = found["impact_parameter"].to_numpy()
    low = (impact < RADIUS + top) & (impact > RADIUS + bottom)
    truth = 1e6 * np.expm1(log_index(impact))
    return np.asarray((found["refractivity"].to_numpy() / truth - 1.0)[low])


@pytest.fixture(scope="module")
def merged() -> xr.Dataset:
    return retrieved(profile())


def test_the_merged_bending_of_a_file_gives_back_its_atmosphere(merged: xr.Dataset) -> None:
    assert np.abs(relative_error(merged, 50_000.0)).max() < 1e-4
    impact = merged["impact_parameter"].to_numpy()
    radius = impact * np.exp(-log_index(impact))
    low = impact < RADIUS + 55_000.0
    np.testing.assert_allclose((merged["altitude"] + RADIUS + UNDULATION)[low], radius[low], atol=0.05)
    used = (impact < RADIUS + 59_000.0) & (impact > RADIUS + 30_000.0)
    np.testing.assert_array_equal(np.isnan(merged["observation_weight"])[used], True)


def test_without_a_merged_bending_ours_is_made_and_gives_the_same() -> None:
    found = retrieved(profile(merged_top=0.0))
    assert np.abs(relative_error(found, 55_000.0)).max() < 1e-3
    weight = found["observation_weight"].to_numpy()
    height = found["impact_parameter"].to_numpy() - RADIUS
    np.testing.assert_array_equal(weight[height < 30_000.0], 1.0)
    assert (np.diff(weight[height > 80_000.0]) < 0.0).all()
    assert weight[-1] < 0.01


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_above_the_merged_bending_the_background_is_drawn_to_its_top_whatever_its_density(factor: float) -> None:
    found = retrieved(profile(), model(factor))
    assert np.abs(relative_error(found, 50_000.0)).max() < 3e-4
    impact, bending = found["impact_parameter"].to_numpy(), found["bending_angle_optimized"].to_numpy()
    above = (impact > RADIUS + 60_000.0) & (impact < RADIUS + 100_000.0)
    np.testing.assert_allclose(bending[above], closed_form(impact[above]), rtol=3e-2)
    np.testing.assert_array_equal(found["observation_weight"].to_numpy()[above], 0.0)


def test_the_continuation_meets_the_files_own_bending_where_no_fit_was_possible() -> None:
    """Observed below 40 km only: the background is not scaled, and yet there is no step at the top of the file."""
    observed = closed_form(RADIUS + np.arange(3_000.0, 80_000.0, 100.0))
    observed[370:] = np.nan
    found = retrieved(profile(bending_angle=observed), model(1.25))
    impact, bending = found["impact_parameter"].to_numpy(), found["bending_angle_optimized"].to_numpy()
    about = (impact > RADIUS + 55_000.0) & (impact < RADIUS + 70_000.0)
    np.testing.assert_allclose(bending[about], closed_form(impact[about]), rtol=1e-2)


def test_a_merged_bending_of_few_levels_is_none(merged: xr.Dataset) -> None:
    few = retrieved(profile(merged_top=30_000.0))
    assert np.isfinite(few["observation_weight"]).all()
    assert not np.isfinite(merged["observation_weight"]).all()


def test_levels_lie_within_the_file_and_values_between_their_neighbours() -> None:
    holes = closed_form(RADIUS + np.arange(3_000.0, 80_000.0, 100.0))
    holes[100:103] = np.nan
    entry = bending_entry.on_levels(profile(bending_angle=holes), parameters=PARAMETERS)
    assert entry.levels[0] == pytest.approx(RADIUS + 3_000.0, abs=50.0)
    assert entry.levels[0] >= RADIUS + 3_000.0
    height = entry.levels - RADIUS
    missing = (height > 12_900.0) & (height < 13_300.0)
    assert np.isnan(entry.corrected[missing]).all()
    assert np.isnan(entry.corrected[height > 79_950.0]).all()
    present = np.isfinite(entry.corrected)
    np.testing.assert_allclose(entry.corrected[present], closed_form(entry.levels[present]), rtol=3e-5)
    np.testing.assert_allclose((entry.corrected - entry.first)[present], 2e-6, atol=1e-12)


def test_tangent_points_cross_the_date_line_without_a_seam() -> None:
    entry = bending_entry.on_levels(profile(), parameters=PARAMETERS)
    place = ellipsoid.from_ecef(entry.tangent)
    middle = np.argmin(np.abs(entry.levels - RADIUS - 41_500.0))
    assert abs(abs(float(place.longitude[middle])) - 180.0) < 0.01
    assert np.abs(np.diff(entry.tangent, axis=0)).max() < 1_500.0
    nowhere = bending_entry.on_levels(
        profile(latitude=np.full(770, np.nan), longitude=np.full(770, np.nan)), parameters=PARAMETERS
    )
    assert np.isnan(nowhere.tangent).all()
    unplaced = bending_entry.on_levels(profile().drop_vars(["latitude", "longitude"]), parameters=PARAMETERS)
    assert np.isnan(unplaced.tangent).all()


def test_an_unknown_centre_of_curvature_is_ours_and_a_known_one_the_files() -> None:
    unknown = bending_entry.on_levels(profile(center_of_curvature=np.full(3, np.nan)), parameters=PARAMETERS)
    expected = curvature.sphere(30.0, 179.5, azimuth=-60.0).center
    np.testing.assert_allclose(unknown.reference.center, expected)
    known = bending_entry.on_levels(profile(), parameters=PARAMETERS)
    np.testing.assert_array_equal(known.reference.center, [1_000.0, 2_000.0, 30_000.0])
    assert known.reference.azimuth == 300.0
    assert known.reference.radius == RADIUS


def test_a_file_of_merged_bending_alone_still_enters() -> None:
    nothing = np.full(770, np.nan)
    found = retrieved(profile(bending_angle=nothing, merged_top=70_000.0))
    assert np.abs(relative_error(found, 50_000.0)).max() < 1e-4


def test_assumed_errors_are_relative_below_and_the_noise_above() -> None:
    given = profile(merged_top=0.0)
    noise = 3e-6 * np.random.default_rng(6).standard_normal(given.sizes["impact"])
    entry = bending_entry.on_levels(
        profile(merged_top=0.0, bending_angle=given["bending_angle"].to_numpy() + noise), parameters=PARAMETERS
    )
    made = bending_entry._covariance(entry, noise=3e-6, rule=PARAMETERS.assumed_errors)
    height = entry.levels - RADIUS
    deviation = np.sqrt(np.diag(made.random))
    for at, relative in ((5_000.0, 0.0275), (11_000.0, 0.005)):
        index = int(np.argmin(np.abs(height - at)))
        assert deviation[index] / entry.corrected[index] == pytest.approx(relative, rel=0.02)
    high = (height > 65_000.0) & (height < 79_000.0)
    np.testing.assert_allclose(deviation[high], 3e-6, rtol=1e-2)
    np.testing.assert_array_equal(deviation[height > 80_000.0], 0.0)


def test_a_profile_says_where_it_came_from(merged: xr.Dataset) -> None:
    assert "test" in merged.attrs["bending_method"]
    assert merged.attrs["background_model"] == "exponential"
    assert merged.attrs["transmitter"] == "G02"
    assert int(merged["setting"]) == 1
    flags = quality.QualityFlag(int(merged["quality_flag"]))
    assert quality.QualityFlag.GEOMETRIC_OPTICS_ONLY not in flags
    assert quality.QualityFlag.DATA_GAPS not in flags
    assert quality.QualityFlag.SIGNAL_STRENGTH_MISSING not in flags


def test_a_merged_bending_that_begins_higher_than_the_observed_does_not_reach_below_its_own_first_level() -> None:
    """What lies below the first merged level is observed; it is not to be filled with the value of that level."""
    given = profile()
    optimized = given["bending_angle_optimized"].to_numpy().copy()
    optimized[:10] = np.nan
    found = retrieved(profile(bending_angle_optimized=optimized))
    assert np.abs(relative_error(found, 55_000.0)).max() < 1e-3


def test_a_merged_bending_that_is_not_used_does_not_cut_the_profile() -> None:
    optimized = closed_form(RADIUS + np.arange(3_000.0, 80_000.0, 100.0))
    optimized[:470] = np.nan
    entry = bending_entry.on_levels(profile(bending_angle_optimized=optimized), parameters=PARAMETERS)
    assert entry.levels[0] == pytest.approx(RADIUS + 3_000.0, abs=50.0)
