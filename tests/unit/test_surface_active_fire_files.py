"""Fires of scenes in files: points with power, marked static sources, and refusals that say what is missing."""

import datetime
import json

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.warp
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from infra import cli
from infra.imagery import tiling
from infra.surface import active_fire as active_fire_file
from processors.imagery import grid, qa
from processors.quality import BadInputError
from products.sectors import active_fire as product
from products.sectors import definition
from products.sectors import fire_list as fire_list_product
from retrieval.surface import active_fire, fire_power

C1, C2 = 1.191_042_972e8, 1.438_776_877e4
SIDE, PIXEL = 64, 1000.0
WEST, NORTH = 600_000.0, 3_300_000.0
NOON = datetime.datetime(2024, 3, 1, 5, 30, tzinfo=datetime.UTC)
FIRES = {(20, 20): 40.0, (45, 30): 15.0}
BANDS = {"t4": 1, "t11": 2, "red": 3, "nir": 4}
SUN = Affine(PIXEL, 0.0, WEST, 0.0, -PIXEL, NORTH)


def planck(temperature, wavelength):
    return C1 / wavelength**5 / np.expm1(C2 / (wavelength * np.asarray(temperature)))


def kelvin(radiance, wavelength):
    return C2 / (wavelength * np.log1p(C1 / (wavelength**5 * radiance)))


def layers(fires=FIRES, *, seed=1, size=PIXEL, waves=(3.96, 11.03), side=SIDE):
    """Temperatures and reflectance of ground on which fires of 950 K burn."""
    ground = 300.0 + np.random.default_rng(seed).normal(0.0, 0.8, (side, side))
    found = []
    for wave in waves:
        light = planck(ground, wave)
        for place, power in fires.items():
            share = power * 1e6 / (5.670374e-8 * 950.0**4) / size**2
            light[place] += share * (planck(950.0, wave) - light[place])
        found.append(kelvin(light, wave).astype(np.float32))
    shape = (side, side)
    return [*found, np.full(shape, 0.08, dtype=np.float32), np.full(shape, 0.28, dtype=np.float32)]


def write(path, values, *, crs="EPSG:32648", transform=SUN, tags=None, **profile):
    rows, columns = values[0].shape
    options = {"height": rows, "width": columns, "count": len(values), "dtype": values[0].dtype.name}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **options, **profile) as target:
        for number, layer in enumerate(values, 1):
            target.write(layer, number)
        target.update_tags(**(tags or {}))
    return path


def geographic(place):
    x, y = SUN @ (place[1] + 0.5, place[0] + 0.5)
    (longitude,), (latitude,) = rasterio.warp.transform("EPSG:32648", "EPSG:4326", [x], [y])
    return longitude, latitude


@pytest.fixture
def scene(tmp_path):
    return write(tmp_path / "scene.tif", layers())


def read(path):
    about, _, shapes, columns = pyogrio.raw.read(path)
    return dict(zip(about["fields"], columns, strict=True)), shapely.from_wkb(shapes)


def run(scene, out, **given):
    options = {"bands": BANDS, "sensor": "modis", "geometry": active_fire_file.Geometry(NOON)} | given
    return active_fire_file.run(scene, out, **options)


def test_fires_come_out_with_place_time_power_and_confidence(scene, tmp_path):
    report = run(scene, tmp_path / "fires.gpkg", raster=tmp_path / "fires.tif")
    columns, shapes = read(tmp_path / "fires.gpkg")
    assert report["fires"] == len(shapes) == 2
    assert set(columns) == {field.name for field in product.FIELDS}
    for place, power in FIRES.items():
        longitude, latitude = geographic(place)
        number = int(np.argmin(np.hypot(columns["lon"] - longitude, columns["lat"] - latitude)))
        assert columns["lon"][number] == pytest.approx(longitude, abs=2e-3)
        assert columns["lat"][number] == pytest.approx(latitude, abs=2e-3)
        assert columns["frp_mw"][number] == pytest.approx(power, rel=0.25)
        assert columns["frp_sigma_mw"][number] > 0.0
        assert columns["daynight"][number] == "D"
        assert columns["sensor"][number] == "modis"
        assert np.datetime64(columns["time"][number]) == np.datetime64("2024-03-01T05:30")
    with rasterio.open(tmp_path / "fires.tif") as result:
        classes, probability, confidence = result.read()
    assert {tuple(place) for place in np.argwhere(classes == 1).tolist()} == set(FIRES)
    assert (confidence[classes == 1] >= 1).all()
    assert (probability[classes == 0] > 0.9).all()


