"""All occultation profiles of one UTC day in one file, each with its own levels, nothing interpolated or rounded.

Dimensions are (profile, level). A profile fills the first levels of its row, in its own order, and the rest is fill;
`n_impact_levels` and `n_height_levels` say how many are its own. Heights and impact parameters are coordinates of both
dimensions, since every occultation has its own. What is one number or word for a profile is a variable over `profile`,
and so is whatever the global attributes of the profiles' files do not agree on.

The file is a function of the profiles alone: neither the order in which they are given nor the clock is seen in it.
"""

import datetime as dt
import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import netCDF4
import numpy as np
import xarray as xr

from processors import quality
from processors.arrays import FloatArray
from products import netcdf, profile, schema

PRODUCT = "occultation-day"
ROWS_PER_CHUNK = 64
COMPRESSION_LEVEL = 4
FILL_INTEGER = int(netCDF4.default_fillvals["i4"])
DIMENSIONS = {"impact": "impact_level", "height": "height_level", "sounding": "sounding_sample", "xyz": "xyz"}
"""Dimension of a profile's file -> of the day's."""
COUNTS = {"impact": "n_impact_levels", "height": "n_height_levels", "sounding": "n_sounding_samples"}
TIME = "time"
RENAMED = {"reference_time": TIME}
"""The moment of a profile is what the day is sorted by: it becomes the coordinate readers look for."""
VERTICAL = "altitude"
WORDS_OF_ALL = {
    "occultation_id": "identity of the occultation",
    "transmitter": "transmitter, RINEX 3 name of the GNSS satellite",
    "receiver": "receiver, name of the satellite",
    "mission": "mission of the receiver",
    "time_coverage_start": "begin of the record behind the profile, UTC",
    "time_coverage_end": "end of the record behind the profile, UTC",
    "findings": "what was found and mended in the input",
    "processing_inputs": "inputs of the profile and their SHA-256",
}
"""Attributes of the profiles' files that are variables over `profile` even where all agree."""
SOURCE_WORDS = {
    "source_item": "identity of the profile's item in the catalogue, empty where it was given as a file",
    "source_sha256": "SHA-256 of the profile's file, hexadecimal",
}
SOURCE_REVISION = "source_revision"
UNITS = {
    "first_signal_frequency": "Hz",
    "second_signal_frequency": "Hz",
    "dry_refractivity_coefficient": "K Pa-1",
    "receiver_orbit_residual": "m",
    "transmitter_orbit_residual": "m",
    "background_f107": "1e-22 W m-2 Hz-1",
    "background_f107_average": "1e-22 W m-2 Hz-1",
    "background_ap": "1e-9 T",
}
"""Units of attributes that are numbers; of any other, 1."""
HALF_CIRCLE = 180.0
REMADE = frozenset(
    {"Conventions", "id", "title", "title_zh", "summary", "summary_zh", "history", "source", "comment", "platform"}
    | {"time_coverage_duration", "time_coverage_resolution", "cdm_data_type"}
)
"""Attributes that say of one profile what the day says of all, or what values in the file say."""


class Source(NamedTuple):
    """One profile as it was published.

    Attributes
    ----------
    content : bytes
        The profile's NetCDF file, as `products.netcdf` writes it.
    item : str
        Identity of its item in the catalogue; empty where there is none.
    revision : int
        Revision of the item; 0 where there is none [1].
    """

    content: bytes
    item: str = ""
    revision: int = 0


class _Row(NamedTuple):
    """One profile taken apart, in the form the day holds it."""

    order: tuple[float, str]
    values: dict[str, np.ndarray[Any, Any]]
    counts: dict[str, int]
    attributes: dict[str, Any]
    source: Source
    sha256: str


def identity(day: dt.date, *, stream: str = "final") -> str:
    """Identity of the day's item.

    Parameters
    ----------
    day : datetime.date
        Day of the reference times, UTC.
    stream : str
        nrt or final.

    Returns
    -------
    str
        ``occultation-day-<yyyymmdd>``, with the stream behind it where that is not the final one.
    """
    stem = f"{PRODUCT}-{day:%Y%m%d}"
    return stem if stream == "final" else f"{stem}-{stream}"


