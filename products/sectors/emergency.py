"""Products for emergency management."""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import xarray as xr

from products.sectors import (
    active_fire,
    burn_severity,
    damage_grades,
    definition,
    flood_extent,
    landslide_candidates,
)
from retrieval.surface import change, observation, water


@dataclass(frozen=True, kw_only=True)
class SurfaceWaterAnomalyParameters:
    """Which date is compared with how much history.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs to count as the latest [1].
    water_rules : WaterParameters
        Coefficients of the water probability.
    reference : WaterAnomalyParameters
        History needed.
    """

    minimum_share: float = 0.05
    water_rules: water.WaterParameters = field(default_factory=water.WaterParameters)
    reference: change.WaterAnomalyParameters = field(default_factory=change.WaterAnomalyParameters)


def surface_water_anomaly_layers(
    fused: xr.Dataset, *, parameters: SurfaceWaterAnomalyParameters
) -> definition.SectorLayers:
    """Water of the latest date against the earlier ones, or against a reference that the input carries.

    A variable ``reference_water`` (y, x), the usual probability of water of that month, takes the place of earlier
    dates.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    parameters : SurfaceWaterAnomalyParameters
        Date and history.

    Returns
    -------
    SectorLayers
        Layer ``surface_water_anomaly`` [1] with the probability of the class given [1].

    Raises
    ------
    NotApplicableError
        Where there is neither a reference nor enough earlier dates.
    """
    usable = observation.optical_usable(fused) | observation.radar_usable(fused)
    found = observation.dates_with_share(usable, minimum_share=parameters.minimum_share)
    dates = _dates(fused, found, minimum=1 + parameters.reference.minimum_reference_dates)
    wet = water.probability(fused.isel(time=dates), parameters=parameters.water_rules)
    usual = _usual_water(fused, wet.isel(time=slice(0, -1)), minimum=parameters.reference.minimum_reference_dates)
    anomaly = change.surface_water_anomaly(wet.isel(time=-1, drop=True), usual=usual)
    return definition.SectorLayers(
        data=xr.Dataset({"surface_water_anomaly": anomaly.anomaly}),
        uncertainty=xr.Dataset({"surface_water_anomaly": anomaly.probability}),
        dates=dates,
    )


def _dates(fused: xr.Dataset, found: npt.NDArray[np.intp], *, minimum: int) -> npt.NDArray[np.intp]:
    if "reference_water" in fused:
        return definition.require_dates(found, minimum=1, purpose="surface water anomaly")[-1:]
    return definition.require_dates(
        found, minimum=minimum, purpose="surface water anomaly without a reference of usual water"
    )


def _usual_water(fused: xr.Dataset, earlier: xr.DataArray, *, minimum: int) -> xr.DataArray:
    if "reference_water" in fused:
        return fused["reference_water"]
    return change.water_frequency(earlier, minimum_dates=minimum)


SURFACE_WATER_ANOMALY = definition.ProductDefinition(
    code="surface-water-anomaly",
    sector="emergency",
    title_en="Surface water anomaly",
    title_zh="地表水体异常",
    description_en=(
        "Water on the latest date that is usually absent, and water usually present that is absent, against the "
        "earlier dates of the input or a reference of usual water. A candidate for flood or drought, not a finding; "
        "the yearly swing of a reservoir shows as an anomaly unless the reference is of the same month."
    ),
    description_zh=(
        "最近日期相对于既往日期或常态水体参考的新增水体与退缩水体。"
        "仅为洪涝或干旱的疑似线索,不是结论;若参考不是同月份,水库的年内涨落也会表现为异常。"
    ),
    kind="class",
    layers=(
        definition.ProductLayer(
            name="surface_water_anomaly", title_en="Surface water anomaly", title_zh="地表水体异常"
        ),
    ),
    classes=(
        definition.ProductClass(value=change.STABLE_DRY, name_en="Dry as usual", name_zh="常态陆地", colour="#ece7dc"),
        definition.ProductClass(
            value=change.STABLE_WATER, name_en="Water as usual", name_zh="常态水体", colour="#2b7bba"
        ),
        definition.ProductClass(value=change.NEW_WATER, name_en="New water", name_zh="新增水体", colour="#d7263d"),
        definition.ProductClass(
            value=change.RECEDED_WATER, name_en="Receded water", name_zh="退缩水体", colour="#e8a33d"
        ),
    ),
    required_bands=("green", "red", "nir"),
    minimum_dates=1,
    latency_target=timedelta(minutes=30),
    validity="candidate",
    algorithm=surface_water_anomaly_layers,
    parameters=SurfaceWaterAnomalyParameters(),
)


def definitions() -> tuple[definition.ProductDefinition, ...]:
    """Products of this sector.

    Returns
    -------
    tuple of ProductDefinition
        In the order of publication.
    """
    return (
        SURFACE_WATER_ANOMALY,
        flood_extent.DEFINITION,
        active_fire.DEFINITION,
        burn_severity.DEFINITION,
        landslide_candidates.DEFINITION,
        damage_grades.DEFINITION,
    )
