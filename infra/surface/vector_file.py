"""Vectors of the operator read from files: geometry, attributes and reference system."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.errors
import pyproj
import shapely

from processors.imagery import grid
from processors.quality import BadInputError


class Vectors(NamedTuple):
    """Objects of a layer."""

    geometry: npt.NDArray[Any]
    """Geometries, valid (object)."""
    columns: Mapping[str, npt.NDArray[Any]]
    """Attributes by name (object)."""
    crs: str
    """Reference system."""
    repaired: int
    """Outlines that crossed themselves and were mended."""
    geometry_type: str = "Unknown"
    """Type the layer states, also where it holds no object."""


def read(path: Path, *, layer: str | None = None) -> Vectors:
    """Read a layer.

    Parameters
    ----------
    path : Path
        GeoPackage, FlatGeobuf, GeoJSON or another format OGR reads.
    layer : str, optional
        Layer; default the first.

    Returns
    -------
    Vectors
        Its objects.

    Raises
    ------
    BadInputError
        `unreadable`, `crs_missing`, `geometry_missing`.
    """
    try:
        about, _, wkb, fields = pyogrio.raw.read(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
        raise BadInputError("unreadable", f"{path} is no readable vector file: {error}") from error
    if not about["crs"]:
        raise BadInputError("crs_missing", f"{path} states no coordinate reference system")
    grid.coordinate_system(about["crs"])
    if wkb is None or any(shape is None for shape in wkb):
        raise BadInputError("geometry_missing", f"{path} holds objects without geometry")
    shapes = shapely.from_wkb(wkb)
    broken = ~shapely.is_valid(shapes)
    shapes = np.where(broken, shapely.make_valid(shapes), shapes)
    columns = dict(zip(about["fields"], fields, strict=True))
    return Vectors(shapes, columns, str(about["crs"]), int(broken.sum()), str(about["geometry_type"]))


def carried(shapes: npt.NDArray[Any], source: str, target: str) -> npt.NDArray[Any]:
    """Geometries in another reference system.

    Parameters
    ----------
    shapes : numpy.ndarray
        Geometries (object).
    source, target : str
        Reference systems.

    Returns
    -------
    numpy.ndarray
        The same in the other (object).
    """
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    moved: npt.NDArray[Any] = shapely.transform(shapes, transformer.transform, interleaved=False)
    return moved
