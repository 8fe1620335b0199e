"""Quality flags of a profile, each with its published threshold."""

from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray, IntArray


class QualityFlag(IntFlag):
    """What is doubtful about a profile; 0 is nothing."""

    GOOD = 0
    HIGH_NOISE = 1
    BENDING_BIAS = 2
    LOW_TOP = 4
    SHALLOW = 8
    SECOND_SIGNAL_LOST_HIGH = 16
    NO_SECOND_SIGNAL = 32
    BACKGROUND_UNFITTED = 64
    TEMPERATURE_IMPLAUSIBLE = 128
    SUPER_REFRACTION = 256
    DATA_GAPS = 512
    REFRACTIVITY_IMPLAUSIBLE = 1024
    SIGNAL_STRENGTH_MISSING = 2048
    GEOMETRIC_OPTICS_ONLY = 4096
    FRAME_CONVERTED = 8192
    TIME_TAGS_REPAIRED = 16384
    CYCLE_SLIPS_REPAIRED = 32768
    SIGNALS_SWAPPED = 65536
    UNITS_CONVERTED = 131072
    SECOND_SIGNAL_NOISY = 262144
    GROSS_ERRORS = 524288
    CARRIERS_CLOSE = 1048576


FLAGS = tuple(flag for flag in QualityFlag if flag)
FINDINGS = {
    "frame_converted": QualityFlag.FRAME_CONVERTED,
    "time_tags_dropped": QualityFlag.TIME_TAGS_REPAIRED,
    "time_sorted": QualityFlag.TIME_TAGS_REPAIRED,
    "cycle_slips_repaired": QualityFlag.CYCLE_SLIPS_REPAIRED,
    "signals_swapped": QualityFlag.SIGNALS_SWAPPED,
    "units_converted": QualityFlag.UNITS_CONVERTED,
}
"""Flags of what was found, and put right, while the input was read."""


class BendingFlag(IntFlag):
    """What is special about one level of the bending angle."""

    NOT_OBSERVED = 1
    IONOSPHERE_EXTRAPOLATED = 2
    GAP_BRIDGED = 4
    BACKGROUND_MERGED = 8


class RefractivityFlag(IntFlag):
    """What is doubtful about one level of the refractivity."""

    SUPER_REFRACTION_ABOVE = 1


@dataclass(frozen=True)
class QualityThresholds:
    """Limits beyond which a flag is raised.

    Attributes
    ----------
    noise : float
        Standard deviation of observed minus background bending at 60 to 80 km [rad].
    bias : float
        Mean of the same [rad].
    top : float
        Impact height the observation must reach from below without a wide gap [m].
    bottom : float
        Altitude the profile must reach downward [m].
    second_signal : float
        Impact height down to which the second signal must be there [m].
    coldest, warmest : float
        Range of dry temperature between `temperature_bottom` and `temperature_top` [K].
    temperature_bottom, temperature_top : float
        Altitudes between which the dry temperature is judged [m].
    gaps : float
        Fraction of missing samples [1]; one level in a gap raises the flag too.
    largest_refractivity : float
        Refractivity no atmosphere exceeds [1e-6].
    second_scatter : float
        Scatter of the second signal's phase from sample to sample [rad].
    gross_errors : int
        Levels left out of the merge because they are too far from the background [1].
    gain : float
        Factor that the difference of the signals is amplified by [1]: 1.5 for GPS L1 and L2, 54 for BeiDou B1C and B1I.
    """

    noise: float = 1e-5
    bias: float = 5e-6
    top: float = 60_000.0
    bottom: float = 6_000.0
    second_signal: float = 20_000.0
    coldest: float = 150.0
    warmest: float = 330.0
    temperature_bottom: float = 8_000.0
    temperature_top: float = 40_000.0
    gaps: float = 0.02
    largest_refractivity: float = 500.0
    second_scatter: float = 1.0
    gross_errors: int = 10
    gain: float = 10.0


class Evidence(NamedTuple):
    """What the flags are decided on.

    Attributes
    ----------
    noise, bias : float
        Standard deviation and mean of observed minus background bending at great height [rad].
    top : float
        Impact height the observation reaches from below without a wide gap [m].
    lowest_altitude : float
        Lowest retrieved altitude [m], NaN where nothing was retrieved.
    second_signal_bottom : float
        Lowest impact height of the second signal [m], NaN where it was never there.
    fitted_levels : int
        Levels the background was fitted on [1].
    missing : float
        Fraction of missing samples above the bottom [1].
    gapped : bool
        Whether levels are missing between observed ones or a gap ends the observation.
    strength_known : bool
        Whether the record holds signal strengths to find the loss of signal by.
    altitude : FloatArray
        Altitudes [m].
    refractivity : FloatArray
        Refractivity [1e-6].
    dry_temperature : FloatArray
        Dry temperature [K].
    super_refractive : bool
        Whether a layer traps rays.
    waves : bool
        Whether the sampling allowed wave optics.
    findings : frozenset
        Codes of what was put right while reading.
    second_scatter : float
        Scatter of the second signal's phase from sample to sample [rad].
    gross_errors : int
        Levels left out of the merge [1].
    gain : float
        Factor of the difference of the signals [1].
    """

    noise: float
    bias: float
    top: float
    lowest_altitude: float
    second_signal_bottom: float
    fitted_levels: int
    missing: float
    gapped: bool
    strength_known: bool
    altitude: FloatArray
    refractivity: FloatArray
    dry_temperature: FloatArray
    super_refractive: bool = False
    waves: bool = True
    findings: frozenset[str] = frozenset()
    second_scatter: float = 0.0
    gross_errors: int = 0
    gain: float = 0.0


