"""Stages of the imagery: external scenes and our own strips to analysis-ready scenes, an area's scenes to one stack."""

import datetime as dt
import json
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import rasterio.warp
import xarray as xr
import yaml
from odc.geo.geobox import GeoBox

from infra import archive, granule_format
from infra.imagery import imager_calibration, scene_reading
from infra.stages.execution import NotApplicableError, PrerequisiteMissingError, Unit, UnitResult
from infra.stages.workspace import NewGranule, Workspace
from processors import quality
from processors.imagery import external_scene, fusion, grid, strip_scene
from products import fused_scene

LARGEST_SCENE = 250_000_000
"""Values of a scene that a stage holds at most [1]."""
AREAS = Path(__file__).resolve().parents[1] / "parameters" / "areas.yaml"


def ingest_scene(unit: Unit, workspace: Workspace) -> UnitResult:
    """Read a landed scene by its content; scaling, nodata and grid come from its metadata."""
    (landed,) = unit.granules
    parts = archive.landing_parts(landed.key)
    if len(parts) != 2:
        raise quality.BadInputError(
            "unknown_area", f"{landed.key} does not say its area: land it as scenes/<source>/<area>/"
        )
    body, name = workspace.read(landed), PurePosixPath(landed.key).name
    if PurePosixPath(name).suffix == ".nc":
        scene = _stack(body, name=name, source=parts[0])
    else:
        file = workspace.scratch_folder("scene") / archive.landing_name(landed.key)
        file.write_bytes(body)
        scene = scene_of_file(file, area=parts[1])
    identity = archive.identity(parts[0], parts[1], archive.short(landed.sha256))
    return UnitResult((_scene_granule(scene, identity, source=parts[0], area=parts[1]),), report=_about(scene))


def _stack(body: bytes, *, name: str, source: str) -> xr.Dataset:
    # Unsigned integers and fill values are the reader's business: it takes scaling from the metadata or refuses.
    return external_scene.scene_from_dataset(
        granule_format.decode(body, name=name, mask_and_scale=False), source=source
    )


def scene_of_file(file: Path, *, area: str) -> xr.Dataset:
    """Scene of another mission, the part of it that lies in the area, on the area's grid where it states one.

    Parameters
    ----------
    file : Path
        Archive or raster.
    area : str
        Name of the area.

    Returns
    -------
    xr.Dataset
        Scene stack of one date.

    Raises
    ------
    processors.quality.BadInputError
        What the readers refuse; `outside_area`; `scene_too_large` where the part does not fit into memory.
    NotApplicableError
        The scene holds neither reflectance nor backscatter.
    """
    with scene_reading.open_scene(file) as scene:
        if not scene.bands and not scene.polarizations:
            raise NotApplicableError(f"{file.name} holds temperatures alone, which only an emergency asks for")
        target = _wanted(scene, areas().get(area, {}), name=file.name)
        layers = len(scene.bands or scene.polarizations)
        if target.shape[0] * target.shape[1] * layers > LARGEST_SCENE:
            raise quality.BadInputError(
                "scene_too_large",
                f"{file.name}: {target.shape[0]} x {target.shape[1]} pixels of {layers} layers; "
                f"state a smaller box or a coarser grid for the area {area}, or convert the scene to a raster",
            )
        return scene_reading.stack([scene], geobox=target, area=area)


def _wanted(scene: scene_reading.Scene, area: dict[str, Any], *, name: str) -> GeoBox:
    """Grid of the area, else the scene's own as far as the area's box reaches."""
    box, stated = area.get("bbox"), area.get("grid")
    if box is None:
        return scene.geobox
    crs = str(stated["crs"]) if stated else grid.system(scene.geobox).to_wkt()
    size = float(stated["resolution"]) if stated else abs(float(scene.geobox.transform.a))
    edges = rasterio.warp.transform_bounds("EPSG:4326", crs, *box)
    own = rasterio.warp.transform_bounds(grid.system(scene.geobox).to_wkt(), crs, *scene.geobox.boundingbox.bbox)
    west, south = (max(a, b) for a, b in zip(edges[:2], own[:2], strict=True))
    east, north = (min(a, b) for a, b in zip(edges[2:], own[2:], strict=True))
    if west >= east or south >= north:
        raise quality.BadInputError("outside_area", f"{name} lies outside the box of its area")
    return grid.covering((west, south, east, north), crs=crs, resolution=size)


