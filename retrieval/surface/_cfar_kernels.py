"""Mean of the water around every pixel, from summed areas."""

import numba
import numpy as np
import numpy.typing as npt


@numba.njit(cache=True, nogil=True)
def _summed(table: npt.NDArray[np.float64], row: int, column: int, half: int) -> float:
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    top, bottom = max(row - half, 0), min(row + half + 1, rows)
    left, right = max(column - half, 0), min(column + half + 1, columns)
    total: float = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return total


@numba.njit(cache=True, nogil=True)
def ring_mean(
    power: npt.NDArray[np.float32],
    background: npt.NDArray[np.bool_],
    wanted: npt.NDArray[np.bool_],
    guard: int,
    halves: npt.NDArray[np.int64],
    least: int,
) -> npt.NDArray[np.float32]:
    """Mean of the background in a ring around every wanted pixel.

    Parameters
    ----------
    power : numpy.ndarray
        Backscatter in linear units (y, x).
    background : numpy.ndarray
        Pixels that count (y, x).
    wanted : numpy.ndarray
        Pixels asked about (y, x).
    guard : int
        Half the edge of the inner window that does not count [pixel].
    halves : numpy.ndarray
        Half the edges of the outer windows that are tried in order [pixel].
    least : int
        Fewest pixels of a ring [1].

    Returns
    -------
    numpy.ndarray
        Mean (y, x), NaN where no ring holds enough or the pixel was not asked about.
    """
    rows, columns = power.shape
    sums = np.zeros((rows + 1, columns + 1))
    counts = np.zeros((rows + 1, columns + 1))
    for row in range(rows):
        total, number = 0.0, 0.0
        for column in range(columns):
            if background[row, column]:
                total += power[row, column]
                number += 1.0
            sums[row + 1, column + 1] = sums[row, column + 1] + total
            counts[row + 1, column + 1] = counts[row, column + 1] + number
    out = np.full((rows, columns), np.nan, np.float32)
    for row in range(rows):
        for column in range(columns):
            if not wanted[row, column]:
                continue
            inner, few = _summed(sums, row, column, guard), _summed(counts, row, column, guard)
            for half in halves:
                number = _summed(counts, row, column, half) - few
                if number >= least:
                    out[row, column] = (_summed(sums, row, column, half) - inner) / number
                    break
    return out
