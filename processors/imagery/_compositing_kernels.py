"""Compiled loops of the compositing, pixel by pixel.

Legend: x looks (look, band), m center (band), n looks, p bands; squared distances run over the bands.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int16]

GEOMEDIAN, MEDOID, BEST = 1, 2, 3
_COINCIDENT = 1e-12


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def geometric_median(x: Doubles, m: Doubles, tolerance: float, iterations: int) -> int:
    """Point with the least sum of distances, by the iteration of Weiszfeld as mended by Vardi and Zhang (2000).

    Parameters
    ----------
    x : array
        Looks (look, band).
    m : array
        Receives the center (band).
    tolerance : float
        Step below which the iteration ends, in the unit of the looks [1].
    iterations : int
        Steps at most.

    Returns
    -------
    int
        Steps made.
    """
    n, p = x.shape
    for b in range(p):
        m[b] = 0.0
        for i in range(n):
            m[b] += x[i, b] / n
    step = np.empty(p)
    pull = np.empty(p)
    for k in range(iterations):
        if _weiszfeld_step(x, m, step, pull) <= tolerance * tolerance:
            return k + 1
    return iterations


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _weiszfeld_step(x: Doubles, m: Doubles, step: Doubles, pull: Doubles) -> float:
    """Move m once; the squared length of the move."""
    n, p = x.shape
    total, here = 0.0, 0
    for b in range(p):
        step[b] = 0.0
    for i in range(n):
        d = 0.0
        for b in range(p):
            d += (x[i, b] - m[b]) ** 2
        if d <= _COINCIDENT:
            here += 1
            continue
        w = 1.0 / math.sqrt(d)
        total += w
        for b in range(p):
            step[b] += w * x[i, b]
    if total == 0.0:
        return 0.0
    return _moved(m, step, pull, total, here)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _moved(m: Doubles, step: Doubles, pull: Doubles, total: float, here: int) -> float:
    """Looks that coincide with m hold it back by their number against the pull of the others."""
    p = m.size
    strength = 0.0
    for b in range(p):
        pull[b] = step[b] - total * m[b]
        strength += pull[b] ** 2
    strength = math.sqrt(strength)
    kept = 0.0 if here == 0 else (1.0 if strength <= here else here / strength)
    change = 0.0
    for b in range(p):
        d = (1.0 - kept) * pull[b] / total
        m[b] += d
        change += d * d
    return change


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def medoid(x: Doubles) -> int:
    """Look with the least sum of distances to the others, the first of equals.

    Parameters
    ----------
    x : array
        Looks (look, band).

    Returns
    -------
    int
        Its index.
    """
    n, p = x.shape
    best, least = 0, np.inf
    for i in range(n):
        total = 0.0
        for j in range(n):
            d = 0.0
            for b in range(p):
                d += (x[i, b] - x[j, b]) ** 2
            total += math.sqrt(d)
        if total < least * (1.0 - 1e-12):
            best, least = i, total
    return best


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _nearest(x: Doubles, m: Doubles) -> int:
    n, p = x.shape
    best, least = 0, np.inf
    for i in range(n):
        d = 0.0
        for b in range(p):
            d += (x[i, b] - m[b]) ** 2
        if d < least:
            best, least = i, d
    return best


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _median(buffer: Doubles, n: int) -> float:
    """Median of the first n numbers, which are sorted in place."""
    for i in range(1, n):
        key = buffer[i]
        j = i - 1
        while j >= 0 and buffer[j] > key:
            buffer[j + 1] = buffer[j]
            j -= 1
        buffer[j + 1] = key
    middle: float = (buffer[(n - 1) // 2] + buffer[n // 2]) / 2.0
    return middle


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def deviations(x: Doubles, m: Doubles, buffer: Doubles, out: Doubles) -> None:
    """Medians of the Euclidean, cosine and Bray-Curtis distances of the looks to the center (Roberts et al. 2018).

    Parameters
    ----------
    x : array
        Looks (look, band).
    m : array
        Center (band).
    buffer : array
        Room for as many numbers as there are looks.
    out : array
        Receives the three.
    """
    n = x.shape[0]
    for kind in range(3):
        for i in range(n):
            buffer[i] = _distance(x[i], m, kind)
        out[kind] = _median(buffer, n)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _distance(a: Doubles, m: Doubles, kind: int) -> float:
    square, product, norm_a, norm_m, difference, total = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for b in range(m.size):
        square += (a[b] - m[b]) ** 2
        product += a[b] * m[b]
        norm_a += a[b] ** 2
        norm_m += m[b] ** 2
        difference += abs(a[b] - m[b])
        total += abs(a[b] + m[b])
    if kind == 0:
        return math.sqrt(square)
    if kind == 1:
        lengths = math.sqrt(norm_a * norm_m)
        return max(0.0, 1.0 - product / lengths) if lengths > 0.0 else 0.0
    return float(difference / total) if total > 0.0 else 0.0


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _method(choice: int, n: int, geomedian_looks: int, medoid_looks: int) -> int:
    """Method for n looks: the one asked for, or by their number where 0 is asked; two looks have no median."""
    if choice != 0:
        return choice
    if n >= geomedian_looks:
        return GEOMEDIAN
    return MEDOID if n >= medoid_looks else BEST


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _gathered(stack: Singles, pixel: int, x: Doubles, which: Indices) -> int:
    """Copy the looks of a pixel that have all bands; their number."""
    n = 0
    for i in range(stack.shape[0]):
        seen = True
        for b in range(stack.shape[1]):
            value = stack[i, b, pixel]
            seen = seen and math.isfinite(value)
            x[n, b] = value
        if seen:
            which[n] = i
            n += 1
    return n


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _highest(scores: Singles, pixel: int, which: Indices, n: int) -> int:
    best = 0
    for i in range(1, n):
        if scores[which[i], pixel] > scores[which[best], pixel]:
            best = i
    return best


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _center(x: Doubles, m: Doubles, method: int, leader: int, tolerance: float, iterations: int) -> int:
    """Put the composite value into m; the look it is or is nearest to."""
    if method == GEOMEDIAN:
        geometric_median(x, m, tolerance, iterations)
        return _nearest(x, m)
    chosen = medoid(x) if method == MEDOID else leader
    for b in range(m.size):
        m[b] = x[chosen, b]
    return chosen


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def compose(
    stack: Singles,
    scores: Singles,
    choice: int,
    looks: tuple[int, int],
    ending: tuple[float, int],
    values: Singles,
    spread: Singles,
    distances: Singles,
    count: Indices,
    source: Indices,
    methods: Codes,
) -> None:
    """Composite of every pixel.

    Parameters
    ----------
    stack : array
        Looks (look, band, pixel), NaN where not seen.
    scores : array
        Suitability of a look for the best pixel (look, pixel).
    choice : int
        0 by the number of looks, else the code of a method.
    looks : tuple of int
        Looks from which the geometric median and the medoid are taken.
    ending : tuple
        Tolerance and largest number of steps of the geometric median [1].
    values, spread : array
        Receive center and median absolute deviation from it (band, pixel); NaN where nothing was seen.
    distances : array
        Receives the medians of three distances (distance, pixel).
    count, source : array
        Receive the looks and the look taken or nearest, -1 where there is none (pixel).
    methods : array
        Receives the code of the method, 0 where there is none (pixel).
    """
    dates, bands, pixels = stack.shape
    x = np.empty((dates + 1, bands))
    which = np.empty(dates + 1, dtype=np.int16)
    m = np.empty(bands)
    buffer = np.empty(dates)
    three = np.empty(3)
    for pixel in range(pixels):
        n = _gathered(stack, pixel, x, which)
        count[pixel] = n
        if n == 0:
            source[pixel] = -1
            methods[pixel] = 0
            values[:, pixel] = np.nan
            spread[:, pixel] = np.nan
            distances[:, pixel] = np.nan
            continue
        method = _method(choice, n, looks[0], looks[1])
        leader = _highest(scores, pixel, which, n)
        source[pixel] = which[_center(x[:n], m, method, leader, ending[0], ending[1])]
        methods[pixel] = method
        deviations(x[:n], m, buffer, three)
        distances[:, pixel] = three
        for b in range(bands):
            values[b, pixel] = m[b]
            for i in range(n):
                buffer[i] = abs(x[i, b] - m[b])
            spread[b, pixel] = _median(buffer, n)
