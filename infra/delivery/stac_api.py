"""The catalogue as a STAC API 1.0 (core, collections, features, item search; filter, sort, fields).

The routes, parameters and their checks are those of stac-fastapi; what is found, and for whom, is decided by
`infra.delivery.item_search`. Addresses of files lead through the download route, which checks again.
"""

import dataclasses
import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attr
import orjson
import pydantic
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from stac_fastapi import extensions as stac_extensions
from stac_fastapi.api import app as stac_app
from stac_fastapi.api import models
from stac_fastapi.extensions.filter.client import BaseFiltersClient
from stac_fastapi.extensions.filter.filter import FilterConformanceClasses
from stac_fastapi.types import config, core, errors, rfc3339
from stac_fastapi.types.search import BaseSearchPostRequest

from infra import catalog_store, publication
from infra.delivery import cql2_condition, cursor, entitlement, filter_limit, item_search, notices, queryable
from products import notice, stac, streams

GEOJSON = "application/geo+json"

#: Where the API lies in the service.
PREFIX = "/stac"

#: The most identities or collections, and the most properties to sort by, of one search [1].
LIST_LIMIT = 1000
SORT_LIMIT = 16

_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_JSON = "application/json"
_PURPOSE = "search"
_ALWAYS = ("id", "type", "collection", "links")

#: Faults of a request, all answered with status 400.
REQUEST_ERRORS = (
    catalog_store.CatalogError,
    cql2_condition.FilterError,
    cursor.CursorError,
    item_search.SearchError,
    queryable.UnknownPropertyError,
)


class WithdrawnError(Exception):
    """The item was withdrawn; the message says why."""


def principal_of(request: Request) -> entitlement.Principal:
    """Who asks, as the service proved before it passed the request on.

    Parameters
    ----------
    request : fastapi.Request
        The request.

    Returns
    -------
    infra.delivery.entitlement.Principal
        The identity.
    """
    found: entitlement.Principal = request.scope["principal"]
    return found


def application(
    search: item_search.ItemSearch,
    seal: cursor.CursorSeal,
    coming: Callable[[], Sequence[notice.Notice]] = lambda: (),
) -> Any:
    """Build the STAC API.

    Parameters
    ----------
    search : ItemSearch
        Where to look.
    seal : CursorSeal
        What seals the ends of pages.
    coming : callable
        Gives the notices still to be heeded, to which their collections link.

    Returns
    -------
    fastapi.FastAPI
        The application; every request must carry its principal in the scope.
    """
    filters = stac_extensions.FilterExtension(
        client=_Queryables(search), conformance_classes=_FILTER_CLASSES, response_class=_SchemaResponse
    )
    filters.POST = _FilterBody  # in no class of ours: the library knows an extension by the name of its class
    offered = [
        filters,
        stac_extensions.SortExtension(),
        stac_extensions.FieldsExtension(),
        stac_extensions.TokenPaginationExtension(),
    ]
    found = stac_app.StacApi(
        settings=config.ApiSettings(
            stac_fastapi_title="terralimb",
            stac_fastapi_description="Sector products and occultation profiles 行业产品与掩星廓线",
            stac_fastapi_landing_id="terralimb",
            openapi_url=f"{PREFIX}/api",
            docs_url=f"{PREFIX}/api.html",
            _env_file=None,  # type: ignore[call-arg]
        ),
        client=CatalogClient(search=search, seal=seal, coming=coming, landing_page_id="terralimb"),
        extensions=offered,
        search_get_request_model=models.create_get_request_model(offered),
        search_post_request_model=models.create_post_request_model(offered, base_model=_SearchBody),
        items_get_request_model=models.create_get_request_model(offered, base_model=models.ItemCollectionUri),
        stac_version=stac.VERSION,
        router=APIRouter(prefix=PREFIX),
        response_class=JSONResponse,
        exceptions={},
        middlewares=[],
    )
    found.app.add_exception_handler(RequestValidationError, _invalid)
    for kind, status in _STATUS.items():
        found.app.add_exception_handler(kind, _answer_with(status))
    return found.app


