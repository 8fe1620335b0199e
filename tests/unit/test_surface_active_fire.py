"""Fires near 4 um: what burns is found with its power, what the sun heats or lights is not."""

import numpy as np
import pytest

from retrieval.surface import active_fire, fire_event, fire_power

SIDE = 72
C1, C2 = 1.191_042_972e8, 1.438_776_877e4
MODIS, VIIRS = fire_power.SENSORS["modis"], fire_power.SENSORS["viirs"]
ZENITH = 35.0


def planck(temperature, wavelength):
    return C1 / wavelength**5 / np.expm1(C2 / (wavelength * np.asarray(temperature)))


def kelvin(radiance, wavelength):
    return C2 / (wavelength * np.log1p(C1 / (wavelength**5 * radiance)))


class Landscape:
    """Ground of even temperature with some texture, to which sources are added as shares of pixels."""

    def __init__(self, sensor=MODIS, *, ground=300.0, day=True, seed=1, side=SIDE):
        draw = np.random.default_rng(seed)
        self.sensor, self.day = sensor, day
        self.size = 1000.0 if sensor.kilometer else 375.0
        warmth = ground + draw.normal(0.0, 1.0, (side, side))
        bands = {"t4": sensor.t4, "t11": sensor.t11} | ({"power": sensor.power} if sensor.power else {})
        self.waves = {name: band.wavelength for name, band in bands.items()}
        self.light = {name: planck(warmth, wave) for name, wave in self.waves.items()}
        self.red, self.nir = (np.full((side, side), value) for value in (0.08, 0.28))
        self.sun = float(planck(5770.0, self.waves["t4"])) * 6.794e-5 * np.cos(np.radians(ZENITH)) / np.pi
        if day:
            self.light["t4"] += 0.06 * self.sun

    def heat(self, where, share, temperature):
        for name, light in self.light.items():
            light[where] += share * (planck(temperature, self.waves[name]) - light[where])

    def burn(self, where, power, temperature=950.0, share=1.0):
        self.heat(where, share * power * 1e6 / (5.670374e-8 * temperature**4) / self.size**2, temperature)

    def mirror(self, where, reflectance):
        self.light["t4"][where] += reflectance * self.sun
        self.red[where] += reflectance
        self.nir[where] += reflectance

    def scene(self, **given):
        t4 = np.minimum(kelvin(self.light["t4"], self.waves["t4"]), self.sensor.t4.saturation)
        layers = {
            "t4": t4,
            "t11": kelvin(self.light["t11"], self.waves["t11"]),
            "sun_zenith": np.full(t4.shape, ZENITH if self.day else 120.0),
        }
        if "power" in self.light:
            layers["power"] = kelvin(self.light["power"], self.waves["power"])
        if self.day:
            layers |= {"red": self.red, "nir": self.nir}
        layers |= given
        return active_fire.ThermalScene(
            **{
                name: layer if layer is None or layer.dtype == bool else layer.astype(np.float32)
                for name, layer in layers.items()
            }
        )

    def found(self, **given):
        parameters = given.pop("parameters", None)
        return active_fire.detect(
            self.scene(**given), sensor=self.sensor, pixel_area=self.size**2, parameters=parameters
        )


def causes(found):
    numbers = np.bincount(found.cause.ravel(), minlength=32)
    return {name for code, name in active_fire.CAUSES.items() if numbers[code]}


def assembled(land, found, **given):
    scene = land.scene(**given)
    pixels = fire_event.pixels_of(
        {
            "burning": found.classes == active_fire.FIRE,
            "t4": scene.t4,
            "t11": scene.t11,
            "excess": found.excess,
            "excess_sigma": found.excess_sigma,
            "power_excess": found.power_excess,
            "power_sigma": found.power_sigma,
            "saturated": found.saturated,
            "confidence": found.confidence,
        }
    )
    scale = fire_event.PowerScale(
        fire_power.megawatts_per_radiance(
            land.size**2, coefficient=fire_power.power_coefficient(land.sensor.t4.wavelength)
        ),
        fire_power.megawatts_per_radiance(land.size**2, coefficient=2.88e-9),
        0.12,
    )
    return fire_event.assemble(pixels, scale=scale)


@pytest.mark.parametrize("sensor", [MODIS, VIIRS])
@pytest.mark.parametrize(("day", "ground"), [(True, 300.0), (True, 312.0), (False, 285.0), (False, 262.0)])
def test_a_fire_of_ten_megawatts_is_found_whatever_the_ground(sensor, day, ground):
    land = Landscape(sensor, ground=ground, day=day)
    land.burn((30, 40), 10.0)
    found = land.found()
    assert found.classes[30, 40] == active_fire.FIRE
    assert (found.classes == active_fire.FIRE).sum() == 1
    assert found.confidence[30, 40] >= active_fire.NOMINAL


