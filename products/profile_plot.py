"""One profile at a glance, as PNG: the whole of it above, the lower troposphere below, uncertainty beside both."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from processors.arrays import BoolArray, FloatArray
from products import sounding

KILOMETRE = 1_000.0
LEGEND_ROWS = 3
TOP = 60.0
LOW_TOP = 8.0
SPECTRAL_TOP = 30.0
COLORS = {
    "first": "#6fa0cc",
    "second": "#d49a5b",
    "observed": "#1f4e79",
    "optimized": "#cfaede",
    "background": "#5a5a5a",
    "width": "#7a7a7a",
    "temperature": "#a83232",
    "air": "#3d8b63",
    "hatch": "#9a9a9a",
    "biased": "#c0392b",
}
METADATA = {"Software": "terralimb"}
SIZE = (14.0, 9.2)
# Faster than the usual compression by a third, for files as large.
COMPRESSION = 3
# Places are told, not found: finding them doubles the time of a drawing.
PLACES = {"left": 0.04, "right": 0.99, "bottom": 0.135, "top": 0.895, "wspace": 0.16, "hspace": 0.38}
RATIOS = {"width_ratios": (1.25, 1.0, 1.0, 0.8), "height_ratios": (1.5, 1.0)}
TRUNCATIONS = {
    "record_end": "the record ends there",
    "signal_lost": "the signal was lost",
    "data_gap": "a gap in the data",
    "nothing_retrieved": "nothing could be retrieved",
    "surface_reached": "the surface was reached",
    "shadow_border": "rays end at the surface or a duct",
}
SUPER_REFRACTION = "super_refraction"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PERCENT = (1e-5, 1e3)
"""Least and greatest limit of the axis of relative uncertainty [%]."""
SHADED = ("below the lowest observation", "possibly biased by super-refraction above")


class _Shading(NamedTuple):
    """Heights below the lowest observation, and where a duct above biases the retrieval [km]."""

    lowest: float
    biased: tuple[float, float] | None


def plot(profile: xr.Dataset) -> bytes:
    """Draw a profile.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset of `products.profile`, or one read back from its NetCDF.

    Returns
    -------
    bytes
        PNG, the same for the same profile.
    """
    return png(figure_from_profile(profile))


def png(figure: Figure) -> bytes:
    """Encode a figure: the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to encode.

    Returns
    -------
    bytes
        PNG.
    """
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata=METADATA, pil_kwargs={"compress_level": COMPRESSION})  # type: ignore[no-untyped-call]
    return stream.getvalue()


def figure_from_profile(profile: xr.Dataset) -> Figure:
    """Figure of a profile.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset of `products.profile`, or one read back from its NetCDF.

    Returns
    -------
    matplotlib.figure.Figure
        Panels of bending angle, refractivity, dry temperature and uncertainty, 0 to 60 km above 0 to 8 km.
    """
    figure = Figure(figsize=SIZE)
    rows = figure.subplots(2, 4, gridspec_kw={**RATIOS, **PLACES})
    weight = _draw_row(rows[0], profile, top=TOP)
    low_weight = _draw_row(rows[1], profile, top=LOW_TOP)
    _draw_legend(figure, [*rows[0], weight, *rows[1], low_weight])
    figure.suptitle(heading(profile), fontsize=11, y=0.99)
    return figure


def _draw_row(panels: Sequence[Axes], profile: xr.Dataset, *, top: float) -> Axes:
    """One row of panels; the axes of the weights are returned."""
    bending, refractivity, temperature, uncertainty = panels
    _draw_bending(bending, profile, top=top)
    _draw_refractivity(refractivity, profile, top=top)
    _draw_temperature(temperature, profile, top=top)
    weight = _draw_uncertainty(uncertainty, profile, top=top)
    _shade(bending, _bending_shading(profile))
    for axes in (refractivity, temperature, uncertainty):
        _shade(axes, _height_shading(profile))
    return weight


def heading(profile: xr.Dataset) -> str:
    """Identity, place, time, flags and the reason the profile ends, in words.

    Parameters
    ----------
    profile : xr.Dataset
        Product dataset.

    Returns
    -------
    str
        Two lines.
    """
    short = sounding.sounding_from_profile(profile)
    direction = "setting" if short.setting else "rising"
    attributes = profile.attrs
    pair = f"{attributes['transmitter']} seen by {attributes['receiver']}   " if "transmitter" in attributes else ""
    flags = ", ".join(name.replace("_", " ") for name in short.quality_flags) or "none"
    reason = TRUNCATIONS.get(short.truncation_reason, short.truncation_reason.replace("_", " "))
    ends = f"observed down to {depth(short.lowest_altitude)}: {reason}"
    if not np.isfinite(short.lowest_altitude):
        ends = f"no level from the observation: {reason}"
    moment = f"{short.time}".replace("T", " ")
    return (
        f"{short.occultation_id}   {pair}{direction}   {moment} UTC   {place(short.latitude, short.longitude)}\n"
        f"{ends}   |   quality flags: {flags}"
    )


def place(latitude: float, longitude: float) -> str:
    """Write a place.

    Parameters
    ----------
    latitude, longitude : float
        Place [degree].

    Returns
    -------
    str
        Such as `29.50° N  106.50° E`.
    """
    north, east = ("S" if latitude < 0.0 else "N"), ("W" if longitude < 0.0 else "E")
    return f"{abs(latitude):.2f}° {north}  {abs(longitude):.2f}° {east}"


def depth(altitude: float) -> str:
    """Write a low altitude.

    Parameters
    ----------
    altitude : float
        Altitude [m].

    Returns
    -------
    str
        Such as `110 m` or `1.20 km`: metres below a kilometre.
    """
    if abs(altitude) < KILOMETRE:
        return f"{round(altitude)} m"
    return f"{altitude / KILOMETRE:.2f} km"


def _make_logarithmic(axes: Axes, limits: tuple[float, float]) -> None:
    """Horizontal axis of decades; labels in plain letters, as setting them as formulae takes as long as all curves."""
    axes.set_xscale("log")
    axes.set_xlim(limits)
    axes.xaxis.set_major_locator(LogLocator(numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(_power_of_ten))


def _power_of_ten(value: float, _: int | None = None) -> str:
    return "10" + f"{round(np.log10(value))}".translate(SUPERSCRIPTS)


def _style(axes: Axes, *, label: str, vertical: str, top: float) -> None:
    """Common look of the panels; without a word for it, the vertical axis is that of the panel to the left."""
    axes.set_ylim(0.0, top)
    axes.set_xlabel(label, fontsize=9)
    axes.tick_params(labelsize=8, labelleft=bool(vertical))
    if vertical:
        axes.set_ylabel(vertical, fontsize=9)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _fit(axes: Axes, values: FloatArray, *, margin: float = 0.04) -> None:
    """Horizontal limits from the values shown."""
    shown = values[np.isfinite(values)]
    if shown.size:
        low, high = float(shown.min()), float(shown.max())
        room = max(margin * (high - low), 1e-9)
        axes.set_xlim(low - room, high + room)


def _impact_height(profile: xr.Dataset) -> FloatArray:
    if "impact_height" in profile:
        return np.asarray(profile["impact_height"].to_numpy() / KILOMETRE)
    return np.asarray((profile["impact_parameter"].to_numpy() - float(profile["radius_of_curvature"])) / KILOMETRE)


def _altitude(profile: xr.Dataset) -> FloatArray:
    return np.asarray(profile["altitude"].to_numpy() / KILOMETRE)


def _bending_shading(profile: xr.Dataset) -> _Shading:
    height, observed = _impact_height(profile), np.isfinite(profile["bending_angle"].to_numpy())
    lowest = float(height[observed].min()) if observed.any() else np.nan
    return _Shading(lowest, _biased(profile, "bending_flag", height))


def _height_shading(profile: xr.Dataset) -> _Shading:
    lowest = float(profile["lowest_altitude"]) / KILOMETRE
    return _Shading(lowest, _biased(profile, "refractivity_flag", _altitude(profile)))


def _biased(profile: xr.Dataset, name: str, height: FloatArray) -> tuple[float, float] | None:
    """Lowest and highest level a flag variable marks as biased by super-refraction."""
    if name not in profile:
        return None
    variable = profile[name]
    masks = np.atleast_1d(variable.attrs.get("flag_masks", [])).tolist()
    words = str(variable.attrs.get("flag_meanings", "")).split()
    mask = sum(mask for mask, word in zip(masks, words, strict=False) if SUPER_REFRACTION in word)
    marked: BoolArray = (variable.to_numpy().astype(np.int64) & mask) != 0
    return (float(height[marked].min()), float(height[marked].max())) if marked.any() else None


def _shade(axes: Axes, shading: _Shading) -> None:
    """Hatch what no observation carries and what is biased."""
    bottom, top = axes.get_ylim()
    if not shading.lowest <= bottom:
        lowest = min(shading.lowest, top) if np.isfinite(shading.lowest) else top
        axes.axhspan(
            bottom,
            lowest,
            facecolor="none",
            edgecolor=COLORS["hatch"],
            hatch="////",
            linewidth=0.0,
            alpha=0.6,
            label=SHADED[0],
        )
        axes.axhline(lowest, color="black", linewidth=0.8, linestyle=":")
    if shading.biased is not None:
        low, high = shading.biased
        axes.axhspan(
            max(low, bottom),
            min(max(high, bottom), top),
            facecolor="none",
            edgecolor=COLORS["biased"],
            hatch="\\\\\\\\",
            linewidth=0.0,
            alpha=0.5,
            label=SHADED[1],
        )


def _draw_bending(axes: Axes, profile: xr.Dataset, *, top: float) -> None:
    """Bending angle against impact height: logarithmic where all heights are shown, linear below."""
    height = _impact_height(profile)
    value, deviation = profile["bending_angle"].to_numpy(), profile["bending_angle_uncertainty"].to_numpy()
    logarithmic = top > LOW_TOP
    scale = 1.0 if logarithmic else KILOMETRE
    inside = (height > 0.0) & (height < top)

    def shown(values: FloatArray) -> FloatArray:
        return np.asarray(np.where(~logarithmic | (np.nan_to_num(values) > 0.0), values, np.nan) * scale)

    for name, color, label in (
        ("bending_angle_l1", "first", "first signal"),
        ("bending_angle_l2", "second", "second signal"),
    ):
        axes.plot(shown(profile[name].to_numpy()), height, color=COLORS[color], linewidth=0.8, label=label)
    known = np.isfinite(value) & np.isfinite(deviation)
    low, high = (value - deviation)[known], (value + deviation)[known]
    floor = 1e-7 if logarithmic else -np.inf
    axes.fill_betweenx(
        height[known],
        np.maximum(low, floor) * scale,
        np.maximum(high, floor) * scale,
        color=COLORS["observed"],
        alpha=0.25,
        linewidth=0.0,
        label="± standard deviation",
    )
    # Wide and below the observed curve: both are seen where they agree.
    optimized = shown(profile["bending_angle_optimized"].to_numpy())
    axes.plot(optimized, height, color=COLORS["optimized"], linewidth=3.6, label="optimized with background")
    axes.plot(shown(value), height, color=COLORS["observed"], linewidth=1.1, label="observed, ionosphere removed")
    if logarithmic:
        _draw_spectral_width(axes, profile, height)
        _make_logarithmic(axes, (1e-6, 6e-2))
    else:
        first, optimized = (profile[name].to_numpy() for name in ("bending_angle_l1", "bending_angle_optimized"))
        together = (value - deviation, value + deviation, first, optimized)
        _fit(axes, np.concatenate([each[inside] for each in together]) * scale)
    unit = "rad" if logarithmic else "mrad"
    _style(axes, label=f"bending angle [{unit}]", vertical="impact height [km]", top=top)


def _draw_spectral_width(axes: Axes, profile: xr.Dataset, height: FloatArray) -> None:
    """Width of the local spectrum where it tells of the air: higher up it is that of the transform itself."""
    if "local_spectral_width" in profile:
        width = np.where(height < SPECTRAL_TOP, profile["local_spectral_width"].to_numpy(), np.nan)
        axes.plot(width, height, color=COLORS["width"], linewidth=0.6, label="half width of the local spectrum")


def _draw_refractivity(axes: Axes, profile: xr.Dataset, *, top: float) -> None:
    """Refractivity against altitude."""
    altitude = _altitude(profile)
    value, deviation = profile["refractivity"].to_numpy(), profile["refractivity_uncertainty"].to_numpy()
    axes.fill_betweenx(
        altitude,
        np.maximum(value - deviation, 1e-3),
        value + deviation,
        color=COLORS["observed"],
        alpha=0.25,
        linewidth=0.0,
        label="± standard deviation",
    )
    axes.plot(value, altitude, color=COLORS["observed"], linewidth=1.2)
    if top > LOW_TOP:
        _make_logarithmic(axes, (0.03, 600.0))
    else:
        inside = (altitude > 0.0) & (altitude < top)
        _fit(axes, np.concatenate([(value - deviation)[inside], (value + deviation)[inside]]))
    _style(axes, label="refractivity [N-units]", vertical="altitude [km]", top=top)


def _draw_temperature(axes: Axes, profile: xr.Dataset, *, top: float) -> None:
    """Dry temperature, and the air's where it was retrieved, against altitude."""
    altitude = _altitude(profile)
    value, deviation = profile["dry_temperature"].to_numpy(), profile["dry_temperature_uncertainty"].to_numpy()
    axes.fill_betweenx(
        altitude,
        value - deviation,
        value + deviation,
        color=COLORS["temperature"],
        alpha=0.22,
        linewidth=0.0,
    )
    axes.plot(value, altitude, color=COLORS["temperature"], linewidth=1.2, label="dry temperature")
    inside = (altitude > 0.0) & (altitude < top)
    together = [(value - deviation)[inside], (value + deviation)[inside]]
    if "temperature" in profile:
        air = profile["temperature"].to_numpy()
        axes.plot(air, altitude, color=COLORS["air"], linewidth=1.0, label="temperature of the air")
        together.append(air[inside])
    if top <= LOW_TOP:
        _fit(axes, np.concatenate(together))
    else:
        axes.set_xlim(170.0, 320.0)
    _style(axes, label="temperature [K]", vertical="", top=top)


