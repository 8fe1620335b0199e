"""Commands of delivery in processes of their own, killed with SIGKILL at a boundary of the tester's choice.

A boundary lies before or after a request to the store, a signature, a commit, a line of the audit record or a post to
a receiver. The nursery loads everything once and forks a process for each command, so that a kill costs little.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from infra import catalog_store, database, object_store, publication, signing
from infra.delivery import audit, mqtt, push, retention, retention_rules, webhook, withdrawal
from infra.embedded import object_store_server
from products import stac

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTION = "open-water-extent"
SECTOR = "transport"
NOON = dt.datetime(2021, 9, 1, 12, tzinfo=dt.UTC)
#: Between two items, so that each is expired before the next is published [day].
APART = 100
RULES = """
version: "1"
plan_valid_days: 7
classes: []
default: {name: short, current_days: 30, superseded_days: 30, withdrawn_days: 30}
"""


class Ended(NamedTuple):
    """How a process ended: its status (negative for a signal), seconds it took, and the boundaries it passed."""

    status: int
    seconds: float
    passed: list[str]
    said: str


@dataclasses.dataclass(frozen=True)
class Installation:
    """One installation on the store of all tests: its own home, database and buckets."""

    home: Path
    server_home: Path
    bucket: str

    @property
    def catalogue_bucket(self) -> str:
        """Bucket of pointers and feed."""
        return f"{self.bucket}-cat"

    @property
    def url(self) -> str:
        """Address of the database."""
        return f"sqlite:///{self.home / 'terralimb.sqlite'}"

    @property
    def catalog(self) -> catalog_store.CatalogStore:
        """Its catalogue."""
        return catalog_store.CatalogStore(database.engine(self.url))

    def connect(self) -> object_store.ObjectStore:
        """Client of the store."""
        running = object_store_server.running(self.server_home)
        assert running is not None
        return running.connect()


def name_of(number: int) -> str:
    """Identity of the item of a number."""
    return f"killed-{number:04d}"


def moment_of(number: int) -> dt.datetime:
    """When the item of a number is first published."""
    return NOON + dt.timedelta(days=APART * number)


def install(home: Path, server_home: Path, store: object_store.ObjectStore, bucket: str) -> Installation:
    """Make an installation with keys, rules, buckets and a collection."""
    here = Installation(home, server_home, bucket)
    home.mkdir(parents=True, exist_ok=True)
    (home / "terralimb.sqlite").write_bytes(_empty_database())
    signing.ensure(home)
    (home / "retention.yaml").write_text(RULES)
    for name in (here.bucket, here.catalogue_bucket):
        store.create_bucket(name)
    fields = stac.CollectionFields(
        collection_id=COLLECTION,
        product_code=COLLECTION,
        title="Open water extent",
        title_zh="开阔水面范围",
        description="Water",
        description_zh="水",
        sector=SECTOR,
    )
    written = publication.publish_collection(fields, store=store, catalogue_bucket=here.catalogue_bucket)
    here.catalog.put_collection(written)
    return here


@functools.cache
def _empty_database() -> bytes:
    """File of a database in which nothing is yet; migrating takes longer than a kill."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite"
        database.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


class Commands:
    """What a process may be asked to do; every command may be repeated after a kill."""

    def __init__(self, here: Installation, store: object_store.ObjectStore) -> None:
        self.here, self.store, self.catalog = here, store, here.catalog

    def publish(self, number: int, *, edition: int = 1) -> None:
        """Publish an edition of an item."""
        at = moment_of(number) + dt.timedelta(minutes=edition)
        publication.publish_package(
            item_id=name_of(number),
            collection=COLLECTION,
            sector=SECTOR,
            fields=_fields(number),
            assets=_assets(number, edition),
            store=self.store,
            catalog=self.catalog,
            bucket=self.here.bucket,
            key_prefix=f"{COLLECTION}/v1",
            catalogue_bucket=self.here.catalogue_bucket,
            signer=functools.partial(signing.sign, self.here.home),
            clock=lambda: at,
        )

    def replace(self, number: int) -> None:
        """Publish the second edition of an item."""
        self.publish(number, edition=2)

    def publish_large(self, number: int) -> None:
        """Publish an item with a file that travels in parts."""
        self.publish(number, edition=0)

    def withdraw(self, number: int) -> None:
        """Take an item back."""
        withdrawal.withdraw(
            name_of(number),
            reason="wrong datum",
            home=self.here.home,
            store=self.store,
            catalog=self.catalog,
            catalogue_bucket=self.here.catalogue_bucket,
            now=moment_of(number) + dt.timedelta(hours=1),
        )

    def expire(self, number: int) -> None:
        """Carry out the plan of retention that lists an item, made and signed where there is none yet."""
        plan, now = self.here.home / f"plan-{number}.json", moment_of(number) + dt.timedelta(days=40)
        if not plan.exists():
            rules = retention_rules.read(self.here.home / "retention.yaml")
            made = retention.plan(self.catalog, rules, now=now, sign=functools.partial(signing.sign, self.here.home))
            plan.with_suffix(".minisig").write_bytes(made.signature)
            plan.with_suffix(".part").write_bytes(made.body)
            plan.with_suffix(".part").rename(plan)
        retention.execute(
            plan.read_bytes(),
            plan.with_suffix(".minisig").read_bytes(),
            home=self.here.home,
            store=self.store,
            catalog=self.catalog,
            catalogue_bucket=self.here.catalogue_bucket,
            now=now,
        )

    def sweep(self, _number: int) -> None:
        """Deliver what is outstanding, as every command of the catalogue does in the end."""
        publication.deliver_outbox(
            store=self.store, catalog=self.catalog, catalogue_bucket=self.here.catalogue_bucket, clock=lambda: NOON
        )

    def post(self, _number: int) -> None:
        """Push to the webhook of the installation."""
        (hook,) = webhook.listing(self.catalog.engine)
        self._push(webhook.WebhookChannel(hook, self.here.home))

    def send(self, port: int) -> None:
        """Push to the broker at a port."""
        broker = mqtt.Broker(url=f"mqtt://127.0.0.1:{port}", timeout=10)
        self._push(mqtt.MqttChannel("mqtt", broker, mqtt.for_agencies()))

    def _push(self, channel: push.Channel) -> None:
        position = push.Pusher(catalog=self.catalog).push(channel)
        channel.close()
        assert position.failures == 0, position.reason


