"""Keplerian orbits of receivers and navigation satellites, exact at any time, in the Earth-fixed frame."""

from dataclasses import dataclass

import numpy as np

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import frames
from processors.orbit import sp3

GPS_SEMI_MAJOR = 26_559_700.0
GPS_INCLINATION = 55.0
PLANES, SLOTS = 6, 5
SP3_STEP = 900.0
SP3_MARGIN = 7_200.0


@dataclass(frozen=True)
class KeplerianOrbit:
    """Undisturbed elliptic orbit.

    Attributes
    ----------
    semi_major : float
        Semi-major axis [m].
    eccentricity : float
        Eccentricity [1].
    inclination, ascending_node, perigee, mean_anomaly : float
        Inclination, right ascension of the ascending node, argument of perigee and mean anomaly at the epoch [rad]; the
        node counts from the Earth-fixed x axis at the epoch.
    epoch : float
        Epoch [s since 1980-01-06, GPS].
    """

    semi_major: float
    eccentricity: float
    inclination: float
    ascending_node: float
    perigee: float
    mean_anomaly: float
    epoch: float

    def inertial(self, time: FloatArray) -> frames.State:
        """State in the inertial frame of the epoch.

        Parameters
        ----------
        time : FloatArray
            Times [s since 1980-01-06, GPS].

        Returns
        -------
        frames.State
            Position [m] and velocity [m s-1], shape (n, 3).
        """
        motion = np.sqrt(constants.EARTH_GM / self.semi_major**3)
        mean = self.mean_anomaly + motion * (time - self.epoch)
        anomaly = mean
        for _ in range(12):
            anomaly = mean + self.eccentricity * np.sin(anomaly)
        cosine, sine, e = np.cos(anomaly), np.sin(anomaly), self.eccentricity
        minor = np.sqrt(1.0 - e**2)
        rate = self.semi_major * motion / (1.0 - e * cosine)
        along, across = self._axes()
        position = self.semi_major * ((cosine - e)[:, None] * along + (minor * sine)[:, None] * across)
        velocity = (-rate * sine)[:, None] * along + (rate * minor * cosine)[:, None] * across
        return frames.State(position, velocity)

    def _axes(self) -> tuple[FloatArray, FloatArray]:
        """Unit vectors to the perigee and along the motion there."""
        node = np.array([np.cos(self.ascending_node), np.sin(self.ascending_node), 0.0])
        pole_side = np.array(
            [-node[1] * np.cos(self.inclination), node[0] * np.cos(self.inclination), np.sin(self.inclination)]
        )
        cosine, sine = np.cos(self.perigee), np.sin(self.perigee)
        return cosine * node + sine * pole_side, cosine * pole_side - sine * node

    def earth_fixed(self, time: FloatArray) -> frames.State:
        """State in the Earth-fixed frame.

        Parameters
        ----------
        time : FloatArray
            Times [s since 1980-01-06, GPS].

        Returns
        -------
        frames.State
            Position [m] and rate of the Earth-fixed coordinates [m s-1], shape (n, 3).
        """
        return frames.earth_fixed_from_inertial(self.inertial(time), time=time, epoch=self.epoch)


def receiver_over(
    latitude: float, longitude: float, *, time: float, altitude: float, inclination: float
) -> KeplerianOrbit:
    """Circular orbit that crosses a place northbound.

    Parameters
    ----------
    latitude, longitude : float
        Place [degree], the latitude within the inclination.
    time : float
        Time of the crossing [s since 1980-01-06, GPS].
    altitude : float
        Altitude above the semi-major axis of the ellipsoid [m].
    inclination : float
        Inclination [degree].

    Returns
    -------
    KeplerianOrbit
        The orbit, with the crossing as its epoch.
    """
    tilt, phi = np.deg2rad(inclination), np.deg2rad(latitude)
    argument = np.arcsin(np.sin(phi) / np.sin(tilt))
    node = np.deg2rad(longitude) - np.arctan2(np.cos(tilt) * np.sin(argument), np.cos(argument))
    return KeplerianOrbit(
        constants.WGS84_SEMI_MAJOR + altitude, 0.0, float(tilt), float(node), 0.0, float(argument), time
    )


def navigation_constellation(epoch: float, *, generator: np.random.Generator) -> dict[str, KeplerianOrbit]:
    """Thirty satellites in six planes, slightly eccentric and unevenly spaced.

    Parameters
    ----------
    epoch : float
        Epoch of the elements [s since 1980-01-06, GPS].
    generator : np.random.Generator
        Source of the irregularities.

    Returns
    -------
    dict[str, KeplerianOrbit]
        Orbit by RINEX 3 name, G01 to G30.
    """
    turn = generator.uniform(0.0, 2.0 * np.pi)
    constellation = {}
    for index in range(PLANES * SLOTS):
        plane, slot = divmod(index, SLOTS)
        anomaly = 2.0 * np.pi * (slot / SLOTS + plane / (PLANES * SLOTS)) + generator.normal(0.0, 0.1)
        constellation[f"G{index + 1:02d}"] = KeplerianOrbit(
            GPS_SEMI_MAJOR,
            float(generator.uniform(0.001, 0.012)),
            float(np.deg2rad(GPS_INCLINATION + generator.normal(0.0, 0.5))),
            float(turn + 2.0 * np.pi * plane / PLANES),
            float(generator.uniform(0.0, 2.0 * np.pi)),
            float(anomaly),
            epoch,
        )
    return constellation


def precise_orbits(
    constellation: dict[str, KeplerianOrbit], *, clocks: dict[str, tuple[float, float]], start: float, stop: float
) -> sp3.Sp3Orbits:
    """Table of a constellation every 15 minutes, as the analysis centres publish it.

    Parameters
    ----------
    constellation : dict[str, KeplerianOrbit]
        Orbits by name.
    clocks : dict[str, tuple[float, float]]
        Clock offset [s] at `start` and drift [s s-1] by name.
    start, stop : float
        Times the table must cover with a margin of two hours [s since 1980-01-06, GPS].

    Returns
    -------
    sp3.Sp3Orbits
        Positions and clocks.
    """
    first = np.floor((start - SP3_MARGIN) / SP3_STEP)
    last = np.ceil((stop + SP3_MARGIN) / SP3_STEP)
    time = SP3_STEP * np.arange(first, last + 1.0)
    names = tuple(sorted(constellation))
    position = np.stack([constellation[name].earth_fixed(time).position for name in names], axis=1)
    clock = np.stack([clocks[name][0] + clocks[name][1] * (time - start) for name in names], axis=1)
    return sp3.Sp3Orbits(time, names, position, clock)
