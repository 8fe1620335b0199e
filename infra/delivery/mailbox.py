"""Mailboxes: copies of what an agency may have, in its own prefix of the object store.

A mailbox is a channel like a broker or a webhook: it walks the outbox at its own pace and remembers how far it came.
What an announcement is about is looked up when it is worked on, so repeating it changes nothing. Files keep their
names in a folder per revision, ``<prefix><collection>/<item>/r<revision>-<hash>/``; the manifest comes last, so a
folder that has one is whole. A superseded revision is marked and stays until its time is over; a withdrawn one is
removed, and a note with the reason stays.

Before the first file is copied the folder is written down, so that whatever a crash leaves is found and removed.

A revision whose own content is wrong, because a file of it was damaged or is missing, is set aside: nothing of it
stays in the mailbox, what comes after it goes on, and it is tried again until it is put right or withdrawn. The store
may take minutes over a read of what is damaged, so that comes after all there is to deliver, one revision at a time.
"""

import contextlib
import datetime as dt
import logging
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from infra import catalog_store, database, object_store, publication
from infra.delivery import audit, download, entitlement, push, store_access
from products import streams

SUPERSEDED_NAME = "SUPERSEDED.json"
WITHDRAWN_NAME = "WITHDRAWN.json"
_JSON = "application/json"
_GONE = ("withdrawn", "expired")
#: First and longest wait until what was set aside is tried again; in between as long as it has been set aside [s].
FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0
_LOG = logging.getLogger(__name__)

content_table = store_access.content_table


