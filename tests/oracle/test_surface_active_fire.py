"""Fires among glint, hot roofs, bare ground, metal and smoke, mixed by Planck's law on a grid finer than the sensor's.

The scenes know nothing of the detection: ground, sun and fires are mixed as radiance at a sixth of a pixel, blurred as
by the sensor, and turned into the temperatures it would state.
"""

import numpy as np
import pytest
from scipy import ndimage

from products.sectors import active_fire as product
from retrieval.surface import active_fire, fire_event, fire_power

pytestmark = pytest.mark.oracle

SIDE, FINE = 180, 6
WATER, FOREST, CROP, TOWN = range(4)
WAVES = {"modis": (3.96, 11.03), "viirs": (3.74, 11.45, 4.05)}
SIZE = {"modis": 1000.0, "viirs": 375.0}
SATURATION = {"modis": 500.0, "viirs": 367.0}
DECOYS = ("glint", "roof", "bare", "metal", "panel")


def planck(temperature, wavelength):
    return 1.191_042_972e8 / wavelength**5 / np.expm1(1.438_776_877e4 / (wavelength * np.asarray(temperature)))


def kelvin(radiance, wavelength):
    return 1.438_776_877e4 / (wavelength * np.log1p(1.191_042_972e8 / (wavelength**5 * radiance)))


