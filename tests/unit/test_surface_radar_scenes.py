"""Simulated radar scenes: a flooded valley, rivers of known width, ships; and their files."""

import functools
import itertools
import json
import math

import numpy as np
import pytest
import rasterio
import typer
import typer.testing as runner
from scipy import ndimage

from infra.cli.surface import simulate
from infra.surface import scene_files, simulation
from processors.quality import BadInputError
from processors.simulation import _radar_scene_kernels, radar_water_scene, river_scene, ship_scene

SHAPE = (128, 128)
simulate_app = typer.Typer()
simulate_app.command()(simulate.simulate)


@functools.cache
def _valley(**options):
    return radar_water_scene.simulate_water_scene(5, shape=SHAPE, dates_before=1, **options)


@functools.cache
def _river(seed=3, **options):
    return river_scene.simulate_river_scene(seed, shape=(150, 150), **options)


@functools.cache
def _ships(seed=4, **options):
    return ship_scene.simulate_ship_scene(seed, shape=(180, 180), **options)


def test_speckle_has_mean_one_and_the_number_of_looks_asked_for():
    for correlation in (0.0, 0.6):
        factor = radar_water_scene.gamma_speckle(
            np.random.default_rng(1), (500, 500), looks=4.9, correlation=correlation
        )
        assert factor.mean() == pytest.approx(1.0, abs=0.01)
        assert 1.0 / factor.var() == pytest.approx(4.9, rel=0.03)


def test_neighbors_of_correlated_speckle_are_alike():
    alike = [
        np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]
        for field in (
            radar_water_scene.gamma_speckle(np.random.default_rng(2), (300, 300), looks=4.0, correlation=correlation)
            for correlation in (0.0, 0.6)
        )
    ]
    assert abs(alike[0]) < 0.02
    assert alike[1] == pytest.approx(math.exp(-1.0 / (4.0 * 0.6**2)), abs=0.08)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another():
    one = radar_water_scene.simulate_water_scene(8, shape=(64, 64), dates_before=1)
    same = radar_water_scene.simulate_water_scene(8, shape=(64, 64), dates_before=1)
    other = radar_water_scene.simulate_water_scene(9, shape=(64, 64), dates_before=1)
    np.testing.assert_array_equal(one.vv, same.vv)
    np.testing.assert_array_equal(one.reflectance, same.reflectance)
    assert not np.array_equal(one.vv, other.vv)


def test_water_grows_with_the_stage_and_the_land_does_not_depend_on_it():
    stages = [_valley(flood_stage=stage, canopy_share=0.0, urban_share=0.0) for stage in (0.0, 1.5, 3.0, 6.0)]
    for lower, higher in itertools.pairwise(stages):
        np.testing.assert_array_equal(lower.terrain, higher.terrain)
        np.testing.assert_array_equal(lower.water_before, higher.water_before)
        wet = lower.fraction_after + lower.hidden_water
        assert (wet <= higher.fraction_after + higher.hidden_water + 1e-6).all()
    np.testing.assert_array_equal(stages[0].fraction_before, stages[0].fraction_after)
    assert stages[2].fraction_after.sum() > 1.1 * stages[0].fraction_after.sum()


def test_flood_without_anything_standing_in_it_is_connected_with_water_that_was_there():
    # This valley has many hollows below the level of the flood that it does not reach.
    scene = radar_water_scene.simulate_water_scene(
        10, shape=(160, 160), dates_before=0, flood_stage=2.0, bridges=0, ships=0, lakes=0, ponds=0, reservoir=False
    )
    wet = (scene.fraction_after > 0.0) | scene.hidden_water
    label, count = ndimage.label(wet, structure=np.ones((3, 3)))
    fed = np.unique(label[scene.fraction_before > 0.5])
    edge = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    # What the scene cuts off may be fed beyond its edge.
    assert set(range(1, count + 1)) <= set(fed) | set(edge)


