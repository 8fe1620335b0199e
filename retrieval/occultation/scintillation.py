"""Ionospheric products above the atmosphere: scintillation index and slant electron content."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d

from processors import constants
from processors.arrays import FloatArray


@dataclass(frozen=True)
class ScintillationParameters:
    """Layer and windows.

    Attributes
    ----------
    bottom : float
        Straight-line height above which nothing but the ionosphere moves the signal [m].
    window : float
        Length of the stretch of which an index is taken [s]; the largest is given.
    largest_strength : float
        Strength in units of the median beyond which a sample is no measurement [1].
    interval : float
        Spacing of the electron content [s].
    """

    bottom: float = 50_000.0
    window: float = 10.0
    largest_strength: float = 5.0
    interval: float = 1.0


class ElectronContent(NamedTuple):
    """Slant electron content by time.

    Attributes
    ----------
    time : FloatArray
        Times [s since 1980-01-06, GPS], shape (k,).
    height : FloatArray
        Straight-line heights [m].
    content : FloatArray
        Electrons along the line relative to the first value [m-2].
    """

    time: FloatArray
    height: FloatArray
    content: FloatArray


def amplitude_index(
    snr: FloatArray, *, heights: FloatArray, time: FloatArray, parameters: ScintillationParameters
) -> float:
    """Scintillation index S4, standard deviation of the intensity over its mean, freed of thermal noise.

    Parameters
    ----------
    snr : FloatArray
        Signal-to-noise ratio in volts [1], shape (n,), 1 Hz.
    heights : FloatArray
        Straight-line heights [m].
    time : FloatArray
        Times [s].
    parameters : ScintillationParameters
        Layer and window.

    Returns
    -------
    float
        Largest index of any window [1], NaN where the layer was not observed for one window. The share of thermal noise
        is 4 rate / snr^2 of the squared index, from the amplitude's variance rate / 1 Hz (Briggs and Parkin 1963 for
        the index).
    """
    high = np.flatnonzero((heights > parameters.bottom) & np.isfinite(snr) & (snr > 0.0))
    if high.size:
        high = high[snr[high] < parameters.largest_strength * float(np.median(snr[high]))]
    step = float(np.median(np.diff(time)))
    length = round(parameters.window / step)
    if high.size < length:
        return float("nan")
    intensity = snr[high] ** 2
    mean = uniform_filter1d(intensity, length)
    square = uniform_filter1d(intensity**2, length)
    inner = slice(length // 2, high.size - (length - 1) // 2)
    index = (square / mean**2 - 1.0)[inner] - 4.0 / step / mean[inner]
    return float(np.sqrt(max(float(index.max()), 0.0)))


def electron_content(
    excess_phase: FloatArray,
    *,
    frequency: FloatArray,
    heights: FloatArray,
    time: FloatArray,
    parameters: ScintillationParameters,
) -> ElectronContent:
    """Relative slant electron content above the atmosphere from the difference of the phases.

    Parameters
    ----------
    excess_phase : FloatArray
        Excess phase of both signals [m], shape (2, n).
    frequency : FloatArray
        Carrier frequencies [Hz], shape (2,).
    heights : FloatArray
        Straight-line heights [m].
    time : FloatArray
        Times [s since 1980-01-06, GPS].
    parameters : ScintillationParameters
        Layer and spacing.

    Returns
    -------
    ElectronContent
        Means of one interval each; the ambiguity of the phases leaves an unknown constant.
    """
    usable = np.flatnonzero((heights > parameters.bottom) & np.isfinite(excess_phase).all(axis=0))
    if usable.size == 0:
        return ElectronContent(*(np.zeros(0) for _ in range(3)))
    inverse = 1.0 / frequency**2
    content = (excess_phase[0] - excess_phase[1])[usable] / (
        constants.IONOSPHERIC_REFRACTION * (inverse[1] - inverse[0])
    )
    bins = ((time[usable] - time[usable[0]]) / parameters.interval).astype(np.int64)
    count = np.bincount(bins)
    filled = count > 0

    def averaged(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(bins, values)[filled] / count[filled])

    means = averaged(content)
    return ElectronContent(
        averaged(time[usable] - time[0]) + time[0], averaged(heights[usable]), np.asarray(means - means[0])
    )
