"""Raster files: values survive the way in and out whatever the encoding, window and tile."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window
from rio_cogeo import cogeo

from infra.imagery import raster_file, tiling
from processors.quality import BadInputError

NORTH_UP = Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 3_300_000.0)


def written(path, numbers, *, transform=NORTH_UP, crs="EPSG:32648", scales=None, offsets=None, **profile):
    layers = np.atleast_3d(numbers) if numbers.ndim == 3 else numbers[None]
    profile = {"driver": "GTiff", "dtype": layers.dtype.name, "crs": crs, **profile}
    if transform is not None:
        profile["transform"] = transform
    with rasterio.open(
        path, "w", height=layers.shape[1], width=layers.shape[2], count=layers.shape[0], **profile
    ) as out:
        out.write(layers)
        if scales:
            out.scales = scales
        if offsets:
            out.offsets = offsets
    return path


def copied(source, target, **options):
    with raster_file.open_raster(source) as raster:
        writer = raster_file.RasterWriter(
            target,
            shape=raster.shape,
            transform=raster.transform,
            crs=raster.crs,
            encoding=raster.encoding,
            descriptions=raster.descriptions,
            **options,
        )
        with writer:
            for tile in tiling.tiles(raster.shape, size=64):
                writer.write(raster.read(tile.core), tile.core)
    return writer


@pytest.mark.parametrize(
    ("dtype", "scale", "offset", "nodata"),
    [
        ("uint16", 1e-4, -0.1, 0),
        ("int16", 1e-4, 0.0, -32768),
        ("uint8", 1.0, 0.0, None),
        ("uint16", 2.75e-5, -0.2, 0),
        ("int32", 0.01, 5.0, -1),
        ("float32", 1.0, 0.0, -3.3999999521443642e38),
        ("float64", 1.0, 0.0, None),
    ],
)
def test_stored_numbers_survive_reading_and_writing(tmp_path, dtype, scale, offset, nodata):
    rng = np.random.default_rng(3)
    numbers = rng.integers(1, 250, (2, 90, 130)).astype(dtype)
    gap = rng.random((90, 130)) < 0.1
    if nodata is not None:
        numbers[:, gap] = nodata
    source = written(tmp_path / "a.tif", numbers, scales=(scale,) * 2, offsets=(offset,) * 2, nodata=nodata)
    copied(source, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as out:
        assert np.array_equal(out.read(), numbers)
        assert out.dtypes == (dtype, dtype)
        assert (out.scales, out.offsets) == ((scale,) * 2, (offset,) * 2)
        assert out.nodata is not None
    with raster_file.open_raster(source) as raster:
        values = raster.read()
    assert np.array_equal(np.isnan(values[0]), gap if nodata is not None else np.zeros_like(gap))
    expected = numbers.astype(np.float64) * scale + offset
    assert np.nanmax(np.abs(values - expected)[:, ~np.isnan(values[0])]) < 1e-6 * max(
        np.abs(expected[:, ~gap]).max(), 1
    )


def test_a_window_beyond_the_raster_is_empty_there(tmp_path):
    source = written(tmp_path / "a.tif", np.arange(12, dtype=np.uint8).reshape(3, 4))
    with raster_file.open_raster(source) as raster:
        values = raster.read(Window(-2, -1, 5, 3))[0]
        outside = raster.read(Window(50, 50, 2, 2))
    assert np.isnan(values[0]).all()
    assert np.isnan(values[:, :2]).all()
    assert np.array_equal(values[1:, 2:], [[0, 1, 2], [4, 5, 6]])
    assert np.isnan(outside).all()


def test_the_file_is_a_valid_cloud_optimized_geotiff(tmp_path):
    source = written(tmp_path / "a.tif", np.full((1, 1100, 900), 7, dtype=np.uint16), nodata=0)
    copied(source, tmp_path / "b.tif")
    valid, errors, _ = cogeo.cog_validate(tmp_path / "b.tif", quiet=True)
    assert valid, errors
    with rasterio.open(tmp_path / "b.tif") as out:
        assert out.overviews(1)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.tif"}


def test_plain_files_are_not_compressed(tmp_path):
    source = written(tmp_path / "a.tif", np.full((1, 64, 64), 7, dtype=np.uint16), nodata=0)
    copied(source, tmp_path / "b.tif", plain=True)
    with rasterio.open(tmp_path / "b.tif") as out:
        assert out.compression is None
        assert (out.read() == 7).all()


def test_nothing_appears_under_the_final_name_after_a_failure(tmp_path):
    source = written(tmp_path / "a.tif", np.ones((1, 64, 64), dtype=np.uint8))
    with raster_file.open_raster(source) as raster:
        writer = raster_file.RasterWriter(
            tmp_path / "b.tif", shape=raster.shape, transform=raster.transform, crs=raster.crs,
            encoding=raster.encoding, descriptions=raster.descriptions,
        )  # fmt: skip
        with pytest.raises(RuntimeError, match="planted"), writer:
            raise RuntimeError("planted")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif"}


def test_values_beyond_the_data_type_are_clipped_and_counted_and_never_become_no_data(tmp_path):
    encoding = raster_file.Encoding("uint8", (1.0,), (0.0,), 255)
    values = np.array([[[-4.0, 0.0, 254.6, 255.0, 300.0, np.nan]]], dtype=np.float32)
    writer = raster_file.RasterWriter(
        tmp_path / "a.tif", shape=(1, 6), transform=NORTH_UP, crs=None, encoding=encoding, descriptions=["x"]
    )
    with writer:
        writer.write(values)
    with rasterio.open(tmp_path / "a.tif") as out:
        assert out.read(1).tolist() == [[0, 0, 254, 254, 254, 255]]
    assert writer.clipped == 2


def test_untagged_integers_are_taken_as_ten_thousandths_with_a_warning(tmp_path):
    source = written(tmp_path / "a.tif", np.full((1, 8, 8), 2500, dtype=np.uint16))
    with raster_file.open_raster(source, reflectance=True) as raster:
        assert raster.read() == pytest.approx(0.25)
        assert any("10000" in text for text in raster.warnings)
    with raster_file.open_raster(source) as raster:
        assert raster.read() == pytest.approx(2500)
        assert raster.warnings == []


def test_a_stated_scale_is_not_second_guessed(tmp_path):
    source = written(tmp_path / "a.tif", np.full((1, 8, 8), 2500, dtype=np.uint16), scales=(2e-4,), offsets=(-0.1,))
    with raster_file.open_raster(source, reflectance=True) as raster:
        assert raster.read() == pytest.approx(0.4)
        assert raster.warnings == []


def test_an_alpha_band_says_where_data_are(tmp_path):
    numbers = np.full((4, 8, 8), 9, dtype=np.uint8)
    numbers[3] = 255
    numbers[3, :4] = 0
    path = tmp_path / "a.tif"
    written(path, numbers, photometric="RGB", alpha="YES")
    with raster_file.open_raster(path) as raster:
        values = raster.read(bands=[1])[0]
    assert np.isnan(values[:4]).all()
    assert (values[4:] == 9).all()


def test_four_bands_of_octets_are_four_measurements_and_no_transparency(tmp_path):
    numbers = np.arange(4 * 49, dtype=np.uint8).reshape(4, 7, 7)
    source = written(tmp_path / "a.tif", numbers, photometric="MINISBLACK", alpha="NO")
    copied(source, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as out, raster_file.open_raster(tmp_path / "b.tif") as raster:
        assert rasterio.enums.ColorInterp.alpha not in out.colorinterp
        assert np.array_equal(raster.read()[3], numbers[3])


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"transform": Affine(10.0, 0.0, 0.0, 0.0, 10.0, 0.0)}, "grid_flipped"),
        ({"transform": Affine(-10.0, 0.0, 0.0, 0.0, -10.0, 0.0)}, "grid_flipped"),
        ({"transform": Affine(10.0, 1.0, 0.0, 1.0, -10.0, 0.0)}, "grid_irregular"),
        ({"dtype": "complex64"}, "mixed_types"),
    ],
)
def test_rasters_that_would_be_misread_are_refused(tmp_path, changes, cause):
    source = written(tmp_path / "a.tif", np.ones((1, 8, 8), dtype=changes.pop("dtype", "uint8")), **changes)
    with pytest.raises(BadInputError) as caught, raster_file.open_raster(source):
        pass
    assert caught.value.cause == cause
    assert "a.tif" in str(caught.value)


def test_what_is_no_raster_is_refused_by_name(tmp_path):
    (tmp_path / "a.tif").write_text("not a raster")
    with pytest.raises(BadInputError, match=r"a\.tif"), raster_file.open_raster(tmp_path / "a.tif"):
        pass


def test_a_truncated_raster_is_refused_when_it_is_read(tmp_path):
    source = written(tmp_path / "a.tif", np.random.default_rng(1).integers(0, 255, (1, 600, 600)).astype(np.uint8))
    source.write_bytes(source.read_bytes()[:200_000])
    with raster_file.open_raster(source) as raster, pytest.raises(BadInputError) as caught:
        raster.read()
    assert caught.value.cause == "truncated"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_system_is_read_with_a_warning(tmp_path):
    source = written(tmp_path / "a.tif", np.ones((1, 8, 8), dtype=np.uint8), crs=None, transform=None)
    with raster_file.open_raster(source) as raster:
        assert raster.geobox is None
        assert any("reference system" in text for text in raster.warnings)


def test_sigma_bands_have_the_scale_of_their_bands_and_no_offset():
    fused = raster_file.fused_encoding(raster_file.Encoding("uint16", (1e-4, 2e-4), (-0.1, 0.0), None))
    assert fused == raster_file.Encoding("uint16", (1e-4, 2e-4) * 2, (-0.1, 0.0, 0.0, 0.0), 65535.0)


def test_a_sample_is_the_raster_thinned(tmp_path):
    numbers = np.arange(300 * 200, dtype=np.int32).reshape(1, 300, 200)
    source = written(tmp_path / "a.tif", numbers)
    with raster_file.open_raster(source) as raster:
        assert np.array_equal(raster.sample(size=100)[0], numbers[0, 1::3, 1::3])
        assert np.array_equal(raster.sample(size=400), numbers)


def test_bands_and_descriptions_must_agree(tmp_path):
    with pytest.raises(ValueError, match="2 bands with 1"):
        raster_file.RasterWriter(
            tmp_path / "a.tif", shape=(1, 1), transform=NORTH_UP, crs=None,
            encoding=raster_file.Encoding("uint8", (1.0,), (0.0,), 0), descriptions=["a", "b"],
        )  # fmt: skip
