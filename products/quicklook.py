"""Map picture of a layer: frame, legend, scale bar, north arrow, date, titles and source, as PNG.

Chinese text is drawn where a font on the machine has every character needed; elsewhere the picture is in English
alone, never with empty boxes. Equal input on an equal set of fonts gives equal bytes.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pyproj
import shapely
import xarray as xr
from matplotlib import cm, collections, colors, figure, font_manager, patches
from matplotlib.backends import backend_agg
from odc.geo import geobox as geo_box

from processors.imagery import grid

LATIN_FONT = "DejaVu Sans"
NODATA_COLOUR = "#c9cbce"
INK = "#20262e"
_STRETCH = (2.0, 98.0)
_BRIGHTENING = 0.8
_ARROW = 1.0
"""Height of the north arrow above the foot of the panel [inch]."""
_LEAST_STEP = 0.26
"""Least distance of the entries of a legend [inch]."""
_POINTS = 72.0
"""Points in an inch."""
_SMALLEST = 5.0
"""Smallest size of a label [point]."""
# Permissively licensed or system families with simplified Chinese, in order of preference.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "AR PL UMing CN",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
    "Noto Sans CJK JP",
)


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """One class of the legend.

    Parameters
    ----------
    value : int
        Number in the raster.
    colour : str
        Colour as ``#rrggbb``.
    label_en : str
        English name.
    label_zh : str
        Chinese name.
    """

    value: int
    colour: str
    label_en: str
    label_zh: str


@dataclass(frozen=True, kw_only=True)
class ColourBar:
    """Scale of a continuous layer.

    Parameters
    ----------
    colour_map : str
        Name of the colour map.
    minimum : float
        Lower end, in the unit of the layer.
    maximum : float
        Upper end, in the unit of the layer.
    label_en : str
        English name.
    label_zh : str
        Chinese name.
    units : str
        Unit; ``1`` is not printed.
    """

    colour_map: str
    minimum: float
    maximum: float
    label_en: str
    label_zh: str
    units: str = "1"


@dataclass(frozen=True, kw_only=True)
class NaturalColour:
    """Red, green and blue of a scene, as the eye would see it.

    Parameters
    ----------
    label_en : str
        English name.
    label_zh : str
        Chinese name.
    """

    label_en: str = "Natural colour"
    label_zh: str = "自然色"


@dataclass(frozen=True, kw_only=True)
class MapText:
    """Words around the map.

    Parameters
    ----------
    title_en : str
        English title.
    title_zh : str
        Chinese title.
    date : str
        Date or period.
    source : str
        Source line, in ASCII.
    """

    title_en: str
    title_zh: str
    date: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Objects drawn over the map.

    Parameters
    ----------
    geometry : sequence of shapely.Geometry
        Points, lines or polygons.
    crs : str
        Reference system of the geometry.
    label_en : str
        English name.
    label_zh : str
        Chinese name.
    colour : str
        Colour as ``#rrggbb``.
    """

    geometry: Sequence[Any]
    crs: str
    label_en: str
    label_zh: str
    colour: str = "#d6006c"


@dataclass(frozen=True, kw_only=True)
class QuicklookParameters:
    """Size of the picture.

    Parameters
    ----------
    width : float
        Width of the picture [inch].
    resolution : int
        Dots per inch [1].
    largest_edge : int
        Longest edge of the drawn raster; a larger one is thinned [pixel].
    most_objects : int
        Objects of one overlay drawn at most [1].
    """

    width: float = 9.0
    resolution: int = 110
    largest_edge: int = 1400
    most_objects: int = 5000


def render(
    image: xr.DataArray,
    *,
    legend: Sequence[LegendEntry] | ColourBar | NaturalColour,
    text: MapText,
    overlays: Sequence[Overlay] = (),
    parameters: QuicklookParameters | None = None,
) -> bytes:
    """PNG of one layer and the objects found on it.

    Parameters
    ----------
    image : xr.DataArray
        Layer (y, x) with a grid mapping, classes by number or values with NaN; for natural colour red, green and blue
        (band, y, x).
    legend : sequence of LegendEntry, ColourBar or NaturalColour
        Classes, scale, or that the layer is a picture.
    text : MapText
        Titles, date, source.
    overlays : sequence of Overlay
        Objects to draw.
    parameters : QuicklookParameters, optional
        Size.

    Returns
    -------
    bytes
        The picture.
    """
    parameters = parameters or QuicklookParameters()
    chinese = chinese_font(_beyond_latin(legend, text) + "".join(overlay.label_zh for overlay in overlays))
    fonts = [LATIN_FONT, chinese] if chinese else [LATIN_FONT]
    with mpl.rc_context({"font.family": fonts, "axes.linewidth": 0.8, "text.color": INK}):
        page = _page(image, legend, text, overlays, parameters, bilingual=chinese is not None)
        return _png(page)


