"""Overlapping UAV and aerial frames lie on one another once orthorectified; ground control points fit their model."""

import json

import numpy as np
import pyproj
import pytest
import rasterio
import yaml
from scipy import ndimage

from infra.imagery import orthorectification
from processors.imagery import frame_camera, rational_polynomial

pytestmark = pytest.mark.oracle
WINDOW = 64


@pytest.fixture
def folder(shared_data):
    return shared_data("imagery") / "orthority"


def displacements(first, second):
    """Displacements of windows of two map-projected files, by correlation of their detail [pixel]."""
    layers, boxes, valid = [], [], []
    for path in (first, second):
        with rasterio.open(path) as dataset:
            band = dataset.read(2).astype(float)
            layers.append(ndimage.gaussian_filter(band, 1.0) - ndimage.gaussian_filter(band, 6.0))
            valid.append(ndimage.binary_erosion(band != dataset.nodata, iterations=20))
            boxes.append(dataset.bounds)
            size = dataset.res[0]
    left, top = max(b.left for b in boxes), min(b.top for b in boxes)
    right, bottom = min(b.right for b in boxes), max(b.bottom for b in boxes)
    shape = round((top - bottom) / size), round((right - left) / size)
    starts = [(round((b.top - top) / size), round((left - b.left) / size)) for b in boxes]
    a, b = (part[r : r + shape[0], c : c + shape[1]] for part, (r, c) in zip(layers, starts, strict=True))
    both = np.logical_and(
        *(part[r : r + shape[0], c : c + shape[1]] for part, (r, c) in zip(valid, starts, strict=True))
    )
    taper = np.hanning(WINDOW)[:, None] * np.hanning(WINDOW)
    found = []
    for row in range(0, shape[0] - WINDOW, WINDOW // 2):
        for column in range(0, shape[1] - WINDOW, WINDOW // 2):
            cut = slice(row, row + WINDOW), slice(column, column + WINDOW)
            if both[cut].mean() < 0.98:
                continue
            spectra = [np.fft.fft2(part[cut] * taper) for part in (a, b)]
            surface = np.fft.ifft2(spectra[0] * spectra[1].conj()).real * WINDOW**2
            surface /= np.sqrt((np.abs(spectra[0]) ** 2).sum() * (np.abs(spectra[1]) ** 2).sum())
            if surface.max() > 0.5:
                peak = np.array(np.unravel_index(surface.argmax(), surface.shape))
                found.append((peak + WINDOW // 2) % WINDOW - WINDOW // 2)
    return np.array(found)


def ortho_of(folder, name, out, *, moved=0.0):
    if name.startswith("100"):
        view = orthorectification.frame_view(name, crs="EPSG:32651", reconstruction=folder / "reconstruction.json")
        dem, resolution = folder / "dsm.tif", 0.25
    else:
        with rasterio.open(folder / "dem.tif") as dataset:
            crs = dataset.crs.to_wkt()
        view = orthorectification.frame_view(
            name, crs=crs, interior=folder / "ngi_int_param.yaml", exterior=folder / "ngi_xyz_opk.csv"
        )
        dem, resolution = folder / "dem.tif", 6.0
    exterior = view.exterior._replace(position=view.exterior.position + np.array([moved, 0.0, 0.0]))
    path = out / f"{name}_{moved:g}.tif"
    report = orthorectification.run(
        folder / name, path, view=view._replace(exterior=exterior), dem=dem, resolution=resolution
    )
    assert report["covered"] > 0.4
    return path


@pytest.mark.parametrize(
    ("names", "fewest"),
    [
        (("100_0005_0136.tif", "100_0005_0140.tif"), 25),
        (("3324c_2015_1004_05_0182_RGB.tif", "3324c_2015_1004_05_0184_RGB.tif"), 80),
        (("3324c_2015_1004_05_0184_RGB.tif", "3324c_2015_1004_06_0251_RGB.tif"), 80),
    ],
)
def test_overlapping_frames_lie_on_one_another(folder, tmp_path, names, fewest):
    """Views from opposite sides (UAV, 30 degree oblique) or neighboring strips; a wrong sign moves them by many."""
    found = displacements(*(ortho_of(folder, name, tmp_path) for name in names))
    assert len(found) >= fewest
    assert np.abs(np.median(found, axis=0)).max() < 0.5
    assert np.percentile(np.hypot(*found.T), 75) <= 1.0


def test_a_camera_out_of_its_place_is_seen(folder, tmp_path):
    first = ortho_of(folder, "3324c_2015_1004_05_0182_RGB.tif", tmp_path)
    second = ortho_of(folder, "3324c_2015_1004_05_0184_RGB.tif", tmp_path, moved=24.0)
    assert np.abs(np.median(displacements(first, second), axis=0)).max() >= 3.0


def test_reconstruction_and_table_of_angles_are_one_orientation(folder):
    loaded = json.loads((folder / "reconstruction.json").read_text())[0]
    views = frame_camera.views_from_reconstruction(loaded, crs="EPSG:32651", axes="map")
    table = frame_camera.exteriors_from_table((folder / "odm_xyz_opk.csv").read_text())
    assert set(views) == set(table)
    for name, view in views.items():
        np.testing.assert_allclose(view.exterior.position, table[name].position, atol=1.5e-3)
        turn = view.exterior.rotation @ table[name].rotation.T
        assert np.degrees(np.arccos(min((np.trace(turn) - 1.0) / 2.0, 1.0))) < 0.001


def test_positions_agree_with_the_receiver_of_the_uav(folder):
    """Map axes, as OpenDroneMap counts; topocentric ones would miss by one to two meters."""
    loaded = json.loads((folder / "reconstruction.json").read_text())[0]
    views = frame_camera.views_from_reconstruction(loaded, crs="EPSG:32651", axes="map")
    to_map = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32651", always_xy=True)
    lines = (folder / "odm_lla_rpy.csv").read_text().splitlines()[1:]
    for name, latitude, longitude, *_ in (line.split() for line in lines):
        x, y = to_map.transform(float(longitude), float(latitude))
        np.testing.assert_allclose(views[name.removesuffix(".tif")].exterior.position[:2], [x, y], atol=0.06)


def test_ground_control_points_of_the_satellite_image_fit_its_model(folder):
    """A constant offset is the model's known bias; what remains are its and the points' errors."""
    about = yaml.safe_load((folder / "rpc_param.yaml").read_text())["qb2_basic1b.tif"]["rpc"]
    tags = {
        key.upper(): " ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in about.items()
    }
    model = rational_polynomial.model_from_tags(tags, name="qb2")
    points = json.loads((folder / "gcps.geojson").read_text())["features"]
    place = np.array([point["geometry"]["coordinates"] for point in points])
    seen = np.array([point["properties"]["ji"][::-1] for point in points])
    found = np.stack(model.project(*place.T), axis=-1)
    residual = found - seen
    assert np.isfinite(residual).all()
    assert np.hypot(*(residual - residual.mean(axis=0)).T).max() < 3.0
    assert np.hypot(*residual.mean(axis=0)) < 15.0
