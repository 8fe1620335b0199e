"""Kinds of water and land as a mixture that adapts to the scene: radar and optical features of one pixel together.

Every kind (calm water, wind-roughened water, vegetation, bare ground, buildings) has a Gaussian of the backscatter in
decibels and one of the optical features, independent of each other given the kind. The expectation-maximization
algorithm (Dempster, Laird and Rubin 1977) moves the kinds toward the scene from where physics expects them, and no
further than physics allows: a scene without water leaves the water where it was and gives it no share, one of water
alone does not call its darker half water and the rest land.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from retrieval.surface import _radar_water_kernels

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_TINY = 1e-12
_LEAST_WEIGHT = 1e-4
_DECIBEL = 10.0 / np.log(10.0)
_FEWEST_LOOKS = 0.5


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of surface as physics expects it.

    Parameters
    ----------
    name : str
        Name.
    water : bool
        Whether it is water.
    copolar, crosspolar : tuple of float
        Expected backscatter, least and greatest its mean may become [dB].
    index : tuple of float
        Expected water index and its limits [1].
    darkness : tuple of float
        Expected second optical feature, near infrared darker than visible, and its limits [1].
    backscatter_spread : float
        Expected standard deviation of either polarization [dB].
    optical_spread : float
        Expected standard deviation of either optical feature [1].
    weight : float
        Expected share [1].
    """

    name: str
    water: bool
    copolar: tuple[float, float, float]
    crosspolar: tuple[float, float, float]
    index: tuple[float, float, float]
    darkness: tuple[float, float, float]
    backscatter_spread: float
    optical_spread: float
    weight: float


KINDS = (
    Kind(
        name="calm water",
        water=True,
        copolar=(-20.0, -28.0, -14.5),
        crosspolar=(-27.0, -38.0, -20.5),
        index=(0.45, 0.12, 0.95),
        darkness=(0.25, 0.0, 0.9),
        backscatter_spread=1.8,
        optical_spread=0.2,
        weight=0.15,
    ),
    Kind(
        name="roughened water",
        water=True,
        copolar=(-14.0, -17.0, -9.0),
        crosspolar=(-25.0, -34.0, -21.5),
        index=(0.35, 0.1, 0.95),
        darkness=(0.1, -0.1, 0.9),
        backscatter_spread=1.8,
        optical_spread=0.2,
        weight=0.03,
    ),
    Kind(
        name="vegetation",
        water=False,
        copolar=(-10.0, -15.0, -5.0),
        crosspolar=(-16.0, -21.0, -11.0),
        index=(-0.4, -0.8, -0.1),
        darkness=(-0.55, -0.95, -0.2),
        backscatter_spread=2.0,
        optical_spread=0.15,
        weight=0.5,
    ),
    Kind(
        name="smooth ground",
        water=False,
        copolar=(-13.5, -17.0, -9.0),
        crosspolar=(-20.5, -24.0, -15.0),
        index=(-0.35, -0.7, -0.05),
        darkness=(-0.2, -0.6, 0.0),
        backscatter_spread=2.2,
        optical_spread=0.15,
        weight=0.25,
    ),
    Kind(
        name="buildings and rock",
        water=False,
        copolar=(-4.5, -9.0, 5.0),
        crosspolar=(-12.0, -17.0, 0.0),
        index=(-0.1, -0.4, 0.05),
        darkness=(-0.12, -0.4, 0.05),
        backscatter_spread=3.0,
        optical_spread=0.14,
        weight=0.07,
    ),
)
"""Ordered from dark to bright backscatter; C band, 30 to 45 degrees of incidence."""


