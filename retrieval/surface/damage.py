"""Rapid damage grades of buildings: what an image pair shows of each footprint, worded as likelihood.

For each building the image before and the one after are compared inside its footprint, at the small displacement at
which they agree best (a roof leans with the view angle): correlation of the pattern, change of its roughness, and
change of brightness beyond that of the scene. What buildings of a scene have in common - another sun, another season,
another sensor - moves all of them alike; each figure is therefore compared with the scene's own: with the surroundings
of the building, which go through the same, and with the median of the buildings.

A radar series gives a second witness: the pixel-wise t-test of the means before and after (Ballinger 2024, Open access
battle damage detection via pixel-wise t-test), which needs ten dates before.

Grades are those of rapid mapping: 0 no visible damage, 1 possible damage, 2 likely damage, 3 destroyed. They say what
an image shows from above; a building may have failed inside and look whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from processors.quality import BadInputError

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

NONE_VISIBLE, POSSIBLE, LIKELY, DESTROYED, NOT_ASSESSED = 0, 1, 2, 3, 255


@dataclass(frozen=True, kw_only=True)
class DamageParameters:
    """Choices of the assessment.

    Parameters
    ----------
    search : int
        Largest displacement of a roof between the dates [pixel].
    least_pixels : int
        Pixels of a footprint without which it is not assessed [1].
    least_share : float
        Share of a footprint with data on both dates without which it is not assessed [1].
    margin : int
        Width of the surroundings [pixel].
    pattern_weight, roughness_weight, brightness_weight : float
        Log-odds per unit of the loss of correlation, of the rise of the logarithm of the roughness, and of the
        excess change of brightness in its scatter [1].
    offset : float
        Log-odds of an unremarkable building, negative [1].
    radar_weight : float
        Log-odds per unit of the radar t-value beyond `radar_threshold` [1].
    radar_threshold : float
        t-value from which radar speaks for damage [1].
    radar_dates : int
        Dates before without which radar says nothing [1].
    grades : tuple of float
        Probabilities from which damage is possible, likely, and the building destroyed [1].
    """

    search: int = 4
    least_pixels: int = 25
    least_share: float = 0.7
    margin: int = 8
    pattern_weight: float = 5.0
    roughness_weight: float = 1.5
    brightness_weight: float = 0.5
    offset: float = -4.0
    radar_weight: float = 0.8
    radar_threshold: float = 2.5
    radar_dates: int = 10
    grades: tuple[float, float, float] = (0.25, 0.5, 0.85)


class Damage(NamedTuple):
    """Assessment of every building.

    Attributes
    ----------
    grade : ByteArray
        0 no visible, 1 possible, 2 likely damage, 3 destroyed, 255 not assessed (building) [1].
    probability : FloatArray
        Probability of damage (building) [1], NaN where not assessed.
    correlation : FloatArray
        Correlation of the roof's pattern at the best displacement (building) [1].
    roughness : FloatArray
        Change of the logarithm of the roof's roughness against its surroundings (building) [1].
    brightness : FloatArray
        Change of the logarithm of its brightness against the other buildings, in their scatter (building) [1].
    radar : FloatArray
        Mean radar t-value (building) [1], NaN without.
    """

    grade: ByteArray
    probability: FloatArray
    correlation: FloatArray
    roughness: FloatArray
    brightness: FloatArray
    radar: FloatArray


class _Signs(NamedTuple):
    correlation: float
    roughness: float
    brightness: float
    ground: float


def assess(
    before: Float32Array,
    after: Float32Array,
    footprints: npt.NDArray[np.integer],
    *,
    count: int,
    radar_t: Float32Array | None = None,
    parameters: DamageParameters | None = None,
) -> Damage:
    """Grade buildings from an image pair and, where there is one, a radar test.

    Parameters
    ----------
    before, after : Float32Array
        Brightness of the two dates on one grid (y, x), NaN without data.
    footprints : numpy.ndarray
        Number of the building a pixel belongs to, from 1, 0 for none (y, x).
    count : int
        Number of buildings [1].
    radar_t : Float32Array, optional
        Result of `radar_change` on the same grid (y, x) [1].
    parameters : DamageParameters, optional
        Choices.

    Returns
    -------
    Damage
        One entry per building, in the order of their numbers.

    Raises
    ------
    BadInputError
        `no_data` where the two dates have no pixel in common.
    """
    chosen = parameters or DamageParameters()
    if not (before.shape == after.shape == footprints.shape):
        raise ValueError(f"shapes {before.shape}, {after.shape} and {footprints.shape}")
    known = np.asarray(np.isfinite(before) & np.isfinite(after))
    if not known.any():
        raise BadInputError("no_data", "the two dates have no pixel in common")
    slices = ndimage.find_objects(footprints, max_label=count)
    signs = [
        _signs(before, after, footprints, known, number, part, chosen) if part is not None else None
        for number, part in enumerate(slices, 1)
    ]
    radar = _radar_of(radar_t, footprints, count)
    return _graded(signs, radar, chosen)


def _signs(
    before: Float32Array,
    after: Float32Array,
    footprints: npt.NDArray[np.integer],
    known: BoolArray,
    number: int,
    part: tuple[slice, ...],
    parameters: DamageParameters,
) -> _Signs | None:
    """What the pair shows of one building, None where there is too little of it."""
    reach = parameters.search + parameters.margin
    rows, columns = (
        slice(max(cut.start - reach, 0), min(cut.stop + reach, size))
        for cut, size in zip(part, before.shape, strict=True)
    )
    old, new, own = before[rows, columns], after[rows, columns], footprints[rows, columns]
    seen = known[rows, columns]
    roof = own == number
    pixels, usable = int(roof.sum()), roof & seen
    if pixels < parameters.least_pixels or usable.sum() < parameters.least_share * pixels:
        return None
    around = ndimage.binary_dilation(roof, iterations=parameters.margin) & (own == 0) & seen
    correlation, moved = _best(old, new, usable, seen, parameters.search)
    roughness = _roughness(new, moved) - _roughness(old, usable)
    if around.sum() >= parameters.least_pixels:
        roughness -= _roughness(new, around) - _roughness(old, around)
    ground = _brightness(new, around) - _brightness(old, around) if around.any() else float("nan")
    return _Signs(correlation, roughness, _brightness(new, moved) - _brightness(old, usable), ground)


def _best(
    old: Float32Array, new: Float32Array, roof: BoolArray, seen: BoolArray, search: int
) -> tuple[float, BoolArray]:
    """Largest correlation of the roof's pattern over small displacements, and where the roof then is."""
    rows, columns = np.nonzero(roof)
    values = old[rows, columns].astype(np.float64)
    best, place = -1.0, roof
    for down in range(-search, search + 1):
        for right in range(-search, search + 1):
            there, beside = rows + down, columns + right
            inside = (there >= 0) & (beside >= 0) & (there < new.shape[0]) & (beside < new.shape[1])
            inside[inside] = seen[there[inside], beside[inside]]
            if inside.mean() < 0.9:
                continue
            found = _correlation(values[inside], new[there[inside], beside[inside]].astype(np.float64))
            if found > best:
                best, place = found, np.zeros_like(roof)
                place[there[inside], beside[inside]] = True
    return best, place


