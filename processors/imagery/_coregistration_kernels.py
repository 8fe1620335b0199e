"""Compiled loop of the correction.

Legend: s source part, r0 c0 its first row and column, m displacement matrix (2, 3), o output part, R0 C0 its first row
and column, u v position in the source [pixel], w cubic weights.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Image = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def cubic_weights(t: float, w: Floats) -> None:
    """Cubic convolution with a = -1/2 at a distance behind the second of four samples.

    Parameters
    ----------
    t : float
        Distance [pixel].
    w : array
        Weights (4) [1], overwritten.
    """
    w[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    w[1] = (1.5 * t - 2.5) * t * t + 1.0
    w[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    w[3] = (0.5 * t - 0.5) * t * t


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def resample(s: Image, r0: int, c0: int, m: Floats, o: Image, R0: int, C0: int) -> None:
    """Fill o with s at displaced positions: cubic where all samples hold data, else bilinear over those that do.

    A pixel whose nearest sample is missing stays missing: data neither shrink nor spread by more than half a pixel.
    """
    rows, columns = s.shape
    wx = np.empty(4)
    wy = np.empty(4)
    for i in range(o.shape[0]):
        y = R0 + i + 0.5
        for j in range(o.shape[1]):
            x = C0 + j + 0.5
            u = x + m[0, 0] * x + m[0, 1] * y + m[0, 2] - 0.5
            v = y + m[1, 0] * x + m[1, 1] * y + m[1, 2] - 0.5
            p = int(np.floor(u))
            q = int(np.floor(v))
            cubic_weights(u - p, wx)
            cubic_weights(v - q, wy)
            p -= c0 + 1
            q -= r0 + 1
            total = 0.0
            inside = p >= 0 and q >= 0 and p + 3 < columns and q + 3 < rows
            if inside:
                for k in range(4):
                    line = 0.0
                    for n in range(4):
                        line += wx[n] * s[q + k, p + n]
                    total += wy[k] * line
            if inside and np.isfinite(total):
                o[i, j] = total
            else:
                o[i, j] = bilinear(s, q + 1, p + 1, v - np.floor(v), u - np.floor(u))


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def bilinear(s: Image, q: int, p: int, fy: float, fx: float) -> float:
    """Mean of the four samples weighed by nearness, over those that hold data; NaN where the nearest does not.

    Parameters
    ----------
    s : array
        Source part (y, x).
    q, p : int
        Row and column of the first of the samples in it.
    fy, fx : float
        Distance behind that sample [pixel].

    Returns
    -------
    float
        Mean.
    """
    rows, columns = s.shape
    nq = q + (1 if fy >= 0.5 else 0)
    np_ = p + (1 if fx >= 0.5 else 0)
    if nq < 0 or np_ < 0 or nq >= rows or np_ >= columns or not np.isfinite(s[nq, np_]):
        return np.nan
    total = 0.0
    weight = 0.0
    for k in range(2):
        for n in range(2):
            if 0 <= q + k < rows and 0 <= p + n < columns and np.isfinite(s[q + k, p + n]):
                w = (fy if k else 1.0 - fy) * (fx if n else 1.0 - fx)
                total += w * s[q + k, p + n]
                weight += w
    return total / weight
