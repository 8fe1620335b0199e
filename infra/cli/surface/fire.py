"""The command `surface fire`."""

import datetime
from enum import StrEnum
from pathlib import Path

import typer

from infra.cli import raster_command, refusal

_CHANNELS = ("t4", "t11", "m13")


class Sensor(StrEnum):
    """What saw the scene."""

    VIIRS = "viirs"
    MODIS = "modis"
    SLSTR = "slstr"
    MERSI = "mersi"
    AHI = "ahi"
    OLI = "oli"
    MSI = "msi"


@refusal.guarded()
def fire(
    scene: Path = typer.Option(
        ..., "--scene", exists=True, dir_okay=False, help="Raster of temperatures and reflectance."
    ),
    bands: str = typer.Option(
        ...,
        "--bands",
        help="Numbers of the bands: t4=1,t11=2[,m13=3,red=4,nir=5,swir2=6,sun_zenith=7,glint_angle=8], or "
        "swir2=..,swir1=..,nir=..[,red=..,green=..,blue=..] at 10 to 30 m.",
    ),
    out: Path = typer.Option(
        ..., "--out", dir_okay=False, help="Fires as .gpkg, .fgb or .geojson, or their raster as .tif."
    ),
    raster: Path | None = typer.Option(
        None, "--raster", dir_okay=False, help="Raster to write beside a vector file: class, probability, confidence."
    ),
    sensor: Sensor | None = typer.Option(None, "--sensor", help="Sensor; default by the size of the pixels."),
    time: str | None = typer.Option(
        None, "--time", help="Time of the scene in UTC, as 2026-03-01T05:10; with the place it tells day from night."
    ),
    sun_zenith: float | None = typer.Option(
        None, "--sun-zenith", min=0.0, max=180.0, help="Zenith angle of the sun in degrees, instead of the time."
    ),
    glint_angle: float | None = typer.Option(
        None, "--glint-angle", min=0.0, max=180.0, help="Angle between view and mirror direction of the sun in degrees."
    ),
    view_zenith: float | None = typer.Option(
        None, "--view-zenith", min=0.0, max=90.0, help="Zenith angle of the sensor; with the two others in place of it."
    ),
    relative_azimuth: float | None = typer.Option(
        None, "--relative-azimuth", help="Azimuth of the sun less that of the sensor, in degrees."
    ),
    static: Path | None = typer.Option(
        None,
        "--static",
        exists=True,
        dir_okay=False,
        help="Known works and flares: CSV of longitude, latitude, radius_m, or a vector file.",
    ),
    history: Path | None = typer.Option(
        None, "--history", exists=True, dir_okay=False, help="Earlier fires (FIRMS CSV), to find places always hot."
    ),
    water: Path | None = typer.Option(
        None, "--water", exists=True, dir_okay=False, help="Mask of water: above 0.5 is water."
    ),
    cloud: Path | None = typer.Option(
        None, "--cloud", exists=True, dir_okay=False, help="Mask of `imagery cloud-mask`, or 1 for cloud."
    ),
    wavelength: str | None = typer.Option(
        None, "--wavelength", help="Effective wavelengths in um that are not the sensor's: t4=3.9,t11=10.8."
    ),
    radiance: bool = typer.Option(
        False, "--radiance", help="Thermal bands hold radiance in W m-2 sr-1 um-1, not kelvins."
    ),
    transmission: float = typer.Option(
        1.0, "--transmission", min=0.05, max=1.0, help="Transmission of the atmosphere near 4 um."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Find active fires and their radiative power.

    OUT holds one point a fire: `lat lon time t4 t11 frp_mw frp_sigma_mw confidence sensor static_flag`, confidence 1
    low, 2 nominal, 3 high. As a raster: band 1 class 0 no fire 1 fire 2 known static source 255 no data, band 2
    probability of the class, band 3 confidence.

    Temperatures are in kelvin. Reflectance (red, nir) is what tells sun glint and bright roofs from fire by day: give
    it where there is. Known works and flares are marked, not dropped. Fires under cloud are not seen.
    """
    from infra.imagery import report as reporting
    from infra.surface import active_fire as slice_

    geometry = slice_.Geometry(
        _time(time), sun_zenith, _glint(glint_angle, sun_zenith, view_zenith, relative_azimuth), None
    )
    with raster_command.working("looking for fires"):
        made = slice_.run(
            scene,
            out,
            bands=raster_command.numbered(bands),
            sensor=None if sensor is None else sensor.value,
            wavelengths=_wavelengths(wavelength),
            geometry=geometry,
            static=static,
            history=history,
            water=water,
            cloud=cloud,
            raster=raster,
            radiance=radiance,
            transmission=transmission,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Active fires",
        lead=scene.name,
        inputs={"scene": scene, "static": static, "history": history, "water": water, "cloud": cloud},
        out=out,
        panels=lambda: [reporting.scene(scene, "scene")],
        like=scene,
    )


def _time(text: str | None) -> datetime.datetime | None:
    if text is None:
        return None
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--time {text}: a time in UTC is wanted, as 2026-03-01T05:10") from error


def _glint(
    angle: float | None, sun_zenith: float | None, view_zenith: float | None, relative_azimuth: float | None
) -> float | None:
    if angle is not None or (view_zenith is None and relative_azimuth is None):
        return angle
    if sun_zenith is None or view_zenith is None or relative_azimuth is None:
        raise typer.BadParameter("the glint angle needs --sun-zenith, --view-zenith and --relative-azimuth")
    import numpy as np

    from retrieval.surface import active_fire

    return float(
        active_fire.glint_angle(
            sun_zenith=np.array(sun_zenith),
            view_zenith=np.array(view_zenith),
            relative_azimuth=np.array(relative_azimuth),
        )
    )


def _wavelengths(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    found: dict[str, float] = {}
    for word in text.split(","):
        name, _, number = word.strip().partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if name not in _CHANNELS or not found[name] > 0.0:
            raise typer.BadParameter(f"--wavelength: {word!r} is not of the form t4=3.9")
    return found
