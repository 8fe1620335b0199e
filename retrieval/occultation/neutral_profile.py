"""From the corrected bending angle to refractivity and the dry state: background, merge, inversion, errors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import (
    abel,
    background,
    bridging,
    dry_atmosphere,
    georeference,
    observation,
    statistical_optimization,
    super_refraction,
    uncertainty,
)
from retrieval.occultation.occultation_parameters import OccultationParameters

LEAST_LEFT = 0.1
"""Least share of an error at a level that counts at its altitude [1]: near super-refraction the profile is biased."""
FINE_SPACING = 101.0
"""Distance of levels between which the bending angle is taken for a straight line [m]."""
Mark = Callable[[str], None]


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


def from_observation(
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
        noise=noise.deviation,
        noise_layer=(parameters.optimization.noise_bottom, parameters.optimization.noise_top),
        parameters=parameters.errors,
    )
    mark("bending covariance")
    optimized = statistical_optimization.optimize(
        corrected,
        background=fitted.bending_angle,
        covariance=covariance.random + covariance.systematic,
        impact_parameter=levels,
        radius=reference.radius,
        parameters=parameters.optimization,
    )
    return invert(
        corrected,
        optimized=optimized,
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
    optimized: statistical_optimization.OptimizedBending,
    covariance: uncertainty.BendingCovariance,
    fitted: background.FittedBackground,
    noise: statistical_optimization.Noise,
    levels: FloatArray,
    reference: georeference.Reference,
    model: background.ModelAtmosphere,
    parameters: OccultationParameters,
    mark: Mark,
    table: abel.BendingTable | None = None,
) -> NeutralProfile:
    """From the merged bending and its covariance to the derived profiles.

    Parameters
    ----------
    corrected : FloatArray
        Corrected bending angle [rad], NaN where missing, shape (m,).
    optimized : statistical_optimization.OptimizedBending
        The same merged with the background.
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
    table : abel.BendingTable, optional
        The merged bending on finer levels, of which the refractivity is taken.

    Returns
    -------
    NeutralProfile
        The derived profiles.
    """
    height, surface_radius = levels - reference.radius, reference.radius + reference.undulation
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
    whole = table or abel.BendingTable(levels, bridged.bending_angle)
    log_index = abel.log_index(abel.refined(whole, spacing=FINE_SPACING), levels=levels)
    refractive = abel.refractive_profile(log_index, impact_parameter=levels)
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
    # An error of the index also moves the level: at a given altitude less of it is left where refractivity falls fast.
    left = 1.0 + 1e-6 * refractive.radius * np.gradient(refractive.refractivity, altitude)
    deviation = uncertainty.propagate(
        merged.random,
        systematic=merged.systematic,
        operator=operator * np.clip(left, LEAST_LEFT, 1.0)[:, None],
        refractivity=refractive.refractivity,
        altitude=altitude,
        latitude=reference.latitude,
        dry_pressure=dry.pressure,
        dry_temperature=dry.temperature,
        parameters=parameters.errors,
    )
    mark("error propagation")
    return NeutralProfile(
        optimized=optimized._replace(
            bending_angle=bridged.bending_angle, weight=np.where(bridged.bridged, 0.0, optimized.weight)
        ),
        noise=noise,
        fitted=fitted,
        covariance=covariance,
        refractive=refractive,
        altitude=altitude,
        dry=dry,
        deviation=deviation,
        ducts=super_refraction.find(refractive.refractivity, altitude=altitude, parameters=parameters.ducts),
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
    random, systematic = covariance.random.copy(), covariance.systematic.copy()
    first = levels.size - int(np.count_nonzero(optimized.merged))
    gain = optimized.gain[:, first:]
    for part in (random, systematic):
        half = gain @ part[first:]
        part[first:, :first] = half[:, :first]
        part[:first, first:] = half[:, :first].T
        part[first:, first:] = half[:, first:] @ gain.T
    systematic[first:, first:] += optimized.prior
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
    return covariance._replace(random=random, systematic=systematic)


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
