"""Segments and the hazards that reach them: never clear where nobody looked, with figures that hold together."""

import dataclasses

import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from processors.imagery import grid, qa
from products import exposure
from products.sectors import definition, exposed_segments, flood_extent, package, registry
from retrieval.surface import flood

SHAPE = (60, 100)
GEOBOX = GeoBox(SHAPE, Affine(10, 0, 600_000, 0, -10, 3_270_000), "EPSG:32648")
RULES = exposed_segments.ExposedSegmentsParameters()


def road(row: float, first: float = 2, last: float = 98) -> shapely.LineString:
    return shapely.LineString([(600_000 + 10 * column, 3_270_000 - 10 * row) for column in (first, last)])


def segments(*shapes: shapely.Geometry, crs: str = "EPSG:32648") -> exposed_segments.Segments:
    count = len(shapes)
    geometry = np.empty(count, dtype=object)
    geometry[:] = shapes
    blank = np.full(count, None, dtype=object)
    identity = np.array([f"s{number}" for number in range(count)], dtype=object)
    named = exposure.Named(identity, np.full(count, "road", dtype=object), blank, blank)
    return exposed_segments.Segments(named, geometry, crs)


def hazard(reached, *, chance: float = 0.9, unknown=None) -> exposure.Hazard:
    probability = np.where(reached, np.float32(chance), np.float32(0.01))
    if unknown is not None:
        probability[unknown] = np.nan
    return exposure.Hazard(np.asarray(reached, dtype=bool), probability, GEOBOX)


def nothing() -> np.ndarray:
    return np.zeros(SHAPE, dtype=bool)


def rows(first: int, last: int) -> np.ndarray:
    reached = nothing()
    reached[first:last] = True
    return reached


def made(given: exposed_segments.Segments, **hazards) -> definition.SectorLayers:
    told = exposed_segments.Hazards(*(hazards.get(name) for name in exposed_segments.Hazards._fields))
    return exposed_segments.of_hazards(told, given, GEOBOX, parameters=RULES, dates=np.array([0], dtype=np.intp))


def column(layers: definition.SectorLayers, name: str) -> dict[str, object]:
    (table,) = layers.features
    return dict(zip(table.columns["segment_id"], table.columns[name], strict=True))


def pixels(layers: definition.SectorLayers) -> np.ndarray:
    return layers.data[exposed_segments.LAYER].values


def test_every_hazard_reaches_the_segments_it_touches_and_no_other():
    given = segments(road(10.5), road(30.5), road(45.5), road(58.5))
    slide = rows(32, 34)
    steep = exposure.Hazard(rows(45, 46), np.where(rows(45, 46), 0.9, 0.0).astype(np.float32), GEOBOX)
    layers = made(given, flood=hazard(rows(8, 13)), slide=hazard(slide), steep=steep)
    assert column(layers, "state") == {"s0": "exposed", "s1": "near", "s2": "susceptible", "s3": "clear"}
    assert column(layers, "hazard") == {
        "s0": "flood", "s1": "landslide candidate", "s2": "steep slope", "s3": "",
    }  # fmt: skip
    classes = pixels(layers)
    assert [int(classes[row, 50]) for row in (10, 30, 45, 58)] == [1, 2, 3, 0]
    assert column(layers, "slope_distance_m")["s1"] == pytest.approx(20.0)
    assert list(layers.features[0].columns["rank"]) == [1, 2, 3, 4]
    assert layers.features[0].columns["segment_id"][0] == "s0"


def test_share_probability_and_length_are_those_of_the_part_reached():
    wet = nothing()
    wet[:, :50] = True
    layers = made(segments(road(20.5, 0, 100)), flood=hazard(wet, chance=0.8))
    share, sigma = column(layers, "exposed_share")["s0"], column(layers, "exposed_share_sigma")["s0"]
    assert share == pytest.approx(0.5 * 0.8 + 0.5 * 0.01, abs=1e-3)
    assert 0 < sigma < 0.4
    assert column(layers, "exposed_share_low")["s0"] < share < column(layers, "exposed_share_high")["s0"]
    assert column(layers, "probability")["s0"] == pytest.approx(0.8)
    assert column(layers, "length_m")["s0"] == pytest.approx(1000, rel=2e-3)
    assert layers.facts["length_km_by_state"] == {"exposed": pytest.approx(1.0, rel=2e-3)}
    given = layers.uncertainty[exposed_segments.LAYER].values
    assert given[20, 10] == pytest.approx(0.8)
    assert given[20, 90] == pytest.approx(0.99)


