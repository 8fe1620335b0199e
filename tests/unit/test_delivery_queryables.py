"""What a search may name: every property of an item, and what is found is what the served documents say."""

import copy
import dataclasses
import datetime as dt
import operator
from collections.abc import Iterator
from typing import Any

import pytest
import shapely
from shapely import geometry

from infra import catalog_store
from infra.delivery import cql2_condition, entitlement, item_search, queryable
from infra.demonstration import modelled_catalogue
from products import stac
from tests import conftest

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
WHO = entitlement.Principal(
    agency="agency",
    sectors=frozenset(fields.sector for fields in modelled_catalogue.collections()),
    districts=None,
    scopes=frozenset(),
    key_id="k",
)
#: What items say beyond what the model says, in turn; the last says nothing more.
TOLD: tuple[dict[str, Any], ...] = (
    {
        "description": "What is seen",
        "keywords": ["water", "水体"],
        "platform": "cq-01",
        "gsd": 2,
        "mission": "cq",
        "eo:cloud_cover": 12.5,
        "expires": "2026-07-01T00:00:00Z",
        "cqeo:description_zh": "所见",
        "cqeo:uncertainty": {"kind": "standard_deviation", "asset": "data", "value": 0.25, "unit": "m"},
        "cqeo:inputs": [{"id": "scene-1"}],
        "processing:lineage": "measured",
        "processing:level": "L3",
        "processing:facility": "Chongqing",
        "processing:software": {"terralimb": "0.9.0"},
        "proj:code": "EPSG:32648",
        "proj:shape": [3, 4],
        "proj:transform": [1.0, 0.0, 0.0, 0.0, -1.0, 0.0],
    },
    {
        "description": None,
        "keywords": [],
        "platform": None,
        "gsd": 0.5,
        "expires": "2026-07-01T00:00:00.250000Z",
        "cqeo:uncertainty": {"kind": "interval_95"},
        "cqeo:quality": {"level": "rapid", "reasons": ["cloud"]},
        "processing:level": "L2",
        "processing:software": {"other": "1"},
        "proj:code": None,
    },
    {
        "platform": "",
        "gsd": 2.5,
        "expires": "2026-06-30T23:59:59Z",
        "cqeo:uncertainty": {"kind": "interval_95", "value": 4},
        "processing:level": "L10",
    },
    {},
)


def entries() -> list[catalog_store.CatalogEntry]:
    """Modelled items that say more, some of them without a footprint and some that last."""
    made = []
    for number, entry in enumerate(modelled_catalogue.entries(66, seed=3)):
        document = copy.deepcopy(dict(entry.document))
        document["properties"] |= TOLD[number % len(TOLD)]
        end = entry.end
        if number % 9 == 0:
            document["geometry"] = None
        if number % 5 == 0:
            end = entry.start + dt.timedelta(hours=3)
            times = {"datetime": None, "start_datetime": instant(entry.start), "end_datetime": instant(end)}
            document["properties"] |= times
        made.append(dataclasses.replace(entry, document=document, end=end))
    return made


