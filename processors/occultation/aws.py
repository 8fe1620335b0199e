"""Calibrated phases of the AWS Registry of Open Data, versions 1.1 (Data Description, table 1) and 2.0.

Positions are Earth-fixed, the transmitter at transmission; there are no velocities. Several signals may be there; two
are chosen. The model phases beside the excess phases steer open loops and are not used. Whether the transmitter's
positions are in the axes of the receive time (as the contract of level 1B has it) or of the transmission is not stated
by either version and does not show in the orbit; they are taken as in the axes of the receive time. If they are not,
the transmitter is some 150 m to the east of where it was.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from processors import constants
from processors.arrays import FloatArray
from processors.occultation import fields, frame_check, record, signals
from processors.quality import BadInputError

MISSING = (-999.0, -9999.0, -99999.0, -9.9999e7, -99999000.0)
UPPER_WORTH = 0.5
"""Part of the strongest signal's strength from which a signal of the upper band comes first [1]."""
VARIABLES_1 = ("startTime", "time", "carrierFrequency", "snr", "excessPhase", "positionLEO", "positionGNSS")
VARIABLES_2 = (
    "start_time",
    "time",
    "carrier_frequency",
    "snr",
    "excess_phase",
    "receiver_orbit",
    "transmitter_orbit",
)
NAMES = {"navBitsPresent": "nav_bits_present", "snrCode": "snr_observation_code", "phaseCode": "phase_observation_code"}


class Choice(NamedTuple):
    """Pair of signals that is used.

    Attributes
    ----------
    first, second : int
        Rows of the signals; -1 where there is no second one.
    """

    first: int
    second: int


def recognizes(dataset: xr.Dataset) -> bool:
    """Whether a dataset has one of these layouts.

    Parameters
    ----------
    dataset : xr.Dataset
        Opened file.

    Returns
    -------
    bool
        True for calibrated phases of version 1.1 or 2.0.
    """
    names = dataset.variables
    return ("positionLEO" in names and "startTime" in names) or ("receiver_orbit" in names and "start_time" in names)


def phase_record(dataset: xr.Dataset) -> record.PhaseRecord:
    """Phases of the two best signals, and orbits.

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
        `not_level1b` where a variable or the transmitter is missing, `no_data` where no signal has a phase.
    """
    old = "positionLEO" in dataset.variables
    names = VARIABLES_1 if old else VARIABLES_2
    fields.require_variables(dataset, names, layout=f"AWS v{'1.1' if old else '2.0'}", cause="not_level1b")
    start, time, frequency, snr, phase, receiver, transmitter = (
        fields.numbers(_ordered(dataset, name, old), name, missing=MISSING) for name in names
    )
    if old:
        snr, phase = snr.T, phase.T
    else:
        receiver, transmitter = receiver.T, transmitter.T
    system = _transmitter(dataset)[:1]
    choice = _chosen(phase, snr, frequency)
    first = float(start)
    return record.PhaseRecord(
        time=first + time,
        excess_phase=_pair(phase, choice),
        snr=_pair(snr, choice),
        carrier_frequency=_frequencies(frequency, choice, system),
        receiver=record.Orbit(receiver, None, frame_check.EARTH_FIXED),
        transmitter=record.Orbit(transmitter, None, frame_check.EARTH_FIXED),
        attributes=_identity(dataset, choice, old) | {"start": first},
        findings={} if choice.second >= 0 else {"no_second_signal": 1},
    )


def _transmitter(dataset: xr.Dataset) -> str:
    """RINEX 3 name of the transmitter."""
    name = str(dataset.attrs.get("occGnss", dataset.attrs.get("transmitter", ""))).strip().upper()
    if len(name) != 3 or name[0] not in signals.SYSTEMS or not name[1:].isdigit():
        raise BadInputError("not_level1b", f"the AWS file's transmitter {name!r} is no navigation satellite")
    return name


