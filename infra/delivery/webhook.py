"""Webhooks: announcements posted to the machines of agencies, signed, in order, and to no place they must not reach.

Whom an announcement may go to is decided by the one rule of `infra.delivery.entitlement`. The address is resolved
and looked at before every post, and the connection goes to exactly the address looked at, so that a name cannot lead
elsewhere in between.
"""

import dataclasses
import datetime as dt
import ipaddress
import json
import os
import re
import secrets
import socket
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from infra import catalog_store, database
from infra.delivery import entitlement, identity, push
from products import webhook_signature

TIMEOUT = 10.0
#: After failing this long a webhook is suspended [day].
GIVE_UP_DAYS = 3.0

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://terralimb.example/webhook-delivery")
_ID = re.compile(r"[0-9a-f]{12}")
_PREFIX = "webhook-"

webhook_table = push.webhook_table

Resolver = Callable[[str, int], Sequence[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Webhook:
    """One webhook, without its secret.

    Attributes
    ----------
    id : str
        Identity.
    agency : str
        Whose it is.
    url : str
        Where announcements are posted.
    sectors : tuple of str
        Sectors it is told of.
    districts : tuple of str or None
        Districts it is limited to; None for all.
    active : bool
        Whether it is tried.
    suspended_reason : str or None
        Why not.
    created_at : str
        When it was added, RFC 3339 UTC.
    suspended_at : str or None
        Since when it is not tried, RFC 3339 UTC; None where it is, or where that was not recorded.
    """

    id: str
    agency: str
    url: str
    sectors: tuple[str, ...]
    districts: tuple[str, ...] | None
    active: bool
    suspended_reason: str | None
    created_at: str
    suspended_at: str | None = None

    @property
    def channel(self) -> str:
        """Name of its channel.

        Returns
        -------
        str
            Under which its position is kept.
        """
        return f"{_PREFIX}{self.id}"

    @property
    def principal(self) -> entitlement.Principal:
        """Who is told, as the rule of entitlement asks.

        Returns
        -------
        infra.delivery.entitlement.Principal
            With the scope feed only.
        """
        return entitlement.Principal(
            agency=self.agency,
            sectors=frozenset(self.sectors),
            districts=None if self.districts is None else frozenset(self.districts),
            scopes=frozenset({"feed"}),
            key_id=self.channel,
        )


def add(
    catalog: catalog_store.CatalogStore,
    home: Path,
    *,
    agency: str,
    url: str,
    sectors: Sequence[str],
    districts: Sequence[str] | None = None,
    from_start: bool = False,
    now: dt.datetime | None = None,
) -> tuple[Webhook, str]:
    """Add a webhook.

    Parameters
    ----------
    catalog : infra.catalog_store.CatalogStore
        The catalogue.
    home : Path
        Home of the installation, for the secret.
    agency : str
        Whose it is.
    url : str
        Where to post; https, or http to this machine.
    sectors : Sequence[str]
        Sectors; at least one.
    districts : Sequence[str] or None
        Districts it is limited to.
    from_start : bool
        Whether it is told everything there ever was, instead of what comes from now on.
    now : datetime.datetime or None
        Time; the clock's where None.

    Returns
    -------
    tuple of Webhook and str
        The webhook and its secret, to be handed to the agency.

    Raises
    ------
    ValueError
        Something given cannot be.
    """
    identity.check_limits(agency=agency, sectors=sectors, districts=districts)
    _parts(url)
    hook = Webhook(
        id=secrets.token_hex(6),
        agency=agency,
        url=url,
        sectors=tuple(dict.fromkeys(sectors)),
        districts=None if districts is None else tuple(dict.fromkeys(districts)),
        active=True,
        suspended_reason=None,
        created_at=catalog_store.text_from_instant(now or dt.datetime.now(dt.UTC)),
    )
    secret = secrets.token_hex(32)
    _keep_secret(home, hook.id, secret)
    newest = sa.select(sa.func.coalesce(sa.func.max(catalog_store.outbox_table.c.sequence), 0))
    row = {**dataclasses.asdict(hook), "sectors": list(hook.sectors)}
    row["districts"] = None if hook.districts is None else list(hook.districts)
    with catalog.engine.begin() as connection:
        after = 0 if from_start else connection.execute(newest).scalar_one()
        connection.execute(sa.insert(webhook_table), [row])
        start = {"channel": hook.channel, "sequence": after, "failures": 0, "failing_since": None, "reason": None}
        connection.execute(sa.insert(push.position_table), [start])
    return hook, secret


def listing(engine: sa.Engine) -> tuple[Webhook, ...]:
    """All webhooks, oldest first.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.

    Returns
    -------
    tuple of Webhook
        Without their secrets.
    """
    order = sa.select(webhook_table).order_by(webhook_table.c.created_at, webhook_table.c.id)
    with database.reading(engine) as connection:
        rows = connection.execute(order).mappings().all()
    return tuple(
        Webhook(
            id=row["id"],
            agency=row["agency"],
            url=row["url"],
            sectors=tuple(row["sectors"]),
            districts=None if row["districts"] is None else tuple(row["districts"]),
            active=row["active"],
            suspended_reason=row["suspended_reason"],
            created_at=row["created_at"],
            suspended_at=row["suspended_at"],
        )
        for row in rows
    )


def set_active(engine: sa.Engine, webhook_id: str, *, reason: str | None, now: dt.datetime | None = None) -> bool:
    """Suspend a webhook, or take it up again where it stopped.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    webhook_id : str
        Which.
    reason : str or None
        Why it is suspended; None takes it up again.
    now : datetime.datetime or None
        Time; the clock's where None.

    Returns
    -------
    bool
        False where there is no such webhook.
    """
    change = sa.update(webhook_table).where(webhook_table.c.id == webhook_id)
    own = f"{_PREFIX}{webhook_id}"
    clean = sa.update(push.position_table).where(push.position_table.c.channel.in_((own, push.notice_channel(own))))
    since = None if reason is None else catalog_store.text_from_instant(now or dt.datetime.now(dt.UTC))
    with engine.begin() as connection:
        changed = connection.execute(
            change.values(active=reason is None, suspended_reason=reason, suspended_at=since)
        ).rowcount
        if reason is None:
            connection.execute(clean.values(failures=0, failing_since=None, reason=None))
    return bool(changed)


def suspend_hopeless(
    engine: sa.Engine, position: push.Position, *, now: dt.datetime, days: float = GIVE_UP_DAYS
) -> bool:
    """Suspend a webhook that has failed for too long.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    position : push.Position
        Position after a failure.
    now : datetime.datetime
        Time; aware.
    days : float
        How long is too long [day].

    Returns
    -------
    bool
        Whether it was suspended.
    """
    channel = push.side_of(position.channel)
    if not channel.startswith(_PREFIX) or position.failing_since is None:
        return False
    if now - position.failing_since < dt.timedelta(days=days):
        return False
    reason = f"failed for {days:g} days, {position.failures} times, at last: {position.reason}"
    return set_active(engine, channel.removeprefix(_PREFIX), reason=reason, now=now)


class WebhookChannel:
    """Posts announcements to one webhook.

    Parameters
    ----------
    hook : Webhook
        The webhook.
    home : Path
        Home of the installation, for the secret.
    private_addresses : bool
        Whether addresses of private networks are allowed.
    timeout : float
        How long to wait for the receiver [s].
    resolve : callable
        Gives the addresses of a host.
    """

    def __init__(
        self,
        hook: Webhook,
        home: Path,
        *,
        private_addresses: bool = False,
        timeout: float = TIMEOUT,
        resolve: Resolver | None = None,
    ) -> None:
        self.hook = hook
        self._home = home
        self._private = private_addresses
        self._timeout = timeout
        self._resolve = resolve or _resolved
        self._client = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False)

    @property
    def name(self) -> str:
        """Name under which the position is kept."""
        return self.hook.channel

    def deliver(self, told: Sequence[push.Outgoing]) -> Iterator[int]:
        """Post in order what the agency may see; pass over the rest.

        Parameters
        ----------
        told : Sequence of push.Outgoing
            Announcements or notices.

        Yields
        ------
        int
            Sequence up to which everything was taken [1].

        Raises
        ------
        infra.delivery.push.ChannelError
            The receiver is not there, did not take it, or must not be reached.
        """
        for one in told:
            payload = one.payload_for(self.hook.principal)
            if payload is not None:
                self._post(payload)
                yield one.sequence
        yield told[-1].sequence

    def close(self) -> None:
        """Let go of the receiver."""
        self._client.close()

    def _post(self, payload: Mapping[str, Any]) -> None:
        body = json.dumps(payload, ensure_ascii=False, sort_keys=True).encode()
        said = f"{self.hook.id}/{payload['event']}/{payload['id']}/{payload['revision']}"
        host, target = self._target()
        try:
            secret = secret_of(self._home, self.hook.id)
            headers = {
                "Host": host,
                "Content-Type": "application/json",
                webhook_signature.HEADER: webhook_signature.sign(body, secret=secret, at=int(time.time())),
                webhook_signature.DELIVERY_HEADER: str(uuid.uuid5(_SPACE, said)),
            }
            name = urllib.parse.urlsplit(self.hook.url).hostname
            request = self._client.build_request(
                "POST", target, content=body, headers=headers, extensions={"sni_hostname": name}
            )
            request.extensions["timeout"] = httpx.Timeout(self._timeout).as_dict()
            answer = self._client.send(request, stream=True)
            answer.close()  # what the receiver says beyond the status is of no interest, however long it is
        except (httpx.HTTPError, OSError) as error:
            raise push.ChannelError(f"the receiver cannot be reached: {type(error).__name__}") from error
        if not answer.is_success:
            raise push.ChannelError(f"the receiver answered {answer.status_code}")

    def _target(self) -> tuple[str, str]:
        """Host header, and the address to connect to with the receiver's own resolved and looked at."""
        try:
            parsed, port = _parts(self.hook.url)
            addresses = self._resolve(str(parsed.hostname), port)
        except (OSError, ValueError) as error:
            raise push.ChannelError(f"the receiver's address cannot be used: {error}") from error
        for text in addresses:
            if not _allowed(text, loopback=parsed.scheme == "http", private=self._private):
                raise push.ChannelError("the receiver's address lies in a network that must not be reached")
        if not addresses:
            raise push.ChannelError("the receiver's name has no address")
        first = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        return parsed.netloc, parsed._replace(netloc=f"{first}:{port}", fragment="").geturl()


def secret_of(home: Path, webhook_id: str) -> bytes:
    """Secret of a webhook.

    Parameters
    ----------
    home : Path
        Home of the installation.
    webhook_id : str
        Which.

    Returns
    -------
    bytes
        The secret as it is used for signatures.
    """
    return _secret_file(home, webhook_id).read_bytes().strip()


def _secret_file(home: Path, webhook_id: str) -> Path:
    if not _ID.fullmatch(webhook_id):
        raise ValueError(f"{webhook_id!r} is no id of a webhook")
    return home / "keys" / "webhooks" / f"{webhook_id}.key"


def _keep_secret(home: Path, webhook_id: str, secret: str) -> None:
    path = _secret_file(home, webhook_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())


def _parts(url: str) -> tuple[urllib.parse.SplitResult, int]:
    parsed = urllib.parse.urlsplit(url)
    if parsed.scheme not in {"http", "https"} or not parsed.hostname or parsed.username or parsed.password:
        raise ValueError("the address of a webhook is https://host/path, without user and password")
    if parsed.scheme == "http" and parsed.hostname not in _LOOPBACK:
        raise ValueError("a webhook on another machine is posted to over https only")
    return parsed, parsed.port or (443 if parsed.scheme == "https" else 80)


def _resolved(host: str, port: int) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _allowed(text: str, *, loopback: bool, private: bool) -> bool:
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if loopback:
        return found.is_loopback
    if found.is_multicast or found.is_unspecified or found.is_link_local or found.is_loopback:
        return False
    return found.is_global or (private and found.is_private)
