"""Statistical optimisation: the observed and the background bending merged by their full error covariances.

a = b + B H' (H B H' + O)^-1 (o - H b): Gobiet and Kirchengast (2004), with the errors of the observation as they are in
this profile (Gorbunov 2002; Li et al. 2013).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg

from processors.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class OptimizationParameters:
    """Errors of the background and where the observation stands alone.

    Attributes
    ----------
    background_error : float
        Relative standard deviation of the fitted background [1].
    background_length : float
        Correlation length of its error [m], Gobiet and Kirchengast (2004).
    gross_error : float
        Distance of the observation from the background at which it is left out, in standard deviations of both [1].
    judged_below : float
        Impact height above which such levels are not counted: there the ionosphere may be anything [m].
    observed_below : float
        Impact height below which the observation alone counts [m].
    noise_bottom, noise_top : float
        Impact heights of the layer from which the noise is taken [m].
    noise_default : float
        Noise where that layer was not observed [rad].
    """

    background_error: float = 0.20
    background_length: float = 6_000.0
    gross_error: float = 5.0
    judged_below: float = 90_000.0
    observed_below: float = 30_000.0
    noise_bottom: float = 60_000.0
    noise_top: float = 80_000.0
    noise_default: float = 2e-6


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
        Optimised bending angle [rad], without gaps, shape (m,).
    weight : FloatArray
        Weight of the observation [1]: response to a change of all observations by the same fraction, 0 to 1.
    merged : BoolArray
        Levels at which both are merged; below them the observation stands alone.
    gain : FloatArray
        Gain of the merged levels with respect to all levels [1], shape (merged, m).
    prior : FloatArray
        Covariance the background leaves at the merged levels [1], in rad2, shape (merged, merged).
    outliers : int
        Merged levels up to `judged_below` whose observation is so far from the background that it was left out [1].
    """

    bending_angle: FloatArray
    weight: FloatArray
    merged: BoolArray
    gain: FloatArray
    prior: FloatArray
    outliers: int = 0


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


def background_covariance(
    background: FloatArray, *, impact_parameter: FloatArray, parameters: OptimizationParameters
) -> FloatArray:
    """Error covariance of the background.

    Parameters
    ----------
    background : FloatArray
        Background bending angle [rad], shape (m,).
    impact_parameter : FloatArray
        Levels [m].
    parameters : OptimizationParameters
        Relative error and correlation length.

    Returns
    -------
    FloatArray
        B [1], in rad2, shape (m, m), with exponential correlation.
    """
    deviation = parameters.background_error * background
    distance = np.abs(impact_parameter[:, None] - impact_parameter)
    return np.asarray(np.outer(deviation, deviation) * np.exp(-distance / parameters.background_length))


def optimize(
    observed: FloatArray,
    *,
    background: FloatArray,
    covariance: FloatArray,
    impact_parameter: FloatArray,
    radius: float,
    parameters: OptimizationParameters,
) -> OptimizedBending:
    """Merge observation and background.

    Parameters
    ----------
    observed : FloatArray
        Observed bending angle [rad], NaN where missing, shape (m,).
    background : FloatArray
        Background bending angle [rad], without gaps.
    covariance : FloatArray
        Error covariance of the observation [1], in rad2, shape (m, m); its rows of missing levels do not matter.
    impact_parameter : FloatArray
        Levels [m], increasing.
    radius : float
        Radius of curvature [m].
    parameters : OptimizationParameters
        Errors of the background and where the merge begins.

    Returns
    -------
    OptimizedBending
        Observed below, merged above, background where nothing was observed below.
    """
    present = np.isfinite(observed)
    merged = impact_parameter - radius >= parameters.observed_below
    rows, used = np.flatnonzero(merged), np.flatnonzero(merged & present)
    prior = background_covariance(background[merged], impact_parameter=impact_parameter[merged], parameters=parameters)
    gain = np.zeros((rows.size, observed.size))
    spread = np.sqrt(np.diag(prior) + np.diag(covariance)[rows])
    far = np.abs(np.nan_to_num(observed[rows] - background[rows])) > parameters.gross_error * spread
    used = np.setdiff1d(used, rows[far])
    bending = np.where(present, observed, background)
    weight = present.astype(np.float64)
    bending[merged], weight[merged] = background[merged], 0.0
    if used.size:
        seen = used - rows[0]
        total = prior[np.ix_(seen, seen)] + covariance[np.ix_(used, used)]
        factor = scipy.linalg.cho_factor(total, lower=True, check_finite=False)
        response = scipy.linalg.cho_solve(factor, prior[seen], check_finite=False).T
        gain[:, used] = response
        bending[merged] += response @ (observed - background)[used]
        weight[merged] = np.clip(response @ background[used] / background[merged], 0.0, 1.0)
        left = np.eye(rows.size)
        left[:, seen] -= response
        prior = left @ prior @ left.T
    counted = far & (impact_parameter[rows] - radius <= parameters.judged_below)
    return OptimizedBending(bending, weight, merged, gain, prior, int(np.count_nonzero(counted)))
