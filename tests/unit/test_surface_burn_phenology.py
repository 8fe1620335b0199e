"""Season by kind of vegetation told from fire, and displacement of the dates, on ground of known change."""

import numpy as np
import pytest
from scipy import ndimage

from retrieval.surface import burn_phenology, burn_severity, burn_shift

SIDE = 180
CHOSEN = burn_phenology.PhenologyParameters()
FIRE = slice(100, 150), slice(20, 70)
FOREST, CROP = (0.30, 0.14, 0.06), (0.42, 0.19, 0.08)
DRY, CHAR = np.array([0.24, 0.28, 0.20]), np.array([0.08, 0.13, 0.15])


class Ground:
    """Forest to the left, fields to the right that ripen each by its own part; a fire in the forest."""

    def __init__(self, *, seed=3, ripe=0.8, burnt=0.7, fire=FIRE):
        draw = np.random.default_rng(seed)
        self.forest = np.broadcast_to(np.arange(SIDE) < 90, (SIDE, SIDE))
        before = np.where(self.forest, np.array(FOREST)[:, None, None], np.array(CROP)[:, None, None])
        fields = np.kron(draw.random((SIDE // 10, SIDE // 10)), np.ones((10, 10)))
        self.part = np.where(self.forest, 0.0, ripe * fields)
        after = before + self.part * (DRY[:, None, None] - before)
        self.fire = np.zeros((SIDE, SIDE), dtype=bool)
        self.fire[fire] = True
        after = np.where(self.fire, after + burnt * (CHAR[:, None, None] - after), after)
        noise = draw.normal(0.0, 0.003, (2, 3, SIDE, SIDE))
        self.before, self.after = (layer.astype(np.float32) for layer in (before + noise[0], after + noise[1]))

    def pair(self, **given):
        nir, swir1, swir2 = self.before
        later, later1, later2 = self.after
        return burn_severity.BurnPair(
            nir, swir2, later, later2, **{"swir1_before": swir1, "swir1_after": later1} | given
        )


def severity(pair, **given):
    return burn_severity.classify(pair, season=burn_severity.season(pair), **given)


def burnt(found):
    return (found.classes >= burn_severity.LOW) & (found.classes != burn_severity.NO_DATA)


def test_fields_that_ripen_are_unburned_and_counted_and_the_fire_is_kept():
    ground = Ground()
    found = severity(ground.pair())
    assert burnt(found)[ground.fire].mean() > 0.97
    assert burnt(found)[~ground.fire].mean() < 0.005
    assert found.other_change[~ground.forest].mean() > 0.3
    assert not (found.other_change & burnt(found)).any()


def test_without_kinds_of_vegetation_the_same_fields_look_burnt():
    ground = Ground()
    plain = burn_severity.BurnSeverityParameters(phenology=None)
    found = burn_severity.classify(
        ground.pair(), season=burn_severity.season(ground.pair(), parameters=plain), parameters=plain
    )
    assert burnt(found)[~ground.forest].mean() > 0.3
    assert not found.other_change.any()


def test_a_light_fire_without_char_is_found_by_the_forest_that_did_not_change():
    ground = Ground(burnt=0.2)
    found = severity(ground.pair())
    assert found.classes[105:145, 25:65].max() <= burn_severity.MODERATE_LOW
    assert burnt(found)[ground.fire].mean() > 0.9


def test_a_fire_among_ripening_fields_is_found_by_its_albedo():
    ground = Ground(fire=(slice(60, 120), slice(100, 160)))
    found = severity(ground.pair())
    assert burnt(found)[ground.fire].mean() > 0.9
    assert burnt(found)[~ground.fire].mean() < 0.03


def test_a_fire_that_was_seen_speaks_for_its_surroundings():
    ground = Ground(ripe=0.9, fire=(slice(0, 0), slice(0, 0)))
    model = burn_severity.season(ground.pair())
    plain = burn_severity.classify(ground.pair(), season=model)
    place = np.argwhere(plain.other_change & (plain.dnbr > 200.0))[0]
    seeds = np.zeros((SIDE, SIDE), dtype=bool)
    seeds[tuple(place)] = True
    seen = burn_severity.classify(ground.pair(), season=model, seeds=seeds)
    assert not burnt(plain)[tuple(place)]
    assert burnt(seen)[tuple(place)]


def test_where_a_helping_band_has_no_data_nothing_speaks_against_fire():
    ground = Ground()
    ground.after[1, :, 120:] = np.nan
    model = burn_severity.season(ground.pair())
    found = burn_severity.classify(ground.pair(), season=model)
    assert model.phenology is not None
    assert (found.classes != burn_severity.NO_DATA).all()
    assert burnt(found)[:, 130:].mean() > 0.3
    assert burnt(found)[:, 92:118].mean() < 0.03


def test_kinds_learn_their_own_season():
    ground = Ground()
    model = burn_severity.season(ground.pair()).phenology
    assert model is not None
    assert np.abs(model.drift).min() < 0.02
    assert model.drift.max() > 0.1
    step = CHOSEN.span[2]
    np.testing.assert_allclose(model.density.sum(axis=1) * step, 1.0, atol=1e-6)
    assert model.bands == ("nir", "swir1", "swir2")


def test_too_little_unburnt_ground_teaches_nothing():
    layer = np.full((10, 10), 0.3, dtype=np.float32)
    bands = {"nir": layer, "swir2": layer}
    known, change = np.ones((10, 10), dtype=bool), np.zeros((10, 10))
    assert burn_phenology.fit(bands, bands, change, known, parameters=CHOSEN) is None
    # Ground that is calm but all near surely burnt ground.
    ground = Ground()
    dates = tuple(dict(zip(("nir", "swir1", "swir2"), date, strict=True)) for date in (ground.before, ground.after))
    everywhere = np.where(ground.fire, 0.6, 0.0)
    wide = burn_phenology.PhenologyParameters(core_reach=300)
    assert burn_phenology.fit(*dates, everywhere, np.ones((SIDE, SIDE), dtype=bool), parameters=wide) is None


def test_other_bands_than_those_learned_from_are_a_broken_contract():
    ground = Ground()
    model = burn_severity.season(ground.pair()).phenology
    bands = {"nir": ground.before[0], "swir2": ground.before[2]}
    with pytest.raises(ValueError, match="was learned with the bands"):
        burn_phenology.evidence(
            model, bands, bands, np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE), dtype=bool), parameters=CHOSEN
        )


def smooth_ratio(seed=4, side=260):
    draw = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(draw.normal(size=(side, side)), 2.0)
    return 0.5 + 0.15 * field / field.std()


@pytest.mark.parametrize("shift", [(0.25, 0.25), (-0.6, 0.4), (1.3, -0.8)])
def test_a_displacement_is_found_and_taken_out(shift):
    before = smooth_ratio()
    after = ndimage.shift(before, shift, order=5, mode="nearest") + 0.1
    known = np.ones(before.shape, dtype=bool)
    found = burn_shift.found(before, after, known, parameters=burn_shift.ShiftParameters())
    assert found.applied
    assert (found.down, found.right) == pytest.approx(shift, abs=0.03)
    back = burn_shift.moved(after.astype(np.float32), found) - 0.1
    inner = slice(10, -10), slice(10, -10)
    assert np.std((back - before)[inner]) < 0.15 * np.std((after - 0.1 - before)[inner])


def test_what_burnt_does_not_pass_for_a_displacement():
    before = smooth_ratio()
    after = before.copy()
    after[60:140, 60:140] -= 0.6
    found = burn_shift.found(before, after, np.ones(before.shape, dtype=bool), parameters=burn_shift.ShiftParameters())
    assert not found.applied
    assert np.hypot(found.down, found.right) < 0.05


def test_no_displacement_is_claimed_where_none_can_be_known():
    flat = np.full((260, 260), 0.5)
    known = np.ones(flat.shape, dtype=bool)
    chosen = burn_shift.ShiftParameters()
    assert burn_shift.found(flat, flat, known, parameters=chosen) == burn_shift.NONE
    assert burn_shift.found(smooth_ratio(), smooth_ratio(), ~known, parameters=chosen) == burn_shift.NONE
    draw = np.random.default_rng(5)
    apart = [smooth_ratio(seed) + draw.normal(0, 0.01, (260, 260)) for seed in (6, 7)]
    assert not burn_shift.found(*apart, known, parameters=chosen).applied


def test_a_displacement_beyond_what_is_believed_is_not_taken_out():
    before = smooth_ratio()
    after = ndimage.shift(before, (1.5, 0.0), order=5, mode="nearest")
    narrow = burn_shift.ShiftParameters(largest=0.8)
    assert burn_shift.found(before, after, np.ones(before.shape, dtype=bool), parameters=narrow) == burn_shift.NONE


@pytest.mark.parametrize("shift", [(0.3, -0.2), (-0.2, 0.9), (1.0, -1.4), (0.5, 0.0)])
def test_the_earlier_date_is_made_as_soft_as_moving_makes_the_later(shift):
    noise = np.random.default_rng(9).normal(size=(300, 300)).astype(np.float32)
    place = burn_shift.Shift(*shift, 0.01, True)
    inner = slice(10, -10), slice(10, -10)
    moved, soft = burn_shift.moved(noise, place)[inner], burn_shift.softened(noise, place)[inner]
    assert np.std(soft) == pytest.approx(np.std(moved), rel=0.2)
    np.testing.assert_allclose(burn_shift.softened(noise, burn_shift.Shift(1.0, -2.0, 0.01, True)), noise, atol=1e-6)
    # Soft, and where it was.
    correlation = [np.mean(soft * np.roll(noise, -step, axis=1)[inner]) for step in (-1, 0, 1)]
    assert correlation[1] == max(correlation)
    assert correlation[0] == pytest.approx(correlation[2], abs=0.03)


def test_moving_keeps_what_has_data_and_no_more():
    layer = np.full((30, 30), 2.0, dtype=np.float32)
    layer[10:20, 10:20] = np.nan
    moved = burn_shift.moved(layer, burn_shift.Shift(0.4, 1.2, 0.0, True))
    np.testing.assert_allclose(moved[np.isfinite(moved)], 2.0, rtol=1e-5)
    assert np.isnan(moved[11:18, 10:17]).all()
    mask = np.zeros((30, 30), dtype=bool)
    mask[5, 5] = True
    assert np.argwhere(burn_shift.moved_mask(mask, burn_shift.Shift(0.6, -2.0, 0.0, True))).tolist() == [[4, 7]]


def test_classes_survive_a_displaced_later_date():
    ground = Ground(ripe=0.0)
    model = burn_severity.season(ground.pair())
    assert not model.shift.applied
    still = burn_severity.classify(ground.pair(), season=model)
    ground.after = np.stack([ndimage.shift(layer, (0.4, -0.3), order=3, mode="nearest") for layer in ground.after])
    excluded = np.zeros((SIDE, SIDE), dtype=bool)
    excluded[:5] = True
    forced = model._replace(shift=burn_shift.Shift(0.4, -0.3, 0.01, True))
    found = burn_severity.classify(ground.pair(excluded=excluded), season=forced)
    assert (found.classes[:5] == burn_severity.NO_DATA).all()
    inner = slice(10, -10), slice(10, -10)
    assert np.mean(found.classes[inner] == still.classes[inner]) > 0.985
