"""How much white light stands above what clear ground shows: the spectral evidence for cloud, snow and water.

Clear land lies near a line in the plane of blue and red (Zhang et al. 2002, the haze-optimized transform); cloud and
haze add the same to all bands and leave it. The line is that of the scene itself. What water, vegetation or soil lack
in any band bounds the white light from above, as the dark channel does (He et al. 2011). The smaller of both counts.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

_Layer: TypeAlias = npt.NDArray[np.float32]

CLOUD_COLOR = {"blue": 1.0, "green": 1.0, "red": 1.0, "nir": 1.0, "swir1": 0.75, "swir2": 0.5}
"""Darkest clouds in every band relative to the visible; ice and droplets absorb in the shortwave infrared [1]."""
LARGEST_PATH = {"blue": 0.11, "green": 0.07, "red": 0.05, "nir": 0.03, "swir1": 0.01, "swir2": 0.01}
"""Largest reflectance of clear air at the top of the atmosphere [1]."""
WAVELENGTH = {"blue": 0.49, "green": 0.56, "red": 0.66, "nir": 0.85, "swir1": 1.61, "swir2": 2.2}
"""Middle of every band [um]."""
DARK_GROUND = 0.03
"""White light that clear land usually shows in its darkest band [1]."""
_SAMPLE = 200_000
_FEWEST = 200
_VEILED_RED, _VEILED_HAZE = 0.12, 0.06
_DARKEST_PERCENT, _VEIL_PERCENT, _START_PERCENT = 0.5, 2.0, 5.0
_BRIGHTEST_RED = 0.3
_SLOPES = (0.35, 0.75)


class ClearLine(NamedTuple):
    """Clear ground of a scene: blue = slope red + intercept."""

    slope: float
    """Blue per red [1]."""
    intercept: float
    """Blue without red [1]."""
    spread: float
    """Standard deviation of clear ground about the line [1]."""
    path: dict[str, float]
    """Reflectance of the air by band [1]."""
    veiled: bool
    """Whether the scene shows no clear ground at all, so that the line is the usual one."""


USUAL = ClearLine(0.5, 0.015, 0.01, dict.fromkeys(CLOUD_COLOR, 0.0), veiled=True)
"""Line of clear ground for scenes that show none."""


def index(first: _Layer, second: _Layer) -> _Layer:
    """Normalized difference; NaN where both vanish.

    Parameters
    ----------
    first, second : array
        Reflectance [1].

    Returns
    -------
    array
        Difference relative to the sum [1].
    """
    total = first + second
    return np.asarray((first - second) / np.where(np.abs(total) > 1e-4, total, np.nan), dtype=np.float32)


def clear_line(bands: Mapping[str, _Layer]) -> ClearLine:
    """Fit the line of clear ground to the lower envelope of blue over red.

    Parameters
    ----------
    bands : Mapping[str, array]
        Reflectance by band, at least blue, green, red and nir (y, x) [1].

    Returns
    -------
    ClearLine
        The line; the usual one where the scene is veiled throughout or too small.
    """
    sample = _sample(bands)
    red, blue = sample["red"], sample["blue"]
    if red.size == 0:
        return USUAL
    if np.percentile(red, _VEIL_PERCENT) > _VEILED_RED and _veil(red, blue) > _VEILED_HAZE:
        return USUAL
    path = _path(sample)
    water = (index(sample["nir"], red) < 0.0) & (sample["nir"] < 0.15)
    land = ~water & (red < _BRIGHTEST_RED)
    if land.sum() < _FEWEST:
        return ClearLine(USUAL.slope, USUAL.intercept + path["blue"] - 0.5 * path["red"], USUAL.spread, path, False)
    slope, intercept, spread = _envelope(red[land], blue[land])
    highest = USUAL.intercept + LARGEST_PATH["blue"]
    return ClearLine(slope, min(intercept, highest), spread, path, False)


def _sample(bands: Mapping[str, _Layer]) -> dict[str, _Layer]:
    flat = {name: layer.ravel() for name, layer in bands.items()}
    step = max(flat["blue"].size // _SAMPLE, 1)
    some = {name: layer[::step] for name, layer in flat.items()}
    known = np.all(np.stack([np.isfinite(layer) for layer in some.values()]), axis=0)
    return {name: layer[known] for name, layer in some.items()}


def _veil(red: _Layer, blue: _Layer) -> float:
    return float(np.percentile(blue - 0.5 * red, _VEIL_PERCENT))


def _path(sample: Mapping[str, _Layer]) -> dict[str, float]:
    """Reflectance of the air from the darkest ground; it falls with the wavelength at least as fast as that of haze."""
    darkest = {name: float(np.percentile(values, _DARKEST_PERCENT)) - 0.01 for name, values in sample.items()}
    blue = float(np.clip(darkest["blue"], 0.0, LARGEST_PATH["blue"]))
    haze = {name: blue * (wavelength / WAVELENGTH["blue"]) ** -1.3 for name, wavelength in WAVELENGTH.items()}
    return {name: float(np.clip(value, 0.0, min(LARGEST_PATH[name], haze[name]))) for name, value in darkest.items()}


def _envelope(red: _Layer, blue: _Layer) -> tuple[float, float, float]:
    """Slope, intercept and spread of the pixels near the lower envelope, refitted until they stay the same."""
    slope = 0.5
    start = float(np.percentile(blue - slope * red, _START_PERCENT))
    intercept, spread = start + 0.01, 0.015
    for _ in range(10):
        near = np.abs(blue - slope * red - intercept) < max(2.0 * spread, 0.01)
        if near.sum() < _FEWEST:
            break
        x, y = red[near].astype(np.float64), blue[near].astype(np.float64)
        variance = float(np.var(x))
        fitted = float(np.mean((x - x.mean()) * (y - y.mean()))) / variance if variance > 1e-8 else slope
        slope = float(np.clip(fitted, *_SLOPES))
        intercept = float(np.mean(y - slope * x))
        spread = float(np.clip(np.std(y - slope * x), 0.005, 0.02))
    return slope, intercept, spread


def white_excess(bands: Mapping[str, _Layer], line: ClearLine) -> _Layer:
    """White light above clear ground.

    Parameters
    ----------
    bands : Mapping[str, array]
        Reflectance by band (y, x) [1].
    line : ClearLine
        Clear ground of the scene.

    Returns
    -------
    array
        About opacity times reflectance of the cloud (y, x) [1]; NaN where any band is.
    """
    haze = (bands["blue"] - line.slope * bands["red"] - line.intercept) / (1.0 - line.slope)
    layers = [(layer - line.path[name]) / CLOUD_COLOR[name] for name, layer in bands.items()]
    darkest = np.minimum.reduce(layers) - DARK_GROUND
    return np.asarray(np.minimum(haze, darkest), dtype=np.float32)
