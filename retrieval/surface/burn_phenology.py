"""What ground that did not burn does between two dates, by kind of vegetation, and how likely a change is a fire's.

A fall of the normalized burn ratio is no fire by itself: crops ripen and are harvested. Four things tell them apart.

* The same kind of plants elsewhere: ground is divided by its spectrum *before* the fire into kinds that differ most in
  what they did where nothing burnt (a regression tree, Breiman et al. 1984). What is common in a kind is its season.
* Extent: a season is everywhere, a fire in places. The share of a change is averaged over cells of the scene without
  those where it is most frequent, so that a fire cannot pass for the season of its kind.
* Albedo: char darkens near and short-wave infrared together, dry or bare ground loses near infrared and gains the rest.
* Surroundings: of doubtful pixels, those among surely burnt ones burnt (two phases, as in Bastarrika et al. 2011).

The model is fitted once to a scene; applied to a block with a halo it gives what the whole scene gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from processors.arrays import BoolArray, FloatArray

Float32Array = npt.NDArray[np.float32]
Layers = Mapping[str, Float32Array]


@dataclass(frozen=True, kw_only=True)
class PhenologyParameters:
    """How the season is learned and a fire is told from it.

    Parameters
    ----------
    half : int
        Half width of the means that tell the kind of vegetation [pixel].
    depth : int
        Divisions from the scene down to a kind [1].
    least_pixels : int
        Pixels of unburnt ground a kind is learned from [1].
    sample : int
        Pixels the kinds are divided on [1].
    least_gain : float
        Share of the scene's variance that a division has to explain [1].
    response : tuple of float
        dNBR between which kinds are told apart [1].
    span : tuple of float
        dNBR over which frequencies are kept: from, to, step [1].
    cell : int
        Edge of the cells over which a season has to be found [pixel].
    trimmed : tuple of float
        Share of the ground of a kind, where a change is most frequent, that does not count: of changes found in most
        cells, of changes that gather in some [1].
    least_cells : int
        Cells needed for that [1].
    least_across : int
        Cells across a scene, for which they are made smaller [1].
    locality : tuple of float
        Changes gather where this quantile of the cells has less than this part of the mean [1].
    unknown : float
        Share of changes of unburnt ground that were never seen before [1].
    onset : tuple of float
        dNBR from which a fire shows, and over which it becomes sure to [1].
    core_change : float
        dNBR of ground that surely burnt if it darkened too [1].
    core_albedo : tuple of float
        Log change of albedo it has at most, with and without a band at 1.6 um [1].
    core_half : int
        Half width of the square most of which has to be such ground [pixel].
    core_reach : int
        Width around it that is not taken for unburnt [pixel].
    fire_albedo, season_albedo : tuple of float
        Log change of albedo per dNBR, its standard deviation, and the growth of that per dNBR [1].
    albedo_limit : float
        Most that albedo may add to the log of the odds [1].
    share : tuple of float
        Limits of the burnt share of a scene [1].
    surroundings : float
        Standard deviation of the weight of the surroundings [pixel].
    reach : float
        Where that weight ends, in standard deviations [1].
    passes : int
        How often the surroundings are asked [1].
    stubbornness : float
        Weight of the share of the scene against the surroundings [1].
    rounds : int
        How often the season is learned again without what was found to be burnt [1].
    seen_odds : float
        Log of the odds where a fire was seen [1].
    """

    half: int = 2
    depth: int = 5
    least_pixels: int = 300
    sample: int = 20_000
    least_gain: float = 2e-3
    response: tuple[float, float] = (-0.1, 0.5)
    span: tuple[float, float, float] = (-0.5, 1.3, 0.03)
    cell: int = 48
    trimmed: tuple[float, float] = (0.15, 0.5)
    least_cells: int = 7
    least_across: int = 6
    locality: tuple[float, float] = (0.3, 0.25)
    unknown: float = 0.03
    onset: tuple[float, float] = (0.03, 0.1)
    core_change: float = 0.4
    core_albedo: tuple[float, float] = (-0.12, -0.3)
    core_half: int = 2
    core_reach: int = 12
    fire_albedo: tuple[float, float, float] = (-0.3, 0.05, 0.1)
    season_albedo: tuple[float, float, float] = (-0.05, 0.05, 0.05)
    albedo_limit: float = 3.0
    share: tuple[float, float] = (0.005, 0.3)
    surroundings: float = 3.0
    reach: float = 3.0
    passes: int = 3
    stubbornness: float = 0.05
    rounds: int = 3
    seen_odds: float = 6.0


class Tree(NamedTuple):
    """Division of ground into kinds; rows are places where it divides, then the kinds (node)."""

    feature: npt.NDArray[np.int64]
    """Feature that divides, -1 for a kind."""
    limit: FloatArray
    """Below it to the left [1]."""
    left: npt.NDArray[np.int64]
    """Node to the left, or the number of the kind."""
    right: npt.NDArray[np.int64]
    """Node to the right."""


class Phenology(NamedTuple):
    """What unburnt ground of a scene did."""

    bands: tuple[str, ...]
    """Bands whose earlier date tells the kind."""
    tree: Tree
    """Kinds of ground."""
    density: FloatArray
    """Frequency of a change of unburnt ground (kind, step of dNBR) [1]."""
    drift: FloatArray
    """Middle change of unburnt ground (kind) [1]."""
    level: float
    """Log change of albedo of ground that did not change otherwise [1]."""
    scatter: float
    """Its standard deviation, of sun and slope [1]."""
    share: float
    """Burnt share of the scene at first sight [1]."""
    pixels: int
    """Pixels taken for unburnt [1]."""


class Evidence(NamedTuple):
    """What speaks for fire (y, x)."""

    burnt: FloatArray
    """Probability that fire changed the pixel [1], 0 without data."""
    surroundings: FloatArray
    """The same of what is around it [1]."""
    drift: FloatArray
    """Change of unburnt ground of its kind, dNBR [1]."""


def halo(parameters: PhenologyParameters) -> int:
    """Pixels around a block that the evidence depends on.

    Parameters
    ----------
    parameters : PhenologyParameters
        Choices.

    Returns
    -------
    int
        Halo [pixel].
    """
    return parameters.passes * _radius(parameters) + max(parameters.half + 1, 2)


def fit(
    before: Layers, after: Layers, change: FloatArray, known: BoolArray, *, parameters: PhenologyParameters
) -> Phenology | None:
    """Learn what unburnt ground did.

    Parameters
    ----------
    before, after : Mapping
        Reflectance (y, x) by name of band: nir, swir2, and others [1].
    change : FloatArray
        dNBR less the change of season of the whole scene (y, x) [1].
    known : BoolArray
        Usable pixels (y, x).
    parameters : PhenologyParameters
        Choices.

    Returns
    -------
    Phenology or None
        None where too little unburnt ground is seen.
    """
    albedo = _albedo(before, after, known)
    calm = known & (np.abs(change) < parameters.onset[1] / 2.0)
    if int(calm.sum()) < parameters.least_pixels:
        return None
    level = float(np.median(albedo[calm]))
    scatter = 1.4826 * float(np.median(np.abs(albedo[calm] - level)))
    core = _core(change, albedo - level, known, "swir1" in before, parameters)
    near = ndimage.binary_dilation(core, iterations=parameters.core_reach) if core.any() else core
    share = float(np.clip(2.0 * core.sum() / known.sum(), *parameters.share))
    features, bands = _features(before, known, parameters.half), tuple(sorted(before))
    train, model = known & ~near, None
    # A small scene has small cells, or there would be too few to tell a season from a fire.
    size = min(parameters.cell, max(int(np.sqrt(known.sum())) // parameters.least_across, 8))
    for number in range(parameters.rounds):
        if int(train.sum()) < parameters.least_pixels:
            break
        tree, kinds = _grown(features, change, train, parameters)
        kind = _kind(tree, features, known)
        density = _density(kind, kinds, change, train, size, number == 0, parameters)
        drift = _middle(density, parameters)
        model = Phenology(bands, tree, density, drift, level, scatter, share, int(train.sum()))
        found = _evidence(model, features, change, albedo, known, None, parameters)
        train = known & ~near & (found.surroundings < 0.5)
    return model


def evidence(
    model: Phenology,
    before: Layers,
    after: Layers,
    change: FloatArray,
    known: BoolArray,
    *,
    seen: BoolArray | None = None,
    parameters: PhenologyParameters,
) -> Evidence:
    """How likely the change of every pixel is a fire's.

    Parameters
    ----------
    model : Phenology
        What unburnt ground did.
    before, after : Mapping
        Reflectance (y, x) by name of band, those of the fit [1].
    change : FloatArray
        dNBR less the change of season of the whole scene (y, x) [1].
    known : BoolArray
        Usable pixels (y, x).
    seen : BoolArray, optional
        Where fires were seen (y, x).
    parameters : PhenologyParameters
        Choices.

    Returns
    -------
    Evidence
        Probability and the season of the kind.

    Raises
    ------
    ValueError
        Other bands than those of the fit.
    """
    if tuple(sorted(before)) != model.bands:
        raise ValueError(f"the season was learned with the bands {model.bands}, not {tuple(sorted(before))}")
    features = _features(before, known, parameters.half)
    return _evidence(model, features, change, _albedo(before, after, known), known, seen, parameters)


def _radius(parameters: PhenologyParameters) -> int:
    return int(parameters.reach * parameters.surroundings + 0.5)


def _evidence(
    model: Phenology,
    features: Float32Array,
    change: FloatArray,
    albedo: FloatArray,
    known: BoolArray,
    seen: BoolArray | None,
    parameters: PhenologyParameters,
) -> Evidence:
    kind = _kind(model.tree, features, known)
    calm = np.where(known, change, 0.0)
    start, width = parameters.onset
    fire = np.clip((calm - start) / width, parameters.unknown, 1.0)
    odds = np.log(fire / model.density[kind, _step(calm, parameters)])
    odds += np.where(calm > start, _albedo_odds(model, calm, albedo, parameters), 0.0)
    if seen is not None and seen.any():
        odds[ndimage.binary_dilation(seen, iterations=2)] += parameters.seen_odds
    around = np.full(change.shape, parameters.share[1])
    for _ in range(parameters.passes):
        around = _surroundings(special.expit(odds + special.logit(around)), known, model.share, parameters)
    burnt = np.where(known, special.expit(odds + special.logit(around)), 0.0)
    return Evidence(burnt, around, model.drift[kind])


def _surroundings(burnt: FloatArray, known: BoolArray, share: float, parameters: PhenologyParameters) -> FloatArray:
    """Burnt share around every pixel: those sure of themselves count."""
    weight = np.where(known, np.abs(2.0 * burnt - 1.0), 0.0)
    sums = [
        ndimage.gaussian_filter(layer, parameters.surroundings, radius=_radius(parameters), mode="constant")
        for layer in (weight * burnt, weight)
    ]
    around: FloatArray = (sums[0] + parameters.stubbornness * share) / (sums[1] + parameters.stubbornness)
    return np.clip(around, 0.002, 0.998)


def _albedo_odds(
    model: Phenology, change: FloatArray, albedo: FloatArray, parameters: PhenologyParameters
) -> FloatArray:
    """Log of the odds of fire against season by albedo: two normal distributions."""
    if "swir1" not in model.bands:
        return np.zeros(change.shape)
    logs = []
    for slope, constant, growth in (parameters.fire_albedo, parameters.season_albedo):
        sigma = np.hypot(constant + growth * np.clip(change, 0.0, 1.0), model.scatter)
        logs.append(-0.5 * ((albedo - model.level - slope * change) / sigma) ** 2 - np.log(sigma))
    limited: FloatArray = np.clip(logs[0] - logs[1], -parameters.albedo_limit, parameters.albedo_limit)
    return limited


def _core(
    change: FloatArray, albedo: FloatArray, known: BoolArray, witnessed: bool, parameters: PhenologyParameters
) -> BoolArray:
    """Ground that surely burnt: changed, dark, and not alone."""
    limit = parameters.core_albedo[0 if witnessed else 1]
    with np.errstate(invalid="ignore"):
        dark = known & (change > parameters.core_change) & (albedo < limit)
    side = 2 * parameters.core_half + 1
    core: BoolArray = dark & (_square(dark.astype(np.float64), side) > 0.5 * side**2)
    return core


def _square(layer: FloatArray, side: int) -> FloatArray:
    """Sum over a square, pixel by pixel: a running sum would depend on where a block begins."""
    ones = np.ones(side)
    rows = ndimage.correlate1d(layer, ones, axis=0, mode="constant")
    total: FloatArray = ndimage.correlate1d(rows, ones, axis=1, mode="constant")
    return total


def _mean(layer: Float32Array, known: BoolArray, half: int) -> FloatArray:
    """Mean of the usable pixels of a square, 1 where there are none."""
    count = _square(known.astype(np.float64), 2 * half + 1)
    total = _square(np.where(known, layer, 0.0).astype(np.float64), 2 * half + 1)
    return np.maximum(np.where(count > 0.0, total / np.maximum(count, 1.0), 1.0), 1e-3)


def _albedo(before: Layers, after: Layers, known: BoolArray) -> FloatArray:
    """Mean log change of near infrared and, where given, 1.6 um."""
    ratios = [
        np.log(_mean(after[name], known, 1) / _mean(before[name], known, 1))
        for name in ("nir", "swir1")
        if name in before
    ]
    # Without the second band the first stands for itself: char or shade, no more.
    return np.asarray(sum(ratios) / 2.0)


def _features(before: Layers, known: BoolArray, half: int) -> Float32Array:
    """Brightness, every ratio of two bands, and roughness of the earlier date (feature, y, x)."""
    logs = [np.log(_mean(before[name], known, half)).astype(np.float32) for name in sorted(before)]
    found = [np.log(_mean(before["nir"], known, half)).astype(np.float32)]
    found += [one - other for number, one in enumerate(logs) for other in logs[:number]]
    fine = np.log(np.maximum(np.where(known, before["nir"], 1.0), 1e-3)).astype(np.float32)
    count = np.maximum(_square(known.astype(np.float64), 2 * half + 3), 1.0)
    first, second = (_square(np.where(known, fine**power, 0.0).astype(np.float64), 2 * half + 3) for power in (1, 2))
    found.append(np.sqrt(np.maximum(second / count - (first / count) ** 2, 0.0)).astype(np.float32))
    return np.stack(found)


def _grown(
    features: Float32Array, change: FloatArray, train: BoolArray, parameters: PhenologyParameters
) -> tuple[Tree, int]:
    """Divide a sample of unburnt ground; the tree and the number of kinds."""
    places = np.flatnonzero(train)
    thin = places[:: max(1, places.size // parameters.sample)]
    features = features.reshape(features.shape[0], -1)[:, thin]
    target = np.clip(change.ravel()[thin], *parameters.response)
    least = max(20, int(parameters.least_pixels * target.size / places.size))
    need = parameters.least_gain * float(np.var(target)) * target.size
    rows: list[tuple[int, float, int, int]] = []
    kinds = 0
    waiting = [(np.arange(target.size), parameters.depth, -1, 0)]
    while waiting:
        inside, depth, parent, side = waiting.pop()
        number = len(rows)
        if parent >= 0:
            feature, limit, left, right = rows[parent]
            rows[parent] = (feature, limit, number, right) if side == 0 else (feature, limit, left, number)
        feature, limit, gain = _division(features[:, inside], target[inside], least) if depth else (-1, 0.0, 0.0)
        if gain <= need:
            rows.append((-1, 0.0, kinds, -1))
            kinds += 1
            continue
        rows.append((feature, limit, -1, -1))
        lower = features[feature, inside] < limit
        waiting += [(inside[~lower], depth - 1, number, 1), (inside[lower], depth - 1, number, 0)]
    columns = list(zip(*rows, strict=True))
    return Tree(*(np.asarray(column) for column in columns)), kinds


def _division(features: Float32Array, target: FloatArray, least: int) -> tuple[int, float, float]:
    """Feature and limit that explain most of the sum of squares."""
    best, total, size = (-1, 0.0, 0.0), float(target.sum()), target.size
    if size < 2 * least:
        return best
    for number, values in enumerate(features):
        limits = np.unique(np.quantile(values, np.arange(0.05, 1.0, 0.05)))
        place = np.searchsorted(limits, values, side="right")
        below = np.cumsum(np.bincount(place, minlength=limits.size + 1))[:-1].astype(np.float64)
        part = np.cumsum(np.bincount(place, target, minlength=limits.size + 1))[:-1]
        fair = (below >= least) & (size - below >= least)
        gain = part**2 / np.maximum(below, 1) + (total - part) ** 2 / np.maximum(size - below, 1) - total**2 / size
        gain = np.where(fair, gain, 0.0)
        if gain.max() > best[2]:
            best = (number, float(limits[np.argmax(gain)]), float(gain.max()))
    return best


def _kind(tree: Tree, features: Float32Array, known: BoolArray) -> npt.NDArray[np.int64]:
    """Kind of every pixel; 0 where nothing is known."""
    kind = np.zeros(known.size, dtype=np.int64)
    flat = features.reshape(features.shape[0], -1)
    waiting = [(0, np.flatnonzero(known))]
    while waiting:
        node, inside = waiting.pop()
        if tree.feature[node] < 0:
            kind[inside] = tree.left[node]
            continue
        lower = flat[tree.feature[node], inside] < tree.limit[node]
        waiting += [(int(tree.left[node]), inside[lower]), (int(tree.right[node]), inside[~lower])]
    return kind.reshape(known.shape)


def _step(change: FloatArray, parameters: PhenologyParameters) -> npt.NDArray[np.int64]:
    low, _, step = parameters.span
    return np.clip(np.floor((change - low) / step), 0, _steps(parameters) - 1).astype(np.int64)


def _steps(parameters: PhenologyParameters) -> int:
    low, high, step = parameters.span
    return round((high - low) / step)


def _density(
    kind: npt.NDArray[np.int64],
    kinds: int,
    change: FloatArray,
    train: BoolArray,
    size: int,
    first: bool,
    parameters: PhenologyParameters,
) -> FloatArray:
    """Frequency of every change in every kind, over cells without those where it is most frequent."""
    steps = _steps(parameters)
    across = -(-change.shape[1] // size)
    cell = (np.arange(change.shape[0]) // size)[:, None] * across + np.arange(change.shape[1]) // size
    cells = int(cell.max()) + 1
    place = (kind[train] * cells + cell[train]) * steps + _step(change[train], parameters)
    counts = np.bincount(place, minlength=kinds * cells * steps).reshape(kinds, cells, steps).astype(np.float64)
    counts = ndimage.gaussian_filter1d(counts, 1.0, axis=2, mode="nearest")
    shares = np.stack([_trimmed(one, first, parameters) for one in counts])
    low, high, step = parameters.span
    return (1.0 - parameters.unknown) * shares / step + parameters.unknown / (high - low)


def _trimmed(counts: FloatArray, first: bool, parameters: PhenologyParameters) -> FloatArray:
    """Share of every change (step) from counts (cell, step): mean over cells without the most frequent."""
    seen = counts.sum(axis=1)
    enough = seen >= 0.1 * seen.max()
    if int(enough.sum()) < parameters.least_cells:
        total = counts.sum(axis=0) + 1e-9
        return np.asarray(total / total.sum())
    shares = counts[enough] / seen[enough, None]
    # At first sight what gathers in places may be the fire; what is left once the fire is known is not.
    part = parameters.trimmed[1 if first and _local(shares, seen[enough], parameters) else 0]
    order = np.argsort(shares, axis=0)
    shares, weight = np.take_along_axis(shares, order, axis=0), seen[enough][order]
    kept = weight * (np.cumsum(weight, axis=0) <= (1.0 - part) * weight.sum(axis=0))
    mean = (shares * kept).sum(axis=0) / np.maximum(kept.sum(axis=0), 1e-9) + 1e-12
    return np.asarray(mean / mean.sum())


def _local(shares: FloatArray, seen: FloatArray, parameters: PhenologyParameters) -> bool:
    """Whether changes of a kind gather in some cells, as those of a fire do, and are rare in others."""
    low, _, step = parameters.span
    total = np.cumsum(seen @ shares)
    middle = low + step * np.interp(0.5 * total[-1], total, np.arange(1, total.size + 1))
    beyond = low + step * np.arange(shares.shape[1]) > middle + parameters.onset[1]
    changed = shares[:, beyond].sum(axis=1)
    rare = float(np.quantile(changed, parameters.locality[0]))
    return rare < parameters.locality[1] * float(np.average(changed, weights=seen))


def _middle(density: FloatArray, parameters: PhenologyParameters) -> FloatArray:
    """Median change (kind) [1]."""
    low, _, step = parameters.span
    reached = np.cumsum(density, axis=1)
    edges = low + step * np.arange(1, density.shape[1] + 1)
    return np.array([np.interp(0.5 * row[-1], row, edges) for row in reached])
