"""One trial of the sharpening methods a scale lower, where the bands themselves are the truth (Wald et al. 1997).

The inputs are degraded by the ratio of their grids, every part a recipe can mix is made from them, and the equations
of least squares between the parts and the true bands are summed, separately for two interleaved halves of the pixels:
what one half teaches is judged on the other.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, FloatArray
from processors.imagery import _sharpening_kernels as kernels
from processors.imagery import sharpening_grid, sharpening_planes
from processors.imagery.sharpening_grid import Geometry
from processors.imagery.sharpening_planes import GAIN_PARTS, LEVELS, Coarse, Recipe
from processors.quality import BadInputError

Plane = npt.NDArray[np.float32]

FOLDS = 2
CELLS = 8
"""Interleaved cells along each side of a trial [1]."""
LIMIT_FACTOR = 4.0
"""Largest gain of the surroundings, relative to what the whole scene's spreads give [1]."""
FLOOR_PART = 0.05
"""Smallest P_L divided by, relative to its mean magnitude [1]."""
STIFFNESS_PART = 0.1
"""Weight of the scene's gain, relative to the median local variance of P_L [1]."""
TINY = 1e-12
QUIET_BLOCK = 8
"""Side of the blocks in which noise is looked for [pixel]."""
QUIET_PART = 0.2
"""Part of the quieter half of the blocks that is quieter than what is taken for noise [1]."""
QUIET_MINIMUM = 8
"""Blocks below which no noise is looked for [1]."""
SECOND_DIFFERENCE = 6.0
"""Standard deviation of the second differences along both axes, of white noise of one [1]."""


class Sample(NamedTuple):
    """A part of a scene, as rasters of their own."""

    ms: Plane
    """Multispectral bands (band, y, x), NaN where missing."""
    pan: Plane
    """Panchromatic image (y, x), NaN where missing."""
    geometry: Geometry
    """Relation of both."""


class Relation(NamedTuple):
    """How bands and P_L are related over all samples of one scale."""

    ms_center: tuple[float, ...]
    """Mean of each band."""
    pan_center: float
    """Mean of P_L."""
    weights: FloatArray
    """Coefficients of the bands, then the constant, that explain P_L by least squares."""
    additive_gain: FloatArray
    """Gain of each band over P_L by regression."""
    component_gain: FloatArray
    """Gain of each band over the part of P_L that the bands explain."""
    stiffness: float
    """Weight of the scene's gain against the surroundings."""
    ratio_limit: FloatArray
    """Largest gain of the surroundings of each band."""
    floor: float
    """Smallest P_L divided by."""


class Parts(NamedTuple):
    """Everything a recipe can add to the interpolated bands, on the fine grid of a trial."""

    interpolated: Plane
    """Bands (band, y, x)."""
    shared: Plane
    """Parts that are the same for all bands (part, y, x)."""
    own: Plane
    """Parts of each band (band, part, y, x)."""
    truth: Plane
    """True bands (band, y, x), NaN where not usable."""
    folds: npt.NDArray[np.int8]
    """Half each pixel belongs to (y, x), -1 where not usable."""
    coarse: Coarse
    """Planes on the degraded grid."""
    geometry: Geometry
    """Relation of the degraded inputs."""

    @property
    def usable(self) -> BoolArray:
        """Pixels that count (y, x)."""
        return self.folds >= 0


class Equations(NamedTuple):
    """Normal equations of each half and band."""

    normal: FloatArray
    """Products of the parts (fold, band, part, part), sums."""
    right: FloatArray
    """Products of the parts with what is missing to the truth (fold, band, part), sums."""
    pixels: FloatArray
    """Pixels of each half [1]."""


