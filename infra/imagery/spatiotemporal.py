"""Spatio-temporal fusion of files of any size: a fine image predicted at the date of a coarse one."""

import contextlib
import dataclasses
import datetime
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio.warp
from affine import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from infra.imagery.raster_file import Encoding, RasterFile
from processors.arrays import FloatArray
from processors.imagery import coarse_lattice, qa, spatiotemporal
from processors.imagery.coarse_lattice import Block, Lattice
from processors.imagery.spatiotemporal import Classes, Image, Plan, Prediction, SpatiotemporalParameters
from processors.quality import BadInputError

LARGEST_UNIT_RATIO = 5.0
"""Ratio of fine to coarse values up to which they can have one unit [1]."""
REFLECTANCE_UNIT = 1e4
"""Digital numbers of reflectance one, the other unit in use [1]."""
_TOLERANCE = 1e-3
_PROPORTION = 0.02
_LOOK = 1024
_TILE = 512
_DATE_TAGS = ("acquisitiondatetime", "datetime", "date", "acquisition_date", "date_acquired", "sensing_time")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?!\d)")
_DAY_OF_YEAR = re.compile(r"(?<!\d)A?((?:19|20)\d\d)[-_.]?([0-3]\d\d)(?!\d)")
_UNLIKE = 0.3
_ONE_DATE = 16


class _Fine(NamedTuple):
    """Fine images as the tiles read them."""

    paths: tuple[Path, ...]
    factors: tuple[float, ...]
    """Factor that brings each to the unit of the first."""

    def read(self, block: Block) -> Image:
        layers = []
        for path, factor in zip(self.paths, self.factors, strict=True):
            with raster_file.open_raster(path) as raster:
                layers.append(raster.read(_window(block)) * np.float32(factor))
        return np.stack(layers)


class _Scene(NamedTuple):
    """The inputs on common ground."""

    fine: _Fine
    coarse: FloatArray
    target: FloatArray
    lattice: Lattice
    shape: tuple[int, int]
    transform: Affine
    crs: Any
    encoding: Encoding
    names: tuple[str, ...]
    warnings: tuple[str, ...]


def run(
    fine: Sequence[Path | str],
    coarse: Sequence[Path | str],
    coarse_target: Path | str,
    out: Path | str,
    *,
    parameters: SpatiotemporalParameters | None = None,
) -> dict[str, Any]:
    """Predict a fine image at the date of a coarse one.

    Parameters
    ----------
    fine : sequence of Path or str
        Fine images of one or two pairs, on one grid.
    coarse : sequence of Path or str
        Coarse images of the same dates in the same order, on a grid of their own or on the fine one.
    coarse_target : Path or str
        Coarse image of the date wanted.
    out : Path or str
        Cloud-optimized GeoTIFF to write: the bands as the fine image stores them, then one sigma band each. Quality
        bits, origin and pair go into a second one, its name ending in `_qa`.
    parameters : SpatiotemporalParameters, optional
        Choices of the method.

    Returns
    -------
    dict
        Grid, weights, trials with the scores of all candidates, shares of origins, warnings; `flagged` where the images
        of a pair hardly belong together or the target is one of a pair.

    Raises
    ------
    BadInputError
        `too_many_pairs`, `band_mismatch`, `grid_mismatch`, `outside_area`, `crs_missing`, `unit_mismatch`,
        `duplicate_date`, `coarse_finer`, `all_missing`, and what opening a raster raises.
    """
    chosen = parameters or SpatiotemporalParameters()
    pairs = tuple(Path(path) for path in fine), tuple(Path(path) for path in coarse)
    if len(pairs[0]) != len(pairs[1]) or not 1 <= len(pairs[0]) <= spatiotemporal.MOST_PAIRS:
        counts = f"{len(pairs[0])} fine and {len(pairs[1])} coarse images"
        raise BadInputError("too_many_pairs", f"{counts}: one or two pairs are used")
    scene = _scene(*pairs, Path(coarse_target))
    date_weight, notes = _date_weight(*pairs, Path(coarse_target))
    spatiotemporal.check((len(pairs[0]), len(scene.names), *scene.shape), scene.coarse, scene.target, scene.lattice)
    plan = _planned(scene, date_weight, chosen)
    counted = _written(scene, plan, Path(out))
    doubts = [*_date_doubts(*pairs), *_doubts(plan, scene)]
    report = _report(scene, plan, date_weight, counted, [*scene.warnings, *notes, *doubts])
    return report | {"status": "flagged" if doubts else "ok"}


