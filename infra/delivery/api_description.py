"""What the service says of itself: one OpenAPI document of every address, and a page of it for people.

The document that stac-fastapi makes knows the catalogue only, and promises answers this service does not give. The page
is written here from the same document: it needs no script and nothing from another host.
"""

import base64
import copy
import hashlib
import html
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from starlette import requests, responses, routing

from infra.delivery import feed
from products import streams

#: Name of the way to say who asks.
SCHEME = "Bearer"

_METHODS = ("get", "post")
_JSON = "application/json"
_OWED = "x-scope"

_Document = dict[str, Any]


def describe(app: FastAPI, *, open_paths: frozenset[str], scope_of: Callable[[str], str | None]) -> None:
    """Let an application describe everything the service answers, in a document and on a page.

    Parameters
    ----------
    app : fastapi.FastAPI
        The application with its catalogue routes; its page of the library is replaced.
    open_paths : frozenset of str
        Addresses that answer everybody.
    scope_of : callable
        Gives what an identity must be allowed for an address, None for nothing.
    """
    made: list[_Document] = []
    generated = app.openapi

    def document() -> _Document:
        if not made:
            made.append(whole(generated(), open_paths=open_paths, scope_of=scope_of))
        return made[0]

    async def shown(_request: requests.Request) -> responses.Response:
        policy = f"default-src 'none'; style-src '{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
        return responses.HTMLResponse(page(document()), headers={"Content-Security-Policy": policy})

    app.openapi = document  # type: ignore[method-assign]
    routes = app.router.routes
    routes[:] = [route for route in routes if getattr(route, "name", "") not in {_PAGE_ROUTE, "swagger_ui_redirect"}]
    # The landing page finds the address of its service-doc by the name of the library's route.
    routes.insert(0, routing.Route(str(app.docs_url), shown, name=_PAGE_ROUTE))


_PAGE_ROUTE = "swagger_ui_html"


# Document