def test_ground_well_above_the_flood_is_dry_and_the_bed_of_the_river_is_not():
    scene = _valley(flood_stage=3.0, bridges=0, ships=0)
    level = np.nanmax(scene.water_level)
    assert not scene.fraction_after[scene.terrain > level + 0.5].any()
    assert (scene.terrain <= scene.water_level + 1.0)[scene.fraction_after == 1.0].all()


def test_backscatter_of_classes_is_that_of_their_table():
    scene = _valley(gusts=0.0, relief=0.0, cliff=0.0, wind_speed=1.0, noise_floor=-60.0, calibration_offset=1.0)
    calm = scene.mean_backscatter[0][scene.fraction_after == 1.0]
    assert 10.0 * np.log10(calm.mean()) == pytest.approx(-25.0 + 1.0, abs=0.05)
    ratio = scene.vv / scene.mean_backscatter[0]
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert 1.0 / ratio.var() == pytest.approx(4.9, rel=0.08)


def test_wind_roughens_water_more_in_copolar_than_in_crosspolar():
    calm, rough = (_valley(wind_speed=wind, gusts=0.0, noise_floor=-60.0) for wind in (1.5, 9.0))
    water = (calm.fraction_after == 1.0) & ~calm.layover & ~calm.radar_shadow
    rise = [
        10.0 * np.log10(rough.mean_backscatter[i][water].mean() / calm.mean_backscatter[i][water].mean())
        for i in (0, 1)
    ]
    assert rise[0] > rise[1] > 0.0
    assert -15.0 < 10.0 * np.log10(rough.mean_backscatter[0][water].mean()) < -12.0


def _ridge(slope, length=12):
    """A ridge along the columns' normal: rises eastwards, then falls."""
    x = np.arange(80.0)
    return np.tile(10.0 * slope * np.clip(length - np.abs(x - 40.0), 0.0, None), (20, 1)).astype(np.float32)


def test_layover_lies_on_the_slope_facing_the_radar_and_on_ground_before_it():
    tangent = math.tan(math.radians(38.0))
    layover, shadow = _radar_scene_kernels.scan_range(_ridge(1.2), 0.0, 1.0, 10.0, tangent)
    assert layover[10, 30:40].all()
    assert layover[10, 24:28].any()
    assert not layover[10, 60:].any()
    gentle, _ = _radar_scene_kernels.scan_range(_ridge(0.6), 0.0, 1.0, 10.0, tangent)
    assert not gentle.any()
    assert not shadow[10, :41].any()


def test_shadow_lies_behind_what_is_steeper_than_the_beam_and_turns_with_the_look():
    tangent = math.tan(math.radians(38.0))
    _, east = _radar_scene_kernels.scan_range(_ridge(2.0), 0.0, 1.0, 10.0, tangent)
    _, west = _radar_scene_kernels.scan_range(_ridge(2.0), 0.0, -1.0, 10.0, tangent)
    assert east[10, 42:52].all()
    assert not east[10, :40].any()
    np.testing.assert_array_equal(west[10, 1:], east[10, 1:][::-1])
    # The shadow of a summit of 240 m is as long as its ray is high: h tan(i).
    reach = np.flatnonzero(east[10]).max() - 40
    assert reach == pytest.approx(24.0 * tangent, abs=1.5)


def test_what_shares_a_slant_range_is_mixed_by_the_area_it_shows():
    heights = _ridge(1.2)
    angle = math.radians(38.0)
    layover, shadow = _radar_scene_kernels.scan_range(heights, 0.0, 1.0, 10.0, math.tan(angle))
    even = np.ones((2, *heights.shape), dtype=np.float32)
    mixed, area = _radar_scene_kernels.fold_range(heights, even, layover, shadow, 0.0, 1.0, 10.0, angle)
    np.testing.assert_allclose(mixed[:, layover], 1.0, rtol=1e-5)
    assert area[layover].mean() > 2.0
    dark_front = even.copy()
    dark_front[:, :, :28] = 0.0
    water, _ = _radar_scene_kernels.fold_range(heights, dark_front, layover, shadow, 0.0, 1.0, 10.0, angle)
    assert water[0, 10, 26:28].max() > 0.5


