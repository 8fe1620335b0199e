"""The command that simulates occultations."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from processors.simulation import wave_occultation


class Made(NamedTuple):
    """The two files of one event.

    Attributes
    ----------
    occultation_id : str
        Identity of the event.
    level1b, truth : bytes
        NetCDF files.
    """

    occultation_id: str
    level1b: bytes
    truth: bytes


def simulate(
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for level 1B, and truth/ beneath it."),
    cases: int = typer.Option(20, "--cases", min=1, max=10_000, help="Number of occultations."),
    seed: int = typer.Option(1, "--seed", min=0, max=99, help="The same seed makes the same files."),
    rate: float = typer.Option(100.0, "--rate", min=20.0, max=200.0, help="Samples per second."),
    climate: str | None = typer.Option(None, "--climate", help="Only one climate; all five in turn without it."),
    radiosonde: Path | None = typer.Option(
        None, "--radiosonde", exists=True, dir_okay=False, help="TEMP BUFR whose ascents are the atmospheres, in turn."
    ),
    noise_free: bool = typer.Option(False, "--noise-free", help="No thermal noise, clock residuals or signal loss."),
    workers: int = typer.Option(1, "--workers", min=1, max=256, help="Processes that work in parallel."),
) -> None:
    """Simulate occultations by wave optics: level 1B as a receiver would give it, and the truth.

    Five climates, setting and rising, GPS L1/L2 and BeiDou B1C/B2a in turn, with ionosphere, thermal noise, loss of the
    second signal and clock residuals. Writes OUT/<occultation id>.nc and OUT/truth/<occultation id>.nc.

    Then: terralimb occultation retrieve OUT/*.nc --out PROFILES
    """
    from processors.simulation import wave_occultation

    series = _series(cases, seed=seed, climate=climate, radiosonde=radiosonde)
    parameters = wave_occultation.EventParameters(rate=rate)
    if noise_free:
        parameters = wave_occultation.EventParameters(rate=rate, noise=0.0, clock=0.0, loss=False)
    (out / "truth").mkdir(parents=True, exist_ok=True)
    console, started = Console(stderr=True), time.monotonic()
    made = _made(series, parameters=parameters, workers=min(workers, cases))
    for number, event in enumerate(
        track(made, "simulating", total=cases, console=console, disable=not console.is_terminal), start=1
    ):
        (out / "truth" / f"{event.occultation_id}.nc").write_bytes(event.truth)
        (out / f"{event.occultation_id}.nc").write_bytes(event.level1b)
        if not console.is_terminal:
            console.print(f"{number} of {cases}: {event.occultation_id}", highlight=False, soft_wrap=True)
    elapsed = time.monotonic() - started
    console.print(
        f"{cases} occultations in {out}, truth in {out / 'truth'}, {elapsed:.0f} s", highlight=False, soft_wrap=True
    )


def _series(count: int, *, seed: int, climate: str | None, radiosonde: Path | None) -> list["wave_occultation.Case"]:
    """The events to simulate."""
    from infra import radiosonde as soundings
    from processors.simulation import climates, wave_occultation

    if climate is not None and climate not in climates.CLIMATES:
        raise typer.BadParameter(f"--climate {climate}: one of {', '.join(climates.CLIMATES)}")
    if radiosonde is None:
        return wave_occultation.cases(count, seed=seed, climate=climate)
    if climate is not None:
        raise typer.BadParameter("--climate and --radiosonde exclude each other")
    found = soundings.read(radiosonde.read_bytes(), name=radiosonde.name)
    return wave_occultation.cases_from_soundings(count, soundings=found.soundings, seed=seed)


def _made(
    series: list["wave_occultation.Case"], *, parameters: "wave_occultation.EventParameters", workers: int
) -> Iterator[Made]:
    """The events in their order, whatever the number of processes."""
    one = partial(_event, parameters=parameters)
    if workers == 1:
        yield from map(one, series)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, series)


def _event(case: "wave_occultation.Case", *, parameters: "wave_occultation.EventParameters") -> Made:
    """Simulate and encode one event."""
    from infra import granule_format

    event = case.simulate(parameters)
    return Made(
        event.level1b.attrs["occultation_id"], granule_format.encode(event.level1b), granule_format.encode(event.truth)
    )
