"""Static sources: places known to be hot are matched, places always hot are found in a history."""

import numpy as np

from retrieval.surface import static_source

WORKS = static_source.StaticSources(np.array([107.0]), np.array([29.5]), np.array([500.0]))
METER = 1.0 / 110_840.0
"""Degrees of latitude in a meter near 29.5 degrees."""


def test_a_fire_within_radius_and_margin_is_matched_and_none_beyond():
    north = np.array([0.0, 400.0, 700.0, 900.0]) * METER
    found = static_source.matched(np.full(4, 107.0), 29.5 + north, sources=WORKS, margin=300.0)
    assert found.tolist() == [True, True, True, False]


def test_the_margin_may_differ_from_fire_to_fire():
    north = np.full(2, 700.0) * METER
    found = static_source.matched(np.full(2, 107.0), 29.5 + north, sources=WORKS, margin=np.array([100.0, 300.0]))
    assert found.tolist() == [False, True]


def test_distance_is_that_on_the_ground_across_the_antimeridian():
    sources = static_source.StaticSources(np.array([179.9999]), np.array([60.0]), np.array([1000.0]))
    assert static_source.matched(np.array([-179.9999]), np.array([60.0]), sources=sources, margin=0.0)[0]


def test_no_source_or_no_fire_matches_nothing():
    assert not static_source.matched(np.array([1.0]), np.array([1.0]), sources=static_source.NONE, margin=0.0).any()
    assert static_source.matched(np.zeros(0), np.zeros(0), sources=WORKS, margin=0.0).size == 0


def history(days, place, seed=0, scatter=200.0):
    draw = np.random.default_rng(seed)
    time = np.datetime64("2025-01-01") + np.asarray(days).astype("timedelta64[D]")
    shift = draw.normal(0.0, scatter * METER, (2, len(time)))
    return place[0] + shift[0], place[1] + shift[1], time


def test_a_place_that_burns_month_after_month_is_static_and_a_wildfire_is_not():
    works = history(range(0, 300, 12), (107.0, 29.5), 1)
    wildfire = history([100] * 40 + [101] * 40 + [102] * 20, (108.0, 30.5), 2, 900.0)
    yearly = history([10, 11, 12, 355, 356, 357, 358], (106.0, 30.0), 3)
    longitude, latitude, time = (np.concatenate(parts) for parts in zip(works, wildfire, yearly, strict=True))
    found = static_source.persistent(longitude, latitude, time=time)
    assert len(found.longitude) == 1
    assert abs(found.longitude[0] - 107.0) < 0.005
    assert abs(found.latitude[0] - 29.5) < 0.005


def test_an_empty_history_knows_no_source():
    nothing = np.zeros(0)
    assert static_source.persistent(nothing, nothing, time=nothing.astype("datetime64[s]")) == static_source.NONE
