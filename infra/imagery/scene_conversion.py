"""A scene of another mission to one raster of physical values, on its own or another grid, tile by tile."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from infra.imagery import raster_file, scene_reading, tiling
from processors.imagery import external_scene, grid
from processors.quality import BadInputError


def run(
    source: Path | str,
    out: Path | str,
    *,
    geobox: GeoBox | None = None,
    bands: Sequence[str] | None = None,
    stated: scene_reading.Stated | None = None,
    plain: bool = False,
) -> dict[str, Any]:
    """Convert a scene.

    Parameters
    ----------
    source : Path or str
        SAFE, Landsat, MODIS, VIIRS, GF, copies as GeoTIFF: what `scene_reading.open_scene` reads.
    out : Path or str
        Reflectance in ten thousandths, signed; backscatter as power and temperature in kelvin as floating point.
    geobox : GeoBox, optional
        The wanted grid; default the scene's own.
    bands : sequence of str, optional
        Layers; default all reflectance bands, of a radar scene all polarizations.
    stated : Stated, optional
        What the product cannot say itself.
    plain : bool
        Whether an uncompressed GeoTIFF without overviews is wanted.

    Returns
    -------
    dict
        Sensor, level, time, sun, bands, grid, share with data, warnings.

    Raises
    ------
    BadInputError
        What the scene is refused for; `outside_area` where it holds no data within the grid.
    """
    path = Path(source)
    with scene_reading.open_scene(path, stated=stated) as scene:
        target = geobox or scene.geobox
        names = tuple(bands or scene.bands or scene.polarizations)
        optical = set(names) <= set(scene.bands)
        about = _about(scene, target, names)
        warnings = list(scene.warnings)
    count = len(names)
    encoding = (
        raster_file.Encoding(
            "int16", (external_scene.PACKED_SCALE,) * count, (0.0,) * count, external_scene.PACKED_NODATA
        )
        if optical
        else raster_file.Encoding("float32", (1.0,) * count, (0.0,) * count, float("nan"))
    )
    seen = 0
    with raster_file.RasterWriter(
        Path(out),
        shape=(int(target.shape[0]), int(target.shape[1])),
        transform=target.transform,
        crs=grid.system(target).to_wkt(),
        encoding=encoding,
        descriptions=names,
        tags={
            "ACQUISITIONDATETIME": f"{about['time']}Z",
            "SENSOR": about["sensor"],
            "LEVEL": about["level"],
            **({} if optical else {"BACKSCATTER_UNIT": "power"}),
        },
        plain=plain,
    ) as writer:

        def consume(tile: tiling.Tile, values: npt.NDArray[np.float32]) -> None:
            nonlocal seen
            seen += int(np.isfinite(values).any(axis=0).sum())
            writer.write(values, tile.core)

        work = partial(_tile, source=path, geobox=target, names=names, stated=stated)
        tiling.run(work, tiling.tiles((int(target.shape[0]), int(target.shape[1]))), consume=consume)
        if seen == 0:
            raise BadInputError("outside_area", f"{path.name} holds no data within the wanted grid")
    covered = seen / (target.shape[0] * target.shape[1])
    return {**about, "covered": covered, "clipped": writer.clipped, "warnings": warnings}


def _tile(
    tile: tiling.Tile, *, source: Path, geobox: GeoBox, names: Sequence[str], stated: scene_reading.Stated | None
) -> npt.NDArray[np.float32]:
    with scene_reading.open_scene(source, stated=stated) as scene:
        return scene.read(names, geobox=geobox, window=tile.core)


def _about(scene: scene_reading.Scene, target: GeoBox, names: Sequence[str]) -> dict[str, Any]:
    return {
        "scene": scene.metadata.identity,
        "sensor": scene.metadata.sensor,
        "level": scene.metadata.level,
        "time": str(np.datetime_as_string(scene.time, unit="s")),
        "date": str(np.datetime_as_string(scene.time, unit="D")),
        "sun_zenith": scene.sun_zenith,
        "sun_azimuth": scene.sun_azimuth,
        "bands": list(names),
        "crs": str(target.crs),
        "shape": list(target.shape),
    }
