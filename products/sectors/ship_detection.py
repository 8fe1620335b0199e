"""Ships on inland water, a product for transport."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import xarray as xr

from processors.imagery import grid
from processors.quality import BadInputError
from products import feature_table
from products.sectors import definition, river_width
from retrieval.surface import ais_match, observation, radar_water, ship, water

LAYER = "ship_detection"

_FIELDS = (
    feature_table.FeatureField(name="ship", title_en="Number", title_zh="编号", kind="integer"),
    feature_table.FeatureField(name="lat", title_en="Latitude", title_zh="纬度", kind="real", units="degree"),
    feature_table.FeatureField(name="lon", title_en="Longitude", title_zh="经度", kind="real", units="degree"),
    feature_table.FeatureField(name="length_m", title_en="Length", title_zh="船长", kind="real", units="m"),
    feature_table.FeatureField(name="length_sigma_m", title_en="Standard uncertainty of length",
                               title_zh="船长标准不确定度", kind="real", units="m"),
    feature_table.FeatureField(name="width_m", title_en="Width", title_zh="船宽", kind="real", units="m"),
    feature_table.FeatureField(name="heading", title_en="Heading (or opposite)", title_zh="艏向（180度模糊）",
                               kind="real", units="degree"),
    feature_table.FeatureField(name="snr_db", title_en="Contrast to water", title_zh="与水面对比度", kind="real",
                               units="dB"),
    feature_table.FeatureField(name="confidence", title_en="Confidence", title_zh="置信度", kind="real"),
    feature_table.FeatureField(name="setting", title_en="Setting", title_zh="状态", kind="text"),
    feature_table.FeatureField(name="ships", title_en="Ships told apart", title_zh="可分辨船数", kind="integer"),
    feature_table.FeatureField(name="ais", title_en="AIS", title_zh="AIS匹配", kind="text"),
    feature_table.FeatureField(name="mmsi", title_en="MMSI", title_zh="MMSI", kind="integer"),
    feature_table.FeatureField(name="ais_distance_m", title_en="Distance from AIS", title_zh="与AIS距离", kind="real",
                               units="m"),
)  # fmt: skip
_AIS_FIELDS = (
    feature_table.FeatureField(name="mmsi", title_en="MMSI", title_zh="MMSI", kind="integer"),
    feature_table.FeatureField(name="lat", title_en="Latitude", title_zh="纬度", kind="real", units="degree"),
    feature_table.FeatureField(name="lon", title_en="Longitude", title_zh="经度", kind="real", units="degree"),
    feature_table.FeatureField(name="sigma_m", title_en="Standard uncertainty of the place",
                               title_zh="位置标准不确定度", kind="real", units="m"),
    feature_table.FeatureField(name="length_m", title_en="Length", title_zh="船长", kind="real", units="m"),
    feature_table.FeatureField(name="status", title_en="Status", title_zh="状态", kind="text"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ShipDetectionParameters:
    """Which date is searched and how.

    Parameters
    ----------
    minimum_share : float
        Share of usable pixels a date needs to count as the latest [1].
    water_rules : WaterParameters
        Coefficients of the water probability.
    rules : ShipParameters
        How ships are told.
    """

    minimum_share: float = 0.05
    water_rules: water.WaterParameters = field(default_factory=water.WaterParameters)
    rules: ship.ShipParameters = field(default_factory=ship.ShipParameters)


def ship_detection_layers(fused: xr.Dataset, *, parameters: ShipDetectionParameters) -> definition.SectorLayers:
    """Ships on the latest radar date.

    Parameters
    ----------
    fused : xr.Dataset
        Fused dataset with ``backscatter``; ``layover``, ``reference_water`` and earlier dates are used where there are.
    parameters : ShipDetectionParameters
        Date and rules.

    Returns
    -------
    SectorLayers
        Layer ``ship_detection`` [1] with the probability of the class given [1], and the ships.

    Raises
    ------
    NotApplicableError
        Where no date has enough radar, or there is no water to search.
    """
    if "backscatter" not in fused:
        raise definition.NotApplicableError("layer_missing", "ships need backscatter")
    usable = observation.radar_usable(fused)
    dates = observation.dates_with_share(usable, minimum_share=parameters.minimum_share)
    latest = definition.require_dates(dates, minimum=1, purpose="ships")[-1:]
    now = fused.isel(time=latest)
    wet = water.probability(now, parameters=parameters.water_rules).isel(time=0, drop=True).transpose("y", "x")
    decibels = now["backscatter"].where(observation.radar_usable(now)).isel(time=0, drop=True)
    power = _power(decibels)
    geobox = grid.geobox_of(fused)
    hidden = fused["layover"].transpose("y", "x").values > 0 if "layover" in fused else None
    heights, widths = river_width.pixel_sizes(geobox)
    try:
        found = ship.detect(
            power, (wet >= parameters.water_rules.threshold).values,
            pixel_size=(float(np.median(heights)), float(np.median(widths))),
            parameters=parameters.rules,
            place=ship.Place(hidden=hidden, static=_static(fused, dates[:-1], wet, geobox, parameters)),
        )  # fmt: skip
    except BadInputError as error:
        raise definition.NotApplicableError("no_water", str(error)) from error
    confidence = np.where(found.classes == ship.SHIP, 0.0, 1.0 - parameters.rules.rate).astype(np.float64)
    confidence[found.classes == ship.NO_DATA] = np.nan
    confidence[found.classes == ship.SHIP] = float(np.mean(found.ships.confidence)) if found.ships.row.size else 1.0
    return definition.SectorLayers(
        data=xr.Dataset({LAYER: wet.copy(data=found.classes).astype(np.uint8)}),
        uncertainty=xr.Dataset({LAYER: wet.copy(data=confidence)}),
        dates=latest,
        features=tables(found.ships, geobox.transform, str(geobox.crs), pixel_size=_sizes(geobox, found.ships)),
        facts=facts([found]),
    )


def _static(
    fused: xr.Dataset, earlier: Any, wet: xr.DataArray, geobox: Any, parameters: ShipDetectionParameters
) -> npt.NDArray[np.bool_] | None:
    """What is always there: it stands out on earlier dates, or usually is no water (y, x)."""
    static = None
    if "reference_water" in fused:
        static = fused["reference_water"].transpose("y", "x").values <= parameters.rules.static_water
    if len(earlier):
        before = fused.isel(time=earlier)
        usable = before["backscatter"].where(observation.radar_usable(before))
        dates = [_power(usable.isel(time=number, drop=True)) for number in range(len(earlier))]
        heights, widths = river_width.pixel_sizes(geobox)
        found = ship.static_targets(
            [date for date in dates if date], (wet >= parameters.water_rules.threshold).values,
            pixel_size=(float(np.median(heights)), float(np.median(widths))), parameters=parameters.rules,
        )  # fmt: skip
        static = found if static is None else static | found
    return static


def _power(decibels: xr.DataArray) -> dict[str, npt.NDArray[np.float32]]:
    """Backscatter in linear units by polarization, those with data (polarization, y, x)."""
    return {
        str(name): np.power(10.0, decibels.sel(polarization=name).transpose("y", "x").values / 10).astype(np.float32)
        for name in decibels["polarization"].values
        if str(name) in radar_water.POLARIZATIONS and bool(decibels.sel(polarization=name).notnull().any())
    }


def _sizes(geobox: Any, ships: ship.Ships) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Height and width of the pixel of every ship [m]."""
    heights, widths = river_width.pixel_sizes(geobox)
    rows = np.clip(np.rint(ships.row).astype(int), 0, len(heights) - 1)
    return heights[rows], widths[rows]


