"""Hazard of slopes to roads: a landslide score weighed by the steepness above the road and by the rain that fell."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SegmentHazardParameters:
    """From where slope and rain count.

    Parameters
    ----------
    gentle : float
        Slope up to which a score counts nothing [degree].
    steep : float
        Slope from which it counts fully [degree].
    dry : float
        Rain up to which nothing is added [mm].
    wet : float
        Rain from which the most is added [mm].
    rain_gain : float
        Factor on the odds of the score where it is wet [1].
    """

    gentle: float = 10.0
    steep: float = 25.0
    dry: float = 25.0
    wet: float = 100.0
    rain_gain: float = 3.0


def score(
    landslide: npt.NDArray[np.floating],
    *,
    slope: npt.NDArray[np.floating] | None = None,
    rain: npt.NDArray[np.floating] | None = None,
    parameters: SegmentHazardParameters | None = None,
) -> Singles:
    """Score of a hazard from the slope, with the steepness of the ground and the rain that fell.

    Parameters
    ----------
    landslide : array
        Score or probability of a landslide (y, x) [1], NaN without data.
    slope : array, optional
        Steepness (y, x) [degree]; where unknown the score is unknown too.
    rain : array, optional
        Rain of the days before (y, x) [mm]; where unknown nothing is added.
    parameters : SegmentHazardParameters, optional
        From where slope and rain count.

    Returns
    -------
    Singles
        Score from 0 to 1 (y, x) [1], NaN without data.
    """
    chosen = parameters or SegmentHazardParameters()
    found: npt.NDArray[Any] = np.clip(np.asarray(landslide, dtype=np.float32), 0.0, 1.0)
    if slope is not None:
        found = found * _ramp(slope, chosen.gentle, chosen.steep)
    if rain is not None:
        gain = 1.0 + (chosen.rain_gain - 1.0) * np.nan_to_num(_ramp(rain, chosen.dry, chosen.wet))
        # Odds, not the score itself, are multiplied: a score stays below one.
        found = found * gain / (1.0 + found * (gain - 1.0))
    return np.asarray(found, dtype=np.float32)


def _ramp(values: npt.NDArray[np.floating], low: float, high: float) -> Singles:
    ramp: Singles = np.clip((np.asarray(values, dtype=np.float32) - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return ramp
