"""Many scenes to one image: read by window, on the finest scene's grid, with uncertainty, flags and provenance."""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from infra.imagery import dated_scene, raster_file, report, tiling
from processors.imagery import compositing, qa
from processors.quality import BadInputError

QA_BANDS = ("n_obs", "look", "day_since_1970", "qa", "method")
_QA_NODATA = 65535
_TILE_NUMBERS = 8_000_000
_SMALLEST_TILE = 128

FloatImage: TypeAlias = npt.NDArray[np.float32]


class _Plan(NamedTuple):
    looks: tuple[tuple[dated_scene.DatedScene, ...], ...]
    """Scenes of every look, the leading one first."""
    leader: dated_scene.DatedScene
    bands: tuple[str, ...]
    target: dated_scene.Frame
    days: npt.NDArray[np.float64]
    """Days since 1970, NaN where a scene is not dated (look)."""
    method: str
    target_day: float | None
    unit: float
    warnings: tuple[str, ...]


class _Part(NamedTuple):
    images: FloatImage
    flags: FloatImage
    deviations: FloatImage


def run(
    scenes: Sequence[Path | str],
    out: Path | str,
    *,
    method: str = "auto",
    target_date: str | None = None,
    parameters: compositing.CompositingParameters | None = None,
) -> dict[str, Any]:
    """Make one image from many scenes.

    Parameters
    ----------
    scenes : sequence of Path or str
        Rasters with the same bands, on any grid; `<stem>_mask.tif` beside one masks it.
    out : Path or str
        The composite: the bands both share as the finest scene stores them, then `<band>_sigma`. Beside it
        `<stem>_qa.tif` (uint16: looks, index of the look taken or nearest, its day since 1970, quality bits, method)
        and `<stem>_mad.tif` (median Euclidean, spectral and Bray-Curtis deviation).
    method : str
        `auto`, `geomedian`, `medoid` or `best`.
    target_date : str, optional
        Date the best pixel should be near to, `YYYY-MM-DD`; default the middle of the scenes.
    parameters : CompositingParameters, optional
        Choices of the method.

    Returns
    -------
    dict
        The report: looks, counts by method and number of observations, warnings.

    Raises
    ------
    BadInputError
        `no_scene`, `method_unknown`, `band_missing`, `grid_mismatch`, `mixed_input`, `time_missing`, `all_nodata`, and
        what a raster is refused for.
    """
    if method not in compositing.METHODS:
        raise BadInputError("method_unknown", f"method {method!r} is none of {', '.join(compositing.METHODS)}")
    path, chosen = Path(out), parameters or compositing.CompositingParameters()
    plan = _planned([Path(scene) for scene in scenes], path, method, target_date)
    size = _tile_size(plan)
    observations = np.zeros(len(plan.looks) + 1, dtype=np.int64)
    methods = np.zeros(len(compositing.Method), dtype=np.int64)
    chosen_looks = np.zeros(len(plan.looks), dtype=np.int64)
    function = functools.partial(_tile, plan, chosen)
    with contextlib.ExitStack() as opened:
        images, flags, deviations = _writers(opened, path, plan)

        def consume(tile: tiling.Tile, part: _Part) -> None:
            images.write(part.images, tile.core)
            flags.write(part.flags, tile.core)
            deviations.write(part.deviations, tile.core)
            observations[:] += np.bincount(part.flags[0].astype(np.int64).ravel(), minlength=observations.size)
            methods[:] += np.bincount(part.flags[4].astype(np.int64).ravel(), minlength=methods.size)
            looks = part.flags[1][part.flags[0] > 0].astype(np.int64)
            chosen_looks[:] += np.bincount(looks, minlength=chosen_looks.size)

        halo = chosen.cloud_reach if method in ("auto", "best") else 0
        tiling.run(function, tiling.tiles(plan.target.shape, size=size, halo=halo), consume=consume)
        if observations[0] == observations.sum():
            raise BadInputError("all_nodata", "no scene shows any pixel of the grid")
        clipped = images.clipped
    return report.plain(_report(plan, chosen, observations, methods, chosen_looks, clipped))  # type: ignore[no-any-return]