def noise_levels(ms: list[Plane], low: list[Plane]) -> FloatArray:
    """Standard deviation of the noise of each band, at most what its smoothest places show.

    The bands' second differences across both axes (Immerkaer 1996, doi:10.1006/cviu.1996.0060) are predicted from those
    of the other bands and of P_L; what is left in the quiet blocks is noise, or less than this is.

    Parameters
    ----------
    ms : list
        Bands of each sample (band, y, x), NaN where missing.
    low : list
        P_L of each sample (y, x), NaN where missing.

    Returns
    -------
    array
        Standard deviations (band).
    """
    planes = [
        _blocked(_differences(np.concatenate([a, b[None]]).astype(np.float64))) for a, b in zip(ms, low, strict=True)
    ]
    blocks = np.concatenate(planes)
    blocks = blocks[np.isfinite(blocks).all(axis=(1, 2))]
    bands = ms[0].shape[0]
    if len(blocks) < QUIET_MINIMUM:
        return np.zeros(bands)
    result = np.zeros(bands)
    for band in range(bands):
        energy = np.mean(blocks[:, band] ** 2, axis=1)
        quiet = blocks[energy <= np.quantile(energy, 0.5)]
        others = np.delete(np.arange(bands + 1), band)
        x, y = quiet[:, others].transpose(1, 0, 2).reshape(bands, -1), quiet[:, band].ravel()
        scale = np.sqrt(np.mean(x * x, axis=1)) + TINY
        matrix = (x / scale[:, None]) @ (x / scale[:, None]).T / y.size + 1e-6 * np.eye(bands)
        rest = y - np.linalg.solve(matrix, (x / scale[:, None]) @ y / y.size) @ (x / scale[:, None])
        variances = np.mean(rest.reshape(len(quiet), -1) ** 2, axis=1)
        result[band] = math.sqrt(float(np.quantile(variances, QUIET_PART))) / SECOND_DIFFERENCE
    return result


def pan_noise_level(pan: list[Plane]) -> float:
    """Standard deviation of the noise of the panchromatic image, at most what its smoothest places show.

    Parameters
    ----------
    pan : list
        Panchromatic image of each sample (y, x), NaN where missing.

    Returns
    -------
    float
        Standard deviation.
    """
    blocks = np.concatenate([_blocked(_differences(plane[None].astype(np.float64))) for plane in pan])
    blocks = blocks[np.isfinite(blocks).all(axis=(1, 2))]
    if len(blocks) < QUIET_MINIMUM:
        return 0.0
    return math.sqrt(float(np.quantile(np.mean(blocks**2, axis=(1, 2)), QUIET_PART / 2.0))) / SECOND_DIFFERENCE


def _differences(planes: FloatArray) -> FloatArray:
    """Second differences along both axes (plane, y, x)."""
    return np.diff(np.diff(planes, n=2, axis=1), n=2, axis=2)


def _blocked(planes: FloatArray) -> FloatArray:
    """Blocks (block, plane, pixel)."""
    count, rows, columns = planes.shape
    down, across = rows // QUIET_BLOCK, columns // QUIET_BLOCK
    cut = planes[:, : down * QUIET_BLOCK, : across * QUIET_BLOCK].reshape(count, down, QUIET_BLOCK, across, QUIET_BLOCK)
    return cut.transpose(1, 3, 0, 2, 4).reshape(down * across, count, QUIET_BLOCK**2)


def part_names(bands: int) -> list[str]:
    """Names of the parts in their order.

    Parameters
    ----------
    bands : int
        Bands [1].

    Returns
    -------
    list of str
        Names.
    """
    planes = [*(f"band {k + 1}" for k in range(bands)), "panchromatic"]
    passes = [f"{plane} pass {level}" for plane in planes for level in range(1, LEVELS)]
    return ["detail", "unexplained", *passes, "detail by surroundings", "detail by modulation"]


def pass_matrix(relation: Relation) -> tuple[FloatArray, FloatArray]:
    """Shared planes on the multispectral grid as combinations of the levels: "unexplained" and the band passes.

    Parameters
    ----------
    relation : Relation
        Coefficients that explain P_L.

    Returns
    -------
    tuple
        Matrix (part, plane level) and constants (part).
    """
    planes = len(relation.ms_center) + 1
    matrix = np.zeros((1 + planes * (LEVELS - 1), planes * LEVELS))
    constants = np.zeros(matrix.shape[0])
    for plane in range(planes):
        matrix[0, plane * LEVELS] = 1.0 if plane == planes - 1 else -relation.weights[plane]
        for level in range(1, LEVELS):
            row = 1 + plane * (LEVELS - 1) + level - 1
            matrix[row, plane * LEVELS + level - 1] = 1.0
            matrix[row, plane * LEVELS + level] = -1.0
    constants[0] = -relation.weights[-1]
    return matrix, constants


