"""GF-1 and GF-6 level 1A images: numbers in image geometry, a camera model beside them, constants published yearly.

Radiance L = gain * number + offset with the absolute calibration coefficients the operator of the satellite (CRESDA)
publishes for every camera and year, and reflectance rho = pi L d2 / (E cos(sun zenith)). The product does not hold the
coefficients and the solar irradiance E, so the caller states them. The time in the metadata is Beijing or universal
time; the stated sun tells which.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processors.arrays import FloatArray
from processors.imagery import scene_layers, solar_geometry
from processors.quality import BadInputError

_MULTISPECTRAL = ("blue", "green", "red", "nir")
_EIGHT = ("blue", "green", "red", "nir", "rededge1", "rededge2", "coastal", "yellow")
_SUN_TOLERANCE = 3.0
_BEIJING = np.timedelta64(8, "h")


@dataclass(frozen=True)
class AbsoluteCalibration:
    """Absolute calibration of one camera and year.

    Parameters
    ----------
    gain : tuple of float
        Radiance of one number of every band [W m-2 sr-1 um-1].
    offset : tuple of float
        Radiance of the number 0 of every band [W m-2 sr-1 um-1].
    solar_irradiance : tuple of float
        Mean solar irradiance of every band [W m-2 um-1].
    saturated : float, optional
        Number of a saturated pixel.
    nodata : float
        Number of no data.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    solar_irradiance: tuple[float, ...]
    saturated: float | None = None
    nodata: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.gain) == len(self.offset) == len(self.solar_irradiance):
            raise ValueError("gain, offset and solar irradiance need one number for every band")


def metadata_from_xml(
    text: bytes,
    *,
    location: str,
    count: int,
    calibration: AbsoluteCalibration | None,
    utc_offset: float | None = None,
) -> scene_layers.SceneMetadata:
    """What a level 1A image says about itself.

    Parameters
    ----------
    text : bytes
        Metadata beside the image.
    location : str
        The image.
    count : int
        Its bands [1].
    calibration : AbsoluteCalibration, optional
        Constants of the camera and year; without them the scene is refused.
    utc_offset : float, optional
        What the stated time is ahead of universal time [h]; else the stated sun decides.

    Returns
    -------
    scene_layers.SceneMetadata
        One layer for every band.

    Raises
    ------
    BadInputError
        `calibration_missing`, `band_missing`, `metadata_missing`, `sun_inconsistent`, `sun_below_horizon`.
    """
    about = scene_layers.Markup(text, name=f"metadata of {location}")
    names = _bands(about, count)
    if calibration is None or len(calibration.gain) != count:
        stated = 0 if calibration is None else len(calibration.gain)
        raise BadInputError("calibration_missing", f"{location}: absolute calibration for {stated} of {count} bands")
    zenith, azimuth = about.number("SolarZenith"), about.number("SolarAzimuth")
    if not 0.0 <= zenith < 90.0:
        raise BadInputError("sun_below_horizon", f"{location}: sun zenith angle {zenith:g} degrees")
    time = _time(about, zenith, utc_offset=utc_offset, location=location)
    factor = math.pi * _distance(time) ** 2 / math.cos(math.radians(zenith))
    layers = tuple(
        scene_layers.Layer(
            name,
            scene_layers.REFLECTANCE,
            location,
            scene_layers.Decoding(
                gain * factor / sun, offset * factor / sun, (calibration.nodata,), calibration.saturated
            ),
            index,
        )
        for index, (name, gain, offset, sun) in enumerate(
            zip(names, calibration.gain, calibration.offset, calibration.solar_irradiance, strict=True), 1
        )
    )
    return scene_layers.SceneMetadata(
        identity="_".join((about.text("SatelliteID"), about.text("SensorID"), about.text("SceneID"))),
        sensor=f"{about.text('SatelliteID')} {about.text('SensorID')}".lower(),
        level="toa_reflectance",
        time=time,
        layers=layers,
        sun_zenith=zenith,
        sun_azimuth=azimuth % 360.0,
    )


def _bands(about: scene_layers.Markup, count: int) -> Sequence[str]:
    known: dict[int, Sequence[str]] = {1: ("pan",), 4: _MULTISPECTRAL, 8: _EIGHT}
    stated = [part for part in about.text("Bands").replace("，", ",").split(",") if part.strip()]
    if count not in known or len(stated) not in (count, 5):
        raise BadInputError("band_missing", f"{about.name} lists {len(stated)} bands, the image has {count}")
    return known[count]


def _time(about: scene_layers.Markup, zenith: float, *, utc_offset: float | None, location: str) -> np.datetime64:
    """Universal time: as the caller states it, else the reading of the text that puts the sun where it was."""
    stated = scene_layers.moment(about.text("CenterTime"), what=f"CenterTime of {location}")
    if utc_offset is not None:
        readings = [stated - np.timedelta64(round(utc_offset * 3600), "s")]
    else:
        readings = [stated, stated - _BEIJING]
    place = _center(about)
    off = [abs(float(solar_geometry.sun_position(time, *place).zenith[0]) - zenith) for time in readings]
    fitting = [time for time, angle in zip(readings, off, strict=True) if angle <= _SUN_TOLERANCE]
    if len(fitting) != 1:
        raise BadInputError(
            "sun_inconsistent",
            f"{location}: the stated sun zenith angle of {zenith:.1f} degrees fits {len(fitting)} readings of the time"
            f" {stated} (off by {' or '.join(f'{angle:.1f}' for angle in off)} degrees)",
        )
    return fitting[0]


def _center(about: scene_layers.Markup) -> tuple[FloatArray, FloatArray]:
    corners = ("TopLeft", "TopRight", "BottomRight", "BottomLeft")
    longitude, latitude = (
        np.array([np.mean([about.number(f"{corner}{axis}") for corner in corners])])
        for axis in ("Longitude", "Latitude")
    )
    if abs(float(latitude[0])) > 90.0:
        raise BadInputError("axes_swapped", f"{about.name}: latitude {float(latitude[0]):g}")
    return longitude, latitude


def _distance(time: np.datetime64) -> float:
    return solar_geometry.sun_position(time, np.zeros(1), np.zeros(1)).distance
