"""ROPP netCDF V1.1 of the ROM SAF: phases and orbits (level 1a) or bending angles (level 1b).

ROPP I/O user guide, appendix on the netCDF layout. Positions are Earth-fixed, velocities inertial, so velocities are
derived anew from the positions. The calendar fields give the start in UTC; `start_time` counts SI seconds across leap
seconds. Missing is -99999000.
"""

import datetime

import numpy as np
import xarray as xr

from processors import timescales
from processors.arrays import BoolArray, FloatArray
from processors.occultation import fields, frame_check, record, signals
from processors.quality import BadInputError

UNDEFINED = -9.9e7
RISING_BIT = 4
"""Bit 2 of `pcd`: set for a rising occultation."""
PHASE_VARIABLES = (
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
BENDING_VARIABLES = ("impact", "bangle", "roc", "undulation", "lat", "lon", "azimuth", "gns_id", "leo_id")


def recognizes(dataset: xr.Dataset) -> bool:
    """Whether a dataset has this layout.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.

    Returns
    -------
    bool
        True for ROPP netCDF of any level.
    """
    return str(dataset.attrs.get("format_version", "")).startswith("ROPP") or "dim_lev1a" in dataset.dims


def holds_phases(dataset: xr.Dataset) -> bool:
    """Whether there are samples of level 1a.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file of this layout.

    Returns
    -------
    bool
        True where phases can be read.
    """
    if not all(name in dataset.variables for name in PHASE_VARIABLES):
        return False
    return all(bool(np.isfinite(_defined(dataset, name)).any()) for name in ("dtime", "phase_L1"))


def holds_bending(dataset: xr.Dataset) -> bool:
    """Whether there are bending angles of level 1b.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file of this layout.

    Returns
    -------
    bool
        True where bending angles can be read.
    """
    return dataset.sizes.get("dim_lev1b", 0) > 0 and "bangle" in dataset.variables


def phase_record(dataset: xr.Dataset) -> record.PhaseRecord:
    """Phases and orbits of level 1a.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file (times not decoded).

    Returns
    -------
    record.PhaseRecord
        What the file holds.

    Raises
    ------
    BadInputError
        `not_level1a` where level 1a, the start or the transmitter is missing.
    """
    single = _single(dataset)
    fields.require_variables(single, PHASE_VARIABLES, layout="ROPP level 1a", cause="not_level1a")
    if single.sizes.get("dim_lev1a", 0) == 0:
        raise BadInputError("not_level1a", "the ROPP file holds no samples of level 1a")
    start = _start(single)
    kept = np.isfinite(_defined(single, "dtime"))
    return record.PhaseRecord(
        time=start + _defined(single, "dtime")[kept],
        excess_phase=np.stack([_defined(single, name)[kept] for name in ("phase_L1", "phase_L2")]),
        snr=np.stack([_defined(single, name)[kept] for name in ("snr_L1ca", "snr_L2p")]),
        carrier_frequency=np.array([_first_defined(single, name) for name in ("L1_freq", "L2_freq")]),
        receiver=_orbit(single, "leo", kept),
        transmitter=_orbit(single, "gns", kept),
        attributes=_identity(single, "not_level1a") | {"start": start},
        findings={},
        upper_first=True,
    )


def _single(dataset: xr.Dataset) -> xr.Dataset:
    """The one occultation of a file."""
    if dataset.sizes.get("dim_unlim", 1) != 1:
        raise BadInputError("several_events", f"the ROPP file holds {dataset.sizes['dim_unlim']} occultations, not one")
    return dataset.isel(dim_unlim=0) if "dim_unlim" in dataset.dims else dataset


def _defined(dataset: xr.Dataset, name: str) -> FloatArray:
    values = fields.numbers(dataset, name)
    return np.where(values < UNDEFINED, np.nan, values)


def _scalar(dataset: xr.Dataset, name: str) -> float:
    return float(_defined(dataset, name).ravel()[0]) if name in dataset.variables else np.nan


def _first_defined(dataset: xr.Dataset, name: str) -> float:
    """The one defined value of a variable written along the samples."""
    values = _defined(dataset, name).ravel()
    finite = values[np.isfinite(values)]
    return float(finite[0]) if finite.size else np.nan


def _orbit(dataset: xr.Dataset, end: str, kept: BoolArray) -> record.Orbit:
    """Positions, and velocities where the file has them."""

    def rows(name: str) -> FloatArray:
        values = _defined(dataset, name)
        return (values if values.shape[-1] == 3 else values.T)[kept]

    velocity = rows(f"v_{end}") if f"v_{end}" in dataset.variables else None
    return record.Orbit(rows(f"r_{end}"), velocity, frame_check.EARTH_FIXED)


def _identity(dataset: xr.Dataset, cause: str) -> dict[str, object]:
    """Names of the satellites, the file and the center."""
    name = fields.text(dataset["gns_id"])
    if len(name) < 2 or name[0] not in signals.SYSTEMS or not name[1:].isdigit():
        raise BadInputError(cause, f"the ROPP transmitter {name!r} is no navigation satellite")
    receiver = fields.text(dataset["leo_id"])
    return {
        "transmitter": f"{name[0]}{int(name[1:]):02d}",
        "receiver": receiver.lower(),
        "mission": fields.mission_of(receiver),
        "source_id": fields.text(dataset["occ_id"]) if "occ_id" in dataset.variables else "",
        "processing_center": str(dataset.attrs.get("processing_centre", "unknown")).strip(),
    }


def _start(dataset: xr.Dataset) -> float:
    """Start of the occultation [s since 1980-01-06, GPS]."""
    names = ("year", "month", "day", "hour", "minute", "second", "msec")
    try:
        year, month, day, hour, minute, second, millisecond = (int(dataset[name]) for name in names)
        moment = datetime.datetime(year, month, day, hour, minute, second, millisecond * 1_000)  # noqa: DTZ001
    except (KeyError, ValueError, OverflowError) as error:
        raise BadInputError("not_level1a", f"the ROPP file has no valid start date: {error}") from error
    return float(timescales.gps_from_utc(np.datetime64(moment, "ns")))


def bending_record(dataset: xr.Dataset) -> record.BendingRecord:
    """Bending angles of level 1b, all on the impact parameters of the corrected ones.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file (times not decoded).

    Returns
    -------
    record.BendingRecord
        What the file holds.

    Raises
    ------
    BadInputError
        `not_bending_profile` where something needed is missing.
    """
    single = _single(dataset)
    fields.require_variables(single, BENDING_VARIABLES, layout="ROPP level 1b", cause="not_bending_profile")
    impact = _defined(single, "impact")
    offset = _scalar(single, "time_offset")
    start = _start(single)
    identity = _identity(single, "not_bending_profile")
    confidence = int(single["pcd"]) if "pcd" in single.variables else 0
    return record.BendingRecord(
        impact_parameter=impact,
        bending_angle=_defined(single, "bangle"),
        bending_angle_l1=_onto(single, "bangle_L1", "impact_L1", impact),
        bending_angle_l2=_onto(single, "bangle_L2", "impact_L2", impact),
        bending_angle_optimized=_onto(single, "bangle_opt", "impact_opt", impact),
        latitude=_along(single, "lat_tp", impact),
        longitude=_along(single, "lon_tp", impact),
        attributes=identity
        | {
            "start": start,
            "setting": int(not confidence & RISING_BIT),
            "reference_time": start + (offset if np.isfinite(offset) else 0.0),
            "reference_latitude": _scalar(single, "lat"),
            "reference_longitude": _scalar(single, "lon"),
            "azimuth": _scalar(single, "azimuth"),
            "radius_of_curvature": _scalar(single, "roc"),
            "undulation": _scalar(single, "undulation"),
            "center_of_curvature": _defined(single, "r_coc").ravel()
            if "r_coc" in single.variables
            else np.full(3, np.nan),
            "carrier_frequency": _frequencies(single, str(identity["transmitter"])[:1]),
        },
    )


def _frequencies(dataset: xr.Dataset, system: str) -> FloatArray:
    """Frequencies the file states, or the usual pair of the constellation."""
    stated = [_first_defined(dataset, name) if name in dataset.variables else np.nan for name in ("L1_freq", "L2_freq")]
    usual = [signals.frequency_of(code, system=system, channel=0) for code in ("1", "2")]
    return np.array([known if np.isfinite(known) else guess for known, guess in zip(stated, usual, strict=True)])


def _along(dataset: xr.Dataset, name: str, impact: FloatArray) -> FloatArray:
    """A variable along the impact parameters; NaN where the file does not have it."""
    values = _defined(dataset, name) if name in dataset.variables else np.full(impact.size, np.nan)
    return values if values.shape == impact.shape else np.full(impact.size, np.nan)


def _onto(dataset: xr.Dataset, name: str, own: str, impact: FloatArray) -> FloatArray:
    """Bending angle of one kind, from its own impact parameters onto the common ones."""
    values = _along(dataset, name, impact)
    grid = _along(dataset, own, impact)
    known = np.isfinite(values) & np.isfinite(grid)
    if np.count_nonzero(known) < 2 or np.array_equal(grid, impact):
        return values
    order = np.argsort(grid[known])
    return np.interp(impact, grid[known][order], values[known][order], left=np.nan, right=np.nan)
