"""Time and memory of packaging a radar scene of full size: rasters, figures of 40 districts, vectors, picture, pages.

Usage: python tests/benchmarks/package_scale.py [rows and columns, 10980 unless given]. Prints one JSON object.
"""

import cProfile
import datetime as dt
import json
import pstats
import resource
import sys
import time

import numpy as np
import rasterio
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import ndimage

from products.sectors import definition, package, statistics

SIZE = 10_980
DISTRICTS = 40
LARGEST = 5.0
"""Memory that packaging may take at most [GB]."""


def blobs(size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes 0 and 1 in areas of many sizes with a nodata margin, and the probability of the class given."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.standard_normal((size // 12 + 2, size // 12 + 2), dtype=np.float32), 2.0)
    field = ndimage.zoom(coarse, 12, order=1)[:size, :size] / coarse.std()
    field += 0.15 * rng.standard_normal(field.shape, dtype=np.float32)
    classes = (field > 1.3).astype(np.uint8)
    probability = 0.5 + 0.5 * np.minimum(np.abs(field - 1.3), 1.0)
    probability[:, : size // 20] = np.nan
    classes[:, : size // 20] = definition.CLASS_NODATA
    return classes, probability


def districts(geobox: GeoBox, *, seed: int) -> list[statistics.Zone]:
    """Voronoi cells of random places."""
    rng = np.random.default_rng(seed)
    box = geobox.extent.boundingbox
    places = np.column_stack([rng.uniform(box.left, box.right, DISTRICTS), rng.uniform(box.bottom, box.top, DISTRICTS)])
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(places), extend_to=shapely.box(*box.bbox)))
    return [
        statistics.Zone(
            code=f"5001{n:02d}", name_en=f"District {n}", name_zh=f"第{n}区", geometry=cell, crs="EPSG:32648"
        )
        for n, cell in enumerate(cells)
    ]


def declared() -> definition.ProductDefinition:
    """A flood product of two classes, of which the second is outlined."""
    return definition.ProductDefinition(
        code="scale-flood",
        sector="emergency",
        title_en="Flood",
        title_zh="洪水",
        description_en="Blobs.",
        description_zh="斑块。",
        kind="class",
        layers=(definition.ProductLayer(name="flood", title_en="Flood", title_zh="洪水"),),
        classes=(
            definition.ProductClass(value=0, name_en="Dry", name_zh="陆地", colour="#ece7dc"),
            definition.ProductClass(value=1, name_en="Flood", name_zh="洪水", colour="#d7301f"),
        ),
        required_bands=(),
        minimum_dates=1,
        latency_target=dt.timedelta(minutes=30),
        validity="rapid",
        algorithm=declared,
        parameters=package.QualityLimits(),
        outlined=(1,),
    )


def main() -> None:
    """Package once and tell what it took."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    geobox = GeoBox((size, size), rasterio.Affine(10, 0, 600_000, 0, -10, 3_300_000), "EPSG:32648")
    classes, probability = blobs(size, seed=1)
    known = classes != definition.CLASS_NODATA
    moment = dt.datetime(2026, 7, 1, 10, 30, tzinfo=dt.UTC)
    layers = definition.SectorLayers(
        data=xr.Dataset({"flood": (("y", "x"), classes)}),
        uncertainty=xr.Dataset({"flood": (("y", "x"), probability)}),
        dates=np.array([0]),
    )
    subject = package.Subject(
        area="scale",
        geobox=geobox,
        qa=np.where(known, 0, 1).astype(np.uint16),
        clear_looks=known.astype(np.uint16),
        evidence=statistics.Evidence(known, np.zeros_like(known)),
        start=moment,
        end=moment,
        dates=1,
        bands=(),
        inputs=({"id": "scene"},),
        footprint=package.footprint(known, geobox),
    )
    zones = districts(geobox, seed=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch = cProfile.Profile()
    start = time.perf_counter()
    built = watch.runcall(package.assemble, layers, subject, definition=declared(), zones=zones)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pstats.Stats(watch, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
    found = {
        "size": size,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_gb": round(after / 2**20, 2),
        "peak_before_gb": round(before / 2**20, 2),
        "within_memory": after / 2**20 <= LARGEST,
        "bytes": {name: len(asset.content) for name, asset in built.assets.items()},
    }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
