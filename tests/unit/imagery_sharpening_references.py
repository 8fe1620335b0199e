"""Textbook pansharpening by plain matrices, independent of the kernels, and the sensors it is tried on."""

from typing import Any, NamedTuple

import numpy as np

from processors.imagery import sharpening_grid
from processors.imagery.sharpening_grid import Geometry
from processors.simulation import imagery_sensor

Array = np.ndarray[Any, Any]


class Sensor(NamedTuple):
    """Inputs and their truth."""

    ms: Array
    pan: Array
    truth: Array
    geometry: Geometry


def sensor_of(**options: Any) -> Sensor:
    """A simulated sensor."""
    made = imagery_sensor.simulate_sensor(**options)
    geometry = sharpening_grid.geometry_from_transforms(
        made.ms_grid.transform, made.ms.shape[1:], made.pan_grid.transform, made.pan.shape
    )
    return Sensor(made.ms, made.pan, made.truth, geometry)


def degraded(ms: Array, pan: Array, geometry: Geometry, *, ms_gain: float = 0.3, pan_gain: float = 0.15) -> Sensor:
    """Both inputs degraded by the ratio, the bands being the truth (Wald)."""
    ratio = geometry.ratio[0]
    fine = [
        gaussian_matrix(pan.shape[k], ms.shape[k + 1], ratio, geometry.offset[k], width(pan_gain, ratio))
        for k in (0, 1)
    ]
    shape = (int(ms.shape[1] // ratio), int(ms.shape[2] // ratio))
    coarse = [gaussian_matrix(ms.shape[k + 1], shape[k], ratio, 0.0, width(ms_gain, ratio)) for k in (0, 1)]
    low = np.stack([coarse[0] @ band @ coarse[1].T for band in ms])
    return Sensor(
        low.astype(np.float32),
        (fine[0] @ pan @ fine[1].T).astype(np.float32),
        ms,
        Geometry((ratio, ratio), (0.0, 0.0), shape, ms.shape[1:]),
    )


def width(gain: float, ratio: float) -> float:
    """Standard deviation of a Gaussian whose transform is the gain at half a cycle a coarse pixel."""
    return float(ratio * np.sqrt(-2.0 * np.log(gain)) / np.pi)


def gaussian_matrix(fine: int, coarse: int, ratio: float, offset: float, sigma: float) -> Array:
    """Gaussian means at the coarse centers (coarse, fine)."""
    center = offset + (np.arange(coarse) + 0.5) * ratio - 0.5
    weights = np.exp(-0.5 * ((np.arange(fine)[None, :] - center[:, None]) / sigma) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)


def cubic_matrix(fine: int, coarse: int, ratio: float, offset: float) -> Array:
    """Cubic convolution with a = -1/2 at the fine centers, the rim repeated (fine, coarse)."""
    position = (np.arange(fine) + 0.5 - offset) / ratio - 0.5
    first = np.floor(position).astype(int)
    result = np.zeros((fine, coarse))
    for tap in range(-1, 3):
        t = np.abs(position - first - tap)
        near = 1.5 * t**3 - 2.5 * t**2 + 1.0
        far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
        weight = np.where(t < 1.0, near, np.where(t < 2.0, far, 0.0))
        np.add.at(result, (np.arange(fine), np.clip(first + tap, 0, coarse - 1)), weight)
    return result


def textbook(sensor: Sensor, *, gain: float = 0.3) -> dict[str, Array]:
    """Interpolation, Brovey, GSA, MTF-GLP-CBD and MTF-GLP-HPM, each (band, y, x)."""
    geometry = sensor.geometry
    ups = [
        cubic_matrix(geometry.pan_shape[k], geometry.ms_shape[k], geometry.ratio[k], geometry.offset[k]) for k in (0, 1)
    ]
    downs = [
        gaussian_matrix(
            geometry.pan_shape[k],
            geometry.ms_shape[k],
            geometry.ratio[k],
            geometry.offset[k],
            width(gain, geometry.ratio[k]),
        )
        for k in (0, 1)
    ]
    ms, pan = sensor.ms.astype(np.float64), sensor.pan.astype(np.float64)
    up = np.stack([ups[0] @ band @ ups[1].T for band in ms])
    coarse_low = downs[0] @ pan @ downs[1].T
    low = ups[0] @ coarse_low @ ups[1].T
    return {
        "interpolation": up,
        "brovey": up * pan / np.maximum(up.mean(axis=0), 1e-9),
        "gsa": _gsa(ms, up, pan, coarse_low),
        "cbd": np.stack([band + _slope(band, low) * (pan - low) for band in up]),
        "hpm": up * np.clip(pan / np.where(np.abs(low) < 1e-9, 1e-9, low), 0.0, 10.0),
    }


def _slope(band: Array, other: Array) -> float:
    return float(np.cov(band.ravel(), other.ravel())[0, 1] / np.var(other, ddof=1))


def _gsa(ms: Array, up: Array, pan: Array, low: Array) -> Array:
    design = np.vstack([ms.reshape(len(ms), -1), np.ones(low.size)]).T
    weights = np.linalg.lstsq(design, low.ravel(), rcond=None)[0]
    intensity = np.tensordot(weights[:-1], up, axes=1) + weights[-1]
    return np.stack([band + _slope(band, intensity) * (pan - intensity) for band in up])