@pytest.mark.parametrize("suffix", ["fgb", "geojson"])
def test_points_are_written_in_other_formats_too(scene, tmp_path, suffix):
    run(scene, tmp_path / f"fires.{suffix}")
    assert len(read(tmp_path / f"fires.{suffix}")[1]) == 2


def test_a_scene_without_fires_gives_an_empty_layer(tmp_path):
    scene = write(tmp_path / "quiet.tif", layers({}))
    assert run(scene, tmp_path / "fires.gpkg")["fires"] == 0
    assert pyogrio.read_info(tmp_path / "fires.gpkg")["features"] == 0


@pytest.mark.parametrize("form", ["csv", "point", "outline"])
def test_known_works_are_marked_and_not_counted(scene, tmp_path, form):
    longitude, latitude = geographic((20, 20))
    if form == "csv":
        static = tmp_path / "works.csv"
        static.write_text(f"name,lon,lat,radius_m\nsteel,{longitude},{latitude},300\nkiln,100,20,\n")
    else:
        static = tmp_path / "works.geojson"
        point = shapely.Point(longitude, latitude)
        shape = point if form == "point" else point.buffer(0.004)
        feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        static.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    report = run(scene, tmp_path / "fires.gpkg", raster=tmp_path / "fires.tif", static=static)
    columns, _ = read(tmp_path / "fires.gpkg")
    assert (report["fires"], report["static_sources"]) == (1, 1)
    assert columns["static_flag"].tolist() == [True, False]
    with rasterio.open(tmp_path / "fires.tif") as result:
        classes = result.read(1)
    assert classes[20, 20] == 2
    assert classes[45, 30] == 1


def test_a_history_of_fires_finds_the_works(scene, tmp_path):
    longitude, latitude = geographic((20, 20))
    rows = [f"{latitude},{longitude},310,2023-{month:02d}-15,1200" for month in range(1, 13)]
    history = tmp_path / "history.csv"
    history.write_text("\n".join(["latitude,longitude,brightness,acq_date,acq_time", *rows]))
    report = run(scene, tmp_path / "fires.gpkg", history=history)
    assert (report["fires"], report["static_sources"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("lon,name\n107,x\n", "columns_missing"),
        ("lon,lat\n107,north\n", "static_invalid"),
        ("lon,lat\n107,95\n", "static_invalid"),
        ("lon,lat,radius_m\n107,29,-5\n", "static_invalid"),
    ],
)
def test_a_table_of_works_that_cannot_be_read_is_refused_by_line(tmp_path, text, cause):
    path = tmp_path / "works.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match="line 2") as refused:
        active_fire_file.read_static(path)
    assert refused.value.cause == cause


def test_cloud_hides_thin_cloud_and_shadow_do_not(scene, tmp_path):
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[:30], mask[40:50], mask[62:] = 2, 1, 255
    cloud = write(tmp_path / "cloud.tif", [mask])
    report = run(scene, tmp_path / "fires.tif", cloud=cloud)
    with rasterio.open(tmp_path / "fires.tif") as result:
        classes = result.read(1)
    assert (classes[:30] == 255).all()
    assert (classes[62:] == 255).all()
    assert classes[45, 30] == 1
    assert report["left_out"]["cloud"] == 32 * SIDE
    binary = write(tmp_path / "binary.tif", [np.minimum(mask, 1)])
    run(scene, tmp_path / "fires.tif", cloud=binary)
    with rasterio.open(tmp_path / "fires.tif") as result:
        assert result.read(1)[45, 30] == 255


