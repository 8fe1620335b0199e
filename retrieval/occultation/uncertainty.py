"""Error covariances: what makes the bending angle uncertain, and its exact way through the linear steps after it.

Random: phase noise of both signals through their averaging kernels (a slope of white phase noise, so errors of
neighbouring layers are of opposite sign and hardly add up below); what else moved the phases at 60 to 80 km (clocks,
irregular ionosphere); and structure coarser than the kernel. Systematic: the ionosphere carried below the loss of the
second signal, its residual, the background, bridged gaps, and a floor for geometry and refraction constants.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from processors.arrays import BoolArray, FloatArray
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
    correlation_threshold : float
        Correlation at the correlation length [1].
    smallest_amplitude : float
        Amplitude in impact parameter below which the noise is not scaled further [1].
    """

    largest_overestimate: float = 2.0
    excess_length: float = 2_700.0
    structure_factor: float = 0.78
    structure_window: float = 1_000.0
    structure_widths: float = 8.0
    systematic_floor: float = 1e-5
    systematic_length: float = 10_000.0
    correlation_threshold: float = float(np.exp(-1.0))
    smallest_amplitude: float = 0.2


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
    excess : float
        Standard deviation high up beyond the noise of the phases [rad].
    """

    random: FloatArray
    systematic: FloatArray
    excess: float


class ProfileUncertainty(NamedTuple):
    """Standard deviations and correlation lengths of the derived profiles, shape (m,).

    Attributes
    ----------
    refractivity, refractivity_random, refractivity_systematic : FloatArray
        Total and parts for the refractivity [1e-6].
    refractivity_length : FloatArray
        Correlation length of its error [m].
    dry_pressure : FloatArray
        Of the dry pressure [Pa].
    dry_temperature : FloatArray
        Of the dry temperature [K].
    dry_temperature_length : FloatArray
        Correlation length of its error [m].
    """

    refractivity: FloatArray
    refractivity_random: FloatArray
    refractivity_systematic: FloatArray
    refractivity_length: FloatArray
    dry_pressure: FloatArray
    dry_temperature: FloatArray
    dry_temperature_length: FloatArray


def averaging_kernel(
    signal: SignalBending, *, levels: FloatArray, nodes: FloatArray, parameters: UncertaintyParameters
) -> sparse.csr_array:
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

    Returns
    -------
    scipy.sparse.csr_array
        Operator [1], shape (m, k), in rad for noise of unit variance.
    """
    width_of_node = np.gradient(nodes)
    known = np.isfinite(signal.amplitude)
    amplitude = np.where(known, np.clip(np.nan_to_num(signal.amplitude), parameters.smallest_amplitude, 1.0), 1.0)
    parts = []
    for cubic, widths, weight in (
        (signal.cubic, signal.wave_width, signal.wave_weight / amplitude),
        (np.ones_like(signal.cubic), signal.geometric_width, 1.0 - signal.wave_weight),
    ):
        rows = np.flatnonzero((weight > 0.0) & np.isfinite(widths))
        first = np.searchsorted(nodes, levels[rows] - widths[rows])
        last = np.searchsorted(nodes, levels[rows] + widths[rows])
        count = last - first
        row = np.repeat(rows, count)
        column = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        u = (nodes[column] - levels[row]) / widths[row]
        value = (
            weight[row]
            * signal_bending.slopes(u, cubic=cubic[row])
            / widths[row] ** 2
            * np.sqrt(signal.noise_density * width_of_node[column])
        )
        parts.append(sparse.csr_array((value, (row, column)), shape=(levels.size, nodes.size)))
    return sparse.csr_array(parts[0] + parts[1])


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
        Standard deviation of observed minus background bending in `noise_layer` [rad], NaN where not observed.
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
    one = averaging_kernel(first, levels=levels, nodes=nodes, parameters=parameters)
    two = averaging_kernel(second, levels=levels, nodes=nodes, parameters=parameters)
    matched = averaging_kernel(
        first._replace(wave_width=second.wave_width), levels=levels, nodes=nodes, parameters=parameters
    )
    smoother = correction.gain * correction.smoother
    both = sparse.hstack([one + smoother @ matched, -(smoother @ two)]).tocsr()
    thermal = (both @ both.T).toarray()
    present = np.isfinite(correction.bending_angle)
    height = levels - radius
    high = present & (height >= noise_layer[0]) & (height <= noise_layer[1])
    excess = 0.0
    if high.any() and np.isfinite(noise):
        predicted = float(np.mean(np.diag(thermal)[high]))
        excess = float(np.sqrt(max(noise**2 - predicted, 0.0)))
        # Far less noise than the phases show one by one is what both signals share, the irregular ionosphere.
        thermal *= min(1.0, parameters.largest_overestimate * noise**2 / predicted)
    distance = np.abs(levels[:, None] - levels)
    slower = sinking_rate[-1] / sinking_rate
    moved = _correlated(excess * slower, distance, parameters.excess_length)
    # What a kernel misses is finer than what it passes and a kernel twice as wide does not: it is given that shape.
    wider = first._replace(wave_width=2.0 * first.wave_width, geometric_width=2.0 * first.geometric_width)
    missed = one - averaging_kernel(wider, levels=levels, nodes=nodes, parameters=parameters)
    unresolved = sparse.diags_array(_structure(first, levels=levels, noise=one, parameters=parameters)) @ missed
    random = thermal + moved + (unresolved @ unresolved.T).toarray()
    floor = parameters.systematic_floor * np.nan_to_num(correction.bending_angle)
    systematic = _correlated(
        np.hypot(np.nan_to_num(correction.systematic), floor), distance, parameters.systematic_length
    )
    mask = np.outer(present, present)
    return BendingCovariance(np.where(mask, random, 0.0), np.where(mask, systematic, 0.0), excess)


