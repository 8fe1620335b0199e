"""Water on real radar: tiles with known classes, a wetland seen by Sentinel-1, a square kilometre without water."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy import ndimage

from processors.imagery import drainage, radar_geometry
from processors.simulation import radar_water_scene
from retrieval.surface import bimodality, flood, radar_water

pytestmark = pytest.mark.oracle

RULES = radar_water.RadarWaterParameters()


PIXEL = (10.0, 10.0)


LOWLAND = {"flood_plain": 700.0}


@pytest.fixture(
    scope="module", params=[{}, {"wind_speed": 6.0}, {"noise_removed": True, "noise_floor": -22.0}, LOWLAND]
)
def valley(request):
    """A simulated valley in flood, with the layers its heights and the geometry give."""
    seed = 501 + request.param_index
    scene = radar_water_scene.simulate_water_scene(seed, **request.param)
    rise = np.hypot(*radar_geometry.slopes(scene.dem, pixel_size=PIXEL))
    view = radar_geometry.view(scene.dem, pixel_size=PIXEL, incidence=38.0, look_azimuth=100.0)
    place = radar_water.Surroundings(
        hand=drainage.drain(scene.dem, pixel_size=PIXEL).hand,
        slope=np.degrees(np.arctan(rise)).astype(np.float32),
        hidden=(view.layover > 0) | (view.shadow > 0),
    )
    return scene, place


def positive(layer):
    return np.maximum(layer, 1e-6).astype(np.float32)


def evidence(vv, vh, *, place, reflectance=None):
    power = {"vv": positive(vv), "vh": positive(vh)}
    looks = radar_water.looks(power["vv"], parameters=RULES)
    return radar_water.evidence(power, reflectance, number_of_looks=looks, parameters=RULES, hidden=place.hidden)


def overlap(found, truth):
    return float((found & truth).sum() / (found | truth).sum())


def slope_of(probability, truth):
    """Slope of the observed frequency on the probability told, in ten classes weighed by their size."""
    groups = np.clip((probability * 10).astype(int), 0, 9)
    count = np.bincount(groups, minlength=10)
    used = count > 50
    told, seen = (np.bincount(groups, weights, 10)[used] / count[used] for weights in (probability, truth))
    return float(np.polyfit(told, seen, 1, w=np.sqrt(count[used]))[0])


def test_water_of_a_simulated_valley_meets_the_bars(valley):
    scene, place = valley
    seen = evidence(scene.vv, scene.vh, place=place)
    model = radar_water.learn([seen], parameters=RULES, surroundings=[place])
    found = radar_water.map_water(seen, model=model, place=place, parameters=RULES)
    known = found.classes != radar_water.NO_DATA
    truth, chance = scene.water_after[known], found.probability[known]
    assert not (known & place.hidden).any()
    assert overlap(found.classes[known] == radar_water.WATER, truth) >= 0.9
    assert ((chance - truth) ** 2).mean() <= 0.08
    assert 0.8 <= slope_of(chance, truth.astype(float)) <= 1.2


def test_radar_with_reflectance_beats_the_water_index(valley):
    scene, place = valley
    bands = dict(zip(scene.bands, scene.reflectance.astype(np.float32), strict=True))
    seen = evidence(scene.vv, scene.vh, place=place, reflectance=bands)
    model = radar_water.learn([seen], parameters=RULES, surroundings=[place])
    found = radar_water.map_water(seen, model=model, place=place, parameters=RULES)
    known = found.classes != radar_water.NO_DATA
    index = (bands["green"] - bands["swir1"]) / (bands["green"] + bands["swir1"]) > 0
    assert known.mean() > 0.95
    assert overlap((found.classes == radar_water.WATER)[known], scene.water_after[known]) >= 0.9
    # Where all water is broad the index is as good as perfect by itself.
    assert overlap((found.classes == radar_water.WATER)[known], scene.water_after[known]) > min(
        overlap(index[known], scene.water_after[known]) + 0.005, 0.99
    )


def test_flood_of_a_simulated_valley_is_calibrated(valley):
    scene, place = valley
    rules = flood.FloodParameters()
    now = evidence(scene.vv, scene.vh, place=place)
    then = evidence(np.median(scene.vv_before, axis=0), np.median(scene.vh_before, axis=0), place=place)
    model = flood.learn([now], [then], parameters=rules, surroundings=[place])
    found = flood.map_flood(now, then, model=model, place=place, parameters=rules)
    known = np.isfinite(found.flood)
    truth = (scene.water_after & ~scene.water_before)[known]
    assert ((found.flood[known] - truth) ** 2).mean() <= 0.08
    assert 0.8 <= slope_of(found.flood[known], truth.astype(float)) <= 1.2
    wet = np.isin(found.classes, (flood.PERMANENT, flood.FLOOD, flood.PROBABLE))[known]
    assert overlap(wet, scene.water_after[known]) >= 0.9


def test_the_flood_itself_is_found(valley):
    scene, place = valley
    rules = flood.FloodParameters()
    place = place._replace(reference=scene.reference_water)
    now = evidence(scene.vv, scene.vh, place=place)
    then = evidence(np.median(scene.vv_before, axis=0), np.median(scene.vh_before, axis=0), place=place)
    model = flood.learn([now], [then], parameters=rules, surroundings=[place])
    found = flood.map_flood(now, then, model=model, place=place, parameters=rules)
    known = np.isfinite(found.flood)
    risen = np.isin(found.classes, (flood.FLOOD, flood.PROBABLE))[known]
    # A plain meets the bar; of strips a few pixels wide more than half of the pixels lie on a shore.
    least = 0.9 if scene.parameters["flood_plain"] > 0.0 else 0.76
    assert overlap(risen, (scene.water_after & ~scene.water_before)[known]) >= least
    wet = risen | (found.classes == flood.PERMANENT)[known]
    assert overlap(wet, scene.water_after[known]) >= 0.9


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
    small = np.bincount(patches.ravel()) < RULES.smallest_patch
    surest = ndimage.maximum(found.probability, patches, np.arange(count + 1))
    assert (surest[small] >= RULES.sure).all()
    assert small.sum() < 0.6 * count
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
