"""The planes a sharpened image is made of, and how a recipe mixes them.

A sharpened band is A + G (P - P_L): P_L is the panchromatic image seen with the point spread function of the
multispectral bands, A and G are planes on the multispectral grid. A is the band, plus band-pass parts of all bands and
of P_L (which undo the blur of the bands), plus the part of P_L that the bands do not explain. G is a sum of a constant
gain, a gain by regression in the surroundings and the gain of a multiplicative injection. Component substitution,
additive and multiplicative multiresolution methods (Vivone et al. 2015, doi:10.1109/TGRS.2014.2361734, eqs. 1-20) are
the recipes with one of these only.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, IntArray
from processors.imagery import _sharpening_kernels as kernels
from processors.imagery import sharpening_grid
from processors.imagery.sharpening_grid import Box, Geometry, Span

Plane = npt.NDArray[np.float32]

LEVELS = 4
"""Each plane and three smoothed ones of it: 1-2-1 once, twice, and again with taps two pixels apart."""
GAIN_PARTS = 3
"""Constant gain, regression in the surroundings, modulation."""
SIGMA_PARTS = 6
"""Coefficients of the variance."""


class Recipe(NamedTuple):
    """Numbers that make a sharpened image from its inputs."""

    blur: tuple[float, float]
    """Standard deviation of the point spread function along rows and columns [panchromatic pixel]."""
    pan_center: float
    """Mean of the panchromatic image."""
    ms_center: tuple[float, ...]
    """Mean of each band."""
    linear: Plane
    """Coefficients of A (band, plane level) [1]; planes are the bands, then P_L."""
    constants: Plane
    """Constant of A (band)."""
    gains: Plane
    """Coefficients of G (band, part)."""
    prior: tuple[float, ...]
    """Gain of the regression over the whole scene, of each band."""
    stiffness: float
    """Weight of that gain against the surroundings, as a variance."""
    regression_limit: tuple[float, ...]
    """Largest magnitude of the regression gain, of each band."""
    floor: float
    """Smallest P_L divided by."""
    modulation_limit: tuple[float, ...]
    """Largest gain of the modulation, of each band."""
    theta: Plane
    """Coefficients of the variance (band, part)."""

    @property
    def bands(self) -> int:
        """Bands [1]."""
        return len(self.ms_center)


class Coarse(NamedTuple):
    """Planes on the multispectral grid."""

    levels: Plane
    """Bands and P_L, each with its smoothed ones (plane level, y, x), without gaps."""
    variance: Plane
    """Variance of the panchromatic image under each pixel (y, x)."""
    missing: BoolArray
    """Missing multispectral pixels (band, y, x)."""
    any_missing: bool
    """A multispectral pixel is missing."""

    @property
    def bands(self) -> int:
        """Bands [1]."""
        return int(self.levels.shape[0]) // LEVELS - 1

    def plane(self, index: int, level: int = 0) -> Plane:
        """One plane at one level.

        Parameters
        ----------
        index : int
            Number of the band, or -1 for P_L.
        level : int
            Smoothing.

        Returns
        -------
        array
            Plane (y, x).
        """
        plane: Plane = self.levels[(index % (self.bands + 1)) * LEVELS + level]
        return plane


def smoothed(plane: Plane) -> Plane:
    """Mean over the surroundings, as the last level.

    Parameters
    ----------
    plane : array
        Plane (y, x).

    Returns
    -------
    array
        Smoothed plane (y, x).
    """
    return np.asarray(kernels.smooth(kernels.smooth(kernels.smooth(plane, 1), 1), 2))


def reduced(
    fine: Plane, at: Box, geometry: Geometry, coarse: Box, *, blur: tuple[float, float], center: float
) -> tuple[Plane, Plane]:
    """A fine plane seen with a Gaussian point spread function at the coarse pixels.

    Parameters
    ----------
    fine : array
        Plane (y, x), NaN where missing.
    at : Box
        Place of the plane; must hold the surroundings.
    geometry : Geometry
        Relation of both grids.
    coarse : Box
        Coarse pixels wanted.
    blur : tuple
        Standard deviation along rows and columns [fine pixel].
    center : float
        A value near the mean, any unit.

    Returns
    -------
    tuple
        Mean and variance under each coarse pixel (y, x), NaN where nothing is seen.
    """
    rows = sharpening_grid.reduction(geometry, 0, coarse.rows, at.rows, blur[0])
    columns = sharpening_grid.reduction(geometry, 1, coarse.columns, at.columns, blur[1])
    complete = not bool(np.isnan(np.sum(fine)))
    mean, variance = kernels.reduce(fine, center, rows.start, rows.weights, columns.start, columns.weights, complete)
    return mean, variance


def reduced_whole(
    fine: Plane, geometry: Geometry, *, blur: tuple[float, float], center: float = 0.0
) -> tuple[Plane, Plane]:
    """A whole fine plane seen with a Gaussian point spread function at all coarse pixels.

    Parameters
    ----------
    fine : array
        Plane (y, x), NaN where missing.
    geometry : Geometry
        Relation of both grids.
    blur : tuple
        Standard deviation along rows and columns [fine pixel].
    center : float
        A value near the mean, any unit.

    Returns
    -------
    tuple
        Mean and variance under each coarse pixel (y, x), NaN where nothing is seen.
    """
    coarse = geometry.whole_ms
    spans = []
    for axis in (0, 1):
        taps = sharpening_grid.reduction(geometry, axis, coarse[axis], Span(0, 0), blur[axis])
        spans.append(Span(int(taps.start[0]), int(taps.start[-1]) + taps.weights.shape[1]))
    wanted = Box(spans[0], spans[1])
    padded = sharpening_grid.placed(fine, geometry.whole_pan, wanted)
    return reduced(padded, wanted, geometry, coarse, blur=blur, center=center)


def coarse_planes(ms: Plane, low: Plane, variance: Plane, *, ms_center: tuple[float, ...], pan_center: float) -> Coarse:
    """Levels of all planes on the multispectral grid, gaps filled from their surroundings.

    Parameters
    ----------
    ms : array
        Bands (band, y, x), NaN where missing.
    low, variance : array
        Mean and variance of the panchromatic image under each pixel (y, x), NaN where missing.
    ms_center : tuple
        Mean of each band, for what is far from any pixel, any unit.
    pan_center : float
        Mean of the panchromatic image, any unit.

    Returns
    -------
    Coarse
        The planes.
    """
    bands = ms.shape[0]
    levels = np.empty(((bands + 1) * LEVELS, *low.shape), dtype=np.float32)
    any_missing = bool(np.isnan(np.sum(ms)))
    missing = np.isnan(ms) if any_missing else np.zeros((bands, 1, 1), dtype=bool)
    for index, center in enumerate((*ms_center, pan_center)):
        plane = levels[index * LEVELS]
        plane[:] = ms[index] if index < bands else low
        kernels.fill(plane, sharpening_grid.SUPPORT, center)
        for level, step in ((1, 1), (2, 1), (3, 2)):
            levels[index * LEVELS + level] = kernels.smooth(levels[index * LEVELS + level - 1], step)
    filled = variance.copy()
    kernels.fill(filled, sharpening_grid.SUPPORT, 0.0)
    return Coarse(levels, filled, missing, any_missing)


class Gains(NamedTuple):
    """Gains of one band, each (y, x)."""

    regression: Plane
    """By regression in the surroundings."""
    modulation: Plane
    """Of the multiplicative injection."""


def gains(coarse: Coarse, band: int, recipe: Recipe, low_square: Plane) -> Gains:
    """Gains of the panchromatic detail that vary over the scene.

    Parameters
    ----------
    coarse : Coarse
        Planes.
    band : int
        Number of the band.
    recipe : Recipe
        Limits and priors.
    low_square : array
        Local mean of the square of P_L less its center (y, x).

    Returns
    -------
    Gains
        Both gains.
    """
    low = _less(coarse.plane(-1), recipe.pan_center)
    values = _less(coarse.plane(band), recipe.ms_center[band])
    regression = kernels.regression_gain(
        smoothed(kernels.product(values, low)),
        _less(coarse.plane(band, 3), recipe.ms_center[band]),
        _less(coarse.plane(-1, 3), recipe.pan_center),
        low_square,
        recipe.prior[band],
        recipe.stiffness,
        recipe.regression_limit[band],
    )
    modulation = kernels.modulation_gain(
        coarse.plane(band), coarse.plane(-1), recipe.floor, recipe.modulation_limit[band]
    )
    return Gains(regression, modulation)


def _less(plane: Plane, center: float) -> Plane:
    return plane - np.float32(center)


def local_square(coarse: Coarse, recipe: Recipe) -> Plane:
    """Local mean of the square of P_L less its center.

    Parameters
    ----------
    coarse : Coarse
        Planes.
    recipe : Recipe
        Center.

    Returns
    -------
    array
        Mean square (y, x).
    """
    low = _less(coarse.plane(-1), recipe.pan_center)
    return smoothed(kernels.product(low, low))


class Mix(NamedTuple):
    """Planes on the multispectral grid from which a block is made, each (band, y, x)."""

    additive: Plane
    """A."""
    gain: Plane
    """G."""
    sigma: Plane
    """Standard deviation; no bands where it is not wanted."""


def mix(coarse: Coarse, recipe: Recipe, *, sigma: bool = True) -> Mix:
    """Planes A, G and the standard deviation.

    Parameters
    ----------
    coarse : Coarse
        Planes.
    recipe : Recipe
        Numbers of the mixture.
    sigma : bool
        The standard deviation is wanted.

    Returns
    -------
    Mix
        The three planes of each band.
    """
    additive = kernels.combine(coarse.levels, recipe.linear, recipe.constants)
    gain = np.empty_like(additive)
    deviation = np.empty_like(additive) if sigma else additive[:0]
    varies = bool(np.any(recipe.gains[:, 1:]))
    square = local_square(coarse, recipe) if varies else coarse.variance
    for band in range(recipe.bands):
        if np.any(recipe.gains[band, 1:]):
            parts = gains(coarse, band, recipe, square)
            gain[band] = kernels.affine(parts.regression, parts.modulation, recipe.gains[band])
        else:
            gain[band] = recipe.gains[band, 0]
        if sigma:
            active, residual = sigma_parts(coarse, band, additive[band], gain[band])
            deviation[band] = kernels.deviation(
                coarse.variance, gain[band], recipe.prior[band], active, residual, recipe.theta[band]
            )
    return Mix(additive, gain, deviation)


def sigma_parts(coarse: Coarse, band: int, additive: Plane, gain: Plane) -> tuple[Plane, Plane]:
    """Local energy of the detail of a band, and of what the sharpened band, seen coarsely, differs from it.

    Parameters
    ----------
    coarse : Coarse
        Planes.
    band : int
        Number of the band.
    additive, gain : array
        A and G of the band (y, x).

    Returns
    -------
    tuple
        Both energies (y, x).
    """
    active = kernels.activity(coarse.plane(band), coarse.plane(band, 2))
    residual = kernels.inconsistency(
        additive, kernels.smooth(additive, 1), gain, coarse.plane(-1), coarse.plane(-1, 1), coarse.plane(band)
    )
    return smoothed(active), smoothed(residual)


def sharpened(
    mixed: Mix, coarse: Coarse, pan: Plane, geometry: Geometry, *, core: Box, ms_at: Box, missing_pan: bool
) -> Plane:
    """Sharpened bands and their standard deviations at the fine pixels.

    Parameters
    ----------
    mixed : Mix
        Planes A, G and standard deviation.
    coarse : Coarse
        Planes they were made of.
    pan : array
        Panchromatic image of the core (y, x).
    geometry : Geometry
        Relation of the rasters.
    core : Box
        Fine part wanted.
    ms_at : Box
        Place of the coarse planes.
    missing_pan : bool
        A panchromatic pixel is missing.

    Returns
    -------
    array
        Bands, then standard deviations (band, y, x), NaN where an input is missing.
    """
    rows = sharpening_grid.interpolation(geometry, 0, core.rows, ms_at.rows)
    columns = sharpening_grid.interpolation(geometry, 1, core.columns, ms_at.columns)
    result = np.empty((mixed.additive.shape[0] + mixed.sigma.shape[0], *core.shape), dtype=np.float32)
    kernels.inject(
        pan,
        coarse.plane(-1),
        mixed.additive,
        mixed.gain,
        mixed.sigma,
        rows.start,
        rows.cubic,
        rows.linear,
        columns.start,
        columns.cubic,
        columns.linear,
        result,
    )
    missing = _missing_in(coarse, rows.nearest, columns.nearest)
    if missing is not None or missing_pan:
        nowhere = np.zeros(mixed.additive.shape, dtype=bool)
        kernels.mask(result, pan, nowhere if missing is None else missing, rows.nearest, columns.nearest)
    return result


def _missing_in(coarse: Coarse, rows: IntArray, columns: IntArray) -> BoolArray | None:
    """Missing pixels of the bands if any lies under the part wanted."""
    if not coarse.any_missing:
        return None
    inside = coarse.missing[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return coarse.missing if inside.any() else None
