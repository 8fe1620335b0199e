"""A retrieved profile under its published names."""

import numpy as np
import xarray as xr

from processors import constants
from processors.arrays import FloatArray, IntArray
from processors.geodesy import ellipsoid, gravity
from processors.occultation import signals
from processors.quality import BadInputError
from retrieval.occultation import (
    bending_entry,
    bridging,
    georeference,
    observation,
    quality,
    scintillation,
    signal_bending,
    truncation,
    uncertainty,
)
from retrieval.occultation.neutral_profile import NeutralProfile
from retrieval.occultation.occultation_parameters import OccultationParameters

LEAST_BENDING, LARGEST_BENDING = -0.01, 0.2
LARGEST_REFRACTIVITY, LEAST_REFRACTIVITY = 1_000.0, -10.0
IDENTITY = (
    "occultation_id",
    "transmitter",
    "receiver",
    "mission",
    "source_id",
    "processing_center",
    "findings",
    "receiver_orbit_residual",
    "transmitter_orbit_residual",
)


def assemble(
    level1b: xr.Dataset,
    *,
    reference: georeference.Reference,
    observed: observation.ObservedBending,
    neutral: NeutralProfile,
    parameters: OccultationParameters,
) -> xr.Dataset:
    """Arrange the result of an event from its phases.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.
    reference : georeference.Reference
        Reference point.
    observed : observation.ObservedBending
        Bending on levels.
    neutral : NeutralProfile
        Everything after it.
    parameters : OccultationParameters
        Thresholds.

    Returns
    -------
    xr.Dataset
        Variables on the dimensions impact, height and sounding, and scalars.
    """
    evidence = _evidence(observed, neutral=neutral, reference=reference, parameters=parameters)
    evidence = evidence._replace(findings=frozenset(str(level1b.attrs.get("findings", "")).split()))
    first, second = observed.signals
    correction = observed.correction
    impact = {
        "bending_angle_l1": first.bending_angle,
        "bending_angle_l2": _plausible(second.bending_angle),
        "ionospheric_difference": correction.difference,
        "local_spectral_width": first.spectral_width,
        "signal_amplitude": first.amplitude,
        "wave_optics_weight": first.wave_weight,
        "bending_angle_resolution": _resolution(first),
    }
    scalars: dict[str, float | int] = {
        "second_signal_lowest_impact_height": evidence.second_signal_bottom,
        "multipath_top_impact_height": observed.multipath_top - reference.radius,
        "shadow_border_impact_height": first.border - reference.radius,
        "ionospheric_smoothing": correction.half_width,
        "bending_angle_excess_noise": neutral.covariance.excess,
        "phase_noise_l1": float(np.sqrt(first.noise_density)),
        "phase_noise_l2": float(np.sqrt(second.noise_density)),
        "truncation_reason": int(observed.reason),
    }
    made = _dataset(
        impact,
        scalars=scalars,
        levels=observed.impact_parameter,
        corrected=correction.bending_angle,
        extrapolated=correction.extrapolated,
        tangent=observed.tangent,
        reference=reference,
        setting=int(level1b.attrs["setting"]),
        evidence=evidence,
        neutral=neutral,
        parameters=parameters,
    )
    above = _ionosphere(level1b, since=reference.time, parameters=parameters.electrons)
    method = "geometric optics" + (" above, CT2 below" if evidence.waves else "")
    return made.assign(above).assign_attrs(_attributes(level1b, bending_method=method))


