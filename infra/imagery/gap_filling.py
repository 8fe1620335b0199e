"""A folder of dated scenes to gap-free ones: one raster per optical date, with uncertainty, flags and provenance.

Large scenes are worked on in tiles of fixed size, so that the result does not depend on the number of workers: every
tile learns its own relations from what it and a rim around it hold.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from infra.imagery import dated_scene, raster_file, report, tiling
from processors.imagery import external_scene, gap_filling, grid, qa
from processors.quality import BadInputError

TILE = 512
RIM = 32
QA_BANDS = ("qa", "source", "days_to_nearest_observation")
_WHOLE = 640
_QA_NODATA = 65535
_STACK_NODATA = 65535

FloatImage: TypeAlias = npt.NDArray[np.float32]


class _Date(NamedTuple):
    """One optical date and how it is written."""

    stem: str
    moment: np.datetime64
    scenes: tuple[dated_scene.DatedScene, ...]
    """Views of the day, the leading one first; none where a stack holds the date."""
    bands: tuple[str, ...]
    descriptions: tuple[str, ...]
    encoding: raster_file.Encoding
    tags: dict[str, str]


class _Plan(NamedTuple):
    """What is read, and what comes of it."""

    dates: tuple[_Date, ...]
    bands: tuple[str, ...]
    """All bands of the series."""
    radar: tuple[_Date, ...]
    polarizations: tuple[str, ...]
    terrain: Path | None
    target: dated_scene.Frame
    stack: Path | None
    """NetCDF that holds the whole series, read at once."""
    unit: float
    """Size of the values relative to reflectance [1]."""
    warnings: tuple[str, ...]


class _Part(NamedTuple):
    """A tile's result."""

    values: FloatImage
    """Values (date, band, y, x)."""
    sigma: FloatImage
    flags: npt.NDArray[np.uint16]
    """Bits, source and days (date, layer, y, x)."""
    holdouts: tuple[gap_filling.HoldOut, ...]


def run(
    series: Path | str, out: Path | str, *, parameters: gap_filling.GapFillingParameters | None = None
) -> dict[str, Any]:
    """Fill the gaps of a series.

    Parameters
    ----------
    series : Path or str
        Folder with one NetCDF scene stack, or with GeoTIFFs of one date each whose bands are named; beside them
        `<stem>_mask.tif` (classes of the cloud mask), `dem.tif` and radar dates (bands vv, vh).
    out : Path or str
        Folder for one raster per optical date under its stem (bands as the input stores them, then `<band>_sigma`),
        `<stem>_qa.tif` (uint16: bits, source code, days to the nearest observation) and `report.json`.
    parameters : GapFillingParameters, optional
        Choices of the method.

    Returns
    -------
    dict
        The report: scores of the hold-out, method and counts by date, warnings.

    Raises
    ------
    BadInputError
        `no_scene`, `time_missing`, `band_missing`, `grid_mismatch`, `area_mismatch`, `too_few_dates`, `mixed_input`,
        `unit_missing`, `all_nodata`, and what a raster or stack is refused for.
    """
    source, folder = Path(series), Path(out)
    if folder.resolve() == source.resolve():
        raise BadInputError("mixed_input", "the results would overwrite the series: choose another folder")
    plan = _planned(source)
    chosen = parameters or gap_filling.GapFillingParameters()
    tiles = _tiles(plan)
    function = functools.partial(_fill_tile, plan, chosen)
    counts = [dict.fromkeys(("pixels", "filled", "insufficient", "missing"), 0) for _ in plan.dates]
    methods: list[dict[str, int]] = [{} for _ in plan.dates]
    holdouts: list[gap_filling.HoldOut] = []
    with contextlib.ExitStack() as opened:
        writers = [_writers(opened, folder, date, plan) for date in plan.dates]

        def consume(tile: tiling.Tile, part: _Part) -> None:
            holdouts.extend(part.holdouts)
            for index, (images, flags) in enumerate(writers):
                order = [plan.bands.index(name) for name in plan.dates[index].bands]
                images.write(np.concatenate([part.values[index][order], part.sigma[index][order]]), tile.core)
                flags.write(part.flags[index].astype(np.float32), tile.core)
                _count(counts[index], methods[index], part.flags[index])

        tiling.run(function, tiles, consume=consume)
        if not sum(count["pixels"] - count["missing"] for count in counts):
            raise BadInputError("all_nodata", f"{source}: no date of the series shows anything")
        clipped = sum(images.clipped for images, _ in writers)
    made = _report(plan, counts, methods, holdouts, clipped) | {"parameters": dataclasses.asdict(chosen)}
    (folder / "report.json").write_text(json.dumps(report.plain(made), indent=1, ensure_ascii=False) + "\n")
    return made


