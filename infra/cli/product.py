"""Commands about the products this system can make."""

import json
import sys
from typing import Any

import typer
from rich import markup
from rich.console import Console
from rich.table import Table

from infra.cli import refusal

app = typer.Typer(no_args_is_help=True, help="The products of every sector.")

AS_JSON = typer.Option(False, "--json", help="Print JSON.")
CODE = typer.Argument(..., help="Product code as in `terralimb product list`, e.g. open-water-extent.", metavar="CODE")


@app.callback()
def _group() -> None:
    """Products of every sector."""


@app.command("list")
@refusal.guarded()
def list_products(
    sector: str = typer.Option(
        "",
        "--sector",
        metavar="CODE",
        help="Only this sector: natural-resources, rural-revitalization, ecology, transport or emergency.",
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Show every product of every sector: code, titles, inputs, vector layers, latency target.

    Example: terralimb product list --sector emergency
    """
    from products.sectors import definition, registry

    rows = [definition.describe(product) for product in registry.definitions()]
    known = list(dict.fromkeys(row["sector"] for row in rows))
    if sector and sector not in known:
        raise typer.BadParameter(f"no sector {sector}; there are {', '.join(known)}")
    rows = [row for row in rows if not sector or row["sector"] == sector]
    if as_json:
        _print_json(rows)
        return
    table = Table()
    table.add_column("code", no_wrap=True)
    for name in ("title 标题", "inputs", "vectors", "promise"):
        table.add_column(name)
    for row in rows:
        inputs = ", ".join((*row["required_bands"], *row["required_layers"])) or "any"
        titles = f"{row['title_zh']}\n{row['title_en']}"
        table.add_row(row["code"], titles, inputs, _outlined(row) or "-", f"{row['validity']}\n{row['latency_target']}")
    Console().print(table)


@app.command("show")
@refusal.guarded()
def show(code: str = CODE, as_json: bool = AS_JSON) -> None:
    """Explain one product: what it shows and what it is not, inputs, classes, parameters, promise.

    The parameters are those in force, with the operator's values where the setting `product_parameters` names a file.

    Example: terralimb product show open-water-extent
    """
    from infra import product_parameters
    from products import provenance
    from products.sectors import definition

    chosen = product_parameters.in_force(_definition(code))
    row = definition.describe(chosen)
    row["parameters"] = provenance.plain(chosen.parameters)
    row["parameters_sha256"] = provenance.parameters_hash(chosen.parameters)
    if as_json:
        _print_json(row)
        return
    console = Console()
    console.print(f"[bold]{markup.escape(row['title_zh'])}  {markup.escape(row['title_en'])}[/bold]  ({row['code']})")
    console.print(markup.escape(row["description_zh"]))
    console.print(markup.escape(row["description_en"]))
    console.print(_facts(row))
    if row["classes"]:
        classes = Table("class", "名称", "name")
        for item in row["classes"]:
            classes.add_row(str(item["value"]), item["name_zh"], item["name_en"])
        console.print(classes)
    values = Table("parameter", "value")
    for name, value in _flat(row["parameters"]):
        values.add_row(name, markup.escape(str(value)))
    console.print(values)


@app.command("parameters")
@refusal.guarded()
def parameters(code: str = CODE) -> None:
    """Print the parameters in force as YAML, with the hash that the provenance states.

    Keep the file, change what has to differ, and name it in the setting `product_parameters`
    (TERRALIMB_PRODUCT_PARAMETERS): values of another kind and unknown names are refused.

    Example: terralimb product parameters open-water-extent > products.yaml
    """
    from infra import product_parameters

    sys.stdout.write(product_parameters.as_yaml(product_parameters.in_force(_definition(code))))


def _definition(code: str) -> Any:
    from products.sectors import registry

    try:
        return registry.definition_of(code)
    except KeyError as error:
        raise typer.BadParameter(f"{error.args[0]} (see `terralimb product list`)") from error


def _facts(row: dict[str, Any]) -> Table:
    facts = Table(show_header=False, box=None)
    for name, value in (
        ("sector", row["sector"]),
        ("kind", row["kind"]),
        ("layers", ", ".join(f"{layer['name']} [{layer['units']}]" for layer in row["layers"]) or "-"),
        ("bands needed", ", ".join(row["required_bands"]) or "none"),
        ("layers needed", ", ".join(row["required_layers"]) or "none"),
        ("dates needed", row["minimum_dates"]),
        ("polygons of", _outlined(row) or "-"),
        ("latency target", row["latency_target"]),
        ("validity", row["validity"]),
        ("parameters SHA-256", row["parameters_sha256"]),
    ):
        facts.add_row(name, markup.escape(str(value)))
    return facts


def _outlined(row: dict[str, Any]) -> str:
    """English names of the classes whose areas are delivered as polygons."""
    return ", ".join(item["name_en"] for item in row["classes"] if item["value"] in row["outlined_classes"])


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested parameters as dotted names."""
    if not isinstance(values, dict) or not values:
        return [(prefix, values)]
    return [pair for name, value in values.items() for pair in _flat(value, f"{prefix}.{name}" if prefix else name)]


def _print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
