"""Flood of a landed radar scene of any size: mapped tile by tile in files, packaged without a fused dataset."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

from infra import ledger
from infra.imagery import raster_file, scene_conversion, scene_reading
from infra.stages import landed_scenes, sector_packages, static_layers
from infra.stages.execution import NotApplicableError
from infra.stages.workspace import Workspace
from infra.surface import flood as flood_file
from infra.surface import operator_layers
from processors.imagery import grid, qa
from products.sectors import definition, exposed_segments, flood_extent, package, statistics
from retrieval.surface import flood

UNIT = "linear"
_STRIP = 512


def build(
    scenes: Sequence[ledger.Granule],
    box: Sequence[float],
    product: definition.ProductDefinition,
    workspace: Workspace,
    *,
    group: str,
) -> sector_packages.Made:
    """Package of the flood on the last of some radar scenes, or of the segments it reaches.

    Parameters
    ----------
    scenes : sequence of Granule
        Facts of the scenes, oldest first; the last one is mapped, the others are what was before.
    box : sequence of float
        West, south, east, north wanted [degree].
    product : ProductDefinition
        Flood extent or exposed segments, with the parameters in force.
    workspace : Workspace
        Stores.
    group : str
        Name of the area and group of the granule.

    Returns
    -------
    Made
        Package and granule.

    Raises
    ------
    NotApplicableError
        The scene lies outside the box; no segments are supplied there.
    """
    segments = product.code == exposed_segments.DEFINITION.code
    rules = (product.parameters.flood if segments else product.parameters).rules
    paths = landed_scenes.files(scenes, workspace)
    with scene_reading.open_scene(paths[-1]) as scene:
        target = landed_scenes.window(scene, box)
        names = scene.polarizations
    reached = _segments(target, workspace) if segments else None
    folder = workspace.scratch_folder("flood")
    *before, after = [_as_raster(path, target, names, folder) for path in paths]
    month = int(scenes[-1].attributes["time"][5:7])
    reference, same = _reference(month, target, workspace, folder)
    terrain = next(iter(static_layers.files(static_layers.TERRAIN, workspace)), None)
    left, bottom, right, top = target.boundingbox.bbox
    report = flood_file.run(
        after,
        folder / "flood.tif",
        before=before,
        sar_bands={name: number for number, name in enumerate(names, 1)},
        sar_unit=UNIT,
        terrain=terrain,
        reference_water=reference,
        reference_same_month=same,
        window=(left, bottom, right, top),
        parameters=rules,
    )
    layers = _layers(folder / "flood.tif", report)
    subject = _subject(layers, scenes, target, group)
    if reached is not None:
        layers = _reaching(layers, reached, product, target, workspace)
    layers = sector_packages.with_exposure(layers, product, target, workspace)
    taken = np.datetime64(scenes[-1].attributes["time"][:19], "s")
    layers = sector_packages.with_gauges(layers, product, target, workspace, time=taken)
    zones = static_layers.zones(workspace)
    built = package.assemble(layers, subject, definition=product, zones=zones)
    made = sector_packages.archived(built, subject.inputs, workspace, group=group)
    return made._replace(tables=layers.features, zones=tuple(zones))


def _as_raster(path: Path, target: GeoBox, names: Sequence[str], folder: Path) -> Path:
    """The scene as one raster of power; a file that is one already is read in place."""
    if path.is_file() and path.suffix.lower() in {".tif", ".tiff"}:
        with rasterio.open(path) as dataset:
            described = [str(text).lower() for text in dataset.descriptions]
            unit = str(dataset.tags().get("BACKSCATTER_UNIT", "")).lower()
        if described == list(names) and unit in {"power", "linear"}:
            return path
    out = folder / f"{path.stem}.power.tif"
    scene_conversion.run(path, out, geobox=target, bands=names, plain=True)
    return out


def _reference(month: int, target: GeoBox, workspace: Workspace, folder: Path) -> tuple[Path | None, bool]:
    """Usual water of the month as a file of one band; of another month where there is no better, and which it is."""
    for path in static_layers.files(static_layers.REFERENCE_WATER, workspace):
        values = operator_layers.reference_water(path, month=month, geobox=target)
        if values is not None:
            return _written(values, target, folder / "reference.tif"), True
    other = next(iter(static_layers.files(static_layers.REFERENCE_WATER, workspace)), None)
    return other, False


def _written(values: npt.NDArray[np.float32], target: GeoBox, path: Path) -> Path:
    encoding = raster_file.Encoding("float32", (1.0,), (0.0,), float("nan"))
    with raster_file.RasterWriter(
        path,
        shape=(int(target.shape[0]), int(target.shape[1])),
        transform=target.transform,
        crs=grid.system(target).to_wkt(),
        encoding=encoding,
        descriptions=("reference_water",),
        plain=True,
    ) as writer:
        writer.write(values[None])
    return path


def _segments(target: GeoBox, workspace: Workspace) -> exposed_segments.Segments:
    """Segments of the operator in the box; without any there is nothing to map the flood for."""
    try:
        return exposed_segments.require_segments(sector_packages.segments(workspace), target)
    except definition.NotApplicableError as error:
        raise NotApplicableError(str(error)) from error


def _reaching(
    layers: definition.SectorLayers,
    segments: exposed_segments.Segments,
    product: definition.ProductDefinition,
    target: GeoBox,
    workspace: Workspace,
) -> definition.SectorLayers:
    """Segments the flood reaches; landslide candidates need two optical scenes, which a radar scene is none of."""
    rules = product.parameters
    terrain = static_layers.terrain(workspace, target, names=sector_packages.TERRAIN_OF_FLOOD)
    hazards = exposed_segments.Hazards(
        flood=exposed_segments.flood_hazard(layers, terrain, target, rules),
        slide=None,
        steep=exposed_segments.steep_hazard(terrain, target, rules),
    )
    made = exposed_segments.of_hazards(
        hazards,
        segments,
        target,
        parameters=rules,
        dates=layers.dates,
        reasons=["landslide candidates need two optical scenes"],
    )
    return made._replace(facts={**made.facts, "flood": layers.facts})


def _layers(path: Path, report: dict[str, Any]) -> definition.SectorLayers:
    """Classes of the flood and the probability of the class given, read strip by strip."""
    name = flood_extent.LAYER
    with rasterio.open(path) as made:
        shape = made.shape
        classes = np.empty(shape, dtype=np.uint8)
        chance = np.empty(shape, dtype=np.float32)
        for start in range(0, shape[0], _STRIP):
            rows = slice(start, min(start + _STRIP, shape[0]))
            window = rasterio.windows.Window(0, start, shape[1], rows.stop - start)
            values, flooded, wet = made.read(window=window)
            classes[rows] = values.astype(np.uint8)
            chance[rows] = flood_extent.class_probability(classes[rows], flood_chance=flooded, water_chance=wet)
    axes = ("y", "x")
    return definition.SectorLayers(
        data=xr.Dataset({name: (axes, classes)}),
        uncertainty=xr.Dataset({name: (axes, chance)}),
        dates=np.array([0], dtype=np.intp),
        facts=report,
    )


def _subject(
    layers: definition.SectorLayers, scenes: Sequence[ledger.Granule], target: GeoBox, area: str
) -> package.Subject:
    classes = next(iter(layers.data.values())).values
    lost = classes == flood.NO_DATA
    nothing = np.broadcast_to(np.float64(0.0), classes.shape)
    return package.Subject(
        area=area,
        geobox=target,
        qa=np.where(lost, np.uint16(qa.QaBit.NODATA), np.uint16(0)).astype(np.uint16),
        # Clear looks are those of optical dates, and there are none.
        clear_looks=np.zeros(classes.shape, dtype=np.uint16),
        evidence=statistics.Evidence(nothing, nothing),
        start=dt.datetime.fromisoformat(scenes[0].attributes["time"]),
        end=dt.datetime.fromisoformat(scenes[-1].attributes["time"]),
        dates=len(scenes),
        bands=tuple(scenes[-1].attributes["polarizations"]),
        inputs=tuple({"id": facts.attributes["key"], "sha256": facts.attributes["sha256"]} for facts in scenes),
        footprint=package.footprint(~lost, target),
    )
