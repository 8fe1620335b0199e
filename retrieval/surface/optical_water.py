"""What reflectance says of water: two features that haze, turbidity and darkness disturb little, and where they hold.

The first is the modified normalized difference water index (Xu 2006), without the short-wave infrared the one of
McFeeters (1996), drawn up where the automated water extraction index (Feyisa et al. 2014) is positive. The second says
how much darker the near infrared is than the visible: turbid water keeps it, for it is red as well as green.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from processors.quality import BadInputError

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class OpticalWaterParameters:
    """Where reflectance speaks of the ground.

    Parameters
    ----------
    least_signal : float
        Reflectance added to sums, below which an index is noise [1].
    cloud_visible : float
        Green reflectance above which a pixel may be cloud [1].
    cloud_shortwave : float
        Short-wave infrared above which a bright, white pixel is cloud and not turbid water [1].
    cloud_near_infrared : float
        The same in the near infrared, where there is no short-wave infrared, and for snow [1].
    whiteness : float
        Greatest absolute NDVI of cloud [1].
    extraction_gain : float
        Water index added per unit of the extraction index [1].
    extraction_limit : float
        Greatest part of the extraction index that counts [1].
    """

    least_signal: float = 0.02
    cloud_visible: float = 0.2
    cloud_shortwave: float = 0.12
    cloud_near_infrared: float = 0.25
    whiteness: float = 0.3
    extraction_gain: float = 0.5
    extraction_limit: float = 0.2


def features(reflectance: Mapping[str, Singles], *, parameters: OpticalWaterParameters) -> Singles:
    """Two optical features of water.

    Parameters
    ----------
    reflectance : Mapping
        Reflectance (y, x) [1] by name: ``green``, and ``nir``, ``swir1`` or both; ``red`` and ``swir2`` where seen.
    parameters : OpticalWaterParameters
        Limits.

    Returns
    -------
    Singles
        Water index and darkness of the near infrared (2, y, x) [1], NaN without data and where a bright white surface,
        cloud for the most part, hides what is below.

    Raises
    ------
    BadInputError
        `band_missing` without green or without any infrared.
    """
    if "green" not in reflectance or not {"nir", "swir1"} & set(reflectance):
        raise BadInputError("band_missing", "water from reflectance needs green and one of nir and swir1")
    green = reflectance["green"].astype(np.float32)
    short = reflectance["swir1" if "swir1" in reflectance else "nir"]
    near = reflectance["nir" if "nir" in reflectance else "swir1"]
    index = _difference(green, short, parameters.least_signal)
    if "swir1" in reflectance and "nir" in reflectance:
        index = index + parameters.extraction_gain * _extraction(reflectance, parameters)
    darkness = _difference(green, near, parameters.least_signal)
    if "red" in reflectance and "nir" in reflectance:
        darkness = 0.5 * (darkness + _difference(reflectance["red"], near, parameters.least_signal))
    hidden = _hidden(reflectance, parameters)
    result = np.stack([index, darkness]).astype(np.float32)
    result[:, hidden | ~np.isfinite(result).all(axis=0)] = np.nan
    return result


def _difference(first: Singles, second: Singles, least: float) -> Singles:
    """Normalized difference that fades to zero where both are dark, and stays finite for negative reflectance."""
    one, other = np.maximum(first, 0.0), np.maximum(second, 0.0)
    return np.asarray((one - other) / (one + other + np.float32(least)), dtype=np.float32)


def _extraction(reflectance: Mapping[str, Singles], parameters: OpticalWaterParameters) -> Singles:
    """Automated water extraction index for scenes without shadow, Feyisa et al. 2014, equation 2, within limits."""
    green, near, short = reflectance["green"], reflectance["nir"], reflectance["swir1"]
    last = reflectance.get("swir2", 0.6 * short)
    index = 4.0 * (green - short) - (0.25 * near + 2.75 * last)
    return np.asarray(np.clip(index, -parameters.extraction_limit, parameters.extraction_limit), dtype=np.float32)


def _hidden(reflectance: Mapping[str, Singles], parameters: OpticalWaterParameters) -> npt.NDArray[np.bool_]:
    green = reflectance["green"]
    bright = green > parameters.cloud_visible
    if "nir" in reflectance:
        red = reflectance.get("red", green)
        near = reflectance["nir"]
        white = np.abs(_difference(near, red, parameters.least_signal)) < parameters.whiteness
        icy = white & bright & (near > parameters.cloud_near_infrared)
        if "swir1" not in reflectance:
            return np.asarray(icy)
        return np.asarray(icy | (bright & white & (reflectance["swir1"] > parameters.cloud_shortwave)))
    return np.asarray(bright & (reflectance["swir1"] > parameters.cloud_shortwave))