class Scene:
    """Landscape of one sensor, with its fires."""

    def __init__(self, sensor, seed, *, day):
        self.sensor, self.day, self.draw = sensor, day, np.random.default_rng(seed)
        self.waves, self.size = WAVES[sensor], SIZE[sensor]
        self.step = self.size / FINE
        self.sun = [
            float(planck(5770.0, wave)) * 6.794e-5 / np.pi * np.cos(np.radians(40.0)) * day for wave in self.waves
        ]
        self._ground()
        self.fires = []
        places = [(i, j) for i in range(10, SIDE - 10, 13) for j in range(10, SIDE - 10, 13)]
        self.draw.shuffle(places)
        for place in places[:70]:
            self._fire(place)
        for number, place in enumerate(places[70:] if day else ()):
            self._decoy(place, DECOYS[number % len(DECOYS)])
        self._seen()

    def _texture(self, scale):
        field = (
            ndimage.gaussian_filter(self.draw.normal(size=(SIDE, SIDE)), scale, mode="wrap")
            if scale
            else (self.draw.normal(size=(SIDE, SIDE)))
        )
        return np.kron(field / field.std(), np.ones((FINE, FINE)))

    def _ground(self):
        self.cover = np.digitize(self._texture(4) + 0.5 * self._texture(1), [-1.3, 0.4, 1.6])
        warmth = (
            300.0 + np.choose(self.cover, [-6.0, 0.0, 3.0, 9.0])
            if self.day
            else (283.0 + np.choose(self.cover, [4.0, 0.0, 0.0, 2.0]))
        )
        warmth = warmth + 2.0 * self._texture(20) + 0.6 * self._texture(0)
        self.red = np.choose(self.cover, [0.04, 0.05, 0.12, 0.18]) * np.exp(0.15 * self._texture(1))
        self.nir = np.choose(self.cover, [0.02, 0.32, 0.28, 0.24]) * np.exp(0.1 * self._texture(1))
        bright = np.choose(self.cover, [0.02, 0.03, 0.08, 0.12])
        dark = [bright, 0.02, bright]
        self.light = [
            (1.0 - dark[k]) * planck(warmth, wave) + dark[k] * self.sun[k] * (k != 1)
            for k, wave in enumerate(self.waves)
        ]

    def _fire(self, place):
        power, temperature = 10 ** self.draw.uniform(0.5, 2.6), self.draw.uniform(650.0, 1250.0)
        row, column = (int(side * FINE + self.draw.integers(0, FINE)) for side in place)
        if self.cover[row, column] == WATER:
            return
        share = power * 1e6 / (5.670374e-8 * temperature**4) / self.step**2
        for light, wave in zip(self.light, self.waves, strict=True):
            light[row, column] += share * planck(temperature, wave)
        if self.day and self.draw.random() < 0.4:
            smoke = slice(row, row + 2 * FINE), slice(column, column + 3 * FINE)
            self.red[smoke] += 0.15
            self.nir[smoke] += 0.04
        self.fires.append(((row + 0.5) / FINE - 0.5, (column + 0.5) / FINE - 0.5, power))

    def _decoy(self, place, kind):
        draw = self.draw.uniform
        width = {
            "glint": (100, 900),
            "roof": (100, 600),
            "bare": (200, 2500),
            "metal": (100, 500),
            "panel": (300, 2000),
        }
        span = max(1, int(draw(*width[kind]) / self.step))
        row, column = (int(side * FINE + self.draw.integers(0, FINE)) for side in place)
        where = slice(row, row + span), slice(column, column + span)
        if kind != "glint":
            hot = {"roof": (325, 350), "bare": (318, 335), "metal": (318, 322), "panel": (318, 340)}
            emissivity = {"roof": 0.9, "bare": 0.85, "metal": 0.6, "panel": 0.9}[kind]
            temperature = draw(*hot[kind])
            for k, wave in enumerate(self.waves):
                self.light[k][where] = emissivity * planck(temperature, wave) + (1 - emissivity) * self.sun[k] * (
                    k != 1
                )
        if kind in ("glint", "metal"):
            mirrored = draw(0.2, 2.0) if kind == "glint" else draw(0.3, 0.8)
            for k in range(0, len(self.waves), 2):
                self.light[k][where] += mirrored * self.sun[k]
            self.red[where] += mirrored * (1.0 if kind == "glint" else 0.9)
            self.nir[where] += mirrored
        if kind in ("bare", "panel"):
            self.red[where], self.nir[where] = (0.3, 0.35) if kind == "bare" else (0.06, 0.08)

    def _sampled(self, layer):
        blurred = ndimage.gaussian_filter(ndimage.uniform_filter(layer, FINE), 0.35 * FINE)
        return blurred[FINE // 2 :: FINE, FINE // 2 :: FINE]

    def _seen(self):
        light = [self._sampled(layer) for layer in self.light]
        noise = [self.draw.normal(0.0, sigma, (SIDE, SIDE)) for sigma in (0.2, 0.1)]
        t4, t11 = (kelvin(light[k], self.waves[k]) + noise[k] for k in range(2))
        power = None
        if len(light) == 3:
            coarse = light[2].reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
            power = kelvin(np.kron(coarse, np.ones((2, 2))), self.waves[2]).astype(np.float32)
        single = np.float32
        self.measured = active_fire.ThermalScene(
            np.minimum(t4, SATURATION[self.sensor]).astype(single),
            t11.astype(single),
            np.full((SIDE, SIDE), 40.0 if self.day else 130.0, dtype=single),
            power,
            self._sampled(self.red).astype(single) if self.day else None,
            self._sampled(self.nir).astype(single) if self.day else None,
            water=self._sampled((self.cover == WATER) * 1.0) > 0.5,
        )


def judged(sensor, seed, *, day):
    """Fires that should be found, fires missed, false pixels, fire pixels, ratios of power."""
    scene = Scene(sensor, seed, day=day)
    bands = fire_power.SENSORS[sensor]
    area = scene.size**2
    found = active_fire.detect(scene.measured, sensor=bands, pixel_area=area)
    everything = (slice(None), slice(None))
    pixels = product.thermal_pixels(found, scene.measured, window=everything, offset=(0, 0))
    events = fire_event.assemble(pixels, scale=product.power_scale(bands, area=area))
    burning = found.classes == active_fire.FIRE
    near = np.zeros_like(burning)
    wanted, missed, ratios = 0, 0, []
    for row, column, power in scene.fires:
        top, left = max(round(row) - 3, 0), max(round(column) - 3, 0)
        near[top : round(row) + 4, left : round(column) + 4] = True
        apart = np.hypot(events.row - row, events.column - column)
        if power > 10.0:
            wanted += 1
            missed += int(apart.min() > 1.5)
            if apart.min() <= 1.5:
                ratios.append(events.power[apart < 2.5].sum() / power)
    return wanted, missed, int((burning & ~near).sum()), int(burning.sum()), ratios


@pytest.mark.parametrize("day", [True, False])
@pytest.mark.parametrize("sensor", ["modis", "viirs"])
def test_fires_hold_the_bars_among_what_looks_like_them(sensor, day):
    parts = [judged(sensor, seed, day=day) for seed in (11, 12, 13)]
    wanted, missed, false, burning = (sum(part[k] for part in parts) for k in range(4))
    ratios = np.concatenate([part[4] for part in parts])
    assert wanted > 60
    assert missed <= 0.05 * wanted
    assert false <= 0.01 * burning
    assert abs(np.median(ratios) - 1.0) < 0.15
    assert np.mean(np.abs(ratios - 1.0) < 0.25) > 0.85
