"""Products for transport: waterways, and roads in an emergency."""

from dataclasses import dataclass, field
from datetime import timedelta

import xarray as xr

from products.sectors import definition, exposed_segments, navigable_change, river_width, ship_detection
from retrieval.surface import observation, water


@dataclass(frozen=True, kw_only=True)
class OpenWaterParameters:
    """Which date is mapped and how water is told.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs to count as the latest [1].
    water_rules : WaterParameters
        Coefficients of the water probability.
    """

    minimum_share: float = 0.05
    water_rules: water.WaterParameters = field(default_factory=water.WaterParameters)


def open_water_layers(fused: xr.Dataset, *, parameters: OpenWaterParameters) -> definition.SectorLayers:
    """Open water on the latest date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of one or several dates.
    parameters : OpenWaterParameters
        Date and coefficients.

    Returns
    -------
    SectorLayers
        Layer ``open_water`` [1] with the probability of the class given [1].

    Raises
    ------
    NotApplicableError
        Where no date has enough usable pixels.
    """
    usable = observation.optical_usable(fused) | observation.radar_usable(fused)
    dates = observation.dates_with_share(usable, minimum_share=parameters.minimum_share)
    latest = definition.require_dates(dates, minimum=1, purpose="open water")[-1:]
    wet = water.probability(fused.isel(time=latest), parameters=parameters.water_rules).isel(time=0, drop=True)
    classes = water.classify(wet, threshold=parameters.water_rules.threshold)
    return definition.SectorLayers(
        data=xr.Dataset({"open_water": classes}),
        uncertainty=xr.Dataset({"open_water": wet.where(classes == water.WATER, 1 - wet)}),
        dates=latest,
    )


OPEN_WATER = definition.ProductDefinition(
    code="open-water-extent",
    sector="transport",
    title_en="Open water extent",
    title_zh="开阔水面范围",
    description_en=(
        "Open water along rivers on the latest date, from reflectance and, where there is radar, backscatter. Water "
        "surface only: it states no depth and no clearance, and channels narrower than three pixels are not resolved."
    ),
    description_zh=(
        "最近日期的沿江开阔水面,由反射率并在有雷达数据时结合后向散射得到。"
        "仅表示水面范围,不表示水深与通航净空,窄于三个像元的河道无法分辨。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name="open_water", title_en="Open water", title_zh="开阔水面"),),
    classes=(
        definition.ProductClass(value=water.DRY, name_en="No open water", name_zh="非开阔水面", colour="#ece7dc"),
        definition.ProductClass(value=water.WATER, name_en="Open water", name_zh="开阔水面", colour="#2b7bba"),
    ),
    required_bands=("green", "red", "nir"),
    minimum_dates=1,
    latency_target=timedelta(hours=24),
    validity="rapid",
    algorithm=open_water_layers,
    parameters=OpenWaterParameters(),
)


def definitions() -> tuple[definition.ProductDefinition, ...]:
    """Products of this sector.

    Returns
    -------
    tuple of ProductDefinition
        In the order of publication.
    """
    return (
        OPEN_WATER,
        river_width.DEFINITION,
        navigable_change.DEFINITION,
        ship_detection.DEFINITION,
        exposed_segments.DEFINITION,
    )
