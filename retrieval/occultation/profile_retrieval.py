"""From level 1B, or a bending angle, to a profile: the chain of one occultation.

excess phase -> bending of each signal -> ionosphere removed -> background fitted and merged -> refractivity -> dry
pressure and temperature, with error covariances, flags and the reason the profile ends where it does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr

from processors.arrays import BoolArray, FloatArray
from processors.occultation import level1b as contract
from retrieval.occultation import (
    abel,
    background,
    bridging,
    dry_atmosphere,
    geometric_optics,
    georeference,
    ionosphere,
    observation,
    profile_dataset,
    quality,
    scintillation,
    signal_bending,
    statistical_optimization,
    super_refraction,
    truncation,
    uncertainty,
    wave_optics,
)

Mark = Callable[[str], None]


@dataclass(frozen=True)
class OccultationParameters:
    """All parameters of the retrieval, by step."""

    levels: observation.LevelParameters = field(default_factory=observation.LevelParameters)
    doppler: geometric_optics.DopplerFilter = field(default_factory=geometric_optics.DopplerFilter)
    waves: wave_optics.WaveOpticsParameters = field(default_factory=wave_optics.WaveOpticsParameters)
    blend: signal_bending.BlendParameters = field(default_factory=signal_bending.BlendParameters)
    signal_loss: truncation.TruncationParameters = field(default_factory=truncation.TruncationParameters)
    ionospheric_correction: ionosphere.IonosphereParameters = field(default_factory=ionosphere.IonosphereParameters)
    gaps: bridging.BridgingParameters = field(default_factory=bridging.BridgingParameters)
    multipath: observation.MultipathParameters = field(default_factory=observation.MultipathParameters)
    background_model: background.BackgroundParameters = field(default_factory=background.BackgroundParameters)
    optimization: statistical_optimization.OptimizationParameters = field(
        default_factory=statistical_optimization.OptimizationParameters
    )
    errors: uncertainty.UncertaintyParameters = field(default_factory=uncertainty.UncertaintyParameters)
    ducts: super_refraction.SuperRefractionParameters = field(
        default_factory=super_refraction.SuperRefractionParameters
    )
    electrons: scintillation.ScintillationParameters = field(default_factory=scintillation.ScintillationParameters)
    thresholds: quality.QualityThresholds = field(default_factory=quality.QualityThresholds)

    def of_observation(self) -> observation.ObservationParameters:
        """Parameters of the steps from phase to corrected bending.

        Returns
        -------
        observation.ObservationParameters
            The same values.
        """
        return observation.ObservationParameters(
            levels=self.levels,
            doppler=self.doppler,
            waves=self.waves,
            blend=self.blend,
            signal_loss=self.signal_loss,
            ionospheric_correction=self.ionospheric_correction,
            gaps=self.gaps,
            multipath=self.multipath,
        )


class NeutralProfile(NamedTuple):
    """Everything derived from the corrected bending.

    Attributes
    ----------
    optimized : statistical_optimization.OptimizedBending
        Merged bending and weight.
    noise : statistical_optimization.Noise
        Noise at great height.
    fitted : background.FittedBackground
        Scaled background.
    covariance : uncertainty.BendingCovariance
        Of the corrected bending.
    refractive : abel.RefractiveProfile
        Refractivity and radius.
    altitude : FloatArray
        Altitude above the geoid [m].
    dry : dry_atmosphere.DryAtmosphere
        Dry pressure and temperature.
    deviation : uncertainty.ProfileUncertainty
        Standard deviations of refractivity and dry state.
    ducts : super_refraction.SuperRefraction
        Where the refractivity is biased.
    bridged : BoolArray
        Levels in bridged gaps.
    """

    optimized: statistical_optimization.OptimizedBending
    noise: statistical_optimization.Noise
    fitted: background.FittedBackground
    covariance: uncertainty.BendingCovariance
    refractive: abel.RefractiveProfile
    altitude: FloatArray
    dry: dry_atmosphere.DryAtmosphere
    deviation: uncertainty.ProfileUncertainty
    ducts: super_refraction.SuperRefraction
    bridged: BoolArray


class StepClock:
    """Seconds by step of a retrieval, for reports and benchmarks; never part of a product."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, step: str) -> None:
        """Add the time since the last call to a step.

        Parameters
        ----------
        step : str
            What was done since.
        """
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now


