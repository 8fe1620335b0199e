"""One event read from every layout is the same event; files with bending angles only enter as bending profiles."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from infra import granule_format
from processors import constants, timescales
from processors.geodesy import frames
from processors.occultation import bending_profile, frame_check, level1b, recognition
from processors.orbit import interpolation
from processors.quality import BadInputError
from tests.unit import occultation_layouts as layouts

LAYOUTS = pytest.mark.parametrize("layout", layouts.LAYOUTS.values(), ids=layouts.LAYOUTS)


@LAYOUTS
def test_an_event_is_the_same_from_every_layout(layout: Callable[[xr.Dataset], xr.Dataset]) -> None:
    truth = layouts.simulated()
    read = recognition.read(layout(truth))
    assert read.attrs["level"] == "1b"
    np.testing.assert_allclose(read["time"], truth["time"], atol=1e-6)
    np.testing.assert_allclose(read["excess_phase"], truth["excess_phase"], atol=1e-6)
    np.testing.assert_allclose(read["snr"], truth["snr"], rtol=1e-9)
    np.testing.assert_array_equal(read["carrier_frequency"], truth["carrier_frequency"])
    for end in ("receiver", "transmitter"):
        np.testing.assert_allclose(read[f"{end}_position"], truth[f"{end}_position"], atol=2e-3)
        np.testing.assert_allclose(read[f"{end}_velocity"], truth[f"{end}_velocity"], atol=1e-3)
        assert read.attrs[f"{end}_orbit_residual"] < 1e-3
    assert read.attrs["transmitter"] == truth.attrs["transmitter"]
    assert read.attrs["setting"] == truth.attrs["setting"]
    assert read.attrs["findings"] == "velocities_fitted"
    assert level1b.require(read) is read


@LAYOUTS
def test_rounded_positions_and_short_records_keep_their_velocities(
    layout: Callable[[xr.Dataset], xr.Dataset],
) -> None:
    truth = layouts.level().isel(time=slice(1000, 2500))
    generator = np.random.default_rng(5)
    for end in ("receiver", "transmitter"):
        truth[f"{end}_position"][:] += generator.normal(0.0, 3e-4, truth[f"{end}_position"].shape)
    read = recognition.read(layout(truth))
    assert float(read["time"][-1] - read["time"][0]) == pytest.approx(30.0, abs=0.1)
    for end in ("receiver", "transmitter"):
        error = (read[f"{end}_velocity"] - truth[f"{end}_velocity"]).to_numpy()
        # One orbit row per second leaves conPhs a fiftieth of the positions to average.
        assert np.sqrt(np.mean(error**2)) < (1e-4 if layout is layouts.con_phs else 1.5e-5)


def test_level_1b_without_faults_passes_untouched() -> None:
    own = layouts.level()
    assert recognition.read(own) is own
    assert "findings" not in own.attrs


def test_what_was_read_once_reads_again_with_its_findings() -> None:
    once = recognition.read(layouts.aws_1(layouts.level()))
    again = recognition.read(once)
    xr.testing.assert_equal(again, once)
    assert again.attrs["findings"] == once.attrs["findings"]


def test_files_come_through_netcdf_as_they_went_in() -> None:
    for layout in layouts.LAYOUTS.values():
        made = layout(layouts.level())
        stored = granule_format.decode(granule_format.encode(made), name="file", decode_times=False)
        again = recognition.read(stored)
        xr.testing.assert_identical(again, recognition.read(made))
        kept = granule_format.decode(granule_format.encode(again), name="level 1B", decode_times=False)
        assert recognition.read(kept).attrs["occultation_id"] == again.attrs["occultation_id"]
    profile = recognition.read(layouts.atm_prf())
    kept = granule_format.decode(granule_format.encode(profile), name="level 2A", decode_times=False)
    xr.testing.assert_equal(recognition.read(kept), profile)


def test_fill_values_are_missing_and_counted() -> None:
    made = layouts.aws_1(layouts.level())
    made["excessPhase"][100:110, 0] = layouts.FILL
    made["excessPhase"][200:203, 0] = -999.0
    made["snr"][50] = layouts.FILL
    read = recognition.read(made)
    assert read.attrs["samples_missing"] == 13
    assert "samples_missing" in read.attrs["findings"].split()
    assert np.isnan(read["snr"][0, 50])


def test_of_many_signals_the_strongest_and_the_least_noisy_pair_are_taken() -> None:
    truth = layouts.level()
    made = layouts.aws_1(truth).isel(signal=[1, 0, 1, 1])
    made["carrierFrequency"] = ("signal", np.array([constants.GPS_L2, constants.GPS_L1, constants.GPS_L5, 1.2276e9]))
    made["snr"] = made["snr"] * xr.DataArray([0.5, 1.0, 1.0, 0.9], dims="signal")
    made["phaseCode"] = (
        ("signal", "obscode"),
        np.array([list(code) for code in ("L2W", "L1C", "L5Q", "L2L")], dtype="S1"),
    )
    l5 = made["excessPhase"].to_numpy().copy()
    ionosphere = (l5[:, 1] - l5[:, 0]) / (1.0 / constants.GPS_L1**2 - 1.0 / constants.GPS_L2**2)
    l5[:, 2] = l5[:, 1] + ionosphere * (1.0 / constants.GPS_L5**2 - 1.0 / constants.GPS_L1**2)
    made["excessPhase"] = (("time", "signal"), l5)
    read = recognition.read(made)
    np.testing.assert_array_equal(read["carrier_frequency"], [constants.GPS_L1, constants.GPS_L5])
    assert read.attrs["signal_codes"] == "L1C L5Q"
    made["snr"] = made["snr"] * xr.DataArray([1.0, 1.0, 0.2, 1.0], dims="signal")
    assert recognition.read(made).attrs["signal_codes"] == "L1C L2L"


def test_one_signal_alone_is_read_and_says_so() -> None:
    read = recognition.read(layouts.aws_1(layouts.level()).isel(signal=[0]))
    assert "no_second_signal" in read.attrs["findings"].split()
    assert np.isnan(read["excess_phase"][1]).all()
    np.testing.assert_array_equal(read["carrier_frequency"], [constants.GPS_L1, constants.GPS_L2])


def test_the_flag_of_navigation_bits_means_the_same_in_both_versions() -> None:
    for layout in (layouts.aws_1, layouts.aws_2):
        assert recognition.read(layout(layouts.level())).attrs["navigation_bits_present"] == "0 0"


def test_model_phases_alone_are_no_excess_phases() -> None:
    with pytest.raises(BadInputError, match="excessPhase") as refused:
        recognition.read(layouts.aws_1(layouts.level()).drop_vars("excessPhase"))
    assert refused.value.cause == "not_level1b"


def test_times_of_conphs_may_count_from_the_epoch() -> None:
    made = layouts.con_phs(layouts.level())
    absolute = made.assign_coords(time=made["time"] + layouts.START)
    np.testing.assert_allclose(recognition.read(absolute)["time"], layouts.simulated()["time"], atol=1e-6)


def test_atmprf_enters_as_a_bending_profile_from_the_bottom_up() -> None:
    impact, angle = layouts.bending()
    read = recognition.read(layouts.atm_prf())
    assert read.attrs["level"] == "2a"
    np.testing.assert_allclose(read["impact_parameter"], impact, rtol=1e-12)
    np.testing.assert_array_equal(read["bending_angle"], angle)
    assert np.isnan(read["bending_angle_l1"]).all()
    assert float(read["latitude"][0]) == 10.0
    assert read.attrs["radius_of_curvature"] == pytest.approx(6_369_980.0)
    assert read.attrs["undulation"] == pytest.approx(20.0)
    assert read.attrs["reference_time"] == 875_247_078.0
    assert read.attrs["azimuth"] == 330.0
    assert read.attrs["setting"] == 0
    assert read.attrs["occultation_id"] == "g31-c002-200710010410"
    assert np.isnan(read.attrs["center_of_curvature"]).all()


def test_impact_heights_of_newer_atmprf_are_counted_from_the_geoid() -> None:
    made = layouts.atm_prf()
    height = made["Impact_parm"] - made.attrs["rfict"] - made.attrs["rgeoid"]
    newer = made.drop_vars("Impact_parm").assign(Impact_height=height, Bend_ang1=made["Bend_ang"] * 1.1)
    read = recognition.read(newer)
    np.testing.assert_allclose(read["impact_parameter"], layouts.bending()[0], rtol=1e-12)
    np.testing.assert_allclose(read["bending_angle_l1"], layouts.bending()[1] * 1.1)


def test_ropp_level_1b_enters_as_a_bending_profile() -> None:
    impact, angle = layouts.bending()
    read = recognition.read(layouts.ropp_bending())
    np.testing.assert_array_equal(read["bending_angle"], angle)
    np.testing.assert_allclose(read["bending_angle_l1"][2:-2], angle[2:-2], rtol=2e-3)
    assert np.isnan(read["bending_angle_l2"]).all()
    np.testing.assert_array_equal(read.attrs["center_of_curvature"], [1e3, 2e3, 3e3])
    assert read.attrs["setting"] == 0
    expected = float(timescales.gps_from_utc(np.datetime64("2009-01-07T00:42:44")))
    assert read.attrs["reference_time"] == expected
    assert recognition.read(read) is read
    assert impact.size == read.sizes["impact"]


def without_attribute(dataset: xr.Dataset, name: str) -> xr.Dataset:
    del dataset.attrs[name]
    return dataset


BENDING_FAULTS: list[tuple[str, Callable[[xr.Dataset], xr.Dataset], str]] = [
    ("no radius", lambda d: d.assign_attrs({"rfict": np.nan}), "radius_implausible"),
    ("radius in metres", lambda d: d.assign_attrs({"rfict": 6.37e6}), "radius_implausible"),
    ("impact in metres", lambda d: d.assign(Impact_parm=d["Impact_parm"] * 1e3), "radius_implausible"),
    ("degrees", lambda d: d.assign(Bend_ang=np.rad2deg(d["Bend_ang"])), "bending_implausible"),
    ("upside down", lambda d: d.assign(Bend_ang=d["Bend_ang"][::-1].variable), "bending_implausible"),
    ("all missing", lambda d: d.drop_vars("Opt_bend_ang").assign(Bend_ang=d["Bend_ang"] * 0.0 - 999.0), "no_data"),
    ("shuffled", lambda d: d.isel(MSL_alt=np.random.default_rng(1).permutation(400)), "impact_irregular"),
    ("no place", lambda d: without_attribute(d, "lat"), "not_bending_profile"),
    ("no satellite", lambda d: d.assign_attrs(fileStamp="?", occulting_sat_id="?"), "not_level1b"),
]


@pytest.mark.parametrize(
    ("fault", "cause"), [row[1:] for row in BENDING_FAULTS], ids=[row[0] for row in BENDING_FAULTS]
)
def test_a_faulty_bending_profile_is_refused_with_its_cause(
    fault: Callable[[xr.Dataset], xr.Dataset], cause: str
) -> None:
    with pytest.raises(BadInputError) as refused:
        recognition.read(fault(layouts.atm_prf()))
    assert refused.value.cause == cause


def test_a_profile_without_phases_is_no_level_1b() -> None:
    with pytest.raises(BadInputError) as refused:
        level1b.level1b_from_dataset(layouts.atm_prf())
    assert refused.value.cause == "not_level1a"
    with pytest.raises(BadInputError, match="lacks") as refused:
        bending_profile.require(xr.Dataset())
    assert refused.value.cause == "not_bending_profile"


def test_sidereal_time_is_that_of_the_almanac() -> None:
    for moment, degrees in (("1992-08-20T12:14:00", 152.578_787_810), ("2000-01-01T12:00:00", 280.460_618_37)):
        found = frames.greenwich_mean_sidereal_time(float(timescales.gps_from_utc(np.datetime64(moment))))
        assert np.rad2deg(found) == pytest.approx(degrees, abs=1e-8)
    day = constants.EARTH_ROTATION_RATE * 86_400.0 - 2.0 * np.pi
    first, second = (frames.greenwich_mean_sidereal_time(1.45e9 + days * 86_400.0) for days in (0, 1))
    assert (second - first) % (2.0 * np.pi) == pytest.approx(day, abs=1e-6)


def test_a_polynomial_follows_an_orbit_over_five_minutes() -> None:
    time = np.arange(0.0, 300.0, 0.5)
    turn = np.sqrt(constants.EARTH_GM / 6.9e6**3) * time
    position = 6.9e6 * np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1)
    degree = interpolation.arc_degree(300.0, highest=9)
    fitted = interpolation.polynomial_arc(position, time=time, degree=degree, at=time)
    np.testing.assert_allclose(fitted.value, position, atol=1e-5)
    assert np.abs(frame_check.gravity(position) + position * constants.EARTH_GM / 6.9e6**3).max() < 0.02


def test_a_ucar_file_without_start_time_begins_at_its_calendar() -> None:
    made = layouts.atm_phs(layouts.level())
    del made.attrs["startTime"]
    moment = (timescales.GPS_EPOCH + np.timedelta64(int(layouts.START), "s")).astype("datetime64[s]").item()
    made.attrs |= {name: getattr(moment, name) for name in ("year", "month", "day", "hour", "minute")}
    made.attrs["second"] = float(moment.second)
    np.testing.assert_allclose(recognition.read(made)["time"], layouts.simulated()["time"], atol=1e-6)
    in_variable = layouts.con_phs(layouts.level()).assign(startTime=("one", [layouts.START]))
    del in_variable.attrs["startTime"]
    np.testing.assert_allclose(recognition.read(in_variable)["time"], layouts.simulated()["time"], atol=1e-6)
    del made.attrs["month"]
    with pytest.raises(BadInputError, match="calendar") as refused:
        recognition.read(made)
    assert refused.value.cause == "not_level1b"


def test_a_ucar_transmitter_may_be_named_by_number() -> None:
    made = layouts.atm_phs(layouts.level())
    made.attrs |= {"fileStamp": "C001", "conId": np.int32(1)}
    assert recognition.read(made).attrs["transmitter"] == layouts.simulated().attrs["transmitter"]
    made.attrs["conId"] = "Q"
    with pytest.raises(BadInputError, match="no navigation satellite"):
        recognition.read(made)


def test_frequencies_of_a_ucar_file_are_read_in_any_unit_and_never_guessed_for_glonass() -> None:
    for scale in (1.0, 1e-6, 1e-9):
        made = layouts.con_phs(layouts.level())
        made.attrs |= {"occfreq1": constants.GPS_L1 * scale, "occfreq2": constants.GPS_L2 * scale}
        np.testing.assert_allclose(recognition.read(made)["carrier_frequency"], [constants.GPS_L1, constants.GPS_L2])
    made = layouts.con_phs(layouts.level())
    made.attrs |= {"fileStamp": "C001.R05", "occfreq1": "?"}
    with pytest.raises(BadInputError, match="GLONASS") as refused:
        recognition.read(made)
    assert refused.value.cause == "frequency_implausible"


@pytest.mark.parametrize(("rows", "naming"), [(slice(0, 6), "too few"), (slice(0, 40), "does not cover")])
def test_orbits_once_a_second_must_reach_as_far_as_the_phases(rows: slice, naming: str) -> None:
    with pytest.raises(BadInputError, match=naming) as refused:
        recognition.read(layouts.con_phs(layouts.level()).isel(orbtime=rows))
    assert refused.value.cause == "orbit_implausible"


def test_a_lost_epoch_of_the_orbit_costs_conphs_nothing() -> None:
    made = layouts.con_phs(layouts.level())
    made["xLeoLR"][10] = -999.0
    read = recognition.read(made)
    np.testing.assert_allclose(read["receiver_velocity"], layouts.simulated()["receiver_velocity"], atol=1e-3)


def test_ropp_files_with_empty_phases_enter_at_their_bending_angles() -> None:
    made = layouts.ropp(layouts.level())
    made["phase_L1"] = made["phase_L1"] * 0.0 - 99_999_000.0
    both = xr.merge([made, layouts.ropp_bending().drop_vars(list(made.variables), errors="ignore")])
    both.attrs = made.attrs
    assert recognition.read(both).attrs["level"] == "2a"


def test_levels_that_repeat_are_left_out_and_counted() -> None:
    made = layouts.atm_prf()
    read = recognition.read(made.isel(MSL_alt=np.sort(np.concatenate([np.arange(400), [30, 60]]))))
    assert read.attrs["findings"] == "levels_dropped"
    assert read.attrs["levels_dropped"] == 2
    np.testing.assert_array_equal(read["bending_angle"], layouts.bending()[1])


PROFILE_BREACHES: list[tuple[Callable[[xr.Dataset], xr.Dataset], str]] = [
    (lambda d: d.isel(impact=slice(None, None, -1)), "impact_irregular"),
    (lambda d: d.assign_attrs(undulation=900.0), "radius_implausible"),
    (lambda d: d.where(d["impact_parameter"] < 0.0).assign(impact_parameter=d["impact_parameter"]), "no_data"),
    (lambda d: d.assign_attrs(carrier_frequency=np.array([1.2e9, 1.5e9])), "frequency_implausible"),
]


@pytest.mark.parametrize(("breach", "cause"), PROFILE_BREACHES)
def test_a_bending_profile_that_breaks_the_contract_is_refused(
    breach: Callable[[xr.Dataset], xr.Dataset], cause: str
) -> None:
    with pytest.raises(BadInputError) as refused:
        bending_profile.require(breach(recognition.read(layouts.atm_prf())))
    assert refused.value.cause == cause


def test_optimised_bending_alone_makes_a_profile() -> None:
    made = layouts.atm_prf()
    made["Bend_ang"] = made["Bend_ang"] * 0.0 - 999.0
    read = recognition.read(made)
    assert np.isnan(read["bending_angle"]).all()
    np.testing.assert_array_equal(read["bending_angle_optimized"], layouts.bending()[1])
