"""Laws of the geometric median, the medoid and the best pixel, and what comes with them."""

import numpy as np
import pytest
from scipy import optimize

from processors.imagery import _compositing_kernels as kernels
from processors.imagery import compositing, qa

Method = compositing.Method


def center_of(points: np.ndarray) -> np.ndarray:
    center = np.empty(points.shape[1])
    kernels.geometric_median(points, center, 1e-9, 2000)
    return center


def cost(points: np.ndarray, center: np.ndarray) -> float:
    return float(np.sqrt(((points - center) ** 2).sum(axis=1)).sum())


def image_of(points: np.ndarray) -> np.ndarray:
    """Looks (look, band, y, x) of one pixel."""
    return points.astype(np.float32)[:, :, None, None]


def made(looks: np.ndarray, **arguments) -> compositing.Composite:
    return compositing.composite(looks, days=10.0 * np.arange(looks.shape[0]), **arguments)


def test_geometric_median_of_collinear_points_is_the_middle_one():
    direction = np.array([1.0, 2.0, -1.0])
    points = np.array([-3.0, -1.0, 0.25, 4.0, 9.0])[:, None] * direction
    np.testing.assert_allclose(center_of(points), 0.25 * direction, atol=1e-6)


def test_geometric_median_of_a_symmetric_set_is_its_center():
    half = np.random.default_rng(1).normal(size=(6, 4))
    middle = np.array([0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(center_of(np.concatenate([middle + half, middle - half])), middle, atol=1e-7)


def test_geometric_median_of_a_triangle_sees_its_sides_under_120_degrees():
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]])
    rays = corners - center_of(corners)
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    np.testing.assert_allclose([rays[0] @ rays[1], rays[1] @ rays[2], rays[2] @ rays[0]], -0.5, atol=1e-6)