def retrieve(
    level1b: xr.Dataset, *, parameters: OccultationParameters | None = None, mark: Mark | None = None
) -> xr.Dataset:
    """Retrieve the profile of one occultation.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B as described in `processors.occultation.level1b`.
    parameters : OccultationParameters, optional
        Parameters of the steps.
    mark : callable, optional
        Told the name of each step when it ends.

    Returns
    -------
    xr.Dataset
        Bending on dimension impact, the atmosphere on dimension height (one level at the tangent point of each impact
        level), the reference as scalars, all in SI except degrees and N-units; `reference_time` in GPS seconds.

    Raises
    ------
    BadInputError
        Where level 1B breaks its contract or holds no occultation.
    """
    chosen, told = parameters or OccultationParameters(), mark or _silent
    contract.require(level1b)
    reference = georeference.locate(level1b)
    told("reference")
    observed = observation.observe(level1b, reference=reference, parameters=chosen.of_observation())
    told("bending")
    model = background.model_atmosphere(
        reference.latitude, reference.longitude, time=reference.time, parameters=chosen.background_model
    )
    neutral = neutral_profile(observed, reference=reference, model=model, parameters=chosen, mark=told)
    if neutral.altitude[0] < 0.0:
        observed = _above_surface(observed, altitude=neutral.altitude)
        neutral = neutral_profile(observed, reference=reference, model=model, parameters=chosen, mark=told)
    made = profile_dataset.assemble(
        level1b, reference=reference, observed=observed, neutral=neutral, parameters=chosen
    )
    told("dataset")
    return made


def _silent(step: str) -> None:
    """Nobody wants to know."""


def _above_surface(observed: observation.ObservedBending, *, altitude: FloatArray) -> observation.ObservedBending:
    """The observation from its first level above the geoid: below there was no ray, only noise."""
    lit = np.isfinite(observed.signals[0].bending_angle)
    cut = observation.from_level(observed, int(np.argmax((altitude >= 0.0) & lit)))
    return cut._replace(reason=truncation.TruncationReason.SURFACE_REACHED)


def neutral_profile(
    observed: observation.ObservedBending,
    *,
    reference: georeference.Reference,
    model: background.ModelAtmosphere,
    parameters: OccultationParameters,
    mark: Mark,
) -> NeutralProfile:
    """Background, optimisation, refractivity, dry atmosphere and standard deviations.

    Parameters
    ----------
    observed : observation.ObservedBending
        Bending on levels.
    reference : georeference.Reference
        Reference point.
    model : background.ModelAtmosphere
        Background atmosphere.
    parameters : OccultationParameters
        Parameters of the steps.
    mark : callable
        Told the name of each step when it ends.

    Returns
    -------
    NeutralProfile
        The derived profiles.
    """
    corrected, levels = observed.correction.bending_angle, observed.impact_parameter
    height, surface_radius = levels - reference.radius, reference.radius + reference.undulation
    unscaled = background.model_bending(model, impact_parameter=levels, surface_radius=surface_radius)
    noise, fitted = noise_and_fit(corrected, model=unscaled, height=height, parameters=parameters)
    mark("background")
    first, second = observed.signals
    covariance = uncertainty.bending_covariance(
        first,
        second=second,
        correction=observed.correction,
        levels=levels,
        radius=reference.radius,
        sinking_rate=observed.sinking_rate,
        noise=noise.deviation if noise.levels else np.nan,
        noise_layer=(parameters.optimization.noise_bottom, parameters.optimization.noise_top),
        parameters=parameters.errors,
    )
    mark("bending covariance")
    return invert(
        corrected,
        covariance=covariance,
        fitted=fitted,
        noise=noise,
        levels=levels,
        reference=reference,
        model=model,
        parameters=parameters,
        mark=mark,
    )


def invert(
    corrected: FloatArray,
    *,
    covariance: uncertainty.BendingCovariance,
    fitted: background.FittedBackground,
    noise: statistical_optimization.Noise,
    levels: FloatArray,
    reference: georeference.Reference,
    model: background.ModelAtmosphere,
    parameters: OccultationParameters,
    mark: Mark,
) -> NeutralProfile:
    """From the corrected bending with its covariance to the derived profiles.

    Parameters
    ----------
    corrected : FloatArray
        Corrected bending angle [rad], NaN where missing, shape (m,).
    covariance : uncertainty.BendingCovariance
        Its error covariances.
    fitted : background.FittedBackground
        Background bending angle.
    noise : statistical_optimization.Noise
        Noise at great height.
    levels : FloatArray
        Impact parameters [m], increasing.
    reference : georeference.Reference
        Reference point.
    model : background.ModelAtmosphere
        Background atmosphere.
    parameters : OccultationParameters
        Parameters of the steps.
    mark : callable
        Told the name of each step when it ends.

    Returns
    -------
    NeutralProfile
        The derived profiles.
    """
    height, surface_radius = levels - reference.radius, reference.radius + reference.undulation
    optimized = statistical_optimization.optimize(
        corrected,
        background=fitted.bending_angle,
        covariance=covariance.random + covariance.systematic,
        impact_parameter=levels,
        radius=reference.radius,
        parameters=parameters.optimization,
    )
    bridged = bridging.bridge(
        optimized.bending_angle,
        observed=corrected,
        background=fitted.bending_angle,
        impact_height=height,
        below=parameters.optimization.observed_below,
        parameters=parameters.gaps,
    )
    mark("optimization")
    scale = abel.tail_scale(bridged.bending_angle, at=levels)
    operator = abel.operator(levels, scale=scale)
    refractive = abel.refractive_profile(operator @ bridged.bending_angle, impact_parameter=levels)
    altitude = refractive.radius - surface_radius
    mark("abel")
    dry = dry_atmosphere.dry_atmosphere(
        refractive.refractivity,
        altitude=altitude,
        latitude=reference.latitude,
        top_temperature=float(np.interp(altitude[-1], model.altitude, model.temperature)),
    )
    merged = merged_covariance(
        covariance, optimized=optimized, bridged=bridged, fitted=fitted, levels=levels, parameters=parameters
    )
    deviation = uncertainty.propagate(
        merged.random,
        systematic=merged.systematic,
        operator=operator,
        refractivity=refractive.refractivity,
        altitude=altitude,
        latitude=reference.latitude,
        dry_pressure=dry.pressure,
        dry_temperature=dry.temperature,
        parameters=parameters.errors,
    )
    mark("error propagation")
    return NeutralProfile(
        optimized=optimized._replace(bending_angle=bridged.bending_angle),
        noise=noise,
        fitted=fitted,
        covariance=covariance,
        refractive=refractive,
        altitude=altitude,
        dry=dry,
        deviation=deviation,
        ducts=super_refraction.find(
            refractive.refractivity, altitude=altitude, parameters=parameters.ducts
        ),
        bridged=bridged.bridged,
    )


