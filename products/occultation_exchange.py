"""What the exchange formats of occultation profiles share: names of receivers, quality bits, times, levels."""

import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import yaml

from processors.arrays import FloatArray

TABLE = "occultation_exchange.yaml"
NON_NOMINAL, OFFLINE, RISING = 1, 2, 3
PROCESSING = frozenset({4, 5, 6, 7, 14})
NO_SUPER_REFRACTION = -1000.0


class Encoded(NamedTuple):
    """A profile in an exchange format.

    Attributes
    ----------
    content : bytes
        The whole file or message.
    outside : Mapping[str, int]
        By field of the format, how many values its range cannot hold and were therefore set missing [1].
    """

    content: bytes
    outside: Mapping[str, int]


class Receiver(NamedTuple):
    """What others call the receiving satellite.

    Attributes
    ----------
    satellite : int or None
        WMO common code table C-5; None where the table knows none.
    instrument : int or None
        WMO common code table C-8.
    ropp : str
        Four characters.
    mission : str
        Mission, AWS.
    leo : str
        Satellite, AWS.
    """

    satellite: int | None
    instrument: int | None
    ropp: str
    mission: str
    leo: str


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("products").joinpath(TABLE).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def receiver(profile: xr.Dataset) -> Receiver:
    """Names of the receiver of a profile in other conventions.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    Receiver
        Row of the table by the receiver's name, else by the mission's; what no row knows follows from our own names.
    """
    name, mission = (re.sub("[^a-z0-9]", "", str(profile.attrs[key]).lower()) for key in ("receiver", "mission"))
    rows = _table()["receivers"]
    row: dict[str, Any] = next((row for wanted in (name, mission) for row in rows if wanted in row["names"]), {})
    return Receiver(
        satellite=row.get("satellite"),
        instrument=row.get("instrument"),
        ropp=row.get("ropp") or name.upper()[:4],
        mission=row.get("mission") or mission,
        leo=row.get("leo") or name,
    )


def quality_bits(profile: xr.Dataset, *, offline: bool = False) -> frozenset[int]:
    """Bits of WMO flag table 0 33 039 a profile raises.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.
    offline : bool
        Whether the product is not near real time.

    Returns
    -------
    frozenset[int]
        Numbers of the bits, 1 the most significant of 16 [1]. A flag the table does not know makes the whole profile
        non-nominal.
    """
    value, attributes = int(profile["quality_flag"]), profile["quality_flag"].attrs
    masks = (int(mask) for mask in np.atleast_1d(attributes["flag_masks"]))
    raised = (name for name, mask in zip(str(attributes["flag_meanings"]).split(), masks, strict=True) if value & mask)
    bits = {bit for name in raised for bit in _table()["quality"].get(name, [NON_NOMINAL])}
    return frozenset(bits | ({OFFLINE} if offline else set()) | ({RISING} if not int(profile["setting"]) else set()))


def confidence(bits: frozenset[int]) -> float:
    """Confidence in a profile with these quality bits.

    Parameters
    ----------
    bits : frozenset[int]
        Raised bits [1].

    Returns
    -------
    float
        0 where the profile is non-nominal as a whole, 50 where one of its steps is, else 100 [percent].
    """
    if NON_NOMINAL in bits:
        return 0.0
    return 50.0 if bits & PROCESSING else 100.0


def start_time(profile: xr.Dataset) -> np.datetime64:
    """UTC start of the record, to the second the product states.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    np.datetime64
        Start, in nanoseconds.
    """
    return np.datetime64(str(profile.attrs["time_coverage_start"]).removesuffix("Z"), "ns")


def reference_time(profile: xr.Dataset) -> np.datetime64:
    """UTC of the reference point.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset, whose `reference_time` counts UTC seconds since 2000-01-01.

    Returns
    -------
    np.datetime64
        Moment, in nanoseconds.
    """
    nanoseconds = round(float(profile["reference_time"]) * 1e9)
    return np.datetime64("2000-01-01", "ns") + np.timedelta64(nanoseconds, "ns")


