"""Pansharpening: multispectral bands on the grid of a panchromatic image, with an uncertainty for every pixel.

`choose` looks at the input itself. It estimates how much blurrier the bands are than the panchromatic image, degrades
both by the ratio of their grids with that blur, and tries the methods where the bands are the truth (Wald et al. 1997):
interpolation, component substitution (GSA), multiresolution methods matched to the modulation transfer function (CBD
over the scene and over the surroundings, HPM), and a regression over all their parts together with band-pass parts of
all bands. Each band takes the method that did best on pixels it had not learned from, and as much of it as keeps the
spectral angle. The errors of the trial calibrate the standard deviation. `sharpen` applies the choice to the scene, or
to any block of it with the same result.

Sources: Aiazzi et al. 2006 (doi:10.14358/PERS.72.5.591), Aiazzi et al. 2007 (doi:10.1109/TGRS.2007.901007), Vivone et
al. 2015 (doi:10.1109/TGRS.2014.2361734), Garzelli 2015 (doi:10.1109/TGRS.2014.2339651).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import FloatArray
from processors.imagery import (
    sharpening_blur,
    sharpening_grid,
    sharpening_planes,
    sharpening_quality,
    sharpening_trial,
    sharpening_uncertainty,
)
from processors.imagery.sharpening_blur import Blur
from processors.imagery.sharpening_grid import Box, Geometry
from processors.imagery.sharpening_planes import SIGMA_PARTS, Coarse, Recipe
from processors.imagery.sharpening_trial import Parts, Relation, Sample
from processors.quality import BadInputError

Plane = npt.NDArray[np.float32]

REGRESSION = "regression"
"""Name of the regression over all parts."""
INTERPOLATION = "interpolation"
"""Name of the method that injects nothing."""

_STEADY = (INTERPOLATION, "gsa", "mtf_glp_cbd", "mtf_glp_hpm")
_JOINED = f"{REGRESSION} and "

METHODS = (INTERPOLATION, "gsa", "mtf_glp_cbd", "mtf_glp_cbd_local", "mtf_glp_hpm", REGRESSION)
"""Names of all methods."""


@dataclass(frozen=True)
class PansharpeningParameters:
    """Choices of the pansharpening.

    Parameters
    ----------
    sensor : str
        Sensor whose published modulation transfer is used, one of `sharpening_blur.SENSOR_GAINS`; empty to estimate it
        from the data.
    method : str
        Method to use for all bands; empty to let the trial choose.
    default_gain : float
        Modulation transfer of the bands at the Nyquist frequency where the data do not tell [1].
    pan_gains : tuple
        Modulation transfers with which the panchromatic image is degraded, beside the one that keeps its sharpness [1].
    pan_gain_range : tuple
        Limits of that one [1].
    minimum_correlation : float
        Mean squared correlation of the details from which the data tell the modulation transfer [1].
    scale_change : float
        Standard deviation at the full scale over that of the trial, the detail being the same [1].
    ridge : float
        Weight of the known method against the regression, relative to the energy of the parts [1].
    ridge_factors : tuple
        Multiples of that weight that are tried [1].
    ridge_pixels : float
        Degraded pixels per part below which that weight doubles [1].
    advantage : float
        Part of the error by which the regression must differ from the best known method for one of them to be used
        alone [1].
    angle_tolerance : float
        Growth of the spectral angle over that of interpolation that is accepted in the trial [1].
    degraded_pixels : int
        Degraded pixels a trial should have: small scenes are degraded onto several grids [1].
    minimum_pixels : int
        Pixels of a trial below which no method is judged [1].
    seed : int
        Seed of the noise given back to what was averaged [1].
    detail_exponent : float
        How the error's variance follows that of the panchromatic detail from the trial to the full scale [1].
    """

    sensor: str = ""
    method: str = ""
    default_gain: float = 0.30
    pan_gains: tuple[float, ...] = (0.30, 0.45)
    pan_gain_range: tuple[float, float] = (0.20, 0.60)
    minimum_correlation: float = 0.05
    scale_change: float = 0.85
    ridge: float = 0.01
    ridge_factors: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0)
    ridge_pixels: float = 100.0
    advantage: float = 0.03
    angle_tolerance: float = 0.0
    degraded_pixels: int = 4000
    minimum_pixels: int = 100
    seed: int = 1
    detail_exponent: float = 1.5


class Score(NamedTuple):
    """How one method did in the trial."""

    method: str
    """Name of the method; `chosen` for what is used in the end."""
    ergas: float
    """Relative global error [1]."""
    spectral_angle: float
    """Mean spectral angle [degree]."""
    q2n: float
    """Hypercomplex quality [1]."""
    errors: tuple[float, ...]
    """Root-mean-square error of each band, in its units."""


@dataclass(frozen=True)
class Plan:
    """What was chosen for a scene, and why.

    Parameters
    ----------
    recipe : Recipe
        Numbers that make the sharpened image.
    geometry : Geometry
        Relation of the rasters of the scene.
    gains : tuple
        Modulation transfer of the bands relative to the panchromatic image at their Nyquist frequency [1].
    gains_from : str
        `data`, `sensor` or `default`.
    methods : tuple
        Method of each band.
    strength : float
        Part of the chosen method that is used, the rest being interpolation [1].
    scores : tuple
        Outcome of the trial, of every method.
    coverage : tuple
        Part of the trial's truth inside one and two standard deviations [1].
    warnings : tuple
        What a user should know.
    """

    recipe: Recipe
    geometry: Geometry
    gains: tuple[float, ...]
    gains_from: str
    methods: tuple[str, ...]
    strength: float
    scores: tuple[Score, ...] = ()
    coverage: tuple[float, float] = (math.nan, math.nan)
    warnings: tuple[str, ...] = ()


class Sharpened(NamedTuple):
    """Sharpened bands."""

    both: Plane
    """Bands, then their standard deviations where wanted (band, y, x), NaN where an input is missing."""
    bands: int
    """Bands [1]."""

    @property
    def values(self) -> Plane:
        """Bands (band, y, x)."""
        return self.both[: self.bands]

    @property
    def sigma(self) -> Plane:
        """Standard deviation of each (band, y, x); no bands where it was not wanted."""
        return self.both[self.bands :]


class _Outcome(NamedTuple):
    """Coefficients with which a method predicts either half of a trial."""

    first: FloatArray
    second: FloatArray


def choose(ms: Plane, pan: Plane, *, geometry: Geometry, parameters: PansharpeningParameters | None = None) -> Plan:
    """Choose methods and their numbers for a scene held in memory.

    Parameters
    ----------
    ms : array
        Multispectral bands (band, y, x), NaN where missing.
    pan : array
        Panchromatic image (y, x), NaN where missing.
    geometry : Geometry
        Relation of both.
    parameters : PansharpeningParameters, optional
        Choices of the method.

    Returns
    -------
    Plan
        What is to be done.

    Raises
    ------
    BadInputError
        `no_data` where nowhere both inputs are there.
    """
    return choose_from_samples([Sample(ms, pan, geometry)], geometry=geometry, parameters=parameters)


def choose_from_samples(
    samples: Sequence[Sample], *, geometry: Geometry, parameters: PansharpeningParameters | None = None
) -> Plan:
    """Choose methods and their numbers from parts of a scene.

    Parameters
    ----------
    samples : Sequence[Sample]
        Parts of the scene.
    geometry : Geometry
        Relation of the rasters of the scene.
    parameters : PansharpeningParameters, optional
        Choices of the method.

    Returns
    -------
    Plan
        What is to be done.

    Raises
    ------
    BadInputError
        `no_data` where nowhere both inputs are there.
    ValueError
        Arrays do not fit their geometry, or the parameters name an unknown method or sensor.
    """
    chosen = parameters or PansharpeningParameters()
    held = [_checked(sample) for sample in samples]
    _require_known(chosen)
    blur = sharpening_blur.estimated(
        held,
        sensor=chosen.sensor,
        default_gain=chosen.default_gain,
        minimum_correlation=chosen.minimum_correlation,
    )
    relation, full = _related(held, blur.width)
    widths = sharpening_blur.along_axes(geometry, blur.width)
    trial = _Trial(held, blur, chosen)
    if not trial.judges:
        return _untried(geometry, relation, blur, widths, chosen)
    return _tried(geometry, relation, blur, widths, trial, full, chosen)


def _checked(sample: Sample) -> Sample:
    ms = np.ascontiguousarray(sample.ms, dtype=np.float32)
    pan = np.ascontiguousarray(sample.pan, dtype=np.float32)
    sharpening_grid.checked(ms, sample.geometry.whole_ms, "ms", 3)
    sharpening_grid.checked(pan, sample.geometry.whole_pan, "pan", 2)
    return Sample(ms, pan, sample.geometry)


def _require_known(parameters: PansharpeningParameters) -> None:
    if parameters.sensor and parameters.sensor not in sharpening_blur.SENSOR_GAINS:
        raise ValueError(
            f"unknown sensor {parameters.sensor!r}; known are {', '.join(sorted(sharpening_blur.SENSOR_GAINS))}"
        )
    if parameters.method and parameters.method not in METHODS:
        raise ValueError(f"unknown method {parameters.method!r}; known are {', '.join(METHODS)}")


def _related(samples: Sequence[Sample], width: float) -> tuple[Relation, list[Coarse]]:
    """How bands and P_L are related, and their planes."""
    lows = [sharpening_blur.seen_coarsely(s.pan, s.geometry, width) for s in samples]
    relation = sharpening_trial.relation_of([s.ms for s in samples], [low for low, _ in lows])
    planes = [sharpening_trial.padded_planes(s.ms, low, relation) for s, low in zip(samples, lows, strict=True)]
    return relation, planes


def _noise(samples: Sequence[Sample], width: float) -> tuple[FloatArray, float]:
    """Noise of the bands and of the panchromatic image."""
    low = [sharpening_blur.seen_coarsely(s.pan, s.geometry, width)[0] for s in samples]
    bands = sharpening_trial.noise_levels([s.ms for s in samples], low)
    return bands, sharpening_trial.pan_noise_level([s.pan for s in samples])


class _Trial:
    """The methods tried on degraded samples, under several degradations of the panchromatic image."""

    def __init__(self, samples: Sequence[Sample], blur: Blur, parameters: PansharpeningParameters) -> None:
        self._parameters = parameters
        self._blur = blur
        self.samples = [sample for sample in samples if _can_be_reduced(sample.geometry)]
        self.judges = bool(self.samples)
        if not self.judges:
            return
        self._random = np.random.default_rng(parameters.seed)
        self._noise = _noise(self.samples, blur.width)
        try:
            self._solve((self._similar_gain(), *parameters.pan_gains))
        except BadInputError:
            self.judges = False

    def _solve(self, gains: Sequence[float]) -> None:
        """Sum the equations of all degradations; the first of them is the one the methods are compared on."""
        equations = []
        for number, gain in enumerate(gains):
            relation, parts = self._degraded(gain)
            equations += [sharpening_trial.equations_of(part) for part in parts]
            if number == 0:
                self.relation, self.parts = relation, parts
        self.equations = sharpening_trial.total(equations)
        self.judges = bool(np.all(self.equations.pixels / len(gains) >= self._parameters.minimum_pixels / 2))

    def _similar_gain(self) -> float:
        """Gain with which the degraded panchromatic image is as sharp for its grid as the given one."""
        low, high = self._parameters.pan_gain_range
        tried = [gain for gain in sharpening_blur.TRIED_GAINS if low <= gain <= high]
        given = np.sum([sharpening_blur.sharpness(sample.pan) for sample in self.samples], axis=0)
        misfits = []
        for gain in tried:
            planes = [self._degraded_pan(sample, gain) for sample in self.samples]
            sums = np.sum([sharpening_blur.sharpness(plane) for plane in planes], axis=0)
            misfits.append(abs(math.log(max(sums[0], 1e-30) / max(sums[1], 1e-30) * given[1] / max(given[0], 1e-30))))
        return tried[int(np.argmin(misfits))]

    @staticmethod
    def _degraded_pan(sample: Sample, gain: float) -> Plane:
        return sharpening_blur.seen_coarsely(sample.pan, sample.geometry, sharpening_blur.width_from_gain(gain))[0]

    def _degraded(self, gain: float) -> tuple[Relation, list[Parts]]:
        """Degraded inputs that are to each other as the given ones are, on every grid of the trial."""
        pans, bands, lows, held, geometries = [], [], [], [], []
        for sample in self.samples:
            pan = self._renoised(self._degraded_pan(sample, gain), self._noise[1], sample.geometry, gain)
            for shift in _shifts(sample.geometry, self._parameters.degraded_pixels):
                geometry = sharpening_grid.reduced(sample.geometry, shift)
                bands.append(self._degraded_bands(sample, geometry, gain))
                lows.append(sharpening_blur.seen_coarsely(pan, geometry, self._blur.width))
                pans.append(pan)
                held.append(sample)
                geometries.append(geometry)
        relation = sharpening_trial.relation_of(bands, [low for low, _ in lows])
        return relation, [
            sharpening_trial.parts_of(sample, pan, ms, relation, low=low, geometry=geometry)
            for sample, pan, ms, low, geometry in zip(held, pans, bands, lows, geometries, strict=True)
        ]

    def _degraded_bands(self, sample: Sample, geometry: Geometry, gain: float) -> Plane:
        widths = self._band_widths(geometry.mean_ratio, gain)
        return np.stack(
            [
                sharpening_planes.reduced_whole(
                    band,
                    geometry,
                    blur=sharpening_blur.along_axes(geometry, width),
                    center=sharpening_blur.center(band),
                )[0]
                for band, width in zip(sample.ms, widths, strict=True)
            ]
        )

    def _renoised(self, plane: Plane, noise: float, geometry: Geometry, gain: float) -> Plane:
        """As noisy as before it was degraded: averaging takes noise away, by the sum of its squared weights."""
        averaged = math.prod(
            1.0 / (2.0 * math.sqrt(math.pi) * width)
            for width in sharpening_blur.along_axes(geometry, sharpening_blur.width_from_gain(gain))
        )
        lost = noise * math.sqrt(max(1.0 - averaged, 0.0))
        return plane + np.float32(lost) * self._random.standard_normal(plane.shape, dtype=np.float32)

    def _band_widths(self, ratio: float, pan_gain: float) -> FloatArray:
        """Blur that brings the bands, blurred as they are, to the given blur relative to the degraded pan."""
        own = self._blur.widths**2 * (1.0 - 1.0 / ratio**2)
        result: FloatArray = np.sqrt(own + (sharpening_blur.width_from_gain(pan_gain) / ratio) ** 2)
        return result

    def _ridge(self) -> float:
        """Weight of the prior: more where there are few degraded pixels for so many parts."""
        degraded = sum(math.prod(parts.geometry.ms_shape) for parts in self.parts)
        per_part = degraded / int(self.equations.right.shape[-1])
        return self._parameters.ridge * (1.0 + self._parameters.ridge_pixels / per_part)

    def regression(self, below: FloatArray, above: FloatArray) -> tuple[FloatArray, _Outcome]:
        """Coefficients from all pixels near those of the full scale, and from the other half for either half.

        Of several weights of the prior, each band takes the one that predicts the other half best.
        """
        normal, right, pixels = self.equations
        ridges = [self._ridge() * factor for factor in self._parameters.ridge_factors]
        halves = np.array(
            [
                [sharpening_trial.solved(normal[k] / pixels[k], right[k] / pixels[k], below, ridge) for k in (1, 0)]
                for ridge in ridges
            ]
        )
        mean_normal, mean_right = normal.sum(axis=0) / pixels.sum(), right.sum(axis=0) / pixels.sum()
        wholes = np.array([sharpening_trial.solved(mean_normal, mean_right, above, ridge) for ridge in ridges])
        errors = sharpening_trial.change_of_error(self.equations, halves)
        best, bands = np.argmin(errors, axis=0), np.arange(errors.shape[1])
        return wholes[best, bands], _Outcome(halves[best, 0, bands], halves[best, 1, bands])

    def images(self, outcome: _Outcome) -> list[Plane]:
        """Predicted bands of each sample."""
        return [sharpening_trial.predicted(parts, (outcome.first, outcome.second)) for parts in self.parts]

    def score(self, method: str, images: list[Plane]) -> Score:
        """Quality over all samples, weighted by their pixels."""
        truth = [parts.truth for parts in self.parts]
        weights = np.array([np.count_nonzero(parts.usable) for parts in self.parts], dtype=np.float64)
        ratio = self.samples[0].geometry.mean_ratio
        stacked = np.concatenate([a[:, p.usable] for a, p in zip(images, self.parts, strict=True)], axis=1)[:, None]
        reference = np.concatenate([a[:, p.usable] for a, p in zip(truth, self.parts, strict=True)], axis=1)[:, None]
        errors = np.sqrt(np.mean((stacked - reference).astype(np.float64) ** 2, axis=(1, 2)))
        q2n = np.array([sharpening_quality.hypercomplex_quality(a, b) for a, b in zip(images, truth, strict=True)])
        known = np.isfinite(q2n)
        return Score(
            method,
            sharpening_quality.ergas(stacked, reference, ratio=ratio),
            sharpening_quality.spectral_angle(stacked, reference),
            float(np.average(q2n[known], weights=weights[known])) if known.any() else math.nan,
            tuple(float(v) for v in errors),
        )


def _shifts(geometry: Geometry, wanted: int) -> list[tuple[int, int]]:
    """Beginnings of degraded grids: as many as give so many degraded pixels, no two alike."""
    count = math.prod(sharpening_grid.reduced(geometry).ms_shape)
    steps = min(math.ceil(math.sqrt(wanted / count)), int(min(geometry.ratio)))
    starts = [[round(k * geometry.ratio[axis] / steps) for k in range(steps)] for axis in (0, 1)]
    shifts = [(down, right) for down in starts[0] for right in starts[1]]
    return [shift for shift in shifts if _can_be_reduced(geometry, shift)]


def _can_be_reduced(geometry: Geometry, shift: tuple[int, int] = (0, 0)) -> bool:
    try:
        sharpening_grid.reduced(geometry, shift)
    except BadInputError:
        return False
    return True


def _untried(
    geometry: Geometry,
    relation: Relation,
    blur: Blur,
    widths: tuple[float, float],
    parameters: PansharpeningParameters,
) -> Plan:
    """Regression over the scene, where it is too small to be degraded; the uncertainty is the detail injected."""
    method = parameters.method if parameters.method not in ("", REGRESSION) else "mtf_glp_cbd"
    recipe = sharpening_trial.recipe_of(relation, widths, sharpening_trial.textbook(relation)[method])
    theta = np.zeros((recipe.bands, SIGMA_PARTS), dtype=np.float32)
    theta[:, 2] = theta[:, 3] = theta[:, 4] = 1.0
    warning = "too few pixels to try the methods at a reduced scale: nothing was judged, the uncertainty is a guess"
    return Plan(
        recipe._replace(theta=theta),
        geometry,
        blur.gains,
        blur.source,
        (method,) * recipe.bands,
        1.0,
        warnings=(warning,),
    )


def _tried(
    geometry: Geometry,
    relation: Relation,
    blur: Blur,
    widths: tuple[float, float],
    trial: _Trial,
    full: list[Coarse],
    parameters: PansharpeningParameters,
) -> Plan:
    below, above = sharpening_trial.textbook(trial.relation), sharpening_trial.textbook(relation)
    outcomes = {name: _Outcome(values, values) for name, values in below.items()}
    whole, outcomes[REGRESSION] = trial.regression(below["mtf_glp_cbd"], above["mtf_glp_cbd"])
    final = {**above, REGRESSION: whole}
    scores = {name: trial.score(name, trial.images(outcome)) for name, outcome in outcomes.items()}
    methods = _best_methods(scores, parameters)
    for name in _STEADY:
        joined = _JOINED + name
        final[joined] = 0.5 * (whole + above[name])
        outcomes[joined] = _Outcome(*(0.5 * (one + below[name]) for one in outcomes[REGRESSION]))
    strength = _strength(trial, outcomes, methods, scores, parameters)
    used = _Outcome(*(strength * _rows(outcomes, methods, half) for half in ("first", "second")))
    coefficients = strength * np.stack([final[method][band] for band, method in enumerate(methods)])
    images = trial.images(used)
    recipe = sharpening_trial.recipe_of(relation, widths, coefficients)
    below_recipe = sharpening_trial.recipe_of(trial.relation, widths, _mean(used))
    theta, coverage = sharpening_uncertainty.calibrated(
        trial.parts,
        images,
        below_recipe,
        full=full,
        above=recipe,
        exponent=parameters.detail_exponent,
        scale_change=parameters.scale_change,
    )
    return Plan(
        recipe._replace(theta=theta),
        geometry,
        blur.gains,
        blur.source,
        methods,
        strength,
        (*scores.values(), trial.score("chosen", images)),
        coverage,
        (*_remarks(blur, strength), *_repetition(trial.samples)),
    )


def _mean(outcome: _Outcome) -> FloatArray:
    return 0.5 * (outcome.first + outcome.second)


def _rows(outcomes: dict[str, _Outcome], methods: Sequence[str], half: str) -> FloatArray:
    return np.stack([getattr(outcomes[method], half)[band] for band, method in enumerate(methods)])


def _remarks(blur: Blur, strength: float) -> tuple[str, ...]:
    remarks = []
    if blur.source == "default":
        remarks.append("the details of the bands and of the panchromatic image hardly resemble each other")
    if strength < 1.0:
        remarks.append(f"{strength:.0%} of the detail is injected, more would have changed the spectra")
    return tuple(remarks)


def _repetition(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Remark where pixels were repeated to make a finer grid: the trial then learns from steps that are not there."""
    for count in (2, 3, 4):
        equal = [_equal_neighbors(sample.ms, count) for sample in samples]
        if all(within > 0.99 and across < 0.5 for within, across in equal):
            return (f"the bands repeat their pixels {count} x {count}: give them on the grid they were recorded on",)
    return ()


