"""Pansharpening beside Orfeo ToolBox and GDAL: run by `make bench`.

Speed: CPU seconds of reading, sharpening with chosen methods, and writing an uncompressed GeoTIFF, against
BundleToPerfectSensor (RCS) and gdal_pansharpen on the same files. Quality: the public WorldView scene degraded by its
ratio (Wald), and simulated sensors, against the same tools. Both tools are Debian's packages unpacked into a cache
folder; where they cannot be fetched, a line says so. The exit code is 1 if a bar is missed.
"""

import argparse
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import imagery_peers
import numpy as np
import rasterio
from affine import Affine

from infra import settings
from infra.imagery import pansharpening, raster_file
from processors.imagery import sharpening_blur, sharpening_quality
from processors.imagery.sharpening_grid import Geometry
from processors.simulation import imagery_sensor

SPEED_BAR = 2.0
"""CPU of BundleToPerfectSensor over ours [1]."""
BROVEY_BAR = 0.85
"""ERGAS over that of Brovey [1]."""
ANGLE_BAR = 1.03
"""Spectral angle over that of interpolation [1]."""
SIDE = 4096
SCENE = Path(__file__).resolve().parents[3] / "shared" / "data" / "imagery" / "spacenet"
SENSORS: tuple[Mapping[str, Any], ...] = (
    {"seed": 41, "ratio": 4, "panchromatic": "visible"},
    {"seed": 42, "ratio": 2, "panchromatic": "visible"},
    {"seed": 43, "ratio": 4, "panchromatic": "broad", "grid_offset": (0.5, 0.25)},
    {"seed": 44, "ratio": 3, "panchromatic": "visible", "bands": ("green", "red", "nir"), "shape": (405, 405)},
    {"seed": 45, "ratio": 2, "panchromatic": "broad", "bands": ("blue", "green", "red", "rededge", "nir")},
    {"seed": 46, "ratio": 4, "panchromatic": "visible", "ms_gain": (0.26, 0.28, 0.29, 0.20)},
)


class Case(NamedTuple):
    """Files of one comparison and the truth."""

    name: str
    ms: Path
    pan: Path
    truth: np.ndarray[Any, Any]
    ratio: float


def otb(root: Path, ms: Path, pan: Path, out: Path, kind: str) -> float:
    """Sharpen by BundleToPerfectSensor; CPU seconds."""
    program = str(root / "usr" / "bin" / "otbApplicationLauncherCommandLine")
    options = ["-inp", str(pan), "-inxs", str(ms), "-out", str(out), kind, "-method", "rcs", "-ram", "512"]
    return imagery_peers.cpu_seconds([program, "BundleToPerfectSensor", *options], imagery_peers.environment(root))


def gdal(root: Path, ms: Path, pan: Path, out: Path) -> float:
    """Sharpen by gdal_pansharpen; CPU seconds."""
    program = str(root / "usr" / "bin" / "gdal_pansharpen.py")
    return imagery_peers.cpu_seconds(
        ["/usr/bin/python3", program, str(pan), str(ms), str(out), "-r", "cubic"], imagery_peers.environment(root)
    )


def write(path: Path, values: np.ndarray[Any, Any], transform: Affine) -> Path:
    """A GeoTIFF of some bands."""
    stack = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path, "w", driver="GTiff", count=stack.shape[0], height=stack.shape[1], width=stack.shape[2],
        dtype=stack.dtype, crs="EPSG:32648", transform=transform,
    ) as file:  # fmt: skip
        file.write(stack)
    return path


def degraded_scene(folder: Path) -> Iterator[Case]:
    """The public scene, its bands the truth."""
    if not SCENE.exists():
        print("quality: the public scene is not there")  # noqa: T201
        return
    with rasterio.open(SCENE / "ms1.tif") as file:
        ms, transform = file.read().astype(np.float32), file.transform
    with rasterio.open(SCENE / "pan1.tif") as file:
        pan = file.read(1).astype(np.float32)
    for pan_gain in (0.15, 0.30):
        bands = np.stack([halved(band, 0.3) for band in ms])
        name = f"public scene, pan gain {pan_gain}"
        coarse = write(folder / f"scene_ms_{pan_gain}.tif", counts(bands), transform @ Affine.scale(2.0))
        fine = write(folder / f"scene_pan_{pan_gain}.tif", counts(halved(pan, pan_gain)), transform)
        yield Case(name, coarse, fine, ms, 2.0)