def test_flattening_takes_the_brightness_of_layover_away():
    flat, bright = (_valley(relief=500.0, cliff=90.0, flattened=flattened) for flattened in (True, False))
    assert flat.layover.mean() > 0.02
    ratio = bright.mean_backscatter[0][flat.layover].mean() / flat.mean_backscatter[0][flat.layover].mean()
    assert ratio > 2.0


def test_shadow_holds_noise_alone():
    scene = _valley(relief=900.0, cliff=250.0, incidence_angle=44.0, noise_floor=-24.0)
    dark = scene.radar_shadow & ~scene.layover
    assert dark.sum() > 100
    assert not scene.mean_backscatter[:, dark].any()
    assert 10.0 * np.log10(scene.vv[dark].mean()) == pytest.approx(-24.0, abs=0.3)


def test_valleys_without_water_and_water_without_land():
    dry, sea = _valley(water="none"), _valley(water="all")
    assert not dry.fraction_after.any()
    assert not dry.fraction_before.any()
    assert not dry.hidden_water.any()
    assert (sea.fraction_after == 1.0).all()
    assert not sea.layover.any()
    assert sea.vv.mean() < 0.3 * dry.vv.mean()


def test_clouds_cover_what_the_mask_says_and_the_noise_of_the_provider_is_taken_off():
    clear, cloudy = _valley(), _valley(cloud_fraction=0.3, noise_removed=True)
    assert not clear.cloud.any()
    assert 0.2 < cloudy.cloud.mean() < 0.6
    open_sky = ~cloudy.cloud
    assert np.abs(cloudy.reflectance - clear.reflectance)[:, open_sky].max() < 0.1
    assert np.abs(cloudy.reflectance - clear.reflectance)[:, cloudy.cloud].mean() > 0.05
    assert cloudy.vh.mean() < clear.vh.mean()


def test_flooded_paddies_are_dark_and_marked_as_hidden():
    dry, wet = _valley(flood_stage=0.0), _valley(flood_stage=0.0, flooded_paddy=True)
    assert not dry.hidden_water.any()
    assert wet.hidden_water.any()
    assert (wet.land_cover[wet.hidden_water] == radar_water_scene.PADDY).all()
    seen = wet.hidden_water & ~wet.layover & ~wet.radar_shadow
    assert wet.mean_backscatter[0][seen].mean() < 0.7 * dry.mean_backscatter[0][seen].mean()


def test_reference_water_is_near_the_truth_but_not_it():
    scene = _valley()
    agree = (scene.reference_water > 0.5) == scene.water_before
    assert 0.9 < agree.mean() < 1.0
    exact = _valley(reference_errors=False, bridges=0, ships=0)
    np.testing.assert_array_equal(exact.reference_water, exact.fraction_before)


def test_reservoir_stands_level_behind_its_dam():
    scenes = [
        radar_water_scene.simulate_water_scene(
            10,
            shape=(160, 160),
            dates_before=0,
            flood_stage=0.0,
            lakes=0,
            ponds=0,
            bridges=0,
            ships=0,
            reservoir=reservoir,
        )
        for reservoir in (False, True)
    ]
    dam = scenes[1].terrain > scenes[0].terrain
    added = (scenes[1].fraction_after == 1.0) & (scenes[0].fraction_after == 0.0)
    assert dam.any()
    assert added.sum() > 10
    np.testing.assert_allclose(np.ptp(scenes[1].water_level[added]), 0.0, atol=0.01)
    assert scenes[1].terrain[dam].min() >= scenes[1].water_level[added].max()
    np.testing.assert_allclose(np.ptp(scenes[1].dem[added]), 0.0, atol=0.01)


@pytest.mark.parametrize(
    "wrong", [{"shape": (16, 64)}, {"flood_stage": -1.0}, {"water": "some"}], ids=["small", "stage", "water"]
)
def test_valleys_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="no valley"):
        radar_water_scene.simulate_water_scene(1, **wrong)