def test_nothing_is_clear_where_nobody_looked():
    unknown = nothing()
    unknown[:, 40:] = True
    layers = made(segments(road(20.5), road(30.5, 2, 30)), flood=hazard(nothing(), unknown=unknown))
    assert column(layers, "state") == {"s0": "not_assessed", "s1": "clear"}
    assert column(layers, "slope_state") == {"s0": "not_assessed", "s1": "not_assessed"}
    classes, outside = pixels(layers), layers.outside.values
    assert (classes[20, 45:95] == definition.CLASS_NODATA).all()
    assert not outside[20, 45:95].any()
    assert outside[25].all()
    assert (classes[outside] == definition.CLASS_NODATA).all()


def test_a_hazard_over_unknown_ground_of_the_other_still_speaks():
    blind = hazard(nothing(), unknown=rows(0, 60))
    layers = made(segments(road(20.5)), flood=hazard(rows(18, 23)), slide=blind)
    assert column(layers, "state") == {"s0": "exposed"}
    assert (pixels(layers)[20, 5:95] == exposed_segments.FLOODED).all()


def test_what_the_radar_cannot_see_is_not_clear_and_what_lies_high_is():
    classes = np.full(SHAPE, flood.DRY, dtype=np.uint8)
    classes[:, :50] = flood.EXCLUDED
    axes = ("y", "x")
    layers = definition.SectorLayers(
        data=xr.Dataset({flood_extent.LAYER: (axes, classes)}),
        uncertainty=xr.Dataset({flood_extent.LAYER: (axes, np.full(SHAPE, 0.97, dtype=np.float32))}),
        dates=np.array([0], dtype=np.intp),
    )
    high = {"slope": np.full(SHAPE, 30.0, np.float32), "hand": np.full(SHAPE, 80.0, np.float32)}
    low = {**high, "hand": np.full(SHAPE, 2.0, np.float32)}
    for terrain, known in ((high, True), (low, False), ({}, False)):
        found = exposed_segments.flood_hazard(layers, terrain, GEOBOX, RULES)
        assert np.isfinite(found.probability[:, :50]).all() == known
        assert np.isfinite(found.probability[:, 50:]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [(None, "supplied none"), (segments(), "supplied none"), (segments(shapely.Point(0, 0)), "none of the 1")],
)
def test_without_segments_here_it_is_not_applicable_and_says_so(given, words):
    with pytest.raises(definition.NotApplicableError, match=words) as caught:
        exposed_segments.require_segments(given, GEOBOX)
    assert caught.value.cause == "segments_missing"


def radar_dates(wet: np.ndarray) -> xr.Dataset:
    """Two radar dates, a river before and more water on the second."""
    random = np.random.default_rng(4)
    river = rows(25, 32)
    layers = []
    for water in (river, river | wet):
        vv, vh = (
            np.where(water, dark, bright) + 10 * np.log10(random.gamma(30, 1 / 30, SHAPE))
            for dark, bright in ((-21.0, -9.0), (-28.0, -15.0))
        )
        layers.append(np.stack([vv, vh]))
    axes = ("time", "band", "y", "x")
    empty = np.full((2, 3, *SHAPE), np.nan, dtype=np.float32)
    fused = xr.Dataset(
        {
            "backscatter": (("time", "polarization", "y", "x"), np.stack(layers).astype(np.float32)),
            "reflectance": (axes, empty),
            "reflectance_sigma": (axes, empty.copy()),
            "qa": (("time", "y", "x"), np.zeros((2, *SHAPE), dtype=np.uint16)),
        },
        coords={
            "time": np.array(["2026-06-20", "2026-07-15"], dtype="datetime64[ns]"),
            "band": ["green", "red", "nir"],
            "polarization": ["vv", "vh"],
        },
        attrs={"area": "here", "inputs": "[]"},
    )
    return grid.assign(fused, GEOBOX)


