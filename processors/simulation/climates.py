"""Moist, layered atmospheres of five climates, and of radiosondes: temperature and humidity in hydrostatic balance.

A column is given by temperature and vapour pressure on a fine grid; pressure follows from the hydrostatic law with
gravity by latitude, refractivity from N = k1 p_d/T + k2 e/T + k3 e/T2 (Smith and Weintraub 1953, three terms), and a
twice differentiable spline of ln N carries it, so that rays and screens see the same smooth medium.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from processors import constants
from processors.arrays import FloatArray
from processors.geodesy import gravity
from processors.simulation import _phase_screen_kernels as _kernels

REFRACTIVITY_WET = 0.72
"""Coefficient k2 [K Pa-1] of Smith and Weintraub (1953)."""

REFRACTIVITY_WET_SQUARED = 3.75e3
"""Coefficient k3 [K2 Pa-1] of Smith and Weintraub (1953)."""

EPSILON = 0.621_98
"""Ratio of the molar masses of water and dry air [1]."""

GRID = np.concatenate(
    [
        np.arange(0.0, 12e3, 5.0),
        np.arange(12e3, 25e3, 10.0),
        np.arange(25e3, 40e3, 25.0),
        np.arange(40e3, 80e3, 100.0),
        np.arange(80e3, 150_001.0, 500.0),
    ]
)
"""Knots of the columns by altitude [m]."""

CLIMATES = ("tropical", "subtropical", "midlatitude-summer", "midlatitude-winter", "polar")
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)
NEAR_PANELS = 16
STRATOSPHERIC_VAPOUR = 5e-6
SOUNDING_FADE = 8e3
SECONDS_PER_YEAR = 365.25 * 86_400.0
LARGEST_SHARE = 0.06


class Bending(NamedTuple):
    """Bending of a spherically layered neutral atmosphere.

    Attributes
    ----------
    bending_angle : FloatArray
        Bending angle [rad], NaN where no ray of that impact parameter reaches a receiver.
    tangent_altitude : FloatArray
        Altitude of the lowest point [m].
    """

    bending_angle: FloatArray
    tangent_altitude: FloatArray


class DryState(NamedTuple):
    """What the refractivity would mean without vapour.

    Attributes
    ----------
    pressure : FloatArray
        Dry pressure [Pa].
    temperature : FloatArray
        Dry temperature [K].
    """

    pressure: FloatArray
    temperature: FloatArray


class LayeredAir:
    """A spherically layered neutral medium: a spline of the logarithm of the refractivity.

    Parameters
    ----------
    altitude : FloatArray
        Altitude above the geoid [m], increasing.
    refractivity : FloatArray
        Refractivity [1e-6].
    """

    def __init__(self, altitude: FloatArray, refractivity: FloatArray) -> None:
        self.altitude = altitude
        self._log = CubicSpline(altitude, np.log(refractivity))
        self._slope = self._log.derivative()

    def refractivity(self, altitude: FloatArray) -> FloatArray:
        """Refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m]; outside the column it continues exponentially.

        Returns
        -------
        FloatArray
            Refractivity [1e-6].
        """
        inside = np.clip(altitude, self.altitude[0], self.altitude[-1])
        return np.asarray(np.exp(self._log(inside) + (altitude - inside) * self._slope(inside)))

    def gradient(self, altitude: FloatArray) -> FloatArray:
        """Vertical gradient of the refractivity by altitude, the exact derivative of the spline.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Gradient [m-1], in millionths.
        """
        inside = np.clip(altitude, self.altitude[0], self.altitude[-1])
        return np.asarray(self.refractivity(altitude) * self._slope(inside))

    def bending(self, impact_parameter: FloatArray, *, surface_radius: float) -> Bending:
        """Bending angle by Gauss-Legendre quadrature between the knots of the spline.

        Parameters
        ----------
        impact_parameter : FloatArray
            Impact parameters [m], shape (m,).
        surface_radius : float
            Distance of zero altitude from the centre of curvature [m].

        Returns
        -------
        Bending
            alpha = -2 a Int (d ln n/dr) dr / sqrt(n2 r2 - a2). Born and Wolf, Principles of Optics, section 3.2.2.
        """
        found, tangent = _kernels.bending(
            np.asarray(impact_parameter, dtype=np.float64),
            self.altitude + surface_radius,
            np.ascontiguousarray(self._log.c),
            NODES,
            WEIGHTS,
            NEAR_PANELS,
        )
        return Bending(found, tangent - surface_radius)

    def impact_levels(self, *, surface_radius: float) -> FloatArray:
        """Impact parameters of the knots that rays from outside can touch.

        Parameters
        ----------
        surface_radius : float
            Distance of zero altitude from the centre of curvature [m].

        Returns
        -------
        FloatArray
            Impact parameters [m], increasing.
        """
        refractional = (surface_radius + self.altitude) * (1.0 + 1e-6 * self.refractivity(self.altitude))
        lowest_above = np.minimum.accumulate(refractional[::-1])[::-1]
        seen = np.append(refractional[:-1] < lowest_above[1:] - 1e-3, True)
        return np.asarray(refractional[seen])

    def duct_tops(self, *, surface_radius: float) -> FloatArray:
        """Altitudes where d(n r)/dr turns positive again above a duct.

        Parameters
        ----------
        surface_radius : float
            Distance of zero altitude from the centre of curvature [m].

        Returns
        -------
        FloatArray
            Altitudes of the tops [m], increasing; empty without super-refraction.
        """
        fine = np.arange(self.altitude[0], min(self.altitude[-1], 15e3), 1.0)
        rate = 1.0 + 1e-6 * (self.refractivity(fine) + (surface_radius + fine) * self.gradient(fine))
        return np.asarray(fine[1:][(rate[:-1] <= 0.0) & (rate[1:] > 0.0)])


class Column(LayeredAir):
    """A column of air in hydrostatic balance.

    Parameters
    ----------
    altitude : FloatArray
        Altitude above the geoid [m], increasing from the ground to 150 km.
    temperature : FloatArray
        Temperature [K].
    vapour_pressure : FloatArray
        Partial pressure of water [Pa].
    surface_pressure : float
        Pressure at the lowest altitude [Pa].
    latitude : float
        Geodetic latitude, for gravity [degree].
    """

    def __init__(
        self,
        altitude: FloatArray,
        *,
        temperature: FloatArray,
        vapour_pressure: FloatArray,
        surface_pressure: float,
        latitude: float,
    ) -> None:
        self.temperature, self.latitude = temperature, latitude
        self.pressure = _hydrostatic_pressure(
            altitude, temperature, vapour_pressure, surface_pressure=surface_pressure, latitude=latitude
        )
        # Vapour is given by a relative humidity and a floor, so high up it must not outlast the air.
        self.vapour_pressure = np.minimum(vapour_pressure, LARGEST_SHARE * self.pressure)
        super().__init__(
            altitude, refractivity(self.pressure, temperature=temperature, vapour_pressure=self.vapour_pressure)
        )

    def dry_state(self, altitude: FloatArray) -> DryState:
        """Dry pressure and dry temperature: the exact hydrostatic integral of the refractivity from the top.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        DryState
            p = p_top + Int N g / (k1 R_d) dz and T = k1 p / N; at the top the dry temperature is the temperature.
        """
        lower, upper = self.altitude[:-1, None], self.altitude[1:, None]
        point = lower + 0.5 * (upper - lower) * (1.0 + NODES)
        weight = self.refractivity(point) * gravity.at_altitude(self.latitude, point)
        pieces = (weight @ WEIGHTS) * 0.5 * np.diff(self.altitude)
        pieces = pieces / (constants.REFRACTIVITY_DRY * constants.GAS_CONSTANT_DRY_AIR)
        top = float(self.refractivity(self.altitude[-1:])[0] * self.temperature[-1] / constants.REFRACTIVITY_DRY)
        column = np.append(np.cumsum(pieces[::-1])[::-1], 0.0) + top
        pressure = np.exp(CubicSpline(self.altitude, np.log(column))(altitude))
        return DryState(pressure, constants.REFRACTIVITY_DRY * pressure / self.refractivity(altitude))


def refractivity(pressure: FloatArray, *, temperature: FloatArray, vapour_pressure: FloatArray) -> FloatArray:
    """Refractivity of moist air.

    Parameters
    ----------
    pressure : FloatArray
        Total pressure [Pa].
    temperature : FloatArray
        Temperature [K].
    vapour_pressure : FloatArray
        Partial pressure of water [Pa].

    Returns
    -------
    FloatArray
        Refractivity [1e-6]. Smith and Weintraub (1953), equation with three terms.
    """
    dry = constants.REFRACTIVITY_DRY * (pressure - vapour_pressure) / temperature
    wet = REFRACTIVITY_WET * vapour_pressure / temperature
    return np.asarray(dry + wet + REFRACTIVITY_WET_SQUARED * vapour_pressure / temperature**2)


def saturation_pressure(temperature: FloatArray) -> FloatArray:
    """Saturation pressure over water.

    Parameters
    ----------
    temperature : FloatArray
        Temperature [K].

    Returns
    -------
    FloatArray
        Pressure [Pa]. Bolton (1980), equation 10, held at its value of 170 K below that.
    """
    celsius = np.maximum(temperature, 170.0) - 273.15
    return np.asarray(611.2 * np.exp(17.67 * celsius / (celsius + 243.5)))


def _hydrostatic_pressure(
    altitude: FloatArray,
    temperature: FloatArray,
    vapour_pressure: FloatArray,
    *,
    surface_pressure: float,
    latitude: float,
) -> FloatArray:
    """Pressure of moist air at rest [Pa]: d ln p/dz = -g / (R_d T_v), T_v by the ratio e/p found along the way."""
    pull = gravity.at_altitude(latitude, altitude) / constants.GAS_CONSTANT_DRY_AIR
    pressure = surface_pressure * np.exp(-CubicSpline(altitude, pull / temperature).antiderivative()(altitude))
    for _ in range(5):
        share = np.minimum(vapour_pressure / pressure, LARGEST_SHARE)
        virtual = temperature / (1.0 - share * (1.0 - EPSILON))
        pressure = surface_pressure * np.exp(-CubicSpline(altitude, pull / virtual).antiderivative()(altitude))
    return np.asarray(pressure)


@dataclass(frozen=True)
class Climate:
    """Mean state of a climate and what varies about it.

    Attributes
    ----------
    surface_temperature : float
        Temperature at zero altitude [K].
    lapse_rate : float
        Tropospheric lapse rate [K m-1].
    tropopause : float
        Altitude of the tropopause [m].
    tropopause_width : float
        Half width of its bend [m].
    stratospheric_lapse : float
        Lapse rate just above it [K m-1], negative where it warms.
    humidity : tuple
        Relative humidity at the ground and in the upper troposphere [1].
    latitude : tuple
        Latitudes of the places drawn [degree].
    """

    surface_temperature: float
    lapse_rate: float
    tropopause: float
    tropopause_width: float
    stratospheric_lapse: float
    humidity: tuple[float, float]
    latitude: tuple[float, float]


STATES = {
    "tropical": Climate(300.0, 6.5e-3, 16_800.0, 700.0, -2.4e-3, (0.82, 0.35), (-20.0, 20.0)),
    "subtropical": Climate(293.0, 6.2e-3, 15_500.0, 900.0, -2.0e-3, (0.80, 0.20), (-32.0, 32.0)),
    "midlatitude-summer": Climate(294.0, 6.2e-3, 12_800.0, 900.0, -0.9e-3, (0.70, 0.35), (35.0, 58.0)),
    "midlatitude-winter": Climate(275.0, 5.6e-3, 10_300.0, 900.0, -0.1e-3, (0.75, 0.35), (35.0, 58.0)),
    "polar": Climate(255.0, 5.0e-3, 8_800.0, 800.0, 0.1e-3, (0.75, 0.40), (64.0, 84.0)),
}
"""The five climates."""


def climate_at(latitude: float, time: float) -> str:
    """The climate of a latitude and season.

    Parameters
    ----------
    latitude : float
        Geodetic latitude [degree].
    time : float
        Time [s since 1980-01-06, GPS].

    Returns
    -------
    str
        One of `CLIMATES`.
    """
    size = abs(latitude)
    if size < 33.0:
        return "tropical" if size < 18.0 else "subtropical"
    if size > 62.0:
        return "polar"
    # The warm half of the northern year is centred on the end of July, 0.56 of a year after the sixth of January.
    northern = np.cos(2.0 * np.pi * (time / SECONDS_PER_YEAR - 0.56)) > 0.0
    return "midlatitude-summer" if northern == (latitude > 0.0) else "midlatitude-winter"


class BoundaryLayer(NamedTuple):
    """An inversion that dries and warms the air.

    Attributes
    ----------
    top : float
        Altitude of its middle [m].
    half_width : float
        Half width [m].
    warming : float
        Temperature step [K].
    drying : float
        Factor on the relative humidity above [1].
    """

    top: float
    half_width: float
    warming: float
    drying: float


def column(climate: str, *, seed: int, latitude: float) -> Column:
    """A random column of a climate; the same for the same arguments.

    Parameters
    ----------
    climate : str
        One of `CLIMATES`.
    seed : int
        Seed of everything that varies [1].
    latitude : float
        Geodetic latitude [degree].

    Returns
    -------
    Column
        The air from the ground to 150 km.
    """
    generator = np.random.default_rng([seed, CLIMATES.index(climate)])
    state = _perturbed(STATES[climate], generator)
    layer = _boundary_layer(climate, generator)
    steepest = float(generator.uniform(100.0, 200.0))
    seeds = generator.integers(0, 2**31, size=2)
    pressure = float(generator.normal(101_300.0, 600.0))

    def build(chosen: BoundaryLayer) -> Column:
        temperature = _temperature(state, chosen, np.random.default_rng(seeds[0]))
        humidity = _humidity(state, chosen, np.random.default_rng(seeds[1]))
        return Column(
            GRID,
            temperature=temperature,
            vapour_pressure=_vapour(humidity, temperature),
            surface_pressure=pressure,
            latitude=latitude,
        )

    made = build(layer)
    if climate != "subtropical":
        return made
    # The thickness of a marine inversion is set so that its steepest gradient is the one drawn [N-units per km].
    for _ in range(3):
        near = GRID[np.abs(GRID - layer.top) < 600.0]
        found = -1e3 * float(made.gradient(near).min())
        layer = layer._replace(
            half_width=float(np.clip(layer.half_width * (found - 35.0) / (steepest - 35.0), 15, 250))
        )
        made = build(layer)
    return made


def _perturbed(state: Climate, generator: np.random.Generator) -> Climate:
    return replace(
        state,
        surface_temperature=state.surface_temperature + float(generator.normal(0.0, 2.5)),
        lapse_rate=state.lapse_rate * float(generator.normal(1.0, 0.03)),
        tropopause=state.tropopause + float(generator.normal(0.0, 700.0)),
        tropopause_width=state.tropopause_width * float(generator.uniform(0.25, 1.3)),
        stratospheric_lapse=state.stratospheric_lapse + float(generator.normal(0.0, 2e-4)),
        humidity=(state.humidity[0] + float(generator.uniform(-0.1, 0.1)), float(generator.uniform(0.1, 0.5))),
    )


def _boundary_layer(climate: str, generator: np.random.Generator) -> BoundaryLayer:
    """Inversion of the climate: marine and sharp, weak over land, at the ground in the cold."""
    top, width, warming, drying = generator.uniform(size=4)
    if climate == "subtropical":
        return BoundaryLayer(1_000.0 + 1_200.0 * top, 50.0, 2.0 + 5.0 * warming, 0.15 + 0.3 * drying)
    if climate == "polar":
        return BoundaryLayer(150.0 + 250.0 * top, 60.0 + 80.0 * width, 4.0 + 8.0 * warming, 0.9)
    return BoundaryLayer(900.0 + 1_500.0 * top, 90.0 + 110.0 * width, 0.5 + 1.5 * warming, 0.65 + 0.25 * drying)


def _rise(altitude: FloatArray, middle: float, half_width: float) -> FloatArray:
    """Smooth step from 0 to 1 [1]."""
    return np.asarray(0.5 * (1.0 + np.tanh((altitude - middle) / half_width)))


def _bend(altitude: FloatArray, middle: float, width: float) -> FloatArray:
    """Smooth max(altitude - middle, 0) [m]."""
    return np.asarray(width * np.logaddexp(0.0, (altitude - middle) / width))


def _temperature(state: Climate, layer: BoundaryLayer, generator: np.random.Generator) -> FloatArray:
    """Temperature on the grid [K]: linear pieces with rounded corners, inversion, thin layers, waves."""
    slopes = [-state.lapse_rate, -state.stratospheric_lapse, 2.6e-3, 0.0, -2.4e-3, 0.0, 9e-3]
    corners = [
        (state.tropopause, state.tropopause_width),
        (state.tropopause + 11e3 + float(generator.normal(0.0, 1e3)), 2.5e3),
        (46.5e3 + float(generator.normal(0.0, 1.2e3)), 2e3),
        (51.5e3 + float(generator.normal(0.0, 1.2e3)), 2e3),
        (82e3 + float(generator.normal(0.0, 2e3)), 3e3),
        (97e3, 4e3),
    ]
    found = state.surface_temperature + slopes[0] * GRID
    for (middle, width), before, after in zip(corners, slopes[:-1], slopes[1:], strict=True):
        found = found + (after - before) * (_bend(GRID, middle, width) - _bend(np.zeros(1), middle, width))
    # The stratopause is drawn to its climatological 265 K whatever the troposphere began with.
    excess = float(np.interp(49e3, GRID, found)) - float(generator.normal(265.0, 5.0))
    found = found - excess * _rise(GRID, state.tropopause + 16e3, 7e3)
    return np.asarray(
        np.maximum(found, 150.0)
        + layer.warming * (_rise(GRID, layer.top, layer.half_width) * np.exp(-np.maximum(GRID - layer.top, 0) / 3e3))
        + _thin_layers(generator, count=int(generator.integers(4, 9)), top=22e3, size=0.9)
        + _gravity_waves(generator)
    )


def _thin_layers(generator: np.random.Generator, *, count: int, top: float, size: float) -> FloatArray:
    """Sum of thin steps and bumps [1], of the unit of `size`."""
    total = np.zeros_like(GRID)
    for _ in range(count):
        middle, width = generator.uniform(600.0, top), 0.5 * generator.uniform(50.0, 400.0)
        depth = (GRID - middle) / width
        shape = 1.0 / np.cosh(np.clip(depth, -50, 50)) ** 2
        if generator.uniform() < 0.5:
            shape = _rise(GRID, middle, width) * np.exp(-np.maximum(GRID - middle, 0.0) / 1_500.0)
        total += size * generator.normal() * min(1.0, width / 60.0) * shape
    return total


def _gravity_waves(generator: np.random.Generator) -> FloatArray:
    """Waves that grow with the thinning of the air until they break [K]."""
    total = np.zeros_like(GRID)
    for _ in range(3):
        wavelength, phase = generator.uniform(2e3, 8e3), generator.uniform(0.0, 2.0 * np.pi)
        limit = generator.uniform(2.0, 4.0) / np.sqrt(3.0) * np.sqrt(wavelength / 5e3)
        growing = generator.uniform(0.1, 0.4) * np.exp((GRID - 15e3) / 14e3)
        amplitude = growing / np.sqrt(1.0 + (growing / limit) ** 2)
        total += amplitude * np.sin(2.0 * np.pi * GRID / wavelength + phase)
    return np.asarray(total * _rise(GRID, 9e3, 2e3) * (1.0 - _rise(GRID, 95e3, 6e3)))


def _humidity(state: Climate, layer: BoundaryLayer, generator: np.random.Generator) -> FloatArray:
    """Relative humidity on the grid [1], softly held within 2 and 100 %, fading above the tropopause."""
    ground, aloft = state.humidity
    mean = aloft + (ground - aloft) * np.exp(-GRID / 4e3)
    mean = mean * (1.0 - (1.0 - layer.drying) * _rise(GRID, layer.top, layer.half_width) * np.exp(-GRID / 15e3))
    layers = _thin_layers(generator, count=int(generator.integers(4, 9)), top=8e3, size=0.10)
    free = _rise(GRID, layer.top + 500.0, 120.0) if layer.drying < 0.5 else 1.0
    relative = mean + layers * free
    held = 1.0 - np.logaddexp(0.0, (1.0 - 0.02 - np.logaddexp(0.0, (relative - 0.02) / 0.02) * 0.02) / 0.02) * 0.02
    return np.asarray(held * (1.0 - _rise(GRID, state.tropopause, 1_000.0)))


def _vapour(humidity: FloatArray, temperature: FloatArray) -> FloatArray:
    """Vapour pressure [Pa] of a relative humidity, with a stratospheric floor that thins with the air."""
    floor = STRATOSPHERIC_VAPOUR * 101_300.0 * np.exp(-GRID / 7e3)
    return np.asarray(humidity * saturation_pressure(temperature) + floor)


class Sounding(NamedTuple):
    """Temperature and humidity a radiosonde measured, by increasing height.

    Attributes
    ----------
    pressure : FloatArray
        Pressure [Pa].
    altitude : FloatArray
        Altitude above the geoid [m].
    temperature : FloatArray
        Temperature [K].
    dewpoint : FloatArray
        Dewpoint temperature [K], NaN where unknown.
    latitude, longitude : float
        Station [degree].
    time : float
        Launch [s since 1980-01-06, GPS].
    """

    pressure: FloatArray
    altitude: FloatArray
    temperature: FloatArray
    dewpoint: FloatArray
    latitude: float
    longitude: float
    time: float


def column_from_sounding(sounding: Sounding, *, climate: str, seed: int) -> Column:
    """The air a radiosonde measured, continued above and below it by a climate.

    Parameters
    ----------
    sounding : Sounding
        The ascent.
    climate : str
        One of `CLIMATES`, for what lies above.
    seed : int
        Seed of what lies above [1].

    Returns
    -------
    Column
        The air from zero altitude to 150 km.
    """
    above = column(climate, seed=seed, latitude=sounding.latitude)
    height, air = sounding.altitude, sounding.temperature
    inside = np.clip(GRID, height[0], height[-1])
    beyond = np.maximum(GRID - height[-1], 0.0)
    measured = PchipInterpolator(height, air)(inside) + 6.5e-3 * np.maximum(height[0] - GRID, 0.0)
    # Above the last level the climate goes on, its difference there fading; the sonde's own levels stay untouched.
    difference = air[-1] - np.interp(height[-1], GRID, above.temperature)
    temperature = np.where(beyond > 0.0, above.temperature + difference * np.exp(-beyond / SOUNDING_FADE), measured)
    known = np.isfinite(sounding.dewpoint)
    relative = saturation_pressure(sounding.dewpoint[known]) / saturation_pressure(air[known])
    wet = np.clip(PchipInterpolator(height[known], relative)(np.clip(GRID, height[known][0], height[known][-1])), 0, 1)
    tail = np.exp(-np.maximum(GRID - height[known][-1], 0.0) / 1.5e3) * (1.0 - _rise(GRID, 17e3, 1e3))
    # A Gaussian of 15 m rounds the kinks at the levels; the grid is uniform where radiosondes see structure.
    fine = GRID < 12e3
    temperature[fine] = gaussian_filter1d(temperature, 3.0)[fine]
    relative = np.where(fine, gaussian_filter1d(wet, 3.0), wet) * tail
    mean = 0.5 * (air[0] + temperature[0])
    weight = gravity.at_altitude(sounding.latitude, 0.0) / (constants.GAS_CONSTANT_DRY_AIR * mean)
    return Column(
        GRID,
        temperature=temperature,
        vapour_pressure=_vapour(relative, temperature),
        surface_pressure=float(sounding.pressure[0] * np.exp(weight * height[0])),
        latitude=sounding.latitude,
    )
