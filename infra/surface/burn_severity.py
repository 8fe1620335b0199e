"""Burn severity from two rasters: the change of season is judged on a part of the scene, the map made tile by tile."""

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from infra.surface import alignment
from processors.imagery import terrain
from processors.quality import BadInputError
from products.sectors import active_fire as active_fire_product
from products.sectors import burn_severity as product
from retrieval.surface import burn_severity

BANDS = ("nir", "swir2", "red", "swir1", "green", "blue")
"""Bands that may be named; near infrared and short-wave infrared near 2.2 um are needed."""
REQUIRED = ("nir", "swir2")
LAYERS = ("burn_severity", "probability", "dnbr", "dnbr_sigma", "rbr")
"""Bands of the result."""
MEANINGS = "regrowth unburned low moderate_low moderate_high high no_data"
"""Names of the classes 1 to 6 and 255."""
ENCODING = raster_file.Encoding("float32", (1.0,) * 5, (0.0,) * 5, 255.0)
PIECE = 512
"""Edge of the parts the change of season is judged on [pixel]."""
PIECES = 4
"""Parts along rows and columns; a smaller scene is judged whole [1]."""
_NEXT = np.nextafter(np.float32(255.0), np.float32(256.0))

_Raster = npt.NDArray[np.float32]


class _Job(NamedTuple):
    before: Path
    after: Path
    bands: Mapping[str, int]
    masks: tuple[Path | None, Path | None]
    seeds: npt.NDArray[np.int64]
    bare_soil_test: bool
    parameters: burn_severity.BurnSeverityParameters
    season: burn_severity.Season | None


def run(
    before: Path | str,
    after: Path | str,
    out: Path | str,
    *,
    bands: Mapping[str, int],
    mask_before: Path | str | None = None,
    mask_after: Path | str | None = None,
    fires: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None,
    bare_soil_test: bool = False,
    parameters: burn_severity.BurnSeverityParameters | None = None,
) -> dict[str, Any]:
    """Map burn severity between two dates.

    Parameters
    ----------
    before, after : Path or str
        Rasters of reflectance; the second is brought onto the grid of the first.
    out : Path or str
        Raster to write: class, probability of the class, dNBR x 1000 and its standard deviation, RBR x 1000; 255 is no
        data.
    bands : Mapping
        Numbers of the bands in both rasters: nir and swir2 are needed; swir1 tells char from dry ground, red, green and
        blue help to know kinds of vegetation, red serves the test of bare soil.
    mask_before, mask_after : Path or str, optional
        Masks of `imagery cloud-mask`, or of 0 for clear: whatever is not clear is left out.
    fires : tuple of numpy.ndarray, optional
        Longitude and latitude of fires that were seen [degree]: the patch around one is kept however small.
    bare_soil_test : bool
        Whether ground that became brighter, as harvested fields do, is unburned.
    parameters : BurnSeverityParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, area by class, share without data, share that changed like burnt ground and was taken for
        ripening or harvest, displacement and change of season taken out, warnings.

    Raises
    ------
    BadInputError
        `band_missing`, `no_data`, `no_overlap`; what the files lack.
    """
    numbers = _numbers(bands)
    masks = tuple(None if path is None else Path(path) for path in (mask_before, mask_after))
    with (
        raster_file.open_raster(Path(before), reflectance=True) as first,
        alignment.opened(Path(after), like=first, reflectance=True) as second,
    ):
        for raster in (first, second.raster):
            beyond = [f"{name} (band {number})" for name, number in numbers.items() if number > raster.count]
            if beyond:
                raise BadInputError(
                    "band_missing", f"{raster.name} with {raster.count} bands has no {', '.join(beyond)}"
                )
        chosen = parameters or burn_severity.BurnSeverityParameters()
        seeds = _seeds(first, fires)
        job = _Job(Path(before), Path(after), numbers, (masks[0], masks[1]), seeds, bare_soil_test, chosen, None)
        job = job._replace(season=_season(job, first.shape))
        counts, other = _write(Path(out), first, job)
        warnings = list(dict.fromkeys([*first.warnings, *second.raster.warnings]))
        pixel = _pixel_area(first)
    return _report(job, counts, pixel, warnings) | {"other_change_share": _share(other, counts)}


