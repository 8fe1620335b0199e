"""Products of other missions, written by their published formats, decode to numbers computed by hand."""

import json
import tarfile

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer
from rasterio.windows import Window
from scipy import interpolate

from infra.imagery import scene_reading
from processors.geodesy import vertical_datum
from processors.imagery import (
    elevation_model,
    gaofen,
    grid,
    landsat,
    modis_viirs,
    rational_polynomial,
    sentinel1,
    sentinel2,
)
from processors.imagery.qa import QaBit
from processors.quality import BadInputError
from tests.unit import imagery_products as products

RNG_SEED = 7


def numbers(shape: tuple[int, int], *, low: int = 600, high: int = 9000, seed: int = RNG_SEED) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.uint16)


def refused(call) -> str:
    with pytest.raises(BadInputError) as refusal:
        call()
    return refusal.value.cause


# Sentinel-2


def level2(tmp_path, **options):
    red, edge = numbers((12, 18), seed=1), numbers((6, 9), seed=2)
    red[0, 0], red[3, 4], red[5, 5] = 0, 65535, 900
    bands = {"B04_10m": red, "B04_20m": red[::2, ::2].copy(), "B08_10m": numbers((12, 18), seed=3), "B05_20m": edge}
    return products.sentinel2_safe(tmp_path, bands, **options), red, edge


@pytest.mark.parametrize("as_zip", [False, True])
def test_sentinel2_reflectance_is_number_plus_offset_over_quantification(tmp_path, as_zip):
    safe, red, edge = level2(tmp_path, scl=np.full((6, 9), 8, np.uint8))
    with scene_reading.open_scene(products.zipped(safe) if as_zip else safe) as scene:
        assert scene.bands == ("red", "rededge1", "nir")
        assert scene.geobox.shape == (12, 18)
        assert grid.pixel_size(scene.geobox) == 10.0
        assert scene.time == np.datetime64("2024-05-15T03:36:02.345")
        assert (scene.sun_zenith, scene.sun_azimuth) == (19.25, 112.5)
        found = scene.read(["red"])[0]
        expected = (red.astype(float) - 1000.0) / 10000.0
        expected[[0, 3], [0, 4]] = np.nan
        np.testing.assert_allclose(found, expected, atol=1e-7)
        assert found[5, 5] == pytest.approx(-0.01)
        own = GeoBox((6, 9), Affine(20, 0, 600_000, 0, -20, 3_300_000), "EPSG:32648")
        np.testing.assert_allclose(scene.read(["rededge1"], geobox=own)[0], (edge - 1000.0) / 1e4, atol=1e-7)
        assert (sentinel2.qa_bits(scene.classes("scl")) == QaBit.CLOUD).all()


def test_sentinel2_old_baseline_without_offsets_has_none(tmp_path):
    safe, red, _ = level2(tmp_path, baseline="02.14", offsets={})
    with scene_reading.open_scene(safe) as scene:
        assert scene.read(["red"])[0, 1, 1] == pytest.approx(red[1, 1] / 1e4)


def test_sentinel2_offset_of_every_band_is_its_own(tmp_path):
    given = dict.fromkeys(products.BAND_IDS, -1000) | {"B8": -500}
    safe, _, _ = level2(tmp_path, offsets=given)
    with scene_reading.open_scene(safe) as scene:
        nir = numbers((12, 18), seed=3)
        assert scene.read(["nir"])[0, 2, 2] == pytest.approx((nir[2, 2] - 500) / 1e4)


def test_sentinel2_level1c_is_top_of_atmosphere(tmp_path):
    blue = numbers((12, 18))
    safe = products.sentinel2_safe(tmp_path, {"B02": blue}, level="1C", baseline="04.00")
    with scene_reading.open_scene(safe / "MTD_MSIL1C.xml") as scene:
        assert scene.metadata.level == "toa_reflectance"
        np.testing.assert_allclose(scene.read()[0], (blue - 1000.0) / 1e4, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"baseline": "04.00", "offsets": {}}, "offset_missing"),
        ({"baseline": "05.11", "offsets": {"B2": -1000}}, "offset_missing"),
        ({"nodata": False}, "nodata_missing"),
    ],
)
def test_sentinel2_that_leaves_its_offset_or_no_data_open_is_refused(tmp_path, options, cause):
    safe, _, _ = level2(tmp_path, **options)
    assert refused(lambda: scene_reading.open_scene(safe)) == cause


def test_sentinel2_offset_applied_twice_is_seen_in_the_numbers(tmp_path):
    safe = products.sentinel2_safe(tmp_path, {"B04_10m": numbers((12, 18), low=20, high=800)})
    with scene_reading.open_scene(safe) as scene:
        assert refused(scene.read) == "offset_implausible"


@pytest.mark.parametrize(
    ("properties", "offset", "expected"),
    [
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.10"}, -0.1, 0.3),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.10"}, -0.1, 0.2),
        ({"s2:processing_baseline": "02.14"}, None, 0.3),
    ],
)
def test_offset_of_copies_follows_what_was_done_to_them(tmp_path, properties, offset, expected):
    item = products.sentinel2_copies(
        tmp_path, {"red": np.full((5, 6), 3000, np.uint16)}, properties=properties, offset=offset
    )
    for path in (item, tmp_path):
        with scene_reading.open_scene(path) as scene:
            assert scene.read()[0, 2, 2] == pytest.approx(expected)
            assert scene.sun_zenith == pytest.approx(19.25)


@pytest.mark.parametrize("properties", [{"s2:processing_baseline": "04.00"}, {}])
def test_copies_without_offset_are_refused(tmp_path, properties):
    item = products.sentinel2_copies(tmp_path, {"red": numbers((5, 6))}, properties=properties, offset=None)
    assert refused(lambda: scene_reading.open_scene(item)) == "offset_missing"


@pytest.mark.parametrize(("key", "cause"), [("scale", "scale_missing"), ("nodata", "nodata_missing")])
def test_copies_without_scale_or_no_data_are_refused(tmp_path, key, cause):
    item = products.sentinel2_copies(tmp_path, {"red": numbers((5, 6))}, properties={}, offset=-0.1)
    item.write_text(item.read_text().replace(f'"{key}"', '"other"'))
    assert refused(lambda: scene_reading.open_scene(item)) == cause