def assemble_from_bending(
    profile: xr.Dataset,
    *,
    entry: bending_entry.Entry,
    neutral: NeutralProfile,
    parameters: OccultationParameters,
) -> xr.Dataset:
    """Arrange the result of a bending profile.

    Parameters
    ----------
    profile : xr.Dataset
        Bending profile.
    entry : bending_entry.Entry
        The same on levels.
    neutral : NeutralProfile
        Everything after it.
    parameters : OccultationParameters
        Thresholds.

    Returns
    -------
    xr.Dataset
        Variables on the dimensions impact and height, and scalars.
    """
    height = entry.levels - entry.reference.radius
    present = np.flatnonzero(np.isfinite(entry.corrected))
    second = np.flatnonzero(np.isfinite(entry.second))
    gapped = bool(bridging.gaps(entry.corrected))
    evidence = quality.Evidence(
        noise=neutral.noise.deviation if neutral.noise.levels else np.nan,
        bias=neutral.noise.mean if neutral.noise.levels else np.nan,
        top=float(height[present[-1]]),
        lowest_altitude=float(neutral.altitude[present[0]]),
        second_signal_bottom=float(height[second[0]]) if second.size else float(height[present[0]]),
        fitted_levels=neutral.fitted.levels,
        missing=0.0,
        gapped=gapped,
        strength_known=True,
        altitude=neutral.altitude,
        refractivity=neutral.refractive.refractivity,
        dry_temperature=neutral.dry.temperature,
        super_refractive=bool(neutral.ducts.biased.any()),
        findings=frozenset(str(profile.attrs.get("findings", "")).split()),
    )
    made = _dataset(
        {"bending_angle_l1": entry.first, "bending_angle_l2": entry.second},
        scalars={"truncation_reason": int(truncation.TruncationReason.RECORD_END)},
        levels=entry.levels,
        corrected=entry.corrected,
        extrapolated=np.zeros(entry.levels.shape, dtype=bool),
        tangent=entry.tangent,
        reference=entry.reference,
        setting=int(profile.attrs["setting"]),
        evidence=evidence,
        neutral=neutral,
        parameters=parameters,
    )
    frequency = np.asarray(profile.attrs["carrier_frequency"], dtype=np.float64)
    identity = {name: profile.attrs[name] for name in IDENTITY if name in profile.attrs}
    return made.assign_attrs(
        {
            **identity,
            "record_start": entry.reference.time,
            "record_end": entry.reference.time,
            **_carriers(profile, frequency),
            "uncertainty_source": "assumed: the file brings no errors of its bending angle",
            "bending_method": f"bending angle as given by {profile.attrs.get('processing_center', 'another centre')}",
        }
    )


def _dataset(
    impact: dict[str, FloatArray],
    *,
    scalars: dict[str, float | int],
    levels: FloatArray,
    corrected: FloatArray,
    extrapolated: np.ndarray,
    tangent: FloatArray,
    reference: georeference.Reference,
    setting: int,
    evidence: quality.Evidence,
    neutral: NeutralProfile,
    parameters: OccultationParameters,
) -> xr.Dataset:
    """What every profile has, whatever it began with."""
    covariance = neutral.covariance
    present = np.isfinite(corrected)
    random = np.sqrt(np.maximum(np.diag(covariance.random) + covariance.between, 0.0))
    systematic = np.sqrt(np.maximum(np.diag(covariance.systematic), 0.0))
    by_impact = {
        "impact_parameter": levels,
        "impact_height": levels - reference.radius,
        "bending_angle": corrected,
        "bending_angle_uncertainty": np.where(present, np.hypot(random, systematic), np.nan),
        "bending_angle_random_uncertainty": np.where(present, random, np.nan),
        "bending_angle_systematic_uncertainty": np.where(present, systematic, np.nan),
        "bending_angle_correlation_length": uncertainty.correlation_length(
            covariance.random + covariance.systematic, at=levels, parameters=parameters.errors
        ),
        "bending_angle_optimized": neutral.optimized.bending_angle,
        "bending_angle_background": neutral.fitted.bending_angle,
        "observation_weight": neutral.optimized.weight,
        "bending_flag": quality.bending_flags(
            present, extrapolated=np.asarray(extrapolated), bridged=neutral.bridged, merged=neutral.optimized.merged
        ),
        **impact,
    }
    by_height = _height_variables(tangent, neutral=neutral, reference=reference)
    single: dict[str, float | int] = {
        "radius_of_curvature": reference.radius,
        "undulation": reference.undulation,
        "reference_time": reference.time,
        "reference_latitude": reference.latitude,
        "reference_longitude": reference.longitude,
        "azimuth": reference.azimuth,
        "setting": setting,
        "quality_flag": int(quality.flags(evidence, thresholds=parameters.thresholds)),
        "lowest_altitude": evidence.lowest_altitude,
        "super_refraction_altitude": neutral.ducts.top,
        "bending_angle_noise": evidence.noise,
        "bending_angle_bias": evidence.bias,
        "background_fit_offset": neutral.fitted.offset,
        "background_fit_slope": neutral.fitted.slope,
        **scalars,
    }
    return xr.Dataset(
        {
            **{name: ("impact", values) for name, values in by_impact.items()},
            **{name: ("height", values) for name, values in by_height.items()},
            **{name: ((), value) for name, value in single.items()},
            "center_of_curvature": ("xyz", reference.center),
        },
        attrs={
            "dry_refractivity_coefficient": constants.REFRACTIVITY_DRY,
            "background_f107": parameters.background_model.f107,
            "background_f107_average": parameters.background_model.f107_average,
            "background_ap": parameters.background_model.ap,
            "background_fit_layer": [
                parameters.background_model.fit_bottom,
                parameters.background_model.fit_top,
            ],
        },
    )


