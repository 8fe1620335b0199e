"""How much blurrier the bands are than the panchromatic image: modulation transfer, published or seen in the data.

A point spread function is taken as a Gaussian, described by its modulation transfer at the Nyquist frequency of the
multispectral grid (Aiazzi et al. 2006, doi:10.14358/PERS.72.5.591). What counts is the blur of the bands relative to
that of the panchromatic image: the two are compared where both have detail.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import FloatArray
from processors.imagery import _sharpening_kernels as kernels
from processors.imagery import sharpening_grid, sharpening_planes, sharpening_trial
from processors.imagery.sharpening_grid import Geometry
from processors.imagery.sharpening_trial import Sample

Plane = npt.NDArray[np.float32]

SENSOR_GAINS = {
    "quickbird": (0.34, 0.32, 0.30, 0.22),
    "ikonos": (0.26, 0.28, 0.29, 0.28),
    "geoeye-1": (0.23, 0.23, 0.23, 0.23),
    "worldview-2": (0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.35, 0.27),
    "worldview-3": (0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315),
}
"""Modulation transfer at the Nyquist frequency by band in the sensor's order, as in the toolbox of Vivone et al. (2015,
2021) [1]."""

_FOUR_OF_EIGHT = (1, 2, 4, 6)

TRIED_GAINS = (0.05, 0.08, 0.12, 0.16, 0.20, 0.25, 0.30, 0.36, 0.42, 0.50, 0.58, 0.66, 0.75)
"""Modulation transfers at the Nyquist frequency that are tried [1]."""


class Blur(NamedTuple):
    """Blur of the bands."""

    gains: tuple[float, ...]
    """Modulation transfer of each band at its Nyquist frequency [1]."""
    source: str
    """`data`, `sensor` or `default`."""

    @property
    def widths(self) -> FloatArray:
        """Standard deviations of the point spread functions [multispectral pixel]."""
        return np.array([width_from_gain(gain) for gain in self.gains])

    @property
    def width(self) -> float:
        """That of the low-pass panchromatic image [multispectral pixel]."""
        return width_from_gain(float(np.mean(self.gains)))


def width_from_gain(gain: float) -> float:
    """Standard deviation of a Gaussian point spread function from its modulation transfer at the Nyquist frequency.

    The transform of a Gaussian of width s is exp(-2 (pi s f)^2); at f = 1/2 it is the gain.

    Parameters
    ----------
    gain : float
        Modulation transfer at half a cycle a pixel [1].

    Returns
    -------
    float
        Standard deviation [pixel].
    """
    return math.sqrt(-2.0 * math.log(gain)) / math.pi


def gain_from_width(width: float) -> float:
    """Modulation transfer at the Nyquist frequency of a Gaussian point spread function.

    Parameters
    ----------
    width : float
        Standard deviation [pixel].

    Returns
    -------
    float
        Modulation transfer at half a cycle a pixel [1].
    """
    return math.exp(-0.5 * (math.pi * width) ** 2)


def along_axes(geometry: Geometry, width: float) -> tuple[float, float]:
    """Width of a point spread function in the pixels of the finer grid.

    Parameters
    ----------
    geometry : Geometry
        Relation of the grids.
    width : float
        Standard deviation [coarse pixel].

    Returns
    -------
    tuple
        Standard deviations along rows and columns [fine pixel].
    """
    return geometry.ratio[0] * width, geometry.ratio[1] * width


def center(plane: Plane) -> float:
    """Mean of a plane.

    Parameters
    ----------
    plane : array
        Plane (y, x), NaN where missing.

    Returns
    -------
    float
        Mean, 0 where all is missing.
    """
    seen = np.isfinite(plane)
    return float(np.mean(plane[seen], dtype=np.float64)) if seen.any() else 0.0


def seen_coarsely(fine: Plane, geometry: Geometry, width: float) -> tuple[Plane, Plane]:
    """A plane with the blur and on the pixels of the coarser grid.

    Parameters
    ----------
    fine : array
        Plane (y, x), NaN where missing.
    geometry : Geometry
        Relation of the grids.
    width : float
        Standard deviation of the point spread function [coarse pixel].

    Returns
    -------
    tuple
        Mean and variance under each coarse pixel (y, x), NaN where nothing is seen.
    """
    return sharpening_planes.reduced_whole(fine, geometry, blur=along_axes(geometry, width), center=center(fine))


def estimated(samples: Sequence[Sample], *, sensor: str, default_gain: float, minimum_correlation: float) -> Blur:
    """Modulation transfer at which the low-pass panchromatic image resembles the details of the bands most.

    Parameters
    ----------
    samples : Sequence[Sample]
        Parts of a scene.
    sensor : str
        Sensor whose published values are taken instead; may be empty.
    default_gain : float
        Value where the details do not resemble each other [1].
    minimum_correlation : float
        Mean squared correlation of the details from which they do [1].

    Returns
    -------
    Blur
        Modulation transfer of the bands.
    """
    bands = samples[0].ms.shape[0]
    if sensor:
        return Blur(published(sensor, bands), "sensor")
    details = [[_detail(band) for band in sample.ms] for sample in samples]
    scores = np.array([_resemblance(samples, details, gain) for gain in TRIED_GAINS])
    if not scores.max() > minimum_correlation:
        return Blur((default_gain,) * bands, "default")
    return Blur((_peak(scores),) * bands, "data")


def published(sensor: str, bands: int) -> tuple[float, ...]:
    """Published modulation transfer of the bands of an image.

    Parameters
    ----------
    sensor : str
        Key of `SENSOR_GAINS`.
    bands : int
        Bands of the image [1].

    Returns
    -------
    tuple of float
        Gain of each band [1]; of four bands of a sensor of eight those of blue, green, red and the first near infrared,
        of any other number the mean, as nobody says which they are.
    """
    gains = SENSOR_GAINS[sensor]
    if (bands, len(gains)) == (4, 8):
        return tuple(gains[k] for k in _FOUR_OF_EIGHT)
    return gains if len(gains) == bands else (float(np.mean(gains)),) * bands


def _peak(scores: FloatArray) -> float:
    """Gain at the vertex of a parabola through the best one and its neighbors, over the width."""
    best = min(max(int(np.argmax(scores)), 1), scores.size - 2)
    widths = np.array([width_from_gain(gain) for gain in TRIED_GAINS])[best - 1 : best + 2]
    curve = np.polyfit(widths, scores[best - 1 : best + 2], 2)
    vertex = widths[int(np.argmax(scores[best - 1 : best + 2]))]
    if curve[0] < 0.0:
        vertex = min(max(-curve[1] / (2.0 * curve[0]), widths.min()), widths.max())
    return gain_from_width(float(vertex))


def _detail(plane: Plane) -> Plane:
    filled = plane.copy()
    kernels.fill(filled, sharpening_grid.SUPPORT, center(plane))
    return np.where(np.isfinite(plane), filled - sharpening_planes.smoothed(filled), np.float32(np.nan))


def _resemblance(samples: Sequence[Sample], details: list[list[Plane]], gain: float) -> float:
    """Mean over bands of the squared correlation of the details."""
    bands = samples[0].ms.shape[0]
    sums = np.zeros((bands, 3))
    for sample, own in zip(samples, details, strict=True):
        low, _ = seen_coarsely(sample.pan, sample.geometry, width_from_gain(gain))
        other = _detail(low)
        for band in range(bands):
            seen = np.isfinite(own[band]) & np.isfinite(other)
            a, b = own[band][seen].astype(np.float64), other[seen].astype(np.float64)
            sums[band] += a @ b, a @ a, b @ b
    return float(np.mean(sums[:, 0] ** 2 / np.maximum(sums[:, 1] * sums[:, 2], sharpening_trial.TINY)))


def sharpness(plane: Plane) -> FloatArray:
    """Mean squared differences of pixels one and two apart, whose ratio grows with the sharpness.

    Parameters
    ----------
    plane : array
        Plane (y, x), NaN where missing.

    Returns
    -------
    array
        Both, 0 where there is no such pair.
    """
    result = np.zeros(2)
    for index, lag in enumerate((1, 2)):
        for pairs in (plane[lag:] - plane[:-lag], plane[:, lag:] - plane[:, :-lag]):
            square = pairs.astype(np.float64) ** 2
            result[index] += np.nansum(square) / max(int(np.count_nonzero(np.isfinite(square))), 1)
    return result
