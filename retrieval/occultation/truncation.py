"""Where the usable record of each signal ends, and why."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray


class TruncationReason(IntEnum):
    """Why the profile ends where it does."""

    RECORD_END = 0
    SIGNAL_LOST = 1
    DATA_GAP = 2
    NOTHING_RETRIEVED = 3
    SURFACE_REACHED = 4
    SHADOW_BORDER = 5


@dataclass(frozen=True)
class TruncationParameters:
    """Thresholds of signal strength.

    Attributes
    ----------
    window : float
        Length of the running mean of the signal-to-noise ratio [s].
    first_fraction, second_fraction : float
        Fraction of the unobstructed signal-to-noise ratio below which the first and second signal are lost [1].
    unobstructed : float
        Straight-line height above which the signal counts as unobstructed [m].
    """

    window: float = 1.0
    first_fraction: float = 0.03
    second_fraction: float = 0.15
    unobstructed: float = 40_000.0


class UsableSamples(NamedTuple):
    """Samples above the loss of a signal.

    Attributes
    ----------
    usable : BoolArray
        Whether a sample may be used, shape (n,).
    lost : bool
        Whether the signal was lost before the record ended.
    """

    usable: BoolArray
    lost: bool


def above_loss(
    snr: FloatArray, *, heights: FloatArray, time: FloatArray, fraction: float, parameters: TruncationParameters
) -> UsableSamples:
    """Samples from the top of the record down to the first lasting loss of the signal.

    Parameters
    ----------
    snr : FloatArray
        Signal-to-noise ratio in volts [1], shape (n,); where it is missing altogether nothing is cut.
    heights : FloatArray
        Straight-line heights [m].
    time : FloatArray
        Times [s].
    fraction : float
        Threshold as a fraction of the unobstructed ratio [1].
    parameters : TruncationParameters
        Running mean and unobstructed height.

    Returns
    -------
    UsableSamples
        Mask in the order of the samples.
    """
    present = np.isfinite(snr)
    high = present & (heights > parameters.unobstructed)
    if not high.any():
        return UsableSamples(np.ones(snr.shape, dtype=bool), False)
    order = np.argsort(-heights, kind="stable")
    length = max(round(parameters.window / float(np.median(np.diff(time)))), 1)
    smoothed = _running_mean(_ended(snr[order]), length)
    weak = np.flatnonzero(
        (smoothed < fraction * float(np.median(snr[high]))) & (heights[order] < parameters.unobstructed)
    )
    usable = np.ones(snr.shape, dtype=bool)
    if weak.size == 0:
        return UsableSamples(usable, False)
    usable[order[weak[0] :]] = False
    return UsableSamples(usable, True)


def _ended(sinking: FloatArray) -> FloatArray:
    """Signal strengths from the top down, zero after the last that was recorded."""
    last = int(np.flatnonzero(np.isfinite(sinking))[-1])
    return np.where(np.arange(sinking.size) > last, 0.0, sinking)


def _running_mean(values: FloatArray, length: int) -> FloatArray:
    """Centred running mean of what is there; infinite where nothing is: a gap of the record is no loss of signal."""
    kernel, present = np.ones(length), np.isfinite(values)
    count = np.convolve(present.astype(np.float64), kernel, "same")
    total = np.convolve(np.where(present, values, 0.0), kernel, "same")
    return np.where(count > 0.5, total / np.maximum(count, 1.0), np.inf)