def test_masks_on_other_grids_are_brought_onto_the_scene(scene, tmp_path):
    mask = np.zeros((SIDE // 2, SIDE // 2), dtype=np.uint8)
    mask[:15] = 2
    coarse = Affine(2 * PIXEL, 0.0, WEST, 0.0, -2 * PIXEL, NORTH)
    cloud = write(tmp_path / "cloud.tif", [mask], transform=coarse)
    water = write(tmp_path / "water.tif", [np.zeros_like(mask)], transform=coarse)
    run(scene, tmp_path / "fires.tif", cloud=cloud, water=water)
    with rasterio.open(tmp_path / "fires.tif") as result:
        classes = result.read(1)
    assert (classes[:30] == 255).all()
    assert classes[45, 30] == 1


def test_a_whole_scene_under_cloud_is_refused(scene, tmp_path):
    cloud = write(tmp_path / "cloud.tif", [np.full((SIDE, SIDE), 2, dtype=np.uint8)])
    with pytest.raises(BadInputError, match="cloud everywhere"):
        run(scene, tmp_path / "fires.tif", cloud=cloud)


def test_tiles_do_not_show(tmp_path, monkeypatch):
    draw = np.random.default_rng(5)
    fires = {tuple(place): float(10 ** draw.uniform(0.5, 2.0)) for place in draw.integers(2, 126, (30, 2)).tolist()}
    path = write(tmp_path / "scene.tif", layers(fires, side=128))
    whole = run(path, tmp_path / "whole.gpkg", raster=tmp_path / "whole.tif")
    tiles = tiling.tiles
    monkeypatch.setattr(tiling, "tiles", lambda shape, **given: tiles(shape, **{"size": 48} | given))
    parts = run(path, tmp_path / "parts.gpkg", raster=tmp_path / "parts.tif")
    assert whole == parts
    first, second = (read(tmp_path / f"{name}.gpkg")[0] for name in ("whole", "parts"))
    np.testing.assert_array_equal(first["frp_mw"], second["frp_mw"])
    with rasterio.open(tmp_path / "whole.tif") as one, rasterio.open(tmp_path / "parts.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_day_is_told_from_time_and_place_or_the_sun_and_never_assumed(scene, tmp_path):
    out = tmp_path / "fires.gpkg"
    night = active_fire_file.Geometry(
        datetime.datetime(2024, 3, 1, 23, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=8)))
    )
    run(scene, out, geometry=night)
    assert read(out)[0]["daynight"].tolist() == ["N", "N"]
    run(scene, out, geometry=active_fire_file.Geometry(sun_zenith=30.0))
    columns, _ = read(out)
    assert columns["daynight"].tolist() == ["D", "D"]
    assert np.isnat(columns["time"].astype("datetime64[ms]")).all()
    tagged = write(tmp_path / "tagged.tif", layers(), tags={"TIFFTAG_DATETIME": "2024:03:01 15:30:00"})
    run(tagged, out, geometry=None)
    assert read(out)[0]["daynight"].tolist() == ["N", "N"]
    zenith = write(tmp_path / "zenith.tif", [*layers(), np.full((SIDE, SIDE), 120.0, dtype=np.float32)])
    run(zenith, out, geometry=None, bands=BANDS | {"sun_zenith": 5})
    assert read(out)[0]["daynight"].tolist() == ["N", "N"]
    with pytest.raises(BadInputError, match="--time or --sun-zenith"):
        run(write(tmp_path / "odd.tif", layers(), tags={"time": "noon"}), out, geometry=None)


def test_radiance_is_taken_for_radiance_only_when_it_is_said(tmp_path):
    values = layers()
    light = [planck(values[0].astype(float), 3.96), planck(values[1].astype(float), 11.03)]
    path = write(tmp_path / "light.tif", [layer.astype(np.float32) for layer in light] + values[2:])
    with pytest.raises(BadInputError, match="--radiance") as refused:
        run(path, tmp_path / "fires.gpkg")
    assert refused.value.cause == "temperature_implausible"
    assert run(path, tmp_path / "fires.gpkg", radiance=True)["fires"] == 2


def test_single_impossible_temperatures_are_left_out_and_counted(tmp_path):
    values = layers()
    values[0][5, 5] = 5000.0
    report = run(write(tmp_path / "scene.tif", values), tmp_path / "fires.tif")
    assert report["left_out"] == {"t4_implausible": 1}
    with rasterio.open(tmp_path / "fires.tif") as result:
        assert result.read(1)[5, 5] == 255


def test_a_saturating_band_takes_its_power_from_the_other(tmp_path):
    size = 375.0
    fires = {(20, 20): 300.0}
    t4, t11, red, nir = layers(fires, size=size, waves=(3.74, 11.45))
    m13 = layers(fires, size=size, waves=(4.05,))[0]
    t4 = np.minimum(t4, np.float32(367.0))
    transform = Affine(size, 0.0, WEST, 0.0, -size, NORTH)
    path = write(tmp_path / "viirs.tif", [t4, t11, red, nir, m13], transform=transform)
    report = run(path, tmp_path / "fires.gpkg", sensor=None, bands=BANDS | {"m13": 5})
    assert report["fire_power_mw"] == pytest.approx(300.0, rel=0.25)
    assert any("VIIRS" in text for text in report["warnings"])
    alone = run(path, tmp_path / "fires.gpkg", sensor="viirs")
    assert alone["power_lower_limits"] == 1
    assert any("lower limit" in text for text in alone["warnings"])


def test_other_wavelengths_and_transmission_scale_the_power(scene, tmp_path):
    plain = run(scene, tmp_path / "fires.gpkg")["fire_power_mw"]
    hazy = run(scene, tmp_path / "fires.gpkg", transmission=0.8)["fire_power_mw"]
    assert hazy == pytest.approx(plain / 0.8, rel=1e-3)
    other = run(scene, tmp_path / "fires.gpkg", wavelengths={"t4": 3.96, "t11": 11.03, "m13": 4.0})["fire_power_mw"]
    assert other == pytest.approx(plain, rel=0.05)


def test_degrees_count_with_their_area_on_the_ground(tmp_path):
    step = 0.01
    transform = Affine(step, 0.0, 106.0, 0.0, -step, 30.0)
    area = 111_320.0 * step * np.cos(np.radians(29.8)) * 110_850.0 * step
    path = write(
        tmp_path / "degrees.tif",
        layers({(20, 20): 40.0}, size=np.sqrt(area)),
        crs="EPSG:4326",
        transform=transform,
    )
    report = run(path, tmp_path / "fires.gpkg", sensor=None)
    assert report["sensor"] == "modis"
    assert report["fire_power_mw"] == pytest.approx(40.0, rel=0.2)


def test_a_raster_without_system_gives_a_map_but_no_points(tmp_path):
    path = write(tmp_path / "plain.tif", layers(), crs=None)
    sun = active_fire_file.Geometry(sun_zenith=30.0)
    report = run(path, tmp_path / "fires.tif", geometry=sun)
    assert report["fires"] == 2
    wide = run(path, tmp_path / "fires.tif", geometry=sun._replace(scan_angle=45.0))
    assert wide["fire_power_mw"] > 2.0 * report["fire_power_mw"]
    with pytest.raises(BadInputError, match="place the fires"):
        run(path, tmp_path / "fires.gpkg", geometry=sun)
    works = tmp_path / "works.csv"
    works.write_text("lon,lat\n107,29\n")
    with pytest.raises(BadInputError, match="static sources"):
        run(path, tmp_path / "fires.tif", geometry=sun, static=works)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"bands": {"t4": 1, "nir": 2}}, "band_missing"),
        ({"bands": {"t4": 1, "t11": 9}}, "band_missing"),
        ({"bands": {"t4": 1, "t11": 2, "t12": 3}}, "band_missing"),
        ({"sensor": "msi"}, "unknown_sensor"),
        ({"bands": {"t4": 1, "t11": 2, "red": 1}}, "scale_missing"),
    ],
)
def test_what_cannot_be_is_refused_with_its_cause(scene, tmp_path, given, cause):
    with pytest.raises(BadInputError) as refused:
        run(scene, tmp_path / "fires.gpkg", **given)
    assert refused.value.cause == cause