@pytest.mark.parametrize(("row", "column"), [(30, 40), (31, 41)])
def test_a_fire_between_four_pixels_is_one_fire_of_its_whole_power(row, column):
    land = Landscape(MODIS)
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        land.burn((row + step[0], column + step[1]), 14.0, share=0.25)
    found = land.found()
    events = assembled(land, found)
    assert len(events.row) == 1
    assert events.power[0] == pytest.approx(14.0, rel=0.25)
    assert abs(events.row[0] - row - 0.5) < 0.3
    assert abs(events.column[0] - column - 0.5) < 0.3


def test_a_weak_fire_that_no_pixel_betrays_is_found_in_the_sum_of_four():
    land = Landscape(MODIS, day=False, ground=290.0)
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        land.burn((30 + step[0], 40 + step[1]), 7.6, share=0.25)
    tests = active_fire.MODIS_TESTS
    found = land.found()
    strict = land.found(
        parameters=active_fire.ActiveFireParameters(
            tests=active_fire.ContextualTests(
                **{**{name: getattr(tests, name) for name in tests.__dataclass_fields__}, "shared_power": 1e9}
            )
        )
    )
    assert causes(found) == {"fire_between_pixels"}
    assert (found.classes == active_fire.FIRE).sum() == 1
    assert found.confidence.max() == active_fire.LOW
    assert not (strict.classes == active_fire.FIRE).any()


@pytest.mark.parametrize("temperature", [700.0, 900.0, 1200.0])
@pytest.mark.parametrize(("sensor", "power"), [(MODIS, 40.0), (VIIRS, 8.0), (VIIRS, 300.0)])
def test_the_power_holds_to_a_quarter_from_smouldering_to_flames(sensor, power, temperature):
    land = Landscape(sensor)
    land.burn((20, 20), power, temperature)
    events = assembled(land, land.found())
    assert events.power[0] == pytest.approx(power, rel=0.25)
    assert abs(events.power[0] - power) < 3.0 * events.power_sigma[0]
    assert not events.lower_limit[0]


def test_a_saturated_band_alone_gives_a_lower_limit_and_says_so():
    land = Landscape(VIIRS)
    land.burn((20, 20), 300.0)
    found = land.found(power=None)
    events = assembled(land, found, power=None)
    assert events.lower_limit[0]
    assert 5.0 < events.power[0] < 100.0
    assert events.power_sigma[0] >= events.power[0]


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("temperature", [325.0, 345.0, 360.0])
def test_ground_and_roofs_that_the_sun_heats_are_no_fires(share, temperature):
    land = Landscape(VIIRS)
    land.heat((slice(20, 23), slice(20, 22)), share, temperature)
    land.burn((50, 50), 12.0)
    found = land.found()
    assert np.argwhere(found.classes == active_fire.FIRE).tolist() == [[50, 50]]


@pytest.mark.parametrize("reflectance", [0.05, 0.15, 0.4, 1.0])
@pytest.mark.parametrize("sensor", [MODIS, VIIRS])
def test_what_mirrors_the_sun_is_no_fire_without_any_angle(sensor, reflectance):
    land = Landscape(sensor)
    land.mirror((20, 20), reflectance)
    found = land.found()
    assert not (found.classes == active_fire.FIRE).any()
    if reflectance > 0.3:
        assert causes(found) == {"reflection"}


def test_the_planted_mirror_would_pass_for_a_fire_were_it_not_seen_in_reflectance():
    land = Landscape(VIIRS)
    land.mirror((20, 20), 0.5)
    blind = land.found(red=np.full((SIDE, SIDE), 0.08), nir=np.full((SIDE, SIDE), 0.28))
    assert blind.classes[20, 20] == active_fire.FIRE


def test_without_reflectance_the_mirror_direction_of_the_sun_is_doubted():
    land = Landscape(MODIS)
    land.mirror((20, 20), 0.5)
    angle = np.full((SIDE, SIDE), 5.0)
    assert causes(land.found(red=None, nir=None, glint_angle=angle)) == {"glint"}
    assert causes(land.found(red=None, nir=None, glint_angle=angle + 30.0)) >= {"fire_contextual"}


def test_a_strong_fire_in_the_glint_remains_one():
    land = Landscape(MODIS)
    land.burn((20, 20), 60.0)
    angle = np.full((SIDE, SIDE), 1.0)
    assert land.found(glint_angle=angle).classes[20, 20] == active_fire.FIRE