def whole(
    generated: Mapping[str, Any], *, open_paths: frozenset[str], scope_of: Callable[[str], str | None]
) -> _Document:
    """Complete the generated document by the other addresses, by refusals and by who may ask.

    Parameters
    ----------
    generated : Mapping[str, Any]
        OpenAPI document of the catalogue.
    open_paths : frozenset of str
        Addresses that answer everybody.
    scope_of : callable
        Gives what an identity must be allowed for an address, None for nothing.

    Returns
    -------
    dict
        OpenAPI document of the service.
    """
    found = copy.deepcopy(dict(generated))
    found["paths"] = {**found["paths"], **_own_paths()}
    for path, operations in found["paths"].items():
        for method in _METHODS:
            if method in operations:
                _complete(operations[method], path, is_open=path in open_paths, scope=scope_of(path))
    components = found["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["schemas"]["Refusal"] = _REFUSAL
    components["securitySchemes"] = {
        SCHEME: {"type": "http", "scheme": "bearer", "description": "A key of the operator, or a token of its issuer."}
    }
    found["security"] = [{SCHEME: []}]
    return found


def _complete(operation: _Document, path: str, *, is_open: bool, scope: str | None) -> None:
    answers: _Document = operation["responses"]
    answers.pop("422", None)  # what cannot be understood is answered with 400
    refused = [413, 429, 500]
    if operation.get("parameters") or "requestBody" in operation:
        refused.append(400)
    if "{" in path:
        refused.append(404)
    if "{item_id}" in path:
        refused.append(410)
    # A credential may be shown at an open address, and then it must hold.
    refused.append(401)
    operation["security"] = [{}, {SCHEME: []}] if is_open else [{SCHEME: []}]
    if scope is not None:
        refused.append(403)
        operation[_OWED] = scope
    for status in refused:
        answers.setdefault(str(status), _refusal(status))


def _refusal(status: int) -> _Document:
    found: _Document = {
        "description": _REFUSALS[status],
        "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }
    if status == 429:
        found["headers"] = {"Retry-After": {"description": "When to come back [s]", "schema": {"type": "integer"}}}
    return found


_REFUSALS = {
    400: "The question makes no sense; the description says why",
    401: "No valid key or token",
    403: "The key is not allowed to do this",
    404: "Not there, or not for whoever asks",
    410: "Withdrawn or expired; the description says why",
    413: "Too large, or without its length",
    429: "Too fast",
    500: "The service failed; the description names the request",
}
_REFUSAL: _Document = {
    "type": "object",
    "required": ["code", "description"],
    "properties": {"code": {"type": "string"}, "description": {"type": "string"}},
}


def _own_paths() -> _Document:
    """Addresses outside the catalogue."""
    found = {
        "/feed": _operation(
            "Announcements after a position",
            "In the order of the catalogue, for ever; keep the cursor and ask again.",
            {"200": _answer("Announcements and where to go on", _JSON, _FEED)},
            [
                _query("after", "Cursor to go on from; none or 0 for the beginning", {"type": "string"}),
                *_FEED_PARAMETERS,
            ],
        ),
        "/feed.atom": _operation(
            "The newest announcements for feed readers",
            "RFC 4287, newest first.",
            {"200": _answer("Atom feed", "application/atom+xml", {"type": "string"})},
            _FEED_PARAMETERS,
        ),
        "/notices": _operation(
            "What will change",
            "Every notice as it stands now; with a cursor, every revision after it.",
            {"200": _answer("Notices and where to go on", _JSON, _NOTICES)},
            [_query("after", "Cursor to go on from; none for all as they stand", {"type": "string"}), _LIMIT],
        ),
        "/notices.atom": _operation(
            "Notices for feed readers",
            "RFC 4287, newest first.",
            {"200": _answer("Atom feed", "application/atom+xml", {"type": "string"})},
        ),
        "/notices/{notice_id}": _operation(
            "One notice",
            "With all its revisions.",
            {"200": _answer("The notice", _JSON, {"type": "object", "required": ["id", "revision", "revisions"]})},
            [_part("notice_id", "Identity of the notice", {"type": "string"})],
        ),
        "/item/{item_id}": _operation(
            "An item by its identity alone",
            "Leads to the item, or says why it is gone.",
            {"307": _leads("The item")},
            [_part("item_id", "Identity of the item", {"type": "string"})],
        ),
        "/latest/{collection}": _operation(
            "The newest item of a collection",
            "Leads to the newest item that whoever asks may see.",
            {"307": _leads("The item")},
            [_part("collection", "Collection", {"type": "string"})],
        ),
        "/download/{item_id}/{revision}/{name}": _operation(
            "A file of an item",
            "Leads, after the check, to a link that holds for 15 minutes to 12 hours, by the size of the file.",
            {"307": _leads("The file", _LINK_HEADERS)},
            [
                _part("item_id", "Identity of the item", {"type": "string"}),
                _part("revision", "Its revision", {"type": "integer", "minimum": 1, "maximum": 999_999_999}),
                _part("name", "Asset, item.json, MANIFEST.json or MANIFEST.json.minisig", {"type": "string"}),
            ],
        ),
        "/health": _operation(
            "State of the service",
            "Whether it lives; with a key of the scope operate, figures too.",
            {"200": _answer("The state", _JSON, _HEALTH)},
        ),
        "/.well-known/terralimb-keys.json": _operation(
            "Public keys",
            "The keys that verify manifests, retired and revoked ones marked.",
            {"200": _answer("The keys", _JSON, {"type": "object"})},
        ),
        "/stac/api": _operation(
            "This description",
            "OpenAPI.",
            {"200": _answer("The description", "application/vnd.oai.openapi+json", {"type": "object"})},
        ),
        "/stac/api.html": _operation(
            "This description, to read", "", {"200": _answer("The page", "text/html", {"type": "string"})}
        ),
    }
    return {path: {"get": operation} for path, operation in found.items()}


def _operation(
    summary: str, description: str, answers: _Document, parameters: list[_Document] | None = None
) -> _Document:
    found: _Document = {"summary": summary, "description": description, "responses": answers}
    return found | {"parameters": copy.deepcopy(parameters)} if parameters else found


def _query(name: str, description: str, schema: _Document) -> _Document:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _part(name: str, description: str, schema: _Document) -> _Document:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _answer(description: str, media_type: str, schema: _Document) -> _Document:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _leads(what: str, headers: _Document | None = None) -> _Document:
    place = {"Location": {"description": "Where it is", "required": True, "schema": {"type": "string"}}}
    return {"description": f"{what} is at another address", "headers": place | (headers or {})}


_LINK_HEADERS: _Document = {
    "X-Link-Expires": {"description": "Until when the link holds", "required": True, "schema": {"type": "string"}},
    "X-Content-SHA256": {"description": "SHA-256 of the file, where known", "schema": {"type": "string"}},
    "X-Content-Size": {"description": "Its length [octet], where known", "schema": {"type": "integer"}},
}
_LIMIT = _query(
    "limit",
    f"The most to return, cut to {feed.PAGE_LIMIT}",
    {"type": "integer", "minimum": 1, "maximum": feed.PAGE_LIMIT, "default": 100},
)
_FEED_PARAMETERS = [
    _query("sector", "Only of this sector", {"type": "string"}),
    _query("product", "Only of this product", {"type": "string"}),
    _query("adcode", "Only of this district and what lies within", {"type": "string", "pattern": "^[0-9]{1,12}$"}),
    _query(
        "stream",
        "What agencies work with, or test data of a coming format",
        {"enum": list(streams.STREAMS), "default": streams.OPERATIONAL},
    ),
    _LIMIT,
]
_FEED: _Document = {
    "type": "object",
    "required": ["announcements", "cursor", "more", "next"],
    "properties": {
        "announcements": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["cursor", "id", "revision", "event", "links"],
                "properties": {
                    "cursor": {"type": "string"},
                    "id": {"type": "string"},
                    "revision": {"type": "integer"},
                    "event": {"enum": ["published", "superseded", "withdrawn"]},
                    "links": {"type": "array", "items": {"type": "object", "required": ["rel", "href"]}},
                },
            },
        },
        "cursor": {"type": ["string", "null"]},
        "more": {"type": "boolean"},
        "next": {"type": "string"},
    },
}
_NOTICES: _Document = {
    "type": "object",
    "required": ["notices", "cursor", "more", "next"],
    "properties": {
        "notices": {"type": "array", "items": {"type": "object", "required": ["id", "revision", "kind", "title"]}},
        "cursor": {"type": ["string", "null"]},
        "more": {"type": "boolean"},
        "next": {"type": "string"},
    },
}
_HEALTH: _Document = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["ok", "degraded"]}},
}


