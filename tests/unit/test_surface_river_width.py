"""Laws of river width on rivers drawn here."""

import json

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine
from scipy import ndimage
from typer.testing import CliRunner

from infra.cli import surface
from infra.surface import navigable_change as change_file
from infra.surface import river_width as river_file
from processors.imagery import grid
from processors.quality import BadInputError
from products.sectors import definition, navigable_change
from products.sectors import river_width as product
from retrieval.surface import _river_kernels, river_centerline, river_channel, river_width

PARAMETERS = river_width.RiverWidthParameters()


def straight(width: float, *, angle: float = 20.0, size: int = 160, off: float = 0.3) -> np.ndarray:
    """Share of water of a straight river, exact to a sixteenth of a pixel."""
    cells = (np.arange(size * 8) + 0.5) / 8 - 0.5 - size / 2
    x, y = np.meshgrid(cells, cells)
    turned = np.radians(angle)
    aside = np.abs(y * np.cos(turned) - x * np.sin(turned) - off)
    return (aside < width / 2).reshape(size, 8, size, 8).mean(axis=(1, 3)).astype(np.float32)


def measured(water: np.ndarray, **options) -> river_width.RiverMap:
    return river_width.measure(water.astype(np.float32), pixel_size=(10.0, 10.0), parameters=PARAMETERS, **options)


@pytest.mark.parametrize("width", [5.0, 12.4, 31.0])
@pytest.mark.parametrize("angle", [0.0, 20.0, 63.0])
def test_width_of_a_straight_river_is_its_own(width, angle):
    found = measured(straight(width, angle=angle)).sections
    good = found.flag == river_width.OK
    assert good.mean() > 0.7
    assert np.abs(found.width[good] / 10 - width).max() < 0.3
    turn = (found.direction[good] - (90.0 + angle)) % 180.0
    assert np.median(np.minimum(turn, 180.0 - turn)) < 0.7


@pytest.mark.parametrize("angle", [3.0, 20.0, 34.0])
def test_shares_are_measured_exactly_wherever_a_bank_lies_in_its_pixel(angle):
    for off in np.arange(0.0, 1.0, 0.23):
        found = measured(straight(9.3, angle=angle, off=off, size=100)).sections
        # At the edge of the scene the line ends, and its direction is less certain.
        good = np.flatnonzero(found.flag == river_width.OK)[2:-2]
        assert np.abs(found.width[good] / 10 - 9.3).max() < 0.03


@pytest.mark.parametrize("angle", [0.0, 2.0, 11.0, 26.565, 45.0])
def test_sigma_of_a_binary_mask_is_the_scatter_over_places_within_the_pixel(angle):
    """Along the grid rounding has 1/12, across pixels it cancels but for slopes like 1/2 and 1."""
    errors, sigmas = [], []
    for width in np.arange(8.0, 9.0, 0.11):
        for off in (0.11, 0.63):
            found = measured(straight(width, angle=angle, off=off, size=70) >= 0.5).sections
            good = found.flag == river_width.OK
            errors.append(found.width[good] / 10 - width)
            sigmas.append(found.sigma[good] / 10)
    scatter = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    sigma = np.sqrt(np.mean(np.concatenate(sigmas) ** 2))
    assert sigma == pytest.approx(scatter, rel=0.4, abs=0.02)
    if angle == 0.0:
        assert sigma == pytest.approx(np.sqrt(2 / 12), rel=0.08)


def test_binary_mask_is_known_less_well_than_shares():
    shares = straight(12.4)
    soft, hard = measured(shares), measured(shares >= 0.5)
    assert hard.binary
    assert not soft.binary
    assert np.nanmedian(hard.sections.sigma) > 1.5 * np.nanmedian(soft.sections.sigma)
    assert np.nanmax(np.abs(hard.sections.width / 10 - 12.4)) < 0.8


def test_noise_of_the_banks_raises_sigma():
    rng = np.random.default_rng(3)
    shares = straight(14.0)
    edge = (shares > 0.02) & (shares < 0.98)
    noisy = np.where(edge, np.clip(shares + rng.normal(0, 0.4, shares.shape), 0, 1), shares)
    assert np.nanmedian(measured(noisy).sections.sigma) > 2 * np.nanmedian(measured(shares).sections.sigma)


