"""One COSMIC-1 occultation from its excess phases, against the reference retrieval in the same file."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from processors.geodesy import curvature, geoid, gravity
from processors.occultation import level1b
from processors.quality import BadInputError
from retrieval.occultation import abel, geometric_optics, georeference, profile_retrieval, quality, truncation

pytestmark = pytest.mark.oracle


class Pair(NamedTuple):
    reference: xr.Dataset
    retrieved: xr.Dataset


@pytest.fixture(scope="module")
def pair(shared_data: Callable[[str], Path]) -> Pair:
    path = shared_data("occultation/cosmic1_phase_to_profile") / "ropp_pp_wopt_tool.nc"
    with xr.open_dataset(path, decode_times=False) as opened:
        dataset = opened.load()
    retrieved = profile_retrieval.retrieve(level1b.level1b_from_dataset(dataset))
    return Pair(dataset.isel(dim_unlim=0), retrieved)


def relative_difference(pair: Pair, found: str, reference: str) -> np.ndarray:
    """Difference of bending angles on the impact parameters of the reference."""
    at = pair.reference["impact"].to_numpy()
    expected = pair.reference[reference].to_numpy()
    interpolated = np.interp(at, pair.retrieved["impact_parameter"], pair.retrieved[found])
    return interpolated / expected - 1.0


def layer(pair: Pair, low: float, high: float) -> np.ndarray:
    height = pair.reference["impact"].to_numpy() - float(pair.reference["roc"])
    return (height >= low) & (height <= high)


@pytest.mark.parametrize(
    ("low", "high", "limit"), [(2e3, 8e3, 1e-2), (8e3, 30e3, 2e-4), (30e3, 40e3, 1e-3), (40e3, 50e3, 2e-3)]
)
def test_corrected_bending_angle_meets_the_reference(pair: Pair, low: float, high: float, limit: float) -> None:
    difference = relative_difference(pair, "bending_angle", "bangle")[layer(pair, low, high)]
    assert abs(np.nanmean(difference)) < limit


def test_bending_angles_of_both_signals_meet_the_reference(pair: Pair) -> None:
    for found, reference in (("bending_angle_l1", "bangle_L1"), ("bending_angle_l2", "bangle_L2")):
        difference = relative_difference(pair, found, reference)[layer(pair, 12e3, 30e3)]
        assert abs(difference.mean()) < 2e-4
        assert difference.std() < 1e-2


@pytest.mark.parametrize(("low", "high", "limit"), [(2e3, 8e3, 5e-3), (8e3, 30e3, 5e-4), (30e3, 40e3, 4e-3)])
def test_refractivity_from_our_own_bending_meets_the_reference(
    pair: Pair, low: float, high: float, limit: float
) -> None:
    altitude = pair.reference["alt_refrac"].to_numpy().astype(np.float64)
    found = np.exp(np.interp(altitude, pair.retrieved["altitude"], np.log(pair.retrieved["refractivity"])))
    difference = (found / pair.reference["refrac"].to_numpy() - 1.0)[(altitude >= low) & (altitude <= high)]
    assert abs(difference.mean()) < limit


@pytest.mark.parametrize(
    ("altitude", "refractivity", "temperature"),
    [
        (10e3, 94.35, 230.4),
        (15e3, 48.04, 207.9),
        (20e3, 21.27, 206.6),
        (30e3, 4.066, 231.5),
        (40e3, 0.914, 256.2),
    ],
)
def test_spot_values_of_the_profile(pair: Pair, altitude: float, refractivity: float, temperature: float) -> None:
    found = pair.retrieved
    assert np.interp(altitude, found["altitude"], found["refractivity"]) == pytest.approx(refractivity, rel=8e-3)
    # At 40 km the background of either retrieval takes part.
    allowed = 1.5 if altitude < 40e3 else 4.0
    assert np.interp(altitude, found["altitude"], found["dry_temperature"]) == pytest.approx(temperature, abs=allowed)


def test_errors_against_the_reference_stay_within_the_stated_uncertainty(pair: Pair) -> None:
    altitude = pair.reference["alt_refrac"].to_numpy().astype(np.float64)
    inside = (altitude > 2e3) & (altitude < 60e3)
    found = np.interp(altitude, pair.retrieved["altitude"], pair.retrieved["refractivity"])
    deviation = np.interp(altitude, pair.retrieved["altitude"], pair.retrieved["refractivity_uncertainty"])
    normalised = ((found - pair.reference["refrac"].to_numpy()) / deviation)[inside]
    assert 0.1 < float(np.sqrt(np.mean(normalised**2))) < 1.5


def test_abel_of_the_reference_bending_gives_the_reference_refractivity(pair: Pair) -> None:
    file = pair.reference
    found = abel.refractivity_from_bending(file["bangle_opt"].to_numpy(), impact_parameter=file["impact"].to_numpy())
    altitude = found.radius - float(file["roc"]) - float(file["undulation"])
    at = file["alt_refrac"].to_numpy().astype(np.float64)
    inside = (at >= 1e3) & (at <= 60e3)
    interpolated = np.exp(np.interp(at[inside], altitude, np.log(found.refractivity)))
    np.testing.assert_allclose(interpolated, file["refrac"].to_numpy()[inside], rtol=1e-4)


def test_reference_point_and_sphere_are_those_of_the_file(pair: Pair) -> None:
    file, found = pair.reference, pair.retrieved
    start = float(found.attrs["record_start"]) - float(file["dtime"][0])
    assert float(found["reference_time"]) - start == pytest.approx(float(file["time_offset"]), abs=0.05)
    assert float(found["reference_latitude"]) == pytest.approx(float(file["lat"]), abs=1e-3)
    assert float(found["reference_longitude"]) == pytest.approx(float(file["lon"]), abs=1e-3)
    assert float(found["azimuth"]) == pytest.approx(float(file["azimuth"]), abs=1e-3)
    assert float(found["radius_of_curvature"]) == pytest.approx(float(file["roc"]), abs=1.0)
    np.testing.assert_allclose(found["center_of_curvature"], file["r_coc"], atol=1.0)
    assert float(found["undulation"]) == pytest.approx(float(file["undulation"]), abs=0.05)
    assert int(found["setting"]) == 1
    assert found.attrs["occultation_id"] == "g02-c001-200901070041"


def test_sphere_and_undulation_at_the_stated_point_are_exactly_those_of_the_file(pair: Pair) -> None:
    latitude, longitude, azimuth = (float(pair.reference[name]) for name in ("lat", "lon", "azimuth"))
    sphere = curvature.sphere(latitude, longitude, azimuth=azimuth)
    assert sphere.radius == pytest.approx(float(pair.reference["roc"]), abs=1e-2)
    np.testing.assert_allclose(sphere.center, pair.reference["r_coc"], atol=1e-2)
    assert float(geoid.undulation(latitude, longitude)) == pytest.approx(-30.21, abs=0.02)


def test_geopotential_heights_are_those_of_the_file(pair: Pair) -> None:
    altitude = pair.reference["alt_refrac"].to_numpy().astype(np.float64)
    found = gravity.geopotential_height(float(pair.reference["lat"]), altitude)
    np.testing.assert_allclose(found, pair.reference["geop_refrac"], rtol=2e-6, atol=0.01)


def test_tangent_points_of_unbent_rays_are_those_of_the_file(pair: Pair) -> None:
    at = pair.reference["impact"].to_numpy()
    high = layer(pair, 60e3, 105e3)
    for found, reference in (("latitude", "lat_tp"), ("longitude", "lon_tp")):
        interpolated = np.interp(at, pair.retrieved["impact_parameter"], pair.retrieved[found])
        np.testing.assert_allclose(interpolated[high], pair.reference[reference].to_numpy()[high], atol=3e-3)


def test_the_second_signal_is_lost_and_nothing_but_a_steep_layer_is_flagged(pair: Pair) -> None:
    found = pair.retrieved
    assert 8e3 < float(found["second_signal_lowest_impact_height"]) < 13e3
    assert 1e-6 < float(found["bending_angle_noise"]) < 5e-6
    # Two levels about 1.5 km are steeper than -80 N-units per km here, none of the smoother reference.
    assert quality.QualityFlag(int(found["quality_flag"])) == quality.QualityFlag.SUPER_REFRACTION
    assert float(found["lowest_altitude"]) <= float(pair.reference["alt_refrac"].min())
    assert int(found["truncation_reason"]) == truncation.TruncationReason.SHADOW_BORDER
    assert 3e3 < float(found["multipath_top_impact_height"]) < 10e3


def test_the_inertial_velocities_of_the_file_are_refused_as_earth_fixed_ones(pair: Pair) -> None:
    level = level1b.level1b_from_dataset(pair.reference.expand_dims("dim_unlim"))
    for end, name in (("receiver", "v_leo"), ("transmitter", "v_gns")):
        trapped = level.copy(deep=True)
        trapped[f"{end}_velocity"][:] = pair.reference[name].to_numpy().T
        with pytest.raises(BadInputError, match=f"{end}_velocity") as refused:
            level1b.require(trapped)
        assert refused.value.cause == "orbit_implausible"


def test_bending_does_not_depend_on_the_rotation_of_the_frame(pair: Pair) -> None:
    level = level1b.level1b_from_dataset(pair.reference.expand_dims("dim_unlim"))
    reference = georeference.locate(level)
    inertial = georeference.arc_about_center(level, reference=reference).geometry
    rotating = geometric_optics.ray_geometry(
        level["receiver_position"].to_numpy() - reference.center,
        receiver_velocity=level["receiver_velocity"].to_numpy(),
        transmitter_position=level["transmitter_position"].to_numpy() - reference.center,
        transmitter_velocity=level["transmitter_velocity"].to_numpy(),
    )
    moment = int(np.argmin(np.abs(level["time"].to_numpy() - reference.time)))
    doppler = np.full(level.sizes["time"], 13.0)
    one, two = (
        geometric_optics.bending_angle_from_doppler(doppler, geometry=geometry) for geometry in (inertial, rotating)
    )
    assert one.bending_angle[moment] == pytest.approx(two.bending_angle[moment], rel=1e-5)
    assert one.impact_parameter[moment] == pytest.approx(two.impact_parameter[moment], abs=0.1)
