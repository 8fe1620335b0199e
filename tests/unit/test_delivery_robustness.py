"""Questions that once ended the service or were answered with a failure of its own, and what it says of itself."""

import dataclasses
import datetime as dt
import itertools
import json
import re
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from infra import catalog_store, database, object_store
from infra.delivery import cql2_condition, entitlement, fair_share, filter_limit, identity
from infra.demonstration import modelled_catalogue
from products import stac

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    from starlette import routing, testclient

    from infra.delivery import gateway

NOW = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
SECTORS = tuple(fields.sector for fields in modelled_catalogue.collections())


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> gateway.Parts:
    home = tmp_path_factory.mktemp("service")
    url = f"sqlite:///{home / 'terralimb.sqlite'}"
    database.upgrade(url)
    engine = database.engine(url)
    catalog = catalog_store.CatalogStore(engine)
    for fields in modelled_catalogue.collections():
        catalog.put_collection(stac.build_collection(fields))
    for entry in modelled_catalogue.entries(12, seed=3):
        catalog.publish(entry, published_at=NOW)
    return gateway.Parts(
        catalog=catalog,
        store=object_store.ObjectStore(
            endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
        ),
        home=home,
        identities=identity.Identities(engine),
        limits=fair_share.Limits(rate=1e6, burst=1_000_000),
        refusals=fair_share.Limits(rate=1e6, burst=1_000_000),
        clock=lambda: NOW,
    )


@pytest.fixture(scope="module")
def client(parts: gateway.Parts) -> Iterator[testclient.TestClient]:
    key = identity.create(
        parts.catalog.engine, agency="agency", sectors=SECTORS, scopes=entitlement.SCOPES, now=NOW,
        expires_at=NOW + dt.timedelta(days=1),
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {key}"}
    with testclient.TestClient(gateway.application(parts), base_url="http://service.test", headers=headers) as asked:
        yield asked


# Filters


@pytest.mark.parametrize(
    "text",
    [
        "NOT " * 4000 + "TRUE",
        "not" * 4000 + " TRUE",
        "-" * 5000 + "1=id",
        "1+" * 20_000 + "1=id",
        "1=" * 20_000 + "1",
        "1^" * 8000 + "1=id",
        "id=1" + " in(1)" * 5000,
        "id=(" + "1 -1 " * 9000 + ")",
        "1+and" * 9000,
        "1 div " * 9000 + "1=id",
    ],
    ids=lambda text: text[:6],
)
def test_a_chain_of_operators_is_refused_before_the_library_reads_it(text: str) -> None:
    # Read, it would end the process: the refusal must come from the count.
    with pytest.raises(filter_limit.FilterTooLargeError, match="operators"):
        filter_limit.check_text(text)
    with pytest.raises(cql2_condition.FilterError, match="operators"):
        cql2_condition.parsed(text, "cql2-text")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 40,
        "f(" * 40,
        "id='" + ")" * 50 + "' AND " + "(" * 40 + "x y",
        '"' + ")" * 50 + '"' + "(" * 40,
        "POINT" + "(" * 40,
        "(" * 12 + "id=1 OR " * 5000 + "x y",
    ],
    ids=lambda text: text[:6],
)
def test_parentheses_that_would_be_read_again_and_again_are_refused_at_once(text: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(cql2_condition.FilterError, match="nested too deeply"):
        cql2_condition.parsed(text, "cql2-text")
    assert time.perf_counter() - begun < 1.0


def test_large_filters_that_make_sense_are_read() -> None:
    ring = ",".join(f"{-120 + number / 1e3:.3f} {-10 - number / 1e4:.4f}" for number in range(3000))
    identities = ",".join(f"'water-extent-{number}--'" for number in range(2000))
    for text in (
        f"NOT (S_INTERSECTS(geometry, MULTIPOLYGON((({ring}))))) AND id IS NOT NULL",
        f"id IN ({identities})",
        " OR ".join(f"title = 'a-b+c ({number})'" for number in range(200)),
        "((((title = 'not (in) this') AND (NOT (id LIKE 'a-%-b')))))",
        '"cqeo:clear_fraction" BETWEEN -0.5 AND 1e-1',
    ):
        assert cql2_condition.parsed(text, "cql2-text")["op"]


@pytest.mark.parametrize(
    "tree",
    [
        {"op": "=", "args": [{"property": "id"}]},
        {"op": "not", "args": []},
        {"op": "between", "args": [{"property": "id"}, 1]},
        {"op": "in", "args": [{"property": "id"}, "a"]},
        {"op": "in", "args": [{"property": "id"}, [{"property": "collection"}]]},
        {"op": "in", "args": [{"property": "id"}, ["a"] * 30_000]},
        {"op": "=", "args": [{"op": "casei", "args": []}, "a"]},
        {"op": "t_intersects", "args": [{"property": "datetime"}, {"interval": ["2024-01-01"]}]},
        {"op": "a_equals", "args": [{"property": "cqeo:admin_codes"}, [str(number) for number in range(2000)]]},
        {"op": "=", "args": [{"property": "id"}, "\ud800"]},
        {"op": "=", "args": [{"property": "id"}, "\x00"]},
        {"op": "or", "args": [{"op": "isNull", "args": [{"property": "title"}]}] * 2000},
        {"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": [[[[1]]]]}]},
    ],
    ids=lambda tree: str(tree)[:50],
)
def test_a_filter_that_says_too_little_or_too_much_is_answered_with_400(
    client: testclient.TestClient, tree: Any
) -> None:
    content = json.dumps({"filter": tree}).encode()
    answer = client.post("/stac/search", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "description"}


