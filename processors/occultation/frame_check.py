"""In which frame positions and velocities are, decided by gravity and not by what the file says.

A satellite falls: in axes that do not turn its acceleration is that of gravity. Positions taken for Earth-fixed are
turned into such axes first, so the wrong hypothesis misses by the Coriolis and centrifugal terms, 2 omega v + omega2 r:
up to 1.1 m s-2 and never under 0.03 m s-2 for a low orbit, up to 0.6 m s-2 for a navigation satellite, against a few
1e-4 m s-2 of unmodelled forces.

What an orbit cannot tell: whether a transmitter's positions belong to the transmission, or are turned into the axes of
the receive time. The light time displaces it along its own orbit by some 300 m, which is an orbit again.
"""

from typing import NamedTuple

import numpy as np

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import frames

EARTH_FIXED, INERTIAL, UNDECIDED = "earth_fixed", "inertial", "undecided"
DEGREE = 7
JUDGED = 0.6
"""Middle part of the arc whose accelerations are judged [1]: polynomials are bad at their ends."""
OBEYS = 0.01
"""Largest acceleration gravity may leave unexplained [m s-2]."""
CONTRAST = 3.0
"""How many times worse the refused hypothesis must be [1]."""
SAME_VELOCITY = 3.0e-4
"""Relative difference up to which velocities are the same [1]: the light time of a transmitter changes by 2e-5 s/s."""


class Verdict(NamedTuple):
    """What gravity says about positions.

    Attributes
    ----------
    frame : str
        earth_fixed, inertial or undecided.
    earth_fixed, inertial : float
        Acceleration left unexplained if the positions are in that frame [m s-2].
    """

    frame: str
    earth_fixed: float
    inertial: float


def judge(position: FloatArray, *, time: FloatArray) -> Verdict:
    """Decide by gravity in which frame positions are.

    Parameters
    ----------
    position : FloatArray
        Positions [m], shape (n, 3); rows with NaN are left out.
    time : FloatArray
        Their times [s], shape (n,).

    Returns
    -------
    Verdict
        Frame and both misfits; undecided where neither hypothesis obeys gravity, or both do.
    """
    turned = frames.rotate_about_pole(position, constants.EARTH_ROTATION_RATE * (time - time[0]))
    fixed, inertial = (_unexplained(rows, time=time) for rows in (turned, position))
    better, worse = min(fixed, inertial), max(fixed, inertial)
    decided = better < OBEYS and worse > CONTRAST * better
    if not decided:
        return Verdict(UNDECIDED, fixed, inertial)
    return Verdict(EARTH_FIXED if fixed < inertial else INERTIAL, fixed, inertial)


def _unexplained(position: FloatArray, *, time: FloatArray) -> float:
    """Root mean square of acceleration minus gravity over the middle of the arc [m s-2].

    The better of gravity with and without the flattening counts: orbits of simulations are often Keplerian.
    """
    kept = np.isfinite(position).all(axis=1)
    if np.count_nonzero(kept) <= 4 * DEGREE:
        return np.inf
    span = float(time[-1] - time[0])
    scaled = 2.0 * (time - time[0]) / span - 1.0
    fit = np.polynomial.chebyshev.chebfit(scaled[kept], position[kept], DEGREE)
    middle = np.linspace(-JUDGED, JUDGED, 41)
    where: FloatArray = np.polynomial.chebyshev.chebval(middle, fit).T.astype(np.float64)
    acceleration = (
        np.polynomial.chebyshev.chebval(middle, np.polynomial.chebyshev.chebder(fit, 2)).T * (2.0 / span) ** 2
    )
    point_mass = -constants.EARTH_GM * where / np.linalg.norm(where, axis=1)[:, None] ** 3
    misses = (acceleration - attraction for attraction in (gravity(where), point_mass))
    return min(float(np.sqrt(np.mean(np.sum(miss**2, axis=1)))) for miss in misses)


def gravity(position: FloatArray) -> FloatArray:
    """Acceleration of a satellite: point mass and the second zonal harmonic.

    Parameters
    ----------
    position : FloatArray
        Positions in axes whose z is the pole [m], shape (n, 3).

    Returns
    -------
    FloatArray
        Acceleration [m s-2], shape (n, 3). Montenbruck and Gill (2000), equation 3.30.
    """
    radius = np.linalg.norm(position, axis=1)[:, None]
    ratio = (position[:, 2:] / radius) ** 2
    flattening = 1.5 * constants.EARTH_J2 * (constants.WGS84_SEMI_MAJOR / radius) ** 2
    factors = 1.0 - flattening * (5.0 * ratio - np.array([1.0, 1.0, 3.0]))
    return np.asarray(-constants.EARTH_GM * position / radius**3 * factors)


def velocity_frame(velocity: FloatArray, *, fitted: frames.State) -> str:
    """How velocities of a file relate to the positions.

    Parameters
    ----------
    velocity : FloatArray
        Velocities of the file [m s-1], shape (n, 3).
    fitted : frames.State
        Earth-fixed positions [m] and rates from a fit [m s-1].

    Returns
    -------
    str
        earth_fixed where they are the rates of the Earth-fixed coordinates; inertial where they have the length of the
        inertial velocity, in whatever axes; undecided otherwise.
    """
    known = np.isfinite(velocity).all(axis=1)
    if not known.any():
        return UNDECIDED
    stated, position, rate = velocity[known], fitted.position[known], fitted.velocity[known]
    inertial = np.linalg.norm(rate + np.cross(frames.ROTATION, position), axis=1)
    scale = float(np.mean(inertial))
    if np.median(np.linalg.norm(stated - rate, axis=1)) < SAME_VELOCITY * scale:
        return EARTH_FIXED
    if np.median(np.abs(np.linalg.norm(stated, axis=1) - inertial)) < SAME_VELOCITY * scale:
        return INERTIAL
    return UNDECIDED


def semi_major(state: frames.State) -> float:
    """Semi-major axis of the orbit of Earth-fixed states, from the vis-viva equation.

    Parameters
    ----------
    state : frames.State
        Earth-fixed positions [m] and rates [m s-1].

    Returns
    -------
    float
        Median over the arc [m].
    """
    speed = np.linalg.norm(state.velocity + np.cross(frames.ROTATION, state.position), axis=1)
    inverse = 2.0 / np.linalg.norm(state.position, axis=1) - speed**2 / constants.EARTH_GM
    return float(1.0 / np.median(inverse))
