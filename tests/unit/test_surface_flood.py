"""Flood: new water is told from usual water, and what cannot be known is not told."""

import numpy as np
import pytest
import xarray as xr

from processors.imagery import qa as qa_bits
from products.sectors import definition, flood_extent
from retrieval.surface import flood, radar_water
from tests.unit import test_surface_radar_water as scenes

RULES = flood.FloodParameters()


def evidence(power):
    return radar_water.evidence(power, number_of_looks=4.4, parameters=RULES.water)


def mapped(after, before=None, *, place=None, same_month=True):
    place = place or radar_water.Surroundings()
    now, then = evidence(after), None if before is None else evidence(before)
    model = flood.learn([now], [] if then is None else [then], parameters=RULES, surroundings=[place])
    return flood.map_flood(now, then, model=model, place=place, parameters=RULES, same_month=same_month), model


@pytest.fixture(scope="module")
def usual():
    return scenes.lake(share=0.08)


@pytest.fixture(scope="module")
def risen():
    return scenes.lake(share=0.3)


@pytest.fixture(scope="module")
def pair(usual, risen):
    return scenes.power(usual, seed=1), scenes.power(risen, seed=2)


def test_water_that_was_not_there_before_is_flood(pair, usual, risen):
    found, model = mapped(pair[1], pair[0])
    assert scenes.overlap(np.isin(found.classes, (flood.FLOOD, flood.PROBABLE)), risen & ~usual) > 0.9
    assert scenes.overlap(found.classes == flood.PERMANENT, usual) > 0.85
    assert float(((found.flood - (risen & ~usual)) ** 2).mean()) < 0.03
    assert model.land is not None
    assert (np.abs(model.land.shift) < 2.0).all()


def test_nothing_changed_is_no_flood(usual):
    found, _ = mapped(scenes.power(usual, seed=5), scenes.power(usual, seed=6))
    assert np.isin(found.classes, (flood.FLOOD, flood.PROBABLE)).mean() < 0.01


def test_land_as_dark_as_it_was_before_is_not_flooded(risen):
    road = np.zeros(risen.shape, dtype=bool)
    road[:30] = True
    found, _ = mapped(scenes.power(risen | road, seed=2), scenes.power(road, seed=1))
    assert np.isin(found.classes[:28], (flood.FLOOD, flood.PROBABLE)).mean() < 0.02


@pytest.fixture(scope="module")
def bar():
    """A sand bar as dark as water, left of a lake, that the flood drowns; with the levels and the usual water."""
    usual = np.zeros((256, 256), dtype=bool)
    usual[:, 160:] = True
    sand = np.zeros_like(usual)
    sand[40:140, 140:160] = True
    risen = usual.copy()
    risen[:, 100:] = True
    rng = np.random.default_rng(7)
    rough = np.where(usual, 0.01, 3.0 + rng.uniform(0.0, 2.0, usual.shape)).astype(np.float32)
    hand = np.where(usual, 0.0, 0.03 * (160.0 - np.arange(256))[None, :]).astype(np.float32)
    fringe = (np.arange(256) >= 60)[None, :] & ~usual
    reference = np.where(usual, 0.95, np.where(fringe, 0.08, 0.02)).astype(np.float32)
    place = radar_water.Surroundings(hand=hand, slope=rough, reference=reference)
    pair = scenes.power(usual | sand, seed=11), scenes.power(risen, seed=12)
    # Sand is 2.5 dB brighter than calm water, far below any field.
    pair[0].update({name: np.where(sand, 1.8 * layer, layer).astype(np.float32) for name, layer in pair[0].items()})
    return pair, place, sand


def test_sand_as_dark_as_water_is_no_usual_water_where_the_place_says_so(bar):
    pair, place, sand = bar
    told, model = mapped(pair[1], pair[0], place=place)
    alone, _ = mapped(pair[1], pair[0])
    assert np.isin(told.classes[sand], (flood.FLOOD, flood.PROBABLE)).mean() > 0.9
    assert (alone.classes[sand] == flood.PERMANENT).mean() > 0.8
    assert model.place is not None
    assert model.place.layers == ("hand", "slope", "reference")


def test_a_lake_the_reference_does_not_know_stays_water(bar):
    pair, place, _ = bar
    reference = place.reference.copy()
    reference[:60, 160:] = 0.0
    found, _ = mapped(pair[1], pair[0], place=place._replace(reference=reference))
    assert np.isin(found.classes[:60, 165:], (flood.PERMANENT, flood.FLOOD, flood.PROBABLE)).mean() > 0.98
    assert (found.classes[:60, 165:] == flood.PERMANENT).mean() > 0.9


def test_where_nothing_is_known_of_the_place_it_corrects_nothing(pair):
    assert mapped(pair[1], pair[0])[1].place is None
    nothing = radar_water.Surroundings(hand=np.full((256, 256), np.nan, dtype=np.float32))
    told, _ = mapped(pair[1], pair[0], place=nothing)
    alone, _ = mapped(pair[1], pair[0])
    np.testing.assert_allclose(told.flood, alone.flood, atol=1e-5)


