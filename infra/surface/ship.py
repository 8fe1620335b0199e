"""Ships of a radar scene in a file: parts of the scene are searched one after another, each against its own water."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from infra.surface import alignment, river_width, water_scene
from processors.imagery import ais_positions
from processors.quality import BadInputError
from products import vector
from products.sectors import river_width as river_product
from products.sectors import ship_detection as product
from retrieval.surface import ais_match, ship

TILE = 4096
"""Edge of the parts [pixel]."""
HALO = 160
"""Water looked at around a part [pixel]."""
_ADVICE = "make a map of water first: terralimb surface water --sar ... --out W.tif"


class AisList(NamedTuple):
    """Reports of ships, and when the image was taken."""

    path: Path
    time: datetime.datetime
    look: ais_match.Look | None = None


class _Layers(NamedTuple):
    """Rasters on the grid of the radar, whole (y, x)."""

    water: npt.NDArray[np.bool_]
    bridges: npt.NDArray[np.bool_] | None
    berths: npt.NDArray[np.bool_] | None
    hidden: npt.NDArray[np.bool_] | None


class _Before(NamedTuple):
    """What tells what is always there."""

    radars: tuple[water_scene.Radar, ...]
    reference: Path | None


def run(
    sar: Path | str,
    out: Path | str,
    *,
    sar_bands: Mapping[str, int] | None = None,
    sar_unit: str | None = None,
    water: Path | str | None = None,
    bridges: Path | str | None = None,
    berths: Path | str | None = None,
    layover: Path | str | None = None,
    earlier: Sequence[Path | str] = (),
    reference_water: Path | str | None = None,
    ais: AisList | None = None,
    ambiguity: ship.Ambiguity | None = None,
    looks: float | None = None,
    resolution: float | None = None,
    parameters: ship.ShipParameters | None = None,
    matching: ais_match.AisMatchParameters | None = None,
) -> dict[str, Any]:
    """Find the ships of a radar scene.

    Parameters
    ----------
    sar : Path or str
        Backscatter.
    out : Path or str
        Vector file (.gpkg, .fgb, .geojson); only a GeoPackage also holds boxes and ships reported.
    sar_bands : Mapping, optional
        Band from 1 by polarization.
    sar_unit : str, optional
        ``db`` or ``linear``.
    water : Path or str, optional
        Map of water: 1 is water, or a probability.
    bridges, berths : Path or str, optional
        Known bridges and berths, lines or polygons.
    layover : Path or str, optional
        Layover and radar shadow: anything but 0.
    earlier : sequence of Path or str, optional
        Backscatter of earlier dates, same bands and unit: what stands out there too is no ship.
    reference_water : Path or str, optional
        Usual probability of water: what stands where there is none is no ship.
    ais : AisList, optional
        Reports of ships.
    ambiguity : Ambiguity, optional
        Where azimuth ambiguities lie.
    looks : float, optional
        Equivalent number of looks [1].
    resolution : float, optional
        Resolution of the image [m].
    parameters : ShipParameters, optional
        Choices.
    matching : AisMatchParameters, optional
        Choices of the join.

    Returns
    -------
    dict
        Report: `status`, ships, area searched, false alarms expected, rejected, unsearched, warnings.

    Raises
    ------
    BadInputError
        `water_missing`, `suffix_unknown`, `no_water`, `no_data`, `crs_missing`, `schema`; what the files lack.
    """
    target = Path(out)
    if target.suffix.lower() not in vector.DRIVERS:
        raise BadInputError("suffix_unknown", f"{target.name}: objects are written as {', '.join(vector.DRIVERS)}")
    if water is None:
        raise BadInputError("water_missing", f"ships are looked for on water alone: give --water, or {_ADVICE}")
    warnings: list[str] = []
    radar = water_scene.radar_of(Path(sar), bands=sar_bands, unit=sar_unit, warnings=warnings)
    before = _Before(
        tuple(water_scene.radar_of(Path(path), bands=sar_bands, unit=sar_unit, warnings=warnings) for path in earlier),
        None if reference_water is None else Path(reference_water),
    )
    with raster_file.open_raster(Path(sar)) as opened:
        if opened.geobox is None:
            raise BadInputError("crs_missing", f"{opened.name} states no reference system to place ships in")
        layers = _layers(opened, Path(water), bridges, berths, layover)
        heights, widths = river_product.pixel_sizes(opened.geobox)
        rules = parameters or ship.ShipParameters()
        maps = _searched(opened, radar, layers, before, (heights, widths), rules, looks, resolution, ambiguity)
        ships = ship.Ships(*(np.concatenate(parts) for parts in zip(*(part.ships for part in maps[0]), strict=True)))
        crs = opened.crs.to_wkt()
        rows = np.clip(np.rint(ships.row).astype(int), 0, len(heights) - 1)
        told = product.facts(maps[0])
        joined, reported, about = _joined(ais, ships, opened, maps[1], matching or ais_match.AisMatchParameters())
        tables = product.tables(
            ships, opened.transform, crs, pixel_size=(heights[rows], widths[rows]), joined=joined, reported=reported
        )
    vector.write(tables if vector.DRIVERS[target.suffix.lower()] == "GPKG" else tables[:1], target)
    return {"status": "ok", "warnings": warnings, **told, **about}


def _layers(
    opened: raster_file.RasterFile,
    water: Path,
    bridges: Path | str | None,
    berths: Path | str | None,
    layover: Path | str | None,
) -> _Layers:
    whole = Window(0, 0, opened.shape[1], opened.shape[0])
    with alignment.opened(water, like=opened, classes=True) as seen:
        values = seen.read(whole, [1])[0]
    wet = (values > 0.5) & (values <= 1.0)
    if not wet.any():
        raise BadInputError("no_water", f"{water.name} has no water (1, or a probability above 0.5) on this scene")
    hidden = None
    if layover is not None:
        with alignment.opened(Path(layover), like=opened, classes=True) as seen:
            hidden = np.nan_to_num(seen.read(whole, [1])[0]) > 0
    lines = [None if path is None else river_width.burned(Path(path), opened) for path in (bridges, berths)]
    return _Layers(wet, lines[0], lines[1], hidden)


def _searched(
    opened: raster_file.RasterFile,
    radar: water_scene.Radar,
    layers: _Layers,
    before: _Before,
    sizes: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    rules: ship.ShipParameters,
    looks: float | None,
    resolution: float | None,
    ambiguity: ship.Ambiguity | None,
) -> tuple[list[ship.ShipMap], npt.NDArray[np.bool_]]:
    """What each part holds, and where ships were looked for (y, x)."""
    heights, widths = sizes
    smallest = float(min(heights.min(), widths.min()))
    halo = HALO if ambiguity is None else max(HALO, int(np.ceil(ambiguity.shift / smallest)) + HALO)
    maps = []
    looked = np.zeros(opened.shape, dtype=bool)
    refused: BadInputError | None = None
    for part in tiling.tiles(opened.shape, size=TILE, halo=halo):
        tile = _clipped(part, opened.shape)
        window = tile.padded
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        columns = slice(int(window.col_off), int(window.col_off + window.width))
        if not layers.water[rows, columns].any():
            continue
        read = opened.read(window, list(radar.bands.values()))
        power = read if radar.unit == "linear" else np.power(np.float32(10.0), read / 10)
        cut = [None if layer is None else layer[rows, columns] for layer in layers[1:]]
        size = (float(np.median(heights[rows])), float(np.median(widths[rows])))
        cut.append(_static(before, opened, layers.water[rows, columns], window, size, rules))
        try:
            found = ship.detect(
                dict(zip(radar.bands, power, strict=True)), layers.water[rows, columns], pixel_size=size,
                parameters=rules, place=ship.Place(*cut), looks=looks, resolution=resolution, ambiguity=ambiguity,
            )  # fmt: skip
        except BadInputError as error:
            refused = error
            continue
        maps.append(_inner(found, tile, size, rules.rate, looked, (rows.start, columns.start)))
    if not maps:
        raise refused or BadInputError("no_water", "no water on this scene")
    return maps, looked


def _static(
    before: _Before,
    opened: raster_file.RasterFile,
    water: npt.NDArray[np.bool_],
    window: Window,
    size: tuple[float, float],
    rules: ship.ShipParameters,
) -> npt.NDArray[np.bool_] | None:
    """What is always there in a part (y, x); None where nothing is known of earlier dates."""
    static = None
    if before.reference is not None:
        with alignment.opened(before.reference, like=opened) as seen:
            usual = water_scene.usual(seen.read(window, [1])[0])
        static = np.asarray(usual <= rules.static_water)
    if before.radars:
        dates = []
        for radar in before.radars:
            with alignment.opened(radar.path, like=opened) as seen:
                values = water_scene.linear(seen.read(window, list(radar.bands.values())), unit=radar.unit)
            dates.append(dict(zip(radar.bands, values, strict=True)))
        found = ship.static_targets(dates, water, pixel_size=size, parameters=rules)
        static = found if static is None else static | found
    return static


def _clipped(tile: tiling.Tile, shape: tuple[int, int]) -> tiling.Tile:
    """The tile with neighbors inside the raster alone."""
    padded = tile.padded
    top, left = max(int(padded.row_off), 0), max(int(padded.col_off), 0)
    bottom = min(int(padded.row_off + padded.height), shape[0])
    right = min(int(padded.col_off + padded.width), shape[1])
    return tile._replace(padded=Window(left, top, right - left, bottom - top))


def _inner(
    found: ship.ShipMap,
    tile: tiling.Tile,
    size: tuple[float, float],
    rate: float,
    looked: npt.NDArray[np.bool_],
    corner: tuple[int, int],
) -> ship.ShipMap:
    """What belongs to a part without its halo, placed on the scene."""
    rows, columns = tile.inner
    searched = (found.classes == ship.SEARCHED) | (found.classes == ship.SHIP)
    core = searched[rows, columns]
    top, left = corner[0] + rows.start, corner[1] + columns.start
    looked[top : top + core.shape[0], left : left + core.shape[1]] = core
    ships = found.ships
    own = (ships.row >= rows.start - 0.5) & (ships.row < rows.stop - 0.5)
    own &= (ships.column >= columns.start - 0.5) & (ships.column < columns.stop - 0.5)
    kept = ship.Ships(*(column[own] for column in ships))
    kept = kept._replace(row=kept.row + corner[0], column=kept.column + corner[1])
    pixels = int(core.sum())
    return found._replace(
        ships=kept, searched_area=pixels * size[0] * size[1] / 1e6, expected_false_alarms=pixels * rate
    )


def _joined(
    ais: AisList | None,
    ships: ship.Ships,
    opened: raster_file.RasterFile,
    looked: npt.NDArray[np.bool_],
    parameters: ais_match.AisMatchParameters,
) -> tuple[ais_match.Joined | None, ais_match.Reported | None, dict[str, Any]]:
    if ais is None:
        return None, None, {"ais": None}
    with ais.path.open(encoding="utf-8", errors="replace", newline="") as stream:
        positions = ais_positions.parse(stream)
    time = ais.time if ais.time.tzinfo else ais.time.replace(tzinfo=datetime.UTC)
    reported = ais_match.at_time(positions, time.timestamp(), parameters=parameters)
    *_, latitude, longitude = product.positions(ships, opened.transform, opened.crs.to_wkt())
    x, y = product.projected(reported.longitude, reported.latitude, opened.crs.to_wkt())
    inverse = ~opened.transform
    columns = np.floor(inverse.a * x + inverse.b * y + inverse.c)
    rows = np.floor(inverse.d * x + inverse.e * y + inverse.f)
    inside = (rows >= 0) & (columns >= 0) & (rows < opened.shape[0]) & (columns < opened.shape[1])
    searched = np.zeros(inside.size, dtype=bool)
    searched[inside] = looked[rows[inside].astype(int), columns[inside].astype(int)]
    joined = ais_match.join(
        latitude, longitude, ships.length, ships.length_sigma, reported, searched=searched, parameters=parameters,
        look=ais.look,
    )  # fmt: skip
    counts = {name: int((joined.status == number).sum()) for number, name in enumerate(ais_match.STATUSES)}
    about = {"dark": int((joined.reported < 0).sum()), **counts, "ais_too_old": reported.too_old}
    return joined, reported, about | {"ais_rows": len(positions.mmsi), "ais_rows_rejected": dict(positions.rejected)}
