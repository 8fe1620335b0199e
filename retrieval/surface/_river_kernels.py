"""Thinning of a mask to lines of one pixel, distances from banks, and profiles across a river."""

import numba
import numpy as np
import numpy.typing as npt

HOLE, FILLED, BRIDGE = 1, 2, 4
"""Bits of the state of a pixel: water in a small hole; channel beyond the water; bridge."""
_COMPLETE, _OPEN, _NO_DATA, _OFF_WATER = 0, 1, 2, 3
_HALF = 0.5
_RIPPLE = 0.03
"""Step back of a profile that is not yet the next bank [1]."""


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
def _surrounded(mask: npt.NDArray[np.uint8], row: int, column: int) -> bool:
    count = 0
    for i in range(row - 1, row + 2):
        for j in range(column - 1, column + 2):
            count += mask[i, j]
    return bool(count == 9)


@numba.njit(cache=True, nogil=True)
def thin(mask: npt.NDArray[np.uint8]) -> None:
    """Thin a mask in place to lines of one pixel; its outermost pixels must be 0.

    Only pixels with a neighbor outside are looked at, for no other may go.

    Parameters
    ----------
    mask : numpy.ndarray
        0 or 1 (y, x).
    """
    rows, columns = mask.shape
    front = [np.int64(0) for _ in range(0)]
    # Half steps for which a pixel is to be looked at: both after any change around it.
    due = np.zeros((rows, columns), np.uint8)
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            if mask[row, column] and not _surrounded(mask, row, column):
                front.append(np.int64(row * columns + column))
                due[row, column] = 2
    half = 0
    while len(front) > 0:
        gone = [place for place in front if _removable(mask, place // columns, place % columns, half == 1)]
        for place in gone:
            mask[place // columns, place % columns] = 0
        kept = 0
        for place in front:
            row, column = place // columns, place % columns
            due[row, column] -= 1
            if mask[row, column] and due[row, column]:
                front[kept] = place
                kept += 1
        front = front[:kept]
        for place in gone:
            row, column = place // columns, place % columns
            for i in range(row - 1, row + 2):
                for j in range(column - 1, column + 2):
                    if mask[i, j]:
                        if due[i, j] == 0:
                            front.append(np.int64(i * columns + j))
                        due[i, j] = 2
        half = 1 - half


@numba.njit(cache=True, nogil=True)
def _depths(inside: npt.NDArray[np.bool_], cap: int) -> npt.NDArray[np.uint16]:
    """Distance along its column of every pixel from the nearest one that is not inside, at most `cap` [pixel]."""
    rows, columns = inside.shape
    depth = np.full((rows, columns), cap, np.uint16)
    for row in range(rows):
        for column in range(columns):
            if not inside[row, column]:
                depth[row, column] = 0
            elif row > 0:
                depth[row, column] = min(cap, depth[row - 1, column] + 1)
    for row in range(rows - 2, -1, -1):
        for column in range(columns):
            depth[row, column] = min(depth[row, column], depth[row + 1, column] + 1)
    return depth


@numba.njit(cache=True, nogil=True)
def _across_row(
    depth: npt.NDArray[np.uint16],
    cap: int,
    out: npt.NDArray[np.float32],
    place: npt.NDArray[np.int64],
    begin: npt.NDArray[np.float64],
) -> None:
    """Distance in a row from depths along columns: lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012)."""
    columns = depth.size
    column = 0
    while column < columns:
        if depth[column] == 0:
            out[column] = 0.0
            column += 1
            continue
        stop = column
        while stop < columns and depth[stop] > 0:
            stop += 1
        count = 0
        # Beyond the pixels that close a run nothing is nearer than they are.
        for source in range(max(column - 1, 0), min(stop + 1, columns)):
            height = float(depth[source]) ** 2
            if depth[source] >= cap:
                continue
            start = -np.inf
            while count > 0:
                last = place[count - 1]
                start = (height + source**2 - float(depth[last]) ** 2 - last**2) / (2.0 * (source - last))
                if start > begin[count - 1]:
                    break
                count -= 1
                start = -np.inf
            place[count], begin[count] = source, start
            count += 1
        at = 0
        for pixel in range(column, stop):
            if count == 0:
                out[pixel] = cap
                continue
            while at + 1 < count and begin[at + 1] < pixel:
                at += 1
            away = np.sqrt(float(pixel - place[at]) ** 2 + float(depth[place[at]]) ** 2)
            out[pixel] = min(away, float(cap))
        column = stop


@numba.njit(cache=True, nogil=True)
def distances(inside: npt.NDArray[np.bool_], cap: int) -> npt.NDArray[np.float32]:
    """Distance of every pixel from the nearest one that is not inside, at most `cap`; the edge is no such pixel.

    Parameters
    ----------
    inside : numpy.ndarray
        Pixels asked about (y, x).
    cap : int
        Largest distance that is told apart [pixel].

    Returns
    -------
    numpy.ndarray
        Distance (y, x) [pixel], 0 outside.
    """
    rows, columns = inside.shape
    depth = _depths(inside, cap)
    out = np.zeros((rows, columns), np.float32)
    place, begin = np.zeros(columns + 1, np.int64), np.zeros(columns + 1, np.float64)
    for row in range(rows):
        _across_row(depth[row], cap, out[row], place, begin)
    return out


@numba.njit(cache=True, nogil=True)
def farther(inside: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    """Pixels farther than a radius from every one that is not inside, without a layer of distances.

    Parameters
    ----------
    inside : numpy.ndarray
        Pixels asked about (y, x).
    radius : float
        Distance [pixel].

    Returns
    -------
    numpy.ndarray
        Whether it is farther (y, x).
    """
    rows, columns = inside.shape
    cap = int(np.ceil(radius)) + 1
    depth = _depths(inside, cap)
    out = np.zeros((rows, columns), np.bool_)
    away = np.zeros(columns, np.float32)
    place, begin = np.zeros(columns + 1, np.int64), np.zeros(columns + 1, np.float64)
    for row in range(rows):
        _across_row(depth[row], cap, away, place, begin)
        for column in range(columns):
            out[row, column] = away[column] > radius
    return out


@numba.njit(cache=True, nogil=True)
def sizes(labels: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.int64]:
    """Pixels of every label.

    Parameters
    ----------
    labels : numpy.ndarray
        Labels from 0 (y, x).
    count : int
        Labels.

    Returns
    -------
    numpy.ndarray
        Pixels (label) [1].
    """
    out = np.zeros(count, np.int64)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            out[labels[row, column]] += 1
    return out


@numba.njit(cache=True, nogil=True)
def picked(labels: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of the wanted labels.

    Parameters
    ----------
    labels : numpy.ndarray
        Labels from 0 (y, x).
    wanted : numpy.ndarray
        Whether a label is wanted (label).

    Returns
    -------
    numpy.ndarray
        Whether its label is (y, x).
    """
    out = np.zeros(labels.shape, np.bool_)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            out[row, column] = wanted[labels[row, column]]
    return out


@numba.njit(cache=True, nogil=True)
def touched(labels: npt.NDArray[np.int32], where: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
    """Labels with a pixel at some places.

    Parameters
    ----------
    labels : numpy.ndarray
        Labels from 0 (y, x).
    where : numpy.ndarray
        The places (y, x).
    count : int
        Labels.

    Returns
    -------
    numpy.ndarray
        Whether a label has one there (label).
    """
    out = np.zeros(count, np.bool_)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            if where[row, column]:
                out[labels[row, column]] = True
    return out


@numba.njit(cache=True, nogil=True)
def _share(water: npt.NDArray[np.float32], state: npt.NDArray[np.uint8], bits: int, row: int, column: int) -> float:
    if state[row, column] & bits:
        return 1.0
    # Where bridges are looked for nothing else counts.
    return 0.0 if bits == BRIDGE else float(water[row, column])


@numba.njit(cache=True, nogil=True)
def _bilinear(
    water: npt.NDArray[np.float32], state: npt.NDArray[np.uint8], bits: int, row: float, column: float
) -> float:
    """Value between pixel centers; NaN outside and beside pixels without one."""
    rows, columns = water.shape
    top, left = int(np.floor(row)), int(np.floor(column))
    if top < 0 or left < 0 or top > rows - 1 or left > columns - 1:
        return np.nan
    down, across = row - top, column - left
    below, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = _share(water, state, bits, top, left) * (1 - across) + _share(water, state, bits, top, right) * across
    lower = _share(water, state, bits, below, left) * (1 - across) + _share(water, state, bits, below, right) * across
    value: float = upper * (1 - down) + lower * down
    return value


@numba.njit(cache=True, nogil=True)
def _averaged(
    water: npt.NDArray[np.float32],
    state: npt.NDArray[np.uint8],
    bits: int,
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
        total += _bilinear(water, state, bits, row + offset * along[0], column + offset * along[1])
    return total / count


@numba.njit(cache=True, nogil=True)
def _sampled(
    water: npt.NDArray[np.float32],
    state: npt.NDArray[np.uint8],
    bits: int,
    place: npt.NDArray[np.float64],
    length: tuple[float, float, int],
    profile: npt.NDArray[np.float64],
    done: npt.NDArray[np.bool_],
    first: int,
    last: int,
) -> None:
    """Fill in what is still missing of a mean profile from one sample to another.

    `place` is row, column, along (2), across (2); `length` is the step across, half the length averaged over, and how
    many profiles that is.
    """
    along = (place[2], place[3])
    far = profile.size // 2
    for index in range(max(min(first, last), 0), min(max(first, last), profile.size - 1) + 1):
        if not done[index]:
            t = (index - far) * length[0]
            row, column = place[0] + t * place[4], place[1] + t * place[5]
            profile[index] = _averaged(water, state, bits, row, column, along, length[1], length[2])
            done[index] = True


@numba.njit(cache=True, nogil=True)
def _flank(profile: npt.NDArray[np.float64], position: float, direction: int, farthest: float, sign: float) -> float:
    """How far from a crossing the profile goes on rising (sign 1) or falling (-1), at most `farthest` [step]."""
    reached, before = 0.0, _HALF
    for number in range(1, int(farthest) + 1):
        at = position + direction * number
        if at < 0 or at > profile.size - 1:
            break
        value = _between(profile, at)
        if not sign * (value - before) >= -_RIPPLE:
            break
        reached, before = float(number), value
    return reached


@numba.njit(cache=True, nogil=True)
def _between(profile: npt.NDArray[np.float64], position: float) -> float:
    index = min(int(position), profile.size - 2)
    part = position - index
    value: float = profile[index] * (1 - part) + profile[index + 1] * part
    return value


@numba.njit(cache=True, nogil=True)
def _balanced(profile: npt.NDArray[np.float64], position: float, direction: int, farthest: float) -> float:
    """Bank near a crossing such that as much water lies beyond it as is lacking before it [step].

    Unlike the crossing itself it is exact for shares of water wherever between two pixel centers the bank lies.
    """
    inward = _flank(profile, position, -direction, farthest, 1.0)
    outward = _flank(profile, position, direction, farthest, -1.0)
    if inward < 2.0 or outward < 2.0:
        return position
    wet, dry = _between(profile, position - direction * inward), _between(profile, position + direction * outward)
    if wet - dry < _HALF:
        return position
    count = int(inward + outward)
    total = -_HALF * (wet + dry)
    for number in range(count + 1):
        total += _between(profile, position + direction * (number - inward))
    return position + direction * ((total - dry * count) / (wet - dry) - inward)


@numba.njit(cache=True, nogil=True)
def _edge(
    water: npt.NDArray[np.float32],
    state: npt.NDArray[np.uint8],
    place: npt.NDArray[np.float64],
    length: tuple[float, float, int],
    profile: npt.NDArray[np.float64],
    done: npt.NDArray[np.bool_],
    start: int,
    direction: int,
    flank: float,
) -> tuple[float, int]:
    """Position of the bank from a start in the water [step], and what ended the search."""
    index = start
    while 0 <= index + direction < profile.size:
        if not done[index] or not done[index + direction]:
            _sampled(water, state, HOLE | FILLED, place, length, profile, done, index, index + 8 * direction)
        here, beyond = profile[index], profile[index + direction]
        if np.isnan(beyond):
            return float(index), _NO_DATA
        if beyond < _HALF:
            crossing = index + direction * (here - _HALF) / (here - beyond)
            around = int(flank) + 2
            _sampled(water, state, HOLE | FILLED, place, length, profile, done, index - around, index + around)
            return _balanced(profile, crossing, direction, flank), _COMPLETE
        index += direction
    return float(index), _OPEN


@numba.njit(cache=True, nogil=True)
def _crossing_slope(profile: npt.NDArray[np.float64], position: float) -> float:
    """Steepness of the profile at a position [per step]."""
    index = min(max(int(np.floor(position)), 1), profile.size - 3)
    slope = abs(profile[index + 2] - profile[index - 1]) / 3.0
    return slope if slope > 0 else np.nan


@numba.njit(cache=True, nogil=True)
def _wet(profile: npt.NDArray[np.float64], left: float, right: float, flank: float) -> tuple[float, int]:
    """Length of water between the banks [step], and how many channels it lies in."""
    first, last = int(np.ceil(left)), int(np.floor(right))
    length, channels = 0.0, 0
    entered = left
    # A bank may lie on either side of the nearest sample: next to it water is taken for granted.
    inside = True
    for index in range(first + 1, last - 1):
        here, beyond = profile[index], profile[index + 1]
        if np.isnan(here) or np.isnan(beyond):
            return np.nan, 0
        if inside and beyond < _HALF <= here:
            crossing = index + (here - _HALF) / (here - beyond)
            length += _balanced(profile, crossing, 1, flank) - entered
            channels += 1
            inside = False
        elif not inside and beyond >= _HALF:
            entered = _balanced(profile, index + (_HALF - here) / (beyond - here), -1, flank)
            inside = True
    if inside:
        length += right - entered
        channels += 1
    return length, channels


@numba.njit(cache=True, nogil=True)
def _marked(
    water: npt.NDArray[np.float32],
    state: npt.NDArray[np.uint8],
    place: npt.NDArray[np.float64],
    length: tuple[float, float, int],
    left: float,
    right: float,
) -> bool:
    """Whether a bridge lies between the banks or beside them."""
    along = (place[2], place[3])
    # A deck that a profile touches only in part makes it narrower too: look a little farther.
    margin, longer = 4, length[1] + 4.0 * length[0]
    for index in range(int(left) - margin, int(right) + margin + 1, 2):
        t = index * length[0]
        row, column = place[0] + t * place[4], place[1] + t * place[5]
        if _averaged(water, state, BRIDGE, row, column, along, longer, length[2]) > 0.0:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _known(
    water: npt.NDArray[np.float32],
    state: npt.NDArray[np.uint8],
    place: npt.NDArray[np.float64],
    length: tuple[float, float, int],
    left: float,
    right: float,
) -> bool:
    """Whether there is data from bank to bank; looked at once a pixel or so."""
    along = (place[2], place[3])
    for index in range(int(np.ceil(left)), int(np.floor(right)) + 1, 4):
        t = index * length[0]
        row, column = place[0] + t * place[4], place[1] + t * place[5]
        if np.isnan(_averaged(water, state, HOLE, row, column, along, length[1], length[2])):
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _sure(place: npt.NDArray[np.float64], length: tuple[float, float, int], away: float) -> int:
    """Samples from the center within which all that is averaged lies nearer than the bank [1]."""
    along, across = np.hypot(place[2], place[3]) * length[1], np.hypot(place[4], place[5]) * length[0]
    # Between pixel centers the distance is known to a pixel.
    room = max(away - 3.0, 0.0) ** 2 - along**2
    return int(np.sqrt(room) / across) if room > 0 else 0


@numba.njit(cache=True, nogil=True)
def measure(
    water: npt.NDArray[np.float32],
    state: npt.NDArray[np.uint8],
    places: npt.NDArray[np.float64],
    step: npt.NDArray[np.float64],
    reach: npt.NDArray[np.int64],
    half_length: npt.NDArray[np.float64],
    away: npt.NDArray[np.float64],
    count: int,
    flank: float,
    whole: bool,
) -> npt.NDArray[np.float64]:
    """Banks and water on transects.

    Parameters
    ----------
    water : numpy.ndarray
        Probability or share of water (y, x) [1].
    state : numpy.ndarray
        Bits of small holes, of what else is filled, of bridges (y, x).
    places : numpy.ndarray
        Row, column, then steps along and across the river in rows and columns per meter (station, 6).
    step : numpy.ndarray
        Distance of samples across (station) [m].
    reach : numpy.ndarray
        Farthest sample (station) [step].
    half_length : numpy.ndarray
        Half the length along the river that a profile is averaged over (station) [m].
    away : numpy.ndarray
        Distance of the center from the nearest bank (station) [pixel].
    count : int
        Profiles averaged.
    flank : float
        How far on both sides of a bank the share of water is weighed [step].
    whole : bool
        Whether more than the banks is wanted.

    Returns
    -------
    numpy.ndarray
        Left and right bank from the center [m], length of water [m], channels, state (0 complete, 1 no bank within
        reach, 2 no data, 3 center not in the channel), steepness at both banks [1/m],
        and whether a bridge lies on it (station, 8).
    """
    out = np.full((places.shape[0], 8), np.nan)
    out[:, 7] = 0.0
    for station in range(places.shape[0]):
        place, far = places[station], reach[station]
        size = step[station]
        length = (size, half_length[station], count)
        bank, done = np.full(2 * far + 1, np.nan), np.zeros(2 * far + 1, np.bool_)
        _sampled(water, state, HOLE | FILLED, place, length, bank, done, far, far)
        if not bank[far] >= _HALF:
            out[station, 4] = _NO_DATA if np.isnan(bank[far]) else _OFF_WATER
            continue
        sure = min(_sure(place, length, away[station]), far)
        left, left_state = _edge(water, state, place, length, bank, done, far - sure, -1, flank)
        right, right_state = _edge(water, state, place, length, bank, done, far + sure, 1, flank)
        out[station, 0], out[station, 1] = (left - far) * size, (right - far) * size
        out[station, 4] = max(left_state, right_state)
        if not whole:
            if out[station, 4] == _COMPLETE and not _known(water, state, place, length, left - far, right - far):
                out[station, 4] = _NO_DATA
            continue
        if out[station, 4] == _OPEN:
            # Without a bank only the bridge that the center lies below is its own.
            near = away[station] / (np.hypot(place[4], place[5]) * size) + 4 * flank
            left, right = max(left, far - near), min(right, far + near)
        out[station, 7] = _marked(water, state, place, length, left - far, right - far)
        if out[station, 4] != _COMPLETE:
            continue
        around = int(flank) + 2
        profile, done = np.full(2 * far + 1, np.nan), np.zeros(2 * far + 1, np.bool_)
        _sampled(water, state, HOLE, place, length, profile, done, int(left) - around, int(right) + around)
        wet, channels = _wet(profile, left, right, flank)
        out[station, 2], out[station, 3] = wet * size, channels
        out[station, 5] = _crossing_slope(bank, left) / size
        out[station, 6] = _crossing_slope(bank, right) / size
        if np.isnan(wet):
            out[station, 4] = _NO_DATA
    return out
