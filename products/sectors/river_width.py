"""River width, a product for transport."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import grid
from products import feature_table
from products.sectors import definition
from retrieval.surface import observation, river_width, water

LAYER = "river_width"

_FIELDS = (
    feature_table.FeatureField(name="line", title_en="Centerline", title_zh="中心线编号", kind="integer"),
    feature_table.FeatureField(name="distance_along_m", title_en="Distance along", title_zh="沿程距离", kind="real",
                               units="m"),
    feature_table.FeatureField(name="x", title_en="Easting", title_zh="东坐标", kind="real"),
    feature_table.FeatureField(name="y", title_en="Northing", title_zh="北坐标", kind="real"),
    feature_table.FeatureField(name="direction", title_en="Direction of the line", title_zh="中心线方向", kind="real",
                               units="degree"),
    feature_table.FeatureField(name="width_m", title_en="Water width", title_zh="水面宽度", kind="real", units="m"),
    feature_table.FeatureField(name="width_sigma_m", title_en="Standard uncertainty of width",
                               title_zh="宽度标准不确定度", kind="real", units="m"),
    feature_table.FeatureField(name="bank_width_m", title_en="Bank to bank width", title_zh="两岸间宽度", kind="real",
                               units="m"),
    feature_table.FeatureField(name="n_channels", title_en="Channels", title_zh="汊道数", kind="integer"),
    feature_table.FeatureField(name="flag", title_en="Flag", title_zh="标记", kind="text"),
    feature_table.FeatureField(name="pixel_m", title_en="Pixel size", title_zh="像元大小", kind="real", units="m"),
)  # fmt: skip
_LINE_FIELDS = (
    feature_table.FeatureField(name="line", title_en="Centerline", title_zh="中心线编号", kind="integer"),
    feature_table.FeatureField(name="length_m", title_en="Length", title_zh="长度", kind="real", units="m"),
    feature_table.FeatureField(name="width_m", title_en="Median water width", title_zh="水面宽度中位数", kind="real",
                               units="m"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RiverWidthProductParameters:
    """Which date is measured and how.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs to count as the latest [1].
    water_rules : WaterParameters
        Coefficients of the water probability.
    rules : RiverWidthParameters
        How rivers are found and measured.
    """

    minimum_share: float = 0.05
    water_rules: water.WaterParameters = field(default_factory=water.WaterParameters)
    rules: river_width.RiverWidthParameters = field(default_factory=river_width.RiverWidthParameters)


def river_width_layers(fused: xr.Dataset, *, parameters: RiverWidthProductParameters) -> definition.SectorLayers:
    """Rivers on the latest date and their cross sections.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of one or several dates.
    parameters : RiverWidthProductParameters
        Date and rules.

    Returns
    -------
    SectorLayers
        Layer ``river_width`` [1] with the probability of the class given [1], cross sections and centerlines.

    Raises
    ------
    NotApplicableError
        Where no date has enough usable pixels.
    """
    usable = observation.optical_usable(fused) | observation.radar_usable(fused)
    dates = observation.dates_with_share(usable, minimum_share=parameters.minimum_share)
    latest = definition.require_dates(dates, minimum=1, purpose="river width")[-1:]
    wet = water.probability(fused.isel(time=latest), parameters=parameters.water_rules).isel(time=0, drop=True)
    wet = wet.transpose("y", "x")
    if not bool(wet.notnull().any()):
        raise definition.NotApplicableError("no_usable_pixel", "river width needs a pixel whose water is known")
    geobox = grid.geobox_of(fused)
    found = river_width.measure(
        wet.values.astype(np.float32), pixel_size=pixel_sizes(geobox), parameters=parameters.rules
    )
    classes = wet.copy(data=found.classes).astype(np.uint8)
    chance = wet.where(found.classes != river_width.DRY, 1 - wet).where(found.classes != river_width.NO_DATA)
    return definition.SectorLayers(
        data=xr.Dataset({LAYER: classes}),
        uncertainty=xr.Dataset({LAYER: chance}),
        dates=latest,
        features=tables(found, geobox.transform, str(geobox.crs)),
        facts=facts(found),
    )


def pixel_sizes(geobox: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Height and width of the pixels of every row (y) [m], those of degrees at their latitude.

    Parameters
    ----------
    geobox : GeoBox
        North-up grid.

    Returns
    -------
    tuple of numpy.ndarray
        Height and width (y) [m].
    """
    affine, system = geobox.transform, grid.system(geobox)
    rows = np.arange(geobox.shape[0]) + 0.5
    if not system.geographic:
        scale = float(system.proj.axis_info[0].unit_conversion_factor) if system.proj.axis_info else 1.0
        return np.full(rows.size, abs(affine.e) * scale), np.full(rows.size, abs(affine.a) * scale)
    latitude = np.radians(np.clip(affine.f + rows * affine.e, -89.9, 89.9))
    # Lengths of a degree on WGS 84 (series of the National Geospatial-Intelligence Agency).
    north = 111_132.92 - 559.82 * np.cos(2 * latitude) + 1.175 * np.cos(4 * latitude)
    east = 111_412.84 * np.cos(latitude) - 93.5 * np.cos(3 * latitude) + 0.118 * np.cos(5 * latitude)
    return north * abs(affine.e), east * abs(affine.a)


