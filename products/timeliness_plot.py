"""Timeliness at a glance: how long profiles took to be available, and day by day against the target, as PNG."""

import datetime as dt
import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from products import quicklook

SIZE = (10.0, 7.4)
BINS = 20
"""Bars up to the target; none lies on both sides of it [1]."""
ON_TIME, LATE, LINE, TAIL = "#3d8b63", "#c0563b", "#33689c", "#7a6fb0"
METADATA = {"Software": "terralimb"}
SHOWN = 99.0
"""Percentile up to which the histogram reaches; what is beyond is counted in its last bar."""


class _Words(NamedTuple):
    """One label in both languages."""

    en: str
    zh: str


_TITLE = _Words("Observation to availability", "观测到可用的时效")
_MINUTES = _Words("minutes", "分钟")
_PROFILES = _Words("profiles", "廓线数")
_DAY = _Words("day of observation (UTC)", "观测日期")
_MEDIAN = _Words("median", "中位数")
_LATE_END = _Words("95th percentile", "第95百分位")
_TARGET = _Words("target", "目标")
_WITHIN = _Words("within the target", "达标")
_BEYOND = _Words("last bar: and beyond", "末柱含更晚者")


class DayFigures(NamedTuple):
    """Figures of one day.

    Attributes
    ----------
    day : datetime.date
        Day.
    median, late_end : float
        Median and 95th percentile [min].
    """

    day: dt.date
    median: float
    late_end: float


def plot(days: Sequence[dt.date], minutes: Sequence[float], *, target: float) -> bytes:
    """Draw the histogram of delays, and median and 95th percentile of every day.

    Parameters
    ----------
    days : Sequence[datetime.date]
        Day of each observation.
    minutes : Sequence[float]
        Its delay [min].
    target : float
        Target [min].

    Returns
    -------
    bytes
        PNG, the same for the same delays.

    Raises
    ------
    ValueError
        There are no delays.
    """
    if not len(minutes):
        raise ValueError("there are no profiles to draw the timeliness of")
    every = "".join(word.zh for word in _ALL)
    chinese = quicklook.chinese_font("".join(sorted({sign for sign in every if ord(sign) > 0x2000})))
    fonts = [quicklook.LATIN_FONT, chinese] if chinese else [quicklook.LATIN_FONT]
    values = np.asarray(minutes, dtype=np.float64)
    with mpl.rc_context({"font.family": fonts, "axes.linewidth": 0.8, "text.color": quicklook.INK}):
        figure = Figure(figsize=SIZE, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1)
        both = chinese is not None
        _histogram(upper, values, target, bilingual=both)
        _by_day(lower, by_day(days, values), target, bilingual=both)
        stream = io.BytesIO()
        canvas.print_png(stream, metadata=METADATA)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def by_day(days: Sequence[dt.date], minutes: npt.NDArray[np.float64]) -> list[DayFigures]:
    """Median and 95th percentile of every day that has profiles.

    Parameters
    ----------
    days : Sequence[datetime.date]
        Day of each observation.
    minutes : numpy.ndarray
        Its delay [min].

    Returns
    -------
    list of DayFigures
        In order of days.
    """
    groups: dict[dt.date, list[float]] = {}
    for day, value in zip(days, minutes, strict=True):
        groups.setdefault(day, []).append(float(value))
    found = []
    for day in sorted(groups):
        median, late_end = np.percentile(groups[day], (50.0, 95.0))
        found.append(DayFigures(day, float(median), float(late_end)))
    return found


_ALL = (_TITLE, _MINUTES, _PROFILES, _DAY, _MEDIAN, _LATE_END, _TARGET, _WITHIN, _BEYOND)


def _label(word: _Words, *, bilingual: bool) -> str:
    return f"{word.en} {word.zh}" if bilingual else word.en


def _histogram(axes: Axes, minutes: npt.NDArray[np.float64], target: float, *, bilingual: bool) -> None:
    width = target / BINS
    first = np.floor(min(0.0, float(minutes.min())) / width)
    last = np.ceil(max(float(np.percentile(minutes, SHOWN)), 1.25 * target) / width)
    edges = width * np.arange(first, last + 1.0)
    counts, _ = np.histogram(np.clip(minutes, edges[0], edges[-1]), edges)
    colors = [ON_TIME if left + 0.5 * width <= target else LATE for left in edges[:-1]]
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colors, edgecolor="white", linewidth=0.5)
    axes.axvline(target, color=quicklook.INK, linewidth=1.2, linestyle="--")
    share = 100.0 * float(np.mean(minutes <= target))
    # Rounded down: what is not whole never reads as 100.
    within = f"{_label(_WITHIN, bilingual=bilingual)}: {np.floor(share * 10) / 10:.1f} %"
    title = f"{_label(_TITLE, bilingual=bilingual)}   {minutes.size:,} {_label(_PROFILES, bilingual=bilingual)}"
    axes.set_title(f"{title}   {within}".replace(",", " "), fontsize=11, loc="left")
    beyond = f" ({_label(_BEYOND, bilingual=bilingual)})" if float(minutes.max()) > edges[-1] else ""
    axes.set_xlabel(_label(_MINUTES, bilingual=bilingual) + beyond, fontsize=9)
    axes.set_ylabel(_label(_PROFILES, bilingual=bilingual), fontsize=9)
    axes.annotate(
        f"{_label(_TARGET, bilingual=bilingual)} {target:g}",
        (target, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -11),
        textcoords="offset points",
        fontsize=8,
    )
    _finish(axes)


def _by_day(axes: Axes, rows: Sequence[DayFigures], target: float, *, bilingual: bool) -> None:
    at = np.array([dates.date2num(row.day) for row in rows])  # type: ignore[no-untyped-call]
    for name, color, values in (
        (_MEDIAN, LINE, [row.median for row in rows]),
        (_LATE_END, TAIL, [row.late_end for row in rows]),
    ):
        axes.plot(at, values, "-o", color=color, markersize=3.5, linewidth=1.3, label=_label(name, bilingual=bilingual))
    axes.axhline(target, color=quicklook.INK, linewidth=1.2, linestyle="--", label=_label(_TARGET, bilingual=bilingual))
    axes.set_ylim(0.0, 1.15 * max(target, *(row.late_end for row in rows)))
    axes.set_xlim(at[0] - 0.5, at[-1] + 0.5)
    axes.xaxis_date()
    locator = dates.AutoDateLocator(minticks=2, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlabel(_label(_DAY, bilingual=bilingual), fontsize=9)
    axes.set_ylabel(_label(_MINUTES, bilingual=bilingual), fontsize=9)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(True, axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
