"""Level 1B of one occultation: excess phase, signal strength and orbits, whatever mission they come from.

The contract (dimensions time, signal, xyz):

* `time` [s since 1980-01-06, GPS], increasing; a lost stretch is a jump in time or NaN in the phases.
* `excess_phase` (signal, time) [m], positive for delay: optical path minus straight line; an arbitrary constant is
  allowed.
* `snr` (signal, time) [V/V] in 1 Hz bandwidth; `carrier_frequency` (signal) [Hz], the stronger signal first.
* `receiver_position`, `transmitter_position` (time, xyz) [m]: Earth-fixed, in the axes of the receive time; the
  transmitter at transmission.
* `receiver_velocity`, `transmitter_velocity` (time, xyz) [m s-1]: rates of those coordinates per unit of receive time.
* attributes `occultation_id`, `transmitter`, `receiver`, `mission`, `setting` (1 setting, 0 rising); `findings`, the
  codes of what reading found and mended, apart by spaces, and the number of each beside it (`time_tags_dropped`).

The layouts of other centers are read by `ropp`, `aws` and `ucar` into one record; here it is mended (`repair`,
`cycle_slip`), its frame judged (`frame_check`) and brought to the contract.
"""

import re
from typing import Any

import numpy as np
import xarray as xr

from processors import timescales
from processors.arrays import FloatArray
from processors.geodesy import ellipsoid, frames
from processors.occultation import cycle_slip, fields, frame_check, layouts, record, repair
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
VELOCITY_MISFIT = 0.002
SHORTEST = 10.0
ERA = (4.1e8, 2.55e9)
"""Times at which navigation satellites are occulted and observed [s since 1980-01-06, GPS]: 1993 to 2060."""
COUNTED = ("time_tags_dropped", "time_sorted", "cycle_slips_repaired", "samples_missing", "orbit_samples_filled")
"""Findings whose number goes into an attribute of their name."""


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


def _require_era(time: FloatArray) -> None:
    """Times of this age: others mean another epoch or unit."""
    if not ERA[0] < time[0] < ERA[1]:
        raise BadInputError(
            "time_implausible",
            f"time begins {time[0]:.6g} s after 1980-01-06, not between 1993 and 2060: is it in another unit or epoch?",
        )


def _require_orbits(dataset: xr.Dataset) -> None:
    """Positions at orbital distances in metres, velocities of orbits."""
    for end, (low, high) in repair.RADII.items():
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
    _require_frequencies(dataset["carrier_frequency"].to_numpy())
    present = np.isfinite(dataset["excess_phase"].to_numpy()).sum(axis=1)
    if present[0] < 0.1 * dataset.sizes["time"]:
        raise BadInputError(
            "no_data", f"the first signal has {present[0]} excess phases in {dataset.sizes['time']} samples"
        )


def _require_frequencies(frequency: FloatArray) -> None:
    """Two different carriers in the bands of navigation signals."""
    if frequency.size < 2 or not ((frequency > 1e9) & (frequency < 2e9)).all() or frequency[0] == frequency[1]:
        raise BadInputError(
            "frequency_implausible", f"carrier frequencies {frequency} are no pair of navigation signals"
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
        Level 1B; the same dataset where it is level 1B and nothing was found.

    Raises
    ------
    BadInputError
        `unknown_schema` where it is none of the known formats, `not_level1a` where it holds bending angles only; what
        reading, `repair` and `require` refuse.
    """
    if recognizes(dataset):
        _require_layout(dataset)
        found = _judged(_record(dataset))
        return found if "findings" in found.attrs else require(dataset)
    return _judged(layouts.phase_record(dataset))


def recognizes(dataset: xr.Dataset) -> bool:
    """Whether a dataset is meant as level 1B of terralimb.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.

    Returns
    -------
    bool
        True where its names are there; the contract may still be broken.
    """
    return "excess_phase" in dataset.variables and "receiver_position" in dataset.variables


def _record(dataset: xr.Dataset) -> record.PhaseRecord:
    """Level 1B as a record: it may have been spoilt since it was written."""
    values = {name: fields.numbers(dataset, name) for name in DIMENSIONS}

    def orbit(end: str) -> record.Orbit:
        return record.Orbit(values[f"{end}_position"], values[f"{end}_velocity"], frame_check.EARTH_FIXED)

    codes = str(dataset.attrs.get("findings", "")).split()
    earlier = {code: int(dataset.attrs.get(code, 1)) for code in codes if code != "samples_missing"}
    return record.PhaseRecord(
        time=values["time"],
        excess_phase=values["excess_phase"][:2],
        snr=values["snr"][:2],
        carrier_frequency=values["carrier_frequency"][:2],
        receiver=orbit("receiver"),
        transmitter=orbit("transmitter"),
        attributes={key: value for key, value in dataset.attrs.items() if key not in {"findings", "level", *COUNTED}},
        findings=earlier,
        keeps_velocity=True,
    )


def _judged(rows: record.PhaseRecord) -> xr.Dataset:
    """Level 1B of a record: mended where there is no doubt, refused where there is."""
    rows = repair.without_infinities(rows)
    rows = repair.in_order_of_time(repair.in_metres(rows))
    _require_time(rows.time)
    _require_era(rows.time)
    rows, ends = repair.settle_orbits(rows)
    _require_frequencies(rows.carrier_frequency)
    repair.require_constellation(rows, ends=ends)
    seen = repair.sight(ends)
    repair.require_phase_unit(rows, seen=seen)
    rows = repair.signals_in_order(rows, seen=seen)
    rows = _without_slips(rows, seen.height)
    rows = repair.note_missing(rows)
    return assemble(
        rows.time,
        excess_phase=rows.excess_phase,
        snr=rows.snr,
        carrier_frequency=rows.carrier_frequency,
        receiver=ends.receiver,
        transmitter=ends.transmitter,
        attributes=_attributes(rows),
    )


def _without_slips(rows: record.PhaseRecord, height: FloatArray) -> record.PhaseRecord:
    """Take back cycle slips."""
    repaired = cycle_slip.repair(
        rows.excess_phase,
        time=rows.time,
        snr=rows.snr,
        carrier_frequency=rows.carrier_frequency,
        straight_line_height=height,
    )
    if not repaired.slips:
        return rows
    rows = rows._replace(excess_phase=repaired.excess_phase).found("cycle_slips_repaired", repaired.slips)
    return rows._replace(attributes={**rows.attributes, "cycle_slip_times": repaired.times})


def _attributes(rows: record.PhaseRecord) -> dict[str, Any]:
    """Identity, findings and their numbers."""
    found = {key: value for key, value in rows.attributes.items() if key != "start"}
    if "occultation_id" not in found:
        begin = float(rows.attributes.get("start", rows.time[0]))
        found["occultation_id"] = occultation_id(str(found["transmitter"]), str(found["receiver"]), begin)
    if rows.findings:
        found["findings"] = " ".join(sorted(rows.findings))
        found |= {code: count for code, count in rows.findings.items() if code in COUNTED}
    return found
