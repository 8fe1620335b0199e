"""Compiled loop of the refined Lee filter.

Legend: z intensity (linear), w half width of the window, s squared coefficient of variation of the speckle, k weight of
the pixel against the mean of its half window.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_HALF = 3
_AHEAD = 2


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _block_mean(z: Singles, row: int, column: int) -> float:
    total, count = 0.0, 0
    for i in range(max(row - 1, 0), min(row + 2, z.shape[0])):
        for j in range(max(column - 1, 0), min(column + 2, z.shape[1])):
            if math.isfinite(z[i, j]):
                total += z[i, j]
                count += 1
    return total / count if count > 0 else math.nan


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _mean_at(blocks: Doubles, row: int, column: int) -> float:
    """Mean of the 3 x 3 pixels around a place up to two pixels beyond the image."""
    return float(blocks[row + _AHEAD, column + _AHEAD])


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _edge(blocks: Doubles, row: int, column: int) -> tuple[int, int]:
    """Step (down, right) across the strongest edge, towards the side that resembles the center; 0, 0 without one."""
    center = _mean_at(blocks, row, column)
    strongest, down, right = 0.0, 0, 0
    for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ahead = _mean_at(blocks, row + 2 * di, column + 2 * dj)
        behind = _mean_at(blocks, row - 2 * di, column - 2 * dj)
        if not (math.isfinite(ahead) and math.isfinite(behind)):
            continue
        contrast = abs(ahead - behind)
        if contrast > strongest:
            strongest = contrast
            side = 1 if abs(ahead - center) < abs(behind - center) else -1
            down, right = side * di, side * dj
    return down, right


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _half_window(z: Singles, row: int, column: int, down: int, right: int) -> tuple[float, float]:
    """Mean and variance of the 7 x 7 window on the near side of the edge."""
    total, square, count = 0.0, 0.0, 0
    for i in range(max(row - _HALF, 0), min(row + _HALF + 1, z.shape[0])):
        first, last = max(column - _HALF, 0), min(column + _HALF, z.shape[1] - 1)
        ahead = (i - row) * down
        if right > 0:
            first = max(first, column - ahead)
        elif right < 0:
            last = min(last, column + ahead)
        elif ahead < 0:
            continue
        for j in range(first, last + 1):
            if math.isfinite(z[i, j]):
                total += z[i, j]
                square += float(z[i, j]) * z[i, j]
                count += 1
    mean = total / count
    return mean, max(square / count - mean * mean, 0.0)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def refined_lee(z: Singles, looks: float, out: Singles) -> None:
    """Filter an image by the local statistics of the half window on the pixel's side of the nearest edge.

    Parameters
    ----------
    z : array
        Intensity (row, column), NaN where there is none.
    looks : float
        Equivalent number of looks [1].
    out : array
        Receives the filtered intensity; NaN where the input is.
    """
    s = 1.0 / looks
    blocks = np.empty((z.shape[0] + 2 * _AHEAD, z.shape[1] + 2 * _AHEAD))
    for row in range(-_AHEAD, z.shape[0] + _AHEAD):
        for column in range(-_AHEAD, z.shape[1] + _AHEAD):
            blocks[row + _AHEAD, column + _AHEAD] = _block_mean(z, row, column)
    for row in range(z.shape[0]):
        for column in range(z.shape[1]):
            if not math.isfinite(z[row, column]):
                out[row, column] = math.nan
                continue
            down, right = _edge(blocks, row, column)
            mean, variance = _half_window(z, row, column, down, right)
            signal = (variance - mean * mean * s) / (1.0 + s)
            k = min(max(signal / variance, 0.0), 1.0) if variance > 0.0 else 0.0
            out[row, column] = mean + k * (z[row, column] - mean)