def day_of(dataset: xr.Dataset) -> dt.date:
    """Day a profile belongs to.

    Parameters
    ----------
    dataset : xr.Dataset
        A profile, its times as numbers.

    Returns
    -------
    datetime.date
        UTC day of its reference time.
    """
    return _day_at(float(dataset["reference_time"]))


def aggregate(sources: Iterable[Source], *, stream: str = "final") -> xr.Dataset:
    """Put the profiles of one day side by side.

    Parameters
    ----------
    sources : iterable of Source
        The profiles, in any order; the same file twice counts once.
    stream : str
        nrt or final.

    Returns
    -------
    xr.Dataset
        The day, sorted by reference time and identity, its times as numbers.

    Raises
    ------
    processors.quality.BadInputError
        There is no profile, a file is none, they are not of one day, or two of them are of one occultation
        (causes ``empty``, ``no_profile``, ``several_days``, ``duplicate``).
    products.schema.SchemaError
        A profile breaks the table of published variables.
    """
    rows = sorted((_row(source) for source in _distinct(sources)), key=lambda row: row.order)
    _check_one_day(rows)
    _check_identities(rows)
    table = {name: row for name, row in schema.table(profile.PRODUCT).items() if _is_held(name, rows)}
    day = xr.Dataset({RENAMED.get(name, name): _stacked(row, rows) for name, row in table.items()})
    day = day.assign(_counts(rows)).assign(_words(rows)).assign(_provenance(rows))
    places = [name for name in (*profile.COORDINATES, TIME, "occultation_id") if name in day]
    day = day.set_coords(places)
    day.attrs = _titles(rows, stream) | _extent(day) | _common(rows)
    return day


def encode(day: xr.Dataset) -> bytes:
    """Encode a day as NetCDF-4, compressed, in chunks of 64 profiles by all levels.

    Parameters
    ----------
    day : xr.Dataset
        What `aggregate` returned.

    Returns
    -------
    bytes
        The whole file; the same day gives the same bytes.
    """
    encoding = {str(name): _encoding(variable) for name, variable in day.variables.items()}
    # To disk, because the library leaves unset memory in files it makes in memory.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.nc"
        day.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)
        return path.read_bytes()


def decode(path: Path) -> xr.Dataset:
    """Open a day with flags as the integers and times as the numbers they are; lazily.

    Parameters
    ----------
    path : Path
        File that `encode` gave.

    Returns
    -------
    xr.Dataset
        The day, as `profile_at` takes it.
    """
    return xr.open_dataset(path, engine="netcdf4", decode_times=False, mask_and_scale=False)


def profile_at(day: xr.Dataset, index: int) -> xr.Dataset:
    """Take one profile out again: its variables as they are in its own file, without padding.

    Parameters
    ----------
    day : xr.Dataset
        The day, undecoded (`decode`) or as `aggregate` made it.
    index : int
        Number of the profile, from 0 [1].

    Returns
    -------
    xr.Dataset
        The variables, with the attributes of the table; global attributes are not restored.
    """
    lengths = {DIMENSIONS[name]: int(day.variables[count][index]) for name, count in COUNTS.items()}
    back = {held: name for name, held in DIMENSIONS.items()}
    found: dict[str, xr.Variable] = {}
    for name, row in schema.table(profile.PRODUCT).items():
        if (held := RENAMED.get(name, name)) not in day.variables:
            continue
        variable = day.variables[held][index]
        values = variable.to_numpy()[tuple(slice(lengths.get(str(dim))) for dim in variable.dims)]
        if not (row.optional and _is_all_fill(values)):
            found[name] = xr.Variable([back[str(dim)] for dim in variable.dims], values, row.attributes())
    return xr.Dataset(found)


def check(day: xr.Dataset) -> None:
    """Refuse a day of which a profile breaks the table of published variables.

    Parameters
    ----------
    day : xr.Dataset
        The day, undecoded.

    Raises
    ------
    products.schema.SchemaError
        The first breach.
    """
    for name in ("profile", *(DIMENSIONS[name] for name in ("impact", "height"))):
        if name not in day.sizes:
            raise schema.SchemaError(name, "the dimension is absent")
    loaded = day.load()
    for index in range(day.sizes["profile"]):
        schema.check(profile_at(loaded, index), product=profile.PRODUCT)


