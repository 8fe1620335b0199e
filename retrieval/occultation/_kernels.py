"""Compiled loops of the occultation retrieval.

Legend: x impact parameter (or refractional radius) n r [m], a impact parameter of the level looked at [m], q = sqrt(x2
- a2) [m], y bending angle [rad], h half width of the window [m], w weights [1], C demodulated field in impact
parameter, its strong part reduced to the phase [1], P product of neighbours, u position in the window, -1 to 1 [1], s
values in a block [1], lo first value of a window, x0 and dx position of the first and distance of the values [m].
"""

import numpy as np
import numpy.typing as npt
from numba import njit

BLOCKS, CUBIC_BLOCKS = 120, 16
"""Blocks a window with a straight line and one with a cubic are divided into, unless they become too long [1]."""


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
def abel_integral(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Integral of y(x)/sqrt(x2-a2) from each level a to the end of the table, y piecewise linear."""
    out = np.zeros(levels.size)
    for k in range(levels.size):
        a = levels[k]
        j = min(np.searchsorted(x, a, side="right"), x.size - 1)
        x0 = a
        y0 = y[j - 1] + (y[j] - y[j - 1]) * (a - x[j - 1]) / (x[j] - x[j - 1])
        q0 = 0.0
        for i in range(j, x.size):
            dx = x[i] - x0
            if dx <= 0.0:
                continue
            q1 = np.sqrt((x[i] - a) * (x[i] + a))
            L = np.log1p((dx + q1 - q0) / (x0 + q0))
            slope = (y[i] - y0) / dx
            out[k] += (y0 - slope * x0) * L + slope * (q1 - q0)
            x0, y0, q0 = x[i], y[i], q1
    return out


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


@njit(cache=True)
def band_limited(x: npt.NDArray[np.complex128], at: npt.NDArray[np.float64], half: int) -> npt.NDArray[np.complex128]:
    """Values of an evenly sampled field at fractional indices: sinc interpolation in a window of 2 half samples."""
    n = x.size
    out = np.zeros(at.size, np.complex128)
    for k in range(at.size):
        base = int(np.floor(at[k]))
        f = at[k] - base
        if f < 1e-9 and 0 <= base < n:
            out[k] = x[base]
            continue
        sine = np.sin(np.pi * f) / np.pi
        total = 0.0
        value = 0.0 + 0.0j
        for j in range(1 - half, half + 1):
            u = (f - j) / half
            if base + j < 0 or base + j >= n:
                continue
            w = (1.0 - u * u) ** 2 * sine / (f - j)
            if j % 2 != 0:
                w = -w
            total += w
            value += w * x[base + j]
        out[k] = value / total if total > 0.3 else 0.0
    return out


@njit(cache=True)
def local_phase_rate(
    C: npt.NDArray[np.complex128],
    power: npt.NDArray[np.float64],
    x0: float,
    dx: float,
    levels: npt.NDArray[np.float64],
    h: npt.NDArray[np.float64],
    c: npt.NDArray[np.float64],
    longest: npt.NDArray[np.float64],
    lag: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Phase advance per step, its abscissa, coherence at the lag and mean power about each level.

    The argument of the summed products is, for small noise, the slope in the middle of a polynomial fitted to the
    phases of the window by least squares. Where c is 0 that is a line, weight 1 - u2; where it is greater a cubic,
    weight (1 - u2)(1 - b u2) with b, near 7/3, from the window's own blocks.
    """
    m, n = levels.size, C.size
    rate = np.full(m, np.nan)
    centre = np.full(m, np.nan)
    coherence = np.full(m, np.nan)
    mean = np.full(m, np.nan)
    most = int(2.0 * np.max(h) / dx) if m > 0 else 0
    block = np.empty(most + lag + 2, np.complex128)
    energy = np.empty(block.size)
    for k in range(m):
        # Means of s values: in a wide window they stand out of noise that single values drown in; not so long that the
        # phase turns by half within them.
        blocks = CUBIC_BLOCKS if c[k] > 0.0 else BLOCKS
        s = max(min(int(2.0 * h[k] / dx) // blocks, int(longest[k] / dx)), 1)
        count = int(2.0 * h[k] / (s * dx))
        lo = int(np.round((levels[k] - x0) / dx + 0.5 - 0.5 * (count + 1) * s))
        if count < 4 or lo < 0 or lo + (count + 1) * s + lag > n:
            continue
        for i in range(count + 1):
            block[i] = 0.0
            energy[i] = 0.0
            for j in range(lo + i * s, lo + (i + 1) * s):
                block[i] += C[j]
                energy[i] += power[j]
        # With few blocks the weight that keeps a cubic is not quite (1 - u2)(1 - 7/3 u2), and the advance of a mean is
        # the slope of a cubic averaged over both blocks: 3 u2 becomes 3 (u2 + spread).
        second = fourth = 0.0
        spread = (2.0 * s * s - 1.0) * dx * dx / (12.0 * h[k] * h[k])
        for i in range(count):
            u = (x0 + (lo + (i + 1) * s - 0.5) * dx - levels[k]) / h[k]
            if abs(u) < 1.0:
                second += (1.0 - u * u) * (u * u + spread)
                fourth += (1.0 - u * u) * u * u * (u * u + spread)
        bend = second / fourth if c[k] > 0.0 and fourth > 0.0 else 0.0
        P = 0.0 + 0.0j
        far = 0.0 + 0.0j
        size = far_size = moment = weight = total = 0.0
        for i in range(count):
            u = (x0 + (lo + (i + 1) * s - 0.5) * dx - levels[k]) / h[k]
            if abs(u) >= 1.0:
                continue
            parabola = 1.0 - u * u
            w = parabola * (1.0 - bend * u * u)
            product = block[i + 1] * np.conj(block[i])
            P += w * product
            strength = w * np.abs(product)
            size += strength
            moment += strength * u
            distant = C[lo + i * s + lag] * np.conj(C[lo + i * s])
            far += parabola * distant
            far_size += parabola * np.abs(distant)
            weight += parabola
            total += parabola * energy[i] / s
        mean[k] = total / max(weight, 1e-30)
        if size <= 0.0 or far_size <= 0.0:
            continue
        rate[k] = np.arctan2(P.imag, P.real) / s
        centre[k] = levels[k] + h[k] * moment / size
        coherence[k] = np.abs(far) / far_size
    return rate, centre, coherence, mean


@njit(cache=True)
def line_weights(
    x: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_], h: float, minimum: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows of the operator that fits a weighted straight line through the valid values within h of each level.

    Returns the first index, the number and the weights of each row, one after the other; a row without weights is one
    outside the valid values.
    """
    m = x.size
    present = np.flatnonzero(valid)
    start = np.zeros(m, np.int64)
    count = np.zeros(m, np.int64)
    weights = np.zeros((m, m if m < 400 else 400))
    if present.size < minimum:
        return start, count, weights
    for k in range(m):
        if x[k] < x[present[0]] or x[k] > x[present[-1]]:
            continue
        width = h
        for _ in range(4):
            lo = np.searchsorted(x, x[k] - width)
            hi = min(np.searchsorted(x, x[k] + width), lo + weights.shape[1])
            found = 0
            for j in range(lo, hi):
                if valid[j]:
                    found += 1
            if found >= minimum:
                break
            width *= 2.0
        if found < minimum:
            continue
        s0 = s1 = s2 = 0.0
        for j in range(lo, hi):
            if valid[j]:
                u = (x[j] - x[k]) / width
                w = 1.0 - u * u
                s0 += w
                s1 += w * u
                s2 += w * u * u
        det = s0 * s2 - s1 * s1
        if det <= 1e-12 * s0 * s0:
            continue
        start[k] = lo
        count[k] = hi - lo
        for j in range(lo, hi):
            if valid[j]:
                u = (x[j] - x[k]) / width
                weights[k, j - lo] = (1.0 - u * u) * (s2 - s1 * u) / det
    return start, count, weights


@njit(cache=True)
def fall_length(C: npt.NDArray[np.floating], x: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.float64]:
    """Mean of the distances upward and downward at which the correlation first falls below the threshold."""
    m = x.size
    length = np.full(m, np.nan)
    for i in range(m):
        if not C[i, i] > 0.0:
            continue
        total = 0.0
        sides = 0
        for direction in (-1, 1):
            before = 1.0
            j = i + direction
            while 0 <= j < m and C[j, j] > 0.0:
                now = C[i, j] / np.sqrt(C[i, i] * C[j, j])
                if now < threshold:
                    inner = x[j - direction] + (x[j] - x[j - direction]) * (before - threshold) / (before - now)
                    total += abs(inner - x[i])
                    sides += 1
                    break
                before = now
                j += direction
        if sides > 0:
            length[i] = total / sides
    return length


@njit(cache=True)
def add_slope_rows(
    M: npt.NDArray[np.float64],
    support: npt.NDArray[np.int64],
    x: npt.NDArray[np.float64],
    h: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    cubic: npt.NDArray[np.bool_],
    nodes: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    noise: float,
    cubic_variance: float,
) -> None:
    """Add to each row of M the weights of a least-squares slope over x - h to x + h, times the size of each node.

    With u from -1 to 1 the slope of a line weighs by 1.5 u / h2, that of a cubic by (9.375 u - 13.125 u3) / h2. Its
    variance is 1.5 or the given number of times noise2 / h3: a row is scaled to it, as nodes are few. Its support is
    widened to hold its weights.
    """
    for k in range(x.size):
        if not weight[k] > 0.0 or not h[k] > 0.0:
            continue
        lo = np.searchsorted(nodes, x[k] - h[k])
        hi = np.searchsorted(nodes, x[k] + h[k])
        if lo >= hi:
            continue
        total = 0.0
        for j in range(lo, hi):
            u = (nodes[j] - x[k]) / h[k]
            w = 9.375 * u - 13.125 * u * u * u if cubic[k] else 1.5 * u
            total += (w * size[j]) ** 2
        if total <= 0.0:
            continue
        scale = weight[k] * noise * np.sqrt((cubic_variance if cubic[k] else 1.5) / (h[k] ** 3 * total))
        for j in range(lo, hi):
            u = (nodes[j] - x[k]) / h[k]
            w = 9.375 * u - 13.125 * u * u * u if cubic[k] else 1.5 * u
            M[k, j] += scale * w * size[j]
        support[k, 0] = min(support[k, 0], lo)
        support[k, 1] = max(support[k, 1], hi)


@njit(cache=True)
def add_product(
    M: npt.NDArray[np.float64],
    support: npt.NDArray[np.int64],
    start: npt.NDArray[np.int32],
    column: npt.NDArray[np.int32],
    value: npt.NDArray[np.float64],
    G: npt.NDArray[np.float64],
    of: npt.NDArray[np.int64],
    factor: float,
) -> None:
    """Add factor S G to M, S sparse by rows, G with a support by row."""
    for k in range(M.shape[0]):
        for n in range(start[k], start[k + 1]):
            j = column[n]
            if of[j, 0] >= of[j, 1]:
                continue
            f = factor * value[n]
            for i in range(of[j, 0], of[j, 1]):
                M[k, i] += f * G[j, i]
            support[k, 0] = min(support[k, 0], of[j, 0])
            support[k, 1] = max(support[k, 1], of[j, 1])


@njit(cache=True, fastmath=True)
def add_gram(C: npt.NDArray[np.float64], M: npt.NDArray[np.float64], support: npt.NDArray[np.int64]) -> None:
    """Add M M^T to C, looking only where the supports of two rows overlap."""
    m = M.shape[0]
    for k in range(m):
        for j in range(k, m):
            lo = max(support[k, 0], support[j, 0])
            hi = min(support[k, 1], support[j, 1])
            total = 0.0
            for i in range(lo, hi):
                total += M[k, i] * M[j, i]
            if lo < hi:
                C[k, j] += total
                if j != k:
                    C[j, k] += total