def facts(maps: list[ship.ShipMap]) -> dict[str, Any]:
    """Figures of a scene searched in one or several parts.

    Parameters
    ----------
    maps : list of ShipMap
        The parts.

    Returns
    -------
    dict
        Ships, area searched [km2], false alarms expected, what was rejected and left out.
    """
    moored = sum(int((part.ships.setting == ship.MOORED).sum()) for part in maps)
    objects = sum(len(part.ships.row) for part in maps)
    return {
        "objects": objects,
        "ships": sum(int(part.ships.ships.sum()) for part in maps),
        "free": objects - moored,
        "moored": moored,
        "searched_area_km2": round(sum(part.searched_area for part in maps), 4),
        "expected_false_alarms": round(sum(part.expected_false_alarms for part in maps), 4),
        "looks": round(float(np.median([part.looks for part in maps])), 2),
        "texture_shape": round(float(np.median([part.texture for part in maps])), 2),
        "threshold_db": round(float(10 * np.log10(np.median([part.factor for part in maps]))), 2),
        "resolution_m": round(float(np.median([part.resolution for part in maps])), 2),
        "rejected": {name: sum(part.rejected[name] for part in maps) for name in ship.REASONS},
        "unsearched_pixels": {name: sum(part.unsearched[name] for part in maps) for name in maps[0].unsearched},
    }