def test_an_ending_that_is_no_format_is_refused(scene, tmp_path):
    with pytest.raises(BadInputError, match="written as"):
        run(scene, tmp_path / "fires.shp")


def swir_layers(fires):
    side = 100
    draw = np.random.default_rng(2)
    values = [level * (1.0 + draw.normal(0.0, 0.06, (side, side))) for level in (0.3, 0.18, 0.09, 0.06)]
    for place, share in fires.items():
        values[0][place] += 0.2 * share
        values[1][place] += 20.0 * share
        values[2][place] += 130.0 * share
    return [layer.astype(np.float32) for layer in values]


SWIR_BANDS = {"nir": 1, "swir1": 2, "swir2": 3, "red": 4}
FINE = Affine(30.0, 0.0, WEST, 0.0, -30.0, NORTH)


@pytest.mark.parametrize("given", [{"geometry": None}, {"geometry": active_fire_file.Geometry(sun_zenith=35.0)}])
def test_short_wave_infrared_finds_fires_of_a_few_meters(tmp_path, given):
    fires = {(20, 20): 0.03, (20, 21): 0.03, (70, 60): 0.02}
    path = write(tmp_path / "fine.tif", swir_layers(fires), transform=FINE)
    cloud = write(tmp_path / "cloud.tif", [np.zeros((100, 100), dtype=np.uint8)], transform=FINE)
    options = {"bands": SWIR_BANDS, "sensor": "oli", "cloud": cloud} | given
    report = active_fire_file.run(path, tmp_path / "fires.gpkg", **options)
    columns, _ = read(tmp_path / "fires.gpkg")
    assert report["fires"] == 2
    assert columns["pixels"].tolist() == [2, 1]
    assert np.isnan(columns["t4"]).all()
    assert np.isfinite(columns["frp_mw"]).all() == (given["geometry"] is not None)


