"""Fires near 2.2 um: flames are found at 10 to 30 m, roofs, glint and burnt ground are not."""

import numpy as np
import pytest

from retrieval.surface import active_fire, swir_fire

SIDE = 80
COSINE = np.cos(np.radians(35.0))


def reflected(temperature, wavelength, irradiance):
    """Reflectance that looks as bright as a black body."""
    light = 1.191_042_972e8 / wavelength**5 / np.expm1(1.438_776_877e4 / (wavelength * temperature))
    return np.pi * light / (irradiance * COSINE)


class Landscape:
    """Vegetation with some texture."""

    def __init__(self, seed=1, side=SIDE):
        draw = np.random.default_rng(seed)
        ground = {"blue": 0.05, "green": 0.08, "red": 0.06, "nir": 0.3, "swir1": 0.18, "swir2": 0.09}
        self.layers = {
            name: (value * (1.0 + draw.normal(0.0, 0.08, (side, side)))).astype(np.float32)
            for name, value in ground.items()
        }

    def burn(self, where, share, temperature=1000.0):
        for name, wavelength, irradiance in (("nir", 0.865, 960.0), ("swir1", 1.61, 245.0), ("swir2", 2.2, 82.0)):
            self.layers[name][where] += share * reflected(temperature, wavelength, irradiance)

    def set(self, where, **values):
        for name, value in values.items():
            self.layers[name][where] = value

    def found(self, *, sun_zenith=35.0, names=("nir", "swir1", "swir2", "red", "blue", "green"), **masks):
        layers = {name: self.layers[name] for name in names}
        return swir_fire.detect(swir_fire.ReflectanceScene(**layers, **masks), pixel_area=900.0, sun_zenith=sun_zenith)


def test_a_pixel_of_flames_is_certain_and_a_faint_one_needs_its_surroundings():
    land = Landscape()
    land.burn((20, 20), 0.05)
    land.burn((50, 50), 0.0032)
    found = land.found()
    assert np.argwhere(found.classes == active_fire.FIRE).tolist() == [[20, 20], [50, 50]]
    assert found.cause[20, 20] == 20
    assert found.cause[50, 50] == 21
    assert found.confidence[20, 20] == active_fire.HIGH
    assert found.confidence[50, 50] == active_fire.NOMINAL


@pytest.mark.parametrize(
    "decoy",
    [
        {"blue": 0.5, "green": 0.55, "red": 0.6, "nir": 0.6, "swir1": 0.65, "swir2": 0.7},
        {"blue": 0.2, "red": 0.3, "nir": 0.35, "swir1": 0.75, "swir2": 0.95},
        {"blue": 0.9, "green": 0.9, "red": 0.9, "nir": 0.9, "swir1": 0.9, "swir2": 0.9},
        {"blue": 0.04, "green": 0.05, "red": 0.06, "nir": 0.1, "swir1": 0.2, "swir2": 0.26},
        {"blue": 0.3, "green": 0.3, "red": 0.3, "nir": 0.35, "swir1": 0.2, "swir2": 0.1},
    ],
    ids=["bright_roof", "metal_roof", "glint", "burnt_ground", "smoke"],
)
def test_roofs_glint_smoke_and_burnt_ground_are_no_fires(decoy):
    land = Landscape()
    land.set((slice(20, 24), slice(20, 24)), **decoy)
    assert not (land.found().classes == active_fire.FIRE).any()


def test_a_core_so_bright_that_the_band_folds_is_a_fire():
    land = Landscape()
    land.set((20, 20), nir=0.5, swir1=1.3, swir2=0.02)
    found = land.found()
    assert found.classes[20, 20] == active_fire.FIRE
    assert found.cause[20, 20] == 22
    assert found.saturated[20, 20]
    assert land.found(names=("nir", "swir1", "swir2", "red")).classes[20, 20] == active_fire.FIRE
    assert land.found(names=("nir", "swir1", "swir2")).classes[20, 20] == active_fire.NO_FIRE