def further_variables() -> dict[str, str]:
    """Variables a day has beside those of its profiles, with what they are.

    Returns
    -------
    dict[str, str]
        long_name by name, in the order of the file.
    """
    counts = {count: f"number of a profile's own entries along {DIMENSIONS[name]}" for name, count in COUNTS.items()}
    revision = {SOURCE_REVISION: "revision of the profile's item, 0 where it was given as a file"}
    return {**counts, **WORDS_OF_ALL, **SOURCE_WORDS, **revision}


# Reading profiles


def _distinct(sources: Iterable[Source]) -> list[Source]:
    return list({hashlib.sha256(source.content).hexdigest(): source for source in sorted(sources)}.values())


def _row(source: Source) -> _Row:
    try:
        dataset = netcdf.decode(source.content)
        schema.check(dataset, product=profile.PRODUCT)
    except (ValueError, TypeError, IndexError, OSError) as error:
        raise quality.BadInputError("no_profile", f"{source.item or 'a file'} is no profile: {error}") from error
    return _Row(
        order=(float(dataset["reference_time"]), str(dataset.attrs["occultation_id"])),
        values={str(name): variable.to_numpy() for name, variable in dataset.variables.items()},
        counts={name: int(dataset.sizes.get(name, 0)) for name in COUNTS},
        attributes=dict(dataset.attrs),
        source=source._replace(content=b""),
        sha256=hashlib.sha256(source.content).hexdigest(),
    )


def _day_at(seconds: float) -> dt.date:
    moment = profile.TIME_EPOCH + np.timedelta64(int(np.floor(seconds)), "s")
    found: dt.date = moment.astype("datetime64[D]").item()
    return found


def _check_one_day(rows: Sequence[_Row]) -> None:
    if not rows:
        raise quality.BadInputError("empty", "there is no profile to make a day of")
    days = sorted({_day_at(row.order[0]).isoformat() for row in rows})
    if len(days) > 1:
        raise quality.BadInputError("several_days", f"the profiles are of {', '.join(days)}: give those of one UTC day")


def _check_identities(rows: Sequence[_Row]) -> None:
    seen: set[str] = set()
    for row in rows:
        name = row.order[1]
        if name in seen:
            raise quality.BadInputError("duplicate", f"two different files are of occultation {name}: give one of them")
        seen.add(name)


# Variables


def _is_held(name: str, rows: Sequence[_Row]) -> bool:
    return any(name in row.values for row in rows)


def _stacked(row: schema.PublishedVariable, rows: Sequence[_Row]) -> xr.Variable:
    """One variable of all profiles; what a profile lacks is fill."""
    dtype = np.dtype(row.dtype)
    lengths = [max(one.values[row.name].shape[axis] for one in rows if row.name in one.values) for axis in _axes(row)]
    values = np.full((len(rows), *lengths), np.nan if dtype.kind == "f" else _fill(dtype), dtype)
    for index, one in enumerate(rows):
        if row.name in one.values:
            own = one.values[row.name]
            place: list[int | slice] = [index, *(slice(length) for length in own.shape)]
            values[tuple(place)] = own
    return xr.Variable(("profile", *(DIMENSIONS[name] for name in row.dims)), values, _attributes(row))


def _axes(row: schema.PublishedVariable) -> range:
    return range(len(row.dims))


def _fill(dtype: np.dtype[Any]) -> int:
    return max(FILL_INTEGER, int(np.iinfo(dtype).min) + 1)


def _is_all_fill(values: np.ndarray[Any, Any]) -> bool:
    if values.dtype.kind == "f":
        return bool(np.isnan(values).all())
    return bool((values == _fill(values.dtype)).all())


def _attributes(row: schema.PublishedVariable) -> dict[str, Any]:
    """Attributes of the table; one variable alone is the vertical axis, and none makes a dimension a coordinate."""
    attributes = row.attributes()
    if row.name == "height":
        del attributes["axis"]
        attributes["comment"] = "equal to altitude, as in the file of the profile"
    if row.name == VERTICAL:
        attributes["axis"] = "Z"
    return attributes


