"""Scenes of other missions: nothing about scale, no data or place is assumed."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio.io import MemoryFile

from processors.imagery import external_scene, grid
from processors.quality import BadInputError

UTM = "EPSG:32648"
TRANSFORM = rasterio.Affine(10, 0, 500_000, 0, -10, 3_200_060)
TIME = np.datetime64("2024-05-15T03:20:00")


def exchange_stack() -> xr.Dataset:
    """A small stack in the WorldCereal exchange format, raw as the file holds it."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(100, 60_000, (2, 6, 5)).astype(np.uint16)
    numbers[0, 1, 1] = 65535
    axes = ("t", "y", "x")
    stack = xr.Dataset(
        {
            name: (axes, numbers.view(np.int16), {"_Unsigned": "true", "grid_mapping": "crs"})
            for name in ("S2-L2A-B04", "S2-L2A-B08", "S1-SIGMA0-VV", "S1-SIGMA0-VH")
        },
        coords={
            "t": np.array(["2021-05-01", "2021-04-01"], dtype="datetime64[ns]"),
            "y": 3_200_055.0 - 10.0 * np.arange(6),
            "x": 500_005.0 + 10.0 * np.arange(5),
        },
    )
    wkt = rasterio.crs.CRS.from_string(UTM).to_wkt()
    stack["crs"] = ((), b"", {"crs_wkt": wkt})
    return stack


def own_scene() -> xr.Dataset:
    values = np.linspace(-0.01, 1.1, 2 * 3 * 6 * 5).reshape(2, 3, 6, 5).astype(np.float32)
    values[0, 0, 2, 2] = np.nan
    scene = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values, {"units": "1"})},
        coords={
            "time": np.array(["2024-05-15", "2024-06-15"], dtype="datetime64[ns]"),
            "band": ["green", "red", "nir"],
        },
        attrs={"area": "chongqing", "sensor": "test"},
    )
    return grid.assign(scene, grid.covering((500_000, 3_200_000, 500_050, 3_200_060), crs=UTM, resolution=10))


def cause_of(dataset: xr.Dataset) -> str:
    with pytest.raises(BadInputError) as refusal:
        external_scene.scene_from_dataset(dataset, source="test")
    return refusal.value.cause


def test_no_data_65535_is_never_a_reflectance():
    scene = external_scene.scene_from_dataset(exchange_stack(), source="test")
    assert float(scene["reflectance"].max()) < 6.0
    later = scene.sel(time="2021-05-01")
    assert np.isnan(later["reflectance"].values[:, 1, 1]).all()
    assert np.isnan(later["backscatter"].values[:, 1, 1]).all()
    assert int(np.isnan(scene["reflectance"]).sum()) == 2


def test_unsigned_numbers_above_32767_stay_positive():
    assert float(external_scene.scene_from_dataset(exchange_stack(), source="t")["reflectance"].min()) >= 0.01


def test_dates_are_put_in_order_with_their_values():
    stack = exchange_stack()
    scene = external_scene.scene_from_dataset(stack, source="test")
    assert (np.diff(scene["time"].values.astype(np.int64)) > 0).all()
    number = stack["S2-L2A-B04"].values.view(np.uint16)[1, 0, 0]
    assert float(scene["reflectance"].sel(band="red").isel(time=0, y=0, x=0)) == pytest.approx(number * 1e-4)


def test_two_layers_of_one_date_are_refused():
    assert (
        cause_of(exchange_stack().assign_coords(t=[np.datetime64("2021-05-01", "ns")] * 2)) == "duplicate_acquisition"
    )


def test_terrain_of_the_stack_is_kept_without_its_no_data():
    stack = exchange_stack().drop_vars(["S1-SIGMA0-VV", "S1-SIGMA0-VH"])
    heights = np.full((6, 5), 300, np.uint16)
    heights[0, 0] = 65535
    stack["elevation"] = (("t", "y", "x"), np.stack([heights] * 2))
    scene = external_scene.scene_from_dataset(stack, source="test")
    assert "backscatter" not in scene
    assert np.isnan(scene["elevation"].values[0, 0])
    assert float(scene["elevation"].values[1, 1]) == 300.0
    own = own_scene()
    own["elevation"] = (("y", "x"), np.full((6, 5), 250.0))
    read = external_scene.scene_from_dataset(external_scene.pack(own), source="test")
    assert read["elevation"].dtype == np.float32


def test_dataset_without_reflectance_or_time_is_refused():
    assert cause_of(own_scene().drop_vars("reflectance")) == "band_missing"
    assert cause_of(external_scene.pack(own_scene()).assign_coords(time=[0, 1])) == "time_missing"


def test_radar_numbers_become_decibels():
    stack = exchange_stack()
    scene = external_scene.scene_from_dataset(stack, source="test")
    number = float(stack["S1-SIGMA0-VV"].values.view(np.uint16)[1, 3, 3])
    expected = 20 * np.log10(number) - 83
    assert float(scene["backscatter"].sel(polarization="vv").isel(time=0)[3, 3]) == pytest.approx(expected, abs=1e-4)


def test_stack_without_system_is_refused():
    assert cause_of(exchange_stack().drop_vars("crs")) == "crs_missing"


def test_stack_without_near_infrared_is_refused():
    assert cause_of(exchange_stack().drop_vars("S2-L2A-B08")) == "band_missing"


def test_stack_of_no_data_only_is_refused():
    stack = exchange_stack()
    for name in ("S2-L2A-B04", "S2-L2A-B08"):
        stack[name] = xr.full_like(stack[name], -1)
    assert cause_of(stack) == "all_nodata"


