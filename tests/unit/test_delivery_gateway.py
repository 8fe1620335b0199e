"""The service as a client meets it: who is let in, what each sees over every way of asking, how refusals read."""

import contextlib
import dataclasses
import datetime as dt
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import catalog_store, object_store
from infra.delivery import audit, entitlement, fair_share, identity
from infra.demonstration import modelled_catalogue
from products import stac
from tests import conftest

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    from starlette import testclient

    from infra.delivery import gateway

NOW = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
ENTRIES = tuple(modelled_catalogue.entries(90, seed=3))
SECTORS = tuple(fields.sector for fields in modelled_catalogue.collections())
CODES = sorted({code for entry in ENTRIES for code in entry.document["properties"].get("cqeo:admin_codes", ())})
WITHDRAWN = ENTRIES[4].item_id


@dataclasses.dataclass
class Desk:
    """A service over a small catalogue, and a way to ask it as somebody."""

    home: Path
    parts: gateway.Parts
    client: testclient.TestClient
    clock: list[dt.datetime]

    def key(self, **limits: Any) -> str:
        given = {"agency": "agency", "sectors": SECTORS, "scopes": entitlement.SCOPES, **limits}
        expires = given.pop("expires_at", NOW + dt.timedelta(days=1))
        return identity.create(self.parts.catalog.engine, expires_at=expires, now=NOW - dt.timedelta(days=2), **given)

    def get(self, path: str, key: str | None, **options: Any) -> Any:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.client.get(path, headers=headers | options.pop("headers", {}), follow_redirects=False, **options)

    def audit(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in sorted((self.home / "audit").glob("*.jsonl")))


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, catalogue_database: str, databases: conftest.Databases
) -> Iterator[Desk]:
    with databases.catalogue(catalogue_database) as catalog:
        yield from _opened(tmp_path_factory.mktemp("service"), catalog)


def _opened(home: Path, catalog: catalog_store.CatalogStore) -> Iterator[Desk]:
    engine = catalog.engine
    for fields in modelled_catalogue.collections():
        catalog.put_collection(stac.build_collection(fields))
    for number, entry in enumerate(ENTRIES):
        catalog.publish(entry, published_at=NOW - dt.timedelta(hours=1) + dt.timedelta(seconds=number))
    catalog.withdraw(WITHDRAWN, reason="the wrong scene 场景有误", withdrawn_at=NOW)
    clock = [NOW]
    parts = gateway.Parts(
        catalog=catalog,
        store=object_store.ObjectStore(
            endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
        ),
        home=home,
        identities=identity.Identities(engine),
        limits=fair_share.Limits(rate=1e6, burst=1_000_000),
        refusals=fair_share.Limits(rate=1e6, burst=1_000_000),
        clock=lambda: clock[0],
    )
    with testclient.TestClient(gateway.application(parts), base_url="http://service.test") as client:
        yield Desk(home, parts, client, clock)


def permitted(sectors: frozenset[str], districts: frozenset[str] | None) -> set[str]:
    """Identities somebody may see, by the words of the rule."""
    found = set()
    for entry in ENTRIES:
        codes = set(entry.document["properties"].get("cqeo:admin_codes", ()))
        inside = districts is None or (codes and codes <= districts)
        if entry.sector in sectors and inside:
            found.add(entry.item_id)
    return found


def all_pages(desk: Desk, key: str) -> tuple[set[str], int]:
    path, found, matched = "/stac/search?limit=40", set(), -1
    while path:
        answer = desk.get(path, key)
        assert answer.status_code == 200
        body = answer.json()
        matched = body["numberMatched"]
        found |= {feature["id"] for feature in body["features"]}
        path = next((link["href"] for link in body["links"] if link["rel"] == "next"), "")
    return found, matched


def whole_feed(desk: Desk, key: str) -> list[dict[str, Any]]:
    path, told = "/feed?limit=50", []
    while True:
        body = desk.get(path, key).json()
        told += body["announcements"]
        if not body["more"]:
            return told
        path = body["next"]


