"""The command `surface navigable-change`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def navigable_change(
    before: Path = typer.Option(
        ..., "--before", exists=True, dir_okay=False, help="Earlier map of water, or cross sections of river-width."
    ),
    after: Path = typer.Option(..., "--after", exists=True, dir_okay=False, help="The same of the later date."),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="Vector file to write: .gpkg, .fgb or .geojson."),
    before_band: int | None = typer.Option(
        None, "--before-band", min=1, help="Band of the earlier map; default the one named probability, else the first."
    ),
    after_band: int | None = typer.Option(None, "--after-band", min=1, help="The same of the later map."),
    pixel: float | None = typer.Option(
        None, "--pixel", min=0.01, help="Pixel size in m behind widths whose file does not say so."
    ),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Find where the channel of a river narrowed, widened, moved or was blocked between two dates.

    OUT holds `changed_segments`, stretches along which all cross sections changed alike: widths before and after, the
    least one after, the mean change with one standard deviation and in standard deviations (`significance`). A
    GeoPackage also holds the cross sections, `width_changes`. What changed by less than three standard deviations or
    one pixel is stable.

    Maps (band 2 of `surface water`) or cross sections of `surface river-width` may be given, on any grids. Blocked,
    no water left between the former banks, needs a later map. Candidates to be looked at: the level of the water
    differs between dates, and neither depth nor the marked fairway is seen.
    """
    from infra.surface import navigable_change as slice_

    with raster_command.working("measuring rivers"):
        made = slice_.run(before, after, out, bands=(before_band, after_band), pixel=pixel)
    raster_command.tell({**made, "output": str(out)}, as_json=as_json)