def test_beside_water_glint_is_doubted_to_a_wider_angle():
    land = Landscape(MODIS)
    land.mirror((20, 20), 0.05)
    land.burn((20, 20), 5.0)
    water = np.zeros((SIDE, SIDE), dtype=bool)
    water[:, :20] = True
    angle = np.full((SIDE, SIDE), 10.0)
    assert causes(land.found(glint_angle=angle, water=water)) == {"glint"}
    assert causes(land.found(glint_angle=angle)) == {"fire_contextual"}


def test_a_folded_temperature_over_hot_ground_is_a_saturated_fire():
    land = Landscape(VIIRS)
    land.burn((20, 20), 800.0)
    scene = land.scene()
    folded = scene.t4.copy()
    folded[20, 20] = 208.0
    found = land.found(t4=folded)
    assert found.classes[20, 20] == active_fire.FIRE
    assert found.cause[20, 20] == 3
    assert assembled(land, found).power[0] == pytest.approx(800.0, rel=0.25)


def test_a_missing_temperature_that_the_other_band_shows_hot_is_a_saturated_fire():
    land = Landscape(VIIRS)
    land.burn((20, 20), 800.0)
    t4 = land.scene().t4.copy()
    t4[20, 20] = np.nan
    found = land.found(t4=t4)
    assert found.classes[20, 20] == active_fire.FIRE
    assert assembled(land, found).power[0] == pytest.approx(800.0, rel=0.25)


def test_no_class_is_invented_over_missing_data_or_cloud():
    land = Landscape(MODIS)
    t11 = land.scene().t11.copy()
    t11[:10] = np.nan
    cloud = np.zeros((SIDE, SIDE), dtype=bool)
    cloud[40:] = True
    found = land.found(t11=t11, cloud=cloud)
    assert (found.classes[:10] == active_fire.NO_DATA).all()
    assert (found.classes[40:] == active_fire.NO_DATA).all()
    assert (found.classes[10:40] == active_fire.NO_FIRE).all()


def test_cold_and_bright_cloud_is_told_where_no_mask_is_given():
    land = Landscape(MODIS)
    scene = land.scene()
    t11, red = scene.t11.copy(), scene.red.copy()
    t4 = scene.t4.copy()
    t11[:5], t4[:5] = 240.0, 280.0
    red[10:15], t11[10:15] = 0.8, 280.0
    red[20:25], t11[20:25] = 0.5, 280.0
    found = land.found(t11=t11, t4=t4, red=red)
    assert (found.classes[:5] == active_fire.NO_DATA).all()
    assert (found.classes[10:15] == active_fire.NO_DATA).all()
    assert (found.classes[20:25] == active_fire.NO_DATA).all()


def test_where_hardly_anything_is_seen_around_a_hot_pixel_nothing_is_decided():
    land = Landscape(MODIS)
    land.heat((slice(0, SIDE), slice(0, SIDE)), 0.0, 300.0)
    land.burn((20, 20), 20.0)
    cloud = np.ones((SIDE, SIDE), dtype=bool)
    cloud[19:22, 19:22] = False
    found = land.found(cloud=cloud)
    assert found.classes[20, 20] == active_fire.NO_DATA
    assert causes(found) == {"too_few_background_pixels"}


def test_a_blazing_pixel_needs_no_background():
    land = Landscape(MODIS)
    land.burn((20, 20), 400.0)
    cloud = np.ones((SIDE, SIDE), dtype=bool)
    cloud[19:22, 19:22] = False
    found = land.found(cloud=cloud)
    assert found.classes[20, 20] == active_fire.FIRE
    assert found.confidence[20, 20] == active_fire.LOW
    # Its own temperature near 11 um stands for the ground: the power is known, and in doubt by all of that ground.
    event = assembled(land, found)
    assert event.power[0] == pytest.approx(400.0, rel=0.25)
    assert not event.lower_limit[0]
    ground = planck(300.0, 3.96) * fire_power.megawatts_per_radiance(land.size**2, coefficient=3.0e-9)
    assert event.power_sigma[0] > ground


def test_a_fire_in_a_gap_of_cloud_by_night_has_a_power_in_both_bands():
    land = Landscape(VIIRS, ground=285.0, day=False)
    land.burn((20, 20), 60.0)
    cloud = np.ones((SIDE, SIDE), dtype=bool)
    cloud[20, 20:22] = False
    event = assembled(land, land.found(cloud=cloud))
    assert event.power[0] == pytest.approx(60.0, rel=0.25)
    assert np.isfinite(event.power_sigma[0])


