"""Change of waterways that matters to navigation, a product for transport."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from scipy import spatial

from processors.imagery import grid
from products import feature_table
from products.sectors import definition, river_width
from retrieval.surface import observation, water
from retrieval.surface import river_width as width

LAYER = "navigable_change"
STABLE, NARROWER, WIDER, BANK_MOVED = 0, 1, 2, 3
_KINDS = ("stable", "narrower", "wider", "bank_moved")

_FIELDS = (
    feature_table.FeatureField(name="change", title_en="Change", title_zh="变化", kind="text"),
    feature_table.FeatureField(name="width_before_m", title_en="Width before", title_zh="前期宽度", kind="real",
                               units="m"),
    feature_table.FeatureField(name="width_after_m", title_en="Width after", title_zh="后期宽度", kind="real",
                               units="m"),
    feature_table.FeatureField(name="width_change_m", title_en="Change of width", title_zh="宽度变化", kind="real",
                               units="m"),
    feature_table.FeatureField(name="sigma_m", title_en="Standard uncertainty", title_zh="标准不确定度", kind="real",
                               units="m"),
    feature_table.FeatureField(name="shift_m", title_en="Shift of the middle", title_zh="中线移动", kind="real",
                               units="m"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NavigableChangeParameters:
    """Which dates are compared and what counts as change.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs [1].
    water_rules : WaterParameters
        Coefficients of the water probability.
    rules : RiverWidthParameters
        How rivers are measured.
    sigmas : float
        Change in standard deviations from which it is a candidate [1].
    least_change : float
        Least change whatever the uncertainty, for grids of two dates agree to a part of a pixel only [pixel].
    """

    minimum_share: float = 0.05
    water_rules: water.WaterParameters = field(default_factory=water.WaterParameters)
    rules: width.RiverWidthParameters = field(default_factory=width.RiverWidthParameters)
    sigmas: float = 3.0
    least_change: float = 1.0


class WidthChange(NamedTuple):
    """Cross sections of the later date compared with the earlier one, one array element each.

    Attributes
    ----------
    section : numpy.ndarray
        Number of the later section.
    before, after : numpy.ndarray
        Water width [m].
    sigma : numpy.ndarray
        Standard uncertainty of the difference [m].
    shift : numpy.ndarray
        How far the middle of the river moved across it [m].
    kind : numpy.ndarray
        0 stable, 1 narrower, 2 wider, 3 bank moved at equal width.
    """

    section: npt.NDArray[np.intp]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int64]


def compare(
    before: width.CrossSections, after: width.CrossSections, *, pixel: float, parameters: NavigableChangeParameters
) -> WidthChange:
    """Compare the widths of two dates on one grid.

    Parameters
    ----------
    before, after : CrossSections
        Cross sections of the dates.
    pixel : float
        Size of a pixel [m].
    parameters : NavigableChangeParameters
        What counts as change.

    Returns
    -------
    WidthChange
        Sections measured on both dates: the nearest earlier one within half a width counts.
    """
    old, new = np.flatnonzero(np.isfinite(before.width)), np.flatnonzero(np.isfinite(after.width))
    empty = np.zeros(0)
    if not old.size or not new.size:
        return WidthChange(np.zeros(0, dtype=np.intp), empty, empty, empty, empty, np.zeros(0, dtype=np.int64))
    places = np.stack([after.row[new], after.column[new]], axis=1)
    tree = spatial.cKDTree(np.stack([before.row[old], before.column[old]], axis=1))
    apart, nearest = tree.query(places)
    near = apart * pixel <= np.maximum(after.width[new] / 2, 2 * pixel)
    new, old, places = new[near], old[nearest[near]], places[near]
    turned = np.radians(after.direction[new])
    across = np.stack([np.sin(turned), np.cos(turned)], axis=1)
    offset = places - np.stack([before.row[old], before.column[old]], axis=1)
    shift = (offset * across).sum(axis=1) * pixel
    sigma = np.hypot(before.sigma[old], after.sigma[new])
    limit = np.maximum(parameters.sigmas * sigma, parameters.least_change * pixel)
    changed = after.width[new] - before.width[old]
    kind = np.where(changed < -limit, NARROWER, np.where(changed > limit, WIDER, STABLE))
    kind[(kind == STABLE) & (np.abs(shift) > limit)] = BANK_MOVED
    return WidthChange(new, before.width[old], after.width[new], sigma, shift, kind.astype(np.int64))


def table(change: WidthChange, after: width.RiverMap, transform: Any, crs: str) -> feature_table.FeatureTable:
    """Changed cross sections as objects.

    Parameters
    ----------
    change : WidthChange
        What changed.
    after : RiverMap
        Rivers of the later date.
    transform : affine.Affine
        Pixel to map.
    crs : str
        Reference system.

    Returns
    -------
    FeatureTable
        ``width_changes``, lines from bank to bank; stable sections are left out.
    """
    chosen = np.flatnonzero(change.kind != STABLE)
    lines = np.asarray(river_width.tables(after, transform, crs)[0].geometry, dtype=object)
    picked = [shapely.LineString(line.coords) for line in lines[change.section[chosen]]]
    return feature_table.FeatureTable(
        name="width_changes",
        title_en="Changes of width",
        title_zh="河宽变化断面",
        fields=_FIELDS,
        geometry=picked,
        columns={
            "change": np.array([_KINDS[number] for number in change.kind[chosen]], dtype=object),
            "width_before_m": change.before[chosen],
            "width_after_m": change.after[chosen],
            "width_change_m": (change.after - change.before)[chosen],
            "sigma_m": change.sigma[chosen],
            "shift_m": change.shift[chosen],
        },
        crs=crs,
    )


def navigable_change_layers(fused: xr.Dataset, *, parameters: NavigableChangeParameters) -> definition.SectorLayers:
    """Change of rivers between the first and the last usable date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset of two dates or more.
    parameters : NavigableChangeParameters
        Dates and rules.

    Returns
    -------
    SectorLayers
        Layer ``navigable_change`` [1] with the probability of the class given [1], and the sections that changed.

    Raises
    ------
    NotApplicableError
        With fewer than two usable dates.
    """
    usable = observation.optical_usable(fused) | observation.radar_usable(fused)
    dates = observation.dates_with_share(usable, minimum_share=parameters.minimum_share)
    used = definition.require_dates(dates, minimum=2, purpose="change of waterways")[[0, -1]]
    wet = water.probability(fused.isel(time=used), parameters=parameters.water_rules).transpose("time", "y", "x")
    geobox = grid.geobox_of(fused)
    shares = wet.values.astype(np.float32)
    if not np.isfinite(shares).any(axis=(1, 2)).all():
        raise definition.NotApplicableError("no_usable_pixel", "change of waterways needs water known on both dates")
    sizes = river_width.pixel_sizes(geobox)
    maps = [width.measure(share, pixel_size=sizes, parameters=parameters.rules) for share in shares]
    pixel = float(np.sqrt(np.median(sizes[0]) * np.median(sizes[1])))
    change = compare(maps[0].sections, maps[1].sections, pixel=pixel, parameters=parameters)
    classes, chance = _classes(shares, parameters.water_rules.threshold)
    like = wet.isel(time=0, drop=True)
    return definition.SectorLayers(
        data=xr.Dataset({LAYER: like.copy(data=classes)}),
        uncertainty=xr.Dataset({LAYER: like.copy(data=chance)}),
        dates=used,
        features=(table(change, maps[1], geobox.transform, str(geobox.crs)),),
        facts={
            "compared": len(change.section),
            **{name: int((change.kind == number).sum()) for number, name in enumerate(_KINDS)},
            "minimum_measurable_width_m": round(maps[1].least_width, 3),
        },
    )


def _classes(
    shares: npt.NDArray[np.float32], threshold: float
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Dry 0, water 1, water lost 2, water gained 3, and their probability."""
    before, after = shares >= threshold
    known = np.isfinite(shares).all(axis=0)
    classes = np.select([before & after, before & ~after, ~before & after], [1, 2, 3], 0)
    sure = [np.where(wet, share, 1.0 - share) for wet, share in zip((before, after), shares, strict=True)]
    chance = np.where(known, sure[0] * sure[1], np.nan).astype(np.float64)
    return np.where(known, classes, definition.CLASS_NODATA).astype(np.uint8), chance


