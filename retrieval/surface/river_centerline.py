"""Centerlines of channels: thinned, freed of spurs, put together to long lines through their junctions."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from retrieval.surface import _river_kernels

Doubles = npt.NDArray[np.float64]
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_BETWEEN = {0: (1, 3), 2: (1, 4), 5: (3, 6), 7: (4, 6)}
"""Neighbors along the grid that make a diagonal one superfluous."""


@dataclass(frozen=True, kw_only=True)
class CenterlineParameters:
    """How lines are drawn.

    Parameters
    ----------
    margin : int
        Pixels by which the channel is carried on beyond the scene, so that lines leave it straight [pixel].
    spur_ratio : float
        Longest spur, in distances from the bank at its root [1].
    spur_length : float
        The same, added to it [pixel].
    largest_bend : float
        Largest bend of a line that goes on through a junction [degree].
    """

    margin: int = 48
    spur_ratio: float = 1.6
    spur_length: float = 2.0
    largest_bend: float = 75.0


class Line(NamedTuple):
    """A centerline.

    Attributes
    ----------
    places : numpy.ndarray
        Row and column in order, one pixel apart (point, 2) [pixel].
    junctions : numpy.ndarray
        Row, column and distance from the bank where other lines join (junction, 3) [pixel].
    start_free, end_free : bool
        Whether it ends there in water or land rather than in another line.
    """

    places: Doubles
    junctions: Doubles
    start_free: bool
    end_free: bool


class _Segment(NamedTuple):
    """Pixels between two nodes, both included."""

    path: list[int]

    @property
    def ends(self) -> tuple[int, int]:
        return self.path[0], self.path[-1]


class _Skeleton(NamedTuple):
    """Pixels of a skeleton."""

    places: npt.NDArray[np.int64]
    """Row and column (pixel, 2)."""
    neighbors: list[list[int]]
    """Neighbors of every pixel."""
    distance: Doubles
    """Distance from the bank (pixel) [pixel]."""


def draw(
    channel: npt.NDArray[np.bool_], distance: npt.NDArray[np.float32], *, parameters: CenterlineParameters
) -> list[Line]:
    """Centerlines of channels, the longest first.

    Parameters
    ----------
    channel : numpy.ndarray
        Channels with everything filled that is to have no line around it (y, x).
    distance : numpy.ndarray
        Distance from the bank (y, x) [pixel].
    parameters : CenterlineParameters
        Choices.

    Returns
    -------
    list of Line
        The lines; places beyond the scene are cut off.
    """
    skeleton = _skeleton(channel, distance, parameters)
    segments = _pruned(_segments(skeleton), skeleton, parameters)
    lines = [_line(path, segments, skeleton) for path in _strokes(segments, skeleton, parameters)]
    lines = [line for line in (_inside(line, channel.shape) for line in lines) if len(line.places) > 1]
    return sorted(lines, key=lambda line: (-len(line.places), *line.places[0]))


def _skeleton(
    channel: npt.NDArray[np.bool_], distance: npt.NDArray[np.float32], parameters: CenterlineParameters
) -> _Skeleton:
    margin = parameters.margin
    mask = np.pad(np.pad(channel.astype(np.uint8), margin, mode="edge"), 1)
    _river_kernels.thin(mask)
    flat = np.flatnonzero(mask)
    rows, columns = np.unravel_index(flat, mask.shape)
    width = mask.shape[1]
    found = np.full((flat.size, 8), -1, dtype=np.int64)
    for number, (down, right) in enumerate(_AROUND):
        wanted = flat + down * width + right
        position = np.minimum(np.searchsorted(flat, wanted), max(flat.size - 1, 0))
        found[:, number] = np.where(flat[position] == wanted, position, -1) if flat.size else -1
    for diagonal, between in _BETWEEN.items():
        found[(found[:, between[0]] >= 0) | (found[:, between[1]] >= 0), diagonal] = -1
    places = np.stack([rows, columns], axis=1) - margin - 1
    inside = np.clip(places, 0, np.array(channel.shape) - 1)
    away = distance[inside[:, 0], inside[:, 1]].astype(np.float64)
    return _Skeleton(places, [[int(other) for other in row if other >= 0] for row in found], away)


def _segments(skeleton: _Skeleton) -> list[_Segment]:
    """Pixels between nodes; a ring without node begins anywhere."""
    degree = [len(others) for others in skeleton.neighbors]
    visited: set[tuple[int, int]] = set()
    seen = np.zeros(len(degree), dtype=bool)
    segments = []
    nodes = [index for index, count in enumerate(degree) if count not in (0, 2)]
    for node in nodes:
        seen[node] = True
        for other in skeleton.neighbors[node]:
            if (node, other) in visited:
                continue
            segments.append(_walk(node, other, skeleton, degree, visited, seen))
    for index, count in enumerate(degree):
        if count == 2 and not seen[index]:
            seen[index] = True
            segments.append(_walk(index, skeleton.neighbors[index][0], skeleton, degree, visited, seen))
    return segments


def _walk(
    node: int,
    other: int,
    skeleton: _Skeleton,
    degree: list[int],
    visited: set[tuple[int, int]],
    seen: npt.NDArray[np.bool_],
) -> _Segment:
    path = [node, other]
    visited.add((node, other))
    while degree[path[-1]] == 2 and path[-1] != node:
        seen[path[-1]] = True
        beyond = [place for place in skeleton.neighbors[path[-1]] if place != path[-2]]
        if not beyond:
            break
        path.append(beyond[0])
    visited.add((path[-1], path[-2]))
    return _Segment(path)


def _length(segment: _Segment, skeleton: _Skeleton) -> float:
    steps = np.diff(skeleton.places[segment.path], axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def _at(segments: dict[int, _Segment]) -> dict[int, list[int]]:
    """Segments at every node; a ring stands there twice."""
    meeting: dict[int, list[int]] = {}
    for number, segment in segments.items():
        for end in segment.ends:
            meeting.setdefault(end, []).append(number)
    return meeting


def _pruned(found: list[_Segment], skeleton: _Skeleton, parameters: CenterlineParameters) -> dict[int, _Segment]:
    """Segments without spurs, the shortest taken away first; what then meets in twos is one."""
    segments = dict(enumerate(found))
    changed = True
    while changed:
        meeting = _at(segments)
        spurs = sorted(
            (length, number)
            for number, segment in segments.items()
            if (length := _spur(segment, meeting, skeleton, parameters)) > 0
        )
        changed = False
        touched: set[int] = set()
        for _, number in spurs:
            ends = set(segments[number].ends)
            # One spur of a node at a time: what is left may be the river itself.
            if ends & touched:
                continue
            touched |= ends
            del segments[number]
            changed = True
        segments = _merged(segments)
    return segments


def _spur(
    segment: _Segment, meeting: dict[int, list[int]], skeleton: _Skeleton, parameters: CenterlineParameters
) -> float:
    """Length of a spur, 0 of what is none."""
    counts = [len(meeting[end]) for end in segment.ends]
    if min(counts) != 1 or max(counts) < 3:
        return 0.0
    root = segment.ends[int(np.argmax(counts))]
    length = _length(segment, skeleton)
    limit = parameters.spur_ratio * skeleton.distance[root] + parameters.spur_length
    return length if length < limit else 0.0


def _merged(segments: dict[int, _Segment]) -> dict[int, _Segment]:
    """Segments with those that meet in twos made one."""
    meeting = _at(segments)
    for node in list(meeting):
        numbers = meeting[node]
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            continue
        first, second = numbers
        one, other = segments[first].path, segments[second].path
        head = one if one[-1] == node else one[::-1]
        tail = other if other[0] == node else other[::-1]
        joined = _Segment([*head, *tail[1:]])
        del segments[second]
        segments[first] = joined
        end = joined.path[-1]
        meeting[end] = [first if number == second else number for number in meeting[end]]
        meeting[node] = []
    return segments


def _strokes(
    segments: dict[int, _Segment], skeleton: _Skeleton, parameters: CenterlineParameters
) -> list[list[tuple[int, bool]]]:
    """Chains of segments that go on through junctions: number, and whether it is taken backwards."""
    onward = _onward(segments, skeleton, parameters)
    left = set(segments)
    strokes = []
    for number in sorted(segments, key=lambda number: (-len(segments[number].path), number)):
        if number not in left:
            continue
        left.discard(number)
        ahead = _followed(number, 1, onward, left)
        behind = _followed(number, 0, onward, left)
        strokes.append([(other, not turned) for other, turned in behind[::-1]] + [(number, False)] + ahead)
    return strokes


def _followed(
    number: int, end: int, onward: dict[tuple[int, int], tuple[int, int]], left: set[int]
) -> list[tuple[int, bool]]:
    """Segments after an end, and whether each is taken from its last pixel to its first."""
    chain = []
    at = (number, end)
    while at in onward and onward[at][0] in left:
        other, entered = onward[at]
        left.discard(other)
        chain.append((other, entered == 1))
        at = (other, 1 - entered)
    return chain


def _onward(
    segments: dict[int, _Segment], skeleton: _Skeleton, parameters: CenterlineParameters
) -> dict[tuple[int, int], tuple[int, int]]:
    """What goes on where at junctions: from (segment, end) to (segment, end)."""
    ends: dict[int, list[tuple[int, int]]] = {}
    for number, segment in segments.items():
        for end in (0, 1):
            ends.setdefault(segment.ends[end], []).append((number, end))
    onward: dict[tuple[int, int], tuple[int, int]] = {}
    for node, meeting in ends.items():
        if len(meeting) < 3:
            continue
        towards = {key: _direction(segments[key[0]], key[1], node, skeleton) for key in meeting}
        pairs = sorted(
            (float(towards[one] @ towards[other]), one, other)
            for position, one in enumerate(meeting)
            for other in meeting[position + 1 :]
            if one[0] != other[0]
        )
        for cosine, one, other in pairs:
            if cosine < -np.cos(np.radians(parameters.largest_bend)) and not {one, other} & set(onward):
                onward[one], onward[other] = other, one
    return onward


def _direction(segment: _Segment, end: int, node: int, skeleton: _Skeleton) -> Doubles:
    path = segment.path if end == 0 else segment.path[::-1]
    reach = min(len(path) - 1, max(int(2 * skeleton.distance[node]), 3))
    step = (skeleton.places[path[reach]] - skeleton.places[path[0]]).astype(np.float64)
    return np.asarray(step / max(float(np.hypot(*step)), 1.0))


def _line(stroke: list[tuple[int, bool]], segments: dict[int, _Segment], skeleton: _Skeleton) -> Line:
    meeting = _at(segments)
    path: list[int] = []
    nodes: list[int] = []
    for number, turned in stroke:
        part = segments[number].path[::-1] if turned else segments[number].path
        nodes += [part[0], part[-1]]
        path += part[1:] if path and path[-1] == part[0] else part
    joints = sorted({node for node in nodes if len(meeting[node]) >= 3})
    junctions = np.column_stack([skeleton.places[joints], skeleton.distance[joints]]) if joints else np.zeros((0, 3))
    places = skeleton.places[path].astype(np.float64)
    return Line(places, junctions.astype(np.float64), len(meeting[path[0]]) < 2, len(meeting[path[-1]]) < 2)


def _inside(line: Line, shape: tuple[int, ...]) -> Line:
    """The part of a line within the scene; where it leaves it, it does not end."""
    within = np.asarray(((line.places >= 0) & (line.places <= np.array(shape) - 1)).all(axis=1))
    labels, count = ndimage.label(within)
    if not count:
        return line._replace(places=line.places[:0])
    sizes = np.bincount(labels)[1:]
    kept = np.flatnonzero(labels == 1 + int(np.argmax(sizes)))
    first, last = int(kept[0]), int(kept[-1])
    return line._replace(
        places=line.places[first : last + 1],
        start_free=line.start_free and first == 0,
        end_free=line.end_free and last == len(within) - 1,
    )