def test_a_list_finds_what_single_comparisons_find(client: testclient.TestClient) -> None:
    entries = list(modelled_catalogue.entries(12, seed=3))
    some = {entry.item_id for entry in entries[:5]}
    listed = client.get("/stac/search", params={"filter": f"id IN ({','.join(map(repr, some))},'absent')", "limit": 50})
    assert {feature["id"] for feature in listed.json()["features"]} == some
    folded = {"op": "in", "args": [{"op": "casei", "args": [{"property": "title"}]}, ["LAND COVER", "River Width"]]}
    found = client.post("/stac/search", json={"filter": folded, "limit": 50}).json()
    assert {feature["collection"] for feature in found["features"]} == {"land-cover", "river-width"}
    mixed = {"op": "in", "args": [{"property": "cqeo:quality.level"}, ["rapid"]]}
    assert client.post("/stac/search", json={"filter": mixed}).json()["numberMatched"] == 4


ECOLOGY = {"op": "=", "args": [{"property": "cqeo:sector"}, "ecology"]}


@pytest.mark.parametrize("name", ["eo:cloud_cove", "properties.nope", "nope"])
def test_a_name_that_is_none_is_refused_wherever_it_is_asked_and_said_again(
    client: testclient.TestClient, name: str
) -> None:
    comparison = {"op": "<", "args": [{"property": name}, 10]}
    answers = [
        client.get(path, params=asked)
        for path in ("/stac/search", "/stac/collections/flood-extent/items")
        for asked in (
            {"filter": f'"{name}" < 10'},
            {"filter": json.dumps(comparison), "filter-lang": "cql2-json"},
            {"sortby": name},
            {"sortby": f"-{name}"},
        )
    ]
    answers += [
        client.post("/stac/search", json=body)
        for body in ({"filter": comparison}, {"sortby": [{"field": name, "direction": "desc"}]})
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["code"] == "UnknownProperty"
        assert repr(name) in answer.json()["description"]
        assert "/stac/queryables" in answer.json()["description"]


def test_every_name_of_the_queryables_may_be_asked_about_and_is_described(client: testclient.TestClient) -> None:
    described = client.get("/stac/queryables").json()
    assert described["additionalProperties"] is False
    for name in described["properties"]:
        both = {"op": "or", "args": [missing := {"op": "isNull", "args": [{"property": name}]},
                                     {"op": "not", "args": [missing]}]}  # fmt: skip
        assert client.post("/stac/search", json={"filter": both}).json()["numberMatched"] == 12, name


def test_a_body_may_hold_a_filter_in_either_language_and_says_which(client: testclient.TestClient) -> None:
    text = {"filter": "\"cqeo:sector\" = 'ecology'", "filter-lang": "cql2-text", "limit": 1}
    first = client.post("/stac/search", json=text).json()
    assert first["numberMatched"] == client.post("/stac/search", json={"filter": ECOLOGY}).json()["numberMatched"] == 2
    (onward,) = (link for link in first["links"] if link["rel"] == "next")
    second = client.post("/stac/search", json=onward["body"]).json()
    assert {first["features"][0]["id"], second["features"][0]["id"]} == {
        entry.item_id for entry in modelled_catalogue.entries(12, seed=3) if entry.sector == "ecology"
    }
    for wrong in ({**text, "filter-lang": "cql2-json"}, {"filter": text["filter"]}):
        assert "a filter in cql2-json is an object" in client.post("/stac/search", json=wrong).json()["description"]
    other = client.post("/stac/search", json={"filter": ECOLOGY, "filter-lang": "cql2-text"})
    assert other.status_code == 400
    assert "a filter in cql2-text is a text" in other.json()["description"]


# Bodies, parameters


@pytest.mark.parametrize(
    ("outline", "said"),
    [
        ({}, "its type is none of Point, "),
        ({"type": "Circle"}, "its type is none of Point, "),
        ({"type": ["Point"]}, "its type is none of Point, "),
        ({"type": "Polygon"}, "its coordinates are not those of a Polygon"),
        ({"type": "Polygon", "coordinates": [[1, 2]]}, "its coordinates are not those of a Polygon"),
        ({"type": "Point", "coordinates": "x"}, "its coordinates are not those of a Point"),
        ({"type": "Point", "coordinates": [1, None]}, "its coordinates are not those of a Point"),
        ({"type": "Point", "coordinates": [10**400, 0]}, "its coordinates are not those of a Point"),
        ({"type": "GeometryCollection", "geometries": [{"type": ["Point"]}]}, "its geometries are not those of a"),
        ({"type": "GeometryCollection", "geometries": 3}, "its geometries are not those of a GeometryCollection"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "crosses itself"),
        ({"type": "Feature", "geometry": None}, "intersects is no GeoJSON geometry, which is an object"),
        ([1], "intersects is no GeoJSON geometry, which is an object"),
    ],
    ids=str,
)
def test_an_outline_that_is_none_is_refused_in_the_same_sentence_by_address_and_by_body(
    client: testclient.TestClient, outline: Any, said: str
) -> None:
    by_address = client.get("/stac/search", params={"intersects": json.dumps(outline)})
    by_body = client.post("/stac/search", json={"intersects": outline})
    for answer in (by_address, by_body):
        assert answer.status_code == 400
        assert answer.json() == by_address.json()
        assert said in answer.json()["description"]
        assert len(answer.json()["description"]) < 250


def test_a_collection_of_like_geometries_is_searched_without_a_warning(client: testclient.TestClient) -> None:
    box = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}
    outline = {"type": "GeometryCollection", "geometries": [box, box], "bbox": [170, -10, -170, 10]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_body = client.post("/stac/search", json={"intersects": outline, "limit": 5}).json()
    assert by_body["numberMatched"] == 12
    (onward,) = (link for link in by_body["links"] if link["rel"] == "next")
    assert onward["body"]["intersects"] == outline
    assert len(client.post("/stac/search", json=onward["body"]).json()["features"]) == 5
    assert client.get("/stac/search", params={"intersects": json.dumps(outline)}).json()["numberMatched"] == 12


@pytest.mark.parametrize(
    "content",
    [
        b'{"ids": ["\\ud800"]}',
        b'{"collections": ["a\\u0000b"]}',
        b'{"datetime": "0001-01-01T00:00:00+14:00"}',
        b'{"datetime": "../9999-12-31T23:59:59-14:00"}',
        b'{"filter": {"op": "not", "args": [' + b"[" * 400 + b"]" * 400 + b"]}}",
        b'{"conf": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"ids": [' + b'"i",' * 40_000 + b'"i"]}',
        b'{"sortby": [' + b'{"field":"title","direction":"asc"},' * 3000 + b'{"field":"id","direction":"asc"}]}',
        b"[" * 90_000,
        b"[]",
        b"3",
        b"",
        b'{"ids": ["\xed\xa0\x80"]}',
    ],
    ids=lambda content: content[:24].decode("latin-1"),
)
@pytest.mark.parametrize("media_type", ["application/json", "text/plain"])
def test_a_body_that_is_no_search_is_answered_with_400(
    client: testclient.TestClient, content: bytes, media_type: str
) -> None:
    answer = client.post("/stac/search", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "description"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/stac/search?ids=" + "i," * 20_000, 400),
        ("/stac/search?sortby=" + "title," * 3000 + "id", 400),
        ("/stac/search?datetime=0001-01-01T00:00:00%2B14:00", 400),
        ("/stac/search?datetime=t2", 400),
        ("/stac/search?ids=a%00b", 400),
        ("/feed?product=a%00b", 400),
        ("/latest/a%00b", 404),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_parameter_the_database_could_not_take_is_refused(
    client: testclient.TestClient, path: str, status: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "description"}


# Failures


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ("infra.delivery.item_search.ItemSearch.search", "/stac/search"),
        ("infra.delivery.feed.Feed.read", "/feed"),
        ("infra.delivery.identity.Identities.authenticate", "/stac/search"),
        ("infra.delivery.health.report", "/health"),
        ("infra.delivery.audit.AuditLog.record", "/download/x/1/data"),
    ],
)
def test_a_failure_of_the_database_is_answered_in_json_with_the_name_of_the_request(
    client: testclient.TestClient, monkeypatch: pytest.MonkeyPatch, broken: str, path: str
) -> None:
    def fails(*_given: Any, **_more: Any) -> Any:
        raise sa.exc.OperationalError("SELECT secret", {}, Exception("disk I/O error"))

    monkeypatch.setattr(broken, fails)
    answer = client.get(path)
    assert answer.status_code == 500
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    assert answer.headers["x-request-id"] in answer.json()["description"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text


def test_a_refusal_at_the_door_carries_the_name_of_the_request(client: testclient.TestClient) -> None:
    refused = client.get("/stac/search", headers={"Authorization": "Bearer x"})
    assert refused.status_code == 401
    assert re.fullmatch("[0-9a-f]{16}", refused.headers["x-request-id"])


# Description


def test_every_address_that_is_served_is_described(parts: gateway.Parts, client: testclient.TestClient) -> None:
    described = client.get("/stac/api").json()["paths"]
    served = {
        (route.path, method.lower())
        for route in gateway.application(parts).inner.router.routes
        if isinstance(route, routing.Route)
        for method in route.methods - {"HEAD"}
    }
    assert served == {(path, method) for path, operations in described.items() for method in operations}


def test_the_description_says_who_may_ask_as_the_service_decides(client: testclient.TestClient) -> None:
    nobody = testclient.TestClient(client.app, base_url="http://service.test")
    for path, operations in client.get("/stac/api").json()["paths"].items():
        for method, operation in operations.items():
            answer = nobody.request(method, re.sub(r"\{\w+\}", "1", path))
            assert (answer.status_code == 401) == ({} not in operation["security"])


def test_the_page_to_read_is_linked_and_needs_nothing_from_elsewhere(client: testclient.TestClient) -> None:
    links = {link["rel"]: link for link in client.get("/stac/").json()["links"]}
    answer = client.get(links["service-doc"]["href"])
    assert answer.headers["content-type"] == links["service-doc"]["type"] + "; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script|<link|<img|<iframe|src=|@import|url\(", answer.text)
    assert re.findall(r'href="([^"]*)"', answer.text) == ["api"]
    described = client.get(links["service-desc"]["href"]).json()
    for path, operations in described["paths"].items():
        assert path in answer.text
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in answer.text


