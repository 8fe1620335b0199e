"""Search for one identity: what it sees, in which order, how many; the same whatever the way it asks."""

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import geometry

from infra import catalog_store
from infra.delivery import cql2_condition, entitlement, item_search, queryable
from infra.demonstration import modelled_catalogue
from products import stac
from tests import conftest

COUNT = 330


def day(year: int, month: int, number: int) -> dt.datetime:
    return dt.datetime(year, month, number, tzinfo=dt.UTC)


BEGIN = day(2026, 1, 1)
ALL_SECTORS = frozenset({fields.sector for fields in modelled_catalogue.collections()})
ENTRIES = tuple(modelled_catalogue.entries(COUNT, seed=7))
CODES = sorted({code for entry in ENTRIES for code in entry.document["properties"].get("cqeo:admin_codes", ())})


def who(*, sectors: frozenset[str] = ALL_SECTORS, districts: frozenset[str] | None = None) -> entitlement.Principal:
    return entitlement.Principal(
        agency="agency", sectors=sectors, districts=districts, scopes=frozenset(entitlement.SCOPES), key_id="k"
    )


@pytest.fixture(scope="module")
def search(catalogue_database: str, databases: conftest.Databases) -> Iterator[item_search.ItemSearch]:
    with databases.catalogue(catalogue_database) as catalog:
        for fields in modelled_catalogue.collections():
            catalog.put_collection(stac.build_collection(fields))
        with catalog.writing() as connection:
            for number, entry in enumerate(ENTRIES):
                catalog.publish(entry, published_at=BEGIN + dt.timedelta(seconds=number), connection=connection)
        yield item_search.ItemSearch(catalog)


def every(
    search: item_search.ItemSearch, principal: entitlement.Principal, request: item_search.SearchRequest
) -> tuple[list[str], int]:
    """Identities of all pages, and how many the first page said there were."""
    page = search.search(principal, request)
    matched, found = page.matched, [item.item_id for item in page.items]
    while page.token is not None:
        page = search.search(principal, dataclasses.replace(request, token=page.token))
        found += [item.item_id for item in page.items]
    return found, matched


def admin_codes(entry: catalog_store.CatalogEntry) -> tuple[str, ...]:
    return tuple(entry.document["properties"].get("cqeo:admin_codes", ()))


def shape(entry: catalog_store.CatalogEntry) -> geometry.base.BaseGeometry:
    return geometry.shape(entry.document["geometry"])


TRIANGLE = shapely.Polygon([(106, 29), (107, 29), (107, 30)])


def filtered(text: str, limit: int = 1000) -> item_search.SearchRequest:
    return item_search.SearchRequest(filter_tree=cql2_condition.parsed(text, "cql2-text"), limit=limit)


@settings(max_examples=20, deadline=None)
@given(
    sectors=st.frozensets(st.sampled_from(sorted(ALL_SECTORS)), max_size=4),
    districts=st.none()
    | st.frozensets(st.sampled_from([*CODES, "500000", "500200", "510000"]), min_size=1, max_size=4),
    limit=st.integers(30, 400),
)
def test_an_identity_finds_exactly_what_the_rule_permits_and_is_told_that_number(
    search: item_search.ItemSearch,
    sectors: frozenset[str],
    districts: frozenset[str] | None,
    limit: int,
) -> None:
    principal = who(sectors=sectors, districts=districts)
    permitted = {
        entry.item_id
        for entry in ENTRIES
        if entry.sector in sectors
        and (
            districts is None
            or (
                admin_codes(entry) != ()
                and all(any(_within(code, own) for own in districts) for code in admin_codes(entry))
            )
        )
    }
    found, matched = every(search, principal, item_search.SearchRequest(limit=limit))
    assert len(found) == len(set(found))
    assert set(found) == permitted
    assert matched == len(permitted)
    for entry in ENTRIES[:60]:
        seen = search.item(principal, entry.item_id) is not None
        assert seen == (entry.item_id in permitted)
        assert seen == entitlement.permits(principal, sector=entry.sector, admin_codes=admin_codes(entry))


def _within(code: str, own: str) -> bool:
    """GB/T 2260 spelt out: province, prefecture, county, two digits each; zeros stand for all."""
    pairs = [own[at : at + 2] for at in range(0, len(own), 2)]
    while len(pairs) > 1 and pairs[-1] == "00":
        pairs.pop()
    return [code[at : at + 2] for at in range(0, 2 * len(pairs), 2)] == pairs


