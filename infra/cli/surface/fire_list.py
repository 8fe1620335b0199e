"""The command `surface fire-list`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def fire_list(
    source: Path = typer.Option(..., "--csv", exists=True, dir_okay=False, help="List of FIRMS, MODIS or VIIRS."),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="Vector file to write: .gpkg, .fgb or .geojson."),
    districts: Path | None = typer.Option(
        None, "--districts", exists=True, dir_okay=False, help="Outlines of districts, whose code each fire gets."
    ),
    bbox: str | None = typer.Option(
        None, "--bbox", help="West,south,east,north in degrees; fires outside are left out."
    ),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Take in a list of fires and tell the district of each.

    OUT holds one point a fire: `lat lon time t4 t11 frp_mw confidence satellite sensor static_flag district_code
    district_en district_zh`. Rows that are no fires, and detections listed twice, are counted and named in the report.
    """
    from infra.surface import fire_list as slice_

    made = slice_.run(source, out, districts=districts, bounds=_box(bbox))
    raster_command.tell({**made, "output": str(out)}, as_json=as_json)


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        west, south, east, north = (float(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--bbox {text}: west,south,east,north is wanted, as 105.2,28.1,110.2,32.3") from error
    return west, south, east, north
