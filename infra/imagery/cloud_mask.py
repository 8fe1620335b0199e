"""Cloud mask of a scene in a file: the whole scene is judged on a grid that fits in memory, edges tile by tile.

Result: a float32 GeoTIFF of two bands, both with 255 for no data. Band 1 holds the class, band 2 the probability of
cloud from 0 to 1 as it stands, so that no reader needs a scale.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import rasterio.errors
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling
from rasterio.windows import Window
from scipy import ndimage

from infra.imagery import height_file, raster_file, tiling
from infra.imagery.raster_file import RasterFile
from processors.imagery import cloud_mask, cloud_shadow, terrain_shading
from processors.quality import BadInputError

LARGEST = 1536
"""Rows and columns up to which a scene is judged as it is; larger ones are averaged for that [pixel]."""
ENCODING = raster_file.Encoding("float32", (1.0, 1.0), (0.0, 0.0), 255.0)
"""How the mask is stored."""
_HALO = 4
_SLOPED = 3
_SEEN_BY_HEIGHTS = 0.5
_METERS_PER_DEGREE = 111_320.0
_SUSPICIOUS_ZEROS = 0.01
_CLEAR_LAND = 0.02

_Raster = npt.NDArray[np.float32]


class _Job(NamedTuple):
    """What a tile needs."""

    scene: Path
    bands: dict[str, int]
    factor: int
    coarse: cloud_mask.Detection
    parameters: cloud_mask.CloudMaskParameters


def run(
    scene: Path | str,
    out: Path | str,
    *,
    bands: Mapping[str, int],
    sun_azimuth: float | None = None,
    sun_elevation: float | None = None,
    dem: Path | str | None = None,
    detector: cloud_mask.CloudDetector | None = None,
    parameters: cloud_mask.CloudMaskParameters | None = None,
    largest: int = LARGEST,
) -> dict[str, Any]:
    """Mask cloud, shadow, snow and water of a scene.

    Parameters
    ----------
    scene : Path or str
        Raster of reflectance.
    out : Path or str
        Mask to write.
    bands : Mapping[str, int]
        Number of every band by name: blue, green, red, nir, and swir1 and swir2 where there are.
    sun_azimuth, sun_elevation : float, optional
        Position of the sun [degree].
    dem : Path or str, optional
        Heights of the ground [m].
    detector : CloudDetector, optional
        Learned detector to be heard beside the tests.
    parameters : CloudMaskParameters, optional
        Thresholds; those with edges where they are seen unless others are given.
    largest : int
        Rows and columns up to which a scene is judged as it is [pixel].

    Returns
    -------
    dict
        Report: `status`, `warnings`, shares of the classes, and what was found about air, sun and heights.

    Raises
    ------
    BadInputError
        `band_missing`, `sun_angle`, `no_data`, `crs_missing`, `dem_empty` or what the files lack.
    """
    chosen = parameters or cloud_mask.EXACT
    sun = _sun(sun_azimuth, sun_elevation)
    with raster_file.open_raster(Path(scene), reflectance=True) as raster:
        numbers = _numbers(raster, bands)
        factor = math.ceil(max(raster.shape) / largest)
        layers, zeros = _coarse(raster, numbers, factor)
        remarks = [*raster.warnings, *_zero_remarks(raster, layers, zeros)]
        if not np.isfinite(np.stack(list(layers.values()))).all(axis=0).any():
            raise BadInputError("no_data", f"{raster.name} has no pixel with a value in every band")
        steps = _steps(raster, factor)
        elevation = None if dem is None else _elevation(Path(dem), raster, factor, remarks)
        if elevation is not None and min(elevation.shape) < _SLOPED:
            remarks.append(f"{raster.name} is too small to have slopes: the heights were not used")
            elevation = None
        view = cloud_mask.View(steps, sun, elevation)
        found = cloud_mask.detect(layers, view=view, parameters=chosen, detector=detector)
        counts = _write(Path(out), raster, _Job(Path(scene), numbers, factor, found, chosen))
    remarks += _remarks(found, sun, dem is not None)
    report = _report(found, counts, remarks, factor, sun)
    if elevation is not None and float(np.mean(np.isfinite(elevation))) < _SEEN_BY_HEIGHTS:
        report["status"] = "flagged"
    return report


def _sun(azimuth: float | None, elevation: float | None) -> terrain_shading.Sun | None:
    if azimuth is None and elevation is None:
        return None
    if azimuth is None or elevation is None:
        raise BadInputError("sun_angle", "azimuth and elevation of the sun belong together; only one is given")
    return terrain_shading.checked(terrain_shading.Sun(azimuth, elevation))


def _numbers(raster: RasterFile, bands: Mapping[str, int]) -> dict[str, int]:
    unknown = sorted(set(bands) - set(cloud_mask.BANDS))
    if unknown:
        raise BadInputError(
            "band_missing", f"no band is called {', '.join(unknown)}; known: {', '.join(cloud_mask.BANDS)}"
        )
    absent = [name for name in cloud_mask.REQUIRED if name not in bands]
    absent += [f"{name} (band {number})" for name, number in bands.items() if not 1 <= number <= raster.count]
    if absent:
        message = f"{raster.name} with {raster.count} bands: the cloud mask needs {', '.join(absent)}"
        raise BadInputError("band_missing", message)
    if len(set(bands.values())) < len(bands):
        raise BadInputError("band_missing", f"{raster.name}: one band cannot be {' and '.join(sorted(bands))} at once")
    return {name: bands[name] for name in cloud_mask.BANDS if name in bands}


def _coarse(raster: RasterFile, numbers: dict[str, int], factor: int) -> tuple[dict[str, _Raster], int]:
    """Mean of every block of pixels, and the number of pixels that are exactly zero in all bands."""
    rows, columns = (math.ceil(side / factor) for side in raster.shape)
    layers = np.empty((len(numbers), rows, columns), dtype=np.float32)
    zeros = 0
    strip = max(1, 512 // factor)
    for top in range(0, rows, strip):
        height = min(strip, rows - top)
        window = Window(0, top * factor, columns * factor, height * factor)
        values = raster.read(window, list(numbers.values()))
        zeros += int((values == 0.0).all(axis=0).sum())
        layers[:, top : top + height] = _means(values, factor)
    return dict(zip(numbers, layers, strict=True)), zeros


def _means(values: _Raster, factor: int) -> _Raster:
    if factor == 1:
        return values
    bands, rows, columns = values.shape
    blocks = values.reshape(bands, rows // factor, factor, columns // factor, factor)
    known = np.isfinite(blocks)
    total = np.where(known, blocks, 0.0).sum(axis=(2, 4))
    count = known.sum(axis=(2, 4))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _zero_remarks(raster: RasterFile, layers: Mapping[str, _Raster], zeros: int) -> list[str]:
    declared = raster.encoding.nodata
    if declared is None and zeros > _SUSPICIOUS_ZEROS * raster.shape[0] * raster.shape[1]:
        return [f"{raster.name} declares no no-data value; {zeros} pixels that are 0 in all bands count as dark ground"]
    if declared != 0:
        return []
    lost = ~np.isfinite(np.stack(list(layers.values())))
    partial = int((lost.any(axis=0) & ~lost.all(axis=0)).sum())
    hole, number = ndimage.label(lost.all(axis=0))
    rim = np.unique(np.concatenate([hole[0], hole[-1], hole[:, 0], hole[:, -1]]))
    inside = int(np.isin(hole, np.setdiff1d(np.arange(1, number + 1), rim)).sum())
    if not partial + inside:
        return []
    text = f"{partial} pixels lack some bands and {inside} lie in holes inside the scene"
    return [f"{raster.name} declares 0 as no data; {text}: dark water may have been taken for no data"]


def _steps(raster: RasterFile, factor: int) -> tuple[float, float]:
    """Northing of one row and easting of one column [m]."""
    north, east = raster.transform.e * factor, raster.transform.a * factor
    if raster.crs is not None and raster.crs.is_geographic:
        latitude = raster.transform.f + raster.transform.e * raster.shape[0] / 2
        return north * _METERS_PER_DEGREE, east * _METERS_PER_DEGREE * math.cos(math.radians(latitude))
    unit = 1.0 if raster.crs is None else float(raster.crs.linear_units_factor[1])
    return north * unit, east * unit


def _elevation(dem: Path, raster: RasterFile, factor: int, remarks: list[str]) -> _Raster:
    """Heights on the grid of the judged scene."""
    rows, columns = (math.ceil(side / factor) for side in raster.shape)
    with raster_file.open_raster(dem) as heights:
        remarks += heights.warnings
        alike = heights.shape == raster.shape and heights.transform == raster.transform
        if heights.crs is None or raster.crs is None:
            if not alike:
                message = f"{heights.name} and {raster.name} are on different grids, and one has no coordinate system"
                raise BadInputError("crs_missing", message)
            values = _coarse(heights, {"height": 1}, factor)[0]["height"]
        elif alike and _same_system(heights, raster):
            values = _coarse(heights, {"height": 1}, factor)[0]["height"]
        else:
            values = _warped(dem, raster, (rows, columns), factor)
    values, odd = height_file.plausible(values)
    if odd:
        remarks.append(f"{dem.name} holds numbers that are no heights on {odd:.1%} of the scene; they were not used")
    missing = float(np.mean(~np.isfinite(values)))
    if missing == 1.0:
        raise BadInputError("dem_empty", f"{dem.name} has no height on {raster.name}")
    if missing:
        remarks.append(f"{dem.name} has no height on {missing:.1%} of the scene, which is taken as flat there")
    return values


def _same_system(first: RasterFile, second: RasterFile) -> bool:
    one, other = (pyproj.CRS.from_user_input(raster.crs.to_wkt()) for raster in (first, second))
    return bool(one.equals(other, ignore_axis_order=True))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except rasterio.errors.RasterioError as error:
        raise BadInputError("truncated", f"{path}: cannot be read where the scene lies: {error}") from error


def _warped(dem: Path, raster: RasterFile, shape: tuple[int, int], factor: int) -> _Raster:
    transform = raster.transform @ raster.transform.scale(factor)
    with rasterio.open(dem) as source, _readable(dem):
        finer = abs(source.transform.a) * 2 < abs(transform.a) and source.crs == raster.crs
        with WarpedVRT(
            source,
            crs=raster.crs,
            transform=transform,
            height=shape[0],
            width=shape[1],
            resampling=Resampling.average if finer else Resampling.bilinear,
            dtype="float32",
            nodata=float("nan"),
        ) as view:
            values = view.read(1) * np.float32(source.scales[0]) + np.float32(source.offsets[0])
    return np.asarray(values, dtype=np.float32)


def _write(out: Path, raster: RasterFile, job: _Job) -> dict[int, int]:
    """Write the mask; the number of pixels of every class."""
    counts: dict[int, int] = {}
    with raster_file.RasterWriter(
        out,
        shape=raster.shape,
        transform=raster.transform,
        crs=raster.crs,
        encoding=ENCODING,
        descriptions=("cloud_class", "cloud_probability"),
        tags={"flag_values": "0 1 2 3 4 5 255", "flag_meanings": cloud_mask.MEANINGS},
        categorical=True,
    ) as writer:

        def consume(tile: tiling.Tile, layers: _Raster) -> None:
            values, numbers = np.unique(layers[0], return_counts=True)
            for value, number in zip(values, numbers, strict=True):
                counts[int(value)] = counts.get(int(value), 0) + int(number)
            writer.write(layers, tile.core)

        parts = tiling.tiles(raster.shape, halo=_HALO if job.factor > 1 else 0)
        tiling.run(functools.partial(_tile, job), parts, consume=consume)
    return counts


def _tile(job: _Job, tile: tiling.Tile) -> _Raster:
    if job.factor == 1:
        window = _slices(tile.core)
        return np.stack([job.coarse.classes[window], _stored(job.coarse.probability[window])]).astype(np.float32)
    with raster_file.open_raster(job.scene, reflectance=True) as raster:
        values = raster.read(tile.padded, list(job.bands.values()))
    part = _interpolated(job.coarse, tile.padded, job.factor)
    classes, probability = cloud_mask.refine(dict(zip(job.bands, values, strict=True)), part, parameters=job.parameters)
    return np.stack([classes[tile.inner], _stored(probability[tile.inner])]).astype(np.float32)


def _stored(probability: _Raster) -> _Raster:
    return np.where(np.isfinite(probability), probability, np.float32(cloud_mask.NODATA))


def _slices(window: Window) -> tuple[slice, slice]:
    row, column = int(window.row_off), int(window.col_off)
    return slice(row, row + int(window.height)), slice(column, column + int(window.width))


def _interpolated(coarse: cloud_mask.Detection, window: Window, factor: int) -> cloud_mask.Detection:
    """Layers of the coarse mask at the pixels of a window: thresholds as they are, probabilities bilinear."""
    rows = (np.arange(int(window.height)) + window.row_off + 0.5) / factor - 0.5
    columns = (np.arange(int(window.width)) + window.col_off + 0.5) / factor - 0.5
    near = np.ix_(
        np.clip(np.rint(rows), 0, coarse.classes.shape[0] - 1).astype(np.int64),
        np.clip(np.rint(columns), 0, coarse.classes.shape[1] - 1).astype(np.int64),
    )
    return coarse._replace(
        classes=coarse.classes[near],
        probability=coarse.probability[near],
        faint=coarse.faint[near],
        shadow=_bilinear(coarse.shadow, rows, columns),
    )


def _bilinear(layer: _Raster, rows: Any, columns: Any) -> _Raster:
    result = layer
    for axis, places in enumerate((rows, columns)):
        inside = np.clip(places, 0, layer.shape[axis] - 1)
        low = np.minimum(np.floor(inside).astype(np.int64), max(layer.shape[axis] - 2, 0))
        high = np.minimum(low + 1, layer.shape[axis] - 1)
        share = (inside - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        result = np.take(result, low, axis) * (1 - share) + np.take(result, high, axis) * share
    return result


def _remarks(found: cloud_mask.Detection, sun: terrain_shading.Sun | None, with_terrain: bool) -> list[str]:
    remarks = []
    if found.line.veiled:
        remarks.append("no clear ground is seen anywhere: the usual line of clear ground was used")
    if sun is None:
        remarks.append("the sun is not given: shadows were sought in any one direction and are less certain")
        if with_terrain:
            remarks.append("heights without the sun say nothing about shade; they were not used")
    elif not with_terrain:
        remarks.append("no heights are given: shade of terrain cannot be told from shadow of clouds")
    if found.match.candidate < 0 and (found.classes == cloud_mask.SHADOW).any():
        remarks.append("no cloud of the scene explains its shadows: they were told by darkness alone")
    return remarks


def _report(
    found: cloud_mask.Detection,
    counts: Mapping[int, int],
    remarks: list[str],
    factor: int,
    sun: terrain_shading.Sun | None,
) -> dict[str, Any]:
    names = dict(zip((0, 1, 2, 3, 4, 5, 255), cloud_mask.MEANINGS.split(), strict=True))
    seen = max(sum(number for value, number in counts.items() if value != cloud_mask.NODATA), 1)
    total = sum(counts.values())
    shares = {name: counts.get(value, 0) / (total if value == 255 else seen) for value, name in names.items()}
    line = found.line
    return {
        "status": "flagged" if line.veiled or shares["clear"] + shares["water"] < _CLEAR_LAND else "ok",
        "warnings": remarks,
        "shares": {name: round(share, 6) for name, share in shares.items()},
        "judged_every": factor,
        "clear_line": {
            "slope": round(line.slope, 4),
            "intercept": round(line.intercept, 4),
            "spread": round(line.spread, 4),
            "path": {name: round(value, 4) for name, value in line.path.items()},
            "veiled": line.veiled,
        },
        "shadows": _shadows(found.match, sun),
    }


def _shadows(match: cloud_shadow.Match, sun: terrain_shading.Sun | None) -> dict[str, Any]:
    if match.candidate < 0:
        return {"matched": False}
    height = match.shifts[match.candidate, 0]
    key = "displacement_m" if sun is None else "cloud_height_m"
    return {"matched": True, key: round(float(height), 1), "darkness_sigma": round(match.score, 3)}
