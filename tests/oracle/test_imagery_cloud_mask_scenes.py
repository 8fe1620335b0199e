"""Cloud mask on real land: no cloud where there is none, and clouds pasted over it with exact truth."""

import re

import numpy as np
import pytest
import rasterio

from processors.imagery import cloud_mask, terrain_shading
from processors.simulation import imagery_clouds

pytestmark = pytest.mark.oracle

SOLAR_IRRADIANCE = {"blue": 1958.0, "green": 1827.0, "red": 1551.0, "nir": 1036.0, "swir1": 214.9, "swir2": 80.65}
"""Of Landsat-5 (Chander et al. 2009, table 5) [W m-2 um-1]."""
LANDSAT_BANDS = dict(zip(cloud_mask.BANDS, (1, 2, 3, 4, 5, 7), strict=True))
SUN_DISTANCE = 1.0128
"""On day 227 [astronomical unit]."""


@pytest.fixture(scope="module")
def reservoir(shared_data) -> dict[str, np.ndarray]:
    """Landsat-5 over forest and a reservoir with drowned valleys, at the top of the atmosphere."""
    folder = shared_data("imagery/rstoolbox")
    text = (folder / "LT52240631988227CUB02_MTL.txt").read_text()

    def stated(name: str) -> float:
        return float(re.search(name + r" = ([-\d.E+]+)", text).group(1))

    scene = {}
    for name, number in LANDSAT_BANDS.items():
        with rasterio.open(folder / f"LT52240631988227CUB02_B{number}.TIF") as raster:
            counts = raster.read(1).astype(np.float64)
        radiance = stated(f"RADIANCE_MULT_BAND_{number}") * counts + stated(f"RADIANCE_ADD_BAND_{number}")
        height = np.sin(np.radians(stated("SUN_ELEVATION")))
        scene[name] = (np.pi * radiance * SUN_DISTANCE**2 / (SOLAR_IRRADIANCE[name] * height)).astype(np.float32)
    return scene


@pytest.fixture(scope="module")
def desert(shared_data) -> dict[str, np.ndarray]:
    folder = shared_data("imagery/sentinel2_chip")
    scene = {}
    for name in cloud_mask.BANDS:
        with rasterio.open(f"NETCDF:{folder / f'{name}_band.nc'}") as raster:
            scene[name] = raster.read(1).astype(np.float32) * np.float32(1e-4)
    return scene


def test_clear_real_scenes_have_no_cloud_and_the_reservoir_is_water(reservoir, desert):
    wet = cloud_mask.detect(reservoir, view=cloud_mask.View((-30.0, 30.0), terrain_shading.Sun(61.97, 49.76))).classes
    dry = cloud_mask.detect(desert, view=cloud_mask.View((-10.0, 10.0))).classes
    for classes in (wet, dry):
        assert np.isin(classes, (1, 2)).mean() < 0.005
        assert (classes == cloud_mask.SHADOW).mean() < 0.005
    assert 0.10 < (wet == cloud_mask.WATER).mean() < 0.16
    assert (dry == cloud_mask.WATER).mean() < 0.005


@pytest.mark.parametrize("name", ["reservoir", "desert"])
@pytest.mark.parametrize("count", [4, 6])
def test_clouds_pasted_over_real_land_are_found_with_their_shadows(name, count, request):
    bands = cloud_mask.BANDS[:count]
    scene = np.stack([request.getfixturevalue(name)[band] for band in bands])
    flat = np.zeros(scene.shape[1:], dtype=np.float32)
    sun, results = terrain_shading.Sun(140.0, 55.0), []
    for seed in range(4):
        choices = {"pixel_size": 20.0, "sun_elevation": sun.elevation}
        layers = imagery_clouds.simulate_layers(flat, seed=seed, cloud_fraction=0.25, thin_fraction=0.0, **choices)
        rng = np.random.default_rng(seed)
        seen = imagery_clouds.cover(scene, layers, flat, bands=bands, sun_azimuth=sun.azimuth, rng=rng, **choices)
        view = cloud_mask.View((-20.0, 20.0), sun)
        found = cloud_mask.detect(dict(zip(bands, seen.reflectance, strict=True)), view=view).classes
        pairs = ((seen.cloud, np.isin(found, (1, 2))), (seen.shadow, found == cloud_mask.SHADOW))
        results.append([0.5 * (mask[truth].mean() + (~mask[~truth]).mean()) for truth, mask in pairs])
    cloud, shadow = np.mean(results, axis=0)
    assert cloud >= 0.95
    assert shadow >= 0.85
