"""What a fusion tells: a JSON file for machines and, beside it, a page with pictures for people."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.imagery import raster_file
from processors.imagery import cloud_mask, grid, qa
from products import fusion_plot, fusion_report, quicklook

MASK_LEGEND = (
    quicklook.LegendEntry(value=cloud_mask.CLEAR, colour="#8fbf88", label_en="Clear", label_zh="晴空"),
    quicklook.LegendEntry(value=cloud_mask.THIN_CLOUD, colour="#cfd8e6", label_en="Thin cloud", label_zh="薄云"),
    quicklook.LegendEntry(value=cloud_mask.CLOUD, colour="#ffffff", label_en="Cloud", label_zh="云"),
    quicklook.LegendEntry(value=cloud_mask.SHADOW, colour="#3d3d4a", label_en="Shadow", label_zh="阴影"),
    quicklook.LegendEntry(value=cloud_mask.SNOW, colour="#7fe3f0", label_en="Snow", label_zh="雪"),
    quicklook.LegendEntry(value=cloud_mask.WATER, colour="#2f6fb3", label_en="Water", label_zh="水体"),
)
BITS_LEGEND = (
    quicklook.LegendEntry(value=0, colour="#8fbf88", label_en="As observed", label_zh="如实观测"),
    quicklook.LegendEntry(value=1, colour="#c9cbce", label_en="No data", label_zh="无数据"),
    quicklook.LegendEntry(value=2, colour="#ffffff", label_en="Cloud", label_zh="云"),
    quicklook.LegendEntry(value=3, colour="#3d3d4a", label_en="Shadow", label_zh="阴影"),
    quicklook.LegendEntry(value=4, colour="#e9a23b", label_en="Filled", label_zh="填补"),
    quicklook.LegendEntry(value=5, colour="#b3261e", label_en="Other doubt", label_zh="其他存疑"),
)
_EDGE = 480
_COLOR = ("red", "green", "blue")
_CHUNK = 1 << 22


def inputs(paths: Mapping[str, Path | None]) -> dict[str, dict[str, str]]:
    """Name and content hash of every input, for provenance.

    Parameters
    ----------
    paths : Mapping
        Role of every file; None is left out.

    Returns
    -------
    dict
        Role to `file` and `sha256`; a folder has no hash.
    """
    return {role: _described(path) for role, path in paths.items() if path is not None}


def _described(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {"file": str(path)}
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return {"file": str(path), "sha256": digest.hexdigest()}


def plain(value: Any) -> Any:
    """A report in the types of JSON; what is not finite becomes null.

    Parameters
    ----------
    value : Any
        Report of a command.

    Returns
    -------
    Any
        The same in dictionaries, lists, strings, numbers and null.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) or value is None else str(value)