def test_island_is_bank_width_but_not_water():
    water = straight(30.0, angle=0.0)
    y, x = np.indices(water.shape)
    water[((x - 80) / 15.0) ** 2 + ((y - 80) / 5.0) ** 2 < 1] = 0
    found = measured(water)
    at = np.abs(found.sections.column - 80) < 3
    assert found.counts["islands"] == 1
    assert (found.sections.channels[at] == 2).all()
    assert found.sections.bank_width[at] == pytest.approx(300.0, abs=5)
    assert found.sections.width[at] == pytest.approx(205.0, abs=12)


def test_small_hole_is_water_and_counted():
    water = straight(30.0, angle=0.0)
    water[80:82, 80:83] = 0
    found = measured(water)
    assert found.counts["small_holes_filled"] == 1
    assert np.nanmin(found.sections.width) > 295


def test_bridge_is_crossed_and_its_sections_have_no_width():
    water = straight(14.0)
    water[:, 70:74] = 0
    found = measured(water)
    bridge = found.sections.flag == river_width.BRIDGE
    assert found.counts["centerlines"] == 1
    assert found.counts["gaps_bridged"] == 1
    assert bridge.any()
    assert np.isnan(found.sections.width[bridge]).all()
    assert (np.abs(found.sections.column[bridge] - 71.5) < 12).all()


def test_known_bridge_is_marked_where_the_mask_shows_none():
    decks = np.zeros((160, 160), dtype=bool)
    decks[:, 70:73] = True
    found = measured(straight(14.0), bridges=decks)
    near = np.abs(found.sections.column - 71) < 3
    assert (found.sections.flag[near] == river_width.BRIDGE).all()


def test_two_rivers_side_by_side_stay_two():
    water = np.zeros((160, 160), dtype=np.float32)
    water[60:70], water[76:86] = 1, 1
    found = measured(water)
    assert found.counts["rivers"] == 2
    assert found.counts["gaps_bridged"] == 0


def test_stripe_without_data_is_incomplete_never_measured():
    water = straight(14.0)
    water[:, 60:68] = np.nan
    found = measured(water)
    within = (found.sections.column > 60) & (found.sections.column < 67)
    assert within.any()
    assert (found.sections.flag[within] == river_width.INCOMPLETE).all()
    assert (found.classes[:, 60:68] == river_width.NO_DATA).all()
    assert found.counts["centerlines"] == 1


def test_lake_is_other_water_unless_it_is_named():
    y, x = np.indices((160, 160))
    lake = (np.hypot(y - 80, x - 80) < 30).astype(np.float32)
    alone = measured(lake)
    assert not len(alone.sections.row)
    assert (alone.classes[80, 80], alone.classes[0, 0]) == (2, 0)
    named = measured(np.maximum(lake, straight(9.0)), channels=np.zeros((160, 160), dtype=bool))
    assert named.counts["rivers"] == 0


def test_channel_reference_chooses_the_river():
    water = np.zeros((160, 160), dtype=np.float32)
    water[30:42], water[100:112] = 1, 1
    reference = np.zeros(water.shape, dtype=bool)
    reference[105, 20:140] = True
    found = measured(water, channels=reference)
    assert found.counts["rivers"] == 1
    assert (found.sections.row > 90).all()
    assert found.classes[35, 80] == river_width.OTHER_WATER


def test_stream_narrower_than_three_pixels_is_not_measured():
    found = measured(straight(2.2))
    assert len(found.sections.row)
    assert np.isnan(found.sections.width).all()
    assert (found.sections.flag == river_width.NARROW).any()
    assert found.least_width == pytest.approx(30.0)


def test_tributary_has_its_own_line_and_the_mouth_no_width():
    water = straight(16.0, angle=0.0)
    water[:80, 76:84] = 1
    found = measured(water)
    assert found.counts["centerlines"] == 2
    mouth = (np.abs(found.sections.column - 80) < 5) & (np.abs(found.sections.row - 80) < 12)
    assert mouth.any()
    assert np.isnan(found.sections.width[mouth]).all()
    widths = [np.nanmedian(found.sections.width[found.sections.line == line]) / 10 for line in (0, 1)]
    assert sorted(widths) == pytest.approx([8.0, 16.0], abs=0.3)


def test_free_end_is_marked():
    water = straight(12.0, angle=0.0)
    water[:, 100:] = 0
    sections = measured(water).sections
    assert (sections.flag[sections.column > 95] == river_width.END).all()


