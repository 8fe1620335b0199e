"""Agencies in the real object store: each reads its own prefix and nothing else, by whatever way, until it ends."""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import http.client
import json
import posixpath
import secrets
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore import auth, awsrequest, exceptions
from botocore import credentials as botocore_credentials
from typer.testing import CliRunner

from infra import catalog_store, cli, database, object_store, publication, settings, signing
from infra.delivery import audit, fetching, health, mailbox, push, store_access, withdrawal
from infra.embedded import object_store_identities, object_store_server
from products import stac

pytestmark = pytest.mark.chain

NOON = dt.datetime(2021, 9, 1, 12, tzinfo=dt.UTC)
PRODUCTS, CATALOGUE, AGENCIES = "tl-sec-products", "tl-sec-catalogue", "tl-sec-agencies"
#: Stands in every content of the store, so that no answer can give any away unseen.
MARK = b"terralimb-content-"

#: What there is: identity, sector, districts.
ITEMS = (
    ("water-one", "ecology", ("500112",)),
    ("water-two", "ecology", ("500112", "500113")),
    ("water-all", "ecology", ()),
    ("road-one", "transport", ("500112",)),
)
#: Who gets what: worked out by hand from the rule.
EXPECTED = {
    "agency-a": {"water-one"},
    "agency-ab": {"road-one"},
    "agency-b": {"water-one", "water-two", "water-all"},
}
LIMITS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "agency-a": (("ecology",), ("500112",)),
    "agency-ab": (("transport",), None),
    "agency-b": (("ecology",), None),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; names of headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass
class Agencies:
    """A store with published items, three mailboxes filled from them, and credentials for each."""

    server: object_store_server.RunningServer
    store: object_store.ObjectStore
    catalog: catalog_store.CatalogStore
    home: Path
    boxes: dict[str, store_access.Mailbox]
    keys: dict[str, object_store.Credentials]

    def prefix(self, agency: str) -> str:
        return self.boxes[agency].prefix

    def key_in(self, agency: str, ending: str = "data.tif") -> str:
        """Some key in a mailbox."""
        return next(entry.key for entry in self.store.list(AGENCIES, self.prefix(agency)) if entry.key.endswith(ending))

    @contextlib.contextmanager
    def client(self, credentials: object_store.Credentials) -> Iterator[Any]:
        opened = object_store.connect_client(
            endpoint=self.server.endpoint_url, credentials=credentials, attempts=1, timeout=10
        )
        try:
            yield opened
        finally:
            opened.close()

    def fill(self) -> None:
        """Bring every mailbox up to date."""
        pusher = push.Pusher(catalog=self.catalog)
        for box in self.boxes.values():
            assert pusher.push(self.channel(box)).reason is None

    def channel(self, box: store_access.Mailbox) -> mailbox.MailboxChannel:
        return mailbox.MailboxChannel(
            box,
            self.catalog.engine,
            bucket=AGENCIES,
            store=lambda: self.store,
            record=audit.AuditLog(self.home / "audit"),
        )

    def admit(self, agency: str, *, seconds: float = 3600, policy: Mapping[str, Any] | None = None) -> str:
        """New credentials for a mailbox; returns their access key."""
        now = dt.datetime.now(dt.UTC)
        made = store_access.create(
            self.catalog.engine, self.boxes[agency], expires_at=now + dt.timedelta(seconds=seconds), now=now
        )
        guest = object_store_identities.guest(
            access_key=made.access_key,
            bucket=AGENCIES,
            prefix=self.prefix(agency),
            expires_at=dt.datetime.fromisoformat(made.expires_at),
        )
        if policy is not None:
            guest = dataclasses.replace(guest, policy=policy)
        object_store_server.admit(self.server.home, guest)
        self.keys[made.access_key] = guest.credentials
        return made.access_key

    def ask(self, target: str, *, port: str = "s3", method: str = "GET", **headers: str) -> Answer:
        """Send a target exactly as it stands: client libraries would tidy it first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.ports[port], timeout=20)
        connection._validate_path = lambda _url: None  # type: ignore[attr-defined]
        # Who waits for a certificate hangs up after the head; a body still on its way would then take the answer along.
        body = b"planted" if method in {"PUT", "POST"} and port != "master" else None
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def ask_signed(
        self,
        credentials: object_store.Credentials,
        target: str,
        *,
        signed_as: str | None = None,
        method: str = "GET",
        service: str = "s3",
        **headers: str,
    ) -> Answer:
        """Send a target as it stands, under a signature over it or over what the server may take it for."""
        body = b"planted" if method in {"PUT", "POST"} else b""
        request = awsrequest.AWSRequest(
            method=method, url=f"{self.server.endpoint_url}{signed_as or target}", data=body, headers=headers
        )
        keys = botocore_credentials.Credentials(credentials.access_key, credentials.secret_key)
        auth.S3SigV4Auth(keys, service, self.server.region).add_auth(request)
        return self.ask(target, method=method, **{**dict(request.headers.items()), **headers})


def assert_refused(answer: Answer, said: object) -> None:
    assert 300 <= answer.status < 500 or answer.status == 501, (said, answer)
    assert MARK not in answer.body, said
    assert b"<Contents>" not in answer.body, said
    assert b"<Prefix>agency" not in answer.body, said


def _publish(agencies_home: Path, store: object_store.ObjectStore, catalog: Any, item: tuple[str, str, Any]) -> None:
    name, sector, districts = item
    signing.ensure(agencies_home)
    fields = stac.ItemFields(
        product_code="open-water-extent",
        title=f"Open water extent {MARK.decode()}",
        title_zh="开阔水面范围",
        geometry={"type": "Polygon", "coordinates": [[[106, 29], [107, 29], [107, 30], [106, 30], [106, 29]]]},
        bbox=(106.0, 29.0, 107.0, 30.0),
        start=NOON,
        quality_level="rapid",
        admin_codes=districts,
    )
    publication.publish_package(
        item_id=name,
        collection="open-water-extent",
        sector=sector,
        fields=fields,
        assets={
            "data.tif": publication.AssetContent(
                MARK + name.encode() + secrets.token_bytes(4000), "image/tiff", ("data",), title="Data"
            )
        },
        store=store,
        catalog=catalog,
        bucket=PRODUCTS,
        key_prefix="open-water-extent/v1",
        catalogue_bucket=CATALOGUE,
        signer=lambda body, comment: signing.sign(agencies_home, body, comment),
    )


@pytest.fixture(scope="module")
def agencies(
    server: object_store_server.RunningServer,
    store: object_store.ObjectStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Agencies]:
    home = tmp_path_factory.mktemp("agencies")
    database.upgrade(f"sqlite:///{home / 't.sqlite'}")
    catalog = catalog_store.CatalogStore(database.engine(f"sqlite:///{home / 't.sqlite'}"))
    for name in (PRODUCTS, CATALOGUE, AGENCIES):
        store.create_bucket(name)
    for item in ITEMS:
        _publish(home, store, catalog, item)
    deleting = object_store.ObjectStore(
        endpoint=server.endpoint_url, credentials=server.credentials, staging_buckets={AGENCIES}
    )
    boxes = {
        agency: store_access.mailbox_of(agency=agency, sectors=sectors, districts=districts)
        for agency, (sectors, districts) in LIMITS.items()
    }
    made = Agencies(server, deleting, catalog, home, boxes, {})
    for agency in LIMITS:
        made.keys[agency] = made.keys[made.admit(agency)]
    made.fill()
    yield made
    object_store_server.dismiss(server.home, [found.access_key for found in made.keys.values()])
    deleting.close()
    catalog.engine.dispose()


# What a mailbox is for


def test_a_mailbox_holds_exactly_what_the_agency_may_have(agencies: Agencies) -> None:
    for agency, expected in EXPECTED.items():
        with agencies.client(agencies.keys[agency]) as client:
            found = client.list_objects_v2(Bucket=AGENCIES, Prefix=agencies.prefix(agency))["Contents"]
        items: dict[str, set[str]] = {}
        for entry in found:
            _agency, _box, _collection, item, _revision, name = entry["Key"].split("/")
            items.setdefault(item, set()).add(name)
        whole = {"data.tif", "item.json", "MANIFEST.json", "MANIFEST.json.minisig"}
        assert items == dict.fromkeys(expected, whole), agency


class _MailboxSource:
    """A mailbox as a source of verified downloads, with nothing but the agency's own credentials."""

    def __init__(self, agencies: Agencies, agency: str, client: Any) -> None:
        self._agencies, self._agency, self._client = agencies, agency, client

    def find(self, item_id: str) -> fetching.RemoteItem:
        body = self._client.get_object(Bucket=AGENCIES, Key=self._key(item_id, "item.json"))["Body"].read()
        assets = json.loads(body)["assets"]
        checksums = {name: asset["file:checksum"].removeprefix("1220") for name, asset in assets.items()}
        return fetching.RemoteItem(item_id=item_id, revision=1, checksums=checksums)

    def link(self, item: fetching.RemoteItem, name: str) -> fetching.Link:
        place = {"Bucket": AGENCIES, "Key": self._key(item.item_id, name)}
        url = str(self._client.generate_presigned_url("get_object", Params=place))
        # A mailbox states no hash of its manifests: the signature tells whose they are, the folder which revision.
        body = self._client.get_object(**place)["Body"].read()
        return fetching.Link(url=url, sha256=hashlib.sha256(body).hexdigest())

    def _key(self, item_id: str, name: str) -> str:
        prefix = f"{self._agencies.prefix(self._agency)}open-water-extent/{item_id}/r1-"
        found = self._client.list_objects_v2(Bucket=AGENCIES, Prefix=prefix).get("Contents", [])
        keys = [str(entry["Key"]) for entry in found if entry["Key"].endswith(f"/{name}")]
        if not keys:
            raise fetching.FetchError(f"no {name}")
        return keys[0]

    def public_keys(self) -> tuple[signing.PublicKey, ...]:
        return signing.public_keys(self._agencies.home)


