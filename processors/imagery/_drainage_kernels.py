# mypy: disallow-untyped-decorators=False
"""Compiled loops of drainage: flooding from the rim, directions, accumulation, descent to channels.

Legend: cells are numbered row by row; a direction 0 to 7 runs clockwise from north; heights are compared as 32 bit
integers of the same order as the floats they came from.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

OUTLET = 8
OUTSIDE = 254
UNSEEN = 255

REACHED = 0
CHANNEL = 1
LEAVES = 2
VOID = 255

ROWS = np.array([-1, -1, 0, 1, 1, 1, 0, -1], dtype=np.int64)
COLUMNS = np.array([0, 1, 1, 1, 0, -1, -1, -1], dtype=np.int64)

_LOWEST = -(2**31)
_MAGNITUDE = 2**31 - 1


@njit(cache=True, nogil=True)
def ordered(bits: int) -> int:
    """Integer of the same order as the float with these bits; its own inverse.

    Parameters
    ----------
    bits : int
        Bits of a 32 bit float, or the ordered integer.

    Returns
    -------
    int
        The other of the two.
    """
    return bits ^ _MAGNITUDE if bits < 0 else bits


@njit(cache=True, nogil=True)
def push(keys: npt.NDArray[np.int64], ties: npt.NDArray[np.int64], size: int, key: int, tie: int) -> None:
    """Add to a binary heap that has room.

    Parameters
    ----------
    keys, ties : array
        Heap by key, then tie.
    size : int
        Entries before.
    key, tie : int
        The entry.
    """
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if keys[above] < key or (keys[above] == key and ties[above] <= tie):
            break
        keys[place], ties[place] = keys[above], ties[above]
        place = above
    keys[place], ties[place] = key, tie


@njit(cache=True, nogil=True)
def drop_first(keys: npt.NDArray[np.int64], ties: npt.NDArray[np.int64], size: int) -> None:
    """Remove the first entry of a binary heap.

    Parameters
    ----------
    keys, ties : array
        Heap by key, then tie.
    size : int
        Entries before.
    """
    last = size - 1
    key, tie = keys[last], ties[last]
    place, below = 0, 1
    while below < last:
        other = below + 1
        if other < last and (keys[other] < keys[below] or (keys[other] == keys[below] and ties[other] < ties[below])):
            below = other
        if key < keys[below] or (key == keys[below] and tie <= ties[below]):
            break
        keys[place], ties[place] = keys[below], ties[below]
        place, below = below, 2 * below + 1
    keys[place], ties[place] = key, tie


@njit(cache=True, nogil=True)
def mark_outside(void: Flags, direction: Codes) -> None:
    """Mark the voids that are joined to the edge of the raster.

    Parameters
    ----------
    void : array
        Cells without height (row, column).
    direction : array
        Receives OUTSIDE (row, column).
    """
    rows, columns = void.shape
    stack = np.empty(1024, dtype=np.int64)
    size = 0
    for row in range(rows):
        for column in range(columns):
            rim = row in (0, rows - 1) or column in (0, columns - 1)
            if not (rim and void[row, column]) or direction[row, column] == OUTSIDE:
                continue
            direction[row, column] = OUTSIDE
            stack[size] = row * columns + column
            size += 1
            while size > 0:
                size -= 1
                r, c = stack[size] // columns, stack[size] % columns
                for k in range(8):
                    i, j = r + ROWS[k], c + COLUMNS[k]
                    if not (0 <= i < rows and 0 <= j < columns):
                        continue
                    if void[i, j] and direction[i, j] != OUTSIDE:
                        direction[i, j] = OUTSIDE
                        if size == stack.size:
                            stack = np.concatenate((stack, np.empty(stack.size, dtype=np.int64)))
                        stack[size] = i * columns + j
                        size += 1


@njit(cache=True, nogil=True)
def at_rim(direction: Codes, row: int, column: int) -> bool:
    """Whether a cell lies at the edge of the raster or beside the outside.

    Parameters
    ----------
    direction : array
        OUTSIDE where there is nothing (row, column).
    row, column : int
        The cell.

    Returns
    -------
    bool
        Whether water can leave there.
    """
    rows, columns = direction.shape
    for k in range(8):
        i, j = row + ROWS[k], column + COLUMNS[k]
        if not (0 <= i < rows and 0 <= j < columns) or direction[i, j] == OUTSIDE:
            return True
    return False


@njit(cache=True, nogil=True)
def flood(bits: Bits, void: Flags, direction: Codes, filled: Bits, order: npt.NDArray[np.int32]) -> int:
    """Flood from the rim: level of every cell, the neighbor it was reached from, and the order in which it was.

    Parameters
    ----------
    bits : array
        Heights as bits (row, column).
    void : array
        Cells without height (row, column).
    direction : array
        OUTSIDE or UNSEEN; receives the direction of the neighbor towards the outlet, or OUTLET (row, column).
    filled : array
        Receives bits of the level at which water leaves the cell (row, column).
    order : array
        Receives numbers of the cells, downstream first.

    Returns
    -------
    int
        Cells reached.
    """
    rows, columns = void.shape
    keys = np.empty(4 * (rows + columns) + 1024, dtype=np.int64)
    ties = np.empty(keys.size, dtype=np.int64)
    size, tick, done = 0, 0, 0
    for row in range(rows):
        for column in range(columns):
            if direction[row, column] == OUTSIDE or void[row, column] or not at_rim(direction, row, column):
                continue
            if size == keys.size:
                keys = np.concatenate((keys, np.empty_like(keys)))
                ties = np.concatenate((ties, np.empty_like(ties)))
            level = int(ordered(bits[row, column]))
            direction[row, column] = OUTLET
            filled[row, column] = bits[row, column]
            push(keys, ties, size, (level << 32) + (level - _LOWEST), (tick << 32) + row * columns + column)
            size += 1
            tick += 1
    while size > 0:
        level, cell = keys[0] >> 32, ties[0] & 0xFFFFFFFF
        drop_first(keys, ties, size)
        size -= 1
        order[done] = cell
        done += 1
        row, column = cell // columns, cell % columns
        if size + 8 > keys.size:
            keys = np.concatenate((keys, np.empty_like(keys)))
            ties = np.concatenate((ties, np.empty_like(ties)))
        for k in range(8):
            i, j = row + ROWS[k], column + COLUMNS[k]
            if not (0 <= i < rows and 0 <= j < columns) or direction[i, j] != UNSEEN:
                continue
            raw = np.int64(_LOWEST) if void[i, j] else np.int64(ordered(bits[i, j]))
            top = max(level, raw)
            direction[i, j] = (k + 4) & 7
            filled[i, j] = ordered(top)
            # Within a depression the lowest ground goes first, so that water follows its floor.
            push(keys, ties, size, (top << 32) + (raw - _LOWEST), (tick << 32) + i * columns + j)
            size += 1
            tick += 1
    return done


@njit(cache=True, nogil=True)
def steepest(filled: Floats, direction: Codes, height: float, width: float) -> None:
    """Turn every cell that has a lower neighbor to the one down the steepest way.

    Parameters
    ----------
    filled : array
        Levels (row, column) [m].
    direction : array
        Directions, changed in place (row, column).
    height, width : float
        Pixel size [m].
    """
    rows, columns = filled.shape
    away = np.hypot(ROWS * height, COLUMNS * width)
    for row in range(rows):
        for column in range(columns):
            if direction[row, column] == OUTSIDE:
                continue
            best = 0.0
            for k in range(8):
                i, j = row + ROWS[k], column + COLUMNS[k]
                if not (0 <= i < rows and 0 <= j < columns) or direction[i, j] == OUTSIDE:
                    continue
                fall = (filled[row, column] - filled[i, j]) / away[k]
                if fall > best:
                    best = fall
                    direction[row, column] = k


@njit(cache=True, nogil=True)
def accumulate(direction: Codes, order: npt.NDArray[np.int32], count: npt.NDArray[np.int32]) -> None:
    """Number of cells whose water passes a cell, its own included.

    Parameters
    ----------
    direction : array
        Directions (row, column).
    order : array
        Cells, downstream first.
    count : array
        Ones; receives the numbers (row, column).
    """
    columns = direction.shape[1]
    for place in range(order.size - 1, -1, -1):
        row, column = order[place] // columns, order[place] % columns
        k = direction[row, column]
        if k < OUTLET:
            count[row + ROWS[k], column + COLUMNS[k]] += count[row, column]


@njit(cache=True, nogil=True)
def carve(direction: Codes, order: npt.NDArray[np.int32], level: Floats) -> None:
    """Lower every cell to the lowest whose water passes it.

    Parameters
    ----------
    direction : array
        Directions (row, column).
    order : array
        Cells, downstream first.
    level : array
        Heights, changed in place (row, column) [m].
    """
    columns = direction.shape[1]
    for place in range(order.size - 1, -1, -1):
        row, column = order[place] // columns, order[place] % columns
        k = direction[row, column]
        if k < OUTLET:
            i, j = row + ROWS[k], column + COLUMNS[k]
            level[i, j] = min(level[i, j], level[row, column])


@njit(cache=True, nogil=True)
def descend(
    direction: Codes,
    order: npt.NDArray[np.int32],
    level: Floats,
    channel: Flags,
    size: tuple[float, float],
    found: tuple[Floats, Floats, Codes],
) -> None:
    """Follow the water of every cell to its channel.

    Parameters
    ----------
    direction : array
        Directions (row, column).
    order : array
        Cells, downstream first.
    level : array
        Heights that never rise downstream (row, column) [m].
    channel : array
        Channels (row, column).
    size : tuple
        Height and width of a pixel [m].
    found : tuple of array
        Receive height above the channel [m], length of the way to it [m], and REACHED, CHANNEL or LEAVES
        (row, column); NaN, NaN and VOID before.
    """
    above, distance, outcome = found
    columns = direction.shape[1]
    away = np.hypot(ROWS * size[0], COLUMNS * size[1])
    for place in range(order.size):
        row, column = order[place] // columns, order[place] % columns
        k = direction[row, column]
        if channel[row, column]:
            above[row, column], distance[row, column] = level[row, column], 0.0
            outcome[row, column] = CHANNEL
        elif k == OUTLET:
            outcome[row, column] = LEAVES
        else:
            i, j = row + ROWS[k], column + COLUMNS[k]
            above[row, column] = above[i, j]
            distance[row, column] = distance[i, j] + away[k]
            outcome[row, column] = LEAVES if outcome[i, j] == LEAVES else REACHED
    for place in range(order.size):
        row, column = order[place] // columns, order[place] % columns
        above[row, column] = level[row, column] - above[row, column]