def _planned(paths: list[Path], out: Path, method: str, target_date: str | None) -> _Plan:
    if not paths:
        raise BadInputError("no_scene", "there is no scene to composite")
    if out.resolve() in {path.resolve() for path in paths}:
        raise BadInputError("mixed_input", f"{out} is one of the scenes: choose another name")
    repeated = len(paths) - len({path.resolve() for path in paths})
    warnings = [f"{repeated} scenes were named more than once and count once"] if repeated else []
    scenes = dated_scene.recognize_all(list(dict.fromkeys(path.resolve() for path in paths)))
    warnings += [note for scene in scenes for note in scene.warnings]
    if len({(scene.kind, scene.known) for scene in scenes}) > 1:
        raise BadInputError(
            "mixed_input", "the scenes are not of one kind: optical, radar and unknown bands do not mix"
        )
    # Looks of one unit are compared, whichever it is; what is written is what was read.
    scenes = [scene._replace(power=False) for scene in scenes]
    target = dated_scene.frame(scenes, finest=True)
    leader = next(scene for scene in scenes if _frame_of(scene) == target)
    scenes, notes = _overlapping(scenes, target)
    bands, more = _shared_bands(scenes, leader)
    looks, days, others = _looks(scenes)
    return _Plan(
        looks, leader, bands, target, days, method, _target_day(target_date),
        1.0 if leader.known else dated_scene.typical_size(scenes),
        (*warnings, *notes, *more, *others),
    )  # fmt: skip


def _frame_of(scene: dated_scene.DatedScene) -> dated_scene.Frame:
    return dated_scene.frame([scene], finest=True)


def _overlapping(
    scenes: list[dated_scene.DatedScene], target: dated_scene.Frame
) -> tuple[list[dated_scene.DatedScene], list[str]]:
    inside = [scene for scene in scenes if dated_scene.overlaps(scene, target)]
    notes = [f"{scene.path.name} lies outside the area and was left aside" for scene in scenes if scene not in inside]
    return inside, notes


def _shared_bands(
    scenes: list[dated_scene.DatedScene], leader: dated_scene.DatedScene
) -> tuple[tuple[str, ...], list[str]]:
    shared = tuple(name for name in leader.bands if all(name in scene.bands for scene in scenes))
    if not shared:
        raise BadInputError("band_missing", "the scenes have no band in common")
    if not all(scene.named for scene in scenes):
        if len({len(scene.bands) for scene in scenes}) > 1 or any(scene.named for scene in scenes):
            raise BadInputError(
                "band_missing", "scenes that do not name their bands must all have the same number of them"
            )
        return shared, ["the scenes do not name their bands: they are matched by their order, haze is not judged"]
    lost = sorted({name for scene in scenes for name in scene.bands} - set(shared))
    return shared, [f"not every scene has {', '.join(lost)}: left out"] if lost else []


def _looks(
    scenes: list[dated_scene.DatedScene],
) -> tuple[tuple[tuple[dated_scene.DatedScene, ...], ...], npt.NDArray[np.float64], list[str]]:
    """Scenes by day; scenes without a date count as looks of their own."""
    undated = [scene for scene in scenes if scene.moment is None]
    days, warnings = dated_scene.by_day([scene for scene in scenes if scene.moment is not None])
    looks = (*days, *((scene,) for scene in undated))
    if undated:
        names = ", ".join(scene.path.name for scene in undated)
        warnings.append(f"{names}: no date in tag or name; the day is not told and not judged")
    numbers = [
        np.nan if scene.moment is None else float(scene.moment.astype("datetime64[D]").astype(np.int64))
        for scene, *_ in looks
    ]
    return looks, np.array(numbers), warnings