def _tiles(plan: _Plan) -> list[tiling.Tile]:
    rows, columns = plan.target.shape
    if plan.stack is not None or max(rows, columns) <= _WHOLE:
        return tiling.tiles(plan.target.shape, size=max(rows, columns))
    return tiling.tiles(plan.target.shape, size=TILE, halo=RIM)


def _planned(source: Path) -> _Plan:
    found = dated_scene.folder(source)
    if found.stacks and (found.scenes or len(found.stacks) > 1):
        names = ", ".join(path.name for path in (*found.stacks, *found.scenes)[:4])
        raise BadInputError("mixed_input", f"{source} holds more than one series: {names}")
    plan = _plan_of_stack(found.stacks[0]) if found.stacks else _plan_of_scenes(found)
    if len(plan.dates) < 2 and not plan.radar and plan.stack is None:
        raise BadInputError("too_few_dates", f"{source} holds one optical date and no radar: there is nothing to learn")
    return plan._replace(warnings=(*found.warnings, *plan.warnings))


def _opened_stack(path: Path) -> xr.Dataset:
    try:
        with xr.open_dataset(path, mask_and_scale=False, engine="netcdf4") as dataset:
            return external_scene.scene_from_dataset(dataset, source=path.stem).load()
    except OSError as error:
        raise BadInputError("unreadable", f"{path} is no readable NetCDF: {error}") from error


def _plan_of_stack(path: Path) -> _Plan:
    stack = _opened_stack(path)
    geobox = grid.geobox_of(stack)
    bands = tuple(str(name) for name in stack["band"].values)
    signed = bool((stack["reflectance"].min() < 0).item())
    scale, count = external_scene.PACKED_SCALE, len(bands)
    encoding = raster_file.Encoding(
        "int16" if signed else "uint16",
        (scale,) * count,
        (0.0,) * count,
        external_scene.PACKED_NODATA if signed else _STACK_NODATA,
    )
    moments = stack["time"].values.astype("datetime64[s]")
    stems = _stems(path.stem, moments)
    dates = tuple(
        _Date(stem, moment, (), bands, bands, encoding, _tags(moment))
        for stem, moment in zip(stems, moments, strict=True)
    )
    target = dated_scene.Frame(
        (geobox.shape[0], geobox.shape[1]), geobox.transform, grid.system(geobox).to_wkt(), geobox
    )
    return _Plan(dates, bands, (), (), None, target, path, 1.0, ())


def _stems(name: str, moments: npt.NDArray[np.datetime64]) -> list[str]:
    days = [str(moment)[:10].replace("-", "") for moment in moments]
    unique = len(set(days)) == len(days)
    clock = [str(moment)[10:].replace(":", "") for moment in moments]
    return [f"{name}_{day}" if unique else f"{name}_{day}{time}" for day, time in zip(days, clock, strict=True)]


def _tags(moment: np.datetime64) -> dict[str, str]:
    return {"ACQUISITIONDATETIME": f"{np.datetime_as_string(moment, unit='s')}Z"}


def _plan_of_scenes(found: dated_scene.Folder) -> _Plan:
    scenes = dated_scene.recognize_all(found.scenes)
    for scene in scenes:
        if scene.moment is None:
            raise BadInputError("time_missing", f"{scene.path.name} states its date neither in a tag nor in its name")
        if not scene.named:
            raise BadInputError("band_missing", f"{scene.path.name} does not name its bands")
    optical = [scene for scene in scenes if scene.kind == dated_scene.OPTICAL]
    if not optical:
        raise BadInputError("band_missing", "the folder holds radar only: there is no optical date to fill")
    target = dated_scene.frame(optical, finest=True)
    warnings = [f"{note}" for scene in scenes for note in scene.warnings]
    _check_frames(scenes, target)
    bands = _union([scene.bands for scene in sorted(optical, key=lambda scene: -len(scene.bands))])
    warnings += [
        f"{scene.path.name} lacks {', '.join(name for name in bands if name not in scene.bands)}, which is predicted"
        for scene in optical
        if set(scene.bands) != set(bands)
    ]
    if len({scene.known for scene in optical}) > 1:
        raise BadInputError("band_missing", "some scenes hold reflectance bands and others none we know")
    dates = _days(optical, bands, warnings)
    radar = _days([scene for scene in scenes if scene.kind == dated_scene.RADAR], (), warnings)
    unit = 1.0 if optical[0].known else dated_scene.typical_size(optical)
    polarizations = _union([date.bands for date in radar])
    return _Plan(dates, bands, radar, polarizations, found.terrain, target, None, unit, tuple(warnings))


def _check_frames(scenes: Sequence[dated_scene.DatedScene], target: dated_scene.Frame) -> None:
    dated_scene.frame(scenes, finest=True)
    for scene in scenes:
        if not dated_scene.overlaps(scene, target):
            raise BadInputError("area_mismatch", f"{scene.path.name} does not lie where the other scenes do")