def relation_of(ms: list[Plane], low: list[Plane]) -> Relation:
    """How bands and P_L are related.

    Parameters
    ----------
    ms : list
        Bands of each sample (band, y, x).
    low : list
        P_L of each sample (y, x).

    Returns
    -------
    Relation
        Means, weights and gains.

    Raises
    ------
    BadInputError
        `no_data` where no pixel is seen by all of them.
    """
    seen = [np.isfinite(a).all(axis=0) & np.isfinite(b) for a, b in zip(ms, low, strict=True)]
    if not any(here.any() for here in seen):
        raise BadInputError("no_data", "no pixel is seen by all multispectral bands and the panchromatic image")
    bands = np.concatenate([a[:, s] for a, s in zip(ms, seen, strict=True)], axis=1).astype(np.float64)
    pan = np.concatenate([b[s] for b, s in zip(low, seen, strict=True)]).astype(np.float64)
    centers, center = bands.mean(axis=1), float(pan.mean())
    x, y = bands - centers[:, None], pan - center
    covariance = x @ x.T / y.size
    scale = np.sqrt(np.maximum(np.diag(covariance), TINY))
    normalized = covariance / np.outer(scale, scale) + 1e-6 * np.eye(scale.size)
    weights = np.linalg.solve(normalized, x @ y / y.size / scale) / scale
    component = weights @ x
    additive = x @ y / max(float(y @ y), TINY)
    spread = np.sqrt(np.mean(x * x, axis=1) / max(float(np.mean(y * y)), TINY))
    return Relation(
        tuple(float(v) for v in centers),
        center,
        np.append(weights, center - weights @ centers),
        additive,
        x @ component / max(float(component @ component), TINY),
        STIFFNESS_PART * _local_variance(low, center),
        LIMIT_FACTOR * np.maximum(spread, np.abs(centers) / max(abs(center), TINY)),
        max(FLOOR_PART * float(np.mean(np.abs(pan))), TINY),
    )


def _local_variance(low: list[Plane], center: float) -> float:
    medians = []
    for plane in low:
        filled = np.where(np.isfinite(plane), plane - np.float32(center), np.float32(0.0))
        mean = sharpening_planes.smoothed(filled)
        medians.append(float(np.median(sharpening_planes.smoothed(filled * filled) - mean * mean)))
    return max(float(np.mean(medians)), TINY)


def bare_recipe(relation: Relation, blur: tuple[float, float]) -> Recipe:
    """Recipe of interpolation, with the limits and priors of the relation.

    Parameters
    ----------
    relation : Relation
        How bands and P_L are related.
    blur : tuple
        Standard deviation of the point spread function along rows and columns [panchromatic pixel].

    Returns
    -------
    Recipe
        The recipe; nothing is injected.
    """
    bands = len(relation.ms_center)
    linear = np.zeros((bands, (bands + 1) * LEVELS), dtype=np.float32)
    for band in range(bands):
        linear[band, band * LEVELS] = 1.0
    limits = tuple(float(v) for v in relation.ratio_limit)
    return Recipe(
        blur,
        relation.pan_center,
        relation.ms_center,
        linear,
        np.zeros(bands, dtype=np.float32),
        np.zeros((bands, GAIN_PARTS), dtype=np.float32),
        tuple(float(v) for v in relation.additive_gain),
        relation.stiffness,
        limits,
        relation.floor,
        limits,
        np.zeros((bands, sharpening_planes.SIGMA_PARTS), dtype=np.float32),
    )


def recipe_of(relation: Relation, blur: tuple[float, float], coefficients: FloatArray) -> Recipe:
    """Recipe that adds the parts with given coefficients.

    Parameters
    ----------
    relation : Relation
        How bands and P_L are related.
    blur : tuple
        Standard deviation of the point spread function along rows and columns [panchromatic pixel].
    coefficients : array
        Coefficients (band, part) [1].

    Returns
    -------
    Recipe
        The recipe, without its standard deviation.
    """
    bare = bare_recipe(relation, blur)
    matrix, constants = pass_matrix(relation)
    passes = coefficients[:, 1 : 1 + matrix.shape[0]]
    gains = coefficients[:, [0, -2, -1]]
    return bare._replace(
        linear=(bare.linear + passes @ matrix).astype(np.float32),
        constants=(passes @ constants).astype(np.float32),
        gains=gains.astype(np.float32),
    )


def textbook(relation: Relation) -> Mapping[str, FloatArray]:
    """Coefficients (band, part) of the known methods.

    Parameters
    ----------
    relation : Relation
        How bands and P_L are related.

    Returns
    -------
    mapping
        Interpolation, GSA (Aiazzi et al. 2007), MTF-GLP-CBD over the whole scene and over the surroundings (Aiazzi et
        al. 2006), MTF-GLP-HPM.
    """
    bands = len(relation.ms_center)
    parts = len(part_names(bands))
    result = {}
    for name, entries in (
        ("interpolation", {}),
        ("gsa", {0: relation.component_gain, 1: relation.component_gain}),
        ("mtf_glp_cbd", {0: relation.additive_gain}),
        ("mtf_glp_cbd_local", {parts - 2: np.ones(bands)}),
        ("mtf_glp_hpm", {parts - 1: np.ones(bands)}),
    ):
        coefficients = np.zeros((bands, parts))
        for index, values in entries.items():
            coefficients[:, index] = values
        result[name] = coefficients
    return result


