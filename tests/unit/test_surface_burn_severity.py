"""Burn severity: classes hold through season, sun and noise, and where nothing can be told there is no class."""

import json

import numpy as np
import pytest
import rasterio
import rasterio.warp
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from infra import cli
from infra.surface import burn_severity as burn_severity_file
from processors.imagery import grid, qa
from processors.quality import BadInputError
from products.sectors import burn_severity as product
from products.sectors import definition
from retrieval.surface import burn_severity, burn_shift

SIDE = 120
STEPS = np.array([0.0, 180.0, 350.0, 550.0, 780.0])
CLASSES = np.array([2, 3, 4, 5, 6])


class Landscape:
    """Vegetation whose burn ratio falls by known steps in vertical stripes beside unburnt ground."""

    def __init__(self, *, seed=1, noise=0.004, season=0.0, season_slope=0.0, sun=1.0, side=SIDE):
        draw = np.random.default_rng(seed)
        columns = np.arange(side) * 10 // side
        self.truth = np.broadcast_to(np.where(columns < 5, 0, columns - 5), (side, side))
        before = 0.55 + 0.1 * np.sin(np.arange(side) / 7.0)[:, None] * np.ones((side, side))
        # Char has no season: what the season changes goes with the plants that are left.
        left = np.clip(1.0 - STEPS[self.truth] / 1e3 / (before + 0.25), 0.0, 1.0)
        after = before - STEPS[self.truth] / 1e3 - left * (season + season_slope * (before - 0.55))
        self.layers = {}
        for date, ratio, brightness in (("before", before, 0.45), ("after", after, 0.4 * sun)):
            for name, sign in (("nir", 1.0), ("swir2", -1.0)):
                layer = brightness * (1.0 + sign * ratio) / 2.0
                self.layers[name, date] = (layer + draw.normal(0.0, noise, layer.shape)).astype(np.float32)
        for date in ("before", "after"):
            self.layers["red", date] = np.full((side, side), 0.06, dtype=np.float32)

    def pair(self, **given):
        order = (("nir", "before"), ("swir2", "before"), ("nir", "after"), ("swir2", "after"))
        return burn_severity.BurnPair(*(self.layers[key] for key in order), **given)

    def agreement(self, found):
        known = found.classes != burn_severity.NO_DATA
        return float(np.mean(found.classes[known] == CLASSES[self.truth][known]))


def severity(pair, **given):
    return burn_severity.classify(pair, season=burn_severity.season(pair), **given)


@pytest.mark.parametrize("season", [-0.12, 0.0, 0.15])
@pytest.mark.parametrize("sun", [0.6, 1.0])
def test_season_and_sun_do_not_move_the_classes(season, sun):
    land = Landscape(season=season, sun=sun, season_slope=0.1)
    assert land.agreement(severity(land.pair())) > 0.97


def test_without_taking_out_the_season_the_classes_would_be_wrong():
    land = Landscape(season=0.15)
    nothing = burn_severity.Season(0.0, 0.0, 0.0, 5.0, 20.0, 1.0, 0)
    assert land.agreement(burn_severity.classify(land.pair(), season=nothing)) < 0.6


def test_the_change_of_season_is_found_where_most_of_the_scene_burnt():
    land = Landscape(season=0.1)
    part = burn_severity.BurnPair(*(None if layer is None else layer[:, 45:] for layer in land.pair()))
    found = burn_severity.season(part)
    assert found.offset == pytest.approx(100.0, abs=15.0)


def test_noise_from_pixel_to_pixel_is_measured_and_taken_out():
    land = Landscape(noise=0.015)
    found = burn_severity.season(land.pair())
    quiet = burn_severity.BurnSeverityParameters(filter_half=0)
    raw = burn_severity.classify(land.pair(), season=found, parameters=quiet)
    assert land.agreement(severity(land.pair())) > land.agreement(raw) + 0.05
    spread = np.std((raw.dnbr - STEPS[land.truth])[:, :50])
    assert found.noise == pytest.approx(spread, rel=0.25)


def test_stated_sigma_covers_the_truth_and_probability_the_class():
    land = Landscape(noise=0.012)
    found = severity(land.pair())
    error = np.abs(found.dnbr - STEPS[land.truth])
    inner = np.ones_like(error, dtype=bool)
    inner[:, np.flatnonzero(np.diff(land.truth[0]))[:, None] + np.arange(-2, 4)] = False
    assert 0.6 < np.mean((error < found.sigma)[inner]) < 0.97
    right = found.classes == CLASSES[land.truth]
    assert np.mean(found.probability[inner]) == pytest.approx(np.mean(right[inner]), abs=0.06)


