"""Bending angle of one signal on levels: geometric optics above, wave optics below, blended between.

Both are local slopes of the phase of the signal over impact parameter. What each level averages over, and how, is kept
as an averaging kernel, from which the error covariance follows.
"""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter1d
from scipy.signal import savgol_coeffs, savgol_filter

from processors import constants
from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import geometric_optics, georeference, resampling, shadow, wave_optics
from retrieval.occultation.geometric_optics import BendingAngle, DopplerFilter

BY_LEVEL = (
    "bending_angle",
    "coarser",
    "geometric",
    "wave_weight",
    "cubic",
    "wave_width",
    "geometric_width",
    "amplitude",
    "spectral_width",
)
"""Fields of a signal's bending that have one value a level."""
WIDE_GAP = 7_000.0
"""Width of a gap that the phase is hardly carried across [m]."""
LINEAR_NOISE, CUBIC_NOISE, DOPPLER_NOISE = 1.5, 8.88, 9.375
"""Variance of a least-squares slope [1], times noise density over the cube of the half width: of a line, of a cubic
over means of 1/17 of the window, of a cubic over all samples."""


@dataclass(frozen=True)
class BlendParameters:
    """Where wave optics takes over, and how much noise the resolution may let through.

    Attributes
    ----------
    bottom, top : float
        Impact heights between which wave optics gives way to geometric optics [m]: where noise limits the resolution to
        more than the Fresnel zone, and both are the same.
    lowest : float
        Lowest impact height of that transition with which wave optics is used at all, where a record begins low [m].
    noise_targets : tuple
        Impact height [m] and relative standard deviation of the bending angle by phase noise [1] at the nodes of what
        the resolution lets through: about what the atmosphere's own structure leaves unresolved.
    narrowest, widest : float
        Bounds of the half width of the window with a straight line [m]; with a cubic they are twice as wide.
    cubic_bottom : float
        Impact height above which the window holds a cubic [m].
    half_width : float
        Half width of the window that brings samples of geometric optics onto levels [m].
    border_thickness : tuple
        Thickness of the layer in which the shadow border of the first, and the loss of the second signal are sought
        [m].
    noise_bottoms : tuple
        Straight-line heights above which the phase noise is measured, and the amplitude is that of the unobstructed
        signal [m]; the second where the record does not reach above the first.
    noise_default : float
        Variance of the phase times the sampling interval where neither tells [m2 s].
    short_noise, long_noise : tuple
        Length of the cubic about which the phase scatters, and of the means that scatter [s], for the noise of the
        receiver and for that with the irregular ionosphere. The narrow tracking loop of a second signal without code
        hides its noise from the former.
    short_top, long_bottom : float
        Impact heights up to which the former and from which on the latter holds for the first signal [m].
    """

    bottom: float = 45_000.0
    top: float = 55_000.0
    lowest: float = 12_000.0
    noise_targets: tuple[tuple[float, float], ...] = (
        (10_000.0, 0.0005),
        (20_000.0, 0.001),
        (30_000.0, 0.002),
        (40_000.0, 0.003),
        (50_000.0, 0.010),
    )
    narrowest: float = 100.0
    widest: float = 800.0
    cubic_bottom: float = 10_000.0
    half_width: float = 150.0
    border_thickness: tuple[tuple[float, ...], tuple[float, ...]] = ((8_000.0, 25_000.0), (25_000.0,))
    noise_bottoms: tuple[float, float] = (40_000.0, 15_000.0)
    noise_default: float = 4e-9
    short_noise: tuple[float, float] = (0.3, 0.0)
    long_noise: tuple[float, float] = (2.0, 0.25)
    short_top: float = 20_000.0
    long_bottom: float = 30_000.0


