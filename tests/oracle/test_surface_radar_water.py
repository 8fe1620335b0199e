"""Water on real radar: tiles with known classes, a wetland seen by Sentinel-1, a square kilometre without water."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy import ndimage

from retrieval.surface import bimodality, radar_water

pytestmark = pytest.mark.oracle

RULES = radar_water.RadarWaterParameters()


def mapped(power, reflectance=None):
    looks = radar_water.looks(next(iter(power.values())), parameters=RULES)
    seen = radar_water.evidence(power, reflectance, number_of_looks=looks, parameters=RULES)
    model = radar_water.learn([seen], parameters=RULES)
    return radar_water.map_water(seen, model=model, place=radar_water.Surroundings(), parameters=RULES), model


@pytest.fixture
def tiles(shared_data):
    held = np.load(shared_data("imagery/asf_tools") / "em_tiles.npz")
    return np.where(held["mask"] | (held["tiles"] <= 0), np.nan, held["tiles"]).astype(np.float32)


def test_tiles_of_two_classes_are_told_from_tiles_of_one(tiles):
    decibels = 10.0 * np.log10(tiles)
    splits = [bimodality.split(tile, parameters=RULES.parts) for tile in decibels]
    believed = [one is not None and bimodality.believable(one, parameters=RULES.parts) for one in splits]
    assert believed == [False, True, True, False, True]
    levels = [one.threshold for one, two in zip(splits, believed, strict=True) if two]
    assert all(-26.0 < level < -20.5 for level in levels)


def test_tiles_without_water_stay_dry_and_halves_of_water_are_halves(tiles):
    shares = [float((mapped({"vh": tile})[0].classes == radar_water.WATER).mean()) for tile in tiles]
    assert max(shares[0], shares[3]) < 0.01
    assert [round(shares[n], 1) for n in (1, 2, 4)] == [0.5, 0.6, 0.4] or min(shares[n] for n in (1, 2, 4)) > 0.35


def test_a_wetland_is_mapped_without_the_specks_of_a_threshold(shared_data):
    path = shared_data("imagery/pyrosar") / "S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif"
    with rasterio.open(path) as dataset:
        decibels = dataset.read(1, masked=True).filled(np.nan).astype(np.float32)
    found, model = mapped({"vv": 10.0 ** (decibels / 10.0)})
    water = found.classes == radar_water.WATER
    assert model.parts > 0
    assert -17.0 < model.thresholds["copolar"] < -13.0
    assert 0.15 < water.mean() < 0.3
    assert decibels[water].mean() < -16.0
    assert decibels[found.classes == radar_water.DRY].mean() > -12.0
    patches, count = ndimage.label(water)
    assert np.bincount(patches.ravel())[1:].min() >= RULES.smallest_patch
    raw = ndimage.label(decibels < model.thresholds["copolar"])[1]
    assert count < raw / 5


def test_a_square_kilometre_of_fields_has_no_water_in_any_month(shared_data):
    with xr.open_dataset(shared_data("imagery/worldcereal") / "worldcereal_preprocessed_inputs.nc") as held:
        numbers = {name: held[f"S1-SIGMA0-{name.upper()}"].values.astype(np.float32) for name in ("vv", "vh")}
    for month in range(12):
        power = {
            name: np.where(layer[month] > 0, (layer[month] ** 2) * np.float32(10.0**-8.3), np.nan).astype(np.float32)
            for name, layer in numbers.items()
        }
        found, _ = mapped(power)
        assert (found.classes == radar_water.WATER).mean() < 0.001, month