def test_no_text_of_the_description_becomes_markup() -> None:
    from infra.delivery import api_description

    operation = {"summary": "<b>", "security": [], "responses": {"200": {"description": "<i>"}}}
    page = api_description.page({"info": {"title": "<u>"}, "paths": {"/<s>": {"get": operation}}})
    assert not re.search("<[busi]>", page)


def test_a_revision_leads_to_the_one_before_it_and_the_first_to_none(
    parts: gateway.Parts, client: testclient.TestClient
) -> None:
    changed, first = itertools.islice(modelled_catalogue.entries(12, seed=3), 2)
    parts.catalog.publish(dataclasses.replace(changed, content_sha256="e" * 64), published_at=NOW)

    def before(entry: catalog_store.CatalogEntry) -> list[str]:
        item = client.get(f"/stac/collections/{entry.collection}/items/{entry.item_id}").json()
        return [link["href"] for link in item["links"] if link["rel"] == "predecessor-version"]

    assert before(first) == []
    assert before(changed) == [f"http://service.test/download/{changed.item_id}/1/item.json"]
    answer = client.get(before(changed)[0], follow_redirects=False)
    assert answer.status_code == 307
    assert parts.catalog.item(changed.item_id, 1).item_key in answer.headers["location"]  # type: ignore[union-attr]
