"""Commands of the catalogue."""

import json
import sys

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings
from infra.cli import catalogue_care, catalogue_index, catalogue_notice

app = typer.Typer(no_args_is_help=True, help="Find what has been published, and look after it.")
app.command("withdraw")(catalogue_care.withdraw)
app.command("hold")(catalogue_care.hold)
app.command("release")(catalogue_care.release)
app.command("retention-plan")(catalogue_care.retention_plan)
app.command("retention-run")(catalogue_care.retention_run)
app.command("reconcile")(catalogue_care.reconcile)
app.command("backup")(catalogue_care.backup)
app.command("restore")(catalogue_care.restore)
app.command("replay")(catalogue_care.replay)
app.command("export")(catalogue_care.export)
app.command("care")(catalogue_care.care)
app.command("timeliness")(catalogue_care.timeliness)
app.command("publish")(catalogue_notice.publish)
app.add_typer(catalogue_notice.app, name="notice")
app.command("install-pgstac")(catalogue_index.install_pgstac)
app.command("remove-pgstac")(catalogue_index.remove_pgstac)


@app.command()
def search(
    sector: str | None = typer.Option(None, "--sector", help="natural-resources, ecology, emergency, weather, ..."),
    bbox: str | None = typer.Option(None, "--bbox", metavar="W,S,E,N", help="Degrees, WGS 84."),
    datetime: str | None = typer.Option(None, "--datetime", help="Instant or interval A/B in ISO 8601; .. is open."),
    product: str | None = typer.Option(None, "--product", help="Product code, as `terralimb product list` shows it."),
    limit: int = typer.Option(20, "--limit", min=1, max=10_000),
    as_json: bool = typer.Option(False, "--json", help="Print a STAC item collection."),
) -> None:
    """Search the published items by sector, place, time and product."""
    from infra import catalog_store, database

    chosen = settings.current()
    if chosen.database_url is None and not (chosen.home / "terralimb.sqlite").exists():
        raise FileNotFoundError(
            f"nothing has been published in {chosen.home} yet: run `terralimb demo`, or set TERRALIMB_HOME"
        )
    catalog = catalog_store.CatalogStore(database.engine(chosen.resolved_database_url()))
    try:
        found = catalog.search(
            sector=sector, bbox=_bbox(bbox), datetime_range=_interval(datetime), product=product, limit=limit
        )
    except catalog_store.CatalogError as error:
        raise typer.BadParameter(str(error)) from error
    items = [record.item for record in found]
    if as_json:
        sys.stdout.write(json.dumps({"type": "FeatureCollection", "features": items}, ensure_ascii=False) + "\n")
        return
    table = Table(
        Column("item", no_wrap=True, overflow="ignore"), "sector", Column("from", no_wrap=True), "revision", box=None
    )
    for record in found:
        properties = record.item["properties"]
        when = properties.get("datetime") or properties.get("start_datetime")
        table.add_row(record.item["id"], record.sector, when[:16], str(record.revision))
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _bbox(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not W,S,E,N in degrees") from None
    return west, south, east, north


def _interval(text: str | None) -> tuple[str | None, str | None] | None:
    if text is None:
        return None
    start, _, end = text.partition("/")
    end = end if "/" in text else start
    return (None if start in {"", ".."} else start), (None if end in {"", ".."} else end)
