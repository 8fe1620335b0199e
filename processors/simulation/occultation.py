"""Forward model of radio occultations: from a known atmosphere to the carrier phases of a receiver.

Independent of the retrieval in every step: bending by quadrature of the refraction integral (no Abel code), rays by
solving for the impact parameter between moving satellites, phase from the eikonal (no Doppler), clocks and light time
applied forward.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import curvature, ellipsoid, frames, geoid
from processors.orbit import sp3
from processors.simulation import atmosphere, orbits

FREQUENCIES = np.array([constants.GPS_L1, constants.GPS_L2])


@dataclass(frozen=True)
class OccultationSimulation:
    """Parameters of the simulated receiver and its surroundings.

    Attributes
    ----------
    latitude, longitude : float
        Place near which the occultations are chosen [degree].
    altitude, inclination : float
        Orbit of the receiver [m] and [degree].
    rate : float
        Sampling rate [Hz].
    top : float
        Straight-line height at which the record begins or ends [m].
    bottom : float
        Lowest altitude a ray reaches [m].
    snr : tuple
        Unobstructed signal-to-noise ratio of both signals in volts [1].
    noise : float
        Factor on the thermal phase noise [1]; 0 switches it off.
    ionosphere : atmosphere.ChapmanLayer or None
        Free electrons.
    candidates : int
        Constellations tried to bring the occultations near the place [1].
    slowest, fastest : float
        Rates of the straight-line height between which events are accepted [m s-1].
    """

    latitude: float = 29.5
    longitude: float = 106.5
    altitude: float = 800_000.0
    inclination: float = 72.0
    rate: float = 50.0
    top: float = 100_000.0
    bottom: float = 800.0
    snr: tuple[float, float] = (900.0, 600.0)
    noise: float = 1.0
    ionosphere: atmosphere.ChapmanLayer | None = field(default_factory=atmosphere.ChapmanLayer)
    candidates: int = 12
    slowest: float = 1_800.0
    fastest: float = 2_900.0


class OccultationTruth(NamedTuple):
    """What a retrieval must find.

    Attributes
    ----------
    altitude : FloatArray
        Altitude above the geoid [m].
    refractivity : FloatArray
        Refractivity [1e-6] on `altitude`.
    impact_parameter : FloatArray
        Impact parameter [m].
    bending_angle : FloatArray
        Neutral bending angle [rad] on `impact_parameter`.
    radius_of_curvature : float
        Radius of the sphere the atmosphere is layered about [m].
    reference_time : float
        Moment the straight line touches the ellipsoid [s since 1980-01-06, GPS].
    latitude, longitude : float
        Where it does [degree].
    """

    altitude: FloatArray
    refractivity: FloatArray
    impact_parameter: FloatArray
    bending_angle: FloatArray
    radius_of_curvature: float
    reference_time: float
    latitude: float
    longitude: float


@dataclass(frozen=True)
class CarrierObservation:
    """What the receiver records of one occultation.

    Attributes
    ----------
    event_id : int
        Number of the event.
    transmitter : str
        RINEX 3 name.
    setting : bool
        Whether the ray sinks.
    time : FloatArray
        Readings of the receiver clock [s since 1980-01-06, GPS scale], shape (n,).
    carrier_phase : FloatArray
        Carrier phase [m], shape (2, n): path + c (receiver clock - satellite clock) + constant.
    snr : FloatArray
        Signal-to-noise ratio in volts [1], shape (2, n).
    carrier_frequency : FloatArray
        Frequencies [Hz], shape (2,).
    truth : OccultationTruth
        What a retrieval must find.
    """

    event_id: int
    transmitter: str
    setting: bool
    time: FloatArray
    carrier_phase: FloatArray
    snr: FloatArray
    carrier_frequency: FloatArray
    truth: OccultationTruth


class ReceiverOrbit(NamedTuple):
    """Orbit and clock of the receiver every second.

    Attributes
    ----------
    time : FloatArray
        GPS time [s since 1980-01-06].
    position, velocity : FloatArray
        Earth-fixed state [m] and [m s-1], shape (n, 3).
    clock_bias : FloatArray
        Receiver clock minus GPS time [s].
    """

    time: FloatArray
    position: FloatArray
    velocity: FloatArray
    clock_bias: FloatArray


class SimulatedOccultations(NamedTuple):
    """A stretch of observations of one receiver.

    Attributes
    ----------
    events : list[CarrierObservation]
        Occultations in order of time.
    receiver_orbit : ReceiverOrbit
        Orbit and clock over all of them.
    sp3 : str
        Precise orbits and clocks of the navigation satellites, SP3-d.
    """

    events: list[CarrierObservation]
    receiver_orbit: ReceiverOrbit
    sp3: str


class Encounter(NamedTuple):
    """A moment at which a straight line touches the ellipsoid.

    Attributes
    ----------
    time : float
        Moment [s since 1980-01-06, GPS].
    satellite : str
        RINEX 3 name.
    rate : float
        Rate of the straight-line height [m s-1], negative for setting.
    distance : float
        Distance of the tangent point from the chosen place [m].
    """

    time: float
    satellite: str
    rate: float
    distance: float


class ReceiverClock(NamedTuple):
    """Receiver clock minus GPS time: offset, drift and a slow wander.

    Attributes
    ----------
    epoch : float
        Epoch [s since 1980-01-06, GPS].
    offset : float
        Offset at the epoch [s].
    drift : float
        Drift [s s-1].
    wander : float
        Amplitude of a wander of 100 s period [s].
    """

    epoch: float
    offset: float
    drift: float
    wander: float

    def bias(self, time: FloatArray) -> FloatArray:
        """Clock minus GPS time.

        Parameters
        ----------
        time : FloatArray
            GPS time [s since 1980-01-06].

        Returns
        -------
        FloatArray
            Bias [s].
        """
        since = time - self.epoch
        return np.asarray(self.offset + self.drift * since + self.wander * np.sin(2.0 * np.pi * since / 100.0))


class Surroundings(NamedTuple):
    """Everything that moves or ticks in a simulation.

    Attributes
    ----------
    receiver : orbits.KeplerianOrbit
        Orbit of the receiver.
    constellation : dict[str, orbits.KeplerianOrbit]
        Orbits of the transmitters.
    receiver_clock : ReceiverClock
        Clock of the receiver.
    clocks : dict[str, tuple[float, float]]
        Offset [s] and drift [s s-1] of the transmitters' clocks from `epoch`.
    epoch : float
        Epoch of the clocks [s since 1980-01-06, GPS].
    """

    receiver: orbits.KeplerianOrbit
    constellation: dict[str, orbits.KeplerianOrbit]
    receiver_clock: ReceiverClock
    clocks: dict[str, tuple[float, float]]
    epoch: float


def simulate_occultations(
    *, start_gps: float, count: int, seed: int, parameters: OccultationSimulation | None = None
) -> SimulatedOccultations:
    """Simulate the occultations one receiver observes near a place.

    Parameters
    ----------
    start_gps : float
        Beginning [s since 1980-01-06, GPS].
    count : int
        Number of occultations [1].
    seed : int
        Seed of orbits, atmospheres, clocks and noise [1].
    parameters : OccultationSimulation, optional
        Receiver and surroundings.

    Returns
    -------
    SimulatedOccultations
        The same for the same arguments.
    """
    chosen = parameters or OccultationSimulation()
    generator = np.random.default_rng(seed)
    around = _surroundings(start_gps, generator=generator, parameters=chosen)
    encounters = _encounters(around, start=start_gps, count=count, parameters=chosen)
    events = [
        _observe(encounter, event_id=index + 1, around=around, generator=generator, parameters=chosen)
        for index, encounter in enumerate(encounters)
    ]
    first = min((float(event.time[0]) for event in events), default=start_gps) - 60.0
    last = max((float(event.time[-1]) for event in events), default=start_gps) + 60.0
    table = orbits.precise_orbits(around.constellation, clocks=around.clocks, start=around.epoch, stop=last)
    return SimulatedOccultations(events, _receiver_orbit(around, first=first, last=last), sp3.format_sp3(table))


def dataset_from_observation(event: CarrierObservation) -> xr.Dataset:
    """Carrier observation as the dataset `processors.occultation.excess_phase` reads.

    Parameters
    ----------
    event : CarrierObservation
        Observation.

    Returns
    -------
    xr.Dataset
        Variables on the dimensions time and signal.
    """
    return xr.Dataset(
        {
            "carrier_phase": (("signal", "time"), event.carrier_phase, {"units": "m"}),
            "snr": (("signal", "time"), event.snr, {"units": "1"}),
            "carrier_frequency": ("signal", event.carrier_frequency, {"units": "Hz"}),
        },
        coords={"time": ("time", event.time, {"units": "s"})},
        attrs={"event_id": event.event_id, "transmitter": event.transmitter, "setting": int(event.setting)},
    )


def dataset_from_receiver_orbit(orbit: ReceiverOrbit) -> xr.Dataset:
    """Receiver orbit as the dataset `processors.occultation.excess_phase` reads.

    Parameters
    ----------
    orbit : ReceiverOrbit
        Orbit and clock.

    Returns
    -------
    xr.Dataset
        Variables on the dimensions time and xyz.
    """
    return xr.Dataset(
        {
            "position": (("time", "xyz"), orbit.position, {"units": "m", "frame": "earth_fixed"}),
            "velocity": (("time", "xyz"), orbit.velocity, {"units": "m s-1", "frame": "earth_fixed"}),
            "clock_bias": ("time", orbit.clock_bias, {"units": "s"}),
        },
        coords={"time": ("time", orbit.time, {"units": "s"})},
    )


def _surroundings(start: float, *, generator: np.random.Generator, parameters: OccultationSimulation) -> Surroundings:
    """Orbits and clocks; the receiver crosses the place fifteen minutes after the start."""
    receiver = orbits.receiver_over(
        parameters.latitude,
        parameters.longitude,
        time=start + 900.0,
        altitude=parameters.altitude,
        inclination=parameters.inclination,
    )
    constellation = _favourable_constellation(receiver, start=start, generator=generator, parameters=parameters)
    clocks = {
        name: (float(generator.normal(0.0, 2e-4)), float(generator.normal(0.0, 3e-12)))
        for name in sorted(constellation)
    }
    clock = ReceiverClock(start, float(generator.normal(0.0, 1e-6)), float(generator.normal(0.0, 1e-9)), 1e-11)
    return Surroundings(receiver, constellation, clock, clocks, start)


def _favourable_constellation(
    receiver: orbits.KeplerianOrbit,
    *,
    start: float,
    generator: np.random.Generator,
    parameters: OccultationSimulation,
) -> dict[str, orbits.KeplerianOrbit]:
    """The one of several constellations whose nearest three occultations come closest to the place."""
    candidates = [orbits.navigation_constellation(start, generator=generator) for _ in range(parameters.candidates)]
    silent = ReceiverClock(start, 0.0, 0.0, 0.0)

    def remoteness(constellation: dict[str, orbits.KeplerianOrbit]) -> float:
        around = Surroundings(receiver, constellation, silent, {}, start)
        nearest = _encounters(around, start=start, count=3, parameters=parameters)
        return sum(encounter.distance for encounter in nearest)

    return min(candidates, key=remoteness)


def _receiver_orbit(around: Surroundings, *, first: float, last: float) -> ReceiverOrbit:
    """One state a second."""
    time = np.arange(np.floor(first), np.ceil(last) + 1.0)
    state = around.receiver.earth_fixed(time)
    return ReceiverOrbit(time, state.position, state.velocity, around.receiver_clock.bias(time))


def _straight_line(around: Surroundings, satellite: str, time: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Receiver, transmitter at transmission in the axes of the receive time, and tangent point [m], Earth-fixed."""
    receiver = around.receiver.earth_fixed(time).position
    flight = np.full_like(time, 0.08)
    for _ in range(3):
        emitted = around.constellation[satellite].earth_fixed(time - flight).position
        transmitter = frames.rotate_about_pole(emitted, -constants.EARTH_ROTATION_RATE * flight)
        flight = np.linalg.norm(receiver - transmitter, axis=1) / constants.SPEED_OF_LIGHT
    return receiver, transmitter, ellipsoid.tangent_point(transmitter, receiver)


