"""Questions a description would not lead to: filters, instants, places, positions, paths and bodies made to hurt."""

import contextlib
import json
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hypothesis
from hypothesis import strategies as st

from tests.chain import delivery_fuzzing as fuzzing

#: What breaks those who trust their input.
NASTY = (
    "", " ", "\x00", "a\x00b", "\ud800", "x\udfffy", "\ufeff", "\u202e", "é" * 9, "中文", "'", "''", '"',
    "\\", "%", "%_",
    "[", "*", "{}", "null", "true", "NaN", "Infinity", "-0", "1e999", "9" * 400, "0x10", "1_0", "１２", "../..", "..",
    "$.a", "a.b.c.d.e.f.g.h", ":", "a:b:c", "properties.", "properties.properties.id", "x" * 5000,
    "';DROP TABLE item;--",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308, -1e308, 5e-324)
NOT_NUMBERS = (float("nan"), float("inf"), -float("inf"))
NAMES = (
    "id", "collection", "geometry", "datetime", "start_datetime", "published", "title", "cqeo:sector", "cqeo:stream",
    "cqeo:quality", "cqeo:quality.level", "cqeo:clear_fraction", "cqeo:admin_codes", "properties.datetime", "no-such",
    "gsd", "platform", "expires", "version", "deprecated", "cqeo:status", "cqeo:inputs", "a.b.c",
)  # fmt: skip
INSTANTS = (
    "2024-06-01T00:00:00Z", "2024-06-01", "2024-06-01T00:00:00+23:59", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-14:00", "2024-02-30T00:00:00Z", "2024-06-01T24:00:00Z",
    "2024-06-01t00:00:00z", "-0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "2024-06-01T00:00:00.123456789123Z", "..",
)  # fmt: skip
OPERATORS = (
    "and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "isNull", "like", "between", "in", "casei", "accenti",
    "s_intersects", "s_disjoint", "s_within", "s_contains", "s_equals", "s_touches", "s_crosses", "s_overlaps",
    "t_intersects", "t_after", "t_before", "t_during", "t_equals", "t_disjoint", "t_starts", "a_contains",
    "a_overlaps", "a_containedBy", "a_equals", "+", "-", "*", "/", "^", "%", "div", "nonsense", "avg",
)  # fmt: skip
TYPES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiPolygon", "GeometryCollection", "Feature", "Circle", "")

texts = st.sampled_from(NASTY) | st.text(max_size=12) | st.sampled_from(INSTANTS) | st.sampled_from(NAMES)
numbers = st.sampled_from(NUMBERS) | st.sampled_from(NOT_NUMBERS) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | texts
names = st.sampled_from(NAMES) | texts
properties = st.builds(lambda name: {"property": name}, names)
times = st.one_of(
    st.builds(lambda text: {"timestamp": text}, texts | st.sampled_from(INSTANTS)),
    st.builds(lambda text: {"date": text}, texts | st.sampled_from(INSTANTS)),
    st.builds(lambda ends: {"interval": ends}, st.lists(texts | st.sampled_from(INSTANTS) | scalars, max_size=3)),
)


def nested(value: Any, levels: int) -> Any:
    """Put a value into lists within lists."""
    for _ in range(levels):
        value = [value]
    return value


coordinates = st.recursive(
    st.lists(numbers, min_size=0, max_size=4) | st.lists(st.floats(-180, 180), min_size=2, max_size=2),
    lambda within: st.lists(within, max_size=5),
    max_leaves=8,
)
geometries = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(TYPES)}, optional={"coordinates": coordinates | scalars}),
    st.builds(lambda box: {"bbox": box}, st.lists(numbers | texts, max_size=7) | scalars),
    st.builds(
        lambda within: {"type": "GeometryCollection", "geometries": within},
        scalars | st.lists(st.fixed_dictionaries({"type": st.sampled_from(TYPES), "coordinates": coordinates}),
        max_size=2),
    ),
    st.builds(
        lambda w, s, dx, dy: {
            "type": "Polygon",
            "coordinates": [[[w, s], [w + dx, s], [w + dx, s + dy], [w, s + dy], [w, s]]],
        },
        *(st.floats(-400, 400) for _ in range(2)),
        *(st.floats(0, 400) for _ in range(2)),
    ),
    st.just({"type": "Point", "coordinates": nested(1, 300)}),
)  # fmt: skip
operands = scalars | properties | times | geometries


