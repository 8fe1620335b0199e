"""Fires from pixels that burn: neighbors belong together, and what a fire sheds on pixels beside it counts with it.

A fire smaller than a pixel lights several, for the response of a sensor is wider than its pixel. The power of an event
is the sum over its pixels and over neighbors whose excess is above the noise. Pixels are joined in order of falling
strength; two summits remain two fires where the lowest pixel between them is far below the lesser one.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.arrays import BoolArray, FloatArray, IntArray

_MEASURED = ("t4", "t11", "excess", "excess_sigma", "power_excess", "power_sigma")


@dataclass(frozen=True, kw_only=True)
class FireEventParameters:
    """How pixels make a fire.

    Parameters
    ----------
    saddle : float
        Share of the lesser summit below which the pixel between two summits parts them [1].
    neighbor_significance : float
        Standard deviations above the background from which the excess of a neighbor counts [1].
    reach : int
        Distance of such neighbors in the band that detects [pixel].
    power_reach : int
        Distance of such neighbors in the band for power, whose pixels may be larger [pixel].
    common_share : float
        Share of the background's standard deviation that all pixels of an event have in common [1].
    """

    saddle: float = 0.5
    neighbor_significance: float = 2.0
    reach: int = 1
    power_reach: int = 3
    common_share: float = 0.3


class FirePixels(NamedTuple):
    """Pixels that burn and those around them, one an entry."""

    row: IntArray
    """Row in the scene [pixel]."""
    column: IntArray
    """Column in the scene [pixel]."""
    burning: BoolArray
    """Whether the pixel itself burns."""
    t4: FloatArray
    """Brightness temperature near 4 um [K]."""
    t11: FloatArray
    """Brightness temperature near 11 um [K]."""
    excess: FloatArray
    """Radiance near 4 um above the background [W m-2 sr-1 um-1]."""
    excess_sigma: FloatArray
    """Its standard deviation [W m-2 sr-1 um-1]."""
    power_excess: FloatArray
    """The same in the band for power [W m-2 sr-1 um-1], NaN without it."""
    power_sigma: FloatArray
    """Its standard deviation [W m-2 sr-1 um-1]."""
    saturated: BoolArray
    """Whether the radiance near 4 um is a lower limit."""
    confidence: IntArray
    """1 low, 2 nominal, 3 high [1]."""


class PowerScale(NamedTuple):
    """From radiance to power."""

    detecting: float
    """Of the band that detects [MW W-1 m2 sr um]."""
    power: float
    """Of the band for power [MW W-1 m2 sr um]."""
    spread: float
    """Relative standard deviation for not knowing the temperature of the fire [1]."""


class FireEvents(NamedTuple):
    """Fires, one an entry."""

    row: FloatArray
    """Row of the center of radiance, whole numbers at pixel centers [pixel]."""
    column: FloatArray
    """Column of the center of radiance [pixel]."""
    peak_row: IntArray
    """Row of the strongest pixel [pixel]."""
    peak_column: IntArray
    """Column of the strongest pixel [pixel]."""
    pixels: IntArray
    """Number of pixels that burn [1]."""
    t4: FloatArray
    """Highest brightness temperature near 4 um [K]."""
    t11: FloatArray
    """Brightness temperature near 11 um of the strongest pixel [K]."""
    power: FloatArray
    """Radiative power [MW]."""
    power_sigma: FloatArray
    """Its standard deviation [MW]."""
    lower_limit: BoolArray
    """Whether the power is only a lower limit, for the band is saturated."""
    confidence: IntArray
    """Highest confidence of the pixels [1]."""
    label: IntArray
    """Event of every pixel that was given, -1 where it belongs to none [1]."""


def assemble(pixels: FirePixels, *, scale: PowerScale, parameters: FireEventParameters | None = None) -> FireEvents:
    """Join pixels to fires and sum their power.

    Parameters
    ----------
    pixels : FirePixels
        Pixels that burn and those around them, in any order.
    scale : PowerScale
        From radiance to power.
    parameters : FireEventParameters, optional
        How pixels make a fire.

    Returns
    -------
    FireEvents
        Fires in reading order of their strongest pixels.
    """
    chosen = parameters or FireEventParameters()
    by_power = np.isfinite(pixels.power_excess)
    strength = np.nan_to_num(np.where(by_power, pixels.power_excess, pixels.excess))
    own = _basins(pixels, strength, chosen.saddle)
    label = _with_neighbors(pixels, own, strength, chosen.power_reach)
    number = int(own.max(initial=-1)) + 1
    rows = [_event(pixels, own, label, event, scale, chosen) for event in range(number)]
    table = np.array(rows, dtype=np.float64).reshape(number, 11)
    whole = table[:, [2, 3, 4, 10]].astype(np.int64)
    return FireEvents(
        table[:, 0], table[:, 1], whole[:, 0], whole[:, 1], whole[:, 2], table[:, 5], table[:, 6], table[:, 7],
        table[:, 8], table[:, 9] > 0.0, whole[:, 3], own,
    )  # fmt: skip


def _basins(pixels: FirePixels, strength: FloatArray, saddle: float) -> IntArray:
    """Label of every burning pixel, by flooding from the summits down; -1 elsewhere."""
    burning = np.flatnonzero(pixels.burning)
    order = burning[np.lexsort((pixels.column[burning], pixels.row[burning], -strength[burning]))]
    place = {(int(pixels.row[k]), int(pixels.column[k])): int(k) for k in burning}
    root: dict[int, int] = {}

    def summit(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    for k in order.tolist():
        found = sorted({summit(j) for j in _beside(place, pixels, k) if j in root}, key=lambda j: -strength[j])
        root[k] = found[0] if found else k
        for lesser in found[1:]:
            if strength[k] >= saddle * strength[lesser]:
                root[lesser] = found[0]
    label = np.full(len(pixels.row), -1, dtype=np.int64)
    summits = {k: summit(k) for k in root}
    ranked = sorted(set(summits.values()), key=lambda k: (pixels.row[k], pixels.column[k]))
    rank = {k: number for number, k in enumerate(ranked)}
    for k, top in summits.items():
        label[k] = rank[top]
    return label


def _beside(place: dict[tuple[int, int], int], pixels: FirePixels, k: int) -> list[int]:
    row, column = int(pixels.row[k]), int(pixels.column[k])
    steps = ((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
    return [place[row + i, column + j] for i, j in steps if (row + i, column + j) in place]


def _with_neighbors(pixels: FirePixels, own: IntArray, strength: FloatArray, reach: int) -> IntArray:
    """Nearest event of every pixel within reach, the stronger where two are as near."""
    label = own.copy()
    place = {(int(pixels.row[k]), int(pixels.column[k])): int(k) for k in np.flatnonzero(own >= 0)}
    steps = sorted(
        ((i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)),
        key=lambda step: step[0] ** 2 + step[1] ** 2,
    )
    for k in np.flatnonzero(own < 0).tolist():
        row, column = int(pixels.row[k]), int(pixels.column[k])
        best, best_key = -1, (1 << 30, 0.0)
        for i, j in steps:
            fire = place.get((row + i, column + j))
            if fire is None:
                continue
            key = (i * i + j * j, -float(strength[fire]))
            if key >= best_key:
                if key[0] > best_key[0]:
                    break
                continue
            best, best_key = int(own[fire]), key
        label[k] = best
    return label


def _event(
    pixels: FirePixels, own: IntArray, label: IntArray, event: int, scale: PowerScale, chosen: FireEventParameters
) -> tuple[float, ...]:
    core = np.flatnonzero(own == event)
    around = np.flatnonzero((label == event) & (own < 0))
    saturated = bool(pixels.saturated[core].any())
    measured = bool(np.isfinite(pixels.power_excess[core]).all())
    by_power = saturated and measured
    excess, sigma = (pixels.power_excess, pixels.power_sigma) if by_power else (pixels.excess, pixels.excess_sigma)
    near = _near(pixels, core, around, chosen.power_reach if by_power else chosen.reach)
    counted = near[excess[near] > chosen.neighbor_significance * sigma[near]]
    members = np.concatenate([core, counted])
    weight = np.nan_to_num(np.maximum(excess[members], 0.0))
    # A pixel without background has no excess: the others give a lower limit; without any the power is not known.
    unknown = ~np.isfinite(excess[members])
    total = math.nan if unknown.all() else float(np.nansum(excess[members]))
    common = chosen.common_share * float(np.nansum(sigma[members]))
    factor = scale.power if by_power else scale.detecting
    power = total * factor if math.isnan(total) else max(total * factor, 0.0)
    doubt = float(
        np.sqrt(
            (factor * common) ** 2 + factor**2 * float(np.nansum(sigma[members] ** 2)) + (scale.spread * power) ** 2
        )
    )
    limited = (saturated and not by_power) or bool(unknown.any())
    strongest = core[np.argmax(np.where(np.isfinite(excess[core]), excess[core], -np.inf))]
    spread = weight if weight.sum() > 0.0 else np.ones(len(members))
    return (
        float(np.average(pixels.row[members], weights=spread)),
        float(np.average(pixels.column[members], weights=spread)),
        float(pixels.row[strongest]),
        float(pixels.column[strongest]),
        float(len(core)),
        float(np.fmax.reduce(pixels.t4[core])),
        float(pixels.t11[strongest]),
        power,
        max(doubt, power) if limited else doubt,
        float(limited),
        float(pixels.confidence[core].max()),
    )


def _near(
    pixels: FirePixels, core: npt.NDArray[np.intp], around: npt.NDArray[np.intp], reach: int
) -> npt.NDArray[np.intp]:
    """Those around the core that are within reach of one of its pixels."""
    if not len(around):
        return around
    rows = np.abs(pixels.row[around][:, None] - pixels.row[core][None])
    columns = np.abs(pixels.column[around][:, None] - pixels.column[core][None])
    near: npt.NDArray[np.intp] = around[(np.maximum(rows, columns) <= reach).any(axis=1)]
    return near


def pixels_of(field_layers: dict[str, npt.NDArray[np.generic]], *, offset: tuple[int, int] = (0, 0)) -> FirePixels:
    """Pixels that burn and those around them, from layers.

    Parameters
    ----------
    field_layers : dict
        Layers (y, x) by the names of `FirePixels` but row and column; `excess` is NaN away from fires.
    offset : tuple of int
        Row and column of the first pixel in the scene [pixel].

    Returns
    -------
    FirePixels
        One entry a pixel.
    """
    wanted = np.isfinite(field_layers["excess"]) | field_layers["burning"].astype(bool)
    at = np.nonzero(wanted)
    column: dict[str, Any] = {name: layer[at] for name, layer in field_layers.items()}
    values: list[Any] = [column[name].astype(np.float64) for name in _MEASURED]
    values += [column["saturated"].astype(bool), column["confidence"].astype(np.int64)]
    return FirePixels(
        at[0].astype(np.int64) + offset[0],
        at[1].astype(np.int64) + offset[1],
        column["burning"].astype(bool),
        *values,
    )
