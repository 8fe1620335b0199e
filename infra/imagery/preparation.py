"""From delivered scene to analysis-ready raster in one go: masked, co-registered, sharpened and on the wanted grid.

Sharpened values are made where the wanted grid needs them and interpolated once: the correction of the co-registration
and the reprojection are one placement, and no sharpened raster on the sensor's grid is ever written.
"""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from infra.imagery import cloud_mask, coregistration, pansharpening, raster_file, tiling
from processors.imagery import cloud_mask as mask_classes
from processors.imagery import coregistration as registration
from processors.imagery import grid, qa, resampling, sharpening_grid
from processors.imagery import pansharpening as sharpening
from processors.quality import BadInputError


class _Scene(NamedTuple):
    """What every tile must know."""

    ms: Path
    pan: Path
    mask: Path | None
    plan: sharpening.Plan
    pan_transform: Affine
    """Pixel to map of the panchromatic raster after the correction."""
    mask_transform: Affine
    """The same of the mask."""
    crs: str
    geobox: GeoBox
    bits: int
    """Quality bits of the whole scene."""
    sigma: bool


class _Made(NamedTuple):
    values: npt.NDArray[np.float32]
    bits: npt.NDArray[np.float32]


def run(
    ms: Path | str,
    pan: Path | str,
    out: Path | str,
    *,
    geobox: GeoBox,
    reference: Path | str | None = None,
    bands: Mapping[str, int] | None = None,
    sun_azimuth: float | None = None,
    sun_elevation: float | None = None,
    dem: Path | str | None = None,
    sigma: bool = True,
) -> dict[str, Any]:
    """Prepare a scene of a multispectral and a panchromatic raster.

    Parameters
    ----------
    ms, pan : Path or str
        The scene.
    out : Path or str
        Sharpened bands, then their sigmas, stored as the multispectral raster stores its bands; beside it
        `<stem>_qa.tif` with the quality bits.
    geobox : GeoBox
        The wanted grid.
    reference : Path or str, optional
        Raster whose place is trusted; without it nothing is corrected.
    bands : Mapping[str, int], optional
        Number of every multispectral band by name, for the cloud mask; without it nothing is masked.
    sun_azimuth, sun_elevation : float, optional
        Position of the sun [degree].
    dem : Path or str, optional
        Heights of the ground [m].
    sigma : bool
        Whether sigma bands are written.

    Returns
    -------
    dict
        The reports of the steps, the share of the grid with data, warnings; `flagged` where a step has doubts, or where
        the co-registration was refused (the raster then lies where it was delivered, and says so in its quality bits).

    Raises
    ------
    BadInputError
        What a step refuses its input for; `outside_area` where the grid and the scene have nothing in common.
    """
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=Path(out).parent) as folder:
        mask, masked = _masked(Path(ms), Path(folder), bands, sun_azimuth, sun_elevation, dem)
        scene, inputs, report = _planned(Path(ms), Path(pan), mask, geobox, reference, sigma=sigma)
        covered = _written(scene, inputs, Path(out))
    remarks = [*masked.get("warnings", ()), *report.pop("warnings")]
    return {
        "status": "flagged" if scene.bits or scene.plan.warnings or masked.get("status") == "flagged" else "ok",
        **report,
        "mask": masked or None,
        "covered": covered,
        "crs": str(geobox.crs),
        "shape": list(geobox.shape),
        "warnings": remarks,
    }


def _masked(
    ms: Path,
    folder: Path,
    bands: Mapping[str, int] | None,
    sun_azimuth: float | None,
    sun_elevation: float | None,
    dem: Path | str | None,
) -> tuple[Path | None, dict[str, Any]]:
    if bands is None:
        return None, {}
    mask = folder / "mask.tif"
    report = cloud_mask.run(ms, mask, bands=bands, sun_azimuth=sun_azimuth, sun_elevation=sun_elevation, dem=dem)
    return mask, report


class _Inputs(NamedTuple):
    encoding: raster_file.Encoding
    names: tuple[str, ...]


def _planned(
    ms: Path, pan: Path, mask: Path | None, geobox: GeoBox, reference: Path | str | None, *, sigma: bool
) -> tuple[_Scene, _Inputs, dict[str, Any]]:
    """Methods and displacement of the scene."""
    with raster_file.open_raster(ms) as coarse, raster_file.open_raster(pan) as fine:
        if fine.geobox is None:
            raise BadInputError("crs_missing", f"{pan.name} states no coordinate reference system")
        grid.check_place(fine.geobox)
        plan = pansharpening.chosen(coarse, fine)
        found = _displacement(reference, fine)
        corrected = registration.corrected_transform(fine.transform, found.displacement) if found else fine.transform
        moved = corrected @ ~fine.transform
        bits = int(qa.QaBit.COREGISTRATION_FAILED) if found and found.status == "refused" else 0
        crs = fine.crs.to_wkt()
        scene = _Scene(ms, pan, mask, plan, corrected, moved @ coarse.transform, crs, geobox, bits, sigma)
        remarks = [*coarse.warnings, *fine.warnings, *plan.warnings]
        inputs = _Inputs(coarse.encoding, coarse.descriptions)
    if found and found.status == "refused":
        remarks.append(f"co-registration refused, the scene lies where it was delivered: {found.reason}")
    return scene, inputs, {"methods": list(plan.methods), "coregistration": _short(found), "warnings": remarks}


