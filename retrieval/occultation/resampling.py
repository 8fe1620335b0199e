"""From samples in time to levels in impact parameter."""

from typing import NamedTuple

import numpy as np
from scipy.signal import savgol_filter

from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import _kernels

MINIMUM_SAMPLES = 5
EVEN_SAMPLES = 51
TIME_RESOLUTION = 2.5e-7


class Resampled(NamedTuple):
    """A quantity on levels.

    Attributes
    ----------
    value : FloatArray
        Value on the levels [1], NaN where no samples are near.
    scatter : FloatArray
        Weighted standard deviation of the samples about the local line [1].
    """

    value: FloatArray
    scatter: FloatArray


def onto_levels(samples: FloatArray, *, at: FloatArray, levels: FloatArray, half_width: float) -> Resampled:
    """Local straight line with a parabolic (Epanechnikov) weight through the samples near each level.

    Parameters
    ----------
    samples : FloatArray
        Values [1], shape (n,); NaN is left out.
    at : FloatArray
        Impact parameters of the samples [m], in any order.
    levels : FloatArray
        Impact parameters of the levels [m], increasing, shape (m,).
    half_width : float
        Half width of the window [m]; doubled up to three times where the samples are too few.

    Returns
    -------
    Resampled
        Value and scatter on the levels.
    """
    usable = np.flatnonzero(np.isfinite(samples) & np.isfinite(at))
    order = usable[np.argsort(at[usable], kind="stable")]
    return Resampled(*_kernels.local_line(at[order], samples[order], levels, half_width, MINIMUM_SAMPLES))


def inside_gaps(at: FloatArray, *, gaps: FloatArray) -> BoolArray:
    """Which positions lie strictly within a gap.

    Parameters
    ----------
    at : FloatArray
        Impact parameters [m], shape (n,).
    gaps : FloatArray
        Lower and upper ends of the gaps [m], shape (k, 2).

    Returns
    -------
    BoolArray
        Mask of shape (n,).
    """
    return np.asarray(((at > gaps[:, :1]) & (at < gaps[:, 1:])).any(axis=0))


def outside_gaps(resampled: Resampled, *, levels: FloatArray, gaps: FloatArray) -> Resampled:
    """The same without the levels that only samples from beyond the edges of a gap could fill.

    Parameters
    ----------
    resampled : Resampled
        A quantity on levels.
    levels : FloatArray
        Impact parameters of the levels [m], shape (m,).
    gaps : FloatArray
        Lower and upper ends of the gaps [m], shape (k, 2).

    Returns
    -------
    Resampled
        NaN within the gaps.
    """
    hidden = inside_gaps(levels, gaps=gaps)
    return Resampled(np.where(hidden, np.nan, resampled.value), np.where(hidden, np.nan, resampled.scatter))


def even_time(time: FloatArray) -> FloatArray:
    """Times since the first sample, freed of the rounding of seconds that count from 1980.

    Such a second is held to 1.2e-7 s, in which the path between the satellites grows by 0.7 mm: twice the noise of a
    good receiver.

    Parameters
    ----------
    time : FloatArray
        Times [s], increasing, shape (n,).

    Returns
    -------
    FloatArray
        Times since the first [s]; as they were where they keep no even pace within the rounding.
    """
    since = time - time[0]
    if since.size < EVEN_SAMPLES:
        return np.asarray(since)
    step = float(np.median(np.diff(since)))
    pace = np.round(since / step) * step
    even = pace + savgol_filter(since - pace, EVEN_SAMPLES, 1)
    return np.asarray(np.where(np.abs(even - since) < TIME_RESOLUTION, even, since))