def _heights(around: Surroundings, satellite: str, time: FloatArray) -> FloatArray:
    """Straight-line height [m], NaN where the tangent point is not between the satellites."""
    receiver, transmitter, tangent = _straight_line(around, satellite, time)
    between = np.einsum("ij,ij->i", tangent - receiver, tangent - transmitter) < 0.0
    return np.where(between, ellipsoid.from_ecef(tangent).height, np.nan)


def _encounters(
    around: Surroundings, *, start: float, count: int, parameters: OccultationSimulation
) -> list[Encounter]:
    """The occultations nearest to the place within a growing span of time."""
    span = 1_800.0
    while span <= 172_800.0:
        found = [
            encounter
            for name in sorted(around.constellation)
            for encounter in _touches(around, name, start=start, span=span, parameters=parameters)
        ]
        if len(found) >= count:
            nearest = sorted(found, key=lambda encounter: encounter.distance)[:count]
            return sorted(nearest)
        span *= 2.0
    raise ValueError(f"no {count} occultations within two days: relax the accepted rates")


def _touches(
    around: Surroundings, satellite: str, *, start: float, span: float, parameters: OccultationSimulation
) -> Iterator[Encounter]:
    """Moments at which the line to one satellite touches the ellipsoid at an accepted rate."""
    time = start + 120.0 + np.arange(0.0, span, 10.0)
    height = _heights(around, satellite, time)
    for index in np.flatnonzero(height[:-1] * height[1:] < 0.0):
        rate = float(height[index + 1] - height[index]) / 10.0
        if not parameters.slowest <= abs(rate) <= parameters.fastest:
            continue
        fine = np.linspace(time[index], time[index + 1], 21)
        values = _heights(around, satellite, fine)
        order = np.argsort(values)
        moment = float(time[index] + np.interp(0.0, values[order], fine[order] - time[index]))
        tangent = _straight_line(around, satellite, np.array([moment]))[2][0]
        place = ellipsoid.to_ecef(parameters.latitude, parameters.longitude, 0.0)
        yield Encounter(moment, satellite, rate, float(np.linalg.norm(tangent - place)))


