"""Compiled loops of the fire tests.

Legend: a candidate's background is a square of half width h that grows until enough usable pixels lie in it; the three
by three pixels around the candidate never count. Columns of the result: 0 count of usable pixels, 1 usable pixels of
the window, then median and mean absolute deviation from it, layer by layer; last, for every layer that is joined with
another, slope and mean absolute deviation of what the line leaves.
"""

import numba
import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@numba.njit(cache=True, nogil=True)
def box_sums(values: npt.NDArray[np.int32], known: Mask, half: int) -> Singles:
    """Sum and count over squares, exact in integers: the same whatever block the pixels come in."""
    rows, columns = values.shape
    total = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    count = np.zeros((rows + 1, columns + 1), dtype=np.int32)
    for i in range(rows):
        line = np.int64(0)
        number = np.int32(0)
        for j in range(columns):
            if known[i, j]:
                line += values[i, j]
                number += 1
            total[i + 1, j + 1] = total[i, j + 1] + line
            count[i + 1, j + 1] = count[i, j + 1] + number
    mean = np.full((rows, columns), np.nan, dtype=np.float32)
    for i in range(rows):
        top, bottom = max(i - half, 0), min(i + half + 1, rows)
        for j in range(columns):
            left, right = max(j - half, 0), min(j + half + 1, columns)
            n = count[bottom, right] - count[top, right] - count[bottom, left] + count[top, left]
            if n > 0:
                s = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
                mean[i, j] = s / n
    return mean


@numba.njit(cache=True, nogil=True)
def backgrounds(
    points: Indices,
    layers: Singles,
    usable: Mask,
    halves: Indices,
    least_share: float,
    least_count: int,
    joined: Indices,
    base: int,
    limits: Doubles,
) -> Doubles:
    """Statistics of what surrounds every candidate.

    Parameters
    ----------
    points : numpy.ndarray
        Row and column of every candidate (point, 2).
    layers : numpy.ndarray
        Temperatures [K] and what is joined with them (layer, y, x).
    usable : numpy.ndarray
        Pixels that may be background (y, x).
    halves : numpy.ndarray
        Half the edges of the windows that are tried in order [pixel].
    least_share : float
        Least share of a window that must be usable [1].
    least_count : int
        Fewest usable pixels of a window [1].
    joined : numpy.ndarray
        Layers for which a line is fitted.
    base : int
        Layer they are joined with.
    limits : numpy.ndarray
        Least and greatest slope of each line (line, 2).

    Returns
    -------
    numpy.ndarray
        One row a candidate, columns as in the legend.
    """
    depth, rows, columns = layers.shape
    result = np.full((points.shape[0], 2 + 2 * depth + 2 * len(joined)), np.nan, dtype=np.float64)
    buffer = np.empty((2 * halves[-1] + 1) ** 2, dtype=np.float64)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        number, chosen = 0, halves[-1]
        for half in halves:
            number = 0
            for r in range(max(i - half, 0), min(i + half + 1, rows)):
                for c in range(max(j - half, 0), min(j + half + 1, columns)):
                    if usable[r, c] and (abs(r - i) > 1 or abs(c - j) > 1):
                        number += 1
            chosen = half
            if number >= max(least_share * (2 * half + 1) ** 2, least_count):
                break
        result[p, 0] = number
        result[p, 1] = chosen
        if number < max(least_share * (2 * chosen + 1) ** 2, least_count):
            result[p, 0] = 0.0
            continue
        for layer in range(depth):
            n = 0
            for r in range(max(i - chosen, 0), min(i + chosen + 1, rows)):
                for c in range(max(j - chosen, 0), min(j + chosen + 1, columns)):
                    if usable[r, c] and (abs(r - i) > 1 or abs(c - j) > 1):
                        value = layers[layer, r, c]
                        if not np.isnan(value):
                            buffer[n] = value
                            n += 1
            if n == 0:
                continue
            middle = np.median(buffer[:n])
            spread = 0.0
            for k in range(n):
                spread += abs(buffer[k] - middle)
            result[p, 2 + 2 * layer] = middle
            result[p, 3 + 2 * layer] = spread / n
        for k in range(len(joined)):
            y0, x0 = result[p, 2 + 2 * joined[k]], result[p, 2 + 2 * base]
            n = 0
            product = square = 0.0
            for r in range(max(i - chosen, 0), min(i + chosen + 1, rows)):
                for c in range(max(j - chosen, 0), min(j + chosen + 1, columns)):
                    if usable[r, c] and (abs(r - i) > 1 or abs(c - j) > 1):
                        x, y = layers[base, r, c] - x0, layers[joined[k], r, c] - y0
                        if not np.isnan(x + y):
                            product += x * y
                            square += x * x
                            n += 1
            if n == 0:
                continue
            slope = min(max(product / square if square > 0.0 else 0.0, limits[k, 0]), limits[k, 1])
            spread = 0.0
            for r in range(max(i - chosen, 0), min(i + chosen + 1, rows)):
                for c in range(max(j - chosen, 0), min(j + chosen + 1, columns)):
                    if usable[r, c] and (abs(r - i) > 1 or abs(c - j) > 1):
                        x, y = layers[base, r, c] - x0, layers[joined[k], r, c] - y0
                        if not np.isnan(x + y):
                            spread += abs(y - slope * x)
            result[p, 2 + 2 * depth + 2 * k] = slope
            result[p, 3 + 2 * depth + 2 * k] = spread / n
    return result