def test_an_item_of_a_mailbox_is_fetched_and_verified_with_the_agencys_credentials_alone(
    agencies: Agencies, tmp_path: Path
) -> None:
    with agencies.client(agencies.keys["agency-a"]) as client:
        source = _MailboxSource(agencies, "agency-a", client)
        fetched = fetching.fetch(source, "water-one", tmp_path)
        assert {file.path.name for file in fetched.files} >= {"data.tif", "item.json"}
        assert (tmp_path / "water-one/r1/data.tif").read_bytes().startswith(MARK + b"water-one")
        with pytest.raises(fetching.FetchError):
            fetching.fetch(source, "water-two", tmp_path)


# Requests of a well-behaved client library to what is not the agency's


def _attempts(agencies: Agencies, client: Any, bucket: str, key: str) -> dict[str, Callable[[], Any]]:
    """Everything one could do to a key, in the words of the client library."""
    own = agencies.prefix("agency-a")
    place = {"Bucket": bucket, "Key": key}
    return {
        "get": lambda: client.get_object(**place)["Body"].read(),
        "get part": lambda: client.get_object(**place, Range="bytes=0-9")["Body"].read(),
        "get version": lambda: client.get_object(**place, VersionId="null")["Body"].read(),
        "head": lambda: client.head_object(**place),
        "attributes": lambda: client.get_object_attributes(**place, ObjectAttributes=["ETag"]),
        "tagging": lambda: client.get_object_tagging(**place),
        "acl": lambda: client.get_object_acl(**place),
        "retention": lambda: client.get_object_retention(**place),
        "list": lambda: client.list_objects_v2(Bucket=bucket, Prefix=key),
        "list, old way": lambda: client.list_objects(Bucket=bucket, Prefix=key),
        "list versions": lambda: client.list_object_versions(Bucket=bucket, Prefix=key),
        "list uploads": lambda: client.list_multipart_uploads(Bucket=bucket, Prefix=key),
        "copy out": lambda: client.copy_object(Bucket=AGENCIES, Key=f"{own}stolen", CopySource=place),
        "copy in": lambda: client.copy_object(
            **place, CopySource={"Bucket": AGENCIES, "Key": agencies.key_in("agency-a")}
        ),
        "put": lambda: client.put_object(**place, Body=b"planted"),
        "put beside": lambda: client.put_object(Bucket=bucket, Key=f"{key}.planted", Body=b"planted"),
        "delete": lambda: client.delete_object(**place),
        "delete many": lambda: _all_deleted(client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})),
        "upload in parts": lambda: client.create_multipart_upload(**place),
        "tag": lambda: client.put_object_tagging(**place, Tagging={"TagSet": []}),
        "set acl": lambda: client.put_object_acl(**place, ACL="public-read"),
        "restore": lambda: client.restore_object(**place, RestoreRequest={"Days": 1}),
    }


