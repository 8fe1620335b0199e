"""Pictures of a fusion: what went in, what came out, masks, tie points, on maps with frame, scale and north arrow."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import colors, figure, patches
from matplotlib.backends import backend_agg

from products import quicklook

_GAP = (201, 203, 206)
_COLUMNS = 3
_SIDE = 4.1
_ARROW_SHARE = 0.06
_LOW, _HIGH = 2.0, 98.0


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One map of a picture.

    Parameters
    ----------
    title : str
        What is shown.
    image : array
        Colour (3, y, x), or values or classes (y, x); NaN is no data.
    legend : tuple of quicklook.LegendEntry
        Classes; empty where the image holds values.
    label : str
        Name of the values with their unit.
    limits : tuple of float, optional
        Ends of the scale, in the unit of the values; default from the 2nd to the 98th percentile.
    arrows : array, optional
        Tie points (point, 5): column, row, displacement to the right and down [pixel of the image], kept 1 or 0.
    """

    title: str
    image: npt.NDArray[Any]
    legend: tuple[quicklook.LegendEntry, ...] = ()
    label: str = ""
    limits: tuple[float, float] | None = None
    arrows: npt.NDArray[np.float64] | None = None


def draw(panels: Sequence[Panel], *, title: str, date: str, width: float | None) -> bytes:
    """PNG of some maps side by side.

    Parameters
    ----------
    panels : sequence of Panel
        The maps, in order.
    title : str
        Headline.
    date : str
        Date or period; empty where unknown.
    width : float, optional
        Width of the maps on the ground [m]; without it there is no scale and no north.

    Returns
    -------
    bytes
        The picture; equal input gives equal bytes.
    """
    columns = 2 if len(panels) == 4 else min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    aspect = min(max(panels[0].image.shape[-2] / panels[0].image.shape[-1], 0.4), 2.0)
    size = (_SIDE * columns + 0.4, (_SIDE * aspect + 0.75) * rows + 0.7)
    with mpl.rc_context({"font.family": [quicklook.LATIN_FONT], "axes.linewidth": 0.8, "text.color": quicklook.INK}):
        page = figure.Figure(figsize=size, dpi=100, facecolor="white", layout="constrained")
        page.suptitle(f"{title}    {date}".rstrip(), x=0.02, y=0.99, va="top", ha="left", fontsize=12, weight="bold")
        grid_of_axes = page.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid_of_axes.ravel(), panels, strict=False):
            _draw_panel(page, axes, panel, width)
        for axes in grid_of_axes.ravel()[len(panels) :]:
            axes.set_axis_off()
        content = io.BytesIO()
        backend_agg.FigureCanvasAgg(page)
        page.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_panel(page: figure.Figure, axes: Any, panel: Panel, width: float | None) -> None:
    axes.set_title(panel.title, fontsize=9.5, loc="left")
    axes.tick_params(labelsize=7, length=2.5)
    if panel.image.ndim == 3:
        axes.imshow(quicklook.natural_color(panel.image), interpolation="nearest")
    elif panel.legend:
        _draw_classes(axes, panel)
    else:
        _draw_values(page, axes, panel)
    if panel.arrows is not None and len(panel.arrows):
        _draw_arrows(axes, panel.arrows, max(panel.image.shape[-2:]))
    if width is not None:
        _draw_scale(axes, panel.image.shape, width / panel.image.shape[-1])


def _draw_values(page: figure.Figure, axes: Any, panel: Panel) -> None:
    finite = panel.image[np.isfinite(panel.image)]
    low, high = panel.limits or (np.percentile(finite, (_LOW, _HIGH)) if finite.size else (0.0, 1.0))
    colormap = mpl.colormaps["viridis"].with_extremes(bad=quicklook.NODATA_COLOUR)
    limits = colors.Normalize(float(low), float(max(high, low + 1e-12)))
    drawn = axes.imshow(np.ma.masked_invalid(panel.image), cmap=colormap, norm=limits, interpolation="nearest")
    bar = page.colorbar(drawn, ax=axes, shrink=0.75, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(panel.label, fontsize=7.5)


def _draw_classes(axes: Any, panel: Panel) -> None:
    picture = np.full((*panel.image.shape, 3), _GAP, dtype=np.uint8)
    for entry in panel.legend:
        picture[panel.image == entry.value] = [int(entry.colour[start : start + 2], 16) for start in (1, 3, 5)]
    axes.imshow(picture, interpolation="nearest")
    present = [entry for entry in panel.legend if (panel.image == entry.value).any()]
    handles = [patches.Patch(facecolor=entry.colour, edgecolor=quicklook.INK, lw=0.5) for entry in present]
    labels = [entry.label_en for entry in present]
    axes.legend(handles, labels, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncol=3, frameon=False)


def _draw_arrows(axes: Any, arrows: npt.NDArray[np.float64], extent: int) -> None:
    """Kept points in one colour, rejected ones in another, drawn as long as the picture allows."""
    kept = arrows[:, 4] > 0
    longest = float(np.hypot(arrows[kept, 2], arrows[kept, 3]).max(initial=0.0))
    factor = _ARROW_SHARE * extent / max(longest, 1e-9)
    for chosen, colour, size in ((~kept, "#d1495b", 8.0), (kept, "#ffd166", 10.0)):
        axes.scatter(arrows[chosen, 0], arrows[chosen, 1], s=size, c=colour, edgecolors="black", linewidths=0.3)
    axes.quiver(
        *arrows[kept, :2].T, *(arrows[kept, 2:4].T * factor), angles="xy", scale_units="xy", scale=1.0,
        color="#ffd166", width=0.004,
    )  # fmt: skip
    note = f"yellow kept, red rejected; longest arrow {longest:.2f} pixel"
    axes.text(0.01, -0.16, note, transform=axes.transAxes, fontsize=7)


def _draw_scale(axes: Any, shape: tuple[int, ...], pixel_size: float) -> None:
    width, height = shape[-1], shape[-2]
    length = quicklook.scale_bar_length(width * pixel_size)
    across = length / pixel_size
    # Pixel edges lie half a pixel before the centers that are counted.
    x, y, thick = 0.03 * width - 0.5, 0.965 * height - 0.5, 0.012 * height
    axes.add_patch(patches.Rectangle((x, y), across, thick, facecolor="white", edgecolor="black", linewidth=0.8))
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    halo = {"facecolor": "white", "alpha": 0.7, "pad": 0.8, "edgecolor": "none"}
    axes.text(x + across / 2, y - 0.012 * height, text, fontsize=7, ha="center", va="bottom", bbox=halo)
    axes.annotate(
        "", xy=(0.955, 0.91), xytext=(0.955, 0.8), xycoords="axes fraction",
        arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2},
    )  # fmt: skip
    axes.text(0.955, 0.925, "N", transform=axes.transAxes, fontsize=8, ha="center", bbox=halo)
