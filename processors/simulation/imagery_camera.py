"""Forward model of a frame camera and of a line camera over terrain, with exact exterior orientation and ground truth.

Angles are omega, phi, kappa: the axes of the camera (x right, y up in the image, z towards the observer) are those of
the map (east, north, up) turned by R = Rx(omega) Ry(phi) Rz(kappa), with the collinearity equations of Kraus (2007),
Photogrammetry, section 4.2. The map is a plane: no curvature of the Earth, no refraction. Pixel (0, 0) has its center
at row 0.0 and column 0.0; the lines of a line camera follow each other forward, so that its raw image of a flight north
is upside down. Each pixel is followed along its ray to the first terrain it meets. Nothing here uses the processing it
is meant to test.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from scipy import ndimage

from processors.arrays import BoolArray, FloatArray
from processors.simulation import _imagery_simulation_kernels, imagery_clouds, imagery_landscape
from processors.simulation.imagery_landscape import Raster

BANDS = ("blue", "green", "red")
"""Bands of the cameras."""


class Exterior(NamedTuple):
    """Where a camera is and how it is turned; numbers for a frame, arrays (line) for a line camera."""

    east: FloatArray
    """Easting of the projection center [m]."""
    north: FloatArray
    """Northing [m]."""
    height: FloatArray
    """Height [m]."""
    omega: FloatArray
    """Turn about the first axis [degree]."""
    phi: FloatArray
    """Turn about the second axis [degree]."""
    kappa: FloatArray
    """Turn about the third axis [degree]."""


class Interior(NamedTuple):
    """What a camera is."""

    focal_length: float
    """Focal length [pixel]."""
    row: float
    """Row of the principal point; 0 for a line camera [pixel]."""
    column: float
    """Column of the principal point [pixel]."""


class SimulatedView(NamedTuple):
    """What a camera saw, and the truth behind it."""

    image: Raster
    """Reflectance, not a number beyond the terrain (band, row, column) [1]."""
    ground: FloatArray
    """Easting, northing, height of each pixel's ground (3, row, column) [m]."""
    interior: Interior
    """The camera."""
    exterior: Exterior
    """Its place and attitude."""
    orthoimage: Raster
    """The landscape on the map, at the resolution of the view (band, y, x) [1]."""
    visible: BoolArray
    """Map pixels that the view shows (y, x)."""
    dem: Raster
    """Heights on the map (y, x) [m]."""
    grid: GeoBox
    """The map."""
    bands: tuple[str, ...]
    """Names of the bands."""


def simulate_frame(
    *,
    seed: int,
    shape: tuple[int, int] = (300, 400),
    map_shape: tuple[int, int] = (400, 400),
    pixel_size: float = 1.0,
    bands: Sequence[str] = BANDS,
    flying_height: float = 400.0,
    focal_length: float | None = None,
    angles: tuple[float, float, float] = (2.0, -1.5, 20.0),
    offset: tuple[float, float] = (10.0, -15.0),
    relief: float = 60.0,
    noise: float = 0.002,
    day_of_year: float = 200.0,
) -> SimulatedView:
    """View a landscape with a frame camera.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Rows and columns of the image.
    map_shape : tuple of int
        Rows and columns of the landscape.
    pixel_size : float
        Pixel size of the map [m].
    bands : sequence of str
        Bands, of imagery_landscape.BANDS.
    flying_height : float
        Height above the mean terrain [m].
    focal_length : float, optional
        Focal length [pixel]; by default the image's pixels are as large as the map's on mean terrain.
    angles : tuple of float
        Omega, phi, kappa [degree].
    offset : tuple of float
        Way of the camera east and north from the middle of the map [m].
    relief : float
        Height between the lowest and the highest pixel [m].
    noise : float
        Standard deviation of the noise [1].
    day_of_year : float
        Day of the year [d].

    Returns
    -------
    SimulatedView
        The same for the same arguments.
    """
    scene = _scene(seed, map_shape, pixel_size, tuple(bands), relief, day_of_year)
    focal = flying_height / pixel_size if focal_length is None else focal_length
    interior = Interior(focal, 0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1))
    place = _middle(scene) + np.array([*offset, flying_height])
    exterior = Exterior(*(np.array(number) for number in (*place, *angles)))
    row, column = np.indices(shape, dtype=np.float64)
    ground = meet_terrain(scene.dem, scene.grid, exterior, rays(interior, exterior, row, column))
    step = flying_height / focal / pixel_size
    return _finished(
        seed, scene, interior, exterior, ground, step, noise, _frame_visible(scene, interior, exterior, shape)
    )


