"""Flood of a scene from files: radar after and before, reflectance, terrain and usual water, tile by tile."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infra.imagery import raster_file, tiling
from infra.surface import terrain_source, water_scene
from processors.quality import BadInputError
from retrieval.surface import flood, radar_water

Float32Array = npt.NDArray[np.float32]
_CLASSES = {"dry": 0, "permanent_water": 1, "flood": 2, "probable_flood": 3, "excluded": 4, "no_data": 255}


class _Job(NamedTuple):
    """What a tile needs."""

    sources: water_scene.Sources
    before: tuple[water_scene.Radar, ...]
    model: flood.FloodModel
    parameters: flood.FloodParameters
    same_month: bool


def run(
    after: Path | str | None,
    out: Path | str,
    *,
    before: Sequence[Path | str] = (),
    sar_bands: Mapping[str, int] | None = None,
    sar_unit: str | None = None,
    optical: Path | str | None = None,
    optical_bands: Mapping[str, int] | None = None,
    optical_mask: Path | str | None = None,
    terrain: Path | str | None = None,
    dem: Path | str | None = None,
    look: terrain_source.Look | None = None,
    reference_water: Path | str | None = None,
    reference_same_month: bool = True,
    window: water_scene.Bounds | None = None,
    parameters: flood.FloodParameters | None = None,
) -> dict[str, Any]:
    """Map flood.

    Parameters
    ----------
    after : Path, str or None
        Backscatter of the date mapped; None where reflectance alone is given.
    out : Path or str
        Raster to write: band 1 class (0 dry, 1 permanent water, 2 flood, 3 probable flood, 4 excluded, 255 no data),
        band 2 probability of flood, band 3 probability of water.
    before : sequence of Path or str
        Backscatter of earlier dates of the same orbit; several give their median.
    sar_bands : Mapping, optional
        Band from 1 by polarization, of all dates.
    sar_unit : str, optional
        ``db`` or ``linear``, of all dates.
    optical : Path or str, optional
        Reflectance; more than 24 hours from `after` it is left out.
    optical_bands : Mapping, optional
        Band from 1 by name.
    optical_mask : Path or str, optional
        Mask of `imagery cloud-mask`.
    terrain : Path or str, optional
        Static layers of `surface terrain`.
    dem : Path or str, optional
        Heights the layers are made of where there are none.
    look : Look, optional
        How the radar looks, for layover and shadow; with `dem`.
    reference_water : Path or str, optional
        Usual probability of water.
    reference_same_month : bool
        Whether it is that of the month; of another it is believed less.
    window : tuple of float, optional
        Left, bottom, right, top in the raster's system; default everything.
    parameters : FloodParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, shares and areas, looks, thresholds, what was left out and why, warnings.

    Raises
    ------
    BadInputError
        `no_scene`, `no_data`, `band_missing`, `unit_missing`, `outside_area`; what the files lack.
    """
    chosen = parameters or flood.FloodParameters()
    warnings: list[str] = []
    paths = [None if path is None else Path(path) for path in (after, optical, optical_mask, terrain, dem)]
    radar_path, optical_path, mask_path, terrain_path, dem_path = paths
    optical_path = water_scene.timely(optical_path, radar_path, warnings=warnings)
    if before and radar_path is None:
        raise BadInputError("no_scene", "an earlier radar raster needs one of the date mapped")
    with (
        water_scene.leading_raster(radar_path, optical_path) as leading,
        terrain_source.made(terrain_path, dem_path, look=look, like=leading, warnings=warnings) as layers,
    ):
        radar, seen = None, None
        if radar_path is not None:
            radar = water_scene.radar_of(radar_path, bands=sar_bands, unit=sar_unit, warnings=warnings)
        if optical_path is not None:
            seen = water_scene.optical_of(optical_path, bands=optical_bands, mask=mask_path, warnings=warnings)
        earlier = _earlier(radar, before, sar_bands, sar_unit, warnings)
        reference = None if reference_water is None else Path(reference_water)
        sources = water_scene.placed(
            leading, radar=radar, optical=seen, terrain=layers, reference=reference, bounds=window
        )
        job = _learned(sources, earlier, chosen, reference_same_month)
        counts = _write(Path(out), leading, job)
        pixel = _pixel_area(leading)
    return _report(job, counts, warnings, pixel)


def _earlier(
    radar: water_scene.Radar | None,
    before: Sequence[Path | str],
    bands: Mapping[str, int] | None,
    unit: str | None,
    warnings: list[str],
) -> tuple[water_scene.Radar, ...]:
    found = []
    for path in before:
        one = water_scene.radar_of(Path(path), bands=bands, unit=unit, warnings=warnings)
        if radar is not None and set(one.bands) != set(radar.bands):
            raise BadInputError(
                "band_missing",
                f"{one.path.name} has {', '.join(one.bands)}, the date mapped {', '.join(radar.bands)}: state the same",
            )
        found.append(one)
    return tuple(found)


def _learned(
    sources: water_scene.Sources,
    before: tuple[water_scene.Radar, ...],
    parameters: flood.FloodParameters,
    same_month: bool,
) -> _Job:
    even, chosen = water_scene.sample_windows(sources)
    windows = [*even, *chosen]
    parts = list(water_scene.blocks(sources, windows, radar=sources.radar))
    radar = sources.radar
    if radar is not None:
        radar = radar._replace(looks=water_scene.counted_looks(parts, parameters=parameters.water))
    features = [water_scene.evidence(part, radar=radar, parameters=parameters.water) for part in parts]
    count = len(even)
    if not any(np.isfinite(part.values).all(axis=1).any() for part in features[:count]):
        raise BadInputError("no_data", f"{sources.leading.name} holds no usable pixel where the map is wanted")
    old: list[radar_water.Evidence] = []
    if before:
        earlier = [
            water_scene.Block(water_scene.earlier(sources, window, before), None, part.place)
            for window, part in zip(windows, parts, strict=True)
        ]
        looks = water_scene.counted_looks(earlier, parameters=parameters.water)
        before = tuple(one._replace(looks=looks) for one in before)
        old = [water_scene.evidence(part, radar=before[0], parameters=parameters.water) for part in earlier]
    model = flood.learn(
        features[:count],
        old[:count],
        parameters=parameters,
        surroundings=[part.place for part in parts[:count]],
        mixed=features[count:],
        mixed_before=old[count:],
        same_month=same_month,
    )
    return _Job(sources._replace(radar=radar), before, model, parameters, same_month)


def _write(out: Path, leading: raster_file.RasterFile, job: _Job) -> dict[str, int]:
    counts = dict.fromkeys(_CLASSES, 0)
    writer = raster_file.RasterWriter(
        out,
        shape=job.sources.shape,
        transform=water_scene.transform_of(job.sources, leading.transform),
        crs=leading.crs,
        encoding=water_scene.ENCODING._replace(scales=(1.0,) * 3, offsets=(0.0,) * 3),
        descriptions=("flood", "probability_of_flood", "probability_of_water"),
        tags={"flag_values": " ".join(map(str, _CLASSES.values())), "flag_meanings": " ".join(_CLASSES)},
        categorical=True,
    )
    with writer:

        def take(tile: tiling.Tile, layers: Float32Array) -> None:
            writer.write(layers, tile.core)
            for name, value in _CLASSES.items():
                counts[name] += int(np.count_nonzero(layers[0] == value))

        parts = tiling.tiles(job.sources.shape, halo=job.parameters.water.halo)
        tiling.run(functools.partial(_tile, job), parts, consume=take)
    return counts


def _tile(job: _Job, tile: tiling.Tile) -> Float32Array:
    sources, water = job.sources, job.parameters.water
    block = water_scene.read(sources, tile.padded, radar=sources.radar)
    seen = water_scene.evidence(block, radar=sources.radar, parameters=water)
    old = None
    if job.before:
        earlier = water_scene.Block(water_scene.earlier(sources, tile.padded, job.before), None, block.place)
        old = water_scene.evidence(earlier, radar=job.before[0], parameters=water)
    found = flood.map_flood(
        seen, old, model=job.model, place=block.place, parameters=job.parameters, same_month=job.same_month
    )
    layers = np.stack([found.classes[tile.inner].astype(np.float32), found.flood[tile.inner], found.water[tile.inner]])
    return np.where(np.isfinite(layers), layers, np.float32(255.0))


def _pixel_area(leading: raster_file.RasterFile) -> float | None:
    if leading.crs is None or leading.crs.is_geographic:
        return None
    unit = float(leading.crs.linear_units_factor[1])
    return float(abs(leading.transform.a * leading.transform.e) * unit**2)


def _report(job: _Job, counts: Mapping[str, int], warnings: list[str], pixel: float | None) -> dict[str, Any]:
    total = max(sum(counts.values()), 1)
    judged = max(total - counts["no_data"] - counts["excluded"], 1)
    status, model, radar = "ok", job.model, job.sources.radar
    if not job.before and job.sources.reference is None:
        warnings.append(
            "neither an earlier date nor usual water is given: flood and permanent water cannot be told apart"
        )
        status = "flagged"
    if job.sources.reference is not None and not job.same_month:
        warnings.append("the usual water is of another month: a reservoir may have stood elsewhere; it counts less")
    if radar is not None and radar.looks < job.parameters.water.fewest_looks:
        warnings.append(f"{radar.path.name} has {radar.looks:.1f} looks: too few, single pixels are uncertain")
        status = "flagged"
    if radar is not None and model.after.parts == 0:
        warnings.append("no part of the scene holds both water and land: the usual backscatter of water was used")
    shares = {f"{name}_share": counts[name] / judged for name in list(_CLASSES)[:4]}
    left_out = {f"{name}_share": counts[name] / total for name in ("excluded", "no_data")}
    areas = {} if pixel is None else {f"{name}_km2": counts[name] * pixel / 1e6 for name in list(_CLASSES)[1:4]}
    land = model.land
    return {
        "status": status,
        **shares,
        **left_out,
        **areas,
        "looks": None if radar is None else radar.looks,
        "adapted_parts": model.after.parts,
        "thresholds_db": dict(model.after.thresholds),
        "land_change_db": None if land is None else [round(float(value), 3) for value in (*land.shift, *land.spread)],
        "before_dates": len(job.before),
        "counts": dict(counts),
        "warnings": warnings,
    }