def qa_path(out: Path | str) -> Path:
    """Name of the file of quality bits beside a fused raster.

    Parameters
    ----------
    out : Path or str
        The fused raster.

    Returns
    -------
    Path
        The same name ending in `_qa.tif`.
    """
    path = Path(out)
    return path.with_name(f"{path.stem}_qa.tif")


def _scene(fine: tuple[Path, ...], coarse: tuple[Path, ...], target: Path) -> _Scene:
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(raster_file.open_raster(path)) for path in (*fine, *coarse, target)]
        fines, coarses = files[: len(fine)], files[len(fine) :]
        first = fines[0]
        _check_bands(files)
        _check_fine_grids(fines)
        notes = [note for file in files for note in file.warnings]
        factors, unit_notes = _unit_factors(files)
        lattice, images, grid_notes = _on_lattice(first, coarses)
        images = np.stack(images) * np.array(factors[len(fine) :])[:, None, None, None]
        return _Scene(
            _Fine(fine, tuple(factors[: len(fine)])),
            images[:-1],
            images[-1],
            lattice,
            first.shape,
            first.transform,
            first.crs,
            first.encoding,
            first.descriptions,
            (*notes, *unit_notes, *grid_notes),
        )


def _check_bands(files: Sequence[RasterFile]) -> None:
    counts = {file.count for file in files}
    if len(counts) > 1:
        listed = ", ".join(f"{file.name} {file.count}" for file in files)
        raise BadInputError("band_mismatch", f"the images have different numbers of bands: {listed}")


def _check_fine_grids(fines: Sequence[RasterFile]) -> None:
    first = fines[0]
    for other in fines[1:]:
        if other.shape != first.shape or not _same_place(other.transform, first.transform):
            raise BadInputError("grid_mismatch", f"{other.name} does not lie on the grid of {first.name}")
        if None not in (other.crs, first.crs) and other.crs != first.crs:
            raise BadInputError("grid_mismatch", f"{other.name} has another reference system than {first.name}")


def _same_place(one: Affine, other: Affine) -> bool:
    """Whether two transforms agree to a small part of a pixel."""
    size = abs(other.a), abs(other.e)
    places = abs(one.c - other.c) / size[0], abs(one.f - other.f) / size[1]
    sizes = abs(one.a / other.a - 1.0), abs(one.e / other.e - 1.0)
    return max(places) <= _TOLERANCE and max(sizes) <= 1e-6


def _unit_factors(files: Sequence[RasterFile]) -> tuple[list[float], list[str]]:
    """Factors that bring every image to the unit of the first."""
    sizes = []
    for file in files:
        values = np.abs(file.sample())
        if not np.isfinite(values).any():
            raise BadInputError("all_missing", f"{file.name} has no data")
        sizes.append(float(np.nanpercentile(values, 90.0)))
    factors, notes = [], []
    for file, size in zip(files, sizes, strict=True):
        factor = _unit_factor(sizes[0], size)
        if factor is None:
            raise BadInputError(
                "unit_mismatch",
                f"values of {file.name} are of size {size:.4g}, those of {files[0].name} {sizes[0]:.4g}",
            )
        if factor != 1.0:
            notes.append(f"{file.name} is taken times {factor:g} to have the unit of {files[0].name}")
        factors.append(factor)
    return factors, notes


def _unit_factor(wanted: float, size: float) -> float | None:
    for factor in (1.0, REFLECTANCE_UNIT, 1.0 / REFLECTANCE_UNIT):
        if wanted <= LARGEST_UNIT_RATIO * size * factor and size * factor <= LARGEST_UNIT_RATIO * wanted:
            return factor
    return None


def _on_lattice(fine: RasterFile, coarses: Sequence[RasterFile]) -> tuple[Lattice, list[FloatArray], list[str]]:
    """Lattice of the coarse images and the images on it; the last one, the target, decides."""
    target = coarses[-1]
    notes: list[str] = []
    transform, shape, crs = _placed(fine, target, notes)
    lattice = _lattice(fine.transform, transform, shape)
    _refuse_elsewhere(lattice, fine, target)
    if min(lattice.row_step, lattice.column_step) > coarse_lattice.SMALLEST_RATIO:
        images = [_resampled(file, transform, shape, crs, fine, notes) for file in coarses]
        return lattice, images, notes
    if any(file.shape != fine.shape or not _same_place(file.transform, fine.transform) for file in coarses):
        raise BadInputError(
            "coarse_finer", f"{target.name} has pixels as small as {fine.name} but does not lie on its grid"
        )
    look = Window(0, 0, min(_LOOK, fine.shape[1]), min(_LOOK, fine.shape[0]))
    lattice = coarse_lattice.true_lattice(coarses[0].read(look), fine.read(look), shape=fine.shape)
    notes.append(f"the coarse images lie on the fine grid; their pixels measure {lattice.row_step:.3g} fine pixels")
    return lattice, [_averaged(file, lattice) for file in coarses], notes