def calibrate_strip(unit: Unit, workspace: Workspace) -> UnitResult:
    """Reflectance of one of our imager's strips on a map grid; lines lost on the way down stay empty."""
    (granule,) = unit.granules
    level0 = granule_format.decode(workspace.read(granule), name=granule.id, decode_times=False)
    identity = archive.identity("imager", granule.id)
    detectors = imager_calibration.load(pixels=level0.sizes["pixel"])
    scene = strip_scene.scene_from_strip(level0, source=identity, detectors=detectors)
    area = _area_of(scene) or granule.id
    made = _scene_granule(scene, identity, source="imager", area=area)
    lost = int((~level0["line_valid"].to_numpy().astype(bool)).sum())
    partial = f"{lost} of {level0['line_valid'].size} lines were lost in the downlink" if lost else None
    about = {
        "lost_lines": lost,
        "undecodable_lines": int(level0.attrs.get("undecodable_lines", 0)),
        "calibration": scene.attrs["calibration"],
        "interpolated_detectors": scene.attrs["interpolated_detectors"],
        "lost_detectors": scene.attrs["lost_detectors"],
        "note": partial,
    }
    return UnitResult((made,), report={**_about(scene), **about})


def _scene_granule(scene: xr.Dataset, identity: str, *, source: str, area: str) -> NewGranule:
    dates = [str(value)[:10].replace("-", "") for value in scene["time"].to_numpy()]
    group = archive.identity(area) if len(dates) > 1 else archive.identity(area, dates[0])
    labelled = scene.assign_attrs(area=archive.identity(area), source=source)
    return NewGranule(
        kind="scene",
        id=identity,
        group=group,
        body=granule_format.encode(labelled),
        suffix=".nc",
        media_type=granule_format.MEDIA_TYPE,
        attributes={"source": source, "area": area, "dates": dates},
    )


def _about(scene: xr.Dataset) -> dict[str, Any]:
    return {"dates": int(scene.sizes["time"]), "bands": [str(band) for band in scene["band"].to_numpy()]}


@lru_cache(maxsize=1)
def areas() -> dict[str, Any]:
    """Areas of interest of this installation: box, and which sources a fusion waits for."""
    loaded: dict[str, Any] = yaml.safe_load(AREAS.read_text())["areas"]
    return loaded


def _area_of(scene: xr.Dataset) -> str | None:
    """Area whose box holds the scene's centre."""
    bounds = grid.geographic_bounds(grid.geobox_of(scene))
    longitude, latitude = (bounds[0] + bounds[2]) / 2.0, (bounds[1] + bounds[3]) / 2.0
    for name, area in areas().items():
        west, south, east, north = area["bbox"]
        if west <= longitude <= east and south <= latitude <= north:
            return str(name)
    return None


def fuse(unit: Unit, workspace: Workspace) -> UnitResult:
    """Fuse all scenes of an area and period; waits for the sources the area's definition names, within its patience."""
    missing = _missing_sources(unit)
    if missing and not _out_of_patience(unit):
        raise PrerequisiteMissingError(f"{unit.group} still waits for scenes of {', '.join(sorted(missing))}")
    scenes = [granule_format.decode(workspace.read(granule), name=granule.id) for granule in unit.granules]
    fused = fusion.fuse(scenes, parameters=fusion.FusionParameters())
    # Products state what they were made of by granule and content, not by the names the scenes gave themselves.
    sources = [{"id": granule.id, "sha256": granule.sha256} for granule in unit.granules]
    fused = fused.assign_attrs(inputs=json.dumps(sources))
    made = NewGranule(
        kind="fused",
        id=unit.group,
        group=unit.group,
        body=granule_format.encode(fused),
        suffix=".nc",
        media_type=granule_format.MEDIA_TYPE,
        attributes={"inputs": sources, "bbox": list(grid.geographic_bounds(grid.geobox_of(fused)))},
    )
    partial = f"fused without {', '.join(sorted(missing))}, which did not come in time" if missing else None
    return UnitResult((made, *_files(fused, unit.group, sources)), report=_about(fused), partial=partial)


def _files(fused: xr.Dataset, group: str, sources: list[dict[str, str]]) -> tuple[NewGranule, ...]:
    """What people and their programs open: rasters, maps and the report."""
    return tuple(
        NewGranule(
            kind=file.kind,
            id=archive.identity(group, file.name) if file.name else group,
            group=group,
            body=file.body,
            suffix=file.suffix,
            media_type=file.media_type,
            attributes={"inputs": sources},
        )
        for file in fused_scene.files(fused)
    )


def _missing_sources(unit: Unit) -> set[str]:
    area = areas().get(str(unit.granules[0].attributes["area"]), {})
    return set(area.get("sources", ())) - {granule.attributes["source"] for granule in unit.granules}


def _out_of_patience(unit: Unit) -> bool:
    area = areas().get(str(unit.granules[0].attributes["area"]), {})
    oldest = min(dt.datetime.fromisoformat(granule.registered_at) for granule in unit.granules)
    return dt.datetime.now(dt.UTC) - oldest > dt.timedelta(hours=float(area.get("patience_hours", 24)))
