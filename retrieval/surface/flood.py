"""Flood: water now where there is usually none, from radar before and after, reflectance, usual water and terrain.

The two dates are judged together: land keeps much of its backscatter from one pass to the next, so that a dark road is
dry because it was as dark before, and a fall of backscatter speaks for water where neither date alone would. Four cases
(dry or wet, before and after) have a posterior each; flood is the one that was dry and is wet. Sand, asphalt and dry
lake beds are as dark as water (Martinis et al. 2018): darkness alone makes no usual water, the place and the neighbors
have their say (`flood_place`). One random field holds both dates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from retrieval.surface import _radar_water_kernels, flood_place, radar_water, water_mixture

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
    dark_ground : float
        Mean backscatter of ground nearly as dark as water, as part of the way from calm water to smooth ground [1].
    dark_spread : float
        Its standard deviation [dB].
    dark_share : float
        Its share of dry ground that has water now [1].
    dark_stays : float
        Its share of ground dry on both dates: what is dark on both is rather taken for water [1].
    place : PlaceParameters
        How the place is read where there is an earlier date.
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
    dark_ground: float = 0.2
    dark_spread: float = 2.0
    dark_share: float = 0.4
    dark_stays: float = 0.1
    place: flood_place.PlaceParameters = field(default_factory=flood_place.PlaceParameters)
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
    place : PlaceModel or None
        What the place is worth.
    """

    after: radar_water.SceneModel
    before: radar_water.SceneModel | None
    land: LandChange | None
    place: flood_place.PlaceModel | None = None


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


