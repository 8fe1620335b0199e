"""Products that need one pixel at a time, of any raster: vegetation indices and land cover, tile by tile."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from infra.imagery import raster_file, tiling
from infra.surface import alignment
from processors.imagery import cloud_mask, observed_series, qa
from processors.quality import BadInputError
from retrieval.surface import land_cover, observation, spectral_index, vegetation

Float32Array = npt.NDArray[np.float32]

VEGETATION_LAYERS = ("ndvi", "evi", "fractional_cover")
SIGMA = "_sigma"
_CLASS_ENCODING = raster_file.Encoding("float32", (1.0, 1.0), (0.0, 0.0), 255.0)


class _Job(NamedTuple):
    """What a tile needs."""

    scene: Path
    mask: Path | None
    bands: Mapping[str, int]
    observed: observed_series.ObservedParameters
    layers: tuple[str, ...]
    cover: vegetation.CoverParameters
    rules: land_cover.LandCoverParameters


def run_vegetation(
    scene: Path | str,
    out: Path | str,
    *,
    bands: Mapping[str, int],
    mask: Path | str | None = None,
    cover: vegetation.CoverParameters | None = None,
) -> dict[str, Any]:
    """Vegetation indices and fractional cover of one date, each with its standard uncertainty.

    Parameters
    ----------
    scene : Path or str
        Raster of reflectance.
    out : Path or str
        Raster to write: `ndvi`, `evi` where there is blue, `fractional_cover`, then their sigma.
    bands : Mapping
        Numbers of the bands: red and nir, blue for EVI.
    mask : Path or str, optional
        Mask of `imagery cloud-mask`: cloud and shadow have no value.
    cover : CoverParameters, optional
        End members of the fractional cover.

    Returns
    -------
    dict
        Report: `status`, layers, mean of each, share without value by cause, warnings.

    Raises
    ------
    BadInputError
        `band_missing`, `no_data`; what the files lack.
    """
    names = VEGETATION_LAYERS if "blue" in bands else tuple(name for name in VEGETATION_LAYERS if name != "evi")
    job = _job(scene, mask, bands, names, required=("red", "nir"), cover=cover)
    encoding = raster_file.Encoding("float32", (1.0,) * 2 * len(names), (0.0,) * 2 * len(names), float("nan"))
    described = (*names, *(name + SIGMA for name in names))
    sums, counts, hidden, total, warnings = _write(Path(out), job, encoding, described, _vegetation_tile)
    if not counts[0]:
        raise BadInputError("no_data", f"{job.scene.name} has no usable pixel: nothing was left by data and mask")
    return {
        "status": "ok",
        "layers": list(names),
        **{f"mean_{name}": float(value) for name, value in zip(names, sums[: len(names)] / counts[0], strict=True)},
        "masked_share": hidden / total,
        "no_data_share": 1.0 - (counts[0] + hidden) / total,
        "warnings": warnings,
    }


def run_land_cover(
    scene: Path | str,
    out: Path | str,
    *,
    bands: Mapping[str, int],
    mask: Path | str | None = None,
    rules: land_cover.LandCoverParameters | None = None,
) -> dict[str, Any]:
    """Land cover of one date by documented rules.

    Parameters
    ----------
    scene : Path or str
        Raster of reflectance.
    out : Path or str
        Raster to write: band 1 class, 255 no data; band 2 probability of the class.
    bands : Mapping
        Numbers of the bands: green, red and nir, better also swir1.
    mask : Path or str, optional
        Mask of `imagery cloud-mask`: cloud and shadow have no class.
    rules : LandCoverParameters, optional
        Rules.

    Returns
    -------
    dict
        Report: `status`, share of each class, shares masked and without data, warnings.

    Raises
    ------
    BadInputError
        `band_missing`, `no_data`; what the files lack.
    """
    job = _job(scene, mask, bands, ("land_cover",), required=("green", "red", "nir"), rules=rules)
    described = ("land_cover", "probability_of_class")
    shares = np.zeros(len(land_cover.CLASSES) + 1, dtype=np.int64)

    def count(found: Float32Array) -> None:
        known = found[0][np.isfinite(found[0])].astype(np.int64)
        shares[:] += np.bincount(known, minlength=shares.size)

    _, counts, hidden, total, warnings = _write(
        Path(out), job, _CLASS_ENCODING, described, _land_cover_tile, categorical=True, count=count
    )
    if not counts[0]:
        raise BadInputError("no_data", f"{job.scene.name} has no usable pixel: nothing was left by data and mask")
    return {
        "status": "ok",
        "class_shares": {name: int(shares[value]) / int(counts[0]) for name, value in land_cover.CLASS_VALUES.items()},
        "masked_share": hidden / total,
        "no_data_share": 1.0 - (counts[0] + hidden) / total,
        "warnings": warnings,
    }


def _job(
    scene: Path | str,
    mask: Path | str | None,
    bands: Mapping[str, int],
    layers: tuple[str, ...],
    *,
    required: tuple[str, ...],
    cover: vegetation.CoverParameters | None = None,
    rules: land_cover.LandCoverParameters | None = None,
) -> _Job:
    absent = [name for name in required if name not in bands]
    if absent:
        raise BadInputError("band_missing", f"{Path(scene).name}: the bands {', '.join(absent)} are not named")
    return _Job(
        Path(scene),
        None if mask is None else Path(mask),
        dict(bands),
        observed_series.ObservedParameters(),
        layers,
        cover or vegetation.CoverParameters(),
        rules or land_cover.LandCoverParameters(),
    )


def _write(
    out: Path,
    job: _Job,
    encoding: raster_file.Encoding,
    described: tuple[str, ...],
    function: Any,
    *,
    categorical: bool = False,
    count: Any = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int, int, list[str]]:
    """Run over the tiles; sums and counts by band, masked pixels, all pixels, warnings."""
    with raster_file.open_raster(job.scene, reflectance=True) as raster:
        beyond = [f"{name} (band {number})" for name, number in job.bands.items() if not 1 <= number <= raster.count]
        if beyond:
            raise BadInputError("band_missing", f"{raster.name} with {raster.count} bands has no {', '.join(beyond)}")
        sums, counts, hidden = np.zeros(len(described)), np.zeros(len(described), dtype=np.int64), 0
        writer = raster_file.RasterWriter(
            out,
            shape=raster.shape,
            transform=raster.transform,
            crs=raster.crs,
            encoding=encoding,
            descriptions=described,
            categorical=categorical,
        )
        with writer:

            def take(tile: tiling.Tile, made: tuple[Float32Array, int]) -> None:
                nonlocal sums, counts, hidden
                found, masked = made
                writer.write(found, tile.core)
                sums = sums + np.nansum(found, axis=(1, 2), dtype=np.float64)
                counts = counts + np.isfinite(found).sum(axis=(1, 2))
                hidden += masked
                if count is not None:
                    count(found)

            tiling.run(functools.partial(_tile, job, function), tiling.tiles(raster.shape), consume=take)
        return sums, counts, hidden, raster.shape[0] * raster.shape[1], list(raster.warnings)


def _tile(job: _Job, function: Any, tile: tiling.Tile) -> tuple[Float32Array, int]:
    """Layers of one tile and the number of its pixels that the mask took."""
    with raster_file.open_raster(job.scene, reflectance=True) as raster:
        values = raster.read(tile.core, list(job.bands.values()))
        seen = np.isfinite(values).all(axis=0)
        masked = np.zeros_like(seen)
        if job.mask is not None:
            with alignment.opened(job.mask, like=raster, classes=True) as mask:
                classes = mask.read(tile.core, [1])[0]
            unclear = np.isin(classes, (cloud_mask.THIN_CLOUD, cloud_mask.CLOUD, cloud_mask.SHADOW))
            masked = seen & (unclear | ~np.isfinite(classes))
    return function(_fused(values, job, seen & ~masked), job), int(masked.sum())


def _fused(values: Float32Array, job: _Job, usable: npt.NDArray[np.bool_]) -> xr.Dataset:
    """A tile in the shape retrievals read."""
    sigma = job.observed.absolute_sigma + job.observed.relative_sigma * np.abs(values)
    bits = np.where(usable, 0, int(qa.QaBit.NODATA)).astype(np.uint16)
    axes = ("time", "band", "y", "x")
    return xr.Dataset(
        {
            "reflectance": (axes, values[None]),
            "reflectance_sigma": (axes, sigma[None].astype(np.float32)),
            "qa": (("time", "y", "x"), bits[None]),
        },
        coords={"band": list(job.bands), "time": [np.datetime64("2000-01-01", "ns")]},
    )


def _vegetation_tile(fused: xr.Dataset, job: _Job) -> Float32Array:
    reflectance = observation.reflectance(fused.isel(time=[0]))
    ndvi = spectral_index.estimate(reflectance, index="ndvi")
    found = {"ndvi": ndvi, "fractional_cover": vegetation.fractional_cover(ndvi, parameters=job.cover)}
    if "evi" in job.layers:
        found["evi"] = spectral_index.estimate(reflectance, index="evi")
    layers = [found[name].value for name in job.layers] + [found[name].sigma for name in job.layers]
    return np.stack([layer.isel(time=0).values for layer in layers]).astype(np.float32)


def _land_cover_tile(fused: xr.Dataset, job: _Job) -> Float32Array:
    found = land_cover.classify(fused, parameters=job.rules)
    classes = found.land_cover.values.astype(np.float32)
    classes[found.land_cover.values == land_cover.NO_DATA] = np.nan
    return np.stack([classes, found.probability.max("class").values]).astype(np.float32)
