"""Commands of the imagery: calibrated, co-registered, fused scenes from files."""

import contextlib
import datetime
import json
import math
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from infra.cli import raster_command, refusal

if TYPE_CHECKING:
    import numpy as np

    from infra.imagery import scene_reading

app = typer.Typer(
    no_args_is_help=True,
    help="Imagery of many sources: masked, co-registered, sharpened, fused in time, filled, an error on every pixel."
    "\n\nRasters of any size are worked on tile by tile. Results are cloud-optimized GeoTIFFs that store numbers as "
    "the fine input does; bands named `..._sigma` hold one standard uncertainty. `--report R.json` writes the figures "
    "and, beside them, R.html with pictures.",
)


class Comparison(StrEnum):
    """How two images are compared."""

    AUTO = "auto"
    GRADIENT = "gradient"
    STRUCTURE = "structure"


class Merging(StrEnum):
    """How one value comes of many looks."""

    AUTO = "auto"
    GEOMEDIAN = "geomedian"
    MEDOID = "medoid"
    BEST = "best"


class Resampling(StrEnum):
    """How values are taken between pixels."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    CUBIC = "cubic"
    AVERAGE = "average"


class Axes(StrEnum):
    """In which axes a reconstruction states its cameras."""

    MAP = "map"
    TOPOCENTRIC = "topocentric"


class Kind(StrEnum):
    """What is simulated."""

    SENSOR = "sensor"
    PAIR = "pair"
    CLOUDS = "clouds"
    CHANGE = "change"
    RADAR = "radar"


@app.command()
@refusal.guarded()
def pansharpen(
    ms: Path = typer.Option(..., "--ms", exists=True, dir_okay=False, help="Multispectral raster."),
    pan: Path = typer.Option(..., "--pan", exists=True, dir_okay=False, help="Panchromatic raster of one band."),
    out: Path = raster_command.OUT,
    report: Path | None = raster_command.REPORT,
    sensor: str | None = typer.Option(
        None, "--sensor", help="Sensor whose published transfer functions shall be used, as worldview-3."
    ),
    plain: bool = typer.Option(False, "--plain", help="Uncompressed GeoTIFF instead of a cloud-optimized one."),
    sigma: bool = typer.Option(True, "--sigma/--no-sigma", help="Write one sigma band per band."),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Sharpen multispectral bands with a panchromatic one.

    Method and matching are chosen per band from the input itself: both are degraded once more, every candidate is
    tried, and the scores stand in the report. The position of the two grids counts to a part of a pixel.
    """
    from infra.imagery import pansharpening
    from infra.imagery import report as reporting

    with raster_command.working("sharpening"):
        made = pansharpening.run(ms, pan, out, sensor=sensor, plain=plain, sigma=sigma)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Pansharpening",
        lead=f"{ms.name} with {pan.name}",
        inputs={"ms": ms, "pan": pan},
        out=out,
        panels=lambda: [
            reporting.scene(ms, "multispectral"),
            reporting.scene(pan, "panchromatic"),
            reporting.scene(out, "sharpened"),
        ],
    )