class SignalBending(NamedTuple):
    """Bending of one signal on levels and how it was found.

    Attributes
    ----------
    bending_angle : FloatArray
        Bending angle [rad], NaN where missing, shape (m,).
    coarser : FloatArray
        The same with windows twice as wide [rad].
    geometric : FloatArray
        By geometric optics alone [rad].
    wave_weight : FloatArray
        Weight of wave optics [1], 0 to 1.
    cubic : BoolArray
        Levels at which wave optics fits a cubic to the phase, not a straight line.
    wave_width, geometric_width : FloatArray
        Half widths of the averaging kernels [m].
    amplitude : FloatArray
        Amplitude of the field in impact parameter, 1 for the unobstructed signal [1]; NaN where only geometric optics
        was used.
    spectral_width : FloatArray
        Half width of the local spectrum [rad], NaN likewise.
    noise_density : float
        Density of the phase noise over impact parameter [m3].
    scatter : float
        Scatter of the phase from sample to sample above the atmosphere [rad].
    border : float
        Impact parameter of the shadow border [m], NaN where no transform was made.
    field : wave_optics.ImpactField or None
        Transformed field, None where no transform was made.
    samples : BendingAngle
        Geometric optics by sample.
    gaps : FloatArray
        Impact parameters that went by unobserved [m], shape (k, 2).
    """

    bending_angle: FloatArray
    coarser: FloatArray
    geometric: FloatArray
    wave_weight: FloatArray
    cubic: BoolArray
    wave_width: FloatArray
    geometric_width: FloatArray
    amplitude: FloatArray
    spectral_width: FloatArray
    noise_density: float
    scatter: float
    border: float
    field: wave_optics.ImpactField | None
    samples: BendingAngle
    gaps: FloatArray


class Rays(NamedTuple):
    """What the bending of every signal of an event needs.

    Attributes
    ----------
    time : FloatArray
        Times since the first sample [s].
    heights : FloatArray
        Straight-line heights [m].
    arc : georeference.Arc
        Ends of the rays.
    along : wave_optics.Frame or None
        Reference rays of the transform; None where the sampling is too slow for it.
    radius : float
        Radius of curvature [m].
    sinking_rate : FloatArray
        Rate at which the impact parameter sinks, by level [m s-1].
    waves, blend : WaveOpticsParameters, BlendParameters
        Parameters, with wave optics no higher than the record allows.
    """

    time: FloatArray
    heights: FloatArray
    arc: georeference.Arc
    along: wave_optics.Frame | None
    radius: float
    sinking_rate: FloatArray
    waves: wave_optics.WaveOpticsParameters
    blend: BlendParameters


def rays(
    level1b: xr.Dataset,
    *,
    reference: georeference.Reference,
    levels: FloatArray,
    waves: wave_optics.WaveOpticsParameters,
    blend: BlendParameters,
) -> Rays:
    """Geometry shared by the signals.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.
    reference : georeference.Reference
        Reference point.
    levels : FloatArray
        Impact parameters [m], shape (m,).
    waves : wave_optics.WaveOpticsParameters
        Range of the transform.
    blend : BlendParameters
        Transition to geometric optics.

    Returns
    -------
    Rays
        Geometry.
    """
    time = resampling.even_time(level1b["time"].to_numpy())
    arc = georeference.arc_about_center(level1b, reference=reference)
    whole = wave_optics.frame(arc.geometry, time=time, radius=reference.radius, parameters=waves)
    rate = np.abs(np.gradient(whole.reference, whole.time))
    step = float(np.median(np.diff(time)))
    lower = max(waves.top - (_first_heard(level1b, whole) - reference.radius - waves.margin), 0.0)
    waves = dataclasses.replace(waves, top=waves.top - lower)
    blend = dataclasses.replace(blend, top=blend.top - lower, bottom=blend.bottom - lower)
    along = None
    if step * waves.slowest_rate < 1.0 and blend.bottom > blend.lowest:
        along = wave_optics.cut(whole, top=reference.radius + waves.top + waves.margin)
    return Rays(
        time=time,
        heights=georeference.straight_line_heights(level1b),
        arc=arc,
        along=along,
        radius=reference.radius,
        sinking_rate=np.interp(-levels, -whole.reference, rate),
        waves=waves,
        blend=blend,
    )


def _first_heard(level1b: xr.Dataset, whole: wave_optics.Frame) -> float:
    """Impact parameter of the reference ray of the highest sample of the first signal [m]."""
    heard = np.isfinite(level1b["excess_phase"].to_numpy()[0])
    sinking = heard if whole.time[0] < whole.time[-1] else heard[::-1]
    return float(whole.reference[int(np.argmax(sinking))])