def _plausible(bending: FloatArray) -> FloatArray:
    """Bending angles no atmosphere makes are missing: a second signal below its loss [rad]."""
    return np.where((bending > LEAST_BENDING) & (bending < LARGEST_BENDING), bending, np.nan)


def _resolution(signal: signal_bending.SignalBending) -> FloatArray:
    """Half width of the averaging kernel [m]."""
    wave = np.where(signal.wave_weight > 0.0, signal.wave_width, 0.0)
    return np.asarray(signal.wave_weight * wave + (1.0 - signal.wave_weight) * signal.geometric_width)


def _height_variables(
    tangent: FloatArray, *, neutral: NeutralProfile, reference: georeference.Reference
) -> dict[str, FloatArray | IntArray]:
    """Variables on the dimension height."""
    place = ellipsoid.from_ecef(tangent)
    deviation = neutral.deviation
    # Where the refractivity is lost in its error, so is the temperature.
    known = deviation.dry_temperature < np.nan_to_num(neutral.dry.temperature)
    return {
        "height": neutral.altitude,
        "altitude": neutral.altitude,
        "geopotential_height": gravity.geopotential_height(reference.latitude, neutral.altitude),
        "latitude": place.latitude,
        "longitude": place.longitude,
        "refractivity": neutral.refractive.refractivity,
        "refractivity_uncertainty": deviation.refractivity,
        "refractivity_random_uncertainty": deviation.refractivity_random,
        "refractivity_systematic_uncertainty": deviation.refractivity_systematic,
        "refractivity_correlation_length": deviation.refractivity_length,
        "refractivity_flag": neutral.ducts.biased.astype(np.int64),
        "dry_pressure": np.where(neutral.dry.pressure > 0.0, neutral.dry.pressure, np.nan),
        "dry_pressure_uncertainty": deviation.dry_pressure,
        "dry_pressure_systematic_uncertainty": deviation.dry_pressure_systematic,
        "dry_pressure_correlation_length": deviation.dry_pressure_length,
        "dry_temperature": np.where(known, neutral.dry.temperature, np.nan),
        "dry_temperature_uncertainty": np.where(known, deviation.dry_temperature, np.nan),
        "dry_temperature_systematic_uncertainty": np.where(known, deviation.dry_temperature_systematic, np.nan),
        "dry_temperature_correlation_length": deviation.dry_temperature_length,
    }


def _evidence(
    observed: observation.ObservedBending,
    *,
    neutral: NeutralProfile,
    reference: georeference.Reference,
    parameters: OccultationParameters,
) -> quality.Evidence:
    """What the quality flags are decided on."""
    height = observed.impact_parameter - reference.radius
    corrected = observed.correction.bending_angle
    lowest = next(iter(bridging.stretches(corrected, impact_height=height, parameters=parameters.gaps)), None)
    gapped = (
        bool(bridging.gaps(corrected))
        or observed.correction.gapped
        or observed.reason is truncation.TruncationReason.DATA_GAP
    )
    return quality.Evidence(
        noise=neutral.noise.deviation if neutral.noise.levels else np.nan,
        bias=neutral.noise.mean if neutral.noise.levels else np.nan,
        top=float(height[lowest.stop - 1]) if lowest else np.nan,
        lowest_altitude=float(neutral.altitude[lowest.start]) if lowest else np.nan,
        second_signal_bottom=observed.correction.second_bottom - reference.radius,
        fitted_levels=neutral.fitted.levels,
        missing=observed.missing,
        gapped=gapped,
        strength_known=observed.strength_known,
        altitude=neutral.altitude,
        refractivity=neutral.refractive.refractivity,
        dry_temperature=neutral.dry.temperature,
        super_refractive=bool(neutral.ducts.biased.any()),
        waves=observed.signals[0].field is not None,
        second_scatter=observed.signals[1].scatter,
        gross_errors=neutral.optimized.outliers,
        gain=observed.correction.gain,
    )


