"""Positions that ships report of themselves (AIS), from rows of text; rows that cannot be are counted."""

import csv
import datetime
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.quality import BadInputError

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "mmsi": ("mmsi",),
    "time": ("time", "timestamp", "datetime", "basedatetime", "date_time_utc", "utc"),
    "lat": ("lat", "latitude", "y"),
    "lon": ("lon", "lng", "longitude", "x"),
    "sog": ("sog", "speed"),
    "cog": ("cog", "course"),
    "length": ("length", "length_m"),
}
_NEEDED = ("mmsi", "time", "lat", "lon")
_UNKNOWN_SPEED = 102.3
"""Speed from which it is not known, ITU-R M.1371 [knot]."""
_UNKNOWN_COURSE = 360.0
_KNOT = 1852.0 / 3600.0


class AisPositions(NamedTuple):
    """Reported positions in order of ship and time, one array element each.

    Attributes
    ----------
    mmsi : numpy.ndarray
        Identity of the ship.
    time : numpy.ndarray
        UTC [s since 1970].
    latitude, longitude : numpy.ndarray
        Position [degree].
    speed : numpy.ndarray
        Speed over ground [m/s], NaN where unknown.
    course : numpy.ndarray
        Course over ground, clockwise from north [degree], NaN where unknown.
    length : numpy.ndarray
        Length [m], NaN where unknown.
    rejected : Mapping
        Rows left out by reason.
    """

    mmsi: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    latitude: npt.NDArray[np.float64]
    longitude: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    course: npt.NDArray[np.float64]
    length: npt.NDArray[np.float64]
    rejected: Mapping[str, int]


def parse(lines: Iterable[str]) -> AisPositions:
    """Positions from lines of comma-separated text with a header.

    Parameters
    ----------
    lines : iterable of str
        Columns mmsi, time (ISO 8601, UTC where it states no zone), lat, lon, sog [knot], cog [degree] and length [m]
        in any order.

    Returns
    -------
    AisPositions
        The positions; what was left out is counted by reason.

    Raises
    ------
    BadInputError
        `schema` where a column is missing.
    """
    reader = csv.reader(lines)
    header = [name.strip().lstrip("\ufeff").lower() for name in next(reader, [])]
    at = {
        name: next((header.index(alias) for alias in aliases if alias in header), -1)
        for name, aliases in _ALIASES.items()
    }
    missing = [name for name in _NEEDED if at[name] < 0]
    if missing:
        raise BadInputError("schema", f"the AIS list has no column {', '.join(missing)}")
    rows: list[tuple[float, ...]] = []
    rejected: dict[str, int] = {}
    seen: set[tuple[float, ...]] = set()
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        values, reason = _row(row, at)
        if not reason and values[:4] in seen:
            reason = "twice"
        if reason:
            rejected[reason] = rejected.get(reason, 0) + 1
            continue
        seen.add(values[:4])
        rows.append(values)
    table = np.array(sorted(rows, key=lambda row: row[:4]), dtype=np.float64).reshape(len(rows), 7).T
    time, latitude, longitude, speed, course, length = table[1:]
    return AisPositions(table[0].astype(np.int64), time, latitude, longitude, speed, course, length, rejected)


def _row(row: list[str], at: Mapping[str, int]) -> tuple[tuple[float, ...], str]:
    """Values of a row, and why it is none."""
    if len(row) <= max(at[name] for name in _NEEDED):
        return (), "too_short"
    numbers = {name: _number(row, at[name]) for name in _ALIASES if name != "time"}
    if not 0 < numbers["mmsi"] < 1e9:
        return (), "identity"
    if not (abs(numbers["lat"]) <= 90.0 and abs(numbers["lon"]) <= 180.0):
        return (), "position"
    time = _seconds(row[at["time"]])
    if math.isnan(time):
        return (), "time"
    speed = numbers["sog"] * _KNOT if 0.0 <= numbers["sog"] < _UNKNOWN_SPEED else math.nan
    course = numbers["cog"] if 0.0 <= numbers["cog"] < _UNKNOWN_COURSE else math.nan
    length = numbers["length"] if numbers["length"] > 0 else math.nan
    return (numbers["mmsi"], time, numbers["lat"], numbers["lon"], speed, course, length), ""


def _number(row: list[str], at: int) -> float:
    try:
        return float(row[at]) if 0 <= at < len(row) else math.nan
    except ValueError:
        return math.nan


def _seconds(text: str) -> float:
    try:
        time = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return math.nan
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()
