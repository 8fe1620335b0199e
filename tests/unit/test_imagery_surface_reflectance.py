"""From the top of the atmosphere to level ground, on a scene made by the forward model."""

import numpy as np
import pytest
import xarray as xr

from processors.imagery import (
    atmosphere_correction,
    grid,
    qa,
    solar_geometry,
    surface_reflectance,
    terrain,
    topographic_correction,
)
from processors.quality import BadInputError

TIME = np.datetime64("2024-12-05T03:20:00", "ns")
BANDS = ("blue", "green", "red", "nir", "swir1")
SPECTRUM = np.array([0.016, 0.05, 0.032, 0.30, 0.125])
"""Dark forest whose red is a quarter of 1.6 um and whose blue is half of that."""
VIEW = surface_reflectance.View(np.array(18.0), np.array(100.0))
SIZE = 90


def box():
    return grid.covering(
        (600_000, 3_200_000, 600_000 + 100 * SIZE, 3_200_000 + 100 * SIZE), crs="EPSG:32648", resolution=100
    )


def hills():
    y, x = np.mgrid[:SIZE, :SIZE] * 100.0
    return 600.0 + 260.0 * np.sin(x / 900.0) * np.cos(y / 750.0)


def made(*, aerosol=0.3, relief=False, **attributes):
    geobox = box()
    longitude, latitude = terrain.positions(geobox)
    sun = solar_geometry.sun_position(TIME, longitude, latitude)
    state = atmosphere_correction.Atmosphere(aerosol=aerosol, reference_elevation=600.0)
    geometry = atmosphere_correction.Geometry(sun.zenith, 18.0, 100.0 - sun.azimuth)
    elevation = hills() if relief else np.full((SIZE, SIZE), 600.0)
    share = 1.0
    if relief:
        north, east = np.gradient(elevation, 100.0)
        normal = np.stack([-east, north, np.ones_like(east)]) / np.sqrt(1 + east**2 + north**2)
        # grid north lies 0.5 degree east of true north here
        azimuth = np.radians(sun.azimuth - 0.53)
        zenith = np.radians(sun.zenith)
        ray = np.stack([np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)])
        share = (np.maximum((normal * ray).sum(0), 0) + 0.3) / (normal[2] * np.cos(zenith) + 0.3)
    rng = np.random.default_rng(2)
    ground = SPECTRUM[:, None, None] * share * rng.normal(1.0, 0.02, (SIZE, SIZE))
    top = np.stack(
        [
            atmosphere_correction.top_from_surface(
                layer, atmosphere_correction.coefficients(atmosphere_correction.BANDS[name], state, geometry, elevation)
            )
            for name, layer in zip(BANDS, ground, strict=True)
        ]
    ).astype(np.float32)
    scene = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), top[None], {"units": "1"}),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full_like(top, 0.003)[None], {"units": "1"}),
            "qa": (("time", "y", "x"), np.zeros((1, SIZE, SIZE), dtype=np.uint16)),
        },
        coords={"time": [TIME], "band": list(BANDS)},
        attrs={"radiometric_level": "toa_reflectance", "source": "test"} | attributes,
    )
    return grid.assign(scene, geobox), elevation, ground


def test_ground_returns_and_the_aerosol_is_stated():
    scene, elevation, ground = made()
    result = surface_reflectance.surface_scene(scene, elevation=elevation, view=VIEW)
    assert result.attrs["radiometric_level"] == "surface_reflectance"
    assert result.attrs["aerosol_method"] == "dark vegetation"
    assert result.attrs["aerosol_optical_depth"] == pytest.approx(0.3, abs=0.02)
    assert np.abs(result["reflectance"].values[0] - ground).max() < 0.006
    assert (result["reflectance_sigma"].values > 0.003).all()
    assert scene.attrs["radiometric_level"] == "toa_reflectance"


def test_layers_of_the_scene_state_the_direction_of_the_sensor():
    scene, elevation, _ = made()
    with pytest.raises(BadInputError) as refusal:
        surface_reflectance.surface_scene(scene, elevation=elevation)
    assert refusal.value.cause == "geometry_missing"
    for name, angle in (("view_zenith", 18.0), ("view_azimuth", 100.0)):
        scene[name] = (("time", "y", "x"), np.full((1, SIZE, SIZE), angle, dtype=np.float32))
    ours = surface_reflectance.surface_scene(scene, elevation=elevation)
    given = surface_reflectance.surface_scene(scene, elevation=elevation, view=VIEW)
    np.testing.assert_allclose(ours["reflectance"], given["reflectance"], atol=1e-6)


def test_a_given_atmosphere_stays_and_without_vegetation_a_mean_one_is_taken():
    scene, elevation, _ = made()
    state = atmosphere_correction.Atmosphere(aerosol=0.11)
    result = surface_reflectance.surface_scene(scene, elevation=elevation, view=VIEW, atmosphere=state)
    assert (result.attrs["aerosol_method"], result.attrs["aerosol_optical_depth"]) == ("given", 0.11)
    cloudy = scene.copy(deep=True)
    cloudy["qa"][:] = qa.QaBit.CLOUD
    result = surface_reflectance.surface_scene(cloudy, elevation=elevation, view=VIEW)
    assert (result.attrs["aerosol_method"], result.attrs["aerosol_optical_depth"]) == ("mean state", 0.15)


def test_slopes_lose_their_light():
    scene, elevation, _ = made(relief=True)
    atmosphere = atmosphere_correction.Atmosphere(aerosol=0.3, reference_elevation=600.0)
    options = {"elevation": elevation, "view": VIEW, "atmosphere": atmosphere}
    rough = surface_reflectance.surface_scene(scene, **options)["reflectance"].values[0, 3]
    level = surface_reflectance.surface_scene(scene, slopes=topographic_correction.TopographyParameters(), **options)
    flat = level["reflectance"].values[0, 3]
    known = np.isfinite(flat)
    assert known.mean() > 0.9
    assert np.std(flat[known]) < 0.35 * np.std(rough[known])
    assert np.median(flat[known]) == pytest.approx(SPECTRUM[3], rel=0.03)
    assert level.attrs["topographic_correction"] == "scs+c"
    assert ((level["qa"].values[0][~known] & qa.QaBit.NODATA) > 0).all()


def test_unknown_elevations_are_no_data():
    scene, elevation, _ = made()
    elevation[3, 4] = np.nan
    result = surface_reflectance.surface_scene(scene, elevation=elevation, view=VIEW)
    assert np.argwhere(result["qa"].values[0] & qa.QaBit.NODATA).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda s: s.assign_attrs(radiometric_level="surface_reflectance"), "wrong_level"),
        (lambda s: s.drop_vars("reflectance_sigma"), "truncated"),
        (lambda s: xr.concat([s, s], dim="time"), "truncated"),
        (lambda s: s.assign_coords(band=["blue", "green", "red", "nir", "thermal"]), "band_missing"),
    ],
)
def test_scenes_that_cannot_be_corrected_are_refused(change, cause):
    scene, elevation, _ = made()
    with pytest.raises(BadInputError) as refusal:
        surface_reflectance.surface_scene(change(scene), elevation=elevation, view=VIEW)
    assert refusal.value.cause == cause


def test_elevation_of_another_grid_is_a_broken_contract():
    scene, elevation, _ = made()
    with pytest.raises(ValueError, match="elevation of"):
        surface_reflectance.surface_scene(scene, elevation=elevation[1:], view=VIEW)
