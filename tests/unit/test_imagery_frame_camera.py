"""Frame cameras: collinearity, distortion and the conventions of other software."""

import numpy as np
import pytest

from processors.imagery import frame_camera
from processors.quality import BadInputError

CAMERA = frame_camera.FrameCamera(
    rows=912,
    columns=1368,
    focal=(0.6665, 0.6665),
    principal=(-0.0015, 0.0048),
    radial=(-0.264, 0.102, -0.026),
    tangential=(7.3e-4, 2.6e-4),
)


def collinear(x, y, z, *, center, omega, phi, kappa, focal):
    """Photo coordinates of the collinearity equations with the nine elements written out (Kraus 2007, 5.3-4)."""
    so, co, sp, cp, sk, ck = (f(np.radians(a)) for a in (omega, phi, kappa) for f in (np.sin, np.cos))
    r = [
        [cp * ck, -cp * sk, sp],
        [co * sk + so * sp * ck, co * ck - so * sp * sk, -so * cp],
        [so * sk - co * sp * ck, so * ck + co * sp * sk, co * cp],
    ]
    d = np.array([x, y, z]) - center
    n = [sum(r[i][k] * d[i] for i in range(3)) for k in range(3)]
    return -focal * n[0] / n[2], -focal * n[1] / n[2]


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (3.0, -5.0, 100.0), (-28.0, 14.0, -170.0)])
def test_angles_of_photogrammetry_obey_the_collinearity_equations(angles):
    omega, phi, kappa = angles
    center = np.array([500_100.0, 3_200_050.0, 900.0])
    camera = frame_camera.pinhole(rows=1152, columns=640, focal_length=120.0, sensor_width=92.16)
    exterior = frame_camera.exterior_from_angles(*center, omega=omega, phi=phi, kappa=kappa)
    view = frame_camera.FrameView(camera, exterior)
    for place in ((500_000.0, 3_200_000.0, 300.0), (500_180.0, 3_199_900.0, 340.0)):
        right, up = collinear(*place, center=center, omega=omega, phi=phi, kappa=kappa, focal=120.0)
        pitch = 92.16 / 640
        row, column = view.image_from_world(*place)
        assert float(column) == pytest.approx(right / pitch + 319.5, abs=1e-6)
        assert float(row) == pytest.approx(-up / pitch + 575.5, abs=1e-6)


def test_north_is_up_and_east_is_right_in_a_level_image():
    camera = frame_camera.FrameCamera(100, 200, (1.0, 1.0))
    view = frame_camera.FrameView(camera, frame_camera.exterior_from_angles(0, 0, 100, omega=0, phi=0, kappa=0))
    row, column = view.image_from_world(np.array([0.0, 10.0, 0.0]), np.array([0.0, 0.0, 10.0]), np.zeros(3))
    np.testing.assert_allclose(row, [49.5, 49.5, 29.5])
    np.testing.assert_allclose(column, [99.5, 119.5, 99.5])


def test_distortion_is_that_of_the_published_form():
    """Numbers worked by hand: r2 = 0.13, radial = 1 - 0.264 r2 + 0.102 r2**2 - 0.026 r2**3."""
    u, v = frame_camera.distorted(CAMERA, np.array(0.3), np.array(0.2))
    radial = 1 - 0.264 * 0.13 + 0.102 * 0.0169 - 0.026 * 0.002197
    assert float(u) == pytest.approx(0.3 * radial + 2 * 7.3e-4 * 0.06 + 2.6e-4 * (0.13 + 0.18), abs=1e-12)
    assert float(v) == pytest.approx(0.2 * radial + 7.3e-4 * (0.13 + 0.08) + 2 * 2.6e-4 * 0.06, abs=1e-12)


def test_every_pixel_looks_at_what_it_shows():
    exterior = frame_camera.exterior_from_angles(10.0, 20.0, 150.0, omega=12.0, phi=-20.0, kappa=40.0)
    view = frame_camera.FrameView(CAMERA, exterior)
    row, column = np.meshgrid(np.linspace(0, 911, 12), np.linspace(0, 1367, 15))
    place = exterior.position + 80.0 * view.direction(row, column)
    again = view.image_from_world(*np.moveaxis(place, -1, 0))
    np.testing.assert_allclose(again[0], row, atol=1e-6)
    np.testing.assert_allclose(again[1], column, atol=1e-6)


def test_places_behind_the_camera_and_folded_back_by_the_distortion_are_not_seen():
    folding = frame_camera.FrameCamera(100, 100, (1.0, 1.0), radial=(-0.5, 0.0, 0.0))
    view = frame_camera.FrameView(folding, frame_camera.exterior_from_angles(0, 0, 100, omega=0, phi=0, kappa=0))
    row, _ = view.image_from_world(np.array([0.0, 0.0, 135.0]), np.zeros(3), np.array([0.0, 200.0, 0.0]))
    assert np.isfinite(row[0])
    assert np.isnan(row[1:]).all()


