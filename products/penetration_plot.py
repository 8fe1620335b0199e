"""How low occultations reach, by climate zone and direction, and why they end there, as PNG."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from processors.arrays import FloatArray
from products import profile_plot, sounding

KILOMETRE = 1_000.0
DEPTHS = (0.5, 1.0, 2.0)
"""Altitudes below which the share of profiles is told [km]."""
BINS = (0.5, 0.25, 0.1, 0.05, 0.025, 0.01)
"""Widths of the bins of altitude, of which the first is taken that gives enough of them [km]."""
FEWEST_BINS = 8
TOP, TOP_STEP = (1.0, 15.0), 0.5
"""Least and greatest top of the panels, and what it is a multiple of [km]."""
REASON_ROWS, REASON_HEIGHT = 8, 0.35
"""Rows the panel of reasons has room for at least, and the height of a bar in rows [1]."""
STYLES = {True: "-", False: "--"}
WORDS = {True: "setting", False: "rising"}


class Zone(NamedTuple):
    """A belt of latitude on both sides of the equator.

    Attributes
    ----------
    name : str
        What it is called.
    low, high : float
        Least and greatest distance from the equator [degree]; the greatest is not of it.
    color : str
        Colour it is drawn in.
    """

    name: str
    low: float
    high: float
    color: str


ZONES = (
    Zone("tropics, below 25°", 0.0, 25.0, "#c0563b"),
    Zone("middle latitudes, 25° to 50°", 25.0, 50.0, "#3d8b63"),
    Zone("high latitudes, from 50°", 50.0, 91.0, "#33689c"),
)


class Group(NamedTuple):
    """Lowest altitudes of the profiles of one zone and direction.

    Attributes
    ----------
    zone : Zone
        Where.
    setting : bool
        Whether the transmitters set.
    lowest : FloatArray
        Lowest altitude above the geoid [km], ascending, infinite where nothing was retrieved.
    """

    zone: Zone
    setting: bool
    lowest: FloatArray


def plot(soundings: Sequence[sounding.Sounding]) -> bytes:
    """Draw how low profiles reach.

    Parameters
    ----------
    soundings : sequence of Sounding
        At least one.

    Returns
    -------
    bytes
        PNG, the same for the same soundings.

    Raises
    ------
    ValueError
        There are none.
    """
    return profile_plot.png(figure_from_soundings(soundings))


def statistics(soundings: Sequence[sounding.Sounding]) -> dict[str, Any]:
    """Figures the drawing shows.

    Parameters
    ----------
    soundings : sequence of Sounding
        The profiles.

    Returns
    -------
    dict
        `profiles`, `share_below` by altitude in metres [1], `median_lowest_altitude` [m] (None where more than half
        retrieved nothing) of all and of each of `groups`; `truncation_reasons`, number by reason.
    """
    whole = np.array([_reach(each) for each in soundings])
    return {
        **_figures(whole),
        "groups": [
            {"zone": group.zone.name, "direction": WORDS[group.setting], **_figures(group.lowest)}
            for group in groups(soundings)
        ],
        "truncation_reasons": dict(Counter(each.truncation_reason for each in soundings).most_common()),
    }


def groups(soundings: Sequence[sounding.Sounding]) -> list[Group]:
    """Profiles by zone and direction.

    Parameters
    ----------
    soundings : sequence of Sounding
        The profiles.

    Returns
    -------
    list of Group
        Those that are not empty; every profile is in one.
    """
    found = []
    for zone in ZONES:
        for setting in STYLES:
            lowest = [
                _reach(each)
                for each in soundings
                if zone.low <= abs(each.latitude) < zone.high and each.setting == setting
            ]
            if lowest:
                found.append(Group(zone, setting, np.sort(np.array(lowest))))
    return found


def share_below(lowest: FloatArray, depth: float) -> float:
    """Share of profiles that reach below an altitude.

    Parameters
    ----------
    lowest : FloatArray
        Lowest altitudes [km].
    depth : float
        The altitude [km].

    Returns
    -------
    float
        Share [1], NaN of no profiles.
    """
    return float(np.mean(lowest < depth)) if lowest.size else float("nan")


def _reach(short: sounding.Sounding) -> float:
    """Lowest altitude [km]; a profile without any observation reaches nowhere."""
    return short.lowest_altitude / KILOMETRE if np.isfinite(short.lowest_altitude) else float("inf")


def _figures(lowest: FloatArray) -> dict[str, Any]:
    median = float(np.quantile(lowest, 0.5, method="higher")) if lowest.size else float("inf")
    return {
        "profiles": int(lowest.size),
        "share_below": {f"{depth * KILOMETRE:.0f}": round(share_below(lowest, depth), 4) for depth in DEPTHS},
        "median_lowest_altitude": round(median * KILOMETRE, 1) if np.isfinite(median) else None,
    }


def figure_from_soundings(soundings: Sequence[sounding.Sounding]) -> Figure:
    """Figure of how low profiles reach.

    Parameters
    ----------
    soundings : sequence of Sounding
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
        Cumulative shares, histogram by zone, reasons the profiles end.

    Raises
    ------
    ValueError
        There are none.
    """
    if not soundings:
        raise ValueError("no occultations to draw")
    made = groups(soundings)
    reached = np.concatenate([group.lowest[np.isfinite(group.lowest)] for group in made])
    extent = _extent(reached)
    figure = Figure(figsize=(13.5, 7.0), layout="constrained")
    cumulative, histogram, reasons = figure.subplots(1, 3, gridspec_kw={"width_ratios": (1.5, 1.0, 0.9)})
    _draw_cumulative(cumulative, made, extent=extent)
    _draw_histogram(histogram, made, extent=extent)
    _draw_reasons(reasons, soundings)
    _draw_legend(figure, made)
    whole = np.array([_reach(each) for each in soundings])
    shares = ", ".join(f"{100.0 * share_below(whole, depth):.0f} % below {depth:g} km" for depth in DEPTHS)
    figure.suptitle(f"{_counted(len(soundings))}: {shares} above the geoid", fontsize=12)
    return figure


class _Extent(NamedTuple):
    """Altitudes drawn and width of their bins, which divides them [km]."""

    bottom: float
    top: float
    bin: float


def _extent(reached: FloatArray) -> _Extent:
    """Altitudes that show nearly all profiles, in bins narrow enough to tell these apart."""
    if not reached.size:
        return _Extent(0.0, TOP[0], BINS[0])
    highest = float(np.percentile(reached, 98.0))
    top = float(np.clip(np.ceil(highest / TOP_STEP) * TOP_STEP, *TOP))
    lowest = float(reached.min())
    spread = min(highest, top) - lowest
    width = next((each for each in BINS if spread >= FEWEST_BINS * each), BINS[-1])
    return _Extent(min(0.0, float(np.floor(lowest / width) * width)), top, width)


def _counted(number: int) -> str:
    return f"{number} profile{'' if number == 1 else 's'}"


def _style(axes: Axes) -> None:
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_cumulative(axes: Axes, made: Sequence[Group], *, extent: _Extent) -> None:
    """Share of profiles whose observation reaches below each altitude."""
    bottom, top = extent.bottom, extent.top
    for group in made:
        below = 100.0 * np.arange(group.lowest.size + 1) / group.lowest.size
        finite = group.lowest[np.isfinite(group.lowest)]
        height = np.r_[bottom, finite, max(top, finite.max(initial=top))]
        axes.step(
            below[np.r_[np.arange(finite.size + 1), finite.size]],
            height,
            where="pre",
            color=group.zone.color,
            linestyle=STYLES[group.setting],
            linewidth=1.5,
            label=f"{group.zone.name}, {WORDS[group.setting]}",
        )
    for depth in DEPTHS:
        axes.axhline(depth, color="#888888", linewidth=0.7, linestyle=":")
    axes.set_xlim(0.0, 101.0)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("profiles that reach below [%]", fontsize=9)
    axes.set_ylabel("altitude above the geoid [km]", fontsize=9)
    _style(axes)


def _draw_histogram(axes: Axes, made: Sequence[Group], *, extent: _Extent) -> None:
    """Number of profiles by lowest altitude, zones stacked; what ends higher is counted in the last bin."""
    bottom, top, width = extent
    edges = bottom + width * np.arange(round((top - bottom) / width) + 1)
    base = np.zeros(edges.size - 1)
    for zone in ZONES:
        lowest = [group.lowest[np.isfinite(group.lowest)] for group in made if group.zone == zone]
        if lowest:
            counts, _ = np.histogram(np.minimum(np.concatenate(lowest), edges[-1]), edges)
            axes.barh(
                edges[:-1],
                counts,
                width,
                left=base,
                align="edge",
                color=zone.color,
                edgecolor="white",
                linewidth=0.4,
                label=zone.name,
            )
            base = base + counts
    axes.set_ylim(bottom, top)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(f"profiles per {width * KILOMETRE:.0f} m", fontsize=9)
    axes.set_ylabel("lowest altitude above the geoid [km]", fontsize=9)
    _style(axes)


def _draw_reasons(axes: Axes, soundings: Sequence[sounding.Sounding]) -> None:
    """Number of profiles by the reason they end."""
    counted = Counter(each.truncation_reason for each in soundings).most_common()[::-1]
    words = [profile_plot.TRUNCATIONS.get(name, name.replace("_", " ")) for name, _ in counted]
    counts = [count for _, count in counted]
    bars = axes.barh(range(len(counts)), counts, REASON_HEIGHT, color="#7d8c99")
    labels = [
        f"{word}: {count} ({100.0 * count / len(soundings):.0f} %)" for word, count in zip(words, counts, strict=True)
    ]
    for bar, label in zip(bars, labels, strict=True):
        axes.annotate(
            label, (0.0, bar.get_y() + bar.get_height()), xytext=(2, 3), textcoords="offset points", fontsize=8.5
        )
    axes.set_yticks([])
    # The most frequent one is at the top, however few there are.
    axes.set_ylim(min(len(counts) - REASON_ROWS, 0) - 0.4, len(counts) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("profiles", fontsize=9)
    axes.set_title("why the profiles end", fontsize=10)
    _style(axes)


def _draw_legend(figure: Figure, made: Sequence[Group]) -> None:
    """Groups with their number and shares, below the panels."""
    handles, _ = figure.axes[0].get_legend_handles_labels()
    labels = []
    for group in made:
        shares = " / ".join(f"{100.0 * share_below(group.lowest, depth):.0f}" for depth in DEPTHS)
        labels.append(f"{group.zone.name}, {WORDS[group.setting]}: {_counted(group.lowest.size)}, {shares} %")
    depths = " / ".join(f"{depth:g}" for depth in DEPTHS)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=2 if len(made) > 1 else 1,
        fontsize=8.5,
        frameon=False,
        title=f"zone, direction: number, share below {depths} km",
        title_fontsize=8.5,
    )
