"""Commands of push: announcements to a broker and to webhooks."""

import collections
import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import private_files, settings
from infra.cli import mailbox_care

if TYPE_CHECKING:
    from infra import catalog_store, object_store
    from infra.delivery import push, webhook

app = typer.Typer(no_args_is_help=True, help="Announcements pushed to a broker (MQTT, WIS2) and to webhooks.")

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command("run")
def run(
    once: bool = typer.Option(False, "--once", help="Push what is outstanding, one try a channel, and end."),
    from_beginning: bool = typer.Option(
        False, "--from-beginning", help="Tell a channel that never ran before everything there ever was."
    ),
) -> None:
    """Push announcements to the broker of TERRALIMB_MQTT_URL and to all webhooks, until Ctrl-C.

    Each channel keeps its own position: what was not acknowledged is sent again, also after a restart, and a channel
    that fails holds up no other. A channel that never ran before starts at the present, with the notices still to be
    heeded, unless --from-beginning is given; from then on it misses nothing. With TERRALIMB_WIS2=true weather
    products are announced as WIS2 messages too.

    Exit status with --once: 0 if every channel took everything, 1 if one did not; it is named.
    """
    from infra.delivery import push, webhook

    chosen = settings.current()
    catalog = _catalog(chosen)

    def on_failure(position: "push.Position") -> None:
        _say(f"{position.channel}: {position.reason}")
        webhook.suspend_hopeless(
            catalog.engine, position, now=dt.datetime.now(dt.UTC), days=chosen.webhook_give_up_days
        )

    pusher = push.Pusher(catalog=catalog, public_url=chosen.public_url, on_failure=on_failure)
    channels = _Channels(chosen, catalog, from_beginning=from_beginning)
    with _alone(chosen.home):
        if once:
            _once(pusher, channels())
            return
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        _say(f"Pushing on {', '.join(channels()) or 'no channel yet'}. Ctrl-C stops it.")
        pusher.run(channels, stop)