def _ionosphere(
    level1b: xr.Dataset, *, since: float, parameters: scintillation.ScintillationParameters
) -> dict[str, tuple[tuple[str, ...] | str, FloatArray | float]]:
    """Scintillation index and electron content above the atmosphere."""
    time, heights = level1b["time"].to_numpy(), georeference.straight_line_heights(level1b)
    snr = level1b["snr"].to_numpy()
    content = scintillation.electron_content(
        level1b["excess_phase"].to_numpy()[:2],
        frequency=level1b["carrier_frequency"].to_numpy(),
        heights=heights,
        time=time,
        parameters=parameters,
    )
    indices = [
        scintillation.amplitude_index(snr[signal], heights=heights, time=time, parameters=parameters)
        for signal in (0, 1)
    ]
    return {
        "scintillation_index_l1": ((), indices[0]),
        "scintillation_index_l2": ((), indices[1]),
        "sounding_time": ("sounding", content.time - since),
        "sounding_height": ("sounding", content.height),
        "slant_electron_content": ("sounding", content.content),
    }


def _carriers(dataset: xr.Dataset, frequency: FloatArray) -> dict[str, str | float]:
    """Frequencies [Hz] and names of both signals."""
    system = str(dataset.attrs["transmitter"])[:1]
    return {
        "first_signal_frequency": float(frequency[0]),
        "second_signal_frequency": float(frequency[1]),
        "first_signal": signals.name_of(float(frequency[0]), system),
        "second_signal": signals.name_of(float(frequency[1]), system),
    }


def _attributes(level1b: xr.Dataset, *, bending_method: str) -> dict[str, str | float]:
    """Identity and conventions of the profile."""
    frequency = level1b["carrier_frequency"].to_numpy()
    time = level1b["time"].to_numpy()
    identity = {name: level1b.attrs[name] for name in IDENTITY if name in level1b.attrs}
    return {
        **identity,
        "record_start": float(time[0]),
        "record_end": float(time[-1]),
        "sampling_interval": float(np.median(np.diff(time))),
        **_carriers(level1b, frequency),
        "bending_method": bending_method,
    }


def require_plausible(made: xr.Dataset) -> xr.Dataset:
    """Refuse a result no atmosphere can have: the phases were not what they were taken for.

    Parameters
    ----------
    made : xr.Dataset
        Retrieved profile.

    Returns
    -------
    xr.Dataset
        The same dataset.

    Raises
    ------
    BadInputError
        `retrieval_implausible`, naming the quantity and its worst value.
    """
    for name, low, high in (
        ("bending_angle_l1", LEAST_BENDING, LARGEST_BENDING),
        ("bending_angle", LEAST_BENDING, LARGEST_BENDING),
        ("bending_angle_optimized", LEAST_BENDING, LARGEST_BENDING),
        ("bending_angle_background", LEAST_BENDING, LARGEST_BENDING),
        ("refractivity", LEAST_REFRACTIVITY, LARGEST_REFRACTIVITY),
    ):
        values = made[name].to_numpy()
        beyond = values[(values < low) | (values > high)]
        if beyond.size:
            raise BadInputError(
                "retrieval_implausible",
                f"{beyond.size} levels of {name} lie outside {low:g} to {high:g}, such as {beyond[0]:.4g}: the"
                " phases or orbits are not what the file says, or hold nothing but noise",
            )
    return made
