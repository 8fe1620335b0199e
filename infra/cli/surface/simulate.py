"""The command that makes scenes of the surface with their truth."""

from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console

from infra.cli import raster_command, refusal


class Kind(StrEnum):
    """What is simulated."""

    WATER = "water"
    RIVER = "river"
    SHIP = "ship"
    FIRE = "fire"
    BURN = "burn"
    LANDSLIDE = "landslide"
    DAMAGE = "damage"


@refusal.guarded()
def simulate(
    kind: Kind = typer.Option(
        ...,
        "--kind",
        help="water: a flooded valley seen by radar and optics; river: known widths; ship: ships on a river with AIS; "
        "fire: fires by night or day; burn: a burn scar; landslide: scars on slopes; damage: damaged buildings.",
    ),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for rasters, vectors and truth.json."),
    seed: int = typer.Option(1, "--seed", min=0, help="Seed of all randomness."),
    size: int = typer.Option(400, "--size", min=64, max=4000, help="Rows and columns."),
    as_json: bool = raster_command.AS_JSON,
) -> None:
    """Make scenes with their exact truth: input for every command here, and the answer to compare with.

    Files whose name begins with `truth` are the answer; the others are what a command may be given. All scenes
    are invented: they lie in EPSG:32648 and show no real place.
    """
    from infra.surface import simulation

    made = simulation.run(kind.value, out, seed, size=size)
    raster_command.tell(made, as_json=as_json)
    if not as_json:
        Console().print(f"written to {out}; the truth is in {out / 'truth.json'}", soft_wrap=True)
