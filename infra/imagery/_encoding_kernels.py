"""Compiled passes between stored numbers and physical values.

Legend: n stored number, s scale, o offset, v = n s + o physical value, low and high the range of numbers that may be
stored, gap the number that stands for no data.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

NO_MEASUREMENT = 1e30
"""Values from here on are no measurements: infinities, and marks of no data that a file forgot to declare."""


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def decode(n: npt.NDArray[np.generic], s: float, o: float, gap: float, v: npt.NDArray[np.float32]) -> None:
    """Fill v with the values of the numbers n; NaN where a number is the gap, NaN or beyond all measurement.

    Parameters
    ----------
    n : array
        Stored numbers (y, x).
    s, o : float
        Scale and offset.
    gap : float
        Number of no data; NaN where none is declared.
    v : array
        Values (y, x), overwritten.
    """
    for i in range(n.shape[0]):
        for j in range(n.shape[1]):
            number = n[i, j]
            value = number * s + o
            # NaN is below nothing: it stays what it is.
            v[i, j] = np.float32(value) if number != gap and abs(value) < NO_MEASUREMENT else np.nan


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def encode(
    v: npt.NDArray[np.float32], s: float, o: float, low: float, high: float, gap: float, n: npt.NDArray[np.generic]
) -> int:
    """Fill the integers n with the nearest numbers of the values v and count those clipped to the range.

    Parameters
    ----------
    v : array
        Values (y, x).
    s, o : float
        Scale and offset.
    low, high : float
        Smallest and largest number that may be stored; the gap itself is stepped over.
    gap : float
        Number of no data, stored for NaN.
    n : array
        Numbers (y, x), overwritten.

    Returns
    -------
    int
        Values outside the range.
    """
    clipped = 0
    for i in range(v.shape[0]):
        for j in range(v.shape[1]):
            value = v[i, j]
            if np.isnan(value):
                n[i, j] = gap
                continue
            number = np.rint((value - o) / s)
            if number < low:
                number = low
                clipped += 1
            elif number > high:
                number = high
                clipped += 1
            if number == gap:
                number = gap + 1.0 if gap < high else gap - 1.0
            n[i, j] = number
    return clipped
