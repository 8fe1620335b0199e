"""Waves through a spherically layered atmosphere: multiple phase screens between a transmitter and a receiver.

Everything happens in the plane of propagation, about the centre of curvature: x along the middle of the rays, z up.
The field of a point source reaches the first screen through vacuum, passes slabs (exact angular spectrum between phase
screens, split symmetrically), loses what lies below the surface, and goes from the last screen to each position of the
receiver by the Rayleigh-Sommerfeld integral. To first order in n - 1 the root of the wave equation is sqrt(k2 - kz2) +
k (n - 1) / cos(angle): the axis is turned so that rays enter rising and leave sinking by about the same small angle,
and the cosine is that of an average ray at each place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter1d
from scipy.special import erf

from processors import constants
from processors.arrays import FloatArray
from processors.simulation import _phase_screen_kernels as _kernels

ComplexArray: TypeAlias = npt.NDArray[np.complex128]
Refractivity: TypeAlias = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class ScreenLayout:
    """Grid of the screens.

    Attributes
    ----------
    points : int
        Points across [1], a product of small primes.
    spacing : float
        Distance of the points [m].
    bottom : float
        Lowest point relative to the surface above the middle [m].
    reach : tuple
        Distances from the middle at which the slabs become thicker; the last one is where they end [m].
    thickness : tuple
        Thickness of the slabs up to each of these [m].
    tilt : float
        Angle by which an average ray rises where it enters and sinks where it leaves [rad].
    carrier : float
        Angle in the middle of the spectrum [rad].
    absorber : tuple
        Depth of the absorbing layers at the lower and at the upper end of the grid [m].
    edge : float
        Depth below the surface over which the field ends [m].
    table : float
        Spacing of the table of refractivity [m].
    nodes : int
        Points of the quadrature across each slab [1].
    """

    points: int = 3 * 2**14
    spacing: float = 3.2
    bottom: float = -60_000.0
    reach: tuple[float, ...] = (480e3, 1_040e3)
    thickness: tuple[float, ...] = (2e3, 7e3)
    tilt: float = 0.010
    carrier: float = -0.014
    absorber: tuple[float, float] = (10_000.0, 20_000.0)
    edge: float = 30.0
    table: float = 2.0
    nodes: int = 2

    @property
    def across(self) -> FloatArray:
        """Points across relative to the surface above the middle [m]."""
        return np.asarray(self.bottom + self.spacing * np.arange(self.points), dtype=np.float64)

    @property
    def edges(self) -> FloatArray:
        """Boundaries of the slabs along the axis [m], from the transmitter to the receiver."""
        starts = (0.0, *self.reach[:-1])
        half = np.concatenate([np.arange(a, b, d) for a, b, d in zip(starts, self.reach, self.thickness, strict=True)])
        half = np.append(half, self.reach[-1])
        return np.concatenate([-half[:0:-1], half])

    @property
    def taper(self) -> FloatArray:
        """Amplitude kept at each screen [1]: absorbing layers at both ends."""
        low = (self.across - self.across[0]) / self.absorber[0]
        high = (self.across[-1] - self.across) / self.absorber[1]
        return np.asarray(np.sin(0.5 * np.pi * np.clip(np.minimum(low, high), 0.0, 1.0)) ** 0.25)


SECANT_POINTS = 129
TRANSPARENT = 1e15
"""Depth below the surface that stands for no Earth at all [m]."""
AVERAGING = 600.0


class AverageRays(NamedTuple):
    """Bending of a smoothed atmosphere, near enough for the cosine of the rays.

    Attributes
    ----------
    impact_height : FloatArray
        Impact height [m], increasing.
    bending : FloatArray
        Bending angle [rad].
    reach : FloatArray
        Half width of the stretch of the ray that is bent [m].
    """

    impact_height: FloatArray
    bending: FloatArray
    reach: FloatArray


class LastScreen(NamedTuple):
    """Field behind the atmosphere.

    Attributes
    ----------
    field : npt.NDArray[np.complex128]
        Field without its carrier across and without exp(i k (x - x of the transmitter)) [m-1/2].
    surface_radius : float
        Distance of zero altitude from the centre of curvature [m].
    transmitter : tuple
        Distance [m] and angle from the z axis toward the receiver [rad], negative, of the transmitter.
    frequency : float
        Carrier frequency [Hz].
    layout : ScreenLayout
        Grid.
    """

    field: ComplexArray
    surface_radius: float
    transmitter: tuple[float, float]
    frequency: float
    layout: ScreenLayout

    @property
    def wave_number(self) -> float:
        """Wave number in vacuum [rad m-1]."""
        return 2.0 * np.pi * self.frequency / constants.SPEED_OF_LIGHT

    @property
    def position(self) -> float:
        """Position along the axis [m]."""
        return float(self.layout.edges[-1])


@lru_cache(maxsize=64)
def _propagator(distance: float, *, wave_number: float, layout: ScreenLayout) -> ComplexArray:
    """Exact angular spectrum exp(i dx (sqrt(k2 - kz2) - k)) of vacuum; waves at the ends of the band are dropped."""
    carried = 2.0 * np.pi * scipy.fft.fftfreq(layout.points, layout.spacing)
    across = carried + wave_number * np.sin(layout.carrier)
    share = np.abs(carried) * layout.spacing / np.pi
    kept = np.cos(0.5 * np.pi * np.clip((share - 0.94) / 0.06, 0.0, 1.0)) ** 2
    phase = -distance * across**2 / (np.sqrt(wave_number**2 - across**2) + wave_number)
    return np.asarray(kept * np.exp(1j * phase))


def transmitter_place(radius: float, *, surface_radius: float, layout: ScreenLayout) -> tuple[float, float]:
    """Where the transmitter stands so that the ray grazing the surface enters with the tilt of the layout.

    Parameters
    ----------
    radius : float
        Distance of the transmitter from the centre of curvature [m].
    surface_radius : float
        Distance of zero altitude from it [m].
    layout : ScreenLayout
        Grid.

    Returns
    -------
    tuple
        Distance [m] and angle from the z axis toward the receiver [rad].
    """
    return radius, float(-np.arccos(surface_radius / radius) - layout.tilt)


def propagate(
    refractivity: Refractivity,
    *,
    surface_radius: float,
    transmitter_radius: float,
    frequency: float,
    layout: ScreenLayout | None = None,
    opaque: bool = True,
) -> LastScreen:
    """Carry the wave of a point source through the atmosphere.

    Parameters
    ----------
    refractivity : callable
        Refractivity [1e-6] by altitude [m].
    surface_radius : float
        Distance of zero altitude from the centre of curvature [m].
    transmitter_radius : float
        Distance of the transmitter from it [m].
    frequency : float
        Carrier frequency [Hz].
    layout : ScreenLayout, optional
        Grid.
    opaque : bool
        Whether the Earth blocks the wave; False for tests in free space.

    Returns
    -------
    LastScreen
        Field on the last screen. Levy, Parabolic Equation Methods (2000), chapter 2 and 3: split step with the
        wide-angle vacuum operator.
    """
    chosen = layout or ScreenLayout()
    place = transmitter_place(transmitter_radius, surface_radius=surface_radius, layout=chosen)
    k = 2.0 * np.pi * frequency / constants.SPEED_OF_LIGHT
    edges, across, taper = chosen.edges, chosen.across, chosen.taper
    field = _incident(edges[0], place=place, wave_number=k, surface_radius=surface_radius, layout=chosen) * taper
    table = np.ascontiguousarray(refractivity(np.arange(0.0, 120e3, chosen.table)), dtype=np.float64)
    rays = _average_rays(refractivity, surface_radius=surface_radius)
    offsets, weights = np.polynomial.legendre.leggauss(chosen.nodes)
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    steps = np.diff(np.concatenate([edges[:1], middle, edges[-1:]]))
    for index, step in enumerate(steps):
        if step > 0.0:
            vacuum = _propagator(float(step), wave_number=k, layout=chosen)
            field = scipy.fft.ifft(
                scipy.fft.fft(field, workers=1, overwrite_x=True) * vacuum, workers=1, overwrite_x=True
            )
        if index < middle.size:
            _kernels.pass_screen(
                field,
                surface_radius + across,
                taper,
                middle[index] + half[index] * offsets,
                1e-6 * k * half[index] * weights,
                _secant_excess(
                    float(middle[index]), rays=rays, place=place, surface_radius=surface_radius, layout=chosen
                ),
                table,
                chosen.table,
                surface_radius,
                chosen.edge if opaque else TRANSPARENT,
            )
    return LastScreen(field, surface_radius, place, frequency, chosen)


def _average_rays(refractivity: Refractivity, *, surface_radius: float) -> AverageRays:
    """Bending N sqrt(2 pi r/H) of an exponential atmosphere at each height, r by the curvature relative to the ray."""
    height = np.arange(0.0, 60e3, 100.0)
    log = gaussian_filter1d(np.log(np.maximum(refractivity(height), 1e-6)), AVERAGING / 100.0, mode="nearest")
    excess, slope = 1e-6 * np.exp(log), np.minimum(np.gradient(log, height), -1.0 / 12e3)
    relative = surface_radius / np.maximum(1.0 + surface_radius * excess * slope, 0.4)
    impact = np.maximum.accumulate((surface_radius + height) * (1.0 + excess) - surface_radius)
    reach = np.sqrt(relative / -slope)
    return AverageRays(impact, np.sqrt(2.0 * np.pi) * reach * excess * -slope, reach)


def _secant_excess(
    position: float,
    *,
    rays: AverageRays,
    place: tuple[float, float],
    surface_radius: float,
    layout: ScreenLayout,
) -> FloatArray:
    """1/cos(angle) - 1 of the average ray through coarse points of a screen [1]."""
    radius, angle = place
    across = layout.bottom + np.linspace(0.0, layout.points * layout.spacing, SECANT_POINTS)
    ahead, below = position - radius * np.sin(angle), surface_radius - radius * np.cos(angle)
    fallen, turned = np.zeros(SECANT_POINTS), np.zeros(SECANT_POINTS)
    for _ in range(6):
        incoming = (across + fallen + below) / ahead
        impact = across + fallen - incoming * position - 0.5 * surface_radius * incoming**2
        bending = np.interp(impact, rays.impact_height, rays.bending)
        reach = np.interp(impact, rays.impact_height, rays.reach)
        depth = (position + surface_radius * (incoming - 0.5 * bending)) / reach
        done = 0.5 * (1.0 + erf(depth / np.sqrt(2.0)))
        turned = bending * done
        fallen = bending * reach * (depth * done + np.exp(-0.5 * depth**2) / np.sqrt(2.0 * np.pi))
    return np.asarray(0.5 * (incoming - turned) ** 2)


def _incident(
    position: float, *, place: tuple[float, float], wave_number: float, surface_radius: float, layout: ScreenLayout
) -> ComplexArray:
    """Wave of the transmitter on the first screen, exp(i k d)/sqrt(d) without its carriers."""
    radius, angle = place
    ahead = position - radius * np.sin(angle)
    across = layout.across + (surface_radius - radius * np.cos(angle))
    distance = np.hypot(ahead, across)
    lag = across**2 / (distance + ahead)
    carrier = wave_number * np.sin(layout.carrier) * layout.across
    return np.asarray(np.exp(1j * (wave_number * lag - carrier)) / np.sqrt(distance))


class Received(NamedTuple):
    """Field at the receiver.

    Attributes
    ----------
    field : npt.NDArray[np.complex128]
        Field relative to that of free space [1]: its phase is the optical path minus the straight line.
    straight : FloatArray
        Distance of receiver and transmitter [m].
    """

    field: ComplexArray
    straight: FloatArray


def receive(
    screen: LastScreen, *, receiver_radius: FloatArray, separation: FloatArray, rays: FloatArray, margin: float = 8e3
) -> Received:
    """Field at positions of the receiver.

    Parameters
    ----------
    screen : LastScreen
        Field behind the atmosphere.
    receiver_radius : FloatArray
        Distance from the centre of curvature [m], shape (n,).
    separation : FloatArray
        Angle between transmitter and receiver at the centre [rad], shape (n,).
    rays : FloatArray
        Lowest and highest place where rays to the receiver cross the last screen, relative to the surface above the
        middle [m], shape (2, n).
    margin : float
        How far the integral goes beyond these, with a soft end [m].

    Returns
    -------
    Received
        Rayleigh-Sommerfeld integral of the first kind in two dimensions, far from the screen. Goodman, Introduction to
        Fourier Optics, section 3.5.
    """
    layout, k = screen.layout, screen.wave_number
    radius, angle = screen.transmitter
    x = receiver_radius * np.sin(separation + angle)
    z = receiver_radius * np.cos(separation + angle) - screen.surface_radius
    ahead, across = x - radius * np.sin(angle), z - (radius * np.cos(angle) - screen.surface_radius)
    straight = np.hypot(ahead, across)
    # The phase k (x_s - x_t) of the screens and the straight line are taken out together: nothing large is left.
    reference = straight - (screen.position - radius * np.sin(angle))
    found = _kernels.diffract(
        screen.field,
        layout.bottom,
        layout.spacing,
        k * float(np.sin(layout.carrier)),
        screen.position,
        k,
        np.ascontiguousarray(x),
        np.ascontiguousarray(z),
        reference,
        np.ascontiguousarray(rays[0]),
        np.ascontiguousarray(rays[1]),
        margin,
    )
    return Received(found * np.sqrt(straight), straight)


def crossing(
    screen: LastScreen, impact_parameter: FloatArray, *, receiver_radius: FloatArray, separation: FloatArray
) -> FloatArray:
    """Where rays to the receiver cross the last screen.

    Parameters
    ----------
    screen : LastScreen
        Field behind the atmosphere.
    impact_parameter : FloatArray
        Impact parameters [m].
    receiver_radius : FloatArray
        Distance of the receiver from the centre of curvature [m].
    separation : FloatArray
        Angle between transmitter and receiver at the centre [rad].

    Returns
    -------
    FloatArray
        Height relative to the surface above the middle [m].
    """
    lowest = separation + screen.transmitter[1] - np.arccos(impact_parameter / receiver_radius)
    return np.asarray((impact_parameter - screen.position * np.sin(lowest)) / np.cos(lowest) - screen.surface_radius)
