"""Compiled loops of the pansharpening.

Legend: p panchromatic plane, m a multispectral plane, l the panchromatic plane seen with the point spread function of
the multispectral bands, A the plane that is interpolated, G the gain of the panchromatic detail, S a standard
deviation; y, x rows and columns. "Fine" is the panchromatic grid, "coarse" the multispectral one. No loop keeps
running sums, and none may be compiled with fast arithmetic: a pixel has the same bits in whichever block it lies.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Plane = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

CUBIC, LINEAR = 4, 2


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def reduce(
    p: Plane, center: float, row: Indices, row_weight: Plane, column: Indices, column_weight: Plane, complete: bool
) -> tuple[Plane, Plane]:
    """Weighted mean and variance of the fine pixels under each coarse pixel, of those that are there.

    Parameters
    ----------
    p : array
        Fine plane (y, x), NaN where missing.
    center : float
        A value near the mean, against cancellation, any unit.
    row, column : array
        First fine row and column under each coarse row and column.
    row_weight, column_weight : array
        Weights (coarse, tap) [1].
    complete : bool
        Nothing is missing: the same numbers, sooner.

    Returns
    -------
    tuple
        Mean and variance (coarse y, coarse x), NaN where nothing is seen.
    """
    width = p.shape[1]
    taps = row_weight.shape[1]
    mean = np.empty((row.size, column.size), dtype=np.float32)
    variance = np.empty((row.size, column.size), dtype=np.float32)
    first = np.empty(width, dtype=np.float32)
    second = np.empty(width, dtype=np.float32)
    weight = np.empty(width, dtype=np.float32)
    zero = np.float32(0.0)
    middle = np.float32(center)
    for i in range(row.size):
        first[:] = zero
        second[:] = zero
        weight[:] = zero
        total = zero
        for t in range(taps):
            w = row_weight[i, t]
            total += w
            line = p[row[i] + t]
            if complete:
                for x in range(width):
                    v = line[x] - middle
                    first[x] += w * v
                    second[x] += w * (v * v)
            else:
                for x in range(width):
                    v = line[x] - middle
                    here = v == v
                    v = v if here else zero
                    first[x] += w * v
                    second[x] += w * (v * v)
                    weight[x] += w if here else zero
        if complete:
            weight[:] = total
        for j in range(column.size):
            a = zero
            b = zero
            c = zero
            for t in range(column_weight.shape[1]):
                w = column_weight[j, t]
                x = column[j] + t
                a += w * first[x]
                b += w * second[x]
                c += w * weight[x]
            if c > np.float32(1e-3):
                a /= c
                mean[i, j] = a + middle
                variance[i, j] = max(b / c - a * a, zero)
            else:
                mean[i, j] = np.nan
                variance[i, j] = np.nan
    return mean, variance


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def smooth(m: Plane, step: int) -> Plane:
    """Weights 1/4, 1/2, 1/4 on pixels so many apart, along both axes; the outermost pixel is repeated.

    Parameters
    ----------
    m : array
        Plane (y, x).
    step : int
        Distance of the taps [pixel].

    Returns
    -------
    array
        Smoothed plane (y, x).
    """
    rows, columns = m.shape
    result = np.empty_like(m)
    line = np.empty(columns, dtype=np.float32)
    quarter = np.float32(0.25)
    two = np.float32(2.0)
    for y in range(rows):
        above = m[max(y - step, 0)]
        here = m[y]
        below = m[min(y + step, rows - 1)]
        for x in range(columns):
            line[x] = quarter * ((above[x] + below[x]) + two * here[x])
        for x in range(min(step, columns)):
            result[y, x] = quarter * ((line[0] + line[min(x + step, columns - 1)]) + two * line[x])
        for x in range(step, columns - step):
            result[y, x] = quarter * ((line[x - step] + line[x + step]) + two * line[x])
        for x in range(max(columns - step, min(step, columns)), columns):
            result[y, x] = quarter * ((line[max(x - step, 0)] + line[columns - 1]) + two * line[x])
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def fill(m: Plane, passes: int, rest: float) -> None:
    """Grow the plane in place into its missing pixels, one ring a pass, by the mean of the neighbors that are there.

    Parameters
    ----------
    m : array
        Plane (y, x), NaN where missing.
    passes : int
        Rings grown [1].
    rest : float
        Value of what is farther away, any unit.
    """
    rows, columns = m.shape
    ys, xs = np.nonzero(np.isnan(m))
    count = ys.size
    values = np.empty(count, dtype=np.float32)
    for _ in range(passes):
        if count == 0:
            return
        for k in range(count):
            total = np.float32(0.0)
            seen = 0
            for y in range(max(ys[k] - 1, 0), min(ys[k] + 2, rows)):
                for x in range(max(xs[k] - 1, 0), min(xs[k] + 2, columns)):
                    v = m[y, x]
                    if v == v:
                        total += v
                        seen += 1
            values[k] = total / np.float32(seen) if seen > 0 else np.float32(np.nan)
        left = 0
        for k in range(count):
            y, x, v = ys[k], xs[k], values[k]
            if v == v:
                m[y, x] = v
            else:
                ys[left], xs[left] = y, x
                left += 1
        count = left
    for k in range(count):
        m[ys[k], xs[k]] = rest


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def combine(planes: Plane, coefficients: Plane, constants: Plane) -> Plane:
    """Linear combinations of planes.

    Parameters
    ----------
    planes : array
        Planes (plane, y, x).
    coefficients : array
        Coefficients (result, plane) [1].
    constants : array
        Constant of each result.

    Returns
    -------
    array
        Combinations (result, y, x).
    """
    count, rows, columns = planes.shape
    result = np.empty((coefficients.shape[0], rows, columns), dtype=np.float32)
    for y in range(rows):
        for b in range(coefficients.shape[0]):
            target = result[b, y]
            target[:] = constants[b]
            for k in range(count):
                c = coefficients[b, k]
                if c != np.float32(0.0):
                    source = planes[k, y]
                    for x in range(columns):
                        target[x] += c * source[x]
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def product(a: Plane, b: Plane) -> Plane:
    """Product of two planes.

    Parameters
    ----------
    a, b : array
        Planes (y, x).

    Returns
    -------
    array
        a b.
    """
    result = np.empty_like(a)
    for y in range(a.shape[0]):
        for x in range(a.shape[1]):
            result[y, x] = a[y, x] * b[y, x]
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def regression_gain(
    ml: Plane, m_mean: Plane, l_mean: Plane, l_square: Plane, prior: float, stiffness: float, limit: float
) -> Plane:
    """Gain of a band over the panchromatic plane in the surroundings: (cov(m, l) + s g) / (var(l) + s), limited.

    Parameters
    ----------
    ml, m_mean, l_mean, l_square : array
        Local means of m l, m, l and l l (y, x).
    prior : float
        Gain of the whole scene, g [1].
    stiffness : float
        Weight of it, s [1].
    limit : float
        Largest magnitude of the result [1].

    Returns
    -------
    array
        Gain (y, x).
    """
    result = np.empty_like(ml)
    g = np.float32(prior)
    s = np.float32(stiffness)
    top = np.float32(limit)
    for y in range(ml.shape[0]):
        for x in range(ml.shape[1]):
            variance = max(l_square[y, x] - l_mean[y, x] * l_mean[y, x], np.float32(0.0))
            covariance = ml[y, x] - m_mean[y, x] * l_mean[y, x]
            result[y, x] = min(max((covariance + s * g) / (variance + s), -top), top)
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def modulation_gain(m: Plane, l: Plane, floor: float, limit: float) -> Plane:  # noqa: E741 (symbol of the legend)
    """Gain of a multiplicative injection, m / l, between 0 and a limit.

    Parameters
    ----------
    m, l : array
        Band and low-pass panchromatic plane (y, x).
    floor : float
        Smallest l divided by [1].
    limit : float
        Largest gain [1].

    Returns
    -------
    array
        Gain (y, x).
    """
    result = np.empty_like(m)
    low = np.float32(floor)
    top = np.float32(limit)
    for y in range(m.shape[0]):
        for x in range(m.shape[1]):
            result[y, x] = min(max(m[y, x] / max(l[y, x], low), np.float32(0.0)), top)
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def affine(first: Plane, second: Plane, coefficients: Plane) -> Plane:
    """Sum c0 + c1 a + c2 b of two planes.

    Parameters
    ----------
    first, second : array
        Planes a and b (y, x).
    coefficients : array
        c0, c1, c2.

    Returns
    -------
    array
        Sum (y, x).
    """
    result = np.empty_like(first)
    c0, c1, c2 = coefficients[0], coefficients[1], coefficients[2]
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            result[y, x] = c0 + c1 * first[y, x] + c2 * second[y, x]
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def activity(m: Plane, m_smooth: Plane) -> Plane:
    """Square of the difference of two planes.

    Parameters
    ----------
    m, m_smooth : array
        Planes (y, x).

    Returns
    -------
    array
        Squares (y, x).
    """
    result = np.empty_like(m)
    for y in range(m.shape[0]):
        for x in range(m.shape[1]):
            d = m[y, x] - m_smooth[y, x]
            result[y, x] = d * d
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def inconsistency(a: Plane, a_smooth: Plane, g: Plane, l: Plane, l_smooth: Plane, m: Plane) -> Plane:  # noqa: E741
    """Square of what the sharpened band, seen coarsely, differs from the band: blur(A) + G (l - blur(l)) - m.

    Parameters
    ----------
    a, a_smooth : array
        Interpolated plane and its blur (y, x).
    g : array
        Gain (y, x).
    l, l_smooth : array
        Low-pass panchromatic plane and its blur (y, x).
    m : array
        The band (y, x).

    Returns
    -------
    array
        Squares (y, x).
    """
    result = np.empty_like(m)
    for y in range(m.shape[0]):
        for x in range(m.shape[1]):
            d = a_smooth[y, x] + g[y, x] * (l[y, x] - l_smooth[y, x]) - m[y, x]
            result[y, x] = d * d
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def deviation(variance: Plane, g: Plane, other: float, active: Plane, residual: Plane, theta: Plane) -> Plane:
    """Standard deviation of a sharpened band from its causes.

    Parameters
    ----------
    variance : array
        Variance of the panchromatic detail, v (y, x).
    g : array
        Gain (y, x).
    other : float
        Gain the regression over the whole scene would take, g' [1].
    active : array
        Detail of the band itself (y, x).
    residual : array
        Inconsistency with the band (y, x).
    theta : array
        Coefficients of 1, v, g g v, (g - g')^2 v, `active` and `residual`.

    Returns
    -------
    array
        Standard deviation (y, x).
    """
    result = np.empty_like(variance)
    second = np.float32(other)
    for y in range(variance.shape[0]):
        for x in range(variance.shape[1]):
            v = variance[y, x]
            k = g[y, x]
            spread = k - second
            total = theta[0] + v * (theta[1] + theta[2] * (k * k) + theta[3] * (spread * spread))
            result[y, x] = np.sqrt(total + theta[4] * active[y, x] + theta[5] * residual[y, x])
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _across(planes: Plane, y: int, start: int, weights: Plane, shift: int, taps: int, line: Plane) -> None:
    """Interpolate one fine row along y at the coarse columns."""
    first = planes[start + shift]
    w = weights[0]
    for x in range(line.size):
        line[x] = w * first[x]
    for t in range(1, taps):
        w = weights[t]
        source = planes[start + shift + t]
        for x in range(line.size):
            line[x] += w * source[x]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def upsample(m: Plane, row: Indices, row_weight: Plane, column: Indices, column_weight: Plane) -> Plane:
    """Interpolate a coarse plane at the positions of the fine pixels.

    Parameters
    ----------
    m : array
        Coarse plane (y, x).
    row, column : array
        Coarse row and column before each fine row and column.
    row_weight, column_weight : array
        Weights (tap, fine), two taps from there on or four from one before [1].

    Returns
    -------
    array
        Fine plane (y, x).
    """
    taps = row_weight.shape[0]
    shift = 0 if taps == LINEAR else -1
    result = np.empty((row.size, column.size), dtype=np.float32)
    line = np.empty(m.shape[1], dtype=np.float32)
    weights = np.empty(taps, dtype=np.float32)
    for y in range(row.size):
        for t in range(taps):
            weights[t] = row_weight[t, y]
        _across(m, y, row[y], weights, shift, taps, line)
        target = result[y]
        for x in range(column.size):
            k = column[x] + shift
            v = np.float32(0.0)
            for t in range(taps):
                v += line[k + t] * column_weight[t, x]
            target[x] = v
    return result


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _cubic_line(line: Plane, column: Indices, weight: Plane, target: Plane) -> None:
    w0, w1, w2, w3 = weight[0], weight[1], weight[2], weight[3]
    for x in range(target.size):
        k = column[x]
        target[x] = ((line[k - 1] * w0[x] + line[k] * w1[x]) + line[k + 1] * w2[x]) + line[k + 2] * w3[x]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _injected_line(line: Plane, column: Indices, weight: Plane, detail: Plane, target: Plane) -> None:
    w0, w1 = weight[0], weight[1]
    for x in range(target.size):
        k = column[x]
        target[x] += (line[k] * w0[x] + line[k + 1] * w1[x]) * detail[x]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _linear_line(line: Plane, column: Indices, weight: Plane, target: Plane) -> None:
    w0, w1 = weight[0], weight[1]
    for x in range(target.size):
        k = column[x]
        target[x] = line[k] * w0[x] + line[k + 1] * w1[x]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def inject(
    p: Plane,
    l: Plane,  # noqa: E741
    a: Plane,
    g: Plane,
    s: Plane,
    row: Indices,
    row_cubic: Plane,
    row_linear: Plane,
    column: Indices,
    column_cubic: Plane,
    column_linear: Plane,
    result: Plane,
) -> None:
    """Sharpened bands A + G (p - l), and their standard deviations S, at the fine pixels.

    Parameters
    ----------
    p : array
        Fine panchromatic plane (y, x).
    l : array
        Low-pass panchromatic plane (coarse y, coarse x).
    a, g, s : array
        Planes (band, coarse y, coarse x); s without bands where no deviation is wanted.
    row, column : array
        Coarse row and column before each fine row and column.
    row_cubic, column_cubic : array
        Weights of four taps (tap, fine) [1].
    row_linear, column_linear : array
        Weights of two taps (tap, fine) [1].
    result : array
        Receives the bands, then the deviations (band, y, x).
    """
    bands = a.shape[0]
    line = np.empty(l.shape[1], dtype=np.float32)
    detail = np.empty(column.size, dtype=np.float32)
    cubic = np.empty(CUBIC, dtype=np.float32)
    linear = np.empty(LINEAR, dtype=np.float32)
    for y in range(row.size):
        for t in range(CUBIC):
            cubic[t] = row_cubic[t, y]
        for t in range(LINEAR):
            linear[t] = row_linear[t, y]
        _across(l, y, row[y], cubic, -1, CUBIC, line)
        _cubic_line(line, column, column_cubic, detail)
        source = p[y]
        for x in range(column.size):
            detail[x] = source[x] - detail[x]
        for b in range(bands):
            _across(a[b], y, row[y], cubic, -1, CUBIC, line)
            _cubic_line(line, column, column_cubic, result[b, y])
            _across(g[b], y, row[y], linear, 0, LINEAR, line)
            _injected_line(line, column, column_linear, detail, result[b, y])
        for b in range(s.shape[0]):
            _across(s[b], y, row[y], linear, 0, LINEAR, line)
            _linear_line(line, column, column_linear, result[bands + b, y])


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def mask(result: Plane, p: Plane, missing: npt.NDArray[np.bool_], row: Indices, column: Indices) -> None:
    """Take out, in place, what either input does not see.

    Parameters
    ----------
    result : array
        Bands, then deviations if any (band, y, x).
    p : array
        Fine panchromatic plane (y, x), NaN where missing.
    missing : array
        Missing coarse pixels (band, coarse y, coarse x).
    row, column : array
        Coarse row and column in which each fine row and column lies.
    """
    bands = missing.shape[0]
    for b in range(result.shape[0]):
        for y in range(row.size):
            for x in range(column.size):
                if p[y, x] != p[y, x] or missing[b % bands, row[y], column[x]]:
                    result[b, y, x] = np.nan