def test_copies_without_band_are_refused(tmp_path):
    item = products.sentinel2_copies(tmp_path, {"thumbnail": numbers((5, 6))}, properties={}, offset=-0.1)
    assert refused(lambda: scene_reading.open_scene(item)) == "band_missing"


def test_scene_classes_become_quality_bits():
    found = sentinel2.qa_bits(np.array([0, 1, 3, 4, 8, 9, 10, 11]))
    bits = [QaBit.NODATA, QaBit.SATURATED, QaBit.SHADOW, 0, QaBit.CLOUD, QaBit.CLOUD, QaBit.CLOUD, 0]
    assert found.tolist() == [int(bit) for bit in bits]


# Landsat


def test_landsat_level2_takes_the_level2_scale_of_its_file(tmp_path):
    red, heat = numbers((7, 8), low=7273, high=40000), numbers((7, 8), low=40000, high=50000)
    red[0, 0] = 0
    qa = np.full((7, 8), 0b10000, np.uint16)
    folder = products.landsat_scene(
        tmp_path, products.LANDSAT_LEVEL2_MTL, {"SR_B4": red, "SR_B5": red, "ST_B10": heat, "QA_PIXEL": qa}
    )
    with scene_reading.open_scene(folder) as scene:
        assert scene.bands == ("red", "nir")
        assert scene.metadata.level == "surface_reflectance"
        assert scene.sun_zenith == pytest.approx(23.5)
        assert scene.time == np.datetime64("2024-05-15T03:24:51.123456")
        expected = np.where(red == 0, np.nan, red * 2.75e-5 - 0.2)
        np.testing.assert_allclose(scene.read(["red"])[0], expected, atol=1e-6)
        kelvin = scene.read(["surface_temperature"])[0]
        np.testing.assert_allclose(kelvin, heat * 0.00341802 + 149.0, atol=1e-3)
        assert (landsat.qa_bits(scene.classes("qa_pixel")) == QaBit.SHADOW).all()


def test_landsat_surface_temperature_stacks_in_kelvin_and_not_with_reflectance(tmp_path):
    layers = {"SR_B4": numbers((7, 8), low=8000), "ST_B10": np.full((7, 8), 44_000, np.uint16)}
    folder = products.landsat_scene(tmp_path, products.LANDSAT_LEVEL2_MTL, layers)
    with scene_reading.open_scene(folder) as scene:
        stacked = scene_reading.stack([scene], bands=["surface_temperature"])
        assert stacked["temperature"].attrs["units"] == "K"
        np.testing.assert_allclose(stacked["temperature"], 44_000 * 0.00341802 + 149.0, rtol=1e-6)
        mixed = ["red", "surface_temperature"]
        assert refused(lambda: scene_reading.stack([scene], bands=mixed)) == "levels_mixed"


def test_panchromatic_band_is_read_by_name_and_does_not_set_the_grid(tmp_path):
    text = products.LANDSAT_LEVEL1_MTL.replace(
        "    FILE_NAME_BAND_10",
        '    FILE_NAME_BAND_8 = "LC09_L1TP_127039_20240515_20240516_02_T1_B8.TIF"\n    FILE_NAME_BAND_10',
    )
    for line in ("REFLECTANCE_MULT", "REFLECTANCE_ADD", "QUANTIZE_CAL_MAX", "QUANTIZE_CAL_MIN"):
        start = text.index(f"    {line}_BAND_4")
        own = text[start : text.index("\n", start) + 1]
        text = text.replace(own, own + own.replace("BAND_4", "BAND_8"))
    folder = products.landsat_scene(tmp_path, text, {"B4": numbers((7, 8))})
    pan = numbers((14, 16))
    products.write_raster(tmp_path / "LC09_L1TP_127039_20240515_20240516_02_T1_B8.TIF", pan, resolution=15.0)
    with scene_reading.open_scene(folder) as scene:
        assert scene.bands == ("red",)
        assert grid.pixel_size(scene.geobox) == 30.0
        fine = GeoBox((14, 16), Affine(15, 0, 600_000, 0, -15, 3_300_000), "EPSG:32648")
        np.testing.assert_allclose(scene.read(["pan"], geobox=fine)[0], (pan * 2e-5 - 0.1) / 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("sensor", "number", "name"),
    [("OLI_TIRS", "6", "swir1"), ("OLI_TIRS", "5", "nir"), ("ETM", "5", "swir1"), ("ETM", "4", "nir")],
)
def test_landsat_bands_are_named_by_their_sensor(sensor, number, name):
    """Band 5 is near infrared on Landsat 8 and 9, shortwave infrared before; band 6 is thermal before."""
    text = products.LANDSAT_LEVEL1_MTL.replace("OLI_TIRS", sensor).replace("BAND_4", f"BAND_{number}")
    metadata = landsat.metadata_from_mtl(text.encode(), names=["LC09_L1TP_127039_20240515_20240516_02_T1_B4.TIF"])
    assert [layer.name for layer in metadata.layers] == [name]


