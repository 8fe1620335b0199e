"""Laws of ship detection on water drawn here."""

import datetime
import json

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from scipy import stats
from typer.testing import CliRunner

from infra.cli import surface
from infra.surface import ship as ship_file
from processors.imagery import grid
from processors.quality import BadInputError
from products.sectors import definition
from products.sectors import ship_detection as product
from retrieval.surface import clutter, ship

PARAMETERS = ship.ShipParameters()
SIZE = 300
LOOKS = 5.0


def sea(seed: int = 0, *, shape: float | None = 6.0) -> np.ndarray:
    """Mean power 0.01 with speckle and texture of single pixels."""
    rng = np.random.default_rng(seed)
    speckle = rng.gamma(LOOKS, 1 / LOOKS, (SIZE, SIZE))
    return (0.01 * speckle * (rng.gamma(shape, 1 / shape, (SIZE, SIZE)) if shape else 1)).astype(np.float32)


def put(power: np.ndarray, row: int, column: int, *, length: int = 8, width: int = 2, times: float = 40.0) -> None:
    power[row : row + width, column : column + length] = 0.01 * times


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A river from row 60 to row 240 between bright land."""
    power = sea(seed)
    water = np.zeros((SIZE, SIZE), dtype=bool)
    water[60:240] = True
    land = np.random.default_rng(seed + 1).gamma(LOOKS, 0.1 / LOOKS, (SIZE, SIZE))
    return np.where(water, power, land).astype(np.float32), water


def found(power, water, **options) -> ship.ShipMap:
    bands = power if isinstance(power, dict) else {"vv": power}
    return ship.detect(bands, water, pixel_size=(10.0, 10.0), parameters=PARAMETERS, **options)


def test_factor_is_that_of_the_gamma_tail_without_texture():
    plain = clutter.Clutter(4.0, 1e3)
    assert clutter.factor(1e-6, plain) == pytest.approx(stats.gamma.isf(1e-6, 4.0, scale=0.25), rel=1e-3)


@pytest.mark.parametrize("shape", [1.5, 5.0])
def test_factor_of_the_k_tail_is_met_by_drawn_numbers(shape):
    rng = np.random.default_rng(5)
    drawn = rng.gamma(shape, 1 / shape, 1_000_000) * rng.gamma(4.0, 0.25, 1_000_000)
    factor = clutter.factor(1e-4, clutter.Clutter(4.0, shape))
    assert 60 < (drawn > factor).sum() < 145
    fitted = clutter.fit(drawn, looks=4.0, quantile=0.997, looks_known=True)
    assert fitted.shape == pytest.approx(shape, rel=0.2)
    free = clutter.fit(drawn, looks=3.0, quantile=0.997)
    assert clutter.factor(1e-6, free) > 0.7 * clutter.factor(1e-6, clutter.Clutter(4.0, shape))


def test_fit_of_smooth_and_of_very_rough_water_stays_in_bounds():
    rng = np.random.default_rng(6)
    assert clutter.fit(rng.gamma(9, 1 / 9, 50_000), looks=8.0, quantile=0.99, looks_known=True).shape == 1e3
    rough = clutter.fit(rng.gamma(0.05, 20, 50_000) * rng.gamma(9, 1 / 9, 50_000), looks=9.0, quantile=0.99)
    assert rough.shape < 0.5


def test_ship_is_found_with_its_size_and_heading():
    power, water = scene()
    put(power, 150, 100, length=10, width=2)
    ships = found(power, water).ships
    assert len(ships.row) == 1
    assert (ships.row[0], ships.column[0]) == pytest.approx((150.5, 104.5), abs=0.6)
    assert abs(ships.length[0] - 100) < 2 * ships.length_sigma[0]
    assert min(abs(ships.heading[0] - 90), 180 - abs(ships.heading[0] - 90)) < 8
    assert ships.confidence[0] > 0.99
    assert ships.setting[0] == ship.UNDER_WAY


def test_water_without_ships_gives_none_and_states_what_to_expect():
    power, water = scene(3)
    empty = found(power, water)
    assert not len(empty.ships.row)
    assert empty.searched_area == pytest.approx((180 - 4) * 300 / 1e4, abs=0.6)
    assert empty.expected_false_alarms == pytest.approx(empty.searched_area * 1e4 * 1e-6)


def test_two_polarizations_find_what_one_does_not():
    rng = np.random.default_rng(8)
    water = np.ones((SIZE, SIZE), dtype=bool)
    hits = []
    for bands in (1, 2):
        stack = {}
        for number, name in enumerate(("vv", "vh")[:bands]):
            power = sea(10 + number, shape=None)
            for column in range(20, 280, 40):
                power[150:152, column : column + 5] = 0.01 * rng.gamma(LOOKS, 3.4 / LOOKS, (2, 5))
            stack[name] = power
        hits.append(len(found(stack, water).ships.row))
    assert hits[1] > hits[0]


def test_bridge_from_bank_to_bank_is_rejected_and_a_ship_beside_it_kept():
    power, water = scene()
    power[55:245, 150:152] = 0.8
    put(power, 120, 160)
    result = found(power, water)
    assert result.rejected["bridge"] == 1
    assert len(result.ships.row) == 1


def test_pieces_of_a_bridge_are_rejected_together():
    power, water = scene()
    for row in range(58, 243, 6):
        power[row : row + 4, 150:152] = 0.8
    assert not len(found(power, water).ships.row)


def test_water_at_a_known_bridge_is_not_searched():
    power, water = scene()
    decks = np.zeros_like(water)
    decks[:, 150] = True
    put(power, 120, 148)
    result = found(power, water, place=ship.Place(bridges=decks))
    assert not len(result.ships.row)
    assert result.classes[120, 150] == ship.OUTSIDE
    assert result.unsearched["bridge_or_too_narrow"] > 0


def test_moored_row_is_marked_and_its_ships_counted():
    power, water = scene()
    for column in range(100, 130, 6):
        put(power, 61, column, length=3, width=5, times=60)
        power[61:66, column + 3 : column + 6] = 0.01 * 12
    ships = found(power, water).ships
    assert (ships.setting == ship.MOORED).all()
    assert ships.ships.sum() >= 4
    berths = np.zeros_like(water)
    berths[148:152, 95:99] = True
    put(power, 150, 100)
    marked = found(power, water, place=ship.Place(berths=berths)).ships
    assert marked.setting[np.argmin(np.abs(marked.row - 150.5))] == ship.MOORED


def test_layover_is_not_searched():
    power, water = scene()
    put(power, 150, 100)
    hidden = np.zeros_like(water)
    hidden[140:160, 90:120] = True
    result = found(power, water, place=ship.Place(hidden=hidden))
    assert not len(result.ships.row)
    assert result.unsearched["layover_or_shadow"] == 600


def test_cliff_that_lies_over_the_water_is_too_large():
    power, water = scene()
    power[150:164, 100:160] = 0.5
    assert found(power, water).rejected["too_large"] == 1


def test_ship_left_out_of_the_mask_is_found_and_an_islet_is_not():
    power, water = scene()
    put(power, 150, 100, times=200)
    water[149:153, 99:109] = False
    rng = np.random.default_rng(4)
    water[180:186, 200:206] = False
    power[180:186, 200:206] = rng.gamma(LOOKS, 0.1 / LOOKS, (6, 6))
    result = found(power, water)
    assert len(result.ships.row) == 1
    assert result.ships.row[0] == pytest.approx(150.5, abs=1)


def test_azimuth_ambiguity_is_rejected_where_its_source_lies():
    power, water = scene()
    put(power, 120, 100, times=4000)
    put(power, 220, 100, times=20)
    assert len(found(power, water).ships.row) == 2
    result = found(power, water, ambiguity=ship.Ambiguity(1000.0, 180.0))
    assert result.rejected["ambiguity"] == 1
    assert result.ships.row[0] < 130


def test_narrow_river_keeps_water_to_search():
    power = sea(2)
    water = np.zeros((SIZE, SIZE), dtype=bool)
    water[150:155] = True
    power[~water] = 0.1
    put(power, 152, 100, length=8, width=1, times=60)
    result = found(power, water)
    assert len(result.ships.row) == 1
    assert result.searched_area > 0


def test_no_data_and_no_water_are_refused():
    power, water = scene()
    for bands, mask, cause in (
        (power * np.nan, water, "no_data"),
        (power, water & False, "no_water"),
    ):
        with pytest.raises(BadInputError) as refused:
            found(bands, mask)
        assert refused.value.cause == cause
    tiny = np.zeros_like(water)
    tiny[150:154, 150:154] = True
    with pytest.raises(BadInputError) as refused:
        found(power, tiny)
    assert refused.value.cause == "no_water"


def test_pixels_without_data_are_no_ships_and_no_water():
    power, water = scene()
    power[100:140] = np.nan
    result = found(power, water)
    assert (result.classes[100:140] == ship.NO_DATA).all()
    assert result.unsearched["no_data"] == 40 * SIZE


@pytest.fixture
def files(tmp_path):
    power, water = scene()
    for column in (60, 120, 200):
        put(power, 150, column)
    place = Affine(10, 0, 640_000, 0, -10, 3_290_000)
    options = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": 1, "crs": "EPSG:32648", "transform": place}
    with rasterio.open(tmp_path / "s.tif", "w", dtype="float32", **options) as out:
        out.write(10 * np.log10(power), 1)
    with rasterio.open(tmp_path / "w.tif", "w", dtype="uint8", **options) as out:
        out.write(water.astype(np.uint8), 1)
    carry = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4326", always_xy=True)

    def at(row, column):
        longitude, latitude = carry.transform(640_005 + 10 * column, 3_289_995 - 10 * row)
        return f"{latitude:.7f},{longitude:.7f}"

    rows = [
        f"413000001,2026-03-01T10:00:00Z,{at(150.5, 63.5)},0,90,80",
        f"413000002,2026-03-01T10:00:00Z,{at(150.5, 123.5)},0,90,80",
        f"413000003,2026-03-01T10:00:00Z,{at(200, 30)},0,90,80",
        f"413000004,2026-03-01T10:00:00Z,{at(20, 30)},0,90,80",
        f"413000005,2026-03-01T10:00:00Z,{at(200, 90)},0,90,12",
        "no,row",
    ]
    (tmp_path / "a.csv").write_text("mmsi,time,lat,lon,sog,cog,length\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_command_finds_ships_and_joins_reports(files, monkeypatch):
    monkeypatch.setattr(ship_file, "TILE", 128)
    monkeypatch.setattr(ship_file, "HALO", 64)
    out = files / "o.gpkg"
    arguments = ["--sar", files / "s.tif", "--sar-bands", "vv=1", "--sar-unit", "db", "--water", files / "w.tif"]
    arguments += ["--ais", files / "a.csv", "--time", "2026-03-01T10:00:00", "--out", out, "--json"]
    result = CliRunner().invoke(surface.app, ["ship", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [told[name] for name in ("ships", "matched", "dark", "silent", "unsearched", "small")] == [3, 2, 1, 1, 1, 1]
    assert told["ais_rows_rejected"] == {"too_short": 1}
    about, _, _, columns = pyogrio.raw.read(out, layer="ships")
    fields = dict(zip(about["fields"], columns, strict=True))
    assert set(fields["ais"]) == {"matched", "dark"}
    assert set(fields["mmsi"]) == {0, 413000001, 413000002}
    assert {name for name, _ in pyogrio.list_layers(out)} == {"ships", "ship_boxes", "ais"}
    _, _, boxes, _ = pyogrio.raw.read(out, layer="ship_boxes")
    assert len(boxes) == 3


def test_command_says_what_it_needs(files):
    base = [
        "ship",
        "--sar",
        str(files / "s.tif"),
        "--sar-bands",
        "vv=1",
        "--sar-unit",
        "db",
        "--out",
        str(files / "o.fgb"),
    ]
    runner = CliRunner()
    dry = runner.invoke(surface.app, base)
    assert dry.exit_code == 1
    assert "surface water" in str(dry.exception)
    with_water = [*base, "--water", str(files / "w.tif")]
    for extra in (
        ["--ais", str(files / "a.csv")],
        ["--ais", str(files / "a.csv"), "--time", "noon"],
        ["--incidence", "35"],
        ["--sar-unit", "volt"],
    ):
        assert runner.invoke(surface.app, [*with_water, *extra]).exit_code == 2
    good = runner.invoke(
        surface.app,
        [*with_water, "--flight-azimuth", "190", "--incidence", "38", "--ambiguity-shift", "1000", "--layover",
         str(files / "w.tif")],
    )  # fmt: skip
    assert good.exit_code == 1
    assert "no water" in str(good.exception)


def test_file_level_refusals_name_their_cause(files):
    with pytest.raises(BadInputError) as refused:
        ship_file.run(files / "s.tif", files / "o.shp", water=files / "w.tif")
    assert refused.value.cause == "suffix_unknown"
    with rasterio.open(files / "w.tif") as seen:
        profile = seen.profile
    with rasterio.open(files / "dry.tif", "w", **profile) as out:
        out.write(np.zeros((1, SIZE, SIZE), dtype=np.uint8))
    with pytest.raises(BadInputError) as refused:
        ship_file.run(files / "s.tif", files / "o.fgb", sar_unit="db", sar_bands={"vv": 1}, water=files / "dry.tif")
    assert refused.value.cause == "no_water"
    look = ship_file.ais_match.Look(190.0, 38.0)
    reports = ship_file.AisList(files / "a.csv", datetime.datetime(2026, 3, 1, 10, tzinfo=datetime.UTC), look)
    told = ship_file.run(
        files / "s.tif", files / "o.fgb", sar_unit="db", sar_bands={"vv": 1}, water=files / "w.tif", ais=reports
    )
    assert told["matched"] == 2


def fused() -> xr.Dataset:
    power, _ = scene()
    put(power, 150, 100)
    shape = (SIZE, SIZE)
    data = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), np.full((1, 4, *shape), np.nan)),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full((1, 4, *shape), np.nan)),
            "backscatter": (("time", "polarization", "y", "x"), 10 * np.log10(power)[None, None]),
            "qa": (("time", "y", "x"), np.zeros((1, *shape), dtype=np.uint16)),
            "layover": (("y", "x"), np.zeros(shape, dtype=np.uint8)),
        },
        coords={
            "band": ["blue", "green", "red", "nir"],
            "polarization": ["vv"],
            "time": np.array(["2026-03-01"], dtype="datetime64[ns]"),
        },
    )
    box = grid.covering((640_000, 3_287_000, 643_000, 3_290_000), crs="EPSG:32648", resolution=10)
    return grid.assign(data, box)


def test_product_needs_radar_and_water():
    scene_ = fused()
    parameters = product.ShipDetectionParameters()
    with pytest.raises(definition.NotApplicableError):
        product.ship_detection_layers(scene_.drop_vars("backscatter"), parameters=parameters)
    scene_["backscatter"] = scene_["backscatter"] * 0 - 5.0
    with pytest.raises(definition.NotApplicableError):
        product.ship_detection_layers(scene_, parameters=parameters)


def test_product_holds_ships_and_what_was_searched():
    scene_ = fused()
    # Speckle of single pixels tells water badly: let the product see the mean of the scene.
    layers = product.ship_detection_layers(scene_, parameters=product.ShipDetectionParameters())
    assert layers.data[product.LAYER].dtype == np.uint8
    assert layers.features[0].name == "ships"
    assert layers.facts["searched_area_km2"] > 0


def test_ship_fainter_than_single_pixels_of_rough_water_is_found():
    rng = np.random.default_rng(12)
    power = sea(12, shape=None)
    for column in range(20, 280, 40):
        power[150:154, column : column + 5] = 0.01 * rng.gamma(LOOKS, 3.0 / LOOKS, (4, 5))
    water = np.ones((SIZE, SIZE), dtype=bool)
    assert len(found(power, water).ships.row) == 7
    single = ship.ShipParameters(mean_half=0.0)
    alone = ship.detect({"vv": power}, water, pixel_size=(10.0, 10.0), parameters=single)
    assert len(alone.ships.row) < 5


def islets(seed: int, *, times: float) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Elongated dry patches, brighter than the land around."""
    power, water = scene(seed)
    rows = [100, 130, 160, 190]
    for row in rows:
        water[row : row + 2, 200:208] = False
        power[row : row + 2, 200:208] = 0.01 * times
    return power, water, rows


