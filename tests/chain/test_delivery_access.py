"""Whoever holds a link may read one file until it ends; no other way leads to any content of the real store."""

import base64
import dataclasses
import datetime as dt
import hashlib
import hmac
import http.client
import json
import secrets
import time
import urllib.parse
from collections.abc import Iterator, Mapping

import pytest

from infra import catalog_store, database, object_store, publication
from infra.delivery import audit, download, entitlement, item_search
from infra.embedded import object_store_server
from tests.chain import open_water

pytestmark = pytest.mark.chain

NOON = open_water.NOON
NAME, OTHER = open_water.NAME, "open-water-extent-cq-20210902t032000z"
BUCKET = "tl-access"
CATALOGUE_BUCKET = "tl-access-cat"
#: Stands in every content of the store, so that no answer can give any away unseen.
MARK = b"terralimb-content-"
FIELDS = dataclasses.replace(open_water.FIELDS, title=f"Open water extent {MARK.decode()}")
AGENCY = entitlement.Principal(
    agency="cq-water",
    key_id="k1",
    sectors=frozenset({"transport"}),
    districts=None,
    scopes=frozenset({"search", "download", "feed"}),
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; names of headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Desk:
    """A store with two published items, and links to their files."""

    server: object_store_server.RunningServer
    store: object_store.ObjectStore
    downloads: download.Downloads
    keys: Mapping[str, Mapping[str, str]]

    @property
    def key(self) -> str:
        """Key of the file the link is for."""
        return self.keys[NAME]["data.tif"]

    def link(self, name: str = "data.tif", item_id: str = NAME) -> str:
        now = dt.datetime.now(dt.UTC)
        return self.downloads.link(
            AGENCY, item_id=item_id, revision=1, name=name, now=now, request_id="r1", client="127.0.0.1"
        ).url

    def ask(self, target: str, *, port: str = "s3", method: str = "GET", **headers: str) -> Answer:
        """Send a target exactly as it stands: client libraries would tidy it first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.ports[port], timeout=20)
        connection._validate_path = lambda _url: None  # type: ignore[attr-defined]
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            body = b"planted" if method in {"PUT", "POST"} else None
            connection.request(method, target, body=body, headers=given)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def target_of(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.path}?{parts.query}"


def query_of(url: str) -> str:
    return urllib.parse.urlsplit(url).query


def changed(url: str, **fields: str | None) -> str:
    """The target of a link with some fields of its query replaced, added, or (None) left out."""
    parts = urllib.parse.urlsplit(url)
    query = dict(urllib.parse.parse_qsl(parts.query)) | {key.replace("_", "-"): to for key, to in fields.items()}
    return f"{parts.path}?{urllib.parse.urlencode({key: to for key, to in query.items() if to is not None})}"


def assert_refused(answer: Answer, said: object) -> None:
    assert 400 <= answer.status < 500, (said, answer)
    assert MARK not in answer.body, said
    assert b"Contents" not in answer.body, said
    assert "etag" not in answer.headers, said


def _published(
    store: object_store.ObjectStore, catalog: catalog_store.CatalogStore, item_id: str, sector: str
) -> Mapping[str, str]:
    body = MARK + item_id.encode() + secrets.token_bytes(5000)
    done = publication.publish_package(
        item_id=item_id,
        collection="open-water-extent",
        sector=sector,
        fields=FIELDS,
        assets={
            "data.tif": publication.AssetContent(body, "image/tiff", ("data",), title="Data"),
            "statistics.json": publication.AssetContent(
                json.dumps({"of": MARK.decode()}).encode(), "application/json", ("metadata",)
            ),
        },
        store=store,
        catalog=catalog,
        bucket=BUCKET,
        key_prefix=f"open-water-extent/v1/{item_id[-16:-12]}",
        catalogue_bucket=CATALOGUE_BUCKET,
    )
    return done.keys


@pytest.fixture(scope="module")
def desk(
    server: object_store_server.RunningServer,
    store: object_store.ObjectStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("access")
    url = f"sqlite:///{home / 'terralimb.sqlite'}"
    database.upgrade(url)
    catalog = catalog_store.CatalogStore(database.engine(url))
    for name in (BUCKET, CATALOGUE_BUCKET):
        store.create_bucket(name)
    keys = {
        item_id: _published(store, catalog, item_id, sector)
        for item_id, sector in ((NAME, "transport"), (OTHER, "ecology"))
    }
    downloads = download.Downloads(item_search.ItemSearch(catalog), store, audit.AuditLog(home / "audit"))
    yield Desk(server, store, downloads, keys)
    catalog.engine.dispose()


# What a link is for


def test_a_link_gives_its_file_whole_and_in_parts(desk: Desk) -> None:
    body = desk.store.read(BUCKET, desk.key)
    assert body.startswith(MARK)
    target = target_of(desk.link())
    whole = desk.ask(target)
    assert (whole.status, whole.body) == (200, body)
    assert f"{NAME}-r1-data.tif" in whole.headers["content-disposition"]
    part = desk.ask(target, Range="bytes=4000-", If_Match=whole.headers["etag"])
    assert (part.status, part.body) == (206, body[4000:])
    assert part.headers["content-range"] == f"bytes 4000-{len(body) - 1}/{len(body)}"
    other = desk.ask(target, Range="bytes=4000-", If_Match='"0123456789abcdef0123456789abcdef"')
    assert (other.status, MARK in other.body) == (412, False)


@pytest.mark.parametrize("name", ["item.json", "MANIFEST.json", "statistics.json"])
def test_every_file_of_an_item_has_a_link_of_its_own(desk: Desk, name: str) -> None:
    assert desk.ask(target_of(desk.link(name))).body == desk.store.read(BUCKET, desk.keys[NAME][name])


def test_no_link_is_made_to_the_item_of_another_sector(desk: Desk) -> None:
    with pytest.raises(download.NoSuchFileError):
        desk.link(item_id=OTHER)


# Links that end, are altered, or are another's


def test_a_link_ends(desk: Desk) -> None:
    url = desk.store.presigned_url(BUCKET, desk.key, lifetime=2)
    assert desk.ask(target_of(url)).status == 200
    time.sleep(3.2)
    assert_refused(desk.ask(target_of(url)), "expired")
    assert_refused(desk.ask(changed(url, X_Amz_Expires="3600")), "expired, and said to hold longer")
    now = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
    assert_refused(desk.ask(changed(url, X_Amz_Date=now)), "expired, and said to be made now")


def test_an_altered_link_is_refused(desk: Desk) -> None:
    url = desk.link()
    assert desk.ask(changed(url)).status == 200  # taking it apart and putting it together alters nothing
    query = dict(urllib.parse.parse_qsl(query_of(url)))
    signature = query["X-Amz-Signature"]
    flipped = ("0" if signature[0] != "0" else "1") + signature[1:]
    alterations: dict[str, dict[str, str | None]] = {
        "signature, first digit": {"X_Amz_Signature": flipped},
        "signature, cut": {"X_Amz_Signature": signature[:-1]},
        "signature, empty": {"X_Amz_Signature": ""},
        "signature, none": {"X_Amz_Signature": None},
        "expiry, longer": {"X_Amz_Expires": "43200"},
        "expiry, shorter": {"X_Amz_Expires": "60"},
        "expiry, none": {"X_Amz_Expires": None},
        "expiry, negative": {"X_Amz_Expires": "-1"},
        "expiry, beyond a week": {"X_Amz_Expires": "99999999"},
        "date, tomorrow": {"X_Amz_Date": f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=1):%Y%m%dT%H%M%SZ}"},
        "algorithm": {"X_Amz_Algorithm": "none"},
        "credential, other key": {"X_Amz_Credential": "TL0000" + query["X-Amz-Credential"].partition("/")[2]},
        "credential, none": {"X_Amz_Credential": None},
        "signed headers, none": {"X_Amz_SignedHeaders": ""},
        "name of the saved file": {"response_content_disposition": "inline"},
        "type of the saved file": {"response_content_type": "text/html"},
        "version": {"versionId": "null"},
    }
    for said, fields in alterations.items():
        assert_refused(desk.ask(changed(url, **fields)), said)


def test_a_link_opens_no_other_key_or_bucket(desk: Desk) -> None:
    query = query_of(desk.link())
    others = [f"/{BUCKET}/{key}" for keys in desk.keys.values() for key in keys.values() if key != desk.key]
    folder = desk.key.rpartition("/")[0]
    others += [f"/{CATALOGUE_BUCKET}/{desk.key}", f"/tl-staging/{desk.key}", f"/{BUCKET}/{folder}/", f"/{BUCKET}/"]
    others += [f"/{CATALOGUE_BUCKET}/{entry.key}" for entry in desk.store.list(CATALOGUE_BUCKET, "")]
    assert len(others) > 10
    for path in others:
        assert_refused(desk.ask(f"{path}?{query}"), path)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "HEAD", "PATCH", "TRACE", "COPY"])
def test_a_link_to_read_does_nothing_else(desk: Desk, method: str) -> None:
    before = desk.store.read(BUCKET, desk.key)
    for target in (target_of(desk.link()), f"/{BUCKET}/planted.txt?{query_of(desk.link())}"):
        assert_refused(desk.ask(target, method=method), (method, target.partition("?")[0]))
    assert_refused(desk.ask(f"{target_of(desk.link())}&uploads", method=method), "uploads")
    assert desk.store.read(BUCKET, desk.key) == before
    assert not desk.store.exists(BUCKET, "planted.txt")


def test_asking_for_the_options_tells_nothing_of_a_file(desk: Desk) -> None:
    # A question before the request itself, which the server answers to everybody, and the same for what is not there.
    there, nowhere = (desk.ask(f"/{BUCKET}/{key}", method="OPTIONS") for key in (desk.key, "nowhere"))
    assert (there.status, there.body) == (nowhere.status, nowhere.body) == (200, b"")
    assert set(there.headers) == set(nowhere.headers)
    assert "etag" not in there.headers


def test_a_link_signed_by_another_key_is_refused(desk: Desk) -> None:
    own = desk.server.credentials
    strangers = (
        dataclasses.replace(own, secret_key=secrets.token_urlsafe(32)),
        dataclasses.replace(own, access_key="TL0000STRANGER"),
        dataclasses.replace(own, secret_key=own.secret_key[:-1]),
        object_store.Credentials("anonymous", "anonymous"),
    )
    for stranger in strangers:
        with object_store_of(desk, stranger) as store:
            assert_refused(desk.ask(target_of(store.presigned_url(BUCKET, desk.key, lifetime=900))), stranger)


class object_store_of:  # noqa: N801 - reads as a context
    """The store with another's credentials, closed in the end."""

    def __init__(self, desk: Desk, credentials: object_store.Credentials) -> None:
        self._store = object_store.ObjectStore(
            endpoint=desk.server.endpoint_url, credentials=credentials, region=desk.server.region
        )

    def __enter__(self) -> object_store.ObjectStore:
        return self._store

    def __exit__(self, *_error: object) -> None:
        self._store.close()


def test_a_link_for_another_store_or_region_is_refused(desk: Desk) -> None:
    elsewhere = object_store.ObjectStore(
        endpoint="http://127.0.0.1:9", credentials=desk.server.credentials, region=desk.server.region
    )
    assert_refused(desk.ask(target_of(elsewhere.presigned_url(BUCKET, desk.key, lifetime=900))), "other host")
    elsewhere.close()


# No link at all


def test_nothing_is_given_to_whoever_has_no_link(desk: Desk) -> None:
    listings = ("", "?list-type=2", "?versions", "?uploads", "?location", "?acl", "?policy", "?prefix=open-water")
    paths = [f"/{BUCKET}{listing}" for listing in listings] + [f"/{BUCKET}/{listing}" for listing in listings]
    paths += [f"/{BUCKET}/{key}" for key in desk.keys[NAME].values()]
    paths += [f"/{BUCKET}/{desk.key}{ask}" for ask in ("?acl", "?tagging", "?attributes", "?metadata=true", "?torrent")]
    paths += [f"/{CATALOGUE_BUCKET}/?list-type=2", "/", "/?list-type=2", "/buckets/", f"/buckets/{BUCKET}/{desk.key}"]
    for path in paths:
        for method in ("GET", "HEAD"):
            assert_refused(desk.ask(path, method=method), (method, path))


def test_a_link_lists_nothing(desk: Desk) -> None:
    query = query_of(desk.link())
    for path in ("/", f"/{BUCKET}", f"/{BUCKET}/", f"/{CATALOGUE_BUCKET}/"):
        for ask in ("", "&list-type=2", "&versions", "&prefix=", "&uploads", "&policy"):
            assert_refused(desk.ask(f"{path}?{query}{ask}"), (path, ask))


def test_headers_of_a_stranger_open_nothing(desk: Desk) -> None:
    for headers in (
        {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20210901/us-east-1/s3/aws4_request"},
        {"Authorization": "AWS anonymous:x"},
        {"Authorization": "Basic YW5vbnltb3VzOg=="},
        {"X_Amz_Security_Token": "x"},
        {"X_Forwarded_For": "127.0.0.1", "X_Forwarded_Host": "127.0.0.1"},
        {"X_HTTP_Method_Override": "GET"},
        {"Host": f"{BUCKET}.127.0.0.1"},
    ):
        for path in (f"/{BUCKET}/{desk.key}", f"/{BUCKET}/?list-type=2", f"/{desk.key}"):
            assert_refused(desk.ask(path, **headers), (headers, path))


@pytest.mark.parametrize("scheme", ["Bearer", "Negotiate"])
def test_a_scheme_the_store_does_not_know_opens_nothing(desk: Desk, scheme: str) -> None:
    for path in (f"/{BUCKET}/{desk.key}", f"/{BUCKET}/?list-type=2"):
        answer = desk.ask(path, Authorization=f"{scheme} x")
        assert 400 <= answer.status <= 501  # 501 where the server says that it does not know the scheme
        assert MARK not in answer.body
        assert b"Contents" not in answer.body


# Tricks with paths


def _tricks(key: str, other: str) -> Iterator[str]:
    """Paths that begin as that of one file and might end as that of another, or of none."""
    ups = "../" * (key.count("/") + 1)
    yield f"/{BUCKET}/{key}/../{other.rpartition('/')[2]}"
    yield f"/{BUCKET}/{key}/{ups}{other}"
    yield f"/{BUCKET}/{key}/{ups.replace('../', '%2e%2e/')}{other}"
    yield f"/{BUCKET}/{key}/{ups.replace('../', '..%2f')}{other}"
    yield f"/{BUCKET}/{key}/{ups.replace('../', '%252e%252e%252f')}{other}"
    yield f"/{BUCKET}/{key}/{ups.replace('../', '..%5c')}{other}"
    yield f"/{CATALOGUE_BUCKET}/../{BUCKET}/{other}"
    yield f"/{BUCKET}//{other}"
    yield f"//{BUCKET}/{other}"
    yield f"/./{BUCKET}/{other}"
    yield f"/{BUCKET}/./{other}"
    yield f"/{BUCKET}/{other}%00"
    yield f"/{BUCKET}/{other}%00{key}"
    yield f"/{BUCKET}/{other}/"
    yield f"/{BUCKET}/{other}%3f"
    yield f"/{BUCKET}/{other};{key}"
    yield f"/{BUCKET}/{other}%23{key}"
    yield f"/{BUCKET}%2f{other}"
    yield f"/{BUCKET.upper()}/{other}"
    yield f"/buckets/{BUCKET}/{other}"
    yield f"/../buckets/{BUCKET}/{other}"
    yield f"/{BUCKET}/../../etc/passwd"
    yield f"/{BUCKET}/..%2f..%2f..%2f..%2fetc%2fpasswd"
    yield f"http://127.0.0.1/{BUCKET}/{other}"


def test_no_trick_with_the_path_leads_a_link_elsewhere(desk: Desk) -> None:
    query = query_of(desk.link())
    for other in (desk.keys[NAME]["statistics.json"], desk.keys[OTHER]["data.tif"]):
        for path in _tricks(desk.key, other):
            for target in (path, f"{path}?{query}"):
                assert_refused(_settled(desk, target), target.partition("?")[0])


def _settled(desk: Desk, target: str) -> Answer:
    """Follow a redirect, which gives no content itself, to where it leads."""
    for _ in range(5):
        answer = desk.ask(target)
        if not 300 <= answer.status < 400:
            return answer
        assert MARK not in answer.body
        target = answer.headers["location"]
    raise AssertionError(target)


def test_a_link_never_signs_for_more_than_one_key(desk: Desk) -> None:
    # A key that holds what looks like a query or a way up stays one key.
    for key in ("a?list-type=2", "a/../b", "a%2e%2e/b", "a#b", "a&X-Amz-Expires=9"):
        url = desk.store.presigned_url(BUCKET, key, lifetime=900)
        answer = desk.ask(target_of(url))
        assert_refused(answer, key)


# The ports behind the S3 interface


def _token(desk: Desk, section: str, **claims: object) -> str:
    """A token as the server's own parts use among themselves."""
    text = (desk.server.home / "object_store" / "security.toml").read_text()
    key = text.partition(f"[{section}]\n")[2].split('"')[1]
    parts = [{"alg": "HS256", "typ": "JWT"}, {"exp": int(time.time()) + 60, **claims}]
    said = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{said}.{_base64(hmac.new(key.encode(), said.encode(), hashlib.sha256).digest())}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _chunk(desk: Desk) -> str:
    """Where the volume interface keeps the file."""
    token = _token(desk, "jwt.filer_signing.read")
    answer = desk.ask(f"/buckets/{BUCKET}/{desk.key}?metadata=true", port="filer", Authorization=f"Bearer {token}")
    assert answer.status == 200, answer
    return str(json.loads(answer.body)["chunks"][0]["file_id"])


def test_the_filer_gives_nothing_without_a_token(desk: Desk) -> None:
    path = f"/buckets/{BUCKET}/{desk.key}"
    token = _token(desk, "jwt.filer_signing.read")
    assert desk.ask(path, port="filer", Authorization=f"Bearer {token}").body.startswith(MARK)  # it does lie there
    forged = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    unsigned = ".".join((_base64(b'{"alg":"none","typ":"JWT"}'), _base64(b'{"exp":9999999999}'), ""))
    query = query_of(desk.link())
    chunk = _chunk(desk)
    for bearer in ("", "Bearer x", f"Bearer {forged}", f"Bearer {unsigned}"):
        headers = {"Authorization": bearer} if bearer else {}
        for target in (
            path,
            f"{path}?{query}",
            f"{path}?metadata=true",
            f"{path}?proxyChunkId={chunk}",
            f"/?proxyChunkId={chunk}",
            f"/buckets/{BUCKET}/",
            f"/buckets/{BUCKET}/?pretty=y&limit=1000",
            "/buckets/",
            "/",
            "/etc/iam/identity.json",
        ):
            assert_refused(desk.ask(target, port="filer", **headers), (bearer, target))


def test_the_volumes_give_nothing_without_a_token(desk: Desk) -> None:
    chunk = _chunk(desk)
    token = _token(desk, "jwt.signing.read", fid=chunk)
    given = desk.ask(f"/{chunk}", port="volume", Authorization=f"Bearer {token}")
    assert (given.status, given.body[: len(MARK)]) == (200, MARK)  # it does lie there
    query = query_of(desk.link())
    other = _token(desk, "jwt.signing.read", fid="1,0000000000")
    volume, _, needle = chunk.partition(",")
    targets = (chunk, f"{chunk}?{query}", f"{volume}/{needle}", f"{volume}/{needle}/data.tif", f"{chunk}.tif")
    for bearer in ("", "Bearer x", f"Bearer {other}"):
        headers = {"Authorization": bearer} if bearer else {}
        for target in targets:
            for method in ("GET", "DELETE", "PUT"):
                answer = desk.ask(f"/{target}", port="volume", method=method, **headers)
                assert_refused(answer, (bearer, method, target))
    assert desk.store.read(BUCKET, desk.key).startswith(MARK)


def test_the_master_names_places_and_gives_no_content(desk: Desk) -> None:
    chunk = _chunk(desk)
    answer = desk.ask(f"/{chunk}", port="master")
    assert MARK not in answer.body
    if 300 <= answer.status < 400:
        place = urllib.parse.urlsplit(answer.headers["location"])
        assert_refused(desk.ask(place.path, port="volume"), "where the master sends to")
    else:
        assert 400 <= answer.status < 500


# The test itself


def test_the_check_would_see_content_given_away(desk: Desk) -> None:
    with pytest.raises(AssertionError):
        assert_refused(desk.ask(target_of(desk.link())), "a good link")
    with pytest.raises(AssertionError):
        assert_refused(Answer(403, {}, b"x" + MARK), "content under a refusal")
