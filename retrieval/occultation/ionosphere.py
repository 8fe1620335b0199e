"""Ionospheric correction at common impact parameter (Vorob'ev and Krasil'nikova 1994).

a_c = a_1 + g <a_1 - a_2>, g = f2^2 / (f1^2 - f2^2): the difference of the signals is smoothed before it is amplified,
as much as leaves the least noise (Sokolovskiy et al. 2009). Below the loss of the second signal a straight line through
the differences above is carried on, with an error that grows with the distance. What the first order leaves is the
square of the difference times a coefficient (Healy and Culverwell 2015, kappa), for any pair of carriers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import _kernels, resampling


@dataclass(frozen=True)
class IonosphereParameters:
    """Smoothing, extrapolation and residual.

    Attributes
    ----------
    half_widths : tuple
        Half widths of the smoothing of the difference, of which that with the least noise is taken [m].
    wide : tuple
        Further half widths, each taken only where it halves the noise: they bend the ionosphere's own profile [m].
    noise_bottom, noise_top : float
        Impact heights between which the noise decides [m].
    guard : float
        Distance above the loss of the second signal where its bending is not trusted [m].
    beside : float
        Thickness of the layers on both sides of a gap of the difference whose means are joined by a straight line [m].
    depth : float
        Thickness of the layer above it whose differences are carried down [m].
    scatter_limit : float
        Scatter of the amplified difference, relative to the bending, from which on downward the second signal is given
        up [1].
    scatter_top : float
        Impact height above which noise is no reason to give it up [m].
    extrapolation_rate : float
        Standard deviation of the carried difference relative to its size, per distance [m-1].
    usual_slope : float
        Standard deviation of the slope of the difference over impact height [rad m-1].
    least_difference : float
        Difference that the relative error refers to at least [rad].
    residual : float
        Coefficient of the second order [rad-1]: kappa = residual f1^2 f2^2 / (f1^2 - f2^2)^2, 14 rad-1 for GPS L1 and
        L2; 0 switches it off.
    residual_error : float
        Standard deviation of that term relative to its size [1].
    """

    half_widths: tuple[float, ...] = (500.0, 1_000.0, 1_500.0, 2_000.0, 3_000.0)
    wide: tuple[float, ...] = (6_000.0, 12_000.0)
    noise_bottom: float = 60_000.0
    noise_top: float = 80_000.0
    guard: float = 1_000.0
    beside: float = 3_000.0
    depth: float = 15_000.0
    scatter_limit: float = 0.03
    scatter_top: float = 20_000.0
    extrapolation_rate: float = 1e-5
    usual_slope: float = 2e-10
    least_difference: float = 2e-6
    residual: float = 3.56
    residual_error: float = 0.5


class IonosphereCorrection(NamedTuple):
    """Neutral bending and how it was found.

    Attributes
    ----------
    bending_angle : FloatArray
        Corrected bending angle [rad], NaN where missing, shape (m,).
    difference : FloatArray
        Smoothed bending of the first minus the second signal [rad].
    smoother : scipy.sparse.csr_array
        Operator that makes it of the differences by level, shape (m, m).
    gain : float
        Factor of the difference in the corrected bending [1].
    extrapolated : BoolArray
        Where the difference was carried on from above.
    systematic : FloatArray
        Standard deviation of the carried difference and of the residual [rad].
    half_width : float
        Half width of the smoothing [m].
    second_bottom : float
        Impact parameter down to which the second signal was used [m], NaN where nowhere.
    gapped : bool
        Whether the second signal is missing somewhere between.
    """

    bending_angle: FloatArray
    difference: FloatArray
    smoother: sparse.csr_array
    gain: float
    extrapolated: BoolArray
    systematic: FloatArray
    half_width: float
    second_bottom: float
    gapped: bool


def correct(
    first: FloatArray,
    *,
    difference: FloatArray,
    impact_parameter: FloatArray,
    radius: float,
    frequency: FloatArray,
    second_border: float,
    parameters: IonosphereParameters,
) -> IonosphereCorrection:
    """Remove the ionosphere.

    Parameters
    ----------
    first : FloatArray
        Bending angle of the first signal on levels [rad], NaN where missing, shape (m,).
    difference : FloatArray
        Bending of the first minus the second signal at one resolution [rad], NaN where missing.
    impact_parameter : FloatArray
        Levels [m], increasing.
    radius : float
        Radius of curvature [m].
    frequency : FloatArray
        Carrier frequencies of the two signals [Hz], shape (2,).
    second_border : float
        Impact parameter below which the second signal is in the shadow or lost [m], NaN where unknown.
    parameters : IonosphereParameters
        Smoothing, extrapolation and residual.

    Returns
    -------
    IonosphereCorrection
        Corrected bending; NaN everywhere where the second signal was never there.
    """
    gain = float(frequency[1] ** 2 / (frequency[0] ** 2 - frequency[1] ** 2))
    bottom = _second_bottom(
        difference,
        first=first,
        impact_parameter=impact_parameter,
        radius=radius,
        gain=gain,
        border=second_border,
        rule=parameters,
    )
    valid = np.isfinite(difference) & (impact_parameter >= bottom)
    if np.count_nonzero(valid) < resampling.MINIMUM_SAMPLES:
        nothing = np.full_like(first, np.nan)
        blank = sparse.csr_array((first.size, first.size))
        return IonosphereCorrection(
            nothing, nothing, blank, gain, np.ones(first.shape, dtype=bool), nothing, np.nan, np.nan, False
        )
    half_width = _quietest(
        first, difference, valid=valid, impact_parameter=impact_parameter, radius=radius, gain=gain, rule=parameters
    )
    smoother, extrapolated = _smoother(
        difference, impact_parameter=impact_parameter, valid=valid, half_width=half_width, rule=parameters
    )
    smooth = smoother @ np.where(valid, difference, 0.0)
    smooth[np.diff(smoother.indptr) == 0] = np.nan
    kappa = _kappa(frequency, parameters)
    observed = impact_parameter[~extrapolated & (impact_parameter >= impact_parameter[valid][0])]
    lowest = float(observed[0])
    after = np.clip(np.searchsorted(observed, impact_parameter), 0, observed.size - 1)
    nearest = np.minimum(
        np.abs(observed[after] - impact_parameter), np.abs(observed[np.maximum(after - 1, 0)] - impact_parameter)
    )
    distance = np.where(extrapolated, nearest, 0.0)
    carried = (
        abs(gain) * parameters.extrapolation_rate * distance * np.maximum(np.abs(smooth), parameters.least_difference)
    )
    left = parameters.residual_error * kappa * smooth**2
    return IonosphereCorrection(
        bending_angle=first + gain * smooth + kappa * smooth**2,
        difference=smooth,
        smoother=smoother,
        gain=gain,
        extrapolated=extrapolated & np.isfinite(first),
        systematic=np.hypot(carried, left),
        half_width=half_width,
        second_bottom=lowest,
        gapped=bool((extrapolated & (impact_parameter > lowest) & (impact_parameter < observed[-1])).any()),
    )


def _kappa(frequency: FloatArray, parameters: IonosphereParameters) -> float:
    """Coefficient of the residual for a pair of carriers [rad-1].

    With a_i = a + A/f^2 + B/f^4 the first order leaves -B / (f1 f2)^2, and B is proportional to A^2.
    """
    one, two = frequency[0] ** 2, frequency[1] ** 2
    return float(parameters.residual * one * two / (one - two) ** 2)


def _second_bottom(
    difference: FloatArray,
    *,
    first: FloatArray,
    impact_parameter: FloatArray,
    radius: float,
    gain: float,
    border: float,
    rule: IonosphereParameters,
) -> float:
    """Impact parameter above which the second signal is trusted [m], infinite where it never is."""
    present = np.isfinite(difference)
    if not present.any():
        return float("inf")
    bottom = max(float(impact_parameter[present][0]), np.nan_to_num(border, nan=-np.inf)) + rule.guard
    scatter = resampling.onto_levels(
        difference, at=impact_parameter, levels=impact_parameter, half_width=rule.guard
    ).scatter
    judged = present & (impact_parameter >= bottom) & (impact_parameter <= radius + rule.scatter_top)
    wild = judged & (np.nan_to_num(abs(gain) * scatter) > rule.scatter_limit * np.abs(np.nan_to_num(first)))
    return float(impact_parameter[wild][-1] + rule.guard) if wild.any() else bottom


def _quietest(
    first: FloatArray,
    difference: FloatArray,
    *,
    valid: BoolArray,
    impact_parameter: FloatArray,
    radius: float,
    gain: float,
    rule: IonosphereParameters,
) -> float:
    """Half width of the smoothing that leaves the least scatter of the corrected bending high up [m]."""
    height = impact_parameter - radius
    high = valid & (height >= rule.noise_bottom) & (height <= rule.noise_top)
    if np.count_nonzero(high) < 4 * resampling.MINIMUM_SAMPLES:
        return rule.half_widths[len(rule.half_widths) // 2]
    levels = impact_parameter[high]
    around = valid & (np.abs(height - 0.5 * (rule.noise_bottom + rule.noise_top)) < rule.noise_top - rule.noise_bottom)

    def scatter(half_width: float) -> float:
        smooth = resampling.onto_levels(
            difference[around], at=impact_parameter[around], levels=levels, half_width=half_width
        ).value
        corrected = first[high] + gain * smooth
        trend = np.polynomial.Polynomial.fit(levels, corrected, 3)
        return float(np.std(corrected - trend(levels)))

    chosen = min(rule.half_widths, key=scatter)
    for wider in rule.wide:
        if scatter(wider) < 0.5 * scatter(chosen):
            chosen = wider
    return chosen


def _smoother(
    difference: FloatArray,
    *,
    impact_parameter: FloatArray,
    valid: BoolArray,
    half_width: float,
    rule: IonosphereParameters,
) -> tuple[sparse.csr_array, BoolArray]:
    """Operator of the smoothing with the straight line below, and where that is."""
    m = impact_parameter.size
    trusted, gaps = _without_gaps(impact_parameter, valid=valid, half_width=half_width, rule=rule)
    start, count, weights = _kernels.line_weights(impact_parameter, trusted, half_width, resampling.MINIMUM_SAMPLES)
    rows, columns, values = [], [], []
    for low, high in gaps:
        count[low + 1 : high] = 0
        sides = [
            np.flatnonzero(trusted & (np.abs(impact_parameter - impact_parameter[at]) <= rule.beside))
            for at in (low, high)
        ]
        inside = np.arange(low + 1, high)
        share = (impact_parameter[inside] - impact_parameter[low]) / (impact_parameter[high] - impact_parameter[low])
        for side, part in zip(sides, (1.0 - share, share), strict=True):
            rows.append(np.repeat(inside, side.size))
            columns.append(np.tile(side, inside.size))
            values.append(np.repeat(part / side.size, side.size))
    used = np.arange(weights.shape[1]) < count[:, None]
    rows.append(np.repeat(np.arange(m), count))
    columns.append((start[:, None] + np.arange(weights.shape[1]))[used])
    values.append(weights[used])
    lowest = impact_parameter[trusted][0]
    below = np.flatnonzero(impact_parameter < lowest)
    layer = np.flatnonzero(trusted & (impact_parameter <= lowest + rule.depth))
    rows.append(np.repeat(below, layer.size))
    columns.append(np.tile(layer, below.size))
    values.append(
        _carried(difference[layer], at=impact_parameter[layer], to=impact_parameter[below], rule=rule).ravel()
    )
    where = (np.concatenate(rows), np.concatenate(columns))
    carried = np.zeros(m, dtype=bool)
    carried[below] = True
    for low, high in gaps:
        carried[low + 1 : high] = True
    return sparse.csr_array((np.concatenate(values), where), shape=(m, m)), carried


def _without_gaps(
    impact_parameter: FloatArray, *, valid: BoolArray, half_width: float, rule: IonosphereParameters
) -> tuple[BoolArray, list[tuple[int, int]]]:
    """Levels to be trusted, and the last before and the first after each gap wider than the smoothing.

    What lies beside such a gap is left out, too: there the slopes are taken from one side.
    """
    trusted = valid.copy()
    for last, first in _holes(impact_parameter, valid=valid, wider=half_width):
        low, high = impact_parameter[last] - 2.0 * rule.guard, impact_parameter[first] + 2.0 * rule.guard
        trusted &= ~((impact_parameter > low) & (impact_parameter < high))
    if np.count_nonzero(trusted) < resampling.MINIMUM_SAMPLES:
        return valid, []
    return trusted, _holes(impact_parameter, valid=trusted, wider=half_width)


def _holes(impact_parameter: FloatArray, *, valid: BoolArray, wider: float) -> list[tuple[int, int]]:
    """Neighbouring valid levels between which others are missing over more than a distance."""
    known = np.flatnonzero(valid)
    apart = (np.diff(known) > 1) & (np.diff(impact_parameter[known]) > wider)
    return [(int(known[at]), int(known[at + 1])) for at in np.flatnonzero(apart)]


def _carried(difference: FloatArray, *, at: FloatArray, to: FloatArray, rule: IonosphereParameters) -> FloatArray:
    """Operator of a straight line through the differences of a layer, its slope held near zero as noise demands.

    Levels within twice the guard share their error; the slope counts as far as it stands out of that.
    """
    middle = float(np.mean(at))
    about = at - middle
    independent = max((at[-1] - at[0]) / (2.0 * rule.guard), 1.0)
    rest = difference - np.polynomial.Polynomial.fit(at, difference, 1)(at)
    noise = float(np.var(rest)) * at.size / independent
    slope = about / (float(np.sum(about**2)) + noise / rule.usual_slope**2)
    return np.asarray(1.0 / at.size + (to[:, None] - middle) * slope)