def test_dry_patches_are_islets_where_ships_stand_in_the_water_of_the_mask():
    power, water, _ = islets(5, times=60)
    assert len(found(power, water).ships.row) == 4
    for column in (60, 100):
        put(power, 150, column, length=10, times=60)
    result = found(power, water)
    assert sorted(result.ships.column.round(1)) == [64.5, 104.5]
    assert (result.classes[100:102, 200:208] != ship.SHIP).all()


def test_what_stands_out_on_earlier_dates_is_no_ship():
    power, water, rows = islets(6, times=60)
    put(power, 215, 100)
    put(power, 120, 60)
    before = []
    for seed in (7, 8, 9):
        earlier, _, _ = islets(seed, times=60)
        put(earlier, 215, 100)
        before.append({"vv": earlier})
    put(before[0]["vv"], 120, 60)
    static = ship.static_targets(before, water, pixel_size=(10.0, 10.0), parameters=PARAMETERS)
    result = found(power, water, place=ship.Place(static=static))
    assert len(result.ships.row) == 1
    assert result.ships.row[0] == pytest.approx(120.5, abs=0.5)
    assert result.rejected["static"] >= 1
    assert static[rows[0], 203]


def narrow(seed: int) -> tuple[np.ndarray, np.ndarray]:
    power, water = scene(seed)
    land = power[:60].mean()
    water[:150], water[159:] = False, False
    power[~water] = land
    return power, water


