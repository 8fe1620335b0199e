"""Product for emergency management: damage grades of buildings."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from processors.imagery import grid
from products import feature_table
from products.sectors import definition
from retrieval.surface import damage, observation

GRADES: Mapping[int, str] = MappingProxyType(
    {
        damage.NONE_VISIBLE: "no_visible_damage",
        damage.POSSIBLE: "possible_damage",
        damage.LIKELY: "likely_damage",
        damage.DESTROYED: "destroyed",
        damage.NOT_ASSESSED: "not_assessed",
    }
)
GRADES_ZH: Mapping[int, str] = MappingProxyType(
    {
        damage.NONE_VISIBLE: "未见损毁",
        damage.POSSIBLE: "疑似损毁",
        damage.LIKELY: "可能损毁",
        damage.DESTROYED: "毁坏",
        damage.NOT_ASSESSED: "未评估",
    }
)
FIELDS = (
    feature_table.FeatureField(name="grade", title_en="Grade", title_zh="等级", kind="integer"),
    feature_table.FeatureField(name="grade_name", title_en="Grade in words", title_zh="等级名称(英文)", kind="text"),
    feature_table.FeatureField(name="grade_name_zh", title_en="Grade in Chinese", title_zh="等级名称", kind="text"),
    feature_table.FeatureField(
        name="probability", title_en="Probability of damage", title_zh="损毁概率", kind="real", units="1"
    ),
    feature_table.FeatureField(
        name="correlation", title_en="Correlation of the roof's pattern", title_zh="屋顶纹理相关系数", kind="real"
    ),
    feature_table.FeatureField(
        name="roughness", title_en="Change of roughness, logarithm", title_zh="粗糙度变化(对数)", kind="real"
    ),
    feature_table.FeatureField(
        name="radar_t", title_en="Radar t-value", title_zh="雷达检验统计量", kind="real", units="1"
    ),
)


def table(
    found: damage.Damage, outlines: Sequence[Any] | npt.NDArray[np.object_], *, crs: str
) -> feature_table.FeatureTable:
    """Buildings with their grades.

    Parameters
    ----------
    found : Damage
        Assessment, one entry per building.
    outlines : sequence or array of shapely.Geometry
        Footprints in the same order.
    crs : str
        Reference system of the footprints.

    Returns
    -------
    FeatureTable
        One object a building.
    """
    return feature_table.FeatureTable(
        name="buildings",
        title_en="Buildings by damage grade",
        title_zh="建筑物损毁等级",
        fields=FIELDS,
        geometry=list(outlines),
        columns={
            "grade": found.grade.astype(np.int32),
            "grade_name": np.array([GRADES[int(value)] for value in found.grade], dtype=object),
            "grade_name_zh": np.array([GRADES_ZH[int(value)] for value in found.grade], dtype=object),
            "probability": found.probability,
            "correlation": found.correlation,
            "roughness": found.roughness,
            "radar_t": found.radar,
        },
        crs=crs,
    )


def damage_layers(fused: xr.Dataset, *, parameters: damage.DamageParameters) -> definition.SectorLayers:
    """Damage grades between the first and the last usable date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset with a layer ``footprints`` (y, x): number of the building, 0 for none.
    parameters : DamageParameters
        Choices.

    Returns
    -------
    SectorLayers
        Layer ``damage_grade`` [1] with the probability of the grade given [1].

    Raises
    ------
    NotApplicableError
        With fewer than two usable dates.
    """
    usable = observation.optical_usable(fused)
    dates = observation.dates_with_share(usable, minimum_share=0.05)
    dates = definition.require_dates(dates, minimum=2, purpose="damage grades")[[0, -1]]
    clear = fused["reflectance"].where(usable).isel(time=dates).mean("band", skipna=False)
    labels = fused["footprints"].fillna(0).astype(np.int32).values
    count = int(labels.max())
    found = damage.assess(
        clear.values[0].astype(np.float32),
        clear.values[1].astype(np.float32),
        labels,
        count=count,
        parameters=parameters,
    )
    grade = np.concatenate([[np.uint8(damage.NOT_ASSESSED)], found.grade])[labels]
    certain = np.where(found.grade == damage.NONE_VISIBLE, 1.0 - found.probability, found.probability)
    probability = np.concatenate([[np.nan], certain])[labels]
    like = fused["qa"].isel(time=0, drop=True)
    layers = xr.Dataset({"damage_grade": like.copy(data=grade.astype(np.uint8))})
    return definition.SectorLayers(
        data=layers,
        uncertainty=xr.Dataset({"damage_grade": like.copy(data=probability)}),
        dates=dates,
        outside=like.copy(data=labels == 0),
        facts={"buildings": count, "pixel_size_m": grid.pixel_size(grid.geobox_of(fused))},
    )


DEFINITION = definition.ProductDefinition(
    code="damage-grades",
    sector="emergency",
    title_en="Rapid damage grades of buildings",
    title_zh="建筑物损毁快速分级",
    description_en=(
        "Grade of visible damage of each building of the operator's footprints between two images of very high "
        "resolution, as no visible, possible or likely damage or destroyed, with a probability. What an image shows "
        "from above: a building may have failed inside and look whole. No engineering assessment."
    ),
    description_zh=(
        "利用两期甚高分辨率影像,对用户提供的每个建筑轮廓给出可见损毁等级(未见、疑似、可能、毁坏)及概率。"
        "仅反映影像顶视可见情况,建筑内部可能已受损;不替代工程鉴定。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name="damage_grade", title_en="Damage grade", title_zh="损毁等级"),),
    classes=(
        definition.ProductClass(value=0, name_en="No visible damage", name_zh="未见损毁", colour="#5aa469"),
        definition.ProductClass(value=1, name_en="Possible damage", name_zh="疑似损毁", colour="#f2cf5b"),
        definition.ProductClass(value=2, name_en="Likely damage", name_zh="可能损毁", colour="#e8853d"),
        definition.ProductClass(value=3, name_en="Destroyed", name_zh="毁坏", colour="#b3261e"),
    ),
    required_bands=("red",),
    required_layers=("footprints",),
    minimum_dates=2,
    latency_target=timedelta(minutes=30),
    validity="rapid",
    algorithm=damage_layers,
    parameters=damage.DamageParameters(),
)
