"""Sums over the pixels of a zone, for figures whose arrays would not fit into memory twice.

w weight (area in the zone), s one standard deviation of the indicator of a class. A pixel of class c with probability p
belongs to c with p and to each of the other classes with q = (1 - p) / others.
"""

import numba
import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def class_sums(
    values: npt.NDArray[np.uint8],
    probability: Doubles,
    weight: Doubles,
    position: npt.NDArray[np.int64],
    others: float,
    sums: Doubles,
) -> None:
    """Add one block to the sums of a class layer.

    `position` maps a value of 0 to 255 to the row of its class, -1 where it is none. `sums` (class + 1, 5) holds per
    class: weight, sum w s and sum (w s)^2 of its own pixels, and the same two as if they were of another class; the
    last row holds the weight known.
    """
    last = sums.shape[0] - 1
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            w = weight[row, column]
            c = position[values[row, column]]
            if w == 0.0 or c < 0:
                continue
            p = probability[row, column]
            own = w * np.sqrt(max(p * (1.0 - p), 0.0))
            q = (1.0 - p) / others
            other = w * np.sqrt(max(q * (1.0 - q), 0.0))
            sums[c, 0] += w
            sums[c, 1] += own
            sums[c, 2] += own * own
            sums[c, 3] += other
            sums[c, 4] += other * other
            sums[last, 0] += w


@numba.njit(cache=True, nogil=True)
def value_sums(values: Doubles, sigma: Doubles, weight: Doubles, sums: Doubles) -> None:
    """Add one block to the sums of a value layer: w, w v, w v^2, w s, (w s)^2, over finite values."""
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            w = weight[row, column]
            v = values[row, column]
            if w == 0.0 or not np.isfinite(v):
                continue
            s = w * sigma[row, column]
            sums[0] += w
            sums[1] += w * v
            sums[2] += w * v * v
            sums[3] += s
            sums[4] += s * s
