"""The command `surface landslide`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def landslide(
    before: Path = typer.Option(..., "--before", exists=True, dir_okay=False, help="Reflectance before the event."),
    after: Path = typer.Option(..., "--after", exists=True, dir_okay=False, help="Reflectance after it."),
    bands: str = typer.Option(
        "red=1,nir=2",
        "--bands",
        help="Numbers of the bands: red=..,nir=..[,green=..,swir1=..,swir2=..].",
    ),
    out: Path = typer.Option(
        ..., "--out", dir_okay=False, help="Polygons to write (.gpkg, .fgb, .geojson), or the raster (.tif)."
    ),
    dem: Path | None = typer.Option(None, "--dem", exists=True, dir_okay=False, help="Heights [m]."),
    terrain: Path | None = typer.Option(
        None, "--terrain", exists=True, dir_okay=False, help="Layers of `surface terrain`, in place of --dem."
    ),
    mask_before: Path | None = typer.Option(
        None, "--mask-before", exists=True, dir_okay=False, help="Mask of `imagery cloud-mask`; 0 is clear."
    ),
    mask_after: Path | None = typer.Option(
        None, "--mask-after", exists=True, dir_okay=False, help="The same of the later date."
    ),
    raster: Path | None = typer.Option(None, "--raster", dir_okay=False, help="Raster to write beside polygons."),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """List landslide candidates: slopes that lost their vegetation and became bright between two dates.

    Polygons carry a score and what it comes from, the highest first. The raster holds 0 none, 1 candidate, 255 no
    data in band 1 and the score in band 2.

    A candidate is a place to look at: clear-cuts, quarries, new roads and terraced fields look alike. Season and sun
    are taken out by what the other slopes of the scene did. Give the cloud masks; the rasters must lie over each other
    (`terralimb imagery coregister`).
    """
    from infra.imagery import report as reporting
    from infra.surface import landslide as slice_

    with raster_command.working("comparing"):
        made = slice_.run(
            before,
            after,
            out,
            bands=raster_command.numbered(bands),
            dem=dem,
            terrain=terrain,
            mask_before=mask_before,
            mask_after=mask_after,
            raster=raster,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Landslide candidates",
        lead=f"{before.name} to {after.name}",
        inputs={"before": before, "after": after, "dem": dem, "terrain": terrain},
        out=out,
        panels=lambda: [reporting.scene(before, "before"), reporting.scene(after, "after")],
    )
