"""Against a real broker and a real receiver: nothing is lost, nothing comes out of order, nobody hears of others."""

import dataclasses
import datetime as dt
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt import enums

from infra import catalog_store, database
from infra.delivery import entitlement, mqtt, notices, push, webhook
from infra.demonstration import modelled_catalogue
from products import stac, webhook_signature, wis2_notification

pytestmark = pytest.mark.chain

NOON = dt.datetime(2025, 9, 1, 12, tzinfo=dt.UTC)
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PASSWORDS = shutil.which("mosquitto_passwd")
needs_broker = pytest.mark.skipif(
    MOSQUITTO is None or PASSWORDS is None, reason="mosquitto is not installed (Debian package mosquitto)"
)

ACL = """
user pusher
topic write cq/#
topic write origin/a/wis2/#

user emergency
topic read cq/products/emergency/#
topic read cq/notices/emergency/#
topic read cq/notices/all/#

user everything
topic read #
"""


def waited(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@dataclasses.dataclass
class Mosquitto:
    folder: Path
    port: int
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.running = subprocess.Popen([MOSQUITTO, "-c", str(self.folder / "broker.conf")], stderr=subprocess.DEVNULL)
        assert waited(self._answers)

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def broker(self) -> mqtt.Broker:
        url, secret = f"mqtt://127.0.0.1:{self.port}", self.folder / "pusher.secret"
        return mqtt.Broker(url=url, user="pusher", password_file=secret, timeout=5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    assert PASSWORDS is not None
    folder, port = tmp_path / "broker", free_port()
    folder.mkdir()
    for user in ("pusher", "emergency", "everything"):
        new = [] if (folder / "passwords").exists() else ["-c"]
        subprocess.run([PASSWORDS, "-b", *new, str(folder / "passwords"), user, f"{user}!"], check=True)
    (folder / "pusher.secret").write_text("pusher!\n")
    (folder / "acl").write_text(ACL)
    for name in ("acl", "passwords"):
        (folder / name).chmod(0o600)
    (folder / "broker.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\nuser root\n"
        f"password_file {folder}/passwords\nacl_file {folder}/acl\nmax_queued_messages 10000\n"
    )
    found = Mosquitto(folder, port)
    found.start()
    yield found
    found.kill()


@dataclasses.dataclass
class Subscriber:
    client: paho.Client
    got: list[tuple[str, dict[str, Any]]]

    def identities(self) -> set[str]:
        return {payload["id"] for _topic, payload in self.got}


@pytest.fixture
def subscribe(mosquitto: Mosquitto) -> Iterator[Callable[[str], Subscriber]]:
    made: list[paho.Client] = []

    def subscribed(user: str) -> Subscriber:
        client = paho.Client(
            enums.CallbackAPIVersion.VERSION2, client_id=user, protocol=enums.MQTTProtocolVersion.MQTTv5
        )
        found, ready = Subscriber(client, []), threading.Event()
        client.username_pw_set(user, f"{user}!")

        def ask(*_: Any) -> None:
            client.subscribe("#", qos=1)

        client.on_connect = ask
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _c, _u, message: found.got.append((message.topic, json.loads(message.payload)))
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        made.append(client)
        assert ready.wait(10)
        return found

    yield subscribed
    for client in made:
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def catalog(tmp_path: Path) -> catalog_store.CatalogStore:
    url = f"sqlite:///{tmp_path / 't.sqlite'}"
    database.upgrade(url)
    return catalog_store.CatalogStore(database.engine(url))


def fill(catalog: catalog_store.CatalogStore, count: int, *, seed: int = 1) -> None:
    with catalog.writing() as connection:
        for entry in modelled_catalogue.entries(count, seed=seed):
            catalog.publish(entry, published_at=NOON, connection=connection)


def told_ids(catalog: catalog_store.CatalogStore, sector: str | None = None) -> list[str]:
    rows = catalog.announcements(limit=10_000)
    return [row.item_id for row in rows if sector in (None, row.payload["sector"])]


@needs_broker
def test_an_agency_that_asks_for_everything_gets_its_sector_only(
    catalog: catalog_store.CatalogStore, mosquitto: Mosquitto, subscribe: Callable[[str], Subscriber]
) -> None:
    fill(catalog, 120)
    emergency, everything = subscribe("emergency"), subscribe("everything")
    channel = mqtt.MqttChannel("mqtt", mosquitto.broker, mqtt.for_agencies(retain_latest=True))
    assert push.Pusher(catalog=catalog).push(channel) == push.Position(channel="mqtt", sequence=120)
    channel.close()
    assert waited(lambda: len(everything.got) == 240)
    assert [p["id"] for t, p in everything.got if t.startswith("cq/products/")] == told_ids(catalog)
    assert waited(lambda: len(emergency.got) == 20)
    assert [payload["id"] for _topic, payload in emergency.got] == told_ids(catalog, "emergency")
    assert all(topic.startswith("cq/products/emergency/") for topic, _payload in emergency.got)


@needs_broker
def test_the_broker_is_killed_and_comes_back_and_nothing_is_lost(
    catalog: catalog_store.CatalogStore, mosquitto: Mosquitto, subscribe: Callable[[str], Subscriber]
) -> None:
    fill(catalog, 40)
    first = subscribe("everything")
    channel, pusher = mqtt.MqttChannel("mqtt", mosquitto.broker, mqtt.for_agencies()), push.Pusher(catalog=catalog)
    assert pusher.push(channel).sequence == 40
    assert waited(lambda: len(first.identities()) == 40)
    mosquitto.kill()
    fill(catalog, 90, seed=2)  # other times, so all are new items
    failed = pusher.push(channel)
    assert (failed.sequence, failed.failures) == (40, 1)
    assert "broker" in str(failed.reason)
    mosquitto.start()
    assert waited(first.client.is_connected)
    second = subscribe("emergency")
    time.sleep(0.3)  # the first has asked again by then: its connection is older
    assert pusher.push(channel) == push.Position(channel="mqtt", sequence=130)
    channel.close()
    assert waited(lambda: first.identities() == set(told_ids(catalog)))
    assert waited(lambda: second.identities() == set(told_ids(catalog, "emergency")[40 // 6 :]))


@needs_broker
def test_what_the_broker_refuses_is_a_failure_and_does_not_count_as_delivered(
    catalog: catalog_store.CatalogStore, mosquitto: Mosquitto
) -> None:
    fill(catalog, 3)
    forbidden = mqtt.MqttChannel("mqtt", mosquitto.broker, lambda _told: [("elsewhere/x", b"{}", False)])
    failed = push.Pusher(catalog=catalog).push(forbidden)
    assert (failed.sequence, "refused elsewhere/x" in str(failed.reason)) == (0, True)
    (mosquitto.folder / "pusher.secret").write_text("wrong")
    stranger = mqtt.MqttChannel("other", mosquitto.broker, mqtt.for_agencies())
    assert "refused the connection" in str(push.Pusher(catalog=catalog).push(stranger).reason)


@needs_broker
def test_wis2_messages_arrive_valid_under_the_experimental_topic(
    catalog: catalog_store.CatalogStore, mosquitto: Mosquitto, subscribe: Callable[[str], Subscriber]
) -> None:
    fill(catalog, 60)
    everything, origin = subscribe("everything"), wis2_notification.Origin()
    messages = mqtt.for_wis2(origin, public_url="https://s.example")
    channel = mqtt.MqttChannel("wis2", mosquitto.broker, messages)
    assert push.Pusher(catalog=catalog).push(channel).sequence == 60
    channel.close()
    assert waited(lambda: len(everything.got) == 10)
    for topic, message in everything.got:
        assert topic == wis2_notification.topic(origin)
        wis2_notification.validate(message)


@needs_broker
def test_a_notice_reaches_the_agencies_it_concerns_and_survives_a_broker_that_was_away(
    catalog: catalog_store.CatalogStore, mosquitto: Mosquitto, subscribe: Callable[[str], Subscriber]
) -> None:
    for fields in modelled_catalogue.collections():
        catalog.put_collection(stac.build_collection(fields))
    told = notices.Notices(catalog)
    draft = notices.Draft(
        kind="interruption", subjects=("flood-extent", "land-cover"), effective_at=NOON,
        title_zh="停机", title_en="Down", text_zh="停机一小时", text_en="Down for an hour",
    )  # fmt: skip
    made = told.add(draft, now=NOON)
    mosquitto.kill()
    inner = mqtt.MqttChannel("mqtt", mosquitto.broker, mqtt.for_notices(), client="notices")
    channel, pusher = push.NoticeChannel(inner), push.Pusher(catalog=catalog)
    assert (pusher.push(channel).sequence, pusher.positions.read(channel.name).failures) == (0, 1)
    told.cancel(made.id, reason="done", now=NOON)
    mosquitto.start()
    emergency, everything = subscribe("emergency"), subscribe("everything")
    assert pusher.push(channel) == push.Position(channel="notices-mqtt", sequence=2)
    channel.close()
    assert waited(lambda: len(everything.got) == 4)
    assert waited(lambda: len(emergency.got) == 2)
    assert [(topic, one["collections"], one["change"]) for topic, one in emergency.got] == [
        ("cq/notices/emergency/interruption", ["flood-extent"], "published"),
        ("cq/notices/emergency/interruption", ["flood-extent"], "cancelled"),
    ]


@needs_broker
def test_a_broker_that_refuses_test_data_holds_up_nothing_agencies_work_with(
    catalog: catalog_store.CatalogStore, mosquitto: Mosquitto, subscribe: Callable[[str], Subscriber]
) -> None:
    entries = tuple(modelled_catalogue.entries(12, seed=1))
    name = f"{entries[0].item_id}-test"
    trial = dataclasses.replace(entries[0], item_id=name, collection=f"{entries[0].collection}-test")
    for entry in (trial, *entries):
        catalog.publish(entry, published_at=NOON)
    everything, pusher = subscribe("everything"), push.Pusher(catalog=catalog)
    operational = mqtt.MqttChannel("mqtt", mosquitto.broker, mqtt.for_agencies())
    assert pusher.push(operational) == push.Position(channel="mqtt", sequence=13)
    operational.close()
    test_data = mqtt.MqttChannel("mqtt-test", mosquitto.broker, mqtt.for_agencies(stream="test"))
    failed = pusher.push(test_data)
    assert (failed.sequence, "refused cq-test/" in str(failed.reason)) == (0, True)
    assert waited(lambda: len(everything.got) == 12)
    assert name not in everything.identities()


# Webhooks


@dataclasses.dataclass
class Post:
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A receiver on this machine, up or down, that answers what it is told to."""

    def __init__(self, port: int = 0) -> None:
        posts: list[Post] = []
        self.posts, self.answer = posts, 204
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append(Post(dict(self.headers), body))
                self.send_response(outer.answer)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = int(self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def identities(self) -> list[str]:
        return [json.loads(post.body)["id"] for post in self.posts]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def hooked(
    catalog: catalog_store.CatalogStore, home: Path, port: int
) -> tuple[webhook.WebhookChannel, webhook.Webhook, bytes]:
    url = f"http://127.0.0.1:{port}/in"
    hook, secret = webhook.add(catalog, home, agency="a", url=url, sectors=["emergency", "weather"], from_start=True)
    return webhook.WebhookChannel(hook, home), hook, secret.encode()


def expected(catalog: catalog_store.CatalogStore, hook: webhook.Webhook) -> list[str]:
    found = push.outgoing(catalog, after=0, public_url="")
    return [
        one.item.item_id
        for one in found
        if entitlement.permits(hook.principal, sector=one.item.sector, admin_codes=one.districts)
    ]


def test_the_receiver_verifies_what_it_gets_and_refuses_what_was_altered(
    catalog: catalog_store.CatalogStore, tmp_path: Path, receiver: Receiver
) -> None:
    fill(catalog, 60)
    channel, hook, secret = hooked(catalog, tmp_path, receiver.port)
    assert push.Pusher(catalog=catalog).push(channel).sequence == 60
    channel.close()
    assert receiver.identities() == expected(catalog, hook)
    for post in receiver.posts:
        value = post.headers[webhook_signature.HEADER]
        assert webhook_signature.verify(value, post.body, secret=secret, now=time.time())
        altered = post.body.replace(b"published", b"withdrawn")
        assert altered != post.body
        assert not webhook_signature.verify(value, altered, secret=secret, now=time.time())
    assert len({post.headers[webhook_signature.DELIVERY_HEADER] for post in receiver.posts}) == 20


def test_a_receiver_that_was_down_gets_everything_in_order(catalog: catalog_store.CatalogStore, tmp_path: Path) -> None:
    fill(catalog, 60)
    port = free_port()
    channel, hook, _ = hooked(catalog, tmp_path, port)
    stop, pusher = threading.Event(), push.Pusher(catalog=catalog)
    channels = {channel.name: channel}
    runner = threading.Thread(target=pusher.run, args=(lambda: channels, stop), kwargs={"poll": 0.02})
    runner.start()
    try:
        assert waited(lambda: pusher.positions.read(channel.name).failures >= 1)
        receiver = Receiver(port)
        try:
            assert waited(lambda: len(receiver.posts) == 20)
        finally:
            receiver.close()
    finally:
        stop.set()
        runner.join()
    assert receiver.identities() == expected(catalog, hook)
    assert pusher.positions.read(channel.name).failures == 0


@pytest.mark.parametrize("answer", [302, 400, 503])
def test_an_answer_that_is_no_success_is_repeated_under_the_same_delivery_and_leads_nowhere_else(
    catalog: catalog_store.CatalogStore, tmp_path: Path, receiver: Receiver, answer: int
) -> None:
    fill(catalog, 12)
    channel, hook, _ = hooked(catalog, tmp_path, receiver.port)
    receiver.answer = answer
    pusher = push.Pusher(catalog=catalog)
    assert str(answer) in str(pusher.push(channel).reason)
    assert len(receiver.posts) == 1
    receiver.answer = 200
    assert pusher.push(channel).sequence == 12
    channel.close()
    first, second = (post.headers[webhook_signature.DELIVERY_HEADER] for post in receiver.posts[:2])
    assert first == second
    assert receiver.identities()[1:] == expected(catalog, hook)