def positions(ships: ship.Ships, transform: Any, crs: str) -> tuple[npt.NDArray[np.float64], ...]:
    """Map coordinates, latitude and longitude of ships.

    Parameters
    ----------
    ships : Ships
        Ships.
    transform : affine.Affine
        Pixel to map.
    crs : str
        Reference system.

    Returns
    -------
    tuple of numpy.ndarray
        x, y [CRS unit], latitude and longitude (ship) [degree].
    """
    column, row = ships.column + 0.5, ships.row + 0.5
    x = transform.a * column + transform.b * row + transform.c
    y = transform.d * column + transform.e * row + transform.f
    longitude, latitude = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    return x, y, np.asarray(latitude, dtype=np.float64), np.asarray(longitude, dtype=np.float64)


def projected(
    longitude: npt.NDArray[np.float64], latitude: npt.NDArray[np.float64], crs: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Map coordinates of places.

    Parameters
    ----------
    longitude, latitude : numpy.ndarray
        Places [degree].
    crs : str
        Reference system of the map.

    Returns
    -------
    tuple of numpy.ndarray
        x and y [CRS unit].
    """
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def tables(
    ships: ship.Ships,
    transform: Any,
    crs: str,
    *,
    pixel_size: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    joined: ais_match.Joined | None = None,
    reported: ais_match.Reported | None = None,
) -> tuple[feature_table.FeatureTable, ...]:
    """Ships as points and as boxes, and the ships reported.

    Parameters
    ----------
    ships : Ships
        Ships.
    transform : affine.Affine
        Pixel to map.
    crs : str
        Reference system of the map.
    pixel_size : tuple of numpy.ndarray
        Height and width of the pixel of every ship [m].
    joined : Joined, optional
        Pairs with ships reported.
    reported : Reported, optional
        Ships reported.

    Returns
    -------
    tuple of FeatureTable
        ``ships``, ``ship_boxes`` and, with reports, ``ais``.
    """
    x, y, latitude, longitude = positions(ships, transform, crs)
    count = len(ships.row)
    status, identity = np.full(count, "unknown", dtype=object), np.zeros(count, dtype=np.int64)
    apart = np.full(count, np.nan)
    if joined is not None and reported is not None:
        status = np.array(["dark" if other < 0 else "matched" for other in joined.reported], dtype=object)
        own = joined.reported >= 0
        identity[own] = reported.mmsi[joined.reported[own]]
        apart = joined.distance
    columns = {
        "ship": np.arange(1, count + 1), "lat": latitude, "lon": longitude, "length_m": ships.length,
        "length_sigma_m": ships.length_sigma, "width_m": ships.width, "heading": ships.heading,
        "snr_db": ships.contrast_db, "confidence": ships.confidence,
        "setting": np.array([ship.SETTINGS[number] for number in ships.setting], dtype=object),
        "ships": ships.ships, "ais": status, "mmsi": identity, "ais_distance_m": apart,
    }  # fmt: skip
    points, boxes = list(shapely.points(x, y)), _boxes(ships, transform, pixel_size)
    named = ((points, "ships", "Ships", "船只"), (boxes, "ship_boxes", "Boxes of ships", "船只外框"))
    made = tuple(
        feature_table.FeatureTable(
            name=name, title_en=english, title_zh=chinese, fields=_FIELDS, geometry=shapes, columns=columns, crs=crs
        )
        for shapes, name, english, chinese in named
    )
    if joined is None or reported is None:
        return made
    return (*made, _reported(reported, joined))


def _reported(reported: ais_match.Reported, joined: ais_match.Joined) -> feature_table.FeatureTable:
    return feature_table.FeatureTable(
        name="ais", title_en="Ships reported", title_zh="AIS船位", fields=_AIS_FIELDS,
        geometry=list(shapely.points(reported.longitude, reported.latitude)),
        columns={
            "mmsi": reported.mmsi, "lat": reported.latitude, "lon": reported.longitude, "sigma_m": reported.sigma,
            "length_m": reported.length,
            "status": np.array([ais_match.STATUSES[number] for number in joined.status], dtype=object),
        },
        crs="EPSG:4326",
    )  # fmt: skip


def _boxes(
    ships: ship.Ships, transform: Any, pixel_size: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
) -> list[Any]:
    turned = np.radians(ships.heading)
    along = np.stack([-np.cos(turned), np.sin(turned)], axis=1) * (ships.length / 2)[:, None]
    across = np.stack([np.sin(turned), np.cos(turned)], axis=1) * (ships.width / 2)[:, None]
    corners = np.stack([along + across, along - across, -along - across, -along + across], axis=1)
    row = ships.row[:, None] + corners[..., 0] / pixel_size[0][:, None] + 0.5
    column = ships.column[:, None] + corners[..., 1] / pixel_size[1][:, None] + 0.5
    x = transform.a * column + transform.b * row + transform.c
    y = transform.d * column + transform.e * row + transform.f
    return [shapely.Polygon(ring) for ring in np.stack([x, y], axis=2)]


DEFINITION = definition.ProductDefinition(
    code="ship-detection",
    sector="transport",
    title_en="Ships on inland water",
    title_zh="内河船只检测",
    description_en=(
        "Ships on water on the latest radar date, with length, heading (bow and stern alike) and confidence. Water "
        "within two pixels of the banks, near bridges, in layover or narrower than three pixels is not searched. Ships "
        "shorter than about 25 m may be missed; moored rows are marked, their ships counted only as far as told apart."
    ),
    description_zh=(
        "最近雷达日期的水面船只,给出船长、艏向（180度模糊）与置信度。距岸两像元内、桥梁附近、叠掩区及窄于三个像元的水面未搜索。"
        "约25米以下船只可能漏检;靠泊船列单独标记,仅统计可分辨的船数。"
    ),
    kind="class",
    layers=(definition.ProductLayer(name=LAYER, title_en="Ships", title_zh="船只"),),
    classes=(
        definition.ProductClass(value=0, name_en="not searched", name_zh="未搜索", colour="#e8e2d0"),
        definition.ProductClass(value=1, name_en="searched water", name_zh="已搜索水面", colour="#2b7bba"),
        definition.ProductClass(value=2, name_en="ship", name_zh="船只", colour="#d7301f"),
    ),
    required_bands=(),
    required_layers=("backscatter",),
    minimum_dates=1,
    latency_target=timedelta(hours=24),
    validity="candidate",
    algorithm=ship_detection_layers,
    parameters=ShipDetectionParameters(),
)
