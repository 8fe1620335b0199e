"""The command `surface terrain`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def terrain(
    dem: Path = typer.Option(..., "--dem", exists=True, dir_okay=False, help="Heights [m], in degrees or on a map."),
    out: Path = raster_command.OUT,
    incidence: float | None = typer.Option(
        None, "--incidence", metavar="DEG", help="Angle of a radar's rays from the vertical, at the scene's center."
    ),
    look_azimuth: float | None = typer.Option(
        None, "--look-azimuth", metavar="DEG", help="Where its rays travel, clockwise from north of the grid."
    ),
    channels: Path | None = typer.Option(
        None, "--channels", exists=True, dir_okay=False, help="Known water (1 or probability), taken as the channels."
    ),
    channel_area: float | None = typer.Option(
        None,
        "--channel-area",
        metavar="KM2",
        min=1e-6,
        help="Land from whose water a channel begins; default 1. With --channels it adds channels to them.",
    ),
    like: Path | None = typer.Option(
        None, "--like", exists=True, dir_okay=False, help="Raster whose grid is wanted; default that of the heights."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Make the static terrain layers of a place: what flood, radar and landslide products read with --terrain.

    Bands of OUT: elevation [m], slope [degree], hand (height above the channel that water of the pixel reaches) [m];
    with --incidence and --look-azimuth also local_incidence [degree], layover and radar_shadow (0 or 1). NaN is
    unknown: no height, or water that leaves the raster before it meets a channel. Give heights that reach some
    kilometers beyond the scene. Grids in degrees are brought to UTM.
    """
    from infra.imagery import report as reporting
    from infra.surface import terrain as slice_

    with raster_command.working("terrain"):
        made = slice_.run(
            dem,
            out,
            incidence=incidence,
            look_azimuth=look_azimuth,
            channels=channels,
            channel_area=channel_area,
            like=like,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Terrain",
        lead=dem.name,
        inputs={"dem": dem, "channels": channels, "like": like},
        out=out,
        panels=lambda: [reporting.scene(out, "elevation")],
    )
