"""Co-registration of files of any size: windows read one at a time for the estimate, tiles for the correction."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.warp
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from infra.imagery import height_file, raster_file, tiling
from infra.imagery.raster_file import RasterFile
from processors.imagery import coregistration, grid, qa, tie_points
from processors.imagery.coregistration import Coregistration, CoregistrationParameters
from processors.imagery.tie_points import Chip, Reader
from processors.quality import BadInputError

PREFERRED = ("red", "nir", "green", "swir1", "swir2", "pan")
"""Bands compared first where both images name them."""
MAXIMUM_PAIRS = 6
"""Band pairs tried at most [1]."""
_ANY_SYSTEM = "EPSG:3857"
_SAME_GRID = 1e-3
_COARSER = 1.5
_BORDER = 4


class _OnGrid(NamedTuple):
    """A raster as seen on the target's grid."""

    read: Reader
    offset: tuple[float, float]
    """Part of a pixel by which what is read lies to the left of the grid, and above [pixel]."""
    ratio: float
    """Pixel size of the raster over that of the grid [1]."""


def run(
    reference: Path | str,
    target: Path | str,
    out: Path | str,
    *,
    dem: Path | str | None = None,
    bands: tuple[int, int] | None = None,
    method: coregistration.Method = "auto",
    parameters: CoregistrationParameters | None = None,
    plain: bool = False,
) -> dict[str, Any]:
    """Find how a target's content lies against a reference and put it right.

    Parameters
    ----------
    reference : Path or str
        Raster that counts as right; any grid and system.
    target : Path or str
        Raster to correct; all its bands move together.
    out : Path or str
        Corrected target on its own grid in its own numbers; unchanged where the displacement cannot be known.
    dem : Path or str, optional
        Heights [m] on any grid, for the relation of the displacement to elevation.
    bands : tuple of int, optional
        Bands of reference and target to compare, from 1; default the pair that agrees best.
    method : str
        `gradient`, `structure` (contrast may be inverted, as between optical and radar) or `auto`.
    parameters : CoregistrationParameters, optional
        Other choices; `method` counts.
    plain : bool
        Whether an uncompressed GeoTIFF without overviews is wanted.

    Returns
    -------
    dict
        `status`, `reason`, `shift_x`, `shift_y`, `n_tie_points`, `rmse`, `ce90` [target pixel], model, tie points,
        relation to elevation, affine transform that corrects without resampling, quality bits, warnings.

    Raises
    ------
    BadInputError
        `crs_missing` where only one raster is tied to the earth, `unknown_band`, or what reading a raster finds.
    """
    choices = parameters or CoregistrationParameters(method=method)
    with raster_file.open_raster(reference) as first, raster_file.open_raster(target) as second:
        result, used, warnings = _estimated(first, second, dem, bands, choices)
        report = _report(result, second, used, warnings)
    report["clipped"] = _written(Path(target), Path(out), result, plain=plain)
    return report


def estimate(
    reference: RasterFile,
    target: RasterFile,
    *,
    bands: tuple[int, int] | None = None,
    parameters: CoregistrationParameters | None = None,
) -> Coregistration:
    """Displacement of a target against a reference, both open, without correcting it.

    Parameters
    ----------
    reference : RasterFile
        Raster that counts as right.
    target : RasterFile
        The other.
    bands : tuple of int, optional
        Bands to compare, from 1; default the pair that agrees best.
    parameters : CoregistrationParameters, optional
        Choices.

    Returns
    -------
    Coregistration
        In pixels of the target; `corrected_transform` makes a later reprojection the only resampling.

    Raises
    ------
    BadInputError
        `crs_missing`, `unknown_band`, or what reading a raster finds.
    """
    return _estimated(reference, target, None, bands, parameters or CoregistrationParameters())[0]


def _estimated(
    reference: RasterFile,
    target: RasterFile,
    dem: Path | str | None,
    bands: tuple[int, int] | None,
    parameters: CoregistrationParameters,
) -> tuple[Coregistration, tuple[int, int], list[str]]:
    warnings = [*reference.warnings, *target.warnings]
    used = _checked(bands, reference, target) if bands else _best_pair(reference, target, parameters)
    seen = _on_grid(reference, used[0], target)
    choices = partial(
        coregistration.estimate,
        seen.read,
        _band_reader(target, used[1]),
        shape=target.shape,
        parameters=parameters,
        blur=max(seen.ratio, 1.0),
        offset=seen.offset,
    )
    if dem is None:
        return choices(), used, warnings
    with raster_file.open_raster(dem) as heights:
        warnings += heights.warnings
        seen_heights = _on_grid(heights, 1, target).read
        result = choices(elevation=lambda chip: height_file.plausible(seen_heights(chip))[0])
        if result.status == "ok" and result.terrain is None:
            warnings.append(f"{heights.name} has too few heights where the images were compared: they told nothing")
        return result, used, warnings