def _union(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in names for name in one))


def _days(scenes: Sequence[dated_scene.DatedScene], bands: tuple[str, ...], warnings: list[str]) -> tuple[_Date, ...]:
    days, notes = dated_scene.by_day(scenes)
    warnings += notes
    return tuple(_date(views, bands) for views in days)


def _date(views: tuple[dated_scene.DatedScene, ...], bands: tuple[str, ...]) -> _Date:
    leader = views[0]
    with raster_file.open_raster(leader.path) as raster:
        own, tags = dict(zip(leader.bands, raster.descriptions, strict=True)), dict(raster.tags)
    names = (*leader.bands, *(name for name in bands if name not in leader.bands))
    place = {name: index for index, name in enumerate(leader.bands)}
    encoding = leader.encoding._replace(
        scales=tuple(leader.encoding.scales[place.get(name, 0)] for name in names),
        offsets=tuple(leader.encoding.offsets[place.get(name, 0)] for name in names),
    )
    kept = {key: value for key, value in tags.items() if not key.startswith(("AREA_OR_POINT", "OVR_", "TIFFTAG_X"))}
    moment = dated_scene.time_of(leader)
    return _Date(
        leader.path.stem, moment, views, names, tuple(own.get(name, name) for name in names), encoding,
        {**kept, **_tags(moment)},
    )  # fmt: skip


def _writers(
    opened: contextlib.ExitStack, folder: Path, date: _Date, plan: _Plan
) -> tuple[raster_file.RasterWriter, raster_file.RasterWriter]:
    place: dict[str, Any] = {
        "shape": plan.target.shape,
        "transform": plan.target.transform,
        "crs": plan.target.crs,
        "tags": date.tags,
    }
    names = (*date.descriptions, *(f"{name}_sigma" for name in date.descriptions))
    images = raster_file.RasterWriter(
        folder / f"{date.stem}.tif",
        encoding=raster_file.fused_encoding(date.encoding),
        descriptions=names,
        **place,
    )
    count = len(QA_BANDS)
    flags = raster_file.RasterWriter(
        folder / f"{date.stem}_qa.tif",
        encoding=raster_file.Encoding("uint16", (1.0,) * count, (0.0,) * count, _QA_NODATA),
        descriptions=QA_BANDS,
        categorical=True,
        **place,
    )
    return opened.enter_context(images), opened.enter_context(flags)


def _fill_tile(plan: _Plan, parameters: gap_filling.GapFillingParameters, tile: tiling.Tile) -> _Part:
    stack = _opened_stack(plan.stack) if plan.stack is not None else _stack(plan, tile)
    axes = ("time", "y", "x")
    clear = xr.DataArray(np.zeros([stack.sizes[name] for name in axes], dtype=np.uint8), dims=axes)
    filled = gap_filling.fill(stack, clear, parameters=parameters)
    # Radar dates without an optical view lend their backscatter to the filling only.
    wanted = np.isin(stack["time"].values.astype("datetime64[s]"), [date.moment for date in plan.dates])
    rows, columns = tile.inner
    result = filled.stack
    offset = np.where(np.isfinite(filled.offset), np.minimum(np.abs(filled.offset), _QA_NODATA - 1), _QA_NODATA)
    flags = np.stack([result["qa"].values, result["source"].values, np.rint(offset)], axis=1)[wanted]
    positions = np.cumsum(wanted) - 1
    scale = np.float32(plan.unit)
    return _Part(
        result["reflectance"].values[wanted][..., rows, columns] * scale,
        result["reflectance_sigma"].values[wanted][..., rows, columns] * scale,
        flags[..., rows, columns].astype(np.uint16),
        tuple(one._replace(date=int(positions[one.date])) for one in filled.holdouts if wanted[one.date]),
    )


def _stack(plan: _Plan, tile: tiling.Tile) -> xr.Dataset:
    """Scene stack of a tile's padded window: optical dates, and radar at the optical date nearest to it."""
    shape = int(tile.padded.height), int(tile.padded.width)
    values = np.full((len(plan.dates), len(plan.bands), *shape), np.nan, dtype=np.float32)
    for target, date in zip(values, plan.dates, strict=True):
        for scene in date.scenes:
            order = [plan.bands.index(name) for name in scene.bands]
            seen = dated_scene.read(scene, plan.target, tile) / np.float32(plan.unit)
            target[order] = np.where(np.isfinite(target[order]), target[order], seen)
    footprint = np.broadcast_to(_inside(plan, tile), (len(plan.dates), *shape))
    stack = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values),
            "footprint": (("time", "y", "x"), footprint),
        },
        coords={"time": [date.moment.astype("datetime64[ns]") for date in plan.dates], "band": list(plan.bands)},
    )
    if plan.radar:
        axes = ("time", "polarization", "y", "x")
        stack["backscatter"] = (axes, _backscatter(plan, tile, shape))
        stack = stack.assign_coords(polarization=list(plan.polarizations))
    if plan.terrain is not None:
        height = dated_scene.terrain(plan.terrain, plan.target, tile)
        if np.isfinite(height).all():
            stack["elevation"] = (("y", "x"), height)
            steps = np.gradient(height) if min(shape) > 1 else [np.zeros(shape)] * 2
            stack["slope"] = (("y", "x"), np.degrees(np.arctan(np.hypot(*steps) / _spacing(plan))).astype(np.float32))
    return grid.assign(stack, _box(plan, tile))