def _counts(rows: Sequence[_Row]) -> dict[str, xr.Variable]:
    said = further_variables()
    return {
        count: _numbers([row.counts[name] for row in rows], dtype="int32", long_name=said[count])
        for name, count in COUNTS.items()
    }


def _words(rows: Sequence[_Row]) -> dict[str, xr.Variable]:
    """Attributes of the files as variables: those every reader wants, and those in which the profiles differ."""
    known = {name for row in rows for name in row.attributes if not _is_remade(name)}
    differing = sorted(known - set(WORDS_OF_ALL) - set(_agreed(rows)))
    names = WORDS_OF_ALL | {name: f"attribute {name} of the profile's file" for name in differing}
    return {name: _column(name, [row.attributes.get(name) for row in rows], text) for name, text in names.items()}


def _column(name: str, values: Sequence[Any], long_name: str) -> xr.Variable:
    """Attribute of every profile: numbers where all are single numbers, else text; NaN or empty where there is none."""
    present = [value for value in values if value is not None]
    if name not in WORDS_OF_ALL and present and all(isinstance(value, np.number) for value in present):
        numbers = [np.nan if value is None else value for value in values]
        return _numbers(numbers, dtype="float64", long_name=long_name, units=UNITS.get(name, "1"))
    return _texts(["" if value is None else _text(value) for value in values], long_name=long_name)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return ", ".join(repr(one) for one in value.tolist())
    return value if isinstance(value, str) else repr(value.item() if isinstance(value, np.generic) else value)


def _numbers(values: Sequence[Any], *, dtype: str, long_name: str, units: str = "1") -> xr.Variable:
    attributes = {"long_name": long_name, "units": units, "coverage_content_type": "referenceInformation"}
    return xr.Variable(("profile",), np.array(values, dtype), attributes)


def _texts(values: Sequence[str], *, long_name: str) -> xr.Variable:
    attributes = {"long_name": long_name, "coverage_content_type": "referenceInformation"}
    return xr.Variable(("profile",), np.array(values, dtype=object), attributes)


def _provenance(rows: Sequence[_Row]) -> dict[str, xr.Variable]:
    said = further_variables()
    revisions = [row.source.revision for row in rows]
    return {
        "source_item": _texts([row.source.item for row in rows], long_name=said["source_item"]),
        "source_sha256": _texts([row.sha256 for row in rows], long_name=said["source_sha256"]),
        SOURCE_REVISION: _numbers(revisions, dtype="int32", long_name=said[SOURCE_REVISION]),
    }


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """Fill where a value may be absent; chunks and compression where there are levels."""
    encoding: dict[str, Any] = {"_FillValue": None}
    if variable.dtype.kind == "O":
        return {"dtype": str}
    padded = variable.ndim > 1 and variable.dims[1] != "xyz"
    if variable.dtype.kind == "f" and (padded or variable.attrs.get("coverage_content_type") != "coordinate"):
        encoding["_FillValue"] = np.array(np.nan, variable.dtype)
    elif padded:
        encoding["_FillValue"] = np.array(_fill(variable.dtype), variable.dtype)
    if padded and variable.size:
        rows, levels = variable.shape
        encoding |= {"zlib": True, "complevel": COMPRESSION_LEVEL, "shuffle": True}
        encoding["chunksizes"] = (min(ROWS_PER_CHUNK, rows), levels)
    return encoding


# Global attributes


def _is_remade(name: str) -> bool:
    return name in REMADE or name.startswith("geospatial_")


def _agreed(rows: Sequence[_Row]) -> dict[str, Any]:
    """Attributes all files have with one value."""
    first = rows[0].attributes
    return {
        name: value
        for name, value in first.items()
        if not _is_remade(name) and all(_same(value, row.attributes.get(name)) for row in rows[1:])
    }


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(np.array_equal(one, other))


def _common(rows: Sequence[_Row]) -> dict[str, Any]:
    return {name: value for name, value in _agreed(rows).items() if name not in WORDS_OF_ALL}


