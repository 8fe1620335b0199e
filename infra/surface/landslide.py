"""Landslide candidates from two rasters and heights: evidence tile by tile, objects of the whole, a list for review."""

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from infra.surface import alignment, terrain_layers
from processors.quality import BadInputError
from products import vector
from products.sectors import landslide_candidates as product
from retrieval.surface import landslide

ENCODING = raster_file.Encoding("float32", (1.0, 1.0), (0.0, 0.0), 255.0)
LAYERS = ("landslide_candidate", "candidate_score")
"""Bands of the raster."""
PIECE, PIECES = 512, 4
"""Edge of the parts the scene is judged on [pixel], and their number along rows and columns [1]."""
_RASTERS = (".tif", ".tiff")

_Raster = npt.NDArray[np.float32]


class _Job(NamedTuple):
    before: Path
    after: Path
    numbers: Mapping[str, int]
    dem: Path | None
    terrain: Path | None
    masks: tuple[Path, ...]
    pixel_size: tuple[float, float]
    parameters: landslide.LandslideParameters
    normal: landslide.Normal | None


class _Part(NamedTuple):
    before: dict[str, _Raster]
    after: dict[str, _Raster]
    surroundings: landslide.Surroundings


def run(
    before: Path | str,
    after: Path | str,
    out: Path | str,
    *,
    bands: Mapping[str, int],
    dem: Path | str | None = None,
    terrain: Path | str | None = None,
    mask_before: Path | str | None = None,
    mask_after: Path | str | None = None,
    raster: Path | str | None = None,
    parameters: landslide.LandslideParameters | None = None,
) -> dict[str, Any]:
    """List landslide candidates between two dates.

    Parameters
    ----------
    before, after : Path or str
        Rasters of reflectance; the second is brought onto the grid of the first.
    out : Path or str
        Polygons to write (.gpkg, .fgb, .geojson), or the raster (.tif): class 0 none, 1 candidate, and score; 255 is
        no data.
    bands : Mapping
        Numbers of the bands in both rasters: red and nir; green, swir1, swir2 help.
    dem : Path or str, optional
        Heights [m].
    terrain : Path or str, optional
        Layers of `surface terrain`, in place of `dem` or beside it for heights above drainage.
    mask_before, mask_after : Path or str, optional
        Masks of `imagery cloud-mask`, or of 0 for clear: whatever is not clear is left out.
    raster : Path or str, optional
        Raster to write beside polygons.
    parameters : LandslideParameters, optional
        Thresholds and weights.

    Returns
    -------
    dict
        Report: `status`, candidates, their number per 100 km2, shares without data, warnings.

    Raises
    ------
    BadInputError
        `band_missing`, `dem_missing`, `crs_missing`, `no_slopes`; what the files lack.
    """
    masks = tuple(Path(path) for path in (mask_before, mask_after) if path is not None)
    heights, layers = (None if path is None else Path(path) for path in (dem, terrain))
    if heights is None and layers is None:
        raise BadInputError("dem_missing", "landslide candidates need heights: give a height model or terrain layers")
    with (
        raster_file.open_raster(Path(before), reflectance=True) as first,
        alignment.opened(Path(after), like=first, reflectance=True) as second,
    ):
        numbers = _numbers(bands, first, second.raster)
        if first.geobox is None and (layers is not None or Path(out).suffix.lower() not in _RASTERS):
            raise BadInputError("crs_missing", f"{first.name} states no reference system to place objects in")
        remarks = list(dict.fromkeys([*first.warnings, *second.raster.warnings]))
        size = _pixel_size(first)
        chosen = parameters or landslide.LandslideParameters()
        job = _Job(Path(before), Path(after), numbers, heights, layers, masks, size, chosen, None)
        job = job._replace(normal=_normal(job, first.shape))
        found = _detect(job, first.shape)
        _write(Path(out), first, found, raster=None if raster is None else Path(raster))
    return _report(found, size, remarks)


