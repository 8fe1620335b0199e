"""Sector products from a real year of Sentinel-1 and Sentinel-2 over one square kilometre of farmland.

The reference is itself the output of a model and not ground truth, and the rules were set with this landscape in
view: the comparison shows that the products are sensible, it is no validation.
"""

import numpy as np
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio import io as raster_io

from processors.imagery import grid
from processors.imagery import qa as qa_bits
from products.sectors import definition, package, registry
from retrieval.surface import land_cover

pytestmark = pytest.mark.oracle

SENTINEL2 = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "swir1": "B11", "swir2": "B12"}


@pytest.fixture(scope="module")
def fused(shared_data) -> xr.Dataset:
    folder = shared_data("imagery/worldcereal")
    with xr.open_dataset(folder / "worldcereal_preprocessed_inputs.nc") as stack:
        counts = np.stack([stack[f"S2-L2A-{band}"].values.astype(np.float64) for band in SENTINEL2.values()], axis=1)
        radar = np.stack([stack[f"S1-SIGMA0-{name}"].values.astype(np.float64) for name in ("VV", "VH")], axis=1)
        x, y, time = stack["x"].values, stack["y"].values, stack["t"].values
    reflectance = np.where(counts == 65535, np.nan, counts / 10_000).astype(np.float32)
    qa = np.where(np.isnan(reflectance).any(axis=1), int(qa_bits.QaBit.NODATA), 0).astype(np.uint16)
    dims = ("time", "band", "y", "x")
    dataset = xr.Dataset(
        {
            "reflectance": (dims, reflectance),
            "reflectance_sigma": (dims, (0.005 + 0.03 * reflectance).astype(np.float32)),
            "backscatter": (("time", "polarization", "y", "x"), (20 * np.log10(radar) - 83).astype(np.float32)),
            "qa": (("time", "y", "x"), qa),
        },
        coords={"time": time, "band": list(SENTINEL2), "polarization": ["vv", "vh"]},
        attrs={"area": "worldcereal", "inputs": ["worldcereal_preprocessed_inputs.nc"]},
    )
    transform = rasterio.Affine(10, 0, x[0] - 5, 0, -10, y[0] + 5)
    return grid.assign(dataset, GeoBox((y.size, x.size), transform, "EPSG:32631"))


@pytest.fixture(scope="module")
def cropland_reference(shared_data) -> np.ndarray:
    folder = shared_data("imagery/worldcereal")
    with xr.open_dataset(folder / "worldcereal_cropland_classification.nc") as reference:
        layer = reference["__xarray_dataarray_variable__"].sel(bands="probability_cropland")
        return layer.values >= 50


def first_band(content: bytes) -> np.ndarray:
    with raster_io.MemoryFile(content) as file, file.open() as raster:
        return raster.read(1)


def test_every_product_is_made_with_the_dates_that_hold_data(fused):
    refused = {}
    for product in registry.definitions():
        try:
            built = package.build(fused, definition=product)
        except definition.NotApplicableError as error:
            refused[product.code] = error.cause
            continue
        assert built.quality["level"] == "nominal", product.code
        assert built.statistics["area"]["area_m2"] == pytest.approx(1e6, rel=1e-3)
    # A square of farmland without heights, footprints of buildings, a river to look for ships on, or roads supplied.
    assert refused == {
        "landslide-candidates": "layer_missing",
        "damage-grades": "layer_missing",
        "ship-detection": "no_water",
        "exposed-segments": "segments_missing",
    }
    assert package.build(fused, definition=registry.definition_of("land-cover")).quality["dates_used"] == 10


def test_cropland_agrees_with_the_reference_beyond_chance(fused, cropland_reference):
    built = package.build(fused, definition=registry.definition_of("land-cover"))
    found = first_band(built.assets["data.tif"].content) == land_cover.CLASS_VALUES["cropland"]
    overlap = (found & cropland_reference).sum() / (found | cropland_reference).sum()
    assert overlap > 0.7
    assert 0.2 < found.mean() < 0.6


def test_crops_are_greener_at_their_peak_than_at_the_end(fused, cropland_reference):
    built = package.build(fused, definition=registry.definition_of("crop-vigour"))
    peak, integral, anomaly = (layer["mean"] for layer in built.statistics["area"]["layers"])
    assert 0.7 < peak < 0.95
    assert 60 < integral < 250
    assert -0.4 < anomaly < 0.3


def test_dry_farmland_shows_no_water_and_no_flood(fused):
    extent = package.build(fused, definition=registry.definition_of("open-water-extent"))
    assert extent.statistics["area"]["classes"][1]["share"] < 0.01
    anomaly = package.build(fused, definition=registry.definition_of("surface-water-anomaly"))
    assert anomaly.statistics["area"]["classes"][2]["share"] < 0.01


def test_forgetting_the_number_for_no_data_would_be_noticed(fused):
    wrong = fused.copy(deep=True)
    wrong["reflectance"] = wrong["reflectance"].fillna(6.5535)
    wrong["reflectance_sigma"] = wrong["reflectance_sigma"].fillna(0.2)
    with_gaps = package.build(wrong, definition=registry.definition_of("vegetation-cover"))
    without = package.build(fused, definition=registry.definition_of("vegetation-cover"))
    assert with_gaps.assets["data.tif"].content == without.assets["data.tif"].content
    assert with_gaps.quality["clear_share"] == without.quality["clear_share"]
