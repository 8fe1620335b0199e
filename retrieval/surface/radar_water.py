"""Open water from radar, reflectance or both, with terrain and usual water as prior knowledge.

Parts of the scene that hold both classes tell where water lies, and kinds of water and land adapt to the scene
(`water_mixture`), both on backscatter freed of speckle (refined Lee). A pixel is then judged by its own unfiltered
backscatter, whose speckle is known from the looks, with the filtered value as its context: a filter alone blurs shores
and strips of a few pixels. The posterior with the prior of height above nearest drainage (Nobre et al. 2011) and of the
usual water of the month is made smooth by a Markov random field. Otsu 1979; Martinis et al. 2015; Chini et al. 2017;
Bauer-Marschallinger et al. 2022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.imagery import radar_features
from retrieval.surface import _radar_water_kernels, bimodality, optical_water, water_mixture

Singles = npt.NDArray[np.float32]
Octets = npt.NDArray[np.uint8]

DRY = 0
WATER = 1
NO_DATA = 255
COPOLAR, CROSSPOLAR = "copolar", "crosspolar"
POLARIZATIONS = {"vv": COPOLAR, "hh": COPOLAR, "vh": CROSSPOLAR, "hv": CROSSPOLAR}
"""Role of each polarization."""


@dataclass(frozen=True, kw_only=True)
class RadarWaterParameters:
    """Choices of the water map.

    Parameters
    ----------
    mixture : MixtureParameters
        Kinds of water and land.
    parts : BimodalityParameters
        When a part of the scene holds both classes.
    optical : OpticalWaterParameters
        Where reflectance speaks.
    tile : int
        Edge of a part [pixel].
    sample : int
        Pixels kinds are fitted to [1].
    darkest_land : tuple of float
        Backscatter the brighter class of a part reaches at least, copolar and crosspolar: wind alone makes two classes
        of water [dB].
    anchor_percentile : float
        Which of the parts, by the backscatter of their darker class, tells where calm water lies [percent].
    anchor_reach : float
        Parts whose darker class lies within this of it are used [dB].
    looks_window : int
        Edge of the windows looks are counted in [pixel].
    fewest_looks : float
        Looks below which the map is flagged [1].
    weakest : float
        Backscatter below which noise, or its subtraction, is all there is [dB].
    context : float
        Part of the log-likelihood ratio of the filtered backscatter that is added to that of the pixel itself [1].
    coupling : float
        Log-odds one neighbor of certain class adds [1].
    shore : float
        Log-odds added halfway between wet and dry neighbors: land outshines the water it shares a pixel with, in
        radar and short-wave infrared alike, so that a pixel half under water looks like land [1].
    sweeps : int
        Rounds of the random field [1].
    smallest_patch : int
        Least size of a patch of either class that is sure nowhere [pixel].
    sure : float
        Probability of its class from which one pixel is enough for its patch to be believed [1].
    threshold : float
        Least probability of class water [1].
    certainty : float
        Probability of either class never exceeds this [1].
    share_limits : tuple of float
        Least and greatest prior share of water of a scene [1].
    channel_prior : float
        Prior of water at the height of the drainage [1].
    hand_scale : float
        Height above the drainage over which the prior falls to 1/e [m].
    prior_floor : float
        Least prior [1].
    level : float
        Slope up to which ground may be a lake high above the drainage [degree].
    level_prior : float
        Least prior there [1].
    reference_trust : float
        How far the usual water of the same month is believed [1].
    steepest : float
        Slope above which no water stands high above the drainage [degree].
    highest : float
        Height above the drainage from which the slope counts [m].
    fluctuation : tuple of float or None
        Elevations between which a reservoir stands in a year: no slope there is too high for water [m].
    """

    mixture: water_mixture.MixtureParameters = field(default_factory=water_mixture.MixtureParameters)
    parts: bimodality.BimodalityParameters = field(default_factory=bimodality.BimodalityParameters)
    optical: optical_water.OpticalWaterParameters = field(default_factory=optical_water.OpticalWaterParameters)
    tile: int = 128
    sample: int = 20_000
    darkest_land: tuple[float, float] = (-13.5, -21.0)
    anchor_percentile: float = 50.0
    anchor_reach: float = 4.0
    looks_window: int = 9
    fewest_looks: float = 2.5
    weakest: float = -26.0
    context: float = 0.3
    coupling: float = 0.7
    shore: float = 0.5
    sweeps: int = 6
    smallest_patch: int = 10
    sure: float = 0.995
    threshold: float = 0.5
    certainty: float = 0.998
    share_limits: tuple[float, float] = (0.01, 0.95)
    channel_prior: float = 0.5
    hand_scale: float = 5.0
    prior_floor: float = 0.01
    level: float = 2.0
    level_prior: float = 0.1
    reference_trust: float = 0.9
    steepest: float = 10.0
    highest: float = 15.0
    fluctuation: tuple[float, float] | None = None

    @property
    def halo(self) -> int:
        """Neighbors the result of one pixel depends on [pixel]."""
        return radar_features.HALO + self.sweeps + self.smallest_patch


class Evidence(NamedTuple):
    """Features of a scene or a block of it.

    Attributes
    ----------
    values : Singles
        Features (group, 2, y, x), NaN where a group is not seen.
    polarizations : tuple of str
        Features of the radar group in order, none without radar.
    optical : bool
        Whether the last group is optical.
    single : Singles or None
        Unfiltered backscatter (2, y, x) [dB], NaN where it is not seen; None without radar.
    looks : float
        Equivalent number of looks of it [1].
    """

    values: Singles
    polarizations: tuple[str, ...]
    optical: bool
    single: Singles | None = None
    looks: float = 1.0


class Surroundings(NamedTuple):
    """What is known of the place, each (y, x) or None.

    Attributes
    ----------
    hand : Singles or None
        Height above nearest drainage [m].
    slope : Singles or None
        Slope [degree].
    elevation : Singles or None
        Height of the ground [m].
    reference : Singles or None
        Usual probability of water in this month [1].
    hidden : numpy.ndarray or None
        Layover or radar shadow, boolean: radar says nothing there.
    """

    hand: Singles | None = None
    slope: Singles | None = None
    elevation: Singles | None = None
    reference: Singles | None = None
    hidden: npt.NDArray[np.bool_] | None = None


class SceneModel(NamedTuple):
    """What was learned from a scene.

    Attributes
    ----------
    mixture : Mixture
        Kinds of water and land.
    water_share : float
        Share of water as far as the features tell [1].
    parts : int
        Parts of the scene that hold both classes; with none, physics alone says where water lies [1].
    thresholds : Mapping
        Median threshold per polarization where there are such parts [dB].
    mean_prior : float
        Mean prior of water from the surroundings, NaN where they say nothing [1].
    """

    mixture: water_mixture.Mixture
    water_share: float
    parts: int
    thresholds: Mapping[str, float]
    mean_prior: float


class WaterMap(NamedTuple):
    """Water of a scene.

    Attributes
    ----------
    classes : Octets
        0 dry, 1 water, 255 no data (y, x).
    probability : Singles
        Probability of water (y, x) [1], NaN without data.
    """

    classes: Octets
    probability: Singles


def looks(power: Singles, *, parameters: RadarWaterParameters) -> float:
    """Equivalent number of looks, from the most uniform windows.

    Parameters
    ----------
    power : Singles
        Backscatter in linear units (y, x), NaN without data.
    parameters : RadarWaterParameters
        Size of the windows.

    Returns
    -------
    float
        Inverse squared coefficient of variation of the uniform windows [1], NaN where no window is complete.
    """
    edge = parameters.looks_window
    rows, columns = (size // edge for size in power.shape)
    if rows * columns == 0:
        return float("nan")
    blocks = power[: rows * edge, : columns * edge].reshape(rows, edge, columns, edge).astype(np.float64)
    mean, square = blocks.mean(axis=(1, 3)), (blocks**2).mean(axis=(1, 3))
    known = np.isfinite(mean) & (mean > 0)
    if not known.any():
        return float("nan")
    variation = (square[known] - mean[known] ** 2).clip(0.0) / mean[known] ** 2
    # Among equal windows of 81 pixels the twentieth of least variation lies some 30 % below the mean.
    return float(1.0 / max(np.percentile(variation, 5.0) / 0.7, 1e-3))


def evidence(
    power: Mapping[str, Singles] | None,
    reflectance: Mapping[str, Singles] | None = None,
    *,
    number_of_looks: float,
    parameters: RadarWaterParameters,
    hidden: npt.NDArray[np.bool_] | None = None,
) -> Evidence:
    """Features of water from backscatter and reflectance.

    Parameters
    ----------
    power : Mapping or None
        Backscatter in linear units (y, x) by polarization, NaN without data.
    reflectance : Mapping, optional
        Reflectance (y, x) [1] by band, NaN without data and under cloud.
    number_of_looks : float
        Equivalent number of looks [1].
    parameters : RadarWaterParameters
        Choices.
    hidden : array, optional
        Layover or radar shadow, boolean (y, x).

    Returns
    -------
    Evidence
        Features; a block needs a halo of `radar_features.HALO` pixels.

    Raises
    ------
    ValueError
        Without any input, or with two polarizations of the same role.
    """
    groups: list[Singles] = []
    roles: tuple[str, ...] = ()
    single = None
    if power:
        group = radar_group(power, number_of_looks=number_of_looks, hidden=hidden)
        groups.append(np.maximum(group, np.float32(parameters.weakest)))
        roles = _roles(power)
        single = _unfiltered(power, group, np.float32(parameters.weakest))
    if reflectance:
        groups.append(optical_water.features(reflectance, parameters=parameters.optical))
    if not groups:
        raise ValueError("water needs backscatter, reflectance or both")
    return Evidence(np.stack(groups), roles, bool(reflectance), single, number_of_looks)


def _unfiltered(power: Mapping[str, Singles], filtered: Singles, weakest: np.float32) -> Singles:
    """Backscatter of the pixel itself where the filtered one is known, in decibels, copolar first."""
    result = np.zeros_like(filtered)
    least = np.float32(10.0) ** (weakest * np.float32(0.1))
    for target, name in zip(result, sorted(power, key=lambda name: POLARIZATIONS[name]), strict=False):
        np.log10(np.maximum(power[name], least), out=target)
        target *= 10.0
    result[:, ~(np.isfinite(filtered) & np.isfinite(result)).all(axis=0)] = np.nan
    return result


def _roles(power: Mapping[str, Singles]) -> tuple[str, ...]:
    roles = tuple(sorted(POLARIZATIONS[name] for name in power))
    if len(set(roles)) < len(roles):
        raise ValueError(f"{', '.join(power)}: two polarizations of the same role")
    return roles


def radar_group(
    power: Mapping[str, Singles], *, number_of_looks: float, hidden: npt.NDArray[np.bool_] | None
) -> Singles:
    """Backscatter freed of speckle, in decibels, copolar first.

    Parameters
    ----------
    power : Mapping
        Backscatter in linear units (y, x) by polarization, NaN without data.
    number_of_looks : float
        Equivalent number of looks [1].
    hidden : array or None
        Layover or radar shadow, boolean (y, x).

    Returns
    -------
    Singles
        (2, y, x) [dB], NaN where any is not seen; the second is 0 with one polarization.
    """
    ordered = sorted(power, key=lambda name: POLARIZATIONS[name])
    shape = power[ordered[0]].shape
    result = np.zeros((2, *shape), dtype=np.float32)
    for target, name in zip(result, ordered, strict=False):
        values = power[name] if hidden is None else np.where(hidden, np.float32(np.nan), power[name])
        target[:] = radar_features.despeckled(values, looks=number_of_looks)
        np.log10(target, out=target)
        target *= 10.0
    result[:, ~np.isfinite(result).all(axis=0)] = np.nan
    return result


def learn(
    parts: Sequence[Evidence],
    *,
    parameters: RadarWaterParameters,
    surroundings: Sequence[Surroundings] = (),
    mixed: Sequence[Evidence] = (),
) -> SceneModel:
    """Learn from parts of a scene where water lies.

    Parameters
    ----------
    parts : sequence of Evidence
        Features of parts of equal features; together they stand for the scene.
    parameters : RadarWaterParameters
        Choices.
    surroundings : sequence of Surroundings
        What is known of the parts, in their order.
    mixed : sequence of Evidence
        Further parts chosen because they look as if they held both classes; they say nothing of the share of water.

    Returns
    -------
    SceneModel
        Kinds and share of water; where no part holds both classes the kinds stay near where physics expects them.
    """
    roles, optical = parts[0].polarizations, parts[0].optical
    tiles = [tile for part in _level(parts, surroundings, parameters) for tile in _tiles(part, parameters.tile)]
    everything = _sampled(tiles, parameters.sample)
    tiles += [tile for part in mixed for tile in _tiles(part.values, parameters.tile)]
    both, anchor, thresholds = _mixed(tiles, roles, parameters)
    sample = _sampled(both, parameters.sample) if both else everything
    mixture = water_mixture.fit(
        sample, polarizations=roles, optical=optical, parameters=parameters.mixture, anchor=anchor
    )
    mixture = water_mixture.with_shares(everything, mixture, rounds=parameters.mixture.rounds)
    priors = [_place_prior(place, parameters) for place in surroundings]
    known = [
        prior[np.isfinite(prior) & _gentle(place, prior.shape, parameters)]
        for place, prior in zip(surroundings, priors, strict=True)
        if prior is not None
    ]
    mean_prior = float(np.concatenate(known).mean()) if known and sum(map(len, known)) else float("nan")
    return SceneModel(mixture, mixture.water_share, len(both), thresholds, mean_prior)


def _level(
    parts: Sequence[Evidence], surroundings: Sequence[Surroundings], parameters: RadarWaterParameters
) -> list[Singles]:
    """Features on ground where water can stand: slopes that face the radar or hide from it teach nothing of it."""
    result = []
    for number, part in enumerate(parts):
        slope = surroundings[number].slope if number < len(surroundings) else None
        if slope is None or not bool((slope <= parameters.steepest).any()):
            result.append(part.values)
            continue
        result.append(np.where(slope > parameters.steepest, np.float32(np.nan), part.values))
    return result


def _gentle(place: Surroundings, shape: tuple[int, ...], parameters: RadarWaterParameters) -> npt.NDArray[np.bool_]:
    return np.ones(shape, dtype=bool) if place.slope is None else place.slope <= parameters.steepest


def _tiles(values: Singles, edge: int) -> list[Singles]:
    rows, columns = values.shape[2:]
    starts = [range(0, max(size - edge // 2, 1), edge) for size in (rows, columns)]
    return [values[:, :, i : i + edge, j : j + edge] for i in starts[0] for j in starts[1]]


def _sampled(tiles: Sequence[Singles], size: int) -> npt.NDArray[np.float64]:
    flat = np.concatenate([tile.reshape(*tile.shape[:2], -1) for tile in tiles], axis=2)
    known = np.flatnonzero(np.isfinite(flat).all(axis=1).any(axis=0))
    step = max(1, -(-known.size // size))
    return flat[:, :, known[::step]].astype(np.float64)


def _mixed(
    tiles: Sequence[Singles], roles: tuple[str, ...], parameters: RadarWaterParameters
) -> tuple[list[Singles], water_mixture.Anchor | None, dict[str, float]]:
    """Parts that hold both classes, where water lies in them, and their median threshold."""
    if not roles:
        return [], None, {}
    limits = [_water_range(parameters.mixture.kinds, role) for role in roles]
    darkest_land = [parameters.darkest_land[role == CROSSPOLAR] for role in roles]
    chosen, splits = [], []
    for tile in tiles:
        found = [bimodality.split(tile[0, axis], parameters=parameters.parts) for axis in range(len(roles))]
        fits = [
            one is not None
            and bimodality.believable(one, parameters=parameters.parts)
            and limit[0] <= one.lower[0] <= limit[1]
            and one.upper[0] >= least
            for one, limit, least in zip(found, limits, darkest_land, strict=True)
        ]
        if any(fits) and _both_dark(tile, found, fits, limits):
            chosen.append(tile)
            splits.append([one if fit else None for one, fit in zip(found, fits, strict=True)])
    if not chosen:
        return [], None, {}
    return _darkest(chosen, splits, roles, parameters)


def _darkest(
    tiles: Sequence[Singles],
    splits: Sequence[Sequence[bimodality.Split | None]],
    roles: tuple[str, ...],
    parameters: RadarWaterParameters,
) -> tuple[list[Singles], water_mixture.Anchor, dict[str, float]]:
    """Of the parts that hold two classes those whose darker one is calm water, not a dry field."""
    levels = np.array([[np.nan if one is None else one.lower[0] for one in row] for row in splits])
    kept = np.ones(len(levels), dtype=bool)
    for axis in range(len(roles)):
        seen = np.isfinite(levels[:, axis])
        if seen.any():
            center = np.percentile(levels[seen, axis], parameters.anchor_percentile)
            kept &= ~seen | (np.abs(levels[:, axis] - center) <= parameters.anchor_reach)
    kept |= ~kept.any()
    means, spreads, thresholds = [], [], {}
    for axis, role in enumerate(roles):
        used = [row[axis] for row, keep in zip(splits, kept, strict=True) if keep]
        seen_splits = [one for one in used if one is not None]
        means.append(float(np.median([one.lower[0] for one in seen_splits])) if seen_splits else float("nan"))
        spreads.append(float(np.median([one.lower[1] for one in seen_splits])) if seen_splits else float("nan"))
        if seen_splits:
            thresholds[role] = float(np.median([one.threshold for one in seen_splits]))
    anchor = water_mixture.Anchor(tuple(means), tuple(max(value, 0.8) for value in spreads))
    return [tile for tile, keep in zip(tiles, kept, strict=True) if keep], anchor, thresholds


def _water_range(kinds: Sequence[water_mixture.Kind], role: str) -> tuple[float, float]:
    ranges = [getattr(kind, role)[1:] for kind in kinds if kind.water]
    return min(low for low, _ in ranges[:1]), max(high for _, high in ranges[:1])


def _both_dark(
    tile: Singles,
    found: Sequence[bimodality.Split | None],
    fits: Sequence[bool],
    limits: Sequence[tuple[float, float]],
) -> bool:
    """Whether what is dark in one polarization is dark in the other, which a dry field is not."""
    axis = fits.index(True)
    if len(limits) == 1:
        return True
    levels = [0.0 if one is None else one.threshold for one in found]
    other, dark = tile[0, 1 - axis], tile[0, axis] < levels[axis]
    slack = 5.0 if axis == 1 else 1.0  # wind raises the copolar backscatter of water much, the other little
    return bool(np.nanmedian(other[dark]) <= limits[1 - axis][1] + slack)


def place_prior(
    model: SceneModel, place: Surroundings, shape: tuple[int, int], *, parameters: RadarWaterParameters
) -> Singles:
    """Prior probability of water of every pixel.

    Parameters
    ----------
    model : SceneModel
        Share of water in the scene.
    place : Surroundings
        What is known of the place.
    shape : tuple of int
        Rows and columns.
    parameters : RadarWaterParameters
        Choices.

    Returns
    -------
    Singles
        (y, x) [1].
    """
    share = float(np.clip(model.water_share, *parameters.share_limits))
    prior = np.full(shape, share, dtype=np.float32)
    low = _place_prior(place, parameters)
    if low is None:
        return prior
    scale = np.clip(share / model.mean_prior, 0.3, 1.8) if np.isfinite(model.mean_prior) else 1.0
    scaled = np.clip(low * scale, parameters.prior_floor, parameters.share_limits[1])
    return np.where(np.isfinite(low), scaled, prior).astype(np.float32)


def _place_prior(place: Surroundings, parameters: RadarWaterParameters) -> Singles | None:
    prior = None
    if place.hand is not None:
        prior = parameters.channel_prior * np.exp(-np.maximum(place.hand, 0.0) / parameters.hand_scale)
        if place.slope is not None:
            slope = np.nan_to_num(place.slope)
            steep = 1.0 / (1.0 + (slope / (1.5 * parameters.steepest)) ** 4)
            # A lake lies high above the channels, but it lies level.
            least = np.where(slope <= parameters.level, parameters.level_prior, parameters.prior_floor)
            prior = np.maximum(prior * steep, least)
    if place.reference is not None:
        trust = parameters.reference_trust
        otherwise = np.float32(parameters.channel_prior * 0.2) if prior is None else prior
        usual = trust * np.clip(place.reference, 0.0, 1.0) + (1.0 - trust) * otherwise
        # Usual water need not be there today, and a flood is where it usually is not.
        usual = np.maximum(usual, otherwise)
        prior = usual if prior is None else np.where(np.isfinite(usual), usual, prior)
    return None if prior is None else np.asarray(prior, dtype=np.float32)


def log_odds(seen: Evidence, *, model: SceneModel, place: Surroundings, parameters: RadarWaterParameters) -> Singles:
    """Log-odds of water of every pixel by itself.

    Parameters
    ----------
    seen : Evidence
        Features.
    model : SceneModel
        What was learned from the scene.
    place : Surroundings
        What is known of the place.
    parameters : RadarWaterParameters
        Choices.

    Returns
    -------
    Singles
        (y, x) [1], NaN where nothing is seen.
    """
    dry, wet = log_densities(seen, mixture=model.mixture, parameters=parameters)
    prior = place_prior(model, place, dry.shape, parameters=parameters)
    return np.asarray(wet - dry + np.log(prior / (1.0 - prior)), dtype=np.float32)


def log_densities(
    seen: Evidence, *, mixture: water_mixture.Mixture, parameters: RadarWaterParameters, own: Singles | None = None
) -> Singles:
    """Evidence for dry and for wet: density of the pixel's own features, and part of that of its context.

    Parameters
    ----------
    seen : Evidence
        Features.
    mixture : Mixture
        Kinds, as filtered backscatter shows them.
    parameters : RadarWaterParameters
        Choices.
    own : Singles, optional
        Result of `own_densities` where it is there already.

    Returns
    -------
    Singles
        Logarithms (2, y, x): dry, wet; NaN where nothing is seen.
    """
    result = own_densities(seen, mixture=mixture) if own is None else own.copy()
    if seen.single is not None:
        radar = mixture._replace(groups=mixture.groups[:1])
        context = water_mixture.log_densities(seen.values[:1], radar)
        context[:, ~np.isfinite(context[0])] = 0.0
        result += np.float32(parameters.context) * context
    return result


def own_densities(seen: Evidence, *, mixture: water_mixture.Mixture) -> Singles:
    """Density of the features of the pixel by itself, unfiltered backscatter among them, under dry and under wet.

    Parameters
    ----------
    seen : Evidence
        Features.
    mixture : Mixture
        Kinds, as filtered backscatter shows them.

    Returns
    -------
    Singles
        Logarithms (2, y, x): dry, wet; NaN where nothing is seen.
    """
    if seen.single is None:
        return water_mixture.log_densities(seen.values, mixture)
    values = np.concatenate([seen.single[None], seen.values[1:]])
    return water_mixture.log_densities(values, water_mixture.speckled(mixture, looks=seen.looks))


def regularized(base: Singles, *, parameters: RadarWaterParameters, shore: float = 0.0) -> WaterMap:
    """Classes and probability after the random field and without patches too small to be believed.

    Parameters
    ----------
    base : Singles
        Log-odds of every pixel by itself (y, x), NaN without data.
    parameters : RadarWaterParameters
        Choices.
    shore : float
        Log-odds added halfway between wet and dry neighbors [1].

    Returns
    -------
    WaterMap
        A block needs a halo of `sweeps` and `smallest_patch` pixels.
    """
    return classified(smoothed(base, parameters=parameters, shore=shore), parameters=parameters)


def classified(chance: Singles, *, parameters: RadarWaterParameters) -> WaterMap:
    """Classes and probability without patches too small to be believed.

    Parameters
    ----------
    chance : Singles
        Probability of water (y, x) [1], NaN without data.
    parameters : RadarWaterParameters
        Least size, threshold and greatest certainty.

    Returns
    -------
    WaterMap
        A block needs a halo of `smallest_patch` pixels.
    """
    probability = np.clip(chance, 1.0 - parameters.certainty, parameters.certainty)
    classes = np.where(probability >= parameters.threshold, WATER, DRY).astype(np.uint8)
    classes[~np.isfinite(probability)] = NO_DATA
    kept = np.empty_like(classes)
    sure = (np.abs(probability - 0.5) >= parameters.sure - 0.5).astype(np.uint8)
    _radar_water_kernels.sieve(classes, sure, parameters.smallest_patch, NO_DATA, kept)
    doubted = kept != classes
    near = np.clip(probability, None, 0.45), np.clip(probability, 0.55, None)
    probability = np.where(doubted, np.where(kept == DRY, near[0], near[1]), probability)
    return WaterMap(kept, probability.astype(np.float32))


def smoothed(base: Singles, *, parameters: RadarWaterParameters, shore: float = 0.0) -> Singles:
    """Probability after the random field.

    Parameters
    ----------
    base : Singles
        Log-odds of every pixel by itself (y, x), NaN without data.
    parameters : RadarWaterParameters
        Coupling, rounds and greatest certainty.
    shore : float
        Log-odds added halfway between wet and dry neighbors [1].

    Returns
    -------
    Singles
        (y, x) [1]; a block needs a halo of `sweeps` pixels.
    """
    smooth, room = np.empty_like(base), np.empty_like(base)
    _radar_water_kernels.smooth(base, parameters.coupling, shore, parameters.sweeps, smooth, room)
    limit = np.float32(np.log(parameters.certainty / (1.0 - parameters.certainty)))
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(smooth, -limit, limit))), dtype=np.float32)


def too_high(place: Surroundings, *, parameters: RadarWaterParameters) -> npt.NDArray[np.bool_] | None:
    """Where no water can stand: steep and high above the drainage, outside the range of a reservoir.

    Parameters
    ----------
    place : Surroundings
        What is known of the place.
    parameters : RadarWaterParameters
        Limits.

    Returns
    -------
    numpy.ndarray or None
        Boolean (y, x); None where slope or height above the drainage is not known.
    """
    if place.slope is None or place.hand is None:
        return None
    high = (place.slope > parameters.steepest) & (place.hand > parameters.highest)
    if parameters.fluctuation is not None and place.elevation is not None:
        low, top = parameters.fluctuation
        high &= ~((place.elevation >= low) & (place.elevation <= top))
    return np.asarray(high)


def map_water(seen: Evidence, *, model: SceneModel, place: Surroundings, parameters: RadarWaterParameters) -> WaterMap:
    """Water of a scene or of a block of it.

    Parameters
    ----------
    seen : Evidence
        Features.
    model : SceneModel
        What was learned from the scene.
    place : Surroundings
        What is known of the place.
    parameters : RadarWaterParameters
        Choices.

    Returns
    -------
    WaterMap
        Classes and probability; a block needs a halo of `RadarWaterParameters.halo` pixels in all.
    """
    base = log_odds(seen, model=model, place=place, parameters=parameters)
    high = too_high(place, parameters=parameters)
    if high is not None:
        least = np.float32(np.log(parameters.prior_floor / (1.0 - parameters.prior_floor)))
        base = np.where(high & np.isfinite(base), np.minimum(base, least), base)
    return regularized(np.ascontiguousarray(base), parameters=parameters, shore=parameters.shore)
