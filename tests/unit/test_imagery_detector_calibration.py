"""Every detector's dark, gain, non-linearity and defects, found again in simulated acquisitions and taken off."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from processors.imagery import detector_calibration, line_packet, qa, radiometry
from processors.quality import BadInputError

PIXELS = 256
BANDS = len(line_packet.BANDS)
DESIGN = radiometry.RadiometricCalibration()
RESPONSIVITY = np.asarray(DESIGN.responsivity)
INTEGRATION = 2e-3
CONVERSION = 0.06
READ = 1.8
CURVE = -8e-6
HOT, DEAD, NOISY = (1, 40), (2, 90), (3, 130)


@dataclasses.dataclass
class Array:
    """A detector array whose every property is known, written without the code under test."""

    rng: np.random.Generator

    def __post_init__(self):
        self.dark = np.asarray(DESIGN.dark)[:, None] + self.rng.normal(0, 3, (BANDS, PIXELS))
        self.slope = 0.4 + self.rng.normal(0, 0.02, (BANDS, PIXELS))
        self.gain = 1.0 + self.rng.normal(0, 0.02, (BANDS, PIXELS))
        self.gain /= self.gain.mean(axis=1, keepdims=True)
        self.dark[HOT] += 300.0
        self.gain[DEAD] = 0.02

    def counts(self, radiance, *, temperature=293.0):
        """Counts (band, line, pixel) of radiance of the same shape."""
        electrons = radiance * (RESPONSIVITY[:, None, None] * INTEGRATION / CONVERSION) * self.gain[:, None, :]
        signal = CONVERSION * self.rng.poisson(electrons)
        # the response sags: S (1 + a S) = linear signal
        bent = (np.sqrt(1.0 + 4.0 * CURVE * signal) - 1.0) / (2.0 * CURVE)
        read = self.rng.normal(0, READ, radiance.shape)
        read[NOISY[0], :, NOISY[1]] *= 20.0
        values = bent + (self.dark + self.slope * (temperature - 293.0))[:, None, :] + read
        return np.clip(np.rint(values), 0, line_packet.FULL_SCALE)

    def acquisition(self, share, *, lines=200, temperature=293.0):
        """Share of the full signal of 3800 counts."""
        level = share * 3800.0 / (RESPONSIVITY * INTEGRATION)
        light = np.broadcast_to(level[:, None, None], (BANDS, lines, PIXELS))
        return detector_calibration.Acquisition(
            self.counts(light, temperature=temperature), temperature, level, np.ones(BANDS), np.full(BANDS, INTEGRATION)
        )


@pytest.fixture(scope="module")
def array():
    return Array(np.random.default_rng(11))


@pytest.fixture(scope="module")
def acquisitions(array):
    dark = [array.acquisition(0.0, temperature=t) for t in (288.0, 293.0, 298.0)]
    return dark, [array.acquisition(share) for share in (0.1, 0.3, 0.5, 0.7, 0.9)]


@pytest.fixture(scope="module")
def found(acquisitions):
    return detector_calibration.calibration_from_acquisitions(*acquisitions, version="test-1")


def strip_of(counts, *, temperature=293.0):
    bands, lines = counts.shape[:2]
    return xr.Dataset(
        {
            "counts": (("band", "line", "pixel"), counts.astype(np.uint16)),
            "line_valid": (("band", "line"), np.ones((bands, lines), dtype=bool)),
            "focal_plane_temperature": ("line", np.full(lines, temperature)),
        },
        coords={"band": list(line_packet.BANDS)},
        attrs={"gain": [1.0] * bands, "integration_time": [INTEGRATION] * bands},
    )


def a_scene(rng, lines=60):
    """Smooth radiance at 20 to 60 % of the range."""
    x = np.linspace(0, 4, PIXELS)[None, None, :] + np.linspace(0, 1, lines)[None, :, None]
    share = 0.4 + 0.2 * np.sin(x + rng.uniform(0, 6, (BANDS, 1, 1)))
    return share * 3800.0 / (RESPONSIVITY * INTEGRATION)[:, None, None]


def test_bad_detectors_are_found_and_no_others(found):
    assert set(zip(*np.nonzero(found.bad), strict=True)) == {HOT, DEAD, NOISY}


def test_dark_gain_curve_and_noise_are_recovered(found, array):
    good = ~found.bad
    assert np.abs(found.dark - array.dark)[good].max() < 0.4
    assert np.abs(found.dark_slope - array.slope)[good].max() < 0.1
    assert np.sqrt(np.mean((found.relative_gain - array.gain)[good] ** 2)) < 6e-4
    np.testing.assert_allclose(found.nonlinearity[:, 0], CURVE, rtol=0.1)
    np.testing.assert_allclose(found.radiometric.responsivity, RESPONSIVITY, rtol=2e-3)
    np.testing.assert_allclose(found.read_noise, READ, rtol=0.03)
    np.testing.assert_allclose(found.conversion, CONVERSION, rtol=0.05)


def test_radiance_returns_with_honest_noise_at_another_temperature(found, array):
    rng = np.random.default_rng(12)
    truth = a_scene(rng)
    result = detector_calibration.calibrated(strip_of(array.counts(truth, temperature=296.0), temperature=296.0), found)
    good = ~np.broadcast_to(found.bad[:, None, :], truth.shape)
    score = ((result.radiance - truth) / result.noise)[good]
    assert abs(score.mean()) < 0.1
    assert 0.62 < np.mean(np.abs(score) < 1) < 0.75
    assert 0.93 < np.mean(np.abs(score) < 2) < 0.98


def test_destriping_leaves_a_tenth_of_the_stripes(found, array):
    truth = a_scene(np.random.default_rng(13))
    strip = strip_of(array.counts(truth))
    plain = detector_calibration.calibrated(
        strip, detector_calibration.uniform(found.radiometric, pixels=PIXELS)
    ).radiance
    fitted = detector_calibration.calibrated(strip, found).radiance
    for band in (0, 4):
        assert detector_calibration.striping(fitted[band]) < 0.1 * detector_calibration.striping(plain[band])


def test_striping_of_an_even_image_is_none_and_of_known_stripes_their_size():
    even = np.full((20, 200), 3.0)
    assert detector_calibration.striping(even) == 0.0
    striped = even.copy()
    striped[:, ::20] *= 1.1
    striped[0, 5] = np.nan
    assert detector_calibration.striping(striped) == pytest.approx(0.1 / np.sqrt(20), rel=0.07)
    assert np.isnan(detector_calibration.striping(even * np.nan))


def test_interpolated_detectors_are_near_the_truth_flagged_and_less_certain(found, array):
    truth = a_scene(np.random.default_rng(14))
    result = detector_calibration.calibrated(strip_of(array.counts(truth)), found)
    assert (result.interpolated, result.lost) == (3, 0)
    np.testing.assert_allclose(result.radiance[DEAD[0], :, DEAD[1]], truth[DEAD[0], :, DEAD[1]], rtol=0.03)
    filled = result.bits & qa.QaBit.FILLED > 0
    assert set(np.flatnonzero(filled[0])) == {HOT[1], DEAD[1], NOISY[1]}
    assert filled.all(axis=0).sum() == 3


def test_long_runs_of_bad_detectors_and_those_at_the_edge_stay_empty(found, array):
    bad = np.zeros_like(found.bad)
    bad[0, 10:15], bad[0, 0], bad[0, -1], bad[1, 20:24] = True, True, True, True
    strip = strip_of(array.counts(a_scene(np.random.default_rng(15))))
    result = detector_calibration.calibrated(strip, dataclasses.replace(found, bad=bad))
    assert (result.interpolated, result.lost) == (4, 7)
    assert np.isnan(result.radiance[0][:, bad[0]]).all()
    assert np.isfinite(result.radiance[1]).all()


def test_saturated_pixels_are_flagged_and_lost_lines_are_empty(found, array):
    counts = array.counts(a_scene(np.random.default_rng(16)))
    counts[2, 3, 50] = line_packet.FULL_SCALE
    strip = strip_of(counts)
    strip["line_valid"][4, 7] = False
    result = detector_calibration.calibrated(strip, found)
    assert np.argwhere(result.bits & qa.QaBit.SATURATED).tolist() == [[3, 50]]
    assert np.isnan(result.radiance[4, 7]).all()
    assert np.isfinite(result.radiance[4, 6]).all()


def test_a_uniform_set_gives_the_radiance_of_the_bands():
    rng = np.random.default_rng(17)
    strip = strip_of(rng.integers(0, 4095, (BANDS, 4, PIXELS)))
    ours = detector_calibration.calibrated(strip, detector_calibration.uniform(pixels=PIXELS)).radiance
    plain = radiometry.radiance_from_counts(
        line_packet.valid_counts(strip), DESIGN, gain=np.ones(BANDS), integration_time=np.full(BANDS, INTEGRATION)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)


def test_a_set_survives_its_file(found):
    dated = dataclasses.replace(
        found, valid_from=np.datetime64("2024-01-01"), valid_until=np.datetime64("2024-12-31T12:00:00")
    )
    returned = detector_calibration.calibration_from_dataset(
        detector_calibration.dataset_from_calibration(dated), version="test-1"
    )
    for item in dataclasses.fields(dated):
        if item.name != "radiometric":
            np.testing.assert_array_equal(getattr(returned, item.name), getattr(dated, item.name))
    assert returned.radiometric.responsivity == dated.radiometric.responsivity


@pytest.mark.parametrize(
    ("change", "version", "cause"),
    [
        (lambda d: d.assign_attrs(layout=2), None, "calibration_version"),
        (lambda d: d, "test-2", "calibration_version"),
        (lambda d: d.assign_attrs(version=""), None, "calibration_version"),
        (lambda d: d.drop_vars("read_noise"), None, "calibration_missing"),
        (lambda d: d.isel(band=slice(None, None, -1)), None, "calibration_missing"),
        (lambda d: d.assign(dark=d["dark"] * np.nan), None, "calibration_missing"),
        (lambda d: d.assign(relative_gain=d["relative_gain"] * 0), None, "calibration_missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(found, change, version, cause):
    stored = detector_calibration.dataset_from_calibration(found)
    with pytest.raises(BadInputError) as refusal:
        detector_calibration.calibration_from_dataset(change(stored), version=version)
    assert refusal.value.cause == cause


def test_a_set_of_another_time_or_width_or_without_temperature_is_refused(found, array):
    strip = strip_of(array.counts(a_scene(np.random.default_rng(18), lines=4)))
    dated = dataclasses.replace(found, valid_from=np.datetime64("2024-01-01"), valid_until=np.datetime64("2024-02-01"))
    for time in ("2023-12-31", "2024-02-02"):
        with pytest.raises(BadInputError, match="valid from"):
            detector_calibration.calibrated(strip, dated, time=np.datetime64(time))
    detector_calibration.calibrated(strip, dated, time=np.datetime64("2024-01-15"))
    with pytest.raises(BadInputError, match="detectors"):
        detector_calibration.calibrated(strip, detector_calibration.uniform(pixels=PIXELS + 1))
    with pytest.raises(BadInputError, match="does not state the temperature"):
        detector_calibration.calibrated(strip.drop_vars("focal_plane_temperature"), found)
    broken = strip.copy(deep=True)
    broken["focal_plane_temperature"][1] = np.nan
    with pytest.raises(BadInputError, match="unknown for some lines"):
        detector_calibration.calibrated(broken, found)


def test_acquisitions_that_do_not_suffice_are_refused(acquisitions, array):
    dark, flat = acquisitions

    def made(darks, flats):
        detector_calibration.calibration_from_acquisitions(darks, flats, version="x")

    for darks, flats, words in (
        ([], flat, "do not suffice"),
        (dark, flat[:2], "do not suffice"),
        (dark, [*flat[:3], array.acquisition(1.2)], "saturated"),
        (dark, [*flat[:3], array.acquisition(0.001)], "too dark"),
        (dark, [flat[0]] * 3, "differ in light"),
        ([array.acquisition(0.0, lines=4)], flat, "lines"),
        ([dark[0]._replace(counts=dark[0].counts[..., :9])], flat, "shape"),
        (dark, [part._replace(radiance=-part.radiance) for part in flat], "grow with the light"),
    ):
        with pytest.raises(BadInputError, match=words):
            made(darks, flats)


def test_a_band_of_dead_detectors_is_refused(acquisitions):
    dark, flat = acquisitions
    weak, strong = np.arange(PIXELS) % 10 < 3, np.arange(PIXELS) % 10 > 6

    def hurt(part):
        counts = part.counts.copy()
        counts[0][:, weak] *= 0.3
        counts[0][:, strong] *= 2.5
        return part._replace(counts=counts)

    with pytest.raises(BadInputError, match="more than half"):
        detector_calibration.calibration_from_acquisitions(dark, [hurt(p) for p in flat], version="x")


def test_one_temperature_and_one_level_give_a_linear_set(acquisitions):
    dark, flat = acquisitions
    made = detector_calibration.calibration_from_acquisitions(
        dark[1:2], flat[2:3], version="x", parameters=detector_calibration.AcquisitionParameters(degree=0)
    )
    assert not made.dark_slope.any()
    assert not made.nonlinearity.any()
