"""Products for ecology and environment."""

from datetime import timedelta

import xarray as xr

from products.sectors import definition
from retrieval.surface import observation, spectral_index, vegetation


def vegetation_cover_layers(fused: xr.Dataset, *, parameters: vegetation.CoverParameters) -> definition.SectorLayers:
    """Fractional vegetation cover at the highest NDVI of the period.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    parameters : CoverParameters
        Endmembers.

    Returns
    -------
    SectorLayers
        Layer ``vegetation_cover`` [1].

    Raises
    ------
    NotApplicableError
        Where no date has usable pixels.
    """
    dates = observation.dates_with_share(observation.optical_usable(fused), minimum_share=0.0)
    definition.require_dates(dates, minimum=1, purpose="vegetation cover")
    ndvi = spectral_index.estimate(observation.reflectance(fused), index="ndvi")
    cover = vegetation.fractional_cover(vegetation.seasonal_maximum(ndvi), parameters=parameters)
    return definition.SectorLayers(
        data=xr.Dataset({"vegetation_cover": cover.value}),
        uncertainty=xr.Dataset({"vegetation_cover": cover.sigma}),
        dates=dates,
    )


VEGETATION_COVER = definition.ProductDefinition(
    code="vegetation-cover",
    sector="ecology",
    title_en="Fractional vegetation cover",
    title_zh="植被覆盖度",
    description_en=(
        "Share of the ground under green vegetation at the highest NDVI of the period, from a two-endmember mixture "
        "with fixed, versioned endmembers, so that dates can be compared."
    ),
    description_zh="采用固定且带版本号的端元、由像元二分模型得到的时段内最大植被覆盖度,不同日期之间可以比较。",
    kind="value",
    layers=(
        definition.ProductLayer(
            name="vegetation_cover",
            title_en="Vegetation cover",
            title_zh="植被覆盖度",
            colour_map="YlGn",
        ),
    ),
    required_bands=("red", "nir"),
    minimum_dates=1,
    latency_target=timedelta(hours=24),
    validity="rapid",
    algorithm=vegetation_cover_layers,
    parameters=vegetation.CoverParameters(),
)


def definitions() -> tuple[definition.ProductDefinition, ...]:
    """Products of this sector.

    Returns
    -------
    tuple of ProductDefinition
        In the order of publication.
    """
    return (VEGETATION_COVER,)
