"""Commands about the products this system can make."""

import json
import sys

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="The products of every sector.")


@app.callback()
def _group() -> None:
    """Products of every sector."""


@app.command("list")
def list_products(as_json: bool = typer.Option(False, "--json", help="Print one JSON array.")) -> None:
    """Show every product of every sector: code, titles, inputs, latency target."""
    from products.sectors import definition, registry

    rows = [definition.describe(product) for product in registry.definitions()]
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
        return
    table = Table("sector", "code", "title", "标题", "latency", "validity")
    for row in rows:
        names = ("sector", "code", "title_en", "title_zh", "latency_target", "validity")
        table.add_row(*(str(row[name]) for name in names))
    Console().print(table)
