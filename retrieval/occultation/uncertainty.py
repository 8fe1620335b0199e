"""Error covariances: what makes the bending angle uncertain, and its exact way through the linear steps after it.

Random: phase noise of both signals through their averaging kernels (a slope of white phase noise, so errors of
neighbouring layers are of opposite sign and hardly add up below); what else moved the phases at 60 to 80 km (clocks,
irregular ionosphere); and structure coarser than the kernel. Systematic: the ionosphere carried below the loss of the
second signal, its residual, the background, bridged gaps, and a floor for geometry and refraction constants.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import AnyFloat, BoolArray, FloatArray, IntArray
from retrieval.occultation import _kernels, dry_atmosphere, signal_bending
from retrieval.occultation.ionosphere import IonosphereCorrection
from retrieval.occultation.signal_bending import SignalBending


@dataclass(frozen=True)
class UncertaintyParameters:
    """Errors that the noise does not show, and correlation lengths.

    Attributes
    ----------
    largest_overestimate : float
        How much greater than its variance high up the noise of the corrected bending may be by the phases [1].
    excess_share : float
        Share of what lies beyond the noise of the phases high up that is the observation's: the rest is air that the
        background does not know [1].
    excess_length : float
        Correlation length of what moves the phases beside noise [m].
    structure_factor : float
        Standard deviation of the structure a kernel misses, relative to what one twice as wide misses more [1].
    structure_window : float
        Smallest half width of the layer over which that is averaged [m].
    structure_widths : float
        The same in half widths of the kernel [1].
    systematic_floor : float
        Relative systematic standard deviation of the bending angle [1].
    systematic_length : float
        Correlation length of systematic errors [m].
    top_temperature : float
        Standard deviation of the temperature at the uppermost level [K].
    correlation_threshold : float
        Correlation at the correlation length [1].
    amplitudes : tuple
        Amplitudes in impact parameter beyond which the noise is not scaled further [1].
    """

    largest_overestimate: float = 2.0
    excess_share: float = 0.85
    excess_length: float = 5_000.0
    structure_factor: float = 0.84
    structure_window: float = 1_000.0
    structure_widths: float = 8.0
    systematic_floor: float = 1e-5
    systematic_length: float = 10_000.0
    top_temperature: float = 20.0
    correlation_threshold: float = float(np.exp(-1.0))
    amplitudes: tuple[float, float] = (0.2, 1.1)


@dataclass(frozen=True)
class AssumedErrors:
    """Errors of a bending angle that comes without any: about those NWP centres assign without the representativeness.

    Attributes
    ----------
    aloft, surface : float
        Relative standard deviation from `ceiling` upward and at zero impact height [1], linear between.
    ceiling : float
        Impact height [m].
    length : float
        Correlation length [m].
    """

    aloft: float = 0.005
    surface: float = 0.05
    ceiling: float = 10_000.0
    length: float = 1_000.0


class BendingCovariance(NamedTuple):
    """Error covariances of the corrected bending angle.

    Attributes
    ----------
    random, systematic : FloatArray
        Covariances [1], in rad2, shape (m, m); zero in rows that were not observed.
    between : FloatArray
        Random variance at each level of structure finer than the levels [1], in rad2, shape (m,): it makes a value at a
        point uncertain, but averages out between levels and reaches nothing derived.
    excess : float
        Standard deviation high up beyond the noise of the phases [rad].
    """

    random: FloatArray
    systematic: FloatArray
    between: FloatArray
    excess: float


class ProfileUncertainty(NamedTuple):
    """Standard deviations and correlation lengths of the derived profiles, shape (m,).

    Attributes
    ----------
    refractivity, refractivity_random, refractivity_systematic : FloatArray
        Total and parts for the refractivity [1e-6].
    refractivity_length : FloatArray
        Correlation length of its error [m].
    dry_pressure, dry_pressure_systematic : FloatArray
        Total and systematic part for the dry pressure [Pa].
    dry_pressure_length : FloatArray
        Correlation length of its error [m].
    dry_temperature, dry_temperature_systematic : FloatArray
        Total and systematic part for the dry temperature [K].
    dry_temperature_length : FloatArray
        Correlation length of its error [m].
    """

    refractivity: FloatArray
    refractivity_random: FloatArray
    refractivity_systematic: FloatArray
    refractivity_length: FloatArray
    dry_pressure: FloatArray
    dry_pressure_systematic: FloatArray
    dry_pressure_length: FloatArray
    dry_temperature: FloatArray
    dry_temperature_systematic: FloatArray
    dry_temperature_length: FloatArray


class NoiseResponse(NamedTuple):
    """Response of levels to independent pieces of phase noise of unit variance.

    Attributes
    ----------
    matrix : FloatArray
        Response [rad], shape (m, k).
    support : IntArray
        First and one past the last piece each level responds to [1], shape (m, 2).
    """

    matrix: FloatArray
    support: IntArray


def averaging_kernel(
    signal: SignalBending,
    *,
    levels: FloatArray,
    nodes: FloatArray,
    parameters: UncertaintyParameters,
    onto: NoiseResponse | None = None,
) -> NoiseResponse:
    """Response of the bending angle of a signal to independent pieces of phase noise.

    Parameters
    ----------
    signal : SignalBending
        Bending with its widths, weights and noise.
    levels : FloatArray
        Impact parameters [m], shape (m,).
    nodes : FloatArray
        Impact parameters of the pieces of noise [m], shape (k,).
    parameters : UncertaintyParameters
        Smallest amplitude.
    onto : NoiseResponse, optional
        Response that this one is added to, in place.

    Returns
    -------
    NoiseResponse
        Operator.
    """
    response = onto or _no_response(levels.size, nodes.size)
    size = np.sqrt(np.gradient(nodes))
    noise = float(np.sqrt(signal.noise_density))
    amplitude = np.clip(np.nan_to_num(signal.amplitude, nan=1.0), *parameters.amplitudes)
    for cubic, widths, weight, variance in (
        (signal.cubic, signal.wave_width, signal.wave_weight / amplitude, signal_bending.CUBIC_NOISE),
        (np.ones_like(signal.cubic), signal.geometric_width, 1.0 - signal.wave_weight, signal_bending.DOPPLER_NOISE),
    ):
        _kernels.add_slope_rows(
            response.matrix,
            response.support,
            levels,
            np.nan_to_num(widths),
            weight,
            cubic,
            nodes,
            size,
            noise,
            variance,
        )
    return response


def _no_response(levels: int, nodes: int) -> NoiseResponse:
    """Nothing yet: every support is empty."""
    return NoiseResponse(np.zeros((levels, nodes)), np.tile(np.array([nodes, 0]), (levels, 1)))


def bending_covariance(
    first: SignalBending,
    *,
    second: SignalBending,
    correction: IonosphereCorrection,
    levels: FloatArray,
    radius: float,
    sinking_rate: FloatArray,
    noise: float,
    noise_layer: tuple[float, float],
    parameters: UncertaintyParameters,
) -> BendingCovariance:
    """Error covariances of the corrected bending angle.

    Parameters
    ----------
    first, second : SignalBending
        Bending of the signals.
    correction : IonosphereCorrection
        How they were combined.
    levels : FloatArray
        Impact parameters [m], shape (m,).
    radius : float
        Radius of curvature [m].
    sinking_rate : FloatArray
        Rate at which the impact parameter sinks, by level [m s-1].
    noise : float
        Standard deviation of observed minus background bending in `noise_layer` [rad], or what is assumed for it where
        nothing was observed there.
    noise_layer : tuple
        Impact heights of that layer [m].
    parameters : UncertaintyParameters
        Everything the data do not say.

    Returns
    -------
    BendingCovariance
        Random and systematic parts.
    """
    widths = np.fmin(first.geometric_width, np.where(first.wave_weight > 0.0, first.wave_width, np.inf))
    nodes = signal_bending.kernel_nodes(levels, widths)
    one, two = (
        averaging_kernel(signal, levels=levels, nodes=nodes, parameters=parameters) for signal in (first, second)
    )
    own = np.einsum("ij,ij->i", one.matrix, one.matrix)
    thermal = _thermal(
        one, two, first, second=second, correction=correction, levels=levels, nodes=nodes, rule=parameters
    )
    present = np.isfinite(correction.bending_angle)
    height = levels - radius
    high = present & (height >= noise_layer[0]) & (height <= noise_layer[1])
    excess = noise
    if high.any():
        predicted = float(np.mean(np.diag(thermal)[high]))
        excess = parameters.excess_share * float(np.sqrt(max(noise**2 - predicted, 0.0)))
        # Far less noise than the phases show one by one is what both signals share, the irregular ionosphere.
        if predicted > 0.0:
            thermal *= min(1.0, parameters.largest_overestimate * noise**2 / predicted)
    distance = np.abs(levels[:, None] - levels)
    slower = sinking_rate[-1] / sinking_rate
    moved = _correlated(excess * slower, distance, parameters.excess_length)
    random = thermal + moved
    between = _add_structure(random, one, first, own=own, levels=levels, nodes=nodes, rule=parameters)
    floor = parameters.systematic_floor * np.nan_to_num(correction.bending_angle)
    systematic = _correlated(
        np.hypot(np.nan_to_num(correction.systematic), floor), distance, parameters.systematic_length
    )
    mask = np.outer(present, present)
    return BendingCovariance(
        np.where(mask, random, 0.0), np.where(mask, systematic, 0.0), np.where(present, between, 0.0), excess
    )


def _thermal(
    one: NoiseResponse,
    two: NoiseResponse,
    first: SignalBending,
    *,
    second: SignalBending,
    correction: IonosphereCorrection,
    levels: FloatArray,
    nodes: FloatArray,
    rule: UncertaintyParameters,
) -> FloatArray:
    """Covariance by the phase noise of both signals [rad2]: of the first directly and through the difference."""
    matched = averaging_kernel(
        first._replace(wave_width=second.wave_width), levels=levels, nodes=nodes, parameters=rule
    )
    smoother = correction.smoother
    covariance = np.zeros((levels.size, levels.size))
    for start, part, gain in (
        (NoiseResponse(one.matrix.copy(), one.support.copy()), matched, correction.gain),
        (_no_response(levels.size, nodes.size), two, -correction.gain),
    ):
        _kernels.add_product(start.matrix, start.support, smoother.indptr, smoother.indices, smoother.data, *part, gain)
        _kernels.add_gram(covariance, *start)
    return covariance


def _add_structure(
    covariance: FloatArray,
    one: NoiseResponse,
    first: SignalBending,
    *,
    own: FloatArray,
    levels: FloatArray,
    nodes: FloatArray,
    rule: UncertaintyParameters,
) -> FloatArray:
    """Add what the kernel misses: finer than what it passes, it is given the shape of what one half as wide adds.

    The share that is finer than the levels is returned instead [rad2]: their spacing over the half width, to 3/2.
    """
    finer = first._replace(wave_width=0.5 * first.wave_width, geometric_width=0.5 * first.geometric_width)
    one.matrix[:] *= -1.0
    averaging_kernel(finer, levels=levels, nodes=nodes, parameters=rule, onto=one)
    norm = np.sqrt(np.einsum("ij,ij->i", one.matrix, one.matrix))
    missed = _structure(first, levels=levels, own=own, parameters=rule)
    finest = np.clip(np.gradient(levels) / np.nan_to_num(first.wave_width, nan=np.inf), 0.0, 1.0) ** 1.5
    one.matrix[:] *= (np.sqrt(1.0 - finest) * missed / np.where(norm > 0.0, norm, np.inf))[:, None]
    _kernels.add_gram(covariance, *one)
    return np.asarray(finest * missed**2)


def _structure(
    signal: SignalBending, *, levels: FloatArray, own: FloatArray, parameters: UncertaintyParameters
) -> FloatArray:
    """Standard deviation of the structure finer than the kernel [rad].

    Told from what twice the width loses. Of that difference 7/8 of the variance of the noise is noise: a slope over
    twice the width has an eighth of it, by least squares in common with the narrower one. A mean over n independent
    squares of noise strays by the square root of 2/n; as much again is left out, or noise would pass for structure.
    """
    difference = (signal.coarser - signal.bending_angle) ** 2
    usable = np.isfinite(difference)
    if signal.field is not None:
        # Above wave optics windows are so wide that the difference is the curvature of the profile, and noise rules.
        usable &= signal.wave_weight > 0.5
    if not usable.any():
        return np.zeros_like(levels)
    widths = np.where(signal.wave_weight > 0.5, np.nan_to_num(signal.wave_width), signal.geometric_width)
    reach = np.maximum(parameters.structure_window, parameters.structure_widths * widths)
    noise = 0.875 * own * (1.0 + np.sqrt(2.0 * widths / reach))
    mean = _running_mean(np.where(usable, difference - noise, 0.0), usable, levels, reach)
    return np.asarray(parameters.structure_factor * np.sqrt(np.maximum(mean, 0.0)))


def _running_mean(values: FloatArray, usable: BoolArray, levels: FloatArray, half_width: FloatArray) -> FloatArray:
    """Mean of the usable values within half a width of each level."""
    total = np.concatenate([[0.0], np.cumsum(np.where(usable, values, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(usable)])
    low, high = np.searchsorted(levels, levels - half_width), np.searchsorted(levels, levels + half_width)
    return np.asarray((total[high] - total[low]) / np.maximum(count[high] - count[low], 1.0))


def _correlated(deviation: FloatArray, distance: FloatArray, length: float) -> FloatArray:
    """Covariance with exponential correlation."""
    if not deviation.any():
        return np.zeros_like(distance)
    return np.asarray(np.outer(deviation, deviation) * np.exp(-distance / length))


def correlated(deviation: FloatArray, *, at: FloatArray, length: float) -> FloatArray:
    """Covariance with exponential correlation.

    Parameters
    ----------
    deviation : FloatArray
        Standard deviations [1], shape (m,).
    at : FloatArray
        Positions of the levels [m].
    length : float
        Correlation length [m].

    Returns
    -------
    FloatArray
        Covariance [1], shape (m, m).
    """
    return _correlated(deviation, np.abs(at[:, None] - at), length)


def correlation_length(covariance: AnyFloat, *, at: FloatArray, parameters: UncertaintyParameters) -> FloatArray:
    """Distance at which the correlation of an error with its neighbours falls to the threshold.

    Parameters
    ----------
    covariance : AnyFloat
        Covariance [1], shape (m, m).
    at : FloatArray
        Positions of the levels [m], increasing.
    parameters : UncertaintyParameters
        Threshold.

    Returns
    -------
    FloatArray
        Mean of the distances upward and downward [m]; NaN where the variance is zero or the correlation never falls.
    """
    return _kernels.fall_length(
        np.ascontiguousarray(covariance), np.ascontiguousarray(at), parameters.correlation_threshold
    )


def propagate(
    random: FloatArray,
    *,
    systematic: FloatArray,
    operator: FloatArray,
    refractivity: FloatArray,
    altitude: FloatArray,
    latitude: float,
    dry_pressure: FloatArray,
    dry_temperature: FloatArray,
    parameters: UncertaintyParameters,
) -> ProfileUncertainty:
    """Carry the covariance of the merged bending angle to refractivity and the dry state.

    Parameters
    ----------
    random, systematic : FloatArray
        Covariances of the merged bending angle [1], in rad2, shape (m, m).
    operator : FloatArray
        Inverse Abel operator, ln n = K y [1].
    refractivity : FloatArray
        Refractivity [1e-6].
    altitude : FloatArray
        Altitude [m].
    latitude : float
        Geodetic latitude [degree].
    dry_pressure : FloatArray
        Dry pressure [Pa].
    dry_temperature : FloatArray
        Dry temperature [K].
    parameters : UncertaintyParameters
        Threshold of the correlation lengths.

    Returns
    -------
    ProfileUncertainty
        C_N = K C K^T; C_p = A C_N A^T, and the error of the temperature at the top; dT/T = dp/p - dN/N.
    """
    # Single precision: seven digits of a variance are four more than it is worth, in half the time.
    to_refractivity = (1e6 * operator).astype(np.float32)
    scale = np.float32(1e10)
    parts = [
        (to_refractivity @ (scale * part).astype(np.float32)) @ to_refractivity.T / scale
        for part in (random, systematic)
    ]
    variances = [np.diag(part).astype(np.float64) for part in parts]
    whole = parts[0] + parts[1]
    at_top = refractivity[-1] * parameters.top_temperature / constants.REFRACTIVITY_DRY
    total, lasting = (
        _dry_covariances(
            part,
            altitude=altitude,
            latitude=latitude,
            top_temperature=float(dry_temperature[-1]),
            at_top=float(at_top),
            pressure=dry_pressure,
            refractivity=refractivity,
        )
        for part in (whole, parts[1])
    )
    random_part, systematic_part = (np.sqrt(np.maximum(variance, 0.0)) for variance in variances)
    return ProfileUncertainty(
        refractivity=np.hypot(random_part, systematic_part),
        refractivity_random=random_part,
        refractivity_systematic=systematic_part,
        refractivity_length=correlation_length(whole, at=altitude, parameters=parameters),
        dry_pressure=_deviation(total.pressure),
        dry_pressure_systematic=_deviation(lasting.pressure),
        dry_pressure_length=correlation_length(total.pressure, at=altitude, parameters=parameters),
        dry_temperature=_deviation(total.temperature) * np.abs(dry_temperature),
        dry_temperature_systematic=_deviation(lasting.temperature) * np.abs(dry_temperature),
        dry_temperature_length=correlation_length(total.temperature, at=altitude, parameters=parameters),
    )


class _DryCovariances(NamedTuple):
    """Of the dry pressure, and of the relative dry temperature."""

    pressure: AnyFloat
    temperature: AnyFloat


def _dry_covariances(
    refractivity_covariance: AnyFloat,
    *,
    altitude: FloatArray,
    latitude: float,
    top_temperature: float,
    at_top: float,
    pressure: FloatArray,
    refractivity: FloatArray,
) -> _DryCovariances:
    """Dry state of a covariance of the refractivity, with the error of the pressure at the top [Pa]."""
    found = dry_atmosphere.pressure_covariances(
        refractivity_covariance, altitude=altitude, latitude=latitude, top_temperature=top_temperature
    )
    own = found.own + np.float32(at_top**2)
    by_pressure, by_refractivity = (1.0 / part.astype(np.float32) for part in (pressure, refractivity))
    crossed = found.with_refractivity * by_pressure[:, None] * by_refractivity
    relative = own * by_pressure[:, None] * by_pressure - crossed - crossed.T
    return _DryCovariances(own, relative + refractivity_covariance * by_refractivity[:, None] * by_refractivity)


def _deviation(covariance: AnyFloat) -> FloatArray:
    """Standard deviations of a covariance."""
    return np.asarray(np.sqrt(np.maximum(np.diag(covariance), 0.0)), dtype=np.float64)
