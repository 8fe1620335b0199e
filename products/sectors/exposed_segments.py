"""Product for transport: road and bridge segments that a flood or a moving slope reaches."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.features
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import ndimage, special

from processors.imagery import grid
from products import exposure, feature_table, interval
from products.sectors import definition, flood_extent, landslide_candidates
from retrieval.surface import flood, landslide, radar_water

LAYER = "exposed_segments"
CLEAR, FLOODED, SLIDING, STEEP = 0, 1, 2, 3
SUSCEPTIBLE = "susceptible"
STATES_ZH = {**exposure.STATES_ZH, SUSCEPTIBLE: "易发"}
_ORDER = (exposure.EXPOSED, exposure.NEAR, SUSCEPTIBLE, exposure.NOT_ASSESSED, exposure.CLEAR)
_HAZARDS_ZH = {"flood": "洪水", "landslide candidate": "疑似滑坡", "steep slope": "陡坡", "": ""}


@dataclass(frozen=True, kw_only=True)
class ExposedSegmentsParameters:
    """How the hazards are told and when they reach a segment.

    Parameters
    ----------
    flood : FloodExtentParameters
        How flood is told.
    landslide : LandslideCandidateParameters
        How landslide candidates are told.
    reach : ExposureParameters
        When something is reached, near or clear.
    steep : float
        Slope from which ground beside a segment may move, whatever the image shows [degree].
    slope_sigma : float
        Standard uncertainty of the slope [degree].
    susceptible : float
        Share of a segment on such ground from which it is named susceptible [1].
    """

    flood: flood_extent.FloodExtentParameters = field(default_factory=flood_extent.FloodExtentParameters)
    landslide: landslide_candidates.LandslideCandidateParameters = field(
        default_factory=landslide_candidates.LandslideCandidateParameters
    )
    reach: exposure.ExposureParameters = field(default_factory=exposure.ExposureParameters)
    steep: float = 35.0
    slope_sigma: float = 4.0
    susceptible: float = 0.2


class Segments(NamedTuple):
    """Road and bridge segments of the operator."""

    named: exposure.Named
    """Who they are."""
    geometry: npt.NDArray[Any]
    """Lines, or polygons of decks (segment)."""
    crs: str
    """Their reference system."""


class Hazards(NamedTuple):
    """What may reach a segment, on one grid; None where the input does not show it."""

    flood: exposure.Hazard | None
    """Flood and probable flood."""
    slide: exposure.Hazard | None
    """Landslide candidates."""
    steep: exposure.Hazard | None
    """Steep ground."""


class _Joined(NamedTuple):
    flood: exposure.Exposure
    slide: exposure.Exposure
    steep: exposure.Exposure


def exposed_segments_layers(
    fused: xr.Dataset, *, parameters: ExposedSegmentsParameters, segments: Segments | None = None
) -> definition.SectorLayers:
    """Segments that the flood or the landslide candidates of a fused dataset reach.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset from which flood, landslide candidates or both can be told; ``slope``, ``hand`` and others help.
    parameters : ExposedSegmentsParameters
        Hazards and reach.
    segments : Segments, optional
        Segments of the operator.

    Returns
    -------
    SectorLayers
        Layer ``exposed_segments`` [1] on the pixels of the segments with the probability of the class given [1], and
        one object a segment.

    Raises
    ------
    NotApplicableError
        Without segments here (cause ``segments_missing``), or where neither hazard can be told.
    """
    here = require_segments(segments, grid.geobox_of(fused))
    found, reasons = {}, []
    for name, told in (("flood", _flood), ("slide", _slide)):
        try:
            found[name] = told(fused, parameters)
        except definition.NotApplicableError as error:
            reasons.append(error)
    if not found:
        words = "; ".join(str(error) for error in reasons)
        raise definition.NotApplicableError(reasons[0].cause, f"exposed-segments: no hazard can be told: {words}")
    terrain = {name: _values(fused[name]) for name in ("slope", "hand", "elevation") if name in fused}
    geobox = grid.geobox_of(fused)
    hazards = Hazards(
        flood=flood_hazard(found["flood"], terrain, geobox, parameters) if "flood" in found else None,
        slide=_slide_hazard(found["slide"], geobox) if "slide" in found else None,
        steep=steep_hazard(terrain, geobox, parameters),
    )
    dates = np.unique(np.concatenate([layers.dates for layers in found.values()])).astype(np.intp)
    return of_hazards(hazards, here, geobox, parameters=parameters, dates=dates, reasons=[str(one) for one in reasons])


def require_segments(segments: Segments | None, geobox: GeoBox) -> Segments:
    """Segments that touch a grid.

    Parameters
    ----------
    segments : Segments or None
        Segments of the operator.
    geobox : GeoBox
        The grid.

    Returns
    -------
    Segments
        Those of them that touch it.

    Raises
    ------
    NotApplicableError
        Cause ``segments_missing``: none were supplied, or none of them lies here.
    """
    if segments is None or not len(segments.geometry):
        raise definition.NotApplicableError(
            "segments_missing",
            "exposed-segments needs road and bridge segments, and the operator supplied none (land a vector file as "
            "auxiliary data of the kind segments)",
        )
    to_degrees = pyproj.Transformer.from_crs(segments.crs, "EPSG:4326", always_xy=True)
    places = shapely.transform(segments.geometry, to_degrees.transform, interleaved=False)
    inside = np.asarray(shapely.intersects(places, shapely.box(*grid.geographic_bounds(geobox))), dtype=bool)
    if not inside.any():
        raise definition.NotApplicableError(
            "segments_missing", f"none of the {len(places)} road and bridge segments supplied lies in this area"
        )
    named = exposure.Named(*(column[inside] for column in segments.named))
    return Segments(named, segments.geometry[inside], segments.crs)


def _flood(fused: xr.Dataset, parameters: ExposedSegmentsParameters) -> definition.SectorLayers:
    return flood_extent.flood_extent_layers(fused, parameters=parameters.flood)


def _slide(fused: xr.Dataset, parameters: ExposedSegmentsParameters) -> definition.SectorLayers:
    wanted = landslide_candidates.DEFINITION
    definition.require(fused, definition=wanted)
    return landslide_candidates.landslide_candidate_layers(fused, parameters=parameters.landslide)


def flood_hazard(
    layers: definition.SectorLayers,
    terrain: Mapping[str, npt.NDArray[Any]],
    geobox: GeoBox,
    parameters: ExposedSegmentsParameters,
) -> exposure.Hazard:
    """Flood as a hazard; what layover and radar shadow hide is unknown, what lies too high is not flooded.

    Parameters
    ----------
    layers : SectorLayers
        Layers of the product flood extent.
    terrain : Mapping
        Layers ``slope`` [degree], ``hand`` [m] and ``elevation`` [m] (y, x), those there are.
    geobox : GeoBox
        Grid of all.
    parameters : ExposedSegmentsParameters
        Rules of the flood.

    Returns
    -------
    Hazard
        Classes flood and probable flood.
    """
    classes = layers.data[flood_extent.LAYER].transpose("y", "x").values
    certain = layers.uncertainty[flood_extent.LAYER].transpose("y", "x").values
    hidden = unjudged(classes, terrain, parameters.flood)
    known = np.where(hidden, np.uint8(definition.CLASS_NODATA), classes)
    return exposure.hazard_of(known, certain, classes=(flood.FLOOD, flood.PROBABLE), geobox=geobox)


def unjudged(
    classes: npt.NDArray[np.uint8],
    terrain: Mapping[str, npt.NDArray[Any]],
    parameters: flood_extent.FloodExtentParameters,
) -> npt.NDArray[np.bool_]:
    """Excluded pixels of a flood map that the terrain does not place above the water: there nobody knows.

    Parameters
    ----------
    classes : numpy.ndarray
        Classes of the flood (y, x).
    terrain : Mapping
        Layers ``slope`` [degree], ``hand`` [m] and ``elevation`` [m] (y, x), those there are.
    parameters : FloodExtentParameters
        Rules of the flood.

    Returns
    -------
    numpy.ndarray
        True in layover and radar shadow (y, x).
    """
    place = radar_water.Surroundings(
        hand=terrain.get("hand"), slope=terrain.get("slope"), elevation=terrain.get("elevation")
    )
    high = radar_water.too_high(place, parameters=parameters.rules.water)
    excluded = np.asarray(classes == flood.EXCLUDED)
    return excluded if high is None else excluded & ~high


def _slide_hazard(layers: definition.SectorLayers, geobox: GeoBox) -> exposure.Hazard:
    name = landslide_candidates.DEFINITION.layers[0].name
    return exposure.hazard_of(
        layers.data[name].transpose("y", "x").values,
        layers.uncertainty[name].transpose("y", "x").values,
        classes=(landslide.CANDIDATE,),
        geobox=geobox,
    )


def steep_hazard(
    terrain: Mapping[str, npt.NDArray[Any]], geobox: GeoBox, parameters: ExposedSegmentsParameters
) -> exposure.Hazard | None:
    """Steep ground, with the probability that it is as steep as that given the uncertainty of the slope.

    Parameters
    ----------
    terrain : Mapping
        Layers of the terrain, ``slope`` [degree] (y, x) among them where it is known.
    geobox : GeoBox
        Grid.
    parameters : ExposedSegmentsParameters
        Slope and its uncertainty.

    Returns
    -------
    Hazard or None
        None where the slope is not known.
    """
    slope = terrain.get("slope")
    if slope is None:
        return None
    chance = special.ndtr((slope - np.float32(parameters.steep)) / np.float32(parameters.slope_sigma))
    return exposure.Hazard(np.asarray(slope >= parameters.steep), chance.astype(np.float32), geobox)


def of_hazards(
    hazards: Hazards,
    segments: Segments,
    geobox: GeoBox,
    *,
    parameters: ExposedSegmentsParameters,
    dates: npt.NDArray[np.intp],
    reasons: list[str] | None = None,
) -> definition.SectorLayers:
    """Layers of the product from hazards that have been told, for a scene of any size.

    Parameters
    ----------
    hazards : Hazards
        At least one of flood and landslide candidates.
    segments : Segments
        Segments, at least one of which touches the grid.
    geobox : GeoBox
        Grid, north up.
    parameters : ExposedSegmentsParameters
        Reach.
    dates : numpy.ndarray
        Dates used.
    reasons : list of str, optional
        Why a hazard was not told.

    Returns
    -------
    SectorLayers
        Classes on the pixels of the segments, one object a segment, and how many kilometers of which state.
    """
    carry = pyproj.Transformer.from_crs(segments.crs, str(geobox.crs), always_xy=True)
    drawn = shapely.transform(segments.geometry, carry.transform, interleaved=False)
    touched = rasterio.features.rasterize(
        list(drawn), out_shape=tuple(geobox.shape), transform=geobox.transform, all_touched=True, dtype="uint8"
    )
    values = np.full(touched.shape, definition.CLASS_NODATA, dtype=np.uint8)
    certain = np.full(touched.shape, np.nan, dtype=np.float32)
    place = np.nonzero(touched)
    values[place], certain[place] = _pixels(hazards, place, parameters)
    table, lengths = _table(hazards, segments, parameters)
    axes = ("y", "x")
    affine, (height, width) = geobox.transform, touched.shape
    where = {
        "y": affine.f + (np.arange(height) + 0.5) * affine.e,
        "x": affine.c + (np.arange(width) + 0.5) * affine.a,
    }
    return definition.SectorLayers(
        data=xr.Dataset({LAYER: (axes, values)}, coords=where),
        uncertainty=xr.Dataset({LAYER: (axes, certain)}, coords=where),
        dates=dates,
        outside=xr.DataArray(touched == 0, dims=axes, coords=where),
        features=(table,),
        facts={
            "hazards_assessed": [name for name, one in zip(Hazards._fields, hazards, strict=True) if one is not None],
            "hazards_not_assessed": list(reasons or []),
            "length_km_by_state": lengths,
            "steep_degree": parameters.steep,
            "near_m": parameters.reach.near,
        },
    )


def _pixels(
    hazards: Hazards, place: tuple[npt.NDArray[Any], ...], parameters: ExposedSegmentsParameters
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Class and its probability on the pixels of the segments."""
    told = [one for one in (hazards.flood, hazards.slide) if one is not None]
    chances = [one.probability[place].astype(np.float32) for one in told]
    known = np.logical_and.reduce([np.isfinite(chance) for chance in chances])
    nothing = np.prod([1 - np.nan_to_num(chance) for chance in chances], axis=0)
    values = np.where(known, np.uint8(CLEAR), np.uint8(definition.CLASS_NODATA))
    certain = np.where(known, nothing, np.nan)
    if hazards.steep is not None:
        steep = hazards.steep.reached[place] & known
        values[steep] = STEEP
        certain[steep] = (hazards.steep.probability[place] * nothing)[steep]
    if hazards.slide is not None:
        near, chance = _within(hazards.slide, place, parameters.reach.near)
        # Beside a candidate, but itself unseen: the table says it is near, the map says nothing.
        near = near & np.isfinite(hazards.slide.probability[place])
        values[near], certain[near] = SLIDING, chance[near]
    if hazards.flood is not None:
        wet = hazards.flood.reached[place] & np.isfinite(hazards.flood.probability[place])
        values[wet], certain[wet] = FLOODED, hazards.flood.probability[place][wet]
    return values.astype(np.uint8), certain.astype(np.float32)