def _equal_neighbors(ms: Plane, count: int) -> tuple[float, float]:
    """Part of neighbors along the rows that are equal within groups of so many, and across their borders."""
    equal = np.diff(ms, axis=2) == 0.0
    within = np.arange(equal.shape[2]) % count != count - 1
    return float(np.mean(equal[:, :, within])), float(np.mean(equal[:, :, ~within]))


def _best_methods(scores: dict[str, Score], parameters: PansharpeningParameters) -> tuple[str, ...]:
    """Method of least error for each band; the mean with the regression where neither is clearly better."""
    bands = len(scores[REGRESSION].errors)
    if parameters.method:
        return (parameters.method,) * bands
    methods = []
    for band in range(bands):
        errors = {name: score.errors[band] for name, score in scores.items()}
        best = min(_STEADY, key=lambda name: errors[name])
        lead = math.log(max(errors[best], sharpening_trial.TINY) / max(errors[REGRESSION], sharpening_trial.TINY))
        margin = parameters.advantage
        methods.append(REGRESSION if lead > margin else best if lead < -margin else _JOINED + best)
    return tuple(methods)


def _strength(
    trial: _Trial,
    outcomes: dict[str, _Outcome],
    methods: Sequence[str],
    scores: dict[str, Score],
    parameters: PansharpeningParameters,
) -> float:
    """Largest part of the chosen methods that keeps the spectral angle of interpolation."""
    if parameters.method:
        return 1.0
    limit = scores[INTERPOLATION].spectral_angle * (1.0 + parameters.angle_tolerance)
    halves = [_rows(outcomes, methods, half) for half in ("first", "second")]
    for strength in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1):
        images = trial.images(_Outcome(strength * halves[0], strength * halves[1]))
        if trial.score("", images).spectral_angle <= limit:
            return strength
    return 0.0


