"""A profile in a few figures: where, when, how low, why it ends. What drawings of many profiles are made from."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from processors.arrays import FloatArray

EPOCH = np.datetime64("2000-01-01T00:00:00", "s")
TRACK_TOP = 60_000.0
TRACK_STEP = 2_500.0


class Sounding(NamedTuple):
    """A profile in short.

    Attributes
    ----------
    occultation_id : str
        Identity.
    time : np.datetime64
        Reference time, UTC.
    latitude, longitude : float
        Reference point [degree].
    setting : bool
        Whether the transmitter set.
    lowest_altitude : float
        Lowest altitude retrieved from the observation above the geoid [m], NaN where nothing was.
    truncation_reason : str
        Why the profile ends where it does, a word of the product's flag meanings.
    quality_flags : tuple of str
        Names of the flags raised.
    track : FloatArray
        Tangent points of the observed part up to 60 km: altitude [m], latitude and longitude [degree], shape (3, n).
    """

    occultation_id: str
    time: np.datetime64
    latitude: float
    longitude: float
    setting: bool
    lowest_altitude: float
    truncation_reason: str
    quality_flags: tuple[str, ...]
    track: FloatArray


def sounding_from_profile(profile: xr.Dataset) -> Sounding:
    """Take a profile's few figures.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset of `products.profile`, or one read back from its NetCDF.

    Returns
    -------
    Sounding
        The profile in short.

    Raises
    ------
    KeyError
        A variable is missing: this is no profile.
    """
    return Sounding(
        occultation_id=str(profile.attrs.get("id", "profile")),
        time=EPOCH + np.timedelta64(round(float(profile["reference_time"])), "s"),
        latitude=float(profile["reference_latitude"]),
        longitude=float(profile["reference_longitude"]),
        setting=bool(int(profile["setting"])),
        lowest_altitude=float(profile["lowest_altitude"]),
        truncation_reason=truncation_reason(profile),
        quality_flags=raised_flags(profile),
        track=_track(profile),
    )


def truncation_reason(profile: xr.Dataset) -> str:
    """Word for why a profile ends where it does.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    str
        One of the flag meanings of `truncation_reason`.
    """
    variable = profile["truncation_reason"]
    values = np.atleast_1d(variable.attrs.get("flag_values", [])).tolist()
    words = str(variable.attrs.get("flag_meanings", "")).split()
    meanings: dict[int, str] = dict(zip(values, words, strict=False))
    return meanings.get(int(variable), "unknown")


def raised_flags(profile: xr.Dataset) -> tuple[str, ...]:
    """Names of the quality flags raised.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    tuple of str
        Flag meanings of `quality_flag`, in their order.
    """
    variable = profile["quality_flag"]
    masks = np.atleast_1d(variable.attrs.get("flag_masks", [])).tolist()
    words = str(variable.attrs.get("flag_meanings", "")).split()
    return tuple(word for mask, word in zip(masks, words, strict=False) if int(variable) & mask)


def _track(profile: xr.Dataset) -> FloatArray:
    """Tangent points at equal steps of altitude; angles are interpolated across the date line."""
    altitude, north, east = (profile[name].to_numpy() for name in ("altitude", "latitude", "longitude"))
    lowest = float(profile["lowest_altitude"])
    known = np.isfinite(north) & np.isfinite(east) & (altitude <= TRACK_TOP) & (altitude >= lowest)
    if np.count_nonzero(known) < 2:
        return np.empty((3, 0))
    low, high = altitude[known][[0, -1]]
    steps = np.arange(0.0, high, TRACK_STEP)
    at = np.r_[low, steps[steps > low], high]
    unwrapped = np.interp(at, altitude[known], np.unwrap(east[known], period=360.0))
    return np.stack([at, np.interp(at, altitude[known], north[known]), (unwrapped + 180.0) % 360.0 - 180.0])
