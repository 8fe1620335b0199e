"""The command `surface river-width`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def river_width(
    mask: Path = typer.Option(
        ..., "--mask", exists=True, dir_okay=False, help="Water as 0 and 1, or its probability or share from 0 to 1."
    ),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="Cross sections as .gpkg, .fgb or .geojson."),
    band: int | None = typer.Option(
        None, "--band", min=1, help="Band of the mask; default the one named probability, else the first."
    ),
    channels: Path | None = typer.Option(
        None, "--channels", exists=True, dir_okay=False, help="Where rivers are known to flow: raster or vector file."
    ),
    bridges: Path | None = typer.Option(
        None, "--bridges", exists=True, dir_okay=False, help="Known bridges, lines or polygons."
    ),
    spacing: float | None = typer.Option(
        None, "--spacing", min=0.01, help="Distance of cross sections in m; default three pixels."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Measure the width of rivers on a map of water.

    OUT holds one line a cross section, from bank to bank: `width_m` (length of water), `width_sigma_m` (one standard
    deviation), `bank_width_m` (islands included), `n_channels`, `flag`, `x`, `y`, `distance_along_m`, `direction`. A
    GeoPackage also holds the centerlines.

    Width is empty where flag is bridge, incomplete (cloud, no data, edge of the scene), junction, end or narrow; lake
    marks water much wider than the rest of its line. A probability or share of water tells banks better than a mask
    of 0 and 1: give band 2 of `surface water`. Lakes and ponds are not measured unless --channels names them.
    """
    from infra.imagery import report as reporting
    from infra.surface import river_width as slice_

    with raster_command.working("measuring rivers"):
        made = slice_.run(mask, out, band=band, channels=channels, bridges=bridges, spacing=spacing)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="River width",
        lead=mask.name,
        inputs={"mask": mask, "channels": channels, "bridges": bridges},
        out=out,
        panels=lambda: [reporting.layer(mask, band or 1, "water", label="1")],
        like=mask,
    )
