"""Level 1B of one occultation: excess phase, signal strength and orbits, whatever mission they come from.

The contract (dimensions time, signal, xyz):

* `time` [s since 1980-01-06, GPS], increasing; a lost stretch is a jump in time or NaN in the phases.
* `excess_phase` (signal, time) [m], positive for delay: optical path minus straight line; an arbitrary constant is
  allowed.
* `snr` (signal, time) [V/V] in 1 Hz bandwidth; `carrier_frequency` (signal) [Hz], the stronger signal first.
* `receiver_position`, `transmitter_position` (time, xyz) [m]: Earth-fixed, in the axes of the receive time; the
  transmitter at transmission.
* `receiver_velocity`, `transmitter_velocity` (time, xyz) [m s-1]: rates of those coordinates per unit of receive time.
* attributes `occultation_id`, `transmitter`, `receiver`, `mission`, `setting` (1 setting, 0 rising).
"""

import datetime
import re
from typing import Any

import numpy as np
import xarray as xr

from processors import timescales
from processors.arrays import FloatArray
from processors.geodesy import ellipsoid, frames
from processors.orbit import interpolation
from processors.quality import BadInputError

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "time": ("time",),
    "excess_phase": ("signal", "time"),
    "snr": ("signal", "time"),
    "carrier_frequency": ("signal",),
    "receiver_position": ("time", "xyz"),
    "receiver_velocity": ("time", "xyz"),
    "transmitter_position": ("time", "xyz"),
    "transmitter_velocity": ("time", "xyz"),
}
ATTRIBUTES = ("occultation_id", "transmitter", "receiver", "mission", "setting")
RECEIVER_RADII = (6.5e6, 1.2e7)
TRANSMITTER_RADII = (1.8e7, 4.5e7)
RECEIVER_DEGREE, TRANSMITTER_DEGREE = 9, 7
ORBIT_MISFIT = 0.5
VELOCITY_MISFIT = 0.002
SHORTEST = 10.0
UNDEFINED = -9_999_900.0
ROPP_SYSTEMS = {"G": "G", "R": "R", "E": "E", "C": "C", "J": "J"}
ROPP_MISSIONS = {
    "C00": "cosmic-1",
    "C2E": "cosmic-2",
    "MET": "metop",
    "CHA": "champ",
    "GRA": "grace",
    "FY3": "fengyun-3",
}


def occultation_id(transmitter: str, receiver: str, time: float) -> str:
    """Identity of an occultation: transmitter, receiver and the minute it began.

    Parameters
    ----------
    transmitter : str
        RINEX 3 name, such as G02.
    receiver : str
        Name of the receiver.
    time : float
        Beginning [s since 1980-01-06, GPS]; the identity shows it in UTC.

    Returns
    -------
    str
        Lower case, such as g02-c001-200901070041.
    """
    minute = np.datetime_as_string(timescales.utc_from_gps(time), unit="m").item()
    return f"{transmitter}-{receiver}-{re.sub('[-T:]', '', minute)}".lower()


def assemble(
    time: FloatArray,
    *,
    excess_phase: FloatArray,
    snr: FloatArray,
    carrier_frequency: FloatArray,
    receiver: frames.State,
    transmitter: frames.State,
    attributes: dict[str, Any],
) -> xr.Dataset:
    """Build and check a level 1B dataset.

    Parameters
    ----------
    time : FloatArray
        Receive times [s since 1980-01-06, GPS], shape (n,).
    excess_phase : FloatArray
        Excess phase [m], shape (signal, n).
    snr : FloatArray
        Signal-to-noise ratio in volts [1], shape (signal, n).
    carrier_frequency : FloatArray
        Frequencies [Hz], shape (signal,).
    receiver, transmitter : frames.State
        Earth-fixed positions [m] and velocities [m s-1], shape (n, 3).
    attributes : dict
        Transmitter, receiver, mission and whatever else identifies the event.

    Returns
    -------
    xr.Dataset
        Level 1B.

    Raises
    ------
    BadInputError
        Where the result breaks the contract.
    """
    values = {
        "excess_phase": excess_phase,
        "snr": snr,
        "carrier_frequency": carrier_frequency,
        "receiver_position": receiver.position,
        "receiver_velocity": receiver.velocity,
        "transmitter_position": transmitter.position,
        "transmitter_velocity": transmitter.velocity,
    }
    dataset = xr.Dataset(
        {name: (DIMENSIONS[name], np.asarray(value, dtype=np.float64)) for name, value in values.items()},
        coords={"time": ("time", np.asarray(time, dtype=np.float64))},
        attrs={"level": "1b", **attributes},
    )
    _describe(dataset)
    if "setting" not in dataset.attrs and dataset.sizes["time"]:
        dataset.attrs["setting"] = int(is_setting(receiver.position, transmitter.position))
    return require(dataset)


