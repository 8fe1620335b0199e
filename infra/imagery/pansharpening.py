"""Pansharpening of files of any size: methods chosen on parts of the scene, then tile by tile."""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
from affine import Affine
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from infra.imagery.raster_file import Encoding, RasterFile
from processors.imagery import pansharpening, sharpening_blur, sharpening_grid, sharpening_quality
from processors.imagery.pansharpening import PansharpeningParameters, Plan
from processors.imagery.sharpening_grid import Box, Geometry, Span
from processors.imagery.sharpening_trial import Sample
from processors.quality import BadInputError

WHOLE_PIXELS = 700 * 700
"""Multispectral pixels up to which the whole scene is looked at [1]."""
SAMPLE_SIZE = 320
"""Side of the parts of larger scenes that are looked at [multispectral pixel]."""
SAMPLES = 5
"""Parts looked at, at most [1]."""
MINIMUM_SEEN = 0.5
"""Part of a sample that both inputs must see for it to be preferred [1]."""
MOST_CLIPPED = 1e-2
"""Part of the numbers that may not fit the data type before the result is flagged [1]."""
_COARSE_PARTS = (0.5, 0.15, 0.85)
_FINE_PARTS = tuple((k + 0.5) / 8 for k in range(8))


class _Inputs(NamedTuple):
    geometry: Geometry
    transform: Affine
    crs: Any
    encoding: Encoding
    names: tuple[str, ...]
    warnings: tuple[str, ...]