def _all_deleted(answer: Mapping[str, Any]) -> None:
    """Refusals of single keys come under a success of the whole."""
    if answer.get("Errors") and not answer.get("Deleted"):
        raise exceptions.ClientError({"Error": {"Code": "AccessDenied"}, **_status(403)}, "DeleteObjects")


def _status(code: int) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPStatusCode": code}}


def _refusals(attempts: Mapping[str, Callable[[], Any]]) -> dict[str, object]:
    """What was not refused, by name, with what came back."""
    open_doors: dict[str, object] = {}
    for name, attempt in attempts.items():
        try:
            open_doors[name] = attempt()
        except exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if not (400 <= status < 500 or status == 501):
                open_doors[name] = error.response
    return open_doors


def _everything(agencies: Agencies) -> dict[str, str | None]:
    return {
        f"{bucket}/{entry.key}": entry.etag
        for bucket in (PRODUCTS, CATALOGUE, AGENCIES)
        for entry in agencies.store.list(bucket)
    }


def test_nothing_outside_the_own_prefix_is_read_listed_or_changed(agencies: Agencies) -> None:
    product = next(entry.key for entry in agencies.store.list(PRODUCTS) if entry.key.endswith("data.tif"))
    before = _everything(agencies)
    for bucket, key in (
        (AGENCIES, agencies.key_in("agency-ab")),
        (AGENCIES, agencies.key_in("agency-b")),
        (AGENCIES, f"{agencies.prefix('agency-b')}nothing-there"),
        (PRODUCTS, product),
        (CATALOGUE, "latest"),
        ("tl-staging", "x"),
        ("tl-no-such-bucket", "x"),
    ):
        with agencies.client(agencies.keys["agency-a"]) as client:
            assert _refusals(_attempts(agencies, client, bucket, key)) == {}, (bucket, key)
    assert _everything(agencies) == before


def test_the_own_prefix_is_read_only(agencies: Agencies) -> None:
    before = _everything(agencies)
    reading = {"get", "get part", "get version", "head", "list", "list, old way", "attributes", "list versions"}
    with agencies.client(agencies.keys["agency-a"]) as client:
        attempts = _attempts(agencies, client, AGENCIES, agencies.key_in("agency-a"))
        assert _refusals({name: do for name, do in attempts.items() if name not in reading}) == {}
        assert attempts["get"]().startswith(MARK)
    assert _everything(agencies) == before


def test_the_same_request_answers_the_same_whether_or_not_another_agency_has_the_key(agencies: Agencies) -> None:
    there, nowhere = agencies.key_in("agency-b"), f"{agencies.prefix('agency-b')}nowhere"
    for method in ("GET", "HEAD"):
        answers = [
            agencies.ask_signed(agencies.keys["agency-a"], f"/{AGENCIES}/{key}", method=method)
            for key in (there, nowhere)
        ]
        assert {answer.status for answer in answers} == {403}


def test_no_bucket_is_listed_or_managed(agencies: Agencies) -> None:
    with agencies.client(agencies.keys["agency-a"]) as client:
        assert client.list_buckets().get("Buckets", []) == []
        calls: dict[str, Callable[[], Any]] = {}
        for bucket in (AGENCIES, PRODUCTS):
            calls |= _bucket_calls(client, bucket)
        assert _refusals(calls) == {}
    assert {AGENCIES, PRODUCTS, CATALOGUE} <= set(agencies.store.buckets())


def _bucket_calls(client: Any, bucket: str) -> dict[str, Callable[[], Any]]:
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everyone]})
    place = {"Bucket": bucket}
    own = {
        "head": lambda: client.head_bucket(**place),
        "policy": lambda: client.get_bucket_policy(**place),
        "set policy": lambda: client.put_bucket_policy(**place, Policy=policy),
        "delete policy": lambda: client.delete_bucket_policy(**place),
        "acl": lambda: client.get_bucket_acl(**place),
        "set acl": lambda: client.put_bucket_acl(**place, ACL="public-read-write"),
        "cors": lambda: client.put_bucket_cors(
            **place, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
        ),
        "versioning": lambda: client.put_bucket_versioning(**place, VersioningConfiguration={"Status": "Enabled"}),
        "lifecycle": lambda: client.get_bucket_lifecycle_configuration(**place),
        "ownership": lambda: client.put_bucket_ownership_controls(
            **place, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        ),
        "delete": lambda: client.delete_bucket(**place),
        "create beside": lambda: client.create_bucket(Bucket=f"{bucket}-planted"),
        "list all": lambda: client.list_objects_v2(**place),
        "list versions": lambda: client.list_object_versions(**place),
        "list uploads": lambda: client.list_multipart_uploads(**place),
    }
    return {f"{bucket}: {name}": call for name, call in own.items()}


@pytest.mark.parametrize("service", ["s3", "iam", "sts"])
def test_an_agency_manages_no_identity(agencies: Agencies, service: str) -> None:
    for action in (
        "ListUsers", "CreateUser&UserName=evil", "CreateAccessKey&UserName=installation", "GetUser",
        "ListAccessKeys", "PutUserPolicy&UserName=evil&PolicyName=p&PolicyDocument=%7B%7D", "ListPolicies",
        "AssumeRole&RoleArn=arn:aws:iam::000000000000:role/x&RoleSessionName=s", "GetSessionToken",
        "GetCallerIdentity", "GetFederationToken&Name=x",
    ):  # fmt: skip
        for method, target in (("POST", f"/?Action={action}&Version=2010-05-08"), ("GET", f"/?Action={action}")):
            answer = agencies.ask_signed(agencies.keys["agency-a"], target, method=method, service=service)
            if (method, answer.status) == ("GET", 200):  # taken for the list of its buckets, of which it has none
                assert b"<Buckets></Buckets>" in answer.body
            else:
                assert_refused(answer, (service, action, method))
            assert agencies.server.credentials.access_key.encode() not in answer.body


# Prefixes and paths that look alike


