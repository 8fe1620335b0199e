"""Another centre's bending angle as the beginning of the chain: reference, levels, errors, continuation upward.

Where the file holds a bending angle merged with a background, that is inverted, up to the height it ends; where it
holds none, ours is made. Above, the scaled background goes on to the top of the levels.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from processors.arrays import BoolArray, FloatArray
from processors.geodesy import curvature, ellipsoid
from retrieval.occultation import (
    abel,
    background,
    georeference,
    neutral_profile,
    observation,
    statistical_optimization,
    uncertainty,
)
from retrieval.occultation.neutral_profile import Mark, NeutralProfile
from retrieval.occultation.occultation_parameters import OccultationParameters


class Entry(NamedTuple):
    """A bending angle on levels.

    Attributes
    ----------
    reference : georeference.Reference
        Reference point.
    levels : FloatArray
        Impact parameters [m], shape (m,).
    corrected, first, second : FloatArray
        Bending angles [rad], NaN where missing.
    tangent : FloatArray
        Earth-fixed tangent points [m], shape (m, 3).
    """

    reference: georeference.Reference
    levels: FloatArray
    corrected: FloatArray
    first: FloatArray
    second: FloatArray
    tangent: FloatArray


def on_levels(profile: xr.Dataset, *, parameters: OccultationParameters) -> Entry:
    """Bring a bending profile onto the levels of the retrieval.

    Parameters
    ----------
    profile : xr.Dataset
        Bending profile as described in `processors.occultation.bending_profile`.
    parameters : OccultationParameters
        Levels.

    Returns
    -------
    Entry
        From the lowest level of the profile upward.
    """
    reference = _reference(profile)
    impact = profile["impact_parameter"].to_numpy()
    grid = observation.levels(reference.radius, parameters=parameters.levels)
    # Below the first level of a merged bending that is used there is nothing to invert.
    merged = impact[_merged_levels(profile)]
    grid = grid[grid >= (merged[0] if merged.size else impact[0])]
    first, second = (_onto(profile, name, impact, grid) for name in ("bending_angle_l1", "bending_angle_l2"))
    corrected = _onto(profile, "bending_angle", impact, grid)
    if not np.isfinite(corrected).any():
        corrected = _onto(profile, "bending_angle_optimized", impact, grid)
    return Entry(reference, grid, corrected, first, second, _tangent(profile, impact, grid))


def _merged_levels(profile: xr.Dataset) -> BoolArray:
    """Levels of the file's own merged bending angle; none where it has too few to be inverted."""
    if "bending_angle_optimized" not in profile:
        return np.zeros(profile.sizes["impact"], dtype=bool)
    values = profile["bending_angle_optimized"].to_numpy()
    known = np.isfinite(values) & (np.nan_to_num(values) > 0.0)
    return np.asarray(known & (np.count_nonzero(known) >= values.size // 2))


def _reference(profile: xr.Dataset) -> georeference.Reference:
    """Reference point of the file; the centre of curvature by our own geometry where the file's frame is not known."""
    attributes = profile.attrs
    latitude, longitude, azimuth = (
        float(attributes[name]) for name in ("reference_latitude", "reference_longitude", "azimuth")
    )
    center = np.asarray(attributes["center_of_curvature"], dtype=np.float64)
    if not np.isfinite(center).all():
        center = curvature.sphere(latitude, longitude, azimuth=azimuth).center
    return georeference.Reference(
        time=float(attributes["reference_time"]),
        latitude=latitude,
        longitude=longitude,
        azimuth=azimuth % 360.0,
        radius=float(attributes["radius_of_curvature"]),
        center=center,
        undulation=float(attributes["undulation"]),
    )


def _onto(profile: xr.Dataset, name: str, impact: FloatArray, grid: FloatArray) -> FloatArray:
    """Linear in impact parameter between neighbouring values, NaN elsewhere [rad]."""
    if name not in profile:
        return np.full_like(grid, np.nan)
    return np.asarray(np.interp(grid, impact, profile[name].to_numpy(), left=np.nan, right=np.nan))


def _tangent(profile: xr.Dataset, impact: FloatArray, grid: FloatArray) -> FloatArray:
    """Tangent points on the levels [m]: between the file's in space, so that no meridian is a seam."""
    if "latitude" not in profile:
        return np.full((grid.size, 3), np.nan)
    points = ellipsoid.to_ecef(profile["latitude"].to_numpy(), profile["longitude"].to_numpy(), 0.0)
    known = np.isfinite(points).all(axis=1)
    if not known.any():
        return np.full((grid.size, 3), np.nan)
    return np.stack([np.interp(grid, impact[known], part) for part in points[known].T], axis=1)


def invert(
    profile: xr.Dataset,
    entry: Entry,
    *,
    model: background.ModelAtmosphere,
    parameters: OccultationParameters,
    mark: Mark,
) -> NeutralProfile:
    """Background, merge, refractivity and dry state of a bending profile.

    Parameters
    ----------
    profile : xr.Dataset
        Bending profile.
    entry : Entry
        The same on levels.
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
    reference, levels = entry.reference, entry.levels
    height = levels - reference.radius
    unscaled = background.model_bending(
        model, impact_parameter=levels, surface_radius=reference.radius + reference.undulation
    )
    noise, fitted = neutral_profile.noise_and_fit(entry.corrected, model=unscaled, height=height, parameters=parameters)
    covariance = _covariance(entry, noise=noise.deviation if noise.levels else 0.0, rule=parameters.assumed_errors)
    mark("background")
    merged = _merged_by_the_file(profile, entry, fitted=fitted, covariance=covariance, parameters=parameters)
    if merged is None:
        table = None
        optimized = statistical_optimization.optimize(
            entry.corrected,
            background=fitted.bending_angle,
            covariance=covariance.random,
            impact_parameter=levels,
            radius=reference.radius,
            parameters=parameters.optimization,
        )
    else:
        table, optimized = merged
    return neutral_profile.invert(
        entry.corrected,
        optimized=optimized,
        covariance=covariance,
        fitted=fitted,
        noise=noise,
        levels=levels,
        reference=reference,
        model=model,
        parameters=parameters,
        mark=mark,
        table=table,
    )


def _covariance(entry: Entry, *, noise: float, rule: uncertainty.AssumedErrors) -> uncertainty.BendingCovariance:
    """Assumed errors with the noise high up."""
    height = entry.levels - entry.reference.radius
    present = np.isfinite(entry.corrected)
    relative = np.interp(height, (0.0, rule.ceiling), (rule.surface, rule.aloft))
    deviation = np.where(present, np.hypot(noise, relative * np.nan_to_num(entry.corrected)), 0.0)
    random = uncertainty.correlated(deviation, at=entry.levels, length=rule.length)
    return uncertainty.BendingCovariance(random, np.zeros_like(random), np.zeros_like(deviation), 0.0)


def _merged_by_the_file(
    profile: xr.Dataset,
    entry: Entry,
    *,
    fitted: background.FittedBackground,
    covariance: uncertainty.BendingCovariance,
    parameters: OccultationParameters,
) -> tuple[abel.BendingTable, statistical_optimization.OptimizedBending] | None:
    """The file's own merged bending, continued by the background drawn to it at its top; None where it has none."""
    known = _merged_levels(profile)
    if not known.any():
        return None
    values, impact = profile["bending_angle_optimized"].to_numpy(), profile["impact_parameter"].to_numpy()
    top = impact[known][-1]
    above = entry.levels > top
    drawn = values[known][-1] / float(np.exp(np.interp(top, entry.levels, np.log(fitted.bending_angle))))
    table = abel.BendingTable(
        np.concatenate([impact[known], entry.levels[above]]),
        np.concatenate([values[known], drawn * fitted.bending_angle[above]]),
    )
    height = entry.levels - entry.reference.radius
    merged = height >= parameters.optimization.observed_below
    prior = statistical_optimization.background_covariance(
        fitted.bending_angle[merged], impact_parameter=entry.levels[merged], parameters=parameters.optimization
    )
    # How the other centre merged is not known: its errors are taken for those of a merge level by level.
    seen = np.diag(covariance.random)[merged]
    share = np.where(seen > 0.0, np.diag(prior) / (np.diag(prior) + seen), 0.0)
    gain = np.zeros((share.size, entry.levels.size))
    gain[:, merged] = np.diag(share)
    optimized = statistical_optimization.OptimizedBending(
        bending_angle=np.interp(entry.levels, *table),
        weight=np.where(above, 0.0, np.nan),
        merged=merged,
        gain=gain,
        prior=prior * np.outer(1.0 - share, 1.0 - share),
    )
    return table, optimized