def _fields(number: int) -> stac.ItemFields:
    return stac.ItemFields(
        product_code=COLLECTION,
        title="Open water extent",
        title_zh="开阔水面范围",
        geometry={"type": "Polygon", "coordinates": [[[106, 29], [107, 29], [107, 30], [106, 30], [106, 29]]]},
        bbox=(106.0, 29.0, 107.0, 30.0),
        start=NOON + dt.timedelta(minutes=number),
        quality_level="rapid",
    )


def _assets(number: int, edition: int) -> dict[str, publication.AssetContent]:
    raster = f"item {number}, edition {edition}\n".encode() * 400
    if edition == 0:
        raster *= 1 + object_store.PART_SIZE // len(raster)
    figures = json.dumps({"number": number, "edition": edition}).encode()
    return {
        "data.tif": publication.AssetContent(raster, "image/tiff", ("data",)),
        "figures.json": publication.AssetContent(figures, "application/json", ("metadata",)),
    }


# Boundaries


class Boundaries:
    """Wraps what reaches beyond the process, so that it can be killed before or after each."""

    def __init__(self, step: str | None, trace: Path) -> None:
        self.step, self.counts = step, Counter[str]()
        self.trace = trace.open("a", encoding="utf-8")

    def reached(self, name: str) -> None:
        """Note a boundary; the process ends at the one it was told."""
        self.counts[name] += 1
        label = name if self.counts[name] == 1 else f"{name} ({self.counts[name]})"
        self.trace.write(f"{label}\n")
        self.trace.flush()
        if label == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, attribute: str, label: Callable[..., str]) -> None:
        """Make a call of something two boundaries."""
        inner = getattr(owner, attribute)

        def outer(*given: Any, **named: Any) -> Any:
            name = label(*given)
            self.reached(f"before {name}")
            answer = inner(*given, **named)
            self.reached(f"after {name}")
            return answer

        setattr(owner, attribute, outer)

    def everywhere(self, commands: Commands) -> None:
        """Wrap everything."""
        store = object_store.ObjectStore
        for attribute, verb in (("put_new", "put"), ("put_replace", "put"), ("digest", "read back")):
            self.around(store, attribute, functools.partial(_place, verb))
        self.around(store, "exists", functools.partial(_place, "look for"))
        self.around(store, "delete_planned", functools.partial(_place, "delete"))
        self.around(signing, "sign", lambda *_: "signature")
        self.around(stac, "validate_item", lambda *_: "validation")
        self.around(audit.AuditLog, "record", lambda *_: "audit")
        self.around(withdrawal, "_write_list", lambda *_: "list")
        self.around(webhook.WebhookChannel, "_post", lambda *_: "post")
        self.around(mqtt.MqttChannel, "_publish", lambda *_: "send")
        self.around(commands.store._client, "upload_part", lambda *_: "part")
        self.around(commands.catalog.engine.dialect, "do_commit", lambda *_: "commit")


def _place(verb: str, _store: Any, _bucket: str, key: str, *_content: Any) -> str:
    first, _, rest = key.partition("/")
    if first == "latest":
        return f"{verb} pointer" if "/" in rest else f"{verb} latest"
    return f"{verb} announcement" if first == "feed" else f"{verb} {key.rpartition('/')[2]}"


# Faults that the laws have to catch


def _unsigned(commands: Commands) -> None:
    """The signature is written after the transaction."""
    write, deliver, late = publication._write_signature, publication.deliver_outbox, list[Any]()

    def delivered(**named: Any) -> int:
        for given in late:
            write(*given)
        return deliver(**named)

    publication._write_signature = lambda *given: late.append(given)
    publication.deliver_outbox = delivered


