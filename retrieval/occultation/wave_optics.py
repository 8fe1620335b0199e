"""Wave optics: the canonical transform of the second type, from the received field to the field in impact parameter.

Where rays cross, one moment holds several of them; in impact parameter each stands alone. The phase-matching integral
(Jensen et al. 2004) U(a) = Int A exp(ik [S(t) - S_m(a, t)]) dt sorts them, for any orbits. Its phase is linearised in
a about one smooth ray a0(t) of a reference atmosphere, which makes of it a Fourier transform in the stretched time
dY = (d sigma / da) dt (Gorbunov and Lauritsen 2004: CT2), thirty times as fast. The linearisation costs nothing: the
transform only has to say when the ray a arrives, and with which Doppler; both then give impact parameter and bending by
the exact equations of geometric optics. Full-spectrum inversion would need near-circular orbits, plain phase matching
the product of levels and samples.

sigma(a, t) = dS_m/dt is the rate of the optical path of a ray of impact parameter a, all else by geometry.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.fft
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from processors.arrays import BoolArray, FloatArray
from retrieval.occultation import _kernels
from retrieval.occultation.geometric_optics import RayGeometry

CUBIC = 7.0 / 3.0


@dataclass(frozen=True)
class WaveOpticsParameters:
    """Range, resolution and reference of the transform.

    Attributes
    ----------
    top : float
        Impact height of the highest level [m].
    margin : float
        Impact height above the top over which the record is faded in [m].
    bottom : float
        Impact height of the lowest level looked at [m].
    floor : float
        Fraction of the usual amplitude below which a sample counts less than its phase alone [1].
    lag : float
        Distance of the coherence that gives the spectral width [m].
    smoothing : float
        Window of the polynomial that carries the phase between the samples [s].
    longest_hole : float
        Longest gap of the record that the phase is carried across [s].
    taps : int
        Half length of the sinc interpolation of the rest [1].
    slowest_rate : float
        Lowest sampling rate at which rays that cross can be told apart [Hz].
    reference_refractivity : float
        Refractivity of the reference atmosphere at zero impact height [1].
    reference_scale : float
        Its scale height [m].
    """

    top: float = 55_000.0
    margin: float = 8_000.0
    bottom: float = -1_000.0
    floor: float = 0.2
    lag: float = 30.0
    smoothing: float = 1.0
    longest_hole: float = 3.0
    taps: int = 8
    slowest_rate: float = 30.0
    reference_refractivity: float = 300e-6
    reference_scale: float = 7_300.0


class ImpactField(NamedTuple):
    """Field of one signal in impact parameter, its usual phase removed.

    Attributes
    ----------
    start, spacing : float
        Impact parameter of the first value and distance of the values [m].
    field : numpy.ndarray
        Complex field [1], shape (n,), in units of the unobstructed field.
    wavenumber : float
        Wave number [rad m-1].
    reference : FloatArray
        Stretched time removed from the phase [rad], shape (n,).
    radius : float
        Radius of curvature [m].
    """

    start: float
    spacing: float
    field: np.ndarray
    wavenumber: float
    reference: FloatArray
    radius: float


class WaveBending(NamedTuple):
    """Bending of one signal by wave optics on levels.

    Attributes
    ----------
    bending_angle : FloatArray
        Bending angle [rad], NaN where the field gives none, shape (m,).
    amplitude : FloatArray
        Amplitude of the transformed field about the level [1]; 1 without absorption, 0 in the shadow.
    spectral_width : FloatArray
        Half width of the local spectrum in bending angle [rad].
    """

    bending_angle: FloatArray
    amplitude: FloatArray
    spectral_width: FloatArray


class Frame(NamedTuple):
    """Linearisation of the ray equations about the reference ray, by sample in the order of sinking rays.

    Attributes
    ----------
    time : FloatArray
        Time [s].
    reference : FloatArray
        Impact parameter of the reference ray [m].
    rate : FloatArray
        Path rate of the reference ray [m s-1].
    slope : FloatArray
        Change of the path rate with impact parameter [s-1].
    stretched : FloatArray
        Integral of the slope [rad], increasing.
    geometry : RayGeometry
        Ends of the rays in the same order.
    """

    time: FloatArray
    reference: FloatArray
    rate: FloatArray
    slope: FloatArray
    stretched: FloatArray
    geometry: RayGeometry


def frame(geometry: RayGeometry, *, time: FloatArray, radius: float, parameters: WaveOpticsParameters) -> Frame:
    """Reference rays of a record.

    Parameters
    ----------
    geometry : RayGeometry
        Ends of the rays, shape (n,).
    time : FloatArray
        Times of the samples [s].
    radius : float
        Radius of curvature [m].
    parameters : WaveOpticsParameters
        Reference atmosphere.

    Returns
    -------
    Frame
        All samples, sinking; for a rising occultation time runs backward.
    """
    order = slice(None) if geometry.separation[-1] > geometry.separation[0] else slice(None, None, -1)
    turned = RayGeometry(*(part[order] for part in geometry))
    sinking = time[order]
    impact = _reference_rays(turned, radius=radius, parameters=parameters)
    stretched = turned.separation - turned.separation[0]
    for distance in (turned.receiver_radius, turned.transmitter_radius):
        stretched = stretched - _integral(impact / (distance * np.sqrt(distance**2 - impact**2)), distance)
    return Frame(sinking, impact, _path_rate(impact, turned), _path_rate_slope(impact, turned), stretched, turned)


def cut(along: Frame, *, top: float) -> Frame:
    """Part of a frame below an impact parameter.

    Parameters
    ----------
    along : Frame
        Whole record.
    top : float
        Impact parameter of the reference ray at which the part begins [m].

    Returns
    -------
    Frame
        Its lower part.
    """
    first = int(np.searchsorted(-along.reference, -top))
    return Frame(
        time=along.time[first:],
        reference=along.reference[first:],
        rate=along.rate[first:],
        slope=along.slope[first:],
        stretched=along.stretched[first:],
        geometry=RayGeometry(*(part[first:] for part in along.geometry)),
    )


def _reference_rays(geometry: RayGeometry, *, radius: float, parameters: WaveOpticsParameters) -> FloatArray:
    """Impact parameters of the rays in an exponential atmosphere [m]: by bisection here and there, smooth between."""
    count = geometry.separation.size
    knots = np.unique(np.linspace(0, count - 1, min(count, 256)).astype(np.int64))
    receiver, transmitter, separation = (
        part[knots] for part in (geometry.receiver_radius, geometry.transmitter_radius, geometry.separation)
    )
    low = np.full(knots.size, radius - 60_000.0)
    high = np.full(knots.size, radius + 300_000.0)
    for _ in range(32):
        middle = 0.5 * (low + high)
        bending = reference_bending(middle, radius=radius, parameters=parameters)
        reach = bending + np.arccos(middle / receiver) + np.arccos(middle / transmitter)
        low, high = np.where(reach > separation, middle, low), np.where(reach > separation, high, middle)
    return np.asarray(CubicSpline(knots, 0.5 * (low + high))(np.arange(count)))


def reference_bending(impact: FloatArray, *, radius: float, parameters: WaveOpticsParameters) -> FloatArray:
    """Bending angle of the reference atmosphere.

    Parameters
    ----------
    impact : FloatArray
        Impact parameters [m], shape (m,).
    radius : float
        Radius of curvature [m].
    parameters : WaveOpticsParameters
        Reference atmosphere.

    Returns
    -------
    FloatArray
        Bending angle [rad], held where it would exceed any atmosphere's.
    """
    scale = parameters.reference_scale
    depth = np.minimum((radius - impact) / scale, 2.0)
    return np.asarray(parameters.reference_refractivity * np.sqrt(2.0 * np.pi * impact / scale) * np.exp(depth))


def _path_rate(impact: FloatArray, geometry: RayGeometry) -> FloatArray:
    """Rate of the optical path of a ray of given impact parameter [m s-1]; Jensen et al. (2004), equation 12."""
    return np.asarray(
        geometry.receiver_radial * np.sqrt(1.0 - (impact / geometry.receiver_radius) ** 2)
        + geometry.transmitter_radial * np.sqrt(1.0 - (impact / geometry.transmitter_radius) ** 2)
        + impact * _separation_rate(geometry)
    )


def _path_rate_slope(impact: FloatArray, geometry: RayGeometry) -> FloatArray:
    """Derivative of the path rate by impact parameter [s-1]."""
    slope = _separation_rate(geometry)
    for radial, distance in (
        (geometry.receiver_radial, geometry.receiver_radius),
        (geometry.transmitter_radial, geometry.transmitter_radius),
    ):
        slope = slope - impact * radial / (distance * np.sqrt(distance**2 - impact**2))
    return slope


def _separation_rate(geometry: RayGeometry) -> FloatArray:
    """Rate of the angle between the satellites [rad s-1]."""
    return np.asarray(
        geometry.receiver_along / geometry.receiver_radius - geometry.transmitter_along / geometry.transmitter_radius
    )


def _integral(values: FloatArray, at: FloatArray) -> FloatArray:
    """Running integral, zero at the first sample."""
    return np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(at))])


def transform(
    excess_phase: FloatArray,
    *,
    amplitude: FloatArray,
    frequency_wavenumber: float,
    along: Frame,
    radius: float,
    parameters: WaveOpticsParameters,
) -> ImpactField:
    """Field of one signal in impact parameter.

    Parameters
    ----------
    excess_phase : FloatArray
        Excess phase in the order of the frame [m], shape (n,), NaN where missing.
    amplitude : FloatArray
        Amplitude, 1 where nothing obstructs the signal [1].
    frequency_wavenumber : float
        Wave number of the carrier [rad m-1].
    along : Frame
        Reference rays.
    radius : float
        Radius of curvature [m].
    parameters : WaveOpticsParameters
        Range and interpolation.

    Returns
    -------
    ImpactField
        Field from `bottom` to beyond `top`.
    """
    k = frequency_wavenumber
    center = radius + 0.5 * (parameters.top + parameters.margin + parameters.bottom)
    base = _path_of(center, along)
    phase, strength = _across_holes(excess_phase, amplitude, time=along.time, parameters=parameters)
    path = along.geometry.distance + phase - base
    step = float(np.median(np.abs(np.diff(along.time))))
    length = max(round(parameters.smoothing / step) // 2 * 2 + 1, 5)
    smooth = savgol_filter(path, min(length, path.size // 2 * 2 - 1), 3)
    rest = strength * np.exp(1j * k * (path - smooth))

    extent = along.stretched[-1] - along.stretched[0]
    span = parameters.top + parameters.margin - parameters.bottom + 12_000.0
    count = scipy.fft.next_fast_len(int(np.ceil(extent * span * k / (2.0 * np.pi))))
    stretched = along.stretched[0] + extent * np.arange(count) / count
    index = np.interp(stretched, along.stretched, np.arange(along.time.size))
    fine = _kernels.band_limited(rest, index, parameters.taps)
    fine *= np.exp(1j * k * CubicSpline(np.arange(along.time.size), smooth)(index))
    fine *= _fade_in(np.interp(index, np.arange(along.time.size), along.reference) - radius, parameters)

    spectrum = scipy.fft.fftshift(scipy.fft.fft(fine))
    spacing = 2.0 * np.pi / (k * extent)
    impact = center + spacing * (np.arange(count) - count // 2)
    kept = (impact >= radius + parameters.bottom - 2_000.0) & (impact <= radius + parameters.top + 2_000.0)
    impact, spectrum = impact[kept], spectrum[kept]
    reference = np.interp(-impact, -along.reference, along.stretched) - along.stretched[0]
    phase = k * _integral(reference, impact)
    # In vacuum a ray of unit amplitude lasts sqrt(2 pi / (k lever)) of stretched time, lever = da/dY.
    lever = _vacuum_lever(along)
    unit = np.sqrt(2.0 * np.pi / (k * lever)) * count / extent
    return ImpactField(
        float(impact[0]), spacing, spectrum * np.exp(1j * phase) / unit, k, np.asarray(reference), radius
    )


def _path_of(center: float, along: Frame) -> FloatArray:
    """Path whose rate in stretched time is that of rays of one impact parameter, linear about the reference ray [m].

    The integral of sigma(a0) + sigma'(a0) (center - a0) over the positions, not over time: the tags of the samples are
    rounded, and the path between the satellites grows by kilometres a second.
    """
    impact, geometry = along.reference, along.geometry
    path = center * (geometry.separation - geometry.separation[0])
    for distance in (geometry.receiver_radius, geometry.transmitter_radius):
        leg = np.sqrt(distance**2 - impact**2)
        path = path + _integral(leg / distance + (impact - center) * impact / (distance * leg), distance)
    return np.asarray(path)


def _vacuum_lever(along: Frame) -> float:
    """Change of the impact parameter of straight lines with the angle between the satellites [m rad-1]."""
    near = np.sqrt(along.geometry.receiver_radius**2 - along.reference**2)
    far = np.sqrt(along.geometry.transmitter_radius**2 - along.reference**2)
    return float(np.mean(near * far / (near + far)))


def _across_holes(
    phase: FloatArray, amplitude: FloatArray, *, time: FloatArray, parameters: WaveOpticsParameters
) -> tuple[FloatArray, FloatArray]:
    """Phase [m] and amplitude [1] with something in every hole, lest its edges ring in the transform.

    A cubic through what lies beside carries the phase across a short hole, whose levels nobody will call observed.
    Beside a long one the amplitude falls to zero.
    """
    present = np.isfinite(phase)
    index = np.arange(phase.size)
    strong = np.isfinite(amplitude)
    if not present.any() or not strong.any():
        return np.nan_to_num(phase), np.zeros_like(phase)
    strength = np.where(present, np.interp(index, index[strong], amplitude[strong]), 0.0)
    filled = np.interp(index, index[present], phase[present])
    step = float(np.median(np.abs(np.diff(time))))
    reach = max(round(parameters.smoothing / step), 4)
    known = np.flatnonzero(present)
    for last, first in zip(known[:-1][np.diff(known) > 1], known[1:][np.diff(known) > 1], strict=True):
        if abs(time[first] - time[last]) > parameters.longest_hole:
            fall = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, reach + 1) / reach)
            before, after = strength[max(last - reach + 1, 0) : last + 1], strength[first : first + reach]
            before *= fall[-before.size :] if before.size else 1.0
            after *= fall[::-1][: after.size]
            continue
        beside = np.concatenate([index[max(last - reach, 0) : last + 1], index[first : first + reach + 1]])
        beside = beside[present[beside]]
        if beside.size > 8:
            cubic = np.polynomial.Polynomial.fit(time[beside], phase[beside], 3)
            filled[last + 1 : first] = cubic(time[last + 1 : first])
            strength[last + 1 : first] = np.interp(index[last + 1 : first], index[strong], amplitude[strong])
    return filled, strength


def _fade_in(height: FloatArray, parameters: WaveOpticsParameters) -> FloatArray:
    """Weight of the record: rises over the margin, so that its beginning rings nowhere below."""
    rise = np.clip((parameters.top + parameters.margin - height) / parameters.margin, 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * rise))


def bending_angle(
    field: ImpactField,
    *,
    along: Frame,
    levels: FloatArray,
    half_width: FloatArray,
    cubic: BoolArray,
    parameters: WaveOpticsParameters,
) -> WaveBending:
    """Bending angle on levels from the phase of the transformed field.

    Parameters
    ----------
    field : ImpactField
        Transformed field.
    along : Frame
        Reference rays.
    levels : FloatArray
        Impact parameters [m], increasing, shape (m,).
    half_width : FloatArray
        Half width of the window about each level [m].
    cubic : BoolArray
        Levels at which the phase in the window is taken for a cubic instead of a straight line.
    parameters : WaveOpticsParameters
        Floor of the amplitude and lag of the coherence.

    Returns
    -------
    WaveBending
        On the levels.
    """
    power = np.abs(field.field) ** 2
    usual = np.sqrt(np.median(power[power > 0.25 * np.median(power)])) if power.size else 1.0
    limited = field.field / np.maximum(np.abs(field.field), parameters.floor * usual)
    lag = max(round(parameters.lag / field.spacing), 1)
    turn, at, coherence, mean = _kernels.local_phase_rate(
        limited,
        power,
        field.start,
        field.spacing,
        levels,
        half_width,
        np.where(cubic, CUBIC, 0.0),
        0.5 * np.pi / (field.wavenumber * reference_bending(levels, radius=field.radius, parameters=parameters)),
        lag,
    )
    impact = field.start + field.spacing * np.arange(field.reference.size)
    stretched = np.interp(at, impact, field.reference) - turn / (field.wavenumber * field.spacing)
    exact, bending = _exact(at, stretched=stretched + along.stretched[0], along=along)
    known = np.isfinite(bending) & np.isfinite(exact)
    on_levels = np.full_like(levels, np.nan)
    if np.count_nonzero(known) > 1:
        order = np.argsort(exact[known], kind="stable")
        on_levels = np.interp(levels, exact[known][order], bending[known][order])
        on_levels[~known] = np.nan
    width = np.sqrt(-2.0 * np.log(np.clip(coherence, 1e-6, 1.0))) / (field.wavenumber * lag * field.spacing)
    return WaveBending(on_levels, np.sqrt(mean), width)


def _exact(impact: FloatArray, *, stretched: FloatArray, along: Frame) -> tuple[FloatArray, FloatArray]:
    """Impact parameter [m] and bending angle [rad] of the rays that arrive at a stretched time with a Doppler."""
    inside = (stretched > along.stretched[0]) & (stretched < along.stretched[-1])
    index = np.interp(np.where(inside, stretched, np.nan), along.stretched, np.arange(along.time.size))
    at = RayGeometry(*(np.interp(index, np.arange(part.size), part) for part in along.geometry))
    reference, rate, slope = (
        np.interp(index, np.arange(part.size), part) for part in (along.reference, along.rate, along.slope)
    )
    observed = rate + slope * (impact - reference)
    exact = impact
    for _ in range(3):
        exact = exact - (_path_rate(exact, at) - observed) / _path_rate_slope(exact, at)
    bending = at.separation - np.arccos(exact / at.receiver_radius) - np.arccos(exact / at.transmitter_radius)
    return exact, bending
