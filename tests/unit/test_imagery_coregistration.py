"""Co-registration: displacement found, refused, corrected and stated."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from affine import Affine
from scipy import ndimage

from processors.imagery import coregistration, oriented_gradients, qa, tie_points
from processors.imagery.coregistration import CoregistrationParameters
from processors.imagery.tie_points import Chip
from processors.simulation import imagery_pairs

PARAMETERS = CoregistrationParameters()
FINER = 5


class View(NamedTuple):
    """Two images of a landscape of fields and the displacement between them."""

    reference: np.ndarray
    target: np.ndarray


def fractal(size: int, rng: np.random.Generator, slope: float) -> np.ndarray:
    wavenumber = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    wavenumber[0, 0] = 1.0
    noise = rng.normal(size=wavenumber.shape) + 1j * rng.normal(size=wavenumber.shape)
    spectrum = noise * wavenumber ** (-slope / 2)
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(size, size))
    return field / field.std()


def landscape(size: int, rng: np.random.Generator) -> np.ndarray:
    """Fields of random brightness and texture, several cells to the pixel."""
    edge = size * FINER
    fields = np.round(4 * fractal(edge, rng, 2.8)) % 5
    return 0.05 * fields + 0.02 * fractal(edge, rng, 2.0) + 0.2


def seen(fine: np.ndarray, size: int, shift: tuple[float, float], margin: int) -> np.ndarray:
    """Mean over the cells of each pixel of the blurred landscape, moved by whole cells: exact to the sub-pixel."""
    right, down = (round(value * FINER) for value in shift)
    blurred = ndimage.gaussian_filter(fine, 0.5 * FINER)
    rows = slice(margin * FINER - down, (margin + size) * FINER - down)
    columns = slice(margin * FINER - right, (margin + size) * FINER - right)
    return blurred[rows, columns].reshape(size, FINER, size, FINER).mean(axis=(1, 3))


def clouded(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    field = fractal(image.shape[0], rng, 3.2)
    opacity = np.clip((field - np.quantile(field, 1 - share)) / 0.1 + 0.5, 0, 1)
    return image * (1 - opacity) + opacity * (0.7 + 0.05 * fractal(image.shape[0], rng, 2.5))


def view(seed: int, shift: tuple[float, float], *, size: int = 160, cloud: float = 0.0, noise: float = 0.005) -> View:
    rng = np.random.default_rng(seed)
    margin = math.ceil(max(abs(value) for value in shift)) + 2
    fine = landscape(size + 2 * margin, rng)
    images = [seen(fine, size, moved, margin) for moved in ((0.0, 0.0), shift)]
    if cloud:
        images = [clouded(image, rng, cloud) for image in images]
    return View(*(image + noise * rng.normal(size=image.shape) for image in images))


def found(pair: View, **options) -> coregistration.Coregistration:
    return coregistration.estimate_arrays(*pair, parameters=CoregistrationParameters(**options))


@pytest.fixture(scope="module")
def clear() -> View:
    return view(1, (0.4, -0.6))


@pytest.fixture(scope="module")
def measured(clear) -> coregistration.Coregistration:
    return found(clear)


def test_content_displaced_right_and_up_has_a_positive_and_a_negative_shift(measured):
    assert measured.status == "ok"
    assert (measured.shift_x, measured.shift_y) == pytest.approx((0.4, -0.6), abs=0.03)
    assert measured.ce90 < 0.3
    assert measured.n_tie_points >= 50
    assert measured.model == "translation"


def test_shift_is_recovered_to_a_twentieth_pixel_under_noise_and_clouds_of_thirty_percent():
    errors = []
    for seed in range(3):
        rng = np.random.default_rng([seed, 3])
        shift = tuple(rng.integers(-12, 13, 2) / FINER)
        result = found(view(seed + 10, shift, cloud=0.3, noise=0.01))
        assert result.status == "ok"
        errors += [result.shift_x - shift[0], result.shift_y - shift[1]]
    assert np.sqrt(np.mean(np.square(errors))) < 0.05


def test_independent_simulator_agrees_on_the_sign_and_the_size_of_the_shift():
    pair = imagery_pairs.simulate_pair(seed=5, shape=(160, 160), shift=(-1.3, 2.6), cloud_fraction=0.3, noise=0.01)
    nir = pair.bands.index("nir")
    result = found(View(pair.reference[nir], pair.target[nir]))
    assert result.status == "ok"
    assert (result.shift_x, result.shift_y) == pytest.approx((2.6, -1.3), abs=0.08)


@pytest.mark.parametrize("shift", [(31.0, -23.4), (-50.2, 12.0)])
def test_large_shifts_are_found(shift):
    result = found(view(2, shift))
    assert result.status == "ok"
    assert (result.shift_x, result.shift_y) == pytest.approx(shift, abs=0.05)


def test_shift_beyond_the_search_is_refused():
    result = found(view(3, (60.0, 0.0)), maximum_shift=20)
    assert result.status == "refused"
    assert math.isnan(result.shift_x)
    assert math.isnan(result.ce90)
    assert not result.displacement.any()


def test_small_image_is_enough():
    result = found(view(4, (1.2, 0.4), size=100))
    assert result.status == "ok"
    assert (result.shift_x, result.shift_y) == pytest.approx((1.2, 0.4), abs=0.05)


def wrong_pairs() -> dict[str, View]:
    rng = np.random.default_rng(0)
    first, second = view(5, (0.0, 0.0)), view(6, (0.0, 0.0))
    flat = np.full_like(first.reference, 0.3)
    stripes = np.broadcast_to(np.sin(np.arange(160) * 0.7), (160, 160))
    noise = rng.normal(size=(2, 160, 160))
    return {
        "another place": View(first.reference, second.target),
        "mirrored": View(first.reference, first.target[:, ::-1]),
        "turned": View(first.reference, first.target[::-1, ::-1]),
        "flat target": View(first.reference, flat),
        "two flat images": View(flat, flat),
        "noise": View(*noise),
        "landscape and noise": View(first.reference, noise[0]),
        "stripes fix one direction only": View(stripes, stripes),
        "no data": View(first.reference, np.full_like(flat, np.nan)),
        "no common data": View(
            np.where(np.arange(160) < 80, first.reference, np.nan),
            np.where(np.arange(160) >= 80, first.target, np.nan),
        ),
    }


@pytest.mark.parametrize("name", wrong_pairs())
def test_wrong_pair_is_refused_with_a_reason(name):
    result = found(wrong_pairs()[name])
    assert result.status == "refused"
    assert result.reason
    assert result.model == "none"
    assert not result.tie_points.kept.any()


def test_tiny_image_is_refused():
    result = found(View(np.ones((20, 20)), np.ones((20, 20))))
    assert result.status == "refused"
    assert "small" in result.reason


def test_scattered_tie_points_are_refused(clear):
    """A random displacement of every part leaves a residual that no model explains."""
    rng = np.random.default_rng(4)
    field = ndimage.zoom(rng.uniform(-1.6, 1.6, (2, 12, 12)), (1, 160 / 12, 160 / 12), order=1)
    rows, columns = np.mgrid[:160, :160]
    torn = ndimage.map_coordinates(clear.reference, [rows + field[0], columns + field[1]], order=3, mode="nearest")
    result = found(View(clear.reference, torn), maximum_ce90=0.4)
    assert result.status == "refused"
    assert result.n_tie_points > 0


def test_different_shapes_break_the_contract():
    with pytest.raises(ValueError, match="one shape"):
        coregistration.estimate_arrays(np.zeros((9, 9)), np.zeros((9, 8)), parameters=PARAMETERS)


def test_inverted_contrast_is_found_by_structure(clear):
    inverted = View(clear.reference, 1.0 - clear.target)
    assert found(inverted, method="gradient").status == "refused"
    result = found(inverted)
    assert result.status == "ok"
    assert result.method == "structure"
    assert (result.shift_x, result.shift_y) == pytest.approx((0.4, -0.6), abs=0.1)


def test_optical_and_speckled_radar_image_of_one_landscape_agree_to_half_a_pixel():
    pair = imagery_pairs.simulate_radar_pair(seed=3, shape=(200, 200), shift=(1.4, -2.7), relief=100.0, flattened=True)
    red = pair.bands.index("red")
    result = found(View(pair.optical[red], pair.backscatter[1]), method="structure")
    assert result.status == "ok"
    assert (result.shift_x, result.shift_y) == pytest.approx((-2.7, 1.4), abs=0.35)


def test_optical_and_radar_image_of_different_places_are_refused():
    pair = imagery_pairs.simulate_radar_pair(seed=4, shape=(160, 160), unrelated=True)
    assert found(View(pair.optical[2], pair.backscatter[1])).status == "refused"


def test_rotation_and_scale_are_found_and_corrected(clear):
    """The corrected target agrees with the reference where the displaced one does not."""
    matrix = np.array([[0.004, -0.01, 1.4], [0.01, 0.004, -0.8]])
    rows, columns = np.mgrid[:160, :160] + 0.5
    turned = Affine(1 + matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[1, 0], 1 + matrix[1, 1], matrix[1, 2])
    x, y = ~turned @ (columns, rows)
    target = ndimage.map_coordinates(clear.reference, [y - 0.5, x - 0.5], order=5, mode="nearest")
    result = found(View(clear.reference, target))
    assert result.model in {"similarity", "affine"}
    corners = np.array([[0, 0, 1], [160, 0, 1], [0, 160, 1], [160, 160, 1]])
    np.testing.assert_allclose(corners @ result.displacement.T, corners @ matrix.T, atol=0.12)
    corrected = coregistration.correct(target[None], result.displacement)[0]
    inner = (slice(10, 150), slice(10, 150))
    after = np.nanstd((corrected - clear.reference)[inner])
    assert after < 0.5 * np.std((target - clear.reference)[inner])


def test_missing_pixels_do_not_move_the_shift(clear, measured):
    rows, columns = np.mgrid[:160, :160]
    reference = np.where((rows + columns) % 60 < 4, np.nan, clear.reference)
    target = np.where(columns < 40, np.nan, clear.target)
    result = found(View(reference, target))
    assert result.status == "ok"
    assert result.shift_x == pytest.approx(measured.shift_x, abs=0.04)
    assert result.shift_y == pytest.approx(measured.shift_y, abs=0.04)


def test_standard_error_covers_the_error(measured):
    assert np.hypot(measured.shift_x - 0.4, measured.shift_y + 0.6) < 4 * measured.shift_sigma


def test_offset_of_the_grids_is_added(clear, measured):
    readers = [tie_points.array_reader(image) for image in clear]
    result = coregistration.estimate(*readers, shape=(160, 160), parameters=PARAMETERS, offset=(0.25, -0.5))
    assert result.shift_x == pytest.approx(measured.shift_x + 0.25)
    assert result.displacement[1, 2] == pytest.approx(measured.displacement[1, 2] - 0.5)
    np.testing.assert_allclose(result.tie_points.dy, measured.tie_points.dy - 0.5)


def test_windows_are_read_one_at_a_time(clear):
    """Nothing asks for more than the parts it was told to look at, and points stay within their number."""
    largest = 0

    def watched(image):
        read = tie_points.array_reader(image)

        def reader(chip: Chip):
            nonlocal largest
            largest = max(largest, chip.rows * chip.columns)
            return read(chip)

        return reader

    parameters = CoregistrationParameters(chip_size=64, chips=3, maximum_points=49)
    result = coregistration.estimate(
        watched(clear.reference), watched(clear.target), shape=(160, 160), parameters=parameters
    )
    assert result.status == "ok"
    assert largest <= 80**2
    assert result.tie_points.x.size <= 64


def test_shift_of_the_target_changes_the_result_by_just_that_shift_though_the_scene_moved_in_parts():
    """A third of the scene lies elsewhere by a pixel, the rest wobbles: the points chosen must not depend on it."""
    pair, margin = view(7, (0.2, 0.4), size=136), 8
    rows, columns = np.mgrid[:136, :136]
    wobble = 0.3 * np.sin(rows / 9.0) * np.cos(columns / 7.0) + np.where(columns > 92, 1.0, 0.0)
    torn = ndimage.map_coordinates(pair.target, [rows, columns - wobble], order=5, mode="nearest")
    inner = np.s_[margin:-margin, margin:-margin]
    results = []
    for shift in ((0.0, 0.0), (0.5, -0.5)):
        moved = ndimage.shift(torn, shift[::-1], order=5, mode="nearest")
        result = found(View(pair.reference[inner], moved[inner]), method="gradient")
        assert result.status == "ok"
        results.append(np.array([result.shift_x, result.shift_y]) - shift)
    np.testing.assert_allclose(results[1], results[0], atol=0.03)


def test_points_that_disagree_are_left_out_of_the_model():
    rng = np.random.default_rng(9)
    count, stray = 60, 12
    found_x, found_y = 0.05 * rng.normal(size=(2, count))
    found_x[:stray] += 0.8
    x, y = rng.uniform(0, 160, (2, count))
    one = np.ones(count)
    measured = tie_points.Matches(x, y, found_x, found_y, one, one, one, one, one, one, one, one > 0)
    kept = coregistration._trimmed(measured, one > 0, coregistration.NO_DISPLACEMENT, PARAMETERS)
    assert not kept[:stray].any()
    assert kept[stray:].all()


# terrain


def terrain_points(slope: float, rng: np.random.Generator) -> coregistration.TiePoints:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(20, 300, 20.0), np.arange(20, 300, 20.0)))
    dx = 0.3 + slope * heights(y, x) / 100.0 + 0.05 * rng.normal(size=x.size)
    return coregistration.TiePoints(x, y, dx, 0.05 * rng.normal(size=x.size), np.ones_like(x), np.ones(x.size, bool))


def heights(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return 200.0 * np.sin(rows / 25.0) * np.cos(columns / 30.0)


def test_displacement_that_varies_with_elevation_is_measured_and_flagged():
    rows, columns = np.mgrid[:320, :320]
    dem = tie_points.array_reader(heights(rows, columns))
    terrain = coregistration.terrain_relation(terrain_points(0.15, np.random.default_rng(1)), dem, 20)
    assert terrain.significant
    assert terrain.slope_x == pytest.approx(0.15, abs=0.02)
    assert terrain.slope_y == pytest.approx(0.0, abs=0.02)
    assert terrain.correlation > 0.8
    assert terrain.probability < 1e-6


def test_displacement_independent_of_elevation_is_not_flagged():
    rows, columns = np.mgrid[:320, :320]
    dem = tie_points.array_reader(heights(rows, columns))
    points = [terrain_points(0.0, np.random.default_rng(seed)) for seed in range(20)]
    assert sum(coregistration.terrain_relation(each, dem, 20).significant for each in points) == 0


def test_level_or_unknown_terrain_tells_nothing():
    points = terrain_points(0.1, np.random.default_rng(1))
    for height in (100.0, np.nan):
        dem = tie_points.array_reader(np.full((320, 320), height))
        assert coregistration.terrain_relation(points, dem, 20) is None


def test_terrain_on_a_plane_cannot_be_told_from_a_tilt():
    rows, columns = np.mgrid[:320, :320]
    dem = tie_points.array_reader(1.0 * rows + 2.0 * columns)
    assert coregistration.terrain_relation(terrain_points(0.1, np.random.default_rng(1)), dem, 20) is None


def test_exact_relation_of_few_points_stays_uncertain():
    points = terrain_points(0.0, np.random.default_rng(2))
    few = coregistration.TiePoints(*(column[:9] for column in points))
    exact = few._replace(dx=0.001 * heights(few.y, few.x), dy=np.zeros(9))
    rows, columns = np.mgrid[:320, :320]
    terrain = coregistration.terrain_relation(exact, tie_points.array_reader(heights(rows, columns)), 160)
    assert terrain.probability == 1.0
    assert not terrain.significant


def test_estimate_reports_the_relation_to_elevation():
    pair = imagery_pairs.simulate_pair(seed=8, shape=(200, 200), relief=400.0, look_angle=6.0)
    readers = [tie_points.array_reader(image[3]) for image in (pair.reference, pair.target)]
    result = coregistration.estimate(
        *readers, shape=(200, 200), parameters=PARAMETERS, elevation=tie_points.array_reader(pair.dem)
    )
    assert result.status == "ok"
    assert result.terrain.significant
    slopes = np.polyfit(pair.dem.ravel(), pair.displacement[::-1].reshape(2, -1).T, 1)[0] * 100
    assert (result.terrain.slope_x, result.terrain.slope_y) == pytest.approx(tuple(slopes), abs=0.15)


# correction


def test_translation_only_moves_the_origin():
    transform = Affine(10, 0, 500_000, 0, -10, 3_300_000)
    displacement = np.array([[0.0, 0.0, 0.4], [0.0, 0.0, -0.6]])
    moved = coregistration.corrected_transform(transform, displacement)
    np.testing.assert_allclose(moved[:6], (10, 0, 499_996, 0, -10, 3_299_994))


def test_corrected_transform_takes_the_content_to_where_the_reference_has_it():
    transform = Affine(10, 0, 500_000, 0, -10, 3_300_000)
    displacement = np.array([[0.01, 0.002, 0.4], [-0.003, 0.02, -0.6]])
    p = np.array([30.0, 70.0, 1.0])
    q = p[:2] + displacement @ p
    moved = coregistration.corrected_transform(transform, displacement)
    np.testing.assert_allclose(moved @ tuple(q), transform @ tuple(p[:2]))


def test_no_displacement_leaves_every_value():
    values = np.random.default_rng(0).normal(size=(2, 20, 30)).astype(np.float32)
    values[0, 3, 4] = np.nan
    np.testing.assert_array_equal(coregistration.correct(values, coregistration.NO_DISPLACEMENT), values)


def test_correction_reproduces_a_parabola_between_the_pixels():
    """Cubic convolution is exact for polynomials of second degree (Keys 1981)."""
    rows, columns = np.mgrid[:30, :30].astype(float)
    displacement = np.array([[0.0, 0.0, 0.3], [0.0, 0.0, -0.45]])

    def surface(y, x):
        return 0.02 * x**2 - 0.03 * y**2 + x - 2 * y

    corrected = coregistration.correct(surface(rows, columns)[None], displacement)[0]
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(corrected[inner], surface(rows - 0.45, columns + 0.3)[inner], atol=1e-4)


def test_missing_values_neither_spread_nor_bleed():
    values = np.full((1, 20, 20), 5.0, dtype=np.float32)
    values[0, 8:12, 8:12] = np.nan
    corrected = coregistration.correct(values, np.array([[0.0, 0.0, 1.2], [0.0, 0.0, 0.0]]))[0]
    np.testing.assert_array_equal(np.isnan(corrected[:, :18]), np.isnan(np.roll(values[0], -1, axis=1))[:, :18])
    np.testing.assert_allclose(corrected[np.isfinite(corrected)], 5.0, rtol=1e-6)


def test_correction_does_not_depend_on_the_blocks():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(1, 64, 48)).astype(np.float32)
    values[0, 20:23, 10:30] = np.nan
    displacement = np.array([[0.004, 0.01, 1.3], [-0.01, 0.004, -2.7]])
    whole = coregistration.correct(values, displacement)
    reach = coregistration.halo(displacement, (64, 48))
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach)), constant_values=np.nan)
    for row, column in ((0, 0), (16, 32), (48, 16)):
        part = padded[:, row : row + 16 + 2 * reach, column : column + 16 + 2 * reach]
        block = coregistration.correct(
            part, displacement, source=(row - reach, column - reach), wanted=Chip(row, column, 16, 16)
        )
        np.testing.assert_array_equal(block, whole[:, row : row + 16, column : column + 16])


# uncertainty and quality


def test_radiometric_sigma_is_gradient_times_displacement():
    ramp = np.broadcast_to(3.0 * np.arange(10) + 4.0 * np.arange(8)[:, None], (2, 8, 10)).copy()
    ramp[0, 2, 2] = np.nan
    sigma = coregistration.radiometric_sigma(ramp, 0.2)
    assert np.isnan(sigma[0, 2, 2])
    np.testing.assert_allclose(sigma[np.isfinite(sigma)], 0.2 * 5.0, rtol=1e-5)
    assert np.isfinite(sigma[1]).all()


def test_radiometric_sigma_covers_the_change_made_by_a_small_shift(clear):
    changes, sigmas = [], []
    for angle in np.arange(0, 6.28, 0.8):
        shift = 0.2 * np.array([np.cos(angle), np.sin(angle)])
        moved = ndimage.shift(clear.reference, shift, order=3, mode="nearest")
        changes.append((moved - clear.reference)[5:-5, 5:-5])
        sigmas.append(coregistration.radiometric_sigma(clear.reference, 0.2 / np.sqrt(2))[5:-5, 5:-5])
    assert np.sqrt(np.mean(np.square(sigmas))) == pytest.approx(np.sqrt(np.mean(np.square(changes))), rel=0.4)


def test_refusal_sets_the_quality_bit_everywhere(measured):
    refused = found(View(np.ones((40, 40)), np.ones((40, 40))))
    bits = coregistration.quality_bits(refused, (4, 5))
    assert (bits == qa.QaBit.COREGISTRATION_FAILED).all()
    assert not coregistration.quality_bits(measured, (4, 5)).any()


# features


def test_gradient_between_the_pixels_is_that_of_the_moved_image():
    rows, columns = np.mgrid[:60, :60].astype(np.float32)

    def wave(right, down):
        return np.sin(1.1 * (columns + right) + 0.7 * (rows + down)).astype(np.float32)

    moved = oriented_gradients.gradient(wave(0.3, -0.4), smoothing=0.6)
    between = oriented_gradients.gradient(wave(0.0, 0.0), smoothing=0.6, offset=(0.3, -0.4))
    inner = (slice(10, 50), slice(10, 50))
    np.testing.assert_allclose(between.value[inner], moved.value[inner], atol=0.003)


def test_gradient_is_not_known_beside_missing_pixels():
    image = np.tile(np.arange(30, dtype=np.float32), (30, 1))
    image[15, 15] = np.nan
    gradient = oriented_gradients.gradient(image, smoothing=0.6)
    assert not gradient.valid[14:17, 14:17].any()
    np.testing.assert_allclose(gradient.value[5:25, 5:12], 1.0, atol=1e-4)


def test_structure_is_the_same_for_inverted_contrast():
    image = np.random.default_rng(1).normal(size=(40, 40)).astype(np.float32)
    channels = [
        oriented_gradients.features(
            oriented_gradients.gradient(sign * image, smoothing=1.0), kind="structure", scale=0.1, smoothing=1.0
        )
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(channels[0], channels[1], atol=1e-5)


def test_logarithm_leaves_decibels_alone_and_bounds_zeros():
    decibel = np.array([[-12.0, 3.0]], dtype=np.float32)
    np.testing.assert_array_equal(oriented_gradients.logarithm(decibel), decibel)
    linear = oriented_gradients.logarithm(np.array([[0.0, 2.0, np.nan]], dtype=np.float32))
    np.testing.assert_allclose(linear, np.log([[1e-3, 2.0, np.nan]]), rtol=1e-5)


def test_no_points_give_no_matches():
    matching = next(coregistration.matchings((160, 160), blur=1.0, method="auto"))
    source = tie_points.Source(tie_points.array_reader(np.zeros((9, 9))), 1.0)
    matches = tie_points.match(source, source, origins=[], expected=np.zeros((0, 2)), matching=matching)
    assert all(column.size == 0 for column in matches)


def test_coarser_image_widens_window_and_filter():
    fine, coarse = (next(coregistration.matchings((600, 600), blur=blur, method="auto")) for blur in (1.0, 3.0))
    assert coarse.window == 3 * fine.window
    assert coarse.smoothing == pytest.approx(3 * fine.smoothing)
    assert coarse.margin == 3 * fine.margin
