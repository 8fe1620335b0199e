"""The service: one door for catalogue, feed, downloads and state, behind which everything knows who asks.

Whoever asks is recognized before anything else happens; an address that is not listed as open answers nobody unknown.
"""

import dataclasses
import datetime as dt
import http
import json
import logging
import math
import secrets
import time
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette import concurrency, exceptions, requests, responses, routing

from infra import catalog_store, object_store, signing
from infra.delivery import (
    api_description,
    audit,
    cursor,
    download,
    entitlement,
    fair_share,
    feed,
    health,
    identity,
    item_search,
    notices,
    stac_api,
)
from products import notice, streams

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

#: Addresses that answer everybody: whether the service lives, how to talk to it, the keys that verify what it gives.
OPEN_PATHS = frozenset({"/health", "/stac/api", "/stac/api.html", "/.well-known/terralimb-keys.json"})

#: What an identity must be allowed for each first part of an address.
_NEEDED: dict[str, entitlement.Scope] = {
    "stac": "search",
    "feed": "feed",
    "download": "download",
    "latest": "search",
    "item": "search",
}

_LOG = logging.getLogger(__name__)
_BODY_LIMIT = 1_000_000
_THREADS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What the service is made of.

    Attributes
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    store : infra.object_store.ObjectStore
        Where the files are.
    home : Path
        Folder of the installation: keys and the audit record.
    identities : identity.Identities
        Recognizes who asks.
    limits : fair_share.Limits
        What one agency may use.
    refusals : fair_share.Limits
        Refusals of one origin that are written down and answered as such; what is above is told to come back later.
    clock : callable
        Tells the time.
    """

    catalog: catalog_store.CatalogStore
    store: object_store.ObjectStore
    home: Path
    identities: identity.Identities
    limits: fair_share.Limits = dataclasses.field(default_factory=fair_share.Limits)
    refusals: fair_share.Limits = dataclasses.field(default_factory=lambda: fair_share.Limits(rate=1.0, burst=60))
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)


def application(parts: Parts) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Build the service.

    Parameters
    ----------
    parts : Parts
        What it is made of.

    Returns
    -------
    callable
        ASGI application.
    """
    signing.ensure(parts.home)
    seal = cursor.ensure(parts.home)
    search = item_search.ItemSearch(parts.catalog)
    record = audit.AuditLog(parts.home / "audit")
    pages = _Pages(parts, feed.Feed(parts.catalog, seal), download.Downloads(search, parts.store, record))
    told = _NoticePages(parts, seal)
    inner = stac_api.application(search, seal, told.coming)
    inner.router.routes.extend(
        (
            routing.Route("/feed", pages.feed_json),
            routing.Route("/feed.atom", pages.feed_atom),
            routing.Route("/notices", told.listing),
            routing.Route("/notices.atom", told.atom),
            routing.Route("/notices/{notice_id}", told.one),
            routing.Route("/latest/{collection}", pages.latest),
            routing.Route("/item/{item_id}", pages.item),
            routing.Route("/download/{item_id}/{revision}/{name}", pages.download),
            routing.Route("/health", pages.health),
            routing.Route("/.well-known/terralimb-keys.json", pages.public_keys),
        )
    )
    api_description.describe(inner, open_paths=OPEN_PATHS, scope_of=_scope_of)
    inner.add_exception_handler(Exception, _failed)
    inner.add_exception_handler(exceptions.HTTPException, _refused)
    inner.add_exception_handler(404, _not_found)
    inner.add_exception_handler(405, _not_allowed)
    return _Gate(inner, parts, record)


