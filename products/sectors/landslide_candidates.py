"""Product for emergency management: landslide candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from processors import constants
from processors.imagery import grid
from processors.quality import BadInputError
from products import feature_table
from products.sectors import definition
from retrieval.surface import landslide, observation

_METERS_PER_DEGREE = constants.WGS84_SEMI_MAJOR * math.pi / 180.0


def _real(name: str, title_en: str, title_zh: str, units: str = "1") -> feature_table.FeatureField:
    return feature_table.FeatureField(name=name, title_en=title_en, title_zh=title_zh, kind="real", units=units)


FIELDS = (
    feature_table.FeatureField(name="rank", title_en="Rank for review", title_zh="核查次序", kind="integer"),
    _real("area_m2", "Area", "面积", "m2"),
    _real("score", "Candidate score", "疑似得分"),
    _real("mean_dndvi", "Mean change of NDVI beyond the scene's", "平均NDVI变化(扣除场景背景)"),
    _real("vegetation_loss", "Share of vegetation lost", "植被损失比例"),
    _real("brightening", "Brightening in red, logarithm", "红光增亮(对数)"),
    _real("infrared_change", "Change of near infrared, logarithm", "近红外变化(对数)"),
    _real("slope", "Mean slope", "平均坡度", "degree"),
    _real("relief_drop", "Height spanned", "高差", "m"),
    _real("elongation", "Length along the fall line by width", "沿坡伸长比"),
    _real("alignment", "Alignment with the fall line", "与坡向一致性"),
    _real("descent", "Share of its length that descends", "下坡占比"),
    _real("rectangularity", "Share of its rectangle filled", "矩形度"),
    _real("surrounding_loss", "Vegetation loss around it", "周边植被损失"),
    _real("masked_share", "Share of surroundings not seen", "周边无观测比例"),
    _real("hand", "Height above drainage", "高出河道高度", "m"),
    _real("radar_change", "Radar change", "雷达变化", "dB"),
    _real("rain", "Rain of the event", "过程雨量", "mm"),
    _real("ordinary", "Share expected from gentle ground alike", "平缓地同类变化占比"),
    _real("earlier_boundary", "Contrast with its surroundings before", "变化前与周边差异"),
    _real("dryness", "Short-wave to near infrared after, logarithm", "变化后短波红外与近红外比(对数)"),
)


@dataclass(frozen=True, kw_only=True)
class LandslideCandidateParameters:
    """Which dates are compared, and how.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs [1].
    rules : LandslideParameters
        Thresholds and weights.
    """

    minimum_share: float = 0.1
    rules: landslide.LandslideParameters = field(default_factory=landslide.LandslideParameters)


def table(
    labels: npt.NDArray[np.int32], candidates: Sequence[landslide.Candidate], geobox: GeoBox
) -> feature_table.FeatureTable:
    """Candidates as polygons with their signs.

    Parameters
    ----------
    labels : ndarray
        Number of the candidate from 1 (y, x), 0 elsewhere.
    candidates : sequence of Candidate
        The candidates in that order.
    geobox : GeoBox
        Grid of `labels`.

    Returns
    -------
    FeatureTable
        One polygon a candidate, the highest score first.
    """
    parts: list[list[Any]] = [[] for _ in candidates]
    if candidates:
        outlines = rasterio.features.shapes(labels, mask=labels > 0, connectivity=4, transform=geobox.transform)
        for outline, number in outlines:
            parts[int(number) - 1].append(shapely.geometry.shape(outline))
    columns: dict[str, npt.NDArray[Any]] = {"rank": np.arange(1, len(candidates) + 1, dtype=np.int64)}
    for item in FIELDS[1:]:
        columns[item.name] = np.array([getattr(found, item.name) for found in candidates], dtype=np.float64)
    return feature_table.FeatureTable(
        name="landslide_candidates",
        title_en="Landslide candidates",
        title_zh="疑似滑坡",
        fields=FIELDS,
        geometry=[shapely.union_all(pieces) for pieces in parts],
        columns=columns,
        crs=str(geobox.crs),
        geometry_type="Polygon",
    )


def landslide_candidate_layers(
    fused: xr.Dataset, *, parameters: LandslideCandidateParameters
) -> definition.SectorLayers:
    """Candidates between the last two usable dates.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset with red, nir and ``elevation``; green, swir1, swir2, ``hand``, ``reference_water`` and
        ``backscatter`` help where there are.
    parameters : LandslideCandidateParameters
        Dates and rules.

    Returns
    -------
    SectorLayers
        Layer ``landslide_candidate`` [1] with the probability of the class given [1], and polygons.

    Raises
    ------
    NotApplicableError
        With fewer than two usable dates, or too few slopes seen on both.
    """
    usable = observation.optical_usable(fused)
    found = observation.dates_with_share(usable, minimum_share=parameters.minimum_share)
    dates = definition.require_dates(found, minimum=2, purpose="landslide candidates")[-2:]
    geobox = grid.geobox_of(fused)
    before, after = (_bands(fused.isel(time=int(date))) for date in dates)
    known = landslide.Surroundings(
        elevation=_values(fused["elevation"]),
        hand=_values(fused["hand"]) if "hand" in fused else None,
        masked=~np.asarray(usable.isel(time=dates).all("time").values, dtype=np.bool_),
        water=np.asarray(fused["reference_water"].values > 0.5) if "reference_water" in fused else None,
        radar_change=_radar_change(fused, dates),
    )
    try:
        seen = landslide.detect(
            before, after, pixel_size=pixel_size(geobox), surroundings=known, parameters=parameters.rules
        )
    except BadInputError as error:
        raise definition.NotApplicableError(error.cause, str(error)) from error
    like = fused["qa"].isel(time=0, drop=True)
    probability = np.where(seen.classes == landslide.CANDIDATE, seen.probability, 1 - seen.probability)
    return definition.SectorLayers(
        data=xr.Dataset({"landslide_candidate": xr.zeros_like(like, dtype=np.uint8).copy(data=seen.classes)}),
        uncertainty=xr.Dataset(
            {"landslide_candidate": xr.zeros_like(like, dtype=np.float32).copy(data=probability.astype(np.float32))}
        ),
        dates=dates,
        features=(table(seen.labels, seen.candidates, geobox),),
        facts={
            "candidates": len(seen.candidates),
            "objects_below_threshold": seen.rejected,
            "slope_pixels_judged": seen.normal.pixels,
            "least_area_m2": parameters.rules.least_area,
        },
    )


def pixel_size(geobox: GeoBox) -> tuple[float, float]:
    """Height and width of the pixels of a grid; in degrees, at its middle latitude.

    Parameters
    ----------
    geobox : GeoBox
        The grid.

    Returns
    -------
    tuple of float
        Height and width [m].
    """
    system = grid.system(geobox)
    height, width = abs(float(geobox.transform.e)), abs(float(geobox.transform.a))
    if system.geographic:
        latitude = (geobox.boundingbox.bottom + geobox.boundingbox.top) / 2
        return height * _METERS_PER_DEGREE, width * _METERS_PER_DEGREE * math.cos(math.radians(latitude))
    unit = float(grid.horizontal(system.to_wkt()).axis_info[0].unit_conversion_factor)
    return height * unit, width * unit


def _bands(scene: xr.Dataset) -> dict[str, npt.NDArray[np.float32]]:
    present = {str(name) for name in scene["band"].values}
    names = [name for name in (*landslide.REQUIRED, *landslide.OPTIONAL) if name in present]
    layers = {name: _values(scene["reflectance"].sel(band=name)) for name in names}
    return {name: layer for name, layer in layers.items() if name in landslide.REQUIRED or np.isfinite(layer).any()}


def _values(layer: xr.DataArray) -> npt.NDArray[np.float32]:
    return np.asarray(layer.values, dtype=np.float32)


def _radar_change(fused: xr.Dataset, dates: npt.NDArray[np.intp]) -> npt.NDArray[np.float32] | None:
    """Mean log-ratio of the polarizations between the dates, None without radar on both."""
    if "backscatter" not in fused:
        return None
    seen = fused["backscatter"].where(observation.radar_usable(fused)).isel(time=dates)
    change = _values((seen.isel(time=1) - seen.isel(time=0)).mean("polarization"))
    return change if np.isfinite(change).any() else None


DEFINITION = definition.ProductDefinition(
    code="landslide-candidates",
    sector="emergency",
    title_en="Landslide candidates",
    title_zh="疑似滑坡",
    description_en=(
        "Slopes that lost their vegetation and became bright between the last two usable dates, against what the other "
        "slopes of the scene did, ranked for review. Candidates only: clear-cuts, quarries, new roads and terraced "
        "fields look alike, a slide under trees, on bare ground or below 900 square meters is not seen, and nothing is "
        "said of ground that is about to move."
    ),
    description_zh=(
        "最近两个可用日期之间失去植被并变亮的坡面,以同场景其他坡面的变化为背景,按得分排序供核查。"
        "仅为疑似线索:采伐、采石、新修道路与梯田可能相似;林下、裸地上或小于900平方米的滑坡不可见,"
        "也不表示即将失稳的坡体。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name="landslide_candidate", title_en="Landslide candidate", title_zh="疑似滑坡"),),
    classes=(
        definition.ProductClass(value=landslide.NONE, name_en="No candidate", name_zh="无疑似", colour="#ece7dc"),
        definition.ProductClass(
            value=landslide.CANDIDATE, name_en="Landslide candidate", name_zh="疑似滑坡", colour="#b5482a"
        ),
    ),
    required_bands=landslide.REQUIRED,
    required_layers=("elevation",),
    minimum_dates=2,
    latency_target=timedelta(minutes=30),
    validity="candidate",
    algorithm=landslide_candidate_layers,
    parameters=LandslideCandidateParameters(),
)
