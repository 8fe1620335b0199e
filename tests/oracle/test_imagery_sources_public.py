"""Public scenes and elevation models against what others computed from them."""

import json
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.errors
from odc.geo.geobox import GeoBox
from rasterio.transform import RPCTransformer

from infra.imagery import scene_reading
from processors.geodesy import vertical_datum
from processors.imagery import elevation_model, landsat, rational_polynomial, sentinel1

pytestmark = pytest.mark.oracle


@pytest.fixture
def imagery(shared_data):
    return shared_data("imagery")


def band_of(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.read(1), dataset.transform, dataset.crs, dataset.tags(ns="RPC"), dataset.rpcs


def test_geoid_heights_become_the_published_ellipsoidal_heights_to_a_centimeter(imagery):
    """Los Angeles: the published pair of elevation models differs by EGM2008, here from its published snippet."""
    folder = imagery / "dem_stitcher"
    undulations, transform, *_ = band_of(folder / "egm_08_los_angeles.tif")
    geoid = elevation_model.geoid_from_array(undulations, transform=transform, name="egm2008")
    model = scene_reading.open_elevation(folder / "los_angeles_dem_geoid.tif", datum=geoid)
    ellipsoid = vertical_datum.Datum(vertical_datum.ELLIPSOID)
    published, *_ = band_of(folder / "los_angeles_dem_ellipsoid.tif")
    found = model.on_grid(model.geobox, datum=ellipsoid).height
    assert float(np.abs(found - published).max()) < 0.01
    older, *_ = band_of(folder / "los_angeles_dem_ellipsoid_legacy.tif")
    assert float(np.abs(found - older).max()) < 0.05


def test_egm96_and_egm2008_agree_to_a_meter_at_los_angeles(imagery):
    undulations, transform, *_ = band_of(imagery / "dem_stitcher" / "egm_08_los_angeles.tif")
    rows, columns = np.mgrid[: undulations.shape[0], : undulations.shape[1]]
    longitude, latitude = transform @ (columns + 0.5, rows + 0.5)
    ours = vertical_datum.undulation(vertical_datum.named("egm96"), latitude, longitude)
    assert float(np.abs(ours - undulations).max()) < 1.0


def test_compound_system_of_a_public_elevation_model_states_its_datum(imagery):
    model = scene_reading.open_elevation(imagery / "orthority" / "dem.tif")
    assert model.datum.name == "egm2008"


def test_camera_model_agrees_with_gdal_and_explains_the_control_points(imagery):
    """Against GDAL to 1e-6 pixel; control points agree to a third of a pixel once the mean error is taken out."""
    _, _, _, tags, rpcs = band_of(imagery / "orthority" / "qb2_basic1b.tif")
    model = rational_polynomial.model_from_tags(tags, name="qb2")
    rng = np.random.default_rng(1)
    east, north = 24.4057 + 0.08 * rng.uniform(-1, 1, 200), -33.6726 + 0.06 * rng.uniform(-1, 1, 200)
    height = 703.0 + 400.0 * rng.uniform(-1, 1, 200)
    with RPCTransformer(rpcs) as gdal:
        rows, columns = gdal.rowcol(east, north, zs=height, op=lambda values: values)
    found = model.project(east, north, height)
    np.testing.assert_allclose(found, [np.array(rows) - 0.5, np.array(columns) - 0.5], atol=1e-6)
    np.testing.assert_allclose(model.ground(*found, height), [east, north], atol=1e-8)
    points = json.loads((imagery / "orthority" / "gcps.geojson").read_text())["features"]
    points = [p for p in points if p["properties"]["filename"] == "qb2_basic1b.tif"]
    place = np.array([p["geometry"]["coordinates"] for p in points])
    seen = np.array([p["properties"]["ji"] for p in points])
    row, column = model.project(*place.T)
    error = np.stack([seen[:, 0] - column, seen[:, 1] - row])
    assert len(points) >= 5
    assert float(error.std(axis=1).max()) < 0.34
    assert float(np.abs(error.mean(axis=1)).max()) < 4.0


def test_landsat_scale_reproduces_the_radiance_limits_the_file_states(imagery):
    """Number 255 is the stated maximum radiance and 1 the minimum, to the rounding of the gains in the file."""
    groups = landsat.groups_from_mtl((imagery / "rstoolbox" / "LT52240631988227CUB02_MTL.txt").read_bytes())
    limits, gains = groups["MIN_MAX_RADIANCE"], groups["RADIOMETRIC_RESCALING"]
    for band in "1234567":
        gain, offset = float(gains[f"RADIANCE_MULT_BAND_{band}"]), float(gains[f"RADIANCE_ADD_BAND_{band}"])
        assert gain * 255 + offset == pytest.approx(float(limits[f"RADIANCE_MAXIMUM_BAND_{band}"]), abs=0.14)
        assert gain + offset == pytest.approx(float(limits[f"RADIANCE_MINIMUM_BAND_{band}"]), abs=0.01)


def test_landsat_scene_of_the_amazon_looks_like_forest(imagery):
    """Top of atmosphere over forest: dark in red, bright in the near infrared, about 295 K."""
    with scene_reading.open_scene(imagery / "rstoolbox") as scene:
        assert scene.bands == ("blue", "green", "red", "nir", "swir1", "swir2")
        assert scene.geobox.shape == (310, 287)
        assert scene.time == np.datetime64("1988-08-14T13:00:47.375019")
        assert scene.sun_zenith == pytest.approx(90 - 49.75588889)
        medians = np.nanmedian(scene.read(), axis=(1, 2))
        kelvin = float(np.nanmedian(scene.read(["thermal"])))
    blue, green, red, nir, swir1, _ = medians
    assert 0.07 < blue < 0.10
    assert red < green < blue
    assert 0.02 < red < 0.06
    assert 0.15 < nir < 0.35
    assert swir1 < nir
    assert 288 < kelvin < 302


def test_radar_raster_in_decibels_is_known_by_its_name(imagery):
    path = next((imagery / "pyrosar").glob("S1A*.tif"))
    decibel, *_ = band_of(path)
    with scene_reading.open_scene(path) as scene:
        assert scene.polarizations == ("vv",)
        assert scene.metadata.level == sentinel1.SIGMA0
        assert scene.time == np.datetime64("2015-03-09T17:30:17")
        stacked = scene_reading.stack([scene])["backscatter"].values[0, 0]
    seen = decibel != -99.0
    assert np.isnan(stacked[~seen]).all()
    np.testing.assert_allclose(stacked[seen], decibel[seen], atol=1e-4)


def test_real_rasters_come_back_from_their_own_grid_unchanged(imagery):
    path = imagery / "rstoolbox" / "LT52240631988227CUB02_B4.TIF"
    numbers, transform, crs, *_ = band_of(path)
    stated = scene_reading.Stated(bands={"nir": 1}, time=np.datetime64("1988-08-14"), scale=0.004)
    with scene_reading.open_scene(path, stated=stated) as scene:
        same = GeoBox(numbers.shape, transform, str(crs))
        found = scene.read(geobox=same)[0]
    np.testing.assert_allclose(found, np.where(numbers == 255, np.nan, numbers * 0.004), atol=1e-6)