def natural_color(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Red, green and blue stretched alike from the darkest to the brightest of the picture.

    Parameters
    ----------
    image : array
        Red, green, blue (3, y, x), any unit; NaN is no data.

    Returns
    -------
    array
        Picture (y, x, 3), 0 to 255, gray where there is no data.
    """
    values = np.moveaxis(image.astype(np.float64), 0, -1)
    gap = ~np.isfinite(values).all(axis=-1)
    seen = values[~gap]
    low, high = np.percentile(seen, _STRETCH) if seen.size else (0.0, 1.0)
    stretched = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
    picture = (np.nan_to_num(stretched) ** _BRIGHTENING * 255).astype(np.uint8)
    picture[gap] = _rgb(NODATA_COLOUR)
    return picture


@lru_cache(maxsize=64)
def chinese_font(characters: str) -> str | None:
    """Family of an installed font that has all these characters.

    Parameters
    ----------
    characters : str
        Characters to be drawn.

    Returns
    -------
    str or None
        Family name, or None where no font will do.
    """
    installed: dict[str, str] = {}
    for entry in sorted(
        font_manager.fontManager.ttflist, key=lambda font: (font.weight not in (400, "normal"), font.fname)
    ):
        installed.setdefault(entry.name, entry.fname)
    for family in CHINESE_FONTS:
        if family in installed and _has_characters(installed[family], characters):
            return family
    return None


def scale_bar_length(extent: float) -> float:
    """Length of a scale bar: 1, 2 or 5 times a power of ten, at most a quarter of the width.

    Parameters
    ----------
    extent : float
        Width of the map on the ground [m].

    Returns
    -------
    float
        Length [m].
    """
    limit = extent / 4
    decade = 10.0 ** math.floor(math.log10(limit))
    return max(step * decade for step in (1.0, 2.0, 5.0) if step * decade <= limit * (1 + 1e-12))


class _Layout(NamedTuple):
    """Places on the page, in inches from its lower left corner."""

    page: tuple[float, float]
    map: tuple[float, float, float, float]
    legend: tuple[float, float, float]
    columns: int
    furniture: tuple[float, float]


def _layout(aspect: float, width: float) -> _Layout:
    """Legend beside a square or tall map, below a wide one."""
    left, bottom, top = 0.75, 0.75, 0.85
    if aspect < 0.75:
        map_width = width - left - 0.35
        map_height = max(map_width * aspect, 0.5)
        below = 1.75
        return _Layout(
            page=(width, bottom + below + map_height + top),
            map=(left, bottom + below, map_width, map_height),
            legend=(left, bottom + below - 0.5, map_width - 2.6),
            columns=3,
            furniture=(left + map_width - 2.3, bottom + 0.1),
        )
    map_width = min(width - left - 2.65, 8.5 / aspect)
    map_height = map_width * aspect
    panel = left + map_width + 0.3
    return _Layout(
        page=(panel + 2.35, bottom + map_height + top),
        map=(left, bottom, map_width, map_height),
        legend=(panel, bottom + map_height, 2.1),
        columns=1,
        furniture=(panel, bottom + 0.1),
    )


def _page(
    image: xr.DataArray,
    legend: Sequence[LegendEntry] | ColourBar | NaturalColour,
    text: MapText,
    overlays: Sequence[Overlay],
    parameters: QuicklookParameters,
    *,
    bilingual: bool,
) -> figure.Figure:
    geobox = grid.geobox_of(image.to_dataset(name="image"))
    # A picture needs no key but the one for its gaps.
    classes = () if isinstance(legend, NaturalColour) else legend
    ground_width, ground_height = _ground_size(geobox)
    layout = _layout(ground_height / ground_width, parameters.width)
    page = figure.Figure(figsize=layout.page, dpi=parameters.resolution, facecolor="white")
    thin = max(1, math.ceil(max(image.shape[-2:]) / parameters.largest_edge))
    values = image.transpose(..., "y", "x").values[..., ::thin, ::thin]
    colours, has_gaps = _painted(values, legend)
    axes = _map(page, layout, colours, geobox)
    for overlay in overlays:
        _draw(axes, overlay, geobox, most=parameters.most_objects)
    canvas = _canvas(page, layout)
    _titles(canvas, layout, text, bilingual=bilingual)
    # Objects drawn in the colour and by the name of a class have their entry already.
    told = {(entry.colour, entry.label_en) for entry in classes} if not isinstance(classes, ColourBar) else set()
    entries = [
        LegendEntry(value=0, colour=overlay.colour, label_en=overlay.label_en, label_zh=overlay.label_zh)
        for overlay in overlays
        if (overlay.colour, overlay.label_en) not in told
    ]
    if isinstance(classes, ColourBar):
        below = (*_with_gaps((), has_gaps), *entries)
        _colour_bar(page, canvas, layout, classes, bilingual=bilingual, below=below)
    else:
        _class_legend(canvas, layout, (*_with_gaps(classes, has_gaps), *entries), bilingual=bilingual)
    _scale_bar(canvas, layout, ground_width)
    _north_arrow(canvas, layout)
    return page


def _map(page: figure.Figure, layout: _Layout, colours: npt.NDArray[np.uint8], geobox: geo_box.GeoBox) -> Any:
    width, height = layout.page
    x, y, w, h = layout.map
    bounds = geobox.extent.boundingbox
    axes = page.add_axes((x / width, y / height, w / width, h / height))
    axes.imshow(
        colours,
        extent=(bounds.left, bounds.right, bounds.bottom, bounds.top),
        aspect="auto",
        interpolation="nearest",
    )
    longitudes, latitudes = _graticule(geobox, max_columns=max(2, int(w / 1.5)), max_rows=max(1, int(h / 1.2)))
    axes.set_xticks([place for place, _ in longitudes], [label for _, label in longitudes])
    axes.set_yticks([place for place, _ in latitudes], [label for _, label in latitudes], rotation=90, va="center")
    axes.tick_params(labelsize=7.5, length=3, color=INK, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color(INK)
    return axes


def _draw(axes: Any, overlay: Overlay, geobox: geo_box.GeoBox, *, most: int) -> None:
    """Objects in the coordinates of the map: rings around points, lines, outlines of polygons."""
    carry = pyproj.Transformer.from_crs(overlay.crs, str(geobox.crs), always_xy=True)
    shapes = np.asarray(list(overlay.geometry[:most]), dtype=object)
    parts = shapely.get_parts(shapely.transform(shapes, carry.transform, interleaved=False))
    kinds = shapely.get_type_id(parts)
    points = parts[kinds == shapely.GeometryType.POINT]
    places = shapely.get_coordinates(points)
    # A white rim keeps them apart from classes of a like colour.
    for colour, thickness in (("white", 3.0), (overlay.colour, 1.3)):
        axes.scatter(places[:, 0], places[:, 1], s=26, facecolors="none", edgecolors=colour, linewidths=thickness)
    rings = shapely.get_exterior_ring(parts[kinds == shapely.GeometryType.POLYGON])
    lines = [*parts[kinds == shapely.GeometryType.LINESTRING], *rings]
    paths = [shapely.get_coordinates(line) for line in lines]
    axes.add_collection(collections.LineCollection(paths, colors=overlay.colour, linewidths=1.0))
    bounds = geobox.extent.boundingbox
    axes.set_xlim(bounds.left, bounds.right)
    axes.set_ylim(bounds.bottom, bounds.top)


def _canvas(page: figure.Figure, layout: _Layout) -> Any:
    """Axes over the whole page whose coordinates are inches."""
    canvas = page.add_axes((0, 0, 1, 1))
    canvas.set_xlim(0, layout.page[0])
    canvas.set_ylim(0, layout.page[1])
    canvas.axis("off")
    return canvas


def _titles(canvas: Any, layout: _Layout, text: MapText, *, bilingual: bool) -> None:
    left, right = layout.map[0], layout.page[0] - 0.3
    top = layout.page[1]
    latin = _latin(text.title_en)
    # Chinese fonts seldom come in bold; asking for it makes the font search complain.
    headline, weight = (text.title_zh, "normal") if bilingual else (latin, "bold")
    canvas.text(left, top - 0.4, headline, fontsize=15, weight=weight, va="baseline")
    if bilingual:
        canvas.text(left, top - 0.65, latin, fontsize=10, color="#4a5360", va="baseline")
    canvas.text(right, top - 0.4, text.date, fontsize=9.5, ha="right", va="baseline")
    source = text.source if bilingual else _latin(text.source)
    canvas.text(left, 0.18, source, fontsize=7, color="#4a5360", va="baseline")


def _class_legend(canvas: Any, layout: _Layout, entries: Sequence[LegendEntry], *, bilingual: bool) -> None:
    x, top, width = layout.legend
    step = 0.42 if bilingual else 0.32
    rows = math.ceil(len(entries) / layout.columns)
    if layout.columns == 1 and layout.furniture[1] < top:
        # A long legend must not run into the north arrow.
        step = min(step, max((top - layout.furniture[1] - _ARROW) / max(rows, 1), _LEAST_STEP))
    for position, entry in enumerate(entries):
        column, row = divmod(position, rows)
        left, upper = x + column * width / layout.columns, top - 0.02 - row * step
        canvas.add_patch(
            patches.Rectangle((left, upper - 0.2), 0.3, 0.2, facecolor=entry.colour, edgecolor=INK, linewidth=0.6)
        )
        first = entry.label_zh if bilingual else entry.label_en
        room = width / layout.columns - 0.4
        canvas.text(left + 0.4, upper - 0.1, first, fontsize=_fitted(first, 9, room), va="center_baseline")
        if bilingual:
            size = _fitted(entry.label_en, 7.5, room)
            canvas.text(left + 0.4, upper - 0.27, entry.label_en, fontsize=size, color="#4a5360", va="center_baseline")


def _fitted(label: str, size: float, room: float) -> float:
    """Size at which a label fits beside its swatch [point]; the room is in inches, a Latin letter 0.62 of its size."""
    needed = sum(0.62 if _is_latin(character) else 1.0 for character in label) * size / _POINTS
    return max(size * min(room / needed, 1.0), _SMALLEST) if label else size


def _colour_bar(
    page: figure.Figure, canvas: Any, layout: _Layout, bar: ColourBar, *, bilingual: bool, below: Sequence[LegendEntry]
) -> None:
    x, top, width = layout.legend
    units = "" if bar.units == "1" else f" [{bar.units}]"
    upright = layout.columns == 1
    both = bilingual and bar.label_zh != bar.label_en
    label = f"{bar.label_zh}{chr(10) if upright else ' '}{bar.label_en}" if both else bar.label_en
    head = 0.5 if both and upright else 0.3
    length = min(2.4, layout.map[3] * 0.45) if upright else min(width, 3.6)
    box = (x, top - head - length, 0.22, length) if upright else (x, top - 0.4, length, 0.18)
    canvas.text(x, top, label + units, fontsize=9, va="top")
    page_width, page_height = layout.page
    axes = page.add_axes((box[0] / page_width, box[1] / page_height, box[2] / page_width, box[3] / page_height))
    scale = cm.ScalarMappable(colors.Normalize(bar.minimum, bar.maximum), cmap=bar.colour_map)
    drawn = page.colorbar(scale, cax=axes, orientation="vertical" if upright else "horizontal")
    drawn.ax.tick_params(labelsize=8, color=INK, labelcolor=INK)
    drawn.outline.set_edgecolor(INK)
    if below:
        gap = _Layout(layout.page, layout.map, (x, box[1] - (0.3 if upright else 0.45), width), 1, layout.furniture)
        _class_legend(canvas, gap, below, bilingual=bilingual)


def _scale_bar(canvas: Any, layout: _Layout, ground_width: float) -> None:
    x, y = layout.furniture
    length = scale_bar_length(ground_width)
    inches = length / ground_width * layout.map[2]
    for half, colour in ((0, INK), (1, "white")):
        canvas.add_patch(
            patches.Rectangle(
                (x + half * inches / 2, y), inches / 2, 0.07, facecolor=colour, edgecolor=INK, linewidth=0.8
            )
        )
    divisor, unit = (1000.0, "km") if length >= 1000 else (1.0, "m")
    canvas.text(x, y + 0.13, "0", fontsize=7.5, ha="center")
    canvas.text(x + inches, y + 0.13, f"{length / divisor:g} {unit}", fontsize=7.5, ha="center")


def _north_arrow(canvas: Any, layout: _Layout) -> None:
    x, y = layout.furniture[0] + 0.12, layout.furniture[1] + 0.45
    canvas.add_patch(patches.Polygon([(x - 0.1, y), (x, y + 0.1), (x, y + 0.42)], facecolor=INK, edgecolor=INK, lw=0.8))
    canvas.add_patch(
        patches.Polygon([(x + 0.1, y), (x, y + 0.1), (x, y + 0.42)], facecolor="white", edgecolor=INK, lw=0.8)
    )
    canvas.text(x, y + 0.47, "N", fontsize=9, ha="center", va="baseline")


def _painted(
    values: npt.NDArray[Any], legend: Sequence[LegendEntry] | ColourBar | NaturalColour
) -> tuple[npt.NDArray[np.uint8], bool]:
    """Colours of the pixels (y, x, 3), and whether any pixel has no data."""
    if isinstance(legend, NaturalColour):
        return natural_color(values), not bool(np.isfinite(values).all())
    if isinstance(legend, ColourBar):
        scaled = colors.Normalize(legend.minimum, legend.maximum, clip=True)(np.ma.masked_invalid(values))
        painted = (mpl.colormaps[legend.colour_map](scaled)[..., :3] * 255).round().astype(np.uint8)
        gaps = ~np.isfinite(values)
        painted[gaps] = _rgb(NODATA_COLOUR)
        return painted, bool(gaps.any())
    table = np.tile(np.array(_rgb(NODATA_COLOUR), dtype=np.uint8), (256, 1))
    for entry in legend:
        table[entry.value] = _rgb(entry.colour)
    return table[values], not bool(np.isin(values, [entry.value for entry in legend]).all())


def _with_gaps(entries: Sequence[LegendEntry], present: bool) -> tuple[LegendEntry, ...]:
    gap = LegendEntry(value=255, colour=NODATA_COLOUR, label_en="No value", label_zh="无数值")
    return (*entries, gap) if present else tuple(entries)


def _graticule(
    geobox: geo_box.GeoBox, *, max_columns: int, max_rows: int
) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Places and labels of round longitudes on the lower edge and of round latitudes on the left edge."""
    bounds = geobox.extent.boundingbox
    to_degrees = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    from_degrees = pyproj.Transformer.from_crs("EPSG:4326", str(geobox.crs), always_xy=True)
    west, south_west = to_degrees.transform(bounds.left, bounds.bottom)
    east, south_east = to_degrees.transform(bounds.right, bounds.bottom)
    north_west = to_degrees.transform(bounds.left, bounds.top)[1]
    longitudes = _round_steps(west, east, max_columns)
    latitudes = _round_steps(south_west, north_west, max_rows)
    on_edge = np.interp(longitudes, [west, east], [south_west, south_east])
    x = np.atleast_1d(from_degrees.transform(longitudes, on_edge)[0])
    y = np.atleast_1d(from_degrees.transform(np.full_like(latitudes, west), latitudes)[1])
    return (
        [(float(place), _degrees(value, "E", "W")) for place, value in zip(x, longitudes, strict=True)],
        [(float(place), _degrees(value, "N", "S")) for place, value in zip(y, latitudes, strict=True)],
    )


def _round_steps(low: float, high: float, count: int) -> npt.NDArray[np.float64]:
    span = (high - low) / count
    decade = 10.0 ** math.floor(math.log10(span))
    step = min(factor * decade for factor in (1.0, 2.0, 5.0, 10.0) if factor * decade >= span)
    return np.arange(math.ceil(low / step), math.floor(high / step) + 1, dtype=np.float64) * step


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(round(value, 6)):g}°{positive if value >= 0 else negative}"