def _titles(rows: Sequence[_Row], stream: str) -> dict[str, Any]:
    day = _day_at(rows[0].order[0])
    first, last = rows[0], rows[-1]
    begins, ends = (profile.TIME_EPOCH + np.timedelta64(int(row.order[0]), "s") for row in (first, last))
    receivers = sorted({str(row.attributes["receiver"]) for row in rows})
    return {
        "Conventions": profile.CONVENTIONS,
        "id": identity(day, stream=stream),
        "title": f"Radio occultation profiles of {day.isoformat()}",
        "title_zh": f"{day.isoformat()} 无线电掩星廓线",
        "summary": (
            f"{len(rows)} radio occultation profiles whose reference time lies on {day.isoformat()} UTC, each on its"
            " own levels. Values are those of the profiles' files, none interpolated or rounded; a profile with"
            " doubts is among them with its quality_flag, rejected occultations are not."
        ),
        "summary_zh": (
            f"参考时刻在 {day.isoformat()}（UTC）的 {len(rows)} 条无线电掩星廓线，各保留其自身层次，"
            "数值未经插值或舍入；存疑廓线附质量标志一并收录，被拒绝的掩星不收录。"
        ),
        "source": f"radio occultations observed by {', '.join(receivers)}",
        "platform": ", ".join(receivers),
        "history": "put together by terralimb from the files named in source_item, source_revision and source_sha256",
        "comment": (
            "Levels beyond n_impact_levels and n_height_levels of a profile are fill. Frames, signs and conventions:"
            " the attributes, or the variables over profile, whose names begin with convention_."
        ),
        "cdm_data_type": "Profile",
        "stream": stream,
        "time_coverage_start": _iso(begins),
        "time_coverage_end": _iso(ends),
        "time_coverage_duration": f"PT{int((ends - begins) / np.timedelta64(1, 's'))}S",
        "time_coverage_resolution": "PT0S" if len(rows) == 1 else "irregular",
    }


def _extent(day: xr.Dataset) -> dict[str, Any]:
    west, south, east, north = box(day)
    altitude = day[VERTICAL].to_numpy()
    return {
        "geospatial_vertical_min": float(np.nanmin(altitude)),
        "geospatial_vertical_max": float(np.nanmax(altitude)),
        "geospatial_vertical_positive": "up",
        "geospatial_vertical_units": "m",
        "geospatial_vertical_resolution": "levels of each profile",
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_bounds_vertical_crs": "EPSG:5773",
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_units": "degrees_east",
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        # Across the date line the western end is the greater number, as ACDD and GeoJSON have it.
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_bounds": _bounds(day),
    }


def _bounds(day: xr.Dataset) -> str:
    places = zip(day["reference_latitude"].to_numpy(), day["reference_longitude"].to_numpy(), strict=True)
    return f"MULTIPOINT ({', '.join(f'({north:.3f} {east:.3f})' for north, east in places)})"


def box(day: xr.Dataset) -> tuple[float, float, float, float]:
    """Box around all tangent and reference points.

    Parameters
    ----------
    day : xr.Dataset
        The day.

    Returns
    -------
    tuple of 4 float
        West, south, east, north [degree]; west > east where the box crosses the date line, which it does where that
        leaves more than half of the circle out.
    """
    north, east = (_finite(day[f"reference_{name}"], day[name]) for name in ("latitude", "longitude"))
    east = np.unique(east)
    gaps = np.diff(east)
    widest = int(np.argmax(gaps)) if gaps.size else 0
    crossing = gaps.size > 0 and gaps[widest] > HALF_CIRCLE
    west, last = (east[widest + 1], east[widest]) if crossing else (east[0], east[-1])
    return float(west), float(north.min()), float(last), float(north.max())


def _finite(*variables: xr.DataArray) -> FloatArray:
    values = np.concatenate([variable.to_numpy().ravel() for variable in variables])
    finite: FloatArray = values[np.isfinite(values)]
    return finite


def places(day: xr.Dataset) -> dict[str, Any]:
    """Reference points as GeoJSON.

    Parameters
    ----------
    day : xr.Dataset
        The day.

    Returns
    -------
    dict
        MultiPoint, longitude and latitude [degree].
    """
    east, north = (day[f"reference_{name}"].to_numpy().tolist() for name in ("longitude", "latitude"))
    return {"type": "MultiPoint", "coordinates": [list(pair) for pair in zip(east, north, strict=True)]}


def _iso(moment: np.datetime64) -> str:
    return f"{np.datetime_as_string(moment, unit='s')}Z"
