"""Displacement of one image against another, with the right to say that it cannot be known.

The image as a whole gives a first displacement (`tie_points.coarse`), a grid of windows gives tie points. Those that
survive a peak-ratio and a forward-backward check vote for one displacement or, where the image is distorted, one affine
model; the probability that so many agree by chance decides. The survivors are then measured again with the pixels that
do not agree (cloud, shadow, change) weighed down. Points left out of the fit, block by block, give the residual.

The displacement is stated in pixels of the common grid, at pixel coordinates that count from the outer corner of the
first pixel: content at p of the reference is at p + D (x, y, 1) of the target.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from affine import Affine
from scipy import stats

from processors.arrays import BoolArray, FloatArray
from processors.imagery import _coregistration_kernels, qa, tie_points
from processors.imagery.tie_points import Chip, Coarse, Matches, Matching, Reader

Method = Literal["auto", "gradient", "structure"]
Status = Literal["ok", "refused"]

NO_DISPLACEMENT = np.zeros((2, 3))
"""Matrix of an image that stays where it is [pixel]."""

_SMALLEST_OVERLAP = 0.02
_SMALLEST_COVERAGE = 0.5
_SMALLEST_AGREEMENT = 0.15
_SMALLEST_TOLERANCE = 0.3
_AFFINE_GAIN = 1.15
_LARGEST_DISTORTION = 0.03
_VOTE_ROUNDS = 4
_SETTLING_ROUNDS = 10
_SETTLED = 0.01
_TRIM = 3.0
_MEDIAN_RADIUS = 1.1774  # of a two-dimensional normal distribution of unit standard deviation
_MEDIAN_LOSS = 1.2533  # standard error of a median over that of a mean, normal distribution
_SMALLEST_SIGMA = 0.01
_FOLDS = 5
_NEEDED = {"translation": 1, "similarity": 4, "affine": 8}
_TERRAIN_POINTS = 8
_VISIBLE = 0.05
_SIGNIFICANT = 0.01


@dataclass(frozen=True)
class CoregistrationParameters:
    """Choices of the co-registration.

    Parameters
    ----------
    method : str
        `gradient` for images of like contrast, `structure` where contrast may be inverted (radar), `auto` tries both.
    maximum_shift : int
        Largest displacement searched along either axis [pixel].
    maximum_points : int
        Tie points at most [1].
    chip_size : int
        Largest part of the image looked at in one piece for the first displacement [pixel].
    chips : int
        Such parts along an axis at most [1].
    minimum_points : int
        Tie points below which nothing is known [1].
    similarity_points : int
        Tie points from which rotation and scale are fitted [1].
    affine_points : int
        Tie points from which an affine model is fitted [1].
    improvement : float
        Part by which a richer model must lower the hold-out residual [1].
    minimum_ratio : float
        Peak over its highest rival [1].
    maximum_asymmetry : float
        Distance between forward and backward displacement [pixel].
    agreement_radius : float
        Distance from the model within which points agree with it [pixel].
    minimum_score : float
        Height of the first displacement's peak over the spread of the correlation [1].
    maximum_chance : float
        Probability that the agreement is chance [1].
    maximum_ce90 : float
        Hold-out residual that 90 % of the points keep [pixel].
    maximum_sigma : float
        Standard error of the displacement [pixel].
    good_ce90 : float
        Hold-out residual beyond which a wider window is tried as well [pixel].
    hypotheses : int
        Affine models tried in the search for agreement [1].
    """

    method: Method = "auto"
    maximum_shift: int = 64
    maximum_points: int = 400
    chip_size: int = 512
    chips: int = 4
    minimum_points: int = 8
    similarity_points: int = 25
    affine_points: int = 50
    improvement: float = 0.05
    minimum_ratio: float = 1.1
    maximum_asymmetry: float = 0.5
    agreement_radius: float = 1.0
    minimum_score: float = 5.0
    maximum_chance: float = 1e-4
    maximum_ce90: float = 1.0
    maximum_sigma: float = 0.2
    good_ce90: float = 0.5
    hypotheses: int = 300


class TiePoints(NamedTuple):
    """Measured displacements."""

    x: FloatArray
    """Column, from the left edge of the image (point) [pixel]."""
    y: FloatArray
    """Row, from the upper edge (point) [pixel]."""
    dx: FloatArray
    """Displacement of the target's content to the right (point) [pixel]."""
    dy: FloatArray
    """Displacement of the target's content down (point) [pixel]."""
    quality: FloatArray
    """Correlation coefficient at the peak (point) [1]."""
    kept: BoolArray
    """Whether the model rests on the point (point)."""