class MailboxChannel:
    """Fills one mailbox.

    Parameters
    ----------
    mailbox : infra.delivery.store_access.Mailbox
        Which.
    engine : sqlalchemy.Engine
        Database of the installation.
    bucket : str
        Bucket of the mailboxes.
    store : callable
        Gives the object store, with the right to write there; raises `push.ChannelError` where it is not to be had.
    record : infra.delivery.audit.AuditLog
        Where every item put in or removed is written down.
    clock : callable
        Tells the time.
    """

    def __init__(
        self,
        mailbox: store_access.Mailbox,
        engine: sa.Engine,
        *,
        bucket: str,
        store: Callable[[], object_store.ObjectStore],
        record: audit.AuditLog,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.mailbox = mailbox
        self.contents = Contents(engine, bucket=bucket, record=record)
        self.aside = push.SetAside(engine)
        self._store = store
        self._clock = clock
        self._due: dict[tuple[str, int], dt.datetime] = {}

    @property
    def name(self) -> str:
        """Name under which the position is kept."""
        return self.mailbox.channel

    def deliver(self, told: Sequence[push.Told]) -> Iterator[int]:
        """Work on announcements in order; pass over what is not for this agency, set aside what is wrong in itself.

        Parameters
        ----------
        told : Sequence of push.Told
            Announcements.

        Yields
        ------
        int
            Sequence up to which the mailbox is as it should be [1].

        Raises
        ------
        infra.delivery.push.ChannelError
            The object store did not do it.
        """
        store = self._store()
        for one in told:
            try:
                concerned = self._apply(one, store)
            except object_store.ObjectStoreError as error:
                raise push.ChannelError(f"{one.item.item_id}, revision {one.item.revision}: {error}") from error
            if concerned:
                yield one.sequence
        yield told[-1].sequence

    def catch_up(self) -> None:
        """Try one of what was set aside again, the longest due; each the more rarely the longer it has been so.

        Raises
        ------
        infra.delivery.push.ChannelError
            The object store did not do it.
        """
        now = self._clock()
        aside = self.aside.of(self.name)
        due = [(self._due.get((one.item_id, one.revision), min(now, one.since)), one) for one in aside]
        at, one = min(due, key=operator.itemgetter(0), default=(now, None))
        if one is None or at > now:
            return
        self._wait(one.item_id, one.revision, FIRST_WAIT)
        try:
            self._try_again(one, self._store())
        except object_store.ObjectStoreError as error:
            raise push.ChannelError(f"{one.item_id}, revision {one.revision}: {error}") from error
        passed = (self._clock() - one.since).total_seconds()
        self._wait(one.item_id, one.revision, min(LONGEST_WAIT, max(FIRST_WAIT, passed)))

    def close(self) -> None:
        """Let go of nothing: the store is not ours."""

    def _apply(self, told: push.Told, store: object_store.ObjectStore) -> bool:
        """Do what an announcement asks for; tells whether it concerned this mailbox."""
        event, item = told.payload["event"], told.item
        if event == "published":
            if item.state != "published" or not self._permits(told):
                return False
            return self._put(item, store)
        # Not asked for entitlement: whatever was put in is marked or removed.
        note = {name: value for name, value in told.payload.items() if name != "links"}
        if event == "withdrawn":
            return self.contents.take_back(self.mailbox, item, note, store)
        return self.contents.mark(self.mailbox, item, note, store)

    def _put(self, item: catalog_store.CatalogItem, store: object_store.ObjectStore) -> bool:
        """Put a revision in, or set it aside where its own content is wrong; False where nothing changed."""
        try:
            return self.contents.put(self.mailbox, item, store)
        except object_store.ObjectStoreError as error:
            if not _is_its_own(error, item, store):
                raise
            self.contents.discard(self.mailbox, item, store)
            self.aside.put(self.name, item.item_id, item.revision, reason=str(error), now=self._clock())
            self._wait(item.item_id, item.revision, FIRST_WAIT)
            _LOG.warning("%s: %s, revision %s, is set aside: %s", self.name, item.item_id, item.revision, error)
            return True

    def _wait(self, item_id: str, revision: int, seconds: float) -> None:
        self._due[item_id, revision] = self._clock() + dt.timedelta(seconds=seconds)

    def _try_again(self, aside: push.Aside, store: object_store.ObjectStore) -> None:
        item = catalog_store.CatalogStore(self.aside.engine).item(aside.item_id, aside.revision)
        if item is not None and item.state == "published":
            self._put(item, store)
            if not self.contents.holds(self.mailbox, item):
                return
        self.aside.settle(aside)

    def _permits(self, told: push.Told) -> bool:
        permitted = entitlement.permits(self.mailbox.principal, sector=told.item.sector, admin_codes=told.districts)
        return permitted and told.stream == streams.OPERATIONAL


class Contents:
    """What lies in the mailboxes.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Database of the installation.
    bucket : str
        Bucket of the mailboxes.
    record : infra.delivery.audit.AuditLog
        Where every item put in or removed is written down.
    """

    def __init__(self, engine: sa.Engine, *, bucket: str, record: audit.AuditLog) -> None:
        self.engine = engine
        self.bucket = bucket
        self.record = record

    def put(
        self, mailbox: store_access.Mailbox, item: catalog_store.CatalogItem, store: object_store.ObjectStore
    ) -> bool:
        """Copy the files of a revision, verified against the catalogue.

        Parameters
        ----------
        mailbox : infra.delivery.store_access.Mailbox
            Where.
        item : infra.catalog_store.CatalogItem
            What; the agency may have it.
        store : infra.object_store.ObjectStore
            The object store.

        Returns
        -------
        bool
            False where it lies there already, or the mailbox was closed or emptied meanwhile.

        Raises
        ------
        infra.object_store.ObjectStoreError
            A file is not there or is not what was published; repeating is safe.
        """
        folder = self._folder(mailbox, item)
        if self.holds(mailbox, item) or not self._begin(mailbox, item, folder):
            return False
        for file in _files(item):
            with _missing_allowed(file):
                self._copy(file, f"{folder}{file.name}", store)
        about = {"item_id": item.item_id, "revision": item.revision, "collection": item.collection}
        self._audit("mailbox_put", mailbox, folder, subject_sha256=item.manifest_sha256, **about)
        if not self._end(mailbox, item):
            self._remove(mailbox, item.item_id, item.revision, folder, store)
            return False
        return True

    def holds(self, mailbox: store_access.Mailbox, item: catalog_store.CatalogItem) -> bool:
        """Whether a revision lies whole in a mailbox.

        Parameters
        ----------
        mailbox : infra.delivery.store_access.Mailbox
            Where.
        item : infra.catalog_store.CatalogItem
            What.

        Returns
        -------
        bool
            True where it does.
        """
        return self._state(mailbox, item) == "held"

    def discard(
        self, mailbox: store_access.Mailbox, item: catalog_store.CatalogItem, store: object_store.ObjectStore
    ) -> None:
        """Remove what was copied of a revision that did not become whole.

        Parameters
        ----------
        mailbox : infra.delivery.store_access.Mailbox
            Where.
        item : infra.catalog_store.CatalogItem
            What.
        store : infra.object_store.ObjectStore
            The object store.
        """
        self._clear(self._folder(mailbox, item), store)
        with self.engine.begin() as connection:
            connection.execute(sa.delete(content_table).where(*_row(mailbox, item), content_table.c.state == "filling"))

    def mark(
        self,
        mailbox: store_access.Mailbox,
        item: catalog_store.CatalogItem,
        note: dict[str, Any],
        store: object_store.ObjectStore,
    ) -> bool:
        """Leave a note that a revision was superseded.

        Parameters
        ----------
        mailbox : infra.delivery.store_access.Mailbox
            Where.
        item : infra.catalog_store.CatalogItem
            What.
        note : dict
            The announcement.
        store : infra.object_store.ObjectStore
            The object store.

        Returns
        -------
        bool
            False where it does not lie there.
        """
        if not self.holds(mailbox, item):
            return False
        self._write(f"{self._folder(mailbox, item)}{SUPERSEDED_NAME}", note, store)
        return True

    def take_back(
        self,
        mailbox: store_access.Mailbox,
        item: catalog_store.CatalogItem,
        note: dict[str, Any],
        store: object_store.ObjectStore,
    ) -> bool:
        """Remove a withdrawn revision and leave a note with the reason.

        Parameters
        ----------
        mailbox : infra.delivery.store_access.Mailbox
            Where.
        item : infra.catalog_store.CatalogItem
            What.
        note : dict
            The announcement.
        store : infra.object_store.ObjectStore
            The object store.

        Returns
        -------
        bool
            False where it never lay there.
        """
        state, folder = self._state(mailbox, item), self._folder(mailbox, item)
        if state is None:
            return False
        if state != "removed":
            self._remove(mailbox, item.item_id, item.revision, folder, store)
        self._write(f"{folder}{WITHDRAWN_NAME}", note, store)
        return True

    def any(self) -> bool:
        """Whether anything lies in any mailbox.

        Returns
        -------
        bool
            True where something does, or may after a crash.
        """
        with database.reading(self.engine) as connection:
            held = sa.select(content_table.c.mailbox).where(content_table.c.state != "removed").limit(1)
            return connection.execute(held).first() is not None

    def remove_gone(self, store: object_store.ObjectStore) -> int:
        """Remove from every mailbox what was withdrawn or whose time is over.

        Parameters
        ----------
        store : infra.object_store.ObjectStore
            The object store.

        Returns
        -------
        int
            Revisions removed [1].
        """
        item, content = catalog_store.item_table.c, content_table.c
        same = sa.and_(item.id == content.item_id, item.revision == content.revision)
        joined = _JOINED.join(catalog_store.item_table, same)
        gone = sa.select(*_COLUMNS).select_from(joined).where(content.state != "removed", item.state.in_(_GONE))
        return self._remove_all(gone, store)

    def empty(self, mailbox: store_access.Mailbox, store: object_store.ObjectStore) -> int:
        """Remove everything from a mailbox, notes included.

        Parameters
        ----------
        mailbox : infra.delivery.store_access.Mailbox
            Which.
        store : infra.object_store.ObjectStore
            The object store.

        Returns
        -------
        int
            Revisions removed [1].
        """
        content = content_table.c
        held = sa.select(*_COLUMNS).select_from(_JOINED).where(content.mailbox == mailbox.id)
        removed = self._remove_all(held.where(content.state != "removed"), store)
        self._clear(mailbox.prefix, store)
        nothing_left = sa.and_(content.mailbox == mailbox.id, content.state == "removed")
        with self.engine.begin() as connection:
            connection.execute(sa.delete(content_table).where(nothing_left))
        return removed

    def _remove_all(self, statement: sa.Select[Any], store: object_store.ObjectStore) -> int:
        with database.reading(self.engine) as connection:
            rows = connection.execute(statement).mappings().all()
        for row in rows:
            mailbox = store_access.mailbox_from_row(row, row["mailbox"])
            self._remove(mailbox, row["item_id"], row["revision"], row["folder"], store)
        return len(rows)

    def _remove(
        self,
        mailbox: store_access.Mailbox,
        item_id: str,
        revision: int,
        folder: str,
        store: object_store.ObjectStore,
    ) -> None:
        self._clear(folder, store)
        self._audit("mailbox_remove", mailbox, folder, item_id=item_id, revision=revision)
        column = content_table.c
        where = (column.mailbox == mailbox.id, column.item_id == item_id, column.revision == revision)
        with self.engine.begin() as connection:
            connection.execute(sa.update(content_table).where(*where).values(state="removed"))

    def _clear(self, prefix: str, store: object_store.ObjectStore) -> None:
        for entry in list(store.list(self.bucket, prefix)):
            store.delete(self.bucket, entry.key)

    def _copy(self, file: catalog_store.AssetRecord, key: str, store: object_store.ObjectStore) -> None:
        copied = store.copy(file.bucket, file.key, to_bucket=self.bucket, to_key=key)
        if file.sha256 and copied.sha256 != file.sha256:
            store.delete(self.bucket, key)
            raise object_store.ChecksumRefusedError(f"{file.bucket}/{file.key} is not what was published")

    def _write(self, key: str, note: dict[str, Any], store: object_store.ObjectStore) -> None:
        # No product: after a restore the same event may have another time, and the note that is true now stands.
        store.put_replace(self.bucket, key, catalog_store.json_text(note).encode(), media_type=_JSON)

    @staticmethod
    def _folder(mailbox: store_access.Mailbox, item: catalog_store.CatalogItem) -> str:
        revision = f"r{item.revision}-{item.content_sha256[:8]}"
        return f"{mailbox.prefix}{item.collection}/{item.item_id}/{revision}/"

    def _state(self, mailbox: store_access.Mailbox, item: catalog_store.CatalogItem) -> str | None:
        with database.reading(self.engine) as connection:
            return connection.execute(sa.select(content_table.c.state).where(*_row(mailbox, item))).scalar_one_or_none()

    def _begin(self, mailbox: store_access.Mailbox, item: catalog_store.CatalogItem, folder: str) -> bool:
        """Write down what is going to be copied; False where the mailbox was closed meanwhile."""
        box = store_access.mailbox_table.c
        row = {"mailbox": mailbox.id, "item_id": item.item_id, "revision": item.revision, "folder": folder}
        with self.engine.begin() as connection:
            is_open = connection.execute(sa.select(box.id).where(box.id == mailbox.id, box.closed_at.is_(None))).first()
            if is_open is not None:
                connection.execute(sa.delete(content_table).where(*_row(mailbox, item)))
                connection.execute(sa.insert(content_table), [{**row, "state": "filling"}])
        return is_open is not None

    def _end(self, mailbox: store_access.Mailbox, item: catalog_store.CatalogItem) -> bool:
        """Write down that a revision lies there whole; False where the mailbox was emptied meanwhile."""
        with self.engine.begin() as connection:
            held = sa.update(content_table).where(*_row(mailbox, item)).values(state="held")
            return bool(connection.execute(held).rowcount)

    def _audit(self, event: audit.Event, mailbox: store_access.Mailbox, folder: str, **about: Any) -> None:
        who: dict[str, Any] = {"agency": mailbox.agency, "key_id": mailbox.channel, "asset": folder.rstrip("/")}
        self.record.record(audit.Entry(event=event, decision="allowed", **who, **about))


_JOINED = content_table.join(store_access.mailbox_table, store_access.mailbox_table.c.id == content_table.c.mailbox)
_COLUMNS = (
    content_table,
    store_access.mailbox_table.c.agency,
    store_access.mailbox_table.c.sectors,
    store_access.mailbox_table.c.districts,
)


def _row(mailbox: store_access.Mailbox, item: catalog_store.CatalogItem) -> tuple[sa.ColumnElement[bool], ...]:
    column = content_table.c
    return column.mailbox == mailbox.id, column.item_id == item.item_id, column.revision == item.revision


def _files(item: catalog_store.CatalogItem) -> Iterator[catalog_store.AssetRecord]:
    """Files of a revision, the manifest last: it says that the folder is whole."""
    yield from item.assets
    for name in (publication.ITEM_NAME, publication.SIGNATURE_NAME, publication.MANIFEST_NAME):
        file = download.file_of(item, name)
        if file is not None:
            yield file


def _is_its_own(
    error: object_store.ObjectStoreError, item: catalog_store.CatalogItem, store: object_store.ObjectStore
) -> bool:
    """Whether the content of the revision is wrong, rather than that the store cannot be read or written now."""
    if isinstance(error, object_store.ChecksumRefusedError | object_store.KeyConflictError):
        return True
    if isinstance(error, object_store.ObjectMissingError):
        next(iter(store.list(item.bucket, item.manifest_key)), None)  # raises where the whole bucket is missing
        return True
    # A store may answer a read of what it finds damaged as if it were out of order: then its other files can be read.
    return {_readable(file, store) for file in _files(item)} == {True, False}


def _readable(file: catalog_store.AssetRecord, store: object_store.ObjectStore) -> bool:
    try:
        with _missing_allowed(file):
            store.digest(file.bucket, file.key)
    except object_store.ObjectStoreError:
        return False
    return True


def _missing_allowed(file: catalog_store.AssetRecord) -> contextlib.AbstractContextManager[None]:
    """Let a signature be missing, which an unsigned publication has none of, and nothing else."""
    if file.name == publication.SIGNATURE_NAME:
        return contextlib.suppress(object_store.ObjectMissingError)
    return contextlib.nullcontext()
