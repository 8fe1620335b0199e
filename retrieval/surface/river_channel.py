"""Channels of rivers in a map of water: islands, bridges and places without data filled, so that lines can be drawn.

What is filled is kept as bits beside the map of water, which itself is only read: a scene of 10980 x 10980 is measured
with two layers of four bytes and a few of one beyond the map.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from retrieval.surface import _river_kernels

HOLE, FILLED, BRIDGE = _river_kernels.HOLE, _river_kernels.FILLED, _river_kernels.BRIDGE
"""Bits of the state of a pixel."""

Singles = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]
_ALL_AROUND = np.ones((3, 3), dtype=bool)
_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class ChannelParameters:
    """What counts as a channel.

    Parameters
    ----------
    small_hole : int
        Holes of fewer pixels are filled as water [pixel].
    island_ratio : float
        Largest island, in widths of the channels around it, that one river flows around [1].
    longest_gap : float
        Longest dry gap across a river that is taken for a bridge [pixel].
    gap_slack : float
        Area of a gap, in areas of a deck across the river, beyond which two rivers lie side by side [1].
    deepest_gap : int
        How far into places without data the nearest water or land is carried on [pixel].
    least_area : int
        Smallest water looked at [pixel].
    part : int
        Edge of the parts in which places without data are looked at [pixel].
    widest : int
        Largest distance from the bank that is told apart [pixel].
    """

    small_hole: int = 10
    island_ratio: float = 4.0
    longest_gap: float = 15.0
    gap_slack: float = 2.0
    deepest_gap: int = 32
    least_area: int = 40
    part: int = 1024
    widest: int = 384


class Channels(NamedTuple):
    """Channels of a scene.

    Attributes
    ----------
    water : numpy.ndarray
        Share of water as given (y, x) [1], NaN without data.
    state : numpy.ndarray
        Bits: 1 a small hole taken for water, 2 island, bridge or gap that is filled, 4 bridge (y, x).
    distance : numpy.ndarray
        Distance from the bank inside the channel (y, x) [pixel].
    small_holes : int
        Holes filled as water [1].
    islands : int
        Islands [1].
    bridges : int
        Gaps bridged [1].
    """

    water: Singles
    state: Octets
    distance: Singles
    small_holes: int
    islands: int
    bridges: int


def find(water: Singles, *, parameters: ChannelParameters, bridges: Booleans | None = None) -> Channels:
    """Channels in a map of water.

    Parameters
    ----------
    water : numpy.ndarray
        Probability or share of water (y, x) [1], NaN without data.
    parameters : ChannelParameters
        Choices.
    bridges : numpy.ndarray, optional
        Decks of known bridges (y, x).

    Returns
    -------
    Channels
        The channels.
    """
    water = np.ascontiguousarray(water, dtype=np.float32)
    wet = water >= _HALF
    state = np.zeros(wet.shape, dtype=np.uint8)
    small_holes = _fill_small(water, wet, state, parameters)
    _carry(water, wet, state, parameters)
    joined = _bridge(wet, state, bridges, parameters)
    islands = _fill_islands(wet, state, parameters)
    return Channels(
        water=water,
        state=state,
        distance=distances(wet, parameters=parameters),
        small_holes=small_holes,
        islands=islands,
        bridges=joined,
    )


def distances(inside: Booleans, *, parameters: ChannelParameters) -> Singles:
    """Distance of every pixel from the nearest one that is not inside, at most `widest`; the scene's edge is no bank.

    Parameters
    ----------
    inside : numpy.ndarray
        Pixels asked about (y, x).
    parameters : ChannelParameters
        Largest distance.

    Returns
    -------
    numpy.ndarray
        Distance (y, x) [pixel], 0 outside.
    """
    return _river_kernels.distances(np.ascontiguousarray(inside), parameters.widest)


def _parts(shape: tuple[int, ...], size: int) -> list[tuple[slice, slice]]:
    rows, columns = shape
    return [
        (slice(row, min(row + size, rows)), slice(column, min(column + size, columns)))
        for row in range(0, rows, size)
        for column in range(0, columns, size)
    ]


def _edges(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Labels at the edge of the scene."""
    return np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))


def _fill_small(water: Singles, wet: Booleans, state: Octets, parameters: ChannelParameters) -> int:
    """Fill small dry holes in place; how many there were."""
    labels, count = ndimage.label(~wet)
    small = _river_kernels.sizes(labels, count + 1) < parameters.small_hole
    small[0] = False
    # A hole without data is not known to be dry, and one cut by the edge of the scene may be large.
    small[_river_kernels.touched(labels, np.isnan(water), count + 1)] = False
    small[_edges(labels)] = False
    holes = _river_kernels.picked(labels, small)
    del labels
    state[holes] = HOLE
    wet |= holes
    return int(small.sum())