def run(
    ms: Path | str,
    pan: Path | str,
    out: Path | str,
    *,
    sensor: str | None = None,
    method: str | None = None,
    plain: bool = False,
    sigma: bool = True,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """Sharpen the bands of one raster with another of one band.

    Parameters
    ----------
    ms : Path or str
        Multispectral raster.
    pan : Path or str
        Panchromatic raster; its grid is that of the result.
    out : Path or str
        GeoTIFF to write: the bands as the multispectral raster stores them, then one sigma band each.
    sensor : str, optional
        Sensor whose published modulation transfer is used instead of what the data tell.
    method : str, optional
        Method for all bands instead of the choice by trial.
    plain : bool
        Whether an uncompressed GeoTIFF without overviews is wanted.
    sigma : bool
        Whether sigma bands are written.
    plan : Plan, optional
        What was chosen before for the same grids; nothing is tried then.

    Returns
    -------
    dict
        Geometry, methods and scores, modulation transfer, quality at full resolution, share without data, warnings.

    Raises
    ------
    BadInputError
        `crs_mismatch`, `grid_rotated`, `resolution_mismatch`, `no_overlap`, `no_data`, `no_detail`, `band_count`,
        `unknown_sensor`, `unknown_method`, or what reading a raster finds.
    """
    parameters = _parameters(sensor, method)
    with raster_file.open_raster(ms) as coarse, raster_file.open_raster(pan) as fine:
        inputs = _inspected(coarse, fine)
        quality = None
        if plan is None:
            samples = _samples(coarse, fine, inputs.geometry)
            _require_detail(samples, fine)
            plan = pansharpening.choose_from_samples(samples, geometry=inputs.geometry, parameters=parameters)
            quality = _quality(samples[0], plan)
        elif plan.geometry != inputs.geometry or plan.recipe.bands != coarse.count:
            raise ValueError("the plan was made for other grids or bands")
    empty, clipped = _written(Path(ms), Path(pan), Path(out), inputs, plan, plain=plain, sigma=sigma)
    return _report(inputs, plan, quality, empty=empty, clipped=clipped)


def chosen(ms: RasterFile, pan: RasterFile, *, parameters: PansharpeningParameters | None = None) -> Plan:
    """Choose methods for a pair of rasters without sharpening it.

    Parameters
    ----------
    ms : RasterFile
        Multispectral raster.
    pan : RasterFile
        Panchromatic raster.
    parameters : PansharpeningParameters, optional
        Choices of the method.

    Returns
    -------
    Plan
        What is to be done.
    """
    geometry = _inspected(ms, pan).geometry
    samples = _samples(ms, pan, geometry)
    _require_detail(samples, pan)
    return pansharpening.choose_from_samples(samples, geometry=geometry, parameters=parameters)


def _parameters(sensor: str | None, method: str | None) -> PansharpeningParameters:
    named = (sensor or "").lower()
    if named and named not in sharpening_blur.SENSOR_GAINS:
        known = ", ".join(sorted(sharpening_blur.SENSOR_GAINS))
        raise BadInputError(
            "unknown_sensor", f"no transfer functions of sensor {sensor!r} are known; known are {known}"
        )
    if method and method not in pansharpening.METHODS:
        raise BadInputError("unknown_method", f"method {method!r} is not one of {', '.join(pansharpening.METHODS)}")
    return PansharpeningParameters(sensor=named, method=method or "")


def _inspected(ms: RasterFile, pan: RasterFile) -> _Inputs:
    if pan.count != 1:
        raise BadInputError("band_count", f"{pan.name} has {pan.count} bands; a panchromatic raster has one")
    remarks = [*ms.warnings, *pan.warnings]
    _require_one_system(ms, pan)
    identity = [raster.transform == Affine.identity() for raster in (ms, pan)]
    if all(identity):
        geometry = sharpening_grid.geometry_from_shapes(ms.shape, pan.shape)
        remarks.append("neither raster is georeferenced: both are taken to cover the same ground")
    else:
        geometry = sharpening_grid.geometry_from_transforms(ms.transform, ms.shape, pan.transform, pan.shape)
    crs = pan.crs if pan.crs is not None else ms.crs
    return _Inputs(geometry, pan.transform, crs, ms.encoding, ms.descriptions, tuple(remarks))


def _require_one_system(ms: RasterFile, pan: RasterFile) -> None:
    if ms.crs is None or pan.crs is None or ms.crs == pan.crs:
        return
    first, second = (pyproj.CRS.from_user_input(raster.crs.to_wkt()) for raster in (ms, pan))
    if not first.equals(second, ignore_axis_order=True):
        raise BadInputError(
            "crs_mismatch", f"{ms.name} is in {first.name}, {pan.name} in {second.name}: reproject one of them first"
        )


def _window(box: Box) -> Window:
    rows, columns = box.shape
    return Window(box.columns.start, box.rows.start, columns, rows)


def _sample(ms: RasterFile, pan: RasterFile, geometry: Geometry, box: Box) -> Sample | None:
    """Part of a scene, None where the panchromatic raster does not reach."""
    under = sharpening_grid.under(geometry, box)
    if min(under.shape) < 1:
        return None
    part = sharpening_grid.window(geometry, box, under)
    return Sample(ms.read(_window(box)), pan.read(_window(under))[0], part)


def _samples(ms: RasterFile, pan: RasterFile, geometry: Geometry) -> list[Sample]:
    """The scene, or parts spread over where both rasters lie."""
    common = sharpening_grid.common(geometry)
    if math.prod(common.shape) <= WHOLE_PIXELS:
        whole = _sample(ms, pan, geometry, common)
        return [] if whole is None else [whole]
    for parts in (_COARSE_PARTS, _FINE_PARTS):
        found = _spread(ms, pan, geometry, common, parts)
        if found:
            return found
    raise BadInputError("no_data", "no part of the scene is seen by both rasters")


def _require_detail(samples: Sequence[Sample], pan: RasterFile) -> None:
    """Refuse a panchromatic raster without any detail: it can sharpen nothing."""
    known = [sample.pan[np.isfinite(sample.pan)] for sample in samples]
    if any(values.size for values in known) and not any(float(np.ptp(values)) > 0.0 for values in known if values.size):
        raise BadInputError("no_detail", f"{pan.name} has one value everywhere: it holds nothing to sharpen with")


def _spread(ms: RasterFile, pan: RasterFile, geometry: Geometry, common: Box, parts: Sequence[float]) -> list[Sample]:
    found: list[tuple[float, Sample]] = []
    rows, columns = (
        sharpening_grid.centered(length, parts, SAMPLE_SIZE) for length in (common.shape[0], common.shape[1])
    )
    for row in rows:
        for column in columns:
            first, second = common.rows.start, common.columns.start
            box = Box(Span(first + row.start, first + row.stop), Span(second + column.start, second + column.stop))
            sample = _sample(ms, pan, geometry, box)
            seen = _seen(sample)
            if sample is not None and seen > 0.0:
                found.append((seen, sample))
            if sum(part >= MINIMUM_SEEN for part, _ in found) >= SAMPLES:
                return [sample for part, sample in found if part >= MINIMUM_SEEN]
    found.sort(key=lambda item: -item[0])
    return [sample for _, sample in found[:SAMPLES]]


def _seen(sample: Sample | None) -> float:
    if sample is None:
        return 0.0
    bands = float(np.mean(np.isfinite(sample.ms).all(axis=0)))
    return min(bands, float(np.mean(np.isfinite(sample.pan))))


def _quality(sample: Sample, plan: Plan) -> sharpening_quality.Distortion:
    local = dataclasses.replace(plan, geometry=sample.geometry)
    made = pansharpening.sharpen(sample.ms, sample.pan, plan=local, sigma=False)
    return pansharpening.distortion(made.values, sample.pan, sample.ms, plan=plan, geometry=sample.geometry)


def _tile(tile: tiling.Tile, *, ms: Path, pan: Path, plan: Plan, sigma: bool) -> np.ndarray[Any, Any]:
    """Bands and sigmas of one tile."""
    rows = Span(int(tile.core.row_off), int(tile.core.row_off + tile.core.height))
    columns = Span(int(tile.core.col_off), int(tile.core.col_off + tile.core.width))
    core = Box(rows, columns)
    need = pansharpening.needed(core, plan=plan)
    with raster_file.open_raster(ms) as coarse, raster_file.open_raster(pan) as fine:
        bands, panchromatic = coarse.read(_window(need.ms)), fine.read(_window(need.pan))[0]
    made = pansharpening.sharpen(bands, panchromatic, plan=plan, core=core, ms_at=need.ms, pan_at=need.pan, sigma=sigma)
    return made.both


def _written(
    ms: Path, pan: Path, out: Path, inputs: _Inputs, plan: Plan, *, plain: bool, sigma: bool
) -> tuple[float, int]:
    """Write the result; the share of its pixels without data and the numbers that did not fit the data type."""
    names = inputs.names + (tuple(f"{name}_sigma" for name in inputs.names) if sigma else ())
    encoding = raster_file.fused_encoding(inputs.encoding) if sigma else inputs.encoding
    missing = 0

    with raster_file.RasterWriter(
        out,
        shape=inputs.geometry.pan_shape,
        transform=inputs.transform,
        crs=inputs.crs,
        encoding=encoding,
        descriptions=names,
        tags={"SHARPENING_METHODS": ",".join(plan.methods)},
        plain=plain,
    ) as writer:

        def consume(tile: tiling.Tile, values: np.ndarray[Any, Any]) -> None:
            nonlocal missing
            missing += int(np.count_nonzero(np.isnan(values[: len(inputs.names)]).any(axis=0)))
            writer.write(values, tile.core)

        work = partial(_tile, ms=ms, pan=pan, plan=plan, sigma=sigma)
        tiling.run(work, tiling.tiles(inputs.geometry.pan_shape), consume=consume)
    return missing / math.prod(inputs.geometry.pan_shape), writer.clipped


def _report(
    inputs: _Inputs, plan: Plan, quality: sharpening_quality.Distortion | None, *, empty: float, clipped: int
) -> dict[str, Any]:
    remarks = [*inputs.warnings, *plan.warnings]
    numbers = math.prod(inputs.geometry.pan_shape) * len(inputs.names)
    if empty > 0.0:
        remarks.append(f"{empty:.1%} of the panchromatic grid has no data in one of the rasters")
    if clipped:
        remarks.append(f"{clipped} numbers did not fit the data type and were clipped")
    return {
        "status": "flagged" if plan.warnings or clipped > MOST_CLIPPED * numbers else "ok",
        "geometry": {
            "ratio": list(inputs.geometry.ratio),
            "offset_pan_pixels": list(inputs.geometry.offset),
            "ms_shape": list(inputs.geometry.ms_shape),
            "pan_shape": list(inputs.geometry.pan_shape),
        },
        "methods": dict(zip(_numbered(inputs.names), plan.methods, strict=True)),
        "strength": plan.strength,
        "modulation_transfer": {"at_nyquist": list(plan.gains), "from": plan.gains_from},
        "reduced_scale": [score._asdict() for score in plan.scores],
        "coverage": {"one_sigma": plan.coverage[0], "two_sigma": plan.coverage[1]},
        "full_scale": None if quality is None else quality._asdict(),
        "no_data_fraction": empty,
        "clipped": clipped,
        "warnings": remarks,
    }


def _numbered(names: Sequence[str]) -> list[str]:
    """Names of bands, each once."""
    return [name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names, 1)]
