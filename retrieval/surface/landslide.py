"""Landslide candidates: fresh bare ground on slopes, told from an image before and one after, ranked for review.

What a slope lost is measured against what the slopes of the same scene did meanwhile: the vegetation index a pixel
should have after is that of the pixels that looked alike before and lie as high, so that season, sun and radiometry
of a whole date make no candidate. The loss is the share of that expected vegetation that is gone (relative dNDVI,
Scheip and Wegmann 2021, HazMapper). Bare ground is bright: a loss in which the ground darkens is a burn scar or a
shadow, one in which the near infrared rises is a cloud or snow.

What happens on gentle ground is no landslide. Changed pixels of slopes that look, before or on both dates, like those
that changed on the scene's gentle ground are as many as such ground leads to expect: harvests, flood deposits and
clouds nobody masked. The share so explained is a local false discovery rate (Efron 2004), and no mask of fields is
needed. A field also differed from its surroundings before; a slide cuts through what grew alike.

Pixels join to objects, and an object is scored by the logistic of its signs (Mondini et al. 2011; Lu et al. 2019):
vegetation lost, brightening, slope, length along the fall line against width, alignment with it, what its surroundings
did, and where there are such, radar change and rain. Clear-cuts, terraced fields and quarries differ in degree only;
a candidate is a place to look at, not a finding.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage, spatial

from processors.imagery import radar_geometry
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int32]
Bands = Mapping[str, Float32Array]

NONE, CANDIDATE, NO_DATA = 0, 1, 255
WEAK, STRONG = 1, 2
REQUIRED = ("red", "nir")
OPTIONAL = ("green", "swir1", "swir2")
_SMALL = 1e-4
_CONNECTED = np.ones((3, 3), dtype=np.bool_)
_NORMAL = 1.4826
_TAIL, _TAIL_SCATTER = 0.01, 2.326
"""Quantile of the lower tail and its distance from the median of a normal distribution in standard deviations."""
_TRUNCATE = 3.0
_DRYNESS = 1
"""Place of swir1 to nir among the looks of a date."""
_LEAST_OF_CLASS = 150
_SAMPLE, _SPREAD, _ASKED = 8000, 0.05, 120
"""Changed pixels kept of gentle and of steep ground, least spread of their logarithms, pixels asked of an object."""


@dataclass(frozen=True, kw_only=True)
class LandslideParameters:
    """Thresholds of pixels and objects, and weights of the score.

    Parameters
    ----------
    soil_index : float
        Vegetation index of bare ground [1].
    seed_loss, grown_loss : float
        Share of the expected vegetation lost in a pixel that begins an object, and in one that joins it [1].
    seed_scatter, grown_scatter : float
        The same as multiples of the scatter of the slopes of the scene [1].
    seed_drop, grown_drop : float
        The same as least drop of the vegetation index [1].
    seed_slope, grown_slope : float
        Least slope of such pixels [degree].
    steepest : float
        Slope beyond which ground is rock wall or error of the height model [degree].
    least_vegetation : float
        Expected vegetation index above bare ground without which nothing can be lost [1].
    darkest : float
        Least logarithm of the change of red against the scene [1].
    slope_scale : float
        Length over which heights are smoothed before slopes are taken [m].
    least_area : float
        Least area of an object [m2].
    ring : int
        Width of the surroundings of an object [pixel].
    mask_margin : int
        Pixels beside masked ones that begin no object [pixel].
    threshold : float
        Score from which an object is a candidate [1].
    index_bins, height_bins : int
        Classes of vegetation index and height in which the scene is judged [1].
    least_pixels : int
        Pixels of slopes without which the scene cannot be judged [1].
    offset : float
        Log-odds of an object without signs [1].
    loss_sign, brightness_sign, slope_sign, ring_sign, infrared_sign : tuple of float
        Value at which the sign is neutral, its unit, and the least and largest log-odds.
    usual_elongation : float
        Logarithm of the elongation that says nothing [1].
    usual_descent : float
        Descent that says nothing [1].
    usual_rectangle : tuple of float
        Rectangularity of small and of large objects that says nothing [1].
    elongation_weight, descent_weight, alignment_weight, rectangle_weight, margin_weight, curvature_weight : float
        Log-odds per unit.
    floodplain : float
        Height above drainage up to which gentle ground is river bed [m].
    largest : float
        Area from which size speaks against a landslide [m2].
    radar_sign, rain_sign : tuple of float
        As `loss_sign`, of radar change [dB] and rain of the event [mm].
    neighbors : int
        Changed pixels alike among which those of gentle ground are counted [1].
    least_ordinary, most_ordinary : float
        Least and largest of `Candidate.ordinary` that are believed [1].
    boundary_sign, dryness_sign : tuple of float
        As `loss_sign`, of the logarithm of `Candidate.earlier_boundary` and of `Candidate.dryness`.
    """

    soil_index: float = 0.12
    seed_loss: float = 0.45
    grown_loss: float = 0.3
    seed_scatter: float = 2.5
    grown_scatter: float = 2.0
    seed_drop: float = 0.12
    grown_drop: float = 0.07
    seed_slope: float = 11.0
    grown_slope: float = 6.0
    steepest: float = 65.0
    least_vegetation: float = 0.12
    darkest: float = 0.1
    slope_scale: float = 20.0
    least_area: float = 900.0
    ring: int = 4
    mask_margin: int = 2
    threshold: float = 0.5
    index_bins: int = 12
    height_bins: int = 4
    least_pixels: int = 400
    offset: float = -1.2
    loss_sign: tuple[float, float, float, float] = (0.6, 0.15, -2.0, 0.7)
    brightness_sign: tuple[float, float, float, float] = (0.2, 0.25, -3.0, 1.5)
    slope_sign: tuple[float, float, float, float] = (17.0, 5.0, -3.0, 1.2)
    ring_sign: tuple[float, float, float, float] = (0.2, -0.1, -3.0, 0.0)
    infrared_sign: tuple[float, float, float, float] = (0.15, -0.15, -4.0, 0.0)
    usual_elongation: float = 0.3
    usual_descent: float = 0.7
    usual_rectangle: tuple[float, float] = (0.78, 0.65)
    elongation_weight: float = 1.4
    descent_weight: float = 3.0
    alignment_weight: float = 0.8
    rectangle_weight: float = 10.0
    margin_weight: float = 2.0
    curvature_weight: float = 0.2
    floodplain: float = 5.0
    largest: float = 3.0e5
    radar_sign: tuple[float, float, float, float] = (1.0, 1.0, -0.5, 1.5)
    rain_sign: tuple[float, float, float, float] = (50.0, 50.0, -1.0, 1.0)
    neighbors: int = 40
    least_ordinary: float = 0.4
    most_ordinary: float = 0.95
    boundary_sign: tuple[float, float, float, float] = (-1.4, -1.0, -1.5, 0.0)
    dryness_sign: tuple[float, float, float, float] = (-0.15, 0.1, -2.0, 0.3)


class Surroundings(NamedTuple):
    """What is known beside the two images; all (y, x) on their grid, None where it is not known.

    Attributes
    ----------
    elevation : Float32Array
        Heights [m].
    hand : Float32Array or None
        Height above the nearest drainage [m].
    masked : BoolArray or None
        Pixels not to be used: cloud, shadow, snow, layover on either date.
    water : BoolArray or None
        Usual water.
    cultivated : BoolArray or None
        Fields.
    radar_change : Float32Array or None
        Radar log-ratio of after to before [dB].
    rain : Float32Array or None
        Rain of the event [mm].
    """

    elevation: Float32Array
    hand: Float32Array | None = None
    masked: BoolArray | None = None
    water: BoolArray | None = None
    cultivated: BoolArray | None = None
    radar_change: Float32Array | None = None
    rain: Float32Array | None = None


class Changes(NamedTuple):
    """Pixels of a scene that became bare, on gentle ground, where nothing slides, and on slopes.

    Attributes
    ----------
    trees : tuple of spatial.cKDTree
        Their looks before, and on both dates, by their units (pixel, look).
    unit : FloatArray
        Spread of every look (look,) [1].
    weights : FloatArray
        Part of its ground, gentle or steep, a pixel stands for (pixel,) [1].
    gentle : int
        The first so many are those of gentle ground [1].
    """

    trees: tuple[spatial.cKDTree, ...]
    unit: FloatArray
    weights: FloatArray
    gentle: int


class Normal(NamedTuple):
    """What the slopes of a scene did between the dates.

    Attributes
    ----------
    heights : FloatArray
        Centers of the classes of height (class,) [m].
    indices : FloatArray
        Centers of the classes of the vegetation index before (class,) [1].
    later : FloatArray
        Usual vegetation index after (height, index) [1].
    scatter : FloatArray
        Its scatter (height, index) [1].
    red, infrared : FloatArray
        Usual logarithm of after to before (height, index) [1].
    pixels : int
        Pixels judged [1].
    changes : Changes or None
        What became bare, None where gentle ground is too small to tell.
    """

    heights: FloatArray
    indices: FloatArray
    later: FloatArray
    scatter: FloatArray
    red: FloatArray
    infrared: FloatArray
    pixels: int
    changes: Changes | None = None


class Evidence(NamedTuple):
    """Signs of every pixel.

    Attributes
    ----------
    level : ByteArray
        0 none, 1 weak, 2 strong, 255 no data (y, x).
    drop : Float32Array
        Vegetation index after less that expected (y, x) [1].
    loss : Float32Array
        Share of the expected vegetation that is gone (y, x) [1].
    red, infrared : Float32Array
        Logarithm of after to before, less that of the scene (y, x) [1].
    slope : Float32Array
        Slope of the smoothed heights (y, x) [degree].
    east, north : Float32Array
        Rise of the smoothed heights (y, x) [1].
    curvature : Float32Array
        Laplacian of the smoothed heights, positive in hollows (y, x) [1/100 m].
    look : Float32Array
        Logarithms of ratios of bands, which light does not change, before and after (look, y, x) [1].
    """

    level: ByteArray
    drop: Float32Array
    loss: Float32Array
    red: Float32Array
    infrared: Float32Array
    slope: Float32Array
    east: Float32Array
    north: Float32Array
    curvature: Float32Array
    look: Float32Array


class Candidate(NamedTuple):
    """Signs of an object.

    Attributes
    ----------
    area_m2 : float
        Area [m2].
    score : float
        Likelihood score, comparable within a scene and between scenes, not a frequency [1].
    mean_dndvi : float
        Mean vegetation index after less that expected [1].
    vegetation_loss : float
        Mean share of the expected vegetation that is gone [1].
    brightening : float
        Mean logarithm of the change of red against the scene [1].
    infrared_change : float
        The same of the near infrared [1].
    slope : float
        Mean slope [degree].
    relief_drop : float
        Height of the highest less that of the lowest pixel [m].
    elongation : float
        Length along the fall line by width [1].
    alignment : float
        Cosine between longest axis and fall line, absolute [1].
    descent : float
        Height it spans by what it would were all its length down the fall line, at most 1 [1].
    rectangularity : float
        Share of the smallest rectangle around it that it fills [1].
    surrounding_loss : float
        Median vegetation loss around it [1].
    masked_share : float
        Share of its surroundings that is not seen [1].
    hand : float
        Median height above drainage [m], NaN where unknown.
    radar_change : float
        Median radar log-ratio, absolute [dB], NaN where unknown.
    rain : float
        Median rain [mm], NaN where unknown.
    ordinary : float
        Share of changes that look alike before and after which the scene's gentle ground leads to expect, where nothing
        slides: harvest, flood deposit, cloud [1]; NaN where unknown.
    earlier_boundary : float
        How far it differed from its surroundings before, squares of the distance by those of the spread [1].
    dryness : float
        Logarithm of swir1 to nir after [1], NaN where unknown.
    """

    area_m2: float
    score: float
    mean_dndvi: float
    vegetation_loss: float
    brightening: float
    infrared_change: float
    slope: float
    relief_drop: float
    elongation: float
    alignment: float
    descent: float
    rectangularity: float
    surrounding_loss: float
    masked_share: float
    hand: float
    radar_change: float
    rain: float
    ordinary: float
    earlier_boundary: float
    dryness: float


class Detection(NamedTuple):
    """Candidates of a scene.

    Attributes
    ----------
    classes : ByteArray
        0 none, 1 candidate, 255 no data (y, x).
    probability : Float32Array
        Score of the object of a pixel, 0 outside objects, NaN without data (y, x) [1].
    labels : LabelArray
        Number of the candidate from 1, 0 elsewhere (y, x); 1 has the highest score.
    candidates : tuple of Candidate
        By falling score.
    rejected : int
        Objects whose score was below the threshold [1].
    normal : Normal
        What the slopes of the scene did.
    """

    classes: ByteArray
    probability: Float32Array
    labels: LabelArray
    candidates: tuple[Candidate, ...]
    rejected: int
    normal: Normal


def detect(
    before: Bands,
    after: Bands,
    *,
    pixel_size: tuple[float, float],
    surroundings: Surroundings,
    parameters: LandslideParameters | None = None,
) -> Detection:
    """Landslide candidates of a scene held in memory.

    Parameters
    ----------
    before, after : mapping of Float32Array
        Reflectance (y, x) [1] by band: red, nir, and green, swir1, swir2 where there are; NaN without data.
    pixel_size : tuple of float
        Height and width of a pixel [m].
    surroundings : Surroundings
        Heights and what else is known.
    parameters : LandslideParameters, optional
        Thresholds and weights.

    Returns
    -------
    Detection
        Map, objects and what the scene did.

    Raises
    ------
    BadInputError
        `no_slopes` where too few pixels of slopes are seen on both dates.
    ValueError
        Where a band is missing or shapes differ.
    """
    chosen = parameters or LandslideParameters()
    _check(before, after, surroundings)
    terrain = relief(surroundings.elevation, pixel_size=pixel_size, parameters=chosen)
    usual = normal(before, after, surroundings, slope=terrain.slope, parameters=chosen)
    signs = evidence(before, after, surroundings, usual, pixel_size=pixel_size, parameters=chosen)
    labels = objects(signs.level, pixel_size=pixel_size, parameters=chosen)
    found = [
        measure(labels, number, window, signs, surroundings, usual=usual, pixel_size=pixel_size, parameters=chosen)
        for number, window in numbered(labels, margin=chosen.ring + 1)
    ]
    return ranked(signs.level, labels, found, normal=usual, parameters=chosen)


def reach(*, pixel_size: tuple[float, float], parameters: LandslideParameters) -> int:
    """Neighbors the evidence of a pixel rests on.

    Parameters
    ----------
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : LandslideParameters
        Scale of slopes.

    Returns
    -------
    int
        Pixels on every side.
    """
    return int(_TRUNCATE * parameters.slope_scale / (2 * min(pixel_size)) + 0.5) + parameters.mask_margin + 3


class Relief(NamedTuple):
    """Terrain at the scale of slopes.

    Attributes
    ----------
    slope : Float32Array
        Slope (y, x) [degree].
    east, north : Float32Array
        Rise (y, x) [1].
    curvature : Float32Array
        Laplacian, positive in hollows (y, x) [1/100 m].
    """

    slope: Float32Array
    east: Float32Array
    north: Float32Array
    curvature: Float32Array


def relief(elevation: Float32Array, *, pixel_size: tuple[float, float], parameters: LandslideParameters) -> Relief:
    """Slope, rise and curvature of heights smoothed to the scale of a slope.

    Parameters
    ----------
    elevation : Float32Array
        Heights (y, x) [m], NaN where unknown.
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : LandslideParameters
        Scale.

    Returns
    -------
    Relief
        NaN where the height is unknown.
    """
    known = np.isfinite(elevation)
    widths = [parameters.slope_scale / (2 * size) for size in pixel_size]
    options = {"sigma": widths, "mode": "constant", "truncate": _TRUNCATE}
    total = ndimage.gaussian_filter(np.where(known, elevation, 0).astype(np.float32), **options)
    weight = ndimage.gaussian_filter(known.astype(np.float32), **options)
    smooth = np.where(known, total / np.maximum(weight, np.float32(_SMALL)), np.float32(np.nan)).astype(np.float32)
    east, north = radar_geometry.slopes(smooth, pixel_size=pixel_size)
    slope = np.degrees(np.arctan(np.hypot(east, north))).astype(np.float32)
    second = np.zeros_like(east)
    if min(elevation.shape) > 1:
        second = np.gradient(east, axis=1) / pixel_size[1] - np.gradient(north, axis=0) / pixel_size[0]
    return Relief(slope, east, north, np.asarray(100 * second, dtype=np.float32))


def normal(
    before: Bands,
    after: Bands,
    surroundings: Surroundings,
    *,
    slope: Float32Array,
    parameters: LandslideParameters,
) -> Normal:
    """What the slopes of a scene, or of a sample of its pixels, did between the dates.

    Parameters
    ----------
    before, after : mapping of Float32Array
        Reflectance of any shape [1] by band.
    surroundings : Surroundings
        Heights and masks of that shape.
    slope : Float32Array
        Slope of that shape [degree].
    parameters : LandslideParameters
        Classes and slopes.

    Returns
    -------
    Normal
        Medians and scatter by height and vegetation index.

    Raises
    ------
    BadInputError
        `no_slopes` where too few pixels of slopes are seen on both dates.
    """
    earlier, later = _index(before), _index(after)
    with np.errstate(invalid="ignore"):
        used = np.isfinite(earlier + later + surroundings.elevation) & (slope >= parameters.grown_slope)
        used &= ~_unusable(before, after, surroundings) & (earlier > 0)
    if int(used.sum()) < parameters.least_pixels:
        raise BadInputError(
            "no_slopes",
            f"{int(used.sum())} pixels of slopes with vegetation are seen on both dates, "
            f"{parameters.least_pixels} are needed to tell what changed from what the season did",
        )
    old, new, height = (layer[used].astype(np.float64) for layer in (earlier, later, surroundings.elevation))
    red, infrared = (_log_ratio(before, after, name)[used].astype(np.float64) for name in REQUIRED)
    heights = np.unique(np.quantile(height, np.linspace(0, 1, parameters.height_bins + 1)[1:-1]))
    edges = np.linspace(0, 1, parameters.index_bins + 1)[1:-1]
    places = np.searchsorted(heights, height), np.searchsorted(edges, old)
    tables = _tables(places, (heights.size + 1, edges.size + 1), np.stack([new - old, red, infrared]))
    centers = np.array([np.median(height[places[0] == k]) for k in range(heights.size + 1)])
    middles = (np.arange(edges.size + 1) + 0.5) / (edges.size + 1)
    usual = Normal(centers, middles, tables[0] + middles, tables[3], tables[1], tables[2], int(used.sum()))
    return usual._replace(changes=_changes(before, after, surroundings, usual, slope=slope, parameters=parameters))


def _changes(
    before: Bands,
    after: Bands,
    surroundings: Surroundings,
    usual: Normal,
    *,
    slope: Float32Array,
    parameters: LandslideParameters,
) -> Changes | None:
    """Looks of what became bare on gentle ground and on slopes, each a part of its ground."""
    drop, loss, _, red, _ = _losses(before, after, surroundings, usual, parameters)
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(drop + slope) & ~_unusable(before, after, surroundings)
        bare = seen & (loss >= parameters.seed_loss) & (-drop >= parameters.seed_drop) & (red >= parameters.darkest)
        grounds = (slope < parameters.grown_slope, slope >= parameters.seed_slope)
    looks = _look(before, after)
    random = np.random.default_rng(0)
    kept, weights = [], []
    for ground in grounds:
        places = np.flatnonzero(bare & ground)
        drawn = random.choice(places, min(_SAMPLE, places.size), replace=False)
        kept.append(looks.reshape(len(looks), -1)[:, drawn].T.astype(np.float64))
        whole = max(int((seen & ground).sum()), 1)
        weights.append(np.full(drawn.size, places.size / max(drawn.size, 1) / whole))
    if (
        min(part.shape[0] for part in kept) < parameters.neighbors
        or (seen & grounds[0]).sum() < parameters.least_pixels
    ):
        return None
    together = np.concatenate(kept)
    unit = np.sqrt(together.var(axis=0) + _SPREAD**2)
    trees = tuple(spatial.cKDTree((together / unit)[:, :count]) for count in (len(looks) // 2, len(looks)))
    return Changes(trees, unit, np.concatenate(weights), len(kept[0]))


def _ordinary(looks: FloatArray, changes: Changes | None, parameters: LandslideParameters) -> float:
    """Share of changes like these that gentle ground leads to expect: the false discoveries among them."""
    if changes is None or not len(looks):
        return float("nan")
    asked = looks[:: 1 + len(looks) // _ASKED] / changes.unit
    shares = []
    for tree in changes.trees:
        _, places = tree.query(asked[:, : tree.m], k=parameters.neighbors)
        weights, gentle = changes.weights[places], places < changes.gentle
        expected, found = (weights * gentle).sum(axis=1), (weights * ~gentle).sum(axis=1)
        shares.append(float(np.mean(expected / np.maximum(expected, np.maximum(found, 1e-12)))))
    # Plants that nobody harvests, or soil that no field shows: one of them is enough.
    return min(shares)


def _look(before: Bands, after: Bands) -> Float32Array:
    """Logarithms of the ratios of neighboring bands, before and after; only such as both dates have."""
    pairs = (("red", "nir"), ("swir1", "nir"), ("swir2", "swir1"), ("green", "red"))
    present = set(before) & set(after)
    floor = np.float32(0.004)
    layers = [
        np.log(np.maximum(bands[one], floor) / np.maximum(bands[other], floor))
        for bands in (before, after)
        for one, other in pairs
        if {one, other} <= present
    ]
    return np.asarray(layers, dtype=np.float32)


def _tables(places: tuple[FloatArray, FloatArray], shape: tuple[int, int], values: FloatArray) -> FloatArray:
    """Medians of the values by class, and the scatter of the first; classes with few pixels take those beside."""
    result = np.full((values.shape[0] + 1, *shape), np.nan)
    for row in range(shape[0]):
        for column in range(shape[1]):
            # Sparse classes borrow from the same vegetation at other heights, then from neighboring vegetation.
            for mask in (
                (places[0] == row) & (places[1] == column),
                places[1] == column,
                np.abs(places[1] - column) <= 1,
                np.ones(places[1].shape, dtype=np.bool_),
            ):
                if int(mask.sum()) >= _LEAST_OF_CLASS or mask.all():
                    break
            part = values[:, mask]
            result[:-1, row, column] = np.median(part, axis=1)
            result[-1, row, column] = _scatter(part[0])
    return result


def _scatter(values: FloatArray) -> float:
    """Scatter by the middle deviation, or by the lower tail where that is closer.

    Two kinds of plants that look alike before and keep another season apart from each other lie far from their common
    median, but none lies far below the lower of them.
    """
    middle, tail = np.median(values), np.quantile(values, _TAIL)
    return float(min(_NORMAL * np.median(np.abs(values - middle)), (middle - tail) / _TAIL_SCATTER))


def evidence(
    before: Bands,
    after: Bands,
    surroundings: Surroundings,
    usual: Normal,
    *,
    pixel_size: tuple[float, float],
    parameters: LandslideParameters,
) -> Evidence:
    """Signs of every pixel of a scene or a part of it.

    Parameters
    ----------
    before, after : mapping of Float32Array
        Reflectance (y, x) [1] by band.
    surroundings : Surroundings
        Heights and masks.
    usual : Normal
        What the slopes of the scene did.
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : LandslideParameters
        Thresholds.

    Returns
    -------
    Evidence
        Level and signs.
    """
    terrain = relief(surroundings.elevation, pixel_size=pixel_size, parameters=parameters)
    drop, loss, scatter, brighter, change = _losses(before, after, surroundings, usual, parameters)
    later = _index(after)
    expected = later - drop
    unusable = _unusable(before, after, surroundings)
    known = np.isfinite(drop) & np.isfinite(terrain.slope)
    with np.errstate(invalid="ignore"):
        open_ground = known & ~unusable & (terrain.slope <= parameters.steepest) & (brighter >= parameters.darkest)
        open_ground &= expected - parameters.soil_index >= parameters.least_vegetation
        weak = open_ground & (loss >= parameters.grown_loss) & (terrain.slope >= parameters.grown_slope)
        weak &= -drop >= np.maximum(parameters.grown_drop, parameters.grown_scatter * scatter)
        # Against the barest neighbor, so that an edge that lies half a pixel elsewhere is no loss.
        barest = _lowest(expected)
        rest = barest - later
        strong = weak & (rest >= parameters.seed_loss * (barest - parameters.soil_index))
        strong &= rest >= np.maximum(parameters.seed_drop, parameters.seed_scatter * scatter)
        strong &= terrain.slope >= parameters.seed_slope
        strong &= ~_beside(surroundings.masked, later.shape, parameters.mask_margin)
    level = np.where(strong, STRONG, np.where(weak, WEAK, NONE)).astype(np.uint8)
    unseen = ~known | (np.zeros_like(known) if surroundings.masked is None else surroundings.masked)
    level[unseen] = NO_DATA
    return Evidence(level, drop, loss, brighter, change, *terrain, _look(before, after))


def objects(level: ByteArray, *, pixel_size: tuple[float, float], parameters: LandslideParameters) -> LabelArray:
    """Objects of weak and strong pixels: joined pixels of the least area, some of them strong.

    Parameters
    ----------
    level : ByteArray
        Levels (y, x).
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : LandslideParameters
        Least area.

    Returns
    -------
    LabelArray
        Numbers from 1 (y, x), 0 elsewhere.
    """
    labels, count = ndimage.label((level == WEAK) | (level == STRONG), structure=_CONNECTED)
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=count + 1)
    strong = np.bincount(flat[level.ravel() == STRONG], minlength=count + 1)
    least = parameters.least_area / (pixel_size[0] * pixel_size[1])
    # Ground sampled every few meters shows the rim of an object as mixed pixels: area counts to a tenth.
    kept = (sizes >= 0.9 * least) & (strong >= np.maximum(1, 0.25 * least))
    kept[0] = False
    renumbered = np.zeros(count + 1, dtype=np.int32)
    renumbered[kept] = np.arange(1, int(kept.sum()) + 1)
    return np.asarray(renumbered[labels])


def numbered(labels: LabelArray, *, margin: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Numbers of the objects and the part of the raster around each.

    Parameters
    ----------
    labels : LabelArray
        Numbers (y, x).
    margin : int
        Pixels around an object [pixel].

    Yields
    ------
    tuple
        Number, and rows and columns.
    """
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        rows, columns = (
            slice(max(part.start - margin, 0), min(part.stop + margin, side))
            for part, side in zip(place, labels.shape, strict=True)
        )
        yield number, (rows, columns)