def _alike(own: str, other: str) -> Iterator[str]:
    """Paths that begin with the own prefix, or nearly, and might end as a key of another."""
    agency, box, _ = own.split("/")
    up = "../" * 2
    for step in ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "..\\", ".%2e/", "..;/", "..%00/"):
        yield f"{own}{step * 2}{other}"
        yield f"{own}x/{step * 3}{other}"
    yield f"{own}{up}{up}{AGENCIES}/{other}"
    yield f"{own}/{up}/{other}"
    yield f"./{other}"
    yield f"/{other}"
    yield f"//{other}"
    yield f"{own}/../../{other}"
    yield f"{agency}//{box}/{up}{other}"
    yield f"{own}%00/{up}{other}"
    yield f"{other}%00"
    yield f"{other}%00{own}"
    yield f"{other}?{own}"
    yield f"{other}%3f{own}"
    yield f"{other}#{own}"
    yield f"{other}%23{own}"
    yield f"{other};{own}"
    yield f"{other.upper()}"
    yield f"{other.replace('agency', 'ａｇｅｎｃｙ')}"
    yield urllib.parse.quote(other.replace("agency", "ａｇｅｎｃｙ"))
    yield urllib.parse.quote(other.replace("a", "á"))
    yield urllib.parse.quote(other.replace("-", "\u2011"))
    yield f"{other}%20"
    yield f"{other}/"
    yield f"{other}/."
    yield f"{other.replace('/', '%2f')}"
    yield f"{other.replace('/', '%252f')}"
    yield f"{other.replace('/', chr(92))}"


def _signatures(target: str) -> set[str]:
    """What the server may take a target for, to sign for each: a refusal must not rest on the signature alone."""
    path = target.partition("?")[0].partition("#")[0]
    plain = urllib.parse.unquote(path, errors="replace")
    forms = {target, path, urllib.parse.quote(plain), posixpath.normpath(plain), posixpath.normpath(path)}
    forms |= {urllib.parse.quote(posixpath.normpath(plain)), urllib.parse.quote(plain.replace("\\", "/"))}
    return {form if form.startswith("/") else f"/{form}" for form in forms if "\0" not in form and form.isascii()}


def _assert_no_way(agencies: Agencies, credentials: object_store.Credentials, own: str, other: str) -> None:
    for path in _alike(own, other):
        target = f"/{AGENCIES}/{path}"
        raw = target if target.isascii() else urllib.parse.quote(target, safe="/%?#;\\")
        past_the_signature = False
        for form in _signatures(raw):
            for method in ("GET", "HEAD"):
                answer = _settled(agencies, credentials, raw, form, method)
                assert_refused(answer, (method, path, form))
                past_the_signature |= method == "GET" and b"SignatureDoesNotMatch" not in answer.body
        # With a query or a fragment that is none of S3 no signature holds at all.
        assert past_the_signature or {"?", "#"} & set(path), path


def _settled(agencies: Agencies, credentials: object_store.Credentials, target: str, form: str, method: str) -> Answer:
    """Follow redirects, signed anew for where they lead: one must not launder a path."""
    for _ in range(4):
        answer = agencies.ask_signed(credentials, target, signed_as=form, method=method)
        if not 300 <= answer.status < 400 or "location" not in answer.headers:
            return answer
        assert MARK not in answer.body
        target = form = answer.headers["location"]
    return answer


@pytest.mark.parametrize("other", ["agency-ab", "agency-b"])
def test_no_path_that_begins_with_the_own_prefix_leads_out_of_it(agencies: Agencies, other: str) -> None:
    _assert_no_way(agencies, agencies.keys["agency-a"], agencies.prefix("agency-a"), agencies.key_in(other))


def test_the_raw_requests_are_signed_well(agencies: Agencies) -> None:
    good = agencies.ask_signed(agencies.keys["agency-a"], f"/{AGENCIES}/{agencies.key_in('agency-a')}")
    assert (good.status, good.body[: len(MARK)]) == (200, MARK)
    listing = f"/{AGENCIES}?list-type=2&prefix={urllib.parse.quote(agencies.prefix('agency-a'), safe='')}"
    assert b"<Contents>" in agencies.ask_signed(agencies.keys["agency-a"], listing).body


def _listings(own: str, other: str) -> Iterator[str]:
    quoted = {name: urllib.parse.quote(name, safe="") for name in (own, other)}
    agency = own.split("/", maxsplit=1)[0]
    for prefix in (
        "", "a", "agency", agency, f"{agency}b", f"{agency}-", f"/{own}", other, f"{other}x", f"{own}../../{other}",
        f"{own}%2e%2e/", f"{own}\0{other}", own.rstrip("/")[:-1], own.upper(), "*", f"{agency}*", "?" * len(own),
        f"{own}*/../..", "${aws:username}",
    ):  # fmt: skip
        for more in ("", "&delimiter=%2F", "&delimiter=", "&encoding-type=url", f"&start-after={quoted[other]}"):
            yield f"list-type=2&prefix={urllib.parse.quote(prefix, safe='')}{more}"
        yield f"prefix={urllib.parse.quote(prefix, safe='')}&marker={quoted[other]}"
        yield f"versions&prefix={urllib.parse.quote(prefix, safe='')}"
        yield f"uploads&prefix={urllib.parse.quote(prefix, safe='')}"
    yield "list-type=2"
    yield "list-type=2&delimiter=%2F"
    yield f"list-type=2&Prefix={quoted[own]}"
    yield f"list-type=2&prefix={quoted[other]}&prefix={quoted[own]}"
    yield f"list-type=2&prefix&prefix={quoted[own]}"
    yield ""


def test_no_listing_shows_another_prefix(agencies: Agencies) -> None:
    own = agencies.prefix("agency-a")
    for other in ("agency-ab", "agency-b"):
        for query in _listings(own, agencies.prefix(other)):
            for path in (f"/{AGENCIES}", f"/{AGENCIES}/"):
                answer = agencies.ask_signed(agencies.keys["agency-a"], f"{path}?{query}")
                if answer.status == 200:
                    _assert_shows_only(answer, own, query)
                else:
                    assert_refused(answer, query)


def _assert_shows_only(answer: Answer, own: str, said: str) -> None:
    text = urllib.parse.unquote(answer.body.decode())
    for element in ("<Key>", "<CommonPrefixes><Prefix>"):
        for found in text.split(element)[1:]:
            assert found.startswith(own), (said, text)


