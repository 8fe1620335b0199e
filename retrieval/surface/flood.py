"""Flood: water now where there is usually none, from radar before and after, reflectance, usual water and terrain.

The two dates are judged together: land keeps much of its backscatter from one pass to the next, so that a dark road is
dry because it was as dark before, and a fall of backscatter speaks for water where neither date alone would. Four cases
(dry or wet, before and after) have a posterior each; flood is the one that was dry and is wet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from retrieval.surface import radar_water, water_mixture

Singles = npt.NDArray[np.float32]
Octets = npt.NDArray[np.uint8]

DRY = 0
PERMANENT = 1
FLOOD = 2
PROBABLE = 3
EXCLUDED = 4
NO_DATA = 255

Verdict = Literal["agrees", "differs", "insufficient data"]

_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class FloodParameters:
    """Choices of the flood map.

    Parameters
    ----------
    water : RadarWaterParameters
        How water is told on either date.
    receding : float
        Prior of dry where there was water [1].
    onset : float
        Part of the prior of water that a place usually dry has [1].
    onset_limits : tuple of float
        Least and greatest prior of water where it was dry [1].
    persistence : float
        Share of land whose backscatter keeps its scatter between the dates; the rest may be anything [1].
    change_limits : tuple of float
        Least and greatest standard deviation of the change of land between the dates [dB].
    confident : float
        Probability of dry on both dates from which a pixel tells how land changes [1].
    flooded : float
        Least probability of class flood; wet pixels below it that are not permanent water either are probable [1].
    new : float
        Least probability, given water, that it is new, for classes flood and probable flood [1].
    reference_trust : float
        How far usual water of the same month is believed [1].
    other_month_trust : float
        The same of another month: a reservoir may stand 30 m higher or lower [1].
    """

    water: radar_water.RadarWaterParameters = field(default_factory=radar_water.RadarWaterParameters)
    receding: float = 0.05
    onset: float = 0.6
    onset_limits: tuple[float, float] = (0.005, 0.5)
    persistence: float = 0.85
    change_limits: tuple[float, float] = (0.7, 3.0)
    confident: float = 0.9
    flooded: float = 0.6
    new: float = 0.5
    reference_trust: float = 0.95
    other_month_trust: float = 0.6


class LandChange(NamedTuple):
    """How backscatter of land changes between the dates.

    Attributes
    ----------
    shift : npt.NDArray[np.float64]
        Mean change (2) [dB].
    spread : npt.NDArray[np.float64]
        Standard deviation of the change (2) [dB].
    """

    shift: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


class FloodModel(NamedTuple):
    """What was learned from the dates.

    Attributes
    ----------
    after : SceneModel
        Of the date mapped.
    before : SceneModel or None
        Of the earlier one.
    land : LandChange or None
        Change of land between them.
    """

    after: radar_water.SceneModel
    before: radar_water.SceneModel | None
    land: LandChange | None


class FloodMap(NamedTuple):
    """Flood of a scene.

    Attributes
    ----------
    classes : Octets
        0 dry, 1 permanent water, 2 flood, 3 probable flood, 4 excluded (terrain where water cannot stand, layover,
        radar shadow), 255 no data (y, x).
    flood : Singles
        Probability of new water (y, x) [1], NaN where excluded or without data.
    water : Singles
        Probability of water of any kind (y, x) [1], NaN likewise.
    """

    classes: Octets
    flood: Singles
    water: Singles


class _Cases(NamedTuple):
    """Posterior of wet after, and of new given wet (y, x) [1]."""

    wet: Singles
    new: Singles


def learn(
    after: Sequence[radar_water.Evidence],
    before: Sequence[radar_water.Evidence] = (),
    *,
    parameters: FloodParameters,
    surroundings: Sequence[radar_water.Surroundings] = (),
    mixed: Sequence[radar_water.Evidence] = (),
    mixed_before: Sequence[radar_water.Evidence] = (),
) -> FloodModel:
    """Learn from parts of the scenes where water lies and how land changes.

    Parameters
    ----------
    after : sequence of Evidence
        Parts of the date mapped.
    before : sequence of Evidence
        The same parts of the earlier date, radar alone; none where there is none.
    parameters : FloodParameters
        Choices.
    surroundings : sequence of Surroundings
        What is known of the parts, in their order.
    mixed, mixed_before : sequence of Evidence
        Further parts of either date that look as if they held water and land.

    Returns
    -------
    FloodModel
        Models of the dates and of land.
    """
    places = [place._replace(reference=None) for place in surroundings]
    late = radar_water.learn(after, parameters=parameters.water, surroundings=places, mixed=mixed)
    if not before:
        return FloodModel(late, None, None)
    early = radar_water.learn(before, parameters=parameters.water, surroundings=places, mixed=mixed_before)
    return FloodModel(late, early, _land_change(after, before, late, early, parameters))


def _land_change(
    after: Sequence[radar_water.Evidence],
    before: Sequence[radar_water.Evidence],
    late: radar_water.SceneModel,
    early: radar_water.SceneModel,
    parameters: FloodParameters,
) -> LandChange:
    nowhere = radar_water.Surroundings()
    changes = []
    for new, old in zip(after, before, strict=True):
        dry = np.ones(new.values.shape[2:], dtype=bool)
        for seen, model in ((new, late), (old, early)):
            odds = radar_water.log_odds(seen, model=model, place=nowhere, parameters=parameters.water)
            dry &= odds < np.log((1.0 - parameters.confident) / parameters.confident)
        changes.append((new.values[0] - old.values[0])[:, dry])
    change = np.concatenate(changes, axis=1).astype(np.float64)
    change = change[:, np.isfinite(change).all(axis=0)]
    if change.shape[1] < parameters.water.parts.pixels:
        middle = float(np.mean(parameters.change_limits))
        return LandChange(np.zeros(2), np.full(2, middle))
    shift = np.median(change, axis=1)
    spread = 1.4826 * np.median(np.abs(change - shift[:, None]), axis=1)
    return LandChange(shift, np.clip(spread, *parameters.change_limits))


def map_flood(
    after: radar_water.Evidence,
    before: radar_water.Evidence | None = None,
    *,
    model: FloodModel,
    place: radar_water.Surroundings,
    parameters: FloodParameters,
    same_month: bool = True,
) -> FloodMap:
    """Flood of a scene or of a block of it.

    Parameters
    ----------
    after : Evidence
        Features of the date mapped.
    before : Evidence or None
        Radar features of the earlier date.
    model : FloodModel
        What was learned.
    place : Surroundings
        What is known of the place; `reference` is the usual water.
    parameters : FloodParameters
        Choices.
    same_month : bool
        Whether the usual water is that of the month.

    Returns
    -------
    FloodMap
        Without an earlier date and without usual water, new and permanent cannot be told apart: all water is then
        probable flood. A block needs a halo of `RadarWaterParameters.halo` pixels in all.
    """
    cases = _cases(after, before, model, place, parameters, same_month)
    odds = np.log(np.clip(cases.wet, _TINY, None) / np.clip(1.0 - cases.wet, _TINY, None)).astype(np.float32)
    shore = parameters.water.shore
    water = radar_water.regularized(np.ascontiguousarray(odds), parameters=parameters.water, shore=shore)
    share = np.log(np.clip(cases.new, _TINY, None) / np.clip(1.0 - cases.new, _TINY, None)).astype(np.float32)
    new = radar_water.smoothed(np.ascontiguousarray(share), parameters=parameters.water)
    flood = np.asarray(water.probability * new, dtype=np.float32)
    wet = water.classes == radar_water.WATER
    classes = np.where(wet, PERMANENT, DRY).astype(np.uint8)
    classes[wet & (new >= parameters.new)] = PROBABLE
    classes[wet & (new >= parameters.new) & (flood >= parameters.flooded)] = FLOOD
    classes[water.classes == radar_water.NO_DATA] = NO_DATA
    return _excluded(FloodMap(classes, flood, water.probability), place, parameters)


def _excluded(found: FloodMap, place: radar_water.Surroundings, parameters: FloodParameters) -> FloodMap:
    high = radar_water.too_high(place, parameters=parameters.water)
    out = np.zeros(found.classes.shape, dtype=bool) if high is None else high & (found.classes != NO_DATA)
    if place.hidden is not None:
        # Where reflectance saw what radar could not, the map stands.
        out = out | (place.hidden & (found.classes == NO_DATA))
    found.classes[out] = EXCLUDED
    found.flood[out], found.water[out] = np.nan, np.nan
    return found


def _cases(
    after: radar_water.Evidence,
    before: radar_water.Evidence | None,
    model: FloodModel,
    place: radar_water.Surroundings,
    parameters: FloodParameters,
    same_month: bool,
) -> _Cases:
    dry, wet = water_mixture.log_densities(after.values, model.after.mixture)
    bare = place._replace(reference=None)
    shape = dry.shape
    prior = radar_water.place_prior(model.after, bare, shape, parameters=parameters.water)
    usual = _usual(model, place, prior, parameters, same_month)
    if usual is None:
        odds = parameters.water.temper * (wet - dry) + np.log(prior / (1.0 - prior))
        chance = (1.0 / (1.0 + np.exp(-odds))).astype(np.float32)
        return _Cases(chance, np.where(np.isfinite(chance), np.float32(parameters.new), np.nan).astype(np.float32))
    onset = np.clip(parameters.onset * prior, *parameters.onset_limits)
    old_dry, old_wet = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    stays = dry
    if before is not None and model.before is not None:
        old_dry, old_wet = water_mixture.log_densities(before.values, model.before.mixture)
        seen = np.isfinite(old_dry)
        old_dry, old_wet = np.where(seen, old_dry, 0.0), np.where(seen, old_wet, 0.0)
        stays = dry + _persistence(after, before, model, parameters)
    temper = parameters.water.temper
    logs = [
        np.log((1.0 - usual) * (1.0 - onset)) + temper * (old_dry + stays),
        np.log((1.0 - usual) * onset) + temper * (old_dry + wet),
        np.log(usual * parameters.receding) + temper * (old_wet + dry),
        np.log(usual * (1.0 - parameters.receding)) + temper * (old_wet + wet),
    ]
    greatest = np.maximum.reduce(logs)
    dry_dry, dry_wet, wet_dry, wet_wet = (np.exp(log - greatest) for log in logs)
    total = dry_dry + dry_wet + wet_dry + wet_wet
    now = dry_wet + wet_wet
    # Without an earlier date there is no state to have changed: water is new where it is not usual.
    new = 1.0 - usual if model.before is None else dry_wet / np.maximum(now, _TINY)
    return _Cases((now / total).astype(np.float32), np.where(np.isfinite(now), new, np.nan).astype(np.float32))


def _usual(
    model: FloodModel,
    place: radar_water.Surroundings,
    prior: Singles,
    parameters: FloodParameters,
    same_month: bool,
) -> Singles | None:
    """Prior of water on the earlier date; None where nothing is known of it."""
    usual = None
    if model.before is not None:
        bare = place._replace(reference=None)
        usual = radar_water.place_prior(model.before, bare, prior.shape, parameters=parameters.water)
    if place.reference is None:
        return usual
    trust = parameters.reference_trust if same_month else parameters.other_month_trust
    told = 0.5 + trust * (np.clip(place.reference, 0.0, 1.0) - 0.5)
    otherwise = np.float32(0.5) if usual is None else usual
    return np.where(np.isfinite(told), told, otherwise).astype(np.float32)


def _persistence(
    after: radar_water.Evidence,
    before: radar_water.Evidence,
    model: FloodModel,
    parameters: FloodParameters,
) -> Singles:
    """Logarithm of how much more the backscatter of dry land is expected, knowing what it was before."""
    if model.land is None or not after.polarizations:
        return np.zeros(after.values.shape[2:], dtype=np.float32)
    radar = model.after.mixture._replace(groups=model.after.mixture.groups[:1])
    alone = water_mixture.log_densities(after.values[:1], radar)[0]
    density = np.zeros(alone.shape, dtype=np.float32)
    for axis in range(len(after.polarizations)):
        apart = after.values[0, axis] - before.values[0, axis] - np.float32(model.land.shift[axis])
        spread = model.land.spread[axis]
        density -= np.float32(0.5) * (apart / np.float32(spread)) ** 2 + np.float32(np.log(spread * np.sqrt(2 * np.pi)))
    gain = np.log(parameters.persistence * np.exp(np.clip(density - alone, -30.0, 30.0)) + 1.0 - parameters.persistence)
    return np.where(np.isfinite(gain), gain, 0.0).astype(np.float32)


class LevelComparison(NamedTuple):
    """Water level mapped against a gauge.

    Attributes
    ----------
    mapped : float
        Median height of the water's edge in the vicinity [m], NaN with too little edge.
    spread : float
        Standard uncertainty of the median [m].
    difference : float
        Mapped minus gauge [m].
    verdict : str
        ``agrees``, ``differs`` or ``insufficient data``.
    """

    mapped: float
    spread: float
    difference: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class GaugeParameters:
    """When a mapped level is believed, and when it agrees.

    Parameters
    ----------
    radius : float
        Distance from the gauge within which the edge counts [m].
    edge_pixels : int
        Least number of pixels of the edge [1].
    height_sigma : float
        Standard uncertainty of the heights of the ground [m].
    """

    radius: float = 2_000.0
    edge_pixels: int = 30
    height_sigma: float = 2.0


def compared_with_gauge(
    water: npt.NDArray[np.bool_],
    elevation: Singles,
    *,
    reading: float,
    row: float,
    column: float,
    pixel: float,
    parameters: GaugeParameters | None = None,
) -> LevelComparison:
    """Level of the mapped water at its edge against the reading of a gauge.

    Parameters
    ----------
    water : array
        Water, boolean (y, x).
    elevation : Singles
        Heights of the ground in the datum of the gauge (y, x) [m], NaN without data.
    reading : float
        Water level at the gauge [m].
    row, column : float
        Place of the gauge [pixel].
    pixel : float
        Size of a pixel [m].
    parameters : GaugeParameters, optional
        Limits.

    Returns
    -------
    LevelComparison
        Difference within twice its uncertainty agrees.
    """
    chosen = parameters or GaugeParameters()
    rows, columns = np.ogrid[: water.shape[0], : water.shape[1]]
    near = np.hypot(rows - row, columns - column) * pixel <= chosen.radius
    # The edge of the raster is no shore.
    shore = ndimage.binary_dilation(water) & ~water & near & np.isfinite(elevation)
    heights = elevation[shore].astype(np.float64)
    if heights.size < chosen.edge_pixels or not np.isfinite(reading):
        return LevelComparison(float("nan"), float("nan"), float("nan"), "insufficient data")
    level = float(np.median(heights))
    scatter = 1.4826 * float(np.median(np.abs(heights - level)))
    # Neighbors along a shore share their error: every tenth pixel counts as one.
    sigma = float(np.hypot(chosen.height_sigma, 1.2533 * scatter / np.sqrt(heights.size / 10.0)))
    difference = level - float(reading)
    return LevelComparison(level, sigma, difference, "agrees" if abs(difference) <= 2.0 * sigma else "differs")