@settings(max_examples=12, deadline=None)
@given(
    sectors=st.frozensets(st.sampled_from(SECTORS), min_size=1, max_size=3),
    districts=st.none() | st.frozensets(st.sampled_from(CODES), min_size=1, max_size=3),
)
def test_no_way_of_asking_shows_an_item_the_rule_does_not_permit_nor_how_many_there_are(
    desk: Desk, sectors: frozenset[str], districts: frozenset[str] | None
) -> None:
    key = desk.key(sectors=sorted(sectors), districts=None if districts is None else sorted(districts))
    mine = permitted(sectors, districts)
    current = mine - {WITHDRAWN}
    assert all_pages(desk, key) == (current, len(current))
    assert {told["id"] for told in whole_feed(desk, key)} == mine
    atom = ElementTree.fromstring(desk.get("/feed.atom?limit=1000", key).content)  # noqa: S314  our own
    ids = {node.text.split(":")[2] for node in atom.iter("{http://www.w3.org/2005/Atom}id") if "urn:" in node.text}
    assert ids == mine
    collections = {document["id"] for document in desk.get("/stac/collections", key).json()["collections"]}
    assert collections == {entry.collection for entry in ENTRIES if entry.sector in sectors}
    for entry in ENTRIES[:30]:
        seen = entry.item_id in mine
        item = desk.get(f"/stac/collections/{entry.collection}/items/{entry.item_id}", key)
        file = desk.get(f"/download/{entry.item_id}/1/data", key)
        place = desk.get(f"/item/{entry.item_id}", key)
        good = (410, 410, 410) if entry.item_id == WITHDRAWN else (200, 307, 307)
        assert (item.status_code, file.status_code, place.status_code) == (good if seen else (404, 404, 404))
        assert place.headers.get("location") == (str(item.url) if item.status_code == 200 else None)


def test_what_is_not_there_and_what_is_not_shown_read_the_same(desk: Desk) -> None:
    key = desk.key(sectors=["weather"])
    foreign = next(entry for entry in ENTRIES if entry.sector != "weather")
    for shown, absent in (
        (f"/download/{foreign.item_id}/1/data", "/download/no-such-item/1/data"),
        (f"/stac/collections/{foreign.collection}", "/stac/collections/no-such"),
        (f"/item/{foreign.item_id}", "/item/no-such"),
    ):
        one, other = desk.get(shown, key), desk.get(absent, key)
        assert one.status_code == other.status_code == 404
        assert one.json()["code"] == other.json()["code"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/stac/",
        "/stac/search",
        "/stac/collections",
        "/feed",
        "/feed.atom",
        "/download/a/1/b",
        "/item/a",
        "/nothing",
    ],
)
def test_nobody_unknown_gets_an_answer_from_an_address_that_is_not_open(desk: Desk, path: str) -> None:
    refused = desk.get(path, None)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_open_addresses_tell_of_no_item(desk: Desk) -> None:
    assert desk.get("/health", None).json() == {"status": "ok"} | desk.get("/health", None).json()
    assert set(desk.get("/health", None).json()) == {"status"}
    keys = desk.get("/.well-known/terralimb-keys.json", None).json()
    assert "secret" not in json.dumps(keys)


@pytest.mark.parametrize("fault", ["expired", "revoked", "changed", "of another scheme"])
def test_a_key_that_does_not_hold_opens_nothing_and_the_record_says_why_without_it(desk: Desk, fault: str) -> None:
    key = desk.key(expires_at=NOW - dt.timedelta(hours=1)) if fault == "expired" else desk.key()
    header = f"Bearer {key}"
    if fault == "revoked":
        identity.revoke(desk.parts.catalog.engine, key.split("_")[1], now=NOW)
    if fault == "changed":
        header = header[:-1] + ("0" if header[-1] != "0" else "1")
    if fault == "of another scheme":
        header = f"Basic {key}"
    before = desk.audit()
    answer = desk.client.get("/stac/search", headers={"Authorization": header})
    assert answer.status_code == 401
    added = desk.audit()[len(before) :]
    assert '"refused"' in added
    assert key.split("_")[2] not in added


@pytest.mark.parametrize(
    ("scope", "path"),
    [("search", "/stac/search"), ("feed", "/feed"), ("download", "/download/x/1/y"), ("search", "/item/x")],
)
def test_a_key_without_the_scope_is_refused(desk: Desk, scope: str, path: str) -> None:
    key = desk.key(scopes=[name for name in entitlement.SCOPES if name != scope])
    assert desk.get(path, key).status_code == 403


def test_positions_of_one_agency_mean_nothing_to_another(desk: Desk) -> None:
    mine, other = desk.key(agency="a"), desk.key(agency="b")
    told = desk.get("/feed?limit=1", mine).json()
    assert desk.get(f"/feed?after={told['cursor']}", mine).status_code == 200
    assert desk.get(f"/feed?after={told['cursor']}", other).status_code == 400
    body = desk.get("/stac/search?limit=1", mine).json()
    following = next(link["href"] for link in body["links"] if link["rel"] == "next")
    assert desk.get(following, other).status_code == 400
    assert desk.get(following, mine).status_code == 200


