"""From files of image, camera and surface model to a map, and what is refused on the way."""

import json

import numpy as np
import pytest
import rasterio
import yaml

from infra.imagery import orthorectification, raster_file
from processors.imagery import frame_camera, qa
from processors.quality import BadInputError

UTM = "EPSG:32648"
WEST, NORTH, GROUND = 500_000.0, 3_200_100.0, 250.0


def written(path, values, *, crs=UTM, transform=None, nodata=None, dtype="float32"):
    profile = {
        "driver": "GTiff", "count": values.shape[0], "height": values.shape[1], "width": values.shape[2],
        "dtype": dtype, "nodata": nodata, "crs": crs, "transform": transform,
    }  # fmt: skip
    with raster_file.warnings.catch_warnings():
        raster_file.warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(values.astype(dtype))
    return path


@pytest.fixture
def surface(tmp_path):
    heights = np.full((1, 100, 100), GROUND)
    heights[0, 50, 50] = -9999.0
    place = rasterio.Affine(1.0, 0, WEST, 0, -1.0, NORTH)
    return written(tmp_path / "dsm.tif", heights, transform=place, nodata=-9999.0)


@pytest.fixture
def image(tmp_path):
    """Column number plus one in the first band, row number plus one in the second."""
    row, column = np.mgrid[:60, :80] + 1
    return written(tmp_path / "frame.tif", np.stack([column, row]), crs=None, nodata=0, dtype="uint8")


CAMERA = frame_camera.FrameCamera(60, 80, (1.0, 1.0))
"""At 80 m above the ground a pixel is a meter."""


def level_view(east=50.0, north=-50.0, above=80.0):
    exterior = frame_camera.exterior_from_angles(WEST + east, NORTH + north, GROUND + above, omega=0, phi=0, kappa=0)
    return frame_camera.FrameView(CAMERA, exterior)


class Shifted:
    """A model in which the image is the map itself, 10 pixels off, whatever the height."""

    def project(self, longitude, latitude, height):
        to_map = rasterio.warp.transform("EPSG:4326", UTM, np.ravel(longitude), np.ravel(latitude))
        x, y = (np.reshape(values, np.shape(longitude)) for values in to_map)
        return NORTH - 0.5 - y - 20.0 + 0.0 * height, x - WEST - 0.5 - 10.0 + 0.01 * (height - GROUND)


def test_a_level_frame_becomes_the_map_it_shows(tmp_path, image, surface):
    report = orthorectification.run(image, tmp_path / "o.tif", view=level_view(), dem=surface)
    with raster_file.open_raster(tmp_path / "o.tif") as made:
        assert (made.encoding.dtype, made.encoding.nodata) == ("uint8", 0)
        assert made.crs == rasterio.CRS.from_user_input(UTM)
        values, transform = made.read(), made.transform
    assert report["resolution"] == transform.a == 1.0
    rows, columns = values.shape[1:]
    x = transform.c + np.arange(columns) + 0.5 - WEST
    y = NORTH - (transform.f - np.arange(rows) - 0.5)
    known = np.isfinite(values[0])
    assert known.sum() == 60 * 80 - 1
    # the middle of the image, between its pixels, is the camera's place
    np.testing.assert_allclose(values[0][known], np.broadcast_to(x - 50 + 39.5 + 1, known.shape)[known], atol=0.51)
    np.testing.assert_allclose(
        values[1][known], np.broadcast_to((y - 50 + 29.5 + 1)[:, None], known.shape)[known], atol=0.51
    )
    with rasterio.open(tmp_path / "o_qa.tif") as marks:
        assert ((marks.read(1) == qa.QaBit.NODATA) == ~known).all()
    json.dumps(report)
    assert "taken to be of the surface model's" in report["warnings"][0]


def test_tiles_give_what_the_whole_gives(tmp_path, image, surface, monkeypatch):
    orthorectification.run(image, tmp_path / "a.tif", view=level_view(), dem=surface, resolution=0.5)
    tiles = orthorectification.tiling.tiles
    monkeypatch.setattr(orthorectification.tiling, "tiles", lambda shape: tiles(shape, size=64))
    orthorectification.run(image, tmp_path / "b.tif", view=level_view(), dem=surface, resolution=0.5)
    with rasterio.open(tmp_path / "a.tif") as first, rasterio.open(tmp_path / "b.tif") as second:
        np.testing.assert_array_equal(first.read(), second.read())


def test_an_image_with_a_model_needs_the_datum_of_the_heights(tmp_path, image, surface):
    options = {"view": Shifted(), "dem": surface}
    with pytest.raises(BadInputError) as refusal:
        orthorectification.run(image, tmp_path / "o.tif", **options)
    assert refusal.value.cause == "vertical_datum_missing"
    assert not (tmp_path / "o.tif").exists()
    report = orthorectification.run(image, tmp_path / "o.tif", dem_datum="ellipsoid", **options)
    assert report["resolution"] == 1.0
    assert report["warnings"] == []
    with raster_file.open_raster(tmp_path / "o.tif") as made:
        values, transform = made.read(), made.transform
    column = transform.c + np.arange(values.shape[2]) + 0.5 - WEST - 0.5 - 10.0 + 1.0
    known = np.isfinite(values[0])
    np.testing.assert_allclose(values[0][known], np.broadcast_to(column, known.shape)[known], atol=0.51)


