"""Change of waterways that matters to navigation, a product for transport."""

from collections.abc import Sequence
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
_HALF = 0.5
STABLE, NARROWER, WIDER, BANK_MOVED, BLOCKED = range(5)
KINDS = ("stable", "narrower", "wider", "bank_moved", "blocked")
"""Names of the kinds of change."""

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
    feature_table.FeatureField(name="significance", title_en="Change in standard uncertainties",
                               title_zh="变化显著性（倍标准不确定度）", kind="real"),
)  # fmt: skip
_SEGMENT_FIELDS = (
    feature_table.FeatureField(name="change", title_en="Change", title_zh="变化", kind="text"),
    feature_table.FeatureField(name="sections", title_en="Cross sections", title_zh="断面数", kind="integer"),
    feature_table.FeatureField(name="length_m", title_en="Length", title_zh="长度", kind="real", units="m"),
    feature_table.FeatureField(name="width_before_m", title_en="Mean width before", title_zh="前期平均宽度",
                               kind="real", units="m"),
    feature_table.FeatureField(name="width_after_m", title_en="Mean width after", title_zh="后期平均宽度", kind="real",
                               units="m"),
    feature_table.FeatureField(name="least_width_after_m", title_en="Least width after", title_zh="后期最小宽度",
                               kind="real", units="m"),
    feature_table.FeatureField(name="width_change_m", title_en="Mean change of width", title_zh="宽度平均变化",
                               kind="real", units="m"),
    feature_table.FeatureField(name="sigma_m", title_en="Standard uncertainty", title_zh="标准不确定度", kind="real",
                               units="m"),
    feature_table.FeatureField(name="shift_m", title_en="Mean shift of the middle", title_zh="中线平均移动",
                               kind="real", units="m"),
    feature_table.FeatureField(name="significance", title_en="Change in standard uncertainties",
                               title_zh="变化显著性（倍标准不确定度）", kind="real"),
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
    least_channel : float
        Water left on an earlier cross section below which it is blocked [pixel].
    longest_break : float
        Distance of changed sections up to which they make one segment, in usual distances of sections [1].
    """

    minimum_share: float = 0.05
    water_rules: water.WaterParameters = field(default_factory=water.WaterParameters)
    rules: width.RiverWidthParameters = field(default_factory=width.RiverWidthParameters)
    sigmas: float = 3.0
    least_change: float = 1.0
    least_channel: float = 1.0
    longest_break: float = 2.5


class WidthChange(NamedTuple):
    """Cross sections that can be compared, one array element each: later ones, then earlier ones that are blocked.

    Attributes
    ----------
    section : numpy.ndarray
        Number of the later section, of the earlier one where it is blocked.
    before, after : numpy.ndarray
        Water width [m].
    sigma : numpy.ndarray
        Standard uncertainty of the difference [m].
    shift : numpy.ndarray
        How far the middle of the river moved across it [m], NaN where it is blocked.
    kind : numpy.ndarray
        0 stable, 1 narrower, 2 wider, 3 bank moved at equal width, 4 blocked.
    unmatched : int
        Earlier sections with a width that no later one answers and that are not known to be blocked.
    """

    section: npt.NDArray[np.intp]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    kind: npt.NDArray[np.int64]
    unmatched: int

    @property
    def significance(self) -> npt.NDArray[np.float64]:
        """Change in standard uncertainties: of the middle where a bank moved, else of the width."""
        # The middle of two banks is known twice as well as their distance.
        moved = np.where(self.kind == BANK_MOVED, 2.0 * self.shift, self.after - self.before)
        return np.asarray(moved / self.sigma)


def compare(
    before: width.CrossSections,
    after: width.CrossSections,
    *,
    pixel: float,
    parameters: NavigableChangeParameters,
    left: npt.NDArray[np.float64] | None = None,
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
    left : numpy.ndarray, optional
        Water left on the earlier sections at the later date (section) [m], NaN where unknown; without it nothing is
        called blocked.

    Returns
    -------
    WidthChange
        Sections measured on both dates: the nearest earlier one within half the larger width counts.
    """
    old, new = np.flatnonzero(np.isfinite(before.width)), np.flatnonzero(np.isfinite(after.width))
    blocked, unmatched = _blocked(before, after, old, pixel, parameters, left)
    if old.size and new.size:
        apart, nearest = _tree(before, old).query(_middles(after)[new])
        # A river narrowed from one side has its middle where the former one has water.
        wider = np.maximum(after.width[new], before.width[old[nearest]])
        near = apart * pixel <= np.maximum(wider / 2, 2 * pixel)
        new, old = new[near], old[nearest[near]]
    else:
        new, old = new[:0], old[:0]
    turned = np.radians(after.direction[new])
    across = np.stack([np.sin(turned), np.cos(turned)], axis=1)
    shift = ((_middles(after)[new] - _middles(before)[old]) * across).sum(axis=1) * pixel
    sigma = np.hypot(before.sigma[old], after.sigma[new])
    limit = np.maximum(parameters.sigmas * sigma, parameters.least_change * pixel)
    changed = after.width[new] - before.width[old]
    kind = np.where(changed < -limit, NARROWER, np.where(changed > limit, WIDER, STABLE))
    kind[(kind == STABLE) & (np.abs(shift) > limit)] = BANK_MOVED
    rest = np.zeros(0) if left is None else left[blocked]
    return WidthChange(
        section=np.concatenate([new, blocked]),
        before=np.concatenate([before.width[old], before.width[blocked]]),
        after=np.concatenate([after.width[new], rest]),
        # Whether a pixel is water is known to half a pixel at both ends of what is left.
        sigma=np.concatenate([sigma, np.hypot(before.sigma[blocked], pixel / np.sqrt(6.0))]),
        shift=np.concatenate([shift, np.full(blocked.size, np.nan)]),
        kind=np.concatenate([kind, np.full(blocked.size, BLOCKED)]).astype(np.int64),
        unmatched=unmatched,
    )


def _middles(sections: width.CrossSections) -> npt.NDArray[np.float64]:
    return np.stack([sections.row, sections.column], axis=1)


def _tree(sections: width.CrossSections, chosen: npt.NDArray[np.intp]) -> Any:
    return spatial.cKDTree(_middles(sections)[chosen])


def _blocked(
    before: width.CrossSections,
    after: width.CrossSections,
    old: npt.NDArray[np.intp],
    pixel: float,
    parameters: NavigableChangeParameters,
    left: npt.NDArray[np.float64] | None,
) -> tuple[npt.NDArray[np.intp], int]:
    """Earlier sections that no later river passes and where no water is left; how many others nothing answers."""
    # A river that only moved, or goes on below a bridge, is not blocked.
    passing = np.flatnonzero(np.isfinite(after.width) | (after.flag == width.BRIDGE))
    alone = np.ones(old.size, dtype=bool)
    if passing.size and old.size:
        apart, _ = _tree(after, passing).query(_middles(before)[old])
        alone = apart * pixel > np.maximum(before.width[old] / 2, 2 * pixel)
    # NaN compares as not less: what is unknown is not blocked.
    dry = np.zeros(old.size, dtype=bool) if left is None else left[old] < parameters.least_channel * pixel
    return old[alone & dry], int((alone & ~dry).sum())


def water_left(
    sections: width.CrossSections, water: npt.NDArray[np.float32], *, pixel: float
) -> npt.NDArray[np.float64]:
    """Water of one date on the cross sections of another.

    Parameters
    ----------
    sections : CrossSections
        Cross sections on the grid of the water.
    water : numpy.ndarray
        Share or probability (y, x) [1], NaN without data.
    pixel : float
        Size of a pixel [m].

    Returns
    -------
    numpy.ndarray
        Length of water between the banks (section) [m], NaN where a part of it is unknown.
    """
    out = np.full(len(sections.row), np.nan)
    for number in np.flatnonzero(np.isfinite(sections.width)):
        ends = sections.left[number], sections.right[number]
        length = float(np.hypot(*(ends[1] - ends[0])))
        count = max(int(np.ceil(2 * length)), 2)
        parts = ((np.arange(count) + 0.5) / count)[:, None]
        places = np.rint(ends[0] + parts * (ends[1] - ends[0])).astype(np.intp)
        if (places < 0).any() or (places >= np.array(water.shape)).any():
            continue
        values = water[places[:, 0], places[:, 1]]
        if np.isfinite(values).all():
            out[number] = float((values >= _HALF).mean()) * length * pixel
    return out


def table(change: WidthChange, before: Sequence[Any], after: Sequence[Any], crs: str) -> feature_table.FeatureTable:
    """Changed cross sections as objects.

    Parameters
    ----------
    change : WidthChange
        What changed.
    before, after : sequence of shapely.LineString
        Cross sections of the dates, from bank to bank.
    crs : str
        Reference system.

    Returns
    -------
    FeatureTable
        ``width_changes``, lines from bank to bank; stable sections are left out.
    """
    chosen = np.flatnonzero(change.kind != STABLE)
    return feature_table.FeatureTable(
        name="width_changes",
        title_en="Changes of width",
        title_zh="河宽变化断面",
        fields=_FIELDS,
        geometry=[_line(change, number, before, after) for number in chosen],
        columns={
            "change": np.array([KINDS[number] for number in change.kind[chosen]], dtype=object),
            "width_before_m": change.before[chosen],
            "width_after_m": change.after[chosen],
            "width_change_m": (change.after - change.before)[chosen],
            "sigma_m": change.sigma[chosen],
            "shift_m": change.shift[chosen],
            "significance": change.significance[chosen],
        },
        crs=crs,
    )


def _line(change: WidthChange, number: np.intp, before: Sequence[Any], after: Sequence[Any]) -> Any:
    side = before if change.kind[number] == BLOCKED else after
    return shapely.LineString(side[change.section[number]].coords)


def segments(
    change: WidthChange,
    before: tuple[width.CrossSections, Sequence[Any]],
    after: tuple[width.CrossSections, Sequence[Any]],
    crs: str,
    *,
    parameters: NavigableChangeParameters,
) -> feature_table.FeatureTable:
    """Stretches of river along which all cross sections changed alike.

    Parameters
    ----------
    change : WidthChange
        What changed.
    before, after : tuple
        Cross sections of the dates, and the same as lines from bank to bank.
    crs : str
        Reference system.
    parameters : NavigableChangeParameters
        What makes one segment.

    Returns
    -------
    FeatureTable
        ``changed_segments``: lines along the river, the cross section where there is one alone. Neighboring sections
        share errors of registration, level and banks, so that the uncertainty of a mean is that of one section.
    """
    found = [
        part
        for kind in (NARROWER, WIDER, BANK_MOVED, BLOCKED)
        for part in _stretches(change, kind, before[0] if kind == BLOCKED else after[0], parameters)
    ]
    sections = [before[0] if change.kind[part[0]] == BLOCKED else after[0] for part in found]
    means = {
        "width_before_m": _means(change.before, found),
        "width_after_m": _means(change.after, found),
        "shift_m": _means(change.shift, found),
        "significance": _means(change.significance, found),
    }
    length = [np.ptp(own.distance[change.section[part]]) for own, part in zip(sections, found, strict=True)]
    return feature_table.FeatureTable(
        name="changed_segments",
        title_en="Changed segments",
        title_zh="变化河段",
        fields=_SEGMENT_FIELDS,
        geometry=[_along(change, part, before[1], after[1]) for part in found],
        columns={
            **means,
            "change": np.array([KINDS[change.kind[part[0]]] for part in found], dtype=object),
            "sections": np.array([part.size for part in found], dtype=np.int64),
            "length_m": np.array(length, dtype=np.float64),
            "least_width_after_m": np.array([change.after[part].min() for part in found], dtype=np.float64),
            "width_change_m": means["width_after_m"] - means["width_before_m"],
            "sigma_m": np.sqrt(_means(change.sigma**2, found)),
        },
        crs=crs,
    )


def _means(values: npt.NDArray[np.float64], parts: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.float64]:
    return np.array([values[part].mean() for part in parts], dtype=np.float64)


def _stretches(
    change: WidthChange, kind: int, sections: width.CrossSections, parameters: NavigableChangeParameters
) -> list[npt.NDArray[np.intp]]:
    """Sections of a kind that follow each other on a line."""
    chosen = np.flatnonzero(change.kind == kind)
    if not chosen.size:
        return []
    line, distance = sections.line[change.section[chosen]], sections.distance[change.section[chosen]]
    order = np.lexsort((distance, line))
    chosen, line, distance = chosen[order], line[order], distance[order]
    steps = np.diff(sections.distance)[np.diff(sections.line) == 0]
    longest = parameters.longest_break * float(np.median(steps)) if steps.size else 0.0
    ends = np.flatnonzero((np.diff(line) != 0) | (np.diff(distance) > longest)) + 1
    return list(np.split(chosen, ends))


def _along(change: WidthChange, part: npt.NDArray[np.intp], before: Sequence[Any], after: Sequence[Any]) -> Any:
    lines = [_line(change, number, before, after) for number in part]
    if len(lines) == 1:
        return lines[0]
    return shapely.LineString([line.interpolate(0.5, normalized=True).coords[0] for line in lines])


def facts(change: WidthChange) -> dict[str, Any]:
    """Counts of a comparison.

    Parameters
    ----------
    change : WidthChange
        What changed.

    Returns
    -------
    dict
        Sections compared and by kind, and those of the earlier date that nothing answers.
    """
    return {
        "compared": len(change.section),
        **{name: int((change.kind == number).sum()) for number, name in enumerate(KINDS)},
        "unmatched": change.unmatched,
    }


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
    left = water_left(maps[0].sections, shares[1], pixel=pixel)
    change = compare(maps[0].sections, maps[1].sections, pixel=pixel, parameters=parameters, left=left)
    crs = str(geobox.crs)
    lines = [river_width.tables(found, geobox.transform, crs)[0].geometry for found in maps]
    sides = [(found.sections, geometry) for found, geometry in zip(maps, lines, strict=True)]
    classes, chance = _classes(shares, parameters.water_rules.threshold)
    like = wet.isel(time=0, drop=True)
    return definition.SectorLayers(
        data=xr.Dataset({LAYER: like.copy(data=classes)}),
        uncertainty=xr.Dataset({LAYER: like.copy(data=chance)}),
        dates=used,
        features=(
            table(change, lines[0], lines[1], crs),
            segments(change, sides[0], sides[1], crs, parameters=parameters),
        ),
        facts={**facts(change), "minimum_measurable_width_m": round(maps[1].least_width, 3)},
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
