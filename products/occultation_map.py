"""Where occultations were: places, drift of the tangent point and lowest altitude on a map of the world, as PNG."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from matplotlib.transforms import Affine2D

from processors.arrays import FloatArray
from products import coastline, profile_plot, sounding

KILOMETRE = 1_000.0
LAND = "#e4e1d8"
SHORE = "#9c978a"
SEA = "#f5f9fc"
GRID = "#c9d3da"
DRIFT = "#44505a"
NOTHING = "#b0b0b0"
COLORMAP = "plasma"
MARKERS = {True: "v", False: "^"}
WORDS = {True: "setting", False: "rising"}
LARGEST, SMALLEST = 46.0, 5.0
CROWD = 150.0
"""Number of soundings from which on markers shrink."""
SCALE_SHARES = (5.0, 95.0)
"""Part of the lowest altitudes the scale spans [%]."""
SCALE_WIDTH, SCALE_STEP = 0.5, 0.1
"""Least width of the scale, and what its ends are multiples of [km]."""
ZOOM = 1.5
"""Least half extent of the map of one event [degree]."""
LABEL_STEP = 10.0
LABEL_OFFSET = 11.0
LABEL_ROOM = 0.04
LEANING = 0.4


def plot(soundings: Sequence[sounding.Sounding]) -> bytes:
    """Draw a map of occultations.

    Parameters
    ----------
    soundings : sequence of Sounding
        At least one; a single one is drawn near by.

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


def figure_from_soundings(soundings: Sequence[sounding.Sounding]) -> Figure:
    """Figure of a map of occultations.

    Parameters
    ----------
    soundings : sequence of Sounding
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
        The world, or for a single occultation the surroundings of its track.

    Raises
    ------
    ValueError
        There are none.
    """
    if not soundings:
        raise ValueError("no occultations to draw")
    return _near(soundings[0]) if len(soundings) == 1 else _world(soundings)


def _world(soundings: Sequence[sounding.Sounding]) -> Figure:
    figure = Figure(figsize=(13.0, 7.0), layout="constrained")
    axes = figure.subplots()
    _draw_land(axes, shifts=(0.0,))
    axes.set_xlim(-180.0, 180.0)
    axes.set_ylim(-90.0, 90.0)
    axes.xaxis.set_major_locator(MultipleLocator(30.0))
    axes.yaxis.set_major_locator(MultipleLocator(30.0))
    _style(axes, aspect=1.0)
    _draw_drifts(axes, soundings)
    lowest = np.array([each.lowest_altitude for each in soundings]) / KILOMETRE
    scale = _scale(lowest[np.isfinite(lowest)])
    drawn = _draw_places(axes, soundings, scale=scale)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.72, pad=0.01, extend=scale.extend)
    bar.set_label("lowest altitude of the observation above the geoid [km]", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    axes.set_title(_title(soundings), fontsize=11)
    _draw_legend(axes, soundings)
    return figure


class _Scale(NamedTuple):
    """Ends of the scale of lowest altitudes [km], and on which sides altitudes lie beyond."""

    low: float
    high: float
    extend: str


def _scale(lowest: FloatArray) -> _Scale:
    """Scale in which nearly all lowest altitudes differ."""
    if not lowest.size:
        return _Scale(0.0, SCALE_WIDTH, "neither")
    first, last = np.percentile(lowest, SCALE_SHARES) / SCALE_STEP
    # Rounding keeps a multiple a multiple.
    low = float(np.floor(np.round(first, 6)) * SCALE_STEP)
    high = max(float(np.ceil(np.round(last, 6)) * SCALE_STEP), low + SCALE_WIDTH)
    beyond = (bool(lowest.min() < low), bool(lowest.max() > high))
    return _Scale(low, high, {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither"))


def _title(soundings: Sequence[sounding.Sounding]) -> str:
    """Counts and the time they span."""
    setting = sum(each.setting for each in soundings)
    flagged = sum(bool(each.quality_flags) for each in soundings)
    first, last = (f"{edge(each.time for each in soundings)}".replace("T", " ")[:16] for edge in (min, max))
    return (
        f"{len(soundings)} occultations: {setting} setting, {len(soundings) - setting} rising, {flagged} flagged\n"
        f"{first} to {last} UTC"
    )


def _draw_land(axes: Axes, *, shifts: Sequence[float]) -> None:
    for shift in shifts:
        patch = PathPatch(coastline.outline(), facecolor=LAND, edgecolor=SHORE, linewidth=0.4, zorder=0.5)
        patch.set_transform(Affine2D().translate(shift, 0.0) + axes.transData)
        axes.add_patch(patch)


def _style(axes: Axes, *, aspect: float) -> None:
    axes.set_facecolor(SEA)
    axes.set_aspect(aspect)
    axes.grid(True, color=GRID, linewidth=0.5, zorder=0.6)
    axes.tick_params(labelsize=8, length=2.5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _degrees(_wrapped(value), "EW")))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _degrees(value, "NS")))


