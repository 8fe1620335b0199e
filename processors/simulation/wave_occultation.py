"""Whole radio occultations by wave optics: orbits, atmosphere, ionosphere, receiver noise, and the truth beside them.

The neutral atmosphere goes through phase screens below about 30 km of impact height and by the eikonal above; both give
the optical path relative to the straight line and are joined where they agree. Spherical layers leave three numbers per
sample: both distances from the centre of curvature and the angle between them. The field of rays of impact parameter a
is

    u ~ exp(i k (a theta + psi(a))),
    psi = sqrt(rL2 - a2) - a acos(a/rL) + sqrt(rG2 - a2) - a acos(a/rG) + Int_a alpha da

so that another rG, or an ionosphere, adds D(a) to psi; expanded about the ray of the sample, u(theta) becomes
exp(i k (D - a D')) u(theta + D'). Independent of the retrieval in every step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d

from processors import constants
from processors.arrays import BoolArray, FloatArray, IntArray
from processors.geodesy import curvature, ellipsoid, frames, geoid
from processors.occultation import level1b
from processors.simulation import atmosphere, climates, occultation, orbits, phase_screens

BEIDOU_SEMI_MAJOR, BEIDOU_INCLINATION = 27_906_100.0, 55.0
JOIN = (26_000.0, 32_000.0)
HIGHEST_WAVE = 33_000.0
RAY_TOP = 140_000.0
SMOOTHING = 1_000.0
EXTRAPOLATED = 40_000.0
STRIDE = 10
LONGITUDES = {
    "tropical": (-180.0, 180.0),
    "subtropical": (-145.0, -110.0),
    "midlatitude-summer": (-180.0, 180.0),
    "midlatitude-winter": (-180.0, 180.0),
    "polar": (-180.0, 180.0),
}


@dataclass(frozen=True)
class Signals:
    """Two signals of a navigation system.

    Attributes
    ----------
    system : str
        Letter of the system in RINEX 3.
    names : tuple
        Names of the signals, the stronger first.
    frequencies : tuple
        Carrier frequencies [Hz].
    semi_major, inclination : float
        Orbits of the transmitters [m] and [degree].
    satellites : tuple
        First and last satellite number.
    snr : tuple
        Range of the unobstructed signal-to-noise ratio of each signal in volts, 1 Hz [1].
    loss : tuple
        Range of the impact height below which the second signal is lost [m].
    """

    system: str
    names: tuple[str, str]
    frequencies: tuple[float, float]
    semi_major: float
    inclination: float
    satellites: tuple[int, int]
    snr: tuple[tuple[float, float], tuple[float, float]]
    loss: tuple[float, float]


GPS = Signals(
    "G",
    ("1C", "2W"),
    (constants.GPS_L1, constants.GPS_L2),
    orbits.GPS_SEMI_MAJOR,
    orbits.GPS_INCLINATION,
    (1, 32),
    ((700.0, 1_100.0), (300.0, 500.0)),
    (5e3, 20e3),
)
BEIDOU = Signals(
    "C",
    ("1P", "5P"),
    (constants.GPS_L1, constants.GPS_L5),  # B1C and B2a share the carriers of L1 and L5
    BEIDOU_SEMI_MAJOR,
    BEIDOU_INCLINATION,
    (19, 46),
    ((700.0, 1_100.0), (500.0, 700.0)),
    (-100e3, -100e3),
)
SYSTEMS = {"gps": GPS, "beidou": BEIDOU}


@dataclass(frozen=True)
class EventParameters:
    """What an event is made of beside place, climate and seed.

    Attributes
    ----------
    rate : float
        Sampling rate [Hz].
    top : float
        Straight-line height at which the record begins or ends [m].
    bottom : tuple
        Range of the straight-line height at its other end [m].
    noise : float
        Factor on the thermal noise [1]; 0 switches it off.
    clock : float
        Factor on the residual of the clocks [1]; 0 switches it off.
    ionosphere : bool
        Whether there are free electrons.
    loss : bool
        Whether the second signal may be lost.
    cycle_slips : int
        Number of slips of whole cycles in the first signal [1].
    layout : phase_screens.ScreenLayout
        Grid of the screens.
    """

    rate: float = 100.0
    top: float = 110_000.0
    bottom: tuple[float, float] = (-200_000.0, -150_000.0)
    noise: float = 1.0
    clock: float = 1.0
    ionosphere: bool = True
    loss: bool = True
    cycle_slips: int = 0
    layout: phase_screens.ScreenLayout = field(default_factory=phase_screens.ScreenLayout)


class SimulatedEvent(NamedTuple):
    """A simulated occultation and what a retrieval must find.

    Attributes
    ----------
    level1b : xr.Dataset
        Level 1B.
    truth : xr.Dataset
        True profiles.
    """

    level1b: xr.Dataset
    truth: xr.Dataset


class Geometry(NamedTuple):
    """An event in the plane of propagation.

    Attributes
    ----------
    time : FloatArray
        Receive times [s since 1980-01-06, GPS], shape (n,).
    receiver, transmitter : frames.State
        Earth-fixed states of level 1B [m] and [m s-1].
    receiver_place, transmitter_place : FloatArray
        Positions about the centre of curvature in the inertial frame [m], shape (n, 3).
    receiver_radius, transmitter_radius : FloatArray
        Their lengths [m].
    separation : FloatArray
        Angle between them [rad].
    local : occultation.LocalSphere
        Sphere and place.
    azimuth : float
        Direction from transmitter to receiver [degree].
    reference_time : float
        Moment the straight line touches the ellipsoid [s since 1980-01-06, GPS].
    """

    time: FloatArray
    receiver: frames.State
    transmitter: frames.State
    receiver_place: FloatArray
    transmitter_place: FloatArray
    receiver_radius: FloatArray
    transmitter_radius: FloatArray
    separation: FloatArray
    local: occultation.LocalSphere
    azimuth: float
    reference_time: float


class Medium(NamedTuple):
    """Bending of the neutral air and of the free electrons.

    Attributes
    ----------
    column : climates.Column
        Neutral air.
    surface_radius : float
        Distance of zero altitude from the centre of curvature [m].
    levels : FloatArray
        Impact parameters that reach the receiver [m], increasing.
    bending : FloatArray
        Neutral bending on them [rad].
    layers : tuple
        Free electrons.
    """

    column: climates.Column
    surface_radius: float
    levels: FloatArray
    bending: FloatArray
    layers: tuple[atmosphere.ChapmanLayer, ...]


class Link(NamedTuple):
    """An orbit pair that occults at a place.

    Their time counts from the event: seconds since 1980 resolve the light time no better than 2e-7 s, a millimetre of
    the transmitter.

    Attributes
    ----------
    receiver, transmitter : orbits.KeplerianOrbit
        Orbits.
    satellite : str
        RINEX 3 name of the transmitter.
    """

    receiver: orbits.KeplerianOrbit
    transmitter: orbits.KeplerianOrbit
    satellite: str


def simulate_event(
    *,
    climate: str,
    seed: int,
    latitude: float,
    longitude: float,
    setting: bool,
    system: str = "gps",
    time: float = 1_450_000_000.0,
    column: climates.Column | None = None,
    parameters: EventParameters | None = None,
) -> SimulatedEvent:
    """Simulate one occultation near a place.

    Parameters
    ----------
    climate : str
        One of `climates.CLIMATES`.
    seed : int
        Seed of atmosphere, orbits, ionosphere and noise [1].
    latitude, longitude : float
        Place [degree].
    setting : bool
        Whether the ray sinks.
    system : str
        `gps` (L1, L2) or `beidou` (B1C, B2a).
    time : float
        About when [s since 1980-01-06, GPS].
    column : climates.Column, optional
        Air to use instead of a random one of the climate.
    parameters : EventParameters, optional
        Everything else.

    Returns
    -------
    SimulatedEvent
        Level 1B and truth; the same for the same arguments.
    """
    chosen, signals = parameters or EventParameters(), SYSTEMS[system]
    streams = [np.random.default_rng([seed, index]) for index in range(4)]
    link = _link(streams[0], latitude=latitude, longitude=longitude, setting=setting, signals=signals, wanted=chosen)
    geometry = _geometry(link, time=time, generator=streams[0], parameters=chosen)
    air = column or climates.column(climate, seed=seed, latitude=geometry.local.latitude)
    medium = _medium(air, geometry=geometry, generator=streams[1], parameters=chosen)
    fields = [
        signal_field(geometry, medium=medium, frequency=frequency, layout=chosen.layout)
        for frequency in signals.frequencies
    ]
    received = _receive(fields, geometry=geometry, signals=signals, generator=streams[2], parameters=chosen)
    identity = level1b.occultation_id(link.satellite, f"sim{seed:06d}", float(geometry.time[0]))
    measured = level1b.assemble(
        geometry.time,
        excess_phase=received.phase,
        snr=received.snr,
        carrier_frequency=np.array(signals.frequencies),
        receiver=geometry.receiver,
        transmitter=geometry.transmitter,
        attributes={
            "occultation_id": identity,
            "transmitter": link.satellite,
            "receiver": f"sim{seed:06d}",
            "mission": "simulation",
            "setting": int(setting),
            "signals": " ".join(signals.names),
        },
    )
    truth = _truth(medium, geometry=geometry, signals=signals, climate=climate, seed=seed)
    truth.attrs |= {"occultation_id": identity, "second_signal_lost_below": received.lost_below}
    return SimulatedEvent(measured, truth)


def simulate_cases(
    count: int, *, seed: int, parameters: EventParameters | None = None, climate: str | None = None
) -> Iterator[SimulatedEvent]:
    """Occultations of all climates, setting and rising, GPS and BeiDou, at fitting places.

    Parameters
    ----------
    count : int
        Number of events [1].
    seed : int
        Seed [1].
    parameters : EventParameters, optional
        Receiver and surroundings.
    climate : str, optional
        Only this climate.

    Yields
    ------
    SimulatedEvent
        Level 1B and truth.
    """
    for case in cases(count, seed=seed, climate=climate):
        yield case.simulate(parameters)


@dataclass(frozen=True)
class Case:
    """One event of a series, before it is simulated.

    Attributes
    ----------
    climate, system : str
        Climate and navigation system.
    seed : int
        Seed [1].
    latitude, longitude : float
        Place [degree].
    setting : bool
        Whether the ray sinks.
    time : float
        About when [s since 1980-01-06, GPS].
    sounding : climates.Sounding or None
        Radiosonde ascent to use instead of a random column of the climate.
    """

    climate: str
    system: str
    seed: int
    latitude: float
    longitude: float
    setting: bool
    time: float
    sounding: climates.Sounding | None = None

    def simulate(self, parameters: EventParameters | None = None) -> SimulatedEvent:
        """Simulate the event.

        Parameters
        ----------
        parameters : EventParameters, optional
            Receiver and surroundings.

        Returns
        -------
        SimulatedEvent
            Level 1B and truth.
        """
        column = None
        if self.sounding is not None:
            column = climates.column_from_sounding(self.sounding, climate=self.climate, seed=self.seed)
        return simulate_event(
            climate=self.climate,
            seed=self.seed,
            latitude=self.latitude,
            longitude=self.longitude,
            setting=self.setting,
            system=self.system,
            time=self.time,
            column=column,
            parameters=parameters,
        )


def cases(count: int, *, seed: int, climate: str | None = None) -> list[Case]:
    """The events of a series: climates in turn, then setting and rising, then the systems.

    Parameters
    ----------
    count : int
        Number of events [1].
    seed : int
        Seed [1].
    climate : str, optional
        Only this climate.

    Returns
    -------
    list[Case]
        The same for the same arguments; a longer series begins with the shorter one.
    """
    names = climates.CLIMATES if climate is None else (climate,)
    made = []
    for index in range(count):
        generator = np.random.default_rng([seed, index])
        turn, name = index // len(names), names[index % len(names)]
        low, high = climates.STATES[name].latitude
        latitude = float(generator.uniform(low, high))
        if name == "subtropical":
            latitude = float(np.copysign(generator.uniform(15.0, 32.0), latitude))
        elif name != "tropical" and generator.uniform() < 0.5:
            latitude = -latitude
        made.append(
            Case(
                climate=name,
                system=("gps", "beidou")[(turn // 2) % 2],
                seed=seed * 10_000 + index,
                latitude=latitude,
                longitude=float(generator.uniform(*LONGITUDES[name])),
                setting=turn % 2 == 0,
                time=1_450_000_000.0 + 600.0 * index,
            )
        )
    return made


def cases_from_soundings(count: int, *, soundings: list[climates.Sounding], seed: int) -> list[Case]:
    """The events of a series at the places and times of radiosonde ascents, in turn.

    Parameters
    ----------
    count : int
        Number of events [1].
    soundings : list[climates.Sounding]
        Ascents, at least one.
    seed : int
        Seed [1].

    Returns
    -------
    list[Case]
        The same for the same arguments.
    """
    made = []
    for index, case in enumerate(cases(count, seed=seed)):
        sounding = soundings[index % len(soundings)]
        made.append(
            replace(
                case,
                climate=climates.climate_at(sounding.latitude, sounding.time),
                latitude=sounding.latitude,
                longitude=sounding.longitude,
                time=sounding.time + 600.0 * (index // len(soundings)),
                sounding=sounding,
            )
        )
    return made


def _link(
    generator: np.random.Generator,
    *,
    latitude: float,
    longitude: float,
    setting: bool,
    signals: Signals,
    wanted: EventParameters,
) -> Link:
    """Draw orbits until they occult at the place in the wanted sense at a usual pace."""
    for _ in range(2_000):
        link = _draw_link(generator, latitude=latitude, longitude=longitude, signals=signals)
        if link is None:
            continue
        height = _line(link, np.array([-20.0, 20.0, 70.0])).height
        pace = np.diff(height) / np.array([40.0, 50.0]) * (-1.0 if setting else 1.0)
        if 1_700.0 < pace[0] < 2_900.0 and 1_500.0 < pace[1] < 2_900.0:
            return link
    raise ValueError(f"no orbits occult at {latitude:.1f}, {longitude:.1f}: the place is out of reach")


def _draw_link(generator: np.random.Generator, *, latitude: float, longitude: float, signals: Signals) -> Link | None:
    """Orbits through both ends of a line that touches the ellipsoid at the place; None beyond the inclination."""
    azimuth, altitude = generator.uniform(0.0, 2.0 * np.pi), generator.uniform(500e3, 850e3)
    inclination = float(generator.choice([24.0, 55.0, 72.0, 98.0]))
    north_up = ellipsoid.east_north_up(latitude, longitude)
    forward = np.sin(azimuth) * north_up[0] + np.cos(azimuth) * north_up[1]
    touch = ellipsoid.to_ecef(latitude, longitude, 0.0)
    number = int(generator.integers(signals.satellites[0], signals.satellites[1] + 1))
    draws = generator.uniform(size=6)
    receiver = _orbit_through(
        touch,
        forward,
        semi_major=constants.WGS84_SEMI_MAJOR + altitude,
        eccentricity=0.002 * draws[0],
        inclination=inclination,
        northbound=draws[1] < 0.5,
        perigee_lag=2.0 * np.pi * draws[2],
    )
    transmitter = _orbit_through(
        touch,
        -forward,
        semi_major=signals.semi_major,
        eccentricity=0.001 + 0.011 * draws[3],
        inclination=signals.inclination,
        northbound=draws[4] < 0.5,
        perigee_lag=2.0 * np.pi * draws[5],
    )
    if receiver is None or transmitter is None:
        return None
    return Link(receiver, transmitter, f"{signals.system}{number:02d}")


def _orbit_through(
    start: FloatArray,
    direction: FloatArray,
    *,
    semi_major: float,
    eccentricity: float,
    inclination: float,
    northbound: bool,
    perigee_lag: float,
) -> orbits.KeplerianOrbit | None:
    """Orbit that crosses the line from `start` along `direction` at time zero, true anomaly `perigee_lag` [rad]."""
    radius = semi_major * (1.0 - eccentricity**2) / (1.0 + eccentricity * np.cos(perigee_lag))
    along = float(direction @ start)
    place = start + (-along + np.sqrt(along**2 - float(start @ start) + radius**2)) * direction
    tilt = np.deg2rad(inclination)
    sine = place[2] / radius / np.sin(tilt)
    if abs(sine) >= 0.999:
        return None
    argument = np.arcsin(sine) if northbound else np.pi - np.arcsin(sine)
    node = np.arctan2(place[1], place[0]) - np.arctan2(np.cos(tilt) * np.sin(argument), np.cos(argument))
    eccentric = 2.0 * np.arctan(np.sqrt((1.0 - eccentricity) / (1.0 + eccentricity)) * np.tan(0.5 * perigee_lag))
    mean = eccentric - eccentricity * np.sin(eccentric)
    return orbits.KeplerianOrbit(
        semi_major, eccentricity, float(tilt), float(node), float(argument - perigee_lag), float(mean), 0.0
    )


class Line(NamedTuple):
    """Straight line between receiver and transmitter.

    Attributes
    ----------
    receiver, transmitter : FloatArray
        Earth-fixed positions in the axes of the receive time [m].
    tangent : FloatArray
        Point nearest to the ellipsoid [m].
    height : FloatArray
        Its height [m].
    """

    receiver: FloatArray
    transmitter: FloatArray
    tangent: FloatArray
    height: FloatArray


def _line(link: Link, time: FloatArray, delay: FloatArray | float = 0.0) -> Line:
    """The straight line at receive times; `delay` [m] is the excess path that makes the light later."""
    receiver = link.receiver.earth_fixed(time).position
    flight = np.full_like(time, 0.08)
    for _ in range(4):
        emitted = link.transmitter.earth_fixed(time - flight).position
        transmitter = frames.rotate_about_pole(emitted, -constants.EARTH_ROTATION_RATE * flight)
        flight = (np.linalg.norm(receiver - transmitter, axis=1) + delay) / constants.SPEED_OF_LIGHT
    tangent = ellipsoid.tangent_point(transmitter, receiver)
    return Line(receiver, transmitter, tangent, ellipsoid.from_ecef(tangent).height)


def _geometry(link: Link, *, time: float, generator: np.random.Generator, parameters: EventParameters) -> Geometry:
    """Samples of the event and both ends of its rays."""
    bottom = float(generator.uniform(*parameters.bottom))
    step = 1.0 / parameters.rate
    coarse = np.arange(-160.0, 160.0, 1.0)
    height = _line(link, coarse).height
    order = np.argsort(height)
    ends = np.sort(np.interp([bottom, parameters.top], height[order], coarse[order]))
    stamps = time + step * np.arange(np.ceil(ends[0] / step), np.floor(ends[1] / step) + 1.0)
    since = stamps - time
    line = _line(link, since, _typical_delay(_line(link, since).height))
    order = np.argsort(line.height)
    reference = float(np.interp(0.0, line.height[order], since[order]))
    touch = _line(link, np.array([reference]))
    point = ellipsoid.from_ecef(touch.tangent[0])
    latitude, longitude = float(point.latitude), float(point.longitude)
    azimuth = float(ellipsoid.azimuth(latitude, longitude, (touch.receiver - touch.transmitter)[0]))
    sphere = curvature.sphere(latitude, longitude, azimuth=azimuth)
    turn = constants.EARTH_ROTATION_RATE * (since - reference)
    near, far = (frames.rotate_about_pole(end, turn) - sphere.center for end in (line.receiver, line.transmitter))
    return Geometry(
        time=stamps,
        receiver=link.receiver.earth_fixed(since),
        transmitter=frames.State(line.transmitter, np.asarray(CubicSpline(since, line.transmitter)(since, 1))),
        receiver_place=near,
        transmitter_place=far,
        receiver_radius=np.linalg.norm(near, axis=1),
        transmitter_radius=np.linalg.norm(far, axis=1),
        separation=np.arctan2(np.linalg.norm(np.cross(far, near), axis=1), np.einsum("ij,ij->i", far, near)),
        local=occultation.LocalSphere(sphere, float(geoid.undulation(latitude, longitude)), latitude, longitude),
        azimuth=azimuth,
        reference_time=time + reference,
    )


def _typical_delay(height: FloatArray) -> FloatArray:
    """Excess path of an average atmosphere by straight-line height [m]: only the light time needs it, to 100 m."""
    return np.asarray(0.026 * 8e3 * np.logaddexp(0.0, (-12e3 - height) / 8e3))


def _medium(
    column: climates.Column, *, geometry: Geometry, generator: np.random.Generator, parameters: EventParameters
) -> Medium:
    """Bending table of the neutral air and a random ionosphere."""
    surface_radius = geometry.local.sphere.radius + geometry.local.undulation
    levels = column.impact_levels(surface_radius=surface_radius)
    levels = levels[levels < surface_radius + RAY_TOP]
    bending = column.bending(levels, surface_radius=surface_radius).bending_angle
    known = np.isfinite(bending)
    density = 10.0 ** generator.uniform(11.0, np.log10(1.2e12))
    layers = [
        atmosphere.ChapmanLayer(density, float(generator.uniform(250e3, 400e3)), float(generator.uniform(35e3, 60e3)))
    ]
    if generator.uniform() < 0.5:
        low = float(generator.uniform(0.03, 0.12)) * density
        layers.append(atmosphere.ChapmanLayer(low, float(generator.uniform(105e3, 120e3)), 8e3))
    return Medium(column, surface_radius, levels[known], bending[known], tuple(layers) if parameters.ionosphere else ())


class Bend(NamedTuple):
    """A bending by impact parameter and its integral to the top of the table.

    Attributes
    ----------
    table : occultation.BendingTable
        Splines, for tracing.
    slope : CubicSpline
        Derivative of the bending [rad m-1].
    """

    table: occultation.BendingTable
    slope: CubicSpline


def _bend(levels: FloatArray, bending: FloatArray) -> Bend:
    spline = CubicSpline(levels, bending)
    integral = spline.antiderivative()
    above = CubicSpline(levels, integral(levels[-1]) - integral(levels))
    return Bend(occultation.BendingTable(levels, spline, above), spline.derivative())


def ionospheric_bending(medium: Medium, impact_parameter: FloatArray, *, frequency: float) -> FloatArray:
    """Bending by the free electrons, as if the receiver flew above them all.

    Parameters
    ----------
    medium : Medium
        Air and electrons.
    impact_parameter : FloatArray
        Impact parameters [m].
    frequency : float
        Carrier frequency [Hz].

    Returns
    -------
    FloatArray
        Bending angle with them minus without them [rad].
    """
    coarse = np.arange(medium.surface_radius - EXTRAPOLATED, medium.surface_radius + RAY_TOP + 2e3, 1e3)
    air = atmosphere.ExponentialAtmosphere()
    held = np.maximum(coarse, medium.surface_radius)
    bare = occultation.bending_by_quadrature(held, profile=air, surface_radius=medium.surface_radius)
    total = np.zeros_like(coarse)
    for layer in medium.layers:
        total += (
            occultation.bending_by_quadrature(
                held, profile=air, surface_radius=medium.surface_radius, ionosphere=layer, frequency=frequency
            )
            - bare
        )
    return np.asarray(CubicSpline(coarse, total)(impact_parameter))


def signal_field(
    geometry: Geometry, *, medium: Medium, frequency: float, layout: phase_screens.ScreenLayout
) -> "SignalField":
    """Noise-free field of one signal at the receiver.

    Parameters
    ----------
    geometry : Geometry
        Both ends of the rays.
    medium : Medium
        Air and electrons.
    frequency : float
        Carrier frequency [Hz].
    layout : phase_screens.ScreenLayout
        Grid of the screens.

    Returns
    -------
    SignalField
        Waves below, rays above, joined.
    """
    k = 2.0 * np.pi * frequency / constants.SPEED_OF_LIGHT
    electrons = _bend(*_electron_levels(medium, frequency))
    smooth = _smooth_bend(medium, electrons)
    model = occultation.trace(geometry.receiver_place, transmitter=geometry.transmitter_place, table=smooth.table)
    straight = np.linalg.norm(geometry.receiver_place - geometry.transmitter_place, axis=1)
    impact = np.where(np.isfinite(model.impact_parameter), model.impact_parameter, smooth.table.impact_parameter[0])
    expected = _filled(model.path - straight, geometry.time)
    height = impact - medium.surface_radius
    # The straight line of the real ends and that of the plane agree; only differences to it are kept.
    rays = _ray_field(geometry, medium=medium, electrons=electrons, straight=straight, wanted=height > JOIN[0] - 1e3)
    waves = _wave_field(geometry, medium=medium, electrons=electrons, impact=impact, frequency=frequency, layout=layout)
    phase, amplitude = _joined(rays, waves, height=height, expected=expected, wave_number=k)
    focus = _out_of_plane(impact, geometry=geometry, straight=straight)
    return SignalField(phase, expected, amplitude * focus, impact, frequency)


class SignalField(NamedTuple):
    """Field of one signal at the receiver relative to free space.

    Attributes
    ----------
    phase : FloatArray
        Excess phase, unwrapped about the model [m].
    model : FloatArray
        Excess phase a receiver would predict: that of smoothed bending [m].
    amplitude : FloatArray
        Amplitude relative to free space [1].
    impact_parameter : FloatArray
        Impact parameter of the model [m].
    frequency : float
        Carrier frequency [Hz].
    """

    phase: FloatArray
    model: FloatArray
    amplitude: FloatArray
    impact_parameter: FloatArray
    frequency: float


def _electron_levels(medium: Medium, frequency: float) -> tuple[FloatArray, FloatArray]:
    levels = np.arange(medium.surface_radius - EXTRAPOLATED, medium.surface_radius + RAY_TOP, 1e3)
    return levels, ionospheric_bending(medium, levels, frequency=frequency)


def _smooth_bend(medium: Medium, electrons: Bend) -> Bend:
    """Bending smoothed until it falls with height, continued linearly below the surface: a model without multipath."""
    step = 100.0
    even = np.arange(medium.levels[0], medium.levels[-1], step)
    smooth = np.exp(
        gaussian_filter1d(np.log(np.interp(even, medium.levels, medium.bending)), SMOOTHING / step, mode="nearest")
    )
    smooth = np.minimum.accumulate(smooth)
    slope = max((smooth[0] - smooth[30]) / (30 * step), smooth[0] / 12e3)
    below = np.arange(electrons.table.impact_parameter[0], even[0] - 0.5 * step, 4.0 * step)
    levels = np.concatenate([below, even])
    neutral = np.concatenate([smooth[0] + slope * (even[0] - below), smooth])
    kept = levels < electrons.table.impact_parameter[-1]
    return _bend(levels[kept], neutral[kept] + electrons.table.bending(levels[kept]))


class RayField(NamedTuple):
    """Field by geometric optics where it was asked for, NaN elsewhere.

    Attributes
    ----------
    phase : FloatArray
        Excess phase [m].
    amplitude : FloatArray
        Amplitude in the plane relative to free space [1].
    """

    phase: FloatArray
    amplitude: FloatArray


def _ray_field(
    geometry: Geometry, *, medium: Medium, electrons: Bend, straight: FloatArray, wanted: BoolArray
) -> RayField:
    """Eikonal and spreading of the rays aloft: A2 = D / (dL dG |d theta/da|) in the plane."""
    high = (medium.levels > medium.surface_radius + JOIN[0] - 8e3) & (
        medium.levels < electrons.table.impact_parameter[-1]
    )
    levels = medium.levels[high]
    total = _bend(levels, medium.bending[high] + electrons.table.bending(levels))
    phase, amplitude = np.full(straight.shape, np.nan), np.full(straight.shape, np.nan)
    ray = occultation.trace(
        geometry.receiver_place[wanted], transmitter=geometry.transmitter_place[wanted], table=total.table
    )
    near = np.sqrt(geometry.receiver_radius[wanted] ** 2 - ray.impact_parameter**2)
    far = np.sqrt(geometry.transmitter_radius[wanted] ** 2 - ray.impact_parameter**2)
    spread = 1.0 / near + 1.0 / far - total.slope(ray.impact_parameter)
    phase[wanted] = ray.path - straight[wanted]
    amplitude[wanted] = np.sqrt(straight[wanted] / (near * far * np.abs(spread)))
    return RayField(phase, amplitude)


class WaveField(NamedTuple):
    """Field by wave optics where it was computed.

    Attributes
    ----------
    sample : IntArray
        Numbers of the samples [1].
    field : phase_screens.ComplexArray
        Field relative to free space [1].
    """

    sample: IntArray
    field: phase_screens.ComplexArray


def _wave_field(
    geometry: Geometry,
    *,
    medium: Medium,
    electrons: Bend,
    impact: FloatArray,
    frequency: float,
    layout: phase_screens.ScreenLayout,
) -> WaveField:
    """Field behind the screens, moved to the true transmitter distance and through the ionosphere."""
    index = np.flatnonzero(impact < medium.surface_radius + HIGHEST_WAVE)
    near, far, a = geometry.receiver_radius[index], geometry.transmitter_radius[index], impact[index]
    fixed = float(np.median(far))
    screen = phase_screens.propagate(
        medium.column.refractivity,
        surface_radius=medium.surface_radius,
        transmitter_radius=fixed,
        frequency=frequency,
        layout=layout,
    )
    turn = np.arccos(a / fixed) - np.arccos(a / far) - electrons.table.bending(a)
    added = np.sqrt(far**2 - a**2) - np.sqrt(fixed**2 - a**2) - a * (np.arccos(a / far) - np.arccos(a / fixed))
    added = added + electrons.table.above(a) - a * turn
    separation = geometry.separation[index] + turn
    rays = _crossings(screen, medium=medium, receiver_radius=near, separation=separation)
    found = phase_screens.receive(screen, receiver_radius=near, separation=separation, rays=rays)
    real = np.sqrt(near**2 + far**2 - 2.0 * near * far * np.cos(geometry.separation[index]))
    phase = screen.wave_number * (added + found.straight - real)
    return WaveField(index, found.field * np.exp(1j * phase) * np.sqrt(real / found.straight))


def _crossings(
    screen: phase_screens.LastScreen, *, medium: Medium, receiver_radius: FloatArray, separation: FloatArray
) -> FloatArray:
    """Lowest and highest place where rays to each sample cross the last screen [m]; the grazing ray in the shadow."""
    some = np.unique(np.append(np.arange(0, separation.size, STRIDE), separation.size - 1))
    table = medium.levels < medium.surface_radius + HIGHEST_WAVE + 8e3
    levels, bending = medium.levels[table][::2], medium.bending[table][::2]
    far = np.arccos(levels / screen.transmitter[0])
    low, high = np.empty(some.size), np.empty(some.size)
    for place, sample in enumerate(some):
        miss = bending + np.arccos(levels / receiver_radius[sample]) + far - separation[sample]
        found = np.flatnonzero(miss[1:] * miss[:-1] <= 0.0)
        rays = levels[found] if found.size else levels[[int(np.argmin(np.abs(miss)))]]
        across = phase_screens.crossing(
            screen, rays, receiver_radius=receiver_radius[sample], separation=separation[sample]
        )
        low[place], high[place] = across.min(), across.max()
    # Between the samples looked at, the wider of the neighbours holds.
    low, high = minimum_filter1d(low, 3), maximum_filter1d(high, 3)
    every = np.arange(separation.size)
    return np.stack([np.interp(every, some, low), np.interp(every, some, high)])


def _filled(values: FloatArray, time: FloatArray) -> FloatArray:
    """Values continued linearly where they are missing at an end."""
    known = np.flatnonzero(np.isfinite(values))
    found = np.interp(time - time[0], (time - time[0])[known], values[known])
    for end, inner, part in (
        (known[0], known[1], slice(0, known[0])),
        (known[-1], known[-2], slice(known[-1] + 1, None)),
    ):
        rate = (values[end] - values[inner]) / (time[end] - time[inner])
        found[part] = values[end] + rate * (time[part] - time[end])
    return np.asarray(found)


def _joined(
    rays: RayField, waves: WaveField, *, height: FloatArray, expected: FloatArray, wave_number: float
) -> tuple[FloatArray, FloatArray]:
    """Phase [m] and amplitude of waves below and rays above; the constant of the waves is set to that of the rays."""
    index, k = waves.sample, wave_number
    residual = np.unwrap(np.angle(waves.field * np.exp(-1j * k * expected[index]))) / k
    wave_phase, wave_amplitude = rays.phase.copy(), rays.amplitude.copy()
    wave_phase[index], wave_amplitude[index] = expected[index] + residual, np.abs(waves.field)
    share = np.clip((height - JOIN[0]) / (JOIN[1] - JOIN[0]), 0.0, 1.0)
    share = share * share * (3.0 - 2.0 * share)
    both = (share > 0.0) & (share < 1.0)
    wave_phase[index] += np.mean((rays.phase - wave_phase)[both])
    share = np.where(np.isfinite(rays.phase), share, 0.0)
    high_phase, high_amplitude = np.nan_to_num(rays.phase), np.nan_to_num(rays.amplitude)
    return (
        np.asarray(share * high_phase + (1.0 - share) * wave_phase),
        np.asarray(share * high_amplitude + (1.0 - share) * wave_amplitude),
    )


def _out_of_plane(impact: FloatArray, *, geometry: Geometry, straight: FloatArray) -> FloatArray:
    """Focusing across the plane of propagation [1]: sqrt(a / impact parameter of the straight line)."""
    line = geometry.receiver_radius * geometry.transmitter_radius * np.sin(geometry.separation) / straight
    return np.asarray(np.sqrt(impact / line))


class ReceivedSignals(NamedTuple):
    """What the receiver measures.

    Attributes
    ----------
    phase : FloatArray
        Excess phase [m], shape (2, n).
    snr : FloatArray
        Signal-to-noise ratio in volts, 1 Hz [1], shape (2, n).
    lost_below : float
        Impact height below which the second signal is lost [m].
    """

    phase: FloatArray
    snr: FloatArray
    lost_below: float


def noisy(
    field: phase_screens.ComplexArray, *, snr: float, rate: float, generator: np.random.Generator
) -> phase_screens.ComplexArray:
    """Field with thermal noise.

    C/N0 [Hz] is half the square of the voltage ratio in 1 Hz, so that at a sampling rate B each component of a sample
    has the standard deviation sqrt(B)/snr of the unobstructed amplitude, and so has the phase [rad].

    Parameters
    ----------
    field : phase_screens.ComplexArray
        Field relative to free space [1].
    snr : float
        Unobstructed signal-to-noise ratio in volts, 1 Hz [1].
    rate : float
        Sampling rate [Hz].
    generator : np.random.Generator
        Source of the noise.

    Returns
    -------
    phase_screens.ComplexArray
        Field plus white complex noise [1].
    """
    components = generator.standard_normal((2, field.size)) * np.sqrt(rate) / snr
    return np.asarray(field + components[0] + 1j * components[1])


def _receive(
    fields: list[SignalField],
    *,
    geometry: Geometry,
    signals: Signals,
    generator: np.random.Generator,
    parameters: EventParameters,
) -> ReceivedSignals:
    """Noise, clocks, loss of the second signal, slips."""
    clock = _clock_residual(geometry.time, generator=generator) * parameters.clock
    lost_below = float(generator.uniform(*signals.loss)) if parameters.loss else -np.inf
    surface = geometry.local.sphere.radius + geometry.local.undulation
    phases, ratios = [], []
    for number, source in enumerate(fields):
        level = float(generator.uniform(*signals.snr[number]))
        k = 2.0 * np.pi * source.frequency / constants.SPEED_OF_LIGHT
        amplitude = source.amplitude.copy()
        if number == 1:
            amplitude[source.impact_parameter - surface < lost_below] = 0.0
        phasor = amplitude * np.exp(1j * k * (source.phase - source.model))
        if parameters.noise > 0.0:
            phasor = noisy(phasor, snr=level / parameters.noise, rate=parameters.rate, generator=generator)
        # The receiver follows the residual of its model from the top down, where the signal is strong.
        down = slice(None, None, 1 if source.impact_parameter[0] > source.impact_parameter[-1] else -1)
        residual = np.unwrap(np.angle(phasor)[down])[down] / k
        phases.append(source.model + residual + clock)
        ratios.append(np.abs(phasor) * level)
        phases[-1][np.abs(phasor) == 0.0] = np.nan
    _slip(phases[0], fields[0].frequency, count=parameters.cycle_slips, generator=generator)
    return ReceivedSignals(np.stack(phases), np.stack(ratios), lost_below)


def _clock_residual(time: FloatArray, *, generator: np.random.Generator) -> FloatArray:
    """What clock correction leaves in the phase [m]: a velocity that wanders within seconds, 0.05 to 0.15 mm/s rms."""
    knots = np.arange(0.0, time[-1] - time[0] + 12.0, 2.0)
    velocity = generator.uniform(0.5e-4, 1.5e-4) * generator.standard_normal(knots.size)
    return np.asarray(CubicSpline(knots, velocity).antiderivative()(time - time[0]))


def _slip(phase: FloatArray, frequency: float, *, count: int, generator: np.random.Generator) -> None:
    """Add whole cycles from random samples on, in place."""
    for start in generator.integers(phase.size // 10, phase.size, size=count):
        phase[start:] += generator.choice([-1.0, 1.0]) * constants.SPEED_OF_LIGHT / frequency


def _truth(medium: Medium, *, geometry: Geometry, signals: Signals, climate: str, seed: int) -> xr.Dataset:
    """True profiles of the neutral air."""
    altitude = np.concatenate([np.arange(0.0, 20e3, 20.0), np.arange(20e3, 100_001.0, 50.0)])
    column = medium.column
    dry = column.dry_state(altitude)
    state = {
        name: np.interp(altitude, column.altitude, values)
        for name, values in (("temperature", column.temperature), ("vapour", column.vapour_pressure))
    }
    pressure = np.exp(np.interp(altitude, column.altitude, np.log(column.pressure)))
    share = state["vapour"] / pressure
    refractivity = column.refractivity(altitude)
    levels = np.arange(np.ceil(medium.levels[0] / 20.0) * 20.0, medium.surface_radius + 100e3, 20.0)
    bend = column.bending(levels, surface_radius=medium.surface_radius)
    height = ("altitude", "1e-6", refractivity)
    variables = {
        "refractivity": height,
        "dry_pressure": ("altitude", "Pa", dry.pressure),
        "dry_temperature": ("altitude", "K", dry.temperature),
        "temperature": ("altitude", "K", state["temperature"]),
        "pressure": ("altitude", "Pa", pressure),
        "specific_humidity": (
            "altitude",
            "1",
            climates.EPSILON * share / (1.0 - (1.0 - climates.EPSILON) * share),
        ),
        "bending_angle": ("impact_parameter", "rad", bend.bending_angle),
        "tangent_altitude": ("impact_parameter", "m", bend.tangent_altitude),
    }
    return xr.Dataset(
        {name: (dimension, values, {"units": unit}) for name, (dimension, unit, values) in variables.items()},
        coords={
            "altitude": ("altitude", altitude, {"units": "m", "long_name": "altitude above the geoid"}),
            "impact_parameter": ("impact_parameter", levels, {"units": "m"}),
        },
        attrs={
            "radius_of_curvature": geometry.local.sphere.radius,
            "center_of_curvature": geometry.local.sphere.center,
            "undulation": geometry.local.undulation,
            "reference_latitude": geometry.local.latitude,
            "reference_longitude": geometry.local.longitude,
            "reference_time": geometry.reference_time,
            "azimuth": geometry.azimuth,
            "duct_tops": column.duct_tops(surface_radius=medium.surface_radius),
            "climate": climate,
            "seed": seed,
            "frequencies": np.array(signals.frequencies),
        },
    )
