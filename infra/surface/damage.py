"""Damage grades of buildings from an image pair in files and the operator's footprints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
from rasterio.windows import Window

from infra.imagery import raster_file
from infra.surface import alignment, vector_file
from processors.quality import BadInputError
from products import vector
from products.sectors import damage_grades
from retrieval.surface import damage

LARGEST = 400_000_000
"""Pixels of a pair that are held in memory [1]."""


def run(
    before: Path | str,
    after: Path | str,
    footprints: Path | str,
    out: Path | str,
    *,
    bands: Sequence[int] | None = None,
    radar_before: Sequence[Path] = (),
    radar_after: Sequence[Path] = (),
    parameters: damage.DamageParameters | None = None,
) -> dict[str, Any]:
    """Grade the buildings of an area.

    Parameters
    ----------
    before, after : Path or str
        Images of very high resolution.
    footprints : Path or str
        Outlines of the buildings.
    out : Path or str
        Vector file to write, its format by its suffix.
    bands : sequence of int, optional
        Bands whose mean is the brightness; default all, at most three.
    radar_before, radar_after : sequence of Path
        Backscatter [dB] of one band of at least ten dates before, and of the dates after.
    parameters : DamageParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, number of buildings by grade, those not assessed, warnings.

    Raises
    ------
    BadInputError
        `no_data`, `outside_area` where no building lies in the images; what the files lack.
    """
    chosen = parameters or damage.DamageParameters()
    outlines = vector_file.read(Path(footprints))
    with (
        raster_file.open_raster(Path(before)) as first,
        alignment.opened(Path(after), like=first) as second,
    ):
        if first.crs is None:
            raise BadInputError("crs_missing", f"{first.name} states no reference system to place the buildings in")
        if first.shape[0] * first.shape[1] > LARGEST:
            raise BadInputError("scene_too_large", f"{first.name}: cut it to the area of the buildings first")
        whole = Window(0, 0, first.shape[1], first.shape[0])
        used = list(bands or range(1, min(first.count, 3) + 1))
        old, new = (part.read(whole, used).mean(axis=0) for part in (first, second))
        shapes = vector_file.carried(outlines.geometry, outlines.crs, first.crs.to_wkt())
        labels = _labels(shapes, first)
        radar = _radar(radar_before, radar_after, first, chosen)
        warnings = [*first.warnings, *second.raster.warnings]
    if not labels.any():
        raise BadInputError("outside_area", f"no building of {Path(footprints).name} lies in {Path(before).name}")
    found = damage.assess(old, new, labels, count=len(shapes), radar_t=radar, parameters=chosen)
    table = damage_grades.table(found, outlines.geometry, crs=outlines.crs)
    vector.write([table], Path(out))
    if outlines.repaired:
        warnings.append(f"{outlines.repaired} outlines crossed themselves and were mended")
    return {
        "status": "ok",
        "buildings": len(shapes),
        "grades": {name: int((found.grade == value).sum()) for value, name in damage_grades.GRADES.items()},
        "radar": radar is not None,
        "warnings": warnings,
    }


def _labels(shapes: npt.NDArray[Any], like: raster_file.RasterFile) -> npt.NDArray[np.int32]:
    numbered = [(shape, number) for number, shape in enumerate(shapes, 1)]
    if not numbered:
        return np.zeros(like.shape, dtype=np.int32)
    labels: npt.NDArray[np.int32] = rasterio.features.rasterize(
        numbered, out_shape=like.shape, transform=like.transform, dtype="int32"
    )
    return labels


def _radar(
    before: Sequence[Path], after: Sequence[Path], like: raster_file.RasterFile, parameters: damage.DamageParameters
) -> npt.NDArray[np.float32] | None:
    if not before and not after:
        return None
    if len(before) < parameters.radar_dates or not after:
        raise BadInputError(
            "too_few_dates",
            f"{len(before)} radar dates before and {len(after)} after: {parameters.radar_dates} and one are needed",
        )
    whole = Window(0, 0, like.shape[1], like.shape[0])
    series = []
    for paths in (before, after):
        layers = []
        for path in paths:
            with alignment.opened(path, like=like) as radar:
                layers.append(radar.read(whole, [1])[0])
        series.append(np.stack(layers))
    return damage.radar_change(series[0], series[1], parameters=parameters)