def _expression(within: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda operator, given: {"op": operator, "args": given},
        st.sampled_from(OPERATORS) | texts,
        st.lists(within, max_size=4) | within,
    )


#: Mostly of the right shape, so that more than the first check of the library is met.
predicates = st.one_of(
    st.builds(
        lambda operator, name, value: {"op": operator, "args": [{"property": name}, value]},
        st.sampled_from(OPERATORS),
        st.sampled_from(NAMES),
        operands | st.lists(operands, max_size=4),
    ),
    st.builds(
        lambda operator, name, value: {"op": operator, "args": [value, {"property": name}]},
        st.sampled_from(OPERATORS),
        st.sampled_from(NAMES),
        operands,
    ),
    st.builds(
        lambda name, low, high: {"op": "between", "args": [{"property": name}, low, high]},
        st.sampled_from(NAMES), operands, operands,
    ),
    st.builds(
        lambda operator, name, value: {
            "op": operator, "args": [{"op": "casei", "args": [{"property": name}]}, {"op": "casei", "args": [value]}]
        },
        st.sampled_from(("=", "<", "like", "in")), st.sampled_from(NAMES), operands,
    ),
)  # fmt: skip

#: Operators beside what they are made for.
_of_a_kind = st.one_of(
    *(
        st.builds(
            lambda operator, name, value: {"op": operator, "args": [{"property": name}, value]},
            st.sampled_from([operator for operator in OPERATORS if operator.startswith(stem)]),
            st.sampled_from(fitting),
            values,
        )
        for stem, fitting, values in (
            ("t_", ("datetime", "published"), times),
            ("s_", ("geometry",), geometries),
            ("a_", ("cqeo:admin_codes",), st.lists(scalars, max_size=4) | st.just([str(n) for n in range(300)])),
            ("in", ("id", "cqeo:clear_fraction", "gsd", "deprecated", "datetime"), st.lists(operands, max_size=4)),
            ("like", ("id", "platform"), texts),
        )
    )
)
filters_json = predicates | _of_a_kind | st.recursive(operands | predicates, _expression, max_leaves=10)

_text_terms = st.one_of(
    st.sampled_from([f'"{name}"' for name in NAMES]),
    texts.map(lambda text: "'" + text.replace("'", "''") + "'"),
    texts.map(lambda text: f'"{text}"'),
    numbers.map(str),
    st.sampled_from(INSTANTS).map(lambda text: f"TIMESTAMP('{text}')"),
    st.sampled_from(INSTANTS).map(lambda text: f"DATE('{text}')"),
    st.tuples(texts, texts).map(lambda ends: f"INTERVAL('{ends[0]}','{ends[1]}')"),
    st.lists(numbers, max_size=4).map(lambda found: f"POINT({' '.join(map(str, found))})"),
    st.lists(numbers, max_size=6).map(lambda found: f"BBOX({','.join(map(str, found))})"),
    st.sampled_from(("POLYGON EMPTY", "POLYGON((0 0,1 1,1 0,0 0))", "POLYGON((0 0,1 1,0 1,1 0,0 0))", "TRUE",
    "NULL", "()")),
)  # fmt: skip
_text_predicates = st.one_of(
    st.builds(
        lambda a, operator, b: f"{a} {operator} {b}",
        _text_terms,
        st.sampled_from(("=", "<>", "<", ">=", "LIKE", "NOT LIKE", "IN", "IS NULL", "BETWEEN 1 AND", "+", "^",
        "||", "")),
        _text_terms,
    ),
    st.builds(
        lambda operator, a, b: f"{operator}({a},{b})",
        st.sampled_from([name.upper() for name in OPERATORS if "_" in name] + ["CASEI", "avg", ""]),
        _text_terms,
        _text_terms,
    ),
)  # fmt: skip
filters_text = st.one_of(
    st.recursive(
        _text_predicates,
        lambda within: st.builds(
            lambda a, word, b: f"({a}) {word} ({b})", within, st.sampled_from(("AND", "OR", "AND NOT", "")), within
        ),
        max_leaves=6,
    ),
    st.text(max_size=40),
    st.sampled_from(("NOT " * 4000 + "TRUE", "-" * 5000 + "1", "(" * 20_000, "1+" * 20_000 + "1=1",
    "id=1 AND " * 3000 + "id=1")),
    st.sampled_from(("'" * 30_001, "id IN (" + ",".join("'a'" for _ in range(9000)) + ")", "a." * 20_000 + "b=1")),
    st.sampled_from(("id LIKE '" + "%_" * 20_000 + "'", "casei(id) LIKE '" + "%a" * 20_000 + "'",
    "id LIKE '" + "[" * 9000 + "'")),
)  # fmt: skip

