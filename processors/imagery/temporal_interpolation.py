"""Linear interpolation in time, and how uncertain it is."""

from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray, IntArray

_SCENE_WEIGHT = 4.0


def interpolate(values: FloatArray, observed: BoolArray, days: FloatArray, *, target: float) -> FloatArray:
    """Interpolate linearly in time between the nearest observed dates; copy the nearest one outside.

    Parameters
    ----------
    values : FloatArray
        Values (time, band, pixel), any unit.
    observed : BoolArray
        Where a value may be used (time, pixel).
    days : FloatArray
        Increasing dates [d].
    target : float
        Date wanted [d].

    Returns
    -------
    FloatArray
        Values at the date (band, pixel), NaN where no date is observed.
    """
    before, after = brackets(observed, days, target=target)
    first, second = np.where(before < 0, after, before), np.where(after < 0, before, after)
    span = days[second] - days[first]
    weight = np.where(span > 0, (target - days[first]) / np.where(span > 0, span, 1.0), 0.0)
    pixels = np.arange(observed.shape[1])
    result = (1.0 - weight)[:, None] * values[first, :, pixels] + weight[:, None] * values[second, :, pixels]
    result[(before < 0) & (after < 0)] = np.nan
    return np.asarray(result.T, dtype=np.float64)


class Brackets(NamedTuple):
    """Observed dates around a target date, pixel by pixel."""

    before: IntArray
    """Index of the last observed date up to the target, -1 where there is none (pixel)."""
    after: IntArray
    """Index of the first observed date after the target, -1 where there is none (pixel)."""


def brackets(observed: BoolArray, days: FloatArray, *, target: float) -> Brackets:
    """Find the nearest observed dates around a target date.

    Parameters
    ----------
    observed : BoolArray
        Where a value may be used (time, pixel).
    days : FloatArray
        Increasing dates [d].
    target : float
        Date wanted [d].

    Returns
    -------
    Brackets
        Indices of the dates before and after.
    """
    index = np.arange(days.size)[:, None]
    early, late = (days <= target)[:, None] & observed, (days > target)[:, None] & observed
    before = np.where(early, index, -1).max(axis=0, initial=-1)
    after = np.where(late, index, days.size).min(axis=0, initial=days.size)
    return Brackets(before, np.where(after == days.size, -1, after))


def bridge_sigma(
    values: FloatArray,
    observed: BoolArray,
    days: FloatArray,
    *,
    before: float | None,
    after: float | None,
    target: float,
) -> FloatArray:
    """One-sigma uncertainty of an interpolated or copied value, learned from the series itself.

    Values are taken as a random walk tied at the observed dates (Brownian bridge): the variance is q dp dn / (dp + dn)
    between two dates, q dp beside a single one, with dp and dn the distances to them. The rate q is the mean squared
    error of leaving out observed dates with neighbors about as far away, mixed from the pixel and the whole scene.

    Parameters
    ----------
    values : FloatArray
        Values (time, band, pixel), any unit.
    observed : BoolArray
        Where a value may be used (time, pixel).
    days : FloatArray
        Increasing dates [d].
    before, after : float, optional
        Dates between which is interpolated, or the one that is copied [d].
    target : float
        Date wanted [d].

    Returns
    -------
    FloatArray
        Uncertainty in the unit of the values (band, pixel); the spread over the scene where nothing can be learned.
    """
    two_sided = before is not None and after is not None
    gap = min(abs(target - date) for date in (before, after) if date is not None)
    reach = (after - before) / 2.0 if before is not None and after is not None else gap
    total, count = _leave_out(values, observed, days, step=_matching_step(days, reach), two_sided=two_sided)
    if not count.any():
        return np.broadcast_to(np.nanstd(values, axis=(0, 2))[:, None], values.shape[1:]).copy()
    scene = total.sum(axis=1) / count.sum()
    rate = (total + _SCENE_WEIGHT * scene[:, None]) / (count + _SCENE_WEIGHT)
    length = _bridge(target - before, after - target) if before is not None and after is not None else gap
    return np.asarray(np.sqrt(rate * length), dtype=np.float64)


def _matching_step(days: FloatArray, reach: float) -> int:
    """Steps along the series that bridge about the same time as the gap."""
    return int(np.clip(np.rint(reach / max(float(np.median(np.diff(days))), 1e-9)), 1, max(days.size // 2 - 1, 1)))


def _bridge(first: float, second: float) -> float:
    return first * second / (first + second)


def _leave_out(
    values: FloatArray, observed: BoolArray, days: FloatArray, *, step: int, two_sided: bool
) -> tuple[FloatArray, FloatArray]:
    """Sum of squared errors per day of bridge (band, pixel) and their number (pixel)."""
    total = np.zeros(values.shape[1:])
    count = np.zeros(values.shape[2])
    for date in range(step, days.size - (step if two_sided else 0)):
        early, late = date - step, date + step
        known = observed[early] & observed[date] & (observed[late] if two_sided else True)
        if two_sided:
            weight = (days[date] - days[early]) / (days[late] - days[early])
            estimate = (1.0 - weight) * values[early] + weight * values[late]
            length = _bridge(days[date] - days[early], days[late] - days[date])
        else:
            estimate, length = values[early], days[date] - days[early]
        total += np.where(known, (values[date] - estimate) ** 2 / length, 0.0)
        count += known
    return total, count
