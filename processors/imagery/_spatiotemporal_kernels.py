"""Kernels of the spatio-temporal fusion: soft spectral classes, and sums of features the same in any block.

Legend: n pixels, f features, m classes, k combinations; x features, c class centers (m, f), h width of a class.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Image = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def memberships(x: Image, c: Image, h: float) -> Image:
    """Memberships of every pixel in every class: exp(-d2 / 2 h2), scaled to the sum of one.

    Parameters
    ----------
    x : array
        Standardized features (n, f) [1]; a pixel with a NaN gets NaN.
    c : array
        Class centers (m, f) [1].
    h : float
        Width of a class in feature space [1].

    Returns
    -------
    array
        Memberships (n, m) [1].
    """
    n, f = x.shape
    m = c.shape[0]
    out = np.empty((n, m), np.float32)
    distance = np.empty(m)
    scale = -0.5 / (h * h)
    for i in range(n):
        least = np.inf
        for j in range(m):
            d = 0.0
            for k in range(f):
                e = x[i, k] - c[j, k]
                d += e * e
            distance[j] = d
            least = min(least, d)
        total = 0.0
        for j in range(m):
            distance[j] = math.exp(scale * (distance[j] - least))
            total += distance[j]
        for j in range(m):
            out[i, j] = distance[j] / total
    return out


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def combinations(x: Image, w: Image) -> Image:
    """Weighted sums of features, added in their order so that a pixel does not depend on its neighbors.

    Parameters
    ----------
    x : array
        Features (f, n) [1].
    w : array
        Weights (k, f) [1].

    Returns
    -------
    array
        Sums (k, n).
    """
    f, n = x.shape
    k = w.shape[0]
    out = np.zeros((k, n), np.float32)
    for start in range(0, n, 1024):
        stop = min(start + 1024, n)
        for j in range(k):
            for m in range(f):
                weight = w[j, m]
                if weight != 0.0:
                    for i in range(start, stop):
                        out[j, i] += weight * x[m, i]
    return out