def _correlation(first: FloatArray, second: FloatArray) -> float:
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / norm) if norm > 0 else 0.0


def _roughness(image: Float32Array, part: BoolArray) -> float:
    """Logarithm of the scatter between neighbors, relative to the brightness."""
    steps = np.abs(np.diff(image, axis=1))[part[:, 1:] & part[:, :-1]]
    steps = np.concatenate([steps, np.abs(np.diff(image, axis=0))[part[1:] & part[:-1]]])
    steps = steps[np.isfinite(steps)]
    level = float(np.mean(image[part])) if part.any() else float("nan")
    if not steps.size or not level > 0:
        return float("nan")
    return float(np.log(np.mean(steps) / level + 1e-3))


def _brightness(image: Float32Array, part: BoolArray) -> float:
    level = float(np.median(image[part])) if part.any() else float("nan")
    return float(np.log(max(level, 1e-6)))


def _graded(signs: Sequence[_Signs | None], radar: FloatArray, parameters: DamageParameters) -> Damage:
    nothing = _Signs(*(float("nan"),) * 4)
    table = np.array([sign or nothing for sign in signs], dtype=np.float64).reshape(-1, 4)
    correlation, roughness = table[:, 0], np.nan_to_num(table[:, 1])
    brightness = _excess(table[:, 2] - np.where(np.isfinite(table[:, 3]), table[:, 3], 0.0))
    odds = parameters.offset + parameters.pattern_weight * (1.0 - np.clip(correlation, 0.0, 1.0))
    odds = odds + parameters.roughness_weight * np.clip(roughness, 0.0, 2.0)
    odds = odds + parameters.brightness_weight * np.clip(np.abs(brightness) - 1.0, 0.0, 4.0)
    witness = parameters.radar_weight * (radar - parameters.radar_threshold)
    odds = odds + np.where(np.isfinite(witness), np.clip(witness, -2.0, 4.0), 0.0)
    probability = np.where(np.isfinite(correlation), 1.0 / (1.0 + np.exp(-odds)), np.nan)
    grade = np.digitize(np.nan_to_num(probability), parameters.grades).astype(np.uint8)
    grade[~np.isfinite(probability)] = NOT_ASSESSED
    return Damage(grade, probability, correlation, table[:, 1], brightness, radar)


