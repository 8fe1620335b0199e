"""Ridge regression of several targets on linear and radial basis functions of reduced features.

Principal components compress the features, Gaussian radial basis functions at sampled training points (the Nystroem
approximation, Williams and Seeger 2001) add the bends a linear relation misses, and one ridge solution (Hoerl and
Kennard 1970) serves all targets.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.arrays import FloatArray

_CHUNK = 4096


@dataclass(frozen=True)
class RegressionParameters:
    """Size and stiffness of the regression.

    Parameters
    ----------
    components : int
        Principal components kept [1].
    landmarks : int
        Radial basis functions; none makes the relation linear [1].
    sharpness : float
        Exponent of a basis function at the median squared distance [1].
    linear_penalty : float
        Ridge of the linear terms relative to the mean feature variance [1].
    radial_penalty : float
        Ridge of the radial terms per training sample [1].
    training_samples : int
        Training samples used at most [1].
    """

    components: int = 24
    landmarks: int = 400
    sharpness: float = 3.0
    linear_penalty: float = 0.1
    radial_penalty: float = 1e-3
    training_samples: int = 5000


class Regression(NamedTuple):
    """A fitted regression; features enter raw."""

    center: FloatArray
    """Mean of the training features (feature)."""
    rotation: FloatArray
    """Scaled principal axes (feature, component)."""
    lower: FloatArray
    """Smallest trained component (component)."""
    upper: FloatArray
    """Largest trained component (component)."""
    landmarks: FloatArray
    """Centers of the radial basis functions (landmark, component)."""
    precision: float
    """Factor of the squared distance in the exponent [1]."""
    weights: FloatArray
    """Coefficients (1 + component + landmark, target)."""


def fit(
    features: FloatArray, targets: FloatArray, *, column_weights: FloatArray, parameters: RegressionParameters
) -> Regression:
    """Fit the regression to training samples.

    Parameters
    ----------
    features : FloatArray
        Training features (sample, feature), any units; without columns only the mean is fitted.
    targets : FloatArray
        Training targets (sample, target), any units.
    column_weights : FloatArray
        Weight of each standardized feature [1].
    parameters : RegressionParameters
        Size and stiffness.

    Returns
    -------
    Regression
        Deterministic function of the samples and their order.
    """
    center = features.mean(axis=0)
    scale = column_weights / (features.std(axis=0) + 1e-6)
    standardized = (features - center) * scale
    axes = _principal_axes(standardized, parameters.components)
    components = standardized @ axes
    landmarks = components[_strided(components.shape[0], parameters.landmarks)]
    precision = _precision(components, landmarks, parameters.sharpness)
    model = Regression(
        center,
        scale[:, None] * axes,
        components.min(axis=0),
        components.max(axis=0),
        landmarks,
        precision,
        np.empty((0, 0)),
    )
    design = _design(components, model)
    return model._replace(weights=_ridge(design, targets, components=components, parameters=parameters))


def predict(model: Regression, features: FloatArray) -> FloatArray:
    """Predict targets; components outside the trained range are clamped to it.

    Parameters
    ----------
    model : Regression
        The fitted regression.
    features : FloatArray
        Features (sample, feature), any units.

    Returns
    -------
    FloatArray
        Predictions (sample, target).
    """
    chunks = [features[start : start + _CHUNK] for start in range(0, features.shape[0], _CHUNK)]
    if not chunks:
        return np.empty((0, model.weights.shape[1]))
    return np.concatenate([_design(_components(model, chunk), model) @ model.weights for chunk in chunks])


def outside(model: Regression, features: FloatArray, *, margin: float) -> FloatArray:
    """How far samples lie outside the trained range.

    Parameters
    ----------
    model : Regression
        The fitted regression.
    features : FloatArray
        Features (sample, feature), any units.
    margin : float
        Part of the trained range that is tolerated on either side [1].

    Returns
    -------
    FloatArray
        Largest excess over the tolerated range of any component, 0 inside (sample) [1, of the range].
    """
    span = np.maximum(model.upper - model.lower, 1e-12)
    raw = (features - model.center) @ model.rotation
    excess = np.maximum(model.lower - raw, raw - model.upper) / span - margin
    return np.asarray(np.maximum(excess.max(axis=1, initial=0.0), 0.0), dtype=np.float64)


def _components(model: Regression, features: FloatArray) -> FloatArray:
    return np.clip((features - model.center) @ model.rotation, model.lower, model.upper)


def _principal_axes(standardized: FloatArray, count: int) -> FloatArray:
    """Leading eigenvectors with a fixed sign, so that equal input gives equal output."""
    covariance = standardized.T @ standardized / max(standardized.shape[0] - 1, 1)
    values, vectors = np.linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, :count]
    kept = values[::-1][:count] > 1e-10 * max(float(values.max(initial=0.0)), 1e-30)
    leading = leading[:, kept]
    strongest = np.abs(leading).argmax(axis=0) if leading.size else np.empty(0, dtype=np.int64)
    signs = np.where(leading[strongest, np.arange(leading.shape[1])] < 0, -1.0, 1.0)
    return np.asarray(leading * signs, dtype=np.float64)


def _strided(count: int, wanted: int) -> FloatArray:
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(np.int64))


def _precision(components: FloatArray, landmarks: FloatArray, sharpness: float) -> float:
    if landmarks.shape[0] == 0:
        return 0.0
    sample = components[_strided(components.shape[0], 500)]
    median = float(np.median(_squared_distance(sample, landmarks)))
    return sharpness / median if median > 0 else 0.0


def _squared_distance(samples: FloatArray, landmarks: FloatArray) -> FloatArray:
    distance = samples @ (-2.0 * landmarks.T)
    distance += np.einsum("ij,ij->i", samples, samples)[:, None]
    distance += np.einsum("ij,ij->i", landmarks, landmarks)
    return np.maximum(distance, 0.0, out=distance)


def _design(components: FloatArray, model: Regression) -> FloatArray:
    constant = np.ones((components.shape[0], 1))
    if components.shape[1] == 0:
        return constant
    radial = _squared_distance(components, model.landmarks)
    radial *= -model.precision
    return np.hstack([constant, components, np.exp(radial, out=radial)])


def _ridge(
    design: FloatArray, targets: FloatArray, *, components: FloatArray, parameters: RegressionParameters
) -> FloatArray:
    samples, width = components.shape
    penalty = np.full(design.shape[1], parameters.radial_penalty * samples)
    penalty[0] = 0.0
    penalty[1 : 1 + width] = parameters.linear_penalty * samples * (components.var(axis=0).mean() if width else 0.0)
    normal = design.T @ design + np.diag(penalty)
    return np.asarray(np.linalg.solve(normal, design.T @ targets), dtype=np.float64)