def _wrapped(longitude: float) -> float:
    """Longitude between -180 and 180 degrees; 180 stays."""
    return longitude if -180.0 <= longitude <= 180.0 else (longitude + 180.0) % 360.0 - 180.0


def _degrees(value: float, letters: str) -> str:
    """Label of a meridian or parallel."""
    number = f"{abs(value):.6g}°"
    if value == 0.0 or abs(value) == 180.0:
        return number
    return f"{number}{letters[0] if value > 0.0 else letters[1]}"


def _draw_drifts(axes: Axes, soundings: Sequence[sounding.Sounding]) -> None:
    lines = [line for each in soundings for line in _pieces(each.track)]
    crowd = max(len(soundings) / CROWD, 1.0)
    opacity, width = max(0.75 / crowd**0.25, 0.15), max(0.7 / crowd**0.2, 0.25)
    axes.add_collection(LineCollection(lines, colors=DRIFT, linewidths=width, alpha=opacity, zorder=2.0))


def _pieces(track: FloatArray) -> list[FloatArray]:
    """Track as lines of longitude and latitude, cut where it crosses the date line."""
    points = track[[2, 1]].T
    cuts = np.flatnonzero(np.abs(np.diff(points[:, 0])) > 180.0) + 1
    return [piece for piece in np.split(points, cuts) if len(piece) > 1]


def _draw_places(axes: Axes, soundings: Sequence[sounding.Sounding], *, scale: _Scale) -> PathCollection:
    """Markers by direction, coloured by lowest altitude; the deepest lie on top."""
    lowest = np.array([each.lowest_altitude for each in soundings]) / KILOMETRE
    known = np.isfinite(lowest)
    size = float(np.clip(LARGEST * CROWD / len(soundings), SMALLEST, LARGEST))
    order = np.argsort(-np.nan_to_num(lowest, nan=np.inf), kind="stable")
    drawn: list[PathCollection] = []
    for setting, marker in MARKERS.items():
        chosen = np.array([index for index in order if soundings[index].setting == setting], dtype=np.int64)
        drawn.append(
            axes.scatter(
                [soundings[index].longitude for index in chosen],
                [soundings[index].latitude for index in chosen],
                c=np.where(known, lowest, np.nan)[chosen],
                marker=marker,
                s=size,
                cmap=colormaps[COLORMAP].with_extremes(bad=NOTHING),
                vmin=scale.low,
                vmax=scale.high,
                edgecolors="black",
                linewidths=0.3 if size > SMALLEST else 0.0,
                zorder=3.0,
                plotnonfinite=True,
                # A marker at the date line is whole.
                clip_on=False,
            )
        )
    return drawn[0]


def _draw_legend(axes: Axes, soundings: Sequence[sounding.Sounding]) -> None:
    def marker(shape: str, color: str, label: str) -> Line2D:
        return Line2D([], [], marker=shape, linestyle="none", color=color, markeredgecolor="black", label=label)

    handles = [marker(MARKERS[setting], "white", WORDS[setting]) for setting in (True, False)]
    handles.append(Line2D([], [], color=DRIFT, linewidth=1.0, label="drift of the tangent point up to 60 km"))
    nothing = sum(not np.isfinite(each.lowest_altitude) for each in soundings)
    if nothing:
        handles.append(marker("o", NOTHING, f"nothing retrieved: {nothing}"))
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=len(handles), fontsize=8, frameon=False
    )