def _numbers(bands: Mapping[str, int], first: raster_file.RasterFile, second: raster_file.RasterFile) -> dict[str, int]:
    absent = [name for name in landslide.REQUIRED if name not in bands]
    if absent:
        raise BadInputError("band_missing", f"landslide candidates need the band {' and '.join(absent)}")
    used = {name: number for name, number in bands.items() if name in (*landslide.REQUIRED, *landslide.OPTIONAL)}
    for raster in (first, second):
        beyond = [f"{name} (band {number})" for name, number in used.items() if not 1 <= number <= raster.count]
        if beyond:
            raise BadInputError("band_missing", f"{raster.name} with {raster.count} bands has no {', '.join(beyond)}")
    return used


def _pixel_size(raster: raster_file.RasterFile) -> tuple[float, float]:
    if raster.geobox is None:
        return abs(float(raster.transform.e)), abs(float(raster.transform.a))
    return product.pixel_size(raster.geobox)


def _part(job: _Job, window: Window) -> _Part:
    """Everything of a window, on the grid of the image before."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(raster_file.open_raster(job.before, reflectance=True))
        second = stack.enter_context(alignment.opened(job.after, like=first, reflectance=True))
        names, numbers = list(job.numbers), list(job.numbers.values())
        before, after = (dict(zip(names, part.read(window, numbers), strict=True)) for part in (first, second))
        known: dict[str, _Raster] = {}
        if job.terrain is not None and first.geobox is not None:
            wanted = ("elevation", "hand")
            known = terrain_layers.read(job.terrain, first.geobox, window=window, names=wanted)
        if job.dem is not None:
            known["elevation"] = stack.enter_context(alignment.opened(job.dem, like=first)).read(window, [1])[0]
        masked = np.zeros(before["red"].shape, dtype=np.bool_)
        for path in job.masks:
            mask = stack.enter_context(alignment.opened(path, like=first, classes=True)).read(window, [1])[0]
            # What an image lacks is no cloud beside which evidence would be doubted.
            masked |= (mask != 0) & np.isfinite(before["red"]) & np.isfinite(after["red"])
    if "elevation" not in known:
        raise BadInputError("dem_missing", f"{job.terrain} holds no elevation")
    return _Part(before, after, landslide.Surroundings(known["elevation"], known.get("hand"), masked))


def _normal(job: _Job, shape: tuple[int, int]) -> landslide.Normal:
    """What the scene did, judged on parts of it."""
    samples: list[tuple[_Part, _Raster]] = []
    for row in _starts(shape[0]):
        for column in _starts(shape[1]):
            part = _part(job, Window(column, row, min(PIECE, shape[1] - column), min(PIECE, shape[0] - row)))
            relief = landslide.relief(part.surroundings.elevation, pixel_size=job.pixel_size, parameters=job.parameters)
            samples.append((part, relief.slope))
    before = {name: _joined([part.before[name] for part, _ in samples]) for name in job.numbers}
    after = {name: _joined([part.after[name] for part, _ in samples]) for name in job.numbers}
    known = landslide.Surroundings(
        _joined([part.surroundings.elevation for part, _ in samples]),
        masked=_joined([part.surroundings.masked for part, _ in samples]) > 0,
    )
    slope = _joined([part for _, part in samples])
    return landslide.normal(before, after, known, slope=slope, parameters=job.parameters)


def _joined(parts: list[Any]) -> _Raster:
    return np.concatenate([np.ravel(part) for part in parts])


def _starts(side: int) -> list[int]:
    if side <= PIECE * PIECES:
        return list(range(0, side, PIECE))
    return [int(start) for start in np.linspace(0, side - PIECE, PIECES)]


def _evidence(job: _Job, window: Window, shape: tuple[int, int]) -> tuple[landslide.Evidence, landslide.Surroundings]:
    """Evidence of a window, what it rests on around it included, cut to the window."""
    halo = landslide.reach(pixel_size=job.pixel_size, parameters=job.parameters)
    top, left = max(int(window.row_off) - halo, 0), max(int(window.col_off) - halo, 0)
    bottom = min(int(window.row_off + window.height) + halo, shape[0])
    right = min(int(window.col_off + window.width) + halo, shape[1])
    wide = Window(left, top, right - left, bottom - top)
    part = _part(job, wide)
    if job.normal is None:
        raise ValueError("the scene was not judged")
    signs = landslide.evidence(
        part.before,
        part.after,
        part.surroundings,
        job.normal,
        pixel_size=job.pixel_size,
        parameters=job.parameters,
    )
    row, column = int(window.row_off) - top, int(window.col_off) - left
    inner = (slice(row, row + int(window.height)), slice(column, column + int(window.width)))
    known: list[Any] = [None if layer is None else layer[inner] for layer in part.surroundings]
    cut: list[Any] = [layer[(..., *inner)] for layer in signs]
    return landslide.Evidence(*cut), landslide.Surroundings(*known)


def _level(job: _Job, shape: tuple[int, int], tile: tiling.Tile) -> npt.NDArray[np.uint8]:
    return _evidence(job, tile.core, shape)[0].level


def _detect(job: _Job, shape: tuple[int, int]) -> landslide.Detection:
    level = np.empty(shape, dtype=np.uint8)

    def take(tile: tiling.Tile, part: npt.NDArray[np.uint8]) -> None:
        level[_slices(tile.core)] = part

    tiling.run(functools.partial(_level, job, shape), tiling.tiles(shape), consume=take)
    if job.normal is None:
        raise ValueError("the scene was not judged")
    labels = landslide.objects(level, pixel_size=job.pixel_size, parameters=job.parameters)
    found = []
    for number, (rows, columns) in landslide.numbered(labels, margin=job.parameters.ring + 1):
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        signs, known = _evidence(job, window, shape)
        found.append(
            landslide.measure(
                labels[rows, columns],
                number,
                (slice(None), slice(None)),
                signs,
                known,
                usual=job.normal,
                pixel_size=job.pixel_size,
                parameters=job.parameters,
            )
        )
    return landslide.ranked(level, labels, found, normal=job.normal, parameters=job.parameters)


def _slices(window: Window) -> tuple[slice, slice]:
    row, column = int(window.row_off), int(window.col_off)
    return slice(row, row + int(window.height)), slice(column, column + int(window.width))


def _write(out: Path, like: raster_file.RasterFile, found: landslide.Detection, *, raster: Path | None) -> None:
    if out.suffix.lower() in _RASTERS:
        raster = out
    elif like.geobox is not None:
        vector.write([product.table(found.labels, found.candidates, like.geobox)], out)
    if raster is None:
        return
    with raster_file.RasterWriter(
        raster,
        shape=like.shape,
        transform=like.transform,
        crs=like.crs,
        encoding=ENCODING,
        descriptions=LAYERS,
        tags={"flag_values": "0 1 255", "flag_meanings": "none candidate no_data"},
        categorical=True,
    ) as writer:
        for tile in tiling.tiles(like.shape):
            place = _slices(tile.core)
            classes = np.where(found.classes[place] == landslide.NO_DATA, np.nan, found.classes[place])
            writer.write(np.stack([classes, found.probability[place]]).astype(np.float32), tile.core)


def _report(found: landslide.Detection, size: tuple[float, float], remarks: list[str]) -> dict[str, Any]:
    seen = found.classes != landslide.NO_DATA
    area = float(seen.sum()) * size[0] * size[1] / 1e6
    missing = float(1 - seen.mean())
    if missing > 0:
        remarks.append(f"{missing:.1%} of the scene is not seen on both dates or has no height: nothing is said of it")
    return {
        "status": "ok" if missing <= 0.5 else "flagged",
        "warnings": remarks,
        "candidates": len(found.candidates),
        "candidates_per_100_km2": 100 * len(found.candidates) / max(area, 1e-9),
        "objects_below_threshold": found.rejected,
        "area_seen_km2": area,
        "no_data_share": missing,
        "slope_pixels_judged": found.normal.pixels,
        "scores": [round(item.score, 3) for item in found.candidates],
    }
