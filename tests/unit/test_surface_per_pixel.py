"""Vegetation and land cover of a raster: tile by tile the same as at once, masked where the mask says so."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from infra import cli
from infra.imagery import tiling
from infra.surface import per_pixel
from processors.quality import BadInputError

NAMES = ("blue", "green", "red", "nir", "swir1")
BANDS = {name: number for number, name in enumerate(NAMES, 1)}
COVERS = {
    "water": (0.06, 0.05, 0.03, 0.01, 0.005),
    "soil": (0.10, 0.13, 0.18, 0.24, 0.32),
    "forest": (0.02, 0.04, 0.02, 0.40, 0.15),
}


def scene(path: Path, *, integers: bool = False, size: int = 60) -> Path:
    """Three columns of water, soil and forest; a corner without data."""
    layers = np.zeros((len(NAMES), size, size), dtype=np.float32)
    third = size // 3
    for position, spectrum in enumerate(COVERS.values()):
        layers[:, :, position * third : (position + 1) * third] = np.array(spectrum)[:, None, None]
    layers[:, :5, :5] = np.nan
    return written(path, np.where(np.isnan(layers), 0, layers * 1e4) if integers else layers, integers=integers)


def written(path: Path, layers: npt.NDArray[np.float64], *, integers: bool = False) -> Path:
    count, rows, columns = layers.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=rows,
        width=columns,
        count=count,
        dtype="uint16" if integers else "float32",
        crs="EPSG:32648",
        transform=Affine(10, 0, 600_000, 0, -10, 3_300_000),
        nodata=0 if integers else float("nan"),
    ) as file:
        file.write(layers.astype("uint16" if integers else "float32"))
    return path


def test_vegetation_is_that_of_the_formulas_with_the_error_of_its_bands(tmp_path: Path) -> None:
    report = per_pixel.run_vegetation(scene(tmp_path / "s.tif"), tmp_path / "v.tif", bands=BANDS)
    with rasterio.open(tmp_path / "v.tif") as made:
        ndvi, evi, cover, ndvi_sigma, *_ = made.read()
        assert made.descriptions[:3] == ("ndvi", "evi", "fractional_cover")
        assert made.descriptions[3:] == ("ndvi_sigma", "evi_sigma", "fractional_cover_sigma")
    red, nir, blue = 0.02, 0.40, 0.02
    assert ndvi[30, 50] == pytest.approx((nir - red) / (nir + red), abs=1e-5)
    assert evi[30, 50] == pytest.approx(2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1), abs=1e-4)
    assert 0.9 < cover[30, 50] <= 1.0
    sigma = [0.005 + 0.05 * value for value in (red, nir)]
    expected = 2 / (nir + red) ** 2 * np.hypot(red * sigma[1], nir * sigma[0])
    assert ndvi_sigma[30, 50] == pytest.approx(expected, rel=1e-3)
    assert np.isnan(ndvi[:5, :5]).all()
    assert report["no_data_share"] == pytest.approx(25 / 3600)


def test_tiles_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    per_pixel.run_land_cover(scene(tmp_path / "s.tif"), tmp_path / "whole.tif", bands=BANDS)
    monkeypatch.setattr(per_pixel.tiling, "tiles", lambda shape: _small(shape))
    per_pixel.run_land_cover(tmp_path / "s.tif", tmp_path / "tiled.tif", bands=BANDS)
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "tiled.tif") as tiled:
        assert np.array_equal(whole.read(), tiled.read())


_TILES = tiling.tiles


def _small(shape: tuple[int, int]) -> list[tiling.Tile]:
    return _TILES(shape, size=16)


def test_land_cover_tells_water_soil_and_forest_and_nothing_where_there_is_no_data(tmp_path: Path) -> None:
    report = per_pixel.run_land_cover(scene(tmp_path / "s.tif", integers=True), tmp_path / "l.tif", bands=BANDS)
    with rasterio.open(tmp_path / "l.tif") as made:
        classes, probability = made.read()
    assert (classes[:5, :5] == 255).all()
    assert (classes[10:, :20] == 1).all()
    assert (classes[:, 20:40] == 2).all()
    assert (classes[:, 40:] == 5).all()
    assert (probability[10:] > 1 / 5).all()
    assert report["class_shares"]["forest"] == pytest.approx(1200 / 3575, abs=1e-6)
    assert any("10000" in text for text in report["warnings"])


def test_cloud_and_shadow_of_the_mask_have_no_value_and_are_counted(tmp_path: Path) -> None:
    mask = np.zeros((1, 60, 60))
    mask[0, 20:30, :] = 2
    mask[0, 30:35, :] = 3
    clouds = written(tmp_path / "m.tif", mask)
    report = per_pixel.run_vegetation(scene(tmp_path / "s.tif"), tmp_path / "v.tif", bands=BANDS, mask=clouds)
    with rasterio.open(tmp_path / "v.tif") as made:
        ndvi = made.read(1)
    assert np.isnan(ndvi[20:35]).all()
    assert np.isfinite(ndvi[35:]).all()
    assert report["masked_share"] == pytest.approx(15 / 60)


def test_a_scene_hidden_altogether_is_refused(tmp_path: Path) -> None:
    clouds = written(tmp_path / "m.tif", np.full((1, 60, 60), 2.0))
    for run in (per_pixel.run_vegetation, per_pixel.run_land_cover):
        with pytest.raises(BadInputError, match="no usable pixel"):
            run(scene(tmp_path / "s.tif"), tmp_path / "v.tif", bands=BANDS, mask=clouds)


def test_commands_need_their_bands_by_name(tmp_path: Path) -> None:
    base = ["--scene", str(scene(tmp_path / "s.tif")), "--out", str(tmp_path / "o.tif")]
    missing = CliRunner().invoke(cli.app, ["surface", "vegetation", *base, "--bands", "green=2,nir=4"])
    assert isinstance(missing.exception, BadInputError)
    assert "red" in str(missing.exception)
    beyond = CliRunner().invoke(cli.app, ["surface", "land-cover", *base, "--bands", "green=2,red=3,nir=9"])
    assert "nir (band 9)" in str(beyond.exception)
    done = CliRunner().invoke(cli.app, ["surface", "vegetation", *base, "--bands", "red=3,nir=4", "--json"])
    assert done.exit_code == 0
    assert '"mean_ndvi"' in done.output
    cover = CliRunner().invoke(cli.app, ["surface", "land-cover", *base, "--bands", "green=2,red=3,nir=4"])
    assert cover.exit_code == 0, cover.output