def test_a_withdrawn_item_says_why_it_is_gone(desk: Desk) -> None:
    key = desk.key()
    in_collection = f"/stac/collections/{ENTRIES[4].collection}/items/{WITHDRAWN}"
    for path in (f"/download/{WITHDRAWN}/1/data", in_collection, f"/item/{WITHDRAWN}"):
        answer = desk.get(path, key)
        assert answer.status_code == 410
        assert "the wrong scene 场景有误" in answer.json()["description"]
    assert [told["event"] for told in whole_feed(desk, key) if told["id"] == WITHDRAWN] == ["published", "withdrawn"]


def test_a_link_is_made_for_as_long_as_the_file_is_large_and_written_down(desk: Desk) -> None:
    key = desk.key(agency="flood-control")
    entry = next(entry for entry in ENTRIES if entry.item_id != WITHDRAWN)
    before = desk.audit()
    answer = desk.get(f"/download/{entry.item_id}/1/data", key)
    assert answer.headers["x-content-sha256"] == entry.assets[0].sha256
    assert "X-Amz-Expires=900" in answer.headers["location"]
    (line,) = [json.loads(text) for text in desk.audit()[len(before) :].splitlines()]
    assert (line["event"], line["decision"], line["agency"], line["item_id"]) == (
        "download", "allowed", "flood-control", entry.item_id,
    )  # fmt: skip
    assert "X-Amz-Signature" not in json.dumps(line)


@pytest.mark.parametrize(
    "path",
    [
        "/stac/search?bbox=1,2",
        "/stac/search?bbox=a,b,c,d",
        "/stac/search?bbox=0,50,1,40",
        "/stac/search?bbox=nan,nan,nan,nan",
        "/stac/search?datetime=yesterday",
        "/stac/search?limit=0",
        "/stac/search?limit=x",
        "/stac/search?filter=id%20%3D",
        "/stac/search?filter=id%20%3D%201&filter-lang=sql",
        "/stac/search?sortby=geometry",
        "/stac/search?token=x",
        "/stac/search?intersects=%7B",
        "/stac/search?intersects=%7B%22type%22%3A%22Point%22%7D",
        "/stac/search?bbox=1,1,2,2&intersects=%7B%22type%22%3A%22Point%22%2C%22coordinates%22%3A%5B1%2C1%5D%7D",
        "/feed?limit=x",
        "/feed?after=x",
        "/feed?adcode=x",
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_400(desk: Desk, path: str) -> None:
    assert desk.get(path, desk.key()).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/download/%2e%2e/1/%2e%2e",
        "/download/a/1/..%2f..%2fkeys",
        "/download/a/1/b%00",
        "/download/a/-1/b",
        "/download/a/99999999999999999999/b",
        "/download/a/1/" + "x" * 3000,
        "/download//1/b",
        "/download/a/1/b/c",
    ],
)
def test_tricks_with_paths_find_nothing(desk: Desk, path: str) -> None:
    assert desk.get(path, desk.key()).status_code == 404


def test_a_body_that_is_too_large_or_hides_its_size_is_not_read(desk: Desk) -> None:
    key = desk.key()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    large = desk.client.post("/stac/search", headers=headers, content=b"{" + b" " * 1_100_000 + b"}")
    assert large.status_code == 413
    hidden = desk.client.post("/stac/search", headers=headers, content=iter([b"{}"]))
    assert hidden.status_code == 413