def _placed(fine: RasterFile, coarse: RasterFile, notes: list[str]) -> tuple[Affine, tuple[int, int], Any]:
    """Transform and shape of a coarse image in the reference system of the fine one."""
    if coarse.transform.is_identity and not fine.transform.is_identity:
        notes.append(f"{coarse.name} has no position: it is taken to cover the same area as {fine.name}")
        return _stretched(fine, coarse), coarse.shape, coarse.crs
    if coarse.transform.is_identity and coarse.shape != fine.shape:
        notes.append(f"{coarse.name} and {fine.name} have no position: they are taken to cover the same area")
        return _stretched(fine, coarse), coarse.shape, coarse.crs
    if None in (fine.crs, coarse.crs) or fine.crs == coarse.crs:
        return coarse.transform, coarse.shape, coarse.crs
    notes.append(f"{coarse.name} is resampled to the reference system of {fine.name}")
    return *_covering(coarse, fine.crs), fine.crs


def _covering(coarse: RasterFile, crs: Any) -> tuple[Affine, tuple[int, int]]:
    """Grid in another reference system over the same area with pixels of the same size."""
    rows, columns = coarse.shape
    ends = coarse.transform @ (0, 0), coarse.transform @ (columns, rows)
    bounds = (ends[0][0], ends[1][1], ends[1][0], ends[0][1])
    left, bottom, right, top = rasterio.warp.transform_bounds(coarse.crs, crs, *bounds)
    size = ((right - left) * (top - bottom) / (rows * columns)) ** 0.5
    shape = max(round((top - bottom) / size), 1), max(round((right - left) / size), 1)
    return Affine((right - left) / shape[1], 0.0, left, 0.0, (bottom - top) / shape[0], top), shape


def _stretched(fine: RasterFile, coarse: RasterFile) -> Affine:
    down, across = (large / small for large, small in zip(fine.shape, coarse.shape, strict=True))
    if abs(down / across - 1.0) > _PROPORTION:
        raise BadInputError("crs_missing", f"{coarse.name} has no position and not the proportions of {fine.name}")
    return Affine(*(fine.transform @ Affine.scale(across, down))[:6])


def _lattice(fine: Affine, coarse: Affine, shape: tuple[int, int]) -> Lattice:
    relative = ~fine @ coarse
    return Lattice(shape[0], shape[1], relative.f, relative.c, relative.e, relative.a)


def _refuse_elsewhere(lattice: Lattice, fine: RasterFile, coarse: RasterFile) -> None:
    row_end = lattice.row_origin + lattice.rows * lattice.row_step
    column_end = lattice.column_origin + lattice.columns * lattice.column_step
    beside = min(row_end, column_end) <= 0 or lattice.row_origin >= fine.shape[0]
    if beside or lattice.column_origin >= fine.shape[1]:
        raise BadInputError("outside_area", f"{coarse.name} does not lie over {fine.name}")


def _resampled(
    file: RasterFile, transform: Affine, shape: tuple[int, int], crs: Any, fine: RasterFile, notes: list[str]
) -> FloatArray:
    """A coarse image on the grid of the target."""
    own, _, own_crs = _placed(fine, file, [])
    if own_crs is None or crs is None or file.crs == crs:
        own_crs = crs
    values = file.read().astype(np.float64)
    if file.shape == shape and _same_place(own, transform) and own_crs == crs and file.crs in (None, crs):
        return values
    if file.crs is not None and own_crs is not None:
        own, own_crs = file.transform, file.crs
    notes.append(f"{file.name} is resampled to the grid of the coarse target")
    system = crs or "EPSG:3857"
    out = np.full((len(values), *shape), np.nan)
    rasterio.warp.reproject(
        values, out, src_transform=own, src_crs=own_crs or system, dst_transform=transform, dst_crs=system,
        src_nodata=np.nan, dst_nodata=np.nan, resampling=Resampling.bilinear,
    )  # fmt: skip
    return out


