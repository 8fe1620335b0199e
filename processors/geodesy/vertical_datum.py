"""Heights from one vertical datum to another, refused where the way is not known.

Without its grid PROJ hands heights back unchanged (300.0 m at Chongqing instead of 338.7 m above the geoid), so nothing
is transformed by a ballpark operation. EGM96 comes from the packaged grid; every other datum needs PROJ's grid on this
machine or the geoid's undulations from the caller.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyproj
from pyproj.exceptions import CRSError
from pyproj.transformer import TransformerGroup

from processors.arrays import FloatArray
from processors.geodesy import geoid
from processors.quality import BadInputError

ELLIPSOID = "ellipsoid"
"""Heights above the WGS 84 ellipsoid [m]."""
EGM96 = "egm96"
"""Heights above the EGM96 geoid [m]."""
EGM2008 = "egm2008"
"""Heights above the EGM2008 geoid [m]."""

_EPSG = {EGM96: 5773, EGM2008: 3855}
_ELLIPSOIDAL_EPSG = 4979
_ALIASES = {
    "ellipsoidal": ELLIPSOID,
    "wgs84": ELLIPSOID,
    "egm08": EGM2008,
    "epsg:4979": ELLIPSOID,
    "epsg:5773": EGM96,
    "epsg:3855": EGM2008,
}
_LARGEST_UNDULATION = 110.0

Undulation: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""Height of a geoid above the ellipsoid [m] at latitude and longitude [degree]."""


class Datum(NamedTuple):
    """A vertical datum."""

    name: str
    """`ellipsoid`, `egm96`, `egm2008` or an authority code of a vertical reference system."""
    undulation: Undulation | None = None
    """Undulations of a geoid the caller supplies; else PROJ's or the packaged ones."""


def named(text: str) -> Datum:
    """A datum from its name.

    Parameters
    ----------
    text : str
        `ellipsoid`, `egm96`, `egm2008` or an EPSG code of a vertical reference system.

    Returns
    -------
    Datum
        The datum.

    Raises
    ------
    BadInputError
        `vertical_datum_missing` where the name says nothing.
    """
    name = text.strip().lower()
    name = _ALIASES.get(name, name)
    if name in (ELLIPSOID, *_EPSG):
        return Datum(name)
    try:
        crs = pyproj.CRS.from_user_input(text)
    except CRSError as error:
        raise BadInputError("vertical_datum_missing", f"{text!r} names no vertical datum: {error}") from error
    found = of_system(crs)
    if found is None:
        raise BadInputError("vertical_datum_missing", f"{crs.name} has no vertical datum")
    return found


def of_system(crs: pyproj.CRS) -> Datum | None:
    """Vertical datum a reference system states.

    Parameters
    ----------
    crs : pyproj.CRS
        Horizontal, vertical, compound or three-dimensional system.

    Returns
    -------
    Datum or None
        None where the system is horizontal only.
    """
    vertical = next((part for part in (crs, *crs.sub_crs_list) if part.is_vertical and not part.sub_crs_list), None)
    if vertical is None:
        three = crs.is_geographic and len(crs.axis_info) == 3
        return Datum(ELLIPSOID) if three else None
    code = vertical.to_epsg()
    if code is None:
        label = vertical.name.lower()
        code = next((number for name, number in _EPSG.items() if name in label.replace(" ", "")), None)
    if code is None:
        raise BadInputError("vertical_datum_missing", f"vertical system {vertical.name!r} has no authority code")
    return Datum(_ALIASES.get(f"epsg:{code}", f"EPSG:{code}"))


def heights(
    values: npt.ArrayLike, latitude: npt.ArrayLike, longitude: npt.ArrayLike, *, source: Datum, target: Datum
) -> FloatArray:
    """Heights in another vertical datum.

    h = H + N, ellipsoidal height h, height above the geoid H, undulation N.

    Parameters
    ----------
    values : array_like
        Heights in the source datum [m].
    latitude, longitude : array_like
        Geodetic position, of the heights' shape [degree].
    source, target : Datum
        The datums.

    Returns
    -------
    FloatArray
        Heights in the target datum [m], NaN where they were NaN.

    Raises
    ------
    BadInputError
        `geoid_missing` where an undulation is not to be had on this machine.
    """
    given = np.asarray(values, dtype=np.float64)
    if source.name == target.name and source.undulation is target.undulation:
        return given.copy()
    north, east = (np.broadcast_to(np.asarray(axis, dtype=np.float64), given.shape) for axis in (latitude, longitude))
    return given + undulation(source, north, east) - undulation(target, north, east)


def undulation(datum: Datum, latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """Height of a datum's zero surface above the WGS 84 ellipsoid.

    Parameters
    ----------
    datum : Datum
        The datum.
    latitude, longitude : FloatArray
        Geodetic position of one shape [degree].

    Returns
    -------
    FloatArray
        Undulation [m].

    Raises
    ------
    BadInputError
        `geoid_missing` where it is not to be had on this machine, `geoid_incomplete` where a supplied geoid does not
        cover the place.
    """
    if datum.undulation is not None:
        return _checked(datum, datum.undulation(latitude, longitude))
    if datum.name == ELLIPSOID:
        return np.zeros(np.shape(latitude))
    if datum.name == EGM96:
        return geoid.undulation(latitude, longitude)
    return _checked(datum, _by_proj(datum, latitude, longitude))


def _by_proj(datum: Datum, latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    code = _EPSG.get(datum.name)
    vertical = f"EPSG:{code}" if code is not None else datum.name
    try:
        compound = pyproj.CRS.from_user_input(f"EPSG:4326+{vertical.split(':')[-1]}")
    except CRSError as error:
        raise BadInputError("geoid_missing", f"{datum.name} is no vertical system PROJ knows: {error}") from error
    with warnings.catch_warnings():
        # PROJ's "best transformation is not available" becomes the refusal below.
        warnings.simplefilter("ignore", UserWarning)
        group = TransformerGroup(compound, _ELLIPSOIDAL_EPSG, always_xy=True, allow_ballpark=False)
    if not group.transformers or not group.best_available:
        names = sorted({grid.short_name for operation in group.unavailable_operations for grid in operation.grids})
        raise BadInputError(
            "geoid_missing",
            f"heights above {datum.name} need a geoid grid that is not installed"
            f" ({', '.join(names) or 'none is known'}); heights are not passed through unchanged",
        )
    return np.asarray(group.transformers[0].transform(longitude, latitude, np.zeros(np.shape(latitude)))[2])


def _checked(datum: Datum, found: FloatArray) -> FloatArray:
    if not bool(np.isfinite(found).all()):
        raise BadInputError("geoid_incomplete", f"the undulations of {datum.name} do not cover the place")
    if found.size and float(np.abs(found).max()) > _LARGEST_UNDULATION:
        raise BadInputError("geoid_incomplete", f"{datum.name} gives undulations beyond any geoid")
    return found
