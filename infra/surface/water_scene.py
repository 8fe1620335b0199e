"""What a water map is made of, from files: radar, reflectance, terrain, usual water on one grid, window by window."""

import contextlib
import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from infra.imagery import raster_file
from infra.surface import alignment, terrain_layers
from processors.imagery import cloud_mask
from processors.quality import BadInputError
from retrieval.surface import radar_water

Float32Array = npt.NDArray[np.float32]
Unit = Literal["db", "linear"]
Bounds = tuple[float, float, float, float]

ENCODING = raster_file.Encoding("float32", (1.0, 1.0), (0.0, 0.0), 255.0)
"""How water is stored: class and probability, 255 no data."""
OPTICAL_BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
HOURS_APART = 24.0
"""Time between radar and reflectance beyond which the two show different water [h]."""
_SAMPLE_EDGE = 256
_SAMPLE_SIDE = 5
_MIXED = 12
_WHOLE = 1024
_THUMBNAIL = 640
_DARKER = 4.0
_PLAUSIBLE = (-60.0, 40.0)
_FLOOR = 1e-6
_DIGITAL_NUMBERS = 3.0
_TIME_TAGS = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME")


class Radar(NamedTuple):
    """A radar raster and how it is read."""

    path: Path
    bands: Mapping[str, int]
    """Band from 1 by polarization."""
    unit: Unit
    looks: float
    """Equivalent number of looks [1]."""


class Optical(NamedTuple):
    """A raster of reflectance and how it is read."""

    path: Path
    bands: Mapping[str, int]
    factor: float
    """Reflectance of one number where floating point holds digital numbers, else 1."""
    mask: Path | None


class Sources(NamedTuple):
    """Everything on the grid of the leading raster."""

    leading: Path
    radar: Radar | None
    optical: Optical | None
    terrain: Path | None
    reference: Path | None
    corner: tuple[int, int]
    """Row and column where the map begins on the leading raster."""
    shape: tuple[int, int]
    """Rows and columns of the map."""


class Block(NamedTuple):
    """Values of a window."""

    power: dict[str, Float32Array] | None
    """Backscatter in linear units by polarization."""
    reflectance: dict[str, Float32Array] | None
    place: radar_water.Surroundings


def radar_of(path: Path, *, bands: Mapping[str, int] | None, unit: str | None, warnings: list[str]) -> Radar:
    """Bands, unit and looks of a radar raster.

    Parameters
    ----------
    path : Path
        The raster.
    bands : Mapping or None
        Band from 1 by polarization; default by the names of the bands, or vv and vh in this order.
    unit : str or None
        ``db`` or ``linear``; default what the tags say, or decibels where values are negative.
    warnings : list of str
        Receives what was assumed.

    Returns
    -------
    Radar
        With looks of 1 until they are counted.

    Raises
    ------
    BadInputError
        `band_missing`, `unit_missing`, `no_data`.
    """
    with raster_file.open_raster(path) as raster:
        warnings.extend(raster.warnings)
        chosen = _polarizations(raster, bands, warnings)
        if unit is not None and unit not in ("db", "linear"):
            raise BadInputError("unit_missing", f"the unit of backscatter is db or linear, not {unit}")
        return Radar(path, chosen, _unit(raster, chosen, unit, warnings), 1.0)


def _polarizations(
    raster: raster_file.RasterFile, bands: Mapping[str, int] | None, warnings: list[str]
) -> dict[str, int]:
    if bands:
        unknown = [name for name in bands if name not in radar_water.POLARIZATIONS]
        if unknown:
            raise BadInputError("band_missing", f"{', '.join(unknown)} is no polarization; known: vv, vh, hh, hv")
        _within(raster, bands)
        return dict(bands)
    named = {name.lower(): number for number, name in enumerate(raster.descriptions, 1)}
    found = {name: named[name] for name in radar_water.POLARIZATIONS if name in named}
    if {"vv", "vh"} & set(found):
        return {name: number for name, number in found.items() if name in ("vv", "vh")}
    if found:
        return found
    if raster.count > 2:
        raise BadInputError("band_missing", f"{raster.name} has {raster.count} bands: state them as vv=1,vh=2")
    assumed = dict(zip(("vv", "vh"), range(1, raster.count + 1), strict=False))
    told = ", ".join(f"{name}={number}" for name, number in assumed.items())
    warnings.append(f"{raster.name} does not name its bands: {told} is assumed")
    return assumed


