"""What is pushed arrives at least once and in order, goes to nobody it is not meant for, and holds up nobody else."""

import base64
import contextlib
import dataclasses
import datetime as dt
import hashlib
import io
import json
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra import catalog_store, database, object_store
from infra.delivery import entitlement, mqtt, push, stored_hash, webhook
from infra.demonstration import modelled_catalogue
from products import webhook_signature, wis2_notification

NOON = dt.datetime(2025, 9, 1, 12, tzinfo=dt.UTC)
COUNT = 150
ORIGIN = wis2_notification.Origin()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("push") / "t.sqlite"
    database.upgrade(f"sqlite:///{path}")
    catalog = catalog_store.CatalogStore(database.engine(f"sqlite:///{path}"))
    with catalog.writing() as connection:
        for entry in modelled_catalogue.entries(COUNT, seed=1):
            catalog.publish(entry, published_at=NOON, connection=connection)
    return path


@pytest.fixture
def catalog(filled: Path) -> Iterator[catalog_store.CatalogStore]:
    found = catalog_store.CatalogStore(database.engine(f"sqlite:///{filled}"))
    yield found
    with found.engine.begin() as connection:
        connection.execute(sa.delete(push.position_table))
        connection.execute(sa.delete(webhook.webhook_table))


@dataclasses.dataclass
class Receiver:
    name: str = "r"
    got: list[int] = dataclasses.field(default_factory=list)
    breaks_at: int | None = None

    def deliver(self, told: Sequence[push.Told]) -> Iterator[int]:
        for one in told:
            if one.sequence == self.breaks_at:
                raise push.ChannelError("gone")
            self.got.append(one.sequence)
            yield one.sequence

    def close(self) -> None:
        pass


def all_told(catalog: catalog_store.CatalogStore) -> list[push.Told]:
    found: list[push.Told] = []
    while part := push.outgoing(catalog, after=found[-1].sequence if found else 0, public_url="https://s.example"):
        found += part
    return found


def test_a_channel_that_breaks_goes_on_where_it_stopped_and_loses_nothing(catalog: catalog_store.CatalogStore) -> None:
    receiver, pusher = Receiver(breaks_at=120), push.Pusher(catalog=catalog, clock=lambda: NOON)
    failed = pusher.push(receiver)
    assert (failed.sequence, failed.failures, failed.failing_since, failed.reason) == (119, 1, NOON, "gone")
    assert push.report(catalog, now=NOON)["r"]["outstanding"] == COUNT - 119
    receiver.breaks_at = None
    assert pusher.push(receiver) == push.Position(channel="r", sequence=COUNT)
    assert receiver.got == list(range(1, COUNT + 1))


def test_an_unforeseen_error_of_a_channel_is_a_failure_without_its_text(catalog: catalog_store.CatalogStore) -> None:
    class Faulty(Receiver):
        def deliver(self, told: Sequence[push.Told]) -> Iterator[int]:
            raise KeyError("a secret")

    failed = push.Pusher(catalog=catalog).push(Faulty())
    assert (failed.sequence, failed.reason) == (0, "KeyError: see the log")


def test_a_channel_that_hangs_holds_up_no_other(catalog: catalog_store.CatalogStore) -> None:
    free = threading.Event()

    class Hanging(Receiver):
        def deliver(self, told: Sequence[push.Told]) -> Iterator[int]:
            free.wait(10)
            yield from ()
            raise push.ChannelError("too late")

    stop, well = threading.Event(), Receiver("well")
    channels = {"hung": Hanging("hung"), "well": well}
    runner = threading.Thread(
        target=push.Pusher(catalog=catalog).run, args=(lambda: channels, stop), kwargs={"poll": 0.01}
    )
    runner.start()
    for _ in range(500):
        if len(well.got) == COUNT:
            break
        stop.wait(0.01)
    arrived = list(well.got)
    free.set()
    stop.set()
    runner.join()
    assert arrived == list(range(1, COUNT + 1))


def test_waits_double_and_are_bounded() -> None:
    assert [push.wait_after(n) for n in (1, 2, 3, 10, 10_000)] == [1, 2, 4, 300, 300]


def test_an_item_of_several_districts_or_of_none_goes_to_no_topic_of_a_district(
    catalog: catalog_store.CatalogStore,
) -> None:
    seen = set()
    for told in all_told(catalog):
        *_, sector, _product, place = mqtt.topic_of(told).split("/")
        assert sector == told.item.sector
        assert place == (told.districts[0] if len(told.districts) == 1 else "all")
        seen.add(min(len(told.districts), 2))
    assert seen == {0, 1, 2}