def impact_of_levels(profile: xr.Dataset) -> FloatArray:
    """Impact parameter of the ray that touches each altitude.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    FloatArray
        Refractive index times distance from the centre of curvature [m], on the dimension height (Bouguer's rule).
    """
    distance = profile["altitude"] + profile["radius_of_curvature"] + profile["undulation"]
    return np.asarray(((1.0 + 1e-6 * profile["refractivity"]) * distance).to_numpy(), dtype=np.float64)


def at(wanted: FloatArray, known_at: FloatArray, values: FloatArray, *, period: float | None = None) -> FloatArray:
    """Values at other impact parameters; missing beyond the known ones.

    Parameters
    ----------
    wanted : FloatArray
        Impact parameters asked for [m].
    known_at : FloatArray
        Impact parameters of the values [m].
    values : FloatArray
        Values, any unit [1]; missing ones are skipped.
    period : float, optional
        Period of an angle [degree]; the result is then within half a period of zero.

    Returns
    -------
    FloatArray
        Linear interpolation, any unit [1].
    """
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(known_at))
    if not known.size:
        return np.full(wanted.shape, np.nan)
    order = known[np.argsort(known_at[known], kind="stable")]
    place = known_at[order]
    ordered = values[order] if period is None else np.unwrap(values[order], period=period)
    # half a metre forgives rounding at the ends
    inside = (wanted >= place[0] - 0.5) & (wanted <= place[-1] + 0.5)
    found = np.where(inside, np.interp(wanted, place, ordered), np.nan)
    return found if period is None else (found + period / 2.0) % period - period / 2.0


def super_refraction_altitude(profile: xr.Dataset) -> float:
    """Altitude below which the refractivity is biased by super-refraction.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    float
        Top of the highest layer that traps rays [m]; -1000 where there is none.
    """
    altitude = float(profile["super_refraction_altitude"])
    return altitude if np.isfinite(altitude) else NO_SUPER_REFRACTION


def merged_confidence(profile: xr.Dataset, bits: frozenset[int]) -> FloatArray:
    """Confidence in the optimized bending angle of each level.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.
    bits : frozenset[int]
        Quality bits of the profile [1].

    Returns
    -------
    FloatArray
        Confidence in the profile times the weight of the observation [percent]; missing where another centre merged the
        observation with its background by a weight it does not state, unless the whole profile deserves none.
    """
    whole, weight = confidence(bits), profile["observation_weight"].to_numpy()
    return np.asarray(whole * weight if whole else np.zeros(weight.shape), dtype=np.float64)


def given_by(profile: xr.Dataset) -> str | None:
    """Who made the bending angle of a profile that did not begin with phases.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    str or None
        Name of the centre; None where the bending angle is ours.
    """
    found = re.fullmatch("bending angle as given by (.+)", str(profile.attrs.get("bending_method", "")))
    return found and found[1]


def refractivity_confidence(profile: xr.Dataset, bits: frozenset[int]) -> FloatArray:
    """Confidence in the refractivity of each level.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.
    bits : frozenset[int]
        Quality bits of the profile [1].

    Returns
    -------
    FloatArray
        `merged_confidence` at each altitude, 0 on the levels whose refractivity the product marks as biased [percent].
    """
    rays = profile["impact_parameter"].to_numpy()
    trust = at(impact_of_levels(profile), rays, merged_confidence(profile, bits))
    return np.where(profile["refractivity_flag"].to_numpy() != 0, 0.0, trust)


def within(
    fields: Mapping[str, FloatArray], ranges: Mapping[str, tuple[float, float]]
) -> tuple[dict[str, FloatArray], dict[str, int]]:
    """Set what a format cannot hold missing, and count it.

    Parameters
    ----------
    fields : Mapping[str, FloatArray]
        Values by field [1].
    ranges : Mapping[str, tuple[float, float]]
        Lowest and highest value by field, same units [1]; fields without one are not limited.

    Returns
    -------
    kept : dict[str, FloatArray]
        Values, NaN where outside [1].
    outside : dict[str, int]
        Number of such values by field, fields without any left out [1].
    """
    kept, outside = {}, {}
    for name, values in fields.items():
        low, high = ranges.get(name, (-np.inf, np.inf))
        beyond = (values < low) | (values > high)
        kept[name] = np.where(beyond, np.nan, values)
        if beyond.any():
            outside[name] = int(beyond.sum())
    return kept, outside
