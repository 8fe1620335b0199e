"""Forward model of a year of optical and radar views of a landscape, month by month, with clouds and speckle.

The optical truth is `processors.simulation.scenes`'; the radar answer is written down here from cover and greenness
alone, so that an algorithm which predicts one from the other is tested against something it did not make.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray
from processors.imagery import grid, line_packet
from processors.simulation import scenes

CLOUD_REFLECTANCE = 0.6
OPTICAL_NOISE = 0.004
NUMBER_OF_LOOKS = 40
CLOUDY_MONTHS = 0.4
WATER_NIR = 0.06

# vv, vh of bare ground, and what full green cover adds; open water [dB]
_BARE = np.array([-13.0, -21.0])
_GREEN = np.array([2.5, 5.5])
_WATER = np.array([-20.0, -27.0])


class SimulatedSeries(NamedTuple):
    """A year of views, and the truth behind them.

    stack : scene stack of all dates, clouds as bright pixels where seen and no data where a date is missing;
    reflectance : cloud-free truth (time, band, y, x) [1];
    cloud : where a cloud stands in the way (time, y, x).
    """

    stack: xr.Dataset
    reflectance: FloatArray
    cloud: BoolArray


def simulate_series(
    landscape: scenes.Landscape,
    *,
    seed: int,
    geobox: GeoBox,
    times: Sequence[np.datetime64],
    missing: tuple[int, ...] = (),
) -> SimulatedSeries:
    """View a landscape once a month with an optical mission and a radar.

    Parameters
    ----------
    landscape : Landscape
        The landscape.
    seed : int
        Seed of clouds, noise and speckle.
    geobox : GeoBox
        Grid in EPSG:32648.
    times : sequence of np.datetime64
        Dates (UTC).
    missing : tuple of int
        Positions of dates without an optical view [1].

    Returns
    -------
    SimulatedSeries
        The same for the same arguments.
    """
    rng = np.random.default_rng([seed, 7])
    truth = np.stack([scenes.truth_on_grid(landscape, geobox, time=time, samples=2) for time in times])
    cloud = np.stack([_clouds(rng, truth.shape[-2:]) for _ in times])
    seen = truth + rng.normal(0.0, OPTICAL_NOISE, truth.shape)
    seen = np.where(cloud[:, None], CLOUD_REFLECTANCE + rng.normal(0.0, 0.02, seen.shape), seen)
    seen[list(missing)] = np.nan
    elevation = _hills(rng, truth.shape[-2:])
    stack = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), seen.astype(np.float32), {"units": "1"}),
            "backscatter": (
                ("time", "polarization", "y", "x"),
                _backscatter(truth, rng).astype(np.float32),
                {"units": "dB"},
            ),
            "elevation": (("y", "x"), elevation.astype(np.float32), {"units": "m"}),
        },
        coords={
            "time": np.array(times, dtype="datetime64[ns]"),
            "band": list(line_packet.BANDS),
            "polarization": ["vv", "vh"],
        },
        attrs={"source": f"simulated-series-{seed}", "sensor": "simulated optical and radar missions", "area": ""},
    )
    return SimulatedSeries(grid.assign(stack, geobox), truth, cloud)


def _clouds(rng: np.random.Generator, shape: tuple[int, ...]) -> BoolArray:
    """Blobs over a share of the scene that differs from month to month; many months are clear."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), 9.0, mode="wrap")
    share = rng.uniform(0.1, 0.55) * (rng.uniform() < CLOUDY_MONTHS)
    return np.asarray(field > np.quantile(field, 1.0 - share), dtype=np.bool_)


def _backscatter(truth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Radar answer (time, polarization, y, x) [dB] with multi-look speckle."""
    red, nir = truth[:, 2], truth[:, 3]
    green = np.clip((nir - red) / (nir + red) / 0.8, 0.0, 1.0)[:, None]
    land = _BARE[None, :, None, None] + _GREEN[None, :, None, None] * green
    mean = np.where((nir < WATER_NIR)[:, None], _WATER[None, :, None, None], land)
    speckle = rng.gamma(NUMBER_OF_LOOKS, 1.0 / NUMBER_OF_LOOKS, mean.shape)
    return np.asarray(mean + 10.0 * np.log10(speckle), dtype=np.float64)


def _hills(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return np.asarray(250.0 + 4000.0 * ndimage.gaussian_filter(rng.normal(size=shape), 20.0), dtype=np.float64)