def _checked(bands: tuple[int, int], *rasters: RasterFile) -> tuple[int, int]:
    for band, raster in zip(bands, rasters, strict=True):
        if not 1 <= band <= raster.count:
            raise BadInputError("unknown_band", f"{raster.name} has {raster.count} bands, no band {band}")
    return bands


def _best_pair(reference: RasterFile, target: RasterFile, parameters: CoregistrationParameters) -> tuple[int, int]:
    """Pair of bands whose gradients agree best at any displacement."""
    pairs = _candidate_pairs(reference, target)
    if len(pairs) == 1:
        return pairs[0]
    return max(pairs, key=lambda pair: _similarity(reference, target, pair, parameters))


def _candidate_pairs(reference: RasterFile, target: RasterFile) -> list[tuple[int, int]]:
    names = [[name.lower() for name in raster.descriptions] for raster in (reference, target)]
    if reference.named and target.named:
        common = [name for name in (*PREFERRED, *names[0]) if name in names[0] and name in names[1]]
        if common:
            unique = list(dict.fromkeys(common))
            return [(names[0].index(name) + 1, names[1].index(name) + 1) for name in unique[:MAXIMUM_PAIRS]]
    if reference.count == target.count:
        return [(band, band) for band in _spread(reference.count, MAXIMUM_PAIRS)]
    share = MAXIMUM_PAIRS // min(2, reference.count, target.count)
    first, second = (_spread(raster.count, share if raster.count > 2 else 2) for raster in (reference, target))
    return [(one, other) for one in first for other in second]


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(band) for band in np.linspace(1, count, min(count, most))})


def _similarity(
    reference: RasterFile, target: RasterFile, pair: tuple[int, int], parameters: CoregistrationParameters
) -> float:
    seen = _on_grid(reference, pair[0], target)
    matching = next(coregistration.matchings(target.shape, blur=max(seen.ratio, 1.0), method="gradient"), None)
    if matching is None:
        return 0.0
    return tie_points.coarse(
        seen.read,
        _band_reader(target, pair[1]),
        shape=target.shape,
        matching=matching,
        maximum_shift=parameters.maximum_shift,
        chip_size=parameters.chip_size // 2,
        chips=2,
    ).score


def _band_reader(raster: RasterFile, band: int, row: int = 0, column: int = 0) -> Reader:
    """Reader of a band whose grid begins at another pixel."""

    def read(chip: Chip) -> npt.NDArray[np.float32]:
        window = Window(chip.column + column, chip.row + row, chip.columns, chip.rows)
        return np.asarray(raster.read(window, [band])[0], dtype=np.float32)

    return read


def _on_grid(raster: RasterFile, band: int, target: RasterFile) -> _OnGrid:
    """A raster on the target's grid: its own pixels where the grids differ by a constant, else resampled."""
    systems = _systems(raster, target)
    own, wanted = raster.transform, target.transform
    extent = max(target.shape)
    parallel = max(abs(own.a / wanted.a - 1.0), abs(own.e / wanted.e - 1.0)) * extent < _SAME_GRID
    if systems[0] == systems[1] and parallel:
        column, row = ~own @ (wanted.c, wanted.f)
        whole = round(column), round(row)
        return _OnGrid(_band_reader(raster, band, whole[1], whole[0]), (column - whole[0], row - whole[1]), 1.0)
    ratio = _ratio(raster, target, systems)
    method = Resampling.average if ratio < 1.0 / _COARSER else Resampling.cubic
    return _OnGrid(partial(_resampled, raster, band, target, systems, method), (0.0, 0.0), ratio)


def _systems(raster: RasterFile, target: RasterFile) -> tuple[str, str]:
    if raster.geobox is None and target.geobox is None:
        return _ANY_SYSTEM, _ANY_SYSTEM
    if raster.geobox is None or target.geobox is None:
        bare = raster if raster.geobox is None else target
        raise BadInputError("crs_missing", f"{bare.name} states no coordinate reference system, the other raster does")
    return grid.system(raster.geobox).to_wkt(), grid.system(target.geobox).to_wkt()


def _ratio(raster: RasterFile, target: RasterFile, systems: tuple[str, str]) -> float:
    """Pixel size of a raster in pixels of the target, in the middle of the target."""
    middle = target.transform @ (target.shape[1] / 2, target.shape[0] / 2)
    corners = [middle, target.transform @ (target.shape[1] / 2 + 1, target.shape[0] / 2 + 1)]
    x, y = rasterio.warp.transform(systems[1], systems[0], *(list(axis) for axis in zip(*corners, strict=True)))
    first, second = (~raster.transform @ point for point in zip(x, y, strict=True))
    return float(2**0.5 / np.hypot(second[0] - first[0], second[1] - first[1]))


