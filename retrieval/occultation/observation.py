"""From level 1B to the observed bending of an event on levels: both signals, and without ionosphere."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import (
    bridging,
    geometric_optics,
    georeference,
    ionosphere,
    signal_bending,
    truncation,
    wave_optics,
)
from retrieval.occultation.truncation import TruncationReason

STRONG = 0.1
"""Share of the unobstructed strength that a signal in the shadow does not reach [1]."""


@dataclass(frozen=True)
class LevelParameters:
    """Levels in impact height: spacing that grows with the height, as the resolution coarsens.

    Attributes
    ----------
    bottom, top : float
        Lowest and highest impact height [m].
    fine, usual, wide, coarse : float
        Spacing of the levels [m].
    fine_top, usual_top, wide_top : float
        Impact heights at which the spacing changes [m].
    """

    bottom: float = 1_000.0
    top: float = 150_000.0
    fine: float = 50.0
    usual: float = 100.0
    wide: float = 200.0
    coarse: float = 500.0
    fine_top: float = 10_000.0
    usual_top: float = 40_000.0
    wide_top: float = 60_000.0


@dataclass(frozen=True)
class MultipathParameters:
    """What geometric optics takes for crossing rays.

    Attributes
    ----------
    tolerance : float
        Rise of the impact parameter against the motion that counts as crossing rays [m].
    ceiling : float
        Impact height above which rays do not cross [m].
    """

    tolerance: float = 150.0
    ceiling: float = 15_000.0


@dataclass(frozen=True)
class ObservationParameters:
    """Parameters of the steps from phase to corrected bending."""

    levels: LevelParameters
    doppler: geometric_optics.DopplerFilter
    waves: wave_optics.WaveOpticsParameters
    blend: signal_bending.BlendParameters
    signal_loss: truncation.TruncationParameters
    ionospheric_correction: ionosphere.IonosphereParameters
    gaps: bridging.BridgingParameters
    multipath: MultipathParameters


class ObservedBending(NamedTuple):
    """Bending of an event on levels, from the lowest observed one upward.

    Attributes
    ----------
    impact_parameter : FloatArray
        Levels [m], increasing, shape (m,).
    signals : tuple[signal_bending.SignalBending, signal_bending.SignalBending]
        Both signals.
    correction : ionosphere.IonosphereCorrection
        Bending without ionosphere and how it was found.
    tangent : FloatArray
        Earth-fixed tangent points [m], shape (m, 3).
    sinking_rate : FloatArray
        Rate at which the impact parameter sinks, by level [m s-1].
    multipath_top : float
        Impact parameter below which rays cross [m], NaN where none do.
    missing : float
        Fraction of missing samples above the bottom [1].
    strength_known : bool
        Whether the record holds signal strengths.
    reason : truncation.TruncationReason
        Why the observation ends.
    """

    impact_parameter: FloatArray
    signals: tuple[signal_bending.SignalBending, signal_bending.SignalBending]
    correction: ionosphere.IonosphereCorrection
    tangent: FloatArray
    sinking_rate: FloatArray
    multipath_top: float
    missing: float
    strength_known: bool
    reason: truncation.TruncationReason


def levels(radius: float, *, parameters: LevelParameters) -> FloatArray:
    """Levels at round impact heights.

    Parameters
    ----------
    radius : float
        Radius of curvature [m].
    parameters : LevelParameters
        Spacing.

    Returns
    -------
    FloatArray
        Impact parameters [m], increasing.
    """
    p = parameters
    parts = [
        np.arange(p.bottom, p.fine_top, p.fine),
        np.arange(p.fine_top, p.usual_top, p.usual),
        np.arange(p.usual_top, p.wide_top, p.wide),
        np.arange(p.wide_top, p.top + 0.5 * p.coarse, p.coarse),
    ]
    return np.asarray(radius + np.concatenate(parts))


def observe(
    level1b: xr.Dataset, *, reference: georeference.Reference, parameters: ObservationParameters
) -> ObservedBending:
    """Bending of both signals and without ionosphere.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.
    reference : georeference.Reference
        Reference point.
    parameters : ObservationParameters
        Parameters of the steps.

    Returns
    -------
    ObservedBending
        On levels from the lowest observed one to the top of the grid.
    """
    grid = levels(reference.radius, parameters=parameters.levels)
    of = signal_bending.rays(level1b, reference=reference, levels=grid, waves=parameters.waves, blend=parameters.blend)
    usable = _usable_samples(level1b, heights=of.heights, parameters=parameters.signal_loss)
    first = _signal(level1b, 0, usable=usable[0], of=of, levels=grid, parameters=parameters)
    second = _signal(level1b, 1, usable=usable[1], of=of, levels=grid, parameters=parameters, at_least=first.wave_width)
    # The difference is of one resolution, else the fine structure of the air would look like ionosphere.
    matched = signal_bending.at_width(first, of=of, levels=grid, width=second.wave_width)
    # The first by a window that does not reach into the shadow; the correction guards against that of the second.
    first = first._replace(bending_angle=_lit(first, grid, beyond=first.wave_width))
    second = second._replace(bending_angle=_lit(second, grid))
    correction = ionosphere.correct(
        first.bending_angle,
        difference=matched - second.bending_angle,
        impact_parameter=grid,
        radius=reference.radius,
        frequency=level1b["carrier_frequency"].to_numpy(),
        second_border=second.border,
        parameters=parameters.ionospheric_correction,
    )
    bottom = _bottom(first.bending_angle, height=grid - reference.radius, parameters=parameters.gaps)
    time = level1b["time"].to_numpy()
    points = georeference.tangent_points(first.samples, arc=of.arc, time=time, reference=reference)
    kept = usable[0].usable
    return from_level(
        ObservedBending(
            impact_parameter=grid,
            signals=(first, second),
            correction=correction,
            tangent=_tangent_on_levels(points, at=first.samples.impact_parameter, levels=grid),
            sinking_rate=of.sinking_rate,
            multipath_top=_multipath_top(first, heights=of.heights, radius=reference.radius, rule=parameters.multipath),
            missing=_missing_fraction(level1b["excess_phase"].to_numpy()[0][kept], time=time[kept]),
            strength_known=bool((np.nan_to_num(level1b["snr"].to_numpy()[:2]) > 0.0).any(axis=1).all()),
            reason=_reason(
                first,
                corrected=correction.bending_angle,
                levels=grid,
                bottom=bottom,
                cut=_cut_by_gap(level1b, usable=kept, heights=of.heights, bending=first.samples),
                lost=usable[0].lost,
                strong=_strong_at_end(level1b["snr"].to_numpy()[0], heights=of.heights, time=time),
            ),
        ),
        bottom,
    )


def _signal(
    level1b: xr.Dataset,
    index: int,
    *,
    usable: truncation.UsableSamples,
    of: signal_bending.Rays,
    levels: FloatArray,
    parameters: ObservationParameters,
    at_least: FloatArray | float = 0.0,
) -> signal_bending.SignalBending:
    """Bending of one signal."""
    return signal_bending.bending(
        level1b,
        index,
        usable=usable.usable,
        of=of,
        levels=levels,
        doppler=parameters.doppler,
        at_least=at_least,
    )


def from_level(observed: ObservedBending, start: int) -> ObservedBending:
    """The same without the levels below one.

    Parameters
    ----------
    observed : ObservedBending
        Observation.
    start : int
        Index of the level that becomes the lowest [1].

    Returns
    -------
    ObservedBending
        Every profile cut; no correction looks below its bottom.
    """
    first, second = (
        signal._replace(**{name: getattr(signal, name)[start:] for name in signal_bending.BY_LEVEL})
        for signal in observed.signals
    )
    correction = observed.correction
    return observed._replace(
        impact_parameter=observed.impact_parameter[start:],
        signals=(first, second),
        correction=correction._replace(
            bending_angle=correction.bending_angle[start:],
            difference=correction.difference[start:],
            smoother=correction.smoother[start:, start:],
            extrapolated=correction.extrapolated[start:],
            systematic=correction.systematic[start:],
        ),
        tangent=observed.tangent[start:],
        sinking_rate=observed.sinking_rate[start:],
    )


def _lit(signal: signal_bending.SignalBending, grid: FloatArray, beyond: FloatArray | float = 0.0) -> FloatArray:
    """Bending from so far beyond the shadow border upward [rad]."""
    border = signal.border + np.nan_to_num(beyond) if np.isfinite(signal.border) else -np.inf
    return np.asarray(np.where(grid >= border, signal.bending_angle, np.nan))


def _usable_samples(
    level1b: xr.Dataset, *, heights: FloatArray, parameters: truncation.TruncationParameters
) -> tuple[truncation.UsableSamples, truncation.UsableSamples]:
    """Samples of both signals above their loss."""
    snr = level1b["snr"].to_numpy()
    first, second = (
        truncation.above_loss(
            snr[index], heights=heights, time=level1b["time"].to_numpy(), fraction=fraction, parameters=parameters
        )
        for index, fraction in enumerate((parameters.first_fraction, parameters.second_fraction))
    )
    return first, truncation.UsableSamples(second.usable & first.usable, second.lost)


def _bottom(bending: FloatArray, *, height: FloatArray, parameters: bridging.BridgingParameters) -> int:
    """Lowest level of the stretch that is worth most."""
    found = bridging.stretches(bending, impact_height=height, parameters=parameters)
    kept = bridging.most_informative(found, impact_height=height, parameters=parameters)
    return kept.start if kept else 0


def _multipath_top(
    first: signal_bending.SignalBending, *, heights: FloatArray, radius: float, rule: MultipathParameters
) -> float:
    """Impact parameter below which rays of the first signal cross, or may cross unseen in a gap [m]."""
    top = geometric_optics.multipath_top(
        first.samples, heights=heights, tolerance=rule.tolerance, ceiling=radius + rule.ceiling
    )
    return geometric_optics.beyond_gap(top, gaps=first.gaps)


def _cut_by_gap(
    level1b: xr.Dataset, *, usable: BoolArray, heights: FloatArray, bending: geometric_optics.BendingAngle
) -> bool:
    """Whether phases below the lowest ray were too few between gaps to tell a Doppler from."""
    present = usable & np.isfinite(level1b["excess_phase"].to_numpy()[0])
    phases, rays = heights[present], heights[np.isfinite(bending.impact_parameter)]
    holes = heights[~present & (heights > phases.min(initial=np.inf))]
    return bool(rays.size and holes.size and holes.min() < rays.min())


def _reason(
    first: signal_bending.SignalBending,
    *,
    corrected: FloatArray,
    levels: FloatArray,
    bottom: int,
    cut: bool,
    lost: bool,
    strong: bool,
) -> TruncationReason:
    """Why the observation ends."""
    present = np.isfinite(corrected)
    if not present.any():
        return TruncationReason.NOTHING_RETRIEVED
    if cut or present[:bottom].any():
        return TruncationReason.DATA_GAP
    if strong and not lost:
        return TruncationReason.RECORD_END
    if (
        np.isfinite(first.border)
        and first.border > levels[0]
        and levels[bottom] <= first.border + 2.0 * np.nan_to_num(first.wave_width[bottom])
    ):
        return TruncationReason.SHADOW_BORDER
    return TruncationReason.SIGNAL_LOST if lost else TruncationReason.RECORD_END


def _strong_at_end(snr: FloatArray, *, heights: FloatArray, time: FloatArray) -> bool:
    """Whether the signal was still well above its noise in the last second of the record, so that more was to come."""
    present = np.isfinite(snr) & (snr > 0.0)
    if np.count_nonzero(present) < 10:
        return False
    lowest = int(np.flatnonzero(present)[np.argmin(heights[present])])
    last = present & (np.abs(time - time[lowest]) <= 1.0)
    return bool(np.median(snr[last]) > STRONG * np.quantile(snr[present], 0.9))


def _missing_fraction(phase: FloatArray, *, time: FloatArray) -> float:
    """Fraction of the samples that a complete record would hold and this one does not [1]."""
    if time.size < 2:
        return 1.0
    expected = round(float(time[-1] - time[0]) / float(np.median(np.diff(time)))) + 1
    return 1.0 - np.count_nonzero(np.isfinite(phase)) / expected


def _tangent_on_levels(points: FloatArray, *, at: FloatArray, levels: FloatArray) -> FloatArray:
    """Tangent points on levels, held constant beyond the observation [m]."""
    usable = np.flatnonzero(np.isfinite(at) & np.isfinite(points).all(axis=1))
    if usable.size == 0:
        return np.full((levels.size, 3), np.nan)
    order = usable[np.argsort(at[usable], kind="stable")]
    return np.stack([np.interp(levels, at[order], component) for component in points[order].T], axis=1)