_boxes = st.lists(numbers | texts, max_size=7).map(lambda found: ",".join(map(str, found)))
_long_lists = st.sampled_from((1001, 9000)).map(lambda count: [f"i{number}" for number in range(count)])
_ranges = st.one_of(
    texts, st.sampled_from(INSTANTS), st.tuples(st.sampled_from(INSTANTS) | texts,
    st.sampled_from(INSTANTS)).map("/".join)
)  # fmt: skip
_sorts = st.lists(names.map(str) | names.map(lambda name: f"-{name}"), max_size=4).map(",".join)

#: Query of a search in an address.
searches = st.fixed_dictionaries(
    {},
    optional={
        "bbox": _boxes,
        "datetime": _ranges,
        "intersects": texts | geometries.map(json.dumps),
        "sortby": _sorts | st.sampled_from((17, 3000)).map(lambda count: ",".join(["title"] * count)),
        "fields": _sorts,
        "token": texts,
        "limit": numbers.map(str) | texts,
        "collections": texts,
        "ids": texts | _long_lists.map(",".join),
        "filter-lang": st.sampled_from(("cql2-text", "cql2-json", "", "\x00")),
        "filter-crs": texts,
        "filter": texts,
        "unknown": texts,
    },
)
feeds = st.fixed_dictionaries(
    {}, optional={name: texts | numbers.map(str) for name in ("after", "sector", "product", "adcode", "limit")}
)

#: Body of a search.
bodies = st.fixed_dictionaries(
    {},
    optional={
        "bbox": st.lists(numbers | texts, max_size=7) | scalars,
        "datetime": _ranges | scalars,
        "intersects": geometries | scalars,
        "sortby": scalars
        | st.lists(st.builds(lambda field, way: {"field": field, "direction": way}, names | scalars,
                             st.sampled_from(("asc", "desc", "")) | scalars), max_size=3),
        "fields": scalars
        | st.fixed_dictionaries({}, optional={way: scalars | st.lists(names, max_size=3) for way in ("include",
        "exclude")}),
        "token": scalars,
        "limit": scalars,
        "collections": scalars | st.lists(scalars, max_size=3),
        "ids": scalars | st.lists(scalars, max_size=3) | st.just(["i"] * 100_000),
        "filter": filters_json | scalars | st.sampled_from((300, 40_000)).map(
            lambda count: {"op": "or", "args": [{"op": "isNull", "args": [{"property": "title"}]}] * count}
        ) | filters_text | st.sampled_from((1000, 30_000)).map(lambda count: {"op": "in", "args": [{"property": "id"},
        ["a"] * count]}),
        "filter-lang": scalars | st.sampled_from(("cql2-text", "cql2-json")),
        "filter-crs": scalars,
        "conf": scalars,
    },
)  # fmt: skip
_json = st.recursive(scalars, lambda within: st.lists(within, max_size=3) | st.dictionaries(texts, within, max_size=3))

