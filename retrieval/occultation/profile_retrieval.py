"""From level 1B to a profile: the chain of one occultation.

excess phase -> Doppler -> bending of each signal -> ionosphere removed -> background fitted and merged -> refractivity
-> dry pressure and temperature, with standard deviations, flags and the reason the profile ends where it does.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr

from processors import constants
from processors.arrays import BoolArray, FloatArray
from processors.geodesy import ellipsoid, gravity
from processors.occultation import level1b as contract
from retrieval.occultation import (
    abel,
    background,
    bridging,
    dry_atmosphere,
    geometric_optics,
    georeference,
    ionosphere,
    quality,
    resampling,
    statistical_optimization,
    truncation,
    uncertainty,
)


@dataclass(frozen=True)
class LevelParameters:
    """Levels in impact parameter.

    Attributes
    ----------
    spacing : float
        Spacing of the levels [m].
    top : float
        Impact height of the uppermost level [m].
    half_width : float
        Half width of the window that brings samples onto levels [m].
    bottom : float
        Lowest impact height accepted [m].
    """

    spacing: float = 100.0
    top: float = 120_000.0
    half_width: float = 150.0
    bottom: float = 1_000.0


@dataclass(frozen=True)
class OccultationParameters:
    """All parameters of the retrieval, by step."""

    levels: LevelParameters = field(default_factory=LevelParameters)
    doppler: geometric_optics.DopplerFilter = field(default_factory=geometric_optics.DopplerFilter)
    signal_loss: truncation.TruncationParameters = field(default_factory=truncation.TruncationParameters)
    ionospheric_correction: ionosphere.IonosphereParameters = field(default_factory=ionosphere.IonosphereParameters)
    gaps: bridging.BridgingParameters = field(default_factory=bridging.BridgingParameters)
    background_model: background.BackgroundParameters = field(default_factory=background.BackgroundParameters)
    optimization: statistical_optimization.OptimizationParameters = field(
        default_factory=statistical_optimization.OptimizationParameters
    )
    errors: uncertainty.UncertaintyParameters = field(default_factory=uncertainty.UncertaintyParameters)
    thresholds: quality.QualityThresholds = field(default_factory=quality.QualityThresholds)


class ObservedBending(NamedTuple):
    """Bending of an event on levels.

    Attributes
    ----------
    impact_parameter : FloatArray
        Levels [m], increasing, shape (m,).
    first, second : FloatArray
        Bending of the two signals [rad], NaN where missing.
    corrected : FloatArray
        Bending without ionosphere [rad], NaN where missing.
    scatter : FloatArray
        Scatter of the first signal about the local line [rad].
    tangent : FloatArray
        Earth-fixed tangent points [m], shape (m, 3).
    second_bottom : float
        Lowest impact parameter of the second signal [m].
    multipath_top : float
        Impact parameter below which rays cross [m], NaN where none do.
    missing : float
        Fraction of missing samples above the bottom [1].
    strength_known : bool
        Whether the record holds signal strengths.
    reason : truncation.TruncationReason
        Why the observation ends.
    """

    impact_parameter: FloatArray
    first: FloatArray
    second: FloatArray
    corrected: FloatArray
    scatter: FloatArray
    tangent: FloatArray
    second_bottom: float
    multipath_top: float
    missing: float
    strength_known: bool
    reason: truncation.TruncationReason


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
    bending_uncertainty : FloatArray
        Standard deviation of the corrected bending [rad].
    refractive : abel.RefractiveProfile
        Refractivity and radius.
    altitude : FloatArray
        Altitude above the geoid [m].
    dry : dry_atmosphere.DryAtmosphere
        Dry pressure and temperature.
    deviation : uncertainty.ProfileUncertainty
        Standard deviations of refractivity and dry temperature.
    """

    optimized: statistical_optimization.OptimizedBending
    noise: statistical_optimization.Noise
    fitted: background.FittedBackground
    bending_uncertainty: FloatArray
    refractive: abel.RefractiveProfile
    altitude: FloatArray
    dry: dry_atmosphere.DryAtmosphere
    deviation: uncertainty.ProfileUncertainty


