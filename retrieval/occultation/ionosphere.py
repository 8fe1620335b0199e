"""First-order ionospheric correction at common impact parameter (Vorob'ev and Krasil'nikova 1994).

The difference of the two signals is smoothed before it is amplified, so that the noise of the weaker signal does not
reach the neutral bending (Sokolovskiy et al. 2009); below the loss of the second signal the mean difference above the
loss is carried on.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import resampling
from retrieval.occultation.geometric_optics import BendingAngle


@dataclass(frozen=True)
class IonosphereParameters:
    """Smoothing and extrapolation of the difference of the signals.

    Attributes
    ----------
    half_width : float
        Half width of the smoothing of the difference [m].
    guard : float
        Distance above the loss of the second signal where its bending is not trusted [m].
    depth : float
        Thickness of the layer above the guard whose mean difference is carried down [m].
    """

    half_width: float = 1_000.0
    guard: float = 1_000.0
    depth: float = 5_000.0


class IonosphereCorrection(NamedTuple):
    """Neutral bending and how it was found.

    Attributes
    ----------
    bending_angle : FloatArray
        Corrected bending angle [rad], shape (m,).
    difference : FloatArray
        Smoothed bending of the first minus the second signal [rad].
    extrapolated : BoolArray
        Where the difference was carried on from elsewhere.
    """

    bending_angle: FloatArray
    difference: FloatArray
    extrapolated: BoolArray


def correct(
    first: FloatArray,
    *,
    difference: FloatArray,
    impact_parameter: FloatArray,
    frequency: FloatArray,
    parameters: IonosphereParameters,
) -> IonosphereCorrection:
    """Remove the first-order ionosphere.

    Parameters
    ----------
    first : FloatArray
        Bending angle of the first signal on levels [rad], shape (m,).
    difference : FloatArray
        Smoothed difference of the signals on levels [rad], NaN where the second signal is missing.
    impact_parameter : FloatArray
        Levels [m], increasing.
    frequency : FloatArray
        Carrier frequencies of the two signals [Hz], shape (2,).
    parameters : IonosphereParameters
        Extrapolation.

    Returns
    -------
    IonosphereCorrection
        Corrected bending; NaN everywhere where the second signal was never there.
    """
    known = np.isfinite(difference)
    if known.any():
        bottom = impact_parameter[known][0] + parameters.guard
        known &= impact_parameter >= bottom
    if not known.any():
        nothing = np.full_like(first, np.nan)
        return IonosphereCorrection(nothing, nothing.copy(), np.ones(first.shape, dtype=bool))
    layer = known & (impact_parameter <= impact_parameter[known][0] + parameters.depth)
    filled = np.interp(
        impact_parameter, impact_parameter[known], difference[known], left=float(np.mean(difference[layer]))
    )
    gain = frequency[1] ** 2 / (frequency[0] ** 2 - frequency[1] ** 2)
    return IonosphereCorrection(first + gain * filled, filled, ~known & np.isfinite(first))


def smoothed_difference(
    first: BendingAngle,
    *,
    second: BendingAngle,
    second_gaps: FloatArray,
    levels: FloatArray,
    parameters: IonosphereParameters,
) -> FloatArray:
    """Difference of two signals on levels, smoothed.

    Parameters
    ----------
    first, second : BendingAngle
        Bending by sample: impact parameter [m] and bending angle [rad].
    second_gaps : FloatArray
        Impact parameters between which the second signal was not observed [m], shape (k, 2): a straight line across
        them would be no bending angle.
    levels : FloatArray
        Impact parameters [m], increasing.
    parameters : IonosphereParameters
        Smoothing.

    Returns
    -------
    FloatArray
        Smoothed difference first minus second [rad], NaN where either is missing.
    """
    usable = np.flatnonzero(np.isfinite(second.impact_parameter) & np.isfinite(second.bending_angle))
    order = usable[np.argsort(second.impact_parameter[usable], kind="stable")]
    if order.size < 2:
        return np.full(levels.shape, np.nan)
    at_first = np.interp(
        first.impact_parameter,
        second.impact_parameter[order],
        second.bending_angle[order],
        left=np.nan,
        right=np.nan,
    )
    at_first[resampling.inside_gaps(first.impact_parameter, gaps=second_gaps)] = np.nan
    smoothed = resampling.onto_levels(
        first.bending_angle - at_first, at=first.impact_parameter, levels=levels, half_width=parameters.half_width
    )
    return resampling.outside_gaps(smoothed, levels=levels, gaps=second_gaps).value
