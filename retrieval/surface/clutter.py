"""Statistics of radar backscatter over water: K-distributed power and the factor of a false-alarm rate."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Doubles = npt.NDArray[np.float64]

MOST_UNIFORM = 1e3
"""Shape of the texture beyond which it is as good as none [1]."""
_NODES = 1600
_ROUGHEST = 0.2


class Clutter(NamedTuple):
    """Backscatter of water over its local mean.

    Attributes
    ----------
    looks : float
        Equivalent number of looks of the speckle [1].
    shape : float
        Shape of the gamma-distributed texture [1].
    """

    looks: float
    shape: float


def exceedance(factor: float, clutter: Clutter) -> float:
    """Probability that power exceeds a multiple of its mean, texture times speckle, both gamma-distributed.

    Ward, Tough and Watts, Sea Clutter (2013), section 4: the K distribution as a compound of gamma distributions.

    Parameters
    ----------
    factor : float
        Multiple of the mean [1].
    clutter : Clutter
        Looks and shape.

    Returns
    -------
    float
        Probability [1].
    """
    if clutter.shape >= MOST_UNIFORM:
        return float(special.gammaincc(clutter.looks, clutter.looks * factor))
    # Equal steps of probability would leave out the far tail of the texture that decides.
    spread = 12.0 / np.sqrt(clutter.shape) + 2.0
    logarithm = np.linspace(-3.0 * spread, spread, _NODES)
    texture = np.exp(logarithm)
    density = np.exp(
        clutter.shape * np.log(clutter.shape) - special.gammaln(clutter.shape)
        + clutter.shape * logarithm - clutter.shape * texture
    )  # fmt: skip
    tail = special.gammaincc(clutter.looks, clutter.looks * factor / texture)
    return float(np.trapezoid(density * tail, logarithm))


def factor(rate: float, clutter: Clutter) -> float:
    """Multiple of the mean that power exceeds with a probability.

    Parameters
    ----------
    rate : float
        Probability [1].
    clutter : Clutter
        Looks and shape.

    Returns
    -------
    float
        Multiple of the mean [1].
    """
    aim = np.log(rate)

    def apart(logarithm: float) -> float:
        return float(np.log(max(exceedance(float(np.exp(logarithm)), clutter), 1e-300)) - aim)

    return float(np.exp(optimize.brentq(apart, 0.0, np.log(1e5), xtol=1e-4)))


def fit(values: Doubles, *, looks: float, quantile: float, looks_known: bool = False, rate: float = 1e-6) -> Clutter:
    """Looks and texture from power over its local mean, from its moments and its upper quantile.

    Moments of two factors that are both gamma-distributed tell their shapes, but not which is which: texture of single
    pixels looks like speckle. The answer with the longer tail is kept.

    Parameters
    ----------
    values : numpy.ndarray
        Power over its local mean, targets left out [1].
    looks : float
        Equivalent number of looks, as uniform windows tell it [1].
    quantile : float
        Share of the values below the upper quantile that is compared [1].
    looks_known : bool
        Whether the looks are not to be doubted.
    rate : float
        Probability at which tails are compared [1].

    Returns
    -------
    Clutter
        The roughest of the answers, for the tail is what counts.
    """
    relative = values / values.mean()
    # Largest values may be ships not yet left out: the moments are those below a multiple of the quantile.
    above = float(np.quantile(relative, quantile))
    kept = relative[relative < 2.0 * above]
    kept = kept / kept.mean()
    second, third = float(np.mean(kept**2)), float(np.mean(kept**3))
    excess = second / (1.0 + 1.0 / looks) - 1.0
    shape = MOST_UNIFORM if excess <= 1.0 / MOST_UNIFORM else 1.0 / excess
    plain = Clutter(looks, float(np.clip(min(shape, _shape_of(above, looks, 1.0 - quantile)), _ROUGHEST, MOST_UNIFORM)))
    if looks_known:
        return plain
    return max((plain, _of_moments(second, third)), key=lambda clutter: factor(rate, clutter))


def _of_moments(second: float, third: float) -> Clutter:
    """Both shapes from the second and third moment: (1+a)(1+b) and (1+a)(1+2a)(1+b)(1+2b), a and b their inverses."""
    product = max((third / second - 1.0 - 2.0 * (second - 1.0)) / 2.0, 0.0)
    total = max(second - 1.0 - product, 1e-3)
    root = np.sqrt(max(total**2 / 4.0 - product, 0.0))
    smaller, larger = total / 2.0 - root, total / 2.0 + root
    return Clutter(float(1.0 / max(smaller, 5e-3)), float(np.clip(1.0 / max(larger, 1e-3), _ROUGHEST, MOST_UNIFORM)))


def _shape_of(above: float, looks: float, rate: float) -> float:
    def apart(logarithm: float) -> float:
        return exceedance(above, Clutter(looks, float(np.exp(logarithm)))) - rate

    low, high = np.log(_ROUGHEST), np.log(0.99 * MOST_UNIFORM)
    if apart(high) >= 0:
        return MOST_UNIFORM
    if apart(low) <= 0:
        return _ROUGHEST
    return float(np.exp(optimize.brentq(apart, low, high, xtol=1e-3)))