def _draw_uncertainty(axes: Axes, profile: xr.Dataset, *, top: float) -> Axes:
    """Relative uncertainty of the refractivity on the axis below, weights on the axis above, which is returned."""
    altitude, value = _altitude(profile), profile["refractivity"].to_numpy()
    shown: list[FloatArray] = [np.empty(0)]
    for name, style, label in (
        ("refractivity_uncertainty", "-", "relative standard deviation of refractivity"),
        ("refractivity_systematic_uncertainty", ":", "its systematic part"),
    ):
        if name in profile:
            percent = 100.0 * profile[name].to_numpy() / np.where(value > 0.0, value, np.nan)
            percent = np.where(percent > 0.0, percent, np.nan)
            axes.plot(percent, altitude, color=COLORS["observed"], linewidth=1.1, linestyle=style, label=label)
            shown.append(percent[(altitude > 0.0) & (altitude < top)])
    _make_logarithmic(axes, _decades(np.concatenate(shown)))
    _style(axes, label="standard deviation [%]", vertical="", top=top)
    weight = axes.twiny()
    # Weights stand on impact parameters, the axis on altitudes.
    weight.plot(
        profile["observation_weight"].to_numpy(),
        _altitude_of_rays(profile),
        color=COLORS["background"],
        linewidth=1.1,
        linestyle="--",
        label="weight of the observation",
    )
    if "wave_optics_weight" in profile:
        weight.plot(
            profile["wave_optics_weight"].to_numpy(),
            _altitude_of_rays(profile),
            color=COLORS["second"],
            linewidth=0.9,
            linestyle="-.",
            label="weight of wave optics",
        )
    weight.set_xlim(-0.05, 1.05)
    weight.set_xlabel("weight [1]", fontsize=9)
    weight.tick_params(labelsize=8)
    weight.spines[["right"]].set_visible(False)
    return weight