def _inside(plan: _Plan, tile: tiling.Tile) -> npt.NDArray[np.bool_]:
    """Where the padded window lies in the raster."""
    rows = np.arange(int(tile.padded.height)) + int(tile.padded.row_off)
    columns = np.arange(int(tile.padded.width)) + int(tile.padded.col_off)
    height, width = plan.target.shape
    return np.asarray(((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width)))


def _spacing(plan: _Plan) -> float:
    box = plan.target.geobox
    return grid.pixel_size(box) if box is not None else abs(float(plan.target.transform.a))


def _box(plan: _Plan, tile: tiling.Tile) -> GeoBox:
    """Grid of the padded window; a raster without reference system is put anywhere, nothing depends on it."""
    shape = int(tile.padded.height), int(tile.padded.width)
    shift = plan.target.transform.translation(tile.padded.col_off, tile.padded.row_off)
    crs = plan.target.geobox.crs if plan.target.geobox is not None else "EPSG:32648"
    return GeoBox(shape, plan.target.transform @ shift, crs)


def _backscatter(plan: _Plan, tile: tiling.Tile, shape: tuple[int, int]) -> FloatImage:
    """Backscatter of every optical date: the mean over the radar dates nearer to it than to any other, in decibels."""
    moments = np.array([date.moment for date in plan.dates]).astype("datetime64[s]").astype(np.int64)
    total = np.zeros((len(plan.dates), len(plan.polarizations), *shape))
    weight = np.zeros(total.shape)
    for date in plan.radar:
        index = int(np.abs(moments - date.moment.astype("datetime64[s]").astype(np.int64)).argmin())
        for scene in date.scenes:
            order = [plan.polarizations.index(name) for name in scene.bands]
            power = 10.0 ** (dated_scene.read(scene, plan.target, tile).astype(np.float64) / 10.0)
            seen = np.isfinite(power)
            total[index, order] += np.where(seen, power, 0.0)
            weight[index, order] += seen
    mean = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
    return np.asarray(10.0 * np.log10(mean), dtype=np.float32)


def _count(counts: dict[str, int], methods: dict[str, int], flags: npt.NDArray[np.uint16]) -> None:
    bits, source, _ = flags
    counts["pixels"] += bits.size
    for key, bit in (
        ("filled", qa.QaBit.FILLED),
        ("insufficient", qa.QaBit.INSUFFICIENT),
        ("missing", qa.QaBit.NODATA),
    ):
        counts[key] += int(((bits & np.uint16(bit)) > 0).sum())
    codes, numbers = np.unique(source, return_counts=True)
    for code, number in zip(codes, numbers, strict=True):
        name = qa.Source(int(code)).name.lower()
        methods[name] = methods.get(name, 0) + int(number)


def _report(
    plan: _Plan,
    counts: list[dict[str, int]],
    methods: list[dict[str, int]],
    holdouts: list[gap_filling.HoldOut],
    clipped: int,
) -> dict[str, Any]:
    warnings = list(plan.warnings)
    if clipped:
        warnings.append(f"{clipped} values lay outside the range of the data type and were clipped")
    scarce = [date.stem for date, count in zip(plan.dates, counts, strict=True) if count["insufficient"]]
    if scarce:
        warnings.append(f"hardly anything was seen of {', '.join(scarce)}: interpolated in time and flagged")
    return {
        "status": "flagged" if scarce or any(count["missing"] for count in counts) else "ok",
        "bands": list(plan.bands),
        "radar_dates": len(plan.radar),
        "dates": [
            {
                "stem": date.stem,
                "date": str(date.moment)[:10],
                **count,
                "method": method,
                "holdout": [_scaled(one, plan.unit) for one in holdouts if one.date == index],
            }
            for index, (date, count, method) in enumerate(zip(plan.dates, counts, methods, strict=True))
        ],
        "warnings": warnings,
    }


def _scaled(holdout: gap_filling.HoldOut, unit: float) -> dict[str, Any]:
    """Scores of one group in the unit of the series."""
    rows = holdout._asdict()
    rows.pop("date")
    for name in ("interpolation_rmse", "regression_rmse"):
        rows[name] *= unit
    return rows