DEFINITION = definition.ProductDefinition(
    code="navigable-change",
    sector="transport",
    title_en="Navigation-relevant change of waterways",
    title_zh="航行相关水域变化",
    description_en=(
        "Water lost and gained between the first and the last usable date, and cross sections whose width or middle "
        "changed beyond three standard deviations. Candidates only: the level of the water differs between dates, and "
        "neither depth nor the marked fairway is seen."
    ),
    description_zh=(
        "首末可用日期之间的水面减少与增加,以及宽度或中线变化超过三倍标准差的断面。仅为候选:两期水位不同会引起变化,且不反映水深与标定航道。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name=LAYER, title_en="Change of water", title_zh="水面变化"),),
    classes=(
        definition.ProductClass(value=0, name_en="dry", name_zh="非水体", colour="#e8e2d0"),
        definition.ProductClass(value=1, name_en="water on both dates", name_zh="两期均为水体", colour="#2b7bba"),
        definition.ProductClass(value=2, name_en="water lost", name_zh="水体减少", colour="#d7301f"),
        definition.ProductClass(value=3, name_en="water gained", name_zh="水体增加", colour="#41b6c4"),
    ),
    required_bands=(),
    minimum_dates=2,
    latency_target=timedelta(hours=24),
    validity="candidate",
    algorithm=navigable_change_layers,
    parameters=NavigableChangeParameters(),
)
