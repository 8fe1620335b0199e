"""One simulated occultation, written in the layouts other centers use."""

import functools
from typing import Any

import numpy as np
import xarray as xr

from processors import constants, timescales
from processors.arrays import FloatArray
from processors.geodesy import frames
from processors.occultation import excess_phase
from processors.orbit import sp3
from processors.simulation import occultation as simulation

START = 1.45e9
FILL = 9.969_209_968_386_869e36


@functools.cache
def simulated() -> xr.Dataset:
    """Level 1B of one setting GPS occultation, 50 Hz, 100 km down to the surface."""
    made = simulation.simulate_occultations(start_gps=START, count=1, seed=11)
    return excess_phase.excess_phase_from_carrier(
        simulation.dataset_from_observation(made.events[0]),
        receiver=simulation.dataset_from_receiver_orbit(made.receiver_orbit),
        transmitters=sp3.parse(made.sp3),
    )


def level() -> xr.Dataset:
    """A copy a test may spoil."""
    return simulated().copy(deep=True)


def inertial(dataset: xr.Dataset, end: str) -> frames.State:
    """State of one end in axes of true equator and mean equinox."""
    time = dataset["time"].to_numpy()
    first = float(time[0])
    state = frames.State(*(dataset[f"{end}_{part}"].to_numpy() for part in ("position", "velocity")))
    turned = frames.inertial_from_earth_fixed(state, time=time, epoch=first)
    sidereal = frames.greenwich_mean_sidereal_time(first)
    return frames.State(*(frames.rotate_about_pole(part, sidereal) for part in turned))


def ropp(dataset: xr.Dataset) -> xr.Dataset:
    """ROPP netCDF V1.1, level 1a: Earth-fixed positions, inertial velocities."""
    time = dataset["time"].to_numpy()
    samples, vectors = ("dim_unlim", "dim_lev1a"), ("dim_unlim", "xyz", "dim_lev1a")
    variables: dict[str, Any] = {"dtime": (samples, (time - START)[None])}
    for row, names in enumerate((("phase_L1", "snr_L1ca", "L1_freq"), ("phase_L2", "snr_L2p", "L2_freq"))):
        variables[names[0]] = (samples, dataset["excess_phase"].to_numpy()[row][None])
        variables[names[1]] = (samples, dataset["snr"].to_numpy()[row][None])
        frequency = np.full((1, time.size), FILL)
        frequency[0, 0] = dataset["carrier_frequency"].to_numpy()[row]
        variables[names[2]] = (samples, frequency)
    for end, name in (("receiver", "leo"), ("transmitter", "gns")):
        variables[f"r_{name}"] = (vectors, dataset[f"{end}_position"].to_numpy().T[None])
        variables[f"v_{name}"] = (vectors, inertial(dataset, end).velocity.T[None])
    variables["gns_id"] = ("dim_unlim", np.array([b"G0" + dataset.attrs["transmitter"][1:].encode()]))
    variables["leo_id"] = ("dim_unlim", np.array([b"C001"]))
    variables["occ_id"] = ("dim_unlim", np.array([b"OC_TEST"]))
    moment = timescales.utc_from_gps(START).astype("datetime64[s]").item()
    for name in ("year", "month", "day", "hour", "minute", "second"):
        variables[name] = ("dim_unlim", np.array([getattr(moment, name)]))
    variables["msec"] = ("dim_unlim", np.array([0]))
    return xr.Dataset(variables, attrs={"format_version": "ROPP I/O V1.1", "processing_centre": "TEST"})


