"""Terrain files: layers on metric grids, read back on any grid, what is unknown stays unknown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window
from typer.testing import CliRunner

from infra import cli
from infra.imagery import tiling
from infra.surface import terrain, terrain_layers
from processors.quality import BadInputError

MAP = rasterio.Affine(30, 0, 500_000, 0, -30, 3_300_000)


def valley(rows: int = 80, columns: int = 90) -> npt.NDArray[np.float32]:
    south = -1.0 * np.arange(rows)[:, None]
    return (500 + south + 12.0 * np.abs(np.arange(columns) - columns // 2)[None, :]).astype(np.float32)


def written(
    path: Path, layer: npt.NDArray[Any], *, transform: Any = MAP, crs: Any = "EPSG:32648", nodata: Any = None
) -> Path:
    profile = {"driver": "GTiff", "height": layer.shape[0], "width": layer.shape[1], "count": 1, "dtype": layer.dtype}
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs, nodata=nodata) as file:
        file.write(layer, 1)
    return path


def test_the_command_writes_named_bands(tmp_path: Path) -> None:
    dem, out = written(tmp_path / "dem.tif", valley()), tmp_path / "t.tif"
    words = ["surface", "terrain", "--dem", str(dem), "--out", str(out), "--channel-area", "0.05", "--json"]
    made = CliRunner().invoke(cli.app, [*words, "--incidence", "35", "--look-azimuth", "90"])
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["bands"] == list(terrain_layers.NAMES)
    with rasterio.open(out) as file:
        assert file.descriptions == terrain_layers.NAMES
        layers = dict(zip(file.descriptions, file.read(), strict=True))
    np.testing.assert_array_equal(layers["elevation"], valley())
    assert layers["hand"][40, 45] == 0
    assert layers["hand"][40, 40] == pytest.approx(60, abs=6)
    assert layers["slope"][40, 20] == pytest.approx(21.9, abs=0.2)
    assert set(np.unique(layers["layover"])) <= {0, 1}


def test_tiles_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dem = written(tmp_path / "dem.tif", (3 * valley()).astype(np.float32))
    outs = []
    tiles = tiling.tiles
    for size in (1024, 32):
        monkeypatch.setattr(tiling, "tiles", lambda shape, size=size: tiles(shape, size=size))
        outs.append(tmp_path / f"t{size}.tif")
        report = terrain.run(dem, outs[-1], incidence=40.0, look_azimuth=80.0)
        assert report["layover_share"] > 0.1
    with rasterio.open(outs[0]) as one, rasterio.open(outs[1]) as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_heights_in_degrees_are_brought_to_a_metric_grid(tmp_path: Path) -> None:
    transform = rasterio.Affine(1 / 3600, 0, 106.5, 0, -1 / 3600, 29.5)
    dem = written(tmp_path / "dem.tif", valley(), transform=transform, crs="EPSG:4326")
    report = terrain.run(dem, tmp_path / "t.tif")
    assert report["crs"] == "EPSG:32648"
    assert report["pixel_size"][0] == pytest.approx(26.9, abs=0.2)
    with rasterio.open(tmp_path / "t.tif") as file:
        slope = file.read(2)
    # 12 m in 26.9 m to the east, 1 m in 30.9 m to the south.
    assert np.nanmedian(slope) == pytest.approx(24.1, abs=0.7)


def test_the_grid_of_another_raster_looks_beyond_its_edges(tmp_path: Path) -> None:
    dem = written(tmp_path / "dem.tif", valley())
    small = rasterio.Affine(10, 0, 501_000, 0, -10, 3_299_100)
    like = written(tmp_path / "like.tif", np.zeros((60, 70), dtype=np.float32), transform=small)
    terrain.run(dem, tmp_path / "t.tif", like=like, channel_area=0.3)
    with rasterio.open(tmp_path / "t.tif") as file:
        assert file.shape == (60, 70)
        hand = file.read(3)
    assert np.isfinite(hand).mean() > 0.9
    degrees = rasterio.Affine(1e-4, 0, 105.01, 0, -1e-4, 29.82)
    other = written(tmp_path / "o.tif", np.zeros((60, 70), dtype=np.float32), transform=degrees, crs="EPSG:4326")
    assert terrain.run(dem, tmp_path / "u.tif", like=other)["crs"] == "EPSG:32648"


def test_known_water_is_the_channel(tmp_path: Path) -> None:
    dem = written(tmp_path / "dem.tif", valley())
    wet = np.zeros((80, 90), dtype=np.uint8)
    water = written(tmp_path / "w.tif", wet, nodata=255)
    report = terrain.run(dem, tmp_path / "t.tif", channels=water, channel_area=0.05)
    assert any("shows no water" in text for text in report["warnings"])
    wet[:, 20], wet[:, 70] = 1, 255
    water = written(tmp_path / "w.tif", wet, nodata=255)
    report = terrain.run(dem, tmp_path / "t.tif", channels=water)
    assert report["channel_share"] == pytest.approx(1 / 90)
    assert terrain.run(dem, tmp_path / "t.tif", channels=water, channel_area=0.05)["channel_share"] > 1.5 / 90


def test_voids_stay_unknown_and_flag_the_file(tmp_path: Path) -> None:
    heights = valley()
    heights[:30] = -32768
    dem = written(tmp_path / "dem.tif", heights)
    report = terrain.run(dem, tmp_path / "t.tif", incidence=35.0, look_azimuth=90.0, channel_area=0.05)
    assert report["status"] == "flagged"
    assert report["void_share"] > 0.3
    assert any("no heights" in text for text in report["warnings"])
    with rasterio.open(tmp_path / "t.tif") as file:
        assert np.isnan(file.read()[:, :30]).all()


def test_what_gives_no_terrain_is_refused(tmp_path: Path) -> None:
    dem, out = written(tmp_path / "dem.tif", valley()), tmp_path / "t.tif"
    nowhere = written(tmp_path / "n.tif", valley(), crs=None)
    empty = written(tmp_path / "e.tif", np.full((9, 9), np.nan, dtype=np.float32))
    for path, choices, words in (
        (nowhere, {}, "reference system"),
        (empty, {}, "no height"),
        (dem, {"incidence": 30.0}, "belong together"),
        (dem, {"incidence": 95.0, "look_azimuth": 90.0}, "side-looking"),
        (dem, {"like": nowhere}, "reference system"),
        (dem, {"channels": nowhere}, "reference system"),
    ):
        with pytest.raises(BadInputError, match=words):
            terrain.run(path, out, **choices)


def test_layers_are_read_on_any_grid_and_window(tmp_path: Path) -> None:
    dem, path = written(tmp_path / "dem.tif", valley()), tmp_path / "t.tif"
    terrain.run(dem, path, channel_area=0.05, incidence=35.0, look_azimuth=90.0)
    same = GeoBox((80, 90), MAP, "EPSG:32648")
    whole = terrain_layers.read(path, same)
    assert tuple(whole) == terrain_layers.NAMES
    part = terrain_layers.read(path, same, window=Window(85, 10, 10, 6), names=["elevation", "slope"])
    assert tuple(part) == ("elevation", "slope")
    np.testing.assert_array_equal(part["elevation"][:, :5], whole["elevation"][10:16, 85:])
    assert np.isnan(part["elevation"][:, 5:]).all()
    finer = GeoBox((40, 40), rasterio.Affine(10, 0, 501_000, 0, -10, 3_299_000), "EPSG:32648")
    seen = terrain_layers.read(path, finer)
    rows = (3_300_000 - (3_299_000 - 5 - 10 * np.arange(40))) / 30 - 0.5
    columns = (1000 + 5 + 10 * np.arange(40)) / 30 - 0.5
    expected = 500 - rows[:, None] + 12 * np.abs(columns - 45)[None, :]
    clear = np.abs(columns - 45) > 1
    np.testing.assert_allclose(seen["elevation"][:, clear], expected[:, clear], atol=0.05)
    assert set(np.unique(seen["layover"])) <= {0, 1}


def test_files_without_terrain_are_refused(tmp_path: Path) -> None:
    dem = written(tmp_path / "dem.tif", valley())
    box = GeoBox((80, 90), MAP, "EPSG:32648")
    with pytest.raises(BadInputError, match="no band named"):
        terrain_layers.read(dem, box)
    path = written(tmp_path / "t.tif", valley(), crs=None)
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "elevation")
    with pytest.raises(BadInputError, match="reference system"):
        terrain_layers.read(path, box)
