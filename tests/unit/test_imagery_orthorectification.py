"""Frames over a hill and a building, rendered ray by ray, come back as the map they were painted from."""

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from rasterio import Affine

from processors.imagery import frame_camera, orthorectification, qa, terrain
from processors.quality import BadInputError

UTM = "EPSG:32648"
WEST, NORTH = 500_000.0, 3_200_240.0
CAMERA = frame_camera.FrameCamera(300, 400, (0.8, 0.8), (0.01, -0.005), (-0.08, 0.02, 0.0), (1e-3, -5e-4))
VIEW = frame_camera.FrameView(
    CAMERA, frame_camera.exterior_from_angles(500_100.0, 3_200_090.0, 460.0, omega=8.0, phi=-6.0, kappa=25.0)
)
SIGHT = frame_camera.FrameView(CAMERA, VIEW.exterior)


def height(x, y):
    """A hill, and a building of 30 m."""
    hill = 200.0 + 25.0 * np.exp(-(((x - 500_160.0) / 40.0) ** 2 + ((y - 3_200_150.0) / 50.0) ** 2))
    return np.where((np.abs(x - 500_060.0) < 15.0) & (np.abs(y - 3_200_100.0) < 20.0), 230.0, hill)


def paint(x, y):
    """Two bands, no detail finer than some pixels."""
    return np.stack([np.sin(x / 6.0) + np.cos(y / 7.0), 0.01 * (x - WEST) + np.sin((x + y) / 9.0)])


def grid_of(resolution, size=(240.0, 240.0)):
    shape = round(size[0] / resolution), round(size[1] / resolution)
    return GeoBox(shape, Affine(resolution, 0, WEST, 0, -resolution, NORTH), UTM)


def coordinates(geobox):
    y, x = np.mgrid[: geobox.shape[0], : geobox.shape[1]] + 0.5
    return WEST + x * geobox.transform.a, NORTH + y * geobox.transform.e


@pytest.fixture(scope="module")
def surface():
    geobox = grid_of(0.5)
    return terrain.Terrain(height(*coordinates(geobox)).astype(np.float32), geobox)


def landed():
    """Where the ray of every pixel first goes below the surface: steps of half a meter, then halvings."""
    row, column = np.mgrid[: CAMERA.rows, : CAMERA.columns].astype(float)
    ray = SIGHT.direction(row, column)
    eye = SIGHT.exterior.position

    def above(t):
        x, y, z = (eye[k] + t * ray[..., k] for k in range(3))
        return z - height(x, y)

    t = (231.0 - eye[2]) / ray[..., 2]
    falling = np.ones(t.shape, dtype=bool)
    while falling.any():
        falling &= above(t) > 0
        t = np.where(falling, t + 0.5, t)
    low, high = t - 0.5, t
    for _ in range(25):
        middle = 0.5 * (low + high)
        down = above(middle) <= 0
        low, high = np.where(down, low, middle), np.where(down, middle, high)
    return eye + high[..., None] * ray


@pytest.fixture(scope="module")
def rendered():
    place = landed()
    return place, paint(place[..., 0], place[..., 1]).astype(np.float32)


@pytest.fixture(scope="module")
def ortho(surface, rendered):
    return orthorectification.frame(rendered[1], VIEW, surface=surface, target=grid_of(1.0))


def truly_hidden(x, y, rendered):
    """Places whose pixel shows a place more than 3 m away, and ones that are surely seen."""
    row, column = SIGHT.image_from_world(x, y, height(x, y))
    inside = (row > 1) & (row < CAMERA.rows - 2) & (column > 1) & (column < CAMERA.columns - 2)
    r, c = (np.where(inside, np.rint(v), 0).astype(int) for v in (row, column))
    shown = rendered[0][r, c]
    away = np.hypot(shown[..., 0] - x, shown[..., 1] - y)
    return inside & (away > 3.0), inside & (away < 0.8)


def test_the_painted_map_returns(ortho, rendered):
    x, y = coordinates(grid_of(1.0))
    _, seen = truly_hidden(x, y, rendered)
    usable = seen & ~ortho.hidden
    assert usable.mean() > 0.5
    error = np.abs(ortho.values - paint(x, y))[:, usable]
    assert np.percentile(error, 99) < 0.05
    assert np.median(error) < 0.008


