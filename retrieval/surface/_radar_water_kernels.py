"""Compiled loops of the water map.

Legend: x features (feature, row, column), mu mean and q packed inverse covariance of a component (q00, q01, q11, log of
the normalization), w log weight of a component within its class, l log-odds, p probability.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Octets = npt.NDArray[np.uint8]

_UNSEEN, _LARGE, _SMALL, _VISITED = 0, 1, 2, 3
_DOWN, _RIGHT = (-1, 1, 0, 0), (0, 0, -1, 1)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _density(a: float, b: float, mu: Doubles, q: Doubles, k: int) -> float:
    da, db = a - mu[k, 0], b - mu[k, 1]
    return math.exp(q[k, 3] - 0.5 * (q[k, 0] * da * da + 2.0 * q[k, 1] * da * db + q[k, 2] * db * db))


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def class_densities(
    x: Singles,
    mu: Doubles,
    q: Doubles,
    floor: Doubles,
    least: Doubles,
    greatest: Doubles,
    weight: Doubles,
    wet: Octets,
    out: Singles,
) -> None:
    """Density of the features under dry and wet, as logarithms; NaN where no group of features is complete.

    Parameters
    ----------
    x : array
        Features (group, 2, row, column); a group of one feature has zeros for its second.
    mu : array
        Means (group, component, 2).
    q : array
        Inverse covariance q00, q01, q11 and the log of the normalization (group, component, 4).
    floor : array
        Density of what no component explains (group, 2): share, and density.
    least, greatest : array
        Features are taken as no more watery than these (group, 2).
    weight : array
        Weight of each component within its class (component) [1].
    wet : array
        1 for components of water (component).
    out : array
        Receives the log densities (2, row, column): dry, wet.
    """
    groups, components = x.shape[0], weight.shape[0]
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            dry_sum, wet_sum, known = 0.0, 0.0, False
            for g in range(groups):
                known = known or (math.isfinite(x[g, 0, i, j]) and math.isfinite(x[g, 1, i, j]))
            if not known:
                out[0, i, j] = math.nan
                out[1, i, j] = math.nan
                continue
            for k in range(components):
                total = weight[k]
                for g in range(groups):
                    a, b = x[g, 0, i, j], x[g, 1, i, j]
                    if math.isfinite(a) and math.isfinite(b):
                        a = min(max(a, least[g, 0]), greatest[g, 0])
                        b = min(max(b, least[g, 1]), greatest[g, 1])
                        total *= (1.0 - floor[g, 0]) * _density(a, b, mu[g], q[g], k) + floor[g, 0] * floor[g, 1]
                if wet[k] == 1:
                    wet_sum += total
                else:
                    dry_sum += total
            out[0, i, j] = math.log(max(dry_sum, 1e-300))
            out[1, i, j] = math.log(max(wet_sum, 1e-300))


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def smooth(base: Singles, coupling: float, shore: float, sweeps: int, first: Singles, second: Singles) -> None:
    """Mean field of a Markov random field of four neighbors: log-odds drawn to those of the neighbors.

    Parameters
    ----------
    base : array
        Log-odds of each pixel by itself (row, column), NaN without data.
    coupling : float
        Log-odds one neighbor of certain class adds [1].
    shore : float
        Log-odds added where half of the neighbors are certainly wet and half dry [1].
    sweeps : int
        Rounds; a block needs as many pixels of halo.
    first : array
        Receives the log-odds.
    second : array
        Room to work, as large.
    """
    rows, columns = base.shape
    first[:] = base
    for _ in range(sweeps):
        for i in range(rows):
            for j in range(columns):
                second[i, j] = math.tanh(0.5 * first[i, j]) if math.isfinite(first[i, j]) else 0.0
        for i in range(rows):
            for j in range(columns):
                if not math.isfinite(base[i, j]):
                    continue
                pull, count = 0.0, 0
                for n in range(4):
                    a, b = i + _DOWN[n], j + _RIGHT[n]
                    if a >= 0 and b >= 0 and a < rows and b < columns and math.isfinite(base[a, b]):
                        pull += second[a, b]
                        count += 1
                mean = pull / count if count > 0 else 1.0
                first[i, j] = base[i, j] + coupling * pull + shore * (1.0 - mean * mean)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _patch(
    z: Octets, sure: Octets, state: Octets, i: int, j: int, nodata: int, patch: npt.NDArray[np.int64]
) -> tuple[int, bool, bool]:
    """Pixels of the patch around one, as far as they fit; whether it is believed, and whether another class adjoins."""
    patch[0, 0], patch[0, 1] = i, j
    state[i, j] = _VISITED
    head, size, large, other = 0, 1, patch.shape[0] <= 1 or sure[i, j] == 1, False
    while head < size and not large:
        for n in range(4):
            a, b = patch[head, 0] + _DOWN[n], patch[head, 1] + _RIGHT[n]
            if a < 0 or b < 0 or a >= z.shape[0] or b >= z.shape[1] or z[a, b] == nodata:
                continue
            if z[a, b] != z[i, j]:
                other = True
            elif state[a, b] == _LARGE:
                large = True
            elif state[a, b] == _UNSEEN:
                state[a, b] = _VISITED
                patch[size, 0], patch[size, 1] = a, b
                size += 1
                if size >= patch.shape[0] or sure[a, b] == 1:
                    large = True
                    break
        head += 1
    return size, large, other


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def sieve(z: Octets, sure: Octets, smallest: int, nodata: int, out: Octets) -> None:
    """Give patches smaller than the least size the other class; those sure somewhere or without neighbor class stay.

    Neighbors are the four adjoining pixels. A block needs a halo of the least size.

    Parameters
    ----------
    z : array
        Classes 0 and 1 (row, column).
    sure : array
        1 where one pixel is enough for its patch to be believed (row, column).
    smallest : int
        Pixels a patch needs [1].
    nodata : int
        Number of pixels without class.
    out : array
        Receives the classes.
    """
    state = np.zeros(z.shape, dtype=np.uint8)
    patch = np.empty((smallest, 2), dtype=np.int64)
    out[:] = z
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            if z[i, j] == nodata or state[i, j] != _UNSEEN:
                continue
            size, large, other = _patch(z, sure, state, i, j, nodata, patch)
            for n in range(size):
                a, b = patch[n, 0], patch[n, 1]
                state[a, b] = _LARGE if large else _SMALL
                if other and not large:
                    out[a, b] = 1 - z[i, j]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def smooth_dates(
    base: Singles, coupling: float, shore: float, sweeps: int, wet: Singles, new: Singles, room: Singles
) -> None:
    """Mean field of a Markov random field of two dates: on either, a pixel is drawn to what its neighbors are.

    Parameters
    ----------
    base : array
        Log scores of each pixel by itself (case, row, column): dry on both dates, dry then wet, wet then dry, wet on
        both; NaN without data.
    coupling : float
        Log-odds one neighbor of certain class adds [1].
    shore : float
        Log-odds of wet on the later date added where half of the neighbors are certainly wet and half dry [1].
    sweeps : int
        Rounds; a block needs as many pixels of halo.
    wet, new : array
        Receive the probabilities of wet on the later date, and of dry then wet (row, column) [1].
    room : array
        Room to work (4, row, column).
    """
    rows, columns = wet.shape
    for i in range(rows):
        for j in range(columns):
            _dates(base, i, j, 0.0, 0.0, wet, new, room[0], room[1])
    for sweep in range(sweeps):
        source, target = 2 * (sweep % 2), 2 * ((sweep + 1) % 2)
        for i in range(rows):
            for j in range(columns):
                if not math.isfinite(base[0, i, j]):
                    room[target, i, j], room[target + 1, i, j] = 0.0, 0.0
                    continue
                then, now, count = 0.0, 0.0, 0
                for n in range(4):
                    a, b = i + _DOWN[n], j + _RIGHT[n]
                    if a >= 0 and b >= 0 and a < rows and b < columns and math.isfinite(base[0, a, b]):
                        then += room[source, a, b]
                        now += room[source + 1, a, b]
                        count += 1
                mean = now / count if count > 0 else 1.0
                rise = coupling * now + shore * (1.0 - mean * mean)
                _dates(base, i, j, coupling * then, rise, wet, new, room[target], room[target + 1])


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _dates(
    base: Singles,
    i: int,
    j: int,
    then: float,
    now: float,
    wet: Singles,
    new: Singles,
    early: Singles,
    late: Singles,
) -> None:
    """Posterior of one pixel with what its neighbors add on either date; its expected signs for the next round."""
    if not math.isfinite(base[0, i, j]):
        wet[i, j], new[i, j], early[i, j], late[i, j] = math.nan, math.nan, 0.0, 0.0
        return
    first, second = base[0, i, j], base[1, i, j] + now
    third, fourth = base[2, i, j] + then, base[3, i, j] + then + now
    greatest = max(max(first, second), max(third, fourth))
    first, second = math.exp(first - greatest), math.exp(second - greatest)
    third, fourth = math.exp(third - greatest), math.exp(fourth - greatest)
    total = first + second + third + fourth
    wet[i, j], new[i, j] = (second + fourth) / total, second / total
    early[i, j] = 2.0 * (third + fourth) / total - 1.0
    late[i, j] = 2.0 * (second + fourth) / total - 1.0


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def add_terms(x: Singles, knots: Doubles, heights: Doubles, out: Singles) -> None:
    """Add functions that are linear between knots, one function of one layer each.

    Parameters
    ----------
    x : array
        Layer (row, column); where it is not finite nothing is added.
    knots : array
        Places of the knots, rising (knot).
    heights : array
        Values there (function, knot); constant beyond the first and the last knot.
    out : array
        Sums so far (function, row, column).
    """
    last = knots.shape[0] - 1
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = x[i, j]
            if not math.isfinite(value):
                continue
            k = 0
            while k < last - 1 and value >= knots[k + 1]:
                k += 1
            part = min(max((value - knots[k]) / (knots[k + 1] - knots[k]), 0.0), 1.0)
            for f in range(heights.shape[0]):
                out[f, i, j] += heights[f, k] + part * (heights[f, k + 1] - heights[f, k])
