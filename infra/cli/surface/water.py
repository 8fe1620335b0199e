"""The commands `surface water` and `surface flood`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from infra.cli import raster_command, refusal

if TYPE_CHECKING:
    from infra.surface import terrain_source

SAR_BANDS = typer.Option(
    None, "--sar-bands", help="Bands by polarization: vv=1,vh=2; default as the raster names them."
)
SAR_UNIT = typer.Option(
    None, "--sar-unit", help="db or linear; default what the raster states, or db where its values are negative."
)
OPTICAL = typer.Option(
    None, "--optical", exists=True, dir_okay=False, help="Reflectance within 24 hours of the radar, any grid."
)
OPTICAL_BANDS = typer.Option(
    None, "--optical-bands", help="Bands by name: green=3,nir=8,swir1=11; blue, red and swir2 help where there are."
)
OPTICAL_MASK = typer.Option(
    None, "--optical-mask", exists=True, dir_okay=False, help="Mask of `terralimb imagery cloud-mask`."
)
TERRAIN = typer.Option(
    None, "--terrain", exists=True, dir_okay=False, help="Layers of `terralimb surface terrain`, made once per place."
)
DEM = typer.Option(
    None, "--dem", exists=True, dir_okay=False, help="Heights the layers are made of where there are none."
)
INCIDENCE = typer.Option(None, "--incidence", help="Angle of incidence of the radar [degree], with --dem.")
LOOK_AZIMUTH = typer.Option(
    None, "--look-azimuth", help="Azimuth of the radar's look [degree], with --dem: layover and shadow are masked."
)
REFERENCE = typer.Option(
    None, "--reference-water", exists=True, dir_okay=False, help="Usual probability of water of the month, 0 to 1."
)


@refusal.guarded()
def water(
    out: Path = raster_command.OUT,
    sar: Path | None = typer.Option(None, "--sar", exists=True, dir_okay=False, help="Radar backscatter."),
    sar_bands: str | None = SAR_BANDS,
    sar_unit: str | None = SAR_UNIT,
    optical: Path | None = OPTICAL,
    optical_bands: str | None = OPTICAL_BANDS,
    optical_mask: Path | None = OPTICAL_MASK,
    terrain: Path | None = TERRAIN,
    dem: Path | None = DEM,
    incidence: float | None = INCIDENCE,
    look_azimuth: float | None = LOOK_AZIMUTH,
    reference_water: Path | None = REFERENCE,
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Map open water from radar, reflectance or both.

    Band 1 of OUT: 0 dry, 1 water, 255 no data; band 2: probability of water, 255 no data.

    The map lies on the grid of the radar, or of the reflectance where there is no radar. Terrain keeps water out of
    places too steep and high for it, and, with incidence and azimuth, radar out of layover and shadow: there the map
    has no data unless reflectance saw the ground.
    """
    from infra.imagery import report as reporting
    from infra.surface import water as slice_

    with raster_command.working("mapping water"):
        made = slice_.run(
            out,
            sar=sar,
            sar_bands=_bands(sar_bands, "--sar-bands"),
            sar_unit=_unit(sar_unit),
            optical=optical,
            optical_bands=_bands(optical_bands, "--optical-bands"),
            optical_mask=optical_mask,
            terrain=terrain,
            dem=dem,
            look=_look(incidence, look_azimuth),
            reference_water=reference_water,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Water",
        lead=_lead(sar, optical),
        inputs={"sar": sar, "optical": optical, "terrain": terrain, "dem": dem, "reference": reference_water},
        out=out,
        panels=lambda: [
            reporting.layer(out, 1, "water", label="class"),
            reporting.layer(out, 2, "probability", label="1"),
        ],
    )


@refusal.guarded()
def flood(
    out: Path = raster_command.OUT,
    after: Path | None = typer.Option(
        None, "--after", exists=True, dir_okay=False, help="Radar backscatter of the date mapped."
    ),
    before: list[Path] | None = typer.Option(
        None, "--before", exists=True, dir_okay=False, help="The same of an earlier date of the same orbit; repeatable."
    ),
    sar_bands: str | None = SAR_BANDS,
    sar_unit: str | None = SAR_UNIT,
    optical: Path | None = OPTICAL,
    optical_bands: str | None = OPTICAL_BANDS,
    optical_mask: Path | None = OPTICAL_MASK,
    terrain: Path | None = TERRAIN,
    dem: Path | None = DEM,
    incidence: float | None = INCIDENCE,
    look_azimuth: float | None = LOOK_AZIMUTH,
    reference_water: Path | None = REFERENCE,
    reference_of_other_month: bool = typer.Option(
        False, "--reference-of-other-month", help="The usual water is of another month: believe it less."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Map flood: water now where there is usually none.

    Band 1 of OUT: 0 dry, 1 permanent water, 2 flood, 3 probable flood, 4 excluded (terrain no water can stand on,
    layover, radar shadow), 255 no data; band 2: probability of flood; band 3: probability of water.

    An earlier date or the usual water of the month tells flood from permanent water; with neither all water is
    probable flood, and the report says so. A reservoir that swings through the year needs the month's own reference.
    """
    from infra.imagery import report as reporting
    from infra.surface import flood as slice_

    with raster_command.working("mapping flood"):
        made = slice_.run(
            after,
            out,
            before=before or (),
            sar_bands=_bands(sar_bands, "--sar-bands"),
            sar_unit=_unit(sar_unit),
            optical=optical,
            optical_bands=_bands(optical_bands, "--optical-bands"),
            optical_mask=optical_mask,
            terrain=terrain,
            dem=dem,
            look=_look(incidence, look_azimuth),
            reference_water=reference_water,
            reference_same_month=not reference_of_other_month,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Flood",
        lead=_lead(after, optical),
        inputs={"after": after, **_numbered(before), "optical": optical, "reference": reference_water},
        out=out,
        panels=lambda: [
            reporting.layer(out, 1, "flood", label="class"),
            reporting.layer(out, 2, "probability", label="1"),
        ],
    )


def _bands(text: str | None, option: str) -> dict[str, int] | None:
    return None if text is None else raster_command.numbered(text, option=option)


def _unit(text: str | None) -> str | None:
    if text is not None and text.lower() not in ("db", "linear"):
        raise typer.BadParameter(f"--sar-unit {text}: db or linear is wanted")
    return None if text is None else text.lower()


def _look(incidence: float | None, azimuth: float | None) -> "terrain_source.Look | None":
    from infra.surface import terrain_source

    if incidence is None and azimuth is None:
        return None
    if incidence is None or azimuth is None:
        raise typer.BadParameter("--incidence and --look-azimuth belong together")
    return terrain_source.Look(incidence, azimuth)


def _lead(sar: Path | None, optical: Path | None) -> str:
    return " and ".join(path.name for path in (sar, optical) if path is not None)


def _numbered(before: list[Path] | None) -> dict[str, Any]:
    return {f"before {number}": path for number, path in enumerate(before or (), 1)}
