"""Thinning of a mask to lines of one pixel, and profiles across a river."""

import numba
import numpy as np
import numpy.typing as npt

_COMPLETE, _OPEN, _NO_DATA, _OFF_WATER = 0, 1, 2, 3
_HALF = 0.5


@numba.njit(cache=True, nogil=True)
def _removable(mask: npt.NDArray[np.uint8], row: int, column: int, second: bool) -> bool:
    """Whether a pixel may go in this half step (Zhang and Suen 1984, conditions a to d)."""
    p2, p3 = mask[row - 1, column], mask[row - 1, column + 1]
    p4, p5 = mask[row, column + 1], mask[row + 1, column + 1]
    p6, p7 = mask[row + 1, column], mask[row + 1, column - 1]
    p8, p9 = mask[row, column - 1], mask[row - 1, column - 1]
    count = p2 + p3 + p4 + p5 + p6 + p7 + p8 + p9
    if count < 2 or count > 6:
        return False
    changes = 0
    changes += p2 == 0 and p3 == 1
    changes += p3 == 0 and p4 == 1
    changes += p4 == 0 and p5 == 1
    changes += p5 == 0 and p6 == 1
    changes += p6 == 0 and p7 == 1
    changes += p7 == 0 and p8 == 1
    changes += p8 == 0 and p9 == 1
    changes += p9 == 0 and p2 == 1
    if changes != 1:
        return False
    if second:
        return bool(p2 * p4 * p8 == 0 and p2 * p6 * p8 == 0)
    return bool(p2 * p4 * p6 == 0 and p4 * p6 * p8 == 0)


