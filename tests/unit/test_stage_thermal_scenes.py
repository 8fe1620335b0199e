"""Brightness temperatures of landed scenes: in kelvin, by day and by night, or a reason why not."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from infra.imagery import scene_reading
from infra.stages import emergency, imagery, landed_scenes
from infra.stages.execution import NotApplicableError
from processors.quality import BadInputError
from products.sectors import active_fire, registry

SIZE = 40


def scene(path: Path, *, units=("K", "K", ""), warm=0.0, dark=False, names=("t4", "t11", "red"), **profile) -> Path:
    random = np.random.default_rng(1)
    layers = [300 + warm + random.normal(size=(SIZE, SIZE)), 295 + warm + random.normal(size=(SIZE, SIZE))]
    layers.append(np.full((SIZE, SIZE), np.nan if dark else 0.1))
    layers[0][20, 20] = np.nan
    usual = {"dtype": "float32", "nodata": float("nan"), "crs": "EPSG:32648"}
    place = {"height": SIZE, "width": SIZE, "transform": Affine(375, 0, 600_000, 0, -375, 3_300_000)}
    with rasterio.open(path, "w", driver="GTiff", count=len(names), **place, **{**usual, **profile}) as file:
        file.write(np.nan_to_num(np.stack(layers[: len(names)]), nan=file.nodata).astype(file.dtypes[0]))
        file.descriptions = names
        file.units = units[: len(names)]
        file.update_tags(ACQUISITIONDATETIME="2026-07-15T06:00:00Z", SENSOR="VIIRS on SNPP")
    return path


def read(path: Path):
    with scene_reading.open_scene(path) as opened:
        assert opened.channels == ("t4", "t11")
        return landed_scenes.observed([opened], geobox=opened.geobox, area="here")


@pytest.mark.parametrize("dark", [False, True])
def test_temperatures_keep_their_values_and_gaps(tmp_path, dark):
    path = scene(tmp_path / "a.tif", dark=dark)
    series = read(path)
    warmth = series["brightness_temperature"]
    with rasterio.open(path) as file:
        np.testing.assert_allclose(warmth.sel(channel="t4").values[0], file.read(1), rtol=1e-6)
    assert warmth.dims == ("time", "channel", "y", "x")
    assert np.isnan(warmth.sel(channel="t4").values[0, 20, 20])
    assert warmth.attrs["sensor"] == "viirs"
    assert bool(series["reflectance"].notnull().any()) is not dark
    layers = active_fire.active_fire_layers(series, parameters=registry.definition_of("active-fire").parameters)
    assert layers.facts["fires"] == 0
    assert int(layers.data["active_fire"].values[20, 20]) == 255


@pytest.mark.parametrize("names", [("t4", "t11"), ("t4", "t11", "red")])
def test_a_scene_says_which_channels_it_holds_and_temperatures_alone_are_no_routine(tmp_path, names):
    path = scene(tmp_path / "a.tif", names=names)
    with scene_reading.open_scene(path) as opened:
        assert opened.bands == names[2:]
        assert opened.geobox.shape == (SIZE, SIZE)
    if "red" in names:
        assert [str(band) for band in imagery.scene_of_file(path, area="here")["band"].values] == ["red"]
    else:
        with pytest.raises(NotApplicableError, match="temperatures alone"):
            imagery.scene_of_file(path, area="here")


def test_degrees_celsius_become_kelvin(tmp_path):
    series = read(scene(tmp_path / "a.tif", units=("degC", "degC", ""), warm=-273.15))
    assert float(series["brightness_temperature"].sel(channel="t11").mean()) == pytest.approx(295, abs=0.5)


def test_what_is_no_temperature_is_refused_by_name(tmp_path):
    with pytest.raises(BadInputError, match=r"a\.tif: t4 is in w m-2") as caught:
        scene_reading.open_scene(scene(tmp_path / "a.tif", units=("W m-2", "K", "")))
    assert caught.value.cause == "unit_unknown"
    with pytest.raises(BadInputError, match=r"b\.tif: t4 holds") as caught:
        read(scene(tmp_path / "b.tif", warm=-273.15))
    assert caught.value.cause == "temperature_implausible"
    empty = scene(tmp_path / "c.tif", nodata=0.0)
    with rasterio.open(empty, "r+") as file:
        file.write(np.zeros((3, SIZE, SIZE), dtype=np.float32))
    with pytest.raises(BadInputError) as caught:
        read(empty)
    assert caught.value.cause == "all_nodata"


def test_numbers_with_a_scale_are_kelvin(tmp_path):
    path = scene(tmp_path / "a.tif", warm=0.0, dtype="uint16", nodata=0, names=("t4", "t11"))
    with rasterio.open(path, "r+") as file:
        file.write(np.full((2, SIZE, SIZE), 15_000, dtype=np.uint16))
        file.scales, file.offsets = (0.01, 0.01), (150.0, 150.0)
    series = read(path)
    assert float(series["brightness_temperature"].mean()) == pytest.approx(300.0)


def test_only_fires_are_asked_of_temperatures_alone():
    facts = {"bands": [], "polarizations": [], "channels": ["t4", "t11"]}
    given = {product.code for product in registry.definitions() if emergency._can_give(facts, product)}
    assert given == {"active-fire"}
    assert "burn-severity" not in given
