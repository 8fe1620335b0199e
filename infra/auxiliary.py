"""Auxiliary data: what kinds there are, how each is checked on arrival, for when it holds, and when it is too old.

A file is accepted only when it can be read as what it claims to be; its validity comes from its content, never from its
name or from the time it arrived.
"""

import contextlib
import csv
import datetime as dt
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra import granule_format, ledger
from processors import quality, timescales
from processors.orbit import sp3

NTP_EPOCH = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)
MJD_EPOCH = dt.datetime(1858, 11, 17, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Validity:
    """Interval in which a file holds, ISO 8601 UTC; None is open."""

    start: str | None
    end: str | None


@dataclass(frozen=True)
class Kind:
    """One kind of auxiliary data; `max_age` is how far its newest content may lie behind before the alarm."""

    name: str
    read: Callable[[bytes, str], Validity]
    max_age: dt.timedelta | None


def read_gnss_orbits(body: bytes, name: str) -> Validity:
    """Validity of an SP3 file of GNSS orbits and clocks: its first to its last epoch."""
    try:
        orbits = sp3.parse(_text(body, name))
    except quality.BadInputError as error:
        raise quality.BadInputError(
            error.cause, f"{name}: {error}" if name not in str(error) else str(error)
        ) from error
    first, last = timescales.utc_from_gps(orbits.time[[0, -1]])
    return Validity(_iso(first), _iso(last))


def read_leap_seconds(body: bytes, name: str) -> Validity:
    """Validity of an IERS/IETF leap-seconds.list: from its update (`#$`) to its expiry (`#@`)."""
    marks = {line[:2]: line[2:].strip() for line in _text(body, name).splitlines() if line[:2] in {"#$", "#@"}}
    if set(marks) != {"#$", "#@"}:
        raise quality.BadInputError("schema", f"{name} is no leap-seconds.list: the lines #$ and #@ are not both there")
    start, end = (NTP_EPOCH + dt.timedelta(seconds=int(marks[mark])) for mark in ("#$", "#@"))
    return Validity(start.isoformat(), end.isoformat())


def read_earth_orientation(body: bytes, name: str) -> Validity:
    """Validity of an IERS finals2000A file: the days whose pole coordinates are given (columns 8-15 MJD, 19-27 x)."""
    lines = [line for line in _text(body, name).splitlines() if line[18:27].strip()]
    days = [_number(line[7:15], name) for line in lines]
    if not days:
        raise quality.BadInputError("schema", f"{name} holds no day with pole coordinates in the finals2000A layout")
    first, last = (MJD_EPOCH + dt.timedelta(days=day) for day in (min(days), max(days)))
    return Validity(first.isoformat(), last.isoformat())


def read_space_weather(body: bytes, name: str) -> Validity:
    """Validity of a table of indices (CelesTrak's CSV): the days that carry both F10.7 and Ap."""
    rows = csv.DictReader(io.StringIO(_text(body, name)))
    wanted = {"DATE", "F10.7_OBS", "AP_AVG"}
    if not wanted <= set(rows.fieldnames or ()):
        raise quality.BadInputError("schema", f"{name} lacks the columns {', '.join(sorted(wanted))}")
    days = sorted(row["DATE"] for row in rows if row["F10.7_OBS"] and row["AP_AVG"])
    if not days:
        raise quality.BadInputError("schema", f"{name} holds no day with both F10.7 and Ap")
    return Validity(f"{days[0]}T00:00:00+00:00", f"{days[-1]}T23:59:59+00:00")


def read_nwp_analysis(body: bytes, name: str) -> Validity:
    """Validity of an analysis in CF NetCDF: the times it gives the temperature for."""
    dataset = granule_format.decode(body, name=name)
    if not any(array.attrs.get("standard_name") == "air_temperature" for array in dataset.values()):
        raise quality.BadInputError("schema", f"{name} has no variable with the standard name air_temperature")
    if "time" not in dataset.coords:
        raise quality.BadInputError("schema", f"{name} has no time coordinate")
    times = np.atleast_1d(dataset["time"].values)
    return Validity(_iso(times.min()), _iso(times.max()))


def read_raster(body: bytes, name: str) -> Validity:
    """Check a raster (elevation, geoid, reference water): readable, with a CRS; it holds until replaced."""
    import rasterio

    if not body:
        raise quality.BadInputError("empty", f"{name} is empty")
    try:
        with rasterio.MemoryFile(body) as memory, memory.open() as raster:
            crs, count = raster.crs, raster.count
            raster.read(1, window=((0, 1), (0, 1)))
    except rasterio.RasterioIOError as error:
        raise quality.BadInputError("unreadable", f"{name} cannot be read as a raster: {error}") from error
    if crs is None or not count:
        raise quality.BadInputError("crs_missing", f"{name} has no coordinate reference system")
    return Validity(None, None)


def read_districts(body: bytes, name: str) -> Validity:
    """Check district polygons: outlines with a code each, none twice; they hold until replaced."""
    from infra.surface import operator_layers

    with _as_file(body, name) as path:
        operator_layers.districts(path)
    return Validity(None, None)


def read_assets(body: bytes, name: str) -> Validity:
    """Check assets or segments: objects with a place, no identity twice; they hold until replaced."""
    from infra.surface import operator_layers

    with _as_file(body, name) as path:
        operator_layers.assets(path)
    return Validity(None, None)


def read_terrain(body: bytes, name: str) -> Validity:
    """Check static terrain layers: a raster with a band named elevation, slope or hand; it holds until replaced."""
    from infra.imagery import raster_file
    from infra.surface import terrain_layers

    checked = read_raster(body, name)
    with _as_file(body, name) as path, raster_file.open_raster(path) as raster:
        if not set(raster.descriptions) & set(terrain_layers.NAMES):
            raise quality.BadInputError("schema", f"{name} has no band named {', '.join(terrain_layers.NAMES)}")
    return checked


def read_reference_water(body: bytes, name: str) -> Validity:
    """Check usual water: a raster that says of which month it is; it holds until replaced."""
    from infra.imagery import raster_file
    from infra.surface import operator_layers

    checked = read_raster(body, name)
    with _as_file(body, name) as path, raster_file.open_raster(path) as raster:
        operator_layers.reference_band(raster, month=1)
    return checked


def read_gauge_readings(body: bytes, name: str) -> Validity:
    """Validity of gauge readings: from the first to the last of them."""
    from processors.imagery import gauge_readings

    found = gauge_readings.parse(_text(body, name), name=name)
    return Validity(_iso(found.time.min()), _iso(found.time.max()))


def read_fire_list(body: bytes, name: str) -> Validity:
    """Validity of a list of fires of FIRMS: from its first to its last fire."""
    from processors.imagery import fire_list

    try:
        reading = fire_list.parse(_text(body, name).removeprefix("\ufeff"))
    except quality.BadInputError as error:
        raise quality.BadInputError(error.cause, f"{name}: {error}") from error
    if not reading.fires.time.size:
        raise quality.BadInputError("no_data", f"{name} holds no fire with a place and a time")
    return Validity(_iso(reading.fires.time.min()), _iso(reading.fires.time.max()))


@contextlib.contextmanager
def _as_file(body: bytes, name: str) -> Iterator[Path]:
    if not body:
        raise quality.BadInputError("empty", f"{name} is empty")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(body)
        yield path


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("gnss-orbits", read_gnss_orbits, dt.timedelta(days=2)),
        Kind("earth-orientation", read_earth_orientation, dt.timedelta(days=30)),
        Kind("leap-seconds", read_leap_seconds, dt.timedelta(0)),
        Kind("space-weather", read_space_weather, dt.timedelta(days=3)),
        Kind("nwp-analysis", read_nwp_analysis, dt.timedelta(hours=12)),
        Kind("dem", read_raster, None),
        Kind("geoid", read_raster, None),
        Kind("reference-water", read_reference_water, None),
        Kind("terrain", read_terrain, None),
        Kind("districts", read_districts, None),
        Kind("assets", read_assets, None),
        Kind("segments", read_assets, None),
        Kind("gauge-readings", read_gauge_readings, dt.timedelta(days=1)),
        Kind("fire-list", read_fire_list, dt.timedelta(days=1)),
    )
}


