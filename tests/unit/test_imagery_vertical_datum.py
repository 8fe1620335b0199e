"""Vertical datum and elevation models: never silently wrong, voids never terrain."""

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from processors.geodesy import geoid, vertical_datum
from processors.imagery import elevation_model, grid
from processors.quality import BadInputError

LATITUDE, LONGITUDE = 29.56, 106.55
ELLIPSOID, EGM96 = vertical_datum.named("ellipsoid"), vertical_datum.named("egm96")
UTM = "EPSG:32648"


def cause(error: pytest.ExceptionInfo[BadInputError]) -> str:
    return error.value.cause


def test_undulation_at_chongqing_is_38_7_m_below_the_ellipsoid():
    """PROJ without a grid would return 300.0 m unchanged."""
    above = vertical_datum.heights(300.0, LATITUDE, LONGITUDE, source=ELLIPSOID, target=EGM96)
    assert float(above) == pytest.approx(338.72, abs=0.1)
    back = vertical_datum.heights(above, LATITUDE, LONGITUDE, source=EGM96, target=ELLIPSOID)
    assert float(back) == pytest.approx(300.0, abs=1e-9)


@pytest.mark.parametrize("name", ["egm2008", "EPSG:5737", "EPSG:3855"])
def test_datum_whose_grid_is_not_installed_is_refused_and_says_which(name):
    with pytest.raises(BadInputError) as refusal:
        vertical_datum.heights(300.0, LATITUDE, LONGITUDE, source=ELLIPSOID, target=vertical_datum.named(name))
    assert cause(refusal) == "geoid_missing"
    assert "installed" in str(refusal.value)


def test_same_datum_needs_no_geoid():
    datum = vertical_datum.named("egm2008")
    assert float(vertical_datum.heights(300.0, LATITUDE, LONGITUDE, source=datum, target=datum)) == 300.0


def test_missing_heights_stay_missing():
    found = vertical_datum.heights([np.nan, 1.0], [LATITUDE] * 2, [LONGITUDE] * 2, source=EGM96, target=ELLIPSOID)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


@pytest.mark.parametrize("name", ["nonsense", "EPSG:32648", "", "EPSG:4326"])
def test_names_without_vertical_datum_are_refused(name):
    with pytest.raises(BadInputError) as refusal:
        vertical_datum.named(name)
    assert cause(refusal) == "vertical_datum_missing"


@pytest.mark.parametrize(
    ("system", "name"),
    [("EPSG:4979", "ellipsoid"), ("EPSG:5773", "egm96"), ("EPSG:4326+5773", "egm96"), ("EPSG:32648+3855", "egm2008")],
)
def test_datum_of_compound_and_three_dimensional_systems(system, name):
    found = vertical_datum.of_system(pyproj.CRS.from_user_input(system))
    assert found is not None
    assert found.name == name


def test_horizontal_system_states_no_datum():
    assert vertical_datum.of_system(pyproj.CRS.from_epsg(32648)) is None


def test_unnamed_vertical_system_is_known_by_its_name_or_refused():
    wkt = pyproj.CRS.from_user_input("EPSG:4326+3855").to_wkt("WKT1_GDAL")
    bare = wkt.replace(',AUTHORITY["EPSG","3855"]', "").replace(',AUTHORITY["EPSG","1027"]', "")
    found = vertical_datum.of_system(pyproj.CRS.from_wkt(bare))
    assert found is not None
    assert found.name == "egm2008"
    with pytest.raises(BadInputError) as refusal:
        vertical_datum.of_system(pyproj.CRS.from_wkt(bare.replace("EGM2008", "town")))
    assert cause(refusal) == "vertical_datum_missing"


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "do not cover"), (500.0, "beyond any geoid")])
def test_supplied_geoid_that_does_not_cover_or_cannot_be_one_is_refused(value, reason):
    datum = vertical_datum.Datum("mine", lambda latitude, _: np.full(np.shape(latitude), value))
    with pytest.raises(BadInputError, match=reason) as refusal:
        vertical_datum.heights(1.0, LATITUDE, LONGITUDE, source=datum, target=ELLIPSOID)
    assert cause(refusal) == "geoid_incomplete"


def area(shape: tuple[int, int] = (40, 50), resolution: float = 30.0, crs: str = UTM) -> GeoBox:
    return GeoBox(shape, Affine(resolution, 0, 660_000, 0, -resolution, 3_280_000), crs)