def test_given_sigmas_are_propagated():
    land = Landscape(noise=0.0)
    flat = burn_severity.Season(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 500)
    one = np.full((SIDE, SIDE), 0.01)
    none = np.zeros((SIDE, SIDE))
    found = burn_severity.classify(land.pair(), season=flat, sigmas=(one, none, none, none))
    nir, swir = (land.layers[name, "before"].astype(float) for name in ("nir", "swir2"))
    np.testing.assert_allclose(found.sigma, 1e3 * 2.0 * swir * 0.01 / (nir + swir) ** 2, rtol=1e-4)


def test_relative_measures_follow_their_definitions():
    land = Landscape(noise=0.0)
    flat = burn_severity.Season(0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 500)
    found = burn_severity.classify(land.pair(), season=flat)
    before = burn_severity.burn_ratio(land.layers["nir", "before"], land.layers["swir2", "before"])
    np.testing.assert_allclose(found.rbr, found.dnbr / (before + 1.001), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.rdnbr, found.dnbr / np.sqrt(np.abs(before)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dnbr", [-100.5, -99.5, 99.5, 100.5, 269.5, 270.5, 439.5, 440.5, 659.5, 660.5])
def test_classes_change_at_the_thresholds_of_key_and_benson(dnbr):
    nir, swir = np.full((40, 40), 0.3, dtype=np.float32), np.full((40, 40), 0.15, dtype=np.float32)
    ratio = 1.0 / 3.0 - dnbr / 1e3
    after = (np.full((40, 40), 0.225 * (1.0 + sign * ratio), dtype=np.float32) for sign in (1.0, -1.0))
    flat = burn_severity.Season(0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 500)
    found = burn_severity.classify(burn_severity.BurnPair(nir, swir, *after), season=flat)
    expected = 1 + np.searchsorted([-100.0, 100.0, 270.0, 440.0, 660.0], dnbr)
    assert (found.classes == expected).all()


def test_cloud_water_shadow_and_missing_data_have_no_class():
    land = Landscape()
    excluded = np.zeros((SIDE, SIDE), dtype=bool)
    excluded[:10] = True
    land.layers["nir", "after"][20:30] = np.nan
    land.layers["nir", "before"][40:50], land.layers["swir2", "before"][40:50] = 0.04, 0.02
    land.layers["nir", "after"][60:70], land.layers["swir2", "after"][60:70] = 0.02, 0.015
    found = severity(land.pair(excluded=excluded))
    for start in (0, 20, 40, 60):
        assert (found.classes[start : start + 10] == burn_severity.NO_DATA).all()
        assert np.isnan(found.dnbr[start : start + 10]).all()
    assert (found.classes[75:] != burn_severity.NO_DATA).all()


def test_specks_below_the_mapping_unit_are_noise_unless_a_fire_was_seen_there():
    land = Landscape(noise=0.001)
    land.layers["nir", "after"][20:22, 20:22] = 0.1
    assert (severity(land.pair()).classes[20:22, 20:22] == burn_severity.UNBURNED).all()
    seeds = np.zeros((SIDE, SIDE), dtype=bool)
    seeds[20, 20] = True
    assert (severity(land.pair(), seeds=seeds).classes[20:22, 20:22] >= burn_severity.LOW).all()


def test_harvested_fields_that_became_brighter_are_told_from_char_where_that_is_wanted():
    land = Landscape(sun=0.8)
    land.layers["nir", "after"][30:50, 10:30], land.layers["swir2", "after"][30:50, 10:30] = 0.3, 0.3
    land.layers["red", "after"][30:50, 10:30] = 0.2
    pair = land.pair(red_before=land.layers["red", "before"], red_after=land.layers["red", "after"])
    field = slice(33, 47), slice(13, 27)
    assert (severity(pair).classes[field] >= burn_severity.LOW).all()
    found = severity(pair, bare_soil_test=True)
    assert (found.classes[field] == burn_severity.UNBURNED).all()
    assert np.mean(found.classes[:, 110:] == burn_severity.HIGH) > 0.99


def test_without_vegetation_no_season_is_taken_out():
    bare = np.full((60, 60), 0.3, dtype=np.float32)
    found = burn_severity.season(burn_severity.BurnPair(bare, bare, bare, bare))
    assert found.pixels == 0
    assert found.offset == 0.0
    tiny = burn_severity.BurnPair(*(bare[:2, :2],) * 4)
    assert burn_severity.season(tiny).noise == 0.0


def test_a_scene_without_usable_pixels_is_refused():
    nothing = np.full((20, 20), np.nan, dtype=np.float32)
    with pytest.raises(BadInputError, match="no pixel is usable"):
        burn_severity.season(burn_severity.BurnPair(nothing, nothing, nothing, nothing))


def test_blocks_give_what_the_whole_gives():
    land = Landscape(noise=0.02, side=200)
    pair = land.pair()
    found = burn_severity.season(pair)._replace(shift=burn_shift.Shift(0.3, -0.6, 0.01, True))
    assert found.phenology is not None
    whole = burn_severity.classify(pair, season=found)
    halo = burn_severity.halo(burn_severity.BurnSeverityParameters())
    part = burn_severity.BurnPair(
        *(None if layer is None else layer[80 - halo : 110 + halo, 90 - halo : 130 + halo] for layer in pair)
    )
    block = burn_severity.classify(part, season=found)
    assert len(np.unique(block.classes)) >= 3
    for name in burn_severity.BurnSeverity._fields:
        np.testing.assert_array_equal(
            getattr(block, name)[halo : halo + 30, halo : halo + 40], getattr(whole, name)[80:110, 90:130]
        )


def write(path, layers, *, crs="EPSG:32648", pixel=20.0, left=500_000.0, **profile):
    rows, columns = layers[0].shape
    transform = Affine(pixel, 0.0, left, 0.0, -pixel, 3_300_000.0)
    options = {"driver": "GTiff", "height": rows, "width": columns, "count": len(layers), "dtype": layers[0].dtype}
    with rasterio.open(path, "w", **options, crs=crs, transform=transform, **profile) as target:
        for number, layer in enumerate(layers, 1):
            target.write(layer, number)
    return path


@pytest.fixture
def files(tmp_path):
    land = Landscape(season=0.1)
    before, after = (
        write(tmp_path / f"{date}.tif", [land.layers[name, date] for name in ("nir", "swir2", "red")])
        for date in ("before", "after")
    )
    return land, before, after, tmp_path


BANDS = {"nir": 1, "swir2": 2, "red": 3}


def test_the_command_writes_classes_probability_and_measures(files):
    land, before, after, folder = files
    cloud = np.zeros((SIDE, SIDE), dtype=np.uint8)
    cloud[:20] = 2
    mask = write(folder / "cloud.tif", [cloud])
    out = folder / "burn.tif"
    words = ["surface", "burn", "--before", str(before), "--after", str(after), "--bands", "nir=1,swir2=2"]
    made = CliRunner().invoke(cli.app, [*words, "--mask-after", str(mask), "--out", str(out), "--json"])
    assert made.exit_code == 0, made.stderr
    report = json.loads(made.stdout)
    assert report["status"] == "ok"
    assert report["season_offset"] == pytest.approx(100.0, abs=10.0)
    assert report["no_data_share"] == pytest.approx(20 / SIDE, abs=1e-3)
    with rasterio.open(out) as result:
        assert result.descriptions == burn_severity_file.LAYERS
        classes, probability = result.read(1), result.read(2)
    assert (classes[:20] == 255).all()
    assert (probability[:20] == 255).all()
    assert np.mean(classes[20:] == CLASSES[land.truth][20:]) > 0.97
    burnt = np.isin(classes, (3, 4, 5, 6)).sum()
    assert report["burnt_area_km2"] == pytest.approx(burnt * 400.0 / 1e6, rel=0.01)


def test_the_file_holds_what_the_arrays_give(files):
    land, before, after, folder = files
    burn_severity_file.run(before, after, folder / "burn.tif", bands=BANDS)
    pair = land.pair(red_before=land.layers["red", "before"], red_after=land.layers["red", "after"])
    with rasterio.open(folder / "burn.tif") as result:
        np.testing.assert_array_equal(result.read(1), severity(pair).classes)


def test_bands_that_help_tell_ripening_fields_and_their_share_is_reported(tmp_path):
    draw, side = np.random.default_rng(8), 180
    forest = np.arange(side) < 90
    part = np.where(forest, 0.0, 0.8 * np.kron(draw.random((18, 18)), np.ones((10, 10))))
    green, dry = np.array([0.40, 0.08, 0.18, 0.06]), np.array([0.24, 0.20, 0.28, 0.11])
    before = np.where(forest, np.array([0.30, 0.06, 0.14, 0.045])[:, None, None], green[:, None, None])
    before = np.broadcast_to(before, (4, side, side))
    after = before + part * (dry[:, None, None] - before)
    after[:, 100:150, 20:70] *= np.array([0.4, 1.8, 0.95, 1.1])[:, None, None]
    paths = [
        write(tmp_path / f"{name}.tif", list((layers + draw.normal(0.0, 0.003, layers.shape)).astype(np.float32)))
        for name, layers in (("one", before), ("two", after))
    ]
    numbers = {"nir": 1, "swir2": 2, "swir1": 3, "green": 4}
    report = burn_severity_file.run(*paths, tmp_path / "burn.tif", bands=numbers)
    with rasterio.open(tmp_path / "burn.tif") as result:
        burnt = np.isin(result.read(1), (3, 4, 5, 6))
    assert burnt[100:150, 20:70].mean() > 0.97
    assert burnt[:, 90:].mean() < 0.01
    assert report["other_change_share"] > 0.15
    assert report["vegetation_kinds"] >= 2
    assert report["shift_applied"] is False
    assert not report["warnings"]
    poor = burn_severity_file.run(*paths, tmp_path / "burn.tif", bands={"nir": 1, "swir2": 2})
    assert any("without swir1" in text for text in poor["warnings"])


def test_a_later_raster_on_another_grid_is_brought_onto_the_first(files):
    land, before, _, folder = files
    shifted = [np.roll(land.layers[name, "after"], -3, axis=1) for name in ("nir", "swir2", "red")]
    moved = write(folder / "moved.tif", shifted, left=500_060.0)
    burn_severity_file.run(before, moved, folder / "burn.tif", bands=BANDS)
    with rasterio.open(folder / "burn.tif") as result:
        classes = result.read(1)
    assert (classes[:, :3] == 255).all()
    assert np.mean(classes[:, 3:-3] == CLASSES[land.truth][:, 3:-3]) > 0.97


def test_fires_seen_keep_a_small_patch(files):
    land, before, _, folder = files
    land.layers["nir", "after"][30:32, 20:22] = 0.08
    after = write(folder / "small.tif", [land.layers[name, "after"] for name in ("nir", "swir2", "red")])
    longitude, latitude = rasterio.warp.transform("EPSG:32648", "EPSG:4326", [500_410.0], [3_299_390.0])
    fires = np.array(longitude), np.array(latitude)
    for seen, burnt in ((None, False), (fires, True)):
        burn_severity_file.run(before, after, folder / "burn.tif", bands=BANDS, fires=seen)
        with rasterio.open(folder / "burn.tif") as result:
            assert bool((result.read(1)[30:32, 20:22] >= 3).all()) is burnt


@pytest.mark.parametrize(
    ("bands", "cause"),
    [({"nir": 1}, "band_missing"), ({"nir": 1, "swir2": 9}, "band_missing"), ({"nir": 1, "tir": 2}, "band_missing")],
)
def test_bands_that_are_not_there_are_refused(files, bands, cause):
    _, before, after, folder = files
    with pytest.raises(BadInputError) as refused:
        burn_severity_file.run(before, after, folder / "burn.tif", bands=bands)
    assert refused.value.cause == cause


def test_a_scene_without_system_has_no_area_and_places_no_fires(files):
    land, _, _, folder = files
    paths = [
        write(folder / f"plain_{date}.tif", [land.layers[name, date] for name in ("nir", "swir2", "red")], crs=None)
        for date in ("before", "after")
    ]
    report = burn_severity_file.run(*paths, folder / "burn.tif", bands=BANDS)
    assert "burnt_area_km2" not in report
    assert any("reference system" in text for text in report["warnings"])
    with pytest.raises(BadInputError, match="place the fires"):
        burn_severity_file.run(*paths, folder / "burn.tif", bands=BANDS, fires=(np.array([107.0]), np.array([29.8])))


def test_a_scene_without_vegetation_is_flagged(tmp_path):
    bare = [np.full((SIDE, SIDE), 0.3, dtype=np.float32)] * 2
    path = write(tmp_path / "bare.tif", bare)
    report = burn_severity_file.run(path, path, tmp_path / "burn.tif", bands={"nir": 1, "swir2": 2})
    assert report["status"] == "flagged"
    assert any("no change of season" in text for text in report["warnings"])


def test_season_of_a_large_scene_is_judged_on_parts_spread_over_it(monkeypatch, files):
    land, before, after, folder = files
    monkeypatch.setattr(burn_severity_file, "PIECE", 24)
    report = burn_severity_file.run(before, after, folder / "burn.tif", bands=BANDS)
    assert report["season_offset"] == pytest.approx(100.0, abs=12.0)
    assert land.truth.shape == (SIDE, SIDE)


def fused(land, *, dates=("2024-03-01", "2024-04-01"), names=("nir", "swir2"), **more):
    values = np.stack([[land.layers[name, date] for name in names] for date in ("before", "after")])
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full_like(values, 0.006)),
            "qa": (("time", "y", "x"), np.zeros((2, SIDE, SIDE), dtype=np.uint16)),
        },
        coords={"time": np.array(dates, dtype="datetime64[ns]"), "band": list(names)},
    )
    for name, layer in more.items():
        dataset[name] = (("y", "x"), layer)
    return grid.assign(dataset, GeoBox((SIDE, SIDE), Affine(20.0, 0.0, 5e5, 0.0, -20.0, 3.3e6), "EPSG:32648"))


