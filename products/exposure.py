"""What a hazard reaches: assets and road segments joined with a class layer, sub-pixel, never clear where unknown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import exactextract
import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import shapely.geometry
from exactextract import raster as zone_raster
from odc.geo import geobox as geo_box
from scipy import ndimage

from processors.imagery import grid
from products import feature_table, interval

FloatArray = npt.NDArray[np.float64]

EXPOSED, NEAR, CLEAR, NOT_ASSESSED = "exposed", "near", "clear", "not_assessed"
STATES_ZH = {EXPOSED: "受影响", NEAR: "邻近", CLEAR: "未受影响", NOT_ASSESSED: "未评估"}


@dataclass(frozen=True, kw_only=True)
class ExposureParameters:
    """When something counts as reached.

    Parameters
    ----------
    near : float
        Distance from the hazard within which something is near [m].
    assessed : float
        Least share of an asset with data for it to be called clear [1].
    sampling : float
        Distance of the points a line is looked at in [pixel].
    """

    near: float = 100.0
    assessed: float = 0.9
    sampling: float = 0.25


class Hazard(NamedTuple):
    """A hazard on a grid."""

    reached: npt.NDArray[np.bool_]
    """Pixels of the hazard's classes (y, x)."""
    probability: npt.NDArray[Any]
    """Probability of the hazard (y, x) [1], NaN where unknown."""
    geobox: geo_box.GeoBox
    """Grid, north up."""


class Exposure(NamedTuple):
    """How each asset is reached, in the order given; NaN where not assessed."""

    state: npt.NDArray[Any]
    """`exposed`, `near`, `clear` or `not_assessed` (asset)."""
    share: FloatArray
    """Expected share of the asset inside the hazard (asset) [1]."""
    low: FloatArray
    """Lower limit of the 95 % interval of the share (asset) [1]."""
    high: FloatArray
    """Upper limit (asset) [1]."""
    probability: FloatArray
    """Largest probability of the hazard on it (asset) [1]."""
    distance: FloatArray
    """Distance to the hazard (asset) [m], infinite beyond the near distance."""
    assessed: FloatArray
    """Share of the asset with data (asset) [1]."""


def hazard_of(
    values: npt.NDArray[np.uint8],
    certain: npt.NDArray[Any],
    *,
    classes: Sequence[int],
    geobox: geo_box.GeoBox,
    nodata: int = 255,
) -> Hazard:
    """Hazard from a class layer with the probability of the class given.

    Parameters
    ----------
    values : numpy.ndarray
        Classes (y, x).
    certain : numpy.ndarray
        Probability of the class given (y, x) [1].
    classes : sequence of int
        Classes that are the hazard.
    geobox : GeoBox
        Grid, north up.
    nodata : int
        Value without data.

    Returns
    -------
    Hazard
        The hazard; outside its classes its probability is what the class given leaves.
    """
    reached = np.isin(values, list(classes))
    sure = np.asarray(certain, dtype=np.float32)
    probability = np.where(reached, sure, 1 - sure)
    return Hazard(reached, np.where(values == nodata, np.nan, probability), geobox)


def join(shapes: Sequence[Any], crs: str, *, hazard: Hazard, parameters: ExposureParameters | None = None) -> Exposure:
    """Exposure of assets.

    Parameters
    ----------
    shapes : sequence of shapely.Geometry
        Points, lines or polygons.
    crs : str
        Their reference system.
    hazard : Hazard
        The hazard.
    parameters : ExposureParameters, optional
        Distances and shares.

    Returns
    -------
    Exposure
        One entry an asset; what lies outside the grid is not assessed.
    """
    chosen = parameters or ExposureParameters()
    carry = pyproj.Transformer.from_crs(crs, str(hazard.geobox.crs), always_xy=True)
    moved = shapely.transform(np.asarray(list(shapes), dtype=object), carry.transform, interleaved=False)
    size = grid.pixel_size(hazard.geobox)
    found = [_exposed(shape, hazard, size, chosen) for shape in moved]
    columns = [np.array(column) for column in zip(*found, strict=True)] if found else [np.zeros(0)] * 7
    state = np.array(columns[0], dtype=object)
    return Exposure(state, *(column.astype(np.float64) for column in columns[1:]))


_UNKNOWN = (NOT_ASSESSED, float("nan"), float("nan"), float("nan"), float("nan"), float("nan"), 0.0)