def test_a_fire_in_a_kilometer_that_is_no_warmer_than_many_grounds_is_found_by_its_looks():
    land = Landscape(MODIS)
    draw = np.random.default_rng(3)
    bare = draw.random((SIDE, SIDE))
    places = [(15, 15), (15, 40), (40, 15), (40, 40)]
    for place in places:
        bare[place] = 0.25
    for name, wave in land.waves.items():
        warmth = 296.0 + 14.0 * bare + draw.normal(0.0, 0.3, (SIDE, SIDE))
        land.light[name] = planck(warmth, wave) + (0.06 + 0.05 * bare) * land.sun * (name == "t4")
    land.red, land.nir = 0.04 + 0.1 * bare, 0.38 - 0.2 * bare
    quiet = land.found()
    assert not (quiet.classes == active_fire.FIRE).any()
    for place in places:
        land.burn(place, 7.0)
    found = land.found()
    assert np.argwhere(found.classes == active_fire.FIRE).tolist() == [list(place) for place in places]


def test_a_fire_on_an_island_is_judged_by_what_there_is():
    land = Landscape(MODIS)
    land.burn((20, 20), 40.0)
    water = np.ones((SIDE, SIDE), dtype=bool)
    water[20, 20] = False
    assert land.found(water=water).classes[20, 20] == active_fire.FIRE


def test_blocks_give_what_the_whole_gives():
    land = Landscape(VIIRS, side=160, seed=4)
    draw = np.random.default_rng(9)
    for row, column in draw.integers(3, 157, (25, 2)):
        land.burn((row, column), float(10 ** draw.uniform(0.0, 2.0)))
    scene = land.scene()
    whole = land.found()
    halo = active_fire.HALO
    for top, left in ((40, 40), (75, 90), (0, 110)):
        rows, columns = slice(max(top - halo, 0), top + 50 + halo), slice(max(left - halo, 0), left + 50 + halo)
        part = active_fire.ThermalScene(*(None if layer is None else layer[rows, columns] for layer in scene))
        block = active_fire.detect(part, sensor=VIIRS, pixel_area=land.size**2)
        inner = slice(top - rows.start, top - rows.start + 50), slice(left - columns.start, left - columns.start + 50)
        outer = slice(top, top + 50), slice(left, left + 50)
        for name in active_fire.FireField._fields:
            np.testing.assert_array_equal(getattr(block, name)[inner], getattr(whole, name)[outer], err_msg=name)


def test_layers_that_do_not_fit_are_a_broken_contract():
    land = Landscape(MODIS)
    with pytest.raises(ValueError, match="different shape"):
        land.found(red=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"0\.0 m2"):
        active_fire.detect(land.scene(), sensor=MODIS, pixel_area=0.0)


def test_a_scene_of_one_row_is_no_trouble():
    land = Landscape(MODIS)
    scene = active_fire.ThermalScene(*(None if layer is None else layer[:1] for layer in land.scene()))
    assert not (active_fire.detect(scene, sensor=MODIS, pixel_area=1e6).classes == active_fire.FIRE).any()


def test_the_mirror_angle_vanishes_where_view_and_sun_mirror_each_other():
    angle = active_fire.glint_angle(
        sun_zenith=np.array([30.0, 30.0, 0.0]),
        view_zenith=np.array([30.0, 30.0, 40.0]),
        relative_azimuth=np.array([180.0, 0.0, 77.0]),
    )
    np.testing.assert_allclose(angle, [0.0, 60.0, 40.0], atol=1e-6)


def test_constants_are_those_of_the_si_and_of_the_papers():
    np.testing.assert_allclose(fire_power.STEFAN_BOLTZMANN, 5.670_374_419e-8, rtol=1e-9)
    np.testing.assert_allclose(fire_power.FIRST_RADIATION, 1.191_042_972e8, rtol=1e-8)
    np.testing.assert_allclose(fire_power.SECOND_RADIATION, 1.438_776_877e4, rtol=1e-8)
    # Wooster et al. 2003 for MODIS, and the coefficient of VIIRS M13.
    assert fire_power.power_coefficient(3.96) == pytest.approx(3.0e-9, rel=0.02)
    assert fire_power.power_coefficient(4.05) == pytest.approx(2.88e-9, rel=0.01)
    assert 0.05 < fire_power.power_spread(3.96) < 0.2