def _within(raster: raster_file.RasterFile, bands: Mapping[str, int]) -> None:
    beyond = [f"{name}={number}" for name, number in bands.items() if not 1 <= number <= raster.count]
    if beyond:
        raise BadInputError("band_missing", f"{raster.name} has {raster.count} bands, not {', '.join(beyond)}")


def _unit(raster: raster_file.RasterFile, bands: Mapping[str, int], unit: str | None, warnings: list[str]) -> Unit:
    sample = raster.sample(list(bands.values()), size=256)
    known = sample[np.isfinite(sample)]
    if known.size == 0:
        raise BadInputError("no_data", f"{raster.name} holds no backscatter")
    if unit is not None:
        return "db" if unit == "db" else "linear"
    stated = {raster.tags.get(key, "").strip().lower() for key in ("unit", "units", "UNIT", "UNITS")}
    if stated & {"db", "decibel", "decibels"}:
        return "db"
    if stated & {"linear", "power", "1"}:
        return "linear"
    if float(np.median(known)) < 0.0:
        warnings.append(f"{raster.name} states no unit: its values are negative and taken as decibels")
        return "db"
    raise BadInputError(
        "unit_missing", f"{raster.name} states no unit and its values are not negative: state db or linear"
    )


def optical_of(path: Path, *, bands: Mapping[str, int] | None, mask: Path | None, warnings: list[str]) -> Optical:
    """Bands and scale of a raster of reflectance.

    Parameters
    ----------
    path : Path
        The raster.
    bands : Mapping or None
        Band from 1 by name; default by the names of the bands.
    mask : Path or None
        Mask of `imagery cloud-mask`.
    warnings : list of str
        Receives what was assumed.

    Returns
    -------
    Optical
        How it is read.

    Raises
    ------
    BadInputError
        `band_missing`, `no_data`.
    """
    with raster_file.open_raster(path, reflectance=True) as raster:
        warnings.extend(raster.warnings)
        named = {name.lower(): number for number, name in enumerate(raster.descriptions, 1)}
        chosen = dict(bands) if bands else {name: named[name] for name in OPTICAL_BANDS if name in named}
        _within(raster, chosen)
        chosen = {name: number for name, number in chosen.items() if name in OPTICAL_BANDS}
        if "green" not in chosen or not {"nir", "swir1"} & set(chosen):
            raise BadInputError("band_missing", f"{raster.name}: water needs green=.. and nir=.. or swir1=..")
        sample = raster.sample(list(chosen.values()), size=256)
        known = sample[np.isfinite(sample)]
        if known.size == 0:
            raise BadInputError("no_data", f"{raster.name} holds no reflectance")
        factor = 1.0
        if raster.encoding.dtype.startswith("float") and float(np.median(known)) > _DIGITAL_NUMBERS:
            factor = raster_file.ASSUMED_SCALE
            warnings.append(f"{raster.name}: its numbers are taken as reflectance x 10000")
    return Optical(path, chosen, factor, mask)


def timely(optical: Path | None, radar: Path | None, *, warnings: list[str]) -> Path | None:
    """Reflectance if it shows the water the radar saw; else it is left out.

    Parameters
    ----------
    optical, radar : Path or None
        Rasters whose tags state the time (UTC); a day without hours stands for all of it.
    warnings : list of str
        Receives why reflectance is left out, or that its time is not known.

    Returns
    -------
    Path or None
        The optical raster, None where it is not of the same day or so.
    """
    if optical is None or radar is None:
        return optical
    stated = [_stated_time(path) for path in (optical, radar)]
    if stated[0] is None or stated[1] is None:
        silent = optical if stated[0] is None else radar
        warnings.append(
            f"{silent.name} states no time: that reflectance and radar are less than 24 hours apart is assumed"
        )
        return optical
    (seen, day), (heard, other_day) = stated[0], stated[1]
    # A day without hours begins at midnight and may mean any hour of it.
    slack = 24.0 if day or other_day else 0.0
    hours = abs((seen - heard).total_seconds()) / 3600.0
    if hours <= HOURS_APART + slack:
        return optical
    warnings.append(
        f"{optical.name} was taken {hours:.0f} hours from {radar.name}, more than {HOURS_APART:.0f}: it may show other "
        "water and is left out"
    )
    return None