def needed(core: Box, *, plan: Plan) -> sharpening_grid.Needed:
    """What has to be read to sharpen a part of a scene.

    Parameters
    ----------
    core : Box
        Panchromatic part.
    plan : Plan
        What was chosen.

    Returns
    -------
    Needed
        Windows of both rasters; they may reach beyond them.
    """
    return sharpening_grid.needed(plan.geometry, core, plan.recipe.blur)


def sharpen(
    ms: Plane,
    pan: Plane,
    *,
    plan: Plan,
    core: Box | None = None,
    ms_at: Box | None = None,
    pan_at: Box | None = None,
    sigma: bool = True,
) -> Sharpened:
    """Sharpen a scene, or a block of it; a pixel has the same bits in whichever block it lies.

    Parameters
    ----------
    ms : array
        Multispectral bands (band, y, x), NaN where missing.
    pan : array
        Panchromatic image (y, x), NaN where missing.
    plan : Plan
        What was chosen.
    core : Box, optional
        Panchromatic part wanted; without it the whole scene.
    ms_at, pan_at : Box, optional
        Places of the blocks in their rasters, which must hold what `needed` tells as far as the rasters reach; without
        them the arrays are the whole rasters.
    sigma : bool
        The standard deviation is wanted.

    Returns
    -------
    Sharpened
        Bands and their standard deviation in the units of the bands.

    Raises
    ------
    ValueError
        Arrays do not fit their places, or have other bands than the plan.
    """
    geometry, recipe = plan.geometry, plan.recipe
    ms_place, pan_place = ms_at or geometry.whole_ms, pan_at or geometry.whole_pan
    wanted = core or geometry.whole_pan
    sharpening_grid.checked(ms, ms_place, "ms", 3)
    sharpening_grid.checked(pan, pan_place, "pan", 2)
    if ms.shape[0] != recipe.bands:
        raise ValueError(f"the plan is for {recipe.bands} bands, not {ms.shape[0]}")
    need = needed(wanted, plan=plan)
    fine = sharpening_grid.placed(pan, pan_place, need.pan)
    low, variance = sharpening_planes.reduced(
        fine, need.pan, geometry, need.ms, blur=recipe.blur, center=recipe.pan_center
    )
    bands = sharpening_grid.placed(ms, ms_place, need.ms)
    coarse = sharpening_planes.coarse_planes(
        bands, low, variance, ms_center=recipe.ms_center, pan_center=recipe.pan_center
    )
    mixed = sharpening_planes.mix(coarse, recipe, sigma=sigma)
    inner = np.ascontiguousarray(sharpening_grid.placed(fine, need.pan, wanted))
    result = sharpening_planes.sharpened(
        mixed, coarse, inner, geometry, core=wanted, ms_at=need.ms, missing_pan=bool(np.isnan(np.sum(inner)))
    )
    return Sharpened(result, recipe.bands)


def distortion(
    sharpened: Plane, pan: Plane, ms: Plane, *, plan: Plan, geometry: Geometry
) -> sharpening_quality.Distortion:
    """Quality at full resolution, without a reference.

    Parameters
    ----------
    sharpened : array
        Sharpened bands (band, y, x).
    pan : array
        Panchromatic image (y, x).
    ms : array
        Multispectral bands (band, y, x).
    plan : Plan
        What was chosen.
    geometry : Geometry
        Relation of these arrays.

    Returns
    -------
    Distortion
        QNR, HQNR and their distortions.
    """
    blur = sharpening_blur.along_axes(geometry, plan.recipe.blur[0] / plan.geometry.ratio[0])
    low, *bands = (
        sharpening_planes.reduced_whole(plane, geometry, blur=blur, center=sharpening_blur.center(plane))[0]
        for plane in (pan, *sharpened)
    )
    return sharpening_quality.distortion(sharpened, pan, ms=ms, low=low, sharpened_low=np.stack(bands))