def bending(
    level1b: xr.Dataset,
    signal: int,
    *,
    usable: BoolArray,
    of: Rays,
    levels: FloatArray,
    doppler: DopplerFilter,
    at_least: FloatArray | float = 0.0,
) -> SignalBending:
    """Bending angle of one signal on levels.

    Parameters
    ----------
    level1b : xr.Dataset
        Level 1B.
    signal : int
        Index of the signal [1].
    usable : BoolArray
        Samples that hold the signal.
    of : Rays
        Geometry.
    levels : FloatArray
        Impact parameters [m], increasing, shape (m,).
    doppler : DopplerFilter
        Filter of geometric optics.
    at_least : FloatArray or float
        Smallest half width of the windows of wave optics by level [m].

    Returns
    -------
    SignalBending
        On the levels; below the shadow border of the transform nothing is missing yet, only weak.
    """
    blend = of.blend
    phase = np.where(usable, level1b["excess_phase"].to_numpy()[signal], np.nan)
    rate = geometric_optics.excess_doppler(phase, time=of.time, parameters=doppler)
    samples = geometric_optics.bending_angle_from_doppler(rate, geometry=of.arc.geometry)
    gaps = geometric_optics.gaps(samples, time=of.time, parameters=doppler)
    geometric = _geometric(samples, gaps=gaps, levels=levels, half_width=blend.half_width)
    longer = dataclasses.replace(doppler, window=2.0 * doppler.window)
    slower = geometric_optics.bending_angle_from_doppler(
        geometric_optics.excess_doppler(phase, time=of.time, parameters=longer), geometry=of.arc.geometry
    )
    noise = _phase_noise(phase, of=of, parameters=blend)
    blank = np.full_like(levels, np.nan)
    found = SignalBending(
        bending_angle=geometric,
        coarser=_geometric(slower, gaps=gaps, levels=levels, half_width=blend.half_width),
        geometric=geometric,
        wave_weight=np.zeros_like(levels),
        cubic=levels - of.radius > blend.cubic_bottom,
        wave_width=blank,
        geometric_width=0.5 * doppler.window * of.sinking_rate,
        amplitude=blank,
        spectral_width=blank,
        noise_density=noise.short if signal == 0 else noise.long,
        scatter=_wavenumber(level1b, signal) * noise.scatter,
        border=np.nan,
        field=None,
        samples=samples,
        gaps=gaps,
    )
    if of.along is None or not np.isfinite(phase).any():
        return found
    # The transform sees the end of the first signal by itself; a second one without code goes on as noise.
    heard = level1b["excess_phase"].to_numpy()[0] if signal == 0 else phase
    field = _field(level1b, signal, phase=heard, of=of)
    width = np.fmax(at_least, _half_widths(noise, signal, levels=levels, of=of))
    return _with_waves(
        found._replace(field=field, wave_width=width), of=of, levels=levels, thickness=blend.border_thickness[signal]
    )


def _wavenumber(level1b: xr.Dataset, signal: int) -> float:
    """Wave number of a signal in vacuum [rad m-1]."""
    return 2.0 * np.pi * float(level1b["carrier_frequency"][signal]) / constants.SPEED_OF_LIGHT


def _geometric(samples: BendingAngle, *, gaps: FloatArray, levels: FloatArray, half_width: float) -> FloatArray:
    """Bending of geometric optics on levels, missing within gaps [rad]."""
    found = resampling.onto_levels(
        samples.bending_angle, at=samples.impact_parameter, levels=levels, half_width=half_width
    )
    return resampling.outside_gaps(found, levels=levels, gaps=gaps).value


def _field(
    level1b: xr.Dataset,
    signal: int,
    *,
    phase: FloatArray,
    of: Rays,
) -> wave_optics.ImpactField:
    """Field of the signal in impact parameter."""
    assert of.along is not None  # noqa: S101  the caller looked
    sinking = of.arc.geometry.separation[-1] > of.arc.geometry.separation[0]
    part = slice(phase.size - of.along.time.size, None)
    wavenumber = _wavenumber(level1b, signal)
    amplitude = _amplitude(level1b["snr"].to_numpy()[signal], phase=phase, wavenumber=wavenumber, of=of)
    return wave_optics.transform(
        (phase if sinking else phase[::-1])[part],
        amplitude=(amplitude if sinking else amplitude[::-1])[part],
        frequency_wavenumber=wavenumber,
        along=of.along,
        radius=of.radius,
        parameters=of.waves,
    )


def _with_waves(
    found: SignalBending,
    *,
    of: Rays,
    levels: FloatArray,
    thickness: tuple[float, ...],
) -> SignalBending:
    """Wave optics below geometric optics."""
    found = found._replace(wave_weight=_cosine_fall(levels - of.radius, of.blend))
    narrow = _waves_on_levels(found, of=of, levels=levels, width=found.wave_width)
    low = found.wave_weight > 0.0
    return found._replace(
        bending_angle=_mixed(narrow.bending_angle, found, levels),
        coarser=_mixed(
            _waves_on_levels(found, of=of, levels=levels, width=2.0 * found.wave_width).bending_angle,
            found._replace(geometric=found.coarser),
            levels,
        ),
        amplitude=narrow.amplitude,
        spectral_width=narrow.spectral_width,
        border=shadow.border(narrow.amplitude[low], impact_parameter=levels[low], thickness=thickness),
    )


