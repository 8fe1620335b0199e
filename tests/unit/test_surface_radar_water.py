"""Water from radar and reflectance: what must hold of any scene, with scenes made here of numbers alone."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from processors.quality import BadInputError
from retrieval.surface import bimodality, optical_water, radar_water, water_mixture

RULES = radar_water.RadarWaterParameters()
WET = {"green": 0.07, "red": 0.05, "nir": 0.03, "swir1": 0.02}
TURBID = {"green": 0.13, "red": 0.14, "nir": 0.09, "swir1": 0.03}
FOREST = {"green": 0.05, "red": 0.03, "nir": 0.35, "swir1": 0.15}
SOIL = {"green": 0.12, "red": 0.17, "nir": 0.24, "swir1": 0.32}


def lake(size: int = 256, share: float = 0.3, seed: int = 1) -> np.ndarray:
    """A round lake of a share of the scene, boolean."""
    rows, columns = np.mgrid[:size, :size] - size / 2
    distance = np.hypot(rows, columns) + 0.0 * seed
    return distance < np.quantile(distance, share) if share > 0 else np.zeros((size, size), dtype=bool)


def power(water: np.ndarray, *, looks: float = 4.4, seed: int = 0, wet=(-20.0, -27.0), dry=(-9.5, -16.0)) -> dict:
    """Backscatter with gamma speckle over a patchy ground, linear."""
    rng = np.random.default_rng(seed)
    patches = ndimage.gaussian_filter(rng.standard_normal(water.shape), 12)
    patches *= 1.2 / patches.std()
    found = {}
    for name, one, other in zip(("vv", "vh"), wet, dry, strict=True):
        level = np.where(water, one, other + patches)
        speckle = rng.gamma(looks, 1.0 / looks, water.shape)
        found[name] = (10.0 ** (level / 10.0) * speckle).astype(np.float32)
    return found


def reflectance(water: np.ndarray, *, seed: int = 0, wet=WET, dry=SOIL) -> dict:
    rng = np.random.default_rng(seed)
    return {
        name: (np.where(water, wet[name], dry[name]) * rng.normal(1.0, 0.05, water.shape)).astype(np.float32)
        for name in wet
    }


def mapped(radar, optical=None, *, place=None, rules=RULES):
    place = place or radar_water.Surroundings()
    seen = radar_water.evidence(radar, optical, number_of_looks=4.4, parameters=rules, hidden=place.hidden)
    model = radar_water.learn([seen], parameters=rules, surroundings=[place])
    return radar_water.map_water(seen, model=model, place=place, parameters=rules), model


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / max((found | truth).sum(), 1))


@pytest.mark.parametrize("bands", [("vv",), ("vh",), ("vv", "vh")])
def test_a_lake_is_found_in_any_polarizations(bands):
    truth = lake()
    found, model = mapped({name: power(truth)[name] for name in bands})
    assert overlap(found.classes == radar_water.WATER, truth) > 0.93
    assert model.parts > 0


@pytest.mark.parametrize("shift", [-3.0, 2.0])
def test_the_threshold_follows_the_calibration_of_the_scene(shift):
    truth = lake()
    found, _ = mapped(power(truth, wet=(-19.0 + shift, -26.0 + shift), dry=(-9.5 + shift, -16.0 + shift)))
    assert overlap(found.classes == radar_water.WATER, truth) > 0.9


def test_a_scene_without_water_has_none():
    nothing = lake(share=0.0)
    found, model = mapped(power(nothing))
    assert (found.classes == radar_water.DRY).mean() > 0.999
    assert model.parts == 0
    assert model.water_share < 0.02


def test_a_scene_of_water_alone_is_not_half_dry():
    found, _ = mapped(power(np.ones((256, 256), dtype=bool)))
    assert (found.classes == radar_water.WATER).mean() > 0.999


def test_wind_on_open_water_makes_no_land():
    calm = lake(share=0.5)
    windy = power(np.ones((256, 256), dtype=bool))
    windy["vv"] = windy["vv"] * np.where(calm, 1.0, 3.5).astype(np.float32)
    found, _ = mapped(windy)
    assert (found.classes == radar_water.WATER).mean() > 0.98


def test_probability_is_calibrated_on_an_even_contrast():
    truth = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((384, 384)), 6) > 0.01
    found, _ = mapped(power(truth, wet=(-17.0, -23.5), dry=(-11.5, -18.0), seed=3))
    brier = float(((found.probability - truth) ** 2).mean())
    groups = np.clip((found.probability * 10).astype(int), 0, 9)
    told = ndimage.mean(found.probability, groups, np.arange(10))
    seen = ndimage.mean(truth.astype(float), groups, np.arange(10))
    weights = np.sqrt(np.bincount(groups.ravel(), minlength=10))
    slope = np.polyfit(told, seen, 1, w=weights)[0]
    assert brier < 0.05
    assert 0.8 < slope < 1.2


def test_no_data_stays_no_data_and_spoils_no_neighbor():
    truth = lake()
    radar = power(truth)
    radar["vv"][100:140, 60:200] = np.nan
    found, _ = mapped(radar)
    assert (found.classes[100:140, 60:200] == radar_water.NO_DATA).all()
    assert np.isnan(found.probability[100:140, 60:200]).all()
    assert (found.classes[:100] != radar_water.NO_DATA).all()


def test_layover_has_no_class_unless_reflectance_saw_the_ground():
    truth = lake()
    hidden = np.zeros(truth.shape, dtype=bool)
    hidden[:40] = True
    place = radar_water.Surroundings(hidden=hidden)
    alone, _ = mapped(power(truth), place=place)
    both, _ = mapped(power(truth), reflectance(truth), place=place)
    assert (alone.classes[hidden] == radar_water.NO_DATA).all()
    assert (both.classes[hidden] == radar_water.DRY).mean() > 0.99


def test_water_does_not_stand_on_a_steep_slope_high_above_the_drainage():
    truth = lake()
    high = np.full(truth.shape, 40.0, dtype=np.float32)
    steep = np.full(truth.shape, 20.0, dtype=np.float32)
    place = radar_water.Surroundings(hand=high, slope=steep, elevation=high + 130.0)
    found, _ = mapped(power(truth), place=place)
    assert (found.classes == radar_water.DRY).all()
    rules = dataclasses.replace(RULES, fluctuation=(145.0, 175.0))
    reservoir, _ = mapped(power(truth), place=place, rules=rules)
    assert overlap(reservoir.classes == radar_water.WATER, truth) > 0.9


def test_height_above_the_drainage_lowers_and_usual_water_raises_the_prior():
    model = mapped(power(lake()))[1]
    shape = (1, 4)
    hand = np.array([[0.0, 5.0, 50.0, np.nan]], dtype=np.float32)
    prior = radar_water.place_prior(model, radar_water.Surroundings(hand=hand), shape, parameters=RULES)[0]
    assert prior[0] > prior[1] > prior[2] >= RULES.prior_floor
    assert prior[3] == pytest.approx(model.water_share, abs=0.02)
    usual = radar_water.Surroundings(hand=hand, reference=np.array([[0.0, 0.9, 0.9, 0.9]], dtype=np.float32))
    raised = radar_water.place_prior(model, usual, shape, parameters=RULES)[0]
    assert (raised[1:3] > 0.6).all()
    assert raised[0] == pytest.approx(prior[0])


def test_reflectance_decides_where_radar_cannot():
    truth = lake()
    dark_field = np.zeros(truth.shape, dtype=bool)
    dark_field[:60, :60] = True
    radar = power(truth | dark_field)
    alone, _ = mapped(radar)
    both, _ = mapped(radar, reflectance(truth))
    assert overlap(both.classes == radar_water.WATER, truth) > overlap(alone.classes == radar_water.WATER, truth)
    assert overlap(both.classes == radar_water.WATER, truth) > 0.97


def test_parts_give_what_the_whole_gives():
    truth = lake()
    radar = power(truth)
    whole, model = mapped(radar)
    halo, place = RULES.halo, radar_water.Surroundings()
    part = {name: layer[60 - halo : 150 + halo, 90 - halo : 170 + halo] for name, layer in radar.items()}
    seen = radar_water.evidence(part, number_of_looks=4.4, parameters=RULES)
    found = radar_water.map_water(seen, model=model, place=place, parameters=RULES)
    inner = slice(halo, -halo), slice(halo, -halo)
    np.testing.assert_array_equal(found.classes[inner], whole.classes[60:150, 90:170])
    np.testing.assert_array_equal(found.probability[inner], whole.probability[60:150, 90:170])


def test_small_patches_of_either_class_are_not_believed():
    odds = np.full((40, 40), -6.0, dtype=np.float32)
    odds[5:8, 5:8] = 1.5
    odds[20:24, 20:24] = 1.5
    odds[30:33, 30:32] = 1.5
    odds[31, 30] = 6.0
    odds[0, 39] = np.nan
    rules = dataclasses.replace(RULES, coupling=0.0)
    found = radar_water.regularized(odds, parameters=rules)
    assert (found.classes[5:8, 5:8] == radar_water.DRY).all()
    assert (found.probability[5:8, 5:8] < 0.5).all()
    assert (found.classes[20:24, 20:24] == radar_water.WATER).all()
    assert (found.classes[30:33, 30:32] == radar_water.WATER).all(), "one sure pixel is enough"
    assert found.classes[0, 39] == radar_water.NO_DATA


def test_however_sure_no_patch_is_too_small_when_nothing_is_sure_enough():
    odds = np.full((20, 20), -6.0, dtype=np.float32)
    odds[5:8, 5:8] = 6.0
    rules = dataclasses.replace(RULES, coupling=0.0, sure=1.1)
    assert (radar_water.regularized(odds, parameters=rules).classes == radar_water.DRY).all()


def test_strips_of_three_pixels_are_not_blurred_away():
    strips = np.arange(256)[:, None] % 12 < 3
    truth = np.repeat(strips, 256, axis=1)
    truth[:, 200:] = True
    found, _ = mapped(power(truth))
    assert overlap(found.classes == radar_water.WATER, truth) > 0.93


@pytest.mark.parametrize("looks", [1.0, 4.4, 20.0])
def test_speckle_in_decibels_has_the_moments_of_a_gamma_variate(looks):
    drawn = 10.0 * np.log10(np.random.default_rng(3).gamma(looks, 1.0 / looks, 200_000))
    mean, variance = water_mixture.speckle(looks)
    assert mean == pytest.approx(drawn.mean(), abs=0.05)
    assert variance == pytest.approx(drawn.var(), rel=0.03)


def test_neighbors_draw_a_doubtful_pixel():
    odds = np.full((9, 9), 4.0, dtype=np.float32)
    odds[4, 4] = -0.5
    drawn = radar_water.smoothed(odds, parameters=RULES)
    assert drawn[4, 4] > 0.5 > 1.0 / (1.0 + np.exp(0.5))


@pytest.mark.parametrize("count", [1.0, 4.4, 16.0])
def test_looks_are_counted_to_a_quarter(count):
    field = np.random.default_rng(2).gamma(count, 1.0 / count, (256, 256)).astype(np.float32)
    assert radar_water.looks(field, parameters=RULES) == pytest.approx(count, rel=0.3)


def test_looks_of_nothing_are_unknown():
    assert np.isnan(radar_water.looks(np.full((40, 40), np.nan, dtype=np.float32), parameters=RULES))
    assert np.isnan(radar_water.looks(np.ones((4, 4), dtype=np.float32), parameters=RULES))


def test_no_input_and_two_bands_of_one_role_break_the_contract():
    with pytest.raises(ValueError, match="backscatter, reflectance or both"):
        radar_water.evidence(None, number_of_looks=4.0, parameters=RULES)
    layer = np.ones((8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="same role"):
        radar_water.evidence({"vv": layer, "hh": layer}, number_of_looks=4.0, parameters=RULES)


def test_water_of_any_turbidity_looks_wetter_than_any_land():
    spectra = {name: np.array([[s[name] for s in (WET, TURBID, FOREST, SOIL)]], dtype=np.float32) for name in WET}
    index, darkness = optical_water.features(spectra, parameters=RULES.optical)
    assert index[0, :2].min() > 0.3 > -0.1 > index[0, 2:].max()
    assert darkness[0, :2].min() > 0.0 > darkness[0, 2:].max()


@pytest.mark.parametrize("bands", [("green", "nir"), ("green", "swir1"), ("green", "nir", "swir1")])
def test_fewer_bands_still_tell_water(bands):
    truth = lake()
    seen = {name: reflectance(truth)[name] for name in bands}
    found, _ = mapped(None, seen)
    assert overlap(found.classes == radar_water.WATER, truth) > 0.97


@pytest.mark.parametrize("bands", [("green", "red", "nir"), ("green", "swir1"), ("green", "red", "nir", "swir1")])
def test_under_a_bright_white_cloud_nothing_is_seen(bands):
    cloud = {name: np.full((4, 4), 0.45, dtype=np.float32) for name in bands}
    assert np.isnan(optical_water.features(cloud, parameters=RULES.optical)).all()


def test_water_without_green_or_infrared_is_refused():
    layer = np.ones((2, 2), dtype=np.float32)
    for bands in ({"red": layer, "nir": layer}, {"green": layer, "red": layer}):
        with pytest.raises(BadInputError) as refusal:
            optical_water.features(bands, parameters=RULES.optical)
        assert refusal.value.cause == "band_missing"


def test_two_classes_are_found_where_there_are_two_and_not_believed_where_there_is_one():
    rng = np.random.default_rng(4)
    parts = RULES.parts
    two = np.concatenate([rng.normal(-20.0, 1.0, 3000), rng.normal(-10.0, 1.5, 7000)])
    found = bimodality.split(two, parameters=parts)
    assert found is not None
    assert bimodality.believable(found, parameters=parts)
    assert found.lower[0] == pytest.approx(-20.0, abs=0.2)
    assert found.upper[0] == pytest.approx(-10.0, abs=0.2)
    assert found.share == pytest.approx(0.3, abs=0.02)
    assert -17.5 < found.threshold < -14.0
    one = bimodality.split(rng.normal(-10.0, 1.5, 10_000), parameters=parts)
    assert one is not None
    assert not bimodality.believable(one, parameters=parts)
    assert bimodality.split(two[:100], parameters=parts) is None
    assert bimodality.split(np.full(1000, -10.0), parameters=parts) is None


def test_darker_is_never_drier():
    mixture = water_mixture.expected(polarizations=("copolar", "crosspolar"), optical=False, parameters=RULES.mixture)
    levels = np.linspace(-35.0, 0.0, 80, dtype=np.float32)
    features = np.stack([levels, levels - 7.0])[None, :, None, :]
    dry, wet = water_mixture.log_densities(features, mixture)
    ratio = (wet - dry)[0]
    assert (np.diff(ratio[levels < -12.0]) <= 1e-4).all()
    assert ratio[0] > 2.0 > -2.0 > ratio[60]
