"""What stands still while scenes come and go: terrain, usual water, districts, assets; the newest the operator gave."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from infra import archive, ledger
from infra.imagery import raster_file
from infra.stages.workspace import Workspace
from infra.surface import operator_layers, terrain_layers
from processors.imagery import gauge_readings, grid
from products.sectors import statistics

TERRAIN, REFERENCE_WATER, DISTRICTS, ASSETS, SEGMENTS = "terrain", "reference-water", "districts", "assets", "segments"
GAUGES = "gauge-readings"


class Heights(NamedTuple):
    """Heights of the ground."""

    values: npt.NDArray[np.float32]
    """Height (y, x) [m], NaN where unknown."""
    datum: str
    """Their zero, from the tag `VERTICAL_DATUM`; `unstated` where there is none."""


def joined(series: xr.Dataset, workspace: Workspace) -> xr.Dataset:
    """Give a fused dataset the layers of its place and month.

    Parameters
    ----------
    series : xr.Dataset
        Fused dataset; layers it has are kept.
    workspace : Workspace
        Stores of the installation.

    Returns
    -------
    xr.Dataset
        With `elevation`, `slope`, `hand` and others where the terrain of the place is known, `reference_water` where
        that of the month is.
    """
    geobox = grid.geobox_of(series)
    layers: dict[str, Any] = dict(terrain(workspace, geobox))
    month = int(series["time"].values[-1].astype("datetime64[M]").astype(int)) % 12 + 1
    water = reference_water(workspace, month=month, geobox=geobox)
    if water is not None:
        layers["reference_water"] = water
    known = {name: values for name, values in layers.items() if name not in series and np.isfinite(values).any()}
    return series.assign({name: (("y", "x"), values) for name, values in known.items()})


def terrain(
    workspace: Workspace, geobox: GeoBox, *, names: Sequence[str] | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """Layers of the terrain on a grid, NaN where unknown; where files overlap, the newest that knows.

    Parameters
    ----------
    workspace : Workspace
        Stores of the installation.
    geobox : GeoBox
        Grid wanted.
    names : sequence of str, optional
        Layers wanted; default all.

    Returns
    -------
    dict
        Values (y, x) by name, those there are.
    """
    layers: dict[str, npt.NDArray[np.float32]] = {}
    for path in files(TERRAIN, workspace):
        for name, values in terrain_layers.read(path, geobox, names=names).items():
            layers[name] = values if name not in layers else np.where(np.isnan(layers[name]), values, layers[name])
    return layers


def reference_water(workspace: Workspace, *, month: int, geobox: Any) -> Any:
    """Usual probability of water of a month on a grid [1], None where there is none of that month."""
    for path in files(REFERENCE_WATER, workspace):
        found = operator_layers.reference_water(path, month=month, geobox=geobox)
        if found is not None:
            return found
    return None


def zones(workspace: Workspace) -> list[statistics.Zone]:
    """Districts with the outlines the operator supplied, none where there are none; of two of one code the newest."""
    found: dict[str, statistics.Zone] = {}
    for path in files(DISTRICTS, workspace):
        for zone in operator_layers.districts(path):
            found.setdefault(zone.code, zone)
    return [found[code] for code in sorted(found)]


def assets(workspace: Workspace) -> list[tuple[str, operator_layers.Assets]]:
    """Assets and segments the operator supplied, all files of a kind together."""
    held = {
        ASSETS: [operator_layers.assets(path) for path in files(ASSETS, workspace)],
        SEGMENTS: [operator_layers.assets(path, kind="road") for path in files(SEGMENTS, workspace)],
    }
    return [(kind, operator_layers.together(parts)) for kind, parts in held.items() if parts]


def gauges(workspace: Workspace) -> gauge_readings.GaugeReadings | None:
    """Readings of river gauges the operator supplied, all files together; None without any."""
    paths = files(GAUGES, workspace)
    parts = [gauge_readings.parse(path.read_text(encoding="utf-8"), name=path.name) for path in paths]
    return gauge_readings.together(parts) if parts else None


def elevation(workspace: Workspace, geobox: GeoBox) -> Heights | None:
    """Heights of the ground on a grid with the datum their file states; None where nothing is known of the place."""
    for path in files(TERRAIN, workspace):
        values = terrain_layers.read(path, geobox, names=("elevation",)).get("elevation")
        if values is not None and np.isfinite(values).any():
            with raster_file.open_raster(path) as raster:
                tags = {key.upper(): text for key, text in raster.tags.items()}
            return Heights(values, tags.get("VERTICAL_DATUM", "unstated").strip().lower())
    return None


def files(kind: str, workspace: Workspace) -> list[Path]:
    """Files of a kind of auxiliary data, the newest first, kept at hand under their content's hash."""
    return [kept(granule, workspace) for granule in _held(workspace, kind)]


def _held(workspace: Workspace, kind: str) -> Iterable[ledger.Granule]:
    held = [granule for granule in workspace.ledger.granules(["auxiliary"]) if granule.attributes["kind"] == kind]
    return sorted(held, key=lambda granule: granule.registered_at, reverse=True)


def kept(granule: ledger.Granule, workspace: Workspace) -> Path:
    """Path of an auxiliary file on this machine; read from the store once."""
    folder = workspace.settings.home / "cache" / archive.short(granule.sha256)
    path = folder / str(granule.attributes["name"])
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{path.name}.{id(granule)}.part"
        with part.open("wb") as file:
            for piece in workspace.stretches(granule):
                file.write(piece)
        part.replace(path)
    return path
