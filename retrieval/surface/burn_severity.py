"""Burn severity from the normalized burn ratio before and after a fire.

With N near infrared and S short-wave infrared near 2.2 um,

    NBR = (N - S) / (N + S),   dNBR = 1000 (NBR_before - NBR_after) - offset       (Key and Benson 2006),
    RBR = dNBR / (1000 (NBR_before + 1.001)) * 1000                                (Parks et al. 2014),
    RdNBR = dNBR / sqrt(|NBR_before|)                                              (Miller and Thode 2007).

What season and sun changed on ground that did not burn is taken out: offset = c0 + c1 (NBR_before - m), fitted to the
scene's own unburnt vegetation, which is the lowest mode of dNBR. NBR is a ratio, so that the sun's angle on a slope
cancels; cast shadow does not and has to be masked. Pixel noise is taken out by the sigma filter (Lee 1983), whose
width follows the noise found in the scene.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from processors.arrays import BoolArray, ByteArray, FloatArray
from processors.quality import BadInputError
from retrieval.surface import _burn_severity_kernels, burn_phenology, burn_shift

REGROWTH, UNBURNED, LOW, MODERATE_LOW, MODERATE_HIGH, HIGH = 1, 2, 3, 4, 5, 6
NO_DATA = 255
HELPFUL = ("red", "swir1", "green", "blue")
"""Bands that tell kinds of vegetation, and char from dry ground, where there are any."""
_MEASURED = ("nir_before", "swir_before", "nir_after", "swir_after")

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BurnSeverityParameters:
    """Thresholds of the classes and of what is left out.

    Parameters
    ----------
    thresholds : tuple of float
        dNBR x 1000 from which a pixel is unburned, low, moderate-low, moderate-high, high (Key and Benson 2006) [1].
    offset_limit : float
        Largest change of season looked for, dNBR x 1000 [1].
    offset_bin : float
        Width over which dNBR is smoothed to find its modes, x 1000 [1].
    least_mode : float
        Share of the highest density that makes a mode [1].
    least_pixels : int
        Unburnt pixels needed to fit the change of season [1].
    least_vegetation : float
        NBR before the fire of ground that can burn [1].
    least_spread : float
        Least standard deviation of unburnt ground, dNBR x 1000 [1].
    season_half : int
        Half width of the mean taken before the change of season is fitted [pixel].
    slope_limit : float
        Largest part of the change of season that goes with NBR [1].
    burnt_ratio : float
        NBR of ground wholly burnt, which no season changes [1].
    noise : tuple of float
        Standard deviation of reflectance: constant, and share of the reflectance [1].
    filter_half : int
        Half width of the sigma filter, 0 for none [pixel].
    filter_width : float
        Standard deviations of noise by which a neighbor may differ [1].
    filter_rounds : int
        How often the filter is applied [1].
    mapping_unit : int
        Pixels below which a burnt patch is taken for noise [1].
    water_reflectance : tuple of float
        Near and short-wave infrared reflectance below which a pixel is water [1].
    shadow_reflectance : float
        Sum of both below which a pixel is in deep shadow [1].
    phenology : PhenologyParameters or None
        How ripening and harvest are told from fire; None leaves every change to fire.
    shift : ShiftParameters or None
        How a displacement of the dates is found; None takes them as they are.
    bare_brightening : float
        Relative gain of brightness by which harvested or cleared ground is told where that test is wanted [1].
    """

    thresholds: tuple[float, float, float, float, float] = (-100.0, 100.0, 270.0, 440.0, 660.0)
    offset_limit: float = 300.0
    offset_bin: float = 15.0
    least_mode: float = 0.15
    least_pixels: int = 200
    least_vegetation: float = 0.1
    least_spread: float = 5.0
    season_half: int = 2
    slope_limit: float = 0.3
    burnt_ratio: float = -0.3
    noise: tuple[float, float] = (0.003, 0.02)
    filter_half: int = 2
    filter_width: float = 2.5
    filter_rounds: int = 2
    mapping_unit: int = 6
    water_reflectance: tuple[float, float] = (0.1, 0.04)
    shadow_reflectance: float = 0.04
    bare_brightening: float = 0.05
    phenology: burn_phenology.PhenologyParameters | None = field(default_factory=burn_phenology.PhenologyParameters)
    shift: burn_shift.ShiftParameters | None = field(default_factory=burn_shift.ShiftParameters)


class BurnPair(NamedTuple):
    """Reflectance before and after, (y, x) throughout, NaN without data."""

    nir_before: Float32Array
    """Near infrared [1]."""
    swir_before: Float32Array
    """Near 2.2 um [1]."""
    nir_after: Float32Array
    """Near infrared [1]."""
    swir_after: Float32Array
    """Near 2.2 um [1]."""
    excluded: BoolArray | None = None
    """Cloud, shadow or water on either date."""
    red_before: Float32Array | None = None
    """Red [1]."""
    red_after: Float32Array | None = None
    """Red [1]."""
    swir1_before: Float32Array | None = None
    """Near 1.6 um [1]: tells char from dry ground."""
    swir1_after: Float32Array | None = None
    """Near 1.6 um [1]."""
    green_before: Float32Array | None = None
    """Green [1]."""
    green_after: Float32Array | None = None
    """Green [1]."""
    blue_before: Float32Array | None = None
    """Blue [1]."""
    blue_after: Float32Array | None = None
    """Blue [1]."""


class Season(NamedTuple):
    """What changed on ground that did not burn."""

    offset: float
    """dNBR x 1000 of unburnt ground of the central NBR [1]."""
    slope: float
    """Its growth with NBR before the fire [1]."""
    center: float
    """Central NBR before the fire [1]."""
    spread: float
    """Standard deviation of dNBR x 1000 of unburnt ground about that line, noise apart [1]."""
    noise: float
    """Standard deviation of dNBR x 1000 from pixel to pixel [1]."""
    brightening: float
    """Ratio of brightness after to before of unburnt ground [1]."""
    pixels: int
    """Unburnt pixels it was found from, 0 where there were too few and no change of season is taken out [1]."""
    phenology: burn_phenology.Phenology | None = None
    """What unburnt ground did beyond that line, by kind of vegetation."""
    shift: burn_shift.Shift = burn_shift.NONE
    """Displacement of the later date."""


class BurnSeverity(NamedTuple):
    """Severity of a scene, (y, x) throughout."""

    classes: ByteArray
    """1 regrowth, 2 unburned, 3 low, 4 moderate-low, 5 moderate-high, 6 high, 255 no data [1]."""
    probability: Float32Array
    """Probability of the class given [1]."""
    dnbr: Float32Array
    """dNBR x 1000 [1]."""
    sigma: Float32Array
    """Its standard deviation [1]."""
    rbr: Float32Array
    """RBR x 1000 [1]."""
    rdnbr: Float32Array
    """RdNBR, of dNBR x 1000 [1]."""
    other_change: BoolArray
    """Changed like burnt ground and taken for ripening, harvest or clearing (y, x)."""


def halo(parameters: BurnSeverityParameters) -> int:
    """Pixels around a block that its result depends on.

    Parameters
    ----------
    parameters : BurnSeverityParameters
        Choices.

    Returns
    -------
    int
        Halo [pixel].
    """
    around = 0 if parameters.phenology is None else burn_phenology.halo(parameters.phenology)
    moved = 0 if parameters.shift is None else burn_shift.halo(parameters.shift)
    return parameters.filter_half * parameters.filter_rounds + parameters.mapping_unit + 2 + around + moved


def burn_ratio(nir: Float32Array, swir: Float32Array) -> FloatArray:
    """Normalized burn ratio.

    Parameters
    ----------
    nir : Float32Array
        Near infrared reflectance [1].
    swir : Float32Array
        Reflectance near 2.2 um [1].

    Returns
    -------
    FloatArray
        NBR [1], NaN where the sum is not positive.
    """
    near, short = nir.astype(np.float64), swir.astype(np.float64)
    total = near + short
    ratio: FloatArray = np.clip((near - short) / np.where(total > 0.0, total, np.nan), -1.0, 1.0)
    return ratio


def usable(pair: BurnPair, *, parameters: BurnSeverityParameters) -> BoolArray:
    """Pixels whose severity can be told: data on both dates, neither cloud, water nor deep shadow.

    Parameters
    ----------
    pair : BurnPair
        Reflectance [1].
    parameters : BurnSeverityParameters
        Choices.

    Returns
    -------
    BoolArray
        True where it can be told (y, x).
    """
    dark_nir, dark_swir = parameters.water_reflectance
    known = np.ones(pair.nir_before.shape, dtype=bool) if pair.excluded is None else ~pair.excluded
    for nir, swir in ((pair.nir_before, pair.swir_before), (pair.nir_after, pair.swir_after)):
        with np.errstate(invalid="ignore"):
            known &= np.isfinite(nir) & np.isfinite(swir)
            known &= nir + swir > parameters.shadow_reflectance
            known &= ~((nir < dark_nir) & (swir < dark_swir))
    return known


def season(pair: BurnPair, *, parameters: BurnSeverityParameters | None = None) -> Season:
    """What season and sun changed, from vegetation of the scene that did not burn.

    Parameters
    ----------
    pair : BurnPair
        Reflectance of the scene or of a thinned part of it whose neighbors are neighbors [1].
    parameters : BurnSeverityParameters, optional
        Choices.

    Returns
    -------
    Season
        Offset, slope and spread.

    Raises
    ------
    BadInputError
        `no_data` where no pixel is usable on both dates.
    """
    chosen = parameters or BurnSeverityParameters()
    known = usable(pair, parameters=chosen)
    if not known.any():
        raise BadInputError("no_data", "no pixel is usable on both dates: cloud, shadow, water or no data everywhere")
    shift = burn_shift.NONE
    if chosen.shift is not None:
        ratios = (burn_ratio(pair.nir_before, pair.swir_before), burn_ratio(pair.nir_after, pair.swir_after))
        shift = burn_shift.found(ratios[0], ratios[1], known, parameters=chosen.shift)
        pair = _moved(pair, shift)
    line = _scene_line(pair, usable(pair, parameters=chosen), chosen)._replace(shift=shift)
    if chosen.phenology is None or line.pixels == 0:
        return line
    known = usable(pair, parameters=chosen)
    change, _ = _filtered(_change(pair, known, line, chosen).astype(np.float32), line.noise, chosen)
    dates = _dates(pair)
    told = known & _complete(*dates)
    learned = burn_phenology.fit(*dates, change.astype(np.float64) / 1e3, told, parameters=chosen.phenology)
    return line._replace(phenology=learned)


def _moved(pair: BurnPair, shift: burn_shift.Shift) -> BurnPair:
    """The later date brought to where the earlier one is."""
    if not shift.applied:
        return pair
    layers: dict[str, Any] = {
        name: burn_shift.moved(layer, shift)
        for name, layer in pair._asdict().items()
        if name.endswith("_after") and layer is not None
    }
    # The later date loses sharpness by it: the earlier one is made as soft, or edges would look changed.
    layers |= {
        name: burn_shift.softened(layer, shift)
        for name, layer in pair._asdict().items()
        if name.endswith("_before") and layer is not None
    }
    if pair.excluded is not None:
        layers["excluded"] = pair.excluded | burn_shift.moved_mask(pair.excluded, shift)
    return pair._replace(**layers)


def _dates(
    pair: BurnPair, bands: tuple[str, ...] | None = None
) -> tuple[dict[str, Float32Array], dict[str, Float32Array]]:
    """Reflectance before and after by name of band, of the bands given on both dates or of those asked for."""
    before = {"nir": pair.nir_before, "swir2": pair.swir_before}
    after = {"nir": pair.nir_after, "swir2": pair.swir_after}
    for name in HELPFUL:
        earlier, later = getattr(pair, f"{name}_before"), getattr(pair, f"{name}_after")
        if earlier is not None and later is not None and (bands is None or name in bands):
            before[name], after[name] = earlier, later
    return before, after


def _change(pair: BurnPair, known: BoolArray, season: Season, chosen: BurnSeverityParameters) -> FloatArray:
    """Change of the burn ratio x 1000 less the season of the whole scene, NaN where nothing can be told."""
    before = burn_ratio(pair.nir_before, pair.swir_before)
    change = 1e3 * (before - burn_ratio(pair.nir_after, pair.swir_after))
    return np.where(known, _without_season(change, before, season, chosen), np.nan)


def _scene_line(pair: BurnPair, known: BoolArray, chosen: BurnSeverityParameters) -> Season:
    """Change of season of the scene as a whole, a line in NBR."""
    sharp = 1e3 * (burn_ratio(pair.nir_before, pair.swir_before) - burn_ratio(pair.nir_after, pair.swir_after))
    noise = _noise(np.where(known, sharp, np.nan))
    # Noise of the earlier date stands on both axes of the line and would tilt it.
    means: dict[str, Any] = {name: _mean(getattr(pair, name), known, chosen.season_half) for name in _MEASURED}
    pair = pair._replace(**means)
    before = burn_ratio(pair.nir_before, pair.swir_before)
    change = np.where(known, 1e3 * (before - burn_ratio(pair.nir_after, pair.swir_after)), np.nan)
    green = known & (before > chosen.least_vegetation) & (np.abs(change) < chosen.offset_limit)
    if int(green.sum()) < chosen.least_pixels:
        return Season(0.0, 0.0, 0.0, max(noise, 1.0), noise, 1.0, 0)
    offset = _lowest_mode(change[green], max(chosen.offset_bin, noise / 4.0), chosen.least_mode)
    line, unburnt = _line(before, change, green, offset, chosen)
    bright = (pair.nir_after + pair.swir_after)[unburnt] / (pair.nir_before + pair.swir_before)[unburnt]
    return line._replace(noise=noise, brightening=float(np.median(bright)), pixels=int(unburnt.sum()))


def _mean(layer: Float32Array, known: BoolArray, half: int) -> Float32Array:
    """Mean of the usable pixels of a square."""
    side = 2 * half + 1
    total = ndimage.uniform_filter(np.where(known, layer, 0.0).astype(np.float64), side, mode="constant")
    share = ndimage.uniform_filter(known.astype(np.float64), side, mode="constant")
    return np.where(known, total / np.maximum(share, 1e-9), np.nan).astype(np.float32)


def _noise(change: FloatArray) -> float:
    """Standard deviation from pixel to pixel: what second differences in both directions leave (Immerkaer 1996)."""
    if min(change.shape) < 3:
        return 0.0
    second = change[:-2] - 2.0 * change[1:-1] + change[2:]
    both = second[:, :-2] - 2.0 * second[:, 1:-1] + second[:, 2:]
    seen = np.abs(both[np.isfinite(both)])
    return float(1.4826 * np.median(seen) / 6.0) if seen.size else 0.0


def _lowest_mode(values: FloatArray, width: float, least: float) -> float:
    """Lowest value about which the values gather: fire only adds to dNBR."""
    edges = np.arange(values.min() - 4 * width, values.max() + 5 * width, width / 3.0)
    density = ndimage.gaussian_filter1d(np.histogram(values, edges)[0].astype(np.float64), 3.0)
    centers = 0.5 * (edges[1:] + edges[:-1])
    peak = np.flatnonzero((density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])) + 1
    peak = peak[density[peak] >= least * density.max()]
    return float(centers[peak[0]])


def _line(
    before: FloatArray,
    change: FloatArray,
    green: BoolArray,
    offset: float,
    chosen: BurnSeverityParameters,
) -> tuple[Season, BoolArray]:
    """Line of unburnt ground: median and slope, from pixels about the mode, twice."""
    below = change[green & (change < offset)]
    spread = max(1.4826 * float(np.median(offset - below)) if below.size else 0.0, chosen.least_spread)
    center = float(np.median(before[green & (np.abs(change - offset) < 2.0 * spread)]))
    slope = 0.0
    for _ in range(2):
        unburnt = green & (np.abs(change - offset - slope * (before - center)) < 2.0 * spread)
        x, y = before[unburnt] - center, change[unburnt]
        variance = float(np.var(x))
        trend = float(np.mean((x - x.mean()) * (y - y.mean()))) / variance if variance > 1e-4 else 0.0
        slope = float(np.clip(trend, -1e3 * chosen.slope_limit, 1e3 * chosen.slope_limit))
        offset = float(np.median(y - slope * x))
    residual = change[unburnt] - offset - slope * (before[unburnt] - center)
    spread = max(1.4826 * float(np.median(np.abs(residual))) / 0.9, 1.0)
    return Season(offset, slope, center, spread, 0.0, 1.0, 0), unburnt


def classify(
    pair: BurnPair,
    *,
    season: Season,
    seeds: BoolArray | None = None,
    bare_soil_test: bool = False,
    sigmas: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None = None,
    parameters: BurnSeverityParameters | None = None,
) -> BurnSeverity:
    """Severity of every pixel.

    Parameters
    ----------
    pair : BurnPair
        Reflectance [1].
    season : Season
        What changed on ground that did not burn.
    seeds : BoolArray, optional
        Where fires were seen (y, x): a patch that holds one is kept however small.
    bare_soil_test : bool
        Whether ground that became brighter than the rest, as harvested fields do and char does not, is unburned.
    sigmas : tuple of FloatArray, optional
        Standard deviations of the four reflectances in the order of `BurnPair` [1]; else those of the parameters.
    parameters : BurnSeverityParameters, optional
        Choices.

    Returns
    -------
    BurnSeverity
        Classes and measures. A block padded with `halo` pixels gives what the whole scene gives.
    """
    chosen = parameters or BurnSeverityParameters()
    pair = _moved(pair, season.shift)
    known = usable(pair, parameters=chosen)
    before = burn_ratio(pair.nir_before, pair.swir_before)
    change = _change(pair, known, season, chosen)
    single = _propagated(pair, season, sigmas, chosen)
    smooth, count = _filtered(change.astype(np.float32), season.noise, chosen)
    sigma = _sigma(single, count, season)
    plain = smooth
    burnt, drift = _by_fire(pair, plain, known, season, seeds, chosen)
    smooth = _less_drift(plain, before, drift, chosen)
    probabilities = _probabilities(smooth.astype(np.float64), sigma, chosen)
    # What fire did not do is no severity: its share goes to unburned.
    probabilities[UNBURNED - 1] += ((1.0 - burnt) * probabilities[LOW - 1 :]).sum(axis=0)
    probabilities[LOW - 1 :] *= burnt
    classes = (np.argmax(np.nan_to_num(probabilities), axis=0) + 1).astype(np.uint8)
    other = known & (plain >= chosen.thresholds[1]) & (classes < LOW)
    if bare_soil_test:
        classes[_became_bare(pair, season, chosen) & (classes >= LOW)] = UNBURNED
    _drop_specks(classes, seeds, known, chosen.mapping_unit)
    probability = np.take_along_axis(probabilities, (classes[None] - 1).astype(np.int64), axis=0)[0]
    classes[~known] = NO_DATA
    relative = np.sqrt(np.maximum(np.abs(before), 1e-3))
    likely, dnbr, doubt, rbr, rdnbr = (np.where(known, layer, np.nan).astype(np.float32) for layer in (
        probability, smooth, sigma, smooth / (before + 1.001), smooth / relative
    ))  # fmt: skip
    return BurnSeverity(classes, likely, dnbr, doubt, rbr, rdnbr, other)


def _by_fire(
    pair: BurnPair,
    change: Float32Array,
    known: BoolArray,
    season: Season,
    seeds: BoolArray | None,
    chosen: BurnSeverityParameters,
) -> tuple[FloatArray, FloatArray]:
    """Probability that fire changed a pixel, 1 where nothing speaks against it, and the season of its kind x 1000."""
    if season.phenology is None or chosen.phenology is None:
        return np.ones(change.shape), np.zeros(change.shape)
    dates = _dates(pair, season.phenology.bands)
    told = known & _complete(*dates)
    found = burn_phenology.evidence(
        season.phenology, *dates, change.astype(np.float64) / 1e3, told, seen=seeds, parameters=chosen.phenology
    )
    return np.where(told, found.burnt, 1.0), np.where(told, 1e3 * found.drift, 0.0)


def _complete(before: dict[str, Float32Array], after: dict[str, Float32Array]) -> BoolArray:
    """Where every band that helps has data."""
    layers = [*before.values(), *after.values()]
    return np.asarray(np.logical_and.reduce([np.isfinite(layer) for layer in layers]))


def _less_drift(
    change: Float32Array, before: FloatArray, drift: FloatArray, chosen: BurnSeverityParameters
) -> Float32Array:
    """Change less the season of the kind, as much of it as plants are left, and never beyond no change."""
    room = np.maximum(1e3 * (before - chosen.burnt_ratio) - drift, 1.0)
    left = 1.0 - np.clip((change - drift) / room, 0.0, 1.0)
    less = change - drift * left
    rest = np.where(drift > 0.0, np.maximum(less, np.minimum(change, 0.0)), np.minimum(less, np.maximum(change, 0.0)))
    return np.where(before > chosen.least_vegetation, rest, change).astype(np.float32)


def _without_season(
    change: FloatArray, before: FloatArray, season: Season, chosen: BurnSeverityParameters
) -> FloatArray:
    """Change by the fire alone: plants that burnt have no season, so what is taken out goes with the part left."""
    drift = season.offset + season.slope * (before - season.center)
    rest = change - drift
    most = 1e3 * (before - chosen.burnt_ratio)
    can_burn = (before > chosen.least_vegetation) & (rest > 0.0)
    gone = np.where(can_burn, np.clip(rest / np.where(can_burn, most - drift, 1.0), 0.0, 1.0), 0.0)
    alone: FloatArray = rest + drift * gone
    return alone


def _propagated(
    pair: BurnPair,
    season: Season,
    sigmas: tuple[FloatArray, FloatArray, FloatArray, FloatArray] | None,
    chosen: BurnSeverityParameters,
) -> FloatArray:
    """Standard deviation of dNBR x 1000 of a single pixel, first order in the reflectances."""
    layers = (pair.nir_before, pair.swir_before, pair.nir_after, pair.swir_after)
    constant, share = chosen.noise
    doubts = sigmas or [constant + share * np.abs(layer.astype(np.float64)) for layer in layers]
    variance = np.zeros(pair.nir_before.shape, dtype=np.float64)
    for first in (0, 2):
        nir, swir, doubt_nir, doubt_swir = layers[first], layers[first + 1], doubts[first], doubts[first + 1]
        total = np.maximum(nir.astype(np.float64) + swir, 1e-3)
        variance += 4.0 * ((swir * doubt_nir) ** 2 + (nir * doubt_swir) ** 2) / total**4
    return np.maximum(1e3 * np.sqrt(variance), season.noise)


def _filtered(
    change: Float32Array, noise: float, chosen: BurnSeverityParameters
) -> tuple[Float32Array, npt.NDArray[np.int32]]:
    smooth, count = change, np.ones(change.shape, dtype=np.int32)
    width = chosen.filter_width * noise
    for number in range(chosen.filter_rounds if chosen.filter_half > 0 and noise > 0.0 else 0):
        smooth, count = _burn_severity_kernels.sigma_filter(smooth, chosen.filter_half, width / (1.0 + number))
    return smooth, count


def _sigma(single: FloatArray, count: npt.NDArray[np.int32], season: Season) -> FloatArray:
    """Noise that the filter leaves, and what unburnt ground varies by beyond noise."""
    left = single / np.sqrt(np.maximum(count, 1))
    sigma: FloatArray = np.maximum(np.hypot(left, season.spread), 1.0)
    return sigma


def _probabilities(change: FloatArray, sigma: FloatArray, chosen: BurnSeverityParameters) -> FloatArray:
    """Probability of the six classes (class, y, x): the normal distribution between the thresholds."""
    limits = np.array([-np.inf, *chosen.thresholds, np.inf])[:, None, None]
    reached = special.ndtr((limits - change) / sigma)
    return np.diff(reached, axis=0)


def _became_bare(pair: BurnPair, season: Season, chosen: BurnSeverityParameters) -> BoolArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (pair.nir_after + pair.swir_after) / (pair.nir_before + pair.swir_before) / season.brightening
        bare = ratio > 1.0 + chosen.bare_brightening
        if pair.red_before is not None and pair.red_after is not None:
            bare &= pair.red_after > pair.red_before * season.brightening * (1.0 + chosen.bare_brightening)
    # The majority of nine: noise of single pixels makes no field.
    majority: BoolArray = ndimage.median_filter(bare.astype(np.uint8), size=3) > 0
    return majority


def _drop_specks(classes: ByteArray, seeds: BoolArray | None, known: BoolArray, unit: int) -> None:
    """Turn burnt patches below the mapping unit to unburned, in place."""
    label, number = ndimage.label((classes >= LOW) & known, structure=np.ones((3, 3)))
    if not number:
        return
    small = np.bincount(label.ravel(), minlength=number + 1) < unit
    if seeds is not None:
        small[np.unique(label[seeds])] = False
    small[0] = False
    classes[small[label]] = UNBURNED
