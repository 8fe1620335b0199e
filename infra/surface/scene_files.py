"""Files of a simulated scene: rasters with their tags, vectors, and `truth.json` with every parameter."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import affine
import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from infra.imagery import raster_file
from products import feature_table, vector

CRS = "EPSG:32648"
"""Reference system of simulated scenes."""
CORNER = (640_000.0, 3_290_000.0)
"""Easting and northing of their upper left corner [m]."""
REFLECTANCE_SCALE = 1e-4
TIME_TAG = "ACQUISITIONDATETIME"

_REFLECTANCE_GAP = -32768
_CLASS_GAP = 255


class Layer(NamedTuple):
    """What one raster holds."""

    values: npt.NDArray[Any]
    """Values (band, y, x), NaN or 255 where there are none."""
    pixel_size: float
    """Pixel size [m]."""
    names: tuple[str, ...]
    """Name of every band."""
    encoding: raster_file.Encoding
    """How they are stored."""
    categorical: bool = False
    """Whether they are classes."""
    tags: Mapping[str, str] = {}
    """Metadata of the file."""


class SceneFiles(NamedTuple):
    """Everything a scene writes beside its parameters."""

    layers: Mapping[str, Layer]
    """Rasters by the stem of their file."""
    tables: Mapping[str, Sequence[feature_table.FeatureTable]] = {}
    """Vectors by the stem of their GeoPackage."""
    texts: Mapping[str, str] = {}
    """Other files by name."""
    facts: Mapping[str, Any] = {}
    """What `truth.json` states beside the parameters."""


def reflectance(
    values: npt.NDArray[Any], names: Sequence[str], *, pixel_size: float, tags: Mapping[str, str] | None = None
) -> Layer:
    """Reflectance as ten thousandths (band, y, x) [1]."""
    return Layer(
        values, pixel_size, tuple(names), _encoding("int16", REFLECTANCE_SCALE, _REFLECTANCE_GAP, len(names))
    )._replace(tags=tags or {})


def numbers(
    values: npt.NDArray[Any], names: Sequence[str], *, pixel_size: float, tags: Mapping[str, str] | None = None
) -> Layer:
    """Values as they are, NaN where there are none (band, y, x)."""
    return Layer(values, pixel_size, tuple(names), _encoding("float32", 1.0, float("nan"), len(names)), tags=tags or {})


def classes(
    values: npt.NDArray[Any], names: Sequence[str], *, pixel_size: float, tags: Mapping[str, str] | None = None
) -> Layer:
    """Classes or masks, 255 where there are none (band, y, x)."""
    return Layer(values, pixel_size, tuple(names), _encoding("uint8", 1.0, _CLASS_GAP, len(names)), True, tags or {})


def grid_box(shape: tuple[int, int], pixel_size: float) -> GeoBox:
    """Grid of a simulated scene: its upper left corner stands at `CORNER`."""
    return GeoBox(shape, transform(pixel_size), CRS)


def transform(pixel_size: float) -> affine.Affine:
    """Pixel to map of a simulated scene."""
    return affine.Affine(pixel_size, 0.0, CORNER[0], 0.0, -pixel_size, CORNER[1])


def write(files: SceneFiles, out: Path, *, head: Mapping[str, Any]) -> dict[str, Any]:
    """Write everything.

    Parameters
    ----------
    files : SceneFiles
        What to write.
    out : Path
        Folder, made where it is missing.
    head : Mapping
        What `truth.json` states first: kind, seed, parameters.

    Returns
    -------
    dict
        What `truth.json` holds.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, layer in files.layers.items():
        _write(out / f"{name}.tif", layer)
    for name, tables in files.tables.items():
        vector.write(tables, out / f"{name}.gpkg")
    for name, text in files.texts.items():
        (out / name).write_text(text, encoding="utf-8")
    written = [f"{name}.tif" for name in files.layers] + [f"{name}.gpkg" for name in files.tables] + list(files.texts)
    report = {**plain(dict(head)), "facts": plain(dict(files.facts)), "files": sorted(written)}
    (out / "truth.json").write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return report


def plain(value: Any) -> Any:
    """JSON-able form: arrays as lists, named tuples as objects, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, bool | int | str) or value is None else str(value)


def _encoding(dtype: str, scale: float, nodata: float, count: int) -> raster_file.Encoding:
    return raster_file.Encoding(dtype, (scale,) * count, (0.0,) * count, nodata)


def _write(path: Path, layer: Layer) -> None:
    values = np.asarray(layer.values, dtype=np.float32)
    with raster_file.RasterWriter(
        path,
        shape=(values.shape[1], values.shape[2]),
        transform=transform(layer.pixel_size),
        crs=CRS,
        encoding=layer.encoding,
        descriptions=layer.names,
        tags=layer.tags,
        categorical=layer.categorical,
    ) as writer:
        writer.write(np.where(values == _CLASS_GAP, np.nan, values) if layer.categorical else values)
