"""Completeness over time at a glance: what each satellite's windows hold of what they should, as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

Row = Mapping[str, Any]
COLORS = {"open": "#b8bec6", "provisional": "#e6b450", "complete": "#3d8b63", "closed_with_gaps": "#7a6fb0"}
WORDS = {
    "open": "open",
    "provisional": "provisional",
    "complete": "complete",
    "closed_with_gaps": "closed with gaps",
}
MISSING = "#c0392b"
METADATA = {"Software": "terralimb"}
FULL = 100.0
SHARED_DAYS = 31
LABELLED = 16
WIDTH = 11.0
PANEL = 1.35
MARGIN = 1.3
PASS_WIDTH = 1.0 / 48.0
"""Width at which a pass without on-board time is drawn [d]."""


def plot(windows: Sequence[Row]) -> bytes:
    """Draw windows by satellite and time.

    Parameters
    ----------
    windows : sequence of mapping
        `satellite`, `link`, `scid`, `start`, `stop` (ISO 8601 in UTC, or None), `recorded_at`, `state`, `held`,
        `expected`, `missing` and, where known, `missing_frames` [1] of each. Windows without times are left out where
        there are others, and otherwise drawn at the time of receipt.

    Returns
    -------
    bytes
        PNG, the same for the same windows.

    Raises
    ------
    ValueError
        There are no windows.
    """
    if not windows:
        raise ValueError("no windows to draw")
    timed = [row for row in windows if row["start"] is not None]
    shown = timed or list(windows)
    panels = _panels(shown)
    figure = Figure(figsize=(WIDTH, MARGIN + PANEL * len(panels)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    first, last = _extent(shown)
    shared = last - first <= SHARED_DAYS
    grid = figure.subplots(len(panels), 1, sharex=shared, squeeze=False)[:, 0]
    for axes, (name, rows) in zip(grid, panels.items(), strict=True):
        _draw(axes, name, rows)
    label = "on-board time (UTC)" if timed else "time of receipt (UTC): this link's packets carry no time"
    left_out = len(windows) - len(shown)
    if left_out:
        label += f"; passes without on-board time, not shown: {left_out}"
    grid[-1].set_xlabel(label, fontsize=9)
    _legend(figure)
    stream = io.BytesIO()
    canvas.print_png(stream, metadata=METADATA)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def _panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Windows by satellite."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["link"], row["scid"])):
        found.setdefault(f"{row['satellite']} ({row['link']})", []).append(row)
    return found


def _interval(row: Row) -> tuple[float, float]:
    """Begin and width of a window as the axis counts [d]."""
    if row["start"] is None:
        return _day(row["recorded_at"]), PASS_WIDTH
    begin = _day(row["start"])
    return begin, _day(row["stop"]) - begin


def _day(text: str) -> float:
    instant = np.datetime64(text.removesuffix("Z").removesuffix("+00:00"), "ms")
    return float(dates.date2num(instant))  # type: ignore[no-untyped-call]


def _extent(rows: Sequence[Row]) -> tuple[float, float]:
    intervals = [_interval(row) for row in rows]
    return min(begin for begin, _ in intervals), max(begin + width for begin, width in intervals)


def _percent(rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    held = np.array([row["held"] for row in rows], dtype=np.float64)
    expected = np.array([row["expected"] for row in rows], dtype=np.float64)
    percent: npt.NDArray[np.float64] = np.full(held.size, FULL)
    np.divide(held * FULL, expected, out=percent, where=expected > 0.0)
    return percent


def _draw(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    begin, width = (np.array(values) for values in zip(*(_interval(row) for row in rows), strict=True))
    percent = _percent(rows)
    colors = [COLORS[row["state"]] for row in rows]
    axes.bar(begin, percent, width, align="edge", color=colors, edgecolor="white", linewidth=0.6)
    short = percent < FULL
    axes.bar(
        begin[short],
        FULL - percent[short],
        width[short],
        bottom=percent[short],
        align="edge",
        color="white",
        edgecolor=MISSING,
        linewidth=0.5,
        hatch="////",
    )
    _mark_gaps(axes, rows, begin + width / 2.0)
    axes.set_ylim(0.0, 130.0)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("held [%]", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.xaxis_date()
    locator = dates.AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_title(_heading(name, rows), fontsize=9, loc="left", pad=3)
    axes.grid(True, axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _heading(name: str, rows: Sequence[Row]) -> str:
    held, expected = sum(row["held"] for row in rows), sum(row["expected"] for row in rows)
    # Rounded down: what is not whole never reads as 100.
    part = f"{held * 10_000 // expected / 100:.2f} %" if expected else "nothing expected"
    return f"{name}   {part}   {held:,} of {expected:,} packets, windows: {len(rows)}".replace(",", " ")


def _mark_gaps(axes: Axes, rows: Sequence[Row], middle: npt.NDArray[np.float64]) -> None:
    """Mark windows that miss anything: a few packets of many cannot be seen in the bar."""
    gapped = [(at, words) for at, row in zip(middle, rows, strict=True) if (words := _missing(row))]
    height = [107.0] * len(gapped)
    axes.plot([at for at, _ in gapped], height, "v", color=MISSING, markersize=4.5, linestyle="none")
    for at, words in gapped if len(gapped) <= LABELLED else ():
        axes.annotate(
            words, (at, 107.0), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7, color=MISSING
        )


def _missing(row: Row) -> str:
    if row["missing"]:
        return str(row["missing"])
    frames = row.get("missing_frames") or 0
    return f"{frames} frames" if frames else ""


def _legend(figure: Figure) -> None:
    handles: list[Patch | Line2D] = [Patch(color=COLORS[state], label=WORDS[state]) for state in COLORS]
    handles.append(Patch(facecolor="white", edgecolor=MISSING, hatch="////", label="missing"))
    handles.append(
        Line2D(
            [], [], marker="v", color=MISSING, linestyle="none", markersize=5, label="window with gaps: packets missing"
        )
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False)
