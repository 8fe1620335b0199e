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


SCENE_LINES = 300
"""Lines of the modelled scene; longer imagery sees it again and again, forth and back."""


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
    from infra.stages import links
    from processors.ccsds import link as spacelink
    from processors.simulation import downlink

    definition = links.definition("terralimb")
    link = spacelink.link_from_mapping(definition)
    if spacecraft not in link.spacecraft:
        raise typer.BadParameter(f"--spacecraft {spacecraft}: the link knows {min(link.spacecraft)} to 99")
    steps = progress.Progress(Console(stderr=True))
    steps.announce(f"modelling {minutes:g} minutes of telemetry")
    sent, orbits = _modelled_telemetry(seed, minutes, link.layout.zone_length)
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


def _modelled_telemetry(seed: int, minutes: float, zone_length: int) -> tuple[dict[int, list[bytes]], str]:
    """Packets of everything modelled, by virtual channel, and the orbits of the GNSS satellites."""
    import numpy as np

    from infra.demonstration import modelled_input
    from processors import timescales
    from processors.simulation import occultation, packets

    start = float(timescales.gps_from_utc(modelled_input.START))
    sounded = occultation.simulate_occultations(start_gps=start, count=max(round(minutes), 1), seed=seed)
    orbit = sounded.receiver_orbit
    stop = max(float(orbit.time[-1]), start + 60.0 * minutes)
    beat = np.arange(min(float(orbit.time[0]), start), stop + 1.0) + 0.5
    sent = packets.telemetry(
        housekeeping_time=beat,
        slow_housekeeping_time=beat[::10],
        navigation=packets.navigation_records(
            orbit.time, position=orbit.position, velocity=orbit.velocity, clock_bias=orbit.clock_bias
        ),
        events=sounded.events,
        imagery=_modelled_imagery(seed, start, minutes),
        zone_length=zone_length,
    )
    return sent, sounded.sp3


def _modelled_imagery(seed: int, start: float, minutes: float) -> list[Any]:
    """Packets of lines: one scene, seen forth and back."""
    import numpy as np

    from infra.demonstration import modelled_input
    from processors.imagery import line_packet
    from processors.simulation import packets, scenes

    lines = round(60.0 * minutes / scenes.LINE_PERIOD)
    size = min(lines, SCENE_LINES)
    strip = scenes.simulate_strip(seed=seed, lines=size, center=modelled_input.CENTER, time=modelled_input.START).strip
    records: list[Any] = []
    for first in range(0, lines, size):
        seen = strip.isel(line=slice(None, None, 1 if first // size % 2 == 0 else -1)).isel(line=slice(lines - first))
        number = np.arange(first, first + seen.sizes["line"], dtype=np.float64)
        time = start + number * scenes.LINE_PERIOD
        records += packets.line_records(
            seen["counts"].to_numpy(),
            line_time=time,
            first_line=first,
            gain=line_packet.per_band(strip, "gain").tolist(),
            integration_time=line_packet.per_band(strip, "integration_time").tolist(),
        )
        records += packets.ancillary_records(
            time,
            first_line=first,
            edge_longitude=seen["edge_longitude"].to_numpy(),
            edge_latitude=seen["edge_latitude"].to_numpy(),
        )
    return records


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
