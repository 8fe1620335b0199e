"""Drainage of a height model: where water runs, how much land it comes from, how high land stands above its channel.

Depressions are flooded from the rim (Barnes, Lehman and Mulla 2014, Priority-flood), which also says in which order
cells drain; a cell with a lower neighbor sends its water down the steepest way (O'Callaghan and Mark 1984), one without
- in a depression, on a flat such as a reservoir - to the neighbor it was flooded from. Within a depression the lowest
ground is flooded first, so that the way out follows its floor. No direction can lead in a circle.

Heights above the nearest drainage (Renno et al. 2008; Nobre et al. 2011, "HAND") are taken between levels that never
rise downstream: depressions are filled up to a depth, as that of noise, and the rest of a deeper one - a sinkhole, a
valley behind a bridge that the height model takes for a dam - is carved through its rim (Soille 2004), so that land
in it is measured from its own floor and not from its spill.

Voids are never channels. One inside the raster passes water on at the lowest point of its rim; one joined to the edge
of the raster is outside, as the edge is: water that reaches it has left.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.imagery import _drainage_kernels
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

REACHED = _drainage_kernels.REACHED
CHANNEL = _drainage_kernels.CHANNEL
LEAVES = _drainage_kernels.LEAVES
VOID = _drainage_kernels.VOID

OUTLET = _drainage_kernels.OUTLET
NO_DIRECTION = 255


@dataclass(frozen=True, kw_only=True)
class DrainageParameters:
    """What counts as a channel, and how depressions are treated.

    Parameters
    ----------
    channel_area : float
        Land from whose water a channel begins [m2].
    fill_depth : float
        Depth up to which depressions are filled, the rest is carved; infinite to fill all [m].
    burn_depth : float
        How far known channels are lowered before directions are found; 0 to take the heights as they are [m].
    join_area : bool
        Whether known channels are joined by those that begin by area; else they alone count.
    """

    channel_area: float = 1.0e6
    fill_depth: float = 10.0
    burn_depth: float = 10.0
    join_area: bool = False


class Flow(NamedTuple):
    """Where water runs.

    Attributes
    ----------
    filled : Float32Array
        Level at which water leaves a cell (y, x) [m]; NaN outside, the level of the rim within inner voids.
    direction : ByteArray
        Neighbor that receives the water (y, x): 0 to 7 clockwise from north, 8 leaves the raster, 255 outside.
    order : ndarray
        Numbers of the cells, row by row from 0, every one after the one that receives its water (cell,).
    """

    filled: Float32Array
    direction: ByteArray
    order: npt.NDArray[np.int32]


class Drainage(NamedTuple):
    """Channels and what lies above them.

    Attributes
    ----------
    flow : Flow
        Where water runs.
    area : Float32Array
        Land whose water passes a cell, its own included (y, x) [m2]; NaN in voids. Too small where water enters from
        beyond the raster.
    channel : BoolArray
        Channels (y, x).
    hand : Float32Array
        Height above the channel that the water of a cell reaches (y, x) [m]; NaN where it reaches none, and in voids.
    distance : Float32Array
        Length of the way to that channel (y, x) [m]; NaN likewise.
    outcome : ByteArray
        0 reaches a channel, 1 is one, 2 leaves the raster before, 255 void (y, x).
    """

    flow: Flow
    area: Float32Array
    channel: BoolArray
    hand: Float32Array
    distance: Float32Array
    outcome: ByteArray


def flow_of(elevation: Float32Array, *, pixel_size: tuple[float, float]) -> Flow:
    """Directions in which water runs, over depressions and flats to the edge of the raster.

    Parameters
    ----------
    elevation : Float32Array
        Heights (y, x) [m], NaN in voids.
    pixel_size : tuple of float
        Height and width of a pixel [m].

    Returns
    -------
    Flow
        Levels, directions and order.

    Raises
    ------
    BadInputError
        `dem_empty` where no height is known.
    ValueError
        Where the raster is not two-dimensional or pixels have no size.
    """
    if elevation.ndim != 2 or min(pixel_size) <= 0:
        raise ValueError(f"heights of shape {elevation.shape} with pixels of {pixel_size} m")
    void = ~np.isfinite(elevation)
    if void.all():
        raise BadInputError("dem_empty", "the height model holds no height")
    heights = np.ascontiguousarray(elevation, dtype=np.float32)
    direction = np.full(heights.shape, _drainage_kernels.UNSEEN, dtype=np.uint8)
    filled = np.full(heights.shape, np.nan, dtype=np.float32)
    order = np.empty(heights.size, dtype=np.int32)
    _drainage_kernels.mark_outside(void, direction)
    count = _drainage_kernels.flood(heights.view(np.int32), void, direction, filled.view(np.int32), order)
    _drainage_kernels.steepest(filled, direction, float(pixel_size[0]), float(pixel_size[1]))
    direction[direction == _drainage_kernels.OUTSIDE] = NO_DIRECTION
    return Flow(filled, direction, order[:count])


def contributing_area(flow: Flow, *, pixel_size: tuple[float, float]) -> Float32Array:
    """Land whose water passes a cell, its own included.

    Parameters
    ----------
    flow : Flow
        Directions and order.
    pixel_size : tuple of float
        Height and width of a pixel [m].

    Returns
    -------
    Float32Array
        Area (y, x) [m2], NaN outside.
    """
    count = np.ones(flow.direction.shape, dtype=np.int32)
    _drainage_kernels.accumulate(flow.direction, flow.order, count)
    area = count * np.float32(pixel_size[0] * pixel_size[1])
    area[flow.direction == NO_DIRECTION] = np.nan
    return np.asarray(area, dtype=np.float32)


def drain(
    elevation: Float32Array,
    *,
    pixel_size: tuple[float, float],
    channels: BoolArray | None = None,
    parameters: DrainageParameters | None = None,
) -> Drainage:
    """Channels of a height model and the height of the land above them.

    Parameters
    ----------
    elevation : Float32Array
        Heights (y, x) [m], NaN in voids; on a metric grid.
    pixel_size : tuple of float
        Height and width of a pixel [m].
    channels : BoolArray, optional
        Known water (y, x), which then counts as channel; the heights are lowered there to find directions.
    parameters : DrainageParameters, optional
        Choices.

    Returns
    -------
    Drainage
        Area, channels, heights above and ways to them.

    Raises
    ------
    BadInputError
        `dem_empty` where no height is known.
    ValueError
        Where shapes differ.
    """
    chosen = parameters or DrainageParameters()
    if channels is not None and channels.shape != elevation.shape:
        raise ValueError(f"channels of shape {channels.shape}, heights of shape {elevation.shape}")
    heights = np.ascontiguousarray(elevation, dtype=np.float32)
    burnt = heights
    if channels is not None:
        burnt = np.asarray(heights - np.float32(chosen.burn_depth) * channels, dtype=np.float32)
    flow = flow_of(burnt, pixel_size=pixel_size)
    area = contributing_area(flow, pixel_size=pixel_size)
    void = ~np.isfinite(heights)
    channel = _channels(area, channels, chosen) & ~void
    area[void] = np.nan
    level = _levels(heights, burnt, flow, void, depth=chosen.fill_depth)
    hand, distance = (np.full(heights.shape, np.nan, dtype=np.float32) for _ in range(2))
    outcome = np.full(heights.shape, VOID, dtype=np.uint8)
    size = (float(pixel_size[0]), float(pixel_size[1]))
    _drainage_kernels.descend(flow.direction, flow.order, level, channel, size, (hand, distance, outcome))
    hand[void], distance[void], outcome[void] = np.nan, np.nan, VOID
    return Drainage(flow, area, channel, hand, distance, outcome)


def _channels(area: Float32Array, known: BoolArray | None, parameters: DrainageParameters) -> BoolArray:
    if known is None:
        return np.asarray(area >= parameters.channel_area)
    wet: BoolArray = known.astype(np.bool_)
    return np.asarray(wet | (area >= parameters.channel_area)) if parameters.join_area else wet


def _levels(heights: Float32Array, burnt: Float32Array, flow: Flow, void: BoolArray, *, depth: float) -> Float32Array:
    """Heights that never rise downstream: shallow depressions filled, the rest carved."""
    level: Float32Array = heights + np.minimum(flow.filled - burnt, np.float32(depth))
    level[void] = flow.filled[void]
    _drainage_kernels.carve(flow.direction, flow.order, level)
    return level