class _SearchBody(BaseSearchPostRequest):
    """Body of a search; one collection may stand without a list around it."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _is_object(cls, value: Any) -> Any:
        # Checks of the library that come next take for granted what this one sees to.
        if not isinstance(value, dict):
            raise ValueError("the body of a search is a JSON object")
        filter_limit.check_json(value, above=1)
        return value

    @pydantic.field_validator("datetime", mode="wrap")
    @classmethod
    def _in_range(cls, value: Any, checked: pydantic.ValidatorFunctionWrapHandler) -> Any:
        try:
            return checked(value)
        except OverflowError:
            raise ValueError("the time lies outside of the years 1 to 9999") from None

    @pydantic.field_validator("intersects", mode="wrap")
    @classmethod
    def _as_given(cls, value: Any, _checked: pydantic.ValidatorFunctionWrapHandler) -> Any:
        # Read once, where a search by address has it read too: the library would try it as every kind of geometry and
        # complain of each.
        return value

    @pydantic.field_validator("collections", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class _FilterBody(pydantic.BaseModel):
    """Filter in the body of a search, in either language; the library's takes JSON only."""

    filter_expr: dict[str, Any] | str | None = pydantic.Field(
        None, alias="filter", description="A filter: cql2-json as an object, cql2-text as a text."
    )
    filter_lang: cql2_condition.Language | None = pydantic.Field(
        "cql2-json", alias="filter-lang", description="The language of the filter."
    )
    filter_crs: str | None = pydantic.Field(
        None, alias="filter-crs", description=f"The reference system of its geometries, which is {_CRS84}."
    )


_STATUS: Mapping[type[Exception], int] = {
    errors.NotFoundError: 404,
    WithdrawnError: 410,
    errors.InvalidQueryParameter: 400,
    **dict.fromkeys(REQUEST_ERRORS, 400),
}


class _SchemaResponse(JSONResponse):
    media_type = "application/schema+json"


def _invalid(_request: Request, error: Exception) -> Response:
    """Say which part of a request is wrong, in words, instead of with the library's own structure."""
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    said = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {_said(fault)}" for fault in faults)
    return JSONResponse({"code": "BadRequest", "description": said[:2000]}, status_code=400)


def _said(fault: Mapping[str, Any]) -> str:
    return str(fault["msg"]).removeprefix("Value error, ")


def _answer_with(status: int) -> Callable[[Request, Exception], Response]:
    def answer(_request: Request, error: Exception) -> Response:
        body = {"code": type(error).__name__.removesuffix("Error"), "description": str(error)}
        return Response(orjson.dumps(body), status_code=status, media_type=_JSON)

    return answer


_FILTER_CLASSES: list[str] = [
    FilterConformanceClasses.FILTER,
    FilterConformanceClasses.SEARCH,
    FilterConformanceClasses.ITEMS,
    FilterConformanceClasses.BASIC_CQL2,
    FilterConformanceClasses.CQL2_JSON,
    FilterConformanceClasses.CQL2_TEXT,
    FilterConformanceClasses.ADVANCED_COMPARISON_OPERATORS,
    FilterConformanceClasses.BASIC_SPATIAL_FUNCTIONS,
    FilterConformanceClasses.BASIC_SPATIAL_FUNCTIONS_PLUS,
]


@attr.s
class _Queryables(BaseFiltersClient):
    """What a filter may name."""

    search: item_search.ItemSearch = attr.ib()

    def get_queryables(self, collection_id: str | None = None, **kwargs: Any) -> dict[str, Any]:
        request: Request = kwargs["request"]
        if collection_id is not None:
            _collection_document(self.search, principal_of(request), collection_id)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": str(request.url.replace(query="")),
            "type": "object",
            "title": "What a filter may name",
            "properties": {name: asked.schema for name, asked in queryable.QUERYABLES.items()},
            "additionalProperties": False,
        }


