"""Width of the rivers of a map of water in a file."""

from pathlib import Path
from typing import Any

import affine
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from rasterio.windows import Window

from infra.imagery import raster_file
from infra.surface import alignment, vector_file
from processors.quality import BadInputError
from products import vector
from products.sectors import river_width as product
from retrieval.surface import river_width

_PERCENT = 100.0
_WATER_AS_OCTET = 255.0
_NO_DATA = 255.0


def run(
    mask: Path | str,
    out: Path | str,
    *,
    band: int | None = None,
    channels: Path | str | None = None,
    bridges: Path | str | None = None,
    spacing: float | None = None,
    parameters: river_width.RiverWidthParameters | None = None,
) -> dict[str, Any]:
    """Measure the rivers of a map of water.

    Parameters
    ----------
    mask : Path or str
        Water as 0 and 1, or its probability or share from 0 to 1; 255 is no data.
    out : Path or str
        Vector file (.gpkg, .fgb, .geojson); only a GeoPackage also holds the centerlines.
    band : int, optional
        Band of the mask; default the one named probability, else the first.
    channels : Path or str, optional
        Where rivers are known to flow: raster (above 0.5) or vector file.
    bridges : Path or str, optional
        Known bridges, lines or polygons.
    spacing : float, optional
        Distance of cross sections [m].
    parameters : RiverWidthParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, counts, the narrowest river that is measured, warnings.

    Raises
    ------
    BadInputError
        `suffix_unknown`, `value_implausible`, `band_missing`, `no_data`, `crs_missing`; what the files lack.
    """
    target = Path(out)
    if target.suffix.lower() not in vector.DRIVERS:
        raise BadInputError("suffix_unknown", f"{target.name}: objects are written as {', '.join(vector.DRIVERS)}")
    with raster_file.open_raster(Path(mask)) as opened:
        if opened.geobox is None:
            raise BadInputError("crs_missing", f"{opened.name} states no reference system: its pixels have no size")
        warnings = list(opened.warnings)
        water = share(opened, band, warnings)
        known = None if channels is None else _known(Path(channels), opened)
        decks = None if bridges is None else burned(Path(bridges), opened)
        found = river_width.measure(
            water,
            pixel_size=product.pixel_sizes(opened.geobox),
            parameters=parameters or river_width.RiverWidthParameters(),
            channels=known,
            bridges=decks,
            spacing=spacing,
        )
        tables = product.tables(found, opened.transform, opened.crs.to_wkt())
    vector.write(tables if vector.DRIVERS[target.suffix.lower()] == "GPKG" else tables[:1], target)
    told = product.facts(found)
    if not told["measured"]:
        warnings.append("no river was wide and long enough to be measured")
    return {
        "status": "ok" if told["measured"] else "flagged",
        "warnings": warnings,
        **told,
        "no_data_share": round(float(np.mean(~np.isfinite(water))), 6),
    }


def share(opened: raster_file.RasterFile, band: int | None, warnings: list[str]) -> npt.NDArray[np.float32]:
    """Share of water of a raster, from whatever numbers state it.

    Parameters
    ----------
    opened : RasterFile
        Mask, probability or percent.
    band : int or None
        Band; default the one named probability, else the first.
    warnings : list of str
        Receives what was assumed.

    Returns
    -------
    numpy.ndarray
        Share (y, x) [1], NaN without data.

    Raises
    ------
    BadInputError
        `band_missing`, `value_implausible`, `no_data`.
    """
    named = [number for number, text in enumerate(opened.descriptions, 1) if "prob" in text.lower()]
    number = band or (named[0] if named else 1)
    if number > opened.count:
        raise BadInputError("band_missing", f"{opened.name} has {opened.count} bands, not {number}")
    values: npt.NDArray[np.float32] = opened.read(None, [number])[0]
    if not np.isfinite(values).any():
        raise BadInputError("no_data", f"{opened.name} has no pixel with data")
    least, largest = float(np.nanmin(values)), float(np.nanmax(values))
    if least < 0.0:
        raise BadInputError("value_implausible", f"{opened.name}: water is from 0 to 1, not {least:g}")
    if largest <= 1.0:
        return values
    if np.isin(values[np.isfinite(values)], (0.0, _WATER_AS_OCTET)).all():
        warnings.append(f"{opened.name} holds 0 and 255 alone: 255 is taken for water")
        return (values / _WATER_AS_OCTET).astype(np.float32)
    values[values == _NO_DATA] = np.nan
    largest = float(np.nanmax(values))
    if largest <= 1.0:
        return values
    if largest <= _PERCENT and np.unique(values[np.isfinite(values)]).size > 8:
        warnings.append(f"{opened.name} is taken for percent of water")
        return (values / _PERCENT).astype(np.float32)
    raise BadInputError(
        "value_implausible", f"{opened.name}: water is 0 and 1, or a share from 0 to 1; found values up to {largest:g}"
    )


def burned(path: Path, like: raster_file.RasterFile, *, layer: str | None = None) -> npt.NDArray[np.bool_]:
    """Pixels that the objects of a vector file touch (y, x).

    Parameters
    ----------
    path : Path
        Vector file.
    like : RasterFile
        Raster whose grid counts.
    layer : str, optional
        Layer; default the first.

    Returns
    -------
    numpy.ndarray
        Whether a pixel is touched (y, x).
    """
    found = vector_file.read(path, layer=layer)
    if like.crs is None:
        raise BadInputError("crs_missing", f"{like.name} states no reference system to place {path.name} in")
    shapes = vector_file.carried(found.geometry, found.crs, like.crs.to_wkt())
    shapes = shapes[~shapely.is_empty(shapes)]
    if not len(shapes):
        return np.zeros(like.shape, dtype=bool)
    return np.asarray(
        rasterio.features.rasterize(
            list(shapes), out_shape=like.shape, transform=affine.Affine(*tuple(like.transform)[:6]), all_touched=True,
            dtype="uint8",
        )
    ).astype(bool)  # fmt: skip


def _known(path: Path, like: raster_file.RasterFile) -> npt.NDArray[np.bool_]:
    if path.suffix.lower() not in (".tif", ".tiff", ".vrt"):
        return burned(path, like)
    with alignment.opened(path, like=like, classes=True) as seen:
        values = seen.read(Window(0, 0, like.shape[1], like.shape[0]), [1])[0]
    return np.asarray((values > 0.5) & (values != _NO_DATA))