class LocalSphere(NamedTuple):
    """Sphere about which the true atmosphere is layered, and where it touches the ellipsoid.

    Attributes
    ----------
    sphere : curvature.Curvature
        Radius and Earth-fixed centre [m].
    undulation : float
        Geoid above the ellipsoid [m].
    latitude, longitude : float
        Tangent point [degree].
    """

    sphere: curvature.Curvature
    undulation: float
    latitude: float
    longitude: float


def _local_sphere(around: Surroundings, encounter: Encounter) -> LocalSphere:
    """Sphere at the tangent point of an encounter."""
    receiver, transmitter, tangent = (
        vector[0] for vector in _straight_line(around, encounter.satellite, np.array([encounter.time]))
    )
    point = ellipsoid.from_ecef(tangent)
    latitude, longitude = float(point.latitude), float(point.longitude)
    azimuth = float(ellipsoid.azimuth(latitude, longitude, receiver - transmitter))
    sphere = curvature.sphere(latitude, longitude, azimuth=azimuth)
    return LocalSphere(sphere, float(geoid.undulation(latitude, longitude)), latitude, longitude)


class BendingTable(NamedTuple):
    """Bending of one frequency by impact parameter.

    Attributes
    ----------
    impact_parameter : FloatArray
        Impact parameter [m], increasing.
    bending : CubicSpline
        Bending angle [rad].
    above : CubicSpline
        Integral of the bending from the impact parameter to the end of the table [m].
    """

    impact_parameter: FloatArray
    bending: CubicSpline
    above: CubicSpline