def _marked_first(commands: Commands) -> None:
    """An announcement counts as delivered before it is in the feed."""
    write = publication.write_feed

    def written(announcement: catalog_store.Announcement, **named: Any) -> None:
        commands.catalog.mark_delivered(announcement.sequence, delivered_at=NOON)
        write(announcement, **named)

    publication.write_feed = written


def _damaging(_commands: Commands) -> None:
    """The store keeps something else than it was given."""
    put = object_store.ObjectStore.put_new

    def damaged(store: Any, bucket: str, key: str, body: bytes | Path, **named: Any) -> object_store.StoredObject:
        kept = b"something else" if key.endswith("data.tif") else body
        return put(store, bucket, key, kept, **named)

    object_store.ObjectStore.put_new = damaged  # type: ignore[method-assign]


def _unverified(commands: Commands) -> None:
    """The same, and nobody reads back what was written."""
    _damaging(commands)
    publication._read_back = lambda *_given: None


def _announced_apart(commands: Commands) -> None:
    """Announcements are made in a transaction of their own, after that of the revision."""
    announce, publish, late = catalog_store._announce, commands.catalog.writing, list[Any]()

    @contextlib.contextmanager
    def writing() -> Iterator[Any]:
        with publish() as connection:
            yield connection
        with publish() as connection:
            for row, named in late:
                announce(connection, row, **named)
        late.clear()

    catalog_store._announce = lambda _connection, row, **named: late.append((row, named))
    commands.catalog.writing = writing  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[Commands], None]] = {
    "damaging": _damaging,
    "unsigned": _unsigned,
    "marked first": _marked_first,
    "unverified": _unverified,
    "announced apart": _announced_apart,
}


# The nursery


class Nursery:
    """Starts a process for each command and tells how it ended."""

    def __init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TERRALIMB_", "COVERAGE"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chain.delivery_killing"],
            cwd=REPOSITORY,
            env=kept,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        here: Installation,
        command: str,
        number: int,
        *,
        step: str | None = None,
        after: float | None = None,
        fault: str | None = None,
    ) -> Ended:
        """Run a command in a process of its own, killed at a boundary or after some seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        where = (str(here.home), str(here.server_home), here.bucket)
        asked = {"here": where, "command": command, "number": number, "step": step, "after": after, "fault": fault}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the nursery has ended"
        return Ended(**json.loads(answer))

    def finish(self, here: Installation, command: str, number: int) -> Ended:
        """Run a command to its end."""
        ended = self.run(here, command, number)
        assert ended.status == 0, f"{command} {number}: {ended.status}\n{ended.said}"
        return ended

    def close(self) -> None:
        """End it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(timeout=30)


@contextlib.contextmanager
def open_nursery() -> Iterator[Nursery]:
    """Nursery that ends with the block."""
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


def _serve() -> None:
    _warm_up()
    known: dict[tuple[str, ...], Commands] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        where = tuple(asked["here"])
        if where not in known:
            here = Installation(Path(where[0]), Path(where[1]), where[2])
            known[where] = Commands(here, here.connect())
            _rehearse(known[where])
            gc.freeze()
        sys.stdout.write(json.dumps(_born(known[where], asked)._asdict()) + "\n")
        sys.stdout.flush()


def _warm_up() -> None:
    """Read the schemas once, and not in every fork."""
    asset = stac.AssetFields(href="./a", media_type="image/tiff", roles=("data",), size=1, sha256="0" * 64)
    document = stac.build_item(
        _fields(0), item_id="a", collection=COLLECTION, sector=SECTOR, assets={"a": asset}, collection_href="s3://a/b"
    )
    stac.validate_item(document)


def _rehearse(commands: Commands) -> None:
    """Let the client of the store read its descriptions once; then every fork opens connections of its own."""
    place = commands.here.catalogue_bucket, "rehearsal"
    commands.store.put_new(*place, b"", media_type="text/plain")
    commands.store.put_replace(*place, b"", media_type="text/plain")
    commands.store.digest(*place)
    commands.store.exists(*place)
    commands.store._client.close()


def _born(commands: Commands, asked: dict[str, Any]) -> Ended:
    trace, log = commands.here.home / "boundaries", commands.here.home / "said"
    for path in (trace, log):
        path.write_text("")
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _live(commands, asked, trace, log)
    if asked["after"] is not None:
        time.sleep(asked["after"])
        os.kill(pid, signal.SIGKILL)  # nobody else can have this id before it was waited for
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(status, time.monotonic() - started, trace.read_text().splitlines(), log.read_text()[-3000:])


def _live(commands: Commands, asked: dict[str, Any], trace: Path, log: Path) -> None:
    try:
        if asked["fault"] is not None:
            FAULTS[asked["fault"]](commands)
        Boundaries(asked["step"], trace).everywhere(commands)
        getattr(commands, asked["command"])(asked["number"])
    except BaseException:  # noqa: BLE001  whatever it is, the tester reads it
        log.write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    _serve()
