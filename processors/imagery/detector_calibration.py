"""Calibration of every detector of our imager: dark signal, relative gain, non-linearity, bad detectors, noise.

A count is C = D + s(T - T0) + f(g R), D dark count, s its temperature slope, g relative gain of the detector and R the
signal of a detector of gain one, proportional to radiance. The inverse of f is the polynomial S (1 + a1 S + a2 S**2).
Stray light is not modeled.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray
from processors.imagery import line_packet, qa, radiometry
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]

LAYOUT = 1
"""Layout of calibration files that this release reads and writes."""

_WIDE = 65
_MAD_TO_SIGMA = 1.4826
_QUANTIZATION = 1.0 / 12.0


@dataclass(frozen=True)
class DetectorCalibration:
    """Calibration set of the imager, versioned.

    Parameters
    ----------
    radiometric : radiometry.RadiometricCalibration
        Responsivity and solar irradiance of the bands, and the version of the set; its dark counts are not used.
    dark : FloatArray
        Dark count at the reference temperature (band, pixel) [1].
    dark_slope : FloatArray
        Growth of the dark count with the temperature of the focal plane (band, pixel) [K-1].
    reference_temperature : float
        Temperature of the dark counts [K].
    relative_gain : FloatArray
        Response over that of the mean detector of the band (band, pixel) [1].
    nonlinearity : FloatArray
        Coefficients a1, a2 of the band (band, 2): per count and per count squared [1].
    bad : BoolArray
        Detectors that are dead, hot or noisy (band, pixel).
    saturation : FloatArray
        Count from which a band is saturated (band) [1].
    read_noise : FloatArray
        Standard deviation without light (band) [1].
    conversion : FloatArray
        Counts per electron at gain 1 (band) [1].
    relative_uncertainty : float
        Standard uncertainty of the responsivity [1].
    valid_from, valid_until : np.datetime64, optional
        First and last instant of the set (UTC); without them it is valid at any time.
    """

    radiometric: radiometry.RadiometricCalibration
    dark: FloatArray
    dark_slope: FloatArray
    reference_temperature: float
    relative_gain: FloatArray
    nonlinearity: FloatArray
    bad: BoolArray
    saturation: FloatArray
    read_noise: FloatArray
    conversion: FloatArray
    relative_uncertainty: float = 0.03
    valid_from: np.datetime64 | None = None
    valid_until: np.datetime64 | None = None


@dataclass(frozen=True)
class AcquisitionParameters:
    """How a calibration set is made from dark and flat acquisitions.

    Parameters
    ----------
    hot_sigma : float
        Robust standard deviations of the dark count or its noise beyond which a detector is hot [1].
    dead_response : float
        Response over that of the neighborhood below which, or over the inverse of which, a detector is dead [1].
    minimum_lines : int
        Lines an acquisition must have [1].
    minimum_signal : float
        Mean signal of a flat acquisition below which it says nothing [1].
    degree : int
        Coefficients of non-linearity wanted: 0, 1 or 2; they need that many and two more levels of light.
    """

    hot_sigma: float = 8.0
    dead_response: float = 0.5
    minimum_lines: int = 16
    minimum_signal: float = 50.0
    degree: int = 2


class Acquisition(NamedTuple):
    """Lines of the imager in front of nothing or of an even source.

    Attributes
    ----------
    counts : FloatArray
        Counts (band, line, pixel) [1].
    temperature : float
        Temperature of the focal plane [K].
    radiance : FloatArray
        Radiance of the source in the bands (band), zero for a dark one [W m-2 sr-1 um-1].
    gain, integration_time : FloatArray
        Electronic gain [1] and integration time [s] of the bands (band).
    """

    counts: FloatArray
    temperature: float
    radiance: FloatArray
    gain: FloatArray
    integration_time: FloatArray


class CalibratedStrip(NamedTuple):
    """Radiance of a strip.

    Attributes
    ----------
    radiance : Float32Array
        Spectral radiance (band, line, pixel), NaN where a line was lost [W m-2 sr-1 um-1].
    noise : Float32Array
        Standard deviation by read noise, shot noise, rounding and interpolation (band, line, pixel)
        [W m-2 sr-1 um-1].
    bits : ndarray of uint16
        Quality bits (line, pixel): saturated, and filled where a bad detector was interpolated.
    interpolated : int
        Bad detectors that were interpolated, over all bands [1].
    lost : int
        Bad detectors in runs that are too long for that, over all bands [1].
    """

    radiance: Float32Array
    noise: Float32Array
    bits: npt.NDArray[np.uint16]
    interpolated: int
    lost: int


@dataclass(frozen=True)
class RepairParameters:
    """Repair of bad detectors.

    Parameters
    ----------
    longest_run : int
        Neighboring bad detectors that are interpolated; longer runs stay empty [1].
    """

    longest_run: int = 4


def uniform(
    radiometric: radiometry.RadiometricCalibration | None = None,
    *,
    pixels: int = 2048,
    read_noise: float = 2.0,
    conversion: float = 0.05,
) -> DetectorCalibration:
    """Calibration set in which all detectors of a band are equal and linear.

    Parameters
    ----------
    radiometric : radiometry.RadiometricCalibration, optional
        Values of the bands.
    pixels : int
        Detectors of a band [1].
    read_noise : float
        Standard deviation without light, all bands [1].
    conversion : float
        Counts per electron at gain 1, all bands [1].

    Returns
    -------
    DetectorCalibration
        The set, of the version of the values of the bands.
    """
    chosen = radiometric or radiometry.RadiometricCalibration()
    bands = len(chosen.dark)
    shape = (bands, pixels)
    return DetectorCalibration(
        radiometric=chosen,
        dark=np.broadcast_to(np.asarray(chosen.dark)[:, None], shape).astype(np.float64),
        dark_slope=np.zeros(shape),
        reference_temperature=293.15,
        relative_gain=np.ones(shape),
        nonlinearity=np.zeros((bands, 2)),
        bad=np.zeros(shape, dtype=np.bool_),
        saturation=np.full(bands, float(line_packet.FULL_SCALE)),
        read_noise=np.full(bands, read_noise),
        conversion=np.full(bands, conversion),
    )


def calibrated(
    strip: xr.Dataset,
    calibration: DetectorCalibration,
    *,
    time: np.datetime64 | None = None,
    repair: RepairParameters | None = None,
) -> CalibratedStrip:
    """Radiance of a strip, detector by detector, with its noise and quality.

    Parameters
    ----------
    strip : xr.Dataset
        A checked level 0 strip, see `line_packet.checked`.
    calibration : DetectorCalibration
        The calibration set.
    time : np.datetime64, optional
        Time of the strip (UTC), held against the validity of the set.
    repair : RepairParameters, optional
        Repair of bad detectors.

    Returns
    -------
    CalibratedStrip
        Radiance, noise and quality bits.

    Raises
    ------
    BadInputError
        `calibration_version` where the set is not valid at that time or not of this width, `calibration_missing` where
        the dark count follows a temperature that the strip does not state.
    """
    _check_validity(strip, calibration, time)
    counts = line_packet.valid_counts(strip).values
    signal = counts - _dark(strip, calibration)
    linear, slope = _linear(signal, calibration.nonlinearity)
    gain = line_packet.per_band(strip, "gain")
    scale = gain * line_packet.per_band(strip, "integration_time") * np.asarray(calibration.radiometric.responsivity)
    divisor = (calibration.relative_gain * scale[:, None]).astype(np.float32)[:, None, :]
    noise = np.sqrt(_variance(linear, slope, calibration, gain)) / divisor
    radiance = (linear / divisor).astype(np.float32)
    lost, filled = _repaired(radiance, noise, calibration.bad, (repair or RepairParameters()).longest_run)
    full = (strip["counts"].transpose("band", "line", "pixel").values >= calibration.saturation[:, None, None]).any(0)
    bits = np.where(full, np.uint16(qa.QaBit.SATURATED), np.uint16(0))
    bits |= np.where(filled.any(axis=0), np.uint16(qa.QaBit.FILLED), np.uint16(0))[None, :]
    return CalibratedStrip(radiance, noise.astype(np.float32), bits, int(filled.sum()), int(lost.sum()))


def _check_validity(strip: xr.Dataset, calibration: DetectorCalibration, time: np.datetime64 | None) -> None:
    version = calibration.radiometric.version
    if calibration.dark.shape[1] != strip.sizes["pixel"]:
        raise BadInputError(
            "calibration_version",
            f"calibration {version} is of {calibration.dark.shape[1]} detectors, the strip of {strip.sizes['pixel']}",
        )
    if time is None:
        return
    early = calibration.valid_from is not None and time < calibration.valid_from
    late = calibration.valid_until is not None and time > calibration.valid_until
    if early or late:
        raise BadInputError(
            "calibration_version",
            f"calibration {version} is valid from {calibration.valid_from} until {calibration.valid_until}, not {time}",
        )


def _dark(strip: xr.Dataset, calibration: DetectorCalibration) -> Float32Array:
    dark = calibration.dark[:, None, :]
    if np.any(calibration.dark_slope):
        if "focal_plane_temperature" not in strip:
            raise BadInputError("calibration_missing", "the strip does not state the temperature of its focal plane")
        excess = strip["focal_plane_temperature"].values - calibration.reference_temperature
        if not np.isfinite(excess).all():
            raise BadInputError("calibration_missing", "the temperature of the focal plane is unknown for some lines")
        dark = dark + excess[None, :, None] * calibration.dark_slope[:, None, :]
    return np.asarray(dark, dtype=np.float32)


def _linear(signal: Float32Array, nonlinearity: FloatArray) -> tuple[Float32Array, Float32Array]:
    """Linearized signal S (1 + a1 S + a2 S**2) and its derivative."""
    first, second = nonlinearity.astype(np.float32).T[:, :, None, None]
    linear = signal * (1.0 + signal * (first + signal * second))
    return linear, 1.0 + signal * (2.0 * first + 3.0 * signal * second)


def _variance(
    linear: Float32Array, slope: Float32Array, calibration: DetectorCalibration, gain: FloatArray
) -> Float32Array:
    """Variance of the linearized signal: read noise and rounding stretched with the curve, shot noise of the light."""
    read = (calibration.read_noise**2 + _QUANTIZATION).astype(np.float32)[:, None, None]
    shot = (calibration.conversion * gain).astype(np.float32)[:, None, None]
    return np.asarray(read * slope**2 + shot * np.maximum(linear, 0.0), dtype=np.float32)


def _repaired(radiance: Float32Array, noise: Float32Array, bad: BoolArray, longest: int) -> tuple[BoolArray, BoolArray]:
    """Interpolate bad detectors in place; half the step between the neighbors counts as their uncertainty.

    Returns those that are lost and those that were interpolated (band, pixel).
    """
    lost = np.zeros_like(bad)
    for band, row in enumerate(bad):
        good = np.flatnonzero(~row)
        for pixel in np.flatnonzero(row):
            after = int(np.searchsorted(good, pixel))
            if after in (0, good.size) or good[after] - good[after - 1] - 1 > longest:
                lost[band, pixel] = True
                radiance[band, :, pixel], noise[band, :, pixel] = np.nan, np.nan
                continue
            left, right = good[after - 1], good[after]
            share = np.float32((pixel - left) / (right - left))
            first, last = radiance[band, :, left], radiance[band, :, right]
            radiance[band, :, pixel] = (1.0 - share) * first + share * last
            spread = (1.0 - share) ** 2 * noise[band, :, left] ** 2 + share**2 * noise[band, :, right] ** 2
            noise[band, :, pixel] = np.sqrt(spread + (0.5 * (last - first)) ** 2)
    return lost, bad & ~lost


def calibration_from_acquisitions(
    dark: list[Acquisition],
    flat: list[Acquisition],
    *,
    version: str,
    radiometric: radiometry.RadiometricCalibration | None = None,
    parameters: AcquisitionParameters | None = None,
) -> DetectorCalibration:
    """Make a calibration set from dark acquisitions and from flat ones of several levels of light.

    Dark count and its slope by regression on temperature; conversion by photon transfer, the variance of neighboring
    lines over the mean (Janesick 2007); non-linearity by least squares on the mean detector; relative gain by
    regression through the origin on the mean detector of the linearized signal.

    Parameters
    ----------
    dark : list of Acquisition
        Acquisitions without light; temperatures that differ by more than 1 K give the slope of the dark count.
    flat : list of Acquisition
        Acquisitions of an even source.
    version : str
        Version of the set.
    radiometric : radiometry.RadiometricCalibration, optional
        Solar irradiances of the bands; the responsivity is replaced by the one found.
    parameters : AcquisitionParameters, optional
        How the set is made.

    Returns
    -------
    DetectorCalibration
        The set.

    Raises
    ------
    BadInputError
        `calibration_insufficient` where lines, light, levels or good detectors do not suffice, or the flats saturate.
    """
    chosen = parameters or AcquisitionParameters()
    _check_acquisitions(dark, flat, chosen)
    base = radiometric or radiometry.RadiometricCalibration()
    reference = float(np.mean([part.temperature for part in dark]))
    level, slope = _dark_regression(dark, reference)
    read = np.sqrt(np.mean([_line_variance(part.counts) for part in dark], axis=0))
    signals = [_mean_signal(part, level, slope, reference) for part in flat]
    bad = _outlying(level, chosen.hot_sigma) | _outlying(read, chosen.hot_sigma)
    bad |= _unresponsive(np.mean(signals, axis=0), bad, chosen.dead_response)
    if np.any(bad.mean(axis=1) > 0.5):
        raise BadInputError("calibration_insufficient", "more than half of the detectors of a band are bad")
    mean = np.stack([_over_good(signal, bad) for signal in signals])
    light = np.stack([part.radiance * part.gain * part.integration_time for part in flat])
    nonlinearity, responsivity = _nonlinearity(mean, light, chosen.degree)
    gain = _relative_gain(signals, nonlinearity, bad)
    noise = np.sqrt(np.maximum(_over_good(read**2, bad) - _QUANTIZATION, 0.0))
    values = tuple(float(value) for value in responsivity)
    darks = tuple(float(value) for value in _over_good(level, bad))
    return DetectorCalibration(
        radiometric=replace(base, version=version, responsivity=values, dark=darks),
        dark=level,
        dark_slope=slope,
        reference_temperature=reference,
        relative_gain=np.where(bad, 1.0, gain),
        nonlinearity=nonlinearity,
        bad=bad,
        saturation=np.full(level.shape[0], float(line_packet.FULL_SCALE)),
        read_noise=noise,
        conversion=_conversion(flat, signals, bad, noise, nonlinearity),
    )


def _check_acquisitions(dark: list[Acquisition], flat: list[Acquisition], parameters: AcquisitionParameters) -> None:
    if not dark or len(flat) < parameters.degree + 1:
        raise BadInputError(
            "calibration_insufficient",
            f"{len(dark)} dark and {len(flat)} flat acquisitions do not suffice for {parameters.degree} coefficients",
        )
    shapes = {part.counts.shape[::2] for part in (*dark, *flat)}
    if len(shapes) > 1:
        raise BadInputError("calibration_insufficient", f"the acquisitions differ in shape: {sorted(shapes)}")
    if min(part.counts.shape[1] for part in (*dark, *flat)) < parameters.minimum_lines:
        raise BadInputError("calibration_insufficient", f"an acquisition has under {parameters.minimum_lines} lines")
    for part in flat:
        middle = np.median(part.counts, axis=(1, 2))
        if np.any(middle >= 0.98 * line_packet.FULL_SCALE):
            raise BadInputError("calibration_insufficient", "a flat acquisition is saturated")
        without = np.median(dark[0].counts, axis=(1, 2))
        if np.any(middle - without < parameters.minimum_signal):
            raise BadInputError("calibration_insufficient", "a flat acquisition is too dark")


def _dark_regression(dark: list[Acquisition], reference: float) -> tuple[FloatArray, FloatArray]:
    levels = np.stack([part.counts.mean(axis=1) for part in dark])
    excess = np.array([part.temperature for part in dark]) - reference
    if np.ptp(excess) <= 1.0:
        return levels.mean(axis=0), np.zeros(levels.shape[1:])
    slope = np.tensordot(excess, levels, axes=1) / (excess**2).sum()
    return levels.mean(axis=0), slope


def _line_variance(counts: FloatArray) -> FloatArray:
    """Variance over the lines without slow drift: half the mean square of the differences of neighbors."""
    return np.asarray(0.5 * (np.diff(counts, axis=1) ** 2).mean(axis=1))


def _mean_signal(part: Acquisition, level: FloatArray, slope: FloatArray, reference: float) -> FloatArray:
    return np.asarray(part.counts.mean(axis=1) - level - slope * (part.temperature - reference))


def _outlying(values: FloatArray, limit: float) -> BoolArray:
    """Detectors far from the running median of their band."""
    excess = values - ndimage.median_filter(values, size=(1, min(_WIDE, values.shape[1])), mode="nearest")
    spread = _MAD_TO_SIGMA * np.median(np.abs(excess), axis=1, keepdims=True)
    return np.asarray(np.abs(excess) > limit * np.maximum(spread, 1e-6), dtype=np.bool_)


def _unresponsive(signal: FloatArray, bad: BoolArray, limit: float) -> BoolArray:
    median = ndimage.median_filter(np.where(bad, 0.0, signal), size=(1, min(_WIDE, signal.shape[1])), mode="nearest")
    return np.asarray((signal < limit * median) | (signal > median / limit), dtype=np.bool_)


def _over_good(values: FloatArray, bad: BoolArray) -> FloatArray:
    return np.asarray((values * ~bad).sum(axis=-1) / (~bad).sum(axis=-1))


def _nonlinearity(signal: FloatArray, light: FloatArray, degree: int) -> tuple[FloatArray, FloatArray]:
    """Coefficients (band, 2) and responsivity (band): S + a1 S**2 + a2 S**3 = c light, relative least squares."""
    found, responsivity = np.zeros((signal.shape[1], 2)), np.zeros(signal.shape[1])
    for band in range(signal.shape[1]):
        level, drive = signal[:, band], light[:, band]
        full = level.max()
        columns = [level ** (power + 2) / full ** (power + 1) for power in range(degree)]
        # rows are divided by the signal: dim levels count as much as bright ones
        design = np.stack([*columns, -drive * level.mean() / drive.mean()], axis=1) / level[:, None]
        solution, _, rank, _ = np.linalg.lstsq(design, -np.ones(level.size), rcond=1e-10)
        if rank < design.shape[1]:
            raise BadInputError("calibration_insufficient", "the flat acquisitions do not differ in light")
        found[band, :degree] = solution[:degree] / full ** (np.arange(degree) + 1)
        responsivity[band] = solution[degree] * level.mean() / drive.mean()
    if np.any(responsivity <= 0):
        raise BadInputError("calibration_insufficient", "the signal of a band does not grow with the light")
    return found, responsivity


def _relative_gain(signals: list[FloatArray], nonlinearity: FloatArray, bad: BoolArray) -> FloatArray:
    first, second = nonlinearity.T[:, :, None]
    linear = [signal * (1.0 + signal * (first + signal * second)) for signal in signals]
    mean = [_over_good(values, bad)[:, None] for values in linear]
    product = sum(values * level for values, level in zip(linear, mean, strict=True))
    square = sum(level**2 for level in mean)
    return np.asarray(product / square)


def _conversion(
    flat: list[Acquisition], signals: list[FloatArray], bad: BoolArray, read_noise: FloatArray, nonlinearity: FloatArray
) -> FloatArray:
    """Slope of the variance over the signal at gain 1, both linearized (photon transfer)."""
    variances, means = [], []
    for part, signal in zip(flat, signals, strict=True):
        linear, slope = _linear(signal.astype(np.float32)[:, None, :], nonlinearity)
        steep = _over_good(slope[:, 0].astype(np.float64) ** 2, bad)
        variances.append((_over_good(_line_variance(part.counts), bad) - read_noise**2 - _QUANTIZATION) * steep)
        means.append(_over_good(linear[:, 0].astype(np.float64), bad) * part.gain)
    variance, mean = np.stack(variances), np.stack(means)
    return np.asarray(np.maximum((variance * mean).sum(axis=0) / (mean**2).sum(axis=0), 0.0))


def striping(image: npt.NDArray[Any]) -> float:
    """Striping left in an image: root mean square of the column means about their running median, over the mean.

    Parameters
    ----------
    image : ndarray
        Radiance, reflectance or counts (line, pixel), NaN where unknown [1].

    Returns
    -------
    float
        Residual [1]; that of the noise alone is its share of the mean over the square root of the lines.
    """
    known = np.isfinite(image)
    columns = known.any(axis=0)
    mean = np.where(known, image, 0.0).sum(axis=0)[columns] / known.sum(axis=0)[columns]
    if mean.size == 0:
        return float("nan")
    residual = mean - ndimage.median_filter(mean, size=min(9, mean.size), mode="nearest")
    return float(np.sqrt(np.mean(residual**2)) / abs(mean.mean()))


_ARRAYS = {
    "dark": (("band", "pixel"), "1"),
    "dark_slope": (("band", "pixel"), "K-1"),
    "relative_gain": (("band", "pixel"), "1"),
    "nonlinearity": (("band", "order"), "1"),
    "saturation": (("band",), "1"),
    "read_noise": (("band",), "1"),
    "conversion": (("band",), "1"),
}


def dataset_from_calibration(calibration: DetectorCalibration) -> xr.Dataset:
    """Calibration set as it is filed.

    Parameters
    ----------
    calibration : DetectorCalibration
        The set.

    Returns
    -------
    xr.Dataset
        Arrays of the set, values of the bands, and version, layout and validity as attributes.
    """
    values = calibration.radiometric
    arrays: dict[str, Any] = {
        name: (dims, getattr(calibration, name), {"units": unit}) for name, (dims, unit) in _ARRAYS.items()
    }
    arrays["bad"] = (("band", "pixel"), calibration.bad.astype(np.int8))
    arrays["responsivity"] = ("band", np.asarray(values.responsivity), {"units": "W-1 m2 sr um s-1"})
    arrays["solar_irradiance"] = ("band", np.asarray(values.solar_irradiance), {"units": "W m-2 um-1"})
    attributes = {
        "layout": LAYOUT,
        "version": values.version,
        "reference_temperature": calibration.reference_temperature,
        "relative_uncertainty": calibration.relative_uncertainty,
        "valid_from": "" if calibration.valid_from is None else str(calibration.valid_from),
        "valid_until": "" if calibration.valid_until is None else str(calibration.valid_until),
    }
    return xr.Dataset(arrays, coords={"band": list(line_packet.BANDS)}, attrs=attributes)


def calibration_from_dataset(dataset: xr.Dataset, *, version: str | None = None) -> DetectorCalibration:
    """Calibration set from its file.

    Parameters
    ----------
    dataset : xr.Dataset
        The set as `dataset_from_calibration` returns it.
    version : str, optional
        Version that is wanted.

    Returns
    -------
    DetectorCalibration
        The set.

    Raises
    ------
    BadInputError
        `calibration_version` where layout or version are not the ones wanted, `calibration_missing` where something is
        absent or cannot be right.
    """
    if dataset.attrs.get("layout") != LAYOUT:
        raise BadInputError("calibration_version", f"calibration file of layout {dataset.attrs.get('layout')}")
    found = str(dataset.attrs.get("version", ""))
    if not found or version not in (None, found):
        raise BadInputError("calibration_version", f"calibration file of version {found!r}, wanted {version!r}")
    absent = [name for name in (*_ARRAYS, "bad", "responsivity", "solar_irradiance") if name not in dataset]
    absent += [name for name in ("reference_temperature", "relative_uncertainty") if name not in dataset.attrs]
    if absent or tuple(str(name) for name in dataset["band"].values) != line_packet.BANDS:
        raise BadInputError("calibration_missing", f"calibration {found} lacks bands or {', '.join(absent)}")
    arrays = {name: dataset[name].transpose(*dims).values.astype(np.float64) for name, (dims, _) in _ARRAYS.items()}
    bad = dataset["bad"].transpose("band", "pixel").values.astype(np.bool_)
    if not all(np.isfinite(values).all() for values in arrays.values()) or np.any(arrays["relative_gain"][~bad] <= 0):
        raise BadInputError("calibration_missing", f"calibration {found} holds values that cannot be right")
    limits = [dataset.attrs.get(name) or None for name in ("valid_from", "valid_until")]
    return DetectorCalibration(
        radiometric=radiometry.RadiometricCalibration(
            version=found,
            dark=tuple(arrays["dark"].mean(axis=1).tolist()),
            responsivity=tuple(dataset["responsivity"].values.tolist()),
            solar_irradiance=tuple(dataset["solar_irradiance"].values.tolist()),
        ),
        bad=bad,
        reference_temperature=float(dataset.attrs["reference_temperature"]),
        relative_uncertainty=float(dataset.attrs["relative_uncertainty"]),
        valid_from=None if limits[0] is None else np.datetime64(limits[0]),
        valid_until=None if limits[1] is None else np.datetime64(limits[1]),
        **arrays,
    )
