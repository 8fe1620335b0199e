"""Compiled loop of the burn severity: the sigma filter of Lee (1983)."""

import numba
import numpy as np
import numpy.typing as npt


@numba.njit(cache=True, nogil=True)
def sigma_filter(
    values: npt.NDArray[np.float32], half: int, width: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Mean of those neighbors that differ from a pixel by no more than a width, and how many they are.

    Parameters
    ----------
    values : numpy.ndarray
        Values (y, x), NaN without data.
    half : int
        Half the edge of the window [pixel].
    width : float
        Greatest difference that counts, in the unit of the values [1].

    Returns
    -------
    smooth : numpy.ndarray
        Mean (y, x), NaN without data.
    count : numpy.ndarray
        Pixels averaged (y, x).
    """
    rows, columns = values.shape
    smooth = np.full((rows, columns), np.nan, dtype=np.float32)
    count = np.zeros((rows, columns), dtype=np.int32)
    for i in range(rows):
        for j in range(columns):
            center = values[i, j]
            if np.isnan(center):
                continue
            total = 0.0
            number = 0
            for r in range(max(i - half, 0), min(i + half + 1, rows)):
                for c in range(max(j - half, 0), min(j + half + 1, columns)):
                    value = values[r, c]
                    if abs(value - center) <= width:
                        total += value
                        number += 1
            smooth[i, j] = total / number
            count[i, j] = number
    return smooth, count