def at_width(
    signal: SignalBending,
    *,
    of: Rays,
    levels: FloatArray,
    width: FloatArray,
) -> FloatArray:
    """Bending angle of a signal with other windows of wave optics.

    Parameters
    ----------
    signal : SignalBending
        The signal.
    of : Rays
        Geometry.
    levels : FloatArray
        Impact parameters [m], increasing, shape (m,).
    width : FloatArray
        Half widths of the windows [m], NaN where wave optics has no weight.

    Returns
    -------
    FloatArray
        Bending angle [rad]; the same as before where no transform was made.
    """
    if signal.field is None:
        return signal.bending_angle
    return _mixed(_waves_on_levels(signal, of=of, levels=levels, width=width).bending_angle, signal, levels)


def _waves_on_levels(
    signal: SignalBending,
    *,
    of: Rays,
    levels: FloatArray,
    width: FloatArray,
) -> wave_optics.WaveBending:
    """Wave optics on the levels at which it has weight, NaN elsewhere."""
    assert of.along is not None and signal.field is not None  # noqa: S101, PT018  the callers looked
    low = (signal.wave_weight > 0.0) & np.isfinite(width)
    found = wave_optics.bending_angle(
        signal.field,
        along=of.along,
        levels=levels[low],
        half_width=width[low],
        cubic=signal.cubic[low],
        parameters=of.waves,
    )
    parts = []
    for part in found:
        whole = np.full_like(levels, np.nan)
        whole[low] = part
        parts.append(whole)
    return wave_optics.WaveBending(*parts)


def _mixed(wave: FloatArray, signal: SignalBending, levels: FloatArray) -> FloatArray:
    """Weighted mean with geometric optics, of which the part without weight may be missing; nothing within a gap.

    Beside a wide gap the field rings, and windows reach into it: half a window more is left out.
    """
    weight = signal.wave_weight
    reach = np.where(weight > 0.0, np.nan_to_num(signal.wave_width), 0.0)
    mean = np.where(weight > 0.0, weight * wave, 0.0) + np.where(weight < 1.0, (1.0 - weight) * signal.geometric, 0.0)
    wide = signal.gaps[np.diff(signal.gaps, axis=1)[:, 0] > WIDE_GAP]
    hidden = resampling.inside_gaps(levels, gaps=signal.gaps)
    for below, above in wide:
        hidden |= (levels > below - reach) & (levels < above + reach)
    return np.where(hidden, np.nan, mean)


def _cosine_fall(height: FloatArray, parameters: BlendParameters) -> FloatArray:
    """Weight of wave optics: 1 below the transition, 0 above."""
    rise = np.clip((height - parameters.bottom) / (parameters.top - parameters.bottom), 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * rise))


def _amplitude(snr: FloatArray, *, phase: FloatArray, wavenumber: float, of: Rays) -> FloatArray:
    """Amplitude, 1 for the unobstructed signal; where no strength was recorded, what the phase's scatter tells."""
    present = np.isfinite(snr) & (snr > 0.0)
    for bottom in of.blend.noise_bottoms:
        high = present & (of.heights > bottom)
        if high.any():
            return np.asarray(snr / float(np.median(snr[high])))
    return _coherence(phase, time=of.time, wavenumber=wavenumber, window=of.blend.short_noise[0])


