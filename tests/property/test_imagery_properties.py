"""Laws that hold for any grid, any strip geometry and any pattern of gaps."""

import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.imagery import gap_filling, geolocation, grid, qa
from processors.simulation import scenes


@given(
    left=st.floats(2e5, 8e5),
    bottom=st.floats(0, 9e6),
    width=st.floats(100, 5e4),
    height=st.floats(100, 5e4),
    resolution=st.sampled_from([10.0, 20.0, 30.0, 60.0, 250.0]),
)
@settings(max_examples=60, deadline=None)
def test_covering_grid_is_aligned_and_covers(left, bottom, width, height, resolution):
    geobox = grid.covering((left, bottom, left + width, bottom + height), crs="EPSG:32648", resolution=resolution)
    assert grid.alignment_offset(geobox) <= grid.ALIGNMENT_TOLERANCE
    box = geobox.boundingbox
    slack = 1e-5 * resolution
    assert box.left <= left + slack
    assert box.right >= left + width - slack
    assert box.bottom <= bottom + slack
    assert box.top >= bottom + height - slack
    assert geobox.shape[1] * resolution < width + 2 * resolution + slack


@given(
    heading=st.floats(0, 360),
    longitude=st.floats(-170, 170),
    latitude=st.floats(-65, 65),
    lines=st.integers(2, 30),
)
@settings(max_examples=40, deadline=None)
def test_locating_inverts_the_positions_of_any_strip(heading, longitude, latitude, lines):
    east, north = scenes._pixel_positions(lines, (longitude, latitude), heading)
    edges = {"edge_longitude": east[:, [0, -1]], "edge_latitude": north[:, [0, -1]]}
    pick = np.linspace(0, scenes.PIXELS - 1, 9).astype(int)
    vectors = geolocation.unit_vectors(east[:, pick], north[:, pick]).reshape(-1, 3)
    found = geolocation.locate(vectors, **edges, pixels=scenes.PIXELS)
    line, _ = np.indices((lines, pick.size))
    np.testing.assert_allclose(found.line, line.ravel(), atol=0.02)
    np.testing.assert_allclose(found.pixel, np.tile(pick, lines), atol=0.02)


@given(seed=st.integers(0, 10_000), share=st.floats(0.0, 1.0), dates=st.integers(1, 4), lost=st.booleans())
@settings(max_examples=25, deadline=None)
def test_no_value_without_uncertainty_source_and_flag(seed, share, dates, lost):
    """Value, uncertainty, source and quality bits agree whatever is missing, and observed pixels are never touched."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.02, 0.5, (dates, 3, 24, 24)).astype(np.float32)
    if lost:
        values[:, 1, 5:7] = np.nan
    hidden = rng.random((dates, 24, 24)) < share
    times = np.datetime64("2024-01-01", "ns") + np.arange(dates) * np.timedelta64(20, "D")
    stack = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values)}, coords={"time": times, "band": ["green", "red", "nir"]}
    )
    stack = grid.assign(stack, grid.covering((0, 0, 240, 240), crs="EPSG:32648", resolution=10))
    mask = xr.DataArray(np.where(hidden, 2, 0).astype(np.uint8), dims=("time", "y", "x"))
    result = gap_filling.fill(stack, mask).stack
    found, sigma = result["reflectance"].values, result["reflectance_sigma"].values
    source, bits = result["source"].values, result["qa"].values
    complete = np.isfinite(found).all(axis=1)
    assert np.array_equal(np.isfinite(found), np.isfinite(sigma))
    assert (sigma[np.isfinite(sigma)] > 0).all()
    assert np.array_equal(complete, source > 0)
    assert np.array_equal(complete, bits & qa.QaBit.NODATA == 0)
    assert np.array_equal(source > qa.Source.OBSERVED, bits & qa.QaBit.FILLED > 0)
    observed = source == qa.Source.OBSERVED
    assert np.array_equal(observed, ~hidden & np.isfinite(values).all(axis=1))
    assert np.array_equal(np.moveaxis(found, 1, -1)[observed], np.moveaxis(values, 1, -1)[observed])