def test_retained_messages_stand_beside_and_not_for_the_superseded(catalog: catalog_store.CatalogStore) -> None:
    told = all_told(catalog)[0]
    (plain,) = mqtt.for_agencies()(told)
    assert plain[2] is False
    _, latest = mqtt.for_agencies(retain_latest=True)(told)
    assert latest[0].startswith("cq/latest/")
    assert latest[2] is True
    for event in ("superseded", "withdrawn"):
        old = dataclasses.replace(told, payload={**told.payload, "event": event, "successor": 2})
        assert len(mqtt.for_agencies(retain_latest=True)(old)) == 1
    gone = dataclasses.replace(told, payload={**told.payload, "event": "withdrawn"})
    assert len(mqtt.for_agencies(retain_latest=True)(gone)) == 2


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "mqtt://u:p@h"])
def test_an_address_that_is_no_brokers_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="broker"):
        mqtt.MqttChannel("m", mqtt.Broker(url=url), mqtt.for_agencies())


def test_a_password_never_goes_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    broker = mqtt.Broker(url="mqtt://b.example", user="u", password_file=tmp_path / "p")
    with pytest.raises(ValueError, match="mqtts"):
        mqtt.MqttChannel("m", broker, mqtt.for_agencies())


def test_wis2_hears_of_weather_only_and_every_message_is_valid(catalog: catalog_store.CatalogStore) -> None:
    messages = mqtt.for_wis2(ORIGIN, public_url="https://s.example")
    for told in all_told(catalog):
        found = messages(told)
        assert len(found) == (told.item.sector == "weather")
        for topic, _payload, retained in found:
            assert topic == "origin/a/wis2/cn-terralimb-test/data/recommended/weather/experimental/radio-occultation"
            assert not retained