def test_large_land_between_two_arms_is_no_island():
    water = np.zeros((260, 260), dtype=np.float32)
    water[120:132] = 1
    y, x = np.indices(water.shape)
    ring = np.hypot(y - 126, x - 130)
    water[ring < 100] = 0
    water[(ring > 90) & (ring < 100)] = 1
    found = measured(water)
    assert found.counts["islands"] == 0
    assert found.counts["centerlines"] >= 3


def test_pixels_that_are_not_square_count_in_meters():
    water = straight(12.0, angle=90.0)
    found = river_width.measure(water, pixel_size=(30.0, np.full(160, 15.0)), parameters=PARAMETERS).sections
    assert np.nanmedian(found.width) == pytest.approx(180.0, abs=4)


def test_impossible_maps_are_refused():
    with pytest.raises(BadInputError, match="no pixel"):
        measured(np.full((9, 9), np.nan))
    with pytest.raises(BadInputError, match="from 0 to 1"):
        measured(np.full((9, 9), 3.0))


def test_dry_scene_has_no_river():
    found = measured(np.zeros((50, 50)))
    assert not len(found.sections.row)
    assert not found.centerlines


def test_distances_are_those_of_the_exact_transform():
    rng = np.random.default_rng(1)
    for share in (0.01, 0.2, 0.7):
        inside = rng.random((90, 70)) > share
        found = river_channel.distances(inside, parameters=river_channel.ChannelParameters())
        np.testing.assert_allclose(found, ndimage.distance_transform_edt(inside), rtol=1e-6)
        capped = river_channel.distances(inside, parameters=river_channel.ChannelParameters(widest=3))
        np.testing.assert_allclose(capped, np.minimum(found, 3))
        assert ((found > 2.5) == _river_kernels.farther(inside, 2.5)).all()
    everywhere = np.ones((90, 70), dtype=bool)
    assert (river_channel.distances(everywhere, parameters=river_channel.ChannelParameters(widest=9)) == 9).all()


def thinned(mask: np.ndarray) -> np.ndarray:
    """Zhang and Suen as it is written down, whole layers at a time."""
    mask = mask.copy()
    while True:
        before = mask.copy()
        for half in (0, 1):
            p = [np.roll(mask, (-down, -right), (0, 1)) for down, right in
                 ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))]  # fmt: skip
            count = np.sum(p, axis=0)
            changes = np.sum([(p[k] == 0) & (p[(k + 1) % 8] == 1) for k in range(8)], axis=0)
            one, two = ((0, 2, 4), (2, 4, 6)) if half == 0 else ((0, 2, 6), (0, 4, 6))
            free = (p[one[0]] * p[one[1]] * p[one[2]] == 0) & (p[two[0]] * p[two[1]] * p[two[2]] == 0)
            mask = np.where((mask == 1) & (count >= 2) & (count <= 6) & (changes == 1) & free, 0, mask).astype(np.uint8)
        if (mask == before).all():
            return mask


def test_thinning_from_the_edges_inward_is_that_of_the_whole():
    blobs = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(120, 140)), 4) > 0.01
    mask = np.pad(blobs.astype(np.uint8), 2)
    found = mask.copy()
    _river_kernels.thin(found)
    assert 0 < found.sum() < mask.sum() / 3
    np.testing.assert_array_equal(found, thinned(mask))


def test_ring_has_a_line_without_end():
    y, x = np.indices((120, 120))
    away = np.hypot(y - 60, x - 60)
    ring = (away > 35) & (away < 43)
    distance = river_channel.distances(ring, parameters=river_channel.ChannelParameters())
    lines = river_centerline.draw(ring, distance, parameters=river_centerline.CenterlineParameters())
    assert len(lines) == 1
    assert 200 < len(lines[0].places) < 300
    assert river_centerline.draw(ring & False, distance, parameters=river_centerline.CenterlineParameters()) == []


def test_bays_of_the_bank_are_no_tributaries():
    water = straight(24.0, angle=0.0) >= 0.5
    for column in range(20, 150, 30):
        water[56:70, column : column + 6] = True
    distance = river_channel.distances(water, parameters=river_channel.ChannelParameters())
    lines = river_centerline.draw(water, distance, parameters=river_centerline.CenterlineParameters())
    assert len(lines) == 1
    assert len(lines[0].places) > 150
    water[20:70, 80:86] = True
    distance = river_channel.distances(water, parameters=river_channel.ChannelParameters())
    assert len(river_centerline.draw(water, distance, parameters=river_centerline.CenterlineParameters())) == 2


