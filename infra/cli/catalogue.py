"""Commands of the catalogue."""

import json
import sys
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings
from infra.cli import catalogue_care, catalogue_index, catalogue_notice

if TYPE_CHECKING:
    from infra import catalog_store

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
    """Search the published items by sector, place, time and product.

    Exit status 0: searched, whether or not there is anything. 2: there is no such sector or product.
    """
    from infra import catalog_store, database
    from infra.delivery import identity

    chosen = settings.current()
    if sector is not None and sector not in identity.SECTORS:
        raise typer.BadParameter(f"no sector {sector!r:.80}; there are {', '.join(identity.SECTORS)}")
    if chosen.database_url is None and not (chosen.home / "terralimb.sqlite").exists():
        raise FileNotFoundError(
            f"nothing has been published in {chosen.home} yet: run `terralimb demo`, or set TERRALIMB_HOME"
        )
    catalog = catalog_store.CatalogStore(database.engine(chosen.resolved_database_url()))
    if product is not None:
        _check_product(product, catalog)
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


def _check_product(product: str, catalog: "catalog_store.CatalogStore") -> None:
    """Refuse what is no product: neither one of the sectors, nor one that was published."""
    import sqlalchemy as sa

    from infra import catalog_store, database
    from infra.stages import occultation, occultation_day
    from products.sectors import registry

    with database.reading(catalog.engine) as connection:
        published = set(connection.execute(sa.select(catalog_store.collection_table.c.product).distinct()).scalars())
    made = {occultation.COLLECTION, occultation_day.COLLECTION, *(one.code for one in registry.definitions())}
    if product not in published | made:
        raise typer.BadParameter(f"no product {product!r:.80}; there are {', '.join(sorted(published | made))}")


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
