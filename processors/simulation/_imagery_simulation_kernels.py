"""Compiled loops of the imagery simulator: rays over terrain, to the sun, and radar range geometry.

Legend: z height [m], d step or displacement [pixel], rows run south and columns east, so a ray towards azimuth A steps
(-cos A, sin A) in (row, column); k level of a cloud, t optical thickness of a level [1].
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

Raster = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
# Steps along the edge stay on it whatever their rounding [pixel].
EDGE = 1e-6
BLOCK = 16


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _bilinear(z: Raster, row: float, column: float) -> float:
    """Value between four pixels; the caller keeps the position inside."""
    i, j = int(row), int(column)
    i, j = min(i, z.shape[0] - 2), min(j, z.shape[1] - 2)
    p, q = row - i, column - j
    upper = z[i, j] * (1.0 - q) + z[i, j + 1] * q
    lower = z[i + 1, j] * (1.0 - q) + z[i + 1, j + 1] * q
    return float(upper * (1.0 - p) + lower * p)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _bilinear_periodic(t: Raster, row: float, column: float) -> float:
    """Value between four pixels of a field that repeats."""
    m, n = t.shape
    i, j = math.floor(row), math.floor(column)
    p, q = row - i, column - j
    i0, j0 = int(i) % m, int(j) % n
    i1, j1 = (i0 + 1) % m, (j0 + 1) % n
    upper = t[i0, j0] * (1.0 - q) + t[i0, j1] * q
    lower = t[i1, j0] * (1.0 - q) + t[i1, j1] * q
    return float(upper * (1.0 - p) + lower * p)


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _block_maxima(z: Raster) -> Raster:
    """Largest height that interpolation can give in a block of pixels, which reaches for the next row and column."""
    m, n = z.shape
    summit = np.empty(((m - 1) // BLOCK + 1, (n - 1) // BLOCK + 1), dtype=np.float32)
    for p in range(summit.shape[0]):
        for q in range(summit.shape[1]):
            # The last row and column count from the pixels before them, as _bilinear does.
            first, left = min(p * BLOCK, m - 2), min(q * BLOCK, n - 2)
            summit[p, q] = z[first : (p + 1) * BLOCK + 1, left : (q + 1) * BLOCK + 1].max()
    return summit


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _way_out(place: float, block: int, step: float) -> float:
    """Number of steps that stay in a block."""
    if step > 1e-9:
        return float(((block + 1) * BLOCK - place) / step)
    if step < -1e-9:
        return float((block * BLOCK - place) / step)
    return 1e9


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def cast_shadow(z: Raster, step_row: float, step_column: float, climb: float) -> Mask:
    """Where terrain stands between a pixel and the sun.

    Parameters
    ----------
    z : array
        Heights [m].
    step_row, step_column : float
        Unit step towards the sun [pixel].
    climb : float
        Rise of the ray with a step [m].

    Returns
    -------
    array
        Mask of the pixels in shadow.
    """
    m, n = z.shape
    top = z.max()
    summit = _block_maxima(z)
    shaded = np.zeros((m, n), dtype=np.bool_)
    for i in range(m):
        for j in range(n):
            start = float(z[i, j]) + 1e-3
            k = 1
            while True:
                row, column, height = i + k * step_row, j + k * step_column, start + k * climb
                outside = row < -EDGE or column < -EDGE or row > m - 1 + EDGE or column > n - 1 + EDGE
                if outside or height >= top:
                    break
                p, q = int(row) // BLOCK, int(column) // BLOCK
                if height >= summit[p, q]:
                    # The ray rises: nothing in this block can reach it any more.
                    k += max(1, int(min(_way_out(row, p, step_row), _way_out(column, q, step_column))))
                    continue
                if _bilinear(z, row, column) > height:
                    shaded[i, j] = True
                    break
                k += 1
    return shaded


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def slant_thickness(t: Raster, heights: Raster, z: Raster, reach_row: float, reach_column: float) -> Raster:
    """Optical thickness of all levels a ray from each pixel crosses on its way out.

    Parameters
    ----------
    t : array
        Optical thickness (level, row, column), repeating, its first pixel over that of the terrain [1].
    heights : array
        Height of the levels [m].
    z : array
        Heights of the terrain [m].
    reach_row, reach_column : float
        Horizontal way of the ray for one meter of height [pixel m-1]; zero for a look straight up.

    Returns
    -------
    array
        Sum over the levels above the pixel [1].
    """
    m, n = z.shape
    total = np.zeros((m, n), dtype=np.float32)
    for k in range(heights.size):
        for i in range(m):
            for j in range(n):
                above = heights[k] - z[i, j]
                if above > 0.0:
                    total[i, j] += _bilinear_periodic(t[k], i + above * reach_row, j + above * reach_column)
    return total


@njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def first_ground(z: Raster, origin: Points, way: Points) -> Points:
    """Where rays from above first meet terrain.

    Parameters
    ----------
    z : array
        Heights [m].
    origin : array
        Start of the rays (ray, 3): row and column [pixel], height above all terrain [m].
    way : array
        Direction of the rays (ray, 3): row and column [pixel], height, falling [m].

    Returns
    -------
    array
        Row and column [pixel] and height [m] (ray, 3), not a number where the ray leaves the terrain.
    """
    m, n = z.shape
    top, bottom = float(z.max()), float(z.min())
    found = np.full(origin.shape, np.nan)
    for k in range(origin.shape[0]):
        fall = way[k, 2]
        if not fall < 0.0:
            continue
        start = (top + 1e-3 - origin[k, 2]) / fall
        stop = (bottom - 1e-3 - origin[k, 2]) / fall
        across = math.hypot(way[k, 0], way[k, 1]) * (stop - start)
        steps = int(2.0 * across) + 1
        low = start
        for s in range(1, steps + 1):
            high = start + (stop - start) * s / steps
            row, column = origin[k, 0] + high * way[k, 0], origin[k, 1] + high * way[k, 1]
            if row < -EDGE or column < -EDGE or row > m - 1 + EDGE or column > n - 1 + EDGE:
                low = high
                continue
            if _bilinear(z, row, column) < origin[k, 2] + high * fall:
                low = high
                continue
            for _ in range(40):
                middle = 0.5 * (low + high)
                row, column = origin[k, 0] + middle * way[k, 0], origin[k, 1] + middle * way[k, 1]
                row, column = min(max(row, 0.0), m - 1.0), min(max(column, 0.0), n - 1.0)
                if _bilinear(z, row, column) < origin[k, 2] + middle * fall:
                    low = middle
                else:
                    high = middle
            found[k, 0] = origin[k, 0] + high * way[k, 0]
            found[k, 1] = origin[k, 1] + high * way[k, 1]
            found[k, 2] = origin[k, 2] + high * fall
            break
    return found