def _describe(dataset: xr.Dataset) -> None:
    """Attach units, frames and signs."""
    dataset["time"].attrs.update(units="s", long_name="receive time since 1980-01-06, GPS")
    dataset["excess_phase"].attrs.update(units="m", sign="positive for delay", long_name="excess phase")
    dataset["snr"].attrs.update(units="1", long_name="signal-to-noise ratio in volts, 1 Hz")
    dataset["carrier_frequency"].attrs.update(units="Hz")
    for end in ("receiver", "transmitter"):
        dataset[f"{end}_position"].attrs.update(units="m", frame="earth_fixed")
        dataset[f"{end}_velocity"].attrs.update(units="m s-1", frame="earth_fixed")
    for part in ("position", "velocity"):
        dataset[f"transmitter_{part}"].attrs["epoch"] = "transmission, in the axes and per unit of the receive time"


def is_setting(receiver: FloatArray, transmitter: FloatArray) -> bool:
    """Whether the ray sinks during the event.

    Parameters
    ----------
    receiver, transmitter : FloatArray
        Earth-fixed positions [m], shape (n, 3).

    Returns
    -------
    bool
        True for a setting occultation.
    """
    ends = ellipsoid.tangent_point(transmitter[[0, -1]], receiver[[0, -1]])
    heights = ellipsoid.from_ecef(ends).height
    return bool(heights[1] < heights[0])


def require(dataset: xr.Dataset) -> xr.Dataset:
    """Refuse a dataset that breaks the contract.

    Parameters
    ----------
    dataset : xr.Dataset
        Level 1B candidate.

    Returns
    -------
    xr.Dataset
        The same dataset.

    Raises
    ------
    BadInputError
        `not_level1b`, `truncated`, `no_data`, `orbit_implausible`, `frequency_implausible`, `frame_undeclared` or
        `time_irregular`.
    """
    _require_layout(dataset)
    _require_time(dataset["time"].to_numpy())
    _require_orbits(dataset)
    _require_signals(dataset)
    return dataset


def _require_layout(dataset: xr.Dataset) -> None:
    """All variables with their dimensions, all attributes, declared frames."""
    for name, dimensions in DIMENSIONS.items():
        if name not in dataset.variables:
            raise BadInputError("not_level1b", f"level 1B lacks the variable {name}")
        if dataset[name].dims != dimensions:
            raise BadInputError(
                "not_level1b", f"{name} has the dimensions {dataset[name].dims} instead of {dimensions}"
            )
    missing = [name for name in ATTRIBUTES if name not in dataset.attrs]
    if missing:
        raise BadInputError("not_level1b", f"level 1B lacks the attributes {', '.join(missing)}")
    for name in (name for name, dimensions in DIMENSIONS.items() if "xyz" in dimensions):
        if dataset[name].attrs.get("frame") != "earth_fixed":
            raise BadInputError("frame_undeclared", f"{name} does not declare the frame earth_fixed")


def _require_time(time: FloatArray) -> None:
    """Increasing times that span an occultation."""
    if time.size < 2 or not np.isfinite(time).all():
        raise BadInputError("truncated", f"only {time.size} samples, or times that are missing")
    if np.diff(time).min() <= 0.0:
        raise BadInputError("time_irregular", "the sample times do not increase")
    if time[-1] - time[0] < SHORTEST:
        raise BadInputError(
            "truncated",
            f"the record spans {time[-1] - time[0]:.1f} s, less than the {SHORTEST:.0f} s an occultation needs",
        )