def _displacement(reference: Path | str | None, pan: raster_file.RasterFile) -> registration.Coregistration | None:
    if reference is None:
        return None
    with raster_file.open_raster(reference) as trusted:
        return coregistration.estimate(trusted, pan)


def _short(found: registration.Coregistration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    names = ("status", "reason", "model", "shift_x", "shift_y", "n_tie_points", "rmse", "ce90")
    return {name: getattr(found, name) for name in names}


def _written(scene: _Scene, inputs: _Inputs, out: Path) -> float:
    """Write the result and its quality bits; the share of the grid with data."""
    names = inputs.names + (tuple(f"{name}_sigma" for name in inputs.names) if scene.sigma else ())
    encoding = raster_file.fused_encoding(inputs.encoding) if scene.sigma else inputs.encoding
    shape = (int(scene.geobox.shape[0]), int(scene.geobox.shape[1]))
    opened = partial(
        raster_file.RasterWriter,
        shape=shape,
        transform=scene.geobox.transform,
        crs=grid.system(scene.geobox).to_wkt(),
    )
    flags = raster_file.Encoding("uint16", (1.0,), (0.0,), 65535)
    beside = out.with_name(f"{out.stem}_qa.tif")
    count = 0
    with (
        opened(out, encoding=encoding, descriptions=names) as values,
        opened(beside, encoding=flags, descriptions=["qa"], categorical=True) as bits,
    ):

        def consume(tile: tiling.Tile, made: _Made) -> None:
            nonlocal count
            count += int(np.isfinite(made.values).any(axis=0).sum())
            values.write(made.values, tile.core)
            bits.write(made.bits[None], tile.core)

        tiling.run(partial(_tile, scene), tiling.tiles(shape), consume=consume)
        if count == 0:
            raise BadInputError("outside_area", f"{scene.pan.name} holds no data within the wanted grid")
    return count / (shape[0] * shape[1])


def _tile(scene: _Scene, tile: tiling.Tile) -> _Made:
    core = tile.core
    block = resampling.Block(int(core.row_off), int(core.col_off), int(core.height), int(core.width))
    values = _sharpened(scene, block)
    bits = np.full((block.rows, block.columns), float(scene.bits), dtype=np.float32)
    if scene.mask is not None:
        bits += _mask_bits(scene, block)
    bits[~np.isfinite(values).any(axis=0)] = float(qa.QaBit.NODATA)
    return _Made(values, bits)


def _placement(scene: _Scene, transform: Affine, block: resampling.Block) -> resampling.Placement:
    locate = resampling.affine_locator(transform, crs=scene.crs, target_crs=grid.system(scene.geobox).to_wkt())
    return resampling.place(scene.geobox, locate, block=block)


def _sharpened(scene: _Scene, block: resampling.Block) -> npt.NDArray[np.float32]:
    """Sharpened values at a block of the wanted grid."""
    placement = _placement(scene, scene.pan_transform, block)
    part = resampling.source_block(placement, scene.plan.geometry.pan_shape)
    count = scene.plan.recipe.bands * (2 if scene.sigma else 1)
    if part.rows == 0:
        return np.full((count, block.rows, block.columns), np.nan, dtype=np.float32)
    span = sharpening_grid.Span
    core = sharpening_grid.Box(span(part.row, part.row + part.rows), span(part.column, part.column + part.columns))
    need = sharpening.needed(core, plan=scene.plan)
    with raster_file.open_raster(scene.ms) as coarse, raster_file.open_raster(scene.pan) as fine:
        low, high = coarse.read(_window(need.ms)), fine.read(_window(need.pan))[0]
    made = sharpening.sharpen(low, high, plan=scene.plan, core=core, ms_at=need.ms, pan_at=need.pan, sigma=scene.sigma)
    values = made.both if scene.sigma else made.values
    method = resampling.method_for(placement.scale)
    return resampling.sample(values, placement, origin=(part.row, part.column), resampling=method)


def _mask_bits(scene: _Scene, block: resampling.Block) -> npt.NDArray[np.float32]:
    """Quality bits of cloud and shadow at a block of the wanted grid."""
    placement = _placement(scene, scene.mask_transform, block)
    with raster_file.open_raster(scene.mask or scene.ms) as mask:
        part = resampling.source_block(placement, mask.shape)
        if part.rows == 0:
            return np.zeros((block.rows, block.columns), dtype=np.float32)
        classes = mask.read(Window(part.column, part.row, part.columns, part.rows), [1])
    found = resampling.sample(classes, placement, origin=(part.row, part.column), resampling="nearest")[0]
    cloud = np.isin(found, (mask_classes.THIN_CLOUD, mask_classes.CLOUD))
    shadow = found == mask_classes.SHADOW
    bits = cloud * float(qa.QaBit.CLOUD) + shadow * float(qa.QaBit.SHADOW)
    return np.asarray(bits, dtype=np.float32)


def _window(box: sharpening_grid.Box) -> Window:
    rows, columns = box.shape
    return Window(box.columns.start, box.rows.start, columns, rows)