def _averaged(file: RasterFile, lattice: Lattice) -> FloatArray:
    """Means of an image over the coarse pixels, NaN where less than half is known."""
    sums = np.zeros((file.count + 1, *lattice.shape))
    for block in coarse_lattice.blocks(file.shape, tiling.SIZE):
        values = file.read(_window(block))
        known = np.asarray(np.isfinite(values).all(axis=0))
        sums += coarse_lattice.totals(np.concatenate([np.where(known, values, 0.0), known[None]]), block, lattice)
    area = coarse_lattice.totals(np.ones((1, *file.shape)), Block(0, 0, *file.shape), lattice)[0]
    enough = sums[-1] > 0.5 * area
    return np.asarray(np.divide(sums[:-1], sums[-1], out=np.full_like(sums[:-1], np.nan), where=enough))


def _window(block: Block) -> Window:
    return Window(block.left, block.top, block.columns, block.rows)


def _block(window: Window) -> Block:
    return Block(int(window.row_off), int(window.col_off), int(window.height), int(window.width))


def _date_weight(fine: tuple[Path, ...], coarse: tuple[Path, ...], target: Path) -> tuple[float | None, list[str]]:
    """Weight of the second pair in time, where all dates are known."""
    if len(fine) == 1:
        return None, []
    days = [_date(first) or _date(second) for first, second in zip(fine, coarse, strict=True)]
    wanted = _date(target)
    if None not in days and days[0] == days[1]:
        raise BadInputError("duplicate_date", f"both pairs are of {days[0]}")
    if None in days or wanted is None:
        return None, ["no dates in tags or file names: the place of the target in time follows from the coarse images"]
    first, second = (day.toordinal() for day in days if day is not None)
    weight = (wanted.toordinal() - first) / (second - first)
    notes = [] if 0.0 <= weight <= 1.0 else [f"the target, {wanted}, does not lie between the pairs"]
    return min(max(weight, 0.0), 1.0), notes


def _date_doubts(fine: tuple[Path, ...], coarse: tuple[Path, ...]) -> list[str]:
    """Pairs whose images state dates too far apart to be of one date, as when the pairs are crossed."""
    notes = []
    for first, second in zip(fine, coarse, strict=True):
        days = _date(first), _date(second)
        if None not in days and abs((days[0] - days[1]).days) > _ONE_DATE:  # type: ignore[operator]
            notes.append(f"{first.name} is of {days[0]} and {second.name} of {days[1]}: they are no pair of one date")
    return notes


def _date(path: Path) -> datetime.date | None:
    """Date of an image from its tags, else from its name."""
    with raster_file.open_raster(path) as raster:
        tags = {key.lower(): value for key, value in raster.tags.items()}
    texts = [tags[key] for key in _DATE_TAGS if key in tags]
    return next((date for text in (*texts, path.stem) if (date := _date_in(text)) is not None), None)


def _date_in(text: str) -> datetime.date | None:
    with contextlib.suppress(ValueError):
        if found := _DATE.search(text):
            return datetime.date(*(int(part) for part in found.groups()))
    if found := _DAY_OF_YEAR.search(text):
        year, day = (int(part) for part in found.groups())
        if 1 <= day <= 366:
            return datetime.date(year, 1, 1) + datetime.timedelta(days=day - 1)
    return None


def _planned(scene: _Scene, date_weight: float | None, parameters: SpatiotemporalParameters) -> Plan:
    samples = [(scene.fine.read(block), block) for block in spatiotemporal.sample_blocks(scene.shape)]
    cells = int(np.isfinite(scene.target).all(axis=0).sum())
    sets = spatiotemporal.class_sets(samples, cells=cells, parameters=parameters)
    sums: list[Any] = [0.0] * len(sets)

    def add(tile: tiling.Tile, parts: list[FloatArray]) -> None:
        for number, part in enumerate(parts):
            sums[number] = sums[number] + part

    tiling.run(
        partial(_tile_totals, scene.fine, scene.lattice, sets), tiling.tiles(scene.shape, size=_TILE), consume=add
    )
    return spatiotemporal.prepare(
        samples, sets, sums, scene.coarse, scene.target, scene.lattice, date_weight=date_weight, parameters=parameters
    )


def _tile_totals(fine: _Fine, lattice: Lattice, sets: Sequence[Classes], tile: tiling.Tile) -> list[FloatArray]:
    block = _block(tile.core)
    values = fine.read(block)
    return [spatiotemporal.totals(values, block, lattice, classes) for classes in sets]


def _tile_prediction(fine: _Fine, plan: Plan, tile: tiling.Tile) -> Prediction:
    block = _block(tile.core)
    return spatiotemporal.predict(fine.read(block), block, plan)