def test_two_prefixes_in_one_listing_show_no_foreign_key(agencies: Agencies) -> None:
    own, other = agencies.prefix("agency-a"), agencies.prefix("agency-b")
    for first, second in ((own, other), (other, own)):
        query = f"list-type=2&prefix={urllib.parse.quote(first, safe='')}&prefix={urllib.parse.quote(second, safe='')}"
        answer = agencies.ask_signed(agencies.keys["agency-a"], f"/{AGENCIES}?{query}")
        assert b"agency-b/" not in answer.body.partition(b"<Contents>")[2]


def test_from_the_own_prefix_no_start_or_token_leads_on_to_the_next(agencies: Agencies) -> None:
    own = urllib.parse.quote(agencies.prefix("agency-a"), safe="")
    other = agencies.key_in("agency-ab")
    for more in (f"start-after={urllib.parse.quote(other, safe='')}", f"continuation-token={other}", "max-keys=100000"):
        answer = agencies.ask_signed(agencies.keys["agency-a"], f"/{AGENCIES}?list-type=2&prefix={own}&{more}")
        _assert_shows_only(answer, agencies.prefix("agency-a"), more)


# Links


def _link(agencies: Agencies, agency: str, key: str, *, method: str = "get_object", lifetime: int = 600) -> str:
    with agencies.client(agencies.keys[agency]) as client:
        url = client.generate_presigned_url(method, Params={"Bucket": AGENCIES, "Key": key}, ExpiresIn=lifetime)
    parts = urllib.parse.urlsplit(url)
    return f"{parts.path}?{parts.query}"


def test_an_agency_signs_links_to_its_own_files_only(agencies: Agencies) -> None:
    own, other = agencies.key_in("agency-a"), agencies.key_in("agency-b")
    assert agencies.ask(_link(agencies, "agency-a", own)).body.startswith(MARK)
    assert_refused(agencies.ask(_link(agencies, "agency-a", other)), "get")
    assert_refused(agencies.ask(_link(agencies, "agency-a", other, method="head_object"), method="HEAD"), "head")
    for key in (own, other):
        for method, verb in (("put_object", "PUT"), ("delete_object", "DELETE")):
            assert_refused(agencies.ask(_link(agencies, "agency-a", key, method=method), method=verb), method)
    _, _, query = _link(agencies, "agency-a", own).partition("?")
    assert_refused(agencies.ask(f"/{AGENCIES}/{other}?{query}"), "a link of its own on another's key")


def test_a_link_is_for_whoever_holds_it_and_for_nothing_else(agencies: Agencies) -> None:
    # What is not promised: a link names no reader. What is: it opens one key, by one method, until it ends.
    key = agencies.key_in("agency-b")
    link = _link(agencies, "agency-b", key)
    assert agencies.ask(link).body.startswith(MARK)
    assert_refused(agencies.ask_signed(agencies.keys["agency-a"], f"/{AGENCIES}/{key}"), "the key without the link")
    for alteration in (
        link.replace(agencies.keys["agency-b"].access_key, agencies.keys["agency-a"].access_key),
        link.replace(key, agencies.key_in("agency-ab")),
        link.replace("X-Amz-Expires=600", "X-Amz-Expires=86400"),
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.replace(f"/{AGENCIES}/", f"/{PRODUCTS}/"),
    ):
        assert alteration != link
        assert_refused(agencies.ask(alteration), alteration)
    assert_refused(agencies.ask(link, Host="elsewhere.example"), "another host")
    for method in ("HEAD", "PUT", "DELETE", "POST"):
        assert_refused(agencies.ask(link, method=method), method)


def test_a_link_signed_with_the_secret_of_another_agency_is_refused(agencies: Agencies) -> None:
    mixed = object_store.Credentials(agencies.keys["agency-b"].access_key, agencies.keys["agency-a"].secret_key)
    agencies.keys["mixed"] = mixed
    try:
        assert_refused(agencies.ask(_link(agencies, "mixed", agencies.key_in("agency-b"))), "mixed")
    finally:
        del agencies.keys["mixed"]


def test_a_link_of_an_agency_ends(agencies: Agencies) -> None:
    link = _link(agencies, "agency-a", agencies.key_in("agency-a"), lifetime=5)
    assert agencies.ask(link).status == 200
    time.sleep(6.2)
    assert_refused(agencies.ask(link), "expired")


# The end of credentials


def _waited(until: Callable[[], bool], seconds: float) -> float:
    start = time.monotonic()
    while not until():
        assert time.monotonic() - start < seconds
        time.sleep(0.05)
    return time.monotonic() - start


def _reads(agencies: Agencies, name: str) -> bool:
    target = f"/{AGENCIES}/{agencies.key_in('agency-a')}"
    answer = agencies.ask_signed(agencies.keys[name], target)
    assert answer.status in {200, 403}, answer
    return answer.status == 200


def test_expired_credentials_are_refused_by_the_store_itself(agencies: Agencies) -> None:
    name = agencies.admit("agency-a", seconds=12)
    assert _reads(agencies, name)
    link = _link(agencies, name, agencies.key_in("agency-a"))
    assert agencies.ask(link).status == 200
    _waited(lambda: not _reads(agencies, name), 20)
    assert_refused(agencies.ask(link), "a link that would hold longer than who signed it")


def test_revoked_credentials_and_their_links_are_refused_within_seconds_and_nobody_else_notices(
    agencies: Agencies,
) -> None:
    name = agencies.admit("agency-a")
    assert _reads(agencies, name)
    link = _link(agencies, name, agencies.key_in("agency-a"))
    assert agencies.ask(link).status == 200
    start = time.monotonic()
    assert object_store_server.dismiss(agencies.server.home, [name]) == (name,)
    assert not _reads(agencies, name)
    assert time.monotonic() - start < 15  # half a second where the machine has nothing else to do
    assert_refused(agencies.ask(link), "a link of revoked credentials")
    assert _reads(agencies, "agency-a")
    assert object_store_server.dismiss(agencies.server.home, [name, "TLUNKNOWN"]) == ()
    agencies.admit("agency-a")  # the next reading of the file brings nobody back
    assert not _reads(agencies, name)