# Page


def page(document: Mapping[str, Any]) -> str:
    """Write an OpenAPI document as a page to read.

    Parameters
    ----------
    document : Mapping[str, Any]
        The document.

    Returns
    -------
    str
        HTML without script and without anything from elsewhere.
    """
    title = _text(document["info"]["title"])
    parts = "\n".join(_section(*operation) for operation in _operations(document))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style></head>\n<body><main><h1>{title}</h1>\n"
        f"<p>{_text(document['info'].get('description', ''))}</p>\n"
        f"<p>Send <code>Authorization: Bearer &lt;key&gt;</code>. To read by machine: "
        f'<a href="api">OpenAPI</a>.</p>\n{parts}\n</main></body></html>\n'
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in sorted(document["paths"].items()):
        for method in _METHODS:
            if method in operations:
                yield method, path, operations[method]


def _section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    scope = operation.get(_OWED)
    is_open = {} in operation["security"]
    needed = "open to everybody" if is_open else f"needs the scope {scope}" if scope else "needs a key"
    given = [(each["name"], each["in"], each["schema"], each.get("description", ""))
             for each in operation.get("parameters", ())]  # fmt: skip
    body = operation.get("requestBody", {}).get("content", {})
    given += [("(body)", media_type, what["schema"], "") for media_type, what in body.items()]
    rows = "".join(
        f"<tr><th scope=row><code>{_text(name)}</code><td>{_text(place)}<td><code>{_text(_kind(schema))}</code>"
        f"<td>{_text(said)}"
        for name, place, schema, said in given
    )
    answers = "".join(
        f"<li><code>{status}</code> {_text(answer['description'])}"
        for status, answer in sorted(operation["responses"].items())
    )
    table = f"<table><tr><th>Name<th>In<th>Kind<th>Meaning{rows}</table>" if rows else ""
    return (
        f"<section><h2><code>{method.upper()} {_text(path)}</code></h2>"
        f"<p>{_text(operation.get('summary', ''))} ({_text(needed)}). {_text(operation.get('description', ''))}</p>"
        f"{table}<ul>{answers}</ul></section>"
    )


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    return str(schema.get("type", "any"))


def _text(value: Any) -> str:
    return html.escape(str(value))


_STYLE = (
    "body{font:1rem/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{border:1px solid;padding:.2rem .5rem;text-align:left;vertical-align:top}"
)
_STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
