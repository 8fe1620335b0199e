"""Commands of the downlink: recordings to space packets, modelled passes."""

import json
import sys
from pathlib import Path
from typing import Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from infra.cli import completeness, progress, reception

app = typer.Typer(no_args_is_help=True, help="Recordings of a downlink to space packets, every frame accounted for.")
app.command()(reception.receive)
app.command()(completeness.report)


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
    seed: int = typer.Option(1, "--seed", help="Seed of everything modelled: the same seed makes the same files."),
    minutes: float = typer.Option(
        2.0, "--minutes", min=0.1, max=60.0, help="Minutes of imagery; occultations about one a minute."
    ),
    ber: float = typer.Option(1e-5, "--ber", min=0.0, max=0.01, help="Probability that a bit arrives wrong."),
    drop: float = typer.Option(0.001, "--drop", min=0.0, max=1.0, help="Probability that a frame never arrives."),
    stations: int = typer.Option(1, "--stations", min=1, max=20, help="Stations, each with losses of its own."),
    spacecraft: int = typer.Option(76, "--spacecraft", help="Spacecraft identifier: 76 is C001, up to 99 for C024."),
) -> None:
    """Model a pass of our own constellation as CADUs, with the truth beside it.

    Writes OUT/pass.cadu, or OUT/station-1.cadu and so on for several stations; OUT/link.yaml, which describes them;
    OUT/gnss.sp3, the orbits that go with the occultations; and OUT/truth.json: by station and for all of them
    together, frames sent, lost and damaged beyond repair, and packets sent and surviving.

    Then: terralimb downlink decode OUT/*.cadu --link OUT/link.yaml --out DECODED
    """
    from infra.demonstration import modelled_telemetry
    from infra.stages import links
    from processors.ccsds import link as spacelink
    from processors.simulation import downlink

    definition = links.definition("terralimb")
    link = spacelink.link_from_mapping(definition)
    if spacecraft not in link.spacecraft:
        raise typer.BadParameter(f"--spacecraft {spacecraft}: the link knows {min(link.spacecraft)} to 99")
    steps = progress.Progress(Console(stderr=True))
    steps.announce(f"modelling {minutes:g} minutes of telemetry")
    sent, orbits = modelled_telemetry.telemetry(seed, minutes=minutes, zone_length=link.layout.zone_length)
    out.mkdir(parents=True, exist_ok=True)
    _remove_recordings(out)
    (out / "link.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    (out / "gnss.sp3").write_text(orbits)
    names = ["pass"] if stations == 1 else [f"station-{number + 1}" for number in range(stations)]
    truths = {}
    for number, name in enumerate(names):
        received = downlink.assemble_pass(
            sent, link=link, spacecraft=spacecraft, frame_loss=drop, bit_error_rate=ber, seed=seed * stations + number
        )
        path = out / f"{name}.cadu"
        path.write_bytes(received.cadus)
        truths[name] = received.truth
        steps.announce(f"{path}: {len(received.cadus)} octets")
    together = truths[names[0]]
    if stations > 1:
        lost = _lost_everywhere(list(truths.values()))
        together = downlink.assemble_pass(sent, link=link, spacecraft=spacecraft, lost_frames=lost).truth
    asked = {"spacecraft": spacecraft, "seed": seed, "minutes": minutes, "ber": ber, "drop": drop}
    (out / "truth.json").write_text(json.dumps({**asked, **together, "stations": truths}, indent=2) + "\n")
    Console().print(f"{', '.join(f'{name}.cadu' for name in names)} in {out}, truth in {out / 'truth.json'}")


def _remove_recordings(out: Path) -> None:
    """Recordings of an earlier run beside this truth would be recordings it does not speak of."""
    for path in [out / "pass.cadu", *out.glob("station-*.cadu")]:
        path.unlink(missing_ok=True)


def _lost_everywhere(truths: list[dict[str, Any]]) -> set[tuple[int, int]]:
    """Frames that no station received well, as (virtual channel, number)."""
    lost = [
        {(row["vcid"], number) for row in truth["frames"] for number in [*row["lost"], *row["damaged"]]}
        for truth in truths
    ]
    return set.intersection(*lost)


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