@pytest.mark.parametrize("decoded", [True, False])
def test_packed_scene_reads_back_to_half_a_number(decoded):
    scene = own_scene()
    raw = external_scene.pack(scene)
    read = external_scene.scene_from_dataset(xr.decode_cf(raw) if decoded else raw, source="test")
    assert np.array_equal(np.isnan(read["reflectance"]), np.isnan(scene["reflectance"]))
    assert float(np.abs(read["reflectance"] - scene["reflectance"]).max()) <= 0.51e-4
    assert read.attrs["area"] == "chongqing"
    assert grid.same(grid.geobox_of(read), grid.geobox_of(scene))


@pytest.mark.parametrize("lost", ["scale_factor", "_FillValue"])
def test_packed_scene_without_scale_or_no_data_is_refused(lost):
    raw = external_scene.pack(own_scene())
    del raw["reflectance"].attrs[lost]
    assert cause_of(raw) == "scale_missing"


def test_floating_point_without_units_is_refused():
    scene = own_scene()
    scene["reflectance"].attrs.clear()
    assert cause_of(scene) == "scale_missing"


class EndsEarly(xr.backends.BackendArray):
    """An array on disk whose file was cut."""

    shape, dtype = (2, 6, 5), np.dtype(np.int16)

    def __getitem__(self, key):
        raise OSError("unexpected end of file")


def test_file_that_ends_early_is_refused_as_truncated():
    stack = exchange_stack()
    lazy = xr.core.indexing.LazilyIndexedArray(EndsEarly())
    stack["S2-L2A-B04"] = xr.DataArray(xr.Variable(("t", "y", "x"), lazy))
    assert cause_of(stack) == "truncated"


def raster(
    numbers: np.ndarray, *, crs: str | None = UTM, scale: float | None = 1e-4, nodata=0, tags=None
) -> MemoryFile:
    """A GeoTIFF in memory."""
    memory = MemoryFile()
    options = {"crs": crs, "transform": TRANSFORM, "nodata": nodata}
    count, height, width = numbers.shape
    with memory.open(driver="GTiff", count=count, height=height, width=width, dtype=numbers.dtype, **options) as out:
        out.write(numbers)
        if scale is not None:
            out.scales, out.offsets = [scale] * count, [-0.1] * count
        out.update_tags(**(tags or {}))
    return memory


def numbers_of(dtype: str = "uint16") -> np.ndarray:
    numbers = (np.arange(60).reshape(2, 6, 5) * 100 + 1000).astype(dtype)
    numbers[0, 0, 0] = 0
    return numbers


def read(memory: MemoryFile, **options) -> xr.Dataset:
    with memory.open() as dataset:
        settings = {"bands": {"nir": 2, "red": 1}, "source": "test", "time": TIME, **options}
        return external_scene.scene_from_raster(dataset, **settings)


def test_raster_scale_offset_and_no_data_come_from_its_metadata():
    scene = read(raster(numbers_of()))
    assert list(scene["band"].values) == ["red", "nir"]
    assert np.isnan(scene["reflectance"].values[0, 0, 0, 0])
    assert float(scene["reflectance"].sel(band="red").isel(time=0)[0, 1]) == pytest.approx(1100 * 1e-4 - 0.1)
    assert grid.alignment_offset(grid.geobox_of(scene)) <= grid.ALIGNMENT_TOLERANCE


def test_negative_reflectance_after_the_offset_is_kept():
    """Clipping at zero would bias dark surfaces (the Sentinel-2 offset of -1000)."""
    assert float(read(raster(np.full((2, 6, 5), 900, dtype="uint16")))["reflectance"].min()) == pytest.approx(-0.01)


def test_raster_time_may_come_from_its_tags():
    scene = read(raster(numbers_of(), tags={"TIFFTAG_DATETIME": "2024:05:15 03:20:00"}), time=None)
    assert scene["time"].values[0] == TIME.astype("datetime64[ns]")


@pytest.mark.parametrize(
    ("memory", "options", "cause"),
    [
        ({"crs": None}, {}, "crs_missing"),
        ({"scale": None}, {}, "scale_missing"),
        ({"nodata": None}, {}, "nodata_missing"),
        ({}, {"bands": {"red": 1, "nir": 7}}, "band_missing"),
        ({}, {"bands": {}}, "band_missing"),
        ({}, {"time": None}, "time_missing"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_raster_that_leaves_something_open_is_refused(memory, options, cause):
    with pytest.raises(BadInputError) as refusal:
        read(raster(numbers_of(), **memory), **options)
    assert refusal.value.cause == cause


def test_missing_scale_may_be_supplied_by_the_caller():
    scene = read(raster(numbers_of(), scale=None), default_scale=1e-4)
    assert float(scene["reflectance"].sel(band="red").isel(time=0)[0, 1]) == pytest.approx(0.11)


def test_raster_of_no_data_only_is_refused():
    with pytest.raises(BadInputError) as refusal:
        read(raster(np.zeros((2, 6, 5), dtype="uint16")))
    assert refusal.value.cause == "all_nodata"


def test_truncated_raster_is_refused(tmp_path):
    memory = raster(np.random.default_rng(2).integers(1, 9000, (2, 600, 600)).astype("uint16"))
    path = tmp_path / "cut.tif"
    rasterio.shutil.copy(memory.name, path, driver="COG")  # the directory comes first, so the cut file still opens
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with rasterio.open(path) as dataset, pytest.raises(BadInputError) as refusal:
        external_scene.scene_from_raster(dataset, bands={"red": 1, "nir": 2}, source="cut.tif", time=TIME)
    assert refusal.value.cause == "truncated"