def retrieve(level1b: xr.Dataset, *, parameters: OccultationParameters | None = None) -> xr.Dataset:
    """Retrieve the profile of one occultation.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B as described in `processors.occultation.level1b`.
    parameters : OccultationParameters, optional
        Parameters of the steps.

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
    chosen = parameters or OccultationParameters()
    contract.require(level1b)
    reference = georeference.locate(level1b)
    observed = observe(level1b, reference=reference, parameters=chosen)
    neutral = neutral_profile(observed, reference=reference, parameters=chosen)
    if neutral.altitude[0] < 0.0:
        observed = _above_surface(observed, altitude=neutral.altitude)
        neutral = neutral_profile(observed, reference=reference, parameters=chosen)
    return _dataset(level1b, reference=reference, observed=observed, neutral=neutral, parameters=chosen)


def observe(
    level1b: xr.Dataset, *, reference: georeference.Reference, parameters: OccultationParameters
) -> ObservedBending:
    """Bending of both signals and without ionosphere, on levels.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.
    reference : georeference.Reference
        Reference point.
    parameters : OccultationParameters
        Parameters of the steps.

    Returns
    -------
    ObservedBending
        Bending on levels from the lowest observed one to the top of the grid.
    """
    time = level1b["time"].to_numpy()
    arc = georeference.arc_about_center(level1b, reference=reference)
    first_samples, second_samples = _usable_samples(level1b, parameters=parameters)
    first, second = (
        _sample_bending(level1b, index, samples.usable, arc=arc, parameters=parameters)
        for index, samples in enumerate((first_samples, second_samples))
    )
    levels = _levels(reference, parameters.levels)
    first_gaps, second_gaps = (
        geometric_optics.gaps(bending, time=time, parameters=parameters.doppler) for bending in (first, second)
    )
    raw = _onto(first, levels, first_gaps, parameters)
    difference = ionosphere.smoothed_difference(
        first,
        second=second,
        second_gaps=second_gaps,
        levels=levels,
        parameters=parameters.ionospheric_correction,
    )
    corrected = ionosphere.correct(
        raw.value,
        difference=difference,
        impact_parameter=levels,
        frequency=level1b["carrier_frequency"].to_numpy(),
        parameters=parameters.ionospheric_correction,
    )
    bottom = _bottom(raw.value, height=levels - reference.radius, parameters=parameters.gaps)
    points = georeference.tangent_points(first, arc=arc, time=time, reference=reference)
    second_impact = second.impact_parameter[np.isfinite(second.impact_parameter)]
    phases = level1b["excess_phase"].to_numpy()[0][first_samples.usable]
    return ObservedBending(
        impact_parameter=levels[bottom:],
        first=raw.value[bottom:],
        second=_onto(second, levels, second_gaps, parameters).value[bottom:],
        corrected=corrected.bending_angle[bottom:],
        scatter=raw.scatter[bottom:],
        tangent=_tangent_on_levels(points, at=first.impact_parameter, levels=levels[bottom:]),
        second_bottom=float(second_impact.min()) if second_impact.size else np.nan,
        multipath_top=geometric_optics.beyond_gap(
            geometric_optics.multipath_top(
                first,
                heights=georeference.straight_line_heights(level1b),
                tolerance=parameters.errors.multipath_tolerance,
                ceiling=reference.radius + parameters.errors.multipath_ceiling,
            ),
            gaps=first_gaps,
        ),
        missing=_missing_fraction(phases, time=time[first_samples.usable]),
        strength_known=bool((np.nan_to_num(level1b["snr"].to_numpy()[0]) > 0.0).any()),
        reason=_reason(
            raw.value,
            bottom=bottom,
            cut=_cut_by_gap(level1b, usable=first_samples.usable, bending=first),
            lost=first_samples.lost,
        ),
    )


def _above_surface(observed: ObservedBending, *, altitude: FloatArray) -> ObservedBending:
    """The observation from its first level above the geoid: below there was no ray, only noise."""
    first = int(np.argmax((altitude >= 0.0) & np.isfinite(observed.first)))
    by_level = ("impact_parameter", "first", "second", "corrected", "scatter", "tangent")
    kept = {name: getattr(observed, name)[first:] for name in by_level}
    return observed._replace(**kept, reason=truncation.TruncationReason.SURFACE_REACHED)


def _usable_samples(
    level1b: xr.Dataset, *, parameters: OccultationParameters
) -> tuple[truncation.UsableSamples, truncation.UsableSamples]:
    """Samples of both signals above their loss."""
    heights = georeference.straight_line_heights(level1b)
    rules = parameters.signal_loss
    snr = level1b["snr"].to_numpy()
    first, second = (
        truncation.above_loss(
            snr[index], heights=heights, time=level1b["time"].to_numpy(), fraction=fraction, parameters=rules
        )
        for index, fraction in enumerate((rules.first_fraction, rules.second_fraction))
    )
    return first, truncation.UsableSamples(second.usable & first.usable, second.lost)


def _sample_bending(
    level1b: xr.Dataset,
    signal: int,
    usable: BoolArray,
    *,
    arc: georeference.Arc,
    parameters: OccultationParameters,
) -> geometric_optics.BendingAngle:
    """Bending of one signal by sample."""
    phase = np.where(usable, level1b["excess_phase"].to_numpy()[signal], np.nan)
    doppler = geometric_optics.excess_doppler(phase, time=level1b["time"].to_numpy(), parameters=parameters.doppler)
    return geometric_optics.bending_angle_from_doppler(doppler, geometry=arc.geometry)


def _levels(reference: georeference.Reference, parameters: LevelParameters) -> FloatArray:
    """Levels at round impact heights [m]."""
    count = round((parameters.top - parameters.bottom) / parameters.spacing) + 1
    return reference.radius + parameters.bottom + parameters.spacing * np.arange(count, dtype=np.float64)


def _onto(
    bending: geometric_optics.BendingAngle, levels: FloatArray, gaps: FloatArray, parameters: OccultationParameters
) -> resampling.Resampled:
    """Bring samples onto levels, none of them within a gap."""
    resampled = resampling.onto_levels(
        bending.bending_angle,
        at=bending.impact_parameter,
        levels=levels,
        half_width=parameters.levels.half_width,
    )
    return resampling.outside_gaps(resampled, levels=levels, gaps=gaps)


def _bottom(bending: FloatArray, *, height: FloatArray, parameters: bridging.BridgingParameters) -> int:
    """Lowest level of the stretch that is worth most."""
    found = bridging.stretches(bending, impact_height=height, parameters=parameters)
    kept = bridging.most_informative(found, impact_height=height, parameters=parameters)
    return kept.start if kept else 0


def _cut_by_gap(level1b: xr.Dataset, *, usable: BoolArray, bending: geometric_optics.BendingAngle) -> bool:
    """Whether phases below the lowest ray were too few between gaps to tell a Doppler from."""
    heights = georeference.straight_line_heights(level1b)
    phases = heights[usable & np.isfinite(level1b["excess_phase"].to_numpy()[0])]
    rays = heights[np.isfinite(bending.impact_parameter)]
    return bool(phases.size and rays.size and phases.min() < rays.min())


def _reason(bending: FloatArray, *, bottom: int, cut: bool, lost: bool) -> truncation.TruncationReason:
    """Why the observation ends: with a gap where something was observed below the bottom."""
    present = np.isfinite(bending)
    if not present.any():
        return truncation.TruncationReason.NOTHING_RETRIEVED
    if cut or present[:bottom].any():
        return truncation.TruncationReason.DATA_GAP
    return truncation.TruncationReason.SIGNAL_LOST if lost else truncation.TruncationReason.RECORD_END


def _missing_fraction(phase: FloatArray, *, time: FloatArray) -> float:
    """Fraction of the samples that a complete record would hold and this one does not [1]."""
    if time.size < 2:
        return 1.0
    expected = round(float(time[-1] - time[0]) / float(np.median(np.diff(time)))) + 1
    return 1.0 - np.count_nonzero(np.isfinite(phase)) / expected


def _tangent_on_levels(points: FloatArray, *, at: FloatArray, levels: FloatArray) -> FloatArray:
    """Tangent points on levels, held constant beyond the observation [m]."""
    usable = np.flatnonzero(np.isfinite(at) & np.isfinite(points).all(axis=1))
    if usable.size == 0:
        return np.full((levels.size, 3), np.nan)
    order = usable[np.argsort(at[usable], kind="stable")]
    return np.stack([np.interp(levels, at[order], component) for component in points[order].T], axis=1)


def neutral_profile(
    observed: ObservedBending, *, reference: georeference.Reference, parameters: OccultationParameters
) -> NeutralProfile:
    """Background, optimisation, refractivity, dry atmosphere and standard deviations.

    Parameters
    ----------
    observed : ObservedBending
        Bending on levels.
    reference : georeference.Reference
        Reference point.
    parameters : OccultationParameters
        Parameters of the steps.

    Returns
    -------
    NeutralProfile
        The derived profiles.
    """
    levels, height = observed.impact_parameter, observed.impact_parameter - reference.radius
    model = background.model_atmosphere(
        reference.latitude, reference.longitude, time=reference.time, parameters=parameters.background_model
    )
    surface_radius = reference.radius + reference.undulation
    unscaled = background.model_bending(model, impact_parameter=levels, surface_radius=surface_radius)
    noise, fitted = _noise_and_fit(observed.corrected, model=unscaled, height=height, parameters=parameters)
    error = uncertainty.bending_uncertainty(
        observed.corrected,
        scatter=observed.scatter,
        noise=noise.deviation,
        impact_height=height,
        multipath_top=observed.multipath_top - reference.radius,
        parameters=parameters.errors,
    )
    optimized = statistical_optimization.optimize(
        observed.corrected,
        background=fitted.bending_angle,
        observation_error=error,
        impact_height=height,
        parameters=parameters.optimization,
    )
    bridged = bridging.bridge(
        optimized,
        observed=observed.corrected,
        background=fitted.bending_angle,
        impact_height=height,
        parameters=parameters.gaps,
    )
    operator = abel.operator(levels, scale=abel.tail_scale(bridged.bending_angle, at=levels))
    refractive = abel.refractive_profile(operator @ bridged.bending_angle, impact_parameter=levels)
    altitude = refractive.radius - surface_radius
    dry = dry_atmosphere.dry_atmosphere(
        refractive.refractivity,
        altitude=altitude,
        latitude=reference.latitude,
        top_temperature=float(np.interp(altitude[-1], model.altitude, model.temperature)),
    )
    deviation = uncertainty.propagate(
        _covariance(error, optimized.weight, bridged, fitted=fitted, levels=levels, parameters=parameters),
        operator=operator,
        refractivity=refractive.refractivity,
        altitude=altitude,
        latitude=reference.latitude,
        dry_pressure=dry.pressure,
        dry_temperature=dry.temperature,
    )
    merged = optimized._replace(bending_angle=bridged.bending_angle)
    return NeutralProfile(merged, noise, fitted, error, refractive, altitude, dry, deviation)


def _covariance(
    error: FloatArray,
    weight: FloatArray,
    bridged: bridging.BridgedBending,
    *,
    fitted: background.FittedBackground,
    levels: FloatArray,
    parameters: OccultationParameters,
) -> FloatArray:
    """Covariance of the merged bending [rad2]; a bridged level has the error of its neighbours and that of the bridge.

    Without the former a bridge would seem better than an observation where that is noisy.
    """
    merged = uncertainty.optimized_covariance(
        bridging.across(error, bridged=bridged.bridged),
        background=fitted.bending_angle,
        weight=bridging.across(weight, bridged=bridged.bridged),
        impact_parameter=levels,
        parameters=parameters.errors,
    )
    return merged + uncertainty.correlated(bridged.error, at=levels, length=parameters.gaps.error_length)


def _noise_and_fit(
    observed: FloatArray, *, model: FloatArray, height: FloatArray, parameters: OccultationParameters
) -> tuple[statistical_optimization.Noise, background.FittedBackground]:
    """Noise against the unscaled model, the scaled background, and the noise against that."""
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


def _evidence(
    observed: ObservedBending,
    *,
    neutral: NeutralProfile,
    reference: georeference.Reference,
    parameters: bridging.BridgingParameters,
) -> quality.Evidence:
    """What the quality flags are decided on."""
    height = observed.impact_parameter - reference.radius
    lowest = next(iter(bridging.stretches(observed.corrected, impact_height=height, parameters=parameters)), None)
    return quality.Evidence(
        noise=neutral.noise.deviation,
        bias=neutral.noise.mean,
        top=float(height[lowest.stop - 1]) if lowest else np.nan,
        lowest_altitude=float(neutral.altitude[lowest.start]) if lowest else np.nan,
        second_signal_bottom=observed.second_bottom - reference.radius,
        fitted_levels=neutral.fitted.levels,
        missing=observed.missing,
        gapped=bool(bridging.gaps(observed.corrected)) or observed.reason is truncation.TruncationReason.DATA_GAP,
        strength_known=observed.strength_known,
        altitude=neutral.altitude,
        refractivity=neutral.refractive.refractivity,
        dry_temperature=neutral.dry.temperature,
    )


def _dataset(
    level1b: xr.Dataset,
    *,
    reference: georeference.Reference,
    observed: ObservedBending,
    neutral: NeutralProfile,
    parameters: OccultationParameters,
) -> xr.Dataset:
    """Arrange the result under its published names."""
    evidence = _evidence(observed, neutral=neutral, reference=reference, parameters=parameters.gaps)
    impact = {
        "impact_parameter": observed.impact_parameter,
        "bending_angle_l1": observed.first,
        "bending_angle_l2": observed.second,
        "bending_angle": observed.corrected,
        "bending_angle_uncertainty": np.where(np.isfinite(observed.corrected), neutral.bending_uncertainty, np.nan),
        "bending_angle_optimized": neutral.optimized.bending_angle,
        "observation_weight": neutral.optimized.weight,
    }
    scalars: dict[str, float | int] = {
        "radius_of_curvature": reference.radius,
        "undulation": reference.undulation,
        "reference_time": reference.time,
        "reference_latitude": reference.latitude,
        "reference_longitude": reference.longitude,
        "azimuth": reference.azimuth,
        "setting": int(level1b.attrs["setting"]),
        "quality_flag": int(quality.flags(evidence, thresholds=parameters.thresholds)),
        "lowest_altitude": evidence.lowest_altitude,
        "truncation_reason": int(observed.reason),
        "bending_angle_noise": neutral.noise.deviation,
        "bending_angle_bias": neutral.noise.mean,
        "second_signal_lowest_impact_height": evidence.second_signal_bottom,
        "multipath_top_impact_height": observed.multipath_top - reference.radius,
        "background_fit_offset": neutral.fitted.offset,
        "background_fit_slope": neutral.fitted.slope,
    }
    height = _height_variables(observed, neutral=neutral, reference=reference)
    return xr.Dataset(
        {
            **{name: ("impact", values) for name, values in impact.items()},
            **{name: ("height", values) for name, values in height.items()},
            **{name: ((), value) for name, value in scalars.items()},
            "center_of_curvature": ("xyz", reference.center),
        },
        attrs=_attributes(level1b),
    )


def _height_variables(
    observed: ObservedBending, *, neutral: NeutralProfile, reference: georeference.Reference
) -> dict[str, FloatArray]:
    """Variables on the dimension height."""
    place = ellipsoid.from_ecef(observed.tangent)
    return {
        "height": neutral.altitude,
        "altitude": neutral.altitude,
        "geopotential_height": gravity.geopotential_height(reference.latitude, neutral.altitude),
        "latitude": place.latitude,
        "longitude": place.longitude,
        "refractivity": neutral.refractive.refractivity,
        "refractivity_uncertainty": neutral.deviation.refractivity,
        "dry_pressure": neutral.dry.pressure,
        "dry_temperature": neutral.dry.temperature,
        "dry_temperature_uncertainty": neutral.deviation.dry_temperature,
    }


def _attributes(level1b: xr.Dataset) -> dict[str, str | float]:
    """Identity and conventions of the profile."""
    frequency = level1b["carrier_frequency"].to_numpy()
    identity = {
        name: str(level1b.attrs[name])
        for name in ("occultation_id", "transmitter", "receiver", "mission", "source_id", "processing_center")
        if name in level1b.attrs
    }
    time = level1b["time"].to_numpy()
    return {
        **identity,
        "record_start": float(time[0]),
        "record_end": float(time[-1]),
        "sampling_interval": float(np.median(np.diff(time))),
        "first_signal_frequency": float(frequency[0]),
        "second_signal_frequency": float(frequency[1]),
        "dry_refractivity_coefficient": constants.REFRACTIVITY_DRY,
        "bending_method": "geometric optics",
        "background_model": "MSIS 2.1",
    }
