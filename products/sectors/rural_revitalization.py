"""Products for rural revitalization: agriculture."""

from dataclasses import dataclass, field
from datetime import timedelta

import xarray as xr

from products.sectors import definition
from retrieval.surface import land_cover, observation, spectral_index, vegetation


@dataclass(frozen=True, kw_only=True)
class CropVigourParameters:
    """Where there is cropland and how many dates make a season.

    Parameters
    ----------
    minimum_looks : int
        Dates a pixel needs [1].
    minimum_cropland_probability : float
        Probability of cropland from which a pixel belongs to the product [1].
    cropland_rules : LandCoverParameters
        Rules that find the cropland.
    """

    minimum_looks: int = 3
    minimum_cropland_probability: float = 0.5
    cropland_rules: land_cover.LandCoverParameters = field(default_factory=land_cover.LandCoverParameters)


@dataclass(frozen=True, kw_only=True)
class GreennessParameters:
    """Which date counts as the latest.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs [1].
    common_gain_sigma : float
        Relative calibration uncertainty common to all bands [1].
    """

    minimum_share: float = 0.05
    common_gain_sigma: float = 0.03


def crop_vigour_layers(fused: xr.Dataset, *, parameters: CropVigourParameters) -> definition.SectorLayers:
    """Vigour of the season on cropland.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of a season.
    parameters : CropVigourParameters
        Cropland and season.

    Returns
    -------
    SectorLayers
        Layers ``peak_ndvi`` [1], ``ndvi_integral`` [d] and ``ndvi_anomaly`` [1].

    Raises
    ------
    NotApplicableError
        Where too few dates have usable pixels.
    """
    dates = observation.dates_with_share(observation.optical_usable(fused), minimum_share=0.0)
    definition.require_dates(dates, minimum=parameters.minimum_looks, purpose="crop vigour")
    season = fused.isel(time=dates)
    ndvi = spectral_index.estimate(observation.reflectance(season), index="ndvi")
    vigour = vegetation.season_vigour(ndvi, minimum_looks=parameters.minimum_looks)
    cover = land_cover.classify(season, parameters=parameters.cropland_rules)
    probability = cover.probability.sel({"class": "cropland"}, drop=True)
    cropland = probability >= parameters.minimum_cropland_probability
    layers = {"peak_ndvi": vigour.peak, "ndvi_integral": vigour.integral, "ndvi_anomaly": vigour.anomaly}
    return definition.SectorLayers(
        data=xr.Dataset({name: layer.value.where(cropland) for name, layer in layers.items()}),
        uncertainty=xr.Dataset({name: layer.sigma.where(cropland) for name, layer in layers.items()}),
        dates=dates,
        outside=probability.notnull() & ~cropland,
    )


def greenness_layers(fused: xr.Dataset, *, parameters: GreennessParameters) -> definition.SectorLayers:
    """Greenness of the latest date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of one or several dates.
    parameters : GreennessParameters
        Which date counts.

    Returns
    -------
    SectorLayers
        Layers ``evi`` and ``ndvi`` [1].

    Raises
    ------
    NotApplicableError
        Where no date has enough usable pixels.
    """
    dates = observation.dates_with_share(observation.optical_usable(fused), minimum_share=parameters.minimum_share)
    latest = definition.require_dates(dates, minimum=1, purpose="vegetation greenness")[-1:]
    reflectance = observation.reflectance(fused.isel(time=latest[0]))
    indices = {
        name: spectral_index.estimate(reflectance, index=name, common_gain_sigma=parameters.common_gain_sigma)
        for name in ("evi", "ndvi")
    }
    return definition.SectorLayers(
        data=xr.Dataset({name: index.value for name, index in indices.items()}),
        uncertainty=xr.Dataset({name: index.sigma for name, index in indices.items()}),
        dates=latest,
    )


CROP_VIGOUR = definition.ProductDefinition(
    code="crop-vigour",
    sector="rural-revitalization",
    title_en="Crop vigour",
    title_zh="作物长势",
    description_en=(
        "Highest NDVI, time integral of NDVI and deviation of the last date from the mean of the period, on pixels "
        "whose seasonal course is that of cropland. The deviation compares with the same season, not with other years."
    ),
    description_zh=(
        "在季节变化符合耕地特征的像元上,给出时段内 NDVI 峰值、NDVI 时间积分以及最近日期相对时段均值的距平。"
        "距平以本季为参照,不是与往年比较。"
    ),
    kind="value",
    layers=(
        definition.ProductLayer(
            name="peak_ndvi", title_en="Peak NDVI", title_zh="NDVI 峰值", colour_map="YlGn", display_range=(0.4, 1.0)
        ),
        definition.ProductLayer(
            name="ndvi_integral",
            title_en="NDVI integral",
            title_zh="NDVI 时间积分",
            units="d",
            colour_map="YlGn",
            display_range=(0.0, 300.0),
        ),
        definition.ProductLayer(
            name="ndvi_anomaly",
            title_en="NDVI minus mean of the period",
            title_zh="NDVI 距平",
            colour_map="BrBG",
            display_range=(-0.5, 0.5),
        ),
    ),
    required_bands=("green", "red", "nir"),
    minimum_dates=3,
    latency_target=timedelta(hours=24),
    validity="candidate",
    algorithm=crop_vigour_layers,
    parameters=CropVigourParameters(),
)

VEGETATION_GREENNESS = definition.ProductDefinition(
    code="vegetation-greenness",
    sector="rural-revitalization",
    title_en="Vegetation greenness",
    title_zh="植被绿度",
    description_en=(
        "Enhanced vegetation index and NDVI of the latest date, for the inspection of fields where a season of dates "
        "is not at hand. No cropland mask is applied."
    ),
    description_zh="最近日期的增强型植被指数与 NDVI,用于尚无整季影像时的田间巡查,未做耕地掩膜。",
    kind="value",
    layers=(
        definition.ProductLayer(
            name="evi", title_en="Enhanced vegetation index", title_zh="增强型植被指数", colour_map="YlGn"
        ),
        definition.ProductLayer(name="ndvi", title_en="NDVI", title_zh="NDVI 归一化植被指数", colour_map="YlGn"),
    ),
    required_bands=("blue", "red", "nir"),
    minimum_dates=1,
    latency_target=timedelta(hours=24),
    validity="rapid",
    algorithm=greenness_layers,
    parameters=GreennessParameters(),
)


def definitions() -> tuple[definition.ProductDefinition, ...]:
    """Products of this sector.

    Returns
    -------
    tuple of ProductDefinition
        In the order of publication.
    """
    return (CROP_VIGOUR, VEGETATION_GREENNESS)
