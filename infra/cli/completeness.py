"""The completeness report for people and programs."""

import datetime as dt
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from infra import settings

SHOWN = 40
PLAIN_WIDTH = 130
STYLES = {
    "open": "dim",
    "provisional": "yellow",
    "complete": "green",
    "closed_with_gaps": "magenta",
    "requested": "yellow",
    "satisfied": "green",
    "expired": "magenta",
    "lost_on_board": "magenta",
    "split": "dim",
}


def report(
    since: str | None = typer.Option(
        None,
        "--since",
        metavar="ISO",
        help="From this UTC instant of on-board time on (of receipt, where none is known).",
    ),
    until: str | None = typer.Option(None, "--until", metavar="ISO", help="Up to, without, this UTC instant."),
    satellite: str | None = typer.Option(None, "--satellite", help="Spacecraft identifier, or a name such as TL01."),
    link: str | None = typer.Option(None, "--link", help="Name of a link."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    plot: Path | None = typer.Option(None, "--plot", dir_okay=False, help="Draw completeness over time into a PNG."),
    requests: bool = typer.Option(False, "--requests", help="Show requests that have come to an end too."),
) -> None:
    """Report what was received, what is missing and why, and whether it may be released.

    Exit status 1 where the release gate is violated: an octet or frame without fate, or a loss without known reason.

    The JSON object holds, besides since, until, satellite and link as asked:

    totals: receptions, seen_again, octets, frames by fate, lost, latency in seconds (median, percentile_95).

    receptions: recording, key, link, station, size, sightings, first_time, last_time, recorded_at, latency, software,
    bytes, frames, corrected_symbols, synchronization, lost.

    channels: link, scid, vcid, epoch, satellite, expected, held, missing, percent, gaps of the frame counter.

    packets: link, satellite, scid, apid, expected, held, missing, percent, expected_produced, duplicates, conflicts,
    check_failed, incomplete_units.

    windows: link, satellite, scid, window, start, stop, recorded_at, state, expected, held, missing, percent,
    missing_frames, unexplained. Then states: the number of windows in each.

    requests: id, link, scid, vcid, epoch, satellite, first, last, frames, state, at, since, expires_at, reason.

    gate: released, unexplained, violations.

    Times are UTC, states are open, provisional, complete and closed_with_gaps.
    """
    from infra import completeness_report

    chosen = _selection(since, until, satellite, link)
    book = _book()
    if book is None:
        _say_nothing_received(chosen, as_json)
        return
    made = completeness_report.build(book, now=dt.datetime.now(dt.UTC), selection=chosen, every_request=requests)
    if plot is not None:
        _draw(plot, made)
    if as_json:
        sys.stdout.write(json.dumps(made) + "\n")
    else:
        _show(made, every_request=requests)
    if not made["gate"]["released"]:
        raise typer.Exit(1)


def _selection(since: str | None, until: str | None, satellite: str | None, link: str | None) -> Any:
    from infra import completeness_ledger, completeness_report

    own, scid = None, None
    if satellite is not None:
        try:
            own, scid = completeness_report.satellite_from_name(satellite)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return completeness_ledger.Selection(
        since=_instant("--since", since), until=_instant("--until", until), scid=scid, link=link or own
    )


def _instant(option: str, text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is no instant in ISO 8601, such as 2021-11-01T10:00") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)


def _book() -> Any:
    """The installation's ledger; None where nothing can have been received yet."""
    import sqlalchemy as sa

    from infra import completeness_ledger, database

    chosen = settings.current()
    if chosen.database_url is None and not (chosen.home / "terralimb.sqlite").exists():
        return None
    engine = database.engine(chosen.resolved_database_url())
    if not sa.inspect(engine).has_table(completeness_ledger.reception_table.name):
        return None
    return completeness_ledger.CompletenessLedger(engine)


def _say_nothing_received(chosen: Any, as_json: bool) -> None:
    sentence = (
        f"nothing has been received in {settings.current().home} yet: run `terralimb demo`, or set TERRALIMB_HOME"
    )
    if as_json:
        sys.stdout.write(json.dumps(_empty(chosen)) + "\n")
        sys.stderr.write(sentence + "\n")
    else:
        sys.stdout.write(sentence + "\n")


def _empty(chosen: Any) -> dict[str, Any]:
    """The report of a ledger without a row."""
    import sqlalchemy as sa

    from infra import completeness_ledger, completeness_report

    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    completeness_ledger.metadata.create_all(engine)
    book = completeness_ledger.CompletenessLedger(engine)
    return completeness_report.build(book, now=dt.datetime.now(dt.UTC), selection=chosen)


def _draw(path: Path, made: dict[str, Any]) -> None:
    from products import completeness_plot

    if not made["windows"]:
        sys.stderr.write(f"{path} is not drawn: no window has been evaluated yet\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(completeness_plot.plot(made["windows"]))
    sys.stderr.write(f"completeness drawn into {path}\n")


# Tables for people


def _show(made: dict[str, Any], *, every_request: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    if not made["receptions"] and not made["windows"]:
        console.print("nothing was received that this asks for")
        return
    for table in (_receptions(made), _channels(made), _packets(made), _windows(made), _requests(made, every_request)):
        if table is not None:
            console.print(table)
    for line in _summary(made):
        console.print(line, soft_wrap=True)


def _table(title: str, total: int, *columns: Column) -> Table:
    more = f", the newest {SHOWN} of {total}" if total > SHOWN else ""
    return Table(*columns, title=title + more, title_justify="left", title_style="bold", box=None, pad_edge=False)


def _text(*names: str) -> list[Column]:
    return [Column(name, no_wrap=True) for name in names]


def _numbers(*names: str) -> list[Column]:
    return [Column(name, justify="right", no_wrap=True) for name in names]


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}".replace(",", " ")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _time(text: str | None) -> str:
    return "-" if text is None else text[:16].replace("T", " ")


def _state(name: str) -> str:
    return f"[{STYLES[name]}]{name.replace('_', ' ')}[/]"


def _balance(row: dict[str, Any]) -> Iterable[str]:
    return (*(_count(row[name]) for name in ("expected", "held", "missing")), _percent(row["percent"]))


def _receptions(made: dict[str, Any]) -> Table | None:
    rows = made["receptions"]
    columns = [*_text("recording", "station", "link", "first time"), *_numbers("octets", "frames", "corrected", "lost")]
    table = _table("Receptions", len(rows), *columns, *_numbers("seen"))
    for row in rows[-SHOWN:]:
        frames = row["frames"]
        counts = (row["size"], frames.get("received", 0), frames.get("corrected", 0), row["lost"], row["sightings"])
        names = (row["recording"][:12], escape(row["station"]), row["link"], _time(row["first_time"]))
        table.add_row(*names, *map(_count, counts))
    return table if rows else None


def _channels(made: dict[str, Any]) -> Table | None:
    rows = made["channels"]
    columns = [*_text("link", "satellite"), *_numbers("channel", "epoch", "expected", "held", "missing", "%", "gaps")]
    table = _table("Frames by virtual channel", len(rows), *columns)
    for row in rows[-SHOWN:]:
        numbers = (str(row["vcid"]), str(row["epoch"]))
        table.add_row(row["link"], row["satellite"], *numbers, *_balance(row), _count(len(row["gaps"])))
    return table if rows else None


def _packets(made: dict[str, Any]) -> Table | None:
    rows = made["packets"]
    told = ("produced", "duplicates", "conflicts", "incomplete")
    columns = [*_text("link", "satellite"), *_numbers("apid", "expected", "held", "missing", "%", *told)]
    table = _table("Packets by application process", len(rows), *columns)
    for row in rows[-SHOWN:]:
        counts = (row[name] for name in ("expected_produced", "duplicates", "conflicts", "incomplete_units"))
        table.add_row(row["link"], row["satellite"], str(row["apid"]), *_balance(row), *map(_count, counts))
    return table if rows else None


def _windows(made: dict[str, Any]) -> Table | None:
    rows = made["windows"]
    columns = [*_text("link", "satellite", "window", "from (UTC)"), *_numbers("expected", "held", "missing", "%")]
    table = _table("Windows", len(rows), *columns, *_numbers("unexplained"), *_text("state"))
    for row in rows[-SHOWN:]:
        names = (row["link"], row["satellite"], row["window"], _time(row["start"]))
        table.add_row(*names, *_balance(row), _count(row["unexplained"]), _state(row["state"]))
    return table if rows else None


def _requests(made: dict[str, Any], every_request: bool) -> Table | None:
    rows = made["requests"]
    columns = [*_text("link", "satellite"), *_numbers("channel", "epoch", "first", "last", "frames")]
    title = "Requests" if every_request else "Open requests"
    table = _table(title, len(rows), *columns, *_text("state", "expires (UTC)"), Column("reason"))
    for row in rows[-SHOWN:]:
        numbers = [str(row[name]) for name in ("vcid", "epoch", "first", "last")]
        table.add_row(
            row["link"],
            row["satellite"],
            *numbers,
            _count(row["frames"]),
            _state(row["state"]),
            _time(row["expires_at"]),
            row["reason"],
        )
    return table if rows else None


def _summary(made: dict[str, Any]) -> Iterable[str]:
    totals, gate = made["totals"], made["gate"]
    again = f", {_count(totals['seen_again'])} seen again" if totals["seen_again"] else ""
    yield f"{_count(totals['receptions'])} receptions{again}, {_count(totals['octets'])} octets"
    told = [f"{count} {name.replace('_', ' ')}" for name, count in made["states"].items() if count]
    yield f"windows: {', '.join(told) or 'none evaluated yet'}"
    waiting = sum(row["frames"] for row in made["requests"] if row["state"] == "requested")
    if waiting:
        yield f"{_count(waiting)} frames are requested again"
    if gate["released"]:
        yield f"unexplained {gate['unexplained']}: [green]released[/]"
        return
    yield f"unexplained {gate['unexplained']}: [red]not released[/], {len(gate['violations'])} violations"
    yield from (f"  {escape(sentence)}" for sentence in gate["violations"])
