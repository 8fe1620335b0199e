"""What the place says of usual water and of flood, as the two radar dates of the scene themselves tell.

Usual water lies level, low, and where a reference knows it; a flood stands on what lies low above the drainage, up to a
stage nobody knows beforehand. How much either is worth differs from scene to scene: heights may be those of a bare
ground or of tree tops, leveled on water or not, a reference fine or coarse. So the prior of physics is corrected by
functions of height above the drainage, slope and usual water that are linear between knots (a logistic regression on
them), fitted to the radar evidence of both dates by expectation and maximization (gating of a mixture of experts,
Jordan and Jacobs 1994, section 3). Ridge and thinning keep the correction at nothing where the scene says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from retrieval.surface import _radar_water_kernels, radar_water

Singles = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_LAYERS = ("hand", "slope", "reference")
_STEPS = 2
_LONGEST_STEP = 2.0


@dataclass(frozen=True, kw_only=True)
class PlaceParameters:
    """How the place is read.

    Parameters
    ----------
    hand_knots : tuple of float
        Heights above the drainage between which the functions are linear [m].
    slope_knots : tuple of float
        The same of slope [degree].
    reference_knots : tuple of float
        The same of usual water [1].
    sample : int
        Pixels the functions are fitted to [1].
    alike : float
        Neighboring pixels that count as one [1].
    ridge : float
        Weight of no correction, in pixels [1].
    rounds : int
        Rounds of expectation and maximization [1].
    usual_limits : tuple of float
        Least and greatest prior of usual water: a reference may not know a lake, or the lake may be gone [1].
    onset_limits : tuple of float
        The same of flood where it was dry [1].
    """

    hand_knots: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 9.0, 14.0, 30.0)
    slope_knots: tuple[float, ...] = (0.0, 0.1, 0.5, 1.5, 3.0, 6.0, 12.0, 25.0)
    reference_knots: tuple[float, ...] = (0.0, 0.04, 0.1, 0.2, 0.4, 0.7, 0.9, 1.0)
    sample: int = 20_000
    alike: float = 20.0
    ridge: float = 2.0
    rounds: int = 6
    usual_limits: tuple[float, float] = (0.03, 0.98)
    onset_limits: tuple[float, float] = (0.002, 0.98)

    def knots(self, layer: str) -> Doubles:
        """Knots of a layer.

        Parameters
        ----------
        layer : str
            ``hand``, ``slope`` or ``reference``.

        Returns
        -------
        Doubles
            Rising.
        """
        return np.array(getattr(self, f"{layer}_knots"), dtype=np.float64)


class PlaceModel(NamedTuple):
    """Corrections of the priors.

    Attributes
    ----------
    layers : tuple of str
        Layers that are heard.
    heights : tuple of Doubles
        For each of them log-odds at the knots (2, knot) [1]: of usual water, and of flood where it was dry.
    """

    layers: tuple[str, ...]
    heights: tuple[Doubles, ...]


class Part(NamedTuple):
    """A part of the scene.

    Attributes
    ----------
    place : Surroundings
        What is known of it.
    priors : Singles
        Priors of usual water, and of flood where it was dry (2, y, x) [1].
    scores : Singles
        Log density of the radar of both dates (4, y, x): dry on both, dry then wet, wet then dry, wet on both.
    """

    place: radar_water.Surroundings
    priors: Singles
    scores: Singles


def fit(parts: Sequence[Part], *, receding: float, parameters: PlaceParameters) -> PlaceModel | None:
    """Corrections the parts of a scene tell.

    Parameters
    ----------
    parts : sequence of Part
        Parts that stand for the scene.
    receding : float
        Prior of dry where there was water [1].
    parameters : PlaceParameters
        Choices.

    Returns
    -------
    PlaceModel or None
        None where nothing is known of the places, or no pixel is seen on both dates.
    """
    layers = tuple(name for name in _LAYERS if all(getattr(part.place, name) is not None for part in parts))
    usable = [np.isfinite(part.scores).all(axis=0) & np.isfinite(part.priors).all(axis=0) for part in parts]
    count = sum(int(mask.sum()) for mask in usable)
    if not layers or count == 0:
        return None
    step = max(1, -(-count // parameters.sample))
    scores, priors = (
        np.concatenate([rows[:, mask] for rows, mask in zip(held, usable, strict=True)], axis=1)[:, ::step]
        for held in ([part.scores for part in parts], [part.priors for part in parts])
    )
    columns = []
    for name in layers:
        values = [getattr(part.place, name)[mask] for part, mask in zip(parts, usable, strict=True)]
        columns.append(_hats(np.concatenate(values)[::step].astype(np.float64), parameters.knots(name)))
    found = _expected(np.hstack(columns), scores.astype(np.float64), priors.astype(np.float64), receding, parameters)
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    return PlaceModel(layers, tuple(np.split(found, ends, axis=1)))


def _hats(values: Doubles, knots: Doubles) -> Doubles:
    """Weight of every knot (pixel, knot); none where the value is unknown."""
    known = np.isfinite(values)
    inside = np.clip(np.where(known, values, knots[0]), knots[0], knots[-1])
    first = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    part = (inside - knots[first]) / (knots[first + 1] - knots[first])
    hats = np.zeros((values.size, len(knots)))
    rows = np.arange(values.size)
    hats[rows, first], hats[rows, first + 1] = 1.0 - part, part
    return hats * known[:, None]


def _expected(hats: Doubles, scores: Doubles, priors: Doubles, receding: float, parameters: PlaceParameters) -> Doubles:
    """Coefficients of both regressions (2, knot)."""
    offsets = special.logit(np.clip(priors, 1e-6, 1.0 - 1e-6))
    found = np.zeros((2, hats.shape[1]))
    for _ in range(parameters.rounds):
        usual, onset = special.expit(offsets + found @ hats.T).clip(1e-9, 1.0 - 1e-9)
        case = scores + np.log(
            [(1.0 - usual) * (1.0 - onset), (1.0 - usual) * onset, usual * receding, usual * (1.0 - receding)]
        )
        chance = special.softmax(case, axis=0)
        dry = chance[0] + chance[1]
        before, fresh = chance[2] + chance[3], chance[1] / np.maximum(dry, 1e-9)
        found[0] = _climbed(hats, offsets[0], before, np.ones_like(dry), found[0], parameters)
        found[1] = _climbed(hats, offsets[1], fresh, dry, found[1], parameters)
    return found


def _climbed(
    hats: Doubles, offset: Doubles, target: Doubles, weight: Doubles, start: Doubles, parameters: PlaceParameters
) -> Doubles:
    """Logistic regression a few Newton steps further."""
    found, weight = start, weight / parameters.alike
    for _ in range(_STEPS):
        chance = special.expit(offset + hats @ found)
        slope = hats.T @ (weight * (target - chance)) - parameters.ridge * found
        curvature = (hats * (weight * chance * (1.0 - chance))[:, None]).T @ hats
        step = np.linalg.solve(curvature + parameters.ridge * np.eye(len(found)), slope)
        found = found + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
    return found


def corrected(
    priors: Singles, place: radar_water.Surroundings, *, model: PlaceModel | None, parameters: PlaceParameters
) -> Singles:
    """Priors with what the scene told of its places.

    Parameters
    ----------
    priors : Singles
        Priors of usual water, and of flood where it was dry (2, y, x) [1].
    place : Surroundings
        What is known of the place.
    model : PlaceModel or None
        Corrections.
    parameters : PlaceParameters
        Knots and limits.

    Returns
    -------
    Singles
        (2, y, x) [1].
    """
    if model is None:
        return priors
    odds = special.logit(priors).astype(np.float32)
    for name, heights in zip(model.layers, model.heights, strict=True):
        layer = getattr(place, name)
        if layer is not None:
            knots = parameters.knots(name)
            _radar_water_kernels.add_terms(np.ascontiguousarray(layer, dtype=np.float32), knots, heights, odds)
    limits = np.array([parameters.usual_limits, parameters.onset_limits], dtype=np.float32)[:, :, None, None]
    return np.asarray(np.clip(special.expit(odds), limits[:, 0], limits[:, 1]), dtype=np.float32)