@numba.njit(cache=True, nogil=True)
def _fitted(factors: Doubles, response: Doubles, number: int, kept: Mask) -> tuple[Doubles, Doubles, int]:
    """Least squares of a response on centered factors: coefficients, inverse of the normal matrix, pixels used."""
    size = factors.shape[1]
    normal = np.zeros((size, size), dtype=np.float64)
    right = np.zeros(size, dtype=np.float64)
    used = 0
    for k in range(number):
        if kept[k]:
            used += 1
            for a in range(size):
                right[a] += factors[k, a] * response[k]
                for b in range(size):
                    normal[a, b] += factors[k, a] * factors[k, b]
    # A factor that is the same everywhere, or a copy of another, must not stop the fit.
    for a in range(size):
        normal[a, a] += 1e-6 * (normal[a, a] + 1e-12)
    inverse: Doubles = np.linalg.inv(normal).astype(np.float64)
    coefficients = np.zeros(size, dtype=np.float64)
    for a in range(size):
        for b in range(size):
            coefficients[a] += inverse[a, b] * right[b]
    return coefficients, inverse, used


@numba.njit(cache=True, nogil=True)
def regressions(
    points: Indices,
    layers: Singles,
    usable: Mask,
    halves: Indices,
    least_count: int,
    response: int,
    factors: Indices,
    outlier: float,
) -> Doubles:
    """What the surroundings let expect at a pixel of its other measurements.

    The window grows until enough usable pixels lie in it; pixels far off the first fit are left out of the second.

    Parameters
    ----------
    points : numpy.ndarray
        Row and column of every candidate (point, 2).
    layers : numpy.ndarray
        Measurements (layer, y, x).
    usable : numpy.ndarray
        Pixels that may be background (y, x).
    halves : numpy.ndarray
        Half the edges of the windows that are tried in order [pixel].
    least_count : int
        Fewest usable pixels of a window [1].
    response : int
        Layer that is expected.
    factors : numpy.ndarray
        Layers it is expected from; a pixel counts where all are known.
    outlier : float
        Standard deviations from which a pixel is left out [1].

    Returns
    -------
    numpy.ndarray
        One row a candidate: excess over what is expected, its standard deviation of the spread of the background and
        of the doubt of the fit at this place, that of the spread alone, coefficient of the first factor; NaN where too
        little is known.
    """
    _, rows, columns = layers.shape
    size = len(factors) + 1
    result = np.full((points.shape[0], 4), np.nan, dtype=np.float64)
    most = (2 * halves[-1] + 1) ** 2
    matrix = np.empty((most, size), dtype=np.float64)
    values = np.empty(most, dtype=np.float64)
    own = np.empty(size, dtype=np.float64)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        known = not np.isnan(layers[response, i, j])
        for a in range(size - 1):
            known = known and not np.isnan(layers[factors[a], i, j])
        if not known:
            continue
        n = 0
        for half in halves:
            n = 0
            for r in range(max(i - half, 0), min(i + half + 1, rows)):
                for c in range(max(j - half, 0), min(j + half + 1, columns)):
                    if usable[r, c] and (abs(r - i) > 1 or abs(c - j) > 1):
                        total = layers[response, r, c]
                        for a in range(size - 1):
                            total += layers[factors[a], r, c]
                        if not np.isnan(total):
                            values[n] = layers[response, r, c]
                            matrix[n, 0] = 1.0
                            for a in range(size - 1):
                                matrix[n, a + 1] = layers[factors[a], r, c]
                            n += 1
            if n >= least_count:
                break
        if n < least_count:
            continue
        middle = values[:n].mean()
        own[0] = 1.0
        for a in range(1, size):
            center = matrix[:n, a].mean()
            matrix[:n, a] -= center
            own[a] = layers[factors[a - 1], i, j] - center
        values[:n] -= middle
        kept = np.ones(n, dtype=np.bool_)
        spread = 0.0
        coefficients, inverse, used = _fitted(matrix, values, n, kept)
        for step in range(2):
            spread = 0.0
            for k in range(n):
                if kept[k]:
                    spread += abs(values[k] - np.dot(matrix[k], coefficients))
            # Mean absolute deviation to standard deviation, for the freedom the fit has taken.
            spread *= np.sqrt(np.pi / 2.0) / np.sqrt(float(used) * float(max(used - size, 1)))
            if step == 0:
                for k in range(n):
                    kept[k] = abs(values[k] - np.dot(matrix[k], coefficients)) <= outlier * spread
                coefficients, inverse, used = _fitted(matrix, values, n, kept)
        leverage = 0.0
        for a in range(size):
            for b in range(size):
                leverage += own[a] * inverse[a, b] * own[b]
        result[p, 0] = layers[response, i, j] - middle - np.dot(own, coefficients)
        result[p, 1] = spread * np.sqrt(1.0 + leverage)
        result[p, 2] = spread
        result[p, 3] = coefficients[1]
    return result


