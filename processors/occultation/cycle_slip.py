"""Cycle slips: jumps of the phase by whole or half cycles between two samples, found and taken back.

Before and after every sample a parabola is laid through ten samples of phase; what they differ by in between is the
jump. A slip stands far above the local noise of such jumps, is a whole number of half cycles, leaves a smooth phase
once taken back and is not seen on the other signal (a jump of a clock is). Only a strong signal above the multipath of
the troposphere is looked at: lower down a phase may jump by itself, and whole cycles do not matter to wave optics.
"""

from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import BoolArray, FloatArray

HALF = 10
"""Samples on either side of a jump [1]."""
LOWEST = 10.0e3
"""Straight-line height down to which slips are looked for [m]: the ray is 3 to 4 km higher."""
LEAST_SNR = 50.0
"""Signal-to-noise ratio in volts from which a phase is trusted [1]."""
FADED = 0.4
"""Part of the median strength under which the signal fades, and phases wind by themselves [1]."""
LEAST_JUMP = 0.35
"""Smallest jump that is looked at [cycles]."""
STANDS_OUT = 8.0
"""How far a slip stands above the noise of jumps [1 sigma]."""
WHOLE = 0.12
"""Largest distance from a whole number of half cycles [cycles]."""
COMMON = 0.03
"""Difference up to which jumps of both signals are one jump of a clock [m]."""
BLOCK = 500
"""Samples over which the noise is estimated [1]."""
MOST = 40
"""More slips than this are no slips but something else, and stay [1]."""


class RepairedPhase(NamedTuple):
    """Phases without slips.

    Attributes
    ----------
    excess_phase : FloatArray
        Excess phase [m], shape (2, n).
    slips : int
        Slips taken back.
    times : FloatArray
        Times of the first samples after them [s], shape (slips,).
    """

    excess_phase: FloatArray
    slips: int
    times: FloatArray


def repair(
    excess_phase: FloatArray,
    *,
    time: FloatArray,
    snr: FloatArray,
    carrier_frequency: FloatArray,
    straight_line_height: FloatArray,
) -> RepairedPhase:
    """Take back slips of whole and half cycles.

    Parameters
    ----------
    excess_phase : FloatArray
        Excess phase of both signals [m], shape (2, n).
    time : FloatArray
        Times [s], shape (n,), increasing.
    snr : FloatArray
        Signal-to-noise ratio in volts [1], shape (2, n).
    carrier_frequency : FloatArray
        Frequencies [Hz], shape (2,).
    straight_line_height : FloatArray
        Heights of the straight line [m], shape (n,).

    Returns
    -------
    RepairedPhase
        Phases in which every slip, and all that follows it in time, is taken back.
    """
    repaired = excess_phase.copy()
    wavelength = constants.SPEED_OF_LIGHT / carrier_frequency
    times: list[float] = []
    for signal in range(excess_phase.shape[0]):
        usable = _usable(snr[signal], straight_line_height)
        found = _slips(repaired[signal] / wavelength[signal], time=time, usable=usable)
        other = excess_phase[1 - signal]
        for index, cycles in found:
            if _common(other, index=index, jump=cycles * wavelength[signal]):
                continue
            repaired[signal, index:] -= cycles * wavelength[signal]
            times.append(float(time[index]))
    return RepairedPhase(repaired, len(times), np.array(sorted(times)))


def _usable(snr: FloatArray, height: FloatArray) -> BoolArray:
    """Samples high and strong enough to judge; strength that is not known counts as enough."""
    high = height > LOWEST
    known = np.isfinite(snr)
    if not (known & high).any():
        return high
    median = float(np.median(snr[known & high]))
    strong = ~known | ((snr > LEAST_SNR) & (snr > FADED * median))
    return np.asarray(high & strong)