def _target_day(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(np.datetime64(text, "D").astype(np.int64))
    except ValueError as error:
        raise BadInputError("time_missing", f"{text!r} is no date: write YYYY-MM-DD") from error


def _tile_size(plan: _Plan) -> int:
    """Edge of a tile whose looks are few enough numbers, a multiple of 64 pixels."""
    edge = int((_TILE_NUMBERS / (len(plan.looks) * len(plan.bands))) ** 0.5) // 64 * 64
    return int(np.clip(edge, _SMALLEST_TILE, tiling.SIZE))


def _tile(plan: _Plan, parameters: compositing.CompositingParameters, tile: tiling.Tile) -> _Part:
    shape = len(plan.looks), len(plan.bands), int(tile.padded.height), int(tile.padded.width)
    looks = np.full(shape, np.nan, dtype=np.float32)
    for target, views in zip(looks, plan.looks, strict=True):
        for view in views:
            order = [view.bands.index(name) for name in plan.bands]
            seen = dated_scene.read(view, plan.target, tile)[order]
            # A view completes another pixel by pixel: bands of two views are never mixed.
            empty = ~np.isfinite(target).all(axis=0)
            target[:, empty] = seen[:, empty] / np.float32(plan.unit)
    made = compositing.composite(
        looks,
        days=np.nan_to_num(plan.days, nan=float(np.nanmean(plan.days)) if np.isfinite(plan.days).any() else 0.0),
        bands=plan.bands if plan.leader.known else (),
        method=plan.method,
        target_day=plan.target_day,
        sun_elevation=np.array([views[0].sun_elevation for views in plan.looks]),
        parameters=parameters,
    )
    rows, columns = tile.inner
    none = made.source < 0
    day = np.where(none, np.nan, plan.days[np.maximum(made.source, 0)])
    source = np.where(none, np.nan, made.source)
    flags = np.stack([made.observations, source, day, made.qa, made.method]).astype(np.float32)
    scale = np.float32(plan.unit)
    return _Part(
        np.concatenate([made.values, made.sigma])[:, rows, columns] * scale,
        flags[:, rows, columns],
        made.deviations[:, rows, columns] * np.array([scale, 1.0, 1.0], dtype=np.float32)[:, None, None],
    )


def _writers(
    opened: contextlib.ExitStack, path: Path, plan: _Plan
) -> tuple[raster_file.RasterWriter, raster_file.RasterWriter, raster_file.RasterWriter]:
    with raster_file.open_raster(plan.leader.path) as raster:
        told = dict(zip(plan.leader.bands, raster.descriptions, strict=True))
    place: dict[str, Any] = {"shape": plan.target.shape, "transform": plan.target.transform, "crs": plan.target.crs}
    own, index = plan.leader.encoding, [plan.leader.bands.index(name) for name in plan.bands]
    encoding = own._replace(
        scales=tuple(own.scales[band] for band in index), offsets=tuple(own.offsets[band] for band in index)
    )
    names = [told[name] for name in plan.bands]
    images = raster_file.RasterWriter(
        path,
        encoding=raster_file.fused_encoding(encoding),
        descriptions=(*names, *(f"{name}_sigma" for name in names)),
        tags={"COMPOSITE_LOOKS": str(len(plan.looks)), "COMPOSITE_METHOD": plan.method},
        **place,
    )
    flags = raster_file.RasterWriter(
        path.with_name(f"{path.stem}_qa.tif"),
        encoding=_plain("uint16", len(QA_BANDS), _QA_NODATA),
        descriptions=QA_BANDS,
        categorical=True,
        **place,
    )
    deviations = raster_file.RasterWriter(
        path.with_name(f"{path.stem}_mad.tif"),
        encoding=_plain("float32", len(compositing.DEVIATIONS), float("nan")),
        descriptions=compositing.DEVIATIONS,
        **place,
    )
    return opened.enter_context(images), opened.enter_context(flags), opened.enter_context(deviations)


def _plain(dtype: str, count: int, nodata: float) -> raster_file.Encoding:
    return raster_file.Encoding(dtype, (1.0,) * count, (0.0,) * count, nodata)


def _report(
    plan: _Plan,
    parameters: compositing.CompositingParameters,
    observations: npt.NDArray[np.int64],
    methods: npt.NDArray[np.int64],
    chosen_looks: npt.NDArray[np.int64],
    clipped: int,
) -> dict[str, Any]:
    total, scarce = int(observations.sum()), int(observations[: parameters.sufficient_looks].sum())
    warnings = list(plan.warnings)
    if clipped:
        warnings.append(f"{clipped} values lay outside the range of the data type and were clipped")
    if scarce:
        part = f"{scarce / total:.1%} of the pixels have fewer than {parameters.sufficient_looks} clear looks"
        warnings.append(f"{part}: flagged as insufficient ({qa.QaBit.INSUFFICIENT.value} in the quality bits)")
    return {
        "status": "flagged" if scarce else "ok",
        "bands": list(plan.bands),
        "method": plan.method,
        "pixels": total,
        "pixels_by_observations": observations,
        "pixels_by_method": {code.name.lower(): int(methods[code]) for code in compositing.Method},
        "looks": [
            {
                "files": [view.path.name for view in views],
                "date": str(views[0].moment)[:10] if views[0].moment is not None else None,
                "pixels_taken": int(count),
            }
            for views, count in zip(plan.looks, chosen_looks, strict=True)
        ],
        "parameters": dataclasses.asdict(parameters),
        "warnings": warnings,
    }
