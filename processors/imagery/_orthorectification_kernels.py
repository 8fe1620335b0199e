# mypy: disallow-untyped-decorators=False
"""Compiled loops of orthorectification.

Legend: I image (band, row, column), NaN where unknown; a and b fractional row and column of a sample; w weights of the
cubic convolution of Keys (1981) with parameter -1/2.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def _keys(t: float) -> float:
    t = abs(t)
    if t < 1.0:
        return (1.5 * t - 2.5) * t * t + 1.0
    if t < 2.0:
        return ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return 0.0


@njit(cache=True, nogil=True)
def bilinear(I: Image, row: Floats, column: Floats, result: Image) -> None:  # noqa: E741 (the image)
    """Sample all bands bilinearly; NaN outside the image (beyond half a pixel) and beside unknown pixels.

    Parameters
    ----------
    I : array
        Image (band, row, column).
    row, column : array
        Positions (point).
    result : array
        Samples (band, point), filled in place.
    """
    bands, rows, columns = I.shape
    for k in range(row.size):
        a, b = row[k], column[k]
        if not (-0.5 <= a <= rows - 0.5 and -0.5 <= b <= columns - 0.5):
            for band in range(bands):
                result[band, k] = np.nan
            continue
        a, b = min(max(a, 0.0), rows - 1.0), min(max(b, 0.0), columns - 1.0)
        r, c = min(int(a), max(rows - 2, 0)), min(int(b), max(columns - 2, 0))
        r1, c1 = min(r + 1, rows - 1), min(c + 1, columns - 1)
        p, q = a - r, b - c
        for band in range(bands):
            total = 0.0
            if (1.0 - p) * (1.0 - q) > 0.0:
                total += (1.0 - p) * (1.0 - q) * I[band, r, c]
            if (1.0 - p) * q > 0.0:
                total += (1.0 - p) * q * I[band, r, c1]
            if p * (1.0 - q) > 0.0:
                total += p * (1.0 - q) * I[band, r1, c]
            if p * q > 0.0:
                total += p * q * I[band, r1, c1]
            result[band, k] = total


@njit(cache=True, nogil=True)
def cubic(I: Image, row: Floats, column: Floats, result: Image) -> None:  # noqa: E741 (the image)
    """Sample all bands by cubic convolution, its outermost pixels repeated; NaN as for `bilinear`.

    Parameters
    ----------
    I : array
        Image (band, row, column).
    row, column : array
        Positions (point).
    result : array
        Samples (band, point), filled in place.
    """
    bands, rows, columns = I.shape
    w, v = np.empty(4), np.empty(4)
    for k in range(row.size):
        a, b = row[k], column[k]
        if not (-0.5 <= a <= rows - 0.5 and -0.5 <= b <= columns - 0.5):
            for band in range(bands):
                result[band, k] = np.nan
            continue
        a, b = min(max(a, 0.0), rows - 1.0), min(max(b, 0.0), columns - 1.0)
        r, c = int(a), int(b)
        for i in range(4):
            w[i], v[i] = _keys(a - (r + i - 1)), _keys(b - (c + i - 1))
        for band in range(bands):
            total = 0.0
            for i in range(4):
                if w[i] == 0.0:
                    continue
                at = min(max(r + i - 1, 0), rows - 1)
                for j in range(4):
                    if v[j] != 0.0:
                        total += w[i] * v[j] * I[band, at, min(max(c + j - 1, 0), columns - 1)]
            result[band, k] = total