def test_an_agency_that_asks_too_fast_is_told_when_to_come_back_and_others_are_not(desk: Desk) -> None:
    slow = dataclasses.replace(desk.parts, limits=fair_share.Limits(rate=0.5, burst=3))
    with testclient.TestClient(gateway.application(slow), base_url="http://service.test") as client:
        greedy, other = desk.key(agency="greedy"), desk.key(agency="other")
        answers = [client.get("/stac/", headers={"Authorization": f"Bearer {greedy}"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert client.get("/stac/", headers={"Authorization": f"Bearer {other}"}).status_code == 200


@contextlib.contextmanager
def impatient(desk: Desk, **limits: Any) -> Iterator[tuple[testclient.TestClient, Callable[[], list[audit.Entry]]]]:
    """A service of its own that writes few refusals down, and what it writes."""
    home = desk.home / f"impatient-{len(list(desk.home.iterdir()))}"
    home.mkdir()
    parts = dataclasses.replace(desk.parts, home=home, **limits)
    with testclient.TestClient(gateway.application(parts), base_url="http://service.test") as client:
        yield client, lambda: [line.entry for line in audit.lines(home / "audit")]


def test_whoever_is_refused_again_and_again_is_told_to_wait_written_down_by_number_and_keeps_nobody_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"Authorization": f"Bearer {desk.key()}x"}
    now = [0.0]
    monkeypatch.setattr(gateway.time, "monotonic", lambda: now[0])
    with impatient(desk, refusals=fair_share.Limits(rate=0.1, burst=3)) as (client, recorded):
        answers = [client.get("/stac/", headers=wrong).status_code for _ in range(8)]
        assert answers == [401] * 3 + [429] * 5
        assert [entry.unrecorded for entry in recorded()] == [None] * 3
        assert client.get("/stac/", headers={"Authorization": f"Bearer {desk.key()}"}).status_code == 200
        now[0] += 10.0
        assert [client.get("/stac/", headers=wrong).status_code for _ in range(3)] == [401, 429, 429]
        assert recorded()[-1].unrecorded == 5
        now[0] += 60.0
        assert client.get("/health").status_code == 200
        assert (recorded()[-1].cause, recorded()[-1].unrecorded) == ("too_many", 2)
        assert sum(1 + (entry.unrecorded or 0) for entry in recorded()) == 11 + 1


def test_requests_without_the_scope_use_up_the_agencys_share_and_are_written_down_by_number(desk: Desk) -> None:
    poor = {"Authorization": f"Bearer {desk.key(agency='poor', scopes=['feed'])}"}
    of_agency, refusals = fair_share.Limits(rate=0.01, burst=5), fair_share.Limits(rate=0.01, burst=2)
    with impatient(desk, limits=of_agency, refusals=refusals) as (client, recorded):
        answers = [client.get("/stac/search", headers=poor).status_code for _ in range(5)]
        assert answers == [403, 403, 429, 429, 429]
        assert client.get("/feed", headers=poor).status_code == 429
        assert [(entry.cause, entry.agency) for entry in recorded()] == [("scope_missing", "poor")] * 2


def test_an_open_address_is_open_to_a_key_that_may_do_little(desk: Desk) -> None:
    poor = desk.key(scopes=["feed"])
    assert [desk.get(path, poor).status_code for path in sorted(gateway.OPEN_PATHS)] == [200] * len(gateway.OPEN_PATHS)


@pytest.mark.parametrize(
    "path", ["/stac/", "/stac/search?limit=2", "/stac/collections", "/feed", "/health", "/nothing"]
)
def test_head_says_what_get_would_without_the_body(desk: Desk, path: str) -> None:
    headers = {"Authorization": f"Bearer {desk.key()}"}
    got, head = desk.client.get(path, headers=headers), desk.client.head(path, headers=headers)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) == len(got.content)


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(desk: Desk) -> None:
    refused = desk.client.delete("/feed", headers={"Authorization": f"Bearer {desk.key()}"})
    assert refused.status_code == 405
    assert "GET" in refused.headers["allow"]


def test_the_feed_begins_at_nothing_and_at_zero_alike_and_positions_are_of_one_length(desk: Desk) -> None:
    key = desk.key()
    whole = desk.get("/feed?limit=1000", key).json()
    assert desk.get("/feed?limit=1000&after=0", key).json()["announcements"] == whole["announcements"]
    assert len(whole["announcements"]) > 10
    assert len({len(told["cursor"]) for told in whole["announcements"]}) == 1
    nothing = desk.get("/feed?product=none", key).json()
    assert nothing["announcements"] == []
    again = desk.get(f"/feed?limit=1000&after={nothing['cursor']}", key).json()
    assert again["announcements"] == whole["announcements"]


def test_what_fails_inside_is_not_told_to_the_client(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: Any, **_more: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("infra.delivery.feed.Feed.read", broken)
    answer = desk.get("/feed", desk.key())
    assert answer.status_code == 500
    assert "secret detail" not in answer.text


def test_the_description_names_every_address_the_service_answers(desk: Desk) -> None:
    described = set(desk.get("/stac/api", None).json()["paths"])
    app = gateway.application(desk.parts)
    answered = {route.path for route in app.inner.router.routes}  # type: ignore[attr-defined]
    # stac-fastapi answers its own pings and page of documentation beside.
    assert {path.rstrip("/") for path in answered} - {path.rstrip("/") for path in described} <= {"/stac/_mgmt/ping"}
    assert {"/notices", "/notices/{notice_id}", "/item/{item_id}", "/feed", "/stac/search"} <= described