def test_radiance_and_temperature_are_each_others_inverse():
    warmth = np.array([180.0, 300.0, 1500.0])
    light = fire_power.radiance(warmth, wavelength=3.9)
    np.testing.assert_allclose(light, planck(warmth, 3.9), rtol=1e-7)
    np.testing.assert_allclose(fire_power.brightness_temperature(light, wavelength=3.9), warmth)
    assert np.isnan(fire_power.brightness_temperature(np.array([0.0, -1.0]), wavelength=3.9)).all()
    # Gueymard 2004 gives about 10 W m-2 um-1 near 3.9 um.
    assert fire_power.solar_irradiance(3.9) == pytest.approx(10.0, rel=0.07)


def test_pixels_grow_off_nadir_as_for_modis():
    assert fire_power.scanned_area(1000.0, scan_angle=0.0, altitude=705e3) == pytest.approx(1e6, rel=1e-6)
    # 4.8 km by 2.0 km at the end of the scan (Ichoku and Kaufman 2005).
    edge = fire_power.scanned_area(1000.0, scan_angle=55.0, altitude=705e3)
    assert edge == pytest.approx(4.83e3 * 2.01e3, rel=0.03)
    with pytest.raises(ValueError, match="misses"):
        fire_power.scanned_area(1000.0, scan_angle=80.0, altitude=705e3)


def listed(rows, columns, excess, **given):
    number = len(rows)
    layers = {
        "burning": np.ones(number, dtype=bool),
        "t4": np.full(number, 330.0),
        "t11": np.full(number, 300.0),
        "excess": np.asarray(excess, dtype=float),
        "excess_sigma": np.full(number, 0.01),
        "power_excess": np.full(number, np.nan),
        "power_sigma": np.full(number, np.nan),
        "saturated": np.zeros(number, dtype=bool),
        "confidence": np.full(number, 2),
    } | given
    return fire_event.FirePixels(np.asarray(rows), np.asarray(columns), **layers)


SCALE = fire_event.PowerScale(10.0, 20.0, 0.1)


def test_touching_pixels_are_one_fire_and_distant_ones_two():
    events = fire_event.assemble(listed([0, 1, 5], [0, 1, 5], [1.0, 2.0, 3.0]), scale=SCALE)
    assert events.pixels.tolist() == [2, 1]
    np.testing.assert_allclose(events.power, [30.0, 30.0])
    assert events.peak_row.tolist() == [1, 5]


def test_two_summits_with_a_deep_saddle_are_two_fires_and_a_front_is_one():
    rows, columns = [0] * 5, list(range(5))
    two = fire_event.assemble(listed(rows, columns, [1.0, 5.0, 0.5, 4.0, 1.0]), scale=SCALE)
    front = fire_event.assemble(listed(rows, columns, [3.0, 5.0, 3.5, 4.0, 3.0]), scale=SCALE)
    assert len(two.row) == 2
    assert len(front.row) == 1
    assert two.power.sum() == pytest.approx(front.power.sum() - 10.0 * (18.5 - 11.5))


def test_a_neighbor_counts_when_it_stands_out_of_the_noise_and_only_for_one_fire():
    burning = np.array([True, False, False, True])
    pixels = listed([0, 0, 1, 0], [0, 1, 0, 2], [5.0, 1.0, 0.005, 8.0], burning=burning)
    events = fire_event.assemble(pixels, scale=SCALE)
    np.testing.assert_allclose(events.power, [50.0, 90.0])
    assert events.label.tolist() == [0, -1, -1, 1]


def test_a_saturated_fire_takes_its_power_from_the_other_band_with_its_wider_neighborhood():
    burning = np.array([True, False, False])
    saturated = np.array([True, False, False])
    pixels = listed(
        [0, 0, 0],
        [0, 2, 9],
        [5.0, 1.0, 7.0],
        burning=burning,
        saturated=saturated,
        power_excess=np.array([6.0, 2.0, 9.0]),
        power_sigma=np.full(3, 0.01),
    )
    events = fire_event.assemble(pixels, scale=SCALE)
    np.testing.assert_allclose(events.power, [160.0])
    assert not events.lower_limit[0]


def test_no_pixel_makes_no_fire():
    events = fire_event.assemble(listed([], [], []), scale=SCALE)
    assert all(len(column) == 0 for column in events)


def test_the_order_of_the_pixels_does_not_matter():
    draw = np.random.default_rng(3)
    places = draw.permutation(100)[:60]
    rows, columns, excess = places // 10, places % 10, draw.uniform(0.5, 5.0, 60)
    first = fire_event.assemble(listed(rows, columns, excess), scale=SCALE)
    turned = draw.permutation(60)
    second = fire_event.assemble(listed(rows[turned], columns[turned], excess[turned]), scale=SCALE)
    np.testing.assert_allclose(first.power, second.power)
    np.testing.assert_array_equal(first.label[turned], second.label)
