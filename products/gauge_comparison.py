"""Readings of gauges beside the water that was mapped: agrees, differs, or why the two were not compared."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from odc.geo import geobox as geo_box

from processors.imagery import gauge_readings, grid
from products import feature_table
from retrieval.surface import flood


@dataclass(frozen=True, kw_only=True)
class ComparisonParameters:
    """Which readings are compared.

    Parameters
    ----------
    most_apart : float
        Time between reading and image above which they are not compared [h].
    gauge : GaugeParameters
        When a mapped level is believed.
    """

    most_apart: float = 6.0
    gauge: flood.GaugeParameters = field(default_factory=flood.GaugeParameters)


_field = feature_table.field

FIELDS = (
    _field("station", "Station", "站名", "text"),
    _field("time", "Time of the reading", "读数时间", "time"),
    _field("datum", "Zero of the level", "高程基准", "text"),
    _field("level_m", "Level read", "实测水位", "real", "m"),
    _field("warning_level_m", "Warning level", "警戒水位", "real", "m"),
    _field("above_warning", "At or above the warning level", "达到警戒", "flag"),
    _field("mapped_m", "Level mapped at the water's edge", "影像水位", "real", "m"),
    _field("mapped_sigma_m", "Standard uncertainty", "影像水位标准差", "real", "m"),
    _field("difference_m", "Mapped minus read", "差值", "real", "m"),
    _field("verdict", "Verdict", "结论", "text"),
)
"""Attributes of a reading compared with the map."""


def table(
    readings: gauge_readings.GaugeReadings,
    *,
    water: npt.NDArray[np.bool_],
    elevation: npt.NDArray[np.float32],
    geobox: geo_box.GeoBox,
    elevation_datum: str,
    time: np.datetime64,
    parameters: ComparisonParameters | None = None,
) -> feature_table.FeatureTable:
    """Every reading with the level of the mapped water near it.

    Parameters
    ----------
    readings : GaugeReadings
        Readings.
    water : numpy.ndarray
        Mapped water (y, x).
    elevation : numpy.ndarray
        Heights of the ground (y, x) [m], NaN without data.
    geobox : GeoBox
        Their grid.
    elevation_datum : str
        Zero of the heights, one of `gauge_readings.DATUMS` or another name; only readings of the same are compared.
    time : numpy.datetime64
        Time of the image (UTC).
    parameters : ComparisonParameters, optional
        Which readings are compared.

    Returns
    -------
    FeatureTable
        One point a reading; ``verdict`` is that of `flood.compared_with_gauge`, or ``other datum``, ``other time``,
        ``outside``.
    """
    chosen = parameters or ComparisonParameters()
    carry = pyproj.Transformer.from_crs("EPSG:4326", str(geobox.crs), always_xy=True)
    east, north = carry.transform(readings.longitude, readings.latitude)
    affine = geobox.transform
    row, column = (np.asarray(north) - affine.f) / affine.e, (np.asarray(east) - affine.c) / affine.a
    apart = np.abs((readings.time - time) / np.timedelta64(1, "h"))
    nothing = (float("nan"),) * 3
    found: list[tuple[Any, ...]] = []
    for place in range(len(readings.station)):
        if not (0 <= row[place] < water.shape[0] and 0 <= column[place] < water.shape[1]):
            found.append((*nothing, "outside"))
        elif readings.datum[place] != elevation_datum:
            # Wusong and the zero of 1985 differ by more than a meter: as much as a flood.
            found.append((*nothing, "other datum"))
        elif apart[place] > chosen.most_apart:
            found.append((*nothing, "other time"))
        else:
            found.append(
                flood.compared_with_gauge(
                    water,
                    elevation,
                    reading=float(readings.level[place]),
                    row=float(row[place]) - 0.5,
                    column=float(column[place]) - 0.5,
                    pixel=grid.pixel_size(geobox),
                    parameters=chosen.gauge,
                )
            )
    numbers = np.array([entry[:3] for entry in found], dtype=np.float64).reshape(-1, 3)
    return feature_table.FeatureTable(
        name="gauge_comparison",
        title_en="Gauges and the mapped water",
        title_zh="水位站与影像水体对比",
        fields=FIELDS,
        geometry=list(shapely.points(readings.longitude, readings.latitude)),
        columns={
            "station": readings.station,
            "time": readings.time,
            "datum": readings.datum,
            "level_m": readings.level,
            "warning_level_m": readings.warning_level,
            "above_warning": readings.level >= readings.warning_level,
            "mapped_m": numbers[:, 0],
            "mapped_sigma_m": numbers[:, 1],
            "difference_m": numbers[:, 2],
            "verdict": np.array([entry[3] for entry in found], dtype=object),
        },
        crs="EPSG:4326",
        geometry_type="Point",
    )
