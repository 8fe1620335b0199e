"""Scenes of one area put where the clearest of them lies, each resampled once.

A displacement is taken back only where co-registration is certain of it and it is worth a resampling; a scene of which
nothing can be known (cloud, little texture) keeps the place its delivery states, and the record says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.warp
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.imagery import coregistration, grid

_BANDS = ("nir", "nir08", "red", "green")


@dataclass(frozen=True)
class RegistrationParameters:
    """Choices of the registration.

    Parameters
    ----------
    matching : coregistration.CoregistrationParameters
        How tie points are found and judged.
    smallest_shift : float
        Displacement below which a scene is left as it is [pixel].
    largest_shift : float
        Displacement beyond which a scene is not moved: its delivery is wrong, not inaccurate [pixel].
    bright : float
        Reflectance from which a pixel does not speak for a clear scene [1].
    smallest_side : int
        Rows or columns below which nothing is compared [pixel].
    """

    matching: coregistration.CoregistrationParameters = field(
        default_factory=lambda: coregistration.CoregistrationParameters(method="gradient", maximum_shift=16)
    )
    smallest_shift: float = 0.2
    largest_shift: float = 8.0
    bright: float = 0.3
    smallest_side: int = 64


class Record(NamedTuple):
    """What was found of one date."""

    time: str
    """Acquisition (UTC)."""
    status: str
    """`reference`, `moved`, `in_place`, `too_far` or `unknown`."""
    shift_x: float | None
    """Displacement to the right before the correction [pixel of the grid]."""
    shift_y: float | None
    """The same down [pixel of the grid]."""
    rmse: float | None
    """Residual of held-out tie points [pixel of the grid]."""
    reason: str
    """Why nothing is known; empty else."""


class Registered(NamedTuple):
    """Dates on one grid, and what was found of their place."""

    layers: list[xr.Dataset]
    """One scene stack a date, in the order of scenes and dates."""
    records: list[Record]
    """One for every layer."""


def register(
    scenes: Sequence[xr.Dataset], target: GeoBox, *, parameters: RegistrationParameters | None = None
) -> Registered:
    """Bring scenes onto a grid and onto each other.

    Parameters
    ----------
    scenes : Sequence[xr.Dataset]
        Scene stacks; the clearest date of the first counts as right.
    target : GeoBox
        The grid.
    parameters : RegistrationParameters, optional
        Choices.

    Returns
    -------
    Registered
        All dates on the grid, moved where a displacement was found.
    """
    chosen = parameters or RegistrationParameters()
    dates = [scene.isel(time=[index]) for scene in scenes for index in range(scene.sizes["time"])]
    layers = [grid.match(date, target) for date in dates]
    images = [_image(layer) for layer in layers]
    first = range(scenes[0].sizes["time"])
    lead = max(first, key=lambda index: (_clearness(layers[index], chosen), -index))
    records: list[Record] = []
    for index, image in enumerate(images):
        moment = f"{np.datetime_as_string(layers[index]['time'].values[0], unit='s')}Z"
        if index == lead:
            records.append(Record(moment, "reference", 0.0, 0.0, None, ""))
            continue
        record = _compared(images[lead], image, moment, chosen)
        records.append(record)
        if record.status == "moved" and record.shift_x is not None and record.shift_y is not None:
            layers[index] = grid.match(_displaced(dates[index], target, record.shift_x, record.shift_y), target)
    return Registered(layers, records)


def residual(records: Sequence[Record]) -> float:
    """Typical residual between the dates.

    Parameters
    ----------
    records : Sequence[Record]
        What was found.

    Returns
    -------
    float
        Median over the dates it is known of, 0 where it is known of none [pixel].
    """
    known = [record.rmse for record in records if record.rmse is not None]
    return float(np.median(known)) if known else 0.0


def _compared(
    reference: npt.NDArray[np.float32],
    image: npt.NDArray[np.float32],
    moment: str,
    parameters: RegistrationParameters,
) -> Record:
    if min(image.shape) < parameters.smallest_side:
        return Record(moment, "unknown", None, None, None, "the scene is too small to compare")
    found = coregistration.estimate_arrays(reference, image, parameters=parameters.matching)
    if found.status != "ok":
        return Record(moment, "unknown", None, None, None, found.reason)
    length = float(np.hypot(found.shift_x, found.shift_y))
    status = "in_place" if length < parameters.smallest_shift else "moved"
    if length > parameters.largest_shift:
        status = "too_far"
    return Record(moment, status, found.shift_x, found.shift_y, found.rmse, "")


def _displaced(scene: xr.Dataset, target: GeoBox, right: float, down: float) -> xr.Dataset:
    """The scene with its coordinates where its content is: the reprojection that follows is the only resampling."""
    bounds = target.boundingbox
    x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    there = x - right * float(target.transform.a), y - down * float(target.transform.e)
    own = grid.system(grid.geobox_of(scene)).to_wkt()
    xs, ys = rasterio.warp.transform(grid.system(target).to_wkt(), own, [x, there[0]], [y, there[1]])
    return scene.assign_coords(
        x=("x", scene["x"].values + (xs[1] - xs[0]), scene["x"].attrs),
        y=("y", scene["y"].values + (ys[1] - ys[0]), scene["y"].attrs),
    )


def _image(layer: xr.Dataset) -> npt.NDArray[np.float32]:
    names = [str(name) for name in layer["band"].values]
    band = next((name for name in _BANDS if name in names), names[0])
    values: npt.NDArray[Any] = layer["reflectance"].isel(time=0).sel(band=band).transpose("y", "x").values
    return np.ascontiguousarray(values, dtype=np.float32)


def _clearness(layer: xr.Dataset, parameters: RegistrationParameters) -> float:
    """Share of pixels that are seen and not bright."""
    values = layer["reflectance"].isel(time=0).transpose("band", "y", "x").values[0]
    return float(np.mean(np.isfinite(values) & (values < parameters.bright)))
