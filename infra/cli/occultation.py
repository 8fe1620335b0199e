"""Commands of the occultation retrieval."""

import contextlib
import datetime
import glob
import importlib.util
import inspect
import json
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import rich.progress
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from infra import occultation_batch
from infra.cli import occultation_simulate, progress

if TYPE_CHECKING:
    import xarray as xr

    from products import sounding

app = typer.Typer(no_args_is_help=True, help="Radio occultations: excess phase to profiles of the atmosphere.")
app.command("simulate")(occultation_simulate.simulate)

INTERRUPTED = 130
REASONS_TOLD = 20
REASONS_COUNTED = 5
REASON_LENGTH = 60
STREAMS = ("nrt", "final")
STATUSES = ("ok", "flagged", "rejected")


@app.command()
def retrieve(
    files: list[str] = typer.Argument(
        ...,
        metavar="FILE...",
        help="Level-1 files, recognised by content; a folder stands for its files, a pattern for its matches.",
    ),
    out: Path = typer.Option(..., "--out", file_okay=False, help="Folder for the profiles and report.json."),
    workers: int | None = typer.Option(
        None, "--workers", min=1, help="Worker processes; 1 works in this process. Default: the cores available."
    ),
    formats: str = typer.Option(
        "netcdf", "--format", help=f"Of {', '.join(occultation_batch.SUFFIXES)}, with commas; NetCDF is always written."
    ),
    background: Path | None = typer.Option(
        None, "--background", exists=True, dir_okay=False, help="Background of the atmosphere to use."
    ),
    plots: bool = typer.Option(False, "--plots", help="Draw every profile as <occultation id>.png."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as one JSON object."),
) -> None:
    """Retrieve bending angle, refractivity and dry temperature; one CF NetCDF per occultation.

    OUT/report.json says for every input what became of it and why. Rejected inputs leave the exit status 0; unreadable
    ones, and errors that are not the input's, make it 1. Of two inputs of the same occultation the first is kept. A
    file that kills its worker process costs only itself. Ctrl-C finishes the files at hand, writes the report of what
    is done and exits with 130.
    """
    wanted = _formats(formats)
    paths = _expanded(files)
    started = time.perf_counter()
    with _stopping() as stop, _batch_progress(len(paths)) as advance:
        report = occultation_batch.run(
            paths,
            out=out,
            workers=workers or occultation_batch.available_cores(),
            formats=wanted,
            plots=plots,
            options=_options(background),
            progress=advance,
            stop=stop,
        )
    elapsed = time.perf_counter() - started
    summary = _summary(report, seconds=elapsed, path=out / "report.json")
    _tell(report, summary)
    if as_json:
        sys.stdout.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    if report.left:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(1 if report.failed else 0)


def _formats(text: str) -> list[str]:
    """Names of formats, each known and there."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = [name for name in occultation_batch.SUFFIXES if importlib.util.find_spec(f"products.{name}") is not None]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"--format {name}: known are {', '.join(known)}")
    return names


def _options(background: Path | None) -> dict[str, Any]:
    """What the retrieval is told beyond the file."""
    if background is None:
        return {}
    from infra.stages import occultation

    if "background" not in inspect.signature(occultation.profile_from_file).parameters:
        raise typer.BadParameter("--background: this release retrieves with its own climatology only")
    return {"background": background.read_bytes()}


def _expanded(words: Iterable[str]) -> list[str]:
    """Files that words stand for, each once: a folder for those in it, a pattern for its matches, sorted.

    Hidden files of folders are left out.
    """
    found: dict[str, None] = {}
    for word in words:
        matched = _matches(word)
        if not matched:
            raise typer.BadParameter(f"no files in {word}" if Path(word).is_dir() else f"no file matches {word}")
        found |= dict.fromkeys(matched)
    return list(found)


def _matches(word: str) -> list[str]:
    path = Path(word)
    if path.is_dir():
        return [str(file) for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    if path.exists() or not glob.has_magic(word):
        return [word]
    # A pattern matches folders too, but stands for files.
    return [name for name in sorted(glob.glob(word, recursive=True)) if not Path(name).is_dir()]  # noqa: PTH207


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Within the block the first ctrl-C or SIGTERM asks to stop; a second ctrl-C breaks off."""
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write("stopping: files at hand are finished first\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _batch_progress(total: int) -> Iterator[Callable[[Counter[str]], None]]:
    """Show how far a batch is: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    started = said = time.monotonic()
    if console.is_terminal:
        # As wide as a terminal of eighty columns.
        words = TextColumn("{task.description}")
        columns = (BarColumn(bar_width=14), MofNCompleteColumn(), words, TimeRemainingColumn(), TextColumn("left"))
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("starting", total=total)

            def draw(counts: Counter[str]) -> None:
                rate = counts.total() / max(time.monotonic() - started, 1e-3)
                bar.update(task, completed=counts.total(), description=f"{_counted(counts)}, {rate:.1f}/s")

            yield draw
        return

    def say(counts: Counter[str]) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said > progress.LINE_INTERVAL:
            said = now
            rate = counts.total() / (now - started)
            left = (total - counts.total()) / rate
            text = f"{counts.total()} of {total}: {_counted(counts)}, {rate:.1f}/s, {left:.0f} s left"
            console.print(text, highlight=False, soft_wrap=True)

    yield say


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES)


def _summary(report: occultation_batch.Report, *, seconds: float, path: Path) -> dict[str, Any]:
    """What became of a batch in a few figures."""
    counts = Counter(row["status"] for row in report.rows)
    reasons = Counter(_short_reason(row) for row in report.rows if row["reason"])
    return {
        "report": str(path),
        "inputs": len(report.rows) + report.left,
        **{status: counts[status] for status in STATUSES},
        "not_begun": report.left,
        "seconds": round(seconds, 3),
        "median_seconds": statistics.median(row["seconds"] for row in report.rows) if report.rows else None,
        "quality_flags": dict(Counter(flag for row in report.rows for flag in row["quality_flags"]).most_common()),
        "reasons": dict(reasons.most_common()),
    }


def _short_reason(row: dict[str, Any]) -> str:
    return str(row["cause"]) if row["cause"] else str(row["reason"])


def _tell(report: occultation_batch.Report, summary: dict[str, Any]) -> None:
    """Say on standard error what was not done, then the figures."""
    console = Console(stderr=True)
    reasons = [row for row in report.rows if row["reason"]]
    for row in reasons[:REASONS_TOLD]:
        text = f"{row['input']}: {row['status']}: {row['reason']}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    if len(reasons) > REASONS_TOLD:
        console.print(f"... {len(reasons) - REASONS_TOLD} more in {summary['report']}", highlight=False, soft_wrap=True)
    table = Table(show_header=False, show_edge=False, box=None)
    for status in STATUSES:
        table.add_row(status, str(summary[status]))
    if report.left:
        table.add_row("not begun", str(report.left))
    for kind in ("quality_flags", "reasons"):
        for name, count in list(summary[kind].items())[:REASONS_COUNTED]:
            table.add_row(f"  {name[:REASON_LENGTH].replace('_', ' ')}", str(count))
    if summary["median_seconds"] is not None:
        table.add_row("median time of a file", f"{summary['median_seconds']:.3f} s")
    rate = len(report.rows) / max(summary["seconds"], 1e-3)
    table.add_row("time of the batch", f"{summary['seconds']:.1f} s, {rate:.1f} files/s")
    console.print(table)


@app.command()
def plot(
    file: Path = typer.Argument(..., exists=True, dir_okay=False, help="Profile made by `retrieve`."),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="PNG to write."),
) -> None:
    """Draw a profile: bending angle, refractivity and dry temperature with their uncertainty."""
    from products import profile_plot

    try:
        drawn = profile_plot.plot(_decoded(file))
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise _not_a_profile(file) from error
    out.write_bytes(drawn)
    Console().print(f"drawn in {out}")


@app.command("map")
def draw_map(
    files: list[str] = typer.Argument(
        ..., metavar="FILE...", help="Profiles made by `retrieve`; a folder or a pattern stands for its files."
    ),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="PNG to write."),
) -> None:
    """Draw where occultations were: drift of the tangent point, rising or setting, lowest altitude."""
    from products import occultation_map

    read = _soundings(files)
    out.write_bytes(occultation_map.plot(read.soundings))
    Console().print(f"{len(read.soundings)} profiles drawn in {out}")


@app.command()
def penetration(
    files: list[str] = typer.Argument(
        ..., metavar="FILE...", help="Profiles made by `retrieve`; a folder or a pattern stands for its files."
    ),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="PNG to write."),
    as_json: bool = typer.Option(False, "--json", help="Print the figures as one JSON object."),
) -> None:
    """Draw how low profiles reach, by climate zone and by rising and setting, and why they end there."""
    from products import penetration_plot

    read = _soundings(files)
    out.write_bytes(penetration_plot.plot(read.soundings))
    if as_json:
        statistics_of_all = penetration_plot.statistics(read.soundings)
        sys.stdout.write(json.dumps({**statistics_of_all, "skipped": read.skipped}, indent=2) + "\n")
    else:
        Console().print(f"{len(read.soundings)} profiles drawn in {out}")


@app.command("aggregate")
def aggregate_day(
    files: list[str] = typer.Argument(
        ..., metavar="FILE...", help="Profiles made by `retrieve`; a folder or a pattern stands for its files."
    ),
    out: Path = typer.Option(..., "--out", dir_okay=False, help="NetCDF to write."),
    day: datetime.datetime | None = typer.Option(
        None, "--day", formats=["%Y-%m-%d"], help="UTC day to take where the files are of several."
    ),
    stream: str = typer.Option("final", "--stream", help="nrt or final."),
) -> None:
    """Put the profiles of one UTC day into one NetCDF file, each on its own levels, for `xarray.open_dataset`.

    What is published needs no command: the stage aggregate_profiles makes the day three hours after its end.

    Example: terralimb occultation aggregate profiles/ --out 2026-03-01.nc --day 2026-03-01
    """
    from products import profile_aggregate

    if stream not in STREAMS:
        raise typer.BadParameter(f"--stream {stream}: it is {' or '.join(STREAMS)}")
    read = _profile_files(files)
    chosen = {path for path, its_day in read.days.items() if day is None or its_day == day.date()}
    if not chosen:
        raise ValueError(f"none of {len(read.days)} profiles is of the day asked for")
    sources = [profile_aggregate.Source(path.read_bytes()) for path in sorted(chosen)]
    encoded = profile_aggregate.encode(profile_aggregate.aggregate(sources, stream=stream))
    part = out.with_name(f".{out.name}.part")
    part.write_bytes(encoded)
    part.replace(out)
    others = len(read.days) - len(chosen)
    Console().print(f"{len(chosen)} profiles in {out}" + (f"; {others} are of other days" if others else ""))


class _Days(NamedTuple):
    """Profiles with their day, and files of folders and patterns that are none."""

    days: dict[Path, datetime.date]
    skipped: int


def _profile_files(words: list[str]) -> _Days:
    from products import profile_aggregate

    days: dict[Path, datetime.date] = {}
    skipped = _each_profile(words, lambda path, profile: days.update({path: profile_aggregate.day_of(profile)}))
    return _Days(days, skipped)


class _Read(NamedTuple):
    """Profiles in short, and files of folders and patterns that are none."""

    soundings: "list[sounding.Sounding]"
    skipped: int


def _soundings(words: list[str]) -> _Read:
    """Profiles in short; what lies beside profiles in a folder, pictures say, is passed over and counted."""
    from products import sounding

    found: list[sounding.Sounding] = []
    skipped = _each_profile(words, lambda _path, profile: found.append(sounding.sounding_from_profile(profile)))
    return _Read(found, skipped)


def _each_profile(words: list[str], take: "Callable[[Path, xr.Dataset], None]") -> int:
    """Give every profile the words stand for to `take`; returns how many files were passed over."""
    named = {word for word in words if not Path(word).is_dir()}
    console = Console(stderr=True)
    paths, skipped = _expanded(words), 0
    for path in rich.progress.track(paths, "reading", console=console, disable=not console.is_terminal, transient=True):
        try:
            take(Path(path), _decoded(Path(path)))
        except (ValueError, TypeError, KeyError, OSError) as error:
            if path in named:
                raise _not_a_profile(Path(path)) from error
            skipped += 1
    if skipped:
        console.print(f"{skipped} files that are no profiles were passed over", highlight=False)
    if skipped == len(paths):
        raise ValueError(f"no profile made by `terralimb occultation retrieve` in {', '.join(words)}")
    return skipped


def _decoded(path: Path) -> "xr.Dataset":
    from products import netcdf

    return netcdf.decode(path.read_bytes())


def _not_a_profile(path: Path) -> ValueError:
    return ValueError(f"{path} is no profile made by `terralimb occultation retrieve`")
