"""Rounds of killing commands of delivery: at which boundaries, and what must hold after kill and restart."""

import dataclasses
import itertools
import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt import enums

from infra import object_store
from infra.delivery import identity, webhook
from infra.demonstration import modelled_catalogue
from tests.chain import delivery_killing as killing
from tests.chain import delivery_laws as laws
from tests.chain import test_delivery_push_arrival as arrival

#: A kill at no boundary, but after a random time.
ANY_TIME = "any time"

_OUTBOX = ("put pointer", "put latest", "put announcement", "commit (2)")

#: Boundaries at which each command is killed. What lies between two of them reaches nothing outside the process.
STEPS: dict[str, tuple[str, ...]] = {
    "publish": (
        "before validation",
        "before put data.tif",
        "after put data.tif",
        "after read back data.tif",
        "after put figures.json",
        "after read back figures.json",
        "after put item.json",
        "after read back item.json",
        "after put MANIFEST.json",
        "after read back MANIFEST.json",
        "before signature",
        "after signature",
        "after put MANIFEST.json.minisig",
        "after read back MANIFEST.json.minisig",
        "before commit",
        "after commit",
        *(f"after {step}" for step in _OUTBOX),
        ANY_TIME,
    ),
    "publish_large": ("after part", "after part (2)"),
    "replace": (
        "after put data.tif",
        "after put MANIFEST.json",
        "after signature",
        "after put MANIFEST.json.minisig",
        "before commit",
        "after commit",
        *(f"after {step}" for step in _OUTBOX),
        "after put pointer (2)",
        "after put latest (2)",
        "after put announcement (2)",
        "after commit (3)",
        ANY_TIME,
    ),
    "withdraw": (
        "before commit",
        "after commit",
        "after audit",
        "after list",
        *(f"after {step}" for step in _OUTBOX),
        ANY_TIME,
    ),
    "expire": (
        "after signature",
        "before commit",
        "after commit",
        "after audit",
        "after put pointer",
        "after put latest",
        "after delete data.tif",
        "after delete figures.json",
        "after delete item.json",
        "after commit (2)",
        "after commit (3)",
        "after audit (2)",
        "after put pointer (2)",
        "after put latest (2)",
        "after delete data.tif (2)",
        "after delete figures.json (2)",
        "after delete item.json (2)",
        "before commit (4)",
        "after commit (4)",
        ANY_TIME,
    ),
}
PUSH_STEPS: dict[str, tuple[str, ...]] = {
    "post": (
        "before post",
        "after post",
        "before commit",
        "after commit",
        "after post (3)",
        "after commit (3)",
        ANY_TIME,
    ),
    "send": (
        "before send",
        "after send",
        "before commit",
        "after commit",
        "after send (2)",
        "after commit (2)",
        ANY_TIME,
    ),
}
EVERY = [(command, step) for command, steps in STEPS.items() for step in steps]

#: What has to be done to an item before a command, and the states of its revisions before and after it.
FIRST: dict[str, tuple[str, ...]] = {
    "publish": (),
    "publish_large": (),
    "replace": ("publish",),
    "withdraw": ("publish",),
    "expire": ("publish", "replace"),
}
_BEFORE: dict[str, laws.States] = {
    "publish": {},
    "publish_large": {},
    "replace": {1: "published"},
    "withdraw": {1: "published"},
    "expire": {1: "superseded", 2: "published"},
}
_AFTER: dict[str, laws.States] = {
    "publish": {1: "published"},
    "publish_large": {1: "published"},
    "replace": {1: "superseded", 2: "published"},
    "withdraw": {1: "withdrawn"},
    "expire": {1: "expired", 2: "expired"},
}


@dataclasses.dataclass
class Rounds:
    """Kills one command after the other in one installation, each on an item of its own."""

    nursery: killing.Nursery
    observer: laws.Observer
    random: np.random.Generator
    numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))
    kills: int = 0
    #: How long a command took when last repeated after a kill [s].
    took: dict[str, float] = dataclasses.field(default_factory=dict)

    def round(self, command: str, step: str, *, fault: str | None = None) -> None:
        """Kill a command, look, run it to its end, look again, and once more to see that nothing changes."""
        number, ended = self._killed(command, step, fault)
        self.kills += 1
        self.observer.check_interrupted()
        self._check_state(command, number, ended)
        if self.kills % 2:
            self.nursery.finish(self.here, "sweep", number)
        self.took[command] = self.nursery.finish(self.here, command, number).seconds
        assert self._state(number) == _AFTER[command]
        self.observer.check_settled()
        before = self.observer.fingerprint()
        self.nursery.finish(self.here, command, number)
        assert self.observer.fingerprint() == before, f"{command}: a repetition changed something"

    def finish(self, command: str, number: int) -> killing.Ended:
        """Run a command to its end."""
        return self.nursery.finish(self.here, command, number)

    def _killed(self, command: str, step: str, fault: str | None) -> tuple[int, killing.Ended]:
        while True:
            number = next(self.numbers)
            for first in FIRST[command]:
                self.nursery.finish(self.here, first, number)
            if step != ANY_TIME:
                ended = self.nursery.run(self.here, command, number, step=step, fault=fault)
                assert ended.status == -signal.SIGKILL, f"{command} was never {step}: {ended}"
                assert ended.passed[-1] == step
                return number, ended
            moment = self.random.uniform(0.0, self.took.get(command, 0.3))
            ended = self.nursery.run(self.here, command, number, after=moment, fault=fault)
            if ended.status:  # otherwise it had ended before, and that counts as no kill
                assert ended.status == -signal.SIGKILL, ended
                return number, ended

    @property
    def here(self) -> killing.Installation:
        """Where."""
        return self.observer.here

    def _state(self, number: int) -> laws.States:
        return self.observer.states().get(killing.name_of(number), {})

    def _check_state(self, command: str, number: int, ended: killing.Ended) -> None:
        found, before, after = self._state(number), _BEFORE[command], _AFTER[command]
        if command == "expire":  # a transaction for each revision
            assert all(state in {before[revision], "expired"} for revision, state in found.items())
            return
        assert found in (before, after), f"{command}: {found} is neither {before} nor {after}"
        if "after commit" in ended.passed:
            assert found == after
        if "before commit" not in ended.passed:
            assert found == before