#: Bodies that are no search, as octets.
broken_bodies = st.one_of(
    st.binary(max_size=60),
    _json.map(fuzzing.body),
    bodies.map(lambda body: fuzzing.body(body)[:-1]),
    st.sampled_from(("utf-16", "utf-32", "utf-8-sig")).map(lambda name: '{"limit": 1}'.encode(name)),
    st.just('{"ids": ["é"]}'.encode("latin-1")),
    st.just(b'{"ids": ["\xed\xa0\x80"]}'),
    st.sampled_from((b"[", b'{"filter":',
    b'{"intersects":{"type":"Point","coordinates":')).map(lambda stem: stem + b"[" * 90_000),
    st.just(b"[" * 90_000 + b"]" * 90_000),
    st.just(b'{"filter":' + b'{"op":"not","args":[' * 20_000 + b"true" + b"]}" * 20_000 + b"}"),
    st.just(b'{"limit":' + b"9" * 100_000 + b"}"),
    st.just(b'{"limit":1,"limit":2,"limit":null}'),
)  # fmt: skip

media_types = st.sampled_from(
    ("application/json", "application/geo+json", "text/plain", "", "application/json; charset=utf-16",
    "multipart/form-data",
     "application/x-www-form-urlencoded", "application/json;;;", "é")
)  # fmt: skip

_odd_parts = st.one_of(
    st.sampled_from((
        b"%2e%2e", b"..", b".", b"%2e", b"..%2f..%2fkeys", b"..%5c..", b"%00", b"a%00b", b"%", b"%zz",
        b"%c0%ae", b"%ff", b"%ed%a0%80",
        b"%0d%0a", b"%2500", b"\xff\xfe", b"\xe4\xb8\xad", b"x" * 8000, b"%F0%9F%98%80", b";a=b", b"*",
        b"~root", b"", b"%20", b"+",
    )),
    st.text(max_size=8).map(lambda text: urllib.parse.quote(text, safe="", errors="surrogatepass").encode()),
    st.sampled_from((b"1", b"-1", b"0", b"999999999", b"99999999999999999999999", b"1e3", b"%EF%BC%91", b"1.0")),
    st.sampled_from((fuzzing.ENTRIES[0].item_id.encode(), b"flood-extent", b"data", b"MANIFEST.json")),
)  # fmt: skip
_stems = st.sampled_from(
    (b"/", b"/stac/", b"/stac/collections/", b"/stac/collections/flood-extent/items/", b"/latest/",
    b"/download/", b"/feed",
     b"/.well-known/", b"/health/", b"//", b"/stac/search?", b"/feed?after=", b"/stac/search?token=",
     b"http://", b"/docs/", b"*")
)  # fmt: skip

#: Targets of a request, as octets on the line.
targets = st.builds(
    lambda stem, parts, tail: (stem + b"/".join(parts) + tail).translate(None, b" \r\n"),
    _stems,
    st.lists(_odd_parts, max_size=5),
    st.sampled_from((b"", b"/", b"?", b"#", b"?a=%00", b"?limit=%ff", b"?%00=1", b"?&&==", b"?" + b"a=1&" * 800)),
)  # fmt: skip

_lengths = st.sampled_from(
    (b"-1", b"+1", b"abc", b"", b"1e3", b"0x5", b"99999999999999999999", b"9" * 5000, "１".encode(), b"\xb2",
    b"5, 5", b"3", b"1000001", b"0")
)  # fmt: skip
_hosts = st.sampled_from(
    (b"", b"[", b"[::1", b"a b", b"\xff", b"x" * 5000, b"127.0.0.1:99999", b"127.0.0.1:x", b"@", b"a/b",
    b"a?b#c", b"[v1.x]", b"user:pw@h")
)  # fmt: skip
_credentials = st.one_of(
    st.sampled_from((
        b"", b"Bearer", b"Bearer ", b"bearer x", b"Bearer \xff", b"Bearer " + b"a" * 9000, b"Bearer a.b.c",
        b"Basic Og==",
        b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Bearer tl_" + b"0" * 16 + b"_" + b"0" * 63,
        b"Bearer W10.W10.W10", b"\xe4\xb8\xad",
    )),
    st.binary(max_size=30).map(lambda found: b"Bearer " + found.translate(None, b"\r\n\x00")),
)  # fmt: skip