def fold_numbers(shape: tuple[int, int], usable: BoolArray) -> npt.NDArray[np.int8]:
    """Half each pixel belongs to, as on a chessboard of large cells.

    Parameters
    ----------
    shape : tuple
        Rows and columns.
    usable : array
        Pixels that count (y, x).

    Returns
    -------
    array
        0 or 1, -1 where a pixel does not count (y, x).
    """
    rows = np.arange(shape[0]) * CELLS // shape[0]
    columns = np.arange(shape[1]) * CELLS // shape[1]
    halves = (rows[:, None] + columns[None, :]) % FOLDS
    result: npt.NDArray[np.int8] = np.where(usable, halves, -1).astype(np.int8)
    return result


def parts_of(
    sample: Sample, pan: Plane, ms: Plane, relation: Relation, *, low: tuple[Plane, Plane], geometry: Geometry
) -> Parts:
    """Parts of a degraded sample.

    Parameters
    ----------
    sample : Sample
        The sample; its bands are the truth.
    pan : array
        Degraded panchromatic image, on the grid of the bands (y, x).
    ms : array
        Degraded bands (band, y, x).
    relation : Relation
        How degraded bands and P_L are related.
    low : tuple
        P_L and the variance under each degraded pixel (y, x).
    geometry : Geometry
        Relation of the degraded inputs.

    Returns
    -------
    Parts
        All parts.
    """
    recipe = bare_recipe(relation, (1.0, 1.0))
    coarse = padded_planes(ms, low, relation)
    at = _padded_box(geometry)
    rows = sharpening_grid.interpolation(geometry, 0, geometry.whole_pan.rows, at.rows)
    columns = sharpening_grid.interpolation(geometry, 1, geometry.whole_pan.columns, at.columns)

    def cubic(plane: Plane) -> Plane:
        return np.asarray(kernels.upsample(plane, rows.start, rows.cubic, columns.start, columns.cubic))

    def linear(plane: Plane) -> Plane:
        return np.asarray(kernels.upsample(plane, rows.start, rows.linear, columns.start, columns.linear))

    bands = ms.shape[0]
    detail = pan - cubic(coarse.plane(-1))
    matrix, constants = pass_matrix(relation)
    planes = kernels.combine(coarse.levels, matrix.astype(np.float32), constants.astype(np.float32))
    shared = np.stack([detail, *(cubic(plane) for plane in planes)])
    square = sharpening_planes.local_square(coarse, recipe)
    own = np.empty((bands, GAIN_PARTS - 1, *pan.shape), dtype=np.float32)
    for band in range(bands):
        varying = sharpening_planes.gains(coarse, band, recipe, square)
        for index, gain in enumerate(varying):
            own[band, index] = linear(gain) * detail
    usable = _usable(sample.ms, pan, coarse, rows.nearest, columns.nearest)
    truth = np.where(usable, sample.ms, np.float32(np.nan))
    interpolated = np.stack([cubic(coarse.plane(band)) for band in range(bands)])
    return Parts(interpolated, shared, own, truth, fold_numbers(pan.shape, usable), coarse, geometry)