def test_landsat_bundle_is_read_from_its_archive(tmp_path):
    folder = tmp_path / "LC09"
    red = numbers((7, 8), low=7273, high=40000)
    products.landsat_scene(folder, products.LANDSAT_LEVEL2_MTL, {"SR_B4": red})
    bundle = tmp_path / "LC09.tar"
    with tarfile.open(bundle, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    with scene_reading.open_scene(bundle) as scene:
        np.testing.assert_allclose(scene.read()[0], red * 2.75e-5 - 0.2, atol=1e-6)


@pytest.mark.parametrize("form", ["txt", "json", "xml"])
def test_landsat_metadata_say_the_same_in_all_their_forms(form):
    text = products.LANDSAT_LEVEL1_MTL
    groups = landsat.groups_from_mtl(text.encode())
    if form == "json":
        assert landsat.groups_from_mtl(json.dumps({"LANDSAT_METADATA_FILE": groups}).encode()) == groups
    elif form == "xml":
        inner = "".join(
            f"<{name}>{''.join(f'<{k}>{v}</{k}>' for k, v in entries.items())}</{name}>"
            for name, entries in groups.items()
        )
        assert landsat.groups_from_mtl(f"<LANDSAT_METADATA_FILE>{inner}</LANDSAT_METADATA_FILE>".encode()) == groups
    else:
        assert groups["IMAGE_ATTRIBUTES"]["SUN_ELEVATION"] == "30.00"


def test_landsat_level1_divides_by_the_sine_of_the_sun_elevation(tmp_path):
    red, heat = numbers((7, 8), low=6000, high=30000), numbers((7, 8), low=20000, high=30000)
    red[0, :3] = 0, 65535, 1
    folder = products.landsat_scene(tmp_path, products.LANDSAT_LEVEL1_MTL, {"B4": red, "B10": heat})
    with scene_reading.open_scene(folder) as scene:
        found = scene.read(["red"])[0]
        expected = (red * 2.0e-5 - 0.1) / 0.5
        np.testing.assert_allclose(found[1:], expected[1:], atol=1e-6)
        assert np.isnan(found[0, :2]).all()
        assert found[0, 2] == pytest.approx(-0.19996, abs=1e-6)
        radiance = heat * 3.8e-4 + 0.1
        np.testing.assert_allclose(scene.read(["thermal"])[0], 1329.2405 / np.log(799.0284 / radiance + 1), atol=1e-3)
        assert scene.sun_azimuth == 185.0


def test_old_landsat_gets_reflectance_from_radiance(tmp_path):
    """By hand: pi L d2 / (E sin) with L = 1.044 x 100 - 2.21398, E = 1536 and d = 1.0129 au on 14 August."""
    text = (
        products.LANDSAT_LEVEL1_MTL.replace("LANDSAT_9", "LANDSAT_5")
        .replace("OLI_TIRS", "TM")
        .replace("_BAND_4", "_BAND_3")
        .replace("2024-05-15", "1988-08-14")
        .replace("    REFLECTANCE_MULT_BAND_3 = 2.0000E-05\n", "    RADIANCE_MULT_BAND_3 = 1.044\n")
        .replace("    REFLECTANCE_ADD_BAND_3 = -0.100000\n", "    RADIANCE_ADD_BAND_3 = -2.21398\n")
    )
    folder = products.landsat_scene(tmp_path, text, {"B4": np.full((4, 5), 100, np.uint8)})
    with scene_reading.open_scene(folder) as scene:
        assert scene.read(["red"])[0, 1, 1] == pytest.approx(np.pi * 102.186 * 1.0129**2 / (1536 * 0.5), rel=2e-4)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("    REFLECTANCE_MULT_BAND_4 = 2.0000E-05\n", "", "scale_missing"),
        ("    QUANTIZE_CAL_MAX_BAND_4 = 65535\n", "", "nodata_missing"),
        ("    K1_CONSTANT_BAND_10 = 799.0284\n", "", "scale_missing"),
        ("SUN_ELEVATION = 30.00", "SUN_ELEVATION = -3.0", "sun_below_horizon"),
        ("SUN_ELEVATION = 30.00", "SUN_ELEVATION = none", "metadata_unreadable"),
        ('SENSOR_ID = "OLI_TIRS"', 'SENSOR_ID = "MSS"', "sensor_unknown"),
        ("    DATE_ACQUIRED = 2024-05-15\n", "", "metadata_missing"),
        ("DATE_ACQUIRED = 2024-05-15", "DATE_ACQUIRED = soon", "time_missing"),
        ("  END_GROUP = IMAGE_ATTRIBUTES\n", "", "metadata_unreadable"),
        ("END_GROUP = LANDSAT_METADATA_FILE\n", "", "metadata_unreadable"),
        ("PRODUCT_CONTENTS", "CONTENTS", "metadata_missing"),
        ("FILE_NAME_BAND_4", "FILE_NAME_X", "band_missing"),
    ],
)
def test_landsat_with_a_piece_missing_is_refused(tmp_path, old, new, cause):
    mtl = products.LANDSAT_LEVEL1_MTL
    folder = products.landsat_scene(tmp_path, mtl, {"B4": numbers((4, 5)), "B10": numbers((4, 5))})
    next(folder.glob("*_MTL.txt")).write_text(mtl.replace(old, new))
    assert refused(lambda: scene_reading.open_scene(folder)) == cause


@pytest.mark.parametrize(
    ("old", "cause"),
    [
        ("    REFLECTANCE_MULT_BAND_4 = 2.75e-05\n", "scale_missing"),
        ("    TEMPERATURE_ADD_BAND_ST_B10 = 149.0\n", "scale_missing"),
    ],
)
def test_landsat_level2_does_not_fall_back_to_the_level1_scale(tmp_path, old, cause):
    mtl = products.LANDSAT_LEVEL2_MTL
    folder = products.landsat_scene(tmp_path, mtl, {"SR_B4": numbers((4, 5)), "ST_B10": numbers((4, 5))})
    next(folder.glob("*_MTL.txt")).write_text(mtl.replace(old, ""))
    assert refused(lambda: scene_reading.open_scene(folder)) == cause


def test_two_landsat_scenes_in_one_folder_are_refused(tmp_path):
    products.landsat_scene(tmp_path, products.LANDSAT_LEVEL1_MTL, {"B4": numbers((4, 5))})
    products.landsat_scene(tmp_path, products.LANDSAT_LEVEL2_MTL, {"SR_B4": numbers((4, 5))})
    assert refused(lambda: scene_reading.open_scene(tmp_path)) == "metadata_ambiguous"


def test_unreadable_landsat_json_is_refused():
    assert refused(lambda: landsat.groups_from_mtl(b"{ nonsense")) == "metadata_unreadable"


# Sentinel-1

SHAPE = (60, 81)


