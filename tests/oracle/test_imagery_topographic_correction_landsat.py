"""Slopes of a November scene: with the sun 26 degree high the light shows the relief, and no longer once corrected."""

import bz2
import gzip
import lzma
import struct

import numpy as np
import pytest

from processors.imagery import topographic_correction as topography

pytestmark = pytest.mark.oracle
SUN = {"sun_zenith": np.array(90.0 - 26.2), "sun_azimuth": np.array(159.5)}


class Reader:
    """What is needed of R's serialization (R Internals, section 1.8, XDR) to read a grid of the package sp."""

    def __init__(self, path):
        packed = path.read_bytes()
        opener = {b"\x1f\x8b": gzip, b"BZ": bz2, b"\xfd7": lzma}[packed[:2]]
        self.octets, self.at, self.names = opener.decompress(packed), 19, []

    def number(self):
        self.at += 4
        return struct.unpack_from(">i", self.octets, self.at - 4)[0]

    def array(self, kind, size):
        count = self.number()
        self.at += count * size
        return np.frombuffer(self.octets, kind, count, self.at - count * size)

    def item(self):
        flags = self.number()
        kind, attributed, tagged = flags & 0xFF, flags & 0x200, flags & 0x400
        if kind in (254, 253, 251, 242):
            return None
        if kind == 255:
            return self.names[(flags >> 8 or self.number()) - 1]
        if kind == 1:
            self.names.append(self.item())
            return self.names[-1]
        if kind in (2, 6):
            return self.pairs(attributed, tagged)
        value = self.value(kind)
        return (value, self.item()) if attributed else value

    def pairs(self, attributed, tagged):
        found = {}
        if attributed:
            self.item()
        name = self.item() if tagged else None
        found[name] = self.item()
        return found | (self.item() or {})

    def value(self, kind):
        if kind == 9:
            count = self.number()
            self.at += max(count, 0)
            return self.octets[self.at - max(count, 0) : self.at].decode()
        if kind in (10, 13):
            return self.array(">i4", 4)
        if kind == 14:
            return self.array(">f8", 8)
        if kind in (16, 19):
            return [self.item() for _ in range(self.number())]
        assert kind == 25, kind
        return "S4"


def grid_of(folder, name):
    """Values (row, column) and cell size of a SpatialGridDataFrame."""
    (made,) = Reader(folder / f"{name}.rda").item().values()
    slots = made[1]
    about = slots["grid"][1]
    width, height = (int(number) for number in plain(about["cells.dim"]))
    (values,) = slots["data"][0]
    return plain(values).reshape(height, width).astype(np.float64), plain(about["cellsize"])


def plain(value):
    return value[0] if isinstance(value, tuple) else value


@pytest.fixture(scope="module")
def site(request):
    folder = request.getfixturevalue("shared_data")("imagery") / "cran_landsat"
    elevation, cell = grid_of(folder, "dem")
    november = np.stack([grid_of(folder, f"nov{band}")[0] for band in (3, 4, 5, 7)])
    # counts above those of no light and haze stand for reflectance, up to a factor; no pixel is below
    november = november - np.array([22.0, 12.0, 9.0, 9.0])[:, None, None] + 0.5
    light = topography.illumination(elevation, resolution=tuple(cell), **SUN)
    return elevation, november.astype(np.float32), light


@pytest.mark.parametrize("method", ["scs+c", "c", "minnaert"])
def test_the_relief_vanishes_from_the_scene(site, method):
    _, november, light = site
    usable = np.ones(light.cosine.shape, dtype=bool)
    parameters = topography.TopographyParameters(method=method)
    fits = topography.fit(november, light, usable=usable, parameters=parameters)
    result = topography.apply(november, november * 0.03, light, fits, parameters=parameters)
    steep = (light.slope_cosine < np.cos(np.radians(5.0))) & ~result.excluded
    for band in range(len(november)):
        before, after = (topography.dependence(layer[band], light, steep) for layer in (november, result.reflectance))
        assert before > 0.5
        assert abs(after) < 0.1


def test_slopes_away_from_the_sun_and_toward_it_become_alike(site):
    _, november, light = site
    usable = np.ones(light.cosine.shape, dtype=bool)
    result = topography.apply(november, november, light, topography.fit(november, light, usable=usable))
    rise = light.cosine - light.slope_cosine * light.sun_cosine
    shade, sunny = ((sign * rise > 0.08) & ~result.excluded for sign in (-1, 1))
    for band in range(len(november)):
        before, after = (
            np.median(layer[band][sunny]) / np.median(layer[band][shade]) for layer in (november, result.reflectance)
        )
        assert before > 1.5
        assert abs(after - 1.0) < 0.1


def test_a_sun_on_the_wrong_side_corrects_nothing(site):
    """Azimuth turned by half a circle, or rows taken from the south, would brighten the sunny side further."""
    elevation, november, _ = site
    turned = topography.illumination(
        elevation, resolution=(30.0, 30.0), sun_zenith=SUN["sun_zenith"], sun_azimuth=SUN["sun_azimuth"] + 180.0
    )
    fits = topography.fit(november, turned, usable=np.ones(elevation.shape, dtype=bool))
    assert all(np.isnan(found[0].constant) for found in fits)