def _coherence(phase: FloatArray, *, time: FloatArray, wavenumber: float, window: float) -> FloatArray:
    """Share of the amplitude that survives a mean over phases as scattered as these [1]: exp(-variance / 2)."""
    step = float(np.median(np.diff(time)))
    length = max(round(window / step) // 2 * 2 + 1, 5)
    present = np.isfinite(phase)
    if np.count_nonzero(present) <= length:
        return np.where(present, 1.0, np.nan)
    index = np.arange(phase.size)
    filled = np.interp(index, index[present], phase[present])
    scatter = uniform_filter1d((filled - savgol_filter(filled, length, 3)) ** 2, 2 * length)
    return np.where(present, np.exp(-0.5 * wavenumber**2 * scatter), np.nan)


class PhaseNoise(NamedTuple):
    """Density of the phase noise over impact parameter where nothing obstructs the signal.

    Variance times sampling interval times the rate at which rays sink. In impact parameter it is the same at all
    heights, since defocusing weakens the signal as it slows the ray.

    Attributes
    ----------
    short : float
        Of short stretches, which hold the noise of the receiver [m3].
    long : float
        Of longer stretches, which hold the irregular ionosphere too [m3].
    scatter : float
        Standard deviation of a sample [m].
    """

    short: float
    long: float
    scatter: float


def _half_widths(
    noise: PhaseNoise,
    signal: int,
    *,
    levels: FloatArray,
    of: Rays,
) -> FloatArray:
    """Windows wide enough to hold the noise at its target, within the bounds of the parameters [m].

    The irregular ionosphere, which the second signal may not follow as fast, counts where the bending is small.
    """
    height, waves, blend = levels - of.radius, of.waves, of.blend
    share = np.clip((height - blend.short_top) / (blend.long_bottom - blend.short_top), 0.0, 1.0)
    least, most = max(noise.short, 1e-9), max(noise.short, noise.long, 1e-9)
    density = most if signal > 0 else least * (most / least) ** share
    usual = wave_optics.reference_bending(levels, radius=of.radius, parameters=waves)
    heights, targets = np.array(blend.noise_targets).T
    target = np.exp(np.interp(height, heights, np.log(targets))) * usual
    cubic = height > blend.cubic_bottom
    quiet = (np.where(cubic, CUBIC_NOISE, LINEAR_NOISE) * density / target**2) ** (1.0 / 3.0)
    bound = np.where(cubic, 2.0, 1.0)
    return np.asarray(np.clip(quiet, bound * blend.narrowest, bound * blend.widest))


def _phase_noise(phase: FloatArray, *, of: Rays, parameters: BlendParameters) -> PhaseNoise:
    """Phase noise above the atmosphere, or as high as the record reaches."""
    rate = float(np.median(of.sinking_rate[-of.sinking_rate.size // 4 :]))
    powers = []
    for window, block in (parameters.short_noise, parameters.long_noise):
        found = (_noise_power(phase, of=of, window=window, block=block, bottom=at) for at in parameters.noise_bottoms)
        powers.append(next((power for power in found if power > 0.0), 0.0))
    short, long = powers
    if not short > 0.0:
        short = parameters.noise_default
    step = float(np.median(np.diff(of.time)))
    return PhaseNoise(rate * short, rate * max(long, short), float(np.sqrt(max(long, short) / step)))


def _noise_power(phase: FloatArray, *, of: Rays, window: float, block: float, bottom: float) -> float:
    """Variance of the phase times the sampling interval [m2 s]: scatter of short means about a cubic of a window.

    Zero where the longest stretch above the bottom is too short to tell.
    """
    step = float(np.median(np.diff(of.time)))
    length = max(round(window / step) // 2 * 2 + 1, 5)
    count = max(round(block / step), 1)
    kernel = -np.convolve(savgol_coeffs(length, 3), np.full(count, 1.0 / count))
    kernel[(length - 1) // 2 : (length - 1) // 2 + count] += 1.0 / count
    high = np.flatnonzero((of.heights > bottom) & np.isfinite(phase))
    longest = max(np.split(high, np.flatnonzero(np.diff(high) > 1) + 1), key=len)
    if longest.size < 2 * kernel.size:
        return 0.0
    rest = np.convolve(phase[longest] - phase[longest[0]], kernel, "valid")
    spread = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    kept = rest[np.abs(rest - np.median(rest)) <= 4.0 * spread]
    return float(np.var(kept)) / float(np.sum(kernel**2)) * step


def kernel_nodes(levels: FloatArray, widths: FloatArray) -> FloatArray:
    """Impact parameters of independent pieces of phase noise, four to a half width.

    Parameters
    ----------
    levels : FloatArray
        Impact parameters of the levels [m], increasing.
    widths : FloatArray
        Narrowest half width by level [m].

    Returns
    -------
    FloatArray
        Nodes [m], increasing, from below the lowest to above the highest level.
    """
    density = np.interp(np.linspace(levels[0], levels[-1], 2_048), levels, 4.0 / widths)
    grid = np.linspace(levels[0], levels[-1], 2_048)
    count = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    inner = np.interp(np.arange(0.0, count[-1]), count, grid)
    below = levels[0] - 0.25 * widths[0] * np.arange(5, 0, -1)
    above = levels[-1] + 0.25 * widths[-1] * np.arange(1, 6)
    return np.concatenate([below, inner, above])