@dataclass(frozen=True, kw_only=True)
class MixtureParameters:
    """How far the kinds may follow the scene.

    Parameters
    ----------
    kinds : tuple of Kind
        Expected kinds.
    strength : float
        Weight of the expectation, as a share of the sample [1].
    rounds : int
        Rounds of expectation and maximization [1].
    settled : float
        Change of any share below which no further round is needed [1].
    narrowest_backscatter : float
        Least standard deviation of a kind [dB].
    narrowest_optical : float
        Least standard deviation of a kind of land [1].
    narrowest_wet_optical : float
        The same of water: pixels along the shore that hold some land, and turbid water where clear water prevails, are
        not to be land because the clear water of a scene is all alike [1].
    widest : float
        Greatest standard deviation of a kind as a multiple of the expected one [1].
    correlation : float
        Greatest correlation of two features within a kind [1].
    above_water : float
        How much brighter than calm water the mean of any land is at least [dB].
    unexplained : float
        Share of pixels no kind explains, which bounds what a strange value can prove [1].
    backscatter_range, optical_range : float
        Width over which the unexplained lie [dB, 1].
    """

    kinds: tuple[Kind, ...] = KINDS
    strength: float = 0.02
    rounds: int = 30
    settled: float = 3e-4
    narrowest_backscatter: float = 0.9
    narrowest_optical: float = 0.06
    narrowest_wet_optical: float = 0.15
    widest: float = 1.2
    correlation: float = 0.6
    above_water: float = 2.0
    unexplained: float = 0.02
    backscatter_range: float = 30.0
    optical_range: float = 2.0


class Group(NamedTuple):
    """Features that are seen together.

    Attributes
    ----------
    mean : Doubles
        Mean of each kind (kind, 2); the second is 0 where there is one feature.
    covariance : Doubles
        Covariance of each kind (kind, 2, 2).
    dimensions : int
        Features: 1 or 2.
    unexplained : float
        Density of what no kind explains.
    """

    mean: Doubles
    covariance: Doubles
    dimensions: int
    unexplained: float


class Mixture(NamedTuple):
    """Kinds as found in a scene.

    Attributes
    ----------
    groups : tuple of Group
        Radar, optical, or both in this order.
    weights : Doubles
        Share of each kind (kind) [1].
    water : numpy.ndarray
        Which kinds are water, boolean (kind).
    floor : float
        Share of pixels no kind explains [1].
    """

    groups: tuple[Group, ...]
    weights: Doubles
    water: npt.NDArray[np.bool_]
    floor: float

    @property
    def water_share(self) -> float:
        """Share of water in the sample [1]."""
        return float(self.weights[self.water].sum())


class Anchor(NamedTuple):
    """Where the two classes were found in parts of the scene that hold both.

    Attributes
    ----------
    water : tuple of float
        Mean of water per polarization of the radar group [dB].
    spread : tuple of float
        Standard deviation of water [dB].
    """

    water: tuple[float, ...]
    spread: tuple[float, ...]


class _Limits(NamedTuple):
    lower: Doubles
    upper: Doubles
    narrowest: Doubles
    widest: Doubles
    correlation: float
    above: Doubles


def expected(*, polarizations: tuple[str, ...], optical: bool, parameters: MixtureParameters) -> Mixture:
    """The kinds before any scene is seen.

    Parameters
    ----------
    polarizations : tuple of str
        ``copolar``, ``crosspolar``, both in this order, or none.
    optical : bool
        Whether there are optical features.
    parameters : MixtureParameters
        Expectation.

    Returns
    -------
    Mixture
        Kinds with their expected means, spreads and shares.
    """
    kinds = parameters.kinds
    groups = []
    if polarizations:
        mean = [[getattr(kind, name)[0] for name in polarizations] for kind in kinds]
        spread = [kind.backscatter_spread for kind in kinds]
        groups.append(_group(mean, spread, parameters.backscatter_range))
    if optical:
        mean = [[kind.index[0], kind.darkness[0]] for kind in kinds]
        groups.append(_group(mean, [kind.optical_spread for kind in kinds], parameters.optical_range))
    weights = np.array([kind.weight for kind in kinds])
    if len(polarizations) == 1 and not optical:
        # One polarization alone cannot tell rough water from land.
        weights[[kind.name == "roughened water" for kind in kinds]] = _LEAST_WEIGHT
    water = np.array([kind.water for kind in kinds])
    return Mixture(tuple(groups), weights / weights.sum(), water, parameters.unexplained)


def _group(mean: list[list[float]], spread: list[float], width: float) -> Group:
    dimensions = len(mean[0])
    centers = np.zeros((len(mean), 2))
    centers[:, :dimensions] = mean
    covariance = np.stack([np.eye(2) * value**2 for value in spread])
    return Group(centers, covariance, dimensions, 1.0 / width**dimensions)