def simulate_line_scan(
    *,
    seed: int,
    shape: tuple[int, int] = (300, 300),
    map_shape: tuple[int, int] = (400, 400),
    pixel_size: float = 1.0,
    bands: Sequence[str] = BANDS,
    flying_height: float = 1000.0,
    focal_length: float | None = None,
    heading: float = 15.0,
    roll: float = 5.0,
    wobble: float = 0.1,
    relief: float = 60.0,
    noise: float = 0.002,
    day_of_year: float = 200.0,
) -> SimulatedView:
    """View a landscape line by line from a moving platform whose attitude wobbles.

    Parameters
    ----------
    seed : int
        Seed of all randomness.
    shape : tuple of int
        Lines and pixels across.
    map_shape : tuple of int
        Rows and columns of the landscape.
    pixel_size : float
        Pixel size of the map, and way of the platform from line to line [m].
    bands : sequence of str
        Bands, of imagery_landscape.BANDS.
    flying_height : float
        Height above the mean terrain [m].
    focal_length : float, optional
        Focal length [pixel]; by default the image's pixels are as large as the map's on mean terrain.
    heading : float
        Azimuth of the flight, clockwise from north [degree].
    roll : float
        Angle of the view to the right of the flight [degree].
    wobble : float
        Amplitude of the slow changes of the three angles [degree].
    relief : float
        Height between the lowest and the highest pixel [m].
    noise : float
        Standard deviation of the noise [1].
    day_of_year : float
        Day of the year [d].

    Returns
    -------
    SimulatedView
        `exterior` has an element for every line; `visible` is where a ray of the image met the map.
    """
    scene = _scene(seed, map_shape, pixel_size, tuple(bands), relief, day_of_year)
    focal = flying_height / pixel_size if focal_length is None else focal_length
    interior = Interior(focal, 0.0, 0.5 * (shape[1] - 1))
    exterior = _flight(seed, scene, shape[0], flying_height, heading, roll, wobble)
    column = np.broadcast_to(np.arange(shape[1], dtype=np.float64), shape)
    ground = meet_terrain(scene.dem, scene.grid, exterior, rays(interior, exterior, np.zeros(shape), column))
    step = flying_height / focal / pixel_size
    return _finished(seed, scene, interior, exterior, ground, step, noise, _hit(scene, ground))


def rotation(exterior: Exterior) -> FloatArray:
    """Rotation from the camera's axes to those of the map.

    Parameters
    ----------
    exterior : Exterior
        Attitude.

    Returns
    -------
    array
        Matrices Rx(omega) Ry(phi) Rz(kappa) (..., 3, 3).
    """
    omega, phi, kappa = (np.radians(angle) for angle in (exterior.omega, exterior.phi, exterior.kappa))
    return np.asarray(_turn(omega, 0) @ _turn(phi, 1) @ _turn(kappa, 2), dtype=np.float64)


def rays(interior: Interior, exterior: Exterior, row: FloatArray, column: FloatArray) -> FloatArray:
    """Directions in which pixels look.

    Parameters
    ----------
    interior : Interior
        The camera.
    exterior : Exterior
        Its attitude; arrays (line) go with the first axis of the pixels.
    row, column : FloatArray
        Pixels (row, column) [pixel].

    Returns
    -------
    array
        East, north, up (row, column, 3), not of unit length.
    """
    across = np.stack(
        [column - interior.column, interior.row - row, np.full(row.shape, -interior.focal_length)], axis=-1
    )
    turn = rotation(exterior)
    return np.asarray(np.einsum("lij,lcj->lci" if turn.ndim == 3 else "ij,lcj->lci", turn, across), dtype=np.float64)


