"""Files of UCAR/CDAAC: atmPhs and conPhs (phases and orbits) and atmPrf (bending angles).

Kilometres, signal strengths in tenths of V/V, positions in inertial axes of date (true equator, mean equinox), the
transmitter at transmission. atmPhs samples everything at one rate; conPhs has orbits once a second (`*LR`, at the
receive times `orbtime`; the transmitter's rows hold for the transmission `txmitLR` of what arrives then), which a
polynomial brings to the rate of the phases. Missing is -999. Profiles run from top to bottom; the radius of a level is
rfict + rgeoid + altitude, so rfict is the radius of curvature and rgeoid the undulation.
"""

import datetime
import re

import numpy as np
import xarray as xr

from processors import constants, timescales
from processors.arrays import FloatArray
from processors.occultation import fields, frame_check, record, signals
from processors.orbit import interpolation
from processors.quality import BadInputError

MISSING = (-999.0, -9999.0, -99999.0)
TENTHS = 0.1
AXES = "xyz"
CONSTELLATIONS = {"1": "G", "2": "R", "3": "E", "4": "C", "5": "J"}
LOW_RATE_DEGREES = {"Leo": 9, "Gnss": 7}
BENDING_ATTRIBUTES = ("rfict", "rgeoid", "lat", "lon", "azim")


def recognizes_phases(dataset: xr.Dataset) -> bool:
    """Whether a dataset is atmPhs or conPhs.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.

    Returns
    -------
    bool
        True where the phases and an orbit of the receiver are there under their names.
    """
    names = dataset.variables
    return "exL1" in names and ("xLeo" in names or "xLeoLR" in names)


def recognizes_bending(dataset: xr.Dataset) -> bool:
    """Whether a dataset is atmPrf.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.

    Returns
    -------
    bool
        True where bending angles and the fictitious radius are there.
    """
    return "Bend_ang" in dataset.variables and "rfict" in dataset.attrs


def phase_record(dataset: xr.Dataset) -> record.PhaseRecord:
    """Phases and orbits of atmPhs or conPhs.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file (times not decoded).

    Returns
    -------
    record.PhaseRecord
        What the file holds, orbits in metres.

    Raises
    ------
    BadInputError
        `not_level1b` where a variable, the start or the transmitter is missing, `frequency_implausible` where the
        channel of a GLONASS satellite is not stated, `orbit_implausible`.
    """
    low_rate = "xLeoLR" in dataset.variables
    clock = "time" if "time" in dataset.variables else "dTime"
    needed = (clock, "exL1", "exL2", *_orbit_names(low_rate))
    fields.require_variables(dataset, needed, layout="UCAR conPhs" if low_rate else "UCAR atmPhs", cause="not_level1b")
    start = _start(dataset)
    time = _absolute(_numbers(dataset, clock), start)
    transmitter = _transmitter(dataset)
    if low_rate:
        table = _absolute(_numbers(dataset, "orbtime"), start)
        receiver, sent = (_resampled(dataset, end, table=table, time=time) for end in ("Leo", "Gnss"))
    else:
        receiver, sent = _orbit(dataset, "Leo"), _orbit(dataset, "Gps")
    return record.PhaseRecord(
        time=time,
        excess_phase=np.stack([_numbers(dataset, name) for name in ("exL1", "exL2")]),
        snr=np.stack([_strength(dataset, name, time.size) for name in ("caL1Snr", "pL2Snr")]),
        carrier_frequency=_frequencies(dataset, transmitter[:1]),
        receiver=receiver,
        transmitter=sent,
        attributes=_identity(dataset, transmitter) | {"start": start},
        findings={},
        upper_first=True,
    )


def _orbit_names(low_rate: bool) -> tuple[str, ...]:
    if low_rate:
        return ("orbtime", *(f"{axis}{end}LR" for end in ("Leo", "Gnss") for axis in AXES))
    return tuple(f"{axis}{end}" for end in ("Leo", "Gps") for axis in AXES)


def _numbers(dataset: xr.Dataset, name: str) -> FloatArray:
    return fields.numbers(dataset, name, missing=MISSING)


def _strength(dataset: xr.Dataset, name: str, size: int) -> FloatArray:
    return _numbers(dataset, name) * TENTHS if name in dataset.variables else np.full(size, np.nan)