def _near(short: sounding.Sounding) -> Figure:
    """Map around one event, with the altitudes along its track."""
    figure = Figure(figsize=(9.0, 8.0), layout="constrained")
    axes = figure.subplots()
    altitude, north = short.track[:2]
    # Longitudes count from the reference point on, so that the date line cuts nothing.
    east = short.longitude + (short.track[2] - short.longitude + 180.0) % 360.0 - 180.0
    _draw_land(axes, shifts=(-360.0, 0.0, 360.0))
    aspect = 1.0 / max(np.cos(np.radians(short.latitude)), 0.05)
    _frame(axes, np.r_[east, short.longitude], np.r_[north, short.latitude], aspect=aspect)
    _style(axes, aspect=aspect)
    axes.plot(short.longitude, short.latitude, "+", color="black", markersize=12, zorder=4.0, label="reference point")
    axes.plot(east, north, color=DRIFT, linewidth=1.2, zorder=2.0)
    drawn = axes.scatter(
        east, north, c=altitude / KILOMETRE, cmap=COLORMAP, s=34, edgecolors="black", linewidths=0.3, zorder=3.0,
        label="tangent point of the ray",
    )  # fmt: skip
    if altitude.size:
        _label_altitudes(axes, altitude / KILOMETRE, east, north, aspect=aspect)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
        bar.set_label("altitude of the tangent point above the geoid [km]", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9, edgecolor="none")
    axes.set_title(_event_title(short), fontsize=11)
    return figure


def _event_title(short: sounding.Sounding) -> str:
    moment = f"{short.time}".replace("T", " ")
    lowest = short.lowest_altitude
    reach = f"observed down to {profile_plot.depth(lowest)}" if np.isfinite(lowest) else "nothing retrieved"
    return (
        f"{short.occultation_id}   {WORDS[short.setting]}   {moment} UTC\n"
        f"{profile_plot.place(short.latitude, short.longitude)}   {reach}"
    )


def _frame(axes: Axes, east: FloatArray, north: FloatArray, *, aspect: float) -> None:
    """Limits around a track, as wide as high on the ground."""
    middle_east, middle_north = (east.min() + east.max()) / 2.0, (north.min() + north.max()) / 2.0
    half = max(0.75 * np.ptp(north), 0.75 * np.ptp(east) / aspect, ZOOM)
    axes.set_xlim(middle_east - half * aspect, middle_east + half * aspect)
    axes.set_ylim(max(middle_north - half, -90.0), min(middle_north + half, 90.0))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _label_altitudes(axes: Axes, altitude: FloatArray, east: FloatArray, north: FloatArray, *, aspect: float) -> None:
    """Name the ends and every ten kilometres between them, beside the track, where there is room."""
    across = np.array([north[-1] - north[0], (east[0] - east[-1]) / aspect])
    across = across / max(np.hypot(*across), 1e-9) * (1.0 if across[0] >= 0.0 else -1.0)
    alignment = "left" if across[0] > LEANING else "center"
    room = LABEL_ROOM * np.ptp(axes.get_ylim())
    placed: list[FloatArray] = []
    for height in (altitude[0], altitude[-1], *np.arange(LABEL_STEP, altitude[-1], LABEL_STEP)):
        at = np.array([np.interp(height, altitude, east), np.interp(height, altitude, north)])
        if all(np.hypot((at[0] - other[0]) / aspect, at[1] - other[1]) > room for other in placed):
            placed.append(at)
            axes.annotate(
                f"{height:.3g} km" if height >= 1.0 else profile_plot.depth(height * KILOMETRE),
                (float(at[0]), float(at[1])),
                xytext=tuple(LABEL_OFFSET * across),
                textcoords="offset points",
                ha=alignment,
                va="center",
                fontsize=8,
                zorder=5.0,
            )
