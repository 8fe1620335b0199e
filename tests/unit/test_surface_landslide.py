"""Landslide candidates: fresh bare ground down a slope is found, what only looks a little like it is not."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy import ndimage
from typer.testing import CliRunner

from infra import cli
from infra.imagery import tiling
from infra.surface import landslide as file_landslide
from processors.imagery import grid
from processors.quality import BadInputError
from products.sectors import definition
from products.sectors import landslide_candidates as product
from retrieval.surface import landslide

BANDS = ("green", "red", "nir", "swir1", "swir2")
FOREST = (0.05, 0.035, 0.32, 0.16, 0.08)
SOIL = (0.11, 0.15, 0.23, 0.29, 0.25)
SLASH = (0.08, 0.08, 0.24, 0.24, 0.17)
CHAR = (0.05, 0.05, 0.11, 0.17, 0.15)
CLOUD = (0.33, 0.32, 0.42, 0.30, 0.22)
PIXEL = (10.0, 10.0)
GRID = GeoBox((160, 200), rasterio.Affine(10, 0, 500_000, 0, -10, 3_300_000), "EPSG:32648")


class Scene(NamedTuple):
    before: dict[str, npt.NDArray[np.float32]]
    after: dict[str, npt.NDArray[np.float32]]
    elevation: npt.NDArray[np.float32]


def slope() -> npt.NDArray[np.float32]:
    """Hillside that falls to the south at 27 degrees, with a plain below row 130."""
    rows = np.arange(GRID.shape[0])
    return np.broadcast_to((0.5 * 10 * np.maximum(130 - rows, 0))[:, None], GRID.shape).astype(np.float32)


def scene(
    seed: int,
    stamps: list[tuple[tuple[slice, slice], tuple[float, ...]]],
    *,
    gain: float = 1.0,
    season: tuple[float, ...] | None = None,
) -> Scene:
    random = np.random.default_rng(seed)
    texture = 1 + 0.15 * ndimage.gaussian_filter(random.normal(size=GRID.shape), 1.5) * 3
    dates = []
    for date in (0, 1):
        cover = FOREST if date == 0 or season is None else season
        values = np.asarray(cover)[:, None, None] * np.ones(GRID.shape)
        for place, spectrum in stamps if date else []:
            values[(slice(None), *place)] = np.asarray(spectrum)[:, None, None]
        values = values * texture * (gain if date else 1.0) + random.normal(0, 0.004, values.shape)
        dates.append(dict(zip(BANDS, values.astype(np.float32), strict=True)))
    return Scene(dates[0], dates[1], slope())


SCAR = (slice(40, 80), slice(60, 68))


def found(of: Scene, **known: Any) -> landslide.Detection:
    return landslide.detect(
        of.before, of.after, pixel_size=PIXEL, surroundings=landslide.Surroundings(of.elevation, **known)
    )


@pytest.mark.parametrize("gain", [1.0, 1.3])
@pytest.mark.parametrize("season", [None, (0.07, 0.06, 0.24, 0.2, 0.12)])
def test_a_scar_is_the_first_candidate_whatever_season_and_radiometry_do(
    gain: float, season: tuple[float, ...] | None
) -> None:
    seen = found(scene(1, [(SCAR, SOIL)], gain=gain, season=season))
    assert len(seen.candidates) == 1
    best = seen.candidates[0]
    assert best.area_m2 == pytest.approx(32_000, rel=0.15)
    assert best.score > 0.9
    assert best.mean_dndvi < -0.2
    assert best.slope == pytest.approx(26.6, abs=1)
    assert best.relief_drop == pytest.approx(200, abs=15)
    assert best.elongation == pytest.approx(5, abs=1)
    assert best.alignment > 0.95
    assert (seen.classes[45:75, 62:66] == landslide.CANDIDATE).all()


@pytest.mark.parametrize(("lost", "scatter"), [(0.0, 0.03), (0.3, 0.095)], ids=["one kind of plant", "two kinds"])
def test_plants_that_keep_another_season_do_not_widen_what_is_usual(lost: float, scatter: float) -> None:
    random = np.random.default_rng(11)
    shape = (200, 200)
    later = 0.8 + random.normal(0.0, 0.03, shape) - lost * (np.indices(shape).sum(axis=0) % 2)
    before = {"red": np.full(shape, 0.03, dtype=np.float32), "nir": np.full(shape, 0.27, dtype=np.float32)}
    after = {"red": (0.15 * (1 - later)).astype(np.float32), "nir": (0.15 * (1 + later)).astype(np.float32)}
    heights = np.broadcast_to(np.arange(200.0)[:, None], shape).astype(np.float32)
    usual = landslide.normal(
        before,
        after,
        landslide.Surroundings(heights),
        slope=np.full(shape, 30.0, dtype=np.float32),
        parameters=landslide.LandslideParameters(),
    )
    # Deviations from the common median would give 0.22 for the two.
    assert usual.scatter[:, -2:] == pytest.approx(scatter, rel=0.15)


def test_nothing_happens_where_only_season_and_gain_change() -> None:
    seen = found(scene(2, [], gain=0.8, season=(0.08, 0.08, 0.2, 0.22, 0.14)))
    assert seen.candidates == ()
    assert not seen.classes.any()


@pytest.mark.parametrize(
    ("place", "spectrum"),
    [
        ((slice(140, 155), slice(20, 60)), SOIL),
        ((slice(30, 60), slice(50, 80)), CHAR),
        ((slice(30, 60), slice(50, 80)), SLASH),
        ((slice(30, 60), slice(50, 80)), CLOUD),
        ((slice(60, 62), slice(20, 180)), SOIL),
        ((slice(60, 62), slice(50, 53)), SOIL),
        ((slice(30, 60), slice(50, 80)), (0.02, 0.012, 0.10, 0.05, 0.02)),
    ],
    ids=["field on the plain", "burn", "felled block", "cloud", "road along the slope", "too small", "shadow"],
)
def test_what_is_no_scar_is_no_candidate(place: tuple[slice, slice], spectrum: tuple[float, ...]) -> None:
    assert found(scene(3, [(place, spectrum)])).candidates == ()
    ranked = found(scene(3, [(place, spectrum), ((slice(90, 120), slice(100, 106)), SOIL)])).candidates
    assert len(ranked) == 1


def test_snow_water_fields_and_masked_ground_begin_no_candidate() -> None:
    snow = (0.6, 0.35, 0.38, 0.1, 0.05)
    assert found(scene(4, [(SCAR, snow)])).candidates == ()
    of = scene(4, [(SCAR, SOIL)])
    place = np.zeros(GRID.shape, dtype=bool)
    place[SCAR] = True
    for name in ("water", "cultivated", "masked"):
        seen = found(of, **{name: place})
        assert seen.candidates == (), name
        assert (seen.classes[50, 64] == landslide.NO_DATA) == (name == "masked")


def test_unknown_ground_has_no_class() -> None:
    of = scene(5, [(SCAR, SOIL)])
    of.after["red"][100:110] = np.nan
    heights = of.elevation.copy()
    heights[:, 150:] = np.nan
    seen = found(of._replace(elevation=heights))
    assert (seen.classes[100:110] == landslide.NO_DATA).all()
    assert (seen.classes[:, 151:] == landslide.NO_DATA).all()
    assert np.isnan(seen.probability[105, 20])
    assert len(seen.candidates) == 1


def test_a_shift_of_a_pixel_along_an_edge_is_no_candidate() -> None:
    of = scene(6, [])
    for bands, first in ((of.before, 100), (of.after, 99)):
        for name, value in zip(BANDS, SOIL, strict=True):
            bands[name][:, first:] = value
    assert found(of).candidates == ()


def test_radar_change_and_rain_raise_the_score_and_river_bed_lowers_it() -> None:
    of = scene(7, [((slice(30, 60), slice(50, 70)), SOIL)])
    plain = found(of).candidates[0]
    layer = np.full(GRID.shape, 4.0, dtype=np.float32)
    assert found(of, radar_change=-layer).candidates[0].score > plain.score
    assert found(of, rain=50 * layer).candidates[0].score > plain.score
    assert found(of, radar_change=np.full_like(layer, np.nan)).candidates[0].score == plain.score
    gentle = of._replace(elevation=(0.55 * of.elevation).astype(np.float32))
    choices = landslide.LandslideParameters(threshold=0.0)
    best = []
    for share in (0.0, 20.0):
        known = landslide.Surroundings(gentle.elevation, hand=layer * np.float32(share))
        seen = landslide.detect(gentle.before, gentle.after, pixel_size=PIXEL, surroundings=known, parameters=choices)
        best.append(seen.candidates[0].score)
    assert best[0] < best[1]


CROP = (0.07, 0.05, 0.42, 0.19, 0.09)
PLOUGHED = (0.10, 0.14, 0.21, 0.28, 0.23)


def farmed(seed: int, *, on_plain: bool) -> Scene:
    """A scar, a ploughed strip of the same shape in a field beside it, and a plain of fields, half of them ploughed."""
    of = scene(seed, [(SCAR, SOIL)])
    random = np.random.default_rng(seed)
    fields = [(slice(35, 85), slice(116, 136))] + [(slice(134, 160), slice(0, 200))] * on_plain
    ploughed = [(slice(40, 80), slice(122, 130))]
    ploughed += [(slice(136, 158), slice(column, column + 20)) for column in range(10, 190, 40)] * on_plain
    for bands, places, spectrum in (
        (of.before, fields, CROP),
        (of.after, fields, CROP),
        (of.after, ploughed, PLOUGHED),
    ):
        for name, value in zip(BANDS, spectrum, strict=True):
            for place in places:
                bands[name][place] = value * (1 + 0.05 * random.standard_normal(bands[name][place].shape))
    return of


def test_what_happens_on_gentle_ground_too_speaks_against_a_slide() -> None:
    choices = landslide.LandslideParameters(threshold=0.0)
    scores = {}
    for on_plain in (True, False):
        of = farmed(21, on_plain=on_plain)
        seen = landslide.detect(
            of.before,
            of.after,
            pixel_size=PIXEL,
            surroundings=landslide.Surroundings(of.elevation),
            parameters=choices,
        )
        scar, field = (seen.candidates[seen.labels[place] - 1] for place in ((60, 64), (60, 126)))
        scores[on_plain] = [item.score / (1 - item.score) for item in (scar, field)]
        assert seen.labels[60, 64] == 1
        if on_plain:
            assert scar.ordinary < 0.4
            assert field.ordinary > 0.9
        else:
            # Nothing changed on gentle ground: nothing is known of what is ordinary.
            assert np.isnan([scar.ordinary, field.ordinary]).all()
    assert scores[True][1] < 0.1 * scores[False][1]
    assert scores[True][0] >= 0.99 * scores[False][0]


def test_ground_that_differed_from_its_surroundings_before_is_no_scar() -> None:
    of = scene(22, [(SCAR, SOIL)])
    plain = found(of).candidates[0]
    for name, value in zip(BANDS, CROP, strict=True):
        of.before[name][SCAR] *= value / FOREST[BANDS.index(name)]
    parted = found(of).candidates[0]
    assert plain.earlier_boundary < 0.1
    assert parted.earlier_boundary > 1
    assert parted.score < plain.score


def test_few_slopes_are_insufficient_data() -> None:
    of = scene(8, [])
    with pytest.raises(BadInputError, match="0 pixels of slopes"):
        found(of._replace(elevation=np.zeros(GRID.shape, dtype=np.float32)))


def test_broken_contracts_are_refused() -> None:
    of = scene(9, [])
    with pytest.raises(ValueError, match="lacks nir"):
        found(of._replace(after={"red": of.after["red"]}))
    with pytest.raises(ValueError, match="differ in shape"):
        found(of._replace(elevation=of.elevation[1:]))


def test_a_lone_pixel_has_no_axis() -> None:
    choices = landslide.LandslideParameters(least_area=90.0)
    of = scene(10, [((slice(50, 51), slice(50, 51)), SOIL)])
    known = landslide.Surroundings(of.elevation)
    seen = landslide.detect(of.before, of.after, pixel_size=PIXEL, surroundings=known, parameters=choices)
    assert all(0 <= item.alignment <= 1 for item in seen.candidates)


def written(path: Path, layers: list[npt.NDArray[Any]], *, crs: Any = "EPSG:32648", nodata: Any = None) -> Path:
    profile = {"driver": "GTiff", "height": layers[0].shape[0], "width": layers[0].shape[1], "count": len(layers)}
    profile |= {"dtype": layers[0].dtype, "transform": GRID.transform, "crs": crs, "nodata": nodata}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.stack(layers))
    return path


def files(folder: Path, of: Scene, *, crs: Any = "EPSG:32648") -> dict[str, Path]:
    return {
        "before": written(folder / "before.tif", [of.before[name] for name in BANDS], crs=crs),
        "after": written(folder / "after.tif", [of.after[name] for name in BANDS], crs=crs),
        "dem": written(folder / "dem.tif", [np.ascontiguousarray(of.elevation)], crs=crs),
    }


NUMBERS = {name: number for number, name in enumerate(BANDS, 1)}


def test_files_tile_by_tile_give_what_memory_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = scene(11, [(SCAR, SOIL), ((slice(90, 120), slice(100, 106)), SOIL)])
    paths = files(tmp_path, of)
    whole = found(of)
    tiles = tiling.tiles
    monkeypatch.setattr(tiling, "tiles", lambda shape, size=64, halo=0: tiles(shape, size=64, halo=halo))
    out = tmp_path / "list.tif"
    report = file_landslide.run(paths["before"], paths["after"], out, bands=NUMBERS, dem=paths["dem"])
    assert report["candidates"] == len(whole.candidates) == 2
    with rasterio.open(out) as file:
        classes, score = file.read()
        assert file.descriptions == file_landslide.LAYERS
    np.testing.assert_array_equal(classes, whole.classes)
    np.testing.assert_allclose(score, np.where(np.isnan(whole.probability), 255, whole.probability), atol=1e-5)


def test_the_command_writes_polygons_raster_and_report(tmp_path: Path) -> None:
    of = scene(12, [(SCAR, SOIL)])
    paths = files(tmp_path, of)
    mask = np.zeros(GRID.shape, dtype=np.uint8)
    mask[:, 190:] = 1
    cloud = written(tmp_path / "mask.tif", [mask])
    terrain = tmp_path / "terrain.tif"
    made = CliRunner().invoke(cli.app, ["surface", "terrain", "--dem", str(paths["dem"]), "--out", str(terrain)])
    assert made.exit_code == 0, made.output
    out, raster = tmp_path / "list.gpkg", tmp_path / "list.tif"
    text = ",".join(f"{name}={number}" for name, number in NUMBERS.items())
    words = ["surface", "landslide", "--before", str(paths["before"]), "--after", str(paths["after"]), "--bands", text]
    words += [
        "--terrain",
        str(terrain),
        "--mask-after",
        str(cloud),
        "--out",
        str(out),
        "--raster",
        str(raster),
        "--json",
    ]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["candidates"] == 1
    assert report["no_data_share"] == pytest.approx(0.05, abs=0.03)
    table = pyogrio.raw.read(out)
    assert len(table[2]) == 1
    with rasterio.open(raster) as file:
        assert (file.read(1)[:, 190:] == 255).all()


def test_files_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    of = scene(13, [])
    paths = files(tmp_path, of)
    out = tmp_path / "list.gpkg"
    with pytest.raises(BadInputError, match="need heights"):
        file_landslide.run(paths["before"], paths["after"], out, bands=NUMBERS)
    with pytest.raises(BadInputError, match="need the band nir"):
        file_landslide.run(paths["before"], paths["after"], out, bands={"red": 1}, dem=paths["dem"])
    with pytest.raises(BadInputError, match=r"has no nir \(band 9\)"):
        file_landslide.run(paths["before"], paths["after"], out, bands={"red": 1, "nir": 9}, dem=paths["dem"])
    with pytest.raises(BadInputError, match="named"):
        file_landslide.run(paths["before"], paths["after"], out, bands=NUMBERS, terrain=paths["dem"])


def test_rasters_without_a_system_give_a_raster_but_no_polygons(tmp_path: Path) -> None:
    of = scene(14, [(SCAR, SOIL)])
    paths = files(tmp_path, of, crs=None)
    report = file_landslide.run(paths["before"], paths["after"], tmp_path / "l.tif", bands=NUMBERS, dem=paths["dem"])
    assert report["candidates"] == 1
    assert any("reference system" in text for text in report["warnings"])
    with pytest.raises(BadInputError, match="to place objects in"):
        file_landslide.run(paths["before"], paths["after"], tmp_path / "l.gpkg", bands=NUMBERS, dem=paths["dem"])


def test_no_candidate_is_an_empty_list(tmp_path: Path) -> None:
    paths = files(tmp_path, scene(15, []))
    out = tmp_path / "l.gpkg"
    report = file_landslide.run(paths["before"], paths["after"], out, bands=NUMBERS, dem=paths["dem"])
    assert report["candidates"] == 0
    assert out.exists()


def fused(of: Scene) -> xr.Dataset:
    values = np.stack([np.stack([bands[name] for name in BANDS]) for bands in (of.before, of.after)])
    made = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full_like(values, 0.005)),
            "qa": (("time", "y", "x"), np.zeros((2, *GRID.shape), dtype=np.uint16)),
            "elevation": (("y", "x"), of.elevation),
            "hand": (("y", "x"), of.elevation + 10),
            "reference_water": (("y", "x"), np.zeros(GRID.shape, dtype=np.float32)),
            "backscatter": (("time", "polarization", "y", "x"), np.full((2, 2, *GRID.shape), -12.0, dtype=np.float32)),
        },
        coords={
            "time": np.array(["2026-06-01", "2026-07-01"], dtype="datetime64[ns]"),
            "band": list(BANDS),
            "polarization": ["vv", "vh"],
        },
    )
    return grid.assign(made, GRID)


def test_the_product_lists_candidates_and_says_what_it_is() -> None:
    of = scene(16, [(SCAR, SOIL)])
    made = product.DEFINITION.algorithm(fused(of), parameters=product.DEFINITION.parameters)
    assert len(made.features[0]) == made.facts["candidates"] == 1
    assert made.features[0].geometry[0].area == pytest.approx(made.features[0].columns["area_m2"][0])
    classes = made.data["landslide_candidate"].values
    assert classes[60, 64] == landslide.CANDIDATE
    assert made.uncertainty["landslide_candidate"].values[10, 10] == 1
    assert product.DEFINITION.validity == "candidate"
    assert "candidate" in product.DEFINITION.description_en.lower()


def test_the_product_does_without_what_the_input_lacks() -> None:
    of = scene(17, [(SCAR, SOIL)])
    lean = fused(of).drop_vars(["hand", "reference_water", "backscatter"]).sel(band=["red", "nir"])
    assert product.DEFINITION.algorithm(lean, parameters=product.DEFINITION.parameters).facts["candidates"] == 1
    dark = fused(of)
    dark["backscatter"] = dark["backscatter"] * np.nan
    assert product.DEFINITION.algorithm(dark, parameters=product.DEFINITION.parameters).facts["candidates"] == 1


def test_the_product_is_refused_on_one_date_and_on_flat_land() -> None:
    of = scene(18, [])
    one = fused(of).isel(time=[0])
    with pytest.raises(definition.NotApplicableError, match="landslide candidates"):
        product.DEFINITION.algorithm(one, parameters=product.DEFINITION.parameters)
    flat = fused(of._replace(elevation=np.zeros(GRID.shape, dtype=np.float32)))
    with pytest.raises(definition.NotApplicableError, match="slopes"):
        product.DEFINITION.algorithm(flat, parameters=product.DEFINITION.parameters)


def test_pixels_in_degrees_have_a_size_in_meters() -> None:
    box = GeoBox((10, 10), rasterio.Affine(0.001, 0, 106, 0, -0.001, 60.005), "EPSG:4326")
    assert product.pixel_size(box) == pytest.approx((111.3, 55.7), abs=0.3)
