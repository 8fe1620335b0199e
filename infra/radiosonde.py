"""Radiosonde ascents from TEMP messages in BUFR (WMO templates 309007, 309052, 309057 and their like)."""

import datetime
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from infra import eccodes_library
from processors import constants, timescales
from processors.arrays import FloatArray
from processors.geodesy import gravity
from processors.quality import BadInputError
from processors.simulation import climates

eccodes = eccodes_library.load()

FEWEST_LEVELS = 12
LEAST_STEP = 1.0
MISSING = -1e99
DRYNESS = 1.0 - climates.EPSILON
GEOPOTENTIAL = ("nonCoordinateGeopotentialHeight", 1.0), ("nonCoordinateGeopotential", 1.0 / constants.STANDARD_GRAVITY)


class SoundingFile(NamedTuple):
    """What a file of TEMP messages holds.

    Attributes
    ----------
    soundings : list[climates.Sounding]
        Usable ascents in the order of the file.
    rejected : list[str]
        One sentence for each ascent that is not usable.
    """

    soundings: list[climates.Sounding]
    rejected: list[str]


class _Levels(NamedTuple):
    """Levels as reported: pressure [Pa], geopotential height [m], temperature and dewpoint [K], NaN where missing."""

    pressure: FloatArray
    height: FloatArray
    temperature: FloatArray
    dewpoint: FloatArray


def read(body: bytes, *, name: str) -> SoundingFile:
    """Read the ascents of a BUFR file.

    Parameters
    ----------
    body : bytes
        The file.
    name : str
        What to call it in an error.

    Returns
    -------
    SoundingFile
        Usable ascents, and why others are not.

    Raises
    ------
    BadInputError
        `empty`, `not_bufr`, or `no_sounding` where not one ascent is usable.
    """
    if not body:
        raise BadInputError("empty", f"{name} is empty")
    if b"BUFR" not in body[:4096]:
        raise BadInputError("not_bufr", f"{name} holds no BUFR message: it begins with {body[:8]!r}")
    found = SoundingFile([], [])
    try:
        for number, message in enumerate(_subsets(body), start=1):
            try:
                found.soundings.append(_sounding(message))
            except BadInputError as error:
                found.rejected.append(f"ascent {number}: {error}")
    except eccodes.CodesInternalError as error:
        found.rejected.append(f"the file is damaged: {error}")
    if not found.soundings:
        reason = found.rejected[0] if found.rejected else "no message"
        raise BadInputError("no_sounding", f"{name} holds no usable radiosonde ascent ({reason})")
    return found