def test_parts_of_a_flood_with_heights_give_what_the_whole_gives(bar):
    pair, place, _ = bar
    whole, model = mapped(pair[1], pair[0], place=place)
    halo = RULES.water.halo
    cut = slice(60 - halo, 160 + halo), slice(90 - halo, 170 + halo)
    now, then = (evidence({name: layer[cut] for name, layer in one.items()}) for one in (pair[1], pair[0]))
    known = radar_water.Surroundings(*[None if layer is None else layer[cut] for layer in place])
    found = flood.map_flood(now, then, model=model, place=known, parameters=RULES)
    np.testing.assert_array_equal(found.classes[halo:-halo, halo:-halo], whole.classes[60:160, 90:170])
    np.testing.assert_array_equal(found.flood[halo:-halo, halo:-halo], whole.flood[60:160, 90:170])


def test_usual_water_of_the_month_takes_the_place_of_an_earlier_date(pair, usual, risen):
    place = radar_water.Surroundings(reference=usual.astype(np.float32))
    found, _ = mapped(pair[1], place=place)
    assert scenes.overlap(found.classes == flood.FLOOD, risen & ~usual) > 0.88


def test_usual_water_of_another_month_is_believed_less(pair, usual, risen):
    place = radar_water.Surroundings(reference=usual.astype(np.float32))
    same, _ = mapped(pair[1], place=place)
    other, _ = mapped(pair[1], place=place, same_month=False)
    fresh = risen & ~usual & (same.classes == flood.FLOOD)
    assert other.flood[fresh].mean() < same.flood[fresh].mean() - 0.02


def test_without_before_or_reference_water_is_only_probable_flood(pair, risen):
    found, _ = mapped(pair[1])
    assert not np.isin(found.classes, (flood.FLOOD, flood.PERMANENT)).any()
    assert scenes.overlap(found.classes == flood.PROBABLE, risen) > 0.9


def test_terrain_and_layover_are_excluded_and_no_data_stays(pair):
    after = {name: layer.copy() for name, layer in pair[1].items()}
    after["vv"][:, :20] = np.nan
    hidden = np.zeros(after["vv"].shape, dtype=bool)
    hidden[:, 30:50] = True
    high = np.zeros(hidden.shape, dtype=np.float32)
    high[200:] = 60.0
    place = radar_water.Surroundings(hand=high, slope=high, hidden=hidden)
    now = radar_water.evidence(after, number_of_looks=4.4, parameters=RULES.water, hidden=hidden)
    model = flood.learn([now], parameters=RULES, surroundings=[place])
    found = flood.map_flood(now, model=model, place=place, parameters=RULES)
    assert (found.classes[:, 30:50] == flood.EXCLUDED).all()
    assert (found.classes[:200, :20] == flood.NO_DATA).all()
    assert (found.classes[200:, 60:] == flood.EXCLUDED).all()
    assert np.isnan(found.flood[200:, 60:]).all()
    assert np.isfinite(found.flood[:200, 60:]).all()


def test_parts_give_what_the_whole_gives(pair):
    whole, model = mapped(pair[1], pair[0])
    halo = RULES.water.halo
    cut = slice(60 - halo, 160 + halo), slice(70 - halo, 150 + halo)
    now, then = (evidence({name: layer[cut] for name, layer in one.items()}) for one in (pair[1], pair[0]))
    place = radar_water.Surroundings()
    found = flood.map_flood(now, then, model=model, place=place, parameters=RULES)
    np.testing.assert_array_equal(found.classes[halo:-halo, halo:-halo], whole.classes[60:160, 70:150])
    np.testing.assert_array_equal(found.flood[halo:-halo, halo:-halo], whole.flood[60:160, 70:150])


def test_too_little_common_land_leaves_the_usual_change():
    water = np.ones((64, 64), dtype=bool)
    _, model = mapped(scenes.power(water, seed=1), scenes.power(water, seed=2))
    assert model.land is not None
    assert (model.land.spread == np.mean(RULES.change_limits)).all()


@pytest.mark.parametrize(("reading", "verdict"), [(170.3, "agrees"), (160.0, "differs"), (np.nan, "insufficient data")])
def test_a_level_is_compared_at_the_edge_of_the_water(reading, verdict):
    columns = np.mgrid[:80, :80][1]
    elevation = (165.0 + 0.25 * columns).astype(np.float32)
    found = flood.compared_with_gauge(elevation < 170.0, elevation, reading=reading, row=40, column=20, pixel=10.0)
    assert found.verdict == verdict
    if verdict != "insufficient data":
        assert found.mapped == pytest.approx(170.0, abs=0.3)
        assert found.difference == pytest.approx(170.0 - reading, abs=0.3)


def test_a_level_far_from_any_shore_is_insufficient():
    elevation = np.zeros((80, 80), dtype=np.float32)
    water = np.zeros((80, 80), dtype=bool)
    water[:5, :5] = True
    found = flood.compared_with_gauge(water, elevation, reading=1.0, row=70, column=70, pixel=100.0)
    assert found.verdict == "insufficient data"
    assert np.isnan(found.difference)


