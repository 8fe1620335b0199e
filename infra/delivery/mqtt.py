"""Announcements to an MQTT broker: topics by sector, product and district, and WIS2 messages on a channel of their own.

Version 5 of the protocol, because only there a broker says that it refused a message instead of dropping it silently.
"""

import dataclasses
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import enums

from infra import catalog_store
from infra.delivery import notices, push, stored_hash
from products import streams, wis2_notification

#: Messages sent before the first is acknowledged [1].
WINDOW = 20

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_REFUSED_FROM = 0x80

Message = tuple[str, bytes, bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broker:
    """Where the broker is and how it knows us.

    Attributes
    ----------
    url : str
        ``mqtt://host:port`` or ``mqtts://host:port``; no user or password in it.
    user : str or None
        User.
    password_file : Path or None
        File that holds the password.
    ca_file : Path or None
        Certificates that vouch for the broker; those of the system where None.
    timeout : float
        How long to wait for the broker [s].
    """

    url: str
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout: float = 10.0


class MqttChannel:
    """Publishes announcements with quality of service 1.

    Parameters
    ----------
    name : str
        Name of the channel.
    broker : Broker
        Where to.
    messages : callable
        Gives the messages (topic, payload, whether retained) of one announcement or notice; none where it says
        nothing.
    client : str or None
        End of the name under which the broker knows it; the channel's where None.
    """

    def __init__(
        self, name: str, broker: Broker, messages: Callable[[Any], Sequence[Message]], *, client: str | None = None
    ) -> None:
        parsed = urllib.parse.urlsplit(broker.url)
        if parsed.scheme not in _PORTS or not parsed.hostname or parsed.username or parsed.password:
            raise ValueError("the broker's address is mqtt://host:port or mqtts://host:port, without user and password")
        if (
            parsed.scheme == "mqtt"
            and broker.password_file
            and parsed.hostname not in {"localhost", "127.0.0.1", "::1"}
        ):
            raise ValueError("a password goes to another machine over mqtts:// only")
        self._name = name
        self._broker = broker
        self._messages = messages
        self._client: paho.Client | None = None
        self._client_id = f"terralimb-push-{client or name}"
        self._refused: dict[int, str] = {}

    @property
    def name(self) -> str:
        """Name under which the position is kept."""
        return self._name

    def deliver(self, told: Sequence[push.Outgoing]) -> Iterator[int]:
        """Deliver in order, a window at a time.

        Parameters
        ----------
        told : Sequence of push.Outgoing
            Announcements or notices.

        Yields
        ------
        int
            Sequence up to which the broker acknowledged everything [1].

        Raises
        ------
        infra.delivery.push.ChannelError
            The broker is not there, or refused.
        """
        for at in range(0, len(told), WINDOW):
            part = told[at : at + WINDOW]
            messages = [message for one in part for message in self._messages(one)]
            try:
                self._publish(messages)
            except BaseException:
                self.close()
                raise
            yield part[-1].sequence

    def close(self) -> None:
        """Let go of the broker."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _publish(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        client = self._connected()
        sent = [client.publish(topic, payload, qos=1, retain=retained) for topic, payload, retained in messages]
        until = time.monotonic() + self._broker.timeout
        for info, (topic, _payload, _retained) in zip(sent, messages, strict=True):
            try:
                info.wait_for_publish(max(0.0, until - time.monotonic()))
            except (RuntimeError, ValueError) as error:
                raise push.ChannelError(f"the broker was lost: {error}") from error
            if not info.is_published():
                raise push.ChannelError(f"the broker did not acknowledge within {self._broker.timeout:.0f} s")
            if info.mid in self._refused:
                raise push.ChannelError(f"the broker refused {topic}: {self._refused[info.mid]}")

    def _connected(self) -> paho.Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self.close()
        broker, parsed = self._broker, urllib.parse.urlsplit(self._broker.url)
        client = paho.Client(
            enums.CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=enums.MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = broker.timeout
        client.max_inflight_messages_set(WINDOW)
        if broker.user is not None:
            secret = broker.password_file.read_text(encoding="utf-8").strip() if broker.password_file else None
            client.username_pw_set(broker.user, secret)
        if parsed.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context(cafile=broker.ca_file))
        answer: list[Any] = []
        answered = threading.Event()

        def on_connect(*given: Any) -> None:
            answer.append(given[3])
            answered.set()

        def on_publish(_client: Any, _userdata: Any, mid: int, reason: Any, _properties: Any) -> None:
            if reason.value >= _REFUSED_FROM:
                self._refused[mid] = str(reason)

        client.on_connect = on_connect
        client.on_publish = on_publish
        self._refused = {}
        try:
            client.connect(str(parsed.hostname), parsed.port or _PORTS[parsed.scheme], keepalive=30)
        except (OSError, ValueError) as error:
            raise push.ChannelError(f"the broker cannot be reached: {error}") from error
        client.loop_start()
        self._client = client
        if not answered.wait(broker.timeout):
            raise push.ChannelError(f"the broker did not answer within {broker.timeout:.0f} s")
        if answer[0].is_failure:
            raise push.ChannelError(f"the broker refused the connection: {answer[0]}")
        return client


def topic_of(told: push.Told, branch: str = "products") -> str:
    """Topic of an announcement for agencies.

    Parameters
    ----------
    told : push.Told
        The announcement.
    branch : str
        products, or latest for what is retained.

    Returns
    -------
    str
        ``cq/{branch}/{sector}/{product}/{adcode}``, ``cq-test/...`` for test data; ``all`` for an item
        of several districts or of none, as
        whoever may see one district only must not see it.
    """
    districts = told.districts
    place = districts[0] if len(districts) == 1 else "all"
    root = "cq" if told.stream == streams.OPERATIONAL else "cq-test"
    return f"{root}/{branch}/{told.item.sector}/{told.item.product}/{place}"


def for_agencies(
    *, retain_latest: bool = False, stream: streams.Stream = streams.OPERATIONAL
) -> Callable[[push.Told], Sequence[Message]]:
    """Messages for agencies, of one stream.

    Each stream has a channel of its own: a broker that does not take test data holds up nothing agencies work with.

    Parameters
    ----------
    retain_latest : bool
        Whether the newest announcement also stands retained under ``cq/latest/...``.
    stream : str
        One of `products.streams.STREAMS`.

    Returns
    -------
    callable
        Messages of one announcement.
    """

    def messages(told: push.Told) -> Sequence[Message]:
        if told.stream != stream:
            return ()
        payload = json.dumps(told.payload, ensure_ascii=False, sort_keys=True).encode()
        found = [(topic_of(told), payload, False)]
        if retain_latest and "successor" not in told.payload:
            found.append((topic_of(told, "latest"), payload, True))
        return found

    return messages


def for_notices() -> Callable[[notices.ToldNotice], Sequence[Message]]:
    """Messages of notices: one for each sector, so that the broker's rules decide who is told what.

    Returns
    -------
    callable
        Messages of one notice, to ``cq/notices/{sector}/{kind}``, sector ``all`` for what concerns everybody.
    """

    def messages(told: notices.ToldNotice) -> Sequence[Message]:
        return [
            (
                f"cq/notices/{sector}/{told.notice.kind}",
                json.dumps(payload, ensure_ascii=False, sort_keys=True).encode(),
                False,
            )
            for sector, payload in told.by_sector().items()
        ]

    return messages


def for_wis2(
    origin: wis2_notification.Origin,
    *,
    public_url: str,
    sha512: Callable[[catalog_store.AssetRecord], str | None] = lambda _asset: None,
) -> Callable[[push.Told], Sequence[Message]]:
    """WIS2 messages, of weather products only.

    Parameters
    ----------
    origin : products.wis2_notification.Origin
        Who sends.
    public_url : str
        Address of the service as the world reaches it.
    sha512 : callable
        Finds the SHA-512 of an asset, in hex; where it gives None, messages state the SHA-256 of the catalogue.

    Returns
    -------
    callable
        Messages of one announcement.
    """
    topic = wis2_notification.topic(origin)

    def messages(told: push.Told) -> Sequence[Message]:
        if told.item.sector != "weather" or told.stream != streams.OPERATIONAL:
            return ()
        try:
            message = wis2_notification.message(told.payload, origin=origin, file=_data_file(told, public_url, sha512))
        except (wis2_notification.Wis2NotificationError, stored_hash.StoredHashError) as error:
            raise push.ChannelError(f"{told.item.item_id}: {error}") from error
        return () if message is None else ((topic, json.dumps(message, ensure_ascii=False).encode(), False),)

    return messages


def _data_file(
    told: push.Told, public_url: str, sha512: Callable[[catalog_store.AssetRecord], str | None]
) -> wis2_notification.DataFile:
    described = told.item.document.get("assets", {})
    for asset in told.item.assets:
        if "data" in described.get(asset.name, {}).get("roles", ()):
            # Nothing else tells of a hash; what was withdrawn may be gone and is not read.
            found = sha512(asset) if told.payload["event"] == "published" else None
            return wis2_notification.DataFile(
                href=push.address(public_url, "download", told.item.item_id, str(told.item.revision), asset.name),
                media_type=described[asset.name].get("type", "application/octet-stream"),
                size=asset.size,
                method="sha512" if found else "sha256",
                digest=found or asset.sha256,
            )
    raise push.ChannelError(f"{told.item.item_id} has no asset of role data")
