"""Open water of a scene from files: the whole is judged on a sample of its parts, the map is made tile by tile."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infra.imagery import raster_file, tiling
from infra.surface import terrain_source, water_scene
from processors.quality import BadInputError
from retrieval.surface import radar_water

Float32Array = npt.NDArray[np.float32]
_MEANINGS = "dry water no_data"


class _Job(NamedTuple):
    """What a tile needs."""

    sources: water_scene.Sources
    model: radar_water.SceneModel
    parameters: radar_water.RadarWaterParameters


def run(
    out: Path | str,
    *,
    sar: Path | str | None = None,
    sar_bands: Mapping[str, int] | None = None,
    sar_unit: str | None = None,
    optical: Path | str | None = None,
    optical_bands: Mapping[str, int] | None = None,
    optical_mask: Path | str | None = None,
    terrain: Path | str | None = None,
    dem: Path | str | None = None,
    look: terrain_source.Look | None = None,
    reference_water: Path | str | None = None,
    window: water_scene.Bounds | None = None,
    parameters: radar_water.RadarWaterParameters | None = None,
) -> dict[str, Any]:
    """Map open water.

    Parameters
    ----------
    out : Path or str
        Raster to write: band 1 class (0 dry, 1 water, 255 no data), band 2 probability of water.
    sar : Path or str, optional
        Backscatter.
    sar_bands : Mapping, optional
        Band from 1 by polarization.
    sar_unit : str, optional
        ``db`` or ``linear``.
    optical : Path or str, optional
        Reflectance; more than 24 hours from the radar it is left out.
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
        Usual probability of water of the month.
    window : tuple of float, optional
        Left, bottom, right, top in the raster's system; default everything.
    parameters : RadarWaterParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, shares, looks, thresholds, what was left out and why, warnings.

    Raises
    ------
    BadInputError
        `no_scene`, `no_data`, `band_missing`, `unit_missing`, `outside_area`; what the files lack.
    """
    chosen = parameters or radar_water.RadarWaterParameters()
    warnings: list[str] = []
    paths = [None if path is None else Path(path) for path in (sar, optical, optical_mask, terrain, dem)]
    radar_path, optical_path, mask_path, terrain_path, dem_path = paths
    optical_path = water_scene.timely(optical_path, radar_path, warnings=warnings)
    with (
        water_scene.leading_raster(radar_path, optical_path) as leading,
        terrain_source.made(terrain_path, dem_path, look=look, like=leading, warnings=warnings) as layers,
    ):
        radar, seen = None, None
        if radar_path is not None:
            radar = water_scene.radar_of(radar_path, bands=sar_bands, unit=sar_unit, warnings=warnings)
        if optical_path is not None:
            seen = water_scene.optical_of(optical_path, bands=optical_bands, mask=mask_path, warnings=warnings)
        reference = None if reference_water is None else Path(reference_water)
        sources = water_scene.placed(
            leading, radar=radar, optical=seen, terrain=layers, reference=reference, bounds=window
        )
        sources, model = _learned(sources, chosen)
        counts = _write(Path(out), leading, _Job(sources, model, chosen))
    return report_of(sources, model, counts, warnings, chosen)


def _learned(
    sources: water_scene.Sources, parameters: radar_water.RadarWaterParameters
) -> tuple[water_scene.Sources, radar_water.SceneModel]:
    even, chosen = water_scene.sample_windows(sources)
    parts, further = (list(water_scene.blocks(sources, windows, radar=sources.radar)) for windows in (even, chosen))
    radar = sources.radar
    if radar is not None:
        radar = radar._replace(looks=water_scene.counted_looks([*parts, *further], parameters=parameters))
    features, mixed = (
        [water_scene.evidence(part, radar=radar, parameters=parameters) for part in group] for group in (parts, further)
    )
    if not any(np.isfinite(part.values).all(axis=1).any() for part in features):
        raise BadInputError("no_data", f"{sources.leading.name} holds no usable pixel where the map is wanted")
    model = radar_water.learn(features, parameters=parameters, surroundings=[part.place for part in parts], mixed=mixed)
    return sources._replace(radar=radar), model


def _write(out: Path, leading: raster_file.RasterFile, job: _Job) -> dict[str, int]:
    counts = {"dry": 0, "water": 0, "no_data": 0, "hidden": 0, "too_high": 0}
    writer = raster_file.RasterWriter(
        out,
        shape=job.sources.shape,
        transform=water_scene.transform_of(job.sources, leading.transform),
        crs=leading.crs,
        encoding=water_scene.ENCODING,
        descriptions=("water", "probability_of_water"),
        tags={"flag_values": "0 1 255", "flag_meanings": _MEANINGS},
        categorical=True,
    )
    with writer:

        def take(tile: tiling.Tile, found: tuple[Float32Array, tuple[int, int]]) -> None:
            layers, (hidden, high) = found
            writer.write(layers, tile.core)
            for name, value in (("dry", 0.0), ("water", 1.0), ("no_data", 255.0)):
                counts[name] += int((layers[0] == value).sum())
            counts["hidden"] += hidden
            counts["too_high"] += high

        tiling.run(
            functools.partial(_tile, job), tiling.tiles(job.sources.shape, halo=job.parameters.halo), consume=take
        )
    return counts


def _tile(job: _Job, tile: tiling.Tile) -> tuple[Float32Array, tuple[int, int]]:
    radar = job.sources.radar
    block = water_scene.read(job.sources, tile.padded, radar=radar)
    seen = water_scene.evidence(block, radar=radar, parameters=job.parameters)
    found = radar_water.map_water(seen, model=job.model, place=block.place, parameters=job.parameters)
    inner = tile.inner
    classes, probability = found.classes[inner], found.probability[inner]
    high = radar_water.too_high(block.place, parameters=job.parameters)
    hidden = 0 if block.place.hidden is None else int((block.place.hidden[inner] & (classes == 255)).sum())
    raised = 0 if high is None else int((high[inner] & (classes != 255)).sum())
    stored = np.where(np.isfinite(probability), probability, np.float32(255.0))
    return np.stack([classes.astype(np.float32), stored]).astype(np.float32), (hidden, raised)


def report_of(
    sources: water_scene.Sources,
    model: radar_water.SceneModel,
    counts: Mapping[str, int],
    warnings: list[str],
    parameters: radar_water.RadarWaterParameters,
) -> dict[str, Any]:
    """Report of a water map.

    Parameters
    ----------
    sources : Sources
        What it was made of.
    model : SceneModel
        What was learned.
    counts : Mapping
        Pixels by class and by what was left out.
    warnings : list of str
        Remarks so far.
    parameters : RadarWaterParameters
        Limits.

    Returns
    -------
    dict
        JSON-able report.
    """
    total = max(sum(counts[name] for name in ("dry", "water", "no_data")), 1)
    radar = sources.radar
    status = "ok"
    if radar is not None and radar.looks < parameters.fewest_looks:
        warnings.append(f"{radar.path.name} has {radar.looks:.1f} looks: too few, single pixels are uncertain")
        status = "flagged"
    if radar is not None and model.parts == 0:
        warnings.append("no part of the scene holds both water and land: the usual backscatter of water was used")
    return {
        "status": status,
        "water_share": counts["water"] / max(counts["dry"] + counts["water"], 1),
        "no_data_share": counts["no_data"] / total,
        "layover_or_shadow_share": counts["hidden"] / total,
        "too_steep_and_high_share": counts["too_high"] / total,
        "looks": None if radar is None else radar.looks,
        "adapted_parts": model.parts,
        "thresholds_db": dict(model.thresholds),
        "sources": [name for name, there in (("radar", radar), ("optical", sources.optical)) if there],
        "counts": dict(counts),
        "warnings": warnings,
    }
