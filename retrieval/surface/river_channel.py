"""Channels of rivers in a map of water: islands, bridges and places without data filled, so that lines can be drawn.

Distances are found part by part with a margin, so that a scene of any size takes bounded memory beyond its layers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BRIDGE = 1
"""Mark of a gap that is bridged."""

Singles = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]
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
        Edge of the parts in which distances are found [pixel].
    widest : int
        Largest distance from the bank that is told apart [pixel].
    """

    small_hole: int = 10
    island_ratio: float = 4.0
    longest_gap: float = 15.0
    gap_slack: float = 2.0
    deepest_gap: int = 32
    least_area: int = 40
    part: int = 2048
    widest: int = 384


class Channels(NamedTuple):
    """Channels of a scene.

    Attributes
    ----------
    water : numpy.ndarray
        Share of water with small holes filled (y, x) [1], NaN without data.
    channel : numpy.ndarray
        The same with islands, bridges and gaps filled (y, x) [1], NaN where nothing is known.
    marks : numpy.ndarray
        1 where a gap was bridged, else 0 (y, x).
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
    channel: Singles
    marks: Singles
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
    shares = water.astype(np.float32, copy=True)
    unknown = np.isnan(shares)
    wet = np.nan_to_num(shares) >= _HALF
    small_holes = _fill_small(shares, wet, unknown, parameters)
    carried = _carried(wet, unknown, parameters)
    wet |= carried
    marks = np.zeros(wet.shape, dtype=np.float32)
    joined = _bridge(wet, marks, bridges, parameters)
    distance = distances(wet, parameters=parameters)
    islands = _islands(wet, distance, parameters)
    filled = wet | islands[0]
    channel = np.where(unknown & ~filled, np.nan, np.where(filled & (np.nan_to_num(shares) < _HALF), 1.0, shares))
    return Channels(
        water=shares,
        channel=channel.astype(np.float32),
        marks=marks,
        distance=distances(filled, parameters=parameters),
        small_holes=small_holes,
        islands=islands[1],
        bridges=joined,
    )


def distances(inside: Booleans, *, parameters: ChannelParameters) -> Singles:
    """Distance of every pixel from the nearest one that is not inside, at most `widest`; the scene's edge is no bank.

    Parameters
    ----------
    inside : numpy.ndarray
        Pixels asked about (y, x).
    parameters : ChannelParameters
        Size of the parts and margin.

    Returns
    -------
    numpy.ndarray
        Distance (y, x) [pixel], 0 outside.
    """
    out = np.zeros(inside.shape, dtype=np.float32)
    for rows, columns in _parts(inside.shape, parameters.part):
        own = inside[rows, columns]
        if not own.any():
            continue
        top, left = max(rows.start - parameters.widest, 0), max(columns.start - parameters.widest, 0)
        around = inside[top : rows.stop + parameters.widest, left : columns.stop + parameters.widest]
        if around.all():
            out[rows, columns] = parameters.widest
            continue
        found = ndimage.distance_transform_edt(around)
        part = found[rows.start - top :, columns.start - left :][: own.shape[0], : own.shape[1]]
        out[rows, columns] = np.minimum(part, parameters.widest)
    return out


def _parts(shape: tuple[int, ...], size: int) -> list[tuple[slice, slice]]:
    rows, columns = shape
    return [
        (slice(row, min(row + size, rows)), slice(column, min(column + size, columns)))
        for row in range(0, rows, size)
        for column in range(0, columns, size)
    ]


def _fill_small(shares: Singles, wet: Booleans, unknown: Booleans, parameters: ChannelParameters) -> int:
    """Fill small dry holes in place; how many there were."""
    labels, count = ndimage.label(~wet)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    small = sizes < parameters.small_hole
    small[0] = False
    # A hole without data is not known to be dry, and one cut by the edge of the scene may be large.
    small[np.unique(labels[unknown])] = False
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        small[edge] = False
    holes = small[labels]
    shares[holes] = 1.0
    wet |= holes
    return int(small.sum())


def _carried(wet: Booleans, unknown: Booleans, parameters: ChannelParameters) -> Booleans:
    """Places without data whose nearest known pixel is water and near."""
    out = np.zeros(wet.shape, dtype=bool)
    if not unknown.any():
        return out
    labels, _ = ndimage.label(unknown, structure=_ALL_AROUND)
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        window = _grown(place, 1, wet.shape)
        here = labels[window] == number
        if not (wet[window] & ndimage.binary_dilation(here, structure=_ALL_AROUND)).any():
            continue
        away, nearest = ndimage.distance_transform_edt(unknown[window], return_indices=True)
        told = wet[window][tuple(nearest)] & (away <= parameters.deepest_gap)
        out[window] |= told & here
    return out


def _grown(place: tuple[slice, ...], margin: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip(place, shape, strict=True)
    )


def _bridge(wet: Booleans, marks: Singles, bridges: Booleans | None, parameters: ChannelParameters) -> int:
    """Fill in place the gaps between two waters that a deck explains, or that a known bridge names."""
    labels, _ = ndimage.label(wet, structure=_ALL_AROUND)
    distance = distances(wet, parameters=parameters)
    gaps, _ = ndimage.label(_closed(wet, parameters) & ~wet, structure=_ALL_AROUND)
    joined = 0
    for number, place in enumerate(ndimage.find_objects(gaps), 1):
        window = _grown(place, 1, wet.shape)
        gap = gaps[window] == number
        named = bridges is not None and bool((bridges[window] & gap).any())
        if not named and not _is_deck(gap, labels[window], distance[_grown(place, 40, wet.shape)], parameters):
            continue
        wet[window] |= gap
        marks[window][gap] = BRIDGE
        joined += 1
    if bridges is not None:
        marks[bridges] = BRIDGE
    return joined


def _closed(wet: Booleans, parameters: ChannelParameters) -> Booleans:
    """Water closed by a disk that no gap of the longest length lets through."""
    radius = parameters.longest_gap / 2 + 1
    near = ~(distances(~wet, parameters=parameters) > radius)
    closed: Booleans = distances(near, parameters=parameters) > radius
    return closed


def _is_deck(gap: Booleans, labels: npt.NDArray[np.int32], around: Singles, parameters: ChannelParameters) -> bool:
    touched = labels[ndimage.binary_dilation(gap, structure=_ALL_AROUND) & (labels > 0)]
    if np.unique(touched).size < 2:
        return False
    # Two rivers side by side touch along their length, the parts of one river across a deck only over its width.
    across = 2.0 * float(around.max()) + parameters.longest_gap / 2
    return bool(gap.sum() <= parameters.gap_slack * parameters.longest_gap * across)


def _islands(wet: Booleans, distance: Singles, parameters: ChannelParameters) -> tuple[Booleans, int]:
    """Islands one river flows around, and how many."""
    labels, count = ndimage.label(~wet)
    outer = np.zeros(count + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outer[edge] = True
    filled = np.zeros(wet.shape, dtype=bool)
    islands = 0
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if outer[number] or place is None:
            continue
        window = _grown(place, 2, wet.shape)
        hole = labels[window] == number
        radius = float(ndimage.distance_transform_edt(hole).max())
        if radius <= parameters.island_ratio * float(distance[window].max()):
            filled[window] |= hole
            islands += 1
    return filled, islands