@pytest.mark.parametrize("angle", [0.0, 33.0, 90.0])
def test_straight_river_covers_its_width_times_its_length(angle):
    scene = _river(course="straight", angle=angle, width=73.0, width_variation=0.0)
    turn = math.radians(angle)
    length = 150.0 / max(abs(math.cos(turn)), abs(math.sin(turn)))
    assert scene.fraction.sum() == pytest.approx(7.3 * length, rel=0.005)


@pytest.mark.parametrize("course", ["meander", "arc"])
def test_area_of_bends_is_that_of_width_along_the_line(course):
    scene = _river(course=course, width=90.0, angle=10.0)
    assert scene.fraction.sum() * 100.0 == pytest.approx(scene.area, rel=0.01)


def test_a_section_across_the_river_holds_its_width_of_water():
    scene = _river(islands=2, width=160.0, seed=6)
    reach = scene.reaches[0]
    split = np.flatnonzero(reach.measurable & (reach.water_width < reach.width - 5.0))
    whole = np.flatnonzero(reach.measurable & (reach.water_width == reach.width))
    assert split.size
    assert whole.size
    for k in np.concatenate([split[:: split.size // 8 + 1], whole[:: whole.size // 8 + 1]]):
        turn = math.radians(reach.tangent[k])
        # Across the line, in rows and columns: east is a column, north is a row less.
        across = np.array([math.cos(turn), math.sin(turn)])
        step = np.arange(-14.0, 14.0, 0.05)
        line = reach.path[k] + step[:, None] * across
        water = ndimage.map_coordinates(scene.fraction, line.T, order=1).sum() * 0.05 * 10.0
        assert water == pytest.approx(reach.water_width[k], abs=4.0)


def test_truth_at_a_place_is_that_of_the_nearest_center_line():
    scene = _river(tributaries=1, width=120.0, width_variation=0.3)
    reach = scene.reaches[0]
    inside = np.flatnonzero(((reach.path > 5) & (reach.path < 145)).all(axis=1))[::200]
    found = scene.width_at(reach.x[inside], reach.y[inside])
    np.testing.assert_allclose(found.width, reach.width[inside])
    np.testing.assert_allclose(found.distance, 0.0, atol=1e-6)
    branch = scene.reaches[1]
    assert scene.width_at(branch.x[-1], branch.y[-1]).reach[0] == 1


def test_bridges_hide_water_and_sections_below_them_are_not_measurable():
    plain, crossed = _river(width=120.0), _river(width=120.0, bridges=1)
    lost = plain.fraction.sum() - crossed.fraction.sum()
    assert lost * 100.0 == pytest.approx(120.0 * 25.0, rel=0.35)
    reach = crossed.reaches[0]
    under = ndimage.map_coordinates(crossed.fraction, reach.path.T, order=0) < 0.2
    inside = ((reach.path > 2) & (reach.path < 147)).all(axis=1)
    assert (under & inside).any()
    assert not reach.measurable[under & inside].any()


def test_lake_is_water_away_from_the_river():
    plain, wet = _river(width=80.0), _river(width=80.0, lake=True)
    added = wet.fraction - plain.fraction
    assert added.min() >= 0.0
    assert added.sum() > 50.0


def test_clouds_leave_neither_class_nor_probability_and_sections_in_them_are_not_measurable():
    scene = _river(clouds=6, noise=1.0, wrong=0.02, width=120.0)
    assert scene.nodata.any()
    np.testing.assert_array_equal(scene.mask == 255, scene.nodata)
    np.testing.assert_array_equal(np.isnan(scene.probability), scene.nodata)
    np.testing.assert_array_equal((scene.probability >= 0.5)[~scene.nodata], (scene.mask == 1)[~scene.nodata])
    wrong = ((scene.fraction >= 0.5) != (scene.mask == 1))[~scene.nodata].mean()
    assert 0.01 < wrong < 0.08
    reach = scene.reaches[0]
    cells = np.rint(reach.path).astype(int)
    inside = ((cells >= 0) & (cells < 150)).all(axis=1)
    hidden = scene.nodata[tuple(cells[inside].T)]
    assert not reach.measurable[inside][hidden].any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"course": "braided"}, "no river"),
        ({"cells": 4}, "no river"),
        ({"bend": 85.0, "wavelength": 3.0}, "tighter"),
        ({"width": 1400.0, "lake": True, "wavelength": 30.0}, "too little"),
    ],
)
def test_rivers_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        river_scene.simulate_river_scene(1, shape=(100, 100), **wrong)


