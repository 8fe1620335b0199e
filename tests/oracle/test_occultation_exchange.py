"""One COSMIC-1 occultation in the exchange formats, against the file of another centre and readers not ours."""

from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from infra import eccodes_library
from infra.stages import occultation
from processors.occultation import ropp as ropp_reader
from products import aws, bufr, ropp

eccodes = eccodes_library.load()
pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def reference(shared_data: Callable[[str], Path]) -> Path:
    return shared_data("occultation/cosmic1_phase_to_profile") / "ropp_pp_wopt_tool.nc"


@pytest.fixture(scope="module")
def product(reference: Path) -> xr.Dataset:
    return occultation.profile_from_file(reference.read_bytes(), name=reference.name).dataset


@pytest.fixture(scope="module")
def event(reference: Path) -> xr.Dataset:
    """What the other centre states about the event."""
    with xr.open_dataset(reference, decode_times=False) as opened:
        return opened.load().isel(dim_unlim=0)


@pytest.fixture(scope="module")
def entered(shared_data: Callable[[str], Path]) -> xr.Dataset:
    """A profile that began with the bending angle of another centre, merged up to 60 km by that centre."""
    path = next(shared_data("occultation/cosmic1_atmprf").glob("atmPrf_*"))
    return occultation.profile_from_file(path.read_bytes(), name=path.name).dataset


def messages(content: bytes, key: str) -> np.ndarray:
    handle = eccodes.codes_new_from_message(content)
    eccodes.codes_set(handle, "unpack", 1)
    values = np.atleast_1d(eccodes.codes_get_array(handle, key)).astype(np.float64)
    eccodes.codes_release(handle)
    return np.where(values == eccodes.CODES_MISSING_DOUBLE, np.nan, values)


def test_ropp_variables_are_a_subset_of_what_ropp_wrote(product: xr.Dataset, reference: Path) -> None:
    with netCDF4.Dataset("profile.nc", memory=ropp.encode(product)) as ours, netCDF4.Dataset(reference) as theirs:
        assert ours.data_model == theirs.data_model
        assert set(ours.ncattrs()) == set(theirs.ncattrs())
        assert set(ours.dimensions) == set(theirs.dimensions) - {"dim_lev1a"}
        for name, dimension in ours.dimensions.items():
            assert dimension.isunlimited() == theirs.dimensions[name].isunlimited()
            assert name.startswith("dim_lev") or len(dimension) == len(theirs.dimensions[name])
        expected = {name for name, variable in theirs.variables.items() if "dim_lev1a" not in variable.dimensions}
        assert set(ours.variables) == expected - {"L1_navbits", "L2_navbits"}
        for name, variable in ours.variables.items():
            other = theirs[name]
            assert (variable.dimensions, variable.dtype) == (other.dimensions, other.dtype), name
            assert set(variable.ncattrs()) == set(other.ncattrs()), name
            for attribute in set(variable.ncattrs()) - {"valid_range"}:
                assert variable.getncattr(attribute) == other.getncattr(attribute), name
            if "valid_range" in other.ncattrs() and name != "r_coc":
                np.testing.assert_allclose(variable.valid_range, other.valid_range, rtol=1e-6, err_msg=name)


def test_identity_place_and_geometry_are_those_the_other_centre_states(product: xr.Dataset, event: xr.Dataset) -> None:
    with xr.open_dataset(ropp.encode(product), decode_times=False) as opened:
        ours = opened.load().isel(dim_unlim=0)
    assert ours["gns_id"].item() == event["gns_id"].item() == b"G002"
    assert ours["leo_id"].item() == event["leo_id"].item() == b"C001"
    for name, limit in (("lat", 0.01), ("lon", 0.01), ("azimuth", 0.01), ("roc", 1.0), ("undulation", 0.1)):
        assert float(ours[name]) == pytest.approx(float(event[name]), abs=limit), name
    np.testing.assert_allclose(ours["r_coc"], event["r_coc"], atol=1.0)
    # both starts are cut to the second; the setting bit and no rising
    assert abs(int(ours["second"]) - int(event["second"])) <= 1
    assert not int(ours["pcd"]) & 4
    assert not int(event["pcd"]) & 4


def test_bending_and_refractivity_in_ropp_units_meet_the_reference(product: xr.Dataset, event: xr.Dataset) -> None:
    with xr.open_dataset(ropp.encode(product), decode_times=False) as opened:
        ours = opened.load().isel(dim_unlim=0)
    for at, name, low, high, limit in (
        ("impact", "bangle", 6.379e6, 6.394e6, 1e-3),
        ("alt_refrac", "refrac", 10e3, 28e3, 1e-3),
        ("geop_refrac", "dry_temp", 10e3, 28e3, 2e-3),
    ):
        place, expected = (event[key].to_numpy().astype(np.float64) for key in (at, name))
        inside = (place > low) & (place < high)
        found = np.interp(place[inside], ours[at].to_numpy().astype(np.float64), ours[name])
        assert abs(np.mean(found / expected[inside] - 1.0)) < limit, name