def measure(
    labels: LabelArray,
    number: int,
    window: tuple[slice, slice],
    signs: Evidence,
    surroundings: Surroundings,
    *,
    usual: Normal,
    pixel_size: tuple[float, float],
    parameters: LandslideParameters,
) -> Candidate:
    """Signs and score of an object.

    Parameters
    ----------
    labels : LabelArray
        Numbers (y, x).
    number : int
        The object.
    window : tuple of slice
        Rows and columns around it.
    signs : Evidence
        Of the same raster.
    surroundings : Surroundings
        Of the same raster.
    usual : Normal
        What the scene did.
    pixel_size : tuple of float
        Height and width of a pixel [m].
    parameters : LandslideParameters
        Weights.

    Returns
    -------
    Candidate
        The object.
    """
    inside = labels[window] == number
    layers: list[Any] = [layer[(..., *window)] for layer in signs]
    part = Evidence(*layers)
    around = ndimage.binary_dilation(inside, _CONNECTED, iterations=parameters.ring) & ~ndimage.binary_dilation(
        inside, _CONNECTED
    )
    unseen = part.level == NO_DATA
    ring = around & ~unseen
    slope = float(part.slope[inside].mean())
    height = surroundings.elevation[window][inside]
    drop = float(height.max() - height.min())
    area = float(inside.sum() * pixel_size[0] * pixel_size[1])
    length = max(drop / max(float(np.tan(np.radians(slope))), 0.05), min(pixel_size))
    fall = np.array([-float(part.north[inside].mean()), float(part.east[inside].mean())])
    ratio, alignment = _axis(inside, fall, pixel_size)
    found = Candidate(
        area_m2=area,
        score=0.0,
        mean_dndvi=float(part.drop[inside].mean()),
        vegetation_loss=float(part.loss[inside].mean()),
        brightening=float(part.red[inside].mean()),
        infrared_change=float(part.infrared[inside].mean()),
        slope=slope,
        relief_drop=drop,
        elongation=length**2 / area,
        alignment=alignment,
        descent=_descent(inside, drop, slope, pixel_size),
        rectangularity=_rectangularity(inside),
        surrounding_loss=float(np.median(part.loss[ring])) if ring.any() else 0.0,
        masked_share=float(unseen[around].mean()) if around.any() else 0.0,
        hand=_typical(surroundings.hand, window, inside),
        radar_change=abs(_typical(surroundings.radar_change, window, inside)),
        rain=_typical(surroundings.rain, window, inside),
        ordinary=_ordinary(part.look[:, inside].T.astype(np.float64), usual.changes, parameters),
        earlier_boundary=_boundary(part.look[: len(part.look) // 2], inside, ring),
        dryness=float(np.median(part.look[_DRYNESS + len(part.look) // 2][inside])) if len(part.look) > 2 else np.nan,
    )
    odds = _log_odds(found, ratio, int(inside.sum()), float(np.nanmean(part.curvature[inside])), parameters)
    return found._replace(score=float(1 / (1 + np.exp(-odds))))


def _log_odds(found: Candidate, ratio: float, pixels: int, curvature: float, of: LandslideParameters) -> float:
    total = of.offset + _sign(found.vegetation_loss, of.loss_sign)
    total += _sign(found.brightening + 0.7 * found.infrared_change, of.brightness_sign)
    total += _sign(found.infrared_change, of.infrared_sign)
    total += _sign(found.slope, of.slope_sign)
    total += _sign(found.surrounding_loss, of.ring_sign)
    # The shape of a few pixels says little.
    shaped = min(1.0, pixels / 25)
    total += shaped * of.elongation_weight * _bounded(np.log(max(found.elongation, 0.1)) - of.usual_elongation, 1.5)
    total += shaped * of.descent_weight * (found.descent - of.usual_descent)
    total += shaped * of.alignment_weight * (2 * found.alignment**2 - 1) * float(np.clip(np.log(ratio), 0, 1.5))
    # An ellipse fills 0.785 of its rectangle; the larger an object, the more its bends and rugged sides show.
    usual = of.usual_rectangle[0] + (of.usual_rectangle[1] - of.usual_rectangle[0]) * min(1.0, pixels / 100)
    total -= shaped * of.rectangle_weight * float(np.clip(found.rectangularity - usual, 0, 0.15))
    total -= of.margin_weight * found.masked_share
    total += of.curvature_weight * float(np.clip(curvature, -1, 1))
    total -= float(np.clip(np.log(found.area_m2 / of.largest), 0, 2))
    if np.isfinite(found.hand) and found.slope < of.slope_sign[0]:
        total -= float(np.clip((of.floodplain - found.hand) / 2, 0, 2.5))
    if np.isfinite(found.ordinary):
        # What happens on slopes only may still be a felling: it does not speak for a landslide.
        ordinary = float(np.clip(found.ordinary, of.least_ordinary, of.most_ordinary))
        total += float(np.log(1 / ordinary - 1))
    total += _sign(float(np.log(found.earlier_boundary + _SMALL)), of.boundary_sign)
    for value, sign in (
        (found.radar_change, of.radar_sign),
        (found.rain, of.rain_sign),
        (found.dryness, of.dryness_sign),
    ):
        total += _sign(value, sign) if np.isfinite(value) else 0.0
    return float(total)


def _sign(value: float, sign: tuple[float, float, float, float]) -> float:
    neutral, unit, least, largest = sign
    return float(np.clip((value - neutral) / unit, least, largest))


def _bounded(value: float, limit: float) -> float:
    return float(np.clip(value, -limit, limit))


def _descent(inside: BoolArray, drop: float, slope: float, pixel_size: tuple[float, float]) -> float:
    """Height spanned by what a strip of this length and slope would span; a road along a slope spans little."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=pixel_size)[1:-1, 1:-1][inside]
    size = float(np.sqrt(pixel_size[0] * pixel_size[1]))
    width = max(2 * float(np.quantile(depth, 0.9)) - size, size)
    area = float(inside.sum()) * size**2
    length = max(area / width, np.sqrt(area))
    return float(min(drop / (length * max(np.tan(np.radians(slope)), 0.05)), 1.0))


def _boundary(looks: Float32Array, inside: BoolArray, ring: BoolArray) -> float:
    """Squared distance of two parts of an image by the sum of their spreads, in the look that parts them most."""
    if not ring.any():
        return 0.0
    one, other = looks[:, inside], looks[:, ring]
    apart = np.square(np.median(one, axis=1) - np.median(other, axis=1))
    return float((apart / (one.var(axis=1) + other.var(axis=1) + _SPREAD**2)).max())


def _typical(layer: Float32Array | None, window: tuple[slice, slice], inside: BoolArray) -> float:
    if layer is None:
        return float("nan")
    values = layer[window][inside]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def _axis(inside: BoolArray, fall: FloatArray, pixel_size: tuple[float, float]) -> tuple[float, float]:
    """Ratio of the axes of an object, and the absolute cosine between the longer and the fall line."""
    places = np.argwhere(inside) * np.asarray(pixel_size)
    spread = np.cov(places.T) + np.diag(np.square(pixel_size)) / 12 if len(places) > 1 else np.eye(2)
    values, vectors = np.linalg.eigh(spread)
    size = float(np.hypot(*fall))
    cosine = abs(float(vectors[:, 1] @ fall)) / size if size > _SMALL else 0.5**0.5
    return float(np.sqrt(values[1] / values[0])), cosine


def _rectangularity(inside: BoolArray) -> float:
    """Share of the smallest rectangle around an object that it fills."""
    rows, columns = np.nonzero(inside)
    corners = np.concatenate([np.column_stack([columns + i, rows + j]) for i in (0, 1) for j in (0, 1)])
    rectangle = shapely.minimum_rotated_rectangle(shapely.multipoints(corners))
    return float(rows.size / rectangle.area)


def ranked(
    level: ByteArray,
    labels: LabelArray,
    found: Sequence[Candidate],
    *,
    normal: Normal,
    parameters: LandslideParameters,
) -> Detection:
    """Map and list of the objects, those below the threshold left out.

    Parameters
    ----------
    level : ByteArray
        Levels (y, x).
    labels : LabelArray
        Numbers of the objects from 1 (y, x).
    found : sequence of Candidate
        The objects by number.
    normal : Normal
        What the slopes of the scene did.
    parameters : LandslideParameters
        Threshold.

    Returns
    -------
    Detection
        Map and list by falling score.
    """
    order = sorted(range(len(found)), key=lambda place: -found[place].score)
    kept = [place for place in order if found[place].score >= parameters.threshold]
    numbers = np.zeros(len(found) + 1, dtype=np.int32)
    numbers[[place + 1 for place in kept]] = np.arange(1, len(kept) + 1)
    scores = np.array([0.0, *(item.score for item in found)], dtype=np.float32)
    renumbered, probability = numbers[labels], scores[labels]
    classes = np.where(renumbered > 0, CANDIDATE, NONE).astype(np.uint8)
    unseen = (level == NO_DATA) & (renumbered == 0)
    classes[unseen], probability[unseen] = NO_DATA, np.nan
    items = tuple(found[place] for place in kept)
    return Detection(classes, probability, renumbered, items, len(found) - len(kept), normal)


def _check(before: Bands, after: Bands, surroundings: Surroundings) -> None:
    shape = surroundings.elevation.shape
    for date, bands in (("before", before), ("after", after)):
        absent = [name for name in REQUIRED if name not in bands]
        if absent:
            raise ValueError(f"the image {date} lacks {', '.join(absent)}")
        wrong = [name for name, layer in bands.items() if layer.shape != shape]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} of the image {date} differ in shape from the heights {shape}")


def _index(bands: Bands) -> Float32Array:
    """Normalized difference vegetation index, NaN where the ground is too dark to have one."""
    red, nir = np.maximum(bands["red"], 0), np.maximum(bands["nir"], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(red + nir > 0.01, (nir - red) / (nir + red), np.nan), dtype=np.float32)


def _log_ratio(before: Bands, after: Bands, name: str) -> Float32Array:
    floor = np.float32(0.004)
    ratio = np.log(np.maximum(after[name], floor)) - np.log(np.maximum(before[name], floor))
    return np.asarray(ratio, dtype=np.float32)


def _losses(
    before: Bands, after: Bands, surroundings: Surroundings, usual: Normal, parameters: LandslideParameters
) -> list[Float32Array]:
    """Drop of the index, its share, the scatter, and what red and near infrared did, against what is usual."""
    expected, scatter, red, infrared = _expected(usual, surroundings.elevation, _index(before))
    drop = _index(after) - expected
    green_above = np.maximum(expected - np.float32(parameters.soil_index), np.float32(parameters.least_vegetation))
    loss = np.clip(-drop / green_above, -1, 1.2)
    return [
        drop,
        loss,
        scatter,
        _log_ratio(before, after, "red") - red,
        _log_ratio(before, after, "nir") - infrared,
    ]


def _expected(usual: Normal, height: Float32Array, index: Float32Array) -> list[Float32Array]:
    """Usual index after, scatter and log-ratios of pixels, linear between the classes."""
    rows = np.interp(height, usual.heights, np.arange(usual.heights.size))
    columns = np.interp(index, usual.indices, np.arange(usual.indices.size))
    place = np.stack([np.nan_to_num(rows), np.nan_to_num(columns)])
    change = usual.later - usual.indices
    layers = [
        ndimage.map_coordinates(table, place, order=1, mode="nearest", output=np.float32)
        for table in (change, usual.scatter, usual.red, usual.infrared)
    ]
    layers[0] = layers[0] + index
    return layers


def _unusable(before: Bands, after: Bands, surroundings: Surroundings) -> BoolArray:
    """Pixels that are masked, water, fields, snow or cloud on either date."""
    bad: BoolArray = np.zeros(surroundings.elevation.shape, dtype=np.bool_)
    for mask in (surroundings.masked, surroundings.water, surroundings.cultivated):
        if mask is not None:
            bad |= mask
    with np.errstate(invalid="ignore", divide="ignore"):
        for bands in (before, after):
            bad |= (_index(bands) < 0) | (bands["red"] > 0.4)
            if "green" in bands and "swir1" in bands:
                green, swir = bands["green"], bands["swir1"]
                bad |= (green > 0.2) & (green - swir > 0.3 * (green + swir))
    return bad


def _lowest(expected: Float32Array) -> Float32Array:
    filled = np.where(np.isfinite(expected), expected, np.float32(np.inf))
    return np.asarray(ndimage.minimum_filter(filled, size=3), dtype=np.float32)


def _beside(masked: BoolArray | None, shape: tuple[int, ...], margin: int) -> BoolArray:
    if masked is None or margin < 1:
        return np.zeros(shape, dtype=np.bool_)
    return np.asarray(ndimage.binary_dilation(masked, _CONNECTED, iterations=margin), dtype=np.bool_)