def dark_ground(mixture: Mixture, *, part: float, spread: float) -> Mixture:
    """Ground nearly as dark as water, of radar features alone, told as the wet side: darker than its mean counts as it.

    Parameters
    ----------
    mixture : Mixture
        Kinds of a scene with a radar group.
    part : float
        Where its mean lies on the way from the darkest water to the darkest land [1].
    spread : float
        Standard deviation of each polarization [dB].

    Returns
    -------
    Mixture
        One kind, without a dry side.
    """
    radar = mixture.groups[0]
    wet, dry = (radar.mean[side].min(axis=0) for side in (mixture.water, ~mixture.water))
    group = radar._replace(mean=(wet + part * (dry - wet))[None], covariance=np.eye(2)[None] * spread**2)
    return Mixture((group,), np.ones(1), np.ones(1, dtype=bool), mixture.floor)


def fit(
    sample: Doubles,
    *,
    polarizations: tuple[str, ...],
    optical: bool,
    parameters: MixtureParameters,
    anchor: Anchor | None = None,
) -> Mixture:
    """Kinds as they are in a sample of a scene.

    Parameters
    ----------
    sample : Doubles
        Features (group, 2, pixel), NaN where a group is not seen.
    polarizations : tuple of str
        Features of the radar group, none without radar.
    optical : bool
        Whether there is an optical group.
    parameters : MixtureParameters
        Expectation and freedom.
    anchor : Anchor, optional
        Where calm water was found; its mean then stays close.

    Returns
    -------
    Mixture
        Means, covariances and shares after the last round.
    """
    start = expected(polarizations=polarizations, optical=optical, parameters=parameters)
    if sample.shape[2] == 0:
        return start
    limits = _limits(polarizations, optical, parameters)
    if anchor is not None:
        start, limits = _anchored(start, limits, anchor)
    mixture = _darkest_first(start, anchor)
    for _ in range(parameters.rounds):
        before, mixture = mixture, _round(sample, mixture, start, limits, parameters)
        if np.abs(mixture.weights - before.weights).max() < parameters.settled:
            break
    return mixture


def _darkest_first(start: Mixture, anchor: Anchor | None) -> Mixture:
    """Begin with calm water at the dark edge of where it was found, so that of two dark kinds it is the darker."""
    if anchor is None:
        return start
    radar = start.groups[0]
    mean = radar.mean.copy()
    for axis, (center, spread) in enumerate(zip(anchor.water, anchor.spread, strict=True)):
        if np.isfinite(center):
            mean[0, axis] = center - 1.5 * spread
    return start._replace(groups=(radar._replace(mean=mean), *start.groups[1:]))


def with_shares(sample: Doubles, mixture: Mixture, *, rounds: int) -> Mixture:
    """The same kinds with the shares they have in another sample.

    Parameters
    ----------
    sample : Doubles
        Features (group, 2, pixel).
    mixture : Mixture
        Kinds.
    rounds : int
        Rounds of expectation and maximization [1].

    Returns
    -------
    Mixture
        Means and covariances unchanged.
    """
    if sample.shape[2] == 0:
        return mixture
    joint = _joint_densities(sample, mixture)
    weights = mixture.weights
    for _ in range(rounds):
        shares = weights[:, None] * joint
        mean = (shares / np.maximum(shares.sum(axis=0), _TINY)).mean(axis=1)
        weights = np.maximum(mean, _LEAST_WEIGHT) / np.maximum(mean, _LEAST_WEIGHT).sum()
    return mixture._replace(weights=weights)


def log_densities(features: Singles, mixture: Mixture) -> Singles:
    """Density of features under dry and under wet, as logarithms.

    Values more watery than the most watery kind's mean are taken as that mean: what is darker still is no less water.

    Parameters
    ----------
    features : Singles
        Features (group, 2, y, x), NaN where a group is not seen.
    mixture : Mixture
        Kinds.

    Returns
    -------
    Singles
        Logarithms (2, y, x): dry, wet; NaN where no group is seen.
    """
    weights = mixture.weights.copy()
    for side in (mixture.water, ~mixture.water):
        weights[side] /= weights[side].sum()
    least, greatest = np.full((len(mixture.groups), 2), -np.inf), np.full((len(mixture.groups), 2), np.inf)
    for number, group in enumerate(mixture.groups):
        watery = group.mean[mixture.water]
        if _is_radar(group):
            least[number] = watery.min(axis=0)
        else:
            greatest[number] = watery.max(axis=0)
    out = np.empty((2, *features.shape[2:]), dtype=np.float32)
    _radar_water_kernels.class_densities(
        np.ascontiguousarray(features, dtype=np.float32),
        np.stack([group.mean for group in mixture.groups]),
        np.stack([_packed(group) for group in mixture.groups]),
        np.array([[mixture.floor, group.unexplained] for group in mixture.groups]),
        least,
        greatest,
        weights,
        mixture.water.astype(np.uint8),
        out,
    )
    return out


