"""Change between two rasters: the whole is judged on a sample of its pixels, the map is made tile by tile."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from infra.imagery import raster_file, tiling
from infra.surface import alignment
from processors.quality import BadInputError
from retrieval.surface import multivariate_change

ENCODING = raster_file.Encoding("float32", (1.0, 1.0), (0.0, 0.0), 255.0)
SAMPLE = 700
"""Rows and columns of the sample that is judged [1]."""


class _Job(NamedTuple):
    before: Path
    after: Path
    bands: tuple[int, ...]
    alteration: multivariate_change.Alteration
    null: multivariate_change.Unchanged
    parameters: multivariate_change.ChangeParameters


def run(
    before: Path | str,
    after: Path | str,
    out: Path | str,
    *,
    bands: Sequence[int] | None = None,
    parameters: multivariate_change.ChangeParameters | None = None,
) -> dict[str, Any]:
    """Map what changed between two dates.

    Parameters
    ----------
    before, after : Path or str
        Rasters of the same bands in the same order; the second is brought onto the grid of the first.
    out : Path or str
        Raster to write: band 1 changed 0 or 1, band 2 probability; 255 no data.
    bands : sequence of int, optional
        Bands from 1; default all.
    parameters : ChangeParameters, optional
        Choices.

    Returns
    -------
    dict
        Report: `status`, shares changed and without data, canonical correlations, what unchanged looks like, warnings.

    Raises
    ------
    BadInputError
        `band_missing` where the bands do not match; `too_few_pixels`, `band_constant`; what the files lack.
    """
    chosen = parameters or multivariate_change.ChangeParameters()
    with (
        raster_file.open_raster(Path(before)) as first,
        alignment.opened(Path(after), like=first) as second,
    ):
        used = _bands(first, second.raster, bands)
        old, new = _sampled(first, second, used)
        alteration = multivariate_change.fit(old, new, parameters=chosen)
        sizes = multivariate_change.chi_square(old, new, alteration)
        null = multivariate_change.unchanged(sizes, bands=len(used), parameters=chosen)
        job = _Job(Path(before), Path(after), used, alteration, null, chosen)
        counts = _write(Path(out), first, job)
        warnings = [*first.warnings, *second.raster.warnings]
    return _report(job, counts, warnings)


def _bands(
    first: raster_file.RasterFile, second: raster_file.RasterFile, wanted: Sequence[int] | None
) -> tuple[int, ...]:
    if wanted is None and first.count != second.count:
        raise BadInputError(
            "band_missing",
            f"{first.name} has {first.count} bands, {second.name} {second.count}: state which to compare",
        )
    used = tuple(wanted or range(1, first.count + 1))
    for raster in (first, second):
        beyond = [str(number) for number in used if not 1 <= number <= raster.count]
        if beyond:
            raise BadInputError("band_missing", f"{raster.name} has no band {', '.join(beyond)}")
    return used


def _sampled(
    first: raster_file.RasterFile, second: alignment.Aligned, bands: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Every so many rows and columns of both, pixels with data on both dates alone."""
    step = max(1, -(-max(first.shape) // SAMPLE))
    olds, news = [], []
    for row in range(step // 2, first.shape[0], step):
        line = Window(0, row, first.shape[1], 1)
        old, new = (part.read(line, bands)[:, 0, step // 2 :: step] for part in (first, second))
        known = np.isfinite(old).all(axis=0) & np.isfinite(new).all(axis=0)
        olds.append(old[:, known])
        news.append(new[:, known])
    return _pixels(olds), _pixels(news)


def _pixels(lines: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    joined: npt.NDArray[np.float64] = np.concatenate(lines, axis=1).T.astype(np.float64)
    return joined


def _write(out: Path, raster: raster_file.RasterFile, job: _Job) -> npt.NDArray[np.int64]:
    """Write the map; counts of unchanged, changed, no data."""
    counts = np.zeros(3, dtype=np.int64)
    writer = raster_file.RasterWriter(
        out,
        shape=raster.shape,
        transform=raster.transform,
        crs=raster.crs,
        encoding=ENCODING,
        descriptions=("changed", "probability_of_change"),
        categorical=True,
    )
    with writer:

        def take(tile: tiling.Tile, found: npt.NDArray[np.float32]) -> None:
            nonlocal counts
            writer.write(found, tile.core)
            counts += [(found[0] == 0).sum(), (found[0] == 1).sum(), np.isnan(found[0]).sum()]

        parts = tiling.tiles(raster.shape, halo=multivariate_change.REACH)
        tiling.run(functools.partial(_tile, job), parts, consume=take)
    return counts


def _tile(job: _Job, tile: tiling.Tile) -> npt.NDArray[np.float32]:
    with (
        raster_file.open_raster(job.before) as first,
        alignment.opened(job.after, like=first) as second,
    ):
        old, new = (part.read(tile.padded, job.bands) for part in (first, second))
    found = multivariate_change.classify(old, new, alteration=job.alteration, null=job.null, parameters=job.parameters)
    inner = tile.inner
    classes = np.where(found.changed[inner] == multivariate_change.NO_DATA, np.nan, found.changed[inner])
    return np.stack([classes, found.probability[inner]]).astype(np.float32)


def _report(job: _Job, counts: npt.NDArray[np.int64], warnings: list[str]) -> dict[str, Any]:
    total = int(counts.sum())
    return {
        "status": "ok",
        "changed_share": float(counts[1] / max(counts[:2].sum(), 1)),
        "no_data_share": float(counts[2] / total),
        "iterations": job.alteration.iterations,
        "canonical_correlation": job.alteration.correlation.tolist(),
        "unchanged_share_of_sample": job.null.share,
        "bands": list(job.bands),
        "warnings": warnings,
    }
