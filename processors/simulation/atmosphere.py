"""Closed-form atmospheres and an ionosphere for the forward models.

Every profile gives the logarithm of the refractive index and its radial gradient exactly, so that a forward model never
differentiates numerically.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from processors import constants
from processors.arrays import FloatArray

KILOMETRE = 1_000.0


class RefractivityProfile(Protocol):
    """A neutral atmosphere by altitude."""

    def refractivity(self, altitude: FloatArray) -> FloatArray:
        """Refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Refractivity [1e-6].
        """

    def gradient(self, altitude: FloatArray) -> FloatArray:
        """Vertical gradient of the refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Gradient [m-1], in millionths.
        """


@dataclass(frozen=True)
class ExponentialAtmosphere:
    """Refractivity that falls exponentially.

    Attributes
    ----------
    surface : float
        Refractivity at zero altitude [1e-6].
    scale_height : float
        Scale height [m].
    """

    surface: float = 300.0
    scale_height: float = 7_000.0

    def refractivity(self, altitude: FloatArray) -> FloatArray:
        """Refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Refractivity [1e-6].
        """
        return np.asarray(self.surface * np.exp(-altitude / self.scale_height))

    def gradient(self, altitude: FloatArray) -> FloatArray:
        """Vertical gradient of the refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Gradient [m-1], in millionths.
        """
        return -self.refractivity(altitude) / self.scale_height


@dataclass(frozen=True)
class MoistAtmosphere:
    """Refractivity of a mid-latitude atmosphere: a dry part that follows the temperature, a moist part near the ground.

    The inverse dry scale height steps smoothly at the tropopause, the stratopause and the mesopause; its integral is
    closed (log cosh).

    Attributes
    ----------
    dry_surface, wet_surface : float
        Dry and moist refractivity at zero altitude [1e-6].
    wet_scale, wet_depth : float
        Exponential and Gaussian depth of the moist layer [m].
    inverse_scale : float
        Inverse dry scale height in the lower troposphere [m-1].
    steps : tuple
        Step of the inverse scale height [m-1], altitude [m] and half width [m] of each transition [1].
    """

    dry_surface: float = 262.0
    wet_surface: float = 90.0
    wet_scale: float = 3_000.0
    wet_depth: float = 6_000.0
    inverse_scale: float = 0.105e-3
    steps: tuple[tuple[float, float, float], ...] = (
        (0.052e-3, 14_000.0, 4_000.0),
        (-0.028e-3, 44_000.0, 9_000.0),
        (0.030e-3, 72_000.0, 10_000.0),
    )

    def _dry(self, altitude: FloatArray) -> FloatArray:
        """Dry part [1e-6]."""
        exponent = self.inverse_scale * altitude
        for step, middle, width in self.steps:
            rise = _log_cosh((altitude - middle) / width) - _log_cosh(np.asarray(-middle / width))
            exponent = exponent + 0.5 * step * (altitude + width * rise)
        return np.asarray(self.dry_surface * np.exp(-exponent))

    def _wet(self, altitude: FloatArray) -> FloatArray:
        """Moist part [1e-6]."""
        return np.asarray(
            self.wet_surface
            * np.exp(-altitude / self.wet_scale - (altitude / self.wet_depth) * np.abs(altitude / self.wet_depth))
        )

    def refractivity(self, altitude: FloatArray) -> FloatArray:
        """Refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Refractivity [1e-6].
        """
        return self._dry(altitude) + self._wet(altitude)

    def gradient(self, altitude: FloatArray) -> FloatArray:
        """Vertical gradient of the refractivity by altitude.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].

        Returns
        -------
        FloatArray
            Gradient [m-1], in millionths.
        """
        inverse = np.full_like(altitude, self.inverse_scale)
        for step, middle, width in self.steps:
            inverse = inverse + 0.5 * step * (1.0 + np.tanh((altitude - middle) / width))
        wet_inverse = 1.0 / self.wet_scale + 2.0 * np.abs(altitude) / self.wet_depth**2
        return -inverse * self._dry(altitude) - wet_inverse * self._wet(altitude)


def _log_cosh(argument: FloatArray) -> FloatArray:
    """Logarithm of the hyperbolic cosine without overflow."""
    size = np.abs(argument)
    return np.asarray(size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0))


@dataclass(frozen=True)
class ChapmanLayer:
    """Free electrons in one Chapman layer.

    Attributes
    ----------
    peak_density : float
        Electron density of the peak [m-3].
    peak_altitude : float
        Altitude of the peak [m].
    scale_height : float
        Scale height [m].
    """

    peak_density: float = 3e11
    peak_altitude: float = 300_000.0
    scale_height: float = 40_000.0

    def index_excess(self, altitude: FloatArray, frequency: float) -> FloatArray:
        """Refractive index minus one for the phase, to first order.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].
        frequency : float
            Carrier frequency [Hz].

        Returns
        -------
        FloatArray
            Index minus one [1], negative.
        """
        depth = (altitude - self.peak_altitude) / self.scale_height
        density = self.peak_density * np.exp(0.5 * (1.0 - depth - np.exp(np.minimum(-depth, 30.0))))
        return np.asarray(-constants.IONOSPHERIC_REFRACTION * density / frequency**2)

    def index_gradient(self, altitude: FloatArray, frequency: float) -> FloatArray:
        """Vertical gradient of the refractive index for the phase.

        Parameters
        ----------
        altitude : FloatArray
            Altitude above the geoid [m].
        frequency : float
            Carrier frequency [Hz].

        Returns
        -------
        FloatArray
            Gradient [m-1].
        """
        depth = (altitude - self.peak_altitude) / self.scale_height
        shape = -0.5 * (1.0 - np.exp(np.minimum(-depth, 30.0))) / self.scale_height
        return self.index_excess(altitude, frequency) * shape
