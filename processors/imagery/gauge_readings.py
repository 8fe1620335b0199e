"""Readings of river gauges: station, place, time and water level above a stated zero.

Along the Yangtze two zeros are in use, Wusong and the national height datum of 1985, which differ by more than a
meter; a level without its datum is refused.
"""

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.quality import BadInputError

DATUMS = ("wusong", "national_1985", "yellow_sea_1956", "local")
"""Zeros a level may count from."""
REQUIRED = ("station", "latitude", "longitude", "time", "level_m", "datum")
_NAMED = 5


class GaugeReadings(NamedTuple):
    """Readings in the order of the file."""

    station: npt.NDArray[Any]
    """Name of the station (reading)."""
    latitude: npt.NDArray[np.float64]
    """Latitude (reading) [degree]."""
    longitude: npt.NDArray[np.float64]
    """Longitude (reading) [degree]."""
    time: npt.NDArray[np.datetime64]
    """Time (UTC) (reading)."""
    level: npt.NDArray[np.float64]
    """Water level above the zero of `datum` (reading) [m]."""
    datum: npt.NDArray[Any]
    """One of `DATUMS` (reading)."""
    warning_level: npt.NDArray[np.float64]
    """Level from which the station warns (reading) [m], NaN where not stated."""
    bad: Mapping[str, int]
    """Rows left out, by reason."""
    named: tuple[str, ...]
    """The first of them in words."""


def parse(text: str, *, name: str) -> GaugeReadings:
    """Readings from a table.

    Parameters
    ----------
    text : str
        CSV with the columns of `REQUIRED` and, where known, `warning_level_m`; times in ISO 8601 with their offset.
    name : str
        Name of the file, for messages.

    Returns
    -------
    GaugeReadings
        The readings that can be used; others are counted by reason.

    Raises
    ------
    BadInputError
        `schema` where a column is missing, `no_data` where no row can be used.
    """
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    lost = [column for column in REQUIRED if column not in (rows.fieldnames or ())]
    if lost:
        raise BadInputError("schema", f"{name} lacks the columns {', '.join(lost)}")
    kept: list[tuple[Any, ...]] = []
    bad: Counter[str] = Counter()
    named: list[str] = []
    for number, row in enumerate(rows, 2):
        try:
            kept.append(_reading(row))
        except BadInputError as error:
            bad[error.cause] += 1
            named.append(f"line {number}: {error}")
    if not kept:
        raise BadInputError("no_data", f"{name} holds no usable reading: {'; '.join(named[:3]) or 'it has no rows'}")
    station, latitude, longitude, time, level, datum, warning = zip(*kept, strict=True)
    return GaugeReadings(
        np.array(station, dtype=object),
        np.array(latitude),
        np.array(longitude),
        np.array(time, dtype="datetime64[s]"),
        np.array(level),
        np.array(datum, dtype=object),
        np.array(warning),
        dict(bad),
        tuple(named[:_NAMED]),
    )


def together(parts: Sequence[GaugeReadings]) -> GaugeReadings:
    """Readings of several tables as one.

    Parameters
    ----------
    parts : sequence of GaugeReadings
        At least one.

    Returns
    -------
    GaugeReadings
        All of them in the order given, rows left out added up.
    """
    bad: Counter[str] = Counter()
    for part in parts:
        bad.update(part.bad)
    return GaugeReadings(
        station=np.concatenate([part.station for part in parts]),
        latitude=np.concatenate([part.latitude for part in parts]),
        longitude=np.concatenate([part.longitude for part in parts]),
        time=np.concatenate([part.time for part in parts]),
        level=np.concatenate([part.level for part in parts]),
        datum=np.concatenate([part.datum for part in parts]),
        warning_level=np.concatenate([part.warning_level for part in parts]),
        bad=dict(bad),
        named=tuple(words for part in parts for words in part.named)[:_NAMED],
    )


def _reading(row: Mapping[str, str]) -> tuple[Any, ...]:
    latitude, longitude = _number(row, "latitude", 90.0), _number(row, "longitude", 180.0)
    level = _number(row, "level_m", 9000.0)
    datum = (row["datum"] or "").strip().lower()
    if datum not in DATUMS:
        raise BadInputError("datum_unknown", f"the datum {datum or 'is missing'}; known: {', '.join(DATUMS)}")
    station = (row["station"] or "").strip()
    if not station:
        raise BadInputError("station_missing", "the station has no name")
    warning = row.get("warning_level_m") or ""
    limit = _number(row, "warning_level_m", 9000.0) if warning.strip() else float("nan")
    return station, latitude, longitude, _time(row["time"]), level, datum, limit


def _number(row: Mapping[str, str], name: str, largest: float) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = float("nan")
    if not abs(value) <= largest:
        raise BadInputError("value_implausible", f"{name} is {row[name]!r}")
    return value


def _time(text: str) -> np.datetime64:
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadInputError("time_invalid", f"the time {text!r} is no ISO 8601 with an offset, as +08:00")
    return np.datetime64(moment.astimezone(dt.UTC).replace(tzinfo=None), "s")
