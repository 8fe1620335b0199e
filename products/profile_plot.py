"""One profile at a glance: bending angle, refractivity and dry temperature with standard deviations, as PNG."""

import io

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

KILOMETRE = 1_000.0
TOP = 60.0
COLORS = {
    "first": "#9ab8d3",
    "second": "#d9b38c",
    "observed": "#1f4e79",
    "background": "#8a8a8a",
    "temperature": "#a83232",
}
METADATA = {"Software": "terralimb"}


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
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    bending, refractivity, temperature = figure.subplots(1, 3)
    _draw_bending(bending, profile)
    _draw_refractivity(refractivity, profile)
    _draw_temperature(temperature, profile)
    lowest = float(profile["lowest_altitude"]) / KILOMETRE
    for axes in (refractivity, temperature):
        if np.isfinite(lowest):
            axes.axhline(lowest, color="black", linewidth=0.7, linestyle=":")
            axes.annotate(
                f"lowest observation {lowest:.1f} km",
                (0.03, lowest),
                xycoords=("axes fraction", "data"),
                xytext=(0, 3),
                textcoords="offset points",
                fontsize=7,
            )
    figure.suptitle(_heading(profile), fontsize=11)
    stream = io.BytesIO()
    canvas.print_png(stream, metadata=METADATA)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def _heading(profile: xr.Dataset) -> str:
    """Identity, place, time and flags."""
    flag = int(profile["quality_flag"])
    meanings = str(profile["quality_flag"].attrs.get("flag_meanings", "")).split()
    raised = [name for bit, name in enumerate(meanings) if flag & (1 << bit)]
    north, east = float(profile["reference_latitude"]), float(profile["reference_longitude"])
    place = f"{abs(north):.2f}° {'S' if north < 0.0 else 'N'}  {abs(east):.2f}° {'W' if east < 0.0 else 'E'}"
    moment = np.datetime64("2000-01-01T00:00:00") + np.timedelta64(round(float(profile["reference_time"])), "s")
    kind = "setting" if int(profile["setting"]) else "rising"
    flags = ", ".join(raised) or "none"
    return f"{profile.attrs.get('id', 'profile')}   {kind}   {moment} UTC   {place}\nquality flags: {flags}"


def _style(axes: Axes, *, label: str, vertical: str) -> None:
    """Common look of the panels."""
    axes.set_ylim(0.0, TOP)
    axes.set_xlabel(label)
    axes.set_ylabel(vertical)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bending(axes: Axes, profile: xr.Dataset) -> None:
    """Bending angle against impact height."""
    height = (profile["impact_parameter"].to_numpy() - float(profile["radius_of_curvature"])) / KILOMETRE
    value, deviation = profile["bending_angle"].to_numpy(), profile["bending_angle_uncertainty"].to_numpy()
    shown = np.isfinite(value)
    axes.plot(
        _positive(profile["bending_angle_l1"].to_numpy()),
        height,
        color=COLORS["first"],
        linewidth=0.8,
        label="first signal",
    )
    axes.plot(
        _positive(profile["bending_angle_l2"].to_numpy()),
        height,
        color=COLORS["second"],
        linewidth=0.8,
        label="second signal",
    )
    axes.fill_betweenx(
        height[shown],
        np.maximum(value - deviation, 1e-7)[shown],
        np.maximum(value + deviation, 1e-7)[shown],
        color=COLORS["observed"],
        alpha=0.25,
        linewidth=0.0,
        label="± standard deviation",
    )
    axes.plot(_positive(value), height, color=COLORS["observed"], linewidth=1.1, label="ionosphere removed")
    axes.plot(
        profile["bending_angle_optimized"].to_numpy(),
        height,
        color=COLORS["background"],
        linewidth=0.9,
        linestyle="--",
        label="optimized",
    )
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 6e-2)
    _style(axes, label="bending angle [rad]", vertical="impact height [km]")
    axes.legend(fontsize=7, frameon=False, loc="upper right")


def _positive(values: np.ndarray) -> np.ndarray:
    """Values a logarithmic axis can show."""
    return np.where(np.nan_to_num(values) > 0.0, values, np.nan)


def _draw_refractivity(axes: Axes, profile: xr.Dataset) -> None:
    """Refractivity against altitude."""
    altitude = profile["altitude"].to_numpy() / KILOMETRE
    value, deviation = profile["refractivity"].to_numpy(), profile["refractivity_uncertainty"].to_numpy()
    axes.fill_betweenx(
        altitude,
        np.maximum(value - deviation, 1e-3),
        value + deviation,
        color=COLORS["observed"],
        alpha=0.25,
        linewidth=0.0,
    )
    axes.plot(value, altitude, color=COLORS["observed"], linewidth=1.1)
    axes.set_xscale("log")
    axes.set_xlim(0.03, 600.0)
    _style(axes, label="refractivity [N-units]", vertical="altitude [km]")


def _draw_temperature(axes: Axes, profile: xr.Dataset) -> None:
    """Dry temperature against altitude."""
    altitude = profile["altitude"].to_numpy() / KILOMETRE
    value, deviation = profile["dry_temperature"].to_numpy(), profile["dry_temperature_uncertainty"].to_numpy()
    axes.fill_betweenx(
        altitude, value - deviation, value + deviation, color=COLORS["temperature"], alpha=0.22, linewidth=0.0
    )
    axes.plot(value, altitude, color=COLORS["temperature"], linewidth=1.1)
    axes.set_xlim(170.0, 320.0)
    _style(axes, label="dry temperature [K]", vertical="altitude [km]")
