"""Commands of the downlink: recordings to space packets, modelled passes."""

import json
import sys
from pathlib import Path
from typing import Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from infra.cli import progress

app = typer.Typer(no_args_is_help=True, help="Recordings of a downlink to space packets, every frame accounted for.")


@app.command()
def decode(
    files: list[Path] = typer.Argument(..., exists=True, dir_okay=False, help="Recordings of one link; merged."),
    link: Path = typer.Option(..., "--link", exists=True, dir_okay=False, help="LINK.yaml: what the stream is."),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for packets/ and completeness.json."),
    as_json: bool = typer.Option(False, "--json", help="Print the completeness account as one JSON object."),
) -> None:
    """Decode recordings to packets and account for every byte, frame and packet.

    Writes OUT/packets/<scid>/<vcid>/<apid>.bin (space packets back to back, idle packets left out),
    OUT/quarantine/ (frames and packets that failed a check, as received) and OUT/completeness.json.
    Recordings of several stations, pieces of one pass and repeated passes may be given together in any order.
    """
    from infra import packet_files
    from processors.ccsds import link as links

    definition = links.link_from_mapping(_mapping(link))
    with progress.octets("decoding", sum(path.stat().st_size for path in files)) as advance:
        account = packet_files.decode(files, link=definition, out=out, progress=advance)
    if as_json:
        sys.stdout.write(json.dumps(account, indent=2) + "\n")
    else:
        _show(account)
    for failed in account["failed"]:
        sys.stderr.write(f"terralimb: {failed['recording']}: {failed['reason']}\n")
    if account["failed"]:
        raise typer.Exit(1)


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