def test_the_command_finds_fires_and_reports(scene, tmp_path):
    words = ["surface", "fire", "--scene", str(scene), "--bands", "t4=1,t11=2,red=3,nir=4", "--sensor", "modis"]
    out, report = tmp_path / "fires.gpkg", tmp_path / "fires.json"
    made = CliRunner().invoke(
        cli.app,
        [*words, "--time", "2024-03-01T05:30", "--wavelength", "t4=3.96", "--out", str(out), "--report", str(report)],
    )
    assert made.exit_code == 0, made.stderr
    assert json.loads(report.read_text())["fires"] == 2
    view = ["--sun-zenith", "30", "--view-zenith", "30", "--relative-azimuth", "180"]
    glint = CliRunner().invoke(cli.app, [*words, *view, "--out", str(out), "--json"])
    assert glint.exit_code == 0
    for extra in (["--time", "noon"], ["--view-zenith", "10"], ["--wavelength", "t4=x"], ["--wavelength", "t9=3"]):
        wrong = CliRunner().invoke(cli.app, [*words, *extra, "--out", str(out)])
        assert wrong.exit_code == 2


def fused(values, bands=("red", "nir"), *, pixel=PIXEL, thermal=True, **more):
    side = values[0].shape[0]
    geobox = GeoBox((side, side), Affine(pixel, 0.0, WEST, 0.0, -pixel, NORTH), "EPSG:32648")
    layer = ("time", "band", "y", "x")
    reflectance = values[2:] if thermal else values
    dataset = xr.Dataset(
        {
            "reflectance": (layer, np.stack(reflectance)[None]),
            "reflectance_sigma": (layer, np.full((1, len(bands), side, side), 0.01, dtype=np.float32)),
            "qa": (("time", "y", "x"), np.zeros((1, side, side), dtype=np.uint16)),
        },
        coords={"time": [np.datetime64("2024-03-01T05:30", "ns")], "band": list(bands)},
    )
    if thermal:
        dataset["brightness_temperature"] = (("time", "channel", "y", "x"), np.stack(values[:2])[None])
        dataset = dataset.assign_coords(channel=["t4", "t11"])
    for name, extra in more.items():
        dataset[name] = (("y", "x"), extra)
    return grid.assign(dataset, geobox)