def _decades(percent: FloatArray) -> tuple[float, float]:
    """Limits in whole decades around all values, from 1 to 100 % where there are none."""
    known = percent[np.isfinite(percent)]
    if not known.size:
        return 1.0, 100.0
    low, high = (np.clip(each, *PERCENT) for each in (known.min(), known.max()))
    first = np.floor(np.log10(low))
    return float(10.0**first), float(10.0 ** max(np.ceil(np.log10(high)), first + 2.0))


def _altitude_of_rays(profile: xr.Dataset) -> FloatArray:
    """Altitude of the tangent point of each impact parameter [km]."""
    impact, altitude = profile["impact_parameter"].to_numpy(), profile["altitude"].to_numpy()
    radius = altitude + float(profile["radius_of_curvature"]) + float(profile["undulation"])
    # Impact parameter is refractive index times radius.
    of_levels = radius * (1.0 + 1e-6 * profile["refractivity"].to_numpy())
    order = np.argsort(of_levels, kind="stable")
    return np.asarray(np.interp(impact, of_levels[order], altitude[order]) / KILOMETRE)


def _draw_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend below all panels: beside the curves there is no place that is free in every profile."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        drawn = axes.get_legend_handles_labels()
        for handle, label in zip(*drawn, strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        [*handles.values()],
        [*handles],
        loc="lower center",
        ncols=-(-len(handles) // LEGEND_ROWS),
        fontsize=8.5,
        frameon=False,
    )
