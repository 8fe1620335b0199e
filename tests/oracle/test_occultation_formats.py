"""Files of other centers as they are: one COSMIC-1 event with phases and without, and one UCAR profile."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from processors import constants
from processors.geodesy import curvature
from processors.occultation import cycle_slip, frame_check, level1b, recognition, repair
from retrieval.occultation import profile_retrieval

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def ropp(shared_data: Callable[[str], Path]) -> xr.Dataset:
    path = shared_data("occultation/cosmic1_phase_to_profile") / "ropp_pp_wopt_tool.nc"
    with xr.open_dataset(path, decode_times=False) as opened:
        return opened.load()


@pytest.fixture(scope="module")
def atm_prf(shared_data: Callable[[str], Path]) -> xr.Dataset:
    path = shared_data("occultation/cosmic1_atmprf") / "atmPrf_C002.2007.274.04.10.G31_2007.3200_nc"
    with xr.open_dataset(path, decode_times=False) as opened:
        return opened.load()


def test_a_real_event_needs_no_repair(ropp: xr.Dataset) -> None:
    read = recognition.read(ropp)
    assert read.attrs["findings"] == "velocities_fitted"
    assert read.attrs["receiver_orbit_residual"] < 1e-3
    np.testing.assert_array_equal(read["excess_phase"], ropp[["phase_L1", "phase_L2"]].isel(dim_unlim=0).to_array())


def test_gravity_confirms_the_frame_the_file_declares(ropp: xr.Dataset) -> None:
    time = ropp["dtime"].to_numpy()[0]
    for name in ("r_leo", "r_gns"):
        verdict = frame_check.judge(ropp[name].to_numpy()[0].T, time=time)
        assert verdict.frame == frame_check.EARTH_FIXED
        assert verdict.earth_fixed < 1e-3 < 0.3 < verdict.inertial
    read = recognition.read(ropp)
    ends = {
        end: level1b.frames.State(*(read[f"{end}_{part}"].to_numpy() for part in ("position", "velocity")))
        for end in ("receiver", "transmitter")
    }
    for end, name in (("receiver", "v_leo"), ("transmitter", "v_gns")):
        assert frame_check.velocity_frame(ropp[name].to_numpy()[0].T, fitted=ends[end]) == frame_check.INERTIAL
    assert frame_check.semi_major(ends["transmitter"]) == pytest.approx(26.56e6, rel=2e-3)


def test_the_unit_and_the_order_of_real_phases_are_beyond_doubt(ropp: xr.Dataset) -> None:
    rows, ends = repair.settle_orbits(level1b._record(recognition.read(ropp)))
    seen = repair.sight(ends)
    deep = seen.expected > repair.WEIGHABLE
    ratio = np.median(rows.excess_phase[:, deep] / seen.expected[deep], axis=1)
    assert ((ratio > 0.9) & (ratio < 1.3)).all()
    crossed = ropp.assign(phase_L1=ropp["phase_L2"], phase_L2=ropp["phase_L1"])
    read = recognition.read(crossed)
    assert "signals_swapped" in read.attrs["findings"].split()
    np.testing.assert_array_equal(read["excess_phase"], rows.excess_phase)


@pytest.mark.parametrize("signal", [0, 1])
def test_a_slip_put_into_a_real_event_is_found_and_no_other(ropp: xr.Dataset, signal: int) -> None:
    level = recognition.read(ropp)
    height = repair.sight(repair.settle_orbits(level1b._record(level))[1]).height
    phase = level["excess_phase"].to_numpy()
    wavelength = constants.SPEED_OF_LIGHT / level["carrier_frequency"].to_numpy()
    for sample, cycles in ((400, 1.0), (1500, 0.5), (1900, -2.0)):
        spoilt = phase.copy()
        spoilt[signal, sample:] += cycles * wavelength[signal]
        found = cycle_slip.repair(
            spoilt,
            time=level["time"].to_numpy(),
            snr=level["snr"].to_numpy(),
            carrier_frequency=level["carrier_frequency"].to_numpy(),
            straight_line_height=height,
        )
        assert found.slips == 1
        np.testing.assert_allclose(found.excess_phase, phase, atol=1e-9)


def test_without_its_phases_the_event_enters_at_its_bending_angles(ropp: xr.Dataset) -> None:
    read = recognition.read(ropp.drop_dims("dim_lev1a"))
    assert read.attrs["level"] == "2a"
    single = ropp.isel(dim_unlim=0)
    names = {"bending_angle": "bangle", "bending_angle_l1": "bangle_L1", "bending_angle_optimized": "bangle_opt"}
    for own, theirs in names.items():
        np.testing.assert_array_equal(read[own], single[theirs])
    whole = recognition.read(ropp)
    for name in ("occultation_id", "transmitter", "receiver", "mission", "setting"):
        assert read.attrs[name] == whole.attrs[name]
    start = float(whole["time"][0]) - float(single["dtime"][0])
    assert read.attrs["reference_time"] - start == pytest.approx(45.727, abs=1e-3)
    place = (read.attrs["reference_latitude"], read.attrs["reference_longitude"])
    sphere = curvature.sphere(*place, azimuth=read.attrs["azimuth"])
    assert read.attrs["radius_of_curvature"] == pytest.approx(sphere.radius, abs=50.0)
    np.testing.assert_allclose(read.attrs["center_of_curvature"], sphere.center, atol=100.0)


def test_levels_of_atmprf_lie_at_curvature_radius_plus_undulation_plus_altitude(atm_prf: xr.Dataset) -> None:
    read = recognition.read(atm_prf)
    assert read.attrs["occultation_id"] == "g31-c002-200710010410"
    assert read.sizes["impact"] == atm_prf.sizes["MSL_alt"]
    index = 1.0 + atm_prf["Ref"].to_numpy()[::-1] * 1e-6
    radius = read["impact_parameter"].to_numpy() / index
    altitude = radius - read.attrs["radius_of_curvature"] - read.attrs["undulation"]
    np.testing.assert_allclose(altitude, atm_prf["MSL_alt"].to_numpy()[::-1] * 1e3, atol=1.0)
    np.testing.assert_allclose(read["bending_angle"], atm_prf["Bend_ang"].to_numpy()[::-1])
    assert abs(read.attrs["reference_latitude"] - float(read["latitude"].mean())) < 1.0


def test_refractivity_of_a_bending_profile_is_that_of_its_file(atm_prf: xr.Dataset) -> None:
    found = profile_retrieval.retrieve_from_bending(recognition.read(atm_prf))
    altitude, expected = atm_prf["MSL_alt"].to_numpy() * 1e3, atm_prf["Ref"].to_numpy()
    layer = (altitude >= 2e3) & (altitude <= 20e3) & (expected > 0.0)
    mine = np.exp(np.interp(altitude[layer], found["altitude"], np.log(found["refractivity"])))
    difference = mine / expected[layer] - 1.0
    assert abs(difference.mean()) < 2e-4
    assert difference.std() < 2e-4
