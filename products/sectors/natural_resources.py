"""Products for natural resources."""

from datetime import timedelta

import xarray as xr

from products.sectors import definition
from retrieval.surface import land_cover, observation


def land_cover_layers(fused: xr.Dataset, *, parameters: land_cover.LandCoverParameters) -> definition.SectorLayers:
    """Land cover of the period.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset.
    parameters : LandCoverParameters
        Rules.

    Returns
    -------
    SectorLayers
        Layer ``land_cover`` [1] with the probability of the class given [1].

    Raises
    ------
    NotApplicableError
        Where no date has usable pixels.
    """
    dates = observation.dates_with_share(observation.optical_usable(fused), minimum_share=0.0)
    definition.require_dates(dates, minimum=1, purpose="land cover")
    result = land_cover.classify(fused, parameters=parameters)
    return definition.SectorLayers(
        data=xr.Dataset({"land_cover": result.land_cover}),
        uncertainty=xr.Dataset({"land_cover": result.probability.max("class")}),
        dates=dates,
    )


LAND_COVER = definition.ProductDefinition(
    code="land-cover",
    sector="natural-resources",
    title_en="Land cover",
    title_zh="土地覆盖",
    description_en=(
        "Five land-cover classes of the period from spectral indices, their seasonal course and radar backscatter, by "
        "documented rules with a probability per pixel. Not trained on local reference samples; no basis for "
        "official area figures before validation."
    ),
    description_zh=(
        "基于光谱指数、季节变化与雷达后向散射,按公开规则划分的五类土地覆盖,逐像元给出概率。"
        "未经本地样本训练,验证之前不作为法定面积数据。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name="land_cover", title_en="Land cover", title_zh="土地覆盖"),),
    classes=(
        definition.ProductClass(value=1, name_en="Water", name_zh="水体", colour="#2b7bba"),
        definition.ProductClass(value=2, name_en="Bare or built-up", name_zh="裸地与建设用地", colour="#b5a6a0"),
        definition.ProductClass(value=3, name_en="Cropland", name_zh="耕地", colour="#f2cf5b"),
        definition.ProductClass(value=4, name_en="Grass or shrub", name_zh="草地与灌丛", colour="#a6cf70"),
        definition.ProductClass(value=5, name_en="Forest", name_zh="林地", colour="#2f7d4f"),
    ),
    required_bands=("green", "red", "nir"),
    minimum_dates=1,
    latency_target=timedelta(hours=24),
    validity="candidate",
    algorithm=land_cover_layers,
    parameters=land_cover.LandCoverParameters(),
)


def definitions() -> tuple[definition.ProductDefinition, ...]:
    """Products of this sector.

    Returns
    -------
    tuple of ProductDefinition
        In the order of publication.
    """
    return (LAND_COVER,)