def _stated_time(path: Path) -> tuple[datetime.datetime, bool] | None:
    """Time by the tags (UTC), and whether they state the day alone."""
    with raster_file.open_raster(path) as raster:
        tags = {key.upper(): value for key, value in raster.tags.items()}
    text = next((tags[name].strip() for name in _TIME_TAGS if tags.get(name, "").strip()), "")
    if text[4:5] == ":":
        text = text.replace(":", "-", 2)
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is not None:
        time = time.astimezone(datetime.UTC).replace(tzinfo=None)
    return time, len(text) <= len("2025-07-15")


def placed(
    leading: raster_file.RasterFile,
    *,
    radar: Radar | None,
    optical: Optical | None,
    terrain: Path | None,
    reference: Path | None,
    bounds: Bounds | None,
) -> Sources:
    """Sources of a map on the grid of the leading raster.

    Parameters
    ----------
    leading : RasterFile
        The raster whose grid counts.
    radar, optical, terrain, reference : optional
        Where the values come from.
    bounds : tuple of float or None
        Left, bottom, right, top in the leading raster's system; default everything.

    Returns
    -------
    Sources
        With the part of the grid inside the bounds.

    Raises
    ------
    BadInputError
        `outside_area` where the bounds do not meet the raster.
    """
    corner, shape = (0, 0), leading.shape
    if bounds is not None:
        first = ~leading.transform @ (bounds[0], bounds[3])
        last = ~leading.transform @ (bounds[2], bounds[1])
        left, right = (int(np.clip(round(x), 0, leading.shape[1])) for x in (first[0], last[0]))
        top, bottom = (int(np.clip(round(y), 0, leading.shape[0])) for y in (first[1], last[1]))
        if right <= left or bottom <= top:
            raise BadInputError("outside_area", f"the bounds {bounds} do not meet {leading.name}")
        corner, shape = (top, left), (bottom - top, right - left)
    return Sources(leading.path, radar, optical, terrain, reference, corner, shape)


def read(sources: Sources, window: Window, *, radar: Radar | None) -> Block:
    """Everything seen and known in a window of the map.

    Parameters
    ----------
    sources : Sources
        Where it comes from.
    window : rasterio.windows.Window
        Whole pixels of the map; may reach beyond it.
    radar : Radar or None
        Radar raster wanted, for there may be an earlier one.

    Returns
    -------
    Block
        Values (y, x), NaN where there are none.
    """
    own = Window(window.col_off + sources.corner[1], window.row_off + sources.corner[0], window.width, window.height)
    with raster_file.open_raster(sources.leading) as leading:
        power = None if radar is None else _power(radar, leading, own)
        reflectance = None if sources.optical is None else _reflectance(sources.optical, leading, own)
        return Block(power, reflectance, _surroundings(sources, leading, own))


def _power(radar: Radar, leading: raster_file.RasterFile, window: Window) -> dict[str, Float32Array]:
    with alignment.opened(radar.path, like=leading) as raster:
        values = raster.read(window, list(radar.bands.values()))
    return dict(zip(radar.bands, linear(values, unit=radar.unit), strict=True))


def earlier(sources: Sources, window: Window, radars: Sequence[Radar]) -> dict[str, Float32Array]:
    """Median backscatter of earlier dates in a window of the map.

    Parameters
    ----------
    sources : Sources
        The map.
    window : rasterio.windows.Window
        Whole pixels of the map; may reach beyond it.
    radars : sequence of Radar
        Earlier dates of the same polarizations.

    Returns
    -------
    dict
        Backscatter in linear units (y, x) by polarization, NaN where no date has any.
    """
    own = Window(window.col_off + sources.corner[1], window.row_off + sources.corner[0], window.width, window.height)
    with raster_file.open_raster(sources.leading) as leading:
        dates = [_power(radar, leading, own) for radar in radars]
    if len(dates) == 1:
        return dates[0]
    result = {}
    for name in dates[0]:
        stacked = np.stack([date[name] for date in dates])
        unseen = ~np.isfinite(stacked).any(axis=0)
        stacked[:, unseen] = 0.0  # nanmedian warns of columns without a number
        result[name] = np.where(unseen, np.float32(np.nan), np.nanmedian(stacked, axis=0)).astype(np.float32)
    return result


