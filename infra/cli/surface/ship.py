"""The command `surface ship`."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from infra.cli import raster_command, refusal

if TYPE_CHECKING:
    from infra.surface import ship as ship_slice


@refusal.guarded()
def ship(
    sar: Path = typer.Option(..., "--sar", exists=True, dir_okay=False, help="Radar backscatter."),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="Ships as .gpkg, .fgb or .geojson."),
    sar_bands: str | None = typer.Option(
        None, "--sar-bands", help="Bands by polarization: vv=1,vh=2; default as the raster names them."
    ),
    sar_unit: str | None = typer.Option(
        None, "--sar-unit", help="db or linear; default what the raster states, or db where its values are negative."
    ),
    water: Path | None = typer.Option(
        None,
        "--water",
        exists=True,
        dir_okay=False,
        help="Map of water: OUT of `surface water`, or any mask of 0 and 1.",
    ),
    bridges: Path | None = typer.Option(
        None, "--bridges", exists=True, dir_okay=False, help="Known bridges; 50 m around them are not searched."
    ),
    berths: Path | None = typer.Option(
        None, "--berths", exists=True, dir_okay=False, help="Berths and quays: ships within 50 m are moored."
    ),
    layover: Path | None = typer.Option(
        None, "--layover", exists=True, dir_okay=False, help="Raster of layover and radar shadow, not searched."
    ),
    earlier: list[Path] = typer.Option(
        [],
        "--earlier",
        exists=True,
        dir_okay=False,
        help="Radar of an earlier date, same bands and unit; repeat. What stands out then too is no ship.",
    ),
    reference_water: Path | None = typer.Option(
        None,
        "--reference-water",
        exists=True,
        dir_okay=False,
        help="Usual probability of water of the month: what stands where there is none is no ship.",
    ),
    ais: Path | None = typer.Option(
        None, "--ais", exists=True, dir_okay=False, help="Reports of ships as CSV: mmsi,time,lat,lon,sog,cog[,length]."
    ),
    time: str | None = typer.Option(
        None, "--time", help="Time of the image in UTC, as 2026-03-01T10:45:12; needed with --ais."
    ),
    flight_azimuth: float | None = typer.Option(
        None, "--flight-azimuth", help="Direction of flight in degrees from north; the radar looks to the right."
    ),
    incidence: float | None = typer.Option(
        None, "--incidence", min=5.0, max=80.0, help="Angle of incidence in degrees, with --flight-azimuth."
    ),
    ambiguity_shift: float | None = typer.Option(
        None, "--ambiguity-shift", min=1.0, help="Distance of azimuth ambiguities in m, with --flight-azimuth."
    ),
    looks: float | None = typer.Option(None, "--looks", min=0.5, help="Equivalent number of looks; default estimated."),
    resolution: float | None = typer.Option(
        None, "--resolution", min=0.1, help="Resolution of the image in m; default estimated."
    ),
    report: Path | None = raster_command.REPORT,
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Find ships on water in a radar scene, and join them with the positions ships report.

    OUT holds one point a ship: `lat lon length_m length_sigma_m width_m heading snr_db confidence setting ships`, and
    `ais` (matched, dark, or unknown without reports) with `mmsi`. A GeoPackage also holds their boxes and, with --ais,
    where each reported ship was: matched, silent, small or unsearched.

    The heading may be the opposite one. Setting is free or moored (at the bank or a berth). Water within two pixels of
    the bank is not searched, one pixel in rivers narrower than six; the report states the area searched and the
    false alarms expected. Islets in the map of water are told from ships by --earlier or --reference-water; without
    them by their brightness and by what else the map left out. Without --water there is no search: make a map with
    `surface water` first.
    """
    from infra.imagery import report as reporting
    from infra.surface import ship as slice_
    from retrieval.surface import ship as algorithm

    if (incidence is not None or ambiguity_shift is not None) and flight_azimuth is None:
        raise typer.BadParameter("--incidence and --ambiguity-shift need --flight-azimuth")
    shifted = None
    if ambiguity_shift is not None and flight_azimuth is not None:
        shifted = algorithm.Ambiguity(ambiguity_shift, flight_azimuth)
    with raster_command.working("looking for ships"):
        made = slice_.run(
            sar,
            out,
            sar_bands=None if sar_bands is None else raster_command.numbered(sar_bands, option="--sar-bands"),
            sar_unit=_unit(sar_unit),
            water=water,
            bridges=bridges,
            berths=berths,
            earlier=earlier,
            reference_water=reference_water,
            layover=layover,
            ais=_reports(ais, time, flight_azimuth, incidence),
            ambiguity=shifted,
            looks=looks,
            resolution=resolution,
        )
    raster_command.finish(
        made,
        report,
        as_json=as_json,
        title="Ships",
        lead=sar.name,
        inputs={"sar": sar, "water": water, "bridges": bridges, "berths": berths, "layover": layover, "ais": ais},
        out=out,
        panels=lambda: [reporting.layer(sar, 1, "backscatter", label="1")],
        like=sar,
    )


def _unit(text: str | None) -> str | None:
    if text is not None and text.lower() not in ("db", "linear"):
        raise typer.BadParameter(f"--sar-unit {text}: db or linear is wanted")
    return None if text is None else text.lower()


def _reports(
    path: Path | None, time: str | None, flight_azimuth: float | None, incidence: float | None
) -> "ship_slice.AisList | None":
    from infra.surface import ship as slice_
    from retrieval.surface import ais_match

    if path is None:
        return None
    if time is None:
        raise typer.BadParameter("--ais needs --time, the time of the image in UTC")
    try:
        taken = datetime.datetime.fromisoformat(time)
    except ValueError as error:
        raise typer.BadParameter(f"--time {time}: a time in UTC is wanted, as 2026-03-01T10:45:12") from error
    known = flight_azimuth is not None and incidence is not None
    look = ais_match.Look(flight_azimuth or 0.0, incidence or 0.0) if known else None
    return slice_.AisList(path, taken, look)
