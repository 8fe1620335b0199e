"""Compiled loops of the occultation retrieval.

Legend: x impact parameter (or refractional radius) n r [m], a impact parameter of the level looked at [m], q = sqrt(x2
- a2) [m], y bending angle [rad], h half width of the window [m], w weights [1].
"""

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True)
def abel_weights(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Matrix W of the integral of y(x)/sqrt(x2-a2) over the table, y piecewise linear: integral = W y."""
    m = x.size
    W = np.zeros((m, m))
    for i in range(m):
        a = x[i]
        q0 = 0.0
        for j in range(i, m - 1):
            dx = x[j + 1] - x[j]
            q1 = np.sqrt((x[j + 1] - a) * (x[j + 1] + a))
            L = np.log1p((dx + q1 - q0) / (x[j] + q0))
            upper = (q1 - q0 - x[j] * L) / dx
            W[i, j] += L - upper
            W[i, j + 1] += upper
            q0 = q1
    return W


@njit(cache=True)
def local_line(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], h: float, minimum: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Value and scatter of y at each target by a weighted straight line through the samples within h (x sorted)."""
    m = targets.size
    value = np.full(m, np.nan)
    scatter = np.full(m, np.nan)
    for k in range(m):
        if x.size < minimum or targets[k] < x[0] or targets[k] > x[-1]:
            continue
        width = h
        lo = np.searchsorted(x, targets[k] - width)
        hi = np.searchsorted(x, targets[k] + width)
        while hi - lo < minimum and width < 8.0 * h:
            width *= 2.0
            lo = np.searchsorted(x, targets[k] - width)
            hi = np.searchsorted(x, targets[k] + width)
        if hi - lo < minimum:
            continue
        s0 = s1 = s2 = t0 = t1 = t2 = 0.0
        for j in range(lo, hi):
            u = (x[j] - targets[k]) / width
            w = 1.0 - u * u
            s0 += w
            s1 += w * u
            s2 += w * u * u
            t0 += w * y[j]
            t1 += w * u * y[j]
            t2 += w * y[j] * y[j]
        det = s0 * s2 - s1 * s1
        if det <= 1e-12 * s0 * s0:
            continue
        value[k] = (s2 * t0 - s1 * t1) / det
        slope = (s0 * t1 - s1 * t0) / det
        left = 0.0
        for j in range(lo, hi):
            u = (x[j] - targets[k]) / width
            r = y[j] - value[k] - slope * u
            left += (1.0 - u * u) * r * r
        scatter[k] = np.sqrt(left / s0)
    return value, scatter