def _share(other: int, counts: npt.NDArray[np.int64]) -> float:
    """Share of the ground that has a class which changed like burnt ground and is held for something else."""
    return round(other / max(int(counts[:255].sum()), 1), 6)


def _numbers(bands: Mapping[str, int]) -> dict[str, int]:
    unknown = sorted(set(bands) - set(BANDS))
    if unknown:
        raise BadInputError("band_missing", f"no band is called {', '.join(unknown)}; known: {', '.join(BANDS)}")
    absent = [name for name in REQUIRED if name not in bands]
    if absent:
        raise BadInputError("band_missing", f"burn severity needs the band {' and '.join(absent)}")
    return {name: bands[name] for name in (*REQUIRED, *burn_severity.HELPFUL) if name in bands}


def _pixel_area(raster: raster_file.RasterFile) -> float | None:
    """Ground area of a pixel in the middle of the scene [m2]; None where it cannot be known."""
    if raster.geobox is None:
        return None
    return float(np.mean(active_fire_product.pixel_areas(raster.geobox)))


def _seeds(
    raster: raster_file.RasterFile, fires: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None
) -> npt.NDArray[np.int64]:
    """Row and column of every fire in the scene."""
    if fires is None or not len(fires[0]):
        return np.zeros((0, 2), dtype=np.int64)
    if raster.geobox is None:
        raise BadInputError("crs_missing", f"{raster.name} states no reference system to place the fires in")
    places = np.rint(np.stack(terrain.pixel_of(raster.geobox, *fires), axis=-1))
    inside = (places >= 0).all(axis=1) & (places < np.asarray(raster.shape)).all(axis=1)
    return places[inside].astype(np.int64)


def _season(job: _Job, shape: tuple[int, int]) -> burn_severity.Season:
    """Change of season from parts spread over the scene, or all of a scene that is not larger."""
    rows, columns = (_starts(side) for side in shape)
    parts = []
    for row in rows:
        for column in columns:
            window = Window(column, row, min(PIECE, shape[1] - column), min(PIECE, shape[0] - row))
            parts.append(_padded(_pair(job, window)))
    pair = burn_severity.BurnPair(*(_stacked(layers) for layers in zip(*parts, strict=True)))
    return burn_severity.season(pair, parameters=job.parameters)


def _starts(side: int) -> list[int]:
    if side <= PIECE * PIECES:
        return list(range(0, side, PIECE))
    return [int(start) for start in np.linspace(0, side - PIECE, PIECES)]


def _padded(pair: burn_severity.BurnPair) -> list[npt.NDArray[Any] | None]:
    """Layers with room below and to the right, so that parts laid side by side have no common neighbors."""
    room = 3
    layers: list[npt.NDArray[Any] | None] = []
    for layer in pair:
        if layer is None:
            layers.append(None)
            continue
        height, width = layer.shape
        wide = np.full((PIECE + room, PIECE + room), True if layer.dtype == bool else np.nan, dtype=layer.dtype)
        wide[:height, :width] = layer
        layers.append(wide)
    return layers


def _stacked(layers: tuple[npt.NDArray[Any] | None, ...]) -> Any:
    known = [layer for layer in layers if layer is not None]
    return np.concatenate(known) if known else None


def _pair(job: _Job, window: Window) -> burn_severity.BurnPair:
    """Reflectance of a window on both dates, and what is not clear."""
    numbers = list(job.bands.values())
    with (
        raster_file.open_raster(job.before, reflectance=True) as first,
        alignment.opened(job.after, like=first, reflectance=True) as second,
        contextlib.ExitStack() as stack,
    ):
        old, new = (dict(zip(job.bands, part.read(window, numbers), strict=True)) for part in (first, second))
        excluded = None
        for path in job.masks:
            if path is None:
                continue
            mask = stack.enter_context(alignment.opened(path, like=first, classes=True)).read(window, [1])[0]
            unclear = ~(mask == 0.0)
            excluded = unclear if excluded is None else excluded | unclear
    return burn_severity.BurnPair(
        old["nir"],
        old["swir2"],
        new["nir"],
        new["swir2"],
        excluded,
        *(part.get(name) for name in burn_severity.HELPFUL for part in (old, new)),
    )


