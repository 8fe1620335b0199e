"""Dense descriptions of an image by its gradients, made to be correlated between images.

A gradient is a complex number, gx + i gy. Compressed to g / (|g| + s) it keeps its direction, and neither a cloud edge
nor a bright roof outweighs the landscape (orientation correlation, Fitch et al. 2002). Between optical and radar images
contrast may be inverted and only the line along which the gray value changes is kept: the second and fourth harmonics
of the direction, smoothed, which span the same space as the channels of oriented gradients (CFOG, Ye et al. 2019).
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image: TypeAlias = npt.NDArray[np.float32]
Features: TypeAlias = npt.NDArray[np.complex64]
Kind: TypeAlias = Literal["gradient", "structure"]

_SMALLEST = np.float32(1e-30)
_TRUNCATE = 3.0
REACH = 6
"""Neighbors on either side that sampling between the pixels needs [pixel]."""
_KAISER = 5.0


class Gradient(NamedTuple):
    """Gradient of an image; zero where it cannot be known."""

    value: Features
    """Derivative along x plus i times the derivative along y (y, x) [image unit per pixel]."""
    valid: npt.NDArray[np.bool_]
    """Whether pixel and neighbors hold data (y, x)."""


def gradient(image: Image, *, smoothing: float, offset: tuple[float, float] = (0.0, 0.0)) -> Gradient:
    """Gradient of a smoothed image; missing pixels neither spread nor make edges.

    Parameters
    ----------
    image : Image
        Gray values (y, x), NaN where missing [any unit].
    smoothing : float
        Standard deviation of the Gaussian filter [pixel].
    offset : tuple of float
        Way from each pixel to where the image is looked at, right and down, at most half a pixel [pixel].

    Returns
    -------
    Gradient
        Central differences of the normalized convolution.
    """
    valid = np.isfinite(image)
    smooth = _smoothed(image, valid, smoothing)
    for axis, fraction in ((1, offset[0]), (0, offset[1])):
        smooth = _between(smooth, fraction, axis) if fraction else smooth
    value = np.zeros(image.shape, np.complex64)
    if min(image.shape) > 2:
        value.real[:, 1:-1] = 0.5 * (smooth[:, 2:] - smooth[:, :-2])
        value.imag[1:-1, :] = 0.5 * (smooth[2:, :] - smooth[:-2, :])
    iterations = 1 + round(smoothing) + int(any(offset))
    usable = ndimage.binary_erosion(valid, np.ones((3, 3), bool), iterations=iterations)
    value[~usable] = 0.0
    return Gradient(value, usable)


def _between(image: Image, fraction: float, axis: int) -> Image:
    """Image a fraction of a pixel further on, by the sinc function under a Kaiser window."""
    distance = np.arange(-REACH, REACH + 1) - fraction
    taper = np.i0(_KAISER * np.sqrt(np.maximum(1.0 - (distance / (REACH + 0.5)) ** 2, 0.0)))
    taps = np.sinc(distance) * taper
    return np.asarray(ndimage.correlate1d(image, taps / taps.sum(), axis=axis, mode="nearest"), dtype=np.float32)


def _smoothed(image: Image, valid: npt.NDArray[np.bool_], smoothing: float) -> Image:
    if valid.all():
        return np.asarray(_gaussian(image.astype(np.float32), smoothing))
    weight = _gaussian(valid.astype(np.float32), smoothing)
    level = np.float32(np.median(image[valid])) if valid.any() else np.float32(0.0)
    departure = np.where(valid, image - level, np.float32(0.0)).astype(np.float32)
    return np.asarray(_gaussian(departure, smoothing) / np.maximum(weight, np.float32(1e-3)) + level)


def _gaussian(image: Image, smoothing: float) -> Image:
    return np.asarray(ndimage.gaussian_filter(image, smoothing, mode="nearest", truncate=_TRUNCATE), dtype=np.float32)


def magnitude_scale(gradients: list[Gradient]) -> float:
    """Typical magnitude of the gradients of an image, where the compression sets in.

    Parameters
    ----------
    gradients : list of Gradient
        Gradients of parts of the image.

    Returns
    -------
    float
        Median magnitude of the pixels with a gradient; 0 where there is none [image unit per pixel].
    """
    magnitudes = np.concatenate([np.abs(part.value[part.valid])[::3] for part in gradients] or [np.zeros(0)])
    magnitudes = magnitudes[magnitudes > 0]
    return float(np.median(magnitudes)) if magnitudes.size else 0.0


def features(image: Gradient, *, kind: Kind, scale: float, smoothing: float) -> Features:
    """Complex channels whose correlation between two images peaks where their edges agree.

    Parameters
    ----------
    image : Gradient
        Gradient of the image.
    kind : str
        `gradient` keeps the direction, `structure` only the line the gradient lies on.
    scale : float
        Magnitude at which the compression sets in [image unit per pixel].
    smoothing : float
        Standard deviation of the Gaussian filter of the structure channels [pixel].

    Returns
    -------
    Features
        Channels (channel, y, x) of magnitude 0 to 1; zero where the gradient is not known [1].
    """
    magnitude = np.abs(image.value)
    compressed = image.value / (magnitude + np.float32(max(scale, float(_SMALLEST))))
    if kind == "gradient":
        return np.asarray(compressed[None], dtype=np.complex64)
    return _structure(compressed, image.valid, smoothing)


def _structure(compressed: Features, valid: npt.NDArray[np.bool_], smoothing: float) -> Features:
    """Second and fourth harmonics, smoothed and weighed by the share of gradients that agree."""
    magnitude = np.maximum(np.abs(compressed), _SMALLEST)
    direction = np.asarray(compressed / magnitude, dtype=np.complex64)
    second = np.asarray(magnitude * direction**2, dtype=np.complex64)
    fourth = np.asarray(magnitude * direction**4, dtype=np.complex64)
    channels = np.stack([_gaussian_complex(second, smoothing), _gaussian_complex(fourth, smoothing)])
    return np.asarray(channels * valid, dtype=np.complex64)


def _gaussian_complex(channel: Features, smoothing: float) -> Features:
    smooth = np.empty(channel.shape, np.complex64)
    smooth.real = _gaussian(np.ascontiguousarray(channel.real), smoothing)
    smooth.imag = _gaussian(np.ascontiguousarray(channel.imag), smoothing)
    return smooth


def logarithm(image: Image) -> Image:
    """Logarithm of an image without negative values, which turns speckle into noise of even size.

    Parameters
    ----------
    image : Image
        Gray values (y, x), NaN where missing [any unit].

    Returns
    -------
    Image
        Logarithm, floored at a thousandth of the mean; the image itself where a value is negative.
    """
    known = image[np.isfinite(image)]
    if known.size == 0 or known.min() < 0 or known.max() <= 0:
        return image
    return np.asarray(np.log(np.maximum(image, np.float32(1e-3 * float(known.mean())))), dtype=np.float32)
