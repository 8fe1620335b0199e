# mypy: disallow-untyped-decorators=False
"""Compiled loops of radar geometry: every pixel looks along its range line, towards the radar and away from it.

Legend: a step along the line leads from one grid line to the next across the direction that dominates; heights between
two pixels of a grid line are linear. z height, r rise of the ground per metre away from the radar.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

NONE = 0
PASSIVE = 1
ACTIVE = 2

BLOCK = 16
"""Edge of the blocks whose highest ground is known beforehand [pixel]."""


@njit(cache=True, nogil=True)
def height_along(H: Floats, row: float, column: float) -> float:
    """Height at a point of a grid line; NaN beside unknown heights, infinite outside.

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    row, column : float
        Position, one of them whole [pixel].

    Returns
    -------
    float
        Height [m].
    """
    rows, columns = H.shape
    if not (0.0 <= row <= rows - 1.0 and 0.0 <= column <= columns - 1.0):
        return np.inf
    i, j = int(row), int(column)
    p, q = row - i, column - j
    if p < 1e-9 and q < 1e-9:
        return float(H[i, j])
    if p < 1e-9:
        return float((1.0 - q) * H[i, j] + q * H[i, j + 1])
    return float((1.0 - p) * H[i, j] + p * H[i + 1, j])


@njit(cache=True, nogil=True)
def summits(H: Floats, above: bool) -> Floats:
    """Highest (or lowest) ground of every block and those around it; infinite where some of it is unknown or outside.

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    above : bool
        Whether the highest is wanted.

    Returns
    -------
    array
        Heights (block row, block column) [m].
    """
    rows, columns = H.shape
    sign = 1.0 if above else -1.0
    shape = ((rows + BLOCK - 1) // BLOCK, (columns + BLOCK - 1) // BLOCK)
    single = np.full(shape, np.float32(-np.inf))
    for row in range(rows):
        for column in range(columns):
            i, j = row // BLOCK, column // BLOCK
            z = sign * H[row, column]
            if np.isnan(z):
                single[i, j] = np.inf
            elif z > single[i, j]:
                single[i, j] = z
    joint = np.full(shape, np.float32(np.inf))
    for i in range(1, shape[0] - 1):
        for j in range(1, shape[1] - 1):
            joint[i, j] = single[i - 1 : i + 2, j - 1 : j + 2].max()
    # The last blocks may be cut by the edge, so that a skip from beside them could lead outside unseen.
    joint[max(shape[0] - 2, 0) :] = np.inf
    joint[:, max(shape[1] - 2, 0) :] = np.inf
    return (joint * sign).astype(np.float32)


@njit(cache=True, nogil=True)
def look(
    H: Floats,
    coarse: Floats,
    place: tuple[int, int],
    step: tuple[float, float, float],
    rate: float,
    limit: float,
    above: bool,
) -> tuple[int, bool]:
    """Steps to the first ground that reaches a line from a pixel, 0 for none, and whether unknown ground could.

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    coarse : array
        Highest or lowest ground of the blocks [m].
    place : tuple
        Row and column of the pixel.
    step : tuple
        Rows, columns [pixel] and length [m] of a step.
    rate : float
        Rise of the line per length [1].
    limit : float
        Height beyond which no ground reaches [m].
    above : bool
        Whether ground above the line is sought, else ground below it.

    Returns
    -------
    tuple
        Steps and doubt.
    """
    start = float(H[place[0], place[1]])
    doubt = False
    n = 0
    while True:
        n += 1
        line = start + rate * n * step[2]
        if (line > limit) if above else (line < limit):
            return 0, doubt
        row, column = place[0] + n * step[0], place[1] + n * step[1]
        z = height_along(H, row, column)
        if np.isinf(z):
            return 0, True
        if np.isnan(z):
            doubt = True
            continue
        if (z >= line) if above else (z <= line):
            return n, False
        summit = coarse[int(row) // BLOCK, int(column) // BLOCK]
        if (line > summit) if above else (line < summit):
            n += BLOCK - 2


@njit(cache=True, nogil=True)
def whole_step(row: float, column: float, size: tuple[float, float]) -> tuple[float, float, float]:
    """Step along a direction from one grid line to the next.

    Parameters
    ----------
    row, column : float
        Direction [pixel m-1].
    size : tuple
        Height and width of a pixel [m].

    Returns
    -------
    tuple
        Rows, columns [pixel] and length [m].
    """
    longest = max(abs(row), abs(column))
    row, column = row / longest, column / longest
    # Rounding of a direction along the grid must not lead off its lines.
    row, column = (0.0 if abs(row) < 1e-9 else row), (0.0 if abs(column) < 1e-9 else column)
    return row, column, float(np.hypot(row * size[0], column * size[1]))


@njit(cache=True, nogil=True)
def scan(
    H: Floats,
    incidence: Floats,
    direction: tuple[float, float],
    size: tuple[float, float],
    bounds: tuple[float, float],
    found: tuple[Codes, Codes, Codes],
) -> None:
    """Layover and shadow of every pixel, each with its own angle of incidence.

    Parameters
    ----------
    H : array
        Heights (row, column) [m].
    incidence : array
        Angle from the vertical (row, column) [rad]; of shape (1, 1) where it is the same everywhere.
    direction : tuple
        Away from the radar, rows and columns per metre [pixel m-1].
    size : tuple
        Height and width of a pixel [m].
    bounds : tuple
        Lowest and highest ground [m].
    found : tuple of array
        Receive layover and shadow (NONE, PASSIVE, ACTIVE) and doubt (row, column).
    """
    layover, shadow, doubtful = found
    rows, columns = H.shape
    away = whole_step(direction[0], direction[1], size)
    back = (-away[0], -away[1], away[2])
    high, low = summits(H, True), summits(H, False)
    alike = incidence.size == 1
    for row in range(rows):
        for column in range(columns):
            angle = incidence[0, 0] if alike else incidence[row, column]
            if np.isnan(H[row, column]) or np.isnan(angle):
                continue
            place = (row, column)
            rise = np.tan(angle)
            before, doubt_before = look(H, low, place, back, -rise, bounds[0], False)
            after, doubt_after = look(H, high, place, away, rise, bounds[1], True)
            if before + after > 0:
                layover[row, column] = ACTIVE if before == 1 or after == 1 else PASSIVE
            hidden, doubt_hidden = look(H, high, place, back, 1.0 / rise, bounds[1], True)
            if hidden > 0:
                shadow[row, column] = ACTIVE if hidden == 1 else PASSIVE
            if before + after == 0 and (doubt_before or doubt_after):
                doubtful[row, column] = 1
            if hidden == 0 and doubt_hidden:
                doubtful[row, column] = 1