def _require_orbits(dataset: xr.Dataset) -> None:
    """Positions at orbital distances in metres, velocities of orbits."""
    for end, (low, high) in (("receiver", RECEIVER_RADII), ("transmitter", TRANSMITTER_RADII)):
        position = dataset[f"{end}_position"].to_numpy()
        radius = np.linalg.norm(position, axis=1)
        if not (np.isfinite(radius).all() and low < radius.min() and radius.max() < high):
            raise BadInputError(
                "orbit_implausible",
                f"{end}_position has distances from {np.nanmin(np.nan_to_num(radius)):.4g} to"
                f" {np.nanmax(np.nan_to_num(radius)):.4g} m from the geocentre, outside {low:.4g} to {high:.4g} m",
            )
        velocity = dataset[f"{end}_velocity"].to_numpy()
        moved = position[-1] - position[0]
        travelled = np.trapezoid(velocity, dataset["time"].to_numpy(), axis=0)
        if not np.linalg.norm(travelled - moved) < VELOCITY_MISFIT * np.linalg.norm(moved):
            raise BadInputError("orbit_implausible", f"{end}_velocity does not carry the {end} along its positions")


def _require_signals(dataset: xr.Dataset) -> None:
    """Two plausible, different carriers and some phase."""
    frequency = dataset["carrier_frequency"].to_numpy()
    if frequency.size < 2 or not ((frequency > 1e9) & (frequency < 2e9)).all() or frequency[0] == frequency[1]:
        raise BadInputError(
            "frequency_implausible", f"carrier frequencies {frequency} are no pair of navigation signals"
        )
    present = np.isfinite(dataset["excess_phase"].to_numpy()).sum(axis=1)
    if present[0] < 0.1 * dataset.sizes["time"]:
        raise BadInputError(
            "no_data", f"the first signal has {present[0]} excess phases in {dataset.sizes['time']} samples"
        )


def level1b_from_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """Recognise a dataset by its content and bring it to level 1B.

    Parameters
    ----------
    dataset : xr.Dataset
        An opened file (times not decoded).

    Returns
    -------
    xr.Dataset
        Level 1B.

    Raises
    ------
    BadInputError
        `unknown_schema` where it is none of the known formats; others as in `require`.
    """
    if str(dataset.attrs.get("format_version", "")).startswith("ROPP") or "dim_lev1a" in dataset.dims:
        return level1b_from_ropp(dataset)
    if "excess_phase" in dataset.variables and "receiver_position" in dataset.variables:
        return require(dataset)
    known = ", ".join(sorted(str(name) for name in dataset.variables)[:6])
    raise BadInputError(
        "unknown_schema",
        f"the dataset is neither ROPP level 1a nor level 1B of terralimb (it holds: {known or 'nothing'})",
    )


