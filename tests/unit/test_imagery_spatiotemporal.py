"""Spatio-temporal fusion: better than the trivial predictions where there is change, not worse where there is none."""

import functools

import numpy as np
import pytest

from processors.imagery import _spatiotemporal_kernels as kernels
from processors.imagery import coarse_change, coarse_lattice, coarse_transition, qa, spatiotemporal
from processors.imagery.coarse_lattice import Block, Lattice
from processors.quality import BadInputError
from processors.simulation import imagery_change

RATIO = 12
SIZE = 144
WHOLE = Block(0, 0, SIZE, SIZE)
LATTICE = Lattice(SIZE // RATIO, SIZE // RATIO, 0.0, 0.0, float(RATIO), float(RATIO))
BANDS = ("green", "red", "nir")


@functools.cache
def series(seed=0, **choices):
    """Three dates of an independent simulation."""
    return imagery_change.simulate_change(seed=seed, shape=(SIZE, SIZE), ratio=RATIO, bands=BANDS, **dict(choices))


def predicted(scene, dates, goal, **arguments):
    coarse = scene.coarse.astype(np.float64)
    return spatiotemporal.fuse(
        scene.fine[list(dates)].astype(np.float32), coarse[list(dates)], coarse[goal], LATTICE, **arguments
    )


@functools.cache
def usual(dates, goal):
    """The prediction of the first simulation."""
    return predicted(series(), dates, goal)


def rmse(image, truth):
    return np.sqrt(np.nanmean(np.square(image - truth), axis=(1, 2)))


def upsampled(coarse):
    return coarse_lattice.interpolated(coarse.astype(np.float64), WHOLE, LATTICE)


def trivial(scene, dates, goal):
    """Errors of persistence, coarse delta, and with two pairs interpolation and mean of two deltas."""
    deltas = [scene.fine[date] + upsampled(scene.coarse[goal] - scene.coarse[date]) for date in dates]
    images = [*(scene.fine[date] for date in dates), *deltas]
    if len(dates) == 2:
        days = scene.days
        part = (days[goal] - days[dates[0]]) / (days[dates[1]] - days[dates[0]])
        images += [(1 - part) * scene.fine[dates[0]] + part * scene.fine[dates[1]], np.mean(deltas, axis=0)]
    return np.array([rmse(image, scene.truth[goal]) for image in images])


@pytest.mark.parametrize(("dates", "goal"), [((0,), 1), ((2,), 1), ((0, 2), 1)])
def test_real_change_is_predicted_better_than_by_every_trivial_method(dates, goal):
    scene = series()
    errors = rmse(usual(dates, goal).prediction.values, scene.truth[goal])
    baselines = trivial(scene, dates, goal)
    assert errors.mean() < 0.95 * baselines.mean(axis=1).min()
    assert (errors <= 1.02 * baselines.min(axis=0)).sum() >= len(BANDS) - 1


def noisy(scale, seed=3):
    """No change, but coarse images that are mostly noise."""
    rng = np.random.default_rng(seed)
    scene = series(seed=1)
    fine = scene.truth[[0, 0]] + rng.normal(0.0, 0.002, scene.truth[[0, 0]].shape)
    coarse = scene.coarse[[0, 0, 0]] + rng.normal(0.0, scale, scene.coarse[[0, 0, 0]].shape)
    return fine.astype(np.float32), coarse.astype(np.float64), scene.truth[0]


@pytest.mark.parametrize("scale", [0.003, 0.02])
def test_noise_of_the_coarse_images_does_not_pass_for_change(scale):
    fine, coarse, truth = noisy(scale)
    one = spatiotemporal.fuse(fine[:1], coarse[:1], coarse[2], LATTICE).prediction.values
    two = spatiotemporal.fuse(fine, coarse[:2], coarse[2], LATTICE).prediction.values
    assert rmse(one, truth).mean() < np.hypot(rmse(fine[0], truth), 0.15 * scale).mean()
    assert rmse(two, truth).mean() < rmse(fine[0], truth).mean()
    assert rmse(fine[0] + upsampled(coarse[2] - coarse[0]), truth).mean() > 1.5 * rmse(one, truth).mean() * min(
        1.0, scale / 0.01
    )


def test_uncertainty_covers_the_truth_as_often_as_it_says():
    ratios = []
    for seed, dates, goal in ((0, (0,), 1), (0, (0, 2), 1), (2, (0,), 2), (2, (0, 2), 1)):
        scene = series(seed=seed)
        made = (predicted(scene, dates, goal) if seed else usual(dates, goal)).prediction
        ratios.append(np.abs(made.values - scene.truth[goal]) / made.sigma)
    assert 0.60 <= np.mean(np.stack(ratios) < 1.0) <= 0.77
    assert 0.88 <= np.mean(np.stack(ratios) < 2.0) <= 0.98


def test_uncertainty_is_larger_where_the_error_is():
    scene = series()
    made = usual((0,), 1).prediction
    error = np.abs(made.values - scene.truth[1])
    for band in range(len(BANDS)):
        low, high = np.quantile(made.sigma[band], [0.25, 0.9])
        assert error[band][made.sigma[band] > high].mean() > 1.2 * error[band][made.sigma[band] < low].mean()


def test_gain_and_bias_of_the_coarse_sensor_do_not_matter():
    scene = series()
    coarse = scene.coarse.astype(np.float64)
    plain = spatiotemporal.fuse(scene.fine[[0]].astype(np.float32), coarse[[0]], coarse[1], LATTICE)
    other = 0.85 * coarse + 0.02
    biased = spatiotemporal.fuse(scene.fine[[0]].astype(np.float32), other[[0]], other[1], LATTICE)
    errors = [rmse(made.prediction.values, scene.truth[1]).mean() for made in (plain, biased)]
    assert errors[1] < 1.05 * errors[0]
    ratio = [b.gain / a.gain for a, b in zip(plain.plan.model.bands, biased.plan.model.bands, strict=True)]
    assert np.mean(ratio) > 1.08


@pytest.mark.parametrize(("factor", "constant"), [(10_000.0, 0.0), (40.0, 273.0), (1.0, -0.5)])
def test_unit_and_zero_of_the_values_do_not_matter(factor, constant):
    """Reflectance, digital numbers, kelvin and negative values are all the same to the method."""
    scene = series()
    fine, coarse = (factor * layer[[0, 2, 1]].astype(np.float64) + constant for layer in (scene.fine, scene.coarse))
    made = spatiotemporal.fuse(fine[:2].astype(np.float32), coarse[:2], coarse[2], LATTICE).prediction
    plain = usual((0, 2), 1).prediction
    difference = np.abs(made.values - (factor * plain.values + constant))
    assert difference.max() < 0.01 * factor
    assert difference.mean() < 3e-4 * factor
    assert np.abs(made.sigma / (factor * plain.sigma) - 1.0).mean() < 0.02
    assert constant >= 0 or (made.values < 0).any()


def test_order_of_the_pairs_does_not_matter():
    scene = series()
    forward = usual((0, 2), 1).prediction
    backward = usual((2, 0), 1).prediction
    errors = [rmse(made.values, scene.truth[1]).mean() for made in (forward, backward)]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert np.abs(forward.values - backward.values).mean() < 0.2 * errors[0]
    assert ((forward.pair == 2) == (backward.pair == 1)).mean() > 0.99


def test_prediction_is_the_same_however_the_scene_is_cut():
    scene = series()
    fine = scene.fine[[0, 2]].astype(np.float32)
    made = usual((0, 2), 1)
    block = Block(31, 50, 67, 41)
    part = spatiotemporal.predict(spatiotemporal.cut(fine, block), block, made.plan)
    for name in spatiotemporal.Prediction._fields:
        whole = spatiotemporal.cut(getattr(made.prediction, name), block)
        assert np.array_equal(getattr(part, name), whole), name


def test_sums_over_coarse_pixels_do_not_depend_on_the_cut():
    scene = series()
    fine = scene.fine[[0]].astype(np.float32)
    classes = spatiotemporal.class_sets(
        [(fine, WHOLE)], cells=144, parameters=spatiotemporal.SpatiotemporalParameters()
    )
    blocks = coarse_lattice.blocks((SIZE, SIZE), 50)
    cut = sum(spatiotemporal.totals(spatiotemporal.cut(fine, b), b, LATTICE, classes[0]) for b in blocks)
    assert cut == pytest.approx(spatiotemporal.totals(fine, WHOLE, LATTICE, classes[0]), rel=1e-9, abs=1e-7)


def test_pixel_that_one_fine_image_lacks_comes_from_the_other():
    scene = series()
    fine = scene.fine[[0, 2]].astype(np.float32)
    fine[0, :, 40:60, 40:60] = np.nan
    fine[1, 1, 100:110, 20:30] = np.nan
    fine[:, :, 5, 5] = np.nan
    coarse = scene.coarse.astype(np.float64)
    made = spatiotemporal.fuse(fine, coarse[[0, 2]], coarse[1], LATTICE).prediction
    hole, other = np.s_[40:60, 40:60], np.s_[100:110, 20:30]
    assert (made.pair[hole] == 2).all()
    assert (made.pair[other] == 1).all()
    assert rmse(made.values[:, *hole], scene.truth[1][:, *hole]).mean() < 0.06
    assert np.isnan(made.values[:, 5, 5]).all()
    assert np.isfinite(made.values).all(axis=0).sum() == SIZE**2 - 1
    assert made.qa[5, 5] == qa.QaBit.NODATA | qa.QaBit.INSUFFICIENT
    assert (made.source[5, 5], made.pair[5, 5]) == (qa.Source.NONE, 0)


def test_place_without_coarse_target_is_flagged_and_less_certain():
    scene = series()
    coarse = scene.coarse.astype(np.float64)
    target = coarse[1].copy()
    target[:, 2:5, 3:6] = np.nan
    hole = np.s_[2 * RATIO : 5 * RATIO, 3 * RATIO : 6 * RATIO]
    fine = scene.fine.astype(np.float32)
    one = spatiotemporal.fuse(fine[[0]], coarse[[0]], target, LATTICE).prediction
    two = spatiotemporal.fuse(fine[[0, 2]], coarse[[0, 2]], target, LATTICE).prediction
    whole = usual((0,), 1).prediction
    assert (one.source[hole] == qa.Source.NEAREST_DATE).all()
    assert (two.source[hole] == qa.Source.TEMPORAL_INTERPOLATION).all()
    for made in (one, two):
        beyond = made.qa & qa.QaBit.EXTRAPOLATED > 0
        assert beyond[hole].all()
        assert beyond.sum() == (3 * RATIO) ** 2
        assert np.isfinite(made.values).all()
    assert one.sigma[:, *hole].mean() > 1.2 * whole.sigma[:, *hole].mean()


@pytest.mark.parametrize("pair", [0, 1])
def test_gap_in_the_coarse_image_of_one_of_two_pairs_is_bridged(pair):
    scene = series()
    coarse = scene.coarse[[0, 2, 1]].astype(np.float64)
    coarse[pair, :, :4] = np.nan
    made = spatiotemporal.fuse(scene.fine[[0, 2]].astype(np.float32), coarse[:2], coarse[2], LATTICE).prediction
    assert (made.source == qa.Source.TEMPORAL_REGRESSION).all()
    whole = rmse(usual((0, 2), 1).prediction.values, scene.truth[1]).mean()
    assert rmse(made.values, scene.truth[1]).mean() < 1.5 * whole


def test_coarse_image_that_covers_half_the_scene_leaves_the_other_half_flagged():
    scene = series()
    coarse = scene.coarse[..., :6].astype(np.float64)
    made = spatiotemporal.fuse(
        scene.fine[[0]].astype(np.float32), coarse[[0]], coarse[1], LATTICE._replace(columns=6)
    ).prediction
    beyond = made.qa & qa.QaBit.EXTRAPOLATED > 0
    assert not beyond[:, : 6 * RATIO].any()
    assert beyond[:, 6 * RATIO :].all()
    assert np.isfinite(made.values).all()


def test_trial_tells_the_errors_of_all_candidates():
    scene = series()
    trials = usual((0, 2), 1).plan.trials
    assert [(trial.start, trial.predicted) for trial in trials] == [(0, 1), (1, 0)]
    for trial in trials:
        dates = (0, 2)
        start, goal = scene.fine[dates[trial.start]], scene.fine[dates[trial.predicted]]
        assert trial.rmse["persistence"] == pytest.approx(rmse(start, goal), rel=1e-4)
        delta = upsampled(scene.coarse[dates[trial.predicted]] - scene.coarse[dates[trial.start]])
        assert trial.rmse["coarse_delta"] == pytest.approx(rmse(start + delta, goal), rel=1e-4)
        assert (trial.rmse["fused"] <= 1.02 * trial.rmse["persistence"]).all()


def test_date_counts_where_the_coarse_images_tell_nothing():
    fine, coarse, _ = noisy(0.02)
    for weight in (0.2, 0.8):
        model = spatiotemporal.fuse(fine, coarse[:2], coarse[2], LATTICE, date_weight=weight).plan.model
        assert np.mean([band.weights[1] for band in model.bands]) == pytest.approx(weight, abs=0.15)


def test_one_pair_tells_what_every_part_leaves_of_the_coarse_change():
    for band in usual((0,), 1).plan.model.bands:
        left = band.unexplained
        assert left.start >= left.mean_change >= 0.99 * left.spectral_change > left.noise > 0.0


def test_noise_of_the_fine_images_is_told_from_their_texture():
    """The landscape varies by much more from pixel to pixel than the noise of 0.002 that was added to it."""
    for dates in ((0,), (0, 2)):
        noise = usual(dates, 1).plan.fine_noise
        assert noise.shape == (len(dates), len(BANDS))
        assert (noise > 0.0015).all()
    assert usual((0, 2), 1).plan.fine_noise.mean() < 0.0035


def test_weight_of_the_second_date_is_common_to_bands_that_do_not_contradict():
    rng = np.random.default_rng(5)
    cells, rest = (12, 12), coarse_transition.TransitionParameters()
    first, step = rng.normal(0.2, 0.05, (2, 4, *cells))
    step[3] *= 0.02
    fine = np.stack([first, first + step])
    mean = coarse_transition.Averages(fine, np.zeros((1, *cells)), np.stack([fine] * 4), np.ones(cells, dtype=bool))
    target = first + 0.3 * step + rng.normal(0.0, 0.005, first.shape)
    weights, error = coarse_transition._weights(mean, fine, target, None, rest)
    assert weights[1] == pytest.approx(0.3, abs=0.04)
    assert (error < 0.06).all()
    target[0] = first[0] + 0.9 * step[0]
    assert coarse_transition._weights(mean, fine, target, None, rest)[0][1, 0] > 0.8


def test_two_coarse_pixels_are_enough_for_the_mean_change():
    fine = np.random.default_rng(0).normal(0.2, 0.02, (1, 2, 24, 12)).astype(np.float32)
    coarse = fine.reshape(1, 2, 2, 12, 12).mean(axis=(3, 4))[..., None].astype(np.float64)
    made = spatiotemporal.fuse(fine, coarse, coarse[0] + 0.1, Lattice(2, 1, 0.0, 0.0, 12.0, 12.0)).prediction
    assert made.values == pytest.approx(fine[0] + 0.1, abs=1e-4)


def test_constant_image_is_predicted():
    fine = np.full((2, 1, 36, 36), 0.3, np.float32)
    fine[1] = 0.4
    coarse = np.full((2, 1, 3, 3), 0.3)
    coarse[1] = 0.4
    made = spatiotemporal.fuse(fine, coarse, np.full((1, 3, 3), 0.35), Lattice(3, 3, 0.0, 0.0, 12.0, 12.0)).prediction
    assert made.values == pytest.approx(0.35, abs=1e-3)
    assert np.isfinite(made.sigma).all()


def refused(cause, fine, coarse, target, lattice=LATTICE):
    with pytest.raises(BadInputError) as caught:
        spatiotemporal.fuse(fine, coarse, target, lattice)
    assert caught.value.cause == cause


def test_images_that_do_not_belong_together_are_refused():
    scene = series()
    fine, coarse = scene.fine.astype(np.float32), scene.coarse.astype(np.float64)
    refused("band_mismatch", fine[[0]], coarse[[0], :2], coarse[1])
    refused("too_many_pairs", fine, coarse, coarse[1])
    refused("too_many_pairs", fine[[0]], coarse[[0, 2]], coarse[1])
    refused("duplicate_date", fine[[0, 0]], coarse[[0, 2]], coarse[1])
    refused("coarse_finer", fine[[0]], coarse[[0]], coarse[1], LATTICE._replace(row_step=1.0))
    refused("outside_area", fine[[0]], coarse[[0]], coarse[1], LATTICE._replace(row_origin=500.0))
    refused("all_missing", fine[[0]], coarse[[0]], np.full_like(coarse[1], np.nan))
    refused("all_missing", fine[[0]], np.full_like(coarse[[0]], np.nan), coarse[1])
    refused("all_missing", np.full_like(fine[[0]], np.nan), coarse[[0]], coarse[1])


# coarse lattice


def test_sums_keep_the_whole_on_a_lattice_that_does_not_divide_the_grid():
    image = np.random.default_rng(1).normal(size=(2, 50, 40))
    lattice = Lattice(9, 8, -3.7, -2.2, 6.3, 5.9)
    sums = coarse_lattice.totals(image, Block(0, 0, 50, 40), lattice)
    assert sums.sum(axis=(1, 2)) == pytest.approx(image.sum(axis=(1, 2)))
    area = coarse_lattice.totals(np.ones((1, 50, 40)), Block(0, 0, 50, 40), lattice)
    assert area[0, 4, 4] == pytest.approx(6.3 * 5.9)
    assert area[0, 0, 0] == pytest.approx((6.3 - 3.7) * (5.9 - 2.2))


def test_interpolation_keeps_a_plane_and_the_means():
    lattice = Lattice(10, 10, 0.0, 0.0, 8.0, 8.0)
    place = 8.0 * (np.arange(10) + 0.5)
    plane = np.broadcast_to(2.0 * place[:, None] - place, (1, 10, 10))
    fine = coarse_lattice.interpolated(plane, Block(0, 0, 80, 80), lattice)[0]
    pixel = np.arange(80) + 0.5
    inner = np.s_[4:-4, 4:-4]
    assert fine[inner] == pytest.approx((2.0 * pixel[:, None] - pixel)[inner])
    rough = np.random.default_rng(2).normal(size=(1, 10, 10))
    nodes = coarse_lattice.prepared(rough)
    means = (
        coarse_lattice.totals(
            coarse_lattice.interpolated(nodes, Block(0, 0, 80, 80), lattice), Block(0, 0, 80, 80), lattice
        )
        / 64
    )
    assert np.abs(means - rough).max() < 0.1 * np.abs(rough).max()


@pytest.mark.parametrize(("size", "top", "left"), [(8, 0, 0), (12, 5, 11), (30, 7, 0)])
def test_copied_coarse_pixels_are_found_with_their_place(size, top, left):
    rng = np.random.default_rng(size)
    coarse = rng.normal(size=(2, 8, 9))
    copied = np.repeat(np.repeat(coarse, size, axis=1), size, axis=2)[:, top:, left:]
    lattice = coarse_lattice.true_lattice(copied, copied, shape=copied.shape[1:])
    assert (lattice.row_step, lattice.column_step) == (size, size)
    assert (lattice.row_origin, lattice.column_origin) == (-top, -left)
    assert lattice.shape == (8, 9)


def test_interpolated_coarse_pixels_are_measured_with_the_fine_image():
    scene = series()
    shown = upsampled(scene.coarse[0])
    lattice = coarse_lattice.true_lattice(shown, scene.fine[0], shape=(SIZE, SIZE))
    assert RATIO / 1.7 < lattice.row_step < 1.7 * RATIO
    assert lattice.rows * lattice.row_step == pytest.approx(SIZE)


def test_image_without_likeness_gets_some_lattice():
    empty = np.full((1, 20, 20), np.nan)
    assert coarse_lattice.true_lattice(empty, empty, shape=(20, 20)).rows >= 3
    flat = np.zeros((1, 20, 20))
    assert coarse_lattice.true_lattice(flat, flat, shape=(20, 20)).rows >= 3


# statistics of the coarse change


@pytest.mark.parametrize("noise", [0.1, 1.0])
@pytest.mark.parametrize("kind", ["none", "smooth", "patches"])
def test_shrunken_layer_is_nearer_the_signal_than_the_observation_and_than_zero(kind, noise):
    rng = np.random.default_rng(5)
    place = np.arange(30) / 30.0
    signal = {
        "none": np.zeros((30, 30)),
        "smooth": 2.0 * np.sin(4.0 * place[:, None]) * np.cos(5.0 * place),
        "patches": 4.0 * (rng.random((30, 30)) < 0.05),
    }[kind]
    observed = signal + rng.normal(0.0, noise, signal.shape)
    made = coarse_change.shrunken(observed, np.ones((30, 30), bool), noise=noise, widths=(0.7, 1.8))
    error = np.square(made.values - signal).mean()
    assert error < 0.5 * noise**2
    assert error < 0.6 * np.square(signal).mean() + 0.01 * noise**2
    assert made.variance == pytest.approx(error, abs=0.25 * noise**2)


def test_layer_without_noise_is_kept_and_an_empty_one_is_zero():
    layer = np.random.default_rng(6).normal(size=(20, 20))
    everywhere = np.ones((20, 20), bool)
    made = coarse_change.shrunken(layer, everywhere, noise=0.0, widths=(0.7,))
    assert made.values == pytest.approx(layer, abs=1e-4)
    assert not coarse_change.shrunken(layer, ~everywhere, noise=1.0, widths=(0.7,)).values.any()


def test_relation_finds_effects_and_leaves_out_groups_without():
    rng = np.random.default_rng(7)
    features = np.column_stack([np.ones(300), rng.normal(size=(300, 12))])
    group = np.array([0] + [1] * 4 + [2] * 8)
    truth = np.array([1.0, 0.5, -0.3, 0.2, 0.0] + [0.0] * 8)
    change = features @ truth + rng.normal(0.0, 0.1, 300)
    change[:6] += 5.0
    made = coarse_change.relation(features, change, group=group, optional=(1, 2), noise=0.1, tail=4.0)
    assert made.coefficients[:5] == pytest.approx(truth[:5], abs=0.05)
    assert np.abs(made.coefficients[5:]).max() < 1e-3
    assert made.deviation < 0.3
    spread = np.sqrt(np.diag(made.covariance)[1:5])
    assert (0.5 * made.deviation / np.sqrt(300) < spread).all()
    assert (spread < 2.0 * made.deviation / np.sqrt(300)).all()


def test_white_noise_is_told_from_a_plane():
    place = np.arange(40.0)
    layer = 3.0 * place[:, None] - place + np.random.default_rng(8).normal(0.0, 0.5, (40, 40))
    assert coarse_change.white_noise(layer, np.ones((40, 40), bool)) == pytest.approx(0.5, rel=0.1)
    assert coarse_change.white_noise(layer, np.zeros((40, 40), bool)) == 0.0


@pytest.mark.parametrize("kernel", [kernels.memberships, kernels.memberships.py_func])
def test_memberships_sum_to_one_and_favor_the_nearest_class(kernel):
    centers = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], np.float32)
    pixels = np.array([[0.1, 0.1], [2.9, 0.0], [0.0, 2.0], [500.0, 0.0], [np.nan, 0.0]], np.float32)
    shares = kernel(pixels, centers, 1.0)
    assert shares[:4].sum(axis=1) == pytest.approx(1.0)
    assert shares[:4].argmax(axis=1).tolist()[:2] == [0, 1]
    assert shares[2, 0] == pytest.approx(shares[2, 2])
    assert shares[2, 0] / shares[2, 1] == pytest.approx(np.exp(-0.5 * (4.0 - 13.0)), rel=1e-4)
    assert shares[3, 1] == pytest.approx(1.0)
    assert np.isnan(shares[4]).all()
