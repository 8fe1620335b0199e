"""The record of an occultation without holes in time: lost samples as samples without phase."""

import numpy as np
import xarray as xr
from scipy.interpolate import CubicHermiteSpline

from processors.arrays import FloatArray

LONGEST_RECORD = 3_600.0


def complete(level1b: xr.Dataset) -> xr.Dataset:
    """Insert the samples that are missing between others.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B; a lost stretch may be a jump in time.

    Returns
    -------
    xr.Dataset
        The same with lost samples at their times: no phase, no strength, orbits by the cubic through the states beside.
    """
    time = level1b["time"].to_numpy()
    since = time - time[0]
    step = float(np.median(np.diff(since)))
    absent = np.round(np.diff(since) / step).astype(np.int64) - 1
    if not (absent > 0).any() or since[-1] > LONGEST_RECORD:
        return level1b
    before = np.repeat(np.arange(absent.size), np.maximum(absent, 0))
    number = np.arange(before.size) - np.searchsorted(before, before) + 1
    share = number / (absent[before] + 1)
    inserted = since[before] + share * (since[before + 1] - since[before])
    order = np.argsort(np.concatenate([since, inserted]), kind="stable")
    variables = {
        name: (level1b[name].dims, _filled(level1b, name, inserted)[..., order], level1b[name].attrs)
        for name in ("excess_phase", "snr")
    }
    for end in ("receiver", "transmitter"):
        position, velocity = (level1b[f"{end}_{part}"].to_numpy() for part in ("position", "velocity"))
        orbit = CubicHermiteSpline(since, position, velocity)
        for part, values, added in (
            ("position", position, orbit(inserted)),
            ("velocity", velocity, orbit(inserted, 1)),
        ):
            name = f"{end}_{part}"
            variables[name] = (level1b[name].dims, np.concatenate([values, added])[order], level1b[name].attrs)
    return xr.Dataset(
        variables | {"carrier_frequency": level1b["carrier_frequency"]},
        coords={"time": ("time", np.concatenate([time, time[0] + inserted])[order], level1b["time"].attrs)},
        attrs=level1b.attrs,
    )


def _filled(level1b: xr.Dataset, name: str, inserted: FloatArray) -> FloatArray:
    """Values with nothing for the inserted samples."""
    values = level1b[name].to_numpy()
    return np.concatenate([values, np.full((values.shape[0], inserted.size), np.nan)], axis=1)