def test_clutter_has_the_moments_of_the_k_distribution():
    scene = _ships(
        water="open", ships=0, buoys=0, gusts=0.0, noise_floor=-70.0, texture=4.0, looks=3.0, ambiguity_ratio=-90.0
    )
    ratio = scene.vv / scene.clutter[0]
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert (ratio**2).mean() == pytest.approx((1 + 1 / 4.0) * (1 + 1 / 3.0), rel=0.05)
    plain = _ships(water="open", ships=0, buoys=0, gusts=0.0, noise_floor=-70.0, texture=math.inf, looks=3.0)
    assert (plain.vv / plain.clutter[0]).var() == pytest.approx(1 / 3.0, rel=0.05)


def test_a_ship_returns_its_cross_section_where_its_image_lies():
    quiet = {"water": "open", "buoys": 0, "water_backscatter": (-60.0, -60.0), "noise_floor": -70.0}
    scene = _ships(ships=1, shortest=80.0, longest=81.0, looks=1e4, ambiguity_ratio=-90.0, **quiet)
    (ship,) = scene.ships
    energy = scene.vv.sum() * 100.0
    assert energy == pytest.approx(ship.cross_section, rel=0.06)
    rows, columns = np.indices(scene.vv.shape)
    middle = [(scene.vv * part).sum() / scene.vv.sum() for part in (rows, columns)]
    assert np.hypot(middle[0] - ship.image_row, middle[1] - ship.image_column) < 2.5


def test_ships_towards_the_radar_move_forward_along_the_flight():
    scene = _ships(ships=30, look_azimuth=90.0, water="lake")
    moving = [ship for ship in scene.ships if ship.speed > 0.0]
    assert moving
    for ship in moving:
        towards = -ship.speed * math.sin(math.radians(ship.heading)) * math.sin(math.radians(38.0))
        # A radar that looks east flies north.
        assert ship.image_y - ship.y == pytest.approx(towards * ship_scene.RANGE_OVER_SPEED, abs=1e-6)
        assert ship.image_x == pytest.approx(ship.x, abs=1e-6)
    still = _ships(ships=10, moving=False, water="lake")
    assert all(ship.azimuth_displacement == 0.0 for ship in still.ships)


def test_searchable_ships_lie_on_water_and_moored_ones_side_by_side_at_the_bank():
    scene = _ships(moored_rows=3)
    searchable = [ship for ship in scene.ships if ship.searchable]
    assert searchable
    assert all(scene.water[round(ship.image_row), round(ship.image_column)] for ship in searchable)
    moored = [ship for ship in scene.ships if ship.moored]
    assert len(moored) >= 9
    gaps = [math.hypot(a.x - b.x, a.y - b.y) for a, b in itertools.pairwise(moored)]
    assert np.median(gaps) < 30.0
    assert scene.searched_area == pytest.approx(scene.water.sum() * 1e-4)


def test_bridges_are_bright_bands_from_bank_to_bank():
    scene = _ships(ships=0, moored_rows=0, buoys=0)
    assert len(scene.bridges) == 2
    for bridge in scene.bridges:
        middle = np.rint(bridge.line.mean(axis=0)).astype(int)
        around = scene.vv[middle[0] - 1 : middle[0] + 2, middle[1] - 1 : middle[1] + 2]
        assert around.max() > 10.0 * np.median(scene.vv[scene.water])