@attr.s
class CatalogClient(core.BaseCoreClient):
    """The core endpoints over one catalogue."""

    search: item_search.ItemSearch = attr.ib(kw_only=True)
    seal: cursor.CursorSeal = attr.ib(kw_only=True)
    coming: Callable[[], Sequence[notice.Notice]] = attr.ib(kw_only=True)

    def landing_page(self, **kwargs: Any) -> Any:
        """Answer ``GET /``: links to what there is and a child for every collection."""
        request: Request = kwargs["request"]
        page: dict[str, Any] = dict(super().landing_page(request=request))
        address = _address(request)
        documents = self.search.collections(principal_of(request))
        page["links"] += [
            {"rel": "child", "type": _JSON, "title": document["title"], "href": address("collections", document["id"])}
            for document in documents
        ]
        return page

    def all_collections(self, **kwargs: Any) -> Any:
        """Answer ``GET /collections``."""
        request: Request = kwargs["request"]
        address = _address(request)
        found = self.search.collections(principal_of(request), _stream(request))
        coming = self.coming()
        documents = [_served_collection(each, address, coming) for each in found]
        links = [_link("root", address()), _link("self", address("collections"))]
        return {"collections": documents, "links": links}

    def get_collection(self, collection_id: str, **kwargs: Any) -> Any:
        """Answer ``GET /collections/{collection_id}``."""
        request: Request = kwargs["request"]
        document = _collection_document(self.search, principal_of(request), collection_id)
        return _served_collection(document, _address(request), self.coming())

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Any:
        """Answer ``GET /collections/{collection_id}/items/{item_id}``."""
        request: Request = kwargs["request"]
        found = self.search.item(principal_of(request), item_id)
        if found is None or found.collection != collection_id:
            raise errors.NotFoundError(f"there is no item {item_id!r:.120} in {collection_id!r:.120}")
        if found.state in {"withdrawn", "expired"}:
            what = "was withdrawn" if found.state == "withdrawn" else "has expired"
            raise WithdrawnError(f"{found.item_id} {what}: {found.state_reason}")
        return _geojson(_served_item(found, _address(request)))

    def item_collection(self, collection_id: str, *_given: Any, **kwargs: Any) -> Any:
        """Answer ``GET /collections/{collection_id}/items``."""
        request: Request = kwargs["request"]
        _collection_document(self.search, principal_of(request), collection_id)
        wanted = _wanted_by_get({**kwargs, "collections": [collection_id]})
        return self._answer(request, wanted, _fields_of_get(kwargs.get("fields")), kwargs.get("token"))

    def get_search(self, *_given: Any, **kwargs: Any) -> Any:
        """Answer ``GET /search``."""
        request: Request = kwargs["request"]
        return self._answer(request, _wanted_by_get(kwargs), _fields_of_get(kwargs.get("fields")), kwargs.get("token"))

    def post_search(self, search_request: Any, **kwargs: Any) -> Any:
        """Answer ``POST /search``."""
        request: Request = kwargs["request"]
        fields = search_request.fields
        if fields is None and "fields" in search_request.model_fields_set:
            raise item_search.SearchError("fields is an object with include and exclude")
        chosen = (set(fields.include or ()), set(fields.exclude or ())) if fields else (set(), set())
        # Without warnings, for the geometry is as it was given and not what the library would have made of it.
        body = search_request.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
        return self._answer(request, _wanted_by_post(search_request), chosen, search_request.token, body)

    def _answer(
        self,
        request: Request,
        wanted: item_search.SearchRequest,
        fields: tuple[set[str], set[str]],
        token: str | None,
        body: Mapping[str, Any] | None = None,
    ) -> Response:
        principal, address = principal_of(request), _address(request)
        if token:
            position = self.seal.unseal(token, agency=principal.agency, purpose=_PURPOSE).decode()
            wanted = dataclasses.replace(wanted, token=position)
        page = self.search.search(principal, wanted)
        links = [_link("root", address()), {"rel": "self", "type": GEOJSON, "href": str(request.url)}]
        if page.token is not None:
            sealed = self.seal.seal(page.token.encode(), agency=principal.agency, purpose=_PURPOSE)
            links.append(_next_link(request, sealed, body))
        features = [_chosen(_served_item(item, address), fields) for item in page.items]
        return _geojson(
            {
                "type": "FeatureCollection",
                "features": features,
                "links": links,
                "numberMatched": page.matched,
                "numberReturned": len(features),
            }
        )


# Requests