def instant(at: dt.datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def search(catalogue_database: str, databases: conftest.Databases) -> Iterator[item_search.ItemSearch]:
    """Items, one in seven of them with a second revision, and one that was withdrawn."""
    with databases.catalogue(catalogue_database) as catalog:
        for number, entry in enumerate(entries()):
            at = BEGIN + dt.timedelta(seconds=number)
            if number % 7 == 0:
                catalog.publish(dataclasses.replace(entry, content_sha256="f" * 64), published_at=at)
            catalog.publish(entry, published_at=at + dt.timedelta(minutes=number % 3))
        catalog.withdraw(entry.item_id, reason="wrong", withdrawn_at=BEGIN + dt.timedelta(days=1))
        yield item_search.ItemSearch(catalog)


def served(search: item_search.ItemSearch, **asked: Any) -> dict[str, dict[str, Any]]:
    """Documents found, in order, by identity."""
    page = search.search(WHO, item_search.SearchRequest(limit=1000, **asked))
    assert page.matched == len(page.items)
    return {item.item_id: item.item for item in page.items}


def told(document: dict[str, Any], name: str) -> Any:
    """What a served document says of a property; of the times of the content, whichever it writes."""
    properties = document["properties"]
    if name in {"id", "collection", "geometry"}:
        return document[name]
    if name in {"datetime", "start_datetime"}:
        return properties["datetime"] or properties["start_datetime"]
    if name == "end_datetime":
        return properties.get("end_datetime") or properties["datetime"]
    if name in properties:
        return properties[name]
    whole, _, part = name.partition(".")
    return (properties.get(whole) or {}).get(part)


def is_null(name: str) -> dict[str, Any]:
    return {"op": "isNull", "args": [{"property": name}]}


NAMES = sorted(queryable.QUERYABLES)
KINDS = {name: asked.kind for name, asked in queryable.QUERYABLES.items()}
SINGLE = [name for name in NAMES if KINDS[name] in {"text", "number", "instant", "boolean"}]
ORDERED = [name for name in SINGLE if KINDS[name] != "boolean"]
COMPARISONS = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


MIRRORED = dict(zip(COMPARISONS, ("=", "<>", ">", ">=", "<", "<="), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_property_is_missing_where_the_served_document_has_none(search: item_search.ItemSearch, name: str) -> None:
    documents = served(search)
    missing = {item_id for item_id, document in documents.items() if told(document, name) is None}
    for asked in (name, f"properties.{name}"):
        assert set(served(search, filter_tree=is_null(asked))) == missing
        there = served(search, filter_tree={"op": "not", "args": [is_null(asked)]})
        assert set(there) == set(documents) - missing


def test_what_is_missing_varies_so_that_each_answer_could_be_wrong(search: item_search.ItemSearch) -> None:
    documents = served(search).values()
    always = {name for name in NAMES if all(told(document, name) is not None for document in documents)}
    assert always == {
        "id", "collection", "datetime", "start_datetime", "end_datetime", "published", "version", "deprecated", "title",
        "license", "cqeo:title_zh", "cqeo:status", "cqeo:sector", "cqeo:product_code", "cqeo:stream", "cqeo:quality",
        "cqeo:quality.level", "cqeo:quality.reasons",
    }  # fmt: skip
    assert not [name for name in NAMES if all(told(document, name) is None for document in documents)]


def comparable(name: str, value: Any) -> Any:
    return dt.datetime.fromisoformat(value) if KINDS[name] == "instant" else value


@pytest.mark.parametrize("name", SINGLE)
def test_a_comparison_finds_what_the_served_documents_find(search: item_search.ItemSearch, name: str) -> None:
    documents = served(search)
    values = {item_id: told(document, name) for item_id, document in documents.items()}
    present = {item_id: value for item_id, value in values.items() if value is not None}
    some = sorted(set(present.values()))
    wanted = [some[0], some[len(some) // 2], some[-1]] if KINDS[name] != "boolean" else [True, False]
    for value in wanted:
        given = {"timestamp": value} if KINDS[name] == "instant" else value
        for sign, holds in COMPARISONS.items():
            if KINDS[name] == "boolean" and sign not in {"=", "<>"}:
                continue
            expected = {i for i, v in present.items() if holds(comparable(name, v), comparable(name, value))}
            asked = {"op": sign, "args": [{"property": name}, given]}
            turned = {"op": MIRRORED[sign], "args": [given, {"property": name}]}
            assert set(served(search, filter_tree=asked)) == expected, (sign, value)
            assert set(served(search, filter_tree=turned)) == expected, (sign, value)
        listed = {"op": "in", "args": [{"property": name}, [given]]}
        assert set(served(search, filter_tree=listed)) == {i for i, v in present.items() if v == value}


@pytest.mark.parametrize("name", [name for name in SINGLE if KINDS[name] == "text"])
def test_a_text_is_found_by_its_beginning_and_whatever_its_case(search: item_search.ItemSearch, name: str) -> None:
    documents = served(search)
    word = next(value for document in documents.values() if (value := told(document, name)))
    begins = {i for i, d in documents.items() if (told(d, name) or "").startswith(word[:3])}
    assert set(served(search, filter_tree={"op": "like", "args": [{"property": name}, f"{word[:3]}%"]})) == begins
    folded = {"op": "=", "args": [{"op": "casei", "args": [{"property": name}]}, word.upper()]}
    assert set(served(search, filter_tree=folded)) == {i for i, d in documents.items() if told(d, name) == word}


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("name", ORDERED)
def test_an_order_is_that_of_the_served_documents_and_what_is_missing_is_the_least(
    search: item_search.ItemSearch, name: str, direction: item_search.Direction
) -> None:
    found = [told(document, name) for document in served(search, sort=((name, direction),)).values()]
    assert len(found) == 65
    # What is missing stands where an empty text does.
    keys = [(False, 0) if value in {None, ""} else (True, comparable(name, value)) for value in found]
    assert keys == sorted(keys, reverse=direction == "desc")


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(ORDERED)))
def test_what_has_no_order_is_not_sorted_by(search: item_search.ItemSearch, name: str) -> None:
    with pytest.raises(item_search.SearchError, match="cannot be sorted by"):
        search.search(WHO, item_search.SearchRequest(sort=((name, "asc"),)))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"op": "=", "args": [{"property": "cqeo:quality"}, "x"]}, "is an object, of which only IS NULL"),
        ({"op": "in", "args": [{"property": "keywords"}, ["x"]]}, "is an array, of which only IS NULL"),
        ({"op": "=", "args": [{"property": "cqeo:inputs"}, {"property": "keywords"}]}, "is an array"),
        ({"op": "<", "args": [{"property": "deprecated"}, True]}, "with = and <> only"),
        ({"op": "between", "args": [{"property": "deprecated"}, False, True]}, "with = and <> only"),
        ({"op": "=", "args": [{"property": "deprecated"}, 0]}, "is a boolean and cannot be compared with 0"),
        ({"op": "=", "args": [{"property": "version"}, 1]}, "is a text and cannot be compared with 1"),
        ({"op": "=", "args": [{"property": "gsd"}, True]}, "is a number and cannot be compared with True"),
        ({"op": "=", "args": [{"op": "casei", "args": [{"property": "gsd"}]}, 2]}, "folds a text, which gsd is not"),
        ({"op": "like", "args": [{"property": "deprecated"}, "t%"]}, "like compares a text property"),
    ],
    ids=str,
)
def test_a_comparison_of_other_kinds_is_refused_in_a_sentence(
    search: item_search.ItemSearch, tree: dict[str, Any], said: str
) -> None:
    with pytest.raises(cql2_condition.FilterError, match=said):
        search.search(WHO, item_search.SearchRequest(filter_tree=tree))