def level1b_from_ropp(dataset: xr.Dataset) -> xr.Dataset:
    """Level 1B of a ROPP netCDF V1.1 file (ROM SAF, level 1a).

    The file's positions are Earth-fixed and its velocities inertial, so velocities are derived anew from a polynomial
    through the positions in the inertial frame. The calendar fields give the start in UTC; `start_time` counts SI
    seconds across leap seconds.

    Parameters
    ----------
    dataset : xr.Dataset
        The opened file (times not decoded).

    Returns
    -------
    xr.Dataset
        Level 1B.

    Raises
    ------
    BadInputError
        `not_level1a` where level 1a is missing, `truncated`, `no_data`, `orbit_implausible` and others of `require`.
    """
    single = dataset.isel(dim_unlim=0) if "dim_unlim" in dataset.dims else dataset
    wanted = (
        "dtime",
        "phase_L1",
        "phase_L2",
        "r_leo",
        "r_gns",
        "L1_freq",
        "L2_freq",
        "snr_L1ca",
        "snr_L2p",
        "gns_id",
        "leo_id",
    )
    missing = [name for name in wanted if name not in single.variables]
    if missing or single.sizes.get("dim_lev1a", 0) == 0:
        raise BadInputError(
            "not_level1a", f"the ROPP file holds no level 1a (missing: {', '.join(missing) or 'samples'})"
        )
    start = _ropp_start(single)
    kept = np.isfinite(_defined(single, "dtime"))
    time = start + _defined(single, "dtime")[kept]
    _require_time(time)
    transmitter, receiver = _ropp_name(single, "gns_id"), _text(single, "leo_id")
    return assemble(
        time,
        excess_phase=np.stack([_defined(single, name)[kept] for name in ("phase_L1", "phase_L2")]),
        snr=np.stack([_defined(single, name)[kept] for name in ("snr_L1ca", "snr_L2p")]),
        carrier_frequency=np.array([_first_defined(single, name) for name in ("L1_freq", "L2_freq")]),
        receiver=_ropp_orbit(single, "r_leo", kept=kept, time=time, degree=RECEIVER_DEGREE),
        transmitter=_ropp_orbit(single, "r_gns", kept=kept, time=time, degree=TRANSMITTER_DEGREE),
        attributes={
            "occultation_id": occultation_id(transmitter, receiver, start),
            "transmitter": transmitter,
            "receiver": receiver.lower(),
            "mission": next((name for key, name in ROPP_MISSIONS.items() if receiver.startswith(key)), "unknown"),
            "source_id": _text(single, "occ_id"),
            "processing_center": str(dataset.attrs.get("processing_centre", "unknown")).strip(),
        },
    )


def _text(dataset: xr.Dataset, name: str) -> str:
    """A character variable as text."""
    value = dataset[name].to_numpy().item() if name in dataset.variables else b""
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip("\x00 ")


def _ropp_name(dataset: xr.Dataset, name: str) -> str:
    """RINEX 3 name of a ROPP transmitter, G02 of G002."""
    text = _text(dataset, name)
    if len(text) < 2 or text[0] not in ROPP_SYSTEMS or not text[1:].isdigit():
        raise BadInputError("not_level1a", f"the ROPP transmitter {text!r} is no navigation satellite")
    return f"{ROPP_SYSTEMS[text[0]]}{int(text[1:]):02d}"


def _ropp_start(dataset: xr.Dataset) -> float:
    """Start of the occultation [s since 1980-01-06, GPS]."""
    fields = ("year", "month", "day", "hour", "minute", "second", "msec")
    try:
        year, month, day, hour, minute, second, millisecond = (int(dataset[name]) for name in fields)
        moment = datetime.datetime(year, month, day, hour, minute, second, millisecond * 1_000)  # noqa: DTZ001
    except (KeyError, ValueError, OverflowError) as error:
        raise BadInputError("not_level1a", f"the ROPP file has no valid start date: {error}") from error
    return float(timescales.gps_from_utc(np.datetime64(moment, "ns")))


def _defined(dataset: xr.Dataset, name: str) -> FloatArray:
    """Values of a variable with ROPP's undefined value and netCDF's default fill as NaN."""
    values = dataset[name].to_numpy().astype(np.float64)
    return np.where(
        (values <= UNDEFINED) & (values != 0.0) & (np.abs(values) >= 9.9e7) | (values > 1e30), np.nan, values
    )


def _first_defined(dataset: xr.Dataset, name: str) -> float:
    """The one defined value of a variable written along the samples."""
    values = _defined(dataset, name).ravel()
    finite = values[np.isfinite(values)]
    return float(finite[0]) if finite.size else np.nan


def _ropp_orbit(dataset: xr.Dataset, name: str, *, kept: np.ndarray, time: FloatArray, degree: int) -> frames.State:
    """Smoothed Earth-fixed state of one end."""
    values = _defined(dataset, name)
    position = (values if values.shape[-1] == 3 else values.T)[kept]
    if not np.isfinite(position).all():
        raise BadInputError("orbit_implausible", f"{name} has missing positions")
    orbit = interpolation.smooth(position, time=time, degree=degree)
    if orbit.residual > ORBIT_MISFIT:
        raise BadInputError(
            "orbit_implausible", f"{name} is no smooth orbit: it misses a polynomial by {orbit.residual:.3g} m"
        )
    return orbit.state
