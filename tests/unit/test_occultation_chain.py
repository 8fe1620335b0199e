"""Simulated occultations from carrier phase to published file, and what is refused on the way."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from compliance_checker.runner import CheckSuite

from processors import constants
from processors.geodesy import frames
from processors.occultation import excess_phase, level1b
from processors.orbit import sp3
from processors.quality import BadInputError
from processors.simulation import atmosphere
from processors.simulation import occultation as simulation
from products import netcdf, profile, profile_plot, schema
from retrieval.occultation import profile_retrieval, quality, truncation

START = 1.45e9
PARAMETERS = profile_retrieval.OccultationParameters()


class Event(NamedTuple):
    observation: simulation.CarrierObservation
    carrier: xr.Dataset
    receiver: xr.Dataset
    transmitters: sp3.Sp3Orbits
    level1b: xr.Dataset
    retrieved: xr.Dataset


def chain(made: simulation.SimulatedOccultations, index: int) -> Event:
    """Everything that follows from one simulated event."""
    observation = made.events[index]
    carrier = simulation.dataset_from_observation(observation)
    receiver = simulation.dataset_from_receiver_orbit(made.receiver_orbit)
    transmitters = sp3.parse(made.sp3)
    level = excess_phase.excess_phase_from_carrier(carrier, receiver=receiver, transmitters=transmitters)
    return Event(observation, carrier, receiver, transmitters, level, profile_retrieval.retrieve(level))


@pytest.fixture(scope="module")
def made() -> simulation.SimulatedOccultations:
    return simulation.simulate_occultations(start_gps=START, count=2, seed=11)


@pytest.fixture(scope="module")
def event(made: simulation.SimulatedOccultations) -> Event:
    return chain(made, [observation.setting for observation in made.events].index(True))


def relative_error(found: xr.Dataset, truth: simulation.OccultationTruth, name: str, low: float, high: float) -> float:
    """Mean relative difference to the truth in a layer."""
    if name == "refractivity":
        at, expected_at, expected = found["altitude"], truth.altitude, truth.refractivity
        inside = (at > low) & (at < high)
    else:
        at, expected_at, expected = found["impact_parameter"], truth.impact_parameter, truth.bending_angle
        inside = (at > truth.radius_of_curvature + low) & (at < truth.radius_of_curvature + high)
    expected = np.exp(np.interp(at, expected_at, np.log(expected)))
    return float((found[name] / expected - 1.0).to_numpy()[inside.to_numpy()].mean())


@pytest.mark.parametrize(("low", "high", "limit"), [(4e3, 10e3, 1e-3), (10e3, 30e3, 1e-3), (30e3, 40e3, 2e-3)])
def test_retrieved_bending_angle_meets_the_simulated_truth(
    made: simulation.SimulatedOccultations, low: float, high: float, limit: float
) -> None:
    for index in range(len(made.events)):
        found = chain(made, index)
        assert abs(relative_error(found.retrieved, found.observation.truth, "bending_angle", low, high)) < limit
        assert abs(relative_error(found.retrieved, found.observation.truth, "refractivity", low, high)) < limit


def test_setting_and_rising_occultations_of_one_geometry_are_both_retrieved() -> None:
    seen = {}
    for seed in range(4, 12):
        made = simulation.simulate_occultations(start_gps=START, count=3, seed=seed)
        for index, observation in enumerate(made.events):
            seen.setdefault(observation.setting, (made, index))
        if len(seen) == 2:
            break
    for setting, (made, index) in seen.items():
        found = chain(made, index)
        assert int(found.retrieved["setting"]) == int(setting)
        assert abs(relative_error(found.retrieved, found.observation.truth, "bending_angle", 10e3, 30e3)) < 1e-3
    assert set(seen) == {True, False}


def test_noise_free_simulation_is_recovered_within_a_sixth_of_a_per_mille() -> None:
    quiet = simulation.OccultationSimulation(noise=0.0, candidates=1)
    found = chain(simulation.simulate_occultations(start_gps=START, count=1, seed=2, parameters=quiet), 0)
    assert abs(relative_error(found.retrieved, found.observation.truth, "bending_angle", 10e3, 30e3)) < 1.5e-4
    assert abs(relative_error(found.retrieved, found.observation.truth, "refractivity", 10e3, 30e3)) < 1.5e-4


def test_bending_errors_stay_within_the_stated_uncertainty(event: Event) -> None:
    truth, found = event.observation.truth, event.retrieved
    expected = np.exp(np.interp(found["impact_parameter"], truth.impact_parameter, np.log(truth.bending_angle)))
    height = found["impact_parameter"] - truth.radius_of_curvature
    inside = ((height > 30e3) & (height < 60e3)).to_numpy()
    normalised = ((found["bending_angle"] - expected) / found["bending_angle_uncertainty"]).to_numpy()[inside]
    assert 0.2 < float(np.sqrt(np.mean(normalised**2))) < 2.0


def test_the_reference_is_where_the_simulation_put_it(event: Event) -> None:
    truth, found = event.observation.truth, event.retrieved
    assert float(found["reference_time"]) == pytest.approx(truth.reference_time, abs=1e-3)
    assert float(found["reference_latitude"]) == pytest.approx(truth.latitude, abs=1e-4)
    assert float(found["radius_of_curvature"]) == pytest.approx(truth.radius_of_curvature, abs=0.1)
    place = np.hypot(truth.latitude - 29.5, truth.longitude - 106.5)
    assert place < 20.0


def test_the_same_seed_gives_the_same_observations_and_another_does_not(
    made: simulation.SimulatedOccultations,
) -> None:
    again = simulation.simulate_occultations(start_gps=START, count=2, seed=11)
    np.testing.assert_array_equal(again.events[0].carrier_phase, made.events[0].carrier_phase)
    assert again.sp3 == made.sp3
    other = simulation.simulate_occultations(start_gps=START, count=2, seed=12)
    assert other.sp3 != made.sp3


def test_an_event_has_the_shape_a_receiver_records(made: simulation.SimulatedOccultations) -> None:
    for observation in made.events:
        assert 45.0 < observation.time[-1] - observation.time[0] < 110.0
        np.testing.assert_allclose(np.diff(observation.time), 0.02, atol=1e-6)
        assert observation.carrier_phase.shape == observation.snr.shape == (2, observation.time.size)
        assert made.receiver_orbit.time[0] <= observation.time[0] - 30.0
        assert made.receiver_orbit.time[-1] >= observation.time[-1] + 30.0


def test_the_ionosphere_advances_the_phase_of_the_lower_frequency_more() -> None:
    layer = atmosphere.ChapmanLayer()
    altitude = np.array([200e3, 300e3, 400e3])
    first, second = layer.index_excess(altitude, constants.GPS_L1), layer.index_excess(altitude, constants.GPS_L2)
    assert (second < first).all()
    assert (first < 0.0).all()
    np.testing.assert_allclose(second / first, (constants.GPS_L1 / constants.GPS_L2) ** 2)


def test_excess_phase_is_zero_at_the_top_and_a_kilometre_at_the_bottom(event: Event) -> None:
    phase = event.level1b["excess_phase"].to_numpy()
    np.testing.assert_allclose(phase[:, :50].mean(axis=1), 0.0, atol=1e-3)
    assert (phase[:, -1] > 500.0).all()


def test_light_time_relativity_and_earth_rotation_have_their_textbook_sizes(
    made: simulation.SimulatedOccultations, event: Event
) -> None:
    time = event.level1b["time"].to_numpy()
    receiver = event.level1b["receiver_position"].to_numpy()
    satellite = event.observation.transmitter
    sent = excess_phase.transmission(
        receiver,
        receiver_velocity=event.level1b["receiver_velocity"].to_numpy(),
        time=time,
        transmitters=event.transmitters,
        satellite=satellite,
    )
    flight = sent.distance / constants.SPEED_OF_LIGHT
    emitted = sp3.state(event.transmitters, satellite, time=time - flight)
    sagnac = (
        constants.EARTH_ROTATION_RATE
        / constants.SPEED_OF_LIGHT
        * (emitted.position[:, 0] * receiver[:, 1] - emitted.position[:, 1] * receiver[:, 0])
    )
    unturned = np.linalg.norm(receiver - emitted.position, axis=1)
    np.testing.assert_allclose(sent.distance - unturned, sagnac, atol=2e-3)
    assert np.abs(sagnac).max() > 3.0
    inertial = emitted.velocity + np.cross(frames.ROTATION, emitted.position)
    radius, speed = np.linalg.norm(emitted.position, axis=1), np.linalg.norm(inertial, axis=1)
    semi_major = 1.0 / (2.0 / radius - speed**2 / constants.EARTH_GM)
    eccentric_sine = np.einsum("ij,ij->i", emitted.position, inertial) / np.sqrt(constants.EARTH_GM * semi_major)
    textbook = -4.442_807_633e-10 * np.sqrt(semi_major) * eccentric_sine
    np.testing.assert_allclose(sent.clock - emitted.clock, textbook, rtol=1e-6)
    np.testing.assert_allclose(
        np.gradient(sent.state.position, time, axis=0)[5:-5], sent.state.velocity[5:-5], atol=5e-2
    )


@pytest.mark.parametrize("fault", ["clock", "satellite"])
def test_a_wrong_clock_or_satellite_does_not_pass_for_the_right_one(event: Event, fault: str) -> None:
    receiver, carrier = event.receiver, event.carrier
    if fault == "clock":
        receiver = receiver.assign(clock_bias=receiver["clock_bias"] + 1e-9 * (receiver["time"] - receiver["time"][0]))
    else:
        others = [name for name in event.transmitters.satellites if name != event.observation.transmitter]
        carrier = carrier.assign_attrs(transmitter=others[0])
    spoilt = excess_phase.excess_phase_from_carrier(carrier, receiver=receiver, transmitters=event.transmitters)
    difference = spoilt["excess_phase"].to_numpy() - event.level1b["excess_phase"].to_numpy()
    assert np.ptp(difference) > 10.0


def test_unknown_transmitter_or_uncovered_time_is_an_orbit_missing(event: Event) -> None:
    with pytest.raises(BadInputError, match="G99") as refused:
        excess_phase.excess_phase_from_carrier(
            event.carrier.assign_attrs(transmitter="G99"), receiver=event.receiver, transmitters=event.transmitters
        )
    assert refused.value.cause == "orbit_missing"
    late = event.carrier.assign_coords(time=event.carrier["time"] + 86_400.0)
    with pytest.raises(BadInputError) as refused:
        excess_phase.excess_phase_from_carrier(late, receiver=event.receiver, transmitters=event.transmitters)
    assert refused.value.cause == "orbit_missing"


def test_short_gaps_of_the_receiver_orbit_are_bridged_and_long_ones_refused(event: Event) -> None:
    middle = int(np.searchsorted(event.receiver["time"], event.level1b["time"].to_numpy().mean()))

    def with_gap(length: int) -> xr.Dataset:
        kept = np.r_[0 : middle + 1, middle + length : event.receiver.sizes["time"]]
        return excess_phase.excess_phase_from_carrier(
            event.carrier, receiver=event.receiver.isel(time=kept), transmitters=event.transmitters
        )

    np.testing.assert_allclose(with_gap(4)["excess_phase"], event.level1b["excess_phase"], atol=1e-4)
    with pytest.raises(BadInputError, match="gaps") as refused:
        with_gap(30)
    assert refused.value.cause == "orbit_missing"


def ropp_from_level1b(level: xr.Dataset) -> xr.Dataset:
    """The same event in the layout of ROPP netCDF V1.1."""
    time = level["time"].to_numpy()
    samples = ("dim_unlim", "dim_lev1a")
    variables: dict[str, Any] = {
        "dtime": (samples, (time - time[0])[None]),
        "phase_L1": (samples, level["excess_phase"].to_numpy()[:1]),
        "phase_L2": (samples, level["excess_phase"].to_numpy()[1:]),
        "snr_L1ca": (samples, level["snr"].to_numpy()[:1]),
        "snr_L2p": (samples, level["snr"].to_numpy()[1:]),
        "r_leo": (("dim_unlim", "xyz", "dim_lev1a"), level["receiver_position"].to_numpy().T[None]),
        "r_gns": (("dim_unlim", "xyz", "dim_lev1a"), level["transmitter_position"].to_numpy().T[None]),
        "gns_id": ("dim_unlim", np.array([b"G0" + level.attrs["transmitter"][1:].encode()])),
        "leo_id": ("dim_unlim", np.array([b"TL01"])),
        "occ_id": ("dim_unlim", np.array([b"OC_TEST"])),
    }
    for name, frequency in zip(("L1_freq", "L2_freq"), level["carrier_frequency"].to_numpy(), strict=True):
        values = np.full((1, time.size), 9.969_209_968_386_869e36)
        values[0, 0] = frequency
        variables[name] = (samples, values)
    calendar = dict(
        zip(("year", "month", "day", "hour", "minute", "second", "msec"), (2025, 12, 17, 10, 0, 0, 0), strict=True)
    )
    variables |= {name: ("dim_unlim", np.array([value])) for name, value in calendar.items()}
    return xr.Dataset(variables, attrs={"format_version": "ROPP I/O V1.1", "processing_centre": "TEST"})


def test_ropp_layout_gives_the_same_profile(event: Event) -> None:
    read = level1b.level1b_from_dataset(ropp_from_level1b(event.level1b))
    assert read.attrs["occultation_id"] == f"{event.observation.transmitter.lower()}-tl01-202512171000"
    np.testing.assert_allclose(read["receiver_velocity"], event.level1b["receiver_velocity"], atol=1e-3)
    np.testing.assert_allclose(read["transmitter_velocity"], event.level1b["transmitter_velocity"], atol=1e-3)
    found = profile_retrieval.retrieve(read)
    layer = slice(60, 300)
    np.testing.assert_allclose(found["bending_angle"][layer], event.retrieved["bending_angle"][layer], rtol=2e-4)


def without(*names: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda dataset: dataset.drop_vars(names)


ROPP_FAULTS: list[tuple[str, Callable[[xr.Dataset], xr.Dataset], str]] = [
    ("no phase", without("phase_L1"), "not_level1a"),
    ("no orbit", without("r_leo"), "not_level1a"),
    ("no samples", lambda d: d.isel(dim_lev1a=slice(0, 0)), "not_level1a"),
    ("few samples", lambda d: d.isel(dim_lev1a=slice(0, 100)), "truncated"),
    ("top only", lambda d: d.isel(dim_lev1a=slice(0, 1500)), "no_occultation"),
    ("phase all missing", lambda d: d.assign(phase_L1=d["phase_L1"] * np.nan), "no_data"),
    ("phase all undefined", lambda d: d.assign(phase_L1=d["phase_L1"] * 0.0 - 99_999_000.0), "no_data"),
    ("times all missing", lambda d: d.assign(dtime=d["dtime"] * np.nan), "truncated"),
    ("times backward", lambda d: d.assign(dtime=-d["dtime"]), "time_irregular"),
    ("kilometres", lambda d: d.assign(r_leo=d["r_leo"] * 1e-3), "orbit_implausible"),
    ("orbit missing", lambda d: d.assign(r_gns=d["r_gns"] * np.nan), "orbit_implausible"),
    ("orbit jumps", lambda d: d.assign(r_leo=d["r_leo"] + 2e4 * (d["dtime"] > 30.0)), "orbit_implausible"),
    ("megahertz", lambda d: d.assign(L1_freq=d["L1_freq"] * 1e-6), "frequency_implausible"),
    ("no date", lambda d: d.assign(month=d["month"] * 0), "not_level1a"),
    ("no satellite", lambda d: d.assign(gns_id=("dim_unlim", np.array([b"????"]))), "not_level1a"),
]


@pytest.mark.parametrize(("fault", "cause"), [row[1:] for row in ROPP_FAULTS], ids=[row[0] for row in ROPP_FAULTS])
def test_a_faulty_ropp_file_is_refused_with_its_cause(
    event: Event, fault: Callable[[xr.Dataset], xr.Dataset], cause: str
) -> None:
    broken = fault(ropp_from_level1b(event.level1b))
    with pytest.raises(BadInputError) as refused:
        profile_retrieval.retrieve(level1b.level1b_from_dataset(broken))
    assert refused.value.cause == cause
    assert str(refused.value)


@pytest.mark.parametrize(
    "dataset", [xr.Dataset(), xr.Dataset({"tas": ("time", np.zeros(3))}), xr.Dataset({"Bend_ang": ("MSL_alt", [1.0])})]
)
def test_another_schema_is_refused_by_name(dataset: xr.Dataset) -> None:
    with pytest.raises(BadInputError, match="neither") as refused:
        level1b.level1b_from_dataset(dataset)
    assert refused.value.cause == "unknown_schema"


def test_an_undeclared_frame_is_refused(event: Event) -> None:
    anonymous = event.level1b.copy(deep=True)
    del anonymous["receiver_position"].attrs["frame"]
    with pytest.raises(BadInputError) as refused:
        level1b.level1b_from_dataset(anonymous)
    assert refused.value.cause == "frame_undeclared"


def test_a_lost_second_signal_is_flagged_and_nothing_is_called_observed(event: Event) -> None:
    single = event.level1b.copy(deep=True)
    single["excess_phase"][1] = np.nan
    found = profile_retrieval.retrieve(single)
    assert quality.QualityFlag.NO_SECOND_SIGNAL in quality.QualityFlag(int(found["quality_flag"]))
    assert not found["observation_weight"].any()
    assert np.isnan(found["bending_angle"]).all()


def test_a_gap_ends_the_profile_above_it_with_its_reason(event: Event) -> None:
    holed = event.level1b.copy(deep=True)
    middle = int(0.65 * holed.sizes["time"])
    holed["excess_phase"][:, middle - 150 : middle + 150] = np.nan
    found = profile_retrieval.retrieve(holed)
    assert int(found["truncation_reason"]) == truncation.TruncationReason.DATA_GAP
    assert quality.QualityFlag.DATA_GAPS in quality.QualityFlag(int(found["quality_flag"]))
    assert float(found["lowest_altitude"]) > float(event.retrieved["lowest_altitude"]) + 1_000.0


def test_a_per_cent_of_lost_samples_costs_no_accuracy(event: Event) -> None:
    holed = event.level1b.copy(deep=True)
    lost = np.random.default_rng(3).random((2, holed.sizes["time"])) < 0.01
    holed["excess_phase"][:] = np.where(lost, np.nan, holed["excess_phase"])
    found = profile_retrieval.retrieve(holed)
    assert int(found["quality_flag"]) == quality.QualityFlag.GOOD
    assert abs(relative_error(found, event.observation.truth, "bending_angle", 10e3, 30e3)) < 1e-3


def test_without_signal_strength_the_profile_ends_at_the_surface_and_says_so(event: Event) -> None:
    blind = event.level1b.copy(deep=True)
    blind["snr"][:] = np.nan
    found = profile_retrieval.retrieve(blind)
    assert float(found["altitude"][0]) >= 0.0
    assert quality.QualityFlag.SIGNAL_STRENGTH_MISSING in quality.QualityFlag(int(found["quality_flag"]))


def product_of(found: xr.Dataset) -> xr.Dataset:
    return profile.profile_from_retrieval(found, parameters=PARAMETERS, inputs={"level1b": "00ff"})


def test_the_same_input_gives_the_same_bytes(event: Event) -> None:
    first = netcdf.encode(product_of(profile_retrieval.retrieve(event.level1b)))
    second = netcdf.encode(product_of(profile_retrieval.retrieve(event.level1b.copy(deep=True))))
    assert first == second
    other = dataclasses.replace(PARAMETERS, doppler=dataclasses.replace(PARAMETERS.doppler, window=1.0))
    assert netcdf.encode(product_of(profile_retrieval.retrieve(event.level1b, parameters=other))) != first


def test_the_file_reads_back_as_it_was_written(event: Event) -> None:
    product = product_of(event.retrieved)
    again = netcdf.decode(netcdf.encode(product))
    xr.testing.assert_equal(again, product)
    assert again.attrs["title_zh"] == product.attrs["title_zh"]


def test_the_reference_time_decodes_to_utc(event: Event) -> None:
    with xr.open_dataset(io.BytesIO(netcdf.encode(product_of(event.retrieved))), engine="scipy") as opened:
        moment = opened["reference_time"].to_numpy()
    leap_seconds = 18
    expected = np.datetime64("1980-01-06") + np.timedelta64(
        round((float(event.retrieved["reference_time"]) - leap_seconds) * 1e3), "ms"
    )
    assert abs(moment - expected) < np.timedelta64(2, "ms")


def test_dry_temperature_is_not_called_air_temperature(event: Event) -> None:
    product = product_of(event.retrieved)
    assert "standard_name" not in product["dry_temperature"].attrs
    assert "dry air" in product["dry_temperature"].attrs["long_name"]


def test_flag_meanings_of_the_table_are_those_of_the_retrieval() -> None:
    rows = schema.table(profile.PRODUCT)
    flags = rows["quality_flag"].further
    assert flags["flag_masks"] == [int(flag) for flag in quality.FLAGS]
    assert flags["flag_meanings"].split() == [str(flag.name).lower() for flag in quality.FLAGS]
    reasons = rows["truncation_reason"].further
    assert reasons["flag_values"] == [int(reason) for reason in truncation.TruncationReason]
    assert reasons["flag_meanings"].split() == [reason.name.lower() for reason in truncation.TruncationReason]


PRODUCT_FAULTS: list[tuple[str, Callable[[xr.Dataset], xr.Dataset]]] = [
    ("refractivity", lambda d: d.drop_vars("refractivity")),
    ("refractivity", lambda d: d.assign(refractivity=d["refractivity"].astype(np.float32))),
    ("refractivity", lambda d: d.assign(refractivity=d["refractivity"] * 10.0)),
    ("refractivity", lambda d: d.assign(refractivity=d["refractivity"].where(d["altitude"] > 5_000.0))),
    ("bending_angle", lambda d: d.assign(bending_angle=d["bending_angle"] * np.inf)),
    ("dry_temperature", lambda d: d.assign(dry_temperature=d["dry_temperature"].assign_attrs(units="degC"))),
    (
        "dry_temperature",
        lambda d: d.assign(dry_temperature=d["dry_temperature"].assign_attrs(standard_name="air_temperature")),
    ),
    ("wind", lambda d: d.assign(wind=d["altitude"] * 1.0)),
    ("setting", lambda d: d.assign(setting=d["setting"].expand_dims(xyz=3))),
]


@pytest.mark.parametrize(("variable", "fault"), PRODUCT_FAULTS)
def test_a_product_that_breaks_the_table_is_refused_by_name(
    event: Event, variable: str, fault: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    with xr.set_options(keep_attrs=True), pytest.raises(schema.SchemaError) as refused:
        schema.check(fault(product_of(event.retrieved)), product=profile.PRODUCT)
    assert refused.value.variable == variable


def test_types_the_classic_format_cannot_hold_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        netcdf.encode(xr.Dataset({"n": ("x", np.arange(3))}))


WAIVED = {
    "standard_name": "the CF table has no name for refractivity, bending angle and what belongs to them",
    "date_": "a file is a pure function of its inputs: no wall-clock",
    "_url": "the operator's address is not known to the product",
    "_email": "the operator's address is not known to the product",
    "contributor_": "contributors are the institution already named",
    "_vocabulary": "platform, instrument and keywords are free text",
    "metadata_link": "the catalogue item points to the file, not the file to the catalogue",
    "geospatial_lat_resolution": "the levels are along a ray path, not on a grid",
    "geospatial_lon_resolution": "the levels are along a ray path, not on a grid",
}


def complaints(path: Path, suite_name: str) -> list[str]:
    """Failed checks of one suite, by message."""
    CheckSuite.load_all_available_checkers()
    suite = CheckSuite()
    opened = suite.load_dataset(str(path))
    pending = list(suite.run_all(opened, [suite_name])[suite_name][0])
    opened.close()
    found = []
    while pending:
        result = pending.pop()
        pending.extend(result.children)
        failed = result.value is False or (isinstance(result.value, tuple) and result.value[0] != result.value[1])
        found.extend(f"{result.name}: {message}" for message in result.msgs if failed)
    return found


@pytest.mark.filterwarnings("ignore")
def test_outside_checker_finds_no_fault_in_cf_and_only_waived_ones_in_acdd(event: Event, tmp_path: Path) -> None:
    path = tmp_path / "profile.nc"
    path.write_bytes(netcdf.encode(product_of(event.retrieved)))
    assert complaints(path, "cf:1.11") == []
    assert [line for line in complaints(path, "acdd:1.3") if not any(name in line for name in WAIVED)] == []


@pytest.mark.filterwarnings("ignore")
def test_outside_checker_sees_a_planted_fault(event: Event, tmp_path: Path) -> None:
    product = product_of(event.retrieved)
    product["dry_pressure"].attrs["units"] = "hectopascalles"
    path = tmp_path / "profile.nc"
    path.write_bytes(netcdf.encode(product))
    assert any("hectopascalles" in line for line in complaints(path, "cf:1.11"))


def test_the_plot_is_a_picture_and_always_the_same(event: Event) -> None:
    product = product_of(event.retrieved)
    picture = profile_plot.plot(product)
    assert picture == profile_plot.plot(netcdf.decode(netcdf.encode(product)))
    pixels = matplotlib.image.imread(io.BytesIO(picture))
    assert pixels.shape[0] > 500
    assert pixels.shape[1] > 1_000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 100
