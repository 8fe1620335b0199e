"""The whole way from a delivered scene to an analysis-ready raster, beside GDAL's tools alone: run by `make bench`.

A panchromatic band of 10980 x 10980 and four bands of 5490 x 5490 are masked, co-registered, sharpened, reprojected and
written as a cloud-optimized GeoTIFF with overviews and sigma bands. CPU seconds against gdal_pansharpen, gdalwarp
(bilinear) and gdal_translate to COG, one after the other, without mask, co-registration and sigma; peak memory of the
process. Reprojection alone against gdalwarp, both to uncompressed files. The exit code is 1 if a bar is missed.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagery_peers
import numpy as np
import rasterio
import threadpoolctl
from rasterio import Affine
from scipy import ndimage

from infra.imagery import preparation, reprojection, target_grid

SIDE = 10_980
CHAIN_BAR = 3.0
"""CPU of ours over that of the tools [1]."""
MEMORY_BAR = 2.0
"""Peak resident memory [GB]."""
WARP_BAR = 1.0
"""CPU of our reprojection over that of gdalwarp [1]."""
BANDS = {"blue": 1, "green": 2, "red": 3, "nir": 4}


def write(path: Path, values: np.ndarray[Any, Any], resolution: float) -> Path:
    """A tiled GeoTIFF of reflectance in ten thousandths."""
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2], dtype="uint16",
        crs="EPSG:32648", nodata=0, tiled=True, transform=Affine(resolution, 0, 600_000, 0, -resolution, 3_310_000),
    ) as file:  # fmt: skip
        file.write(np.clip(values, 1, 9999).astype(np.uint16))
        file.scales = (1e-4,) * len(values)
    return path


def scene(folder: Path, side: int) -> dict[str, Path]:
    """Files of a scene of broad structure and fine texture, and a reference displaced by part of a pixel."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    broad = ndimage.gaussian_filter(rng.standard_normal((side // 8 + 1,) * 2, dtype=np.float32), 2)
    broad = ndimage.zoom(broad / broad.std(), 8, order=1)[:side, :side]
    fine = ndimage.gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 0.8)
    pan = 1500 + 300 * broad + 120 * fine / fine.std()
    low = pan.reshape(side // 2, 2, side // 2, 2).mean((1, 3))
    bands = np.stack([low * gain + offset for gain, offset in ((0.8, 100), (0.9, 50), (1.0, 0), (1.4, 800))])
    bands += 20 * rng.standard_normal(bands.shape, dtype=np.float32)
    return {
        "pan": write(folder / "pan.tif", pan[None], 5.0),
        "ms": write(folder / "ms.tif", bands, 10.0),
        "reference": write(
            folder / "reference.tif", ndimage.shift(low, (0.4, -0.7), order=3, mode="nearest")[None], 10.0
        ),
    }


def _measured(work: Callable[..., Any], small: dict[str, Any], words: dict[str, Any], pipe: Any) -> None:
    # A small one first: what is compiled at first use is no part of a scene's cost.
    with threadpoolctl.threadpool_limits(limits=1):
        work(**small)
        before = resource.getrusage(resource.RUSAGE_SELF)
        work(**words)
        after = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pipe.send((spent, int(peak.split()[1]) * 1024 / 1e9))


def measured(work: Callable[..., Any], small: dict[str, Any], **words: Any) -> tuple[float, float]:
    """CPU seconds and peak memory [GB] of a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measured, args=(work, small, words, theirs))
    process.start()
    result: tuple[float, float] = ours.recv()
    process.join()
    return result


def prepare(files: dict[str, Path], out: Path) -> None:
    """The whole chain, as the command does it."""
    geobox = target_grid.wanted(files["pan"], crs="EPSG:4545", resolution=5.0)
    made = preparation.run(
        files["ms"], files["pan"], out, geobox=geobox, reference=files["reference"], bands=BANDS,
        sun_azimuth=140.0, sun_elevation=50.0,
    )  # fmt: skip
    if made["coregistration"]["status"] != "ok":
        raise RuntimeError(made["coregistration"]["reason"])


def reproject(source: Path, out: Path) -> None:
    """Reprojection alone."""
    geobox = target_grid.wanted(source, crs="EPSG:4545", resolution=10.0)
    reprojection.run(source, out, geobox=geobox, method="bilinear", plain=True)


def tools(root: Path, files: dict[str, Path], folder: Path) -> float:
    """CPU seconds of sharpening, warping and writing by GDAL's tools."""
    program = root / "usr" / "bin"
    variables = imagery_peers.environment(root)
    steps = (
        ["/usr/bin/python3", program / "gdal_pansharpen.py", "-r", "cubic", files["pan"], files["ms"],
         folder / "1.tif"],
        [program / "gdalwarp", "-r", "bilinear", "-wm", "512", "-t_srs", "EPSG:4545", "-tr", "5", "5", folder / "1.tif",
         folder / "2.tif"],
        [program / "gdal_translate", "-of", "COG", "-co", "COMPRESS=ZSTD", "-co", "LEVEL=1", "-co", "PREDICTOR=2",
         "-co", "OVERVIEW_RESAMPLING=AVERAGE", folder / "2.tif", folder / "3.tif"],
    )  # fmt: skip
    spent = [imagery_peers.cpu_seconds([str(word) for word in step], variables) for step in steps]
    print(f"tools  pansharpen {spent[0]:.1f}, warp {spent[1]:.1f}, COG {spent[2]:.1f} s CPU")  # noqa: T201
    return sum(spent)


def warp(root: Path, source: Path, out: Path) -> float:
    """CPU seconds of gdalwarp."""
    command = [
        root / "usr" / "bin" / "gdalwarp",
        "-r",
        "bilinear",
        "-wm",
        "512",
        "-t_srs",
        "EPSG:4545",
        "-tr",
        "10",
        "10",
    ]
    words = [str(word) for word in (*command, source, out)]
    return imagery_peers.cpu_seconds(words, imagery_peers.environment(root))


def main() -> int:
    """Run both parts; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=SIDE, help="rows and columns of the panchromatic band")
    side = parser.parse_args().side
    root = imagery_peers.unpacked()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, small = scene(folder, side), scene(folder / "small", 800)
        first = {"files": small, "out": folder / "small" / "ours.tif"}
        ours, memory = measured(prepare, first, files=files, out=folder / "ours.tif")
        print(f"chain  ours: {ours:.1f} s CPU, {memory:.2f} GB")  # noqa: T201
        kept = memory < MEMORY_BAR
        first = {"source": small["ms"], "out": folder / "small" / "warped.tif"}
        moved, _ = measured(reproject, first, source=files["ms"], out=folder / "warped.tif")
        if root is not None:
            theirs = tools(root, files, folder)
            kept = kept and ours <= CHAIN_BAR * theirs
            print(f"chain  ours / tools: {ours / theirs:.2f} (bar {CHAIN_BAR:g})")  # noqa: T201
            peer = warp(root, files["ms"], folder / "gdal.tif")
            kept = kept and moved <= WARP_BAR * peer
            print(f"warp   ours {moved:.1f}, gdalwarp {peer:.1f} s CPU: {moved / peer:.2f} (bar {WARP_BAR:g})")  # noqa: T201
    print(f"imagery chain: {'kept' if kept else 'NOT KEPT'}")  # noqa: T201
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