def holding(granules: Iterable[ledger.Granule], *, kind: str, time: str) -> list[ledger.Granule]:
    """Granules of auxiliary data of `kind` that hold at `time` (ISO 8601), latest start first."""
    fitting = [
        granule
        for granule in granules
        if granule.attributes["kind"] == kind
        and (granule.attributes["start"] or "") <= time <= (granule.attributes["end"] or "9999")
    ]
    return sorted(fitting, key=lambda granule: (granule.attributes["start"] or "", granule.sha256), reverse=True)


def stale(granules: Iterable[ledger.Granule], *, now: dt.datetime) -> list[str]:
    """One sentence for every kind of data this installation holds whose newest content is too old."""
    newest: dict[str, str] = {}
    for granule in granules:
        end = granule.attributes["end"]
        if end is not None:
            kind = granule.attributes["kind"]
            newest[kind] = max(end, newest.get(kind, ""))
    sentences = []
    for kind, end in sorted(newest.items()):
        limit = KINDS[kind].max_age
        if limit is not None and now - dt.datetime.fromisoformat(end) > limit:
            sentences.append(f"{kind}: newest content ends {end}, more than {limit} ago; land a newer file")
    return sentences


def _text(body: bytes, name: str) -> str:
    if not body:
        raise quality.BadInputError("empty", f"{name} is empty")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise quality.BadInputError("unreadable", f"{name} is not a text file") from error


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise quality.BadInputError("schema", f"{name} has {text!r} where a day number stands") from None


def _iso(instant: Any) -> str:
    return f"{np.datetime_as_string(np.datetime64(instant, 'ms'), unit='s')}+00:00"