def bending_by_quadrature(
    impact_parameter: FloatArray,
    *,
    profile: atmosphere.RefractivityProfile,
    surface_radius: float,
    ionosphere: atmosphere.ChapmanLayer | None = None,
    frequency: float = constants.GPS_L1,
) -> FloatArray:
    """Bending angle by Gauss-Legendre quadrature of the refraction integral.

    With x = n r and x2 = a2 + s2 the singularity at the tangent point drops out: y(a) = -2 a Int (d ln n/dx) ds / x.

    Parameters
    ----------
    impact_parameter : FloatArray
        Impact parameters [m], shape (m,).
    profile : atmosphere.RefractivityProfile
        Neutral atmosphere.
    surface_radius : float
        Distance of zero altitude from the centre of curvature [m].
    ionosphere : atmosphere.ChapmanLayer, optional
        Free electrons.
    frequency : float
        Carrier frequency [Hz].

    Returns
    -------
    FloatArray
        Bending angle [rad], shape (m,). Born and Wolf, Principles of Optics, section 3.2.2.
    """
    edges = np.concatenate([np.arange(0.0, 1.3e6, 4e4), np.arange(1.3e6, 6.0e6, 1.5e5)])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = 0.5 * np.diff(edges)
    along = (edges[:-1, None] + half[:, None] * (nodes + 1.0)).ravel()
    weight = (half[:, None] * weights).ravel()
    refractional = np.sqrt(impact_parameter[:, None] ** 2 + along**2)
    gradient = _log_index_gradient(refractional, profile, surface_radius, ionosphere, frequency)
    return np.asarray(-2.0 * impact_parameter * ((gradient / refractional) @ weight))


