"""What a hazard drawn as objects reaches: outlines of floods, candidates of landslides, points of fires."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from processors.imagery import grid
from products import exposure, interval


def join(
    shapes: Sequence[Any],
    crs: str,
    *,
    hazards: Sequence[Any],
    hazard_crs: str,
    probability: npt.NDArray[Any] | None = None,
    coverage: Any = None,
    parameters: exposure.ExposureParameters | None = None,
) -> exposure.Exposure:
    """Exposure of assets to objects.

    Parameters
    ----------
    shapes : sequence of shapely.Geometry
        Points, lines or polygons of the assets.
    crs : str
        Their reference system.
    hazards : sequence of shapely.Geometry
        The hazards.
    hazard_crs : str
        Their reference system.
    probability : numpy.ndarray, optional
        Probability of each hazard (hazard) [1]; default certain, as where it is NaN.
    coverage : shapely.Geometry, optional
        What was looked at, in the reference system of the hazards. Without it nothing is called clear: objects do not
        tell where nobody looked.
    parameters : ExposureParameters, optional
        Distances and shares.

    Returns
    -------
    Exposure
        One entry an asset.
    """
    chosen = parameters or exposure.ExposureParameters()
    metric = _metric([*shapes, *hazards][:1], crs if len(shapes) else hazard_crs)
    own, others = _carried(shapes, crs, metric), _carried(hazards, hazard_crs, metric)
    sure = np.ones(len(others)) if probability is None else np.nan_to_num(np.asarray(probability, float), nan=1.0)
    seen = None if coverage is None else _carried([coverage], hazard_crs, metric)[0]
    tree = shapely.STRtree(others)
    asset, hazard = tree.query(own, predicate="dwithin", distance=chosen.near)
    order = np.argsort(asset, kind="stable")
    starts = np.searchsorted(asset[order], np.arange(len(own) + 1))
    found = [
        _exposed(shape, others[close], sure[close], seen, chosen)
        for shape, close in ((own[i], hazard[order[starts[i] : starts[i + 1]]]) for i in range(len(own)))
    ]
    columns = [np.array(column) for column in zip(*found, strict=True)] if found else [np.zeros(0)] * 7
    return exposure.Exposure(np.array(columns[0], dtype=object), *(column.astype(np.float64) for column in columns[1:]))


def _metric(shapes: Sequence[Any], crs: str) -> str:
    """UTM zone of the first of them: distances are in meters whatever the systems are."""
    if not len(shapes):
        return "EPSG:32648"
    carry = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    place = shapely.transform(shapes[0], carry.transform, interleaved=False).centroid
    return f"EPSG:{grid.utm_zone(place.x, place.y)}"


def _carried(shapes: Sequence[Any], source: str, target: str) -> npt.NDArray[Any]:
    carry = pyproj.Transformer.from_crs(source, target, always_xy=True)
    array = np.empty(len(shapes), dtype=object)
    array[:] = list(shapes)
    moved: npt.NDArray[Any] = shapely.transform(array, carry.transform, interleaved=False)
    return moved


def _exposed(
    shape: Any,
    hazards: npt.NDArray[Any],
    probability: npt.NDArray[np.float64],
    seen: Any,
    parameters: exposure.ExposureParameters,
) -> tuple[Any, ...]:
    """State, share with its limits, largest probability, distance, assessed share of one asset."""
    nan = float("nan")
    assessed = 0.0 if seen is None else _size(shape.intersection(seen), shape) / _size(shape, shape)
    distances = shapely.distance(hazards, shape)
    distance = float(distances.min()) if hazards.size else float("inf")
    if distance > 0:
        state = exposure.NEAR if hazards.size else exposure.CLEAR
        if state == exposure.CLEAR and assessed < parameters.assessed:
            return exposure.NOT_ASSESSED, nan, nan, nan, nan, float("inf"), assessed
        return state, 0.0, 0.0, 0.0, 0.0, distance, assessed
    touching = np.flatnonzero(distances == 0)
    share, low, high = _share(shape, hazards[touching], probability[touching])
    return exposure.EXPOSED, share, low, high, float(probability[touching].max()), 0.0, assessed


def _share(shape: Any, hazards: npt.NDArray[Any], probability: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Expected share inside, the most probable hazard first, so that where two overlap one counts."""
    total, rest, share, variance = _size(shape, shape), shape, 0.0, 0.0
    for place in np.argsort(-probability, kind="stable"):
        part = _size(rest.intersection(hazards[place]), shape) / total
        share += part * probability[place]
        variance += part**2 * probability[place] * (1 - probability[place])
        rest = rest.difference(hazards[place])
    half = interval.NORMAL_QUANTILE_95 * float(np.sqrt(variance))
    return share, max(share - half, 0.0), min(share + half, 1.0)


def _size(part: Any, whole: Any) -> float:
    """Area, length or number, as is fit for the whole."""
    dimension = shapely.get_dimensions(whole)
    if dimension == 2:
        return float(part.area)
    return float(part.length) if dimension == 1 else float(shapely.get_num_coordinates(part))
