"""Gaps of the observation: which are bridged, with what, and where a profile ends that cannot be continued.

A lost packet leaves no ray between two impact parameters. Across a short gap the logarithm of the ratio of the merged
to the background bending is interpolated, as the ratio changes little within a scale height where the bending itself
changes by the factor e. Nothing there counts as observed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class BridgingParameters:
    """Which gaps are bridged and what is paid for it.

    The widest gap is about one scale height of what shapes the bending: of dry air (7 to 8 km) from `high` upward, of
    water vapour and of the layers about the tropopause (3 km) from `low` downward, linear between. The error was
    measured by hiding stretches 1, 2, 3 and 6 km wide of complete observations. Root mean square at 10 km: 1.1, 2.1,
    2.5 and 3.2 % of a COSMIC-1 occultation retrieved here, 1.4, 2.6, 3.2 and 3.4 % of the bending angles of another
    as published; at 20 km of the first 0.6, 1.5, 1.9 and 2.1 %, at 50 km 1.1, 2.6, 3.5 and 5.2 %. Twelve simulated
    occultations, whose atmosphere has no layers, stay below 2.8 % from 10 to 50 km. The error given here follows the
    largest of them.

    Attributes
    ----------
    low, high : float
        Impact heights between which the widest gap grows [m].
    widest_low, widest_high : float
        Widest gap bridged at and below the first and at and above the second [m].
    error_rate : float
        Relative standard deviation of bridged bending per width of the gap [m-1].
    error_ceiling : float
        Largest relative standard deviation of bridged bending [1].
    error_length : float
        Correlation length of that error [m]: it has one sign through most of a gap.
    core_bottom, core_top : float
        Impact heights of the layer most of which is to be kept where a gap is too wide [m].
    """

    low: float = 10_000.0
    high: float = 30_000.0
    widest_low: float = 3_000.0
    widest_high: float = 8_000.0
    error_rate: float = 1.5e-5
    error_ceiling: float = 0.05
    error_length: float = 6_000.0
    core_bottom: float = 8_000.0
    core_top: float = 30_000.0


class Stretch(NamedTuple):
    """Levels from `start` up to but without `stop`."""

    start: int
    stop: int


class BridgedBending(NamedTuple):
    """Merged bending with its gaps closed.

    Attributes
    ----------
    bending_angle : FloatArray
        Bending angle [rad], shape (m,).
    bridged : BoolArray
        Levels in gaps narrow enough to be bridged, shape (m,).
    error : FloatArray
        Standard deviation that the bridge adds [rad], 0 outside.
    levels : IntArray
        Indices of the bridged levels [1], shape (k,).
    operator : FloatArray
        Response of the bridged levels to all levels, to first order [1], shape (k, m).
    """

    bending_angle: FloatArray
    bridged: BoolArray
    error: FloatArray
    levels: IntArray
    operator: FloatArray


def gaps(observed: FloatArray) -> list[Stretch]:
    """Missing stretches between observed levels.

    Parameters
    ----------
    observed : FloatArray
        Bending angle [rad], NaN where missing, shape (m,).

    Returns
    -------
    list of Stretch
        From low to high; what is missing below the lowest and above the highest observed level is no gap.
    """
    present = np.flatnonzero(np.isfinite(observed))
    ends = np.flatnonzero(np.diff(present) > 1)
    return [Stretch(int(present[end]) + 1, int(present[end + 1])) for end in ends]


def stretches(observed: FloatArray, *, impact_height: FloatArray, parameters: BridgingParameters) -> list[Stretch]:
    """Levels that belong together: between gaps too wide to be bridged.

    Parameters
    ----------
    observed : FloatArray
        Bending angle [rad], NaN where missing, shape (m,).
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m], increasing.
    parameters : BridgingParameters
        Widest gaps.

    Returns
    -------
    list of Stretch
        From low to high, each from an observed level to an observed level; empty where nothing was observed.
    """
    present = np.flatnonzero(np.isfinite(observed))
    if present.size == 0:
        return []
    wide = [gap for gap in gaps(observed) if not _is_narrow(gap, impact_height, parameters)]
    starts = [int(present[0]), *(gap.stop for gap in wide)]
    stops = [*(gap.start for gap in wide), int(present[-1]) + 1]
    return [Stretch(start, stop) for start, stop in zip(starts, stops, strict=True)]


def most_informative(
    found: list[Stretch], *, impact_height: FloatArray, parameters: BridgingParameters
) -> Stretch | None:
    """Stretch that holds most of the core layer.

    Parameters
    ----------
    found : list of Stretch
        Stretches.
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m], increasing.
    parameters : BridgingParameters
        Core layer.

    Returns
    -------
    Stretch or None
        Of those that hold the same part of the core, the thickest; None where there are none.
    """

    def worth(stretch: Stretch) -> tuple[float, float]:
        bottom, top = float(impact_height[stretch.start]), float(impact_height[stretch.stop - 1])
        core = min(top, parameters.core_top) - max(bottom, parameters.core_bottom)
        return max(core, 0.0), top - bottom

    return max(found, key=worth, default=None)


def bridge(
    merged: FloatArray,
    *,
    observed: FloatArray,
    background: FloatArray,
    impact_height: FloatArray,
    below: float,
    parameters: BridgingParameters,
) -> BridgedBending:
    """Close the gaps of the merged bending by interpolating ln(merged / background) over impact height.

    Parameters
    ----------
    merged : FloatArray
        Merged bending, which is the background where nothing was observed [rad].
    observed : FloatArray
        Observed bending angle [rad], NaN where missing, shape (m,).
    background : FloatArray
        Background bending angle [rad], positive.
    impact_height : FloatArray
        Impact parameter minus radius of curvature [m], increasing.
    below : float
        Impact height above which the statistical optimisation has closed the wide gaps already [m].
    parameters : BridgingParameters
        Widest gaps and their errors.

    Returns
    -------
    BridgedBending
        Wide gaps are closed alike, lest the profile step at their edges, but are not called bridged: there the error
        of the background stands.
    """
    bending, bridged = merged.copy(), np.zeros(observed.shape, dtype=bool)
    error = np.zeros_like(bending)
    ratio = bending / background
    support = np.flatnonzero(np.isfinite(observed) & (ratio > 0.0))
    operator: FloatArray = np.zeros((0, bending.size))
    for gap in gaps(observed):
        levels, narrow = slice(*gap), _is_narrow(gap, impact_height, parameters)
        if not narrow and impact_height[gap.start] >= below:
            continue
        bending[levels] = background[levels] * np.exp(
            np.interp(impact_height[levels], impact_height[support], np.log(ratio[support]))
        )
        if narrow:
            bridged[levels] = True
            relative = min(parameters.error_rate * _width(gap, impact_height), parameters.error_ceiling)
            error[levels] = relative * bending[levels]
            operator = np.concatenate([operator, _response(gap, bending, impact_height)])
    return BridgedBending(bending, bridged, error, np.flatnonzero(bridged), operator)


def _response(gap: Stretch, bending: FloatArray, impact_height: FloatArray) -> FloatArray:
    """Derivative of the bridge by the bending on either side [1]."""
    low, high = gap.start - 1, gap.stop
    share = (impact_height[gap.start : gap.stop] - impact_height[low]) / (impact_height[high] - impact_height[low])
    response: FloatArray = np.zeros((gap.stop - gap.start, bending.size))
    response[:, low] = (1.0 - share) * bending[gap.start : gap.stop] / bending[low]
    response[:, high] = share * bending[gap.start : gap.stop] / bending[high]
    return response


def _width(gap: Stretch, impact_height: FloatArray) -> float:
    """Distance between the observed levels on either side [m]."""
    return float(impact_height[gap.stop] - impact_height[gap.start - 1])


def _is_narrow(gap: Stretch, impact_height: FloatArray, parameters: BridgingParameters) -> bool:
    """Whether a gap may be bridged."""
    middle = 0.5 * float(impact_height[gap.stop] + impact_height[gap.start - 1])
    widest = np.interp(middle, (parameters.low, parameters.high), (parameters.widest_low, parameters.widest_high))
    return _width(gap, impact_height) <= float(widest)