def slope(shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (250.0 + 3.0 * rows + 2.0 * columns).astype(np.float32)


def model(numbers: np.ndarray, datum: str | None = "egm96", **options) -> elevation_model.ElevationModel:
    settings = {"geobox": area(numbers.shape), "nodata": None, **options}
    return elevation_model.model_from_array(numbers, datum=datum, **settings)


def test_elevation_without_datum_is_refused():
    with pytest.raises(BadInputError) as refusal:
        model(slope(), datum=None)
    assert cause(refusal) == "vertical_datum_missing"


def test_datum_in_the_file_is_used_and_not_overruled():
    geobox = area(crs=pyproj.CRS.from_user_input("EPSG:32648+5773").to_wkt())
    assert model(slope(), datum=None, geobox=geobox).datum.name == "egm96"
    assert model(slope(), datum="egm96", geobox=geobox).datum.name == "egm96"
    with pytest.raises(BadInputError) as refusal:
        model(slope(), datum="ellipsoid", geobox=geobox)
    assert cause(refusal) == "vertical_datum_contradicted"


def test_terrain_on_the_ellipsoid_is_lower_by_the_undulation():
    terrain = model(slope()).on_grid(area(), datum=ELLIPSOID)
    rows, columns = np.mgrid[:40, :50] + 0.5
    x, y = area().transform @ (columns, rows)
    longitude, latitude = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(terrain.height, slope() + geoid.undulation(latitude, longitude), atol=2e-3)
    assert terrain.datum == "ellipsoid"
    assert not terrain.void.any()


@pytest.mark.parametrize("mark", [-32768.0, -9999.0, np.nan, 12.5])
def test_voids_are_not_terrain_and_narrow_ones_are_bridged_and_marked(mark):
    numbers = slope()
    numbers[10:13, 10:13] = mark
    found = model(numbers, nodata=12.5).on_grid(area(), datum=EGM96)
    assert found.void.sum() == 9
    assert found.void[10:13, 10:13].all()
    np.testing.assert_allclose(found.height, slope(), atol=3.0)


def test_wide_void_stays_void():
    numbers = slope((60, 60))
    numbers[10:50, 10:50] = -32768
    found = model(numbers).on_grid(area((60, 60)), datum=EGM96)
    assert np.isnan(found.height[30, 30])
    assert np.isfinite(found.height[12, 12])


def test_zero_plateau_in_the_mountains_is_a_void_but_the_sea_is_not():
    numbers = slope()
    numbers[20:26, 20:26] = 0.0
    assert np.isnan(model(numbers).height[20:26, 20:26]).all()
    numbers[30, 30] = 0.0
    assert model(numbers).height[30, 30] == 0.0
    coast = np.maximum(slope() - 330.0, 0.0)
    assert np.isfinite(model(coast).height).all()


def test_raster_of_voids_or_of_other_units_is_refused():
    with pytest.raises(BadInputError) as refusal:
        model(np.full((40, 50), -32768, dtype=np.int16))
    assert cause(refusal) == "all_nodata"
    with pytest.raises(BadInputError) as refusal:
        model(slope() * 100.0)
    assert cause(refusal) == "elevation_implausible"


def test_model_that_does_not_reach_the_area_is_refused():
    far = GeoBox((10, 10), Affine(30, 0, 700_000, 0, -30, 3_280_000), UTM)
    with pytest.raises(BadInputError) as refusal:
        model(slope()).on_grid(far, datum=EGM96)
    assert cause(refusal) == "outside_area"


def test_geoid_raster_reproduces_its_nodes_and_knows_its_edges():
    transform = Affine(0.25, 0, 106.0, 0, -0.25, 30.0)
    latitude, longitude = 30.0 - 0.25 * (np.arange(8) + 0.5), 106.0 + 0.25 * (np.arange(8) + 0.5)
    nodes = geoid.undulation(latitude[:, None], longitude[None, :])
    datum = elevation_model.geoid_from_array(nodes, transform=transform, name="copy")
    inner = datum.undulation(np.full(3, 29.2), np.array([106.9, 107.0, 107.1]))
    np.testing.assert_allclose(inner, geoid.undulation(np.full(3, 29.2), np.array([106.9, 107.0, 107.1])), atol=0.02)
    assert np.isnan(datum.undulation(np.array([31.0]), np.array([107.0])))[0]
    assert grid.pixel_size(area()) == 30.0


@pytest.fixture
def installed_grid(tmp_path):
    """A grid of EGM2008's name and format where PROJ finds it, here filled with EGM96, north of 25 degrees."""
    latitude, longitude = 35.0 - 0.25 * np.arange(41), 100.0 + 0.25 * np.arange(41)
    transform = Affine(0.25, 0, 99.875, 0, -0.25, 35.125)
    size = {"count": 1, "height": 41, "width": 41, "dtype": "float32"}
    path = tmp_path / "us_nga_egm08_25.tif"
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4979", transform=transform, **size) as out:
        out.write(geoid.undulation(latitude[:, None], longitude[None, :]).astype(np.float32), 1)
        out.update_tags(
            AREA_OR_POINT="Point", TYPE="VERTICAL_OFFSET_GEOGRAPHIC_TO_VERTICAL", target_crs_epsg_code="3855"
        )
        out.update_tags(1, DESCRIPTION="geoid_undulation")
        out.units = ("metre",)
    before = pyproj.datadir.get_data_dir()
    pyproj.datadir.append_data_dir(str(tmp_path))
    yield
    pyproj.datadir.set_data_dir(before)


@pytest.mark.usefixtures("installed_grid")
def test_installed_grid_of_proj_is_used_where_it_reaches_and_refused_beyond():
    datum = vertical_datum.named("egm2008")
    found = vertical_datum.heights(300.0, LATITUDE, LONGITUDE, source=ELLIPSOID, target=datum)
    assert float(found) == pytest.approx(338.72, abs=0.1)
    with pytest.raises(BadInputError) as refusal:
        vertical_datum.heights(300.0, 10.0, LONGITUDE, source=ELLIPSOID, target=datum)
    assert cause(refusal) == "geoid_incomplete"


def test_vertical_codes_that_are_none_are_refused():
    with pytest.raises(BadInputError) as refusal:
        vertical_datum.heights(1.0, LATITUDE, LONGITUDE, source=vertical_datum.Datum("EPSG:1"), target=ELLIPSOID)
    assert cause(refusal) == "geoid_missing"