def _exposed(shape: Any, hazard: Hazard, size: float, parameters: ExposureParameters) -> tuple[Any, ...]:
    """State, share with its limits, largest probability, distance, assessed share of one asset."""
    if shape.is_empty or not np.isfinite(shape.bounds).all():
        return _UNKNOWN
    row, column, weight = _pixels(shape, hazard.geobox, parameters.sampling)
    rows, columns = hazard.reached.shape
    inside = (row >= 0) & (column >= 0) & (row < rows) & (column < columns)
    total = weight.sum()
    if not inside.any() or not total > 0:
        return _UNKNOWN
    row, column, weight = row[inside], column[inside], weight[inside]
    probability = hazard.probability[row, column].astype(np.float64)
    known = np.isfinite(probability)
    assessed = float(weight[known].sum() / total)
    if not known.any():
        return _UNKNOWN
    share, low, high = _share(probability[known], weight[known])
    reached = bool((hazard.reached[row, column] & known).any())
    distance = 0.0 if reached else _distance(row, column, hazard, size, parameters.near)
    state = EXPOSED if reached else NEAR if distance <= parameters.near else CLEAR
    if state == CLEAR and assessed < parameters.assessed:
        # Half of it was not seen: that the other half is dry does not clear it.
        state = NOT_ASSESSED
    return state, share, low, high, float(probability[known].max()), distance, assessed


def _share(probability: FloatArray, weight: FloatArray) -> tuple[float, float, float]:
    """Expected share with its 95 % limits, errors partly common as in the statistics of districts."""
    part = weight / weight.sum()
    sigma = np.sqrt(probability * (1 - probability))
    share = float((part * probability).sum())
    common, own = float((part * sigma).sum()) ** 2, float((part**2 * sigma**2).sum())
    rho = interval.ERROR_CORRELATION
    half = interval.NORMAL_QUANTILE_95 * float(np.sqrt(rho * common + (1 - rho) * own))
    return share, max(share - half, 0.0), min(share + half, 1.0)


def _pixels(
    shape: Any, geobox: geo_box.GeoBox, sampling: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Pixels an asset lies on and how much of it lies on each: area, length or number."""
    affine = geobox.transform
    parts = shapely.get_parts(shape)
    areal = [part for part in parts if part.geom_type == "Polygon"]
    if areal:
        return _covered(shapely.union_all(areal), geobox)
    lines = [part for part in parts if part.geom_type in ("LineString", "LinearRing")]
    step = sampling * min(abs(affine.a), abs(affine.e))
    places = [_along(line, step) for line in lines] or [shapely.get_coordinates(shape)]
    points = np.concatenate(places)
    column = np.floor((points[:, 0] - affine.c) / affine.a).astype(np.int64)
    row = np.floor((points[:, 1] - affine.f) / affine.e).astype(np.int64)
    return row, column, np.ones(len(points))


def _along(line: Any, step: float) -> FloatArray:
    """Points at the middle of equal pieces of a line."""
    count = max(int(np.ceil(line.length / step)), 1)
    middles = (np.arange(count) + 0.5) / count
    return np.asarray(shapely.get_coordinates(shapely.line_interpolate_point(line, middles, normalized=True)))


def _covered(shape: Any, geobox: geo_box.GeoBox) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Pixels a polygon covers and the share of each, counted also beyond the grid."""
    affine = geobox.transform
    left, bottom, right, top = shape.bounds
    first = int(np.floor((left - affine.c) / affine.a)), int(np.floor((top - affine.f) / affine.e))
    last = int(np.ceil((right - affine.c) / affine.a)), int(np.ceil((bottom - affine.f) / affine.e))
    width, height = max(last[0] - first[0], 1), max(last[1] - first[1], 1)
    west, north = affine.c + first[0] * affine.a, affine.f + first[1] * affine.e
    raster = zone_raster.NumPyRasterSource(
        np.zeros((height, width), dtype=np.uint8),
        xmin=west,
        ymin=north + height * affine.e,
        xmax=west + width * affine.a,
        ymax=north,
    )
    polygon = {"type": "Feature", "geometry": shapely.geometry.mapping(shape)}
    found = exactextract.exact_extract(raster, [polygon], ["cell_id", "coverage"])[0]["properties"]
    row, column = np.divmod(np.asarray(found["cell_id"], dtype=np.int64), width)
    return row + first[1], column + first[0], np.asarray(found["coverage"], dtype=np.float64)


def _distance(
    row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], hazard: Hazard, size: float, near: float
) -> float:
    """Distance to the nearest pixel of the hazard within the near distance [m], infinite beyond."""
    reach = int(np.ceil(near / size)) + 1
    rows = slice(max(int(row.min()) - reach, 0), int(row.max()) + reach + 1)
    columns = slice(max(int(column.min()) - reach, 0), int(column.max()) + reach + 1)
    around = hazard.reached[rows, columns]
    if not around.any():
        return float("inf")
    steps = ndimage.distance_transform_edt(~around)
    return float(steps[row - rows.start, column - columns.start].min()) * size