def _excess(change: FloatArray) -> FloatArray:
    """Change beyond that of the median building, in the scatter of the buildings."""
    known = change[np.isfinite(change)]
    if known.size < 3:
        return np.where(np.isfinite(change), 0.0, np.nan)
    middle = np.median(known)
    scatter = max(1.4826 * float(np.median(np.abs(known - middle))), 0.05)
    spread: FloatArray = (change - middle) / scatter
    return spread


def _radar_of(radar_t: Float32Array | None, footprints: npt.NDArray[np.integer], count: int) -> FloatArray:
    if radar_t is None:
        return np.full(count, np.nan)
    known = np.isfinite(radar_t) & (footprints > 0)
    labels = footprints[known].astype(np.int64)
    total = np.bincount(labels, weights=radar_t[known].astype(np.float64), minlength=count + 1)[1 : count + 1]
    pixels = np.bincount(labels, minlength=count + 1)[1 : count + 1]
    mean: FloatArray = np.divide(total, pixels, out=np.full(count, np.nan), where=pixels > 0)
    return mean


def radar_change(
    before: Float32Array, after: Float32Array, *, parameters: DamageParameters | None = None
) -> Float32Array:
    """Pixel-wise t-value of the difference of the means of two radar series.

    t = |m2 - m1| / sqrt(s1^2 / n1 + s2^2 / n2), with the scatter of the first series where the second has one date
    (Welch; Ballinger 2024).

    Parameters
    ----------
    before : Float32Array
        Backscatter of the dates before (time, y, x) [dB], NaN without data.
    after : Float32Array
        Backscatter of the dates after (time, y, x) [dB].
    parameters : DamageParameters, optional
        Least number of dates.

    Returns
    -------
    Float32Array
        t-value (y, x) [1], NaN where there are too few dates.
    """
    chosen = parameters or DamageParameters()
    first, second = np.isfinite(before).sum(axis=0), np.isfinite(after).sum(axis=0)
    enough = (first >= chosen.radar_dates) & (second >= 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, spread = _moments(before, first)
        later, scatter = _moments(after, second)
        scatter = np.where(second > 1, scatter, spread)
        t = np.abs(later - mean) / np.sqrt(spread / first + scatter / second)
    return np.where(enough, t, np.nan).astype(np.float32)


def _moments(series: Float32Array, count: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Mean and unbiased variance over time of what is finite."""
    values = np.where(np.isfinite(series), series, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / count
    deviation = np.where(np.isfinite(series), series - mean, 0.0)
    return mean, (deviation**2).sum(axis=0) / np.maximum(count - 1, 1)
