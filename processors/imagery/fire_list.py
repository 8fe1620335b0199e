"""Lists of active fires as FIRMS distributes them: CSV of MODIS or VIIRS detections.

Columns after the FIRMS attribute tables: ``brightness``/``bright_t31`` for MODIS, ``bright_ti4``/``bright_ti5`` for
VIIRS; ``acq_time`` is UTC as HHMM, with or without leading zeros; ``confidence`` is a percentage for MODIS and one of
low, nominal and high for VIIRS; ``type`` of archived lists tells static land sources (2) and volcanoes (1).
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, FloatArray, IntArray
from processors.quality import BadInputError

LOW, NOMINAL, HIGH = 1, 2, 3
REQUIRED = ("latitude", "longitude", "acq_date", "acq_time")
"""Columns without which there is no list."""
NAMED_ROWS = 20
"""Bad rows that are named with their reason; all are counted."""
_CONFIDENCE_LIMITS = (30.0, 80.0)
_WORDS = {"l": LOW, "low": LOW, "n": NOMINAL, "nominal": NOMINAL, "h": HIGH, "high": HIGH}
_SATELLITES = {
    "T": "Terra", "A": "Aqua", "N": "Suomi-NPP", "1": "NOAA-20", "N20": "NOAA-20", "J1": "NOAA-20", "N21": "NOAA-21",
    "J2": "NOAA-21", "2": "NOAA-21",
}  # fmt: skip
_WARMEST = 2000.0
_STATIC_TYPES = ("1", "2")


class FireList(NamedTuple):
    """Fires, one an entry, in the order of the file."""

    longitude: FloatArray
    """Longitude [degree]."""
    latitude: FloatArray
    """Latitude [degree]."""
    time: npt.NDArray[np.datetime64]
    """Time of observation (UTC)."""
    t4: FloatArray
    """Brightness temperature near 4 um [K], NaN where there is none."""
    t11: FloatArray
    """Brightness temperature near 11 um [K], NaN where there is none."""
    power: FloatArray
    """Radiative power [MW], NaN where there is none."""
    confidence: IntArray
    """1 low, 2 nominal, 3 high, 0 where it is not stated [1]."""
    satellite: npt.NDArray[np.str_]
    """Satellite by its full name."""
    sensor: npt.NDArray[np.str_]
    """``modis`` or ``viirs``."""
    static: BoolArray
    """Whether the list itself calls it a static source or a volcano."""


class Reading(NamedTuple):
    """What a file holds and what of it could not be used."""

    fires: FireList
    """Fires."""
    rows: int
    """Rows of the file [1]."""
    bad: Mapping[str, int]
    """Rows left out, by reason [1]."""
    named: tuple[str, ...]
    """The first of them with line number and reason."""
    duplicates: int
    """Rows left out because an equal detection stands before them [1]."""


class _Row(NamedTuple):
    longitude: float
    latitude: float
    time: np.datetime64
    t4: float
    t11: float
    power: float
    confidence: int
    satellite: str
    sensor: str
    static: bool


class _BadRowError(ValueError):
    """A row that cannot be used; the text is the reason."""


def parse(text: str) -> Reading:
    """Fires of a list.

    Parameters
    ----------
    text : str
        Content of the CSV.

    Returns
    -------
    Reading
        Fires, and what was left out and why.

    Raises
    ------
    BadInputError
        `columns_missing` where it is no list of fires; `empty` where there is not even a header.
    """
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    header = [name.strip().lower() for name in next(reader, [])]
    if not any(header):
        raise BadInputError("empty", "the list of fires is empty: not even a header")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise BadInputError("columns_missing", f"no list of fires: it has no column {', '.join(missing)}")
    rows: list[_Row] = []
    bad: dict[str, int] = {}
    named: list[str] = []
    seen: set[tuple[object, ...]] = set()
    total = duplicates = 0
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        total += 1
        try:
            row = _row(fields, header)
        except _BadRowError as error:
            bad[str(error)] = bad.get(str(error), 0) + 1
            if len(named) < NAMED_ROWS:
                named.append(f"line {reader.line_num}: {error}")
            continue
        key = (row.longitude, row.latitude, row.time, row.satellite, row.sensor)
        if key in seen:
            duplicates += 1
            continue
        seen.add(key)
        rows.append(row)
    return Reading(_columns(rows), total, bad, tuple(named), duplicates)


def _row(fields: list[str], header: list[str]) -> _Row:
    if len(fields) != len(header):
        raise _BadRowError("wrong_number_of_fields")
    row = {name: field.strip() for name, field in zip(header, fields, strict=True)}
    latitude, longitude = (_required(row, name) for name in ("latitude", "longitude"))
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        raise _BadRowError("position_outside_the_globe")
    t4 = _optional(row, "brightness", "bright_ti4", reason="temperature_invalid", largest=_WARMEST)
    t11 = _optional(row, "bright_t31", "bright_ti5", reason="temperature_invalid", largest=_WARMEST)
    power = _optional(row, "frp", reason="power_invalid", largest=math.inf)
    satellite = row.get("satellite", "")
    return _Row(
        longitude,
        latitude,
        _time(row["acq_date"], row["acq_time"]),
        t4,
        t11,
        power,
        _confidence(row.get("confidence", "")),
        _SATELLITES.get(satellite, satellite),
        _sensor(row, header),
        row.get("type", "") in _STATIC_TYPES,
    )


def _sensor(row: Mapping[str, str], header: list[str]) -> str:
    stated = row.get("instrument", "").lower()
    return stated or ("viirs" if "bright_ti4" in header else "modis" if "bright_t31" in header else "")


def _required(row: Mapping[str, str], name: str) -> float:
    value = _number(row[name])
    if not math.isfinite(value):
        raise _BadRowError(f"{name}_invalid")
    return value


def _optional(row: Mapping[str, str], *names: str, reason: str, largest: float) -> float:
    """The first of several columns that is filled, NaN where none is; what is stated must be possible."""
    text = next((row[name] for name in names if row.get(name)), "")
    if not text:
        return math.nan
    value = _number(text)
    if not 0.0 <= value < largest:
        raise _BadRowError(reason)
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _time(date: str, clock: str) -> np.datetime64:
    digits = clock.replace(":", "")
    if not re.fullmatch(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}", date):
        raise _BadRowError("date_invalid")
    if not re.fullmatch(r"\d{1,4}", digits):
        raise _BadRowError("time_invalid")
    hour, minute = divmod(int(digits), 100)
    if hour > 23 or minute > 59:
        raise _BadRowError("time_invalid")
    year, month, day = (int(part) for part in re.split(r"[-/]", date))
    try:
        return np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}", "s")
    except ValueError as error:
        raise _BadRowError("date_invalid") from error


def _confidence(text: str) -> int:
    """Three degrees; a percentage as MODIS states it is low below 30 and high from 80 on (Giglio et al. 2003)."""
    if not text:
        return 0
    word = _WORDS.get(text.lower())
    if word is not None:
        return word
    percentage = _number(text)
    if not 0.0 <= percentage <= 100.0:
        raise _BadRowError("confidence_invalid")
    low, high = _CONFIDENCE_LIMITS
    return LOW if percentage < low else HIGH if percentage >= high else NOMINAL


def _columns(rows: list[_Row]) -> FireList:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_Row._fields)
    kinds: tuple[Any, ...] = (float, float, "datetime64[s]", float, float, float, np.int64, np.str_, np.str_, bool)
    arrays: list[Any] = [np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]
    return FireList(*arrays)


def selected(fires: FireList, where: BoolArray) -> FireList:
    """Some of the fires.

    Parameters
    ----------
    fires : FireList
        Fires.
    where : BoolArray
        True for those wanted, one a fire.

    Returns
    -------
    FireList
        Those.
    """
    columns: list[Any] = [column[where] for column in fires]
    return FireList(*columns)


def within(fires: FireList, bounds: tuple[float, float, float, float]) -> BoolArray:
    """Fires inside a box, its edges included.

    Parameters
    ----------
    fires : FireList
        Fires.
    bounds : tuple of float
        West, south, east, north; west beyond east crosses the antimeridian [degree].

    Returns
    -------
    BoolArray
        True inside, one a fire.

    Raises
    ------
    BadInputError
        `bounds_invalid` where south is not below north, or an edge is off the globe.
    """
    west, south, east, north = bounds
    if not (-90.0 <= south < north <= 90.0 and -180.0 <= west <= 180.0 and -180.0 <= east <= 180.0):
        raise BadInputError("bounds_invalid", f"the box {west},{south},{east},{north} is not west,south,east,north")
    along = (fires.longitude >= west) & (fires.longitude <= east)
    if west > east:
        along = (fires.longitude >= west) | (fires.longitude <= east)
    inside: BoolArray = along & (fires.latitude >= south) & (fires.latitude <= north)
    return inside