def _ground_size(geobox: geo_box.GeoBox) -> tuple[float, float]:
    """Width and height of the map through its middle [m]."""
    bounds = geobox.extent.boundingbox
    to_degrees = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    middle_x, middle_y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
    longitude, latitude = to_degrees.transform(
        [bounds.left, bounds.right, middle_x, middle_x], [middle_y, middle_y, bounds.bottom, bounds.top]
    )
    _, _, lengths = pyproj.Geod(ellps="WGS84").inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])
    return float(lengths[0]), float(lengths[1])


def _has_characters(path: str, characters: str) -> bool:
    charmap = font_manager.get_font(path).get_charmap()
    return all(ord(character) in charmap for character in characters)


def _beyond_latin(legend: Sequence[LegendEntry] | ColourBar | NaturalColour, text: MapText) -> str:
    """Characters of the picture that the Latin font lacks, each once."""
    labels = (
        [legend.label_zh] if isinstance(legend, ColourBar | NaturalColour) else [entry.label_zh for entry in legend]
    )
    wanted = {character for label in ("无数值", text.title_zh, text.source, *labels) for character in label}
    return "".join(sorted(character for character in wanted if not _is_latin(character)))


def _latin(label: str) -> str:
    return "".join(character for character in label if _is_latin(character))


def _is_latin(character: str) -> bool:
    return ord(character) < 0x250


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue


def _png(page: figure.Figure) -> bytes:
    content = io.BytesIO()
    backend_agg.FigureCanvasAgg(page)
    page.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