def test_the_installation_cannot_be_dismissed(agencies: Agencies) -> None:
    object_store_server.dismiss(agencies.server.home, [agencies.server.credentials.access_key, "installation"])
    assert AGENCIES in agencies.store.buckets()


def test_who_is_let_in_stays_so_over_a_restart_and_who_was_dismissed_does_not_come_back(tmp_path: Path) -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    guests = {
        name: object_store_identities.guest(access_key=name, bucket="tl-agencies", prefix="agency-a/", expires_at=end)
        for name, end in (("TLSTAYS", until), ("TLGOES", until), ("TLEXPIRES", until - dt.timedelta(hours=2)))
    }
    try:
        object_store_server.admit(tmp_path, guests["TLSTAYS"])  # no server runs yet
        object_store_identities.add(tmp_path / "object_store/identities.json", guests["TLEXPIRES"])
        server = object_store_server.start(tmp_path, buckets=["tl-agencies"])
        server.connect().put_new("tl-agencies", "agency-a/x", b"x", media_type="text/plain")
        object_store_server.admit(tmp_path, guests["TLGOES"])
        assert _served(server, guests) == {"TLSTAYS", "TLGOES"}
        object_store_server.dismiss(tmp_path, ["TLGOES"])
        assert _served(server, guests) == {"TLSTAYS"}
        object_store_server.stop(tmp_path)
        server = object_store_server.start(tmp_path)
        assert _served(server, guests) == {"TLSTAYS"}
        names = {guest.credentials.access_key for guest in object_store_server.guests(tmp_path)}
        assert names == {"TLSTAYS"}
    finally:
        object_store_server.stop(tmp_path, timeout=2.0)


def _served(server: object_store_server.RunningServer, guests: Mapping[str, object_store_identities.Guest]) -> set[str]:
    found = set()
    for name, guest in guests.items():
        store = object_store.ObjectStore(endpoint=server.endpoint_url, credentials=guest.credentials, attempts=1)
        with contextlib.suppress(object_store.AccessRefusedError):
            store.read("tl-agencies", "agency-a/x")
            found.add(name)
        store.close()
    return found


# What changes in a mailbox


def test_a_withdrawn_item_leaves_the_mailbox_and_the_reason_stays(agencies: Agencies) -> None:
    name = "water-withdrawn"
    _publish(agencies.home, agencies.store, agencies.catalog, (name, "ecology", ("500112",)))
    agencies.fill()
    folder = agencies.key_in("agency-a", f"{name}/r1-{_content(agencies, name)}/data.tif").rpartition("/")[0]
    _path, document = withdrawal.withdraw(
        name,
        reason="the clouds were water",
        home=agencies.home,
        store=agencies.store,
        catalog=agencies.catalog,
        catalogue_bucket=CATALOGUE,
        now=dt.datetime.now(dt.UTC),
    )
    assert {entry["agency"] for entry in document["recipients"]} == {"agency-a", "agency-b"}
    agencies.fill()
    left = [entry.key for entry in agencies.store.list(AGENCIES, f"{folder}/")]
    assert left == [f"{folder}/WITHDRAWN.json"]
    assert json.loads(agencies.store.read(AGENCIES, left[0]))["reason"] == "the clouds were water"
    # A restored catalogue tells it again, with another time.
    item = agencies.catalog.item(name, 1)
    note = {"reason": "the clouds were water", "occurred_at": "2031-01-01T00:00:00Z"}
    assert item is not None
    box = agencies.boxes["agency-a"]
    assert agencies.channel(box).contents.take_back(box, item, note, agencies.store)
    assert json.loads(agencies.store.read(AGENCIES, left[0])) == note


def _content(agencies: Agencies, name: str) -> str:
    item = agencies.catalog.item(name)
    assert item is not None
    return item.content_sha256[:8]


def test_a_superseded_item_is_marked_and_its_successor_is_there(agencies: Agencies) -> None:
    name = "water-changing"
    for _ in range(2):
        _publish(agencies.home, agencies.store, agencies.catalog, (name, "ecology", ("500112",)))
        agencies.fill()
    agencies.fill()  # repeating changes nothing
    prefix = f"{agencies.prefix('agency-a')}open-water-extent/{name}/"
    found: dict[str, set[str]] = {}
    for entry in agencies.store.list(AGENCIES, prefix):
        revision, file = entry.key.removeprefix(prefix).split("/")
        found.setdefault(revision[:2], set()).add(file)
    whole = {"data.tif", "item.json", "MANIFEST.json", "MANIFEST.json.minisig"}
    assert found == {"r1": whole | {"SUPERSEDED.json"}, "r2": whole}


def test_what_a_crash_left_half_copied_is_completed_or_removed(agencies: Agencies) -> None:
    name = "water-broken"
    _publish(agencies.home, agencies.store, agencies.catalog, (name, "ecology", ("500112",)))

    class Dying:
        """A store that dies after the first copies."""

        def __init__(self) -> None:
            self.left = 2

        def __getattr__(self, called: str) -> Any:
            if called == "copy":
                self.left -= 1
                if self.left < 0:
                    raise object_store.StoreUnavailableError("gone")
            return getattr(agencies.store, called)

    box = agencies.boxes["agency-a"]
    channel = agencies.channel(box)
    channel._store = Dying  # type: ignore[assignment]
    failed = push.Pusher(catalog=agencies.catalog).push(channel)
    assert failed.reason is not None
    assert "gone" in failed.reason
    prefix = f"{box.prefix}open-water-extent/{name}/"
    half = {entry.key.rpartition("/")[2] for entry in agencies.store.list(AGENCIES, prefix)}
    assert half == {"data.tif", "item.json"}  # no manifest: nobody takes it for whole
    agencies.fill()
    assert len(list(agencies.store.list(AGENCIES, prefix))) == 4


def test_a_mailbox_nobody_may_read_is_emptied_and_filled_again_when_somebody_may(agencies: Agencies) -> None:
    now, engine = dt.datetime.now(dt.UTC), agencies.catalog.engine
    box = store_access.mailbox_of(agency="agency-c", sectors=["transport"], districts=None)
    agencies.boxes["agency-c"] = box
    try:
        name = agencies.admit("agency-c")
        agencies.fill()
        assert "road-one" in agencies.key_in("agency-c")
        object_store_server.dismiss(agencies.server.home, [name])
        assert store_access.revoke(engine, name, now=now)
        assert store_access.forsaken(engine, now=now) == (box,)
        assert store_access.close(engine, box, now=now)
        contents = mailbox.Contents(engine, bucket=AGENCIES, record=audit.AuditLog(agencies.home / "audit"))
        assert contents.empty(box, agencies.store) == 1
        assert list(agencies.store.list(AGENCIES, box.prefix)) == []
        assert store_access.forsaken(engine, now=now) == ()
        agencies.admit("agency-c")
        agencies.fill()
        assert "road-one" in agencies.key_in("agency-c")
    finally:
        del agencies.boxes["agency-c"]


