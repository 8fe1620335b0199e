"""What the commands on rasters share: their options, progress by tiles, and how they tell what they made."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich.progress
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from infra.cli import progress

if TYPE_CHECKING:
    from products import fusion_plot

OUT = typer.Option(..., "--out", dir_okay=False, help="GeoTIFF to write.")
REPORT = typer.Option(None, "--report", dir_okay=False, help="JSON to write; a page with pictures is put beside it.")
AS_JSON = typer.Option(False, "--json", help="Print the report as one JSON object.")

_MADE = ("ok", "flagged")


def numbered(text: str, *, option: str = "--bands") -> dict[str, int]:
    """Numbers of bands by name, from text of the form ``blue=1,green=2``."""
    bands: dict[str, int] = {}
    for word in text.split(","):
        name, sign, number = word.strip().partition("=")
        named = name.strip().lower()
        if not (sign and named and number.isdecimal() and int(number) >= 1):
            raise typer.BadParameter(f"{option}: {word!r} is not of the form blue=1")
        if named in bands or int(number) in bands.values():
            raise typer.BadParameter(f"{option}: {word.strip()!r} gives a name or a band for the second time")
        bands[named] = int(number)
    return bands


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show how many tiles are done; linear algebra keeps to one thread, for tiles are what runs side by side."""
    import threadpoolctl

    from infra.imagery import tiling

    with threadpoolctl.threadpool_limits(limits=1), _listener(what) as listener, tiling.watched(listener):
        yield


@contextlib.contextmanager
def _listener(what: str) -> Iterator[Callable[[int, int], None]]:
    """Told how many tiles are done: a bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), TimeRemainingColumn())
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    said = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal said
        if done < total and time.monotonic() - said > progress.LINE_INTERVAL:
            said = time.monotonic()
            console.print(f"{what}: {done} of {total} tiles", highlight=False)

    yield say


def finish(
    made: dict[str, Any],
    report: Path | None,
    *,
    as_json: bool,
    title: str,
    lead: str,
    inputs: Mapping[str, Path | None],
    out: Path,
    panels: "Callable[[], Sequence[fusion_plot.Panel]]",
    like: Path | None = None,
) -> None:
    """Write the report where one is wanted, say what was found, and end with the status that stands for it.

    The scale of the page is that of `like`, a raster, where the result itself is none.
    """
    from infra.imagery import report as reporting

    made = {"status": "ok", **made, "output": str(out)}
    page = None
    if report is not None:
        made |= {"inputs": reporting.inputs(inputs)}
        page = reporting.write(made, report, title=title, lead=lead, panels=panels(), like=like or out)
    tell(made, as_json=as_json)
    if page is not None and not as_json:
        Console().print(f"report: {report}, with pictures: {page}", highlight=False, soft_wrap=True)
    if made["status"] not in _MADE:
        raise typer.Exit(1)


def tell(made: dict[str, Any], *, as_json: bool) -> None:
    """Say what was made: one JSON object, or a line for every plain figure; warnings go to standard error."""
    from infra.imagery import report as reporting

    document = reporting.plain(made)
    for text in document.get("warnings", ()):
        sys.stderr.write(f"warning: {text}\n")
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return
    console = Console()
    for key, value in document.items():
        if key == "warnings" or isinstance(value, dict | list) or value is None:
            continue
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        console.print(f"{key.replace('_', ' ')}: {shown}", highlight=False, markup=False, soft_wrap=True)