@pytest.fixture
def mask(tmp_path):
    def write(values, *, crs="EPSG:32648", nodata=None, name="m.tif", names=()):
        layers = np.atleast_3d(values.T).T if values.ndim == 2 else values
        place = Affine(10, 0, 640_000, 0, -10, 3_290_000) if crs != "EPSG:4326" else Affine(2e-4, 0, 110, 0, -1e-4, 60)
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", height=layers.shape[1], width=layers.shape[2], count=len(layers),
            dtype=layers.dtype, crs=crs, transform=place, nodata=nodata,
        ) as out:  # fmt: skip
            out.write(layers)
            for number, text in enumerate(names, 1):
                out.set_band_description(number, text)
        return tmp_path / name

    return write


def test_command_writes_sections_and_lines(mask, tmp_path):
    shares = straight(14.0)
    path = mask(np.stack([(shares >= 0.5).astype(np.float32), shares]), names=("water", "probability"))
    out = tmp_path / "w.gpkg"
    result = CliRunner().invoke(
        surface.app, ["river-width", "--mask", str(path), "--out", str(out), "--spacing", "50", "--json"]
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["status"] == "ok"
    assert not told["binary_mask"]
    assert told["minimum_measurable_width_m"] == 30
    about, _, _, columns = pyogrio.raw.read(out, layer="cross_sections")
    fields = dict(zip(about["fields"], columns, strict=True))
    assert {"width_m", "width_sigma_m", "bank_width_m", "n_channels", "flag", "x", "y", "distance_along_m"} <= set(
        fields
    )
    assert np.nanmedian(fields["width_m"].astype(float)) == pytest.approx(140, abs=2)
    assert np.diff(fields["distance_along_m"]).mean() == pytest.approx(50, abs=6)
    assert [name for name, _ in pyogrio.list_layers(out)] == ["cross_sections", "centerlines"]


def test_numbers_of_a_mask_are_understood_or_refused(mask, tmp_path):
    shares = straight(14.0)
    wet = (shares >= 0.5).astype(np.uint8)
    gaps = wet.copy()
    gaps[:, :9] = 255
    out = tmp_path / "o.geojson"
    for name, values in (("a", wet), ("b", wet * 255), ("c", gaps), ("d", np.rint(shares * 100).astype(np.uint8))):
        told = river_file.run(mask(values, name=f"{name}.tif"), out)
        assert told["median_width_m"] == pytest.approx(140, abs=3), name
    assert river_file.run(mask(gaps), out)["no_data_share"] == pytest.approx(9 / 160, abs=1e-3)
    for values, cause in ((wet * 7, "value_implausible"), (wet.astype(np.float32) - 2, "value_implausible")):
        with pytest.raises(BadInputError) as refused:
            river_file.run(mask(values), out)
        assert refused.value.cause == cause
    for arguments, cause in (({"band": 9}, "band_missing"), ({"out": tmp_path / "o.shp"}, "suffix_unknown")):
        with pytest.raises(BadInputError) as refused:
            river_file.run(mask(wet), **{"out": out, **arguments})
        assert refused.value.cause == cause
    with pytest.raises(BadInputError) as refused:
        river_file.run(mask(wet, crs=None), out)
    assert refused.value.cause == "crs_missing"
    assert river_file.run(mask(wet * 0), out)["status"] == "flagged"


def test_references_may_be_vectors_or_rasters(mask, tmp_path):
    wet = (straight(14.0) >= 0.5).astype(np.uint8)
    path = mask(wet)
    line = {"type": "LineString", "coordinates": []}
    carry = pyproj.Transformer.from_crs("EPSG:32648", "EPSG:4326", always_xy=True)
    line["coordinates"] = [carry.transform(640_705, north) for north in (3_290_000, 3_288_400)]
    bridges = tmp_path / "b.geojson"
    bridges.write_text(json.dumps({"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"name": "b"}, "geometry": line}]}))  # fmt: skip
    told = river_file.run(path, tmp_path / "o.fgb", bridges=bridges, channels=mask(wet, name="c.tif"))
    assert told["sections_bridge"] > 0
    assert told["rivers"] == 1
    assert river_file.run(path, tmp_path / "o.fgb", channels=bridges)["rivers"] == 1


def test_degrees_are_meters_at_their_latitude(mask, tmp_path):
    told = river_file.run(
        mask((straight(14.0, angle=90.0) >= 0.5).astype(np.uint8), crs="EPSG:4326"), tmp_path / "o.fgb"
    )
    assert told["median_width_m"] == pytest.approx(14 * 2e-4 * 111_320 * np.cos(np.radians(60)), rel=0.02)


def fused(shares: list[np.ndarray]) -> xr.Dataset:
    """Reflectance of clear water and grass mixed by share."""
    water, grass = np.array([0.05, 0.04, 0.03, 0.02, 0.01, 0.01]), np.array([0.03, 0.08, 0.04, 0.40, 0.2, 0.1])
    stack = np.stack([share * water[:, None, None] + (1 - share) * grass[:, None, None] for share in shares])
    data = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), stack),
            "reflectance_sigma": (("time", "band", "y", "x"), np.full(stack.shape, 0.003)),
            "qa": (("time", "y", "x"), np.zeros((len(shares), *shares[0].shape), dtype=np.uint16)),
        },
        coords={
            "band": ["blue", "green", "red", "nir", "swir1", "swir2"],
            "time": np.array(["2026-03-01", "2026-04-01"][: len(shares)], dtype="datetime64[ns]"),
        },
    )
    box = grid.covering((640_000, 3_288_400, 641_600, 3_290_000), crs="EPSG:32648", resolution=10)
    return grid.assign(data, box)


