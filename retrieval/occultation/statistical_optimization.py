"""Statistical optimisation: inverse-variance merge of observation and background (Sokolovskiy and Hunt 1996)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import FloatArray


@dataclass(frozen=True)
class OptimizationParameters:
    """Errors of the background and where the observation stands alone.

    Attributes
    ----------
    background_error : float
        Relative standard deviation of the fitted background [1].
    observed_below : float
        Impact height below which the observation alone counts [m].
    transition : float
        Thickness of the transition above it [m].
    noise_bottom, noise_top : float
        Impact heights of the layer from which the noise is taken [m].
    noise_default : float
        Noise where that layer was not observed [rad].
    """

    background_error: float = 0.15
    observed_below: float = 30_000.0
    transition: float = 10_000.0
    noise_bottom: float = 60_000.0
    noise_top: float = 80_000.0
    noise_default: float = 5e-6


class Noise(NamedTuple):
    """Observed minus background bending at great height.

    Attributes
    ----------
    mean : float
        Mean difference [rad].
    deviation : float
        Standard deviation [rad].
    levels : int
        Levels used [1]; 0 where the default was taken.
    """

    mean: float
    deviation: float
    levels: int


class OptimizedBending(NamedTuple):
    """Merged bending angle.

    Attributes
    ----------
    bending_angle : FloatArray
        Optimised bending angle [rad], without gaps.
    weight : FloatArray
        Weight of the observation [1], 0 to 1.
    """

    bending_angle: FloatArray
    weight: FloatArray


def noise(
    observed: FloatArray, *, background: FloatArray, impact_height: FloatArray, parameters: OptimizationParameters
) -> Noise:
    """Noise of the observation from the layer where the atmosphere bends less than the receiver resolves.

    Parameters
    ----------
    observed, background : FloatArray
        Bending angles [rad], shape (m,).
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m].
    parameters : OptimizationParameters
        Layer and default.

    Returns
    -------
    Noise
        Mean and standard deviation of observed minus background.
    """
    inside = (
        (impact_height >= parameters.noise_bottom) & (impact_height <= parameters.noise_top) & np.isfinite(observed)
    )
    count = int(np.count_nonzero(inside))
    if count < 20:
        return Noise(0.0, parameters.noise_default, 0)
    difference = (observed - background)[inside]
    return Noise(float(np.mean(difference)), float(np.std(difference)), count)


def optimize(
    observed: FloatArray,
    *,
    background: FloatArray,
    observation_error: FloatArray,
    impact_height: FloatArray,
    parameters: OptimizationParameters,
) -> OptimizedBending:
    """Merge observation and background by level.

    Parameters
    ----------
    observed : FloatArray
        Observed bending angle [rad], NaN where missing, shape (m,).
    background : FloatArray
        Background bending angle [rad], without gaps.
    observation_error : FloatArray
        Standard deviation of the observation [rad].
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m].
    parameters : OptimizationParameters
        Errors and transition.

    Returns
    -------
    OptimizedBending
        b + w (o - b) with w = sb2/(sb2 + so2), drawn to 1 below the transition and 0 where nothing was observed.
    """
    background_variance = (parameters.background_error * background) ** 2
    weight = background_variance / (background_variance + observation_error**2)
    rise = np.clip((impact_height - parameters.observed_below) / parameters.transition, 0.0, 1.0)
    weight = 1.0 + (0.5 - 0.5 * np.cos(np.pi * rise)) * (weight - 1.0)
    weight = np.where(np.isfinite(observed), weight, 0.0)
    return OptimizedBending(background + weight * (np.nan_to_num(observed) - background), weight)