@app.command()
@refusal.guarded()
def coregister(
    reference: Path = typer.Option(
        ..., "--reference", exists=True, dir_okay=False, help="Raster whose place is trusted."
    ),
    target: Path = typer.Option(..., "--target", exists=True, dir_okay=False, help="Raster to be corrected."),
    out: Path = raster_command.OUT,
    report: Path | None = raster_command.REPORT,
    dem: Path | None = typer.Option(
        None, "--dem", exists=True, dir_okay=False, help="Heights, for residuals that depend on them."
    ),
    method: Comparison = typer.Option(
        Comparison.AUTO, "--method", help="gradient for images of like contrast, structure for optical against radar."
    ),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Find how far the target's content lies from the reference's, and take it back.

    Tie points all over the scene, false ones thrown out; the correction is checked on points that had no part in it.
    Where the two do not show the same place, or too little of it, the correction is refused: the target is written
    unchanged, the report says why, and the exit status is 1.
    """
    from infra.imagery import coregistration
    from infra.imagery import report as reporting

    with raster_command.working("matching"):
        made = coregistration.run(reference, target, out, dem=dem, method=method.value)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Co-registration",
        lead=f"{target.name} to {reference.name}",
        inputs={"reference": reference, "target": target, "dem": dem},
        out=out,
        panels=lambda: [
            reporting.scene(reference, "reference"),
            reporting.scene(target, "target and tie points", arrows=reporting.arrows(made)),
            reporting.scene(out, "corrected"),
        ],
    )


@app.command("fuse-time")
@refusal.guarded("_qa")
def fuse_time(
    fine: list[Path] = typer.Option(
        ..., "--fine", exists=True, dir_okay=False, help="Fine raster of a date; give it twice for two pairs."
    ),
    coarse: list[Path] = typer.Option(
        ...,
        "--coarse",
        exists=True,
        dir_okay=False,
        help="Coarse raster of the fine one's date.",
    ),
    coarse_target: Path = typer.Option(
        ..., "--coarse-target", exists=True, dir_okay=False, help="Coarse raster of the wanted date."
    ),
    out: Path = raster_command.OUT,
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Predict the fine raster of a date that only a coarse sensor saw.

    Several predictions are made and weighed by how well each does on dates and scales that are known; where the coarse
    images say nothing reliable, the fine one stands. The weights are in the report.
    """
    from infra.imagery import report as reporting
    from infra.imagery import spatiotemporal

    if len(fine) != len(coarse):
        raise typer.BadParameter(f"{len(fine)} fine and {len(coarse)} coarse rasters make no pairs")
    with raster_command.working("fusing"):
        made = spatiotemporal.run(fine, coarse, coarse_target, out)
    roles = {f"fine_{number}": path for number, path in enumerate(fine)}
    roles |= {f"coarse_{number}": path for number, path in enumerate(coarse)}
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Fusion in time",
        lead=f"{out.name} from {len(fine)} pairs and {coarse_target.name}",
        inputs=roles | {"coarse_target": coarse_target},
        out=out,
        panels=lambda: [
            *(reporting.scene(path, f"fine {path.name}") for path in fine),
            reporting.scene(coarse_target, "coarse, wanted date"),
            reporting.scene(out, "fused"),
        ],
    )