def project(interior: Interior, exterior: Exterior, points: FloatArray) -> FloatArray:
    """Where a frame camera sees points: the collinearity equations.

    Parameters
    ----------
    interior : Interior
        The camera.
    exterior : Exterior
        Its place and attitude.
    points : FloatArray
        Easting, northing, height (3, ...) [m].

    Returns
    -------
    array
        Row and column (2, ...), not a number behind the camera [pixel].
    """
    center = np.array([exterior.east, exterior.north, exterior.height])
    away = points - center.reshape((3,) + (1,) * (points.ndim - 1))
    x, y, z = np.tensordot(rotation(exterior).T, away, axes=1)
    depth = np.where(z < 0.0, -z, np.nan)
    return np.stack(
        [interior.row - interior.focal_length * y / depth, interior.column + interior.focal_length * x / depth]
    )


def meet_terrain(dem: Raster, box: GeoBox, exterior: Exterior, directions: FloatArray) -> FloatArray:
    """Follow rays to the first terrain they meet.

    Parameters
    ----------
    dem : array
        Heights at the pixel centers, bilinear between them (y, x) [m].
    box : GeoBox
        North-up grid of the heights.
    exterior : Exterior
        Start of the rays; arrays (line) go with the first axis of the directions.
    directions : FloatArray
        East, north, up (row, column, 3), in any unit.

    Returns
    -------
    array
        Easting, northing, height (3, row, column), not a number where a ray leaves the terrain [m].
    """
    shape = directions.shape[:2]
    affine = box.transform
    start = np.stack(
        [
            np.broadcast_to(np.asarray(part)[..., None] if np.ndim(part) else part, shape)
            for part in (
                (exterior.north - affine.f) / affine.e - 0.5,
                (exterior.east - affine.c) / affine.a - 0.5,
                exterior.height,
            )
        ],
        axis=-1,
    )
    way = np.stack([directions[..., 1] / affine.e, directions[..., 0] / affine.a, directions[..., 2]], axis=-1)
    found = _imagery_simulation_kernels.first_ground(
        np.ascontiguousarray(dem, dtype=np.float32),
        np.ascontiguousarray(start.reshape(-1, 3), dtype=np.float64),
        np.ascontiguousarray(way.reshape(-1, 3), dtype=np.float64),
    ).reshape(*shape, 3)
    return np.stack(
        [affine.c + (found[..., 1] + 0.5) * affine.a, affine.f + (found[..., 0] + 0.5) * affine.e, found[..., 2]]
    )


class _Scene(NamedTuple):
    reflectance: Raster
    dem: Raster
    grid: GeoBox
    pixel_size: float
    bands: tuple[str, ...]


def _scene(
    seed: int, shape: tuple[int, int], pixel_size: float, bands: tuple[str, ...], relief: float, day: float
) -> _Scene:
    landscape = imagery_landscape.simulate_landscape(
        seed=seed,
        shape=shape,
        pixel_size=pixel_size,
        bands=bands,
        relief=relief,
        urban_fraction=0.25,
        day_of_year=day,
    )
    return _Scene(landscape.reflectance, landscape.dem, imagery_clouds.grid_box(shape, pixel_size), pixel_size, bands)


def _middle(scene: _Scene) -> FloatArray:
    rows, columns = scene.dem.shape
    left, top = imagery_clouds.CORNER
    return np.array(
        [left + 0.5 * columns * scene.pixel_size, top - 0.5 * rows * scene.pixel_size, float(scene.dem.mean())]
    )