@dataclasses.dataclass
class _Counted:
    """What is counted while writing."""

    sources: dict[str, int]
    bits: dict[str, int]
    sigma: list[FloatArray]
    clipped: int = 0


def _written(scene: _Scene, plan: Plan, out: Path) -> _Counted:
    counted = _Counted({source.name.lower(): 0 for source in qa.Source}, {bit.name or "": 0 for bit in qa.QaBit}, [])
    with _writers(scene, out) as (values, quality):

        def write(tile: tiling.Tile, part: Prediction) -> None:
            values.write(np.concatenate([part.values, part.sigma]), tile.core)
            quality.write(np.stack([part.qa, part.source, part.pair]), tile.core)
            _count(counted, part)

        tiling.run(partial(_tile_prediction, scene.fine, plan), tiling.tiles(scene.shape, size=_TILE), consume=write)
        counted.clipped = values.clipped
    return counted


@contextlib.contextmanager
def _writers(scene: _Scene, out: Path) -> Iterator[tuple[raster_file.RasterWriter, raster_file.RasterWriter]]:
    place = {"shape": scene.shape, "transform": scene.transform, "crs": scene.crs}
    names = (*scene.names, *(f"{name}_sigma" for name in scene.names))
    flags = Encoding("uint16", (1.0,) * 3, (0.0,) * 3, None)
    with (
        raster_file.RasterWriter(
            out, encoding=raster_file.fused_encoding(scene.encoding), descriptions=names, **place
        ) as values,
        raster_file.RasterWriter(
            qa_path(out), encoding=flags, descriptions=("qa", "source", "pair"), categorical=True, **place
        ) as quality,
    ):
        yield values, quality


def _count(counted: _Counted, part: Prediction) -> None:
    for source in qa.Source:
        counted.sources[source.name.lower()] += int((part.source == source).sum())
    for bit in qa.QaBit:
        counted.bits[bit.name or ""] += int((part.qa & bit > 0).sum())
    known = np.isfinite(part.sigma).all(axis=0)
    if known.any():
        counted.sigma.append(np.median(part.sigma[:, known], axis=1).astype(np.float64))


def _doubts(plan: Plan, scene: _Scene) -> list[str]:
    notes = []
    for pair, path in enumerate(scene.fine.paths):
        likeness = float(np.nanmean(plan.likeness[pair])) if np.isfinite(plan.likeness[pair]).any() else 1.0
        if likeness < _UNLIKE:
            notes.append(f"{path.name} hardly resembles the coarse image of its date: correlation {likeness:.2f}")
    if (scene.target == scene.coarse).all(axis=(1, 2, 3)).any():
        notes.append("the coarse target is the coarse image of a pair")
    return notes


def _report(
    scene: _Scene, plan: Plan, date_weight: float | None, counted: _Counted, warnings: Sequence[str]
) -> dict[str, Any]:
    pixels = max(sum(counted.sources.values()), 1)
    bands = [
        {
            "name": name,
            "weights": band.weights.round(4).tolist(),
            "gain": round(band.gain, 4),
            "mean_change": band.level,
            "spectral_effects": bool(np.any(band.effects)),
            "spatial_change": float(band.field.std()),
            "coarse_noise": band.noise,
            "unexplained_coarse_change": band.unexplained._asdict(),
            "sigma_factor": float(plan.calibration[number]),
            "likeness": _plain(plan.likeness[:, number]),
        }
        for number, (name, band) in enumerate(zip(scene.names, plan.model.bands, strict=True))
    ]
    trials = [
        {
            "from_pair": trial.start + 1,
            "predicted_pair": trial.predicted + 1,
            "rmse": {name: _plain(errors) for name, errors in trial.rmse.items()},
            "trust_in_spectral_change": _plain(trial.trust[:, 0]),
            "trust_in_spatial_change": _plain(trial.trust[:, 1]),
        }
        for trial in plan.trials
    ]
    return {
        "shape": list(scene.shape),
        "coarse_pixel": [scene.lattice.row_step, scene.lattice.column_step],
        "coarse_shape": list(scene.lattice.shape),
        "date_weight": date_weight,
        "bands": bands,
        "leave_one_out": trials,
        "source_share": {name: count / pixels for name, count in counted.sources.items() if count},
        "qa_share": {name.lower(): count / pixels for name, count in counted.bits.items() if count},
        "median_sigma": _plain(np.median(counted.sigma, axis=0)) if counted.sigma else None,
        "clipped_values": counted.clipped,
        "warnings": list(dict.fromkeys(warnings)),
    }


def _plain(values: FloatArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
