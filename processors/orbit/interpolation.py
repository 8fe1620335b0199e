"""Interpolation of tabulated orbits and smoothing of sampled ones."""

from typing import NamedTuple

import numpy as np
from scipy import interpolate as interpolation

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import frames

NODES = 11
"""Nodes of the polynomial [1]: order 10 carries a 15-minute GNSS table to better than a millimetre."""


MAX_GAP = 10.0
"""Longest gap of an orbit that is bridged [s]: the cubic through positions and velocities errs by 0.2 mm there."""


class RegularTable(NamedTuple):
    """Orbit at regular epochs.

    Attributes
    ----------
    start : float
        Time of the first row [s].
    step : float
        Spacing of the rows [s].
    position : FloatArray
        Positions [m], shape (rows, 3); NaN in gaps that were too long to bridge.
    """

    start: float
    step: float
    position: FloatArray


class Interpolated(NamedTuple):
    """Value and rate of a table at requested times.

    Attributes
    ----------
    value : FloatArray
        Value in the unit of the table [1], shape (n, k).
    rate : FloatArray
        Time derivative [s-1], shape (n, k).
    """

    value: FloatArray
    rate: FloatArray


class SmoothedOrbit(NamedTuple):
    """Orbit arc fitted in the inertial frame, expressed in the Earth-fixed one.

    Attributes
    ----------
    state : frames.State
        Earth-fixed position [m] and velocity [m s-1], shape (n, 3).
    residual : float
        Largest root-mean-square misfit of the three components [m].
    """

    state: frames.State
    residual: float


def interpolate(table: FloatArray, *, start: float, step: float, time: FloatArray) -> Interpolated:
    """Lagrange interpolation of a regular table with its derivative.

    Parameters
    ----------
    table : FloatArray
        Values at regular times [1], shape (rows, k); a NaN makes every polynomial that touches it NaN.
    start : float
        Time of the first row [s].
    step : float
        Spacing of the rows [s].
    time : FloatArray
        Requested times [s], shape (n,); NaN outside the table.

    Returns
    -------
    Interpolated
        Values and rates at the requested times.
    """
    nodes = min(NODES, table.shape[0])
    half = (nodes - 1) / 2.0
    position = (time - start) / step
    first = np.clip(np.round(position - half), 0, table.shape[0] - nodes).astype(np.int64)
    local = (position - first - half) / half
    grid = np.linspace(-1.0, 1.0, nodes)
    inverse = np.linalg.inv(np.vander(grid, increasing=True))
    coefficients = np.einsum("ij,njk->nik", inverse, table[first[:, None] + np.arange(nodes)])
    value = np.zeros_like(coefficients[:, 0])
    rate = np.zeros_like(value)
    for coefficient in np.moveaxis(coefficients, 1, 0)[::-1]:
        rate = rate * local[:, None] + value
        value = value * local[:, None] + coefficient
    inside = ((position >= -1e-9) & (position <= table.shape[0] - 1 + 1e-9))[:, None]
    return Interpolated(np.where(inside, value, np.nan), np.where(inside, rate / (half * step), np.nan))


def regular_table(time: FloatArray, *, position: FloatArray, velocity: FloatArray) -> RegularTable:
    """Bring an orbit with lost epochs onto regular ones.

    Parameters
    ----------
    time : FloatArray
        Epochs, increasing; all are multiples of the usual spacing apart [s], shape (n,).
    position : FloatArray
        Earth-fixed positions [m], shape (n, 3).
    velocity : FloatArray
        Their rates in the same frame [m s-1], shape (n, 3).

    Returns
    -------
    RegularTable
        The epochs given and those between them, bridged by the cubic through both neighbours' states where the gap is
        at most `MAX_GAP`.
    """
    step = float(np.median(np.diff(time)))
    rows = np.round((time - time[0]) / step).astype(np.int64)
    filled: FloatArray = np.full((int(rows[-1]) + 1, 3), np.nan)
    filled[rows] = position
    missing = np.flatnonzero(~np.isfinite(filled[:, 0]))
    before = np.searchsorted(rows, missing) - 1
    short = np.diff(rows)[before] * step <= MAX_GAP
    bridge = interpolation.CubicHermiteSpline(time, position, velocity)
    filled[missing[short]] = bridge(time[0] + missing[short] * step)
    return RegularTable(float(time[0]), step, filled)


def smooth(position: FloatArray, *, time: FloatArray, degree: int) -> SmoothedOrbit:
    """Fit one polynomial to a short arc in the inertial frame and differentiate it.

    Parameters
    ----------
    position : FloatArray
        Earth-fixed position [m], shape (n, 3); rows with NaN get their state from the fit through the others.
    time : FloatArray
        Times of the positions [s], shape (n,).
    degree : int
        Degree of the Chebyshev polynomial [1].

    Returns
    -------
    SmoothedOrbit
        Smoothed Earth-fixed states and the misfit.
    """
    epoch = float(time[0])
    inertial = frames.rotate_about_pole(position, constants.EARTH_ROTATION_RATE * (time - epoch))
    fitted = polynomial_arc(inertial, time=time, degree=degree, at=time)
    state = frames.earth_fixed_from_inertial(frames.State(fitted.value, fitted.rate), time=time, epoch=epoch)
    return SmoothedOrbit(state, float(np.sqrt(np.nanmean((fitted.value - inertial) ** 2, axis=0)).max()))


def polynomial_arc(position: FloatArray, *, time: FloatArray, degree: int, at: FloatArray) -> Interpolated:
    """Chebyshev polynomial through an arc in axes that do not turn, and its rate.

    Parameters
    ----------
    position : FloatArray
        Positions [m], shape (n, 3); rows with NaN are left out of the fit.
    time : FloatArray
        Times of the positions [s], shape (n,).
    degree : int
        Degree of the polynomial [1].
    at : FloatArray
        Requested times [s], shape (m,).

    Returns
    -------
    Interpolated
        Positions [m] and rates [m s-1] at the requested times.
    """
    epoch = float(time[0])
    span = max(float(time[-1] - epoch), 1.0)
    known = np.isfinite(position).all(axis=1)
    coefficients = np.polynomial.chebyshev.chebfit(2.0 * (time[known] - epoch) / span - 1.0, position[known], degree)
    scaled = 2.0 * (at - epoch) / span - 1.0
    value: FloatArray = np.polynomial.chebyshev.chebval(scaled, coefficients).T.astype(np.float64)
    slope = np.polynomial.chebyshev.chebder(coefficients)
    rate: FloatArray = np.polynomial.chebyshev.chebval(scaled, slope).T.astype(np.float64) * (2.0 / span)
    return Interpolated(value, rate)


def arc_degree(span: float, *, highest: int) -> int:
    """Degree of the polynomial that carries an arc without following its noise.

    Parameters
    ----------
    span : float
        Length of the arc [s].
    highest : int
        Degree for long arcs [1].

    Returns
    -------
    int
        Degree [1]: 5 for the shortest arcs, one more per 20 s. Truncation stays under 1e-5 m up to 300 s on low
        orbits, and the noise of the rates, which grows with the cube of the degree over the span, stays that of 110 s.
    """
    return int(np.clip(round(4.0 + span / 20.0), 5, highest))
