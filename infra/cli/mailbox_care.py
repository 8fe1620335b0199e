"""Mailboxes while announcements are pushed: which there are, who is refused, and what is removed."""

import datetime as dt
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra import settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from infra import object_store
    from infra.delivery import mailbox

_LOG = logging.getLogger(__name__)

#: How often it is looked for what has to be refused or removed [s].
CARE_INTERVAL = 30.0


class Mailboxes:
    """Channels of the mailboxes somebody may read; the same object for the same mailbox.

    Parameters
    ----------
    chosen : infra.settings.Settings
        The installation.
    engine : sqlalchemy.Engine
        Its database.
    """

    def __init__(self, chosen: settings.Settings, engine: "sa.Engine") -> None:
        self._chosen = chosen
        self._engine = engine
        self._channels: dict[str, mailbox.MailboxChannel] = {}
        self._store: tuple[str, object_store.ObjectStore] | None = None
        self._cared = -CARE_INTERVAL

    def __call__(self) -> "Mapping[str, mailbox.MailboxChannel]":
        """Channels there are now.

        Returns
        -------
        Mapping[str, infra.delivery.mailbox.MailboxChannel]
            By name.
        """
        from infra.delivery import audit, mailbox, store_access

        now, care_is_due = dt.datetime.now(dt.UTC), time.monotonic() - self._cared >= CARE_INTERVAL
        if care_is_due:
            self._cared = time.monotonic()
            self._take_care(now)
        standing = {found.channel: found for found in store_access.standing(self._engine, now=now)}
        self._channels = {name: channel for name, channel in self._channels.items() if name in standing}
        for name in standing.keys() - self._channels.keys():
            self._channels[name] = mailbox.MailboxChannel(
                standing[name],
                self._engine,
                bucket=self._chosen.bucket("agencies"),
                store=self.store,
                record=audit.AuditLog(self._chosen.home / "audit"),
            )
        return self._channels

    def store(self) -> "object_store.ObjectStore":
        """Object store of the installation.

        Returns
        -------
        infra.object_store.ObjectStore
            With the right to write.

        Raises
        ------
        infra.delivery.push.ChannelError
            It is the embedded one and does not run.
        """
        from infra import object_store
        from infra.delivery import push
        from infra.embedded import object_store_server

        chosen = self._chosen
        if chosen.s3_endpoint_url is None:
            server = object_store_server.running(chosen.home)
            if server is None:
                raise push.ChannelError("the object store of this home does not run: start `terralimb up`")
            place = {"s3_endpoint_url": server.endpoint_url, "s3_credentials_file": server.credentials_file}
            chosen = chosen.model_copy(update=place)
        if self._store is None or self._store[0] != chosen.s3_endpoint_url:
            opened = object_store.from_settings(chosen)
            opened.create_bucket(chosen.bucket("agencies"))
            self._store = (str(chosen.s3_endpoint_url), opened)
        return self._store[1]

    def _take_care(self, now: dt.datetime) -> None:
        """Refuse whom the store should not serve, remove what should not lie there; a failure is tried again."""
        from infra.delivery import push

        try:
            self._refuse_overdue(now)
            self._remove(now)
        except push.ChannelError as error:
            _LOG.warning("mailboxes: %s", error)
        except Exception:  # noqa: BLE001  pushing goes on, and so does this at the next look
            _LOG.exception("mailboxes")

    def _refuse_overdue(self, now: dt.datetime) -> None:
        from infra.delivery import store_access
        from infra.embedded import object_store_server

        if self._chosen.s3_endpoint_url is None:
            served = [guest.credentials.access_key for guest in object_store_server.guests(self._chosen.home)]
            wrong = store_access.overdue(self._engine, served, now=now)
            if wrong:
                object_store_server.dismiss(self._chosen.home, wrong)

    def _remove(self, now: dt.datetime) -> None:
        from infra.delivery import audit, mailbox, store_access

        contents = mailbox.Contents(
            self._engine, bucket=self._chosen.bucket("agencies"), record=audit.AuditLog(self._chosen.home / "audit")
        )
        # Closed before it is emptied: nothing is put into it from then on.
        for box in store_access.forsaken(self._engine, now=now):
            store_access.close(self._engine, box, now=now)
        left = store_access.forsaken(self._engine, now=now)
        if left or contents.any():
            store = self.store()
            contents.remove_gone(store)
            for box in left:
                contents.empty(box, store)
                store_access.rewind(self._engine, box)