class _Gate:
    """Recognizes who asks, holds to the limits, and lets nothing out that is not meant for them."""

    def __init__(self, inner: Any, parts: Parts, record: audit.AuditLog) -> None:
        self.inner = inner
        self.parts = parts
        self.record = record
        self.shares = fair_share.FairShare(parts.limits, time.monotonic)
        self.refusals = fair_share.Refusals(parts.refusals, time.monotonic)
        self._threads_limited = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._threads_limited:
            # More threads than this only take the interpreter from each other.
            to_thread.current_default_thread_limiter().total_tokens = _THREADS
            self._threads_limited = True
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        scope["request_id"] = secrets.token_hex(8)
        started, head = False, scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}

        async def guarded(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS, _request_id(scope)]
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._answered(scope, receive, guarded)
        except Exception:  # noqa: BLE001  the last door of the service
            # The person is given a name to ask about; what went wrong is for the log.
            _LOG.exception("request %s failed", scope["request_id"])
            if not started:
                await _failure(scope)(scope, receive, guarded)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._note_overdue(scope)
        try:
            answer = await self._refusal(scope)
            if answer is not None:
                await answer(scope, receive, send)
                return
            principal = scope.get("principal")
            async with self.shares.taken(principal.agency if principal else f"open {_client(scope)}"):
                await (await self._denial(scope) or self.inner)(scope, receive, send)
        except fair_share.TooManyRequestsError as error:
            wait = {"Retry-After": str(math.ceil(error.retry_after))}
            await _error(429, "TooManyRequests", str(error), wait)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> responses.Response | None:
        """Why the request is nobody's; None where it goes on, with its principal in the scope."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > _BODY_LIMIT or b"transfer-encoding" in headers:
            return _error(413, "TooLarge", f"a request holds at most {_BODY_LIMIT} octets and says how many")
        authorization = headers.get(b"authorization")
        if authorization is None and scope["path"] in OPEN_PATHS:
            return None
        text = None if authorization is None else authorization.decode("latin-1")
        try:
            principal = await concurrency.run_in_threadpool(
                self.parts.identities.authenticate, text, now=self.parts.clock()
            )
        except identity.IdentityRefusedError as error:
            await self._note(scope, f"open {_client(scope)}", error.cause, key_id=error.key_id)
            challenge = {"WWW-Authenticate": 'Bearer realm="terralimb"'}
            return _error(401, "Unauthorized", str(error), challenge)
        scope["principal"] = principal
        return None

    async def _denial(self, scope: Scope) -> responses.Response | None:
        """Why whoever asks does not get it; None where they may."""
        if b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
            return _error(400, "BadRequest", "a parameter holds no NUL")
        if "\x00" in scope["path"]:
            return _error(404, "NotFound", "there is nothing at this address")
        principal, needed = scope.get("principal"), _scope_of(scope["path"])
        if principal is None or needed is None or needed in principal.scopes or scope["path"] in OPEN_PATHS:
            return None
        said = {"agency": principal.agency, "key_id": principal.key_id}
        await self._note(scope, f"agency {principal.agency}", "scope_missing", **said)
        return _error(403, "Forbidden", f"this key is not allowed to {needed}")

    async def _note(self, scope: Scope, origin: str, cause: str, **said: Any) -> None:
        """Write a refusal down; raises `fair_share.TooManyRequestsError` where there were too many of this origin."""
        before = self.refusals.counted(origin)
        entry = audit.Entry(
            event="authenticate",
            decision="refused",
            cause=cause,
            request_id=scope["request_id"],
            address=_client(scope),
            unrecorded=before or None,
            **said,
        )
        await concurrency.run_in_threadpool(self.record.record, entry, now=self.parts.clock())

    async def _note_overdue(self, scope: Scope) -> None:
        """Write down how many were refused unrecorded of those who have not come back."""
        for origin, number in self.refusals.overdue().items():
            kind, _, name = origin.partition(" ")
            who: dict[str, Any] = {"agency": name} if kind == "agency" else {"address": name}
            entry = audit.Entry(
                event="authenticate",
                decision="refused",
                cause="too_many",
                request_id=scope["request_id"],
                unrecorded=number,
                **who,
            )
            try:
                await concurrency.run_in_threadpool(self.record.record, entry, now=self.parts.clock())
            except Exception:  # noqa: BLE001  whoever asks now has nothing to do with them
                _LOG.exception("%s refusals of %s were not written down", number, origin)


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"private, no-store"),
)


class _Pages:
    """Answers outside the catalogue."""

    def __init__(self, parts: Parts, announcements: feed.Feed, downloads: download.Downloads) -> None:
        self.parts = parts
        self.announcements = announcements
        self.downloads = downloads

    async def feed_json(self, request: requests.Request) -> responses.Response:
        """Announcements after a position."""
        try:
            wanted = _feed_request(request)
            page = await concurrency.run_in_threadpool(
                self.announcements.read, _principal(request), wanted, _address(request)
            )
        except (cursor.CursorError, ValueError) as error:
            return _error(400, "BadRequest", str(error))
        following = request.url.include_query_params(after=page.cursor)
        body = {"announcements": page.announcements, "cursor": page.cursor, "more": page.more, "next": str(following)}
        return responses.JSONResponse(body)

    async def feed_atom(self, request: requests.Request) -> responses.Response:
        """The newest announcements for feed readers."""
        try:
            wanted = _feed_request(request)
        except ValueError as error:
            return _error(400, "BadRequest", str(error))
        told = await concurrency.run_in_threadpool(
            self.announcements.newest, _principal(request), wanted, _address(request)
        )
        body = feed.atom(told, self_href=str(request.url), updated=self.parts.clock())
        return responses.Response(body, media_type="application/atom+xml")

    async def latest(self, request: requests.Request) -> responses.Response:
        """Lead to the newest item of a collection that whoever asks may see."""
        wanted = item_search.SearchRequest(collections=(request.path_params["collection"],), limit=1)
        page = await concurrency.run_in_threadpool(self.downloads.search.search, _principal(request), wanted)
        if not page.items:
            return _error(404, "NotFound", "there is no such collection, or no item in it")
        (item,) = page.items
        place = _address(request)("stac", "collections", item.collection, "items", item.item_id)
        return responses.Response(status_code=307, headers={"Location": place})

    async def item(self, request: requests.Request) -> responses.Response:
        """Lead to an item by its identity alone, or say why it is gone: a search never shows one that is."""
        found = await concurrency.run_in_threadpool(
            self.downloads.search.item, _principal(request), request.path_params["item_id"]
        )
        if found is None:
            return _error(404, "NotFound", "there is no such item")
        if found.state in {"withdrawn", "expired"}:
            what = "was withdrawn" if found.state == "withdrawn" else "has expired"
            return _error(410, "Withdrawn", f"{found.item_id} {what}: {found.state_reason}")
        place = _address(request)("stac", "collections", found.collection, "items", found.item_id)
        return responses.Response(status_code=307, headers={"Location": place})

    async def download(self, request: requests.Request) -> responses.Response:
        """Lead to a file of an item."""
        given = request.path_params
        if not given["revision"].isascii() or not given["revision"].isdigit() or len(given["revision"]) > 9:
            return _error(404, "NotFound", "there is no such revision")
        try:
            link = await concurrency.run_in_threadpool(
                self.downloads.link,
                _principal(request),
                item_id=given["item_id"],
                revision=int(given["revision"]),
                name=given["name"],
                now=self.parts.clock(),
                request_id=request.scope["request_id"],
                client=_client(request.scope),
            )
        except download.NoSuchFileError as error:
            return _error(404, "NotFound", str(error))
        except download.ItemWithdrawnError as error:
            return _error(410, "Withdrawn", str(error))
        headers = {"Location": link.url, "X-Link-Expires": link.expires_at.isoformat()}
        if link.sha256 is not None:
            headers |= {"X-Content-SHA256": link.sha256, "X-Content-Size": str(link.size)}
        return responses.Response(status_code=307, headers=headers)

    async def health(self, request: requests.Request) -> responses.Response:
        """Whether the service lives; for operators, how everything is."""
        principal = request.scope.get("principal")
        catalog, home, now = self.parts.catalog, self.parts.home, self.parts.clock()
        if principal is not None and "operate" in principal.scopes:
            report = await concurrency.run_in_threadpool(health.report, catalog, home=home, now=now)
            return responses.JSONResponse(report)
        said = await concurrency.run_in_threadpool(health.status, catalog, home=home, now=now)
        return responses.JSONResponse({"status": said})

    async def public_keys(self, _request: requests.Request) -> responses.Response:
        """The keys that verify manifests, retired and revoked ones marked."""
        document = await concurrency.run_in_threadpool(lambda: signing.document(signing.public_keys(self.parts.home)))
        return responses.JSONResponse(document)


class _NoticePages:
    """What will change, for whoever has a key."""

    def __init__(self, parts: Parts, seal: cursor.CursorSeal) -> None:
        self.parts = parts
        self.notices = notices.Notices(parts.catalog)
        self.seal = seal

    def coming(self) -> tuple[notice.Notice, ...]:
        """Notices still to be heeded, the next to take effect first."""
        now = self.parts.clock()
        return tuple(one for one in reversed(self.notices.current()) if notice.coming(one, now))

    async def listing(self, request: requests.Request) -> responses.Response:
        """Every notice as it stands now; with a position, every revision after it."""
        principal, after = _principal(request), request.query_params.get("after")
        try:
            limit = notices.PAGE_LIMIT if after is None else int(request.query_params.get("limit", "100"))
            page = await concurrency.run_in_threadpool(
                lambda: self.notices.read(principal, self.seal, after or None, limit=limit)
            )
        except cursor.CursorError as error:
            return _error(400, "BadRequest", str(error))
        except ValueError:
            return _error(400, "BadRequest", "limit is a whole number")
        told, position, more = page
        shown = [one for _, one in told]
        if after is None:
            shown = list(await concurrency.run_in_threadpool(self.notices.shown, principal))
        following = str(request.url.include_query_params(after=position))
        body = {"notices": self._messages(request, shown), "cursor": position, "more": more, "next": following}
        return responses.JSONResponse(body)

    async def one(self, request: requests.Request) -> responses.Response:
        """One notice with all its revisions."""
        found = await concurrency.run_in_threadpool(
            self.notices.revisions, _principal(request), request.path_params["notice_id"]
        )
        if not found:
            return _error(404, "NotFound", "there is no such notice")
        revisions = self._messages(request, found)
        return responses.JSONResponse({**revisions[-1], "revisions": revisions})

    async def atom(self, request: requests.Request) -> responses.Response:
        """The newest revisions for feed readers."""
        found = await concurrency.run_in_threadpool(self.notices.newest, _principal(request))
        told = self._messages(request, found)
        body = feed.notices_atom(told, self_href=str(request.url), updated=self.parts.clock())
        return responses.Response(body, media_type="application/atom+xml")

    @staticmethod
    def _messages(request: requests.Request, found: Sequence[notice.Notice]) -> list[dict[str, Any]]:
        address = _address(request)
        return [notice.message(one, address) for one in found]


def _scope_of(path: str) -> entitlement.Scope | None:
    return _NEEDED.get(path.strip("/").partition("/")[0].partition(".")[0])


def _principal(request: requests.Request) -> entitlement.Principal:
    found: entitlement.Principal = request.scope["principal"]
    return found


def _feed_request(request: requests.Request) -> feed.FeedRequest:
    given = request.query_params
    try:
        limit = int(given.get("limit", "100"))
    except ValueError:
        raise ValueError("limit is a whole number") from None
    code = given.get("adcode")
    if code is not None and not (code.isascii() and code.isdigit() and len(code) <= 12):
        raise ValueError("adcode is a code of GB/T 2260, digits only")
    wanted = next((name for name in streams.STREAMS if name == given.get("stream", streams.OPERATIONAL)), None)
    if wanted is None:
        raise ValueError(f"stream is one of {', '.join(streams.STREAMS)}")
    return feed.FeedRequest(
        after=given.get("after") or None,
        sector=given.get("sector"),
        product=given.get("product"),
        adcode=code,
        stream=wanted,
        limit=limit,
    )


def _address(request: requests.Request) -> Callable[..., str]:
    base = str(request.base_url).rstrip("/")
    return lambda *parts: "/".join((base, *(urllib.parse.quote(part, safe="") for part in parts)))


def _client(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


def _request_id(scope: Scope) -> tuple[bytes, bytes]:
    return b"x-request-id", scope["request_id"].encode()


def _error(status: int, code: str, description: str, headers: dict[str, str] | None = None) -> responses.Response:
    body = json.dumps({"code": code, "description": description}, ensure_ascii=False)
    return responses.Response(body, status_code=status, media_type="application/json", headers=headers)


def _failure(scope: Scope) -> responses.Response:
    return _error(500, "InternalError", f"the service failed; it is written down under {scope['request_id']}")


async def _failed(request: requests.Request, _error_raised: Exception) -> responses.Response:
    return _failure(request.scope)


async def _refused(_request: requests.Request, error: Exception) -> responses.Response:
    """Word a refusal of the libraries like every other."""
    if not isinstance(error, exceptions.HTTPException):
        raise error
    code = http.HTTPStatus(error.status_code).phrase.title().replace(" ", "")
    return _error(error.status_code, code, str(error.detail), dict(error.headers or {}))


async def _not_found(_request: requests.Request, _error_raised: Exception) -> responses.Response:
    return _error(404, "NotFound", "there is nothing at this address")


async def _not_allowed(_request: requests.Request, error: Exception) -> responses.Response:
    headers = dict(getattr(error, "headers", None) or {})
    return _error(405, "MethodNotAllowed", "this address does not take that method", headers)