def learn(
    after: Sequence[radar_water.Evidence],
    before: Sequence[radar_water.Evidence] = (),
    *,
    parameters: FloodParameters,
    surroundings: Sequence[radar_water.Surroundings] = (),
    mixed: Sequence[radar_water.Evidence] = (),
    mixed_before: Sequence[radar_water.Evidence] = (),
    same_month: bool = True,
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
    same_month : bool
        Whether the usual water is that of the month.

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
    model = FloodModel(late, early, _land_change(after, before, late, early, parameters))
    if len(surroundings) < len(after):
        return model
    parts = []
    for new, old, place in zip(after, before, surroundings, strict=False):
        usual, onset = _priors(model, place, new.values.shape[2:], parameters, same_month)
        if usual is None:
            return model
        scores = np.stack(_scores(new, old, model, parameters))
        parts.append(flood_place.Part(place, np.stack([usual, onset]), scores))
    return model._replace(place=flood_place.fit(parts, receding=parameters.receding, parameters=parameters.place))


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
    usual, onset = _priors(model, place, after.values.shape[2:], parameters, same_month)
    if before is not None and model.before is not None and usual is not None:
        water, new = _two_dates(after, before, model, place, (usual, onset), parameters)
    else:
        water, new = _one_date(after, model, place, usual, parameters)
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


def _priors(
    model: FloodModel,
    place: radar_water.Surroundings,
    shape: tuple[int, ...],
    parameters: FloodParameters,
    same_month: bool,
) -> tuple[Singles | None, Singles]:
    """Prior of water on the earlier date, None where nothing is known of it, and of water where it was dry."""
    bare = place._replace(reference=None)
    prior = radar_water.place_prior(model.after, bare, (shape[0], shape[1]), parameters=parameters.water)
    onset = np.clip(parameters.onset * prior, *parameters.onset_limits).astype(np.float32)
    return _usual(model, place, prior, parameters, same_month), onset


def _one_date(
    after: radar_water.Evidence,
    model: FloodModel,
    place: radar_water.Surroundings,
    usual: Singles | None,
    parameters: FloodParameters,
) -> tuple[radar_water.WaterMap, Singles]:
    """Water of the later date, and the probability that it is new: there is no state to have changed."""
    dry, wet = radar_water.log_densities(after, mixture=model.after.mixture, parameters=parameters.water)
    bare = place._replace(reference=None)
    prior = radar_water.place_prior(model.after, bare, dry.shape, parameters=parameters.water)
    new = np.full(dry.shape, parameters.new, dtype=np.float32)
    if usual is not None:
        onset = np.clip(parameters.onset * prior, *parameters.onset_limits)
        prior = usual * (1.0 - parameters.receding) + (1.0 - usual) * onset
        new = np.asarray(1.0 - usual, dtype=np.float32)
    odds = np.asarray(wet - dry + np.log(prior / (1.0 - prior)), dtype=np.float32)
    water = radar_water.regularized(odds, parameters=parameters.water, shore=parameters.water.shore)
    return water, np.where(np.isfinite(odds), new, np.float32(np.nan))


def _two_dates(
    after: radar_water.Evidence,
    before: radar_water.Evidence,
    model: FloodModel,
    place: radar_water.Surroundings,
    priors: tuple[Singles, Singles],
    parameters: FloodParameters,
) -> tuple[radar_water.WaterMap, Singles]:
    """Water of the later date, and the probability, given water, that it was dry before."""
    usual, onset = flood_place.corrected(np.stack(priors), place, model=model.place, parameters=parameters.place)
    scores = np.stack(_scores(after, before, model, parameters))
    receding = np.float32(parameters.receding)
    scores[0] += np.log((1.0 - usual) * (1.0 - onset))
    scores[1] += np.log((1.0 - usual) * onset)
    scores[2] += np.log(usual * receding)
    scores[3] += np.log(usual * (1.0 - receding))
    rules = parameters.water
    wet, new = np.empty_like(usual), np.empty_like(usual)
    _radar_water_kernels.smooth_dates(
        scores, rules.coupling, rules.shore, rules.sweeps, wet, new, np.empty((4, *usual.shape), dtype=np.float32)
    )
    return radar_water.classified(wet, parameters=rules), np.asarray(new / np.maximum(wet, np.float32(_TINY)))


def _scores(
    after: radar_water.Evidence,
    before: radar_water.Evidence,
    model: FloodModel,
    parameters: FloodParameters,
) -> tuple[Singles, Singles, Singles, Singles]:
    """Log density of both dates: dry on both, dry then wet, wet then dry, wet on both; NaN unseen on the later."""
    rules = parameters.water
    own = radar_water.own_densities(after, mixture=model.after.mixture)
    dry, wet = radar_water.log_densities(after, mixture=model.after.mixture, parameters=rules, own=own)
    early = model.before or model.after
    old_dry, old_wet = radar_water.log_densities(before, mixture=early.mixture, parameters=rules)
    there, seen = np.isfinite(dry), np.isfinite(old_dry)
    stays = _filled(dry + _persistence(after, before, model, parameters, own), there)
    dark = _filled(_dark_density(after, model.after.mixture, dry, parameters), there)
    old_dark = _filled(_dark_density(before, early.mixture, old_dry, parameters), seen)
    dry, wet, old_dry, old_wet = (
        _filled(layer, mask) for layer, mask in ((dry, there), (wet, there), (old_dry, seen), (old_wet, seen))
    )
    few, most = _parts(parameters.dark_share)
    fewest, rest = _parts(parameters.dark_stays)
    cases = (
        np.where(seen, np.logaddexp(rest + old_dry + stays, fewest + old_dark + dark), dry),
        np.where(seen, np.logaddexp(most + old_dry, few + old_dark), np.float32(0.0)) + wet,
        old_wet + np.where(seen, np.logaddexp(rest + dry, fewest + dark), dry),
        old_wet + wet,
    )
    for case in cases:
        case[~there] = np.nan
    return cases


def _filled(layer: Singles, known: npt.NDArray[np.bool_]) -> Singles:
    return np.asarray(np.where(known, layer, np.float32(0.0)), dtype=np.float32)


def _parts(share: float) -> tuple[np.float32, np.float32]:
    """Logarithms of a share and of the rest."""
    return np.float32(np.log(share)), np.float32(np.log1p(-share))


def _dark_density(
    seen: radar_water.Evidence, mixture: water_mixture.Mixture, otherwise: Singles, parameters: FloodParameters
) -> Singles:
    """Log density of dark ground, as far as radar tells; that of other land where it does not."""
    if not seen.polarizations:
        return otherwise
    dark = water_mixture.dark_ground(mixture, part=parameters.dark_ground, spread=parameters.dark_spread)
    radar = seen._replace(values=seen.values[:1], optical=False)
    density = radar_water.log_densities(radar, mixture=dark, parameters=parameters.water)[1]
    return np.where(np.isfinite(density), density, otherwise)


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
    own: Singles,
) -> Singles:
    """Logarithm of how much more the backscatter of dry land is expected, knowing what it was before."""
    if model.land is None or after.single is None or before.single is None:
        return np.zeros(after.values.shape[2:], dtype=np.float32)
    alone = own[0]
    if after.optical:
        radar = model.after.mixture._replace(groups=model.after.mixture.groups[:1])
        alone = radar_water.own_densities(after._replace(values=after.values[:1]), mixture=radar)[0]
    # Spread of land is that between filtered dates; unfiltered ones have their speckle on top.
    (late, noise), (early, old_noise) = water_mixture.speckle(after.looks), water_mixture.speckle(before.looks)
    density = np.zeros(alone.shape, dtype=np.float32)
    for axis in range(len(after.polarizations)):
        shift = np.float32(model.land.shift[axis] + late - early)
        spread = np.float32(np.sqrt(model.land.spread[axis] ** 2 + noise + old_noise))
        apart = after.single[axis] - before.single[axis] - shift
        density -= np.float32(0.5) * (apart / spread) ** 2 + np.log(spread * np.sqrt(np.float32(2.0 * np.pi)))
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
