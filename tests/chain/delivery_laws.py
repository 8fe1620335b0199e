"""Laws of what is published, checked from outside: over the service, over presigned links, in the tables as they lie.

Nothing here asks the code that published: hashes, signatures (minisign's format, by the Ed25519 of a library), the
order of the outbox and what the pointers must say are worked out anew.
"""

import base64
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ed25519

from infra import object_store, signing
from infra.delivery import audit, entitlement, fair_share, identity, reconciliation
from tests.chain import delivery_killing as killing

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    from starlette import testclient

    from infra.delivery import gateway

#: State by revision.
States = Mapping[int, str]


@dataclasses.dataclass
class Observer:
    """One agency with a key to everything, and whoever may look into the store and the tables."""

    here: killing.Installation
    store: object_store.ObjectStore
    service: testclient.TestClient
    web: httpx.Client
    #: Revisions by state, and announcements, found right when nothing was amiss; they are read again at the end.
    seen: set[tuple[str, int, str]] = dataclasses.field(default_factory=set)

    # What is visible

    def check_visible(self) -> dict[str, int]:
        """Whatever is visible is there once, whole and signed; gives the revision by item."""
        keys = self.service.get("/.well-known/terralimb-keys.json").json()["keys"]
        found: dict[str, int] = {}
        for feature in self._features():
            item, revision = feature["id"], int(feature["properties"]["version"])
            assert item not in found, f"{item} is current twice"
            found[item] = revision
            if (item, revision, "published") not in self.seen:
                single = self.service.get(f"/stac/collections/{killing.COLLECTION}/items/{item}").json()
                assert single["properties"]["version"] == str(revision), f"{item}: search and item name other revisions"
                self._check_files(item, revision, feature["assets"], keys)
        return found

    def _features(self) -> Iterator[dict[str, Any]]:
        path = "/stac/search?limit=50"
        while path:
            answer = self.service.get(path)
            assert answer.status_code == 200, answer.text
            yield from answer.json()["features"]
            path = next((link["href"] for link in answer.json()["links"] if link["rel"] == "next"), "")

    def _check_files(self, item: str, revision: int, assets: Mapping[str, Any], keys: list[dict[str, Any]]) -> None:
        place = f"{item} r{revision}"
        manifest = self._file(item, revision, "MANIFEST.json")
        require_signed(manifest, self._file(item, revision, "MANIFEST.json.minisig"), keys)
        listed = json.loads(manifest)["files"]
        assert set(listed) == {*assets, "item.json"}, f"{place}: the manifest lists {sorted(listed)}"
        lines = []
        for name in sorted(listed):
            body = self._file(item, revision, name)
            sha256 = hashlib.sha256(body).hexdigest()
            assert listed[name] == {"sha256": sha256, "size": len(body)}, f"{place}: {name} is not as the manifest says"
            lines.append(f"{sha256}  {name}\n")
            if name in assets:
                said = (assets[name]["file:checksum"], assets[name]["file:size"])
                assert said == (f"1220{sha256}", len(body)), f"{place}: the item says otherwise of {name}"
        whole = hashlib.sha256("".join(lines).encode()).hexdigest()
        assert json.loads(manifest)["content_sha256"] == whole, f"{place}: the hash of the whole is another"

    def _file(self, item: str, revision: int, name: str) -> bytes:
        link = self.service.get(f"/download/{item}/{revision}/{name}")
        assert link.status_code == 307, f"{item} r{revision} {name}: {link.status_code} {link.text}"
        answer = self.web.get(link.headers["location"])
        assert answer.status_code == 200, f"{item} r{revision} {name} is visible and missing: {answer.status_code}"
        return answer.content

    # What was announced

    def states(self) -> dict[str, dict[int, str]]:
        """State of every revision, by item, from the table."""
        found: dict[str, dict[int, str]] = {}
        for item, revision, state in self._rows("SELECT id, revision, state FROM item ORDER BY id, revision"):
            found.setdefault(item, {})[revision] = state
        return found

    def outbox(self) -> list[tuple[int, str, str, int, bool]]:
        """Position, event, item, revision and whether delivered, in order."""
        return self._rows(
            "SELECT sequence, event, item_id, revision, delivered_at IS NOT NULL FROM outbox ORDER BY sequence"
        )

    def _rows(self, statement: str) -> list[Any]:
        path = f"file:{self.here.home / 'terralimb.sqlite'}?mode=ro"
        with contextlib.closing(sqlite3.connect(path, uri=True)) as connection:
            return connection.execute(statement).fetchall()

    def check_announced(self) -> None:
        """Every change has one row, in order and without a gap; what counts as delivered is in the feed, whole."""
        rows = self.outbox()
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), "the outbox has a gap"
        told: dict[str, list[tuple[str, int]]] = {}
        for _sequence, event, item, revision, _delivered in rows:
            told.setdefault(item, []).append((event, revision))
        assert told == self._owed(), "the outbox does not tell what happened"
        feed = {entry.key: entry for entry in self.store.list(self.here.catalogue_bucket, "feed/")}
        for sequence, event, item, revision, delivered in rows:
            key = f"feed/{sequence:012d}.json"
            assert key in feed or not delivered, f"announcement {sequence} counts as delivered and is not in the feed"
            if feed.pop(key, None) is not None and not self._known(key):
                body = json.loads(self._object(key))
                assert (body["sequence"], body["event"], body["id"], body["revision"]) == (
                    sequence,
                    event,
                    item,
                    revision,
                )
        assert not feed, f"the feed tells what did not happen: {sorted(feed)}"
        assert self._served() == [row[1:4] for row in rows], "the service tells another feed"

    def _known(self, key: str) -> bool:
        return (key, 0, "") in self.seen

    def _owed(self) -> dict[str, list[tuple[str, int]]]:
        """What has to be told of each item, from its revisions; of one expired, what it was before."""
        was = dict(self._rows("SELECT number, was_state FROM tombstone"))
        owed: dict[str, list[tuple[str, int]]] = {}
        for number, item, revision, state in self._rows(
            "SELECT number, id, revision, state FROM item ORDER BY id, revision"
        ):
            events = owed.setdefault(item, [])
            before = was.get(number, state)
            if before in {"superseded", "withdrawn"}:
                events.append(("published", revision))
                events.append((before, revision))
            else:
                events.append(("published", revision))
        return owed

    def _served(self) -> list[tuple[str, str, int]]:
        told, after = [], ""
        while True:
            answer = self.service.get("/feed", params={"limit": 40, **({"after": after} if after else {})}).json()
            told += [(one["event"], one["id"], one["revision"]) for one in answer["announcements"]]
            if not answer["more"]:
                return told
            after = answer["cursor"]

    def _object(self, key: str) -> bytes:
        return self.store.read(self.here.catalogue_bucket, key)

    # What must hold always, and when all is done

    def check_interrupted(self) -> None:
        """What must hold whatever was interrupted; also, that what was left behind is found."""
        differences = self._check_always()
        assert set(differences) <= {"orphan_object", "unfinished_upload", "pointer_wrong", "latest_wrong"}, differences

    def _check_always(self) -> dict[str, set[str]]:
        visible = self.check_visible()
        current = {
            item: [revision for revision, state in states.items() if state == "published"]
            for item, states in self.states().items()
        }
        shown = {item: [revision] for item, revision in visible.items()}
        assert {item: found for item, found in current.items() if found} == shown
        self.check_announced()
        orphans, differences = self._orphans(), self._differences()
        assert differences.get("orphan_object", set()) == orphans
        self._check_hidden(orphans)
        return differences

    def check_settled(self) -> None:
        """What must hold when everything was run to its end: nothing outstanding, pointers right, nothing left over."""
        differences = self._check_always()
        assert not differences.keys() - {"unfinished_upload"}, differences
        assert all(row[4] for row in self.outbox()), "an announcement is outstanding"
        newest, found = "", self.states()
        for item, states in found.items():
            revision = max(states)
            newest = item if states[revision] == "published" else newest  # items begin in the order of their names
            if (item, revision, states[revision]) not in self.seen:
                pointer = json.loads(self._object(f"latest/{killing.COLLECTION}/{item}.json"))
                assert (pointer["revision"], pointer["status"]) == (revision, states[revision]), f"{item}: pointer"
        latest = json.loads(self._object(f"latest/{killing.COLLECTION}.json"))
        assert latest["id"] == (newest or None), f"latest names {latest['id']}, the newest is {newest or None}"
        led = self.service.get(f"/latest/{killing.COLLECTION}")
        assert led.headers.get("location", "").rpartition("/")[2] == newest
        self._check_removed()
        self._check_audit()
        self.seen |= {(item, revision, state) for item, states in found.items() for revision, state in states.items()}
        self.seen |= {(f"feed/{row[0]:012d}.json", 0, "") for row in self.outbox()}

    def check_everything_again(self) -> None:
        """Read all of it once more; the parts of uploads that were killed are found and given up."""
        self.seen.clear()
        self.check_settled()
        assert reconciliation.reconcile(self._stores(), now=_in_a_while(), repair=True).differences == ()

    def fingerprint(self) -> Any:
        """Whatever a repetition must not change."""
        buckets = (self.here.bucket, self.here.catalogue_bucket)
        objects = [(bucket, entry.key, entry.etag) for bucket in buckets for entry in self.store.list(bucket)]
        tables = [
            self._rows("SELECT * FROM item"),
            self._rows("SELECT * FROM asset"),
            self._rows("SELECT * FROM outbox"),
        ]
        return objects, tables

    def _check_hidden(self, orphans: set[str]) -> None:
        for item, states in self.states().items():
            for revision, state in states.items():
                if (item, revision, state) not in self.seen and state in {"withdrawn", "expired"}:
                    answer = self.service.get(f"/download/{item}/{revision}/data.tif")
                    assert answer.status_code == 410, f"{item} r{revision} is {state}: {answer.status_code}"
        for place in orphans:
            item = place.split("/")[3]
            if item not in self.states():
                for path in (f"/stac/collections/{killing.COLLECTION}/items/{item}", f"/download/{item}/1/data.tif"):
                    assert self.service.get(path).status_code == 404, f"{path} was never published"

    def _orphans(self) -> set[str]:
        """Objects in the bucket of products that no row names."""
        named = {row[0] for row in self._rows("SELECT key FROM asset")}
        for item_key, manifest_key in self._rows("SELECT item_key, manifest_key FROM item"):
            named |= {item_key, manifest_key, f"{manifest_key}.minisig"}
        bucket = self.here.bucket
        return {f"{bucket}/{entry.key}" for entry in self.store.list(bucket) if entry.key not in named}

    def _stores(self) -> reconciliation.Stores:
        buckets = ((self.here.bucket,), self.here.catalogue_bucket)
        return reconciliation.Stores(self.here.catalog, self.store, *buckets, signer=signing.signer(self.here.home))

    def _differences(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in reconciliation.reconcile(self._stores(), now=_in_a_while()).differences:
            found.setdefault(one.kind, set()).add(one.place)
        return found

    def _check_removed(self) -> None:
        """Of what is expired the files are gone; manifest and signature stay."""
        there = {entry.key for entry in self.store.list(self.here.bucket)}
        statement = (
            "SELECT {} FROM item JOIN asset ON item_id = id AND asset.revision = item.revision WHERE state = '{}'"
        )
        gone = {row[0] for row in self._rows(statement.format("key", "expired"))}
        assert not gone & there, f"expired and not removed: {sorted(gone & there)}"
        stays = {row[0] for row in self._rows("SELECT manifest_key FROM item")}
        assert stays | {f"{key}.minisig" for key in stays} <= there

    def _check_audit(self) -> None:
        """The record is whole, and holds every withdrawal and expiry there was."""
        folder = self.here.home / "audit"
        assert audit.verify(folder, signing.public_keys(self.here.home)).fault is None
        recorded = {
            (line.entry.event, line.entry.item_id, line.entry.revision)
            for line in audit.lines(folder, containing=b'"allowed"')
        }
        verbs = {"withdrawn": "withdraw", "expired": "expire"}
        owed = {
            (verbs[state], item, revision)
            for item, states in self.states().items()
            for revision, state in states.items()
            if state in verbs
        }
        assert owed <= recorded, f"not in the audit record: {sorted(owed - recorded)}"


def _in_a_while() -> dt.datetime:
    """When what a killed process left no longer counts as work in progress."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=8)


def require_signed(body: bytes, signature: bytes, keys: list[dict[str, Any]]) -> None:
    """Check a signature in minisign's format against the keys the service publishes."""
    lines = signature.decode().splitlines()
    raw, whole = base64.b64decode(lines[1]), base64.b64decode(lines[3])
    comment = lines[2].removeprefix("trusted comment: ").encode()
    known = {base64.b64decode(key["public_key"])[2:10]: key for key in keys if key["state"] != "revoked"}
    assert raw[:2] == b"ED", "not a prehashed signature"
    assert raw[2:10] in known, "signed with an unknown or revoked key"
    public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(known[raw[2:10]]["public_key"])[10:])
    public.verify(raw[10:], hashlib.blake2b(body).digest())
    public.verify(whole, raw[10:] + comment)


@contextlib.contextmanager
def observing(here: killing.Installation, store: object_store.ObjectStore) -> Iterator[Observer]:
    """Observer of an installation, by its service."""
    engine, now = here.catalog.engine, dt.datetime.now(dt.UTC)
    key = identity.create(
        engine,
        agency="observer",
        sectors=identity.SECTORS,
        scopes=entitlement.SCOPES,
        expires_at=now + dt.timedelta(days=2),
    )
    parts = gateway.Parts(
        catalog=here.catalog,
        store=store,
        home=here.home,
        identities=identity.Identities(engine),
        limits=fair_share.Limits(rate=1e6, burst=1_000_000),
    )
    client = testclient.TestClient(
        gateway.application(parts),
        base_url="http://service.test",
        headers={"Authorization": f"Bearer {key}"},
        follow_redirects=False,
    )
    with client as service, httpx.Client(trust_env=False) as web:
        yield Observer(here, store, service, web)