def test_what_never_expires_is_met_by_no_time(search: item_search.ItemSearch) -> None:
    expires = {i for i, document in served(search).items() if told(document, "expires") is not None}
    ever = {"op": "t_intersects", "args": [{"property": "expires"}, {"interval": ["..", ".."]}]}
    assert set(served(search, filter_tree=ever)) == expires
    assert not served(search, filter_tree={"op": "not", "args": [ever]})


WORD = {"property": "eo:cloud_cove"}


@pytest.mark.parametrize(
    "tree",
    [
        {"op": "<", "args": [WORD, 10]},
        {"op": "<", "args": [10, WORD]},
        {"op": "=", "args": [{"property": "title"}, WORD]},
        {"op": "isNull", "args": [WORD]},
        {"op": "like", "args": [WORD, "a%"]},
        {"op": "between", "args": [WORD, 1, 2]},
        {"op": "in", "args": [WORD, []]},
        {"op": "in", "args": [{"op": "casei", "args": [WORD]}, ["a"]]},
        {"op": "s_intersects", "args": [WORD, {"type": "Point", "coordinates": [0, 0]}]},
        {"op": "t_after", "args": [WORD, {"date": "2026-01-01"}]},
        {"op": "a_contains", "args": [WORD, ["500103"]]},
        {"op": "or", "args": [is_null("id"), {"op": "not", "args": [{"op": "=", "args": [WORD, 1]}]}]},
        {"op": "=", "args": [{"property": "properties.eo:cloud_cove"}, 1]},
        {"op": "=", "args": [{"property": "properties.properties.id"}, "a"]},
        {"op": "=", "args": [{"property": "cqeo:quality.levels"}, "a"]},
        {"op": "=", "args": [{"property": ""}, "a"]},
    ],
    ids=str,
)
def test_a_filter_that_names_no_property_of_an_item_is_refused_whatever_it_asks(
    search: item_search.ItemSearch, tree: dict[str, Any]
) -> None:
    with pytest.raises(queryable.UnknownPropertyError, match=r"'.*' is no property .*/stac/queryables"):
        search.search(WHO, item_search.SearchRequest(filter_tree=tree))


def test_an_order_by_no_property_of_an_item_is_refused(search: item_search.ItemSearch) -> None:
    with pytest.raises(queryable.UnknownPropertyError, match="'nope' is no property"):
        search.search(WHO, item_search.SearchRequest(sort=(("nope", "asc"),)))