def test_power_follows_area_and_temperature_within_its_stated_doubt():
    land = Landscape()
    land.burn((20, 20), 0.02, 1000.0)
    land.burn((40, 40), 0.01, 1200.0)
    found = land.found()
    for place, share, temperature in (((20, 20), 0.02, 1000.0), ((40, 40), 0.01, 1200.0)):
        truth = 900.0 * share * 5.670374e-8 * temperature**4 * 1e-6
        assert abs(found.power[place] - truth) < 2.0 * found.power_sigma[place]
    assert np.isnan(found.power[0, 0])


def test_power_is_within_a_quarter_where_no_band_is_saturated():
    land = Landscape()
    places = [(20, 20), (40, 40), (60, 60)]
    heat = (800.0, 1000.0, 1200.0)
    for place, temperature in zip(places, heat, strict=True):
        land.burn(place, 0.05, temperature)
    late = swir_fire.SwirFireParameters(saturation=100.0)
    scene = swir_fire.ReflectanceScene(**{name: land.layers[name] for name in ("nir", "swir1", "swir2")})
    found = swir_fire.detect(scene, pixel_area=900.0, sun_zenith=35.0, parameters=late)
    for place, temperature in zip(places, heat, strict=True):
        assert found.power[place] == pytest.approx(900.0 * 0.05 * 5.670374e-8 * temperature**4 * 1e-6, rel=0.25)
        assert found.power_sigma[place] < 0.5 * found.power[place]
        assert not found.saturated[place]


def test_where_both_bands_are_saturated_the_power_is_a_lower_limit():
    land = Landscape()
    land.burn((20, 20), 0.2, 1100.0)
    for name in ("nir", "swir1", "swir2"):
        land.layers[name] = np.minimum(land.layers[name], np.float32(1.21))
    found = land.found()
    assert found.saturated[20, 20]
    assert 0.0 < found.power[20, 20] < 900.0 * 0.2 * 5.670374e-8 * 1100.0**4 * 1e-6


def test_by_night_whatever_shines_near_two_micrometers_burns():
    land = Landscape()
    for layer in land.layers.values():
        layer[:] = 0.0
    land.burn((20, 20), 0.005)
    found = land.found(sun_zenith=120.0)
    assert np.argwhere(found.classes == active_fire.FIRE).tolist() == [[20, 20]]


def test_without_sun_there_is_no_power_but_still_a_fire():
    land = Landscape()
    land.burn((20, 20), 0.05)
    found = land.found(sun_zenith=float("nan"))
    assert found.classes[20, 20] == active_fire.FIRE
    assert np.isnan(found.power[20, 20])


def test_cloud_hides_but_a_certain_fire_shines_through_smoke():
    land = Landscape()
    land.burn((20, 20), 0.05)
    land.burn((50, 50), 0.0032)
    cloud = np.ones((SIDE, SIDE), dtype=bool)
    found = land.found(cloud=cloud)
    assert found.classes[20, 20] == active_fire.FIRE
    assert found.confidence[20, 20] == active_fire.LOW
    assert found.classes[50, 50] == active_fire.NO_DATA


def test_missing_data_have_no_class():
    land = Landscape()
    land.layers["swir1"][:10] = np.nan
    found = land.found()
    assert (found.classes[:10] == active_fire.NO_DATA).all()
    assert (found.classes[10:] == active_fire.NO_FIRE).all()


def test_water_found_by_its_spectrum_is_no_background():
    land = Landscape()
    land.set((slice(0, 70), slice(None)), blue=0.08, green=0.07, red=0.05, nir=0.04, swir1=0.03, swir2=0.01)
    land.burn((75, 40), 0.0032)
    assert land.found().classes[75, 40] == active_fire.FIRE


def test_blocks_give_what_the_whole_gives():
    land = Landscape(side=140)
    draw = np.random.default_rng(2)
    for row, column in draw.integers(0, 140, (30, 2)):
        land.burn((row, column), float(draw.uniform(0.005, 0.1)))
    whole = land.found()
    halo = swir_fire.HALO
    scene = swir_fire.ReflectanceScene(
        **{name: land.layers[name][40 - halo : 90 + halo, 50 - halo : 100 + halo] for name in land.layers}
    )
    block = swir_fire.detect(scene, pixel_area=900.0, sun_zenith=35.0)
    for name in swir_fire.SwirFireField._fields:
        np.testing.assert_array_equal(
            getattr(block, name)[halo : halo + 50, halo : halo + 50], getattr(whole, name)[40:90, 50:100]
        )