def test_geometric_median_of_a_blunt_triangle_is_the_blunt_corner():
    """At a look itself the plain iteration of Weiszfeld divides by zero."""
    corners = np.array([[0.0, 0.0], [10.0, 0.5], [-10.0, 0.5]])
    np.testing.assert_allclose(center_of(corners), 0.0, atol=1e-4)
    heavy = np.array([[0.0, 0.0]] * 3 + [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(center_of(heavy), 0.0, atol=1e-6)


def test_geometric_median_has_the_least_sum_of_distances():
    points = np.random.default_rng(2).gamma(1.0, 0.1, (9, 5))
    found = optimize.minimize(lambda at: cost(points, at), points.mean(axis=0), method="Nelder-Mead", tol=1e-10)
    assert cost(points, center_of(points)) <= found.fun + 1e-7


def test_geometric_median_stands_less_than_half_spoiled_looks():
    rng = np.random.default_rng(3)
    ground = 0.2 + rng.normal(0.0, 0.005, (11, 6))
    ground[:5] = 0.8 + rng.normal(0.0, 0.05, (5, 6))
    assert np.abs(made(image_of(ground)).values[:, 0, 0] - 0.2).max() < 0.02
    assert np.abs(ground.mean(axis=0) - 0.2).min() > 0.2


@pytest.mark.parametrize("method", ["geomedian", "medoid"])
def test_order_of_the_looks_does_not_matter(method):
    rng = np.random.default_rng(4)
    looks = rng.uniform(0.0, 0.5, (7, 4, 8, 8)).astype(np.float32)
    first = made(looks, method=method)
    order = rng.permutation(7)
    second = made(looks[order], method=method)
    np.testing.assert_allclose(second.values, first.values, atol=2e-5)
    np.testing.assert_allclose(second.sigma, first.sigma, atol=2e-5)
    np.testing.assert_allclose(second.deviations, first.deviations, atol=2e-5)
    assert np.array_equal(order[second.source], first.source)


def test_medoid_is_a_look_and_the_one_with_the_least_sum_of_distances():
    looks = np.random.default_rng(5).uniform(0.0, 0.5, (4, 3, 6, 6)).astype(np.float32)
    found = made(looks, method="medoid")
    rows, columns = np.indices((6, 6))
    assert np.array_equal(found.values, looks[found.source, :, rows, columns].transpose(2, 0, 1))
    sums = np.sqrt(((looks[:, None] - looks[None]) ** 2).sum(axis=2)).sum(axis=1)
    assert np.array_equal(found.source, sums.argmin(axis=0))


def test_number_of_looks_decides_the_method():
    looks = np.random.default_rng(6).uniform(0.1, 0.3, (6, 2, 1, 7)).astype(np.float32)
    for column in range(7):
        looks[column:, :, 0, column] = np.nan
    found = made(looks)
    assert found.observations[0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    expected = [Method.NONE, Method.BEST, Method.BEST, Method.MEDOID, Method.MEDOID, Method.GEOMEDIAN, Method.GEOMEDIAN]
    assert found.method[0].tolist() == expected
    insufficient = (found.qa[0] & qa.QaBit.INSUFFICIENT) > 0
    assert insufficient.tolist() == [True, True, True, False, False, False, False]
    assert ((found.qa[0] & qa.QaBit.NODATA) > 0).tolist() == [True] + [False] * 6
    assert np.isnan(found.values[:, 0, 0]).all()
    assert np.isnan(found.sigma[:, 0, 0]).all()
    assert found.source[0, 0] == -1
    assert np.isfinite(found.sigma[:, 0, 1:]).all()


def test_look_that_lacks_a_band_does_not_count():
    looks = np.full((3, 2, 1, 1), 0.2, dtype=np.float32)
    looks[1, 1] = np.nan
    found = made(looks)
    assert found.observations[0, 0] == 2
    assert found.source[0, 0] != 1


@pytest.mark.parametrize(
    ("spoiled", "arguments"),
    [
        ("date", {"target_day": 10.0}),
        ("sun", {"sun_elevation": np.array([20.0, 60.0, 20.0]), "target_day": 10.0}),
        ("haze", {"bands": ("blue", "red"), "target_day": 10.0}),
        ("cloud", {"target_day": 10.0}),
    ],
)
def test_best_pixel_is_near_the_date_high_of_sun_clear_of_haze_and_far_from_clouds(spoiled, arguments):
    """Looks 0 and 2 are equally far from the target date; one term at a time makes look 1 the best."""
    looks = np.full((3, 2, 40, 40), 0.1, dtype=np.float32)
    days = np.array([0.0, 10.0, 20.0]) if spoiled == "date" else np.array([10.0, 10.0, 10.0])
    if spoiled == "haze":
        looks[[0, 2], 0] = 0.2
    if spoiled == "cloud":
        looks[[0, 2], :, 18:21, 18:21] = np.nan
    found = compositing.composite(looks, days=days, method="best", **arguments)
    assert (found.source[12:27, 12:27] == 1).all()


def test_sun_that_only_some_looks_state_is_not_judged():
    looks = np.full((2, 1, 3, 3), 0.1, dtype=np.float32)
    days = np.array([0.0, 1.0])
    found = compositing.composite(
        looks, days=days, method="best", target_day=0.0, sun_elevation=np.array([np.nan, 80.0])
    )
    assert (found.source == 0).all()


def test_blocks_with_their_halo_give_what_the_whole_gives():
    rng = np.random.default_rng(7)
    looks = rng.uniform(0.0, 0.4, (6, 3, 90, 90)).astype(np.float32)
    for look in range(6):
        row, column = rng.integers(0, 60, 2)
        looks[look, :, row : row + 30, column : column + 25] = np.nan
    halo = compositing.CompositingParameters().cloud_reach
    for method in ("auto", "best"):
        whole = made(looks, method=method)
        part = made(looks[..., 40 - halo :, : 50 + halo], method=method)
        inner = (..., slice(halo, 50), slice(0, 50))
        for name in compositing.Composite._fields:
            assert np.array_equal(
                getattr(part, name)[inner], getattr(whole, name)[..., 40:, :50][..., : 50 - halo, :], equal_nan=True
            )


def test_deviations_are_the_medians_of_the_three_distances():
    points = np.random.default_rng(8).uniform(0.1, 0.5, (7, 4))
    found = made(image_of(points))
    center = found.values[:, 0, 0].astype(np.float64)
    points = points.astype(np.float32).astype(np.float64)
    euclidean = np.linalg.norm(points - center, axis=1)
    cosine = 1 - points @ center / np.linalg.norm(points, axis=1) / np.linalg.norm(center)
    bray_curtis = np.abs(points - center).sum(axis=1) / np.abs(points + center).sum(axis=1)
    expected = [np.median(euclidean), np.median(cosine), np.median(bray_curtis)]
    np.testing.assert_allclose(found.deviations[:, 0, 0], expected, rtol=1e-3, atol=1e-6)


def test_spectral_deviation_ignores_brightness_and_the_euclidean_one_does_not():
    spectrum = np.array([0.1, 0.2, 0.4])
    found = made(image_of(np.linspace(0.5, 1.5, 7)[:, None] * spectrum))
    assert found.deviations[1, 0, 0] < 1e-6
    assert found.deviations[0, 0, 0] > 0.05


@pytest.mark.parametrize("count", [3, 5, 9, 20])
@pytest.mark.parametrize("noise", [0.01, 0.04])
def test_uncertainty_covers_the_level_of_noisy_looks(count, noise):
    rng = np.random.default_rng(9)
    truth = rng.uniform(0.05, 0.3, (4, 48, 48))
    found = made((truth + rng.normal(0.0, noise, (count, 4, 48, 48))).astype(np.float32))
    score = np.abs(found.values - truth) / found.sigma
    assert 0.60 < (score < 1).mean() < 0.93 if count < 5 else 0.60 < (score < 1).mean() < 0.80
    assert (score < 2).mean() > (0.86 if count <= 5 else 0.90)


def test_uncertainty_falls_with_the_number_of_looks():
    rng = np.random.default_rng(10)
    looks = (0.2 + rng.normal(0.0, 0.02, (40, 3, 16, 16))).astype(np.float32)
    sigma = [float(made(looks[:count]).sigma.mean()) for count in (1, 5, 10, 40)]
    assert sigma == sorted(sigma, reverse=True)
    assert sigma[3] < sigma[1] / 2


def test_unknown_method_and_unfit_shapes_are_refused():
    looks = np.zeros((2, 1, 2, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="mean"):
        made(looks, method="mean")
    with pytest.raises(ValueError, match="days"):
        compositing.composite(looks, days=np.zeros(3))


def test_codes_of_the_method_layer_are_told():
    told = compositing.layer_attributes()
    assert dict(zip(told["flag_values"].tolist(), told["flag_meanings"].split(), strict=True)) == {
        0: "none",
        1: "geomedian",
        2: "medoid",
        3: "best",
    }
