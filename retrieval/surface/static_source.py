"""Hot places that are no wildfire: works, kilns and flares known to the operator, or seen burning month after month."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import spatial

from processors.arrays import BoolArray, FloatArray
from processors.geodesy import ellipsoid


@dataclass(frozen=True, kw_only=True)
class PersistenceParameters:
    """When a place of many fires is a static source.

    Parameters
    ----------
    radius : float
        Distance within which fires are of one place [m].
    least_days : int
        Different days on which the place burnt [1].
    least_span : float
        Time between its first and last fire [day].
    least_share : float
        Share of the months of that span in which it burnt [1].
    """

    radius: float = 1000.0
    least_days: int = 6
    least_span: float = 120.0
    least_share: float = 0.5


class StaticSources(NamedTuple):
    """Places, one an entry."""

    longitude: FloatArray
    """Longitude [degree]."""
    latitude: FloatArray
    """Latitude [degree]."""
    radius: FloatArray
    """Radius of the place [m]."""


NONE = StaticSources(np.zeros(0), np.zeros(0), np.zeros(0))
"""No static source."""


def matched(
    longitude: FloatArray, latitude: FloatArray, *, sources: StaticSources, margin: float | FloatArray
) -> BoolArray:
    """Which fires lie on a static source.

    Parameters
    ----------
    longitude, latitude : FloatArray
        Places of the fires [degree].
    sources : StaticSources
        Static sources.
    margin : float or FloatArray
        What the position of a fire is uncertain by, added to the radius [m].

    Returns
    -------
    BoolArray
        True on a static source, one a fire.
    """
    found = np.zeros(len(longitude), dtype=bool)
    if not len(longitude) or not len(sources.longitude):
        return found
    tree = spatial.KDTree(_places(longitude, latitude))
    widest = np.broadcast_to(np.asarray(margin, dtype=np.float64), found.shape)
    centers = _places(sources.longitude, sources.latitude)
    reach = sources.radius + float(widest.max())
    for center, radius, near in zip(centers, sources.radius, tree.query_ball_point(centers, reach), strict=True):
        inside = np.asarray(near, dtype=np.int64)
        apart = np.linalg.norm(tree.data[inside] - center, axis=-1)
        found[inside[apart <= radius + widest[inside]]] = True
    return found


def persistent(
    longitude: FloatArray,
    latitude: FloatArray,
    *,
    time: npt.NDArray[np.datetime64],
    parameters: PersistenceParameters | None = None,
) -> StaticSources:
    """Static sources from a history of fires.

    Parameters
    ----------
    longitude, latitude : FloatArray
        Places of earlier fires [degree].
    time : numpy.ndarray
        Their times (UTC).
    parameters : PersistenceParameters, optional
        When a place is a static source.

    Returns
    -------
    StaticSources
        Places that burnt on many days spread over many months.
    """
    chosen = parameters or PersistenceParameters()
    if not len(longitude):
        return NONE
    places = _places(longitude, latitude)
    label = _places_label(places, chosen.radius / 2.0)
    days = time.astype("datetime64[D]").astype(np.int64)
    months = time.astype("datetime64[M]").astype(np.int64)
    found = []
    for place in range(int(label.max()) + 1):
        own = label == place
        span = days[own].max() - days[own].min()
        share = len(np.unique(months[own])) / (months[own].max() - months[own].min() + 1)
        if len(np.unique(days[own])) >= chosen.least_days and span >= chosen.least_span and share >= chosen.least_share:
            center = ellipsoid.from_ecef(places[own].mean(axis=0))
            found.append((float(center.longitude), float(center.latitude), chosen.radius))
    table = np.array(found, dtype=np.float64).reshape(len(found), 3)
    return StaticSources(table[:, 0], table[:, 1], table[:, 2])


def _places(longitude: FloatArray, latitude: FloatArray) -> FloatArray:
    return ellipsoid.to_ecef(latitude, longitude, np.zeros(len(longitude)))


def _places_label(places: FloatArray, radius: float) -> npt.NDArray[np.int64]:
    """Fires joined to the densest place within reach: chains do not grow over a landscape."""
    tree = spatial.KDTree(places)
    near = tree.query_ball_point(places, radius)
    count = np.array([len(item) for item in near])
    label = np.full(len(places), -1, dtype=np.int64)
    number = 0
    for k in np.argsort(-count, kind="stable").tolist():
        if label[k] < 0:
            members = np.asarray(near[k], dtype=np.int64)
            label[members[label[members] < 0]] = number
            number += 1
    return label