def _stream(request: Request) -> streams.Stream:
    """Stream that is asked for; whoever does not ask gets what agencies work with."""
    return streams.TEST if request.query_params.get("stream") == streams.TEST else streams.OPERATIONAL


def _wanted_by_get(given: Mapping[str, Any]) -> item_search.SearchRequest:
    intersects = given.get("intersects")
    _check_place(given.get("bbox"), intersects)
    expression = given.get("filter_expr")
    language: cql2_condition.Language = given.get("filter_lang") or "cql2-text"
    _check_crs(given.get("filter_crs"))
    return item_search.SearchRequest(
        collections=_few(given.get("collections")),
        ids=_few(given.get("ids")),
        bbox=_box(given.get("bbox")),
        intersects=None if not intersects else _geometry_text(intersects),
        datetime_range=_range(given.get("datetime")),
        filter_tree=True if not expression else cql2_condition.parsed(expression, language),
        sort=tuple(_sort_key(text) for text in _few(given.get("sortby"), SORT_LIMIT)),
        limit=given.get("limit") or 10,
    )


def _wanted_by_post(given: Any) -> item_search.SearchRequest:
    intersects = given.intersects
    _check_place(given.bbox, intersects)
    _check_crs(given.filter_crs)
    return item_search.SearchRequest(
        collections=_few(given.collections),
        ids=_few(given.ids),
        bbox=_box(given.bbox),
        intersects=None if intersects is None else _geometry(intersects),
        datetime_range=_range(given.datetime),
        filter_tree=_filter_of_body(given.filter_expr, given.filter_lang or "cql2-json"),
        sort=tuple(
            (key.field, "desc" if key.direction.value == "desc" else "asc") for key in _few(given.sortby, SORT_LIMIT)
        ),
        limit=given.limit or 10,
    )


def _few(listed: Sequence[Any] | None, limit: int = LIST_LIMIT) -> tuple[Any, ...]:
    """Hold a list to what one statement of the database can carry."""
    if listed and len(listed) > limit:
        raise item_search.SearchError(f"a list holds at most {limit} values here")
    return tuple(listed or ())


def _check_place(bbox: Any, intersects: Any) -> None:
    if bbox and intersects:
        raise item_search.SearchError("bbox and intersects exclude each other")


def _check_crs(name: str | None) -> None:
    if name not in {None, _CRS84}:
        raise cql2_condition.FilterError("geometry is understood in CRS84 only")


