"""A strip, calibrated by detector and located by orbit, attitude and terrain, to a scene with its uncertainty."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio import Affine

from infra import granule_format
from infra.stages import imagery
from processors import timescales
from processors.imagery import (
    detector_calibration,
    grid,
    line_of_sight,
    line_packet,
    qa,
    radiometry,
    strip_scene,
    terrain,
)
from processors.quality import BadInputError
from processors.simulation import scenes

LINES, PIXELS = 60, 256
CAMERA = line_of_sight.LineCamera(0.02, 1e-5, pixels=PIXELS, principal_pixel=-600.0)
TIME = np.datetime64("2024-05-15T03:20:00")
GPS = float(timescales.gps_from_utc(TIME))


@pytest.fixture(scope="module")
def simulated():
    return scenes.simulate_strip(seed=3, lines=10, cloud_fraction=0.0)


def test_reflectance_has_an_uncertainty_of_noise_and_calibration(simulated):
    scene = strip_scene.scene_from_strip(simulated.strip, source="test")
    reflectance, sigma = scene["reflectance"].values, scene["reflectance_sigma"].values
    known = np.isfinite(reflectance)
    np.testing.assert_array_equal(known, np.isfinite(sigma))
    assert (sigma[known] >= 0.03 * np.abs(reflectance[known]) - 1e-7).all()
    noise = np.sqrt(sigma[known] ** 2 - (0.03 * reflectance[known]) ** 2)
    assert 1e-4 < np.median(noise) < 5e-3


def test_calibration_of_the_detectors_goes_before_that_of_the_bands(simulated):
    bands = radiometry.RadiometricCalibration(version="bands", responsivity=(1.0,) * 5)
    detectors = detector_calibration.uniform()
    both = strip_scene.scene_from_strip(simulated.strip, source="t", calibration=bands, detectors=detectors)
    plain = strip_scene.scene_from_strip(simulated.strip, source="t")
    np.testing.assert_array_equal(both["reflectance"], plain["reflectance"])
    assert both.attrs["calibration"] == "design-1"


def test_bad_detectors_are_filled_counted_and_flagged(simulated):
    detectors = detector_calibration.uniform()
    detectors.bad[0, 1000] = True
    scene = strip_scene.scene_from_strip(simulated.strip, source="t", detectors=detectors)
    assert (scene.attrs["interpolated_detectors"], scene.attrs["lost_detectors"]) == (1, 0)
    filled = (scene["qa"].values & qa.QaBit.FILLED) > 0
    assert 5 <= filled.sum() <= 30
    assert np.isfinite(scene["reflectance"].values[0, 0][filled[0]]).all()


def test_a_calibration_of_another_time_is_refused(simulated):
    detectors = detector_calibration.DetectorCalibration(
        **{**detector_calibration.uniform().__dict__, "valid_until": np.datetime64("2024-01-01")}
    )
    with pytest.raises(BadInputError) as refusal:
        strip_scene.scene_from_strip(simulated.strip, source="t", detectors=detectors)
    assert refusal.value.cause == "calibration_version"


def orbit():
    """A straight climb northward 500 km above 29.5 degree north, which a short strip does not tell from an orbit."""
    up = np.array([np.cos(np.radians(29.5)), 0.0, np.sin(np.radians(29.5))])
    north = np.array([-np.sin(np.radians(29.5)), 0.0, np.cos(np.radians(29.5))])
    turn = np.radians(106.5)
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    seconds = np.arange(-10.0, 11.0)
    position = 6_873_000.0 * up + 7500.0 * seconds[:, None] * north
    return line_of_sight.Orbit(GPS + seconds, position @ spin.T, np.tile(7500.0 * north @ spin.T, (21, 1)))


def pointing_of(time):
    track = orbit()
    still = np.zeros(track.time.size)
    attitude = line_of_sight.orbital_attitude(track, roll=still, pitch=still, yaw=still)
    return line_of_sight.pointing_of_lines(time, orbit=track, attitude=attitude, camera=CAMERA)


def level_terrain(height):
    geobox = GeoBox((400, 400), Affine(0.005, 0, 107.5, 0, -0.005, 30.5), "EPSG:4326")
    return terrain.Terrain(np.full((400, 400), height, dtype=np.float32), geobox)


def located_strip(pointing, surface, time):
    """Counts that state the pixel number, and edges as level ground at sea shows them."""
    sea = line_of_sight.ground(pointing, level_terrain(0.0))
    del surface
    counts = np.broadcast_to(500 + 4 * np.arange(PIXELS), (5, LINES, PIXELS))
    return xr.Dataset(
        {
            "counts": (("band", "line", "pixel"), counts.astype(np.uint16)),
            "line_valid": (("band", "line"), np.ones((5, LINES), dtype=bool)),
            "line_time": ("line", time),
            "edge_longitude": (("line", "edge"), sea.longitude[:, [0, -1]]),
            "edge_latitude": (("line", "edge"), sea.latitude[:, [0, -1]]),
        },
        coords={"band": list(line_packet.BANDS)},
        attrs={"gain": [1.0] * 5, "integration_time": [2e-3] * 5},
    )


def test_terrain_moves_pixels_to_where_they_look():
    """Ground at 1500 m, 16 to 22 degree off nadir, is seen about two pixels farther out than at sea level."""
    time = GPS + (np.arange(LINES) - LINES / 2) / 30.0
    pointing, surface = pointing_of(time), level_terrain(1500.0)
    strip = located_strip(pointing, surface, time)
    flat = strip_scene.scene_from_strip(strip, source="t")
    geobox = grid.geobox_of(flat)
    high = strip_scene.scene_from_strip(strip, source="t", geobox=geobox, pointing=pointing, surface=surface)
    sea = strip_scene.scene_from_strip(strip, source="t", geobox=geobox, pointing=pointing, surface=level_terrain(0.0))
    assert high.attrs["geolocation"] == "orbit, attitude and terrain"
    one = [np.asarray(scene["reflectance"].values[0, 0]) for scene in (flat, sea, high)]
    per_pixel = np.nanmedian(np.abs(np.diff(one[0], axis=1)))
    # edges with even steps between them know nothing of the curvature of the Earth
    assert np.nanmax(np.abs(one[1] - one[0])) < 0.5 * per_pixel
    seen = high["view_zenith"].values[0][np.isfinite(one[2])]
    assert (17.0, 25.0) < (float(seen.min()), float(seen.max())) < (20.0, 27.0)
    assert 260.0 < float(np.nanmedian(high["view_azimuth"])) < 280.0
    moved = np.abs(np.nanmedian(one[2] - one[0])) / per_pixel
    assert 1.5 < moved < 3.0


def test_places_without_height_or_orientation_stay_empty():
    time = GPS + (np.arange(LINES) - LINES / 2) / 30.0
    pointing, surface = pointing_of(time), level_terrain(100.0)
    strip = located_strip(pointing, surface, time)
    whole = strip_scene.scene_from_strip(strip, source="t", pointing=pointing, surface=surface)
    geobox = grid.geobox_of(whole)
    known = pointing.known.copy()
    known[20:30] = False
    gap = strip_scene.scene_from_strip(
        strip, source="t", geobox=geobox, pointing=pointing._replace(known=known), surface=surface
    )
    seen = [np.isfinite(scene["reflectance"].values[0, 0]).sum() for scene in (whole, gap)]
    assert seen[1] / seen[0] == pytest.approx(49 / 60, abs=0.03)
    nowhere = surface._replace(height=np.full_like(surface.height, np.nan))
    empty = strip_scene.scene_from_strip(strip, source="t", geobox=geobox, pointing=pointing, surface=nowhere)
    assert not np.isfinite(empty["reflectance"].values).any()
    assert (empty["qa"].values & qa.QaBit.NODATA).all()
    assert np.isnan(empty["view_zenith"].values).all()
    with pytest.raises(ValueError, match="terrain"):
        strip_scene.scene_from_strip(strip, source="t", pointing=pointing)


def test_the_stage_reports_what_was_lost_and_which_calibration_it_used(simulated):
    strip = simulated.strip.copy(deep=True).assign_attrs(undecodable_lines=2)
    strip["line_valid"][1, 5:7] = False
    granule = SimpleNamespace(id="tl01-strip")
    workspace = SimpleNamespace(read=lambda _: granule_format.encode(strip))
    result = imagery.calibrate_strip(SimpleNamespace(granules=(granule,)), workspace)
    assert (result.report["lost_lines"], result.report["undecodable_lines"]) == (2, 2)
    assert result.report["calibration"] == "design-1"
    (made,) = result.granules
    scene = granule_format.decode(made.body, name="scene")
    assert "reflectance_sigma" in scene