def ground_range(tmp_path, **options):
    vv = numbers(SHAPE, low=100, high=800)
    vv[0, 0] = 0
    return products.sentinel1_safe(tmp_path, {"vv": vv, "vh": vv // 2}, **options), vv


def by_hand(values: np.ndarray, *, gain: tuple[float, float] = (500.0, 400.0), doubled: bool = True) -> np.ndarray:
    part = np.arange(SHAPE[1]) / (SHAPE[1] - 1)
    noise = np.broadcast_to(1000.0 + 1000.0 * part, SHAPE).copy()
    if doubled:
        noise[20:] *= 2.0
    power = (values.astype(float) ** 2 - noise) / (gain[0] + (gain[1] - gain[0]) * part) ** 2
    return np.where(values > 0, power, np.nan)


@pytest.mark.parametrize("as_zip", [False, True])
def test_sentinel1_backscatter_is_calibrated_and_freed_of_noise(tmp_path, as_zip):
    safe, vv = ground_range(tmp_path)
    with scene_reading.open_scene(products.zipped(safe) if as_zip else safe) as scene:
        assert scene.polarizations == ("vv", "vh")
        layer = scene._layers["vv"]
        whole = layer.values(scene_reading.resampling.Block(0, 0, *SHAPE))
        np.testing.assert_allclose(whole, by_hand(vv), rtol=1e-5, atol=1e-6)
        part = layer.values(scene_reading.resampling.Block(15, 30, 10, 20))
        np.testing.assert_array_equal(part, whole[15:25, 30:50])
        assert scene.time == np.datetime64("2024-05-15T10:54:32.012345")
        assert "not terrain corrected" in scene.warnings[0]
        assert refused(lambda: scene.geobox) == "grid_missing"


def test_sentinel1_older_noise_and_gamma_and_kept_noise(tmp_path):
    safe, vv = ground_range(tmp_path, old_noise=True)
    block = scene_reading.resampling.Block(0, 0, *SHAPE)
    with scene_reading.open_scene(safe) as scene:
        np.testing.assert_allclose(scene._layers["vv"].values(block), by_hand(vv, doubled=False), rtol=1e-5, atol=1e-6)
    stated = scene_reading.Stated(coefficient="gamma0", remove_noise=False)
    with scene_reading.open_scene(safe, stated=stated) as scene:
        gain = 450.0 - 100.0 * np.arange(SHAPE[1]) / (SHAPE[1] - 1)
        expected = np.where(vv > 0, vv.astype(float) ** 2 / gain**2, np.nan)
        np.testing.assert_allclose(scene._layers["vv"].values(block), expected, rtol=1e-5)
        assert scene.metadata.level == "gamma0"


def test_sentinel1_lands_where_its_tie_points_say(tmp_path):
    """A bright point at line 30, pixel 40 is found at the position of that tie point region, to half a pixel."""
    vv = np.full(SHAPE, 100, np.uint16)
    vv[30, 40] = 60_000
    safe = products.sentinel1_safe(tmp_path, {"vv": vv})
    points = np.array(products.sentinel1_geolocation(SHAPE))
    east, north = (
        float(interpolate.griddata(points[:, :2], points[:, k], [(30.0, 40.0)], method="cubic")[0]) for k in (2, 3)
    )
    x, y = pyproj.Transformer.from_crs(4326, "EPSG:32648", always_xy=True).transform(east, north)
    geobox = grid.covering((x - 100, y - 100, x + 100, y + 100), crs="EPSG:32648", resolution=2.0)
    with scene_reading.open_scene(safe) as scene:
        power = scene.read(["vv"], geobox=geobox, method="nearest")[0]
    rows, columns = np.nonzero(power > 100)
    center_x, center_y = geobox.transform @ (columns.mean() + 0.5, rows.mean() + 0.5)
    assert np.hypot(center_x - x, center_y - y) < 1.5


def test_sentinel1_geolocation_inverts_to_a_thousandth_and_ends_at_the_image():
    points = np.array(products.sentinel1_geolocation(SHAPE))
    lines, pixels = np.unique(points[:, 0]), np.unique(points[:, 1])
    east, north = (points[:, k].reshape(lines.size, pixels.size) for k in (2, 3))
    located = sentinel1.GeolocationGrid(lines, pixels, longitude=east, latitude=north, incidence=east * 0 + 38)
    line, pixel = np.array([3.2, 44.0, 58.5]), np.array([5.5, 77.7, 20.1])
    found = located.locate(*located.position(line, pixel))
    np.testing.assert_allclose(found, [line, pixel], atol=1e-3)
    assert np.isnan(located.locate(np.array([108.0]), np.array([29.9]))[0]).all()


def test_sentinel1_stack_is_in_decibels_and_drowned_pixels_are_no_data(tmp_path):
    safe, _ = ground_range(tmp_path)
    geobox = grid.covering((645_200, 3_308_000, 645_600, 3_308_400), crs="EPSG:32648", resolution=20)
    with scene_reading.open_scene(safe) as scene:
        power = scene.read(geobox=geobox)
        stacked = scene_reading.stack([scene], geobox=geobox)
    assert stacked["backscatter"].dims == ("time", "polarization", "y", "x")
    seen = power > 0
    assert seen.any()
    np.testing.assert_allclose(stacked["backscatter"].values[0][seen], 10 * np.log10(power[seen]), rtol=1e-5)
    assert np.isnan(sentinel1.decibel(np.array([-0.1, 0.0], np.float32))).all()


@pytest.mark.parametrize(
    ("pattern", "old", "new", "cause"),
    [
        ("annotation/calibration/calibration-*vv*", "sigmaNought", "other", "calibration_missing"),
        ("annotation/calibration/calibration-*vv*", "5.0e+02", "0.0", "calibration_missing"),
        ("annotation/*vv*.xml", "GRD", "SLC", "level_unknown"),
        ("annotation/*vv*.xml", "<pixel>0<", "<pixel>1<", "geolocation_missing"),
        ("annotation/*vv*.xml", "</product>", "", "metadata_unreadable"),
        ("annotation/*vv*.xml", "<product>", '<!DOCTYPE a [<!ENTITY b "c">]><product>', "metadata_unreadable"),
    ],
)
def test_sentinel1_with_a_piece_missing_is_refused(tmp_path, pattern, old, new, cause):
    vv = numbers(SHAPE)
    safe = products.sentinel1_safe(tmp_path, {"vv": vv})
    path = next(safe.glob(pattern))
    path.write_text(path.read_text().replace(old, new, 1 if cause == "geolocation_missing" else -1))
    assert refused(lambda: scene_reading.open_scene(safe)) == cause


def test_sentinel1_without_noise_file_is_refused_unless_noise_is_kept(tmp_path):
    safe, _ = ground_range(tmp_path)
    for path in (safe / "annotation" / "calibration").glob("noise-*"):
        path.unlink()
    assert refused(lambda: scene_reading.open_scene(safe)) == "calibration_missing"
    scene_reading.open_scene(safe, stated=scene_reading.Stated(remove_noise=False)).close()


HYP3 = "S1A_IW_20240515T105432_DVP_RTC30_G_{}uned_1B2C_{}.tif"


@pytest.mark.parametrize(
    ("name", "coefficient", "unit"),
    [
        (HYP3.format("gp", "VV"), "gamma0", "power"),
        (HYP3.format("sd", "VH"), "sigma0", "decibel"),
        (HYP3.format("ga", "VV"), "gamma0", "amplitude"),
        (
            "OPERA_L2_RTC-S1_T069-147170-IW1_20240515T105432Z_20240516T010203Z_S1A_30_v1.0_VV.tif",
            "gamma0",
            "power",
        ),
        ("S1A__IW___A_20240515T105432_VV_grd_mli_geo_norm_db.tif", "sigma0", "decibel"),
        ("S1A__IW___D_20240515T105432_VH_gamma0-rtc_db.tif", "gamma0", "decibel"),
    ],
)
def test_names_of_terrain_corrected_rasters_say_what_the_numbers_mean(name, coefficient, unit):
    found = sentinel1.convention(name, {})
    assert (found.coefficient, found.unit) == (coefficient, unit)
    assert found.time == np.datetime64("2024-05-15T10:54:32")
    assert found.polarization in name.lower()


def test_units_that_nobody_states_or_that_contradict_are_refused():
    bare = "S1A__IW___A_20240515T105432_VV_grd_mli_geo.tif"
    assert refused(lambda: sentinel1.convention(bare, {})) == "unit_missing"
    assert sentinel1.convention(bare, {}, unit="power").unit == "power"
    assert sentinel1.convention(bare, {"Units": "decibel (dB)"}).unit == "decibel"
    assert refused(lambda: sentinel1.convention(HYP3.format("gp", "VV"), {"UNITS": "dB"})) == "unit_contradicted"
    assert refused(lambda: sentinel1.convention("radar.tif", {})) == "name_unknown"
    with pytest.raises(ValueError, match="unknown unit"):
        sentinel1.convention(bare, {}, unit="volts")


@pytest.mark.parametrize(("letter", "number"), [("p", 0.01), ("a", 0.1), ("d", -20.0)])
def test_terrain_corrected_rasters_give_the_same_power_in_every_unit(tmp_path, letter, number):
    for polarization in ("VV", "VH"):
        values = np.full((6, 7), number, np.float32)
        values[0, 0] = np.nan
        if letter != "d":
            values[0, 1] = 0.0
        products.write_raster(tmp_path / HYP3.format("g" + letter, polarization), values, nodata=np.nan)
    with scene_reading.open_scene(tmp_path) as scene:
        assert scene.polarizations == ("vv", "vh")
        assert scene.metadata.level == "gamma0"
        power = scene.read()
        assert np.isnan(power[:, 0, 0]).all()
        assert np.isnan(power[:, 0, 1]).all() == (letter != "d")
        np.testing.assert_allclose(power[:, 1:], 0.01, rtol=1e-5)
    with scene_reading.open_scene(tmp_path / HYP3.format("g" + letter, "VH")) as scene:
        assert scene.polarizations == ("vh",)


def test_polarizations_of_different_kind_are_refused(tmp_path):
    for kind, polarization in (("gp", "VV"), ("sp", "VH")):
        products.write_raster(tmp_path / HYP3.format(kind, polarization), np.ones((4, 4), np.float32))
    assert refused(lambda: scene_reading.open_scene(tmp_path)) == "levels_mixed"
    products.write_raster(tmp_path / HYP3.format("sp", "VV"), np.ones((4, 4), np.float32))
    assert refused(lambda: scene_reading.open_scene(tmp_path)) == "duplicate_acquisition"


# MODIS and VIIRS

NAME = "VNP09GA.A2024136.h27v06.002.2024137093010.h5"


def test_viirs_scale_fill_and_sinusoidal_grid_come_from_the_file(tmp_path):
    red = np.random.default_rng(1).integers(0, 6000, (20, 24)).astype(np.int16)
    red[0, 0], red[1, 1], red[2, 2] = -28672, -50, 16001
    green = np.full((10, 12), 800, np.int16)
    path = products.viirs_file(tmp_path / NAME, {"SurfReflect_I1_1": red, "SurfReflect_M4_1": green})
    with scene_reading.open_scene(path) as scene:
        assert scene.bands == ("green", "red")
        assert scene.time == np.datetime64("2024-05-15")
        values = scene.read(["red"])[0]
        assert np.isnan(values[[0, 2], [0, 2]]).all()
        assert values[1, 1] == pytest.approx(-0.005)
        np.testing.assert_allclose(values[3:], red[3:] * 1e-4, atol=1e-7)
        np.testing.assert_allclose(scene.read(["green"])[0], 0.08, atol=1e-7)
        corner = scene.geobox.transform
        assert (corner.c, corner.f) == (10007554.677, 3335851.559)
        assert corner.a == pytest.approx(463.3127, abs=1e-3)
        # On the sphere of the grid a meridian lies at x = R longitude cos(latitude): 30 N is y = R pi / 6.
        longitude, latitude = pyproj.Transformer.from_crs(
            scene.geobox.crs.to_wkt(), "+proj=longlat +R=6371007.181", always_xy=True
        ).transform(10007554.677, 3335851.559)
        assert latitude == pytest.approx(np.degrees(3335851.559 / 6371007.181), abs=1e-9)
        assert longitude == pytest.approx(
            np.degrees(10007554.677 / 6371007.181 / np.cos(np.radians(latitude))), abs=1e-9
        )


def test_modis_scale_above_one_divides(tmp_path):
    values = np.full((10, 12), 1234, np.int16)
    path = products.viirs_file(
        tmp_path / "MOD09GA.A2024136.h27v06.061.x.nc", {"sur_refl_b02_1": values}, scale_factor=10000.0
    )
    with scene_reading.open_scene(path) as scene:
        assert scene.bands == ("nir",)
        assert scene.read()[0, 3, 3] == pytest.approx(0.1234)
        assert scene.metadata.sensor == "modis"


@pytest.mark.parametrize(
    ("options", "name", "cause"),
    [
        ({"scale_factor": None}, NAME, "scale_missing"),
        ({"scale_factor": 1.0}, NAME, "scale_missing"),
        ({"_FillValue": None}, NAME, "nodata_missing"),
        ({"structure": None}, NAME, "crs_missing"),
        ({"structure": "END\n"}, NAME, "metadata_missing"),
        ({"structure": products.STRUCTURE.replace("SNSOID", "UTM")}, NAME, "crs_missing"),
        ({"structure": products.STRUCTURE.replace("XDim=24", "XDim=48")}, NAME, "grid_irregular"),
        ({"structure": products.STRUCTURE.replace("VIIRS_Grid_500m_2D", "Other")}, NAME, "metadata_missing"),
        ({"structure": products.STRUCTURE.replace("LowerRightMtrs", "Corner")}, NAME, "metadata_missing"),
        ({}, "granule.h5", "time_missing"),
    ],
)
def test_viirs_that_leaves_something_open_is_refused(tmp_path, options, name, cause):
    path = products.viirs_file(tmp_path / name, {"SurfReflect_I1_1": np.ones((20, 24), np.int16)}, **options)
    assert refused(lambda: scene_reading.open_scene(path)) == cause


def test_viirs_without_reflectance_is_refused(tmp_path):
    path = products.viirs_file(tmp_path / NAME, {"SolarZenith_1": np.ones((20, 24), np.int16)})
    assert refused(lambda: scene_reading.open_scene(path)) == "band_missing"


def test_stated_day_goes_before_the_name():
    field = modis_viirs.GridField("/a/sur_refl_b01_1", "g", {"scale_factor": [1e-4], "_FillValue": [-28672]})
    attributes = {"RangeBeginningDate": "2024-05-16", "RangeBeginningTime": "03:00:00"}
    metadata = modis_viirs.metadata_from_fields([field], name=NAME, attributes=attributes)
    assert metadata.time == np.datetime64("2024-05-16T03:00:00")


def test_hdf4_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "MOD09GA.A2024136.h27v06.061.hdf"
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    with pytest.raises(BadInputError, match="gdal_translate") as refusal:
        scene_reading.open_scene(path)
    assert refusal.value.cause == "format_unsupported"


def test_damaged_hdf5_is_refused(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert refused(lambda: scene_reading.open_scene(path)) == "unreadable"


# GF

CONSTANTS = gaofen.AbsoluteCalibration((0.1745,) * 4, (0.0,) * 4, (1968.0, 1849.0, 1571.0, 1079.0), saturated=1023.0)
ZENITH = 22.9
"""Sun zenith angle at 106.5 E, 29.9 N on 2024-05-15 03:36 UTC [degree]."""


def terrain(height: float = 400.0) -> elevation_model.ElevationModel:
    geobox = GeoBox((60, 60), Affine(0.003, 0, 106.41, 0, -0.003, 29.99), "EPSG:4326")
    return elevation_model.ElevationModel(
        np.full((60, 60), height, np.float32), geobox, vertical_datum.Datum("ellipsoid")
    )


def mosaic() -> np.ndarray:
    image = numbers((200, 300), low=50, high=900)
    return np.stack([image, image // 2, image // 3, image // 4]).astype(np.uint16)


@pytest.mark.parametrize("model", [".rpb", "_RPC.TXT"])
def test_gaofen_pixel_lands_where_the_camera_model_and_terrain_put_it(tmp_path, model):
    image = np.full((4, 200, 300), 100, np.uint16)
    image[:, 120, 200] = 800
    path = products.gaofen_scene(tmp_path, image, zenith=ZENITH, model=model)
    camera = rational_polynomial.model_from_text(products.rpb_text(), name="rpb")
    for height in (400.0, 800.0):
        east, north = camera.ground(np.array(120.0), np.array(200.0), np.array(height))
        x, y = pyproj.Transformer.from_crs(4326, "EPSG:32648", always_xy=True).transform(float(east), float(north))
        geobox = grid.covering((x - 60, y - 60, x + 60, y + 60), crs="EPSG:32648", resolution=2.0)
        stated = scene_reading.Stated(calibration=CONSTANTS, elevation=terrain(height))
        with scene_reading.open_scene(path, stated=stated) as scene:
            assert scene.time == np.datetime64("2024-05-15T03:36:00")
            found = scene.read(["red"], geobox=geobox, method="nearest")[0]
        bright = found > 2 * np.nanmedian(found)
        rows, columns = np.nonzero(bright)
        at_x, at_y = geobox.transform @ (columns.mean() + 0.5, rows.mean() + 0.5)
        assert np.hypot(at_x - x, at_y - y) < 2.0
        # L = 0.1745 x 100, d = 1.0112 au on 15 May, rho = pi L d2 / (E cos z).
        expected = np.pi * 17.45 * 1.0112**2 / (1571.0 * np.cos(np.radians(ZENITH)))
        assert float(np.nanmedian(found)) == pytest.approx(expected, rel=1e-3)


def test_gaofen_image_is_read_the_same_by_window(tmp_path):
    path = products.gaofen_scene(tmp_path, mosaic(), zenith=ZENITH)
    geobox = grid.covering((644_500, 3_307_500, 645_700, 3_308_500), crs="EPSG:32648", resolution=20)
    with scene_reading.open_scene(
        path, stated=scene_reading.Stated(calibration=CONSTANTS, elevation=terrain())
    ) as scene:
        whole = scene.read(geobox=geobox)
        part = scene.read(geobox=geobox, window=Window(11, 7, 20, 30))
    assert np.isfinite(whole).any()
    np.testing.assert_allclose(part, whole[:, 7:37, 11:31], atol=1e-6)


def test_gaofen_without_calibration_terrain_or_camera_model_is_refused(tmp_path):
    path = products.gaofen_scene(tmp_path, mosaic(), zenith=ZENITH)
    assert refused(lambda: scene_reading.open_scene(path)) == "calibration_missing"
    three = gaofen.AbsoluteCalibration((0.1,) * 3, (0.0,) * 3, (1000.0,) * 3)
    assert (
        refused(lambda: scene_reading.open_scene(path, stated=scene_reading.Stated(calibration=three)))
        == "calibration_missing"
    )
    stated = scene_reading.Stated(calibration=CONSTANTS)
    geobox = grid.covering((644_500, 3_307_500, 644_700, 3_307_700), crs="EPSG:32648", resolution=20)
    with scene_reading.open_scene(path, stated=stated) as scene:
        assert refused(lambda: scene.read(geobox=geobox)) == "elevation_missing"
    path.with_name(path.stem + ".rpb").unlink()
    assert refused(lambda: scene_reading.open_scene(path, stated=stated)) == "camera_model_missing"
    with pytest.raises(ValueError, match="one number for every band"):
        gaofen.AbsoluteCalibration((0.1,), (0.0,), ())


@pytest.mark.parametrize(
    ("zenith", "offset", "cause"),
    [(60.0, None, "sun_inconsistent"), (ZENITH, 0.0, "sun_inconsistent"), (95.0, None, "sun_below_horizon")],
)
def test_gaofen_whose_sun_and_time_disagree_is_refused(tmp_path, zenith, offset, cause):
    """Zenith and elevation swapped, or Beijing time taken for universal time, are caught by where the sun stood."""
    path = products.gaofen_scene(tmp_path, mosaic(), zenith=zenith)
    stated = scene_reading.Stated(calibration=CONSTANTS, utc_offset=offset)
    assert refused(lambda: scene_reading.open_scene(path, stated=stated)) == cause


def test_gaofen_with_other_bands_than_listed_or_swapped_corners_is_refused(tmp_path):
    path = products.gaofen_scene(tmp_path, mosaic()[:3], zenith=ZENITH)
    stated = scene_reading.Stated(calibration=CONSTANTS)
    assert refused(lambda: scene_reading.open_scene(path, stated=stated)) == "band_missing"
    path = products.gaofen_scene(tmp_path, mosaic(), zenith=ZENITH)
    about = path.with_suffix(".xml")
    text = about.read_text()
    about.write_text(text.replace("Latitude", "@").replace("Longitude", "Latitude").replace("@", "Longitude"))
    assert refused(lambda: scene_reading.open_scene(path, stated=stated)) == "axes_swapped"


# Camera model


def test_camera_model_is_the_same_from_every_file():
    first = rational_polynomial.model_from_text(products.rpb_text(), name="a.rpb")
    second = rational_polynomial.model_from_text(products.rpc_text(), name="a_RPC.TXT")
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b)


def test_projection_agrees_with_gdal_for_a_model_of_all_terms():
    """An independent evaluation: any two terms in the wrong order would show."""
    rng = np.random.default_rng(9)
    scalars, _ = products.camera_coefficients()
    coefficients = rng.normal(scale=0.05, size=(4, 20))
    coefficients[[1, 3], 0] = 1.0
    coefficients[0, 2], coefficients[2, 1] = -0.9, 0.9
    camera = rational_polynomial.RationalPolynomial(np.array(scalars[:5]), np.array(scalars[5:]), coefficients)
    names = ("line", "samp", "lat", "long", "height")
    rows = zip(("line_num", "line_den", "samp_num", "samp_den"), coefficients.tolist(), strict=True)
    model = RPC(
        **{f"{name}_off": value for name, value in zip(names, scalars[:5], strict=True)},
        **{f"{name}_scale": value for name, value in zip(names, scalars[5:], strict=True)},
        **{f"{name}_coeff": values for name, values in rows},
        err_bias=None,
        err_rand=None,
    )
    east, north = 106.5 + 0.03 * rng.uniform(-1, 1, 30), 29.9 + 0.02 * rng.uniform(-1, 1, 30)
    height = 400.0 + 500.0 * rng.uniform(-1, 1, 30)
    with RPCTransformer(model) as gdal:
        row, column = gdal.rowcol(east, north, zs=height, op=lambda values: values)
    np.testing.assert_allclose(
        camera.project(east, north, height), [np.array(row) - 0.5, np.array(column) - 0.5], atol=1e-6
    )


def test_ground_inverts_projection_and_ends_with_the_model():
    camera = rational_polynomial.model_from_text(products.rpb_text(), name="a.rpb")
    rng = np.random.default_rng(3)
    row, column, height = rng.uniform(0, 199, 40), rng.uniform(0, 299, 40), rng.uniform(0, 800, 40)
    back = camera.project(*camera.ground(row, column, height), height)
    np.testing.assert_allclose(back, [row, column], atol=1e-3)
    assert np.isnan(camera.project(np.array(107.5), np.array(29.9), np.array(400.0))[0])
    assert np.isnan(camera.ground(np.array(5000.0), np.array(100.0), np.array(400.0))[0])
    moved = camera.shifted(2.0, -1.0).project(np.array(106.5), np.array(29.9), np.array(400.0))
    np.testing.assert_allclose(
        np.array(moved) - camera.project(np.array(106.5), np.array(29.9), np.array(400.0)), [2, -1]
    )


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("RPC00B", "RPC00A", "camera_model_unknown"),
        ("latScale = +0.02", "latScale = +0.00", "camera_model_missing"),
        ("latOffset", "other", "camera_model_missing"),
        ("sampDenCoef", "other", "camera_model_missing"),
        ("latOffset = +29.9", "latOffset = +106.9", "axes_swapped"),
        ("+1.000000000000e+00", "nonsense", "metadata_unreadable"),
    ],
)
def test_camera_model_with_a_piece_missing_is_refused(old, new, cause):
    text = products.rpb_text().replace(old, new)
    assert refused(lambda: rational_polynomial.model_from_text(text, name="a.rpb")) == cause


# Plain GeoTIFF


def test_plain_raster_needs_names_scale_no_data_and_time(tmp_path):
    path = products.write_raster(tmp_path / "plain.tif", numbers((6, 7)), nodata=0)
    assert refused(lambda: scene_reading.open_scene(path)) == "band_missing"
    stated = {"bands": {"red": 1}, "time": np.datetime64("2024-05-15"), "scale": 1e-4}
    assert (
        refused(lambda: scene_reading.open_scene(path, stated=scene_reading.Stated(**stated | {"scale": None})))
        == "scale_missing"
    )
    assert (
        refused(lambda: scene_reading.open_scene(path, stated=scene_reading.Stated(**stated | {"time": None})))
        == "time_missing"
    )
    assert (
        refused(lambda: scene_reading.open_scene(path, stated=scene_reading.Stated(**stated | {"bands": {"red": 2}})))
        == "band_missing"
    )
    with scene_reading.open_scene(path, stated=scene_reading.Stated(**stated)) as scene:
        np.testing.assert_allclose(scene.read()[0], numbers((6, 7)) * 1e-4, atol=1e-7)
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = None
    assert refused(lambda: scene_reading.open_scene(path, stated=scene_reading.Stated(**stated))) == "nodata_missing"


def test_sentinel1_reads_the_same_on_a_grid_far_larger_than_the_image(tmp_path):
    """Positions between the nodes come from nodes beyond the image, so these must exist."""
    safe, _ = ground_range(tmp_path)
    small = grid.covering((645_000, 3_308_200, 645_400, 3_308_500), crs="EPSG:32648", resolution=10)
    wide = grid.covering((640_000, 3_303_000, 650_000, 3_313_000), crs="EPSG:32648", resolution=10)
    row, column = round((3_313_000 - 3_308_500) / 10), round((645_000 - 640_000) / 10)
    with scene_reading.open_scene(safe) as scene:
        narrow, broad = scene.read(geobox=small), scene.read(geobox=wide)
    assert np.isfinite(narrow).mean() > 0.5
    cut = broad[:, row : row + 30, column : column + 40]
    assert np.array_equal(np.isnan(cut), np.isnan(narrow))
    np.testing.assert_allclose(cut, narrow, atol=0.05)  # 1/50 pixel of white noise
    assert 0.005 < np.isfinite(broad).mean() < 0.01


# What every reader of metadata refuses


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("BOA_QUANTIFICATION_VALUE", "OTHER", "metadata_missing"),
        ('unit="none">10000<', 'unit="none">0<', "scale_missing"),
        ('unit="none">10000<', 'unit="none">many<', "metadata_unreadable"),
        ('unit="none">10000<', 'unit="none">inf<', "metadata_unreadable"),
        ("Level-2A</PROCESSING", "Level-1B</PROCESSING", "level_unknown"),
        ('BOA_ADD_OFFSET band_id="3"', 'BOA_ADD_OFFSET band_id="4"', "offset_ambiguous"),
        ('BOA_ADD_OFFSET band_id="3"', 'BOA_ADD_OFFSET band_id="99"', "offset_ambiguous"),
    ],
)
def test_sentinel2_metadata_with_a_piece_wrong_are_refused(tmp_path, old, new, cause):
    safe = products.sentinel2_safe(tmp_path, {"B04_10m": numbers((6, 6))})
    path = safe / "MTD_MSIL2A.xml"
    path.write_text(path.read_text().replace(old, new))
    assert refused(lambda: scene_reading.open_scene(safe)) == cause