def _log_index_gradient(
    refractional: FloatArray,
    profile: atmosphere.RefractivityProfile,
    surface_radius: float,
    ionosphere: atmosphere.ChapmanLayer | None,
    frequency: float,
) -> FloatArray:
    """Gradient d ln n / dx at x = n r [m-1], the radius found by Newton's method."""
    radius = refractional
    for _ in range(5):
        index, slope = _index(radius - surface_radius, profile, ionosphere, frequency)
        radius = radius - (index * radius - refractional) / (index + radius * slope)
    index, slope = _index(radius - surface_radius, profile, ionosphere, frequency)
    return np.asarray(slope / index / (index + radius * slope))


def _index(
    altitude: FloatArray,
    profile: atmosphere.RefractivityProfile,
    ionosphere: atmosphere.ChapmanLayer | None,
    frequency: float,
) -> tuple[FloatArray, FloatArray]:
    """Refractive index [1] and its gradient [m-1]."""
    index = 1.0 + 1e-6 * profile.refractivity(altitude)
    slope = 1e-6 * profile.gradient(altitude)
    if ionosphere is None:
        return index, slope
    return index + ionosphere.index_excess(altitude, frequency), slope + ionosphere.index_gradient(altitude, frequency)


def _tables(
    profile: atmosphere.RefractivityProfile, *, local: LocalSphere, parameters: OccultationSimulation
) -> list[BendingTable]:
    """Bending of both signals from the lowest ray to above the top of the record."""
    surface_radius = local.sphere.radius + local.undulation
    bottom = np.asarray(parameters.bottom)
    lowest = float((surface_radius + bottom) * (1.0 + 1e-6 * profile.refractivity(bottom)))
    levels = lowest + np.concatenate(
        [
            np.arange(0.0, 15e3, 60.0),
            np.arange(15e3, 40e3, 150.0),
            np.arange(40e3, parameters.top + 20e3, 500.0),
        ]
    )
    tables = []
    for frequency in FREQUENCIES:
        bending = CubicSpline(
            levels,
            bending_by_quadrature(
                levels,
                profile=profile,
                surface_radius=surface_radius,
                ionosphere=parameters.ionosphere,
                frequency=float(frequency),
            ),
        )
        integral = bending.antiderivative()
        above = CubicSpline(levels, integral(levels[-1]) - integral(levels))
        tables.append(BendingTable(levels, bending, above))
    return tables


class Ray(NamedTuple):
    """Rays between two moving points.

    Attributes
    ----------
    impact_parameter : FloatArray
        Impact parameter [m], NaN where the ray would pass below the table.
    path : FloatArray
        Optical path [m].
    """

    impact_parameter: FloatArray
    path: FloatArray


