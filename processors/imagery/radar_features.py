"""What a series of radar views says of the ground, beside what the optical composite says, on one grid.

Statistics are taken in intensity (linear), where speckle averages to the truth, and told in decibels. Filtering comes
before resampling, so that the speckle statistics are those of the sensor's grid.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import _speckle_kernels, grid
from processors.quality import BadInputError

SingleArray: TypeAlias = npt.NDArray[np.float32]

HALO = 3 + 1
"""Neighbors the filter of one pixel sees [pixel]."""


@dataclass(frozen=True)
class RadarFeatureParameters:
    """Choices of the radar features.

    Parameters
    ----------
    looks : float
        Equivalent number of looks of one view [1].
    percentiles : tuple of float
        Percentiles over the dates [percent].
    """

    looks: float = 4.4
    percentiles: tuple[float, ...] = (10.0, 50.0, 90.0)


def despeckled(intensity: SingleArray, *, looks: float) -> SingleArray:
    """Reduce speckle by the refined Lee filter of 7 x 7 pixels.

    The mean and variance of the half window on the pixel's side of the nearest edge weigh the pixel against the mean
    (Lee 1981, Computer Graphics and Image Processing 15; Lee and Pottier 2009, section 5.3).

    Parameters
    ----------
    intensity : SingleArray
        Backscatter in linear units (..., y, x), NaN where there is none.
    looks : float
        Equivalent number of looks [1].

    Returns
    -------
    SingleArray
        The same shape; a block needs a halo of `HALO` pixels.

    Raises
    ------
    ValueError
        Where the number of looks is not positive.
    """
    if looks <= 0:
        raise ValueError(f"the number of looks must be positive, not {looks}")
    flat = np.ascontiguousarray(intensity, dtype=np.float32).reshape(-1, *intensity.shape[-2:])
    out = np.empty_like(flat)
    for layer, target in zip(flat, out, strict=True):
        _speckle_kernels.refined_lee(layer, float(looks), target)
    return out.reshape(intensity.shape)


def features(stack: xr.Dataset, *, parameters: RadarFeatureParameters | None = None) -> xr.DataArray:
    """Statistics over the dates of a radar series.

    Parameters
    ----------
    stack : xr.Dataset
        Scene stack with `backscatter` (time, polarization, y, x) [dB], polarizations `vv` and `vh`.
    parameters : RadarFeatureParameters, optional
        Choices of the method.

    Returns
    -------
    xr.DataArray
        `feature`, y, x: for `vv`, `vh` [dB] and their ratio [dB] mean, variation and percentiles, for the radar
        vegetation index [1] mean, variation and percentiles, and `radar_looks`, the dates that saw the pixel [1].

    Raises
    ------
    BadInputError
        `band_missing` without both polarizations.
    """
    chosen = parameters or RadarFeatureParameters()
    held = {str(name) for name in stack["polarization"].values} if "backscatter" in stack else set()
    if not {"vv", "vh"} <= held:
        raise BadInputError("band_missing", f"radar features need backscatter in vv and vh, not {sorted(held)}")
    decibel = stack["backscatter"].transpose("time", "polarization", "y", "x").sel(polarization=["vv", "vh"])
    power = np.power(10.0, decibel.values.astype(np.float32) / 10.0)
    vv, vh = np.moveaxis(despeckled(np.asarray(power, dtype=np.float32), looks=chosen.looks), 1, 0)
    both = np.isfinite(vv) & np.isfinite(vh) & (vv > 0) & (vh > 0)
    vv, vh = (np.where(both, layer, np.float32(np.nan)) for layer in (vv, vh))
    layers = {"radar_looks": both.sum(axis=0).astype(np.float32)}
    for name, values in (("vv", vv), ("vh", vh), ("ratio", np.asarray(vv / vh, dtype=np.float32))):
        layers |= _statistics(name, values, chosen.percentiles, decibel=True)
    layers |= _statistics("rvi", np.asarray(4.0 * vh / (vv + vh), dtype=np.float32), chosen.percentiles, decibel=False)
    return xr.DataArray(
        np.stack(list(layers.values())).astype(np.float32),
        dims=("feature", "y", "x"),
        coords={"feature": list(layers), "y": stack["y"], "x": stack["x"]},
        name="features",
        attrs={"long_name": "statistics of the radar series"},
    )


def fused(optical: xr.Dataset, radar: xr.Dataset, *, geobox: GeoBox | None = None) -> xr.Dataset:
    """Optical composite and radar statistics as one coherent stack of features, for a classification of land cover.

    Parameters
    ----------
    optical : xr.Dataset
        `reflectance` (band, y, x) [1] with its grid.
    radar : xr.Dataset
        Scene stack with `backscatter` on its own grid.
    geobox : GeoBox, optional
        Grid wanted; default the optical one.

    Returns
    -------
    xr.Dataset
        `features` (feature, y, x): the bands by name, `ndvi`, `mndwi` and `nbr` [1] where their bands are there, and
        the radar features; NaN in any one is kept, `complete` (y, x) tells where none is.

    Raises
    ------
    BadInputError
        `band_missing`, `crs_missing`, or `area_mismatch` where the two do not overlap.
    """
    target = geobox or grid.geobox_of(optical)
    statistics = grid.assign(xr.Dataset({"features": features(radar)}), grid.geobox_of(radar))
    names = [str(name) for name in optical["band"].values]
    view = grid.match(optical[["reflectance"]], target)["reflectance"].transpose("band", "y", "x").values
    heard = grid.match(statistics, target)["features"]
    layers = dict(zip(names, view, strict=True))
    for name, (first, second) in _INDICES.items():
        if {first, second} <= set(names):
            layers[name] = _normalized_difference(layers[first], layers[second])
    for name, layer in zip(statistics["feature"].values, heard.values, strict=True):
        layers[str(name)] = layer
    values = np.stack(list(layers.values())).astype(np.float32)
    complete = np.isfinite(values).all(axis=0)
    if not complete.any():
        raise BadInputError("area_mismatch", "no pixel is seen by both the optical and the radar sensor")
    result = xr.Dataset(
        {"features": (("feature", "y", "x"), values), "complete": (("y", "x"), complete)},
        coords={"feature": list(layers)},
    )
    return grid.assign(result, target)


_INDICES = {"ndvi": ("nir", "red"), "mndwi": ("green", "swir1"), "nbr": ("nir", "swir2")}


def _normalized_difference(first: SingleArray, second: SingleArray) -> SingleArray:
    total = first + second
    return np.asarray(np.divide(first - second, total, out=np.full_like(total, np.nan), where=np.abs(total) > 1e-6))


def _statistics(
    name: str, values: SingleArray, percentiles: tuple[float, ...], *, decibel: bool
) -> dict[str, SingleArray]:
    """Mean, coefficient of variation and percentiles over the dates (y, x), NaN where no date is."""
    seen = np.isfinite(values)
    count = np.maximum(seen.sum(axis=0), 1)
    empty = ~seen.any(axis=0)
    mean = np.where(seen, values, 0.0).sum(axis=0) / count
    mean = np.where(empty, np.nan, mean)
    variance = np.where(seen, (values - mean) ** 2, 0.0).sum(axis=0) / count
    filled = np.where(empty, np.float32(1.0), values)  # nanpercentile warns of columns without a number
    levels = np.where(empty, np.nan, np.nanpercentile(filled, percentiles, axis=0))
    layers = {f"{name}_mean": _told(mean, decibel=decibel), f"{name}_variation": np.sqrt(variance) / mean}
    return layers | {
        f"{name}_p{percentile:g}": _told(level, decibel=decibel)
        for percentile, level in zip(percentiles, levels, strict=True)
    }


def _told(values: SingleArray, *, decibel: bool) -> SingleArray:
    return np.asarray(10.0 * np.log10(values) if decibel else values)