def test_an_identity_limited_to_a_district_never_sees_an_item_that_also_shows_another(
    search: item_search.ItemSearch,
) -> None:
    shared = [entry for entry in ENTRIES if len(admin_codes(entry)) == 2]
    assert shared
    for entry in shared[:10]:
        first, _ = admin_codes(entry)
        assert search.item(who(districts=frozenset({first})), entry.item_id) is None
        assert search.item(who(districts=frozenset(admin_codes(entry))), entry.item_id) is not None


def test_collections_of_other_sectors_are_not_named_and_an_extent_holds_only_what_is_seen(
    search: item_search.ItemSearch,
) -> None:
    district = CODES[3]
    principal = who(sectors=frozenset({"ecology", "emergency"}), districts=frozenset({district}))
    documents = {document["id"]: document for document in search.collections(principal)}
    assert set(documents) == {"water-extent", "flood-extent"}
    boxes = [
        entry.bbox for entry in ENTRIES if entry.collection == "water-extent" and admin_codes(entry) == (district,)
    ]
    (box,) = documents["water-extent"]["extent"]["spatial"]["bbox"]
    assert box == [
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    ]


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("\"cqeo:sector\" = 'ecology'", lambda e: e.sector == "ecology"),
        ("\"cqeo:sector\" <> 'ecology'", lambda e: e.sector != "ecology"),
        ("'ecology' = \"cqeo:sector\"", lambda e: e.sector == "ecology"),
        ('"cqeo:clear_fraction" > 0.7', lambda e: _clear(e) is not None and _clear(e) > 0.7),
        ('0.7 >= "cqeo:clear_fraction"', lambda e: _clear(e) is not None and _clear(e) <= 0.7),
        ('"cqeo:clear_fraction" BETWEEN 0.2 AND 0.4', lambda e: _clear(e) is not None and 0.2 <= _clear(e) <= 0.4),
        ('"cqeo:clear_fraction" IS NULL', lambda e: _clear(e) is None),
        ('"cqeo:clear_fraction" IS NOT NULL', lambda e: _clear(e) is not None),
        ("collection IN ('flood-extent', 'river-width')", lambda e: e.collection in {"flood-extent", "river-width"}),
        ("id LIKE 'flood-extent-5001__-%'", lambda e: e.item_id.startswith("flood-extent-5001")),
        ("id LIKE 'FLOOD%'", lambda e: False),
        ("CASEI(id) LIKE CASEI('FLOOD%')", lambda e: e.item_id.startswith("flood")),
        ("CASEI(title) = CASEI('WATER EXTENT')", lambda e: e.collection == "water-extent"),
        ("title LIKE 'Water\\_extent'", lambda e: False),
        ("title LIKE 'Water extent\\'", lambda e: e.collection == "water-extent"),
        ("CASEI(title) LIKE CASEI('WATER%\\')", lambda e: e.collection == "water-extent"),
        ("\"cqeo:quality.level\" = 'rapid' AND NOT \"cqeo:sector\" = 'weather'",
         lambda e: _level(e) == "rapid" and e.sector != "weather"),
        ("datetime >= TIMESTAMP('2025-01-01T00:00:00Z')", lambda e: e.start >= day(2025, 1, 1)),
        ("datetime < TIMESTAMP('2025-01-01T08:00:00+08:00')", lambda e: e.start < day(2025, 1, 1)),
        ("t_after(datetime, DATE('2025-06-30'))", lambda e: e.start >= day(2025, 7, 1)),
        ("t_intersects(datetime, INTERVAL('..', '2024-02-01T00:00:00Z'))", lambda e: e.start <= day(2024, 2, 1)),
        ("a_contains(\"cqeo:admin_codes\", ('500103','500104'))",
         lambda e: {"500103", "500104"} <= set(admin_codes(e))),
        ("a_overlaps(\"cqeo:admin_codes\", ('500103','500119'))",
         lambda e: bool({"500103", "500119"} & set(admin_codes(e)))),
        ("start_datetime = end_datetime", lambda e: e.start == e.end),
        ("s_intersects(geometry, POLYGON((106 29,107 29,107 30,106 29)))",
         lambda e: shapely.intersects(shape(e), TRIANGLE)),
        ("s_within(geometry, BBOX(105, 28, 108, 31))",
         lambda e: shapely.within(shape(e), shapely.box(105, 28, 108, 31))),
        ("s_disjoint(geometry, BBOX(105, 28, 110, 32))",
         lambda e: shapely.disjoint(shape(e), shapely.box(105, 28, 110, 32))),
    ],
)  # fmt: skip
def test_a_filter_finds_what_the_same_words_find_by_hand(
    search: item_search.ItemSearch, text: str, test: object
) -> None:
    expected = {entry.item_id for entry in ENTRIES if test(entry)}
    found, matched = every(search, who(), filtered(text))
    assert set(found) == expected
    assert matched == len(expected)


