"""The command `surface burn`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal


@refusal.guarded()
def burn(
    before: Path = typer.Option(..., "--before", exists=True, dir_okay=False, help="Reflectance before the fire."),
    after: Path = typer.Option(..., "--after", exists=True, dir_okay=False, help="Reflectance after the fire."),
    bands: str = typer.Option(
        "nir=1,swir2=2",
        "--bands",
        help="Band numbers in both rasters: nir=..,swir2=..[,swir1=..,red=..,green=..,blue=..].",
    ),
    out: Path = raster_command.OUT,
    mask_before: Path | None = typer.Option(
        None, "--mask-before", exists=True, dir_okay=False, help="Mask of `imagery cloud-mask`; 0 is clear."
    ),
    mask_after: Path | None = typer.Option(
        None, "--mask-after", exists=True, dir_okay=False, help="The same of the later date."
    ),
    fires: Path | None = typer.Option(
        None, "--fires", exists=True, dir_okay=False, help="Fires that were seen (FIRMS CSV): small patches are kept."
    ),
    bare_soil_test: bool = typer.Option(
        False, "--bare-soil-test", help="Ground that became brighter, as harvested fields do, is unburned."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Map burn severity from near and short-wave infrared before and after a fire.

    Band 1 of OUT: 1 regrowth, 2 unburned, 3 low, 4 moderate-low, 5 moderate-high, 6 high severity, 255 no data; band 2
    probability of the class; then dNBR x 1000, its standard deviation, RBR x 1000.

    The change of season is taken out by the scene's own unburnt vegetation, kind by kind, so the scene should hold
    some: more unburnt than burnt ground. Name swir1, red, green and blue where there are any: they tell fields that
    ripened or were harvested from char. Such ground is unburned; its share is reported. A displacement of the dates
    below two pixels is measured and taken out. Dates of the same season and sun are best. Cloud, shadow and water have
    no class: give the masks.
    """
    from infra.imagery import report as reporting
    from infra.surface import burn_severity as slice_
    from infra.surface import fire_list

    seen = None
    if fires is not None:
        listed = fire_list.read(fires).fires
        seen = (listed.longitude, listed.latitude)
    with raster_command.working("comparing"):
        made = slice_.run(
            before,
            after,
            out,
            bands=raster_command.numbered(bands),
            mask_before=mask_before,
            mask_after=mask_after,
            fires=seen,
            bare_soil_test=bare_soil_test,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Burn severity",
        lead=f"{before.name} to {after.name}",
        inputs={"before": before, "after": after, "mask_before": mask_before, "mask_after": mask_after},
        out=out,
        panels=lambda: [reporting.scene(before, "before"), reporting.scene(after, "after")],
    )