def linear(values: Float32Array, *, unit: Unit) -> Float32Array:
    """Backscatter in linear units; numbers that are none are no data.

    Parameters
    ----------
    values : Float32Array
        Backscatter (y, x) or (band, y, x) [dB or 1].
    unit : str
        ``db`` or ``linear``.

    Returns
    -------
    Float32Array
        [1]; zero in all bands is no data in linear units; in one, as subtraction of noise leaves it, nearly nothing.
    """
    if unit == "db":
        known = (values > _PLAUSIBLE[0]) & (values < _PLAUSIBLE[1])
        return np.asarray(np.where(known, np.power(np.float32(10.0), values * np.float32(0.1)), np.float32(np.nan)))
    empty = (values == 0.0).all(axis=0) if values.ndim == 3 else values == 0.0
    known = np.isfinite(values) & ~empty & (values < 10.0 ** (_PLAUSIBLE[1] / 10.0))
    return np.asarray(np.where(known, np.maximum(values, np.float32(_FLOOR)), np.float32(np.nan)), dtype=np.float32)


def _reflectance(optical: Optical, leading: raster_file.RasterFile, window: Window) -> dict[str, Float32Array]:
    with alignment.opened(optical.path, like=leading, reflectance=True) as raster:
        values = raster.read(window, list(optical.bands.values())) * np.float32(optical.factor)
    values[:, (values == 0.0).all(axis=0)] = np.nan
    if optical.mask is not None:
        with alignment.opened(optical.mask, like=leading, classes=True) as mask:
            classes = mask.read(window, [1])[0]
        clear = (classes == cloud_mask.CLEAR) | (classes == cloud_mask.WATER)
        values[:, ~clear] = np.nan
    return dict(zip(optical.bands, values, strict=True))


def _surroundings(sources: Sources, leading: raster_file.RasterFile, window: Window) -> radar_water.Surroundings:
    reference = None
    if sources.reference is not None:
        with alignment.opened(sources.reference, like=leading) as raster:
            reference = usual(raster.read(window, [1])[0])
    if sources.terrain is None or leading.geobox is None:
        return radar_water.Surroundings(reference=reference)
    layers = terrain_layers.read(sources.terrain, leading.geobox, window=window)
    masks = [layers[name] > 0.5 for name in terrain_layers.MASKS if name in layers]
    return radar_water.Surroundings(
        hand=layers.get("hand"),
        slope=layers.get("slope"),
        elevation=layers.get("elevation"),
        reference=reference,
        hidden=functools.reduce(np.logical_or, masks) if masks else None,
    )


def usual(values: Float32Array) -> Float32Array:
    """Usual water as probability: percent is told from ratio by its size, what is neither is unknown.

    Parameters
    ----------
    values : Float32Array
        Probability [1] or [percent].

    Returns
    -------
    Float32Array
        Probability [1], NaN where unknown.
    """
    factor = np.float32(0.01) if bool(((values > 1.0) & (values <= 100.0)).any()) else np.float32(1.0)
    scaled = values * factor
    return np.where((scaled >= 0.0) & (scaled <= 1.0), scaled, np.float32(np.nan)).astype(np.float32)


def sample_windows(sources: Sources) -> tuple[list[Window], list[Window]]:
    """Windows that stand for the scene, and others that look as if they held water and land.

    Parameters
    ----------
    sources : Sources
        Where the values come from.

    Returns
    -------
    tuple of list
        Evenly spread windows, or the whole where it is small; chosen ones.
    """
    rows, columns = sources.shape
    if max(rows, columns) <= _WHOLE:
        return [Window(0, 0, columns, rows)], []
    tops = np.unique(np.linspace(0, max(rows - _SAMPLE_EDGE, 0), _SAMPLE_SIDE).astype(int))
    lefts = np.unique(np.linspace(0, max(columns - _SAMPLE_EDGE, 0), _SAMPLE_SIDE).astype(int))
    height, width = min(rows, _SAMPLE_EDGE), min(columns, _SAMPLE_EDGE)
    even = [Window(int(left), int(top), width, height) for top in tops for left in lefts]
    return even, _mixed_windows(sources)


