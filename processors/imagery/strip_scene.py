"""A strip of our own imager to a scene stack: calibrated, located, on a grid."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from processors import timescales
from processors.arrays import FloatArray
from processors.geodesy import ellipsoid
from processors.imagery import (
    detector_calibration,
    geolocation,
    grid,
    line_of_sight,
    line_packet,
    qa,
    radiometry,
    solar_geometry,
    terrain,
)

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
    detectors: detector_calibration.DetectorCalibration | None = None,
    pointing: line_of_sight.Pointing | None = None,
    surface: terrain.Terrain | None = None,
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
        Radiometric calibration of the bands, for a strip whose detectors are taken as equal.
    detectors : detector_calibration.DetectorCalibration, optional
        Calibration detector by detector; it goes before the one of the bands.
    pointing : line_of_sight.Pointing, optional
        Orbit and attitude of every line; without it the edge positions of the ancillary packets locate the strip, as
        if the ground were level.
    surface : terrain.Terrain, optional
        Terrain that a pointing is held against; places without height stay empty.

    Returns
    -------
    xr.Dataset
        Scene stack of one time: `reflectance` (top of the atmosphere) and `reflectance_sigma` (noise and uncertainty of
        the calibration) [1], `qa`, `footprint`; coordinates `sun_zenith` and `sun_azimuth` of the middle of the scene
        [degree], and with a pointing the layers `view_zenith` and `view_azimuth` [degree]; attributes
        `interpolated_detectors` and `lost_detectors` count what was bad.

    Raises
    ------
    BadInputError
        The causes of `line_packet.checked`, `line_packet.per_band` and `detector_calibration.calibrated`.
    """
    usable = line_packet.checked(strip)
    chosen = detectors or detector_calibration.uniform(calibration, pixels=usable.sizes["pixel"])
    time = timescales.utc_from_gps(usable["line_time"].values.mean(keepdims=True))[0]
    light = detector_calibration.calibrated(usable, chosen, time=time)
    edges = usable["edge_longitude"].values, usable["edge_latitude"].values
    target = geobox or geolocation.strip_grid(*edges, crs=crs, resolution=RESOLUTION)
    vectors = geolocation.grid_vectors(target)
    place = _place(vectors.reshape(-1, 3), usable, pointing, surface)
    position = place.position
    located = geolocation.resample(np.concatenate([light.radiance, light.noise]), position, shape=target.shape.yx)
    scene = _labeled(located, vectors, time, chosen)
    for name, angle in place.view.items():
        layer = angle.reshape(1, *target.shape.yx).astype(np.float32)
        scene[name] = (("time", "y", "x"), layer, {"units": "degree"})
    scene["qa"] = (("time", "y", "x"), _bits(light.bits, position, target)[None], qa.qa_attributes())
    scene.attrs = {
        "source": source,
        "area": area,
        "sensor": sensor,
        "radiometric_level": "toa_reflectance",
        "calibration": chosen.radiometric.version,
        "interpolated_detectors": light.interpolated,
        "lost_detectors": light.lost,
        "geolocation": "edge positions, level ground" if pointing is None else "orbit, attitude and terrain",
    }
    return grid.assign(scene, target)


class _Place(NamedTuple):
    """Strip positions of the pixels of the grid, and the direction they are seen from where that is known."""

    position: geolocation.StripPosition
    view: dict[str, FloatArray]


def _place(
    vectors: FloatArray,
    strip: xr.Dataset,
    pointing: line_of_sight.Pointing | None,
    surface: terrain.Terrain | None,
) -> _Place:
    if pointing is None:
        edges = strip["edge_longitude"].values, strip["edge_latitude"].values
        pixels = strip.sizes["pixel"]
        return _Place(geolocation.locate(vectors, edge_longitude=edges[0], edge_latitude=edges[1], pixels=pixels), {})
    if surface is None:
        raise ValueError("a pointing is held against a terrain")
    longitude = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
    latitude = np.degrees(np.arctan2(vectors[:, 2], np.hypot(vectors[:, 0], vectors[:, 1])))
    height = terrain.sampled(surface, *terrain.pixel_of(surface.geobox, longitude, latitude))
    places = ellipsoid.to_ecef(latitude, longitude, height)
    position = line_of_sight.locate(places, pointing)
    angles = line_of_sight.view_angles(places, pointing, position.line)
    return _Place(position, {"view_zenith": angles.zenith, "view_azimuth": angles.azimuth})


def _labeled(
    located: geolocation.Resampled,
    vectors: FloatArray,
    time: np.datetime64,
    calibration: detector_calibration.DetectorCalibration,
) -> xr.Dataset:
    longitude = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))
    latitude = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    sun = solar_geometry.sun_position(time, longitude, latitude)
    bands = len(line_packet.BANDS)
    reflectance, noise = (
        radiometry.reflectance_from_radiance(
            xr.DataArray(layers, dims=("band", "y", "x"), coords={"band": list(line_packet.BANDS)}),
            calibration.radiometric,
            sun_zenith=xr.DataArray(sun.zenith.astype(np.float32), dims=("y", "x")),
            sun_distance=sun.distance,
        )
        for layers in (located.values[:bands], located.values[bands:])
    )
    # the bilinear mean of four pixels is taken to be no less noisy than one: their errors share lines and detectors
    systematic = np.float32(calibration.relative_uncertainty) * reflectance
    sigma = noise.copy(data=np.hypot(noise.values, systematic.values))
    middle = sun.zenith.shape[0] // 2, sun.zenith.shape[1] // 2
    return xr.Dataset(
        {
            "reflectance": reflectance.expand_dims(time=[time]),
            "reflectance_sigma": sigma.expand_dims(time=[time]).assign_attrs(
                units="1", long_name="standard uncertainty of the reflectance"
            ),
            "footprint": (("time", "y", "x"), located.inside[None], {"long_name": "seen by the imager"}),
        },
        coords={
            "sun_zenith": ("time", [float(sun.zenith[middle])], {"units": "degree"}),
            "sun_azimuth": ("time", [float(sun.azimuth[middle])], {"units": "degree"}),
        },
    )


def _bits(bits: npt.NDArray[np.uint16], position: geolocation.StripPosition, target: GeoBox) -> npt.NDArray[np.uint16]:
    """Saturation and interpolated detectors, and no data outside the strip."""
    nearest = geolocation.resample(bits.astype(np.float32)[None], position, shape=target.shape.yx, nearest=True)
    known = np.nan_to_num(nearest.values[0]).astype(np.uint16)
    return np.asarray(np.where(nearest.inside, known, np.uint16(qa.QaBit.NODATA)), dtype=np.uint16)
