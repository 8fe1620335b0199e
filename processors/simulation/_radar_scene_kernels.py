"""Compiled loops of the radar scenes: the scan along range, and what shares a slant range.

Legend: z height [m], p pixel size [m], i incidence angle, rows run south and columns east; (step_row, step_column) the
unit step away from the radar [pixel]. With ground range x counted away from the radar, slant range is
x sin(i) - z cos(i) and the coordinate across the beam x cos(i) + z sin(i).
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Raster = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _between(z: Raster, row: float, column: float) -> float:
    """Value between four pixels; positions beyond the edge stay on it."""
    m, n = z.shape
    row = min(max(row, 0.0), m - 1.0)
    column = min(max(column, 0.0), n - 1.0)
    i, j = min(int(row), m - 2), min(int(column), n - 2)
    a, b = row - i, column - j
    upper = z[i, j] * (1.0 - b) + z[i, j + 1] * b
    lower = z[i + 1, j] * (1.0 - b) + z[i + 1, j + 1] * b
    return float(upper * (1.0 - a) + lower * a)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def scan_range(z: Raster, step_row: float, step_column: float, p: float, tangent: float) -> tuple[Mask, Mask]:
    """Which pixels share their slant range with others, and which the beam does not reach.

    Parameters
    ----------
    z : array
        Heights [m].
    step_row, step_column : float
        Unit step away from the radar [pixel].
    p : float
        Pixel size [m].
    tangent : float
        Tangent of the incidence angle [1].

    Returns
    -------
    tuple of array
        Layover and shadow.
    """
    m, n = z.shape
    top, bottom = float(z.max()), float(z.min())
    layover = np.zeros((m, n), dtype=np.bool_)
    shadow = np.zeros((m, n), dtype=np.bool_)
    fold, ray = p * tangent, p / tangent
    for r in range(m):
        for c in range(n):
            here = float(z[r, c])
            for k in range(1, int((top - here) / fold * 2.0) + 2):
                d = 0.5 * k
                row, column = r + d * step_row, c + d * step_column
                if row < 0.0 or column < 0.0 or row > m - 1 or column > n - 1:
                    break
                if _between(z, row, column) - here >= d * fold:
                    layover[r, c] = True
                    break
            reach = max((here - bottom) / fold, (top - here) / ray)
            for k in range(1, int(reach * 2.0) + 2):
                d = 0.5 * k
                row, column = r - d * step_row, c - d * step_column
                if row < 0.0 or column < 0.0 or row > m - 1 or column > n - 1:
                    break
                near = _between(z, row, column)
                if here - near >= d * fold:
                    layover[r, c] = True
                if near - here >= d * ray:
                    shadow[r, c] = True
                    break
    return layover, shadow


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def fold_range(
    z: Raster,
    bright: Raster,
    layover: Mask,
    shadow: Mask,
    step_row: float,
    step_column: float,
    p: float,
    angle: float,
) -> tuple[Raster, Raster]:
    """Energy and area of everything in the slant range bin of each pixel in layover.

    Parameters
    ----------
    z : array
        Heights [m].
    bright : array
        Gamma nought of the ground (layer, y, x) [1].
    layover, shadow : array
        As `scan_range` finds them.
    step_row, step_column : float
        Unit step away from the radar [pixel].
    p : float
        Pixel size [m].
    angle : float
        Incidence angle [rad].

    Returns
    -------
    tuple of array
        Mean gamma nought of the facets of the bin, weighted by the area they show (layer, y, x), and that area over
        what flat ground shows (y, x) [1].
    """
    layers, m, n = bright.shape
    mixed = np.zeros((layers, m, n), dtype=np.float32)
    area = np.ones((m, n), dtype=np.float32)
    sine, cosine = np.sin(angle), np.cos(angle)
    top, bottom = float(z.max()), float(z.min())
    half = 0.5 * p * sine
    step = 0.5
    total = np.zeros(layers)
    for r in range(m):
        for c in range(n):
            if not layover[r, c]:
                continue
            here = float(z[r, c])
            # What shares the bin lies where the terrain can reach it.
            back = int((here - bottom) * cosine / sine / p / step) + 4
            ahead = int((top - here) * cosine / sine / p / step) + 4
            total[:] = 0.0
            shown = 0.0
            for k in range(-back, ahead):
                x0, x1 = k * step * p, (k + 1) * step * p
                row, column = r + k * step * step_row, c + k * step * step_column
                z0 = _between(z, row, column) - here
                z1 = _between(z, row + step * step_row, column + step * step_column) - here
                r0, r1 = x0 * sine - z0 * cosine, x1 * sine - z1 * cosine
                across = (x1 - x0) * cosine + (z1 - z0) * sine
                if across <= 0.0:
                    continue
                low, high = min(r0, r1), max(r0, r1)
                share = (min(high, half) - max(low, -half)) / max(high - low, 1e-6)
                if share <= 0.0:
                    continue
                i = min(max(int(row + 0.5 * step * step_row + 0.5), 0), m - 1)
                j = min(max(int(column + 0.5 * step * step_column + 0.5), 0), n - 1)
                if shadow[i, j]:
                    continue
                weight = across * min(share, 1.0)
                shown += weight
                for layer in range(layers):
                    total[layer] += weight * bright[layer, i, j]
            area[r, c] = shown / (p * cosine)
            if shown > 0.0:
                for layer in range(layers):
                    mixed[layer, r, c] = total[layer] / shown
    return mixed, area