def _subsets(body: bytes) -> Iterator[Any]:
    """Each subset of each message, unpacked."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.seek(0)
        while (message := eccodes.codes_bufr_new_from_file(file)) is not None:
            try:
                yield from _unpacked(message)
            finally:
                eccodes.codes_release(message)


def _unpacked(message: Any) -> Iterator[Any]:
    """The subsets of one message as messages of their own."""
    eccodes.codes_set(message, "unpack", 1)
    count = eccodes.codes_get(message, "numberOfSubsets")
    if count == 1:
        yield message
        return
    for number in range(1, count + 1):
        eccodes.codes_set(message, "extractSubset", number)
        eccodes.codes_set(message, "doExtractSubsets", 1)
        single = eccodes.codes_clone(message)
        try:
            eccodes.codes_set(single, "unpack", 1)
            yield single
        finally:
            eccodes.codes_release(single)


def _values(message: Any, key: str) -> FloatArray:
    """All values of an element [its unit], empty where it does not occur."""
    try:
        values = np.atleast_1d(np.asarray(eccodes.codes_get_double_array(message, key), dtype=np.float64))
    except eccodes.KeyValueNotFoundError:
        return np.empty(0)
    return np.where(values < MISSING, np.nan, values)


def _sounding(message: Any) -> climates.Sounding:
    """One ascent."""
    levels = _cleaned(_reported(message))
    latitude, longitude = (float(_first(message, key)) for key in ("latitude", "longitude"))
    if not (abs(latitude) <= 90.0 and abs(longitude) <= 360.0):
        raise BadInputError("no_sounding", "the position of the station is missing")
    height = _heights(levels, station=_station_height(message))
    rising = np.append(True, np.diff(np.maximum.accumulate(height)) > LEAST_STEP)
    return climates.Sounding(
        pressure=levels.pressure[rising],
        altitude=_altitude(height[rising], latitude=latitude),
        temperature=levels.temperature[rising],
        dewpoint=levels.dewpoint[rising],
        latitude=latitude,
        longitude=longitude,
        time=_launch(message),
    )


def _first(message: Any, key: str) -> float:
    values = _values(message, key)
    return float(values[0]) if values.size else np.nan


def _station_height(message: Any) -> float:
    """Height of the barometer or of the station [m], NaN where unknown."""
    keys = ("heightOfBarometerAboveMeanSeaLevel", "heightOfStationGroundAboveMeanSeaLevel", "heightOfStation")
    heights = [_first(message, key) for key in keys]
    return next((height for height in heights if np.isfinite(height)), np.nan)


def _launch(message: Any) -> float:
    """Time of launch [s since 1980-01-06, GPS]."""
    fields = [_first(message, key) for key in ("year", "month", "day", "hour", "minute")]
    whole = [int(value) if np.isfinite(value) else 0 for value in fields]
    try:
        moment = datetime.datetime(*whole)  # type: ignore[arg-type]  # noqa: DTZ001  UTC, as numpy wants it
    except ValueError as error:
        raise BadInputError("no_sounding", f"the time of launch is invalid ({error})") from error
    return float(timescales.gps_from_utc(np.datetime64(moment, "ns")))


def _reported(message: Any) -> _Levels:
    """Levels in the order of the message; what follows the last temperature (wind shear levels) belongs to no level."""
    temperature = _values(message, "airTemperature")
    pressure, dewpoint = _values(message, "pressure"), _values(message, "dewpointTemperature")
    height = np.full(temperature.size, np.nan)
    for key, factor in GEOPOTENTIAL:
        values = _values(message, key)[: temperature.size] * factor
        if values.size == temperature.size:
            height = np.where(np.isfinite(height), height, values)
    count = temperature.size
    if count < FEWEST_LEVELS or pressure.size < count or dewpoint.size < count:
        raise BadInputError("no_sounding", f"{count} temperatures, {pressure.size} pressures: no radiosonde ascent")
    return _Levels(pressure[:count], height, temperature, dewpoint[:count])


def _cleaned(levels: _Levels) -> _Levels:
    """Levels with pressure and temperature, upward, each pressure once."""
    known = np.isfinite(levels.pressure) & np.isfinite(levels.temperature)
    known &= (levels.temperature > 150.0) & (levels.temperature < 340.0) & (levels.pressure > 0.0)
    _, once = np.unique(-levels.pressure[known], return_index=True)
    kept = _Levels(*(values[known][once] for values in levels))
    humid = np.isfinite(kept.dewpoint) & (kept.dewpoint <= kept.temperature + 1.0)
    if kept.pressure.size < FEWEST_LEVELS or humid.sum() < 2 or kept.pressure[-1] > 0.6 * kept.pressure[0]:
        raise BadInputError("no_sounding", f"only {kept.pressure.size} usable levels, {humid.sum()} with humidity")
    return kept._replace(dewpoint=np.where(humid, kept.dewpoint, np.nan))


def _heights(levels: _Levels, *, station: float) -> FloatArray:
    """Geopotential height of every level [m]: reported ones, between them by the hypsometric equation."""
    reported = levels.height
    vapour = climates.saturation_pressure(np.where(np.isfinite(levels.dewpoint), levels.dewpoint, 170.0))
    virtual = levels.temperature / (1.0 - DRYNESS * np.minimum(vapour / levels.pressure, 0.1))
    scale = constants.GAS_CONSTANT_DRY_AIR / constants.STANDARD_GRAVITY
    log = np.log(levels.pressure)
    thickness = -scale * 0.5 * (virtual[1:] + virtual[:-1]) * np.diff(log)
    computed = np.append(0.0, np.cumsum(thickness))
    known = np.isfinite(reported)
    if not known.any():
        return computed + (station if np.isfinite(station) else 0.0)
    return np.asarray(computed + np.interp(computed, computed[known], (reported - computed)[known]))


def _altitude(geopotential_height: FloatArray, *, latitude: float) -> FloatArray:
    """Altitude of a geopotential height [m], the inverse of `gravity.geopotential_height`."""
    reach = gravity.effective_radius(latitude)
    reduced = geopotential_height * constants.STANDARD_GRAVITY / gravity.surface(latitude)
    return np.asarray(reach * reduced / (reach - reduced))