@pytest.mark.parametrize(
    "text",
    [
        "filename,x,y,z,omega,phi,kappa\na_1,1.0,2.0,3.0,10.0,20.0,30.0\n",
        "'filename' 'z' 'y' 'x' 'omega' 'phi' 'kappa' 'camera'\n'a_1.tif' 3 2 1 10 20 30 'dji one'\n",
        "a_1 1 2 3 10 20 30\n",
    ],
)
def test_tables_of_orientation_are_read_by_their_header(text):
    found = frame_camera.exteriors_from_table(text)
    expected = frame_camera.exterior_from_angles(1, 2, 3, omega=10, phi=20, kappa=30)
    np.testing.assert_array_equal(found["a_1"].position, expected.position)
    np.testing.assert_allclose(found["a_1"].rotation, expected.rotation)


@pytest.mark.parametrize("text", ["", "filename,x\na,1\n", "a 1 2 3 x 5 6\n"])
def test_tables_that_cannot_be_read_are_refused(text):
    with pytest.raises(BadInputError) as refusal:
        frame_camera.exteriors_from_table(text)
    assert refusal.value.cause == "camera_model_missing"


def reconstruction(**camera):
    brown = {
        "projection_type": "brown", "width": 1368, "height": 912, "focal_x": 0.66, "focal_y": 0.67, "c_x": 0.01,
        "c_y": 0.02, "k1": 0.1, "k2": 0.2, "k3": 0.3, "p1": 0.4, "p2": 0.5,
    }  # fmt: skip
    return {
        "reference_lla": {"latitude": 29.5, "longitude": 106.5, "altitude": 100.0},
        "cameras": {"one": brown | camera},
        "shots": {"a.tif": {"rotation": [np.pi, 0.0, 0.0], "translation": [-30.0, 40.0, 50.0], "camera": "one"}},
    }


def test_shots_of_a_reconstruction_stand_where_it_says():
    """A half turn about x: right stays east, down becomes south; the center is -R't = (30, 40, 50)."""
    view = frame_camera.views_from_reconstruction(reconstruction(), crs="EPSG:32648", axes="map")["a"]
    np.testing.assert_allclose(view.exterior.rotation, np.diag([1.0, -1.0, -1.0]), atol=1e-12)
    origin = frame_camera.pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32648", always_xy=True).transform(106.5, 29.5)
    np.testing.assert_allclose(view.exterior.position, [origin[0] + 30, origin[1] + 40, 150.0], atol=1e-6)
    assert view.camera.focal == (0.66, 0.67)
    assert view.camera.radial == (0.1, 0.2, 0.3)


def test_topocentric_axes_differ_from_the_map_by_the_convergence():
    """EPSG:32648 has its meridian at 105 degree: at 106.5 degree east grid north lies 0.74 degree east of north."""
    made = frame_camera.views_from_reconstruction(reconstruction(), crs="EPSG:32648", axes="topocentric")["a"]
    plain = frame_camera.views_from_reconstruction(reconstruction(), crs="EPSG:32648", axes="map")["a"]
    turn = made.exterior.rotation.T @ plain.exterior.rotation
    angle = np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))
    assert abs(angle) == pytest.approx(1.5 * np.sin(np.radians(29.5)), abs=0.01)
    offset = (made.exterior.position - plain.exterior.position)[:2]
    arm = np.array([30.0, 40.0])
    turned = turn[:2, :2] @ arm
    np.testing.assert_allclose(arm + offset, turned * 0.9996, atol=0.02)


def test_perspective_cameras_and_resized_images_are_known():
    simple = {"projection_type": "perspective", "focal": 0.8, "k1": 0.01, "k2": 0.02}
    views = frame_camera.views_from_reconstruction(
        reconstruction(**simple), crs="EPSG:32648", axes="map", size=(456, 684)
    )
    assert views["a"].camera == frame_camera.FrameCamera(456, 684, (0.8, 0.8), radial=(0.01, 0.02, 0.0))


@pytest.mark.parametrize("fault", ["kind", "reference"])
def test_reconstructions_that_cannot_be_used_are_refused(fault):
    made = reconstruction(projection_type="fisheye") if fault == "kind" else reconstruction()
    if fault == "reference":
        del made["reference_lla"]
    with pytest.raises(BadInputError) as refusal:
        frame_camera.views_from_reconstruction(made, crs="EPSG:32648", axes="map")
    assert refusal.value.cause == "camera_model_missing"