class Terrain(NamedTuple):
    """How the displacement varies with elevation: the sign of an orthorectification with a wrong or no DEM."""

    slope_x: float
    """Change of the displacement to the right [pixel per 100 m]."""
    slope_y: float
    """Change of the displacement down [pixel per 100 m]."""
    correlation: float
    """Larger of the two partial correlations with elevation, by size [1]."""
    probability: float
    """Probability of such a relation by chance [1]."""
    significant: bool
    """Improbable by chance and above a twentieth of a pixel over the relief."""


class Coregistration(NamedTuple):
    """What is known of the displacement."""

    status: Status
    """`refused` where it cannot be known."""
    reason: str
    """Why it was refused; empty else."""
    method: str
    """How the images were compared: `gradient` or `structure`."""
    model: str
    """`translation`, `similarity` or `affine`; `none` where refused."""
    shift_x: float
    """Displacement of the target's content to the right, in the middle of the tie points; NaN where refused [pixel].

    Where the model is a translation this is the weighted median of the tie points.
    """
    shift_y: float
    """The same down [pixel]."""
    shift_sigma: float
    """Standard error of the displacement along an axis; NaN where refused [pixel]."""
    displacement: FloatArray
    """Matrix D of the model (2, 3); zero where refused [pixel]."""
    n_tie_points: int
    """Points the model rests on [1]."""
    rmse: float
    """Root mean square radial residual of held-out points, of those the model rests on; NaN where refused [pixel]."""
    ce90: float
    """Radial residual that 90 % of the held-out points keep, of those the model rests on; NaN where refused [pixel]."""
    score: float
    """Height of the first displacement's peak over the spread of the correlation [1]."""
    chance: float
    """Probability that the agreement of the points is chance [1]."""
    tie_points: TiePoints
    """All points, also the rejected ones."""
    terrain: Terrain | None
    """Relation to elevation, where a DEM was given."""


class _Consensus(NamedTuple):
    displacement: FloatArray
    agreeing: BoolArray
    chance: float
    independent: float
    """Independent points per point: templates overlap [1]."""


class _Settled(NamedTuple):
    measured: Matches
    kept: BoolArray
    change: float
    """How far the last round moved the displacement [pixel]."""


class _Fit(NamedTuple):
    model: str
    displacement: FloatArray
    residual: FloatArray
    """Radial residual of held-out points [pixel]."""


_NONE = np.zeros(0)
_NO_POINTS = TiePoints(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE > 0)
_NO_COARSE = Coarse(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)


def estimate(
    reference: Reader,
    target: Reader,
    *,
    shape: tuple[int, int],
    parameters: CoregistrationParameters,
    blur: float = 1.0,
    offset: tuple[float, float] = (0.0, 0.0),
    elevation: Reader | None = None,
) -> Coregistration:
    """Displacement of a target's content against a reference on the same grid.

    Reads windows one at a time: memory does not grow with the image.

    Parameters
    ----------
    reference, target : Reader
        One band each, on the target's grid.
    shape : tuple of int
        Rows and columns of the grid [pixel].
    parameters : CoregistrationParameters
        Choices.
    blur : float
        Pixel size of the coarser image over that of the grid, at least 1 [1].
    offset : tuple of float
        What the reader of the reference leaves of the offset between the grids, added to what is found [pixel].
    elevation : Reader, optional
        Heights on the same grid [m].

    Returns
    -------
    Coregistration
        Status, model, residual and the points it rests on.
    """
    return _moved(_best_attempt(reference, target, shape, parameters, blur, elevation), offset)


