"""Earth-fixed and inertial frames.

The inertial frame of one event is the Earth-fixed frame frozen at a reference epoch: over the minutes of an occultation
only the rotation about the pole matters, and precession, nutation and polar motion drop out of every difference the
retrieval forms. Files that come in axes of the true equator and mean equinox (TEME) are turned by sidereal time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors import constants, timescales
from processors.arrays import FloatArray

JULIAN_DAY_OF_GPS = 2_444_244.5
JULIAN_DAY_OF_J2000 = 2_451_545.0
SECONDS_PER_DAY = 86_400.0
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


def greenwich_mean_sidereal_time(time: float) -> float:
    """Angle from the mean equinox to the Greenwich meridian, IAU 1982 model.

    UT1 is taken as UTC: up to 0.9 s, so up to 14 arc seconds of longitude.

    Parameters
    ----------
    time : float
        Time [s since 1980-01-06, GPS].

    Returns
    -------
    float
        Angle [rad], 0 to 2 pi. Aoki et al. (1982), equation 14.
    """
    elapsed = (time - float(timescales.leap_seconds(time))) / SECONDS_PER_DAY
    days = elapsed + JULIAN_DAY_OF_GPS - JULIAN_DAY_OF_J2000
    centuries = days / 36_525.0
    # The 876600 h per century are the whole turns of the mean sun: they enter as the fraction of the day, exactly.
    turns = (days + 0.5) % 1.0 - 0.5
    seconds = 67_310.548_41 + SECONDS_PER_DAY * turns
    seconds += 8_640_184.812_866 * centuries + 0.093_104 * centuries**2 - 6.2e-6 * centuries**3
    return float(2.0 * np.pi * ((seconds / SECONDS_PER_DAY) % 1.0))


def earth_fixed_from_equinox(position: FloatArray, *, time: FloatArray) -> FloatArray:
    """Earth-fixed positions of positions in the axes of true equator and mean equinox (TEME).

    Parameters
    ----------
    position : FloatArray
        Positions in axes that do not turn [m], shape (n, 3).
    time : FloatArray
        Times [s since 1980-01-06, GPS], shape (n,), of one occultation.

    Returns
    -------
    FloatArray
        Earth-fixed positions [m]. The angle is the sidereal time of the first instant and grows with the rotation
        rate of the Earth, so the arc stays inertially smooth over a leap second.
    """
    first = float(time[0])
    angle = greenwich_mean_sidereal_time(first) + constants.EARTH_ROTATION_RATE * (time - first)
    return rotate_about_pole(position, -angle)
