"""Requests in an emergency: what can be meant, which scenes they concern, which products those can give."""

import dataclasses
from types import SimpleNamespace

import pytest

from infra import ledger
from infra.stages import emergency
from infra.stages.execution import Unit
from products.sectors import registry

BOX = (106.0, 29.4, 106.2, 29.7)
OPTICAL = {
    "bbox": [105.9, 29.3, 106.1, 29.5],
    "time": "2026-07-15T03:20:00+00:00",
    "sensor": "S2A",
    "bands": ["blue", "green", "red", "nir", "swir1", "swir2"],
    "polarizations": [],
}
RADAR = {**OPTICAL, "sensor": "S1A", "bands": [], "polarizations": ["vv", "vh"]}


def granule(kind: str, name: str, attributes: dict) -> ledger.Granule:
    return ledger.Granule(kind, name, "0" * 64, name, "products", name, 1, attributes)


def asked(*, bbox=BOX, since="2026-07-10", until=None, products=("flood", "fire")) -> emergency.Request:
    return emergency.request(bbox=bbox, since=since, until=until, products=products)


def test_the_same_wish_in_other_words_is_the_same_request():
    first = asked(since="2026-07-10T08:00+08:00", products=("flood", "flood-extent", "fire"))
    second = asked(since="2026-07-10", products=("flood-extent", "active-fire"))
    assert first == second
    assert first.identity == second.identity
    assert first.identity.startswith(emergency.GROUP_PREFIX)
    assert first.identity != asked(since="2026-07-11").identity
    assert first.identity != asked(bbox=(106.0, 29.4, 106.2, 29.8)).identity


def test_every_short_name_is_a_product():
    assert set(emergency.SHORT_NAMES.values()) <= {product.code for product in registry.definitions()}
    assert set(emergency.DEFAULT_PRODUCTS) <= set(emergency.SHORT_NAMES)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"bbox": (106.0, 29.4, 106.2)}, "west,south,east,north"),
        ({"bbox": (106.2, 29.4, 106.0, 29.7)}, "west,south,east,north"),
        ({"bbox": (106.0, 29.7, 106.2, 29.4)}, "west,south,east,north"),
        ({"bbox": (29.4, 106.0, 29.7, 106.2)}, "west,south,east,north"),
        ({"bbox": (106.0, float("nan"), 106.2, 29.7)}, "west,south,east,north"),
        ({"products": ("deluge",)}, "deluge"),
        ({"products": ()}, "no product"),
        ({"since": "yesterday"}, "yesterday"),
        ({"until": "2026-07-09"}, "before it begins"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(wish, said):
    with pytest.raises(ValueError, match=said):
        asked(**wish)


@pytest.mark.parametrize(
    ("change", "wish", "concerned"),
    [
        ({}, {}, True),
        ({"bbox": [106.2, 29.4, 106.4, 29.7]}, {}, False),
        ({"bbox": [105.8, 29.4, 106.0, 29.7]}, {}, False),
        ({"bbox": [106.0, 29.7, 106.2, 29.9]}, {}, False),
        ({"bbox": [106.0, 29.2, 106.2, 29.4]}, {}, False),
        ({"bbox": [100.0, 20.0, 110.0, 40.0]}, {}, True),
        ({}, {"since": "2026-07-15T03:20:00"}, True),
        ({}, {"since": "2026-07-15T03:20:01"}, False),
        ({}, {"since": "2026-07-15T11:20:00+08:00"}, True),
        ({}, {"until": "2026-07-15T03:20:00"}, True),
        ({}, {"until": "2026-07-15T03:19:59"}, False),
    ],
)
def test_a_scene_concerns_a_request_where_and_while_it_is_in_force(change, wish, concerned):
    assert emergency._concerns(asked(**wish), {**OPTICAL, **change}) is concerned


@pytest.mark.parametrize(
    ("facts", "able", "unable"),
    [
        (OPTICAL, {"open-water-extent", "burn-severity", "landslide-candidates"}, set()),
        ({**OPTICAL, "bands": ["green"]}, set(), {"burn-severity", "land-cover"}),
        (RADAR, {"flood-extent"}, {"burn-severity", "land-cover"}),
    ],
)
def test_a_product_is_made_only_of_scenes_that_hold_its_bands(facts, able, unable):
    given = {product.code for product in registry.definitions() if emergency._can_give(facts, product)}
    assert able <= given
    assert not unable & given


def test_a_scene_is_wanted_once_by_every_request_in_force():
    near, far = asked(products=("flood", "burn")), asked(bbox=(10.0, 10.0, 11.0, 11.0))
    book = SimpleNamespace(
        granules=lambda kinds: [
            granule(emergency.REQUEST, wish.identity, dataclasses.asdict(wish)) for wish in (near, far)
        ]
    )
    for facts, codes in ((OPTICAL, near.products), (RADAR, ("flood-extent",))):
        unit = Unit("respond_emergency", "a", "a", (granule(emergency.FACTS, "a", facts),))
        assert emergency.wanted(unit, book) == [f"{near.identity}.{code}" for code in codes]


def test_a_reference_is_the_nearest_before_the_event_of_the_same_view():
    days = {"usual": "06-20", "older": "06-01", "oldest": "05-01", "flooded": "07-12", "other": "06-30"}
    others = [
        granule(emergency.FACTS, name, {**RADAR, "time": f"2026-{day}T00:00:00+00:00"})
        for name, day in days.items()
        if name != "other"
    ]
    others.append(granule(emergency.FACTS, "other", {**OPTICAL, "time": "2026-06-30T00:00:00+00:00"}))
    aside = {**RADAR, "bbox": [1.0, 1.0, 2.0, 2.0], "time": "2026-07-01T00:00:00+00:00"}
    others.append(granule(emergency.FACTS, "aside", aside))
    ancient = {**RADAR, "time": "2020-07-01T00:00:00+00:00"}
    others.append(granule(emergency.FACTS, "ancient", ancient))
    here = SimpleNamespace(ledger=SimpleNamespace(granules=lambda kinds: others))
    found = emergency._earlier(granule(emergency.FACTS, "now", RADAR), asked(), here)
    assert [facts.id for facts in found] == ["older", "usual"]