def flags(evidence: Evidence, *, thresholds: QualityThresholds) -> QualityFlag:
    """Judge a profile.

    Parameters
    ----------
    evidence : Evidence
        What was found.
    thresholds : QualityThresholds
        Limits.

    Returns
    -------
    QualityFlag
        Sum of the flags raised. A quantity that is NaN counts as beyond its limit.
    """
    raised = {
        QualityFlag.HIGH_NOISE: not evidence.noise <= thresholds.noise,
        QualityFlag.BENDING_BIAS: not abs(evidence.bias) <= thresholds.bias,
        QualityFlag.LOW_TOP: not evidence.top >= thresholds.top,
        QualityFlag.SHALLOW: not evidence.lowest_altitude <= thresholds.bottom,
        QualityFlag.SECOND_SIGNAL_LOST_HIGH: evidence.second_signal_bottom > thresholds.second_signal,
        QualityFlag.NO_SECOND_SIGNAL: np.isnan(evidence.second_signal_bottom),
        QualityFlag.BACKGROUND_UNFITTED: evidence.fitted_levels == 0,
        QualityFlag.TEMPERATURE_IMPLAUSIBLE: _temperature_implausible(evidence, thresholds),
        QualityFlag.SUPER_REFRACTION: evidence.super_refractive,
        QualityFlag.GEOMETRIC_OPTICS_ONLY: not evidence.waves,
        QualityFlag.DATA_GAPS: evidence.gapped or not evidence.missing <= thresholds.gaps,
        QualityFlag.SIGNAL_STRENGTH_MISSING: not evidence.strength_known,
        QualityFlag.REFRACTIVITY_IMPLAUSIBLE: _refractivity_implausible(evidence, thresholds),
        QualityFlag.SECOND_SIGNAL_NOISY: evidence.second_scatter > thresholds.second_scatter,
        QualityFlag.GROSS_ERRORS: evidence.gross_errors > thresholds.gross_errors,
        QualityFlag.CARRIERS_CLOSE: abs(evidence.gain) > thresholds.gain,
    }
    found = QualityFlag(sum(int(flag) for flag, is_raised in raised.items() if is_raised))
    for finding in evidence.findings & FINDINGS.keys():
        found |= FINDINGS[finding]
    return found


def _temperature_implausible(evidence: Evidence, thresholds: QualityThresholds) -> bool:
    """Whether a dry temperature leaves its range where water vapour hardly matters."""
    inside = (evidence.altitude >= thresholds.temperature_bottom) & (evidence.altitude <= thresholds.temperature_top)
    judged = evidence.dry_temperature[inside]
    return not bool(((judged >= thresholds.coldest) & (judged <= thresholds.warmest)).all())


def _refractivity_implausible(evidence: Evidence, thresholds: QualityThresholds) -> bool:
    """Whether a refractivity is negative or larger than any atmosphere's, or so steep that the levels fold."""
    judged = evidence.refractivity
    plausible = (judged > 0.0) & (judged < thresholds.largest_refractivity)
    return not bool(plausible.all() and (np.diff(evidence.altitude) > 0.0).all())


def bending_flags(present: BoolArray, *, extrapolated: BoolArray, bridged: BoolArray, merged: BoolArray) -> IntArray:
    """Flags of the levels of the bending angle.

    Parameters
    ----------
    present : BoolArray
        Levels that were observed, shape (m,).
    extrapolated : BoolArray
        Levels whose ionospheric difference was carried on from above.
    bridged : BoolArray
        Levels in bridged gaps.
    merged : BoolArray
        Levels at which the background takes part.

    Returns
    -------
    IntArray
        Sum of `BendingFlag` by level.
    """
    parts = (
        (BendingFlag.NOT_OBSERVED, ~present),
        (BendingFlag.IONOSPHERE_EXTRAPOLATED, extrapolated & present),
        (BendingFlag.GAP_BRIDGED, bridged),
        (BendingFlag.BACKGROUND_MERGED, merged),
    )
    return np.asarray(sum(int(flag) * mask.astype(np.int64) for flag, mask in parts))
