"""Progress for people: a live table on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

import rich.progress
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from infra.demonstration.run import StageState

LINE_INTERVAL = 10.0
_STYLES = {"done": "green", "partial": "yellow", "quarantined": "red", "failed": "red", "waiting": "cyan"}


@contextlib.contextmanager
def octets(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a file has been read: a bar on a terminal, a line now and then elsewhere.

    Yields
    ------
    callable
        Told the number of octets each time some have been read.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    if console.is_terminal:
        with rich.progress.Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, said = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if done < total and time.monotonic() - said > LINE_INTERVAL:
            said = time.monotonic()
            console.print(f"{what}: {done / 1e9:.2f} of {total / 1e9:.2f} GB", highlight=False)

    yield advance


@contextlib.contextmanager
def transfers(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far each of several files has come: bars on a terminal, one line a finished file elsewhere.

    Yields
    ------
    callable
        Told name, octets that are there and octets there will be.
    """
    if not console.is_terminal:
        yield lambda name, have, size: console.print(f"{name}: {size:,} octets") if have == size else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with rich.progress.Progress(*columns, console=console) as bars:
        tasks: dict[str, rich.progress.TaskID] = {}

        def told(name: str, have: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=size)
            bars.update(tasks[name], completed=have)

        yield told


class Progress:
    """Shows the stages of the chain as they move."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._shown: dict[str, str] = {}
        self._started = time.monotonic()

    @contextlib.contextmanager
    def showing(self) -> Iterator["Progress"]:
        """Show progress while the block runs."""
        if self._console.is_terminal:
            with Live(console=self._console, refresh_per_second=4, transient=True) as self._live:
                yield self
        else:
            yield self

    def announce(self, text: str) -> None:
        """Say one thing that begins."""
        self._console.print(f"[dim]{self._elapsed()}[/dim] {text}", highlight=False)

    def stages(self, states: list[StageState]) -> None:
        """Show the state of every stage."""
        if self._live is not None:
            self._live.update(self._table(states))
            return
        for state in states:
            text = _in_words(state)
            if self._shown.get(state.name, "") != text:
                self._shown[state.name] = text
                self.announce(f"{state.name}: {text}")

    def _table(self, states: list[StageState]) -> Table:
        table = Table(title=f"{self._elapsed()}", title_justify="left", show_edge=False)
        for column in ("stage", "finished", "to do"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for state in states:
            finished = " ".join(
                f"[{_STYLES.get(name, 'white')}]{count} {name}[/]" for name, count in sorted(state.outcomes.items())
            )
            table.add_row(state.name, finished, str(state.due) if state.due else "")
        return table

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:6.1f} s"


def _in_words(state: StageState) -> str:
    parts = [f"{count} {name.replace('_', ' ')}" for name, count in sorted(state.outcomes.items())]
    return ", ".join([*parts, *([f"{state.due} to do"] if state.due else [])]) or "nothing"