def merged_covariance(
    covariance: uncertainty.BendingCovariance,
    *,
    optimized: statistical_optimization.OptimizedBending,
    bridged: bridging.BridgedBending,
    fitted: background.FittedBackground,
    levels: FloatArray,
    parameters: OccultationParameters,
) -> uncertainty.BendingCovariance:
    """Covariances of the merged bending, its bridges included.

    Parameters
    ----------
    covariance : uncertainty.BendingCovariance
        Of the observation.
    optimized : statistical_optimization.OptimizedBending
        Gain of the observation and what the background leaves.
    bridged : bridging.BridgedBending
        Operator of the bridges and their error.
    fitted : background.FittedBackground
        Background, whose error stands where nothing was observed and nothing bridged.
    levels : FloatArray
        Impact parameters [m].
    parameters : OccultationParameters
        Errors of bridges and background.

    Returns
    -------
    uncertainty.BendingCovariance
        Random and systematic covariances of the merged bending; the background counts as systematic.
    """
    rows = np.flatnonzero(optimized.merged)
    random, systematic = covariance.random.copy(), covariance.systematic.copy()
    for part in (random, systematic):
        half = optimized.gain @ part
        part[rows] = half
        part[:, rows] = half.T
        part[np.ix_(rows, rows)] = half @ optimized.gain.T
    systematic[np.ix_(rows, rows)] += optimized.prior
    # Without the error of its neighbours a bridge would seem better than an observation where that is noisy.
    if bridged.levels.size:
        for part in (random, systematic):
            half = bridged.operator @ part
            part[bridged.levels] = half
            part[:, bridged.levels] = half.T
            part[np.ix_(bridged.levels, bridged.levels)] = half @ bridged.operator.T
        systematic += uncertainty.correlated(bridged.error, at=levels, length=parameters.gaps.error_length)
    alone = np.flatnonzero((np.diag(random) + np.diag(systematic) <= 0.0) & ~optimized.merged)
    if alone.size:
        systematic[np.ix_(alone, alone)] += statistical_optimization.background_covariance(
            fitted.bending_angle[alone], impact_parameter=levels[alone], parameters=parameters.optimization
        )
    return uncertainty.BendingCovariance(random, systematic, covariance.excess)


def noise_and_fit(
    observed: FloatArray, *, model: FloatArray, height: FloatArray, parameters: OccultationParameters
) -> tuple[statistical_optimization.Noise, background.FittedBackground]:
    """Noise against the unscaled model, the scaled background, and the noise against that.

    Parameters
    ----------
    observed : FloatArray
        Corrected bending angle [rad], NaN where missing, shape (m,).
    model : FloatArray
        Bending angle of the model [rad].
    height : FloatArray
        Impact heights [m].
    parameters : OccultationParameters
        Layers of the fit and of the noise.

    Returns
    -------
    tuple
        Noise and scaled background.
    """
    rough = statistical_optimization.noise(
        observed, background=model, impact_height=height, parameters=parameters.optimization
    )
    fitted = background.fit(
        model, observed=observed, impact_height=height, noise=rough.deviation, parameters=parameters.background_model
    )
    noise = statistical_optimization.noise(
        observed, background=fitted.bending_angle, impact_height=height, parameters=parameters.optimization
    )
    return noise, fitted
