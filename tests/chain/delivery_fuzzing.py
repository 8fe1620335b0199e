"""A service on loopback over a modelled catalogue, to be asked at random by several identities."""

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import socket
import threading
import time
import urllib.parse
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import requests
import schemathesis
import uvicorn
from hypothesis import strategies as st
from schemathesis import checks as all_checks
from schemathesis.specs.openapi import checks as openapi_checks

from infra import catalog_store, database, object_store
from infra.delivery import entitlement, fair_share, identity, notices
from infra.demonstration import modelled_catalogue
from products import stac

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    from infra.delivery import gateway

SECTORS = tuple(fields.sector for fields in modelled_catalogue.collections())
ENTRIES = tuple(modelled_catalogue.entries(90, seed=5))
WITHDRAWN = ENTRIES[4]
#: The first notice of a year.
NOTICE = "{:%Y}-0001"

#: Everything that is served, written down here apart from the description that is judged.
SERVED = {
    "/stac/", "/stac/conformance", "/stac/queryables", "/stac/search", "/stac/collections", "/stac/_mgmt/ping",
    "/stac/_mgmt/health", "/stac/collections/{collection_id}", "/stac/collections/{collection_id}/items",
    "/stac/collections/{collection_id}/queryables", "/stac/collections/{collection_id}/items/{item_id}", "/stac/api",
    "/stac/api.html", "/feed", "/feed.atom", "/latest/{collection}", "/download/{item_id}/{revision}/{name}", "/health",
    "/.well-known/terralimb-keys.json", "/notices", "/notices.atom", "/notices/{notice_id}", "/item/{item_id}",
}  # fmt: skip

#: Who asks: everything, one sector, one district, without a key, with a key that does not hold.
IDENTITIES = ("all", "sector", "district", "none", "bad")

CHECKS = (
    all_checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
)


@dataclasses.dataclass
class Service:
    """A running service and what it wrote down of its own failures."""

    address: str
    keys: dict[str, str | None]
    failures: list[str]
    session: requests.Session
    reached: dict[str, set[int]] = dataclasses.field(default_factory=dict)

    def headers(self, who: str) -> dict[str, str]:
        key = self.keys[who]
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    def ask(self, method: str, path: str, *, who: str = "all", **given: Any) -> requests.Response:
        """Ask as somebody; an answer that is a failure of the service raises."""
        headers = self.headers(who) | given.pop("headers", {})
        address = f"{self.address}{path}"
        answer = self.session.request(
            method, address, headers=headers, timeout=60, allow_redirects=False, stream=False, **given
        )
        self.judge(answer.status_code, f"{method} {answer.request.url} {answer.request.body!r:.500}")
        return answer

    def judge(self, status: int, question: str) -> None:
        """Hold the service to it: whatever was asked is no failure of its own."""
        if status >= 500:
            time.sleep(0.2)  # it is written down after it was answered
        told = "; ".join(self.failures)
        self.failures.clear()
        assert status < 500, f"{status}: {question}: {told}"
        assert not told, f"{question}: {told}"

    def raw(self, octets: bytes) -> int:
        """Send octets as they are and give the status of the answer; 0 where the connection was closed."""
        host, _, port = self.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            answer = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection.sendall(octets)
                connection.settimeout(1.0)  # a request that promises more than it brings is never answered
                while part := connection.recv(65_536):
                    answer += part
        status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
        self.judge(status, repr(octets[:500]))
        return status


class EnoughError(Exception):
    """The time for random questions is over."""