def _start(dataset: xr.Dataset) -> float:
    """Start of the record [s since 1980-01-06, GPS], from `startTime` or else the calendar."""
    if "startTime" in dataset.variables:
        return float(_numbers(dataset, "startTime").ravel()[0])
    if "startTime" in dataset.attrs:
        return float(dataset.attrs["startTime"])
    try:
        year, month, day, hour, minute = (
            int(dataset.attrs[name]) for name in ("year", "month", "day", "hour", "minute")
        )
        moment = datetime.datetime(year, month, day, hour, minute)  # noqa: DTZ001
        second = float(dataset.attrs["second"])
    except (KeyError, ValueError) as error:
        raise BadInputError("not_level1b", f"the UCAR file has no startTime and no valid calendar: {error}") from error
    # The calendar of these files is that of GPS time: it counts no leap seconds.
    days = (np.datetime64(moment, "ns") - timescales.GPS_EPOCH).astype(np.int64) / timescales.NANOSECONDS
    return float(days + second)


def _absolute(time: FloatArray, start: float) -> FloatArray:
    """Times since the GPS epoch of times since the start, or since the epoch already."""
    known = time[np.isfinite(time)]
    return time if known.size and known[0] > 0.5 * start else time + start


def _resampled(dataset: xr.Dataset, end: str, *, table: FloatArray, time: FloatArray) -> record.Orbit:
    """Orbit at the rate of the phases of an orbit once a second [m]."""
    rows = np.stack([_numbers(dataset, f"{axis}{end}LR") for axis in AXES], axis=1) * 1e3
    kept = np.isfinite(rows).all(axis=1) & np.isfinite(table)
    known = time[np.isfinite(time)]
    degree = interpolation.arc_degree(float(np.ptp(table[kept])) if kept.any() else 0.0, highest=LOW_RATE_DEGREES[end])
    if np.count_nonzero(kept) <= degree + 2:
        raise BadInputError("orbit_implausible", f"x{end}LR has {np.count_nonzero(kept)} epochs, too few for an orbit")
    if known.size and (known.min() < table[kept].min() - 2.0 or known.max() > table[kept].max() + 2.0):
        raise BadInputError("orbit_implausible", f"x{end}LR does not cover the times of the phases")
    epochs, positions = table[kept], rows[kept]
    fit = interpolation.polynomial_arc(positions, time=epochs, degree=degree, at=epochs)
    residual = float(np.sqrt(np.mean((fit.value - positions) ** 2, axis=0)).max())
    there = interpolation.polynomial_arc(positions, time=epochs, degree=degree, at=time)
    return record.Orbit(there.value, None, frame_check.INERTIAL, residual)


def _orbit(dataset: xr.Dataset, end: str) -> record.Orbit:
    """Orbit of atmPhs [m] and [m s-1]."""
    position = np.stack([_numbers(dataset, f"{axis}{end}") for axis in AXES], axis=1) * 1e3
    rates = [f"{axis}d{end}" for axis in AXES]
    velocity = None
    if all(name in dataset.variables for name in rates):
        velocity = np.stack([_numbers(dataset, name) for name in rates], axis=1) * 1e3
    return record.Orbit(position, velocity, frame_check.INERTIAL)


def _transmitter(dataset: xr.Dataset) -> str:
    """RINEX 3 name of the transmitter."""
    attributes = dataset.attrs
    stamp = re.search(r"\.([GRECJ]\d\d)(?:$|[._])", str(attributes.get("fileStamp", "")))
    if stamp:
        return stamp.group(1)
    system = str(attributes.get("conId", "G")).strip()
    system = CONSTELLATIONS.get(system, system)
    number = attributes.get("occsatId", attributes.get("occulting_sat_id"))
    try:
        name = f"{system}{int(np.asarray(number).item()):02d}"
    except (TypeError, ValueError) as error:
        raise BadInputError("not_level1b", "the UCAR file names no transmitter (fileStamp, occsatId)") from error
    if system not in signals.SYSTEMS:
        raise BadInputError("not_level1b", f"the UCAR transmitter {name!r} is no navigation satellite")
    return name


