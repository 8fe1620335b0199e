"""From level 1B, or a bending angle, to a profile: the chain of one occultation.

excess phase -> bending of each signal -> ionosphere removed -> background fitted and merged -> refractivity -> dry
pressure and temperature, with error covariances, flags and the reason the profile ends where it does.
"""

import time

import numpy as np
import xarray as xr

from processors.arrays import FloatArray
from processors.occultation import bending_profile
from processors.occultation import level1b as contract
from retrieval.occultation import (
    background,
    bending_entry,
    georeference,
    neutral_profile,
    observation,
    profile_dataset,
    record,
    truncation,
)
from retrieval.occultation.neutral_profile import Mark
from retrieval.occultation.occultation_parameters import OccultationParameters


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
    level1b: xr.Dataset,
    *,
    parameters: OccultationParameters | None = None,
    model: background.ModelAtmosphere | None = None,
    mark: Mark | None = None,
) -> xr.Dataset:
    """Retrieve the profile of one occultation.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B as described in `processors.occultation.level1b`.
    parameters : OccultationParameters, optional
        Parameters of the steps.
    model : background.ModelAtmosphere, optional
        Background atmosphere; MSIS where there is none.
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
        Where level 1B breaks its contract, holds no occultation, or yields what no atmosphere can have.
    """
    chosen, told = parameters or OccultationParameters(), mark or _silent
    level1b = record.complete(contract.require(level1b))
    reference = georeference.locate(level1b)
    told("reference")
    observed = observation.observe(level1b, reference=reference, parameters=chosen.of_observation())
    told("bending")
    air = model or _climatology(reference, chosen)
    neutral = neutral_profile.from_observation(observed, reference=reference, model=air, parameters=chosen, mark=told)
    if neutral.altitude[0] < 0.0:
        observed = _above_surface(observed, altitude=neutral.altitude)
        neutral = neutral_profile.from_observation(
            observed, reference=reference, model=air, parameters=chosen, mark=told
        )
    made = profile_dataset.assemble(level1b, reference=reference, observed=observed, neutral=neutral, parameters=chosen)
    told("dataset")
    return profile_dataset.require_plausible(made.assign_attrs(background_model=air.name))


def retrieve_from_bending(
    profile: xr.Dataset,
    *,
    parameters: OccultationParameters | None = None,
    model: background.ModelAtmosphere | None = None,
    mark: Mark | None = None,
) -> xr.Dataset:
    """Retrieve the profile of one occultation from another centre's bending angle.

    Parameters
    ----------
    profile : xr.Dataset
        Bending profile as described in `processors.occultation.bending_profile`.
    parameters : OccultationParameters, optional
        Parameters of the steps.
    model : background.ModelAtmosphere, optional
        Background atmosphere; MSIS where there is none.
    mark : callable, optional
        Told the name of each step when it ends.

    Returns
    -------
    xr.Dataset
        As `retrieve`, without what only phases tell.

    Raises
    ------
    BadInputError
        Where the profile breaks its contract.
    """
    chosen, told = parameters or OccultationParameters(), mark or _silent
    bending_profile.require(profile)
    entry = bending_entry.on_levels(profile, parameters=chosen)
    air = model or _climatology(entry.reference, chosen)
    neutral = bending_entry.invert(profile, entry, model=air, parameters=chosen, mark=told)
    made = profile_dataset.assemble_from_bending(profile, entry=entry, neutral=neutral, parameters=chosen)
    told("dataset")
    return profile_dataset.require_plausible(made.assign_attrs(background_model=air.name))


def _climatology(reference: georeference.Reference, parameters: OccultationParameters) -> background.ModelAtmosphere:
    """The background where none is given."""
    return background.model_atmosphere(
        reference.latitude, reference.longitude, time=reference.time, parameters=parameters.background_model
    )


def _silent(step: str) -> None:
    """Nobody wants to know."""


def _above_surface(observed: observation.ObservedBending, *, altitude: FloatArray) -> observation.ObservedBending:
    """The observation from its first level above the geoid: below there was no ray, only noise."""
    lit = np.isfinite(observed.signals[0].bending_angle)
    cut = observation.from_level(observed, int(np.argmax((altitude >= 0.0) & lit)))
    return cut._replace(reason=truncation.TruncationReason.SURFACE_REACHED)