def test_a_package_of_a_radar_series_tells_the_flooded_road_from_the_dry_one():
    given = segments(road(20.5), road(55.5))
    product = exposed_segments.with_segments(exposed_segments.DEFINITION, given)
    built = package.build(radar_dates(rows(15, 26)), definition=product)
    (table,) = product.algorithm(radar_dates(rows(15, 26)), parameters=product.parameters).features
    states = dict(zip(table.columns["segment_id"], table.columns["state"], strict=True))
    assert states == {"s0": "exposed", "s1": "clear"}
    assert {"data.tif", "uncertainty.tif", "qa.tif", "exposed_segments.geojson", "brief_zh.html"} <= set(built.assets)
    assert built.statistics["area"]["objects"] == {"exposed_segments": 2}
    assert built.quality["level"] == "nominal"


def test_without_data_there_is_no_product_for_lack_of_a_hazard():
    fused = radar_dates(nothing())
    fused["backscatter"][:] = np.nan
    fused["qa"][:] = qa.QaBit.NODATA
    with pytest.raises(definition.NotApplicableError, match="no hazard can be told") as caught:
        exposed_segments.exposed_segments_layers(fused, parameters=RULES, segments=segments(road(20.5)))
    assert caught.value.cause == "no_usable_pixel"


def test_it_stands_in_the_list_in_both_languages_and_follows_its_parameters():
    product = registry.definition_of("exposed-segments")
    assert product.sector == "transport"
    assert all(item.name_zh and item.name_en for item in product.classes)
    gentle = dataclasses.replace(RULES, steep=10.0)
    slope = {"slope": np.full(SHAPE, 20.0, np.float32)}
    assert exposed_segments.steep_hazard(slope, GEOBOX, gentle).reached.all()
    assert not exposed_segments.steep_hazard(slope, GEOBOX, RULES).reached.any()
    assert exposed_segments.steep_hazard({}, GEOBOX, RULES) is None


def test_two_optical_dates_tell_the_slope_and_say_that_the_flood_was_not_told(monkeypatch):
    candidates = rows(33, 36).astype(np.uint8)
    asked = []

    def detected(fused, *, parameters):
        asked.append(parameters)
        axes = ("y", "x")
        name = registry.definition_of("landslide-candidates").layers[0].name
        return definition.SectorLayers(
            data=xr.Dataset({name: (axes, candidates)}),
            uncertainty=xr.Dataset({name: (axes, np.full(SHAPE, 0.9, dtype=np.float32))}),
            dates=np.array([0, 1], dtype=np.intp),
        )

    monkeypatch.setattr(exposed_segments.landslide_candidates, "landslide_candidate_layers", detected)
    fused = radar_dates(nothing()).drop_vars("backscatter").isel(band=slice(1, 3))
    fused["reflectance"][:] = 0.2
    fused = fused.assign(
        elevation=(("y", "x"), np.zeros(SHAPE, np.float32)), slope=(("y", "x"), np.full(SHAPE, 50.0, np.float32))
    )
    given = segments(road(34.5), road(58.5))
    layers = exposed_segments.exposed_segments_layers(fused, parameters=RULES, segments=given)
    assert asked == [RULES.landslide]
    assert column(layers, "state") == {"s0": "exposed", "s1": "susceptible"}
    assert column(layers, "flood_state") == {"s0": "not_assessed", "s1": "not_assessed"}
    assert layers.facts["hazards_assessed"] == ["slide", "steep"]
    assert any("flood" in reason for reason in layers.facts["hazards_not_assessed"])
    assert list(layers.dates) == [0, 1]


def test_a_deck_drawn_as_a_polygon_is_as_long_as_half_its_outline():
    deck = shapely.box(600_100, 3_269_700, 600_500, 3_269_720)
    layers = made(segments(deck), flood=hazard(rows(27, 31)))
    assert column(layers, "length_m")["s0"] == pytest.approx(420, rel=2e-3)
    assert column(layers, "state")["s0"] == "exposed"