def speckled(mixture: Mixture, *, looks: float) -> Mixture:
    """The same kinds as unfiltered backscatter shows them.

    The logarithm of a gamma variate of mean 1 has the mean psi(L) - ln(L) and the variance psi'(L) (Oliver and Quegan
    2004, section 4.3; Abramowitz and Stegun, section 6.4).

    Parameters
    ----------
    mixture : Mixture
        Kinds, as filtered backscatter shows them.
    looks : float
        Equivalent number of looks of the unfiltered [1].

    Returns
    -------
    Mixture
        Means moved and variances raised in the radar group; other groups unchanged.
    """
    shift, variance = speckle(looks)
    groups = []
    for group in mixture.groups:
        if not _is_radar(group):
            groups.append(group)
            continue
        mean, covariance = group.mean.copy(), group.covariance.copy()
        for axis in range(group.dimensions):
            mean[:, axis] += shift
            covariance[:, axis, axis] += variance
        groups.append(group._replace(mean=mean, covariance=covariance))
    return mixture._replace(groups=tuple(groups))


def speckle(looks: float) -> tuple[float, float]:
    """Mean and variance of speckle in decibels.

    Parameters
    ----------
    looks : float
        Equivalent number of looks [1].

    Returns
    -------
    tuple of float
        Mean [dB] and variance [dB2].
    """
    count = max(looks, _FEWEST_LOOKS)
    mean = _DECIBEL * (special.digamma(count) - np.log(count))
    return float(mean), float(_DECIBEL**2 * special.polygamma(1, count))


def _is_radar(group: Group) -> bool:
    return bool(group.unexplained < 0.1)


def _packed(group: Group) -> Doubles:
    """q00, q01, q11 and logarithm of the normalization of every kind."""
    packed = np.zeros((len(group.mean), 4))
    for row, matrix in zip(packed, group.covariance, strict=True):
        if group.dimensions == 1:
            row[0], row[3] = 1.0 / matrix[0, 0], -0.5 * np.log(2.0 * np.pi * matrix[0, 0])
            continue
        inverse = np.linalg.inv(matrix)
        row[:3] = inverse[0, 0], inverse[0, 1], inverse[1, 1]
        row[3] = -np.log(2.0 * np.pi) - 0.5 * np.log(np.linalg.det(matrix))
    return packed


def _component_densities(values: Doubles, group: Group, floor: float) -> Doubles:
    """Density of each kind (kind, pixel); 1 where the group is not seen."""
    packed = _packed(group)
    seen = np.isfinite(values).all(axis=0)
    result = np.ones((len(group.mean), values.shape[1]))
    known = values[:, seen]
    for row, mean, q in zip(result, group.mean, packed, strict=True):
        first, second = known[0] - mean[0], known[1] - mean[1]
        exponent = q[3] - 0.5 * (q[0] * first**2 + 2.0 * q[1] * first * second + q[2] * second**2)
        row[seen] = (1.0 - floor) * np.exp(exponent) + floor * group.unexplained
    return result


def _responsibility(sample: Doubles, mixture: Mixture) -> Doubles:
    joint = mixture.weights[:, None] * _joint_densities(sample, mixture)
    return np.asarray(joint / np.maximum(joint.sum(axis=0), _TINY))


def _joint_densities(sample: Doubles, mixture: Mixture) -> Doubles:
    """Density of all groups together under each kind (kind, pixel)."""
    joint = np.ones((len(mixture.weights), sample.shape[2]))
    for values, group in zip(sample, mixture.groups, strict=True):
        joint *= _component_densities(values, group, mixture.floor)
    return joint


def _round(
    sample: Doubles,
    mixture: Mixture,
    start: Mixture,
    limits: tuple[_Limits, ...],
    parameters: MixtureParameters,
) -> Mixture:
    shares = _responsibility(sample, mixture)
    strength = parameters.strength * sample.shape[2]
    groups = tuple(
        _moved(values, shares, group, first, limit, strength)
        for values, group, first, limit in zip(sample, mixture.groups, start.groups, limits, strict=True)
    )
    weights = np.maximum(shares.mean(axis=1), _LEAST_WEIGHT)
    weights = np.where(start.weights <= _LEAST_WEIGHT * 2, np.minimum(weights, start.weights), weights)
    return mixture._replace(groups=groups, weights=weights / weights.sum())