def test_the_product_compares_the_first_and_the_last_usable_date():
    land = Landscape(season=0.1)
    water = np.zeros((SIDE, SIDE))
    water[:10] = 0.9
    dataset = fused(land, reference_water=water)
    dataset["qa"][1, 100:] = int(qa.QaBit.CLOUD)
    made = product.burn_severity_layers(dataset, parameters=product.BurnSeverityProductParameters())
    classes = made.data["burn_severity"].values
    assert (classes[:10] == burn_severity.NO_DATA).all()
    assert (classes[100:] == burn_severity.NO_DATA).all()
    assert np.mean(classes[10:100] == CLASSES[land.truth][10:100]) > 0.97
    assert made.dates.tolist() == [0, 1]
    assert made.facts["season_offset"] == pytest.approx(100.0, abs=10.0)


def test_the_product_uses_the_bands_that_help_where_both_dates_have_them():
    land = Landscape()
    whole = fused(land, names=("nir", "swir2", "red"))
    half = whole.copy(deep=True)
    half["reflectance"][1, 2] = np.nan
    parameters = product.BurnSeverityProductParameters()
    made, less, plain = (
        product.burn_severity_layers(scene, parameters=parameters) for scene in (whole, half, fused(land))
    )
    np.testing.assert_array_equal(less.data["burn_severity"], plain.data["burn_severity"])
    assert np.mean(made.data["burn_severity"].values == CLASSES[land.truth]) > 0.97
    assert made.facts["other_change_pixels"] >= 0
    json.dumps(made.facts)


def test_a_single_usable_date_or_no_common_pixel_gives_no_product():
    dataset = fused(Landscape())
    dataset["qa"][1] = int(qa.QaBit.CLOUD)
    apart = fused(Landscape())
    apart["qa"][0, :60] = int(qa.QaBit.CLOUD)
    apart["qa"][1, 60:] = int(qa.QaBit.CLOUD)
    for scene, cause in ((dataset, "too_few_dates"), (apart, "no_usable_pixel")):
        with pytest.raises(definition.NotApplicableError) as refused:
            product.burn_severity_layers(scene, parameters=product.BurnSeverityProductParameters())
        assert refused.value.cause == cause


def test_the_command_takes_fires_from_a_list(files):
    _, before, after, folder = files
    fires = folder / "fires.csv"
    fires.write_text("latitude,longitude,acq_date,acq_time\n29.8,107.0,2024-03-15,0530\n")
    out = folder / "burn.tif"
    words = ["surface", "burn", "--before", str(before), "--after", str(after), "--fires", str(fires)]
    assert (
        CliRunner().invoke(cli.app, [*words, "--out", str(out), "--report", str(folder / "burn.json")]).exit_code == 0
    )
