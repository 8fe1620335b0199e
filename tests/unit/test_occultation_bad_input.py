"""Every fault of a level-1 file is mended with a finding, or refused with its cause; nothing becomes nonsense."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import frames
from processors.occultation import cycle_slip, frame_check, level1b, recognition, repair
from processors.quality import BadInputError
from tests.unit import occultation_layouts as layouts

Fault = Callable[[xr.Dataset], xr.Dataset]
L1_WAVE, L2_WAVE = constants.SPEED_OF_LIGHT / constants.GPS_L1, constants.SPEED_OF_LIGHT / constants.GPS_L2


def with_time(dataset: xr.Dataset, time: FloatArray) -> xr.Dataset:
    return dataset.assign_coords(time=("time", time, dataset["time"].attrs))


def changed(dataset: xr.Dataset, **values: FloatArray) -> xr.Dataset:
    """Other values under the same names, dimensions and attributes."""
    for name, value in values.items():
        dataset[name] = (dataset[name].dims, value, dataset[name].attrs)
    return dataset


def repeated(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(time=np.sort(np.concatenate([np.arange(dataset.sizes["time"]), [700, 1500, 1500]])))


def shuffled(dataset: xr.Dataset) -> xr.Dataset:
    order = np.arange(dataset.sizes["time"])
    order[[800, 801, 2000, 2004]] = order[[801, 800, 2004, 2000]]
    return dataset.isel(time=order)


def wrong_tags(dataset: xr.Dataset) -> xr.Dataset:
    time = dataset["time"].to_numpy().copy()
    time[[900, 1200]] -= 0.515
    time[1700] += 0.515
    time[50] = np.nan
    time[-1] = 1e12
    return with_time(dataset, time)


def kilometres(dataset: xr.Dataset, *, velocity: bool) -> xr.Dataset:
    for end in ("receiver", "transmitter"):
        changed(dataset, **{f"{end}_position": dataset[f"{end}_position"].to_numpy() * 1e-3})
        if velocity:
            changed(dataset, **{f"{end}_velocity": dataset[f"{end}_velocity"].to_numpy() * 1e-3})
    return dataset


def all_inertial(dataset: xr.Dataset) -> xr.Dataset:
    """Positions and velocities in axes of date under the names of Earth-fixed ones."""
    for end in ("receiver", "transmitter"):
        state = layouts.inertial(dataset, end)
        changed(dataset, **{f"{end}_position": state.position, f"{end}_velocity": state.velocity})
    return dataset


def inertial_end(dataset: xr.Dataset, end: str) -> xr.Dataset:
    state = layouts.inertial(dataset, end)
    return changed(dataset, **{f"{end}_position": state.position, f"{end}_velocity": state.velocity})


def inertial_velocities(dataset: xr.Dataset) -> xr.Dataset:
    for end in ("receiver", "transmitter"):
        state = frames.State(*(dataset[f"{end}_{part}"].to_numpy() for part in ("position", "velocity")))
        changed(dataset, **{f"{end}_velocity": state.velocity + np.cross(frames.ROTATION, state.position)})
    return dataset


def velocities_lost(dataset: xr.Dataset) -> xr.Dataset:
    return changed(dataset, receiver_velocity=dataset["receiver_velocity"].to_numpy() * np.nan)


def noisy_velocities(dataset: xr.Dataset) -> xr.Dataset:
    noise = np.random.default_rng(2).normal(0.0, 0.02, dataset["transmitter_velocity"].shape)
    return changed(dataset, transmitter_velocity=dataset["transmitter_velocity"].to_numpy() + noise)


def holes_in_orbit(dataset: xr.Dataset) -> xr.Dataset:
    position = dataset["receiver_position"].to_numpy().copy()
    position[300:340] = np.nan
    return changed(dataset, receiver_position=position)


def crossed_phases(dataset: xr.Dataset) -> xr.Dataset:
    return changed(dataset, excess_phase=dataset["excess_phase"].to_numpy()[::-1])


def crossed_frequencies(dataset: xr.Dataset) -> xr.Dataset:
    return changed(dataset, carrier_frequency=dataset["carrier_frequency"].to_numpy()[::-1])


def nothing_in_a_run(dataset: xr.Dataset) -> xr.Dataset:
    phase = dataset["excess_phase"].to_numpy().copy()
    phase[:, 1000:1100] = np.nan
    phase[0, 1200:1210] = np.inf
    return changed(dataset, excess_phase=phase)


MENDED: list[tuple[str, Fault, set[str]]] = [
    ("repeated tags", repeated, {"time_tags_dropped"}),
    ("shuffled samples", shuffled, {"time_sorted"}),
    ("wrong tags", wrong_tags, {"time_tags_dropped"}),
    ("kilometres", lambda d: kilometres(d, velocity=True), {"units_converted"}),
    ("positions in kilometres", lambda d: kilometres(d, velocity=False), {"units_converted"}),
    ("inertial positions", all_inertial, {"frame_converted", "velocities_fitted"}),
    ("inertial velocities", inertial_velocities, {"frame_converted", "velocities_fitted"}),
    ("no velocities", velocities_lost, {"velocities_fitted"}),
    ("noisy velocities", noisy_velocities, {"velocities_fitted"}),
    ("holes in the orbit", holes_in_orbit, {"velocities_fitted", "orbit_samples_filled"}),
    ("crossed frequencies", crossed_frequencies, {"signals_swapped"}),
    ("missing run", nothing_in_a_run, {"samples_missing"}),
]


@pytest.mark.parametrize(("fault", "findings"), [row[1:] for row in MENDED], ids=[row[0] for row in MENDED])
def test_a_mended_file_is_the_event_it_was(fault: Fault, findings: set[str]) -> None:
    truth = layouts.simulated()
    read = recognition.read(fault(layouts.level()))
    assert set(read.attrs["findings"].split()) == findings
    _, kept, own = np.intersect1d(read["time"].to_numpy(), truth["time"].to_numpy(), return_indices=True)
    assert kept.size == read.sizes["time"] > 0.99 * truth.sizes["time"]
    for end in ("receiver", "transmitter"):
        for part, limit in (("position", 2e-3), ("velocity", 1e-3)):
            name = f"{end}_{part}"
            np.testing.assert_allclose(read[name][kept], truth[name][own], atol=limit)
    found = read["excess_phase"].to_numpy()[:, kept]
    expected = truth["excess_phase"].to_numpy()[:, own]
    known = np.isfinite(found)
    np.testing.assert_array_equal(found[known], expected[known])


def test_what_was_dropped_sorted_or_missing_is_counted() -> None:
    assert recognition.read(repeated(layouts.level())).attrs["time_tags_dropped"] == 3
    assert recognition.read(wrong_tags(layouts.level())).attrs["time_tags_dropped"] == 5
    assert recognition.read(shuffled(layouts.level())).attrs["time_sorted"] >= 2
    assert recognition.read(holes_in_orbit(layouts.level())).attrs["orbit_samples_filled"] == 40
    assert recognition.read(nothing_in_a_run(layouts.level())).attrs["samples_missing"] == 110


@pytest.mark.parametrize("with_strength", [False, True])
def test_crossed_phases_go_back_to_their_frequencies(with_strength: bool) -> None:
    truth = layouts.simulated()
    made = crossed_phases(layouts.level())
    if with_strength:
        changed(made, snr=made["snr"].to_numpy()[::-1])
    own = recognition.read(made)
    assert own.attrs["findings"] == "signals_swapped"
    for name in ("carrier_frequency", "excess_phase", "snr"):
        np.testing.assert_array_equal(own[name], truth[name])


@pytest.mark.parametrize("layout", [layouts.ropp, layouts.atm_phs], ids=["ropp", "atmPhs"])
@pytest.mark.parametrize("fault", [crossed_phases, crossed_frequencies])
def test_layouts_that_name_l1_give_it_first_whatever_was_crossed(layout: Fault, fault: Fault) -> None:
    truth = layouts.simulated()
    made = layout(fault(layouts.level()))
    if layout is layouts.atm_phs:
        made.attrs |= {"occfreq1": float(fault(layouts.level())["carrier_frequency"][0]), "occfreq2": 0.0}
        made.attrs["occfreq2"] = float(fault(layouts.level())["carrier_frequency"][1])
    read = recognition.read(made)
    assert "signals_swapped" in read.attrs["findings"].split()
    np.testing.assert_array_equal(read["carrier_frequency"], truth["carrier_frequency"])
    np.testing.assert_allclose(read["excess_phase"], truth["excess_phase"], atol=1e-6)
    np.testing.assert_allclose(read["snr"], truth["snr"], rtol=1e-9)


def test_a_quiet_ionosphere_does_not_accuse_anyone() -> None:
    quiet = layouts.level()
    phase = quiet["excess_phase"].to_numpy()
    changed(quiet, excess_phase=np.stack([phase[0], phase[0]]))
    assert recognition.read(quiet) is quiet


def test_inertial_files_that_claim_to_be_earth_fixed_are_seen_in_every_layout() -> None:
    for layout in (layouts.aws_1, layouts.aws_2):
        read = recognition.read(layout(all_inertial(layouts.level())))
        assert "frame_converted" in read.attrs["findings"].split()
        np.testing.assert_allclose(read["receiver_position"], layouts.simulated()["receiver_position"], atol=2e-3)


def test_earth_fixed_positions_in_an_inertial_layout_are_seen() -> None:
    made = layouts.atm_phs(layouts.level())
    for end, name in (("receiver", "Leo"), ("transmitter", "Gps")):
        for row, axis in enumerate("xyz"):
            made[f"{axis}{name}"] = ("time", layouts.simulated()[f"{end}_position"].to_numpy()[:, row] * 1e-3)
    read = recognition.read(made)
    assert "frame_converted" in read.attrs["findings"].split()
    np.testing.assert_allclose(read["receiver_position"], layouts.simulated()["receiver_position"], atol=2e-3)


def unordered_half(dataset: xr.Dataset) -> xr.Dataset:
    time = dataset["time"].to_numpy().copy()
    time[1600:] -= 20.0
    return with_time(dataset, time)


def other_orbit(dataset: xr.Dataset) -> xr.Dataset:
    """A Galileo orbit under a GPS name, with frequencies both constellations send."""
    time = dataset["time"].to_numpy()
    state = frames.State(*(dataset[f"transmitter_{part}"].to_numpy() for part in ("position", "velocity")))
    turned = frames.inertial_from_earth_fixed(state, time=time, epoch=float(time[0]))
    axes = np.linalg.qr(np.stack([turned.position[0], turned.velocity[0]], axis=1))[0].T
    radius = 29.6e6
    turn = np.sqrt(constants.EARTH_GM / radius**3) * (time - time[0])[:, None]
    position = radius * -(np.cos(turn) * axes[0] + np.sin(turn) * axes[1])
    velocity = radius * np.sqrt(constants.EARTH_GM / radius**3) * -(np.cos(turn) * axes[1] - np.sin(turn) * axes[0])
    back = frames.earth_fixed_from_inertial(frames.State(position, velocity), time=time, epoch=float(time[0]))
    return changed(dataset, transmitter_position=back.position, transmitter_velocity=back.velocity)


def kinked_orbit(dataset: xr.Dataset) -> xr.Dataset:
    position = dataset["receiver_position"].to_numpy().copy()
    position[1500:] += 300.0
    return changed(dataset, receiver_position=position)


def one_end_in_kilometres(dataset: xr.Dataset) -> xr.Dataset:
    return changed(dataset, transmitter_position=dataset["transmitter_position"].to_numpy() * 1e-3)


def lost(name: str) -> Fault:
    return lambda d: changed(d, **{name: d[name].to_numpy() * np.nan})


def same_frequency(dataset: xr.Dataset) -> xr.Dataset:
    return changed(dataset, carrier_frequency=np.full(2, constants.GPS_L1))


def sunken_orbit(dataset: xr.Dataset) -> xr.Dataset:
    return changed(dataset, receiver_position=dataset["receiver_position"].to_numpy() * 0.9)


def scaled_phase(*factors: float) -> Fault:
    return lambda d: changed(d, excess_phase=d["excess_phase"].to_numpy() * np.array(factors)[:, None])


REFUSED: list[tuple[str, Fault, str, str]] = [
    ("five seconds", lambda d: d.isel(time=slice(0, 250)), "truncated", "5.0 s"),
    ("one sample", lambda d: d.isel(time=slice(0, 1)), "truncated", "samples"),
    ("no times", lambda d: with_time(d, d["time"].to_numpy() * np.nan), "truncated", "missing"),
    ("backward", lambda d: d.isel(time=slice(None, None, -1)), "time_irregular", "backward"),
    ("half out of order", unordered_half, "time_irregular", "tags"),
    ("one end inertial", lambda d: inertial_end(d, "receiver"), "frame_inconsistent", "receiver_position is inertial"),
    ("other end inertial", lambda d: inertial_end(d, "transmitter"), "frame_inconsistent", "transmitter_position"),
    ("another epoch", lambda d: with_time(d, d["time"].to_numpy() - 1.449e9), "time_implausible", "epoch"),
    ("no orbit", lost("receiver_position"), "orbit_implausible", "missing"),
    ("kinked orbit", kinked_orbit, "orbit_implausible", "no smooth orbit"),
    ("orbit on the ground", sunken_orbit, "orbit_implausible", "geocentre"),
    ("one end in kilometres", one_end_in_kilometres, "orbit_implausible", "kilometres"),
    ("no phases", scaled_phase(np.nan, np.nan), "no_data", "excess phases"),
    ("cycles", scaled_phase(1.0 / L1_WAVE, 1.0 / L2_WAVE), "phase_units", "cycles"),
    ("second in cycles", scaled_phase(1.0, 1.0 / L2_WAVE), "phase_units", "second signal"),
    ("phase in kilometres", scaled_phase(1e-3, 1e-3), "phase_units", "kilometres"),
    ("phase in millimetres", scaled_phase(1e3, 1e3), "phase_units", "millimetres"),
    ("advance", scaled_phase(-1.0, -1.0), "phase_sign", "advance"),
    ("no atmosphere", scaled_phase(0.05, 0.05), "phase_implausible", "times"),
    ("wrong constellation", lambda d: d.assign_attrs(transmitter="C23"), "frequency_implausible", "GPS or QZSS"),
    ("frequency twice", same_frequency, "frequency_implausible", "pair"),
    ("no constellation", lambda d: d.assign_attrs(transmitter="X01"), "constellation_unknown", "X01"),
    ("orbit of another", other_orbit, "constellation_implausible", "Galileo"),
]


@pytest.mark.parametrize(("fault", "cause", "naming"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_mended_is_refused_with_its_cause(fault: Fault, cause: str, naming: str) -> None:
    with pytest.raises(BadInputError, match=naming) as refused:
        recognition.read(fault(layouts.level()))
    assert refused.value.cause == cause


@pytest.mark.parametrize("layout", layouts.LAYOUTS.values(), ids=layouts.LAYOUTS)
def test_every_layout_refuses_a_file_without_its_variables(layout: Fault) -> None:
    made = layout(layouts.level())
    phases, orbits = ("excessPhase", "excess_phase", "phase_L1", "exL2"), ("positionGNSS", "transmitter_orbit", "r_gns")
    needed = [name for name in (*phases, *orbits, "yLeo", "zGnssLR") if name in made.variables]
    assert len(needed) >= 2
    for name in needed:
        with pytest.raises(BadInputError, match=name):
            recognition.read(made.drop_vars(name))


@pytest.mark.parametrize("layout", layouts.LAYOUTS.values(), ids=layouts.LAYOUTS)
def test_whatever_is_missing_or_misshapen_is_bad_input_and_nothing_else(layout: Fault) -> None:
    made = layout(layouts.level())
    for name in sorted(str(name) for name in made.variables):
        kind = made[name].dtype.kind
        spoilt = [made.drop_vars(name)]
        if name not in made.dims:
            spoilt += [made.assign({name: ((), made[name].to_numpy().ravel()[0])})]
        if kind == "f":
            spoilt += [made.assign({name: made[name] * np.nan}), made.assign({name: made[name] * 1e6})]
            spoilt += [
                made.assign({name: made[name] * 0.0 + 9.969_209_968_386_869e36}),
                made.assign({name: made[name] * 0.0}),
            ]
            spoilt += [made.assign({name: made[name].astype("U8")})]
        for dataset in spoilt:
            with contextlib.suppress(BadInputError):
                level1b.require(recognition.read(dataset))


@pytest.mark.parametrize("attribute", ["occGnss", "leo", "mission"])
def test_a_file_without_a_name_is_read_or_refused_but_never_fails(attribute: str) -> None:
    made = layouts.aws_1(layouts.level())
    del made.attrs[attribute]
    if attribute == "occGnss":
        with pytest.raises(BadInputError, match="navigation satellite"):
            recognition.read(made)
    else:
        assert recognition.read(made).attrs["transmitter"] == layouts.simulated().attrs["transmitter"]


def test_gravity_tells_frames_apart_in_every_part_of_an_orbit() -> None:
    time = np.arange(0.0, 40.0, 0.02)
    generator = np.random.default_rng(7)
    for semi_major, inclination in ((6.9e6, 90.0), (7.2e6, 24.0), (26.56e6, 55.0), (42.16e6, 55.0)):
        for start in np.linspace(0.0, 2.0 * np.pi, 7):
            turn = start + np.sqrt(constants.EARTH_GM / semi_major**3) * time
            tilt = np.deg2rad(inclination)
            plane = np.stack([np.cos(turn), np.sin(turn) * np.cos(tilt), np.sin(turn) * np.sin(tilt)], axis=1)
            inertial = semi_major * plane + generator.normal(0.0, 1e-3, plane.shape)
            fixed = frames.rotate_about_pole(inertial, -constants.EARTH_ROTATION_RATE * time)
            assert frame_check.judge(inertial, time=time).frame == frame_check.INERTIAL
            assert frame_check.judge(fixed, time=time).frame == frame_check.EARTH_FIXED


def test_a_straight_path_obeys_no_gravity_and_is_not_judged() -> None:
    time = np.arange(0.0, 40.0, 0.02)
    path = np.array([7e6, 0.0, 0.0]) + np.array([0.0, 7e3, 0.0]) * time[:, None]
    assert frame_check.judge(path, time=time).frame == frame_check.UNDECIDED


def slipped(dataset: xr.Dataset, *slips: tuple[int, int, float]) -> xr.Dataset:
    """Slips of (signal, sample, cycles)."""
    phase = dataset["excess_phase"].to_numpy().copy()
    for signal, sample, cycles in slips:
        phase[signal, sample:] += cycles * (L1_WAVE, L2_WAVE)[signal]
    return changed(dataset, excess_phase=phase)


def test_slips_of_whole_and_half_cycles_are_taken_back() -> None:
    truth = layouts.simulated()
    slips = ((0, 300, 1.0), (0, 305, -2.0), (0, 900, 0.5), (1, 700, -1.0), (1, 1100, 3.0))
    read = recognition.read(slipped(layouts.level(), *slips[:1], *slips[2:]))
    assert read.attrs["cycle_slips_repaired"] == 4
    np.testing.assert_allclose(read["excess_phase"], truth["excess_phase"], atol=1e-9)
    np.testing.assert_allclose(read.attrs["cycle_slip_times"], truth["time"][[300, 700, 900, 1100]])
    close = recognition.read(slipped(layouts.level(), *slips[:2]))
    offset = close["excess_phase"][0] - truth["excess_phase"][0]
    assert np.abs(offset[:290]).max() < 1e-9


def test_a_jump_of_the_clock_is_no_slip() -> None:
    jumped = layouts.level()
    phase = jumped["excess_phase"].to_numpy().copy()
    phase[:, 600:] += L1_WAVE
    changed(jumped, excess_phase=phase)
    assert recognition.read(jumped) is jumped


def test_a_stray_sample_is_no_slip() -> None:
    stray = layouts.level()
    stray["excess_phase"][0, 600] += L1_WAVE
    assert recognition.read(stray) is stray


def test_phases_of_low_rays_may_jump_by_themselves() -> None:
    low = slipped(layouts.level(), (0, 2000, 1.0))
    assert recognition.read(low) is low


def test_noise_at_two_hundred_volts_never_looks_like_a_slip() -> None:
    time = np.arange(0.0, 100.0, 0.02)
    height = np.linspace(100e3, 12e3, time.size)
    smooth = np.exp(-(height - 12e3) / 7e3) * 60.0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        noise = generator.normal(0.0, np.sqrt(50.0) / 200.0 / (2.0 * np.pi), (2, time.size))
        phase = smooth + noise * np.array([[L1_WAVE], [L2_WAVE]])
        found = cycle_slip.repair(
            phase,
            time=time,
            snr=np.full_like(phase, 200.0),
            carrier_frequency=np.array([constants.GPS_L1, constants.GPS_L2]),
            straight_line_height=height,
        )
        assert found.slips == 0
        phase[0, 2500 + 7 * seed :] += 0.5 * L1_WAVE
        again = cycle_slip.repair(
            phase,
            time=time,
            snr=np.full_like(phase, 200.0),
            carrier_frequency=np.array([constants.GPS_L1, constants.GPS_L2]),
            straight_line_height=height,
        )
        assert again.slips == 1


def test_the_predicted_phase_is_that_of_a_simulated_atmosphere_within_a_quarter() -> None:
    rows, ends = repair.settle_orbits(level1b._record(layouts.simulated()))
    seen = repair.sight(ends)
    deep = seen.expected > repair.WEIGHABLE
    ratio = rows.excess_phase[0, deep] / seen.expected[deep]
    assert 0.75 < ratio.min() < ratio.max() < 1.35
