"""Commands for an emergency: products of an area now, ahead of everything else."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings

if TYPE_CHECKING:
    from infra import emergency_run

app = typer.Typer(no_args_is_help=True, help="Products of an area now, ahead of everything else, and their alerts.")


@app.callback()
def _group() -> None:
    """Products of an area now, and their alerts."""


@app.command()
def run(
    bbox: str = typer.Option(..., "--bbox", metavar="W,S,E,N", help="Area in degrees, WGS 84: 106.2,29.3,106.9,29.9"),
    since: str = typer.Option(
        ...,
        "--since",
        help="Begin of the event (UTC), 2026-07-15T06:00: scenes from then on are mapped, earlier ones are reference.",
    ),
    until: str | None = typer.Option(
        None, "--until", help="The request ends then; scenes landing before are answered."
    ),
    product: str | None = typer.Option(
        None,
        "--product",
        help="Default flood and fire, as the scenes allow; else of flood, water, fire, burn, landslide, ship, "
        "segments and the codes of `terralimb product list`, several with commas.",
    ),
    land: list[Path] = typer.Option(
        [], "--land", exists=True, dir_okay=False, help="Scene to put into the landing bucket first; may be repeated."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Map an area from the scenes that have landed: products and alerts are published as they are made.

    The request stays in force: a scene that lands later is answered by the scheduler in its emergency pool, before
    routine work. The same request again makes only what is new. In the scheduler's pages the same is the DAG
    respond_emergency with these parameters.

    Exit status 0: every product asked for was made. 1: no scene covers the area and time, or a product could not be
    made; the table says why.
    """
    from infra import emergency_run
    from infra.embedded import installation
    from infra.stages import emergency

    names = emergency.DEFAULT_PRODUCTS if product is None else [name.strip() for name in product.split(",")]
    try:
        asked = emergency.request(bbox=_edges(bbox), since=since, until=until, products=names)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    console = Console(stderr=True)
    with installation.attached(settings.current(), announce=lambda text: console.print(text, highlight=False)) as here:
        emergency_run.land(land, here)
        reply = emergency_run.answer(asked, here, lambda text: console.print(text, highlight=False, soft_wrap=True))
    _show(reply, as_json=as_json)
    raise typer.Exit(0 if reply.succeeded or (product is None and reply.made) else 1)


def _edges(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        wanted = "west,south,east,north in degrees are wanted, as 106,29,107,30"
        raise typer.BadParameter(f"--bbox {text}: {wanted}") from None


def _show(reply: "emergency_run.Reply", *, as_json: bool) -> None:
    if as_json:
        document = {**dataclasses.asdict(reply), "succeeded": reply.succeeded}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    for key, reason in reply.unreadable:
        sys.stderr.write(f"warning: {key} was not read: {reason}\n")
    if not reply.answers:
        sys.stderr.write("terralimb: no landed scene covers the area since then and can give these products\n")
        return
    table = Table("product", "scene", "state", Column("item or reason", overflow="fold"), "alerts", "s", box=None)
    for one in reply.answers:
        told = one.item or one.reason or ""
        scene = one.scene.rpartition("/")[2]
        table.add_row(one.product, scene, one.state, told, str(len(one.alerts)), f"{one.seconds:.0f}")
    console.print(table)
    if reply.missing:
        console.print(f"no scene gave {', '.join(reply.missing)}", highlight=False)
    console.print(f"request {reply.request}, {reply.seconds:.0f} s", highlight=False)