def test_the_record_tells_every_delivery_and_no_secret(agencies: Agencies) -> None:
    lines = list(audit.lines(agencies.home / "audit"))
    put = {(line.entry.agency, line.entry.item_id) for line in lines if line.entry.event == "mailbox_put"}
    assert {(agency, item) for agency, items in EXPECTED.items() for item in items} <= put
    text = "".join(path.read_text() for path in (agencies.home / "audit").glob("*.jsonl"))
    text += (agencies.home / "t.sqlite").read_bytes().decode(errors="replace")
    text += agencies.server.log.read_text()
    for credentials in agencies.keys.values():
        assert credentials.secret_key not in text
    assert "redacted:" not in text
    assert audit.verify(agencies.home / "audit", signing.public_keys(agencies.home)).fault is None


def test_the_commands_make_fill_rotate_and_revoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRALIMB_HOME", str(tmp_path))
    settings.current.cache_clear()
    try:
        server = object_store_server.start(tmp_path, buckets=[PRODUCTS, CATALOGUE])
        store, url = server.connect(), settings.current().resolved_database_url()
        database.upgrade(url)
        for item in ITEMS:
            _publish(tmp_path, store, catalog_store.CatalogStore(database.engine(url)), item)
        limits = ["--agency", "agency-a", "--sector", "ecology", "--district", "500112", "--json"]
        first = json.loads(_said("access", "create-store-credentials", *limits))
        _said("push", "run", "--once")
        assert _items_read(server, first) == EXPECTED["agency-a"]
        second = json.loads(_said("access", "rotate-store-credentials", first["access_key"], "--json"))
        assert second["prefix"] == first["prefix"]
        _said("access", "revoke-store-credentials", first["access_key"])
        with pytest.raises(exceptions.ClientError, match=r"InvalidAccessKeyId|AccessDenied|SignatureDoesNotMatch"):
            _items_read(server, first)
        assert _items_read(server, second) == EXPECTED["agency-a"]
        listed = _said("access", "list-store-credentials", "--json")
        states = {entry["access_key"]: entry["state"] for entry in json.loads(listed)["store_credentials"]}
        assert states == {first["access_key"]: "revoked", second["access_key"]: "valid"}
        # Whom the database does not know is refused, and a mailbox nobody reads is emptied.
        stray = object_store_identities.guest(
            access_key="TLSTRAY",
            bucket="tl-agencies",
            prefix=first["prefix"],
            expires_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
        )
        object_store_server.admit(tmp_path, stray)
        _said("access", "revoke-store-credentials", second["access_key"])
        _said("push", "run", "--once")
        assert object_store_server.guests(tmp_path) == ()
        assert list(store.list("tl-agencies")) == []
        record = "".join(path.read_text() for path in (tmp_path / "audit").glob("*.jsonl"))
        for event in ("store_credentials_create", "store_credentials_revoke", "mailbox_put", "mailbox_remove"):
            assert event in record
        for secret in (first["secret_key"], second["secret_key"]):
            assert secret not in record + listed + server.log.read_text()
    finally:
        object_store_server.stop(tmp_path, timeout=2.0)
        settings.current.cache_clear()


@pytest.mark.parametrize("way", ["other content", "gone"])
def test_a_damaged_object_of_the_store_holds_up_no_other_item_and_comes_when_it_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("TERRALIMB_HOME", str(tmp_path))
    # The store takes half a minute to say that it cannot read an object; once is enough.
    connected = object_store.connect_client
    monkeypatch.setattr(object_store, "connect_client", lambda **given: connected(**{**given, "attempts": 1}))
    settings.current.cache_clear()
    try:
        server = object_store_server.start(tmp_path, buckets=[PRODUCTS, CATALOGUE])
        store, url = server.connect(), settings.current().resolved_database_url()
        database.upgrade(url)
        catalog = catalog_store.CatalogStore(database.engine(url))
        for item in ITEMS:
            _publish(tmp_path, store, catalog, item)
        bad = catalog.item("water-one")
        assert bad is not None
        file = next(asset for asset in bad.assets if asset.name == "data.tif")
        sound = store.read(file.bucket, file.key)
        _spoil(tmp_path, server, file, sound, way)
        limits = ["--agency", "agency-b", "--sector", "ecology", "--all-districts", "--json"]
        made = json.loads(_said("access", "create-store-credentials", *limits))
        answer = CliRunner().invoke(cli.app, ["push", "run", "--once"])
        assert isinstance(answer.exception, RuntimeError)
        assert "water-one, revision 1, is set aside" in answer.output
        assert _items_read(server, made) == EXPECTED["agency-b"] - {"water-one"}
        (state,) = json.loads(_said("push", "list", "--json"))["channels"].values()
        assert ([one["item"] for one in state["set_aside"]], state["failures"]) == (["water-one"], 0)
        assert "1 set aside, the first water-one" in _said("push", "list")
        assert health.status(catalog, home=tmp_path, now=dt.datetime.now(dt.UTC)) == "degraded"
        with contextlib.closing(_owner(server)) as client:
            client.put_object(Bucket=file.bucket, Key=file.key, Body=sound)
        _said("push", "run", "--once")
        assert _items_read(server, made) == EXPECTED["agency-b"]
    finally:
        object_store_server.stop(tmp_path, timeout=2.0)
        settings.current.cache_clear()


def _owner(server: object_store_server.RunningServer) -> Any:
    return object_store.connect_client(endpoint=server.endpoint_url, credentials=server.credentials)