def trace(receiver: FloatArray, *, transmitter: FloatArray, table: BendingTable) -> Ray:
    """Find the ray between two points in a spherically layered atmosphere.

    Parameters
    ----------
    receiver, transmitter : FloatArray
        Positions about the centre of the layers [m], shape (n, 3).
    table : BendingTable
        Bending by impact parameter.

    Returns
    -------
    Ray
        Impact parameter and optical path (eikonal): the two legs, a times the bending, and the integral of the bending
        above.
    """
    near, far = np.linalg.norm(receiver, axis=1), np.linalg.norm(transmitter, axis=1)
    separation = np.arctan2(
        np.linalg.norm(np.cross(transmitter, receiver), axis=1), np.einsum("ij,ij->i", transmitter, receiver)
    )
    low = np.full_like(near, table.impact_parameter[0])
    high = np.full_like(near, table.impact_parameter[-1])
    for _ in range(44):
        middle = 0.5 * (low + high)
        reach = table.bending(middle) + np.arccos(middle / near) + np.arccos(middle / far)
        low, high = np.where(reach > separation, middle, low), np.where(reach > separation, high, middle)
    impact = 0.5 * (low + high)
    inside = (impact > table.impact_parameter[0] + 0.01) & (impact < table.impact_parameter[-1] - 0.01)
    path = (
        np.sqrt(near**2 - impact**2)
        + np.sqrt(far**2 - impact**2)
        + impact * table.bending(impact)
        + table.above(impact)
    )
    return Ray(np.where(inside, impact, np.nan), np.where(inside, path, np.nan))


def _perturbed_atmosphere(generator: np.random.Generator) -> atmosphere.MoistAtmosphere:
    """An atmosphere of its own for each event."""
    standard = atmosphere.MoistAtmosphere()
    return atmosphere.MoistAtmosphere(
        dry_surface=standard.dry_surface * float(1.0 + generator.normal(0.0, 0.01)),
        wet_surface=float(generator.uniform(40.0, 100.0)),
        wet_scale=float(generator.uniform(2_600.0, 3_400.0)),
        steps=tuple(
            (step, middle + float(generator.normal(0.0, 700.0)), width) for step, middle, width in standard.steps
        ),
    )


def _observe(
    encounter: Encounter,
    *,
    event_id: int,
    around: Surroundings,
    generator: np.random.Generator,
    parameters: OccultationSimulation,
) -> CarrierObservation:
    """Carrier phases of one encounter."""
    local = _local_sphere(around, encounter)
    profile = _perturbed_atmosphere(generator)
    tables = _tables(profile, local=local, parameters=parameters)
    reading = _reading_times(around, encounter, parameters)
    time = reading - around.receiver_clock.bias(reading)
    rays = [_rays(around, encounter, table, local=local, time=time) for table in tables]
    seen = np.isfinite(rays[0].path) & np.isfinite(rays[1].path)
    seen &= _heights(around, encounter.satellite, time) <= parameters.top
    seen = _longest_run(seen)
    clocks = constants.SPEED_OF_LIGHT * (reading - time - _transmitter_clock(around, encounter.satellite, time))
    snr = _signal_strength(rays[0].impact_parameter[seen], time=time[seen], generator=generator, parameters=parameters)
    wavelength = constants.SPEED_OF_LIGHT / FREQUENCIES
    thermal = wavelength[:, None] / (2.0 * np.pi * snr) * np.sqrt(parameters.rate)
    phase = np.stack([ray.path + clocks for ray in rays])[:, seen] + wavelength[:, None] * 1_000.0 * event_id
    return CarrierObservation(
        event_id=event_id,
        transmitter=encounter.satellite,
        setting=encounter.rate < 0.0,
        time=reading[seen],
        carrier_phase=phase + parameters.noise * thermal * generator.standard_normal(phase.shape),
        snr=snr,
        carrier_frequency=FREQUENCIES.copy(),
        truth=_truth(profile, local=local, encounter=encounter, parameters=parameters),
    )