def _carry(water: Singles, wet: Booleans, state: Octets, parameters: ChannelParameters) -> None:
    """Fill in place what is without data and whose nearest known pixel is water and near."""
    margin = parameters.deepest_gap + 1
    told = []
    for part in _parts(wet.shape, parameters.part):
        window = _grown(part, margin, wet.shape)
        unknown = np.isnan(water[window])
        if not unknown.any() or not wet[window].any() or unknown.all():
            continue
        away, nearest = ndimage.distance_transform_edt(unknown, return_indices=True)
        found = unknown & wet[window][tuple(nearest)] & (away <= parameters.deepest_gap)
        inner = tuple(
            slice(own.start - wide.start, own.stop - wide.start) for own, wide in zip(part, window, strict=True)
        )
        rows, columns = np.nonzero(found[inner])
        told.append((rows + part[0].start, columns + part[1].start))
    # Only now, for what is carried on is not carried further.
    for at in told:
        wet[at] = True
        state[at] |= FILLED


def _grown(place: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip(place, shape, strict=True)
    )


class _Gap(NamedTuple):
    """A dry gap between waters."""

    place: tuple[slice, ...]
    inside: Booleans
    named: bool
    """Whether a known bridge crosses it."""


def _bridge(wet: Booleans, state: Octets, bridges: Booleans | None, parameters: ChannelParameters) -> int:
    """Fill in place the gaps between two waters that a deck explains, or that a known bridge names."""
    gaps = _gaps(wet, bridges, parameters)
    distance = distances(wet, parameters=parameters) if gaps else None
    joined = 0
    for gap in gaps:
        around = 0.0 if distance is None else float(distance[_grown(gap.place, 39, wet.shape)].max())
        if not gap.named and not _is_deck(gap, around, parameters):
            continue
        wet[gap.place] |= gap.inside
        state[gap.place][gap.inside] |= FILLED | BRIDGE
        joined += 1
    if bridges is not None:
        state[bridges] |= BRIDGE
    return joined


def _gaps(wet: Booleans, bridges: Booleans | None, parameters: ChannelParameters) -> list[_Gap]:
    """Gaps that touch two waters, or that a known bridge crosses."""
    radius = parameters.longest_gap / 2 + 1
    # Water closed by a disk that no gap of the longest length lets through.
    closed = _river_kernels.farther(~_river_kernels.farther(~wet, radius), radius)
    gaps, _ = ndimage.label(closed & ~wet, structure=_ALL_AROUND)
    del closed
    labels, _ = ndimage.label(wet, structure=_ALL_AROUND)
    found = []
    for number, place in enumerate(ndimage.find_objects(gaps), 1):
        window = _grown(place, 1, wet.shape)
        inside = gaps[window] == number
        named = bridges is not None and bool((bridges[window] & inside).any())
        around = labels[window][ndimage.binary_dilation(inside, structure=_ALL_AROUND)]
        if named or np.unique(around[around > 0]).size >= 2:
            found.append(_Gap(window, inside, named))
    return found


def _is_deck(gap: _Gap, widest: float, parameters: ChannelParameters) -> bool:
    # Two rivers side by side touch along their length, the parts of one river across a deck only over its width.
    across = 2.0 * widest + parameters.longest_gap / 2
    return bool(gap.inside.sum() <= parameters.gap_slack * parameters.longest_gap * across)


def _fill_islands(wet: Booleans, state: Octets, parameters: ChannelParameters) -> int:
    """Fill in place islands one river flows around; how many there are."""
    distance = distances(wet, parameters=parameters)
    labels, count = ndimage.label(~wet)
    outer = np.zeros(count + 1, dtype=bool)
    outer[_edges(labels)] = True
    filled = np.zeros(wet.shape, dtype=bool)
    islands = 0
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if outer[number]:
            continue
        window = _grown(place, 2, wet.shape)
        hole = labels[window] == number
        if _is_island(hole, parameters.island_ratio * float(distance[window].max())):
            filled[window] |= hole
            islands += 1
    wet |= filled
    state[filled] |= FILLED
    return islands


def _is_island(hole: Booleans, largest: float) -> bool:
    """Whether no circle larger than that fits into a hole."""
    cap = int(np.ceil(largest)) + 1
    # A square of that size with the area of the hole: a long look at half a scene is saved.
    edge = hole & ~ndimage.binary_erosion(hole)
    if hole.sum() > 2 * edge.sum() * max(largest, 1.0):
        return False
    return bool(float(_river_kernels.distances(np.ascontiguousarray(hole), cap).max()) <= largest)