def _clear(entry: catalog_store.CatalogEntry) -> float | None:
    value: float | None = entry.document["properties"].get("cqeo:clear_fraction")
    return value


def _level(entry: catalog_store.CatalogEntry) -> str:
    return str(entry.document["properties"]["cqeo:quality"]["level"])


@pytest.mark.parametrize("limit", [3, 100])
@pytest.mark.parametrize(
    "sort", [(), (("datetime", "asc"),), (("cqeo:clear_fraction", "desc"), ("id", "asc")), (("cqeo:sector", "asc"),)]
)
def test_pages_of_any_length_give_every_item_once_in_the_order_asked_for(
    search: item_search.ItemSearch, limit: int, sort: tuple[tuple[str, item_search.Direction], ...]
) -> None:
    request = item_search.SearchRequest(sort=sort, limit=limit, collections=("flood-extent", "occultation-profile"))
    found, matched = every(search, who(), request)
    assert len(found) == len(set(found)) == matched == 2 * COUNT // 6
    by_id = {entry.item_id: entry for entry in ENTRIES}
    keys = {"datetime": lambda e: e.start, "id": lambda e: e.item_id, "cqeo:sector": lambda e: e.sector}
    keys["cqeo:clear_fraction"] = lambda e: -1e308 if _clear(e) is None else _clear(e)
    for earlier, later in itertools.pairwise(by_id[name] for name in found):
        assert _in_order(earlier, later, sort or (("datetime", "desc"), ("id", "asc")), keys)


def _in_order(earlier: object, later: object, sort: object, keys: object) -> bool:
    for name, direction in sort:
        a, b = keys[name](earlier), keys[name](later)
        if a != b:
            return (a < b) == (direction == "asc")
    return True


def test_what_is_published_between_two_pages_neither_repeats_nor_hides_an_item(
    catalog: catalog_store.CatalogStore,
) -> None:
    for number, entry in enumerate(ENTRIES[:40]):
        catalog.publish(entry, published_at=BEGIN + dt.timedelta(seconds=number))
    search = item_search.ItemSearch(catalog)
    request = item_search.SearchRequest(limit=10)
    page = search.search(who(), request)
    found = [item.item_id for item in page.items]
    assert page.matched == 40
    newer = dataclasses.replace(ENTRIES[41], start=day(2027, 1, 1), end=day(2027, 1, 1))
    catalog.publish(newer, published_at=BEGIN + dt.timedelta(hours=1))
    while page.token is not None:
        page = search.search(who(), dataclasses.replace(request, token=page.token))
        assert page.matched == 41
        found += [item.item_id for item in page.items]
    assert sorted(found) == sorted(entry.item_id for entry in ENTRIES[:40])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"a b" = 1', "no property"),
        ("\"x'y\" = 'x'", "no property"),
        ('"cqeo:sector" = 3', "is a text"),
        ('"cqeo:clear_fraction" = true', "is a number"),
        ("datetime > 'yesterday'", "not an instant"),
        ("geometry = 'x'", "operators of its own kind"),
        ("buffer(geometry) = 1", "one side"),
        ("1 = 1", "one side"),
        ("s_intersects(geometry, POLYGON((0 0, 1 1, 1 0, 0 1, 0 0)))", "crosses itself"),
        ("not a filter", "not valid cql2-text"),
        ("(" * 80 + "id = 'a'" + ")" * 80, "nested"),
    ],
)
def test_a_filter_that_cannot_be_answered_is_refused_in_a_sentence(
    search: item_search.ItemSearch, text: str, said: str
) -> None:
    with pytest.raises((cql2_condition.FilterError, queryable.UnknownPropertyError), match=said):
        search.search(who(), filtered(text))


def test_a_text_in_a_filter_is_never_a_piece_of_a_statement(search: item_search.ItemSearch) -> None:
    for hostile in ("x'' OR 1=1 --", "'') OR (''1''=''1", "%''", "[*?"):
        found, matched = every(search, who(), filtered(f"id = '{hostile}' OR title LIKE '{hostile}'"))
        assert (found, matched) == ([], 0)


@pytest.mark.parametrize("token", ["x", "W10", "bnVsbA", "WzFd", "e30", "WyJhIiwiYiIsICJjIl0"])
def test_a_token_of_nothing_is_refused(search: item_search.ItemSearch, token: str) -> None:
    with pytest.raises(item_search.SearchError, match="token"):
        search.search(who(), item_search.SearchRequest(token=token))