def _mixed_windows(sources: Sources) -> list[Window]:
    """Squares in which dark and bright pixels of a thinned image are both frequent."""
    if sources.radar is None:
        return []
    step = max(1, max(sources.shape) // _THUMBNAIL)
    band = [next(iter(sources.radar.bands.values()))]
    top, left = sources.corner
    with (
        raster_file.open_raster(sources.leading) as leading,
        alignment.opened(sources.radar.path, like=leading) as raster,
    ):
        lines = [
            raster.read(Window(left, top + row, sources.shape[1], 1), band)[0, 0, step // 2 :: step]
            for row in range(step // 2, sources.shape[0], step)
        ]
    thumbnail = 10.0 * np.log10(linear(np.stack(lines), unit=sources.radar.unit))
    if not np.isfinite(thumbnail).any():
        return []
    dark = thumbnail < np.nanmedian(thumbnail) - _DARKER
    edge = max(_SAMPLE_EDGE // step, 2)
    squares = []
    for i in range(0, dark.shape[0] - edge + 1, edge):
        for j in range(0, dark.shape[1] - edge + 1, edge):
            share = float(dark[i : i + edge, j : j + edge].mean())
            squares.append((share * (1.0 - share), i * step, j * step))
    best = sorted(squares, reverse=True)[:_MIXED]
    return [Window(j, i, _SAMPLE_EDGE, _SAMPLE_EDGE) for score, i, j in best if score > 0.0]


def blocks(sources: Sources, windows: Sequence[Window], *, radar: Radar | None) -> Iterator[Block]:
    """Everything seen and known in several windows.

    Parameters
    ----------
    sources : Sources
        Where it comes from.
    windows : sequence of Window
        Windows of the map.
    radar : Radar or None
        Radar raster wanted.

    Yields
    ------
    Block
        One per window.
    """
    for window in windows:
        yield read(sources, window, radar=radar)


def counted_looks(parts: Sequence[Block], *, parameters: radar_water.RadarWaterParameters) -> float:
    """Equivalent number of looks of a radar raster: the median of its parts.

    Parameters
    ----------
    parts : sequence of Block
        Parts of the scene.
    parameters : RadarWaterParameters
        Size of the windows.

    Returns
    -------
    float
        Looks [1]; 1 where no part is large enough to tell.
    """
    found = [radar_water.looks(next(iter(part.power.values())), parameters=parameters) for part in parts if part.power]
    known = [value for value in found if np.isfinite(value)]
    return float(np.median(known)) if known else 1.0


def evidence(
    block: Block, *, radar: Radar | None, parameters: radar_water.RadarWaterParameters, optical: bool = True
) -> radar_water.Evidence:
    """Features of a block.

    Parameters
    ----------
    block : Block
        Values.
    radar : Radar or None
        Their radar raster, for its looks.
    parameters : RadarWaterParameters
        Choices.
    optical : bool
        Whether reflectance is heard.

    Returns
    -------
    Evidence
        Features.
    """
    return radar_water.evidence(
        block.power,
        block.reflectance if optical else None,
        number_of_looks=1.0 if radar is None else radar.looks,
        parameters=parameters,
        hidden=block.place.hidden,
    )


def transform_of(sources: Sources, transform: Any) -> Any:
    """Pixel to map of the part of the grid that is mapped.

    Parameters
    ----------
    sources : Sources
        The part.
    transform : affine.Affine
        Of the leading raster.

    Returns
    -------
    affine.Affine
        Of the map.
    """
    return transform @ transform.translation(sources.corner[1], sources.corner[0])


@contextlib.contextmanager
def leading_raster(radar: Path | None, optical: Path | None) -> Iterator[raster_file.RasterFile]:
    """The raster whose grid counts: radar where there is some.

    Parameters
    ----------
    radar, optical : Path or None
        Rasters given.

    Yields
    ------
    RasterFile
        The open raster.

    Raises
    ------
    BadInputError
        `no_scene` without any.
    """
    path = radar or optical
    if path is None:
        raise BadInputError("no_scene", "a radar raster, an optical raster or both are needed")
    with raster_file.open_raster(path) as raster:
        yield raster