def facts(found: river_width.RiverMap) -> dict[str, Any]:
    """Figures of a whole scene.

    Parameters
    ----------
    found : RiverMap
        Rivers.

    Returns
    -------
    dict
        Counts, the narrowest river that is measured [m], median width [m].
    """
    measured = found.sections.width[np.isfinite(found.sections.width)]
    return {
        **found.counts,
        "cross_sections": len(found.sections.row),
        "measured": int(measured.size),
        "minimum_measurable_width_m": round(found.least_width, 3),
        "median_width_m": round(float(np.median(measured)), 3) if measured.size else None,
        "binary_mask": found.binary,
    }


def tables(found: river_width.RiverMap, transform: Any, crs: str) -> tuple[feature_table.FeatureTable, ...]:
    """Cross sections and centerlines as objects.

    Parameters
    ----------
    found : RiverMap
        Rivers.
    transform : affine.Affine
        Pixel to map.
    crs : str
        Reference system of the map.

    Returns
    -------
    tuple of FeatureTable
        ``cross_sections`` (lines from bank to bank) and ``centerlines``.
    """
    sections = found.sections
    middle = _mapped(np.stack([sections.row, sections.column], axis=1), transform)
    columns = {
        "line": sections.line, "distance_along_m": sections.distance, "x": middle[:, 0], "y": middle[:, 1],
        "direction": sections.direction, "width_m": sections.width, "width_sigma_m": sections.sigma,
        "bank_width_m": sections.bank_width, "n_channels": sections.channels,
        "flag": np.array([river_width.FLAGS[flag] for flag in sections.flag], dtype=object),
        "pixel_m": np.full(len(sections.row), found.pixel),
    }  # fmt: skip
    lines = [shapely.LineString(_mapped(places, transform)) for places in found.centerlines]
    numbers = np.arange(len(lines))
    own = [sections.line == number for number in numbers]
    return (
        feature_table.FeatureTable(
            name="cross_sections", title_en="Cross sections", title_zh="河道断面", fields=_FIELDS,
            geometry=_transects(sections, transform), columns=columns, crs=crs,
        ),
        feature_table.FeatureTable(
            name="centerlines", title_en="Centerlines", title_zh="河道中心线", fields=_LINE_FIELDS, geometry=lines,
            columns={
                "line": numbers,
                "length_m": np.array([_last(sections.distance[mine]) for mine in own]),
                "width_m": np.array([_median(sections.width[mine]) for mine in own]),
            },
            crs=crs,
        ),
    )  # fmt: skip


def _last(values: npt.NDArray[np.float64]) -> float:
    return float(values[-1]) if values.size else 0.0


def _median(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _mapped(places: npt.NDArray[np.float64], transform: Any) -> npt.NDArray[np.float64]:
    column, row = places[:, 1] + 0.5, places[:, 0] + 0.5
    x = transform.a * column + transform.b * row + transform.c
    y = transform.d * column + transform.e * row + transform.f
    return np.stack([x, y], axis=1)


def _transects(sections: river_width.CrossSections, transform: Any) -> list[Any]:
    """Lines from bank to bank; two pixels long where there is no width."""
    turned = np.radians(sections.direction)
    across = np.stack([np.sin(turned), np.cos(turned)], axis=1)
    middle = np.stack([sections.row, sections.column], axis=1)
    known = np.asarray(np.isfinite(sections.left).all(axis=1))[:, None]
    left = _mapped(np.where(known, sections.left, middle - across), transform)
    right = _mapped(np.where(known, sections.right, middle + across), transform)
    return list(shapely.linestrings(np.stack([left, right], axis=1)))


DEFINITION = definition.ProductDefinition(
    code="river-width",
    sector="transport",
    title_en="River extent and width",
    title_zh="河道范围与宽度",
    description_en=(
        "Rivers on the latest date and their width on cross sections, with one standard deviation. Water width is the "
        "length of water, bank width everything between the banks. Bridges, cloud, junctions and river ends have no "
        "width; rivers narrower than the minimum stated are not measured. It is not the depth or width of a fairway."
    ),
    description_zh=(
        "最近日期的河道范围及各断面宽度（附一倍标准差）。水面宽度为断面上水体长度之和，两岸间宽度包含洲岛。桥梁、云、汇流口与河段端部不给宽度；窄于最小可测宽度的河段不测量。"
        "本产品不是航道宽度或水深。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name=LAYER, title_en="River extent", title_zh="河道范围"),),
    classes=(
        definition.ProductClass(value=0, name_en="dry", name_zh="非水体", colour="#e8e2d0"),
        definition.ProductClass(value=1, name_en="river", name_zh="河道", colour="#1f6fb4"),
        definition.ProductClass(value=2, name_en="other water", name_zh="其他水体", colour="#8fc1e3"),
    ),
    required_bands=(),
    minimum_dates=1,
    latency_target=timedelta(hours=24),
    validity="rapid",
    algorithm=river_width_layers,
    parameters=RiverWidthProductParameters(),
)