def _spoil(
    home: Path, server: object_store_server.RunningServer, file: catalog_store.AssetRecord, body: bytes, way: str
) -> None:
    flipped = bytes([body[0] ^ 1]) + body[1:]
    if way == "damaged on disk":
        place = next(path for path in home.rglob("*.dat") if body in path.read_bytes())
        at = place.read_bytes().index(body)
        with place.open("r+b") as volume:
            volume.seek(at)
            volume.write(flipped[:1])
        return
    with contextlib.closing(_owner(server)) as client:
        if way == "gone":
            client.delete_object(Bucket=file.bucket, Key=file.key)
        else:
            client.put_object(Bucket=file.bucket, Key=file.key, Body=flipped)


def _said(*words: str) -> str:
    answer = CliRunner().invoke(cli.app, list(words), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def _items_read(server: object_store_server.RunningServer, made: Mapping[str, str]) -> set[str]:
    credentials = object_store.Credentials(made["access_key"], made["secret_key"])
    client = object_store.connect_client(endpoint=server.endpoint_url, credentials=credentials, attempts=1)
    try:
        found = client.list_objects_v2(Bucket=made["bucket"], Prefix=made["prefix"]).get("Contents", [])
        for entry in found:
            client.get_object(Bucket=made["bucket"], Key=entry["Key"])["Body"].read()
    finally:
        client.close()
    return {entry["Key"].split("/")[3] for entry in found}


# The interfaces behind S3


def test_what_hands_out_tokens_asks_for_the_certificate(agencies: Agencies) -> None:
    for target in (
        "/dir/assign", "/dir/lookup?volumeId=1", "/dir/lookup?fileId=1,0&read=yes", "/dir/status", "/vol/grow?count=1",
        f"/col/delete?collection={AGENCIES}", "/vol/vacuum", "/submit", "/cluster/status", "/", "/vol/status",
    ):  # fmt: skip
        for method in ("GET", "POST"):
            answer = agencies.ask(target, port="master", method=method)
            assert (answer.status, "authorization" in answer.headers) == (400, False), target
            assert b"HTTPS" in answer.body


def test_no_order_is_taken_and_nothing_is_told_without_the_certificate(agencies: Agencies, tmp_path: Path) -> None:
    ports = agencies.server.ports
    shell = [str(object_store_server.binary()), "shell"]
    shell += [f"-{part}=127.0.0.1:{ports[part]}.{ports[part] + 10000}" for part in ("master", "filer")]
    own = agencies.server.home / "object_store"
    assert "agency-a" in _shell_says(shell, own, patience=60)  # with the certificate the same words do tell
    assert "agency-a" not in _shell_says(shell, tmp_path, patience=8)


def _shell_says(shell: list[str], folder: Path, *, patience: float) -> str:
    """What the server's own shell is told in a folder, which may hold a certificate; it waits for ever without."""
    with subprocess.Popen(
        shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
        env={"PATH": "/usr/bin", "HOME": str(folder)}, text=True,
    ) as process:  # fmt: skip
        try:
            return process.communicate(f"fs.ls /buckets/{AGENCIES}\nexit\n", timeout=patience)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0]


def test_an_agencys_signature_opens_no_other_port(agencies: Agencies) -> None:
    key = agencies.key_in("agency-a")
    query = _link(agencies, "agency-a", key).partition("?")[2]
    for port in ("filer", "volume", "master", "admin"):
        for path in (f"/buckets/{AGENCIES}/{key}", f"/{AGENCIES}/{key}", "/buckets/", "/etc/", "/"):
            for target in (path, f"{path}?{query}"):
                assert_refused(agencies.ask(target, port=port), (port, target.partition("?")[0]))


def test_only_the_owner_reaches_the_servers_sockets_and_files(agencies: Agencies) -> None:
    for connection in psutil.Process(agencies.server.pid).net_connections("unix"):
        path = Path(connection.laddr) if connection.laddr else None
        if path is not None and path.is_absolute() and path.exists():
            assert path.stat().st_mode & 0o077 == 0, path
    for name in ("identities.json", "certificate.key", "security.toml"):
        assert (agencies.server.home / "object_store" / name).stat().st_mode & 0o777 == 0o600


# The tests themselves


def test_a_rule_without_the_slash_at_its_end_would_be_seen(agencies: Agencies) -> None:
    loose = "agency-a*"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{AGENCIES}/{loose}"]},
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{AGENCIES}"],
                "Condition": {"StringLike": {"s3:prefix": [loose]}},
            },
        ],
    }
    name = agencies.admit("agency-a", policy=policy)
    other = agencies.key_in("agency-ab")
    try:
        with agencies.client(agencies.keys[name]) as client:
            doors = _refusals(_attempts(agencies, client, AGENCIES, other))
        assert {"get", "head", "list"} <= set(doors)
        with pytest.raises(AssertionError):
            assert_refused(agencies.ask_signed(agencies.keys[name], f"/{AGENCIES}/{other}"), "loose")
        answer = agencies.ask_signed(agencies.keys[name], f"/{AGENCIES}?list-type=2&prefix=agency-a")
        with pytest.raises(AssertionError):
            _assert_shows_only(answer, agencies.prefix("agency-a"), "loose")
    finally:
        object_store_server.dismiss(agencies.server.home, [name])


def test_a_server_that_only_forgets_would_be_seen(agencies: Agencies) -> None:
    # Leaving an identity out of the file is what one would write first, and the server goes on serving it.
    name = agencies.admit("agency-a")
    path = agencies.server.home / "object_store" / "identities.json"
    whole = path.read_text()
    document = json.loads(whole)
    document["identities"] = [entry for entry in document["identities"] if entry["name"] != name]
    path.write_text(json.dumps(document))
    psutil.Process(agencies.server.pid).send_signal(signal.SIGHUP)
    time.sleep(1.0)
    path.write_text(whole)
    assert _reads(agencies, name)
    object_store_server.dismiss(agencies.server.home, [name])
    assert not _reads(agencies, name)


def test_hashes_of_copies_are_those_of_the_manifest(agencies: Agencies) -> None:
    for agency in EXPECTED:
        manifest = json.loads(agencies.store.read(AGENCIES, agencies.key_in(agency, "/MANIFEST.json")))
        folder = agencies.key_in(agency, "/MANIFEST.json").rpartition("/")[0]
        for name, entry in manifest["files"].items():
            body = agencies.store.read(AGENCIES, f"{folder}/{name}")
            assert (hashlib.sha256(body).hexdigest(), len(body)) == (entry["sha256"], entry["size"])