def test_sentinel2_without_bands_or_time_is_refused(tmp_path):
    safe = products.sentinel2_safe(tmp_path, {"B04_10m": numbers((6, 6))})
    tile = next(safe.rglob("MTD_TL.xml"))
    text = tile.read_text()
    tile.write_text(text.replace("2024-05-15T03:36:02.345Z", "NaT"))
    assert refused(lambda: scene_reading.open_scene(safe)) == "time_missing"
    tile.write_text(text)
    next(safe.rglob("*.jp2")).unlink()
    assert refused(lambda: scene_reading.open_scene(safe)) == "band_missing"


def test_sentinel2_without_spectral_information_counts_the_bands(tmp_path):
    """Identifiers then follow the order of the bands: 7 is B08, 8 is B8A."""
    given = dict.fromkeys(products.BAND_IDS, -1000) | {"B8A": -300}
    safe = products.sentinel2_safe(tmp_path, {"B8A_20m": numbers((6, 6))}, offsets=given)
    path = safe / "MTD_MSIL2A.xml"
    path.write_text(path.read_text().replace("Spectral_Information ", "Other "))
    with scene_reading.open_scene(safe) as scene:
        assert scene.bands == ("nir08",)
        assert scene.read()[0, 1, 1] == pytest.approx((numbers((6, 6))[1, 1] - 300) / 1e4)


