"""A scene of reflectance at the top of the atmosphere to one of the ground: atmosphere, then slopes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyproj
import xarray as xr
from odc.geo.geobox import GeoBox

from processors.arrays import BoolArray, FloatArray
from processors.imagery import atmosphere_correction, grid, qa, solar_geometry, terrain, topographic_correction
from processors.quality import BadInputError

_UNUSABLE = (
    qa.QaBit.NODATA | qa.QaBit.CLOUD | qa.QaBit.SHADOW | qa.QaBit.SATURATED | qa.QaBit.FILLED | qa.QaBit.INSUFFICIENT
)


class View(NamedTuple):
    """Direction of the sensor as seen from the ground, one value or (y, x).

    Attributes
    ----------
    zenith, azimuth : FloatArray
        Angles, azimuth clockwise from north [degree].
    """

    zenith: FloatArray
    azimuth: FloatArray


def surface_scene(
    scene: xr.Dataset,
    *,
    elevation: FloatArray,
    view: View | None = None,
    atmosphere: atmosphere_correction.Atmosphere | None = None,
    slopes: topographic_correction.TopographyParameters | None = None,
) -> xr.Dataset:
    """Surface reflectance of a scene of one date.

    Parameters
    ----------
    scene : xr.Dataset
        Scene stack of one time with `reflectance` and `reflectance_sigma` (time, band, y, x) at the top of the
        atmosphere and `qa`, on a projected grid.
    elevation : FloatArray
        Elevation above mean sea level on that grid (y, x) [m], NaN where unknown.
    view : View, optional
        Direction of the sensor; without it the layers `view_zenith` and `view_azimuth` of the scene.
    atmosphere : atmosphere_correction.Atmosphere, optional
        State of the atmosphere. Without it the aerosol is found from dark vegetation, else taken from a mean state.
    slopes : topographic_correction.TopographyParameters, optional
        Take the illumination of slopes off as well.

    Returns
    -------
    xr.Dataset
        The scene with surface reflectance and its uncertainty; `radiometric_level` surface_reflectance, and the aerosol
        with the way it was found as attributes. Slopes in grazing light are no data.

    Raises
    ------
    BadInputError
        `wrong_level` where the scene is not at the top of the atmosphere, `truncated` without uncertainty or with more
        than one date, `geometry_missing` where the direction of the sensor is not known, and the causes of
        `atmosphere_correction.correct`.
    """
    _check(scene, elevation)
    box = grid.geobox_of(scene)
    sun, seen = _sun(scene, box), view or _view(scene)
    geometry = atmosphere_correction.Geometry(sun.zenith, seen.zenith, seen.azimuth - sun.azimuth)
    top, sigma = (scene[name].isel(time=0).transpose("band", "y", "x").values for name in _LAYERS)
    bands = [str(name) for name in scene["band"].values]
    bits = scene["qa"].isel(time=0).values
    usable = ((bits & np.uint16(_UNUSABLE)) == 0) & np.isfinite(top).all(axis=0) & np.isfinite(elevation)
    optics = atmosphere_correction.optics_of(str(scene.attrs.get("sensor", "")))
    found = _atmosphere(top, bands, atmosphere, geometry, elevation, usable, optics)
    made = atmosphere_correction.correct(
        top, sigma, bands=bands, atmosphere=found.atmosphere, geometry=geometry, elevation=elevation, optics=optics
    )
    reflectance, deviation = made
    if slopes is not None:
        corrected = _level(made, box, elevation, sun, usable, slopes)
        reflectance, deviation = corrected.reflectance, corrected.sigma
    lost = ~np.isfinite(reflectance).any(axis=0)
    marked = bits | np.where(lost, np.uint16(qa.QaBit.NODATA), np.uint16(0))
    result = scene.copy()
    for name, layer in zip(_LAYERS, (reflectance, deviation), strict=True):
        result[name] = (("time", "band", "y", "x"), layer.astype(np.float32)[None], dict(scene[name].attrs))
    result["qa"] = (scene["qa"].dims, marked[None], dict(scene["qa"].attrs))
    result.attrs |= {
        "radiometric_level": "surface_reflectance",
        "aerosol_optical_depth": found.atmosphere.aerosol,
        "aerosol_method": found.method,
        "topographic_correction": "none" if slopes is None else slopes.method,
    }
    return result


_LAYERS = ("reflectance", "reflectance_sigma")


def _check(scene: xr.Dataset, elevation: FloatArray) -> None:
    absent = [name for name in (*_LAYERS, "qa") if name not in scene]
    if absent or scene.sizes.get("time", 0) != 1:
        raise BadInputError("truncated", f"a scene of one date is needed; it lacks {', '.join(absent) or 'that'}")
    level = scene.attrs.get("radiometric_level")
    if level != "toa_reflectance":
        raise BadInputError("wrong_level", f"the scene is {level!r}, not reflectance at the top of the atmosphere")
    if elevation.shape != (scene.sizes["y"], scene.sizes["x"]):
        raise ValueError(f"elevation of {elevation.shape} for a scene of {scene.sizes['y']} x {scene.sizes['x']}")


def _sun(scene: xr.Dataset, box: GeoBox) -> solar_geometry.SunPosition:
    longitude, latitude = terrain.positions(box)
    return solar_geometry.sun_position(scene["time"].values[0], longitude, latitude)


def _view(scene: xr.Dataset) -> View:
    if "view_zenith" not in scene or "view_azimuth" not in scene:
        raise BadInputError("geometry_missing", "neither scene nor caller states the direction of the sensor")
    return View(*(scene[name].isel(time=0).values.astype(np.float64) for name in ("view_zenith", "view_azimuth")))


def _atmosphere(
    top: atmosphere_correction.Float32Array,
    bands: list[str],
    given: atmosphere_correction.Atmosphere | None,
    geometry: atmosphere_correction.Geometry,
    elevation: FloatArray,
    usable: BoolArray,
    optics: Mapping[str, atmosphere_correction.BandOptics],
) -> atmosphere_correction.AerosolEstimate:
    if given is not None:
        return atmosphere_correction.AerosolEstimate(given, 0, "given")
    height = float(np.nanmean(elevation)) if np.isfinite(elevation).any() else 0.0
    start = atmosphere_correction.Atmosphere(reference_elevation=height)
    estimate = atmosphere_correction.estimate_aerosol(
        top, bands=bands, atmosphere=start, geometry=geometry, elevation=elevation, usable=usable, optics=optics
    )
    return estimate if estimate.method != "given" else estimate._replace(method="mean state")


def _level(
    made: atmosphere_correction.Corrected,
    box: GeoBox,
    elevation: FloatArray,
    sun: solar_geometry.SunPosition,
    usable: BoolArray,
    parameters: topographic_correction.TopographyParameters,
) -> topographic_correction.CorrectedSlopes:
    projection = pyproj.Proj(pyproj.CRS(grid.system(box).to_wkt()).to_2d())
    longitude, latitude = terrain.positions(box)
    convergence = np.asarray(projection.get_factors(longitude, latitude).meridian_convergence)
    light = topographic_correction.illumination(
        elevation,
        resolution=(abs(float(box.transform.a)), abs(float(box.transform.e))),
        sun_zenith=sun.zenith,
        # azimuths count from true north, slopes from the grid's
        sun_azimuth=sun.azimuth - convergence,
    )
    fits = topographic_correction.fit(made.reflectance, light, usable=usable, parameters=parameters)
    return topographic_correction.apply(made.reflectance, made.sigma, light, fits, parameters=parameters)