def _best_attempt(
    reference: Reader,
    target: Reader,
    shape: tuple[int, int],
    parameters: CoregistrationParameters,
    blur: float,
    elevation: Reader | None,
) -> Coregistration:
    """The first good result; of mediocre ones the one with the smallest residual; else the first refusal."""
    results: list[Coregistration] = []
    for matching in matchings(shape, blur=blur, method=parameters.method):
        result = _attempt(reference, target, shape, matching, parameters, elevation)
        if result.status == "ok" and result.ce90 <= parameters.good_ce90:
            return result
        if results and result.method != results[0].method and results[0].status == "ok":
            break
        results.append(result)
    accepted = [result for result in results if result.status == "ok"]
    if accepted:
        return min(accepted, key=lambda result: result.ce90)
    return results[0] if results else _refused("the image is too small", "none", _NO_COARSE, _NO_POINTS)


def _moved(result: Coregistration, offset: tuple[float, float]) -> Coregistration:
    if result.status == "refused":
        return result
    points = result.tie_points
    return result._replace(
        shift_x=result.shift_x + offset[0],
        shift_y=result.shift_y + offset[1],
        displacement=result.displacement + _translation(np.array(offset)),
        tie_points=points._replace(dx=points.dx + offset[0], dy=points.dy + offset[1]),
    )


def estimate_arrays(
    reference: npt.NDArray[Any], target: npt.NDArray[Any], *, parameters: CoregistrationParameters, blur: float = 1.0
) -> Coregistration:
    """Displacement between two images in memory, see `estimate`.

    Parameters
    ----------
    reference, target : array
        Gray values (y, x) of equal shape, NaN where missing.
    parameters : CoregistrationParameters
        Choices.
    blur : float
        Pixel size of the coarser image over that of the grid, at least 1 [1].

    Returns
    -------
    Coregistration
        Status, model, residual and the points it rests on.

    Raises
    ------
    ValueError
        Where the shapes differ or are not two-dimensional.
    """
    if reference.shape != target.shape or reference.ndim != 2:
        raise ValueError(f"two images of one shape are compared, not {reference.shape} and {target.shape}")
    shape = (int(target.shape[0]), int(target.shape[1]))
    readers = tie_points.array_reader(reference), tie_points.array_reader(target)
    return estimate(*readers, shape=shape, parameters=parameters, blur=blur)


