"""Scenes of one area: what is displaced is put back in one resampling, what cannot be known stays."""

import numpy as np
import pytest
import xarray as xr

from processors.imagery import grid, scene_registration
from processors.simulation import imagery_pairs

DAY = np.datetime64("2025-07-20T03:30:00", "ns")


def scene(values: np.ndarray, pair: imagery_pairs.SimulatedPair, *, day: int = 0) -> xr.Dataset:
    dataset = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values.astype(np.float32)[None])},
        coords={"time": [DAY + np.timedelta64(day, "D")], "band": list(pair.bands)},
        attrs={"source": f"day-{day}"},
    )
    return grid.assign(dataset, pair.grid)


@pytest.fixture(scope="module")
def pair() -> imagery_pairs.SimulatedPair:
    """Displaced by 1.4 pixels down and 2.3 to the left."""
    return imagery_pairs.simulate_pair(seed=3, shape=(240, 260), shift=(1.4, -2.3), relief=0.0)


def inner(values: np.ndarray) -> np.ndarray:
    return values[..., 20:-20, 20:-20]


def rmse(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean((inner(first) - inner(second)) ** 2)))


def test_a_displaced_date_is_put_where_the_reference_lies(pair):
    found = scene_registration.register([scene(pair.reference, pair), scene(pair.target, pair, day=16)], pair.grid)
    assert [record.status for record in found.records] == ["reference", "moved"]
    moved = found.records[1]
    assert moved.shift_x == pytest.approx(-2.3, abs=0.05)
    assert moved.shift_y == pytest.approx(1.4, abs=0.05)
    corrected = found.layers[1]["reflectance"].values[0]
    assert rmse(corrected, pair.aligned_target) < 0.35 * rmse(pair.target, pair.aligned_target)
    assert scene_registration.residual(found.records) == pytest.approx(moved.rmse)
    assert grid.same(grid.geobox_of(found.layers[1]), pair.grid)


def test_a_date_of_another_system_is_put_right_by_the_same_way_on_the_ground(pair):
    there = grid.covering(grid.geographic_bounds(pair.grid), crs="EPSG:4326", resolution=9e-5)
    geographic = grid.match(scene(pair.target, pair, day=16), there)
    found = scene_registration.register([scene(pair.reference, pair), geographic], pair.grid)
    assert found.records[1].status == "moved"
    again = scene_registration.register([scene(pair.reference, pair), found.layers[1]], pair.grid)
    assert again.records[1].status == "in_place"


def test_what_lies_right_is_not_resampled(pair):
    same = scene(pair.reference + 0.01, pair, day=5)
    found = scene_registration.register([scene(pair.reference, pair), same], pair.grid)
    assert found.records[1].status == "in_place"
    assert np.array_equal(found.layers[1]["reflectance"].values, same["reflectance"].values)


def test_another_place_is_not_moved_and_the_record_says_why(pair):
    other = imagery_pairs.simulate_pair(seed=4, shape=(240, 260), unrelated=True)
    strange = scene(other.target, pair, day=7)
    found = scene_registration.register([scene(pair.reference, pair), strange], pair.grid)
    assert found.records[1].status == "unknown"
    assert found.records[1].reason
    assert np.array_equal(found.layers[1]["reflectance"].values, strange["reflectance"].values)
    assert scene_registration.residual(found.records) == 0.0


def test_a_displacement_too_large_for_an_inaccuracy_is_told_and_left(pair):
    choices = scene_registration.RegistrationParameters(largest_shift=2.0)
    dates = [scene(pair.reference, pair), scene(pair.target, pair, day=16)]
    found = scene_registration.register(dates, pair.grid, parameters=choices)
    assert found.records[1].status == "too_far"
    assert np.array_equal(found.layers[1]["reflectance"].values, dates[1]["reflectance"].values)


def test_small_scenes_are_not_compared(pair):
    small = scene(pair.reference, pair).isel(y=slice(0, 40), x=slice(0, 40))
    box = grid.geobox_of(small)
    found = scene_registration.register([small, small], box)
    assert [record.status for record in found.records] == ["reference", "unknown"]


def test_the_clearest_date_of_the_first_scene_leads(pair):
    cloudy = pair.reference.copy()
    cloudy[:, :150] = 0.7
    series = xr.concat([scene(cloudy, pair), scene(pair.reference, pair, day=3)], dim="time")
    found = scene_registration.register([grid.assign(series, pair.grid)], pair.grid)
    assert [record.status for record in found.records][1] == "reference"