def _turn(angle: FloatArray, axis: int) -> FloatArray:
    """Right-handed rotation about an axis."""
    one, other = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.zeros((*np.shape(angle), 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., one, one] = matrix[..., other, other] = np.cos(angle)
    matrix[..., other, one] = np.sin(angle)
    matrix[..., one, other] = -np.sin(angle)
    return matrix


def _flight(
    seed: int, scene: _Scene, lines: int, flying_height: float, heading: float, roll: float, wobble: float
) -> Exterior:
    """A straight flight whose view crosses the middle of the map halfway; the angles wobble twice to four times."""
    rng = np.random.default_rng([seed, 71])
    azimuth = math.radians(heading)
    along = (np.arange(lines) - 0.5 * (lines - 1)) * scene.pixel_size
    aside = -flying_height * math.tan(math.radians(roll))
    east, north, height = _middle(scene)
    phase = 2.0 * math.pi * (rng.uniform(2.0, 4.0, (3, 1)) * np.arange(lines) / lines + rng.uniform(size=(3, 1)))
    # A view to the right of the flight turns the head about the axis of flight, which is the camera's y.
    exact = _angles(_turn(np.array(-azimuth), 2) @ _turn(np.array(-math.radians(roll)), 1))
    omega, phi, kappa = np.array(exact)[:, None] + wobble * np.sin(phase)
    return Exterior(
        east + along * math.sin(azimuth) + aside * math.cos(azimuth),
        north + along * math.cos(azimuth) - aside * math.sin(azimuth),
        np.full(lines, height + flying_height),
        omega,
        phi,
        kappa,
    )


def _angles(matrix: FloatArray) -> tuple[float, float, float]:
    """Omega, phi, kappa [degree] of a rotation."""
    return (
        math.degrees(math.atan2(-matrix[1, 2], matrix[2, 2])),
        math.degrees(math.asin(matrix[0, 2])),
        math.degrees(math.atan2(-matrix[0, 1], matrix[0, 0])),
    )


def _pixels(scene: _Scene, ground: FloatArray) -> FloatArray:
    """Rows and columns of ground on the map (2, ...)."""
    affine = scene.grid.transform
    return np.stack([(ground[1] - affine.f) / affine.e - 0.5, (ground[0] - affine.c) / affine.a - 0.5])


def _finished(
    seed: int,
    scene: _Scene,
    interior: Interior,
    exterior: Exterior,
    ground: FloatArray,
    step: float,
    noise: float,
    visible: BoolArray,
) -> SimulatedView:
    """Paint the ground on the image."""
    soft = imagery_landscape.soften(scene.reflectance, sigma=0.5 * max(step, 1.0))
    place = _pixels(scene, ground)
    missing = np.isnan(place[0])
    filled = np.where(missing, 0.0, place)
    image = np.stack([ndimage.map_coordinates(layer, filled, order=3, mode="nearest") for layer in soft])
    grain = np.random.default_rng([seed, 73]).standard_normal(image.shape, dtype=np.float32)
    image = np.where(missing, np.nan, image + np.float32(noise) * grain)
    return SimulatedView(
        image.astype(np.float32), ground, interior, exterior, soft, visible, scene.dem, scene.grid, scene.bands
    )


def _frame_visible(scene: _Scene, interior: Interior, exterior: Exterior, shape: tuple[int, int]) -> BoolArray:
    """Map pixels inside the image whose ray from the camera meets no terrain before."""
    affine = scene.grid.transform
    row, column = np.indices(scene.dem.shape, dtype=np.float64)
    points = np.stack([affine.c + (column + 0.5) * affine.a, affine.f + (row + 0.5) * affine.e, scene.dem])
    seen = project(interior, exterior, points)
    with np.errstate(invalid="ignore"):
        inside = (np.abs(seen[0] - 0.5 * (shape[0] - 1)) <= 0.5 * shape[0]) & (
            np.abs(seen[1] - 0.5 * (shape[1] - 1)) <= 0.5 * shape[1]
        )
    center = np.array([exterior.east, exterior.north, exterior.height])
    met = meet_terrain(scene.dem, scene.grid, exterior, np.moveaxis(points, 0, -1) - center)
    away = np.hypot(met[0] - points[0], met[1] - points[1])
    return np.asarray(inside & (np.nan_to_num(away, nan=np.inf) < 0.75 * scene.pixel_size))


def _hit(scene: _Scene, ground: FloatArray) -> BoolArray:
    """Map pixels that a ray of the image met."""
    found: npt.NDArray[np.bool_] = np.zeros(scene.dem.shape, dtype=np.bool_)
    place = _pixels(scene, ground)[:, ~np.isnan(ground[0])]
    row, column = np.rint(place).astype(np.int64)
    found[row, column] = True
    return np.asarray(ndimage.binary_closing(found), dtype=np.bool_)