def aws_1(dataset: xr.Dataset) -> xr.Dataset:
    """AWS calibratedPhase v1.1."""
    time = dataset["time"].to_numpy()
    codes = np.array([list(code) for code in ("L1C", "L2W")], dtype="S1")
    return xr.Dataset(
        {
            "startTime": ((), START),
            "endTime": ((), float(time[-1])),
            "navBitsPresent": ("signal", np.array([0, 0], dtype=np.int8)),
            "snrCode": (("signal", "obscode"), codes),
            "phaseCode": (("signal", "obscode"), codes),
            "carrierFrequency": ("signal", dataset["carrier_frequency"].to_numpy()),
            "time": ("time", time - START),
            "snr": (("time", "signal"), dataset["snr"].to_numpy().T),
            "excessPhase": (("time", "signal"), dataset["excess_phase"].to_numpy().T),
            "phaseModel": (("time", "signal"), dataset["excess_phase"].to_numpy().T + 2.5e7),
            "positionLEO": (("time", "xyz"), dataset["receiver_position"].to_numpy()),
            "positionGNSS": (("time", "xyz"), dataset["transmitter_position"].to_numpy()),
        },
        attrs={
            "file_type": "GNSS-RO-in-AWS-Open-Data-calibratedPhase",
            "mission": "cosmic1",
            "leo": "cosmic1c1",
            "occGnss": dataset.attrs["transmitter"],
            "processing_center": "ucar",
        },
    )


def aws_2(dataset: xr.Dataset) -> xr.Dataset:
    """AWS level 1b v2.0."""
    old = aws_1(dataset)
    names = {
        "startTime": "start_time",
        "endTime": "end_time",
        "navBitsPresent": "nav_bits_present",
        "snrCode": "snr_observation_code",
        "phaseCode": "phase_observation_code",
        "carrierFrequency": "carrier_frequency",
        "excessPhase": "excess_phase",
        "phaseModel": "phase_model",
        "positionLEO": "receiver_orbit",
        "positionGNSS": "transmitter_orbit",
        "xyz": "cartesian",
    }
    made = old.rename(names).transpose("signal", "cartesian", "obscode", "time")
    made["nav_bits_present"] = 1 - made["nav_bits_present"]
    made.attrs = {
        "Conventions": "CF-1.10",
        "mission": "cosmic1",
        "receiver": "cosmic1c1",
        "transmitter": dataset.attrs["transmitter"],
        "institution": "ucar",
        "GranuleID": "granule",
    }
    return made


def _ucar_attributes(dataset: xr.Dataset) -> dict[str, Any]:
    return {
        "fileStamp": f"C001.2025.351.10.00.{dataset.attrs['transmitter']}",
        "conId": "G",
        "occsatId": int(dataset.attrs["transmitter"][1:]),
        "startTime": START,
        "stopTime": float(dataset["time"][-1]),
        "center": "UCAR/CDAAC",
    }


def _ucar_phases(dataset: xr.Dataset) -> dict[str, Any]:
    return {
        "time": ("time", dataset["time"].to_numpy() - START),
        "caL1Snr": ("time", dataset["snr"].to_numpy()[0] * 10.0),
        "pL2Snr": ("time", dataset["snr"].to_numpy()[1] * 10.0),
        "exL1": ("time", dataset["excess_phase"].to_numpy()[0]),
        "exL2": ("time", dataset["excess_phase"].to_numpy()[1]),
    }


def atm_phs(dataset: xr.Dataset) -> xr.Dataset:
    """UCAR atmPhs: kilometres, inertial axes, one rate."""
    variables = _ucar_phases(dataset)
    for end, name in (("receiver", "Leo"), ("transmitter", "Gps")):
        state = inertial(dataset, end)
        for row, axis in enumerate("xyz"):
            variables[f"{axis}{name}"] = ("time", state.position[:, row] * 1e-3)
            variables[f"{axis}d{name}"] = ("time", state.velocity[:, row] * 1e-3)
    return xr.Dataset(variables, attrs=_ucar_attributes(dataset))