def write(
    report: Mapping[str, Any], path: Path, *, title: str, lead: str, panels: Sequence[fusion_plot.Panel], like: Path
) -> Path:
    """Write the report and, beside it, its page.

    Parameters
    ----------
    report : Mapping
        Report of a command.
    path : Path
        JSON file; the page has the suffix .html.
    title, lead : str
        Headline and the sentence below it.
    panels : sequence of fusion_plot.Panel
        Maps.
    like : Path
        Raster, or folder of rasters, whose grid the first map shows.

    Returns
    -------
    Path
        The page.
    """
    document = plain(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    pictures = []
    if panels:
        date = str(report.get("date") or "")
        body = fusion_plot.draw(panels, title=title, date=date, width=_ground_width(like))
        pictures = [fusion_report.Picture("; ".join(panel.title for panel in panels), body)]
    page = path.with_suffix(".html")
    page.write_text(fusion_report.page(document, title=title, lead=lead, pictures=pictures), encoding="utf-8")
    return page


def _ground_width(path: Path) -> float | None:
    """Width of a raster on the ground [m]; None without a coordinate reference system."""
    if path.is_dir():
        rasters = sorted(path.glob("*.tif"))
        return _ground_width(rasters[0]) if rasters else None
    with raster_file.open_raster(path) as raster:
        return None if raster.geobox is None else grid.pixel_size(raster.geobox) * raster.shape[1]


def arrows(report: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Tie points of a co-registration as a picture shows them.

    Parameters
    ----------
    report : Mapping
        Report of the co-registration.

    Returns
    -------
    array
        Column, row, displacement to the right and down [pixel of the target], kept (point, 5).
    """
    points = report.get("tie_points", ())
    rows = [[point["x"], point["y"], point["dx"], point["dy"], float(bool(point["kept"]))] for point in points]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def scene(
    path: Path, title: str, *, bands: Sequence[int] | None = None, arrows: npt.NDArray[np.float64] | None = None
) -> fusion_plot.Panel:
    """Thinned picture of a raster: natural color where its bands allow, else its first band.

    Parameters
    ----------
    path : Path
        Raster.
    title : str
        What it is.
    bands : sequence of int, optional
        Red, green and blue, from 1; default by their names.
    arrows : array, optional
        Tie points (point, 5): column, row, displacement to the right and down [pixel of the raster], kept.

    Returns
    -------
    fusion_plot.Panel
        The panel.
    """
    with raster_file.open_raster(path) as raster:
        chosen = list(bands or _color_bands(raster))
        image = raster.sample(chosen, size=_EDGE)
        step = _step(raster)
    thinned = None if arrows is None else arrows * np.array([1 / step, 1 / step, 1.0, 1.0, 1.0])
    return fusion_plot.Panel(title=title, image=image if len(chosen) == len(_COLOR) else image[0], arrows=thinned)


def layer(path: Path, band: int, title: str, *, label: str) -> fusion_plot.Panel:
    """Thinned picture of one band's values.

    Parameters
    ----------
    path : Path
        Raster.
    band : int
        Band, from 1.
    title : str
        What it is.
    label : str
        Name of the values with their unit.

    Returns
    -------
    fusion_plot.Panel
        The panel.
    """
    with raster_file.open_raster(path) as raster:
        return fusion_plot.Panel(title=title, image=raster.sample([band], size=_EDGE)[0], label=label)


def mask(path: Path, title: str) -> fusion_plot.Panel:
    """Thinned picture of a cloud mask.

    Parameters
    ----------
    path : Path
        Raster whose first band holds the classes.
    title : str
        What it is.

    Returns
    -------
    fusion_plot.Panel
        The panel.
    """
    with raster_file.open_raster(path) as raster:
        classes = raster.sample([1], size=_EDGE)[0]
    numbers = np.where(np.isfinite(classes), classes, cloud_mask.NODATA).astype(np.uint8)
    return fusion_plot.Panel(title=title, image=numbers, legend=MASK_LEGEND)


def bits(path: Path, title: str, *, band: int = 1) -> fusion_plot.Panel:
    """Thinned picture of quality bits, one class a pixel: the gravest bit that is set.

    Parameters
    ----------
    path : Path
        Raster of quality bits.
    title : str
        What it is.
    band : int
        Band of the bits, from 1.

    Returns
    -------
    fusion_plot.Panel
        The panel.
    """
    with raster_file.open_raster(path) as raster:
        numbers = raster.sample([band], size=_EDGE)[0]
    flags = np.where(np.isfinite(numbers), numbers, qa.QaBit.NODATA).astype(np.uint16)
    ranked = (qa.QaBit.NODATA, qa.QaBit.CLOUD, qa.QaBit.SHADOW, qa.QaBit.FILLED)
    tests = [(flags & bit) != 0 for bit in ranked]
    classes = np.select([*tests, flags != 0], [1, 2, 3, 4, 5], 0).astype(np.uint8)
    return fusion_plot.Panel(title=title, image=classes, legend=BITS_LEGEND)


def filled_series(report: Mapping[str, Any], folder: Path) -> list[fusion_plot.Panel]:
    """Pictures of the date of a filled series of which about half was filled: it shows most.

    Parameters
    ----------
    report : Mapping
        Report of the gap filling.
    folder : Path
        Where its rasters lie.

    Returns
    -------
    list of fusion_plot.Panel
        The filled date and its quality bits; nothing where there is no date.
    """
    rows = [row for row in report["dates"] if row["pixels"]]
    if not rows:
        return []
    shares = [row["filled"] / row["pixels"] for row in rows]
    stem = rows[int(np.argmax([share * (1.0 - share) for share in shares]))]["stem"]
    return [scene(folder / f"{stem}.tif", f"{stem}, filled"), bits(folder / f"{stem}_qa.tif", "origin of the values")]


def _step(raster: raster_file.RasterFile) -> int:
    return max(1, -(-max(raster.shape) // _EDGE))


def _color_bands(raster: raster_file.RasterFile) -> list[int]:
    """Bands of red, green and blue by name, else of three or more the third, second and first."""
    names = [text.lower() for text in raster.descriptions]
    if all(name in names for name in _COLOR):
        return [names.index(name) + 1 for name in _COLOR]
    values = [number for number, name in enumerate(names, 1) if not name.endswith("_sigma")]
    return values[2::-1] if len(values) >= len(_COLOR) else values[:1]