def test_product_holds_classes_and_sections():
    layers = product.river_width_layers(fused([straight(14.0)]), parameters=product.RiverWidthProductParameters())
    assert set(np.unique(layers.data[product.LAYER])) == {0, 1}
    assert layers.data[product.LAYER].dtype == np.uint8
    assert layers.facts["measured"] > 20
    assert layers.features[0].name == "cross_sections"
    assert float(layers.uncertainty[product.LAYER].min()) >= 0.5


def test_product_without_a_clear_date_is_not_applicable():
    scene = fused([straight(14.0)])
    scene["reflectance"] = scene["reflectance"] * np.nan
    with pytest.raises(definition.NotApplicableError):
        product.river_width_layers(scene, parameters=product.RiverWidthProductParameters())


def test_narrowing_is_found_and_the_same_river_is_stable():
    wide, narrow = straight(16.0), straight(12.0)
    parameters = navigable_change.NavigableChangeParameters()
    layers = navigable_change.navigable_change_layers(fused([wide, narrow]), parameters=parameters)
    assert layers.facts["narrower"] > 0.9 * layers.facts["compared"] > 20
    assert set(layers.features[0].columns["change"]) == {"narrower"}
    assert (layers.data["navigable_change"].values == 2).any()
    same = navigable_change.navigable_change_layers(fused([wide, wide]), parameters=parameters)
    assert same.facts["stable"] == same.facts["compared"]
    assert not len(same.features[0])
    moved = navigable_change.navigable_change_layers(fused([wide, straight(16.0, off=4.3)]), parameters=parameters)
    assert moved.facts["bank_moved"] > 0.9 * moved.facts["compared"]
    with pytest.raises(definition.NotApplicableError):
        navigable_change.navigable_change_layers(fused([wide]), parameters=parameters)