def _structure(
    signal: SignalBending, *, levels: FloatArray, noise: sparse.csr_array, parameters: UncertaintyParameters
) -> FloatArray:
    """Structure finer than the kernel relative to the noise that passes it and not one twice as wide [1].

    Told from what twice the width loses. Of that difference 7/8 of the variance of the noise is noise: a slope over
    twice the width has an eighth of it, by least squares in common with the narrower one.
    """
    difference = (signal.coarser - signal.bending_angle) ** 2
    usable = np.isfinite(difference) & (signal.wave_weight > 0.0)
    variance = np.zeros_like(levels)
    if not usable.any():
        return variance
    own = np.asarray(noise.multiply(noise).sum(axis=1)).ravel()
    widths = np.where(usable, np.nan_to_num(signal.wave_width), 0.0)
    reach = np.maximum(parameters.structure_window, parameters.structure_widths * widths)
    mean = _running_mean(np.where(usable, difference - 0.875 * own, 0.0), usable, levels, reach)
    return np.asarray(
        parameters.structure_factor * np.sqrt(np.maximum(mean, 0.0) / np.where(own > 0.0, 0.875 * own, np.inf))
    )


def _running_mean(values: FloatArray, usable: BoolArray, levels: FloatArray, half_width: FloatArray) -> FloatArray:
    """Mean of the usable values within half a width of each level."""
    total = np.concatenate([[0.0], np.cumsum(np.where(usable, values, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(usable)])
    low, high = np.searchsorted(levels, levels - half_width), np.searchsorted(levels, levels + half_width)
    return np.asarray((total[high] - total[low]) / np.maximum(count[high] - count[low], 1.0))


def _correlated(deviation: FloatArray, distance: FloatArray, length: FloatArray | float) -> FloatArray:
    """Covariance with exponential correlation; of two lengths the geometric mean."""
    if not deviation.any():
        return np.zeros_like(distance)
    scale = np.sqrt(np.outer(length, length)) if np.ndim(length) else length
    return np.asarray(np.outer(deviation, deviation) * np.exp(-distance / scale))


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


def correlation_length(covariance: FloatArray, *, at: FloatArray, parameters: UncertaintyParameters) -> FloatArray:
    """Distance at which the correlation of an error with its neighbours falls to the threshold.

    Parameters
    ----------
    covariance : FloatArray
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
        np.ascontiguousarray(covariance, dtype=np.float64), np.ascontiguousarray(at), parameters.correlation_threshold
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
        C_N = K C K^T; C_p = A C_N A^T; dT/T = dp/p - dN/N.
    """
    # Single precision: seven digits of a variance are four more than it is worth, in half the time.
    to_refractivity = (1e6 * operator).astype(np.float32)
    scale = np.float32(1e10)
    halves = [to_refractivity @ (scale * part).astype(np.float32) for part in (random, systematic)]
    variances = [np.einsum("ij,ij->i", half, to_refractivity).astype(np.float64) / scale for half in halves]
    whole = ((halves[0] + halves[1]) @ to_refractivity.T).astype(np.float64) / float(scale)
    pressure = dry_atmosphere.pressure_covariances(
        whole, altitude=altitude, latitude=latitude, top_temperature=float(dry_temperature[-1])
    )
    relative = refractivity[:, None] * refractivity
    of_temperature = (
        pressure.own / np.outer(dry_pressure, dry_pressure)
        - pressure.with_refractivity / np.outer(dry_pressure, refractivity)
        - pressure.with_refractivity.T / np.outer(refractivity, dry_pressure)
        + whole / relative
    )
    deviation = np.sqrt(np.maximum(np.diag(of_temperature), 0.0)) * np.abs(dry_temperature)
    random_part, systematic_part = (np.sqrt(np.maximum(variance, 0.0)) for variance in variances)
    return ProfileUncertainty(
        refractivity=np.hypot(random_part, systematic_part),
        refractivity_random=random_part,
        refractivity_systematic=systematic_part,
        refractivity_length=correlation_length(whole, at=altitude, parameters=parameters),
        dry_pressure=np.sqrt(np.maximum(np.diag(pressure.own), 0.0)),
        dry_temperature=deviation,
        dry_temperature_length=correlation_length(of_temperature, at=altitude, parameters=parameters),
    )