@app.command("add-webhook")
def add_webhook(
    agency: str = typer.Option(..., "--agency", help="Name of the agency: letters, digits and . @ + - _"),
    url: str = typer.Option(..., "--url", help="https://host/path; http to this machine only."),
    sector: list[str] = typer.Option(..., "--sector", help="Sector it is told of; may be repeated."),
    district: list[str] = typer.Option([], "--district", help="Code of GB/T 2260 it is limited to; may be repeated."),
    all_districts: bool = typer.Option(
        False, "--all-districts", help="It is limited to no district; hears of products of none, such as profiles, too."
    ),
    from_start: bool = typer.Option(False, "--from-start", help="Tell it everything there ever was."),
    as_json: bool = AS_JSON,
) -> None:
    """Add a webhook and print its secret, with which the agency verifies what it is sent.

    Every post has the header `X-Terralimb-Signature: t=<unix time>,v1=<HMAC-SHA256 of "t.body" in hex>` and the header
    `X-Terralimb-Delivery`, which is the same when a post is repeated.

    Example: terralimb push add-webhook --agency cq-flood-control --sector emergency --district 500112
    --url https://hooks.example/in
    """
    from infra.delivery import webhook

    if bool(district) == all_districts:
        raise typer.BadParameter("say either which districts it is told of (--district), or --all-districts")
    chosen = settings.current()
    try:
        hook, secret = webhook.add(
            _catalog(chosen),
            chosen.home,
            agency=agency,
            url=url,
            sectors=sector,
            districts=district or None,
            from_start=from_start,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        _print({"id": hook.id, "agency": agency, "url": url, "secret": secret})
        return
    sys.stdout.write(f"{secret}\n")
    _say(f"Webhook {hook.id} of {agency}. This is its secret: hand it over by a safe way.")


@app.command("resume")
def resume(webhook_id: str = typer.Argument(..., help="Id of the webhook, as `list` shows it.")) -> None:
    """Take up a suspended webhook where it stopped."""
    from infra.delivery import webhook

    if not webhook.set_active(_catalog(settings.current()).engine, webhook_id, reason=None):
        raise LookupError(f"there is no webhook {webhook_id}: see `terralimb push list`")
    _say(f"Webhook {webhook_id} is tried again.")


@app.command("list")
def listing(as_json: bool = AS_JSON) -> None:
    """Show the channels, what is outstanding on them, and the webhooks."""
    from infra.delivery import push, webhook

    catalog = _catalog(settings.current())
    states, hooks = push.report(catalog, now=dt.datetime.now(dt.UTC)), webhook.listing(catalog.engine)
    if as_json:
        _print({"channels": states, "webhooks": [dataclasses.asdict(hook) for hook in hooks]})
        return
    table = Table("channel", Column("outstanding", justify="right"), "agency", "address", "state", box=None)
    by_channel = {hook.channel: hook for hook in hooks}
    for name, state in states.items():
        hook = by_channel.get(name)
        said = (hook.suspended_reason if hook else None) or state["reason"] or _aside_said(state["set_aside"]) or "ok"
        table.add_row(name, str(state["outstanding"]), hook.agency if hook else "", hook.url if hook else "", str(said))
    Console(width=None if sys.stdout.isatty() else 140).print(table if states else "Nothing was pushed yet.")


def _aside_said(aside: list[dict[str, object]]) -> str:
    """What a channel set aside, in a sentence; empty where it is nothing."""
    if not aside:
        return ""
    first = aside[0]
    return f"{len(aside)} set aside, the first {first['item']} revision {first['revision']}: {first['reason']}"


class _Channels:
    """The channels there are now; the same object for the same channel."""

    def __init__(
        self, chosen: settings.Settings, catalog: "catalog_store.CatalogStore", *, from_beginning: bool
    ) -> None:
        self._chosen = chosen
        self._catalog = catalog
        self._from_beginning = from_beginning
        self._fixed = _broker_channels(chosen)
        self._hooks: dict[str, push.Channel] = {}
        self._mailboxes = mailbox_care.Mailboxes(chosen, catalog.engine)
        self._begin(self._fixed)
        self._forgive_brokers()

    def __call__(self) -> "Mapping[str, push.Channel]":
        from infra.delivery import push, webhook

        active = {hook.channel: hook for hook in webhook.listing(self._catalog.engine) if hook.active}
        self._hooks = {name: channel for name, channel in self._hooks.items() if push.side_of(name) in active}
        new: dict[str, push.Channel] = {}
        for name in sorted(active.keys() - self._hooks.keys()):
            new[name] = self._hook_channel(active[name])
            new[push.notice_channel(name)] = push.NoticeChannel(self._hook_channel(active[name]))
        self._begin(new)
        self._hooks |= new
        return {**self._fixed, **self._hooks, **self._mailboxes()}

    def _hook_channel(self, hook: "webhook.Webhook") -> "push.Channel":
        from infra.delivery import webhook

        return webhook.WebhookChannel(hook, self._chosen.home, private_addresses=self._chosen.webhook_private_addresses)

    def _forgive_brokers(self) -> None:
        """A broker that is not told of any more fails no longer."""
        from infra.delivery import push

        for name in _BROKER_CHANNELS - self._fixed.keys():
            push.Positions(self._catalog.engine).forgive(name)

    def _begin(self, channels: "Mapping[str, push.Channel]") -> None:
        """Write down where a new channel begins before anything is sent, so that it misses nothing from then on."""
        from infra.delivery import push

        engine, now = self._catalog.engine, dt.datetime.now(dt.UTC)
        for name in channels:
            after = 0 if self._from_beginning else push.present(engine, name, now=now)
            push.Positions(engine).begin(name, after)


_BROKER_CHANNELS = frozenset({"mqtt", "mqtt-test", "notices-mqtt", "wis2"})


def _broker_channels(chosen: settings.Settings) -> "dict[str, push.Channel]":
    from infra.delivery import mqtt, push, stored_hash
    from products import streams, wis2_notification

    if chosen.mqtt_url is None:
        return {}
    broker = mqtt.Broker(
        url=chosen.mqtt_url,
        user=chosen.mqtt_user,
        password_file=chosen.mqtt_password_file,
        ca_file=chosen.mqtt_ca_file,
    )
    agencies = mqtt.for_agencies(retain_latest=chosen.mqtt_retain_latest)
    found: dict[str, push.Channel] = {"mqtt": mqtt.MqttChannel("mqtt", broker, agencies)}
    found["mqtt-test"] = mqtt.MqttChannel("mqtt-test", broker, mqtt.for_agencies(stream=streams.TEST))
    # A broker lets one client of a name in at a time, so the notices go by another.
    told = push.NoticeChannel(mqtt.MqttChannel("mqtt", broker, mqtt.for_notices(), client="notices"))
    found[told.name] = told
    if chosen.wis2:
        if not chosen.public_url.startswith(("https://", "http://")):
            raise ValueError("WIS2 messages lead to files: set TERRALIMB_PUBLIC_URL to the address of the service")
        origin = wis2_notification.Origin(
            centre_id=chosen.wis2_centre_id,
            policy=chosen.wis2_policy,
            subtopic=tuple(chosen.wis2_subtopic.strip("/").split("/")),
        )
        sha512 = stored_hash.Sha512(_Store(chosen))
        messages = mqtt.for_wis2(origin, public_url=chosen.public_url, sha512=sha512)
        found["wis2"] = mqtt.MqttChannel("wis2", broker, messages)
        if chosen.wis2_centre_id == wis2_notification.UNREGISTERED_CENTRE:
            _say(f"WIS2: {chosen.wis2_centre_id} is no registered centre; this is for tests only.")
    return found


class _Store:
    """The object store of this installation, wherever it listens now."""

    def __init__(self, chosen: settings.Settings) -> None:
        self._chosen = chosen
        self._known: dict[str, object_store.ObjectStore] = {}

    def __call__(self) -> "object_store.ObjectStore":
        from infra import object_store
        from infra.embedded import object_store_server

        chosen = self._chosen
        if chosen.s3_endpoint_url is None:
            server = object_store_server.running(chosen.home)
            if server is None:
                raise object_store.StoreUnavailableError(f"the store of {chosen.home} does not run: `terralimb up`")
            chosen = chosen.model_copy(
                update={"s3_endpoint_url": server.endpoint_url, "s3_credentials_file": server.credentials_file}
            )
        address = str(chosen.s3_endpoint_url)
        if address not in self._known:
            self._known = {address: object_store.from_settings(chosen)}
        return self._known[address]


def _once(pusher: "push.Pusher", channels: "Mapping[str, push.Channel]") -> None:
    from infra.delivery import push

    failed = []
    aside = collections.Counter(one.channel for one in push.SetAside(pusher.catalog.engine).all())
    for name, channel in channels.items():
        try:
            if pusher.push(channel).failures:
                failed.append(name)
        finally:
            channel.close()
    # Last, and what was set aside before: a channel that sets aside is a mailbox, of which closing lets go of nothing.
    for name in [name for name in channels if name not in failed]:
        for _ in range(aside[name]):
            pusher.catch_up(channels[name])
    for one in push.SetAside(pusher.catalog.engine).all():
        if one.channel in channels:
            _say(f"{one.channel}: {one.item_id}, revision {one.revision}, is set aside: {one.reason}")
            failed += [] if one.channel in failed else [one.channel]
    if failed:
        raise RuntimeError(f"not everything was taken by {', '.join(failed)}; run it again")


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two at once would send everything twice and out of order."""
    private_files.make_folder(home)
    with (home / "push.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"announcements of {home} are being pushed already") from None
        yield


def _catalog(chosen: settings.Settings) -> "catalog_store.CatalogStore":
    from infra import catalog_store, database

    url = chosen.resolved_database_url()
    database.upgrade(url)
    return catalog_store.CatalogStore(database.engine(url))


def _print(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def _say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)