def _moved(values: Doubles, shares: Doubles, group: Group, first: Group, limit: _Limits, strength: float) -> Group:
    """Mean and covariance of each kind drawn from the expectation to the pixels it explains."""
    seen = np.isfinite(values).all(axis=0)
    known, share = values[:, seen], shares[:, seen]
    means, covariances = np.empty_like(group.mean), np.empty_like(group.covariance)
    for kind, weight in enumerate(share):
        total = weight.sum() + strength
        mean = (known @ weight + strength * first.mean[kind]) / total
        lower = limit.lower[kind] if kind == 0 else np.maximum(limit.lower[kind], means[0] + limit.above[kind])
        means[kind] = np.clip(mean, lower, np.maximum(limit.upper[kind], lower))
        apart = known - means[kind][:, None]
        scatter = (apart * weight) @ apart.T + strength * first.covariance[kind]
        covariances[kind] = _bounded(scatter / total, limit, kind, group.dimensions)
    return group._replace(mean=means, covariance=covariances)


def _bounded(matrix: Doubles, limit: _Limits, kind: int, dimensions: int) -> Doubles:
    spread = np.sqrt(np.diag(matrix).clip(_TINY))
    kept = np.clip(spread, limit.narrowest[kind], limit.widest[kind])
    ratio = matrix[0, 1] / (spread[0] * spread[1]) if dimensions == 2 else 0.0
    cross = np.clip(ratio, -limit.correlation, limit.correlation) * kept[0] * kept[1]
    return np.array([[kept[0] ** 2, cross], [cross, kept[1] ** 2]])


def _limits(polarizations: tuple[str, ...], optical: bool, parameters: MixtureParameters) -> tuple[_Limits, ...]:
    result = []
    if polarizations:
        least = (parameters.narrowest_backscatter, parameters.narrowest_backscatter)
        result.append(_ranges(polarizations, "backscatter_spread", least, parameters))
    if optical:
        least = (parameters.narrowest_optical, parameters.narrowest_wet_optical)
        result.append(_ranges(("index", "darkness"), "optical_spread", least, parameters))
    return tuple(result)


def _ranges(
    features: tuple[str, ...], spread: str, narrowest: tuple[float, float], parameters: MixtureParameters
) -> _Limits:
    ranges = np.zeros((len(parameters.kinds), 2, 3))
    for row, kind in zip(ranges, parameters.kinds, strict=True):
        row[: len(features)] = [getattr(kind, name) for name in features]
    widest = np.array([parameters.widest * getattr(kind, spread) for kind in parameters.kinds])
    land = np.array([not kind.water for kind in parameters.kinds])[:, None]
    apart = np.full((len(parameters.kinds), 2), -np.inf)
    if spread == "backscatter_spread":
        apart[:, : len(features)] = np.where(land, parameters.above_water, -np.inf)
        apart[1, 0] = 0.0  # roughened water is no darker than calm water
    least = np.array([narrowest[kind.water] for kind in parameters.kinds])
    return _Limits(ranges[..., 1], ranges[..., 2], least, widest, parameters.correlation, apart)


def _anchored(start: Mixture, limits: tuple[_Limits, ...], anchor: Anchor) -> tuple[Mixture, tuple[_Limits, ...]]:
    """Calm water where it was found, and held there; roughened water no darker than it."""
    radar, radar_limits = start.groups[0], limits[0]
    mean, covariance = radar.mean.copy(), radar.covariance.copy()
    lower, upper = radar_limits.lower.copy(), radar_limits.upper.copy()
    for axis, (center, spread) in enumerate(zip(anchor.water, anchor.spread, strict=True)):
        if not np.isfinite(center):
            continue
        mean[0, axis], covariance[0, axis, axis] = center, spread**2
        lower[0, axis], upper[0, axis] = center - 2.0 * spread, center + spread
    groups = (radar._replace(mean=mean, covariance=covariance), *start.groups[1:])
    return start._replace(groups=groups), (radar_limits._replace(lower=lower, upper=upper), *limits[1:])