def _box(bbox: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    if bbox is None:
        return None
    west, south, east, north = bbox if len(bbox) == 4 else (bbox[0], bbox[1], bbox[3], bbox[4])
    return float(west), float(south), float(east), float(north)


def _geometry_text(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise cql2_condition.FilterError("intersects is no GeoJSON") from None
    return _geometry(found)


def _geometry(found: Any) -> Mapping[str, Any]:
    geometry = found.get("geometry") if isinstance(found, dict) and found.get("type") == "Feature" else found
    if not isinstance(geometry, dict):
        raise cql2_condition.FilterError("intersects is no GeoJSON geometry, which is an object")
    return geometry


def _filter_of_body(expression: Any, language: cql2_condition.Language) -> Any:
    if expression is None:
        return True
    if isinstance(expression, str) != (language == "cql2-text"):
        kind = "a text" if language == "cql2-text" else "an object"
        raise cql2_condition.FilterError(f"a filter in {language} is {kind}; filter-lang names the language")
    return cql2_condition.parsed(expression, language)


def _range(value: Any) -> catalog_store.TimeRange | None:
    if not value:
        return None
    found = rfc3339.str_to_interval(value) if isinstance(value, str) else value
    return found if isinstance(found, tuple) else (found, found)


def _sort_key(text: str) -> tuple[str, item_search.Direction]:
    return (text[1:], "desc") if text.startswith("-") else (text.removeprefix("+").strip(), "asc")


def _fields_of_get(fields: Sequence[str] | None) -> tuple[set[str], set[str]]:
    listed = fields or ()
    exclude = {name[1:] for name in listed if name.startswith("-")}
    return {name.removeprefix("+").strip() for name in listed if not name.startswith("-")} - {""}, exclude


# Answers


def _geojson(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type=GEOJSON)


def _link(relation: str, href: str) -> dict[str, str]:
    return {"rel": relation, "type": _JSON, "href": href}


def _address(request: Request) -> Callable[..., str]:
    """Give addresses of this API by the parts of their path; of the service by ``above``."""
    service = str(request.base_url).rstrip("/")

    def address(*parts: str, above: bool = False) -> str:
        stem = service if above else service + PREFIX
        return "/".join((stem, *(urllib.parse.quote(part, safe="") for part in parts))) if parts else f"{stem}/"

    return address


def _next_link(request: Request, token: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    if body is None:
        href = str(request.url.include_query_params(token=token))
        return {"rel": "next", "type": GEOJSON, "method": "GET", "href": href}
    href = str(request.url)
    return {"rel": "next", "type": GEOJSON, "method": "POST", "href": href, "body": {**body, "token": token}}


def _collection_document(
    search: item_search.ItemSearch, principal: entitlement.Principal, collection_id: str
) -> dict[str, Any]:
    documents = search.collections(principal, streams.of_collection(collection_id))
    found = next((each for each in documents if each["id"] == collection_id), None)
    if found is None:
        raise errors.NotFoundError(f"there is no collection {collection_id!r:.120}")
    return found


def _served_collection(
    document: Mapping[str, Any], address: Callable[..., str], coming: Sequence[notice.Notice]
) -> dict[str, Any]:
    own = str(document["id"])

    def above(*parts: str) -> str:
        return address(*parts, above=True)

    links = [
        _link("root", address()),
        _link("parent", address()),
        _link("self", address("collections", own)),
        {"rel": "items", "type": GEOJSON, "href": address("collections", own, "items")},
        {
            "rel": "http://www.opengis.net/def/rel/ogc/1.0/queryables",
            "type": "application/schema+json",
            "href": address("collections", own, "queryables"),
        },
    ]
    kept = [link for link in document.get("links", ()) if link["rel"] not in {"root", "parent", "self", "items"}]
    return {**document, "links": links + kept + notices.links(coming, own, above)}


def _served_item(item: catalog_store.CatalogItem, address: Callable[..., str]) -> dict[str, Any]:
    document = item.item
    parent = address("collections", item.collection)
    kept = [link for link in document["links"] if link["rel"] not in {"root", "parent", "self", "collection"}]
    document["links"] = [
        _link("root", address()),
        _link("parent", parent),
        _link("collection", parent),
        {"rel": "self", "type": GEOJSON, "href": address("collections", item.collection, "items", item.item_id)},
        *kept,
    ]
    if item.revision > 1:
        before = address("download", item.item_id, str(item.revision - 1), publication.ITEM_NAME, above=True)
        document["links"].append({"rel": "predecessor-version", "type": GEOJSON, "href": before})
    files = address("download", item.item_id, str(item.revision), above=True)
    document["assets"] = {
        name: {**asset, "href": f"{files}/{urllib.parse.quote(name, safe='')}"}
        for name, asset in document["assets"].items()
    }
    return document


def _chosen(document: dict[str, Any], fields: tuple[set[str], set[str]]) -> dict[str, Any]:
    """Part of an item a client wants; what makes it an item always stays, and so does what is also included."""
    include, exclude = fields
    kept = document
    if include:
        kept = {name: document[name] for name in _ALWAYS}
        for path in include:
            _copy_path(document, kept, path.split("."))
    for path in exclude:
        if not any(f"{named}.".startswith(f"{path}.") for named in include):
            _remove_path(kept, path.split("."))
    return kept


def _copy_path(source: Mapping[str, Any], target: dict[str, Any], path: Sequence[str]) -> None:
    if path[0] not in source:
        return
    if len(path) == 1 or not isinstance(source[path[0]], dict):
        target[path[0]] = source[path[0]]
    else:
        below = target.setdefault(path[0], {})
        _copy_path(source[path[0]], below, path[1:])


def _remove_path(document: Any, path: Sequence[str]) -> None:
    for name in path[:-1]:
        document = document.get(name) if isinstance(document, dict) else None
    if isinstance(document, dict) and not (len(path) == 1 and path[0] in _ALWAYS):
        document.pop(path[-1], None)