def test_without_the_surface_the_map_would_be_wrong(surface, rendered):
    flat = surface._replace(height=np.full_like(surface.height, 200.0))
    x, y = coordinates(grid_of(1.0))
    made = orthorectification.frame(rendered[1], VIEW, surface=flat, target=grid_of(1.0))
    assert np.nanpercentile(np.abs(made.values - paint(x, y)), 95) > 0.5


def test_hidden_places_are_found_empty_and_marked(ortho, rendered):
    x, y = coordinates(grid_of(1.0))
    hidden, seen = truly_hidden(x, y, rendered)
    assert hidden.sum() > 200
    assert (ortho.hidden & hidden).sum() > 0.93 * hidden.sum()
    assert (ortho.hidden & seen).sum() < 0.01 * seen.sum()
    assert np.isnan(ortho.values[:, ortho.hidden]).all()
    assert (ortho.bits[ortho.hidden] == qa.QaBit.NODATA | qa.QaBit.LAYOVER).all()


def test_unless_hidden_places_are_searched_they_show_the_roof_twice(surface, rendered):
    made = orthorectification.frame(
        rendered[1],
        VIEW,
        surface=surface,
        target=grid_of(1.0),
        parameters=orthorectification.OrthorectificationParameters(hide=False),
    )
    x, y = coordinates(grid_of(1.0))
    hidden, _ = truly_hidden(x, y, rendered)
    assert not made.hidden.any()
    assert np.abs(made.values - paint(x, y))[:, hidden].mean() > 0.3


def test_cubic_samples_are_nearer_than_bilinear_ones(surface, rendered):
    x, y = coordinates(grid_of(1.0))
    _, seen = truly_hidden(x, y, rendered)
    misses = []
    for sampling in ("bilinear", "cubic"):
        made = orthorectification.frame(
            rendered[1],
            VIEW,
            surface=surface,
            target=grid_of(1.0),
            parameters=orthorectification.OrthorectificationParameters(sampling=sampling),
        )
        misses.append(np.nanmedian(np.abs(made.values - paint(x, y))[:, seen & ~made.hidden]))
    assert misses[1] < 0.7 * misses[0]


def test_parts_of_the_grid_give_what_the_whole_gives(ortho, surface, rendered):
    whole = grid_of(1.0)
    for row, column, size in ((0, 0, (100, 240)), (100, 37, (140, 90))):
        part = GeoBox(size, Affine(1.0, 0, WEST + column, 0, -1.0, NORTH - row), UTM)
        made = orthorectification.frame(rendered[1], VIEW, surface=surface, target=part)
        window = (slice(row, row + size[0]), slice(column, column + size[1]))
        np.testing.assert_array_equal(made.values, ortho.values[(slice(None), *window)])
        np.testing.assert_array_equal(made.bits, ortho.bits[window])
    assert whole.shape == ortho.bits.shape


def test_unknown_heights_and_places_outside_the_frame_are_no_data(surface, rendered):
    holed = surface.height.copy()
    holed[200:220, 240:260] = np.nan
    made = orthorectification.frame(rendered[1], VIEW, surface=surface._replace(height=holed), target=grid_of(1.0))
    assert made.void[101:109, 121:129].all()
    assert (made.bits[101:109, 121:129] == qa.QaBit.NODATA).all()
    assert np.isnan(made.values[:, 0, 0]).all()
    assert not made.void[0, 0]


class Parallel:
    """A camera far away that looks along one direction: a linear model in longitude, latitude and height."""

    def __init__(self):
        x, y = WEST + 120.0, NORTH - 120.0
        self.middle = [float(v[0]) for v in terrain.transformed(grid_of(1.0), np.array([x]), np.array([y]))]

    def project(self, longitude, latitude, height):
        east = (longitude - self.middle[0]) * 111_320.0 * np.cos(np.radians(self.middle[1]))
        north = (latitude - self.middle[1]) * 110_860.0
        row = 150.0 - north + 0.1 * (height - 200.0)
        column = 150.0 + east + 0.9 * (height - 200.0)
        return row, column