def _write(out: Path, raster: raster_file.RasterFile, job: _Job) -> tuple[npt.NDArray[np.int64], int]:
    """Write the map; pixels by class, of 256, and those that changed otherwise."""
    counts, other = np.zeros(256, dtype=np.int64), 0
    writer = raster_file.RasterWriter(
        out,
        shape=raster.shape,
        transform=raster.transform,
        crs=raster.crs,
        encoding=ENCODING,
        descriptions=LAYERS,
        tags={"flag_values": "1 2 3 4 5 6 255", "flag_meanings": MEANINGS},
        categorical=True,
    )
    with writer:

        def take(tile: tiling.Tile, found: _Raster) -> None:
            nonlocal counts, other
            writer.write(found[:-1], tile.core)
            other += int(found[-1].sum())
            counts += np.bincount(
                np.where(np.isfinite(found[0]), found[0], 255).astype(np.int64).ravel(), minlength=256
            )

        parts = tiling.tiles(raster.shape, halo=burn_severity.halo(job.parameters))
        tiling.run(functools.partial(_tile, job), parts, consume=take)
    return counts, other


def _tile(job: _Job, tile: tiling.Tile) -> _Raster:
    """Bands of the result, and last where ground changed otherwise."""
    pair = _pair(job, tile.padded)
    seeds = None
    if len(job.seeds):
        seeds = np.zeros(pair.nir_before.shape, dtype=bool)
        places = job.seeds - np.array([int(tile.padded.row_off), int(tile.padded.col_off)])
        inside = (places >= 0).all(axis=1) & (places < np.asarray(seeds.shape)).all(axis=1)
        seeds[tuple(places[inside].T)] = True
    if job.season is None:
        raise ValueError("the change of season has not been judged")
    found = burn_severity.classify(
        pair, season=job.season, seeds=seeds, bare_soil_test=job.bare_soil_test, parameters=job.parameters
    )
    classes = np.where(found.classes == burn_severity.NO_DATA, np.nan, found.classes)
    layers = np.stack([classes, found.probability, found.dnbr, found.sigma, found.rbr]).astype(np.float32)
    # 255 stands for no data in every band; a measure that happens to be exactly that moves by one bit.
    layers[2:][layers[2:] == ENCODING.nodata] = _NEXT
    return np.concatenate([layers, found.other_change[None].astype(np.float32)])[:, *tile.inner]


def _report(job: _Job, counts: npt.NDArray[np.int64], pixel: float | None, warnings: list[str]) -> dict[str, Any]:
    names = MEANINGS.split()
    values = (1, 2, 3, 4, 5, 6)
    total = int(counts.sum())
    season = job.season
    if season is not None and season.pixels == 0:
        warnings.append("too little unburnt vegetation is seen: no change of season was taken out")
    elif "swir1" not in job.bands:
        warnings.append("without swir1 harvested fields are not told from fire by their albedo")
    burnt = int(counts[burn_severity.LOW : burn_severity.HIGH + 1].sum())
    report: dict[str, Any] = {
        "status": "flagged" if season is None or season.pixels == 0 else "ok",
        "warnings": warnings,
        "pixels": {name: int(counts[value]) for value, name in zip(values, names[:6], strict=True)},
        "no_data_share": round(float(counts[255]) / max(total, 1), 6),
        "burnt_pixels": burnt,
    }
    if pixel is not None:
        report["burnt_area_km2"] = round(burnt * pixel / 1e6, 4)
    return report | ({} if season is None else product.facts(season))
