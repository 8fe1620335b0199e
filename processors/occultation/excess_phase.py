"""Excess phase of our own satellites: carrier phase minus straight line, clocks and relativity.

carrier phase = path + c (receiver clock - satellite clock) + constant, where the satellite clock is the SP3 value plus
the periodic relativistic term -2 r.v/c2 (IS-GPS-200, 20.3.3.3.3.1) and the sample times are readings of the receiver
clock.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import ellipsoid, frames
from processors.occultation import level1b
from processors.orbit import interpolation, sp3
from processors.quality import BadInputError

LIGHT_TIME_ROUNDS = 4
TOP_SECONDS = 1.0
EVENT_VARIABLES = ("time", "carrier_phase", "snr", "carrier_frequency")
RECEIVER_VARIABLES = ("time", "position", "velocity", "clock_bias")


class Transmission(NamedTuple):
    """Transmitter as the receiver sees it.

    Attributes
    ----------
    state : frames.State
        Position at transmission [m] in the Earth-fixed axes of the receive time, and its rate per unit of receive time
        [m s-1].
    clock : FloatArray
        Satellite clock minus GPS time at transmission, periodic relativity included [s].
    distance : FloatArray
        Straight-line distance to the receiver [m].
    """

    state: frames.State
    clock: FloatArray
    distance: FloatArray


def transmission(
    receiver_position: FloatArray,
    *,
    receiver_velocity: FloatArray,
    time: FloatArray,
    transmitters: sp3.Sp3Orbits,
    satellite: str,
) -> Transmission:
    """Solve the light time from a transmitter to the receiver.

    Parameters
    ----------
    receiver_position, receiver_velocity : FloatArray
        Earth-fixed state of the receiver [m] and [m s-1], shape (n, 3).
    time : FloatArray
        Receive times [s since 1980-01-06, GPS].
    transmitters : sp3.Sp3Orbits
        Precise orbits and clocks.
    satellite : str
        RINEX 3 name.

    Returns
    -------
    Transmission
        Transmitter state, clock and distance.

    Raises
    ------
    BadInputError
        `orbit_missing` where the orbits do not cover the satellite or the time.
    """
    flight = np.full_like(time, 0.075)
    for _ in range(LIGHT_TIME_ROUNDS):
        emitted = sp3.state(transmitters, satellite, time=time - flight)
        turn = -constants.EARTH_ROTATION_RATE * flight
        position = frames.rotate_about_pole(emitted.position, turn)
        distance = np.linalg.norm(receiver_position - position, axis=1)
        flight = distance / constants.SPEED_OF_LIGHT
    velocity = frames.rotate_about_pole(emitted.velocity, turn)
    inertial = velocity + np.cross(frames.ROTATION, position)
    relativity = -2.0 * np.einsum("ij,ij->i", position, inertial) / constants.SPEED_OF_LIGHT**2
    return Transmission(
        frames.State(position, _per_receive_time(position, velocity, receiver_position, receiver_velocity)),
        emitted.clock + relativity,
        distance,
    )


def _per_receive_time(
    position: FloatArray, velocity: FloatArray, receiver_position: FloatArray, receiver_velocity: FloatArray
) -> FloatArray:
    """Rate of the transmitter's coordinates per unit of receive time: the light time changes on the way."""
    line = receiver_position - position
    direction = line / np.linalg.norm(line, axis=1)[:, None]
    inertial = velocity + np.cross(frames.ROTATION, position)
    receiver_inertial = receiver_velocity + np.cross(frames.ROTATION, receiver_position)
    toward = np.einsum("ij,ij->i", direction, inertial) / constants.SPEED_OF_LIGHT
    flight_rate = (
        np.einsum("ij,ij->i", direction, receiver_inertial - inertial) / constants.SPEED_OF_LIGHT / (1.0 - toward)
    )
    rate = inertial * (1.0 - flight_rate)[:, None]
    return np.asarray(rate - np.cross(frames.ROTATION, position))