def test_every_property_an_item_can_be_published_with_may_be_named() -> None:
    uncertainty = {"kind": "interval_95", "asset": "data", "value": 1.0, "unit": "m"}
    fields = stac.ItemFields(
        product_code="water-extent",
        title="Water",
        title_zh="水",
        description="Water",
        description_zh="水",
        keywords=("water",),
        geometry={"type": "Point", "coordinates": [106, 29]},
        bbox=(106, 29, 106, 29),
        start=BEGIN,
        end=BEGIN + dt.timedelta(hours=1),
        quality_level="rapid",
        stream="final",
        clear_fraction=0.5,
        uncertainty=uncertainty,
        admin_codes=("500103",),
        inputs=({"id": "scene"},),
        lineage="measured",
        level="L3",
        facility="Chongqing",
        software={"terralimb": "1"},
        projection=stac.Projection(code="EPSG:4326", shape=(1, 1), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
        expires=BEGIN,
        extra={"gsd": 2.0, "platform": "cq-01"},
    )
    unset = [each.name for each in dataclasses.fields(fields) if not getattr(fields, each.name)]
    assert unset == ["quality_reasons"]
    document = stac.build_item(
        fields, item_id="a", collection="water-extent", sector="ecology", assets={}, collection_href="./c.json"
    )
    shown = stac.with_publication(document, revision=1, state="published", published_at=BEGIN)["properties"]
    parts = {f"{whole}.{part}" for whole in ("cqeo:quality", "cqeo:uncertainty") for part in shown[whole]}
    assert {*shown, *parts} - set(queryable.QUERYABLES) == set()
    # And nothing may be named that no item has, but for what clients of other catalogues ask for unseen.
    known = {*shown, *parts, "id", "collection", "geometry", "processing:software.terralimb"} | {
        "mission",
        "eo:cloud_cover",
    }
    assert set(queryable.QUERYABLES) - known == set()
    kinds = {list: {"array", "codes"}, dict: {"object"}, bool: {"boolean"}, str: {"text", "instant"}}
    for name, value in shown.items():
        assert KINDS[name] in kinds.get(type(value), {"number", "instant"}), name


@pytest.mark.parametrize("kind", sorted(set(KINDS.values())))
def test_the_schema_of_a_property_tells_its_kind(kind: str) -> None:
    for name in NAMES:
        if KINDS[name] == kind:
            schema = queryable.QUERYABLES[name].schema
            types = {"text": "string", "instant": "string", "codes": "array", "geometry": None}
            assert schema.get("type") == types.get(kind, kind)
            assert ("description" in schema) == (kind in {"array", "object"})


# Geometry


POLYGON = {"type": "Polygon", "coordinates": [[[106, 29], [107, 29], [107, 30], [106, 29]]]}


@pytest.mark.parametrize("relation", sorted(cql2_condition._SPATIAL))
@pytest.mark.parametrize(
    "parts",
    [
        (POLYGON, POLYGON),
        (POLYGON, {"type": "Point", "coordinates": [108.5, 30.5]}),
        ({"type": "LineString", "coordinates": [[100, 29.5], [112, 29.5]]},),
    ],
    ids=["homogeneous", "mixed", "single"],
)
def test_a_collection_of_geometries_is_met_where_the_served_footprints_meet_it(
    search: item_search.ItemSearch, relation: str, parts: tuple[dict[str, Any], ...]
) -> None:
    asked = {"type": "GeometryCollection", "geometries": list(parts)}
    holds = cql2_condition._SPATIAL[relation]
    footprints = {i: d["geometry"] for i, d in served(search).items() if d["geometry"] is not None}
    expected = {i for i, found in footprints.items() if holds(geometry.shape(found), geometry.shape(asked))}
    assert set(served(search, filter_tree={"op": relation, "args": [{"property": "geometry"}, asked]})) == expected


def test_a_box_across_the_antimeridian_is_its_two_sides(search: item_search.ItemSearch) -> None:
    asked = {"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [100, -90, -100, 90]}]}
    sides = shapely.union_all([shapely.box(100, -90, 180, 90), shapely.box(-180, -90, -100, 90)])
    footprints = {i: d["geometry"] for i, d in served(search).items() if d["geometry"] is not None}
    expected = {i for i, found in footprints.items() if shapely.intersects(geometry.shape(found), sides)}
    assert 0 < len(expected) < len(footprints)
    assert set(served(search, filter_tree=asked)) == expected


def test_the_box_that_a_geometry_brings_is_not_taken_for_it(search: item_search.ItemSearch) -> None:
    boxed = POLYGON | {"bbox": [-180, -90, 180, 90]}
    assert served(search, intersects=boxed) == served(search, intersects=POLYGON)
    assert 0 < len(served(search, intersects=POLYGON)) < 50