def _within(
    hazard: exposure.Hazard, place: tuple[npt.NDArray[Any], ...], reach: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Which places lie within reach of a hazard, and its probability where it is nearest."""
    if not hazard.reached.any():
        return np.zeros(place[0].shape, dtype=bool), np.zeros(place[0].shape)
    steps, nearest = ndimage.distance_transform_edt(~hazard.reached, return_indices=True)
    near = steps[place] * grid.pixel_size(hazard.geobox) <= reach
    return np.asarray(near), hazard.probability[tuple(axis[place] for axis in nearest)]


def _table(
    hazards: Hazards, segments: Segments, parameters: ExposedSegmentsParameters
) -> tuple[feature_table.FeatureTable, dict[str, float]]:
    """Segments, the most exposed first, and kilometers by state."""
    joined = _Joined(*(_joined(one, segments, parameters) for one in hazards))
    state, hazard = _states(joined, parameters)
    worst = _worst(joined)
    length = _lengths(segments)
    order = np.lexsort((-np.nan_to_num(worst["exposed_share"]), np.array([_ORDER.index(word) for word in state])))
    columns: dict[str, npt.NDArray[Any]] = {
        "segment_id": segments.named.identity,
        "kind": segments.named.kind,
        "name": segments.named.name,
        "name_zh": segments.named.name_zh,
        "length_m": length,
        "state": state,
        "state_zh": np.array([STATES_ZH[word] for word in state], dtype=object),
        "hazard": hazard,
        "hazard_zh": np.array([_HAZARDS_ZH[word] for word in hazard], dtype=object),
        "class_value": _classes(state, hazard),
        **worst,
        "flood_state": joined.flood.state,
        "flood_probability": joined.flood.probability,
        "slope_state": joined.slide.state,
        "slope_probability": joined.slide.probability,
        "slope_distance_m": np.where(np.isfinite(joined.slide.distance), joined.slide.distance, np.nan),
        "steep_share": joined.steep.share,
    }
    table = feature_table.FeatureTable(
        name=LAYER,
        title_en="Road and bridge segments and the hazards",
        title_zh="路段桥梁受影响情况",
        fields=FIELDS,
        geometry=list(segments.geometry[order]),
        columns={name: column[order] for name, column in columns.items()} | {"rank": np.arange(1, order.size + 1)},
        crs=segments.crs,
    )
    lengths = {word: round(float(length[state == word].sum()) / 1000, 3) for word in _ORDER if (state == word).any()}
    return table, lengths


def _joined(
    hazard: exposure.Hazard | None, segments: Segments, parameters: ExposedSegmentsParameters
) -> exposure.Exposure:
    if hazard is not None:
        return exposure.join(list(segments.geometry), segments.crs, hazard=hazard, parameters=parameters.reach)
    count = len(segments.geometry)
    unknown = np.full(count, np.nan)
    state = np.full(count, exposure.NOT_ASSESSED, dtype=object)
    return exposure.Exposure(state, unknown, unknown, unknown, unknown, unknown, np.zeros(count))


def _states(joined: _Joined, parameters: ExposedSegmentsParameters) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """State of every segment, the worst of its hazards, and which hazard makes it so."""
    steep = joined.steep.share >= parameters.susceptible
    seen = (joined.flood.state == exposure.CLEAR) | (joined.slide.state == exposure.CLEAR)
    state = np.where(seen, exposure.CLEAR, exposure.NOT_ASSESSED).astype(object)
    hazard = np.full(state.shape, "", dtype=object)
    state[steep], hazard[steep] = SUSCEPTIBLE, "steep slope"
    for word in (exposure.NEAR, exposure.EXPOSED):
        for name, one in (("landslide candidate", joined.slide), ("flood", joined.flood)):
            state[one.state == word], hazard[one.state == word] = word, name
    return state, hazard


def _classes(state: npt.NDArray[Any], hazard: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Class of every segment as on the map: flood only where it is reached, a landslide candidate also where near."""
    classes = np.where(state == exposure.NOT_ASSESSED, definition.CLASS_NODATA, CLEAR).astype(np.int64)
    classes[state == SUSCEPTIBLE] = STEEP
    classes[hazard == "landslide candidate"] = SLIDING
    classes[(hazard == "flood") & (state == exposure.EXPOSED)] = FLOODED
    return classes


def _worst(joined: _Joined) -> dict[str, npt.NDArray[np.float64]]:
    """Share reached with its limits and uncertainty, largest probability, assessed share: of the worse hazard."""
    by_flood = ~(np.nan_to_num(joined.slide.share, nan=-1.0) > np.nan_to_num(joined.flood.share, nan=-1.0))
    share, low, high, probability, assessed = (
        np.where(by_flood, getattr(joined.flood, name), getattr(joined.slide, name))
        for name in ("share", "low", "high", "probability", "assessed")
    )
    # The interval ends at 0 and 1: the side that does not end there tells the uncertainty.
    sigma = np.maximum(high - share, share - low) / interval.NORMAL_QUANTILE_95
    return {
        "exposed_share": share,
        "exposed_share_sigma": sigma,
        "exposed_share_low": low,
        "exposed_share_high": high,
        "probability": probability,
        "assessed_share": assessed,
    }


def _lengths(segments: Segments) -> npt.NDArray[np.float64]:
    """Length of lines and half the outline of polygons on the ellipsoid [m]."""
    to_degrees = pyproj.Transformer.from_crs(segments.crs, "EPSG:4326", always_xy=True)
    ellipsoid = pyproj.Geod(ellps="WGS84")
    lengths = []
    for shape in shapely.transform(segments.geometry, to_degrees.transform, interleaved=False):
        areal = shapely.get_dimensions(shape) == 2
        lengths.append(ellipsoid.geometry_length(shape.boundary if areal else shape) / (2 if areal else 1))
    return np.array(lengths, dtype=np.float64)


def _values(layer: xr.DataArray) -> npt.NDArray[np.float32]:
    return np.asarray(layer.transpose("y", "x").values, dtype=np.float32)


_field = feature_table.field

FIELDS = (
    _field("segment_id", "Identity", "编号", "text"),
    _field("kind", "Kind", "类别", "text"),
    _field("name", "Name", "名称(英文)", "text"),
    _field("name_zh", "Chinese name", "名称", "text"),
    _field("length_m", "Length", "长度", "real", "m"),
    _field("state", "State", "状态(英文)", "text"),
    _field("state_zh", "State in Chinese", "状态", "text"),
    _field("hazard", "Hazard that makes it so", "主要灾害(英文)", "text"),
    _field("hazard_zh", "Hazard in Chinese", "主要灾害", "text"),
    _field("class_value", "Class", "类值", "integer"),
    _field("exposed_share", "Expected share reached", "受影响比例", "real", "1"),
    _field("exposed_share_sigma", "Standard uncertainty of the share", "受影响比例标准不确定度", "real", "1"),
    _field("exposed_share_low", "Share, lower limit of 95 %", "受影响比例下限", "real", "1"),
    _field("exposed_share_high", "Share, upper limit of 95 %", "受影响比例上限", "real", "1"),
    _field("probability", "Largest probability", "最大概率", "real", "1"),
    _field("assessed_share", "Share with data", "已评估比例", "real", "1"),
    _field("flood_state", "State as to flood", "洪水状态", "text"),
    _field("flood_probability", "Largest probability of flood", "洪水最大概率", "real", "1"),
    _field("slope_state", "State as to landslide candidates", "滑坡状态", "text"),
    _field("slope_probability", "Largest probability of a landslide candidate", "疑似滑坡最大概率", "real", "1"),
    _field("slope_distance_m", "Distance to a landslide candidate", "距疑似滑坡距离", "real", "m"),
    _field("steep_share", "Expected share on steep ground", "陡坡比例", "real", "1"),
    _field("rank", "Rank, most exposed first", "排序", "integer"),
)
"""Attributes of a segment."""


DEFINITION = definition.ProductDefinition(
    code="exposed-segments",
    sector="transport",
    title_en="Road and bridge segments exposed to flood and slopes",
    title_zh="受洪水与坡体威胁的路段桥梁",
    description_en=(
        "Road and bridge segments supplied by the operator that mapped flood reaches, that lie within 100 m of a "
        "landslide candidate, or that run along ground steeper than 35 degrees. Areas are those of the pixels a "
        "segment lies on; state, share and probability of every segment stand in the table. Not a statement on "
        "passability: the height of decks and dams is not known, a bridge above flood water counts as exposed, and "
        "steep ground is a disposition, not a movement."
    ),
    description_zh=(
        "用户提供的路段与桥梁中,被洪水淹没范围触及、距疑似滑坡不超过100米、或沿坡度大于35度地段通过的部分。"
        "面积为路段所在像元的面积;各路段的状态、比例与概率见要素表。不表示能否通行:桥面与路堤高程未知,"
        "位于淹没水面之上的桥梁计为受影响;陡坡仅为易发条件,不表示正在变形。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name=LAYER, title_en="Exposed segments", title_zh="受威胁路段"),),
    classes=(
        definition.ProductClass(value=CLEAR, name_en="Not reached", name_zh="未受影响", colour="#2e7d32"),
        definition.ProductClass(value=FLOODED, name_en="Reached by flood", name_zh="受洪水影响", colour="#1f6fd6"),
        definition.ProductClass(
            value=SLIDING, name_en="Near a landslide candidate", name_zh="邻近疑似滑坡", colour="#d7263d"
        ),
        definition.ProductClass(value=STEEP, name_en="On steep ground", name_zh="陡坡地段", colour="#e8a33d"),
    ),
    required_bands=(),
    minimum_dates=1,
    latency_target=timedelta(minutes=30),
    validity="candidate",
    algorithm=exposed_segments_layers,
    parameters=ExposedSegmentsParameters(),
)


def with_segments(product: definition.ProductDefinition, segments: Segments | None) -> definition.ProductDefinition:
    """The product with the segments of the operator at hand.

    Parameters
    ----------
    product : ProductDefinition
        This product, with the parameters in force.
    segments : Segments or None
        Segments of the operator.

    Returns
    -------
    ProductDefinition
        The same, whose algorithm knows them.
    """

    @functools.wraps(exposed_segments_layers)
    def with_these(fused: xr.Dataset, *, parameters: Any) -> definition.SectorLayers:
        return exposed_segments_layers(fused, parameters=parameters, segments=segments)

    return dataclasses.replace(product, algorithm=with_these)