def made(dataset):
    return product.active_fire_layers(dataset, parameters=product.ActiveFireProductParameters())


def test_the_product_holds_classes_and_points():
    static = np.zeros((SIDE, SIDE), dtype=np.uint8)
    static[20, 20] = 1
    dataset = fused(layers(), static_source=static, reference_water=np.zeros((SIDE, SIDE)))
    dataset["qa"][0, 60:] = int(qa.QaBit.CLOUD)
    found = made(dataset)
    classes = found.data["active_fire"].values
    assert (classes[20, 20], classes[45, 30]) == (active_fire.STATIC_SOURCE, active_fire.FIRE)
    assert (classes[60:] == definition.CLASS_NODATA).all()
    assert np.isnan(found.uncertainty["active_fire"].values[60:]).all()
    assert found.features[0].columns["static_flag"].tolist() == [True, False]
    assert found.facts["fires"] == 1
    json.dumps(found.facts)


def test_the_sensor_stated_in_the_scene_counts():
    dataset = fused(layers())
    dataset.attrs["sensor"] = "MODIS"
    assert made(dataset).features[0].columns["sensor"].tolist() == ["modis", "modis"]
    dataset.attrs["sensor"] = ""
    assert made(dataset).features[0].columns["sensor"].tolist() == ["modis", "modis"]


def test_without_thermal_bands_the_product_comes_from_short_wave_infrared_or_is_refused():
    bands = ("nir", "swir1", "swir2", "red")
    found = made(fused(swir_layers({(20, 20): 0.03}), bands, pixel=30.0, thermal=False))
    assert found.facts["fires"] == 1
    for dataset in (
        fused(swir_layers({}), bands, pixel=500.0, thermal=False),
        fused(swir_layers({})[:2], bands[:2], pixel=30.0, thermal=False),
    ):
        with pytest.raises(definition.NotApplicableError) as refused:
            made(dataset)
        assert refused.value.cause == "band_missing"


def test_sensors_without_published_coefficient_get_one_fitted():
    scale = product.power_scale(fire_power.SENSORS["ahi"], area=4e6)
    assert scale.detecting == pytest.approx(scale.power)
    slstr = product.power_scale(fire_power.SENSORS["slstr"], area=1e6)
    expected = 1e6 * fire_power.STEFAN_BOLTZMANN / fire_power.power_coefficient(3.74) / 1e6
    assert slstr.power == pytest.approx(expected)


def test_a_list_of_fires_is_no_product_of_a_scene():
    with pytest.raises(definition.NotApplicableError):
        fire_list_product.DEFINITION.algorithm(fused(layers()), parameters=None)
    assert definition.describe(fire_list_product.DEFINITION)["kind"] == "objects"


def test_no_result_takes_the_place_of_an_input_or_of_the_other(scene, tmp_path):
    before = scene.read_bytes()
    words = ["surface", "fire", "--scene", str(scene), "--bands", "t4=1,t11=2", "--sun-zenith", "40"]
    for out, raster in ((tmp_path / "fires.gpkg", scene), (tmp_path / "a.gpkg", tmp_path / "a.gpkg"), (scene, None)):
        made = CliRunner().invoke(
            cli.app, [*words, "--out", str(out), *([] if raster is None else ["--raster", str(raster)]), "--json"]
        )
        assert made.exit_code != 0
        assert json.loads(made.stdout)["cause"] == "output_is_input"
        assert not out.exists() or out == scene
    assert scene.read_bytes() == before
    with pytest.raises(BadInputError, match="both results"):
        active_fire_file.run(scene, tmp_path / "a.gpkg", bands=BANDS, raster=tmp_path / "a.gpkg")