def test_our_reader_takes_a_ropp_file_of_ours_as_a_bending_profile(product: xr.Dataset) -> None:
    with xr.open_dataset(ropp.encode(product), decode_times=False) as opened:
        read = ropp_reader.bending_record(opened.load())
    np.testing.assert_array_equal(read.impact_parameter, product["impact_parameter"])
    np.testing.assert_array_equal(read.bending_angle, product["bending_angle"])
    assert read.attributes["setting"] == int(product["setting"])
    assert read.attributes["transmitter"] == product.attrs["transmitter"]


def test_bufr_of_the_event_decodes_to_its_values_with_its_satellite(product: xr.Dataset) -> None:
    message = bufr.encoded(product)
    assert messages(message.content, "#1#satelliteIdentifier") == 740
    assert messages(message.content, "#1#satelliteClassification") == 401
    assert messages(message.content, "#1#platformTransmitterIdNumber") == 2
    angle = messages(message.content, "bendingAngle").reshape(-1, 3, 2)
    impact = messages(message.content, "impactParameter").reshape(-1, 3)[:, 2]
    at = np.abs(product["impact_parameter"].to_numpy()[:, np.newaxis] - impact).argmin(axis=0)
    for row, name in enumerate(("bending_angle_l1", "bending_angle_l2", "bending_angle")):
        np.testing.assert_allclose(angle[:, row, 0], product[name].to_numpy()[at], rtol=0.0, atol=0.5001e-8)
    lost = int(np.isnan(angle[:, 2, 1]).sum()) - int(product["bending_angle_uncertainty"].isnull()[at].sum())
    assert lost == message.outside.get("bending_angle_uncertainty", 0)
    assert 0.0 < messages(message.content, "height")[0] < 6_000.0


def test_aws_file_of_the_event_is_found_by_its_identity(product: xr.Dataset) -> None:
    with netCDF4.Dataset("profile.nc", memory=aws.encode(product)) as file:
        assert (file.mission, file.leo, file.occGnss) == ("cosmic1", "cosmic1c1", "G02")
        assert [int(file.getncattr(name)) for name in ("year", "month", "day", "hour", "minute")] == [2009, 1, 7, 0, 42]
        # GPS was 15 s ahead of UTC: 2009-01-07T00:42:44 UTC
        assert float(file["refTime"][:]) == pytest.approx(915_324_179, abs=2.0)
        np.testing.assert_array_equal(file["optimizedBendingAngle"][:], product["bending_angle_optimized"])


def test_a_bending_angle_of_another_centre_goes_into_all_formats(entered: xr.Dataset) -> None:
    message = bufr.encoded(entered)
    assert message.outside == {}
    assert (messages(message.content, "meanFrequency") == 0.0).all()
    impact = messages(message.content, "impactParameter")
    angle, sigma = messages(message.content, "bendingAngle").reshape(-1, 2).T
    known = entered["impact_parameter"].to_numpy()
    at = np.abs(known[:, np.newaxis] - impact).argmin(axis=0)
    assert at.size == 300
    np.testing.assert_allclose(impact, known[at], rtol=0.0, atol=0.0501)
    np.testing.assert_allclose(angle, entered["bending_angle"].to_numpy()[at], rtol=0.0, atol=0.5001e-8)
    np.testing.assert_allclose(sigma, entered["bending_angle_uncertainty"].to_numpy()[at], rtol=0.0, atol=0.5001e-8)
    with netCDF4.Dataset("profile.nc", memory=aws.encode(entered)) as file:
        assert np.ma.getmaskarray(file["rawBendingAngle"][:]).all()
        assert file.ionospheric_references == file.optimization_references == "as given by UCAR/CDAAC"
        np.testing.assert_array_equal(file["refractivity"][:], entered["refractivity"])
    with xr.open_dataset(ropp.encode(entered), decode_times=False) as opened:
        ours = opened.load().isel(dim_unlim=0)
    assert ours["leo_id"].item() == b"C002"
    for name, field in (("bangle", "bending_angle"), ("bangle_opt", "bending_angle_optimized")):
        expected = entered[field].to_numpy()
        np.testing.assert_array_equal(np.where(ours[name] < -1e6, np.nan, ours[name]), expected)
    assert (ours["bangle_L1"] < -1e6).all()