def _reading_times(around: Surroundings, encounter: Encounter, parameters: OccultationSimulation) -> FloatArray:
    """Readings of the receiver clock around an encounter [s], long enough for any accepted event."""
    above, below = parameters.top / parameters.slowest, 140_000.0 / parameters.slowest
    before, after = (above, below) if encounter.rate < 0.0 else (below, above)
    first = np.floor((encounter.time - before) * parameters.rate)
    count = int((before + after + 20.0) * parameters.rate)
    return np.asarray((first + np.arange(count)) / parameters.rate)


def _rays(
    around: Surroundings, encounter: Encounter, table: BendingTable, *, local: LocalSphere, time: FloatArray
) -> Ray:
    """Rays of one signal at GPS receive times; the light time is that of the bent path."""
    orbit = around.constellation[encounter.satellite]
    receiver = _about(around.receiver.earth_fixed(time), time=time, epoch=encounter.time, center=local.sphere.center)
    straight = _straight_line(around, encounter.satellite, time)
    flight = np.linalg.norm(straight[0] - straight[1], axis=1) / constants.SPEED_OF_LIGHT
    ray = Ray(time, time)
    for _ in range(2):
        sent = time - flight
        transmitter = _about(orbit.earth_fixed(sent), time=sent, epoch=encounter.time, center=local.sphere.center)
        ray = trace(receiver, transmitter=transmitter, table=table)
        flight = np.where(np.isfinite(ray.path), ray.path / constants.SPEED_OF_LIGHT, flight)
    return ray


def _about(state: frames.State, *, time: FloatArray, epoch: float, center: FloatArray) -> FloatArray:
    """Inertial position about the centre of curvature [m]."""
    return frames.inertial_from_earth_fixed(state, time=time, epoch=epoch).position - center


def _transmitter_clock(around: Surroundings, satellite: str, time: FloatArray) -> FloatArray:
    """Satellite clock minus GPS time at transmission, with the periodic relativistic term [s]."""
    receiver, transmitter, _ = _straight_line(around, satellite, time)
    sent = time - np.linalg.norm(receiver - transmitter, axis=1) / constants.SPEED_OF_LIGHT
    state = around.constellation[satellite].inertial(sent)
    offset, drift = around.clocks[satellite]
    relativity = -2.0 * np.einsum("ij,ij->i", state.position, state.velocity) / constants.SPEED_OF_LIGHT**2
    return np.asarray(offset + drift * (sent - around.epoch) + relativity)


def _longest_run(mask: np.ndarray) -> np.ndarray:
    """Longest unbroken stretch of a mask."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    starts, stops = edges[::2], edges[1::2]
    if starts.size == 0:
        return mask
    longest = int(np.argmax(stops - starts))
    index = np.arange(mask.size)
    return np.asarray((index >= starts[longest]) & (index < stops[longest]))


def _signal_strength(
    impact: FloatArray, *, time: FloatArray, generator: np.random.Generator, parameters: OccultationSimulation
) -> FloatArray:
    """Signal-to-noise ratios: refractive defocusing is the slower sinking of the ray."""
    sinking = np.abs(np.gradient(impact, time))
    defocusing = np.sqrt(np.clip(sinking / sinking.max(), 1e-3, 1.0))
    level = np.array(parameters.snr)[:, None] * defocusing
    return np.asarray(np.maximum(level + parameters.noise * 7.0 * generator.standard_normal(level.shape), 1.0))


def _truth(
    profile: atmosphere.MoistAtmosphere, *, local: LocalSphere, encounter: Encounter, parameters: OccultationSimulation
) -> OccultationTruth:
    """True refractivity and neutral bending."""
    altitude = np.arange(parameters.bottom, 100_000.0, 100.0)
    refractivity = profile.refractivity(altitude)
    surface_radius = local.sphere.radius + local.undulation
    impact = (surface_radius + altitude) * (1.0 + 1e-6 * refractivity)
    bending = bending_by_quadrature(impact, profile=profile, surface_radius=surface_radius)
    return OccultationTruth(
        altitude, refractivity, impact, bending, local.sphere.radius, encounter.time, local.latitude, local.longitude
    )
