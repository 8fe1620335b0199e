"""The command `surface damage`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def damage(
    before: Path = typer.Option(..., "--before", exists=True, dir_okay=False, help="Image before, 1 m or finer."),
    after: Path = typer.Option(..., "--after", exists=True, dir_okay=False, help="Image after."),
    footprints: Path = typer.Option(
        ..., "--footprints", exists=True, dir_okay=False, help="Outlines of the buildings: GeoPackage, GeoJSON, ..."
    ),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="Vector file to write: .gpkg, .fgb or .geojson."),
    radar_before: list[Path] = typer.Option(
        [], "--radar-before", exists=True, dir_okay=False, help="Backscatter in dB of a date before; ten or more."
    ),
    radar_after: list[Path] = typer.Option(
        [], "--radar-after", exists=True, dir_okay=False, help="Backscatter in dB of a date after; may be repeated."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Grade buildings by visible damage: none, possible, likely, destroyed, with a probability.

    OUT holds the footprints with `grade` 0 to 3, 255 where a building was not assessed (too small, cloud, beyond the
    image). The images must lie over each other (`terralimb imagery coregister`); roofs that lean by a few pixels are
    found. It is what an image shows from above and no engineering assessment.
    """
    from infra.imagery import report as reporting
    from infra.surface import damage as slice_

    with raster_command.working("grading"):
        made = slice_.run(before, after, footprints, out, radar_before=radar_before, radar_after=radar_after)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Damage grades",
        lead=f"{before.name} to {after.name}",
        inputs={"before": before, "after": after, "footprints": footprints},
        out=out,
        panels=lambda: [reporting.scene(before, "before"), reporting.scene(after, "after")],
        like=before,
    )