def counts(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rounded numbers of 16 bit."""
    return np.clip(np.rint(values), 1, 65535).astype(np.uint16)


def halved(plane: np.ndarray[Any, Any], gain: float) -> np.ndarray[Any, Any]:
    """A plane degraded by two."""
    shape = (plane.shape[0] // 2, plane.shape[1] // 2)
    geometry = Geometry((2.0, 2.0), (0.0, 0.0), shape, (plane.shape[0], plane.shape[1]))
    return sharpening_blur.seen_coarsely(plane, geometry, sharpening_blur.width_from_gain(gain))[0]


def simulated(folder: Path) -> Iterator[Case]:
    """Sensors with a near infrared the panchromatic band sees little of, and others; at both scales."""
    for number, options in enumerate(SENSORS):
        sensor = imagery_sensor.simulate_sensor(**{"shape": (400, 400), **options})
        name = f"sensor {number + 1} ({len(sensor.bands)} bands, ratio {sensor.ratio}, {options['panchromatic']})"
        coarse = write(folder / f"sim_ms_{number}.tif", sensor.ms_counts, sensor.ms_grid.transform)
        fine = write(folder / f"sim_pan_{number}.tif", sensor.pan_counts, sensor.pan_grid.transform)
        yield Case(name, coarse, fine, sensor.truth / np.float32(sensor.quantum), sensor.ratio)
        coarse = write(
            folder / f"low_ms_{number}.tif", low(sensor, sensor.reduced_ms), sensor.reduced_ms_grid.transform
        )
        fine = write(folder / f"low_pan_{number}.tif", low(sensor, sensor.reduced_pan), sensor.ms_grid.transform)
        yield Case(f"{name} reduced", coarse, fine, sensor.ms_ideal / np.float32(sensor.quantum), sensor.ratio)


def low(sensor: imagery_sensor.SimulatedSensor, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers of a reduced image."""
    return counts(values / np.float32(sensor.quantum))


def read(path: Path, count: int) -> np.ndarray[Any, Any]:
    """First bands of a file, as values."""
    with raster_file.open_raster(path) as file:
        return file.read(bands=list(range(1, count + 1)))


def figures(image: np.ndarray[Any, Any], case: Case, seen: np.ndarray[Any, Any]) -> tuple[float, float]:
    """ERGAS and spectral angle where all images have data."""
    first, second = image[:, seen][:, None], case.truth[:, seen][:, None]
    return (
        sharpening_quality.ergas(first, second, ratio=case.ratio),
        sharpening_quality.spectral_angle(first, second),
    )


def images_of(case: Case, root: Path | None, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What every tool makes of a case."""
    bands = case.truth.shape[0]
    result = {}
    for name, method in (("ours", None), ("interpolation", "interpolation")):
        pansharpening.run(case.ms, case.pan, folder / "made.tif", method=method, plain=True, sigma=False)
        result[name] = read(folder / "made.tif", bands)
    with rasterio.open(case.pan) as file:
        pan = file.read(1).astype(np.float32)
    intensity = np.maximum(result["interpolation"].mean(axis=0), 1e-6)
    result["brovey"] = result["interpolation"] * (pan / intensity)
    if root is not None:
        otb(root, case.ms, case.pan, folder / "otb.tif", "float")
        gdal(root, case.ms, case.pan, folder / "gdal.tif")
        result["otb"], result["gdal"] = read(folder / "otb.tif", bands), read(folder / "gdal.tif", bands)
    return result


def quality(root: Path | None, folder: Path) -> bool:
    """Print ERGAS and spectral angle of all cases; whether the bars are kept."""
    kept = True
    for case in (*degraded_scene(folder), *simulated(folder)):
        images = images_of(case, root, folder)
        rows, columns = (min(image.shape[axis] for image in images.values()) for axis in (1, 2))
        images = {name: image[:, :rows, :columns] for name, image in images.items()}
        cut = case._replace(truth=case.truth[:, :rows, :columns])
        seen = np.isfinite(images["ours"]).all(axis=0)
        scores = {name: figures(image, cut, seen) for name, image in images.items()}
        ours = scores["ours"]
        good = ours[0] <= BROVEY_BAR * scores["brovey"][0] and ours[1] <= ANGLE_BAR * scores["interpolation"][1]
        good = good and all(ours[0] < scores[name][0] for name in ("otb", "gdal") if name in scores)
        kept = kept and good
        text = "  ".join(f"{name} {error:.3f}/{angle:.3f}" for name, (error, angle) in scores.items())
        print(f"ERGAS/SAM  {case.name}: {text}  {'kept' if good else 'NOT KEPT'}")  # noqa: T201
    return kept


def large_scene(folder: Path) -> tuple[Path, Path]:
    """Files of the speed comparison: a simulated sensor repeated to the size wanted."""
    sensor = imagery_sensor.simulate_sensor(seed=7, shape=(512, 512), ratio=2)
    times = SIDE // 512
    ms, pan = np.tile(sensor.ms_counts, (1, times, times)), np.tile(sensor.pan_counts, (times, times))
    return (
        write(folder / "ms.tif", ms, sensor.ms_grid.transform),
        write(folder / "pan.tif", pan, sensor.pan_grid.transform),
    )


def speed(root: Path | None, folder: Path) -> bool:
    """Print CPU seconds per tool; whether the bar is kept."""
    ms, pan = large_scene(folder)
    amount = SIDE * SIDE * 4 / 1e6
    with raster_file.open_raster(ms) as coarse, raster_file.open_raster(pan) as fine:
        plan = pansharpening.chosen(coarse, fine)
    pansharpening.run(ms, pan, folder / "warm.tif", plain=True, plan=plan)
    ours = {}
    for sigma in (False, True):
        before = resource.getrusage(resource.RUSAGE_SELF)
        pansharpening.run(ms, pan, folder / "ours.tif", plain=True, sigma=sigma, plan=plan)
        after = resource.getrusage(resource.RUSAGE_SELF)
        ours[sigma] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        kind = "bands and sigma bands" if sigma else "bands"
        print(f"speed  ours, {kind}: {ours[sigma]:.2f} s CPU, {amount / ours[sigma]:.1f} Mpx.band/s")  # noqa: T201
    if root is None:
        return True
    peer = otb(root, ms, pan, folder / "otb.tif", "uint16")
    fast = gdal(root, ms, pan, folder / "gdal.tif")
    print(f"speed  BundleToPerfectSensor RCS: {peer:.2f} s CPU, {amount / peer:.1f} Mpx.band/s")  # noqa: T201
    print(f"speed  gdal_pansharpen cubic: {fast:.2f} s CPU, {amount / fast:.1f} Mpx.band/s")  # noqa: T201
    ratio = peer / ours[False]
    verdict = "kept" if ratio >= SPEED_BAR else "NOT KEPT"
    print(f"speed  BundleToPerfectSensor / ours: {ratio:.2f} (bar {SPEED_BAR:g}): {verdict}")  # noqa: T201
    print(f"speed  BundleToPerfectSensor / ours with sigma: {peer / ours[True]:.2f}")  # noqa: T201
    return ratio >= SPEED_BAR


def main() -> int:
    """Run both parts; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("speed", "quality"), help="one part only")
    chosen = parser.parse_args()
    root = imagery_peers.unpacked()
    settings.current()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = []
        if chosen.only != "quality":
            results.append(speed(root, folder))
        if chosen.only != "speed":
            results.append(quality(root, folder))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
