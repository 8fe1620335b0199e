"""Sentinel-1: calibrated backscatter of GRD products, and what the numbers of terrain-corrected rasters mean.

GRD (Sentinel-1 Product Specification, S1-RS-MDA-52-7441; thermal noise: MPC-0392): sigma nought or gamma nought =
(DN^2 - noise) / A^2, with A and the noise interpolated linearly between the vectors of the annotation. The processor up
to version 2.5 (2015) wrote noise without its calibration, which is refused. Position comes
from the geolocation grid, at the terrain heights it was made with: a GRD scene placed by it is geocoded, *not* terrain
corrected, and layover, foreshortening and parallax of heights in between remain.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import interpolate

from processors.arrays import FloatArray
from processors.imagery import scene_layers
from processors.quality import BadInputError

Float32Array: TypeAlias = npt.NDArray[np.float32]

SIGMA0, GAMMA0 = "sigma0", "gamma0"
"""Backscatter coefficients: per area on the ellipsoid, per area across the line of sight."""
POWER, AMPLITUDE, DECIBEL = "power", "amplitude", "decibel"
"""Units of backscatter numbers."""

_LUT = {SIGMA0: "sigmaNought", GAMMA0: "gamma"}
_HYP3 = re.compile(
    r"^(S1[A-D])_[A-Z0-9]{2}_(\d{8}T\d{6})_[SD][HV][PRO]_RTC\d+_[A-Z]_([gs])([pda])[uw][nf][ec][dm]_[0-9A-F]{4}_(VV|VH|HH|HV)\b"
)
_OPERA = re.compile(r"^OPERA_L2_RTC-S1_T\w+-\w+-IW\d_(\d{8}T\d{6})Z_\d{8}T\d{6}Z_(S1[A-D])_\d+_v[\d.]+_(VV|VH|HH|HV)\b")
_PYROSAR = re.compile(r"^(S1[A-D])__\w{2,4}_+[AD]_(\d{8}T\d{6})_(VV|VH|HH|HV)_(.+)$")
_HYP3_UNITS = {"p": POWER, "a": AMPLITUDE, "d": DECIBEL}
_NEWTON_STEPS = 8
_LEAST_NOISE = 1e-4
_REACH = 4000.0


class Vectors(NamedTuple):
    """A quantity along vectors across the image."""

    lines: FloatArray
    """Line of every vector, increasing [pixel]."""
    pixels: tuple[FloatArray, ...]
    """Pixels of every vector, increasing [pixel]."""
    values: tuple[FloatArray, ...]
    """Values at these pixels."""

    def at(self, lines: FloatArray, pixels: FloatArray) -> FloatArray:
        """Values on a block of the image, linear along the vectors and between them.

        Parameters
        ----------
        lines, pixels : FloatArray
            Rows and columns of the block [pixel].

        Returns
        -------
        FloatArray
            Values (line, pixel).
        """
        upper = np.clip(np.searchsorted(self.lines, lines, side="right"), 1, max(self.lines.size - 1, 1))
        used = np.unique([upper - 1, np.minimum(upper, self.lines.size - 1)])
        rows = {int(k): np.interp(pixels, self.pixels[k], self.values[k]) for k in used}
        out = np.empty((lines.size, pixels.size))
        for number, (line, above) in enumerate(zip(lines, upper, strict=True)):
            below = min(int(above), self.lines.size - 1)
            first, last = rows[int(above) - 1], rows[below]
            span = self.lines[below] - self.lines[above - 1]
            part = np.clip((line - self.lines[above - 1]) / span, 0.0, 1.0) if span > 0 else 0.0
            out[number] = first + part * (last - first)
        return out


class AzimuthNoise(NamedTuple):
    """Scaling of the noise along the track in one part of the image."""

    lines: tuple[int, int]
    """First and last line [pixel]."""
    pixels: tuple[int, int]
    """First and last pixel [pixel]."""
    line: FloatArray
    """Lines of the values [pixel]."""
    value: FloatArray
    """Factor at these lines [1]."""


class Calibration(NamedTuple):
    """Calibration of one polarization."""

    coefficient: str
    """`sigma0` or `gamma0`."""
    gain: Vectors
    """A of the equation [1]."""
    range_noise: Vectors | None
    """Noise across the track in squared numbers [1]; None where the operator wants it kept."""
    azimuth_noise: tuple[AzimuthNoise, ...]
    """Its scaling along the track."""

    def power(self, numbers: npt.NDArray[np.generic], *, row: int, column: int) -> Float32Array:
        """Backscatter of a block.

        Parameters
        ----------
        numbers : array
            Digital numbers (line, pixel), 0 for no data.
        row, column : int
            First line and pixel of the block [pixel].

        Returns
        -------
        Float32Array
            Backscatter as power [1]; not positive where the signal drowns in the noise; NaN for no data.
        """
        given = np.asarray(numbers).astype(np.float64)
        lines = np.arange(row, row + given.shape[0], dtype=np.float64)
        pixels = np.arange(column, column + given.shape[1], dtype=np.float64)
        gain = self.gain.at(lines, pixels)
        power = (given**2 - self._noise(lines, pixels)) / gain**2
        return np.where(given > 0, power, np.nan).astype(np.float32)

    def _noise(self, lines: FloatArray, pixels: FloatArray) -> FloatArray:
        if self.range_noise is None:
            return np.zeros((lines.size, pixels.size))
        noise = self.range_noise.at(lines, pixels)
        for part in self.azimuth_noise:
            rows = np.nonzero((lines >= part.lines[0]) & (lines <= part.lines[1]))[0]
            columns = np.nonzero((pixels >= part.pixels[0]) & (pixels <= part.pixels[1]))[0]
            if rows.size and columns.size:
                factor = np.interp(lines[rows], part.line, part.value)
                noise[np.ix_(rows, columns)] *= factor[:, None]
        return noise


class GeolocationGrid:
    """Where the image lies, by the tie points of the annotation; smooth between them, linear beyond.

    Parameters
    ----------
    lines, pixels : FloatArray
        Lines and pixels of the tie points, increasing [pixel].
    longitude, latitude, incidence : FloatArray
        At the tie points (line, pixel) [degree].
    """

    def __init__(
        self,
        lines: FloatArray,
        pixels: FloatArray,
        *,
        longitude: FloatArray,
        latitude: FloatArray,
        incidence: FloatArray,
    ) -> None:
        self.lines, self.pixels = lines, pixels
        self.longitude, self.latitude, self.incidence = longitude, latitude, incidence
        orders = {"kx": min(3, lines.size - 1), "ky": min(3, pixels.size - 1)}
        self._east = interpolate.RectBivariateSpline(lines, pixels, longitude, **orders)
        self._north = interpolate.RectBivariateSpline(lines, pixels, latitude, **orders)

    def position(self, line: FloatArray, pixel: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position of image points.

        Parameters
        ----------
        line, pixel : FloatArray
            Image points of one shape [pixel].

        Returns
        -------
        tuple of FloatArray
            Longitude and latitude [degree].
        """
        at_line, at_pixel = (np.clip(v, a[0], a[-1]) for v, a in ((line, self.lines), (pixel, self.pixels)))
        beyond = line - at_line, pixel - at_pixel
        east, north = (
            s.ev(at_line, at_pixel) + sum(g * b for g, b in zip(_gradient(s, at_line, at_pixel), beyond, strict=True))
            for s in (self._east, self._north)
        )
        return east, north

    def locate(self, longitude: FloatArray, latitude: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Image points of positions, the inverse of `position` by Newton's method.

        Parameters
        ----------
        longitude, latitude : FloatArray
            Positions of one shape [degree].

        Returns
        -------
        tuple of FloatArray
            Line and pixel, also somewhat beyond the image; NaN far from it.
        """
        line = np.full(np.shape(longitude), self.lines.mean())
        pixel = np.full(np.shape(longitude), self.pixels.mean())
        reach = [
            (axis[0] - _REACH - np.ptp(axis), axis[-1] + _REACH + np.ptp(axis)) for axis in (self.lines, self.pixels)
        ]
        for _ in range(_NEWTON_STEPS):
            east, north = self.position(line, pixel)
            at = np.clip(line, self.lines[0], self.lines[-1]), np.clip(pixel, self.pixels[0], self.pixels[-1])
            jacobian = [*_gradient(self._east, *at), *_gradient(self._north, *at)]
            determinant = jacobian[0] * jacobian[3] - jacobian[1] * jacobian[2]
            off_east, off_north = longitude - east, latitude - north
            line = np.clip(line + (jacobian[3] * off_east - jacobian[1] * off_north) / determinant, *reach[0])
            pixel = np.clip(pixel + (jacobian[0] * off_north - jacobian[2] * off_east) / determinant, *reach[1])
        east, north = self.position(line, pixel)
        found = (np.abs(longitude - east) < 1e-7) & (np.abs(latitude - north) < 1e-7)
        return np.where(found, line, np.nan), np.where(found, pixel, np.nan)


def _gradient(surface: interpolate.RectBivariateSpline, line: FloatArray, pixel: FloatArray) -> list[FloatArray]:
    return [surface.ev(line, pixel, dx=1, dy=0), surface.ev(line, pixel, dx=0, dy=1)]


class RasterConvention(NamedTuple):
    """What the numbers of a terrain-corrected raster mean."""

    coefficient: str
    """`sigma0` or `gamma0`."""
    unit: str
    """`power`, `amplitude` or `decibel`."""
    polarization: str
    """`vv`, `vh`, `hh` or `hv`."""
    time: np.datetime64
    """Start of the acquisition (UTC)."""
    platform: str
    """Satellite."""

    def power(self, numbers: npt.NDArray[np.generic]) -> Float32Array:
        """Backscatter as power.

        Parameters
        ----------
        numbers : array
            As stored.

        Returns
        -------
        Float32Array
            Power [1]; NaN where a linear number is not positive, which no echo is.
        """
        given = np.asarray(numbers).astype(np.float64)
        if self.unit == DECIBEL:
            return (10.0 ** (given / 10.0)).astype(np.float32)
        seen = np.where(given > 0, given, np.nan)
        return (seen**2 if self.unit == AMPLITUDE else seen).astype(np.float32)


def decibel(power: npt.NDArray[np.float32]) -> Float32Array:
    """Backscatter in decibels.

    Parameters
    ----------
    power : array
        Backscatter as power [1].

    Returns
    -------
    Float32Array
        10 log10 of it [dB]; NaN where it is not positive.
    """
    return (10.0 * np.log10(np.where(power > 0, power, np.nan))).astype(np.float32)


def calibration_from_xml(calibration: bytes, noise: bytes | None, *, coefficient: str, name: str) -> Calibration:
    """Calibration of one polarization from its annotation.

    Parameters
    ----------
    calibration : bytes
        annotation/calibration/calibration-*.xml.
    noise : bytes, optional
        annotation/calibration/noise-*.xml; None keeps the thermal noise.
    coefficient : str
        `sigma0` or `gamma0`.
    name : str
        The product, for messages.

    Returns
    -------
    Calibration
        Gains and noise.

    Raises
    ------
    BadInputError
        `calibration_missing`, `metadata_unreadable`, `noise_uncalibrated` where the noise lies below -40 dB.
    """
    if coefficient not in _LUT:
        raise ValueError(f"{coefficient!r} is neither sigma0 nor gamma0")
    gains = scene_layers.Markup(calibration, name=f"calibration of {name}")
    gain = _vectors(gains, "calibrationVector", _LUT[coefficient])
    if any(float(values.min()) <= 0 for values in gain.values):
        raise BadInputError("calibration_missing", f"the calibration of {name} is not positive")
    if noise is None:
        return Calibration(coefficient, gain, None, ())
    noises = scene_layers.Markup(noise, name=f"noise of {name}")
    if noises.elements("noiseRangeVector"):
        ranged, azimuth = _vectors(noises, "noiseRangeVector", "noiseRangeLut"), _azimuth(noises)
    else:
        ranged, azimuth = _vectors(noises, "noiseVector", "noiseLut"), ()
    # no Sentinel-1 hears below -35 dB; older processors left out a factor of some 1e10
    if max(float(v.max()) for v in ranged.values) < _LEAST_NOISE * min(float(v.min()) for v in gain.values) ** 2:
        raise BadInputError(
            "noise_uncalibrated", f"{name}: the noise is stated without its calibration; read it with the noise left in"
        )
    return Calibration(coefficient, gain, ranged, azimuth)


def geolocation_from_xml(annotation: bytes, *, name: str) -> GeolocationGrid:
    """Geolocation grid of a GRD image.

    Parameters
    ----------
    annotation : bytes
        annotation/s1*.xml.
    name : str
        The product, for messages.

    Returns
    -------
    GeolocationGrid
        The tie points.

    Raises
    ------
    BadInputError
        `geolocation_missing`.
    """
    about = scene_layers.Markup(annotation, name=f"annotation of {name}")
    keys = ("line", "pixel", "longitude", "latitude", "incidenceAngle")
    points = [
        [scene_layers.number(point.findtext(key), what=f"{key} of a tie point") for key in keys]
        for point in about.elements("geolocationGridPoint")
    ]
    table = np.array(points).reshape(-1, len(keys))
    lines, pixels = np.unique(table[:, 0]), np.unique(table[:, 1])
    if min(lines.size, pixels.size) < 2 or lines.size * pixels.size != len(table):
        raise BadInputError("geolocation_missing", f"{name}: {len(table)} tie points form no grid")
    order = np.lexsort((table[:, 1], table[:, 0]))
    longitude, latitude, incidence = (table[order, k].reshape(lines.size, pixels.size) for k in (2, 3, 4))
    if np.ptp(longitude) > 180.0:
        raise BadInputError("geolocation_missing", f"{name}: scenes across the date line are not read")
    return GeolocationGrid(lines, pixels, longitude=longitude, latitude=latitude, incidence=incidence)


def metadata_from_annotation(
    annotations: Mapping[str, bytes], *, locations: Mapping[str, str], coefficient: str, name: str
) -> scene_layers.SceneMetadata:
    """What a GRD product says about itself.

    Parameters
    ----------
    annotations : Mapping
        Polarization to its annotation.
    locations : Mapping
        Polarization to its measurement file.
    coefficient : str
        `sigma0` or `gamma0`.
    name : str
        Name of the product.

    Returns
    -------
    scene_layers.SceneMetadata
        One layer for every polarization.

    Raises
    ------
    BadInputError
        `band_missing`, `metadata_missing`, `level_unknown`.
    """
    if not annotations:
        raise BadInputError("band_missing", f"{name} holds no annotated measurement")
    about = scene_layers.Markup(next(iter(annotations.values())), name=f"annotation of {name}")
    kind = about.text("productType")
    if kind != "GRD":
        raise BadInputError("level_unknown", f"{name} is of type {kind}; only GRD is read")
    plain = scene_layers.Decoding(1.0, 0.0, (0.0,))
    layers = tuple(
        scene_layers.Layer(key, scene_layers.BACKSCATTER, locations[key], plain) for key in _ordered(annotations)
    )
    return scene_layers.SceneMetadata(
        identity="_".join(PurePosixPath(name).name.removesuffix(".SAFE").split("_")[:-1]) or name,
        sensor=f"sentinel-{about.text('missionId').lower().removeprefix('s')} c-sar",
        level=coefficient,
        time=scene_layers.moment(about.text("startTime"), what="startTime"),
        layers=layers,
        notes=("placed by the geolocation grid: geocoded, not terrain corrected",),
    )


def convention(name: str, tags: Mapping[str, str], *, unit: str | None = None) -> RasterConvention:
    """What the numbers of a terrain-corrected raster mean, by its naming convention and tags.

    Understood are HyP3 (ASF), OPERA RTC-S1 (power by specification) and pyroSAR names.

    Parameters
    ----------
    name : str
        File name.
    tags : Mapping
        Its metadata; `UNITS` or `BACKSCATTER_UNIT` goes before the name.
    unit : str, optional
        Stated by the caller: `power`, `amplitude` or `decibel`.

    Returns
    -------
    RasterConvention
        Coefficient, unit, polarization and time.

    Raises
    ------
    BadInputError
        `unit_missing` where nobody states it, `unit_contradicted`, `name_unknown`.
    """
    stem = PurePosixPath(name).name
    if match := _HYP3.match(stem):
        coefficient = GAMMA0 if match[3] == "g" else SIGMA0
        found = RasterConvention(coefficient, _HYP3_UNITS[match[4]], match[5].lower(), _compact(match[2]), match[1])
    elif match := _OPERA.match(stem):
        found = RasterConvention(GAMMA0, POWER, match[3].lower(), _compact(match[1]), match[2])
    elif match := _PYROSAR.match(stem):
        steps = match[4].lower()
        coefficient = GAMMA0 if "gamma0" in steps else SIGMA0
        own = DECIBEL if re.search(r"(?:^|[_-])db(?:$|[_.-])", steps) else ""
        found = RasterConvention(coefficient, own, match[3].lower(), _compact(match[2]), match[1])
    else:
        raise BadInputError("name_unknown", f"{stem} follows no known naming of terrain-corrected Sentinel-1 rasters")
    return _with_unit(found, _stated_unit(tags), unit, stem)


def tagged_convention(
    name: str,
    tags: Mapping[str, str],
    *,
    polarization: str,
    coefficient: str,
    time: np.datetime64,
    unit: str | None = None,
) -> RasterConvention:
    """What the numbers of a raster mean whose tags say it, whatever its name.

    Parameters
    ----------
    name : str
        File name, for messages.
    tags : Mapping
        Its metadata; `UNITS` or `BACKSCATTER_UNIT` states the unit.
    polarization : str
        Polarization of the band.
    coefficient : str
        `sigma0` or `gamma0`.
    time : np.datetime64
        Start of the acquisition (UTC).
    unit : str, optional
        Stated by the caller: `power`, `amplitude` or `decibel`.

    Returns
    -------
    RasterConvention
        Coefficient, unit, polarization and time.

    Raises
    ------
    BadInputError
        `unit_missing` where nobody states the unit, `unit_contradicted`; `level_unknown` for another coefficient.
    """
    if coefficient not in (SIGMA0, GAMMA0):
        raise BadInputError("level_unknown", f"{name}: backscatter is {SIGMA0} or {GAMMA0}, not {coefficient}")
    stated = RasterConvention(coefficient, "", polarization, time, str(tags.get("SENSOR", "")))
    return _with_unit(stated, _stated_unit(tags), unit, name)


def _with_unit(found: RasterConvention, tagged: str | None, said: str | None, stem: str) -> RasterConvention:
    if said is not None and said not in (POWER, AMPLITUDE, DECIBEL):
        raise ValueError(f"unknown unit {said!r}")
    words = {word for word in (found.unit, tagged, said) if word}
    if not words:
        raise BadInputError("unit_missing", f"{stem}: power, amplitude or decibel? Neither name nor tags say")
    if len(words) > 1:
        raise BadInputError("unit_contradicted", f"{stem}: {' and '.join(sorted(words))} at the same time")
    return found._replace(unit=words.pop())


def _stated_unit(tags: Mapping[str, str]) -> str | None:
    upper = {key.upper(): str(value).lower() for key, value in tags.items()}
    text = upper.get("BACKSCATTER_UNIT") or upper.get("UNITS") or upper.get("UNITTYPE") or ""
    words = {"power": POWER, "linear": POWER, "amplitude": AMPLITUDE, "decibel": DECIBEL, "db": DECIBEL}
    return next((unit for word, unit in words.items() if re.search(rf"\b{word}\b", text)), None)


def _compact(text: str) -> np.datetime64:
    day, clock = text.split("T")
    written = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}"
    return scene_layers.moment(written, what="the time in the file name")


def _ordered(keys: Mapping[str, object]) -> list[str]:
    order = ("vv", "vh", "hh", "hv")
    return sorted(keys, key=lambda key: order.index(key) if key in order else len(order))


def _vectors(about: scene_layers.Markup, tag: str, values: str) -> Vectors:
    lines, pixels, rows = [], [], []
    for element in about.elements(tag):
        lines.append(scene_layers.number(element.findtext("line"), what=f"line of {tag}"))
        pixels.append(_numbers(element.findtext("pixel"), what=f"pixel of {tag}"))
        rows.append(_numbers(element.findtext(values), what=f"{values} of {tag}"))
    if not lines or any(a.size != b.size or a.size == 0 for a, b in zip(pixels, rows, strict=True)):
        raise BadInputError("calibration_missing", f"{about.name} holds no complete {tag} with {values}")
    order = np.argsort(lines, kind="stable")
    kept = [int(k) for k in order]
    return Vectors(np.array(lines)[order], tuple(pixels[k] for k in kept), tuple(rows[k] for k in kept))


def _azimuth(about: scene_layers.Markup) -> tuple[AzimuthNoise, ...]:
    parts = []
    keys = ("firstAzimuthLine", "lastAzimuthLine", "firstRangeSample", "lastRangeSample")
    for element in about.elements("noiseAzimuthVector"):
        if element.findtext(keys[0]) is None:
            limits = [0, np.iinfo(np.int32).max, 0, np.iinfo(np.int32).max]
        else:
            limits = [int(scene_layers.number(element.findtext(key), what=key)) for key in keys]
        line = _numbers(element.findtext("line"), what="line of noiseAzimuthVector")
        value = _numbers(element.findtext("noiseAzimuthLut"), what="noiseAzimuthLut")
        parts.append(AzimuthNoise((limits[0], limits[1]), (limits[2], limits[3]), line, value))
    return tuple(parts)


def _numbers(text: str | None, *, what: str) -> FloatArray:
    parts: Sequence[str] = (text or "").split()
    return np.array([scene_layers.number(part, what=what) for part in parts])