def _weights() -> FloatArray:
    """Weights of samples half a step, one and a half steps ... from the jump: a parabola carried to the jump."""
    away = np.arange(HALF) + 0.5
    design = np.vander(away, 3, increasing=True)
    return np.asarray(np.linalg.pinv(design)[0])


def _jumps(cycles: FloatArray) -> FloatArray:
    """Jump before every sample [cycles]; NaN near the ends and beside missing samples."""
    jump: FloatArray = np.full(cycles.size, np.nan)
    if cycles.size <= 2 * HALF:
        return jump
    weights = _weights()
    kernel = np.concatenate([-weights[::-1], weights])
    windows = np.lib.stride_tricks.sliding_window_view(cycles, 2 * HALF)
    jump[HALF : HALF + windows.shape[0]] = windows @ kernel
    return jump


def _slips(cycles: FloatArray, *, time: FloatArray, usable: BoolArray) -> list[tuple[int, float]]:
    """Indices and sizes [cycles] of slips, the largest first taken back in a copy."""
    cycles = cycles.copy()
    jump = _jumps(cycles)
    regular = _regular(time) & _whole_window(usable)
    limit = np.maximum(LEAST_JUMP, STANDS_OUT * _noise(np.where(regular, jump, np.nan)))
    candidates = np.flatnonzero(regular & (np.abs(np.nan_to_num(jump)) > limit))
    slips: list[tuple[int, float]] = []
    for index in candidates[np.argsort(-np.abs(jump[candidates]))]:
        size = float(_jumps(cycles[index - HALF : index + HALF + 1])[HALF])
        whole = round(2.0 * size) / 2.0
        if abs(size) < limit[index] or abs(size - whole) > WHOLE:
            continue
        mended = cycles[index - HALF : index + HALF].copy()
        mended[HALF:] -= whole
        if not _smooth(mended, noise=limit[index] / STANDS_OUT):
            continue
        cycles[index:] -= whole
        slips.append((int(index), whole))
    return sorted(slips) if len(slips) <= MOST else []


def _regular(time: FloatArray) -> BoolArray:
    """Whether the samples about each jump are evenly spaced."""
    steps = np.diff(time)
    even = np.abs(steps / np.median(steps) - 1.0) < 0.2
    return _whole_window(np.concatenate([even, [True]]) & np.concatenate([[True], even]))


def _whole_window(good: BoolArray) -> BoolArray:
    """Whether all samples on either side of each jump are good."""
    whole = np.zeros(good.size, dtype=bool)
    if good.size > 2 * HALF:
        counts = np.lib.stride_tricks.sliding_window_view(good, 2 * HALF).all(axis=1)
        whole[HALF : HALF + counts.size] = counts
    return whole


def _noise(jump: FloatArray) -> FloatArray:
    """Local noise of the jumps [cycles]: median absolute deviation in blocks."""
    noise = np.full(jump.size, np.inf)
    for start in range(0, jump.size, BLOCK):
        block = jump[start : start + BLOCK]
        known = np.abs(block[np.isfinite(block)])
        if known.size:
            noise[start : start + BLOCK] = 1.4826 * np.median(known)
    return noise


def _smooth(cycles: FloatArray, *, noise: float) -> bool:
    """Whether one parabola runs through a window of phase [cycles]: a stray sample does not become a slip."""
    scaled = np.linspace(-1.0, 1.0, cycles.size)
    fit = np.polynomial.polynomial.polyfit(scaled, cycles, 3)
    largest = float(np.abs(cycles - np.polynomial.polynomial.polyval(scaled, fit)).max())
    return largest < max(0.15, 5.0 * noise)


def _common(other: FloatArray, *, index: int, jump: float) -> bool:
    """Whether the other signal makes the same jump [m]."""
    window = other[max(index - HALF, 0) : index + HALF + 1]
    if window.size < 2 * HALF + 1 or not np.isfinite(window).all():
        return False
    return abs(float(_jumps(window)[HALF]) - jump) < COMMON