def fused(powers=(), optical=None, **layers):
    """Fused dataset of radar passes twelve days apart, reflectance with the last."""
    dates, shape = max(len(powers), 1), (256, 256)
    bands = ["green", "red", "nir", "swir1"]
    reflectance = np.full((dates, 4, *shape), np.nan, dtype=np.float32)
    if optical is not None:
        reflectance[-1] = np.stack([optical[name] for name in bands])
    missing = np.uint16(0 if optical is not None else qa_bits.QaBit.NODATA)
    made = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), reflectance),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full_like(reflectance, 0.01)),
            "qa": (("time", "y", "x"), np.full((dates, *shape), missing, dtype=np.uint16)),
            **{name: (("y", "x"), layer) for name, layer in layers.items()},
        },
        coords={
            "time": np.datetime64("2021-07-01", "ns") + np.arange(dates) * np.timedelta64(12, "D"),
            "band": bands,
        },
    )
    if powers:
        values = np.stack([np.stack([10.0 * np.log10(one[name]) for name in ("vv", "vh")]) for one in powers])
        made["backscatter"] = (("time", "polarization", "y", "x"), values.astype(np.float32))
        made = made.assign_coords(polarization=["vv", "vh"])
    return made


def layers_of(dataset):
    return flood_extent.flood_extent_layers(dataset, parameters=flood_extent.DEFINITION.parameters)


def test_the_product_compares_the_latest_pass_with_the_earlier_ones(pair, usual, risen):
    made = layers_of(fused([pair[0], scenes.power(usual, seed=8), pair[1]]))
    classes = made.data[flood_extent.LAYER].values
    assert scenes.overlap(np.isin(classes, (flood.FLOOD, flood.PROBABLE)), risen & ~usual) > 0.9
    assert made.facts["reference"] == "earlier radar"
    assert made.dates.tolist() == [0, 1, 2]
    chance = made.uncertainty[flood_extent.LAYER].values
    assert (chance[classes == flood.DRY] >= 0.5).mean() > 0.99


def test_the_product_of_one_pass_takes_the_reference_and_static_layers(pair, usual, risen):
    shape = usual.shape
    layers = {
        "reference_water": usual.astype(np.float32),
        "hand": np.zeros(shape, dtype=np.float32),
        "slope": np.zeros(shape, dtype=np.float32),
        "elevation": np.full(shape, 180.0, dtype=np.float32),
        "layover": np.eye(shape[0], dtype=np.uint8),
    }
    made = layers_of(fused([pair[1]], scenes.reflectance(risen), **layers))
    classes = made.data[flood_extent.LAYER].values
    assert scenes.overlap(classes == flood.FLOOD, risen & ~usual) > 0.95
    assert made.facts["sources"] == ["radar", "optical"]


def test_the_product_of_reflectance_alone_says_what_it_cannot_tell(risen):
    made = layers_of(fused(optical=scenes.reflectance(risen)))
    assert scenes.overlap(made.data[flood_extent.LAYER].values == flood.PROBABLE, risen) > 0.95
    assert "cannot be told apart" in made.facts["remarks"][0]


def test_earlier_clear_dates_tell_usual_water(usual, risen):
    dates = [fused(optical=scenes.reflectance(one, seed=n)) for n, one in enumerate((usual, usual, risen))]
    series = xr.concat(dates, dim="time", coords="minimal", compat="override").assign_coords(
        time=np.datetime64("2021-05-01", "ns") + np.arange(3) * np.timedelta64(20, "D")
    )
    made = layers_of(series)
    classes = made.data[flood_extent.LAYER].values
    assert scenes.overlap(np.isin(classes, (flood.FLOOD, flood.PROBABLE)), risen & ~usual) > 0.9
    assert made.dates.tolist() == [0, 1, 2]


def test_nothing_seen_is_no_product():
    with pytest.raises(definition.NotApplicableError) as refusal:
        layers_of(fused())
    assert refusal.value.cause == "no_usable_pixel"


def test_blocks_of_the_product_do_not_show(pair):
    import dataclasses

    whole = layers_of(fused(pair))
    small = dataclasses.replace(flood_extent.DEFINITION.parameters, block=100)
    parts = flood_extent.flood_extent_layers(fused(pair), parameters=small)
    np.testing.assert_array_equal(whole.data[flood_extent.LAYER].values, parts.data[flood_extent.LAYER].values)


def test_reflectance_without_green_or_infrared_values_is_no_product(risen):
    seen = fused(optical=scenes.reflectance(risen))
    for lost in (["green"], ["nir", "swir1"]):
        blind = seen.assign(reflectance=seen["reflectance"].where(~seen["band"].isin(lost)))
        with pytest.raises(definition.NotApplicableError) as refusal:
            layers_of(blind)
        assert refusal.value.cause == "no_usable_pixel"