_field = feature_table.field

FIELDS = (
    _field("asset_id", "Identity", "编号", "text"),
    _field("kind", "Kind", "类别", "text"),
    _field("name", "Name", "名称(英文)", "text"),
    _field("name_zh", "Chinese name", "名称", "text"),
    _field("state", "State", "状态(英文)", "text"),
    _field("state_zh", "State in Chinese", "状态", "text"),
    _field("exposed_share", "Expected share inside", "受影响比例", "real", "1"),
    _field("exposed_share_low", "Share, lower limit of 95 %", "受影响比例下限", "real", "1"),
    _field("exposed_share_high", "Share, upper limit of 95 %", "受影响比例上限", "real", "1"),
    _field("probability", "Largest probability", "最大概率", "real", "1"),
    _field("distance_m", "Distance to the hazard", "距离", "real", "m"),
    _field("assessed_share", "Share with data", "已评估比例", "real", "1"),
    _field("rank", "Rank, most exposed first", "排序", "integer"),
)
"""Attributes of an asset that was joined with a hazard."""


class Named(NamedTuple):
    """Who the assets are, in the order of their geometry."""

    identity: npt.NDArray[Any]
    """Identity (asset)."""
    kind: npt.NDArray[Any]
    """Kind (asset)."""
    name: npt.NDArray[Any]
    """Name or None (asset)."""
    name_zh: npt.NDArray[Any]
    """Chinese name or None (asset)."""


def table(
    exposure: Exposure, assets: Named, shapes: Sequence[Any], *, crs: str, name: str, titles: tuple[str, str]
) -> feature_table.FeatureTable:
    """Assets with their exposure, the most exposed first; what was not assessed is listed, not left out.

    Parameters
    ----------
    exposure : Exposure
        Result of `join`.
    assets : Named
        Who they are.
    shapes : sequence of shapely.Geometry
        Their geometry.
    crs : str
        Its reference system.
    name : str
        Name of the table.
    titles : tuple of str
        English and Chinese title.

    Returns
    -------
    FeatureTable
        One object an asset.
    """
    order = ranking(exposure)
    state = exposure.state[order]
    geometry = np.asarray(list(shapes), dtype=object)[order]
    return feature_table.FeatureTable(
        name=name,
        title_en=titles[0],
        title_zh=titles[1],
        fields=FIELDS,
        geometry=list(geometry),
        columns={
            "asset_id": assets.identity[order],
            "kind": assets.kind[order],
            "name": assets.name[order],
            "name_zh": assets.name_zh[order],
            "state": state,
            "state_zh": np.array([STATES_ZH[word] for word in state], dtype=object),
            "exposed_share": exposure.share[order],
            "exposed_share_low": exposure.low[order],
            "exposed_share_high": exposure.high[order],
            "probability": exposure.probability[order],
            "distance_m": np.where(np.isfinite(exposure.distance), exposure.distance, np.nan)[order],
            "assessed_share": exposure.assessed[order],
            "rank": np.arange(1, order.size + 1),
        },
        crs=crs,
    )


def ranking(exposure: Exposure) -> npt.NDArray[np.int64]:
    """Order of the assets from the most to the least exposed.

    Parameters
    ----------
    exposure : Exposure
        Result of `join`.

    Returns
    -------
    numpy.ndarray
        Positions: exposed by share, then near by distance, then not assessed, then clear.
    """
    places = {EXPOSED: 0, NEAR: 1, NOT_ASSESSED: 2, CLEAR: 3}
    group = np.array([places[word] for word in exposure.state], dtype=np.int64)
    distance = np.where(np.isfinite(exposure.distance), exposure.distance, np.inf)
    order: npt.NDArray[np.int64] = np.lexsort((distance, -np.nan_to_num(exposure.share), group))
    return order
