# mypy: disallow-untyped-decorators=False
"""Compiled loops of lines of sight that meet terrain.

Legend: H heights on a regular grid (row, column), NaN where unknown; a point has a position (row, column) on that grid,
0 at the center of its first pixel, and a height; s runs from 0 at the start of a segment to 1 at its end.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]
Heights = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

MET = 0
OUTSIDE = 1
VOID = 2
NOT_MET = 3

_HALVINGS = 24


@njit(cache=True, nogil=True)
def height_at(H: Heights, row: float, column: float) -> float:
    """Bilinear height, NaN beside unknown heights; infinite outside the grid (beyond half a pixel).

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    row, column : float
        Position [pixel].

    Returns
    -------
    float
        Height [m].
    """
    rows, columns = H.shape
    if not (-0.5 <= row <= rows - 0.5 and -0.5 <= column <= columns - 0.5):
        return np.inf
    row = min(max(row, 0.0), rows - 1.0)
    column = min(max(column, 0.0), columns - 1.0)
    r, c = min(int(row), max(rows - 2, 0)), min(int(column), max(columns - 2, 0))
    r1, c1 = min(r + 1, rows - 1), min(c + 1, columns - 1)
    p, q = row - r, column - c
    upper = H[r, c] if q == 0.0 else (1.0 - q) * H[r, c] + q * H[r, c1]
    if p == 0.0:
        return float(upper)
    lower = H[r1, c] if q == 0.0 else (1.0 - q) * H[r1, c] + q * H[r1, c1]
    return float((1.0 - p) * upper + p * lower)


@njit(cache=True, nogil=True)
def meet(H: Heights, start: Floats, end: Floats, step: float) -> tuple[float, int]:
    """First s at which a segment (row, column, height) goes below the terrain, and MET, OUTSIDE, VOID or NOT_MET.

    Unknown terrain before the first meeting makes it unknown; a segment that ends above the terrain is NOT_MET.

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    start, end : array
        Ends of the segment (3,): row, column, height.
    step : float
        Search step [pixel].

    Returns
    -------
    tuple
        s, NaN where the terrain is not met, and the outcome.
    """
    long = np.hypot(end[0] - start[0], end[1] - start[1])
    count = max(int(np.ceil(long / step)), 1)
    before = 0.0
    outside = True
    for i in range(count + 1):
        s = i / count
        ground = height_at(H, start[0] + s * (end[0] - start[0]), start[1] + s * (end[1] - start[1]))
        if np.isnan(ground):
            return np.nan, VOID
        if ground == np.inf:
            before = s
            continue
        outside = False
        if start[2] + s * (end[2] - start[2]) <= ground:
            low, high = before, s
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                there = height_at(H, start[0] + middle * (end[0] - start[0]), start[1] + middle * (end[1] - start[1]))
                if there == np.inf or start[2] + middle * (end[2] - start[2]) > there:
                    low = middle
                else:
                    high = middle
            return 0.5 * (low + high), MET
        before = s
    return np.nan, OUTSIDE if outside else NOT_MET


@njit(cache=True, nogil=True)
def meet_all(H: Heights, start: Floats, end: Floats, step: float, s: Floats, code: Codes) -> None:
    """Meet terrain along many segments.

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    start, end : array
        Ends of the segments (segment, 3): row, column, height.
    step : float
        Search step [pixel].
    s, code : array
        Results (segment), filled in place.
    """
    for i in range(s.size):
        if np.isnan(start[i, 0]) or np.isnan(end[i, 0]):
            s[i], code[i] = np.nan, OUTSIDE
        else:
            s[i], code[i] = meet(H, start[i], end[i], step)


@njit(cache=True, nogil=True)
def hidden(
    H: Heights,
    row: Floats,
    column: Floats,
    height: Floats,
    eye: Floats,
    parallel: bool,
    top: float,
    margin: float,
    step: float,
    result: npt.NDArray[np.bool_],
) -> None:
    """Which points do not see an eye because terrain rises above the line between them.

    Parameters
    ----------
    H : array
        Heights (row, column) [m]; unknown heights hide nothing.
    row, column, height : array
        Points (point).
    eye : array
        Row, column and height of the eye; or, where the sight is parallel, the way from every point toward it.
    parallel : bool
        Whether all lines of sight have one direction.
    top : float
        Height above which there is no terrain [m].
    margin : float
        Rise above the line from which terrain hides [m].
    step : float
        Search step [pixel].
    result : array
        Filled in place (point).
    """
    for i in range(row.size):
        result[i] = False
        dr = eye[0] if parallel else eye[0] - row[i]
        dc = eye[1] if parallel else eye[1] - column[i]
        dh = eye[2] if parallel else eye[2] - height[i]
        away = np.hypot(dr, dc)
        if np.isnan(height[i]) or dh <= 0.0 or away == 0.0:
            continue
        # the line leaves the terrain where it rises above its highest point
        reach = min(1.0, max(top - height[i], 0.0) / dh)
        for k in range(1, int(np.ceil(away * reach / step)) + 1):
            s = k * step / away
            if s > reach:
                break
            ground = height_at(H, row[i] + s * dr, column[i] + s * dc)
            if ground < np.inf and ground > height[i] + s * dh + margin:
                result[i] = True
                break