@contextmanager
def rounds(
    nursery: killing.Nursery, here: killing.Installation, store: object_store.ObjectStore, *, seed: int
) -> Iterator[Rounds]:
    """Rounds in an installation; in the end everything in it is read once more."""
    with laws.observing(here, store) as observer:
        made = Rounds(nursery, observer, np.random.default_rng(seed))
        yield made
        observer.check_everything_again()


# Channels


@dataclasses.dataclass
class Pushes:
    """Kills pushes to one channel; what arrived there is compared with the outbox."""

    nursery: killing.Nursery
    here: killing.Installation
    random: np.random.Generator
    command: str
    argument: int
    channel: str
    sectors: frozenset[str]
    arrived: Callable[[], list[dict[str, Any]]]
    kills: int = 0

    def round(self, step: str, *, more: int) -> None:
        """Announce some more, kill the push, look, push to the end, look again."""
        self._killed(step, more)
        self.kills += 1
        owed, position = self._owed(), self._position()
        taken = [told for sequence, told in owed if sequence <= position]
        assert arrival.waited(lambda: _first(self.arrived())[: len(taken)] == taken), "acknowledged and not there"
        self.nursery.finish(self.here, self.command, self.argument)
        every = [told for _sequence, told in owed]
        assert arrival.waited(lambda: _first(self.arrived()) == every), "lost, out of order, or not for this receiver"
        assert self._position() == self._rows("SELECT max(sequence) FROM outbox")[0][0]

    def _killed(self, step: str, more: int) -> None:
        while True:
            self._announce(more)
            if step != ANY_TIME:
                ended = self.nursery.run(self.here, self.command, self.argument, step=step)
                assert ended.status == -signal.SIGKILL, f"{self.command} was never {step}: {ended}"
                return
            ended = self.nursery.run(self.here, self.command, self.argument, after=self.random.uniform(0.0, 0.15))
            if ended.status:
                assert ended.status == -signal.SIGKILL, ended
                return

    def _announce(self, more: int) -> None:
        catalog, seed = self.here.catalog, int(self.random.integers(1 << 30))
        with catalog.writing() as connection:
            for entry in modelled_catalogue.entries(more, seed=seed):
                entry = dataclasses.replace(entry, item_id=f"{entry.item_id}-{seed}")
                catalog.publish(entry, published_at=killing.NOON, connection=connection)

    def _owed(self) -> list[tuple[int, tuple[str, str, int]]]:
        rows = self._rows("SELECT sequence, payload FROM outbox ORDER BY sequence")
        return [(row[0], _told(told)) for row in rows if (told := json.loads(row[1]))["sector"] in self.sectors]

    def _position(self) -> int:
        rows = dict(self._rows("SELECT channel, sequence FROM push_position"))
        return int(rows.get(self.channel, 0))

    def _rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.here.home / "terralimb.sqlite")) as connection:
            return connection.execute(statement).fetchall()


def _told(payload: dict[str, Any]) -> tuple[str, str, int]:
    return payload["event"], payload["id"], payload["revision"]


def _first(arrived: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """What arrived in the order of its first arrival."""
    return list(dict.fromkeys(_told(payload) for payload in arrived))


@contextmanager
def posting(nursery: killing.Nursery, here: killing.Installation, *, seed: int) -> Iterator[Pushes]:
    """Pushes to a webhook on this machine."""
    receiver = arrival.Receiver()
    sectors = ("emergency", "weather")
    hook, _secret = webhook.add(
        here.catalog,
        here.home,
        agency="a",
        url=f"http://127.0.0.1:{receiver.port}/in",
        sectors=sectors,
        from_start=True,
    )

    def arrived() -> list[dict[str, Any]]:
        whole = (post for post in list(receiver.posts) if len(post.body) == int(post.headers["Content-Length"]))
        return [json.loads(post.body) for post in whole]

    try:
        random = np.random.default_rng(seed)
        yield Pushes(nursery, here, random, "post", 0, hook.channel, frozenset(sectors), arrived)
    finally:
        receiver.close()


@contextmanager
def sending(nursery: killing.Nursery, here: killing.Installation, folder: Path, *, seed: int) -> Iterator[Pushes]:
    """Pushes to a broker on this machine."""
    port = arrival.free_port()
    folder.mkdir()
    conf = f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 100000\n"
    (folder / "broker.conf").write_text(conf)
    broker, got, ready = arrival.Mosquitto(folder, port), list[dict[str, Any]](), threading.Event()
    client = paho.Client(enums.CallbackAPIVersion.VERSION2, protocol=enums.MQTTProtocolVersion.MQTTv5)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _userdata, message: got.append(json.loads(message.payload))
    broker.start()
    try:
        client.connect("127.0.0.1", port)
        client.loop_start()
        client.subscribe("cq/products/#", qos=1)
        assert ready.wait(10)
        sectors = frozenset(identity.SECTORS)
        random = np.random.default_rng(seed)
        yield Pushes(nursery, here, random, "send", port, "mqtt", sectors, lambda: list(got))
    finally:
        client.disconnect()
        client.loop_stop()
        broker.kill()
