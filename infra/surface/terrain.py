"""Terrain layers made once from a height model: slope, height above drainage, and what a radar sees of the ground."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.warp
from affine import Affine
from odc.geo.geobox import GeoBox

from infra.imagery import height_file, raster_file, tiling
from infra.surface import alignment, terrain_layers
from processors import constants
from processors.imagery import drainage, grid, radar_geometry
from processors.quality import BadInputError

Float32Array = npt.NDArray[np.float32]

MARGIN = 5000.0
"""Land around a wanted grid that is looked at for where its water goes and what shadows it [m]."""
_VOID_SHARE = 0.2
_NO_CLASS = 255.0
_METERS_PER_DEGREE = constants.WGS84_SEMI_MAJOR * math.pi / 180.0


def run(
    dem: Path | str,
    out: Path | str,
    *,
    incidence: float | None = None,
    look_azimuth: float | None = None,
    channels: Path | str | None = None,
    channel_area: float | None = None,
    like: Path | str | None = None,
) -> dict[str, Any]:
    """Make the terrain file of a place.

    Parameters
    ----------
    dem : Path or str
        Heights [m]; in degrees or on a map.
    out : Path or str
        Terrain file to write.
    incidence : float, optional
        Angle of a radar's rays from the vertical [degree].
    look_azimuth : float, optional
        Horizontal direction into which its rays travel, clockwise from north of the grid [degree].
    channels : Path or str, optional
        Raster of known water, 1 or its probability; alone it is the channels, together with `channel_area` it adds.
    channel_area : float, optional
        Land from whose water a channel begins [km2]; default 1.
    like : Path or str, optional
        Raster whose grid is wanted; default that of the heights. Grids in degrees give way to UTM of the same
        fineness.

    Returns
    -------
    dict
        Report: `status`, `warnings`, grid, bands and shares.

    Raises
    ------
    BadInputError
        `crs_missing`, `dem_empty` without a height on the grid, `radar_geometry` with half a geometry or an impossible
        one, what `open_raster` refuses.
    """
    beam = _beam(incidence, look_azimuth)
    with raster_file.open_raster(dem) as raster:
        if raster.geobox is None:
            raise BadInputError("crs_missing", f"{raster.name} states no coordinate reference system")
        target = _metric(raster.geobox if like is None else _grid_of(like))
        margin = 0 if like is None else math.ceil(MARGIN / min(_pixel_size(target)))
        wide = _widened(target, margin)
        heights, odd = height_file.plausible(alignment.warped(raster, 1, wide))
        remarks = list(raster.warnings)
    core = (slice(margin, margin + target.shape[0]), slice(margin, margin + target.shape[1]))
    if not np.isfinite(heights[core]).any():
        raise BadInputError("dem_empty", f"{Path(dem).name} has no height on the grid wanted")
    if odd:
        remarks.append(f"{Path(dem).name} holds numbers that are no heights on {odd:.1%} of the grid; they are voids")
    known = None if channels is None else _known_water(channels, wide, remarks)
    water = drainage.drain(
        heights, pixel_size=_pixel_size(target), channels=known, parameters=_choices(channel_area, known is not None)
    )
    figures = _figures(water.outcome[core], float(np.mean(~np.isfinite(heights[core]))), remarks)
    layers = [heights[core], radar_geometry.slope(heights, pixel_size=_pixel_size(target))[core], water.hand[core]]
    del water
    if beam is not None:
        view, doubt = _radar_layers(heights, core, beam, pixel_size=_pixel_size(target))
        layers += view
        figures |= {"layover_share": _mean(view[1]), "radar_shadow_share": _mean(view[2]), "uncertain_share": doubt}
    _write(Path(out), target, layers, beam)
    return {
        "status": "flagged" if figures["void_share"] > _VOID_SHARE else "ok",
        "warnings": remarks,
        "bands": list(terrain_layers.NAMES[: len(layers)]),
        "crs": str(target.crs),
        "shape": list(target.shape),
        "pixel_size": list(_pixel_size(target)),
        **figures,
    }


def _beam(incidence: float | None, look_azimuth: float | None) -> tuple[float, float] | None:
    if incidence is None and look_azimuth is None:
        return None
    if incidence is None or look_azimuth is None:
        raise BadInputError("radar_geometry", "incidence and look azimuth belong together; only one is given")
    if not (0 < incidence < 90 and math.isfinite(look_azimuth)):
        raise BadInputError(
            "radar_geometry", f"incidence {incidence:g}, azimuth {look_azimuth:g}: no side-looking radar"
        )
    return incidence, look_azimuth


def _grid_of(like: Path | str) -> GeoBox:
    with raster_file.open_raster(like) as raster:
        if raster.geobox is None:
            raise BadInputError("crs_missing", f"{raster.name} states no coordinate reference system")
        return raster.geobox


def _metric(geobox: GeoBox) -> GeoBox:
    """The grid itself on a map; in degrees, UTM over the same area with pixels as fine."""
    if grid.system(geobox).projected:
        return geobox
    bounds = geobox.boundingbox
    latitude = (bounds.bottom + bounds.top) / 2
    crs = f"EPSG:{grid.utm_zone((bounds.left + bounds.right) / 2, latitude)}"
    edges = rasterio.warp.transform_bounds(grid.system(geobox).to_wkt(), crs, *bounds.bbox)
    finest = min(abs(geobox.transform.e), abs(geobox.transform.a) * math.cos(math.radians(latitude)))
    return grid.covering(edges, crs=crs, resolution=round(finest * _METERS_PER_DEGREE, 2))


def _widened(geobox: GeoBox, margin: int) -> GeoBox:
    """The grid with so many pixels more on every side."""
    shape = (geobox.shape[0] + 2 * margin, geobox.shape[1] + 2 * margin)
    return GeoBox(shape, geobox.transform @ Affine.translation(-margin, -margin), geobox.crs)


def _pixel_size(geobox: GeoBox) -> tuple[float, float]:
    """Height and width of a pixel [m]."""
    unit = float(grid.horizontal(grid.system(geobox).to_wkt()).axis_info[0].unit_conversion_factor)
    return abs(geobox.transform.e) * unit, abs(geobox.transform.a) * unit


def _choices(channel_area: float | None, known: bool) -> drainage.DrainageParameters:
    if channel_area is None:
        return drainage.DrainageParameters()
    return drainage.DrainageParameters(channel_area=channel_area * 1e6, join_area=known)


def _known_water(path: Path | str, geobox: GeoBox, remarks: list[str]) -> npt.NDArray[np.bool_] | None:
    with raster_file.open_raster(path) as raster:
        if raster.geobox is None:
            raise BadInputError("crs_missing", f"{raster.name} states no coordinate reference system")
        values = alignment.warped(raster, 1, geobox, nearest=True)
        remarks.extend(raster.warnings)
    with np.errstate(invalid="ignore"):
        wet: npt.NDArray[np.bool_] = (values >= 0.5) & (values != _NO_CLASS)
    if wet.any():
        return wet
    remarks.append(f"{Path(path).name} shows no water on the grid: channels were found by the land they drain")
    return None


def _figures(outcome: npt.NDArray[np.uint8], void: float, remarks: list[str]) -> dict[str, Any]:
    shares = {
        name: float(np.mean(outcome == value))
        for name, value in (("channel_share", drainage.CHANNEL), ("leaves_share", drainage.LEAVES))
    }
    if void:
        remarks.append(f"{void:.1%} of the grid has no height; every layer is unknown there")
    if shares["leaves_share"]:
        remarks.append(
            f"water of {shares['leaves_share']:.1%} of the grid leaves before it meets a channel: no hand there"
        )
    return {"void_share": void, **shares}


def _radar_layers(
    heights: Float32Array, core: tuple[slice, slice], beam: tuple[float, float], *, pixel_size: tuple[float, float]
) -> tuple[list[Float32Array], float]:
    """Local incidence, layover and shadow of the core, and the share that unknown ground could change."""
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    reach = radar_geometry.halo(relief=high - low, incidence=(beam[0], beam[0]), pixel_size=pixel_size)
    shape = (core[0].stop - core[0].start, core[1].stop - core[1].start)
    layers = [np.full(shape, np.nan, dtype=np.float32) for _ in range(3)]
    doubts = 0

    def look(tile: tiling.Tile) -> radar_geometry.RadarView:
        rows, columns = _around(tile, core, heights.shape, reach)
        seen = radar_geometry.view(
            heights[rows, columns],
            pixel_size=pixel_size,
            incidence=beam[0],
            look_azimuth=beam[1],
            bounds=(low, high),
        )
        inner = (
            slice(core[0].start + int(tile.core.row_off) - rows.start, None),
            slice(core[1].start + int(tile.core.col_off) - columns.start, None),
        )
        size = (slice(int(tile.core.height)), slice(int(tile.core.width)))
        cut: list[Any] = [layer[inner][size] for layer in seen]
        return radar_geometry.RadarView(*cut)

    def take(tile: tiling.Tile, seen: radar_geometry.RadarView) -> None:
        nonlocal doubts
        place = (
            slice(int(tile.core.row_off), int(tile.core.row_off + tile.core.height)),
            slice(int(tile.core.col_off), int(tile.core.col_off + tile.core.width)),
        )
        known = np.isfinite(heights[core][place])
        for layer, values in zip(layers, (seen.local_incidence, seen.layover > 0, seen.shadow > 0), strict=True):
            layer[place] = np.where(known, values, np.float32(np.nan))
        doubts += int((seen.uncertain & known).sum())

    tiling.run(look, tiling.tiles(shape), consume=take)
    return layers, doubts / layers[0].size


def _around(tile: tiling.Tile, core: tuple[slice, slice], shape: tuple[int, ...], reach: int) -> tuple[slice, slice]:
    """Rows and columns of the wide raster that a tile of its core needs."""
    starts = (core[0].start + int(tile.core.row_off), core[1].start + int(tile.core.col_off))
    sizes = (int(tile.core.height), int(tile.core.width))
    rows, columns = (
        slice(max(start - reach, 0), min(start + size + reach, side))
        for start, size, side in zip(starts, sizes, shape, strict=True)
    )
    return rows, columns


def _mean(layer: Float32Array) -> float:
    return float(np.nanmean(layer))


def _write(out: Path, target: GeoBox, layers: Sequence[Float32Array], beam: tuple[float, float] | None) -> None:
    count = len(layers)
    tags = {} if beam is None else {"incidence_degree": f"{beam[0]:g}", "look_azimuth_degree": f"{beam[1]:g}"}
    with raster_file.RasterWriter(
        out,
        shape=(target.shape[0], target.shape[1]),
        transform=target.transform,
        crs=grid.system(target).to_wkt(),
        encoding=raster_file.Encoding("float32", (1.0,) * count, (0.0,) * count, math.nan),
        descriptions=terrain_layers.NAMES[:count],
        tags=tags,
    ) as writer:
        for tile in tiling.tiles((target.shape[0], target.shape[1])):
            window = tile.core
            rows = slice(int(window.row_off), int(window.row_off + window.height))
            columns = slice(int(window.col_off), int(window.col_off + window.width))
            writer.write(np.stack([layer[rows, columns] for layer in layers]), window)