def _chosen(phase: FloatArray, snr: FloatArray, frequency: FloatArray) -> Choice:
    """The strongest signal, and the one with which the ionosphere-free combination is least noisy.

    The combination (f1^2 L1 - f2^2 L2) / (f1^2 - f2^2) has the noise of its terms; that of a phase in metres goes with
    the wavelength over the signal-to-noise ratio.
    """
    coverage = np.isfinite(phase).mean(axis=1)
    strength = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in snr])
    strength = np.where(np.isfinite(strength), strength, 0.0) * coverage
    usable = np.flatnonzero((coverage > 0.0) & np.isfinite(frequency))
    if usable.size == 0:
        raise BadInputError("no_data", "no signal of the AWS file has both a carrier frequency and excess phases")
    strongest = strength[usable].max()
    upper = usable[(frequency[usable] > signals.UPPER_BAND) & (strength[usable] >= UPPER_WORTH * strongest)]
    pool = upper if upper.size else usable
    first = int(pool[np.argmax(strength[pool])])
    partners = usable[np.abs(frequency[usable] - frequency[first]) > signals.TOLERANCE]
    if partners.size == 0:
        return Choice(first, -1)
    noise = [_combined_noise(frequency[[first, other]], strength[[first, other]]) for other in partners]
    return Choice(first, int(partners[np.argmin(noise)]))


def _combined_noise(frequency: FloatArray, strength: FloatArray) -> float:
    """Noise of the ionosphere-free combination, up to a factor common to all pairs."""
    square = frequency**2
    single = 1.0 / (frequency * np.maximum(strength, 1e-3))
    return float(np.hypot(*(square * single)) / abs(square[0] - square[1]))


def _pair(values: FloatArray, choice: Choice) -> FloatArray:
    second = values[choice.second] if choice.second >= 0 else np.full(values.shape[1], np.nan)
    return np.stack([values[choice.first], second])


def _frequencies(frequency: FloatArray, choice: Choice, system: str) -> FloatArray:
    first = float(frequency[choice.first])
    if choice.second >= 0:
        return np.array([first, frequency[choice.second]])
    known = signals.carrier_of(first, system) is not None
    return np.array([first, signals.usual_partner(first, system) if known else constants.GPS_L2])


def _identity(dataset: xr.Dataset, choice: Choice, old: bool) -> dict[str, object]:
    """Names of the satellites, the signals and the center."""
    attributes = dataset.attrs
    rows = [row for row in choice if row >= 0]
    receiver = str(attributes.get("leo", attributes.get("receiver", "unknown"))).strip()
    center = attributes.get("processing_center", attributes.get("institution", "unknown"))
    found: dict[str, object] = {
        "transmitter": _transmitter(dataset),
        "receiver": receiver.lower(),
        "mission": str(attributes.get("mission", "unknown")).strip(),
        "source_id": str(attributes.get("GranuleID", attributes.get("processing_center_path", ""))).strip(),
        "processing_center": str(center).strip(),
    }
    codes = "phaseCode" if old else NAMES["phaseCode"]
    if codes in dataset.variables:
        found["signal_codes"] = " ".join(fields.text(dataset[codes][row]) for row in rows)
    bits = "navBitsPresent" if old else NAMES["navBitsPresent"]
    if bits in dataset.variables:
        # Version 2.0 describes the same flag the other way round: non-zero where the bits were removed.
        flags = [float(dataset[bits][row]) for row in rows]
        present = ["unknown" if np.isnan(flag) or flag < 0.0 else str(int((flag != 0.0) == old)) for flag in flags]
        found["navigation_bits_present"] = " ".join(present)
    return found


def _ordered(dataset: xr.Dataset, name: str, old: bool) -> xr.Dataset:
    """A variable with its dimensions in the order of its version: time first in 1.1, last in 2.0."""
    alone = dataset[[name]]
    return (
        alone.transpose("time", ..., missing_dims="ignore")
        if old
        else alone.transpose(..., "time", missing_dims="ignore")
    )