def _resampled(
    raster: RasterFile, band: int, target: RasterFile, systems: tuple[str, str], method: Resampling, chip: Chip
) -> npt.NDArray[np.float32]:
    """Part of a raster resampled to the target's pixels."""
    transform = target.transform @ Affine.translation(chip.column, chip.row)
    out = np.full((chip.rows, chip.columns), np.nan, dtype=np.float32)
    window = _source_window(raster, transform, (chip.rows, chip.columns), systems)
    if window is None:
        return out
    rasterio.warp.reproject(
        raster.read(window, [band])[0],
        out,
        src_transform=raster.transform @ Affine.translation(window.col_off, window.row_off),
        src_crs=systems[0],
        dst_transform=transform,
        dst_crs=systems[1],
        src_nodata=np.nan,
        dst_nodata=np.nan,
        init_dest_nodata=True,
        resampling=method,
        tolerance=0.0,
    )
    return out


def _source_window(
    raster: RasterFile, transform: Affine, shape: tuple[int, int], systems: tuple[str, str]
) -> Window | None:
    """Pixels of a raster under a part of another grid; None where it does not reach there."""
    steps = np.linspace(0.0, 1.0, 5)
    column, row = (axis.ravel() for axis in np.meshgrid(shape[1] * steps, shape[0] * steps))
    points = [transform @ point for point in zip(column.tolist(), row.tolist(), strict=True)]
    x, y = rasterio.warp.transform(systems[1], systems[0], *(list(axis) for axis in zip(*points, strict=True)))
    sources = np.array([~raster.transform @ point for point in zip(x, y, strict=True)])
    column, row = sources[:, 0], sources[:, 1]
    if not (np.isfinite(column).all() and np.isfinite(row).all()):
        return None
    left, top = (max(int(np.floor(axis.min())) - _BORDER, -_BORDER) for axis in (column, row))
    right = min(int(np.ceil(column.max())) + _BORDER, raster.shape[1] + _BORDER)
    bottom = min(int(np.ceil(row.max())) + _BORDER, raster.shape[0] + _BORDER)
    return Window(left, top, right - left, bottom - top) if right > left and bottom > top else None


def _written(target: Path, out: Path, result: Coregistration, *, plain: bool) -> int:
    """Write the corrected target; pixels clipped to the range of the numbers."""
    with raster_file.open_raster(target) as raster:
        writer = raster_file.RasterWriter(
            out,
            shape=raster.shape,
            transform=raster.transform,
            crs=raster.crs,
            encoding=raster.encoding,
            descriptions=raster.descriptions,
            tags=raster.tags | {"COREGISTRATION": result.status, "QA_BITS": str(_bits(result))},
            plain=plain,
        )
        parts = tiling.tiles(raster.shape, halo=coregistration.halo(result.displacement, raster.shape))
    correct: Callable[[tiling.Tile], npt.NDArray[np.float32]] = partial(_corrected, target, result.displacement)
    with writer:
        tiling.run(correct, parts, consume=lambda tile, values: writer.write(values, tile.core))
    return writer.clipped


def _corrected(target: Path, displacement: npt.NDArray[np.float64], tile: tiling.Tile) -> npt.NDArray[np.float32]:
    core, padded = tile.core, tile.padded
    with raster_file.open_raster(target) as raster:
        values = raster.read(padded)
    wanted = Chip(int(core.row_off), int(core.col_off), int(core.height), int(core.width))
    return coregistration.correct(
        values, displacement, source=(int(padded.row_off), int(padded.col_off)), wanted=wanted
    )


def _bits(result: Coregistration) -> int:
    return int(qa.QaBit.COREGISTRATION_FAILED) if result.status == "refused" else 0


def _report(
    result: Coregistration, target: RasterFile, bands: tuple[int, int], warnings: Sequence[str]
) -> dict[str, Any]:
    corrected = coregistration.corrected_transform(target.transform, result.displacement)
    points = result.tie_points
    rows = zip(*(column.tolist() for column in points), strict=True)
    return {
        "status": result.status,
        "reason": result.reason,
        "shift_x": _number(result.shift_x),
        "shift_y": _number(result.shift_y),
        "shift_sigma": _number(result.shift_sigma),
        "n_tie_points": result.n_tie_points,
        "rmse": _number(result.rmse),
        "ce90": _number(result.ce90),
        "model": result.model,
        "method": result.method,
        "displacement": result.displacement.tolist(),
        "corrected_transform": list(corrected)[:6],
        "bands": {"reference": bands[0], "target": bands[1]},
        "score": _number(result.score),
        "chance": result.chance,
        "terrain": None if result.terrain is None else result.terrain._asdict(),
        "qa_bits": _bits(result),
        "tie_points": [dict(zip(points._fields, row, strict=True)) for row in rows],
        "warnings": [*warnings, *_remarks(result)],
    }


def _remarks(result: Coregistration) -> list[str]:
    if result.terrain is not None and result.terrain.significant:
        return ["the displacement varies with elevation: the target's orthorectification does not fit the terrain"]
    return []


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