@numba.njit(cache=True, nogil=True)
def surroundings(points: Indices, fire: Mask, reach: int) -> npt.NDArray[np.int32]:
    """For every pixel within reach of a fire, the nearest fire; the first in reading order where two are as near."""
    rows, columns = fire.shape
    owner = np.full((rows, columns), -1, dtype=np.int32)
    nearest = np.full((rows, columns), 1 << 30, dtype=np.int32)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        for r in range(max(i - reach, 0), min(i + reach + 1, rows)):
            for c in range(max(j - reach, 0), min(j + reach + 1, columns)):
                apart = (r - i) ** 2 + (c - j) ** 2
                if apart < nearest[r, c]:
                    nearest[r, c] = apart
                    owner[r, c] = p
    return owner


@numba.njit(cache=True, nogil=True)
def swir_backgrounds(
    points: Indices, ratio: Singles, swir: Singles, usable: Mask, half: int, least_count: int
) -> Doubles:
    """Mean and standard deviation of ratio and reflectance around every candidate."""
    rows, columns = ratio.shape
    result = np.full((points.shape[0], 5), np.nan, dtype=np.float64)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        n = 0
        s1 = s2 = q1 = q2 = 0.0
        for r in range(max(i - half, 0), min(i + half + 1, rows)):
            for c in range(max(j - half, 0), min(j + half + 1, columns)):
                if usable[r, c]:
                    a, b = float(ratio[r, c]), float(swir[r, c])
                    n += 1
                    s1 += a
                    s2 += b
                    q1 += a * a
                    q2 += b * b
        result[p, 0] = n
        if n >= least_count:
            result[p, 1] = s1 / n
            result[p, 2] = np.sqrt(max(q1 / n - (s1 / n) ** 2, 0.0))
            result[p, 3] = s2 / n
            result[p, 4] = np.sqrt(max(q2 / n - (s2 / n) ** 2, 0.0))
    return result


@numba.njit(cache=True, nogil=True)
def swir_glow(
    points: Indices, short: Singles, long: Singles, ground: Doubles, limit: float, least: float, reach: int
) -> Doubles:
    """Sums over what shines at and beside every candidate.

    Parameters
    ----------
    points : numpy.ndarray
        Row and column of every candidate (point, 2).
    short, long : numpy.ndarray
        Reflectance of two bands (y, x) [1], NaN where it says nothing.
    ground : numpy.ndarray
        Reflectance of the ground around every candidate in both bands (point, 2) [1].
    limit : float
        Reflectance from which a band is saturated [1].
    least : float
        Excess of the longer band from which a pixel counts [1].
    reach : int
        Half width of the square looked at [pixel].

    Returns
    -------
    numpy.ndarray
        One row a candidate: over pixels without saturation the sums of the product of their excess in both bands, of
        the square of that in the longer band, and of that itself; the least excess in the shorter band of pixels whose
        longer one is saturated, infinite without any [1].
    """
    rows, columns = short.shape
    result = np.zeros((points.shape[0], 4), dtype=np.float64)
    for p in range(points.shape[0]):
        i, j = points[p, 0], points[p, 1]
        result[p, 3] = np.inf
        for r in range(max(i - reach, 0), min(i + reach + 1, rows)):
            for c in range(max(j - reach, 0), min(j + reach + 1, columns)):
                one, two = short[r, c] - ground[p, 0], long[r, c] - ground[p, 1]
                if long[r, c] >= limit:
                    result[p, 3] = min(result[p, 3], one)
                # What folds is dark at 2 um and bright at 1.6 um: no flame looks so.
                elif two > least and one < two:
                    result[p, 0] += one * two
                    result[p, 1] += two * two
                    result[p, 2] += two
    return result