def test_images_of_a_model_lose_their_parallax_and_what_a_roof_hides(surface):
    """A place higher by 1 m lies 0.9 pixel to the right: the camera stands in the west, shadows lie east of roofs."""
    image = np.zeros((1, 300, 300), dtype=np.float32)
    image[0] = np.arange(300)[None, :]
    made = orthorectification.image_by_model(image, Parallel(), surface=surface, target=grid_of(1.0))
    x, y = coordinates(grid_of(1.0))
    expected = 150.0 + (x - WEST - 120.0) + 0.9 * (height(x, y) - 200.0)
    assert np.nanmax(np.abs(made.values[0] - expected)[20:-20, 20:-20]) < 0.6
    row = 140  # y = 3,200,099.5, through the building, whose eastern wall is at x = 75
    shadow = np.flatnonzero(made.hidden[row])
    assert shadow.min() == pytest.approx(75, abs=1.5)
    assert shadow.size == pytest.approx(0.9 * 29.5, abs=3)
    free = orthorectification.image_by_model(
        image,
        Parallel(),
        surface=surface,
        target=grid_of(1.0),
        parameters=orthorectification.OrthorectificationParameters(hide=False),
    )
    assert not free.hidden.any()


def test_footprint_holds_what_the_frame_shows_and_is_aligned(ortho, surface):
    box = orthorectification.footprint(VIEW, surface, resolution=2.0)
    seen = np.isfinite(ortho.values[0])
    x, y = coordinates(grid_of(1.0))
    left, bottom, right, top = box.boundingbox.bbox
    assert left <= x[seen].min() <= left + 4
    assert top - 4 <= y[seen].max() <= top
    assert (left % 2, top % 2) == (0, 0)
    assert bottom < top
    assert left < right


def test_what_cannot_be_orthorectified_is_refused(surface, rendered):
    far = GeoBox((10, 10), Affine(1.0, 0, 510_000, 0, -1.0, 3_200_000), UTM)
    other = GeoBox((10, 10), Affine(1.0, 0, WEST, 0, -1.0, NORTH), "EPSG:32649")
    image = rendered[1]
    for change, cause in (
        ({"image": image[:, 1:]}, "camera_model_missing"),
        ({"target": far}, "outside"),
        ({"target": other}, "crs_mismatch"),
    ):
        options = {"image": image, "view": VIEW, "surface": surface, "target": grid_of(1.0)} | change
        with pytest.raises(BadInputError) as refusal:
            orthorectification.frame(**options)
        assert refusal.value.cause == cause
    away = VIEW._replace(exterior=VIEW.exterior._replace(position=VIEW.exterior.position + np.array([5000.0, 0, 0])))
    with pytest.raises(BadInputError, match="does not show"):
        orthorectification.footprint(away, surface, resolution=1.0)


def test_footprint_of_a_model_has_the_size_of_its_pixels(surface):
    box = orthorectification.model_footprint(Parallel(), surface, shape=(300, 300))
    assert box.transform.a == 1.0
    twice = orthorectification.model_footprint(Parallel(), surface, shape=(300, 300), resolution=4.0)
    assert twice.transform.a == 4.0
    with pytest.raises(BadInputError, match="does not show"):
        orthorectification.model_footprint(Parallel(), surface, shape=(1, 1))


def test_a_model_that_does_not_reach_the_surface_is_refused(surface):
    class Elsewhere(Parallel):
        calls = 0

        def project(self, longitude, latitude, height):
            row, column = super().project(longitude, latitude, height)
            self.calls += 1
            return (row, column) if self.calls == 1 else (row * np.nan, column * np.nan)

    with pytest.raises(BadInputError) as refusal:
        orthorectification.image_by_model(
            np.zeros((1, 300, 300), np.float32), Elsewhere(), surface=surface, target=grid_of(1.0)
        )
    assert refusal.value.cause == "outside"


def test_samples_beside_unknown_pixels_are_unknown_and_at_pixels_exact():
    image = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    image[0, 1, 1] = np.nan
    for sample in (orthorectification._sampling.bilinear, orthorectification._sampling.cubic):
        result = np.empty((1, 5), dtype=np.float32)
        sample(image, np.array([3.0, 1.5, 0.0, -0.6, 2.0]), np.array([4.0, 1.5, 0.0, 1.0, np.nan]), result)
        np.testing.assert_array_equal(result[0], [19.0, np.nan, 0.0, np.nan, np.nan])
