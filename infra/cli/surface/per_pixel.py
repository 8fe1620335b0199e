"""The commands `surface vegetation` and `surface land-cover`."""

from pathlib import Path

import typer

from infra.cli import raster_command, refusal

SCENE = typer.Option(..., "--scene", exists=True, dir_okay=False, help="Raster of reflectance.")
MASK = typer.Option(
    None, "--mask", exists=True, dir_okay=False, help="Mask of `terralimb imagery cloud-mask`: clouds have no value."
)


@refusal.guarded()
def vegetation(
    scene: Path = SCENE,
    bands: str = typer.Option(..., "--bands", help="Bands by name: red=3,nir=4[,blue=1]; with blue EVI is added."),
    out: Path = raster_command.OUT,
    mask: Path | None = MASK,
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Vegetation of one date: NDVI, EVI and fractional cover, each with its standard uncertainty.

    Bands of OUT: the layers, then one `..._sigma` each; no data where the scene has none or the mask says cloud or
    shadow.
    """
    from infra.imagery import report as reporting
    from infra.surface import per_pixel

    with raster_command.working("measuring"):
        made = per_pixel.run_vegetation(scene, out, bands=raster_command.numbered(bands), mask=mask)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Vegetation",
        lead=scene.name,
        inputs={"scene": scene, "mask": mask},
        out=out,
        panels=lambda: [reporting.scene(scene, "scene"), reporting.layer(out, 1, "NDVI", label="1")],
    )


@refusal.guarded()
def land_cover(
    scene: Path = SCENE,
    bands: str = typer.Option(..., "--bands", help="Bands by name: green=2,red=3,nir=4[,blue=1,swir1=5]"),
    out: Path = raster_command.OUT,
    mask: Path | None = MASK,
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Land cover of one date by documented rules, with the probability of the class.

    Band 1 of OUT: 1 water, 2 bare or built-up, 3 cropland, 4 grass or shrub, 5 forest, 255 no data; band 2:
    probability of the class. Not trained on local samples: a candidate, no basis for official areas.
    """
    from infra.imagery import report as reporting
    from infra.surface import per_pixel

    with raster_command.working("classifying"):
        made = per_pixel.run_land_cover(scene, out, bands=raster_command.numbered(bands), mask=mask)
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Land cover",
        lead=scene.name,
        inputs={"scene": scene, "mask": mask},
        out=out,
        panels=lambda: [reporting.scene(scene, "scene"), reporting.layer(out, 1, "land cover", label="class")],
    )
