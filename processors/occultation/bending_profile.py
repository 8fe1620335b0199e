"""Bending profile of one occultation: where files without phases enter.

The contract (dimension impact, increasing):

* `impact_parameter` [m], `bending_angle` [rad] with the ionosphere removed; `bending_angle_l1`, `bending_angle_l2`,
  `bending_angle_optimized` [rad] and the tangent points `latitude`, `longitude` [degree], NaN where missing.
* attributes `level` (2a), `occultation_id`, `transmitter`, `receiver`, `mission`, `setting` (1 setting, 0 rising),
  `reference_time` [s since 1980-01-06, GPS], `reference_latitude`, `reference_longitude`, `azimuth` [degree],
  `radius_of_curvature`, `undulation` [m], `center_of_curvature` (xyz) [m, Earth-fixed; NaN if unknown],
  `carrier_frequency` of both signals [Hz], `processing_center`, `source_id`, `findings`.

The radius of a level is radius_of_curvature + undulation + altitude.
"""

from typing import Any

import numpy as np
import xarray as xr

from processors.arrays import BoolArray, FloatArray
from processors.occultation import level1b, record, signals
from processors.quality import BadInputError

VARIABLES = {
    "impact_parameter": "m",
    "bending_angle": "rad",
    "bending_angle_l1": "rad",
    "bending_angle_l2": "rad",
    "bending_angle_optimized": "rad",
    "latitude": "degree",
    "longitude": "degree",
}
SCALARS = (
    "occultation_id",
    "transmitter",
    "receiver",
    "mission",
    "setting",
    "reference_time",
    "reference_latitude",
    "reference_longitude",
    "azimuth",
    "radius_of_curvature",
    "undulation",
    "center_of_curvature",
    "carrier_frequency",
    "processing_center",
    "source_id",
)
RADII = (6.2e6, 6.6e6)
LARGEST_BENDING = 0.15
LARGEST_UNDULATION = 150.0
DISORDERED = 0.05
"""Share of levels out of order beyond which a profile is refused [1]."""
FEWEST = 20
"""Levels a profile needs [1]."""


def profile_from_record(rows: record.BendingRecord) -> xr.Dataset:
    """Bending profile of what a file holds.

    Parameters
    ----------
    rows : record.BendingRecord
        Bending angles in any order.

    Returns
    -------
    xr.Dataset
        Bending profile, from the lowest level up.

    Raises
    ------
    BadInputError
        `no_data`, `impact_irregular` and others of `require`.
    """
    kept = np.flatnonzero(np.isfinite(rows.impact_parameter) & _any_bending(rows))
    if kept.size < FEWEST:
        raise BadInputError("no_data", f"the profile has {kept.size} levels with bending angles")
    order, findings = _increasing(rows.impact_parameter, kept)
    start = float(rows.attributes["start"])
    attributes = {key: value for key, value in rows.attributes.items() if key != "start"}
    attributes["occultation_id"] = level1b.occultation_id(
        str(attributes["transmitter"]), str(attributes["receiver"]), start
    )
    values = {name: getattr(rows, name)[order] for name in VARIABLES}
    return assemble(values, attributes=attributes | findings)


def _any_bending(rows: record.BendingRecord) -> BoolArray:
    return np.asarray(np.isfinite(rows.bending_angle) | np.isfinite(rows.bending_angle_optimized))


def _increasing(impact: FloatArray, kept: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Levels from the lowest up; those that repeat or run against the rest are left out."""
    up = impact[kept[-1]] > impact[kept[0]]
    order = kept if up else kept[::-1]
    highest = np.maximum.accumulate(impact[order])
    advancing = np.concatenate([[True], impact[order][1:] > highest[:-1]])
    dropped = int(np.count_nonzero(~advancing))
    if dropped > DISORDERED * order.size:
        raise BadInputError(
            "impact_irregular", f"{dropped} of {order.size} impact parameters repeat or run against the others"
        )
    return order[advancing], {"findings": "levels_dropped", "levels_dropped": dropped} if dropped else {}


def assemble(values: dict[str, FloatArray], *, attributes: dict[str, Any]) -> xr.Dataset:
    """Build and check a bending profile.

    Parameters
    ----------
    values : dict
        The variables of the contract [m], [rad] and [degree], each of shape (impact,).
    attributes : dict
        The attributes of the contract.

    Returns
    -------
    xr.Dataset
        Bending profile.

    Raises
    ------
    BadInputError
        Where the result breaks the contract.
    """
    dataset = xr.Dataset(
        {
            name: ("impact", np.asarray(values[name], dtype=np.float64), {"units": unit})
            for name, unit in VARIABLES.items()
            if name in values
        },
        attrs={"level": "2a", **attributes},
    )
    return require(dataset)


def require(dataset: xr.Dataset) -> xr.Dataset:
    """Refuse a dataset that breaks the contract.

    Parameters
    ----------
    dataset : xr.Dataset
        Candidate.

    Returns
    -------
    xr.Dataset
        The same dataset.

    Raises
    ------
    BadInputError
        `not_bending_profile`, `impact_irregular`, `radius_implausible`, `bending_implausible`, `no_data` or
        `frequency_implausible`.
    """
    absent = [name for name in VARIABLES if name not in dataset.variables]
    absent += [name for name in SCALARS if name not in dataset.attrs]
    if absent:
        raise BadInputError("not_bending_profile", f"the bending profile lacks {', '.join(absent)}")
    _require_radii(dataset)
    _require_bending(dataset)
    signals.require_pair(np.asarray(dataset.attrs["carrier_frequency"]), transmitter=str(dataset.attrs["transmitter"]))
    return dataset


def _require_radii(dataset: xr.Dataset) -> None:
    """Impact parameters and radii of the Earth's size, in metres."""
    impact = dataset["impact_parameter"].to_numpy()
    if impact.size < FEWEST or not (np.diff(impact) > 0.0).all():
        raise BadInputError("impact_irregular", f"the {impact.size} impact parameters do not increase")
    radius, undulation = float(dataset.attrs["radius_of_curvature"]), float(dataset.attrs["undulation"])
    for name, low, high in (
        ("radius_of_curvature", radius, radius),
        ("impact_parameter", float(impact[0]), float(impact[-1])),
    ):
        if not (RADII[0] < low and high < RADII[1]):
            raise BadInputError("radius_implausible", f"{name} is {low:.7g} to {high:.7g} m, no radius of the Earth")
    if not abs(undulation) < LARGEST_UNDULATION:
        raise BadInputError("radius_implausible", f"undulation is {undulation:.4g} m, beyond any geoid")


def _require_bending(dataset: xr.Dataset) -> None:
    """Bending angles in radians that grow downward."""
    bending = dataset["bending_angle"].to_numpy()
    if not np.isfinite(bending).any():
        bending = dataset["bending_angle_optimized"].to_numpy()
    known = bending[np.isfinite(bending)]
    if known.size < FEWEST:
        raise BadInputError("no_data", f"bending_angle has {known.size} values")
    if np.abs(known).max() > LARGEST_BENDING:
        raise BadInputError(
            "bending_implausible",
            f"bending_angle reaches {np.abs(known).max():.3g} rad, more than any atmosphere bends: is it in degrees?",
        )
    lowest, highest = (float(np.median(part)) for part in (known[:FEWEST], known[-FEWEST:]))
    if not lowest > abs(highest):
        raise BadInputError(
            "bending_implausible",
            f"bending_angle is {lowest:.3g} rad at the bottom and {highest:.3g} rad at the top: it does not fall"
            " with height",
        )