def test_bridge_as_wide_as_a_narrow_river_is_a_bridge_and_a_ship_in_it_a_ship():
    power, water = narrow(2)
    power[148:161, 100:106] = 0.6
    put(power, 153, 200, length=7, width=3, times=60)
    result = found(power, water)
    assert result.rejected["bridge"] == 1
    assert [round(column) for column in result.ships.column] == [203]


def test_a_single_pixel_is_no_ship_where_the_radar_sees_no_single_pixels():
    power, water = scene(4)
    put(power, 150, 100, length=1, width=1, times=300)
    sharp = found(power, water, resolution=10.0)
    coarse = found(power, water, resolution=20.0)
    assert len(sharp.ships.row) == 1
    assert not len(coarse.ships.row)
    assert coarse.rejected["few_pixels"] == 1


def test_command_uses_earlier_dates_and_the_usual_water(files):
    with rasterio.open(files / "w.tif") as seen:
        profile, wet = seen.profile, seen.read(1)
    usual = wet.astype(np.float32)
    usual[145:156, 50:75] = 0.0
    with rasterio.open(files / "r.tif", "w", **(profile | {"dtype": "float32"})) as out:
        out.write(usual, 1)
    power, _ = scene(11)
    put(power, 150, 120)
    with rasterio.open(files / "e.tif", "w", **(profile | {"dtype": "float32"})) as out:
        out.write(10 * np.log10(power), 1)
    arguments = ["--sar", files / "s.tif", "--sar-bands", "vv=1", "--sar-unit", "db", "--water", files / "w.tif"]
    arguments += ["--out", files / "o.fgb", "--json"]
    counts = []
    for extra in (
        [],
        ["--earlier", files / "e.tif"],
        ["--earlier", files / "e.tif", "--reference-water", files / "r.tif"],
    ):
        result = CliRunner().invoke(surface.app, ["ship", *map(str, arguments + extra)])
        assert result.exit_code == 0, result.output
        counts.append(json.loads(result.stdout)["ships"])
    assert counts == [3, 2, 1]


def test_product_leaves_out_what_stood_there_before():
    once = fused()
    both = once.isel(time=[0, 0]).assign_coords(time=np.array(["2026-03-01", "2026-03-13"], dtype="datetime64[ns]"))
    both["reference_water"] = once["layover"] + 1.0
    parameters = product.ShipDetectionParameters()
    alone = product.ship_detection_layers(once, parameters=parameters)
    again = product.ship_detection_layers(both, parameters=parameters)
    assert again.facts["objects"] < max(alone.facts["objects"], 1)