@app.command("cloud-mask")
@refusal.guarded()
def cloud_mask(
    scene: Path = typer.Option(..., "--scene", exists=True, dir_okay=False, help="Raster of reflectance."),
    bands: str = typer.Option(..., "--bands", help="Bands by name, blue=1,green=2,red=3,nir=4[,swir1=5,swir2=6]."),
    out: Path = raster_command.OUT,
    sun_azimuth: float | None = typer.Option(None, "--sun-azimuth", help="Azimuth of the sun from north, degrees."),
    sun_elevation: float | None = typer.Option(None, "--sun-elevation", help="Elevation of the sun, degrees."),
    dem: Path | None = typer.Option(
        None,
        "--dem",
        exists=True,
        dir_okay=False,
        help="Heights, to tell the shade of hills from the shadow of clouds.",
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Tell cloud, thin cloud, shadow, snow and water from clear land, with the probability of cloud.

    Band 1 of OUT: 0 clear, 1 thin cloud, 2 cloud, 3 shadow, 4 snow, 5 water, 255 no data; band 2: probability of cloud.
    """
    from infra.imagery import cloud_mask as masking
    from infra.imagery import report as reporting

    wanted = _bands(bands)
    with raster_command.working("masking"):
        made = masking.run(scene, out, bands=wanted, sun_azimuth=sun_azimuth, sun_elevation=sun_elevation, dem=dem)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Cloud mask",
        lead=scene.name,
        inputs={"scene": scene, "dem": dem},
        out=out,
        panels=lambda: [
            reporting.scene(scene, "scene", bands=[wanted[name] for name in ("red", "green", "blue")]),
            reporting.mask(out, "mask"),
            reporting.layer(out, 2, "probability of cloud", label="probability [1]"),
        ],
    )


@app.command("fill-gaps")
@refusal.guarded()
def fill_gaps(
    series: Path = typer.Option(..., "--series", exists=True, file_okay=False, help="Folder of a series; see above."),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for the filled dates and report.json."),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Fill what clouds hide in a series, from radar, other dates and terrain.

    SERIES holds one NetCDF scene stack, or GeoTIFFs of one date each: bands by name (blue, B04, vv ...), the date in a
    tag or in the file's name (20240515, 2024-05-15, 2024136, 2024-05). Gaps are no data, or classes 1, 2 and 3 of
    <stem>_mask.tif beside a date; dem.tif is used where it is there. OUT gets one raster per optical date (bands, then
    sigma), <stem>_qa.tif and the report.
    """
    from infra.imagery import gap_filling
    from infra.imagery import report as reporting

    with raster_command.working("filling"):
        made = gap_filling.run(series, out)
    raster_command.finish(
        made,
        out / "report.json",
        as_json=as_json,
        title="Gap filling",
        lead=series.name,
        inputs={path.name: path for path in sorted(series.iterdir()) if path.is_file()},
        out=out,
        panels=lambda: reporting.filled_series(made, out),
    )


@app.command()
@refusal.guarded("_qa", "_mad")
def composite(
    scenes: list[Path] = typer.Option(..., "--scenes", exists=True, dir_okay=False, help="Scene; more may follow."),
    more: list[Path] = typer.Argument(None, exists=True, dir_okay=False, metavar="[FILE...]", help="Further scenes."),
    out: Path = raster_command.OUT,
    method: Merging = typer.Option(Merging.AUTO, "--method", help="auto takes what the number of clear looks allows."),
    date: str | None = typer.Option(None, "--date", help="Date the best pixel shall be near to, YYYY-MM-DD."),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Make one clear scene of many: geomedian of five looks and more, else medoid or best pixel.

    A <stem>_mask.tif beside a scene masks it. Beside OUT: <stem>_qa.tif (looks, date, quality bits) and <stem>_mad.tif.
    """
    from infra.imagery import compositing
    from infra.imagery import report as reporting

    if date is not None:
        _day(date, "--date")
    everything = [*scenes, *(more or [])]
    with raster_command.working("compositing"):
        made = compositing.run(everything, out, method=method.value, target_date=date)
    looks = out.with_name(f"{out.stem}_qa.tif")
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Composite",
        lead=f"{len(everything)} scenes",
        inputs={f"scene_{number}": path for number, path in enumerate(everything)},
        out=out,
        panels=lambda: [
            reporting.scene(everything[0], "first scene"),
            reporting.scene(out, "composite"),
            reporting.layer(looks, 1, "clear looks", label="looks [1]"),
        ],
    )


@app.command()
@refusal.guarded()
def reproject(
    source: Path = typer.Option(..., "--source", exists=True, dir_okay=False, help="Raster."),
    out: Path = raster_command.OUT,
    crs: str | None = typer.Option(None, "--crs", help="System wanted, as EPSG:4545; with --resolution."),
    resolution: float | None = typer.Option(None, "--resolution", help="Pixel size wanted, meters or degrees."),
    like: Path | None = typer.Option(
        None, "--like", exists=True, dir_okay=False, help="Raster whose grid is wanted, instead of --crs."
    ),
    shift: tuple[float, float] = typer.Option(
        (0.0, 0.0),
        "--shift",
        help="shift_x and shift_y of a co-registration, taken back in the same resampling, in pixels.",
    ),
    method: Resampling | None = typer.Option(
        None, "--method", help="Default: average toward clearly larger pixels, else bilinear; nearest keeps classes."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Bring a raster onto a grid whose pixel edges are multiples of the pixel size, in one resampling."""
    from infra.imagery import report as reporting
    from infra.imagery import reprojection, target_grid

    _check_grid(crs, resolution, like)
    if not all(math.isfinite(part) for part in shift):
        raise typer.BadParameter(f"--shift {shift[0]} {shift[1]}: two numbers are wanted")
    with _usage():
        geobox = target_grid.wanted(source, crs=crs, resolution=resolution, like=like)
    with raster_command.working("reprojecting"):
        made = reprojection.run(source, out, geobox=geobox, shift=shift, method=method and method.value)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Reprojection",
        lead=f"{source.name} to {geobox.crs}",
        inputs={"source": source, "like": like},
        out=out,
        panels=lambda: [reporting.scene(source, "before"), reporting.scene(out, "after")],
    )


@app.command()
@refusal.guarded("_qa")
def prepare(
    ms: Path = typer.Option(..., "--ms", exists=True, dir_okay=False, help="Multispectral raster."),
    pan: Path = typer.Option(..., "--pan", exists=True, dir_okay=False, help="Panchromatic raster of one band."),
    out: Path = raster_command.OUT,
    reference: Path | None = typer.Option(
        None, "--reference", exists=True, dir_okay=False, help="Raster whose place is trusted."
    ),
    crs: str | None = typer.Option(None, "--crs", help="System wanted, as EPSG:4545; with --resolution."),
    resolution: float | None = typer.Option(None, "--resolution", help="Pixel size wanted, meters or degrees."),
    like: Path | None = typer.Option(
        None, "--like", exists=True, dir_okay=False, help="Raster whose grid is wanted, instead of --crs."
    ),
    bands: str | None = typer.Option(None, "--bands", help="Bands by name, for the cloud mask: blue=1,green=2,..."),
    sun_azimuth: float | None = typer.Option(None, "--sun-azimuth", help="Azimuth of the sun from north, degrees."),
    sun_elevation: float | None = typer.Option(None, "--sun-elevation", help="Elevation of the sun, degrees."),
    dem: Path | None = typer.Option(None, "--dem", exists=True, dir_okay=False, help="Heights of the ground."),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Mask, co-register, sharpen and reproject a scene in one go, every value interpolated once.

    Beside OUT stands <stem>_qa.tif with the quality bits: no data 1, cloud 2, shadow 4, co-registration failed 256.
    """
    from infra.imagery import preparation, target_grid
    from infra.imagery import report as reporting

    if not bands and (sun_azimuth, sun_elevation, dem) != (None, None, None):
        raise typer.BadParameter("--sun-azimuth, --sun-elevation and --dem serve the cloud mask: give --bands too")
    wanted = _bands(bands) if bands else None
    _check_grid(crs, resolution, like)
    with _usage():
        geobox = target_grid.wanted(pan, crs=crs, resolution=resolution, like=like)
    with raster_command.working("preparing"):
        made = preparation.run(
            ms, pan, out, geobox=geobox, reference=reference, bands=wanted,
            sun_azimuth=sun_azimuth, sun_elevation=sun_elevation, dem=dem,
        )  # fmt: skip
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Analysis-ready scene",
        lead=f"{ms.name} with {pan.name}",
        inputs={"ms": ms, "pan": pan, "reference": reference, "dem": dem, "like": like},
        out=out,
        panels=lambda: [
            reporting.scene(ms, "multispectral"),
            reporting.scene(out, "analysis-ready"),
            reporting.bits(out.with_name(f"{out.stem}_qa.tif"), "quality"),
        ],
    )


@app.command()
@refusal.guarded()
def convert(
    scene: Path = typer.Argument(..., exists=True, metavar="SCENE", help="Folder, archive or file of a mission."),
    out: Path = raster_command.OUT,
    bands: str | None = typer.Option(None, "--bands", help="Layers, red,nir; or blue=1,red=3 of a plain GeoTIFF."),
    crs: str | None = typer.Option(None, "--crs", help="System wanted, as EPSG:4545; with --resolution."),
    resolution: float | None = typer.Option(None, "--resolution", help="Pixel size wanted, meters or degrees."),
    like: Path | None = typer.Option(
        None, "--like", exists=True, dir_okay=False, help="Raster whose grid is wanted, instead of --crs."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Read a scene of Sentinel-1 or -2, Landsat, MODIS, VIIRS, GF or a GeoTIFF; physical values on one grid.

    Scale, offset, no data and datum come from the product's metadata; what is missing there is refused, not assumed.
    """
    from infra.imagery import report as reporting
    from infra.imagery import scene_conversion, scene_reading, target_grid

    names, stated = _layers(bands)
    _check_grid(crs, resolution, like)
    geobox = None if like is None else target_grid.of(like)
    if like is None and (crs is not None or resolution is not None):
        with scene_reading.open_scene(scene, stated=stated) as opened, _usage():
            geobox = target_grid.around(opened.geobox, crs=crs, resolution=resolution)
    with raster_command.working("reading"):
        made = scene_conversion.run(scene, out, geobox=geobox, bands=names, stated=stated)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Scene",
        lead=scene.name,
        inputs={"scene": scene, "like": like},
        out=out,
        panels=lambda: [reporting.scene(out, "scene")],
    )


@app.command()
@refusal.guarded("_qa")
def orthorectify(
    image: Path = typer.Option(..., "--image", exists=True, dir_okay=False, help="Frame or image with RPC."),
    dem: Path = typer.Option(..., "--dem", exists=True, dir_okay=False, help="Surface model in a projected system."),
    out: Path = raster_command.OUT,
    reconstruction: Path | None = typer.Option(
        None, "--reconstruction", exists=True, dir_okay=False, help="OpenSfM or OpenDroneMap reconstruction.json."
    ),
    interior: Path | None = typer.Option(
        None, "--interior", exists=True, dir_okay=False, help="YAML of the camera: im_size, focal_len, sensor_size ..."
    ),
    exterior: Path | None = typer.Option(
        None, "--exterior", exists=True, dir_okay=False, help="Table of name, x, y, z, omega, phi, kappa."
    ),
    rpc: Path | None = typer.Option(
        None, "--rpc", exists=True, dir_okay=False, help="RPC of the image, where its tags hold none."
    ),
    axes: Axes = typer.Option(
        Axes.MAP, "--axes", help="map for OpenDroneMap's reconstruction, topocentric for OpenSfM's."
    ),
    dem_datum: str | None = typer.Option(None, "--dem-datum", help="ellipsoid, egm96 ... where the DEM says nothing."),
    camera_datum: str | None = typer.Option(None, "--camera-datum", help="Datum of the frame camera's height."),
    resolution: float | None = typer.Option(None, "--resolution", help="Pixel size, meters; default the image's."),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Put an airborne or UAV frame, or a satellite image with RPC, on the map with a surface model.

    Ground that something hides from the camera is no data. Beside OUT stands <stem>_qa.tif with the quality bits.
    """
    from infra.imagery import orthorectification
    from infra.imagery import report as reporting

    view = orthorectification.view_of(
        image, dem=dem, reconstruction=reconstruction, interior=interior, exterior=exterior, rpc=rpc, axes=axes.value
    )
    with raster_command.working("orthorectifying"):
        made = orthorectification.run(
            image, out, view=view, dem=dem, dem_datum=dem_datum, camera_datum=camera_datum, resolution=resolution
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Orthorectification",
        lead=image.name,
        inputs={"image": image, "dem": dem, "camera": reconstruction or interior or rpc},
        out=out,
        panels=lambda: [
            reporting.scene(out, "orthorectified"),
            reporting.bits(out.with_name(f"{out.stem}_qa.tif"), "quality"),
        ],
    )


@app.command()
@refusal.guarded()
def search(
    api: str = typer.Option(..., "--api", help="Address of a STAC API."),
    collection: list[str] = typer.Option(..., "--collection", help="Collection; may be given more than once."),
    bbox: str = typer.Option(..., "--bbox", help="West, south, east, north in degrees: 106,29,107,30."),
    since: str = typer.Option(..., "--since", help="First day, YYYY-MM-DD."),
    until: str = typer.Option(..., "--until", help="Last day, YYYY-MM-DD."),
    cloud: float | None = typer.Option(None, "--cloud", help="Largest cloud cover in percent."),
    limit: int = typer.Option(100, "--limit", min=1, help="Scenes at most."),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Search a STAC API for scenes, oldest first; needs the extra `stac` and network."""
    import numpy as np

    from infra.imagery import stac_search

    west, south, east, north = _box(bbox)
    first, last = _day(since, "--since"), _day(until, "--until")
    if last < first:
        raise typer.BadParameter(f"--until {until} lies before --since {since}")
    found = stac_search.search(
        api, collections=collection, bounds=(west, south, east, north), start=first,
        end=last + np.timedelta64(1, "D") - np.timedelta64(1, "s"), limit=limit,
        largest_cloud_cover=cloud,
    )  # fmt: skip
    rows = [
        {"id": entry.identity, "collection": entry.collection, "time": str(entry.time), "cloud": entry.cloud_cover}
        for entry in found
    ]
    if as_json:
        sys.stdout.write(json.dumps({"scenes": rows}, indent=2) + "\n")
        return
    for entry in found:
        share = "-" if entry.cloud_cover is None else f"{entry.cloud_cover:.0f} %"
        text = f"{str(entry.time)[:19]}  {share:>6}  {entry.identity}"
        Console().print(text, highlight=False, markup=False, soft_wrap=True)
    Console().print(f"{len(rows)} scenes", highlight=False)


def _box(text: str) -> list[float]:
    """West, south, east, north."""
    try:
        edges = [float(word) for word in text.split(",")]
    except ValueError:
        edges = []
    if len(edges) != len("WSEN") or not (-90 <= edges[1] < edges[3] <= 90 and -180 <= edges[0] <= edges[2] <= 180):
        raise typer.BadParameter(f"--bbox {text}: west, south, east, north in degrees are wanted, as 106,29,107,30")
    return edges


def _day(text: str, option: str) -> "np.datetime64":
    """A day as it was written."""
    import numpy as np

    try:
        return np.datetime64(datetime.date.fromisoformat(text), "D")
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text}: a day is wanted, as 2024-05-15") from error


def _check_grid(crs: str | None, resolution: float | None, like: Path | None) -> None:
    """Another raster's grid, or a system and a pixel size; not both."""
    if like is not None and (crs is not None or resolution is not None):
        raise typer.BadParameter("--like decides the whole grid: give it, or --crs and --resolution, not both")


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """What was asked for, not what a file holds, is at fault for a wrong value here."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _layers(text: str | None) -> "tuple[list[str] | None, scene_reading.Stated | None]":
    """Layers wanted by name; with numbers, what the bands of a plain GeoTIFF are."""
    from infra.imagery import scene_reading

    if text is None:
        return None, None
    if "=" not in text:
        return [word.strip() for word in text.split(",") if word.strip()], None
    return None, scene_reading.Stated(bands=raster_command.numbered(text))


@app.command()
@refusal.guarded()
def simulate(
    kind: Kind = typer.Option(
        ...,
        "--kind",
        help="sensor: multispectral and panchromatic; pair: two views with a shift; clouds: a scene with clouds and "
        "shadows; change: fine and coarse dates; radar: optical and radar.",
    ),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for the rasters and truth.json."),
    seed: int = typer.Option(1, "--seed", min=0, help="Seed of all randomness."),
    size: int = typer.Option(400, "--size", min=64, max=4000, help="Rows and columns of the finest raster."),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Make scenes with their exact truth: input for every command here, and the answer to compare with."""
    from infra.imagery import simulation

    made = simulation.run(kind.value, out, seed, size=size)
    raster_command.tell(made, as_json=as_json)
    if not as_json:
        Console().print(f"written to {out}; the truth is in {out / 'truth.json'}", soft_wrap=True)


def _bands(text: str) -> dict[str, int]:
    """Bands of a scene by name, those a cloud mask needs among them."""
    bands = raster_command.numbered(text)
    absent = {"blue", "green", "red", "nir"} - set(bands)
    if absent:
        raise typer.BadParameter(f"--bands: {', '.join(sorted(absent))} missing")
    return bands