def _frequencies(dataset: xr.Dataset, system: str) -> FloatArray:
    """Frequencies [Hz]: those the file states, else the usual pair of the constellation."""
    stated = [_hertz(dataset.attrs.get(name)) for name in ("occfreq1", "occfreq2")]
    channel = dataset.attrs.get("freqChannel")
    slot = None if channel is None else int(channel)
    usual = [signals.frequency_of(code, system=system, channel=slot) for code in ("1", "2")]
    if system in ("E", "C"):
        usual[1] = constants.GPS_L5 if system == "E" else constants.GALILEO_E5B
    found = np.array([known if np.isfinite(known) else guess for known, guess in zip(stated, usual, strict=True)])
    if not np.isfinite(found).all():
        raise BadInputError(
            "frequency_implausible", "the UCAR file states no frequencies of its GLONASS satellite (occfreq1, occfreq2)"
        )
    return found


def _hertz(value: object) -> float:
    """A frequency in Hz, of one in Hz, MHz or GHz."""
    try:
        number = float(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        return np.nan
    scale = next((factor for factor in (1.0, 1e6, 1e9) if 1e9 < number * factor < 2e9), np.nan)
    return number * scale


def _identity(dataset: xr.Dataset, transmitter: str) -> dict[str, object]:
    """Names of the satellites, the file and the center."""
    stamp = str(dataset.attrs.get("fileStamp", "")).strip()
    receiver = stamp.split(".")[0] or str(dataset.attrs.get("leoId", "unknown"))
    return {
        "transmitter": transmitter,
        "receiver": receiver.lower(),
        "mission": fields.mission_of(receiver),
        "source_id": stamp,
        "processing_center": str(dataset.attrs.get("center", "UCAR/CDAAC")).strip(),
    }


def bending_record(dataset: xr.Dataset) -> record.BendingRecord:
    """Bending angles of atmPrf.

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
    absent = [name for name in BENDING_ATTRIBUTES if name not in dataset.attrs]
    if absent:
        raise BadInputError("not_bending_profile", f"the UCAR atmPrf file lacks the attributes {', '.join(absent)}")
    scalars = {name: float(dataset.attrs[name]) for name in BENDING_ATTRIBUTES}
    radius, undulation = scalars["rfict"] * 1e3, scalars["rgeoid"] * 1e3
    impact = _impact(dataset, radius + undulation)
    transmitter = _transmitter(dataset)
    start = float(dataset.attrs.get("start_time", np.nan))
    start = start if np.isfinite(start) else _start(dataset)
    return record.BendingRecord(
        impact_parameter=impact,
        bending_angle=_numbers(dataset, "Bend_ang"),
        bending_angle_l1=_optional(dataset, "Bend_ang1", impact),
        bending_angle_l2=_optional(dataset, "Bend_ang2", impact),
        bending_angle_optimized=_optional(dataset, "Opt_bend_ang", impact),
        latitude=_optional(dataset, "Lat", impact),
        longitude=_optional(dataset, "Lon", impact),
        attributes=_identity(dataset, transmitter)
        | {
            "start": start,
            # 1 setting, -1 rising, as CDAAC writes it.
            "setting": int(float(dataset.attrs.get("irs", 1)) > 0),
            "reference_time": start + float(dataset.attrs.get("occpt_offset", 0.0)),
            "reference_latitude": scalars["lat"],
            "reference_longitude": scalars["lon"],
            "azimuth": scalars["azim"] % 360.0,
            "radius_of_curvature": radius,
            "undulation": undulation,
            # `curv` is in inertial axes of date and would need the moment it was frozen at.
            "center_of_curvature": np.full(3, np.nan),
            "carrier_frequency": _frequencies(dataset, transmitter[:1]),
            "reported_bad": int(str(dataset.attrs.get("bad", 0)).strip() not in ("0", "0.0", "")),
        },
    )


def _impact(dataset: xr.Dataset, surface: float) -> FloatArray:
    """Impact parameters [m]."""
    if "Impact_parm" in dataset.variables:
        return _numbers(dataset, "Impact_parm") * 1e3
    if "Impact_height" in dataset.variables:
        return _numbers(dataset, "Impact_height") * 1e3 + surface
    raise BadInputError("not_bending_profile", "the UCAR atmPrf file lacks Impact_parm and Impact_height")


def _optional(dataset: xr.Dataset, name: str, impact: FloatArray) -> FloatArray:
    return _numbers(dataset, name) if name in dataset.variables else np.full(impact.size, np.nan)
