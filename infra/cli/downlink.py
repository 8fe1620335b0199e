"""Commands of the downlink: recordings to space packets, modelled passes."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, help="Recordings of a downlink to space packets, every frame accounted for.")


@app.command()
def decode(
    files: list[Path] = typer.Argument(..., exists=True, dir_okay=False, help="Recordings of one link; merged."),
    link: Path = typer.Option(..., "--link", exists=True, dir_okay=False, help="LINK.yaml: what the stream is."),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for packets/ and completeness.json."),
    as_json: bool = typer.Option(False, "--json", help="Print the completeness account as one JSON object."),
) -> None:
    """Decode recordings to packets and account for every byte, frame and packet.

    Writes OUT/packets/<scid>/<vcid>/<apid>.bin (space packets back to back, idle packets left out) and
    OUT/completeness.json.
    """
    from processors import quality
    from processors.ccsds import link as links
    from processors.level0 import downlink

    definition = links.link_from_mapping(_mapping(link))
    try:
        decoded = downlink.decode([path.read_bytes() for path in files], link=definition)
    except quality.BadInputError as error:
        raise quality.BadInputError(error.cause, f"{', '.join(map(str, files))}: {error}") from error
    # Packets of an earlier decode beside this account would be packets it does not speak of.
    shutil.rmtree(out / "packets", ignore_errors=True)
    for channel, packets in decoded.packets.items():
        path = out / "packets" / str(channel.scid) / str(channel.vcid) / f"{channel.apid}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packets)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(decoded.completeness, indent=2)
    (out / "completeness.json").write_text(text + "\n")
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        _show(decoded.completeness)


@app.command()
def simulate(
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for the pass and its truth."),
    seed: int = typer.Option(1, "--seed", help="Seed of the pass."),
) -> None:
    """Model a pass of our own constellation as CADUs, with the truth beside it."""
    from infra.demonstration import modelled_input

    out.mkdir(parents=True, exist_ok=True)
    modelled = modelled_input.modelled_pass(seed)
    (out / "pass.cadu").write_bytes(modelled.cadus)
    (out / "gnss.sp3").write_text(modelled.sp3)
    (out / "truth.json").write_text(json.dumps(modelled.truth, indent=2) + "\n")
    Console().print(f"{len(modelled.cadus)} octets of CADUs in {out / 'pass.cadu'}, truth in {out / 'truth.json'}")


def _mapping(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} is not a link definition: {error}") from error
    if not isinstance(loaded, dict):
        raise typer.BadParameter(f"{path} is not a link definition: it holds no mapping")
    return loaded


def _show(account: dict[str, Any]) -> None:
    table = Table("scid", "vcid", "frames", "missing", "gaps", title=f"link {account['link']}")
    for row in account["virtual_channels"]:
        gaps = " ".join(f"{first}-{last}" if first != last else str(first) for first, last in row["gaps"][:6])
        table.add_row(*(str(row[name]) for name in ("scid", "vcid", "frames", "missing")), gaps)
    packets = Table("scid", "vcid", "apid", "packets", "missing")
    for row in account["packets"]:
        packets.add_row(*(str(row[name]) for name in ("scid", "vcid", "apid", "count", "missing")))
    console = Console()
    frames = ", ".join(f"{name} {count}" for name, count in account["frames"].items() if count)
    console.print(table, packets, f"frames: {frames}", sep="\n")