def _usable(
    truth: Plane, pan: Plane, coarse: Coarse, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> BoolArray:
    result: BoolArray = np.isfinite(truth).all(axis=0) & np.isfinite(pan)
    missing: BoolArray = np.any(coarse.missing, axis=0)
    return result & ~missing[np.ix_(rows, columns)]


def _padded_box(geometry: Geometry) -> sharpening_grid.Box:
    halo = sharpening_grid.HALO
    spans = [sharpening_grid.Span(-halo, geometry.ms_shape[k] + halo) for k in (0, 1)]
    return sharpening_grid.Box(spans[0], spans[1])


def padded_planes(ms: Plane, low: tuple[Plane, Plane], relation: Relation) -> Coarse:
    """Planes of a whole raster, with the surroundings that interpolation and filters reach into.

    Parameters
    ----------
    ms : array
        Bands (band, y, x), NaN where missing.
    low : tuple
        P_L and the variance under each pixel (y, x), NaN where missing.
    relation : Relation
        Means of both.

    Returns
    -------
    Coarse
        The planes, larger than the raster by the halo.
    """
    halo = sharpening_grid.HALO
    around = ((halo, halo), (halo, halo))
    padded = [np.pad(plane, around, constant_values=np.nan) for plane in low]
    bands = np.pad(ms, ((0, 0), *around), constant_values=np.nan)
    return sharpening_planes.coarse_planes(
        bands, padded[0], padded[1], ms_center=relation.ms_center, pan_center=relation.pan_center
    )


def equations_of(parts: Parts) -> Equations:
    """Normal equations of a trial.

    Parameters
    ----------
    parts : Parts
        Parts of a degraded sample.

    Returns
    -------
    Equations
        Sums over the pixels of each half.
    """
    bands, count = parts.truth.shape[0], parts.shared.shape[0] + GAIN_PARTS - 1
    normal = np.zeros((FOLDS, bands, count, count))
    right = np.zeros((FOLDS, bands, count))
    pixels = np.zeros(FOLDS)
    for fold in range(FOLDS):
        chosen = parts.folds == fold
        pixels[fold] = np.count_nonzero(chosen)
        shared = parts.shared[:, chosen].astype(np.float64)
        common = shared @ shared.T
        for band in range(bands):
            own = parts.own[band][:, chosen].astype(np.float64)
            missing = (parts.truth[band] - parts.interpolated[band])[chosen].astype(np.float64)
            cross = shared @ own.T
            normal[fold, band] = np.block([[common, cross], [cross.T, own @ own.T]])
            right[fold, band] = np.concatenate([shared @ missing, own @ missing])
    return Equations(normal, right, pixels)


def total(equations: list[Equations]) -> Equations:
    """Sum of the equations of several trials.

    Parameters
    ----------
    equations : list of Equations
        Equations.

    Returns
    -------
    Equations
        Their sum.
    """
    return Equations(
        np.sum([e.normal for e in equations], axis=0),
        np.sum([e.right for e in equations], axis=0),
        np.sum([e.pixels for e in equations], axis=0),
    )


def solved(normal: FloatArray, right: FloatArray, prior: FloatArray, ridge: float) -> FloatArray:
    """Coefficients of least squares that stay near a prior.

    Parameters
    ----------
    normal, right : array
        Normal equations of each band (band, part, part) and (band, part), any unit.
    prior : array
        Coefficients that are left where the equations say little (band, part) [1].
    ridge : float
        Weight of the prior, relative to the energy of each part [1].

    Returns
    -------
    array
        Coefficients (band, part) [1].
    """
    result = np.array(prior, dtype=np.float64)
    for band in range(normal.shape[0]):
        scale = np.sqrt(np.diag(normal[band]))
        live = scale > TINY + 1e-9 * scale.max()
        size = scale[live]
        matrix = normal[band][np.ix_(live, live)] / np.outer(size, size) + ridge * np.eye(size.size)
        left = right[band][live] - normal[band][np.ix_(live, live)] @ prior[band][live]
        result[band, live] += np.linalg.solve(matrix, left / size) / size
    return result


def change_of_error(equations: Equations, coefficients: FloatArray) -> FloatArray:
    """Change of the sum of squared errors against interpolation, over both halves.

    Parameters
    ----------
    equations : Equations
        Normal equations of each half.
    coefficients : array
        Coefficients for the pixels of either half (try, fold, band, part) [1].

    Returns
    -------
    array
        Change (try, band).
    """
    quadratic = np.einsum("tfbi,fbij,tfbj->tb", coefficients, equations.normal, coefficients, optimize=True)
    result: FloatArray = quadratic - 2.0 * np.einsum("tfbi,fbi->tb", coefficients, equations.right)
    return result


def predicted(parts: Parts, coefficients: tuple[FloatArray, FloatArray]) -> Plane:
    """Sharpened bands of a trial, with coefficients for either half.

    Parameters
    ----------
    parts : Parts
        Parts of a degraded sample.
    coefficients : tuple
        Coefficients (band, part) for the pixels of the first and the second half [1].

    Returns
    -------
    array
        Bands (band, y, x), NaN where not usable.
    """
    images = []
    for one in coefficients:
        shared = one[:, : parts.shared.shape[0]].astype(np.float32)
        own = one[:, parts.shared.shape[0] :].astype(np.float32)
        image = parts.interpolated + np.tensordot(shared, parts.shared, axes=1)
        images.append(image + np.einsum("bk,bkyx->byx", own, parts.own))
    result: Plane = np.where(parts.folds == 0, images[0], images[1])
    return np.where(parts.usable, result, np.float32(np.nan))
