"""Predict a fine image at the date of a coarse one from one or two pairs of fine and coarse images of other dates.

The trivial predictions (a fine image persists; two are interpolated; the change of the coarse images is added) are hard
to beat (Emelyanova et al. 2013). All are members of one family, B + S(R): B is a weighted mean of the fine images and R
what the same mean of the coarse images leaves of the coarse target. The weights come from the coarse images (and the
dates where known), and S follows R as far as it is known not to be noise:

* R is explained at coarse scale by the mean spectrum and the shares of spectral classes in each coarse pixel (unmixing,
  Zhukov et al. 1999; FSDAF, Zhu et al. 2016) and by a smooth surface. The variance of each kind of effect is found by
  evidence (`coarse_change.relation`): what the data do not support vanishes. The effects hold for fine pixels too.
* What is left is shrunken with the noise known from the disagreement of fine and coarse images of one date
  (`coarse_change.shrunken`), and interpolated.
* With two pairs, each fine image is predicted from the other pair. That decides how far the parts are trusted and how
  large the uncertainty is.

A pixel that one of two fine images lacks takes it from the other and the coarse change; where the coarse images say
nothing, the mean change of the scene and of the spectrum is all there is, and the pixel is flagged.

The scene is read by blocks, twice: `totals` sums what the fit needs, `predict` makes the image. Neither looks beyond a
pixel, so that blocks may be cut anywhere.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import cluster

from processors.arrays import BoolArray, FloatArray
from processors.imagery import _spatiotemporal_kernels as kernels
from processors.imagery import coarse_lattice, coarse_transition, qa
from processors.imagery.coarse_lattice import Block, Lattice
from processors.quality import BadInputError

Image: TypeAlias = npt.NDArray[np.float32]
Sample: TypeAlias = tuple[Image, Block]

MOST_PAIRS = 2
"""Pairs a prediction starts from at most."""
_BLOCK = 512
_CALIBRATION = (0.7, 3.0)
_SAMPLES = 16
_TRIED_PIXELS = 1 << 18
_SAMPLE_SIZE = 256
_NOISE_CELL = 6
_QUIET = 20.0
_FEWEST_VALUES = 50
_MINOR = 0.03
_HIDDEN = 2.0
_PARTS = ("spectrum", "place")


@dataclass(frozen=True)
class SpatiotemporalParameters:
    """Choices of the spatio-temporal fusion.

    Parameters
    ----------
    transition : coarse_transition.TransitionParameters
        Choices of the fit at coarse scale.
    classes : int
        Spectral classes at most [1].
    cells_per_class : float
        Coarse pixels a class needs [1].
    minimum_coverage : float
        Part of a coarse pixel that usable fine pixels must cover [1].
    trust_spread : float
        Spread of the trust in a part of the change before the leave-one-out trial [1].
    spectral_error : float
        Relative error of a change explained by the spectrum, at most [1].
    edge_error : float
        Error of a change that varies from one coarse pixel to the next [1].
    """

    transition: coarse_transition.TransitionParameters = field(default_factory=coarse_transition.TransitionParameters)
    classes: int = 16
    cells_per_class: float = 4.0
    minimum_coverage: float = 0.5
    trust_spread: float = 0.3
    spectral_error: float = 0.4
    edge_error: float = 1.6


class Classes(NamedTuple):
    """Spectral classes of the fine images of some pairs."""

    pairs: tuple[int, ...]
    mean: FloatArray
    """Mean of every band of every pair (feature)."""
    scale: FloatArray
    """Standard deviation of every band of every pair (feature)."""
    landmarks: Image
    """Standardized class centers (class, feature) [1]."""
    width: float
    """Width of a class in standardized features [1]."""


class Model(NamedTuple):
    """A fitted change and the features it refers to."""

    lattice: Lattice
    classes: Classes
    center: FloatArray
    """Feature means over the coarse pixels (feature)."""
    bands: tuple[coarse_transition.BandModel, ...]


class Trial(NamedTuple):
    """How well one fine image was predicted from the other pair; errors by band."""

    start: int
    """Pair started from."""
    predicted: int
    """Pair whose fine image was predicted."""
    rmse: dict[str, FloatArray]
    """Root mean square error of every candidate."""
    trust: FloatArray
    """Factor that suits the parts of the change best (band, part) [1]."""
    calibration: FloatArray
    """Error at 68 % over the stated uncertainty (band) [1]."""


class Plan(NamedTuple):
    """All that is known before the blocks are predicted."""

    model: Model
    trials: tuple[Trial, ...]
    coarse: FloatArray
    """Coarse images of the pairs (pair, band, coarse row, coarse column)."""
    informed: BoolArray
    """Coarse pixels whose change is known in every band (coarse row, coarse column)."""
    fine_noise: FloatArray
    """One-sigma noise of the fine images (pair, band)."""
    calibration: FloatArray
    """Factor on the uncertainty (band) [1]."""
    likeness: FloatArray
    """Correlation of fine and coarse image of every pair at coarse scale (pair, band) [1]."""
    parameters: SpatiotemporalParameters


class Prediction(NamedTuple):
    """A predicted block."""

    values: Image
    """Fine image at the target date (band, row, column), NaN where nothing is known."""
    sigma: Image
    """One-sigma uncertainty (band, row, column)."""
    qa: npt.NDArray[np.uint16]
    """Quality bits, `qa.QaBit` (row, column)."""
    source: npt.NDArray[np.uint8]
    """Origin of the value, `qa.Source` (row, column)."""
    pair: npt.NDArray[np.uint8]
    """Number, from 1, of the pair that counts most; 0 where there is none (row, column)."""


class Fused(NamedTuple):
    """A predicted image and how it was made."""

    prediction: Prediction
    plan: Plan


def fuse(
    fine: Image,
    coarse: FloatArray,
    target: FloatArray,
    lattice: Lattice,
    *,
    date_weight: float | None = None,
    parameters: SpatiotemporalParameters | None = None,
) -> Fused:
    """Predict the fine image of the target date.

    Parameters
    ----------
    fine : Image
        Fine images (pair, band, row, column) of one or two pairs, NaN where missing.
    coarse : FloatArray
        Coarse images (pair, band, coarse row, coarse column) of the same dates, any unit, that of the fine ones.
    target : FloatArray
        Coarse image (band, coarse row, coarse column) of the target date, any unit.
    lattice : Lattice
        Place of the coarse pixels on the fine grid.
    date_weight : float, optional
        Weight of the second pair in an interpolation in time, where the dates are known [1].
    parameters : SpatiotemporalParameters, optional
        Choices of the method.

    Returns
    -------
    Fused
        The prediction, its uncertainty, flags and origin, and the plan with the scores.

    Raises
    ------
    BadInputError
        `band_mismatch`, `too_many_pairs`, `duplicate_date`, `coarse_finer`, `outside_area`, `all_missing`.
    """
    chosen = parameters or SpatiotemporalParameters()
    shape = fine.shape[2], fine.shape[3]
    check(fine.shape, coarse, target, lattice)
    samples = [(cut(fine, block), block) for block in sample_blocks(shape)]
    blocks = coarse_lattice.blocks(shape, _BLOCK)
    sets = class_sets(samples, cells=int(np.isfinite(target).all(axis=0).sum()), parameters=chosen)
    sums = [sum(totals(cut(fine, block), block, lattice, classes) for block in blocks) for classes in sets]
    plan = prepare(
        samples, sets, [np.asarray(total) for total in sums], coarse, target, lattice,
        date_weight=date_weight, parameters=chosen,
    )  # fmt: skip
    return Fused(predict(fine, Block(0, 0, *shape), plan), plan)


def sample_blocks(shape: tuple[int, int]) -> list[Block]:
    """Some blocks, evenly taken, on which statistics of fine pixels are made.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the fine images.

    Returns
    -------
    list of Block
        At most sixteen, about a million pixels.
    """
    every = coarse_lattice.blocks(shape, _SAMPLE_SIZE)
    return [every[number] for number in np.unique(np.linspace(0, len(every) - 1, _SAMPLES).round().astype(int))]


def cut(image: Image, block: Block) -> Image:
    """The pixels of a block.

    Parameters
    ----------
    image : Image
        Layers (..., row, column).
    block : Block
        The block.

    Returns
    -------
    Image
        A view.
    """
    return image[..., block.top : block.top + block.rows, block.left : block.left + block.columns]


def check(shape: Sequence[int], coarse: FloatArray, target: FloatArray, lattice: Lattice) -> None:
    """Refuse images that do not belong together.

    Parameters
    ----------
    shape : sequence of int
        Pairs, bands, rows and columns of the fine images.
    coarse : FloatArray
        Coarse images (pair, band, coarse row, coarse column), any unit.
    target : FloatArray
        Coarse target (band, coarse row, coarse column), any unit.
    lattice : Lattice
        Place of the coarse pixels.

    Raises
    ------
    BadInputError
        `band_mismatch`, `too_many_pairs`, `coarse_finer`, `outside_area`, `all_missing`.
    """
    pairs, bands, rows, columns = shape
    if len({bands, coarse.shape[1], target.shape[0]}) > 1:
        counts = f"{bands}, {coarse.shape[1]} and {target.shape[0]}"
        raise BadInputError("band_mismatch", f"fine, coarse and target image have {counts} bands")
    if pairs != len(coarse) or not 1 <= pairs <= MOST_PAIRS:
        raise BadInputError(
            "too_many_pairs", f"{pairs} fine and {len(coarse)} coarse images; one or two pairs are used"
        )
    if min(lattice.row_step, lattice.column_step) < coarse_lattice.SMALLEST_RATIO:
        raise BadInputError(
            "coarse_finer", "the pixels of the coarse images are not larger than those of the fine ones"
        )
    inside = coarse_lattice.totals(np.ones((1, rows, columns)), Block(0, 0, rows, columns), lattice)[0] > 0
    if not inside.any():
        raise BadInputError("outside_area", "the coarse images do not lie over the fine ones")
    if not (np.isfinite(target).all(axis=0) & inside).any():
        raise BadInputError("all_missing", "the coarse target has no data over the fine images")
    known = np.asarray(np.isfinite(coarse).all(axis=1) & inside)
    if not np.all(known.any(axis=(1, 2))):
        raise BadInputError("all_missing", "a coarse image of a pair has no data over the fine images")


def class_sets(samples: Sequence[Sample], *, cells: int, parameters: SpatiotemporalParameters) -> tuple[Classes, ...]:
    """Spectral classes for the prediction and, with two pairs, for the trial predictions from either.

    Parameters
    ----------
    samples : sequence of Sample
        Blocks of the fine images.
    cells : int
        Number of usable coarse pixels, which bounds the number of classes [1].
    parameters : SpatiotemporalParameters
        Choices of the method.

    Returns
    -------
    tuple of Classes
        The classes of all pairs, then of each.

    Raises
    ------
    BadInputError
        `all_missing` where a fine image has no data, `duplicate_date` where two are the same.
    """
    pixels = np.concatenate([_thinned(part) for part, _ in samples], axis=2)
    pairs = range(len(pixels))
    seen = np.asarray(np.isfinite(pixels).all(axis=1))
    if not seen.any(axis=1).all():
        raise BadInputError("all_missing", "a fine image has no data")
    common = seen.all(axis=0)
    if len(pixels) > 1 and common.any() and bool((pixels[0][:, common] == pixels[1][:, common]).all()):
        raise BadInputError("duplicate_date", "the two fine images are the same")
    single = [_classify(pixels, (pair,), cells, parameters) for pair in pairs]
    return (single[0],) if len(single) == 1 else (_classify(pixels, tuple(pairs), cells, parameters), *single)


def _thinned(part: Image, most: int = 4096) -> Image:
    step = max(1, round(np.sqrt(part.shape[2] * part.shape[3] / most)))
    return part[:, :, ::step, ::step].reshape(*part.shape[:2], -1)


def _classify(pixels: Image, pairs: tuple[int, ...], cells: int, parameters: SpatiotemporalParameters) -> Classes:
    chosen = pixels[list(pairs)].reshape(-1, pixels.shape[-1]).astype(np.float64)
    known = np.isfinite(chosen)
    mean = np.array([layer[seen].mean() for layer, seen in zip(chosen, known, strict=True)])
    scale = np.array([layer[seen].std() for layer, seen in zip(chosen, known, strict=True)])
    scale = np.where(scale > 0, scale, 1.0)
    standard = ((chosen - mean[:, None]) / scale[:, None])[:, known.all(axis=0)].T
    count = int(np.clip(cells / parameters.cells_per_class, 2, parameters.classes))
    landmarks = _centers(standard, count) if len(standard) else np.zeros((1, len(mean)))
    return Classes(pairs, mean, scale, landmarks.astype(np.float32), _class_width(landmarks))


def _centers(standard: FloatArray, count: int) -> FloatArray:
    distinct = np.unique(standard, axis=0)
    if len(distinct) <= count:
        return distinct
    with warnings.catch_warnings():  # of empty classes, which are left out below
        warnings.simplefilter("ignore", UserWarning)
        centers, label = cluster.vq.kmeans2(standard, _first_centers(standard, count), iter=20, minit="matrix")
    return np.asarray(centers[np.unique(label)])


def _first_centers(standard: FloatArray, count: int) -> FloatArray:
    """Means of equal parts along the main axis, which rounding does not change as it would change single pixels."""
    _, axes = np.linalg.eigh(np.cov(standard, rowvar=False).reshape(standard.shape[1], -1))
    order = np.argsort(standard @ axes[:, -1], kind="stable")
    return np.stack([standard[part].mean(axis=0) for part in np.array_split(order, count)])


def _class_width(landmarks: FloatArray) -> float:
    distance = np.linalg.norm(landmarks[:, None] - landmarks[None], axis=2)
    distance[np.diag_indices(len(distance))] = np.inf
    nearest = distance.min(axis=1)
    return float(max(0.4 * np.median(nearest), 1e-3)) if len(landmarks) > 1 else 1.0


def features(fine: Image, classes: Classes) -> Image:
    """Standardized values and class memberships of fine pixels.

    Parameters
    ----------
    fine : Image
        Fine values (pair, band, row, column).
    classes : Classes
        Standardization and class centers.

    Returns
    -------
    Image
        Features (feature, row, column) [1], NaN where any band is missing.
    """
    chosen = fine[list(classes.pairs)].reshape(len(classes.mean), *fine.shape[2:])
    mean, scale = (layer.astype(np.float32)[:, None, None] for layer in (classes.mean, classes.scale))
    flat = np.ascontiguousarray(((chosen - mean) / scale).reshape(len(chosen), -1).T)
    shares = kernels.memberships(flat, classes.landmarks, classes.width)
    layers = np.concatenate([flat, shares], axis=1).T
    return np.asarray(layers.reshape(len(layers), *fine.shape[2:]))


def totals(fine: Image, block: Block, lattice: Lattice, classes: Classes) -> FloatArray:
    """Sums of fine values, features and usable area of a block over the coarse pixels, and over displaced ones.

    Parameters
    ----------
    fine : Image
        Fine values (pair, band, row, column) of the block.
    block : Block
        Its place.
    lattice : Lattice
        Coarse pixels.
    classes : Classes
        Standardization and class centers.

    Returns
    -------
    FloatArray
        Sums (layer, coarse row, coarse column): bands of all pairs, features, area [fine pixel]; then bands and area
        for each of four displacements of the coarse pixels.
    """
    usable = np.asarray(np.isfinite(fine).all(axis=(0, 1)))
    layers = np.concatenate([fine.reshape(-1, *fine.shape[2:]), features(fine, classes)])
    layers = np.concatenate([np.where(usable, layers, np.float32(0)), usable[None]])
    bands = layers[[*range(fine.shape[0] * fine.shape[1]), -1]]
    moved = [coarse_lattice.displaced(lattice, *step) for step in coarse_transition.DISPLACEMENTS]
    sums = [coarse_lattice.totals(layers, block, lattice)]
    return np.concatenate(sums + [coarse_lattice.totals(bands, block, place) for place in moved])


def prepare(
    samples: Sequence[Sample],
    sets: Sequence[Classes],
    sums: Sequence[FloatArray],
    coarse: FloatArray,
    target: FloatArray,
    lattice: Lattice,
    *,
    date_weight: float | None,
    parameters: SpatiotemporalParameters,
) -> Plan:
    """Fit the change, try it out where two pairs allow it, and state the uncertainty.

    Parameters
    ----------
    samples : sequence of Sample
        Blocks of the fine images on which the trials are made.
    sets : sequence of Classes
        What `class_sets` gave.
    sums : sequence of FloatArray
        For each of them the sum of `totals` over all blocks, any unit.
    coarse, target : FloatArray
        Coarse images (pair, band, coarse row, coarse column) and target (band, coarse row, coarse column), any unit.
    lattice : Lattice
        Coarse pixels.
    date_weight : float, optional
        Weight of the second pair in an interpolation in time [1].
    parameters : SpatiotemporalParameters
        Choices of the method.

    Returns
    -------
    Plan
        Everything `predict` needs.
    """
    shape = len(coarse), target.shape[0]
    means = [
        coarse_transition.averages(total, shape=shape, lattice=lattice, minimum_coverage=parameters.minimum_coverage)
        for total in sums
    ]
    noise = np.median([_fine_noise(part) for part, _ in samples], axis=0)
    fitting = parameters.transition
    fitted = coarse_transition.fit(
        means[0], coarse, target, pairs=sets[0].pairs, date_weight=date_weight, parameters=fitting
    )
    model = Model(lattice, sets[0], *fitted)
    trials = []
    for classes, mean in zip(sets[1:], means[1:], strict=True):
        start = classes.pairs[0]
        goal = 1 - start
        trial = coarse_transition.fit(mean, coarse, coarse[goal], pairs=classes.pairs, parameters=fitting)
        trials.append(_tried(samples, Model(lattice, classes, *trial), goal, coarse, noise, parameters))
    known = np.asarray(np.isfinite(coarse).all(axis=1))
    informed = np.isfinite(target).all(axis=0) & (known.any(axis=0) if len(coarse) > 1 else known[0])
    return Plan(
        _trusted(model, trials),
        tuple(trials),
        coarse,
        np.asarray(informed),
        noise,
        np.sqrt(np.mean([trial.calibration**2 for trial in trials], axis=0)) if trials else np.ones(shape[1]),
        _likeness(means[0], coarse),
        parameters,
    )


def predict(fine: Image, block: Block, plan: Plan) -> Prediction:
    """Predict the fine pixels of a block.

    Parameters
    ----------
    fine : Image
        Fine values (pair, band, row, column) of the block, NaN where missing.
    block : Block
        Its place.
    plan : Plan
        What `prepare` gave.

    Returns
    -------
    Prediction
        Values, uncertainty, quality bits, origin and pair.
    """
    model, lattice = plan.model, plan.model.lattice
    seen = np.asarray(np.isfinite(fine).all(axis=1))
    whole = _completed(fine, seen, block, plan)
    parts = _components(whole, block, model)
    values = parts.base + parts.change
    informed = coarse_lattice.nearest(plan.informed, block, lattice)
    variance = _variance(parts, block, model, plan.parameters, informed)
    noise = _carried_noise(model, plan.fine_noise)
    sigma = np.sqrt(noise[:, None, None] + plan.calibration[:, None, None] ** 2 * variance)
    known = np.asarray(np.isfinite(values).all(axis=0))
    images = [np.where(known, layer, np.nan).astype(np.float32) for layer in (values, sigma)]
    return Prediction(images[0], images[1], *_provenance(seen, known, informed, model))


class _Parts(NamedTuple):
    """What a prediction is the sum of (band, row, column)."""

    base: FloatArray
    """Weighted mean of the fine images."""
    level: FloatArray
    """Mean change (band, 1, 1)."""
    spectral: FloatArray
    """Change by spectrum."""
    spatial: FloatArray
    """Change by place."""
    doubt: FloatArray
    """Variance of the weighted mean and of the change by spectrum, of their coefficients."""

    @property
    def change(self) -> FloatArray:
        """All that is added to the weighted mean."""
        return self.level + self.spectral + self.spatial


def _components(fine: Image, block: Block, model: Model) -> _Parts:
    """The parts of the prediction of a block."""
    used = list(model.classes.pairs)
    weights = np.array([band.weights for band in model.bands])
    base = np.einsum("bp,pbyx->byx", weights, fine[used].astype(np.float64))
    layers = features(fine, model.classes) - model.center[:, None, None].astype(np.float32)
    effects = np.stack([band.effects for band in model.bands])
    spectral = _combined(effects, layers)
    nodes = coarse_lattice.prepared(np.stack([band.field for band in model.bands]))
    doubt = np.stack([np.square(_combined(_roots(band.covariance), layers)).sum(axis=0) for band in model.bands])
    if len(used) > 1:
        error = np.array([band.weight_error for band in model.bands])[:, None, None]
        doubt += np.square(error * (fine[used[1]] - fine[used[0]]))
    level = np.array([band.level for band in model.bands])[:, None, None]
    return _Parts(base, level, spectral, coarse_lattice.interpolated(nodes, block, model.lattice), doubt)


def _combined(effects: FloatArray, layers: Image) -> FloatArray:
    """Sums of effects times features (combination, row, column)."""
    flat = np.ascontiguousarray(layers.reshape(len(layers), -1))
    return kernels.combinations(flat, effects.astype(np.float32)).reshape(-1, *layers.shape[1:]).astype(np.float64)


def _roots(covariance: FloatArray) -> FloatArray:
    """Main axes of a covariance, as long as its standard deviations (axis, effect)."""
    size, axes = np.linalg.eigh(covariance)
    kept = size > _MINOR * max(float(size.sum()), 0.0)
    return np.asarray((axes[:, kept] * np.sqrt(size[kept])).T)


def _completed(fine: Image, seen: BoolArray, block: Block, plan: Plan) -> Image:
    """Pixels that one of two images lacks, from the other one and the change of the coarse images."""
    if len(fine) == 1 or not (seen.any(axis=0) & ~seen.all(axis=0)).any():
        return fine
    gain = np.array([band.gain for band in plan.model.bands])[:, None, None]
    change = gain * (plan.coarse[1] - plan.coarse[0])
    known = np.isfinite(change).all(axis=0)
    smooth = coarse_lattice.smoothed(np.where(known, change, 0.0), known, width=1.0)
    moved = coarse_lattice.interpolated(np.where(known, change, smooth), block, plan.model.lattice).astype(np.float32)
    first = np.where(seen[0], fine[0], fine[1] - moved)
    second = np.where(seen[1], fine[1], fine[0] + moved)
    return np.stack([first, second])


def _carried_noise(model: Model, noise: FloatArray) -> FloatArray:
    """Variance of the noise of the fine images in their weighted mean (band)."""
    used = list(model.classes.pairs)
    weights = np.array([band.weights for band in model.bands])
    return np.asarray(np.square(weights * noise[used].T).sum(axis=1))


def _variance(
    parts: _Parts, block: Block, model: Model, parameters: SpatiotemporalParameters, informed: BoolArray
) -> FloatArray:
    """Variance of the prediction (band, row, column) apart from the noise of the fine images, before calibration."""
    bands = model.bands
    rough = coarse_lattice.interpolated(np.stack([band.roughness for band in bands]), block, model.lattice)
    typical = np.array([_typical(band, model.classes) for band in bands])
    fixed = np.array([band.field_variance + band.disagreement**2 for band in bands])
    gain_error = np.array([band.gain_error for band in bands])[:, None, None]
    share = np.array([min(_HIDDEN * band.scatter, parameters.spectral_error**2) for band in bands])[:, None, None]
    spectral = 0.5 * share * (np.square(parts.spectral) + typical[:, None, None] ** 2)
    variance = fixed[:, None, None] + spectral + np.square(parameters.edge_error * rough) + parts.doubt
    variance = variance + np.square(gain_error * parts.change)
    unknown = np.array([band.level**2 + float(np.square(band.field).mean()) for band in bands])
    return np.asarray(np.where(informed, variance, variance + unknown[:, None, None] + typical[:, None, None] ** 2))


def _typical(band: coarse_transition.BandModel, classes: Classes) -> float:
    """Size of the change by spectrum at the class centers."""
    shares = kernels.memberships(classes.landmarks, classes.landmarks, classes.width)
    change = np.concatenate([classes.landmarks, shares], axis=1) @ band.effects
    return float(np.std(change))


def _provenance(
    seen: BoolArray, known: BoolArray, informed: BoolArray, model: Model
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    bits = np.where(known, np.uint16(qa.QaBit.FILLED), np.uint16(qa.QaBit.NODATA | qa.QaBit.INSUFFICIENT))
    bits |= np.where(known & ~informed, np.uint16(qa.QaBit.EXTRAPOLATED), np.uint16(0))
    both = seen.all(axis=0) & (len(seen) > 1)
    blind = np.where(both, np.uint8(qa.Source.TEMPORAL_INTERPOLATION), np.uint8(qa.Source.NEAREST_DATE))
    source = np.where(informed, np.uint8(qa.Source.TEMPORAL_REGRESSION), blind)
    weights = np.mean([band.weights for band in model.bands], axis=0)
    counted = np.where(seen, weights[:, None, None] + 1e-9, 0.0)
    pair = np.argmax(counted, axis=0).astype(np.uint8) + np.uint8(1)
    return bits, np.where(known, source, np.uint8(qa.Source.NONE)), np.where(known, pair, np.uint8(0))


def _tried(
    samples: Sequence[Sample],
    model: Model,
    goal: int,
    coarse: FloatArray,
    noise: FloatArray,
    parameters: SpatiotemporalParameters,
) -> Trial:
    """Scores of predicting the fine image of one pair from the other."""
    start = model.classes.pairs[0]
    difference = np.nan_to_num(coarse[goal] - coarse[start])
    pixels = sum(block.rows * block.columns for _, block in samples)
    step = slice(None, None, math.ceil(math.sqrt(pixels / _TRIED_PIXELS)))
    collected: list[list[FloatArray]] = []
    for part, block in samples:
        usable = np.asarray(np.isfinite(part).all(axis=(0, 1)))
        made = _components(part, block, model)
        delta = coarse_lattice.interpolated(difference, block, model.lattice)
        everywhere = np.ones_like(usable)
        variance = _variance(made, block, model, parameters, everywhere)
        wanted = (part[goal] - part[start]).astype(np.float64)
        kept = usable[step, step]
        collected.append(
            [layer[:, step, step][:, kept] for layer in (wanted, delta, made.spectral, made.spatial, variance)]
        )
    wanted, delta, spectral, spatial, variance = (np.concatenate(item, axis=1) for item in zip(*collected, strict=True))
    level = np.array([band.level for band in model.bands])[:, None]
    trust = np.array(
        [_trust(wanted[n], spectral[n], spatial[n], model.lattice, parameters.trust_spread) for n in range(len(wanted))]
    )
    fused = level + trust[:, :1] * spectral + trust[:, 1:] * spatial
    candidates = {
        "persistence": np.zeros_like(wanted),
        "coarse_delta": delta,
        "mean_change": np.broadcast_to(level, wanted.shape),
        "spectral": level + spectral,
        "fused": fused,
    }
    rmse = {name: _rms(change - wanted) for name, change in candidates.items()}
    known = _carried_noise(model, noise) + noise[goal] ** 2
    return Trial(start, goal, rmse, trust, _calibration(np.square(fused - wanted) - known[:, None], variance))


def _rms(errors: FloatArray) -> FloatArray:
    return np.sqrt(np.square(errors).mean(axis=1)) if errors.shape[1] else np.full(len(errors), np.nan)


def _calibration(squares: FloatArray, variance: FloatArray) -> FloatArray:
    """Factor that would put 68 % of the errors, their squares less the noise, within the uncertainty."""
    if squares.shape[1] < 100:
        return np.ones(len(squares))
    ratio = np.quantile(squares / np.maximum(variance, np.finfo(np.float32).tiny), 0.683, axis=1)
    return np.clip(np.sqrt(np.maximum(ratio, 0.0)), *_CALIBRATION)


def _trust(
    wanted: FloatArray, spectral: FloatArray, spatial: FloatArray, lattice: Lattice, spread: float
) -> FloatArray:
    """Factors on the two parts of the change, shrunken to one; every coarse pixel counts as one observation."""
    if wanted.size < 100:
        return np.ones(len(_PARTS))
    parts = np.stack([spectral, spatial])
    parts = parts - parts.mean(axis=1, keepdims=True)
    rest = wanted - wanted.mean() - parts.sum(axis=0)
    each = 1.0 / (lattice.row_step * lattice.column_step)
    variance = max(float(rest.var()), np.finfo(float).tiny)
    gram = each * parts @ parts.T / variance + np.eye(len(_PARTS)) / spread**2
    return np.clip(1.0 + np.linalg.solve(gram, each * parts @ rest / variance), 0.0, 1.5)


def _trusted(model: Model, trials: Sequence[Trial]) -> Model:
    """The model with the parts of its change scaled by the trust the trials left."""
    if not trials:
        return model
    trust = np.mean([trial.trust for trial in trials], axis=0)
    bands = [
        band._replace(effects=band.effects * by[0], field=band.field * by[1], roughness=band.roughness * by[1])
        for band, by in zip(model.bands, trust, strict=True)
    ]
    return model._replace(bands=tuple(bands))


def _fine_noise(part: Image) -> FloatArray:
    """Noise of the fine images where they are quiet (pair, band).

    The mask of Immerkaer (1996) on small cells, less what the other bands and dates explain of it: texture is common
    to them, noise is not (Roger and Arnold 1996).
    """
    rows, columns = ((size - 2) // _NOISE_CELL * _NOISE_CELL for size in part.shape[2:])
    if min(rows, columns) < _NOISE_CELL:
        return np.zeros(part.shape[:2])
    bend = part[:, :, :-2] - 2 * part[:, :, 1:-1] + part[:, :, 2:]
    bend = bend[..., :-2] - 2 * bend[..., 1:-1] + bend[..., 2:]
    cells = bend[:, :, :rows, :columns].reshape(*part.shape[:2], rows // _NOISE_CELL, _NOISE_CELL, -1, _NOISE_CELL)
    values = cells.astype(np.float64).swapaxes(3, 4).reshape(part.shape[0] * part.shape[1], -1, _NOISE_CELL**2) / 6.0
    values = values[:, np.isfinite(values).all(axis=(0, 2))]
    if not values.size:
        return np.zeros(part.shape[:2])
    power = np.square(_own(values)).mean(axis=2)
    return np.asarray(np.sqrt(np.percentile(power, _QUIET, axis=1)).reshape(part.shape[:2]))


def _own(values: FloatArray) -> FloatArray:
    """What of every channel the others do not explain, fitted where all are quiet (channel, cell, value)."""
    power = np.square(values).mean(axis=2)
    size = power.mean(axis=1, keepdims=True)
    if len(values) == 1 or values[0].size < _FEWEST_VALUES * len(values) or not size.all():
        return values
    total = (power / size).sum(axis=0)
    quiet = values[:, total <= np.median(total)].reshape(len(values), -1)
    covariance = quiet @ quiet.T / quiet.shape[1]
    scale = np.sqrt(np.diag(covariance))
    if not scale.all():
        return values
    inverse = np.linalg.inv(covariance / np.outer(scale, scale) + 1e-6 * np.eye(len(values))) / np.outer(scale, scale)
    return np.asarray(np.tensordot(inverse / np.diag(inverse)[:, None], values, axes=1))


def _likeness(mean: coarse_transition.Averages, coarse: FloatArray) -> FloatArray:
    """Correlation of fine and coarse images (pair, band), NaN where it cannot be known."""
    likeness = np.full(coarse.shape[:2], np.nan)
    for pair, band in np.ndindex(*likeness.shape):
        usable = mean.covered & np.isfinite(coarse[pair, band])
        x, y = mean.fine[pair, band][usable], coarse[pair, band][usable]
        if x.size > 2 and x.std() > 0 and y.std() > 0:
            likeness[pair, band] = np.corrcoef(x, y)[0, 1]
    return likeness
