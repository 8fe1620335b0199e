"""The command `surface change`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def change(
    before: Path = typer.Option(..., "--before", exists=True, dir_okay=False, help="Raster of the earlier date."),
    after: Path = typer.Option(..., "--after", exists=True, dir_okay=False, help="Raster of the later date."),
    out: Path = raster_command.OUT,
    bands: str | None = typer.Option(None, "--bands", help="Numbers of the bands to compare, 1,2,3; default all."),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Map what changed between two dates, from all bands at once.

    Band 1 of OUT: 0 unchanged, 1 changed, 255 no data; band 2: probability of change.

    Gain and offset of a whole date (haze, sun, season) make no change, so rasters need no matching; they must lie
    over each other (`terralimb imagery coregister`). Clouds are change: mask them first (`terralimb imagery
    cloud-mask`) or read the map with the masks beside it.
    """
    from infra.imagery import report as reporting
    from infra.surface import change as slice_

    with raster_command.working("comparing"):
        made = slice_.run(before, after, out, bands=_numbers(bands))
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Change",
        lead=f"{before.name} to {after.name}",
        inputs={"before": before, "after": after},
        out=out,
        panels=lambda: [reporting.scene(before, "before"), reporting.scene(after, "after")],
    )


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) >= 1 for word in words):
        raise typer.BadParameter(f"--bands {text}: numbers of bands are wanted, as 1,2,3")
    return [int(word) for word in words]
