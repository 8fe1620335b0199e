"""Real Sentinel-2 and Sentinel-1 months: optical values hidden and predicted again."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from processors.imagery import external_scene, fusion, gap_filling, grid, qa, temporal_interpolation

pytestmark = pytest.mark.oracle

APRIL, JULY = 5, 8


@pytest.fixture(scope="module")
def stack(shared_data) -> xr.Dataset:
    path = shared_data("imagery/worldcereal") / "worldcereal_preprocessed_inputs.nc"
    with xr.open_dataset(path) as dataset:
        return external_scene.scene_from_dataset(dataset, source="worldcereal").load()


def ndvi(values: np.ndarray, bands: list[str]) -> np.ndarray:
    red, nir = (values[:, bands.index(name)] for name in ("red", "nir"))
    return (nir - red) / (nir + red)


class Trial(NamedTuple):
    """Errors of the vegetation index and normalized errors of the bands at hidden pixels."""

    filled: np.ndarray
    interpolated: np.ndarray
    copied: np.ndarray
    scores: np.ndarray


def baselines(values: np.ndarray, stack: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Interpolation in time and copy of the nearest date of a stack with hidden values."""
    dates, bands = values.shape[:2]
    flat = values.reshape(dates, bands, -1)
    observed = np.isfinite(flat).all(axis=1)
    days = (stack["time"].values - stack["time"].values[0]).astype("timedelta64[D]").astype(np.float64)
    line = np.stack([temporal_interpolation.interpolate(flat, observed, days, target=day) for day in days])
    distance = np.where(observed, np.abs(days[:, None, None] - days[None, :, None]), np.inf)
    nearest = distance.argmin(axis=1)
    copy = np.stack([flat[nearest[date], :, np.arange(flat.shape[2])].T for date in range(dates)])
    return line.reshape(values.shape), copy.reshape(values.shape)


def hide_and_fill(stack: xr.Dataset, hidden: np.ndarray) -> Trial:
    bands = [str(name) for name in stack["band"].values]
    truth = stack["reflectance"].values.astype(np.float64)
    mask = xr.DataArray(np.where(hidden, 2, 0).astype(np.uint8), dims=("time", "y", "x"))
    filled = gap_filling.fill(stack, mask).stack
    line, copy = baselines(np.where(hidden[:, None], np.nan, truth), stack)
    values, sigma = (filled[name].values.astype(np.float64) for name in ("reflectance", "reflectance_sigma"))
    errors = [(ndvi(estimate, bands) - ndvi(truth, bands))[hidden] for estimate in (values, line, copy)]
    scores = (np.abs(values - truth) / sigma).transpose(0, 2, 3, 1)[hidden].ravel()
    return Trial(*errors, scores)


def blobs(rng: np.random.Generator, share: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal((100, 100)), 8)
    return field < np.quantile(field, share)


def rmse(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def test_stack_has_ten_optical_months_and_no_value_from_no_data(stack):
    assert dict(stack.sizes) == {"time": 12, "band": 9, "y": 100, "x": 100, "polarization": 2}
    empty = np.isnan(stack["reflectance"].values).all(axis=(1, 2, 3))
    assert stack["time"].values[empty].astype("datetime64[M]").astype(str).tolist() == ["2020-12", "2021-01"]
    assert float(stack["reflectance"].max()) < 2.0  # a sunlit roof; 65535 would be 6.55
    assert -35 < float(stack["backscatter"].min()) < float(stack["backscatter"].max()) < 15
    assert 140 < float(stack["elevation"].min()) < float(stack["elevation"].max()) < 175
    assert grid.geobox_of(stack).crs.epsg == 32631
    assert grid.alignment_offset(grid.geobox_of(stack)) <= grid.ALIGNMENT_TOLERANCE


def test_blobs_over_three_months_are_filled_better_than_by_copy_and_interpolation(stack):
    """30, 50 and 70 % of the scene hidden in three consecutive months between April and September."""
    rng = np.random.default_rng(20210401)
    trials = []
    for start, share in ((APRIL, 0.3), (JULY - 1, 0.5), (JULY, 0.7)):
        for moving in (False, True):
            hidden = np.zeros((12, 100, 100), dtype=bool)
            shape = blobs(rng, share)
            for date in range(start, start + 3):
                hidden[date] = blobs(rng, share) if moving else shape
            trials.append(hide_and_fill(stack, hidden))
    pooled = Trial(*(np.concatenate(part) for part in zip(*trials, strict=True)))
    assert rmse(pooled.filled) < 0.5 * rmse(pooled.copied)
    assert rmse(pooled.filled) < 0.6 * rmse(pooled.interpolated)
    assert all(rmse(trial.filled) < rmse(trial.copied) for trial in trials)
    assert 0.60 < (pooled.scores < 1).mean() < 0.80
    assert 0.88 < (pooled.scores < 2).mean() < 0.98


def test_whole_months_are_no_worse_than_interpolation(stack):
    trials = []
    for month in range(4, 10):
        hidden = np.zeros((12, 100, 100), dtype=bool)
        hidden[month] = True
        trials.append(hide_and_fill(stack, hidden))
    pooled = Trial(*(np.concatenate(part) for part in zip(*trials, strict=True)))
    assert rmse(pooled.filled) <= 1.05 * rmse(pooled.interpolated)
    assert rmse(pooled.filled) < rmse(pooled.copied)
    assert 0.55 < (pooled.scores < 1).mean() < 0.85


@pytest.fixture(scope="module")
def fused(stack) -> xr.Dataset:
    return fusion.fuse([stack])


def test_empty_months_are_interpolated_flagged_and_less_certain(fused):
    result = fused
    winter = result.isel(time=[1, 2])
    assert np.isfinite(winter["reflectance"]).all()
    wanted = qa.QaBit.FILLED | qa.QaBit.INSUFFICIENT
    assert ((winter["qa"].values & wanted) == wanted).all()
    assert json.loads(result.attrs["insufficient_dates"]) == ["2020-12-01T00:00:00Z", "2021-01-01T00:00:00Z"]
    assert float(winter["reflectance_sigma"].median()) > 2 * float(result["reflectance_sigma"].isel(time=0).median())


def test_composites_keep_nearly_all_their_observations(fused):
    """The months are cloud-free composites: what the mask takes away is a false alarm."""
    observed = fused["observed"].values.mean(axis=(1, 2))
    assert (observed[[0, *range(3, 12)]] > 0.97).all()


def test_fused_ndvi_of_fields_peaks_in_early_summer(fused):
    bands = [str(name) for name in fused["band"].values]
    index = np.median(ndvi(fused["reflectance"].values, bands), axis=(1, 2))
    assert 5 <= int(index.argmax()) <= 8