def matchings(shape: tuple[int, int], *, blur: float, method: Method) -> Iterator[Matching]:
    """Ways of comparing, sized to the image, the most precise first.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns [pixel].
    blur : float
        Pixel size of the coarser image over that of the grid [1].
    method : str
        `auto`, `gradient` or `structure`.

    Yields
    ------
    Matching
        Windows of a seventh of the image, wider where that fails.
    """
    side, blur = min(shape), max(blur, 1.0)
    margin = round(8 * min(blur, 3.0))
    for kind, smoothing, factor, exclusion in (
        ("gradient", 0.6, 1.0, 3.0),
        ("gradient", 0.6, 2.0, 3.0),
        ("structure", 2.0, 2.0, 5.0),
    ):
        window = 8 * round(min(max(side / 7.0, 24.0), 64.0) * factor * min(blur, 4.0) / 8)
        window = min(window, 2 * (side // 4))
        if method in ("auto", kind) and window >= 16:
            yield Matching(kind, smoothing * blur, window, margin, exclusion * blur)  # type: ignore[arg-type]


def _attempt(
    reference: Reader,
    target: Reader,
    shape: tuple[int, int],
    matching: Matching,
    parameters: CoregistrationParameters,
    elevation: Reader | None,
) -> Coregistration:
    first = tie_points.coarse(
        reference,
        target,
        shape=shape,
        matching=matching,
        maximum_shift=parameters.maximum_shift,
        chip_size=parameters.chip_size,
        chips=parameters.chips,
    )
    reason = _coarse_refusal(first, parameters)
    if reason:
        return _refused(reason, matching.kind, first, _NO_POINTS)
    sources = tie_points.Source(reference, 2 * first.reference_scale), tie_points.Source(target, 2 * first.target_scale)
    spacing = max(matching.window // 4, math.ceil(math.sqrt(shape[0] * shape[1] / parameters.maximum_points)))
    origins = tie_points.grid_origins(shape, matching.window, spacing)
    expected = np.tile(np.array([first.dx, first.dy], dtype=np.float64), (len(origins), 1))
    matches = tie_points.match(*sources, origins=origins, expected=expected, matching=matching)
    independent = min(1.0, (spacing / (0.5 * matching.window)) ** 2)
    consensus = _consensus(matches, independent, matching.margin, parameters)
    reason = _consensus_refusal(consensus, first, parameters)
    if reason:
        points = _points(matches, consensus.agreeing)
        return _refused(reason, matching.kind, first, points, consensus.chance)
    near = replace(matching, margin=max(matching.margin // 2, 2))
    measure = partial(tie_points.match, *sources, origins=origins, matching=near, agreeing=True)
    settled = _settled(measure, matches, consensus.displacement, parameters)
    return _concluded(settled, consensus, matching, first, parameters, elevation)


def _settled(
    measure: Callable[..., Matches], matches: Matches, displacement: FloatArray, parameters: CoregistrationParameters
) -> _Settled:
    """Points measured with the target looked at where the points say it lies, until they say the same again.

    What is measured last are displacements near zero between the same windows, however the target was displaced: the
    choice of points and every bias are the same, and a shift of the target changes the result by just that shift.
    """
    model = "affine" if np.any(displacement[:, :2]) else "translation"
    expected, change = _applied(displacement, matches.x, matches.y), 0.0
    for _ in range(_SETTLING_ROUNDS):
        measured = measure(expected=expected)
        kept = _trimmed(measured, _usable(measured, parameters), displacement, parameters)
        if kept.sum() < parameters.minimum_points:
            break
        displacement, before = _fitted(model, measured, kept), expected
        expected = _applied(displacement, matches.x, matches.y)
        change = float(np.abs(expected - before).max())
        if change < _SETTLED:
            break
    return _Settled(measured, kept, change)


def _coarse_refusal(first: Coarse, parameters: CoregistrationParameters) -> str:
    if first.overlap < _SMALLEST_OVERLAP:
        return "the images hold hardly any data in common"
    if min(first.reference_scale, first.target_scale) <= 0:
        return "an image has no texture"
    if first.score < parameters.minimum_score:
        return "no displacement within the searched range stands out"
    return ""


def _consensus(matches: Matches, independent: float, margin: int, parameters: CoregistrationParameters) -> _Consensus:
    """Displacement, or affine model, that most points agree with."""
    usable = (
        matches.interior
        & (matches.coverage >= _SMALLEST_COVERAGE)
        & (matches.ratio >= parameters.minimum_ratio)
        & (matches.asymmetry <= parameters.maximum_asymmetry)
    )
    agreeing = np.zeros(usable.size, dtype=bool)
    if usable.sum() < 3:
        return _Consensus(NO_DISPLACEMENT, agreeing, 1.0, independent)
    position = np.stack([matches.x, matches.y], axis=1)[usable]
    found = np.stack([matches.dx, matches.dy], axis=1)[usable]
    displacement, inside = _voted(found, parameters.agreement_radius)
    if inside.size >= parameters.affine_points:
        distorted, affine = _voted_affine(position, found, parameters)
        if affine.sum() > _AFFINE_GAIN * inside.sum():
            displacement, inside = distorted, affine
    agreeing[usable] = inside
    chance = _chance(inside.size, int(inside.sum()), independent, margin, parameters.agreement_radius)
    return _Consensus(displacement, agreeing, chance, independent)


def _voted(found: FloatArray, radius: float) -> tuple[FloatArray, BoolArray]:
    """Displacement with most others near it; the number of points is bounded and with it the memory."""
    distance = np.hypot(*(found[:, None, axis] - found[None, :, axis] for axis in (0, 1)))
    center = found[(distance <= radius).sum(axis=1).argmax()]
    for _ in range(_VOTE_ROUNDS):
        inside = np.hypot(*(found - center).T) <= radius
        center = np.median(found[inside], axis=0) if inside.any() else center
    return _translation(center), np.hypot(*(found - center).T) <= radius


def _voted_affine(
    position: FloatArray, found: FloatArray, parameters: CoregistrationParameters
) -> tuple[FloatArray, BoolArray]:
    """Affine model with most points near it, among a bounded number of models through three points."""
    rng = np.random.default_rng(0)
    extent = np.ptp(position, axis=0).max()
    best: FloatArray = NO_DISPLACEMENT
    most: BoolArray = np.zeros(len(found), dtype=bool)
    for _ in range(parameters.hypotheses):
        chosen = rng.choice(len(found), 3, replace=False)
        design = np.column_stack([position[chosen], np.ones(3)])
        if abs(np.linalg.det(design)) < 0.05 * extent**2:
            continue
        matrix: FloatArray = np.asarray(np.linalg.solve(design, found[chosen]).T, dtype=np.float64)
        if np.abs(matrix[:, :2]).max() > _LARGEST_DISTORTION:
            continue
        inside = np.hypot(*(found - _applied(matrix, *position.T)).T) <= parameters.agreement_radius
        if inside.sum() > most.sum():
            best, most = matrix, inside
    return best, most


def _chance(candidates: int, agreeing: int, independent: float, margin: int, radius: float) -> float:
    """Probability that as many independent points, uniform over the searched area, fall together anywhere in it."""
    area = (2.0 * margin + 1.0) ** 2
    share = math.pi * radius**2 / area
    tail = stats.binom.sf(math.floor(agreeing * independent) - 1, math.ceil(candidates * independent), share)
    return min(1.0, float(tail) / share)


def _consensus_refusal(consensus: _Consensus, first: Coarse, parameters: CoregistrationParameters) -> str:
    if consensus.agreeing.sum() < parameters.minimum_points:
        return "fewer tie points agree than are needed"
    # a first displacement that stands out further needs less support: a factor of ten for every unit, a hundred at most
    support = 10.0 ** min(max(first.score - parameters.minimum_score, 0.0), 2.0)
    if consensus.chance > parameters.maximum_chance * support:
        return "the agreement of the tie points could be chance"
    return ""


def _usable(measured: Matches, parameters: CoregistrationParameters) -> BoolArray:
    return np.asarray(
        measured.interior
        & (measured.coverage >= _SMALLEST_AGREEMENT)
        & (np.minimum(measured.precision_x, measured.precision_y) > 0)
        & (measured.asymmetry <= parameters.maximum_asymmetry)
    )


def _concluded(
    settled: _Settled,
    consensus: _Consensus,
    matching: Matching,
    first: Coarse,
    parameters: CoregistrationParameters,
    elevation: Reader | None,
) -> Coregistration:
    measured, kept = settled.measured, settled.kept
    if kept.sum() < parameters.minimum_points:
        points = _points(measured, kept)
        return _refused("fewer tie points agree than are needed", matching.kind, first, points, consensus.chance)
    fit = _best_fit(measured, kept, 2.0 * matching.window, parameters)
    points = _points(measured, kept)
    ce90, rmse = float(np.quantile(fit.residual, 0.9)), float(np.sqrt((fit.residual**2).mean()))
    spread = _MEDIAN_LOSS * rmse / math.sqrt(2.0 * max(kept.sum() * consensus.independent, 1.0))
    sigma = math.hypot(spread, _SMALLEST_SIGMA, max(settled.change - _SETTLED, 0.0))
    shift = _applied(fit.displacement, points.x[kept].mean(keepdims=True), points.y[kept].mean(keepdims=True))
    if ce90 > parameters.maximum_ce90 or sigma > parameters.maximum_sigma:
        return _refused("the tie points scatter too much", matching.kind, first, points, consensus.chance)
    return Coregistration(
        status="ok",
        reason="",
        method=matching.kind,
        model=fit.model,
        shift_x=float(shift[0, 0]),
        shift_y=float(shift[0, 1]),
        shift_sigma=sigma,
        displacement=fit.displacement,
        n_tie_points=int(kept.sum()),
        rmse=rmse,
        ce90=ce90,
        score=first.score,
        chance=consensus.chance,
        tie_points=points,
        terrain=None
        if elevation is None
        else terrain_relation(points._replace(kept=_usable(measured, parameters)), elevation, matching.window),
    )


def _trimmed(
    measured: Matches, usable: BoolArray, displacement: FloatArray, parameters: CoregistrationParameters
) -> BoolArray:
    """Points within three robust standard deviations of a model refitted to them."""
    kept = usable
    richer = bool(np.any(displacement[:, :2]))
    for _ in range(_VOTE_ROUNDS):
        residual = _residual(measured, displacement)
        if not kept.any():
            break
        spread = float(np.median(residual[kept])) / _MEDIAN_RADIUS
        limit = min(max(_TRIM * spread, _SMALLEST_TOLERANCE), parameters.agreement_radius)
        kept = usable & (residual <= limit)
        if kept.sum() >= parameters.minimum_points:
            displacement = _fitted("affine" if richer else "translation", measured, kept)
    return kept


def _best_fit(measured: Matches, kept: BoolArray, block: float, parameters: CoregistrationParameters) -> _Fit:
    """The simplest model, unless there are points enough for a richer one and it predicts held-out points better."""
    models = ["translation"]
    models += ["similarity"] if kept.sum() >= parameters.similarity_points else []
    models += ["affine"] if kept.sum() >= parameters.affine_points else []
    best: _Fit | None = None
    for model in models:
        residual = _held_out(model, measured, kept, block)
        size = float(np.sqrt((residual**2).mean()))
        if best is None or size < (1.0 - parameters.improvement) * float(np.sqrt((best.residual**2).mean())):
            best = _Fit(model, _fitted(model, measured, kept), residual)
    assert best is not None  # noqa: S101  a translation is always tried
    return best


def _held_out(model: str, measured: Matches, kept: BoolArray, block: float) -> FloatArray:
    """Residual of every kept point from the model fitted without the points of its fold of blocks."""
    fold = (np.floor(measured.x / block) + 2 * np.floor(measured.y / block)).astype(np.int64) % _FOLDS
    residual = np.full(kept.size, np.nan)
    for number in np.unique(fold[kept]):
        held = kept & (fold == number)
        rest = kept & ~held
        trained = rest if rest.sum() >= _NEEDED[model] else kept
        residual[held] = _residual(measured, _fitted(model, measured, trained))[held]
    return residual[kept]


def _fitted(model: str, measured: Matches, chosen: BoolArray) -> FloatArray:
    """Model (2, 3) of the chosen points, each weighed by the precision its texture allows along x and y."""
    x, y, dx, dy = (column[chosen] for column in (measured.x, measured.y, measured.dx, measured.dy))
    weight_x, weight_y = measured.precision_x[chosen], measured.precision_y[chosen]
    if model == "translation":
        return _translation(np.array([_weighted_median(dx, weight_x), _weighted_median(dy, weight_y)]))
    zero, one = np.zeros_like(x), np.ones_like(x)
    if model == "similarity":
        rows_x, rows_y = np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)
    else:
        rows_x = np.stack([x, y, one, zero, zero, zero], axis=1)
        rows_y = np.stack([zero, zero, zero, x, y, one], axis=1)
    design, root = np.concatenate([rows_x, rows_y]), np.sqrt(np.concatenate([weight_x, weight_y]))
    solution = np.linalg.lstsq(design * root[:, None], np.concatenate([dx, dy]) * root, rcond=None)[0]
    if model == "affine":
        return np.asarray(solution.reshape(2, 3), dtype=np.float64)
    scale, turn, right, down = solution
    return np.array([[scale, -turn, right], [turn, scale, down]])


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    middle = 0.5 * cumulated[-1]
    upper = int(np.searchsorted(cumulated, middle))
    return float(values[order][min(upper, values.size - 1)])


def _translation(shift: FloatArray) -> FloatArray:
    return np.column_stack([np.zeros((2, 2)), shift])


def _applied(displacement: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Displacement (point, 2) at positions."""
    return np.asarray(np.stack([x, y, np.ones_like(x)], axis=1) @ displacement.T)


def _residual(measured: Matches, displacement: FloatArray) -> FloatArray:
    model = _applied(displacement, measured.x, measured.y)
    return np.asarray(np.hypot(measured.dx - model[:, 0], measured.dy - model[:, 1]))


def _points(matches: Matches, kept: BoolArray) -> TiePoints:
    return TiePoints(matches.x, matches.y, matches.dx, matches.dy, matches.correlation, kept)


def _refused(reason: str, method: str, first: Coarse, points: TiePoints, chance: float = 1.0) -> Coregistration:
    return Coregistration(
        status="refused",
        reason=reason,
        method=method,
        model="none",
        shift_x=math.nan,
        shift_y=math.nan,
        shift_sigma=math.nan,
        displacement=NO_DISPLACEMENT.copy(),
        n_tie_points=int(points.kept.sum()),
        rmse=math.nan,
        ce90=math.nan,
        score=first.score,
        chance=chance,
        tie_points=points._replace(kept=np.zeros_like(points.kept)),
        terrain=None,
    )


def terrain_relation(points: TiePoints, elevation: Reader, window: int) -> Terrain | None:
    """Relation of the displacements to elevation, beside a linear trend over the image.

    Parameters
    ----------
    points : TiePoints
        Measured displacements; the kept ones are used.
    elevation : Reader
        Heights on the same grid [m].
    window : int
        Side of the area around a point whose mean height counts [pixel].

    Returns
    -------
    Terrain or None
        None where fewer than eight points have a height or the heights do not vary.
    """
    heights = np.array([_height(elevation, x, y, window) for x, y in zip(points.x, points.y, strict=True)])
    chosen = points.kept & np.isfinite(heights)
    if chosen.sum() < _TERRAIN_POINTS or np.ptp(heights[chosen]) < 1.0:
        return None
    chosen = _along_terrain(points, heights, chosen)
    x, y, height = points.x[chosen], points.y[chosen], heights[chosen]
    trend = np.stack([np.ones_like(x), (x - x.mean()) / window, (y - y.mean()) / window], axis=1)
    height, right, down = (
        column - trend @ np.linalg.lstsq(trend, column)[0] for column in (height, points.dx[chosen], points.dy[chosen])
    )
    power = float(height @ height)
    if power < 1e-6 * height.size:
        return None
    slopes = [float(height @ column) / power for column in (right, down)]
    correlations = [_correlation(height, column) for column in (right, down)]
    strongest = max(correlations, key=abs)
    probability = _probability(strongest, _independent_points(x, y, window))
    relief = float(np.ptp(np.quantile(heights[chosen], [0.05, 0.95])))
    visible = math.hypot(*slopes) * relief > _VISIBLE
    return Terrain(
        100.0 * slopes[0], 100.0 * slopes[1], strongest, probability, bool(visible and probability < _SIGNIFICANT)
    )


def _along_terrain(points: TiePoints, heights: FloatArray, chosen: BoolArray) -> BoolArray:
    """Points near the plane of position and height: those far from the model alone may be the high ones."""
    design = np.stack([np.ones_like(points.x), points.x, points.y, heights], axis=1)
    found = np.stack([points.dx, points.dy], axis=1)
    kept = chosen
    for _ in range(_VOTE_ROUNDS):
        solution = np.linalg.lstsq(design[kept], found[kept], rcond=None)[0]
        residual = np.hypot(*(found - np.nan_to_num(design) @ solution).T)
        limit = max(_TRIM / _MEDIAN_RADIUS * float(np.median(residual[kept])), _SMALLEST_TOLERANCE)
        inside = chosen & (residual <= limit)
        kept = inside if inside.sum() >= _TERRAIN_POINTS else kept
    return kept


def _height(elevation: Reader, x: float, y: float, window: int) -> float:
    """Mean height under the middle of a template, where the Hann window has its weight."""
    half = max(window // 4, 1)
    part = elevation(Chip(round(y) - half, round(x) - half, 2 * half, 2 * half))
    known = part[np.isfinite(part)]
    return float(known.mean()) if known.size >= 0.5 * part.size else math.nan


def _correlation(first: FloatArray, second: FloatArray) -> float:
    power = float(first @ first) * float(second @ second)
    return float(first @ second) / math.sqrt(power) if power > 0 else 0.0


def _independent_points(x: FloatArray, y: FloatArray, window: int) -> int:
    """Templates overlap: points count once per half window."""
    cells = np.stack([x // (window / 2), y // (window / 2)], axis=1)
    return int(np.unique(cells, axis=0).shape[0])


def _probability(correlation: float, points: int) -> float:
    """Two-sided Student test of a partial correlation beside a plane, doubled for the choice of two axes."""
    freedom = points - 4
    if freedom < 1:
        return 1.0
    statistic = abs(correlation) * math.sqrt(freedom / max(1.0 - correlation**2, 1e-12))
    return min(1.0, 4.0 * float(stats.t.sf(statistic, freedom)))


def corrected_transform(transform: Affine, displacement: FloatArray) -> Affine:
    """Where the target's pixels truly lie: given to a reprojection, correction and reprojection are one resampling.

    Parameters
    ----------
    transform : affine.Affine
        Pixel to map of the target as delivered.
    displacement : FloatArray
        Matrix D (2, 3) [pixel].

    Returns
    -------
    affine.Affine
        The transform after the inverse of the identity plus D; a moved origin where D is a translation.
    """
    (a, b, c), (d, e, f) = displacement.tolist()
    moved: Affine = transform @ ~Affine(1.0 + a, b, c, d, 1.0 + e, f)
    return moved


def halo(displacement: FloatArray, shape: tuple[int, int]) -> int:
    """Neighbors a block needs on every side to be corrected.

    Parameters
    ----------
    displacement : FloatArray
        Matrix D (2, 3) [pixel].
    shape : tuple of int
        Rows and columns of the image [pixel].

    Returns
    -------
    int
        Largest displacement in the image and the reach of the interpolation [pixel].
    """
    corners = np.array([[0.0, 0.0, shape[1], shape[1]], [0.0, shape[0], 0.0, shape[0]]])
    return 3 + math.ceil(float(np.abs(_applied(displacement, *corners)).max()))


def correct(
    values: npt.NDArray[Any],
    displacement: FloatArray,
    *,
    source: tuple[int, int] = (0, 0),
    wanted: Chip | None = None,
) -> npt.NDArray[np.float32]:
    """Move the target's content to where the reference has it, by cubic convolution (Keys 1981, a = -1/2).

    Missing values neither spread nor bleed: beside them the interpolation is bilinear over what is there, and a pixel
    whose nearest sample is missing stays missing. The result does not depend on how the image is cut into blocks.

    Parameters
    ----------
    values : array
        Part of the target (band, y, x), NaN where missing [any unit].
    displacement : FloatArray
        Matrix D (2, 3) [pixel].
    source : tuple of int
        Row and column of the part's first pixel in the image [pixel].
    wanted : Chip, optional
        Part of the corrected image; default that of the values.

    Returns
    -------
    array
        Corrected part (band, y, x), NaN where missing.
    """
    where = wanted or Chip(source[0], source[1], values.shape[1], values.shape[2])
    out = np.empty((values.shape[0], where.rows, where.columns), dtype=np.float32)
    matrix = np.ascontiguousarray(displacement, dtype=np.float64)
    for layer, corrected in zip(np.ascontiguousarray(values, dtype=np.float32), out, strict=True):
        _coregistration_kernels.resample(layer, source[0], source[1], matrix, corrected, where.row, where.column)
    return out


def radiometric_sigma(values: npt.NDArray[Any], rmse: float) -> npt.NDArray[np.float32]:
    """Uncertainty of a pixel's value from the displacement that is left: gradient times displacement.

    Parameters
    ----------
    values : array
        Image (..., y, x), NaN where missing [any unit].
    rmse : float
        Root mean square displacement along the gradient [pixel].

    Returns
    -------
    array
        One-sigma uncertainty (..., y, x), NaN where the pixel is missing [unit of the values].
    """
    image = np.asarray(values, dtype=np.float32)
    steepness = np.hypot(_derivative(image, -2), _derivative(image, -1)) * np.float32(rmse)
    return np.where(np.isfinite(image), steepness, np.float32(np.nan)).astype(np.float32)


def _derivative(image: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Central difference, one-sided beside missing pixels and edges, 0 where a pixel stands alone."""
    moved = np.moveaxis(image, axis, -1)
    step = np.full((*moved.shape[:-1], moved.shape[-1] + 1), np.nan, dtype=np.float32)
    step[..., 1:-1] = np.diff(moved, axis=-1)
    pair = np.stack([step[..., :-1], step[..., 1:]])
    known = np.isfinite(pair)
    mean = np.where(known, pair, np.float32(0.0)).sum(axis=0) / np.maximum(known.sum(axis=0), 1).astype(np.float32)
    return np.moveaxis(mean, -1, axis)


def quality_bits(result: Coregistration, shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Quality bits of an image by the outcome of its co-registration.

    Parameters
    ----------
    result : Coregistration
        The outcome.
    shape : tuple of int
        Rows and columns [pixel].

    Returns
    -------
    array
        Bit 8 everywhere where it was refused, 0 else (y, x).
    """
    bit = qa.QaBit.COREGISTRATION_FAILED if result.status == "refused" else 0
    return np.full(shape, int(bit), dtype=np.uint16)