def test_a_frame_beside_the_surface_is_refused_and_one_at_its_edge_is_part(tmp_path, image, surface):
    with pytest.raises(BadInputError) as refusal:
        orthorectification.run(image, tmp_path / "o.tif", view=level_view(east=500.0), dem=surface, resolution=1.0)
    assert refusal.value.cause == "outside"
    with pytest.raises(BadInputError, match="not above"):
        orthorectification.run(image, tmp_path / "o.tif", view=level_view(above=-5.0), dem=surface)
    report = orthorectification.run(image, tmp_path / "o.tif", view=level_view(east=100.0), dem=surface)
    with raster_file.open_raster(tmp_path / "o.tif") as made:
        assert made.transform.c + made.shape[1] == WEST + 100.0
    assert report["covered"] > 0.9


def test_tiles_beyond_the_surface_are_empty():
    made = orthorectification._empty(2, (3, 4))
    assert np.isnan(made.values).all()
    assert made.void.all()
    assert (made.bits == qa.QaBit.NODATA).all()


@pytest.mark.parametrize(
    ("dem_datum", "camera_datum", "cause"),
    [("egm96", "ellipsoid", "vertical_datum_mismatch"), (None, "ellipsoid", "vertical_datum_missing")],
)
def test_heights_of_camera_and_surface_must_agree(tmp_path, image, surface, dem_datum, camera_datum, cause):
    with pytest.raises(BadInputError) as refusal:
        orthorectification.run(
            image, tmp_path / "o.tif", view=level_view(), dem=surface, dem_datum=dem_datum, camera_datum=camera_datum
        )
    assert refusal.value.cause == cause
    report = orthorectification.run(
        image, tmp_path / "o.tif", view=level_view(), dem=surface, dem_datum="egm96", camera_datum="egm96"
    )
    assert report["warnings"] == []


def test_surfaces_and_images_that_cannot_be_used_are_refused(tmp_path, image, surface):
    place = rasterio.Affine(1.0, 0, WEST, 0, -1.0, NORTH)
    degrees = written(
        tmp_path / "d.tif", np.ones((1, 9, 9)), crs="EPSG:4326", transform=rasterio.Affine(1e-3, 0, 106, 0, -1e-3, 29)
    )
    void = written(tmp_path / "v.tif", np.full((1, 9, 9), -1.0), transform=place, nodata=-1.0)
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    for source, dem, cause in (
        (image, degrees, "crs_missing"),
        (image, void, "dem_missing"),
        (text, surface, "unreadable"),
        (tmp_path / "absent.tif", surface, "unreadable"),
        (written(tmp_path / "small.tif", np.ones((1, 5, 5)), crs=None), surface, "camera_model_missing"),
    ):
        with pytest.raises(BadInputError) as refusal:
            orthorectification.run(source, tmp_path / "o.tif", view=level_view(), dem=dem, resolution=1.0)
        assert refusal.value.cause == cause
        assert not (tmp_path / "o.tif").exists()


def interior_file(folder, **change):
    about = {"im_size": [80, 60], "focal_len": 100.0, "sensor_size": [80.0, 60.0], "k1": 0.1} | change
    path = folder / "interior.yaml"
    path.write_text(yaml.safe_dump({"camera": about}))
    return path


def test_cameras_are_read_from_the_files_that_come_with_frames(tmp_path):
    table = tmp_path / "exterior.csv"
    table.write_text("filename,x,y,z,omega,phi,kappa\nframe,1,2,3,0,0,0\n")
    view = orthorectification.frame_view(
        "frame.tif", crs=UTM, interior=interior_file(tmp_path), exterior=table, size=(30, 40)
    )
    assert view.camera == frame_camera.FrameCamera(30, 40, (1.25, 1.25), radial=(0.1, 0.0, 0.0))
    with pytest.raises(BadInputError, match="no orientation of other"):
        orthorectification.frame_view("other", crs=UTM, interior=interior_file(tmp_path), exterior=table)
    with pytest.raises(BadInputError, match="needs a reconstruction"):
        orthorectification.frame_view("frame", crs=UTM)
    for change in ({"im_size": None}, {"focal_len": "long"}):
        with pytest.raises(BadInputError, match="no readable interior"):
            orthorectification.frame_view("frame", crs=UTM, interior=interior_file(tmp_path, **change), exterior=table)


@pytest.mark.parametrize("listed", [True, False])
def test_reconstructions_are_read_by_shot(tmp_path, listed):
    made = {
        "reference_lla": {"latitude": 29.0, "longitude": 105.0, "altitude": 0.0},
        "cameras": {"c": {"projection_type": "perspective", "width": 8, "height": 6, "focal": 1, "k1": 0, "k2": 0}},
        "shots": {"one.jpg": {"rotation": [0, 0, 0], "translation": [1, 2, 3], "camera": "c"}},
    }
    path = tmp_path / "reconstruction.json"
    path.write_text(json.dumps([made] if listed else made))
    for axes in ("map", "topocentric"):
        view = orthorectification.frame_view("one.jpg", crs=UTM, reconstruction=path, axes=axes)
        assert view.camera.rows == 6
    with pytest.raises(BadInputError, match="no shot two"):
        orthorectification.frame_view("two.jpg", crs=UTM, reconstruction=path)


def test_a_file_that_was_replaced_is_read_anew(tmp_path, image, surface):
    first = orthorectification._image(image)[2]
    assert orthorectification._image(image)[2] is first
    written(image, np.ones((2, 60, 80)), crs=None, dtype="uint8")
    image.touch()
    assert (orthorectification._image(image)[2] == 1).all()