def test_ambiguities_repeat_what_is_bright_at_their_level():
    common = {"water": "open", "ships": 1, "buoys": 0, "shortest": 190.0, "moving": False, "looks": 1e4}
    common |= {"ambiguity_shift": 600.0, "water_backscatter": (-70.0, -70.0), "noise_floor": -80.0}
    scene = ship_scene.simulate_ship_scene(2, shape=(250, 250), ambiguity_ratio=-20.0, **common)
    (ship,) = scene.ships
    flight = np.array([-math.sin(math.radians(100.0)), -math.cos(math.radians(100.0))])
    total = []
    for way in (0.0, 60.0, -60.0):
        row, column = np.rint(np.array([ship.row, ship.column]) + way * flight).astype(int)
        part = scene.vv[max(row - 22, 0) : row + 23, max(column - 22, 0) : column + 23]
        total.append(part.sum())
    assert max(total[1:]) == pytest.approx(0.01 * total[0], rel=0.25)


def test_reports_place_a_ship_where_it_was_then():
    scene = _ships(ships=40, ais_share=1.0)
    by_number = {ship.mmsi: ship for ship in scene.ships if ship.mmsi}
    own = [report for report in scene.ais if report.kind == "ship"]
    assert len(own) == len(by_number) > 10
    for report in own:
        ship = by_number[report.mmsi]
        way = ship.speed * report.time_offset
        course = math.radians(ship.heading)
        assert report.x - ship.x == pytest.approx(way * math.sin(course), abs=30.0)
        assert report.y - ship.y == pytest.approx(way * math.cos(course), abs=30.0)
    kinds = [report.kind for report in scene.ais]
    assert kinds.count("outside") == 3
    assert kinds.count("ghost") == 1
    assert all(report.y > scene.grid.extent.boundingbox.top for report in scene.ais if report.kind == "outside")


def test_rain_brightens_the_water_and_without_cliffs_banks_are_plain():
    calm, rain = _ships(water="lake"), _ships(water="lake", rain=True, cliffs=0.0)
    assert rain.clutter[0].max() > 1.5 * calm.clutter[0].max()


def test_ships_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="no ships"):
        ship_scene.simulate_ship_scene(1, water="moor")


@pytest.mark.parametrize(("kind", "size"), [("water", 96), ("river", 200), ("ship", 200)])
def test_files_tell_the_truth_and_every_parameter(tmp_path, kind, size):
    made = simulation.run(kind, tmp_path, 2, size=size)
    assert made == json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert made["seed"] == 2
    assert made["facts"]["options"]
    for name in made["files"]:
        assert (tmp_path / name).exists()
        if name.endswith(".tif"):
            with rasterio.open(tmp_path / name) as raster:
                assert raster.shape == (size, size)
                assert raster.crs.to_string() == scene_files.CRS
                assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert all(raster.descriptions)
                if name == "sar.tif":
                    assert raster.tags()["UNITS"] == "linear"
                    assert raster.descriptions == ("vv", "vh")


def test_the_command_makes_a_scene_and_says_what_it_made(tmp_path):
    answer = runner.CliRunner().invoke(
        simulate_app, ["--kind", "river", "--out", str(tmp_path), "--seed", "3", "--size", "96", "--json"]
    )
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["files"] == json.loads((tmp_path / "truth.json").read_text())["files"]
    answer = runner.CliRunner().invoke(simulate_app, ["--kind", "river", "--out", str(tmp_path), "--size", "96"])
    assert "truth.json" in answer.stdout.replace("\n", "")


def test_unknown_kinds_and_impossible_options_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no scene is 'tornado'"):
        simulation.run("tornado", tmp_path, 1)
    with pytest.raises(BadInputError, match="cannot be simulated"):
        simulation.run("river", tmp_path, 1, course="braided")


def test_what_no_json_holds_is_written_as_its_like():
    written = scene_files.plain({"a": np.float32(1.5), "b": math.nan, "c": (1, np.array([True])), "d": {3}})
    assert written == {"a": 1.5, "b": None, "c": [1, [True]], "d": "{3}"}
