"""Super-refraction: layers so steep that no ray from outside turns in them.

Where d(n r)/dr <= 0, that is dN/dz <= -157 N-units per km, the inverse Abel transform has no unique answer: what it
returns below the layer is the least refractivity that explains the bending, too small (Sokolovskiy 2003; Xie et al.
2006).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class SuperRefractionParameters:
    """What counts as super-refraction in a retrieved profile.

    Attributes
    ----------
    gradient : float
        Refractivity gradient at or below which a layer is held to be super-refractive [1e-6 m-1]. The retrieval never
        exceeds the critical value, and its resolution takes from a thin layer's gradient.
    ceiling : float
        Altitude above which noise, not a duct, is held responsible [m].
    """

    gradient: float = -0.120
    ceiling: float = 6_000.0


class SuperRefraction(NamedTuple):
    """Where a profile is biased by super-refraction.

    Attributes
    ----------
    top : float
        Altitude of the top of the highest such layer [m], NaN where there is none.
    biased : BoolArray
        Levels below it, shape (m,).
    """

    top: float
    biased: BoolArray


def find(refractivity: FloatArray, *, altitude: FloatArray, parameters: SuperRefractionParameters) -> SuperRefraction:
    """Find super-refractive layers.

    Parameters
    ----------
    refractivity : FloatArray
        Refractivity [1e-6], shape (m,).
    altitude : FloatArray
        Altitude [m], increasing.
    parameters : SuperRefractionParameters
        Gradient and ceiling.

    Returns
    -------
    SuperRefraction
        Highest layer and the levels below its top.
    """
    gradient = np.diff(refractivity) / np.diff(altitude)
    steep = np.flatnonzero((gradient <= parameters.gradient) & (altitude[1:] <= parameters.ceiling))
    if steep.size == 0:
        return SuperRefraction(float("nan"), np.zeros(altitude.shape, dtype=bool))
    top = float(altitude[steep[-1] + 1])
    return SuperRefraction(top, altitude < top)
