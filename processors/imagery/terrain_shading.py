"""Sunlight on terrain: angle of incidence and the shadows that mountains cast, from a height model and the sun.

The cosine of incidence is that of Teillet et al. (1982), equation 1; a pixel lies in cast shadow where the line to the
sun meets higher ground.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray
from processors.imagery import _cloud_kernels
from processors.quality import BadInputError

_Layer: TypeAlias = npt.NDArray[np.float32]


class Sun(NamedTuple):
    """Where the sun stands over a scene."""

    azimuth: float
    """Clockwise from north [degree]."""
    elevation: float
    """Above the horizon [degree]."""


class Shading(NamedTuple):
    """Sunlight that reaches the ground."""

    incidence: _Layer
    """Cosine of the angle between the sun and the normal of the ground, 0 where it faces away (y, x) [1]."""
    cast: BoolArray
    """Shadow of other ground (y, x)."""


def checked(sun: Sun) -> Sun:
    """Return the sun if it can be one.

    Parameters
    ----------
    sun : Sun
        Position as given.

    Returns
    -------
    Sun
        The same.

    Raises
    ------
    BadInputError
        `sun_angle` unless the azimuth is within a turn and the sun is above the horizon and not past the zenith.
    """
    if not (-360.0 <= sun.azimuth <= 360.0 and 0.0 < sun.elevation <= 90.0):
        message = (
            f"sun azimuth {sun.azimuth:g} and elevation {sun.elevation:g} degrees are no position of the sun by day"
        )
        raise BadInputError("sun_angle", message)
    return sun


def shade(elevation: _Layer, sun: Sun, *, steps: tuple[float, float]) -> Shading:
    """Sunlight on every pixel of a height model.

    Parameters
    ----------
    elevation : array
        Height of the ground (y, x) [m]; voids NaN, which cast no shadow and count as flat.
    sun : Sun
        Position of the sun.
    steps : tuple[float, float]
        Northing of one row and easting of one column, signed [m].

    Returns
    -------
    Shading
        Cosine of incidence and cast shadow.

    Raises
    ------
    BadInputError
        `dem_empty` without any height.
    """
    known = np.isfinite(elevation)
    if not known.any():
        raise BadInputError("dem_empty", "the height model has no value on the scene")
    ground = np.where(known, elevation, elevation[known].min()).astype(np.float32)
    north, east = (np.gradient(elevation, step, axis=axis) for axis, step in enumerate(steps))
    zenith, azimuth = np.radians(90.0 - sun.elevation), np.radians(sun.azimuth)
    toward = -(north * np.cos(azimuth) + east * np.sin(azimuth)) * np.sin(zenith) + np.cos(zenith)
    incidence = np.where(np.isfinite(toward), toward / np.sqrt(north**2 + east**2 + 1.0), np.cos(zenith))
    return Shading(np.maximum(incidence, 0.0).astype(np.float32), _cast(ground, sun, steps))


def _cast(ground: _Layer, sun: Sun, steps: tuple[float, float]) -> BoolArray:
    azimuth = np.radians(sun.azimuth)
    down, across = np.cos(azimuth) / steps[0], np.sin(azimuth) / steps[1]
    length = max(abs(down), abs(across))
    rise = np.tan(np.radians(sun.elevation)) / length
    count = min(int(np.ptp(ground) / rise) + 1, sum(ground.shape))
    dark = _cloud_kernels.cast_shadow(ground, down / length, across / length, rise, count)
    return np.asarray(dark, dtype=bool)
