"""Comparison with other dates: what rises suddenly in blue is cloud, what is always bright is ground.

After Hagolle et al. (2010).
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from processors.arrays import FloatArray

_Layer: TypeAlias = npt.NDArray[np.float32]
_QUARTILE_DATES = 4


class History(NamedTuple):
    """What other dates say about one date."""

    sudden: _Layer
    """Probability of cloud from a sudden rise (y, x) [1]."""
    usual: _Layer
    """Blue the surface usually shows (y, x) [1], NaN where unknown."""


def histories(blue: _Layer, red: _Layer, days: FloatArray, *, rise: float, rise_scale: float) -> list[History]:
    """What the other dates of a series say about each.

    Parameters
    ----------
    blue, red : array
        Reflectance (time, y, x) [1], NaN without data.
    days : array
        Times [d].
    rise : float
        Rise of blue against both neighboring dates that reveals a cloud at once [1].
    rise_scale : float
        Days that double the rise needed [d].

    Returns
    -------
    list[History]
        One of every date.
    """
    return [_history(blue, red, days, date, rise, rise_scale) for date in range(days.size)]


def _observed_neighbors(blue: _Layer, date: int) -> list[int]:
    """Nearest date before and after that holds any value."""
    seen = np.flatnonzero(np.isfinite(blue).any(axis=(1, 2)))
    return [int(side[end]) for side, end in ((seen[seen < date], -1), (seen[seen > date], 0)) if side.size]


def _history(blue: _Layer, red: _Layer, days: FloatArray, date: int, rise: float, rise_scale: float) -> History:
    neighbors = _observed_neighbors(blue, date)
    usual = _usual(blue, date, neighbors)
    if len(neighbors) < 2:
        return History(np.zeros_like(usual), usual)
    limits = [rise * (1.0 + abs(days[date] - days[other]) / rise_scale) for other in neighbors]
    increases = np.stack([blue[date] - blue[other] for other in neighbors])
    colors = np.stack([red[date] - red[other] for other in neighbors])
    excess = np.min(increases - np.array(limits, dtype=np.float32)[:, None, None], axis=0)
    white = (colors <= 1.5 * increases).all(axis=0)
    sudden = np.where(white & np.isfinite(excess), 1.0 / (1.0 + np.exp(-np.clip(excess / 0.01, -30.0, 30.0))), 0.0)
    return History(sudden.astype(np.float32), usual)


def _usual(blue: _Layer, date: int, neighbors: Sequence[int]) -> _Layer:
    """Blue of the surface: the first quartile of the other dates, of few dates the darker neighbor; NaN without any."""
    seen = [other for other in range(blue.shape[0]) if other != date and bool(np.isfinite(blue[other]).any())]
    if len(seen) < _QUARTILE_DATES:
        seen = list(neighbors)
    if not seen:
        return np.full(blue.shape[1:], np.nan, dtype=np.float32)
    ranked = np.sort(blue[seen], axis=0)
    known = np.isfinite(ranked).sum(axis=0)
    rank = np.maximum(known - 1, 0) // 4
    return np.asarray(np.take_along_axis(ranked, rank[None], axis=0)[0], dtype=np.float32)