def test_sentinel2_of_the_first_years_names_its_constants_otherwise(tmp_path):
    safe = products.sentinel2_safe(tmp_path, {"B04_10m": numbers((6, 6))}, baseline="02.05", offsets={})
    path = safe / "MTD_MSIL2A.xml"
    text = path.read_text().replace("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    path.write_text(text.replace("PRODUCT_URI", "PRODUCT_URI_2A"))
    with scene_reading.open_scene(safe) as scene:
        np.testing.assert_allclose(scene.read()[0], numbers((6, 6)) / 1e4, atol=1e-7)


def test_copies_named_by_bands_and_with_assets_not_here_are_understood(tmp_path):
    arrays = {"B04": np.full((5, 6), 3000, np.uint16), "B08": np.full((5, 6), 4000, np.uint16)}
    item = products.sentinel2_copies(tmp_path, arrays, properties={"s2:processing_baseline": "05.10"}, offset=-0.1)
    (tmp_path / "B08.tif").unlink()
    with scene_reading.open_scene(item) as scene:
        assert scene.bands == ("red",)
        assert scene.read()[0, 0, 0] == pytest.approx(0.2)


def test_item_that_lacks_the_asset_of_a_band_is_refused():
    assert (
        refused(lambda: sentinel2.metadata_from_item({"id": "a"}, locations={"red": "red.tif"})) == "metadata_missing"
    )
