"""Counts to radiance to reflectance, and where the sun stands."""

import numpy as np
import pytest
import xarray as xr

from processors.imagery import line_packet, radiometry, solar_geometry, strip_scene
from processors.quality import BadInputError
from processors.simulation import scenes

CALIBRATION = radiometry.RadiometricCalibration()


def counts_of(value: float) -> xr.DataArray:
    return xr.DataArray(
        np.full((5, 2, 3), value, dtype=np.float32),
        dims=("band", "line", "pixel"),
        coords={"band": list(line_packet.BANDS)},
    )


def radiance(value: float, *, gain: float = 1.0, integration_time: float = 2e-3) -> xr.DataArray:
    return radiometry.radiance_from_counts(
        counts_of(value), CALIBRATION, gain=np.full(5, gain), integration_time=np.full(5, integration_time)
    )


def test_dark_count_is_no_radiance():
    for band, dark in enumerate(CALIBRATION.dark):
        assert float(radiance(dark)[band].max()) == pytest.approx(0.0, abs=1e-6)


def test_radiance_is_linear_in_counts_and_falls_with_gain_and_integration_time():
    step = radiance(2000.0) - radiance(1000.0)
    np.testing.assert_allclose(radiance(3000.0) - radiance(2000.0), step, rtol=1e-4)
    np.testing.assert_allclose(radiance(1000.0, gain=2.0), radiance(1000.0) / 2.0, rtol=1e-5)
    np.testing.assert_allclose(radiance(1000.0, integration_time=1e-3), radiance(1000.0) * 2.0, rtol=1e-5)


def test_noise_below_dark_stays_negative():
    assert float(radiance(10.0).max()) < 0


def test_perfect_diffuser_under_the_zenith_sun_has_reflectance_one():
    level = np.asarray(CALIBRATION.solar_irradiance) / np.pi
    light = counts_of(1.0) * xr.DataArray(level, dims="band", coords={"band": list(line_packet.BANDS)})
    zenith = xr.DataArray(np.array([[0.0, 60.0, 85.0]] * 2), dims=("line", "pixel"))
    values = radiometry.reflectance_from_radiance(light, CALIBRATION, sun_zenith=zenith, sun_distance=1.0)
    np.testing.assert_allclose(values[..., 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(values[..., 1], 2.0, rtol=1e-6)
    assert np.isnan(values[..., 2]).all()


def test_sun_position_agrees_with_the_nrel_example():
    """Worked example of the Solar Position Algorithm (Reda and Andreas 2004), elevation without refraction."""
    sun = solar_geometry.sun_position(
        np.datetime64("2003-10-17T19:30:30"), np.array([-105.1786]), np.array([39.742476])
    )
    assert float(sun.zenith[0]) == pytest.approx(90.0 - 39.872046, abs=0.02)
    assert float(sun.azimuth[0]) == pytest.approx(194.34024, abs=0.02)
    assert sun.distance == pytest.approx(0.9965422974, abs=1e-4)


@pytest.mark.parametrize("date", ["2024-03-20", "2024-06-21", "2024-09-22", "2024-12-21"])
def test_sun_position_agrees_with_the_simulator_of_spencer(date):
    time = np.datetime64(f"{date}T03:20:00")
    place = np.full((3, 3), 106.5), np.full((3, 3), 29.5)
    ours = solar_geometry.sun_position(time, *place)
    zenith, azimuth, factor = scenes._sun(time, *place)
    assert float(ours.zenith[1, 1]) == pytest.approx(float(zenith[1, 1]), abs=0.4)
    assert float(ours.azimuth[1, 1]) == pytest.approx(azimuth % 360.0, abs=0.8)
    assert ours.distance**-2 == pytest.approx(factor, abs=1e-3)


@pytest.fixture(scope="module")
def strip() -> xr.Dataset:
    return scenes.simulate_strip(seed=3, lines=12, cloud_fraction=0.0).strip


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda s: s.drop_vars("line_time"), "truncated"),
        (lambda s: s.isel(line=[0]), "truncated"),
        (lambda s: s.isel(band=slice(0, 4)), "band_missing"),
        (lambda s: s.isel(band=slice(None, None, -1)), "band_missing"),
        (lambda s: s.assign(counts=s["counts"] + 4000), "counts_out_of_range"),
        (lambda s: s.assign(line_valid=s["line_valid"] & False), "all_nodata"),
        (lambda s: s.assign(edge_latitude=s["edge_latitude"] * np.nan), "geolocation_missing"),
    ],
)
def test_strip_that_breaks_its_contract_is_refused(strip, change, cause):
    with pytest.raises(BadInputError) as refusal:
        line_packet.checked(change(strip))
    assert refusal.value.cause == cause


@pytest.mark.parametrize("value", [None, 0.0, [1.0, 1.0], [1.0, 1.0, 1.0, 1.0, float("nan")]])
def test_unusable_gain_is_refused(strip, value):
    broken = strip.assign_attrs(gain=value) if value is not None else strip.drop_attrs()
    with pytest.raises(BadInputError) as refusal:
        line_packet.per_band(broken, "gain")
    assert refusal.value.cause == "calibration_missing"


def test_band_of_which_no_line_arrived_is_empty_and_stops_nothing(strip):
    """Level 0 cannot know the gain of such a band and states NaN."""
    lost = strip.copy(deep=True)
    lost["line_valid"][4] = False
    lost.attrs["gain"] = [1.0, 1.0, 1.0, 1.0, float("nan")]
    scene = strip_scene.scene_from_strip(lost, source="test")
    assert np.isnan(scene["reflectance"].values[0, 4]).all()
    assert np.isfinite(scene["reflectance"].values[0, :4][:, scene["footprint"].values[0]]).all()


def test_geometry_of_lines_without_ancillary_data_is_continued(strip):
    broken = strip.copy(deep=True)
    for name in ("edge_longitude", "edge_latitude"):
        broken[name][[0, 5, 6, 11]] = np.nan
    repaired = line_packet.checked(broken)
    for name in ("edge_longitude", "edge_latitude"):
        error = np.abs(repaired[name] - strip[name]).max()
        assert float(error) < 0.02 * 250.0 / 111_000.0 * 5


def test_saturation_needs_a_received_line():
    strip = scenes.simulate_strip(seed=3, lines=4, cloud_fraction=0.0).strip.copy(deep=True)
    strip["counts"][2, 1, 7] = line_packet.FULL_SCALE
    strip["counts"][2, 2, 7] = line_packet.FULL_SCALE
    strip["line_valid"][2, 2] = False
    flagged = radiometry.saturated(strip)
    assert np.argwhere(flagged.values).tolist() == [[1, 7]]