def con_phs(dataset: xr.Dataset) -> xr.Dataset:
    """UCAR conPhs: phases at 50 Hz, orbits once a second."""
    variables = _ucar_phases(dataset)
    time = dataset["time"].to_numpy()
    last = time.size - 1
    rows = np.unique(np.concatenate([np.arange(0, last, 50), [last]]))
    ends = {end: inertial(dataset, end) for end in ("receiver", "transmitter")}
    for end, name in (("receiver", "Leo"), ("transmitter", "Gnss")):
        for row, axis in enumerate("xyz"):
            variables[f"{axis}{name}LR"] = ("orbtime", ends[end].position[rows, row] * 1e-3)
    flight = np.linalg.norm(ends["receiver"].position - ends["transmitter"].position, axis=1) / constants.SPEED_OF_LIGHT
    variables["orbtime"] = ("orbtime", time[rows])
    variables["txmitLR"] = ("orbtime", (time - flight)[rows])
    return xr.Dataset(variables, attrs=_ucar_attributes(dataset))


LAYOUTS = {"ropp": ropp, "aws v1.1": aws_1, "aws v2.0": aws_2, "atmPhs": atm_phs, "conPhs": con_phs}


def bending() -> tuple[FloatArray, FloatArray]:
    """Impact parameters [m], increasing, and bending angles [rad] of an exponential atmosphere."""
    impact = 6.37e6 + np.linspace(2.0e3, 80.0e3, 400)
    return impact, 0.02 * np.exp(-(impact - 6.37e6) / 7.0e3)


def atm_prf() -> xr.Dataset:
    """UCAR atmPrf, from the top down."""
    impact, angle = bending()
    order = slice(None, None, -1)
    return xr.Dataset(
        {
            "Impact_parm": ("MSL_alt", impact[order] * 1e-3),
            "Bend_ang": ("MSL_alt", angle[order]),
            "Opt_bend_ang": ("MSL_alt", angle[order]),
            "Lat": ("MSL_alt", np.linspace(10.0, 12.0, impact.size)[order]),
            "Lon": ("MSL_alt", np.linspace(20.0, 21.0, impact.size)[order]),
        },
        attrs={
            "fileStamp": "C002.2007.274.04.10.G31",
            "occulting_sat_id": 31,
            "start_time": 875_247_028.0,
            "occpt_offset": 50.0,
            "rfict": 6369.98,
            "rgeoid": 0.02,
            "lat": 11.0,
            "lon": 20.5,
            "azim": -30.0,
            "irs": -1,
            "curv": [1.0, 2.0, 3.0],
        },
    )


def ropp_bending() -> xr.Dataset:
    """ROPP netCDF V1.1, level 1b only."""
    impact, angle = bending()
    levels = ("dim_unlim", "dim_lev1b")
    scalars = {
        "year": 2009,
        "month": 1,
        "day": 7,
        "hour": 0,
        "minute": 41,
        "second": 59,
        "msec": 0,
        "pcd": 4,
        "time_offset": 45.0,
        "lat": -35.0,
        "lon": 129.0,
        "azimuth": 32.0,
        "roc": 6.37e6,
        "undulation": -30.0,
    }
    variables: dict[str, Any] = {name: ("dim_unlim", np.array([value])) for name, value in scalars.items()}
    variables |= {
        "impact": (levels, impact[None]),
        "impact_L1": (levels, impact[None] + 50.0),
        "bangle": (levels, angle[None]),
        "bangle_L1": (levels, np.interp(impact + 50.0, impact, angle)[None]),
        "bangle_L2": (levels, np.full((1, impact.size), -99_999_000.0)),
        "r_coc": (("dim_unlim", "xyz"), np.array([[1.0e3, 2.0e3, 3.0e3]])),
        "gns_id": ("dim_unlim", np.array([b"G002"])),
        "leo_id": ("dim_unlim", np.array([b"C001"])),
        "occ_id": ("dim_unlim", np.array([b"OC_TEST"])),
    }
    return xr.Dataset(variables, attrs={"format_version": "ROPP I/O V1.1"})