class Shelf:
    """A store with one shelf."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content
        self.opened = 0

    @contextlib.contextmanager
    def open(self, _bucket: str, _key: str) -> Iterator[io.BytesIO]:
        self.opened += 1
        if isinstance(self.content, Exception):
            raise self.content
        yield io.BytesIO(self.content)


def weather(catalog: catalog_store.CatalogStore, body: bytes, event: str = "published") -> push.Told:
    """An announcement of a weather product whose data is `body`."""
    told = next(told for told in all_told(catalog) if told.item.sector == "weather")
    assets = tuple(
        dataclasses.replace(asset, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
        for asset in told.item.assets
    )
    item = dataclasses.replace(told.item, assets=assets)
    return dataclasses.replace(told, item=item, payload={**told.payload, "event": event})


def integrity(told: push.Told, shelf: Shelf) -> object:
    sha512 = stored_hash.Sha512(lambda: shelf)  # type: ignore[arg-type,return-value]
    ((_, payload, _),) = mqtt.for_wis2(ORIGIN, public_url="https://s.example", sha512=sha512)(told)
    return json.loads(payload)["properties"].get("integrity")


def test_wis2_is_told_the_sha512_of_the_file_as_the_store_holds_it(catalog: catalog_store.CatalogStore) -> None:
    body = bytes(range(256)) * 8200  # more than two blocks
    expected = base64.b64encode(hashlib.sha512(body).digest()).decode()
    assert integrity(weather(catalog, body), Shelf(body)) == {"method": "sha512", "value": expected}


def test_wis2_is_told_the_known_hash_of_a_file_that_is_gone_and_none_of_one_withdrawn(
    catalog: catalog_store.CatalogStore,
) -> None:
    known = {"method": "sha256", "value": base64.b64encode(hashlib.sha256(b"x").digest()).decode()}
    assert integrity(weather(catalog, b"x"), Shelf(object_store.ObjectMissingError("expired"))) == known
    shelf = Shelf(b"x")
    assert integrity(weather(catalog, b"x", "withdrawn"), shelf) is None
    assert shelf.opened == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"another", "not what was published"),
        (b"x" * 2, "not what was published"),
        (object_store.StoreUnavailableError("down"), "cannot be read: down"),
    ],
)
def test_a_hash_that_cannot_be_vouched_for_holds_the_channel_and_is_not_told(
    catalog: catalog_store.CatalogStore, content: bytes | Exception, said: str
) -> None:
    with pytest.raises(push.ChannelError, match=said):
        integrity(weather(catalog, b"x"), Shelf(content))


# Webhooks


def added(catalog: catalog_store.CatalogStore, home: Path, **given: object) -> tuple[webhook.Webhook, str]:
    wanted = {"agency": "a", "url": "https://h.example/in", "sectors": ["emergency"], **given}
    return webhook.add(catalog, home, **wanted)  # type: ignore[arg-type]


def test_the_secret_is_for_the_owner_only_and_nowhere_else(catalog: catalog_store.CatalogStore, tmp_path: Path) -> None:
    hook, secret = added(catalog, tmp_path)
    path = tmp_path / "keys" / "webhooks" / f"{hook.id}.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert webhook.secret_of(tmp_path, hook.id).decode() == secret
    with catalog.engine.connect() as connection:
        assert secret not in str(connection.execute(sa.select(webhook.webhook_table)).all())
    with pytest.raises(ValueError, match="id"):
        webhook.secret_of(tmp_path, "../../etc")


def test_a_new_webhook_hears_what_comes_or_everything(catalog: catalog_store.CatalogStore, tmp_path: Path) -> None:
    positions = push.Positions(catalog.engine)
    assert positions.read(added(catalog, tmp_path)[0].channel).sequence == COUNT
    assert positions.read(added(catalog, tmp_path, from_start=True)[0].channel).sequence == 0


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://h.example/in"},
        {"url": "https://u:p@h.example/"},
        {"url": "file:///etc/passwd"},
        {"sectors": []},
        {"sectors": ["astronomy"]},
        {"districts": []},
        {"districts": ["%"]},
        {"agency": "a b"},
    ],
)
def test_what_cannot_be_a_webhook_is_refused(
    catalog: catalog_store.CatalogStore, tmp_path: Path, given: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        added(catalog, tmp_path, **given)
    assert webhook.listing(catalog.engine) == ()


FORBIDDEN = ("10.0.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0")  # noqa: S104


@pytest.mark.parametrize("address", [*FORBIDDEN, "100.64.0.1", "fd00::1", "224.0.0.1"])
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(
    catalog: catalog_store.CatalogStore, tmp_path: Path, address: str
) -> None:
    hook, _ = added(catalog, tmp_path, from_start=True)
    # One good address among the bad ones does not make it good.
    channel = webhook.WebhookChannel(hook, tmp_path, resolve=lambda _host, _port: ("8.8.8.8", address))
    failed = push.Pusher(catalog=catalog).push(channel)
    channel.close()
    assert "must not be reached" in str(failed.reason)


def test_private_networks_can_be_allowed_and_this_machine_cannot() -> None:
    assert webhook._allowed("10.0.0.1", loopback=False, private=True)
    assert not webhook._allowed("127.0.0.1", loopback=False, private=True)
    assert not webhook._allowed("169.254.169.254", loopback=False, private=True)


def test_a_webhook_gets_what_its_agency_could_search_and_nothing_else(
    catalog: catalog_store.CatalogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, _ = added(catalog, tmp_path, districts=["500101", "500102"], from_start=True)
    posted: list[str] = []
    monkeypatch.setattr(webhook.WebhookChannel, "_post", lambda _self, payload: posted.append(payload["id"]))
    channel = webhook.WebhookChannel(hook, tmp_path)
    assert push.Pusher(catalog=catalog).push(channel).sequence == COUNT
    channel.close()
    column = catalog_store.item_table.c
    with catalog.engine.connect() as connection:
        seen = connection.execute(sa.select(column.id).where(entitlement.condition(hook.principal))).scalars().all()
    assert sorted(posted) == sorted(seen) != []


def test_a_webhook_that_fails_for_days_is_suspended_with_the_reason_and_goes_on_where_it_stopped(
    catalog: catalog_store.CatalogStore, tmp_path: Path
) -> None:
    hook, _ = added(catalog, tmp_path)
    positions = push.Positions(catalog.engine)
    positions.fail(hook.channel, "gone", now=NOON)
    failed = positions.fail(hook.channel, "still gone", now=NOON + dt.timedelta(days=2))
    assert not webhook.suspend_hopeless(catalog.engine, failed, now=NOON + dt.timedelta(days=2))
    assert webhook.suspend_hopeless(catalog.engine, failed, now=NOON + dt.timedelta(days=3))
    (held,) = webhook.listing(catalog.engine)
    assert (held.active, "still gone" in str(held.suspended_reason)) == (False, True)
    assert webhook.set_active(catalog.engine, hook.id, reason=None)
    assert positions.read(hook.channel) == push.Position(channel=hook.channel, sequence=COUNT)
    assert not webhook.suspend_hopeless(catalog.engine, push.Position(channel="mqtt"), now=NOON)


def test_a_signature_holds_for_this_body_secret_and_time_only() -> None:
    body, secret = b'{"a": 1}', b"s" * 64
    value = webhook_signature.sign(body, secret=secret, at=1000)
    assert value.startswith("t=1000,v1=")
    assert webhook_signature.verify(value, body, secret=secret, now=1200)
    assert not webhook_signature.verify(value, body + b" ", secret=secret, now=1000)
    assert not webhook_signature.verify(value, body, secret=b"o" * 64, now=1000)
    assert not webhook_signature.verify(value.replace("1000", "1001"), body, secret=secret, now=1000)
    assert not webhook_signature.verify(value, body, secret=secret, now=1301)
    assert not webhook_signature.verify("nonsense", body, secret=secret, now=1000)
