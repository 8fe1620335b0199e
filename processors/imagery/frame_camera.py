"""Frame cameras of aircraft and UAVs: where a place in the world lies in the image.

Camera axes: x to the right of the image, y down, z along the optical axis; the world is a projected system with east,
north and height in meters. Image positions are (row, column), 0 at the center of the first pixel. The distortion is
that of Brown (1971) and Conrady (1919) in the form of OpenSfM and OpenCV: applied to undistorted coordinates x / z and
y / z, scaled by the focal length over the longer side of the image. Curvature of the Earth and refraction are left
out, as flying heights of some kilometers allow.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyproj
from scipy.spatial import transform as rotations

from processors.arrays import FloatArray
from processors.quality import BadInputError


@dataclass(frozen=True)
class FrameCamera:
    """Interior orientation.

    Parameters
    ----------
    rows, columns : int
        Size of the image.
    focal : tuple of float
        Focal length along the columns and the rows, over the longer side of the image [1].
    principal : tuple of float
        Offset of the principal point from the middle of the image along the columns and the rows, over the longer side
        of the image [1].
    radial : tuple of float
        k1, k2, k3 of the distortion [1].
    tangential : tuple of float
        p1, p2 of the distortion [1].
    """

    rows: int
    columns: int
    focal: tuple[float, float]
    principal: tuple[float, float] = (0.0, 0.0)
    radial: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)


class Exterior(NamedTuple):
    """Exterior orientation of one image.

    Attributes
    ----------
    position : FloatArray
        East, north and height of the projection center (3,) [m].
    rotation : FloatArray
        Rotation from world axes to camera axes (3, 3) [1].
    """

    position: FloatArray
    rotation: FloatArray


class FrameView(NamedTuple):
    """A camera in its place.

    Attributes
    ----------
    camera : FrameCamera
        Interior orientation.
    exterior : Exterior
        Exterior orientation.
    """

    camera: FrameCamera
    exterior: Exterior

    def image_from_world(self, x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Image position of places (collinearity equations).

        Parameters
        ----------
        x, y, z : FloatArray
            East, north and height [m].

        Returns
        -------
        tuple of FloatArray
            Row and column [1]; NaN behind the camera and where the distortion has turned back on itself.
        """
        east, north, up = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (x, y, z)))
        away = np.stack([east, north, up], axis=-1) - self.exterior.position
        across, down, along = np.moveaxis(away @ self.exterior.rotation.T, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = across / along, down / along
        bent = distorted(self.camera, u, v)
        row, column = pixel_from_normalized(self.camera, *bent)
        seen = (along > 0) & _monotonic(self.camera, u, v)
        return np.where(seen, row, np.nan), np.where(seen, column, np.nan)

    def direction(self, row: FloatArray, column: FloatArray) -> FloatArray:
        """World direction in which a pixel looks.

        Parameters
        ----------
        row, column : FloatArray
            Image position [1].

        Returns
        -------
        FloatArray
            Unit vectors (..., 3) [1].
        """
        u, v = undistorted(self.camera, *normalized_from_pixel(self.camera, row, column))
        rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ self.exterior.rotation
        return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def pixel_from_normalized(camera: FrameCamera, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Row and column of distorted image coordinates.

    Parameters
    ----------
    camera : FrameCamera
        Interior orientation.
    u, v : FloatArray
        Coordinates over the distance along the axis, right and down [1].

    Returns
    -------
    tuple of FloatArray
        Row and column [1].
    """
    longer = max(camera.rows, camera.columns)
    column = longer * (camera.focal[0] * u + camera.principal[0]) + (camera.columns - 1) / 2.0
    row = longer * (camera.focal[1] * v + camera.principal[1]) + (camera.rows - 1) / 2.0
    return np.asarray(row), np.asarray(column)


def normalized_from_pixel(camera: FrameCamera, row: FloatArray, column: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distorted image coordinates of row and column, the inverse of `pixel_from_normalized`.

    Parameters
    ----------
    camera : FrameCamera
        Interior orientation.
    row, column : FloatArray
        Image position [1].

    Returns
    -------
    tuple of FloatArray
        Coordinates right and down [1].
    """
    longer = max(camera.rows, camera.columns)
    u = ((np.asarray(column) - (camera.columns - 1) / 2.0) / longer - camera.principal[0]) / camera.focal[0]
    v = ((np.asarray(row) - (camera.rows - 1) / 2.0) / longer - camera.principal[1]) / camera.focal[1]
    return u, v


def distorted(camera: FrameCamera, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Brown-Conrady distortion of image coordinates.

    Parameters
    ----------
    camera : FrameCamera
        Interior orientation.
    u, v : FloatArray
        Undistorted coordinates [1].

    Returns
    -------
    tuple of FloatArray
        Distorted coordinates [1].
    """
    (k1, k2, k3), (p1, p2) = camera.radial, camera.tangential
    square = u * u + v * v
    radial = 1.0 + square * (k1 + square * (k2 + square * k3))
    return (
        np.asarray(u * radial + 2.0 * p1 * u * v + p2 * (square + 2.0 * u * u)),
        np.asarray(v * radial + p1 * (square + 2.0 * v * v) + 2.0 * p2 * u * v),
    )


def _monotonic(camera: FrameCamera, u: FloatArray, v: FloatArray) -> Any:
    """Where the radial distortion still grows outward: beyond, places would be folded back into the image."""
    k1, k2, k3 = camera.radial
    square = u * u + v * v
    return 1.0 + square * (3.0 * k1 + square * (5.0 * k2 + square * 7.0 * k3)) > 0


def undistorted(camera: FrameCamera, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Inverse of `distorted` by fixed-point iteration.

    Parameters
    ----------
    camera : FrameCamera
        Interior orientation.
    u, v : FloatArray
        Distorted coordinates [1].

    Returns
    -------
    tuple of FloatArray
        Undistorted coordinates [1].
    """
    x, y = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    for _ in range(50):
        there = distorted(camera, x, y)
        x, y = x + (u - there[0]), y + (v - there[1])
    return x, y


def pinhole(*, rows: int, columns: int, focal_length: float, sensor_width: float) -> FrameCamera:
    """Camera from its focal length and sensor, without distortion.

    Parameters
    ----------
    rows, columns : int
        Size of the image.
    focal_length, sensor_width : float
        Focal length and extent of the sensor along the columns, in one unit [mm].

    Returns
    -------
    FrameCamera
        Interior orientation with square pixels.
    """
    focal = focal_length * columns / sensor_width / max(rows, columns)
    return FrameCamera(rows, columns, (focal, focal))


def exterior_from_angles(x: float, y: float, z: float, *, omega: float, phi: float, kappa: float) -> Exterior:
    """Exterior orientation from photogrammetric angles.

    World = Rx(omega) Ry(phi) Rz(kappa) image, with the axes of photogrammetry in the image: x right, y up, z toward the
    viewer (Kraus 2007, section 2.1).

    Parameters
    ----------
    x, y, z : float
        Projection center: east, north, height [m].
    omega, phi, kappa : float
        Rotations about the axes x, y and z [degree].

    Returns
    -------
    Exterior
        Position and rotation.
    """
    turn = rotations.Rotation.from_euler("XYZ", [omega, phi, kappa], degrees=True).as_matrix()
    flip = np.diag([1.0, -1.0, -1.0])
    return Exterior(np.array([x, y, z], dtype=np.float64), flip @ turn.T)


def exteriors_from_table(text: str) -> dict[str, Exterior]:
    """Exterior orientations from a table of name, x, y, z, omega, phi, kappa.

    Parameters
    ----------
    text : str
        Lines separated by commas or blanks, names with blanks in quotes, with or without a header; further columns are
        left alone.

    Returns
    -------
    dict
        Exterior orientation by name of the image, without extension.

    Raises
    ------
    BadInputError
        `camera_model_missing` where a line cannot be read or there is none.
    """
    separator = "," if "," in text.partition("\n")[0] else " "
    quote = "'" if text.lstrip().startswith("'") else '"'
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator, quotechar=quote) if row]
    names = ["filename", "x", "y", "z", "omega", "phi", "kappa"]
    if rows and rows[0][0].strip().lower() == "filename":
        names = [name.strip().lower() for name in rows.pop(0)]
    found = {}
    for row in rows:
        try:
            values = dict(zip(names, row, strict=False))
            angles = {name: float(values[name]) for name in ("omega", "phi", "kappa")}
            found[_stem(values["filename"])] = exterior_from_angles(
                float(values["x"]), float(values["y"]), float(values["z"]), **angles
            )
        except (KeyError, ValueError) as error:
            raise BadInputError("camera_model_missing", f"no exterior orientation in {row}: {error}") from error
    if not found:
        raise BadInputError("camera_model_missing", "the table holds no exterior orientation")
    return found


def _stem(name: str) -> str:
    stem, dot, extension = name.strip().rpartition(".")
    return stem if dot and extension.lower() in ("tif", "tiff", "jpg", "jpeg", "png") else name.strip()


def views_from_reconstruction(
    reconstruction: Mapping[str, Any],
    *,
    crs: str,
    axes: Literal["map", "topocentric"],
    size: tuple[int, int] | None = None,
) -> dict[str, FrameView]:
    """Cameras of an OpenSfM reconstruction.

    A shot has a rotation vector and a translation, camera = R point + t. OpenDroneMap counts the point along the axes
    of the map from the projected reference; OpenSfM itself counts it east, north and up at the reference, which differs
    by the convergence of the meridians (0.9 degree on the site tried).

    Parameters
    ----------
    reconstruction : mapping
        One element of the file.
    crs : str
        Projected system wanted.
    axes : str
        "map" for OpenDroneMap or "topocentric" for OpenSfM.
    size : tuple of int, optional
        Rows and columns of the images at hand, where they have been resized.

    Returns
    -------
    dict
        View by name of the shot.

    Raises
    ------
    BadInputError
        `camera_model_missing` where the camera is of a kind not known or something is absent.
    """
    try:
        lla = reconstruction["reference_lla"]
        reference = (float(lla["longitude"]), float(lla["latitude"]), float(lla["altitude"]))
        cameras = {name: _opensfm_camera(about, size) for name, about in reconstruction["cameras"].items()}
        turn, to_map = _map_axes(reference, crs) if axes == "map" else _topocentric(reference, crs)
        views = {}
        for name, shot in reconstruction["shots"].items():
            rotation = rotations.Rotation.from_rotvec(shot["rotation"]).as_matrix()
            center = -rotation.T @ np.asarray(shot["translation"], dtype=np.float64)
            views[_stem(name)] = FrameView(cameras[shot["camera"]], Exterior(to_map(center), rotation @ turn.T))
    except KeyError as error:
        raise BadInputError("camera_model_missing", f"the reconstruction lacks {error}") from error
    return views


def _opensfm_camera(about: Mapping[str, Any], size: tuple[int, int] | None) -> FrameCamera:
    kind = about["projection_type"]
    rows, columns = size or (int(about["height"]), int(about["width"]))
    if kind == "perspective":
        return FrameCamera(rows, columns, (about["focal"],) * 2, radial=(about["k1"], about["k2"], 0.0))
    if kind != "brown":
        raise BadInputError("camera_model_missing", f"cameras of kind {kind!r} are not known")
    return FrameCamera(
        rows,
        columns,
        (about["focal_x"], about["focal_y"]),
        (about["c_x"], about["c_y"]),
        (about["k1"], about["k2"], about["k3"]),
        (about["p1"], about["p2"]),
    )


_ToMap = Callable[[FloatArray], FloatArray]


def _map_axes(reference: tuple[float, float, float], crs: str) -> tuple[FloatArray, _ToMap]:
    """No rotation, and positions counted from the projected reference."""
    forward = pyproj.Transformer.from_crs("EPSG:4326", pyproj.CRS(crs).to_2d(), always_xy=True)
    origin = np.array([*forward.transform(*reference[:2]), reference[2]])
    return np.eye(3), lambda center: np.asarray(origin + center)


def _topocentric(reference: tuple[float, float, float], crs: str) -> tuple[FloatArray, _ToMap]:
    """Rotation from topocentric to grid axes, and the map position of topocentric coordinates."""
    local = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 "
        f"+lon_0={reference[0]!r} +lat_0={reference[1]!r} +h_0={reference[2]!r} "
        "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    forward = pyproj.Transformer.from_crs("EPSG:4326", pyproj.CRS(crs).to_2d(), always_xy=True)
    convergence = np.radians(pyproj.Proj(pyproj.CRS(crs).to_2d()).get_factors(*reference[:2]).meridian_convergence)
    cosine, sine = np.cos(convergence), np.sin(convergence)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])

    def to_map(center: FloatArray) -> FloatArray:
        place = np.asarray(local.transform(*center.tolist()))
        return np.array([*forward.transform(place[0], place[1]), place[2]])

    return turn, to_map
