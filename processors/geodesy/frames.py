"""Earth-fixed and inertial frames.

The inertial frame of one event is the Earth-fixed frame frozen at a reference epoch: over the minutes of an occultation
only the rotation about the pole matters, and precession, nutation and polar motion drop out of every difference the
retrieval forms.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors import constants
from processors.arrays import FloatArray

ROTATION = np.array([0.0, 0.0, constants.EARTH_ROTATION_RATE])


class State(NamedTuple):
    """Position and velocity in one frame.

    Attributes
    ----------
    position : FloatArray
        Position [m], shape (..., 3).
    velocity : FloatArray
        Velocity [m s-1], shape (..., 3).
    """

    position: FloatArray
    velocity: FloatArray


def rotate_about_pole(vector: FloatArray, angle: npt.ArrayLike) -> FloatArray:
    """Turn vectors about the z axis, positive eastward.

    Parameters
    ----------
    vector : FloatArray
        Vectors [1], shape (..., 3).
    angle : array_like
        Angle [rad], shape (...).

    Returns
    -------
    FloatArray
        Turned vectors in the unit of the input [1], shape (..., 3).
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y, z = np.moveaxis(np.asarray(vector, dtype=np.float64), -1, 0)
    return np.stack(np.broadcast_arrays(cosine * x - sine * y, sine * x + cosine * y, z), axis=-1)


def inertial_from_earth_fixed(state: State, *, time: npt.ArrayLike, epoch: float) -> State:
    """State in the inertial frame that coincides with the Earth-fixed one at the epoch.

    Parameters
    ----------
    state : State
        Earth-fixed position [m] and velocity [m s-1] (rate of the Earth-fixed coordinates).
    time : array_like
        Times of the states [s].
    epoch : float
        Time at which the frames coincide [s], same scale.

    Returns
    -------
    State
        Inertial position [m] and velocity [m s-1].
    """
    angle = constants.EARTH_ROTATION_RATE * (np.asarray(time, dtype=np.float64) - epoch)
    velocity = state.velocity + np.cross(ROTATION, state.position)
    return State(rotate_about_pole(state.position, angle), rotate_about_pole(velocity, angle))


def earth_fixed_from_inertial(state: State, *, time: npt.ArrayLike, epoch: float) -> State:
    """State in the Earth-fixed frame; the inverse of `inertial_from_earth_fixed`.

    Parameters
    ----------
    state : State
        Inertial position [m] and velocity [m s-1].
    time : array_like
        Times of the states [s].
    epoch : float
        Time at which the frames coincide [s], same scale.

    Returns
    -------
    State
        Earth-fixed position [m] and velocity [m s-1].
    """
    angle = -constants.EARTH_ROTATION_RATE * (np.asarray(time, dtype=np.float64) - epoch)
    position = rotate_about_pole(state.position, angle)
    return State(position, rotate_about_pole(state.velocity, angle) - np.cross(ROTATION, position))
