"""Whatever the input, probabilities stay probabilities and nothing is classified over missing data."""

import numpy as np
import rasterio
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from odc.geo.geobox import GeoBox

from processors.imagery import grid
from processors.imagery import qa as qa_bits
from products import exposure
from products.sectors import definition, exposed_segments, registry
from retrieval.surface import observation, spectral_index, water

BANDS = ("blue", "green", "red", "nir", "swir1")
SHAPE = (4, len(BANDS), 2, 3)
GEOBOX = GeoBox((2, 3), rasterio.Affine(10, 0, 600_000, 0, -10, 3_270_000), "EPSG:32648")

spectra = arrays.arrays(np.float32, SHAPE, elements=st.one_of(st.floats(-0.015625, 1.25, width=32), st.just(np.nan)))
sigmas = st.floats(0.0, 0.3)
flags = arrays.arrays(np.uint16, (4, 2, 3), elements=st.integers(0, 2**10 - 1))
radar = arrays.arrays(np.float32, (4, 2, 2, 3), elements=st.one_of(st.floats(-40, 10, width=32), st.just(np.nan)))


def fused(values: np.ndarray, sigma: float, qa: np.ndarray, backscatter: np.ndarray) -> xr.Dataset:
    dims = ("time", "band", "y", "x")
    dataset = xr.Dataset(
        {
            "reflectance": (dims, values),
            "reflectance_sigma": (dims, np.full_like(values, sigma)),
            "qa": (("time", "y", "x"), qa),
            "backscatter": (("time", "polarization", "y", "x"), backscatter),
        },
        coords={
            "time": np.arange("2021-01", "2021-05", dtype="datetime64[M]").astype("datetime64[ns]"),
            "band": list(BANDS),
            "polarization": ["vv", "vh"],
        },
    )
    return grid.assign(dataset, GEOBOX)


def layers_of(product: definition.ProductDefinition, dataset: xr.Dataset) -> definition.SectorLayers | str:
    try:
        definition.require(dataset, definition=product)
        return product.algorithm(dataset, parameters=product.parameters)
    except definition.NotApplicableError as refused:
        return refused.cause


def everywhere() -> exposed_segments.Segments:
    """A road over every pixel."""
    blank = np.array([None], dtype=object)
    deck = np.array([shapely.box(*GEOBOX.boundingbox.bbox)], dtype=object)
    named = exposure.Named(np.array(["a"], dtype=object), np.array(["road"], dtype=object), blank, blank)
    return exposed_segments.Segments(named, deck, str(GEOBOX.crs))


@settings(max_examples=40, deadline=None)
@given(spectra, sigmas, flags, radar)
def test_no_product_speaks_over_pixels_without_usable_data(values, sigma, qa, backscatter):
    dataset = fused(values, sigma, qa, backscatter)
    usable = (observation.optical_usable(dataset) | observation.radar_usable(dataset)).any("time").values
    on_roads = exposed_segments.with_segments(exposed_segments.DEFINITION, everywhere())
    others = [product for product in registry.definitions() if product.code != on_roads.code]
    for product in (*others, on_roads):
        layers = layers_of(product, dataset)
        if isinstance(layers, str):
            assert layers in {"too_few_dates", "no_usable_pixel", "band_missing", "layer_missing", "no_water"}
            continue
        for layer in product.layers:
            value, uncertainty = layers.data[layer.name].values, layers.uncertainty[layer.name].values
            if product.kind == "class":
                known = value != definition.CLASS_NODATA
                assert set(np.unique(value[known])) <= {item.value for item in product.classes}
                assert ((uncertainty[known] >= 0) & (uncertainty[known] <= 1)).all()
            else:
                known = np.isfinite(value)
            assert not known[~usable].any()
            assert (np.isfinite(uncertainty) == known).all()


@settings(max_examples=60, deadline=None)
@given(spectra, sigmas)
def test_indices_stay_within_their_bounds(values, sigma):
    dataset = fused(values, sigma, np.zeros((4, 2, 3), np.uint16), np.zeros((4, 2, 2, 3), np.float32))
    surface = observation.reflectance(dataset)
    for name, index in spectral_index.INDICES.items():
        if set(index.bands) <= set(BANDS):
            found = spectral_index.estimate(surface, index=name)
            finite = found.value.values[np.isfinite(found.value.values)]
            assert (finite >= index.bounds[0]).all()
            assert (finite <= index.bounds[1]).all()
            assert (np.isnan(found.sigma.values) | (found.sigma.values >= 0)).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.02, 0.4), st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_less_short_wave_infrared_never_lowers_the_probability_of_water(green, low, more):
    spectrum = np.array([[0.05, green, 0.06, 0.07, low], [0.05, green, 0.06, 0.07, low + more]], dtype=np.float32)
    dataset = fused(
        np.tile(spectrum[:, :, None, None], (2, 1, 2, 3)),
        0.0,
        np.full((4, 2, 3), int(qa_bits.QaBit.LAYOVER), np.uint16),
        np.zeros((4, 2, 2, 3), np.float32),
    )
    found = water.probability(dataset, parameters=water.WaterParameters()).values[:2, 0, 0]
    assert found[0] >= found[1] - 1e-9
