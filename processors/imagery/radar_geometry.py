"""How a side-looking radar sees terrain: layover, shadow, local angle of incidence, area that slopes show it.

The radar is taken to be far: over the relief of a scene its rays are parallel, at the angle of incidence of the pixel.
With x the ground range and z the height, slant range is x sin(i) - z cos(i). Ground is in layover where nearer ground
is not nearer in slant range, or farther ground not farther: z falls by tan(i) or more per metre towards the radar, or
rises by as much away from it, between the two. It is in shadow where ground towards the radar stands above its ray,
which rises by cot(i) per metre (Schreier 1993, SAR Geocoding; Kropatsch and Strobl 1990). Both are active where the
pixel's own slope does it, passive where other ground does.

The area shown is that of the local angles (Ulander 1996; Small 2011 with angles in place of the integration over
facets): tan(i) / tan(i - a), a the slope in the direction of range, which is the ratio of gamma nought on the ellipsoid
to that flattened for terrain. It holds where neither layover nor shadow mixes several facets, and is NaN there.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.imagery import _radar_geometry_kernels

Float32Array = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

NONE = _radar_geometry_kernels.NONE
PASSIVE = _radar_geometry_kernels.PASSIVE
ACTIVE = _radar_geometry_kernels.ACTIVE


@dataclass(frozen=True, kw_only=True)
class RadarGeometryParameters:
    """Where the area shown is given.

    Parameters
    ----------
    least_angle : float
        Angle between ray and slope in the plane of range below which the area has no meaningful value [degree].
    """

    least_angle: float = 3.0


class RadarView(NamedTuple):
    """Terrain as the radar sees it.

    Attributes
    ----------
    layover, shadow : ByteArray
        0 none, 1 passive, 2 active (y, x); 0 where the height is unknown.
    uncertain : BoolArray
        Pixels without layover or shadow that unknown ground - a void, beyond the edge - could put in it (y, x), and
        those without height.
    local_incidence : Float32Array
        Angle between the ray and the normal of the ground (y, x) [degree], above 90 on slopes turned away.
    area_factor : Float32Array
        Area shown relative to flat ground (y, x) [1]: gamma nought over it is flattened for terrain; NaN in layover
        and shadow.
    """

    layover: ByteArray
    shadow: ByteArray
    uncertain: BoolArray
    local_incidence: Float32Array
    area_factor: Float32Array


def halo(*, relief: float, incidence: tuple[float, float], pixel_size: tuple[float, float]) -> int:
    """Neighbors within which everything lies that puts a pixel in layover or shadow.

    Parameters
    ----------
    relief : float
        Difference of the highest and the lowest ground [m].
    incidence : tuple of float
        Least and largest angle of incidence [degree].
    pixel_size : tuple of float
        Height and width of a pixel [m].

    Returns
    -------
    int
        Pixels on every side.
    """
    steepest = max(math.tan(math.radians(incidence[1])), 1.0 / math.tan(math.radians(incidence[0])))
    return math.ceil(relief * steepest / min(pixel_size)) + 2


def view(
    elevation: Float32Array,
    *,
    pixel_size: tuple[float, float],
    incidence: float | Float32Array,
    look_azimuth: float,
    bounds: tuple[float, float] | None = None,
    parameters: RadarGeometryParameters | None = None,
) -> RadarView:
    """Layover, shadow and local angles of a height model.

    Parts of a raster give what the whole gives where they have `halo` pixels of it around them and the same `bounds`.

    Parameters
    ----------
    elevation : Float32Array
        Heights (y, x) [m], rows running south, NaN where unknown.
    pixel_size : tuple of float
        Height and width of a pixel [m].
    incidence : float or Float32Array
        Angle of the ray from the vertical, one or one a pixel (y, x) [degree].
    look_azimuth : float
        Horizontal direction into which the beam travels, clockwise from north of the grid [degree].
    bounds : tuple of float, optional
        Lowest and highest ground of the surroundings [m]; default that of `elevation`.
    parameters : RadarGeometryParameters, optional
        Choices.

    Returns
    -------
    RadarView
        On the grid of the heights.

    Raises
    ------
    ValueError
        Where shapes differ, or an angle of incidence is not between 0 and 90.
    """
    chosen = parameters or RadarGeometryParameters()
    heights = np.ascontiguousarray(elevation, dtype=np.float32)
    heights = np.where(np.isfinite(heights), heights, np.float32(np.nan))
    angle = np.radians(np.atleast_2d(np.asarray(incidence, dtype=np.float32)))
    if angle.shape not in ((1, 1), heights.shape):
        raise ValueError(f"incidence of shape {angle.shape}, heights of shape {heights.shape}")
    if not np.isfinite(angle).any() or np.nanmin(angle) <= 0 or np.nanmax(angle) >= math.pi / 2:
        raise ValueError("angles of incidence lie between 0 and 90 degrees")
    azimuth = math.radians(look_azimuth)
    layover, shadow, doubt = (np.zeros(heights.shape, dtype=np.uint8) for _ in range(3))
    known = np.isfinite(heights) & np.isfinite(angle)
    if known.any():
        low, high = bounds or (float(np.nanmin(heights)), float(np.nanmax(heights)))
        size = (float(pixel_size[0]), float(pixel_size[1]))
        direction = (-math.cos(azimuth) / size[0], math.sin(azimuth) / size[1])
        _radar_geometry_kernels.scan(heights, angle, direction, size, (low, high), (layover, shadow, doubt))
    east, north = slopes(heights, pixel_size=pixel_size)
    local = _local_incidence(east, north, angle, azimuth)
    rise = east * np.float32(math.sin(azimuth)) + north * np.float32(math.cos(azimuth))
    clear = (layover == NONE) & (shadow == NONE) & known
    area = _area_factor(rise, angle, clear, least=math.radians(chosen.least_angle))
    return RadarView(layover, shadow, (doubt > 0) | ~known, local, area)


def slopes(elevation: Float32Array, *, pixel_size: tuple[float, float]) -> tuple[Float32Array, Float32Array]:
    """Rise of the ground to the east and to the north (Horn 1981).

    Parameters
    ----------
    elevation : Float32Array
        Heights (y, x) [m], rows running south, NaN where unknown.
    pixel_size : tuple of float
        Height and width of a pixel [m].

    Returns
    -------
    tuple of Float32Array
        Rise per metre (y, x) [1], NaN beside unknown heights; at the edge, of the plane through the pixels there.
    """
    values = np.asarray(elevation, dtype=np.float32)
    # Beyond the edge the ground goes on as it came.
    padded = (
        np.pad(values, 1, mode="reflect", reflect_type="odd") if min(values.shape) > 1 else np.pad(values, 1, "edge")
    )
    across = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    east = (across[:, 2:] - across[:, :-2]) / np.float32(8 * pixel_size[1])
    north = (down[:-2] - down[2:]) / np.float32(8 * pixel_size[0])
    return np.asarray(east, dtype=np.float32), np.asarray(north, dtype=np.float32)


def slope(elevation: Float32Array, *, pixel_size: tuple[float, float]) -> Float32Array:
    """Steepness of the ground (Horn 1981).

    Parameters
    ----------
    elevation : Float32Array
        Heights (y, x) [m], NaN where unknown.
    pixel_size : tuple of float
        Height and width of a pixel [m].

    Returns
    -------
    Float32Array
        Slope (y, x) [degree], NaN beside unknown heights.
    """
    east, north = slopes(elevation, pixel_size=pixel_size)
    return np.asarray(np.degrees(np.arctan(np.hypot(east, north))), dtype=np.float32)


def _local_incidence(east: Float32Array, north: Float32Array, angle: Float32Array, azimuth: float) -> Float32Array:
    rise = east * np.float32(math.sin(azimuth)) + north * np.float32(math.cos(azimuth))
    cosine = (np.cos(angle) + np.sin(angle) * rise) / np.sqrt(1 + east**2 + north**2)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))), dtype=np.float32)


def _area_factor(rise: Float32Array, angle: Float32Array, clear: BoolArray, *, least: float) -> Float32Array:
    between = angle - np.arctan(rise)
    usable = clear & (between > least) & (between < math.pi / 2 - least)
    factor = np.tan(angle) / np.tan(np.where(usable, between, np.float32(np.nan)))
    return np.asarray(factor, dtype=np.float32)
