"""Product for emergency management: fires of a list, each with the district it lies in."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import xarray as xr

from processors.imagery import fire_list
from products import feature_table
from products.sectors import definition, statistics

CRS = "EPSG:4326"


_field = feature_table.field

FIELDS = (
    _field("lat", "Latitude", "纬度", "real", "degree"),
    _field("lon", "Longitude", "经度", "real", "degree"),
    _field("time", "Time of observation", "观测时间", "time"),
    _field("t4", "Brightness temperature near 4 um", "4微米亮温", "real", "K"),
    _field("t11", "Brightness temperature near 11 um", "11微米亮温", "real", "K"),
    _field("frp_mw", "Radiative power", "火辐射功率", "real", "MW"),
    _field("confidence", "Confidence: 0 not stated, 1 low, 2 nominal, 3 high", "置信度(0无1低2中3高)", "integer"),
    _field("satellite", "Satellite", "卫星", "text"),
    _field("sensor", "Sensor", "传感器", "text"),
    _field("static_flag", "Called a static source by the list", "固定热源标记", "flag"),
    _field("district_code", "Division code", "行政区划代码", "text"),
    _field("district_en", "District", "区县(英文)", "text"),
    _field("district_zh", "District in Chinese", "区县", "text"),
)
"""Attributes of a fire."""


def district(fires: fire_list.FireList, zones: Sequence[statistics.Zone]) -> npt.NDArray[np.int64]:
    """District every fire lies in.

    Parameters
    ----------
    fires : FireList
        Fires.
    zones : sequence of Zone
        Districts; of two that overlap the first counts.

    Returns
    -------
    numpy.ndarray
        Position of the district, -1 where a fire lies in none; one a fire [1].
    """
    owner = np.full(len(fires.longitude), -1, dtype=np.int64)
    for number, zone in reversed(list(enumerate(zones))):
        x, y = _carried(fires, zone.crs)
        outline = shapely.make_valid(zone.geometry)
        shapely.prepare(outline)
        owner[shapely.intersects_xy(outline, x, y)] = number
    return owner


def _carried(fires: fire_list.FireList, crs: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fires in the system of an outline; CGCS2000 and WGS 84 agree within decimetres."""
    target = pyproj.CRS.from_user_input(crs)
    if target.is_geographic:
        return fires.longitude, fires.latitude
    x, y = pyproj.Transformer.from_crs(CRS, target, always_xy=True).transform(fires.longitude, fires.latitude)
    return np.asarray(x), np.asarray(y)


def table(
    fires: fire_list.FireList, *, zones: Sequence[statistics.Zone], owner: npt.NDArray[np.int64]
) -> feature_table.FeatureTable:
    """Fires as points.

    Parameters
    ----------
    fires : FireList
        Fires.
    zones : sequence of Zone
        Districts.
    owner : numpy.ndarray
        Position of the district of every fire, -1 for none [1].

    Returns
    -------
    FeatureTable
        One point a fire in WGS 84.
    """
    named = {
        "district_code": [zone.code for zone in zones],
        "district_en": [zone.name_en for zone in zones],
        "district_zh": [zone.name_zh for zone in zones],
    }
    columns = {
        name: np.array([values[k] if k >= 0 else None for k in owner], dtype=object) for name, values in named.items()
    }
    return feature_table.FeatureTable(
        name="fire_list",
        title_en="Fires of a list",
        title_zh="火点清单",
        fields=FIELDS,
        geometry=list(shapely.points(fires.longitude, fires.latitude)),
        columns={
            "lat": fires.latitude,
            "lon": fires.longitude,
            "time": fires.time.astype("datetime64[ms]"),
            "t4": fires.t4,
            "t11": fires.t11,
            "frp_mw": fires.power,
            "confidence": fires.confidence,
            "satellite": fires.satellite.astype(object),
            "sensor": fires.sensor.astype(object),
            "static_flag": fires.static,
            **columns,
        },
        crs=CRS,
        geometry_type="Point",
    )


def counted(
    fires: fire_list.FireList, *, zones: Sequence[statistics.Zone], owner: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Fires and power of every district that has any.

    Parameters
    ----------
    fires : FireList
        Fires.
    zones : sequence of Zone
        Districts.
    owner : numpy.ndarray
        Position of the district of every fire, -1 for none [1].

    Returns
    -------
    list of dict
        Code, names, number of fires [1] and summed power [MW], in the order of the districts.
    """
    found = []
    for number in np.unique(owner[owner >= 0]).tolist():
        zone, own = zones[number], owner == number
        found.append(
            {
                "code": zone.code,
                "name_en": zone.name_en,
                "name_zh": zone.name_zh,
                "fires": int(own.sum()),
                "frp_mw": round(float(np.nansum(fires.power[own])), 3),
            }
        )
    return found


def fire_list_layers(fused: xr.Dataset, *, parameters: None) -> definition.SectorLayers:
    """Refuse: fires of a list come from a list, not from a scene.

    Parameters
    ----------
    fused : xr.Dataset
        Any fused dataset.
    parameters : None
        There are none.

    Returns
    -------
    SectorLayers
        Never.

    Raises
    ------
    NotApplicableError
        Always (cause ``layer_missing``).
    """
    raise definition.NotApplicableError("layer_missing", "fire-list is made from a list of fires, not from a scene")


DEFINITION = definition.ProductDefinition(
    code="fire-list",
    sector="emergency",
    title_en="Fires of a list",
    title_zh="火点清单",
    description_en=(
        "Fires that another system detected and lists (FIRMS), each with the district it lies in. Detections as they "
        "were listed: neither checked against a scene nor cleared of works and flares that the list does not mark."
    ),
    description_zh="其他系统发布的火点清单(FIRMS),附所在区县。按清单原样收录,未与影像核对,清单未标注的工业热源未剔除。",
    kind="objects",
    layers=(),
    required_bands=(),
    minimum_dates=0,
    latency_target=timedelta(minutes=30),
    validity="rapid",
    algorithm=fire_list_layers,
    parameters=None,
)
