"""A strip of our own imager to a scene stack: calibrated, located, on a grid."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from processors import timescales
from processors.arrays import FloatArray
from processors.imagery import geolocation, grid, line_packet, qa, radiometry, solar_geometry

RESOLUTION = 250.0
"""Pixel size of the imager at nadir and of its grid [m]."""


def scene_from_strip(
    strip: xr.Dataset,
    *,
    source: str,
    area: str = "",
    sensor: str = "terralimb imager",
    geobox: GeoBox | None = None,
    crs: str | None = None,
    calibration: radiometry.RadiometricCalibration | None = None,
) -> xr.Dataset:
    """Calibrate a level 0 strip, locate it and bring it onto a grid with one resampling.

    Parameters
    ----------
    strip : xr.Dataset
        Level 0 strip, see `line_packet.checked`.
    source : str
        Identity of the input, kept as attribute.
    area : str
        Area id.
    sensor : str
        Sensor name.
    geobox : GeoBox, optional
        Projected target grid; else the smallest grid that covers the strip.
    crs : str, optional
        System of that smallest grid; else the UTM zone.
    calibration : radiometry.RadiometricCalibration, optional
        Radiometric calibration.

    Returns
    -------
    xr.Dataset
        Scene stack of one time: `reflectance` (top of the atmosphere) [1], `qa`, `footprint`; coordinates
        `sun_zenith` and `sun_azimuth` of the middle of the scene [degree].

    Raises
    ------
    BadInputError
        The causes of `line_packet.checked` and `line_packet.per_band`.
    """
    usable = line_packet.checked(strip)
    chosen = calibration or radiometry.RadiometricCalibration()
    edges = usable["edge_longitude"].values, usable["edge_latitude"].values
    target = geobox or geolocation.strip_grid(*edges, crs=crs, resolution=RESOLUTION)
    vectors = geolocation.grid_vectors(target)
    position = geolocation.locate(
        vectors.reshape(-1, 3), edge_longitude=edges[0], edge_latitude=edges[1], pixels=usable.sizes["pixel"]
    )
    located = geolocation.resample(_radiance(usable, chosen), position, shape=target.shape.yx)
    time = timescales.utc_from_gps(usable["line_time"].values.mean(keepdims=True))[0]
    scene = _labeled(located, vectors, time, chosen)
    scene["qa"] = (("time", "y", "x"), _bits(usable, position, target)[None], qa.qa_attributes())
    scene.attrs = {
        "source": source,
        "area": area,
        "sensor": sensor,
        "radiometric_level": "toa_reflectance",
        "calibration": chosen.version,
    }
    return grid.assign(scene, target)


def _radiance(strip: xr.Dataset, calibration: radiometry.RadiometricCalibration) -> geolocation.Float32Array:
    gain, integration = (line_packet.per_band(strip, name) for name in ("gain", "integration_time"))
    counts = line_packet.valid_counts(strip)
    radiance = radiometry.radiance_from_counts(counts, calibration, gain=gain, integration_time=integration)
    return np.asarray(radiance.values, dtype=np.float32)


def _labeled(
    located: geolocation.Resampled,
    vectors: FloatArray,
    time: np.datetime64,
    calibration: radiometry.RadiometricCalibration,
) -> xr.Dataset:
    longitude = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))
    latitude = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    sun = solar_geometry.sun_position(time, longitude, latitude)
    reflectance = radiometry.reflectance_from_radiance(
        xr.DataArray(located.values, dims=("band", "y", "x"), coords={"band": list(line_packet.BANDS)}),
        calibration,
        sun_zenith=xr.DataArray(sun.zenith.astype(np.float32), dims=("y", "x")),
        sun_distance=sun.distance,
    )
    middle = sun.zenith.shape[0] // 2, sun.zenith.shape[1] // 2
    return xr.Dataset(
        {
            "reflectance": reflectance.expand_dims(time=[time]),
            "footprint": (("time", "y", "x"), located.inside[None], {"long_name": "seen by the imager"}),
        },
        coords={
            "sun_zenith": ("time", [float(sun.zenith[middle])], {"units": "degree"}),
            "sun_azimuth": ("time", [float(sun.azimuth[middle])], {"units": "degree"}),
        },
    )


def _bits(strip: xr.Dataset, position: geolocation.StripPosition, target: GeoBox) -> npt.NDArray[np.uint16]:
    """Saturation, and no data outside the strip."""
    layer = radiometry.saturated(strip).transpose("line", "pixel").values.astype(np.float32)[None]
    nearest = geolocation.resample(layer, position, shape=target.shape.yx, nearest=True)
    saturated = np.where(nearest.values[0] > 0, np.uint16(qa.QaBit.SATURATED), np.uint16(0))
    return np.asarray(saturated | np.where(nearest.inside, np.uint16(0), np.uint16(qa.QaBit.NODATA)), dtype=np.uint16)