def changed(*arguments) -> dict:
    result = CliRunner().invoke(surface.app, ["navigable-change", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def layer(path, name: str) -> tuple[dict, np.ndarray]:
    about, _, shapes, columns = pyogrio.raw.read(path, layer=name)
    return dict(zip(about["fields"], columns, strict=True)), shapely.from_wkb(shapes)


def test_command_finds_where_a_channel_narrowed_and_where_it_is_blocked(mask, tmp_path):
    before, after = straight(16.0, angle=0.0), straight(16.0, angle=0.0)
    after[80:, 30:70] = 0
    after[:, 110:] = 0
    out = tmp_path / "c.gpkg"
    told = changed("--before", mask(before, name="a.tif"), "--after", mask(after, name="b.tif"), "--out", out)
    assert told["status"] == "ok"
    assert told["segments_narrower"] == told["segments_blocked"] == 1
    assert told["segments_wider"] == 0
    fields, shapes = layer(out, "changed_segments")
    narrow, blocked = (np.flatnonzero(fields["change"] == kind)[0] for kind in ("narrower", "blocked"))
    assert shapes[narrow].bounds[0] == pytest.approx(640_300, abs=80)
    assert shapes[narrow].bounds[2] == pytest.approx(640_700, abs=80)
    assert fields["width_change_m"][narrow] < -50
    assert fields["significance"][narrow] < -3
    assert fields["width_after_m"][blocked] == 0
    assert 641_100 < shapes[blocked].bounds[0] < 641_300
    assert (
        len(layer(out, "width_changes")[1]) == told["narrower"] + told["blocked"] + told["wider"] + told["bank_moved"]
    )
    after[:, 110:] = np.nan
    told = changed("--before", tmp_path / "a.tif", "--after", mask(after, name="b.tif"), "--out", out)
    assert told["blocked"] == 0
    assert told["unmatched"] > 10


def test_widths_of_another_system_compare_like_the_maps_they_are_from(mask, tmp_path):
    wide, narrow = mask(straight(16.0), name="a.tif"), mask(straight(12.0), name="b.tif")
    told = changed("--before", wide, "--after", narrow, "--out", tmp_path / "c.fgb")
    for path, name in ((wide, "a.geojson"), (narrow, "b.gpkg")):
        river_file.run(path, tmp_path / name)
    widths = changed("--before", tmp_path / "a.geojson", "--after", tmp_path / "b.gpkg", "--out", tmp_path / "d.gpkg")
    assert told["narrower"] > 0.9 * told["compared"] > 20
    assert abs(widths["narrower"] - told["narrower"]) <= 2
    assert "cannot be told" in widths["warnings"][0]
    for name in ("a", "b"):
        river_file.run(tmp_path / f"{name}.tif", tmp_path / f"{name}.geojson")
    degrees = changed(
        "--before", tmp_path / "b.geojson", "--after", tmp_path / "a.geojson", "--out", tmp_path / "e.gpkg"
    )
    fields, _ = layer(tmp_path / "e.gpkg", "changed_segments")
    assert degrees["wider"] > 0.9 * degrees["compared"] > 20
    assert fields["width_change_m"] == pytest.approx(40, abs=3)
    same = changed("--before", wide, "--after", tmp_path / "a.geojson", "--out", tmp_path / "f.gpkg")
    assert same["stable"] == same["compared"]
    assert same["segments"] == 0


def test_objects_that_are_no_widths_are_refused(mask, tmp_path):
    wide = mask(straight(16.0), name="a.tif")
    river_file.run(wide, tmp_path / "a.geojson")
    text = json.loads((tmp_path / "a.geojson").read_text())
    for feature in text["features"]:
        del feature["properties"]["pixel_m"]
    (tmp_path / "old.geojson").write_text(json.dumps(text))
    for feature in text["features"]:
        del feature["properties"]["width_m"]
    (tmp_path / "other.geojson").write_text(json.dumps(text))
    (tmp_path / "none.geojson").write_text("{}")
    out = tmp_path / "c.gpkg"
    for name, cause in (("old", "pixel_size_missing"), ("other", "layer_missing"), ("none", "unreadable")):
        with pytest.raises(BadInputError) as refused:
            change_file.run(wide, tmp_path / f"{name}.geojson", out)
        assert refused.value.cause == cause
    assert change_file.run(wide, tmp_path / "old.geojson", out, pixel=10.0)["status"] == "ok"
    with pytest.raises(BadInputError, match="written as"):
        change_file.run(wide, wide, tmp_path / "c.shp")
    with pytest.raises(BadInputError, match="no reference system"):
        change_file.run(mask(straight(16.0), crs=None, name="n.tif"), wide, out)
    dry = mask(straight(16.0) * 0, name="d.tif")
    told = change_file.run(dry, dry, out)
    assert (told["status"], told["compared"], told["segments"]) == ("flagged", 0, 0)


def test_river_that_moved_or_goes_on_below_a_bridge_is_not_blocked():
    parameters = navigable_change.NavigableChangeParameters()
    before = measured(straight(12.0, angle=0.0))
    bridged = straight(12.0, angle=0.0)
    bridged[:, 70:75] = 0
    aside = straight(12.0, angle=0.0, off=5.0)
    for water in (bridged, aside):
        after = measured(water)
        left = navigable_change.water_left(before.sections, water, pixel=10.0)
        found = navigable_change.compare(before.sections, after.sections, pixel=10.0, parameters=parameters, left=left)
        assert (found.kind != navigable_change.BLOCKED).all()
    assert (np.nan_to_num(left, nan=70.0) > 50).all()


def test_nothing_to_compare_is_no_change():
    parameters = navigable_change.NavigableChangeParameters()
    dry, wet = measured(np.zeros((160, 160))), measured(straight(9.0))
    assert not navigable_change.compare(dry.sections, wet.sections, pixel=10.0, parameters=parameters).section.size