class _Failures(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(logging.Formatter().format(record)[-2000:])


Changed = Callable[[gateway.Parts], Any]


@contextlib.contextmanager
def serving(home: Path, build: Changed = gateway.application) -> Iterator[Service]:
    """Serve a modelled catalogue until the block ends."""
    parts, keys = _parts(home)
    failures: list[str] = []
    handler = _Failures(failures)
    loggers = [logging.getLogger("infra.delivery.gateway"), logging.getLogger("uvicorn.error")]
    for logger in loggers:
        logger.addHandler(handler)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    configured = uvicorn.Config(build(parts), log_level="error", lifespan="off", access_log=False, log_config=None)
    server = uvicorn.Server(configured)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        with requests.Session() as session:
            session.trust_env = False
            yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", keys, failures, session)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        parts.catalog.engine.dispose()
        for logger in loggers:
            logger.removeHandler(handler)


def _parts(home: Path) -> tuple[gateway.Parts, dict[str, str | None]]:
    url = f"sqlite:///{home / 'terralimb.sqlite'}"
    database.upgrade(url)
    engine = database.engine(url)
    catalog = catalog_store.CatalogStore(engine)
    now = dt.datetime.now(dt.UTC)
    for fields in modelled_catalogue.collections():
        catalog.put_collection(stac.build_collection(fields))
    with catalog.writing() as connection:
        for entry in ENTRIES:
            catalog.publish(entry, published_at=now, connection=connection)
    catalog.withdraw(WITHDRAWN.item_id, reason="the wrong scene 场景有误", withdrawn_at=now)
    texts = {"title_zh": "停机", "title_en": "Interruption", "text_zh": "周日停机", "text_en": "Down on Sunday"}
    made = notices.Draft(kind="interruption", subjects=(), effective_at=now + dt.timedelta(days=3), **texts)
    assert notices.Notices(catalog).add(made, now=now).id == NOTICE.format(now)

    def key(agency: str, **limits: Any) -> str:
        given = {"sectors": SECTORS, "scopes": entitlement.SCOPES, **limits}
        return identity.create(engine, agency=agency, expires_at=now + dt.timedelta(hours=2), now=now, **given)

    keys: dict[str, str | None] = {
        "all": key("all"),
        "sector": key("one-sector", sectors=["emergency"]),
        "district": key("one-district", districts=["500103"]),
        "none": None,
        "bad": f"tl_{'0' * 16}_{'0' * 64}",
    }
    parts = gateway.Parts(
        catalog=catalog,
        store=object_store.ObjectStore(
            endpoint="http://127.0.0.1:9", credentials=object_store.Credentials("access", "secret")
        ),
        home=home,
        identities=identity.Identities(engine),
        limits=fair_share.Limits(rate=1e6, burst=1_000_000, places=8),
        refusals=fair_share.Limits(rate=1e6, burst=1_000_000),
    )
    return parts, keys


# Questions made from the description


def description(service: Service) -> schemathesis.BaseSchema:
    """What the service says of itself, read as a client reads it."""
    document = service.ask("GET", "/stac/api", who="none").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.generation.with_security_parameters = False  # who asks is chosen here
    return schema


def fuzz_all(service: Service, *, examples: int, seed: int, seconds: float = 600.0) -> None:
    """Ask every operation of the description; each must have given what it is for at least once."""
    operations = [found.ok() for found in description(service).get_all_operations()]
    assert {operation.path for operation in operations} == SERVED
    for operation in operations:
        # Where nothing can be varied but who asks, few questions say all.
        enough = examples if _varies(operation) else min(examples, 8)
        fuzz(service, operation, examples=enough, seed=seed, seconds=seconds)
        meant = {int(code) for code in operation.definition.raw["responses"] if code.startswith(("2", "3"))}
        assert service.reached[operation.label] & meant, f"{operation.label} was never reached"


def fuzz(service: Service, operation: Any, *, examples: int, seed: int, seconds: float = 600.0) -> None:
    """Ask one operation at random, as each identity, and judge the answers by the description."""
    service.failures.clear()
    end = time.monotonic() + seconds

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=_cases(operation), who=st.sampled_from(("all", "all", *IDENTITIES)), data=st.data())
    def asked(case: Any, who: str, data: st.DataObject) -> None:
        _aim(case, data)  # all is drawn before the clock is asked: what is drawn must not depend on it
        if time.monotonic() > end:
            raise EnoughError
        answer = case.call(
            base_url=service.address,
            session=service.session,
            headers=service.headers(who),
            allow_redirects=False,
            timeout=60,
        )
        service.judge(answer.status_code, case.as_curl_command())
        service.reached.setdefault(operation.label, set()).add(answer.status_code)
        assert (answer.status_code == 401) == (who == "bad" or (who == "none" and not _is_open(operation)))
        chosen_fields = "fields" in (case.query or {}) or "fields" in (case.body if isinstance(case.body, dict) else {})
        # An item of which only some fields were wanted is none of the whole schema.
        case.validate_response(answer, checks=list(CHECKS[:-1] if chosen_fields else CHECKS))

    with contextlib.suppress(EnoughError):
        asked()


def _is_open(operation: Any) -> bool:
    return {} in operation.definition.raw["security"]


def _varies(operation: Any) -> bool:
    raw = operation.definition.raw
    return bool(raw.get("parameters")) or "requestBody" in raw


def _cases(operation: Any) -> st.SearchStrategy[Any]:
    good = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    if not _varies(operation):
        return good
    return good | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)


def _aim(case: Any, data: st.DataObject) -> None:
    """Replace parts of a random question by what is there, so that what lies behind the first checks is met too."""
    entry = ENTRIES[data.draw(st.integers(0, len(ENTRIES) - 1))]
    known = {
        "collection_id": entry.collection,
        "collection": entry.collection,
        "item_id": entry.item_id,
        "revision": 1,
        "notice_id": NOTICE.format(dt.datetime.now(dt.UTC)),
        "name": data.draw(st.sampled_from(("data", "metadata", "item.json", "MANIFEST.json", "MANIFEST.json.minisig"))),
    }
    for part in case.path_parameters or {}:
        if data.draw(st.sampled_from((True, True, True, False))):
            case.path_parameters[part] = known[part]
    for container in (case.query, case.body):
        if isinstance(container, dict):
            for name in list(container):
                if data.draw(st.booleans()):
                    _aim_at(container, name, data)


def _aim_at(container: dict[str, Any], name: str, data: st.DataObject) -> None:
    values = GOOD.get(name)
    if values is None or data.draw(st.booleans()):
        del container[name]
    else:
        container[name] = data.draw(st.sampled_from(values))


#: Values that make sense, by the name of a parameter of a search in an address.
GOOD: Mapping[str, Sequence[Any]] = {
    "collections": ("flood-extent", "flood-extent,land-cover"),
    "ids": (ENTRIES[0].item_id,),
    "bbox": ("105,28,110,32", "170,-10,-170,10"),
    "datetime": ("2024-06-01T00:00:00Z/..", "2024-06-01T00:00:00Z"),
    "filter": ("id IS NOT NULL", "S_INTERSECTS(geometry, POINT(107 30))"),
    "sortby": ("-datetime", "id,-cqeo:clear_fraction"),
    "limit": (1, 1000),
    "sector": ("emergency",),
    "adcode": ("500100",),
}


def octets(path: bytes, *, headers: Sequence[bytes], method: str, body: bytes) -> bytes:
    """Write a request as it goes over the line; a path may hold anything."""
    lines = [method.encode() + b" " + path + b" HTTP/1.1", *headers, b"Connection: close", b"", body]
    return b"\r\n".join(lines)


def quoted(**parameters: str) -> str:
    """Write parameters of an address."""
    return urllib.parse.urlencode(parameters, errors="surrogatepass")


def body(value: Any) -> bytes:
    """Write JSON as Python does, with NaN and lone surrogates."""
    return json.dumps(value).encode()