#: Headers that are wrong in one way.
odd_headers: st.SearchStrategy[Sequence[bytes]] = st.one_of(
    _lengths.map(lambda value: [b"Host: x", b"Content-Length: " + value]),
    _hosts.map(lambda value: [b"Host: " + value]),
    _credentials.map(lambda value: [b"Host: x", b"Authorization: " + value]),
    st.sampled_from((b"chunked", b"gzip", b"identity", b"chunked, chunked", b"")).map(
        lambda value: [b"Host: x", b"Transfer-Encoding: " + value]
    ),
    st.sampled_from((b"X-Forwarded-For: \xff", b"X-Forwarded-Proto: ://", b"X-Forwarded-Host: [",
    b"Forwarded: for=\"", b"Range: bytes=9-1",
                     b"Accept-Encoding: \x80", b"Cookie: \xff=;=", b"Expect: 100-continue",
                     b"Upgrade: websocket\r\nConnection: Upgrade"))
    .map(lambda line: [b"Host: x", line]),
)  # fmt: skip
methods = st.sampled_from(("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "X", "get"))


# Asking


def _by_address(service: fuzzing.Service, path: str, query: Mapping[str, str]) -> int:
    return service.ask("GET", f"{path}?{fuzzing.quoted(**query)}").status_code


def _filter_text(service: fuzzing.Service, text: str) -> int:
    return _by_address(service, "/stac/search", {"filter": text})


def _filter_json(service: fuzzing.Service, tree: Any) -> int:
    _by_address(service, "/stac/search", {"filter": json.dumps(tree), "filter-lang": "cql2-json"})
    return _post(service, fuzzing.body({"filter": tree}))


def _post(service: fuzzing.Service, body: bytes, media_type: str = "application/json") -> int:
    headers = {"Content-Type": media_type.encode("utf-8").decode("latin-1")}
    return service.ask("POST", "/stac/search", data=body, headers=headers).status_code


def _search(service: fuzzing.Service, asked: tuple[str, Mapping[str, str]]) -> int:
    return _by_address(service, *asked)


def _body(service: fuzzing.Service, body: Mapping[str, Any]) -> int:
    return _post(service, fuzzing.body(body))


def _broken(service: fuzzing.Service, asked: tuple[bytes, str]) -> int:
    return _post(service, *asked)


def _line(service: fuzzing.Service, asked: tuple[str, bytes, Sequence[bytes]]) -> int:
    method, target, headers = asked
    if not any(line.startswith(b"Authorization") for line in headers):
        headers = [*headers, f"Authorization: Bearer {service.keys['all']}".encode()]
    return service.raw(fuzzing.octets(target, headers=headers, method=method, body=b"{}"))


_PLAIN = (b"Host: x", b"Content-Length: 2")

#: Ways to ask, each with how its questions are made.
TOPICS: Mapping[str, tuple[Callable[[fuzzing.Service, Any], int], st.SearchStrategy[Any]]] = {
    "filter as text": (_filter_text, filters_text),
    "filter as json": (_filter_json, filters_json),
    "parameters of a search": (
        _search, st.tuples(st.sampled_from(("/stac/search", "/stac/collections/flood-extent/items")), searches)
    ),
    "parameters of the feed": (_search, st.tuples(st.sampled_from(("/feed", "/feed.atom")), feeds)),
    "body of a search": (_body, bodies),
    "body that is no search": (_broken, st.tuples(broken_bodies, media_types | st.just("application/json"))),
    "paths": (_line, st.tuples(st.just("GET"), targets, st.just(_PLAIN))),
    "headers": (
        _line,
        st.tuples(
            st.sampled_from(("GET", "POST")),
            st.sampled_from((b"/stac/search", b"/feed", b"/health", b"/latest/flood-extent")),
            odd_headers,
        ),
    ),
    "methods": (_line, st.tuples(methods, targets, st.just(_PLAIN))),
}  # fmt: skip


def hurt(service: fuzzing.Service, topic: str, *, examples: int, seed: int, seconds: float = 600.0) -> set[int]:
    """Ask in one way and give the answers' codes; any failure of the service raises."""
    ask, questions = TOPICS[topic]
    end = time.monotonic() + seconds
    seen: set[int] = set()
    service.failures.clear()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(questions)
    def asked(question: Any) -> None:
        if time.monotonic() > end:
            raise fuzzing.EnoughError
        seen.add(ask(service, question))

    with contextlib.suppress(fuzzing.EnoughError):
        asked()
    return seen