@numba.njit(cache=True, nogil=True)
def thin(mask: npt.NDArray[np.uint8]) -> None:
    """Thin a mask in place to lines of one pixel; its outermost pixels must be 0.

    Parameters
    ----------
    mask : numpy.ndarray
        0 or 1 (y, x).
    """
    rows, columns = mask.shape
    count = 0
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            count += mask[row, column]
    places = np.empty(count, np.int64)
    kept = 0
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            if mask[row, column]:
                places[kept] = row * columns + column
                kept += 1
    gone = np.empty(count, np.int64)
    changed = True
    while changed:
        changed = False
        for half in range(2):
            leaving = 0
            for index in range(kept):
                row, column = places[index] // columns, places[index] % columns
                if _removable(mask, row, column, half == 1):
                    gone[leaving] = places[index]
                    leaving += 1
            for index in range(leaving):
                mask[gone[index] // columns, gone[index] % columns] = 0
            changed = changed or leaving > 0
            left = 0
            for index in range(kept):
                if mask[places[index] // columns, places[index] % columns]:
                    places[left] = places[index]
                    left += 1
            kept = left


@numba.njit(cache=True, nogil=True)
def _bilinear(values: npt.NDArray[np.float32], row: float, column: float) -> float:
    """Value between pixel centers; NaN outside and beside pixels without one."""
    rows, columns = values.shape
    top, left = int(np.floor(row)), int(np.floor(column))
    if top < 0 or left < 0 or top > rows - 1 or left > columns - 1:
        return np.nan
    down, across = row - top, column - left
    below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[below, left] * (1 - across) + values[below, right] * across
    value: float = upper * (1 - down) + lower * down
    return value


@numba.njit(cache=True, nogil=True)
def _averaged(
    values: npt.NDArray[np.float32],
    row: float,
    column: float,
    along: tuple[float, float],
    half_length: float,
    count: int,
) -> float:
    """Mean along the river of a value."""
    total = 0.0
    for index in range(count):
        offset = half_length * (2.0 * index / (count - 1) - 1.0)
        total += _bilinear(values, row + offset * along[0], column + offset * along[1])
    return total / count


@numba.njit(cache=True, nogil=True)
def _profile(
    values: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    step: float,
    reach: int,
    half_length: float,
    count: int,
) -> npt.NDArray[np.float64]:
    """Mean profile from -reach to reach steps across; `place` is row, column, along (2), across (2)."""
    profile = np.empty(2 * reach + 1)
    along = (place[2], place[3])
    for index in range(2 * reach + 1):
        t = (index - reach) * step
        profile[index] = _averaged(values, place[0] + t * place[4], place[1] + t * place[5], along, half_length, count)
    return profile


@numba.njit(cache=True, nogil=True)
def _edge(profile: npt.NDArray[np.float64], start: int, direction: int) -> tuple[float, int]:
    """Position of the bank from a start in the water [step], and what ended the search."""
    index = start
    while 0 <= index + direction < profile.size:
        here, beyond = profile[index], profile[index + direction]
        if np.isnan(beyond):
            return float(index), _NO_DATA
        if beyond < _HALF:
            return index + direction * (here - _HALF) / (here - beyond), _COMPLETE
        index += direction
    return float(index), _OPEN


@numba.njit(cache=True, nogil=True)
def _crossing_slope(profile: npt.NDArray[np.float64], position: float) -> float:
    """Steepness of the profile at a position [per step]."""
    index = min(max(int(np.floor(position)), 1), profile.size - 3)
    slope = abs(profile[index + 2] - profile[index - 1]) / 3.0
    return slope if slope > 0 else np.nan


@numba.njit(cache=True, nogil=True)
def _wet(profile: npt.NDArray[np.float64], left: float, right: float) -> tuple[float, int]:
    """Length of water between the banks [step], and how many channels it lies in."""
    first, last = int(np.ceil(left)), int(np.floor(right))
    length, channels = 0.0, 0
    entered = left
    inside = profile[first] >= _HALF
    for index in range(first, last):
        here, beyond = profile[index], profile[index + 1]
        if np.isnan(here) or np.isnan(beyond):
            return np.nan, 0
        if inside and beyond < _HALF:
            length += index + (here - _HALF) / (here - beyond) - entered
            channels += 1
            inside = False
        elif not inside and beyond >= _HALF:
            entered = index + (_HALF - here) / (beyond - here)
            inside = True
    if inside:
        length += right - entered
        channels += 1
    return length, channels


@numba.njit(cache=True, nogil=True)
def _marked(
    marks: npt.NDArray[np.float32],
    place: npt.NDArray[np.float64],
    step: float,
    half_length: float,
    count: int,
    left: float,
    right: float,
) -> bool:
    """Whether marks lie between the banks or beside them."""
    along = (place[2], place[3])
    # A deck that a profile touches only in part makes it narrower too: look a little farther.
    margin, longer = 4, half_length + 4.0 * step
    for index in range(int(left) - margin, int(right) + margin + 1):
        t = index * step
        if _averaged(marks, place[0] + t * place[4], place[1] + t * place[5], along, longer, count) > 0.0:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def measure(
    water: npt.NDArray[np.float32],
    channel: npt.NDArray[np.float32],
    marks: npt.NDArray[np.float32],
    places: npt.NDArray[np.float64],
    step: npt.NDArray[np.float64],
    reach: npt.NDArray[np.int64],
    half_length: npt.NDArray[np.float64],
    count: int,
) -> npt.NDArray[np.float64]:
    """Banks and water on transects.

    Parameters
    ----------
    water : numpy.ndarray
        Probability or share of water (y, x) [1].
    channel : numpy.ndarray
        The same with islands, bridges and gaps filled (y, x) [1].
    marks : numpy.ndarray
        More than 0 where a transect is to be marked (y, x).
    places : numpy.ndarray
        Row, column, then steps along and across the river in rows and columns per meter (station, 6).
    step : numpy.ndarray
        Distance of samples across (station) [m].
    reach : numpy.ndarray
        Farthest sample (station) [step].
    half_length : numpy.ndarray
        Half the length along the river that a profile is averaged over (station) [m].
    count : int
        Profiles averaged.

    Returns
    -------
    numpy.ndarray
        Left and right bank from the center [m], length of water [m], channels, state (0 complete, 1 no bank within
        reach, 2 no data, 3 center not in the channel), steepness at both banks [1/m],
        and whether marks lie on it (station, 8).
    """
    out = np.full((places.shape[0], 8), np.nan)
    out[:, 7] = 0.0
    for station in range(places.shape[0]):
        place, size, far = places[station], step[station], reach[station]
        bank = _profile(channel, place, size, far, half_length[station], count)
        if not bank[far] >= _HALF:
            out[station, 4] = _NO_DATA if np.isnan(bank[far]) else _OFF_WATER
            continue
        left, left_state = _edge(bank, far, -1)
        right, right_state = _edge(bank, far, 1)
        out[station, 0], out[station, 1] = (left - far) * size, (right - far) * size
        out[station, 4] = max(left_state, right_state)
        out[station, 7] = _marked(marks, place, size, half_length[station], count, left - far, right - far)
        if out[station, 4] != _COMPLETE:
            continue
        profile = _profile(water, place, size, far, half_length[station], count)
        length, channels = _wet(profile, left, right)
        out[station, 2], out[station, 3] = length * size, channels
        out[station, 5] = _crossing_slope(bank, left) / size
        out[station, 6] = _crossing_slope(bank, right) / size
        if np.isnan(length):
            out[station, 4] = _NO_DATA
    return out