def excess_phase_from_carrier(event: xr.Dataset, *, receiver: xr.Dataset, transmitters: sp3.Sp3Orbits) -> xr.Dataset:
    """Level 1B of an occultation observed by one of our own receivers.

    Parameters
    ----------
    event : xr.Dataset
        `time` [s, readings of the receiver clock, GPS scale], `carrier_phase` (signal, time) [m], `snr` (signal, time)
        [V/V], `carrier_frequency` (signal) [Hz]; attributes event_id, transmitter, setting and, if known, receiver and
        mission.
    receiver : xr.Dataset
        `time` [s, GPS], `position` (time, xyz) [m, Earth-fixed], `velocity` (time, xyz) [m s-1, Earth-fixed] and
        `clock_bias` [s], receiver clock minus GPS time; short gaps are bridged.
    transmitters : sp3.Sp3Orbits
        Precise orbits and clocks.

    Returns
    -------
    xr.Dataset
        Level 1B; the phase of each signal is zero at the top of the profile.

    Raises
    ------
    BadInputError
        `not_carrier_phase`, `truncated` where too few samples arrived, `orbit_missing` or a breach of the level 1B
        contract.
    """
    _require_inputs(event, receiver)
    reading = event["time"].to_numpy().astype(np.float64)
    time = _true_time(reading, receiver)
    orbit = _receiver_state(receiver, time=time)
    satellite = str(event.attrs["transmitter"])
    sent = transmission(
        orbit.position, receiver_velocity=orbit.velocity, time=time, transmitters=transmitters, satellite=satellite
    )
    clocks = constants.SPEED_OF_LIGHT * ((reading - time) - sent.clock)
    excess = event["carrier_phase"].to_numpy() - sent.distance - clocks
    name = str(event.attrs.get("receiver", "tl01"))
    attributes = {
        "occultation_id": level1b.occultation_id(satellite, name, float(time[0])),
        "transmitter": satellite,
        "receiver": name.lower(),
        "mission": str(event.attrs.get("mission", "terralimb")),
        "event_id": int(event.attrs.get("event_id", 0)),
    }
    return level1b.assemble(
        time,
        excess_phase=_zero_at_top(
            excess, time=time, heights=_straight_line_heights(orbit.position, sent.state.position)
        ),
        snr=event["snr"].to_numpy(),
        carrier_frequency=event["carrier_frequency"].to_numpy(),
        receiver=orbit,
        transmitter=sent.state,
        attributes=attributes,
    )


def _require_inputs(event: xr.Dataset, receiver: xr.Dataset) -> None:
    """Refuse events and orbits that lack what the equations need."""
    for dataset, kind, names in ((event, "event", EVENT_VARIABLES), (receiver, "receiver orbit", RECEIVER_VARIABLES)):
        missing = [name for name in names if name not in dataset.variables]
        if missing:
            raise BadInputError("not_carrier_phase", f"the {kind} lacks {', '.join(missing)}")
    if "transmitter" not in event.attrs:
        raise BadInputError("not_carrier_phase", "the event does not name its transmitter")
    _require_samples(event)
    if receiver.sizes["time"] < interpolation.NODES:
        raise BadInputError(
            "orbit_missing",
            f"the receiver orbit has {receiver.sizes['time']} epochs, fewer than the {interpolation.NODES} needed",
        )


def _require_samples(event: xr.Dataset) -> None:
    """Refuse events of which no samples arrived, or too few to hold an occultation."""
    time = event["time"].to_numpy()
    span = float(time[-1] - time[0]) if time.size else 0.0
    if not span >= level1b.SHORTEST:
        raise BadInputError(
            "truncated",
            f"of event {event.attrs.get('event_id', 'without number')} of {event.attrs['transmitter']} only"
            f" {time.size} samples over {span:.1f} s arrived, less than the {level1b.SHORTEST:.0f} s an occultation"
            " needs",
        )


def _true_time(reading: FloatArray, receiver: xr.Dataset) -> FloatArray:
    """GPS time of readings of the receiver clock."""
    table, bias = receiver["time"].to_numpy(), receiver["clock_bias"].to_numpy()
    time = reading
    for _ in range(2):
        time = reading - np.interp(time, table, bias)
    return time


def _receiver_state(receiver: xr.Dataset, *, time: FloatArray) -> frames.State:
    """Receiver position and velocity at the sample times."""
    names = ("time", "position", "velocity")
    epochs, position, velocity = (receiver[name].to_numpy().astype(np.float64) for name in names)
    table = interpolation.regular_table(epochs, position=position, velocity=velocity)
    found = interpolation.interpolate(table.position, start=table.start, step=table.step, time=time)
    if not np.isfinite(found.value).all():
        raise BadInputError("orbit_missing", "the receiver orbit does not cover the occultation without long gaps")
    return frames.State(found.value, found.rate)


def _straight_line_heights(receiver: FloatArray, transmitter: FloatArray) -> FloatArray:
    """Heights of the straight lines above the ellipsoid [m]."""
    return ellipsoid.from_ecef(ellipsoid.tangent_point(transmitter, receiver)).height


def _zero_at_top(excess: FloatArray, *, time: FloatArray, heights: FloatArray) -> FloatArray:
    """Remove the arbitrary constant: each signal is zero on average over the uppermost second."""
    top = np.abs(time - time[int(np.argmax(heights))]) <= TOP_SECONDS
    present = np.isfinite(excess)
    usable = present & (top if (present & top).any() else np.ones_like(top))
    count = np.maximum(usable.sum(axis=1), 1)
    mean = np.where(usable, np.nan_to_num(excess), 0.0).sum(axis=1) / count
    return np.asarray(excess - mean[:, None])
