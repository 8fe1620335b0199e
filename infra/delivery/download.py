"""Downloads: a link to one file, made after the check, for as long as its transfer may take."""

import dataclasses
import datetime as dt
from typing import Any

from infra import catalog_store, object_store, publication
from infra.delivery import audit, entitlement, item_search

#: A link holds at least this long, and at most that [s].
SHORTEST = 900
LONGEST = 43_200

#: The slowest line a link is made for [octet/s].
SLOWEST_RATE = 200_000


class NoSuchFileError(LookupError):
    """There is no such file, or none this identity may have: the two look the same."""


class ItemWithdrawnError(Exception):
    """The item was withdrawn or has expired; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """A link that was made.

    Attributes
    ----------
    url : str
        Address that gives the file to whoever holds it, until it expires.
    sha256 : str or None
        Hash the content must have, in hex; None for a signature.
    size : int or None
        Length [octet]; None for a signature.
    expires_at : datetime.datetime
        When it ends.
    """

    url: str
    sha256: str | None
    size: int | None
    expires_at: dt.datetime


def lifetime(size: int) -> int:
    """How long a link to a file holds.

    Parameters
    ----------
    size : int
        Length of the file [octet].

    Returns
    -------
    int
        Seconds, enough for a slow line and no more than half a day [s].
    """
    return max(SHORTEST, min(LONGEST, size // SLOWEST_RATE))


class Downloads:
    """Links to files of one catalogue.

    Parameters
    ----------
    search : ItemSearch
        Finds items for an identity.
    store : infra.object_store.ObjectStore
        Signs links.
    record : AuditLog
        Where every link made and refused is written down.
    """

    def __init__(self, search: item_search.ItemSearch, store: object_store.ObjectStore, record: audit.AuditLog) -> None:
        self.search = search
        self.store = store
        self.record = record

    def link(
        self,
        principal: entitlement.Principal,
        *,
        item_id: str,
        revision: int,
        name: str,
        now: dt.datetime,
        request_id: str,
        client: str | None,
    ) -> Link:
        """Make a link to a file of an item.

        Parameters
        ----------
        principal : infra.delivery.entitlement.Principal
            Who asks.
        item_id : str
            Identity of the item.
        revision : int
            Its revision [1].
        name : str
            Asset, ``item.json``, ``MANIFEST.json`` or ``MANIFEST.json.minisig``.
        now : datetime.datetime
            Time; aware.
        request_id : str
            Name of the request, for the record.
        client : str or None
            Network address that asks, for the record.

        Returns
        -------
        Link
            The link; it is in the record.

        Raises
        ------
        NoSuchFileError
            There is none, or none for this identity.
        ItemWithdrawnError
            The revision was withdrawn or has expired.
        """
        about = {"item_id": item_id, "revision": revision, "asset": name, "request_id": request_id, "address": client}
        who = {"agency": principal.agency, "key_id": principal.key_id}
        item = self.search.item(principal, item_id, revision)
        file = None if item is None else file_of(item, name)
        if item is None or file is None:
            self._note("refused", "no_such_file", **who, **about)
            raise NoSuchFileError(f"there is no file {name!r:.120} of {item_id!r:.120}, revision {revision}")
        if item.state in {"withdrawn", "expired"}:
            self._note("refused", item.state, **who, **about)
            what = "was withdrawn" if item.state == "withdrawn" else "has expired"
            raise ItemWithdrawnError(f"{item_id}, revision {revision}, {what}: {item.state_reason}")
        seconds = lifetime(file.size)
        expires_at = now + dt.timedelta(seconds=seconds)
        url = self.store.presigned_url(
            file.bucket, file.key, lifetime=seconds, file_name=f"{item_id}-r{revision}-{name}"
        )
        self._note(
            "allowed",
            None,
            subject_sha256=file.sha256 or None,
            size=file.size,
            expires_at=expires_at.astimezone(dt.UTC).isoformat(),
            **who,
            **about,
        )
        known = bool(file.sha256)
        return Link(
            url=url, sha256=file.sha256 if known else None, size=file.size if known else None, expires_at=expires_at
        )

    def _note(self, decision: audit.Decision, cause: str | None, **said: Any) -> None:
        self.record.record(audit.Entry(event="download", decision=decision, cause=cause, **said))


def file_of(item: catalog_store.CatalogItem, name: str) -> catalog_store.AssetRecord | None:
    """Where a file of an item lies.

    Parameters
    ----------
    item : infra.catalog_store.CatalogItem
        The item.
    name : str
        Asset, ``item.json``, ``MANIFEST.json`` or ``MANIFEST.json.minisig``.

    Returns
    -------
    infra.catalog_store.AssetRecord or None
        The file, without hash and length where the catalogue holds none; None where there is no such file.
    """
    own = {
        publication.ITEM_NAME: (item.item_key, None),
        publication.MANIFEST_NAME: (item.manifest_key, item.manifest_sha256),
        publication.SIGNATURE_NAME: (f"{item.manifest_key}{publication.SIGNATURE_SUFFIX}", None),
    }
    if name in own:
        key, sha256 = own[name]
        return catalog_store.AssetRecord(name=name, bucket=item.bucket, key=key, sha256=sha256 or "", size=0)
    return next((asset for asset in item.assets if asset.name == name), None)
